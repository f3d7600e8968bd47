"""Sections 9 and 12: questions by replay, in rounds that the server remembers nothing of."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from inmemory import Answer, Client, StatelessClient, spoken, until

from streamhttp_mcp import (
    META,
    Context,
    InputRequired,
    MCPServer,
    elicit_form,
    elicit_url,
    list_roots,
    sample_message,
    text_of,
)

ALL = {"elicitation": {"form": {}, "url": {}}, "sampling": {"tools": {}, "context": {}}, "roots": {}}
SERVER = {META + "serverInfo": {"name": "test", "version": "0.1.0"}}
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
REFUSED = "params.requestState is not valid for this request: call again without it"


@dataclass
class Person:
    name: str


def accept(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


def sampled(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": {"type": "text", "text": text}, "model": "m", "stopReason": "endTurn"}


def said(text: str) -> dict[str, Any]:
    return {"resultType": "complete", "content": [{"type": "text", "text": text}], "_meta": SERVER}


def keys(answer: Answer) -> list[str]:
    """The keys of the questions that the answer asks."""
    assert answer.status == 200 and answer.result["resultType"] == "input_required"
    return list(answer.result["inputRequests"])


def check_refused(answer: Answer, code: int, message: str, **data: Any) -> None:
    id = json.loads(answer.request.body)["id"]
    expected = {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, **data}}
    assert (answer.status, answer.message) == (400, expected)


def greeter(**settings: Any) -> MCPServer:
    """A server that asks two questions, one after the other: for a tool, another tool, a prompt and a template."""
    mcp = MCPServer("test", **settings)

    async def greet(ctx: Context, how: str = "Hello") -> str:
        name = (await ctx.elicit("Who?", Person, key="who")).data.name
        colour = (await ctx.elicit("Colour?", NAME, key="colour")).content["name"]
        return f"{how}, {name} in {colour}"

    mcp.add_tool(greet)
    mcp.add_tool(greet, "other")
    mcp.add_prompt(greet, "greet")
    mcp.add_resource(greet, "greet://{how}")
    return mcp


async def second_round(mcp: MCPServer, principal: str | None = None) -> Answer:
    """A call of `greet` that knows the name already, and asks for the colour."""
    client = StatelessClient(mcp, ALL)
    client.principal = principal
    asked = await client.answer(await client.call("greet", {"how": "Hi"}), who=accept(name="Ada"))
    assert keys(asked) == ["colour"]
    return asked


# --- One question, and its answer -------------------------------------------------------------------------

FORM = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": NAME}}
MESSAGES = [{"role": "user", "content": {"type": "text", "text": "Capital?"}}]
QUESTIONS = {
    "form": (lambda ctx: ctx.elicit("Who?", NAME, key="it"), FORM, accept(name="Ada")),
    "url": (
        lambda ctx: ctx.elicit_url("Log in", "https://a.example/login", "7", key="it"),
        {
            "method": "elicitation/create",
            "params": {"mode": "url", "message": "Log in", "url": "https://a.example/login"},
        },
        {"action": "accept"},
    ),
    "sample": (
        lambda ctx: ctx.sample("Capital?", max_tokens=9, system_prompt="Be brief", key="it"),
        {
            "method": "sampling/createMessage",
            "params": {"messages": MESSAGES, "maxTokens": 9, "systemPrompt": "Be brief"},
        },
        sampled("Paris"),
    ),
    "roots": (
        lambda ctx: ctx.list_roots(key="it"),
        {"method": "roots/list", "params": {}},
        {"roots": [{"uri": "file:///a"}]},
    ),
}


def asker(ask: Any) -> MCPServer:
    """A server that asks one thing wherever it may: in a tool, a prompt, a resource and a template."""
    mcp = MCPServer("test")

    async def act(ctx: Context) -> str:
        return f"got {await ask(ctx)}"

    async def about(ctx: Context, topic: str) -> str:
        return f"{topic}: got {await ask(ctx)}"

    mcp.add_tool(act, "ask")
    mcp.add_prompt(act, "ask")
    mcp.add_resource(act, "ask://it")
    mcp.add_resource(about, "about://{topic}")
    return mcp


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "ask"}),
        ("prompts/get", {"name": "ask"}),
        ("resources/read", {"uri": "ask://it"}),
        ("resources/read", {"uri": "about://tea"}),
    ],
)
@spoken
async def test_question_ends_the_call_and_its_answer_continues_it(method, params, question):
    """[mrtr.input-required] [mrtr.supported-methods] [cache.hints] The interim result is whole, without hints."""
    ask, request, answer = QUESTIONS[question]
    mcp = asker(ask)
    client = StatelessClient(mcp, ALL)
    asked = await client.request(method, params)
    state = asked.result["requestState"]
    assert isinstance(state, str) and state
    assert asked.headers["content-type"] == "application/json"
    expected = {
        "resultType": "input_required",
        "inputRequests": {"it": request},
        "requestState": state,
        "_meta": SERVER,
    }
    assert (asked.status, asked.result) == (200, expected)
    assert not mcp.calls and not mcp.sessions.by_id  # nothing is left of it
    done = await client.answer(asked, it=answer)
    assert done.result["resultType"] == "complete" and "got " in json.dumps(done.result)
    if method == "resources/read":  # what one user answered is nobody else's
        assert (done.result["ttlMs"], done.result["cacheScope"]) == (0, "private")


@spoken
async def test_same_source_serves_a_client_of_each_era():
    """[mrtr.input-required] [elicit.form-request] [sampling.validate-content] [roots.list]"""
    mcp = MCPServer("test")

    @mcp.tool()
    async def plan(ctx: Context) -> str:
        who = (await ctx.elicit("Who?", Person)).data.name
        rest = await ctx.ask(idea=sample_message(f"An idea for {who}?"), roots=list_roots())
        return f"{who}: {text_of(rest['idea'])} in {rest['roots'][0]['uri']}"

    replies = {"elicitation/create": accept(name="Ada"), "sampling/createMessage": sampled("tea"),
               "roots/list": {"roots": [{"uri": "file:///a"}]}}  # fmt: skip
    stateless = StatelessClient(mcp, ALL)
    answer, rounds = await stateless.call("plan"), []
    while answer.result["resultType"] == "input_required":
        rounds.append([question["method"] for question in answer.result["inputRequests"].values()])
        given = {key: replies[question["method"]] for key, question in answer.result["inputRequests"].items()}
        answer = await stateless.answer(answer, **given)
    assert rounds == [["elicitation/create"], ["sampling/createMessage", "roots/list"]]

    session = await Client(mcp).connect(capabilities=ALL)
    call = await session.request("tools/call", {"name": "plan"})
    for count in (1, 2, 3):
        question = (await call.page.wait_messages(count))[count - 1]
        await session.respond(question, replies[question["method"]])
    assert (await call.complete()).result["content"] == answer.result["content"]
    assert answer.result == said("Ada: tea in file:///a")


@pytest.mark.parametrize("accept_form", ["application/json", "text/event-stream"])
@spoken
async def test_client_that_takes_one_form_of_answer_is_asked_in_that(accept_form):
    """[mrtr.input-required] [reply.decided-late] Unlike in a session, a question needs no stream."""
    client = StatelessClient(asker(QUESTIONS["form"][0]), ALL)
    client.headers["accept"] = accept_form
    asked = await client.call("ask")
    assert asked.headers["content-type"] == accept_form and keys(asked) == ["it"]
    assert (await client.answer(asked, it=accept(name="Ada"))).result["resultType"] == "complete"


@spoken
async def test_plain_function_asks_from_its_thread():
    """[mrtr.input-required] [handler.threads]"""
    mcp = MCPServer("test")

    @mcp.tool()
    def greet(ctx: Context) -> str:
        return f"Hello, {ctx.wait(ctx.elicit('Who?', Person, key='who')).data.name}"

    client = StatelessClient(mcp, ALL)
    asked = await client.call("greet")
    assert keys(asked) == ["who"]
    assert (await client.answer(asked, who=accept(name="Ada"))).result == said("Hello, Ada")


@spoken
async def test_handler_that_catches_every_exception_still_asks():
    """[mrtr.input-required]"""
    mcp = MCPServer("test")

    @mcp.tool()
    async def careful(ctx: Context) -> str:
        try:
            return (await ctx.elicit("Who?", Person, key="who")).data.name
        except Exception as error:  # noqa: BLE001 - as authors do
            return f"failed: {error}"

    client = StatelessClient(mcp, ALL)
    assert (await client.answer(await client.call("careful"), who=accept(name="Ada"))).result == said("Ada")


@spoken
async def test_questions_that_a_handler_gathers_are_asked():
    """[mrtr.input-required] In a session this works, so it does here: one after the other, if not at once."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def two(ctx: Context) -> str:
        name, roots = await asyncio.gather(ctx.elicit("Who?", Person, key="who"), ctx.list_roots(key="roots"))
        return f"{name.data.name} {len(roots)}"

    client, replies = StatelessClient(mcp, ALL), {"who": accept(name="Ada"), "roots": {"roots": []}}
    answer = await client.call("two")
    for _ in range(2):
        if answer.result["resultType"] == "input_required":
            answer = await client.answer(answer, **{key: replies[key] for key in keys(answer)})
    assert answer.result == said("Ada 0")


# --- Several rounds ---------------------------------------------------------------------------------------


@spoken
async def test_each_round_brings_the_next_question_and_another_state():
    """[mrtr.input-required] The handler runs again from the top, and asks again what it asked, answered or not."""
    mcp, runs = MCPServer("test"), []

    @mcp.tool()
    async def steps(ctx: Context) -> str:
        runs.append(sorted(ctx.input_responses))
        found = []
        for n in (1, 2, 3):
            found.append((await ctx.elicit(f"Step {n}?", NAME, key=f"step{n}")).content["name"])
        return " ".join(found)

    client, states = StatelessClient(mcp, ALL), set()
    answer = await client.call("steps")
    for n in (1, 2, 3):
        assert keys(answer) == [f"step{n}"]
        states.add(answer.result["requestState"])
        answer = await client.answer(answer, **{f"step{n}": accept(name=str(n))})
    assert answer.result == said("1 2 3") and len(states) == 3
    assert runs == [[], ["step1"], ["step2"], ["step3"]]


@spoken
async def test_several_questions_at_once_and_only_what_is_missing_is_asked_again():
    """[mrtr.asked-again] [mrtr.input-required]"""
    mcp = MCPServer("test")

    @mcp.tool()
    async def plan(ctx: Context) -> str:
        got = await ctx.ask(who=elicit_form("Who?", Person), idea=sample_message("Idea?"), roots=list_roots())
        return f"{list(got)} {got['who'].data.name} {text_of(got['idea'])} {got['roots']}"

    client = StatelessClient(mcp, ALL)
    asked = await client.call("plan")
    assert keys(asked) == ["who", "idea", "roots"]
    asked = await client.answer(asked, idea=sampled("tea"))
    assert keys(asked) == ["who", "roots"]
    asked = await client.answer(asked, roots={"roots": []})
    assert keys(asked) == ["who"]
    assert (await client.answer(asked, who=accept(name="Ada"))).result == said("['who', 'idea', 'roots'] Ada tea []")


@spoken
async def test_questions_without_a_key_get_one_each_the_same_in_every_round():
    """[mrtr.input-required] Two of the same words, too."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def twice(ctx: Context) -> str:
        first = await ctx.elicit("Who?", Person)
        return f"{first.data.name} {(await ctx.elicit('Who?', Person)).data.name}"

    client = StatelessClient(mcp, ALL)
    first = await client.call("twice")
    again = await client.answer(first)
    assert keys(first) == keys(again) and len(keys(first)) == 1
    second = await client.answer(again, **{keys(again)[0]: accept(name="Ada")})
    assert keys(second) != keys(first) and len(keys(second)) == 1
    assert (await client.answer(second, **{keys(second)[0]: accept(name="Bob")})).result == said("Ada Bob")


@spoken
async def test_key_that_is_used_twice_is_told_to_the_author():
    """[mrtr.keys-unique] Its answers could not be told apart."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def twice(ctx: Context) -> str:
        return f"{await ctx.elicit('A?', NAME, key='k')} {await ctx.elicit('B?', NAME, key='k')}"

    client = StatelessClient(mcp, ALL)
    answer = await client.answer(await client.call("twice"), k=accept(name="Ada"))
    assert answer.result == said("each question needs a key of its own, and 'k' was used") | {"isError": True}


@pytest.mark.parametrize("responses", [None, {}, {"wrong": accept(name="Eve")}, {"": None, "who ": 1}])
@spoken
async def test_answer_that_is_missing_is_asked_for_again(responses):
    """[mrtr.asked-again] [mrtr.unknown-ignored] [message.null-is-absent] On the first call as well, with no state."""
    client = StatelessClient(greeter(), ALL)
    params = {"name": "greet", "arguments": {}, "inputResponses": responses, "requestState": None}
    asked = await client.request("tools/call", params)
    assert asked.result["inputRequests"] == {"who": FORM}
    again = await client.answer(asked, **(responses or {}))
    assert again.result["inputRequests"] == {"who": FORM}


@spoken
async def test_answers_that_nobody_asked_for_are_ignored():
    """[mrtr.unknown-ignored]"""
    client = StatelessClient(greeter(), ALL)
    asked = await client.answer(await client.call("greet"), who=accept(name="Ada"), extra=5, more={"action": "accept"})
    assert keys(asked) == ["colour"]
    done = await client.answer(asked, colour=accept(name="red"), who={"action": "cancel"}, other=None)
    assert done.result == said("Hello, Ada in red")


WRONG: dict[str, list[Any]] = {
    "form": [
        12345, None, "Ada", True, [], ["accept"], {}, {"action": "maybe"}, {"action": None}, {"action": []},
        {"action": {}},
        {"action": "accept"}, {"action": "accept", "content": None}, {"action": "accept", "content": []},
        {"action": "accept", "content": "Ada"}, accept(), accept(name=5),
        accept(name=None), {"content": {"name": "Ada"}},
        {"result": accept(name="Ada")},
    ],
    "url": [12345, None, {}, {"action": "ok"}, {"action": 1}],
    "sample": [
        12345, None, {}, {"role": "assistant", "model": "m"}, sampled("x") | {"content": None},
        sampled("x") | {"content": "Paris"},
        sampled("x") | {"content": ["Paris"]}, sampled("x") | {"content": {}},
        sampled("x") | {"content": {"type": "video"}},
        sampled("x") | {"content": {"type": []}}, sampled("x") | {"content": {"type": {}}},
        sampled("x") | {"role": "system"},
        sampled("x") | {"role": []},
        sampled("x") | {"model": None}, {k: v for k, v in sampled("x").items() if k != "model"},
    ],
    "roots": [
        12345, None, [], {}, {"roots": None}, {"roots": {}}, {"roots": ["file:///a"]}, {"roots": [{}]},
        {"roots": [{"uri": 5}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("question", WRONG)
@spoken
async def test_answer_of_a_wrong_shape_is_not_accepted_but_asked_for_again(question):
    """[mrtr.asked-again] [elicit.validate-received]"""
    ask, request, right = QUESTIONS[question]
    client = StatelessClient(asker(ask), ALL)
    asked = await client.call("ask")
    for wrong in WRONG[question]:
        asked = await client.answer(asked, it=wrong)
        assert (asked.status, asked.message.get("result", asked.message).get("inputRequests")) == (
            200,
            {"it": request},
        ), wrong
    assert (await client.answer(asked, it=right)).result["resultType"] == "complete"


@pytest.mark.parametrize("responses", [12345, "x", [], True])
@spoken
async def test_responses_that_are_no_object_are_invalid_params(responses):
    """[mrtr.answers-checked]"""
    answer = await StatelessClient(greeter(), ALL).request("tools/call", {"name": "greet", "inputResponses": responses})
    check_refused(answer, -32602, "params.inputResponses must be an object")


@pytest.mark.parametrize("action", ["decline", "cancel"])
@spoken
async def test_no_is_an_answer(action):
    """[mrtr.asked-again] [elicit.actions] And it is kept as one: later rounds do not ask again."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def ask(ctx: Context) -> str:
        first = await ctx.elicit("Who?", Person, key="who")
        second = await ctx.elicit("Why not?", Person, key="why")
        return f"{first.action} {first.content} {first.data}, {second.action}"

    client = StatelessClient(mcp, ALL)
    asked = await client.answer(await client.call("ask"), who={"action": action})
    assert keys(asked) == ["why"]
    assert (await client.answer(asked, why={"action": action})).result == said(f"{action} None None, {action}")


@spoken
async def test_accepted_answer_cannot_be_changed_later():
    """[mrtr.state-verified] What was agreed to, and perhaps checked, is sealed; the client has no second say."""
    mcp = greeter()
    asked = await second_round(mcp)
    client = StatelessClient(mcp, ALL)
    done = await client.answer(asked, who=accept(name="Eve"), colour=accept(name="red"))
    assert done.result == said("Hi, Ada in red")


# --- The sealed state -------------------------------------------------------------------------------------


async def retry(asked: Answer, state: Any, client: StatelessClient, **params: Any) -> Answer:
    """Answer the question for the colour with this state; the params override those of the call."""
    message = json.loads(asked.request.body)
    given = {"inputResponses": {"colour": accept(name="red")}, "requestState": state}
    return await client.request(message["method"], message["params"] | given | params)


@spoken
async def test_state_with_any_character_changed_is_refused():
    """[mrtr.state-verified]"""
    mcp = greeter()
    asked, client = await second_round(mcp), StatelessClient(mcp, ALL)
    state = asked.result["requestState"]
    for at, character in enumerate(state):
        changed = state[:at] + ("B" if character != "B" else "A") + state[at + 1 :]
        check_refused(await retry(asked, changed, client), -32602, REFUSED)
    assert (await retry(asked, state, client)).result == said("Hi, Ada in red")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state + "-TAMPERED", lambda state: state + "=", lambda state: state + "\n",
        lambda state: " " + state,
        lambda state: state[:-1], lambda state: state[1:], lambda state: state.rpartition(".")[0],
        lambda state: state.rpartition(".")[0] + ".", lambda state: "." + state.rpartition(".")[2],
        lambda state: state.rpartition(".")[0] + ".é", lambda state: state.replace("=", ""),
        lambda state: f"{state}.{state}", lambda state: state.upper(), lambda state: "", lambda state: ".",
        lambda state: "é", lambda state: 5, lambda state: True, lambda state: [state],
        lambda state: {"s": state},
    ],
)  # fmt: skip
@spoken
async def test_state_that_was_not_sealed_here_is_refused(change, caplog):
    """[mrtr.state-verified] In one sentence whatever the cause; the log knows more, but not the state."""
    caplog.set_level("INFO", "streamhttp_mcp")
    mcp = greeter()
    asked = await second_round(mcp)
    state = asked.result["requestState"]
    check_refused(await retry(asked, change(state), StatelessClient(mcp, ALL)), -32602, REFUSED)
    assert [record.message for record in caplog.records] == [
        "requestState refused: it was not sealed here, or was changed"
    ]


@spoken
async def test_state_expires(monkeypatch, caplog):
    """[mrtr.state-expires] [mrtr.state-verified] After an hour."""
    caplog.set_level("INFO", "streamhttp_mcp")
    mcp = greeter()
    asked, client, now = await second_round(mcp), StatelessClient(mcp, ALL), time.time()
    state = asked.result["requestState"]
    monkeypatch.setattr(time, "time", lambda: now + 3590)
    assert (await retry(asked, state, client)).result == said("Hi, Ada in red")
    monkeypatch.setattr(time, "time", lambda: now + 3610)
    check_refused(await retry(asked, state, client), -32602, REFUSED)
    assert [record.message for record in caplog.records] == ["requestState refused: it has expired"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "other"}),
        ("tools/call", {"arguments": {"how": "Hey"}}),
        ("tools/call", {"arguments": {}}),
        ("tools/call", {"arguments": {"how": "Hi", "more": None}}),
        ("prompts/get", {}),
        ("resources/read", {"uri": "greet://Hi"}),
    ],
)
@spoken
async def test_state_of_another_call_is_refused(method, params, caplog):
    """[mrtr.state-bound] Another tool, other arguments, another method under the same name."""
    caplog.set_level("INFO", "streamhttp_mcp")
    mcp = greeter()
    asked, client = await second_round(mcp), StatelessClient(mcp, ALL)
    message = json.loads(asked.request.body)["params"] | params | {"requestState": asked.result["requestState"]}
    check_refused(await client.request(method, message), -32602, REFUSED)
    assert [record.message for record in caplog.records] == [
        "requestState refused: it belongs to another call or principal"
    ]


@pytest.mark.parametrize("principal", ["mallory", "alice ", "", None])
@spoken
async def test_state_of_another_principal_is_refused(principal, caplog):
    """[mrtr.state-bound]"""
    caplog.set_level("INFO", "streamhttp_mcp")
    mcp = greeter()
    asked, client = await second_round(mcp, "alice"), StatelessClient(mcp, ALL)
    state, client.principal = asked.result["requestState"], principal
    check_refused(await retry(asked, state, client), -32602, REFUSED)
    assert [record.message for record in caplog.records] == [
        "requestState refused: it belongs to another call or principal"
    ]
    client.principal = "alice"
    assert (await retry(asked, state, client)).result == said("Hi, Ada in red")


@spoken
async def test_state_belongs_to_the_arguments_and_not_to_how_they_are_written():
    """[mrtr.state-bound] Their order does not count, nor does an empty object that is left out."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def ask(ctx: Context, a: int = 1, b: int = 2) -> str:
        return f"{a} {b} {(await ctx.elicit('Who?', Person, key='who')).data.name}"

    client = StatelessClient(mcp, ALL)
    for first, second in [({"arguments": {"a": 3, "b": 4}}, {"arguments": {"b": 4, "a": 3}}), ({}, {"arguments": {}})]:
        asked = await client.request("tools/call", {"name": "ask"} | first)
        given = {"inputResponses": {"who": accept(name="Ada")}, "requestState": asked.result["requestState"]}
        done = await client.request("tools/call", {"name": "ask"} | second | given)
        assert done.result == said("3 4 Ada" if first else "1 2 Ada")


@pytest.mark.parametrize("secret", ["s", b"s"])
@spoken
async def test_servers_with_one_secret_take_rounds_of_a_call_in_turn(secret):
    """[mrtr.state-verified] Nothing else is shared between them."""
    here, there = greeter(secret=secret), greeter(secret="s")
    asked = await StatelessClient(here, ALL).call("greet")
    asked = await StatelessClient(there, ALL).answer(asked, who=accept(name="Ada"))
    assert (await StatelessClient(here, ALL).answer(asked, colour=accept(name="red"))).result == said(
        "Hello, Ada in red"
    )


@pytest.mark.parametrize("secrets", [(None, None), ("a", "b"), ("a", None), ("a", "A")])
@spoken
async def test_servers_with_other_secrets_do_not_trust_each_other(secrets):
    """[mrtr.state-verified] Without `secret` each has a random one."""
    here, there = (greeter(secret=secret) for secret in secrets)
    asked = await StatelessClient(here, ALL).call("greet")
    check_refused(await StatelessClient(there, ALL).answer(asked, who=accept(name="Ada")), -32602, REFUSED)


@pytest.mark.parametrize("secret", ["", b"", [], ["s"], 5])
def test_secret_that_cannot_seal_is_refused(secret):
    """[mrtr.state-verified] An environment variable that is not set gives an empty one: everybody could seal with it."""
    with pytest.raises((ValueError, TypeError), match="secret"):
        MCPServer("test", secret=secret)


# --- By hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["returns", "raises"])
@spoken
async def test_handler_does_the_rounds_by_hand(how):
    """[mrtr.input-required] [mrtr.state-verified] Its own string comes back as it was, though sealed on its way."""
    mcp, seen = MCPServer("test"), []

    @mcp.tool()
    async def steps(ctx: Context) -> Any:
        seen.append((ctx.request_state, ctx.input_responses))
        if ctx.request_state == "step 2: \u2028é":
            return f"done with {ctx.input_responses['b']}"
        state = "step 2: \u2028é" if ctx.request_state else "step 1"
        required = InputRequired({"b" if ctx.request_state else "a": elicit_form("Who?", NAME)}, state=state)
        if how == "raises":
            raise required
        return required

    client = StatelessClient(mcp, ALL)
    first = await client.call("steps")
    assert first.result["inputRequests"] == {"a": FORM} and "step 1" not in first.result["requestState"]
    second = await client.answer(first, a=accept(name="Ada"), extra=5)
    assert second.result["inputRequests"] == {"b": FORM}
    assert (await client.answer(second, b="whatever shape")).result == said("done with whatever shape")
    responses = [{}, {"a": accept(name="Ada"), "extra": 5}, {"b": "whatever shape"}]
    assert seen == list(zip([None, "step 1", "step 2: \u2028é"], responses))


@spoken
async def test_state_alone_asks_the_client_to_call_again():
    """[mrtr.not-empty] There is at least one of inputRequests and requestState, and never an empty object."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def later(ctx: Context) -> Any:
        return InputRequired(state="seen") if ctx.request_state is None else ctx.request_state

    client = StatelessClient(mcp)
    asked = await client.call("later")
    assert asked.result.keys() == {"resultType", "requestState", "_meta"}
    assert (await client.answer(asked)).result == said("seen")


@spoken
async def test_question_by_hand_that_was_not_declared_is_refused_too():
    """[mrtr.declared-only] [capability.missing] However the question comes about."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def ask(ctx: Context) -> Any:
        return InputRequired({"who": elicit_form("Who?", NAME), "idea": sample_message("Idea?")})

    answer = await StatelessClient(mcp, {"sampling": {}}).call("ask")
    text = "the client cannot be asked: it did not declare the capability elicitation"
    check_refused(answer, -32021, text, data={"requiredCapabilities": {"elicitation": {}}})


@spoken
async def test_resource_that_used_an_answer_by_hand_is_not_for_sharing():
    """[cache.hints] It depends on what one user said, whatever its author allows for it."""
    mcp = MCPServer("test", cache_reads=(60_000, "public"))

    @mcp.resource("doc://mine")
    async def mine(ctx: Context) -> Any:
        return (
            str(ctx.input_responses["who"])
            if ctx.input_responses
            else InputRequired({"who": elicit_form("Who?", NAME)})
        )

    client = StatelessClient(mcp, ALL)
    asked = await client.request("resources/read", {"uri": "doc://mine"})
    assert "ttlMs" not in asked.result and "cacheScope" not in asked.result
    done = await client.answer(asked, who=accept(name="Ada"))
    assert (done.result["ttlMs"], done.result["cacheScope"]) == (0, "private")


@spoken
async def test_session_is_told_that_a_handler_asks_by_hand():
    """[operation.negotiated-version]"""
    mcp = MCPServer("test")
    mcp.add_tool(lambda: InputRequired(state="x"), "ask")
    answer = await (await Client(mcp).connect()).call("ask")
    text = "the handler asks as only revision 2026-07-28 can; Context.ask is for all"
    assert answer.message["error"] == {"code": -32603, "message": text}


# --- What may be asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "declared", "required"),
    [
        (elicit_form("Who?", NAME), {}, {"elicitation": {}}),
        (elicit_form("Who?", NAME), {"sampling": {}, "roots": {}}, {"elicitation": {}}),
        (elicit_form("Who?", NAME), {"elicitation": None}, {"elicitation": {}}),
        (elicit_url("Log in", "https://a.example", "1"), {"elicitation": {}}, {"elicitation": {"url": {}}}),
        (elicit_url("Log in", "https://a.example", "1"), {"elicitation": {"form": {}}}, {"elicitation": {"url": {}}}),
        (sample_message("Idea?"), {"elicitation": {}}, {"sampling": {}}),
        (sample_message("Idea?", tools=[]), {"sampling": {}}, {"sampling": {"tools": {}}}),
        (
            sample_message("Idea?", include_context="thisServer"),
            {"sampling": {"tools": {}}},
            {"sampling": {"context": {}}},
        ),
        (list_roots(), {"elicitation": {}}, {"roots": {}}),
    ],
)
@pytest.mark.parametrize("where", ["tools/call", "prompts/get", "resources/read"])
@spoken
async def test_question_the_client_did_not_declare_is_400_missing_capability(where, question, declared, required):
    """[capability.missing] [mrtr.declared-only] In a tool it is a protocol error as well, and no result."""
    client = StatelessClient(asker(lambda ctx: ctx.ask(it=question)), declared)
    answer = await client.request(where, {"name": "ask"} if where != "resources/read" else {"uri": "ask://it"})
    ((name, inner),) = required.items()
    text = f"the client cannot be asked: it did not declare the capability {'.'.join([name, *inner])}"
    check_refused(answer, -32021, text, data={"requiredCapabilities": required})


@spoken
async def test_elicitation_by_url_alone_is_no_form():
    """[mrtr.declared-only] [elicit.declared-mode-only]"""
    client = StatelessClient(asker(QUESTIONS["form"][0]), {"elicitation": {"url": {}}})
    answer = await client.call("ask")
    assert (answer.status, answer.error["code"]) == (400, -32021)
    assert answer.error["data"]["requiredCapabilities"].keys() == {"elicitation"}


@spoken
async def test_every_capability_that_is_missing_is_named():
    """[capability.missing] `requiredCapabilities` lists them, so that one more round is enough."""
    client = StatelessClient(
        asker(lambda ctx: ctx.ask(a=elicit_form("?", NAME), b=list_roots(), c=sample_message("?"))), {"sampling": {}}
    )
    answer = await client.call("ask")
    assert (answer.status, answer.error["code"]) == (400, -32021)
    assert answer.error["data"] == {"requiredCapabilities": {"elicitation": {}, "roots": {}}}


@spoken
async def test_capability_is_that_of_this_request_and_not_of_an_earlier_one():
    """[capability.missing]"""
    client = StatelessClient(asker(QUESTIONS["form"][0]), ALL)
    assert keys(await client.call("ask")) == ["it"]
    assert (await client.call("ask", meta={META + "clientCapabilities": {}})).error["code"] == -32021


@pytest.mark.parametrize("by_hand", [False, True])
@spoken
async def test_completion_must_not_ask(by_hand):
    """[mrtr.supported-methods]"""
    mcp = greeter()

    @mcp.completion()
    async def complete(ref: Any, argument: Any, context: Any, ctx: Context) -> Any:
        return InputRequired(state="x") if by_hand else [await ctx.elicit("Who?", NAME)]

    params = {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "how", "value": "H"}}
    answer = await StatelessClient(mcp, ALL).request("completion/complete", params)
    assert answer.message["error"]["code"] == -32603


@pytest.mark.parametrize(
    "method", ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"]
)
@spoken
async def test_other_methods_take_no_notice_of_answers(method):
    """[mrtr.supported-methods]"""
    client = StatelessClient(greeter(), ALL)
    plain = (await client.request(method)).result
    assert (await client.request(method, {"inputResponses": {"who": accept(name="Ada")}})).result == plain
    assert plain["resultType"] == "complete"


@spoken
async def test_question_after_an_event_comes_on_the_stream():
    """[mrtr.input-required] [stream.no-requests] And so does the missing capability, as 200 is said by then."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def ask(ctx: Context) -> str:
        await ctx.report_progress(1)
        return (await ctx.elicit("Who?", Person, key="who")).data.name

    client = StatelessClient(mcp, ALL)
    asked = await client.call("ask", meta={"progressToken": 1})
    assert asked.is_stream and keys(asked) == ["who"] and len(asked.page.messages) == 2
    assert (await client.answer(asked, who=accept(name="Ada"))).result == said("Ada")
    refusal = await StatelessClient(mcp).call("ask", meta={"progressToken": 1})
    assert (refusal.status, refusal.error["code"]) == (200, -32021)
    await until(lambda: not mcp.calls)
