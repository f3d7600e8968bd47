"""Section 10, Methods: every row of the METHODS table, from a client's request to the answer it reads."""

import asyncio
import contextlib
from typing import Any

import pytest
from inmemory import Answer, Client, library, spoken, until

from streamhttp_mcp import (
    LOG_LEVELS,
    METHODS,
    SESSION_REVISIONS,
    Context,
    Limits,
    MCPServer,
    ToolResult,
)

LINK = {"type": "resource_link", "uri": "doc://a", "name": "a"}


def everything() -> MCPServer:
    """A server with one of everything."""
    mcp = library()

    @mcp.tool()
    async def greet(name: str = "you") -> str:
        return f"hello {name}"

    return mcp


def check_error(answer: Answer, code: int, words: str = "", data: Any = None) -> None:
    """The answer is a JSON-RPC error that belongs to its request."""
    error = answer.message["error"]
    expected = {"code": code, "message": error["message"]} | ({} if data is None else {"data": data})
    assert answer.status == 200
    assert answer.message == {"jsonrpc": "2.0", "id": "mine", "error": expected}
    assert words in error["message"]


# One request for each method, and its whole result.
CONVERSATIONS = {
    "ping": ({}, {}),
    "logging/setLevel": ({"level": "debug"}, {}),
    "tools/list": (
        {},
        {
            "tools": [
                {
                    "name": "greet",
                    "inputSchema": {
                        "type": "object",
                        "properties": {"name": {"type": "string", "default": "you"}},
                    },
                }
            ]
        },
    ),
    "tools/call": (
        {"name": "greet", "arguments": {"name": "Ada"}},
        {"content": [{"type": "text", "text": "hello Ada"}]},
    ),
    "resources/list": ({}, {"resources": [{"uri": "doc://a", "name": "document"}]}),
    "resources/templates/list": ({}, {"resourceTemplates": [{"uriTemplate": "doc://{name}/notes", "name": "notes"}]}),
    "resources/read": (
        {"uri": "doc://ada/notes"},
        {"contents": [{"uri": "doc://ada/notes", "mimeType": "text/plain", "text": "about ada"}]},
    ),
    "resources/subscribe": ({"uri": "doc://a"}, {}),
    "resources/unsubscribe": ({"uri": "doc://a"}, {}),
    "prompts/list": ({}, {"prompts": [{"name": "ask", "arguments": [{"name": "topic", "required": True}]}]}),
    "prompts/get": (
        {"name": "ask", "arguments": {"topic": "tea"}},
        {"messages": [{"role": "user", "content": {"type": "text", "text": "What about tea?"}}]},
    ),
    "completion/complete": (
        {"ref": {"type": "ref/prompt", "name": "ask"}, "argument": {"name": "topic", "value": "t"}},
        {"completion": {"values": ["t1", "t2"], "total": 2, "hasMore": False}},
    ),
}


def test_every_method_has_a_conversation_here():
    """[operation.negotiated-version] A new row of the table needs a new one above, or in test_stateless.py."""
    of_sessions = [name for name, method in METHODS.items() if method.first <= SESSION_REVISIONS[0]]
    assert of_sessions == list(CONVERSATIONS)
    assert METHODS.keys() - CONVERSATIONS == {"server/discover", "subscriptions/listen"}


@pytest.mark.parametrize("version", SESSION_REVISIONS)
@pytest.mark.parametrize("method", CONVERSATIONS)
@spoken
async def test_method_answers_with_its_whole_result(method, version):
    """[ping.answer] [result.same-id] [result.field] [tool.call] [tool.definition] [resource.read] [resource.templates]
    [prompt.get] The same in every revision, as one JSON body."""
    params, result = CONVERSATIONS[method]
    client = await Client(everything()).connect(version)
    for id in (1, "1", 0, "", -5):
        answer = await client.request(method, params, id=id)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.message == {"jsonrpc": "2.0", "id": id, "result": result}


@pytest.mark.parametrize("method", ["ping", "tools/list", "resources/list", "resources/templates/list", "prompts/list"])
@spoken
async def test_params_may_be_left_out_where_nothing_is_asked_for(method):
    """[ping.answer] [page.next-cursor] As JSON-RPC allows; unknown members are ignored as well."""
    client = await Client(everything()).connect()
    result = CONVERSATIONS[method][1]
    assert (await client.request(method)).result == result
    assert (await client.request(method, {"_meta": {"progressToken": 1}, "future": [None]})).result == result


@pytest.mark.parametrize("method", ["tools/lists", "Ping", "", "tools", "sampling/createMessage", "notifications/x"])
@spoken
async def test_unknown_method_is_not_found(method):
    """[error.same-id] [error.code-message] -32601, in an HTTP answer that is fine."""
    client = await Client(everything()).connect()
    check_error(await client.request(method, id="mine"), -32601, f"Method not found: {method}")


@pytest.mark.parametrize(
    ("method", "params", "named"),
    [
        ("logging/setLevel", {}, "level"),
        ("logging/setLevel", {"level": "loud"}, "level"),
        ("logging/setLevel", {"level": "INFO"}, "level"),
        ("logging/setLevel", {"level": 3}, "level"),
        ("tools/call", {}, "name"),
        ("tools/call", {"name": 5}, "name"),
        ("tools/call", {"name": "none"}, "none"),
        ("tools/call", {"name": "greet", "arguments": ["Ada"]}, "arguments"),
        ("tools/call", {"name": "greet", "arguments": "Ada"}, "arguments"),
        ("resources/read", {}, "uri"),
        ("resources/read", {"uri": None}, "uri"),
        ("resources/subscribe", {}, "uri"),
        ("resources/subscribe", {"uri": ["doc://a"]}, "uri"),
        ("resources/unsubscribe", {}, "uri"),
        ("resources/read", {"uri": "doc://" + 8187 * "a"}, "params.uri is longer than 8192 characters"),
        ("resources/subscribe", {"uri": "doc://" + 8187 * "a"}, "params.uri is longer than 8192 characters"),
        ("resources/unsubscribe", {"uri": "doc://" + 8187 * "a"}, "params.uri is longer than 8192 characters"),
        ("prompts/get", {}, "name"),
        ("prompts/get", {"name": "none"}, "none"),
        ("prompts/get", {"name": "ask"}, "topic"),
        ("prompts/get", {"name": "ask", "arguments": ["tea"]}, "arguments"),
        ("prompts/get", {"name": "ask", "arguments": {"topic": 5}}, "topic"),
    ],
)
@spoken
async def test_wrong_params_are_refused_by_name(method, params, named):
    """[log.invalid-level] [tool.unknown-error] [prompt.invalid-params] [resource.validate-uri] [error.same-id]
    -32602, and the message says which member."""
    client = await Client(everything()).connect()
    check_error(await client.request(method, params, id="mine"), -32602, named)


@pytest.mark.parametrize("meta", [5, [], "a", True])
@pytest.mark.parametrize("method", ["ping", "tools/call"])
@spoken
async def test_meta_that_is_no_object_is_refused_under_the_requests_own_id(method, meta):
    """[error.same-id] The request could be read, so its sender can tell which of its calls failed."""
    client = await Client(everything()).connect()
    check_error(await client.request(method, CONVERSATIONS[method][0] | {"_meta": meta}, id="mine"), -32602, "_meta")


# ---- Lists


def catalog(count: int = 5) -> MCPServer:
    """A server with so many tools, resources, templates and prompts: a0, a1, a2 ..."""
    mcp = MCPServer("test")
    for n in range(count):
        mcp.add_tool(lambda: "", f"a{n}")
        mcp.add_resource(lambda: "", f"doc://a{n}", name=f"a{n}")
        mcp.add_resource(lambda x: "", f"doc://a{n}/{{x}}", name=f"a{n}")
        mcp.add_prompt(lambda: "", f"a{n}")
    return mcp


LISTS = {"tools/list": "tools", "resources/list": "resources", "resources/templates/list": "resourceTemplates",
         "prompts/list": "prompts"}  # fmt: skip
each_list = pytest.mark.parametrize("method", LISTS)


async def names_of(client: Client, method: str) -> list[str]:
    """The names in a list, which comes whole."""
    result = (await client.request(method)).result
    assert "nextCursor" not in result
    return [entry["name"] for entry in result[LISTS[method]]]


@each_list
@pytest.mark.parametrize("count", [0, 1, 500])
@spoken
async def test_list_comes_whole_and_has_no_cursor(method, count):
    """[page.next-cursor] Everything once, in the order of registration; also a list without entries is answered."""
    client = await Client(catalog(count)).connect()
    names = [f"a{n}" for n in range(count)]
    assert await names_of(client, method) == names
    assert await names_of(client, method) == names  # the second time from what was kept


@each_list
@pytest.mark.parametrize("cursor", ["", "a", "2", "dG9vbHM6MQ==", "\u2028", "A" * 100_000, 0, 2, True, [], {}])
@spoken
async def test_cursor_that_the_server_did_not_give_out_is_invalid(method, cursor):
    """[page.invalid-cursor] Whatever it is, since no list gives one out."""
    client = await Client(catalog()).connect()
    check_error(await client.request(method, {"cursor": cursor}, id="mine"), -32602, "cursor")


@spoken
async def test_optional_member_that_is_null_counts_as_left_out():
    """[message.null-is-absent] Clients whose language has no absent members send null."""
    client = await Client(everything()).connect()
    for method in LISTS:
        assert (await client.request(method, {"cursor": None, "_meta": None})).result == CONVERSATIONS[method][1]
    call = {"name": "greet", "arguments": None, "_meta": None}
    assert (await client.request("tools/call", call)).result == {"content": [{"type": "text", "text": "hello you"}]}
    complete = CONVERSATIONS["completion/complete"][0] | {"context": None}
    assert (await client.request("completion/complete", complete)).result["completion"]["total"] == 2
    assert (await client.post({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": None})).result == {}


# ---- What changes at run time


@pytest.mark.parametrize(
    ("change", "notice", "method", "names"),
    [
        (lambda mcp: mcp.add_tool(lambda: "", "new"), "tools", "tools/list", ["a0", "new"]),
        (lambda mcp: mcp.remove_tool("a0"), "tools", "tools/list", []),
        (lambda mcp: mcp.add_prompt(lambda: "", "new"), "prompts", "prompts/list", ["a0", "new"]),
        (lambda mcp: mcp.remove_prompt("a0"), "prompts", "prompts/list", []),
        (lambda mcp: mcp.add_resource(lambda: "", "doc://b", name="new"), "resources", "resources/list", ["a0", "new"]),
        (lambda mcp: mcp.remove_resource("doc://a0"), "resources", "resources/list", []),
        (lambda mcp: mcp.remove_resource("doc://a0/{x}"), "resources", "resources/templates/list", []),
        (lambda mcp: mcp.notify_tools_changed(), "tools", "tools/list", ["a0"]),
        (lambda mcp: mcp.notify_prompts_changed(), "prompts", "prompts/list", ["a0"]),
        (lambda mcp: mcp.notify_resources_changed(), "resources", "resources/list", ["a0"]),
    ],
)
@pytest.mark.parametrize("from_thread", [False, True])
@spoken
async def test_changed_list_is_announced_to_every_client_and_is_new_when_they_look(
    change, notice, method, names, from_thread
):
    """[tool.list-changed] [resource.list-changed] [prompt.list-changed] Once for each, from whatever thread."""
    mcp = catalog(count=1)
    clients = [await Client(mcp).connect(version) for version in SESSION_REVISIONS]
    streams = [await client.get() for client in clients]
    assert await names_of(clients[0], method) == ["a0"]
    if from_thread:
        await asyncio.to_thread(change, mcp)
    else:
        change(mcp)
    for client, stream in zip(clients, streams):
        await until(lambda page=stream.page: page.messages)
        assert await names_of(client, method) == names
        assert stream.page.messages == [{"jsonrpc": "2.0", "method": f"notifications/{notice}/list_changed"}]


@spoken
async def test_server_may_be_changed_from_many_threads_at_once():
    """[tool.list-changed] Every tool is listed, and its client hears of the change."""
    mcp = MCPServer("test")
    client = await Client(mcp).connect()
    stream = await client.get()
    await asyncio.gather(*(asyncio.to_thread(mcp.add_tool, lambda: "", f"new{n}") for n in range(8)))
    await until(lambda: stream.page.messages)
    assert sorted(await names_of(client, "tools/list")) == [f"new{n}" for n in range(8)]
    await client.request("ping")  # what the threads left to the event loop is done by now
    notice = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    assert stream.page.messages == [notice] * len(stream.page.messages)
    assert len(stream.page.messages) <= 8


@spoken
async def test_tool_may_add_a_tool_while_it_runs():
    """[tool.list-changed] [get.unrelated-only] The notice is nobody's answer: it goes down the GET stream."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def grow(ctx: Context) -> str:
        ctx.server.add_tool(lambda: "I am new", "new")
        return "grown"

    client = await Client(mcp).connect()
    stream = await client.get()
    assert (await client.call("grow")).result == {"content": [{"type": "text", "text": "grown"}]}
    assert stream.page.messages == [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
    assert (await client.call("new")).result == {"content": [{"type": "text", "text": "I am new"}]}


@spoken
async def test_client_that_looks_later_is_told_once():
    """[tool.list-changed] However often the list changed while it had no stream open."""
    mcp = everything()
    client = await Client(mcp).connect()
    for n in range(3):
        mcp.add_tool(lambda: "", f"new{n}")
        mcp.notify_prompts_changed()
    stream = await client.get()
    assert [message["method"] for message in stream.page.messages] == [
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
    ]


@pytest.mark.parametrize("from_thread", [False, True])
@spoken
async def test_update_is_announced_to_the_sessions_that_subscribed(from_thread):
    """[resource.subscribe] To no other session, of no other resource, and no longer after unsubscribing."""
    mcp = everything()
    mcp.add_resource(lambda: "", "doc://b")
    subscriber, other = await Client(mcp).connect(), await Client(mcp).connect()
    streams = [await subscriber.get(), await other.get()]

    async def update(uri: str) -> None:
        if from_thread:
            await asyncio.to_thread(mcp.notify_resource_updated, uri)
        else:
            mcp.notify_resource_updated(uri)
        await subscriber.request("ping")  # what the thread left to the event loop is done by now

    for uri in ("doc://a", "doc://ada/notes", "doc://a"):  # twice is once
        await subscriber.request("resources/subscribe", {"uri": uri})
    for uri in ("doc://a", "doc://b", "doc://ada/notes", "doc://eve/notes"):
        await update(uri)
    assert (await subscriber.request("resources/unsubscribe", {"uri": "doc://a"})).result == {}
    for uri in ("doc://a", "doc://ada/notes"):
        await update(uri)
    notices = [
        {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}
        for uri in ("doc://a", "doc://ada/notes", "doc://ada/notes")
    ]
    assert [stream.page.messages for stream in streams] == [notices, []]


@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe"])
@spoken
async def test_resource_that_does_not_exist_is_not_found(method):
    """[resource.not-found] -32002, with the URI in the data."""
    client = await Client(everything()).connect()
    answer = await client.request(method, {"uri": "doc://nothing"}, id="mine")
    check_error(answer, -32002, "doc://nothing", {"uri": "doc://nothing"})


@spoken
async def test_unsubscribing_from_what_was_never_watched_is_fine():
    """[resource.subscribe] It may have been removed in the meantime."""
    client = await Client(everything()).connect()
    assert (await client.request("resources/unsubscribe", {"uri": "doc://nothing"})).result == {}


@spoken
async def test_subscriptions_of_a_session_are_bounded():
    """[resource.subscribe] [limits.subscriptions] URIs of a template never end: they may take half of what a session
    has; who watches one already may say so again."""
    mcp = library(limits=Limits(session_bytes=8 * 1024))
    client = await Client(mcp).connect()

    async def subscribe(uri: str, method: str = "subscribe") -> Answer:
        return await client.request(f"resources/{method}", {"uri": uri}, id="mine")

    watched = []
    while "error" not in (answer := await subscribe(f"doc://{len(watched)}/notes")).message:
        assert answer.result == {}
        watched.append(f"doc://{len(watched)}/notes")
        assert len(watched) < 40
    check_error(answer, -32600, "unsubscribe")
    assert watched
    assert (await subscribe(watched[0])).result == {}
    assert (await subscribe(watched[0], "unsubscribe")).result == {}
    assert (await subscribe("doc://new/notes")).result == {}
    check_error(await subscribe("doc://other/notes"), -32600, "unsubscribe")


# ---- Without a port


@spoken
async def test_server_that_only_handles_enters_its_lifespan_when_told_to_and_leaves_it_when_closed():
    """[shutdown.graceful] Twice is once; and after it was closed it may be entered again."""
    events = []

    @contextlib.asynccontextmanager
    async def lifespan(server: MCPServer):
        events.append("opened")
        yield len(events)
        events.append("closed")

    mcp = MCPServer("test", lifespan=lifespan)

    @mcp.tool()
    async def look(ctx: Context) -> str:
        return f"{ctx.lifespan_context}"

    for given in (1, 3):
        await mcp.enter_lifespan()
        await mcp.enter_lifespan()
        assert events[given - 1 :] == ["opened"]
        client = await Client(mcp).connect()
        assert (await client.call("look")).result == {"content": [{"type": "text", "text": f"{given}"}]}
        await mcp.close()
        assert events[given - 1 :] == ["opened", "closed"]
    client = await Client(mcp).connect()
    assert (await client.call("look")).result == {"content": [{"type": "text", "text": "None"}]}


# ---- Logging


@spoken
async def test_log_level_may_be_set_again_and_again():
    """[log.set-level] An empty result each time; the next call is heard at this level, and not at the one below."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def speak(ctx: Context) -> None:
        for level in LOG_LEVELS:
            await ctx.log(level, "now")

    client = await Client(mcp).connect()
    for number, level in [*enumerate(LOG_LEVELS), (0, "debug")]:
        assert (await client.request("logging/setLevel", {"level": level})).result == {}
        heard = [message["params"]["level"] for message in (await client.call("speak")).page.messages[:-1]]
        assert heard == list(LOG_LEVELS[number:])


# ---- Completion

PROMPT, TEMPLATE = {"type": "ref/prompt", "name": "ask"}, {"type": "ref/resource", "uri": "doc://{name}/notes"}
TYPED = {"name": "topic", "value": "t"}


@pytest.mark.parametrize(
    ("count", "completion"),
    [
        (0, {"values": [], "total": 0, "hasMore": False}),
        (100, {"values": [f"t{n}" for n in range(100)], "total": 100, "hasMore": False}),
        (101, {"values": [f"t{n}" for n in range(100)], "total": 101, "hasMore": True}),
    ],
)
@pytest.mark.parametrize("ref", [PROMPT, TEMPLATE])
@spoken
async def test_completion_suggests_at_most_100_values(ref, count, completion):
    """[completion.max-100] With the number of all, for prompts and for templates."""
    mcp = everything()

    @mcp.completion()
    async def complete(ref, argument, context):
        return (f"{argument['value']}{n}" for n in range(count)) if count else None

    client = await Client(mcp).connect()
    answer = await client.request("completion/complete", {"ref": ref, "argument": TYPED})
    assert answer.result == {"completion": completion}


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({}, "type"),
        ({"ref": "ask", "argument": TYPED}, "ref"),
        ({"ref": {}, "argument": TYPED}, "type"),
        ({"ref": {"type": "ref/tool", "name": "greet"}, "argument": TYPED}, "type"),
        ({"ref": {"type": ["ref/prompt"], "name": "ask"}, "argument": TYPED}, "type"),
        ({"ref": {"type": "ref/prompt"}, "argument": TYPED}, "name"),
        ({"ref": {"type": "ref/prompt", "name": "none"}, "argument": TYPED}, "params.ref names no prompt"),
        ({"ref": {"type": "ref/prompt", "uri": "ask"}, "argument": TYPED}, "name"),
        ({"ref": {"type": "ref/resource", "uri": "doc://{other}"}, "argument": TYPED}, "params.ref names no prompt"),
        ({"ref": PROMPT, "argument": "t"}, "argument"),
        ({"ref": PROMPT, "argument": {"name": "topic"}}, "value"),
        ({"ref": PROMPT, "argument": {"value": "t"}}, "name"),
        ({"ref": PROMPT, "argument": {"name": "topic", "value": 5}}, "value"),
        ({"ref": PROMPT, "argument": TYPED, "context": 5}, "context"),
        ({"ref": PROMPT, "argument": TYPED, "context": {"arguments": []}}, "arguments"),
        ({"ref": PROMPT, "argument": TYPED, "context": {"arguments": {"a": 5}}}, "arguments"),
    ],
)
@spoken
async def test_completion_of_nothing_that_exists_is_invalid_params(params, named):
    """[completion.invalid-params] [completion.validate-inputs] The handler sees sound input only."""
    mcp = everything()

    @mcp.completion()
    async def complete(ref, argument, context):
        raise AssertionError("not to be called")

    if not params:
        named = ""  # everything is missing
    client = await Client(mcp).connect()
    check_error(await client.request("completion/complete", params, id="mine"), -32602, named)


@spoken
async def test_server_without_completion_does_not_have_the_method():
    """[completion.capability] [completion.invalid-params] The capability is not declared, and the answer is -32601."""
    mcp = MCPServer("test")
    mcp.add_prompt(lambda topic: "", "ask")
    client = await Client(mcp).connect()
    answer = await client.request("completion/complete", {"ref": PROMPT, "argument": TYPED}, id="mine")
    check_error(answer, -32601)


@spoken
async def test_completion_that_fails_is_an_internal_error_without_internals():
    """[completion.no-disclosure] [completion.invalid-params] -32603, and not a word of what went wrong."""
    mcp = everything()

    @mcp.completion()
    async def complete(ref, argument, context):
        raise OSError("/etc/secret: permission denied")

    client = await Client(mcp).connect()
    answer = await client.request("completion/complete", {"ref": PROMPT, "argument": TYPED}, id="mine")
    check_error(answer, -32603, "Internal error")
    assert "secret" not in str(answer.message)


# ---- What an older revision does not know


@pytest.mark.parametrize("version", SESSION_REVISIONS)
@spoken
async def test_handler_writes_links_and_forms_once_for_all_revisions(version):
    """[tool.resource-link] [elicit.enum-forms] What 2025-03-26 does not know is sent to it all the same, see SPEC.md:
    nothing is written in another way for an older client."""
    mcp = MCPServer("test")
    titled = {"type": "string", "oneOf": [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]}
    several = {"type": "array", "items": {"type": "string", "enum": ["r", "g"]}}
    properties = {"name": {"type": "string", "default": "Ada"}, "colour": titled | {"default": "r"}, "all": several}
    form = {"type": "object", "properties": properties, "required": ["name"]}

    @mcp.tool()
    async def ask(ctx: Context):
        answer = await ctx.elicit("Which?", form)
        return ToolResult([answer.data["colour"], LINK], meta={"k": 1})

    @mcp.prompt()
    async def linking():
        return LINK

    client = await Client(mcp).connect(version, {"elicitation": {}})
    reply = await client.request("tools/call", {"name": "ask"})
    [question] = await reply.page.wait_messages(1)
    assert question["params"] == {"message": "Which?", "requestedSchema": form}
    await client.respond(question, {"action": "accept", "content": {"colour": "g", "name": "Ada"}})
    assert (await reply.complete()).result == {"content": [{"type": "text", "text": "g"}, LINK], "_meta": {"k": 1}}
    got = (await client.request("prompts/get", {"name": "linking"})).result
    assert got == {"messages": [{"role": "user", "content": LINK}]}
