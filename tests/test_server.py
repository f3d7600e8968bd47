"""Sections 3 and 16: what a client sees of the connection it talks through, and of the server's life."""

import ast
import asyncio
import concurrent.futures
import contextlib
import errno
import functools
import gc
import http.client
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import venv
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import missing
from inmemory import Client, Clock, StatelessClient, run, spoken
from wire import (
    ACCEPT_BOTH,
    Wire,
    call,
    congestion,
    eventually,
    head,
    ping,
    pong,
    post,
    stuck,
    text_result,
)

import streamhttp_mcp
from streamhttp_mcp import (
    META,
    STATELESS_REVISION,
    Connection,
    Context,
    Incoming,
    Limits,
    MCPServer,
    Reply,
    Request,
)

ROOT = Path(__file__).resolve().parent.parent
MODULE = ROOT / "streamhttp_mcp.py"
NOT_FOUND = head("GET", "/nothing", host="localhost")  # a whole request that needs no session
BAD_JSON = head("POST", **ACCEPT_BOTH, content_length=1) + b"{"
LOST = {
    "jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "nothing is here; the MCP endpoint is /mcp"},
}  # fmt: skip


def connect(url: str) -> http.client.HTTPConnection:
    """A client that we did not write. It blocks, and so it gets a thread wherever the server is in this process."""
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)


def request(connection, method: str, message=None, **headers: str):
    """One exchange by http.client: (status, headers, body)."""
    body = None if message is None else json.dumps(message)
    connection.request(method, "/mcp", body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


# --- One connection, many requests --------------------------------------------------------------------


@spoken
async def test_http_client_speaks_a_whole_session_down_one_connection():
    """[endpoint.single-path] [post.notification-202] [session.delete-ends]"""
    mcp = MCPServer("test")

    def conversation(url: str) -> list[tuple[int, bytes]]:
        connection = connect(url)
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        status, headers, _ = request(connection, "POST", hello, **ACCEPT_BOTH)
        seen, here, socket_used = [(status, b"")], {"mcp_session_id": headers["mcp-session-id"]}, connection.sock
        for method, message in [
            ("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"}),
            ("POST", ping(1)),
            ("POST", {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
            ("DELETE", None),
            ("POST", ping(3)),
        ]:
            status, _, body = request(connection, method, message, **ACCEPT_BOTH, **here)
            seen.append((status, body if status < 400 else b""))
        assert connection.sock is socket_used
        connection.close()
        return seen

    async with mcp.serving() as url:
        assert await asyncio.to_thread(conversation, url) == [
            (200, b""),
            (202, b""),
            (200, b'{"jsonrpc":"2.0","id":1,"result":{}}'),
            (200, b'{"jsonrpc":"2.0","id":2,"result":{"tools":[]}}'),
            (200, b""),
            (404, b""),
        ]


@spoken
async def test_pipelined_requests_are_answered_in_the_order_they_came():
    """[http.pipelining] The first takes longest, and is answered first."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await gate.wait()
        return "waited"

    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(session, call(1, "wait")) + post(session, ping(2)) + NOT_FOUND + post(session, ping(3)))
        await eventually(lambda: mcp.calls)
        gate.set()
        assert (await wire.reply()).message == text_result(1, "waited")
        assert (await wire.reply()).message == pong(2)
        assert (await wire.reply()).status == 404
        assert (await wire.reply()).message == pong(3)


@spoken
async def test_what_is_sent_while_a_request_is_answered_waits_in_the_kernel_and_is_answered_after_it():
    """[http.read-ahead] A client that only sends costs 64 KiB and what one read brings; nothing is lost."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await gate.wait()
        return "waited"

    session = (await Client(mcp).connect()).headers
    many, pings = 2000, post(session, ping(2))
    async with mcp.serving() as url, Wire(url) as wire:
        sending = asyncio.create_task(wire.send(post(session, call(1, "wait")) + pings * many))
        await eventually(lambda: mcp.connections and not is_reading(mcp))  # no client can see that
        (connection,) = mcp.connections
        ahead = len(connection.incoming.buffer) + len(connection.incoming.stream._buffer)
        assert 65536 < ahead <= 2 * 65536 + 262144
        gate.set()
        assert (await wire.reply()).message == text_result(1, "waited")
        for _ in range(many):
            assert (await wire.reply()).message == pong(2)
        await sending


def is_reading(mcp: MCPServer) -> bool:
    return all(connection.writer.transport.is_reading() for connection in mcp.connections)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@spoken
async def test_request_may_come_byte_by_byte(version):
    """[http.request-line] Where one packet ends and the next begins means nothing."""
    mcp = MCPServer("test")
    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        for byte in post(session, ping(1), version):
            await wire.send(bytes([byte]))
            await asyncio.sleep(0)  # so that the server reads it alone
        assert (await wire.reply()).message == pong(1)


@spoken
async def test_chunked_request_body_is_put_together():
    """[http.chunked] [http.chunk-extension] [http.trailers] The next request follows at once."""
    mcp = MCPServer("test")
    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("POST", **session, transfer_encoding="chunked"))
        await wire.send(b'a;note=x\r\n{"jsonrpc"\r\n1A\r\n: "2.0", "id": 1, "method"\r\n8\r\n:"ping"}\r\n')
        await wire.send(b"0\r\nX-Checksum: 1\r\n\r\n" + post(session, ping(2)))
        assert (await wire.reply()).message == pong(1)
        assert (await wire.reply()).message == pong(2)


@spoken
async def test_body_is_one_body_however_many_zeros_its_length_begins_with():
    """[http.length-digits] Whoever reads fewer digits takes the body for a second request: so requests are smuggled."""
    mcp = MCPServer("test")
    session = (await Client(mcp).connect()).headers
    smuggled = head("OPTIONS", host="localhost", x="a" * 14)
    assert len(smuggled) == 61
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("POST", **session, content_length="0" * 22 + "61") + smuggled + post(session, ping(1)))
        assert (await wire.reply()).status == 400  # it is no JSON; the OPTIONS would be answered 204
        assert (await wire.reply()).message == pong(1)


@spoken
async def test_expect_100_continue_gets_its_go_ahead_before_the_body():
    """[http.expect-100] curl does this for bodies above 1 MiB, and waits a second for the answer."""
    mcp = MCPServer("test")
    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        before, _, body = post(session, ping(1), expect="100-continue").partition(b"\r\n\r\n")
        await wire.send(before + b"\r\n\r\n")
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(body)
        assert (await wire.reply()).message == pong(1)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"content_length": 5_000_000}, 413),
        ({"content_length": "+5"}, 400),
        ({"transfer_encoding": "gzip, chunked"}, 501),
        ({"content_length": 0}, 400),  # nothing to wait for: no JSON
    ],
)
@spoken
async def test_body_that_would_be_refused_is_not_invited(fields, status):
    """[http.expect-100] The final status takes the place of the 100."""
    session = (await Client(mcp := MCPServer("test")).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("POST", **session, **fields, expect="100-continue"))
        assert (await wire.reply()).status == status


@pytest.mark.parametrize(("version", "connection"), [("1.1", "close"), ("1.0", None)])
@spoken
async def test_last_answer_survives_what_its_client_sends_after_the_request(version, connection):
    """[http.linger] [http.close-said] It would be destroyed on its way if the connection closed on unread bytes."""
    session = (await Client(mcp := MCPServer("test")).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(session, ping(1), version, connection=connection) + b"x" * 1_000_000)
        assert (await wire.reply()).message == pong(1)
        assert await wire.end() == b""


@pytest.mark.parametrize(
    ("version", "asks", "says", "stays"),
    [
        ("1.1", None, None, True),
        ("1.1", "close", "close", False),
        ("1.0", None, "close", False),
        ("1.0", "keep-alive", "keep-alive", True),
    ],
)
@spoken
async def test_connection_is_kept_where_both_sides_want_it(version, asks, says, stays):
    """[http.keep-alive] [http.close-said]"""
    mcp = MCPServer("test")
    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(session, ping(1), version, connection=asks))
        reply = await wire.reply()
        assert (reply.message, reply.headers.get("connection")) == (pong(1), says)
        if stays:
            await wire.send(post(session, ping(2), version, connection=asks))
            assert (await wire.reply()).message == pong(2)
        else:
            assert await wire.end() == b""


@spoken
async def test_reply_without_content_says_so_in_the_way_of_its_status():
    """[http.204-no-length] [post.notification-202] A client that waits for a body would hang here."""
    mcp = MCPServer("test")
    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("OPTIONS", host="localhost"))
        reply = await wire.reply()
        assert (reply.status, reply.body, "content-length" in reply.headers) == (204, b"", False)
        await wire.send(post(session, {"jsonrpc": "2.0", "method": "notifications/initialized"}))
        reply = await wire.reply()
        assert (reply.status, reply.body, reply.headers["content-length"]) == (202, b"", "0")


# --- Event streams on the wire ------------------------------------------------------------------------


def talker() -> MCPServer:
    """A server with one tool, which speaks before it answers."""
    mcp = MCPServer("talker")

    @mcp.tool()
    async def talk(ctx: Context) -> str:
        await ctx.info("hello")
        return "done"

    return mcp


HELLO = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "hello"}}


@spoken
async def test_http_client_reads_a_chunked_event_stream_and_goes_on_with_the_connection():
    """[http.chunked-reply] [sse.media-type] [post.answer-json-or-sse] [stream.response-arrives]"""
    mcp = talker()
    session = (await Client(mcp).connect("2025-06-18")).headers

    def conversation(url: str):
        connection = connect(url)
        return request(connection, "POST", call(1, "talk"), **session), request(connection, "POST", ping(2), **session)

    async with mcp.serving() as url:
        (status, headers, body), (_, _, pinged) = await asyncio.to_thread(conversation, url)
        assert status == 200
        assert dict(headers) | {"Date": ""} == {
            "Date": "",
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
            "Transfer-Encoding": "chunked",
        }
        comment, first, second, rest = body.decode().split("\n\n")
        assert (comment, rest) == (":", "")
        assert json.loads(first.partition("data: ")[2]) == HELLO
        assert json.loads(second.partition("data: ")[2]) == text_result(1, "done")
        assert json.loads(pinged) == pong(2)


@spoken
async def test_http_1_0_client_gets_the_event_stream_bare_until_the_connection_closes():
    """[http.old-no-chunks] [http.close-said] [stream.response-arrives] Not even with keep-alive are there chunks."""
    mcp = talker()
    session = (await Client(mcp).connect("2025-06-18")).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(session, call(1, "talk"), "1.0", connection="keep-alive"))
        assert await wire.status() == 200
        assert wire.headers["connection"] == "close" and "transfer-encoding" not in wire.headers
        comment, first, second, rest = (await wire.end()).decode().split("\n\n")
        assert (comment, rest) == (":", "")
        assert json.loads(first.partition("data: ")[2]) == HELLO
        assert json.loads(second.partition("data: ")[2]) == text_result(1, "done")


@spoken
async def test_events_that_are_ready_together_leave_together():
    """[stream.one-go] Each chunk is a system call, and one for each event would cost more than all the rest."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def count(ctx: Context) -> str:
        for n in range(1, 11):
            await ctx.report_progress(n)
        await gate.wait()
        return "done"

    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(session, call(1, "count", {"progressToken": "a"})))
        assert await wire.status() == 200
        events, chunks = b"", 0
        while events.count(b"notifications/progress") < 10:
            events, chunks = events + await wire.chunk(), chunks + 1
        assert chunks <= 2
        gate.set()
        assert await wire.messages() == [text_result(1, "done")]


@spoken
async def test_get_stream_begins_at_once_with_an_event_to_resume_from():
    """[stream.prime] [get.stream-or-405] The first byte does not wait for the first message."""
    mcp = MCPServer("test")
    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("GET", **session))
        assert await wire.status() == 200
        lines = (await wire.event()).split("\n")
        assert wire.last_event_id
        assert sorted(lines) == ["data: ", f"id: {wire.last_event_id}", "retry: 1000"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@spoken
async def test_silent_stream_carries_a_comment_every_heartbeat(method):
    """[stream.heartbeat] [sse.comment] Load balancers drop what is silent for 60 s."""
    clock, gate = Clock(), asyncio.Event()
    mcp = MCPServer("test", clock=clock, limits=Limits(heartbeat_seconds=15))

    @mcp.tool()
    async def think(ctx: Context) -> str:
        await ctx.info("hello")
        await gate.wait()
        return "done"

    session = (await Client(mcp).connect("2025-06-18")).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("GET", **session) if method == "GET" else post(session, call(1, "think")))
        assert await wire.status() == 200
        assert await wire.event() == ":"  # a stream of this revision begins with one, too
        mcp.notify_tools_changed()
        assert (await wire.message())["method"] in ("notifications/tools/list_changed", "notifications/message")
        for _ in range(2):
            clock.turn(15)
            mcp.sweep()
            assert await wire.event() == ":"
        clock.turn(14.9)
        mcp.sweep()
        gate.set()
        mcp.notify_tools_changed()
        assert (await wire.event()).startswith("id: ")


# --- Deadlines ----------------------------------------------------------------------------------------


async def check_silent(wire: Wire) -> None:
    """Nothing comes, not even the end, though the server has every chance to say something."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wire.reader.read(1), 0.05)


@pytest.mark.parametrize(
    ("half", "seconds"),
    [
        (b"POST /mcp HTTP/1.1\r\nHost: loc", 10),
        (head("POST", **ACCEPT_BOTH, content_length=9) + b'{"id', 30),
        (head("POST", **ACCEPT_BOTH, transfer_encoding="chunked") + b"4\r\nabc", 30),
    ],
)
@spoken
async def test_half_a_request_is_answered_408_when_the_rest_is_late(half, seconds):
    """[limits.time] The deadline counts from the start: a byte now and then does not push it on."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock, limits=Limits(head_seconds=10, body_seconds=30))
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(NOT_FOUND + half)  # the answer to the first says that the second is being read
        assert (await wire.reply()).status == 404
        clock.turn(seconds - 0.1)
        mcp.sweep()
        await wire.send(b"a")
        await check_silent(wire)
        clock.turn(0.2)
        mcp.sweep()
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert "took too long" in reply.message["error"]["message"]
        assert await wire.end() == b""


@pytest.mark.parametrize("used", [False, True])
@spoken
async def test_idle_connection_is_closed_without_a_word(used):
    """[limits.time] A 408 would be taken for the answer to the request that the client sends at that very moment."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock, limits=Limits(idle_seconds=75))
    async with mcp.serving() as url, Wire(url) as wire:
        await eventually(lambda: mcp.connections)
        if used:
            clock.turn(1000)
            await wire.send(NOT_FOUND)
            assert (await wire.reply()).message == LOST
        clock.turn(74.9)
        mcp.sweep()
        await check_silent(wire)
        clock.turn(0.2)
        mcp.sweep()
        assert await wire.end() == b""


@spoken
async def test_empty_line_after_a_request_is_no_request_that_is_late():
    """[http.empty-line-before] [limits.time] In the same packet or later: it is not answered 408, and costs nothing."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock, limits=Limits(head_seconds=10, idle_seconds=75))
    async with mcp.serving() as url, Wire(url) as wire:
        for later in (b"\r\n", b"\r\n\r\n"):
            await wire.send(NOT_FOUND + b"\r\n")
            assert (await wire.reply()).message == LOST
            await check_silent(wire)
            await wire.send(later)
            await check_silent(wire)
            clock.turn(74.9)
            mcp.sweep()
            await check_silent(wire)
        clock.turn(0.2)
        mcp.sweep()
        assert await wire.end() == b""


@spoken
async def test_call_may_take_longer_than_any_deadline_of_its_connection():
    """[limits.time] Deadlines are for what a peer owes us, not for what we owe it."""
    clock, gate = Clock(), asyncio.Event()
    mcp = MCPServer("test", clock=clock)

    @mcp.tool()
    async def wait() -> str:
        await gate.wait()
        return "waited"

    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(session, call(1, "wait")))
        await eventually(lambda: mcp.calls)
        clock.turn(100_000)
        mcp.sweep()
        gate.set()
        assert (await wire.reply()).message == text_result(1, "waited")
        await wire.send(post(session, ping(2)))
        assert (await wire.reply()).message == pong(2)


@spoken
async def test_client_that_does_not_read_holds_up_its_tool_then_is_dropped_and_can_fetch_the_result():
    """[stream.back-pressure] [limits.time] [disconnect.not-cancel] [resume.replay]"""
    clock, gate, written = Clock(), asyncio.Event(), asyncio.Event()
    mcp = MCPServer("test", clock=clock, limits=Limits(send_seconds=30))

    @mcp.tool()
    async def flood(ctx: Context) -> str:
        await ctx.info("hello")
        await gate.wait()
        for _ in range(16):
            await ctx.info("x" * 1_000_000)  # together more than all socket buffers hold
        written.set()
        return "done"

    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url:
        async with Wire(url) as slow:
            await slow.send(post(session, call(1, "flood")))
            assert await slow.status() == 200
            assert (await slow.message()) == HELLO
            gate.set()
            await stuck(mcp)
            mcp.sweep()
            clock.turn(29.9)
            mcp.sweep()
            await asyncio.sleep(0.05)
            assert mcp.connections and not written.is_set()
            clock.turn(0.2)
            mcp.sweep()
            await written.wait()
            await eventually(lambda: not mcp.connections)
        async with Wire(url) as again:
            await again.send(head("GET", **session, last_event_id=slow.last_event_id))
            assert await again.status() == 200
            assert (await again.messages())[-1] == text_result(1, "done")


@spoken
async def test_client_that_reads_gets_a_message_larger_than_what_may_be_kept():
    """[stream.bounded] Only what nobody reads is forgotten."""
    mcp, large = MCPServer("test", limits=Limits(session_bytes=1_000_000)), "x" * 8_000_000

    @mcp.tool()
    async def shout(ctx: Context) -> str:
        await ctx.info("hello")
        await ctx.info(large)
        return "done"

    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(session, call(1, "shout")))
        assert await wire.status() == 200
        said = HELLO | {"params": {"level": "info", "data": large}}
        assert await wire.messages() == [HELLO, said, text_result(1, "done")]


@spoken
async def test_client_that_does_not_read_the_last_bytes_of_its_last_answer_is_dropped():
    """[limits.time] What the kernel does not take is too little for the event loop to say that it is much."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)

    async def page(server, request):
        return Reply(200, body=b"x" * 16_000_000)  # more than all socket buffers hold

    mcp.route("GET", "/page", page)
    async with mcp.serving() as url, Wire(url) as wire:
        await eventually(lambda: mcp.connections)
        (connection,) = mcp.connections
        connection.writer.transport.set_write_buffer_limits(32_000_000)  # instead of a page that leaves just a little
        wire.writer.transport.pause_reading()
        await wire.send(head("GET", "/page", host="localhost", connection="close"))
        await eventually(lambda: congestion(mcp))
        for _ in range(4):
            clock.turn(31)
            mcp.sweep()
        await eventually(lambda: not mcp.connections)


@spoken
async def test_tool_does_not_wait_for_a_connection_that_its_client_has_replaced():
    """[stream.newest-wins] [stream.back-pressure] The old one may be a peer that crashed, and is never read again."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def flood(ctx: Context) -> str:
        await ctx.info("hello")
        await gate.wait()
        for _ in range(16):
            await ctx.info("x" * 1_000_000)  # together more than all socket buffers hold
        return "done"

    client = await Client(mcp).connect()
    async with mcp.serving() as url, Wire(url) as ghost, Wire(url) as again:
        await ghost.send(post(client.headers, call(1, "flood")))
        assert await ghost.status() == 200
        assert (await ghost.message()) == HELLO
        gate.set()
        await stuck(mcp)
        await again.send(head("GET", **client.headers, last_event_id=ghost.last_event_id))
        assert await again.status() == 200
        assert (await again.messages())[-1] == text_result(1, "done")
        assert congestion(mcp)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"bad\r\n\r\n", NOT_FOUND, post(ACCEPT_BOTH, {}), BAD_JSON])
@spoken
async def test_connection_leaves_no_work_for_the_garbage_collector(sent):
    """What refers to itself in a circle stays until the next collection, which holds up everybody."""

    def things() -> set[int]:
        return {id(thing) for thing in gc.get_objects() if type(thing) in (Connection, Incoming, Request)}

    gc.collect()
    gc.disable()
    try:
        async with MCPServer("test").serving() as url:
            before = things()
            async with Wire(url) as wire:
                await wire.send(sent)
                await eventually(lambda: things() > before)
            await eventually(lambda: things() == before)
    finally:
        gc.enable()


# --- Refusals -----------------------------------------------------------------------------------------


@spoken
async def test_connection_above_the_cap_is_answered_503_until_another_one_closes():
    """[limits.connections] [http.close-said]"""
    mcp = MCPServer("test", limits=Limits(connections=2))
    async with mcp.serving() as url, Wire(url) as first:
        async with Wire(url) as second, Wire(url) as third:
            for wire in (first, second):
                await wire.send(NOT_FOUND)
                assert (await wire.reply()).status == 404
            reply = await third.reply()  # nothing needs to be sent to be refused
            assert (reply.status, reply.headers["retry-after"], reply.headers["connection"]) == (503, "1", "close")
            text = "too many connections: try again later"
            assert reply.message == {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": text}}
            await first.send(NOT_FOUND)  # while the third one is still connected
            assert (await first.reply()).status == 404
            assert await third.end() == b""
        await eventually(lambda: len(mcp.connections) == 1)
        async with Wire(url) as fourth:
            await fourth.send(NOT_FOUND)
            assert (await fourth.reply()).status == 404


@spoken
async def test_connections_that_come_at_once_are_refused_only_beyond_the_cap():
    """[limits.connections]"""
    mcp = MCPServer("test", limits=Limits(connections=3))
    async with mcp.serving() as url:
        address = urlsplit(url).hostname, urlsplit(url).port
        crowd = [socket.create_connection(address) for _ in range(5)]  # the kernel accepts, and the server in one turn
        for member in crowd:
            member.sendall(NOT_FOUND)

        def statuses() -> list[bytes]:
            return sorted(member.recv(12)[-3:] for member in crowd)

        assert await asyncio.to_thread(statuses) == [b"404"] * 3 + [b"503"] * 2
        for member in crowd:
            member.close()


@spoken
async def test_server_that_keeps_no_streams_still_serves_them():
    """[limits.named] [limits.streams] 0 is a limit like any other."""
    mcp = MCPServer("test", limits=Limits(streams=0))

    @mcp.tool()
    async def talk(ctx: Context) -> str:
        await ctx.info("hello")
        return "done"

    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        for id in (1, 2, 3):
            await wire.send(post(session, call(id, "talk")))
            assert await wire.status() == 200
            assert await wire.messages() == [HELLO, text_result(id, "done")]
        await wire.send(head("GET", **session))
        assert await wire.status() == 200


@pytest.mark.parametrize("limit", [{"sessions": -1}, {"head_seconds": -0.5}, {"streams": -1}, {"threads": 0}])
def test_limit_under_which_nothing_could_work_is_refused_by_name(limit):
    """[limits.named]"""
    with pytest.raises(ValueError, match=f"the limit {next(iter(limit))} must"):
        Limits(**limit)


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"GET /mcp\r\n\r\n", 400),
        (b"GET /mcp HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\n", 400),
        (head("POST", **ACCEPT_BOTH, transfer_encoding="chunked") + b"-5\r\n", 400),
        (b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    ],
)
@spoken
async def test_request_that_cannot_be_read_is_refused_and_what_follows_it_is_not_read(bad, status):
    """[http.close-said] [answers.json] What follows may be its body, which somebody else took for a request."""
    mcp = MCPServer("test")
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(bad + NOT_FOUND)
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert reply.message["error"]["code"] == -32600
        assert await wire.end() == b""


@spoken
async def test_request_that_is_refused_when_all_of_it_is_there_leaves_its_connection_in_use():
    """[http.keep-alive] [answers.json] The bytes were sound HTTP, so the next request is found where it should be."""
    mcp = MCPServer("test")
    session = (await Client(mcp).connect()).headers
    lost = session | {"mcp-session-id": "unknown"}
    evil = head("GET", **session | {"host": "evil.example"})
    async with mcp.serving() as url, Wire(url) as wire:
        for sent, status in [(evil, 403), (post(lost, ping(1)), 404), (BAD_JSON, 400), (post(session, ping(1)), 200)]:
            await wire.send(sent)
            assert (await wire.reply()).status == status


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"host": "evil.example"}, 403), ({"origin": "https://evil.example"}, 403), ({"accept": "text/html"}, 406)],
)
@pytest.mark.parametrize("framing", [{"content_length": 100}, {"transfer_encoding": "chunked"}])
@spoken
async def test_request_that_is_refused_by_its_head_uploads_nothing(fields, status, framing):
    """[http.expect-100] [http.close-said] Who may not enter is not asked for a body, and what comes of it is not read."""
    mcp = MCPServer("test")
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("POST", **ACCEPT_BOTH | fields, **framing, expect="100-continue"))
        reply = await wire.reply()  # at once, and no 100 before it
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert reply.message["error"]["code"] == -32600
        await wire.send(NOT_FOUND)
        assert await wire.end() == b""


@spoken
async def test_refusal_of_a_large_body_reaches_a_client_that_is_still_sending_it():
    """[http.linger] [limits.body] Closed on unread bytes, a socket throws away the answer that is on its way."""
    mcp = MCPServer("test", limits=Limits(body_bytes=1_000_000))
    body = b" " * 50_000_000

    def conversation(url: str) -> int:
        connection = connect(url)
        connection.request("POST", "/mcp", body, ACCEPT_BOTH)
        return connection.getresponse().status

    async with mcp.serving() as url:
        assert await asyncio.to_thread(conversation, url) == 413


@spoken
async def test_refusal_reaches_a_client_that_had_to_wait_with_what_it_sends():
    """[http.linger] [http.read-ahead] [limits.body] Its large request comes behind another that takes long to answer."""
    mcp, gate, large = MCPServer("test", clock=Clock(), limits=Limits(body_bytes=1_000_000)), asyncio.Event(), 50_000_000

    async def slow(server, request):
        await gate.wait()
        return Reply(200)

    mcp.route("GET", "/slow", slow)
    async with mcp.serving() as url, Wire(url) as wire:
        refused = head("POST", **ACCEPT_BOTH, content_length=large)
        sending = asyncio.create_task(wire.send(head("GET", "/slow", host="localhost") + refused + b" " * large))
        await eventually(lambda: mcp.connections and not is_reading(mcp))
        gate.set()
        await sending
        assert [(await wire.reply()).status, (await wire.reply()).status] == [200, 413]


# --- Clients that go away -----------------------------------------------------------------------------


@pytest.mark.parametrize("speaks", [False, True])
@spoken
async def test_client_that_has_closed_its_half_gets_its_answer(speaks):
    """[post.answer-json-or-sse] `printf ... | nc` does so. The answer is JSON, or a stream where the tool speaks."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait(ctx: Context) -> str:
        if speaks:
            await ctx.info("hello")
        await gate.wait()
        return "waited"

    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(session, call(1, "wait")))
        wire.writer.write_eof()
        await eventually(lambda: mcp.calls)
        await asyncio.sleep(0.05)  # the server hears of the end
        gate.set()
        assert await wire.status() == 200
        assert (wire.headers["content-type"] == "text/event-stream") == speaks
        answer = await wire.end()
        assert b'"waited"' in answer and answer.endswith(b"\n0\r\n\r\n" if speaks else b"}")


@spoken
async def test_call_goes_on_when_its_connection_is_reset_and_its_result_waits():
    """[disconnect.not-cancel] [resume.replay] [resume.any-origin]"""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait(ctx: Context) -> str:
        await ctx.info("hello")
        await gate.wait()
        return "waited"

    session = (await Client(mcp).connect()).headers
    async with mcp.serving() as url:
        async with Wire(url) as lost:
            await lost.send(post(session, call(1, "wait")))
            assert await lost.status() == 200
            assert await lost.message() == HELLO
            lost.reset()
        await eventually(lambda: not mcp.connections)
        gate.set()
        await eventually(lambda: not mcp.calls)
        async with Wire(url) as back:
            await back.send(head("GET", **session, last_event_id=lost.last_event_id))
            assert await back.status() == 200
            assert await back.messages() == [text_result(1, "waited")]


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("before", [b"", head("GET", "/end", host="localhost")])
@spoken
async def test_call_whose_client_vanished_just_as_it_began_is_cancelled(before, turns):
    """[modern.disconnect-cancels] The event loop knows already, and has not yet told the connection."""

    def later(turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(later, turns - 1)
        else:
            for connection in mcp.connections:
                connection.writer.transport.abort()

    async def end(*args):
        later(turns)
        return Reply(200) if before else "somebody"

    mcp = MCPServer("test", auth=None if before else end)
    mcp.route("GET", "/end", end)
    wanted = {"notifications": {"toolsListChanged": True},
              "_meta": {META + "protocolVersion": STATELESS_REVISION, META + "clientCapabilities": {}}}  # fmt: skip
    listen = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": wanted}
    fields = {"authorization": "Bearer a", "mcp-protocol-version": STATELESS_REVISION, "mcp-method": "subscriptions/listen"}
    async with mcp.serving() as url, Wire(url) as wire:
        await eventually(lambda: mcp.connections)
        await wire.send(before + post(ACCEPT_BOTH | fields, listen))
        await eventually(lambda: not mcp.connections)
        await eventually(lambda: not mcp.calls)


@spoken
async def test_clients_that_vanish_at_any_point_harm_nobody(caplog):
    """[disconnect.not-cancel] In the head, in the body, in a call, in an event stream; by a RST and by a FIN."""
    mcp, gate, complaints = MCPServer("test"), asyncio.Event(), []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

    @mcp.tool()
    async def talk(ctx: Context) -> str:
        await ctx.info("hello")
        await gate.wait()
        for step in range(100):
            await ctx.info("x" * step)
        return "done"

    session = (await Client(mcp).connect()).headers
    bystander = (await Client(mcp).connect()).headers
    whole = post(session, call(1, "talk"))
    async with mcp.serving() as url, Wire(url) as other:
        for cut in (0, 1, 100, len(whole) - 1, len(whole)):
            for leave in (Wire.reset, lambda wire: wire.writer.close()):
                wire = await Wire(url).__aenter__()
                await wire.send(whole[:cut])
                if cut == len(whole):
                    await wire.status()
                leave(wire)
        await other.send(post(bystander, ping(1)))
        assert (await other.reply()).message == pong(1)
        gate.set()
        await eventually(lambda: not mcp.calls and len(mcp.connections) == 1)
        await other.send(post(bystander, ping(2)))
        assert (await other.reply()).message == pong(2)
    assert (complaints, caplog.records) == ([], [])


@pytest.mark.parametrize("where", ["body", "chunk", "call"])
@spoken
async def test_clients_that_reset_with_a_large_body_on_its_way_leave_nothing_counted(where):
    """[limits.memory] Eighty of them have sent more than the server may hold, and still it refuses nobody."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait(text: str) -> str:
        await gate.wait()
        return "waited"

    session, size = (await Client(mcp).connect()).headers, 3_500_000
    framing = {"content_length": size + 1} if where == "body" else {"transfer_encoding": "chunked"}
    sent = head("POST", **session, **framing) + (b"" if where == "body" else b"3567E1\r\n") + b" " * size
    if where == "call":
        sent = post(session, call(1, "wait", text="x" * size))
    async with mcp.serving() as url:
        before = mcp.account.used
        for _ in range(80):
            gate.clear()
            async with Wire(url) as wire:
                await wire.send(sent)
                await eventually(lambda: mcp.account.used >= before + size and (where != "call" or mcp.calls))
                wire.reset()
            await eventually(lambda: not mcp.connections)
            gate.set()
            await eventually(lambda: not mcp.calls)
            assert mcp.account.used == before
        async with Wire(url) as wire:
            await wire.send(post(session, call(2, "wait", text="x" * size)))
            assert (await wire.reply()).message == text_result(2, "waited")
        assert mcp.account.used == before


# --- Handlers in threads ------------------------------------------------------------------------------


@spoken
async def test_plain_def_tools_that_block_hold_up_nobody():
    """[handler.threads] [ping.answer] Eight at once, as models call tools in parallel."""
    mcp = MCPServer("test", limits=Limits(sse_after_seconds=60))
    gate, running = threading.Event(), threading.Semaphore(0)

    @mcp.tool()
    def block(number: int) -> str:
        running.release()
        assert gate.wait(10)
        return f"unblocked {number}"

    client = await Client(mcp).connect()
    calls = [asyncio.create_task(client.call("block", {"number": n})) for n in range(8)]
    await asyncio.to_thread(lambda: [running.acquire() for _ in calls])  # all eight are blocked
    assert (await client.request("ping")).result == {}
    gate.set()
    texts = [answer.result["content"][0]["text"] for answer in await asyncio.gather(*calls)]
    assert texts == [f"unblocked {n}" for n in range(8)]


def test_plain_def_tools_above_the_thread_limit_wait_for_their_turn():
    """[handler.threads] [limits.named] And again in another event loop, as when a server is stopped and started."""
    mcp = MCPServer("test", limits=Limits(threads=2, sse_after_seconds=60))
    gate, lock, running, most = threading.Event(), threading.Lock(), 0, 0

    @mcp.tool()
    def block() -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        assert gate.wait(10)
        with lock:
            running -= 1
        return "done"

    async def conversation():
        clients = [await Client(mcp).connect() for _ in range(3)]
        calls = [asyncio.create_task(client.call("block")) for client in clients * 2]
        await eventually(lambda: len(mcp.calls) == 6 and running == 2)
        gate.set()
        assert [answer.result["content"][0]["text"] for answer in await asyncio.gather(*calls)] == ["done"] * 6

    for _ in range(2):
        gate.clear()
        run(conversation())
        assert most == 2


@pytest.mark.parametrize("error", [ValueError("no luck"), StopIteration("no luck")])
@spoken
async def test_whatever_a_plain_def_tool_raises_comes_back_as_its_result(error):
    """[handler.threads] [tool.execution-error] Also what a future refuses to carry."""
    mcp = MCPServer("test")

    @mcp.tool()
    def fail() -> str:
        raise error

    answer = await (await Client(mcp).connect()).call("fail")
    assert answer.result["isError"] is True
    assert "no luck" in answer.result["content"][0]["text"]


@spoken
async def test_tool_added_in_another_thread_is_announced_to_those_who_listen():
    """[tool.list-changed] [list.announces-itself] A host program, an editor say, has threads of its own."""
    mcp = MCPServer("test")
    client = await Client(mcp).connect()
    listening = await client.get()
    await asyncio.to_thread(mcp.add_tool, lambda: "hi", "late", description="Comes late.")
    await eventually(lambda: listening.page.messages)
    assert listening.page.messages == [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
    assert [tool["name"] for tool in (await client.request("tools/list")).result["tools"]] == ["late"]


@pytest.mark.parametrize("in_thread", [True, False])
def test_tool_may_be_added_when_the_event_loop_has_closed_and_is_listed_in_the_next_one(in_thread):
    """[list.announces-itself] A host program may stop the server, change it from any thread, and start it again."""
    mcp = MCPServer("test")

    async def conversation() -> list[str]:
        client = await Client(mcp).connect()
        await client.get()
        return [tool["name"] for tool in (await client.request("tools/list")).result["tools"]]

    assert run(conversation()) == []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        add = functools.partial(mcp.add_tool, lambda: "hi", "late")
        pool.submit(add).result(5) if in_thread else add()
    assert run(conversation()) == ["late"]


async def broken(server, request):
    raise LookupError("/home/me/secret")


async def careless(server, request):
    raise asyncio.CancelledError  # as out of a task that somebody else has cancelled


async def forgetful(server, request):
    pass


@pytest.mark.parametrize(
    ("function", "story"),
    [(broken, "LookupError: /home/me/secret"), (careless, "CancelledError"), (forgetful, "must return a Reply")],
)
@spoken
async def test_route_that_fails_to_reply_is_answered_500_and_only_the_log_gets_the_story(function, story, caplog):
    """[answers.nothing-internal] [http.pipelining] Nor is the next answer taken for its own."""
    mcp = MCPServer("test")
    mcp.route("GET", "/odd", function)
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("GET", "/odd", host="localhost") + NOT_FOUND)
        reply = await wire.reply()
        error = {"code": -32603, "message": "Internal error"}
        assert (reply.status, reply.message) == (500, {"jsonrpc": "2.0", "id": None, "error": error})
        assert (await wire.reply()).status == 404
    assert "GET /odd failed" in caplog.text and story in caplog.text


@spoken
async def test_token_whose_judge_was_cancelled_by_somebody_else_is_answered_500():
    """[auth.judged-for-somebody] Judges may share a task, which is cancelled with the first of them."""

    async def verify(token: str) -> str:
        raise asyncio.CancelledError

    async with MCPServer("test", auth=verify).serving() as url, Wire(url) as wire:
        await wire.send(post(ACCEPT_BOTH, ping(1), authorization="Bearer a"))
        assert (await wire.reply()).status == 500


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, (("X-Letter", "\N{GREEK CAPITAL LETTER OMEGA}"),)),
        Reply(200, (("X-Name", "a\r\nSet-Cookie: b=c"),)),
        Reply(200, (("X-Name", "a\r\n\r\nHTTP/1.1 200 OK"),)),
        Reply(204, body=b"hello"),
        Reply(304, body=b"hello"),
    ],
)
@spoken
async def test_reply_that_cannot_be_written_ends_the_connection(reply, caplog):
    """[http.pipelining] [http.reply-fields] [http.204-no-body] Its peer would take something else for the next answer."""

    async def page(server, request):
        return reply

    mcp = MCPServer("test")
    mcp.route("GET", "/page", page)
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("GET", "/page", host="localhost") + NOT_FOUND)
        assert await wire.end() == b""
    assert "GET /page: no reply" in caplog.text


@spoken
async def test_status_without_a_phrase_of_its_own_is_sent_without():
    async def odd(server, request):
        return Reply(299)

    mcp = MCPServer("test")
    mcp.route("GET", "/odd", odd)
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("GET", "/odd", host="localhost"))
        assert (await wire.reply()).status == 299


# --- Starting -----------------------------------------------------------------------------------------


@spoken
async def test_server_listens_on_loopback_unless_told_otherwise(caplog):
    """[bind.localhost]"""
    mcp = MCPServer("test")
    url = await mcp.start(port=0)
    assert url == f"http://127.0.0.1:{urlsplit(url).port}/mcp"
    assert [found.getsockname()[0] for found in mcp.listener.sockets] == ["127.0.0.1"]
    await mcp.close()
    assert caplog.messages == []


@spoken
async def test_server_that_listens_to_the_world_without_allowed_hosts_says_so(caplog):
    """[bind.localhost] Every request from elsewhere would be refused, and its sender would wonder."""
    async with MCPServer("test").serving("0.0.0.0"):
        pass
    async with MCPServer("test", allowed_hosts=["mcp.example.com"]).serving("0.0.0.0"):
        pass
    assert caplog.messages == [
        "listening on 0.0.0.0, but only requests to localhost are answered: set allowed_hosts"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
@spoken
async def test_url_that_start_returns_is_one_that_answers(host):
    mcp = MCPServer("test")
    try:
        url = await mcp.start(host, 0)
    except OSError as error:
        if host == "::1" and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            pytest.skip("there is no IPv6 here")
        raise
    status, _, _ = await asyncio.to_thread(lambda: request(connect(url), "OPTIONS"))
    await mcp.close()
    assert status == 204


def test_port_in_use_is_an_os_error_and_for_a_program_one_line_and_exit_code_1():
    """At once, and nothing is left behind."""
    threads = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError) as of_start:
            asyncio.run(MCPServer("test").start(port=port))
        program = f"from streamhttp_mcp import MCPServer\nMCPServer('demo').run(port={port})"
        process = start_process("-c", program)
        output, errors = process.communicate(timeout=10)
    assert of_start.value.errno == errno.EADDRINUSE
    assert threading.active_count() == threads
    assert (process.returncode, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith(f"demo cannot listen on 127.0.0.1:{port}: ") and "in use" in errors


def test_error_of_the_lifespan_is_shown_as_what_it_is():
    """[bind.localhost] An OSError, too: it has nothing to do with the address."""
    program = """
import contextlib
from streamhttp_mcp import MCPServer
@contextlib.asynccontextmanager
async def lifespan(server):
    open("/nowhere/notes.db")
    yield
MCPServer("demo", lifespan=lifespan).run(port=0)
"""
    process = start_process("-c", program)
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (1, "")
    assert errors.endswith("FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/notes.db'\n")
    assert "cannot listen" not in errors


@spoken
async def test_stopped_server_starts_again_on_the_same_port():
    """Though connections that the server closed linger there in TIME_WAIT. The sessions are gone."""
    mcp, port = MCPServer("test"), 0
    for _ in range(3):
        async with mcp.serving(port=port) as url, Wire(url) as wire:
            port = urlsplit(url).port
            session = (await Client(mcp).connect()).headers
            assert len(mcp.sessions.by_id) == 1
            await wire.send(post(session, ping(1), connection="close"))
            assert (await wire.reply()).message == pong(1)
            assert await wire.end() == b""


@spoken
async def test_two_servers_in_one_process_share_nothing():
    """[session.unknown-404]"""
    first, second = MCPServer("first"), MCPServer("second")
    first.add_tool(lambda: "1", "one")
    session = (await Client(first).connect()).headers
    async with first.serving() as url_1, second.serving() as url_2, Wire(url_1) as wire_1, Wire(url_2) as wire_2:
        for wire in (wire_1, wire_2):
            await wire.send(post(session, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}))
        assert [tool["name"] for tool in (await wire_1.reply()).message["result"]["tools"]] == ["one"]
        assert (await wire_2.reply()).status == 404


# --- Stopping -----------------------------------------------------------------------------------------


def test_server_runs_in_a_thread_and_stops_when_told_to():
    """As a plugin of an editor or a tool does it: no signal handler is touched outside the main thread."""
    mcp, urls = MCPServer("test"), queue.Queue()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    mcp.stop()  # before it runs there is nothing to stop
    for _ in range(2):
        thread = threading.Thread(target=mcp.run, kwargs={"port": 0, "on_start": urls.put})
        thread.start()
        url = urls.get(timeout=5)
        assert request(connect(url), "OPTIONS")[0] == 204
        assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        mcp.stop()
        thread.join(5)
        assert not thread.is_alive()
        with pytest.raises(ConnectionRefusedError):
            connect(url).connect()
        mcp.stop()  # nor is there afterwards


@spoken
async def test_running_call_may_finish_while_the_server_stops():
    """[shutdown.graceful] [http.close-said] Nobody new is let in, idle connections and GET streams end."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await gate.wait()
        return "waited"

    session, other = [(await Client(mcp).connect()).headers for _ in range(2)]
    url = await mcp.start(port=0)
    async with Wire(url) as calling, Wire(url) as listening, Wire(url) as too, Wire(url) as idle:
        for wire, headers in [(listening, session), (too, other)]:
            await wire.send(head("GET", **headers))
            assert await wire.status() == 200
        await calling.send(post(session, call(1, "wait")))
        await eventually(lambda: mcp.calls)
        closing = asyncio.create_task(mcp.close())
        assert await idle.end() == b""
        for wire in (listening, too):
            assert (await wire.messages(), await wire.end()) == ([], b"")
        with pytest.raises(ConnectionRefusedError):
            await Wire(url).__aenter__()
        gate.set()
        reply = await calling.reply()
        assert (reply.message, reply.headers["connection"]) == (text_result(1, "waited"), "close")
        await closing
        assert await calling.end() == b""


@spoken
async def test_closed_server_that_is_used_again_says_that_it_is_well():
    """[health.counts] By `handle` alone, in the same event loop, and by a second start; closed twice is closed once."""
    mcp = MCPServer("test")
    health = Request("GET", "/health", {"host": "localhost"})
    for use in (functools.partial(mcp.start, port=0), mcp.enter_lifespan):
        await use()
        assert (await mcp.handle(health)).status == 200
        await mcp.close()
        await mcp.close()
        assert (await mcp.handle(health)).status == 200
    await MCPServer("never used").close()


@spoken
async def test_start_that_fails_leaves_nothing_behind():
    """[bind.localhost] [shutdown.graceful] The lifespan is left, and a start on another port works."""
    events = []

    @contextlib.asynccontextmanager
    async def lifespan(server: MCPServer):
        events.append("opened")
        yield
        events.append("closed")

    mcp = MCPServer("test", lifespan=lifespan)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError):
        await mcp.start(port=taken.getsockname()[1])
    assert events == ["opened", "closed"]
    async with mcp.serving():
        assert events == ["opened", "closed", "opened"]


SERVER = """
import asyncio, threading
from streamhttp_mcp import Limits, MCPServer
mcp = MCPServer("test", limits=Limits(grace_seconds=GRACE, sse_after_seconds=0))
@mcp.tool()
async def wait():
    await asyncio.Event().wait()
@mcp.tool()
def block():
    threading.Event().wait()
mcp.run(port=0, on_start=lambda url: print(url, flush=True))
print("run() returned")
"""


def start_process(*arguments: str) -> subprocess.Popen[str]:
    """Another Python, in which streamhttp_mcp can be imported and nothing else that is ours."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def open_stream_and_calls(url: str) -> list[http.client.HTTPResponse]:
    """A GET stream and two calls that never end, one of them in a thread that nothing can interrupt."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    _, headers, _ = request(connect(url), "POST", hello, **ACCEPT_BOTH)
    session, responses = ACCEPT_BOTH | {"mcp-session-id": headers["mcp-session-id"]}, []
    for method, message in [("GET", None), ("POST", call(1, "wait")), ("POST", call(2, "block"))]:
        connection = connect(url)
        connection.request(method, "/mcp", message and json.dumps(message), session)
        responses.append(connection.getresponse())
    return responses


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_process_with_status_0_whatever_is_open(number):
    """[shutdown.graceful] [handler.threads] Ctrl+C, and `docker stop`. Calls that outlast the grace are cancelled."""
    process = start_process("-c", SERVER.replace("GRACE", "0.1"))
    responses = open_stream_and_calls(process.stdout.readline().strip())
    process.send_signal(number)
    assert process.communicate(timeout=10) == ("run() returned\n", "")
    assert process.returncode == 0
    for response in responses:  # read() raises IncompleteRead where the last chunk is missing
        assert response.read().endswith(b"data: \n\n")


def test_second_signal_ends_the_process_at_once():
    """[shutdown.graceful] For who will not wait for the grace to pass."""
    process = start_process("-c", SERVER.replace("GRACE", "1000"))
    listening, *_ = open_stream_and_calls(process.stdout.readline().strip())
    process.send_signal(signal.SIGTERM)
    listening.read()  # ends: the server has begun to stop
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM


def test_program_may_go_on_when_run_has_ended():
    """[shutdown.signals] The watchdog, which would end the process, does not outlive `run`."""
    after = """
for thread in threading.enumerate():
    if isinstance(thread, threading.Timer):
        thread.join(1)
        print("watched", thread.is_alive())
"""
    process = start_process("-c", SERVER.replace("GRACE", "0.1") + after)
    assert process.stdout.readline().startswith("http")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=10)[0]
    assert said.startswith("run() returned\n") and "True" not in said


# --- One file -----------------------------------------------------------------------------------------


def test_importing_the_file_does_nothing_else():
    """[import.silent] A host program's output, threads, signals, logging and event loop stay as they were."""
    script = """
import asyncio, logging, os, signal, sys, threading
def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    root, files = logging.getLogger(), os.listdir("/dev/fd")
    return handlers, threading.enumerate(), root.level, root.handlers, logging.getLevelName(10), sys.path, len(files)
before = str(state())
import streamhttp_mcp
streamhttp_mcp.MCPServer("test").add_tool(print, "a", input_schema={"type": "object"})
assert str(state()) == before, (before, state())
log = logging.getLogger("streamhttp_mcp")
assert (log.level, log.handlers, log.propagate) == (logging.NOTSET, [], True)
log.info("not printed, as nobody asked for more than warnings")
assert asyncio.events._get_running_loop() is None
"""
    process = start_process("-W", "error", "-c", script)
    assert process.communicate(timeout=10) == ("", "") and process.returncode == 0


def test_file_runs_without_site_packages():
    """`scp streamhttp_mcp.py` to a machine with nothing but Python is an installation."""
    process = start_process("-I", "-S", str(MODULE), "--help")
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")
    assert "--root" in output


def test_file_works_under_another_name_inside_another_package(tmp_path):
    """Vendored, as plugins do. Type hints are found too, though the names they use are from elsewhere."""
    package = tmp_path / "app" / "vendor"
    package.mkdir(parents=True)
    shutil.copy(MODULE, package / "mcp_http.py")
    (tmp_path / "app" / "tools.py").write_text(
        """
from __future__ import annotations
import asyncio
from dataclasses import dataclass
from .vendor.mcp_http import Context, MCPServer, Request

@dataclass
class Point:
    x: int

mcp = MCPServer("app")

@mcp.tool()
async def double(point: Point, ctx: Context) -> Point:
    return Point(point.x * 2)

async def main():
    def post(body, **fields):
        return mcp.handle(Request("POST", "/mcp", {"content-type": "application/json"} | fields, body))
    hello = await post(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}')
    session = dict(hello.headers)["Mcp-Session-Id"]
    call = b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"double","arguments":{"point":{"x":21}}}}'
    print((await post(call, **{"mcp-session-id": session})).body.decode())

asyncio.run(main())
"""
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import app.tools"],
        capture_output=True, text=True, timeout=10, check=False,
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    assert json.loads(done.stdout)["result"]["structuredContent"] == {"x": 42}


def test_pip_install_gives_the_one_module_and_the_command(tmp_path):
    """From a copy of this folder, since a build leaves things behind."""
    source, wheels, prefix = tmp_path / "source", tmp_path / "wheels", tmp_path / "venv"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", wheels, *build_options(), source],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "No matching distribution found for setuptools" in built.stderr or "No module named pip" in built.stderr:
        missing("pip cannot be had here, or cannot get setuptools 77 or newer to build with")
    assert built.returncode == 0, built.stderr
    venv.create(prefix)
    python = prefix / "bin" / "python"
    [wheel] = wheels.iterdir()
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], timeout=60, check=True)
    [site_packages] = prefix.glob("lib/python*/site-packages")
    assert {path.name for path in site_packages.iterdir()} - {"__pycache__"} == {
        "streamhttp_mcp.py",
        f"streamhttp_mcp-{streamhttp_mcp.__version__}.dist-info",
    }
    said = subprocess.check_output([prefix / "bin" / "streamhttp-mcp", "--version"], text=True, timeout=10)
    assert said == f"streamhttp_mcp {streamhttp_mcp.__version__}\n"


def build_options() -> list[str]:
    """Build with the setuptools that is here, if it is new enough (pyproject.toml); else pip fetches one."""
    try:
        from setuptools import __version__
    except ImportError:
        return []
    return ["--no-build-isolation"] if int(__version__.partition(".")[0]) >= 77 else []


# ---- Settings that could never work


@pytest.mark.parametrize(("settings", "words"), [
    ({"allowed_hosts": "mcp.example.com"}, "must be a list: ['mcp.example.com']"),
    ({"allowed_hosts": ["https://mcp.example.com"]}, "expected a name like 'mcp.example.com'"),
    ({"allowed_hosts": ["mcp.example.com:*"]}, "expected a name like 'mcp.example.com'"),
    ({"allowed_hosts": ["*.example.com"]}, "expected a name like 'mcp.example.com'"),
    ({"allowed_origins": "https://app.example.com"}, "must be a list: ['https://app.example.com']"),
    ({"allowed_origins": ["app.example.com"]}, "expected an origin like 'https://app.example.com'"),
    ({"allowed_origins": ["https://app.example.com/page"]}, "expected an origin"),
    ({"auth": True}, "auth must be a token, an async function or an Auth, not True"),
    ({"auth": "two words"}, "a token is one or more visible ASCII characters"),
    ({"limits": {}}, "limits must be a Limits(...), not {}"),
    ({"secret": ""}, "secret must be text or bytes, and not empty"),
    ({"cache_lists": (60_000, "all")}, "expected milliseconds, and 'public' or 'private'"),
    ({"cache_lists": (5,)}, "expected milliseconds, and 'public' or 'private'"),
    ({"cache_lists": 5}, "expected milliseconds, and 'public' or 'private'"),
    ({"cache_reads": (True, "public")}, "expected milliseconds, and 'public' or 'private'"),
    ({"session_timeout": 0}, "session_timeout must be positive seconds, not 0"),
    ({"session_timeout": -1}, "session_timeout must be positive seconds, not -1"),
    ({"session_timeout": float("nan")}, "session_timeout must be positive seconds, not nan"),
    ({"path": "/m?x"}, "path: expected '/mcp', say, got '/m?x'"),
    ({"path": "/m#x"}, "path: expected '/mcp', say, got '/m#x'"),
    ({"path": "/a b"}, "path: expected '/mcp', say, got '/a b'"),
    ({"path": "/caf\u00e9"}, "path: expected '/mcp', say, got '/caf\u00e9'"),
])  # fmt: skip
def test_setting_that_matches_nothing_is_refused_when_the_server_is_made(settings, words):
    """[host.validate] [origin.validate] Otherwise it would be found out by the first client that is turned away."""
    with pytest.raises((TypeError, ValueError), match=re.escape(words)):
        MCPServer("test", **settings)


@spoken
async def test_star_alone_means_any_host_and_any_origin():
    """[host.validate] [origin.validate] For a server behind a proxy that checks."""
    mcp = MCPServer("test", allowed_hosts=["*"], allowed_origins=["*"])
    client = Client(mcp)
    client.headers |= {"host": "anything.example", "origin": "https://any.example"}
    assert (await client.http("GET", target="/health")).status == 200


@pytest.mark.parametrize("host", ["", ["127.0.0.1", "::1"], None])
@spoken
async def test_server_listens_on_one_address_that_is_named(host):
    """[bind.localhost] An empty host would mean all of them."""
    with pytest.raises(ValueError, match="host must be one address"):
        await MCPServer("test").start(host, 0)


@spoken
async def test_server_that_listens_is_not_started_again():
    """[bind.localhost] Its second listener could never be closed."""
    mcp = MCPServer("test")
    async with mcp.serving():
        with pytest.raises(RuntimeError, match="listening already"):
            await mcp.start(port=0)


@spoken
async def test_run_inside_an_event_loop_names_what_to_use_there():
    """[bind.localhost]"""
    with pytest.raises(RuntimeError, match=r"async with mcp.serving\(\)"):
        MCPServer("test").run(port=0)


def test_option_that_run_does_not_know_is_named_as_one_of_run():
    """[bind.localhost]"""
    with pytest.raises(TypeError, match=r"run\(\) got an unexpected keyword argument 'prot'"):
        MCPServer("test").run(prot=8000)


@spoken
async def test_what_a_handler_prints_of_its_call_is_a_line_without_secrets():
    """[log.no-credentials] The Context, its session, its stream and its request."""
    mcp, printed = MCPServer("test", auth="hush-hush-token"), []

    @mcp.tool()
    async def look(ctx: Context) -> str:
        printed.extend([repr(ctx), repr(ctx.session), repr(ctx.stream), repr(ctx.request)])
        return "done"

    client = Client(mcp)
    client.headers["authorization"] = "Bearer hush-hush-token"
    await client.connect()
    await client.call("look")
    assert len(printed) == 4
    for line in printed:
        assert "\n" not in line and "hush" not in line and client.headers["mcp-session-id"] not in line


def test_older_python_gets_one_line_that_says_which_one_is_needed():
    """[import.silent] Not a traceback about some name that an import lacks, or about syntax."""
    ast.parse(MODULE.read_text(encoding="utf-8"), feature_version=(3, 10))
    pretend = f"import sys; sys.version_info = (3, 10, 13); exec(open({str(MODULE)!r}, encoding='utf-8').read())"
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("streamhttp_mcp needs Python 3.11 or newer")


# --- What readers of the file found --------------------------------------------------------------------


@spoken
async def test_byte_that_comes_together_with_its_deadline_is_in_time_once_and_for_all():
    """[limits.time] Its 200 was followed by a 408, which a client would take for the answer to its next request."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)
    client = await Client(mcp).connect()
    request = post(client.headers, ping(1))
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(request[:-1])
        await eventually(lambda: [connection.state for connection in mcp.connections] == ["body"])
        (connection,) = mcp.connections
        clock.turn(mcp.limits.body_seconds + 1)
        connection.incoming.stream.feed_data(request[-1:])  # looks inside: both must come in one turn of the loop
        mcp.sweep()
        assert (await wire.reply()).message == pong(1)
        await wire.send(post(client.headers, ping(2)))
        assert (await wire.reply()).message == pong(2)


@spoken
async def test_route_may_return_the_same_reply_again():
    """[route.guarded] The second visitor of a page got nothing."""
    mcp, page = MCPServer("test"), Reply(200, (("Content-Type", "text/plain"),), b"hello")

    async def show(server: MCPServer, request: Request) -> Reply:
        return page

    mcp.route("GET", "/", show)
    async with mcp.serving() as url, Wire(url) as wire:
        for _ in range(3):
            await wire.send(head("GET", "/", host="localhost"))
            assert (await wire.reply()).body == b"hello"
    assert page.headers == (("Content-Type", "text/plain"),)


@spoken
async def test_arguments_of_a_call_count_as_long_as_it_runs():
    """[limits.memory] Its connection was reset, and the call goes on: a hundred of them held 400 MB that nobody counted."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait(text: str) -> None:
        await gate.wait()

    client = await Client(mcp).connect()
    before = mcp.account.used
    async with mcp.serving() as url:
        async with Wire(url) as wire:
            await wire.send(post(client.headers, call(1, "wait", text="x" * 1_000_000)))
            await eventually(lambda: mcp.calls)
            wire.reset()
            await eventually(lambda: not mcp.connections)
        assert mcp.account.used > before + 1_000_000
        gate.set()
        await eventually(lambda: not mcp.calls)
        assert mcp.account.used == before


@spoken
async def test_chunks_that_arrive_whole_count_like_other_bodies():
    """[limits.memory] Only the rest of a chunk was counted, for which the server had to wait."""
    mcp = MCPServer("test")
    client = await Client(mcp).connect()
    before = mcp.account.used
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("POST", **client.headers, transfer_encoding="chunked"))
        for number in range(1, 21):
            await wire.send(b"ea60\r\n" + b" " * 60_000 + b"\r\n")
            await eventually(lambda number=number: mcp.account.used >= before + number * 60_000)


@spoken
async def test_stateless_call_that_speaks_after_its_client_left_leaves_nothing_counted():
    """[limits.memory] [modern.disconnect-cancels] What its `finally` reported stayed counted for ever."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def speak(ctx: Context) -> None:
        try:
            await ctx.report_progress(1)
            await asyncio.Event().wait()
        finally:
            await ctx.report_progress(2, message="x" * 50_000)

    client = StatelessClient(mcp)
    answer = await client.request("tools/call", {"name": "speak"}, meta={"progressToken": 1})
    assert answer.is_stream
    answer.page.leave()
    await eventually(lambda: not mcp.calls)
    assert mcp.account.used == 0


@pytest.mark.parametrize("target", ["/{id}", "/sse/{id}"])
@spoken
async def test_path_in_the_log_holds_no_session_id(target, caplog):
    """[log.no-credentials] Neither where a request fails."""
    mcp, secret = MCPServer("test"), "s" * 43

    async def fail(server: MCPServer, request: Request) -> Reply:
        raise RuntimeError("no")

    mcp.route("GET", target.format(id=secret), fail)
    reply = await mcp.handle(Request("GET", target.format(id=secret), {"host": "localhost"}))
    assert reply.status == 500
    assert "failed" in caplog.text and secret not in caplog.messages[0]


@spoken
async def test_host_may_end_with_an_empty_port():
    """[host.validate] RFC 3986 allows one."""
    mcp = MCPServer("test")
    for host, status in [("localhost:", 200), ("[::1]:", 200), ("evil.example:", 403)]:
        assert (await mcp.handle(Request("GET", "/health", {"host": host}))).status == status
