# SPDX-License-Identifier: MIT
"""The Model Context Protocol (MCP) over HTTP, in one file, with the standard library alone.

It serves the session-based revisions 2025-03-26, 2025-06-18 and 2025-11-25, and the stateless 2026-07-28, on one
endpoint, and beside it, if asked to, HTTP+SSE of 2024-11-05. Three things to try:

    python streamhttp_mcp.py                       # a document analyser for this folder; prints how to watch it
    python streamhttp_mcp.py --root ~/notes        # the same for another one
    python -c 'import streamhttp_mcp as s; help(s.MCPServer)'

The life of one request, in function names:

    socket -> Connection.serve -> read_requests -> read_head, read_body
           -> MCPServer.handle -> check_host, check_origin, find_route, check_authorization
           -> handle_post -> parse_message -> answer_in_session or answer_statelessly
           -> answer_call, in a task -> run_method -> find_method, say call_tool -> your handler(ctx)
    socket <- Connection.send_reply <- Reply: one JSON body, or a Stream <- Exchange (decides which, late)
           <- ctx.report_progress, ctx.elicit, result

Sections stand in the order in which a byte meets them, and lean only on those above:

     1 Settings       5 JSON-RPC                       9 Sessions      13 Two channels
     2 Errors         6 Schema                        10 Methods       14 Server
     3 HTTP           7 Context                       11 Eras          15 Demo and main
     4 SSE            8 Tools, resources, prompts     12 Endpoint

Ids in brackets, like [session.unknown-404], name clauses of the specification; SPEC.md lists them all.
Left out: stdio, tasks, an authorization server, and everything that would need a package.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import contextvars
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
import os
import re
import secrets
import signal
import ssl
import sys
import threading
import time
import types
import typing
from collections import Counter, OrderedDict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as daytime
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Required, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit
from uuid import UUID

__version__ = "0.1.0"

# ---- 1 Settings --------------------------------------------------------------------------------------
# In one place: the protocol revisions served, and the limits on everything that a stranger can send.

# Revision names are dates, so comparing two of them as strings tells which is newer.
TWO_CHANNEL_REVISION = "2024-11-05"  # opened by a GET; the first, and another transport
SESSION_REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25")  # opened by `initialize`, oldest first
LATEST_SESSION_REVISION = SESSION_REVISIONS[-1]
STATELESS_REVISION = "2026-07-28"  # every request speaks for itself
REVISIONS = (*SESSION_REVISIONS, STATELESS_REVISION)
META = "io.modelcontextprotocol/"  # before the names of `_meta` that the specification owns
META_VERSION, META_CAPABILITIES = META + "protocolVersion", META + "clientCapabilities"
META_CLIENT_INFO, META_SERVER_INFO, META_LOG_LEVEL = META + "clientInfo", META + "serverInfo", META + "logLevel"
LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")  # RFC 5424
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

log = logging.getLogger("streamhttp_mcp")
log.addHandler(logging.NullHandler())  # [import.silent] a library says nothing until its user wants to hear it


@dataclass(frozen=True)
class Limits:
    """[limits.named] Bounds on what one peer may cost. Sizes are bytes, times are seconds, the rest are counts."""

    # One HTTP request. Over a size: 414, 431 or 413. Over a time: 408.
    request_line_bytes: int = 8 * 1024  # RFC 9112 section 3 recommends at least 8,000
    head_bytes: int = 32 * 1024  # nginx allows 4 x 8 KiB
    header_fields: int = 100  # Apache's LimitRequestFields
    body_bytes: int = 4 * 1024 * 1024  # the official Python SDK's default
    chunks: int = 16_384  # a million of one byte each would cost more to read than they are worth
    head_seconds: float = 10  # from the first byte to the blank line, and for the handshake of TLS
    body_seconds: float = 30  # from the blank line to the last byte
    # One connection.
    idle_seconds: float = 75  # between two requests; nginx's keepalive_timeout
    send_seconds: float = 30  # a peer that reads nothing of what waits for it is dropped
    connections: int = 10_000  # beyond: 503, and the connection ends
    # Sessions, together and each.
    sessions: int = 10_000  # beyond: 503 with Retry-After
    calls: int = 64  # in flight at once in one session; beyond: 429
    client_bytes: int = 64 * 1024  # what a client says of itself in `initialize`, which its session keeps
    subscriptions: int = 1_000  # resources watched by one session, or by one call of subscriptions/listen
    uri_characters: int = 8 * 1024  # of one that is watched
    streams: int = 16  # event streams that have ended, kept for a client that may not have seen their end
    delivered_bytes: int = 32 * 1024 * 1024  # of all such that were written whole; beyond, the oldest is forgotten
    # One event stream.
    stream_events: int = 1_000  # that wait, or are kept for replay; beyond, the oldest notification is forgotten
    stream_bytes: int = 1024 * 1024  # of these
    sse_after_seconds: float = 1  # a call that is silent for so long is answered by an event stream
    heartbeat_seconds: float = 15  # a comment, since load balancers drop what is silent for 60 s
    retry_seconds: float = 1  # how long a client waits before it reconnects
    # The server's own patience.
    all_calls: int = 5_000  # running at once in all sessions and outside of them; beyond: 503 with Retry-After
    verify_seconds: float = 10  # to judge a token; beyond: 503
    ask_seconds: float = 300  # a question to the client, which a person may have to answer, fails after that
    state_seconds: float = 3600  # for so long the stateless era takes answers to a question
    grace_seconds: float = 5  # running calls may finish for so long at shutdown; `docker stop` waits for 10
    threads: int = 64  # plain `def` handlers running at once; further ones wait


# ---- 2 Errors ----------------------------------------------------------------------------------------
# A refusal has two possible levels: the HTTP exchange itself failed, or HTTP is fine and the JSON-RPC
# call inside it failed. Parsers and guards raise; one place replies to each.

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
RESOURCE_NOT_FOUND = -32002  # up to 2025-11-25
HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION = -32020, -32021, -32022  # from 2026-07-28


class HTTPError(Exception):
    """The exchange fails with this HTTP status; the message becomes a JSON-RPC error in the body."""

    def __init__(self, status: int, message: str, *headers: tuple[str, str], code: int = INVALID_REQUEST) -> None:
        super().__init__(message)
        self.status, self.message, self.headers, self.code = status, message, headers, code


class RPCError(Exception):
    """The call fails with this JSON-RPC error object: a code, one sentence, and optional data."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class ToolError(Exception):
    """Raised by a handler: the tool ran and failed, in words that the client's model can act on."""


# ---- 3 HTTP ------------------------------------------------------------------------------------------
# Bytes to `Request`, and back. This section knows no MCP. It follows RFC 9112 to the letter where two
# readings of the same bytes would let one request hide inside another (request smuggling): every pattern
# is matched before anything is converted, because int() accepts '+5' and '1_0' and the grammar does not.

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2
REQUEST_LINE = re.compile(rf"({TOKEN}) ([!-~]+) HTTP/([0-9])\.([0-9])")
KNOWN_METHODS = frozenset("GET HEAD POST PUT PATCH DELETE CONNECT OPTIONS TRACE".split())  # RFC 9110 and 5789
FIELD_LINE = re.compile(rf"({TOKEN}):([^\x00-\x08\x0a-\x1f\x7f]*)")  # field-name ":" OWS field-value OWS
EMPTY_LINES = re.compile(rb"(?:\r\n)+")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})([ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?")  # chunk-size [chunk-ext]
ABSOLUTE_FORM = re.compile(r"(?i)https?://([^/?#@]+)(/[^#]*)?")  # 'http://a:80/mcp' -> 'a:80', '/mcp'
VISIBLE = re.compile(r"[!-~]+")  # ASCII without blanks
QUOTABLE = re.compile(r'[!#-\[\]-~]+')  # visible ASCII that a quoted-string holds as it is
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]+)(:[0-9]{0,5})?", re.ASCII)  # uri-host [":" port]
# Fields that a request has once. Anything else that comes twice is one list, joined by commas.
SINGLE_FIELDS = frozenset(
    """host content-length content-type authorization origin last-event-id
    mcp-session-id mcp-protocol-version mcp-method mcp-name""".split()
)
# Fields that say the same in request after request, so that a line of them is looked at once. None is a secret.
RECURRING_FIELDS = frozenset(
    """host accept accept-encoding accept-language user-agent connection content-type content-length
    mcp-protocol-version mcp-method mcp-name""".split()
)
KNOWN_LINES: dict[str, tuple[str, str]] = {}  # 'Accept: */*' -> ('accept', '*/*')
REASONS = {status.value: status.phrase for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

T = TypeVar("T")
Reading = Generator[None, None, T]  # yields where it needs more bytes, and returns what it has read


class ConnectionEnded(Exception):
    """The peer closed its side, in the middle of a request or between two of them."""


@dataclass(slots=True)
class Request:
    """One HTTP request, as `MCPServer.handle` takes it."""

    method: str  # 'POST'
    target: str  # '/mcp?x=1'
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # lower-case name -> value; here is the token
    body: bytes = b""
    minor_version: int = 1  # of HTTP/1.x
    # What the gate finds out.
    route: str = ""  # the path, as it was registered: '/files/{name}'
    variables: dict[str, str] = field(default_factory=dict)  # in the path: name -> value
    principal: str | None = None  # who sent it
    scopes: frozenset[str] = frozenset()  # with what rights
    # Who wants to know, while the reply is not complete,
    on_disconnect: Callable[[str], object] | None = None  # that the client has gone
    on_half_close: Callable[[], None] | None = None  # that it sends no more, and has perhaps gone

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def keep_alive(self) -> bool:
        """[http.keep-alive] Whether the connection may carry another request (RFC 9112 section 9.3)."""
        options = self.headers.get("connection", "").lower()
        return "close" not in options if self.minor_version else "keep-alive" in options


NO_REQUEST = Request("", "")  # what a connection has between two of them


@dataclass(slots=True)
class ByteReader:
    """The bytes of one connection, in order.

    Its readers are generators, which yield where they need more bytes. So they know nothing of sockets, tasks and
    time, and a peer that is silent costs no more than its bytes.
    """

    buffer: bytearray = field(default_factory=bytearray)  # what has come and was not read
    ended: Exception | None = None  # why no more will come

    def more(self) -> Reading[None]:
        """Wait for bytes, or raise what ended the connection."""
        size = len(self.buffer)
        while len(self.buffer) == size:
            if self.ended is not None:
                raise self.ended
            yield

    def take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def line(self, limit: int, too_long: HTTPError) -> Reading[bytes]:
        """Return the next line, at most `limit` bytes, without its CRLF."""
        while (end := self.buffer.find(b"\r\n", 0, limit + 2)) < 0:
            if len(self.buffer) >= limit + 2:
                raise too_long
            yield from self.more()
        return self.take(end + 2)[:-2]

    def exactly(self, size: int) -> Reading[bytes]:
        """Return the next `size` bytes."""
        while len(self.buffer) < size:
            yield from self.more()
        return self.take(size)


def read_head(reader: ByteReader, limits: Limits) -> Reading[Request]:
    """[limits.head] Read a request line and header fields. HTTPError, as soon as nothing good can come of them."""
    buffer = reader.buffer
    while True:
        if skipped := EMPTY_LINES.match(buffer):  # [http.empty-line-before] by clients that end a body with CRLF
            del buffer[: skipped.end()]
        blank_line = buffer.find(b"\r\n\r\n")
        size = len(buffer) if blank_line < 0 else blank_line
        if buffer.count(b"\n", 0, size) != buffer.count(b"\r\n", 0, size):  # [http.bare-lf]
            raise HTTPError(400, "bare LF in the request head: every line must end with CRLF")
        # Until the blank line is there, the last bytes may be the start of a line's end, or of the blank line.
        longest = limits.request_line_bytes
        if size > longest + (blank_line < 0) and buffer.find(b"\r\n", 0, longest + 2) < 0:
            raise HTTPError(414, f"request line is longer than {longest} bytes")
        if size > limits.head_bytes + (3 if blank_line < 0 else 0):
            raise HTTPError(431, f"request head is longer than {limits.head_bytes} bytes")
        if blank_line >= 0:
            return parse_head(reader.take(size + 4)[:-4], limits)
        yield from reader.more()


def parse_head(head: bytes, limits: Limits) -> Request:
    """Parse a head without its blank line: b'GET / HTTP/1.1\\r\\nHost: a' -> Request('GET', '/', {'host': 'a'})."""
    start, *lines = head.decode("latin-1").split("\r\n")
    if not (match := REQUEST_LINE.fullmatch(start)):  # [http.request-line]
        raise HTTPError(400, f"malformed request line: expected 'METHOD /path HTTP/1.1', got {start[:100]!a}")
    method, target, major, minor = match.groups()
    if major != "1":  # [http.version-505]
        raise HTTPError(505, f"HTTP/{major} is not spoken here: use HTTP/1.1")
    if len(lines) > limits.header_fields:
        raise HTTPError(431, f"more than {limits.header_fields} header fields")
    headers = parse_fields(lines)
    if "host" not in headers and minor != "0":
        raise HTTPError(400, "header field Host is missing")  # [http.host-required]
    if match := ABSOLUTE_FORM.fullmatch(target):  # [http.absolute-form] as proxies send it; its host is what counts
        headers["host"], target = match[1], match[2] or "/"
    elif not target.startswith("/") and (target != "*" or method != "OPTIONS"):
        raise HTTPError(400, f"malformed request target: expected a path, got {target[:100]!a}")
    if "host" in headers and not HOST.fullmatch(headers["host"]):  # [http.host-form]
        raise HTTPError(400, f"malformed Host: expected 'name' or 'name:port', got {headers['host'][:100]!a}")
    return Request(method, target, headers, minor_version=int(minor))


def parse_fields(lines: list[str]) -> dict[str, str]:
    """Split 'Name: value' lines into lower-case names and stripped values: ['A: b'] -> {'a': 'b'}. HTTPError."""
    fields: dict[str, str] = {}
    for line in lines:
        name, value = KNOWN_LINES.get(line) or parse_field(line)
        if name in fields:
            if name in SINGLE_FIELDS:  # [http.single-field]
                raise HTTPError(400, f"header field {name} is repeated")
            value = f"{fields[name]}, {value}"  # [http.list-field]
        fields[name] = value
    return fields


def parse_field(line: str) -> tuple[str, str]:
    # [http.field-line] [http.no-space-before-colon] [http.no-folding] Proxies read the last two differently.
    if not (match := FIELD_LINE.fullmatch(line)):
        raise HTTPError(400, f"malformed header field: expected 'Name: value', got {line[:100]!a}")
    name, value = match[1].lower(), match[2].strip(" \t")
    if name in RECURRING_FIELDS and len(line) < 256:
        if len(KNOWN_LINES) >= 1_000:  # [http.known-lines] somebody sends ever new ones
            KNOWN_LINES.clear()
        KNOWN_LINES[line] = name, value
    return name, value


def read_body(reader: ByteReader, request: Request, limits: Limits) -> Reading[bytes]:
    """Read the body that belongs to a head, framed by its length or in chunks. HTTPError."""
    length, coding = request.headers.get("content-length", "0"), request.headers.get("transfer-encoding")
    if coding is not None:
        # [http.one-framing] [http.old-no-coding] Both fields at once is how requests are smuggled past a proxy.
        if "content-length" in request.headers or request.minor_version == 0:
            raise HTTPError(400, "Transfer-Encoding together with Content-Length, or in HTTP/1.0")
        if coding.lower() != "chunked":  # [http.coding-501]
            raise HTTPError(501, f"transfer coding must be chunked, got {coding[:100]!a}")
        return (yield from read_chunks(reader, limits))
    if not (length.isascii() and length.isdigit()):  # [http.length-digits]
        raise HTTPError(400, f"Content-Length must be a decimal number, got {length[:100]!a}")
    if len(length) > 18 or int(length) > limits.body_bytes:  # [limits.body]
        raise HTTPError(413, f"body is larger than {limits.body_bytes} bytes")
    return (yield from reader.exactly(int(length)))


def read_chunks(reader: ByteReader, limits: Limits) -> Reading[bytes]:
    """[http.chunked] Read a chunked body: b'5\\r\\nhello\\r\\n0\\r\\n\\r\\n' -> b'hello'. HTTPError."""
    chunks: list[bytes] = []
    total = 0
    while True:
        line = yield from reader.line(1024, HTTPError(400, "chunk size line is longer than 1024 bytes"))
        if not (match := CHUNK_SIZE.fullmatch(line)):  # [http.chunk-extension] read past, and bounded by the line
            raise HTTPError(400, f"expected hexadecimal chunk size, got {line[:100]!a}")
        size = int(match[1], 16)
        if size == 0:
            break
        total += size
        if total > limits.body_bytes:
            raise HTTPError(413, f"body is larger than {limits.body_bytes} bytes")
        if len(chunks) >= limits.chunks:
            raise HTTPError(413, f"body is in more than {limits.chunks} chunks")
        chunks.append((yield from reader.exactly(size)))
        # [http.chunk-end] Compared, not skipped: two unchecked bytes here once made smuggling possible elsewhere.
        if (end := (yield from reader.exactly(2))) != b"\r\n":
            raise HTTPError(400, f"expected CRLF after a chunk, got {end!a}")
    for _ in range(limits.header_fields + 1):  # [http.trailers] read, checked and not used
        line = yield from reader.line(limits.request_line_bytes, HTTPError(431, "trailer field is too long"))
        if not line:
            return b"".join(chunks)
        parse_fields([line.decode("latin-1")])
    raise HTTPError(431, f"more than {limits.header_fields} trailer fields")


@functools.lru_cache(maxsize=64)  # most replies of one second have one of a few
def format_head(status: int, headers: tuple[tuple[str, str], ...], date: str) -> bytes:
    """[http.date] Write a status line and header fields; those that frame the body come next, then a blank line."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return f"HTTP/1.1 {status} {REASONS.get(status, '')}\r\nDate: {date}\r\n{lines}".encode("latin-1")


@functools.lru_cache(maxsize=1)  # all replies of one second have the same
def format_date(seconds: int) -> str:
    """[http.date-form] Write a time in HTTP's English, whatever the locale: 0 -> 'Thu, 01 Jan 1970 00:00:00 GMT'."""
    t = time.gmtime(seconds)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[t.tm_wday]
    month = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()[t.tm_mon - 1]
    return f"{day}, {t.tm_mday:02} {month} {t.tm_year} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"


def format_chunk(data: bytes) -> bytes:
    """[http.chunked-reply] Frame a chunk of a body whose length is not known yet: b'hello' -> b'5\\r\\nhello\\r\\n'."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@functools.lru_cache(maxsize=256)  # clients send the same few values over and over
def parse_accept(value: str) -> tuple[bool, bool]:
    """Tell whether a client takes (JSON, an event stream): 'application/json, text/*;q=0' -> (True, False)."""
    quality: dict[str, bool] = {}
    for item in value.lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        quality[media_type] = not any(re.fullmatch(r"q=0(\.0{0,3})?", part) for part in parameters)

    def takes(*ranges: str) -> bool:  # [http.accept] the most specific range that is named decides
        return next((quality[name] for name in ranges if name in quality), False)

    return takes("application/json", "application/*", "*/*"), takes("text/event-stream", "text/*", "*/*")


# ---- 4 SSE -------------------------------------------------------------------------------------------
# An event stream is text: lines of 'field: value', and an empty line ends the event. This section knows no MCP
# either: it has the `Stream`, which outlives its connections, and the `Exchange`, one JSON body or a stream.
# Promised to those below: a stream flows to one connection at a time, in order, and a slow peer costs no memory
# beyond the limits. The rules are the HTML standard's "Server-sent events".

EVENT_STREAM_HEADERS = (  # [sse.media-type] [stream.no-buffering]
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),  # nginx would otherwise hold events back until its buffer is full
)
JSON_HEADERS = (("Content-Type", "application/json"),)
COMMENT = b":\n\n"  # [sse.comment] the smallest thing that keeps a proxy awake; every client ignores it


def format_event(data: bytes, event_id: str = "", retry_seconds: float | None = None, kind: str = "") -> bytes:
    """[sse.event] Write one event: (b'{}', 'a-1') -> b'id: a-1\\ndata: {}\\n\\n'. The data must hold no line break."""
    head = (f"event: {kind}\n" if kind else "") + (f"id: {event_id}\n" if event_id else "")
    if retry_seconds is not None:
        head += f"retry: {retry_seconds * 1000:.0f}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)


class Sink(typing.Protocol):
    """What a stream writes to: the sending half of one HTTP response."""

    @property
    def congested(self) -> bool: ...  # the peer reads more slowly than we write
    def write(self, data: bytes) -> None: ...
    def end(self) -> None: ...  # the response is complete
    async def drain(self) -> None: ...  # returns when the peer has caught up, or is gone


class Event(NamedTuple):
    number: int  # 1, 2, 3 ... within its stream
    frame: bytes
    keep: bool  # a result or a question: never forgotten while the stream lives


@dataclass(slots=True, eq=False)
class Stream:
    """[stream.no-broadcast] Numbered events, with at most one connection that they flow to.

    A dropped connection does not end the stream: events wait, within the limits, for the client to come
    back and name the last one it saw. A stream without a name cannot be resumed and keeps nothing.
    """

    limits: Limits
    name: str = ""  # the first half of its event ids
    primed: bool = False  # whether a connection starts with an empty event that carries an id
    on_detach: Callable[[Stream], None] | None = None  # told when a connection leaves
    kind: str = ""  # of its events; '' is the same as 'message'
    last: int = 0  # number of the newest event
    sent: int = 0  # number of the newest event that was handed to a connection
    unsent: list[Event] = field(default_factory=list)
    replay: list[Event] = field(default_factory=list)  # handed over, but the peer may have died with them
    size: int = 0  # bytes in both
    finished: bool = False  # nothing more will come
    sink: Sink | None = None  # the connection

    def attach(self, sink: Sink, after: int | None = None) -> None:
        """Let events flow to this connection; if `after` is given, those after that one."""
        self.detach()  # [stream.newest-wins] A client that crashed and came back is not locked out by its own ghost.
        self.sink = sink
        if after is not None:  # what the client has seen is forgotten, what it has not is sent again
            self.unsent = [event for event in (*self.replay, *self.unsent) if event.number > after]
            self.replay.clear()
            self.size = sum(len(event.frame) for event in self.unsent)
            self.sent = after
        # [stream.prime] [stream.retry-before-close] The first byte comes at once. Its id lets a client resume
        # before the first event, and `retry` tells it when, should this connection be closed.
        retry = self.limits.retry_seconds
        sink.write(format_event(b"", f"{self.name}-{self.sent}", retry) if self.primed else COMMENT)
        self.pump()

    def detach(self, sink: Sink | None = None) -> None:
        """Stop writing to the connection (only if it is `sink`, when given) and complete its response."""
        if self.sink is not None and sink in (None, self.sink):
            leaving, self.sink = self.sink, None
            leaving.end()
            if self.on_detach:
                self.on_detach(self)

    def push(self, data: bytes, keep: bool = False, kind: str = "") -> None:
        """Add an event and write it now, if a connection can take it. Never waits."""
        self.last += 1
        event_id = f"{self.name}-{self.last}" if self.name else ""
        event = Event(self.last, format_event(data, event_id, kind=kind or self.kind), keep)
        self.unsent.append(event)
        self.size += len(event.frame)
        self.pump()
        self.forget_oldest()

    def pump(self) -> None:
        """Write all that is ready, in one go."""
        if self.sink is None or self.sink.congested:
            return
        if self.unsent:
            self.sink.write(b"".join([event.frame for event in self.unsent]))
            self.sent = self.unsent[-1].number
            if self.name:
                self.replay.extend(self.unsent)
            else:
                self.size = 0
            self.unsent.clear()
        if self.finished:
            self.detach()

    def forget_oldest(self) -> None:
        """[stream.bounded] Drop the oldest notifications beyond the limits; results and questions stay."""
        while self.size > self.limits.stream_bytes or len(self.replay) + len(self.unsent) > self.limits.stream_events:
            event = next((event for event in itertools.chain(self.replay, self.unsent) if not event.keep), None)
            if event is None:
                return
            (self.replay if event in self.replay else self.unsent).remove(event)
            self.size -= len(event.frame)

    async def send(self, data: bytes, keep: bool = False) -> None:
        """[stream.back-pressure] Add an event, and wait while the connection is slow: that costs no memory."""
        self.push(data, keep)
        if self.sink is not None and self.sink.congested:
            await self.sink.drain()
        elif self.last % 64 == 0:
            await asyncio.sleep(0)  # a handler that only talks must not keep the others from running

    def finish(self) -> None:
        """Nothing more will come: the response ends as soon as all is written."""
        self.finished = True
        self.pump()


@dataclass(slots=True)
class Reply:
    """The answer to one HTTP request: a body, or a stream to attach the connection to."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    stream: Stream | None = None
    after: int | None = None  # resume the stream after this event


@dataclass(slots=True, eq=False)
class Exchange:
    """[reply.decided-late] One POST on its way to an answer, whose form is decided late.

    If the result comes first, the answer is one JSON body. If the handler speaks before, or is silent
    for `sse_after_seconds`, the answer is an event stream and the result is its last event.
    """

    takes_json: bool  # by the Accept header
    takes_stream: bool
    open_stream: Callable[[], Stream]
    batch: bool = False  # the answers of a batch travel in a list
    status: int = 200  # of a JSON body
    stream: Stream | None = None
    finished: bool = False
    decided: Reply | None = None
    waiting: asyncio.Future[None] | None = None  # for the decision

    async def reply(self, patience: float) -> Reply:
        """Wait until the form is decided, at most `patience` seconds where a stream is possible."""
        if self.decided is None:  # else the calls ended before their first wait, as most do where tasks start at once
            loop = asyncio.get_running_loop()
            self.waiting, timer = loop.create_future(), loop.call_later(patience, self.open)
            try:
                await self.waiting
            finally:
                timer.cancel()
        assert self.decided
        return self.decided

    def open(self) -> None:
        """Answer by an event stream from here on."""
        if self.stream is None and self.takes_stream and not self.finished:
            self.stream = self.open_stream()
            self.decide(Reply(200, EVENT_STREAM_HEADERS, stream=self.stream))

    async def send(self, data: bytes, keep: bool = False) -> None:
        """[stream.related-only] Send what comes before the result. A client that takes no stream does not get it."""
        self.open()
        if self.stream is not None and not self.finished:  # [progress.stop]
            await self.stream.send(data, keep)

    def finish(self, answers: list[bytes]) -> None:
        """[stream.response-arrives] Send the results; none, if the calls were cancelled. What is late is dropped."""
        if not self.takes_json or not answers:
            self.open()
        self.finished = True
        if self.stream is not None:
            for answer in answers:
                self.stream.push(answer, keep=True)
            self.stream.finish()
        elif answers:
            body = b"[%b]" % b",".join(answers) if self.batch else answers[0]  # [batch.response-array]
            self.decide(Reply(self.status, JSON_HEADERS, body))
        else:
            self.decide(Reply(202))

    def decide(self, reply: Reply) -> None:
        self.decided = reply
        if self.waiting and not self.waiting.done():  # else the client left while it was waiting
            self.waiting.set_result(None)


# ---- 5 JSON-RPC --------------------------------------------------------------------------------------
# Text to message and back. A message stays a dict, as on the wire. This section knows no HTTP: what it
# refuses is an `RPCError`, and sections below say which status that is.

Message = dict[str, Any]


def parse_message(body: bytes) -> Message | list[Any]:
    """Parse a body: one message with a sound envelope, or a batch (a list that is not looked into). RPCError."""
    message = parse_json(body)
    return message if isinstance(message, list) else check_envelope(message)


def parse_json(body: bytes) -> Any:
    """Parse JSON that no two readers would read differently. RPCError."""
    try:
        text = body.decode().strip(" \t\n\r")  # [message.utf-8]
        message, end = DECODER.raw_decode(text)  # [json.strict]
        if end < len(text):
            raise ValueError(f"something follows the value that ends at character {end}")
        if b"\\u" in body and HALF_CHARACTER.search(body):  # perhaps half of a surrogate pair; encoding tells
            json.dumps(message, ensure_ascii=False).encode()
        if body.count(b"[") + body.count(b"{") > MAX_NESTING and is_deep(message):
            raise RecursionError
    except UnicodeEncodeError:
        raise RPCError(PARSE_ERROR, "a string holds half of a surrogate pair, which is no character") from None
    except UnicodeDecodeError as error:
        raise RPCError(PARSE_ERROR, f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:  # [json.nesting]
        raise RPCError(PARSE_ERROR, "the JSON is nested too deeply") from None
    except ValueError as error:  # [jsonrpc.parse-error] not JSON, or JSON that two readers would read differently
        reason = "a number has too many digits" if "int_max_str" in str(error) else str(error)
        raise RPCError(PARSE_ERROR, f"the body is not JSON: {reason}") from None
    return message


def is_deep(value: Any) -> bool:
    """Whether more than MAX_NESTING arrays and objects lie within one another."""
    level = [value]  # without recursion: all that lies at one depth, then at the next
    for _ in range(MAX_NESTING):
        members = itertools.chain.from_iterable(v.values() if isinstance(v, dict) else v for v in level)
        level = [member for member in members if isinstance(member, (dict, list))]
    return bool(level)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member name appears twice in one object")
    return members


def finite(text: str) -> float:
    """Read a number; 1e999 is JSON, and would be written as Infinity, which is not. ValueError."""
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:40]} {'is out of range' if text[-1].isdigit() else 'is not a JSON number'}")
    return float(text)


def check_envelope(message: object) -> Message:
    """[jsonrpc.format] [jsonrpc.invalid-request] Check what makes a JSON value a JSON-RPC 2.0 message; return it."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise RPCError(INVALID_REQUEST, 'expected one JSON-RPC message: an object with "jsonrpc": "2.0"')
    # [request.id-present] [request.id-not-null] bool is a subclass of int in Python, so type() is asked.
    if "id" in message and type(message["id"]) not in (str, int):
        raise RPCError(INVALID_REQUEST, f"id must be a string or an integer, got {NOT_IDS[type(message['id'])]}")
    if "method" in message:
        if not isinstance(message["method"], str):
            raise RPCError(INVALID_REQUEST, "method must be a string")
        if not isinstance(message.get("params", {}), dict):
            raise RPCError(INVALID_REQUEST, "params must be an object")
    elif "id" not in message or ("result" in message) == ("error" in message):  # [response.one-of]
        raise RPCError(INVALID_REQUEST, "expected a method (request or notification), or an id and a result or error")
    return message


def encode(value: object) -> bytes:
    """[json.ascii] Write JSON in ASCII, on one line: raw U+2028 hangs real clients. ValueError for NaN, infinity."""
    return ENCODER.encode(value).encode()


def encode_result(request_id: str | int, result: Message | bytes) -> bytes:
    """[result.same-id] [result.field] Write the response to a request; a result that is JSON already is copied."""
    body = result if isinstance(result, bytes) else encode(result)
    identifier = b"%d" % request_id if isinstance(request_id, int) else encode(request_id)
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (identifier, body)


def encode_error(request_id: str | int, error: RPCError) -> bytes:  # [error.same-id] [error.code-message]
    return encode({"jsonrpc": "2.0", "id": request_id, "error": error_object(error.code, error.message, error.data)})


def error_object(code: int, message: str, data: object = None) -> Message:
    return {"code": code, "message": message} | ({} if data is None else {"data": data})


def encode_notification(method: str, params: Message | None = None) -> bytes:  # [notification.no-id]
    return encode({"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params}))


# What a parser takes may still be too deep for what is done with it, so the bound is lower; Ruby's JSON has the same.
MAX_NESTING = 100
NOT_IDS = {type(None): "null", bool: "a boolean", float: "a fraction", list: "an array", dict: "an object"}
HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")
DECODER = json.JSONDecoder(object_pairs_hook=unique_keys, parse_constant=finite, parse_float=finite)
# What contains itself ends in a RecursionError, which costs nothing to find out.
ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, check_circular=False, separators=(",", ":"))


# ---- 6 Schema ----------------------------------------------------------------------------------------
# A signature already says what a function takes. Here it is written as JSON Schema for the client to read;
# what the client sends is checked against that, and what passed becomes the hinted types. `schema_of`,
# `convert` and `plain` agree on every type they know: what `plain` writes fits the schema and converts back.
# `check` takes schemas written by hand, too: JSON Schema 2020-12 within one document, `format` a mere remark.
# Rules: https://json-schema.org/draft/2020-12. Nothing is ever fetched; what we lack is refused by name.

Schema = dict[str, Any]
Fields = dict[str, tuple[Any, Any]]  # name -> (hint, default); required if that is Parameter.empty


class SchemaError(ValueError):
    """What is wrong, and where: SchemaError('arguments.depth', 'expected integer, got "deep"')."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path, self.message = path, message


def inside(key: str | int, act: Callable[..., Any], *args: Any) -> Any:
    """What act(*args) returns. An error learns its path, key by key, on its way out."""
    try:
        return act(*args)
    except (ValueError, TypeError, OverflowError, re.error) as error:  # no such date; a set of dicts; float(10**400)
        inner, message = (error.path, error.message) if isinstance(error, SchemaError) else ("", str(error))
        dot = "." if key != "" and inner and inner[0] != "[" else ""
        raise SchemaError((f"[{key}]" if isinstance(key, int) else key) + dot + inner, message) from error


def schema_of(hint: Any) -> Schema:
    """list[int] -> {'type': 'array', 'items': {'type': 'integer'}}; TypeError for a hint that has none."""
    forms = Forms()
    return forms.finish(forms.form(hint).schema)


def convert(value: Any, hint: Any, path: str = "") -> Any:
    """Turn a JSON value that fits the schema into the hinted type: ('2026-07-28', date) -> date(2026, 7, 28).
    SchemaError where the type itself refuses, as it does for 30 February."""
    return inside(path, Forms().form(hint).read, value)


def signature_form(function: Callable[..., Any], skip: frozenset[str] = frozenset()) -> Form:
    """The schema of a function's arguments object, and how that is read into keyword arguments."""
    forms, parameters = Forms(), inspect.signature(function).parameters.values()
    fields = {name: field for name, field in fields_of(function).items() if name not in skip}
    schema, read = forms.object(fields, closed=all(p.kind is not p.VAR_KEYWORD for p in parameters))
    return Form(forms.finish(schema), read)


class Form(NamedTuple):
    """A type as it looks in JSON: its schema, and how a value that fits is read."""

    schema: Schema
    read: Callable[[Any], Any] = lambda value: value


class Forms:
    """Finds the forms of one schema. A class is written in place, or in `$defs` if it contains itself."""

    def __init__(self) -> None:
        self.records: dict[Any, Form] = {}  # the classes met; one that is being written is a $ref
        self.met_again: set[Any] = set()
        self.definitions: Schema = {}

    def form(self, hint: Any) -> Form:
        origin, args = types.NoneType if hint is None else get_origin(hint) or hint, get_args(hint)
        if origin in (Annotated, Required, NotRequired):
            schema, read = self.form(args[0])
            for note in args[1:]:
                if isinstance(note, (str, dict)):  # a note of another kind is meant for somebody else
                    schema = schema | ({"description": note} if isinstance(note, str) else note)
            return Form(schema, read)
        if origin in (Any, object):
            return Form({})
        if origin in SCALARS:
            schema, read, _ = SCALARS[origin]
            return Form(dict(schema), read)
        if origin in (Union, types.UnionType):
            members = [self.form(arg) for arg in args]
            return Form({"anyOf": [m.schema for m in members]}, lambda value: self.read_union(value, members))
        if origin is Literal or (isinstance(origin, type) and issubclass(origin, Enum)):
            choices: dict[Any, Any] = {identity(plain(choice)): choice for choice in args or hint}
            kind = {"type": "string"} if all(isinstance(value, str) for value in choices) else {}
            values = [plain(choice) for choice in choices.values()]
            return Form(kind | {"enum": values}, lambda value: choices[identity(value)])
        if origin is tuple and args and args[-1] is not ...:
            parts, size = [self.form(arg) for arg in args], {"minItems": len(args), "maxItems": len(args)}
            schema = {"type": "array", "prefixItems": [part.schema for part in parts], **size}
            return Form(schema, lambda value: tuple(
                inside(i, part.read, member) for i, (part, member) in enumerate(zip(parts, value))))
        if origin in (list, tuple, set, frozenset):
            item = self.form(args[0] if args else Any)
            unique = {"uniqueItems": True} if origin in (set, frozenset) else {}
            return Form({"type": "array", "items": item.schema} | unique, lambda value: origin(
                inside(i, item.read, member) for i, member in enumerate(value)))
        if origin is dict and (not args or args[0] is str):
            item = self.form(args[1] if args else Any)
            return Form({"type": "object", "additionalProperties": item.schema}, lambda value: {
                name: inside(name, item.read, member) for name, member in value.items()})
        if hasattr(hint, "model_json_schema"):  # a pydantic model: its definitions move up to ours
            schema = dict(hint.model_json_schema())
            for name, definition in schema.pop("$defs", {}).items():
                self.define(name, definition)
            return Form(schema, hint.model_validate)
        if typing.is_typeddict(hint) or hasattr(hint, "_fields") or hasattr(hint, "__dataclass_fields__"):
            return self.record(hint)
        raise TypeError(f"{hint!r} has no JSON Schema")

    def read_union(self, value: Any, members: list[Form]) -> Any:
        for member in members:  # the first that fits is meant
            with contextlib.suppress(SchemaError):  # does not fit, or only seemed to: any string may be a date
                check(value, self.finish(member.schema))
                return inside("", member.read, value)
        raise ValueError(f"{shown(value)} cannot be read as any of the types allowed")

    def record(self, record: Any) -> Form:
        """A dataclass, NamedTuple or TypedDict is an object with its fields."""
        if record in self.records:
            self.met_again.add(record)
            return self.records[record]
        self.records[record] = Form({"$ref": f"#/$defs/{record.__name__}"}, lambda value: record(**read(value)))
        # A TypedDict may hold more than it names; a constructor refuses what it does not know.
        schema, read = self.object(fields_of(record), closed=not typing.is_typeddict(record))
        if record in self.met_again:  # inside itself
            self.define(record.__name__, schema)
        else:
            self.records[record] = Form(schema, self.records[record].read)
        return self.records[record]

    def object(self, fields: Fields, closed: bool) -> Form:
        forms = {name: self.form(hint) for name, (hint, _) in fields.items()}
        properties = {name: dict(form.schema) for name, form in forms.items()}
        for name, (_, default) in fields.items():
            with contextlib.suppress(TypeError, ValueError):  # there is none, or none that JSON can say
                properties[name]["default"] = plain(default)
        required = [name for name, (_, default) in fields.items() if default is inspect.Parameter.empty]
        schema: Schema = {"type": "object", "properties": properties}
        schema |= {"required": required} if required else {}
        schema |= {"additionalProperties": False} if closed else {}
        return Form(schema, lambda value: {
            name: inside(name, forms[name].read, member) if name in forms else member
            for name, member in value.items()})

    def define(self, name: str, schema: Schema) -> None:
        if self.definitions.setdefault(name, schema) != schema:
            raise TypeError(f"two different classes are named {name}: one schema cannot define both")

    def finish(self, schema: Schema) -> Schema:
        """Add `$defs`. A $ref at the root becomes what it names: MCP wants `type: object` to stand there."""
        schema = dict(schema)
        if self.definitions:
            schema = self.definitions.get(schema.pop("$ref", "").removeprefix("#/$defs/"), {}) | schema
            schema["$defs"] = self.definitions
        return schema


def fields_of(owner: Any) -> Fields:
    """What a function, a constructor or a TypedDict takes by name."""
    hints = typing.get_type_hints(owner, include_extras=True)
    if not typing.is_typeddict(owner):
        parameters = inspect.signature(owner).parameters.values()
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        return {p.name: (hints.get(p.name, Any), p.default) for p in named}
    fields: Fields = {}
    for name, hint in hints.items():
        mark = get_origin(hint)  # asked first: __required_keys__ misses it where hints are kept as text
        required = mark is Required or (name in owner.__required_keys__ and mark is not NotRequired)
        fields[name] = hint, inspect.Parameter.empty if required else ...  # `...`: it may be absent
    return fields


def plain(value: Any) -> Any:
    """[schema.round-trip] The inverse of `convert`: a Python value as JSON. TypeError or ValueError if JSON cannot."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no form in JSON")
    for kind, (_, _, write) in SCALARS.items():
        if isinstance(value, kind):
            return write(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)  # by alias, as in model_json_schema()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
    if hasattr(value, "_asdict"):  # a NamedTuple, whose names are worth keeping
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


# Schema, reader, writer. A bool is an int, too, and a datetime is a date: they come first. JSON has one kind of
# number: 3.0 may be an int, and 3 a float. A value of a subclass is written as one of the type itself.
SCALARS: dict[Any, tuple[Schema, Callable[[Any], Any], Callable[[Any], Any]]] = {
    str: ({"type": "string"}, str, str),
    bool: ({"type": "boolean"}, bool, bool),
    int: ({"type": "integer"}, int, int),
    float: ({"type": "number"}, float, float),
    types.NoneType: ({"type": "null"}, lambda value: None, lambda value: None),
    datetime: ({"type": "string", "format": "date-time"}, datetime.fromisoformat, datetime.isoformat),
    date: ({"type": "string", "format": "date"}, date.fromisoformat, date.isoformat),
    daytime: ({"type": "string", "format": "time"}, daytime.fromisoformat, daytime.isoformat),
    UUID: ({"type": "string", "format": "uuid"}, UUID, str),
    Path: ({"type": "string"}, Path, str),
    bytes: ({"type": "string", "contentEncoding": "base64"}, lambda text: base64.b64decode(text, validate=True),
            lambda value: base64.b64encode(value).decode()),
}  # fmt: skip

# Checking: a schema is a set of keywords, and a value must satisfy them all. An assertion judges the value;
# an applicator names more schemas, for the value or its members. Each keyword is a row of a table below.

MAX_DEPTH = 100  # schemas entered, one inside the other, at 7 Python frames or fewer each; Python stops at 1000


def check(value: Any, schema: Any, path: str = "") -> None:
    """Raise SchemaError unless a JSON value satisfies a schema, which has passed `check_schema`."""
    try:
        inside(path, check_at, value, Place(schema, schema, 0, {}))
    except RecursionError:  # [schema.no-endless-recursion] a hostile value, or a $ref that leads to itself
        raise SchemaError(path, "nested too deeply") from None


def check_at(value: Any, at: Place) -> None:
    schema = at.schema
    if at.depth > MAX_DEPTH:  # [schema.bounded-depth]
        raise RecursionError
    if isinstance(schema, bool):
        if not schema:
            raise SchemaError("", "is not allowed")
        return
    kind = KINDS.get(type(value))
    if kind is None:
        raise SchemaError("", f"a {type(value).__name__} is not a JSON value")
    for keyword, argument in schema.items():
        if keyword == "type" and argument == kind:  # the usual case, which need not be looked up
            continue
        if keyword in ASSERTIONS:  # [schema.unknown-keyword] in neither table: a remark
            subject, satisfied = ASSERTIONS[keyword]
            if subject in (kind, "any") and not satisfied(value, argument, at):
                raise SchemaError("", f"expected {keyword} {json.dumps(argument)[:200]}, got {shown(value)}")
        elif keyword in APPLICATORS:
            subject, apply = APPLICATORS[keyword]
            for key, inner in apply(value, argument, at) if subject in (kind, "any") else ():
                if key is None:
                    at.enter(value, inner)
                else:
                    at.enter(value[key], inner, key)


@dataclass(slots=True)
class Place:
    schema: Any  # whose keywords are being asked
    root: Any  # the document, in which $ref looks
    depth: int  # schemas entered
    known: dict[tuple[int, int], bool]  # what `fits` has found: ids of value and schema, which live longer than we do

    def enter(self, value: Any, schema: Any, key: str | int = "") -> Literal[True]:
        """Check against a schema inside this one: the same value, or its member `key`."""
        inside(key, check_at, value, self.inner(schema))
        return True

    def fits(self, value: Any, schema: Any) -> bool:
        """[schema.bounded-depth] Whether it does, found out once: asked twice a level, 40 levels would never end."""
        pair = id(value), id(schema)
        if pair not in self.known:
            try:
                self.known[pair] = self.enter(value, schema)
            except SchemaError:
                self.known[pair] = False
        return self.known[pair]

    def inner(self, schema: Any) -> Place:
        return Place(schema, self.root, self.depth + 1, self.known)


def shown(value: Any) -> str:
    """A value as errors show it, short: the sender knows what it sent."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else f"an array of {len(value)}"
    return json.dumps(value[:60] + "..." if isinstance(value, str) and len(value) > 60 else value)


def identity(value: Any) -> Any:
    """[schema.number-equality] A key that two values share if equal in JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, list):
        return "array", *map(identity, value)
    if isinstance(value, dict):
        return "object", frozenset((name, identity(member)) for name, member in value.items())
    return value


def check_type(value: Any, names: Any, at: Place) -> bool:
    kind, names = KINDS[type(value)], (names,) if isinstance(names, str) else names
    if kind in names or ("integer" in names and kind == "number" and value % 1 == 0):  # [schema.integer]
        return True
    raise SchemaError("", f"expected {' or '.join(names)}, got {shown(value)}")


def check_any_of(value: Any, schemas: list[Any], at: Place) -> bool:
    complaints = []
    for schema in schemas:
        try:
            return at.enter(value, schema)
        except SchemaError as error:
            complaints.append(str(error))
    raise SchemaError("", "; or ".join(complaints))


def check_one_of(value: Any, schemas: list[Any], at: Place) -> bool:
    fitting = sum(at.fits(value, schema) for schema in schemas)
    if fitting > 1:
        raise SchemaError("", f"fits {fitting} of the schemas in oneOf, and must fit one")
    return fitting == 1 or check_any_of(value, schemas, at)  # which says why


def check_required(value: Schema, names: Iterable[str], at: Place) -> bool:
    for name in names:
        if name not in value:
            raise SchemaError(name, "is required")
    return True


def is_multiple(value: float, step: float, at: Place) -> bool:
    from fractions import Fraction  # here, since few schemas need it, and it takes long to import

    return Fraction(str(value)) % Fraction(str(step)) == 0  # by their digits: 0.3 is a multiple of 0.1


def additional(value: Schema, schema: Any, at: Place) -> Applied:
    named, patterns = at.schema.get("properties", {}), at.schema.get("patternProperties", {})
    return [(name, schema) for name in value if name not in named and not any(re.search(p, name) for p in patterns)]


def unevaluated(value: Any, schema: Any, at: Place) -> Applied:
    others = {k: v for k, v in at.schema.items() if k not in ("unevaluatedProperties", "unevaluatedItems")}
    judged = judged_by(others, value, at)
    return [(key, schema) for key in (value if isinstance(value, dict) else range(len(value))) if key not in judged]


def judged_by(schema: Any, value: Any, at: Place) -> set[Any]:
    """The members that a schema has a say on, by itself or through the schemas that the same value fits."""
    if isinstance(schema, bool):
        return set()
    contained, at = schema.get("contains", False), at.inner(schema)
    judged = {i for i, item in enumerate(value) if at.fits(item, contained)} if isinstance(value, list) else set()
    asked = [*schema.get("anyOf", []), *schema.get("oneOf", []), schema.get("if", False)]
    same = [inner for inner in asked if at.fits(value, inner)]
    for keyword in schema.keys() & APPLICATORS.keys():
        subject, apply = APPLICATORS[keyword]
        for key, inner in apply(value, schema[keyword], at) if subject in (KINDS[type(value)], "any") else ():
            same += [inner] if key is None else []
            judged.add(key)
    return judged.union(*(judged_by(inner, value, at) for inner in same))


KINDS = {dict: "object", list: "array", str: "string", int: "number", float: "number", bool: "boolean",
         types.NoneType: "null"}  # fmt: skip
Rule = Callable[[Any, Any, Place], bool]
at_least: Rule = lambda value, least, at: len(value) >= least
at_most: Rule = lambda value, most, at: len(value) <= most
# Each row: the kind of values that it speaks about (all others satisfy it), and a rule for value, argument and
# place. It is False if the value does not satisfy it, or raises SchemaError where there is more to say.
ASSERTIONS: dict[str, tuple[str, Rule]] = {
    "type": ("any", check_type),
    "enum": ("any", lambda value, choices, at: identity(value) in map(identity, choices)),
    "const": ("any", lambda value, constant, at: identity(value) == identity(constant)),
    "anyOf": ("any", check_any_of),
    "oneOf": ("any", check_one_of),
    "not": ("any", lambda value, schema, at: not at.fits(value, schema)),
    "required": ("object", check_required),
    "dependentRequired": ("object", lambda value, needs, at:
        all(check_required(value, needs[name], at) for name in needs if name in value)),
    "propertyNames": ("object", lambda value, schema, at: all(at.enter(name, schema, name) for name in value)),
    "minProperties": ("object", at_least), "maxProperties": ("object", at_most),
    "minItems": ("array", at_least), "maxItems": ("array", at_most),
    "minLength": ("string", at_least), "maxLength": ("string", at_most),
    "contains": ("array", lambda value, schema, at: at.schema.get("minContains", 1)
        <= sum(at.fits(item, schema) for item in value) <= at.schema.get("maxContains", len(value))),
    "uniqueItems": ("array", lambda value, wanted, at: not wanted or len(set(map(identity, value))) == len(value)),
    "minimum": ("number", lambda value, least, at: value >= least),
    "maximum": ("number", lambda value, most, at: value <= most),
    "exclusiveMinimum": ("number", lambda value, below, at: value > below),
    "exclusiveMaximum": ("number", lambda value, above, at: value < above),
    "multipleOf": ("number", is_multiple),
    "pattern": ("string", lambda value, pattern, at: re.search(pattern, value) is not None),
}  # fmt: skip
Applied = Iterable[tuple[Any, Any]]  # key of a member, or None for the value itself; the schema it must satisfy
APPLICATORS: dict[str, tuple[str, Callable[[Any, Any, Place], Applied]]] = {
    "$ref": ("any", lambda value, reference, at: [(None, resolve(reference, at.root))]),
    "allOf": ("any", lambda value, schemas, at: [(None, schema) for schema in schemas]),
    "if": ("any", lambda value, schema, at: [
        (None, at.schema.get("then" if at.fits(value, schema) else "else", True))]),
    "dependentSchemas": ("object", lambda value, schemas, at: [
        (None, schemas[name]) for name in schemas if name in value]),
    "properties": ("object", lambda value, schemas, at: [
        (name, schemas[name]) for name in schemas if name in value]),
    "patternProperties": ("object", lambda value, schemas, at: [
        (name, schemas[pattern]) for pattern in schemas for name in value if re.search(pattern, name)]),
    "additionalProperties": ("object", additional),
    "prefixItems": ("array", lambda value, schemas, at: enumerate(schemas[: len(value)])),
    "items": ("array", lambda value, schema, at: [
        (i, schema) for i in range(len(at.schema.get("prefixItems", [])), len(value))]),
    "unevaluatedProperties": ("object", unevaluated),
    "unevaluatedItems": ("array", unevaluated),
}  # fmt: skip


def resolve(reference: str, root: Any) -> Any:
    """The schema that a $ref names: '#', '#/$defs/name' (a JSON pointer), '#anchor'; perhaps after $id."""
    document, _, fragment = unquote(reference).partition("#")
    if document not in ("", root.get("$id")):  # [schema.no-fetch]
        raise ValueError(f"{reference!r} is outside of this schema, and nothing is fetched")
    target = root
    if fragment and fragment[0] != "/":
        target = next((inner for _, inner in schemas_in(root, "") if inner.get("$anchor") == fragment), None)
    try:
        for token in fragment.split("/")[1:]:
            token = token.replace("~1", "/").replace("~0", "~")
            target = target[int(token) if isinstance(target, list) else token]
    except (LookupError, TypeError, ValueError):  # no such member; not a container; not an index
        target = None
    if type(target) not in (dict, bool):
        raise ValueError(f"{reference!r} names no schema in this document")
    return target


def check_schema(schema: Any, path: str = "schema") -> None:
    """Raise SchemaError, naming the place, if `check` could not work with a schema. For registration."""
    check(schema, SCHEMA, path)
    for place, inner in schemas_in(schema, path):
        for keyword in inner.keys() & (NOT_SUPPORTED if inner is schema else NOT_SUPPORTED | {"$id"}):
            raise SchemaError(f"{place}.{keyword}", "is not supported")  # [schema.refused-by-name]
    for place, inner in schemas_in(schema, path):
        for pattern in [*inner.get("patternProperties", []), inner.get("pattern", "")]:
            inside(place, re.compile, pattern)
        inside(place, resolve, inner.get("$ref", "#"), schema)


def schemas_in(schema: Any, path: str) -> Iterator[tuple[str, Schema]]:
    """A schema and all those inside it, the outer before the inner, with their places."""
    if isinstance(schema, bool):
        return
    yield path, schema
    for keyword, argument in schema.items():
        form, place = ARGUMENTS.get(keyword), f"{path}.{keyword}"
        if form is SCHEMA:
            yield from schemas_in(argument, place)
        elif form is SCHEMAS or form is SCHEMA_MAP:
            for key, inner in enumerate(argument) if form is SCHEMAS else argument.items():
                yield from schemas_in(inner, f"{place}.{key}")


# These demand something, so they are not passed over as other unknown keywords are, which are remarks.
NOT_SUPPORTED = {"$dynamicRef", "$recursiveRef", "dependencies"}
# What may stand beside a keyword, as a schema of schemas: the checker checks these, too.
SCHEMA: Schema = {"type": ["object", "boolean"]}
SCHEMAS: Schema = {"type": "array", "items": SCHEMA, "minItems": 1}
SCHEMA_MAP: Schema = {"type": "object", "additionalProperties": SCHEMA}
NAMES: Schema = {"type": "array", "items": {"type": "string"}}
TYPE: Schema = {"enum": [*KINDS.values(), "integer"]}
TEXT, NUMBER, COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ARGUMENTS: dict[str, Schema] = {
    **dict.fromkeys("not if then else items contains additionalProperties propertyNames".split(), SCHEMA),
    **dict.fromkeys("unevaluatedItems unevaluatedProperties".split(), SCHEMA),
    **dict.fromkeys("allOf anyOf oneOf prefixItems".split(), SCHEMAS),
    # `definitions` is the name of `$defs` in older drafts, still written by many tools.
    **dict.fromkeys("properties patternProperties dependentSchemas $defs definitions".split(), SCHEMA_MAP),
    **dict.fromkeys("minLength maxLength minItems maxItems minContains maxContains".split(), COUNT),
    **dict.fromkeys("minProperties maxProperties".split(), COUNT),
    **dict.fromkeys("minimum maximum exclusiveMinimum exclusiveMaximum".split(), NUMBER),
    **dict.fromkeys("pattern $ref $id $anchor".split(), TEXT),
    "type": {"anyOf": [TYPE, {"type": "array", "items": TYPE}]}, "enum": {"type": "array"}, "const": {},
    "multipleOf": NUMBER | {"exclusiveMinimum": 0}, "uniqueItems": {"type": "boolean"},
    "required": NAMES, "dependentRequired": {"type": "object", "additionalProperties": NAMES},
    # [schema.support-2020-12] [schema.validate-by-dialect] [schema.unsupported-dialect] Others are refused by name.
    "$schema": {"enum": [DIALECT, DIALECT + "#"]},
}  # fmt: skip
SCHEMA["properties"] = ARGUMENTS  # and so a schema is checked with all that is inside it


# ---- 7 Context ---------------------------------------------------------------------------------------
# What a handler may say and do while it runs: content for a model, questions for a client, and the Context,
# which is one call: report, log, ask, look at its own request. It does not know how its client is asked,
# since the eras differ in that: they hand in `ask_client`.

BINARY = "application/octet-stream"
CONTENT_TYPES = frozenset({"text", "image", "audio", "resource", "resource_link", "tool_use", "tool_result"})


class Media:
    """Binary content from a handler: Image(path='a.png') or Image(data=b'...', format='png')."""

    kind, default_format = "", ""

    def __init__(self, path: str | Path | None = None, data: bytes | None = None, format: str | None = None) -> None:
        if (path is None) == (data is None):
            raise ValueError("give either a path or data")
        self.data = data if data is not None else Path(path or "").read_bytes()
        format = (format or Path(path or "").suffix.lstrip(".") or self.default_format).lower()
        subtype = {"jpg": "jpeg", "mp3": "mpeg", "svg": "svg+xml"}.get(format, format)
        self.mime_type = f"{self.kind}/{subtype}"


class Image(Media):
    kind, default_format = "image", "png"


class Audio(Media):
    kind, default_format = "audio", "wav"


@dataclass(slots=True)
class ToolResult:
    """A tool's whole answer, for what a plain return value cannot say."""

    content: Any = ()  # what `content_block` takes, or a list of it
    structured: Message | None = None
    is_error: bool = False
    meta: Message | None = None


def user(content: Any) -> Message:
    """A prompt or sampling message: 'hello' -> {'role': 'user', 'content': {'type': 'text', 'text': 'hello'}}."""
    return {"role": "user", "content": content_block(content)}


def assistant(content: Any) -> Message:
    return {"role": "assistant", "content": content_block(content)}


def content_block(value: Any) -> Message:
    """[tool.content-types] Make a content block: 'hi' -> {'type': 'text', 'text': 'hi'}. Data becomes JSON text."""
    if isinstance(value, dict) and is_content(value):
        return value
    if isinstance(value, Media):  # [prompt.media]
        return {"type": value.kind, "data": to_base64(value.data), "mimeType": value.mime_type}
    if isinstance(value, bytes):  # [prompt.embedded]
        resource = {"uri": f"data:{BINARY}", "mimeType": BINARY, "blob": to_base64(value)}
        return {"type": "resource", "resource": resource}
    return {"type": "text", "text": value if isinstance(value, str) else to_text(value)}


def is_content(value: Any) -> bool:
    """Whether a value is something that a model sees, rather than data."""
    if isinstance(value, dict):
        return isinstance(value.get("type"), str) and value["type"] in CONTENT_TYPES
    return isinstance(value, (str, bytes, Media))


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def to_text(value: Any) -> str:
    """Data as JSON for a model to read. ValueError for NaN."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


@dataclass(slots=True)
class Question:
    """A request to the client, and how its answer is read."""

    method: str  # 'elicitation/create'
    params: Message
    capabilities: Sequence[str]  # that the client must have declared: ('sampling', 'sampling.tools')
    read: Callable[[Message], Any]  # raises ValueError where the answer is not of the right shape


class MissingCapability(ToolError):
    """Raised by `Context.ask`: the client did not declare what a question needs, 'sampling.tools' say."""

    def __init__(self, *paths: str) -> None:
        super().__init__(f"the client cannot be asked: it did not declare the capability {', '.join(paths)}")
        self.required: Message = {}  # as the client would declare it: {'sampling': {'tools': {}}}
        for path in paths:
            inner = self.required
            for name in path.split("."):
                inner = inner.setdefault(name, {})


class InputRequired(BaseException):
    """Ends a call with questions, for a client of 2026-07-28: `InputRequired({'name': elicit_form(...)}, state='1')`.

    `Context.ask` does this by itself. An author may also return or raise it, and read `ctx.input_responses` and
    `ctx.request_state` when the client calls again. It is no Exception: it must pass through handlers that catch these.
    """

    def __init__(self, questions: dict[str, Question] | None = None, state: str | None = None) -> None:
        super().__init__()
        self.questions, self.state = questions or {}, state


@dataclass(slots=True)
class ElicitResult:
    """What the user did: action is 'accept', 'decline' or 'cancel'; only an accepted form has content."""

    action: str
    content: Message | None = None
    data: Any = None  # the content as the class that was asked for, or the content itself


def elicit_form(message: str, schema: Any) -> Question:
    """Ask the user to fill in a form. The schema is a dict, or a class with fields of simple types. ValueError."""
    requested, hint = (schema, Any) if isinstance(schema, dict) else (without_null(schema_of(schema)), schema)
    if requested.get("type") != "object":
        raise ValueError("a form is asked for by the schema of an object, or a class with fields")
    # [elicit.form-request] [elicit.flat-schema] [elicit.enum-forms] Clients build a form from this: nothing is nested.
    for name, member in requested.get("properties", {}).items():
        simple = member.get("type") in ("string", "number", "integer", "boolean") or {"enum", "oneOf"} & member.keys()
        several = member.get("type") == "array" and {"enum", "anyOf"} & member.get("items", {}).keys()
        if not simple and not several:
            raise ValueError(f"the form's property {name!r} must be a string, a number, a boolean or an enum")

    def read(answer: Message) -> ElicitResult:
        if answer.get("action") != "accept":
            return read_action(answer)
        content = answer.get("content")
        check(content, requested, "content")  # [elicit.validate-received]
        return ElicitResult("accept", content, convert(content, hint))

    return Question("elicitation/create", {"message": message, "requestedSchema": requested}, ("elicitation",), read)


def without_null(schema: Schema) -> Schema:
    """Write a class's schema as forms know it: anyOf: [{'type': 'string'}, {'type': 'null'}] -> {'type': 'string'}."""
    properties = dict(schema.get("properties", {}))
    for name, member in properties.items():
        kinds = [kind for kind in member.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            remarks = {key: value for key, value in member.items() if key != "anyOf" and value is not None}
            properties[name] = kinds[0] | remarks
    return {"type": schema.get("type"), "properties": properties, "required": schema.get("required", [])}


def read_action(answer: Message) -> ElicitResult:
    if answer.get("action") not in ("accept", "decline", "cancel"):  # [elicit.actions]
        raise ValueError("expected an action, one of accept, decline, cancel")
    return ElicitResult(answer["action"])


def elicit_url(message: str, url: str, elicitation_id: str) -> Question:
    """Ask the user to visit a URL, for what must not pass through the client (2025-11-25 and later)."""
    params = {"mode": "url", "message": message, "url": url, "elicitationId": elicitation_id}  # [elicit.url-request]
    return Question("elicitation/create", params, ("elicitation.url",), read_action)


def sample_message(
    messages: str | list[Message], *, max_tokens: int = 1000, system_prompt: str | None = None,
    temperature: float | None = None, model_preferences: Message | None = None, metadata: Message | None = None,
    stop_sequences: list[str] | None = None, include_context: str | None = None,
    tools: list[Message] | None = None, tool_choice: Message | None = None,
) -> Question:  # fmt: skip
    """Ask the client's model; the answer is the CreateMessageResult, a dict. A str is one user message. ValueError."""
    messages = [user(messages)] if isinstance(messages, str) else messages
    check_tool_balance(messages)
    needs = ["sampling"]
    if tools is not None or tool_choice is not None:  # [sampling.tools-declared]
        needs.append("sampling.tools")
    if include_context not in (None, "none"):  # [sampling.context-declared]
        needs.append("sampling.context")
    params = present(messages=messages, maxTokens=max_tokens, systemPrompt=system_prompt, temperature=temperature,
                     modelPreferences=model_preferences, metadata=metadata, stopSequences=stop_sequences,
                     includeContext=include_context, tools=tools, toolChoice=tool_choice)  # fmt: skip
    return Question("sampling/createMessage", params, needs, read_sample)


def check_tool_balance(messages: list[Message]) -> None:
    """[sampling.tool-balance] [sampling.tool-results-only] Each tool use is answered in the very next message."""
    asked: set[str] = set()
    for message in [*messages, {"content": []}]:  # a tool use in the last message would stay unanswered
        blocks = blocks_of(message)
        answered = {block["toolUseId"] for block in blocks if block["type"] == "tool_result"}
        if answered != asked or answered and len(answered) != len(blocks):
            raise ValueError("the message after a tool_use must hold a tool_result for each, and nothing else")
        asked = {block["id"] for block in blocks if block["type"] == "tool_use"}


def read_sample(answer: Message) -> Message:
    """[sampling.validate-content] Check a CreateMessageResult and return it. ValueError."""
    if not all(isinstance(block, dict) and is_content(block) for block in blocks_of(answer)):
        raise ValueError("expected content: one or several content blocks")
    if not isinstance(answer.get("model"), str) or answer.get("role") not in ("user", "assistant"):
        raise ValueError("expected a message with role, content and model")
    return answer


def list_roots() -> Question:
    """Ask for the folders that the client works in: [{'uri': 'file:///home/ada', 'name': 'home'}].

    [roots.changes] Nothing is remembered between two questions, so a change of the roots needs no handling.
    """

    def read(answer: Message) -> list[Message]:  # [roots.list]
        roots = answer.get("roots")
        if not isinstance(roots, list) or not all(isinstance(r, dict) and isinstance(r.get("uri"), str) for r in roots):
            raise ValueError("expected roots: a list of objects with a uri")
        return roots

    return Question("roots/list", {}, ("roots",), read)


def blocks_of(message: Message) -> list[Message]:
    content = message.get("content")
    return content if isinstance(content, list) else [content]  # type: ignore[list-item]


def text_of(message: Message) -> str:
    """The text of a prompt or sampling message: {'content': {'type': 'text', 'text': 'a'}} -> 'a'."""
    return "\n".join(block["text"] for block in blocks_of(message) if block["type"] == "text")


def present(**members: Any) -> Message:
    """Keep what is not None, since in MCP an optional member is left out and never null: (a=1, b=None) -> {'a': 1}."""
    return {name: value for name, value in members.items() if value is not None}


@dataclass(slots=True, eq=False)
class Context:
    """One call, as its handler sees it."""

    server: MCPServer
    request: Request
    message: Message  # the JSON-RPC request
    protocol_version: str
    client_info: Message
    client_capabilities: Message
    exchange: Exchange
    ask_client: Callable[[Context, dict[str, Question]], Awaitable[dict[str, Any]]]
    session: Session | None = None
    meta: Message = field(default_factory=dict)  # the request's `_meta`
    task: asyncio.Task[Any] | None = None  # that the handler runs in
    cancelled: str | None = None  # why the call was cancelled; a plain `def` handler looks at it and stops
    log_level: int = LOG_LEVELS.index("info")  # messages below it are not sent
    progress: float = -math.inf  # the last one reported
    waits: set[concurrent.futures.Future[Any]] = field(default_factory=set)  # of a plain handler, see `wait`
    # The questions asked so far, and what a retry of the call brought with it (2026-07-28).
    keys: set[str] = field(default_factory=set)
    answers: Message = field(default_factory=dict)  # key -> what was accepted as its answer
    input_responses: Message = field(default_factory=dict)  # key -> what the client says
    request_state: str | None = None  # the `state` of the InputRequired that came before

    @property
    def headers(self) -> dict[str, str]:
        """This request's HTTP header fields, by lower-case name."""
        return self.request.headers

    @property
    def request_id(self) -> str | int:
        return typing.cast("str | int", self.message["id"])

    @property
    def principal(self) -> str | None:
        """Who the client proved to be, or None where nobody asked."""
        return self.request.principal

    @property
    def scopes(self) -> frozenset[str]:
        """What its token allows it, as `verify` said."""
        return self.request.scopes

    @property
    def session_id(self) -> str | None:
        return self.session.id if self.session else None

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell how far the call has come, if the client asked to know. Only an increase is sent."""
        token = self.meta.get("progressToken")
        # [progress.active-token-only] [progress.token-type] [progress.increases] 0 and '' are tokens too.
        if type(token) in (str, int) and progress > self.progress and self in self.server.calls:
            self.progress = progress
            params = {"progressToken": token, "progress": progress, **present(total=total, message=message)}
            await self.exchange.send(encode_notification("notifications/progress", params))

    async def log(self, level: str, data: Any, logger_name: str | None = None) -> None:
        """Send a log message. Levels: debug, info, notice, warning, error, critical, alert, emergency."""
        if level not in LOG_LEVELS:
            raise ValueError(f"there is no log level {level!r}: use one of {', '.join(LOG_LEVELS)}")
        if LOG_LEVELS.index(level) >= self.log_level:  # [log.message]
            params = {"level": level, "data": plain(data), **present(logger=logger_name)}
            await self.exchange.send(encode_notification("notifications/message", params))

    debug = functools.partialmethod(log, "debug")
    info = functools.partialmethod(log, "info")
    warning = functools.partialmethod(log, "warning")
    error = functools.partialmethod(log, "error")

    async def ask(self, **questions: Question) -> dict[str, Any]:
        """Ask several things at once: `ask(who=elicit_form(...), roots=list_roots())` -> {'who': ..., 'roots': ...}.

        The rule for authors: ask first, act after. A client of 2026-07-28 answers by calling again, and then the
        handler runs again from the top, where each question that has been answered returns at once. So neither the
        keys nor the order of questions may depend on chance, and what comes before the last of them happens twice.
        Raises ToolError where the client cannot be asked (MissingCapability, if it did not declare what it takes),
        does not answer in time, or answers with an error or in a wrong shape.
        """
        if self.keys & questions.keys():  # [mrtr.keys-unique]
            raise ValueError(f"each question needs a key of its own: {', '.join(self.keys & questions.keys())}")
        self.keys |= questions.keys()
        return await self.ask_client(self, questions)

    async def ask_one(self, question: Question, key: str | None) -> Any:
        """Ask one thing. Without a key of the author's it gets one that tells its place: 'question-1'."""
        key = key or f"question-{len(self.keys) + 1}"
        return (await self.ask(**{key: question}))[key]

    async def elicit(self, message: str, schema: Any, *, key: str | None = None) -> ElicitResult:
        """Ask the user to fill in a form; see `elicit_form`, and `ask` for what may go wrong."""
        return typing.cast(ElicitResult, await self.ask_one(elicit_form(message, schema), key))

    async def elicit_url(self, message: str, url: str, elicitation_id: str, *, key: str | None = None) -> ElicitResult:
        """Ask the user to visit a URL; 'accept' means that they agreed to, not that they are done."""
        return typing.cast(ElicitResult, await self.ask_one(elicit_url(message, url, elicitation_id), key))

    async def sample(self, messages: str | list[Message], *, key: str | None = None, **options: Any) -> Message:
        """Ask the client's model; see `sample_message` for the options, and `text_of` to read the answer."""
        return typing.cast(Message, await self.ask_one(sample_message(messages, **options), key))

    async def list_roots(self, *, key: str | None = None) -> list[Message]:
        """Ask for the client's roots; see the function of the same name."""
        return typing.cast("list[Message]", await self.ask_one(list_roots(), key))

    async def ping(self) -> None:
        """Find out whether the client is there; a client of 2026-07-28 cannot be asked."""
        await self.ask_one(Question("ping", {}, (), lambda answer: answer), None)

    async def read_resource(self, uri: str) -> list[Message]:
        """Read one of this server's resources: a list of {'uri', 'mimeType', 'text' or 'blob'}."""
        return await self.server.read_resource(self, uri)

    async def close_sse_stream(self) -> None:
        """Close the connection and go on: the client comes back for the result (2025-11-25; else nothing happens).

        [stream.close-to-poll] For a call that takes minutes, so that no connection has to last so long.
        [stream.open-until-response] An older client would take the end of the stream for the end of the call.
        """
        if self.session is not None and self.session.primes and self.exchange.takes_stream:
            self.exchange.open()
            await asyncio.sleep(0)  # a turn for the stream's first event, which says where and when to resume
            if self.exchange.stream:
                self.exchange.stream.detach()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Use a coroutine from a plain `def` handler, in its thread: `ctx.wait(ctx.info('half way'))`."""
        if self.server.loop is None or self.server.loop_thread == threading.get_ident():
            raise RuntimeError("Context.wait is for plain handlers, which run in threads; here, await the coroutine")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.server.loop)
        self.waits.add(future)
        if self.cancelled is not None:
            future.cancel()
        try:
            return future.result()
        finally:
            self.waits.discard(future)

    def cancel(self, reason: str) -> None:
        """Stop the call: its task, and what a plain handler waits for. That handler itself must look at `cancelled`."""
        self.cancelled = reason
        for future in list(self.waits):
            future.cancel()
        if self.task is not None:
            self.task.cancel()


# ---- 8 Tools, resources, prompts ---------------------------------------------------------------------
# What a server offers, and the decorators that register it. All that can be known beforehand (schemas,
# definitions, list results) is made at registration, so that a call only looks up. Promised to those
# below: `Catalog` answers every lookup with plain data, and calls `announce` when a list has changed.

Function = TypeVar("Function", bound=Callable[..., Any])
Cache = tuple[int, str]  # for how many milliseconds a client may keep a result, and for whom: 'public' or 'private'


class Handler:
    """A registered function, looked at once. TypeError where it could not be called, or a hint cannot be used."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if any(p.kind is p.POSITIONAL_ONLY for p in inspect.signature(function).parameters.values()):
            raise TypeError(f"{function!r} has positional-only parameters, but arguments come by name")
        self.function, hints = function, typing.get_type_hints(function)
        # Whether it is a coroutine function; a plain one gets a thread.
        self.waits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        # The parameter that takes the Context, if there is one, and the form of the others.
        self.context = next((name for name, hint in hints.items() if hint is Context and name != "return"), None)
        self.form = signature_form(function, frozenset([self.context] if self.context else []))

    async def __call__(self, ctx: Context, arguments: Message) -> Any:
        if self.context:
            arguments = {**arguments, self.context: ctx}
        try:
            if self.waits:
                value = await self.function(**arguments)
            else:
                value = await ctx.server.call_in_thread(functools.partial(self.function, **arguments))
        except SystemExit as error:  # argparse, say, dislikes its arguments: that is no reason for us to go
            raise RuntimeError(f"the handler tried to end the process: {error}") from error
        except BaseExceptionGroup as group:  # of a TaskGroup in the handler, whose tasks have asked
            asked = [error for error in group.exceptions if isinstance(error, InputRequired)]
            if len(asked) < len(group.exceptions):
                raise
            raise InputRequired({key: q for error in asked for key, q in error.questions.items()}) from None
        if isinstance(value, InputRequired):
            raise value
        return value

    def read_texts(self, texts: Message, what: str) -> Message:
        """[prompt.invalid-params] Turn strings, all that prompts and templates have, into hinted types. RPCError."""
        properties = self.form.schema["properties"]
        try:
            values = {name: read_text(text, properties.get(name, {})) for name, text in texts.items()}
            check(values, self.form.schema, "arguments")
            return typing.cast(Message, self.form.read(values))
        except ValueError as error:
            raise RPCError(INVALID_PARAMS, f"{what}: {error}") from None


def read_text(text: Any, schema: Schema) -> Any:
    """The value that a string stands for: ('5', {'type': 'integer'}) -> 5."""
    try:
        check(text, schema)
    except ValueError:  # not meant as a string
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            return json.loads(text)
    return text


@dataclass(slots=True)
class Tool:
    handler: Handler
    definition: Message  # as tools/list shows it
    reads: bool  # whether arguments are turned into the hinted types; not under a schema of the author's
    wraps: bool  # whether data goes into {'result': ...}, since structuredContent is always an object
    headers: dict[tuple[str, ...], str]  # ('where', 'region') -> 'mcp-param-region', which mirrors that argument
    scopes: frozenset[str]  # that a caller's token must have

    async def call(self, ctx: Context, arguments: Message) -> Message:
        """Check the arguments, run the handler, and make a CallToolResult of what it returns."""
        check(arguments, self.definition["inputSchema"], "arguments")  # [tool.validate-inputs]
        if self.reads:
            arguments = self.handler.form.read(arguments)
        value = await self.handler(ctx, arguments)
        return self.result(value if isinstance(value, ToolResult) else self.read_value(value))

    def read_value(self, value: Any) -> ToolResult:
        """Tell content, which a model sees, from data, which is for programs as well."""
        if "outputSchema" not in self.definition:
            items = [] if value is None else value if value and isinstance(value, (list, tuple)) else [value]
            if all(map(is_content, items)):
                return ToolResult(items)
        data = plain(value)
        # [tool.structured-object] [tool.structured-also-text]
        return ToolResult([to_text(data)], data if isinstance(data, dict) and not self.wraps else {"result": data})

    def result(self, value: ToolResult) -> Message:
        if "outputSchema" in self.definition and not value.is_error:
            check(value.structured, self.definition["outputSchema"], "structuredContent")  # [tool.output-conforms]
        items = value.content if isinstance(value.content, (list, tuple)) else [value.content]
        result: Message = {"content": [content_block(item) for item in items]}
        if value.structured is not None:
            result["structuredContent"] = value.structured
            result["content"] = result["content"] or [content_block(to_text(value.structured))]
        if value.is_error:
            result["isError"] = True
        if value.meta is not None:
            result["_meta"] = value.meta
        return result


def mirrored_headers(schema: Schema) -> dict[tuple[str, ...], str]:
    """[header.annotation-valid] Find the arguments that clients repeat in headers, by `x-mcp-header`. ValueError."""
    headers: dict[tuple[str, ...], str] = {}
    found: list[tuple[tuple[str, ...], Schema]] = [((), schema)]
    for path, inner in found:  # which grows as we go
        members = inner.get("properties", {})
        found += [((*path, name), member) for name, member in members.items() if isinstance(member, dict)]
        if "x-mcp-header" not in inner:
            continue
        name, where = inner["x-mcp-header"], f"x-mcp-header of {'.'.join(path)}"
        if not isinstance(name, str) or not re.fullmatch(TOKEN, name):
            raise ValueError(f"{where}: expected a header name, got {name!r}")
        if inner.get("type") not in ("string", "integer", "boolean"):
            raise ValueError(f"{where}: its type must be string, integer or boolean")
        if f"mcp-param-{name.lower()}" in headers.values():
            raise ValueError(f"x-mcp-header {name!r} is given to two arguments")
        headers[path] = f"mcp-param-{name.lower()}"
    if len(headers) != sum("x-mcp-header" in inner for _, inner in schemas_in(schema, "")):
        raise ValueError("x-mcp-header stands where no fixed path of properties leads: in items, anyOf or $defs, say")
    return headers


def promises_data(hint: Any) -> bool:
    """Whether a return hint tells what structuredContent will be; str and Image are content, Any is anything."""
    origin, args = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        return promises_data(args[0])
    if origin is dict:
        return bool(args) and args[1] is not Any
    if origin in (list, tuple, Union, types.UnionType):
        return bool(args) and all(promises_data(arg) for arg in args if arg not in (..., types.NoneType))
    return origin not in (Any, None, types.NoneType, str, bytes, Image, Audio, ToolResult)


@dataclass(slots=True)
class Resource:
    handler: Handler
    definition: Message
    template: tuple[str, ...]  # 'doc://{a}/{+b}' -> ('doc://', 'a', '/', '+b', ''); one part is a plain URI
    cache: Cache | None  # None: as the server has it for all

    async def read(self, ctx: Context, uri: str, variables: Message) -> list[Message]:
        value = await self.handler(ctx, self.handler.read_texts(variables, uri))
        values = value if isinstance(value, list) else [value]
        if all(isinstance(item, dict) and "uri" in item and ("text" in item or "blob" in item) for item in values):
            return list(values)
        return [self.contents(uri, value)]

    def contents(self, uri: str, value: Any) -> Message:
        """Bytes become a blob; text stays text, and data becomes JSON text."""
        if isinstance(value, (bytes, Media)):  # [resource.binary-encoded]
            data, kind = (value, BINARY) if isinstance(value, bytes) else (value.data, value.mime_type)
            return {"uri": uri, "mimeType": self.definition.get("mimeType", kind), "blob": to_base64(data)}
        text, kind = (value, "text/plain") if isinstance(value, str) else (to_text(value), "application/json")
        return {"uri": uri, "mimeType": self.definition.get("mimeType", kind), "text": text}


def parse_template(template: str) -> tuple[str, ...]:
    """[uri.template] Split a URI template, simple or reserved expansion: 'a/{x}b' -> ('a/', 'x', 'b'). ValueError."""
    parts = tuple(re.split(r"\{(\+?\w+)\}", template, flags=re.ASCII))
    if any("{" in literal or "}" in literal for literal in parts[::2]) or "" in parts[2:-1:2]:
        raise ValueError(f"cannot use the URI template {template!r}: write {{name}} or {{+path}}, with text between")
    return parts


def match_template(parts: tuple[str, ...], uri: str) -> dict[str, str] | None:
    """Find the variables of a URI: (('a/', 'x', 'b'), 'a/1b') -> {'x': '1'}; None where it does not match.

    [template.linear] A variable ends where the text after it first occurs; the last takes what is left. So this is one
    pass: no pattern is built from a template, and no input makes it slow. Only {+path} may hold a slash.
    """
    first, last, values = parts[0], parts[-1], {}
    if len(uri) < len(first) + len(last) or not uri.startswith(first) or not uri.endswith(last):
        return None
    uri = uri[len(first) : len(uri) - len(last)]
    for name, literal in zip(parts[1::2], [*parts[2:-1:2], ""]):
        value, found, uri = uri.partition(literal) if literal else (uri, "", "")
        if not value or found != literal or "/" in value and name[0] != "+":
            return None
        values[name.removeprefix("+")] = unquote(value)  # [uri.percent-decoded]
    return values


@dataclass(slots=True)
class Prompt:
    handler: Handler
    definition: Message

    async def get(self, ctx: Context, texts: Message) -> Message:  # [prompt.get]
        value = await self.handler(ctx, self.handler.read_texts(texts, f"prompt {self.definition['name']}"))
        messages = [
            {**m, "content": content_block(m.get("content"))} if isinstance(m, dict) and "role" in m else user(m)
            for m in (value if isinstance(value, list) else [value])
        ]
        return present(description=self.definition.get("description"), messages=messages)


class Catalog:
    """[list.announces-itself] The tools, resources and prompts of one server. Adding or removing one announces it.

    Details of an entry (title, description, annotations, icons, ...) travel as they are given; `meta` is `_meta`.
    Name, description and schemas come from the function where they are not given.
    """

    def __init__(self) -> None:
        self.tools: dict[str, Tool] = {}
        self.resources: dict[str, Resource] = {}  # by URI
        self.templates: dict[str, Resource] = {}  # by URI template
        self.prompts: dict[str, Prompt] = {}
        self.completer: Handler | None = None
        self.pages: dict[tuple[str, str, bool], bytes] = {}  # (member, cursor, era) -> list result, until one changes

    # Notices, for any thread. Each reaches every client that listens, in the way of its revision.

    def announce(self, method: str, params: Message | None = None) -> None:
        raise NotImplementedError  # the server below knows who listens

    def notify_tools_changed(self) -> None:
        self.announce("notifications/tools/list_changed")

    def notify_prompts_changed(self) -> None:
        self.announce("notifications/prompts/list_changed")

    def notify_resources_changed(self) -> None:
        self.announce("notifications/resources/list_changed")

    def notify_resource_updated(self, uri: str) -> None:
        self.announce("notifications/resources/updated", {"uri": uri})

    # Registration. The decorators take what the `add_` methods take, and return the function unchanged.

    def tool(self, name: str | None = None, **details: Any) -> Callable[[Function], Function]:
        return decorator(lambda function: self.add_tool(function, name, **details))

    def resource(self, uri: str, **details: Any) -> Callable[[Function], Function]:
        return decorator(lambda function: self.add_resource(function, uri, **details))

    def prompt(self, name: str | None = None, **details: Any) -> Callable[[Function], Function]:
        return decorator(lambda function: self.add_prompt(function, name, **details))

    def completion(self) -> Callable[[Function], Function]:
        """Register `complete(ref, argument, context)`, which returns a list of suggested values, or None."""
        return decorator(lambda function: setattr(self, "completer", Handler(function)))

    def add_tool(
        self, function: Callable[..., Any], name: str | None = None, *, title: str | None = None,
        description: str | None = None, annotations: Message | None = None, icons: list[Message] | None = None,
        meta: Message | None = None, input_schema: Schema | None = None, output_schema: Schema | None = None,
        scopes: str | Iterable[str] = (),
    ) -> None:  # fmt: skip
        """Register a tool. [tool.definition] A schema that is given is shown unchanged and enforced.

        Under `auth`, a caller needs a token with these scopes, beside those that the server wants for everything.
        [schema.dialects-documented] Schemas are JSON Schema 2020-12, whatever they say. ValueError or TypeError for
        what cannot work: a bad name, a schema that leads nowhere, a hint that JSON has no form for.
        """
        name, handler = name or function.__name__, Handler(function)
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name):  # [tool.name-form]
            raise ValueError(f"tool name {name!r}: expected 1 to 128 letters, digits, '_', '-' or '.'")
        returns, wraps = typing.get_type_hints(function, include_extras=True).get("return", Any), False
        if output_schema is None and promises_data(returns):
            output_schema = schema_of(returns)
            wraps = output_schema.get("type") != "object"
            if wraps:
                defs = present(**{"$defs": output_schema.pop("$defs", None)})  # $ref looks for them at the root
                members = {"result": output_schema}
                output_schema = {"type": "object", "properties": members, "required": ["result"]} | defs
        for schema in (input_schema, output_schema):
            if schema is not None:
                check_schema(schema)  # [schema.valid]
                if schema.get("type") != "object":  # [tool.input-schema]
                    raise ValueError(f"tool {name}: a schema must say 'type': 'object' at its root")
        definition = define(function, description, name=name, title=title,
                            inputSchema=handler.form.schema if input_schema is None else input_schema,
                            outputSchema=output_schema, annotations=annotations, icons=icons, _meta=meta)  # fmt: skip
        headers = mirrored_headers(definition["inputSchema"])
        self.tools[name] = Tool(handler, definition, input_schema is None, wraps, headers, read_scopes(scopes))
        self.notify_tools_changed()

    def add_resource(
        self, function: Callable[..., Any], uri: str, *, name: str | None = None, title: str | None = None,
        description: str | None = None, mime_type: str | None = None, size: int | None = None,
        annotations: Message | None = None, icons: list[Message] | None = None, meta: Message | None = None,
        cache: Cache | None = None,
    ) -> None:  # fmt: skip
        """Register a resource, or a template such as 'doc://{name}', whose variables are the parameters. ValueError."""
        handler, parts = Handler(function), parse_template(uri)
        variables, schema = {part.removeprefix("+") for part in parts[1::2]}, handler.form.schema
        needed = set(schema.get("required", ()))
        taken = schema["properties"].keys() if "additionalProperties" in schema else variables  # or **anything
        if not needed <= variables <= taken:
            raise ValueError(f"the variables of {uri!r} and the parameters of {function.__name__} are not the same")
        key, table = ("uriTemplate", self.templates) if variables else ("uri", self.resources)  # [resource.templates]
        definition = define(function, description, **{key: uri}, name=name or function.__name__, title=title, size=size,
                            mimeType=mime_type, annotations=annotations, icons=icons, _meta=meta)  # fmt: skip
        table[uri] = Resource(handler, definition, parts, None if cache is None else check_cache(cache))
        self.notify_resources_changed()

    def add_prompt(
        self, function: Callable[..., Any], name: str | None = None, *, title: str | None = None,
        description: str | None = None, icons: list[Message] | None = None, meta: Message | None = None,
    ) -> None:  # fmt: skip
        """Register a prompt. Its parameters are its arguments, which are strings on the wire."""
        name, handler = name or function.__name__, Handler(function)
        required = handler.form.schema.get("required", ())
        arguments = [
            present(name=argument, description=schema.get("description"), required=argument in required)
            for argument, schema in handler.form.schema["properties"].items()
        ]
        definition = define(function, description, name=name, title=title, arguments=arguments or None,
                            icons=icons, _meta=meta)  # fmt: skip
        self.prompts[name] = Prompt(handler, definition)
        self.notify_prompts_changed()

    def remove_tool(self, name: str) -> None:
        """Raises KeyError where there is no such tool; so do the other two."""
        del self.tools[name]
        self.notify_tools_changed()

    def remove_resource(self, uri: str) -> None:
        del (self.templates if uri in self.templates else self.resources)[uri]
        self.notify_resources_changed()

    def remove_prompt(self, name: str) -> None:
        del self.prompts[name]
        self.notify_prompts_changed()

    # Looking up.

    def find_resource(self, uri: str) -> tuple[Resource, dict[str, str]]:
        """Find what a URI names, and its variables. Raises RPCError where it names nothing."""
        if uri in self.resources:
            return self.resources[uri], {}
        for resource in self.templates.values():  # [resource.validate-uri]
            variables = match_template(resource.template, uri)
            if variables is not None:
                return resource, variables
        raise RPCError(RESOURCE_NOT_FOUND, f"Resource not found: {uri}", {"uri": uri})  # [resource.not-found]

    async def read_resource(self, ctx: Context, uri: str) -> list[Message]:
        resource, variables = self.find_resource(uri)
        return await resource.read(ctx, uri, variables)


def check_cache(cache: Cache) -> Cache:
    """[cache.form] (60_000, 'public') is for how many milliseconds, at least 0, and for whom. ValueError."""
    if type(cache[0]) is not int or cache[0] < 0 or cache[1] not in ("public", "private"):
        raise ValueError(f"cache {cache!r}: expected milliseconds and 'public' or 'private'")
    return cache


def read_scopes(scopes: str | Iterable[str]) -> frozenset[str]:
    """[auth.scope-form] Scopes come as OAuth writes them, or one by one: 'a b' -> {'a', 'b'}. ValueError."""
    names = frozenset(scopes.split() if isinstance(scopes, str) else scopes)
    for name in names:
        if not QUOTABLE.fullmatch(name):
            raise ValueError(f"scope {name!r}: expected visible ASCII characters other than \" and \\")
    return names


def decorator(add: Callable[[Callable[..., Any]], None]) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        add(function)
        return function

    return register


def define(function: Callable[..., Any], description: str | None, **members: Any) -> Message:
    """Make a definition as lists show it; the docstring describes what nobody described otherwise."""
    return present(**members, description=description if description is not None else inspect.getdoc(function))


# ---- 9 Sessions --------------------------------------------------------------------------------------
# A session ties a client's POSTs and streams together. Sessions are a dict in order of use: use moves one
# to the end, expiry pops from the front, so neither costs more when there are ten thousand. Expiry, DELETE
# and shutdown all end in `Sessions.end`, which cancels what runs, ends the streams and forgets the rest.


@dataclass(slots=True, eq=False)
class Session:
    """What the server remembers of one client between its requests."""

    # For the whole life.
    id: str
    principal: str | None  # who opened it; nobody else may use it
    version: str  # the protocol revision that was negotiated
    client_info: Message
    client_capabilities: Message
    sessions: Sessions  # all of them
    two_channel: bool  # which binding it was opened by, this or the single endpoint; the other does not serve it
    # Now.
    used: float  # when, by the server's clock
    log_level: int = LOG_LEVELS.index("info")
    calls: set[Context] = field(default_factory=set)  # in flight
    subscriptions: set[str] = field(default_factory=set)  # URIs
    questions: dict[int, asyncio.Future[Message]] = field(default_factory=dict)  # our request id -> its response
    asked: int = 0  # questions so far, which numbers them: [request.id-fresh]
    standalone: Stream | None = None  # what a GET without Last-Event-ID reads
    streams: dict[str, Stream] = field(default_factory=dict)  # by name, for clients that come back
    tool_streams: dict[str, Stream] = field(default_factory=dict)  # tool -> its own stream, of two channels

    @property
    def alive(self) -> bool:
        """Whether it is in use right now: a call in flight, or a connection attached to a stream."""
        return bool(self.calls) or any(stream.sink for stream in self.streams.values())

    @property
    def primes(self) -> bool:
        """[stream.unprimed] Older clients take the empty first event for a broken message."""
        return self.version >= "2025-11-25" and not self.two_channel

    def open_stream(self) -> Stream:
        """Open a stream that can be resumed. Of those that ended, only the newest are kept."""
        ended = [name for name, stream in self.streams.items() if stream.finished and stream.sink is None]
        for name in ended[: max(0, len(ended) + 1 - self.sessions.limits.streams)]:
            self.forget(self.streams[name])
        # [limits.streams] [event.id-unique] [event.id-names-stream] Random: another session's event id finds nothing.
        name, on_detach = secrets.token_hex(8), functools.partial(self.sessions.keep, self)
        stream = self.streams[name] = Stream(self.sessions.limits, name, self.primes, on_detach)
        return stream

    def forget(self, stream: Stream) -> None:
        self.streams.pop(stream.name, None)
        self.sessions.delivered_bytes -= self.sessions.delivered.pop(stream, (self, 0))[1]

    def standalone_stream(self) -> Stream:
        if self.standalone is None:
            self.standalone = self.open_stream()
        return self.standalone

    def tool_stream(self, tool: str) -> Stream:
        if tool not in self.tool_streams:
            self.tool_streams[tool] = self.open_stream()
        return self.tool_streams[tool]

    def find_event(self, event_id: str) -> tuple[Stream, int]:
        """Find the stream and the number that an event id names: '0123456789abcdef-7' -> (Stream, 7). HTTPError."""
        match = re.fullmatch(r"([0-9a-f]{16})-([0-9]{1,18})", event_id)
        stream = self.streams.get(match[1]) if match else None
        if not match or not stream or int(match[2]) > stream.last:  # [resume.same-stream-only]
            raise HTTPError(400, "Last-Event-ID names no event of this session: open a stream without it")
        return stream, int(match[2])

    def notify(self, data: bytes) -> None:
        """[get.unrelated-only] [get.no-response] Send what belongs to no call."""
        stream, end = self.standalone_stream(), format_event(data)
        # [notice.once] While nobody reads, a notice that waits is not added again.
        if not any(event.frame.endswith(end) for event in stream.unsent):
            stream.push(data)


class Sessions:
    """All sessions, the least recently used first."""

    def __init__(self, limits: Limits, timeout: float, clock: Callable[[], float]) -> None:
        self.limits, self.timeout, self.clock = limits, timeout, clock
        self.by_id: OrderedDict[str, Session] = OrderedDict()
        self.delivered: dict[Stream, tuple[Session, int]] = {}  # that have ended, oldest first -> whose, and its bytes
        self.delivered_bytes = 0

    def open(
        self, principal: str | None, version: str, info: Message, capabilities: Message, two_channel: bool = False,
    ) -> Session:  # fmt: skip
        """[session.id-secure] [session.id-visible-ascii] The id is 256 random bits, never taken from a client."""
        if len(self.by_id) >= self.limits.sessions:  # [limits.sessions]
            raise HTTPError(503, "too many sessions: try again later", ("Retry-After", f"{self.timeout:.0f}"))
        session_id, now = secrets.token_urlsafe(32), self.clock()
        session = Session(session_id, principal, version, info, capabilities, self, two_channel, now)
        self.by_id[session.id] = session
        return session

    def find(self, session_id: str | None, principal: str | None, two_channel: bool = False) -> Session:
        """The session that a request belongs to; this counts as use. HTTPError."""
        if session_id is None:  # [session.missing-400]
            missing = "header field Mcp-Session-Id is missing: send initialize, and then the id it answers with"
            raise HTTPError(400, missing)
        session = self.by_id.get(session_id)
        # [session.unknown-404] [session.principal] Somebody else's session does not exist, as far as they can tell.
        # [channel.own-sessions] Nor does one of the other binding.
        if session is None or session.principal != principal or session.two_channel != two_channel:
            raise HTTPError(404, "there is no such session, or it has ended: send initialize to open a new one")
        self.use(session)
        return session

    def use(self, session: Session) -> None:
        session.used = self.clock()
        if session.id in self.by_id:
            self.by_id.move_to_end(session.id)

    def keep(self, session: Session, stream: Stream) -> None:
        """[limits.delivered] A connection left a stream. One that has ended is kept, should its end have been lost."""
        self.use(session)
        kept = session.id in self.by_id and stream.name in session.streams
        if kept and stream.finished and not stream.unsent:
            self.delivered_bytes += stream.size - self.delivered.pop(stream, (session, 0))[1]
            self.delivered[stream] = session, stream.size
            while self.delivered_bytes > self.limits.delivered_bytes:
                oldest, (owner, _) = next(iter(self.delivered.items()))
                owner.forget(oldest)

    def end(self, session: Session, reason: str) -> None:
        """[session.end-frees] End a session, whatever the cause."""
        self.by_id.pop(session.id, None)
        for call in list(session.calls):
            call.cancel(reason)
        for stream in list(session.streams.values()):
            stream.detach()
            session.forget(stream)

    def expire(self) -> None:
        """[session.expiry] End those that nobody has used for `timeout` seconds."""
        for _ in range(len(self.by_id)):
            session = next(iter(self.by_id.values()))
            if self.clock() - session.used < self.timeout:
                break
            if session.alive:
                self.use(session)
            else:
                self.end(session, "the session expired")


# ---- 10 Methods --------------------------------------------------------------------------------------
# What a client can call, a function each: (context, params) -> result. The table at the end is the place
# to add one. A coroutine function may wait; only its calls can be cancelled and can speak while they run.


def text_param(params: Message, name: str) -> str:
    """A required string of the params, or RPCError."""
    if not isinstance(params.get(name), str):
        raise RPCError(INVALID_PARAMS, f"params.{name} must be a string")
    return str(params[name])


def object_param(params: Message, name: str) -> Message:
    """An optional object of the params, or RPCError."""
    value = params.get(name, {})
    if not isinstance(value, dict):
        raise RPCError(INVALID_PARAMS, f"params.{name} must be an object")
    return value


def ping(ctx: Context, params: Message) -> Message:
    return {}  # [ping.answer]


def set_level(ctx: Context, params: Message) -> Message:  # [log.set-level]
    level = text_param(params, "level")
    if level not in LOG_LEVELS:  # [log.invalid-level]
        raise RPCError(INVALID_PARAMS, f"params.level must be one of {', '.join(LOG_LEVELS)}")
    assert ctx.session
    ctx.session.log_level = LOG_LEVELS.index(level)
    return {}


def list_page(ctx: Context, params: Message) -> bytes:
    """[list.not-per-connection] One page of a list, as JSON that is made once and copied until the list changes."""
    server, stateless, cursor = ctx.server, ctx.session is None, params.get("cursor", "")
    member, table = LISTS[ctx.message["method"]]
    if (member, "", stateless) not in server.pages:
        entries, name = list(getattr(server, table).values()), ""
        size = server.page_size or max(1, len(entries))
        for end in range(size, max(1, len(entries)) + size, size):
            # [page.next-cursor] [page.stable-cursors] A cursor is opaque to clients: 'dG9vbHM6MjA=' is 'tools:20'.
            following = to_base64(f"{member}:{end}".encode()) if end < len(entries) else None
            shown = [entry.definition for entry in entries[end - size : end]]
            result = {member: shown, **present(nextCursor=following), **cache_hints(ctx, server.cache_lists)}
            server.pages[member, name, stateless] = encode(for_client(ctx, result))
            name = following or ""
    if not isinstance(cursor, str) or (member, cursor, stateless) not in server.pages:  # [page.invalid-cursor]
        raise RPCError(INVALID_PARAMS, "params.cursor is not one that this server gave out: list from the start")
    return server.pages[member, cursor, stateless]  # [cache.same-scope]


def for_client(ctx: Context, result: Message) -> Message:
    """[result.type] [meta.server-info] Add what the stateless revision wants in every result."""
    if ctx.session is not None:
        return result
    meta = {META_SERVER_INFO: ctx.server.info} | result.get("_meta", {})
    return {"resultType": "complete", **result, "_meta": meta}


def cache_hints(ctx: Context, cache: Cache) -> Message:
    """[cache.hints] What the stateless revision wants in a result that clients may keep."""
    return {} if ctx.session is not None else {"ttlMs": cache[0], "cacheScope": cache[1]}


async def call_tool(ctx: Context, params: Message) -> bytes:
    """[tool.call] A failure of the tool is a result with isError, so that a model can read it and mend its call."""
    name, arguments = text_param(params, "name"), object_param(params, "arguments")
    tool = ctx.server.tools.get(name)
    if tool is None:  # [tool.unknown-error]
        raise RPCError(INVALID_PARAMS, f"Unknown tool: {name}")
    try:
        result = await tool.call(ctx, arguments)
        result["content"] = for_revision(result["content"], ctx.protocol_version)
        return encode(for_client(ctx, result))  # [json.no-nan]
    except RPCError:  # the handler chose a protocol error
        raise
    except (SchemaError, ToolError) as error:  # [tool.input-error]
        if isinstance(error, MissingCapability) and ctx.session is None:
            raise
        message = str(error)
    except Exception as error:  # [tool.execution-error]
        log.exception("tool %s failed", name)
        message = str(error) or type(error).__name__
    return encode(for_client(ctx, {"content": [content_block(message)], "isError": True}))


def for_revision(blocks: list[Message], version: str) -> list[Message]:
    """[operation.negotiated-version] [tool.resource-link] Give an older client what it knows: once, a link was text."""
    if version >= "2025-06-18":
        return blocks
    blocks = [content_block(block["uri"]) if block["type"] == "resource_link" else block for block in blocks]
    if version >= "2025-03-26":
        return blocks
    return [as_resource(block) if block["type"] == "audio" else block for block in blocks]


def as_resource(block: Message) -> Message:
    """[channel.no-audio] Sound, for a client that knows no such content: a file that comes along."""
    resource = {"uri": f"data:{block['mimeType']}", "mimeType": block["mimeType"], "blob": block["data"]}
    return {"type": "resource", "resource": resource}


async def read_resource(ctx: Context, params: Message) -> Message:  # [resource.read]
    uri = text_param(params, "uri")
    resource, variables = ctx.server.find_resource(uri)
    contents = await resource.read(ctx, uri, variables)
    # What used an answer is for the one who gave it.
    retried = params.keys() & {"inputResponses", "requestState"}
    cache = (0, "private") if retried else resource.cache or ctx.server.cache_reads
    return {"contents": contents, **cache_hints(ctx, cache)}


def subscribe(ctx: Context, params: Message) -> Message:
    uri = text_param(params, "uri")
    ctx.server.find_resource(uri)
    assert ctx.session
    if len(uri) > ctx.server.limits.uri_characters:
        raise RPCError(INVALID_PARAMS, f"params.uri is longer than {ctx.server.limits.uri_characters} characters")
    if len(ctx.session.subscriptions | {uri}) > ctx.server.limits.subscriptions:  # [limits.subscriptions]
        raise RPCError(INVALID_REQUEST, "too many subscriptions in this session: unsubscribe from some first")
    ctx.session.subscriptions.add(uri)
    return {}


def unsubscribe(ctx: Context, params: Message) -> Message:
    assert ctx.session
    ctx.session.subscriptions.discard(text_param(params, "uri"))
    return {}


async def get_prompt(ctx: Context, params: Message) -> Message:
    name, arguments = text_param(params, "name"), object_param(params, "arguments")
    prompt = ctx.server.prompts.get(name)
    if prompt is None:  # [prompt.invalid-params]
        raise RPCError(INVALID_PARAMS, f"Unknown prompt: {name}")
    result = await prompt.get(ctx, arguments)
    for message in result["messages"]:  # [prompt.resource-link]
        message["content"] = for_revision([message["content"]], ctx.protocol_version)[0]
    return result


async def complete(ctx: Context, params: Message) -> Message:
    if ctx.server.completer is None:
        raise RPCError(METHOD_NOT_FOUND, "this server completes nothing")
    # [completion.validate-inputs] [completion.context]
    ref, argument, context = (object_param(params, name) for name in ("ref", "argument", "context"))
    text_param(argument, "name"), text_param(argument, "value")
    if not all(isinstance(value, str) for value in object_param(context, "arguments").values()):
        raise RPCError(INVALID_PARAMS, "params.context.arguments must be an object of strings")
    kinds: Any = {"ref/prompt": ("name", ctx.server.prompts), "ref/resource": ("uri", ctx.server.templates)}
    member, table = kinds.get(text_param(ref, "type"), ("type", {}))
    if text_param(ref, member) not in table:  # [completion.invalid-params]
        raise RPCError(INVALID_PARAMS, f"params.ref.{member} names nothing here: {ref[member]}")
    values = list(await ctx.server.completer(ctx, {"ref": ref, "argument": argument, "context": context}) or [])
    # [completion.max-100]
    return {"completion": {"values": values[:100], "total": len(values), "hasMore": len(values) > 100}}


def discover(ctx: Context, params: Message) -> Message:
    """[discover.served] What a client may want to know first; [version.unsupported] has the same list."""
    served = {"supportedVersions": REVISIONS[::-1], "capabilities": ctx.server.capabilities()}
    return served | present(instructions=ctx.server.instructions) | cache_hints(ctx, ctx.server.cache_lists)


async def listen(ctx: Context, params: Message) -> Message:
    """Keep the call open, and send down its stream what the client wants to hear of; see `Catalog.announce`."""
    wanted = object_param(params, "notifications")
    uris, most = wanted.get("resourceSubscriptions", []), ctx.server.limits.subscriptions
    if not isinstance(uris, list) or len(uris) > most or not all(isinstance(uri, str) for uri in uris):
        member = "params.notifications.resourceSubscriptions"
        raise RPCError(INVALID_PARAMS, f"{member} must be a list of at most {most} URIs")
    if not ctx.exchange.takes_stream:
        raise RPCError(INVALID_REQUEST, "subscriptions/listen is answered by an event stream: Accept must allow one")
    # [listen.only-asked] What we honour, in the words of the filter.
    honoured: Message = {flag: True for flag in LIST_FLAGS.values() if wanted.get(flag) is True}
    honoured |= {"resourceSubscriptions": uris} if uris else {}
    identity = {"_meta": {META + "subscriptionId": ctx.request_id}}
    acknowledgement = identity | {"notifications": honoured}
    await ctx.exchange.send(encode_notification("notifications/subscriptions/acknowledged", acknowledgement))
    if honoured:  # [listen.ack-first] Only now do notices find us.
        ctx.server.listeners[ctx] = honoured  # [listen.several]
        try:
            await ctx.server.shut.wait()
        finally:
            del ctx.server.listeners[ctx]
    return identity  # [listen.graceful-end]


LISTS = {  # method -> the member of its result, and the table of `Catalog` that it shows
    "tools/list": ("tools", "tools"),
    "resources/list": ("resources", "resources"),
    "resources/templates/list": ("resourceTemplates", "templates"),
    "prompts/list": ("prompts", "prompts"),
}
# Notification -> the member of a filter that asks for it.
LIST_FLAGS = {f"notifications/{kind}/list_changed": f"{kind}ListChanged" for kind in ("tools", "prompts", "resources")}
# The methods that may ask, and the member of their params that says what they are about.
NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class Method(NamedTuple):
    function: Callable[[Context, Message], Any]
    first: str = ""  # revision that has it; the others were there from the beginning
    last: str = STATELESS_REVISION


METHODS = {
    "ping": Method(ping, last=LATEST_SESSION_REVISION),
    "logging/setLevel": Method(set_level, last=LATEST_SESSION_REVISION),
    "tools/list": Method(list_page),
    "tools/call": Method(call_tool),
    "resources/list": Method(list_page),
    "resources/templates/list": Method(list_page),
    "resources/read": Method(read_resource),
    "resources/subscribe": Method(subscribe, last=LATEST_SESSION_REVISION),
    "resources/unsubscribe": Method(unsubscribe, last=LATEST_SESSION_REVISION),
    "prompts/list": Method(list_page),
    "prompts/get": Method(get_prompt),
    "completion/complete": Method(complete),
    "server/discover": Method(discover, first=STATELESS_REVISION),
    "subscriptions/listen": Method(listen, first=STATELESS_REVISION),
}


def find_method(name: str, revision: str) -> Callable[[Context, Message], Any]:
    """[jsonrpc.method-not-found] [method.unknown-404] Each revision has its own methods. RPCError."""
    method = METHODS.get(name)
    if method is None or not method.first <= revision <= method.last:
        raise RPCError(METHOD_NOT_FOUND, f"Method not found: {name}")
    return method.function


# ---- 11 Eras -----------------------------------------------------------------------------------------
# How a message gets its answer. The eras differ in where a client's version and capabilities come from, and
# in how it can be asked; that is in the two parts that come first. The third part runs a call, in both alike.


# The session era (2025-03-26 to 2025-11-25) opens with `initialize`, remembers the client, and asks it by sending
# requests of its own down the call's stream.


async def answer_in_session(server: MCPServer, request: Request, body: Any, takes: tuple[bool, bool]) -> Reply:
    """Answer one POST: a request, a notification, a response, or (2025-03-26) a batch of them."""
    if is_initialize(body):
        return initialize(server, request, body, takes)
    check_version_header(request)
    # [initialize.first] Without it there is no session, and nothing goes on without one.
    session = server.sessions.find(request.headers.get("mcp-session-id"), request.principal)
    # [id.by-exchange] [batch.answer-json-or-sse] The answer finds its way by this object; ids are only echoed.
    exchange = Exchange(*takes, session.open_stream, batch=isinstance(body, list))
    if not start_calls(server, request, session, body, exchange):  # [post.notification-202] [batch.no-request-202]
        return Reply(202)
    return await exchange.reply(server.limits.sse_after_seconds)


def start_calls(server: MCPServer, request: Request, session: Session, body: Any, exchange: Exchange) -> bool:
    """Take what a POST of a session brought, and start its calls. Tell whether there are any. HTTPError, RPCError."""
    messages = check_batch(session, body) if isinstance(body, list) else [body]
    requests = [message for message in messages if is_request(message)]
    # [limits.calls] [tool.rate-limit] [completion.rate-limit] The bound is on what runs at once.
    if len(session.calls) + len(requests) > server.limits.calls:
        raise HTTPError(429, f"more than {server.limits.calls} calls in flight in one session", ("Retry-After", "1"))
    for message in messages:
        if not is_request(message):
            take_message(session, message)
    if not requests:  # [notification.no-response]
        return False
    check_load(server)
    client = session.version, session.client_info, session.client_capabilities
    calls = [Context(server, request, message, *client, exchange, ask_on_stream, session, log_level=session.log_level)
             for message in requests]  # fmt: skip
    session.calls.update(calls)
    start_task(answer_calls(exchange, calls))  # held by `MCPServer.calls`, see `answer_call`
    return True


def is_request(message: Message) -> bool:
    return "method" in message and "id" in message


def is_initialize(body: Any) -> bool:
    return isinstance(body, dict) and body.get("method") == "initialize" and is_request(body)


def initialize(
    server: MCPServer, request: Request, message: Message, takes: tuple[bool, bool], two_channel: bool = False,
) -> Reply:  # fmt: skip
    """[initialize.always] Open a session, whatever id or version header comes along: the sender has none that works."""
    try:
        client = read_client(server, message, two_channel)
    except RPCError as error:  # [error.same-id]
        return Reply(200, JSON_HEADERS, encode_error(message["id"], error))
    session = server.sessions.open(request.principal, *client, two_channel)
    exchange = Exchange(*takes, session.open_stream)
    exchange.finish([introduce(server, session, message)])
    reply = exchange.decided
    assert reply
    reply.headers += (("Mcp-Session-Id", session.id),)  # [session.id-header]
    return reply


def read_client(server: MCPServer, message: Message, two_channel: bool) -> tuple[str, Message, Message]:
    """What `initialize` agrees on: the version, who the client is, and what it can do. RPCError."""
    params, most = message.get("params", {}), server.limits.client_bytes
    requested = text_param(params, "protocolVersion")
    served = (TWO_CHANNEL_REVISION, *SESSION_REVISIONS) if two_channel else SESSION_REVISIONS
    # [version.same] [version.other] [version.latest]
    version = requested if requested in served else LATEST_SESSION_REVISION
    info, capabilities = object_param(params, "clientInfo"), object_param(params, "capabilities")
    if len(encode([info, capabilities])) > most:  # [limits.client]
        raise RPCError(INVALID_PARAMS, f"params.clientInfo and params.capabilities are larger than {most} bytes")
    return version, info, capabilities


def introduce(server: MCPServer, session: Session, message: Message) -> bytes:
    """[initialize.result] The answer to `initialize`."""
    result = {"protocolVersion": session.version, "capabilities": server.capabilities(), "serverInfo": server.info}
    return encode_result(message["id"], result | present(instructions=server.instructions))


def check_version_header(request: Request) -> None:
    """[version.header-wrong-400] [version.header-missing] [version.header-not-asked] It may be missing, not wrong."""
    version = request.headers.get("mcp-protocol-version", LATEST_SESSION_REVISION)
    if version == STATELESS_REVISION:  # [modern.get-405] its POSTs do not come here, and it has nothing else
        raise HTTPError(405, "revision 2026-07-28 knows POST only", ("Allow", "POST, OPTIONS"))
    if version not in SESSION_REVISIONS:
        served = ", ".join(REVISIONS)
        raise HTTPError(400, f"MCP-Protocol-Version {version[:40]!a} is not served here; served are {served}")


def check_batch(session: Session, batch: list[Any]) -> list[Message]:
    """[batch.receive] Check a JSON-RPC batch and return its messages. HTTPError, RPCError."""
    if session.version != "2025-03-26":  # [post.single-message]
        raise HTTPError(400, f"expected one JSON-RPC message: revision {session.version} has no batches")
    most = session.sessions.limits.calls
    if not 1 <= len(batch) <= most:  # [jsonrpc.empty-batch] or one that never fits, however long its sender waits
        raise HTTPError(400, f"a batch holds 1 to {most} messages, got {len(batch)}")
    messages = [check_envelope(message) for message in batch]
    if any(message.get("method") == "initialize" for message in messages):  # [batch.no-initialize]
        raise HTTPError(400, "initialize must not be part of a batch")
    if len({"method" in message for message in messages}) > 1:  # [batch.requests-or-responses]
        raise HTTPError(400, "a batch holds requests and notifications, or responses, not both")
    return messages


def take_message(session: Session, message: Message) -> None:
    """Take a notification or a response. What nobody waits for is ignored: [cancel.invalid-ignored]."""
    if "method" not in message:
        future = session.questions.get(message["id"])
        if future is not None and not future.done():  # [cancel.late-response]
            future.set_result(message)
    elif message["method"] == "notifications/cancelled":
        params = message.get("params", {})
        wanted = params.get("requestId")  # [cancel.race] finished calls are not found
        found = [c for c in session.calls if c.request_id == wanted and type(c.request_id) is type(wanted)]
        if len(found) == 1:  # a client that gives every request the same id cannot say which one it means
            log.info("a call was cancelled by its client: %.200r", params.get("reason"))  # [cancel.log-reason]
            found[0].cancel("the client cancelled the call")


async def ask_on_stream(ctx: Context, questions: dict[str, Question]) -> dict[str, Any]:
    """Ask by JSON-RPC requests on the call's own stream; the responses come back as POSTs of the same session."""
    session, seconds = ctx.session, ctx.server.limits.ask_seconds
    assert session
    check_questions(ctx, questions)
    if not ctx.exchange.takes_stream:
        raise ToolError("the client cannot be asked: its request does not accept text/event-stream")
    waiting: dict[int, asyncio.Future[Message]] = {}  # the part of `session.questions` that is ours
    try:
        for question in questions.values():
            session.asked += 1
            waiting[session.asked] = session.questions[session.asked] = asyncio.get_running_loop().create_future()
            params = question.params if session.version >= "2025-11-25" else with_enum_names(question.params)
            request = {"jsonrpc": "2.0", "id": session.asked, "method": question.method, "params": params}
            await ctx.exchange.send(encode(request), keep=True)
        async with asyncio.timeout(seconds):  # [timeout.sent-requests] [timeout.maximum]
            asked = zip(questions.items(), waiting.values(), strict=True)
            return {key: read_answer(question, await future) for (key, question), future in asked}
    except TimeoutError:
        for number, future in waiting.items():
            if future.cancelled() or not future.done():  # [timeout.cancel] [cancel.own-requests-only]
                late = {"requestId": number, "reason": "not answered in time"}
                await ctx.exchange.send(encode_notification("notifications/cancelled", late))
        raise ToolError(f"the client did not answer within {seconds:g} seconds") from None
    finally:
        for number in waiting:
            del session.questions[number]


def read_answer(question: Question, response: Message) -> Any:
    if isinstance(response.get("error"), dict):
        raise ToolError(f"the client refused {question.method}: {response['error'].get('message')}")
    try:
        check(response.get("result"), {"type": "object"})
        return question.read(response["result"])
    except ValueError as error:
        raise ToolError(f"the client's answer to {question.method} does not fit: {error}") from None


def with_enum_names(params: Message) -> Message:
    """[elicit.older-form] Before 2025-11-25 the titles of an enum are `enumNames`, and forms have no mode."""
    form = params.get("requestedSchema", {})
    properties = {}
    for name, member in form.get("properties", {}).items():
        older = properties[name] = dict(member)
        if member.get("type") == "array":
            raise ToolError(f"the client cannot be asked: {name} takes several values, unknown to its revision")
        if member.get("type") != "boolean":
            older.pop("default", None)
        if choices := older.pop("oneOf", None):
            older |= {"enum": [c["const"] for c in choices], "enumNames": [c["title"] for c in choices]}
    return params | {"requestedSchema": form | {"properties": properties}} if properties else params


# The stateless era (2026-07-28): every request says all there is to know of its client, and nothing is remembered
# between two of them. It has no channel for questions: a call that needs one ends, and comes back with the answer.

STATUSES = {INVALID_PARAMS: 400, METHOD_NOT_FOUND: 404}  # error code -> HTTP status, here; others are 200
STATUSES |= dict.fromkeys((INVALID_REQUEST, HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION), 400)


def is_stateless(request: Request, message: Any) -> bool:
    """[modern.era-chosen] Whether a request belongs to the stateless era: by its `_meta`, else by the header."""
    params = message.get("params", {}) if isinstance(message, dict) else {}
    meta = params.get("_meta") if isinstance(params, dict) else None
    if isinstance(meta, dict) and (META_VERSION in meta or META_CAPABILITIES in meta):
        return True
    return request.headers.get("mcp-protocol-version") == STATELESS_REVISION and not is_initialize(message)


async def answer_statelessly(server: MCPServer, request: Request, message: Any, takes: tuple[bool, bool]) -> Reply:
    """[modern.no-session] Answer one POST of a client that has no session, whatever session id it may carry."""
    if not isinstance(message, dict) or "method" not in message:  # [modern.no-responses]
        raise HTTPError(400, "expected one request: revision 2026-07-28 has no batches, and no responses from clients")
    if not is_request(message):  # [modern.no-notifications]
        return Reply(202)
    try:
        meta = check_metadata(server, request, message)
    except RPCError as error:
        return Reply(STATUSES[error.code], JSON_HEADERS, encode_error(message["id"], error))
    check_load(server)
    exchange = Exchange(*takes, lambda: Stream(server.limits))  # [stream.own-request-only] [stream.no-event-ids]
    # [modern.no-prior-requests] Who calls, and what it can do, is what this request says.
    ctx = Context(server, request, message, STATELESS_REVISION, meta.get(META_CLIENT_INFO, {}),
                  meta[META_CAPABILITIES], exchange, ask_by_replay)  # fmt: skip
    # [log.level-asked] Without a level in the request, nothing is logged to its client.
    ctx.log_level = LOG_LEVELS.index(meta[META_LOG_LEVEL]) if META_LOG_LEVEL in meta else len(LOG_LEVELS)
    request.on_disconnect = ctx.cancel  # [modern.disconnect-cancels]
    request.on_half_close = exchange.open  # so that there is something to write to it, which tells whether it is there
    start_task(answer_calls(exchange, [ctx]))  # held by `MCPServer.calls`
    return await exchange.reply(server.limits.sse_after_seconds)


def check_metadata(server: MCPServer, request: Request, message: Message) -> Message:
    """Check that `_meta` is whole and that the headers say the same as the body; return `_meta`. RPCError.

    A proxy may route by the headers while we act by the body: where they differ, somebody is being deceived.
    """
    params, method = message.get("params", {}), message["method"]
    # 1. [meta.required] What a request must say of its client.
    meta = object_param(params, "_meta")
    version, level = text_param(meta, META_VERSION), meta.get(META_LOG_LEVEL, "info")
    if META_CAPABILITIES not in meta:
        raise RPCError(INVALID_PARAMS, f"params._meta must hold {META}clientCapabilities")
    object_param(meta, META_CAPABILITIES), object_param(meta, META_CLIENT_INFO)
    # 2. [header.version-matches] [version.unsupported]
    check_header(request, "mcp-protocol-version", version)
    if version != STATELESS_REVISION:
        served = {"supported": REVISIONS[::-1], "requested": version}
        raise RPCError(UNSUPPORTED_VERSION, f"Unsupported protocol version: {version[:40]}", served)
    # 3. [header.method-matches] [header.name-matches]
    check_header(request, "mcp-method", method)
    if method in NAMED_BY:
        check_header(request, "mcp-name", params.get(NAMED_BY[method]))
    find_method(method, version)
    if level not in LOG_LEVELS:  # [log.level-unknown]
        raise RPCError(INVALID_PARAMS, f"params._meta.{META}logLevel must be one of {', '.join(LOG_LEVELS)}")
    # 4. [header.params-match] The arguments that the tool wants to see in headers, too.
    tool = server.tools.get(params.get("name", "")) if method == "tools/call" else None
    for path, header in tool.headers.items() if tool else ():
        value: Any = params.get("arguments")
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        check_header(request, header, value)
    return meta


def check_header(request: Request, name: str, value: Any) -> None:
    """[header.mismatch-error] Check that a header says what the body says; null means that it is absent. RPCError."""
    text = request.headers.get(name)
    if isinstance(value, str) and text == value and value.isascii() and not value.startswith("=?"):  # the usual case
        return
    if text is not None and name not in ("mcp-protocol-version", "mcp-method"):
        text = decode_header(name, text)
    if isinstance(value, bool):
        same = text == str(value).lower()
    elif isinstance(value, (int, float)):  # [header.integers-numeric] 42.0 is 42
        same = bool(re.fullmatch(r"-?[0-9]{1,16}(\.0+)?", text or "")) and float(text or "") == value
        same = same and abs(value) < 2**53  # [header.integers-safe]
    else:  # [header.case]
        same = text == value
    if not same:
        found = "is missing" if text is None else f"is {text[:100]!a}"
        raise RPCError(HEADER_MISMATCH, f"Header mismatch: {name} {found}, but the body says {json.dumps(value)[:100]}")


def decode_header(name: str, value: str) -> str:
    """[header.base64-decoded] '=?base64?SGk=?=' -> 'Hi'; without both marks a value is meant as it is. RPCError."""
    if not (value.startswith("=?base64?") and value.endswith("?=")) and value.isascii():
        return value
    try:  # [header.characters-valid]
        encoded = value.removeprefix("=?base64?").removesuffix("?=")
        data = base64.b64decode(encoded, validate=True)
        if to_base64(data) != encoded:  # b64decode() lets odd padding bits through
            raise ValueError
        return data.decode()
    except ValueError:
        raise RPCError(HEADER_MISMATCH, f"Header mismatch: {name} is neither plain ASCII nor sound Base64") from None


async def ask_by_replay(ctx: Context, questions: dict[str, Question]) -> dict[str, Any]:
    """[stream.no-requests] Ask by ending the call: the client calls again, and the handler runs again from the top.

    What was accepted before is in `ctx.answers`, so an answered `ask` returns at once, as in a durable workflow.
    """
    check_questions(ctx, questions)
    answers = {}
    for key, question in questions.items():
        given = ctx.answers.get(key, ctx.input_responses.get(key))
        if isinstance(given, dict):
            with contextlib.suppress(ValueError):  # not of the right shape: [mrtr.asked-again]
                answers[key] = question.read(given)
                ctx.answers[key] = given
    if len(answers) < len(questions):
        raise InputRequired({key: question for key, question in questions.items() if key not in answers})
    return answers


def input_required(ctx: Context, required: InputRequired) -> Message:
    """[mrtr.input-required] The result that asks. `requestState` carries what has been answered so far. ToolError."""
    if ctx.session is not None:
        raise ToolError("the handler asks as only revision 2026-07-28 can; Context.ask is for all")
    check_questions(ctx, required.questions)
    asked = {}
    for key, question in required.questions.items():  # [elicit.url-without-id] the state replaces that identifier
        params = {name: value for name, value in question.params.items() if name != "elicitationId"}
        asked[key] = {"method": question.method, "params": params}
    until = int(time.time() + ctx.server.limits.state_seconds)
    value = {"answers": ctx.answers, "state": required.state}
    sealed = seal(ctx.server.secrets[0], {"value": value, "call": call_digest(ctx), "until": until})
    # [mrtr.not-empty]
    return {"resultType": "input_required", "requestState": sealed, **present(inputRequests=asked or None)}


def call_digest(ctx: Context) -> str:
    """[mrtr.state-bound] [auth.handle-no-login] What a state belongs to: this call, of this principal, and no other."""
    params, method = ctx.message.get("params", {}), ctx.message["method"]
    call = [method, params.get(NAMED_BY.get(method, "")), params.get("arguments", {}), ctx.principal]
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()


def seal(secret: bytes, state: Message) -> str:
    """Write a state so that only we can have written it: '<Base64 of JSON>.<Base64 of its HMAC>'."""
    payload = base64.urlsafe_b64encode(encode(state))
    return f"{payload.decode()}.{signature(secret, payload)}"


def signature(secret: bytes, payload: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret, payload, "sha256")).decode()


def unseal(keys: Sequence[bytes], text: Any, digest: str) -> Message:
    """[mrtr.state-verified] Read what `seal` wrote. Whatever the cause, the peer is told one thing; the log, which."""
    payload, _, signed = text.rpartition(".") if isinstance(text, str) and text.isascii() else ("", "", "")
    if not any(hmac.compare_digest(signature(key, payload.encode()), signed) for key in keys):
        cause = "it was not sealed here, or was changed"
    else:
        sealed = json.loads(base64.urlsafe_b64decode(payload))
        if sealed["call"] == digest and sealed["until"] >= time.time():  # [mrtr.state-expires]
            return typing.cast(Message, sealed["value"])
        cause = "it has expired" if sealed["call"] == digest else "it belongs to another call or principal"
    log.info("requestState refused: %s", cause)
    raise RPCError(INVALID_PARAMS, "params.requestState is not valid for this request: call again without it")


# Both eras: a call runs in a task of its own, may ask its client, and always ends in a response or in silence.


def check_load(server: MCPServer) -> None:
    """[limits.all-calls] [modern.rate-limit] Refuse one call more than the server runs at once; listeners do not count.

    Not before it is known to be a call: an answer or a cancellation is what lets the others end.
    """
    if len(server.calls) - len(server.listeners) >= server.limits.all_calls:
        raise HTTPError(503, "too many calls are running: try again later", ("Retry-After", "1"))


def start_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a coroutine beside us. Somebody must hold the task, since the event loop does so weakly."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):  # now, up to its first wait: a handler that never waits costs no turn of the loop
        return asyncio.Task(coroutine, loop=loop, eager_start=True)
    return loop.create_task(coroutine)


async def answer_calls(exchange: Exchange, calls: list[Context]) -> None:
    """Run the calls of one POST, side by side if there are several, and finish its exchange."""
    answers = [await answer_call(calls[0])] if len(calls) == 1 else await asyncio.gather(*map(answer_call, calls))
    exchange.finish([answer for answer in answers if answer is not None])  # [batch.every-response]
    if exchange.stream and calls[0].session and not any(answers):  # cancelled; or its client would come back for ever
        calls[0].session.forget(exchange.stream)


async def answer_call(ctx: Context) -> bytes | None:
    """Run one call to its end and write its response; None where it was cancelled."""
    ctx.task, error = asyncio.current_task(), None
    ctx.server.calls.add(ctx)
    try:
        answer = await run_method(ctx, ctx.message.get("params", {}))
        # [cancel.no-response] [modern.silent-after-cancel] even if the handler paid no heed
        return answer if ctx.cancelled is None else None
    except RPCError as chosen:
        error = chosen.with_traceback(None)  # which would hold us, and all that the call was about, for long
    except ToolError as failure:  # also a prompt or a resource may fail in words meant for the client
        error = RPCError(INTERNAL_ERROR, str(failure))
        if isinstance(failure, MissingCapability) and ctx.session is None:  # [capability.missing]
            error = RPCError(MISSING_CAPABILITY, str(failure), {"requiredCapabilities": failure.required})
    except asyncio.CancelledError:  # [cancel.stop] or else the handler itself was careless with its tasks
        pass
    except (Exception, BaseExceptionGroup):  # [answers.nothing-internal] a bug: the log gets the story, not the peer
        log.exception("%s failed", ctx.message["method"])
    finally:
        ctx.server.calls.discard(ctx)
        ctx.request.on_disconnect = ctx.request.on_half_close = None  # else the two would hold each other
        if ctx.session is not None:
            ctx.session.calls.discard(ctx)
            ctx.server.sessions.use(ctx.session)
    error = error or RPCError(INTERNAL_ERROR, "Internal error")
    if ctx.session is None:  # [error.defined-codes] the status says what went wrong, and one error has a new number
        if error.code == RESOURCE_NOT_FOUND:  # [resource.not-found-invalid-params]
            error.code = INVALID_PARAMS
        ctx.exchange.status = STATUSES.get(error.code, 200)
    return encode_error(ctx.request_id, error) if ctx.cancelled is None else None


async def run_method(ctx: Context, params: Message) -> bytes:
    """Let the method make its result, and write the response; in the stateless era that may be a question."""
    function = find_method(ctx.message["method"], ctx.protocol_version)
    ctx.meta = object_param(params, "_meta")  # [meta.no-assumptions]
    if ctx.session is None:  # [mrtr.unknown-ignored] A retry brings the client's answers and our sealed state.
        ctx.input_responses = object_param(params, "inputResponses")  # [mrtr.answers-checked]
        if "requestState" in params:
            state = unseal(ctx.server.secrets, params["requestState"], call_digest(ctx))
            ctx.answers, ctx.request_state = state["answers"], state["state"]
    try:
        result = function(ctx, params) if ctx.cancelled is None else {}
        if not isinstance(result, (dict, bytes)):
            result = await result
    except InputRequired as required:
        result = input_required(ctx, required)
    return encode_result(ctx.request_id, for_client(ctx, result) if isinstance(result, dict) else result)


def check_questions(ctx: Context, questions: dict[str, Question]) -> None:
    """What would wait for ever, or would not be understood, fails at once: ToolError, MissingCapability."""
    method = ctx.message["method"]
    if ctx.session is None:  # [mrtr.supported-methods] Not every method may ask, and not everything can be asked.
        unfit = [q.method for q in questions.values() if q.method == "ping" or method not in NAMED_BY]
        if unfit or method not in NAMED_BY:
            raise ToolError(f"{', '.join(unfit) or 'nothing'} cannot be asked in {method} of revision 2026-07-28")
    # [operation.negotiated-capabilities] [operation.negotiated-only] [roots.check-capability] [mrtr.declared-only]
    missing = [next((path for path in q.capabilities if not is_declared(ctx, path)), "") for q in questions.values()]
    if any(missing):
        raise MissingCapability(*filter(None, missing))


def is_declared(ctx: Context, path: str) -> bool:
    """Whether the client has declared a capability, or a part of one: 'sampling.tools'."""
    declared: Any = ctx.client_capabilities
    for name in path.split("."):
        declared = declared.get(name) if isinstance(declared, dict) else None
    if path == "elicitation":  # [elicit.declared-mode-only] without parts it means forms
        return isinstance(declared, dict) and "form" in (declared or "form")
    return declared is not None and ("." not in path or ctx.protocol_version >= "2025-11-25")


# ---- 12 Endpoint -------------------------------------------------------------------------------------
# The gate, and behind it one function a verb. Here HTTP and JSON-RPC meet. Checks raise, in the order in which
# `MCPServer.handle` makes them: who may speak at all, where to, with what rights, in what form; it also replies.


def check_host(server: MCPServer, request: Request) -> None:
    """[host.validate] A page whose name was rebound to this machine still names its own: DNS rebinding stops here."""
    host = request.headers.get("host", "localhost")
    if not is_loopback(host) and not server.allowed_hosts & {host.lower(), host.lower().rpartition(":")[0]}:
        log.warning("refused Host %.100a: put it into allowed_hosts if it is yours", host)
        raise HTTPError(403, "the Host header names a host that this server does not answer for (see allowed_hosts)")


def check_origin(server: MCPServer, request: Request) -> None:
    """[origin.validate] [origin.reject-403] Present and foreign is refused; absent means the caller is no browser."""
    origin = request.headers.get("origin")
    if origin is not None and origin not in server.allowed_origins:
        scheme, _, host = origin.partition("://")
        if scheme not in ("http", "https") or not is_loopback(host):
            log.warning("refused Origin %.100a: put it into allowed_origins if it is yours", origin)
            raise HTTPError(403, "the Origin header names a site that may not call this server (see allowed_origins)")


@functools.lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """'localhost:8000' -> True, 'localhost.evil.example' -> False"""
    return re.sub(r":[0-9]{1,5}$", "", host.lower()) in LOOPBACK_HOSTS


@dataclass(slots=True)
class Route:
    """What is at a path."""

    template: tuple[str, ...]  # as `parse_template` makes it
    verbs: dict[str, Verb]  # by HTTP method
    guarded: frozenset[str]  # the methods for which `auth` decides who may enter

    @property
    def allow(self) -> tuple[str, str]:
        return "Allow", ", ".join(self.verbs)


def find_route(server: MCPServer, request: Request) -> Route:
    """[endpoint.single-path] [endpoint.slash] Find what a path names, with or without a slash at its end. HTTPError."""
    path = request.path.removesuffix("/")
    if path in server.routes:
        request.route = path
        return server.routes[path]
    for name, route in server.routes.items():
        variables = match_template(route.template, path)
        if variables:
            request.route, request.variables = name, variables
            return route
    raise HTTPError(404, f"nothing is here; the MCP endpoint is {server.path}")


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may enter. An `Authorization: Bearer` header brings a token with every request; `verify` judges it.

        Auth(verify, scopes=["mcp"], resource="https://a.example/mcp", authorization_servers=["https://id.example"])

    ValueError for servers without a resource, or a URL that is not one.
    """

    # Token -> its principal, or (principal, scopes), or None for a token that is no good. Whose it is, not which it is:
    # a client that refreshes its token keeps its session. It must have been issued for this very server (its audience),
    # and a scope that implies others is to be given with them. Scopes are 'a b', as in a token, or ['a', 'b'].
    verify: Callable[[str], Awaitable[str | tuple[str, str | Iterable[str]] | None]]
    scopes: str | Iterable[str] = ()  # without which nobody enters
    resource: str = ""  # the endpoint's URL as clients write it
    authorization_servers: Sequence[str] = ()  # URLs of who issues the tokens; clients find them by themselves

    def __post_init__(self) -> None:
        object.__setattr__(self, "scopes", read_scopes(self.scopes))
        for url in (*self.authorization_servers, *filter(None, [self.resource])):
            if not ABSOLUTE_FORM.fullmatch(url) or not QUOTABLE.fullmatch(url):
                raise ValueError(f"expected an absolute http or https URL without a fragment, got {url!r}")
        if self.authorization_servers and not self.resource:
            raise ValueError("authorization_servers need a resource: the endpoint's URL as its clients write it")

    @property
    def metadata_url(self) -> str:
        """[auth.well-known] 'https://a.example/mcp' -> 'https://a.example/.well-known/oauth-protected-resource/mcp'"""
        scheme, _, rest = self.resource.partition("://")
        authority, slash, path = rest.partition("/")  # [auth.resource-identical] a slash alone is no path
        return f"{scheme}://{authority}{PROTECTED_RESOURCE}{slash if path else ''}{path}"

    def challenge(self, status: int, message: str, error: str | None = None, scopes: Iterable[str] = ()) -> HTTPError:
        """[auth.challenge] [auth.challenge-scopes] A refusal that tells where to get a token, and for which scopes."""
        # [auth.scopes-consistent] Those of the server, and those that the call needs beside them.
        scope = " ".join(sorted({*self.scopes, *scopes})) or None
        told = present(error=error, error_description=error and message, scope=scope,
                       resource_metadata=self.metadata_url if self.authorization_servers else None)  # fmt: skip
        parameters = ", ".join(f'{name}="{value}"' for name, value in {"realm": "mcp", **told}.items())
        return HTTPError(status, message, ("WWW-Authenticate", f"Bearer {parameters}"))


def fixed_token(token: str) -> Auth:
    """The simplest lock: everybody who knows the token enters, as the same principal. ValueError."""
    if not VISIBLE.fullmatch(token):
        raise ValueError("a token is one or more visible ASCII characters, without spaces")

    async def verify(given: str) -> str | None:
        return "bearer" if hmac.compare_digest(given, token) else None  # [auth.constant-time]

    return Auth(verify)


async def check_authorization(server: MCPServer, auth: Auth, request: Request) -> None:
    """[auth.every-request] Find out whose token a request carries, and note that in the request. HTTPError."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.lstrip(" ")  # [auth.credentials]
    if scheme.lower() != "bearer":  # [auth.missing-401] [auth.no-error-without-token] other schemes mean nothing here
        raise auth.challenge(401, "a token is needed: send the header field 'Authorization: Bearer <token>'")
    if not VISIBLE.fullmatch(token):  # [auth.malformed-400]
        raise auth.challenge(400, "expected 'Authorization: Bearer <token>'", "invalid_request")
    task = asyncio.current_task()
    assert task
    request.on_disconnect = task.cancel  # [auth.judged-for-somebody] or a call would begin that nobody can end any more
    try:  # [limits.verify]
        async with asyncio.timeout(server.limits.verify_seconds):
            granted = await auth.verify(token)
    except TimeoutError:
        log.warning("a token could not be judged in time", exc_info=True)
        raise HTTPError(503, "the token could not be judged in time: try again later", ("Retry-After", "1")) from None
    finally:
        request.on_disconnect = None
    principal, scopes = granted if isinstance(granted, tuple) else (granted, ())
    if not principal:  # [auth.invalid-401] None; and without an identity, as in (None, []) or '', nobody enters
        raise auth.challenge(401, "the token is not valid here, or no longer", "invalid_token")
    if not isinstance(principal, str):  # [auth.principal-form] True and 1 are equal, and a list is not what was meant
        raise TypeError(f"verify must return a str, (str, scopes) or None, not {type(principal).__name__}")
    request.principal, request.scopes = principal, read_scopes(scopes)  # [auth.no-token-kept] whose it is, not which
    if not request.scopes.issuperset(auth.scopes):  # [auth.insufficient-403]
        raise auth.challenge(403, "the token lacks a scope that is needed here", "insufficient_scope")


def check_tool_scopes(server: MCPServer, auth: Auth, request: Request, message: Any) -> None:
    """[auth.tool-scopes] A tool may want more of a token than the server does, and says so before anything runs."""
    needed: set[str] = set()
    for call in message if isinstance(message, list) else [message]:
        params = call.get("params") if isinstance(call, dict) and call.get("method") == "tools/call" else None
        name = params.get("name") if isinstance(params, dict) else None
        tool = server.tools.get(name) if isinstance(name, str) else None
        needed |= tool.scopes if tool else set()  # all at once: a user is asked once for the whole of a batch
    if missing := needed - request.scopes:
        # [auth.scopes-kept] With what it may already do here: the new token of many clients lacks what the old one had.
        kept = {scope for tool in server.tools.values() for scope in tool.scopes & request.scopes}
        lacking = f"the token lacks what this call needs: {' '.join(sorted(missing))}"
        raise auth.challenge(403, lacking, "insufficient_scope", needed | kept)


async def handle_metadata(server: MCPServer, request: Request) -> Reply:
    """[auth.metadata] Where tokens come from (RFC 9728), for a client that has none yet."""
    assert server.auth
    scopes = sorted(server.auth.scopes)  # [auth.scopes-minimal] A tool that wants more says so when it is called.
    document = {"resource": server.auth.resource, "authorization_servers": list(server.auth.authorization_servers),
                "bearer_methods_supported": ["header"], "resource_name": server.info.get("title", server.info["name"]),
                **present(scopes_supported=scopes or None)}  # fmt: skip
    return Reply(200, JSON_HEADERS, encode(document))


async def handle_health(server: MCPServer, request: Request) -> Reply:
    """[health.counts] For a load balancer: 503 tells it to look elsewhere."""
    streams = sum(connection.events is not None for connection in server.connections)
    counts = {"sessions": len(server.sessions.by_id), "streams": streams, "calls": len(server.calls)}
    closing = server.shut.is_set()
    status = {"status": "shutting down" if closing else "ok"}
    return Reply(503 if closing else 200, (*JSON_HEADERS, ("Cache-Control", "no-store")), encode(status | counts))


async def handle_post(server: MCPServer, request: Request) -> Reply:
    """[post.answer-json-or-sse] One POST brings one message."""
    takes = parse_accept(request.headers.get("accept", "*/*"))
    if takes == (False, False):  # [reply.not-acceptable]
        raise HTTPError(406, "Accept must allow application/json or text/event-stream")
    check_content_type(request)
    message = parse_message(request.body)
    if server.auth:
        check_tool_scopes(server, server.auth, request, message)
    # [modern.same-endpoint]
    answer = answer_statelessly if is_stateless(request, message) else answer_in_session
    return await answer(server, request, message, takes)


def check_content_type(request: Request) -> None:
    """[body.json-only] Any web page can send text/plain without asking."""
    content_type = request.headers.get("content-type", "")
    if content_type != "application/json":  # as nearly all write it
        content_type = content_type.partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HTTPError(415, f"Content-Type must be application/json, got {content_type[:100]!a}")


async def handle_get(server: MCPServer, request: Request) -> Reply:
    """[get.stream-or-405] Open the session's own stream, or resume the one that Last-Event-ID names."""
    check_version_header(request)
    check_takes_stream(request)
    session = server.sessions.find(request.headers.get("mcp-session-id"), request.principal)
    return read_stream(request, session, session.standalone_stream)


def check_takes_stream(request: Request) -> None:
    if not parse_accept(request.headers.get("accept", "*/*"))[1]:
        raise HTTPError(406, "Accept must allow text/event-stream: a GET opens an event stream")


def read_stream(request: Request, session: Session, open_stream: Callable[[], Stream]) -> Reply:
    if last_event_id := request.headers.get("last-event-id"):  # [resume.replay] [resume.any-origin]
        stream, number = session.find_event(last_event_id)
        return Reply(200, EVENT_STREAM_HEADERS, stream=stream, after=number)
    return Reply(200, EVENT_STREAM_HEADERS, stream=open_stream())


async def handle_delete(server: MCPServer, request: Request) -> Reply:
    """[session.delete-ends] The client is done."""
    check_version_header(request)
    session = server.sessions.find(request.headers.get("mcp-session-id"), request.principal)
    server.sessions.end(session, "the client ended the session")
    return Reply(200)


async def handle_options(server: MCPServer, request: Request) -> Reply:
    """[cors.preflight] Say what is possible here, to a browser too. Header names are sent back as they came."""
    asked = request.headers.get("access-control-request-headers", "")
    names = ", ".join(name for name in map(str.strip, asked.split(",")) if re.fullmatch(TOKEN, name))
    allow = server.routes[request.route].allow
    return Reply(204, (allow, ("Access-Control-Allow-Methods", allow[1]), ("Access-Control-Allow-Headers", names)))


def refuse(request: Request, error: HTTPError) -> Reply:
    """[post.refused-error-status] [answers.json] Turn a refusal into its reply: a JSON-RPC error of no request's id."""
    # [error.id-required] Before 2025-11-25 an error needs an id, and JSON-RPC says null where there is none.
    needs_id = request.headers.get("mcp-protocol-version", "") < "2025-11-25"
    body = {"jsonrpc": "2.0", **({"id": None} if needs_id else {}), "error": error_object(error.code, error.message)}
    return Reply(error.status, (*JSON_HEADERS, *error.headers), encode(body))


def cors_headers(origin: str) -> tuple[tuple[str, str], ...]:
    """[cors.allowed-only] Let a web page of an allowed origin read the reply."""
    exposed = "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate"
    return ("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", exposed), ("Vary", "Origin")


Verb = Callable[["MCPServer", Request], Awaitable[Reply]]
VERBS: dict[str, Verb] = {"POST": handle_post, "GET": handle_get, "DELETE": handle_delete, "OPTIONS": handle_options}
PROTECTED_RESOURCE = "/.well-known/oauth-protected-resource"


# ---- 13 Two channels ---------------------------------------------------------------------------------
# The simpler picture that Streamable HTTP grew out of: one channel for what the client says, another for what the
# server says, and a session id that ties them together. A second binding over the sessions, streams and dispatch
# above, in two dialects: HTTP+SSE of revision 2024-11-05, and the routes by which the transport is often taught.
# SPEC.md calls the latter "the lesson", and tells where the two and the specification differ.


class Channel(Exchange):
    """An exchange whose POST was only acknowledged: all that its calls say goes down the session's streams."""

    def __init__(self, session: Session, tool: str) -> None:
        super().__init__(takes_json=False, takes_stream=True, open_stream=session.standalone_stream)
        self.session, self.tool = session, tool

    def open(self) -> None:
        """There is nothing to decide."""

    async def send(self, data: bytes, keep: bool = False) -> None:
        """[lesson.tool-stream] Progress, logs and questions of a tool go down its own stream, if that is read."""
        own = self.session.tool_streams.get(self.tool)
        if not self.finished:
            await (own if own and own.sink else self.open_stream()).send(data, keep)

    def finish(self, answers: list[bytes]) -> None:
        """[lesson.primary-stream] Answers go down the primary stream, and do not end it; they end the tool's own."""
        self.finished = True
        for answer in answers:
            self.open_stream().push(answer, keep=True)
        others = [call.exchange for call in self.session.calls]
        busy = any(isinstance(other, Channel) and other.tool == self.tool for other in others)
        if not busy and (own := self.session.tool_streams.pop(self.tool, None)):
            own.finish()


async def handle_sse(server: MCPServer, request: Request) -> Reply:
    """Read the primary stream of the session that the URL names; without a name, open one in the old way."""
    check_takes_stream(request)
    if session_id_in_url(request) is not None:
        session = find_two_channel_session(server, request)
        return read_stream(request, session, session.standalone_stream)
    session = server.sessions.open(request.principal, "", {}, {}, two_channel=True)  # `initialize` will tell the rest
    stream = session.standalone = session.streams[""] = Stream(server.limits, kind="message")
    # [channel.endpoint-event] [channel.message-events] The first event says where to POST, relative to the URL of this.
    stream.push(f"{server.root_path}/messages?session_id={session.id}".encode(), keep=True, kind="endpoint")

    def left(reason: str) -> None:
        """[channel.shutdown] Old clients do not come back, so the end of the connection ends the session."""
        if stream.sink is None:  # else another connection has taken it over
            server.sessions.end(session, reason)

    request.on_disconnect = left
    return Reply(200, EVENT_STREAM_HEADERS, stream=stream)


async def handle_tool_stream(server: MCPServer, request: Request) -> Reply:
    """Read a tool's own stream, opened before its call or during it; it ends when no call of the tool runs any more."""
    check_takes_stream(request)
    session, tool = find_two_channel_session(server, request), request.variables["tool_name"]
    if tool not in server.tools or not server.enable_tool_sse:
        raise HTTPError(404, "there is no such tool, or it has no stream of its own: read the primary stream")
    return read_stream(request, session, lambda: session.tool_stream(tool))


async def handle_initialize(server: MCPServer, request: Request) -> Reply:
    """[lesson.initialize] Open a session as the single endpoint does."""
    message = read_implied(request)
    if not is_initialize(message):
        raise HTTPError(400, "expected an initialize request, or its params")
    return initialize(server, request, message, (True, False), two_channel=True)


async def handle_message(server: MCPServer, request: Request) -> Reply:
    """[channel.post-202] Acknowledge at once; what the message brings about comes on the stream."""
    body = read_implied(request)
    session, lesson = find_two_channel_session(server, request, body), session_id_in_url(request) is None
    if server.auth:
        check_tool_scopes(server, server.auth, request, body)
    message = body if isinstance(body, dict) else {}
    method = message.get("method", "")
    # [lesson.id-given] The lesson's requests have no ids, which would make them notifications; so they get one here.
    if lesson and method and "id" not in message and not method.startswith("notifications/"):
        session.asked += 1
        message["id"] = session.asked
    if any(isinstance(one, dict) and is_request(one) for one in (body if isinstance(body, list) else [body])):
        await check_backlog(session)
    if is_initialize(message) or is_request(message) and not session.version and method != "ping":
        session.standalone_stream().push(answer_initialize(server, session, message), keep=True)
    else:
        tool = str(message.get("params", {}).get("name")) if method == "tools/call" else ""
        start_calls(server, request, session, body, Channel(session, tool))
    # [lesson.acknowledge] Who brought no id learns here which one the answer will have.
    return Reply(200, JSON_HEADERS, encode(present(id=message.get("id")))) if lesson else Reply(202)


def read_implied(request: Request) -> Any:
    """Read a body. Where the path says what is meant, one that is no JSON-RPC holds the params: {"protocol": "mcp"}."""
    check_content_type(request)
    body, implied = parse_json(request.body), IMPLIED.get(request.route)
    if implied and isinstance(body, dict) and "jsonrpc" not in body:
        body = {"jsonrpc": "2.0", **implied, "params": implied.get("params", {}) | body}
    return body if isinstance(body, list) else check_envelope(body)


def answer_initialize(server: MCPServer, session: Session, message: Message) -> bytes:
    """[channel.initialize-first] Answer `initialize`, or refuse what comes before: we do not know who the client is."""
    try:
        if not is_initialize(message):
            raise RPCError(INVALID_REQUEST, "send initialize first")
        session.version, session.client_info, session.client_capabilities = read_client(server, message, True)
        return introduce(server, session, message)
    except RPCError as error:
        return encode_error(message["id"], error)


async def check_backlog(session: Session) -> None:
    """[limits.backlog] Answers that wait are never forgotten, so who does not read them may not ask for more."""
    stream, limits = session.standalone_stream(), session.sessions.limits
    while stream.replay and (stream.size > limits.stream_bytes or len(stream.replay) > limits.stream_events):
        stream.size -= len(stream.replay.pop(0).frame)  # handed over long ago
    if stream.size > limits.stream_bytes or len(stream.unsent) > limits.stream_events:
        if stream.sink is None:
            raise HTTPError(429, "too many answers wait: read the event stream first", ("Retry-After", "1"))
        await stream.sink.drain()  # somebody reads, and is only slow
        session.sessions.find(session.id, session.principal, two_channel=True)  # or has left, and the session has ended


def find_two_channel_session(server: MCPServer, request: Request, body: Any = None) -> Session:
    """[lesson.session-id] The id comes in the URL, the header, the body, or the params in the body. HTTPError."""
    message = body if isinstance(body, dict) else {}
    params = message.get("params")  # which a response may hold in any form
    places = (session_id_in_url(request), request.headers.get("mcp-session-id"), message.get("sessionId"),
              params.get("sessionId") if isinstance(params, dict) else None)  # fmt: skip
    session_id = next((place for place in places if isinstance(place, str)), None)
    if session_id is None:
        raise HTTPError(400, "the session id is missing: GET /sse, or POST /initialize, and send the id that it gives")
    return server.sessions.find(session_id, request.principal, two_channel=True)


def session_id_in_url(request: Request) -> str | None:
    query = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
    return request.variables.get("session_id") or query.get("session_id", [None])[0]


IMPLIED: dict[str, Message] = {  # by the path of a POST
    "/initialize": {"id": 0, "method": "initialize", "params": {"protocolVersion": ""}},  # which gets the newest
    "/notifications/initialized": {"method": "notifications/initialized"},
}
TWO_CHANNEL_ROUTES: dict[str, dict[str, Verb]] = {
    "/sse": {"GET": handle_sse},  # [channel.two-endpoints] [legacy.old-endpoints]
    "/messages": {"POST": handle_message},
    # [lesson.routes] The lesson calls the path for messages by several names.
    "/initialize": {"POST": handle_initialize},
    "/notifications/initialized": {"POST": handle_message},
    "/notifications": {"POST": handle_message},
    "/request": {"POST": handle_message},
    "/sse/message": {"POST": handle_message},
    "/sse/{session_id}": {"GET": handle_sse},
    "/sse/{session_id}/tool/{tool_name}": {"GET": handle_tool_stream},
}


# ---- 14 Server ---------------------------------------------------------------------------------------
# Sockets in, sockets out, and the class that holds it all. Bytes that come are read as far as they go, and each
# request is answered before the next is read; a sweep looks at every deadline once a second, which is cheaper
# than a timer for each.


class Connection(asyncio.Protocol):
    """One TCP connection, and the `Sink` of the event stream that it carries at the moment, if there is one.

    It reads and answers in a task that ends where its bytes do: a connection that is idle has none.
    """

    def __init__(self, server: MCPServer) -> None:
        # For its whole life.
        self.server, self.reader = server, ByteReader()
        self.transport: asyncio.Transport
        self.requests: Generator[Literal[True] | None, None, None]  # `read_requests`, and then `discard`
        self.serving = False  # whether `serve` runs,
        self.task: asyncio.Task[None] | None = None  # in this task
        self.deadline, self.awaited = math.inf, ""  # when the sweep gives up, and on what
        self.paused_at = math.inf  # since when the peer does not read,
        self.resumed: asyncio.Event | None = None  # and what tells that it reads again
        self.unread = 0  # bytes that waited for it when the sweep last looked
        self.gathered = bytearray()  # what of an event stream goes out at the end of this turn of the event loop
        self.written_at = 0.0  # when we last wrote to one
        # For one request.
        self.request = NO_REQUEST  # that is being read or answered
        self.begun = 0.0  # when its first bytes came
        self.events: Stream | None = None  # that answers it
        self.ended: asyncio.Future[None]  # that this stream has left us
        self.chunked = False  # whether what is written goes into chunks; HTTP/1.0 gets it bare, until we close

    # What the event loop tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = typing.cast(asyncio.Transport, transport)
        self.server.connections.add(self)
        # Counted now: on Python 3.11 the task that answers begins when all who came in the same turn are there.
        self.requests = self.read_requests(len(self.server.connections) > self.server.limits.connections)
        self.go_on()

    def data_received(self, data: bytes) -> None:
        self.reader.buffer += data
        if not self.serving:
            self.go_on()
        elif len(self.reader.buffer) > 65536:  # [http.read-ahead] while we answer, the rest waits in the kernel
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self.give_up(ConnectionEnded())
        if self.request.on_half_close:
            self.request.on_half_close()
        if self.request is not NO_REQUEST:
            self.probe(3)
        return self.transport.can_write_eof()  # the peer has said all, and may still listen; TLS ends for both

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        if not self.server.connections:
            self.server.vacant.set()
        if self.events:  # [disconnect.not-cancel] The stream goes on without us.
            self.events.detach(self)
        if self.request.on_disconnect:
            self.request.on_disconnect("the client closed the connection")
        self.resume_writing()
        self.give_up(ConnectionEnded())

    def pause_writing(self) -> None:
        self.paused_at, self.resumed = self.server.clock(), asyncio.Event()

    def resume_writing(self) -> None:
        self.paused_at = math.inf
        if self.resumed:
            self.resumed.set()
            self.resumed = None
        if self.events:
            self.events.pump()

    # What we do.

    def go_on(self) -> None:
        self.serving = True
        task = start_task(self.serve())
        self.task = task if self.serving else None  # the event loop would not hold it

    def give_up(self, reason: Exception) -> None:
        """No more bytes will come, or be waited for."""
        self.reader.ended = self.reader.ended or reason
        if not self.serving and not self.transport.is_closing():
            self.go_on()

    async def serve(self) -> None:
        """[http.pipelining] Answer requests as far as the bytes go, each before the next is read."""
        try:
            while next(self.requests) and not self.transport.is_closing():  # else nobody would end what it begins
                self.deadline = math.inf
                if not await self.send_reply(await self.server.handle(self.request)):
                    self.linger()
                    return
                if self.reader.buffer:
                    await asyncio.sleep(0)  # a turn for the others
            self.expect()
            self.transport.resume_reading()
        except HTTPError as error:  # nothing that follows can be trusted to be a request
            self.request = dataclasses.replace(self.request, headers=self.request.headers | {"connection": "close"})
            await self.send_reply(refuse(self.request, error))
            self.linger()
        except (ConnectionEnded, OSError):  # the peer is gone, which is its right
            self.close()
        except Exception:  # a reply that cannot be written; its peer would take the next one for it
            log.exception("%s %s: no reply", self.request.method, self.request.route)
            self.transport.abort()
        finally:
            self.serving = False
            if self.reader.ended:  # as it was raised, it holds the frames that it passed, and they hold us
                self.reader.ended.__traceback__ = None

    def read_requests(self, too_many: bool) -> Generator[Literal[True] | None, None, None]:
        """Read one request after the other, each into `request`; yield True for each, and None for more bytes."""
        server, reader, limits = self.server, self.reader, self.server.limits
        if too_many:  # [limits.connections]
            raise HTTPError(503, "too many connections: try again later", ("Retry-After", "1"))
        while True:
            self.request = NO_REQUEST  # the one before is answered: it shall be neither kept nor mistaken for
            if not reader.buffer:
                yield from reader.more()
            self.begun = server.clock()
            self.request = request = yield from read_head(reader, limits)
            body = read_body(reader, request, limits)
            # [http.expect-100] [http.old-no-expect]
            if request.minor_version and request.headers.get("expect", "").lower() == "100-continue":
                body = self.invite(body)
            request.body = yield from body
            yield True

    def invite(self, reading: Reading[bytes]) -> Reading[bytes]:
        """Read a body that the peer will send when it is told to; first it must be one that we would read."""
        try:
            next(reading)
        except StopIteration as whole:
            return typing.cast(bytes, whole.value)
        self.transport.write(CONTINUE)
        yield
        return (yield from reading)

    def discard(self) -> Reading[None]:
        """Read, and throw away."""
        while True:
            self.reader.buffer.clear()
            yield from self.reader.more()

    def expect(self) -> None:
        """Note what we wait for, and until when. Between two requests nothing is due: the end is silent."""
        limits, before = self.server.limits, self.awaited
        if self.request is not NO_REQUEST:
            self.awaited, patience = "the request body", limits.body_seconds
        elif self.reader.buffer:
            self.awaited, patience = "the request head", limits.head_seconds
        else:
            self.awaited, patience = "", limits.idle_seconds
        if self.awaited != before or self.deadline == math.inf:  # more bytes of the same do not push it on
            self.deadline = self.server.clock() + patience

    async def send_reply(self, reply: Reply) -> bool:
        """Send the reply, to its end, and tell whether the connection may carry another one."""
        request, stream, body, size, framing = self.request, reply.stream, reply.body, len(reply.body), b""
        if request.method == "HEAD":  # [http.head-no-body] nor a stream
            stream, body = None, b""
        self.chunked = stream is not None and request.minor_version > 0  # [http.old-no-chunks]
        stays = request.keep_alive and not self.server.shut.is_set() and (stream is None or self.chunked)
        if self.chunked:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif reply.stream is None and reply.status != 204:  # [http.204-no-length]
            framing = b"Content-Length: %d\r\n" % size
        if not stays:  # [http.close-said]
            framing += b"Connection: close\r\n"
        elif request.minor_version == 0:
            framing += b"Connection: keep-alive\r\n"
        data = b"%b%b\r\n%b" % (format_head(reply.status, reply.headers, format_date(int(time.time()))), framing, body)
        if stream is None:
            self.transport.write(data)
        else:
            self.gather(data)
            self.events, self.ended = stream, asyncio.get_running_loop().create_future()
            stream.attach(self, reply.after)
            if self.transport.is_closing():  # the peer left before, and nobody else will tell the stream
                stream.detach(self)
            await self.ended
        if self.congested:
            await self.drain()
        if log.isEnabledFor(logging.INFO):
            self.log_access(request, reply.status)
        return stays and not self.server.shut.is_set() and not self.transport.is_closing()

    def log_access(self, request: Request, status: int) -> None:
        """[log.access] [log.no-credentials] A line a request: no query and no variables, which may be session ids."""
        peer, took = self.transport.get_extra_info("peername") or ["-"], self.server.clock() - self.begun
        where = request.route or re.sub(r"[\w-]{32,}", "...", request.path)  # an id in a path that we do not know
        log.info("%s %s %.100a %d %.3f s", peer[0], request.method or "-", where, status, took)

    def linger(self) -> None:
        """[http.linger] Give the peer 2 seconds to read our last answer: closing on unread bytes would destroy it."""
        if self.transport.is_closing():
            return  # the peer has gone, and `connection_lost` will tell whoever has to know
        self.requests, self.request = self.discard(), NO_REQUEST
        self.deadline, self.awaited = self.server.clock() + 2, ""
        self.transport.resume_reading()
        if self.reader.ended or self.server.shut.is_set():
            self.close()
        elif self.transport.can_write_eof():  # TLS cannot: its peer goes by the length of the answer
            with contextlib.suppress(OSError):  # the peer has gone
                self.transport.write_eof()

    def close(self) -> None:
        """Once: a TLS transport that is closed again, while its peer has not yet agreed, fails whatever it is asked."""
        if not self.transport.is_closing():
            self.transport.close()

    def probe(self, times: int) -> None:
        """Write to a peer that sends no more: if it is gone, its machine says so after the first, and we see it."""
        if times and not self.transport.is_closing():
            if self.events:
                self.write(COMMENT)
            asyncio.get_running_loop().call_later(0.1, self.probe, times - 1)

    def sweep(self, now: float, limits: Limits) -> None:
        """[limits.time] [stream.heartbeat] Called once a second: give up on a late peer, and keep proxies awake."""
        unread, self.unread = self.unread, self.transport.get_write_buffer_size()
        if self.transport.is_closing():  # what is left must be read, too, and too little is left to pause for
            self.paused_at = min(self.paused_at, now)
        if self.unread < unread and self.paused_at < math.inf:
            self.paused_at = now  # it reads, if slowly
        if now - self.paused_at > limits.send_seconds:
            log.info("connection dropped: its peer read nothing for %g seconds", limits.send_seconds)
            self.transport.abort()
        elif now > self.deadline:
            self.deadline = math.inf
            if self.awaited:
                self.give_up(HTTPError(408, f"{self.awaited} took too long"))
            else:
                self.close()
        elif self.events and now - self.written_at >= limits.heartbeat_seconds:
            self.write(COMMENT)

    # What a `Sink` does.

    @property
    def congested(self) -> bool:
        return self.resumed is not None

    def write(self, data: bytes) -> None:
        self.written_at = self.server.clock()
        self.gather(format_chunk(data) if self.chunked else data)

    def gather(self, data: bytes) -> None:
        """[stream.one-go] What is written within one turn of the event loop, or fills 64 KiB, goes out in one go."""
        if not self.gathered:
            asyncio.get_running_loop().call_soon(self.flush)
        self.gathered += data
        if len(self.gathered) > 65536:
            self.flush()

    def flush(self) -> None:
        if self.gathered and not self.transport.is_closing():
            self.transport.write(bytes(self.gathered))
        self.gathered.clear()

    async def drain(self) -> None:
        stream = self.events  # if another connection takes it, who writes to it need not wait for ours
        while self.resumed and self.events is stream and not self.transport.is_closing():
            await self.resumed.wait()

    def end(self) -> None:
        self.events = None
        if self.chunked:
            self.chunked = False
            self.gather(LAST_CHUNK)
        self.flush()
        if self.resumed:  # wake those in `drain`
            self.resumed.set()
            self.resumed = asyncio.Event()
        if not self.ended.done():
            self.ended.set_result(None)


class MCPServer(Catalog):
    """An MCP server: register tools, resources and prompts with the decorators, then `run` it.

    Its settings, beside those that go to the client as the specification names them (name to icons):
    session_timeout: seconds after its last use that a session ends
    limits: on what one peer may cost, see `Limits`
    path: of the endpoint; with and without a slash at the end it is the same
    page_size: entries in one page of a list; None for all in one
    allowed_hosts, allowed_origins: beside loopback, like 'mcp.example.com' and 'https://app.example.com'
    auth: who may enter: a token that all clients know, an async function that judges tokens, or an `Auth`
    secret: seals what clients of 2026-07-28 keep for us between two rounds of a call; processes that share the work
        share it; of several the first one seals and all are accepted, so that it can be changed; None: a random one
    cache_lists, cache_reads: (milliseconds, 'public' or 'private'), what such clients may do with lists and resources;
        lists are 'public' for a minute, and 'private' where there is `auth`
    two_channel: serve old clients, too: HTTP+SSE of 2024-11-05, and the routes by which the transport is often taught;
        off by default, since the session id is part of their URLs, which end up in logs: [channel.off-by-default]
    enable_tool_sse: whether each tool has a stream of its own there, for what its calls say before they end
    root_path: what a proxy takes off our paths; old clients are told to POST to a path that begins with it
    clock: gives seconds that never go back; tests turn their own
    """

    def __init__(
        self, name: str, version: str = "0.1.0", *, title: str | None = None, description: str | None = None,
        instructions: str | None = None, website_url: str | None = None, icons: list[Message] | None = None,
        session_timeout: float = 300, limits: Limits = Limits(), path: str = "/mcp", page_size: int | None = None,
        allowed_hosts: Iterable[str] = (), allowed_origins: Iterable[str] = (),
        auth: str | Callable[[str], Awaitable[Any]] | Auth | None = None,
        secret: str | bytes | Sequence[str | bytes] | None = None,
        cache_lists: Cache | None = None, cache_reads: Cache = (0, "private"),
        two_channel: bool = False, enable_tool_sse: bool = True, root_path: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        super().__init__()
        self.info = present(name=name, title=title, version=version, description=description,
                            websiteUrl=website_url, icons=icons)  # fmt: skip
        self.instructions, self.limits, self.page_size, self.clock = instructions, limits, page_size, clock
        self.path, self.root_path = "/" + path.strip("/"), f"/{root_path.strip('/')}".rstrip("/")
        self.enable_tool_sse = enable_tool_sse
        self.allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self.allowed_origins = frozenset(origin.rstrip("/") for origin in allowed_origins)
        self.auth = fixed_token(auth) if isinstance(auth, str) else Auth(auth) if callable(auth) else auth
        lists = (60_000, "private" if auth else "public") if cache_lists is None else cache_lists
        self.cache_lists, self.cache_reads = check_cache(lists), check_cache(cache_reads)
        keys = [secrets.token_bytes(32)] if secret is None else [secret] if isinstance(secret, (str, bytes)) else secret
        self.secrets = [key.encode() if isinstance(key, str) else key for key in keys]
        if not keys or not all(keys):
            raise ValueError("secret must not be empty: anybody could seal with it")
        self.sessions = Sessions(limits, session_timeout, clock)
        self.routes = {"*": Route(("*",), {"OPTIONS": handle_options}, frozenset())}  # [http.options-all]
        self.route("GET", "/health", handle_health)
        if self.auth and self.auth.authorization_servers:
            for where in {"", self.path, urlsplit(self.auth.resource).path}:
                self.route("GET", PROTECTED_RESOURCE + where, handle_metadata)
        if two_channel and self.path in TWO_CHANNEL_ROUTES:
            raise ValueError(f"{self.path} is a path of two_channel: the MCP endpoint needs another one")
        for where, verbs in TWO_CHANNEL_ROUTES.items() if two_channel else ():
            self.routes[where] = Route(parse_template(where), verbs | {"OPTIONS": handle_options}, frozenset(verbs))
        # [auth.all-connections] But a preflight, which browsers send without a token.
        self.routes[self.path.removesuffix("/")] = Route((self.path,), VERBS, frozenset(VERBS) - {"OPTIONS"})
        self.connections: set[Connection] = set()
        self.calls: set[Context] = set()  # in flight
        self.listeners: dict[Context, Message] = {}  # calls of subscriptions/listen -> what each wants to hear of
        # Of the event loop that serves.
        self.loop: asyncio.AbstractEventLoop | None = None
        self.loop_thread = 0
        self.threads = asyncio.Semaphore(limits.threads)
        self.shut = asyncio.Event()  # that the server is closing
        self.vacant = asyncio.Event()  # that its last connection has closed
        self.stopped: asyncio.Event | None = None  # that `run` shall end
        self.listener: asyncio.Server | None = None
        self.sweeper: asyncio.TimerHandle | None = None

    def route(self, method: str, path: str, function: Verb, *, guarded: bool = False) -> None:
        """Serve something beside MCP: `mcp.route("GET", "/", page)`, where `async def page(server, request) -> Reply`.

        A path may have variables, '/files/{name}', which come in `request.variables`. `Host` and `Origin` are checked
        for all; where there is `auth`, `guarded` asks for a token, too. ValueError for a bad path, or MCP's own.
        """
        if not re.fullmatch("[A-Z]+", method) or not path.startswith("/"):
            raise ValueError(f"expected a method like 'GET' and a path like '/page', got {method!r} and {path!r}")
        path, methods = path.removesuffix("/"), ["GET", "HEAD"] if method == "GET" else [method]
        route = self.routes.setdefault(path, Route(parse_template(path), {}, frozenset()))
        if route.verbs is VERBS:
            raise ValueError(f"{self.path} is the MCP endpoint: put {method} somewhere else")
        route.verbs |= dict.fromkeys(methods, function) | {"OPTIONS": handle_options}
        route.guarded = route.guarded.difference(methods).union(methods if guarded else ())  # [route.guarded]

    # The server as a function.

    async def handle(self, request: Request) -> Reply:
        """Do everything that lies between a parsed request and the bytes of its reply. Never raises.

        A reply with a `stream` is complete when the stream, once it is attached to a `Sink`, ends that.
        """
        self.enter_loop()
        origin = None  # of a web page that may read the reply
        try:
            check_host(self, request)
            check_origin(self, request)
            origin = request.headers.get("origin")
            route = find_route(self, request)
            if request.method not in route.verbs:  # [http.405-allow] [http.method-501]
                known = request.method in KNOWN_METHODS
                problem = f"method {request.method[:20]} is {'not for this path' if known else 'unknown'}"
                raise HTTPError(405 if known else 501, problem, route.allow)
            if self.auth and request.method in route.guarded:  # [auth.before-processing]
                await check_authorization(self, self.auth, request)
            reply = await route.verbs[request.method](self, request)
            if not isinstance(reply, Reply):
                raise TypeError(f"a route's function must return a Reply, not {type(reply).__name__}")
        except HTTPError as error:
            reply = refuse(request, error)
        except RPCError as error:
            reply = refuse(request, HTTPError(400, error.message, code=error.code))
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
                raise  # the client left; without that, something else was cancelled, for which our function waited
            # [answers.nothing-internal] a bug: the log gets the story, the peer does not
            log.exception("%s %s failed", request.method, request.route)
            reply = refuse(request, HTTPError(500, "Internal error", code=INTERNAL_ERROR))
        if origin is not None:  # a new Reply, since some are shared
            reply = dataclasses.replace(reply, headers=(*reply.headers, *cors_headers(origin)))
        return reply

    def enter_loop(self) -> asyncio.AbstractEventLoop:
        """Note which event loop serves: another thread must know it, and what waits in it belongs to it."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop, self.loop_thread = loop, threading.get_ident()
            self.threads = asyncio.Semaphore(self.limits.threads)
            self.shut, self.vacant = asyncio.Event(), asyncio.Event()
        return loop

    def capabilities(self) -> Message:
        """[tool.capability] [resource.capability] [prompt.capability] [log.capability] [completion.capability]"""
        changes = {"listChanged": True}
        served = {"tools": changes, "resources": {"subscribe": True} | changes, "prompts": changes, "logging": {}}
        return served | ({"completions": {}} if self.completer else {})

    def announce(self, method: str, params: Message | None = None) -> None:
        """[tool.list-changed] [resource.list-changed] [prompt.list-changed] [resource.subscribe] [resource.listened]

        Send a notice to everybody who wants it: sessions on their GET stream, others on that of subscriptions/listen.
        """
        if self.loop is not None and self.loop_thread != threading.get_ident():
            self.loop.call_soon_threadsafe(self.announce, method, params)
            return
        if params is None:  # a list has changed
            self.pages.clear()
        data = encode_notification(method, params)
        for session in self.sessions.by_id.values():
            if params is None or params["uri"] in session.subscriptions:
                session.notify(data)
        for ctx, wanted in self.listeners.items():
            if LIST_FLAGS.get(method) in wanted or params and params["uri"] in wanted.get("resourceSubscriptions", ()):
                tagged = {"_meta": {META + "subscriptionId": ctx.request_id}, **(params or {})}  # [listen.tagged]
                assert ctx.exchange.stream
                ctx.exchange.stream.push(encode_notification(method, tagged))

    async def call_in_thread(self, function: Callable[[], T]) -> T:
        """[handler.threads] Run a plain function in a thread of its own, so that it holds up nobody.

        A daemon thread: unlike those of the standard pool, it does not hold up the end of the process either.
        """
        loop, context, ended = asyncio.get_running_loop(), contextvars.copy_context(), asyncio.Event()
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

        def work() -> None:
            try:
                outcome.set_result(context.run(function))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to who waits
                outcome.set_exception(RuntimeError(error) if isinstance(error, StopIteration) else error)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(leave)

        def leave() -> None:
            self.threads.release()
            ended.set()

        await self.threads.acquire()  # released by the thread's end, which a cancelled call does not bring about
        threading.Thread(target=work, name="streamhttp_mcp handler", daemon=True).start()
        await ended.wait()
        return outcome.result()

    # Life.

    async def start(
        self, host: str = "127.0.0.1", port: int = 8000, *, ssl_context: ssl.SSLContext | None = None,
        reuse_port: bool = False,
    ) -> str:  # fmt: skip
        """Listen, and return the endpoint's URL. Port 0 takes a free one. Raises OSError where that cannot be.

        With `ssl_context` it speaks TLS. With `reuse_port` several processes listen on one port, and the system deals
        out the connections: good for clients of 2026-07-28, while a session lives in one process.
        """
        loop, patience = self.enter_loop(), self.limits.head_seconds
        self.listener = await loop.create_server(
            lambda: Connection(self), host, port, backlog=1024, reuse_port=reuse_port or None, ssl=ssl_context,
            ssl_handshake_timeout=patience if ssl_context else None)  # fmt: skip
        self.shut.clear()
        name = f"[{host}]" if ":" in host else host
        if not is_loopback(name) and not self.allowed_hosts:  # [bind.localhost]
            log.warning("listening on %s, but only requests to localhost are answered: set allowed_hosts", host)
        if not self.auth and any(tool.scopes for tool in self.tools.values()):  # [auth.scopes-unasked]
            log.warning("tools name scopes, but nobody is asked for a token: set auth")

        def tick() -> None:
            self.sweeper = loop.call_later(1, tick)  # whatever goes wrong in this one
            self.sweep()

        tick()
        return f"{'https' if ssl_context else 'http'}://{name}:{self.listener.sockets[0].getsockname()[1]}{self.path}"

    def sweep(self) -> None:
        """Look at every deadline. A listening server does so once a second; with `handle` alone, call it yourself."""
        now = self.clock()
        for connection in list(self.connections):
            connection.sweep(now, self.limits)
        self.sessions.expire()

    async def close(self) -> None:
        """[shutdown.graceful] Stop listening, let running calls finish within the grace, then end all sessions."""
        self.shut.set()
        if self.listener:
            self.listener.close()
        for session in list(self.sessions.by_id.values()):
            if session.standalone and not session.two_channel:  # whose answers go down that stream
                session.standalone.detach()
        for connection in self.connections:
            if connection.deadline < math.inf:  # it waits for a request, which nobody would answer
                connection.close()
        if running := [call.task for call in self.calls if call.task]:
            await asyncio.wait(running, timeout=self.limits.grace_seconds)
        for session in list(self.sessions.by_id.values()):
            self.sessions.end(session, "the server is shutting down")
        if self.connections:
            self.vacant.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.vacant.wait(), 1)
        for connection in list(self.connections):
            connection.transport.abort()
        if self.listener and self.sweeper:
            self.sweeper.cancel()
            with contextlib.suppress(TimeoutError):  # nobody can end a TLS handshake that has begun
                await asyncio.wait_for(self.listener.wait_closed(), 1)

    @contextlib.asynccontextmanager
    async def serving(self, host: str = "127.0.0.1", port: int = 0, **options: Any) -> AsyncIterator[str]:
        """Serve inside an asyncio program: `async with mcp.serving() as url: ...`. Options are those of `start`."""
        url = await self.start(host, port, **options)
        try:
            yield url
        finally:
            await self.close()

    def run(self, host: str = "127.0.0.1", port: int = 8000, *, on_start: Callable[[str], None] | None = None,
            **options: Any) -> None:  # fmt: skip
        """Serve until SIGINT, SIGTERM or `stop()`. `on_start` gets the URL; other options are those of `start`."""

        async def serve() -> None:
            self.stopped, loop = asyncio.Event(), asyncio.get_running_loop()
            async with self.serving(host, port, **options) as url:
                if threading.current_thread() is threading.main_thread():
                    for number in (signal.SIGINT, signal.SIGTERM):
                        with contextlib.suppress(NotImplementedError):  # Windows
                            loop.add_signal_handler(number, self.stop, number)
                if on_start:
                    on_start(url)
                await self.stopped.wait()

        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve())

    def stop(self, number: int | None = None) -> None:
        """End `run`, from any thread. A second signal finds the default handler, which ends the process at once."""
        if number is not None and self.loop:
            self.loop.remove_signal_handler(number)
        if self.loop and self.stopped and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.stopped.set)


# ---- 15 Demo and main --------------------------------------------------------------------------------
# A server worth pointing a client at: it analyzes the text, Markdown and source files below one folder. First
# a pure function from text to numbers, then the one door to the disk (`find_document`), then the server,
# each feature put to one real use, then the page that shows the conversation, then `main`. Whatever a client
# sends, nothing outside the folder is read. Vendoring this file? Delete all from here to the licence.

STOP_WORDS = frozenset("""all also and any are been but can for from had has have her his how into its more not one our
    she than that the their them then there these they this was were what when which who will with you""".split())
WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")  # don't, well-known
# From a letter to a full stop and a space (alas, "e.g. this" is two), or to an empty line or one with a Markdown mark.
SENTENCE = re.compile(r"(?s)\w.*?(?:[.!?](?=\s)|(?=\n[ \t]*[\n#>|*+-])|\Z)")
CODE_BLOCK = re.compile(r"(?ms)^```.*?(?:^```|\Z)")
HEADING = re.compile(r"(?m)^#{1,6} +(.{1,200})")


@dataclass
class Report:
    """What `analyze_document` tells. Its hints become the tool's output schema, descriptions and all."""

    path: str
    words: int
    sentences: int
    reading_minutes: Annotated[float, "minutes to read it at 200 words a minute"]
    headings: Annotated[list[str], "the first 100 headings of a Markdown file"]
    frequent_terms: Annotated[dict[str, int], "the 10 most frequent terms: term -> times used"]
    longest_sentences: Annotated[list[str], "the 3 longest, each cut at 300 characters"]


def analyze(path: str, text: str, tell: Callable[[int, int], object] = lambda done, total: None) -> Report:
    """The report on a text; `tell(sentences done, sentences in all)` is called after each tenth of them."""
    sentences = [" ".join(match[0].split()) for match in SENTENCE.finditer(text)]
    tenth = max(1, len(sentences) // 10)
    words, terms = 0, Counter[str]()
    for done, sentence in enumerate(sentences, 1):
        found = WORD.findall(sentence.casefold())
        words += len(found)
        terms.update(word for word in found if len(word) > 2 and word not in STOP_WORDS)
        if done % tenth == 0 or done == len(sentences):
            tell(done, len(sentences))
    headings = HEADING.findall(CODE_BLOCK.sub("", text))[:100] if path.endswith(".md") else []
    longest = [sentence[:300] for sentence in sorted(sentences, key=len, reverse=True)[:3]]
    return Report(path, words, len(sentences), round(words / 200, 1), headings, dict(terms.most_common(10)), longest)


# A path is plain names with / between them. Refused by its spelling: control characters, half surrogates,
# the Windows separator and drive mark; an empty name (`/etc`, `a//b`); a dot in front (`..`, `.git`).
# `~` and `%2e` are only letters here. The rest is resolved, links and all, and must then be below the root.
UNSAFE = re.compile(r"[\x00-\x1f\x7f\\:\ud800-\udfff]")
MAX_DOCUMENT = 4 * 1024 * 1024  # characters; a long novel has 3 million
MAX_LISTED = 200  # documents listed at start-up; the template reaches the others


def find_document(root: Path, path: str) -> Path:
    """[demo.inside-root] The file that `path` means below `root`, or ToolError with the path as given, no real one."""
    if UNSAFE.search(path) or any(not name or name.startswith(".") for name in path.split("/")):
        raise ToolError(f"{path!r:.200} is no document path: expected one like 'notes/plan.md'")
    base = root.resolve()
    try:
        found = (base / path).resolve(strict=True)
    except (OSError, RuntimeError):  # missing, forbidden, a name too long, or links in a circle
        found = base
    # One message for all: what exists outside is nobody's business. A shortcut: who can write below root may
    # put a link in the file's place before it is opened; openat2(RESOLVE_BENEATH) would not fall for that.
    inside = found.is_relative_to(base) and not any(name[0] == "." for name in found.relative_to(base).parts)
    if not inside or not found.is_file():  # a folder, a device and a pipe are no documents
        raise ToolError(f"there is no document {path!r:.200}")
    return found


def read_document(root: Path, path: str) -> str:
    """The text of a document. Raises ToolError if it is absent, not text, or too long."""
    try:
        with find_document(root, path).open(encoding="utf-8-sig") as file:
            text = file.read(MAX_DOCUMENT + 1)  # the limit holds while reading: a log grows meanwhile
    except (OSError, UnicodeDecodeError):  # whose text might show the real path
        raise ToolError(f"cannot read {path!r}: it is not UTF-8 text, or access is denied") from None
    if len(text) > MAX_DOCUMENT:
        raise ToolError(f"{path!r} is longer than {MAX_DOCUMENT:,} characters")
    return text


def list_documents(root: Path) -> Iterator[str]:
    """The paths of what can be read below `root`, by name; nothing hidden, nothing binary."""
    for folder, folders, files in itertools.islice(os.walk(root), 1000):  # the folder may be a whole disk
        folders[:] = sorted(name for name in folders if name[0] != "." and name != "node_modules")
        for name in sorted(files)[:1000]:
            path = Path(folder, name).relative_to(root).as_posix()
            with contextlib.suppress(ToolError):  # what cannot be read is not listed
                read_document(root, path)
                yield path


TOKEN_VARIABLE, SECRET_VARIABLE = "STREAMHTTP_MCP_TOKEN", "STREAMHTTP_MCP_SECRET"  # what `ps` shows to nobody
DocumentPath = Annotated[str, "Path of a document, relative to the served folder, with / between the names"]
Domain = Literal["Finance", "Healthcare", "E-commerce", "Other"]


@dataclass
class DomainForm:  # one field, four choices
    domain: Annotated[Domain, "The domain this document is from"]


def document_analyzer(root: Path, **settings: Any) -> MCPServer:
    """A server for the documents below `root`; `settings` go to MCPServer."""
    mcp = MCPServer("document-analyzer", version=__version__, two_channel=True, **settings,
                    instructions="Analyzes text, Markdown and source files. Paths are relative to a folder.")

    # A plain `def` runs in a worker thread, so a large file holds up nobody; `ctx.wait` reaches back.
    @mcp.tool(annotations={"readOnlyHint": True})
    def analyze_document(path: DocumentPath, ctx: Context) -> Report:
        """Count a document's words and sentences, find its headings, frequent terms and longest sentences."""
        return analyze(path, read_document(root, path), lambda done, total: ctx.wait(
            ctx.report_progress(done, total, f"Analyzed {done:,} of {total:,} sentences of {path}")))

    @mcp.tool()
    async def long_running_operation(data: str, ctx: Context) -> str:
        """Process data in five batches and report progress after each."""
        for batch in range(1, 6):
            await asyncio.sleep(1)  # the work would be here
            await ctx.report_progress(batch, 5, f"Processing batch {batch}/5...")
        return f"Completed processing {data}"

    # Ask first, act after: a question may end the call and start it again from the top.
    @mcp.tool(annotations={"readOnlyHint": True})
    async def intelligent_analysis(path: DocumentPath, ctx: Context, domain: Domain | None = None) -> str:
        """Analyze a document for its domain, which the user is asked for if it is not given, and summarize it."""
        text = await asyncio.to_thread(read_document, root, path)  # a wrong path bothers nobody
        if domain is None:
            with contextlib.suppress(ToolError):  # the client has no forms: go on without
                answer = await ctx.elicit(f"What domain is {path} from?", DomainForm)
                domain = answer.data.domain if answer.action == "accept" else None
        try:
            summary = text_of(await ctx.sample(
                f"Summarize in three sentences. Domain: {domain or 'unknown'}.\n\n{text[:20_000]}", max_tokens=400))
        except ToolError as error:  # the client offers no model, or its user said no
            summary = f"none, {error}"
        report = await asyncio.to_thread(analyze, path, text)
        return (f"{path}: {report.words:,} words. Domain: {domain or 'not given'}.\n"
                f"Frequent terms: {', '.join(report.frequent_terms) or 'none'}.\nSummary: {summary}")

    @mcp.resource("doc://{+path}", mime_type="text/plain")  # with the + a variable may contain a /
    def document(path: str) -> str:
        """Any document of the served folder."""
        return read_document(root, path)

    listed = list(itertools.islice(list_documents(root), MAX_LISTED))
    for path in listed:
        mcp.add_resource(lambda path=path: document(path), "doc://" + quote(path), name=path, mime_type="text/plain")

    @mcp.prompt()
    def review_document(path: DocumentPath) -> str:
        """Ask for a review of a document, which comes with the question."""
        return f"Is {path} clear, correct and complete? Quote what you would change.\n\n{document(path)}"

    @mcp.completion()
    async def complete(ref: dict[str, Any], argument: dict[str, Any], context: dict[str, Any] | None) -> list[str]:
        return [path for path in listed if argument["value"].lower() in path.lower()]  # nothing else can be completed

    mcp.route("GET", "/", show_page)
    mcp.route("POST", "/expire", let_time_pass, guarded=True)
    return mcp


# The page at `/`: a client in the browser, which shows both sides of its conversation with the server it comes from.


async def show_page(server: MCPServer, request: Request) -> Reply:
    """[demo.page-policy] [demo.page-text] The page, open to all: a browser that follows a link has no token to send."""
    return Reply(200, PAGE_HEADERS, PAGE.replace("{endpoint}", html.escape("." + server.path)).encode())


async def let_time_pass(server: MCPServer, request: Request) -> Reply:
    """As if `session_timeout` had passed since a session was last used: who watches will not wait for it. Not MCP.

    The session then ends as any other does, by `Sessions.expire`; and, as any other, does not while it is in use.
    """
    sessions = server.sessions
    session = sessions.find(request.headers.get("mcp-session-id"), request.principal)
    if session.alive:
        raise HTTPError(409, "the session is in use: a call is running, or a stream is open")
    session.used -= sessions.timeout
    sessions.by_id.move_to_end(session.id, last=False)
    sessions.expire()
    return Reply(204)


def hash_source(element: str) -> str:
    """What a policy calls the content of PAGE's only <style> or <script>: 'style' -> "'sha256-...'"."""
    content = PAGE.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
    return f"'sha256-{to_base64(hashlib.sha256(content.encode()).digest())}'"


PAGE = r"""<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Watch MCP over HTTP</title><meta name="mcp-endpoint" content="{endpoint}">
<style>
:root { color-scheme: light dark; --paper: light-dark(#fbfaf7, #17171b); --ink: light-dark(#1f1d26, #ebe9f1);
  --muted: light-dark(#5d5a68, #a9a6b5); --line: light-dark(#dcd9e3, #3a3844); --raised: light-dark(#fff, #222228);
  --client: light-dark(#4338ca, #aab1ff); --server: light-dark(#0b6b60, #5fd3c0); --error: light-dark(#b3261e, #ff9d92);
  --mono: .8125rem/1.5rem ui-monospace, monospace; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink) }
* { box-sizing: border-box; min-width: 0; margin: 0; padding: 0 } h1 { font-size: 1.25rem } fieldset { border: 0 }
body { height: 100dvh; display: grid; grid-template-rows: auto 1fr; background: var(--paper) } main { overflow: auto }
header { display: grid; gap: .75rem; padding: 1rem; background: var(--raised); border-bottom: 1px solid var(--line) }
header > :not([hidden]), #stories, #eras, form div { display: flex; flex-flow: wrap; gap: .5rem; align-items: center }
small, #status, .job { font-size: .8125rem; color: var(--muted) } #status { flex: 1 }
label { display: inline-flex; gap: .4rem; align-items: center; min-height: 2.4rem }
button, select, input, textarea { font: inherit; color: inherit; background: var(--raised); max-width: 100%;
  border: 1px solid var(--muted); border-radius: .5rem; padding: .3rem .75rem; min-height: 2.4rem }
[type=radio], [type=checkbox] { min-height: 0; width: 1.1rem; height: 1.1rem; accent-color: var(--client) }
button:first-child, label + button { background: var(--client); border-color: var(--client); color: var(--raised) }
[aria-busy=true] button { background: none; border-color: var(--line); color: var(--muted) }
[aria-busy=true] [aria-current=true] { border-color: var(--client); color: var(--client) }
:focus-visible { outline: 3px solid var(--client); outline-offset: 2px } button:hover { border-color: var(--client) }
header > #now { display: grid; grid-template-columns: 5fr 6fr; gap: .25rem 2rem; min-height: 3rem; align-items: start }
.job { display: grid; grid-template-columns: 1fr 2fr 2fr; gap: .75rem; align-items: baseline; min-height: 1.5rem }
progress { width: 100%; height: .75rem; accent-color: var(--server) } .form time { display: none }
header, #heads, li { padding-inline: max(1rem, calc((100% - 90rem) / 2)); scroll-margin-bottom: 1rem }
#heads, li { display: grid; grid-template-columns: 3rem 5fr 5.5rem 7fr } li > * { grid-row: 1 }
#heads { position: sticky; top: 0; padding-block: .5rem; background: var(--paper); font-weight: 600 }
#heads > *, .client details, li > :is(p, form) { grid-column: 2; color: var(--client); padding-left: .4rem }
#heads > :last-child, details { grid-column: 4; color: var(--server); padding-left: .4rem }
#lanes span { margin-left: .5rem; padding: .1rem .6rem; border: 1px solid; border-radius: 1rem; font-size: .8125rem }
ol { padding-bottom: 1rem } li > p { padding-block: .5rem; color: var(--muted); font-size: .9375rem }
time { color: var(--muted); font: var(--mono); font-size: .75rem; line-height: 1.7rem }
/* In the middle: an arrow, if it has a tip. In each lane: a line down, a dot, and from that a line to the right. */
li > div { grid-column: 3; display: flex; --tone: var(--server); background: no-repeat linear-gradient(var(--tone) 0 0)
  0 .85rem / 100% 1px, no-repeat conic-gradient(from var(--tip), var(--tone) 90deg, #0000 0) var(--side)
  calc(.85rem - 4.5px) / 5px 10px } .server > div:not(:has(.dot)) { --tip: 45deg at left; --side: left }
.client > div { --tone: var(--client); --tip: 225deg at right; --side: right } .dot ~ i { --across: 100% }
i { flex: 1; background: linear-gradient(var(--tone) 0 0) 0 .85rem / var(--across, 0) 1px no-repeat,
  linear-gradient(var(--server) 0 0) 50% var(--from, 0) / 2px var(--length, 0) no-repeat,
  radial-gradient(circle at 50% .85rem, var(--server) var(--dot, -1px), #0000 calc(var(--dot, -1px) + 1px)) }
.on { --length: 100% } .from { --from: .85rem } .end { --length: .85rem } .dot { --dot: 4px }
summary { display: flex; gap: .75rem; align-items: baseline; padding: .1rem .4rem .1rem 0; cursor: pointer }
summary:hover, [open] { background: var(--raised) } b { min-width: 4rem; font-size: .8125rem } b ~ small { flex: none }
code, pre { font: var(--mono); color: var(--ink); overflow-wrap: anywhere }
code, .job span { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
code small { display: inline-block; margin-left: .75rem; font-family: system-ui } [open] code { white-space: normal }
pre { padding: .25rem 0 .75rem; white-space: pre-wrap; max-height: 24rem; overflow: auto; line-height: 1.25rem }
.error :is(code, small) { color: var(--error) } form pre { max-height: 9rem } textarea { min-height: 5rem; width: 100% }
li > form { display: grid; gap: .75rem; margin: .5rem 0; padding: 1rem; border: 1px solid; border-radius: .75rem;
  background: var(--raised) } li label { display: grid; gap: .25rem; justify-items: start; color: var(--ink) }
@media (max-width: 50rem) {
  header { gap: .5rem } header * { font-size: .875rem } header > #now { display: block; min-height: 5rem }
  #status { flex-basis: 100% } button, select, label { min-height: 2.2rem } #lanes, #eras small { display: none }
  #heads, li { grid-template-columns: 2.5rem 1fr 1fr auto; padding-inline: .75rem } time { grid-column: 4 }
  li > div { grid-column: 1 } li > form { grid-column: 2 / 5 } #heads > :last-child { grid-column: 3 / 5 }
  .client details, li > :is(details, p) { grid-column: 2 / 4 } .server details { margin-left: 1rem }
  summary { flex-wrap: wrap; gap: 0 .75rem } code { flex-basis: 100%; order: 1 }
  details:not([open]) code small { display: none }
}
@media (max-height: 38rem) { body { display: block } }
</style>
<header>
<div><h1>MCP over HTTP, as it happens</h1><p id="status" role="status"></p><fieldset id="eras" aria-label="Revision">
<label><input type="radio" name="era" value="2025-11-25" checked>2025-11-25 <small>sessions</small></label>
<label><input type="radio" name="era" value="2026-07-28">2026-07-28 <small>stateless</small></label></fieldset></div>
<div><div id="stories" role="group" aria-label="What to watch"></div>
<label>Document <select id="document"><option value="">listed by Connect</option></select></label></div>
<div id="now"><p id="story">This page is a client of the server it comes from. Press a button, and watch: left what the
client says, right what the server says, in the middle a line for each stream that is open.</p><p id="jobs"></p></div>
<form id="login" method="dialog" hidden>
<label>This server wants a token <input id="token" type="password" autocomplete="off" required></label>
<button>Use it</button></form></header>
<main id="log" tabindex="0" aria-label="The conversation">
<div id="heads"><span>Client says</span><span>Server says<span id="lanes"></span></span></div>
<ol id="rows"><li><p>The conversation comes here, newest last. A message unfolds to headers and JSON.</p></li></ol>
</main>
<script>
"use strict";
const tail = (id) => `\u2026${id.slice(-6)}`;
const $ = (id) => document.getElementById(id), pretty = (value) => JSON.stringify(value, null, 2);
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const endpoint = new URL(document.querySelector("[name=mcp-endpoint]").content, document.baseURI);
const CLIENT = {name: "page", version: "1"}, CAPABILITIES = {elicitation: {form: {}}, sampling: {}};
const SESSIONS = "2025-11-25", STATELESS = "2026-07-28", META = "io.modelcontextprotocol/";
const ERAS = {  // what requests say of their client: a session remembers it; without one, each request says it all
  [SESSIONS]: {headers: () => session && {"MCP-Protocol-Version": SESSIONS, "Mcp-Session-Id": session}},
  [STATELESS]: {
    headers: ({method, params: {name}}) => (
      {"MCP-Protocol-Version": STATELESS, "Mcp-Method": method, ...(name && {"Mcp-Name": name})}),
    meta: {[META + "protocolVersion"]: STATELESS, [META + "clientInfo"]: CLIENT,
      [META + "clientCapabilities"]: CAPABILITIES},
  },
};
const lanes = ["", "", "", ""];  // the open streams, each in its lane of the middle
let era = SESSIONS, session = null, own = null, exchanges = 0, ids = 0, began = 0;

// Showing. What a server says becomes text, and never HTML.
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
function addRow(side, cell, lane, mark = "dot") {
  const log = $("log"), following = log.scrollHeight - log.scrollTop - log.clientHeight < 200;
  const rails = lanes.map((open, slot) => make("i", {className: slot === lane ? `on ${mark}` : open && "on"}));
  const time = make("time", {}, ((performance.now() - (began ||= performance.now())) / 1000).toFixed(2));
  $("rows").append(make("li", {className: side}, time, make("div", {}, ...rails), cell));
  if (mark === "end dot") lanes[lane] = "";
  $("lanes").replaceChildren(...lanes.filter(Boolean).map((name) => make("span", {}, name)));
  if (following) cell.parentElement.scrollIntoView({block: "nearest"});
}
const note = (text) => addRow("note", make("p", {}, text));
// A message, or the head of a reply: over which exchange, what, and why. It unfolds to what went over the wire.
function say(side, where, text, why = "", wire = "", {lane, mark, id = ""} = {}) {
  const code = make("code", {}, text, make("small", {}, why)), last = make("small", {}, id && `id ${tail(id)}`);
  const line = make("summary", {}, make("b", {}, where), code, last);
  addRow(side, make("details", {}, line, make("pre", {tabIndex: 0}, wire)), lane, mark);
}
const head = (line, fields) => `${line}\n${Array.from(fields, ([name, value]) =>
  `${name}: ${name === "Authorization" ? "..." : value}\n`).join("")}\n`;
function brief({method, params = {}, result, error}) {
  if (error) return `error ${error.code}: ${error.message}`;
  if (result?.inputRequests) return `needs input: ${Object.values(result.inputRequests).map((asked) => asked.method)}`;
  if (result) return `result ${[result.content].flat()[0]?.text ?? result.action ?? JSON.stringify(result)}`;
  const {name, arguments: given = {}, progress, total, message} = params, values = Object.values(given);
  return [method, name, ...values, total && `${progress}/${total}`, message].filter(Boolean).join(" ");
}
const WHY = {"initialize": "opens a session", "notifications/initialized": "no answer wanted",
  "subscriptions/listen": "stays open for notices of change", "sampling/createMessage": "asks the client's model"};

// Speaking. First one HTTP exchange, to the end of its stream if it has one; `job` is the request it is for.
function headersFor(message) {
  const token = $("token").value;
  return {Accept: "application/json, text/event-stream", ...(message && {"Content-Type": "application/json"}),
    ...ERAS[era].headers(message), ...(token && {Authorization: `Bearer ${token}`})};
}
async function send(verb, message, job = {}, {text, why, extra, url = endpoint} = {}) {
  const where = `${verb} ${++exchanges}`, headers = {...headersFor(message), ...extra}, {signal} = job.breaker ?? {};
  const written = head(`${verb} ${url.pathname}`, Object.entries(headers)) + (message ? pretty(message) : "");
  say("client", where, text ?? brief(message), why ?? WHY[message?.method], written);
  let lane;  // that of the event stream, if one comes
  try {
    const reply = await fetch(url, {method: verb, headers, body: message && JSON.stringify(message), signal});
    const {status, statusText} = reply, written = head(`${status} ${statusText}`, reply.headers);
    session ??= reply.headers.get("mcp-session-id");
    $("login").hidden = status !== 401;
    if (reply.headers.get("content-type") === "text/event-stream") {
      lanes[lane = lanes.indexOf("")] = where;
      say("server", where, "200 text/event-stream", "it may say more than a result", written, {lane, mark: "from dot"});
      for await (const [raw, event] of readEvents(reply.body)) hear(where, lane, raw, event, job);
      say("server", where, "the stream ends", "", "", {lane, mark: "end dot"});
    } else {
      const body = await reply.text(), answer = job.answer = body && JSON.parse(body);
      const side = reply.ok && !answer.error ? "server" : "server error", why = answer.result && "one JSON body";
      say(side, where, `${status} ${answer ? brief(answer) : statusText}`, why, written + (answer && pretty(answer)));
    }
    return status;
  } catch (error) {
    if (signal?.aborted) return say("client", where, "closes the connection", "", "", {lane, mark: "end dot"});
    say("server error", where, lane >= 0 ? "a broken stream" : "no answer", error.message, "", {lane, mark: "end dot"});
    if (lane === undefined) throw error;
  }
}
async function* readEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "", read; !(read = await reader.read()).done;) {
    const events = (text + read.value).split("\n\n");  // a shortcut: others may end a line with \r
    text = events.pop();
    for (const raw of events) yield [raw, Object.fromEntries(raw.split("\n").map((line) => line.split(/: ?(.*)/s)))];
  }
}
function hear(where, lane, raw, {id, data, retry}, job) {
  Object.assign(job, {last: id ?? job.last, retry: retry ?? job.retry});
  if (!data) return id && say("server", where, "an empty event", "its id is where to resume from", raw, {lane, id});
  const message = JSON.parse(data), {method, error} = message, why = method ? WHY[method] : "the response, so the end";
  const written = raw.replace(data, () => pretty(message));
  say(error ? "server error" : "server", where, brief(message), why, written, {lane, id});
  if (id) job.seen.push(id.split("-").pop());
  if (!method) job.answer = message;
  else if (message.id !== undefined) answerQuestion(message).catch(report);
  else if (method === "notifications/progress") job.tell(message.params);
}
async function request(method, params = {}, job = {}) {
  Object.assign(job, {id: ++ids, breaker: new AbortController(), answer: null, last: null, seen: []});
  const _meta = {...ERAS[era].meta, ...(job.tell && {progressToken: job.id})};
  const message = {jsonrpc: "2.0", id: job.id, method, params: {...params, _meta}};
  if (await send("POST", message, job) === 404 && session) {
    note("404 for a session id: that session is over. A client must open a new one, without the id.");
    session = null;
    return connect().then(() => request(method, params, job));
  }
  while (!job.answer && job.last) {  // no response: not the call has ended, only its connection
    await sleep(2.5 * job.retry);  // longer than the server asks, to miss something
    job.breaker = new AbortController();
    await send("GET", null, job, {text: `Last-Event-ID: ${tail(job.last)}`, extra: {"Last-Event-ID": job.last}});
    note(`Received: events ${job.seen.join(", ")}. None is missing, none came twice.`);
  }
  const {result, error} = job.answer ?? {};
  if (error) throw new Error(error.message);
  return result;
}
async function call(name, given, job = {}) {
  const params = {name, arguments: given}, told = make("span", {}, "called"), bar = make("progress", {value: 0});
  $("jobs").append(make("label", {className: "job"}, make("span", {}, ...Object.values(given)), bar, told));
  job.tell = ({progress, total, message}) => {
    Object.assign(bar, {max: total, value: progress});
    told.textContent = message;
    if (progress === 2) job.halfway?.(job);
  };
  let result = await request("tools/call", params, job);
  while (result?.inputRequests) {  // 2026-07-28: answer, and call again
    const {inputRequests, requestState} = result, inputResponses = {};
    for (const key in inputRequests) inputResponses[key] = await ask(inputRequests[key].params);
    if (Object.values(inputResponses).includes(null)) return note("Refused: the page does not call again.");
    result = await request("tools/call", {...params, inputResponses, requestState}, job);
  }
  if (result) bar.value = bar.max;
  told.textContent = !result ? "no result" : result.isError ? "failed" : "done";
}
async function answerQuestion({id, method, params}) {  // 2025-11-25: the answer is a POST of its own
  const result = method === "ping" ? {} : await ask(params), error = {code: -1, message: "the user refused"};
  await send("POST", {jsonrpc: "2.0", id, ...(result ? {result} : {error})});
}
const INPUTS = {boolean: "checkbox", integer: "number", number: "number"};  // type in a schema: type of the input
// A form made from the question's schema; without one, a prompt for the model, whom the user plays. null: refused.
async function ask({requestedSchema: schema, message = "You are the model. The server asks:", messages = []}) {
  const prompts = messages.map(({content}) => make("pre", {tabIndex: 0}, content.text));
  const form = make("form", {}, make("strong", {}, message), ...prompts), content = {};
  const fields = Object.entries(schema?.properties ?? {"Your answer": {}});
  for (const [name, {type, title = name, description = "", oneOf, enum: choices = oneOf}] of fields) {
    const required = !schema || type !== "boolean" && Boolean(schema.required?.includes(name));
    const control = make(choices ? "select" : schema ? "input" : "textarea", {name, required});
    if (choices) control.append(...choices.map((each) => new Option(each.title ?? each, each.const ?? each)));
    else if (schema) Object.assign(control, {type: INPUTS[type] ?? "text", step: "any"});
    form.append(make("label", {}, title, control, make("small", {}, description)));
  }
  const actions = schema ? {accept: "Send", decline: "Decline", cancel: "Cancel"} : {accept: "Send", refuse: "Refuse"};
  const button = ([value, text]) => make("button", {value, formNoValidate: value !== "accept"}, text);
  form.append(make("div", {}, ...Object.entries(actions).map(button)));
  addRow("form", form); form.elements[0].focus();
  const action = await new Promise((done) =>
    form.onsubmit = (event) => (event.preventDefault(), done(event.submitter.value)));
  for (const {name, type, checked, valueAsNumber, value} of form.elements)
    if (name && value) content[name] = {checkbox: checked, number: valueAsNumber}[type] ?? value;
  form.parentElement.remove(); $("log").focus();
  if (action !== "accept") return schema ? {action} : null;
  const answer = {type: "text", text: content["Your answer"]};
  return schema ? {action, content} : {role: "assistant", model: "you", content: answer};
}

// The stories: what a button does, and what there is to see in either era.
async function connect() {
  await hangUp();
  const stream = {};
  if (era === SESSIONS) {
    await request("initialize", {protocolVersion: era, capabilities: CAPABILITIES, clientInfo: CLIENT}, stream);
    await send("POST", {jsonrpc: "2.0", method: "notifications/initialized"});
    send("GET", null, stream, {text: "the session's own stream", why: "for all but calls"}).catch(report);
  } else {
    await request("server/discover");
    request("subscriptions/listen", {notifications: {resourcesListChanged: true}}, stream).catch(report);
  }
  own = stream;
  const {resources} = await request("resources/list");
  $("document").replaceChildren(...resources.map(({name}) => new Option(name)));
}
async function hangUp() {
  const closing = session ? send("DELETE", null, {}, {text: "the session"}) : own?.breaker.abort();
  own = session = null;  // `send` has composed its headers by now
  await closing;
}
const analyse = (tool) => call(tool, {path: $("document").value});
const slow = (data, halfway) => call("long_running_operation", {data}, {halfway});
function cancel(job) {
  if (!session) return job.breaker.abort();
  job.answer = {};  // none will come
  send("POST", {jsonrpc: "2.0", method: "notifications/cancelled", params: {requestId: job.id}}).catch(report);
}
async function expire() {
  if (session) own.breaker.abort();
  const pass = {text: "/expire", why: "not MCP: lets time pass", url: new URL("expire", document.baseURI)};
  do await sleep(200); while (session && await send("POST", null, {}, pass) === 409);  // until it has seen us close
  await request("tools/list");
}
const STORIES = {  // button: [what it does, what to see with sessions, what to see without]
  "Connect": [connect, `initialize opens a session; its id goes on all that follows. A GET opens a stream for what
    belongs to no call.`, `No handshake. subscriptions/listen is a call whose answer is a stream of change notices.`],
  "Analyse a document": [() => analyse("analyze_document"), `The tool reports progress before it has a result, so the
    answer is an event stream.`, `The same stream. But a request says all about its client, in _meta and in headers.`],
  "Two tools at once": [() => Promise.all([slow("apples"), slow("pears")]), `Two POSTs, two streams. What belongs to a
    call comes on its stream and nowhere else.`, `Two streams as before. The server remembers nothing of the client.`],
  "A tool that asks": [() => analyse("intelligent_analysis"), `The question is a request of the server's, on the call's
    open stream. Your answer is a POST of its own.`, `The call ends by saying what it needs. The page calls again with
    your answer and the requestState, and the tool starts again.`],
  "Break and resume": [() => slow("a text", ({breaker}) => breaker.abort()), `The page breaks the connection; the call
    goes on. A GET with Last-Event-ID brings what was missed, and then the rest.`, `The page breaks the connection, and
    so cancels the call. Without event ids there is nothing to resume.`],
  "Cancel": [() => slow("a text", cancel), `A broken connection cancels nothing, so a notification does. The stream then
    ends without a response.`, `To cancel is to close the call's stream. There is nothing to send.`],
  "Expire": [expire, `An unused session ends, and an open stream is use. So the page closes its GET stream, and lets the
    demo's session timeout pass at once. The next request gets 404.`, `Nothing is remembered, so nothing expires.`],
  "End the session": [hangUp, `DELETE ends the session: its calls are cancelled, its streams end, its id is worthless.`,
    `Nothing is remembered, so there is nothing to end but a stream.`],
};
async function play(name) {
  const [act, ...texts] = STORIES[name], stories = $("stories");
  if (stories.ariaBusy === "true") return;
  stories.ariaBusy = $("eras").disabled = true;
  for (const button of stories.children) button.ariaCurrent = button.textContent === name;
  $("jobs").replaceChildren();
  $("story").textContent = texts[era === SESSIONS ? 0 : 1];
  $("status").textContent = `${name}: watch.`;
  const ready = own || act === connect || act === hangUp ? Promise.resolve() : connect();
  $("status").textContent = await ready.then(act).then(() => `${name}: done.`, (error) => error.message);
  stories.ariaBusy = $("eras").disabled = false;
}
const report = (error) => $("status").textContent = error.message;
$("stories").append(...Object.keys(STORIES).map((name) => make("button", {onclick: () => play(name)}, name)));
$("login").onsubmit = () => play("Connect");
$("eras").onchange = ({target}) => hangUp().catch(report).then(() =>
  note(`From here the page speaks ${era = target.value}.`));
addEventListener("pagehide", () =>  // a client that leaves ends its session
  session && fetch(endpoint, {method: "DELETE", headers: headersFor(), keepalive: true}));
</script>
</html>
"""

PAGE_POLICY = "; ".join((
    "default-src 'none'", f"style-src {hash_source('style')}", f"script-src {hash_source('script')}",
    "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",  # so even a fault in it makes no HTML of a message
))  # fmt: skip
PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", PAGE_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)



def welcome(url: str, locked: bool = False) -> str:
    """How to talk to the server at `url`; the curl lines work when pasted into a shell one after the other."""
    token = f' -H "Authorization: Bearer ${TOKEN_VARIABLE}"' if locked else ""
    curl = f"curl -sN {url}{token} -H 'Content-Type: application/json' -d"
    initialize = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "curl", "version": "1"}}})
    call = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "long_running_operation", "arguments": {"data": "hello"}, "_meta": {"progressToken": "p1"}}})
    return f"""document-analyzer listens on {url} - Ctrl+C stops it

Watch it:     {urljoin(url, "/")} in a browser shows the conversation
Claude Code:  claude mcp add --transport http document-analyzer {url}
Inspector:    npx @modelcontextprotocol/inspector --transport http --server-url {url}
mcp.json:     {json.dumps({"mcpServers": {"document-analyzer": {"type": "http", "url": url}}})}
Old clients:  {url.removesuffix("/mcp")}/sse

By hand: open a session and keep its id, then call a tool and watch its progress arrive.

SID=$({curl} '{initialize}' -i | grep -i '^mcp-session-id:' | tr -d '\\r' | cut -d ' ' -f 2)
{curl} '{call}' -H "Mcp-Session-Id: $SID"
"""


def parse_arguments(argv: Sequence[str] | None) -> Any:
    """The command line. A wrong one is told in a line on stderr (hence no usage), and the exit code is 2."""
    import argparse  # here, since a program that serves its own tools has no use for it

    parser = argparse.ArgumentParser("streamhttp_mcp", description="Serve a folder of documents over MCP.",
                                     usage=argparse.SUPPRESS)  # fmt: skip
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to bind (default: %(default)s)")
    add("--port", type=int, default=8000, help="0 picks a free one (default: %(default)s)")
    add("--root", type=Path, default=Path("."), help="folder to serve (default: %(default)s)")
    add("--session-timeout", type=float, default=300.0, help="in seconds (default: %(default)s)")
    add("--allowed-host", action="append", default=[], metavar="HOST", help="a name it has beside localhost")
    add("--allowed-origin", action="append", default=[], metavar="ORIGIN", help="a web site that may call it")
    add("--token", default=os.environ.get(TOKEN_VARIABLE), help=f"that clients must send (better: ${TOKEN_VARIABLE})")
    add("--secret", default=os.environ.get(SECRET_VARIABLE), help=f"that processes share (better: ${SECRET_VARIABLE})")
    add("--reuse-port", action="store_true", help="let several processes listen on the port, for stateless clients")
    add("--tls-cert", type=Path, metavar="FILE", help="speak TLS with this certificate chain")
    add("--tls-key", type=Path, metavar="FILE", help="its private key, where that is in a file of its own")
    add("--log-level", choices=["debug", "info", "warning", "error"], default="info", help="for stderr")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    args = parser.parse_args(argv)
    if not 0 <= args.port <= 65535:
        parser.error(f"argument --port: expected 0 to 65535, got {args.port}")
    if not args.session_timeout > 0:  # written so that nan is refused
        parser.error(f"argument --session-timeout: expected seconds, got {args.session_timeout}")
    if not args.root.is_dir():
        parser.error(f"argument --root: no folder {str(args.root)!r}")
    if args.reuse_port and not args.secret:  # a question asked by one of them is answered to another
        parser.error(f"argument --reuse-port: the processes must share a --secret, or ${SECRET_VARIABLE}")
    args.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if args.tls_cert or args.tls_key else None
    try:
        if args.tls:
            args.tls.load_cert_chain(args.tls_cert or "", args.tls_key)
    except OSError as error:  # no such file; no PEM; a key of another certificate
        parser.error(f"argument --tls-cert: cannot use it with its key: {error}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the documents of a folder until Ctrl+C."""
    args = parse_arguments(argv)
    logging.basicConfig(level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    try:  # each byte now takes the way of the sections: HTTP, gate, JSON-RPC, era, method, tool, and back
        mcp = document_analyzer(args.root, session_timeout=args.session_timeout, auth=args.token, secret=args.secret,
                                allowed_hosts=args.allowed_host, allowed_origins=args.allowed_origin)  # fmt: skip
        mcp.run(host=args.host, port=args.port, ssl_context=args.tls, reuse_port=args.reuse_port,
                on_start=lambda url: print(welcome(url, bool(args.token)), flush=True))  # fmt: skip
    except ValueError as error:  # an empty secret, say
        print(f"streamhttp_mcp: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # the port is taken, or the host is not ours
        print(f"streamhttp_mcp: cannot listen on {args.host}:{args.port}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())


# MIT License
#
# Copyright (c) 2026 the streamhttp_mcp authors
#
# Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
# documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
# rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
# permit persons to whom the Software is furnished to do so, subject to the following conditions:
#
# The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
# Software.
#
# THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
# WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
# COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
# OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
