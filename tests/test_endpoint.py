"""Section 5: the gate, refusal by refusal in its order, and what GET, DELETE and OPTIONS do behind it."""

import asyncio
import logging

import pytest
from inmemory import Answer, Client, spoken, until

from streamhttp_mcp import Context, Limits, MCPServer

EVENT_STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
NO_SUCH_HOST = "the Host header names a host that this server does not answer for (see allowed_hosts)"
NO_SUCH_ORIGIN = "the Origin header names a site that may not call this server (see allowed_origins)"
SERVED = "2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28"


def refused(status: int, message: str, code: int = -32600, headers: tuple[tuple[str, str], ...] = ()) -> tuple:
    """A whole reply, as `whole` shows it, that refuses a client of 2025-11-25: its body has no id."""
    body = {"jsonrpc": "2.0", "error": {"code": code, "message": message}}
    return status, (("Content-Type", "application/json"), *headers), body


def whole(answer: Answer) -> tuple:
    return answer.status, answer.reply.headers, answer.message if answer.reply.body else b""


# --- The gate, in order -------------------------------------------------------------------------------


@spoken
async def test_gate_names_the_first_thing_that_is_wrong():
    """[answers.json] [post.refused-error-status] [limits.body] [version.header-wrong-400] [session.unknown-404]
    [session.missing-400]

    A request with everything wrong is mended one thing at a time, and hears of the next.
    """
    client = await Client(MCPServer("test", limits=Limits(body_bytes=200))).connect()
    method, target, body = "PUT", "/nowhere", b"{" + b" " * 200
    fields = {
        "host": "evil.example",
        "origin": "https://evil.example",
        "accept": "text/html",
        "content_type": "text/plain",
        "mcp_protocol_version": "2025-12-12",  # one that sorts as newer than all we serve, so that there is no id
        "mcp_session_id": "garbage",
    }

    async def sent() -> tuple:
        return whole(await client.http(method, body, target, **fields))

    assert await sent() == refused(403, NO_SUCH_HOST)
    del fields["host"]
    assert await sent() == refused(403, NO_SUCH_ORIGIN)
    del fields["origin"]
    assert await sent() == refused(404, "nothing is here; the MCP endpoint is /mcp")
    target = "/mcp"
    allow = (("Allow", "POST, GET, DELETE, OPTIONS"),)
    assert await sent() == refused(405, "method PUT is not for this path", headers=allow)
    method = "POST"
    assert await sent() == refused(406, "Accept must allow application/json or text/event-stream")
    del fields["accept"]
    assert await sent() == refused(415, "Content-Type must be application/json, got 'text/plain'")
    del fields["content_type"]
    assert await sent() == refused(413, "body is larger than 200 bytes")
    body = b"{"
    status, headers, message = await sent()
    text = message["error"]["message"]  # Python's own words follow the colon
    assert text.startswith("the body is not JSON: ") and "line 1 column 2" in text
    assert (status, headers, message) == refused(400, text, code=-32700)
    body = PING
    assert await sent() == refused(400, f"MCP-Protocol-Version '2025-12-12' is not served here; served are {SERVED}")
    del fields["mcp_protocol_version"]
    ended = "there is no such session, or it has ended: send initialize to open another"
    assert await sent() == refused(404, ended)
    fields["mcp_session_id"] = None
    missing = "header field Mcp-Session-Id is missing: send initialize, then use its id"
    assert await sent() == refused(400, missing)
    del fields["mcp_session_id"]
    assert await sent() == (200, (("Content-Type", "application/json"),), {"jsonrpc": "2.0", "id": 1, "result": {}})


@pytest.mark.parametrize(
    ("version", "id"),
    [(None, {"id": None}), ("2025-03-26", {"id": None}), ("2025-06-18", {"id": None}), ("2025-11-25", {})],
)
@spoken
async def test_refusal_has_a_null_id_only_where_the_schema_of_the_revision_needs_one(version, id):
    """[error.id-required] Never the id of a request, though it could be read."""
    client = Client(MCPServer("test"))
    answer = await client.request("ping", id=77, mcp_session_id="garbage", mcp_protocol_version=version)
    text = "there is no such session, or it has ended: send initialize to open another"
    assert answer.message == {"jsonrpc": "2.0", **id, "error": {"code": -32600, "message": text}}


@spoken
async def test_bug_of_ours_is_500_and_tells_nothing(caplog):
    """[answers.nothing-internal] The log gets the story; the peer gets two words."""
    mcp = MCPServer("test")

    async def broken(server, request):
        raise KeyError("/home/secret/path")

    mcp.route("GET", "/page", broken)
    answer = await Client(mcp).http("GET", target="/page", mcp_protocol_version="2025-11-25")
    assert whole(answer) == refused(500, "Internal error", code=-32603)
    assert "/home/secret/path" in caplog.text


# --- Host and Origin ----------------------------------------------------------------------------------

OURS = {"allowed_hosts": ["MCP.example.com", "10.0.0.7:8000"], "allowed_origins": ["https://app.example.com/"]}


@pytest.mark.parametrize(
    ("settings", "host", "allowed"),
    [
        ({}, None, True),  # HTTP/1.0
        ({}, "localhost", True),
        ({}, "localhost:8000", True),
        ({}, "LocalHost:65535", True),
        ({}, "127.0.0.1", True),
        ({}, "127.0.0.1:6274", True),
        ({}, "[::1]", True),
        ({}, "[::1]:8000", True),
        ({}, "evil.example", False),
        ({}, "evil.example:8000", False),
        ({}, "localhost.evil.example", False),
        ({}, "127.0.0.1.evil.example:8000", False),
        ({}, "evil.example:80:localhost", False),
        ({}, "localhost@evil.example", False),
        ({}, "localhost:8000@evil.example", False),
        ({}, "[::1].evil.example", False),
        ({}, "::1", False),
        ({}, "0.0.0.0", False),
        ({}, "mylocalhost", False),
        ({}, "localhost:port", False),
        ({}, "", False),
        ({}, "mcp.example.com", False),
        (OURS, "mcp.example.com", True),
        (OURS, "mcp.EXAMPLE.com:443", True),
        (OURS, "localhost:8000", True),  # a health check on the machine itself
        (OURS, "10.0.0.7:8000", True),
        (OURS, "10.0.0.7:8001", False),
        (OURS, "10.0.0.7", False),
        (OURS, "example.com", False),
        (OURS, "mcp.example.com.evil.example", False),
        (OURS, "mcp.example.com:80:evil.example", False),
        (OURS, "evil.example", False),
        (OURS, "", False),
    ],
)
@spoken
async def test_host_must_be_loopback_or_allowed_by_name(settings, host, allowed, caplog):
    """[host.validate] DNS rebinding: a page of evil.example, whose name now means 127.0.0.1, still says its name."""
    client = await Client(MCPServer("test", **settings)).connect()
    with caplog.at_level(logging.WARNING, "streamhttp_mcp"):
        answer = await client.request("ping", host=host)
    if allowed:
        assert answer.result == {} and not caplog.records
    else:
        assert whole(answer) == refused(403, NO_SUCH_HOST)
        (line,) = caplog.messages  # which header, and which setting would help
        assert f"Host {host!r}" in line and "allowed_hosts" in line


@pytest.mark.parametrize(
    ("settings", "origin", "allowed"),
    [
        ({}, None, True),
        ({}, "http://localhost", True),
        ({}, "http://localhost:6274", True),  # the MCP Inspector
        ({}, "https://localhost:5173", True),
        ({}, "http://127.0.0.1:8000", True),
        ({}, "http://[::1]:8000", True),
        ({}, "null", False),  # a sandboxed frame, or a file
        ({}, "https://evil.example", False),
        ({}, "http://localhost.evil.example", False),
        ({}, "http://evil.example:6274", False),
        ({}, "http://localhost@evil.example", False),
        ({}, "http://[::1].evil.example", False),
        ({}, "http://evil.example/http://localhost", False),
        ({}, "http://localhost http://evil.example", False),
        ({}, "ftp://localhost", False),
        ({}, "chrome-extension://localhost", False),
        ({}, "localhost", False),
        ({}, "//localhost", False),
        ({}, "", False),
        ({}, "https://app.example.com", False),
        (OURS, "https://app.example.com", True),
        (OURS, "http://localhost:6274", True),
        (OURS, "http://app.example.com", False),
        (OURS, "https://app.example.com:8443", False),
        (OURS, "https://app.example.com.evil.example", False),
        (OURS, "https://mcp.example.com", False),  # an allowed host is no allowed origin
        (OURS, "null", False),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "OPTIONS"])
@spoken
async def test_origin_must_be_absent_or_loopback_or_allowed(method, settings, origin, allowed, caplog):
    """[origin.validate] [origin.reject-403] On every method; a foreign page may not even read the refusal."""
    client = await Client(MCPServer("test", **settings)).connect()
    with caplog.at_level(logging.WARNING, "streamhttp_mcp"):
        answer = await client.http(method, PING if method == "POST" else b"", origin=origin)
    if allowed:
        assert answer.status == (204 if method == "OPTIONS" else 200) and not caplog.records
        assert answer.headers.get("access-control-allow-origin") == origin
    else:
        assert whole(answer) == refused(403, NO_SUCH_ORIGIN)
        (line,) = caplog.messages  # which header, and which setting would help
        assert f"Origin {origin!r}" in line and "allowed_origins" in line


# --- Path and method ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/mcp", "/mcp/", "/mcp?x=1", "/mcp/?x=/y", "/mcp?"])
@spoken
async def test_endpoint_is_one_path_with_or_without_a_slash_or_a_query(target):
    """[endpoint.single-path] [endpoint.slash] Never a redirect, on which clients lose their token."""
    client = await Client(MCPServer("test")).connect()
    answer = await client.http("POST", PING, target)
    assert whole(answer) == (200, (("Content-Type", "application/json"),), {"jsonrpc": "2.0", "id": 1, "result": {}})
    answer = await client.http("GET", b"", target)
    assert (answer.status, answer.headers) == (200, EVENT_STREAM)
    assert whole(await client.http("DELETE", b"", target)) == (200, (), b"")


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/"])
@spoken
async def test_endpoint_can_have_another_path(path):
    """[endpoint.single-path] [endpoint.slash]"""
    client = Client(MCPServer("test", path=path))
    client.headers |= {"mcp-protocol-version": "2025-11-25", "mcp-session-id": "garbage"}
    here = path.rstrip("/")
    for target in {here or "/", f"{here}/"}:
        assert (await client.http("POST", PING, target)).error["message"].startswith("there is no such session")
    elsewhere = refused(404, f"nothing is here; the MCP endpoint is {here or '/'}")
    assert whole(await client.http("POST", PING, "/mcp")) == elsewhere


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/sse",
        "/mcpx",
        "/mcp/x",
        "/MCP",
        "//mcp",
        "/%6dcp",
        "/mcp;x",
        "/favicon.ico",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server/mcp",
        "/mcp/.well-known/openid-configuration",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT"])
@spoken
async def test_every_404_is_json(method, target):
    """[answers.json] [endpoint.single-path] Plain text below /.well-known/ wedges Claude Code."""
    client = await Client(MCPServer("test")).connect()
    answer = await client.http(method, PING, target)
    assert whole(answer) == refused(404, "nothing is here; the MCP endpoint is /mcp")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "TRACE", "CONNECT"])
@spoken
async def test_other_methods_are_405_with_allow(method):
    """[http.405-allow]"""
    client = await Client(MCPServer("test")).connect()
    answer = await client.http(method, PING)
    allow = (("Allow", "POST, GET, DELETE, OPTIONS"),)
    assert whole(answer) == refused(405, f"method {method} is not for this path", headers=allow)


@pytest.mark.parametrize("method", ["get", "BREW", "X" * 5000])
@spoken
async def test_method_that_nobody_knows_is_501(method):
    """[http.method-501] Method names are case-sensitive, and a long one is not sent back whole."""
    client = await Client(MCPServer("test")).connect()
    answer = await client.http(method, PING)
    allow = (("Allow", "POST, GET, DELETE, OPTIONS"),)
    assert whole(answer) == refused(501, f"method {method[:20]} is unknown", headers=allow)


# --- Forms --------------------------------------------------------------------------------------------

BOTH, JSON, STREAM, NEITHER = ("json", "stream"), ("json", "json"), ("stream", "stream"), (406, 406)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json, text/event-stream", BOTH),
        ("text/event-stream,application/json", BOTH),
        ("Application/JSON , TEXT/Event-Stream; charset=utf-8", BOTH),
        (None, BOTH),
        ("*/*", BOTH),
        ("application/*, text/*", BOTH),
        ("text/html, */*;q=0.1", BOTH),
        ("application/json;q=0.001, text/event-stream;q=1", BOTH),
        ("application/json", JSON),
        ("application/*", JSON),
        ("*/*, text/event-stream;q=0", JSON),
        ("application/json, text/*;q=0.000", JSON),
        ("text/event-stream", STREAM),
        ("text/*", STREAM),
        ("application/json;q=0, */*", STREAM),
        ("text/event-stream, application/json; q=0.0", STREAM),
        ("text/html", NEITHER),
        ("application/json;q=0", NEITHER),
        ("*/*;q=0", NEITHER),
        ("text/html, application/xml;q=0.9", NEITHER),
        ("application/jsonp, text/event-streams", NEITHER),
    ],
)
@spoken
async def test_answer_takes_a_form_that_accept_allows(accept, expected):
    """[post.answer-json-or-sse] [reply.decided-late] [reply.not-acceptable]

    A tool that only answers, and one that talks; 406 where nothing would do, and nothing runs.
    """
    mcp = MCPServer("test")
    ran = []

    @mcp.tool()
    async def plain() -> str:
        ran.append("plain")
        return "done"

    @mcp.tool()
    async def streaming(ctx: Context) -> str:
        ran.append("streaming")
        await ctx.info("hello")
        return "done"

    client = await Client(mcp).connect()
    for tool, form in zip(("plain", "streaming"), expected, strict=True):
        answer = await client.call(tool, accept=accept)
        if form == 406:
            assert whole(answer) == refused(406, "Accept must allow application/json or text/event-stream")
        else:
            assert answer.headers == (EVENT_STREAM if form == "stream" else {"content-type": "application/json"})
            assert answer.result == {"content": [{"type": "text", "text": "done"}]}
            assert len(answer.page.messages) == ((tool == "streaming") + 1 if form == "stream" else 0)
    assert ran == ([] if expected == NEITHER else ["plain", "streaming"])


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/event-stream", 200),
        ("application/json, text/event-stream", 200),
        ("*/*", 200),
        ("text/*", 200),
        (None, 200),
        ("application/json", 406),
        ("text/html", 406),
        ("*/*, text/event-stream;q=0", 406),
    ],
)
@spoken
async def test_get_opens_an_event_stream_or_is_406(accept, status):
    """[get.stream-or-405] [reply.not-acceptable]"""
    client = await Client(MCPServer("test")).connect()
    answer = await client.get(accept=accept)
    if status == 200:
        assert (answer.status, answer.headers) == (200, EVENT_STREAM)
    else:
        assert whole(answer) == refused(406, "Accept must allow text/event-stream: a GET opens an event stream")


@pytest.mark.parametrize(
    ("content_type", "accepted"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("application/json;charset=UTF-8", True),
        ("Application/JSON", True),
        (" application/json ;x=y", True),
        (None, False),
        ("", False),
        ("text/plain", False),  # these three can be sent by any web page, without a preflight
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=application/json", False),
        ("text/plain; application/json", False),
        ("application/json, text/plain", False),
        ("application/jsonp", False),
        ("text/json", False),
        ("application/*", False),
        ("*/*", False),
    ],
)
@spoken
async def test_body_of_another_content_type_is_415_and_nothing_runs(content_type, accepted):
    """[body.json-only] [post.refused-error-status]"""
    mcp, ran = MCPServer("test"), []

    @mcp.tool()
    async def delete_everything() -> str:
        ran.append("oops")
        return "gone"

    client = await Client(mcp).connect()
    answer = await client.call("delete_everything", content_type=content_type)
    if accepted:
        assert answer.result["content"][0]["text"] == "gone"
    else:
        assert whole(answer) == refused(415, f"Content-Type must be application/json, got {content_type or ''!r}")
    assert bool(ran) == accepted


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", -32700, "not JSON"),
        (b"{", -32700, "not JSON"),
        (PING + b"x", -32700, "not JSON"),
        (b"\xff" + PING, -32700, "not UTF-8"),
        (b"[" * 100_000, -32700, "nested too deeply"),
        (PING.replace(b"1", b"NaN"), -32700, "NaN is no JSON number"),
        (b"null", -32600, "expected one JSON-RPC message"),
        (b'"ping"', -32600, "expected one JSON-RPC message"),
        (b"{}", -32600, "expected one JSON-RPC message"),
        (PING.replace(b"2.0", b"1.0"), -32600, "expected one JSON-RPC message"),
        (PING.replace(b":1,", b":null,"), -32600, "id must be a string or an integer"),
        (PING.replace(b":1,", b":1.5,"), -32600, "id must be a string or an integer"),
        (PING.replace(b'"ping"', b"7"), -32600, "method must be a string"),
        (PING.replace(b"}", b',"params":[]}'), -32600, "params must be an object"),
        (b'{"jsonrpc":"2.0","id":1}', -32600, "a method"),
        (b'{"jsonrpc":"2.0","result":{}}', -32600, "an id"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"?"}}', -32600, "a result or an error"),
    ],
)
@spoken
async def test_body_that_is_no_json_rpc_message_is_400(body, code, words):
    """[jsonrpc.parse-error] [jsonrpc.invalid-request] [jsonrpc.format] [request.id-not-null]"""
    client = await Client(MCPServer("test")).connect()
    answer = await client.http("POST", body)
    text = answer.error["message"]
    assert whole(answer) == refused(400, text, code) and words in text


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "resume"])
@pytest.mark.parametrize(
    ("version", "served"),
    [
        (None, True),  # the session knows
        ("2025-11-25", True),
        ("2025-06-18", True),  # another one than was negotiated, which the specification does not forbid
        ("2025-03-26", True),
        ("2024-11-05", False),
        ("2099-01-01", False),  # of 2026-07-28, which has no session, test_stateless.py tells
        ("2026-07-28x", False),
        ("2025-11-25x", False),
        ("2025-11-25, 2025-11-25", False),
        ("latest", False),
        ("", False),
    ],
)
@spoken
async def test_later_request_of_a_version_that_is_not_served_is_400(version, served, method):
    """[version.header-wrong-400] [version.header-missing] [version.header-not-asked]"""
    client = await Client(MCPServer("test")).connect()
    resumed = (await client.get()).page.events[0]["id"] if method == "resume" else None
    method, body = ("GET", b"") if resumed else (method, PING if method == "POST" else b"")
    answer = await client.http(method, body, last_event_id=resumed, mcp_protocol_version=version)
    if served:
        assert answer.status == 200
    else:
        id = {} if version > "2025-11-25" else {"id": None}
        text = f"MCP-Protocol-Version {version!r} is not served here; served are {SERVED}"
        assert answer.message == {"jsonrpc": "2.0", **id, "error": {"code": -32600, "message": text}}
        assert answer.status == 400 and (await client.request("ping")).result == {}


# --- Browsers -----------------------------------------------------------------------------------------

CORS = {
    "access-control-allow-origin": "http://localhost:6274",
    "access-control-expose-headers": "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate",
    "vary": "Origin",
}


@spoken
async def test_preflight_allows_every_method_and_the_headers_that_are_asked_for():
    """[cors.preflight] A browser asks first, without a session and without credentials."""
    asked = "content-type, Authorization,mcp-session-id, mcp-protocol-version, last-event-id, mcp-param-x, b\u00e4d"
    client = Client(MCPServer("test"))
    answer = await client.http(
        "OPTIONS",
        origin="http://localhost:6274",
        accept=None,
        content_type=None,
        access_control_request_method="DELETE",
        access_control_request_headers=asked,
    )
    assert (answer.status, answer.reply.body) == (204, b"")
    named = answer.headers.pop("access-control-allow-headers").lower()
    assert named == "content-type, authorization, mcp-session-id, mcp-protocol-version, last-event-id, mcp-param-x"
    methods = "POST, GET, DELETE, OPTIONS"
    assert CORS.items() <= answer.headers.items()
    assert answer.headers["allow"] == answer.headers["access-control-allow-methods"] == methods
    assert "access-control-allow-credentials" not in answer.headers


@spoken
async def test_web_page_can_read_answers_and_refusals_alike():
    """[cors.allowed-only] The session id is exposed on the answer itself, not on the preflight alone."""
    client = Client(MCPServer("test"))
    client.headers["origin"] = "http://localhost:6274"
    await client.connect()
    answers = [
        await client.request("initialize", {"protocolVersion": "2025-11-25"}),
        await client.request("ping"),
        await client.request("ping", accept="text/event-stream"),
        await client.notify("notifications/initialized"),
        await client.get(),
        await client.request("ping", mcp_session_id="garbage"),
        await client.http("PUT"),
        await client.http("GET", target="/.well-known/oauth-protected-resource"),
        await client.request("ping", content_type="text/plain"),
        await client.delete(),
    ]
    assert [answer.status for answer in answers] == [200, 200, 200, 202, 200, 404, 405, 404, 415, 200]
    for answer in answers:
        assert CORS.items() <= answer.headers.items()
    plain = await client.http("OPTIONS", origin=None)
    assert not CORS.keys() & plain.headers.keys()  # no Origin, no browser


# --- The GET stream -----------------------------------------------------------------------------------


@spoken
async def test_newest_get_wins_and_each_message_arrives_once():
    """[stream.newest-wins] [stream.no-broadcast] [get.stream-or-405] A client is not locked out by its own ghost."""
    mcp = MCPServer("test")
    client = await Client(mcp).connect()
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    pages = []
    for _ in range(3):
        answer = await client.get()
        assert (answer.status, answer.headers) == (200, EVENT_STREAM)
        pages.append(answer.page)
        assert [page.ended for page in pages] == [True] * (len(pages) - 1) + [False]
        mcp.notify_tools_changed()
        await until(lambda: pages[-1].messages)
    assert [page.messages for page in pages] == [[changed]] * 3


@spoken
async def test_get_that_resumes_the_standalone_stream_gets_what_it_missed():
    """[resume.replay] [resume.any-origin] [stream.newest-wins]"""
    mcp = MCPServer("test")
    client = await Client(mcp).connect()
    lost = await client.get()
    mcp.notify_tools_changed()
    mcp.notify_prompts_changed()
    assert len(await lost.page.wait_messages(2)) == 2
    again = await client.get(lost.page.events[1]["id"])  # the second notice got lost on its way
    prompts = {"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"}
    assert lost.page.ended and again.page.messages == [prompts]
    mcp.notify_prompts_changed()
    assert await again.page.wait_messages(2) == [prompts, prompts]


@spoken
async def test_message_that_comes_while_nobody_listens_waits_for_the_next_get():
    """[notice.once] [stream.no-broadcast] Once, however often it was sent, and to this session's own stream."""
    mcp = MCPServer("test")
    client, other = await Client(mcp).connect(), await Client(mcp).connect()
    others = await other.get()
    for number in range(5):
        mcp.notify_tools_changed()
        await others.page.wait_messages(number + 1)
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    assert (await client.get()).page.messages == [changed]
    assert (await client.get()).page.messages == []
    assert others.page.messages == [changed] * 5


# --- DELETE -------------------------------------------------------------------------------------------


@spoken
async def test_delete_is_200_with_no_body_and_then_404():
    """[session.delete-ends] [session.unknown-404] Neither Accept nor Content-Type matters to a DELETE."""
    client = await Client(MCPServer("test")).connect()
    answer = await client.http("DELETE", accept="text/html", content_type=None)
    assert whole(answer) == (200, (), b"")
    ended = refused(404, "there is no such session, or it has ended: send initialize to open another")
    assert whole(await client.delete()) == ended


@spoken
async def test_posts_are_answered_while_many_get_streams_are_open():
    """[get.stream-or-405] [ping.answer] An open GET holds nothing up."""
    mcp = MCPServer("test")
    clients = [await Client(mcp).connect() for _ in range(50)]
    streams = [await client.get() for client in clients]
    answers = await asyncio.gather(*[client.request("ping") for client in clients])
    assert [answer.result for answer in answers] == [{}] * 50
    assert not [stream for stream in streams if stream.page.ended or stream.page.messages]
