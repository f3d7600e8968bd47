"""Section 4, SSE: events, the Stream that outlives its connections, the Exchange that decides late.

A Page is a connection, and `page.text` what came down it. Streams here are named "s", so the ids are s-1, s-2, ...
"""

import asyncio
from typing import Any

import pytest
from inmemory import Page, run, until

from streamhttp_mcp import (
    EVENT_STREAM_HEADERS,
    JSON_HEADERS,
    Exchange,
    Limits,
    Reply,
    Stream,
    encode,
    format_event,
)

HEARTBEAT = ":\n\n"


def stream(*pushed: bytes, name: str = "s", primed: bool = False, **limits: Any) -> Stream:
    """A stream that nobody is attached to; data that begins with ! is a result or a question, to be kept."""
    made = Stream(Limits(**limits), name, primed)
    push(made, *pushed)
    return made


def push(made: Stream, *pushed: bytes) -> None:
    for data in pushed:
        made.push(data, keep=data.startswith(b"!"))


def attach(made: Stream, after: int | None = None) -> Page:
    page = Page()
    made.attach(page, after)
    return page


def data(page: Page) -> list[str]:
    return [event["data"] for event in page.events if event["data"]]


# ---- Events


@pytest.mark.parametrize("arguments, frame", [
    ((b"{}",), b"data: {}\n\n"),
    ((b"{}", "a-1"), b"id: a-1\ndata: {}\n\n"),
    ((b"", "a-0", 1.5), b"id: a-0\nretry: 1500\ndata: \n\n"),
    ((b"", "a-0", 0), b"id: a-0\nretry: 0\ndata: \n\n"),
    ((b"{}", "", 0.0004), b"retry: 0\ndata: {}\n\n"),
])  # fmt: skip
def test_event_is_lines_of_fields_and_an_empty_line(arguments: tuple[Any, ...], frame: bytes) -> None:
    """[sse.event] `retry` is in whole milliseconds."""
    assert format_event(*arguments) == frame


def test_line_breaks_in_a_message_do_not_break_the_event() -> None:
    """[sse.event] [json.ascii] CR, LF and CRLF end a line; some clients split at U+0085, U+2028 and U+2029 too."""
    frame = format_event(encode({"text": "a\nb\r\nc\rid: x\n\n\x85\u2028\u2029"}), "a-1").decode()
    assert frame.splitlines() == [
        "id: a-1", r'data: {"text":"a\nb\r\nc\rid: x\n\n\u0085\u2028\u2029"}', "",
    ]  # fmt: skip


# ---- Stream: one connection


def test_first_byte_comes_at_once() -> None:
    """[sse.comment] [stream.unprimed] A comment, which every client ignores and every proxy passes on."""
    assert attach(stream()).text == HEARTBEAT


def test_primed_stream_begins_with_an_id_to_resume_from() -> None:
    """[stream.prime] [stream.retry-before-close] The id is there before the first event is."""
    page = attach(stream(primed=True, retry_seconds=2))
    assert page.text == "id: s-0\nretry: 2000\ndata: \n\n"


def test_events_are_numbered_by_their_stream() -> None:
    """[event.id-names-stream] [event.id-unique]"""
    one, other = stream(name="one"), stream(name="other")
    page, other_page = attach(one), attach(other)
    push(one, b"1", b"2")
    push(other, b"3")
    assert page.text == HEARTBEAT + "id: one-1\ndata: 1\n\nid: one-2\ndata: 2\n\n"
    assert other_page.text == HEARTBEAT + "id: other-1\ndata: 3\n\n"


def test_events_that_came_before_the_connection_follow_in_order() -> None:
    """[stream.response-arrives]"""
    one = stream(b"1", b"2")
    page = attach(one)
    push(one, b"3")
    assert data(page) == ["1", "2", "3"]


def test_finished_stream_ends_its_response() -> None:
    """[stream.response-arrives] [stream.open-until-response] Not before the result, and right after it."""
    one = stream(b"1")
    page = attach(one)
    push(one, b"!result")
    assert not page.ended
    one.finish()
    assert page.ended
    assert data(page) == ["1", "!result"]


# ---- Stream: connections come and go


def test_events_wait_for_a_connection_that_was_lost() -> None:
    """[disconnect.not-cancel] Nothing is lost or sent twice when the next connection goes on from here."""
    one = stream(b"1")
    left: list[str] = []
    one.on_detach = lambda stream: left.append("left")
    page = attach(one)
    one.detach(page)
    assert page.ended
    assert left == ["left"]
    push(one, b"2")
    assert data(page) == ["1"]
    assert data(attach(one)) == ["2"]


def test_newest_connection_wins() -> None:
    """[stream.newest-wins] [stream.no-broadcast] The older one is ended, and each event goes to one only."""
    one = stream()
    ghost = attach(one)
    push(one, b"1")
    page = attach(one)
    assert ghost.ended
    push(one, b"2")
    assert (data(ghost), data(page)) == (["1"], ["2"])


def test_late_end_of_the_older_connection_leaves_the_newer_alone() -> None:
    """[stream.newest-wins] The network may tell of the ghost's death long after."""
    one = stream()
    ghost = attach(one)
    page = attach(one)
    one.detach(ghost)
    push(one, b"1")
    assert not page.ended
    assert data(page) == ["1"]


def test_detaching_ends_a_connection_once() -> None:
    """[stream.close-to-poll] Only the connection: the stream lives on."""
    one = stream()
    left: list[str] = []
    one.on_detach = lambda stream: left.append("left")
    one.detach()
    page = attach(one)
    one.detach()
    one.detach()
    assert page.ended
    assert left == ["left"]
    push(one, b"1")
    assert data(attach(one)) == ["1"]


# ---- Stream: resumption


@pytest.mark.parametrize("after, replayed", [(0, ["1", "2", "!3", "4"]), (2, ["!3", "4"]), (3, ["4"]), (4, [])])
def test_resumed_stream_replays_what_follows_the_event_and_nothing_else(after: int, replayed: list[str]) -> None:
    """[resume.replay] Events 1 to 3 were written to a connection that may have died with them, 4 was not."""
    one = stream()
    page = attach(one)
    push(one, b"1", b"2", b"!3")
    one.detach(page)
    push(one, b"4")
    page = attach(one, after)
    assert data(page) == replayed
    assert [event["id"] for event in page.events] == [f"s-{number}" for number in range(after + 1, 5)]
    push(one, b"5")
    assert data(page) == [*replayed, "5"]


def test_stream_is_resumed_again_when_the_resuming_connection_dies_too() -> None:
    """[resume.replay]"""
    one = stream(b"1", b"2")
    assert [data(attach(one, after=1)) for _ in range(3)] == [["2"]] * 3


def test_resumed_stream_is_primed_with_the_event_it_resumes_from() -> None:
    """[stream.prime] A client that is cut off at once has lost nothing."""
    one = stream(b"1", b"2", primed=True)
    assert attach(one, after=1).text == "id: s-1\nretry: 1000\ndata: \n\nid: s-2\ndata: 2\n\n"
    assert attach(one).text == "id: s-2\nretry: 1000\ndata: \n\n"


def test_result_that_came_while_nobody_was_connected_is_delivered() -> None:
    """[stream.response-arrives] [resume.replay] [resume.any-origin] And again, if the client asks again."""
    one = stream(b"1", primed=True)
    one.detach(attach(one))
    push(one, b"!result")
    one.finish()
    for _ in range(2):
        page = attach(one, after=1)
        assert page.text == "id: s-1\nretry: 1000\ndata: \n\nid: s-2\ndata: !result\n\n"
        assert page.ended


def test_stream_that_finished_before_its_first_connection_delivers_all() -> None:
    """[stream.response-arrives]"""
    one = stream(b"1", b"!result")
    one.finish()
    page = attach(one)
    assert data(page) == ["1", "!result"]
    assert page.ended


def test_stream_without_a_name_has_no_ids_and_keeps_nothing() -> None:
    """[resume.replay] What cannot be resumed costs nothing."""
    one = stream(b"1", name="", stream_events=2, stream_bytes=40)
    page = attach(one)
    push(one, b"!2", b"3", b"4", b"5")
    assert page.text == HEARTBEAT + "".join(f"data: {data}\n\n" for data in ("1", "!2", "3", "4", "5"))
    assert attach(one, after=0).text == HEARTBEAT


def test_stream_without_a_name_does_not_count_what_it_has_written() -> None:
    """[stream.bounded] Later events have all of the room again."""
    one = stream(name="", stream_bytes=len(b"data: 1\n\n"))
    page = attach(one)
    push(one, b"1", b"2")
    page.congested = True
    push(one, b"3")
    page.congested = False
    one.pump()
    assert data(page) == ["1", "2", "3"]


# ---- Stream: bounds


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("pushed, kept", [
    ([b"1", b"2", b"3"], ["1", "2", "3"]),
    ([b"1", b"2", b"3", b"4", b"5"], ["3", "4", "5"]),
    ([b"!1", b"2", b"3", b"4", b"!5"], ["!1", "4", "!5"]),
    ([b"1", b"!2", b"!3", b"!4"], ["!2", "!3", "!4"]),
    ([b"!1", b"!2", b"!3", b"!4", b"5"], ["!1", "!2", "!3", "!4"]),
])  # fmt: skip
def test_stream_forgets_its_oldest_notifications_beyond_so_many_events(
    connected: bool, pushed: list[bytes], kept: list[str]
) -> None:
    """[stream.bounded] Results and questions stay, however many there are."""
    one = stream(stream_events=3)
    page = Page()
    if connected:
        one.attach(page)
    push(one, *pushed)
    one.detach()
    assert data(page) == ([text.decode() for text in pushed] if connected else [])
    assert data(attach(one, after=0)) == kept


@pytest.mark.parametrize("connected", [True, False])
def test_stream_forgets_its_oldest_notifications_beyond_so_many_bytes(connected: bool) -> None:
    """[stream.bounded] Three frames fit here, whose data is eight characters each."""
    frame = len(b"id: s-1\ndata: 12345678\n\n")
    one = stream(stream_bytes=3 * frame)
    if connected:
        attach(one)
    push(one, b"!1______", b"2_______", b"3_______")
    one.detach()
    assert data(attach(one, after=0)) == ["!1______", "2_______", "3_______"]
    push(one, b"4_______")
    assert data(attach(one, after=0)) == ["!1______", "3_______", "4_______"]
    push(one, b"5" * 100)  # never fits; it was sent all the same
    assert data(attach(one, after=0)) == ["!1______"]
    push(one, b"6_______", b"7_______", b"8_______")
    assert data(attach(one, after=0)) == ["!1______", "7_______", "8_______"]


def test_what_a_client_has_seen_makes_room() -> None:
    """[stream.bounded] Naming an event as the last one seen says that those before it are not needed."""
    for limits in {"stream_events": 3}, {"stream_bytes": 3 * len(b"id: s-1\ndata: 1\n\n")}:
        one = stream(b"1", b"2", b"3", **limits)
        page = attach(one, after=2)
        push(one, b"4", b"5")
        one.detach(page)
        assert data(attach(one, after=2)) == ["3", "4", "5"]


# ---- Stream: a slow connection


def test_events_wait_while_the_connection_is_slow() -> None:
    """[stream.back-pressure] [stream.bounded] And are written in order when it has caught up."""
    one = stream(stream_events=3)
    page = attach(one)
    page.congested = True
    push(one, b"1", b"2", b"3", b"4", b"!5")
    one.finish()
    assert page.text == HEARTBEAT
    assert not page.ended
    page.congested = False
    one.pump()
    assert data(page) == ["3", "4", "!5"]
    assert page.ended


def test_handler_waits_for_a_slow_connection() -> None:
    """[stream.back-pressure] `send` returns when the peer has caught up."""

    async def conversation() -> None:
        one = stream()
        page = attach(one)
        await one.send(b"1")
        page.congested = True
        sending = asyncio.create_task(one.send(b"2"))
        with pytest.raises(AssertionError, match="still not true"):
            await until(sending.done, turns=20)
        page.congested = False
        page.caught_up.set()
        await sending
        one.pump()
        assert data(page) == ["1", "2"]

    run(conversation())


def test_handler_does_not_wait_where_nobody_is_connected() -> None:
    """[disconnect.not-cancel] The call goes on, and its client may come back."""
    one = stream(b"1")
    page = attach(one)
    page.congested = True
    one.detach(page)
    run(one.send(b"2"))
    assert data(attach(one)) == ["2"]


def test_handler_that_only_talks_lets_others_run() -> None:
    """[stream.back-pressure] A thousand events in a row do not hold up the other calls of the server."""

    async def conversation() -> None:
        one = stream()
        page = attach(one)
        seen: list[int] = []

        async def other() -> None:
            seen.append(len(data(page)))

        task = asyncio.create_task(other())
        for _ in range(1000):
            await one.send(b"x")
        await task
        assert seen[0] < 1000

    run(conversation())


# ---- Exchange


class Call:
    """An exchange, the streams it opened, and what its client receives."""

    def __init__(
        self, takes_json: bool = True, takes_stream: bool = True, batch: bool = False, **limits: Any
    ) -> None:
        self.streams: list[Stream] = []
        self.limits = limits
        self.exchange = Exchange(takes_json, takes_stream, self.open_stream, batch=batch)

    def open_stream(self) -> Stream:
        self.streams.append(stream(**self.limits))
        return self.streams[-1]

    async def page(self, patience: float = 1000) -> Page:
        reply = await self.exchange.reply(patience)
        assert reply == Reply(200, EVENT_STREAM_HEADERS, stream=self.streams[0])
        return attach(self.streams[0])


@pytest.mark.parametrize("takes", [(True, True), (True, False)])
@pytest.mark.parametrize("waiting", [True, False])
def test_result_that_comes_first_is_answered_as_json(takes: tuple[bool, bool], waiting: bool) -> None:
    """[reply.decided-late] [post.answer-json-or-sse] Whether it is there at once or the client has to wait for it."""

    async def conversation() -> None:
        call = Call(*takes)
        if waiting:
            asyncio.get_running_loop().call_soon(call.exchange.finish, [b"result"])
        else:
            call.exchange.finish([b"result"])
        assert await call.exchange.reply(1000) == Reply(200, (("Content-Type", "application/json"),), b"result")
        assert call.streams == []

    run(conversation())


@pytest.mark.parametrize("waiting", [True, False])
def test_call_that_speaks_first_is_answered_by_a_stream(waiting: bool) -> None:
    """[reply.decided-late] [stream.response-arrives] The result is its last event."""

    async def conversation() -> None:
        call = Call()
        reply = asyncio.create_task(call.page())
        if waiting:
            await asyncio.sleep(0)
        await call.exchange.send(b"progress 1")
        page = await reply
        await call.exchange.send(b"progress 2")
        call.exchange.finish([b"result"])
        assert page.text == (
            ":\n\nid: s-1\ndata: progress 1\n\nid: s-2\ndata: progress 2\n\nid: s-3\ndata: result\n\n"
        )
        assert page.ended
        assert len(call.streams) == 1

    run(conversation())


def test_event_stream_is_neither_cached_nor_held_back() -> None:
    """[sse.media-type] nginx reads the third."""
    assert dict(EVENT_STREAM_HEADERS) == {
        "Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no",
    }  # fmt: skip
    assert dict(JSON_HEADERS) == {"Content-Type": "application/json"}


def test_slow_call_is_answered_by_a_stream_when_patience_ends() -> None:
    """[reply.decided-late] A proxy sees the first byte while the call goes on."""

    async def conversation() -> None:
        call = Call()
        page = await call.page(patience=0)
        assert page.text == HEARTBEAT
        call.exchange.finish([b"result"])
        assert data(page) == ["result"]
        assert page.ended

    run(conversation())


def test_client_that_takes_no_stream_waits_for_the_body() -> None:
    """[stream.related-only] [post.answer-json-or-sse] What the call says before is not for it."""

    async def conversation() -> None:
        call = Call(takes_stream=False)
        reply = asyncio.create_task(call.exchange.reply(patience=0))
        await call.exchange.send(b"progress")
        with pytest.raises(AssertionError, match="still not true"):
            await until(reply.done, turns=20)
        call.exchange.finish([b"result"])
        assert await reply == Reply(200, JSON_HEADERS, b"result")
        assert call.streams == []

    run(conversation())


@pytest.mark.parametrize("waiting", [True, False])
def test_client_that_takes_streams_only_gets_the_result_as_an_event(waiting: bool) -> None:
    """[reply.decided-late] [post.answer-json-or-sse]"""

    async def conversation() -> None:
        call = Call(takes_json=False)
        reply = asyncio.create_task(call.page())
        if waiting:
            await asyncio.sleep(0)
        call.exchange.finish([b"result"])
        page = await reply
        assert page.text == HEARTBEAT + "id: s-1\ndata: result\n\n"
        assert page.ended

    run(conversation())


@pytest.mark.parametrize("speaks", [True, False])
def test_cancelled_call_ends_its_stream_without_an_answer(speaks: bool) -> None:
    """[cancel.no-response] The connection is freed at once."""

    async def conversation() -> None:
        call = Call()
        reply = asyncio.create_task(call.page())
        if speaks:
            await call.exchange.send(b"progress")
        call.exchange.finish([])
        page = await reply
        assert data(page) == ["progress"] * speaks
        assert page.ended

    run(conversation())


def test_cancelled_call_of_a_client_that_takes_no_stream_is_accepted_and_empty() -> None:
    """[cancel.no-response]"""

    async def conversation() -> None:
        call = Call(takes_stream=False)
        reply = asyncio.create_task(call.exchange.reply(1000))
        await asyncio.sleep(0)
        call.exchange.finish([])
        assert await reply == Reply(202)
        assert call.streams == []

    run(conversation())


@pytest.mark.parametrize("speaks", [True, False])
def test_nothing_follows_the_result(speaks: bool) -> None:
    """[progress.stop] A task that the handler started may talk on after it."""

    async def conversation() -> None:
        call = Call()
        if speaks:
            await call.exchange.send(b"progress")
        call.exchange.finish([b"result"])
        await call.exchange.send(b"late")
        call.exchange.open()
        if speaks:
            assert data(await call.page()) == ["progress", "result"]
        else:
            assert await call.exchange.reply(0) == Reply(200, JSON_HEADERS, b"result")
            assert call.streams == []

    run(conversation())


@pytest.mark.parametrize("answers, body", [([b"1", b"2"], b"[1,2]"), ([b"1"], b"[1]")])
def test_batch_is_answered_by_one_array_or_by_one_event_each(answers: list[bytes], body: bytes) -> None:
    """[batch.response-array] [batch.every-response] [batch.answer-json-or-sse] An array of one is an array, too."""

    async def conversation() -> None:
        call = Call(batch=True)
        call.exchange.finish(answers)
        assert await call.exchange.reply(0) == Reply(200, JSON_HEADERS, body)
        call = Call(takes_json=False, batch=True)
        call.exchange.finish(answers)
        page = await call.page()
        assert data(page) == [answer.decode() for answer in answers]
        assert page.ended

    run(conversation())


def test_questions_and_results_outlive_the_notifications_around_them() -> None:
    """[stream.bounded] [stream.response-arrives] While the client is away, and however little is kept."""

    async def conversation() -> None:
        call = Call(batch=True, stream_events=2)
        await call.exchange.send(b"progress 1")
        await call.exchange.send(b"question", keep=True)
        await call.exchange.send(b"progress 2")
        await call.exchange.send(b"progress 3")
        call.exchange.finish([b"1", b"2", b"3"])
        assert data(await call.page()) == ["question", "1", "2", "3"]

    run(conversation())


def test_client_that_leaves_while_it_waits_does_not_disturb_the_call() -> None:
    """[disconnect.not-cancel]"""

    async def conversation() -> None:
        for speaks in (True, False):
            call = Call()
            reply = asyncio.create_task(call.exchange.reply(1000))
            await asyncio.sleep(0)
            reply.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reply
            if speaks:
                await call.exchange.send(b"progress")
            call.exchange.finish([b"result"])
            assert call.exchange.finished

    run(conversation())
