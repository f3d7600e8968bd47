"""Section 2, event streams: events, a Stream that outlives its connections, and the form of an answer, decided late.

Each test is a call whose handler says what the test tells it to, and the connections that read what it says.
"""

import asyncio
import json
import re
from collections.abc import Coroutine
from typing import Any

import pytest
from inmemory import Answer, Client, Page, StatelessClient, spoken, until
from wire import Wire, call, ping, pong

import streamhttp_mcp
from streamhttp_mcp import Context, Limits, MCPServer

HEARTBEAT = ":\n\n"
EVENT_STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
JSON = {"content-type": "application/json"}


class Talk:
    """A call of the tool `talk`, which runs until `end`; `ctx` is its handler's."""

    def __init__(self, **limits: Any) -> None:
        self.mcp = MCPServer("test", limits=Limits(**{"sse_after_seconds": 0} | limits))
        self.before: list[str] = []  # said before the handler waits
        self.goes_on = asyncio.Event()

        @self.mcp.tool()
        async def talk(ctx: Context) -> str:
            self.ctx = ctx
            for text in self.before:
                await ctx.info(text)
            await self.goes_on.wait()
            return "done"

    async def start(self, *before: str, version: str = "2025-11-25", **headers: str) -> Page:
        """Call the tool, and return what its client reads."""
        self.before = list(before)
        self.client = await Client(self.mcp).connect(version, {"elicitation": {}})
        return (await self.client.request("tools/call", {"name": "talk"}, **headers)).page

    async def say(self, *texts: str) -> None:
        for text in texts:
            await self.ctx.info(text)
        await asyncio.sleep(0)  # who is connected reads

    def end(self) -> None:
        self.goes_on.set()

    async def resume(self, event_id: str) -> Page:
        answer = await self.client.get(event_id)
        assert (answer.status, answer.headers) == (200, EVENT_STREAM)
        return answer.page


def heard(page: Page) -> list[str]:
    """What the messages say, in short: the text of a log message, the question's, 'done' for the result."""
    return [short(message) for message in page.messages]


def short(message: Any) -> str:
    if "result" in message:
        return message["result"]["content"][0]["text"]
    return message["params"].get("data") or message["params"]["message"]


def numbers(page: Page) -> list[int]:
    return [int(event["id"].partition("-")[2]) for event in page.events]


def stream_id(page: Page) -> str:
    return page.events[0]["id"].partition("-")[0]


def ask(talk: Talk, text: str) -> asyncio.Task[Any]:
    return asyncio.create_task(talk.ctx.elicit(text, {"type": "object", "properties": {}}))


async def starts_waiting(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start something that has to wait, and see that it waits."""
    task = asyncio.create_task(coroutine)
    with pytest.raises(AssertionError, match="still not true"):
        await until(task.done, turns=50)
    return task


# ---- Events


@spoken
async def test_event_is_lines_of_fields_and_an_empty_line() -> None:
    """[sse.event] [stream.prime] [stream.retry-before-close] `retry` is in whole milliseconds."""
    for seconds, milliseconds in ((2, "2000"), (1.5, "1500"), (0, "0"), (0.0004, "0")):
        talk = Talk(retry_seconds=seconds)
        page = await talk.start()
        await talk.say("hello")
        notice = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"hello"}}'
        name = stream_id(page)
        assert page.text.endswith(f"\n\nid: {name}-1\ndata: {notice}\n\n")
        assert page.events[0] == {"id": f"{name}-0", "retry": milliseconds, "data": ""}


@spoken
async def test_line_breaks_in_a_message_do_not_break_the_event() -> None:
    """[sse.event] [json.ascii] CR, LF and CRLF end a line; some clients split at U+0085, U+2028 and U+2029 too."""
    talk, text = Talk(), "a\nb\r\nc\rid: x\n\n\x85\u2028\u2029"
    page = await talk.start(version="2025-06-18")
    await talk.say(text)
    _, event = page.text.removesuffix("\n\n").split("\n\n")
    assert [line.partition(":")[0] for line in event.splitlines()] == ["id", "data"]
    assert r"a\nb\r\nc\rid: x\n\n\u0085\u2028\u2029" in event and heard(page) == [text]


@spoken
async def test_event_stream_is_neither_cached_nor_held_back() -> None:
    """[sse.media-type] [stream.no-buffering] nginx reads the third field."""
    client = await Client(MCPServer("test")).connect()
    answer = await client.get()
    assert (answer.status, answer.headers) == (200, EVENT_STREAM)


# ---- One connection


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18"])
@spoken
async def test_first_byte_comes_at_once(version: str) -> None:
    """[sse.comment] [stream.unprimed] A comment, which every client ignores and every proxy passes on."""
    assert (await Talk().start(version=version)).text == HEARTBEAT


@spoken
async def test_events_are_numbered_by_their_stream() -> None:
    """[event.id-names-stream] [event.id-unique]"""
    talk = Talk()
    page = await talk.start()
    await talk.say("1", "2")
    other = (await talk.client.get()).page
    talk.mcp.notify_tools_changed()
    await other.wait_messages(1)
    assert (numbers(page), numbers(other)) == ([0, 1, 2], [0, 1])
    assert stream_id(page) != stream_id(other)
    assert {event["id"].partition("-")[0] for event in page.events} == {stream_id(page)}


@spoken
async def test_stream_carries_what_was_said_before_it_and_ends_with_the_result() -> None:
    """[stream.response-arrives] [stream.open-until-response] Not before the result, and right after it."""
    talk = Talk()
    page = await talk.start("1", "2")
    await talk.say("3")
    assert heard(page) == ["1", "2", "3"] and not page.ended
    talk.end()
    await page.wait_end()
    assert heard(page) == ["1", "2", "3", "done"]


# ---- Connections come and go


@spoken
async def test_call_goes_on_and_its_events_wait_for_a_connection_that_was_lost() -> None:
    """[disconnect.not-cancel] [resume.replay] Nothing is lost or sent twice when the client goes on from its last event."""
    talk = Talk()
    page = await talk.start("1")
    page.leave()
    await talk.say("2")
    assert heard(page) == ["1"]
    back = await talk.resume(page.events[-1]["id"])
    talk.end()
    await back.wait_end()
    assert heard(back) == ["2", "done"]


@spoken
async def test_newest_connection_wins() -> None:
    """[stream.newest-wins] [stream.no-broadcast] The older one is ended, and each event goes to one only.

    The network may tell of the ghost's death long after.
    """
    talk = Talk()
    ghost = await talk.start("1")
    page = await talk.resume(ghost.events[-1]["id"])
    assert ghost.ended
    await talk.say("2")
    ghost.leave()
    await talk.say("3")
    assert (heard(ghost), heard(page), page.ended) == (["1"], ["2", "3"], False)


@pytest.mark.parametrize("connected", [True, False])
@spoken
async def test_closing_the_connection_to_be_polled_ends_the_connection_only(connected: bool) -> None:
    """[stream.close-to-poll] [stream.retry-before-close] Also where the client has not begun to read."""
    talk = Talk(retry_seconds=3)
    if connected:
        page = await talk.start()
        await talk.ctx.close_sse_stream()
    else:
        talk.mcp.remove_tool("talk")

        @talk.mcp.tool("talk")
        async def closes_first(ctx: Context) -> str:
            talk.ctx = ctx
            await ctx.close_sse_stream()
            await talk.goes_on.wait()
            return "done"

        page = await talk.start()
    await page.wait_end()
    assert page.events == [{"id": f"{stream_id(page)}-0", "retry": "3000", "data": ""}]
    await talk.say("1")
    back = await talk.resume(page.events[0]["id"])
    talk.end()
    await back.wait_end()
    assert heard(back) == ["1", "done"]


# ---- Resumption


@pytest.mark.parametrize("after", [0, 2, 3, 4])
@spoken
async def test_resumed_stream_replays_what_follows_the_event_and_nothing_else(after: int) -> None:
    """[resume.replay] Events 1 to 3 were written to a connection that may have died with them, 4 was not."""
    talk = Talk()
    page = await talk.start("1", "2", "3")
    page.leave()
    await talk.say("4")
    back = await talk.resume(f"{stream_id(page)}-{after}")
    assert heard(back) == ["1", "2", "3", "4"][after:]
    await talk.say("5")
    assert heard(back) == ["1", "2", "3", "4", "5"][after:]
    assert numbers(back) == list(range(after, 6))  # the first is the empty event


@spoken
async def test_stream_is_resumed_again_when_the_resuming_connection_dies_too() -> None:
    """[resume.replay] [stream.prime] Its empty event has the id it resumes from: cut off at once, a client has lost nothing."""
    talk = Talk()
    page = await talk.start("1", "2")
    for _ in range(3):
        page.leave()
        page = await talk.resume(f"{stream_id(page)}-1")
        assert (heard(page), numbers(page)) == (["2"], [1, 2])
    back = await talk.resume(page.events[-1]["id"])
    assert back.events == [{"id": f"{stream_id(page)}-2", "retry": "1000", "data": ""}]


@spoken
async def test_result_that_came_while_nobody_was_connected_is_delivered() -> None:
    """[stream.response-arrives] [resume.replay] [resume.any-origin] And again, if the client asks again."""
    talk = Talk()
    page = await talk.start("1")
    page.leave()
    talk.end()
    await until(lambda: not talk.mcp.calls)
    for _ in range(2):
        back = await talk.resume(page.events[-1]["id"])
        assert back.ended
        assert (heard(back), numbers(back)) == (["done"], [1, 2])


@spoken
async def test_stream_of_2026_07_28_has_no_ids_and_keeps_nothing_that_was_read() -> None:
    """[stream.no-event-ids] [limits.memory] What cannot be resumed costs nothing."""
    talk = Talk()
    client = StatelessClient(talk.mcp)
    meta = {"io.modelcontextprotocol/logLevel": "info"}
    page = (await client.request("tools/call", {"name": "talk"}, meta=meta)).page
    for text in ("1", "2", "3"):
        await talk.say(text)
        await talk.say(text)
    assert page.text.startswith(HEARTBEAT + "data: ") and "id:" not in page.text.replace('"id":', "")
    assert heard(page) == ["1", "1", "2", "2", "3", "3"]
    assert talk.mcp.sessions.used < 1000  # the last ones, perhaps; six would be more
    talk.end()
    await page.wait_end()
    await until(lambda: not talk.mcp.calls)
    assert talk.mcp.sessions.used == 0


# ---- Bounds

LINE = "x" * 100  # with what is around it, each such message counts for about 400 bytes


def lines(count: int) -> list[str]:
    return [f"{number}{LINE}" for number in range(1, count + 1)]


@pytest.mark.parametrize("connected", [True, False])
@spoken
async def test_stream_forgets_its_oldest_notifications_beyond_so_many_bytes(connected: bool) -> None:
    """[stream.bounded] Never a question or the result, and the newest notifications stay.

    Whether they were read and are kept for a replay, or nobody was there to read them.
    """
    talk = Talk(session_bytes=10_000)
    page = await talk.start()
    asked = ask(talk, "Who?")
    await page.wait_messages(1)
    if not connected:
        page.leave()
    await talk.say(*lines(100))
    assert heard(page) == ["Who?", *lines(100)][: len(page.messages)]
    assert len(page.messages) == (101 if connected else 1)
    talk.end()
    await until(lambda: not talk.mcp.calls)
    question, *kept, last = heard(await talk.resume(f"{stream_id(page)}-0"))
    assert (question, last) == ("Who?", "done")
    assert 15 < len(kept) < 35 and kept == lines(100)[-len(kept) :]
    assert talk.client.session.used <= 10_000
    asked.cancel()


@spoken
async def test_what_a_client_has_seen_makes_room() -> None:
    """[stream.bounded] Naming an event as the last one seen says that those before it are not needed."""
    talk = Talk()
    page = await talk.start(*lines(20))
    await page.wait_messages(20)
    full = talk.client.session.used
    back = await talk.resume(page.events[10]["id"])
    assert heard(back) == lines(20)[10:]
    half = talk.client.session.used
    await talk.resume(page.events[20]["id"])
    empty = talk.client.session.used
    assert min(full - half, half - empty) > 10 * len(LINE) and empty < 20 * len(LINE)


@spoken
async def test_streams_that_were_read_to_their_end_are_forgotten_before_the_notifications_of_a_running_call() -> None:
    """[limits.delivered] [stream.bounded]"""
    talk = Talk(session_bytes=10_000)

    @talk.mcp.tool()
    async def chat(ctx: Context) -> str:
        for line in lines(10):
            await ctx.info(line)
        return "done"

    page = await talk.start(*lines(5))
    ended = (await talk.client.call("chat")).page
    assert heard(await talk.resume(f"{stream_id(ended)}-0"))[-1] == "done"
    await talk.say(*lines(12))
    assert (await talk.client.get(f"{stream_id(ended)}-0")).status == 400
    assert heard(await talk.resume(f"{stream_id(page)}-0")) == lines(5) + lines(12)


@spoken
async def test_server_forgets_first_what_the_session_keeps_that_was_unused_for_longest() -> None:
    """[limits.memory] All sessions share one account."""
    talk = Talk(server_bytes=20_000)

    @talk.mcp.tool()
    async def chat(ctx: Context) -> str:
        for line in lines(10):
            await ctx.info(line)
        return "done"

    clients = [await Client(talk.mcp).connect() for _ in range(6)]
    ids = [(await client.call("chat")).page.events[0]["id"] for client in clients]
    statuses = [(await client.get(event_id)).status for client, event_id in zip(clients, ids, strict=True)]
    assert statuses == sorted(statuses, reverse=True) and statuses[0] == 400 and statuses[-1] == 200
    assert talk.mcp.sessions.used <= 20_000


# ---- A slow connection


@spoken
async def test_handler_waits_for_a_slow_connection() -> None:
    """[stream.back-pressure] And what waits is written in order, in one piece, when it has caught up."""
    talk = Talk()
    page = await talk.start("first")
    page.congested = True
    sending = await starts_waiting(talk.say(*lines(100)))
    assert heard(page) == ["first"]
    assert talk.client.session.used < 20 * 400 + 2000  # few wait, the handler waits with the rest
    page.congested = False
    await until(sending.done)
    talk.end()
    await page.wait_end()
    assert heard(page) == ["first", *lines(100), "done"]


@spoken
async def test_handler_waits_until_a_large_message_is_read() -> None:
    """[stream.back-pressure] One of them is as much as many small ones."""
    talk = Talk()
    page = await talk.start()
    page.congested = True
    sending = await starts_waiting(talk.say("x" * 100_000))
    page.congested = False
    await until(sending.done)
    assert len(heard(page)[0]) == 100_000


@spoken
async def test_handler_that_waits_for_a_slow_connection_goes_on_when_that_is_lost() -> None:
    """[stream.back-pressure] [disconnect.not-cancel] Its client may come back, and has missed nothing."""
    talk = Talk()
    page = await talk.start()
    page.congested = True
    sending = await starts_waiting(talk.say(*lines(50)))
    page.leave()
    await until(sending.done)
    assert heard(await talk.resume(f"{stream_id(page)}-0")) == lines(50)


@spoken
async def test_notices_that_wait_for_a_slow_connection_are_bounded_and_the_newest_stay() -> None:
    """[stream.bounded] Who announces a change cannot wait for all the clients."""
    talk = Talk(session_bytes=100_000)

    @talk.mcp.resource("doc://{number}")
    async def document(number: str) -> str:
        return number

    await talk.start()
    page, uris = (await talk.client.get()).page, []
    page.congested = True
    while "result" in (await talk.client.request("resources/subscribe", {"uri": f"doc://{len(uris)}"})).message:
        uris.append(f"doc://{len(uris)}")  # so many that the notices of all have no room
    for uri in uris:
        talk.mcp.notify_resource_updated(uri)
    assert talk.client.session.used <= 100_000
    page.congested = False
    await until(lambda: page.messages)
    updated = [message["params"]["uri"] for message in page.messages]
    assert len(uris) // 2 < len(updated) < len(uris) and updated == uris[-len(updated) :]


@spoken
async def test_what_was_said_before_the_session_ends_is_still_sent_to_a_slow_connection() -> None:
    """[session.delete-ends] [session.end-frees] [limits.memory] And then nothing is kept of it."""
    talk = Talk()
    page = await talk.start()
    page.congested = True
    await talk.say("1", "2")
    await talk.client.delete()
    page.congested = False
    assert heard(page) == [] and [short(message) for message in await page.wait_end()] == ["1", "2"]
    await until(lambda: not talk.mcp.calls)
    assert talk.mcp.sessions.used == 0


@pytest.mark.parametrize("leaves", ["before the answer has a form", "during the call", "after the result"])
@spoken
async def test_client_of_2026_07_28_that_leaves_without_reading_leaves_nothing_behind(leaves: str) -> None:
    """[limits.memory] [modern.disconnect-cancels] It cannot come back for what was not read."""
    talk = Talk(sse_after_seconds=1000)
    client = StatelessClient(talk.mcp)
    meta = {"io.modelcontextprotocol/logLevel": "info"}
    calling = asyncio.create_task(client.request("tools/call", {"name": "talk"}, meta=meta))
    await until(lambda: hasattr(talk, "ctx"))
    if leaves == "before the answer has a form":
        calling.cancel()
        await until(calling.done)
    else:
        await talk.say("1")
        page = (await calling).page
        page.congested = True
        await talk.say("2", "3")
        if leaves == "after the result":
            talk.end()
            await until(lambda: not talk.mcp.calls)
        page.leave()
    await until(lambda: not talk.mcp.calls)
    assert talk.mcp.sessions.used == 0


@spoken
async def test_handler_that_only_talks_lets_others_run() -> None:
    """[stream.back-pressure] A thousand events in a row do not hold up the other calls of the server."""
    talk = Talk()
    page = await talk.start()
    other = asyncio.create_task(talk.client.request("ping"))
    for number in range(1000):
        await talk.ctx.info(number)
        if other.done():
            break
    assert other.done() and number < 100 and not page.ended


# ---- The form of an answer


def form(answer: Answer) -> tuple[str, list[str]]:
    if answer.is_stream:
        assert (answer.headers, answer.page.ended) == (EVENT_STREAM, True)
        return "stream", heard(answer.page)
    assert answer.headers == JSON
    return "json", [short(answer.message)]


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("says", [[], ["1", "2"]])
@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "application/json", "text/event-stream"])
@spoken
async def test_result_that_comes_first_is_json_and_a_message_that_comes_first_opens_a_stream(
    accept: str, says: list[str], waits: bool
) -> None:
    """[reply.decided-late] [post.answer-json-or-sse] [stream.response-arrives] [stream.related-only]

    Where the client takes both. Who takes JSON only gets the result alone, who takes streams only one event or more.
    """
    talk = Talk(sse_after_seconds=1000)
    talk.before = says
    client = await Client(talk.mcp).connect()
    calling = asyncio.create_task(client.call("talk", accept=accept))
    if waits:
        await until(lambda: talk.mcp.calls)
        await asyncio.sleep(0)
    talk.end()
    streams = accept == "text/event-stream" or (says and "event-stream" in accept)
    assert form(await calling) == (("stream", [*says, "done"]) if streams else ("json", ["done"]))


@spoken
async def test_slow_call_is_answered_by_a_stream_when_patience_ends() -> None:
    """[reply.decided-late] A proxy sees the first byte while the call goes on. Who takes no stream waits."""
    talk = Talk(sse_after_seconds=0)
    page = await talk.start(version="2025-06-18")
    assert page.text == HEARTBEAT
    params = {"name": "talk"}
    patient = asyncio.create_task(talk.client.request("tools/call", params, accept="application/json"))
    with pytest.raises(AssertionError, match="still not true"):
        await until(patient.done, turns=50)
    talk.end()
    await page.wait_end()
    assert heard(page) == ["done"]
    assert form(await patient) == ("json", ["done"])


@pytest.mark.parametrize("says", [[], ["1"]])
@spoken
async def test_nothing_follows_the_result(says: list[str]) -> None:
    """[progress.stop] A task that the handler started may talk on after it."""
    talk = Talk(sse_after_seconds=1000)
    talk.before, client = says, await Client(talk.mcp).connect()
    talk.end()
    answer = await client.call("talk")
    await talk.say("late")
    assert form(answer) == (("stream", ["1", "done"]) if says else ("json", ["done"]))
    if says:
        assert heard((await client.get(f"{stream_id(answer.page)}-0")).page) == ["1", "done"]


@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "text/event-stream"])
@spoken
async def test_batch_is_answered_by_one_event_for_each_request(accept: str) -> None:
    """[batch.every-response] [batch.answer-json-or-sse] Whatever comes first; a batch of one, too."""
    talk = Talk()
    client = await Client(talk.mcp).connect("2025-03-26")
    talk.end()
    answer = await (await client.post([ping(1), call(2, "talk"), ping(3)], accept=accept)).complete()
    assert answer.headers == EVENT_STREAM
    by_id = {message["id"]: message for message in answer.page.messages}
    assert (by_id[1], short(by_id[2]), by_id[3], len(answer.page.messages)) == (pong(1), "done", pong(3), 3)
    answer = await (await client.post([ping(4)], accept=accept)).complete()
    assert (answer.headers, answer.page.messages) == (EVENT_STREAM, [pong(4)])


@spoken
async def test_batch_of_a_client_that_takes_no_stream_is_406_and_nothing_of_it_runs() -> None:
    """[batch.answer-json-or-sse] [reply.not-acceptable]"""
    talk = Talk()
    client = await Client(talk.mcp).connect("2025-03-26")
    refused = await client.post([call(1, "talk")], accept="application/json")
    words = "a batch is answered by an event stream: Accept must allow one"
    assert (refused.status, json.loads(refused.reply.body)["error"]["message"]) == (406, words)
    assert not talk.mcp.calls and not hasattr(talk, "ctx")


def docstring_blocks() -> list[str]:
    """The indented blocks of the docstring's first chapter, with long lines put together again."""
    chapter = streamhttp_mcp.__doc__.partition("One exchange on the wire")[2].partition("\nWords\n")[0]
    blocks, lines = [], []
    for line in chapter.splitlines() + ["end"]:
        if line.startswith("        "):
            lines[-1] += line.strip()
        elif line.startswith("    ") or not line:
            lines.append(line[4:])
        elif any(lines):
            blocks.append("\n".join(lines).strip("\n"))
            lines = []
        else:
            lines = []
    return blocks


def on_the_wire(block: str) -> bytes:
    """A block as it is on the wire: the head with CRLF, chunks framed, events with LF."""
    head, _, body = block.partition("\n\n")
    data = head.replace("\n", "\r\n") + "\r\n\r\n"
    if "chunked" in head:
        size, _, events = body.partition("\n")
        events, last = events.removesuffix("\n0") + "\n", events.endswith("\n0")
        events = events.replace("data:\n", "data: \n").rstrip("\n") + "\n\n"
        data += f"{size}\r\n{events}\r\n" + ("0\r\n\r\n" if last else "")
    else:
        data += body
    return data.encode()


def without_common_fields(reply: bytes) -> bytes:
    return re.sub(rb"(Date|Cache-Control|X-Accel-Buffering): [^\r]*\r\n", b"", reply)


@spoken
async def test_exchange_of_the_docstring_goes_over_the_wire_byte_for_byte(monkeypatch):
    """[stream.prime] [resume.replay] The POST, the streamed answer, and the resumed GET."""
    post, answer, get, resumed = map(on_the_wire, docstring_blocks())
    monkeypatch.setattr(streamhttp_mcp.secrets, "token_urlsafe", lambda size: re.search(rb"Session-Id: (\S+)", post)[1].decode())
    monkeypatch.setattr(streamhttp_mcp.secrets, "token_hex", lambda size: re.search(rb"Event-ID: (\w+)", get)[1].decode())
    mcp, broken, ended = MCPServer("test"), asyncio.Event(), asyncio.Event()

    @mcp.tool()
    async def dig(depth: int, ctx: Context) -> str:
        await ctx.report_progress(1)
        await broken.wait()
        ended.set()
        return "found"

    await Client(mcp).connect()
    async with mcp.serving() as url:
        async with Wire(url) as wire:
            await wire.send(post)
            received = b""
            while len(without_common_fields(received)) < len(answer):
                received += await wire.reader.read(1)
            assert without_common_fields(received) == answer
        broken.set()
        await ended.wait()
        await until(lambda: not mcp.calls)
        async with Wire(url) as wire:
            await wire.send(get)
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += await wire.reader.read(1)
            assert without_common_fields(received) == resumed
