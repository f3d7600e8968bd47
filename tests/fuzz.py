"""A stranger who sends anything, and a strict reader of what comes back.

    python tests/fuzz.py --seconds 60               a new seed; a failure prints how to run its case again
    python tests/fuzz.py --seed 7 --case 1234       one case of a seed, shown

Half of the cases are conversations damaged as bytes, half are messages damaged as JSON. `requests_in` and
`answers_in` are readers of HTTP of their own, slow and strict: what the stranger sent decides how many answers may
come, with which ids, and whether the connection may go on. Meanwhile `Neighbour` is a client that behaves, and sees
nothing of it; and after each round nothing is left.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

from inmemory import Client, Clock, StatelessClient, library
from leftovers import Left, complaints
from wire import ACCEPT_BOTH, Wire, call, eventually, head, post, text_result

from streamhttp_mcp import (
    META,
    SESSION_REVISIONS,
    STATELESS_REVISION,
    Context,
    Limits,
    MCPServer,
)

LIMITS = Limits(body_bytes=50_000, ask_seconds=0.2, sse_after_seconds=0.05)  # small, so that they are met
AT_ONCE, ROUND = 16, 320  # cases that run side by side, and cases between two looks at what is left
PATIENCE = 10.0  # real seconds until silence is a failure


class Fault(Exception):
    """The server did what it must not do."""


# ---- The stranger: sound requests, and damage --------------------------------------------------------


class Raw(bytes):
    """A piece of JSON that goes out as it is, sound or not."""


class Twice(dict[str, Any]):
    """An object that has each member twice."""


def write_json(value: Any) -> bytes:
    """JSON as a stranger writes it."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, dict):
        members = [b"%b:%b" % (json.dumps(name).encode(), write_json(member)) for name, member in value.items()]
        return b"{%b}" % b",".join(members * 2 if isinstance(value, Twice) else members)
    if isinstance(value, list):
        return b"[%b]" % b",".join(map(write_json, value))
    return json.dumps(value).encode()


def nested(depth: int, pair: bytes = b"[]") -> Raw:
    start, end = (b"[", b"]") if pair == b"[]" else (b'{"a":', b"}")
    return Raw(start * depth + b"0" + end * depth)


ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, -0.0, 2**53, 2**63, -(2**64), 10**400, "", "a", "\x00", "\r\n\r\ndata: x\n\n",
    "1", "\u2028", "\U0001f600", "__proto__", "../../etc/passwd", "%00", "=?base64?SGk=?=", "x" * 1025, "x" * 60_000,
    Raw(b"9" * 20), Raw(b"9" * 21),
    [], {}, [[]], [{}], {"": {}}, {"a": []}, [None], {"jsonrpc": "2.0"}, "io.modelcontextprotocol/protocolVersion",
    Raw(b"NaN"), Raw(b"-Infinity"), Raw(b"1e999"), Raw(b"1e-999"), Raw(b"9" * 5000), Raw(b"9" * 4000), Raw(b"0" * 9),
    Raw(b"01"), Raw(b"+1"), Raw(b"1."), Raw(b"'a'"), Raw(b"tru"), Raw(b""), Raw(b"{"), Raw(b"]"), Raw(b'"'),
    Raw(rb'"\ud800"'), Raw(rb'"\udc00\ud800"'), Raw(rb'"\ud83d\ude00"'), Raw(rb'{"\udfff":1}'), Raw(rb'"\x41"'),
    Raw(b'"\xff"'), Raw(b'"\xed\xa0\x80"'), Raw(b'"\xc0\xaf"'), Raw(b'"\n"'), Raw(b'"\x00"'), Raw(b"\xef\xbb\xbf1"),
    nested(60), nested(90), nested(97), nested(99), nested(101), nested(200, b"{}"), nested(450), nested(980),
    nested(99, b"{}"), nested(24_000), Raw(b"[" * 40_000), Raw(b"1 1"), Raw(b"1/**/"),
]  # fmt: skip
TEXTS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b";", b",", b"0", b"0\r\n\r\n", b"5\r\n", b"\xff",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: +5\r\n", b"Content-Length: 99999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding : chunked\r\n", b"Host: evil.example\r\n", b"Host:\r\n", b"Origin: http://evil.example\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n",
    b"Accept: text/event-stream\r\n", b"Accept: application/json\r\n", b"Accept: */*;q=0\r\n",
    b"Content-Type: text/plain\r\n", b"X: y\r\n z\r\n", b"Last-Event-ID: 0123456789abcdef-1\r\n",
    b"Mcp-Session-Id: x\r\n", b"MCP-Protocol-Version: 2026-07-28\r\n", b"MCP-Protocol-Version: 2025-03-26\r\n",
    b"HTTP/1.0", b"HTTP/2.0", b"HEAD", b"OPTIONS", b"GET /mcp HTTP/1.1\r\n", b"http://localhost/mcp", b"*", b"//",
    b"?", b"#", b"%2e%2e", b"A" * 2000, b" " * 2000, b"a:b\r\n" * 60, b"{}", b"[]",
    b"Access-Control-Request-Headers: a,b\x01,c\r\n", b"x: " + b"y" * 33_000 + b"\r\n",
]  # fmt: skip
LENGTHS = [  # what may become of a number
    b"0", b"1", b"-1", b"1e3", b"18446744073709551617", b"+%b", b"-%b", b"0x%b", b"1_%b", b"0%b", b"%b%b", b"%b, %b",
    b" %b", b"%b ", b"%b\t", b"\x0b%b", b"\xa0%b", b"%b\n", b"\n%b", b"%b\r", b"%b\x00", b"%b;", b"%b.0",
]  # fmt: skip


@dataclass
class Case:
    """One connection of the stranger's."""

    number: int
    rng: random.Random
    session: dict[str, str]  # header fields of a session of its own
    version: str
    state: str  # a requestState that the server sealed
    id: int = 0

    @property
    def token(self) -> str:
        """What tells whose a text is."""
        return f"tok{self.number}x"

    def next_id(self) -> str | int:
        self.id += 1
        return self.rng.choice([self.number * 100 + self.id, f"{self.token}-{self.id}"])

    def data(self) -> bytes:
        """All the bytes that this stranger sends."""
        damaged_json = self.rng.random() < 0.5
        parts = [self.request(damaged_json) for _ in range(self.rng.choice([1, 1, 2, 3, 5]))]
        data = b"".join(parts)
        if not damaged_json:
            for _ in range(self.rng.choice([0, 1, 1, 2, 4])):
                data = self.damage_bytes(data)
        if self.rng.random() < 0.1:
            data = data[: self.rng.randrange(len(data) + 1)]
        return data

    def request(self, damaged: bool) -> bytes:
        """One request; where it shall be damaged, its JSON is, and the HTTP around it is sound."""
        rng, modern = self.rng, self.rng.random() < 0.4
        headers = ACCEPT_BOTH if modern else self.session
        if rng.random() < 0.05:
            headers = headers | {"accept": "application/json"}
        if not modern and rng.random() < 0.15:
            verb = rng.choice(["GET", "GET", "OPTIONS", "HEAD", "DELETE", "PUT", "BREW"])
            return head(verb, rng.choice(["/mcp", "/mcp/", "/", "/mcp?x"]), **headers)
        message = self.message(modern)
        if modern and rng.random() < 0.9:
            headers = headers | {"mcp-protocol-version": STATELESS_REVISION, "mcp-method": message["method"]}
            name = message["params"].get("name", message["params"].get("uri"))
            headers |= {} if name is None else {"mcp-name": name}
        for _ in range(rng.choice([1, 1, 2, 4]) if damaged else 0):
            message = self.damage_json(message)
        body = write_json(message)
        if rng.random() < 0.25:
            return head("POST", **headers, transfer_encoding="chunked") + self.chunks(body)
        return head("POST", **headers, content_length=len(body)) + body

    def chunks(self, body: bytes) -> bytes:
        data = b""
        while body:
            size = self.rng.randint(1, len(body))
            data += b"%x%b\r\n%b\r\n" % (size, self.rng.choice([b"", b"", b";a=b"]), body[:size])
            body = body[size:]
        return data + b"0\r\n" + self.rng.choice([b"", b"X-Sum: 1\r\n"]) + b"\r\n"

    def message(self, modern: bool) -> Any:
        """A sound message: any method of the era, or a notification or response where there are such."""
        token, rng = self.token, self.rng
        calls: list[tuple[str, dict[str, Any]]] = [
            ("tools/list", {}), ("resources/list", {}), ("resources/templates/list", {}), ("prompts/list", {}),
            ("tools/call", {"name": "echo", "arguments": {"value": {"a": [token, 1, None]}}}),
            ("tools/call", {"name": "typed", "arguments": {"n": 1, "names": ["a"], "when": "2026-07-28"}}),
            ("tools/call", {"name": "talk", "arguments": {"text": token}, "_meta": {"progressToken": token}}),
            ("tools/call", {"name": "ask", "arguments": {}}), ("tools/call", {"name": "blocking", "arguments": {}}),
            ("resources/read", {"uri": f"doc://{token}/notes"}), ("resources/read", {"uri": "doc://a"}),
            ("prompts/get", {"name": "ask", "arguments": {"topic": token}}),
            ("completion/complete", {"ref": {"type": "ref/prompt", "name": "ask"},
                                     "argument": {"name": "topic", "value": token}, "context": {"arguments": {}}}),
            ("no/such", {}),
        ]  # fmt: skip
        if modern:
            calls += [
                ("server/discover", {}),
                ("subscriptions/listen", {"notifications": {
                    "toolsListChanged": True, "resourceSubscriptions": [token]}}),
                ("tools/call", {"name": "ask", "arguments": {}, "requestState": self.state, "inputResponses": {
                    "question-1": {"action": "accept", "content": {"name": token}}}}),
            ]  # fmt: skip
            method, params = rng.choice(calls)
            meta = {"protocolVersion": STATELESS_REVISION, "clientCapabilities": {"elicitation": {}, "sampling": {}}}
            meta = {META + name: value for name, value in (meta | {"clientInfo": {"name": token}}).items()}
            params = params | {"_meta": params.get("_meta", {}) | meta}
            return {"jsonrpc": "2.0", "id": self.next_id(), "method": method, "params": params}
        calls += [
            ("ping", {}), ("logging/setLevel", {"level": "debug"}), ("resources/subscribe", {"uri": "doc://a"}),
            ("resources/unsubscribe", {"uri": "doc://a"}),
            ("initialize", {"protocolVersion": rng.choice(SESSION_REVISIONS), "capabilities": {"elicitation": {}},
                            "clientInfo": {"name": token, "version": "1"}}),
        ]  # fmt: skip
        kind = rng.random()
        if kind < 0.1:
            params = {"requestId": self.number * 100 + 1}
            return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        if kind < 0.2:
            return {"jsonrpc": "2.0", "id": 1, "result": {"action": "accept", "content": {"name": token}}}
        method, params = rng.choice(calls)
        if kind < 0.3 and self.version == "2025-03-26":
            members = [rng.choice(calls) for _ in range(rng.randint(0, 4))]
            return [{"jsonrpc": "2.0", "id": self.next_id(), "method": m, "params": p} for m, p in members]
        return {"jsonrpc": "2.0", "id": self.next_id(), "method": method, "params": params}

    def damage_json(self, message: Any) -> Any:
        """Change one place of a message: another value, a member less, more, renamed or doubled, a batch of it."""
        rng = self.rng
        if not isinstance(message, (dict, list)) or not message or rng.random() < 0.15:
            return rng.choice([rng.choice(ODD), [message], [message, message], {"a": message}])
        if rng.random() < 0.1:
            return Twice(message) if isinstance(message, dict) else message * 40
        copy: Any = type(message)(message)
        key = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
        change = rng.random()
        if change < 0.5 and isinstance(copy[key], (dict, list)):
            copy[key] = self.damage_json(copy[key])
        elif change < 0.8:
            copy[key] = rng.choice(ODD)
        elif change < 0.9:
            del copy[key]
        elif isinstance(copy, dict):
            names = "id method params result error _meta cursor progressToken name uri x".split()
            copy[rng.choice(names)] = rng.choice([rng.choice(ODD), copy[key]])
        return copy

    def damage_bytes(self, data: bytes) -> bytes:
        rng, at = self.rng, self.rng.randrange(len(data) + 1)
        if rng.random() < 0.5:  # at the end of a line, where framing is decided
            ends = [match.start() for match in re.finditer(rb"\r\n", data)]
            at = rng.choice(ends or [at]) + rng.choice([0, 0, 1, 2, 2])
        until = min(len(data), at + rng.choice([1, 1, 2, 5, 40]))
        change = rng.randrange(10)
        if change == 0:
            return data[:at] + bytes([rng.randrange(256)]) + data[until:]
        if change == 1:
            return data[:at] + data[until:]
        if change == 2:
            return data[:until] + data[at:until] * rng.choice([1, 2, 50]) + data[until:]
        if change == 3:
            return data[:at] + bytes(rng.choices(b'\r\n\t :;,0123456789abcdef{}[]"\\/\x00\xff', k=3)) + data[at:]
        if change == 4:  # a line twice, as some clients send a header
            lines = data.split(b"\r\n")
            again = rng.randrange(len(lines))
            return b"\r\n".join(lines[: again + 1] + lines[again:])
        numbers = list(re.finditer(rb"[0-9]+", data)) if change == 5 else []
        if change > 7:  # what says how long something is
            numbers = list(re.finditer(rb"(?<=content-length: )[0-9]+|\b[0-9a-f]+(?=(;a=b)?\r\n)", data))
        if numbers:
            number = rng.choice(numbers)
            return data[: number.start()] + rng.choice(LENGTHS).replace(b"%b", number[0]) + data[number.end() :]
        return data[:at] + rng.choice(TEXTS) + data[at:]


# ---- What the stranger may expect --------------------------------------------------------------------

TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
ONCE = {b"host", b"content-length"}  # a second one is refused; of these equal copies count once, on one line or more:
SINGLE = {b"content-type", b"authorization", b"origin", b"last-event-id", b"mcp-session-id", b"mcp-protocol-version",
          b"mcp-method"}  # fmt: skip
LISTS = {"tools/list", "resources/list", "resources/templates/list", "prompts/list"}  # of one page: no cursor is ours
MAX_TEXT, MAX_DIGITS = 1024, 20  # of what is echoed, and of integers


@dataclass
class Asked:
    """A request that the stranger sent, as another server might read it."""

    method: bytes
    body: bytes = b""
    fields: dict[bytes, bytes] = field(default_factory=dict)
    may_close: bool = False
    old: bool = False  # HTTP/1.0
    odd: bool = False  # its host or target is for the server to judge: it may be refused as no HTTP, or answered

    @property
    def announced(self) -> bool:
        """Whether a body follows its head, be it an empty one in chunks."""
        return b"transfer-encoding" in self.fields or self.fields.get(b"content-length", b"0").strip(b"0") != b""

    @property
    def ids(self) -> list[tuple[type, Any]]:
        """The ids that an answer may have, each with its type."""
        return [(kind, id) for kind, id in self.sent_ids if kind is not str or len(id) <= MAX_TEXT]

    @property
    def sent_ids(self) -> list[tuple[type, Any]]:
        try:
            message = json.loads(self.body)
        except ValueError:  # the server cannot know one either
            return []
        except RecursionError:  # we stand deeper in the stack than the server does: whatever looks like one
            message = [{"id": json.loads(id)} for id in re.findall(rb'"id":("[^"]*"|-?[0-9]{1,4000}\b)', self.body)]
        members = message if isinstance(message, list) else [message]
        return [(type(m["id"]), m["id"]) for m in members if isinstance(m, dict) and "id" in m]

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON that all readers read alike."""
        try:
            strict_json(self.body.decode())
        except (ValueError, Fault):
            return False
        except RecursionError:
            return b"\\u" not in self.body  # nothing else is damaged that deep
        return True

    @property
    def fault(self) -> str:
        """What it says that nobody may answer by a result, nor take; or nothing."""
        if not self.is_json:
            return "what is no JSON"
        with contextlib.suppress(RecursionError):
            message = json.loads(self.body)
            if isinstance(message, dict):
                params = message.get("params")
                texts = [message.get("id"), message.get("method")]
                if any(isinstance(text, str) and len(text) > MAX_TEXT for text in texts):
                    return "a long id or method"
                cursor = params.get("cursor") if isinstance(params, dict) else None
                if "id" in message and message.get("method") in LISTS and cursor is not None:
                    return "a cursor that is not ours"
        return ""

    @property
    def listens(self) -> bool:
        return self.method == b"GET" or b"subscriptions/listen" in self.body


class Unsound(Exception):
    """Bytes that are no HTTP, at least for a strict reader."""


class Cut(Exception):
    """The bytes end in the middle of a request."""


def requests_in(data: bytes) -> tuple[list[Asked], str, Asked | None]:
    """Read requests: those that are whole; how it ends ('end', 'cut' or 'bad'); and what was begun."""
    asked: list[Asked] = []
    while True:
        while data.startswith(b"\r\n"):
            data = data[2:]
        if not data:
            return asked, "end", None
        request = None
        try:
            before, blank, data = data.partition(b"\r\n\r\n")
            if not blank:
                raise Cut
            request = read_request(before)
            data = read_content(request, data)
        except Cut:
            return asked, "cut", request
        except Unsound:
            return asked, "bad", request
        asked.append(request)


def read_request(before: bytes) -> Asked:
    start, *lines = before.split(b"\r\n")
    parts = start.split(b" ")
    if len(parts) != 3 or not set(parts[0]) <= TCHAR or not parts[0] or not all(0x21 <= c <= 0x7E for c in parts[1]):
        raise Unsound
    if len(parts[2]) != 8 or parts[2][:7] != b"HTTP/1." or parts[2][7] not in b"0123456789":
        raise Unsound
    if len(start) > LIMITS.request_line_bytes or len(before) > LIMITS.head_bytes or len(lines) > LIMITS.header_fields:
        raise Unsound
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not set(name) <= TCHAR or any(c < 32 and c != 9 or c == 127 for c in value):
            raise Unsound
        name, value = name.lower(), value.strip(b" \t")
        single = name in SINGLE or name.startswith(b"mcp-")
        if name in SINGLE and len(copies := {copy.strip(b" \t") for copy in value.split(b",")}) == 1:
            (value,) = copies
        if name in fields and (name in ONCE or single and fields[name] != value):
            raise Unsound
        fields[name] = fields[name] + b", " + value if name in fields and not single else value
    old = parts[2] == b"HTTP/1.0"
    if b"host" not in fields and not old:
        raise Unsound
    connection = fields.get(b"connection", b"").lower()
    asked = Asked(parts[0], b"", fields, b"close" in connection or old)
    asked.odd = parts[1][:1] != b"/" or fields.get(b"host") != b"localhost" or parts[0] not in (
        b"GET", b"POST", b"DELETE", b"OPTIONS", b"HEAD", b"PUT")  # fmt: skip
    asked.old = old
    return asked


def read_content(asked: Asked, data: bytes) -> bytes:
    """Read a body into `asked`; return what follows it."""
    if b"transfer-encoding" not in asked.fields:
        length = asked.fields.get(b"content-length", b"0")
        if not length or not set(length) <= set(b"0123456789") or len(length) > 30 or int(length) > LIMITS.body_bytes:
            raise Unsound
        if len(data) < int(length):
            raise Cut
        asked.body = data[: int(length)]
        return data[int(length) :]
    if asked.old or b"content-length" in asked.fields or asked.fields[b"transfer-encoding"].lower() != b"chunked":
        raise Unsound
    while True:
        line, found, data = data.partition(b"\r\n")
        if not found and len(line) <= 1024:
            raise Cut
        size, semicolon, extension = line.partition(b";")
        size = size.rstrip(b" \t") if semicolon else size
        if not 1 <= len(size) <= 16 or not set(size) <= set(b"0123456789abcdefABCDEF") or len(line) > 1024:
            raise Unsound
        if any(c < 32 and c != 9 or c == 127 for c in extension) or len(asked.body) + int(size, 16) > LIMITS.body_bytes:
            raise Unsound
        if int(size, 16) == 0:
            break
        chunk, end = data[: int(size, 16)], data[int(size, 16) :][:2]
        if len(end) < 2:
            raise Cut
        if end != b"\r\n":
            raise Unsound
        asked.body += chunk
        data = data[int(size, 16) + 2 :]
    for _ in range(LIMITS.header_fields + 1):
        line, found, data = data.partition(b"\r\n")
        if not found and len(line) <= LIMITS.request_line_bytes:
            raise Cut
        if not line:
            return data
        name, colon, value = line.partition(b":")
        if not colon or not name or not set(name) <= TCHAR or any(c < 32 and c != 9 or c == 127 for c in value):
            raise Unsound
        if len(line) > LIMITS.request_line_bytes:
            raise Unsound
    raise Unsound


# ---- What came back ----------------------------------------------------------------------------------

STATUSES = {200, 202, 204, 400, 403, 404, 405, 406, 408, 413, 414, 415, 429, 431, 501, 503, 505}
UNREADABLE = {400, 408, 413, 414, 417, 431, 501, 505}  # the refusals after which a connection ends
GATE = {403, 404, 405, 406, 413, 415, 501}  # those after which it ends if a body was announced: it is not read
GATE_ONLY = {403, 413, 415, 501}  # those of which nothing but the head is the reason
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
DATE = re.compile(rf"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d ({MONTHS}) \d{{4}} \d\d:\d\d:\d\d GMT")
# Words of Python's and of this machine's, which no stranger sends here.
INSIDES = re.compile(
    r"Traceback|File \"|\.py\b|object at 0x|<class|\b[A-Z]\w+(Error|Exception)\b|recursion|NoneType|unhashable|KeyError"
    r"|object (is not|has no)|not supported between|positional argument|streamhttp|asyncio|" + re.escape(os.getcwd())
)


@dataclass
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes
    complete: bool  # else an event stream that goes on

    @property
    def closes(self) -> bool:
        return self.fields.get("connection", "").lower() == "close"


def answers_in(data: bytes, asked: list[Asked], begun: Asked | None, ended: bool) -> list[Answer]:
    """Read answers, strictly. Fault for what is no HTTP, or for an answer that is cut off although we waited."""
    answers: list[Answer] = []
    while data:
        before, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            raise Fault(f"an answer's head has no end: {before[:200]!r}")
        start, *lines = before.decode("ascii").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 ([1-5][0-9][0-9]) ([A-Z][A-Za-z -]*)", start)
        if not match:
            raise Fault(f"malformed status line {start!r}")
        fields: dict[str, str] = {}
        for line in lines:
            field_match = re.fullmatch(r"([A-Za-z][A-Za-z-]*): ([!-~](?:[ -~]*[!-~])?)?", line)
            if not field_match or field_match[1].lower() in fields:
                raise Fault(f"malformed or repeated field {line!r}")
            fields[field_match[1].lower()] = field_match[2] or ""
        status = int(match[1])
        if status == 100:
            if fields or not any(b"expect" in a.fields for a in [*asked, *([begun] if begun else [])]):
                raise Fault("100 Continue that nobody waits for")
            data = rest
            continue
        if status not in STATUSES:
            raise Fault(f"status {status}: {rest[:300]!r}")
        if not DATE.fullmatch(fields.get("date", "")):
            raise Fault(f"Date is {fields.get('date')!r}")
        sender = asked[len(answers)] if len(answers) < len(asked) else begun
        body, data, complete = read_answer_body(status, fields, rest, sender, ended)
        answers.append(Answer(status, fields, body, complete))
        if not complete and data:
            raise Fault("bytes behind an open stream")
    return answers


def read_answer_body(
    status: int, fields: dict[str, str], rest: bytes, sender: Asked | None, ended: bool
) -> tuple[bytes, bytes, bool]:
    """The body, what follows it, and whether it is complete."""
    length, coding = fields.get("content-length"), fields.get("transfer-encoding")
    # A head that could not be read is refused with a body, whatever its first word was: the connection ends behind it.
    # One that could, but for its length, is known to be a HEAD, and has none.
    if status == 204 or (sender and sender.method == b"HEAD" and not (sender.odd and status == 400 and rest)):
        if status == 204 and (length or coding):
            raise Fault("204 with a length")
        return b"", rest, True
    if length is not None:
        if coding or not re.fullmatch(r"0|[1-9][0-9]*", length):
            raise Fault(f"Content-Length {length!r}, Transfer-Encoding {coding!r}")
        if len(rest) < int(length):
            raise Fault(f"{len(rest)} bytes of a body of {length}")
        return rest[: int(length)], rest[int(length) :], True
    if fields.get("content-type") != "text/event-stream":
        raise Fault("no length, and no event stream")
    if coding is None:  # HTTP/1.0: until the connection ends
        if fields.get("connection") != "close":
            raise Fault("a body without an end")
        return rest, b"", ended
    if coding != "chunked":
        raise Fault(f"Transfer-Encoding {coding!r}")
    body = b""
    while rest:
        line, _, after = rest.partition(b"\r\n")
        if not re.fullmatch(rb"0|[1-9a-f][0-9a-f]*", line):
            raise Fault(f"chunk size {line!r}")
        size = int(line, 16)
        if after[size : size + 2] != b"\r\n":
            raise Fault(f"chunk {rest[:80]!r} is cut off, or does not end with CRLF")
        rest, body = after[size + 2 :], body + after[:size]
        if size == 0:
            return body, rest, True
    return body, b"", False


def strict_json(data: bytes | str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise Fault("a member twice in an answer")
        return dict(pairs)

    def refuse(name: str) -> Any:
        raise Fault(f"{name} in an answer")

    def integer(text: str) -> int:
        if len(text.strip("-")) > MAX_DIGITS:
            raise Fault(f"an integer of more than {MAX_DIGITS} digits")
        return int(text)

    text = data.decode("ascii") if isinstance(data, bytes) else data
    value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_int=integer)
    json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no character
    return value


def messages_in(answer: Answer) -> list[Any]:
    """The JSON-RPC messages of an answer; events are lines that we know, and an empty line."""
    kind = answer.fields.get("content-type")
    if kind is None:
        if answer.body:
            raise Fault("a body without a type")
        return []
    if kind == "application/json":
        if not answer.body:
            return []  # of HEAD
        return [strict_json(answer.body)]  # never a batch: those are answered by events
    if kind != "text/event-stream":
        raise Fault(f"Content-Type {kind!r}")
    *events, rest = answer.body.decode("ascii").split("\n\n")
    if rest or "\r" in answer.body.decode("ascii"):
        raise Fault(f"an event without an end: {rest[:100]!r}")
    messages = []
    for event in events:
        if event != ":":
            match = re.fullmatch(r"(retry: [0-9]+\n)?(id: [0-9a-f]{16}-[0-9]+\n)?data: ?(.*)", event)
            if not match:
                raise Fault(f"malformed event {event[:200]!r}")
            messages += [strict_json(match[3])] if match[3] else []
    return messages


def check_message(message: Any, answer: Answer, asked: Asked | None) -> None:
    """An envelope as JSON-RPC has it, and the id of a request that was sent, or none."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Fault(f"no envelope: {message!r:.200}")
    names = set(message) - {"jsonrpc"}
    if "method" in names:
        streamed = answer.fields.get("content-type") == "text/event-stream"
        if not streamed or names - {"id", "method", "params"} or not isinstance(message.get("params", {}), dict):
            raise Fault(f"odd request or notification {message!r:.200}")
        if len(str(message.get("params", {}).get("progressToken", ""))) > MAX_TEXT:
            raise Fault("a long progress token comes back")
        return
    if "result" in names:
        if names != {"id", "result"} or not isinstance(message["result"], dict):
            raise Fault(f"odd result {message!r:.200}")
    else:
        error = message.get("error")
        if names - {"id"} != {"error"} or not isinstance(error, dict) or set(error) - {"data"} != {"code", "message"}:
            raise Fault(f"odd error {message!r:.200}")
        if type(error["code"]) is not int or type(error["message"]) is not str or error["message"] == "Internal error":
            raise Fault(f"odd error {error!r:.200}")
        if message.get("id") is None:
            return
    # A stream that is resumed brings the answer to an earlier request.
    resumed, id = asked is not None and asked.method == b"GET", message["id"]
    if type(id) not in (str, int) or not resumed and (type(id), id) not in (asked.ids if asked else []):
        raise Fault(f"an id that was not sent: {id!r:.200}")


def check_conversation(sent: bytes, received: bytes, ended: bool) -> str:
    """Compare what was sent with what came back; return a word for the statistics."""
    asked, verdict, begun = requests_in(sent)
    answers = answers_in(received, asked, begun, ended)
    if len(answers) > len(asked) + (verdict != "end"):
        raise Fault(f"{len(answers)} answers to {len(asked)} requests")
    for number, answer in enumerate(answers):
        request = asked[number] if number < len(asked) else None
        last = number == len(answers) - 1
        if answer.closes and answer.complete and not (last and ended):
            raise Fault("the connection goes on after Connection: close")
        if answer.closes and request and not request.may_close and not may_refuse(request, answer):
            raise Fault(f"closed after a sound request, with {answer.status}: {answer.body[:200]!r}")
        if request and request.announced and answer.status in GATE_ONLY and not answer.closes:
            raise Fault(f"a body is read although its head is refused with {answer.status}")
        if request is None and not (answer.closes and answer.status in UNREADABLE | GATE):
            raise Fault(f"unsound bytes are answered {answer.status} {answer.fields.get('connection')}")
        if not answer.complete and not (request and request.listens and last and not ended):
            raise Fault("a stream is cut off")
        fault = request.fault if request and request.method == b"POST" and answer.status < 300 else ""
        messages = messages_in(answer)
        if fault and not (fault.startswith("a cursor") and any("error" in message for message in messages)):
            raise Fault(f"{fault} is answered {answer.status}")
        for message in messages:
            check_message(message, answer, request)
    # Nothing that was asked stays without an answer, and what cannot be read is refused.
    going_on = not answers or not answers[-1].closes and answers[-1].complete
    if going_on and len(answers) < len(asked) + (verdict == "bad"):
        raise Fault(f"{len(answers)} answers to {len(asked)} requests, then {verdict}")
    told = b"".join(answer.body for answer in answers).decode("ascii")
    if match := INSIDES.search(told):
        raise Fault(f"tells about its insides: {told[max(0, match.start() - 200) : match.end() + 200]}")
    mine = re.findall(r"tok[0-9]+x", b"\0".join([sent, *(a.body for a in asked)]).decode("latin-1"))
    if foreign := set(re.findall(r"tok[0-9]+x", told)) - set(mine):
        raise Fault(f"hears of others: {foreign}")
    return f"{verdict} {answers[-1].status if answers else '-'}"


def may_refuse(request: Asked, answer: Answer) -> bool:
    """Whether a connection may end behind this answer to a request that was read whole."""
    if request.odd and answer.status in UNREADABLE:
        return True
    gate = GATE | ({400} if request.method != b"POST" else set())  # 400: the version in the head of a GET
    return request.announced and answer.status in gate


# ---- The server, and who else is there ---------------------------------------------------------------


def fuzzed_server(clock: Clock) -> MCPServer:
    mcp = library(clock=clock, limits=LIMITS, secret="fuzz")

    @mcp.tool()
    async def echo(value: Any = None) -> Any:
        return [value]

    @mcp.tool()
    async def typed(
        n: int, names: set[str], when: date, more: Annotated[float | None, {"minimum": 0}] = None
    ) -> dict[str, int]:
        return {"n": n, "names": len(names), "year": when.year}

    @mcp.tool()
    async def talk(text: str, ctx: Context) -> str:
        for step in range(3):
            await ctx.info(text)
            await ctx.report_progress(step, 3, text)
        return text

    @mcp.tool()
    async def ask(ctx: Context) -> str:
        answer = await ctx.elicit("Who are you?", {"type": "object", "properties": {"name": {"type": "string"}}})
        return f"{answer.action} {answer.content}"

    @mcp.tool()
    def blocking() -> str:
        return "done"

    return mcp


class Neighbour:
    """A client that behaves. It has its own connection and session, and gets what it should."""

    def __init__(self, url: str) -> None:
        self.url, self.stop, self.calls, self.slowest = url, False, 0, 0.0

    async def live(self) -> None:
        session = dict(ACCEPT_BOTH)
        async with Wire(self.url) as wire:
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "n", "version": "1"}}
            await wire.send(post(session, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
            assert (await wire.reply()).status == 200
            session["mcp-session-id"] = wire.headers["mcp-session-id"]
            while not self.stop:
                self.calls += 1
                text, begun = f"neighbour-{self.calls}", time.monotonic()
                await wire.send(post(session, call(self.calls, "talk", text=text)))
                async with asyncio.timeout(PATIENCE):
                    assert await wire.status() == 200
                    params = {"level": "info", "data": text}
                    notice = {"jsonrpc": "2.0", "method": "notifications/message", "params": params}
                    if await wire.messages() != [notice] * 3 + [text_result(self.calls, text)]:
                        raise Fault("the neighbour got something else")
                self.slowest = max(self.slowest, time.monotonic() - begun)
                await asyncio.sleep(0.005)
            await wire.send(head("DELETE", **session))
            assert (await wire.reply()).status == 200


@dataclass
class Fuzz:
    seed: int
    statistics: Counter[str] = field(default_factory=Counter)
    show: bool = False

    async def run(self, seconds: float, cases: int | None = None, only: int | None = None) -> None:
        """Run for so long, or so many cases; Fault with all that it takes to see it again."""
        clock = Clock()
        self.mcp = fuzzed_server(clock)
        with complaints() as self.complaints:
            async with self.mcp.serving() as url:
                self.url, self.state = url, await self.sealed_state()
                before, until, number = Left.look(), time.monotonic() + seconds, only or 0
                end = sys.maxsize if cases is None else cases
                while number < (end if only is None else only + 1) and time.monotonic() < until:
                    numbers = range(number, min(number + ROUND, end)) if only is None else range(only, only + 1)
                    await self.round(numbers)
                    await self.quiet(clock, before)
                    self.check_log()
                    number = numbers.stop
                self.cases = number

    def check_log(self) -> None:
        if self.complaints.found:
            raise Fault(f"the log complains:\n{self.complaints.found.pop()[-3000:]}")

    async def sealed_state(self) -> str:
        asked = await StatelessClient(self.mcp, {"elicitation": {}}).call("ask")
        return str(asked.result["requestState"])

    async def round(self, numbers: range) -> None:
        neighbour, waiting = Neighbour(self.url), iter(numbers)

        async def work() -> None:
            for number in waiting:
                await self.case(number)

        async with asyncio.TaskGroup() as group:
            life = group.create_task(neighbour.live())
            await asyncio.gather(*(work() for _ in range(AT_ONCE)))
            neighbour.stop = True
            await life
        self.slowest = max(getattr(self, "slowest", 0.0), neighbour.slowest)

    async def case(self, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        version = rng.choice(SESSION_REVISIONS)
        client = await Client(self.mcp).connect(version, {"elicitation": {}, "sampling": {}, "roots": {}})
        case = Case(number, rng, client.headers, version, self.state)
        data = case.data()
        received = b""
        try:
            received, ended = await self.exchange(data, rng)
            if ended is not None:
                word = check_conversation(data, received, ended)
                self.statistics[word] += 1
            self.check_log()
        except (Fault, UnicodeDecodeError, ValueError) as error:
            again = f"python tests/fuzz.py --seed {self.seed} --case {number}"
            raise Fault(f"{error}\n\nagain: {again}\nsent: {data!r}\n\nreceived: {received!r}") from error
        if self.show:
            print(f"sent: {data!r}\n\nreceived: {received!r}")

    async def exchange(self, data: bytes, rng: random.Random) -> tuple[bytes, bool | None]:
        """Send in pieces, say that this is all, and read to the end; (what came, whether the connection ended).

        None: we left with a RST, and nobody knows what would have come.
        """
        parts = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 24)
        wire = Wire(self.url)
        wire.reader, wire.writer = reader, writer
        asked, _, _ = requests_in(data)
        received = b""
        try:
            cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice([0, 0, 1, 3, 12])))
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                if not writer.transport.is_closing():  # or asyncio complains of us
                    writer.write(data[start:end])
                await asyncio.sleep(0 if len(cuts) < 12 else 0.001)
            if rng.random() < 0.08:
                return b"", None
            with contextlib.suppress(OSError):  # it has closed already
                writer.write_eof()
            waited = 0.0
            while True:
                try:
                    async with asyncio.timeout(0.05):
                        piece = await reader.read(1 << 20)
                except TimeoutError:
                    waited += 0.05
                    if listening(received, asked):
                        return received, False
                    if waited > PATIENCE:
                        raise Fault(f"neither an answer nor an end after {PATIENCE:g} s") from None
                    continue
                if not piece:
                    return received, True
                received, waited = received + piece, 0.0
        except ConnectionError as error:
            if any(request.may_close for request in asked):  # who speaks on after that may lose its answer
                return b"", None
            raise Fault(f"a reset instead of an answer: {error!r}") from error
        finally:
            with contextlib.suppress(OSError):  # closed by now
                wire.reset()

    async def quiet(self, clock: Clock, before: "Left") -> None:
        """Let the server find that all have gone, then see what is left: nothing."""

        def later() -> bool:
            clock.turn(LIMITS.heartbeat_seconds)
            self.mcp.sweep()
            return not self.mcp.connections and not self.mcp.calls

        try:
            await eventually(later, PATIENCE)
        except TimeoutError:
            connections = [(c.request.method, c.state) for c in self.mcp.connections]
            raise Fault(f"still there: {connections} {[c.message for c in self.mcp.calls]}") from None
        clock.turn(self.mcp.sessions.timeout)
        self.mcp.sweep()
        now = await Left.settled(before)
        if self.mcp.sessions.used:
            raise Fault(f"nobody is there, and {self.mcp.sessions.used} bytes are counted as kept or unread")
        if not now.same(before):
            raise Fault(f"something is left: before {before}, now {now}")
        if now.resident > before.resident + 80 * 2**20:  # the allocator keeps some, and does not keep more and more
            raise Fault(f"memory grows: before {before}, now {now}")


def listening(received: bytes, asked: list[Asked]) -> bool:
    """Whether all that is to come is an event stream that has no end by itself."""
    with contextlib.suppress(Fault):
        answers = answers_in(received, asked, None, ended=False)
        return bool(answers) and not answers[-1].complete and asked[len(answers) - 1].listens
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz streamhttp_mcp on 127.0.0.1.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--case", type=int, default=None, help="only this one")
    args = parser.parse_args()
    seed = random.randrange(10**6) if args.seed is None else args.seed
    fuzz = Fuzz(seed, show=args.case is not None)
    begun = time.monotonic()
    print(f"seed {seed}", flush=True)
    try:
        asyncio.run(fuzz.run(args.seconds, only=args.case))
    except (Fault, ExceptionGroup) as error:
        print(*(f"FAULT: {fault}" for fault in getattr(error, "exceptions", [error])), sep="\n")
        return 1
    print(f"{fuzz.cases} cases in {time.monotonic() - begun:.0f} s; the neighbour's slowest call: {fuzz.slowest:.3f} s")
    print("how conversations ended, by the last status:", dict(fuzz.statistics.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
