"""Section 12, Context: what a handler may do while it runs, and what its client sees of that."""

import asyncio
import threading
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from inmemory import Answer, Client, Clock, spoken, until

from streamhttp_mcp import (
    LOG_LEVELS,
    Context,
    ElicitResult,
    Limits,
    MCPServer,
    ToolError,
    elicit_form,
    elicit_url,
    list_roots,
    sample_message,
    text_of,
    user,
)

EVERYTHING = {"sampling": {"tools": {}, "context": {}}, "elicitation": {"form": {}, "url": {}}, "roots": {}}
FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ADA = {"action": "accept", "content": {"name": "Ada"}}
SAID = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "Bonjour"}}
TEXT = {"type": "text", "text": "a"}


def loop_clock() -> Clock:
    """The seconds of the running event loop, which from now on pass when the test says so."""
    clock, loop = Clock(), asyncio.get_running_loop()
    clock.now, loop.time = loop.time(), clock
    return clock


def text(words: str) -> dict[str, Any]:
    """The whole result of a tool that said this."""
    return {"content": [{"type": "text", "text": words}]}


def failure(words: str) -> dict[str, Any]:
    return text(words) | {"isError": True}


def tool_that(asks) -> MCPServer:
    """A server whose one tool runs asks(ctx) and says what came of it."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def tool(ctx: Context) -> str:
        return repr(await asks(ctx))

    return mcp


@spoken
async def question_of(asks, version: str = "2025-11-25") -> dict[str, Any]:
    """What a client that can do everything is sent when a handler asks, without the envelope."""
    client = await Client(tool_that(asks)).connect(version, EVERYTHING)
    reply = await client.request("tools/call", {"name": "tool"})
    [question] = await reply.page.wait_messages(1)
    assert (question.pop("jsonrpc"), question.pop("id")) == ("2.0", 1)
    return question


@spoken
async def outcome_of(asks, answer: dict[str, Any]) -> dict[str, Any]:
    """The tool's result once the client has answered with these members: {'result': ...} or {'error': ...}."""
    client = await Client(tool_that(asks)).connect(capabilities=EVERYTHING)
    reply = await client.request("tools/call", {"name": "tool"})
    [question] = await reply.page.wait_messages(1)
    assert (await client.post({"jsonrpc": "2.0", "id": question["id"]} | answer)).status == 202
    return (await reply.complete()).result


@spoken
async def refusal_of(asks, capabilities: Any = EVERYTHING, version: str = "2025-11-25", **headers: str) -> str:
    """Why a question is not asked at all: the tool fails at once, with nothing sent before."""
    client = await Client(tool_that(asks)).connect(version, capabilities)
    reply = await client.request("tools/call", {"name": "tool"}, **headers)
    assert not reply.is_stream, reply.page.text
    assert reply.result["isError"] is True
    return reply.result["content"][0]["text"]


# ---- Progress


@spoken
async def test_progress_goes_down_the_calls_own_stream_before_its_result():
    """[stream.related-only] [get.unrelated-only] [stream.no-broadcast] A GET stream, also open, stays silent."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> str:
        await ctx.report_progress(0, 2)
        await ctx.report_progress(1.5, 2, "nearly")
        await ctx.report_progress(2)
        return "done"

    client = await Client(mcp).connect()
    standalone = await client.get()
    params = {"name": "work", "_meta": {"progressToken": "mine"}}
    reply = await (await client.request("tools/call", params, id="a")).complete()

    def progress(**params):
        return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "mine"} | params}

    assert reply.page.messages == [
        progress(progress=0, total=2),
        progress(progress=1.5, total=2, message="nearly"),
        progress(progress=2),
        {"jsonrpc": "2.0", "id": "a", "result": text("done")},
    ]
    assert standalone.page.messages == []


@pytest.mark.parametrize(
    ("meta", "tokens"),
    [
        ({"progressToken": 7}, [7]),
        ({"progressToken": "seven"}, ["seven"]),
        ({"progressToken": 0}, [0]),  # tokens that Python takes for nothing
        ({"progressToken": ""}, [""]),
        ({}, []),
        ({"progressToken": None}, []),
        ({"progressToken": True}, []),
        ({"progressToken": 1.5}, []),
        ({"progressToken": ["a"]}, []),
    ],
)
@spoken
async def test_progress_is_sent_with_the_clients_token_or_not_at_all(meta, tokens):
    """[progress.token-type] [progress.active-token-only] A token is a string or an integer."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> str:
        await ctx.report_progress(1)
        return "done"

    client = await Client(mcp).connect()
    reply = await (await client.request("tools/call", {"name": "work", "_meta": meta})).complete()
    assert reply.is_stream is bool(tokens)
    assert [m["params"]["progressToken"] for m in reply.page.messages[:-1]] == tokens
    assert reply.result == text("done")


@spoken
async def test_progress_token_may_have_1024_characters():
    """[limits.text] It is echoed with every report, so a longer one is refused."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> None:
        await ctx.report_progress(1)

    client = await Client(mcp).connect()
    reply = await client.request("tools/call", {"name": "work", "_meta": {"progressToken": "t" * 1024}})
    assert (await reply.complete()).page.messages[0]["params"]["progressToken"] == "t" * 1024
    reply = await client.request("tools/call", {"name": "work", "_meta": {"progressToken": "t" * 1025}})
    assert reply.error == {"code": -32600, "message": "params._meta.progressToken is longer than 1024 characters"}


@spoken
async def test_progress_that_does_not_increase_is_not_sent():
    """[progress.increases] Not the same again, not less, not a number that is none."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> str:
        for progress in (1, 1, 0.5, float("nan"), 2, -1, 3):
            await ctx.report_progress(progress)
        return "done"

    client = await Client(mcp).connect()
    reply = await client.request("tools/call", {"name": "work", "_meta": {"progressToken": 1}})
    await reply.complete()
    assert [message["params"]["progress"] for message in reply.page.messages[:-1]] == [1, 2, 3]


@spoken
async def test_progress_after_the_result_is_dropped():
    """[progress.stop] Not even a client that comes back to the stream gets it, nor does the GET stream."""
    mcp, calls = MCPServer("test"), []

    @mcp.tool()
    async def work(ctx: Context) -> str:
        calls.append(ctx)
        await ctx.report_progress(1)
        return "done"

    client = await Client(mcp).connect()
    standalone = await client.get()
    reply = await client.request("tools/call", {"name": "work", "_meta": {"progressToken": 1}})
    await reply.complete()
    await calls[0].report_progress(2)
    await calls[0].info("too late")
    resumed = await (await client.get(reply.page.events[0]["id"])).complete()
    assert resumed.page.messages == reply.page.messages
    assert standalone.page.messages == []


@spoken
async def test_progress_after_one_result_of_a_batch_is_dropped():
    """[progress.stop] The stream is open still, for the other call; this one is over."""
    mcp, calls, release = MCPServer("test"), [], asyncio.Event()

    @mcp.tool()
    async def quick(ctx: Context) -> None:
        calls.append(ctx)

    @mcp.tool()
    async def slow(ctx: Context) -> None:
        await ctx.report_progress(1)
        await release.wait()

    def request(tool: str) -> dict[str, Any]:
        params = {"name": tool, "_meta": {"progressToken": tool}}
        return {"jsonrpc": "2.0", "id": tool, "method": "tools/call", "params": params}

    client = await Client(mcp).connect("2025-03-26")
    reply = await client.post([request("quick"), request("slow")])
    answered, progress = await reply.page.wait_messages(2)
    assert answered == {"jsonrpc": "2.0", "id": "quick", "result": {"content": []}}
    assert progress["params"]["progressToken"] == "slow"
    await calls[0].report_progress(1)
    await calls[0].info("too late")
    release.set()
    last = {"jsonrpc": "2.0", "id": "slow", "result": {"content": []}}
    assert await reply.page.wait_end() == [answered, progress, last]


@pytest.mark.parametrize(
    ("method", "params"), [("resources/read", {"uri": "doc://a"}), ("prompts/get", {"name": "hello"})]
)
@spoken
async def test_resources_and_prompts_report_progress_too(method, params):
    """[stream.related-only] Whatever handler runs, what it says goes down the stream of its own request."""
    mcp = MCPServer("test")

    @mcp.resource("doc://a")
    async def document(ctx: Context) -> str:
        await ctx.report_progress(1)
        return "text"

    @mcp.prompt()
    async def hello(ctx: Context) -> str:
        await ctx.report_progress(1)
        return "hello"

    client = await Client(mcp).connect()
    reply = await (await client.request(method, params | {"_meta": {"progressToken": 5}})).complete()
    assert [message.get("method") for message in reply.page.messages] == ["notifications/progress", None]


# ---- Log messages


@pytest.mark.parametrize("level", [None, *LOG_LEVELS])
@spoken
async def test_log_messages_below_the_clients_level_are_not_sent(level):
    """[log.set-level] Before the client says a level, it is info."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> None:
        for each in LOG_LEVELS:
            await ctx.log(each, "now")

    client = await Client(mcp).connect()
    if level:
        assert (await client.request("logging/setLevel", {"level": level})).result == {}
    reply = await client.call("work")
    wanted = LOG_LEVELS[LOG_LEVELS.index(level or "info") :]
    assert tuple(message["params"]["level"] for message in reply.page.messages[:-1]) == wanted


@spoken
async def test_log_message_carries_level_data_and_logger():
    """[log.message] Data is any JSON; the logger is left out where there is none."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> None:
        await ctx.debug({"day": date(2026, 7, 28)}, "db")
        await ctx.info("half way")
        await ctx.warning(["a", 1])
        await ctx.error(None)
        await ctx.log("alert", 5, logger_name="disk")

    client = await Client(mcp).connect()
    await client.request("logging/setLevel", {"level": "debug"})
    reply = await client.call("work")
    assert {message.get("method") for message in reply.page.messages[:-1]} == {"notifications/message"}
    assert [message["params"] for message in reply.page.messages[:-1]] == [
        {"level": "debug", "data": {"day": "2026-07-28"}, "logger": "db"},
        {"level": "info", "data": "half way"},
        {"level": "warning", "data": ["a", 1]},
        {"level": "error", "data": None},
        {"level": "alert", "data": 5, "logger": "disk"},
    ]


@spoken
async def test_log_level_is_set_for_one_session_only():
    """[log.set-level] The other client still hears everything from info on."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def work(ctx: Context) -> None:
        await ctx.info("now")

    quiet, other = await Client(mcp).connect(), await Client(mcp).connect()
    await quiet.request("logging/setLevel", {"level": "error"})
    assert not (await quiet.call("work")).is_stream
    assert [m["params"]["data"] for m in (await other.call("work")).page.messages[:-1]] == ["now"]


def test_log_level_that_does_not_exist_is_named_to_the_author():
    """[log.message] Only the eight levels travel; a ninth fails the call, and the message says which it was."""

    async def loud(ctx):
        await ctx.log("loud", "now")

    assert "loud" in refusal_of(loud)


# ---- Elicitation


def test_form_is_asked_for_and_answered():
    """[elicit.form-request] [elicit.actions] The schema travels as it was written; the content comes back as data."""
    schema = FORM | {"properties": {"name": {"type": "string", "title": "Name", "minLength": 2, "default": "Bo"}}}

    async def asks(ctx):
        return await ctx.elicit("Who are you?", schema)

    asked = {"method": "elicitation/create", "params": {"message": "Who are you?", "requestedSchema": schema}}
    assert question_of(asks) == asked
    known = ElicitResult("accept", {"name": "Ada"}, {"name": "Ada"})
    assert outcome_of(asks, {"result": ADA}) == text(repr(known))


def test_form_takes_every_shape_of_enum():
    """[elicit.enum-forms] One value or several, plain or titled, with a default: sent unchanged, answers checked."""
    titled = [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]
    schema = {
        "type": "object",
        "properties": {
            "one": {"type": "string", "enum": ["r", "g"], "default": "r"},
            "titled": {"type": "string", "oneOf": titled},
            "older": {"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]},
            "several": {"type": "array", "items": {"type": "string", "enum": ["r", "g"]}, "maxItems": 1},
            "several_titled": {"type": "array", "items": {"anyOf": titled}, "default": ["r", "g"]},
        },
    }

    async def asks(ctx):
        return (await ctx.elicit("Which?", schema)).content

    assert question_of(asks)["params"]["requestedSchema"] == schema
    good = {"one": "g", "titled": "r", "older": "g", "several": [], "several_titled": ["g", "r"]}
    assert outcome_of(asks, {"result": {"action": "accept", "content": good}}) == text(repr(good))
    for name, bad in [("one", "b"), ("titled", "Red"), ("several", ["r", "g"]), ("several_titled", ["b"])]:
        answer = outcome_of(asks, {"result": {"action": "accept", "content": good | {name: bad}}})
        assert answer["isError"] and f"content.{name}" in answer["content"][0]["text"]


@dataclass
class Booking:
    name: Annotated[str, "Your full name"]
    guests: Annotated[int, {"minimum": 1}] = 2
    room: Literal["single", "double"] = "single"
    day: date | None = None


class Rating(TypedDict):
    stars: int
    note: NotRequired[str]


class Model:
    """What pydantic's models look like from outside."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    @classmethod
    def model_json_schema(cls, mode: str) -> dict[str, Any]:
        return {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "title": "Model"}

    @classmethod
    def model_validate(cls, content: dict[str, Any]) -> "Model":
        return cls(content)

    def __repr__(self) -> str:
        return f"Model({self.content})"


@pytest.mark.parametrize(
    ("form", "schema", "content", "data"),
    [
        (
            Booking,
            {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "Your full name"},
                    "guests": {"type": "integer", "minimum": 1, "default": 2},
                    "room": {"type": "string", "enum": ["single", "double"], "default": "single"},
                    "day": {"type": "string", "format": "date"},
                },
                "required": ["name"],
            },
            {"name": "Ada", "guests": 3.0, "day": "2026-07-28"},
            Booking("Ada", 3, "single", date(2026, 7, 28)),
        ),
        (
            Rating,
            {
                "type": "object",
                "properties": {"stars": {"type": "integer"}, "note": {"type": "string"}},
                "required": ["stars"],
            },
            {"stars": 4},
            {"stars": 4},
        ),
        (
            Model,
            {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
            {"x": 1.5},
            Model({"x": 1.5}),
        ),
    ],
    ids=["dataclass", "TypedDict", "pydantic"],
)
def test_form_of_a_class_comes_back_as_its_instance(form, schema, content, data):
    """[elicit.flat-schema] Flat on the wire: an optional field is one that may be left out, never null."""

    async def asks(ctx):
        return (await ctx.elicit("?", form)).data

    assert question_of(asks)["params"]["requestedSchema"] == schema
    assert outcome_of(asks, {"result": {"action": "accept", "content": content}}) == text(repr(data))


@dataclass
class Nested:
    inner: Booking


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "object", "properties": {"address": {"type": "object", "properties": {}}}}, "'address'"),
        ({"type": "object", "properties": {"people": {"type": "array", "items": {"type": "object"}}}}, "'people'"),
        ({"type": "object", "properties": {"words": {"type": "array", "items": {"type": "string"}}}}, "'words'"),
        ({"type": "object", "properties": {"anything": {}}}, "'anything'"),
        ({"type": "string"}, "object"),
        (Nested, "'inner'"),
        (int, "object"),
    ],
)
def test_form_that_is_not_flat_is_refused_before_it_is_sent(schema, named):
    """[elicit.flat-schema] Strings, numbers, booleans and enums; the message names the field that is none of these."""

    async def asks(ctx):
        return await ctx.elicit("?", schema)

    assert named in refusal_of(asks)


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_user_may_decline_or_cancel_and_no_content_is_taken(action):
    """[elicit.actions] Told apart from each other, and from an accepted form."""

    async def asks(ctx):
        return await ctx.elicit("?", FORM)

    assert outcome_of(asks, {"result": {"action": action}}) == text(repr(ElicitResult(action)))
    with_content = {"action": action, "content": {"name": "Ada"}}
    assert outcome_of(asks, {"result": with_content}) == text(repr(ElicitResult(action)))


def test_url_is_asked_for_and_answered():
    """[elicit.url-request] Its own mode, and an id; no schema."""

    async def asks(ctx):
        return await ctx.elicit_url("Please pay.", "https://example.com/pay/1", "pay-1")

    params = {"mode": "url", "message": "Please pay.", "url": "https://example.com/pay/1", "elicitationId": "pay-1"}
    assert question_of(asks) == {"method": "elicitation/create", "params": params}
    assert outcome_of(asks, {"result": {"action": "accept"}}) == text(repr(ElicitResult("accept")))


# ---- Sampling


def test_sample_of_a_string_is_one_user_message():
    """[sampling.validate-content] The answer is the client's message as it came; text_of reads it."""

    async def asks(ctx):
        return text_of(await ctx.sample("Say hello in French."))

    messages = [{"role": "user", "content": {"type": "text", "text": "Say hello in French."}}]
    params = {"messages": messages, "maxTokens": 1000}
    assert question_of(asks) == {"method": "sampling/createMessage", "params": params}
    assert outcome_of(asks, {"result": SAID}) == text("'Bonjour'")


def test_sample_sends_every_option_by_its_own_name():
    """[sampling.tools-declared] A conversation with a tool in it, the tools to choose from, and how to choose."""
    use = {"type": "tool_use", "id": "u1", "name": "weather", "input": {"city": "Paris"}}
    done = {"type": "tool_result", "toolUseId": "u1", "content": [{"type": "text", "text": "18 degrees"}]}
    messages = [user("Weather?"), {"role": "assistant", "content": [use]}, {"role": "user", "content": [done]}]
    tools = [{"name": "weather", "inputSchema": {"type": "object"}}]

    async def asks(ctx):
        return await ctx.sample(
            messages,
            max_tokens=50,
            system_prompt="Be brief.",
            temperature=0.0,
            model_preferences={"hints": [{"name": "small"}], "speedPriority": 1},
            stop_sequences=["END"],
            include_context="none",
            metadata={"trace": "t"},
            tools=tools,
            tool_choice={"mode": "required"},
        )

    assert question_of(asks)["params"] == {
        "messages": messages,
        "maxTokens": 50,
        "systemPrompt": "Be brief.",
        "temperature": 0.0,
        "modelPreferences": {"hints": [{"name": "small"}], "speedPriority": 1},
        "stopSequences": ["END"],
        "includeContext": "none",
        "metadata": {"trace": "t"},
        "tools": tools,
        "toolChoice": {"mode": "required"},
    }
    wants_tool = {"role": "assistant", "model": "m", "content": [use], "stopReason": "toolUse"}
    assert outcome_of(asks, {"result": wants_tool}) == text(repr(wants_tool))


# ---- Other questions


def test_roots_are_asked_for_and_answered():
    """[roots.list] The folders of the client, as it names them."""

    async def asks(ctx):
        return await ctx.list_roots()

    assert question_of(asks) == {"method": "roots/list", "params": {}}
    roots = [{"uri": "file:///home/ada", "name": "home"}, {"uri": "file:///tmp"}]
    assert outcome_of(asks, {"result": {"roots": roots}}) == text(repr(roots))


@spoken
async def test_several_questions_are_asked_at_once_and_answered_in_any_order():
    """[request.id-fresh] All are on the wire before the first answer; ids are not used twice in a session."""

    async def asks(ctx):
        return await ctx.ask(who=elicit_form("Who?", FORM), say=sample_message("Hi"), where=list_roots())

    client = await Client(tool_that(asks)).connect(capabilities=EVERYTHING)
    for ids in ([1, 2, 3], [4, 5, 6]):
        reply = await client.request("tools/call", {"name": "tool"})
        who, say, where = await reply.page.wait_messages(3)
        assert [who["id"], say["id"], where["id"]] == ids
        await client.respond(where, {"roots": []})
        await client.respond(say, SAID)
        await client.respond(who, ADA)
        known = {"who": ElicitResult("accept", ADA["content"], ADA["content"]), "say": SAID, "where": []}
        assert (await reply.complete()).result == text(repr(known))


@spoken
async def test_prompts_may_ask_and_their_failure_is_a_protocol_error():
    """[prompt.invalid-params] A prompt has no isError: what went wrong is -32603, in words."""
    mcp = MCPServer("test")

    @mcp.prompt()
    async def greet(ctx: Context) -> str:
        return f"Greet {(await ctx.elicit('Who?', FORM)).content['name']}."

    client = await Client(mcp).connect(capabilities=EVERYTHING)
    for answer in (ADA, {"action": "maybe"}):
        reply = await client.request("prompts/get", {"name": "greet"})
        await client.respond((await reply.page.wait_messages(1))[0], answer)
        await reply.complete()
        if answer is ADA:
            assert reply.result == {"messages": [user("Greet Ada.")]}
        else:
            assert reply.error["code"] == -32603
            assert "elicitation/create does not fit: expected an action" in reply.error["message"]


# ---- Questions that are not asked, and answers that do not count


A_FORM, A_URL, A_SAMPLE = elicit_form("?", FORM), elicit_url("?", "https://example.com", "1"), sample_message("?")
TOOLS, CONTEXT = {"tools": [{"name": "f", "inputSchema": {"type": "object"}}]}, {"include_context": "thisServer"}


@pytest.mark.parametrize(
    ("capabilities", "question", "missing"),
    [
        ({}, A_FORM, "elicitation"),
        ({}, A_URL, "elicitation.url"),
        ({}, A_SAMPLE, "sampling"),
        ({}, list_roots(), "roots"),
        ({}, sample_message("?", **TOOLS), "sampling, sampling.tools"),
        ({"elicitation": {}}, A_URL, "elicitation.url"),  # empty means forms only
        ({"elicitation": {"form": {}}}, A_URL, "elicitation.url"),
        ({"elicitation": {"url": {}}}, A_FORM, "elicitation"),
        ({"elicitation": None}, A_FORM, "elicitation"),
        ({"elicitation": 5}, A_FORM, "elicitation"),
        ({"sampling": {}}, sample_message("?", **TOOLS), "sampling.tools"),
        ({"sampling": {}}, sample_message("?", tool_choice={"mode": "auto"}), "sampling.tools"),
        ({"sampling": {"tools": {}}}, sample_message("?", **CONTEXT), "sampling.context"),
        ({"sampling": {"tools": {}}}, sample_message("?", **TOOLS, **CONTEXT), "sampling.context"),
        ({"sampling": {"context": {}}}, sample_message("?", **TOOLS, **CONTEXT), "sampling.tools"),
        ({"sampling": 5}, sample_message("?", **TOOLS), "sampling.tools"),
    ],
)
def test_question_that_the_client_did_not_declare_fails_at_once(capabilities, question, missing):
    """[operation.negotiated-capabilities] [operation.negotiated-only] [roots.check-capability]
    [elicit.declared-mode-only] [sampling.tools-declared] [sampling.context-declared]
    Nothing is sent, nobody waits, and the message names the capability."""

    async def asks(ctx):
        await ctx.ask(it=question)

    reason = refusal_of(asks, capabilities)
    assert reason == f"the client cannot be asked: it did not declare the capability {missing}"


def test_one_question_of_several_that_was_not_declared_keeps_all_back():
    """[operation.negotiated-capabilities] The user is not bothered with half of the questions."""

    async def asks(ctx):
        await ctx.ask(who=elicit_form("Who?", FORM), where=list_roots())

    assert refusal_of(asks, {"elicitation": {}}).endswith("the capability roots")


def test_client_that_takes_no_stream_is_told_so_at_once():
    """[post.answer-json-or-sse] A question needs an event stream; a call that waits for one would hang."""

    async def asks(ctx):
        await ctx.elicit("?", FORM)

    reason = refusal_of(asks, accept="application/json")
    assert reason == "the client cannot be asked: its request accepts no text/event-stream"


@spoken
async def test_client_that_left_before_its_answer_began_is_not_asked():
    """[timeout.sent-requests] Nobody could come back for the question: it fails at once, not after 300 seconds."""
    mcp, gate, failures = MCPServer("test"), asyncio.Event(), []

    @mcp.tool()
    async def tool(ctx: Context) -> None:
        await gate.wait()
        try:
            await ctx.list_roots()
        except ToolError as error:
            failures.append(str(error))

    client = await Client(mcp).connect(capabilities=EVERYTHING)
    call = asyncio.create_task(client.call("tool"))
    await until(lambda: mcp.calls)
    call.cancel()  # as a connection does that is lost
    await asyncio.wait([call])
    gate.set()
    await until(lambda: not mcp.calls)
    assert failures == ["the client cannot be asked: the call has ended, or the client has left"]
    assert not client.session.questions  # no client can see that


@spoken
async def test_question_after_the_end_of_its_call_is_not_sent():
    """[stream.related-only] In a batch the stream is still open, and the question would follow the response."""
    mcp, gate, failures, background = MCPServer("test"), asyncio.Event(), [], []

    async def later(ctx: Context) -> None:
        await gate.wait()
        try:
            await ctx.list_roots()
        except ToolError as error:
            failures.append(str(error))
        gate.clear()

    @mcp.tool()
    async def first(ctx: Context) -> str:
        background.append(asyncio.create_task(later(ctx)))
        return "done"

    @mcp.tool()
    async def second() -> str:
        gate.set()
        await until(lambda: not gate.is_set())
        return "done"

    client = await Client(mcp).connect("2025-03-26", EVERYTHING)
    calls = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": name}}
        for number, name in enumerate(["first", "second"])
    ]
    answer = await (await client.post(calls)).complete()
    assert [message.get("method") for message in answer.page.messages] == [None, None]
    assert failures == ["the client cannot be asked: the call has ended, or the client has left"]


@spoken
async def test_log_level_holds_for_calls_that_run_already():
    """[log.set-level]"""
    mcp, gate = MCPServer("test"), asyncio.Event()

    @mcp.tool()
    async def tool(ctx: Context) -> None:
        await ctx.info("one")
        await gate.wait()
        await ctx.info("two")
        await ctx.error("three")

    client = await Client(mcp).connect()
    answer = await client.request("tools/call", {"name": "tool"})
    assert (await client.request("logging/setLevel", {"level": "error"})).result == {}
    gate.set()
    await answer.complete()
    assert [message["params"]["data"] for message in answer.page.messages[:-1]] == ["one", "three"]


def test_url_mode_is_not_sent_to_a_client_of_an_older_revision():
    """[elicit.older-form] [operation.negotiated-version] 2025-06-18 has forms only, whatever a client declares."""

    async def asks(ctx):
        await ctx.elicit_url("?", "https://example.com", "1")

    assert refusal_of(asks, version="2025-06-18").startswith("the client cannot be asked")


async def ask_form(ctx):
    return await ctx.elicit("?", FORM)


async def ask_url(ctx):
    return await ctx.elicit_url("?", "https://example.com", "1")


async def ask_sample(ctx):
    return await ctx.sample("?")


async def ask_roots(ctx):
    return await ctx.list_roots()


@pytest.mark.parametrize(
    ("asks", "result", "complaint"),
    [
        (ask_form, [], "expected object, got an array"),
        (ask_form, None, "expected object, got null"),
        (ask_form, {}, "expected an action"),
        (ask_form, {"action": "yes"}, "expected an action"),
        (ask_form, {"action": ["accept"]}, "expected an action"),
        (ask_form, {"action": "accept"}, "content.name: is required"),
        (ask_form, {"action": "accept", "content": None}, "content.name: is required"),
        (ask_form, {"action": "accept", "content": []}, "content: expected object, got an array"),
        (ask_form, {"action": "accept", "content": {}}, "content.name: is required"),
        (ask_form, {"action": "accept", "content": {"name": 5}}, "content.name: expected string, got 5"),
        (ask_url, {"action": "done"}, "expected an action"),
        (ask_sample, {}, "expected content"),
        (ask_sample, SAID | {"content": "Bonjour"}, "expected content"),
        (ask_sample, SAID | {"content": {"type": "dance"}}, "expected content"),
        (ask_sample, SAID | {"content": {"type": []}}, "expected content"),
        (ask_sample, SAID | {"content": [TEXT, None]}, "expected content"),
        (ask_sample, {"role": "assistant", "content": TEXT}, "role, content and model"),
        (ask_sample, SAID | {"role": "system"}, "role, content and model"),
        (ask_sample, SAID | {"role": []}, "role, content and model"),
        (ask_roots, {}, "roots: is required"),
        (ask_roots, {"roots": {}}, "roots: expected array, got an object"),
        (ask_roots, {"roots": ["file:///"]}, 'roots[0]: expected object, got "file:///"'),
        (ask_roots, {"roots": [{"name": "home"}]}, "roots[0].uri: is required"),
    ],
)
def test_answer_of_a_wrong_shape_fails_the_call_and_says_how(asks, result, complaint):
    """[elicit.validate-received] [sampling.validate-content] The handler never sees what does not fit."""
    answer = outcome_of(asks, {"result": result})
    [block] = answer["content"]
    assert answer["isError"] is True
    assert "does not fit: " in block["text"] and complaint in block["text"]


def test_answer_that_is_an_error_fails_the_call_with_its_message():
    """[tool.execution-error] The model reads what the client said, whatever else the error holds."""
    error = {"code": -1, "message": "User rejected sampling request", "data": {"asked": 3}}
    words = "the client refused sampling/createMessage: User rejected sampling request"
    assert outcome_of(ask_sample, {"error": error}) == failure(words)


@pytest.mark.parametrize("error", [{}, {"code": 5}, {"message": ["a"]}, "no", None])
def test_answer_that_is_a_broken_error_fails_the_call_too(error):
    """[error.code-message] It names the question, so that a model knows what it has to do without."""
    answer = outcome_of(ask_sample, {"error": error})
    assert answer["isError"] is True
    assert "sampling/createMessage" in answer["content"][0]["text"]


def test_handler_may_catch_a_question_that_failed():
    """[tool.execution-error] It is a ToolError, so a tool can do without the answer."""

    async def asks(ctx):
        try:
            return await ctx.list_roots()
        except ToolError:
            return "somewhere"

    assert outcome_of(asks, {"error": {"code": -32601, "message": "no"}}) == text("'somewhere'")


@spoken
async def test_question_that_nobody_answers_fails_after_its_deadline():
    """[timeout.sent-requests] [timeout.cancel] [cancel.own-requests-only] [cancel.late-response]
    The client is told that the question is withdrawn; a late answer is accepted and ignored."""
    mcp, clock = MCPServer("test", limits=Limits(ask_seconds=5)), loop_clock()

    @mcp.tool()
    async def tool(ctx: Context) -> str:
        return repr(await ctx.list_roots())

    client = await Client(mcp).connect(capabilities=EVERYTHING)
    reply = await client.request("tools/call", {"name": "tool"}, id="a")
    [question] = await reply.page.wait_messages(1)
    clock.turn(5.1)
    reason = {"requestId": question["id"], "reason": "not answered in time"}
    assert await reply.page.wait_end() == [
        question,
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": reason},
        {"jsonrpc": "2.0", "id": "a", "result": failure("the client did not answer within 5 seconds")},
    ]
    late = await client.respond(question, {"roots": []})
    assert (late.status, late.reply.body) == (202, b"")


@pytest.mark.parametrize("answered", ["who", "where"])
@spoken
async def test_only_the_questions_that_are_still_open_are_withdrawn(answered):
    """[timeout.cancel] [cancel.own-requests-only] One was answered in time; the other one is cancelled."""
    mcp, clock = MCPServer("test", limits=Limits(ask_seconds=5)), loop_clock()

    @mcp.tool()
    async def tool(ctx: Context) -> None:
        await ctx.ask(who=elicit_form("Who?", FORM), where=list_roots())

    client = await Client(mcp).connect(capabilities=EVERYTHING)
    reply = await client.request("tools/call", {"name": "tool"})
    who, where = await reply.page.wait_messages(2)
    await (client.respond(who, ADA) if answered == "who" else client.respond(where, {"roots": []}))
    clock.turn(5.1)
    await reply.page.wait_end()
    withdrawn = [m["params"]["requestId"] for m in reply.page.messages if m.get("method") == "notifications/cancelled"]
    assert withdrawn == [where["id"] if answered == "who" else who["id"]]


@spoken
async def test_answer_of_another_session_answers_nothing():
    """[elicit.state-bound] Both sessions are asked under the same id; each gets its own user's answer."""

    async def asks(ctx):
        return (await ctx.elicit("Who?", FORM)).content["name"]

    mcp = tool_that(asks)
    ada, eve = [await Client(mcp).connect(capabilities=EVERYTHING) for _ in range(2)]
    for_ada = await ada.request("tools/call", {"name": "tool"})
    [question] = await for_ada.page.wait_messages(1)
    assert (await eve.respond(question, {"action": "accept", "content": {"name": "Eve"}})).status == 202
    for_eve = await eve.request("tools/call", {"name": "tool"})
    [same] = await for_eve.page.wait_messages(1)
    assert same == question
    await ada.respond(question, ADA)
    assert (await for_ada.complete()).result == text("'Ada'")
    assert not for_eve.page.ended
    await eve.respond(same, {"action": "accept", "content": {"name": "Eve"}})
    assert (await for_eve.complete()).result == text("'Eve'")


@pytest.mark.parametrize("wrong", ["1", 2, 0, -1, "", 2**64])
@spoken
async def test_answer_with_another_id_answers_nothing(wrong):
    """[notification.no-response] Type and all: "1" is not 1. It is accepted like any response, and ignored."""
    client = await Client(tool_that(ask_roots)).connect(capabilities=EVERYTHING)
    reply = await client.request("tools/call", {"name": "tool"})
    [question] = await reply.page.wait_messages(1)
    stray = await client.respond({"id": wrong}, {"roots": [{"uri": "file:///wrong"}]})
    assert (stray.status, stray.reply.body) == (202, b"")
    await client.respond(question, {"roots": []})
    assert (await client.respond(question, {"roots": [{"uri": "file:///again"}]})).status == 202
    assert (await reply.complete()).result == text("[]")


@spoken
async def test_question_is_asked_again_on_the_stream_of_a_client_that_comes_back():
    """[resume.replay] [disconnect.not-cancel] The question was lost with its connection; the call still waits."""
    client = await Client(tool_that(ask_roots)).connect(capabilities=EVERYTHING)
    reply = await client.request("tools/call", {"name": "tool"})
    [question] = await reply.page.wait_messages(1)
    reply.page.leave()
    await reply.page.wait_end()
    again = await client.get(reply.page.events[0]["id"])
    assert again.page.messages == [question]
    await client.respond(question, {"roots": []})
    assert (await again.complete()).result == text("[]")


@spoken
async def test_session_that_ends_stops_the_handler_that_waits_for_an_answer():
    """[session.delete-ends] [cancel.stop] The handler sees CancelledError, and the stream ends without a result."""
    seen = []

    async def asks(ctx):
        try:
            await ctx.list_roots()
        except asyncio.CancelledError:
            seen.append(ctx.cancelled)
            raise

    client = await Client(tool_that(asks)).connect(capabilities=EVERYTHING)
    reply = await client.request("tools/call", {"name": "tool"})
    [question] = await reply.page.wait_messages(1)
    await client.delete()
    assert await reply.page.wait_end() == [question]
    await until(lambda: seen)
    assert seen == ["the client ended the session"]


# ---- What a handler knows of its request


@spoken
async def test_handler_knows_its_request_and_its_client():
    """[operation.negotiated-version] [meta.no-assumptions] In one place, and `_meta` is what the client wrote."""
    mcp, seen = MCPServer("test"), []

    @mcp.tool()
    async def tool(ctx: Context) -> None:
        seen.append(ctx)

    client = await Client(mcp).connect("2025-06-18", {"roots": {}})
    meta = {"example.com/trace": [1], "progressToken": "p"}
    await client.request("tools/call", {"name": "tool", "_meta": meta}, id="seven")
    [ctx] = seen
    assert ctx.server is mcp
    assert ctx.session_id == client.headers["mcp-session-id"]
    assert ctx.protocol_version == "2025-06-18"
    assert ctx.request_id == "seven"
    assert ctx.meta == meta
    assert ctx.client_info == {"name": "inmemory", "version": "1"}
    assert ctx.client_capabilities == {"roots": {}}
    assert ctx.principal is None
    assert ctx.cancelled is None


@pytest.mark.parametrize(
    "hint",
    [Context[Booking], "Context[Any, Booking]", Context[Booking] | None, Annotated[Context[Booking], "mine"]],
    ids=["plain", "text", "optional", "noted"],
)
@spoken
async def test_context_with_brackets_in_its_hint_is_the_context(hint):
    """[tool.input-schema] As handlers have it that were written for the official SDK; clients do not see it."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def tool(name: str, ctx: hint) -> str:
        return f"{name} {ctx.request_id}"

    client = await Client(mcp).connect()
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert (await client.request("tools/list")).result["tools"][0]["inputSchema"] == schema
    assert (await client.call("tool", {"name": "a", "ctx": "b"}, id="seven")).result == text("a seven")


@spoken
async def test_headers_are_those_of_this_request():
    """[session.id-header] Not those of initialize, nor of the call before."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def tool(ctx: Context) -> str:
        return ctx.headers.get("x-tenant", "nobody")

    client = Client(mcp)
    client.headers["x-tenant"] = "initialize"
    await client.connect()
    assert (await client.call("tool", x_tenant="one")).result == text("one")
    assert (await client.call("tool", x_tenant="two")).result == text("two")
    assert (await client.call("tool", x_tenant=None)).result == text("nobody")


@spoken
async def test_handler_reads_a_resource_of_its_own_server():
    """[resource.read] As a client would; what is not there is the same error as for a client."""
    mcp = MCPServer("test")

    @mcp.resource("doc://{name}")
    async def document(name: str) -> str:
        return f"about {name}"

    @mcp.tool()
    async def quote(uri: str, ctx: Context) -> str:
        return repr(await ctx.read_resource(uri))

    client = await Client(mcp).connect()
    contents = [{"uri": "doc://ada", "mimeType": "text/plain", "text": "about ada"}]
    assert (await client.call("quote", {"uri": "doc://ada"})).result == text(repr(contents))
    missing = {"code": -32002, "message": "Resource not found: other://ada", "data": {"uri": "other://ada"}}
    assert (await client.call("quote", {"uri": "other://ada"})).error == missing


# ---- Closing the connection, not the call


@pytest.mark.parametrize("result_first", [True, False])
@spoken
async def test_client_comes_back_for_the_result_when_the_handler_closes_the_connection(result_first):
    """[stream.close-to-poll] [stream.retry-before-close] [stream.prime] [stream.response-arrives]
    The first event says where and when to resume. The result waits for the client, or the client for the result."""
    mcp, release = MCPServer("test", limits=Limits(retry_seconds=2.5)), asyncio.Event()

    @mcp.tool()
    async def long(ctx: Context) -> str:
        await ctx.close_sse_stream()
        await release.wait()
        return "done"

    client = await Client(mcp).connect()
    first = await client.request("tools/call", {"name": "long"}, id="a")
    assert await first.page.wait_end() == []
    [prime] = first.page.events
    assert prime == {"id": prime["id"], "retry": "2500", "data": ""}
    if result_first:
        release.set()
        await until(lambda: not mcp.calls)
    second = await client.get(prime["id"])
    release.set()
    await second.complete()
    assert second.page.messages == [{"jsonrpc": "2.0", "id": "a", "result": text("done")}]


@pytest.mark.parametrize(
    ("version", "accept"), [("2025-06-18", "application/json, text/event-stream"), ("2025-11-25", "application/json")]
)
@spoken
async def test_connection_stays_open_for_a_client_that_could_not_come_back(version, accept):
    """[stream.open-until-response] Older revisions, and clients that take no stream: closing does nothing."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def long(ctx: Context) -> str:
        await ctx.close_sse_stream()
        return "done"

    client = await Client(mcp).connect(version)
    reply = await client.request("tools/call", {"name": "long"}, accept=accept)
    assert not reply.is_stream
    assert reply.result == text("done")


# ---- Plain `def` handlers, which run in a thread


async def ended(reply: Answer) -> None:
    """`reply.complete()` for a handler in a thread, which may need many turns of the event loop."""
    await until(lambda: reply.page.ended, turns=10**7)


@spoken
async def test_plain_handler_uses_the_context_through_wait():
    """[stream.related-only] Progress, logs and questions from a thread look the same to the client."""
    mcp = MCPServer("test")

    @mcp.tool()
    def work(ctx: Context) -> str:
        ctx.wait(ctx.report_progress(1, 2))
        ctx.wait(ctx.info("half way"))
        return ctx.wait(ctx.elicit("Who?", FORM)).content["name"]

    client = await Client(mcp).connect(capabilities=EVERYTHING)
    reply = await client.request("tools/call", {"name": "work", "_meta": {"progressToken": 1}})
    await until(lambda: len(reply.page.messages) >= 3, turns=10**7)
    await client.respond(reply.page.messages[2], ADA)
    await ended(reply)
    methods = [message.get("method") for message in reply.page.messages]
    assert methods == ["notifications/progress", "notifications/message", "elicitation/create", None]
    assert reply.result == text("Ada")


@spoken
async def test_plain_handler_gets_the_error_of_its_question():
    """[operation.negotiated-capabilities] At once, as an exception in its thread."""
    mcp = MCPServer("test")

    @mcp.tool()
    def work(ctx: Context) -> str:
        try:
            ctx.wait(ctx.list_roots())
        except ToolError as error:
            return f"did without: {error}"
        return "asked"

    client = await Client(mcp).connect()
    reason = "the client cannot be asked: it did not declare the capability roots"
    assert (await client.call("work")).result == text(f"did without: {reason}")


@spoken
async def test_plain_handler_sees_that_it_was_cancelled():
    """[cancel.stop] [cancel.no-response] A thread cannot be stopped from outside; it looks at a flag."""
    mcp, started, stopped = MCPServer("test"), asyncio.Event(), threading.Event()

    @mcp.tool()
    def work(ctx: Context) -> None:
        ctx.server.loop.call_soon_threadsafe(started.set)
        while not ctx.cancelled and not stopped.wait(0.001):
            pass
        stopped.set()

    client = await Client(mcp).connect()
    call = asyncio.create_task(client.request("tools/call", {"name": "work"}, id="a"))
    try:
        await started.wait()
        await client.notify("notifications/cancelled", {"requestId": "a"})
        assert await asyncio.to_thread(stopped.wait, 5)
    finally:
        stopped.set()  # so that a thread that does not look ends as well
    reply = await call
    assert (reply.status, reply.page.messages, reply.page.ended) == (200, [], True)


@spoken
async def test_plain_handler_that_waits_for_an_answer_is_freed_when_its_call_is_cancelled():
    """[cancel.stop] Its thread does not stay behind until the deadline of the question."""
    mcp, freed = MCPServer("test"), threading.Event()

    @mcp.tool()
    def work(ctx: Context) -> None:
        try:
            ctx.wait(ctx.list_roots())
        finally:
            freed.set()

    client = await Client(mcp).connect(capabilities=EVERYTHING)
    reply = await client.request("tools/call", {"name": "work"}, id="a")
    await until(lambda: reply.page.messages, turns=10**7)
    await client.notify("notifications/cancelled", {"requestId": "a"})
    assert await asyncio.to_thread(freed.wait, 2), "the thread still waits for an answer"


@spoken
async def test_threads_that_all_wait_for_answers_hold_up_nobody():
    """[tool.call] Every thread there may be is asking, and the answers still come in."""
    mcp = MCPServer("test", limits=Limits(threads=2))

    @mcp.tool()
    def work(ctx: Context) -> str:
        return ctx.wait(ctx.elicit("Who?", FORM)).content["name"]

    client = await Client(mcp).connect(capabilities=EVERYTHING)
    replies = [await client.request("tools/call", {"name": "work"}) for _ in range(2)]
    for number, reply in enumerate(replies):
        await until(lambda page=reply.page: page.messages, turns=10**7)
        await client.respond(reply.page.messages[0], {"action": "accept", "content": {"name": f"user {number}"}})
    for number, reply in enumerate(replies):
        await ended(reply)
        assert reply.result == text(f"user {number}")
