"""Clause by clause: what no other file of these tests shows yet. Sections as in SPEC.md."""

import asyncio
import dataclasses
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest
from inmemory import Client, Clock, StatelessClient, run, spoken, until
from wire import ACCEPT_BOTH, Wire, call, eventually, head, ping, pong, post, text_result

import streamhttp_mcp
from streamhttp_mcp import (
    META,
    Context,
    Limits,
    MCPServer,
    SchemaError,
    check,
    check_schema,
    convert,
    plain,
    schema_of,
)

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "wire", "version": "1"}},
}
CODE = Path(streamhttp_mcp.__file__).read_text(encoding="utf-8")


async def open_session(wire: Wire, version: str = "1.1", **fields: object) -> dict[str, str]:
    """Initialize over the wire; what later requests need as headers."""
    await wire.send(post(ACCEPT_BOTH, INITIALIZE, version, **fields))
    reply = await wire.reply()
    assert reply.status == 200
    return ACCEPT_BOTH | {"mcp-session-id": reply.headers["mcp-session-id"]}


# --- Pages, notices, completion, questions ------------------------------------------------------------


def number_server(count: int, **settings) -> MCPServer:
    mcp = MCPServer("test", **settings)
    for number in range(count):
        mcp.add_tool(lambda: None, f"tool{number}")
        mcp.add_prompt(lambda: "", f"prompt{number}")
        mcp.add_resource(lambda: "", f"a:{number}", name=str(number))
        mcp.add_resource(lambda x: x, f"b:{number}/{{x}}", name=str(number))
    return mcp


def test_adding_and_removing_announces_itself_on_the_get_stream():
    """[list.announces-itself] [tool.list-changed] [prompt.list-changed] [resource.list-changed]"""

    async def conversation():
        mcp = MCPServer("test")
        client = await Client(mcp).connect()
        page = (await client.get()).page
        changes = [
            lambda: mcp.add_tool(lambda: None, "a"),
            lambda: mcp.remove_tool("a"),
            lambda: mcp.add_prompt(lambda: "", "a"),
            lambda: mcp.remove_prompt("a"),
            lambda: mcp.add_resource(lambda: "", "a:1"),
            lambda: mcp.remove_resource("a:1"),
        ]
        for count, change in enumerate(changes, 1):
            change()
            await page.wait_messages(count)
        said = [message["method"] for message in page.messages]
        assert said == [f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources") for _ in "+-"]

    run(conversation())


def test_change_of_a_resource_reaches_those_who_subscribed_to_it():
    """[resource.subscribe] [limits.subscriptions]"""

    async def conversation():
        mcp = number_server(3, limits=Limits(session_bytes=8000))
        watcher, other = await Client(mcp).connect(), await Client(mcp).connect()
        assert (await watcher.request("resources/subscribe", {"uri": "a:0"})).result == {}
        assert (await watcher.request("resources/subscribe", {"uri": "a:1"})).result == {}
        long = {"uri": f"b:0/{'x' * 4000}"}
        assert (await watcher.request("resources/subscribe", long)).error["code"] == -32600
        pages = [(await client.get()).page for client in (watcher, other)]
        for uri in ("a:0", "a:2"):
            mcp.notify_resource_updated(uri)
        assert (await watcher.request("resources/unsubscribe", {"uri": "a:0"})).result == {}
        mcp.notify_resource_updated("a:0")
        mcp.notify_resource_updated("a:1")
        messages = await pages[0].wait_messages(2)
        assert [message["params"] for message in messages] == [{"uri": "a:0"}, {"uri": "a:1"}]
        assert {message["method"] for message in messages} == {"notifications/resources/updated"}
        assert pages[1].messages == []

    run(conversation())


def test_completion_is_declared_where_it_is_and_gives_100_values_at_most():
    """[completion.capability] [completion.max-100]"""

    async def conversation():
        mcp = MCPServer("test")
        assert "completions" not in mcp.capabilities()
        mcp.add_prompt(lambda word: word, "say")

        @mcp.completion()
        async def complete(ref, argument, context):
            return [argument["value"] + str(number) for number in range(250)]

        assert mcp.capabilities()["completions"] == {}
        client = await Client(mcp).connect()
        params = {"ref": {"type": "ref/prompt", "name": "say"}, "argument": {"name": "word", "value": "a"}}
        completion = (await client.request("completion/complete", params)).result["completion"]
        assert completion == {"values": [f"a{number}" for number in range(100)], "total": 250, "hasMore": True}

    run(conversation())


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ref": "say", "argument": {"name": "word", "value": ""}},
        {"ref": {"type": "ref/prompt", "name": "say"}},
        {"ref": {"type": "ref/prompt", "name": "say"}, "argument": {"name": "word", "value": 1}},
        {"ref": {"type": "ref/prompt", "name": "say"}, "argument": {"name": "word", "value": ""}, "context": []},
        {"ref": {"type": "ref/tool", "name": "say"}, "argument": {"name": "word", "value": ""}},
        {"ref": {"type": "ref/resource", "uri": "a:{nothing}"}, "argument": {"name": "word", "value": ""}},
    ],
)
def test_completion_of_what_makes_no_sense_is_invalid_params(params):
    """[completion.validate-inputs] [completion.invalid-params]"""

    async def conversation():
        mcp = MCPServer("test")
        mcp.add_prompt(lambda word: word, "say")
        mcp.completion()(lambda ref, argument, context: [])
        client = await Client(mcp).connect()
        assert (await client.request("completion/complete", params)).error["code"] == -32602

    run(conversation())


@pytest.mark.parametrize("level", ["verbose", "INFO", "", None, 3])
def test_unknown_log_level_is_invalid_params(level):
    """[log.invalid-level]"""

    async def conversation():
        client = await Client(MCPServer("test")).connect()
        assert (await client.request("logging/setLevel", {"level": level})).error["code"] == -32602

    run(conversation())


def test_deadline_of_a_question_holds_whatever_progress_arrives():
    """[timeout.maximum]"""

    async def conversation():
        mcp = MCPServer("test", limits=Limits(ask_seconds=0.05))

        @mcp.tool()
        async def ask(ctx: Context) -> str:
            await ctx.list_roots()
            return "never"

        client = await Client(mcp).connect(capabilities={"roots": {}})
        answer = await client.request("tools/call", {"name": "ask"})
        (question,) = await answer.page.wait_messages(1)
        progress = 0
        while not answer.page.ended:
            progress += 1
            await client.notify("notifications/progress", {"progressToken": question["id"], "progress": progress})
            await asyncio.sleep(0)
        assert answer.result["isError"] and "did not answer" in answer.result["content"][0]["text"]

    run(conversation())


def test_roots_are_asked_for_anew_each_time():
    """[roots.changes]"""

    async def conversation():
        mcp = MCPServer("test")

        @mcp.tool()
        async def count(ctx: Context) -> str:
            return f"{len(await ctx.list_roots())} then {len(await ctx.list_roots())}"

        client = await Client(mcp).connect(capabilities={"roots": {"listChanged": True}})
        answer = await client.request("tools/call", {"name": "count"})
        for number in (1, 2):
            question = (await answer.page.wait_messages(number))[-1]
            await client.respond(question, {"roots": [{"uri": f"file:///{n}"} for n in range(number)]})
            await client.notify("notifications/roots/list_changed")
        assert (await answer.complete()).result["content"][0]["text"] == "1 then 2"

    run(conversation())


# --- Connections --------------------------------------------------------------------------------------


@spoken
async def test_requests_sent_without_waiting_are_answered_in_their_order():
    """[http.pipelining] Also when the first takes longest."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def slow(turns: int) -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        return "done"

    async with mcp.serving() as url, Wire(url) as wire:
        headers = await open_session(wire)
        await wire.send(post(headers, call(1, "slow", turns=50)) + post(headers, ping(2)) + post(headers, ping(3)))
        assert [(await wire.reply()).message for _ in range(3)] == [text_result(1, "done"), pong(2), pong(3)]


@spoken
async def test_last_reply_of_a_connection_says_so_and_is_read_to_its_end():
    """[http.close-said] [http.linger] The peer was still sending when it was refused."""
    async with MCPServer("test").serving() as url:
        async with Wire(url) as wire:
            await wire.send(post(ACCEPT_BOTH, INITIALIZE, connection="close"))
            assert (await wire.reply()).headers["connection"] == "close"
            assert await wire.end() == b""
        async with Wire(url) as wire:
            await wire.send(b"nonsense\r\n\r\n" + b"x" * 1_000_000)
            reply = await wire.reply()
            assert (reply.status, reply.headers["connection"]) == (400, "close")
            assert await wire.end() == b""


@spoken
async def test_204_has_no_length_and_the_next_request_is_found():
    """[http.204-no-length]"""
    async with MCPServer("test").serving() as url, Wire(url) as wire:
        await wire.send(head("OPTIONS", host="localhost") + post(ACCEPT_BOTH, INITIALIZE))
        assert await wire.status() == 204
        assert not {"content-length", "transfer-encoding"} & wire.headers.keys()
        assert (await wire.reply()).status == 200


@spoken
async def test_expectation_of_100_continue_gets_it():
    """[http.expect-100]"""
    async with MCPServer("test").serving() as url, Wire(url) as wire:
        request = post(ACCEPT_BOTH, INITIALIZE, expect="100-continue")
        start, body = request.split(b"\r\n\r\n", 1)
        await wire.send(start + b"\r\n\r\n")
        assert await wire.reader.readexactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(body)
        assert (await wire.reply()).status == 200


@spoken
async def test_http_1_0_gets_a_stream_without_chunks_and_may_not_send_chunks():
    """[http.old-no-chunks] [http.old-no-coding]"""
    mcp = MCPServer("test")

    @mcp.tool()
    async def chat(ctx: Context) -> str:
        await ctx.info("hello")
        return "done"

    async with mcp.serving() as url:
        async with Wire(url) as wire:
            headers = await open_session(wire, "1.0", connection="keep-alive")
            await wire.send(post(headers, call(1, "chat"), "1.0"))
            assert await wire.status() == 200
            assert "transfer-encoding" not in wire.headers
            stream = await wire.end()
            assert stream.startswith(b"retry: 1000\nid: ") and stream.endswith(b'"text":"done"}]}}\n\n')
        async with Wire(url) as wire:
            await wire.send(head("POST", version="1.0", **ACCEPT_BOTH, transfer_encoding="chunked") + b"0\r\n\r\n")
            assert (await wire.reply()).status == 400


@pytest.mark.parametrize(
    "sent, seconds, status",
    [
        (b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n", 10, 408),
        (head("POST", **ACCEPT_BOTH, content_length=5) + b"{", 30, 408),
        (b"", 75, None),
    ],
    ids=["head", "body", "idle"],
)
@spoken
async def test_peer_that_keeps_us_waiting_is_given_up(sent, seconds, status):
    """[limits.time] Who began a request is told; who is only idle is not."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(sent)
        await eventually(lambda: [c for c in mcp.connections if c.deadline == clock.now + seconds])
        clock.turn(seconds)
        mcp.sweep()
        assert len(mcp.connections) == 1
        clock.turn(0.1)
        mcp.sweep()
        if status:
            assert (await wire.reply()).status == status
        assert await wire.end() == b""


@spoken
async def test_silent_stream_gets_a_comment_every_15_seconds():
    """[stream.heartbeat]"""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)
    async with mcp.serving() as url, Wire(url) as wire:
        headers = await open_session(wire)
        await wire.send(head("GET", **headers))
        assert await wire.status() == 200
        assert (await wire.event()).startswith("retry: 1000\nid: ")
        for _ in range(3):
            clock.turn(15)
            mcp.sweep()
            assert await wire.event() == ":"


@spoken
async def test_connection_beyond_the_limit_is_503():
    """[limits.connections]"""
    mcp = MCPServer("test", limits=Limits(connections=1))
    async with mcp.serving() as url, Wire(url) as first:
        await open_session(first)
        async with Wire(url) as second:
            reply = await second.reply()
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        await first.send(post(ACCEPT_BOTH, INITIALIZE))
        assert (await first.reply()).status == 200


@spoken
async def test_shutdown_lets_a_call_finish_and_ends_everything_else():
    """[shutdown.graceful]"""
    mcp, go = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await go.wait()
        return "done"

    url = await mcp.start(port=0)
    async with Wire(url) as wire, Wire(url) as listener:
        headers = await open_session(wire)
        await listener.send(head("GET", **headers))
        await listener.status()
        await wire.send(post(headers, call(1, "wait")))
        await eventually(lambda: mcp.calls)
        closing = asyncio.create_task(mcp.close())
        assert (await listener.messages()) == []
        with pytest.raises(OSError):
            await asyncio.open_connection(*wire.address)
        go.set()
        assert (await wire.reply()).message == text_result(1, "done")
        await closing
    assert not (mcp.connections or mcp.calls or mcp.sessions.by_id)


# --- Limits, data, the process around -----------------------------------------------------------------


def test_every_limit_is_set_in_one_place_and_looked_at():
    """[limits.named]"""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().sessions = 1  # type: ignore[misc]
    for limit in dataclasses.fields(Limits):
        assert limit.default > 0
        assert f"limits.{limit.name}" in CODE


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_result_that_is_no_json_is_a_tool_error(value):
    """[json.no-nan]"""

    async def conversation():
        mcp = MCPServer("test")
        mcp.add_tool(lambda: {"value": value}, "broken")
        client = await Client(mcp).connect()
        answer = await client.call("broken")
        assert answer.result["isError"] and str(value) in answer.result["content"][0]["text"]

    run(conversation())


@pytest.mark.parametrize(
    "template, uri, variables",
    [
        ("doc://{name}", "doc://a%20b%252F", {"name": "a b%2F"}),  # decoded once, after it was taken apart
        ("doc://{name}", "doc://a/b", None),
        ("doc://{+path}", "doc://a/b", {"path": "a/b"}),
        ("doc://{a}/{b}.md", "doc://x/y.md.md", {"a": "x", "b": "y.md"}),
        ("doc://{a}-{b}", "doc://" + "-" * 100_000, None),  # would take a careless pattern for ever
    ],
)
def test_uri_is_matched_in_one_pass(template, uri, variables):
    """[uri.template] [uri.percent-decoded] [template.linear]"""
    assert streamhttp_mcp.match_template(streamhttp_mcp.parse_template(template), uri) == variables


@pytest.mark.parametrize("template", ["{a", "a}", "{a}{b}", "{?q}", "{a*}", "{}"])
def test_template_beyond_simple_and_reserved_expansion_is_refused(template):
    """[uri.template]"""
    with pytest.raises(ValueError, match="cannot use the URI template"):
        streamhttp_mcp.parse_template(template)


def test_plain_function_holds_up_neither_other_calls_nor_the_end():
    """[handler.threads]"""

    async def conversation():
        mcp, go = MCPServer("test"), threading.Event()

        @mcp.tool()
        def wait() -> str:
            assert threading.current_thread().daemon
            go.wait(10)
            return "done"

        client = await Client(mcp).connect()
        waiting = asyncio.create_task(client.call("wait"))
        await until(lambda: mcp.calls)
        assert (await client.request("ping")).result == {}
        go.set()
        assert (await waiting).result["content"][0]["text"] == "done"

    run(conversation())


def test_importing_prints_nothing_and_starts_nothing():
    """[import.silent]"""
    program = """
import logging, signal, threading
before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
import streamhttp_mcp
assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
assert threading.active_count() == 1 and not logging.getLogger().handlers
logging.getLogger("streamhttp_mcp").info("nobody has asked to hear this")
"""
    folder = Path(streamhttp_mcp.__file__).parent
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "link.txt", "a/../../secret.txt", "..\\secret.txt", "~"])
def test_demo_reads_nothing_outside_its_folder(tmp_path, path):
    """[demo.inside-root]"""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")

    async def conversation():
        client = await Client(streamhttp_mcp.document_analyzer(root)).connect()
        answer = await client.call("analyze_document", {"path": path})
        assert answer.result["isError"]
        assert str(tmp_path) not in str(answer.result) and "structuredContent" not in answer.result

    run(conversation())


# --- Schemas ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema, reason",
    [
        ({"$ref": "https://example.com/schema"}, "nothing is fetched"),  # [schema.no-fetch]
        ({"$ref": "other.json#/$defs/a"}, "nothing is fetched"),
        ({"allOf": [{"$dynamicRef": "#a"}]}, "dynamicRef: is not supported"),  # [schema.refused-by-name]
        ({"unevaluatedProperties": False}, "unevaluatedProperties: is not supported"),
        ({"properties": {"a": {"unevaluatedItems": False}}}, "unevaluatedItems: is not supported"),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, "dependentSchemas: is not supported"),
        ({"properties": {"a": {"contains": {}, "minContains": 2}}}, "minContains: is not supported"),
        ({"properties": {"a": {"contains": {}, "maxContains": 2}}}, "maxContains: is not supported"),
        ({"$defs": {"a": {"$id": "https://example.com/a"}}}, "id.*: is not supported"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "schema: expected enum"),  # [schema.unsupported-dialect]
    ],
)
def test_schema_that_we_could_not_check_is_refused_at_registration(schema, reason):
    """[schema.no-fetch] [schema.refused-by-name]"""
    with pytest.raises(SchemaError, match=reason):
        check_schema(schema)
    with pytest.raises(SchemaError, match=reason):
        MCPServer("test").add_tool(lambda: None, "a", input_schema={"type": "object"} | schema)


@pytest.mark.parametrize(
    "schema, good, bad",
    [
        ({"$defs": {"n": {"$anchor": "n", "type": "integer"}}, "items": {"$ref": "#n"}}, [1], ["1"]),
        ({"if": {"const": 1}, "then": False, "else": {"type": "integer"}}, 2, 1),
    ],
)
def test_keywords_that_need_their_neighbours_are_enforced(schema, good, bad):
    """[schema.support-2020-12] [schema.validate-by-dialect] Also under the dialect's own name."""
    named = schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    for each in (schema, named):
        check_schema(each)
        check(good, each)
        with pytest.raises(SchemaError):
            check(bad, each)


@spoken
async def test_reply_to_head_has_the_head_only():
    """[http.head-no-body] The next request on the connection is answered as if nothing had been."""
    async with MCPServer("test").serving() as url, Wire(url) as wire:
        await wire.send(head("HEAD", host="localhost") + head("OPTIONS", host="localhost"))
        first = (await wire.reader.readuntil(b"\r\n\r\n")).decode()
        assert first.startswith("HTTP/1.1 405 ") and "Content-Length: 0" not in first
        assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")


@spoken
async def test_http_1_0_client_is_not_told_to_continue():
    """[http.old-no-expect] It would take the interim reply for the answer."""
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
    fields = {"host": "localhost", "expect": "100-continue", "content-type": "application/json", "content-length": len(body)}
    async with MCPServer("test").serving() as url, Wire(url) as wire:
        await wire.send(head("POST", "/mcp", "1.0", **fields) + body)
        assert (await wire.reader.readline()).startswith(b"HTTP/1.1 400 ")


@spoken
async def test_reason_of_a_cancellation_is_logged(caplog):
    """[cancel.log-reason] On one line, whatever the client wrote."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def wait() -> None:
        await asyncio.Event().wait()

    caplog.set_level("INFO", "streamhttp_mcp")
    client = await Client(mcp).connect()
    waiting = asyncio.create_task(client.request("tools/call", {"name": "wait"}, id=1))
    await until(lambda: mcp.calls)
    await client.notify("notifications/cancelled", {"requestId": 1, "reason": "bored\nnow"})
    await waiting
    assert caplog.messages == ["a client cancelled its call: 'bored\\nnow'"]


def test_nothing_in_a_schema_or_a_value_makes_us_run_for_ever():
    """[schema.bounded-depth] [schema.no-endless-recursion]"""
    deep: object = []
    for _ in range(500):
        deep = [deep]
    for schema, value in (({"$ref": "#"}, 1), ({"items": {"$ref": "#"}}, deep)):
        with pytest.raises(SchemaError, match="nested too deeply"):
            check(value, schema)


@pytest.mark.parametrize(
    "value, schema, fits",
    [
        (1.0, {"const": 1}, True),  # [schema.number-equality]
        (True, {"const": 1}, False),
        ([1, 1.0], {"uniqueItems": True}, False),
        (3.0, {"type": "integer"}, True),  # [schema.integer]
        (3.5, {"type": "integer"}, False),
        (True, {"type": "integer"}, False),
        ("x", {"x-colour": "red", "format": "date"}, True),  # [schema.unknown-keyword]
    ],
)
def test_json_values_are_compared_as_json_schema_says(value, schema, fits):
    """[schema.number-equality] [schema.integer] [schema.unknown-keyword]"""
    if fits:
        check(value, schema)
    else:
        with pytest.raises(SchemaError):
            check(value, schema)


@dataclass
class Everything:
    day: date
    moment: datetime
    id: UUID
    path: Path
    data: bytes
    pairs: dict[str, tuple[int, float | None]]
    tags: frozenset[str]


def test_what_we_write_fits_its_schema_and_reads_back():
    """[schema.round-trip] [schema.dialects-documented] The schemas are of JSON Schema 2020-12, as add_tool says."""
    value = Everything(
        date(2026, 7, 28), datetime(2026, 7, 28, 12, tzinfo=UTC), UUID(int=1), Path("a/b"), b"\0", {"a": (1, None)},
        frozenset({"x"}),
    )  # fmt: skip
    written = plain(value)
    check(written, schema_of(Everything))
    assert convert(written, Everything) == value
    assert "JSON Schema 2020-12" in (MCPServer.add_tool.__doc__ or "")


# --- The stateless revision ---------------------------------------------------------------------------


@spoken
async def test_stateless_client_hears_of_its_own_call_only_and_a_session_beside_it_is_served_as_ever():
    """[stream.own-request-only] [stream.no-buffering] [modern.same-endpoint] [modern.no-prior-requests]"""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def talk(ctx: Context, who: str) -> str:
        await ctx.info(f"{who}, {ctx.protocol_version}, {ctx.session_id is None}, {sorted(ctx.client_capabilities)}")
        await gate.wait()
        return who

    level = {META + "logLevel": "info"}
    clients = {
        "a": StatelessClient(mcp, {"roots": {}}, **level),
        "b": StatelessClient(mcp, **level),
        "c": await Client(mcp).connect(capabilities={"sampling": {}}),
    }
    calls = [asyncio.create_task(client.call("talk", {"who": who})) for who, client in clients.items()]
    await until(lambda: len(mcp.calls) == 3)
    mcp.notify_tools_changed()
    gate.set()
    answers = [await call for call in calls]
    assert [[message["params"]["data"] for message in answer.page.messages[:-1]] for answer in answers] == [
        ["a, 2026-07-28, True, ['roots']"],
        ["b, 2026-07-28, True, []"],
        ["c, 2025-11-25, False, ['sampling']"],
    ]
    assert {answer.headers["x-accel-buffering"] for answer in answers} == {"no"}


@spoken
async def test_stateless_notification_is_taken_and_cancels_nobody():
    """[modern.no-notifications] Ids belong to their exchange: whoever sends 1 could mean anybody's."""
    mcp, gate = MCPServer("test"), asyncio.Event()
    mcp.add_tool(gate.wait, "wait")
    call = asyncio.create_task(StatelessClient(mcp).call("wait", id=1))
    await until(lambda: mcp.calls)
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    answer = await Client(mcp).post(notice, mcp_protocol_version="2026-07-28", mcp_method=notice["method"])
    assert (answer.status, answer.reply.body) == (202, b"")
    gate.set()
    assert "error" not in (await call).message


@spoken
async def test_stateless_client_is_never_sent_a_retired_code():
    """[error.defined-codes] [resource.not-found-invalid-params] -32002 of the older revisions is -32602 now."""
    mcp = MCPServer("test")
    mcp.add_resource(lambda x: 1 / 0, "a:{x}")
    unknown, broken = [await StatelessClient(mcp).request("resources/read", {"uri": uri}) for uri in ("b:1", "a:1")]
    assert (unknown.status, unknown.error["code"], unknown.error["data"]) == (400, -32602, {"uri": "b:1"})
    assert (broken.status, broken.error) == (200, {"code": -32603, "message": "Internal error"})


@spoken
async def test_lists_are_the_same_for_every_stateless_client_and_so_are_their_hints():
    """[list.not-per-connection] [cache.same-scope]"""
    mcp = number_server(5, cache_lists=(5, "private"))
    first = await StatelessClient(mcp).request("tools/list")
    second = await StatelessClient(mcp, {"roots": {}}).request("tools/list")
    assert [tool["name"] for tool in first.result["tools"]] == [f"tool{n}" for n in range(5)]
    assert (first.result["ttlMs"], first.result["cacheScope"]) == (5, "private")
    assert second.result == first.result


@spoken
async def test_prompt_may_link_to_a_resource():
    """[prompt.resource-link]"""
    mcp, link = MCPServer("test"), {"type": "resource_link", "uri": "a:1", "name": "one"}
    mcp.add_prompt(lambda: link, "show")
    answer = await StatelessClient(mcp).request("prompts/get", {"name": "show"})
    assert answer.result["messages"] == [{"role": "user", "content": link}]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"mcp_method": "Tools/Call"}, 400),  # [header.case]
        ({"mcp_name": "ECHO"}, 400),
        ({"mcp_name": "=?base64?ZWNobw==?="}, 200),
        ({"mcp_name": "=?BASE64?ZWNobw==?="}, 400),
        ({"mcp_name": "\xe9cho"}, 400),  # [header.characters-valid]
        ({"mcp_name": "=?base64?6WNobw==?="}, 400),  # not UTF-8
        ({"mcp_name": "=?base64?ZWNo bw==?="}, 400),
    ],
)
@spoken
async def test_header_values_are_compared_to_the_letter(fields, status):
    """[header.case] [header.characters-valid] [header.base64-decoded] [header.mismatch-error]"""
    mcp = MCPServer("test")
    mcp.add_tool(lambda: "", "echo")
    answer = await StatelessClient(mcp).call("echo", **fields)
    assert (answer.status, answer.message.get("error", {}).get("code")) == (status, -32020 if status == 400 else None)


@spoken
async def test_log_level_that_does_not_exist_is_invalid_params():
    """[log.level-unknown]"""
    answer = await StatelessClient(MCPServer("test"), **{META + "logLevel": "loud"}).request("tools/list")
    assert (answer.status, answer.error["code"]) == (400, -32602)


@spoken
async def test_question_by_url_has_no_identifier():
    """[elicit.url-without-id] The handler gives one for clients of 2025-11-25; here the state is enough."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def visit(ctx: Context) -> str:
        return (await ctx.elicit_url("Please log in.", "https://example.com/login", "id-1", key="visit")).action

    client = StatelessClient(mcp, {"elicitation": {"url": {}}})
    asked = await client.call("visit")
    params = {"mode": "url", "message": "Please log in.", "url": "https://example.com/login"}
    assert asked.result["inputRequests"] == {"visit": {"method": "elicitation/create", "params": params}}
    answer = await client.answer(asked, visit={"action": "accept"})
    assert answer.result["content"] == [{"type": "text", "text": "accept"}]


@spoken
async def test_each_listen_stream_has_what_it_asked_for_under_its_own_id():
    """[listen.several] [listen.tagged] [resource.listened] Even where a client uses one id twice, or 1 and "1"."""
    mcp = number_server(2)
    streams = [
        await StatelessClient(mcp).request("subscriptions/listen", {"notifications": wanted}, id=id)
        for id, wanted in [(1, {"resourceSubscriptions": ["a:0"]}), ("1", {"toolsListChanged": True}), (1, {})]
    ]
    mcp.notify_resource_updated("a:1")
    mcp.notify_resource_updated("a:0")
    mcp.notify_tools_changed()
    mcp.notify_prompts_changed()
    for stream, id, method in zip(streams[:2], (1, "1"), ("resources/updated", "tools/list_changed"), strict=True):
        acknowledged, notice = await stream.page.wait_messages(2)
        assert acknowledged["params"]["_meta"] == notice["params"]["_meta"] == {META + "subscriptionId": id}
        assert notice["method"] == f"notifications/{method}"
    await mcp.close()


@pytest.mark.parametrize("cache", [(-1, "public"), (1.5, "public"), (True, "public"), (0, "shared"), (0, None)])
def test_cache_hint_that_no_client_could_read_is_refused_at_registration(cache):
    """[cache.form]"""
    for setting in ("cache_lists", "cache_reads"):
        with pytest.raises(ValueError, match="expected milliseconds, and 'public' or 'private'"):
            MCPServer("test", **{setting: cache})


@spoken
async def test_call_beyond_those_that_the_server_runs_is_503_in_both_eras():
    """[limits.all-calls] [modern.rate-limit] Who waits for a call to end gets in again; a listener takes no place."""
    mcp, go = MCPServer("test", limits=Limits(all_calls=2)), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await go.wait()
        return "done"

    stateless, session = StatelessClient(mcp), await Client(mcp).connect()
    await stateless.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    calls = [asyncio.create_task(client.call("wait")) for client in (stateless, session)]
    await until(lambda: len(mcp.calls) == 3)
    assert (await session.notify("notifications/cancelled", {"requestId": "none"})).status == 202
    for client in (stateless, session):
        refused = await client.request("ping" if client is session else "tools/list")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    go.set()
    assert [answer.result["content"][0]["text"] for answer in await asyncio.gather(*calls)] == ["done", "done"]
    assert (await session.request("ping")).status == 200


@spoken
async def test_malformed_request_is_not_answered_in_the_manner_of_the_one_before():
    """[http.head-no-body] [error.id-required] Neither without a body, after a HEAD, nor by its version header."""
    async with MCPServer("test").serving() as url, Wire(url) as wire:
        await wire.send(head("HEAD", host="localhost", mcp_protocol_version="2025-11-25"))
        assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        await wire.send(b"nonsense\r\n\r\n")
        answer = await wire.end()
        assert answer.startswith(b"HTTP/1.1 400 ") and b'"id":null' in answer
