"""Clients that die or dawdle, in thousands, on real connections: what they cost is bounded, and nobody else notices.

After each conversation nothing may be left of it (`leaves_nothing`): no task, timer, descriptor, session or stream,
and no word in the log above `info`. Deadlines are of a clock that the test turns.
"""

import asyncio
import contextlib
import functools
import re
import resource
import socket
import struct
import time
import tracemalloc
from typing import Self
from urllib.parse import urlsplit

import pytest
from inmemory import Client, Clock
from leftovers import Left, complaints, resident
from wire import ACCEPT_BOTH, Wire, call, congestion, eventually, head, ping, pong, post, stuck

from streamhttp_mcp import (
    LATEST_SESSION_REVISION,
    META,
    STATELESS_REVISION,
    Context,
    Limits,
    MCPServer,
)

MIB = 2**20
CONTROL_SECONDS = 20  # until which a client that behaves has its answer, on a busy machine


def leaves_nothing(conversation):
    """Make a test of a coroutine function, and see what is left when it is over."""

    async def watched(**arguments):
        with complaints() as log:
            before = Left.look()
            await asyncio.wait_for(conversation(**arguments), 120)
            after = await Left.settled(before)
        assert after.same(before), f"before {before}, after {after}"
        assert log.found == []

    @functools.wraps(conversation)
    def test(**arguments):
        asyncio.run(watched(**arguments))

    return test


def descriptors(wanted: int) -> int:
    """How many of the wanted connections this process may have, two descriptors each, having asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 2 * wanted + 200
    if soft < min(most, 2 * wanted + 200):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * wanted + 200), hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, (soft - 200) // 2)


class Plain:
    """A socket without any reader, writer or task, for thousands of them. RST: no port waits for a minute."""

    def __init__(self, url: str, data: bytes = b"") -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port))  # the kernel accepts, not yet the server
        self.socket.setblocking(False)
        self.send(data)

    def send(self, data: bytes) -> None:
        if data:
            self.socket.send(data)

    def received(self) -> bytes:
        """What is there now; b"" is the end, or nothing yet."""
        with contextlib.suppress(BlockingIOError):
            return self.socket.recv(65536)
        return b""

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


async def crowd(url: str, count: int, data: bytes = b"") -> list[Plain]:
    """So many connections, each with these bytes sent; the server gets a turn before its backlog is full."""
    found = []
    for number in range(count):
        found.append(Plain(url, data))
        if number % 100 == 99:
            await asyncio.sleep(0)
    return found


class Bystander:
    """A client that behaves: each of its calls is answered rightly and soon, whatever the others do."""

    def __init__(self, url: str, session: dict[str, str]) -> None:
        self.wire, self.session, self.calls = Wire(url), session, 0

    async def __aenter__(self) -> Self:
        await self.wire.__aenter__()
        await self.check()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.check()
        self.wire.reset()

    async def check(self) -> None:
        self.calls += 1
        await self.wire.send(post(self.session, ping(self.calls)))
        async with asyncio.timeout(CONTROL_SECONDS):
            assert (await self.wire.reply()).message == pong(self.calls)


async def sessions(mcp: MCPServer, count: int = 2, capabilities=None) -> list[dict[str, str]]:
    return [(await Client(mcp).connect(capabilities=capabilities)).headers for _ in range(count)]


def stateless(id: int, tool: str, **arguments: object) -> bytes:
    """A tools/call of 2026-07-28."""
    meta = {META + "protocolVersion": STATELESS_REVISION, META + "clientCapabilities": {}, META + "logLevel": "debug"}
    headers = ACCEPT_BOTH | {"mcp-protocol-version": STATELESS_REVISION, "mcp-method": "tools/call", "mcp-name": tool}
    return post(headers, call(id, tool, meta, **arguments))


async def forget(mcp: MCPServer, clock: Clock) -> None:
    """Turn the clock until the server has found that everybody has gone."""

    def later() -> bool:
        clock.turn(mcp.limits.heartbeat_seconds)
        mcp.sweep()
        return not mcp.connections and not mcp.calls

    await eventually(later)
    clock.turn(mcp.sessions.timeout)
    mcp.sweep()
    assert not mcp.sessions.by_id


# --- Those who die ------------------------------------------------------------------------------------


def talker(clock: Clock, **limits) -> tuple[MCPServer, asyncio.Event]:
    """A server whose tools report until they are told to stop: `chat` small things, `shout` large ones."""
    mcp, stop = MCPServer("chaos", clock=clock, limits=Limits(**limits)), asyncio.Event()

    @mcp.tool()
    async def chat(ctx: Context) -> str:
        step = 0
        while not stop.is_set():
            step += 1
            await ctx.report_progress(step)
            await ctx.info("hello")
            await asyncio.sleep(0)
        return "done"

    @mcp.tool()
    async def shout(ctx: Context) -> str:
        await ctx.info("x" * 8_000_000)  # more than all socket buffers hold
        return "done"

    @mcp.tool()
    async def large() -> str:
        return "x" * 8_000_000

    @mcp.tool()
    async def wait(ctx: Context) -> str:
        await stop.wait()
        return "waited"

    return mcp, stop


CHUNKED = head("POST", **ACCEPT_BOTH, transfer_encoding="chunked")
PLACES = {
    "nothing": b"",
    "the request line": b"POST /m",
    "a field": b"POST /mcp HTTP/1.1\r\nHost: loc",
    "the blank line": b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n\r",
    "a body by length": head("POST", **ACCEPT_BOTH, content_length=100) + b'{"jsonrpc":',
    "a chunk size": CHUNKED + b"1f",
    "a chunk": CHUNKED + b"ff\r\n{",
    "the end of a chunk": CHUNKED + b"2\r\n{}\r",
    "the last chunk": CHUNKED + b"2\r\n{}\r\n0\r\n",
    "a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nX-Sum: ",
    "a body that waits for its go-ahead": head("POST", **ACCEPT_BOTH, content_length=100, expect="100-continue"),
    "a refusal": b"GET /mcp HTTP/9.9\r\n\r\n" + b"x" * 500_000,
    "a large body that is refused": head("POST", **ACCEPT_BOTH, content_length=10**9) + b"x" * 500_000,
    "an event stream": "GET",
    "a reply": "large",
    "an event": "shout",
    "progress": "chat",
    "a call": "wait",
    "many calls, one behind the other": "wait*",
}


@pytest.mark.parametrize("era", ["session", "stateless"])
@pytest.mark.parametrize("place", PLACES)
@leaves_nothing
async def test_client_that_dies_in_the_middle_of_anything_leaves_nothing(place, era):
    """[disconnect.not-cancel] [modern.disconnect-cancels] [session.end-frees] By a RST, as when a process is killed."""
    clock = Clock()
    mcp, stop = talker(clock, sse_after_seconds=0.01)
    session, other = await sessions(mcp)
    data = PLACES[place]
    if isinstance(data, str):
        tool, times = data.rstrip("*"), 300 if data.endswith("*") else 1
        meta = {"progressToken": 1}
        one = stateless(1, tool) if era == "stateless" else post(session, call(1, tool, meta))
        data = head("GET", **session) if data == "GET" else one * times
    async with mcp.serving() as url, Bystander(url, other) as bystander:
        for answered in (False, True):
            wire = await Wire(url).__aenter__()
            with contextlib.suppress(ConnectionError):  # it has seen enough
                await wire.send(data)
            with contextlib.suppress(TimeoutError, ConnectionError):  # where nothing comes, there was a chance
                await asyncio.wait_for(wire.reader.read(1), 0.05 if answered else 0.001)
            wire.reset()
            await bystander.check()
        if era == "stateless":  # nobody waits for the result
            await eventually(lambda: gone(mcp, clock) and not mcp.calls)
        stop.set()
        await eventually(lambda: gone(mcp, clock) and not mcp.calls)
        await bystander.check()
    await forget(mcp, clock)


def gone(mcp: MCPServer, clock: Clock) -> bool:
    """Whether all have gone but the bystander. Writing a comment is what tells."""
    clock.turn(mcp.limits.heartbeat_seconds)
    mcp.sweep()
    return len(mcp.connections) == 1


@leaves_nothing
async def test_twenty_thousand_connections_come_and_go():
    """[limits.connections] [session.end-frees] By RST and FIN; silent, in half a request, and with an answer unread."""
    clock = Clock()
    mcp = MCPServer("chaos", clock=clock)
    session, *_ = await sessions(mcp)
    whole = head("GET", "/nothing", host="localhost")
    kinds = [b"", whole[:10], whole, whole + whole[:20], post(session, ping(1))[:-5]]
    async with mcp.serving() as url, Bystander(url, session) as bystander:
        grown = -resident()
        for number in range(200):
            for plain in await crowd(url, 100, kinds[number % len(kinds)]):
                plain.reset()
            await asyncio.sleep(0)
            if number % 50 == 49:
                await bystander.check()
                await eventually(lambda: len(mcp.connections) == 1)
        grown += resident()
        assert grown < 20 * MIB
    await forget(mcp, clock)


# --- Those who dawdle ---------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["session", "stateless"])
@leaves_nothing
async def test_reader_that_never_reads_200_000_notifications_is_dropped_and_holds_no_memory(era):
    """[stream.back-pressure] [stream.bounded] [limits.time]

    A session's tool goes on without its client, and what it says is forgotten but for the newest; of the stateless
    era it is cancelled.
    """
    clock, said, state, peak = Clock(), 0, "running", 0
    mcp = MCPServer("chaos", clock=clock)

    @mcp.tool()
    async def chatter(ctx: Context) -> str:
        nonlocal said, state, peak
        try:
            for said in range(1, 200_001):
                peak = max(peak, resident()) if said % 1000 == 0 else peak
                await ctx.info("some hundred bytes of news that nobody is there to read, and so they pile up somewhere")
        except asyncio.CancelledError:
            state = "cancelled"
            raise
        state = "done"
        return "done"

    session, other = await sessions(mcp)
    async with mcp.serving() as url, Bystander(url, other) as bystander:
        before = resident()
        async with Wire(url) as deaf:
            deaf.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            deaf.reader._limit = 1024  # type: ignore[attr-defined]  # so that asyncio does not read for us
            await deaf.send(stateless(1, "chatter") if era == "stateless" else post(session, call(1, "chatter")))
            await stuck(mcp)
            mcp.sweep()
            stopped = said
            await bystander.check()
            assert said == stopped and state == "running"
            clock.turn(mcp.limits.send_seconds + 0.1)
            mcp.sweep()
            await eventually(lambda: state != "running", 30)
            await bystander.check()
            deaf.reset()
        assert (state, said == 200_000) == (("cancelled", False) if era == "stateless" else ("done", True))
        assert peak - before < 8 * MIB
    await forget(mcp, clock)


@leaves_nothing
async def test_client_that_asks_without_end_and_reads_nothing_is_not_read_any_further():
    """[limits.time] [http.pipelining] Neither its requests nor our answers pile up; then it is dropped."""
    clock = Clock()
    mcp = MCPServer("chaos", clock=clock)
    session, other = await sessions(mcp)
    requests = rest = post(session, ping("x" * 500)) * 100
    async with mcp.serving() as url, Bystander(url, other) as bystander:
        greedy, before, sent, refused = Plain(url), resident(), 0, 0
        while refused < 100:  # times in a row that the kernel, which holds some megabytes each way, took no more
            try:
                size = greedy.socket.send(rest)
                sent, refused, rest = sent + size, 0, rest[size:] or requests
            except BlockingIOError:
                refused += congestion(mcp) > 0
            assert sent < 100 * MIB
            await asyncio.sleep(0)
        assert resident() - before < 8 * MIB
        await bystander.check()
        await stuck(mcp)
        mcp.sweep()
        clock.turn(mcp.limits.send_seconds + 0.1)
        mcp.sweep()
        await eventually(lambda: len(mcp.connections) == 1)
        greedy.reset()
    await forget(mcp, clock)


@leaves_nothing
async def test_thousand_connections_that_dribble_their_heads_get_408_while_others_are_served():
    """[limits.time] [http.linger] A byte now and then does not push the deadline on."""
    clock = Clock()
    mcp = MCPServer("chaos", clock=clock)
    session, *_ = await sessions(mcp)
    async with mcp.serving() as url, Bystander(url, session) as bystander:
        slow = await crowd(url, descriptors(1000), b"GET /mcp HTTP/1.1\r\nHost: loc")
        await eventually(lambda: sum(connection.state == "head" for connection in mcp.connections) == len(slow))
        for byte in b"alhos":
            clock.turn(1.9)
            mcp.sweep()
            for plain in slow:
                plain.send(bytes([byte]))
            await bystander.check()
        assert not any(plain.received() for plain in slow)
        clock.turn(0.6)
        mcp.sweep()
        answers = [b""] * len(slow)

        def answered() -> bool:
            for number, plain in enumerate(slow):
                answers[number] += plain.received()
            return all(answers)

        await eventually(answered)
        late = re.compile(rb"(?s)HTTP/1.1 408 .*\r\nConnection: close\r\n.*the request head took")
        assert all(late.match(answer) for answer in answers)
        clock.turn(2.1)  # they stay connected: not for ever
        mcp.sweep()
        await eventually(lambda: len(mcp.connections) == 1)
        for plain in slow:
            plain.reset()
    await forget(mcp, clock)


@leaves_nothing
async def test_five_thousand_idle_connections_cost_little_and_are_closed_in_time():
    """[limits.time] [limits.connections] Fewer where the system grants fewer descriptors: the costs are per head."""
    clock, count = Clock(), descriptors(5000)
    mcp = MCPServer("chaos", clock=clock)
    session, *_ = await sessions(mcp)
    async with mcp.serving() as url, Bystander(url, session) as bystander:
        before = resident()
        idle = await crowd(url, count)
        await eventually(lambda: len(mcp.connections) == count + 1, 20)
        await bystander.check()
        assert resident() - before < 20_000 * count + 10 * MIB
        begun = time.process_time()
        mcp.sweep()
        assert time.process_time() - begun < 0.5  # once a second, for all of them
        clock.turn(mcp.limits.idle_seconds - 1)
        await bystander.check()  # who is in use stays
        clock.turn(1.1)
        mcp.sweep()
        await eventually(lambda: len(mcp.connections) == 1, 20)
        await bystander.check()
        assert [plain.socket.recv(10) for plain in idle[:100]] == [b""] * 100
        for plain in idle:
            plain.reset()
    await forget(mcp, clock)


@leaves_nothing
async def test_five_thousand_idle_sessions_cost_nobody_time_and_expire_together():
    """[session.expiry] [session.end-frees] Half of them have a stream that waits for its client to come back."""
    clock, count = Clock(), 5000
    mcp = MCPServer("chaos", clock=clock, limits=Limits(idle_seconds=1e6))

    @mcp.tool()
    async def hello(ctx: Context) -> str:
        await ctx.info("hello")
        return "done"

    (other,) = await sessions(mcp, 1)
    before = resident()
    for number in range(count):
        client = await Client(mcp).connect()
        if number % 2:
            assert (await client.call("hello")).is_stream
    assert resident() - before < 20_000 * count
    async with mcp.serving() as url, Bystander(url, other) as bystander:
        mcp.notify_tools_changed()  # for each of them
        clock.turn(mcp.sessions.timeout - 1)
        begun = time.process_time()
        for _ in range(100):
            mcp.sweep()
            await bystander.check()
        assert time.process_time() - begun < 2
        assert len(mcp.sessions.by_id) == count + 1
        clock.turn(1.1)
        mcp.sweep()
        assert len(mcp.sessions.by_id) == 1
    await forget(mcp, clock)


@pytest.mark.parametrize(
    "chunk", [b"10000\r\n" + b"x" * 65536 + b"\r\n", b"1\r\nx\r\n" * 10_000], ids=["64 KiB", "1 byte"]
)
@leaves_nothing
async def test_endless_chunked_body_is_refused_at_the_limit_and_holds_no_memory(chunk):
    """[limits.body] [http.close-said] [http.linger] In large chunks and in the smallest; 413, then the end."""
    clock = Clock()
    mcp = MCPServer("chaos", clock=clock)
    session, *_ = await sessions(mcp)
    async with mcp.serving() as url, Bystander(url, session) as bystander:
        tracemalloc.start()
        async with Wire(url) as endless:
            await endless.send(head("POST", **session, transfer_encoding="chunked"))
            sent = 0
            with contextlib.suppress(ConnectionError):
                while endless.reader.at_eof() or not endless.reader._buffer:  # type: ignore[attr-defined]
                    await endless.send(chunk)
                    sent += len(chunk)
                    assert sent < 50 * MIB
                    await asyncio.sleep(0)
            reply = await endless.reply()
            assert (reply.status, reply.headers["connection"]) == (413, "close")
            await bystander.check()
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 4 * mcp.limits.body_bytes
            clock.turn(2.1)  # it goes on sending: not for ever
            mcp.sweep()
            await eventually(lambda: len(mcp.connections) == 1)
    await forget(mcp, clock)


@leaves_nothing
async def test_hundred_questions_that_are_never_answered_end_in_time():
    """[timeout.sent-requests] [timeout.maximum] [cancel.late-response] Half of those have gone; the rest is told."""
    clock = Clock()
    mcp = MCPServer("chaos", clock=clock, limits=Limits(ask_seconds=0.3))

    @mcp.tool()
    async def ask(ctx: Context) -> str:
        return str(await ctx.elicit("Who?", {"type": "object", "properties": {"name": {"type": "string"}}}))

    asked = await sessions(mcp, 100, {"elicitation": {}})
    (other,) = await sessions(mcp, 1)

    async def be_asked(url: str, number: int) -> None:
        async with Wire(url) as wire:
            await wire.send(post(asked[number], call(number, "ask")))
            assert await wire.status() == 200
            question = await wire.message()
            assert question["method"] == "elicitation/create"
            if number % 2:
                wire.reset()
                return
            notice, result = await wire.messages()
            assert (notice["method"], notice["params"]["requestId"]) == ("notifications/cancelled", question["id"])
            assert (result["id"], result["result"]["isError"]) == (number, True)
            late = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {}}}
            await wire.send(post(asked[number], late))
            assert (await wire.reply()).status == 202

    async with mcp.serving() as url, Bystander(url, other) as bystander:
        await asyncio.gather(*(be_asked(url, number) for number in range(100)))
        await eventually(lambda: not mcp.calls)
        assert not any(session.questions for session in mcp.sessions.by_id.values())
        await bystander.check()
    await forget(mcp, clock)


# --- Faults that are known, and shall not be forgotten ------------------------------------------------


@leaves_nothing
async def test_slow_reader_of_a_large_reply_is_not_dropped():
    """[limits.time] Over a slow line 8 MB take minutes; what counts is whether anything is read within 30 s."""
    clock = Clock()
    mcp, _ = talker(clock)
    session, *_ = await sessions(mcp)
    async with mcp.serving() as url:
        slow, received = Plain(url, post(session, call(1, "large"))), 0
        await eventually(lambda: congestion(mcp))
        while received < 8_000_000 and mcp.connections:
            for _ in range(16):
                with contextlib.suppress(BlockingIOError):
                    received += len(slow.socket.recv(65536))
                await asyncio.sleep(0.001)
            clock.turn(10)
            mcp.sweep()
        slow.reset()
        assert received >= 8_000_000
    await forget(mcp, clock)


@leaves_nothing
async def test_preflight_of_blanks_costs_time_by_its_length():
    """[cors.preflight] 32 KiB of them hold up everybody for a second."""
    mcp, begun = MCPServer("chaos"), time.process_time()
    client = Client(mcp)
    await client.http("OPTIONS", access_control_request_headers="a" + " " * 32_000 + "b")
    assert time.process_time() - begun < 0.3


@leaves_nothing
async def test_session_keeps_little_of_what_its_client_says_of_itself():
    """[limits.client] Ten thousand sessions, each with four megabytes that nobody reads, are forty gigabytes."""
    clock = Clock()
    mcp = MCPServer("chaos", clock=clock)
    tracemalloc.start()
    info, kept = {"name": "a", "version": "x" * 4_000_000}, 0
    for _ in range(10):
        await Client(mcp).request("initialize", {
            "protocolVersion": LATEST_SESSION_REVISION, "capabilities": {}, "clientInfo": info})  # fmt: skip
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    mcp.sessions.by_id.clear()
    assert kept < 10 * MIB


@leaves_nothing
async def test_session_keeps_little_of_what_it_watches():
    """[limits.subscriptions] The count is bounded, the bytes are not: a template takes any name."""
    mcp = MCPServer("chaos", clock=Clock())
    mcp.add_resource(lambda name: name, "doc://{name}", name="document")
    client = await Client(mcp).connect()
    tracemalloc.start()
    for number in range(20):
        await client.request("resources/subscribe", {"uri": f"doc://{number}{'x' * 1_000_000}"})
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    mcp.sessions.by_id.clear()
    assert kept < 4 * MIB


@leaves_nothing
async def test_results_that_were_delivered_do_not_pile_up():
    """[limits.delivered] A few hundred small requests for a large resource are gigabytes, until the sessions expire."""
    mcp = MCPServer("chaos", clock=Clock())

    @mcp.tool()
    async def large() -> str:
        return "x" * 1_000_000

    tracemalloc.start()
    for _ in range(5):
        client = await Client(mcp).connect()
        for _ in range(16):
            await (await client.request("tools/call", {"name": "large"}, accept="text/event-stream")).complete()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    mcp.sessions.by_id.clear()
    assert kept < 40 * MIB
