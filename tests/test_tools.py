"""Section 13, Tools, resources, prompts: what an author writes, and what a client gets of it."""

import asyncio
import contextlib
import functools
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, Union

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
    normalize_uri,
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
        (PNG, f'"{PNG_64}"', {"result": PNG_64}),
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


@pytest.mark.parametrize(
    ("hint", "value", "complaint"),
    [
        (int, "5", 'structuredContent: expected integer, got "5"'),
        (list[int], [1, "a"], 'structuredContent[1]: expected integer, got "a"'),
        (list[Options], [{"depth": 1}, {}], "structuredContent[1].depth: is required"),
        (Options, {"depth": "a"}, 'structuredContent.depth: expected integer, got "a"'),
        (Options | None, 5, "structuredContent: "),
        # The author's own result has the wrapper that the output schema shows.
        (int, ToolResult(["a"], {"result": "5"}), 'structuredContent.result: expected integer, got "5"'),
        (int, ToolResult(["a"], {"other": 5}), "structuredContent.result: is required"),
        (int, ToolResult(["a"]), "structuredContent: expected object, got null"),
    ],
)
def test_result_that_breaks_the_return_hint_is_a_tool_error(hint, value, complaint):
    """[tool.output-conforms] The hint is the promise, whether its data is wrapped or not."""
    result = call(returning(value, hint))
    assert result["isError"] and result["content"][0]["text"].startswith(complaint)


def test_result_of_the_authors_may_keep_the_promise_of_a_return_hint():
    """[tool.output-conforms] With words of its own, and data in the wrapper that the schema shows."""
    result = call(returning(ToolResult(["five"], {"result": 5}), int))
    assert result == {"content": [text("five")], "structuredContent": {"result": 5}}


def test_data_is_wrapped_as_the_output_schema_of_the_authors_asks():
    """[tool.structured-object] structuredContent is an object, always."""
    schema = {"type": "object", "properties": {"result": {"type": "integer"}}, "required": ["result"]}
    assert call(returning(5, output_schema=schema))["structuredContent"] == {"result": 5}
    assert call(returning("a", output_schema=schema))["isError"] is True


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
        ({"path": "a", "days": ["2026-07-28", 5]}, "arguments.days[1]: expected string, got 5"),
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
    assert result["isError"] and result["content"][0]["text"].startswith("arguments.day: ")


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
        ({"name": "Ada"}, "phone: is required"),
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


class Field:
    """What pydantic's Field leaves as a default: a value and its bounds."""

    def __init__(self, default, *metadata):
        self.default, self.metadata, self.description = default, list(metadata), None

    def get_default(self, call_default_factory=False):
        return self.default

    def is_required(self):
        return False


@dataclass
class Le:
    le: int


def test_bounds_of_a_default_do_not_count_under_an_explicit_schema():
    """[tool.input-schema] Its author has written down what counts; the default is kept, and so is the Field."""
    mcp = MCPServer("test")
    field = Field(3, Le(5))

    @mcp.tool(input_schema={"type": "object", "properties": {"depth": {"type": "integer"}}})
    async def tool(depth: int = field) -> str:
        return f"{depth}"

    assert call(mcp) == {"content": [text("3")]}
    assert call(mcp, depth=9) == {"content": [text("9")]}
    assert field.metadata == [Le(5)]


NUMBER = {"type": "integer"}


@pytest.mark.parametrize(
    ("schema", "refused"),
    [
        ({"properties": {"b": NUMBER}}, True),
        ({"properties": {"b": NUMBER}, "additionalProperties": False}, True),
        ({"properties": {"b": NUMBER}, "additionalProperties": NUMBER}, False),
        ({"properties": {"b": NUMBER}, "patternProperties": {"^.$": NUMBER}}, False),
        ({"properties": {"b": NUMBER}, "anyOf": [{"properties": {"a": NUMBER}}]}, False),
        ({"properties": {"a": NUMBER, "b": NUMBER}}, False),
        ({}, False),
    ],
)
def test_parameter_that_an_explicit_schema_never_brings_is_refused(schema, refused):
    """[tool.input-schema] Each call would fail."""
    mcp = MCPServer("test")
    with pytest.raises(TypeError, match="tool f, parameter a: .*input_schema") if refused else contextlib.nullcontext():
        mcp.add_tool(lambda a, b=1: "", "f", input_schema={"type": "object", **schema})
    assert names(mcp) == ([] if refused else ["f"])


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
        (KeyError("missing"), "KeyError: 'missing'"),
        (TimeoutError(), "TimeoutError"),
        (ZeroDivisionError("division by \ud800"), "division by \ufffd"),
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


@pytest.mark.parametrize("error", [ValueError("broken"), StopIteration("broken")], ids=repr)
def test_exception_in_a_thread_is_a_result_as_well(error):
    """[tool.execution-error] Even one that would mean something to the event loop."""
    mcp = MCPServer("test")

    @mcp.tool()
    def tool() -> str:
        raise error

    result = call(mcp)
    assert result["isError"] is True
    assert "broken" in result["content"][0]["text"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("threaded", [False, True])
@spoken
async def test_tool_that_calls_sys_exit_ends_itself_and_not_the_server(kind, threaded):
    """[answers.nothing-internal] Argument parsers, say, leave in this way; the server goes on."""
    mcp = MCPServer("test")

    def leave():
        raise kind("usage: tool [-h]")

    async def leave_later():
        raise kind("usage: tool [-h]")

    mcp.add_tool(leave if threaded else leave_later, "tool")
    client = await Client(mcp).connect()
    answer = await client.call("tool")
    assert "error" in answer.message or answer.result["isError"]
    assert (await client.request("ping")).result == {}


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
                    "inputSchema": {"type": "object", "properties": {}},
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
        (int, {"input_schema": {"type": "string"}}, 'input_schema.type: expected const "object"'),
        (int, {"input_schema": {}}, "input_schema.type: is required"),
        (int, {"output_schema": {"type": "array"}}, 'output_schema.type: expected const "object"'),
        (int, {"input_schema": {"type": "object", "minProperties": "1"}}, "minProperties"),
        (int, {"input_schema": {"type": "object", "$ref": "https://example.com/a.json"}}, "example.com"),
        (int, {"input_schema": {"type": "object", "$ref": "#/$defs/none"}}, "none"),
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
async def test_one_session_has_32_threads_at_most_and_the_next_session_gets_one_at_once():
    """[limits.threads] [tool.rate-limit] Of 64. Who comes later gets a turn when a thread is done."""
    mcp = MCPServer("test")
    crowd, client, other = Crowd(mcp), await Client(mcp).connect(), await Client(mcp).connect()
    calls = [asyncio.create_task(client.call("stay", accept="application/json")) for _ in range(40)]
    try:
        await until(lambda: crowd.inside == 32, turns=10**7)
        for _ in range(100):
            await client.request("ping")
        assert crowd.inside == 32
        calls.append(asyncio.create_task(other.call("stay", accept="application/json")))
        await until(lambda: crowd.inside == 33, turns=10**7)
    finally:
        crowd.release.set()
    for answer in await asyncio.gather(*calls):
        assert answer.result == {"content": [text("done")]}


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


@pytest.mark.parametrize("number", ["seven", "1.5", "0x7", "%20", "[" * 100_000, "9" * 5000, "null", "NaN"])
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
        ("doc://{x}", "doc://%252e", {"x": "%2e"}),
        ("doc://{+x}", "doc://a%2Fb", {"x": "a/b"}),
        ("doc://{x}/b", "doc://a%2Fb/b", None),
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
     "doc://{x*}", "doc://{x:3}", "doc://{/x}", "doc://{x,y}", "doc://{+}", "doc://{\u00e9}",
     "doc://{x}/{x}", "doc://{x}/{+x}", "doc://{x}/{y}/{x}"],
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
    with pytest.raises(TypeError, match="parameters"):
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
    """[prompt.invalid-params] [prompt.validate-all] Missing, not a string, not of the type; it says which."""
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


# ---- What authors write: decorators, callables, hints


def names(mcp: MCPServer, method: str = "tools/list", member: str = "tools") -> list[str]:
    return [entry["name"] for entry in answer_to(mcp, method)["result"][member]]


def properties_of(mcp: MCPServer) -> dict[str, Any]:
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    return tool["inputSchema"]["properties"]


def test_decorators_work_without_parentheses():
    """[tool.definition] And still return the function itself."""
    mcp = MCPServer("test")

    def function(topic: str = "") -> str:
        """Says something."""
        return f"about {topic}"

    assert mcp.tool(function) is function
    assert mcp.prompt(function) is function

    @mcp.completion
    async def complete(ref, argument, context):
        return ["flask"]

    assert asyncio.iscoroutinefunction(complete)
    assert names(mcp) == ["function"]
    assert call(mcp, "function", topic="a") == {"content": [text("about a")]}
    assert answer_to(mcp, "prompts/get", name="function")["result"]["messages"] == [user("about ")]
    params = {"ref": {"type": "ref/prompt", "name": "function"}, "argument": {"name": "topic", "value": "f"}}
    assert answer_to(mcp, "completion/complete", **params)["result"]["completion"]["values"] == ["flask"]


@pytest.mark.parametrize("argument", [lambda: "", "", None])
def test_resource_without_a_uri_is_refused_at_once(argument):
    """[resource.templates] `@mcp.resource` alone cannot work; the refusal shows what to write."""
    mcp = MCPServer("test")
    with pytest.raises(TypeError, match=r'@mcp\.resource\("doc://name"\)'):
        mcp.resource(argument) if argument != "" else mcp.resource()


class Adder:
    def __call__(self, a: int, b: int = 1) -> str:
        """Adds."""
        return f"{a + b}"

    def add(self, a: int, b: int = 1) -> str:
        """Adds."""
        return self(a, b)

    @staticmethod
    def static(a: int, b: int = 1) -> str:
        """Adds."""
        return f"{a + b}"

    @classmethod
    def of_class(cls, a: int, b: int = 1) -> str:
        """Adds."""
        return f"{a + b}"


class LaterAdder:
    async def __call__(self, a: int, b: int = 1) -> str:
        """Adds."""
        await asyncio.sleep(0)
        return f"{a + b}"


def add(a: int, b: int = 1) -> str:
    """Adds."""
    return f"{a + b}"


async def add_later(a: int, b: int = 1) -> str:
    """Adds."""
    await asyncio.sleep(0)
    return f"{a + b}"


def noted(function):
    """A decorator as people write them: it hides whether the function is a coroutine function."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Noted:
    """A decorator that is a class."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def promise(a: int, b: int = 1) -> Awaitable[str]:
    """Adds."""
    return add_later(a, b)


def scaled(factor: int, a: int, b: int = 1) -> str:
    """Adds."""
    return f"{factor * (a + b)}"


@pytest.mark.parametrize(
    "function",
    [
        add, add_later, promise, Adder(), LaterAdder(), Adder().add, Adder.static, Adder.of_class, noted(add),
        noted(add_later), noted(noted(add)), Noted(add), Noted(add_later), functools.lru_cache(add),
        functools.partial(scaled, 1), functools.partial(add_later),
        functools.partial(Adder()), functools.partial(functools.partial(scaled, 1)), noted(Adder().add),
        staticmethod(add),
    ],
    ids=lambda function: type(function).__name__,
)  # fmt: skip
def test_whatever_can_be_called_is_registered_as_its_caller_would_call_it(function):
    """[tool.definition] [tool.call] Objects, methods, partials, decorated functions; a result that waits is awaited."""
    mcp = MCPServer("test")
    mcp.add_tool(function, "tool")
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    assert tool["description"] == "Adds."
    schema = tool["inputSchema"]
    assert schema["properties"] == {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}}
    assert schema["required"] == ["a"]
    assert call(mcp, a=2, b=3) == {"content": [text("5")]}
    assert call(mcp, a=2) == {"content": [text("3")]}


@pytest.mark.parametrize(
    ("function", "name"),
    [(add, "add"), (Adder(), "Adder"), (Adder().add, "add"), (functools.partial(add, 1), "add"), (noted(add), "add")],
)
def test_name_of_an_entry_is_that_of_what_was_registered(function, name):
    """[tool.definition] For want of another one."""
    mcp = MCPServer("test")
    mcp.add_tool(function)
    assert names(mcp) == [name]


@spoken
async def test_awaitable_result_of_a_plain_function_is_awaited_in_the_event_loop():
    """[tool.call] The function itself ran in a thread."""
    mcp, threads = MCPServer("test"), []

    async def later() -> str:
        threads.append(threading.current_thread())
        return "done"

    @mcp.tool
    def tool():
        threads.append(threading.current_thread())
        return later()

    assert (await (await Client(mcp).connect()).call("tool")).result == {"content": [text("done")]}
    assert threads[0] is not threading.current_thread()
    assert threads[1] is threading.current_thread()


def generator(a: int) -> Iterator[int]:
    yield a


async def async_generator(a: int) -> AsyncIterator[int]:
    yield a


def positional(a: int, /, b: int = 1) -> str: ...


def unresolved(a: "Missing") -> str: ...  # noqa: F821


def nested(a: "list[Missing]") -> str: ...  # noqa: F821


def no_schema(a: complex) -> str: ...


def no_schema_inside(a: dict[str, list[complex]]) -> str: ...


def is_event(a: int, b: threading.Event = None) -> str: ...  # noqa: RUF013


def many_contexts(a: int, *cs: Context) -> str: ...


def named_contexts(a: int, **cs: Context) -> str: ...


class Yielding:
    def __call__(self, a: int):
        yield a


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (generator, ["generator"]),
        (async_generator, ["generator"]),
        (functools.partial(generator, 1), ["generator"]),
        (Yielding(), ["generator"]),
        (Yielding().__call__, ["generator"]),
        (positional, ["parameter a", "positional-only"]),
        (len, ["parameter obj", "positional-only"]),
        (Adder.add, ["parameter self", "object"]),
        (Adder.__dict__["of_class"].__func__, ["parameter cls", "object"]),
        (noted(Adder.add), ["parameter self", "object"]),
        (unresolved, ["parameter a", "Missing"]),
        (nested, ["parameter a", "Missing"]),
        (no_schema, ["parameter a: complex has no JSON Schema"]),
        (no_schema_inside, ["parameter a", "complex"]),
        (is_event, ["parameter b", "Event"]),
        (many_contexts, ["parameter cs", "one Context"]),
        (named_contexts, ["parameter cs", "one Context"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
@pytest.mark.parametrize("kind", ["tool", "prompt", "resource", "completion"])
def test_what_cannot_work_is_refused_by_the_names_of_function_and_parameter(kind, function, words):
    """[tool.definition] When it is registered, and nothing is added."""
    mcp = MCPServer("test")
    with pytest.raises(TypeError) as refusal:
        if kind == "tool":
            mcp.add_tool(function, "f")
        elif kind == "prompt":
            mcp.add_prompt(function, "f")
        elif kind == "resource":
            mcp.add_resource(function, "doc://{a}", name="f")
        else:
            mcp.add_completion(function)
    message = str(refusal.value)
    assert message.startswith(kind if kind == "completion" else f"{kind} f")
    for word in words:
        assert word in message
    assert mcp.tools == mcp.prompts == mcp.resources == mcp.templates == {}
    assert mcp.completer is None


def test_later_parameter_may_be_named_cls_or_self():
    """[tool.definition] Only the first one is the object of a method."""
    mcp = MCPServer("test")
    mcp.add_tool(lambda a, cls, self=1: f"{a} {cls} {self}", "tool")
    assert call(mcp, a="a", cls="b") == {"content": [text("a b 1")]}


class Scales:
    """Weighs."""

    def __call__(self, a: int) -> str:
        return f"{a} kg"


def test_object_without_a_docstring_at_its_call_is_described_by_its_class():
    """[tool.definition] Python's own words, "Call self as a function.", say nothing."""
    mcp = MCPServer("test")
    mcp.add_tool(Scales(), "tool")
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    assert tool["description"] == "Weighs."


@pytest.mark.parametrize("value", [5, Adder.__dict__["of_class"]], ids=["int", "classmethod"])
def test_what_cannot_be_called_is_refused(value):
    """[tool.definition] Python's own words name it."""
    with pytest.raises(TypeError, match="is not a callable object"):
        MCPServer("test").add_tool(value, "f")


@pytest.mark.parametrize(
    "hint",
    [
        Context, Context | None, Optional[Context], Union[None, Context], Annotated[Context, "The call"],  # noqa: UP007, UP045
        "Context", "Context | None", "Optional[Context]", 'Optional["Context"]', Optional["Context"],
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("default", [True, False])
def test_context_is_found_by_any_form_of_its_hint(hint, default):
    """[tool.definition] For tools, prompts and templates, with or without a default."""
    mcp = MCPServer("test")
    if default:

        async def function(a: str, here=None) -> str:
            return f"{a} {here.server is mcp}"

    else:

        async def function(here, a: str) -> str:
            return f"{a} {here.server is mcp}"

    function.__annotations__["here"] = hint
    mcp.add_tool(function)
    mcp.add_prompt(function)
    mcp.add_resource(function, "doc://{a}")
    assert properties_of(mcp) == {"a": {"type": "string"}}
    assert call(mcp, "function", a="x", here=5) == {"content": [text("x True")]}
    prompt = answer_to(mcp, "prompts/get", name="function", arguments={"a": "x"})["result"]
    assert prompt["messages"] == [user("x True")]
    [contents] = answer_to(mcp, "resources/read", uri="doc://x")["result"]["contents"]
    assert contents["text"] == "x True"


def test_each_parameter_with_the_hint_takes_the_context():
    """[tool.definition] More than one may ask for it, and clients can set none of them."""
    mcp = MCPServer("test")

    @mcp.tool
    async def tool(first: Context, second: Context | None = None, **more: Any) -> str:
        return f"{first is second} {more}"

    assert properties_of(mcp) == {}
    assert call(mcp, first=1, second=2) == {"content": [text("True {}")]}


@pytest.mark.parametrize("hint", [list[Context], dict[str, Context]], ids=str)
def test_context_inside_a_container_is_no_context(hint):
    """[tool.definition] It has no JSON Schema either."""

    def function(a): ...

    function.__annotations__["a"] = hint
    with pytest.raises(TypeError, match="parameter a"):
        MCPServer("test").add_tool(function)


def test_hints_kept_as_text_are_read_at_any_depth():
    """[tool.definition] As `from __future__ import annotations` keeps them."""
    mcp = MCPServer("test")

    def tool(a: "list['Point']", b: "Annotated[int, 'How deep'] | None" = None) -> "list['Point']":
        return a

    mcp.add_tool(tool)
    assert properties_of(mcp)["a"]["items"]["properties"].keys() == {"x", "y"}
    assert call(mcp, a=[{"x": 1}])["structuredContent"] == {"result": [{"x": 1, "y": 0}]}


@pytest.mark.parametrize(
    "arguments",
    [{"toolCallId": "1"}, {"task_progress": [1]}, {"": None}, {"ctx": 1, "self": 2, "returns": 3}],
)
@pytest.mark.parametrize("schema", [None, {"type": "object", "properties": {"path": {"type": "string"}}}])
def test_arguments_that_a_tool_does_not_have_are_dropped(arguments, schema):
    """[tool.extra-arguments] Clients of popular agents add some of their own."""
    mcp = MCPServer("test")

    @mcp.tool(input_schema=schema)
    def tool(path: str, ctx: Context, depth: int = 1) -> str:
        return f"{path} {depth} {type(ctx).__name__}"

    assert call(mcp, path="a", **arguments) == {"content": [text("a 1 Context")]}


def test_arguments_that_a_prompt_does_not_have_are_dropped():
    """[tool.extra-arguments] The same for prompts."""
    mcp = MCPServer("test")
    mcp.add_prompt(lambda path: path, "prompt")
    result = answer_to(mcp, "prompts/get", name="prompt", arguments={"path": "a", "speed": "1"})
    assert result == {"result": {"messages": [user("a")]}}


def takes_more(a: int, b: int = 1, *, factor: int = 1, **more: int) -> str:
    return f"{factor * (a + b)}{more or ''}"


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(scaled, factor=2),
        functools.partial(functools.partial(scaled, b=1), factor=2),
        functools.partial(takes_more, factor=2),
        staticmethod(functools.partial(scaled, factor=2)),
        noted(functools.partial(scaled, factor=2)),
        functools.partial(noted(functools.partial(scaled, factor=2)), b=1),
        functools.update_wrapper(functools.partial(scaled, factor=2), scaled),
    ],
    ids=["partial", "twice", "more", "static", "decorated", "inside", "named"],
)
def test_value_that_the_author_has_bound_is_neither_shown_to_clients_nor_set_by_them(function):
    """[tool.extra-arguments] By a keyword of functools.partial: a path, say, or a password."""
    mcp = MCPServer("test")
    mcp.add_tool(function, "tool")
    mcp.add_prompt(function, "prompt")
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    [prompt] = answer_to(mcp, "prompts/list")["result"]["prompts"]
    assert "factor" not in str(tool) + str(prompt)
    assert call(mcp, a=2) == call(mcp, a=2, factor=7) == {"content": [text("6")]}
    result = answer_to(mcp, "prompts/get", name="prompt", arguments={"a": "2", "factor": "7"})["result"]
    assert result["messages"] == [user("6")]


def test_schema_that_forbids_other_arguments_is_enforced():
    """[tool.validate-inputs] The author said so."""
    mcp = MCPServer("test")
    schema = {"type": "object", "properties": {"path": {}}, "additionalProperties": False}
    mcp.add_tool(lambda path: path, "tool", input_schema=schema)
    result = call(mcp, path="a", toolCallId="1")
    assert result["isError"] and "toolCallId" in result["content"][0]["text"]


def test_explicit_schema_makes_up_for_hints_that_have_none():
    """[tool.input-schema] Then the hints are not looked at."""
    mcp = MCPServer("test")

    @mcp.tool(input_schema={"type": "object", "properties": {"number": {"type": "string"}}})
    def tool(number: complex) -> str:
        return f"{number!r}"

    assert call(mcp, number="1j") == {"content": [text("'1j'")]}


@pytest.mark.parametrize(
    ("parameters", "got"),
    [
        ("ref, argument, context", ["ref", "argument", "context"]),
        ("argument", ["argument"]),
        ("context, argument", ["argument", "context"]),
        ("argument: dict, ref: dict[str, Any]", ["argument", "ref"]),
        ("**anything", ["anything"]),
        ("argument, limit=5", ["argument", "limit"]),
        ("argument, ctx: Context", ["argument", "ctx"]),
    ],
)
def test_completion_handler_may_leave_out_what_it_does_not_need(parameters, got):
    """[completion.context] By name."""
    mcp, seen = MCPServer("test"), []
    mcp.add_prompt(lambda name: "", "code")
    scope = {"seen": seen, "Context": Context, "Any": Any}
    exec(f"def complete({parameters}):\n seen.append(locals())\n return ['b']", scope)  # noqa: S102
    mcp.completion(scope["complete"])
    params = {"ref": {"type": "ref/prompt", "name": "code"}, "argument": {"name": "name", "value": "a"}}
    assert answer_to(mcp, "completion/complete", **params)["result"]["completion"]["values"] == ["b"]
    [given] = seen
    assert sorted(given) == sorted(got)
    if "argument" in given:
        assert given["argument"] == {"name": "name", "value": "a"}


@pytest.mark.parametrize("parameters", ["reference, argument", "ref, argument, context, ctx"])
def test_completion_handler_with_other_parameters_is_refused(parameters):
    """[completion.context] It could not be called."""
    scope: dict[str, Any] = {}
    exec(f"def complete({parameters}): ...", scope)  # noqa: S102
    with pytest.raises(TypeError, match="completion complete, parameter (reference|ctx)"):
        MCPServer("test").completion()(scope["complete"])


# ---- What authors write: return hints and results


class Station:
    """A class that JSON Schema cannot describe."""


@pytest.mark.parametrize(
    "hint",
    [
        Station, complex, dict[int, complex], list[Station], Station | None, "Station", "Missing", "list[Missing]",
        "1 +", Awaitable[str], AsyncIterator[int], type, threading.Event, NewType("Name", str), object, Sequence[str],
        5,
    ],
    ids=str,
)  # fmt: skip
def test_return_hint_without_a_schema_means_no_output_schema(hint):
    """[tool.definition] The tool is registered, and what it returns arrives."""
    mcp = returning("hello", hint)
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    assert "outputSchema" not in tool
    assert call(mcp) == {"content": [text("hello")]}


@pytest.mark.parametrize(
    "value",
    [
        {"type": "text"},
        {"type": "text", "text": 5},
        {"type": "text", "text": None},
        {"type": "image"},
        {"type": "image", "data": PNG_64},
        {"type": "audio", "mimeType": "audio/wav"},
        {"type": "resource"},
        {"type": "resource", "resource": "doc://a"},
        {"type": "resource", "resource": {"uri": "doc://a"}},
        {"type": "resource", "resource": {"text": "a"}},
        {"type": "resource_link", "uri": "doc://a"},
        {"type": "resource_link", "name": "a"},
        {"type": "tool_use"},
        {"type": "tool_result"},
        {"type": ["text"], "text": "a"},
        {"type": {}, "text": "a"},
        {"type": "note", "text": "a"},
    ],
)
def test_dict_that_lacks_what_its_type_demands_is_data(value):
    """[tool.content-types] No client could read it as content."""
    assert call(returning(value)) == {"content": [text(json.dumps(value))], "structuredContent": value}


@pytest.mark.parametrize("hint", [dict[str, str], TypedDict("Row", {"type": str, "text": str})])
def test_return_hint_that_promises_data_makes_data_of_what_looks_like_content(hint):
    """[tool.output-conforms] A row of a table may well have the columns `type` and `text`."""
    row = {"type": "text", "text": "hello"}
    assert call(returning(row, hint))["structuredContent"] == row
    rows = call(returning([row], list[hint]))
    assert rows["structuredContent"] == {"result": [row]}


@pytest.mark.parametrize(
    ("value", "blocks"),
    [
        (["a", Image(data=PNG), {"b": 1}], [text("a"), PICTURE, text('{"b": 1}')]),
        ([Image(data=PNG), 5, None], [PICTURE, text("5"), text("null")]),
        ((LINK, {"b": 1}), [LINK, text('{"b": 1}')]),
        ([{"type": "text", "text": "a"}, {"type": "text"}], [text("a"), text('{"type": "text"}')]),
        ([Image(data=PNG), Report("A", date(2026, 7, 28))], [PICTURE, text('{"title": "A", "day": "2026-07-28"}')]),
        ([Image(data=PNG), ["a", 5]], [PICTURE, text('["a", 5]')]),
    ],
)
@pytest.mark.parametrize("hint", [Any, list, list[Any]], ids=str)
def test_list_that_mixes_content_and_data_is_a_block_each(value, blocks, hint):
    """[tool.content-types] Only all together can they be data, and an image cannot."""
    assert call(returning(value, hint)) == {"content": blocks}


class Person(NamedTuple):
    first: str
    last: str


def test_named_tuple_of_texts_is_data():
    """[tool.structured-object] Its names are worth keeping."""
    assert call(returning(Person("Ada", "L")))["structuredContent"] == {"first": "Ada", "last": "L"}


SURROGATE = os.fsdecode(b"caf\xe9.txt")


@pytest.mark.parametrize(
    "value",
    [
        SURROGATE, [SURROGATE, Image(data=PNG)], {"name": SURROGATE}, {SURROGATE: 1}, {"type": "text", "text": SURROGATE},
        ToolResult([SURROGATE], {"name": SURROGATE}, meta={"name": SURROGATE}), ToolError(SURROGATE),
    ],
    ids=lambda value: ascii(value)[:30],
)  # fmt: skip
def test_lone_surrogate_is_replaced(value):
    """[tool.content-types] File names may hold one, and UTF-8 cannot say it."""
    result = call(returning(value))
    json.dumps(result, ensure_ascii=False).encode()  # UnicodeEncodeError for a surrogate
    assert "caf\ufffd.txt" in json.dumps(result, ensure_ascii=False)


def test_lone_surrogate_in_a_resource_or_a_prompt_is_replaced():
    """[resource.read] [prompt.get]"""
    mcp = MCPServer("test")
    mcp.add_resource(lambda: SURROGATE, "doc://a")
    mcp.add_prompt(lambda: SURROGATE, "prompt")
    [contents] = answer_to(mcp, "resources/read", uri="doc://a")["result"]["contents"]
    assert contents["text"] == "caf\ufffd.txt"
    assert answer_to(mcp, "prompts/get", name="prompt")["result"]["messages"] == [user("caf\ufffd.txt")]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([1, 2, 3, {"price": complex(1)}], "[3].price"),
        ({"rows": [{"at": threading.Event()}]}, "rows[0].at"),
        ([Image(data=PNG), {"a": complex(1)}], "content[1].a"),
        ({"chart": Image(data=PNG)}, "chart"),
        (ToolResult(["a"], {"x": complex(1)}), "structuredContent.x"),
        (ToolResult(["a"], meta={"x": [complex(1)]}), "_meta.x[0]"),
        (LINK | {"size": complex(1)}, "content[0].size"),
        (ToolResult(["a"], [1]), "structuredContent"),
        (ToolResult(["a"], meta=5), "_meta"),
    ],
)
def test_value_without_a_form_in_json_fails_that_call_alone_and_is_named(value, place):
    """[tool.execution-error] By its place in what the handler returned."""
    mcp = returning(value)
    mcp.add_tool(lambda: "fine", "other")
    result = call(mcp)
    assert result["isError"] and result["content"][0]["text"].startswith(f"{place}: ")
    assert call(mcp, "other") == {"content": [text("fine")]}


def test_value_that_contains_itself_fails_that_call_alone():
    """[tool.execution-error]"""
    value: dict[str, Any] = {}
    value["value"] = value
    assert call(returning(value))["isError"] is True
    assert call(returning([Image(data=PNG), value]))["isError"] is True


def test_result_that_is_changed_later_stays_as_it_was():
    """[tool.call] What travels is a copy."""
    rows = [1]
    mcp = returning(ToolResult(["a"], {"rows": rows}))
    first = call(mcp)
    rows.append(2)
    assert first["structuredContent"] == {"rows": [1]}


# ---- What authors write: details


def test_details_of_other_types_become_plain_data_where_that_is_obvious():
    """[tool.definition] [icon.shape] Objects with `model_dump`, dataclasses, paths, dates, URLs."""

    class Model:
        def __init__(self, **members):
            self.members = members

        def model_dump(self, **options):
            return self.members

    @dataclass
    class Note:
        audience: list[str]
        priority: float | None = None

    class Url:
        def __str__(self):
            return "doc://a"

    mcp = MCPServer("test")
    annotations = Model(title=None, readOnlyHint=True, destructiveHint=None)
    icons = (Model(src="a.png", mimeType=None, sizes=["48x48"]), {"src": Path("b.png")})
    mcp.add_tool(lambda: "", "tool", annotations=annotations, icons=icons, meta={"day": date(2026, 7, 28), "none": None})
    mcp.add_resource(lambda: "", Url(), name="doc", annotations=Note(["user"]))
    [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
    assert tool["annotations"] == {"readOnlyHint": True}
    assert tool["icons"] == [{"src": "a.png", "sizes": ["48x48"]}, {"src": "b.png"}]
    assert tool["_meta"] == {"day": "2026-07-28", "none": None}  # the author's own words are kept
    assert answer_to(mcp, "resources/list")["result"]["resources"] == [
        {"name": "doc", "uri": "doc://a", "annotations": {"audience": ["user"]}}
    ]
    assert answer_to(mcp, "resources/read", uri="doc://a")["result"]["contents"][0]["text"] == ""


@pytest.mark.parametrize(
    ("details", "place"),
    [
        ({"title": 5}, "title"),
        ({"description": ["a"]}, "description"),
        ({"annotations": "readOnly"}, "annotations"),
        ({"annotations": {"a": threading.Event()}}, "annotations.a"),
        ({"icons": "a.png"}, "icons"),
        ({"icons": ["a.png"]}, "icons[0]"),
        ({"icons": {"src": "a.png"}}, "icons"),
        ({"icons": [{"mimeType": "image/png"}]}, "icons[0].src"),
        ({"meta": "a"}, "_meta"),
        ({"meta": ["a"]}, "_meta"),
        ({"meta": {"a": float("nan")}}, "_meta.a"),
        ({"meta": {"a": {1j}}}, "_meta.a"),
    ],
)
def test_bad_details_are_refused_when_the_entry_is_registered(details, place):
    """[tool.definition] [icon.shape] So that no entry can spoil the list for all; the refusal names the place."""
    mcp = MCPServer("test")
    with pytest.raises((TypeError, ValueError)) as refusal:
        mcp.add_tool(lambda: "", "f", **details)
    assert str(refusal.value).startswith(f"tool f, details.{place}")
    with pytest.raises((TypeError, ValueError)) as refusal:
        mcp.add_resource(lambda: "", "doc://a", name="f", **details)
    assert str(refusal.value).startswith(f"resource f, details.{place}")
    if "annotations" not in details:
        with pytest.raises((TypeError, ValueError)) as refusal:
            mcp.add_prompt(lambda: "", "f", **details)
        assert str(refusal.value).startswith(f"prompt f, details.{place}")
    assert mcp.tools == mcp.resources == mcp.prompts == {}


@pytest.mark.parametrize("details", [{"size": -1}, {"size": "5"}, {"mime_type": 5}, {"name": 5}], ids=str)
def test_bad_details_of_a_resource_are_refused(details):
    """[resource.templates]"""
    with pytest.raises(ValueError, match="details"):
        MCPServer("test").add_resource(lambda: "", "doc://a", **details)


def test_detail_that_does_not_exist_is_refused():
    """[tool.definition] A slip of the pen."""
    with pytest.raises(ValueError, match="tool f, details.tittle: is not allowed"):
        MCPServer("test").tool("f", tittle="A")(lambda: "")


@pytest.mark.parametrize("uri", ["notes", "/etc/notes", "./a", "//host/a", "{name}", "{+path}.md", "1a:b", ":a", " a:b"])
def test_resource_uri_without_a_scheme_is_refused(uri):
    """[resource.custom-scheme] No client could read the list that has it."""
    mcp = MCPServer("test")
    with pytest.raises(ValueError, match="resource f: the URI .* has no scheme"):
        mcp.add_resource(lambda **variables: "", uri, name="f")
    assert mcp.resources == mcp.templates == {}


@pytest.mark.parametrize("uri", ["doc://" + 9000 * "a", "doc://{name}/" + 9000 * "a"])
def test_resource_uri_that_nobody_may_ask_for_is_refused(uri):
    """[limits.uri]"""
    mcp = MCPServer("test")
    with pytest.raises(ValueError, match="resource f: the URI .* is too long"):
        mcp.add_resource(lambda **variables: "", uri, name="f")
    assert mcp.resources == mcp.templates == {}


def test_definition_that_is_changed_later_stays_as_it_was_registered():
    """[tool.definition] What was registered is a copy."""
    mcp = MCPServer("test")
    icons = [{"src": "a.png"}]
    annotations = {"readOnlyHint": True}
    meta = {"a": {"b": 1}}
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    mcp.add_tool(lambda a: "", "tool", icons=icons, annotations=annotations, meta=meta, input_schema=schema)
    before = answer_to(mcp, "tools/list")
    icons[0]["src"] = 5
    icons.append("b.png")
    annotations["readOnlyHint"] = "no"
    meta["a"]["b"] = threading.Event()
    schema["properties"]["a"]["type"] = "string"
    mcp.notify_tools_changed()
    assert answer_to(mcp, "tools/list") == before
    assert call(mcp, a="5")["isError"] is True


@pytest.mark.parametrize("kind", ["tool", "prompt", "resource", "template"])
def test_second_entry_of_a_name_replaces_the_first_and_logs_a_warning(kind, caplog):
    """[tool.name-form] Perhaps the author meant two."""
    mcp = MCPServer("test")
    for answer in ("first", "second"):

        def function(name: str = "", answer: str = answer) -> str:
            return answer

        function = functools.partial(function, answer=answer)
        if kind == "tool":
            mcp.add_tool(function, "twice")
        elif kind == "prompt":
            mcp.add_prompt(function, "twice")
        else:
            mcp.add_resource(function, "doc://{name}" if kind == "template" else "doc://a", name="twice")
    [record] = [record for record in caplog.records if record.name == "streamhttp_mcp"]
    assert record.levelname == "WARNING" and "twice" in record.getMessage()
    if kind == "tool":
        assert call(mcp, "twice") == {"content": [text("second")]}
    elif kind == "prompt":
        assert answer_to(mcp, "prompts/get", name="twice")["result"]["messages"] == [user("second")]
    else:
        assert answer_to(mcp, "resources/read", uri="doc://a")["result"]["contents"][0]["text"] == "second"


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"type": "string", "x-mcp-header": "a b"}, "of region.x-mcp-header: expected pattern"),
        ({"type": "string", "x-mcp-header": ""}, "of region.x-mcp-header: expected pattern"),
        ({"type": "string", "x-mcp-header": 5}, "of region.x-mcp-header: expected string, got 5"),
        ({"type": "number", "x-mcp-header": "A"}, "of region.type: expected enum"),
        ({"x-mcp-header": "A"}, "of region.type: is required"),
        ({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}, "no fixed path"),
        ({"anyOf": [{"type": "string", "x-mcp-header": "A"}]}, "no fixed path"),
        ({"type": "object", "additionalProperties": {"type": "string", "x-mcp-header": "A"}}, "no fixed path"),
    ],
)
def test_header_that_cannot_mirror_an_argument_is_refused(member, words):
    """[header.annotation-valid] Clients leave out a tool that has one."""
    schema = {"type": "object", "properties": {"region": member}}
    with pytest.raises(ValueError, match=f"tool f.*{words}"):
        MCPServer("test").add_tool(lambda **arguments: "", "f", input_schema=schema)


# ---- URIs in another spelling, and those that climb


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("note://team/my notes", "note://team/my%20notes"),
        ("note://team/my%20notes", "note://team/my notes"),
        ("note://team/caf\u00e9", "note://team/caf%C3%A9"),
        ("note://team/caf%C3%A9", "note://team/caf\u00e9"),
        ("note://team/caf%c3%a9", "note://team/caf%C3%A9"),
        ("note://team/\u6771\u4eac", "note://team/%E6%9D%B1%E4%BA%AC"),
        ("note://team/a~b", "note://team/a%7Eb"),
        ("note://team/%61b", "note://team/ab"),
        ("note://team/100% sure", "note://team/100%25%20sure"),
        ('note://team/"a"<b>', "note://team/%22a%22%3Cb%3E"),
    ],
)
def test_resource_is_found_by_any_spelling_of_its_uri(registered, asked):
    """[uri.same-spelling] The contents name the URI that was asked for, the list the one that was registered."""
    mcp = MCPServer("test")
    mcp.add_resource(lambda: "hello", registered, name="notes")
    for uri in (registered, asked):
        [contents] = answer_to(mcp, "resources/read", uri=uri)["result"]["contents"]
        assert contents == {"uri": uri, "mimeType": "text/plain", "text": "hello"}
    [resource] = answer_to(mcp, "resources/list")["result"]["resources"]
    assert resource["uri"] == registered
    mcp.remove_resource(asked)
    assert answer_to(mcp, "resources/list")["result"]["resources"] == []


@pytest.mark.parametrize(
    ("template", "uri", "name"),
    [
        ("note://my team/{name}", "note://my%20team/a", "a"),
        ("note://my%20team/{name}", "note://my team/a", "a"),
        ("note://caf\u00e9/{name}/men\u00fc", "note://caf%C3%A9/a%20b/men%C3%BC", "a b"),
        ("note://caf%c3%a9/{name}", "note://caf\u00e9/\u00e9", "\u00e9"),
        ("note://{name}/my notes", "note://a/my%20notes", "a"),
        ("note://{name}", "note://my notes", "my notes"),
        ("note://{name}", "note://my%20notes", "my notes"),
        ("note://{name}", "note://50%", "50%"),
        ("note://{name}", "note://50%25", "50%"),
    ],
)
def test_template_is_matched_by_any_spelling_of_a_uri(template, uri, name):
    """[uri.same-spelling] In the literal parts; the variable is decoded once."""
    mcp = MCPServer("test")
    mcp.add_resource(lambda name: name, template)
    [contents] = answer_to(mcp, "resources/read", uri=uri)["result"]["contents"]
    assert (contents["uri"], contents["text"]) == (uri, name)


@pytest.mark.parametrize(
    ("registered", "asked"),
    [("doc://a/b", "doc://a%2Fb"), ("doc://a?b", "doc://a%3Fb"), ("doc://a#b", "doc://a%23b"), ("doc://a%2Fb", "doc://a/b"),
     ("doc://A", "doc://a"), ("doc://a+b", "doc://a%20b")],
)  # fmt: skip
def test_uri_that_means_something_else_is_not_found(registered, asked):
    """[uri.same-spelling] An escaped delimiter is data, and a bare one is structure."""
    mcp = MCPServer("test")
    mcp.add_resource(lambda: "", registered)
    assert answer_to(mcp, "resources/read", uri=asked)["error"]["code"] == -32002


@pytest.mark.parametrize(
    ("uri", "normalized"),
    [
        ("doc://a", "doc://a"),
        ("doc://a b", "doc://a%20b"),
        ("doc://%61%2f%7e", "doc://a%2F~"),
        ("doc://%", "doc://%25"),
        ("doc://%2", "doc://%252"),
        ("doc://%zz%25", "doc://%25zz%25"),
        ("doc://\u00e9?a=[1]#b", "doc://%C3%A9?a=[1]#b"),
    ],
)
def test_uri_has_one_normal_spelling(uri, normalized):
    """[uri.same-spelling] And normalizing it again changes nothing."""
    assert normalize_uri(uri) == normalized
    assert normalize_uri(normalized) == normalized


@pytest.mark.parametrize(
    "value",
    [
        "..", "%2e%2e", ".%2E", "..%2F..%2Fetc%2Fpasswd", "..%2f", "a%2F..%2Fb", "a%2f..", "..%5C..%5Cwindows", "..\\a",
        "a%5C..", "a\\..\\b", "%2Fetc%2Fpasswd", "%5C%5Chost%5Cshare", "\\a", "C:", "C:%5Cwindows", "c%3Aa", "C:%2Fa",
        "a%00b", "%00", "a%2f%2e%2e%5cb",
    ],
)  # fmt: skip
@pytest.mark.parametrize("template", ["docs://{name}", "docs://{+name}", "docs://x/{name}/y", "docs://x/{+name}/y"])
def test_variable_that_climbs_does_not_match(template, value):
    """[template.no-climbing] The handler does not run, so a careless one cannot be led out of its folder."""
    mcp = MCPServer("test")

    @mcp.resource(template)
    def document(name: str) -> str:
        raise AssertionError("not to be called")

    uri = template.replace("{name}", value).replace("{+name}", value)
    assert answer_to(mcp, "resources/read", uri=uri)["error"]["code"] == -32002


@pytest.mark.parametrize("value", ["../a", "/etc/passwd", "a/../b", "a/..", "//a", "a/%2e%2e/b", "a/..%5cb"])
def test_path_that_climbs_does_not_match(value):
    """[template.no-climbing] {+path} holds slashes between plain segments alone."""
    assert match_template(parse_template("docs://{+path}"), normalize_uri(f"docs://{value}")) is None


@pytest.mark.parametrize("value", ["a%2Fb", "a%2fb", "a/b", "%2F", "a%2F"])
def test_simple_variable_holds_no_slash_encoded_or_not(value):
    """[template.no-climbing] What would come out of it is no name."""
    assert match_template(parse_template("docs://{name}"), normalize_uri(f"docs://{value}")) is None


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("...", "..."), ("..a", "..a"), ("a..", "a.."), ("a..b", "a..b"), (".hidden", ".hidden"), (".", "."),
        ("%252e%252e", "%2e%2e"), ("%252F", "%2F"), ("ab:c", "ab:c"), ("a%2520b", "a%20b"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("template", ["docs://{name}", "docs://{+name}"])
def test_variable_that_only_looks_like_climbing_matches(template, value, name):
    """[uri.percent-decoded] Decoded once, and no more."""
    assert match_template(parse_template(template), normalize_uri(f"docs://{value}")) == {"name": name}


# ---- Prompts: arguments


class Tone(Enum):
    KIND = "kind"
    DRY = 2


@pytest.mark.parametrize(
    ("hint", "sent", "got"),
    [
        (Literal["a", 1, True], "a", "a"),
        (Literal["a", 1], "1", 1),
        (Tone, "kind", Tone.KIND),
        (Tone, "2", Tone.DRY),
        (int, "5", 5),
        (int | None, "5", 5),
        (int | str, "5", "5"),
        (float, "1.5", 1.5),
        (bool, "false", False),
        (date, "2026-07-28", date(2026, 7, 28)),
        (list[int], "[1, 2]", [1, 2]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Point, '{"x": 1}', Point(1)),
        (Annotated[int, {"minimum": 1}], "1", 1),
        (str, "5", "5"),
        (str, "\u00e9", "\u00e9"),
        (Any, "5", "5"),
    ],
)
def test_texts_are_read_as_the_hinted_types(hint, sent, got):
    """[prompt.get] [resource.templates] Arguments of prompts and variables of templates alike."""
    mcp, seen = MCPServer("test"), []

    def function(a) -> str:
        seen.append(a)
        return ""

    function.__annotations__["a"] = hint
    mcp.add_prompt(function, "prompt")
    mcp.add_resource(function, "doc://{a}")
    answer_to(mcp, "prompts/get", name="prompt", arguments={"a": sent})
    answer_to(mcp, "resources/read", uri=f"doc://{sent}")
    assert seen == [got, got]
    assert type(seen[0]) is type(got)


@pytest.mark.parametrize(
    ("hint", "sent"),
    [(Tone, "sour"), (Literal[1, 2], "3"), (int, "NaN"), (float, "NaN"), (float, "Infinity"), (int, "9" * 30),
     (Annotated[int, {"minimum": 1}], "0"), (date, "2026-02-30"), (bool, "yes"), (list[int], '["a"]')],
)  # fmt: skip
def test_text_that_is_not_of_the_hinted_type_is_invalid_params(hint, sent):
    """[prompt.invalid-params] [resource.validate-uri] The handler does not run."""
    mcp = MCPServer("test")

    def function(a) -> str:
        raise AssertionError("not to be called")

    function.__annotations__["a"] = hint
    mcp.add_prompt(function, "prompt")
    mcp.add_resource(function, "doc://{a}")
    error = answer_to(mcp, "prompts/get", name="prompt", arguments={"a": sent})["error"]
    assert error["code"] == -32602 and "prompt prompt: arguments.a" in error["message"]
    assert answer_to(mcp, "resources/read", uri=f"doc://{sent}")["error"]["code"] == -32602


@pytest.mark.parametrize(
    "value",
    [{"role": "system", "content": "a"}, {"role": "user"}, {"role": 5, "content": "a"}, {"role": ["user"], "content": "a"}],
)
def test_dict_that_is_no_message_is_data_of_a_prompt(value):
    """[prompt.get] Only users and assistants speak."""
    mcp = MCPServer("test")
    mcp.add_prompt(lambda: value, "prompt")
    assert answer_to(mcp, "prompts/get", name="prompt")["result"]["messages"] == [user(json.dumps(value))]


def test_list_of_nothing_is_data_of_a_resource():
    """[resource.not-found-invalid-params] Contents are never empty."""
    mcp = MCPServer("test")
    mcp.add_resource(lambda: [], "doc://a")  # noqa: PIE807
    [contents] = answer_to(mcp, "resources/read", uri="doc://a")["result"]["contents"]
    assert contents == {"uri": "doc://a", "mimeType": "application/json", "text": "[]"}


@pytest.mark.parametrize("value", [{"uri": "doc://b"}, {"uri": 5, "text": "a"}, {"uri": "doc://b", "text": 5}])
def test_dict_that_lacks_what_contents_demand_is_data(value):
    """[resource.read]"""
    mcp = MCPServer("test")
    mcp.add_resource(lambda: value, "doc://a")
    [contents] = answer_to(mcp, "resources/read", uri="doc://a")["result"]["contents"]
    assert json.loads(contents["text"]) == value


def test_resource_with_bytes_in_its_contents_has_them_in_base64():
    """[resource.binary-encoded]"""
    mcp = MCPServer("test")
    mcp.add_resource(lambda: {"uri": "doc://b", "blob": PNG}, "doc://a")
    assert answer_to(mcp, "resources/read", uri="doc://a")["result"]["contents"] == [{"uri": "doc://b", "blob": PNG_64}]


def test_replaced_and_removed_entries_are_gone_from_every_list():
    """[list.announces-itself] The lists are made anew when something changed."""
    mcp = MCPServer("test")
    for number in (1, 2):
        mcp.add_tool(lambda: "", "a", title=f"{number}")
        [tool] = answer_to(mcp, "tools/list")["result"]["tools"]
        assert tool["title"] == f"{number}"
    mcp.remove_tool("a")
    assert names(mcp) == []
    with contextlib.suppress(KeyError):
        mcp.remove_tool("a")
