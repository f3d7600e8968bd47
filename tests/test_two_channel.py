"""HTTP+SSE of 2024-11-05 and the lesson's routes: the second binding over the same sessions, streams and dispatch."""

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from inmemory import Answer, Client, Clock, Page, library, spoken, until
from wire import ACCEPT_BOTH, Wire, call, eventually, head, ping, pong, post, text_result

from streamhttp_mcp import Context, Limits, MCPServer, text_of

HELLO = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}


def request(id: Any, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


class OldClient(Client):
    """Speaks HTTP+SSE: `page` is what its one stream has received since the `endpoint` event."""

    async def listen(self) -> "OldClient":
        self.page = (await self.http("GET", target="/sse")).page
        self.target = self.page.events[0]["data"]
        self.page.text = ""
        return self

    async def open(self, **hello: Any) -> "OldClient":
        self.hello = (await (await self.listen()).ask("initialize", **HELLO | hello))["result"]
        self.page.text = ""
        return self

    @property
    def session_id(self) -> str:
        return self.target.partition("session_id=")[2]

    async def say(self, message: Any) -> Answer:
        return await self.http("POST", json.dumps(message).encode(), self.target)

    async def ask(self, method: str, *, id: Any = 0, **params: Any) -> Any:
        """Send a request and wait for its response, which comes on the stream."""
        before = len(self.page.messages)
        accepted = await self.say(request(id, method, **params))
        assert (accepted.status, accepted.reply.body) == (202, b"")
        await until(lambda: any(message.get("id") == id for message in self.page.messages[before:]))
        return self.page.messages[-1]


class Pupil(Client):
    """Speaks the lesson's dialect, in the lesson's own form where it differs: no ids, and `sessionId` in the body."""

    async def open(self, **hello: Any) -> "Pupil":
        opened = await self.learn("/initialize", {"protocol": "mcp"} | hello)
        self.session_id = opened.headers["mcp-session-id"]
        self.page = await self.read()
        return self

    async def learn(self, target: str, body: Any, **headers: str | None) -> Answer:
        return await self.http("POST", json.dumps(body).encode(), target, **headers)

    async def read(self, rest: str = "", **headers: str | None) -> Page:
        answer = await self.http("GET", target=f"/sse/{self.session_id}{rest}", **headers)
        assert answer.status == 200
        return answer.page

    async def say(self, method: str, target: str = "/messages", **params: Any) -> Answer:
        body = {"jsonrpc": "2.0", "method": method, "params": params, "sessionId": self.session_id}
        answer = await self.learn(target, body)
        assert answer.status == 200
        return answer

    async def use(self, tool: str, token: Any = None, **arguments: Any) -> int:
        """Call a tool, and return the id that its response will have."""
        meta = {} if token is None else {"_meta": {"progressToken": token}}
        return (await self.say("tools/call", name=tool, arguments=arguments, **meta)).message["id"]


def two_channel(**settings: Any) -> MCPServer:
    return library(two_channel=True, **settings)


def busy(**settings: Any) -> tuple[MCPServer, asyncio.Event]:
    """A server with a tool `wait`, which waits for the event, and `ask`, which asks the client's model."""
    mcp, gate = two_channel(**settings), asyncio.Event()

    @mcp.tool()
    async def wait(ctx: Context, text: str = "done") -> str:
        await ctx.report_progress(1)
        await gate.wait()
        await ctx.report_progress(2)
        return text

    @mcp.tool()
    async def ask(ctx: Context) -> str:
        await ctx.report_progress(1)
        return text_of(await ctx.sample("What is it?"))

    return mcp, gate


SAMPLE = {"role": "assistant", "content": {"type": "text", "text": "It is 42."}, "model": "deep-thought"}
CHANGED = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


def progress(token: Any, done: int) -> dict[str, Any]:
    params = {"progressToken": token, "progress": done}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


# --- HTTP+SSE -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("root_path", "prefix"), [("", ""), ("/", ""), ("/api", "/api"), ("a/b/", "/a/b")])
@spoken
async def test_get_opens_a_session_whose_first_event_says_where_to_post(root_path, prefix):
    """[channel.two-endpoints] [channel.endpoint-event] [legacy.old-endpoints] Behind a proxy, with its prefix."""
    mcp = two_channel(root_path=root_path)
    answer = await Client(mcp).http("GET", target="/sse")
    (session_id,) = mcp.sessions.by_id
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.page.text == f":\n\nevent: endpoint\ndata: {prefix}/messages?session_id={session_id}\n\n"


@spoken
async def test_everything_comes_as_message_events_on_the_one_stream():
    """[channel.message-events] [channel.post-202] [initialize.result] Answers, notices and errors; nothing has an id."""
    mcp = two_channel(version="3", instructions="Read.")
    client = await OldClient(mcp).open()
    info = {"name": "test", "version": "3"}
    assert client.hello == {"protocolVersion": "2024-11-05", "capabilities": mcp.capabilities(), "serverInfo": info,
                            "instructions": "Read."}  # fmt: skip
    assert (await client.say({"jsonrpc": "2.0", "method": "notifications/initialized"})).status == 202
    mcp.notify_tools_changed()
    assert await client.ask("ping", id="p") == pong("p")
    assert (await client.ask("nonsense"))["error"]["code"] == -32601
    assert [event.keys() for event in client.page.events] == [{"event", "data"}] * 3
    assert [event["event"] for event in client.page.events] == ["message"] * 3
    assert client.page.messages[0] == CHANGED


@spoken
async def test_post_is_acknowledged_while_the_tool_still_runs():
    """[channel.post-202]"""
    mcp, gate = busy()
    client = await OldClient(mcp).open()
    accepted = await client.say(call(1, "wait", {"progressToken": "t"}))
    assert (accepted.status, accepted.reply.body, accepted.headers) == (202, b"", {})
    gate.set()
    expected = [progress("t", 1), progress("t", 2), text_result(1, "done")]
    assert await client.page.wait_messages(3) == expected


@pytest.mark.parametrize(
    ("asked", "version"),
    [("2024-11-05", "2024-11-05"), ("2025-03-26", "2025-03-26"), ("2025-11-25", "2025-11-25"), ("1.0", "2025-11-25")],
)
@spoken
async def test_client_gets_the_revision_it_asks_for(asked, version):
    """[version.same] [version.latest] Newer clients still carry the old transport, and ask for what they know."""
    client = await OldClient(two_channel()).open(protocolVersion=asked)
    assert client.hello["protocolVersion"] == version


@spoken
async def test_nothing_but_a_ping_is_answered_before_initialize():
    """[channel.initialize-first] The refusal comes where answers come; an HTTP error would end some clients."""
    client = await OldClient(two_channel()).listen()
    refusal = {"code": -32600, "message": "send initialize first"}
    assert await client.ask("tools/list", id=1) == {"jsonrpc": "2.0", "id": 1, "error": refusal}
    assert await client.ask("ping", id=2) == pong(2)
    assert (await client.ask("initialize", id=3))["error"]["code"] == -32602
    assert (await client.ask("initialize", id=4, **HELLO))["result"]["protocolVersion"] == "2024-11-05"
    assert (await client.ask("tools/list", id=5))["result"] == {"tools": []}


@spoken
async def test_nothing_is_announced_before_initialize_is_answered():
    """[tool.list-changed] [channel.initialize-first] A client that waits for one answer would take it for that."""
    mcp = two_channel()
    client = await OldClient(mcp).listen()
    mcp.add_tool(lambda: "", "early")
    mcp.notify_prompts_changed()
    answer = await client.ask("initialize", id=1, **HELLO)
    assert client.page.messages == [answer] and answer["id"] == 1
    mcp.add_tool(lambda: "", "late")
    assert await client.page.wait_messages(2) == [answer, CHANGED]


@spoken
async def test_question_comes_on_the_stream_and_its_answer_by_post():
    """[channel.message-events] [lesson.tool-stream] Without a stream of the tool's own, all goes down the one."""
    mcp, _ = busy()
    client = await OldClient(mcp).open(capabilities={"sampling": {}})
    await client.say(call(7, "ask"))
    (question,) = await client.page.wait_messages(1)
    assert question["method"] == "sampling/createMessage"
    assert (await client.say({"jsonrpc": "2.0", "id": question["id"], "result": SAMPLE})).status == 202
    assert (await client.page.wait_messages(2))[-1] == text_result(7, "It is 42.")


@spoken
async def test_call_is_cancelled_in_silence():
    """[cancel.stop] [cancel.no-response] And the stream goes on."""
    mcp, _ = busy()
    client = await OldClient(mcp).open()
    await client.say(call(1, "wait"))
    await until(lambda: mcp.calls)
    await client.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    await until(lambda: not mcp.calls)
    assert await client.ask("ping", id=2) == pong(2)


@spoken
async def test_batch_is_for_the_one_revision_that_has_them():
    """[batch.receive] [post.single-message]"""
    mcp = two_channel()
    client = await OldClient(mcp).open()
    assert (await client.say([ping(1)])).status == 400
    client = await OldClient(mcp).open(protocolVersion="2025-03-26")
    assert (await client.say([ping(1), ping(2)])).status == 202
    assert await client.page.wait_messages(2) == [pong(1), pong(2)]


@spoken
async def test_calls_of_a_batch_speak_on_the_streams_of_their_tools():
    """[batch.receive] [lesson.tool-stream] As they would if each had come alone."""
    mcp, gate = busy()
    client = await Pupil(mcp).open(protocolVersion="2025-03-26")
    own = await client.read("/tool/wait")
    gate.set()
    batch = [call("a", "wait", {"progressToken": "t"}), ping("b")]
    accepted = await client.learn("/messages", batch, mcp_session_id=client.session_id)
    assert (accepted.status, accepted.reply.body) == (200, b"{}")
    assert await own.wait_end() == [progress("t", 1), progress("t", 2)]
    assert {message["id"] for message in await client.page.wait_messages(2)} == {"a", "b"}


@spoken
async def test_handler_that_would_close_the_stream_to_be_polled_does_not():
    """[stream.open-until-response] It is the only way to this client, whatever revision it negotiated."""
    mcp = two_channel()

    @mcp.tool()
    async def patient(ctx: Context) -> str:
        await ctx.close_sse_stream()
        return "still here"

    client = await OldClient(mcp).open(protocolVersion="2025-11-25")
    assert (await client.ask("tools/call", id=1, name="patient")) == text_result(1, "still here")
    assert not client.page.ended


@spoken
async def test_end_of_the_connection_ends_the_session_and_its_calls():
    """[channel.shutdown] [session.end-frees]"""
    mcp, _ = busy()
    async with mcp.serving() as url, Wire(url) as stream, Wire(url) as posts:
        await stream.send(head("GET", "/sse", host="localhost"))
        assert await stream.status() == 200
        while "endpoint" not in (event := await stream.event()):
            pass
        target = event.partition("data: ")[2]
        for message in (request(1, "initialize", **HELLO), call(2, "wait")):
            await posts.send(post_to(target, message))
            assert await posts.reply() == (202, posts.headers, b"")
        assert (await stream.message())["id"] == 1
        await eventually(lambda: mcp.calls)
        stream.reset()
        await eventually(lambda: not mcp.sessions.by_id and not mcp.calls)
        await posts.send(post_to(target, ping(3)))
        assert (await posts.reply()).status == 404


@spoken
async def test_session_outlives_the_connection_whose_stream_another_one_took_over():
    """[channel.shutdown] [stream.newest-wins]"""
    mcp = two_channel()
    client = OldClient(mcp)
    first = await client.http("GET", target="/sse")
    where = first.page.events[0]["data"].replace("/messages", "/sse")
    second = await client.http("GET", target=where)
    first.page.leave()  # long after
    assert first.page.ended and not second.page.ended and mcp.sessions.by_id


@pytest.mark.parametrize("path", ["/sse", "/messages"])
def test_endpoint_that_would_take_a_path_of_the_other_binding_is_refused(path):
    with pytest.raises(ValueError, match="choose another path"):
        MCPServer("test", path=path, two_channel=True)


def post_to(target: str, message: Any, **fields: Any) -> bytes:
    return post(ACCEPT_BOTH | fields, message).replace(b"POST /mcp ", f"POST {target} ".encode(), 1)


# --- The lesson ---------------------------------------------------------------------------------------


@spoken
async def test_lesson_flow_works_byte_for_byte():
    """[lesson.routes] [lesson.initialize] [lesson.session-id] [lesson.acknowledge] [lesson.id-given]

    The five steps of its picture. What it leaves out (an id, a Content-Type) is told in SPEC.md.
    """
    mcp = two_channel()
    json_type = b"Host: localhost\r\nContent-Type: application/json\r\n"

    async with mcp.serving() as url, Wire(url) as posts, Wire(url) as stream:

        async def say(path: bytes, body: bytes) -> Any:
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            await posts.send(b"POST " + path + b" HTTP/1.1\r\n" + json_type + length + body)
            return await posts.reply()

        opened = await say(b"/initialize", b'{"protocol": "mcp"}')
        assert opened.status == 200
        assert opened.message["result"]["serverInfo"] == mcp.info
        id = opened.headers["mcp-session-id"].encode()

        body = b'{\n"jsonrpc": "2.0",\n"method": "notifications/initialized",\n"params": {"sessionId": "%b"}\n}' % id
        assert (await say(b"/notifications", body))[::2] == (200, b"{}")

        await stream.send(b"GET /sse?session_id=%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % id)
        assert await stream.status() == 200
        assert stream.headers["content-type"] == "text/event-stream"

        body = (b'{\n"jsonrpc": "2.0",\n"method": "resources/read",\n"params": {"uri": "doc://a"},\n'
                b'"sessionId": "%b"\n}' % id)  # fmt: skip
        assert (await say(b"/request", body))[::2] == (200, b'{"id":1}')

        assert await stream.event() == ":"  # a comment, so that the first byte comes at once
        fields = dict(line.split(": ", 1) for line in (await stream.event()).split("\n"))
        contents = [{"uri": "doc://a", "mimeType": "text/plain", "text": "hello"}]
        assert json.loads(fields["data"]) == {"jsonrpc": "2.0", "id": 1, "result": {"contents": contents}}
        assert fields.keys() == {"id", "data"}


@pytest.mark.parametrize(
    "body",
    [
        {"jsonrpc": "2.0", "method": "notifications/initialized", "params": {"sessionId": "<id>"}},
        {"jsonrpc": "2.0", "method": "notifications/initialized", "sessionId": "<id>"},
        {"sessionId": "<id>"},
        {},  # the id is in the header
    ],
)
@spoken
async def test_lesson_client_says_that_it_is_initialized(body):
    """[lesson.routes] [lesson.session-id] In any of the ways that the lesson leaves open."""
    client = await Pupil(two_channel()).open()
    body = json.loads(json.dumps(body).replace("<id>", client.session_id))
    header = None if "<id>" in body or "sessionId" in str(body) else client.session_id
    answer = await client.learn("/notifications/initialized", body, mcp_session_id=header)
    assert (answer.status, answer.reply.body) == (200, b"{}")


@pytest.mark.parametrize("hello", [{"protocol": "mcp"}, HELLO, request(5, "initialize", **HELLO)])
@spoken
async def test_post_to_initialize_takes_a_whole_request_or_its_params(hello):
    """[lesson.initialize]"""
    mcp = two_channel()
    opened = await Pupil(mcp).learn("/initialize", hello)
    assert opened.headers["mcp-session-id"] in mcp.sessions.by_id
    assert opened.message["id"] == hello.get("id", 0)
    version = "2025-11-25" if "protocol" in hello else "2024-11-05"
    assert opened.result["protocolVersion"] == version


@pytest.mark.parametrize("hello", [[], [HELLO], ping(1), {"protocolVersion": 7}, {"protocol": "mcp", "clientInfo": 1}])
@spoken
async def test_post_to_initialize_that_makes_no_sense_opens_no_session(hello):
    """[lesson.initialize]"""
    mcp = two_channel()
    opened = await Pupil(mcp).learn("/initialize", hello)
    assert "mcp-session-id" not in opened.headers
    assert opened.error["code"] in (-32600, -32602)
    assert not mcp.sessions.by_id


@pytest.mark.parametrize("path", ["/messages", "/request", "/notifications", "/sse/message"])
@spoken
async def test_lesson_has_several_names_for_one_path(path):
    """[lesson.routes] [lesson.acknowledge] A request that brings an id keeps it."""
    client = await Pupil(two_channel()).open()
    assert (await client.say("ping", path)).message == {"id": 1}
    answer = await client.learn(path, ping("mine"), mcp_session_id=client.session_id)
    assert (answer.status, answer.message) == (200, {"id": "mine"})
    assert await client.page.wait_messages(2) == [pong(1), pong("mine")]


@spoken
async def test_two_tools_at_once_have_progress_and_questions_on_their_own_streams():
    """[lesson.tool-stream] [lesson.primary-stream] [stream.no-broadcast] Each message is on one stream only."""
    mcp, gate = busy()
    client = await Pupil(mcp).open(capabilities={"sampling": {}})
    waits, asks = await client.read("/tool/wait"), await client.read("/tool/ask")

    first, second = await client.use("wait", "w"), await client.use("ask", "a")
    _, question = await asks.wait_messages(2)
    assert asks.messages == [progress("a", 1), question]
    assert question["method"] == "sampling/createMessage"
    assert (await waits.wait_messages(1)) == [progress("w", 1)]
    assert client.page.messages == []

    mcp.notify_tools_changed()
    await client.learn("/messages", {"jsonrpc": "2.0", "id": question["id"], "result": SAMPLE, "sessionId": client.session_id})
    assert await asks.wait_end() == [progress("a", 1), question]  # the end of the call is the end of its stream
    assert not waits.ended
    gate.set()
    assert await waits.wait_end() == [progress("w", 1), progress("w", 2)]
    assert client.page.messages == [CHANGED, text_result(second, "It is 42."), text_result(first, "done")]


@spoken
async def test_tool_stream_is_opened_during_the_call_and_ends_with_the_last_call_of_the_tool():
    """[lesson.tool-stream] What nobody reads goes down the primary stream; progress tokens tell the calls apart."""
    mcp, gate = busy()
    client = await Pupil(mcp).open()
    await client.use("wait", "a")
    assert await client.page.wait_messages(1) == [progress("a", 1)]
    own = await client.read("/tool/wait")
    second = await client.use("wait", "b")
    assert await own.wait_messages(1) == [progress("b", 1)]
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": second}}
    await client.learn("/messages", cancelled, mcp_session_id=client.session_id)
    await until(lambda: len(mcp.calls) == 1)
    gate.set()
    assert await own.wait_end() == [progress("b", 1), progress("a", 2)]


@spoken
async def test_tool_whose_reader_left_goes_on_on_the_primary_stream():
    """[lesson.tool-stream] [stream.no-broadcast]"""
    mcp, gate = busy()
    client = await Pupil(mcp).open()
    own = await client.read("/tool/wait")
    await client.use("wait", "a")
    await own.wait_messages(1)
    own.leave()
    gate.set()
    assert (await client.page.wait_messages(2))[0] == progress("a", 2)
    assert own.messages == [progress("a", 1)]


def client_session(client: Pupil) -> Any:
    return client.mcp.sessions.by_id[client.session_id]


@spoken
async def test_without_tool_streams_everything_goes_down_the_primary_stream():
    """[lesson.tool-stream] enable_tool_sse=False"""
    mcp, gate = busy(enable_tool_sse=False)
    client = await Pupil(mcp).open()
    assert (await client.http("GET", target=f"/sse/{client.session_id}/tool/wait")).status == 404
    gate.set()
    id = await client.use("wait", 0)
    assert await client.page.wait_messages(3) == [progress(0, 1), progress(0, 2), text_result(id, "done")]


@spoken
async def test_tool_that_does_not_exist_has_no_stream():
    """[lesson.tool-stream]"""
    client = await Pupil(two_channel()).open()
    assert (await client.http("GET", target=f"/sse/{client.session_id}/tool/nothing")).status == 404


@spoken
async def test_lesson_error_comes_on_the_primary_stream():
    """[lesson.primary-stream] An unknown tool, and a bad argument, which is a result that a model can read."""
    mcp, _ = busy()
    client = await Pupil(mcp).open()
    await client.use("nothing")
    await client.use("wait", text=7)
    error, result = await client.page.wait_messages(2)
    assert error["error"]["message"] == "Unknown tool: nothing"
    assert result["result"]["isError"]


@spoken
async def test_reader_that_crashed_takes_the_stream_over_and_misses_nothing():
    """[stream.newest-wins] [lesson.primary-stream] [resume.replay] What it names as its last event tells what it missed."""
    mcp = two_channel()
    client = await Pupil(mcp).open()
    await client.say("ping")
    await client.page.wait_messages(1)
    last = client.page.events[-1]["id"]
    await client.say("ping")  # written to the one that is dead, as nobody knows yet
    await client.page.wait_messages(2)
    back = await client.read(last_event_id=last)
    assert client.page.ended
    await client.say("ping")
    assert await back.wait_messages(2) == [pong(2), pong(3)]
    back.leave()
    await client.say("ping")
    again = (await client.http("GET", target=f"/sse?session_id={client.session_id}")).page
    assert await again.wait_messages(1) == [pong(4)]


# --- Both: the gate, limits, life and end -------------------------------------------------------------


ROUTES = [
    ("GET", "/sse/{id}"),
    ("GET", "/sse?session_id={id}"),
    ("GET", "/sse/{id}/tool/wait"),
    ("POST", "/messages?session_id={id}"),
    ("POST", "/messages"),
    ("POST", "/request"),
    ("POST", "/notifications"),
    ("POST", "/notifications/initialized"),
    ("POST", "/sse/message"),
]


@pytest.mark.parametrize(("method", "target"), ROUTES)
@spoken
async def test_session_that_does_not_exist_or_has_ended_is_404_on_every_route(method, target):
    """[session.unknown-404] [lesson.session-id] On the lesson's routes the lesson answers 200 and `invalid session`."""
    mcp, _ = busy()
    client = await Pupil(mcp).open()
    mcp.sessions.end(client_session(client), "for the test")
    for id in (client.session_id, "nonsense", "0"):
        body = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized", "sessionId": id}).encode()
        answer = await client.http(method, body if method == "POST" else b"", target.format(id=id))
        assert answer.status == 404, id


@pytest.mark.parametrize("target", [target for method, target in ROUTES if method == "POST" and "{" not in target])
@spoken
async def test_missing_session_id_is_400(target):
    """[session.missing-400] [lesson.session-id] A number is no id either."""
    client = Pupil(two_channel())
    for body in (ping(1), {**ping(1), "sessionId": 7}, request(1, "ping", sessionId=None)):
        answer = await client.learn(target, body)
        assert (answer.status, answer.error["code"]) == (400, -32600)
        assert "session id is missing" in answer.error["message"]


@spoken
async def test_session_of_one_binding_does_not_exist_on_the_other():
    """[channel.own-sessions]"""
    mcp, _ = busy()
    new, old, pupil = await Client(mcp).connect(), await OldClient(mcp).open(), await Pupil(mcp).open()
    for client in (old, pupil):
        answers = [await new.http("GET", mcp_session_id=client.session_id),
                   await new.post(ping(1), mcp_session_id=client.session_id),
                   await new.http("DELETE", mcp_session_id=client.session_id)]  # fmt: skip
        assert [answer.status for answer in answers] == [404] * 3
    id = new.headers["mcp-session-id"]
    for method, target in ROUTES:
        body = json.dumps({**ping(1), "sessionId": id}).encode() if method == "POST" else b""
        answer = await pupil.http(method, body, target.format(id=id))
        assert answer.status == 404, target
    assert len(mcp.sessions.by_id) == 3


@spoken
async def test_nobody_else_uses_a_session():
    """[session.principal] [auth.every-request] With auth, every route wants a token, and that of who opened it."""

    async def verify(token: str) -> str | None:
        return {"a": "ada", "b": "bob"}.get(token)

    mcp = two_channel(auth=verify)
    ada, bob = Pupil(mcp), Pupil(mcp)
    for client, token in ((ada, "a"), (bob, "b")):
        client.headers["authorization"] = f"Bearer {token}"
        await client.open()
    for method, target in ROUTES:
        body = json.dumps({**ping(1), "sessionId": ada.session_id}).encode() if method == "POST" else b""
        where = target.format(id=ada.session_id)
        assert (await bob.http(method, body, where)).status == 404, target
        assert (await bob.http(method, body, where, authorization=None)).status == 401, target
    assert (await bob.http("GET", target="/sse", authorization=None)).status == 401
    assert (await bob.learn("/initialize", HELLO, authorization=None)).status == 401


@spoken
async def test_it_is_off_unless_it_is_switched_on():
    """[channel.off-by-default] A session id in a URL ends up in logs."""
    client = Pupil(library())
    for method, target in [*ROUTES, ("GET", "/sse"), ("POST", "/initialize")]:
        assert (await client.http(method, b"{}", target.format(id="x"))).status == 404


@pytest.mark.parametrize(("method", "target"), [*ROUTES, ("GET", "/sse"), ("POST", "/initialize")])
@spoken
async def test_gate_is_the_same_on_every_route(method, target):
    """[host.validate] [origin.reject-403] [body.json-only] [reply.not-acceptable] [http.405-allow]"""
    mcp, _ = busy()
    client = await Pupil(mcp).open()
    where, body = target.format(id=client.session_id), json.dumps(ping(1)).encode()
    assert (await client.http(method, body, where, host="evil.example")).status == 403
    assert (await client.http(method, body, where, origin="https://evil.example")).status == 403
    other = "POST" if method == "GET" else "GET"
    refused = await client.http(other, body, where)
    if "?" not in where and where.count("/") < 2:  # /sse/message looks like a session's id to a GET
        assert (refused.status, refused.headers["allow"]) == (405, f"{method}, OPTIONS")
    if method == "POST":
        for body_type in ("text/plain", None):  # what fetch() sends by itself
            assert (await client.http(method, body, where, content_type=body_type)).status == 415
        assert (await client.http(method, b"{", where)).error["code"] == -32700
    else:
        assert (await client.http(method, target=where, accept="application/json")).status == 406
        assert (await client.http("HEAD", target=where)).status == 405


@pytest.mark.parametrize("params", [None, []])
@spoken
async def test_response_with_params_that_mean_nothing_is_taken(params):
    """[channel.post-202]"""
    client = await OldClient(two_channel()).open()
    assert (await client.say({"jsonrpc": "2.0", "id": 1, "result": {}, "params": params})).status == 202


@spoken
async def test_call_beyond_the_limits_is_refused_but_never_an_answer():
    """[limits.calls] [limits.all-calls]"""
    for limits, status in ((Limits(calls=1), 429), (Limits(all_calls=1), 503)):
        mcp, gate = busy(limits=limits)
        client = await OldClient(mcp).open(capabilities={"sampling": {}})
        await client.say(call(1, "ask"))
        (question,) = await client.page.wait_messages(1)
        assert (await client.say(call(2, "wait"))).status == status
        assert (await client.say({"jsonrpc": "2.0", "id": question["id"], "result": SAMPLE})).status == 202
        assert (await client.page.wait_messages(2))[-1] == text_result(1, "It is 42.")
        gate.set()


@spoken
async def test_session_beyond_the_limit_is_refused():
    """[limits.sessions]"""
    client = await Pupil(two_channel(limits=Limits(sessions=1))).open()
    assert (await client.learn("/initialize", HELLO)).status == 503
    assert (await client.http("GET", target="/sse")).status == 503


@spoken
async def test_client_that_does_not_read_its_answers_may_not_ask_for_more():
    """[limits.backlog] None of the answers is lost, and what was read is kept for a replay within the same limit."""
    client = Pupil(two_channel(limits=Limits(session_bytes=4000)))
    client.session_id = (await client.learn("/initialize", HELLO)).headers["mcp-session-id"]
    accepted = 0
    while (answer := await client.learn("/messages", {**ping(accepted), "sessionId": client.session_id})).status == 200:
        accepted += 1
        assert accepted < 20
        await until(lambda: not client_session(client).calls)
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    page = await client.read()
    assert page.messages == [pong(n) for n in range(accepted)]
    for _ in range(30):
        await client.say("ping")
        await until(lambda: not client_session(client).calls)
    assert len(await page.wait_messages(accepted + 30)) == accepted + 30
    assert client_session(client).used <= 5000


@spoken
async def test_batches_do_not_get_around_the_bound_on_answers_that_wait():
    """[limits.backlog] [batch.receive]"""
    client = Client(two_channel(limits=Limits(session_bytes=4000)))
    hello = HELLO | {"protocolVersion": "2025-03-26"}
    opened = await client.http("POST", json.dumps(hello).encode(), "/initialize")
    client.headers["mcp-session-id"] = opened.headers["mcp-session-id"]
    body = json.dumps([ping(n) for n in range(8)]).encode()
    for status in (200, 200, 429):
        assert (await client.http("POST", body, "/messages")).status == status
        await until(lambda: not client.session.calls)
    answer = json.dumps([{"jsonrpc": "2.0", "id": 1, "result": {}}]).encode()
    assert (await client.http("POST", answer, "/messages")).status == 200


async def say_until_one_waits(client: OldClient) -> "tuple[int, asyncio.Task[Answer]]":
    """Send requests to a client's own stream, which it does not read, until one is not acknowledged."""
    client.page.congested = True
    for number in range(30):
        said = asyncio.create_task(client.say(call(number, "wait")))
        try:
            await until(said.done, turns=20)
        except AssertionError:
            return number, said
    raise AssertionError("all were acknowledged")


@spoken
async def test_client_that_reads_slowly_is_acknowledged_when_it_has_caught_up():
    """[limits.backlog] [stream.back-pressure]"""
    mcp, gate = busy(limits=Limits(session_bytes=4000))
    gate.set()
    client = await OldClient(mcp).open()
    number, waiting = await say_until_one_waits(client)
    client.page.congested = False
    assert (await waiting).status == 202
    assert await client.page.wait_messages(number + 1) == [text_result(n, "done") for n in range(number + 1)]


@spoken
async def test_call_that_waited_for_a_slow_reader_does_not_begin_when_the_reader_has_left():
    """[limits.backlog] [channel.shutdown] Nobody could end it any more."""
    mcp, gate = busy(limits=Limits(session_bytes=4000))
    gate.set()
    client = await OldClient(mcp).open()
    _, waiting = await say_until_one_waits(client)
    gate.clear()
    client.page.leave()
    assert (await waiting).status == 404
    await asyncio.sleep(0)
    assert not mcp.calls and not mcp.sessions.by_id


@spoken
async def test_session_expires_when_nobody_reads_or_speaks():
    """[session.expiry] An open stream, a call in flight and a message keep it."""
    clock = Clock()
    mcp, gate = busy(clock=clock, session_timeout=300)
    client = await Pupil(mcp).open()

    def later(seconds: float) -> bool:
        clock.turn(seconds)
        mcp.sweep()
        return client.session_id in mcp.sessions.by_id

    assert later(1000)
    client.page.leave()
    assert later(299)
    await client.use("wait")
    assert later(1000)
    gate.set()
    await until(lambda: not client_session(client).calls)
    assert later(299) and not later(1)


@spoken
async def test_heartbeat_finds_the_dead():
    """[stream.heartbeat] A comment every 15 seconds: what cannot be delivered tells that nobody is there."""
    clock = Clock()
    mcp = two_channel(clock=clock)
    async with mcp.serving() as url, Wire(url) as stream:
        await stream.send(head("GET", "/sse", host="localhost"))
        assert await stream.status() == 200
        while "endpoint" not in await stream.event():
            pass
        clock.turn(15)
        mcp.sweep()
        assert await stream.event() == ":"
        stream.writer.close()

        def heartbeat() -> None:
            clock.turn(15)
            mcp.sweep()

        await eventually(lambda: heartbeat() or not mcp.sessions.by_id)


@spoken
async def test_shutdown_waits_for_answers_and_lets_them_through():
    """[shutdown.graceful] The stream that they come on is the last to go."""
    mcp, gate = busy()
    client = await OldClient(mcp).open()
    await client.say(call(1, "wait"))
    closing = asyncio.create_task(mcp.close())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert client.page.messages == [text_result(1, "done")]
    assert client.page.ended and not mcp.sessions.by_id


@spoken
async def test_session_ids_are_not_logged(caplog):
    """[log.no-credentials] Neither from a path nor from a query, nor where the path is a wrong one."""
    caplog.set_level(logging.INFO, "streamhttp_mcp")
    mcp, gate = busy()
    gate.set()
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post_to("/initialize", {"protocol": "mcp"}))
        id = (await wire.reply()).headers["mcp-session-id"]
        for method, target in [*ROUTES, ("GET", "/sse/{id}/nothing"), ("POST", "/messages/{id}")]:
            async with Wire(url) as each:
                message = {**ping(1), "sessionId": id}
                where = target.format(id=id)
                await each.send(post_to(where, message) if method == "POST" else head("GET", where, host="localhost"))
                assert await each.status() in (200, 202, 404)
    logged = [record.getMessage() for record in caplog.records]
    assert any("'/sse/.../tool/wait' 200" in line for line in logged)
    assert len(logged) > len(ROUTES) and not [line for line in logged if id in line]


# --- Many ---------------------------------------------------------------------------------------------


STEPS = ["initialize", "initialized", "stream", "tool stream", "call", "question", "answer"]


@spoken
async def test_fifty_clients_one_crashing_in_each_step_see_their_own_messages_only_and_leave_nothing_behind():
    """[id.by-exchange] [stream.no-broadcast] [session.end-frees] [session.id-secure] No two ids are the same, either."""
    clock = Clock()
    mcp, ids = two_channel(clock=clock), []

    @mcp.tool()
    async def greet(name: str, ctx: Context) -> str:
        await ctx.report_progress(1, message=name)
        return f"{name}: {text_of(await ctx.sample(name))}"

    async def visit(url: str, number: int) -> None:
        async with Wire(url) as posts, Wire(url) as primary, Wire(url) as own:
            await converse(f"client-{number}", posts, primary, own, dict(enumerate(STEPS)).get(number))

    async def converse(name: str, posts: Wire, primary: Wire, own: Wire, crash: str | None) -> None:
        def crashes(step: str) -> bool:
            if step == crash:
                for wire in (posts, primary, own):
                    wire.reset()
            return step == crash

        await posts.send(post_to("/initialize", {"protocol": "mcp", "capabilities": {"sampling": {}}}))
        if crashes("initialize"):
            return
        id = (await posts.reply()).headers["mcp-session-id"]
        ids.append(id)
        await posts.send(post_to("/notifications/initialized", {"sessionId": id}))
        if crashes("initialized"):
            return
        assert (await posts.reply()).status == 200
        for step, wire, rest in (("stream", primary, ""), ("tool stream", own, "/tool/greet")):
            await wire.send(head("GET", f"/sse/{id}{rest}", host="localhost"))
            if crashes(step):
                return
            assert await wire.status() == 200
        meta = {"progressToken": 1}
        await posts.send(post_to("/messages", {**call(1, "greet", meta, name=name), "sessionId": id}))
        if crashes("call"):
            return
        assert (await posts.reply()).status == 200
        told, question = await own.message(), await own.message()
        assert told["params"] == {**meta, "progress": 1, "message": name}
        assert question["params"]["messages"][0]["content"]["text"] == name
        if crashes("question"):
            return
        answer = SAMPLE | {"content": {"type": "text", "text": f"I am {name}"}}
        await posts.send(post_to("/messages", {**pong(question["id"]), "result": answer, "sessionId": id}))
        if crashes("answer"):
            return
        assert (await posts.reply()).status == 200
        assert await primary.message() == text_result(1, f"{name}: I am {name}")
        assert await own.messages() == []

    async with mcp.serving() as url:
        await asyncio.gather(*(visit(url, number) for number in range(50)))

        def heartbeat() -> None:
            clock.turn(15)
            mcp.sweep()

        await eventually(lambda: heartbeat() or not mcp.connections)
        for session in list(mcp.sessions.by_id.values()):  # the question that nobody will answer
            for call_in_flight in session.calls:
                call_in_flight.cancel("nobody is there to answer")
        await eventually(lambda: not mcp.calls)
        clock.turn(300)
        mcp.sweep()
        assert not mcp.sessions.by_id
    assert len(ids) == len(set(ids)) == 49 and all(re.fullmatch(r"[\w-]{43}", id) for id in ids)


@spoken
async def test_batch_with_one_bad_message_runs_nothing():
    """[batch.receive] A client that was told 400 sends all of it again."""
    mcp, ran = MCPServer("test", two_channel=True), []

    @mcp.tool()
    async def note(number: int) -> None:
        ran.append(number)

    client = await OldClient(mcp).open(protocolVersion="2025-03-26")
    calls = [request(number, "tools/call", name="note", arguments={"number": number}) for number in (1, 2)]
    too_long = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "x" * 2000}}
    refused = await client.say([calls[0], too_long, calls[1]])
    assert refused.status == 400 and "params.requestId" in refused.message["error"]["message"]
    await asyncio.sleep(0)
    assert ran == []


@spoken
async def test_what_an_old_client_says_of_itself_is_counted():
    """[limits.client] [limits.memory] It is kept as long as the session."""
    mcp = MCPServer("test", two_channel=True)
    client = await OldClient(mcp).listen()
    held = mcp.account.used
    info = {"name": "old", "version": "x" * 60_000}
    await client.ask("initialize", **HELLO | {"clientInfo": info})
    assert mcp.account.used > held + 60_000


def test_every_test_that_the_table_of_the_lesson_names_exists():
    """SPEC.md says of each thing in the lesson which test shows it."""
    root = Path(__file__).parents[1]
    table = (root / "SPEC.md").read_text(encoding="utf-8").split("\n## The lesson")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
    written = "".join(path.read_text(encoding="utf-8") for path in (root / "tests").glob("test_*.py"))
    assert len(rows) >= 25
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row.rpartition(" | ")[2])
        assert named, row
        assert [name for name in named if f"def {name}(" not in written] == [], row
