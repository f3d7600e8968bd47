# SPDX-License-Identifier: MIT
"""The Model Context Protocol (MCP) over HTTP, in one file, with the standard library alone.

An MCP server offers tools, resources and prompts to the client of a language model. This file
serves them across a network. It speaks every revision of Streamable HTTP on one endpoint, and the
older HTTP+SSE beside it. Three things to try:

    python streamhttp_mcp.py                       # serves the documents of this folder
    python streamhttp_mcp.py --root ~/notes        # those of another folder
    python -c 'import streamhttp_mcp as s; help(s.MCPServer)'

One exchange on the wire
------------------------
A client sends every message by POST. Here it calls a tool. It got the session id with the answer
to `initialize`. Each line of a head ends with CRLF. (A line that is too long for this page goes on
in the next line, indented. The fields Date, Cache-Control and X-Accel-Buffering are not shown, nor
is the blank after an empty `data:`.)

    POST /mcp HTTP/1.1
    Host: localhost:8000
    Content-Type: application/json
    Accept: application/json, text/event-stream
    MCP-Protocol-Version: 2025-11-25
    Mcp-Session-Id: 6ZyPfuGCPbNTfKCSZ2XHy1vlwLFSy4C4N9tXRNPYQmI
    Content-Length: 125

    {"jsonrpc":"2.0","id":7,"method":"tools/call",
        "params":{"name":"dig","arguments":{"depth":2},"_meta":{"progressToken":"p1"}}}

The tool reports progress before it is done. So the answer is an event stream. The server does not
know its length yet. So it sends chunks, and writes the size of each chunk before it, in
hexadecimal. The first event has no data. Its id already lets the client resume the stream.

    HTTP/1.1 200 OK
    Content-Type: text/event-stream
    Transfer-Encoding: chunked

    aa
    retry: 1000
    id: 5f0c8e1d2a9b4c77-0
    data:

    id: 5f0c8e1d2a9b4c77-1
    data: {"jsonrpc":"2.0","method":"notifications/progress",
        "params":{"progressToken":"p1","progress":1}}

Now the connection breaks. The call goes on, and its messages wait. The client comes back by a GET
that names the last event it has seen.

    GET /mcp HTTP/1.1
    Host: localhost:8000
    Accept: text/event-stream
    MCP-Protocol-Version: 2025-11-25
    Mcp-Session-Id: 6ZyPfuGCPbNTfKCSZ2XHy1vlwLFSy4C4N9tXRNPYQmI
    Last-Event-ID: 5f0c8e1d2a9b4c77-1

It gets what it has missed. The response is the last message, and a chunk of size 0 ends the stream.

    HTTP/1.1 200 OK
    Content-Type: text/event-stream
    Transfer-Encoding: chunked

    98
    retry: 1000
    id: 5f0c8e1d2a9b4c77-1
    data:

    id: 5f0c8e1d2a9b4c77-2
    data: {"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"found"}]}}

    0

A tool may return at once, and send no message before. Then the answer is one JSON body: the same
response, with `Content-Type: application/json` and a `Content-Length`. The server decides late: on
JSON if the response comes first and the client takes JSON, and on an event stream if another
message comes first, or a second passes.

Words
-----
    era         one of two groups of revisions: with sessions (to 2025-11-25), without (2026-07-28)
    stateless   without a session: each request names its revision and its client's capabilities
    principal   the identity that the client's token proves; a session belongs to one principal
    call        one request that runs; `Context` is what its handler sees of it
    stream      the messages that answer one POST, or that a session's GET receives
    primed      starting with an empty event; its id lets a client resume before the first message
    the gate    the checks that a request must pass before its body is read
    two channels   the transport of 2024-11-05: requests by POST, all answers on one GET stream
    the lesson  the URLs, such as POST /initialize, by which tutorials teach the two channels

What changed between the revisions
----------------------------------
                       2024-11-05    2025-03-26    2025-06-18    2025-11-25    2026-07-28
    opened by          GET /sse      initialize    initialize    initialize    any request
    state              session       session       session       session       none
    client is known by initialize    initialize    initialize    initialize    `_meta` of a request
    answers come on    GET stream    JSON or SSE   JSON or SSE   same, primed  JSON or SSE, no ids
    batches            not known     taken         refused       refused       refused
    version header     not known     not known     may be left   may be left   required
    server asks by     a request     a request     a request     a request     InputRequiredResult
    change notices     GET stream    GET stream    GET stream    GET stream    subscriptions/listen
    connection lost    session ends  call goes on  call goes on  call goes on  call is cancelled
    unknown resource   -32002        -32002        -32002        -32002        -32602

Where the version header may be left out, a header that is sent must name a revision that is served.

The life of one request
-----------------------
On its way in (the numbers are sections):

    3  Connection.serve -> serve_one, for each request -> 1 read_head
    5  admit: the gate
    3  Connection.read_body
    5  answer -> handle_post -> 4 parse_message
    8  answer_in_session, or 9 answer_without_session, which find out who the client is
    7  start_call -> run_call, in a task of its own -> call_method
   10  call_tool -> 13 Tool.call -> your handler(ctx)

On its way out:

   12  ctx.report_progress, ctx.info, ctx.elicit -> 2 Stream.send
    7  run_call -> 2 Stream.answer: the response
    7  wait_for_form, make_reply: one JSON body, or the stream
    3  Connection.send, or send_stream: 2 Reader.read, all events that are ready

Who owns whom: the server owns connections and sessions. A connection owns one request at a time,
and its reply. A session owns its calls and its streams. A call writes into one stream (with two
channels see `Channel`). A stream has at most one reader, which is a connection's. Without a
session, a call belongs to its connection.

When the connection breaks in the middle of a call that has a session, the call goes on. The stream
keeps what the client has not seen (if memory is short, no old notifications), until the client
resumes it (`Session.find_event`) or the
session ends. If the connection breaks before the client has seen an event id, nobody can ask for
the rest, and the result is dropped. A call that has no session is cancelled (`Context.leave`).

How an answer gets back to the waiting `ctx.elicit`: with a session, the question is a JSON-RPC
request on the call's stream. The answer is a POST, and `take_message` gives it to the future that
waits. Without a session, the call ends with the question. The client calls again with the answer,
and the handler runs again, from the top.

What ends a session: expiry, DELETE, shutdown, a server that needs its place or its memory, and for
HTTP+SSE the end of its stream. All of them end in `Sessions.end`.

The map
-------
    I    The wire        1 HTTP messages   2 Event streams   3 Connection
    II   The protocol    4 JSON-RPC   5 Endpoint   6 Sessions   7 A call, from POST to answer
                         8 With a session   9 Without a session   10 Methods   11 Two channels
    III  For handlers   12 Context, and questions to the client   13 Tools, resources, prompts
                        14 Schema   15 Who may enter
    IV   The server     16 Server
    V    Demo           17 Demo

In most sections, callers stand above their helpers. A learner may stop after part II. When you copy
this file into a project, you can always delete section 17. You can delete section 11 if
`two_channel` stays off, and section 15 if `auth` stays None (and its name in __all__). If nobody
uses prompts, delete their rows of METHODS, and their line in `MCPServer.capabilities`.

To add a method, write a function and a row of METHODS. To add a limit, write a field of `Limits`
and the guard that asks it. To add a notice, write a method of `Catalog` that calls `announce`, and
a row of LIST_FLAGS: the flag by which clients of 2026-07-28 ask for it. To refuse something, raise
an HTTPError before the call has begun, and an RPCError in a method; without a session, STATUSES
gives its HTTP status.

"HTTPError." or "RPCError." in a docstring is what the function raises. Names in brackets, such as
[session.unknown-404], are clauses of the specification; SPEC.md in the repository lists them.

Left out: stdio, tasks, pages of lists, an authorization server, and all that would need a package.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # before the imports, which would fail otherwise
    sys.exit(f"streamhttp_mcp needs Python 3.11 or newer, and this is {sys.version.split()[0]}")

import asyncio
import base64
import concurrent.futures
import contextlib
import contextvars
import copy
import dataclasses
import functools
import hashlib
import hmac
import html
import inspect
import itertools
import json
import logging
import math
import operator
import os
import re
import secrets
import signal
import ssl
import threading
import time
import traceback
import types
import typing
from collections import OrderedDict, deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as daytime
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes, urlsplit
from uuid import UUID

__version__ = "0.2.0"
__all__ = [
    "INVALID_PARAMS", "RESOURCE_NOT_FOUND", "Audio", "Auth", "Context", "ElicitResult", "HTTPError",
    "Image", "InputRequired", "Limits", "MCPServer", "MissingCapability", "RPCError", "Reply",
    "Request", "SchemaError", "ToolError", "ToolResult", "assistant", "check", "convert",
    "elicit_form", "elicit_url", "list_roots", "plain", "sample_message", "schema_of", "text_of",
    "user",
]  # fmt: skip

# ---- Settings and errors -----------------------------------------------------------------------
# The protocol revisions, the limits on everything that a stranger can send, and the two kinds of
# refusal. Everything else stands where it is used.

# The name of a revision is a date. So comparing two names as strings tells which one is newer.
TWO_CHANNEL_REVISION = "2024-11-05"  # HTTP+SSE, another transport
SESSION_REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25")
LATEST_SESSION_REVISION = "2025-11-25"
STATELESS_REVISION = "2026-07-28"
REVISIONS = (*SESSION_REVISIONS, STATELESS_REVISION)

META = "io.modelcontextprotocol/"  # the prefix of the members of `_meta` that MCP itself defines
META_VERSION = META + "protocolVersion"
META_CAPABILITIES = META + "clientCapabilities"
META_CLIENT_INFO = META + "clientInfo"
META_SERVER_INFO = META + "serverInfo"
META_LOG_LEVEL = META + "logLevel"
META_SUBSCRIPTION = META + "subscriptionId"

# The levels of RFC 5424, the least severe first.
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

Message = dict[str, Any]  # a JSON-RPC message, or an object inside one, as it is on the wire
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """[limits.named] What one peer may cost: sizes in bytes, times in seconds, and counts."""

    # One HTTP request. A size above its limit is answered 414, 431 or 413, a late one 408.
    request_line_bytes: int = 8 * 1024  # RFC 9112 section 3 recommends at least 8,000
    head_bytes: int = 32 * 1024  # nginx allows 4 x 8 KiB
    header_fields: int = 100  # Apache's LimitRequestFields
    body_bytes: int = 4 * 1024 * 1024  # the default of the official Python SDK
    chunks: int = 16_384  # in one body; many tiny chunks cost more time than their bytes suggest
    head_seconds: float = 10  # from the first byte to the blank line; also for a TLS handshake
    body_seconds: float = 30  # from the end of the gate to the last byte
    # One connection.
    idle_seconds: float = 75  # between two requests; nginx's keepalive_timeout
    send_seconds: float = 30  # a peer that reads nothing for so long is dropped; nginx allows 60
    connections: int = 10_000  # one more is answered 503 (with TLS: nothing), and closed
    # One session, and all of them.
    sessions: int = 10_000  # one more ends the session that was unused for longest
    calls: int = 1_000  # in flight at once in one session; one more is answered 429
    client_bytes: int = 64 * 1024  # of `initialize`, whose params the session keeps
    streams: int = 16  # read to their end, and kept by a session for a client that comes back
    session_bytes: int = 4 * 1024 * 1024  # of all that one session makes the server keep
    server_bytes: int = 256 * 1024 * 1024  # the same, of all sessions and connections together
    # One call.
    sse_after_seconds: float = 1  # a silent call is then answered by an event stream
    heartbeat_seconds: float = 15  # load balancers drop connections that are silent for 60
    retry_seconds: float = 1  # how long a client shall wait before it reconnects
    ask_seconds: float = 300  # a question to the client may have to wait for a person
    state_seconds: float = 3600  # how long a client of 2026-07-28 may take to answer a question
    # The server.
    all_calls: int = 5_000  # in flight at once; one more is answered 503
    threads: int = 64  # plain `def` handlers at once; one session or principal gets half at most
    verify_seconds: float = 10  # to judge a token; then 503
    grace_seconds: float = 3  # for running calls at shutdown; `docker stop` kills after 10

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            if getattr(self, each.name) < 0:
                raise ValueError(f"the limit {each.name} must not be negative")
        if self.threads < 1:
            raise ValueError("the limit threads must be at least 1, or plain handlers never run")


MAX_TEXT = 1024  # characters of an id, a progress token or a method name, since they are echoed
MAX_URI = 8 * 1024  # characters of a URI, as many as a request line may have

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002  # up to 2025-11-25; then INVALID_PARAMS
HEADER_MISMATCH = -32020  # this and the next two: since 2026-07-28
MISSING_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022


class HTTPError(Exception):
    """The HTTP request is refused with this status. The message goes into a JSON-RPC error."""

    def __init__(
        self, status: int, message: str, *headers: tuple[str, str], code: int = INVALID_REQUEST
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers
        self.code = code


def busy(message: str, status: int = 503) -> HTTPError:
    """The refusal of a request that may be accepted a second later."""
    return HTTPError(status, message, ("Retry-After", "1"))


class RPCError(Exception):
    """A call is answered by this JSON-RPC error: a code, one sentence, and perhaps data."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class ToolError(Exception):
    """A handler raises this when it has failed, with words that the client's model can act on."""


class CleanLog(logging.Filter):
    """[log.one-line] Keeps peers from forging log lines and from moving a terminal's cursor."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = CONTROL.sub("?", record.getMessage())
        record.args = ()
        if record.exc_info and not record.exc_text:
            story = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            lines = [CONTROL.sub("?", line) for line in story.split("\n")]
            # No line of it can pass for a record.
            record.exc_text = "\n    ".join(lines)
        return True


# Control characters, line breaks, and marks that turn the direction of a line around.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
log = logging.getLogger("streamhttp_mcp")  # [import.silent] unconfigured, it shows warnings only
log.addFilter(CleanLog())

# ---- 1 HTTP messages ---------------------------------------------------------------------------
# From bytes to a `Request`, and from a `Reply` to bytes. Of MCP this section knows only names of
# header fields. It follows RFC 9112 to the letter where two readings of the same bytes would let
# one request hide inside another one (request smuggling). Each pattern is matched before anything
# is converted: int() accepts '+5' and '1_0', and the grammar does not.

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # RFC 9110 section 5.6.2
REQUEST_LINE = re.compile(rf"({TOKEN}) ([!-~]+) HTTP/([0-9])\.([0-9])")
VALUE = r"[!-~\x80-\xff]*+(?:[ \t]++[!-~\x80-\xff]++)*+"  # words, with blanks between them
FIELD_LINE = re.compile(rf"(?m)^({TOKEN}):[ \t]*+({VALUE})[ \t]*+\r\n")
REPLY_FIELD = re.compile(rf"{TOKEN}: [\t -~\x80-\xff]*+\r\n")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?")
ABSOLUTE_FORM = re.compile(r"(?i)https?://([^/?#@]+)(/[^#]*)?")  # 'http://a:80/mcp'
VISIBLE = re.compile(r"[!-~]+")  # ASCII without blanks
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]+)(:[0-9]{0,5})?", re.ASCII)
NO_QUALITY = re.compile(r"(^|;)\s*q=0(\.0{0,3})?\s*(;|$)")
KNOWN_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE CONNECT OPTIONS TRACE".split())
# A request that repeats one of these is refused: two proxies could each use another value.
STRICT_FIELDS = frozenset(["host", "content-length"])
FRAMING_FIELDS = frozenset(["content-length", "transfer-encoding"])
# These have one value. Clients and proxies do send a field twice; equal copies then count once.
SINGLE_FIELDS = frozenset(
    """content-type authorization origin last-event-id mcp-session-id mcp-protocol-version
    mcp-method""".split()
)
REASONS = {status.value: status.phrase for status in HTTPStatus}
READ_BYTES = 64 * 1024  # at most so many bytes are asked for in one read
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

NO_BODY = (204, 304)  # replies with such a status have none

JSON_HEADERS = (("Content-Type", "application/json"),)


class ConnectionEnded(Exception):
    """The peer sends no more, or the server gave up waiting between two requests."""


@dataclass(slots=True)
class Request:
    """One HTTP request, as `MCPServer.handle` takes it: Request('GET', '/', {'host': 'a'})."""

    method: str  # 'POST'
    target: str  # '/mcp?x=1'
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # lower-case name -> value
    body: bytes = field(default=b"", repr=False)
    minor_version: int = 1  # of HTTP/1.x
    length: int | None = 0  # bytes of the body as the head announces it; None: it comes in chunks
    # What the gate finds out, see section 5.
    origin: str | None = None  # of a web page that may read the reply
    principal: str | None = None  # who sent it
    scopes: frozenset[str] = frozenset()  # what the token allows
    route: Route | None = None
    variables: dict[str, str] = field(default_factory=dict)  # in the path: name -> value
    takes_json: bool = True  # by the Accept header
    takes_stream: bool = True
    # The answer while it is in the making, for the connection.
    stream: Stream | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def logged_path(self) -> str:
        """[log.no-credentials] The path as the log shows it: without what may be a session id."""
        return re.sub(r"[\w-]{32,}", "...", self.path[:200])

    @property
    def keep_alive(self) -> bool:
        """[http.keep-alive] Whether another request may follow (RFC 9112 section 9.3)."""
        options = self.headers.get("connection", "").lower()
        if self.minor_version == 0:
            return "keep-alive" in options
        return "close" not in options


@dataclass(slots=True)
class Reply:
    """The answer to one HTTP request: a body, or an event stream.

    `async for data in reply` gives the body in pieces: one piece of JSON, or events as they come.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    stream: Stream | None = None
    after: int | None = None  # the number of the last message that a resuming client has seen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.stream is None:
            yield self.body
            return
        reader = self.stream.attach(self.after)
        try:
            while data := await reader.read():
                yield data
        finally:
            reader.detach()


class Incoming:
    """The bytes of one connection in order: a StreamReader, and what was read but not used."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self.stream = stream
        self.buffer = bytearray()

    async def more(self) -> None:
        """Wait for more bytes. Raises ConnectionEnded where there are none."""
        try:
            data = await self.stream.read(READ_BYTES)
        except OSError:  # the peer has reset the connection
            data = b""
        if not data:
            raise ConnectionEnded
        self.buffer += data

    async def begin(self) -> None:
        """[http.empty-line-before] Wait for a request to begin. Empty lines before it are skipped.

        Some clients send one after a body.
        """
        while True:
            while self.buffer.startswith(b"\r\n"):
                del self.buffer[:2]
            if self.buffer and self.buffer != b"\r":
                return
            await self.more()

    def take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def line(self, limit: int, too_long: HTTPError) -> bytes:
        """Return the next line, at most `limit` bytes, without its CRLF."""
        while (end := self.buffer.find(b"\r\n", 0, limit + 2)) < 0:
            if len(self.buffer) >= limit + 2:
                raise too_long
            await self.more()
        return self.take(end + 2)[:-2]

    async def exactly(self, size: int, note: Callable[[int], None] | None = None) -> bytes:
        """Return the next `size` bytes. While they come, `note` is told how many are there."""
        while len(self.buffer) < size:
            await self.more()
            if note is not None:
                note(len(self.buffer))
        return self.take(size)


async def read_head(incoming: Incoming, limits: Limits) -> Request:
    """[limits.head] Read a request line, header fields and the blank line after them.

    HTTPError as soon as the bytes cannot become a head that is taken; ConnectionEnded.
    """
    buffer = incoming.buffer
    while True:
        end = buffer.find(b"\r\n\r\n")
        if end >= 0:
            check_head_size(buffer, end, limits)
            return parse_head(incoming.take(end + 4)[:-2].decode("latin-1"), limits)
        # A TLS handshake begins with these two bytes.
        if buffer.startswith(b"\x16\x03"):
            message = "these bytes are TLS, and this port speaks plain HTTP: use http://"
            raise HTTPError(400, message)
        # The last three bytes may be the start of the blank line.
        check_head_size(buffer, len(buffer) - 3, limits)
        check_line_ends(buffer)
        await incoming.more()


def check_head_size(buffer: bytearray, size: int, limits: Limits) -> None:
    """Guard: HTTPError for a head that is too large; `size` bytes of it are there."""
    longest = limits.request_line_bytes
    if size > longest and buffer.find(b"\r\n", 0, longest + 2) < 0:
        raise HTTPError(414, f"request line is longer than {longest} bytes")
    if size > limits.head_bytes:
        raise HTTPError(431, f"request head is longer than {limits.head_bytes} bytes")


def check_line_ends(head: bytes | bytearray) -> None:
    """[http.bare-lf] Refuse lines that end with LF alone: a proxy may see another request there."""
    if head.count(b"\n") != head.count(b"\r\n"):
        raise HTTPError(400, "a line ends with LF alone: end each line with CRLF (with nc, use -C)")


def parse_head(head: str, limits: Limits) -> Request:
    """Parse a head, without its blank line: 'GET / HTTP/1.1\\r\\nHost: a\\r\\n'. HTTPError."""
    start, _, lines = head.partition("\r\n")
    match = REQUEST_LINE.fullmatch(start)
    if match is None:  # [http.request-line]
        check_line_ends(head.encode("latin-1"))
        raise HTTPError(400, f"expected 'METHOD /path HTTP/1.1', got {start[:100]!a}")
    method, target, major, minor = match.groups()
    if major != "1":  # [http.version-505]
        raise HTTPError(505, f"HTTP/{major} is not spoken here: use HTTP/1.1")
    headers = parse_fields(lines, limits)
    if "host" not in headers and minor != "0":  # [http.host-required]
        raise HTTPError(400, "header field Host is missing")
    if target[0] != "/" and (target != "*" or method != "OPTIONS"):
        match = ABSOLUTE_FORM.fullmatch(target)
        if match is None:
            raise HTTPError(400, f"expected a path as request target, got {target[:100]!a}")
        # [http.absolute-form] Proxies send this form. Its host wins.
        headers["host"] = match[1]
        target = match[2] or "/"
    if "host" in headers and not HOST.fullmatch(headers["host"]):  # [http.host-form]
        raise HTTPError(400, f"expected Host: name or name:port, got {headers['host'][:100]!a}")
    return Request(method, target, headers, minor_version=int(minor))


def parse_fields(text: str, limits: Limits) -> dict[str, str]:
    """Split header lines into names and values: 'Accept: a\\r\\n' -> {'accept': 'a'}. HTTPError."""
    count = text.count("\n")
    if count > limits.header_fields:
        raise HTTPError(431, f"more than {limits.header_fields} header fields")
    # [http.field-line] [http.no-space-before-colon] [http.no-folding] Proxies read odd lines in
    # different ways. So all lines must be sound, to the last character.
    found = FIELD_LINE.findall(text)
    if len(found) != count:
        raise malformed_field(text)
    fields: dict[str, str] = {}
    for name, value in found:
        name = name.lower()
        if name in fields or ("," in value and name in SINGLE_FIELDS):
            value = join_values(name, fields.get(name), value)
        fields[name] = value
    return fields


def malformed_field(text: str) -> HTTPError:
    check_line_ends(text.encode("latin-1"))
    lines = text.split("\r\n")
    bad = [line for line in lines if not FIELD_LINE.fullmatch(f"{line}\r\n")]
    expected = "malformed header field: expected 'Name: value'"
    return HTTPError(400, f"{expected}, got {bad[0][:100]!a}")


def join_values(name: str, before: str | None, value: str) -> str:
    """The value of a field that comes again, or may be a list of equal copies. HTTPError."""
    if before is not None and name in STRICT_FIELDS:
        raise HTTPError(400, f"header field {name} is repeated")
    if name in SINGLE_FIELDS or name.startswith("mcp-"):
        if name in SINGLE_FIELDS and "," in value:  # '2025-11-25, 2025-11-25'
            copies = {copy.strip(" \t") for copy in value.split(",")}
            value = copies.pop() if len(copies) == 1 else value
        if before is not None and before != value:  # [http.single-field]
            raise HTTPError(400, f"header field {name} is repeated with different values")
        return value
    return f"{before}, {value}"  # [http.list-field]


def parse_length(request: Request) -> int | None:
    """The size of the body that a head announces; None for one in chunks. HTTPError."""
    length = request.headers.get("content-length", "0")
    coding = request.headers.get("transfer-encoding")
    if coding is not None:
        # [http.one-framing] [http.old-no-coding] Both at once is how requests are smuggled.
        if "content-length" in request.headers or request.minor_version == 0:
            raise HTTPError(400, "Transfer-Encoding with Content-Length, or in HTTP/1.0")
        if coding.lower() != "chunked":  # [http.coding-501]
            raise HTTPError(501, f"transfer coding must be chunked, got {coding[:100]!a}")
        return None
    if not (length.isascii() and length.isdigit()):  # [http.length-digits]
        raise HTTPError(400, f"Content-Length must be a decimal number, got {length[:100]!a}")
    # A number of 19 digits is larger than any limit.
    return int(length.lstrip("0")[:19] or "0")


def check_body_size(size: int, limits: Limits) -> None:
    """[limits.body] Guard: HTTPError for a body that is too large."""
    if size > limits.body_bytes:
        raise HTTPError(413, f"body is larger than {limits.body_bytes} bytes")


async def read_chunks(
    incoming: Incoming, limits: Limits, note: Callable[[int], None] | None = None
) -> bytes:
    """[http.chunked] Read a body in chunks: b'2\\r\\nhi\\r\\n0\\r\\n\\r\\n' is b'hi'. HTTPError."""
    body = bytearray()

    def note_all(size: int) -> None:
        """Note what was read of this chunk, and of those before it."""
        if note is not None:
            note(len(body) + size)

    # One more: the last chunk is empty.
    for _ in range(limits.chunks + 1):
        too_long = HTTPError(400, "chunk size line is longer than 1024 bytes")
        line = await incoming.line(1024, too_long)
        match = CHUNK_SIZE.fullmatch(line)
        # [http.chunk-extension] An extension is ignored. The limit of the line bounds it.
        if match is None:
            raise HTTPError(400, f"expected hexadecimal chunk size, got {line[:100]!a}")
        size = int(match[1], 16)
        if size == 0:
            await read_trailers(incoming, limits)
            return bytes(body)
        check_body_size(len(body) + size, limits)
        body += await incoming.exactly(size, note_all)
        note_all(0)
        # [http.chunk-end] Compared, not skipped: two unchecked bytes here made smuggling possible
        # in another library.
        end = await incoming.exactly(2)
        if end != b"\r\n":
            raise HTTPError(400, f"expected CRLF after a chunk, got {end!a}")
    raise HTTPError(413, f"body is in more than {limits.chunks} chunks")


async def read_trailers(incoming: Incoming, limits: Limits) -> None:
    """[http.trailers] Read the fields after the last chunk. They are checked, and not used."""
    for _ in range(limits.header_fields + 1):
        too_long = HTTPError(431, "trailer field is too long")
        line = await incoming.line(limits.request_line_bytes, too_long)
        if not line:
            return
        parse_fields(line.decode("latin-1") + "\r\n", limits)
    raise HTTPError(431, f"more than {limits.header_fields} trailer fields")


def format_head(status: int, headers: Iterable[tuple[str, str]], framing: str) -> bytes:
    """Write a status line and header fields up to the blank line. ValueError for a bad field.

    `framing` are those fields that frame the body: 'Content-Length: 5\\r\\n'.
    """
    fields = ""
    for name, value in headers:
        line = f"{name}: {value}\r\n"
        # [http.reply-fields] A CRLF would split the reply, and so would a second length.
        if not REPLY_FIELD.fullmatch(line) or ":" in name or name.lower() in FRAMING_FIELDS:
            raise ValueError(f"not a header field for a reply: {line[:100]!a}")
        fields += line
    date = format_date(int(time.time()))  # [http.date]
    start = f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\nDate: {date}\r\n"
    return f"{start}{fields}{framing}\r\n".encode("latin-1")


# All replies of one second have the same date.
@functools.lru_cache(maxsize=1)
def format_date(seconds: int) -> str:
    """[http.date-form] 0 -> 'Thu, 01 Jan 1970 00:00:00 GMT'. In English, whatever the locale is."""
    t = time.gmtime(seconds)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[t.tm_wday]
    month = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()[t.tm_mon - 1]
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{day}, {t.tm_mday:02} {month} {t.tm_year} {clock} GMT"


def format_chunk(data: bytes) -> bytes:
    """[http.chunked-reply] Frame a piece of a body: b'hello' -> b'5\\r\\nhello\\r\\n'."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def parse_accept(value: str) -> tuple[bool, bool]:
    """Whether a client takes JSON, and an event stream: 'application/json' -> (True, False)."""
    takes: dict[str, bool] = {}
    for item in value.lower().split(","):
        media_type, _, parameters = item.partition(";")
        takes[media_type.strip()] = not parameters or not NO_QUALITY.search(parameters)
    # [http.accept] The most specific range that is named decides.
    anything = takes.get("*/*", False)
    takes_json = takes.get("application/json", takes.get("application/*", anything))
    takes_stream = takes.get("text/event-stream", takes.get("text/*", anything))
    return takes_json, takes_stream


# ---- 2 Event streams ---------------------------------------------------------------------------
# An event stream is text: lines of 'field: value', and a blank line ends each event ("Server-sent
# events" of the HTML standard). This section knows no method of MCP. Its `Stream` is the whole
# answer to one POST, or what a session's GET receives: a call writes messages into it, the response
# last. Its `Reader` is one connection's turn at reading it. The stream outlives its readers: when a
# connection breaks, messages wait for the client to come back. What waits is counted in an
# `Account`, so that no peer fills the memory.

EVENT_STREAM_HEADERS = (  # [sse.media-type] [stream.no-buffering]
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),  # otherwise nginx holds events back until its buffer is full
)
COMMENT = b":\n\n"  # [sse.comment] the smallest thing that keeps a proxy awake; clients ignore it
OVERHEAD = 200  # bytes that a message costs in memory besides its data, about
UNREAD = 16  # messages that may wait for a reader before the handler has to wait
LARGE = 64 * 1024  # bytes; a handler waits until a message of such a size is read


def format_event(data: bytes, event_id: str = "", kind: str = "") -> bytes:
    """[sse.event] (b'{}', 'a-1') -> b'id: a-1\\ndata: {}\\n\\n'. The data has no line break."""
    head = ""
    if kind:
        head += f"event: {kind}\n"
    if event_id:
        head += f"id: {event_id}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)


class Account:
    """[limits.memory] Counts the bytes of all that is kept or unread.

    Each session has an account, and the server has one that includes them all.
    """

    __slots__ = ("limit", "parent", "tidy_above", "used")

    def __init__(self, limit: int, parent: Account | None = None) -> None:
        self.limit = limit
        self.parent = parent  # the account that includes this one
        self.used = 0
        self.tidy_above = limit  # `add` calls `make_room` only when `used` is larger than this

    def add(self, size: int) -> None:
        """Count some bytes more, or less, and make room where that is too much."""
        self.used += size
        if self.used <= self.limit:
            self.tidy_above = self.limit
        elif size > 0 and self.used > self.tidy_above:
            self.make_room(self.limit * 7 // 8)
            # What is left cannot be forgotten. Without this, each `add` would look at all again.
            self.tidy_above = max(self.limit, self.used + self.limit // 8)
        if self.parent is not None:
            self.parent.add(size)

    def has_room(self) -> bool:
        """Whether more may be kept, after all that can be forgotten was forgotten."""
        if self.used > self.limit:
            self.make_room(self.limit * 7 // 8)
        return self.used <= self.limit

    def may_overdraw(self) -> bool:
        """Whether a large response may be kept, even if the session is over its own limit.

        It may, while the server has more free than the session uses.
        """
        if self.parent is None:
            return self.has_room()
        free = self.parent.limit - self.parent.used
        return self.parent.has_room() and (self.has_room() or self.used < free)

    def make_room(self, goal: int) -> None:
        """Forget what can be forgotten, until at most `goal` bytes are left."""
        raise NotImplementedError  # sessions know what that is


def no_room() -> HTTPError:
    """[limits.memory] The refusal of a request that memory has no room for."""
    return busy("too much is held that was not read yet: try again later")


class Event(NamedTuple):
    number: int  # 1, 2, 3, ... within its stream
    data: bytes  # a JSON-RPC message
    needed: bool  # a response or a question: not forgotten while it is unread
    kind: str  # the event's type; '' means the same as 'message'


class Stream:
    """[stream.no-broadcast] Numbered messages for one reader at a time.

    A stream begins undecided: it may become one JSON body. From the first message before the
    response on, it is an event stream, see `use_sse`. (A client that takes JSON only gets no such
    message.) It ends with the last response.

    All who wait for something wait for the stream's next change, see `wait`: the POST for the form
    of its answer, the reader for messages, the handler for its reader.
    """

    # Most streams carry one response, and leave these values of the class as they are.
    ended = False
    responses = 0  # how many there were
    status = 200  # the HTTP status of a JSON body
    size = 0  # bytes of all events here, as the account counts them
    last_number = 0  # of the newest event
    handed_number = 0  # of the newest event that a reader has taken, or the client has seen
    # A stream without a name cannot be resumed, and keeps nothing that was read.
    name = ""  # the first half of its event ids
    retry_seconds: float | None = None  # given: each reader first gets an empty event with an id
    kind = ""  # the type of its events
    reader: Reader | None = None
    release_next = False  # `release` came before a reader: it leaves after its first bytes
    # Called when the reader disconnects. It notes the time for a session, ends a session of
    # HTTP+SSE, or cancels a stateless call.
    on_left: Callable[[], object] | None = None

    def __init__(
        self, account: Account, takes_json: bool = True, takes_stream: bool = True,
        responses_left: float = 1,
    ) -> None:  # fmt: skip
        self.account = account
        self.takes_json = takes_json  # what the client accepts
        self.takes_stream = takes_stream
        self.responses_left = responses_left  # at 0 the stream ends; math.inf: it has no end
        self.is_sse = False  # it is an event stream, whatever comes
        self.unread: list[Event] = []
        # Taken by a reader, and kept for clients that come back. Nobody knows whether they arrived.
        self.handed: list[Event] = []
        self.waiting: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        return f"<Stream with {len(self.unread)} unread messages{', ended' if self.ended else ''}>"

    @property
    def undecided(self) -> bool:
        """Whether the answer may still become one JSON body or an event stream."""
        return not self.is_sse and not self.ended

    @property
    def endless(self) -> bool:
        return self.responses_left == math.inf

    @property
    def delivered(self) -> bool:
        """Whether the stream has ended, and all of it was handed to a reader."""
        return self.ended and not self.unread

    async def wait(self) -> None:
        """Wait for the next change: a message, a reader, a reading, the end."""
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        await waiter

    def wake(self) -> None:
        if not self.waiting:
            return
        waiting = self.waiting
        self.waiting = []
        for waiter in waiting:
            # A waiter that was cancelled is done already.
            if not waiter.done():
                waiter.set_result(None)

    # For those who write.

    async def send(self, data: bytes, needed: bool = False) -> None:
        """[stream.back-pressure] Add a message, and wait while the reader is slow.

        [progress.stop] A message after the response is dropped. If the client accepts no event
        stream, every message is dropped.
        """
        if self.takes_stream and not self.ended:
            self.push(data, needed)
            may_wait = 0 if len(data) > LARGE else UNREAD
            while self.reader is not None and len(self.unread) > may_wait and not self.ended:
                await self.wait()
        # [handler.yields] A handler that does nothing but report lets others run.
        if self.reader is None:
            await asyncio.sleep(0)

    def push(self, data: bytes, needed: bool = False, kind: str = "") -> None:
        """Add a message. Never waits."""
        self.use_sse()
        self.add(data, needed, kind or self.kind)

    def push_once(self, data: bytes) -> None:
        """[notice.once] Add a notice, unless the same one still waits to be read."""
        if all(event.data != data for event in self.unread):
            self.push(data)

    def answer(self, response: bytes | None, status: int = 200) -> None:
        """[stream.response-arrives] Add a call's response; None where the call was cancelled."""
        if self.ended:
            return
        self.status = status
        self.responses_left -= 1
        self.ended = self.responses_left <= 0
        if response is None:
            self.wake()
        else:
            self.responses += 1
            self.add(response, True, self.kind)

    def add(self, data: bytes, needed: bool, kind: str) -> None:
        self.last_number += 1
        self.unread.append(Event(self.last_number, data, needed, kind))
        # A small response that is a JSON body leaves at once, and is not worth counting.
        if self.is_sse or len(data) > LARGE:
            self.size += len(data) + OVERHEAD
            self.account.add(len(data) + OVERHEAD)
        self.wake()

    def use_sse(self) -> None:
        """From here on the answer is an event stream, if the client takes one."""
        if self.takes_stream and not self.is_sse:
            self.is_sse = True
            # A small JSON body was not counted.
            self.count()
            self.wake()

    def use_sse_if_silent(self) -> None:
        """Called when a call was silent for too long. Does nothing if it was just answered."""
        if not self.ended:
            self.use_sse()

    def end(self) -> None:
        """End the stream, without the responses that are still expected."""
        self.ended = True
        self.wake()

    def release(self) -> None:
        """[stream.close-to-poll] End the reader's HTTP response; the stream stays open."""
        self.use_sse()
        # Where nobody has read yet, the first reader still learns where to resume.
        self.release_next = self.reader is None and self.handed_number == 0
        self.reader = None
        self.wake()

    # For those who read.

    def attach(self, after: int | None = None) -> Reader:
        """Begin to read: after the event with the number `after`, or where the last reader stopped.

        [stream.newest-wins] Another reader ends. So a client that crashed and came back is not
        locked out by its own old connection.
        """
        # Forget what the client has seen. All that followed is unread again.
        if after is not None:
            self.unread = [event for event in self.handed + self.unread if event.number > after]
            self.handed = []
            self.handed_number = after
            self.count()
        # [stream.prime] [stream.retry-before-close] The first bytes come at once. Their id lets a
        # client resume before there is any message, and `retry` says when.
        opening = COMMENT
        if self.retry_seconds is not None:
            retry = f"retry: {self.retry_seconds * 1000:.0f}\n".encode()
            opening = retry + format_event(b"", f"{self.name}-{self.handed_number}")
        self.reader = Reader(self, opening)
        self.wake()
        return self.reader

    def take(self) -> bytes:
        """Hand over all events that are ready, as they are on the wire."""
        # [stream.no-event-ids] What was handed over before is written by now.
        if not self.name:
            self.forget_handed()
        if not self.unread:
            return b""
        pieces = []
        for number, data, _, kind in self.unread:
            pieces.append(format_event(data, f"{self.name}-{number}" if self.name else "", kind))
        self.handed_number = self.unread[-1].number
        self.handed += self.unread
        self.unread = []
        self.wake()
        return b"".join(pieces)

    # Forgetting.

    def count(self) -> None:
        """Tell the account how many bytes are here."""
        size = 0
        for event in self.handed + self.unread:
            size += len(event.data) + OVERHEAD
        self.account.add(size - self.size)
        self.size = size

    def forget_handed(self) -> None:
        if self.handed:
            self.handed = []
            self.count()

    def forget_all(self) -> None:
        self.handed = []
        self.unread = []
        self.count()

    def forget_notifications(self, size: int) -> None:
        """[stream.bounded] Forget the oldest notifications, about `size` bytes; others stay."""
        # If there is a reader, the newest messages stay: `send` lets UNREAD of them wait for it.
        old = self.unread if self.reader is None else self.unread[:-UNREAD]
        forgotten = set()
        for event in self.handed + old:
            if size > 0 and not event.needed:
                size -= len(event.data) + OVERHEAD
                forgotten.add(event.number)
        self.handed = [event for event in self.handed if event.number not in forgotten]
        self.unread = [event for event in self.unread if event.number not in forgotten]
        self.count()


@dataclass(slots=True, eq=False)
class Reader:
    """One connection's turn at reading a stream."""

    stream: Stream
    opening: bytes

    async def read(self) -> bytes:
        """Wait for events, and return all that are ready.

        b'' ends the turn: the stream has ended, or was released, or has another reader.
        """
        stream = self.stream
        data = self.opening
        self.opening = b""
        while stream.reader is self:
            data += stream.take()
            if data or stream.ended:
                break
            await stream.wait()
        if data and stream.release_next:
            stream.release_next = False
            stream.reader = None
        return data

    def detach(self) -> None:
        """Stop reading. Where the stream has not come to its end, the client has disconnected."""
        stream = self.stream
        # It was replaced or released: the client has not left.
        if stream.reader is not self:
            return
        stream.reader = None
        left = not stream.delivered
        # Nobody can come back for it.
        if not stream.name:
            stream.end()
            stream.forget_all()
        stream.wake()
        # [disconnect.not-cancel] With a session of Streamable HTTP this does not cancel the call.
        if left and stream.on_left is not None:
            stream.on_left()


# ---- 3 Connection ------------------------------------------------------------------------------
# One coroutine serves one connection. Its code follows the protocol: read a head, ask the gate,
# read the body, answer. Timers are expensive. So a connection only notes its state and a deadline,
# and one sweep a second looks at all connections.
#
# The states, and what leads from one to the next:
#
#     IDLE       -- the first byte -->          HEAD
#     HEAD       -- the blank line -->          WORKING   (the gate judges the head)
#     WORKING    -- a body is not here yet -->  BODY
#     BODY       -- its last byte -->           WORKING   (the request is answered)
#     any of these -- a refusal -->             SENDING
#     WORKING    -- the reply is there -->      SENDING, or STREAMING if it is an event stream
#     STREAMING  -- its reader's turn ends -->  SENDING
#     SENDING    -- nearly all is taken -->     IDLE, or LINGERING after the last reply
#     LINGERING  -- the peer leaves, or 2 s --> CLOSING
#     IDLE, HEAD, BODY -- the peer leaves -->   CLOSING
#
# When a deadline passes, HEAD and BODY are answered 408, IDLE and LINGERING end silently, and
# CLOSING is aborted. A peer that takes nothing of what was written is aborted, in any state. A
# reset connection cancels the task that serves it, in any state. A call with a session survives
# that, since it has a task of its own. A client that only ends its side may still listen: see
# `probe`.

IDLE = "idle"
HEAD = "head"
BODY = "body"
WORKING = "working"
SENDING = "sending"
STREAMING = "streaming"
LINGERING = "lingering"
CLOSING = "closing"
TIMED = (IDLE, HEAD, BODY, LINGERING, CLOSING)  # the states that have a deadline
NOTHING = Request("-", "-")  # stands for a request whose head could not be read


class Connection:
    """One TCP connection of a server."""

    def __init__(
        self, server: MCPServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # For its whole life.
        self.server = server
        self.incoming = Incoming(reader)
        self.writer = writer
        self.watcher: asyncio.Task[None] | None = None  # runs `watch`
        self.one_too_many = len(server.connections) >= server.most_connections
        # Now.
        self.state = IDLE
        self.deadline = server.clock() + server.limits.idle_seconds
        self.held = 0  # bytes of the request's body, as the server's account counts them
        self.written = 0  # bytes written so far
        self.taken = 0  # how many of these the peer had taken at the last sweep
        self.moved_at = server.clock()  # when the peer last took some, or had taken all
        self.reply_at = 0.0  # when we last wrote to an event stream
        # For one request.
        self.request = NOTHING
        self.started_at = server.clock()
        self.chunked = False  # whether the reply goes out in chunks

    # Reading and answering.

    async def serve(self) -> None:
        """[http.pipelining] Answer one request after the other, while both sides want to."""
        if not await self.start_tls():
            return
        self.watcher = start_task(self.watch(asyncio.current_task()))
        try:
            while await self.serve_one() and not self.server.closing.is_set():
                if self.incoming.buffer:
                    # The next request is there already: let others run.
                    await asyncio.sleep(0)
            await self.linger()
        except (ConnectionEnded, OSError, asyncio.CancelledError):
            pass  # the peer is gone, which is its right
        except Exception:  # a reply that cannot be written, for which the peer would wait
            log.exception("%s %s: no reply", self.request.method, self.request.logged_path)
            self.writer.transport.abort()
        finally:
            self.hold(0)
            self.close()

    async def start_tls(self) -> bool:
        """Shake hands, if the server speaks TLS. Returns whether the connection can be used.

        The connection is counted before the handshake. So the limit covers slow handshakes, too.
        """
        context = self.server.ssl_context
        if context is None:
            return True
        transport = self.writer.transport
        patience = self.server.limits.head_seconds
        # Without TLS, the peer cannot be told about the refusal.
        if not self.one_too_many:
            try:
                await self.writer.start_tls(context, ssl_handshake_timeout=patience)
                return True
            except (OSError, AttributeError, asyncio.CancelledError):
                pass  # the peer speaks no TLS, or was slow, or left
            # If the peer left, asyncio 3.11 removes the writer's transport, and needs it later.
            self.writer._transport = transport  # type: ignore[attr-defined]
        transport.abort()
        self.server.connections.discard(self)
        return False

    async def watch(self, serving: asyncio.Task[Any] | None) -> None:
        """Wait until the connection is closed, whoever closed it, and cancel what serves it."""
        # The connection may have been reset.
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
        self.server.connections.discard(self)
        if serving is not None:
            serving.cancel()

    async def serve_one(self) -> bool:
        """Read a request and answer it. Returns whether another one may follow."""
        self.request = NOTHING
        unread = True  # whether bytes of this request may still come
        try:
            request = await self.read_head()
            unread = request.length != 0
            await admit(self.server, request)  # [gate.before-body]
            if unread:
                request.body = await self.read_body(request)
                unread = False
            reply = await answer(self.server, request)
            if len(reply.body) > LARGE and not self.reply_account().may_overdraw():
                raise no_room()
        except ConnectionEnded:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            reply = refuse(self.server, self.request, error)
        stays = self.request.keep_alive and not unread and not self.server.closing.is_set()
        stays = await self.send(reply, stays)
        if self.held:
            self.hold(0)
        if log.isEnabledFor(logging.INFO):
            self.log_access(reply.status)
        return stays

    async def read_head(self) -> Request:
        limits = self.server.limits
        if self.one_too_many:  # [limits.connections]
            raise busy("too many connections: try again later")
        self.enter(IDLE, limits.idle_seconds)
        await self.incoming.begin()
        self.started_at = self.enter(HEAD, limits.head_seconds)
        self.request = request = await read_head(self.incoming, limits)
        request.length = parse_length(request)
        self.state = WORKING
        return request

    async def read_body(self, request: Request) -> bytes:
        incoming = self.incoming
        if request.length is not None and request.length <= len(incoming.buffer):
            return incoming.take(request.length)
        self.enter(BODY, self.server.limits.body_seconds)
        # [http.expect-100] [http.old-no-expect] The gate was passed, so ask for the body.
        expects = request.headers.get("expect", "").lower() == "100-continue"
        if expects and request.minor_version > 0 and not incoming.buffer:
            self.writer.write(CONTINUE)
        if request.length is None:
            body = await read_chunks(incoming, self.server.limits, self.hold)
        else:
            body = await incoming.exactly(request.length, self.hold)
        self.state = WORKING
        return body

    def hold(self, size: int) -> None:
        """[limits.memory] Count so many bytes of a body until it is answered. HTTPError."""
        self.server.account.add(size - self.held)
        self.held = size
        if size > LARGE and not self.server.account.has_room():
            raise no_room()

    def reply_account(self) -> Account:
        """The account of the session that the call belongs to, or that of the server."""
        stream = self.request.stream
        return self.server.account if stream is None else stream.account

    # Writing.

    async def send(self, reply: Reply, stays: bool) -> bool:
        """Send a reply to its end. Returns whether another request may follow on the connection."""
        has_body = self.request.method != "HEAD" and reply.status not in NO_BODY
        if reply.stream is not None and has_body:
            return await self.send_stream(reply, reply.stream, stays)
        framing = self.connection_field(stays)
        if reply.status in NO_BODY:
            if reply.body:  # [http.204-no-body]
                raise ValueError(f"a reply with status {reply.status} has no body")
        elif reply.stream is None:  # [http.204-no-length]
            framing = f"Content-Length: {len(reply.body)}\r\n{framing}"
        head = format_head(reply.status, reply.headers, framing)
        self.state = SENDING
        self.put(head + reply.body if has_body else head)  # [http.head-no-body]
        # The transport keeps the bytes that are not sent: drop our copy.
        reply.body = b""
        await self.drain()
        return stays

    async def send_stream(self, reply: Reply, stream: Stream, stays: bool) -> bool:
        """[stream.one-go] Write all that is ready in one piece, wait for the peer, and again."""
        self.chunked = self.request.minor_version > 0
        stays = stays and self.chunked  # [http.old-no-chunks] the connection's end is the body's
        framing = self.connection_field(stays)
        if self.chunked:
            framing = f"Transfer-Encoding: chunked\r\n{framing}"
        head = format_head(reply.status, reply.headers, framing)
        reader = stream.attach(reply.after)
        self.state = STREAMING
        try:
            while data := await reader.read():
                self.put(head + (format_chunk(data) if self.chunked else data))
                self.reply_at = self.server.clock()
                head = data = b""
                # The stream's account counts what it has handed over.
                await self.writer.drain()
        finally:
            self.state = SENDING
            reader.detach()
        if self.chunked:
            self.put(head + LAST_CHUNK)
            await self.writer.drain()
        return stays

    def connection_field(self, stays: bool) -> str:
        """[http.close-said] What the reply says of the connection, where that is not the usual."""
        if not stays:
            return "Connection: close\r\n"
        return "Connection: keep-alive\r\n" if self.request.minor_version == 0 else ""

    async def drain(self) -> None:
        """Wait while the peer is slow. What could not leave at once counts until then."""
        waiting = self.writer.transport.get_write_buffer_size()
        if waiting > 0:
            account = self.reply_account()
            account.add(waiting)
            try:
                await self.writer.drain()
            finally:
                account.add(-waiting)

    def put(self, data: bytes) -> None:
        # TLS passes on a whole piece at once, and `drain` does not see it. Small pieces wait.
        size = LARGE if self.server.ssl_context is not None else len(data)
        for start in range(0, len(data), size):
            self.writer.write(data[start : start + size])
        self.written += len(data)

    def log_access(self, status: int) -> None:
        """[log.access] One line for each request."""
        request = self.request
        peer = self.writer.get_extra_info("peername") or ["-"]
        method = request.method[:20]
        seconds = self.server.clock() - self.started_at
        log.info("%s %s %a %d %.3f s", peer[0], method, request.logged_path, status, seconds)

    # Ending.

    async def linger(self) -> None:
        """[http.linger] Throw away what still comes, for at most 2 seconds.

        To close a socket with unread bytes resets it, and the peer may lose our last reply.
        """
        self.enter(LINGERING, 2)
        if self.server.closing.is_set():
            return
        # TLS cannot do this. Its peer goes by the length of the reply.
        if self.writer.can_write_eof():
            self.writer.write_eof()
        while True:
            self.incoming.buffer.clear()
            await self.incoming.more()

    def close(self) -> None:
        self.enter(CLOSING, self.server.limits.send_seconds)
        # TLS does not like to be closed twice.
        if not self.writer.is_closing():
            self.writer.close()

    def enter(self, state: str, seconds: float) -> float:
        """Begin to wait for the peer, for at most so many seconds. Returns the time."""
        now = self.server.clock()
        self.state = state
        self.deadline = now + seconds
        # What `expire` has put there was for the wait before, and may have come too late for it.
        self.incoming.stream.set_exception(None)  # type: ignore[arg-type]
        return now

    # The sweep, once a second.

    def sweep(self, now: float) -> None:
        """[limits.time] Give up on a peer that is late, and keep a silent stream alive."""
        limits = self.server.limits
        self.notice_reading(now)
        if now - self.moved_at > limits.send_seconds:
            log.info("connection aborted: the client read nothing for %g s", limits.send_seconds)
            self.writer.transport.abort()
        elif self.state in TIMED and now > self.deadline:
            self.expire()
        elif self.incoming.stream.at_eof():
            self.probe()
        elif self.state == STREAMING and now - self.reply_at >= limits.heartbeat_seconds:
            self.write_comment()  # [stream.heartbeat]

    def notice_reading(self, now: float) -> None:
        """Note when the peer last took some of what we wrote, or had taken all of it."""
        waiting = self.writer.transport.get_write_buffer_size()
        taken = self.written - waiting
        if waiting == 0 or taken > self.taken:
            self.moved_at = now
        self.taken = taken

    def expire(self) -> None:
        """Make the read fail that has taken too long."""
        # A TLS peer that does not agree to the end.
        if self.state == CLOSING:
            self.writer.transport.abort()
            return
        error: Exception = ConnectionEnded()
        if self.state == HEAD:
            error = HTTPError(408, "the request head took too long")
        elif self.state == BODY:
            error = HTTPError(408, "the request body took too long")
        self.incoming.stream.set_exception(error)

    def probe(self) -> None:
        """The client sends no more. Perhaps it still listens, and perhaps it is gone.

        Only a write tells: the machine of a client that is gone answers by a reset.
        """
        if self.state == STREAMING:
            self.write_comment()
        elif self.state == WORKING and self.request.stream is not None:
            # Start the stream, so that there is something to write.
            self.request.stream.use_sse()

    def write_comment(self) -> None:
        # If some bytes are not taken yet, the peer has enough to read.
        if self.taken == self.written:
            self.put(format_chunk(COMMENT) if self.chunked else COMMENT)
            self.reply_at = self.server.clock()

    def end(self) -> None:
        """The server closes: end a connection that waits for a request."""
        if self.state in (IDLE, HEAD, BODY, LINGERING):
            self.incoming.stream.set_exception(ConnectionEnded())


def is_cancelled() -> bool:
    """Whether the current task was cancelled. A handler may raise CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def start_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a coroutine as a task. The event loop holds tasks weakly: the coroutine notes its own.

    From Python 3.12 on it runs at once, up to its first wait. So a handler that never waits costs
    no turn of the event loop.
    """
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return loop.create_task(coroutine)


# ---- 4 JSON-RPC --------------------------------------------------------------------------------
# From text to a message, and back. A message stays a dict, as it is on the wire. This section knows
# no HTTP. What it refuses is an `RPCError`.

MAX_NESTING = 100  # arrays and objects inside one another; the default of Ruby's JSON
MAX_VALUES = 150_000  # in one message; reading more would hold up others for half a second
MAX_DIGITS = 20  # of an integer; JavaScript loses digits after 16, and 2**64 has 20
HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_message(body: bytes) -> Message | list[Any]:
    """Parse one message, and check its envelope; a batch is only parsed. RPCError."""
    message = parse_json(body)
    if isinstance(message, list):
        return message
    return check_envelope(message)


def parse_json(body: bytes) -> Any:
    """Parse JSON that no two readers would read differently. RPCError."""
    try:
        if len(body) > MAX_VALUES and count_values(body) > MAX_VALUES:
            raise ValueError(f"it holds more than {MAX_VALUES} values")
        text = body.decode().strip(" \t\n\r")  # [message.utf-8]
        value, end = DECODER.raw_decode(text)  # [json.strict]
        if end < len(text):
            raise ValueError(f"more text follows the value that ends at character {end}")
        # An escape may be half of a surrogate pair.
        if b"\\" in body and HALF_CHARACTER.search(body):
            json.dumps(value, ensure_ascii=False).encode()
        if body.count(b"[") + body.count(b"{") > MAX_NESTING:
            check_nesting(value)
        return value
    except UnicodeEncodeError:
        raise RPCError(PARSE_ERROR, "a string holds half of a surrogate pair") from None
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: {error.reason} at byte {error.start}"
        raise RPCError(PARSE_ERROR, message) from None
    except RecursionError:
        raise RPCError(PARSE_ERROR, "the JSON is nested too deeply") from None
    except ValueError as error:  # [jsonrpc.parse-error]
        raise RPCError(PARSE_ERROR, f"the body is not JSON: {error}") from None


def count_values(body: bytes) -> int:
    """[limits.work] Count the values of a JSON text: each ',', '[' and '{' begins one."""
    # Each string is a value or the name of one. So many strings need no further look.
    strings = (body.count(b'"') - body.count(rb'\"')) // 2
    if strings > MAX_VALUES:
        return strings
    without_escapes = body.replace(rb"\\", b"").replace(rb"\"", b"")
    outside = b"".join(without_escapes.split(b'"')[::2])
    return outside.count(b",") + outside.count(b"[") + outside.count(b"{")


def check_nesting(value: Any) -> None:
    """[json.nesting] RecursionError for too many arrays and objects inside one another."""
    level = [value]  # all that lies at one depth, then all at the next
    for _ in range(MAX_NESTING):
        inner: list[Any] = []
        for member in level:
            members = member.values() if isinstance(member, dict) else member
            inner += [each for each in members if isinstance(each, (dict, list))]
        level = inner
        if not level:
            return
    raise RecursionError


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name appears twice in one object")
    return members


def read_integer(text: str) -> int:
    """[json.integers] Long integers lose digits in other languages, and cost time in this one."""
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"an integer has more than {MAX_DIGITS} digits")
    return int(text)


def read_number(text: str) -> float:
    """ValueError for NaN, Infinity and 1e999, which JSON could not express again."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no JSON number, or out of range")
    return number


def check_envelope(message: object) -> Message:
    """[jsonrpc.format] [jsonrpc.invalid-request] Check what makes a value a JSON-RPC 2.0 message.

    Returns the message, where `params` that are null are left out. RPCError.
    """
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        expected = 'expected one JSON-RPC message: an object with "jsonrpc": "2.0"'
        raise RPCError(INVALID_REQUEST, expected)
    if "id" in message:
        check_id(message["id"])
    if "method" not in message:
        # [response.one-of]
        if "id" not in message or ("result" in message) == ("error" in message):
            expected = "expected a method, or an id and either a result or an error"
            raise RPCError(INVALID_REQUEST, expected)
        return message
    method = message["method"]
    if not isinstance(method, str) or len(method) > MAX_TEXT:
        expected = f"method must be a string of at most {MAX_TEXT} characters"
        raise RPCError(INVALID_REQUEST, expected)
    params = message.get("params")
    if params is None:
        message.pop("params", None)  # [message.null-is-absent]
    elif not isinstance(params, dict):
        raise RPCError(INVALID_REQUEST, "params must be an object")
    return message


def check_id(value: Any) -> None:
    """[request.id-present] [request.id-not-null] A string or an integer. RPCError."""
    kind = type(value)  # and not isinstance: in Python a bool is an int
    if kind is not str and kind is not int:
        found = json.dumps(value)[:60]
        raise RPCError(INVALID_REQUEST, f"id must be a string or an integer, got {found}")
    if kind is str and len(value) > MAX_TEXT:  # [limits.text] it is echoed
        raise RPCError(INVALID_REQUEST, f"id is longer than {MAX_TEXT} characters")


def is_request(message: Message) -> bool:
    return "method" in message and "id" in message


def encode(value: object) -> bytes:
    """[json.ascii] Write JSON on one line, in ASCII: real clients hang on a raw U+2028.

    ValueError for NaN, infinity and what contains itself; TypeError for what is no JSON.
    """
    try:
        return ascii_json(value).encode()
    except RecursionError:
        raise ValueError("a value contains itself, or is nested too deeply") from None


def encode_result(request_id: str | int, result: Message | bytes) -> bytes:
    """[result.same-id] [result.field] Write a response. A result in bytes is JSON already."""
    if isinstance(result, bytes):
        return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (encode(request_id), result)
    return encode({"jsonrpc": "2.0", "id": request_id, "result": result})


def encode_error(request_id: str | int, error: RPCError) -> bytes:
    """[error.same-id] [error.code-message] Write an error response."""
    content = error_object(error.code, error.message, error.data)
    try:
        return encode({"jsonrpc": "2.0", "id": request_id, "error": content})
    except (TypeError, ValueError):  # the author's data has no form in JSON
        log.exception("the data of an RPCError cannot be sent")
        return encode_error(request_id, RPCError(error.code, error.message))


def error_object(code: int, message: str, data: object = None) -> Message:
    return present(code=code, message=message, data=data)


def encode_notification(method: str, params: Message | None = None) -> bytes:
    """[notification.no-id] Write a notification."""
    message: Message = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        message["params"] = params
    return encode(message)


def present(**members: Any) -> Message:
    """Keep what is not None, since MCP leaves out what is absent: (a=1, b=None) -> {'a': 1}."""
    return {name: value for name, value in members.items() if value is not None}


DECODER = json.JSONDecoder(
    object_pairs_hook=unique_members, parse_int=read_integer,
    parse_constant=read_number, parse_float=read_number,
)  # fmt: skip


def json_writer(ensure_ascii: bool, separators: tuple[str, str]) -> Callable[[Any], str]:
    """Make a function that writes JSON. It raises as `encode` does, and RecursionError.

    `json` builds a new encoder for each text, which takes longer than to write a small text. So
    this keeps one. The class of it has no documentation, and other Pythons may not have it.
    """
    # A value that contains itself ends in a RecursionError, so nothing need look for one.
    slow = json.JSONEncoder(
        ensure_ascii=ensure_ascii, allow_nan=False, check_circular=False, separators=separators
    )
    make_encoder = getattr(json.encoder, "c_make_encoder", None)
    if make_encoder is None:
        return slow.encode
    names = json.encoder
    escape = names.encode_basestring_ascii if ensure_ascii else names.encode_basestring
    comma, colon = separators
    write = make_encoder(None, slow.default, escape, None, colon, comma, False, False, False)

    def to_json(value: Any) -> str:
        return "".join(write(value, 0))

    return to_json


ascii_json = json_writer(True, (",", ":"))


# ---- 5 Endpoint --------------------------------------------------------------------------------
# Here HTTP and JSON-RPC meet. `admit` is the gate: it judges a request by its head, in this order:
#
#     Host 403, Origin 403, path 404, method 405, token 401 and 403, then, as the route asks for it,
#     protocol version, Accept 406, Content-Type 415, size 413
#
# The gate asks where a request comes from (Host, Origin), what it is for (path, method), who sends
# it (token), and then which form it has. The gate comes before the body: the body of a request that
# is refused is not read. `answer` then lets the route's function act, which checks what only the
# body tells: JSON-RPC 400, the version of a POST, the session 400 and 404. Guards raise; `refuse`
# alone makes the reply to a refused HTTP request. The map of all URLs begins at `find_routes`.

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

RouteFunction = Callable[["MCPServer", Request], Awaitable[Reply]]


class Route(NamedTuple):
    """What is at a path for one HTTP method, and what the gate asks for before it."""

    function: RouteFunction
    needs_token: bool = True  # if the server has `auth`
    needs_version: bool = False  # MCP-Protocol-Version, if sent, names a revision with sessions
    needs_stream: bool = False  # the client must accept an event stream
    needs_json: bool = False  # the body must be JSON, and the client must accept an answer


Routes = dict[str, Route]  # by HTTP method


async def admit(server: MCPServer, request: Request) -> None:
    """Judge a request by its head, and note in the request what was found. HTTPError."""
    check_host(server, request)
    check_origin(server, request)
    routes = find_routes(server, request)
    route = routes.get(request.method)
    if route is None:
        raise wrong_method(request, routes)
    request.route = route
    if server.auth is not None and route.needs_token:  # [auth.before-processing]
        await check_authorization(server, server.auth, request)
    if route.needs_version:
        check_version_header(request)
    check_accept(request, route)
    if route.needs_json:
        check_content_type(request)
    check_body_size(request.length or 0, server.limits)


async def answer(server: MCPServer, request: Request) -> Reply:
    """Let the function of the route answer. HTTPError, RPCError."""
    assert request.route is not None
    reply = await request.route.function(server, request)
    if request.origin is None:
        return reply
    return dataclasses.replace(reply, headers=(*reply.headers, *cors_headers(request.origin)))


def refuse(server: MCPServer, request: Request, error: BaseException) -> Reply:
    """[post.refused-error-status] [answers.json] Turn an error into its reply.

    The body is a JSON-RPC error. It has the id of no request, since the whole exchange has failed.
    """
    if isinstance(error, RPCError):
        error = HTTPError(400, error.message, code=error.code)
    # [answers.nothing-internal] A bug, here or in a route's function.
    if not isinstance(error, HTTPError):
        log.error("%s %s failed", request.method, request.logged_path, exc_info=error)
        error = HTTPError(500, "Internal error", code=INTERNAL_ERROR)
    body: Message = {"jsonrpc": "2.0", "error": error_object(error.code, error.message)}
    # [error.id-required] Before 2025-11-25 an error needs an id; JSON-RPC says null for none.
    if request.headers.get("mcp-protocol-version", "") < "2025-11-25":
        body["id"] = None
    headers: tuple[tuple[str, str], ...] = (*JSON_HEADERS, *error.headers)
    if request.origin is not None:
        headers = (*headers, *cors_headers(request.origin))
    return Reply(error.status, headers, encode(body))


# The gate.


def check_host(server: MCPServer, request: Request) -> None:
    """[host.validate] Refuse a Host that is not ours. This stops DNS rebinding.

    A web page can make its own name point to this machine, but its requests still carry that name.
    """
    host = request.headers.get("host", "localhost").lower()
    if is_loopback(host) or "*" in server.allowed_hosts:
        return
    if host not in server.allowed_hosts and without_port(host) not in server.allowed_hosts:
        server.warn_once(f"refused Host {host[:100]!a}: put it into allowed_hosts if it is yours")
        message = "the Host header names a host that this server does not answer for"
        raise HTTPError(403, f"{message} (see allowed_hosts)")


def check_origin(server: MCPServer, request: Request) -> None:
    """[origin.validate] [origin.reject-403] Refuse an Origin that is present and not allowed.

    Browsers send the Origin of the page with each request that could do harm.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return
    scheme, _, host = origin.partition("://")
    own = scheme in ("http", "https") and is_loopback(host.lower())
    if not own and origin not in server.allowed_origins and "*" not in server.allowed_origins:
        hint = f"refused Origin {origin[:100]!a}: put it into allowed_origins if it is yours"
        server.warn_once(hint)
        message = "the Origin header names a site that may not call this server"
        raise HTTPError(403, f"{message} (see allowed_origins)")
    request.origin = origin


def is_loopback(host: str) -> bool:
    """'localhost:8000' -> True, 'localhost.evil.example' -> False"""
    return without_port(host) in LOOPBACK_HOSTS


def without_port(host: str) -> str:
    """'localhost:8000' -> 'localhost', 'localhost:' -> 'localhost', '[::1]' -> '[::1]'"""
    name, colon, port = host.rpartition(":")
    return name if colon and (port.isdigit() or not port) else host


def find_routes(server: MCPServer, request: Request) -> Routes:
    """[endpoint.single-path] [endpoint.slash] The map of all URLs. A slash at the end is ignored.

    HTTPError where nothing is.
    """
    path = request.path
    if len(path) > 1:
        path = path.removesuffix("/")
    if path == server.path:
        return ENDPOINT
    if path in server.pages:
        return server.pages[path]
    match path.split("/")[1:]:
        case ["health"]:
            return HEALTH
        case [".well-known", "oauth-protected-resource", *_]:
            if server.auth is not None and path in server.auth.metadata_paths(server.path):
                return METADATA
        case parts if server.two_channel:
            routes = find_two_channel_routes(parts, request)
            if routes is not None:
                return routes
    if path == "*":  # [http.options-all]
        return {"OPTIONS": ENDPOINT["OPTIONS"]}
    raise HTTPError(404, f"nothing is here; the MCP endpoint is {server.path}")


def wrong_method(request: Request, routes: Routes) -> HTTPError:
    """[http.405-allow] [http.method-501] The refusal that names the methods of the path."""
    if request.method in KNOWN_METHODS:
        message = f"method {request.method} is not for this path"
        return HTTPError(405, message, allow_header(routes))
    return HTTPError(501, f"method {request.method[:20]} is unknown", allow_header(routes))


def allow_header(routes: Routes) -> tuple[str, str]:
    return "Allow", ", ".join(routes)


def check_version_header(request: Request) -> None:
    """[version.header-wrong-400] [version.header-missing] [version.header-not-asked]

    With a session the header may be missing. If it is sent, it must name a revision that is served;
    it is not compared with the one of the session. HTTPError.
    """
    version = request.headers.get("mcp-protocol-version", LATEST_SESSION_REVISION)
    # [modern.get-405] Its POSTs are answered elsewhere.
    if version == STATELESS_REVISION:
        raise HTTPError(405, f"revision {version} knows POST only", ("Allow", "POST, OPTIONS"))
    if version not in SESSION_REVISIONS:
        served = ", ".join(REVISIONS)
        message = f"MCP-Protocol-Version {version[:40]!a} is not served here; served are {served}"
        raise HTTPError(400, message)


def check_accept(request: Request, route: Route) -> None:
    """[reply.not-acceptable] Find out in which form the client takes an answer. HTTPError."""
    accept = request.headers.get("accept")
    if accept is not None and (route.needs_json or route.needs_stream):
        request.takes_json, request.takes_stream = parse_accept(accept)
    if route.needs_stream and not request.takes_stream:
        raise HTTPError(406, "Accept must allow text/event-stream: a GET opens an event stream")
    if not request.takes_json and not request.takes_stream:
        raise HTTPError(406, "Accept must allow application/json or text/event-stream")


def check_content_type(request: Request) -> None:
    """[body.json-only] Any web page can send text/plain without a preflight. HTTPError."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = f"Content-Type must be application/json, got {content_type[:100]!a}"
        raise HTTPError(415, message)


# What the endpoint does.


async def handle_post(server: MCPServer, request: Request) -> Reply:
    """[post.answer-json-or-sse] One POST brings one message."""
    message = parse_message(request.body)
    # [limits.work] Others get a turn before the message is checked.
    if len(request.body) > LARGE:
        await asyncio.sleep(0)
    if is_stateless(request, message):  # [modern.same-endpoint]
        return await answer_without_session(server, request, message)
    return await answer_in_session(server, request, message)


async def handle_get(server: MCPServer, request: Request) -> Reply:
    """[get.stream-or-405] Open the session's own stream, or resume the stream of Last-Event-ID."""
    session = server.sessions.find(request.headers.get("mcp-session-id"), request.principal)
    return read_stream(request, session, session.standalone_stream)


def read_stream(
    request: Request, session: Session, open_stream: Callable[[], Stream]
) -> Reply:
    """[resume.replay] [resume.any-origin] Read the stream that Last-Event-ID names, or open one."""
    last_event_id = request.headers.get("last-event-id")
    if not last_event_id:
        return Reply(200, EVENT_STREAM_HEADERS, stream=open_stream())
    stream, number = session.find_event(last_event_id)
    return Reply(200, EVENT_STREAM_HEADERS, stream=stream, after=number)


async def handle_delete(server: MCPServer, request: Request) -> Reply:
    """[session.delete-ends] The client is done with its session."""
    session = server.sessions.find(request.headers.get("mcp-session-id"), request.principal)
    server.sessions.end(session, "the client ended the session")
    return Reply(200)


async def handle_options(server: MCPServer, request: Request) -> Reply:
    """[cors.preflight] Say what is possible here, to a browser too."""
    asked = request.headers.get("access-control-request-headers", "")
    names = [name for name in asked.replace(",", " ").split() if re.fullmatch(TOKEN, name)]
    allow = allow_header(find_routes(server, request))
    headers = (
        allow,
        ("Access-Control-Allow-Methods", allow[1]),
        ("Access-Control-Allow-Headers", ", ".join(names)),
    )
    return Reply(204, headers)


def cors_headers(origin: str) -> tuple[tuple[str, str], ...]:
    """[cors.allowed-only] Let a web page of an allowed origin read the reply."""
    return (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate"),
        ("Vary", "Origin"),
    )


async def handle_health(server: MCPServer, request: Request) -> Reply:
    """[health.counts] For a load balancer: 503 tells it to look elsewhere."""
    closing = server.closing.is_set()
    streams = [each for each in server.connections if each.state == STREAMING]
    state = {
        "status": "shutting down" if closing else "ok",
        "sessions": len(server.sessions.by_id),
        "streams": len(streams),
        "calls": len(server.calls),
    }
    headers = (*JSON_HEADERS, ("Cache-Control", "no-store"))
    return Reply(503 if closing else 200, headers, encode(state))


# [auth.all-connections] A token is asked for everywhere but in a preflight, which browsers send
# without one, and where a client has to learn where tokens come from.
PREFLIGHT = Route(handle_options, needs_token=False)
ENDPOINT: Routes = {
    "POST": Route(handle_post, needs_json=True),
    "GET": Route(handle_get, needs_version=True, needs_stream=True),
    "DELETE": Route(handle_delete, needs_version=True),
    "OPTIONS": PREFLIGHT,
}
HEALTH: Routes = {
    "GET": Route(handle_health, needs_token=False),
    "HEAD": Route(handle_health, needs_token=False),
    "OPTIONS": PREFLIGHT,
}


# ---- 6 Sessions --------------------------------------------------------------------------------
# A session ties a client's POSTs and streams together. Sessions are a dict in the order of their
# last use: use moves one to the end, expiry pops from the front. So neither costs more when there
# are ten thousand. A call in flight counts as use, and so does a connection that reads a stream.


class Session(Account):
    """What the server remembers of one client between its requests, and the account of it."""

    __slots__ = (
        "asked", "calls", "client_capabilities", "client_info", "ended", "id", "kept",
        "log_level", "principal", "questions", "sessions", "standalone", "streams",
        "subscriptions", "tool_streams", "two_channel", "used_at", "version",
    )  # fmt: skip

    def __init__(self, sessions: Sessions, client: ClientInfo, two_channel: bool) -> None:
        super().__init__(sessions.limits.session_bytes, sessions)
        # For the whole life.
        # [session.id-secure] [session.id-visible-ascii] 256 random bits, never taken from a client.
        self.id = secrets.token_urlsafe(32)
        self.sessions = sessions
        self.principal = client.principal  # nobody else may use the session
        self.two_channel = two_channel  # which transport opened it; the other does not serve it
        # What `initialize` has agreed on.
        self.version = client.version
        self.client_info = client.info
        self.client_capabilities = client.capabilities
        # Now.
        self.used_at = sessions.clock()
        self.ended = False
        self.kept = 0  # bytes of what stands above and of the subscriptions, see `keep`
        self.log_level = LOG_LEVELS.index("info")
        self.calls: set[Context] = set()  # in flight
        self.subscriptions: dict[str, None] = {}  # the URIs, in order
        self.questions: dict[int, asyncio.Future[Message]] = {}  # our request id -> its response
        self.asked = 0  # [request.id-fresh] the id of the newest request of ours
        self.standalone: Stream | None = None  # read by a GET without Last-Event-ID
        self.streams: dict[str, Stream] = {}  # by name, for clients that come back
        self.tool_streams: dict[str, Stream] = {}  # by tool; two channels only

    def __repr__(self) -> str:
        return f"<Session of revision {self.version or '?'}, {len(self.calls)} calls in flight>"

    @property
    def in_use(self) -> bool:
        if self.calls:
            return True
        return any(stream.reader is not None for stream in self.streams.values())

    def keep(self, size: int) -> None:
        """Count bytes that the session holds itself, until it ends. Its streams count their own."""
        self.kept += size
        self.add(size)

    # Streams.

    def adopt(self, stream: Stream) -> Stream:
        """Name a stream, so that the client can resume it. Of those that ended, few are kept."""
        delivered = [each for each in self.streams.values() if each.delivered]
        while delivered and len(delivered) >= self.sessions.limits.streams:  # [limits.streams]
            self.forget(delivered.pop(0))
        stream.on_left = functools.partial(self.reader_left, stream)
        # [event.id-unique] [event.id-names-stream] Random: an id of another session finds nothing.
        stream.name = secrets.token_hex(8)
        # [stream.unprimed] Older clients take the empty first event for a broken message.
        if self.version >= "2025-11-25" and not self.two_channel:
            stream.retry_seconds = self.sessions.limits.retry_seconds
        self.streams[stream.name] = stream
        return stream

    def reader_left(self, stream: Stream) -> None:
        """A client has disconnected. If it has seen no event id, it cannot come back for more."""
        self.sessions.use(self)
        primed = stream.retry_seconds is not None
        if not primed and stream.handed_number == 0 and not stream.endless:
            stream.end()
            self.forget(stream)

    def standalone_stream(self) -> Stream:
        """[get.unrelated-only] [get.no-response] The endless stream for what belongs to no call.

        With two channels it carries everything.
        """
        if self.standalone is None:
            self.standalone = self.adopt(self.endless_stream())
        return self.standalone

    def tool_stream(self, tool: str) -> Stream:
        """A tool's own stream, which only two channels have."""
        if tool not in self.tool_streams:
            self.tool_streams[tool] = self.adopt(self.endless_stream())
        return self.tool_streams[tool]

    def endless_stream(self) -> Stream:
        stream = Stream(self, responses_left=math.inf)
        stream.is_sse = True
        return stream

    def find_event(self, event_id: str) -> tuple[Stream, int]:
        """Find what an event id names: '0123456789abcdef-7' -> (the stream, 7). HTTPError."""
        match = re.fullmatch(r"([0-9a-f]{16})-([0-9]{1,18})", event_id)
        stream = self.streams.get(match[1]) if match else None
        if match is None or stream is None or int(match[2]) > stream.last_number:
            # [resume.same-stream-only]
            message = "Last-Event-ID names no event of this session: open a stream without it"
            raise HTTPError(400, message)
        return stream, int(match[2])

    def forget(self, stream: Stream) -> None:
        """The client can no longer resume the stream. A reader that is there gets the rest."""
        if self.streams.get(stream.name) is stream:
            del self.streams[stream.name]
        stream.name = ""
        stream.forget_handed()
        if stream.reader is None:
            stream.forget_all()

    def make_room(self, goal: int) -> None:
        """[limits.delivered] Forget streams that were read to their end, then old notifications."""
        for stream in list(self.streams.values()):
            if self.used > goal and stream.delivered and stream.reader is None:
                self.forget(stream)
        for stream in list(self.streams.values()):
            if self.used > goal:
                stream.forget_notifications(self.used - goal)
            # An endless stream will never be delivered.
            if self.used > goal and stream.endless:
                stream.forget_handed()


class ClientInfo(NamedTuple):
    """What a client says of itself when it opens a session."""

    principal: str | None
    version: str  # the protocol revision that was agreed on
    info: Message
    capabilities: Message
    size: int  # bytes of the message that said so


class Sessions(Account):
    """All sessions, the one that was unused for longest first, and the account of the server."""

    def __init__(self, limits: Limits, timeout: float, clock: Callable[[], float]) -> None:
        super().__init__(limits.server_bytes)
        # This refuses nan as well.
        if not timeout > 0:
            raise ValueError(f"session_timeout must be positive seconds, not {timeout!r}")
        self.limits = limits
        self.timeout = timeout  # seconds
        self.clock = clock
        self.by_id: OrderedDict[str, Session] = OrderedDict()

    def open(self, client: ClientInfo, two_channel: bool = False) -> Session:
        """[limits.sessions] Open a session. Unused ones end if it needs their room. HTTPError."""
        if not self.has_room():
            unused = sum(each.used for each in self.by_id.values() if not each.in_use)
            if self.used - unused > self.limit:  # to end them all would not help
                raise no_room()
        while len(self.by_id) >= self.limits.sessions or not self.has_room():
            if not self.end_unused():
                raise busy("all sessions are in use: try again later")
        session = Session(self, client, two_channel)
        session.keep(client.size + 8 * OVERHEAD)
        self.by_id[session.id] = session
        return session

    def end_unused(self) -> bool:
        """End the session that was unused for longest. Its client gets 404, and opens another."""
        for _ in range(len(self.by_id)):
            session = next(iter(self.by_id.values()))
            if not session.in_use:
                self.end(session, "the server needed the place")
                return True
            self.use(session)
        return False

    def find(
        self, session_id: str | None, principal: str | None, two_channel: bool = False
    ) -> Session:
        """Find the session that a request belongs to. This counts as use. HTTPError."""
        if session_id is None:  # [session.missing-400]
            message = "header field Mcp-Session-Id is missing: send initialize, then use its id"
            raise HTTPError(400, message)
        session = self.by_id.get(session_id)
        # [session.unknown-404] [session.principal] [channel.own-sessions] To somebody else, or on
        # the other transport, a session does not exist.
        if (
            session is None
            or session.principal != principal
            or session.two_channel != two_channel
        ):
            message = "there is no such session, or it has ended: send initialize to open another"
            raise HTTPError(404, message)
        self.use(session)
        return session

    def use(self, session: Session) -> None:
        session.used_at = self.clock()
        if session.id in self.by_id:
            self.by_id.move_to_end(session.id)

    def expire(self) -> None:
        """[session.expiry] End the sessions that nobody has used for `timeout` seconds."""
        for _ in range(len(self.by_id)):
            session = next(iter(self.by_id.values()))
            if self.clock() - session.used_at < self.timeout:
                break
            if session.in_use:
                self.use(session)
            else:
                self.end(session, "the session expired")

    def end(self, session: Session, reason: str) -> None:
        """[session.end-frees] End a session, whatever the cause is."""
        self.by_id.pop(session.id, None)
        session.ended = True
        for call in list(session.calls):
            call.cancel(reason)
        for stream in list(session.streams.values()):
            stream.end()
            session.forget(stream)
        # What is still on its way to a reader stays counted until it has left.
        session.keep(-session.kept)

    def make_room(self, goal: int) -> None:
        for session in list(self.by_id.values()):
            if self.used <= goal:
                break
            too_much = self.used - goal
            session.make_room(session.used - too_much)


# ---- 7 A call, from POST to answer -------------------------------------------------------------
# Both eras run a call in the same way. The call is a `Context` (section 12): who asks, what, and
# the stream for the answer. It runs in a task of its own. So it can be cancelled, and with a
# session it survives its connection. It ends in a response on its stream, or in silence where it
# was cancelled. Whether that stream becomes one JSON body or an event stream is decided late.


def check_load(server: MCPServer, calls: int = 1) -> None:
    """[limits.all-calls] [modern.rate-limit] Guard: HTTPError where the server has enough to do."""
    running = len(server.calls) - len(server.listeners)  # a listener only waits: it is not counted
    if running + calls > server.limits.all_calls:
        raise busy("too many calls are running: try again later")
    if not server.account.has_room():
        raise no_room()


def start_call(ctx: Context) -> None:
    """Start a call. Its response will come on its stream."""
    # The call holds its task, see `run_call`.
    ctx.server.calls.add(ctx)
    if ctx.session is not None:
        ctx.session.calls.add(ctx)
    start_task(run_call(ctx))


async def wait_for_form(server: MCPServer, stream: Stream) -> None:
    """[reply.decided-late] Wait until the form of a POST's answer is decided.

    If the response comes first, and the client takes JSON, the answer is one JSON body. If the
    handler speaks before, or is silent for `sse_after_seconds`, it is an event stream.
    """
    loop = asyncio.get_running_loop()
    timer = loop.call_later(server.limits.sse_after_seconds, stream.use_sse_if_silent)
    try:
        while stream.undecided:
            await stream.wait()
    except asyncio.CancelledError:  # the client disconnected before the answer had a form
        # Nobody can come back for it.
        stream.end()
        stream.forget_all()
        if stream.on_left is not None:
            stream.on_left()
        raise
    finally:
        timer.cancel()


def make_reply(stream: Stream, session: Session | None) -> Reply:
    """The reply to a POST, when the form of its answer is decided."""
    cancelled = stream.ended and not stream.unread
    if cancelled or not stream.takes_json:
        stream.use_sse()
    if stream.is_sse:
        if session is not None and not session.ended and not cancelled:
            # Now the client will learn its name, and can resume it.
            session.adopt(stream)
        return Reply(200, EVENT_STREAM_HEADERS, stream=stream)
    # An event stream could simply end. This client takes JSON only.
    if cancelled:
        return Reply(202)
    body = stream.unread[0].data
    if stream.size:
        stream.forget_all()
    return Reply(stream.status, JSON_HEADERS, body)


# Error code -> HTTP status, without a session. Others are errors of a call that took place: 200.
STATUSES = {
    INVALID_PARAMS: 400,
    INVALID_REQUEST: 400,
    METHOD_NOT_FOUND: 404,
    HEADER_MISMATCH: 400,
    MISSING_CAPABILITY: 400,
    UNSUPPORTED_VERSION: 400,
}


async def run_call(ctx: Context) -> None:
    """Run a call to its end, and answer it."""
    ctx.task = asyncio.current_task()
    response: bytes | None
    status = 200
    # [limits.memory] The call holds its params, also when its connection is gone.
    held = len(ctx.request.body)
    if held > LARGE:
        ctx.server.account.add(held)
    try:
        result = await call_method(ctx)
        response = encode_result(ctx.request_id, result)  # [json.no-nan]
    except BaseException as exception:  # noqa: BLE001  # [answers.nothing-internal]
        error = explain(ctx, exception)
        response = encode_error(ctx.request_id, error)
        # [error.defined-codes] With a session the status is always 200.
        if ctx.is_stateless:
            status = STATUSES.get(error.code, 200)
    ctx.server.calls.discard(ctx)
    if held > LARGE:
        ctx.server.account.add(-held)
    if len(response) > LARGE and not ctx.stream.account.may_overdraw():  # [limits.memory]
        refusal = RPCError(INTERNAL_ERROR, "too many answers wait to be read: try again later")
        response = encode_error(ctx.request_id, refusal)
    if ctx.cancelled is not None:
        # [cancel.no-response] [modern.silent-after-cancel] The handler may have caught the
        # cancellation, and returned a result.
        response = None
    ctx.stream.answer(response, status)
    session = ctx.session
    if session is not None:
        session.calls.discard(ctx)
        session.sessions.use(session)
        if ctx.stream.ended and ctx.stream.responses == 0:  # all was cancelled
            # No response will come: the client must not resume it.
            session.forget(ctx.stream)


async def call_method(ctx: Context) -> Message | bytes:
    """Let the method make its result. In the stateless era that may be a question."""
    params = ctx.params
    method = find_method(ctx.method, ctx.protocol_version)
    ctx.meta = object_param(params, "_meta")  # [meta.no-assumptions]
    check_length(ctx.meta, "progressToken", "params._meta")  # [progress.token-type]
    if ctx.is_stateless:
        read_answers(ctx, params)
    try:
        if ctx.cancelled is not None:
            raise asyncio.CancelledError
        result = method(ctx, params)
        # The method is a coroutine function.
        if not isinstance(result, (dict, bytes)):
            result = await result
    except InputRequired as required:
        result = input_required(ctx, required)
    if ctx.is_stateless and isinstance(result, dict):
        result = stamp(ctx, result)
    return cast("Message | bytes", result)


def explain(ctx: Context, exception: BaseException) -> RPCError:
    """The JSON-RPC error for what ended a call. What nobody expected goes to the log."""
    if isinstance(exception, RPCError):
        code = exception.code
        if code == RESOURCE_NOT_FOUND and ctx.is_stateless:
            code = INVALID_PARAMS  # [resource.not-found-invalid-params] its number there
        return RPCError(code, exception.message, exception.data)
    if isinstance(exception, MissingCapability) and ctx.is_stateless:  # [capability.missing]
        data = {"requiredCapabilities": exception.required}
        return RPCError(MISSING_CAPABILITY, str(exception), data)
    # A prompt or a resource may fail in words for the client.
    if isinstance(exception, ToolError):
        return RPCError(INTERNAL_ERROR, str(exception))
    # [cancel.stop] A call that was cancelled ends in this way, too.
    if ctx.cancelled is None and not is_cancelled():
        log.error("%s failed", ctx.method, exc_info=exception)
    return RPCError(INTERNAL_ERROR, "Internal error")


# ---- 8 With a session (2025-03-26 .. 2025-11-25) -----------------------------------------------
# A client opens a session by `initialize`, and the server remembers it. This section and the next
# one have the same three parts: who is the client, what may come, how is the client asked.


async def answer_in_session(server: MCPServer, request: Request, message: Any) -> Reply:
    """Answer one POST: a request, a notification, a response, or (2025-03-26) a batch of them."""
    if is_initialize(message):
        return initialize(server, request, message)
    check_version_header(request)
    # [initialize.first] Without `initialize` there is no session, and without one nothing goes on.
    session = server.sessions.find(request.headers.get("mcp-session-id"), request.principal)
    if isinstance(message, list):
        return await answer_batch(server, request, session, message)
    if not is_request(message):
        take_message(session, message)
        return Reply(202)  # [post.notification-202] [notification.no-response]
    # [id.by-exchange] The response finds its way by this stream. The id is only echoed, since some
    # clients send the same id with each request.
    stream = Stream(session, request.takes_json, request.takes_stream)
    request.stream = stream
    check_load(server)
    check_room(session)
    start_call(session_call(server, request, session, message, stream))
    if stream.undecided:
        await wait_for_form(server, stream)
    return make_reply(stream, session)


def session_call(
    server: MCPServer, request: Request, session: Session, message: Message, stream: Stream
) -> Context:
    return Context(
        server, request, stream, session,
        request_id=message["id"],
        method=message["method"],
        params=message.get("params", {}),
        protocol_version=session.version,
        client_info=session.client_info,
        client_capabilities=session.client_capabilities,
    )  # fmt: skip


# Who is the client?


def is_initialize(message: Any) -> bool:
    return isinstance(message, dict) and message.get("method") == "initialize" and "id" in message


def initialize(
    server: MCPServer, request: Request, message: Message, two_channel: bool = False
) -> Reply:
    """[initialize.always] Open a session, whatever session id or version header comes along.

    A client that sends `initialize` has no session that works.
    """
    try:
        client = read_client(server, request, message, two_channel)
    except RPCError as error:  # [error.same-id]
        stream = Stream(server.account, request.takes_json, request.takes_stream)
        stream.answer(encode_error(message["id"], error))
        return make_reply(stream, None)
    session = server.sessions.open(client, two_channel)
    stream = Stream(session, request.takes_json, request.takes_stream)
    stream.answer(encode_result(message["id"], introduction(server, session)))
    reply = make_reply(stream, session)
    reply.headers += (("Mcp-Session-Id", session.id),)  # [session.id-header]
    return reply


def read_client(
    server: MCPServer, request: Request, message: Message, two_channel: bool
) -> ClientInfo:
    """Read what `initialize` says, and agree on a revision. RPCError."""
    params = message.get("params", {})
    version = text_param(params, "protocolVersion")
    served: tuple[str, ...] = SESSION_REVISIONS
    if two_channel:
        served = (TWO_CHANNEL_REVISION, *SESSION_REVISIONS)
    if version not in served:  # [version.same] [version.other] [version.latest]
        version = LATEST_SESSION_REVISION
    info = object_param(params, "clientInfo")
    capabilities = object_param(params, "capabilities")
    size = len(request.body)
    # [limits.client] The session keeps most of it.
    if size > server.limits.client_bytes:
        problem = f"initialize is larger than {server.limits.client_bytes} bytes"
        raise RPCError(INVALID_PARAMS, problem)
    return ClientInfo(request.principal, version, info, capabilities, size)


def introduction(server: MCPServer, session: Session) -> Message:
    """[initialize.result] What the server says about itself."""
    return present(
        protocolVersion=session.version,
        capabilities=server.capabilities(),
        serverInfo=server.info,
        instructions=server.instructions,
    )


# What may come?


def check_room(session: Session, calls: int = 1) -> None:
    """[limits.calls] [tool.rate-limit] [completion.rate-limit] Guard: how many calls run at once.

    [limits.backlog] Unread answers are never forgotten. So a client that does not read them may not
    ask for more. HTTPError.
    """
    most = session.sessions.limits.calls
    if len(session.calls) + calls > most:
        raise busy(f"more than {most} calls in flight in one session", 429)
    if not session.has_room():
        message = "too many answers of this session wait to be read: read its streams first"
        raise busy(message, 429)


async def answer_batch(
    server: MCPServer, request: Request, session: Session, batch: list[Any]
) -> Reply:
    """[batch.receive] Answer a JSON-RPC batch, which only 2025-03-26 has. HTTPError, RPCError.

    [batch.answer-json-or-sse] The answer is one event stream, with a response to each request that
    is not cancelled.
    """
    messages = check_batch(session, batch)
    requests = [message for message in messages if is_request(message)]
    if requests:
        if not request.takes_stream:
            raise HTTPError(406, "a batch is answered by an event stream: Accept must allow one")
        check_load(server, len(requests))
        check_room(session, len(requests))
    for message in messages:
        if not is_request(message):
            take_message(session, message)
    if not requests:  # [batch.no-request-202]
        return Reply(202)
    stream = Stream(session, responses_left=len(requests))  # [batch.every-response]
    stream.use_sse()
    for message in requests:
        start_call(session_call(server, request, session, message, stream))
    return make_reply(stream, session)


def check_batch(session: Session, batch: list[Any]) -> list[Message]:
    """Check a batch, and return its messages. HTTPError, RPCError."""
    if session.version != "2025-03-26":  # [post.single-message]
        problem = f"expected one JSON-RPC message: revision {session.version} has no batches"
        raise HTTPError(400, problem)
    most = session.sessions.limits.calls
    if not 1 <= len(batch) <= most:  # [jsonrpc.empty-batch]
        raise HTTPError(400, f"a batch holds 1 to {most} messages, got {len(batch)}")
    messages = [check_envelope(each) for each in batch]
    kinds = {"method" in each for each in messages}
    if len(kinds) > 1:  # [batch.requests-or-responses]
        raise HTTPError(400, "a batch holds requests and notifications, or responses, not both")
    for each in messages:
        if each.get("method") == "initialize":  # [batch.no-initialize]
            raise HTTPError(400, "initialize must not be part of a batch")
        if "method" in each:  # no call begins if a later message is refused
            check_notification(each)
    return messages


def take_message(session: Session, message: Message) -> None:
    """Take a notification or a response. [cancel.invalid-ignored] What nobody waits for is ignored.

    So `notifications/initialized` changes nothing: a client that goes on has seen our answer.
    """
    params = message.get("params", {})
    if "method" not in message:
        future = session.questions.get(message["id"])
        if future is not None and not future.done():  # [cancel.late-response]
            future.set_result(message)
        return
    check_notification(message)
    if message["method"] == "notifications/cancelled":
        cancel_call(session, params)


def check_notification(message: Message) -> None:
    params = message.get("params", {})
    check_length(params, "requestId")
    check_length(params, "progressToken")


def cancel_call(session: Session, params: Message) -> None:
    """[cancel.race] A call that has ended is not found."""
    wanted = params.get("requestId")
    found = []
    for call in session.calls:
        if call.request_id == wanted and type(call.request_id) is type(wanted):
            found.append(call)
    # A client that uses one id for all its calls cannot say which one it means.
    if len(found) == 1:
        log.info("a client cancelled its call: %.200r", params.get("reason"))  # [cancel.log-reason]
        found[0].cancel("the client cancelled the call")


# How is the client asked?


async def ask_on_stream(ctx: Context, questions: dict[str, Question]) -> dict[str, Any]:
    """Ask by JSON-RPC requests on the call's stream. Each response comes as a POST of its own.

    `take_message` gives that response to the future which waits here.
    """
    session = ctx.session
    assert session is not None
    if not ctx.stream.takes_stream:
        raise ToolError("the client cannot be asked: its request accepts no text/event-stream")
    if ctx.stream.ended or ctx not in ctx.server.calls:
        raise ToolError("the client cannot be asked: the call has ended, or the client has left")
    waiting: dict[int, asyncio.Future[Message]] = {}  # our share of `session.questions`
    try:
        for question in questions.values():
            session.asked += 1
            number = session.asked
            waiting[number] = asyncio.get_running_loop().create_future()
            session.questions[number] = waiting[number]
            request = {"jsonrpc": "2.0", "id": number, "method": question.method}
            await ctx.stream.send(encode({**request, "params": question.params}), needed=True)
        async with asyncio.timeout(ctx.server.limits.ask_seconds):  # [timeout.sent-requests]
            responses = [await future for future in waiting.values()]
    except TimeoutError:  # [timeout.maximum]
        await withdraw_questions(ctx, waiting)
        seconds = ctx.server.limits.ask_seconds
        raise ToolError(f"the client did not answer within {seconds:g} seconds") from None
    finally:
        for number in waiting:
            del session.questions[number]
    answers = {}
    for (key, question), response in zip(questions.items(), responses, strict=True):
        answers[key] = read_answer(question, response)
    return answers


async def withdraw_questions(ctx: Context, waiting: dict[int, asyncio.Future[Message]]) -> None:
    """[timeout.cancel] [cancel.own-requests-only] Tell the client which answers come too late."""
    for number, future in waiting.items():
        # The timeout has cancelled the future that it waited for.
        if future.done() and not future.cancelled():
            continue
        params = {"requestId": number, "reason": "not answered in time"}
        await ctx.stream.send(encode_notification("notifications/cancelled", params))


def read_answer(question: Question, response: Message) -> Any:
    """Read what a client has answered. ToolError."""
    error = response.get("error")
    if isinstance(error, dict):
        message = str(error.get("message"))[:1000]
        raise ToolError(f"the client refused {question.method}: {message}")
    try:
        check(response.get("result"), {"type": "object"}, "result")
        return question.read(response["result"])
    except ValueError as problem:
        message = f"the client's answer to {question.method} does not fit: {problem}"
        raise ToolError(message) from None


# ---- 9 Without a session (2026-07-28) ----------------------------------------------------------
# Every request describes its client completely. The server remembers nothing between two requests.
# The parts are those of section 8: who is the client, what may come, how is it asked.


async def answer_without_session(server: MCPServer, request: Request, message: Any) -> Reply:
    """[modern.no-session] Answer one POST, whatever session id it may carry."""
    if isinstance(message, list) or "method" not in message:  # [modern.no-responses]
        expected = "expected one request: 2026-07-28 has no batches, and no responses of clients"
        raise HTTPError(400, expected)
    if not is_request(message):  # [modern.no-notifications]
        return Reply(202)
    # [stream.own-request-only] [stream.no-event-ids] A stream without a name has no event ids.
    stream = Stream(server.account, request.takes_json, request.takes_stream)
    try:
        ctx = stateless_call(server, request, message, stream)
    except RPCError as error:
        stream.answer(encode_error(message["id"], error), STATUSES.get(error.code, 400))
        return make_reply(stream, None)
    check_load(server)
    stream.on_left = ctx.leave  # [modern.disconnect-cancels]
    request.stream = stream
    start_call(ctx)
    if stream.undecided:
        await wait_for_form(server, stream)
    return make_reply(stream, None)


def stateless_call(
    server: MCPServer, request: Request, message: Message, stream: Stream
) -> Context:
    """[modern.no-prior-requests] Who calls, and what the client can do, stands in the request."""
    meta = check_metadata(server, request, message)
    # [log.level-asked] A request that names no level gets no log messages.
    log_level = len(LOG_LEVELS)
    if meta.get(META_LOG_LEVEL) is not None:  # [log.level-unknown]
        log_level = level_param(meta, META_LOG_LEVEL, "params._meta")
    return Context(
        server, request, stream, None,
        request_id=message["id"],
        method=message["method"],
        params=message.get("params", {}),
        protocol_version=STATELESS_REVISION,
        client_info=meta.get(META_CLIENT_INFO) or {},
        client_capabilities=meta[META_CAPABILITIES],
        log_level=log_level,
    )  # fmt: skip


# Who is the client?


def is_stateless(request: Request, message: Any) -> bool:
    """[modern.era-chosen] Whether a request is stateless: by its `_meta`, or by its header."""
    if isinstance(message, dict) and "method" in message:
        meta = message.get("params", {}).get("_meta")
        if isinstance(meta, dict) and (META_VERSION in meta or META_CAPABILITIES in meta):
            return True
    version = request.headers.get("mcp-protocol-version")
    return version == STATELESS_REVISION and not is_initialize(message)


def check_metadata(server: MCPServer, request: Request, message: Message) -> Message:
    """Check `_meta`, and that the headers say the same as the body. Return `_meta`. RPCError.

    A proxy may use the headers while we use the body. A difference could bypass its rules.
    """
    params = message.get("params", {})
    method = message["method"]
    # 1. [meta.required] What a request must say about its client.
    meta = object_param(params, "_meta")
    version = text_param(meta, META_VERSION, "params._meta")
    if meta.get(META_CAPABILITIES) is None:
        place = member_place("params._meta", META_CAPABILITIES)
        raise RPCError(INVALID_PARAMS, f"{place} is missing")
    object_param(meta, META_CAPABILITIES, "params._meta")
    object_param(meta, META_CLIENT_INFO, "params._meta")
    # 2. [header.version-matches] [version.unsupported] The header first, then whether we speak it.
    check_header(request, "mcp-protocol-version", version)
    if version != STATELESS_REVISION:
        served = {"supported": REVISIONS[::-1], "requested": version[:MAX_TEXT]}
        raise RPCError(UNSUPPORTED_VERSION, "Unsupported protocol version", served)
    # 3. [header.method-matches] [header.name-matches]
    check_header(request, "mcp-method", method)
    if method in NAMED_BY:
        check_header(request, "mcp-name", params.get(NAMED_BY[method]))
    # 4. [header.params-match] The arguments that the tool wants to see in headers, too.
    if method == "tools/call":
        check_mirrored(server, request, params)
    return meta


def check_mirrored(server: MCPServer, request: Request, params: Message) -> None:
    tool = server.tools.get(text_param(params, "name"))
    if tool is None:
        return
    for path, header in tool.headers.items():
        value: Any = params.get("arguments")
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        check_header(request, header, value)


def check_header(request: Request, name: str, value: Any) -> None:
    """[header.mismatch-error] Check that a header says what the body says. RPCError.

    A value of None means that the header is to be absent.
    """
    text = request.headers.get(name)
    if text is not None and name not in PLAIN_HEADERS:
        text = decode_header(name, text)
    if isinstance(value, bool):
        same = text == str(value).lower()
    elif isinstance(value, (int, float)):
        same = text is not None and is_number(text, value)
    else:  # [header.case]
        same = text == value
    if not same:
        found = "is missing" if text is None else f"is {text[:100]!a}"
        expected = json.dumps(value)[:100]
        message = f"Header mismatch: {name} {found}, but the body says {expected}"
        raise RPCError(HEADER_MISMATCH, message)


PLAIN_HEADERS = frozenset({"mcp-protocol-version", "mcp-method"})  # these are never Base64


def is_number(text: str, value: float) -> bool:
    """[header.integers-numeric] [header.integers-safe] ('42.0', 42) -> True"""
    if not re.fullmatch(r"-?[0-9]{1,16}(\.0+)?", text[:40]):
        return False
    return float(text) == value and abs(value) < 2**53


def decode_header(name: str, value: str) -> str:
    """[header.base64-decoded] '=?base64?SGk=?=' -> 'Hi', 'Hi' -> 'Hi'. RPCError."""
    plain_text = not value.startswith("=?base64?") or not value.endswith("?=")
    if plain_text and value.isascii():
        return value
    encoded = value.removeprefix("=?base64?").removesuffix("?=")
    try:  # [header.characters-valid]
        data = base64.b64decode(encoded, validate=True)
        # b64decode() ignores odd padding bits.
        if to_base64(data) != encoded:
            raise ValueError
        return data.decode()
    except ValueError:
        message = f"Header mismatch: {name} is neither plain ASCII nor sound Base64"
        raise RPCError(HEADER_MISMATCH, message) from None


# What may come? Requests; a notification is ignored. A request that is sent again brings answers.


def read_answers(ctx: Context, params: Message) -> None:
    """[mrtr.unknown-ignored] [mrtr.answers-checked] Read what a client brings when it calls again.

    RPCError for a state that was not made here, for this call.
    """
    ctx.input_responses = object_param(params, "inputResponses")
    if params.get("requestState") is not None:
        state = unseal(ctx.server.secret, params["requestState"], call_digest(ctx))
        ctx.answers = state["answers"]
        ctx.request_state = state["state"]


# How is the client asked?


async def ask_by_replay(ctx: Context, questions: dict[str, Question]) -> dict[str, Any]:
    """[stream.no-requests] Ask by ending the call. The client calls again, and brings the answers.

    The handler then runs again from the top. What was answered before is in `ctx.answers`, so an
    answered `ask` returns at once, as in a durable workflow.
    """
    answers = {}
    unanswered = {}
    for key, question in questions.items():
        given = ctx.answers.get(key, ctx.input_responses.get(key))
        try:
            check(given, {"type": "object"}, key)
            answers[key] = question.read(cast(Message, given))
            ctx.answers[key] = given
        except ValueError:  # there is no answer yet, or not in the right shape: [mrtr.asked-again]
            unanswered[key] = question
    if unanswered:
        raise InputRequired(unanswered)
    return answers


def input_required(ctx: Context, required: InputRequired) -> Message:
    """[mrtr.input-required] The result that asks. ToolError.

    Its `requestState` carries what was answered so far.
    """
    if not ctx.is_stateless:
        raise ToolError("the handler asks as only revision 2026-07-28 can; Context.ask is for all")
    check_questions(ctx, required.questions)
    asked = {}
    for key, question in required.questions.items():
        # [elicit.url-without-id] The state replaces that identifier.
        params = {name: value for name, value in question.params.items() if name != "elicitationId"}
        asked[key] = {"method": question.method, "params": params}
    state = {
        "value": {"answers": ctx.answers, "state": required.state},
        "call": call_digest(ctx),
        "until": int(time.time() + ctx.server.limits.state_seconds),
    }
    return present(  # [mrtr.not-empty]
        resultType="input_required",
        requestState=seal(ctx.server.secret, state),
        inputRequests=asked or None,
    )


def call_digest(ctx: Context) -> str:
    """[mrtr.state-bound] [auth.handle-no-login] A state belongs to this call of this principal."""
    name = ctx.params.get(NAMED_BY.get(ctx.method, ""))
    call = [ctx.method, name, ctx.params.get("arguments") or {}, ctx.principal]
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()


def seal(secret: bytes, state: Message) -> str:
    """Write a state that nobody else can write: '<Base64 of JSON>.<Base64 of its HMAC>'."""
    payload = base64.urlsafe_b64encode(encode(state))
    return f"{payload.decode()}.{signature(secret, payload)}"


def signature(secret: bytes, payload: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret, payload, "sha256")).decode()


def unseal(secret: bytes, text: Any, digest: str) -> Message:
    """[mrtr.state-verified] Read what `seal` wrote. RPCError.

    The client always gets the same message. The log names the cause.
    """
    if not isinstance(text, str) or not text.isascii():
        text = ""
    payload, _, signed = text.rpartition(".")
    if not hmac.compare_digest(signature(secret, payload.encode()), signed):
        cause = "it was not sealed here, or was changed"
    else:
        state = json.loads(base64.urlsafe_b64decode(payload))
        if state["call"] != digest:
            cause = "it belongs to another call or principal"
        elif state["until"] < time.time():  # [mrtr.state-expires]
            cause = "it has expired"
        else:
            return cast(Message, state["value"])
    log.info("requestState refused: %s", cause)
    message = "params.requestState is not valid for this request: call again without it"
    raise RPCError(INVALID_PARAMS, message)


def stamp(ctx: Context, result: Message) -> Message:
    """[result.type] [meta.server-info] Add what every result of the stateless era has."""
    meta = {META_SERVER_INFO: ctx.server.info, **(result.get("_meta") or {})}
    return {"resultType": "complete", **result, "_meta": meta}


# ---- 10 Methods --------------------------------------------------------------------------------
# What a client can call: a function each, from a call and its params to a result, which is an
# object or its JSON. The table at the end says which revisions have which method; to add one, write
# a function and a row. A coroutine function may wait. So only its calls can be cancelled, and can
# speak while they run. Without a session, `stamp` completes the result.


def find_method(name: str, revision: str) -> Callable[[Context, Message], Any]:
    """[jsonrpc.method-not-found] [method.unknown-404] RPCError where the revision has none."""
    method = METHODS.get(name)
    if method is None or not method.first <= revision <= method.last:
        raise RPCError(METHOD_NOT_FOUND, f"Method not found: {name}")
    return method.function


def text_param(params: Message, name: str, place: str = "params") -> str:
    """A required string, or RPCError."""
    value = params.get(name)
    if not isinstance(value, str):
        raise RPCError(INVALID_PARAMS, f"{member_place(place, name)} must be a string")
    return value


def object_param(params: Message, name: str, place: str = "params") -> Message:
    """[message.null-is-absent] An optional object, empty where it is absent or null. RPCError."""
    value = params.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RPCError(INVALID_PARAMS, f"{member_place(place, name)} must be an object")
    return value


def level_param(params: Message, name: str, place: str = "params") -> int:
    """The place of a log level among LOG_LEVELS. RPCError for another one."""
    level = params.get(name)
    if level not in LOG_LEVELS:
        expected = f"must be one of {', '.join(LOG_LEVELS)}"
        raise RPCError(INVALID_PARAMS, f"{member_place(place, name)} {expected}")
    return LOG_LEVELS.index(level)


def check_length(params: Message, name: str, place: str = "params") -> None:
    """[limits.text] RPCError for an id or a token that is too long: it would be echoed."""
    value = params.get(name)
    if isinstance(value, str) and len(value) > MAX_TEXT:
        problem = f"{member_place(place, name)} is longer than {MAX_TEXT} characters"
        raise RPCError(INVALID_REQUEST, problem)


def member_place(place: str, name: str) -> str:
    """('params', 'name') -> 'params.name', ('params._meta', 'a/b') -> 'params._meta["a/b"]'"""
    return f"{place}.{name}" if name.isidentifier() else f'{place}["{name}"]'


def ping(ctx: Context, params: Message) -> Message:
    """[ping.answer] The client finds out whether the server is there."""
    return {}


def set_level(ctx: Context, params: Message) -> Message:
    """[log.set-level] From now on, less severe log messages are not sent to the session."""
    assert ctx.session is not None
    ctx.session.log_level = level_param(params, "level")  # [log.invalid-level]
    return {}


def discover(ctx: Context, params: Message) -> Message:
    """[discover.served] What a client may want to know first."""
    return present(
        supportedVersions=REVISIONS[::-1],
        capabilities=ctx.server.capabilities(),
        instructions=ctx.server.instructions,
        **cache_hints(ctx, ctx.server.cache_lists),
    )


def list_entries(ctx: Context, params: Message) -> bytes:
    """[list.not-per-connection] A whole list, as JSON that is kept until the list changes."""
    # [page.invalid-cursor] This server gives out none.
    if params.get("cursor") is not None:
        message = "params.cursor is not one of this server, whose lists have one page"
        raise RPCError(INVALID_PARAMS, message)
    server = ctx.server
    key = (ctx.method, ctx.is_stateless)
    if key not in server.lists:
        member, table = LISTS[ctx.method]
        entries = [entry.definition for entry in getattr(server, table).values()]
        result = {member: entries, **cache_hints(ctx, server.cache_lists)}  # [cache.same-scope]
        if ctx.is_stateless:
            result = stamp(ctx, result)
        server.lists[key] = encode(result)
    return server.lists[key]


def cache_hints(ctx: Context, cache: tuple[int, str]) -> Message:
    """[cache.hints] What the stateless era wants in a result that clients may keep."""
    if not ctx.is_stateless:
        return {}
    return {"ttlMs": cache[0], "cacheScope": cache[1]}


async def call_tool(ctx: Context, params: Message) -> Message:
    """[tool.call] A tool that fails gives a result with `isError`, so that a model can read it."""
    name = text_param(params, "name")
    arguments = object_param(params, "arguments")
    tool = ctx.server.tools.get(name)
    if tool is None:  # [tool.unknown-error]
        raise RPCError(INVALID_PARAMS, f"Unknown tool: {name[:MAX_TEXT]}")
    try:
        return await tool.call(ctx, arguments)
    except RPCError:  # the handler chose a protocol error
        raise
    except (SchemaError, ToolError) as error:  # [tool.input-error]
        if isinstance(error, MissingCapability) and ctx.is_stateless:
            raise
        message = str(error)
    except Exception as error:  # [tool.execution-error]
        log.exception("tool %s failed", name)
        message = describe(error)
    return {"content": [content_block(message)], "isError": True}


def describe(error: Exception) -> str:
    """Words for a model: "KeyError: 'missing'". A text without a blank says little by itself."""
    text = str(error)
    if " " in text.strip():
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


async def read_resource(ctx: Context, params: Message) -> Message:
    """[resource.read] The contents of what a URI names."""
    contents = await ctx.server.read_resource(ctx, text_param(params, "uri"))
    cache = ctx.server.cache_reads
    if "inputResponses" in params or "requestState" in params:
        cache = (0, "private")  # what used an answer is for the one who gave it
    return {"contents": contents, **cache_hints(ctx, cache)}


def subscribe(ctx: Context, params: Message) -> Message:
    """[resource.subscribe] From now on, the session hears of changes of a resource. RPCError."""
    uri = text_param(params, "uri")
    ctx.server.find_resource(uri)
    uri = normalize_uri(uri)
    session = ctx.session
    assert session is not None
    if uri not in session.subscriptions:
        if session.used + len(uri) > session.limit // 2:  # [limits.subscriptions]
            message = "too many subscriptions in this session: unsubscribe from some first"
            raise RPCError(INVALID_REQUEST, message)
        session.subscriptions[uri] = None
        session.keep(len(uri) + OVERHEAD)
    return {}


def unsubscribe(ctx: Context, params: Message) -> Message:
    uri = normalize_uri(text_param(params, "uri"))
    session = ctx.session
    assert session is not None
    if uri in session.subscriptions:
        del session.subscriptions[uri]
        session.keep(-len(uri) - OVERHEAD)
    return {}


async def get_prompt(ctx: Context, params: Message) -> Message:
    name = text_param(params, "name")
    arguments = object_param(params, "arguments")
    prompt = ctx.server.prompts.get(name)
    if prompt is None:  # [prompt.invalid-params]
        raise RPCError(INVALID_PARAMS, f"Unknown prompt: {name[:MAX_TEXT]}")
    return await prompt.get(ctx, arguments)


async def complete(ctx: Context, params: Message) -> Message:
    """[completion.validate-inputs] [completion.context] Suggest values of an argument. RPCError."""
    completer = ctx.server.completer
    if completer is None:
        raise RPCError(METHOD_NOT_FOUND, "this server completes nothing")
    ref = object_param(params, "ref")
    argument = object_param(params, "argument")
    context = object_param(params, "context")
    text_param(argument, "name", "params.argument")
    text_param(argument, "value", "params.argument")
    for name in object_param(context, "arguments", "params.context"):
        text_param(context["arguments"], name, "params.context.arguments")
    check_reference(ctx.server, ref)
    arguments = {"ref": ref, "argument": argument, "context": context}
    values = list(await completer(ctx, completer.form.read(arguments, "params")) or [])
    # [completion.max-100]
    completion = {"values": values[:100], "total": len(values), "hasMore": len(values) > 100}
    return {"completion": completion}


def check_reference(server: MCPServer, ref: Message) -> None:
    """[completion.invalid-params] RPCError where a completion refers to nothing."""
    match text_param(ref, "type", "params.ref"):
        case "ref/prompt":
            known = text_param(ref, "name", "params.ref") in server.prompts
        case "ref/resource":
            known = text_param(ref, "uri", "params.ref") in server.templates
        case _:
            raise RPCError(INVALID_PARAMS, "params.ref.type must be ref/prompt or ref/resource")
    if not known:
        raise RPCError(INVALID_PARAMS, "params.ref names no prompt or resource template here")


async def listen(ctx: Context, params: Message) -> Message:
    """Keep the call open. What the client wants to hear of comes on its stream, see `announce`."""
    wanted = object_param(params, "notifications")
    uris = wanted.get("resourceSubscriptions") or []
    place = "params.notifications.resourceSubscriptions"
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise RPCError(INVALID_PARAMS, f"{place} must be a list of URIs")
    # [limits.uri] All together may be as long as a thousand usual ones.
    if sum(map(len, uris)) > 8 * MAX_URI:
        raise RPCError(INVALID_PARAMS, f"{place} is longer than {8 * MAX_URI} characters")
    watched = frozenset(normalize_uri(uri, place) for uri in uris)
    if not ctx.stream.takes_stream:
        message = "subscriptions/listen is answered by an event stream: Accept must allow one"
        raise RPCError(INVALID_REQUEST, message)
    # [listen.only-asked] What we honour, in the words of the filter.
    honoured: Message = {}
    for flag in LIST_FLAGS.values():
        if wanted.get(flag) is True:
            honoured[flag] = True
    if uris:
        honoured["resourceSubscriptions"] = uris
    meta = {META_SUBSCRIPTION: ctx.request_id}
    acknowledgement = {"_meta": meta, "notifications": honoured}
    method = "notifications/subscriptions/acknowledged"
    ctx.stream.push(encode_notification(method, acknowledgement))
    # [listen.ack-first] Only now do notices find this call.
    if honoured:
        ctx.server.listeners[ctx] = {**honoured, "resourceSubscriptions": watched}
        try:  # [listen.several]
            await ctx.server.closing.wait()
        finally:
            del ctx.server.listeners[ctx]
    return {"_meta": meta}  # [listen.graceful-end]


LISTS = {  # method -> the member of its result, and the table of `Catalog` that it shows
    "tools/list": ("tools", "tools"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resourceTemplates", "templates"),
    "prompts/list": ("prompts", "prompts"),
}
LIST_FLAGS = {  # notification -> the member of a filter that asks for it
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}
# Method -> the member of its params that says what is called.
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
MAY_ASK = frozenset(NAMED_BY)  # the methods whose handlers may ask the client


class Method(NamedTuple):
    function: Callable[[Context, Message], Any]
    first: str = ""  # the revision that introduced it; '' means from the beginning
    last: str = STATELESS_REVISION


METHODS = {
    "ping": Method(ping, last=LATEST_SESSION_REVISION),
    "logging/setLevel": Method(set_level, last=LATEST_SESSION_REVISION),
    "tools/list": Method(list_entries),
    "tools/call": Method(call_tool),
    "resources/list": Method(list_entries),
    "resources/templates/list": Method(list_entries),
    "resources/read": Method(read_resource),
    "resources/subscribe": Method(subscribe, last=LATEST_SESSION_REVISION),
    "resources/unsubscribe": Method(unsubscribe, last=LATEST_SESSION_REVISION),
    "prompts/list": Method(list_entries),
    "prompts/get": Method(get_prompt),
    "completion/complete": Method(complete),
    "server/discover": Method(discover, first=STATELESS_REVISION),
    "subscriptions/listen": Method(listen, first=STATELESS_REVISION),
}


# ---- 11 Two channels ---------------------------------------------------------------------------
# The transport before Streamable HTTP. The client sends on one channel, and the server on another;
# a session id connects the two. Sessions, streams and methods are those of the other sections: only
# the stream that a call writes into is a different one. There are two dialects: HTTP+SSE of
# revision 2024-11-05, and *the lesson*, the URLs by which tutorials teach the transport. (SPEC.md
# tells where the lesson and the specification differ.)


class Channel(Stream):
    """The stream of a call whose POST was only acknowledged: all that it says goes elsewhere."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.session = session
        self.tool = ""  # the tool that is called; '' where the call is no tools/call

    async def send(self, data: bytes, needed: bool = False) -> None:
        """[lesson.tool-stream] Write into the tool's own stream, if that is read."""
        own = self.session.tool_streams.get(self.tool)
        if self.ended:
            return
        if own is None or own.reader is None:
            own = self.session.standalone_stream()
        await own.send(data, needed)

    def answer(self, response: bytes | None, status: int = 200) -> None:
        """[lesson.primary-stream] Write into the primary stream, and end the tool's own one."""
        self.ended = True
        if response is not None:
            self.responses += 1
            self.session.standalone_stream().push(response, needed=True)
        others = [call.stream for call in self.session.calls if call.stream is not self]
        running = [cast(Channel, stream).tool for stream in others]
        if self.tool in self.session.tool_streams and self.tool not in running:
            self.session.tool_streams.pop(self.tool).end()

    def release(self) -> None:
        """There is no connection of its own to end."""


def find_two_channel_routes(parts: list[str], request: Request) -> Routes | None:
    """The second map of URLs: the parts of a path -> what is there. None: nothing.

    The variables of the request are those of its query and those of its path.
    """
    query = request.target.partition("?")[2]
    request.variables = dict(parse_qsl(query, keep_blank_values=True))
    match parts:
        case ["sse"]:  # [channel.two-endpoints] [legacy.old-endpoints]
            return SSE
        # [lesson.routes] The lesson has several names for one thing.
        case (
            ["messages"] | ["request"] | ["sse", "message"]
            | ["notifications"] | ["notifications", "initialized"]
        ):  # fmt: skip
            return MESSAGES
        case ["initialize"]:
            return INITIALIZE
        case ["sse", session_id]:
            request.variables["session_id"] = session_id
            return SSE
        case ["sse", session_id, "tool", tool]:
            request.variables |= {"session_id": session_id, "tool": unquote(tool)}
            return TOOL_STREAM
    return None


async def handle_sse(server: MCPServer, request: Request) -> Reply:
    """Read the primary stream of the session in the URL, or open a session, as in 2024-11-05."""
    if "session_id" in request.variables:
        session = find_two_channel_session(server, request)
        return read_stream(request, session, session.standalone_stream)
    # `initialize` will tell who the client is.
    session = server.sessions.open(ClientInfo(request.principal, "", {}, {}, 0), two_channel=True)
    stream = session.standalone_stream()
    # It cannot be resumed, so its events have no ids.
    stream.name = ""
    stream.kind = "message"  # [channel.message-events]
    # [channel.endpoint-event] The first event says where to POST.
    where = f"{server.root_path}/messages?session_id={session.id}"
    stream.push(where.encode(), needed=True, kind="endpoint")
    # [channel.shutdown] Old clients do not come back: the end of the connection ends the session.
    stream.on_left = functools.partial(server.sessions.end, session, "the client disconnected")
    return Reply(200, EVENT_STREAM_HEADERS, stream=stream)


async def handle_tool_stream(server: MCPServer, request: Request) -> Reply:
    """Read a tool's own stream, from before its call or during it. It ends with the last call."""
    session = find_two_channel_session(server, request)
    tool = request.variables["tool"]
    if tool not in server.tools or not server.enable_tool_sse:
        raise HTTPError(404, "no such tool, or it has no own stream: read the primary stream")
    return read_stream(request, session, functools.partial(session.tool_stream, tool))


async def handle_initialize(server: MCPServer, request: Request) -> Reply:
    """[lesson.initialize] Open a session as the single endpoint does."""
    message = read_body(request)
    if not is_initialize(message):
        raise HTTPError(400, "expected an initialize request, or its params")
    return initialize(server, request, message, two_channel=True)


async def handle_message(server: MCPServer, request: Request) -> Reply:
    """[channel.post-202] Acknowledge at once. What the message brings about comes on the stream."""
    body = read_body(request)
    message = body if isinstance(body, dict) else {}  # a batch has no session id of its own
    session = find_two_channel_session(server, request, message, message.get("params"))
    lesson = "session_id" not in request.variables
    # [lesson.id-given] The lesson's requests have no ids, which would make them notifications.
    method = message.get("method", "")
    if lesson and method and "id" not in message and not method.startswith("notifications/"):
        session.asked += 1
        message["id"] = session.asked
    messages = check_batch(session, body) if isinstance(body, list) else [message]
    requests = [each for each in messages if is_request(each)]
    if requests:
        await wait_for_room(session, len(requests))
        check_load(server, len(requests))
    for each in messages:
        take_from_channel(server, request, session, each)
    if not lesson:
        return Reply(202)
    # [lesson.acknowledge] A client that sent no id learns here which one the response will have.
    return Reply(200, JSON_HEADERS, encode(present(id=message.get("id"))))


def read_body(request: Request) -> Any:
    """Parse a body. If the path says what is meant, params are enough: {"protocol": "mcp"}."""
    body = parse_json(request.body)
    if isinstance(body, list):
        return body
    method = request.path.strip("/")
    if method in IMPLIED and isinstance(body, dict) and "jsonrpc" not in body:
        # Version '' is not served, so `read_client` chooses the newest one.
        params = {"protocolVersion": "", **body}
        body = {"jsonrpc": "2.0", "method": method, "params": params, **IMPLIED[method]}
    return check_envelope(body)


def find_two_channel_session(server: MCPServer, request: Request, *bodies: Any) -> Session:
    """[lesson.session-id] The id comes in the URL, in the header, or in the body. HTTPError."""
    places = [request.variables.get("session_id"), request.headers.get("mcp-session-id")]
    places += [body.get("sessionId") for body in bodies if isinstance(body, dict)]
    for session_id in places:
        if isinstance(session_id, str):
            return server.sessions.find(session_id, request.principal, two_channel=True)
    raise HTTPError(400, "the session id is missing: GET /sse, or POST /initialize, to get one")


async def wait_for_room(session: Session, calls: int) -> None:
    """[limits.backlog] Wait for a slow reader. HTTPError where nobody reads what waits."""
    stream = session.standalone_stream()
    while not session.has_room() and stream.reader is not None:
        await stream.wait()
    # The client may have disconnected meanwhile, and then the session has ended.
    session.sessions.find(session.id, session.principal, two_channel=True)
    check_room(session, calls)


def take_from_channel(
    server: MCPServer, request: Request, session: Session, message: Message
) -> None:
    if not is_request(message):
        take_message(session, message)
    elif is_initialize(message) or (not session.version and message["method"] != "ping"):
        answer_initialize(server, request, session, message)
    else:
        channel = Channel(session)
        if message["method"] == "tools/call":
            channel.tool = str(message.get("params", {}).get("name"))
        start_call(session_call(server, request, session, message, channel))


def answer_initialize(
    server: MCPServer, request: Request, session: Session, message: Message
) -> None:
    """[channel.initialize-first] Answer `initialize`, or refuse what comes before it."""
    try:
        if not is_initialize(message):
            raise RPCError(INVALID_REQUEST, "send initialize first")
        client = read_client(server, request, message, two_channel=True)
        session.keep(client.size)
        session.version = client.version
        session.client_info = client.info
        session.client_capabilities = client.capabilities
        response = encode_result(message["id"], introduction(server, session))
    except RPCError as error:
        response = encode_error(message["id"], error)
    session.standalone_stream().push(response, needed=True)


SSE: Routes = {"GET": Route(handle_sse, needs_stream=True), "OPTIONS": PREFLIGHT}
TOOL_STREAM: Routes = {"GET": Route(handle_tool_stream, needs_stream=True), "OPTIONS": PREFLIGHT}
MESSAGES: Routes = {"POST": Route(handle_message, needs_json=True), "OPTIONS": PREFLIGHT}
INITIALIZE: Routes = {"POST": Route(handle_initialize, needs_json=True), "OPTIONS": PREFLIGHT}
# The path of a POST -> what completes a body that holds params alone.
IMPLIED: dict[str, Message] = {"initialize": {"id": 0}, "notifications/initialized": {}}


# ---- 12 Context, and questions to the client ---------------------------------------------------
# A `Context` is one call, as its handler sees it: who asks, and ways to report, to log, to ask. A
# handler writes its questions once, for all revisions. A `Question` knows its method, its params,
# what the client must be able to do, and how its answer is read; sections 8 and 9 know how it
# travels.


@dataclass(slots=True)
class Question:
    """A request to the client. `Context.ask` takes several of them."""

    method: str  # 'elicitation/create'
    params: Message
    capabilities: Sequence[str]  # what the client must have declared: ['sampling.tools']
    read: Callable[[Message], Any]  # from the answer to what `ask` returns; ValueError


@dataclass(slots=True)
class ElicitResult:
    """What the user did with a form: action is 'accept', 'decline' or 'cancel'."""

    action: str
    content: Message | None = None  # what an accepted form says
    data: Any = None  # the same as the class that was asked for


class MissingCapability(ToolError):
    """The client has not declared a capability that a question needs: 'sampling.tools', say."""

    def __init__(self, *paths: str) -> None:
        names = ", ".join(paths)
        super().__init__(f"the client cannot be asked: it did not declare the capability {names}")
        self.required: Message = {}  # as the client would declare it: {'sampling': {'tools': {}}}
        for path in paths:
            inner = self.required
            for name in path.split("."):
                inner = inner.setdefault(name, {})


@dataclass(eq=False)
class InputRequired(BaseException):
    """Ends a call with questions. `Context.ask` raises it for a client of 2026-07-28.

    A handler for such clients alone may also return it, with a state of its own, and read
    `ctx.input_responses` and `ctx.request_state` when the client calls again. It is no Exception,
    so that it passes a handler's `except Exception`.
    """

    questions: dict[str, Question] = field(default_factory=dict)
    state: str | None = None


@dataclass(eq=False, repr=False)
class Context:
    """One call, as its handler sees it. A parameter with the hint `Context` gets it."""

    # Who asks, and what.
    server: MCPServer
    request: Request  # the HTTP request
    stream: Stream  # for the answer
    session: Session | None
    request_id: str | int  # of the JSON-RPC request
    method: str
    params: Message
    protocol_version: str
    client_info: Message
    client_capabilities: Message
    log_level: int = 0  # without a session: less severe log messages are not sent
    # The call while it runs.
    meta: Message = field(init=False)  # the `_meta` of the request, as `call_method` reads it
    task: asyncio.Task[Any] | None = field(default=None, init=False)
    # Why it was cancelled. A plain `def` handler looks at this, and stops.
    cancelled: str | None = field(default=None, init=False)
    progress: float = field(default=-math.inf, init=False)  # the last one reported
    # What a plain handler waits for, see `wait`.
    waits: set[Any] = field(default_factory=set, init=False)
    # The questions so far, and what the client brought when it called again (2026-07-28).
    asked: frozenset[str] = field(default=frozenset(), init=False)  # their keys
    # Key -> the answer that was accepted; key -> what the client says now.
    answers: Message = field(default_factory=dict, init=False)
    input_responses: Message = field(default_factory=dict, init=False)
    # The `state` of the InputRequired before.
    request_state: str | None = field(default=None, init=False)

    def __class_getitem__(cls, item: object) -> type:
        """Hints written for the official SDK say Context[...]; the brackets mean nothing here."""
        return cls

    def __repr__(self) -> str:
        return f"<Context of {self.method}, revision {self.protocol_version}>"

    @property
    def is_stateless(self) -> bool:
        """Whether the client has no session, as since 2026-07-28."""
        return self.session is None

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of this HTTP request, by lower-case name."""
        return self.request.headers

    @property
    def principal(self) -> str | None:
        """Who the client has proved to be; None where the server asks nobody."""
        return self.request.principal

    @property
    def session_id(self) -> str | None:
        return self.session.id if self.session is not None else None

    @property
    def lifespan_context(self) -> Any:
        """What the `lifespan` of the server gave; None where there is none."""
        return self.server.lifespan_context

    # Speaking while the call runs.

    async def report_progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tell how far the call has come, if the client has asked. Only an increase is sent."""
        token = self.meta.get("progressToken")
        # [progress.active-token-only] [progress.increases] 0 and '' are tokens, and True is none.
        if type(token) in (str, int) and progress > self.progress:
            self.progress = progress
            params: Message = {"progressToken": token, "progress": progress}
            if total is not None:
                params["total"] = total
            if message is not None:
                params["message"] = message
            await self.notify("notifications/progress", params)
        else:
            await asyncio.sleep(0)

    async def log(self, level: str, data: Any, logger_name: str | None = None) -> None:
        """Send a log message of one of LOG_LEVELS, if the client wants that level. ValueError."""
        if level not in LOG_LEVELS:
            raise ValueError(f"no log level {level!r}: use one of {', '.join(LOG_LEVELS)}")
        least = self.log_level if self.session is None else self.session.log_level
        if LOG_LEVELS.index(level) >= least:
            params = {"level": level, "data": plain(data), **present(logger=logger_name)}
            await self.notify("notifications/message", params)  # [log.message]
        else:
            await asyncio.sleep(0)

    # The same with its level in its name: await ctx.info("half way", "a logger")
    debug = functools.partialmethod(log, "debug")
    info = functools.partialmethod(log, "info")
    warning = functools.partialmethod(log, "warning")
    error = functools.partialmethod(log, "error")

    async def notify(self, method: str, params: Message) -> None:
        """[stream.related-only] [progress.stop] Send what belongs to this call, until it has ended.

        Whether it is sent or not, others get a turn: a handler may do nothing but report.
        """
        if self in self.server.calls:
            await self.stream.send(encode_notification(method, params))
        else:
            await asyncio.sleep(0)

    async def close_sse_stream(self) -> None:
        """Close the connection and go on; the client comes back for the rest (2025-11-25 only).

        For a call that runs for minutes. [stream.open-until-response] An older client takes the end
        of a stream for the end of the call, so for that nothing happens.
        """
        if self.protocol_version == "2025-11-25":
            self.stream.release()
            await asyncio.sleep(0)

    async def read_resource(self, uri: str) -> list[Message]:
        """Read a resource of this server: a list of {'uri', 'mimeType', 'text' or 'blob'}."""
        return await self.server.read_resource(self, uri)

    # Asking the client.

    async def ask(self, **questions: Question) -> dict[str, Any]:
        """Ask several things at once: ask(a=elicit_form(...), b=list_roots()) -> {'a': ..., ...}

        Ask first, act after. A client of 2026-07-28 answers by calling again, and the handler then
        runs again from the top; each answered question returns at once. So keys and order must not
        depend on chance, and what stands before the last question happens more than once. To ask
        from several tasks at once does not work for such a client: give all questions to one `ask`.

        ToolError where the client cannot be asked (MissingCapability where it did not declare the
        capability), does not answer in time, refuses, or answers in a wrong shape.
        """
        check_questions(self, questions)
        used = self.asked & questions.keys()
        if used:  # [mrtr.keys-unique]
            raise ValueError(f"each question needs a key of its own, and {min(used)!r} was used")
        self.asked |= questions.keys()
        if self.is_stateless:
            return await ask_by_replay(self, questions)
        return await ask_on_stream(self, questions)

    async def ask_one(self, question: Question, key: str | None = None) -> Any:
        """Ask one thing. Without a key it gets one that says its place: 'question-1'."""
        key = key or f"question-{len(self.asked) + 1}"
        answers = await self.ask(**{key: question})
        return answers[key]

    async def elicit(self, message: str, schema: Any, *, key: str | None = None) -> ElicitResult:
        """Ask the user to fill in a form, see `elicit_form`. ToolError as for `ask`."""
        answer: ElicitResult = await self.ask_one(elicit_form(message, schema), key)
        return answer

    async def elicit_url(
        self, message: str, url: str, elicitation_id: str, *, key: str | None = None
    ) -> ElicitResult:
        """Ask the user to visit a URL. 'accept' says that the user agreed, not that it is done."""
        answer: ElicitResult = await self.ask_one(elicit_url(message, url, elicitation_id), key)
        return answer

    async def sample(
        self, messages: str | list[Message], *, key: str | None = None, **options: Any
    ) -> Message:
        """Ask the client's model. `sample_message` has the options, `text_of` reads the answer."""
        answer: Message = await self.ask_one(sample_message(messages, **options), key)
        return answer

    async def list_roots(self, *, key: str | None = None) -> list[Message]:
        """Ask for the folders that the client works in: [{'uri': 'file:///home/ada'}]."""
        answer: list[Message] = await self.ask_one(list_roots(), key)
        return answer

    # For plain `def` handlers, which run in a thread.

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Use a coroutine of this class from a thread: `ctx.wait(ctx.info('half way'))`."""
        loop = self.server.loop
        if loop is None or self.server.loop_thread == threading.get_ident():
            coroutine.close()
            raise RuntimeError("Context.wait is for plain def handlers; here, await the coroutine")
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        self.waits.add(future)
        future.add_done_callback(self.waits.discard)
        if self.cancelled is not None:
            future.cancel()
        return future.result()

    # Ending.

    def cancel(self, reason: str) -> None:
        """Stop the call, and what its thread waits for. A thread must look at `cancelled`."""
        self.cancelled = reason
        for future in list(self.waits):
            future.cancel()
        if self.task is not None:
            self.task.cancel()

    def leave(self) -> None:
        self.cancel("the client disconnected")


def check_questions(ctx: Context, questions: dict[str, Question]) -> None:
    """Fail at once where a question would wait for ever. ToolError, MissingCapability.

    [operation.negotiated-capabilities] [operation.negotiated-only] [roots.check-capability]
    [mrtr.declared-only] What the client did not declare is not asked.
    """
    # [mrtr.supported-methods] Without a session, not every method may ask.
    if ctx.is_stateless and ctx.method not in MAY_ASK:
        raise ToolError(f"nothing can be asked in {ctx.method} of {ctx.protocol_version}")
    missing: list[str] = []
    for question in questions.values():
        missing += [path for path in question.capabilities if not is_declared(ctx, path)]
    if missing:
        raise MissingCapability(*missing)


def is_declared(ctx: Context, path: str) -> bool:
    """Whether the client has declared a capability, or a part of one: 'sampling.tools'."""
    name, _, part = path.partition(".")
    declared = ctx.client_capabilities.get(name)
    parts = declared if isinstance(declared, dict) else {}
    # Parts are younger than the clients of 2025-06-18.
    if part:
        return parts.get(part) is not None and ctx.protocol_version >= "2025-11-25"
    # [elicit.declared-mode-only] Without parts it means forms.
    if name == "elicitation":
        return declared == {} or "form" in parts
    return declared is not None


# The questions.


def elicit_form(message: str, schema: Any) -> Question:
    """Ask the user to fill in a form: a class with simple fields, or a JSON Schema. ValueError.

    [elicit.form-request] The answer is an ElicitResult.
    """
    by_hand = isinstance(schema, dict)
    form = schema if by_hand else flat_schema(schema_of(schema))
    check_form(form)

    def read(answer: Message) -> ElicitResult:
        result = read_action(answer)
        if result.action == "accept":
            content = answer.get("content")
            # All fields of the form are optional.
            if content is None:
                content = {}
            check(content, form, "content")  # [elicit.validate-received]
            result.content = content
            result.data = content if by_hand else convert(content, schema)
        return result

    params = {"message": message, "requestedSchema": form}
    return Question("elicitation/create", params, ["elicitation"], read)


def flat_schema(schema: Schema) -> Schema:
    """Write a class's schema as forms have it: an optional field is not null, but absent."""
    properties = {}
    for name, member in schema.get("properties", {}).items():
        kinds = [kind for kind in member.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            member = {**kinds[0], **member, "anyOf": None}
        # This drops a default of null.
        properties[name] = present(**member)
    return present(type=schema.get("type"), properties=properties, required=schema.get("required"))


def check_form(schema: Schema) -> None:
    """[elicit.flat-schema] [elicit.enum-forms] Clients build a form from this. ValueError."""
    if schema.get("type") != "object":
        raise ValueError("a form needs the schema of an object, or a class with fields")
    for name, member in schema.get("properties", {}).items():
        match member:
            case (
                {"type": "string" | "number" | "integer" | "boolean"}
                | {"enum": _}
                | {"oneOf": _}
                | {"type": "array", "items": {"enum": _} | {"anyOf": _}}
            ):
                continue
        raise ValueError(
            f"the form's property {name!r} must be a string, a number, a boolean or an enum"
        )


def read_action(answer: Message) -> ElicitResult:
    """[elicit.actions] ValueError."""
    action = answer.get("action")
    if action not in ("accept", "decline", "cancel"):
        raise ValueError("expected an action, one of accept, decline, cancel")
    return ElicitResult(action)


def elicit_url(message: str, url: str, elicitation_id: str) -> Question:
    """[elicit.url-request] Ask the user to visit a URL, for what the client must not see."""
    params = {"mode": "url", "message": message, "url": url, "elicitationId": elicitation_id}
    return Question("elicitation/create", params, ["elicitation.url"], read_action)


def sample_message(
    messages: str | list[Message], *, max_tokens: int = 1000, system_prompt: str | None = None,
    temperature: float | None = None, model_preferences: Message | None = None,
    metadata: Message | None = None, stop_sequences: list[str] | None = None,
    include_context: str | None = None, tools: list[Message] | None = None,
    tool_choice: Message | None = None,
) -> Question:  # fmt: skip
    """Ask the client's model. A str is one user message. The answer is a CreateMessageResult."""
    if isinstance(messages, str):
        messages = [user(messages)]
    needs = ["sampling"]
    if tools is not None or tool_choice is not None:  # [sampling.tools-declared]
        needs.append("sampling.tools")
    if include_context not in (None, "none"):  # [sampling.context-declared]
        needs.append("sampling.context")
    params = present(
        messages=messages,
        maxTokens=max_tokens,
        systemPrompt=system_prompt,
        temperature=temperature,
        modelPreferences=model_preferences,
        metadata=metadata,
        stopSequences=stop_sequences,
        includeContext=include_context,
        tools=tools,
        toolChoice=tool_choice,
    )
    return Question("sampling/createMessage", params, needs, read_sample)


def read_sample(answer: Message) -> Message:
    """[sampling.validate-content] Check a CreateMessageResult, and return it. ValueError."""
    if not all(map(is_content, blocks_of(answer))):
        raise ValueError("expected content: one or several content blocks")
    if not isinstance(answer.get("model"), str) or answer.get("role") not in ("user", "assistant"):
        raise ValueError("expected a message with role, content and model")
    return answer


def list_roots() -> Question:
    """Ask for the folders that the client works in: [{'uri': 'file:///home/ada', 'name': 'home'}].

    [roots.changes] Nothing is remembered between two questions, so a change of roots needs no care.
    """
    return Question("roots/list", {}, ["roots"], read_roots)


def read_roots(answer: Message) -> list[Message]:
    """[roots.list] ValueError."""
    check(answer, ROOTS_SCHEMA)
    roots: list[Message] = answer["roots"]
    return roots


ROOTS_SCHEMA: Schema = {
    "required": ["roots"],
    "properties": {
        "roots": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["uri"],
                "properties": {"uri": {"type": "string"}},
            },
        },
    },
}


def blocks_of(message: Message) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else [content]


def text_of(message: Message) -> str:
    """The text of a message: {'content': {'type': 'text', 'text': 'a'}} -> 'a'."""
    texts = [block["text"] for block in blocks_of(message) if block.get("type") == "text"]
    return "\n".join(texts)


# ---- 13 Tools, resources, prompts --------------------------------------------------------------
# What a server offers, and the decorators that register it. A function is inspected once, when it
# is registered: its schema and its definition are made, and a function that could not work is
# refused by name. So a call only checks the arguments, runs the handler, and writes the result.
# A result that has no form in JSON fails that one call.

Function = Callable[..., Any]


class Catalog:
    """[list.announces-itself] The tools, resources and prompts of one server.

    Each decorator takes what the `add_` method of the same kind takes, works with and without
    parentheses, and returns the function unchanged. All entries may have a `title`, a
    `description` (or else the docstring), `annotations`, `icons` and `meta`, a resource also
    `mime_type` and `size`. TypeError or ValueError refuses what clients could not read or call.
    """

    def __init__(self) -> None:
        self.tools: dict[str, Tool] = {}
        # The key is the normalized URI.
        self.resources: dict[str, Resource] = {}
        # The key is the URI template as it was registered.
        self.templates: dict[str, Resource] = {}
        self.prompts: dict[str, Prompt] = {}
        self.completer: Handler | None = None
        # Encoded results of the list methods, which are kept until a list changes.
        self.lists: dict[Any, bytes] = {}

    def tool(self, name: Any = None, **details: Any) -> Function:
        """Register a tool: `@mcp.tool` or `@mcp.tool("name", title="Title")`."""
        return decorator(self.add_tool, name, details)

    def resource(self, uri: str = "", **details: Any) -> Function:
        """Register a resource or a template: `@mcp.resource("doc://{name}")`."""
        if not uri or callable(uri):
            raise TypeError('a resource needs a URI: write @mcp.resource("doc://name")')
        return functools.partial(self.add_resource, uri=uri, **details)

    def prompt(self, name: Any = None, **details: Any) -> Function:
        """Register a prompt: `@mcp.prompt` or `@mcp.prompt("name")`."""
        return decorator(self.add_prompt, name, details)

    def completion(self, name: Any = None) -> Function:
        """Register the function that completes arguments: `@mcp.completion`."""
        return decorator(self.add_completion, name, {})

    def add_tool(
        self, function: Function, name: str | None = None, *,
        input_schema: Schema | None = None, output_schema: Schema | None = None, **details: Any,
    ) -> Function:  # fmt: skip
        """[tool.definition] Register a tool. A schema that is given is shown as it is and enforced.

        [schema.dialects-documented] Schemas are JSON Schema 2020-12. Under an `input_schema` the
        function gets the arguments as JSON values, whatever its hints say.
        """
        tool = Tool(function, "tool", name, input_schema)
        check(tool.name, TOOL_NAME, "tool name")  # [tool.name-form]
        output_schema, tool.output = output_form(tool, output_schema)
        tool.wraps = output_schema is not tool.output
        tool.define(details, inputSchema=tool.form.schema, outputSchema=output_schema)
        tool.headers = mirrored_headers(tool.form.schema, tool.what)
        self.put(self.tools, tool.name, tool)
        self.notify_tools_changed()
        return function

    def add_resource(
        self, function: Function, uri: str, *, name: str | None = None,
        mime_type: str | None = None, **details: Any,
    ) -> Function:  # fmt: skip
        """Register a resource, or a template, where {name} in the URI is the parameter `name`."""
        uri = str(uri)
        resource = Resource(function, "resource", name)
        # [resource.custom-scheme]
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri) or len(uri) > MAX_URI:
            complaint = f"the URI {uri!r} has no scheme, as in 'doc://a', or is too long"
            raise ValueError(f"{resource.what}: {complaint}")
        resource.template = parse_template(uri, resource.what)
        variables = {part.removeprefix("+") for part in resource.template[1::2]}
        unknown = variables - resource.form.schema["properties"].keys()
        for parameter in unknown | resource.required - variables:
            raise resource.refusal(parameter, f"the parameters must be the variables of {uri!r}")
        details["mimeType"] = mime_type
        if variables:  # [resource.templates]
            resource.define(details, uriTemplate=uri)
            self.put(self.templates, uri, resource)
        else:
            resource.define(details, uri=uri)
            self.put(self.resources, normalize_uri(uri), resource)
        self.notify_resources_changed()
        return function

    def add_prompt(self, function: Function, name: str | None = None, **details: Any) -> Function:
        """Register a prompt. Its parameters are its arguments, which are strings on the wire."""
        prompt = Prompt(function, "prompt", name)
        required = prompt.required
        arguments = [
            present(name=key, description=schema.get("description"), required=key in required)
            for key, schema in prompt.form.schema["properties"].items()
        ]
        prompt.define(details, arguments=arguments or None)
        self.put(self.prompts, prompt.name, prompt)
        self.notify_prompts_changed()
        return function

    def add_completion(self, function: Function, name: str | None = None) -> Function:
        """Register `complete(ref, argument, context)`, which returns suggested values, or None.

        The three are dicts, as they are on the wire. A function may leave some of them out.
        """
        completer = Handler(function, "completion", name)
        for parameter in completer.required - {"ref", "argument", "context"}:
            complaint = "a completion handler takes ref, argument and context"
            raise completer.refusal(parameter, complaint)
        self.completer = completer
        return function

    def put(self, table: dict[str, Any], key: str, entry: Handler) -> None:
        if key in table:
            log.warning("%s replaces another one of the same name", entry.what)
        table[key] = entry

    # KeyError if there is no such entry.

    def remove_tool(self, name: str) -> None:
        del self.tools[name]
        self.notify_tools_changed()

    def remove_resource(self, uri: str) -> None:
        if self.templates.pop(uri, None) is None:
            del self.resources[normalize_uri(uri)]
        self.notify_resources_changed()

    def remove_prompt(self, name: str) -> None:
        del self.prompts[name]
        self.notify_prompts_changed()

    # Change notices may be sent from any thread. They reach every client that listens.

    def announce(self, method: str, params: Message | None = None) -> None:
        raise NotImplementedError  # MCPServer knows who listens

    def notify_tools_changed(self) -> None:
        self.announce("notifications/tools/list_changed")

    def notify_prompts_changed(self) -> None:
        self.announce("notifications/prompts/list_changed")

    def notify_resources_changed(self) -> None:
        self.announce("notifications/resources/list_changed")

    def notify_resource_updated(self, uri: str) -> None:
        self.announce("notifications/resources/updated", {"uri": uri})

    def find_resource(self, asked: str) -> tuple[Resource, dict[str, str]]:
        """Find the resource that a URI names, and the variables in the URI. RPCError."""
        uri = normalize_uri(asked)
        if uri in self.resources:
            return self.resources[uri], {}
        for resource in self.templates.values():  # [resource.validate-uri]
            variables = match_template(resource.template, uri)
            if variables is not None:
                return resource, variables
        asked = asked[:MAX_TEXT]
        # [resource.not-found]
        raise RPCError(RESOURCE_NOT_FOUND, f"Resource not found: {asked}", {"uri": asked})

    async def read_resource(self, ctx: Context, uri: str) -> list[Message]:
        resource, variables = self.find_resource(uri)
        return await resource.read(ctx, uri, variables)


def decorator(add: Function, given: Any, details: Message) -> Function:
    """Register the given function at once, or return a function that registers its argument."""
    if callable(given):
        return cast(Function, add(given, **details))
    return functools.partial(add, name=given, **details)


# One class for each kind of entry. An entry is inspected when it is registered.


class Handler:
    """A registered function: a `def`, an `async def`, a method, an object with `__call__`.

    TypeError for what could not work. Under a `schema` of the author's, the function gets the
    arguments as JSON values.
    """

    definition: Message  # as the lists show it

    def __init__(
        self, function: Function, kind: str, name: str | None, schema: Schema | None = None
    ) -> None:
        signature = inspect.signature(function)
        self.function = function
        inner, self.bound = innermost(function)
        self.name: Any = name or getattr(inner, "__name__", type(inner).__name__)
        self.what = f"{kind} {self.name}"  # for messages
        # What has the hints, and most often the docstring.
        self.inner = inner if hasattr(inner, "__name__") else type(inner).__call__
        self.description = inspect.getdoc(self.inner if self.inner.__doc__ else inner)
        calls = (function, type(function).__call__)
        for call in calls:
            if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
                raise TypeError(f"{self.what}: a generator function has no result: return a list")
        self.is_coroutine = any(map(inspect.iscoroutinefunction, calls))
        self.contexts: list[str] = []  # the names of the parameters that take the Context
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.name in self.bound:
                continue
            hint = self.read_parameter(parameter, is_first=not parameters)
            if takes_context(hint):
                self.contexts.append(parameter.name)
                continue
            default = parameter.default
            if schema is not None:
                hint = Any
                default = without_bounds(default)
            parameters.append(parameter.replace(annotation=hint, default=default))
        try:
            self.form = signature_form(inspect.Signature(parameters))
        except TypeError as error:  # 'parameter a: complex has no JSON Schema'
            raise TypeError(f"{self.what}, {error}") from None
        # The names of the parameters that have no default.
        self.required = set(self.form.schema.get("required", ()))
        if schema is not None:
            schema = read_schema(schema, f"{self.what}, input_schema")
            self.form = Form(schema, self.form.read)
            for each in self.required:
                # A schema may name it anywhere, say below `anyOf`, or allow names that it has not.
                brings = rf'"({each}|patternProperties)"|"additionalProperties": [^f]'
                if "properties" in schema and not re.search(brings, to_text(schema)):
                    raise self.refusal(each, "has no default, and is not in the input_schema")

    def read_parameter(self, parameter: inspect.Parameter, is_first: bool) -> Any:
        """The hint of a parameter. TypeError if the function could not be called by name."""
        name = parameter.name
        hint = parameter.annotation
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise self.refusal(name, "is positional-only, but arguments come by name")
        if is_first and name in ("self", "cls") and hint is parameter.empty:
            raise self.refusal(name, "a method needs its object: register object.method")
        # A hint may be text, or hold text: 'list[int]' -> list[int].
        holder = types.SimpleNamespace(__annotations__={"hint": hint})
        scope = getattr(self.inner, "__globals__", {})
        try:
            hint = typing.get_type_hints(holder, scope, include_extras=True)["hint"]
        except Exception as error:  # noqa: BLE001  # an unknown name, say
            raise self.refusal(name, f"cannot read the hint {hint!r}: {error}") from None
        if takes_context(hint) and parameter.kind.name.startswith("VAR_"):
            raise self.refusal(name, "a call has one Context, not a list or a dict of it")
        return hint

    def refusal(self, parameter: str, complaint: str) -> TypeError:
        return TypeError(f"{self.what}, parameter {parameter}: {complaint}")

    def define(self, details: Message, **members: Any) -> None:
        """Make the definition: the details, which are checked, and other members. SchemaError."""
        place = f"{self.what}, details"
        meta = plain(details.pop("meta", None), f"{place}._meta")
        given = {"name": self.name, "description": self.description, **present(**details)}
        # An object of pydantic writes null for what it does not have.
        text = json.dumps(plain(given, place))
        definition = json.loads(text, object_hook=without_null) | present(_meta=meta)
        check(definition, DETAILS, place)
        self.definition = definition | present(**members)

    async def __call__(self, ctx: Context, arguments: Message) -> Any:
        """Call the function with arguments that `form` has read."""
        # What the author has bound is not for clients: **arguments might take it from them.
        for name in self.bound:
            arguments.pop(name, None)
        for name in self.contexts:
            arguments[name] = ctx
        if self.is_coroutine:
            value = await self.function(**arguments)
        else:
            call = functools.partial(self.function, **arguments)
            value = await ctx.server.call_in_thread(ctx, call)
            # A plain function may return a coroutine, as a decorator around one does.
            if inspect.isawaitable(value):
                value = await value
        if isinstance(value, InputRequired):
            raise value
        return value

    def read_texts(self, texts: Message) -> Message:
        """[prompt.invalid-params] Turn strings of a prompt or a URI into hinted types. RPCError."""
        schema = self.form.schema
        values: Message = dict(texts)
        for name, text in texts.items():
            try:
                check({name: text}, {**schema, "required": []})
            except SchemaError:  # not meant as a string: '5' for an integer
                # If the string is not JSON, the check of all values says what is wrong.
                with contextlib.suppress(RPCError):
                    values[name] = parse_json(str(text).encode())
        try:
            check(values, schema, "arguments")
            values = self.form.read(values, "arguments")
        except SchemaError as error:
            raise RPCError(INVALID_PARAMS, f"{self.what}: {error}") from None
        return values


class Tool(Handler):
    # The schema of the data that the tool promises, and whether it is sent as {'result': data}.
    output: Schema | None
    wraps: bool
    # ('where', 'region') -> 'mcp-param-region': the header that mirrors this argument.
    headers: dict[tuple[str, ...], str]

    async def call(self, ctx: Context, arguments: Message) -> Message:
        """Check the arguments, run the handler, and write what it returns as a CallToolResult."""
        check(arguments, self.form.schema, "arguments")  # [tool.validate-inputs]
        # [tool.extra-arguments] The form drops arguments that the function does not have.
        value = await self(ctx, self.form.read(arguments, "arguments"))
        if isinstance(value, ToolResult):
            return write_result(value, self.definition.get("outputSchema"))
        if self.output is None and is_for_model(value):
            return {"content": content_blocks(value)}
        data = plain(value)
        text = {"type": "text", "text": to_text(data)}  # [tool.structured-also-text]
        # [tool.structured-object] Data is an object, whatever the author's own schema says.
        if not self.wraps and not isinstance(data, dict):
            data = {"result": data}
        # [tool.output-conforms] Clients reject a result that does not fit the schema.
        if self.output is not None:
            check(data, self.output, "structuredContent")
        # `output` is the schema of the data alone; what clients see and get has a wrapper.
        if self.wraps:
            data = {"result": data}
        return {"content": [text], "structuredContent": data}


class Resource(Handler):
    template: tuple[str, ...]  # see `parse_template`

    async def read(self, ctx: Context, uri: str, variables: Message) -> list[Message]:
        """Run the handler. It may return contents as they are sent, with URIs of their own."""
        value = await self(ctx, self.read_texts(variables))
        items = items_of(value)
        if items and all(map(is_contents, items)):
            return [plain(item, "contents") for item in items]
        declared = present(mimeType=self.definition.get("mimeType"))
        return [{"uri": uri, **write_contents(value), **declared}]


class Prompt(Handler):
    async def get(self, ctx: Context, texts: Message) -> Message:
        """[prompt.get] [prompt.resource-link] Make a GetPromptResult of the handler's value."""
        value = await self(ctx, self.read_texts(texts))
        messages = []
        for item in items_of(value):
            match item:
                case {"role": "user" | "assistant" as role, "content": content}:
                    messages.append({"role": role, "content": content_block(content)})
                case _:
                    messages.append(user(item))
        return present(description=self.definition.get("description"), messages=messages)


def innermost(function: Any) -> tuple[Any, set[str]]:
    """The function inside decorators and partials, and the keywords that partials have bound."""
    bound: set[str] = set()
    while isinstance(function, functools.partial) or hasattr(function, "__wrapped__"):
        if isinstance(function, functools.partial):
            bound |= function.keywords.keys()
            function = function.func
        else:
            function = function.__wrapped__
    return function, bound


def takes_context(hint: Any) -> bool:
    """Whether a hint is Context, Context | None, or one of these with a note."""
    if get_origin(hint) in (Annotated, Union, types.UnionType):
        return any(map(takes_context, get_args(hint)))
    return hint is Context


def without_bounds(default: Any) -> Any:
    """The same default. Of a Field the bounds are taken away."""
    if is_field(default):
        default = copy.copy(default)
        default.metadata = ()
    return default


def without_null(members: Message) -> Message:
    return present(**members)


# Many clients drop a whole list if one member of one entry has the wrong type.
DETAILS: Schema = {
    "properties": {
        "name": {"type": "string"},
        "title": {"type": "string"},
        "description": {"type": "string"},
        "mimeType": {"type": "string"},
        "size": {"type": "integer", "minimum": 0},
        "annotations": {"type": "object"},
        # [icon.shape]
        "icons": {"type": "array", "items": {"type": "object", "required": ["src"]}},
        "_meta": {"type": "object"},
    },
    "additionalProperties": False,
}
TOOL_NAME: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,128}\Z"}
ROOT: Schema = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"const": "object"}},
}


def read_schema(schema: Any, path: str) -> Schema:
    """[schema.valid] [tool.input-schema] Copy the author's schema. SchemaError for a bad one."""
    copy: Schema = plain(schema, path)
    check(copy, ROOT, path)
    check_schema(copy, path)
    return copy


def output_form(tool: Tool, schema: Schema | None) -> tuple[Schema | None, Schema | None]:
    """The output schema of a tool, if it has one, and the schema of the data inside.

    It is the author's, or what the return hint promises. [tool.structured-object]
    structuredContent is an object: 5 becomes {'result': 5}.
    """
    if schema is not None:
        schema = read_schema(schema, f"{tool.what}, output_schema")
        return schema, schema
    try:
        hint = typing.get_type_hints(tool.inner, include_extras=True)["return"]
        schema = schema_of(hint, "serialization")
    except Exception:  # noqa: BLE001  # there is none, or it has no JSON Schema
        return None, None
    if hint is types.NoneType or allows_content(hint):
        return None, None
    if schema.get("type") == "object":
        return schema, schema
    wrapped = dataclasses.make_dataclass("Result", [("result", hint)])
    return schema_of(wrapped, "serialization"), schema


def allows_content(hint: Any) -> bool:
    """Whether a return hint allows text, or anything, and so promises no structuredContent."""
    hint = getattr(hint, "__supertype__", hint)  # of a NewType
    args = get_args(hint)
    if get_origin(hint) in (dict, Mapping):
        return Any in args
    return hint in CONTENT or any(map(allows_content, args))


def mirrored_headers(schema: Schema, what: str) -> dict[tuple[str, ...], str]:
    """[header.annotation-valid] Find the arguments that clients repeat in headers. ValueError."""
    headers = {}
    found: list[Any] = [((), schema)]
    # The list grows while it is read.
    for path, inner in found:
        if isinstance(inner, bool):
            continue
        for name, member in inner.get("properties", {}).items():
            found.append(((*path, name), member))
        if "x-mcp-header" in inner:
            check(inner, MIRRORED, f"{what}, x-mcp-header of {'.'.join(path)}")
            headers[path] = f"mcp-param-{inner['x-mcp-header'].lower()}"
    # All of them must have been found, and under different names.
    if len(set(headers.values())) != json.dumps(schema).count('"x-mcp-header": "'):
        place = "twice, or where no fixed path of properties leads"
        raise ValueError(f"{what}: an x-mcp-header stands {place}")
    return headers


MIRRORED: Schema = {
    "required": ["type"],
    "properties": {
        "type": {"enum": ["string", "integer", "boolean"]},
        "x-mcp-header": {"type": "string", "pattern": rf"^{TOKEN}\Z"},
    },
}

# Content, which a model sees, and data, which is for programs as well.


@dataclass(slots=True)
class ToolResult:
    """The whole result of a tool, for what a plain return value cannot say."""

    content: Any = ()  # what `content_block` takes, or a list of it
    structured: Any = None  # an object, as a dict or a dataclass, say
    is_error: bool = False
    meta: Message | None = None


# Return hints that promise no structured content.
CONTENT = (Any, object, str, bytes, list, tuple, dict, ToolResult)


class Media:
    """Binary content from a handler: Image('a.png') or Image(data=b'...', format='png')."""

    kind: str
    default_format: str

    def __init__(
        self, path: str | Path = "", data: bytes | None = None, format: str | None = None
    ) -> None:
        if data is None:
            if not path:
                raise ValueError("give a path or data")
            data = Path(path).read_bytes()
            format = format or Path(path).suffix[1:]
        self.data = data
        subtype = (format or self.default_format).lower()
        self.mime_type = f"{self.kind}/{SUBTYPES.get(subtype, subtype)}"


SUBTYPES = {"jpg": "jpeg", "mp3": "mpeg", "svg": "svg+xml"}


class Image(Media):
    kind = "image"
    default_format = "png"


class Audio(Media):
    kind = "audio"
    default_format = "wav"


def write_result(value: ToolResult, schema: Schema | None) -> Message:
    """What the author wrote as a result. It must fit the output schema, unless it is an error."""
    result = present(
        content=content_blocks(value.content or value.structured),
        structuredContent=plain(value.structured, "structuredContent"),
        isError=value.is_error or None,
        _meta=plain(value.meta, "_meta"),
    )
    check(result, RESULT)
    if schema is not None and not value.is_error:
        check(result.get("structuredContent"), schema, "structuredContent")
    return result


RESULT: Schema = {
    "properties": {"structuredContent": {"type": "object"}, "_meta": {"type": "object"}}
}


def write_contents(value: Any) -> Message:
    """The contents of a resource: bytes become a blob, text stays text, data becomes JSON text."""
    match value:
        case bytes():  # [resource.binary-encoded]
            return {"mimeType": "application/octet-stream", "blob": to_base64(value)}
        case Media():
            return {"mimeType": value.mime_type, "blob": to_base64(value.data)}
        case str():
            return {"mimeType": "text/plain", "text": plain(value)}
    return {"mimeType": "application/json", "text": to_text(plain(value))}


def is_for_model(value: Any) -> bool:
    """Whether a tool's return value is content. Anything else is data.

    A list is content if all items are text, or if any item is never data.
    """
    if value is None or isinstance(value, str):
        return True
    items = items_of(value)
    only_text = all(isinstance(item, str) for item in items)
    return (only_text and items != []) or any(map(is_content, items))


def items_of(value: Any) -> list[Any]:
    """The items of a list; none for None; any other value is one item. So is a NamedTuple."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return list(value)
    return [] if value is None else [value]


def content_blocks(value: Any) -> list[Message]:
    return [content_block(item, ("content", i)) for i, item in enumerate(items_of(value))]


def content_block(value: Any, path: Where = "content") -> Message:
    """[tool.content-types] [tool.resource-link] 'hi' -> {'type': 'text', 'text': 'hi'}

    Data becomes JSON text. SchemaError names a place below `path` that has no form in JSON.
    """
    if isinstance(value, Media):  # [prompt.media]
        return {"type": value.kind, "data": to_base64(value.data), "mimeType": value.mime_type}
    data = plain(value, path)
    if isinstance(data, str):
        return {"type": "text", "text": data}
    if is_content(data):
        return cast(Message, data)
    return {"type": "text", "text": to_text(data)}


def is_content(value: Any) -> bool:
    """Whether a value is content and never data: media, or a dict that is a content block.

    A dict needs what its type demands: {'type': 'text'} without a text is data.
    """
    match value:
        case (
            Media()
            | {"type": "text", "text": str()}
            | {"type": "image" | "audio", "data": str(), "mimeType": str()}
            | {"type": "resource_link", "uri": str(), "name": str()}
            # The last two belong to sampling.
            | {"type": "tool_use", "id": str(), "name": str()}
            | {"type": "tool_result", "toolUseId": str()}
        ):
            return True
        case {"type": "resource", "resource": contents}:  # [prompt.embedded]
            return is_contents(contents)
    return False


def is_contents(value: Any) -> bool:
    """Whether a value is the contents of a resource: its URI, and text or a blob."""
    match value:
        case {"uri": str(), "text": str()} | {"uri": str(), "blob": str() | bytes()}:
            return True
    return False


def user(content: Any) -> Message:
    """A prompt or sampling message: 'hi' -> {'role': 'user', 'content': {'type': 'text', ...}}."""
    return {"role": "user", "content": content_block(content)}


def assistant(content: Any) -> Message:
    return {"role": "assistant", "content": content_block(content)}


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# Plain data as JSON for a model. A model reads any language, so the text is not ASCII.
to_text = json_writer(False, (", ", ": "))

# URIs and their templates.


def parse_template(template: str, what: str = "resource") -> tuple[str, ...]:
    """[uri.template] Split a URI template: 'a/{x}b' -> ('a/', 'x', 'b '); one part is a plain URI.

    Simple and reserved expansion are known, {name} and {+path}. ValueError for the others. The
    space at the end is one that no normalized URI has: the last part occurs at the end alone.
    """
    parts = re.split(r"\{(\+?\w+)\}", template, flags=re.ASCII)
    literals = parts[::2]
    unknown = re.search("[{}]", "".join(literals))
    twice = re.search(r"\{\+?(\w+)\}.*\{\+?\1\}", template)
    if unknown or twice or "" in literals[1:-1]:
        hint = "write {name} or {+path}, each name once, with text between two of them"
        raise ValueError(f"{what}: cannot use the URI template {template!r}: {hint}")
    parts[::2] = map(normalize_uri, literals)
    parts[-1] += " "
    return tuple(parts)


def match_template(parts: tuple[str, ...], uri: str) -> dict[str, str] | None:
    """Find the variables of a normalized URI: (('a/', 'x', 'b '), 'a/1b') -> {'x': '1'}.

    [template.linear] A variable ends where the text after it first occurs; the last one takes what
    is left. This is one pass: no pattern is built from a template, and no URI makes it slow.
    """
    if not uri.startswith(parts[0]):
        return None
    values = {}
    rest = uri.removeprefix(parts[0]) + " "
    for name, literal in zip(parts[1::2], parts[2::2]):
        value, found, rest = rest.partition(literal)
        value = unquote(value)  # [uri.percent-decoded]
        if not found or CLIMBS.search(value) or ("/" in value and name[0] != "+"):
            return None
        values[name.removeprefix("+")] = value
    return values


# [template.no-climbing] A path that leads out of a folder: '../a', 'a\\..', '/a', 'C:a', or ''.
CLIMBS = re.compile(
    r"""
      \A ( [/\\] | [A-Za-z]: | \Z )        # absolute, or empty
    | ( \A | [/\\] ) \.\. ( [/\\] | \Z )  # a segment that is '..'
    | \0
    """,
    re.VERBOSE,
)


def normalize_uri(uri: str, place: str = "params.uri") -> str:
    """[uri.same-spelling] The one spelling of a URI: 'my notes', 'm%79%20notes' -> 'my%20notes'.

    RFC 3986, 6.2.2: a character that needs an escape gets one, another one loses it. '%2F' stays.
    [limits.uri] RPCError, which names the place, for a URI that would take too long.
    """
    if len(uri) > MAX_URI:
        raise RPCError(INVALID_PARAMS, f"{place} is longer than {MAX_URI} characters")
    quoted = quote(uri, safe="%:/?#[]@!$&'()*+,;=", errors="replace")
    return re.sub("(?:%(?:[0-9A-Fa-f]{2})?)+", normalize_escapes, quoted)


def normalize_escapes(escapes: re.Match[str]) -> str:
    """'%7e%7E' -> '~~', '%2f' -> '%2F', and '%' alone -> '%25'."""
    return quote(unquote_to_bytes(escapes[0]), safe="")


# ---- 14 Schema ---------------------------------------------------------------------------------
# You need not read this section to understand MCP. A function's signature already says what the
# function takes. `schema_of` writes that down as JSON Schema, `check` holds what a client sent
# against the schema, `convert` turns what passed into the hinted types, and `plain` turns what a
# handler returns into JSON. The four agree on every type that they know. `check` also takes schemas
# written by hand: JSON Schema 2020-12, https://json-schema.org/draft/2020-12, within one document.
# A keyword that demands something which `check` does not do is refused at registration. The work
# for one value is bounded, whatever the schema and the value are, except the time of an author's
# own exponential pattern (see `matches`). Patterns are Python's: `$` also matches before a line
# feed at the end.

Schema = dict[str, Any]
# Where a value stands: a text, or the place of the container and a key in it. (("arguments", "a"),
# 3) costs less than the text 'arguments.a[3]', which is only written when there is an error.
Where = str | tuple["Where", str | int]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_STEPS = 200_000  # for one value, at about a microsecond each
ERROR_STEPS = 15  # an error takes longer to make than a step
MAX_PATTERN_TEXT = 5_000  # characters that a pattern is tried on, if no maxLength allows more


class SchemaError(ValueError):
    """What is wrong, and where: SchemaError('arguments.depth', 'expected integer, got "deep"')."""

    def __init__(self, path: Where, message: str) -> None:
        self.path = path_text(path)
        self.message = shorten(message)
        super().__init__(f"{self.path}: {self.message}" if self.path else self.message)


def path_text(path: Where) -> str:
    """(("arguments", "a"), 3) -> 'arguments.a[3]'."""
    text = ""
    while isinstance(path, tuple):
        path, key = path
        if isinstance(key, str) and re.fullmatch(r"[\w$-]{1,60}", key):
            text = f".{key}{text}"
        else:
            text = f"[{shown(key)}]{text}"
    return shorten((path + text).removeprefix("."))


def shown(value: Any) -> str:
    """A value as errors show it: in a few words, since the sender knows what it sent."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, str) and len(value) > 60:
        value = value[:60] + "..."
    return json.dumps(value)


def shorten(text: str) -> str:
    """[limits.words] Errors go back to the sender: a small request must not cause a large one."""
    return text if len(text) <= 400 else f"{text[:200]} ... {text[-200:]}"


# From hints to schemas. `where` is the place of a hint in words, for refusals: 'parameter a: '.

Read = Callable[[Any, Where], Any]
Fields = dict[str, tuple[Any, Any]]  # name -> (hint, default)
MISSING = inspect.Parameter.empty  # the default of a field that is required; a hint not given


class Form(NamedTuple):
    """A type as it looks in JSON: its schema, and how a value that has passed `check` is read."""

    schema: Schema
    read: Read


def schema_of(hint: Any, mode: str = "validation") -> Schema:
    """list[int] -> {'type': 'array', 'items': {'type': 'integer'}}. TypeError if there is none.

    Models of pydantic are read in one mode, and written in another: "serialization".
    """
    forms = Forms(mode)
    return forms.finish(forms.form(hint, "").schema, "schema")


def convert(value: Any, hint: Any, path: Where = "") -> Any:
    """Turn a value that fits the schema into the hinted type: ('2026-07-28', date) -> date(...).
    SchemaError where the type itself refuses, as `date` does for 30 February."""
    forms = Forms()
    return forms.read(forms.form(hint, ""), value, path)


def signature_form(signature: inspect.Signature) -> Form:
    """The schema of a function's arguments object, and how it is read into keyword arguments.
    TypeError, with the name of the parameter, if a hint has no schema."""
    fields: Fields = {}
    takes_any = False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            fields[name] = (parameter.annotation, parameter.default)
    forms = Forms()
    form = forms.object_form(fields, "parameter ", takes_any)
    return Form(forms.finish(form.schema, "parameters"), functools.partial(forms.read, form))


class Forms:
    """Finds the forms of the hints in one document."""

    def __init__(self, mode: str = "validation") -> None:
        self.mode = mode  # pydantic's
        self.outer: list[Any] = []  # the hints that are being written, from the outermost inwards
        self.definitions: Schema = {}  # `$defs`, which only pydantic's models need
        # What unions and choices ask while a value is read.
        self.checker = Checker({"$defs": self.definitions}, MAX_STEPS)

    def read(self, form: Form, value: Any, path: Where) -> Any:
        """[limits.work] Read a value. All its unions and choices have one budget. SchemaError."""
        self.checker.steps = MAX_STEPS
        try:
            return form.read(value, path)
        except (TooMuch, RecursionError) as error:
            raise SchemaError(path, str(error)) from None

    def finish(self, schema: Schema, place: str) -> Schema:
        """Copy a schema, with `$defs`. TypeError where a note in a hint makes it a bad one."""
        if self.definitions:
            schema = {**schema, "$defs": self.definitions}
        try:
            schema = plain(schema, place)
            check_schema(schema, place)
        except SchemaError as error:
            raise TypeError(str(error)) from None
        return schema

    def form(self, hint: Any, where: str, or_null: bool = False) -> Form:
        """The form of a hint with its notes. TypeError, with the place, if the hint has none."""
        if get_origin(hint) is Annotated:
            form = self.form(hint.__origin__, where, or_null)
            for note in hint.__metadata__:
                add_note(form.schema, note, where)
            return form
        if or_null and hint is not None:
            # Union[hint, None] would want to hash the notes in the hint.
            hint = hint | None
        name = hint.__name__ if isinstance(hint, type) else repr(hint).replace("typing.", "")
        if hint in self.outer:
            raise TypeError(f"{where}{name} contains itself, as only models of pydantic may")
        self.outer.append(hint)
        found = self.find(hint, f"{where}{name}: ")
        if found is None:
            raise TypeError(f"{where}{name} has no JSON Schema")
        self.outer.pop()
        return found

    def find(self, hint: Any, where: str) -> Form | None:
        """The form of a hint, by its kind: a scalar, a choice, a collection, or a class."""
        args = get_args(hint)
        origin = concrete(get_origin(hint) or hint)
        if not isinstance(origin, Hashable):  # `a: [int]`
            return None
        if origin in SCALARS:
            schema, parse = SCALARS[origin]
            read = reader(parse) if parse else unchanged
            return Form(dict(schema), read)
        if origin in (Required, NotRequired):
            return self.form(args[0], where)
        if origin in (Union, types.UnionType):
            return self.union_form(args, where)
        if origin is Literal:
            return self.choice_form(args)
        if isinstance(origin, type) and issubclass(origin, Enum):
            return self.choice_form(origin)
        if origin in (list, tuple, set, frozenset, deque):
            return self.array_form(origin, args or (Any, ...), where)
        if origin is dict:
            return self.mapping_form(args or (str, Any), where)
        if hasattr(hint, "model_json_schema"):
            return self.model_form(hint, where)
        if any(hasattr(hint, mark) for mark in RECORDS):
            return self.record_form(hint, where)
        # A NewType, or `type Name = ...` of Python 3.12.
        alias = getattr(hint, "__supertype__", getattr(hint, "__value__", None))
        return self.form(alias, where) if alias is not None else None

    def union_form(self, args: Iterable[Any], where: str) -> Form:
        """A value is read as the first member that takes it: '2026' as text for `date | str`."""
        members = [self.form(arg, where) for arg in args]
        schemas = [member.schema for member in members]

        def read(value: Any, path: Where) -> Any:
            complaints = []
            for member in members:
                try:
                    self.checker.check(value, member.schema, "")
                    return member.read(value, "")
                except SchemaError as error:  # not this one; any text seems to fit a date, too
                    self.checker.spend(ERROR_STEPS)
                    complaints.append(str(error))
            raise SchemaError(path, "; or ".join(complaints))

        shared = shared_type({schema.get("type") for schema in schemas})
        return Form(shared | {"anyOf": schemas}, read)

    def choice_form(self, members: Iterable[Any]) -> Form:
        """A Literal or an Enum: the JSON value stands for the member of which it is the form."""
        values = [plain(member) for member in members]

        def read(value: Any, path: Where) -> Any:
            for choice, member in zip(values, members):
                if self.checker.equal(value, choice):
                    return member
            raise SchemaError(path, f"{shown(value)} is none of the choices")

        return Form(shared_type({KINDS[type(value)] for value in values}) | {"enum": values}, read)

    def array_form(self, collection: Any, args: tuple[Any, ...], where: str) -> Form | None:
        """list[int], set[int] and tuple[int, ...] have items; tuple[int, str] has two parts."""
        forms = [self.form(arg, where) for arg in args if arg is not ...]
        schema: Schema = {"type": "array", "items": forms[0].schema}
        if collection is tuple and ... not in args:
            schema = {"type": "array", "prefixItems": [form.schema for form in forms]}
            schema["minItems"] = schema["maxItems"] = len(forms)
        if collection in (set, frozenset):
            schema["uniqueItems"] = True
            # A client can choose many arrays that share a hash, and many UUIDs, but no texts, and
            # only few numbers. Members that share a hash are compared one with another.
            item = forms[0].schema
            scalar = item.get("type") in ("string", "integer", "number", "boolean")
            if not scalar or item.get("format") == "uuid":
                return None

        def read(value: Any, path: Where) -> Any:
            # One form for all members, or as many forms as members.
            pairs = enumerate(zip(itertools.cycle(forms), value))
            return collection([form.read(member, (path, i)) for i, (form, member) in pairs])

        return Form(schema, read)

    def mapping_form(self, args: Iterable[Any], where: str) -> Form | None:
        """A dict of text to anything. The names of the members of a JSON object are always text."""
        names, form = [self.form(arg, where) for arg in args]
        # A Path is also a string, but would have to be made from it.
        if names.schema not in ({}, {"type": "string"}) or names.read is not unchanged:
            return None

        def read(value: Any, path: Where) -> Any:
            return {name: form.read(value[name], (path, name)) for name in value}

        return Form({"type": "object", "additionalProperties": form.schema}, read)

    def model_form(self, model: Any, where: str) -> Form:
        """A pydantic model writes its schema and reads itself. Its definitions move up to ours."""
        schema = dict(model.model_json_schema(mode=self.mode))
        for name, definition in schema.pop("$defs", {}).items():
            if self.definitions.setdefault(name, definition) != definition:
                raise TypeError(f"{where}two different classes are named {name}")
        # A model that contains itself is a $ref. MCP wants to see `"type": "object"`.
        name = schema.pop("$ref", "").removeprefix("#/$defs/")
        return Form(self.definitions.get(name, {}) | schema, reader(model.model_validate))

    def record_form(self, record: Any, where: str) -> Form:
        """A dataclass, NamedTuple or TypedDict is an object with its fields."""
        form = self.object_form(fields_of(record, where), where)
        build = reader(lambda members: record(**members))

        def read(value: Any, path: Where) -> Any:
            return build(form.read(value, path), path)

        return Form(form.schema, read)

    def object_form(self, fields: Fields, where: str, takes_any: bool = False) -> Form:
        """An object with these fields. A client may send more: some add arguments of their own.
        The reader drops them, unless the function takes any name, by **kwargs."""
        readers = {}
        makers: dict[str, Callable[[], Any]] = {}  # name -> what makes the default of a Field
        properties = {}
        required = []
        for name, (hint, default) in fields.items():
            if is_field(default):
                hint = Annotated[hint, default]
                makers[name] = functools.partial(default.get_default, call_default_factory=True)
                default = MISSING if default.is_required() else default.default
            # `after: str = None` means that null is allowed.
            form = self.form(hint, f"{where}{name}: ", or_null=default is None)
            if default is MISSING:
                required.append(name)
            # There may be no default, or none that JSON can express.
            with contextlib.suppress(SchemaError):
                form.schema["default"] = plain(default)
            self.finish(form.schema, f"{where}{name}")
            properties[name] = form.schema
            readers[name] = form.read

        def read(value: Any, path: Where) -> Any:
            result = dict(value) if takes_any else {}
            for name, read_member in readers.items():
                if name in value:
                    result[name] = read_member(value[name], (path, name))
                elif name in makers:
                    result[name] = makers[name]()
            return result

        schema: Schema = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        return Form(schema, read)


def concrete(origin: Any) -> Any:
    """An abstract collection is read as a list, a set or a dict: Sequence -> list."""
    if getattr(origin, "__module__", "") == "collections.abc":
        for kind in (list, set, dict):
            if issubclass(kind, origin):
                return kind
    return origin


def shared_type(kinds: set[Any]) -> Schema:
    """The `type` of values of these kinds, if they share one. An integer is also a number."""
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    return {"type": kinds.pop()} if len(kinds) == 1 and None not in kinds else {}


def reader(parse: Callable[[Any], Any]) -> Read:
    """A reader from a function that takes the value alone, as most classes do."""

    def read(value: Any, path: Where) -> Any:
        try:
            return parse(value)
        # No such date; refused by the __post_init__ of a class; a number too large for float.
        except (ValueError, TypeError, OverflowError) as error:
            raise SchemaError(path, str(error)) from error

    return read


def unchanged(value: Any, path: Where) -> Any:
    return value


def fields_of(record: Any, where: str) -> Fields:
    """What a constructor or a TypedDict takes by name. TypeError if a hint cannot be read."""
    try:
        hints = typing.get_type_hints(record, include_extras=True)
    except Exception as error:  # noqa: BLE001  # a hint that is kept as text, and names nothing
        raise TypeError(f"{where}a hint cannot be read: {error}") from None
    fields: Fields = {}
    if not hasattr(record, "__required_keys__"):
        for name, parameter in inspect.signature(record).parameters.items():
            fields[name] = (hints.get(name, MISSING), parameter.default)
        return fields
    for name, hint in hints.items():
        # The mark counts more: __required_keys__ misses it where hints are kept as text. The mark
        # may also stand inside Annotated.
        marks = {get_origin(hint), get_origin(getattr(hint, "__origin__", None))}
        required = name in record.__required_keys__ and NotRequired not in marks
        fields[name] = (hint, MISSING if required or Required in marks else ...)
    return fields


# Notes: what stands beside a hint in `Annotated[int, "How deep", {"minimum": 1}, Field(le=5)]`,
# or as a default, `depth: int = Field(3, le=5)`. Field is pydantic's. It and the marks of the
# package annotated_types are known by their attributes, so that neither has to be installed.


def is_field(note: Any) -> bool:
    return hasattr(note, "get_default") and hasattr(note, "is_required")


def add_note(schema: Schema, note: Any, where: str) -> None:
    """Add to a schema what one note says."""
    if isinstance(note, str):
        schema["description"] = note
    elif isinstance(note, dict):
        schema.update(note)
    elif is_field(note):
        if getattr(note, "alias", None) is not None:
            raise TypeError(f"{where}Field(alias=...) is not supported")
        for part in (note.description, *note.metadata):
            add_note(schema, part, where)
    elif note is not None:  # pydantic's conint() leaves None
        add_mark(schema, note, where)


def add_mark(schema: Schema, mark: Any, where: str) -> None:
    """Add the bounds that a mark has as attributes. One that cannot be kept is refused by name."""
    attributes = {*getattr(mark, "__dict__", ()), *getattr(mark, "__dataclass_fields__", ())}
    if isinstance(mark, type) or not attributes:
        raise TypeError(f"{where}the note {mark!r} in Annotated is not understood")
    members = schema.get("anyOf", [schema])
    kinds = MARKS.keys() & {each.get("type") for each in members if isinstance(each, dict)}
    for attribute in attributes:
        bound = getattr(mark, attribute)
        # JSON values are always checked strictly.
        if bound is None or bound is False or attribute == "strict":
            continue
        keywords = {MARKS[kind][attribute] for kind in kinds if attribute in MARKS[kind]}
        # A second bound of one kind would replace the first.
        if not keywords or not keywords.isdisjoint(schema):
            raise TypeError(f"{where}the note {mark!r} cannot be kept: {attribute}")
        schema.update(dict.fromkeys(keywords, bound))


# Each type that is one value in JSON: its schema, and what makes one from the JSON value, if it is
# not that value. 3.0 may be an int, and 3 a float.
SCALARS: dict[Any, tuple[Schema, Any]] = {
    **dict.fromkeys([Any, MISSING, object], ({}, None)),
    **dict.fromkeys([None, types.NoneType], ({"type": "null"}, None)),
    str: ({"type": "string"}, None),
    bool: ({"type": "boolean"}, None),
    int: ({"type": "integer"}, int),
    float: ({"type": "number"}, float),
    datetime: ({"type": "string", "format": "date-time"}, datetime.fromisoformat),
    date: ({"type": "string", "format": "date"}, date.fromisoformat),
    daytime: ({"type": "string", "format": "time"}, daytime.fromisoformat),
    UUID: ({"type": "string", "format": "uuid"}, UUID),
    Path: ({"type": "string"}, Path),
    bytes: (
        {"type": "string", "contentEncoding": "base64"},
        functools.partial(base64.b64decode, validate=True),
    ),
}
# What only a dataclass, a NamedTuple or a TypedDict has.
RECORDS = ("__dataclass_fields__", "_fields", "__required_keys__")
NUMBER_MARKS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
# The type of a value, and the attribute of a mark -> the keyword that says the same.
MARKS = {
    "integer": NUMBER_MARKS,
    "number": NUMBER_MARKS,
    "string": {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"},
    "array": {"min_length": "minItems", "max_length": "maxItems"},
    "object": {"min_length": "minProperties", "max_length": "maxProperties"},
}

# From Python values to JSON


def plain(value: Any, path: Where = "") -> Any:
    """[schema.round-trip] The inverse of `convert`: a Python value as JSON.
    SchemaError, with the place, if there is no obvious form."""
    try:
        return write(value, path)
    except RecursionError:
        raise SchemaError(path, "is nested too deeply, or contains itself") from None


def write(value: Any, path: Where) -> Any:
    """A value of a subclass is written as one of the type itself."""
    match value:
        case None | bool():  # before int, since a bool is one
            return value
        case Enum():
            return write(value.value, path)
        case str():
            return well_formed(value)
        case int():
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case dict():
            return write_members(value, path)
        case list() | tuple() if not hasattr(value, "_asdict"):
            return [write(member, (path, i)) for i, member in enumerate(value)]
        case float() | type():
            raise SchemaError(path, f"{value} has no form in JSON")
    # The names of a NamedTuple are worth keeping.
    if hasattr(value, "_asdict"):
        value = value._asdict()
    elif dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        value = {each.name: getattr(value, each.name) for each in fields if each.init}
    elif hasattr(value, "model_dump"):  # pydantic's; by alias, as in model_json_schema()
        value = value.model_dump(mode="json", by_alias=True)
    # A mapping, or a row of sqlite3.
    if hasattr(value, "keys"):
        return write_members(value, path)
    for kind in type(value).__mro__:
        if kind.__name__ in WRITERS:
            return write(WRITERS[kind.__name__](value), path)
    # A set, a deque, an array, a range, the keys of a dict.
    if isinstance(value, Collection):
        return write(list(value), path)
    raise SchemaError(path, f"a {type(value).__name__} has no form in JSON")


def write_members(value: Any, path: Where) -> Schema:
    """The members of an object. A key that is no text is written as its text in JSON."""
    result = {}
    for key in value.keys():  # noqa: SIM118 -- a row of sqlite3 iterates over its values
        name = write(key, path)
        if not isinstance(name, str):
            name = json.dumps(name)
        result[name] = write(value[key], (path, name))
    return result


def well_formed(text: str) -> str:
    """Replace lone surrogates, which `os.fsdecode` gives and which UTF-8 cannot say, by U+FFFD."""
    if text.isascii():
        return str.__str__(text)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# Classes that are written as a text or a number. They are known by name, since the modules of some
# take long to import. Decimal keeps its digits in this way.
WRITERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.isoformat,
    "timedelta": timedelta.total_seconds,
    **dict.fromkeys(["bytes", "bytearray", "memoryview"], to_base64),
    **dict.fromkeys(["date", "time", "UUID", "PurePath", "Decimal", "_IPAddressBase"], str),
}

# Checking. A schema is a set of keywords, and a value must satisfy all of them. Every function
# below takes a value, the schema or its part, and the place of the value for errors.


def check(value: Any, schema: Any, path: Where = "", steps: float = MAX_STEPS) -> None:
    """Raise SchemaError unless a JSON value fits a schema, which has passed `check_schema`.

    [schema.bounded-depth] [schema.no-endless-recursion] Each schema that is entered takes a few
    frames of Python's stack, of which there are a thousand. So a value that is nested too deeply
    ends here, and so does a $ref that leads to itself.
    """
    try:
        Checker(schema, steps).check(value, schema, path)
    except TooMuch as error:
        raise SchemaError(path, str(error)) from None
    except RecursionError:
        raise SchemaError(path, "nested too deeply") from None


class TooMuch(Exception):
    """A check was given up. Nobody knows whether the value fits, so not even `not` may catch it."""


class Checker:
    """The check of one value: the document, in which `$ref` looks, and the steps that are left."""

    def __init__(self, root: Any, steps: float) -> None:
        self.root = root
        self.steps = steps
        self.targets: dict[str, Any] = {}  # $ref -> the schema that it names

    def spend(self, steps: int) -> None:
        """[limits.work] One budget for all that is done with a value."""
        self.steps -= steps
        if self.steps < 0:
            raise TooMuch("takes too many steps to check")

    def check(self, value: Any, schema: Any, path: Where) -> None:
        """All keywords of one schema. A keyword asks nothing of a value of another type."""
        # This is `spend(1)`, without a call for each member.
        self.steps -= 1
        if self.steps < 0:
            self.spend(0)
        if schema is True:
            return
        if schema is False:
            raise SchemaError(path, "is not allowed")
        try:
            kind = KINDS[type(value)]
        except KeyError:
            raise SchemaError(path, f"a {type(value).__name__} is not a JSON value") from None
        wanted = schema.get("type", kind)
        if wanted != kind:
            check_type(value, kind, wanted, path)
        # [schema.unknown-keyword] A keyword that is not asked below is a remark. Of two sets the
        # smaller one is looked through, however many remarks there are.
        rare = not schema.keys().isdisjoint(RARE)
        # [schema.cheap-first] What costs little is asked before the members.
        if rare:
            self.check_limits(value, kind, schema, path)
        if kind == "object":
            self.check_object(value, schema, path)
        elif kind == "array":
            self.check_array(value, schema, path)
        if rare:
            if kind == "object":
                self.check_names(value, schema, path)
            self.check_combined(value, schema, path)

    def check_object(self, value: Schema, schema: Schema, path: Where) -> None:
        """The members that the schema names."""
        required = schema.get("required", ())
        # Members that nothing is asked of cost time, too, where unions lead here again and again.
        self.steps -= (len(required) + len(value)) // 8
        for name in required:
            if name not in value:
                raise SchemaError((path, name), "is required")
        properties = schema.get("properties", ())
        for name, member in value.items():
            if name in properties:
                self.check(member, properties[name], (path, name))

    def check_names(self, value: Schema, schema: Schema, path: Where) -> None:
        """The other members, and what is asked of names. Few schemas have these keywords."""
        dependent = schema.get("dependentRequired", {})
        patterns = schema.get("patternProperties", {})
        others = schema.get("additionalProperties", True)
        for name, member in value.items():
            place = (path, name)
            needed = dependent.get(name, ())
            self.spend(len(needed) // 8)
            for other in needed:
                if other not in value:
                    raise SchemaError((path, other), f"is required beside {name}")
            if "propertyNames" in schema:
                self.check(name, schema["propertyNames"], place)
            found = [pattern for pattern in patterns if self.matches(name, pattern)]
            for pattern in found:
                self.check(member, patterns[pattern], place)
            if not found and name not in schema.get("properties", ()):
                self.check(member, others, place)

    def check_array(self, value: list[Any], schema: Schema, path: Where) -> None:
        prefix = schema.get("prefixItems", ())
        others = schema.get("items", True)
        for i, item in enumerate(value):
            inner = prefix[i] if i < len(prefix) else others
            self.check(item, inner, (path, i))
        if "contains" in schema:
            complaints = (self.complaint(item, schema["contains"]) for item in value)
            if all(complaints):
                raise self.unmet("contains", value, schema, path)
        unique = schema.get("uniqueItems") and len(value) > 1
        if unique and len(set(self.canonical(value))) < len(value):
            raise self.unmet("uniqueItems", value, schema, path)

    def check_limits(self, value: Any, kind: str, schema: Schema, path: Where) -> None:
        """What is asked of the value as a whole, from the cheapest keyword to the pattern."""
        size = len(value) if isinstance(value, (str, list, dict)) else value
        for keyword, is_met in BOUNDS[kind].items():
            if keyword in schema and not is_met(size, schema[keyword]):
                raise self.unmet(keyword, value, schema, path)
        if "const" in schema and not self.equal(value, schema["const"]):
            raise self.unmet("const", value, schema, path)
        if "enum" in schema:
            self.spend(1 + len(schema["enum"]) // 4)
            if not any(self.equal(value, choice) for choice in schema["enum"]):
                raise self.unmet("enum", value, schema, path)
        if kind == "string" and "pattern" in schema:
            most = schema.get("maxLength", MAX_PATTERN_TEXT)
            if not self.matches(value, schema["pattern"], most):
                raise self.unmet("pattern", value, schema, path)
        if kind in ("integer", "number") and "multipleOf" in schema:
            self.spend(20)
            if not is_multiple(value, schema["multipleOf"]):
                raise self.unmet("multipleOf", value, schema, path)

    def matches(self, text: str, pattern: str, most: int = MAX_PATTERN_TEXT) -> bool:
        """Whether a pattern is found. The search may take a time that grows with the square of the
        length, or worse: only an author's maxLength can say that long texts are meant. A pattern
        for them should begin with ^, since others are tried at each place of the text."""
        if len(text) > most:
            raise TooMuch(f"a text is too long for the pattern {shown(pattern)} without maxLength")
        if pattern.startswith("^"):
            most = MAX_PATTERN_TEXT
        self.spend(1 + min(len(text), most) ** 2 // 250)
        return compile_pattern(pattern).search(text) is not None

    def check_combined(self, value: Any, schema: Schema, path: Where) -> None:
        if "$ref" in schema:
            reference = schema["$ref"]
            if reference not in self.targets:
                self.targets[reference] = resolve(reference, self.root, "")
            self.check(value, self.targets[reference], path)
        for inner in schema.get("allOf", ()):
            self.check(value, inner, path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                self.check_union(value, schema[keyword], keyword, path)
        if "not" in schema and not self.complaint(value, schema["not"]):
            raise self.unmet("not", value, schema, path)
        if "if" in schema:
            branch = "else" if self.complaint(value, schema["if"]) else "then"
            self.check(value, schema.get(branch, True), path)

    def check_union(self, value: Any, schemas: list[Any], keyword: str, path: Where) -> None:
        complaints = []
        for inner in schemas:
            complaint = self.complaint(value, inner)
            if complaint:
                complaints.append(complaint)
            elif keyword == "anyOf":
                return
        fitting = len(schemas) - len(complaints)
        if fitting == 0:
            raise SchemaError(path, "; or ".join(complaints))
        if fitting > 1:
            raise SchemaError(path, f"fits {fitting} of the schemas in oneOf, and must fit one")

    def complaint(self, value: Any, schema: Any) -> str:
        """Why a value does not fit, with places that begin at the value; '' if it does."""
        try:
            self.check(value, schema, "")
        except SchemaError as error:
            self.spend(ERROR_STEPS)
            return str(error)
        return ""

    def unmet(self, keyword: str, value: Any, schema: Schema, path: Where) -> SchemaError:
        argument = json.dumps(schema[keyword])
        # A union may ask a long keyword of many values.
        self.spend(len(argument) // 50)
        return SchemaError(path, f"expected {keyword} {shorten(argument)}, got {shown(value)}")

    def equal(self, value: Any, other: Any) -> bool:
        """[schema.number-equality] Python says that 1 == True; JSON does not."""
        if isinstance(value, (list, dict)) and value == other:
            return len(set(self.canonical([value, other]))) == 1
        return value == other and isinstance(value, bool) == isinstance(other, bool)

    def canonical(self, values: list[Any]) -> list[str]:
        """Texts of JSON values, of which two are the same if the values are equal: [1.0] -> ['1'].
        Peers can choose numbers and arrays that share a hash, but not texts."""
        text = json.dumps(values)
        self.spend(20 + len(text) // 4)
        return [CANONICAL.encode(value) for value in json.loads(text, parse_float=plainest)]


def check_type(value: Any, kind: str, wanted: str | list[str], path: Where) -> None:
    names = [wanted] if isinstance(wanted, str) else wanted
    kinds = {kind}
    # [schema.integer] 3.0 is an integer.
    if kind == "integer" or (kind == "number" and value.is_integer()):
        kinds = {"integer", "number"}
    if kinds.isdisjoint(names):
        raise SchemaError(path, f"expected {' or '.join(names)}, got {shown(value)}")


def plainest(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


CANONICAL = json.JSONEncoder(sort_keys=True)


def is_multiple(value: float, step: float) -> bool:
    """By the digits, as people mean it: 0.3 is a multiple of 0.1."""
    # Few schemas need this module, and it takes long to import.
    from fractions import Fraction

    return abs(value) < math.inf and Fraction(str(value)) % Fraction(str(step)) == 0


compile_pattern = functools.cache(re.compile)


def resolve(reference: str, root: Any, path: Where) -> Any:
    """The schema that a $ref names: '#', '#/$defs/name' (a JSON pointer) or '#anchor'."""
    if not reference.startswith("#"):  # [schema.no-fetch]
        raise SchemaError(path, f"{reference!r} is outside of this schema; nothing is fetched")
    anchor, *tokens = unquote(reference[1:]).split("/")
    target = find_anchor(anchor, root) if anchor else root
    try:
        for token in tokens:
            key = token.replace("~1", "/").replace("~0", "~")
            target = target[int(key)] if isinstance(target, list) else target[key]
    except (LookupError, TypeError, ValueError):  # no such member; not a container; not an index
        target = None
    if not isinstance(target, (dict, bool)):
        raise SchemaError(path, f"{reference!r} names no schema in this document")
    return target


def find_anchor(name: str, root: Any) -> Any:
    found = [root]
    # The list grows while it is read.
    for value in found:
        if isinstance(value, dict):
            if value.get("$anchor") == name:
                return value
            found += value.values()
        elif isinstance(value, list):
            found += value
    return None


# Schemas themselves. Refused at registration, so that `check` meets nothing that it cannot do.


def check_schema(schema: Any, path: Where = "schema") -> None:
    """Raise SchemaError, naming the place, if `check` could not work with a schema."""
    seen = set()  # ids, since a $ref may lead back
    waiting: list[tuple[Where, Any]] = [(path, schema)]
    while waiting:
        path, inner = waiting.pop()
        check(inner, SCHEMA, path)
        if isinstance(inner, bool) or id(inner) in seen:
            continue
        seen.add(id(inner))
        for keyword, argument in inner.items():
            place = (path, keyword)
            # [schema.refused-by-name] A demand that is not enforced must not look enforced.
            if keyword in NOT_SUPPORTED or (keyword == "$id" and inner is not schema):
                raise SchemaError(place, "is not supported")
            form = ARGUMENTS.get(keyword, True)
            check(argument, form, place)
            waiting += schemas_in(argument, form, place)
            if keyword == "$ref":
                waiting.append((place, resolve(argument, schema, place)))
        for pattern in [inner.get("pattern", ""), *inner.get("patternProperties", {})]:
            try:
                compile_pattern(pattern)
            except (re.error, OverflowError) as error:
                raise SchemaError(path, f"{pattern!r} is no pattern: {error}") from None


def schemas_in(argument: Any, form: Any, place: Where) -> list[tuple[Where, Any]]:
    """The schemas in the argument of a keyword, with their places."""
    if form is SCHEMA:
        return [(place, argument)]
    if form is SCHEMAS:
        argument = dict(enumerate(argument))
    elif form is not SCHEMA_MAP:
        return []
    return [((place, key), each) for key, each in argument.items()]


KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}
NUMBER_BOUNDS = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
# What may stand beside each keyword, as a schema. The first three are also looked into.
SCHEMA = {"type": ["object", "boolean"]}
SCHEMAS = {"type": "array", "minItems": 1}
SCHEMA_MAP = {"type": "object"}
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
COUNT = {"type": "integer", "minimum": 0}
NAMES = {"type": "array", "items": TEXT}
TYPE = {"enum": list(KINDS.values())}
ARGUMENTS: dict[str, Any] = {
    "type": {"anyOf": [TYPE, SCHEMAS | {"items": TYPE, "uniqueItems": True}]},
    "const": True,
    "enum": {"type": "array"},
    "required": NAMES,
    "dependentRequired": {"type": "object", "additionalProperties": NAMES},
    "multipleOf": {"type": "number", "exclusiveMinimum": 0},
    "uniqueItems": {"type": "boolean"},
    **dict.fromkeys("$ref pattern title description".split(), TEXT),
    # [schema.support-2020-12] [schema.validate-by-dialect] [schema.unsupported-dialect]
    "$schema": {"enum": [DIALECT, DIALECT + "#"]},
    **dict.fromkeys(NUMBER_BOUNDS, NUMBER),
    **dict.fromkeys(
        "minLength maxLength minItems maxItems minProperties maxProperties".split(), COUNT
    ),
    **dict.fromkeys(
        "not if then else items contains additionalProperties propertyNames".split(), SCHEMA
    ),
    **dict.fromkeys("allOf anyOf oneOf prefixItems".split(), SCHEMAS),
    # `definitions` is the name of `$defs` in older drafts.
    **dict.fromkeys("properties patternProperties $defs definitions".split(), SCHEMA_MAP),
}
# For each type of value: a keyword -> how its argument and the size of the value must compare.
BOUNDS: dict[str, Any] = {
    "object": {"minProperties": operator.ge, "maxProperties": operator.le},
    "array": {"minItems": operator.ge, "maxItems": operator.le},
    "string": {"minLength": operator.ge, "maxLength": operator.le},
    "integer": NUMBER_BOUNDS,
    "number": NUMBER_BOUNDS,
    "boolean": {},
    "null": {},
}
# The keywords that most schemas do not have, so that one test can pass over all of them.
RARE = ARGUMENTS.keys() - set(
    "type properties required items prefixItems $defs title description".split()
)
# These demand something that `check` does not do. Other unknown keywords are remarks.
NOT_SUPPORTED = set(
    "unevaluatedItems unevaluatedProperties dependentSchemas minContains maxContains"
    " dependencies additionalItems $dynamicRef $recursiveRef".split()
)

# ---- 15 Who may enter --------------------------------------------------------------------------
# Optional reading. `auth` of the server decides who may connect: a token that all clients know, a
# function that judges tokens, or an `Auth`, which also tells clients where tokens come from (OAuth
# 2.1's resource server, RFC 6750 and RFC 9728). It judges each request, before the body is read.

QUOTABLE = re.compile(r"[!#-\[\]-~]+")  # what a quoted-string of a header holds as it is
PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"

Verdict = str | tuple[str, str | Iterable[str]] | None


@dataclass
class Auth:
    """Who may enter: `verify(token)` gives the principal, or (principal, scopes), or None.

        Auth(verify, scopes="mcp", resource="https://a.example/mcp",
             authorization_servers=["https://id.example"])

    The principal is the owner of the token. A client that refreshes its token keeps the owner, and
    so its session. `verify` must make sure that the token was issued for this server (audience).
    Scopes are 'a b', as in a token, or ['a', 'b']. ValueError for servers without a resource, or a
    URL that is none.
    """

    verify: Callable[[str], Awaitable[Verdict]]
    scopes: str | Iterable[str] = ()  # without all of these nobody enters
    resource: str = ""  # the URL of the endpoint, as clients write it
    authorization_servers: tuple[str, ...] | list[str] = ()  # URLs of those that issue tokens

    def __post_init__(self) -> None:
        self.scopes = read_scopes(self.scopes)
        if self.authorization_servers and not self.resource:
            raise ValueError("authorization_servers need a resource: the URL of the endpoint")
        if not self.resource:
            return
        for url in [self.resource, *self.authorization_servers]:
            if not ABSOLUTE_FORM.fullmatch(url) or not QUOTABLE.fullmatch(url):
                raise ValueError(f"expected an http or https URL without a fragment, got {url!r}")

    @property
    def metadata_url(self) -> str:
        """[auth.well-known] 'https://a.example/mcp' -> 'https://a.example/.well-known/.../mcp'"""
        parts = urlsplit(self.resource)
        path = "" if parts.path == "/" else parts.path  # [auth.resource-identical]
        return f"{parts.scheme}://{parts.netloc}{PROTECTED_RESOURCE}{path}"

    def metadata_paths(self, endpoint: str) -> set[str]:
        """The paths of the document that `metadata_url` names. Clients also try them without it."""
        if not self.authorization_servers:
            return set()
        own = urlsplit(self.metadata_url).path.removesuffix("/")
        return {PROTECTED_RESOURCE, PROTECTED_RESOURCE + endpoint, own}

    def challenge(self, error: str | None = None) -> HTTPError:
        """[auth.challenge] [auth.challenge-scopes] A refusal that says where to get a token.

        [auth.scopes-consistent] It always names all scopes that are needed here.
        """
        status, message = CHALLENGES[error]
        parameters = present(
            realm="mcp",
            error=error,
            error_description=error and message,
            scope=" ".join(sorted(self.scopes)) or None,
            resource_metadata=self.metadata_url if self.authorization_servers else None,
        )
        quoted = [f'{name}="{value}"' for name, value in parameters.items()]
        return HTTPError(status, message, ("WWW-Authenticate", f"Bearer {', '.join(quoted)}"))


# Errors of RFC 6750 -> the status and the message. The first is for a request without a token.
CHALLENGES = {
    None: (401, "a token is needed: send the header field 'Authorization: Bearer <token>'"),
    "invalid_request": (400, "expected 'Authorization: Bearer <token>'"),
    "invalid_token": (401, "the token is not valid here, or no longer"),
    "insufficient_scope": (403, "the token lacks a scope that is needed here"),
}


async def check_authorization(server: MCPServer, auth: Auth, request: Request) -> None:
    """[auth.every-request] Find out whose token a request carries, and note it there. HTTPError."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.lstrip(" ")  # [auth.credentials]
    if scheme.lower() != "bearer":  # [auth.missing-401] [auth.no-error-without-token]
        raise auth.challenge()
    if not VISIBLE.fullmatch(token):  # [auth.malformed-400]
        raise auth.challenge("invalid_request")
    # [limits.verify] [auth.judged-for-somebody] A client that disconnects meanwhile cancels this.
    try:
        async with asyncio.timeout(server.limits.verify_seconds):
            verdict = await auth.verify(token)
        # `verify` may have caught the cancellation.
        if is_cancelled():
            raise asyncio.CancelledError
    except TimeoutError:
        log.warning("a token could not be judged in time", exc_info=True)
        raise busy("the token could not be judged in time: try again later") from None
    principal, scopes = verdict if isinstance(verdict, tuple) else (verdict, ())
    # [auth.invalid-401] Without an identity nobody enters.
    if not principal:
        raise auth.challenge("invalid_token")
    # [auth.principal-form] True and 1 would be the same principal.
    if not isinstance(principal, str):
        kind = type(principal).__name__
        raise TypeError(f"verify must return a str, (str, scopes) or None, not {kind}")
    request.scopes = read_scopes(scopes)
    request.principal = principal  # [auth.no-token-kept]
    if not request.scopes.issuperset(auth.scopes):  # [auth.insufficient-403]
        raise auth.challenge("insufficient_scope")


def fixed_token(token: str) -> Auth:
    """The simplest lock: all who know the token enter, as the same principal. ValueError."""
    if not VISIBLE.fullmatch(token):
        raise ValueError("a token is one or more visible ASCII characters, without spaces")

    async def verify(given: str) -> str | None:
        return "bearer" if hmac.compare_digest(given, token) else None  # [auth.constant-time]

    return Auth(verify)


def read_scopes(scopes: str | Iterable[str]) -> frozenset[str]:
    """[auth.scope-form] 'a b' -> {'a', 'b'}. ValueError."""
    names = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
    for name in names:
        if not QUOTABLE.fullmatch(name):
            raise ValueError(f"scope {name!r}: expected visible ASCII characters without \" and \\")
    return names


async def handle_metadata(server: MCPServer, request: Request) -> Reply:
    """[auth.metadata] [auth.scopes-minimal] Where tokens come from, for a client that has none."""
    auth = server.auth
    assert auth is not None
    document = present(
        resource=auth.resource,
        authorization_servers=list(auth.authorization_servers),
        bearer_methods_supported=["header"],
        resource_name=server.info.get("title", server.info["name"]),
        scopes_supported=sorted(auth.scopes) or None,
    )
    return Reply(200, JSON_HEADERS, encode(document))


METADATA_ROUTE = Route(handle_metadata, needs_token=False)
METADATA: Routes = {"GET": METADATA_ROUTE, "HEAD": METADATA_ROUTE, "OPTIONS": PREFLIGHT}


# ---- 16 Server ---------------------------------------------------------------------------------
# Part IV. `MCPServer` ties it all together: settings, announcements to all clients, and the life of
# a server from `start` to `close`. `run` is for a program that is nothing but a server.


class MCPServer(Catalog):
    """An MCP server: register tools, resources and prompts with its decorators, then `run` it.

    name, version, title, description, website_url, icons: what clients learn about the server
    instructions: what a client's model should know about the tools
    session_timeout: seconds since its last use after which a session ends
    limits: what one peer may cost, see `Limits`
    path: of the endpoint; a slash at its end makes no difference
    allowed_hosts, allowed_origins: beside this machine's own, 'mcp.example.com' and
        'https://app.example.com'; '*' means any, for a server behind a proxy that checks
    auth: decides who may connect: a token that all clients know, an async function that judges
        tokens, or an `Auth`
    secret: seals what clients of 2026-07-28 keep for the server between two rounds of a call;
        processes that share the work share it; None: a random one
    cache_lists, cache_reads: (milliseconds, 'public' or 'private'): how long such clients may keep
        lists and resources; lists are 'public' for a minute, and 'private' where there is `auth`
    two_channel: serve old clients, too: HTTP+SSE of 2024-11-05, and the lesson's routes; off by
        default, since the session id is part of their URLs, which end up in logs
    enable_tool_sse: whether each tool has an event stream of its own there
    root_path: what a proxy takes off our paths; the `endpoint` event of HTTP+SSE puts it back
    lifespan: an async context manager, entered with the server at its start and left at its end;
        handlers find its value in `ctx.lifespan_context`
    clock: gives seconds that never go back; tests turn their own

    ValueError or TypeError for a setting that could never work.
    """

    # What belongs to the event loop that serves: `enter_loop` makes it.
    loop: asyncio.AbstractEventLoop | None = None
    loop_thread: int
    threads: list[object]  # the owner of each thread that runs a plain handler
    thread_ended: asyncio.Event  # wakes the calls that wait for a thread
    closing: asyncio.Event  # set while the server closes
    stopped: asyncio.Event  # set when `run` shall end
    # What a start brings, and `close` takes away.
    listener: asyncio.Server | None = None
    ssl_context: ssl.SSLContext | None = None
    sweeper: asyncio.TimerHandle | None = None
    living = False  # whether the lifespan was entered
    lifespan_context: Any = None
    warned_at = -math.inf  # see `warn_once`

    def __init__(
        self, name: str, *, version: str = "0.1.0", title: str | None = None,
        description: str | None = None, instructions: str | None = None,
        website_url: str | None = None, icons: list[Message] | None = None,
        session_timeout: float = 300, limits: Limits | None = None, path: str = "/mcp",
        allowed_hosts: Iterable[str] = (), allowed_origins: Iterable[str] = (),
        auth: str | Callable[[str], Awaitable[Verdict]] | Auth | None = None,
        secret: str | bytes | None = None, cache_lists: tuple[int, str] | None = None,
        cache_reads: tuple[int, str] = (0, "private"), two_channel: bool = False,
        enable_tool_sse: bool = True, root_path: str = "",
        lifespan: Callable[[Any], contextlib.AbstractAsyncContextManager[Any]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        super().__init__()
        # Settings.
        self.info = present(
            name=name, title=title, version=version, description=description,
            websiteUrl=website_url, icons=plain(icons, "icons"),
        )  # fmt: skip
        self.instructions = instructions
        self.limits = read_limits(limits)
        self.path = read_path(path)
        self.root_path = f"/{root_path.strip('/')}".rstrip("/")
        hosts = read_names("allowed_hosts", allowed_hosts)
        self.allowed_hosts = frozenset(host.lower() for host in hosts)
        self.allowed_origins = read_names("allowed_origins", allowed_origins)
        self.auth = read_auth(auth)
        self.secret = read_secret(secret)
        scope = "private" if self.auth else "public"
        self.cache_lists = check_cache(cache_lists or (60_000, scope))
        self.cache_reads = check_cache(cache_reads)
        self.two_channel = two_channel  # [channel.off-by-default]
        self.enable_tool_sse = enable_tool_sse
        if two_channel and find_two_channel_routes(self.path.split("/")[1:], Request("", "")):
            raise ValueError(f"{self.path} is a path of two_channel: choose another path")
        self.lifespan = lifespan
        self.clock = clock
        # What is there.
        self.sessions = Sessions(self.limits, session_timeout, clock)
        self.account: Account = self.sessions  # counts all that the server keeps
        self.pages: dict[str, Routes] = {}  # what `route` has added, by path
        self.calls: set[Context] = set()  # in flight
        self.listeners: dict[Context, Message] = {}  # subscriptions/listen -> what is wanted
        self.connections: set[Connection] = set()
        self.most_connections = self.limits.connections
        self.warned: deque[str] = deque(maxlen=100)
        self.life = contextlib.AsyncExitStack()  # of the lifespan

    def route(
        self, method: str, path: str, function: RouteFunction, *, guarded: bool = False
    ) -> None:
        """Serve something beside MCP: `mcp.route("GET", "/", page)`.

        The function is `async def page(server, request) -> Reply`. `Host` and `Origin` are checked
        for all; `guarded` asks for a token where there is `auth`. ValueError for a bad path, or
        for MCP's own.
        """
        if not re.fullmatch("[A-Z]+", method) or not re.fullmatch(PATH, path):
            raise ValueError(f"expected 'GET' and '/page', say, got {method!r} and {path!r}")
        path = path.removesuffix("/") or "/"
        with contextlib.suppress(HTTPError):  # nothing is there
            if find_routes(self, Request(method, path)) not in (HEALTH, self.pages.get(path)):
                raise ValueError(f"{path} is the MCP endpoint or belongs to it: choose another")

        async def page(server: MCPServer, request: Request) -> Reply:
            reply = await function(server, request)
            if not isinstance(reply, Reply):
                found = type(reply).__name__
                raise TypeError(f"a route's function must return a Reply, not {found}")
            return dataclasses.replace(reply)  # the author may return the same one again

        routes = self.pages.setdefault(path, {})
        routes[method] = Route(page, needs_token=guarded)  # [route.guarded]
        if method == "GET":
            routes["HEAD"] = routes[method]
        routes["OPTIONS"] = PREFLIGHT

    async def handle(self, request: Request) -> Reply:
        """Answer a whole request, without any port. Never raises.

            request = Request("POST", "/mcp", {"host": "localhost", ...}, body)
            reply = await mcp.handle(request)
            async for data in reply: ...

        Names of header fields are in lower case. A reply is JSON in `body`, or events as they come.
        A server that is not started enters its lifespan by `await mcp.enter_lifespan()`.
        """
        self.enter_loop()
        request.length = len(request.body)
        try:
            await admit(self, request)
            return await answer(self, request)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise  # whoever waits for the reply was cancelled
            return refuse(self, request, error)

    def capabilities(self) -> Message:
        """[tool.capability] [resource.capability] [prompt.capability] [log.capability]"""
        capabilities: Message = {
            "tools": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "prompts": {"listChanged": True},
            "logging": {},
        }
        if self.completer is not None:  # [completion.capability]
            capabilities["completions"] = {}
        return capabilities

    def announce(self, method: str, params: Message | None = None) -> None:
        """Send a notice to all who want it: on the GET stream of a session, or to a listener.

        [tool.list-changed] [resource.list-changed] [prompt.list-changed] [resource.subscribe]
        [resource.listened] A listener hears only what it asked for, by a flag of LIST_FLAGS or by
        the URI. From any thread.
        """
        flag = LIST_FLAGS.get(method, "")
        if flag:
            self.lists.clear()
        loop = self.loop
        if loop is not None and self.loop_thread != threading.get_ident():
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.announce, method, params)
            return
        uri = normalize_uri(params["uri"]) if params else None
        notice = encode_notification(method, params)
        for session in list(self.sessions.by_id.values()):
            # A session of HTTP+SSE has no version before it has sent `initialize`.
            if session.version and (uri is None or uri in session.subscriptions):
                session.standalone_stream().push_once(notice)
        for ctx, wanted in list(self.listeners.items()):
            if flag in wanted or uri in wanted["resourceSubscriptions"]:
                # [listen.tagged]
                tagged = {"_meta": {META_SUBSCRIPTION: ctx.request_id}, **(params or {})}
                ctx.stream.push_once(encode_notification(method, tagged))

    async def call_in_thread(self, ctx: Context, function: Callable[[], T]) -> T:
        """[handler.threads] Call a plain function in a daemon thread of its own, and wait for it.

        A thread of asyncio's own pool would hold up the end of the process. RuntimeError where the
        system has no thread left.
        """
        # [limits.threads] An owner holds at most as many threads as are still free. So one session
        # with slow handlers leaves half of the threads to others. Without `auth` all clients of
        # 2026-07-28 are one owner: nothing tells them apart.
        owner = ctx.session or ctx.principal
        threads = self.threads
        while threads.count(owner) >= self.limits.threads - len(threads):
            await self.thread_ended.wait()
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
        ended = asyncio.Event()

        def work() -> None:
            try:
                outcome.set_result(context.run(function))
            except StopIteration as error:  # which no coroutine can raise
                outcome.set_exception(RuntimeError(f"StopIteration: {error}"))
            except BaseException as error:  # noqa: BLE001  # it belongs to the call that waits
                outcome.set_exception(error)
            # If the event loop is closed, nobody waits.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(leave)

        def leave() -> None:
            ended.set()
            threads.remove(owner)
            # All who wait look whether there is a thread for them, in their order.
            self.thread_ended.set()
            self.thread_ended.clear()

        threading.Thread(target=work, name="streamhttp_mcp handler", daemon=True).start()
        threads.append(owner)
        await ended.wait()
        return outcome.result()

    def warn_once(self, message: str) -> None:
        """[log.bounded] Log a warning that a stranger causes: each once, and one in 10 seconds."""
        now = self.clock()
        if now >= self.warned_at + 10 and message not in self.warned:
            self.warned.append(message)
            self.warned_at = now
            log.warning("%s", message)

    # Life.

    def enter_loop(self) -> None:
        """Note which event loop serves, and make what belongs to it."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop = loop
            self.loop_thread = threading.get_ident()
            self.threads = []
            self.thread_ended = asyncio.Event()
            self.closing = asyncio.Event()
            self.stopped = asyncio.Event()

    async def start(
        self, host: str = "127.0.0.1", port: int = 8000, *,
        ssl_context: ssl.SSLContext | None = None, reuse_port: bool = False,
    ) -> str:  # fmt: skip
        """Listen, and return the URL of the endpoint. Port 0 takes a free one.

        `host` is one address or name; '0.0.0.0' and '::' mean all. With `ssl_context` it speaks
        TLS. With `reuse_port` several processes listen on one port, for clients of 2026-07-28: a
        session lives in one process. OSError where it cannot listen; RuntimeError where it does.
        """
        if self.listener is not None:
            raise RuntimeError("this server is listening already: close() it first")
        if not isinstance(host, str) or not host:
            raise ValueError(f"host must be one address such as '127.0.0.1' or '::', not {host!r}")
        await self.enter_lifespan()
        self.ssl_context = ssl_context
        try:
            # [http.read-ahead] What comes while we answer waits in the kernel: asyncio stops
            # reading at twice this limit.
            self.listener = await asyncio.start_server(
                self.accept, host, port, limit=READ_BYTES // 2, backlog=1024,
                reuse_port=reuse_port or None,
            )  # fmt: skip
        except BaseException:
            await self.close()
            raise
        name = f"[{host}]" if ":" in host else host
        if not is_loopback(name) and not self.allowed_hosts:  # [bind.localhost]
            hint = "only requests to localhost are answered: set allowed_hosts"
            log.warning("listening on %s, but %s", host, hint)
        self.tick()
        scheme = "https" if ssl_context else "http"
        port = self.listener.sockets[0].getsockname()[1]
        return f"{scheme}://{name}:{port}{self.path}"

    async def enter_lifespan(self) -> None:
        """Enter the `lifespan`, once. `start` does this, `close` leaves it again."""
        self.enter_loop()
        if self.lifespan is not None and not self.living:
            self.lifespan_context = await self.life.enter_async_context(self.lifespan(self))
            self.living = True

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        start_task(connection.serve())

    def tick(self) -> None:
        # First: the next tick comes, whatever goes wrong in this one.
        self.sweeper = asyncio.get_running_loop().call_later(1, self.tick)
        self.sweep()

    def sweep(self) -> None:
        """Look at every deadline. A server that listens does so once a second."""
        now = self.clock()
        for connection in list(self.connections):
            connection.sweep(now)
        self.sessions.expire()

    async def close(self) -> None:
        """[shutdown.graceful] Stop listening, let calls finish for a while, end all sessions."""
        self.enter_loop()
        self.closing.set()
        if self.listener is not None:
            self.listener.close()
        for session in list(self.sessions.by_id.values()):
            if session.standalone is not None and not session.two_channel:
                session.standalone.end()
        for connection in list(self.connections):
            connection.end()
        await wait_for_tasks([call.task for call in self.calls], self.limits.grace_seconds)
        for session in list(self.sessions.by_id.values()):
            self.sessions.end(session, "the server is shutting down")
        for call in list(self.calls):
            call.cancel("the server is shutting down")
        await wait_for_tasks([each.watcher for each in self.connections], 1)
        for connection in list(self.connections):
            connection.writer.transport.abort()
        if self.sweeper is not None:
            self.sweeper.cancel()
        self.listener = None
        self.living = False
        self.lifespan_context = None
        # `handle` can still be used.
        self.closing.clear()
        await self.life.aclose()

    @contextlib.asynccontextmanager
    async def serving(
        self, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> AsyncIterator[str]:
        """Serve inside an asyncio program: `async with mcp.serving() as url: ...`, see `start`."""
        url = await self.start(host, port, **options)
        try:
            yield url
        finally:
            await self.close()

    def run(
        self, host: str = "127.0.0.1", port: int = 8000, *,
        ssl_context: ssl.SSLContext | None = None, reuse_port: bool = False,
        on_start: Callable[[str], object] | None = None,
    ) -> None:  # fmt: skip
        """Serve until SIGINT, SIGTERM or `stop()`, see `start`. This is the main of a program.

        It says on stderr where it listens. `on_start`, if it is given, gets the URL instead.
        SystemExit with code 1 where it cannot listen.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # no event loop is running, as it should be
            pass
        else:
            hint = "use `async with mcp.serving() as url:` inside an asyncio program"
            raise RuntimeError(f"run() starts an event loop, and one is running: {hint}")
        self.most_connections = min(self.limits.connections, raise_descriptors())
        name = self.info["name"]

        async def serve() -> None:
            self.enter_loop()
            asyncio.get_running_loop().set_exception_handler(self.handle_problem)
            # An OSError of the lifespan is not taken for one of `start`.
            await self.enter_lifespan()
            try:
                url = await self.start(host, port, ssl_context=ssl_context, reuse_port=reuse_port)
            except OSError as error:
                sys.exit(f"{name} cannot listen on {host}:{port}: {error.strerror or error}")
            try:
                if on_start is not None:
                    on_start(url)
                else:  # in one write: several processes may start at once
                    said = f"{name} listens on {url} - Ctrl+C stops it\n"
                    print(said, end="", file=sys.stderr)
                await self.stopped.wait()
            finally:
                await self.close()

        with self.stopping_on_signals():
            asyncio.run(serve())

    def handle_problem(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """[limits.descriptors] asyncio logs an error for each client that it cannot accept."""
        problem = context["message"]
        if "socket.accept() out of system resource" in problem:
            self.warn_once("no descriptor is left for a new connection: see `ulimit -n`")
        # For each of them it tries to accept again a second later, when the listener may be closed.
        elif not (self.stopped.is_set() and "_start_serving" in problem):
            loop.default_exception_handler(context)

    def stop(self) -> None:
        """End `run`, from any thread."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.stopped.set)

    @contextlib.contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """[shutdown.signals] End `run` on SIGINT and SIGTERM, and at once on a second one.

        A watchdog ends the process where a handler blocks the event loop, or its thread never ends.
        """
        before: dict[int, Any] = {}
        seconds = self.limits.grace_seconds + WATCHDOG_SECONDS
        watchdog = threading.Timer(seconds, os._exit, [1])
        watchdog.daemon = True

        def stop(number: int, frame: object) -> None:
            for each in STOP_SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            watchdog.start()
            self.stop()

        # Only there may handlers of signals be set.
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            watchdog.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
WATCHDOG_SECONDS = 1.5  # after the grace, to the end of the process, whatever a handler does


async def wait_for_tasks(tasks: Iterable[asyncio.Task[None] | None], seconds: float) -> None:
    """Wait until the tasks have ended, for so long at most."""
    running = [task for task in tasks if task is not None]
    if running:
        await asyncio.wait(running, timeout=seconds)


def raise_descriptors() -> int:
    """[limits.descriptors] Allow the process all the descriptors that it may have.

    Returns how many connections fit, beside 64 descriptors for everything else.
    """
    try:
        import resource  # Unix only
    except ImportError:
        return sys.maxsize
    files = resource.RLIMIT_NOFILE
    hard = resource.getrlimit(files)[1]
    # Some systems allow less than they say.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(files, (hard, hard))
    soft = resource.getrlimit(files)[0]
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(1, soft - 64)


# Settings that match nothing are refused when the server is made.

# Visible ASCII without ? and #, which end a path, and without }, which would look like a template.
PATH = r'/[!"$->@-|~]*'
NAMES = {  # setting -> what one of its names looks like
    "allowed_hosts": (
        r"\*|(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(:[0-9]{1,5})?", "a name like 'mcp.example.com'"
    ),
    "allowed_origins": (
        r"\*|null|[a-z][a-z0-9+.-]*://[^/?#*]+", "an origin like 'https://app.example.com'"
    ),
}


def read_path(path: str) -> str:
    """'mcp/' -> '/mcp'. ValueError."""
    path = "/" + path.strip("/")
    if not re.fullmatch(PATH, path):
        raise ValueError(f"path: expected '/mcp', say, got {path!r}")
    return path


def read_limits(limits: Limits | None) -> Limits:
    if limits is None:
        return Limits()
    if not isinstance(limits, Limits):
        raise TypeError(f"limits must be a Limits(...), not {limits!r}")
    return limits


def read_names(setting: str, given: Iterable[str]) -> frozenset[str]:
    """['https://app.example.com/'] -> {'https://app.example.com'}. ValueError, TypeError."""
    form, expected = NAMES[setting]
    if isinstance(given, str):
        raise TypeError(f"{setting} must be a list: [{given!r}]")
    names = frozenset(name.removesuffix("/") for name in given)
    for name in names:
        if not re.fullmatch(form, name):
            raise ValueError(f"{setting}: expected {expected}, got {name!r}")
    return names


def read_auth(auth: Any) -> Auth | None:
    if auth is None or isinstance(auth, Auth):
        return auth
    if isinstance(auth, str):
        return fixed_token(auth)
    if callable(auth):
        return Auth(auth)
    raise TypeError(f"auth must be a token, an async function or an Auth, not {auth!r}")


def read_secret(secret: str | bytes | None) -> bytes:
    if secret is None:
        return secrets.token_bytes(32)
    if not isinstance(secret, (str, bytes)) or not secret:
        raise ValueError("secret must be text or bytes, and not empty: anybody could seal with it")
    return secret.encode() if isinstance(secret, str) else secret


def check_cache(cache: tuple[int, str]) -> tuple[int, str]:
    """[cache.form] (60_000, 'public'): for how many milliseconds, and for whom. ValueError."""
    match cache:
        case (ttl, "public" | "private") if type(ttl) is int and ttl >= 0:
            return cache
    raise ValueError(f"cache {cache!r}: expected milliseconds, and 'public' or 'private'")


# ---- 17 Demo -----------------------------------------------------------------------------------
# A server worth pointing a client at. It offers the documents of one folder, read only: its tools
# count words and headings and report progress, and one of them asks questions. The page at `/` is
# a client in the browser that shows both sides of its conversation with the server. `main` comes
# last. Everything here uses the public API only, as a program of your own would. When you vendor
# this file, delete the section, down to the licence.

# What counts as a document: Markdown, text, reStructuredText, source code. Other files may be
# UTF-8 as well, but a private key or a file of passwords is nothing to offer to a model.
DOCUMENT_SUFFIXES = frozenset(
    """.md .markdown .txt .rst .c .cc .cpp .cs .css .go .h .hpp .html .java .js .jsx .kt .lua .php
    .pl .py .pyi .r .rb .rs .scala .sh .sql .swift .ts .tsx .vue""".split()
)
MAX_DOCUMENT = 4 * 1024 * 1024  # characters; a long novel has 3 million
MAX_LISTED = 200  # documents listed when the server starts; the template reaches the others
MAX_FOLDERS = 1000  # folders searched for them; somebody may serve a whole disk
# Paths that are refused as they are spelled: an empty name ('/etc', 'a//b'), a hidden name or a
# way up ('.git', '..'), a Windows separator or drive mark, and control characters.
UNSAFE_PATH = re.compile(r"(^|/)(\.|/|$)|[\x00-\x1f\x7f\\:]")
HEADING = re.compile(r"#{1,6} +(\S.*)")


def find_document(root: Path, path: str) -> Path:
    """[demo.inside-root] Return the file that `path` means below `root`, or raise ToolError.

    The message is the same whatever is wrong: it does not tell what exists outside of the folder.
    A shortcut: somebody who can write below `root` may put a link in the file's place before the
    file is opened. A server for hostile writers would open it by openat2(RESOLVE_BENEATH).
    """
    absent = ToolError(f"there is no document {path!r:.200}")
    if UNSAFE_PATH.search(path):
        raise absent
    folder = root.resolve()
    try:
        # Follow every link first. What counts is where the path ends.
        found = (folder / path).resolve(strict=True)
        inside = found.relative_to(folder).as_posix()
    except (OSError, ValueError, RuntimeError):  # missing; outside or no path; links in a circle
        raise absent from None
    if UNSAFE_PATH.search(inside) or found.suffix.lower() not in DOCUMENT_SUFFIXES:
        raise absent
    # It is a folder, a pipe or a device.
    if not found.is_file():
        raise absent
    return found


def read_document(root: Path, path: str) -> str:
    """Return the text of a document. Raises ToolError if it is absent, too long, or not UTF-8."""
    file = find_document(root, path)
    try:
        with file.open(encoding="utf-8-sig") as opened:
            # The limit holds while reading, since a file may grow meanwhile.
            text = opened.read(MAX_DOCUMENT + 1)
    except (OSError, UnicodeDecodeError):  # their messages may show the real path
        raise ToolError(f"{path!r} cannot be read, or is not UTF-8 text") from None
    if len(text) > MAX_DOCUMENT:
        raise ToolError(f"{path!r} is longer than {MAX_DOCUMENT:,} characters")
    return text


def list_documents(root: Path) -> Iterator[str]:
    """Yield the paths of the documents below `root`, those of a folder before those below it."""
    for folder, folders, files in itertools.islice(os.walk(root), MAX_FOLDERS):
        folders[:] = sorted(name for name in folders if name != "node_modules" and name[0] != ".")
        for name in sorted(files):
            file = Path(folder, name)
            if file.suffix.lower() not in DOCUMENT_SUFFIXES:
                continue
            path = file.relative_to(root).as_posix()
            # The file may be hidden, or a link that leads outside.
            with contextlib.suppress(ToolError):
                find_document(root, path)
                yield path


DocumentPath = Annotated[str, "A path relative to the served folder, like 'notes/plan.md'"]


@dataclass
class Report:
    """The result of `analyze_document`. The tool's output schema is made from these hints."""

    path: str
    words: int
    lines: int
    headings: Annotated[list[str], "The first 100 headings of a Markdown document"]


@dataclass
class DomainForm:
    """One field with four choices, for `intelligent_analysis`."""

    domain: Annotated[
        Literal["Finance", "Healthcare", "E-commerce", "Other"], "The domain this document is from"
    ]


def document_analyzer(root: Path, **settings: Any) -> MCPServer:
    """Make a server for the documents below `root`; `settings` go to MCPServer."""
    about = "Reads the documents of one folder. Paths are relative to that folder."
    mcp = MCPServer(
        "document-analyzer", version=__version__, instructions=about, two_channel=True, **settings
    )
    add_tools(mcp, root)
    add_documents(mcp, root)
    mcp.route("GET", "/", show_page)
    return mcp


def add_tools(mcp: MCPServer, root: Path) -> None:
    # A plain `def` runs in a thread of its own, so that a large document holds up nobody else.
    # `ctx.wait` runs a coroutine in the event loop and waits for it.
    @mcp.tool(annotations={"readOnlyHint": True})
    def analyze_document(path: DocumentPath, ctx: Context) -> Report:
        """Count the words and lines of a document and list its headings."""
        lines = read_document(root, path).splitlines()
        words = 0
        headings = []
        markdown = path.lower().endswith((".md", ".markdown"))
        in_code = False
        tenth = max(1, len(lines) // 10)
        for number, line in enumerate(lines, 1):
            words += len(line.split())
            if line.startswith("```"):
                in_code = not in_code
            elif markdown and not in_code and (heading := HEADING.match(line)):
                headings.append(heading[1])
            if number % tenth == 0 or number == len(lines):
                message = f"Read {number:,} of {len(lines):,} lines of {path}"
                ctx.wait(ctx.report_progress(number, len(lines), message))
        return Report(path, words, len(lines), headings[:100])

    @mcp.tool()
    async def long_running_operation(data: str, ctx: Context) -> str:
        """Process data in five batches, one a second, and report progress after each."""
        for batch in range(1, 6):
            # The work would be here.
            await asyncio.sleep(1)
            await ctx.report_progress(batch, 5, f"Processing batch {batch}/5...")
        return f"Completed processing {data}"

    # Ask first, act after: without a session, each answer starts the handler again from the top.
    @mcp.tool(annotations={"readOnlyHint": True})
    async def intelligent_analysis(path: DocumentPath, ctx: Context) -> str:
        """Summarize a document, after asking the user for its domain."""
        # A wrong path raises here, before anybody is asked.
        text = await asyncio.to_thread(read_document, root, path)
        domain = "not given"
        # If the client has no forms, go on without an answer.
        with contextlib.suppress(ToolError):
            answer = await ctx.elicit(f"What domain is {path} from?", DomainForm)
            if answer.action == "accept":
                domain = answer.data.domain
        task = f"Summarize in three sentences. Domain: {domain}.\n\n{text[:20_000]}"
        try:
            summary = text_of(await ctx.sample(task, max_tokens=400))
        except ToolError as error:  # The client offers no model, or its user refused.
            summary = f"none, {error}"
        return f"{path}: {len(text.split()):,} words. Domain: {domain}.\nSummary: {summary}"


def add_documents(mcp: MCPServer, root: Path) -> None:
    """Offer the documents as resources, to a prompt, and to completion."""
    listed = list(itertools.islice(list_documents(root), MAX_LISTED))
    details = {"mime_type": "text/plain", "description": "A document of the served folder."}

    # The + lets the variable contain a slash.
    @mcp.resource("doc://{+path}", **details)
    def document(path: str) -> str:
        return read_document(root, path)

    for path in listed:
        read = functools.partial(read_document, root, path)
        mcp.add_resource(read, "doc://" + quote(path), name=path, **details)

    @mcp.prompt()
    def review_document(path: DocumentPath) -> str:
        """Ask for a review of a document; its text comes with the question."""
        question = f"Is {path} clear, correct and complete? Quote what you would change."
        return f"{question}\n\n{read_document(root, path)}"

    @mcp.completion()
    async def complete(ref: Message, argument: Message, context: Message | None) -> list[str]:
        typed = argument["value"].lower()
        return [path for path in listed if typed in path.lower()]


async def show_page(server: MCPServer, request: Request) -> Reply:
    """[demo.page-policy] [demo.page-text] The page, open to all: a link brings no token.

    Only its own style and script run. The last two rules of the policy mean that even a fault in
    the script cannot make HTML of what a server says.
    """
    policy = (
        f"default-src 'none'; style-src {hash_element('style')};"
        f" script-src {hash_element('script')};"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )
    headers = (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    )
    page = PAGE.replace("{endpoint}", html.escape("." + server.path))
    return Reply(200, headers, page.encode())


def hash_element(name: str) -> str:
    """Return what a policy calls the page's only <style> or <script>: 'style' -> "'sha256-...'"."""
    content = PAGE.partition(f"<{name}>")[2].partition(f"</{name}>")[0]
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


PAGE = r"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Watch MCP over HTTP</title><meta name="mcp-endpoint" content="{endpoint}"><style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; --client: light-dark(#4338ca, #aab1ff);
  --server: light-dark(#0b6b60, #5fd3c0); --error: light-dark(#b3261e, #ff9d92) } .note b { padding-top: .75rem }
* { box-sizing: border-box; min-width: 0; margin: 0; padding: 0 } h1 { font-size: 1.25rem; flex: 1 } b { min-width: 4.5rem }
body { height: 100dvh; display: grid; grid-template-rows: auto 1fr auto } header { display: grid; gap: .6rem }
header, dialog { padding: .75rem 1rem } header div, fieldset, dialog form { display: flex; flex-flow: wrap; gap: .5rem 1rem }
button, input { font: inherit; padding: .35rem .75rem; border: 1px solid; border-radius: .4rem } fieldset { border: 0 }
#stories :first-child { background: var(--client); color: Canvas } #story { min-height: 3rem } h2, ol { padding: 0 1rem }
dialog { position: static; width: 100%; border: solid } small { font-family: system-ui; opacity: .8 } main { overflow: auto }
h2, li { display: grid; grid-template-columns: 5fr 6rem 7fr; color: var(--client) } li > * { grid-row: 1 }
h2 { position: sticky; top: 0; z-index: 1; font: 600 1rem/2.5 system-ui; background: Canvas; border-top: 1px solid }
h2 > :last-child, .server > details { grid-column: 3; color: var(--server) } .note details { grid-column: 1 / 4 }
summary { display: flex; gap: .75rem; align-items: baseline; cursor: pointer } b, small { font-size: .875rem }
code, pre { font: .8125rem/1.6 ui-monospace, monospace } :is(.note b, code, pre) { color: CanvasText }
code { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap } [open] code span { display: none }
pre { white-space: pre-wrap; overflow-wrap: anywhere } .error :is(code, b) { color: var(--error) } .dot { --across: 50% }
/* Four lanes stand between the columns: a line is an open stream, a dot is a message. */ .from::before { top: .75rem }
li > div { grid-column: 2; display: flex; margin-right: .5rem } i { flex: 1; position: relative; color: var(--server) }
i::before, i::after { position: absolute; background: var(--server) } ol:empty::before { content: "Begin with Connect." }
.open::before { content: ""; inset: 0 auto 0 50%; width: 2px } .end::before { bottom: auto; height: .75rem }
.dot::after { content: ""; inset: calc(.75rem - 4px) auto auto calc(50% - 4px); border: 5px solid; border-radius: 50% }
.dot, .dot ~ i { background: linear-gradient(var(--server) 0 0) right .75rem / var(--across, 100%) 1px no-repeat }
@media (max-width: 50rem) { h2, li { grid-template-columns: 3rem 1fr 1fr } h2 > :first-child { grid-column: 1 / 3 }
  li > div { grid-column: 1 } li > details { grid-column: 2 / 4 !important } .server > details { padding-left: 1rem }
  summary { flex-wrap: wrap; gap: 0 } code, h1 { flex-basis: 100% } code { white-space: normal; max-height: 2.6rem } }
</style><header><div><h1>MCP over HTTP, as it happens</h1><fieldset id="eras" aria-label="Revision">
<label><input type="radio" name="era" value="2025-11-25" checked> with sessions (2025-11-25)</label>
<label><input type="radio" name="era" value="2026-07-28"> stateless (2026-07-28)</label></fieldset></div>
<fieldset id="stories" aria-label="What to watch"><button>Connect</button><button>Two tools, one cancelled</button>
<button>A tool that asks</button><button>Break and resume</button><button>End the session</button></fieldset>
<form id="login" method="dialog" hidden><label>Token: <input id="token" type="password" autocomplete="off"></label></form>
<p id="story">This page is a client of the server that it comes from. Begin with Connect, and watch: left what the client
says, right what the server says, between a line for each open stream. A row unfolds to the text on the wire.</p></header>
<main id="log" tabindex="0" aria-label="Messages"><h2><span>Client says</span><span>Server says</span></h2><ol></ol></main>
<dialog id="ask"><p id="question" tabindex="-1" autofocus></p><form method="dialog"><button>Finance</button>
<button>Healthcare</button><button>E-commerce</button><button>Other</button><button>Decline</button></form></dialog>
<template id="row"><li><div><i></i><i></i><i></i><i></i></div><details><summary><b></b><code><data></data> <small></small>
<span></span></code></summary><pre tabindex="0"></pre></details></li></template><script>
const $ = (id) => document.getElementById(id), pretty = (value) => JSON.stringify(value, null, 2), lanes = ["", "", "", ""];
const endpoint = new URL(document.querySelector("[name=mcp-endpoint]").content, document.baseURI);
const SESSIONS = "2025-11-25", STATELESS = "2026-07-28", META = "io.modelcontextprotocol/";
const CLIENT = {name: "page", version: "1"}, ABILITIES = {elicitation: {form: {}}, sampling: {}};
const ABOUT = {[META + "protocolVersion"]: STATELESS, [META + "clientInfo"]: CLIENT, [META + "clientCapabilities"]: ABILITIES};
let era = SESSIONS, session = null, own = null, path = "README.md", exchanges = 0, ids = 0;
// A row: who speaks, in which HTTP exchange, what is said. It unfolds to the text on the wire. Text never becomes HTML.
function say(side, name, {what = "", why = "", value = "", failed}, wire = "", lane = -1, mark = "dot") {
  const log = $("log"), following = side === "note" || log.scrollHeight - log.scrollTop - log.clientHeight < 200;
  const row = $("row").content.firstElementChild.cloneNode(true), texts = [name, what, why, value, wire];
  row.querySelectorAll("b, data, small, span, pre").forEach((place) => place.textContent = texts.shift());
  row.querySelectorAll("i").forEach((rail, slot) => rail.className = slot === lane ? `open ${mark}` : lanes[slot]);
  log.lastElementChild.appendChild(row).className = failed ? `${side} error` : side;
  if (mark === "end dot") lanes[lane] = "";
  if (following) row.scrollIntoView({block: "nearest"});
}
const note = (text) => say("note", text, {}), report = (error) => say("note", error.message, {failed: true});
const write = (line, fields, message) => `${line}\n${Array.from(fields, ([name, value]) =>
  `${name}: ${name === "Authorization" ? "..." : value}\n`).join("")}\n${message?.jsonrpc ? pretty(message) : ""}`;
function describe({id, method, params = {}, result, error}) { // a `value` stands in the wire text: unfolded rows hide it
  const {name, arguments: given = {}, progress, total, message, inputResponses} = params;
  if (error) return {what: `error ${error.code}`, value: error.message, failed: true};
  if (result?.inputRequests) return {what: `result #${id}: input is required`, why: "the call ends; the page calls again"};
  if (result?.isError) return {what: `result #${id}: the tool failed`, value: result.content[0].text, failed: true};
  if (result?.action ?? result?.role) return {what: `answer to question #${id}`, value: result.action ?? result.content.text};
  if (result) return {what: `result #${id}`, value: result.content?.[0]?.text ?? JSON.stringify(result)};
  if (inputResponses) return {what: `${method} #${id} with the answer and requestState`};
  const values = [name, ...Object.values(given), total && `${progress}/${total}`, message].filter(Boolean);
  return {what: id === undefined ? method : `${method} #${id}`, value: values.join(" ")};
}
async function send(verb, message, job = {}, row = describe(message)) { // one HTTP exchange, to the end of its stream
  const name = `${verb} ${++exchanges}`, token = $("token").value, stateless = era === STATELESS;
  const headers = Object.entries({Accept: "application/json, text/event-stream", Authorization: token && `Bearer ${token}`,
    "Content-Type": message && "application/json", "MCP-Protocol-Version": (session || stateless) && era,
    "Mcp-Session-Id": session, "Mcp-Method": stateless && message.method, "Mcp-Name": stateless && message.params.name,
    "Last-Event-ID": job.last}).filter(([, value]) => value);
  say("client", name, row, write(`${verb} ${endpoint.pathname}`, headers, message));
  let lane, {signal} = job.breaker = new AbortController(), body = message && JSON.stringify(message);
  try {
    const reply = await fetch(endpoint, {method: verb, headers, body, signal, keepalive: verb === "DELETE"});
    const status = `${reply.status} ${reply.statusText}`;
    session ??= reply.headers.get("mcp-session-id"); $("login").hidden = reply.status !== 401;
    if (reply.headers.get("content-type") !== "text/event-stream") {
      const raw = await reply.text(), said = job.answer = JSON.parse(raw || "{}"), why = status + (raw && ", one JSON body");
      return say("server", name, {why, ...describe(said)}, write(status, reply.headers, said));
    }
    lanes[lane = lanes.indexOf("")] = "open";
    const why = message ? "the answer is a stream: messages may come before the result" : "the stream is open";
    say("server", name, {what: status, why}, write(status, reply.headers), lane, "from dot");
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "", read; !(read = await reader.read()).done;) {
      const events = (text + read.value).split("\n\n"); text = events.pop(); // a shortcut: others may end a line with \r
      for (const event of events) hear(job, name, event, lane);
    }
    say("server", name, {what: "the stream ends"}, "", lane, "end dot");
  } catch (error) {
    if (!signal.aborted) say("server", name, {what: "the connection is broken", failed: true}, "", lane, "end dot");
    if (!signal.aborted) throw error;
    say("client", name, {what: "closes the connection"}, "", lane, "end dot");
  }
}
function hear(job, name, event, lane) {
  const {id, data} = Object.fromEntries(event.split("\n").map((line) => line.split(/: ?(.*)/s)));
  job.last = id ?? job.last;
  const why = id && `id ..${id.slice(-6)}`, message = data && JSON.parse(data);
  if (!data) return id && say("server", name, {what: "an empty event, whose id says where to resume", why}, event, lane);
  say("server", name, {why, ...describe(message)}, event.replace(data, () => pretty(message)), lane);
  if (!message.method) job.answer = message;
  else if (message.id !== undefined) answer(message).catch(report);
  else if (message.params?.progress === 2) job.halfway?.(job);
}
const answer = async ({id, ...question}) => send("POST", {jsonrpc: "2.0", id, result: await ask(question)}); // with a session
async function ask({method, params}) { // the user, by the demo's one form; the page has no model
  if (method !== "elicitation/create") return {role: "assistant", model: "none", content: {type: "text", text: "No model."}};
  $("question").textContent = params.message; $("ask").show();
  say("client", "user", {why: "is asked below"});
  const {submitter: {textContent: domain}} = await new Promise((done) => $("ask").onsubmit = done);
  return domain === "Decline" ? {action: "decline"} : {action: "accept", content: {domain}};
}
async function request(method, params = {}, job = {}) {
  const id = job.id = ++ids, _meta = {...(era === STATELESS && ABOUT), progressToken: id};
  await send("POST", {jsonrpc: "2.0", id, method, params: {...params, _meta}}, job);
  while (job.breaker.signal.aborted && job.last) { // only the connection has ended: the call goes on
    await new Promise((done) => setTimeout(done, 2500)); // long enough to miss something
    await send("GET", null, job, {what: "Last-Event-ID", why: `asks for what came after ..${job.last.slice(-6)}`});
  }
  const {result, error} = job.answer ?? {}, {inputRequests, requestState} = result ?? {}, inputResponses = {};
  if (error) throw new Error(error.message);
  for (const key in inputRequests) inputResponses[key] = await ask(inputRequests[key]);
  return inputRequests ? request(method, {...params, inputResponses, requestState}) : result; // once more, with the answers
}
async function connect() {
  await hangUp();
  if (era === SESSIONS) {
    await request("initialize", {protocolVersion: era, capabilities: ABILITIES, clientInfo: CLIENT});
    await notify("notifications/initialized");
    send("GET", null, own = {}, {what: "a stream", why: "for messages that belong to no call"}).catch(report);
  } else {
    await request("server/discover");
    request("subscriptions/listen", {notifications: {resourcesListChanged: true}}, own = {}).catch(report);
  }
  path = (await request("resources/list")).resources[0]?.name ?? path;
}
async function hangUp() {
  const closing = session ? send("DELETE", null, {}, {what: "ends the session"}) : own?.breaker.abort();
  own = session = null; await closing; // `send` has written its headers by now
}
const call = (name, given, halfway) => request("tools/call", {name, arguments: given}, {halfway});
const slow = (data, halfway) => call("long_running_operation", {data}, halfway), leave = (job) => job.breaker.abort();
const notify = (method, params) => send("POST", {jsonrpc: "2.0", method, params});
const cancel = (job) => session ? notify("notifications/cancelled", {requestId: job.id}) : leave(job);
const STORIES = { // button: [what it does, what to see with sessions, what to see without]
  "Connect": [connect, "initialize opens a session, whose id goes on all that follows. A GET opens the session's own stream.",
    "There is no handshake. subscriptions/listen is a call whose answer is a stream of change notices."],
  "Two tools, one cancelled": [() => Promise.all([slow("apples"), slow("pears", cancel)]), "Two POSTs, two streams. A " +
    "notification cancels one call.", "Two POSTs, two streams. To cancel a call is to close its stream."],
  "A tool that asks": [() => call("intelligent_analysis", {path}), "A question is a request on the call's stream, its " +
    "answer a POST of its own.", "The call ends by saying what it needs. The page calls again, with the answer."],
  "Break and resume": [() => slow("a text", leave), "The page breaks the connection; the call goes on. A GET brings what " +
    "was missed, and the rest.", "The page breaks the connection, which cancels the call. Nothing can be resumed."],
  "End the session": [hangUp, "DELETE ends the session: its calls are cancelled, its streams end, its id is worthless.",
    "The server remembers nothing, so there is no session to end. The page closes its stream."]};
async function play(name) {
  const [act, ...texts] = STORIES[name]; $("stories").disabled = $("eras").disabled = true;
  $("story").textContent = texts[era === SESSIONS ? 0 : 1]; note(name);
  await (own || act === connect || act === hangUp ? act() : connect().then(act)).catch(report);
  $("stories").disabled = $("eras").disabled = false;
}
$("stories").onclick = ({target}) => STORIES[target.textContent] && play(target.textContent);
$("eras").onchange = ({target}) => hangUp().catch(report).then(() => note(`Now the page speaks ${era = target.value}.`));
$("token").onchange = () => play("Connect"); addEventListener("pagehide", hangUp);</script></html>
"""  # noqa: E501


# A token belongs into the environment: everybody on the machine can see a flag with `ps`.
TOKEN_VARIABLE = "STREAMHTTP_MCP_TOKEN"
WELCOME = r"""document-analyzer listens on {url} - Ctrl+C stops it
It serves the documents in {folder}, read only.

Page:         {base}/ shows the conversation in a browser
Claude Code:  claude mcp add --transport http document-analyzer {url}{option}
Inspector:    npx @modelcontextprotocol/inspector --transport http --server-url {url}
mcp.json:     {"mcpServers": {"document-analyzer": {"type": "http", "url": "{url}"{member}}}}
Old clients:  {base}/sse (HTTP+SSE of 2024-11-05)

By hand: open a session and keep its id, then call a tool and watch its progress arrive.{hint}

SID=$(curl -si {url}{option} -H 'Content-Type: application/json' -d '{
  "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
  "capabilities": {}, "clientInfo": {"name": "curl", "version": "1"}}
}' | grep -i '^mcp-session-id:' | tr -d '\r' | cut -d ' ' -f 2)
curl -sN {url}{option} -H "Mcp-Session-Id: $SID" -H 'Content-Type: application/json' -d '{
  "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "long_running_operation",
  "arguments": {"data": "hello"}, "_meta": {"progressToken": "p1"}}
}'
"""


def welcome(url: str, root: Path, locked: bool) -> str:
    """Return what `main` prints. The curl lines work when pasted into a shell."""
    option = member = hint = ""
    if locked:
        option = f' --header "Authorization: Bearer ${TOKEN_VARIABLE}"'
        member = f', "headers": {{"Authorization": "Bearer ${{{TOKEN_VARIABLE}}}"}}'
        hint = f"\nThe shell finds the token in ${TOKEN_VARIABLE}."
    text = WELCOME.replace("{url}", url).replace("{base}", url.removesuffix("/mcp"))
    text = text.replace("{option}", option).replace("{member}", member).replace("{hint}", hint)
    return text.replace("{folder}", str(root.resolve()))


USAGE = """usage: streamhttp_mcp.py [options]

Serve the documents of a folder over MCP, read only. A document is Markdown, text,
reStructuredText or source code. Open the address that is printed to watch the conversation."""


def command_line() -> Any:
    """What reads the command line. A wrong one is reported in one line, and the exit code is 2."""
    # A program that serves its own tools does not need argparse, so the import stands here.
    import argparse

    # argparse would print the usage before every error, so the usage is part of the description.
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "streamhttp_mcp", usage=argparse.SUPPRESS, description=USAGE, formatter_class=style
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="Listen on this address. (%(default)s)")
    add("--port", type=int, default=8000, help="Listen on this port; 0 finds one. (%(default)s)")
    add("--root", type=Path, default=".", help="Serve this folder. (The current one.)")
    add("--session-timeout", type=float, default=300.0, metavar="SECONDS",
        help="End a session that was not used for so long. (%(default)s)")  # fmt: skip
    add("--token", default=os.environ.get(TOKEN_VARIABLE),
        help=f"Clients must send this token. Better: put it into ${TOKEN_VARIABLE}.")  # fmt: skip
    add("--allowed-host", action="append", default=[], metavar="HOST",
        help="Clients may call the server by this name, too. May be repeated.")  # fmt: skip
    add("--log-level", choices=["debug", "info", "warning", "error"], default="info",
        help="Log this much to stderr. (%(default)s)")  # fmt: skip
    add("--version", action="version", version=f"%(prog)s {__version__}", help="Show the version.")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the documents of a folder until Ctrl+C."""
    parser = command_line()
    args = parser.parse_args(argv)
    if not 0 <= args.port <= 65535:
        parser.error(f"argument --port: expected 0 to 65535, got {args.port}")
    # This refuses nan as well.
    if not args.session_timeout > 0:
        parser.error(f"argument --session-timeout: expected seconds, got {args.session_timeout}")
    if not args.root.is_dir():
        parser.error(f"argument --root: there is no folder {str(args.root)!r}")
    style = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=args.log_level.upper(), format=style)
    try:
        mcp = document_analyzer(
            args.root,
            session_timeout=args.session_timeout,
            auth=args.token,
            allowed_hosts=args.allowed_host,
        )
    except ValueError as error:  # an empty token, say
        parser.error(str(error))

    def greet(url: str) -> None:
        print(welcome(url, args.root, bool(args.token)), flush=True)

    # From here on each byte goes the way of the sections above: HTTP, gate, JSON-RPC, session or
    # none, call, method, tool, and back.
    mcp.run(host=args.host, port=args.port, on_start=greet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
# MIT License
#
# Copyright (c) 2026 the streamhttp_mcp authors
#
# Permission is hereby granted, free of charge, to any person obtaining a copy of this software
# and associated documentation files (the "Software"), to deal in the Software without
# restriction, including without limitation the rights to use, copy, modify, merge, publish,
# distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
# Software is furnished to do so, subject to the following conditions:
#
# The above copyright notice and this permission notice shall be included in all copies or
# substantial portions of the Software.
#
# THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
# BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
# NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
# DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
# OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
