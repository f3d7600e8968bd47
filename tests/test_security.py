"""Who may enter: tokens and scopes, where tokens come from, TLS, and what a load balancer and the log are told."""

import asyncio
import json
import logging
import socket
import ssl
import urllib.request
from pathlib import Path

import pytest
from inmemory import Answer, Client, Clock, StatelessClient, library, run, spoken
from test_endpoint import refused, whole
from wire import ACCEPT_BOTH, Wire, call, eventually, head, post, text_result

from streamhttp_mcp import (
    Auth,
    Context,
    ElicitResult,
    Limits,
    MCPServer,
    Reply,
    Request,
    Stream,
    main,
)

CERTIFICATE = Path(__file__).with_name("localhost.pem")  # key and certificate of localhost and 127.0.0.1, for tests only
TOKENS = {  # token -> whose it is, and what it allows
    "ada-1": ("ada", ["read"]),
    "ada-2": ("ada", ["read"]),  # after a refresh
    "bob-1": ("bob", ["read", "write"]),
    "eve-1": "eve",  # without scopes
}
OURS = "https://mcp.example.com/mcp"
IDENTITY = "https://id.example.com"
METADATA = 'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'


async def verify(token: str):
    return TOKENS.get(token)


def challenge(parameters: str) -> tuple[tuple[str, str]]:
    return (("WWW-Authenticate", f"Bearer {parameters}"),)


def guarded(**settings) -> MCPServer:
    """A server of an OAuth deployment: everybody needs `read`."""
    auth = Auth(verify, scopes=["read"], resource=OURS, authorization_servers=[IDENTITY])
    mcp = library(auth=auth, **settings)

    @mcp.tool()
    async def who(ctx: Context) -> str:
        return " ".join([ctx.principal, *sorted(ctx.request.scopes)])

    @mcp.tool()
    async def colour(ctx: Context) -> str:
        answer: ElicitResult = await ctx.elicit("Which?", {"type": "object", "properties": {}})
        return answer.action

    return mcp


async def enter(mcp: MCPServer, token: str, kind: type[Client] = Client, **capabilities) -> Client:
    client = kind(mcp, capabilities) if kind is StatelessClient else kind(mcp)
    client.headers["authorization"] = f"Bearer {token}"
    return client if kind is StatelessClient else await client.connect()


# --- One token for all --------------------------------------------------------------------------------

NEEDED = refused(
    401, "a token is needed: send the header field 'Authorization: Bearer <token>'", headers=challenge('realm="mcp"')
)
WRONG = refused(
    401,
    "the token is not valid here, or no longer",
    headers=challenge(
        'realm="mcp", error="invalid_token", error_description="the token is not valid here, or no longer"'
    ),
)
MALFORMED = refused(
    400,
    "expected 'Authorization: Bearer <token>'",
    headers=challenge(
        'realm="mcp", error="invalid_request", error_description="expected \'Authorization: Bearer <token>\'"'
    ),
)


@pytest.mark.parametrize(
    ("authorization", "answer"),
    [
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),  # a scheme has no case
        ("Bearer  s3cret", 200),  # one space or more
        ("Bearer\ts3cret", NEEDED),  # and nothing else: who reads it otherwise reads another token
        (None, NEEDED),
        ("", NEEDED),
        ("Basic czNjcmV0", NEEDED),
        ("s3cret", NEEDED),
        ("Bearer s3cre", WRONG),
        ("Bearer s3cret1", WRONG),
        ("Bearer S3CRET", WRONG),
        ("Bearer null", WRONG),
        ("Bearer", MALFORMED),
        ("Bearer ", MALFORMED),
        ("Bearer s3cret x", MALFORMED),
        ("Bearer s3cret, Bearer x", MALFORMED),
        ("Bearer s3cr\xe9t", MALFORMED),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@spoken
async def test_without_the_token_nobody_enters(method, authorization, answer):
    """[auth.all-connections] [auth.every-request] [auth.missing-401] [auth.invalid-401] [auth.malformed-400]

    [auth.credentials] [auth.no-error-without-token] [auth.constant-time] On every method, within a session that was opened with the token, too.
    """
    client = await enter(MCPServer("test", auth="s3cret"), "s3cret")
    reply = await client.http(method, b'{"jsonrpc":"2.0","id":1,"method":"ping"}', authorization=authorization)
    assert whole(reply) == answer if isinstance(answer, tuple) else reply.status == 200


@spoken
async def test_no_other_spelling_of_a_request_gets_around_the_token():
    """[auth.all-connections] [auth.before-processing] Of the path, the field, or the place that it comes in."""
    mcp, ran = MCPServer("test", auth="s3cret"), []

    @mcp.tool()
    async def act() -> str:
        ran.append("act")

    body = json.dumps(call(1, "act", meta=StatelessClient(mcp).meta)).encode()
    fields = ACCEPT_BOTH | {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "act"}

    def asking(target: str = "/mcp", *lines: str) -> bytes:
        start = head("POST", target, **fields, content_length=len(body))[:-2]
        return start + "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body

    chunked = head("POST", **fields, transfer_encoding="chunked") + b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    right = "Authorization: Bearer s3cret"
    async with mcp.serving() as url:
        for data, status in [
            (asking("/mcp", right), 200),
            *[(asking(target), 401) for target in ("/mcp", "/mcp/", "/mcp?token=s3cret", "http://localhost/mcp")],
            *[(asking(target), 404) for target in ("//mcp", "/mcp//", "/%6dcp", "/mcp%2f", "/./mcp", "/MCP", "/mcp;", "/mcp#")],
            (asking("/mcp", right, "Authorization: Bearer x"), 400),
            (asking("/mcp", "Authorization: Bearer x", right), 400),
            (asking("/mcp", f"{right}\xa0"), 400),
            (asking("/mcp", "Authorization: \xa0Bearer s3cret"), 401),
            (asking("/mcp", "Authorization: Basic x, Bearer s3cret"), 401),
            (asking("/mcp", f"Proxy-{right}"), 401),
            (asking("/mcp", "X-HTTP-Method-Override: OPTIONS"), 401),
            (chunked + f"{right}\r\n\r\n".encode(), 401),  # a trailer comes too late
        ]:
            async with Wire(url) as wire:
                await wire.send(data)
                assert await wire.status() == status, data
    assert ran == ["act"]


@spoken
async def test_fixed_token_is_one_principal():
    """[auth.constant-time] All who know it are the same to a handler."""
    mcp = MCPServer("test", auth="s3cret")

    @mcp.tool()
    async def who(ctx: Context) -> str:
        return f"{ctx.principal} {sorted(ctx.request.scopes)}"

    client = await enter(mcp, "s3cret")
    assert (await client.call("who")).result["content"] == [{"type": "text", "text": "bearer []"}]


@pytest.mark.parametrize("token", ["", "two words", "caf\xe9", "line\n"])
def test_token_that_no_header_can_carry_is_refused_at_once(token):
    with pytest.raises(ValueError, match="visible ASCII"):
        MCPServer("test", auth=token)


# --- Tokens that somebody else gives out --------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "status", "error"),
    [
        (None, 401, ""),
        ("unknown", 401, 'error="invalid_token", error_description="the token is not valid here, or no longer", '),
        ("eve-1", 403, 'error="insufficient_scope", error_description="the token lacks a scope that is needed here", '),
    ],
)
@spoken
async def test_challenge_says_where_a_token_is_to_be_had_and_for_which_scopes(token, status, error):
    """[auth.challenge] [auth.challenge-scopes] [auth.scopes-consistent] [auth.insufficient-403] [auth.before-processing]

    In both eras, before anything is looked at, and always with all the scopes.
    """
    parameters = f'realm="mcp", {error}scope="read", {METADATA}'
    for kind in (Client, StatelessClient):
        client = kind(guarded())
        answer = await client.request("tools/list", authorization=token and f"Bearer {token}")
        assert answer.status == status and answer.headers["www-authenticate"] == f"Bearer {parameters}"


@pytest.mark.parametrize("kind", [Client, StatelessClient])
@spoken
async def test_handler_sees_whose_token_it_is_and_what_the_token_allows(kind):
    """[auth.every-request] So that a handler can refuse by itself, since single tools have no scopes."""
    mcp = guarded()
    for token, seen in [("ada-1", "ada read"), ("bob-1", "bob read write")]:
        client = await enter(mcp, token, kind)
        assert (await client.call("who")).result["content"] == [{"type": "text", "text": seen}]


@spoken
async def test_session_belongs_to_its_principal_and_outlives_a_token():
    """[session.principal] [resume.same-stream-only] Whose it is decides, not which token: a refreshed one goes on."""
    mcp = guarded()
    ada, bob = await enter(mcp, "ada-1"), await enter(mcp, "bob-1")
    stream = (await ada.get()).reply.stream
    ended = "there is no such session, or it has ended: send initialize to open another"
    stolen = {"mcp_session_id": ada.headers["mcp-session-id"]}
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    for method, fields in [("POST", {}), ("GET", {}), ("GET", {"last_event_id": f"{stream.name}-0"}), ("DELETE", {})]:
        assert whole(await bob.http(method, ping, **stolen, **fields)) == refused(404, ended)
    ada.headers["authorization"] = "Bearer ada-2"
    assert (await ada.request("ping")).result == {}
    assert (await ada.get(f"{stream.name}-0")).status == 200
    answer = await ada.request("ping")
    assert not any("ada-" in repr(kept) for kept in (ada.session, answer.request))  # [auth.no-token-kept]


@spoken
async def test_state_of_a_question_belongs_to_its_principal():
    """[mrtr.state-bound] [auth.handle-no-login] What ada was asked, bob cannot answer; ada can, with another token."""
    mcp = guarded()
    ada, bob = [await enter(mcp, token, StatelessClient, elicitation={}) for token in ("ada-1", "bob-1")]
    asked = await ada.call("colour")
    (key,) = asked.result["inputRequests"]
    given = {key: {"action": "decline"}}
    assert (await bob.answer(asked, **given)).error["message"].startswith("params.requestState is not valid")
    ada.headers["authorization"] = "Bearer ada-2"
    assert (await ada.answer(asked, **given)).result["content"] == [{"type": "text", "text": "decline"}]


@pytest.mark.parametrize(
    ("path", "resource", "found"),
    [
        ("/mcp", "https://mcp.example.com/mcp", ["", "/mcp", "/mcp/"]),
        ("/mcp", "https://example.com/public/mcp", ["", "/mcp", "/public/mcp"]),  # a proxy takes /public away
        ("/mcp", "https://mcp.example.com/mcp/", ["", "/mcp", "/mcp/"]),
        ("/", "https://mcp.example.com", [""]),
        ("/", "https://mcp.example.com/", [""]),
    ],
)
@spoken
async def test_metadata_say_where_tokens_come_from(path, resource, found):
    """[auth.metadata] [auth.well-known] For who has no token yet, at the endpoint's path and at the root.

    [auth.scopes-minimal] [auth.resource-identical] The scopes are those without which nobody enters.
    """
    auth = Auth(verify, scopes=["read"], resource=resource, authorization_servers=[IDENTITY])
    client = Client(MCPServer("test", title="Notes", path=path, auth=auth))
    for where in found:
        answer = await client.http("GET", target=f"/.well-known/oauth-protected-resource{where}", origin="http://localhost")
        assert answer.status == 200 and answer.message == {
            "resource": resource,
            "authorization_servers": [IDENTITY],
            "bearer_methods_supported": ["header"],
            "resource_name": "Notes",
            "scopes_supported": ["read"],
        }
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "http://localhost"
    named = (await client.http("POST", target=path)).headers["www-authenticate"].split('resource_metadata="')[1].rstrip('"')
    inserted = resource.replace(".com", ".com/.well-known/oauth-protected-resource", 1)
    assert named == (inserted if path == "/mcp" else inserted.removesuffix("/"))


@pytest.mark.parametrize("auth", [None, "s3cret", verify, Auth(verify, scopes=["read"])])
@spoken
async def test_without_an_authorization_server_there_are_no_metadata(auth):
    """[auth.metadata] A 404 in JSON tells clients that there is nothing to discover."""
    client = Client(MCPServer("test", auth=auth))
    for where in ("", "/mcp"):
        answer = await client.http("GET", target=f"/.well-known/oauth-protected-resource{where}")
        assert answer.status == 404 and answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "settings",
    [
        {"authorization_servers": [IDENTITY]},
        {"authorization_servers": ["id.example.com"], "resource": OURS},
        {"resource": "mcp.example.com"},
        {"resource": f"{OURS}#top"},
        {"resource": f'{OURS}"'},
        {"resource": f"{OURS}\r\nX: y"},
        {"resource": "/mcp"},
    ],
)
def test_auth_that_clients_could_not_discover_is_refused_at_once(settings):
    with pytest.raises(ValueError, match="expected an http or https URL|need a resource"):
        Auth(verify, **settings)


@spoken
async def test_verifier_that_fails_lets_nobody_in_and_tells_nothing(caplog):
    """[answers.nothing-internal] The log gets the story."""

    async def broken(token: str) -> str:
        raise ConnectionError("cannot reach 10.0.0.9")

    client = Client(MCPServer("test", auth=broken))
    client.headers |= {"authorization": "Bearer x", "mcp-protocol-version": "2025-11-25"}
    assert whole(await client.request("ping")) == refused(500, "Internal error", code=-32603)
    assert "10.0.0.9" in caplog.text


@pytest.mark.parametrize(
    ("granted", "answer"),
    [
        ("ada", ("ada", [])),
        (("ada", ["read", "write"]), ("ada", ["read", "write"])),
        (("ada", "read write"), ("ada", ["read", "write"])),  # the claim `scope` of a token, as it is
        (("ada", ""), ("ada", [])),
        (False, 401),
        ("", 401),
        ((None, ["read"]), 401),  # payload.get("sub"), and there was none
        (("", []), 401),
        (True, 500),
        (7, 500),
        (["ada", ["read"]], 500),
        ({"sub": "ada"}, 500),
        (("ada", ["read"], "more"), 500),
        (("ada", None), 500),
        (("ada", ["read write"]), 500),
    ],
)
@spoken
async def test_verifier_that_says_something_odd_lets_nobody_in(granted, answer):
    """[auth.principal-form] [auth.invalid-401] [auth.scope-form] Two strangers must not become one principal."""

    async def odd(token: str):
        return granted

    client = Client(MCPServer("test", auth=odd))
    reply = await client.http("GET", authorization="Bearer x")
    if isinstance(answer, tuple):
        assert reply.status == 400  # Mcp-Session-Id is missing
        assert (reply.request.principal, sorted(reply.request.scopes)) == answer
    else:
        assert (reply.status, reply.request.principal) == (answer, None)


@pytest.mark.parametrize("scopes", ['say "hi"', ["two words"], "back\\slash", ["line\r\nx"], "caf\xe9", [""]])
def test_scope_that_no_challenge_can_carry_is_refused_at_once(scopes):
    """[auth.scope-form]"""
    with pytest.raises(ValueError, match="visible ASCII"):
        Auth(verify, scopes=scopes)


@spoken
async def test_token_that_is_not_judged_in_time_gets_503(caplog):
    """[limits.verify] Whoever judges it is down; the log says so."""

    async def hangs(token: str) -> str:
        await asyncio.Event().wait()

    client = Client(MCPServer("test", auth=hangs, limits=Limits(verify_seconds=0.01)))
    reply = await client.http("GET", authorization="Bearer x")
    assert reply.status == 503 and reply.headers["retry-after"] == "1"
    assert "could not be judged in time" in caplog.text


@spoken
async def test_client_that_leaves_while_its_token_is_judged_ends_that():
    """[auth.judged-for-somebody] What it asked for, here to listen for ever, would have nobody left to end it."""
    judging, left = asyncio.Event(), asyncio.Event()

    async def slow(token: str) -> str:
        judging.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    mcp = MCPServer("test", auth=slow)
    fields = {"authorization": "Bearer x", "mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen"}
    meta = StatelessClient(mcp).meta
    listen = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen"}
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(ACCEPT_BOTH | fields, listen | {"params": {"_meta": meta, "notifications": {}}}))
        await judging.wait()
        wire.reset()
        await left.wait()
        await eventually(lambda: not mcp.connections)
        assert not mcp.calls and not mcp.listeners


@spoken
async def test_browser_asks_before_it_sends_a_token():
    """[cors.preflight] [cors.allowed-only] A preflight carries none; the refusal that follows can be read by the page."""
    client = Client(guarded())
    fields = {"origin": "http://localhost:5173", "access_control_request_headers": "authorization,mcp-method"}
    answer = await client.http("OPTIONS", **fields)
    assert answer.status == 204 and answer.headers["access-control-allow-headers"] == "authorization, mcp-method"
    answer = await client.request("ping", origin="http://localhost:5173")
    assert answer.status == 401 and "WWW-Authenticate" in answer.headers["access-control-expose-headers"]
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"


@spoken
async def test_lists_behind_a_lock_are_not_for_a_cache_that_others_share():
    """[cache.hints] Unless the author says so."""
    for settings, scope in [({}, "public"), ({"auth": "s3cret"}, "private"),
                            ({"auth": "s3cret", "cache_lists": (1000, "public")}, "public")]:  # fmt: skip
        client = await enter(MCPServer("test", **settings), "s3cret", StatelessClient)
        assert (await client.request("tools/list")).result["cacheScope"] == scope


# --- What is beside the endpoint ----------------------------------------------------------------------


@spoken
async def test_health_counts_what_is_going_on():
    """[health.counts] Without a token, on GET and HEAD; 503 once the server shuts down."""
    mcp = library(auth="s3cret")
    started, go_on = asyncio.Event(), asyncio.Event()

    @mcp.tool()
    async def wait() -> str:
        started.set()
        await go_on.wait()
        return "done"

    async with mcp.serving() as url, Wire(url) as probe, Wire(url) as caller, Wire(url) as reader:

        async def health(method: str = "GET") -> tuple:
            await probe.send(head(method, "/health", host="localhost"))
            status = await probe.status()
            size = int(probe.headers["content-length"])
            return status, json.loads(await probe.reader.readexactly(size)) if method == "GET" else size

        assert await health() == (200, {"status": "ok", "sessions": 0, "streams": 0, "calls": 0})
        client = await enter(mcp, "s3cret")
        await reader.send(head("GET", **client.headers))
        assert await reader.status() == 200
        await caller.send(post(client.headers, call(7, "wait")))
        await started.wait()
        busy = {"status": "ok", "sessions": 1, "streams": 1, "calls": 1}
        assert await health() == (200, busy)
        assert await health("HEAD") == (200, len(json.dumps(busy, separators=(",", ":"))))
        go_on.set()
        assert (await caller.reply()).message == text_result(7, "done")
        mcp.closing.set()
        assert await health() == (503, {"status": "shutting down", "sessions": 1, "streams": 1, "calls": 0})


@spoken
async def test_route_serves_something_else_behind_the_same_gate():
    """[host.validate] [origin.validate] [http.405-allow] [endpoint.slash] Open to all or guarded."""
    mcp = MCPServer("test", auth="s3cret")

    async def file(server: MCPServer, request: Request) -> Reply:
        return Reply(200, (("Content-Type", "text/plain"),), b"a")

    mcp.route("GET", "/open/a", file)
    mcp.route("GET", "/kept/a", file, guarded=True)
    client = Client(mcp)
    for target in ("/open/a", "/open/a/", "/open/a?b=c"):
        assert whole_text(await client.http("GET", target=target)) == (200, "a")
    assert (await client.http("GET", target="/kept/a")).status == 401
    assert whole_text(await client.http("GET", target="/kept/a", authorization="Bearer s3cret")) == (200, "a")
    assert (await client.http("GET", target="/open/a", host="evil.example")).status == 403
    assert (await client.http("GET", target="/open/a", origin="https://evil.example")).status == 403
    assert (await client.http("GET", target="/open/a/b")).status == 404
    answer = await client.http("POST", target="/open/a")
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, OPTIONS"


@spoken
async def test_each_method_of_a_path_is_guarded_or_not():
    """[route.guarded] A GET that is open to all does not open the POST beside it, in whatever order they come."""
    mcp = MCPServer("test", auth="s3cret")

    async def done(server: MCPServer, request: Request) -> Reply:
        return Reply(200)

    mcp.route("GET", "/notes", done)
    mcp.route("POST", "/notes", done, guarded=True)
    mcp.route("DELETE", "/other", done, guarded=True)
    mcp.route("GET", "/other", done)
    mcp.route("GET", "/health", done, guarded=True)  # in the place of ours
    client = Client(mcp)
    asked = [("GET", "/notes"), ("HEAD", "/notes"), ("POST", "/notes"), ("OPTIONS", "/notes"), ("DELETE", "/other"),
             ("GET", "/other"), ("GET", "/health"), ("HEAD", "/health")]  # fmt: skip
    found = [(await client.http(method, target=target)).status for method, target in asked]
    assert found == [200, 200, 401, 204, 401, 200, 401, 401]


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_endpoint_cannot_be_taken_over_by_a_route(path):
    """[route.guarded] Nor that of another server in the same process."""

    async def done(server: MCPServer, request: Request) -> Reply:
        return Reply(200)

    mcp = MCPServer("test")
    for method in ("GET", "PUT"):
        with pytest.raises(ValueError, match="is the MCP endpoint"):
            mcp.route(method, path, done)
    for server in (mcp, MCPServer("other")):
        answer = run(Client(server).http("OPTIONS"))
        assert answer.headers["allow"] == "POST, GET, DELETE, OPTIONS"


@pytest.mark.parametrize("path", [
    "/sse", "/messages/", "/initialize", "/sse/message", "/sse/a/tool/b", "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
])  # fmt: skip
def test_path_that_belongs_to_the_protocol_cannot_be_taken_over_by_a_route(path):
    """[route.guarded] Where the server does not use it, it is free."""

    async def done(server: MCPServer, request: Request) -> Reply:
        return Reply(200)

    async def verify(token: str) -> str:
        return "ada"

    auth = Auth(verify, resource="https://a.example/mcp", authorization_servers=["https://id.example"])
    mcp = MCPServer("test", auth=auth, two_channel=True)
    with pytest.raises(ValueError, match="belongs to it"):
        mcp.route("PUT", path, done)
    assert mcp.pages == {}
    MCPServer("test").route("PUT", path, done)


@spoken
async def test_head_of_a_route_that_streams_opens_no_stream():
    """[http.head-no-body] The connection goes on with the next request."""
    mcp = MCPServer("test")
    stream = Stream(mcp.sessions)

    async def events(server: MCPServer, request: Request) -> Reply:
        return Reply(200, (("Content-Type", "text/event-stream"),), stream=stream)

    mcp.route("GET", "/events", events)
    async with mcp.serving() as url, Wire(url) as wire:
        for _ in range(2):
            await wire.send(head("HEAD", "/events", host="localhost"))
            assert await wire.status() == 200 and wire.headers["content-type"] == "text/event-stream"
            assert "content-length" not in wire.headers  # of the reply to a GET, which nobody knows
        assert stream.reader is None


def whole_text(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.reply.body.decode()


def test_route_with_a_method_or_a_path_that_no_request_has_is_refused_at_once():
    async def nothing(server: MCPServer, request: Request) -> Reply:
        return Reply(204)

    for method, path in [("get", "/page"), ("GET", "page"), ("", "/page"), ("G T", "/page"), ("GET", "/{name}"),
                         ("GET", "/a?b"), ("GET", "/a#b"), ("GET", "/a b")]:  # fmt: skip
        with pytest.raises(ValueError, match="expected 'GET' and '/page'"):
            MCPServer("test").route(method, path, nothing)


@spoken
async def test_options_asks_about_the_server_as_a_whole():
    """[http.options-all] Which has no path."""
    async with MCPServer("test").serving() as url, Wire(url) as wire:
        await wire.send(head("OPTIONS", "*", host="localhost"))
        assert await wire.status() == 204 and wire.headers["allow"] == "OPTIONS"


# --- What the log is told -----------------------------------------------------------------------------


@spoken
async def test_each_request_is_a_line_in_the_log_without_what_is_secret(caplog):
    """[log.access] [log.no-credentials] [auth.no-token-kept] A stream is a line when it has ended; the query is left out."""
    mcp = guarded()

    async def page(server: MCPServer, request: Request) -> Reply:
        return Reply(200)

    mcp.route("GET", "/page", page)
    with caplog.at_level(logging.INFO, "streamhttp_mcp"):
        async with mcp.serving() as url, Wire(url) as wire, Wire(url) as refused_wire:
            client = await enter(mcp, "ada-1")
            await wire.send(post(client.headers, call(1, "who")))
            assert (await wire.reply()).status == 200
            await wire.send(head("GET", "/page?token=s3cret", host="localhost"))
            assert (await wire.reply()).status == 200
            await wire.send(head("GET", f"/sse/{client.headers['mcp-session-id']}", host="localhost"))
            assert (await wire.reply()).status == 404
            await wire.send(head("GET", **client.headers))
            assert await wire.status() == 200
            await refused_wire.send(b"GET /mcp HTTP/1.1\r\n\r\n")
            assert (await refused_wire.reply()).status == 400
    lines = [line.rpartition(" ")[0].rpartition(" ")[0] for line in caplog.messages]
    assert sorted(lines) == sorted([
        "127.0.0.1 POST '/mcp' 200",
        "127.0.0.1 GET '/page' 200",
        "127.0.0.1 GET '/sse/...' 404",
        "127.0.0.1 GET '/mcp' 200",
        "127.0.0.1 - '-' 400",
    ])
    for secret in ("s3cret", "ada-1", client.headers["mcp-session-id"]):
        assert secret not in caplog.text


# --- TLS ----------------------------------------------------------------------------------------------


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def serving_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


@spoken
async def test_server_speaks_tls_and_plain_text_gets_nowhere(caplog):
    """A client that checks the certificate is answered, a refusal too; one without TLS is cut off without a traceback."""
    mcp = library()
    async with mcp.serving(ssl_context=serving_tls()) as url:
        assert url.startswith("https://127.0.0.1:")

        def get(target: str) -> tuple[int, bytes]:
            request = urllib.request.Request(url.replace("/mcp", target))
            with urllib.request.urlopen(request, timeout=5, context=trusting()) as reply:
                return reply.status, reply.read()

        status, body = await asyncio.to_thread(get, "/health")
        assert status == 200 and json.loads(body)["status"] == "ok"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            await asyncio.to_thread(get, "/nothing")
        async with Wire(url) as plain:
            await plain.send(head("GET", "/health", host="localhost"))
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await plain.status()
        reader, writer = await asyncio.open_connection(*Wire(url).address, ssl=trusting(), server_hostname="localhost")
        writer.write(b"NONSENSE\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")  # and closed, as TLS closes
        writer.close()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@spoken
async def test_large_reply_that_a_tls_client_does_not_read_is_counted_and_has_its_deadline():
    """[limits.memory] [limits.time] TLS gave all of it away in one piece, and the server took it for sent."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)

    async def page(server: MCPServer, request: Request) -> Reply:
        return Reply(200, (), b"x" * 16_000_000)

    mcp.route("GET", "/", page)
    async with mcp.serving(ssl_context=serving_tls()) as url:

        def ask() -> ssl.SSLSocket:
            client = trusting().wrap_socket(socket.create_connection(Wire(url).address), server_hostname="localhost")
            client.sendall(head("GET", "/", host="localhost"))
            return client

        client = await asyncio.to_thread(ask)
        await eventually(lambda: mcp.account.used > 8_000_000)
        for _ in range(3):
            mcp.sweep()
            clock.turn(mcp.limits.send_seconds + 1)
        mcp.sweep()
        await eventually(lambda: not mcp.connections and mcp.account.used == 0)
        client.close()


@spoken
async def test_client_that_is_silent_in_its_tls_handshake_does_not_hold_up_the_end():
    """[shutdown.graceful]"""
    mcp = MCPServer("test", limits=Limits(head_seconds=1000))
    url = await mcp.start(port=0, ssl_context=serving_tls())
    async with Wire(url), Wire(url) as hasty:
        await hasty.send(b"no TLS at all")
        await hasty.end()  # by then the server has accepted the one before
        await asyncio.wait_for(mcp.close(), 8)


@spoken
async def test_tls_client_that_does_not_agree_to_the_end_stops_no_deadline(caplog):
    """[limits.time] The server has closed, and waits; it still looks after all the others, and in the end after this."""
    clock = Clock()
    mcp = MCPServer("test", clock=clock)
    async with mcp.serving(ssl_context=serving_tls()) as url:

        def impolite() -> ssl.SSLSocket:
            client = trusting().wrap_socket(socket.create_connection(Wire(url).address), server_hostname="localhost")
            client.sendall(b"NONSENSE\r\n\r\n")
            return client

        client = await asyncio.to_thread(impolite)
        await eventually(lambda: any(one.deadline == clock.now + 2 for one in mcp.connections))  # time to read it
        clock.turn(2.1)
        mcp.sweep()
        await eventually(lambda: all(one.writer.is_closing() for one in mcp.connections))
        for _ in range(4):
            clock.turn(31)
            mcp.sweep()
        await eventually(lambda: not mcp.connections)
        client.close()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_token_that_no_header_can_carry_is_told_in_a_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--token", "two words"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "streamhttp_mcp: error: a token is one or more visible ASCII characters, without spaces\n"
