"""Section 6: what a client sees of its session: how it opens, whose it is, what it holds, and when it ends."""

import asyncio
import json
import re

import pytest
from inmemory import Answer, Client, Clock, spoken, until
from wire import call, ping, pong

from streamhttp_mcp import Context, Limits, MCPServer, Request

INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "inmemory", "version": "1"}}


def check_refusal(answer: Answer, status: int, words: str) -> None:
    """The answer is a JSON-RPC error without an id, and its message holds these words."""
    text = answer.message["error"]["message"]
    assert (answer.status, answer.message) == (status, {"jsonrpc": "2.0", "error": {"code": -32600, "message": text}})
    assert words in text
    assert "mcp-session-id" not in answer.headers


# The four ways to use a session. Each takes the client, an event id and header fields of its own.
every_use = pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda client, event_id, **fields: client.request("ping", **fields), id="POST"),
        pytest.param(lambda client, event_id, **fields: client.get(**fields), id="GET"),
        pytest.param(lambda client, event_id, **fields: client.http("DELETE", **fields), id="DELETE"),
        pytest.param(lambda client, event_id, **fields: client.get(event_id, **fields), id="resume"),
    ],
)


# --- Opening ------------------------------------------------------------------------------------------


@spoken
async def test_initialize_gives_each_client_a_fresh_random_id_and_never_the_one_it_asks_for():
    """[session.id-header] [session.id-secure] [session.id-visible-ascii]"""
    client = Client(MCPServer("test"))
    answers = [await client.request("initialize", INITIALIZE, mcp_session_id="mine") for _ in range(100)]
    ids = {answer.headers["mcp-session-id"] for answer in answers}
    assert len(ids) == 100 and "mine" not in ids
    for session_id in ids:  # 43 letters of 6 bits hold 256 bits
        assert re.fullmatch(r"[\x21-\x7e]{43,}", session_id)


@pytest.mark.parametrize(
    "fields",
    [
        {"mcp_session_id": "never-existed"},
        {"mcp_session_id": ""},
        {"mcp_protocol_version": "2099-01-01"},
        {"mcp_protocol_version": "not a date"},
        {"mcp_session_id": "never-existed", "mcp_protocol_version": "2024-11-05"},
    ],
)
@spoken
async def test_initialize_opens_a_session_whatever_session_or_version_it_names(fields):
    """[initialize.always] A client that lost its session often sends the dead id along."""
    answer = await Client(MCPServer("test")).request("initialize", INITIALIZE, **fields)
    assert answer.status == 200
    assert answer.result["protocolVersion"] == "2025-11-25"
    assert answer.headers["mcp-session-id"] != fields.get("mcp_session_id")


@spoken
async def test_initialize_in_a_running_session_opens_another_and_leaves_the_first_alone():
    """[initialize.always] claude.ai sends `initialize` several times."""
    client = await Client(MCPServer("test")).connect()
    answer = await client.request("initialize", INITIALIZE)
    assert answer.headers["mcp-session-id"] != client.headers["mcp-session-id"]
    assert (await client.request("ping")).result == {}
    assert (await client.request("ping", mcp_session_id=answer.headers["mcp-session-id"])).result == {}


@spoken
async def test_initialize_after_delete_with_the_dead_id_opens_a_new_session():
    """[initialize.always] [session.delete-ends]"""
    client = await Client(MCPServer("test")).connect()
    dead = client.headers["mcp-session-id"]
    await client.delete()
    await client.connect()
    assert client.headers["mcp-session-id"] != dead
    assert (await client.request("ping")).result == {}


# --- No session ---------------------------------------------------------------------------------------


@every_use
@spoken
async def test_request_without_a_session_id_is_400(use):
    """[session.missing-400]"""
    client = await Client(MCPServer("test")).connect()
    answer = await use(client, "0123456789abcdef-1", mcp_session_id=None)
    check_refusal(answer, 400, "Mcp-Session-Id is missing")


@pytest.mark.parametrize("fate", ["unknown", "deleted", "expired"])
@every_use
@spoken
async def test_request_for_a_session_that_is_not_there_is_404(use, fate):
    """[session.unknown-404] The 404 is what makes a client initialize again."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)
    client = await Client(mcp).connect()
    opened = await client.get()
    event_id = opened.page.events[0]["id"]
    opened.page.leave()
    assert (await client.get(event_id)).status == 200
    (await client.get()).page.leave()

    if fate == "unknown":
        client.headers["mcp-session-id"] = "garbage"
    elif fate == "deleted":
        await client.delete()
    else:
        clock.turn(300)
        mcp.sweep()
    check_refusal(await use(client, event_id), 404, "no such session")


@every_use
@spoken
async def test_session_of_another_principal_does_not_exist(use):
    """[session.principal] Knowing a session id proves nothing: who did not open the session gets the same 404."""
    mcp = MCPServer("test")

    def user(principal: str | None) -> Client:
        """A client that the gate has recognized."""
        client = Client(mcp)
        client.principal = principal
        return client

    alice = await user("alice").connect()
    event_id = (await alice.get()).page.events[0]["id"]
    for thief in (user("mallory"), user(None)):
        thief.headers = dict(alice.headers)
        check_refusal(await use(thief, event_id), 404, "no such session")
    assert (await use(alice, event_id)).status == 200


# --- Expiry -------------------------------------------------------------------------------------------


@spoken
async def test_session_ends_when_nobody_uses_it_for_session_timeout_seconds():
    """[session.expiry] [session.unknown-404] Every request counts as use, a notification too."""
    clock = Clock()
    mcp = MCPServer("test", session_timeout=60, clock=clock)
    client, idle = await Client(mcp).connect(), await Client(mcp).connect()
    for use in (client.request("ping"), client.notify("notifications/initialized"), client.request("nope")):
        clock.turn(59.5)
        mcp.sweep()
        assert (await use).status in (200, 202)
    assert (await idle.request("ping")).status == 404
    clock.turn(60)
    mcp.sweep()
    assert (await client.request("ping")).status == 404
    assert not mcp.sessions.by_id


@spoken
async def test_session_with_a_call_in_flight_does_not_expire_and_then_lives_300_s_more():
    """[session.expiry]"""
    clock, go = Clock(), asyncio.Event()
    mcp = MCPServer("test", clock=clock)

    @mcp.tool()
    async def wait() -> str:
        await go.wait()
        return "done"

    client = await Client(mcp).connect()
    call = asyncio.create_task(client.call("wait"))
    await until(lambda: mcp.calls)
    for _ in range(10):
        clock.turn(1000)
        mcp.sweep()
    clock.turn(200)  # the sweep is not what keeps it: it ends 200 s after the last one
    go.set()
    assert (await call).result["content"] == [{"type": "text", "text": "done"}]
    clock.turn(299)
    mcp.sweep()
    assert list(mcp.sessions.by_id) == [client.headers["mcp-session-id"]]
    clock.turn(1)
    mcp.sweep()
    assert (await client.request("ping")).status == 404


@pytest.mark.parametrize("resumed", [False, True])
@spoken
async def test_session_with_a_stream_attached_does_not_expire_and_then_lives_300_s_more(resumed):
    """[session.expiry] A client that only listens is there all the same."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)
    client = await Client(mcp).connect()
    stream = await client.get()
    if resumed:
        stream = await client.get(stream.page.events[0]["id"])
    for _ in range(10):
        clock.turn(1000)
        mcp.sweep()
    clock.turn(200)
    stream.page.leave()
    clock.turn(299)
    mcp.sweep()
    assert list(mcp.sessions.by_id) == [client.headers["mcp-session-id"]]
    clock.turn(1)
    mcp.sweep()
    assert (await client.request("ping")).status == 404


@spoken
async def test_a_busy_session_does_not_keep_an_idle_one_that_was_used_after_it():
    """[session.expiry] The sweep does not stop at a session that is old and alive."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)
    busy, idle = await Client(mcp).connect(), await Client(mcp).connect()
    await busy.get()
    await idle.request("ping")
    clock.turn(300)
    mcp.sweep()
    assert list(mcp.sessions.by_id) == [busy.headers["mcp-session-id"]]


@spoken
async def test_session_that_is_overdue_stays_just_as_long_as_it_is_in_use():
    """[session.expiry] And the sweep comes to its end, though such a session is always overdue."""
    looks = iter(range(100))  # a clock that stands still, and can be read a hundred times

    def clock() -> float:
        assert next(looks, None) is not None, "the sweep runs in circles"
        return 0.0

    mcp = MCPServer("test", session_timeout=1, clock=clock)
    mcp.sessions.timeout = 0  # which no author may choose
    client = await Client(mcp).connect()
    listening = await client.get()
    mcp.sweep()
    assert list(mcp.sessions.by_id) == [client.headers["mcp-session-id"]]
    listening.page.leave()
    mcp.sweep()
    assert not mcp.sessions.by_id


# --- Bounds -------------------------------------------------------------------------------------------


@spoken
async def test_initialize_beyond_the_cap_ends_the_session_that_was_unused_for_longest():
    """[limits.sessions] [session.unknown-404] Somebody who only opens sessions neither fills the memory nor locks others out."""
    mcp = MCPServer("test", limits=Limits(sessions=3))
    first, second, third = [await Client(mcp).connect() for _ in range(3)]
    await first.request("ping")
    fourth = await Client(mcp).connect()
    clients = first, second, third, fourth
    assert [(await client.request("ping")).status for client in clients] == [200, 404, 200, 200]
    assert len(mcp.sessions.by_id) == 3


@spoken
async def test_initialize_is_503_with_retry_after_only_while_all_sessions_are_in_use():
    """[limits.sessions] A call in flight and a stream that is read are use."""
    mcp, go = MCPServer("test", limits=Limits(sessions=2)), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await go.wait()
        return "done"

    calls, listens, late = await Client(mcp).connect(), await Client(mcp).connect(), Client(mcp)
    call = asyncio.create_task(calls.call("wait"))
    await listens.get()
    for _ in range(100):
        refused = await late.request("initialize", INITIALIZE)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert refused.message == {
            "jsonrpc": "2.0",
            "id": None,
            "error": {"code": -32600, "message": "all sessions are in use: try again later"},
        }
        assert "mcp-session-id" not in refused.headers
    go.set()
    assert (await call).result["content"][0]["text"] == "done"
    assert (await late.request("initialize", INITIALIZE)).status == 200
    assert (await calls.request("ping")).status == 404 and (await listens.request("ping")).status == 200


@spoken
async def test_unused_sessions_end_for_memory_only_where_that_helps():
    """[limits.sessions] [limits.memory] Twenty bystanders ended, and the newcomer was refused all the same."""
    mcp = MCPServer("test", limits=Limits(server_bytes=1_000_000, session_bytes=400_000))

    @mcp.tool()
    async def large(ctx: Context) -> str:
        await ctx.info("begins")
        return "x" * 390_000

    @mcp.tool()
    async def wait() -> None:
        await asyncio.Event().wait()

    bystanders = [await Client(mcp).connect() for _ in range(20)]
    running = []
    for number in range(1, 4):  # each has a call that runs, and an answer that nobody reads
        busy = await Client(mcp).connect()
        running.append(asyncio.create_task(busy.call("wait")))
        await until(lambda number=number: len(mcp.calls) == number)
        body = call(2, "large")
        await mcp.handle(Request("POST", "/mcp", busy.headers, json.dumps(body).encode()))
        await until(lambda number=number: len(mcp.calls) == number)
    newcomer = await Client(mcp).request("initialize", INITIALIZE)
    assert (newcomer.status, newcomer.headers["retry-after"]) == (503, "1")
    assert "not read yet" in newcomer.message["error"]["message"]
    assert {(await client.request("ping")).status for client in bystanders} == {503}  # and not 404
    for task in running:
        task.cancel()


@spoken
async def test_session_that_ends_beside_its_large_answer_leaves_nothing_counted():
    """[session.end-frees] [limits.memory] The bytes were taken off twice, which raised the limit for good."""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def large() -> str:
        await gate.wait()
        return "x" * 1_000_000

    client = await Client(mcp).connect()
    answer = asyncio.create_task(client.call("large"))
    await until(lambda: mcp.calls)
    gate.set()
    await until(lambda: not mcp.calls)  # the call has answered, and its POST has not gone on yet
    assert (await client.delete()).status == 200
    await answer
    assert mcp.account.used == 0


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18"])
@spoken
async def test_answer_that_nobody_can_come_back_for_is_not_kept(version):
    """[stream.unprimed] [limits.backlog] The client left before it saw an event id. Its sixth call got 429."""
    mcp, gates = MCPServer("test", limits=Limits(sse_after_seconds=0, session_bytes=300_000)), []

    @mcp.tool()
    async def large() -> str:
        gates.append(asyncio.Event())
        await gates[-1].wait()
        return "x" * 60_000

    client = await Client(mcp).connect(version)
    held = mcp.account.used
    for _ in range(8):
        answer = await client.request("tools/call", {"name": "large"})
        assert answer.is_stream
        answer.page.leave()
        gates[-1].set()
        await until(lambda: not mcp.calls)
    assert mcp.account.used == held


@spoken
async def test_refused_requests_leave_nothing_behind_and_name_no_session():
    """[session.id-header] Half of the sessions that one production server held came from refused requests."""
    mcp = MCPServer("test")
    client = await Client(mcp).connect()
    held = mcp.sessions.used
    refused = [
        await client.request("initialize", INITIALIZE, host="evil.example"),
        await client.request("initialize", INITIALIZE, origin="http://evil.example"),
        await client.request("initialize", INITIALIZE, accept="text/html"),
        await client.request("initialize", INITIALIZE, content_type="text/plain"),
        await client.http("POST", b'{"jsonrpc":"2.0","id":1,"method":"initialize"'),
        await client.post([{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}]),
        await client.request("ping", mcp_protocol_version="1999-01-01"),
        await client.request("ping", mcp_session_id="garbage"),
        await client.request("ping", mcp_session_id=None),
        await client.get(accept="application/json"),
        await client.get("garbage-1"),
        await client.http("PUT"),
        await client.http("POST", target="/sse"),
    ]
    statuses = [answer.status for answer in refused]
    assert statuses == [403, 403, 406, 415, 400, 400, 400, 404, 400, 406, 400, 405, 404]
    assert not [answer for answer in refused if "mcp-session-id" in answer.headers]
    assert list(mcp.sessions.by_id.values()) == [client.session]
    assert (client.session.calls, client.session.streams, client.session.questions) == (set(), {}, {})
    assert mcp.sessions.used == held


@spoken
async def test_call_beyond_the_limit_of_its_session_is_429_with_retry_after():
    """[limits.calls] [tool.rate-limit] [completion.rate-limit]

    The others are answered, and one that is cancelled makes room. Another session has a limit of its own.
    """
    mcp, go = MCPServer("test", limits=Limits(calls=64)), asyncio.Event()

    @mcp.tool()
    async def wait(n: int) -> str:
        await go.wait()
        return str(n)

    client = await Client(mcp).connect()
    calls = [asyncio.create_task(client.call("wait", {"n": n}, id=f"call {n}")) for n in range(64)]
    await until(lambda: len(mcp.calls) == 64)
    refused = await client.call("wait", {"n": 64})
    check_refusal(refused, 429, "64 calls in flight")
    assert refused.headers["retry-after"] == "1"
    other = await Client(mcp).connect()
    assert (await other.request("ping")).result == {}

    await client.notify("notifications/cancelled", {"requestId": "call 0"})
    await until(lambda: len(mcp.calls) == 63)
    calls[0] = asyncio.create_task(client.call("wait", {"n": 0}))
    await until(lambda: len(mcp.calls) == 64)
    go.set()
    assert [(await call).result["content"][0]["text"] for call in calls] == [str(n) for n in range(64)]


@spoken
async def test_calls_that_arrive_in_the_same_moment_are_counted_too():
    """[limits.calls] [tool.rate-limit] What counts is that a call was taken, not that its handler has begun."""
    mcp, go = MCPServer("test", limits=Limits(calls=2, sse_after_seconds=0)), asyncio.Event()

    @mcp.tool()
    async def wait() -> None:
        await go.wait()

    client = await Client(mcp).connect()
    answers = await asyncio.gather(*[client.request("tools/call", {"name": "wait"}) for _ in range(5)])
    assert [answer.status for answer in answers] == [200, 200, 429, 429, 429]
    go.set()
    for answer in answers[:2]:
        assert (await answer.complete()).message["id"] == answers.index(answer) + 2


@spoken
async def test_client_that_has_read_its_answers_may_call_again():
    """[limits.backlog] Who leaves too many unread gets 429, and nothing of them is lost."""
    mcp, go = MCPServer("test", limits=Limits(session_bytes=20_000, streams=100)), asyncio.Event()

    @mcp.tool()
    async def chat(ctx: Context) -> str:
        await ctx.info("hello")
        await go.wait()
        return "x" * 1000

    client, event_ids = await Client(mcp).connect(), []
    while (answer := await client.request("tools/call", {"name": "chat"})).status == 200:
        event_ids.append(answer.page.events[0]["id"])
        answer.page.leave()
        go.set()
        await until(lambda: not mcp.calls)
        go.clear()
        assert len(event_ids) < 30
    check_refusal(answer, 429, "wait to be read")
    assert answer.headers["retry-after"] == "1"
    for event_id in event_ids:
        page = (await client.get(event_id)).page
        assert (await page.wait_end())[-1]["result"]["content"][0]["text"] == "x" * 1000
    go.set()
    for _ in range(30):
        assert len((await client.call("chat")).page.messages) == 2
    assert client.session.used <= 20_000


@spoken
async def test_only_the_newest_finished_streams_are_kept_for_a_client_that_comes_back():
    """[limits.streams] [resume.replay]"""
    mcp = MCPServer("test", limits=Limits(streams=3))

    @mcp.tool()
    async def chat(ctx: Context) -> str:
        await ctx.info("hello")
        return "done"

    client = await Client(mcp).connect()
    event_ids = [(await client.call("chat")).page.events[0]["id"] for _ in range(20)]
    again = [await client.get(event_id) for event_id in event_ids]
    assert [answer.status for answer in again] == [400] * 17 + [200] * 3
    assert [len(answer.page.messages) for answer in again[17:]] == [2, 2, 2]
    assert len(client.session.streams) <= 3


# --- Ending -------------------------------------------------------------------------------------------


@spoken
async def test_delete_cancels_what_runs_and_ends_every_stream():
    """[session.delete-ends] [session.end-frees] [cancel.no-response]"""
    mcp, seen = MCPServer("test", limits=Limits(sse_after_seconds=0)), []

    @mcp.tool()
    async def wait() -> str:
        seen.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("stopped")
        return "done"

    client = await Client(mcp).connect()
    standalone = await client.get()
    streamed = await client.request("tools/call", {"name": "wait"})
    silent = asyncio.create_task(client.call("wait", accept="application/json"))
    await until(lambda: seen == ["started", "started"])

    answer = await client.delete()
    assert (answer.status, answer.reply.body) == (200, b"")
    assert await standalone.page.wait_end() == []
    assert await streamed.page.wait_end() == []
    assert ((await silent).status, (await silent).reply.body) == (202, b"")
    assert seen == ["started", "started", "stopped", "stopped"]
    assert not mcp.calls and not mcp.sessions.by_id


@spoken
async def test_batch_that_delete_interrupts_is_not_kept_for_a_client_that_cannot_come_back():
    """[session.end-frees] [limits.delivered] What was answered by then is still sent."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def wait() -> str:
        return await asyncio.Future()

    client = await Client(mcp).connect("2025-03-26")
    batch = [ping(1), call(2, "wait")]
    answer = asyncio.create_task(client.post(batch, accept="text/event-stream"))
    await until(lambda: len(mcp.calls) == 1 and next(iter(mcp.calls)).request_id == 2)
    await client.delete()
    assert await (await answer).page.wait_end() == [pong(1)]
    assert mcp.sessions.used == 0


@spoken
async def test_delete_also_cancels_a_call_that_arrived_in_the_same_moment():
    """[session.delete-ends] [session.end-frees] No handler runs on, or begins, in a session that has ended."""
    mcp, seen = MCPServer("test"), []

    @mcp.tool()
    async def wait() -> None:
        seen.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("stopped")

    client = await Client(mcp).connect()
    call = asyncio.create_task(client.call("wait"))
    deleted = await asyncio.create_task(client.delete())  # its task runs right after the call's
    assert deleted.status == 200
    await until(lambda: call.done() and not mcp.calls)
    assert seen in ([], ["started", "stopped"])
    assert (await call).page.messages == []


# --- Streams to resume, and nothing of others ---------------------------------------------------------


@spoken
async def test_last_event_id_that_names_no_event_of_the_session_is_400():
    """[resume.same-stream-only] [event.id-names-stream] Not a silent empty stream, and nobody else's events."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def chat(ctx: Context) -> str:
        await ctx.info("hello")
        return "done"

    client, other = await Client(mcp).connect(), await Client(mcp).connect()
    name = (await client.call("chat")).page.events[0]["id"].partition("-")[0]  # its last event is 2
    foreign = [(await other.call("chat")).page.events[0]["id"], (await other.get()).page.events[0]["id"]]
    numbers = ["", "3", "-1", "+1", "1_0", "1 ", "\u0661", "9" * 5000, "0" * 30 + "99", "0" * 5000]
    wrong = ["garbage", "-", "-0", "0123456789abcdef-1", name, *(f"{name}-{number}" for number in numbers)]
    for event_id in foreign + wrong:
        check_refusal(await client.get(event_id), 400, "Last-Event-ID names no event of this session")
    assert (await client.get(f"{name}-1")).status == 200


@spoken
async def test_two_sessions_with_the_same_ids_and_tokens_never_hear_of_each_other():
    """[id.by-exchange] [request.id-fresh] Request ids, progress tokens and our own question ids may all be equal."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def ask_name(secret: str, ctx: Context) -> str:
        await ctx.report_progress(len(secret))
        name = (await ctx.elicit("Your name?", {"type": "object", "properties": {"name": {"type": "string"}}})).content
        return f"{secret} {name['name']}"

    async def start(secret: str) -> tuple[Client, Answer]:
        client = await Client(mcp).connect(capabilities={"elicitation": {}})
        params = {"name": "ask_name", "arguments": {"secret": secret}, "_meta": {"progressToken": "token"}}
        answer = await client.request("tools/call", params, id=1)
        await answer.page.wait_messages(2)
        return client, answer

    (alice, hers), (bob, his) = await start("red"), await start("green")
    question = hers.page.messages[1]
    assert question == his.page.messages[1]  # the same id, of two sessions
    await bob.respond(question, {"action": "accept", "content": {"name": "Bob"}})
    assert (await his.complete()).message["result"]["content"][0]["text"] == "green Bob"
    assert not hers.page.ended
    await alice.respond(question, {"action": "accept", "content": {"name": "Alice"}})
    assert (await hers.complete()).message["result"]["content"][0]["text"] == "red Alice"

    for answer, progress, text in ((hers, 3, "red Alice"), (his, 5, "green Bob")):
        assert answer.page.messages == [
            {
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": {"progressToken": "token", "progress": progress},
            },
            question,
            {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}},
        ]
