"""Section 9, without a session (2026-07-28): each request speaks for itself.

Its questions are in test_questions.py, its notices in test_listen.py.
"""

import asyncio
import json
import threading
from typing import Annotated, Any

import pytest
from inmemory import Client, Clock, StatelessClient, library, spoken, until
from wire import Wire, eventually, post

from streamhttp_mcp import META, METHODS, Context, Limits, MCPServer, ToolResult, elicit_form

V = "2026-07-28"
SERVED = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]
SERVER = {"name": "test", "version": "0.1.0"}
LISTED = {"ttlMs": 60_000, "cacheScope": "public"}
NEVER_KEPT = {"ttlMs": 0, "cacheScope": "private"}


def complete(hints: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """A whole result of this revision."""
    return {"resultType": "complete", **members, "_meta": {META + "serverInfo": SERVER}, **(hints or {})}


def said(text: str) -> dict[str, Any]:
    return complete(content=[{"type": "text", "text": text}])


def error(id: Any, code: int, message: str, **data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, **data}}


def refused(answer) -> tuple[int, int]:
    """The status and the code of a refusal, which has the request's id, and is JSON whatever comes."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.message["id"] == "mine"
    return answer.status, answer.error["code"]


def everything(**settings: Any) -> MCPServer:
    """A server with one of everything."""
    mcp = library(**settings)

    @mcp.tool()
    async def echo(text: str = "nothing") -> str:
        return text

    return mcp


# --- Choosing the era -----------------------------------------------------------------------------------

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
WHOLE = {META + "protocolVersion": V, META + "clientCapabilities": {}}
UNKNOWN = WHOLE | {META + "protocolVersion": "v999.0.0"}


@pytest.mark.parametrize(
    ("method", "header", "meta", "outcome"),
    [
        ("initialize", None, None, "session"),
        ("initialize", "2025-11-25", None, "session"),
        ("initialize", V, None, "session"),
        ("initialize", "v999.0.0", None, "session"),
        ("initialize", None, {"progressToken": 1}, "session"),
        ("initialize", V, WHOLE, (404, -32601)),
        ("tools/list", V, WHOLE, "stateless"),
        ("tools/list", V, WHOLE | {"progressToken": 1, "traceparent": "00-1-2-03"}, "stateless"),
        ("tools/list", V, None, (400, -32602)),
        ("tools/list", V, {}, (400, -32602)),
        ("tools/list", None, WHOLE, (400, -32020)),
        ("tools/list", "2025-11-25", WHOLE, (400, -32020)),
        ("tools/list", None, {META + "protocolVersion": V}, (400, -32602)),
        ("tools/list", None, {META + "clientCapabilities": {}}, (400, -32602)),
        ("tools/list", "v999.0.0", UNKNOWN, (400, -32022)),
        ("tools/list", V, UNKNOWN, (400, -32020)),
        ("tools/list", None, None, (400, -32600)),  # a session's request, and there is none
        ("tools/list", "2025-11-25", None, (400, -32600)),
        ("tools/list", None, {"progressToken": 1, META + "clientInfo": {}}, (400, -32600)),
        ("tools/list", "v999.0.0", None, (400, -32600)),
    ],
)
@spoken
async def test_era_is_chosen_by_what_the_request_says(method, header, meta, outcome):
    """[modern.era-chosen] [initialize.always]"""
    params = (HELLO if method == "initialize" else {}) | ({} if meta is None else {"_meta": meta})
    answer = await Client(everything()).request(method, params, mcp_protocol_version=header, mcp_method=method)
    if outcome == "session":
        assert answer.status == 200 and answer.headers["mcp-session-id"] and "resultType" not in answer.result
    elif outcome == "stateless":
        assert answer.status == 200 and answer.result["resultType"] == "complete"
    else:
        assert (answer.status, answer.error["code"]) == outcome
    assert ("mcp-session-id" in answer.headers) == (outcome == "session")


@pytest.mark.parametrize("session_id", ["its own", "garbage", "", None])
@spoken
async def test_session_id_on_a_stateless_request_is_not_even_looked_at(session_id):
    """[modern.no-session] Neither an id that works nor one that does not changes anything."""
    clock = Clock()
    mcp = everything(clock=clock, session_timeout=300)

    @mcp.tool()
    async def who(ctx: Context) -> str:
        return f"{ctx.session_id} {ctx.protocol_version}"

    session = await Client(mcp).connect()
    clock.turn(200)
    header = session.headers["mcp-session-id"] if session_id == "its own" else session_id
    answer = await StatelessClient(mcp).call("who", mcp_session_id=header)
    assert answer.result == said(f"None {V}")
    assert answer.reply.headers == (("Content-Type", "application/json"),)
    clock.turn(100)
    mcp.sweep()  # the session was not used for 300 seconds: what came without a session was no use of it
    assert (await session.request("ping")).status == 404


@pytest.mark.parametrize("event_id", ["0123456789abcdef-1", "garbage", ""])
@spoken
async def test_last_event_id_is_ignored(event_id):
    """[stream.no-event-ids] Streams of this revision cannot be resumed."""
    answer = await StatelessClient(everything()).call("echo", {"text": "hi"}, last_event_id=event_id)
    assert (answer.status, answer.result) == (200, said("hi"))


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json", None])
@pytest.mark.parametrize("verb", ["GET", "DELETE"])
@spoken
async def test_get_and_delete_are_405(verb, accept):
    """[modern.get-405] [modern.no-session] [http.405-allow] Even with a session's id, which then lives on."""
    client = await Client(everything()).connect()
    answer = await client.http(verb, mcp_protocol_version=V, accept=accept)
    text = "revision 2026-07-28 knows POST only"
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert answer.message == {"jsonrpc": "2.0", "error": {"code": -32600, "message": text}}
    assert (await client.request("ping")).result == {}


@pytest.mark.parametrize(
    "method", ["notifications/cancelled", "notifications/initialized", "notifications/unknown", "initialize"]
)
@pytest.mark.parametrize("meta", [{}, {"_meta": WHOLE}])
@spoken
async def test_notification_is_answered_202_with_no_body(method, meta):
    """[post.notification-202] [notification.no-response]"""
    answer = await Client(everything()).post(
        {"jsonrpc": "2.0", "method": method, "params": meta}, mcp_protocol_version=V
    )
    assert (answer.status, answer.reply.headers, answer.reply.body) == (202, (), b"")


@pytest.mark.parametrize(
    "body",
    [
        {"jsonrpc": "2.0", "id": 1, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}},
        [],
        [{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": WHOLE}}],
        [{"jsonrpc": "2.0", "method": "notifications/cancelled"}],
    ],
)
@spoken
async def test_response_or_batch_is_400(body):
    """[modern.no-responses] [post.single-message]"""
    answer = await Client(everything()).post(body, mcp_protocol_version=V)
    text = "expected one request: 2026-07-28 has no batches, and no responses of clients"
    assert (answer.status, answer.message) == (400, {"jsonrpc": "2.0", "error": {"code": -32600, "message": text}})


# --- The metadata of a request --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("protocolVersion", [None, 20260728, ["2026-07-28"], {}, True]),
        ("clientCapabilities", [None, [], "sampling", 1, True]),
        ("clientInfo", [[], "me", 1, False]),
        ("logLevel", ["loud", "INFO", 6, [], {}, ""]),
    ],
)
@spoken
async def test_meta_that_is_not_whole_is_400_invalid_params(key, values):
    """[meta.required] [log.level-unknown] None leaves the field out; the message names it."""
    client = StatelessClient(everything())
    for value in values:
        answer = await client.request("tools/list", id="mine", meta={META + key: value}, mcp_protocol_version=V)
        assert refused(answer) == (400, -32602)
        assert META + key in answer.error["message"]


@pytest.mark.parametrize(
    "params", [None, {}, {"_meta": None}, {"_meta": []}, {"_meta": "x"}, {"_meta": {META + "clientInfo": {}}}]
)
@spoken
async def test_request_without_meta_under_the_header_is_400_invalid_params(params):
    """[meta.required]"""
    message = {"jsonrpc": "2.0", "id": "mine", "method": "server/discover"} | (
        {} if params is None else {"params": params}
    )
    answer = await Client(everything()).post(message, mcp_protocol_version=V, mcp_method="server/discover")
    assert refused(answer) == (400, -32602)


@spoken
async def test_client_need_not_say_its_name_and_handlers_see_what_it_says():
    """[meta.required] [modern.no-prior-requests] Of this request, not of an earlier one."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def who(ctx: Context) -> str:
        return json.dumps([ctx.client_info, ctx.client_capabilities, ctx.headers["x-mine"]])

    client = StatelessClient(mcp, {"roots": {}})
    assert (await client.call("who", x_mine="1")).result == said(
        '[{"name": "inmemory", "version": "1"}, {"roots": {}}, "1"]'
    )
    nobody = {META + "clientInfo": None, META + "clientCapabilities": {}}
    assert (await client.call("who", x_mine="2", meta=nobody)).result == said('[{}, {}, "2"]')


BENT = [
    ("mcp_protocol_version", None), ("mcp_protocol_version", ""), ("mcp_protocol_version", "2025-11-25"),
    ("mcp_protocol_version", "2026-07-28x"), ("mcp_protocol_version", "=?base64?MjAyNi0wNy0yOA==?="),
    ("mcp_method", None), ("mcp_method", ""), ("mcp_method", "tools/list"), ("mcp_method", "TOOLS/CALL"),
    ("mcp_method", "tools/call, tools/call"),
    ("mcp_method", "=?base64?dG9vbHMvY2FsbA==?="),  # a proxy reads this one as it is
    ("mcp_name", None), ("mcp_name", ""), ("mcp_name", "other"), ("mcp_name", "ECHO"), ("mcp_name", "echo, echo"),
    ("mcp_name", "=?base64?ZWNobw?="),  # no padding
    ("mcp_name", "=?base64?ZWNobx==?="),  # odd bits in it
    ("mcp_name", "=?base64?ZWN!!obw==?="), ("mcp_name", "=?base64? ZWNobw==?="), ("mcp_name", "=?base64?ZWNobw===?="),
    ("mcp_name", "=?BASE64?ZWNobw==?="), ("mcp_name", "=?base64?ZWNobw=="), ("mcp_name", "=?base64?/w==?="),
    ("mcp_name", "echo\xe9"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BENT)
@spoken
async def test_header_that_differs_from_the_body_is_400_header_mismatch(name, value):
    """[header.version-matches] [header.method-matches] [header.name-matches] [header.base64-decoded]
    [header.mismatch-error] [header.characters-valid] [header.case] And nothing runs.
    """
    mcp, ran = MCPServer("test"), []

    @mcp.tool()
    async def echo() -> None:
        ran.append(1)

    answer = await StatelessClient(mcp).call("echo", id="mine", **{name: value})
    assert refused(answer) == (400, -32020)
    assert answer.error["message"].startswith(f"Header mismatch: {name.replace('_', '-')} ") and ran == []


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "echo"}, "echo"),
        ("tools/call", {"name": "echo"}, "=?base64?ZWNobw==?="),
        ("prompts/get", {"name": "ask", "arguments": {"topic": "x"}}, "ask"),
        ("prompts/get", {"name": "café"}, "=?base64?Y2Fmw6k=?="),
        ("resources/read", {"uri": "doc://a"}, "doc://a"),
        ("resources/read", {"uri": "doc:// ü/notes"}, "=?base64?ZG9jOi8vIMO8L25vdGVz?="),
    ],
)
@spoken
async def test_name_is_that_of_the_tool_the_prompt_or_the_resource(method, params, name):
    """[header.name-matches] [header.base64-decoded]"""
    mcp = everything()
    mcp.add_prompt(lambda: "hi", "café")
    client = StatelessClient(mcp)
    assert (await client.request(method, params, mcp_name=name)).result["resultType"] == "complete"
    assert refused(await client.request(method, params, id="mine", mcp_name="other")) == (400, -32020)
    assert refused(await client.request(method, params, id="mine", mcp_name=None)) == (400, -32020)


@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
@pytest.mark.parametrize("name", [{}, {"name": None, "uri": None}, {"name": 5, "uri": 5}])
@spoken
async def test_call_that_names_nothing_is_400_invalid_params(method, name):
    """[meta.required] [tool.unknown-error] The header says the same as the body: nothing, or a number."""
    header = "5" if name.get("name") else None
    answer = await StatelessClient(everything()).request(method, name, id="mine", mcp_name=header)
    assert refused(answer) == (400, -32602)


@spoken
async def test_header_names_have_no_case_and_space_around_values_does_not_count():
    """[header.case] As the bytes come from a socket."""
    mcp = everything()
    fields = b"Host: localhost\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
    params = {"name": "echo", "arguments": {"text": "hi"}, "_meta": WHOLE}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    mirrored = b"MCP-METHOD:tools/call\r\nmcp-name:  \t echo  \r\nMcp-Protocol-VERSION: 2026-07-28 \r\n"
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(
            b"POST /mcp HTTP/1.1\r\n" + fields + mirrored + b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        assert (await wire.reply()).message["result"] == said("hi")


@pytest.mark.parametrize("version", ["v999.0.0", "1900-01-01", "2024-11-05", "2025-11-25", "2026-07-29", "x" * 50])
@spoken
async def test_version_that_is_not_served_is_400_with_those_that_are(version):
    """[version.unsupported] 2025-11-25 is served, but by `initialize`."""
    client = StatelessClient(everything())
    answer = await client.request("tools/list", id="mine", meta={META + "protocolVersion": version})
    data = {"supported": SERVED, "requested": version}
    text = "Unsupported protocol version"
    assert answer.status == 400 and answer.message == error("mine", -32022, text, data=data)
    assert (await client.request("server/discover")).result["supportedVersions"] == data["supported"]


@pytest.mark.parametrize("header", [None, V, "2025-11-25"])
@spoken
async def test_version_header_that_differs_is_told_before_a_version_that_is_not_served(header):
    """[header.version-matches] [version.unsupported]"""
    meta = {META + "protocolVersion": "v999.0.0"}
    answer = await StatelessClient(everything()).request(
        "tools/list", id="mine", meta=meta, mcp_protocol_version=header
    )
    assert refused(answer) == (400, -32020)


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "unknown/method",
        "",
        "tools/call ",
    ],
)
@spoken
async def test_unknown_or_removed_method_is_404(method):
    """[method.unknown-404] [jsonrpc.method-not-found]"""
    answer = await StatelessClient(everything()).request(method, id="mine", mcp_method=method)
    assert (answer.status, answer.message) == (404, error("mine", -32601, f"Method not found: {method}"))


@spoken
async def test_completion_of_a_server_that_completes_nothing_is_404():
    """[method.unknown-404]"""
    answer = await StatelessClient(MCPServer("test")).request("completion/complete", id="mine")
    assert (answer.status, answer.message) == (404, error("mine", -32601, "this server completes nothing"))


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen"])
@spoken
async def test_session_does_not_know_the_new_methods(method):
    """[operation.negotiated-version] [jsonrpc.method-not-found]"""
    answer = await (await Client(everything()).connect()).request(method, {}, id="mine")
    assert (answer.status, answer.message) == (200, error("mine", -32601, f"Method not found: {method}"))


# --- Arguments in headers -------------------------------------------------------------------------------

STRING = {"type": "string", "x-mcp-header": "Region"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"a": STRING | {"x-mcp-header": ""}}, "x-mcp-header of a.x-mcp-header: expected pattern"),
        ({"a": STRING | {"x-mcp-header": "My Region"}}, "expected pattern"),
        ({"a": STRING | {"x-mcp-header": "a\r\nEvil"}}, "x-mcp-header of a.x-mcp-header: expected pattern"),
        ({"a": STRING | {"x-mcp-header": "a\n"}}, "x-mcp-header of a.x-mcp-header: expected pattern"),
        ({"a": STRING | {"x-mcp-header": "Région"}}, "x-mcp-header of a.x-mcp-header: expected pattern"),
        ({"a": STRING | {"x-mcp-header": "a:b"}}, "x-mcp-header of a.x-mcp-header: expected pattern"),
        ({"a": STRING | {"x-mcp-header": 5}}, "x-mcp-header of a.x-mcp-header: expected string, got 5"),
        ({"a": STRING | {"x-mcp-header": None}}, "x-mcp-header of a.x-mcp-header: expected string, got null"),
        ({"a": STRING, "b": STRING | {"x-mcp-header": "REGION"}}, "an x-mcp-header stands twice"),
        ({"a": STRING, "b": {"type": "object", "properties": {"c": STRING}}}, "an x-mcp-header stands twice"),
        ({"a": {"type": "number", "x-mcp-header": "A"}}, "x-mcp-header of a.type: expected enum"),
        ({"a": {"type": "object", "x-mcp-header": "A"}}, "x-mcp-header of a.type: expected enum"),
        ({"a": {"type": "array", "x-mcp-header": "A"}}, "x-mcp-header of a.type: expected enum"),
        ({"a": {"type": "null", "x-mcp-header": "A"}}, "x-mcp-header of a.type: expected enum"),
        ({"a": {"type": ["string", "null"], "x-mcp-header": "A"}}, "x-mcp-header of a.type: expected enum"),
        ({"a": {"enum": ["x"], "x-mcp-header": "A"}}, "x-mcp-header of a.type: is required"),
        ({"a": {"type": "array", "items": STRING}}, "no fixed path of properties"),
        ({"a": {"type": "array", "items": {"type": "object", "properties": {"b": STRING}}}}, "no fixed path"),
        ({"a": {"type": "array", "prefixItems": [STRING]}}, "no fixed path"),
        ({"a": {"anyOf": [STRING, {"type": "null"}]}}, "no fixed path"),
        ({"a": {"oneOf": [STRING]}}, "no fixed path"),
        ({"a": {"allOf": [STRING]}}, "no fixed path"),
        ({"a": {"not": STRING}}, "no fixed path"),
        ({"a": {"if": STRING, "then": STRING, "else": STRING}}, "no fixed path"),
        ({"a": {"type": "object", "additionalProperties": STRING}}, "no fixed path"),
        ({"a": {"type": "object", "patternProperties": {"^x": STRING}}}, "no fixed path"),
    ],
)
def test_header_annotation_that_cannot_work_is_refused_at_registration(schema, words):
    """[header.annotation-valid]"""
    mcp = MCPServer("test")
    with pytest.raises(ValueError, match="x-mcp-header") as refusal:
        mcp.add_tool(lambda **arguments: None, "t", input_schema={"type": "object", "properties": schema})
    assert words in str(refusal.value) and mcp.tools == {}


def test_header_annotation_in_a_definition_or_at_the_root_is_refused():
    """[header.annotation-valid] A $ref leads there, and that is no fixed path."""
    definitions = {"$defs": {"R": STRING}, "properties": {"a": {"$ref": "#/$defs/R"}}}
    for schema in ({"type": "object"} | definitions, {"type": "object", "x-mcp-header": "A"}):
        with pytest.raises(ValueError, match="x-mcp-header"):
            MCPServer("test").add_tool(lambda **arguments: None, "t", input_schema=schema)


@pytest.mark.parametrize("hint", [float, list[str], str | None, dict[str, str]])
def test_header_annotation_on_a_parameter_of_another_type_is_refused(hint):
    """[header.annotation-valid]"""

    async def tool(a: Annotated[hint, {"x-mcp-header": "A"}]) -> None: ...

    tool.__annotations__["a"] = Annotated[hint, {"x-mcp-header": "A"}]
    with pytest.raises(ValueError, match="x-mcp-header of a.type: "):
        MCPServer("test").add_tool(tool)


@spoken
async def test_annotated_parameter_is_shown_in_the_schema_and_compared():
    """[header.params-match] [header.annotation-valid]"""
    mcp = MCPServer("test")

    @mcp.tool()
    async def query(region: Annotated[str, "Where", {"x-mcp-header": "Region"}] = "eu") -> str:
        return region

    client = StatelessClient(mcp)
    (tool,) = (await client.request("tools/list")).result["tools"]
    shown = {"type": "string", "description": "Where", "x-mcp-header": "Region", "default": "eu"}
    assert tool["inputSchema"]["properties"] == {"region": shown}
    assert (await client.call("query", {"region": "us"}, mcp_param_region="us")).result == said("us")
    assert (await client.call("query")).result == said("eu")
    answer = await client.call("query", {"region": "us"}, mcp_param_region="asia", id="mine")
    text = "Header mismatch: mcp-param-region is 'asia', but the body says \"us\""
    assert (answer.status, answer.message) == (400, error("mine", -32020, text))
    session = await Client(mcp).connect()  # knows nothing of such headers
    assert (await session.call("query", {"region": "us"}, mcp_param_region="asia")).result["content"][0]["text"] == "us"


@pytest.mark.parametrize(
    ("arguments", "header", "same"),
    [
        ({"text": "eu"}, "eu", True), ({"text": "eu"}, None, False), ({"text": "eu"}, "EU", False),
        ({"text": "eu"}, "", False),
        ({"text": ""}, "", True), ({"text": ""}, None, False),
        ({}, None, True), ({}, "eu", False), ({}, "", False), ({"text": None}, None, True),
        ({"text": None}, "null", False),
        # The forms of Base64, and what only looks like it.
        ({"text": "Hello"}, "=?base64?SGVsbG8=?=", True), ({"text": "Hello"}, "=?base64?SGVsbG8?=", False),
        ({"text": "Hello"}, "=?base64?SGVs!!!bG8=?=", False), ({"text": "SGVsbG8="}, "SGVsbG8=", True),
        ({"text": "=?base64?SGVsbG8="}, "=?base64?SGVsbG8=", True), ({"text": "Hello"}, "=?Base64?SGVsbG8=?=", False),
        ({"text": "Hello, 世界"}, "=?base64?SGVsbG8sIOS4lueVjA==?=", True),
        ({"text": " padded "}, "=?base64?IHBhZGRlZCA=?=", True),
        ({"text": "line1\nline2"}, "=?base64?bGluZTEKbGluZTI=?=", True),
        ({"text": "=?base64?literal?="}, "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", True),
        ({"text": "=?base64?literal?="}, "=?base64?literal?=", False), ({"text": ""}, "=?base64??=", True),
        ({"text": "é"}, "é", False), ({"text": "é"}, "\xc3\xa9", False),
        # Integers, by what they are worth.
        ({"size": 42}, "42", True), ({"size": 42}, "42.0", True), ({"size": 42.0}, "42", True),
        ({"size": 42}, "42.000", True),
        ({"size": -7}, "-7", True), ({"size": 0}, "0", True), ({"size": 42}, "43", False),
        ({"size": 42}, "42.5", False),
        ({"size": 42}, "4_2", False), ({"size": 42}, "0x2a", False), ({"size": 42}, "\u0664\u0662", False),
        ({"size": 42}, "", False), ({"size": 42}, None, False), ({"size": 42}, "nan", False),
        ({"size": 42}, "42 ", False),
        ({"size": 42}, "=?base64?NDI=?=", True), ({"size": 1}, "true", False),
        ({"size": 9007199254740991}, "9007199254740991", True), ({"size": 9007199254740992}, "9007199254740993", False),
        ({"deep": True}, "true", True), ({"deep": False}, "false", True), ({"deep": True}, "True", False),
        ({"deep": True}, "1", False), ({"deep": False}, None, False), ({"deep": True}, "false", False),
        ({"where": {"zone": "a"}}, "a", True), ({"where": {"zone": "a"}}, "b", False),
        ({"where": {"zone": "a"}}, None, False),
        ({"where": {}}, None, True), ({"where": 5}, None, True), ({"zone": "a"}, None, True),
    ],
)  # fmt: skip
@spoken
async def test_argument_and_its_header_must_be_the_same(arguments, header, same):
    """[header.params-match] [header.integers-numeric] [header.integers-safe] [header.base64-decoded] None: no header."""
    zone = {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}}}
    kinds = {"text": "string", "size": "integer", "deep": "boolean"}
    properties = {name: {"type": kind, "x-mcp-header": name} for name, kind in kinds.items()} | {"where": zone}
    mcp = MCPServer("test")
    mcp.add_tool(lambda **arguments: "ran", "t", input_schema={"type": "object", "properties": properties})
    field = "mcp_param_" + {"where": "zone"}.get(next(iter(arguments), "text"), next(iter(arguments), "text"))
    answer = await StatelessClient(mcp).call("t", arguments, id="mine", mcp_param_other="ignored", **{field: header})
    assert answer.status == 200 if same else refused(answer) == (400, -32020)


# --- Results --------------------------------------------------------------------------------------------

CAPABILITIES = {
    "tools": {"listChanged": True}, "resources": {"subscribe": True, "listChanged": True},
    "prompts": {"listChanged": True}, "logging": {}, "completions": {},
}  # fmt: skip
TEXT = {"name": "echo", "inputSchema": {"type": "object", "properties": {
    "text": {"type": "string", "default": "nothing"}}}}  # fmt: skip
COMPLETE = {"ref": {"type": "ref/prompt", "name": "ask"}, "argument": {"name": "topic", "value": "t"}}
QUESTION = {"role": "user", "content": {"type": "text", "text": "What about tea?"}}
RESULTS = {
    "server/discover": ({}, complete(LISTED, supportedVersions=SERVED, capabilities=CAPABILITIES)),
    "tools/list": ({}, complete(LISTED, tools=[TEXT])),
    "tools/call": ({"name": "echo", "arguments": {"text": "hi"}}, said("hi")),
    "resources/list": ({}, complete(LISTED, resources=[{"uri": "doc://a", "name": "document"}])),
    "resources/templates/list": (
        {}, complete(LISTED, resourceTemplates=[{"uriTemplate": "doc://{name}/notes", "name": "notes"}])),
    "resources/read": (
        {"uri": "doc://a"},
        complete(NEVER_KEPT, contents=[{"uri": "doc://a", "mimeType": "text/plain", "text": "hello"}])),
    "prompts/list": (
        {}, complete(LISTED, prompts=[{"name": "ask", "arguments": [{"name": "topic", "required": True}]}])),
    "prompts/get": ({"name": "ask", "arguments": {"topic": "tea"}}, complete(messages=[QUESTION])),
    "completion/complete": (COMPLETE, complete(completion={"values": ["t1", "t2"], "total": 2, "hasMore": False})),
    "subscriptions/listen": (
        {}, {"resultType": "complete", "_meta": {META + "serverInfo": SERVER, META + "subscriptionId": "mine"}}),
}  # fmt: skip


def test_every_method_of_the_revision_has_a_conversation_here():
    """[operation.negotiated-version]"""
    assert {name for name, method in METHODS.items() if method.last == V} == RESULTS.keys()


@pytest.mark.parametrize("method", RESULTS)
@spoken
async def test_method_answers_with_its_whole_result(method):
    """[result.type] [meta.server-info] [cache.hints] [discover.served] Twice, as the first result may be kept."""
    params, result = RESULTS[method]
    client = StatelessClient(everything())
    for _ in range(2):
        answer = await (await client.request(method, params, id="mine")).complete()
        assert answer.status == 200 and answer.message == {"jsonrpc": "2.0", "id": "mine", "result": result}


@spoken
async def test_discovery_tells_what_the_author_says():
    """[discover.served] [meta.server-info] Nothing depends on its having been asked for."""
    mcp = MCPServer("test", version="2.0", title="Test", instructions="Be kind.", cache_lists=(5, "private"))
    result = (await StatelessClient(mcp).request("server/discover")).result
    capabilities = {name: value for name, value in CAPABILITIES.items() if name != "completions"}
    assert result == {
        "resultType": "complete", "supportedVersions": SERVED, "capabilities": capabilities, "instructions": "Be kind.",
        "ttlMs": 5, "cacheScope": "private",
        "_meta": {META + "serverInfo": {"name": "test", "title": "Test", "version": "2.0"}},
    }  # fmt: skip


@spoken
async def test_failed_and_structured_results_have_a_type_too():
    """[result.type] [meta.server-info] What the author puts into _meta stays."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def fail() -> str:
        raise ValueError("no luck")

    @mcp.tool()
    async def count() -> dict[str, int]:
        return {"n": 1}

    @mcp.tool()
    async def marked() -> ToolResult:
        return ToolResult(["hi"], meta={"mine": 1})

    client = StatelessClient(mcp)
    assert (await client.call("fail")).result == said("no luck") | {"isError": True}
    assert (await client.call("count")).result == said('{"n": 1}') | {"structuredContent": {"n": 1}}
    assert (await client.call("marked")).result == said("hi") | {"_meta": {META + "serverInfo": SERVER, "mine": 1}}


@pytest.mark.parametrize("uri", ["doc://b", "other"])
@spoken
async def test_unknown_resource_is_invalid_params(uri):
    """[resource.not-found-invalid-params] -32002 is for sessions."""
    mcp, params = everything(), {"uri": uri}
    answer = await StatelessClient(mcp).request("resources/read", params, id="mine")
    text = f"Resource not found: {uri}"
    assert (answer.status, answer.message) == (400, error("mine", -32602, text, data=params))
    answer = await (await Client(mcp).connect()).request("resources/read", params, id="mine")
    assert (answer.status, answer.message) == (200, error("mine", -32002, text, data=params))


@spoken
async def test_cache_hints_are_set_per_server_and_sessions_get_none():
    """[cache.hints] [cache.same-scope] [operation.negotiated-version] The eras share no list, whoever comes first."""
    mcp = MCPServer("test", cache_lists=(5000, "private"), cache_reads=(1000, "public"))
    mcp.add_resource(lambda: "a", "doc://plain")
    mcp.add_resource(lambda name: name, "own://{name}")
    lists = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"]

    async def hints(client: Client, method: str, **params: str) -> tuple[Any, ...]:
        result = (await client.request(method, params)).result
        return result.get("ttlMs"), result.get("cacheScope"), result.get("resultType")

    for _ in range(2):
        stateless, session = StatelessClient(mcp), await Client(mcp).connect()
        for method in lists:
            assert await hints(stateless, method) == (5000, "private", "complete")
            assert await hints(session, method) == (None, None, None)
        assert await hints(stateless, "server/discover") == (5000, "private", "complete")
        for uri in ("doc://plain", "own://x"):
            assert await hints(stateless, "resources/read", uri=uri) == (1000, "public", "complete")
            assert await hints(session, "resources/read", uri=uri) == (None, None, None)


# --- What a call says before its result -----------------------------------------------------------------


@spoken
async def test_log_messages_are_sent_only_where_the_request_asks_for_a_level():
    """[log.level-asked] What another request asked for does not count."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> str:
        for level in ("debug", "info", "error", "emergency"):
            await ctx.log(level, level)
        return "done"

    async def levels(**meta: Any) -> list[str]:
        answer = await client.call("work", meta=meta)
        assert answer.result == said("done")
        return [message["params"]["level"] for message in answer.page.messages[:-1]]

    client = StatelessClient(mcp)
    assert await levels(**{META + "logLevel": "debug"}) == ["debug", "info", "error", "emergency"]
    assert await levels() == []
    assert await levels(**{META + "logLevel": "warning"}) == ["error", "emergency"]
    assert await levels(**{META + "logLevel": "emergency"}) == ["emergency"]
    assert await levels(progressToken=1) == []


@pytest.mark.parametrize("token", [1, "1", 0, "", "progress-test-1"])
@spoken
async def test_progress_comes_on_the_stream_of_its_own_request_without_event_ids(token):
    """[stream.own-request-only] [stream.no-event-ids] [progress.token-type] [sse.media-type]"""
    mcp, goes_on = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def work(ctx: Context) -> str:
        await ctx.report_progress(1, 2, "half")
        await goes_on.wait()
        return "done"

    client = StatelessClient(mcp)
    call = {"name": "work"}
    other, asked = [await client.request("tools/call", call, id=1, meta={"progressToken": t}) for t in ("other", token)]
    silent = asyncio.create_task(client.request("tools/call", call))
    await until(lambda: len(mcp.calls) == 3)
    goes_on.set()
    await asyncio.gather(other.complete(), asked.complete())
    progress = {"progressToken": token, "progress": 1, "total": 2, "message": "half"}
    assert asked.page.messages == [
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress},
        {"jsonrpc": "2.0", "id": 1, "result": said("done")},
    ]
    assert asked.headers == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
    }
    assert [list(event) for event in asked.page.events] == [["data"], ["data"]]
    assert (await silent).reply.stream is None


@spoken
async def test_server_never_sends_a_request():
    """[stream.no-requests] [mrtr.input-required] Whatever a handler asks for, and however it speaks in between."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def curious(ctx: Context, what: str) -> str:
        await ctx.info("let me see")
        form = {"type": "object", "properties": {"a": {"type": "string"}}}
        asks = {"form": lambda: ctx.elicit("?", form), "url": lambda: ctx.elicit_url("?", "https://a.example", "1"),
                "sample": lambda: ctx.sample("?"), "roots": ctx.list_roots,
                "all": lambda: ctx.ask(a=elicit_form("?", form))}  # fmt: skip
        return str(await asks[what]())

    client = StatelessClient(mcp, {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}})
    for what in ("form", "url", "sample", "roots", "all"):
        answer = await client.call("curious", {"what": what}, meta={META + "logLevel": "debug"})
        first, last = answer.page.messages
        assert first["method"] == "notifications/message" and "id" not in first
        assert "method" not in last
        assert last["result"]["resultType"] == "input_required"
    assert last["result"].keys() == {"resultType", "inputRequests", "requestState", "_meta"}


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@spoken
async def test_client_of_one_form_gets_its_answer_in_that(accept):
    """[reply.decided-late] [log.level-asked]"""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> str:
        await ctx.info("busy")
        return "done"

    answer = await StatelessClient(mcp).call("work", meta={META + "logLevel": "info"}, accept=accept)
    assert answer.headers["content-type"] == accept and answer.result == said("done")


# --- Cancellation ---------------------------------------------------------------------------------------


def server_that_waits(**limits: Any) -> tuple[MCPServer, dict[str, Any]]:
    """A server whose tool waits for good, and what became of its calls."""
    mcp, seen = MCPServer("test", limits=Limits(**limits)), {}

    @mcp.tool()
    async def wait(ctx: Context, speak: bool = False) -> str:
        seen["ctx"] = ctx
        if speak:
            await ctx.report_progress(1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen["cancelled"] = ctx.cancelled
            raise
        return "never"

    @mcp.tool()
    def work(ctx: Context) -> str:
        seen["ctx"] = ctx
        while ctx.cancelled is None:
            seen["turns"] = seen.get("turns", 0) + 1
            threading.Event().wait(0.005)
        seen["cancelled"] = ctx.cancelled
        return "too late"

    return mcp, seen


def wire_call(tool: str, **arguments: Any) -> bytes:
    client = StatelessClient(MCPServer("test"))
    headers = client.headers | {"mcp-protocol-version": V, "mcp-method": "tools/call", "mcp-name": tool}
    params = {"name": tool, "arguments": arguments, "_meta": client.meta | {"progressToken": 1}}
    return post(headers, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})


def left(mcp: MCPServer) -> bool:
    """Whether the server has no call and no connection any more.

    A client that only closes has perhaps closed its half. So the server finds out when it next looks at all
    connections, which it does once a second; here it looks now.
    """
    mcp.sweep()
    return not mcp.calls and not mcp.listeners and not mcp.connections


@pytest.mark.parametrize("goes", ["closes", "resets"])
@pytest.mark.parametrize("when", ["after an event", "in silence", "at once"])
@pytest.mark.parametrize("tool", ["wait", "work"])
@spoken
async def test_client_that_goes_away_cancels_its_call(tool, when, goes):
    """[modern.disconnect-cancels] [cancel.stop] Promptly, while the handler awaits, or counts in a thread."""
    mcp, seen = server_that_waits(sse_after_seconds=60)  # a silent call has no stream yet that could fail
    async with mcp.serving() as url:
        async with Wire(url) as wire:
            await eventually(lambda: mcp.connections)
            spoken_to = when == "after an event" and tool == "wait"
            await wire.send(wire_call(tool, **({"speak": True} if spoken_to else {})))
            if spoken_to:
                assert await wire.status() == 200 and (await wire.message())["method"] == "notifications/progress"
            elif when != "at once":
                await eventually(lambda: "ctx" in seen)
            if goes == "resets":
                wire.reset()
        await eventually(lambda: left(mcp))
        if when != "at once" or goes == "closes":  # a reset at once may overtake its request
            assert "ctx" in seen
        if "ctx" in seen:
            await eventually(lambda: "cancelled" in seen)
            assert seen["cancelled"] == "the client disconnected"


@pytest.mark.parametrize("goes", ["closes", "resets"])
@pytest.mark.parametrize("when", ["while its token is judged", "at once", "as it is answered"])
@spoken
async def test_client_that_is_gone_at_any_moment_leaves_no_call_behind(when, goes):
    """[modern.disconnect-cancels] [listen.graceful-end] A listener would wait for ever, and nobody else would end it."""
    judged, asked = asyncio.Event(), []

    async def verify(token: str) -> str:
        asked.append(token)
        await judged.wait()
        return "ada"

    mcp = MCPServer("test", auth=verify)
    params = {"notifications": {"toolsListChanged": True}, "_meta": StatelessClient(mcp).meta}
    headers = StatelessClient(mcp).headers | {"mcp-protocol-version": V, "mcp-method": "subscriptions/listen"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    async with mcp.serving() as url:
        async with Wire(url) as wire:
            await eventually(lambda: mcp.connections)
            if when != "while its token is judged":
                judged.set()
            await wire.send(post(headers, message, authorization="Bearer t"))
            if when == "while its token is judged":
                await eventually(lambda: asked)
            elif when == "as it is answered":
                assert await wire.status() == 200
            if goes == "resets":
                wire.reset()
        if when == "while its token is judged" and goes == "resets":
            await eventually(lambda: left(mcp))  # so no call can begin when the judgement comes
        judged.set()
        await eventually(lambda: left(mcp))


@pytest.mark.parametrize("speaks", [False, True])
@spoken
async def test_client_that_only_closes_its_half_gets_its_answer(speaks):
    """[modern.disconnect-cancels] It has said all, and still listens: that is no cancellation."""
    mcp, goes_on, running = MCPServer("test", limits=Limits(sse_after_seconds=60)), asyncio.Event(), asyncio.Event()

    @mcp.tool()
    async def work(ctx: Context) -> str:
        if speaks:
            await ctx.report_progress(1)
        running.set()
        await goes_on.wait()
        return "done"

    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(wire_call("work"))
        await running.wait()
        wire.writer.write_eof()
        status = asyncio.create_task(wire.status())
        await eventually(lambda: mcp.sweep() or status.done())
        assert await status == 200
        assert await wire.event() == ":"  # the first bytes of every stream
        if speaks:
            assert (await wire.message())["method"] == "notifications/progress"
        probe = asyncio.create_task(wire.event())
        await eventually(lambda: mcp.sweep() or probe.done())
        assert await probe == ":"  # whether the client still listens
        goes_on.set()
        assert (await wire.messages())[-1] == {"jsonrpc": "2.0", "id": 1, "result": said("done")}


@spoken
async def test_nothing_is_sent_for_a_call_whose_client_has_gone():
    """[modern.disconnect-cancels] [modern.silent-after-cancel] [cancel.no-response]"""
    mcp, seen = server_that_waits()
    answer = await StatelessClient(mcp).request(
        "tools/call", {"name": "wait", "arguments": {"speak": True}}, meta={"progressToken": 1}
    )
    assert len(answer.page.messages) == 1
    answer.page.leave()
    await until(lambda: not mcp.calls)
    assert seen["cancelled"] == "the client disconnected" and len(answer.page.messages) == 1


@pytest.mark.parametrize("id", [7, "7"])
@spoken
async def test_cancelled_notification_cancels_nothing(id):
    """[modern.no-notifications] It would mean another request's call, and nothing ties the two together."""
    mcp, goes_on = MCPServer("test", limits=Limits(sse_after_seconds=0)), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        await goes_on.wait()
        return "done"

    client = StatelessClient(mcp)
    answer = await client.request("tools/call", {"name": "wait"}, id=id)
    params = {"requestId": id, "_meta": client.meta}
    assert (await client.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params})).status == 202
    goes_on.set()
    assert (await answer.complete()).message == {"jsonrpc": "2.0", "id": id, "result": said("done")}


# --- The compatibility matrix, for a server of both eras ------------------------------------------------


@spoken
async def test_modern_client_works_without_any_greeting():
    """[modern.era-chosen] [version.unsupported] Row Modern, Modern: a version that is not served is told."""
    mcp = everything()
    client = StatelessClient(mcp)
    assert (await client.call("echo", {"text": "hi"})).result == said("hi")
    refusal = await client.call("echo", meta={META + "protocolVersion": "2030-01-01"})
    version = next(v for v in refusal.error["data"]["supported"] if v >= V)
    assert (await client.call("echo", {"text": "hi"}, meta={META + "protocolVersion": version})).result == said("hi")
    assert not mcp.sessions.by_id


@spoken
async def test_client_of_both_eras_stays_modern():
    """[modern.era-chosen] [discover.served] Row Dual-era, Modern: it succeeds, or fails in modern words."""
    client = StatelessClient(everything())
    assert V in (await client.request("server/discover")).result["supportedVersions"]
    modern = {-32020, -32021, -32022, -32602, -32601}
    for bad in ({META + "protocolVersion": "2030-01-01"}, {META + "clientCapabilities": None}):
        answer = await client.request("server/discover", meta=bad)
        assert 400 <= answer.status < 500 and answer.error["code"] in modern


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
@spoken
async def test_legacy_client_gets_its_session(version):
    """[modern.era-chosen] [version.same] Row Legacy, Dual-era: as its own revision has it, new headers or not."""
    client = await Client(everything()).connect(version)
    content = {"content": [{"type": "text", "text": "hi"}]}
    assert (await client.call("echo", {"text": "hi"})).result == content
    assert (await client.call("echo", {"text": "hi"}, mcp_method="tools/list", mcp_name="other")).result == content
    assert (await client.request("ping")).result == {}


@spoken
async def test_both_eras_are_served_at_once_on_one_connection():
    """[modern.era-chosen] [modern.no-session] Neither knows of the other, behind one proxy."""
    mcp = everything()
    session = await Client(mcp).connect()
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "hi"}}}
    async with mcp.serving() as url, Wire(url) as wire:
        for _ in range(3):
            await wire.send(wire_call("echo", text="hi") + post(session.headers, call))
            assert (await wire.reply()).message["result"] == said("hi")
            assert (await wire.reply()).message["result"] == {"content": [{"type": "text", "text": "hi"}]}
