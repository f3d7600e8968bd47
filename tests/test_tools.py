"""Section 8, Tools, resources, prompts: what an author writes, and what a client gets of it."""

import asyncio
import json
import threading
import time
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest
from inmemory import Client, spoken, until

from streamhttp_mcp import (
    Audio,
    Context,
    Image,
    Limits,
    MCPServer,
    RPCError,
    ToolError,
    ToolResult,
    assistant,
    match_template,
    parse_template,
    user,
)

PNG = b"\x89PNG\xff"
PNG_64 = "iVBOR/8="
LINK = {"type": "resource_link", "uri": "doc://a", "name": "a"}
EMBEDDED = {"type": "resource", "resource": {"uri": "doc://a", "mimeType": "text/plain", "text": "hello"}}
PICTURE = {"type": "image", "data": PNG_64, "mimeType": "image/png"}
ICONS = [{"src": "https://example.com/a.png", "mimeType": "image/png", "sizes": ["48x48"], "theme": "dark"}]


@spoken
async def answer_to(mcp: MCPServer, method: str, **params: Any) -> dict[str, Any]:
    """The whole JSON-RPC answer to one request in a fresh session, without its envelope."""
    client = await Client(mcp).connect()
    message = (await (await client.request(method, params)).complete()).message
    assert message.pop("jsonrpc") == "2.0" and message.pop("id") == 2
    return message


def call(mcp: MCPServer, name: str = "tool", /, **arguments: Any) -> dict[str, Any]:
    return answer_to(mcp, "tools/call", name=name, arguments=arguments)["result"]


def returning(value: Any, hint: Any = Any, **details: Any) -> MCPServer:
    """A server whose one tool has this return hint and returns this value; an exception is raised."""
    mcp = MCPServer("test")

    async def tool():
        if isinstance(value, BaseException):
            raise value
        return value

    tool.__annotations__["return"] = hint
    mcp.add_tool(tool, **details)
    return mcp


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def failure(words: str) -> dict[str, Any]:
    return {"content": [text(words)], "isError": True}


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int = 0


ORIGIN = Point(0)


class Options(TypedDict):
    depth: int


@dataclass
class Report:
    title: str
    day: date


# ---- Tools: results


@pytest.mark.parametrize(
    ("value", "blocks"),
    [
        (None, []),
        ("hello", [text("hello")]),
        ("", [text("")]),
        (Image(data=PNG), [PICTURE]),
        (Image(data=b"", format="JPG"), [{"type": "image", "data": "", "mimeType": "image/jpeg"}]),
        (Audio(data=PNG), [{"type": "audio", "data": PNG_64, "mimeType": "audio/wav"}]),
        (Audio(data=PNG, format="mp3"), [{"type": "audio", "data": PNG_64, "mimeType": "audio/mpeg"}]),
        (LINK, [LINK]),
        (EMBEDDED, [EMBEDDED]),
        (PICTURE | {"annotations": {"priority": 1}}, [PICTURE | {"annotations": {"priority": 1}}]),
        (["a", Image(data=PNG), LINK], [text("a"), PICTURE, LINK]),
        (("a", "b"), [text("a"), text("b")]),
        (ToolResult(["a", 5, EMBEDDED]), [text("a"), text("5"), EMBEDDED]),
        (ToolResult(), []),
    ],
)
def test_content_is_what_the_model_sees_and_has_no_structure(value, blocks):
    """[tool.content-types] [tool.resource-link] Text, media, links, resources, alone or in a list."""
    assert call(returning(value)) == {"content": blocks}


def test_bytes_become_an_embedded_resource():
    """[tool.content-types] Of no better type than octets, since nothing says more."""
    resource = {"uri": "data:application/octet-stream", "mimeType": "application/octet-stream", "blob": PNG_64}
    assert call(returning(PNG)) == {"content": [{"type": "resource", "resource": resource}]}


@pytest.mark.parametrize("suffix", ["png", "PNG", "svg", "jpg"])
def test_image_is_read_from_a_file(tmp_path, suffix):
    """[tool.content-types] Its suffix says its type."""
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(PNG)
    kind = {"svg": "svg+xml", "jpg": "jpeg"}.get(suffix, "png")
    assert call(returning(Image(path))) == {"content": [PICTURE | {"mimeType": f"image/{kind}"}]}


@pytest.mark.parametrize(
    ("value", "json_text", "structured"),
    [
        (5, "5", {"result": 5}),
        (1.5, "1.5", {"result": 1.5}),
        (False, "false", {"result": False}),
        ({"a": [1, None]}, '{"a": [1, null]}', {"a": [1, None]}),
        ({}, "{}", {}),
        ({"type": "dog", "text": "woof"}, '{"type": "dog", "text": "woof"}', {"type": "dog", "text": "woof"}),
        ([], "[]", {"result": []}),
        ([1, "a"], '[1, "a"]', {"result": [1, "a"]}),
        (["a", {"b": 1}], '["a", {"b": 1}]', {"result": ["a", {"b": 1}]}),
        (date(2026, 7, 28), '"2026-07-28"', {"result": "2026-07-28"}),
        (Colour.RED, '"red"', {"result": "red"}),
        (Point(1), '{"x": 1, "y": 0}', {"x": 1, "y": 0}),
        (
            Report("Caf\u00e9", date(2026, 7, 28)),
            '{"title": "Caf\u00e9", "day": "2026-07-28"}',
            {"title": "Caf\u00e9", "day": "2026-07-28"},
        ),
    ],
)
def test_data_becomes_json_text_and_structured_content(value, json_text, structured):
    """[tool.structured-object] [tool.structured-also-text] What is no object is wrapped into one."""
    assert call(returning(value)) == {"content": [text(json_text)], "structuredContent": structured}


def test_tool_result_says_what_a_value_cannot():
    """[tool.content-types] [meta.no-assumptions] Words and data of their own, the error flag, and `_meta` untouched."""
    meta = {"example.com/took": 1.5}
    result = ToolResult(["half done"], {"rows": 3}, is_error=True, meta=meta)
    expected = failure("half done") | {"structuredContent": {"rows": 3}, "_meta": meta}
    assert call(returning(result)) == expected


OPTIONS = {"type": "object", "properties": {"depth": {"type": "integer"}}, "required": ["depth"]}


@pytest.mark.parametrize(
    ("hint", "schema", "value", "structured"),
    [
        (int, {"type": "integer"}, 5, 5),
        (list[int], {"type": "array", "items": {"type": "integer"}}, [1], [1]),
        (date, {"type": "string", "format": "date"}, date(2026, 7, 28), "2026-07-28"),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}, "a", "a"),
        (Annotated[float, "Seconds"], {"type": "number", "description": "Seconds"}, 2.5, 2.5),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, None),
        (Options | None, {"anyOf": [OPTIONS, {"type": "null"}]}, {"depth": 2}, {"depth": 2}),
    ],
)
def test_return_hint_of_plain_data_is_shown_wrapped_in_an_object(hint, schema, value, structured):
    """[tool.structured-object] [tool.output-conforms] structuredContent and its schema are objects, always."""
    mcp = returning(value, hint)
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    assert tool["outputSchema"] == {"type": "object", "properties": {"result": schema}, "required": ["result"]}
    assert call(mcp)["structuredContent"] == {"result": structured}


REPORT = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "day": {"type": "string", "format": "date"}},
    "required": ["title", "day"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("hint", "schema", "value", "structured"),
    [
        (Report, REPORT, Report("A", date(2026, 7, 28)), {"title": "A", "day": "2026-07-28"}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": 1}),
        (Options, OPTIONS, {"depth": 2}, {"depth": 2}),
    ],
)
def test_return_hint_of_an_object_is_shown_as_it_is(hint, schema, value, structured):
    """[tool.output-conforms] No wrapping where the hint is an object already."""
    mcp = returning(value, hint)
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    assert tool["outputSchema"] == schema
    assert call(mcp)["structuredContent"] == structured


@pytest.mark.parametrize(
    "hint",
    [
        Any, None, str, bytes, Image, Audio, ToolResult, list, dict, tuple, list[str], list[Image], dict[str, Any],
        str | None, str | Image, list[str | Image], list[Any], tuple[str, ...], Annotated[str, "Words"],
    ],
    ids=str,
)  # fmt: skip
def test_return_hint_of_content_promises_no_structure(hint):
    """[tool.definition] A schema would oblige the tool to data that it does not have."""
    [tool] = answer_to(returning("hello", hint), "tools/list")["result"]["tools"]
    assert "outputSchema" not in tool


SIZED = {"type": "object", "properties": {"size": {"type": "integer", "minimum": 0}}, "required": ["size"]}


def test_output_schema_of_the_authors_is_shown_untouched():
    """[tool.output-conforms] Word for word, what the return hint says aside."""
    schema = SIZED | {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Size", "x-own": [1]}
    mcp = returning({"size": 5}, str, output_schema=schema)
    assert answer_to(mcp, "tools/list")["result"]["tools"][0]["outputSchema"] == schema
    assert call(mcp) == {"content": [text('{"size": 5}')], "structuredContent": {"size": 5}}


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"size": -1}, "structuredContent.size: expected minimum 0, got -1"),
        ({}, "structuredContent.size: is required"),
        (5, "structuredContent.size: is required"),
        ("hello", "structuredContent.size: is required"),
        (None, "structuredContent.size: is required"),
        (ToolResult(["hello"]), "structuredContent: expected object, got null"),
        (ToolResult(["hello"], {"size": "5"}), 'structuredContent.size: expected integer, got "5"'),
    ],
)
def test_result_that_breaks_the_output_schema_is_a_tool_error(value, complaint):
    """[tool.output-conforms] A client that validates would throw the result away, without a word to the model."""
    assert call(returning(value, output_schema=SIZED)) == failure(complaint)


def test_error_result_needs_no_structured_content():
    """[tool.execution-error] What went wrong has another shape than what was promised."""
    result = ToolResult(["the disk is full"], is_error=True)
    assert call(returning(result, output_schema=SIZED)) == failure("the disk is full")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "wrap",
    [
        float,
        lambda number: [1, number],
        lambda number: {"deep": {"er": number}},
        lambda number: ToolResult([number]),
        lambda number: ToolResult(["ok"], {"a": number}),
        lambda number: ToolResult(["ok"], meta={"a": number}),
        lambda number: LINK | {"size": number},
    ],
    ids=["number", "list", "dict", "content", "structured", "meta", "block"],
)
def test_result_that_json_cannot_say_is_a_tool_error(wrap, number):
    """[tool.execution-error] [tool.sanitize-output] NaN on the wire would break the whole message for most readers."""
    result = call(returning(wrap(float(number))))
    words = result["content"][0]["text"]
    assert result["isError"] is True
    assert number in words or "Out of range float" in words  # ours, or what Python's encoder says


def test_result_of_no_json_type_is_a_tool_error_that_names_the_type():
    """[tool.execution-error] The author forgot to return something that travels."""
    assert call(returning(threading.Event())) == failure("a Event has no form in JSON")


def test_text_travels_in_ascii():
    """[jsonrpc.format] Raw U+2028 ends a line for some clients; in JSON every character can be escaped."""

    @spoken
    async def body() -> bytes:
        client = await Client(returning("\u2028\U0001f600\n")).connect()
        return (await client.request("tools/call", {"name": "tool"})).reply.body

    assert b'{"type":"text","text":"\\u2028\\ud83d\\ude00\\n"}' in body()


# ---- Tools: arguments


@pytest.mark.parametrize(
    ("hint", "sent", "got"),
    [
        (str, "a", "a"),
        (int, 3.0, 3),
        (float, 3, 3.0),
        (bool, True, True),
        (int | None, None, None),
        (list[date], ["2026-07-28"], [date(2026, 7, 28)]),
        (set[int], [1, 2], {1, 2}),
        (bytes, "aGk=", b"hi"),
        (Colour, "red", Colour.RED),
        (Literal["a", 1], 1, 1),
        (Point, {"x": 1}, Point(1, 0)),
        (Report, {"title": "A", "day": "2026-07-28"}, Report("A", date(2026, 7, 28))),
        (Options, {"depth": 2}, {"depth": 2}),
        (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1)}),
        (Any, {"a": [None]}, {"a": [None]}),
    ],
)
def test_arguments_arrive_as_the_hinted_types(hint, sent, got):
    """[tool.call] JSON on the wire, Python in the handler."""
    mcp, seen = MCPServer("test"), []

    async def tool(value, other="default"):
        seen.append((value, other))

    tool.__annotations__["value"] = hint
    mcp.add_tool(tool)
    assert call(mcp, value=sent) == {"content": []}
    assert seen == [(got, "default")]
    assert type(seen[0][0]) is type(got)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "arguments.path: is required"),
        ({"path": 5}, "arguments.path: expected string, got 5"),
        ({"path": None}, "arguments.path: expected string, got null"),
        ({"path": "a", "depth": "deep"}, 'arguments.depth: expected integer, got "deep"'),
        ({"path": "a", "depth": True}, "arguments.depth: expected integer, got true"),
        ({"path": "a", "depth": 1.5}, "arguments.depth: expected integer, got 1.5"),
        ({"path": "a", "depth": 0}, "arguments.depth: expected minimum 1, got 0"),
        ({"path": "a", "colour": "blue"}, 'arguments.colour: expected enum ["red"], got "blue"'),
        ({"path": "a", "point": {"x": "1"}}, 'arguments.point.x: expected integer, got "1"'),
        ({"path": "a", "point": {"x": 1, "z": 1}}, "arguments.point.z: is not allowed"),
        ({"path": "a", "days": ["2026-07-28", 5]}, "arguments.days[1]: expected string, got 5"),
        ({"path": "a", "speed": 1}, "arguments.speed: is not allowed"),
    ],
)
def test_bad_argument_is_a_tool_error_that_says_which_and_why(arguments, complaint):
    """[tool.validate-inputs] [tool.input-error] A model reads it and mends its call; the handler does not run."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def tool(
        path: str,
        depth: Annotated[int, {"minimum": 1}] = 1,
        colour: Colour = Colour.RED,
        point: Point = ORIGIN,
        days: list[date] = (),
    ) -> str:
        raise AssertionError("not to be called")

    assert call(mcp, **arguments) == failure(complaint)


def test_date_that_does_not_exist_is_a_bad_argument_too():
    """[tool.input-error] JSON Schema lets any string pass; the type itself does not."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def tool(day: date) -> str:
        raise AssertionError("not to be called")

    result = call(mcp, day="2026-02-30")
    assert result["isError"] and result["content"][0]["text"].startswith("day: ")


CONTACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"name": {"$anchor": "name", "type": "string", "minLength": 2}},
    "properties": {"name": {"$ref": "#name"}, "email": {"type": "string"}, "phone": {"type": "string"}},
    "anyOf": [{"required": ["email"]}, {"required": ["phone"]}],
    "additionalProperties": False,
    "x-own": {"kept": True},
}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": "Ada", "phone": "1"}, None),
        ({"name": "A", "phone": "1"}, "arguments.name: expected minLength 2"),
        ({"name": "Ada"}, "arguments: email: is required; or phone: is required"),
        ({"phone": "1", "fax": "2"}, "arguments.fax: is not allowed"),
    ],
)
def test_input_schema_of_the_authors_is_shown_untouched_and_enforced(arguments, complaint):
    """[tool.input-schema] [schema.support-2020-12] [tool.validate-inputs] With one `**arguments` for all of them."""
    mcp = MCPServer("test")

    @mcp.tool(input_schema=CONTACT)
    async def tool(**arguments: Any) -> str:
        return repr(arguments)

    assert answer_to(mcp, "tools/list")["result"]["tools"] == [{"name": "tool", "inputSchema": CONTACT}]
    result = call(mcp, **arguments)
    if complaint is None:
        assert result == {"content": [text(repr(arguments))]}
    else:
        assert result["isError"] and complaint in result["content"][0]["text"]


def test_arguments_under_an_explicit_schema_fill_the_parameters_as_json():
    """[tool.call] The author's schema is the truth; nothing is converted behind its back."""
    mcp = MCPServer("test")

    @mcp.tool(input_schema={"type": "object", "properties": {"day": {"type": "string"}}})
    async def tool(day: date, ctx: Context, depth: int = 7) -> str:
        return f"{day!r} {depth} {ctx.request_id}"

    assert call(mcp, day="today") == {"content": [text("'today' 7 2")]}


async def first(ctx: Context, a: int) -> str:
    return f"{type(ctx).__name__} {a}"


async def last(a: int, anything: Context) -> str:
    return f"{type(anything).__name__} {a}"


async def by_name(a: int, *, _: Context) -> str:
    return f"{type(_).__name__} {a}"


async def quoted(self: "Context", a: int) -> str:
    return f"{type(self).__name__} {a}"


async def not_by_name(ctx: int, a: int = 0) -> str:
    return f"{type(ctx).__name__} {a}"


def plain_function(a: int, context: Context = None) -> str:
    return f"{type(context).__name__} {a}"


class Holder:
    async def method(self, a: int, ctx: Context) -> str:
        return f"{type(ctx).__name__} {a}"


@pytest.mark.parametrize("function", [first, last, by_name, quoted, plain_function, Holder().method])
def test_context_is_found_by_its_type_under_any_name(function):
    """[tool.definition] And it is no argument: the client sees `a` alone."""
    mcp = MCPServer("test")
    mcp.add_tool(function, "tool")
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    assert tool["inputSchema"]["properties"] == {"a": {"type": "integer"}}
    assert call(mcp, a=1) == {"content": [text("Context 1")]}


def test_parameter_that_is_only_called_ctx_is_an_argument():
    """[tool.definition] The type decides."""
    mcp = MCPServer("test")
    mcp.add_tool(not_by_name, "tool")
    assert call(mcp, ctx=5) == {"content": [text("int 0")]}


# ---- Tools: failures


@pytest.mark.parametrize("name", ["", "Tool", "tool ", "../tool", "tool\u2028"])
def test_unknown_tool_is_a_protocol_error(name):
    """[tool.unknown-error] [tool.name-form] Not a result: no model can mend it. Case counts."""
    error = {"code": -32602, "message": f"Unknown tool: {name}"}
    assert answer_to(returning("a"), "tools/call", name=name) == {"error": error}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ToolError("the disk is full"), "the disk is full"),
        (ValueError("no such host: example.com"), "no such host: example.com"),
        (ValueError(), "ValueError"),
        (RecursionError("too deep"), "too deep"),
        (TimeoutError(), "TimeoutError"),
        (ZeroDivisionError("division by \ud800"), "division by \ud800"),
    ],
    ids=repr,
)
def test_exception_is_a_result_with_its_message(error, words, caplog):
    """[tool.execution-error] [log.no-secrets] The model gets the message; the traceback goes to the log alone."""
    assert call(returning(error)) == failure(words)
    records = [record for record in caplog.records if record.name == "streamhttp_mcp"]
    if isinstance(error, ToolError):
        assert records == []  # said on purpose
    else:
        [record] = records
        assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [ValueError("broken"), StopIteration("broken"), SystemExit("broken")], ids=repr)
def test_exception_in_a_thread_is_a_result_as_well(error):
    """[tool.execution-error] Even one that would mean something to the event loop."""
    mcp = MCPServer("test")

    @mcp.tool()
    def tool() -> str:
        raise error

    result = call(mcp)
    assert result["isError"] is True
    assert "broken" in result["content"][0]["text"]


def test_tool_that_calls_sys_exit_ends_itself_and_not_the_server():
    """[tool.execution-error] Argument parsers, say, leave in this way."""
    result = call(returning(SystemExit("usage: tool [-h]")))
    assert result["isError"] is True
    assert "usage: tool [-h]" in result["content"][0]["text"]


def test_handler_may_choose_a_protocol_error():
    """[error.code-message] An RPCError is the answer itself, data and all."""
    error = RPCError(-32042, "Authorization is required", {"elicitations": []})
    expected = {"code": -32042, "message": "Authorization is required", "data": {"elicitations": []}}
    assert answer_to(returning(error), "tools/call", name="tool") == {"error": expected}


def test_handler_that_cancels_itself_is_answered():
    """[error.same-id] Nobody asked for it, so the client must not wait for ever."""
    answer = answer_to(returning(asyncio.CancelledError()), "tools/call", name="tool")
    assert answer == {"error": {"code": -32603, "message": "Internal error"}}


# ---- Tools: definitions


def test_definition_of_a_tool_carries_everything_that_was_said():
    """[tool.definition] [icon.shape] [meta.no-assumptions] The docstring describes what nobody described otherwise."""
    mcp = MCPServer("test")
    annotations = {"title": "Sum", "readOnlyHint": True, "destructiveHint": False}

    @mcp.tool("sum", title="Add up", annotations=annotations, icons=ICONS, meta={"example.com/a": 1})
    async def tool(first: Annotated[int, "The one"], second: int = 0) -> int:
        """Adds two numbers.

        Slowly.
        """
        return first + second

    @mcp.tool(description="Says nothing.")
    async def nothing():
        """Not shown."""

    assert answer_to(mcp, "tools/list") == {
        "result": {
            "tools": [
                {
                    "name": "sum",
                    "title": "Add up",
                    "description": "Adds two numbers.\n\nSlowly.",
                    "inputSchema": {
                        "type": "object",
                        "properties": {
                            "first": {"type": "integer", "description": "The one"},
                            "second": {"type": "integer", "default": 0},
                        },
                        "required": ["first"],
                        "additionalProperties": False,
                    },
                    "outputSchema": {
                        "type": "object",
                        "properties": {"result": {"type": "integer"}},
                        "required": ["result"],
                    },
                    "annotations": annotations,
                    "icons": ICONS,
                    "_meta": {"example.com/a": 1},
                },
                {
                    "name": "nothing",
                    "description": "Says nothing.",
                    "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False},
                },
            ]
        }
    }


def test_decorators_return_the_function_unchanged():
    """[tool.definition] It can be called, tested and registered again."""
    mcp = MCPServer("test")

    def function() -> str:
        return "a"

    assert mcp.tool()(function) is function
    assert mcp.tool("again", title="Again")(function) is function
    assert mcp.resource("doc://a")(function) is function
    assert mcp.prompt()(function) is function
    assert mcp.completion()(function) is function
    assert [tool["name"] for tool in answer_to(mcp, "tools/list")["result"]["tools"]] == ["function", "again"]


def test_what_is_removed_is_gone_and_cannot_be_removed_twice():
    """[tool.unknown-error] [resource.not-found] [prompt.invalid-params] From the lists and for calls."""
    mcp = MCPServer("test")

    def thing(name: str = "") -> str:
        return "a"

    mcp.add_tool(thing)
    mcp.add_prompt(thing)
    mcp.add_resource(thing, "doc://a")
    mcp.add_resource(thing, "doc://{name}/b")
    for remove, key in [
        (mcp.remove_tool, "thing"),
        (mcp.remove_prompt, "thing"),
        (mcp.remove_resource, "doc://a"),
        (mcp.remove_resource, "doc://{name}/b"),
    ]:
        remove(key)
        with pytest.raises(KeyError):
            remove(key)
    assert answer_to(mcp, "tools/list") == {"result": {"tools": []}}
    assert answer_to(mcp, "tools/call", name="thing")["error"]["code"] == -32602
    assert answer_to(mcp, "prompts/get", name="thing")["error"]["code"] == -32602
    assert answer_to(mcp, "resources/read", uri="doc://a")["error"]["code"] == -32002
    assert answer_to(mcp, "resources/read", uri="doc://x/b")["error"]["code"] == -32002


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("admin.tools-LIST_2", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b", False),
        ("a/b", False),
        ("a,b", False),
        ("caf\u00e9", False),
        ("a\n", False),
        ("\u0661", False),  # a digit, but none of ours
    ],
)
def test_tool_name_is_checked_when_it_is_registered(name, good):
    """[tool.name-form] 1 to 128 of A-Z a-z 0-9 _ - and dot."""
    mcp = MCPServer("test")
    if good:
        mcp.add_tool(lambda: "a", name)
        assert call(mcp, name) == {"content": [text("a")]}
    else:
        with pytest.raises(ValueError, match="tool name"):
            mcp.add_tool(lambda: "a", name)


@pytest.mark.parametrize(
    ("hint", "details", "words"),
    [
        (int, {"input_schema": {"type": "string"}}, "'type': 'object'"),
        (int, {"input_schema": {}}, "'type': 'object'"),
        (int, {"output_schema": {"type": "array"}}, "'type': 'object'"),
        (int, {"input_schema": {"type": "object", "minProperties": "1"}}, "minProperties"),
        (int, {"input_schema": {"type": "object", "$ref": "https://example.com/a.json"}}, "example.com"),
        (int, {"input_schema": {"type": "object", "$ref": "#/$defs/none"}}, "none"),
        (threading.Event, {}, "Event"),
        (dict[int, str], {}, "dict"),
    ],
)
def test_tool_that_cannot_work_is_refused_when_it_is_registered(hint, details, words):
    """[schema.valid] [tool.input-schema] Its author reads why, rather than each client."""

    async def tool(value):
        """Never runs."""

    tool.__annotations__["value"] = hint
    mcp = MCPServer("test")
    with pytest.raises((ValueError, TypeError)) as refusal:
        mcp.add_tool(tool, **details)
    assert words in str(refusal.value)
    assert answer_to(mcp, "tools/list") == {"result": {"tools": []}}


# ---- Plain functions


@spoken
async def test_plain_function_runs_in_a_thread_and_holds_up_nobody():
    """[ping.answer] While it blocks, others are answered."""
    mcp, release, threads = MCPServer("test"), threading.Event(), []

    @mcp.tool()
    def block() -> str:
        threads.append(threading.current_thread())
        assert release.wait(5)
        return "done"

    client = await Client(mcp).connect()
    blocked = asyncio.create_task(client.request("tools/call", {"name": "block"}))
    try:
        await until(lambda: threads, turns=10**7)
        assert (await client.request("ping")).result == {}
        assert not blocked.done()
    finally:
        release.set()
    assert (await (await blocked).complete()).result == {"content": [text("done")]}
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon  # it cannot keep the process from ending


class Crowd:
    """Plain handlers that stay until they are released; `inside` counts them."""

    def __init__(self, mcp: MCPServer) -> None:
        self.release, self.lock, self.inside, self.most = threading.Event(), threading.Lock(), 0, 0
        mcp.add_tool(self.stay)

    def stay(self) -> str:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.release.wait(5)
        with self.lock:
            self.inside -= 1
        return "done"


@spoken
async def test_64_plain_handlers_run_at_once_and_the_65th_waits():
    """[tool.rate-limit] Threads cost memory; who comes later gets a turn when one is done."""
    mcp = MCPServer("test", limits=Limits(calls=65))
    crowd, client = Crowd(mcp), await Client(mcp).connect()
    calls = [asyncio.create_task(client.call("stay", accept="application/json")) for _ in range(65)]
    try:
        await until(lambda: crowd.inside == 64, turns=10**7)
        for _ in range(100):
            await client.request("ping")
        assert crowd.inside == 64
    finally:
        crowd.release.set()
    for answer in await asyncio.gather(*calls):
        assert answer.result == {"content": [text("done")]}
    assert crowd.most == 64


@spoken
async def test_cancelled_call_gives_its_thread_back_only_when_the_thread_is_done():
    """[tool.rate-limit] [cancel.stop] Else calling and cancelling in turns would start threads without end."""
    mcp = MCPServer("test", limits=Limits(threads=1))
    crowd, client = Crowd(mcp), await Client(mcp).connect()
    try:
        for number in range(3):
            call = asyncio.create_task(client.request("tools/call", {"name": "stay"}, id=number))
            await until(lambda: client.session.calls and crowd.inside, turns=10**7)
            await client.notify("notifications/cancelled", {"requestId": number})
            await call
        assert crowd.most == 1
    finally:
        crowd.release.set()


# ---- Resources


@pytest.mark.parametrize(
    ("value", "contents"),
    [
        ("hello", {"mimeType": "text/plain", "text": "hello"}),
        ("", {"mimeType": "text/plain", "text": ""}),
        (PNG, {"mimeType": "application/octet-stream", "blob": PNG_64}),
        (Image(data=PNG), {"mimeType": "image/png", "blob": PNG_64}),
        ({"a": [1]}, {"mimeType": "application/json", "text": '{"a": [1]}'}),
        (["a"], {"mimeType": "application/json", "text": '["a"]'}),
        (Point(1), {"mimeType": "application/json", "text": '{"x": 1, "y": 0}'}),
    ],
)
@pytest.mark.parametrize("mime_type", [None, "text/x-own"])
def test_resource_is_read_as_what_its_handler_returns(value, contents, mime_type):
    """[resource.read] [resource.binary-encoded] Text, octets in base64, data as JSON; a type that was said wins."""
    mcp = MCPServer("test")

    @mcp.resource("doc://a", mime_type=mime_type)
    async def document():
        return value

    answer = answer_to(mcp, "resources/read", uri="doc://a")
    expected = {"uri": "doc://a"} | contents | ({"mimeType": mime_type} if mime_type else {})
    assert answer == {"result": {"contents": [expected]}}


@pytest.mark.parametrize("several", [False, True])
def test_resource_may_return_its_contents_itself(several):
    """[resource.read] As they travel: one, or several with URIs of their own, as a folder has."""
    contents = [{"uri": "dir://a/1", "text": "one", "_meta": {"k": 1}}, {"uri": "dir://a/2", "blob": PNG_64}]
    mcp = MCPServer("test")

    @mcp.resource("dir://a")
    def folder():
        return contents if several else contents[0]

    expected = contents if several else contents[:1]
    assert answer_to(mcp, "resources/read", uri="dir://a") == {"result": {"contents": expected}}


def test_definition_of_a_resource_carries_everything_that_was_said():
    """[resource.templates] [icon.shape] Resources in one list, templates in another."""
    mcp = MCPServer("test")
    annotations = {"audience": ["user"], "priority": 0.5, "lastModified": "2026-07-28T00:00:00Z"}

    @mcp.resource("doc://a", name="a", title="A", mime_type="text/plain", size=5, annotations=annotations,
                  icons=ICONS, meta={"k": 1})  # fmt: skip
    async def document() -> str:
        """The first letter."""

    @mcp.resource("doc://{+path}", title="Any", mime_type="text/plain", annotations=annotations, icons=ICONS)
    async def any_document(path: str) -> str: ...

    assert answer_to(mcp, "resources/list") == {
        "result": {
            "resources": [
                {
                    "uri": "doc://a",
                    "name": "a",
                    "title": "A",
                    "description": "The first letter.",
                    "mimeType": "text/plain",
                    "size": 5,
                    "annotations": annotations,
                    "icons": ICONS,
                    "_meta": {"k": 1},
                }
            ]
        }
    }
    assert answer_to(mcp, "resources/templates/list") == {
        "result": {
            "resourceTemplates": [
                {
                    "uriTemplate": "doc://{+path}",
                    "name": "any_document",
                    "title": "Any",
                    "mimeType": "text/plain",
                    "annotations": annotations,
                    "icons": ICONS,
                }
            ]
        }
    }


@pytest.mark.parametrize(
    ("uri", "contents"),
    [
        ("doc://static", "the static one"),  # an exact name is preferred to a template
        ("doc://page/7", "page 7 of int"),
        ("doc://file/a/b%20c.txt", "file a/b c.txt"),
    ],
)
def test_template_hands_the_variables_of_a_uri_to_its_handler(uri, contents):
    """[resource.templates] Decoded, and as the hinted types; the contents name the URI that was asked for."""
    mcp = MCPServer("test")

    @mcp.resource("doc://{name}")
    async def anything(name: str) -> str:
        return f"anything called {name}"

    @mcp.resource("doc://page/{number}")
    async def page(number: int, ctx: Context) -> str:
        return f"page {number} of {type(number).__name__}"

    @mcp.resource("doc://file/{+path}")
    def file(path: str, encoding: str = "utf-8") -> str:
        return f"file {path}"

    @mcp.resource("doc://static")
    async def static() -> str:
        return "the static one"

    expected = {"uri": uri, "mimeType": "text/plain", "text": contents}
    assert answer_to(mcp, "resources/read", uri=uri) == {"result": {"contents": [expected]}}


@pytest.mark.parametrize("number", ["seven", "1.5", "0x7", "%00", "[" * 100_000, "9" * 5000, "null", "NaN"])
def test_variable_of_a_wrong_type_is_invalid_params(number):
    """[resource.validate-uri] The handler does not run, however hostile the URI is."""
    mcp = MCPServer("test")

    @mcp.resource("doc://page/{number}")
    async def page(number: int) -> str:
        raise AssertionError("not to be called")

    answer = answer_to(mcp, "resources/read", uri=f"doc://page/{number}")
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("uri", ["", "doc://", "doc://a/", "doc://a/b", "DOC://a", " doc://a", "doc://a/../../b", "a"])
def test_uri_that_nothing_has_is_not_found(uri):
    """[resource.not-found] -32002, and the data says which URI."""
    mcp = MCPServer("test")
    mcp.add_resource(lambda name: name, "doc://{name}")
    error = {"code": -32002, "message": f"Resource not found: {uri}", "data": {"uri": uri}}
    assert answer_to(mcp, "resources/read", uri=uri) == {"error": error}


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (OSError("/etc/secret: permission denied"), {"code": -32603, "message": "Internal error"}),
        (ToolError("The archive is closed."), {"code": -32603, "message": "The archive is closed."}),
        (RPCError(-32002, "Gone", {"uri": "doc://a"}), {"code": -32002, "message": "Gone", "data": {"uri": "doc://a"}}),
    ],
    ids=repr,
)
def test_resource_that_fails_is_a_protocol_error_without_internals(error, answer):
    """[resource.not-found] [log.no-secrets] In the author's words where they chose some, else in none."""
    mcp = MCPServer("test")

    @mcp.resource("doc://a")
    async def document() -> str:
        raise error

    assert answer_to(mcp, "resources/read", uri="doc://a") == {"error": answer}


@pytest.mark.parametrize(
    ("template", "uri", "variables"),
    [
        ("doc://{x}", "doc://a", {"x": "a"}),
        ("doc://{x}", "doc://", None),
        ("doc://{x}", "doc://a/b", None),
        ("doc://{x}", "other://a", None),
        ("doc://{+x}", "doc://a/b//c", {"x": "a/b//c"}),
        ("doc://{+x}", "doc://", None),
        ("{x}", "a", {"x": "a"}),
        ("{x}.txt", "a.txt", {"x": "a"}),
        ("{x}.txt", ".txt", None),
        ("{x}.txt", "a.TXT", None),
        ("doc://{x}/data", "doc://a/data", {"x": "a"}),
        ("doc://{x}/data", "doc:///data", None),
        ("doc://{x}/data", "doc://data", None),  # first and last part overlap in the URI
        ("doc://{a}/{b}", "doc://1/2", {"a": "1", "b": "2"}),
        ("doc://{a}/{b}", "doc://1", None),
        ("doc://{a}-{b}", "doc://1-2-3", {"a": "1", "b": "2-3"}),  # the first '-' ends a
        ("doc://{a}/{+b}.md", "doc://1/2/3.md", {"a": "1", "b": "2/3"}),
        ("doc://{+a}/x/{b}", "doc://1/2/x/3", {"a": "1/2", "b": "3"}),
        ("doc://{+a}/x/{b}", "doc://1/x/2/x/3", None),  # the first '/x/' ends a
        # Hostile: decoded once and after matching, so that an encoded slash is data and no pattern is built.
        ("doc://{x}", "doc://a%2Fb", {"x": "a/b"}),
        ("doc://{x}", "doc://%252e", {"x": "%2e"}),
        ("doc://{x}", "doc://..%2f..", {"x": "../.."}),
        ("doc://{x}", "doc://..", {"x": ".."}),
        ("doc://{x}", "doc://a%00b", {"x": "a\0b"}),
        ("doc://{x}", "doc://%", {"x": "%"}),
        ("doc://{x}", "doc://%zz", {"x": "%zz"}),
        ("doc://{x}", "doc://%ff", {"x": "\ufffd"}),
        ("doc://{x}", "doc://a\nb", {"x": "a\nb"}),
        ("doc://{x}", "doc://{x}", {"x": "{x}"}),
        ("doc://(a+)+{x}", "doc://(a+)+b", {"x": "b"}),
        ("doc://.*{x}", "doc://aab", None),
    ],
)
def test_template_is_matched_in_one_pass(template, uri, variables):
    """[resource.validate-uri] [resource.templates] {var} holds no slash, {+path} does, and neither is empty."""
    assert match_template(parse_template(template), uri) == variables


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("doc://{a}-{b}-{c}-{d}-{e}!", "doc://" + "-" * 1_000_000),
        ("doc://{a}-{b}-{c}-{d}-{e}!", "doc://" + "x-" * 500_000),
        ("doc://{+a}/{+b}/{+c}/{+d}/{+e}.", "doc://" + "a/" * 500_000),
        ("doc://{+a}ab{+b}ab{+c}.", "doc://" + "a" * 1_000_000 + "."),
        ("doc://{a}" + "".join(f"-{{a{n}}}" for n in range(100)) + "!", "doc://" + "-1" * 500_000 + "!"),
    ],
)
def test_no_uri_makes_matching_slow(template, uri):
    """[resource.validate-uri] A backtracking matcher would need minutes for these megabytes, or for ever."""
    parts, started = parse_template(template), time.process_time()
    assert match_template(parts, uri) is None
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "template",
    ["doc://{", "doc://}", "doc://{}", "doc://{x", "doc://{{x}}", "doc://{x y}", "doc://{a}{b}", "doc://{?q}",
     "doc://{x*}", "doc://{x:3}", "doc://{/x}", "doc://{x,y}", "doc://{+}", "doc://{\u00e9}"],
)  # fmt: skip
def test_template_that_cannot_be_matched_is_refused(template):
    """[resource.templates] Of RFC 6570, {var} and {+path}; the message shows the template."""
    with pytest.raises(ValueError, match="URI template") as refusal:
        parse_template(template)
    assert repr(template) in str(refusal.value)


@pytest.mark.parametrize(
    ("uri", "function"),
    [
        ("doc://{name}", lambda: ""),
        ("doc://{name}", lambda path: ""),
        ("doc://{name}", lambda name, path: ""),
        ("doc://{a}/{b}", lambda a: ""),
        ("doc://a", lambda name: ""),
    ],
)
def test_template_whose_variables_are_not_the_parameters_is_refused(uri, function):
    """[resource.templates] It could never be called."""
    mcp = MCPServer("test")
    with pytest.raises(ValueError, match="parameters"):
        mcp.add_resource(function, uri)
    assert answer_to(mcp, "resources/list") == {"result": {"resources": []}}


# ---- Prompts


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ("hello", [{"role": "user", "content": text("hello")}]),
        (Image(data=PNG), [{"role": "user", "content": PICTURE}]),
        (EMBEDDED, [{"role": "user", "content": EMBEDDED}]),
        ({"a": 1}, [{"role": "user", "content": text('{"a": 1}')}]),
        (user("hello"), [{"role": "user", "content": text("hello")}]),
        (
            ["hello", assistant("hi"), user(Audio(data=PNG)), LINK],
            [
                {"role": "user", "content": text("hello")},
                {"role": "assistant", "content": text("hi")},
                {"role": "user", "content": {"type": "audio", "data": PNG_64, "mimeType": "audio/wav"}},
                {"role": "user", "content": LINK},
            ],
        ),
        ({"role": "assistant", "content": text("hi")}, [{"role": "assistant", "content": text("hi")}]),
        ({"role": "assistant", "content": "hi"}, [{"role": "assistant", "content": text("hi")}]),
        ([], []),
    ],
)
def test_prompt_is_what_its_handler_returns_as_messages(value, messages):
    """[prompt.get] [prompt.media] [prompt.embedded] A string, content of any kind, messages, or a list of these."""
    mcp = MCPServer("test")

    @mcp.prompt()
    async def prompt():
        """Says something."""
        return value

    expected = {"description": "Says something.", "messages": messages}
    assert answer_to(mcp, "prompts/get", name="prompt") == {"result": expected}


def test_definition_of_a_prompt_carries_everything_that_was_said():
    """[prompt.get] [icon.shape] Arguments have names, descriptions, and whether they are required."""
    mcp = MCPServer("test")

    @mcp.prompt("review", title="Review", icons=ICONS, meta={"k": 1})
    async def prompt(path: Annotated[str, "What to review"], ctx: Context, depth: int = 1) -> str:
        """Reviews a document."""

    @mcp.prompt(description="Greets.")
    def hello() -> str: ...

    assert answer_to(mcp, "prompts/list") == {
        "result": {
            "prompts": [
                {
                    "name": "review",
                    "title": "Review",
                    "description": "Reviews a document.",
                    "arguments": [
                        {"name": "path", "description": "What to review", "required": True},
                        {"name": "depth", "required": False},
                    ],
                    "icons": ICONS,
                    "_meta": {"k": 1},
                },
                {"name": "hello", "description": "Greets."},
            ]
        }
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "a"}, "a 1 False"),
        ({"path": "5", "depth": "5", "strict": "true"}, "5 5 True"),
        ({"path": "null"}, "null 1 False"),
    ],
)
def test_arguments_of_a_prompt_are_strings_read_as_the_hinted_types(arguments, words):
    """[prompt.get] On the wire they are strings; what is hinted as a string stays one."""
    mcp = MCPServer("test")

    @mcp.prompt()
    def prompt(path: str, depth: int = 1, strict: bool = False) -> str:
        return f"{path} {depth} {strict}"

    assert answer_to(mcp, "prompts/get", name="prompt", arguments=arguments) == {"result": {"messages": [user(words)]}}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "path"),
        ({"path": "a", "speed": "1"}, "speed"),
        ({"path": "a", "depth": "deep"}, "depth"),
        ({"path": "a", "depth": ""}, "depth"),
        ({"path": 5}, "path"),
        ({"path": None}, "path"),
        ({"path": ["a"]}, "path"),
        ({"path": "a", "depth": "[" * 100_000}, "depth"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_prompt_with_bad_arguments_is_invalid_params(arguments, named):
    """[prompt.invalid-params] [prompt.validate-all] Missing, unknown, not a string, not of the type; it says which."""
    mcp = MCPServer("test")

    @mcp.prompt()
    async def prompt(path: str, depth: int = 1) -> str:
        raise AssertionError("not to be called")

    error = answer_to(mcp, "prompts/get", name="prompt", arguments=arguments)["error"]
    assert error["code"] == -32602
    assert named in error["message"] and len(error["message"]) < 500


def test_prompt_that_fails_is_an_internal_error_without_internals():
    """[prompt.invalid-params] [log.no-secrets] -32603, and not a word of what went wrong inside."""
    mcp = MCPServer("test")

    @mcp.prompt()
    async def prompt() -> str:
        raise OSError("/etc/secret: permission denied")

    error = {"code": -32603, "message": "Internal error"}
    assert answer_to(mcp, "prompts/get", name="prompt") == {"error": error}


# ---- Completion


@pytest.mark.parametrize("form", ["async", "plain", "with context"])
def test_completion_handler_gets_what_is_completed_and_what_is_known(form):
    """[completion.context] The reference, the argument so far, and the arguments that are settled."""
    mcp, seen = MCPServer("test"), []
    mcp.add_prompt(lambda language, framework: "", "code")

    def answer(*given: Any) -> list[str]:
        seen.append(given)
        return ["flask"]

    if form == "async":

        @mcp.completion()
        async def complete(ref, argument, context):
            return answer(ref, argument, context)

    elif form == "plain":

        @mcp.completion()
        def complete(ref, argument, context):
            return answer(ref, argument, context)

    else:

        @mcp.completion()
        async def complete(ref: dict, ctx: Context, argument: dict, context: dict | None = None):
            assert ctx.server is mcp
            return answer(ref, argument, context)

    ref, argument = {"type": "ref/prompt", "name": "code"}, {"name": "framework", "value": "fla"}
    context = {"arguments": {"language": "python"}}
    expected = {"completion": {"values": ["flask"], "total": 1, "hasMore": False}}
    assert answer_to(mcp, "completion/complete", ref=ref, argument=argument, context=context) == {"result": expected}
    assert seen == [(ref, argument, context)]


def test_json_text_of_a_result_is_readable_by_a_model():
    """[tool.structured-also-text] As written in any language; the escapes are the wire's, not the text's."""
    result = call(returning({"city": "\u6771\u4eac"}))
    assert result["content"] == [text('{"city": "\u6771\u4eac"}')]
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
