"""Sections 7 and 8: how a message gets its answer in the session era, from `initialize` to a stream that is resumed."""

import asyncio

import pytest
from inmemory import Answer, Client, StatelessClient, spoken, until

from streamhttp_mcp import (
    RESOURCE_NOT_FOUND,
    SESSION_REVISIONS,
    Context,
    Limits,
    MCPServer,
    RPCError,
)

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "inmemory", "version": "1"}}
JSON_ONLY, STREAM_ONLY = "application/json", "text/event-stream"
every_revision = pytest.mark.parametrize("version", SESSION_REVISIONS)


# What goes over the wire, written short.


def request(id: object, method: str, **params: object) -> dict:
    return {"jsonrpc": "2.0", "id": id, "method": method} | ({"params": params} if params else {})


def notification(method: str, **params: object) -> dict:
    return {"jsonrpc": "2.0", "method": f"notifications/{method}"} | ({"params": params} if params else {})


def said(text: str) -> dict:
    """What `await ctx.info(text)` sends."""
    return notification("message", level="info", data=text)


def result(id: object, text: str) -> dict:
    """The result of a tool that returned this text."""
    return {"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}


def error(code: int, message: str, **id: object) -> dict:
    return {"jsonrpc": "2.0", **id, "error": {"code": code, "message": message}}


async def drop(answer: Answer) -> None:
    """The connection of an event stream is lost."""
    answer.page.leave()
    await until(lambda: answer.page.ended)


# --- initialize ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "answered"),
    [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2024-11-05", "2025-11-25"),  # a revision with another transport
        ("2026-07-28", "2025-11-25"),  # a revision without initialize
        ("2099-01-01", "2025-11-25"),
        ("1.0", "2025-11-25"),
        ("", "2025-11-25"),
    ],
)
@spoken
async def test_initialize_is_answered_with_the_requested_revision_or_else_the_newest(requested, answered):
    """[version.same] [version.other] [version.latest]"""
    client = Client(MCPServer("test"))
    answer = await client.request("initialize", INITIALIZE | {"protocolVersion": requested})
    assert answer.result["protocolVersion"] == answered


@spoken
async def test_initialize_result_is_complete():
    """[initialize.result] [tool.capability] [resource.capability] [prompt.capability] [log.capability]"""
    client = Client(MCPServer("test", version="1.2", title="A test", instructions="Ask nicely."))
    answer = await client.request("initialize", INITIALIZE, id="first")
    assert answer.status == 200
    assert answer.message == {
        "jsonrpc": "2.0",
        "id": "first",
        "result": {
            "protocolVersion": "2025-11-25",
            "capabilities": {
                "tools": {"listChanged": True},
                "resources": {"subscribe": True, "listChanged": True},
                "prompts": {"listChanged": True},
                "logging": {},
            },
            "serverInfo": {"name": "test", "title": "A test", "version": "1.2"},
            "instructions": "Ask nicely.",
        },
    }


@pytest.mark.parametrize("params", [{}, {"protocolVersion": None}, {"protocolVersion": 20251125}])
@spoken
async def test_initialize_without_a_version_is_an_error_with_its_id_and_opens_nothing(params):
    """[error.same-id] [error.code-message]"""
    mcp = MCPServer("test")
    answer = await Client(mcp).request("initialize", params, id="first")
    expected = error(-32602, "params.protocolVersion must be a string", id="first")
    assert (answer.status, answer.message) == (200, expected)
    assert "mcp-session-id" not in answer.headers and not mcp.sessions.by_id


@spoken
async def test_request_before_initialized_is_answered():
    """[initialize.first] Real clients do not always wait, or never send the notification."""
    client = Client(MCPServer("test"))
    client.headers["mcp-session-id"] = (await client.request("initialize", INITIALIZE)).headers["mcp-session-id"]
    assert (await client.request("ping")).message == {"jsonrpc": "2.0", "id": 2, "result": {}}
    assert (await client.request("tools/list")).result == {"tools": []}
    assert (await client.notify("notifications/initialized")).status == 202


# --- What needs no answer -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        notification("initialized"),
        notification("roots/list_changed"),
        notification("progress", progressToken="nobody's", progress=1),
        notification("cancelled", requestId="nobody's"),
        notification("invented/yesterday", anything=[1, 2]),
        {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "mark"}},  # a method, but nothing to answer to
        {"jsonrpc": "2.0", "method": "initialize", "params": INITIALIZE},
        {"jsonrpc": "2.0", "id": 7, "result": {}},
        {"jsonrpc": "2.0", "id": "nobody's", "result": {"action": "accept"}},
        {"jsonrpc": "2.0", "id": 7, "error": {"code": -1, "message": "no"}},
    ],
)
@spoken
async def test_notification_or_response_is_answered_202_with_no_body(message):
    """[post.notification-202] [notification.no-response] Known to us or not."""
    mcp, marks = MCPServer("test"), []

    @mcp.tool()
    async def mark() -> None:
        marks.append("called")

    client = await Client(mcp).connect()
    answer = await client.post(message)
    assert (answer.status, answer.reply.body, answer.is_stream, answer.headers) == (202, b"", False, {})
    assert not marks and len(mcp.sessions.by_id) == 1


# --- Whose answer it is -------------------------------------------------------------------------------


@pytest.mark.parametrize("id", [1, 0, -7, 2**64, "1", "", "caf\u00e9 \u2028"])
@spoken
async def test_answer_has_the_id_of_its_request_type_and_all(id):
    """[result.same-id] [error.same-id] [result.field] [jsonrpc.method-not-found]"""
    client = await Client(MCPServer("test")).connect()
    answer = await client.post(request(id, "ping"))
    assert answer.message == {"jsonrpc": "2.0", "id": id, "result": {}}
    answer = await client.post(request(id, "nope"))
    assert (answer.status, answer.message) == (200, error(-32601, "Method not found: nope", id=id))


@spoken
async def test_error_has_the_id_of_its_request_wherever_that_could_be_read():
    """[error.same-id] [error.code-message]"""
    client = await Client(MCPServer("test")).connect()
    answer = await client.post(request(5, "ping", _meta="not an object"))
    assert (answer.status, answer.message) == (200, error(-32602, "params._meta must be an object", id=5))


@pytest.mark.parametrize("data", [{1, 2}, {"size": float("nan")}, object()])
@spoken
async def test_error_whose_data_has_no_json_form_is_answered_without_its_data(data, caplog):
    """[error.code-message] [error.same-id] In both eras; the author reads in the log what is missing."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def fail() -> None:
        raise RPCError(-32000, "bad", data)

    for client in (await Client(mcp).connect(), StatelessClient(mcp)):
        caplog.clear()
        answer = await client.call("fail", id="mine")
        assert (answer.status, answer.message) == (200, error(-32000, "bad", id="mine"))
        assert not mcp.calls
        assert caplog.text.count("the data of an RPCError cannot be sent") == 1


@spoken
async def test_error_that_handlers_share_has_the_number_of_each_clients_era():
    """[resource.not-found-invalid-params] [resource.not-found] Whoever came before."""
    mcp, missing = MCPServer("test"), RPCError(RESOURCE_NOT_FOUND, "no such note")

    @mcp.resource("note://{name}")
    async def note(name: str) -> str:
        raise missing

    session, stateless = await Client(mcp).connect(), StatelessClient(mcp)
    for client, status, code in [(stateless, 400, -32602), (session, 200, -32002), (stateless, 400, -32602)]:
        answer = await client.request("resources/read", {"uri": "note://a"}, id="mine")
        assert (answer.status, answer.message) == (status, error(code, "no such note", id="mine"))


@pytest.mark.parametrize("sessions", ["one session", "two sessions"])
@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, "1"), ("1", 1), ("same", "same")])
@pytest.mark.parametrize("accept", [JSON_ONLY, STREAM_ONLY])
@spoken
async def test_two_calls_in_flight_with_one_id_each_get_their_own_answer(accept, first, second, sessions):
    """[id.by-exchange] [result.same-id] claude.ai numbers every request 1: ids say nothing of whose answer it is."""
    mcp, gates = MCPServer("test"), {"red": asyncio.Event(), "green": asyncio.Event()}

    @mcp.tool()
    async def wait(color: str) -> str:
        await gates[color].wait()
        return color

    alice = await Client(mcp).connect()
    bob = alice if sessions == "one session" else await Client(mcp).connect()
    red = asyncio.create_task(alice.call("wait", {"color": "red"}, id=first, accept=accept))
    green = asyncio.create_task(bob.call("wait", {"color": "green"}, id=second, accept=accept))
    await until(lambda: len(mcp.calls) == 2)
    gates["green"].set()  # the second is done first
    assert (await green).message == result(second, "green")
    assert not red.done()
    gates["red"].set()
    assert (await red).message == result(first, "red")


# --- Which form the answer takes ----------------------------------------------------------------------


@spoken
async def test_quick_call_is_answered_by_json():
    """[reply.decided-late] [post.answer-json-or-sse] Waiting a little does not make a stream of it."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def quick() -> str:
        await asyncio.sleep(0)
        return "done"

    answer = await (await Client(mcp).connect()).call("quick")
    assert answer.reply.headers == (("Content-Type", "application/json"),)
    assert answer.message == result(2, "done")


@spoken
async def test_silent_call_becomes_a_stream_after_sse_after_seconds():
    """[reply.decided-late] [stream.response-arrives] So that heartbeats can tell a proxy that all is well."""
    mcp, go = MCPServer("test", limits=Limits(sse_after_seconds=0)), asyncio.Event()

    @mcp.tool()
    async def slow() -> str:
        await go.wait()
        return "done"

    client = await Client(mcp).connect()
    answer = await client.request("tools/call", {"name": "slow"})
    assert (answer.status, answer.headers) == (
        200,
        {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"},
    )
    assert answer.page.messages == []
    go.set()
    assert await answer.page.wait_end() == [result(2, "done")]


@spoken
async def test_json_only_client_gets_one_json_body_from_a_slow_and_chatty_tool():
    """[post.answer-json-or-sse] What came before the result is left out, and the result arrives."""
    mcp, go = MCPServer("test", limits=Limits(sse_after_seconds=0)), asyncio.Event()

    @mcp.tool()
    async def chat(ctx: Context) -> str:
        await ctx.report_progress(1)
        await ctx.info("hello")
        await go.wait()
        await ctx.info("again")
        return "done"

    client = await Client(mcp).connect()
    params = {"name": "chat", "_meta": {"progressToken": 1}}
    call = asyncio.create_task(client.request("tools/call", params, accept=JSON_ONLY))
    await until(lambda: mcp.calls)
    await asyncio.sleep(0)
    go.set()
    answer = await call
    assert answer.reply.headers == (("Content-Type", "application/json"),)
    assert answer.message == result(2, "done")


@every_revision
@spoken
async def test_stream_only_client_gets_a_stream_for_everything_quick_or_wrong(version):
    """[post.answer-json-or-sse] An Anthropic proxy sends only text/event-stream, from initialize on."""
    mcp = MCPServer("test")
    client = Client(mcp)
    client.headers["accept"] = STREAM_ONLY
    answer = await client.request("initialize", INITIALIZE | {"protocolVersion": version})
    assert answer.is_stream and answer.page.ended and answer.result["protocolVersion"] == version
    client.headers["mcp-session-id"] = answer.headers["mcp-session-id"]

    answer = await client.request("ping")
    assert answer.headers["content-type"] == "text/event-stream"
    assert await answer.page.wait_end() == [{"jsonrpc": "2.0", "id": 2, "result": {}}]
    answer = await client.request("nope")
    assert await answer.page.wait_end() == [error(-32601, "Method not found: nope", id=3)]
    assert (await client.notify("notifications/initialized")).status == 202  # this is no request


@every_revision
@spoken
async def test_only_a_2025_11_25_stream_begins_with_an_empty_event(version):
    """[stream.prime] [stream.unprimed] Older clients parse an empty data field as a message, and fail."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def chat(ctx: Context) -> str:
        await ctx.info("hello")
        return "done"

    def first_event(name: str, number: int) -> str:
        return f"retry: 1000\nid: {name}-{number}\ndata: \n\n" if version == "2025-11-25" else ":\n\n"

    def name_of(answer: Answer) -> str:
        return answer.page.events[-1]["id"].partition("-")[0]

    client = await Client(mcp).connect(version)
    listening, call = await client.get(), await client.call("chat")
    first_bytes = listening.page.text
    mcp.notify_tools_changed()
    await listening.page.wait_messages(1)
    assert first_bytes == first_event(name_of(listening), 0)  # they come at once, whatever the revision
    name = name_of(call)
    assert call.page.text.startswith(first_event(name, 0))
    assert (await client.get(f"{name}-1")).page.text.startswith(first_event(name, 1))
    empty = [event for event in call.page.events if not event["data"]]
    assert len(empty) == (version == "2025-11-25")


# --- What belongs to a call goes down its own stream --------------------------------------------------


@every_revision
@pytest.mark.parametrize("listens", [False, True], ids=["without GET", "beside GET"])
@pytest.mark.parametrize("method", ["tools/call", "resources/read", "prompts/get"])
@spoken
async def test_progress_log_and_questions_go_down_the_stream_of_their_call(method, listens, version):
    """[stream.related-only] [get.unrelated-only] [get.no-response] [stream.no-broadcast]"""
    mcp = MCPServer("test")

    async def talk(ctx: Context) -> str:
        await ctx.report_progress(1, 2, "half")
        await ctx.info("asking")
        (root,) = await ctx.list_roots()
        return root["uri"]

    mcp.add_tool(talk, "talk")
    mcp.add_resource(talk, "test://talk")
    mcp.add_prompt(talk, "talk")
    client = await Client(mcp).connect(version, {"roots": {}})
    listening = await client.get() if listens else None

    params = {"uri": "test://talk"} if method == "resources/read" else {"name": "talk"}
    answer = await client.request(method, params | {"_meta": {"progressToken": "t"}}, id=5)
    asked = (await answer.page.wait_messages(3))[2]
    assert (await client.respond(asked, {"roots": [{"uri": "file:///home"}]})).status == 202
    *before, last = await answer.page.wait_end()
    assert before == [
        notification("progress", progressToken="t", progress=1, total=2, message="half"),
        said("asking"),
        {"jsonrpc": "2.0", "id": 1, "method": "roots/list", "params": {}},
    ]
    assert last["id"] == 5 and "file:///home" in str(last["result"])
    if listening:
        assert listening.page.messages == [] and not listening.page.ended


@pytest.mark.parametrize("token", [0, "", "t", 7, "7"])
@spoken
async def test_progress_carries_the_token_of_its_request(token):
    """[progress.token-type] [progress.active-token-only] 0 and '' are tokens as good as any."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> str:
        for step in (1, 2, 3):
            await ctx.report_progress(step, 3)
        return "done"

    client = await Client(mcp).connect()
    answer = await client.request("tools/call", {"name": "work", "_meta": {"progressToken": token}}, id=1)
    steps = [notification("progress", progressToken=token, progress=step, total=3) for step in (1, 2, 3)]
    assert await answer.page.wait_end() == [*steps, result(1, "done")]


@pytest.mark.parametrize("meta", [None, {}, {"progressToken": None}, {"progressToken": True}, {"progressToken": 1.5}])
@spoken
async def test_no_progress_is_sent_where_no_token_was_given(meta):
    """[progress.active-token-only] [progress.token-type] The call stays quick: one JSON body."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> str:
        await ctx.report_progress(1)
        return "done"

    client = await Client(mcp).connect()
    answer = await client.request("tools/call", {"name": "work"} | ({} if meta is None else {"_meta": meta}), id=1)
    assert not answer.is_stream and answer.message == result(1, "done")


@pytest.mark.parametrize("accept", [JSON_ONLY, STREAM_ONLY, "*/*"])
@spoken
async def test_what_a_handler_says_after_its_result_is_dropped(accept):
    """[progress.stop] It does not stray to another call with the same token, nor to the GET stream."""
    mcp, contexts, answers = MCPServer("test"), [], []

    @mcp.tool()
    async def work(ctx: Context) -> str:
        contexts.append(ctx)
        if len(contexts) == 2:
            await contexts[0].report_progress(1)
            await contexts[0].info("too late")
        return "done"

    client = await Client(mcp).connect()
    listening = await client.get()
    for id in (1, 2):
        params = {"name": "work", "_meta": {"progressToken": "t"}}
        answer = await (await client.request("tools/call", params, id=id, accept=accept)).complete()
        assert (answer.page.messages if answer.is_stream else [answer.message]) == [result(id, "done")]
        assert answer.is_stream == (accept == STREAM_ONLY)
        answers.append(answer)
    assert listening.page.messages == []
    for answer in answers[: 2 if accept == STREAM_ONLY else 0]:  # nor is there more for a client that comes back
        again = await client.get(answer.page.events[-1]["id"])
        assert await again.page.wait_end() == []


# --- Cancelling ---------------------------------------------------------------------------------------


@spoken
async def test_cancelled_call_stops_and_its_stream_ends_without_a_response():
    """[cancel.stop] [cancel.no-response]"""
    mcp, seen = MCPServer("test"), []

    @mcp.tool()
    async def wait(ctx: Context) -> None:
        await ctx.info("started")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("stopped")

    client = await Client(mcp).connect()
    answer = await client.request("tools/call", {"name": "wait"}, id=1)
    await answer.page.wait_messages(1)
    cancel = await client.notify("notifications/cancelled", {"requestId": 1, "reason": "bored"})
    assert (cancel.status, cancel.reply.body) == (202, b"")
    assert await answer.page.wait_end() == [said("started")]
    assert seen == ["stopped"] and not mcp.calls
    again = await client.get(answer.page.events[-1]["id"])  # else a client would come back for its response for ever
    assert again.status == 400


@pytest.mark.parametrize("accept", [JSON_ONLY, STREAM_ONLY, "application/json, text/event-stream"])
@spoken
async def test_call_cancelled_before_it_said_anything_is_answered_without_a_response(accept):
    """[cancel.no-response] By a stream that ends, or to a JSON-only client by 202 with no body."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def wait() -> None:
        await asyncio.Event().wait()

    client = await Client(mcp).connect()
    call = asyncio.create_task(client.call("wait", id=1, accept=accept))
    await until(lambda: mcp.calls)
    await client.notify("notifications/cancelled", {"requestId": 1})
    answer = await call
    if accept == JSON_ONLY:
        assert (answer.status, answer.reply.body, answer.headers) == (202, b"", {})
    else:
        assert (answer.status, answer.page.ended, answer.page.messages) == (200, True, [])


@pytest.mark.parametrize("outcome", ["a result", "an error"])
@spoken
async def test_cancelled_call_gets_no_response_whatever_its_handler_makes_of_it(outcome):
    """[cancel.no-response] The client has forgotten the request: a late response is noise to it."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def stubborn(ctx: Context) -> str:
        await ctx.info("started")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if outcome == "an error":
                raise ValueError("interrupted") from None
        return "done all the same"

    client = await Client(mcp).connect()
    answer = await client.request("tools/call", {"name": "stubborn"}, id=1)
    await answer.page.wait_messages(1)
    await client.notify("notifications/cancelled", {"requestId": 1})
    assert await answer.page.wait_end() == [said("started")]


@pytest.mark.parametrize(
    "params",
    [
        {"requestId": 99},  # unknown
        {"requestId": "1"},  # 1 is not "1"
        {"requestId": True},  # nor, though Python thinks so, True
        {"requestId": 1.0},
        {"requestId": 3},  # finished
        {"requestId": None},
        {"requestId": [1]},
        {"requestId": {}},
        {"reason": "bored"},
        {},
        None,
    ],
)
@spoken
async def test_cancellation_that_names_no_call_in_flight_is_ignored(params):
    """[cancel.invalid-ignored] [cancel.race] 202, and the call with id 1 goes on."""
    mcp, go = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await go.wait()
        return "done"

    client = await Client(mcp).connect()
    call = asyncio.create_task(client.call("wait", id=1))
    await until(lambda: mcp.calls)
    assert (await client.request("ping", id=3)).result == {}
    assert (await client.notify("notifications/cancelled", params)).status == 202
    go.set()
    assert (await call).message == result(1, "done")


@spoken
async def test_cancellation_from_another_session_has_no_effect():
    """[cancel.invalid-ignored] Its id 1 is not ours."""
    mcp, go = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await go.wait()
        return "done"

    client, other = await Client(mcp).connect(), await Client(mcp).connect()
    ours = asyncio.create_task(client.call("wait", id=1))
    theirs = asyncio.create_task(other.call("wait", id=1))
    await until(lambda: len(mcp.calls) == 2)
    await other.notify("notifications/cancelled", {"requestId": 1})
    assert (await theirs).page.messages == []
    go.set()
    assert (await ours).message == result(1, "done")


@spoken
async def test_cancellation_of_an_id_that_two_calls_have_hits_neither():
    """[cancel.invalid-ignored] Better both run than the wrong one stops; of 1 and "1" the right one does."""
    mcp, go = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait(n: int) -> str:
        await go.wait()
        return str(n)

    client = await Client(mcp).connect()
    ids = [1, 1, "1"]
    calls = [asyncio.create_task(client.call("wait", {"n": n}, id=id)) for n, id in enumerate(ids)]
    await until(lambda: len(mcp.calls) == 3)
    await client.notify("notifications/cancelled", {"requestId": 1})
    await client.notify("notifications/cancelled", {"requestId": "1"})
    assert (await calls[2]).page.messages == []
    go.set()
    assert [(await call).message for call in calls[:2]] == [result(1, "0"), result(1, "1")]


# --- Connections that break ---------------------------------------------------------------------------


@every_revision
@spoken
async def test_lost_connection_does_not_cancel_and_the_result_waits_for_the_client(version):
    """[disconnect.not-cancel] [resume.replay] [resume.any-origin] The resumed stream is the exact rest, and ends."""
    mcp, go = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def work(ctx: Context) -> str:
        await ctx.info("one")
        await go.wait()
        await ctx.info("two")
        return "done"

    client = await Client(mcp).connect(version)
    answer = await client.request("tools/call", {"name": "work"}, id=1)
    await answer.page.wait_messages(1)
    await drop(answer)
    go.set()
    await until(lambda: not mcp.calls)

    last_seen = answer.page.events[-1]["id"]
    again = await client.get(last_seen)
    assert await again.page.wait_end() == [said("two"), result(1, "done")]
    name, _, number = last_seen.partition("-")
    after = [f"{name}-{int(number) + 1}", f"{name}-{int(number) + 2}"]
    assert [event["id"] for event in again.page.events if event["data"]] == after

    once_more = await client.get(after[0])  # the second connection was lost as well, before its last event
    assert await once_more.page.wait_end() == [result(1, "done")]
    nothing_left = await client.get(after[1])
    assert nothing_left.status == 200 and await nothing_left.page.wait_end() == []


@spoken
async def test_two_interleaved_streams_cut_midway_resume_to_the_exact_rest_of_each():
    """[resume.same-stream-only] [resume.replay] [event.id-unique] [event.id-names-stream]"""
    mcp = MCPServer("test", limits=Limits(sse_after_seconds=0))
    words = {"a": asyncio.Queue(), "b": asyncio.Queue()}

    @mcp.tool()
    async def talk(name: str, ctx: Context) -> str:
        while (word := await words[name].get()) != f"{name}.":
            await ctx.info(word)
        return f"{name} is done"

    async def say(*conversation: str) -> None:
        for word in conversation:
            words[word[0]].put_nowait(word)
            await until(words[word[0]].empty)

    client = await Client(mcp).connect()
    arguments = [{"name": "talk", "arguments": {"name": name}} for name in "ab"]
    a, b = [await client.request("tools/call", params, id=1) for params in arguments]
    await say("a1", "b1", "a2")
    await a.page.wait_messages(2)
    await drop(a)
    await say("b2", "a3", "b3")
    await b.page.wait_messages(3)
    await drop(b)
    await say("a4", "b4", "b.", "a.")
    assert a.page.messages == [said("a1"), said("a2")]
    assert b.page.messages == [said("b1"), said("b2"), said("b3")]

    rest_of_b = await client.get(b.page.events[3]["id"])
    assert await rest_of_b.page.wait_end() == [said("b4"), result(1, "b is done")]
    rest_of_a = await client.get(a.page.events[1]["id"])  # what carried a2 was lost on its way
    assert await rest_of_a.page.wait_end() == [said("a2"), said("a3"), said("a4"), result(1, "a is done")]
    ids = [event["id"] for page in (a.page, b.page) for event in page.events]
    assert len(ids) == len(set(ids)) == 7


@spoken
async def test_client_that_comes_back_while_the_call_runs_takes_over_its_stream():
    """[resume.replay] [stream.no-broadcast] The old connection, a ghost perhaps, is ended and gets nothing more."""
    mcp, go = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def work(ctx: Context) -> str:
        await ctx.info("one")
        await go.wait()
        await ctx.info("two")
        return "done"

    client = await Client(mcp).connect()
    ghost = await client.request("tools/call", {"name": "work"}, id=1)
    await ghost.page.wait_messages(1)
    answer = await client.get(ghost.page.events[0]["id"])
    assert ghost.page.ended
    assert answer.page.messages == [said("one")]
    go.set()
    assert await answer.page.wait_end() == [said("one"), said("two"), result(1, "done")]
    assert ghost.page.messages == [said("one")]


# --- Batches, which only 2025-03-26 has ---------------------------------------------------------------


def batch_server(calls: list[str]) -> MCPServer:
    """A server with a tool that notes its calls, and says so first where it is told to."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def echo(text: str, ctx: Context) -> str:
        calls.append(text)
        if text == "aloud":
            await ctx.info("hear, hear")
        return text

    return mcp


def echo(id: object, text: str) -> dict:
    return request(id, "tools/call", name="echo", arguments={"text": text})


@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "*/*", STREAM_ONLY])
@spoken
async def test_batch_is_answered_by_one_stream_with_a_response_to_each_request(accept):
    """[batch.receive] [batch.every-response] [batch.answer-json-or-sse] [result.same-id] [stream.related-only]"""
    client = await Client(batch_server([])).connect("2025-03-26")
    batch = [
        echo(1, "a"),
        notification("initialized"),
        request("1", "ping"),
        notification("unknown"),
        request(1, "nope"),
        echo(1, "aloud"),
    ]
    answer = await client.post(batch, accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, STREAM_ONLY)
    assert await answer.page.wait_end() == [
        result(1, "a"),
        {"jsonrpc": "2.0", "id": "1", "result": {}},
        error(-32601, "Method not found: nope", id=1),
        said("hear, hear"),
        result(1, "aloud"),
    ]
    one = await client.post([request(1, "ping")], accept=accept)
    assert await one.page.wait_end() == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


@spoken
async def test_batch_from_a_client_that_takes_no_stream_is_406_and_nothing_of_it_runs():
    """[batch.answer-json-or-sse] [reply.not-acceptable] A batch that brings no request needs no stream."""
    calls = []
    client = await Client(batch_server(calls)).connect("2025-03-26")
    answer = await client.post([echo(1, "a")], accept=JSON_ONLY)
    words = "a batch is answered by an event stream: Accept must allow one"
    assert (answer.status, answer.message) == (406, error(-32600, words, id=None)) and calls == []
    assert (await client.post([notification("initialized")], accept=JSON_ONLY)).status == 202


@spoken
async def test_calls_of_a_batch_run_side_by_side_and_can_be_cancelled_one_by_one():
    """[batch.every-response] [cancel.stop] [cancel.no-response]"""
    mcp, go = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait(n: int) -> str:
        await go.wait()
        return str(n)

    client = await Client(mcp).connect("2025-03-26")
    answer = await client.post([request(n, "tools/call", name="wait", arguments={"n": n}) for n in range(3)])
    await until(lambda: len(mcp.calls) == 3)
    await client.post([notification("cancelled", requestId=1)])
    go.set()
    assert await answer.page.wait_end() == [result(0, "0"), result(2, "2")]


@spoken
async def test_batch_without_a_request_is_202_with_no_body():
    """[batch.no-request-202] Notifications, or responses: here to a question of ours."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def look(ctx: Context) -> str:
        return (await ctx.list_roots())[0]["uri"]

    client = await Client(mcp).connect("2025-03-26", {"roots": {}})
    answer = await client.post([notification("initialized"), notification("unknown")])
    assert (answer.status, answer.reply.body, answer.headers) == (202, b"", {})

    call = await client.request("tools/call", {"name": "look"}, id=1)
    (asked,) = await call.page.wait_messages(1)
    roots = {"roots": [{"uri": "file:///home"}]}
    response = {"jsonrpc": "2.0", "id": asked["id"], "result": roots}
    answer = await client.post([response | {"id": 99}, response, response])  # nobody's, ours, and ours once more
    assert (answer.status, answer.reply.body, answer.headers) == (202, b"", {})
    assert (await call.complete()).message == result(1, "file:///home")


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ([], "a batch holds 1 to 1000 messages, got 0"),
        ([request(n, "ping") for n in range(1001)], "a batch holds 1 to 1000 messages, got 1001"),
        ([echo(1, "a"), request(2, "initialize", **INITIALIZE)], "initialize must not be part of a batch"),
        ([echo(1, "a"), {"jsonrpc": "2.0", "id": 1, "result": {}}], "not both"),
        ([echo(1, "a"), 7], "expected one JSON-RPC message"),
        ([echo(1, "a"), [echo(2, "b")]], "expected one JSON-RPC message"),
        ([echo(1, "a"), {"id": 2, "method": "ping"}], "expected one JSON-RPC message"),
        ([echo(1, "a"), {"jsonrpc": "2.0", "id": None, "method": "ping"}], "id must be a string or an integer"),
    ],
)
@spoken
async def test_batch_that_is_wrong_in_one_place_is_400_and_nothing_of_it_runs(batch, words):
    """[batch.no-initialize] [batch.requests-or-responses] [jsonrpc.empty-batch] [error.id-required]"""
    calls = []
    mcp = batch_server(calls)
    client = await Client(mcp).connect("2025-03-26")
    answer = await client.post(batch)
    text = answer.error["message"]
    assert (answer.status, answer.message) == (400, error(-32600, text, id=None)) and words in text
    assert calls == [] and len(mcp.sessions.by_id) == 1


@spoken
async def test_batch_counts_against_the_calls_in_flight():
    """[limits.calls] [tool.rate-limit] Of 4 calls, a batch takes 4, or 3 beside one that runs; 5 never fit."""
    mcp, go = MCPServer("test", limits=Limits(calls=4)), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await go.wait()
        return "done"

    client = await Client(mcp).connect("2025-03-26")
    pings = [request(n, "ping") for n in range(5)]
    assert (await client.post(pings)).status == 400
    assert len((await (await client.post(pings[:4])).complete()).page.messages) == 4
    call = asyncio.create_task(client.call("wait", id=1))
    await until(lambda: mcp.calls)
    assert (await client.post(pings[:4])).status == 429
    assert len((await (await client.post(pings[:3])).complete()).page.messages) == 3
    go.set()
    assert (await call).message == result(1, "done")


@pytest.mark.parametrize(("version", "id"), [("2025-06-18", {"id": None}), ("2025-11-25", {})])
@pytest.mark.parametrize("batch", [[], [echo(1, "a")], [notification("initialized")]])
@spoken
async def test_batch_is_refused_with_400_in_a_session_of_a_later_revision(batch, version, id):
    """[post.single-message] [operation.negotiated-version] [operation.negotiated-only]"""
    calls = []
    client = await Client(batch_server(calls)).connect(version)
    answer = await client.post(batch)
    text = f"expected one JSON-RPC message: revision {version} has no batches"
    assert (answer.status, answer.message) == (400, error(-32600, text, **id))
    assert calls == []
