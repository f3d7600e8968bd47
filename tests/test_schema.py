from __future__ import annotations

import contextlib
import json
import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from enum import Enum
from pathlib import Path
from time import process_time
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, Required, TypedDict
from uuid import UUID

import pytest

from streamhttp_mcp import (
    MAX_DEPTH,
    SchemaError,
    check,
    check_schema,
    convert,
    plain,
    schema_of,
    signature_form,
)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: float
    y: float = 0.0


@dataclass
class Report:
    title: str
    pages: int = 1
    tags: list[str] = field(default_factory=list)
    path: Path = Path("a/b")


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)
    parent: Tree | None = None


class Options(TypedDict, total=False):
    name: Required[str]
    depth: int


class Strict(TypedDict):
    name: str
    depth: NotRequired[Annotated[int, {"minimum": 0}]]


class Model:
    """What this file needs of a pydantic model."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.inner == other.inner

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        inner = {"$ref": "#/$defs/Inner"}
        return {"$defs": {"Inner": {"type": "integer"}}, "type": "object", "properties": {"inner": inner}}

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        return cls(value["inner"])

    def model_dump(self, mode: str, by_alias: bool) -> Any:
        return {"inner": self.inner}


STRING, INTEGER, NUMBER, NULL = {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "null"}
POINT = {"type": "object", "properties": {"x": NUMBER, "y": NUMBER | {"default": 0.0}}, "required": ["x"],
         "additionalProperties": False}  # fmt: skip


@pytest.mark.parametrize("hint, schema", [
    (str, STRING),
    (int, INTEGER),
    (float, NUMBER),
    (bool, {"type": "boolean"}),
    (None, NULL),
    (Any, {}),
    (list, {"type": "array", "items": {}}),
    (list[int], {"type": "array", "items": INTEGER}),
    (set[int], {"type": "array", "items": INTEGER, "uniqueItems": True}),
    (tuple[int, ...], {"type": "array", "items": INTEGER}),
    (tuple[int, str], {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2}),
    (dict[str, int], {"type": "object", "additionalProperties": INTEGER}),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal[1, "b"], {"enum": [1, "b"]}),
    (Colour, {"type": "string", "enum": ["red", "blue"]}),
    (Optional[int], {"anyOf": [INTEGER, NULL]}),  # noqa: UP045 -- the older spelling
    (int | str, {"anyOf": [INTEGER, STRING]}),
    (datetime, {"type": "string", "format": "date-time"}),
    (date, {"type": "string", "format": "date"}),
    (time, {"type": "string", "format": "time"}),
    (UUID, {"type": "string", "format": "uuid"}),
    (Path, STRING),
    (bytes, {"type": "string", "contentEncoding": "base64"}),
    (Annotated[int, "How deep"], INTEGER | {"description": "How deep"}),
    (Annotated[int, "How deep", object(),
     {"minimum": 1}], INTEGER | {"description": "How deep", "minimum": 1}),
    (Point, POINT),
    (Options, {"type": "object", "properties": {"name": STRING, "depth": INTEGER}, "required": ["name"]}),
    (Strict, {"type": "object", "properties": {"name": STRING, "depth": INTEGER | {"minimum": 0}},
              "required": ["name"]}),
    (list[Model], {"type": "array", "$defs": {"Inner": INTEGER},
                   "items": {"type": "object", "properties": {"inner": {"$ref": "#/$defs/Inner"}}}}),
])  # fmt: skip
def test_a_hint_becomes_a_schema(hint: Any, schema: Any) -> None:
    assert schema_of(hint) == schema
    check_schema(schema_of(hint))


def test_a_default_that_json_can_say_stands_in_the_schema() -> None:
    properties = schema_of(Report)["properties"]
    assert properties["pages"] == {"type": "integer", "default": 1}
    assert properties["path"] == {"type": "string", "default": "a/b"}
    assert "default" not in properties["tags"]  # made anew for each report
    assert schema_of(Report)["required"] == ["title"]


def test_a_class_that_contains_itself_is_defined_once_and_keeps_type_object_at_the_root() -> None:
    schema = schema_of(Tree)
    assert schema["type"] == "object" and list(schema["$defs"]) == ["Tree"]
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    check_schema(schema)
    check({"name": "a", "children": [{"name": "b"}]}, schema)
    with pytest.raises(SchemaError, match=r"^children\[0\].name: expected string, got 1$"):
        check({"name": "a", "children": [{"name": 1}]}, schema)


@pytest.mark.parametrize("hint", [complex, dict[int, str], type, list[complex], "text", int | complex])
def test_a_hint_without_a_schema_is_refused_by_name(hint: Any) -> None:
    with pytest.raises(TypeError, match="has no JSON Schema"):
        schema_of(hint)


def test_two_classes_of_one_name_cannot_share_a_definition() -> None:
    other: Any = type("Inner", (), {"model_json_schema": lambda: {"$defs": {"Inner": STRING},
     "$ref": "#/$defs/Inner"},
                               "model_validate": str})  # fmt: skip
    with pytest.raises(TypeError, match="two different classes are named Inner"):
        schema_of(tuple[Model, other])


def test_a_signature_becomes_the_schema_of_its_arguments() -> None:
    def analyze(  # type: ignore[no-untyped-def]
        path: str, ctx: Any, anything, *rest: int, depth: Annotated[int, "How deep"] = 1
    ) -> None: ...

    assert signature_form(analyze, {"ctx"}).schema == {
        "type": "object",
        "properties": {"path": STRING, "anything": {}, "depth": INTEGER | {"description": "How deep",
         "default": 1}},
        "required": ["path", "anything"],
        "additionalProperties": False,
    }


def test_a_signature_with_keyword_arguments_accepts_any_name() -> None:
    assert signature_form(lambda **more: None).schema == {"type": "object", "properties": {}}


def test_a_signature_without_parameters_requires_nothing_and_accepts_nothing() -> None:
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert signature_form(lambda: None).schema == closed


def test_arguments_are_read_as_the_signature_hints() -> None:
    def paint(colour: Colour, when: date, where: Point | None = None) -> None: ...

    form = signature_form(paint)
    arguments = {"colour": "red", "when": "2026-07-28"}
    assert form.read(arguments) == {"colour": Colour.RED, "when": date(2026, 7, 28)}


ROUND_TRIPS: list[tuple[Any, Any]] = [
    (str, "a"), (int, 3), (float, 0.5), (bool, True), (None, None), (Any, {"a": [1, None]}),
    (list[int], [1, 2]), (list, [1, "a"]), (tuple[int, ...], (1, 2)),
     (tuple[int, date], (1, date(2026, 7, 28))),
    (set[int], {1, 2}), (frozenset[str], frozenset({"a"})), (dict[str, Point], {"a": Point(1.0, 2.0)}),
    (Colour, Colour.RED), (Literal["a", 1, Colour.BLUE], Colour.BLUE), (list[Colour],
     [Colour.RED, Colour.BLUE]),
    (Point | None, None), (Point | None, Point(1.0, 2.0)), (int | str, "a"), (date | str, "no date"),
    (datetime, datetime(2026, 7, 28, 12, tzinfo=UTC)), (date, date(2026, 7, 28)),
     (time, time(12, 30)),
    (UUID, UUID(int=1)), (Path, Path("a/b")), (bytes, b"\x00\xff"),
     (Annotated[date, "day"], date(2026, 7, 28)),
    (Report, Report("a", 2, ["b"], Path("c"))), (Point, Point(1.0, 2.0)), (Strict, {"name": "a", "depth": 1}),
    (Tree, Tree("a", [Tree("b", [Tree("c")])], Tree("d"))), (Model, Model(1)), (Model | None, Model(1)),
    (tuple[Tree, Report | Point], (Tree("a"), Point(1.0))),
]  # fmt: skip


@pytest.mark.parametrize("hint, value", ROUND_TRIPS)
def test_what_plain_writes_fits_the_schema_and_converts_back(hint: Any, value: Any) -> None:
    wire = json.loads(json.dumps(plain(value), allow_nan=False))
    check(wire, schema_of(hint))
    result = convert(wire, hint)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize("value, hint, result", [
    (3.0, int, 3),
    (3, float, 3.0),
    ("2026-07-28", date | str, date(2026, 7, 28)),
    ("soon", date | str, "soon"),
    ("2026-07-28T12:00:00Z", datetime, datetime(2026, 7, 28, 12, tzinfo=UTC)),
    ({"name": "a", "more": 1}, Options, {"name": "a", "more": 1}),
])  # fmt: skip
def test_a_value_converts_to_its_hint(value: Any, hint: Any, result: Any) -> None:
    assert convert(value, hint) == result and type(convert(value, hint)) is type(result)


@pytest.mark.parametrize("value, hint, message", [
    ("30 February", date, "arguments: Invalid isoformat string"),
    (["2026-07-28", "x"], list[date], r"arguments\[1\]: Invalid isoformat string"),
    ({"a": {"x": 10**400}}, dict[str, Point], r"arguments.a.x: int too large"),
    ("?", bytes, "arguments: "),
    ([{}], set[Any], "arguments: unhashable"),
    ("x", date | UUID, 'arguments: "x" cannot be read as any of the types allowed'),
])  # fmt: skip
def test_a_value_that_its_type_refuses_is_named_with_its_path(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        convert(value, hint, "arguments")


@pytest.mark.parametrize("value, error, message", [
    (object(), TypeError, "a object has no form in JSON"),
    ([1, {"a": 1j}], TypeError, "a complex has no form in JSON"),
    (math.nan, ValueError, "nan has no form in JSON"),
    (Tree, TypeError, "a type has no form in JSON"),
])  # fmt: skip
def test_a_value_without_a_form_in_json_is_refused_by_type(value: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        plain(value)


OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
CLOSED = OBJECT | {"patternProperties": {"^x-": True}, "additionalProperties": False}


@pytest.mark.parametrize("schema, good, bad", [
    (True, [None, 1], []),
    (False, [], [None, 1]),
    ({"type": "integer"}, [1, 3.0, -1], [1.5, True, "1", None]),
    ({"type": "number"}, [1, 1.5], [True, "1"]),
    ({"type": ["string", "null"]}, ["a", None], [1]),
    ({"enum": [1, "a", [0]]}, [1, 1.0, "a", [0.0]], [True, [False], "b"]),
    ({"const": {"a": [1]}}, [{"a": [1.0]}], [{"a": [True]}, {"a": 1}]),
    (OBJECT, [{"a": 1}, {"a": 1, "b": 2}], [{}, {"a": "x"}, []]),
    (CLOSED, [{"a": 1, "x-b": 2}], [{"a": 1, "b": 2}]),
    ({"propertyNames": {"maxLength": 2}}, [{"ab": 1}, 5], [{"abc": 1}]),
    ({"minProperties": 1, "maxProperties": 2}, [{"a": 1}], [{}, {"a": 1, "b": 1, "c": 1}]),
    ({"dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 1}, {"c": 1}], [{"a": 1}]),
    ({"dependentSchemas": {"a": {"required": ["b"]}}}, [{"a": 1, "b": 1}, {}], [{"a": 1}]),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, [[], ["a"], ["a", 1]], [[1],
     ["a", "b"]]),
    ({"contains": {"type": "null"}}, [[1, None]], [[], [1]]),
    ({"contains": {"const": 1}, "minContains": 2, "maxContains": 3}, [[1, 1], [1, 1, 1]], [[1],
     [1, 1, 1, 1]]),
    ({"minItems": 1, "maxItems": 2}, [[1]], [[], [1, 2, 3]]),
    ({"uniqueItems": True}, [[1, True, "1"], [{"a": 1}, {"a": 2}]], [[1, 1.0], [{"a": 1, "b": 2},
     {"b": 2, "a": 1}]]),
    ({"minimum": 1, "maximum": 2}, [1, 2.0, "0"], [0.9, 2.1]),
    ({"exclusiveMinimum": 1, "exclusiveMaximum": 2}, [1.5], [1, 2]),
    ({"multipleOf": 0.1}, [0.3, 1.1, 7], [0.35, math.inf]),
    ({"minLength": 1, "maxLength": 2}, ["a", "\U0001f600\U0001f600"], ["", "abc"]),
    ({"pattern": "b+"}, ["abc", 1], ["ac"]),
    ({"format": "date"}, ["no date"], []),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1], [0, 3]),
    ({"anyOf": [{"type": "string"}, {"minimum": 1}]}, ["a", 1], [0]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, [1, 2.5], [3, 1.5]),
    ({"not": {"type": "integer"}}, ["a"], [1]),
    ({"if": {"minimum": 5}, "then": {"maximum": 9}, "else": {"const": 0}}, [5, 0], [10, 1]),
    ({"items": {"$ref": "#"}, "maxItems": 1}, [[], [[]]], [[[1, 2]]]),
    ({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "null"}}}, [None], [1]),
    ({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "null"}}}, [None], [1]),
    ({"$id": "x:y", "$ref": "x:y#/$defs/a", "$defs": {"a": {"type": "null"}}}, [None], [1]),
])  # fmt: skip
def test_a_value_is_checked(schema: Any, good: list[Any], bad: list[Any]) -> None:
    check_schema(schema)
    for value in good:
        check(value, schema)
    for value in bad:
        with pytest.raises(SchemaError):
            check(value, schema)


@pytest.mark.parametrize("value, schema, message", [
    ({"depth": "deep"}, {"properties": {"depth": {"type": "integer"}}},
     'arguments.depth: expected integer, got "deep"'),
    ({"a": [{"b": 1}]}, {"properties": {"a": {"items": {"properties": {"b": {"type": "string"}}}}}},
     "arguments.a[0].b: expected string, got 1"),
    ({}, OBJECT, "arguments.a: is required"),
    ({"a": 1, "b": 2}, CLOSED, "arguments.b: is not allowed"),
    ("c", {"enum": ["a", "b"]}, 'arguments: expected enum ["a", "b"], got "c"'),
    (0, {"minimum": 1}, "arguments: expected minimum 1, got 0"),
    ([1, 2], {"maxItems": 1}, "arguments: expected maxItems 1, got an array of 2"),
    (1.5, schema_of(int | None), "arguments: expected integer, got 1.5; or expected null, got 1.5"),
    (5, {"oneOf": [True, {}]}, "arguments: fits 2 of the schemas in oneOf, and must fit one"),
    ("x" * 1000, {"type": "null"}, f'arguments: expected null, got "{"x" * 60}..."'),
    (b"x", {}, "arguments: a bytes is not a JSON value"),
])  # fmt: skip
def test_a_complaint_says_where_what_and_why(value: Any, schema: Any, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check(value, schema, "arguments")
    assert str(caught.value) == message
    assert f"{caught.value.path}: {caught.value.message}" == message


@pytest.mark.parametrize("schema", [
    {"$ref": "#"},
    {"not": {"$ref": "#"}},
    {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
])  # fmt: skip
def test_a_reference_that_leads_to_itself_ends(schema: Any) -> None:
    check_schema(schema)
    with pytest.raises(SchemaError, match="^x: nested too deeply$"):
        check(1, schema, "x")


def test_a_value_nested_too_deeply_is_refused() -> None:
    schema = {"items": {"$ref": "#"}}
    value: list[Any] = []
    for _ in range(MAX_DEPTH // 2):
        value = [value]
    check(value, schema)
    with pytest.raises(SchemaError, match="nested too deeply"):
        check([value], schema)
    for _ in range(5000):
        value = [value]
    with pytest.raises(SchemaError, match="nested too deeply"):
        check(value, {"enum": [1]})


@pytest.mark.parametrize("schema, place", [
    ({"$ref": "https://example.com/x"}, "'https://example.com/x' is outside of this schema"),
    ({"items": {"$ref": "#/$defs/x"}}, "schema.items: '#/$defs/x' names no schema"),
    ({"$ref": "#nowhere"}, "schema: '#nowhere' names no schema"),
    ({"$ref": "#/required/0", "required": ["a"]}, "schema: '#/required/0' names no schema"),
    ({"properties": {"a": {"pattern": "("}}}, "schema.properties.a: "),
    ({"patternProperties": {"[": True}}, "schema: "),
    ({"properties": {"a": {"type": "text"}}}, "schema.properties.a.type: "),
    ({"minLength": -1}, "schema.minLength: expected minimum 0, got -1"),
    ({"required": "a"}, 'schema.required: expected array, got "a"'),
    ({"properties": {"a": 1}}, "schema.properties.a: expected object or boolean, got 1"),
    ({"enum": ("a", "b")}, "schema.enum: a tuple is not a JSON value"),
    ({"anyOf": []}, "schema.anyOf: expected minItems 1"),
    ({"multipleOf": 0}, "schema.multipleOf: "),
    ({"items": {"$dynamicRef": "#a"}}, "schema.items.$dynamicRef: is not supported"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "schema.$schema: expected enum"),
    ({"$defs": {"a": {"$id": "b"}}}, "schema.$defs.a.$id: is not supported"),
    ("text", "schema: expected object or boolean"),
])  # fmt: skip
def test_a_schema_that_cannot_work_is_refused_at_its_place(schema: Any, place: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check_schema(schema)
    assert place in str(caught.value)


def test_a_schema_handed_out_is_the_callers_own() -> None:
    schema_of(str)["title"] = "changed"
    assert schema_of(str) == STRING


@pytest.mark.parametrize("schema", [
    {"properties": {"child": {"oneOf": [{"$ref": "#"}, {"type": "null"}]}}},
    {"properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}},
    {"anyOf": [{"properties": {"child": {"$ref": "#"}}}], "unevaluatedProperties": False},
    {"oneOf": [{"properties": {"child": {"$ref": "#"}}}, {"type": "null"}], "unevaluatedProperties": False},
    {"if": {"properties": {"child": {"$ref": "#"}}}, "then": True, "unevaluatedProperties": False},
    {"not": {"not": {"oneOf": [{"properties": {"child": {"$ref": "#"}}}, {"type": "null"}]}}},
])  # fmt: skip
@pytest.mark.parametrize("leaf", [{}, 5, None])
def test_schema_within_itself_is_asked_once_about_each_part_of_a_value(schema: Any, leaf: Any) -> None:
    """[schema.bounded-depth] Asked twice a level, 18 levels would take seconds, and 30 the rest of the day."""
    schema, value, begun = {"type": ["object", "null"]} | schema, leaf, process_time()
    check_schema(schema)
    for _ in range(30):
        value = {"child": value}
    with contextlib.suppress(SchemaError):
        check(value, schema)
    assert process_time() - begun < 1
