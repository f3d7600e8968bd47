"""Section 1, HTTP messages: the bytes of a request in, the bytes of a reply out. Rules: RFC 9110 and RFC 9112.

Every reader gets its bytes by `read`, which hands them over in four ways and wants the same outcome each time.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any

import pytest

from streamhttp_mcp import (
    ConnectionEnded,
    HTTPError,
    Incoming,
    Limits,
    Request,
    check_body_size,
    format_chunk,
    format_date,
    format_head,
    parse_accept,
    parse_head,
    parse_length,
    read_chunks,
    read_head,
)

Reader = Callable[[Incoming], Awaitable[Any]]
PREVIOUS, NEXT = b"GET /previous HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
ROOMY = Limits()
SMALL = Limits(request_line_bytes=40, head_bytes=100, header_fields=3, body_bytes=10, chunks=12)
LOOP = asyncio.new_event_loop()  # never runs: `drive` does its work, one step at a time
LOOP.close()


def read(reader: Reader, data: bytes) -> Any:
    """What the reader makes of the data: its value, or the HTTPError as (status, message)."""
    outcomes = {
        "whole": feed(reader, [data]),
        "byte by byte": feed(reader, [bytes([byte]) for byte in data]),
        "with trailing data": feed(reader, [data + NEXT], trailing=True),
        "behind the request before": feed(reader, [PREVIOUS + data], previous=True),
    }
    for way, outcome in outcomes.items():
        assert outcome == outcomes["whole"], f"{way}: {data[:200]!r}"
    return outcomes["whole"]


def feed(reader: Reader, pieces: list[bytes], previous: bool = False, trailing: bool = False) -> Any:
    async def work(incoming: Incoming) -> Any:
        if previous:
            assert (await begin_and_read_head(incoming, ROOMY)).path == "/previous"
        try:
            value = await reader(incoming)
        except HTTPError as error:
            return error.status, error.message
        if trailing:  # not a byte too many was taken
            assert (await begin_and_read_head(incoming, ROOMY)).path == "/next"
        return value

    return drive(work, pieces)


def drive(work: Callable[[Incoming], Coroutine[Any, Any, Any]], pieces: Iterable[bytes], ends: bool = False) -> Any:
    """Give a reader its bytes piece by piece: it takes each one before the next comes. It need not see an end."""
    stream = asyncio.StreamReader(loop=LOOP)
    with contextlib.closing(work(Incoming(stream))) as reading:
        try:
            for piece in pieces:
                stream.feed_data(piece)
                if ends:
                    stream.feed_eof()
                reading.send(None)
        except StopIteration as done:
            return done.value
    raise AssertionError("it still wants more bytes")


async def begin_and_read_head(incoming: Incoming, limits: Limits) -> Request:
    await incoming.begin()
    return await read_head(incoming, limits)


def head(data: bytes, limits: Limits = ROOMY) -> Any:
    return read(lambda incoming: begin_and_read_head(incoming, limits), data)


async def read_request(incoming: Incoming, limits: Limits) -> bytes:
    """Read head and body, as a connection does, and return the body."""
    length = parse_length(await begin_and_read_head(incoming, ROOMY))
    if length is None:
        return await join_chunks(incoming, limits)
    check_body_size(length, limits)
    return await incoming.exactly(length)


async def join_chunks(incoming: Incoming, limits: Limits) -> bytes:
    return await read_chunks(incoming, limits)


def request(data: bytes, limits: Limits = ROOMY) -> Any:
    return read(lambda incoming: read_request(incoming, limits), data)


def body(fields: bytes, wire: bytes, limits: Limits = ROOMY, version: bytes = b"1.1") -> Any:
    return request(b"POST /mcp HTTP/%b\r\nHost: a\r\n%b\r\n%b" % (version, fields, wire), limits)


# ---- Heads


@pytest.mark.parametrize("data, expected", [
    (b"GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n", Request("GET", "/mcp", {"host": "a"})),
    (b"GET /mcp HTTP/1.0\r\n\r\n", Request("GET", "/mcp", {}, minor_version=0)),
    (b"POST /mcp?x=1 HTTP/1.1\r\nHost:a\r\nX-Y: \t b  c \t\r\nZ:\r\n\r\n",
     Request("POST", "/mcp?x=1", {"host": "a", "x-y": "b  c", "z": ""})),
    (b"GET / HTTP/1.1\r\nhOST: a\r\nX: caf\xe9\tbar: baz\r\n\r\n",
     Request("GET", "/", {"host": "a", "x": "caf\xe9\tbar: baz"})),
    (b"GET / HTTP/1.1\r\nHost: a\r\nAccept: a\r\nX: b\r\naccept: c\r\n\r\n",
     Request("GET", "/", {"host": "a", "accept": "a, c", "x": "b"})),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Request("OPTIONS", "*", {"host": "a"})),
    (b"M-SEARCH! /* HTTP/1.1\r\nHost: a\r\nX_0: b\r\n\r\n", Request("M-SEARCH!", "/*", {"host": "a", "x_0": "b"})),
])  # fmt: skip
def test_head_becomes_a_request(data: bytes, expected: Request) -> None:
    """[http.request-line] [http.field-line] [http.list-field] Names in any case, space around a value dropped."""
    assert head(data) == expected


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_empty_lines_before_a_request_are_ignored(lines: int) -> None:
    """[http.empty-line-before] Old clients send one CRLF too many after a body. How it is cut into pieces decides nothing."""
    assert head(b"\r\n" * lines + b"GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n") == Request("GET", "/mcp", {"host": "a"})


@pytest.mark.parametrize("target, host, path", [
    (b"http://a:80/mcp", "a:80", "/mcp"),
    (b"HTTPS://A.example/mcp?x=/y", "A.example", "/mcp?x=/y"),
    (b"http://[::1]:8000", "[::1]:8000", "/"),
])  # fmt: skip
def test_absolute_form_means_the_path_and_the_host_within_it(target: bytes, host: str, path: str) -> None:
    """[http.absolute-form] RFC 9112 section 3.2.2: a server MUST go by this host, whatever the Host field says."""
    found = head(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)
    assert (found.target, found.headers["host"]) == (path, host)


@pytest.mark.parametrize("host", [b"a", b"a:80", b"a:", b"10.0.0.7:8000", b"[::1]", b"[2001:db8::7]:443", b"a-b_c.example."])
def test_host_is_a_name_or_an_address_and_perhaps_a_port(host: bytes) -> None:
    """[http.host-form]"""
    assert head(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host).headers["host"] == host.decode()


@pytest.mark.parametrize("host", [
    b"", b":80", b"a b", b"a/b", b"a?b", b"a@b", b"a:80:80", b"a:port", b"a:+80", b"a:123456", b"::1", b"[::1",
    b"[]", b"[::1]x", b"[::1%25eth0]", b"http://a", b"<a>", b"caf\xe9", b'"a"', b"a\tb",
])  # fmt: skip
def test_host_that_is_none_is_refused(host: bytes) -> None:
    """[http.host-form] Also where an absolute target names it."""
    message = "expected Host: name or name:port, got "
    for wire in (b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, b"GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n"):
        status, text = head(wire)
        assert status == 400 and text.startswith(message)


@pytest.mark.parametrize("line, status", [
    (b"GET /mcp", 400),  # HTTP/0.9
    (b"GET  /mcp HTTP/1.1", 400),
    (b"GET\t/mcp\tHTTP/1.1", 400),
    (b"GET /m cp HTTP/1.1", 400),
    (b" GET /mcp HTTP/1.1", 400),
    (b"GET /mcp HTTP/1.1 ", 400),
    (b"GET /mcp HTTP/1.1\r", 400),
    (b"GET\r/mcp HTTP/1.1", 400),
    (b"GET /mcp\rHTTP/1.1", 400),
    (b"GET /mcp HTTP/1.1\rHost: a", 400),  # a bare CR ends no line
    (b"GET /mcp HTTP/1.1\n", 400),
    (b"GET /mcp HTTP/1.1\x00", 400),
    (b"GET\x0b/mcp\x0bHTTP/1.1", 400),  # white space to str.split()
    (b"GET\xa0/mcp\xa0HTTP/1.1", 400),
    (b"GET /mcp\x85HTTP/1.1", 400),  # the end of a line to str.splitlines()
    (b"\nGET /mcp HTTP/1.1", 400),
    (b"\rGET /mcp HTTP/1.1", 400),
    (b"G(T /mcp HTTP/1.1", 400),
    (b"GET /mcp http/1.1", 400),
    (b"GET /mcp HTTP/1.10", 400),
    (b"GET /mcp HTTP/1.x", 400),
    (b"GET /mcp HTTP/1.\xb2", 400),  # a digit to int() and to \d
    (b"GET /m\x00cp HTTP/1.1", 400),
    (b"GET /m\x7fcp HTTP/1.1", 400),
    (b"GET /caf\xc3\xa9 HTTP/1.1", 400),
    (b"GET mcp HTTP/1.1", 400),
    (b"GET * HTTP/1.1", 400),
    (b"OPTIONS mcp HTTP/1.1", 400),
    (b"CONNECT a:443 HTTP/1.1", 400),
    (b"GET ftp://a/mcp HTTP/1.1", 400),
    (b"GET http:///mcp HTTP/1.1", 400),
    (b"GET http://a/mcp#b HTTP/1.1", 400),
    (b"GET http://localhost@a/mcp HTTP/1.1", 400),
    (b"GET /mcp HTTP/0.9", 505),
    (b"GET /mcp HTTP/2.0", 505),
    (b"PRI * HTTP/2.0", 505),  # how every HTTP/2 connection begins
])  # fmt: skip
def test_malformed_request_line_is_refused(line: bytes, status: int) -> None:
    """[http.request-line] [http.version-505] Three parts, one space between them, a version of HTTP/1."""
    got, message = head(line + b"\r\nHost: a\r\n\r\n")
    assert got == status
    assert status == 505 or any(named in message for named in ("METHOD /path HTTP/1.1", "request target", "LF alone"))


@pytest.mark.parametrize("fields, message", [
    (b"Host: a\nX: b", "LF alone"),
    (b"Host: a\n\nX: b", "LF alone"),
    (b"Host: a\r\nX: b\r\n folded", "got ' folded'"),
    (b"Host: a\r\nX: b\r\n\tfolded", r"got '\tfolded'"),
    (b" Host: a", "got ' Host: a'"),
    (b"Host : a", "got 'Host : a'"),  # read as Host by some, as 'Host ' by others
    (b"Host: a\r\nX\t: b", r"got 'X\t: b'"),
    (b"Host: a\r\nX", "got 'X'"),
    (b"Host: a\r\n: b", "got ': b'"),
    (b"Host: a\r\nX(: b", "got 'X(: b'"),
    (b"Host: a\r\nX Y: b", "got 'X Y: b'"),
    (b"Host: a\r\nX\x1f: b", r"got 'X\x1f: b'"),
    (b"Host: a\r\nX\x7f: b", r"got 'X\x7f: b'"),
    (b"Host: a\r\n\xa0X: b", r"got '\xa0X: b'"),
    (b"Host: a\r\nX\r: b", r"got 'X\r: b'"),
    (b"Host: a\r\nX\n: b", "LF alone"),
    (b"Host: a\r\nX\xe9: b", r"got 'X\xe9: b'"),
    (b"Host: a\r\nX\x00: b", r"got 'X\x00: b'"),
    (b"Host: a\r\nX: b\x00", r"got 'X: b\x00'"),
    (b"Host: a\r\nX: b\x7f", r"got 'X: b\x7f'"),
    (b"Host: a\r\nX: \x08b", r"got 'X: \x08b'"),
    (b"Host: a\r\nX: b\x0bc", r"got 'X: b\x0bc'"),
    (b"Host: a\r\nX: b\x1b[2J", r"got 'X: b\x1b[2J'"),  # would clear the screen of who reads the log
    (b"Host: a\r\nX: b\r", r"got 'X: b\r'"),
    (b"Host: a\r\n \r\nX: b", "got ' '"),  # folded, though it looks like the blank line
    (b"Host: a\r\nX: b\rY: c", r"got 'X: b\rY: c'"),
    (b"Host: a\r\nX: b\r\r\nY: c", r"got 'X: b\r'"),
    (b"X: b", "Host is missing"),
])  # fmt: skip
def test_malformed_field_is_refused_and_named(fields: bytes, message: str) -> None:
    """[http.field-line] [http.bare-lf] [http.no-folding] [http.no-space-before-colon] [http.host-required]

    What two readers would read differently is not read at all.
    """
    status, text = head(b"GET /mcp HTTP/1.1\r\n%b\r\n\r\n" % fields)
    assert status == 400
    assert message in text


@pytest.mark.parametrize("wire", [
    b"GET /%b\r\n\r\n",
    b"GET x%b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%b\r\n",
])  # fmt: skip
def test_refusal_shows_only_the_start_of_what_is_long(wire: bytes) -> None:
    """[limits.head] Kilobytes of nonsense are not sent back."""
    status, message = request(wire % (b"x" * 900))
    assert status in (400, 501)
    assert "xxx" in message
    assert len(message) < 200


@pytest.mark.parametrize("name", ["Host", "Content-Length"])
def test_field_that_frames_or_routes_is_refused_when_it_comes_twice(name: str) -> None:
    """[http.single-field] Also when both are the same: a proxy on the way may have added the second one."""
    twice = f"{name}: 5\r\nX: y\r\n{name.lower()}: 5\r\n".encode()
    host = b"" if name == "Host" else b"Host: a\r\n"
    assert head(b"GET /mcp HTTP/1.1\r\n%b%b\r\n" % (host, twice)) == (400, f"header field {name.lower()} is repeated")


SINGLE = [
    "Content-Type", "Authorization", "Origin", "Mcp-Session-Id", "MCP-Protocol-Version", "Last-Event-ID", "Mcp-Method",
    "Mcp-Name", "Mcp-Param-City",
]  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_equal_copies_of_a_field_that_has_one_value_count_once(name: str) -> None:
    """[http.single-field] Clients do send a field twice, and proxies add a copy."""
    twice = f"{name}: 2025-11-25\r\nX: y\r\n{name.lower()}:2025-11-25 \r\n".encode()
    assert head(b"GET /mcp HTTP/1.1\r\nHost: a\r\n%b\r\n" % twice).headers == {
        "host": "a", "x": "y", name.lower(): "2025-11-25",
    }  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("values", [("5", "6"), ("5", ""), ("", "5"), ("a", "A"), ("5", "5", "6")])
def test_different_copies_of_a_field_that_has_one_value_are_refused(name: str, values: tuple[str, ...]) -> None:
    """[http.single-field] The proxy before us may have gone by the other one."""
    lines = "".join(f"{name}: {value}\r\n" for value in values).encode()
    message = f"header field {name.lower()} is repeated with different values"
    assert head(b"GET /mcp HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines) == (400, message)


@pytest.mark.parametrize("value, kept", [
    (b"2025-11-25, 2025-11-25", "2025-11-25"),
    (b"2025-11-25,2025-11-25 ,\t2025-11-25", "2025-11-25"),
    (b"2025-11-25, 2025-06-18", "2025-11-25, 2025-06-18"),  # names no revision
    (b"2025-11-25,", "2025-11-25,"),
])  # fmt: skip
def test_equal_copies_on_one_line_count_once_too(value: bytes, kept: str) -> None:
    """[http.single-field] Proxies join the lines of a field."""
    found = head(b"GET /mcp HTTP/1.1\r\nHost: a\r\nMCP-Protocol-Version: %b\r\n\r\n" % value)
    assert found.headers["mcp-protocol-version"] == kept


@pytest.mark.parametrize("minor, connection, stays", [
    (1, None, True),
    (1, "keep-alive", True),
    (1, "upgrade", True),
    (1, "close", False),
    (1, "Upgrade, Close", False),
    (0, None, False),
    (0, "close", False),
    (0, "Keep-Alive", True),
])  # fmt: skip
def test_connection_stays_open_where_both_sides_want_it(minor: int, connection: str | None, stays: bool) -> None:
    """[http.keep-alive] HTTP/1.1 stays unless told otherwise, HTTP/1.0 the other way round."""
    headers = {} if connection is None else {"connection": connection}
    assert Request("GET", "/mcp", headers, minor_version=minor).keep_alive is stays


def test_path_is_the_target_without_its_query() -> None:
    """[http.request-line] RFC 9112 section 3.2.1"""
    assert Request("GET", "/mcp/?a=b?c").path == "/mcp/"


# ---- Limits of a head


def test_request_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    """[limits.head] The line of 40 bytes is taken in whichever pieces it comes."""
    fits = b"GET /%b HTTP/1.1" % (b"a" * 26)
    assert len(fits) == SMALL.request_line_bytes
    assert head(fits + b"\r\nHost: a\r\n\r\n", SMALL).target == "/" + "a" * 26
    assert head(fits.replace(b"/", b"/a", 1) + b"\r\nHost: a\r\n\r\n", SMALL) == (
        414, "request line is longer than 40 bytes",
    )  # fmt: skip


@pytest.mark.parametrize("size", range(95, 106))
def test_head_may_be_as_long_as_the_limit_and_no_longer(size: int) -> None:
    """[limits.head] Not counting its blank line, of which any part may come last."""
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    outcome = head(start.ljust(size, b"b") + b"\r\n\r\n", SMALL)
    if size <= SMALL.head_bytes:
        assert outcome.headers["x"] == "b" * (size - len(start))
    else:
        assert outcome == (431, "request head is longer than 100 bytes")


def test_head_may_have_as_many_fields_as_the_limit_and_no_more() -> None:
    """[limits.head]"""
    fits = b"GET / HTTP/1.1\r\nHost: a\r\nB: b\r\nC: c\r\n"
    assert len(head(fits + b"\r\n", SMALL).headers) == SMALL.header_fields
    assert head(fits + b"D: d\r\n\r\n", SMALL) == (431, "more than 3 header fields")
    assert head(fits + b"C: d\r\n\r\n", SMALL) == (431, "more than 3 header fields")


@pytest.mark.parametrize("start, filler, status, most", [
    (b"GET /", b"a", 414, 40 + 4),
    (b"\x16\x03", b"\x01\x02\xfc", 400, 0),  # TLS, sent to a server that has none
    (b"GET / HTTP/1.1\r\nX: ", b"a", 431, 100 + 4),
    (b"GET / HTTP/1.1\r\n", b"a:b\r\n", 431, 100 + 4),
    (b"GET / HTTP/1.1\n", b"a", 400, 0),
])  # fmt: skip
def test_head_without_an_end_is_refused_while_it_is_read(start: bytes, filler: bytes, status: int, most: int) -> None:
    """[limits.head] [http.bare-lf] A limit that is looked at afterwards limits nothing."""
    assert endless(lambda incoming: begin_and_read_head(incoming, SMALL), start, filler, most) == status


def endless(reader: Callable[[Incoming], Coroutine[Any, Any, Any]], start: bytes, filler: bytes, most: int) -> int:
    """Send `start`, then filler until the reader refuses; fail after `most` bytes in all."""
    sent = [start]

    def dribble() -> Iterator[bytes]:
        yield start
        for number in range(2000):
            sent.append(filler[number % len(filler) :][:1])
            yield sent[-1]

    with pytest.raises(HTTPError) as refusal:
        drive(reader, dribble())
    assert len(b"".join(sent)) <= max(most, len(start) + 1)
    return refusal.value.status


@pytest.mark.parametrize("line", [b"X:%b\x00", b"X: a%b\x00", b"X%b: a", b"%bX: a", b"X: a%bb"])
@pytest.mark.parametrize("filler", [b" ", b"\t", b" \t", b":", b"x"])
def test_field_costs_time_by_its_length_whatever_it_holds(line: bytes, filler: bytes) -> None:
    """[limits.head] A pattern that tries each way to part blanks from blanks takes 4 s for a head of 32 KiB."""
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + line % (filler * (31_000 // len(filler))) + b"\r\n"
    begun = time.process_time()
    with contextlib.suppress(HTTPError):
        parse_head(data.decode("latin-1"), ROOMY)
    assert time.process_time() - begun < 0.5


# ---- Bodies


@pytest.mark.parametrize("fields, wire, expected", [
    (b"", b"", b""),
    (b"Content-Length: 0\r\n", b"", b""),
    (b"Content-Length: 5\r\n", b"hello", b"hello"),
    (b"Content-Length:\t 005 \r\n", b"hello", b"hello"),
    (b"Content-Length: " + b"0" * 22 + b"5\r\n", b"hello", b"hello"),
    (b"Content-Length: " + b"0" * 80 + b"\r\n", b"", b""),
    (b"Content-Length: 4\r\n", b"\r\n\r\n", b"\r\n\r\n"),
    (b"Content-Length: 10\r\n", b"0123456789", b"0123456789"),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"Transfer-Encoding: \tChunked \r\n", b"0\r\n\r\n", b""),
    (b"Transfer-Encoding: chunked\r\n", b"3\r\nhel\r\n002\r\nlo\r\n000\r\n\r\n", b"hello"),
    (b"Transfer-Encoding: chunked\r\n", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"Transfer-Encoding: chunked\r\n", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"Transfer-Encoding: chunked\r\n", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\n", b'5;a\r\nhello\r\n0 ; b="c d"\r\n\r\n', b"hello"),
    (b"Transfer-Encoding: chunked\r\n", b'5 \t;a="\xe9;\t" ;b=c \r\nhello\r\n0;\r\n\r\n', b"hello"),
    (b"Transfer-Encoding: chunked\r\n", b"0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", b"hello"),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", b"hello"),
])  # fmt: skip
def test_body_ends_where_its_length_or_its_last_chunk_says(fields: bytes, wire: bytes, expected: bytes) -> None:
    """[http.chunked] [http.length-digits] [http.chunk-extension] [http.trailers] The last two are not used."""
    assert body(fields, wire, SMALL) == expected


def test_http_1_0_request_has_a_body_by_length() -> None:
    """[http.length-digits]"""
    assert body(b"Content-Length: 5\r\n", b"hello", version=b"1.0") == b"hello"


@pytest.mark.parametrize("length", [
    b"", b"+5", b"-5", b"-0", b"0x5", b"1_0", b"5.0", b"5e0", b"5 5", b"5\t5", b"5, 5", b"5,5", b"5, 6", b"5,", b", 5",
    b"5;", b"five", b'"5"', b"\xb2", b"\xb9", b"\xa05", b"5\xa0", b"\x855", b"-9223372036854775808", b"+" + b"9" * 80,
])  # fmt: skip
def test_length_that_is_no_decimal_number_is_refused(length: bytes) -> None:
    """[http.length-digits] int() takes more than that."""
    outcome = body(b"Content-Length: %b\r\n" % length, b"hello")
    assert outcome == (400, f"Content-Length must be a decimal number, got {length.decode('latin-1')!a}")


@pytest.mark.parametrize("length", ["11", "0" * 22 + "11", "4294967301", "18446744073709551621", "9" * 80])
def test_length_over_the_limit_is_refused_before_the_body_comes(length: str) -> None:
    """[limits.body] And 2**32 + 5 or 2**64 + 5 is not 5."""
    assert body(f"Content-Length: {length}\r\n".encode(), b"", SMALL) == (413, "body is larger than 10 bytes")


@pytest.mark.parametrize("fields, version, status", [
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"1.1", 400),
    (b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", b"1.1", 400),
    (b"Content-Length: 5\r\nTransfer-Encoding: x\r\n", b"1.1", 400),
    (b"Transfer-Encoding: chunked\r\n", b"1.0", 400),
    (b"Transfer-Encoding: gzip, chunked\r\n", b"1.1", 501),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"1.1", 501),
    (b"Transfer-Encoding: gzip\r\n", b"1.1", 501),
    (b"Transfer-Encoding: identity\r\n", b"1.1", 501),
    (b"Transfer-Encoding: chunked, identity\r\n", b"1.1", 501),
    (b"Transfer-Encoding: identity, chunked\r\n", b"1.1", 501),
    (b"Transfer-Encoding: chunked, chunked\r\n", b"1.1", 501),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"1.1", 501),
    (b"Transfer-Encoding: x\r\ntransfer-encoding: chunked\r\n", b"1.1", 501),
    (b"Transfer-Encoding: chunked,\r\n", b"1.1", 501),
    (b"Transfer-Encoding: , chunked\r\n", b"1.1", 501),
    (b'Transfer-Encoding: "chunked"\r\n', b"1.1", 501),
    (b"Transfer-Encoding: chun ked\r\n", b"1.1", 501),
    (b"Transfer-Encoding : chunked\r\n", b"1.1", 400),
    (b"Transfer-Encoding\x00: chunked\r\n", b"1.1", 400),
    (b" Transfer-Encoding: chunked\r\n", b"1.1", 400),
    (b"Transfer-Encoding: x,\r\n chunked\r\n", b"1.1", 400),
    (b"Transfer-Encoding:\r\n chunked\r\n", b"1.1", 400),
    (b"Content-Length: 5\r\nContent-Length: 6\r\n", b"1.1", 400),
    (b"Content-Length: 6\r\ncontent-length: 5\r\n", b"1.1", 400),
    (b"Content-Length: 5\r\nContent-Length:\r\n", b"1.1", 400),
    (b"Content-Length : 5\r\n", b"1.1", 400),
    (b"Transfer-Encoding: xchunked\r\n", b"1.1", 501),
    (b"Transfer-Encoding: chunkedx\r\n", b"1.1", 501),
    (b"Transfer-Encoding: chunked;a=b\r\n", b"1.1", 501),
    (b"Transfer-Encoding: \x0bchunked\r\n", b"1.1", 400),
    (b"Transfer-Encoding: \xa0chunked\r\n", b"1.1", 501),
    (b"Transfer-Encoding:\r\n", b"1.1", 501),
])  # fmt: skip
def test_body_framed_in_two_ways_or_in_an_unknown_one_is_refused(fields: bytes, version: bytes, status: int) -> None:
    """[http.one-framing] [http.old-no-coding] [http.coding-501] [http.single-field]

    A proxy may have gone by the other field.
    """
    assert body(fields, b"5\r\nhello\r\n0\r\n\r\n", version=version)[0] == status


@pytest.mark.parametrize("wire, status, message", [
    (b"+5\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'+5'"),
    (b"-5\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'-5'"),
    (b"0x5\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'0x5'"),
    (b"1_0\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'1_0'"),
    (b" 5\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b' 5'"),
    (b"5 0\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'5 0'"),
    (b"5 \r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'5 '"),
    (b"5\t\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5\t'"),
    (b"5\r\nhello\r\n0 \r\n\r\n", 400, "expected hexadecimal chunk size, got b'0 '"),
    (b"5\xa0\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5\xa0'"),
    (b"5,5\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'5,5'"),
    (b"5.\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'5.'"),
    (b"5h\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'5h'"),
    (b"\xb2\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'\xb2'"),
    (b"5\rhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5\rhello'"),
    (b"5\r\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5\r'"),
    (b"\n5\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'\n5'"),
    (b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5;a\rb'"),
    (b"5;a\x7f\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5;a\x7f'"),
    (b"00000000000000005\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'00000000000000005'"),
    (b"5\x0b\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5\x0b'"),
    (b"g\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'g'"),
    (b"\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b''"),
    (b";a\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b';a'"),
    (b"5\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5\nhello'"),
    (b"5;a\nb\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5;a\nb'"),
    (b"5;\x00\r\nhello\r\n0\r\n\r\n", 400, r"expected hexadecimal chunk size, got b'5;\x00'"),
    (b"10000000000000005\r\nhello\r\n0\r\n\r\n", 400, "expected hexadecimal chunk size, got b'10000000000000005'"),
    (b"b\r\n", 413, "body is larger than 10 bytes"),
    (b"7fffffffffffffff\r\n", 413, "body is larger than 10 bytes"),
    (b"8000000000000000\r\n", 413, "body is larger than 10 bytes"),
    (b"ffffffffffffffff\r\n", 413, "body is larger than 10 bytes"),
    (b"100000005\r\n", 413, "body is larger than 10 bytes"),
    (b"6\r\nfirst \r\n5\r\n", 413, "body is larger than 10 bytes"),
    (b"5\r\nhello0\r\n\r\n", 400, r"expected CRLF after a chunk, got b'0\r'"),
    (b"5\r\nhello!\r\n0\r\n\r\n", 400, r"expected CRLF after a chunk, got b'!\r'"),
    (b"5\r\nhello\n0\r\n\r\n", 400, r"expected CRLF after a chunk, got b'\n0'"),
    (b"5\r\nhello\r\r0\r\n\r\n", 400, r"expected CRLF after a chunk, got b'\r\r'"),
    (b"5\r\nhello\n\r0\r\n\r\n", 400, r"expected CRLF after a chunk, got b'\n\r'"),
    (b"5\r\nhello\x00\x000\r\n\r\n", 400, r"expected CRLF after a chunk, got b'\x00\x00'"),
    (b"4\r\nhello\r\n0\r\n\r\n", 400, r"expected CRLF after a chunk, got b'o\r'"),
    (b"6\r\nhello\r\n0\r\n\r\n", 400, r"expected CRLF after a chunk, got b'\n0'"),
    (b"0\r\n folded\r\n\r\n", 400, "malformed header field: expected 'Name: value', got ' folded'"),
    (b"0\r\nX: y\r\n z\r\n\r\n", 400, "malformed header field: expected 'Name: value', got ' z'"),
    (b"0\r\nX: y\x00\r\n\r\n", 400, r"malformed header field: expected 'Name: value', got 'X: y\x00'"),
    (b"0\r\nX: y\rZ: z\r\n\r\n", 400, r"malformed header field: expected 'Name: value', got 'X: y\rZ: z'"),
    (b"0\r\nX : y\r\n\r\n", 400, "malformed header field: expected 'Name: value', got 'X : y'"),
    (b"0\r\nno colon\r\n\r\n", 400, "malformed header field: expected 'Name: value', got 'no colon'"),
    (b"0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed header field: expected 'Name: value', got 'GET /admin HTTP/1.1'"),
    (b"0\r\nX: y\nZ: z\r\n\r\n", 400, "a line ends with LF alone: end each line with CRLF (with nc, use -C)"),
])  # fmt: skip
def test_malformed_chunk_is_refused_and_named(wire: bytes, status: int, message: str) -> None:
    """[http.chunked] [http.chunk-end] [http.chunk-extension] [http.trailers] [limits.body]

    No sign, no prefix, no overflow, and exactly CRLF where CRLF belongs.
    """
    assert body(b"Transfer-Encoding: chunked\r\n", wire, SMALL) == (status, message)


def test_body_may_have_as_many_trailer_fields_as_the_limit_and_no_more() -> None:
    """[http.trailers] [limits.head]"""
    fields, fits = b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * SMALL.header_fields
    assert body(fields, fits + b"\r\n", SMALL) == b"hello"
    assert body(fields, fits + b"X: y\r\n\r\n", SMALL) == (431, "more than 3 trailer fields")


def test_body_may_come_in_as_many_chunks_as_the_limit_and_no_more() -> None:
    """[http.chunked] [limits.body] A million chunks of one byte cost more than a million bytes."""
    fields, last, limits = b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", Limits(chunks=3)
    assert body(fields, b"1\r\na\r\n" * 3 + last, limits) == b"aaa"
    assert body(fields, b"1\r\na\r\n" * 4 + last, limits) == (413, "body is in more than 3 chunks")


@pytest.mark.parametrize("size", range(1020, 1030))
def test_chunk_size_line_may_be_as_long_as_the_limit_and_no_longer(size: int) -> None:
    """[http.chunk-extension] RFC 9112 section 7.1.1 asks for a limit; 1024 bytes is ours."""
    outcome = body(b"Transfer-Encoding: chunked\r\n", b"5;".ljust(size, b"x") + b"\r\nhello\r\n0\r\n\r\n")
    assert outcome == (b"hello" if size <= 1024 else (400, "chunk size line is longer than 1024 bytes"))


@pytest.mark.parametrize("start, filler, status, most", [
    (b"", b"0", 400, 1024 + 2),
    (b"5;", b"a", 400, 1024 + 2),
    (b"", b"1\r\na\r\n", 413, 10 * 6 + 3),
    (b"0\r\n", b"a:b\r\n", 431, 3 + 4 * 5),
    (b"0\r\na:", b"b", 431, 3 + 40 + 2),
])  # fmt: skip
def test_chunks_without_an_end_are_refused_while_they_are_read(
    start: bytes, filler: bytes, status: int, most: int
) -> None:
    """[http.chunked] [http.chunk-extension] [http.trailers] [limits.body] Each has a bound."""
    assert endless(lambda incoming: join_chunks(incoming, SMALL), start, filler, most) == status


@pytest.mark.parametrize("wire", [
    b"POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nX: y\r\n\r\n",
])  # fmt: skip
def test_request_that_is_cut_off_anywhere_is_never_taken_for_a_whole_one(wire: bytes) -> None:
    """[http.chunked] [http.length-digits] RFC 9112 section 8"""

    def reading(data: bytes) -> Any:
        return drive(lambda incoming: read_request(incoming, ROOMY), [data], ends=True)

    assert reading(wire) == b"hello"
    for cut in range(len(wire)):
        with pytest.raises(ConnectionEnded):
            reading(wire[:cut])


# ---- Out


def test_reply_head_has_a_date_and_its_framing_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """[http.date]"""
    monkeypatch.setattr(time, "time", lambda: 784111777.9)
    assert format_head(404, (("Content-Type", "a/b"), ("X", "caf\xe9\t")), "Content-Length: 5\r\n") == (
        b"HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"Content-Type: a/b\r\nX: caf\xe9\t\r\nContent-Length: 5\r\n\r\n"
    )
    assert format_head(202, (), "") == b"HTTP/1.1 202 Accepted\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"


@pytest.mark.parametrize("field", [
    ("X", "a\r\nY: b"), ("X", "a\r\n\r\nbody"), ("X", "a\n"), ("X", "a\r"), ("X", "\x00"), ("X", "\x7f"),
    ("X", "a\x1b[2J"), ("X: a\r\nY", "b"), ("X ", "a"), ("", "a"), ("X\n", "a"), ("caf\xe9", "a"),
])  # fmt: skip
def test_reply_field_that_would_split_the_reply_is_refused(field: tuple[str, str]) -> None:
    """[http.reply-fields] A route may have put into it what a stranger sent."""
    with pytest.raises(ValueError, match="not a header field"):
        format_head(200, [("A", "b"), field], "")


@pytest.mark.parametrize("seconds, date", [
    (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
    (784111777, "Sun, 06 Nov 1994 08:49:37 GMT"),  # the RFC's own example
    (951782399.999, "Mon, 28 Feb 2000 23:59:59 GMT"),
    (951782400, "Tue, 29 Feb 2000 00:00:00 GMT"),
    (1785196800, "Tue, 28 Jul 2026 00:00:00 GMT"),
    (4102444799, "Thu, 31 Dec 2099 23:59:59 GMT"),
])  # fmt: skip
def test_date_is_in_english_and_gmt(seconds: float, date: str) -> None:
    """[http.date-form] RFC 9110 section 5.6.7"""
    assert format_date(seconds) == date


@pytest.mark.parametrize("data, chunk", [
    (b"hello", b"5\r\nhello\r\n"),
    (b"\r\n" * 8, b"10\r\n" + b"\r\n" * 8 + b"\r\n"),
    (b"x" * 3054, b"bee\r\n" + b"x" * 3054 + b"\r\n"),
])  # fmt: skip
def test_chunk_is_its_size_in_hexadecimal_and_the_data(data: bytes, chunk: bytes) -> None:
    """[http.chunked-reply] [http.chunked] What we write, we can read."""
    assert format_chunk(data) == chunk
    assert read(lambda incoming: join_chunks(incoming, ROOMY), chunk + b"0\r\n\r\n") == data


# ---- Accept


@pytest.mark.parametrize("value, json, stream", [
    ("application/json, text/event-stream", True, True),
    ("text/event-stream,application/json", True, True),
    ("application/json", True, False),
    ("text/event-stream", False, True),
    ("Application/JSON; charset=utf-8 , TEXT/Event-Stream ;q=0.5", True, True),
    ("*/*", True, True),
    ("application/*", True, False),
    ("text/*", False, True),
    ("text/html", False, False),
    ("application/jsonp, text/event-streams", False, False),
    ("text/html, application/xhtml+xml, */*;q=0.8", True, True),
    ("application/json;q=0.001", True, False),
    ("application/json;q=0, text/event-stream", False, True),
    ("application/json;q=0., text/event-stream;Q=0.000", False, False),
    ("application/json;q=0, */*", False, True),
    ("*/*, text/event-stream; q=0", True, False),
    ("*/*;q=0, application/json", True, False),
    ("text/*;q=0, */*", True, False),
    ("text/*;q=0, text/event-stream, application/*;q=0", False, True),
    ("*/*;q=0", False, False),
])  # fmt: skip
def test_accept_says_which_forms_a_client_takes(value: str, json: bool, stream: bool) -> None:
    """[http.accept] q=0 is a no, and the specific range beats the general one."""
    assert parse_accept(value) == (json, stream)
