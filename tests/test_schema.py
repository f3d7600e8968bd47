# ruff: noqa: B008 -- pydantic's Field is a default
from __future__ import annotations

import array
import collections
import contextlib
import csv
import functools
import inspect
import io
import ipaddress
import json
import math
import os
import sqlite3
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from time import process_time
from types import SimpleNamespace
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
)
from uuid import UUID

import pytest

from streamhttp_mcp import (
    MAX_STEPS,
    SchemaError,
    check,
    check_schema,
    convert,
    plain,
    schema_of,
    signature_form,
)


def form_of(function: Callable[..., Any]) -> Any:
    return signature_form(inspect.signature(function, eval_str=True))


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Mood(StrEnum):
    GOOD = "good"


class Pair(Enum):
    NEAR = (1, 2)
    FAR = (8, 9)


class Day(Enum):
    RELEASE = date(2026, 7, 28)


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


@dataclass
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError(f"{self.number} is odd")


class Options(TypedDict, total=False):
    name: Required[str]
    depth: int


class Strict(TypedDict):
    name: str
    depth: NotRequired[Annotated[int, {"minimum": 0}]]


class Noted(TypedDict):
    name: Annotated[Required[str], "Its name"]
    depth: Annotated[NotRequired[int], "How deep"]


class Model:
    """What this file needs of a pydantic model."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.inner == other.inner

    @classmethod
    def model_json_schema(cls, mode: str) -> dict[str, Any]:
        inner = {"$ref": "#/$defs/Inner"}
        properties = {"inner": inner}
        return {"$defs": {"Inner": INTEGER}, "type": "object", "properties": properties}

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        return cls(value["inner"])

    def model_dump(self, mode: str, by_alias: bool) -> Any:
        return {"inner": self.inner}


class Node:
    """A pydantic model that contains itself."""

    @classmethod
    def model_json_schema(cls, mode: str) -> dict[str, Any]:
        below = {"type": "array", "items": {"$ref": "#/$defs/Node"}}
        node = {"type": "object", "properties": {"below": below}, "required": ["below"]}
        return {"$defs": {"Node": node}, "$ref": "#/$defs/Node"}

    model_validate = dict


UserId = NewType("UserId", str)
STRING = {"type": "string"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
NULL = {"type": "null"}
INTEGERS = {"type": "array", "items": INTEGER}
POINT = {
    "type": "object",
    "properties": {"x": NUMBER, "y": NUMBER | {"default": 0.0}},
    "required": ["x"],
}


@pytest.mark.parametrize("hint, schema", [
    (str, STRING),
    (int, INTEGER),
    (float, NUMBER),
    (bool, {"type": "boolean"}),
    (None, NULL),
    (Any, {}),
    (list, {"type": "array", "items": {}}),
    (list[int], INTEGERS),
    (collections.deque[int], INTEGERS),
    (set[int], INTEGERS | {"uniqueItems": True}),
    (tuple[int, ...], INTEGERS),
    (tuple[int, str],
     {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2}),
    (dict[str, int], {"type": "object", "additionalProperties": INTEGER}),
    (dict, {"type": "object", "additionalProperties": {}}),
    (dict[Any, Any], {"type": "object", "additionalProperties": {}}),
    (dict[UserId, int], {"type": "object", "additionalProperties": INTEGER}),
    (datetime, {"type": "string", "format": "date-time"}),
    (date, {"type": "string", "format": "date"}),
    (time, {"type": "string", "format": "time"}),
    (UUID, {"type": "string", "format": "uuid"}),
    (Path, STRING),
    (bytes, {"type": "string", "contentEncoding": "base64"}),
    (UserId, STRING),
    (Annotated[int, "How deep"], INTEGER | {"description": "How deep"}),
    (Annotated[int, "How deep", {"minimum": 1}],
     INTEGER | {"description": "How deep", "minimum": 1}),
    (Point, POINT),
    (Options,
     {"type": "object", "properties": {"name": STRING, "depth": INTEGER}, "required": ["name"]}),
    (Strict, {"type": "object", "properties": {"name": STRING, "depth": INTEGER | {"minimum": 0}},
              "required": ["name"]}),
    (Noted, {"type": "object", "required": ["name"],
             "properties": {"name": STRING | {"description": "Its name"},
                            "depth": INTEGER | {"description": "How deep"}}}),
    (list[Model], {"type": "array", "$defs": {"Inner": INTEGER},
                   "items": {"type": "object",
                             "properties": {"inner": {"$ref": "#/$defs/Inner"}}}}),
])  # fmt: skip
def test_a_hint_becomes_a_schema(hint: Any, schema: Any) -> None:
    assert schema_of(hint) == schema
    check_schema(schema_of(hint))


@pytest.mark.parametrize("hint", [
    abc.Sequence[int], abc.MutableSequence[int], abc.Collection[int], abc.Iterable[int],
    abc.Container[int], abc.Reversible[int],
])  # fmt: skip
def test_an_abstract_collection_is_read_as_a_list(hint: Any) -> None:
    assert schema_of(hint) == INTEGERS
    assert convert([1, 2], hint) == [1, 2]


@pytest.mark.parametrize("hint", [abc.Set[int], abc.MutableSet[int]])
def test_an_abstract_set_is_read_as_a_set(hint: Any) -> None:
    assert schema_of(hint) == INTEGERS | {"uniqueItems": True}
    assert convert([1, 2], hint) == {1, 2}


@pytest.mark.parametrize("hint", [abc.Mapping[str, int], abc.MutableMapping[str, int], abc.Mapping])
def test_an_abstract_mapping_is_read_as_a_dict(hint: Any) -> None:
    assert schema_of(hint)["type"] == "object"
    assert convert({"a": 1}, hint) == {"a": 1}


@pytest.mark.parametrize("hint, kind", [
    (Literal["a", "b"], "string"),
    (Literal[1, 2], "integer"),
    (Literal[True], "boolean"),
    (Literal[1, "b"], None),
    (Literal[1, True], None),
    (Colour, "string"),
    (Size, "integer"),
    (Enum("Mixed", {"A": 1, "B": 2.5}), "number"),
    (date | UUID, "string"),
    (Literal["a"] | str, "string"),
    (int | float, "number"),
    (list[int] | list[str], "array"),
    (Report | Point, "object"),
    (int | str, None),
    (Optional[int], None),  # noqa: UP045 -- the older spelling
])  # fmt: skip
def test_a_schema_says_the_type_that_all_its_values_share(hint: Any, kind: str | None) -> None:
    assert schema_of(hint).get("type") == kind


@pytest.mark.parametrize("hint, schema", [
    (Literal["a", "b"], STRING | {"enum": ["a", "b"]}),
    (Colour, STRING | {"enum": ["red", "blue"]}),
    (Optional[int], {"anyOf": [INTEGER, NULL]}),  # noqa: UP045 -- the older spelling
    (int | str, {"anyOf": [INTEGER, STRING]}),
    (int | Any, {"anyOf": [INTEGER, {}]}),
])  # fmt: skip
def test_a_choice_becomes_a_schema(hint: Any, schema: Any) -> None:
    assert schema_of(hint) == schema


def test_a_default_that_json_can_say_stands_in_the_schema() -> None:
    properties = schema_of(Report)["properties"]
    assert properties["pages"] == {"type": "integer", "default": 1}
    assert properties["path"] == {"type": "string", "default": "a/b"}
    assert "default" not in properties["tags"]  # made anew for each report
    assert schema_of(Report)["required"] == ["title"]


def test_a_pydantic_model_that_contains_itself_keeps_type_object_at_the_root() -> None:
    schema = schema_of(Node)
    assert schema["type"] == "object" and list(schema["$defs"]) == ["Node"]
    check_schema(schema)
    check({"below": [{"below": []}]}, schema)
    with pytest.raises(SchemaError, match=r"^below\[0\].below: is required$"):
        check({"below": [{}]}, schema)
    check({"below": []}, schema_of(Node | None))
    assert convert({"below": []}, Node | None) == {"below": []}


ONLY_PYDANTIC = "as only models of pydantic may"


@pytest.mark.parametrize("hint, message", [
    (complex, "complex has no JSON Schema"),
    (type, "type has no JSON Schema"),
    (list[complex], "list[complex]: complex has no JSON Schema"),
    (int | complex, "int | complex: complex has no JSON Schema"),
    (dict[str, list[complex]],
     "dict[str, list[complex]]: list[complex]: complex has no JSON Schema"),
    (dict[int, str], "dict[int, str] has no JSON Schema"),
    (dict[date, str], "dict[datetime.date, str] has no JSON Schema"),
    (dict[Path, str], f"{dict[Path, str]!r} has no JSON Schema"),
    (abc.Callable, "Callable has no JSON Schema"),
    (abc.Iterator[int], "collections.abc.Iterator[int] has no JSON Schema"),
    (set[tuple[int, int]], "set[tuple[int, int]] has no JSON Schema"),
    (frozenset[Point], f"frozenset[{__name__}.Point] has no JSON Schema"),
    (set[UUID], "set[uuid.UUID] has no JSON Schema"),
    (set[int | str], "set[int | str] has no JSON Schema"),
    (set, "set has no JSON Schema"),
    ("text", "'text' has no JSON Schema"),
    ([int], "[<class 'int'>] has no JSON Schema"),
    (Tree, f"Tree: children: list[{__name__}.Tree]: Tree contains itself, {ONLY_PYDANTIC}"),
])  # fmt: skip
def test_a_hint_without_a_schema_is_refused_by_name(hint: Any, message: str) -> None:
    """[schema.refused-by-name]"""
    with pytest.raises(TypeError) as caught:
        schema_of(hint)
    assert str(caught.value) == message


def test_two_classes_of_one_name_cannot_share_a_definition() -> None:
    class Other:
        model_validate = str

        @staticmethod
        def model_json_schema(mode: str) -> dict[str, Any]:
            return {"$defs": {"Inner": STRING}, "$ref": "#/$defs/Inner"}

    hint: Any = tuple[Model, Other]
    with pytest.raises(TypeError, match="two different classes are named Inner"):
        schema_of(hint)


def test_a_signature_becomes_the_schema_of_its_arguments() -> None:
    def analyze(  # type: ignore[no-untyped-def]
        path: str, anything, *rest: int, depth: Annotated[int, "How deep"] = 1
    ) -> None: ...

    depth = INTEGER | {"description": "How deep", "default": 1}
    assert form_of(analyze).schema == {
        "type": "object",
        "properties": {"path": STRING, "anything": {}, "depth": depth},
        "required": ["path", "anything"],
    }


def test_arguments_that_a_function_does_not_take_are_dropped() -> None:
    def dive(depth: int) -> None: ...

    form = form_of(dive)
    arguments = {"depth": 3, "toolCallId": "1", "task_progress": None}
    check(arguments, form.schema)
    assert form.read(arguments, "arguments") == {"depth": 3}
    assert convert({"title": "a", "more": 1}, Report) == Report("a")
    assert convert({"x": 1, "more": 1}, Point) == Point(1.0)
    assert convert({"name": "a", "more": 1}, Options) == {"name": "a"}


def test_a_function_with_keyword_arguments_gets_all_of_them() -> None:
    def store(key: str, **more: Any) -> None: ...

    form = form_of(store)
    assert form.schema["properties"] == {"key": STRING}
    assert form.read({"key": "a", "more": 1}, "arguments") == {"key": "a", "more": 1}


def test_a_signature_without_parameters_requires_nothing() -> None:
    assert form_of(lambda: None).schema == {"type": "object", "properties": {}}


def test_a_default_of_none_means_that_null_is_allowed() -> None:
    def page(
        after: str = None,  # type: ignore[assignment]  # noqa: RUF013
        size: Annotated[int, "Lines"] = None,  # type: ignore[assignment]  # noqa: RUF013
        colour: Colour | None = None,
        anything: Any = None,
        counts: list[Annotated[int, {"minimum": 1}]] = None,  # type: ignore[assignment]  # noqa: RUF013
        nothing: None = None,
        unhinted=None,  # type: ignore[no-untyped-def]
    ) -> None: ...

    form = form_of(page)
    properties = form.schema["properties"]
    assert properties["after"] == {"anyOf": [STRING, NULL], "default": None}
    size = {"anyOf": [INTEGER, NULL], "description": "Lines", "default": None}
    assert properties["size"] == size
    assert len(properties["colour"]["anyOf"]) == 2
    counts = {"type": "array", "items": INTEGER | {"minimum": 1}}
    assert properties["counts"] == {"anyOf": [counts, NULL], "default": None}
    arguments = dict.fromkeys(properties)
    check(arguments, form.schema)
    assert form.read(arguments, "") == arguments


def test_arguments_are_read_as_the_signature_hints() -> None:
    def paint(colour: Colour, when: date, where: Point | None = None) -> None: ...

    form = form_of(paint)
    arguments = {"colour": "red", "when": "2026-07-28"}
    read = form.read(arguments, "arguments")
    assert read == {"colour": Colour.RED, "when": date(2026, 7, 28)}


class Adder:
    def __call__(self, a: int, b: Report | None = None) -> Any: ...

    def method(self, a: int, b: list[Report] = ...) -> Any: ...


@functools.wraps(Adder.method)
def wrapper(*args: Any, **kwargs: Any) -> Any: ...


@pytest.mark.parametrize("function", [
    Adder(), Adder().method, functools.partial(Adder().method), functools.partial(wrapper, None),
])  # fmt: skip
def test_anything_that_can_be_called_has_a_signature(function: Any) -> None:
    properties = form_of(function).schema["properties"]
    assert list(properties) == ["a", "b"] and properties["a"] == INTEGER


UNREADABLE = "a hint cannot be read: "


def bad_hint(a: complex) -> None: ...


def bad_item(a: int, b: list[complex]) -> None: ...


def bad_note(a: Annotated[int, object]) -> None: ...


def bad_bound(a: Annotated[int, {"minimum": "x"}]) -> None: ...


@dataclass
class BadName:
    a: Nowhere  # type: ignore[name-defined]  # noqa: F821


def bad_name(a: BadName) -> None: ...


@dataclass
class BadAttribute:
    a: collections.nothing  # type: ignore[name-defined]


def bad_attribute(a: BadAttribute) -> None: ...


BadSyntax: Any = dataclass(type("BadSyntax", (), {"__annotations__": {"a": "x y"}}))


def bad_syntax(a: list[BadSyntax]) -> None: ...


@pytest.mark.parametrize("function, message", [
    (bad_hint, "parameter a: complex has no JSON Schema"),
    (bad_item, "parameter b: list[complex]: complex has no JSON Schema"),
    (bad_note, "parameter a: the note <class 'object'> in Annotated is not understood"),
    (bad_bound, 'parameter a.minimum: expected number, got "x"'),
    (bad_name, f"parameter a: BadName: {UNREADABLE}name 'Nowhere' is not defined"),
    (bad_attribute,
     f"parameter a: BadAttribute: {UNREADABLE}module 'collections' has no attribute 'nothing'"),
    (bad_syntax, f"parameter a: list[{__name__}.BadSyntax]: BadSyntax: {UNREADABLE}"
     + "Forward reference must be an expression -- got 'x y'"),
])  # fmt: skip
def test_a_parameter_that_cannot_be_described_is_named(function: Any, message: str) -> None:
    """[schema.refused-by-name]"""
    with pytest.raises(TypeError) as caught:
        form_of(function)
    assert str(caught.value) == message


# The marks of pydantic and annotated_types, as far as we read them. The real ones come below.


@dataclass
class Interval:
    gt: Any = None
    ge: Any = None
    lt: Any = None
    le: Any = None


@dataclass
class Len:
    min_length: int = 0
    max_length: int | None = None


def mark(**attributes: Any) -> SimpleNamespace:
    return SimpleNamespace(**attributes)


def Field(default: Any = ..., *marks: Any, **attributes: Any) -> Any:
    known: dict[str, Any] = dict.fromkeys(["title", "description", "examples", "alias"])
    make = attributes.get("default_factory", lambda: default)
    known["get_default"] = lambda *, call_default_factory: make()
    known["is_required"] = lambda: make() is ...
    return SimpleNamespace(**known | attributes, default=default, metadata=list(marks))


@pytest.mark.parametrize("hint, schema", [
    (Annotated[int, mark(ge=1), mark(le=5)], INTEGER | {"minimum": 1, "maximum": 5}),
    (Annotated[float, mark(gt=0), mark(lt=1)],
     NUMBER | {"exclusiveMinimum": 0, "exclusiveMaximum": 1}),
    (Annotated[int, mark(multiple_of=5)], INTEGER | {"multipleOf": 5}),
    (Annotated[int, Interval(ge=1, lt=9)], INTEGER | {"minimum": 1, "exclusiveMaximum": 9}),
    (Annotated[str, Len(1, 3)], STRING | {"minLength": 1, "maxLength": 3}),
    (Annotated[list[int], Len(1, 3)], INTEGERS | {"minItems": 1, "maxItems": 3}),
    (Annotated[dict[str, int], mark(min_length=1)],
     {"type": "object", "additionalProperties": INTEGER, "minProperties": 1}),
    (Annotated[str, mark(pattern="^a")], STRING | {"pattern": "^a"}),
    (Annotated[int | None, mark(ge=1)], {"anyOf": [INTEGER, NULL], "minimum": 1}),
    (Annotated[int, mark(strict=True), None], INTEGER),
    (Annotated[int, Field(..., mark(ge=1), description="D")],
     INTEGER | {"minimum": 1, "description": "D"}),
])  # fmt: skip
def test_marks_become_keywords(hint: Any, schema: Any) -> None:
    assert schema_of(hint) == schema


@pytest.mark.parametrize("hint, message", [
    (Annotated[int, object()], "the note <object object at .*> in Annotated is not understood"),
    (Annotated[int, 5], "the note 5 in Annotated is not understood"),
    (Annotated[int, mark(predicate=str.islower)], "cannot be kept: predicate"),
    (Annotated[str, mark(max_length=3, strip_whitespace=True)], "cannot be kept: strip_whitespace"),
    (Annotated[str, mark(ge=1)], "cannot be kept: ge"),
    (Annotated[date, mark(ge=date(2026, 1, 1))], "cannot be kept: ge"),
    (Annotated[int, mark(max_length=1)], "cannot be kept: max_length"),
    (Annotated[int, mark(ge=1), mark(ge=5)], "cannot be kept: ge"),
    (Annotated[int, {"const": object()}], "const: a object has no form in JSON"),
    (Annotated[int, mark(ge="1")], 'minimum: expected number, got "1"'),
    (Annotated[str, mark(pattern="(")], r"'\(' is no pattern: "),
    (Annotated[int, {"unevaluatedProperties": False}], "unevaluatedProperties: is not supported"),
    (Annotated[str, {"anyOf": [True]}, Field(..., mark(max_length=3))],
     "cannot be kept: max_length"),
    (Annotated[int, Field(alias="x")], r"Field\(alias=...\) is not supported"),
])  # fmt: skip
def test_a_note_that_cannot_be_kept_is_refused_by_name(hint: Any, message: str) -> None:
    """[schema.refused-by-name]"""
    with pytest.raises(TypeError, match=message):
        schema_of(hint)


def test_a_field_as_default_describes_and_fills_an_argument() -> None:
    def find(
        q: str = Field(...),
        limit: int = Field(3, mark(ge=1), description="How many"),
        tags: list[str] = Field(default_factory=lambda: ["a"]),
        after: str = Field(None),
        size: Annotated[int, Field(), "text"] = 7,
    ) -> None: ...

    form = form_of(find)
    properties = form.schema["properties"]
    assert form.schema["required"] == ["q"]
    limit = INTEGER | {"minimum": 1, "description": "How many", "default": 3}
    assert properties["limit"] == limit
    assert properties["after"] == {"anyOf": [STRING, NULL], "default": None}
    assert properties["size"] == INTEGER | {"description": "text", "default": 7}
    read = form.read({"q": "x"}, "arguments")
    assert read == {"q": "x", "limit": 3, "tags": ["a"], "after": None}
    assert form.read({"q": "x", "limit": 9}, "arguments")["limit"] == 9
    with pytest.raises(SchemaError, match="^arguments.limit: expected minimum 1, got 0$"):
        check({"q": "x", "limit": 0}, form.schema, "arguments")


def test_the_real_field_and_models_of_pydantic_are_understood() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Inner(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        user_id: int = pydantic.Field(alias="userId", ge=1)
        note: str | None = None

    def find(  # type: ignore[no-untyped-def]
        q=pydantic.Field(..., min_length=2, max_length=9, pattern="^a"),
        limit=pydantic.Field(default=3, ge=1, lt=9, multiple_of=1, description="How many"),
        tags=pydantic.Field(default_factory=list, max_length=2, title="Tags"),
        count=pydantic.Field(4, examples=[5]),
    ): ...

    find.__annotations__.update(q=str, limit=int, tags=list[str], count=pydantic.PositiveInt)
    form = form_of(find)
    assert form.schema == {
        "type": "object",
        "properties": {
            "q": STRING | {"minLength": 2, "maxLength": 9, "pattern": "^a"},
            "limit": INTEGER
            | {"minimum": 1, "exclusiveMaximum": 9, "multipleOf": 1}
            | {"description": "How many", "default": 3},
            "tags": {"type": "array", "items": STRING, "maxItems": 2},
            "count": INTEGER | {"exclusiveMinimum": 0, "default": 4},
        },
        "required": ["q"],
    }
    assert form.read({"q": "ab"}, "") == {"q": "ab", "limit": 3, "tags": [], "count": 4}
    assert schema_of(pydantic.conint(ge=1)) == INTEGER | {"minimum": 1}
    assert schema_of(pydantic.constr(max_length=3)) == STRING | {"maxLength": 3}
    with pytest.raises(TypeError, match="strip_whitespace"):
        schema_of(pydantic.constr(strip_whitespace=True))

    model = Inner(userId=5)
    assert plain([model]) == [{"userId": 5, "note": None}]
    for hint, value in [(Inner, model), (Inner | None, model), (list[Inner], [model])]:
        check(plain(value), schema_of(hint))
        assert convert(plain(value), hint) == value
    with pytest.raises(SchemaError, match=r"^a.userId: expected minimum 1, got 0$"):
        check({"userId": 0}, schema_of(Inner), "a")
    with pytest.raises(SchemaError, match=r"^a: 1 validation error for Inner"):
        convert({"userId": 0}, Inner, "a")


def test_what_a_real_model_writes_fits_its_schema_for_results() -> None:
    """[schema.round-trip] Models of pydantic may be read in one form, and written in another."""
    pydantic = pytest.importorskip("pydantic")

    class Named(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        title: str = pydantic.Field(serialization_alias="written")
        size: int = pydantic.Field(validation_alias="read")

    class Closed(pydantic.BaseModel):  # type: ignore[name-defined,misc]
        model_config = pydantic.ConfigDict(extra="forbid")
        a: int

        @pydantic.computed_field  # type: ignore[untyped-decorator]
        @property
        def double(self) -> int:
            return 2 * self.a

    for model in (Named(title="x", read=1), Closed(a=1)):
        for hint, value in [(type(model), model), (list[type(model)], [model])]:
            check(plain(value), schema_of(hint, "serialization"))
    assert set(schema_of(Named)["properties"]) == {"title", "read"}
    check({"a": 1}, schema_of(Closed))

    from streamhttp_mcp import MCPServer

    def both(named):  # type: ignore[no-untyped-def]
        ...

    both.__annotations__.update({"named": Named, "return": list[Named]})
    mcp = MCPServer("test")
    mcp.add_tool(both)
    definition = mcp.tools["both"].definition
    assert definition["inputSchema"]["properties"]["named"] == schema_of(Named)
    assert "written" in json.dumps(definition["outputSchema"])


def test_the_real_marks_of_annotated_types_are_understood() -> None:
    marks = pytest.importorskip("annotated_types")
    hint = Annotated[int, marks.Gt(0), marks.Le(9), marks.MultipleOf(3)]
    bounds = {"exclusiveMinimum": 0, "maximum": 9, "multipleOf": 3}
    assert schema_of(hint) == INTEGER | bounds
    interval: Any = Annotated[int, marks.Interval(ge=1, lt=5)]
    assert schema_of(interval) == INTEGER | {"minimum": 1, "exclusiveMaximum": 5}
    sized: Any = Annotated[set[int], marks.Len(1, 5)]
    assert schema_of(sized) == INTEGERS | {"uniqueItems": True, "minItems": 1, "maxItems": 5}
    for refused in (marks.Predicate(str.islower), marks.Timezone(...), marks.Unit("m")):
        with pytest.raises(TypeError, match=type(refused).__name__):
            schema_of(Annotated[str, refused])


ROUND_TRIPS: list[tuple[Any, Any]] = [
    (str, "a"), (int, 3), (float, 0.5), (bool, True), (None, None), (Any, {"a": [1, None]}),
    (list[int], [1, 2]), (list, [1, "a"]), (tuple[int, ...], (1, 2)),
    (tuple[int, date], (1, date(2026, 7, 28))), (tuple[()], ()),
    (set[int], {1, 2}), (frozenset[str], frozenset({"a"})), (set[Colour], {Colour.RED}),
    (set[date], {date(2026, 7, 28)}), (set[Annotated[str, "name"]], {"a"}),
    (dict[str, Point], {"a": Point(1.0, 2.0)}), (collections.deque[int], collections.deque([1])),
    (Colour, Colour.RED), (Size, Size.LARGE), (Mood, Mood.GOOD),
    (Literal[1, True], True), (Literal[True, 1], 1), (Literal[Colour.RED, "b"], Colour.RED),
    (Literal[Colour.RED, "b"], "b"), (Pair, Pair.FAR), (list[Pair], [Pair.NEAR]),
    (Day, Day.RELEASE), (Day | None, Day.RELEASE),
    (list[Colour], [Colour.RED, Colour.BLUE]), (UserId, "me"),
    (Point | None, None), (Point | None, Point(1.0, 2.0)), (int | str, "a"),
    (date | str, "no date"), (datetime, datetime(2026, 7, 28, 12, tzinfo=UTC)),
    (date, date(2026, 7, 28)), (time, time(12, 30)), (UUID, UUID(int=1)), (Path, Path("a/b")),
    (bytes, b"\x00\xff"), (Annotated[date, "day"], date(2026, 7, 28)),
    (Report, Report("a", 2, ["b"], Path("c"))), (Point, Point(1.0, 2.0)),
    (Strict, {"name": "a", "depth": 1}), (Model, Model(1)), (Model | None, Model(1)),
    (tuple[Model, Report | Point], (Model(1), Point(1.0))),
]  # fmt: skip


@pytest.mark.parametrize("hint, value", ROUND_TRIPS)
def test_what_plain_writes_fits_the_schema_and_converts_back(hint: Any, value: Any) -> None:
    """[schema.round-trip]"""
    wire = json.loads(json.dumps(plain(value), allow_nan=False))
    check(wire, schema_of(hint))
    result = convert(wire, hint)
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize("value, hint, result", [
    (3.0, int, 3),
    (3, float, 3.0),
    (1.0, Literal[1], 1),
    (2.0, Size, Size.LARGE),
    ("2026-07-28", date | str, date(2026, 7, 28)),
    ("soon", date | str, "soon"),
    ("2026-07-28T12:00:00Z", datetime, datetime(2026, 7, 28, 12, tzinfo=UTC)),
])  # fmt: skip
def test_a_value_converts_to_its_hint(value: Any, hint: Any, result: Any) -> None:
    assert convert(value, hint) == result and type(convert(value, hint)) is type(result)


@pytest.mark.parametrize("value, hint, message", [
    ("30 February", date, "^arguments: Invalid isoformat string"),
    ("30 February", date | None, "^arguments: Invalid isoformat string"),
    (["2026-07-28", "x"], list[date], r"^arguments\[1\]: Invalid isoformat string"),
    ({"a": {"x": 10**400}}, dict[str, Point], r"^arguments.a.x: int too large"),
    ({"x y": "?"}, dict[str, UUID], r'^arguments\["x y"\]: badly formed'),
    ("?", bytes, "^arguments: "),
    ("green", Colour, '^arguments: "green" is none of the choices$'),
    ({"number": 3}, Even, "^arguments: 3 is odd$"),
    ("x", date | UUID, "^arguments: Invalid isoformat string: 'x'; or badly formed hexa"),
])  # fmt: skip
def test_a_value_that_its_type_refuses_is_named_with_its_path(
    value: Any, hint: Any, message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        convert(value, hint, "arguments")


def rows() -> list[sqlite3.Row]:
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    return database.execute("select 1 as id, 'a' as name, x'ff' as data").fetchall()


@pytest.mark.parametrize("value, written", [
    (Decimal("3.10"), "3.10"),
    (timedelta(minutes=1), 60.0),
    (bytearray(b"\xff"), "/w=="),
    (memoryview(b"\xff"), "/w=="),
    (array.array("i", [1, 2]), [1, 2]),
    (collections.deque([1]), [1]),
    (range(3), [0, 1, 2]),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    (collections.Counter("aa"), {"a": 2}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (collections.ChainMap({"a": 1}), {"a": 1}),
    (os.environ.__class__({}, str, str, str, str), {}),
    (rows(), [{"id": 1, "name": "a", "data": "/w=="}]),
    (list(csv.DictReader(io.StringIO("a,b\n1,2"))), [{"a": "1", "b": "2"}]),
    (list(csv.DictReader(io.StringIO("a\n1,2"))), [{"a": "1", "null": ["2"]}]),
    (ipaddress.ip_address("::1"), "::1"),
    (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    ({1: 2, None: 3, 1.5: 4, (1, 2): 5}, {"1": 2, "null": 3, "1.5": 4, "[1, 2]": 5}),
    ({True: 1}, {"true": 1}),
    ({date(2026, 7, 28): 1, Colour.RED: 2}, {"2026-07-28": 1, "red": 2}),
    ("a\udc80b", "a\ufffdb"),
    ({"\udc80": os.fsdecode(b"\xff")}, {"\ufffd": "\ufffd"}),
    (Path(os.fsdecode(b"\xe9")), "\ufffd"),
    (Mood.GOOD, "good"),
    (Size.LARGE, 2),
])  # fmt: skip
def test_what_libraries_give_is_written_in_its_obvious_form(value: Any, written: Any) -> None:
    assert plain(value) == written
    json.dumps(plain(value), allow_nan=False).encode()


def itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value, message", [
    (object(), "result: a object has no form in JSON"),
    ([1, {"a": 1j}], "result[1].a: a complex has no form in JSON"),
    ([{}, {}, {}, {"price": 1j}], "result[3].price: a complex has no form in JSON"),
    (math.nan, "result: nan has no form in JSON"),
    (Point(1.0, math.inf), "result.y: inf has no form in JSON"),
    (Report("a", tags=[b"", -math.inf]), "result.tags[1]: -inf has no form in JSON"),  # type: ignore[list-item]
    (Tree, f"result: <class '{__name__}.Tree'> has no form in JSON"),
    ((i for i in range(3)), "result: a generator has no form in JSON"),
    (itself(), "result: is nested too deeply, or contains itself"),
])  # fmt: skip
def test_a_value_without_a_form_in_json_is_refused_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        plain(value, "result")
    assert str(caught.value) == message


OBJECT = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
CLOSED = OBJECT | {"patternProperties": {"^x-": True}, "additionalProperties": False}


@pytest.mark.parametrize("schema, good, bad", [
    (True, [None, 1], []),
    (False, [], [None, 1]),
    ({"type": "integer"}, [1, 3.0, -1], [1.5, True, "1", None, math.inf]),
    ({"type": "number"}, [1, 1.5], [True, "1"]),
    ({"type": ["string", "null"]}, ["a", None], [1]),
    ({"enum": [1, "a", [0]]}, [1, 1.0, "a", [0.0]], [True, [False], "b"]),
    ({"const": {"a": [1]}}, [{"a": [1.0]}], [{"a": [True]}, {"a": 1}]),
    (OBJECT, [{"a": 1}, {"a": 1, "b": 2}], [{}, {"a": "x"}, []]),
    (CLOSED, [{"a": 1, "x-b": 2}], [{"a": 1, "b": 2}]),
    ({"additionalProperties": {"type": "null"}}, [{"a": None}], [{"a": 1}]),
    ({"patternProperties": {"^a": {"type": "null"}}}, [{"a": None, "b": 1}], [{"ab": 1}]),
    ({"propertyNames": {"maxLength": 2}}, [{"ab": 1}, 5], [{"abc": 1}]),
    ({"minProperties": 1, "maxProperties": 2}, [{"a": 1}], [{}, {"a": 1, "b": 1, "c": 1}]),
    ({"dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 1}, {"c": 1}], [{"a": 1}]),
    ({"dependentRequired": {"a": ["b"]}, "properties": {"a": True}}, [{}], [{"a": 1}]),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
     [[], ["a"], ["a", 1]], [[1], ["a", "b"]]),
    ({"items": False}, [[]], [[1]]),
    ({"contains": {"type": "null"}}, [[1, None]], [[], [1]]),
    ({"minItems": 1, "maxItems": 2}, [[1]], [[], [1, 2, 3]]),
    ({"uniqueItems": True}, [[1, True, "1"], [{"a": 1}, {"a": 2}], ["[1]", [1]], [1e300, 1e301]],
     [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [[0], [-0.0]]]),
    ({"minimum": 1, "maximum": 2}, [1, 2.0, "0", True], [0.9, 2.1]),
    ({"exclusiveMinimum": 1, "exclusiveMaximum": 2}, [1.5], [1, 2]),
    ({"multipleOf": 0.1}, [0.3, 1.1, 7], [0.35, math.inf]),
    ({"multipleOf": 1e-300}, [1e300, 5], []),
    ({"multipleOf": 3}, [3 * 10**400], [10**400, math.nan, -math.inf]),
    ({"minLength": 1, "maxLength": 2}, ["a", "\U0001f600\U0001f600"], ["", "abc"]),
    ({"pattern": "b+"}, ["abc", 1], ["ac"]),
    ({"format": "date"}, ["no date"], []),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1], [0, 3]),
    ({"anyOf": [{"type": "string"}, {"minimum": 1}]}, ["a", 1], [0]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, [1, 2.5], [3, 1.5]),
    ({"not": {"type": "integer"}}, ["a"], [1]),
    ({"if": {"minimum": 5}, "then": {"maximum": 9}, "else": {"const": 0}}, [5, 0], [10, 1]),
    ({"then": False, "else": False}, [1], []),
    ({"items": {"$ref": "#"}, "maxItems": 1}, [[], [[]]], [[[1, 2]]]),
    ({"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "null"}}}, [None], [1]),
    ({"$ref": "#here", "$defs": {"a": {"$anchor": "here", "type": "null"}}}, [None], [1]),
    ({"$ref": "#/allOf/1", "allOf": [{}, {"type": "null"}]}, [None], [1]),
])  # fmt: skip
def test_a_value_is_checked(schema: Any, good: list[Any], bad: list[Any]) -> None:
    """[schema.number-equality] [schema.integer] [schema.unknown-keyword]"""
    check_schema(schema)
    for value in good:
        check(value, schema)
    for value in bad:
        with pytest.raises(SchemaError):
            check(value, schema)


@pytest.mark.parametrize("value, schema, message", [
    ({"depth": "deep"}, {"properties": {"depth": {"type": "integer"}}},
     'arguments.depth: expected integer, got "deep"'),
    ({"a": [{"b": 1}]}, {"properties": {"a": {"items": {"properties": {"b": STRING}}}}},
     "arguments.a[0].b: expected string, got 1"),
    ({"a/b": 1}, {"additionalProperties": STRING}, 'arguments["a/b"]: expected string, got 1'),
    ({}, OBJECT, "arguments.a: is required"),
    ({"a": 1, "b": 2}, CLOSED, "arguments.b: is not allowed"),
    ({"a": 1}, {"dependentRequired": {"a": ["b"]}}, "arguments.b: is required beside a"),
    ("c", {"enum": ["a", "b"]}, 'arguments: expected enum ["a", "b"], got "c"'),
    (0, {"minimum": 1}, "arguments: expected minimum 1, got 0"),
    ([1, 2], {"maxItems": 1}, "arguments: expected maxItems 1, got an array of 2"),
    (1.5, schema_of(int | None), "arguments: expected integer, got 1.5; or expected null, got 1.5"),
    ({"b": {}}, {"properties": {"b": {"anyOf": [OBJECT, NULL]}}},
     "arguments.b: a: is required; or expected null, got an object"),
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
    """[schema.no-endless-recursion]"""
    check_schema(schema)
    with pytest.raises(SchemaError, match="^x: nested too deeply$"):
        check(1, schema, "x")


def test_a_value_nested_too_deeply_is_refused() -> None:
    """[schema.bounded-depth]"""
    schema = {"items": {"$ref": "#"}}
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    check(value, schema)
    for _ in range(5000):
        value = [value]
    with pytest.raises(SchemaError, match="nested too deeply"):
        check(value, schema)
    # Python 3.13 compares and writes such values without a word; older ones give up.
    with contextlib.suppress(SchemaError):
        check(value, {"enum": [value]})
    with contextlib.suppress(SchemaError):
        check([value, value], {"uniqueItems": True})


def many_names() -> dict[str, int]:
    return {f"k{i}": i for i in range(300_000)}


P = 2**61 - 1  # integers that differ by multiples of it share a hash


@pytest.mark.parametrize("make, hint", [
    (lambda: [1] * 2_000_000, list[int]),
    (lambda: [1] * 2_000_000, list[int | str]),
    (lambda: ["a"] * 1_000_000, list[int | str]),
    (lambda: ["a"] * 1_000_000, list[Literal["a"]]),
    (lambda: [{}] * 1_000_000, list[Report | Point]),
    (lambda: [[1]] * 1_000_000, list[list[int]]),
    (lambda: [x + P * i for x in range(2000) for i in range(-43, 43)], set[int]),
    (lambda: [x + P * i for x in range(500) for i in range(-43, 43)], set[int]),
    (lambda: [2.0 ** n * (1 + 2.0 ** -d) for d in range(1, 49) for n in range(-1000, 1000)],
     set[float]),
    (lambda: [[]] * 45_000, list[set[str]]),
    (lambda: [["a"]] * 45_000, list[set[str]]),
    (lambda: [["a", "b"]] * 60_000, list[set[str]]),
    (lambda: ["x"] * 66_000, list[date | datetime | UUID | str]),
    (lambda: [{"number": 1}] * 66_000, list[Even | Report | dict[str, Any]]),
    (lambda: [[1, 2]] * 60_000, list[Pair | Literal["a"]]),
    (many_names, dict[str, int]),
    (many_names, Report),
    (lambda: [1] * 2_000_000, list),
    (lambda: [1] * 2_000_000, Annotated[list, {"maxItems": 9}]),
    (lambda: "x" * 4_000_000, Annotated[str, {"maxLength": 9, "pattern": r"\s+$"}]),
    (lambda: " " * 4_000_000, Annotated[str, {"pattern": r"\s+$"}]),
    (lambda: [" " * 4_000] * 1_000, list[Annotated[str, {"pattern": r"\s+$"}]]),
    (lambda: {" " * 4_000 + str(i): 1 for i in range(1_000)},
     Annotated[dict[str, int], {"patternProperties": {r"\s+$": True}}]),
    (lambda: [1.1e308] * 500_000, list[Annotated[float, {"multipleOf": 1e-300}]]),
    (lambda: [1] * 2_000_000, Annotated[Any, {"contains": {"const": 2}}]),
    (lambda: [[[1] * 1_000] * 1_000] * 2, Annotated[Any, {"uniqueItems": True}]),
    (lambda: ["x"] * 500_000, list[Annotated[str, {"enum": [*map(str, range(1_000)), "x"]}]]),
    (lambda: [{"a": 1}] * 500_000, Annotated[Any, {"items": {"required": ["a"] * 1_000}}]),
    (lambda: " " * 49_999, Annotated[str, {"pattern": r"\s+$", "maxLength": 50_000}]),
])  # fmt: skip
def test_four_mebibytes_are_checked_or_refused_within_half_a_second(
    make: Callable[[], Any], hint: Any
) -> None:
    """[schema.bounded-depth]"""
    value = make()
    schema = schema_of(hint)
    begun = process_time()
    with contextlib.suppress(SchemaError):
        check(value, schema, "arguments")
        convert(value, hint, "arguments")
    assert process_time() - begun < 0.5


@pytest.mark.parametrize("schema", [
    {"items": {"required": list(map(str, range(1_000)))}},
    {"items": {"patternProperties": dict.fromkeys(map(str, range(1_000)), True)}},
    {"items": {"allOf": [True] * 1_000}},
    {"items": {"anyOf": [False] * 1_000}},
    {"items": {"const": {"a": 1}}},
    {"items": {"enum": [[1], {"b": 1}, {"a": 1}]}},
    {"items": {"dependentRequired": {"a": ["a"] * 1_000}}},
    {"items": {"anyOf": [{"not": {"description": "x" * 100_000}}, True]}},
    {"items": {"anyOf": [{"const": [1] * 1_000}, True]}},
])  # fmt: skip
def test_a_large_schema_costs_no_more(schema: Any) -> None:
    """[schema.bounded-depth]"""
    value = [{"a": 1}] * 90_000
    begun = process_time()
    with pytest.raises(SchemaError):
        check(value, schema)
    assert process_time() - begun < 0.5


@pytest.mark.parametrize("schema, value", [
    ({"items": {"dependentRequired": {"a": ["b"] * 1_000}}}, [{}] * 60_000),
    ({"items": {"dependentRequired": {str(i): ["b"] for i in range(1_000)}}},
     [{}] * 60_000),
    ({"items": dict.fromkeys(map(str, range(1_000))) | {"minimum": 0}}, [1] * 60_000),
    ({"items": dict.fromkeys(map(str, range(1_000)))}, [1] * 60_000),
    ({"allOf": [{"const": [[0] * 10_000]}] * 300}, [[0] * 10_000]),
])  # fmt: skip
def test_what_asks_nothing_of_a_value_costs_nothing(schema: Any, value: Any) -> None:
    """[schema.bounded-depth]"""
    begun = process_time()
    with contextlib.suppress(SchemaError):
        check(value, schema)
    assert process_time() - begun < 0.5


def test_a_text_that_is_too_long_for_its_pattern_says_what_to_do() -> None:
    schema: dict[str, Any] = {"type": "string", "pattern": "^data:"}
    text = "data:" + "x" * 100_000
    with pytest.raises(SchemaError, match='^x: a text is too long for the pattern ".data:" without maxLength$'):
        check(text, schema, "x")
    check(text, schema | {"maxLength": 1_000_000}, "x")
    with pytest.raises(SchemaError, match="^x: takes too many steps to check$"):
        check(text, {"pattern": r"\s+$", "maxLength": 1_000_000}, "x")


def test_a_union_that_takes_too_long_to_read_is_refused() -> None:
    """[limits.work] No other member may be read instead."""
    many = ["x"] * 20_000
    hint = list[date | str] | list
    with pytest.raises(SchemaError, match="^arguments: takes too many steps to check$"):
        convert(many, hint, "arguments")
    assert convert(many[:5_000], hint) == many[:5_000]

    def find(texts: list[date | str]) -> None: ...

    form = form_of(find)
    for _ in range(3):
        form.read({"texts": many[:5_000]}, "arguments")
    with pytest.raises(SchemaError, match="^arguments: takes too many steps to check$"):
        form.read({"texts": many}, "arguments")


def test_an_author_may_spend_more_on_results_of_his_own() -> None:
    value = [1] * (2 * MAX_STEPS)
    with pytest.raises(SchemaError, match="^too many steps|^takes too many steps to check$"):
        check(value, INTEGERS)
    check(value, INTEGERS, "", math.inf)


@pytest.mark.parametrize("schema", [
    {"anyOf": [{"required": [name], "properties": {"c": {"$ref": "#"}}} for name in "xyz"]},
    {"anyOf": [{"properties": {"c": {"$ref": "#"}}, "maxProperties": 0}] * 3},
    {"anyOf": [{"properties": {"c": {"$ref": "#"}}, "not": {}}] * 3},
    {"oneOf": [{"properties": {"c": {"$ref": "#"}}}, {"properties": {"c": {"$ref": "#"}}}]},
    {"oneOf": [{"properties": {"c": {"$ref": "#"}, "big": {"properties": {"q": {}}}}}] * 2},
    {"properties": {"c": {"oneOf": [{"$ref": "#"}, {"type": "null"}]}}},
    {"properties": {"c": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}},
    {"not": {"not": {"oneOf": [{"properties": {"c": {"$ref": "#"}}}, {"type": "null"}]}}},
    {"if": {"properties": {"c": {"$ref": "#"}}}, "then": {"properties": {"c": {"$ref": "#"}}}},
])  # fmt: skip
@pytest.mark.parametrize("leaf", [{}, 5, None, {"big": dict.fromkeys(map(str, range(100_000)))}])
def test_a_recursive_union_ends_quickly_and_in_few_words(schema: Any, leaf: Any) -> None:
    """[schema.bounded-depth] Two schemas a level, asked at 30 levels, would never end."""
    check_schema(schema)
    value = leaf
    for _ in range(30):
        value = {"c": value}
    begun = process_time()
    try:
        check(value, schema)
    except SchemaError as error:
        assert len(str(error)) < 1000
    assert process_time() - begun < 0.5


def test_the_words_of_a_refusal_are_few_whatever_was_sent() -> None:
    long = "x" * 1_000_000
    errors = []
    for value, schema in [
        ({long: 1}, {"additionalProperties": False}),
        (long + "y", {"const": long}),
        (1, {"anyOf": [{"const": str(i)} for i in range(10_000)]}),
        ({long: {long: {long: {long: {long: {long: {long: {long: 1}}}}}}}},
         {"additionalProperties": {"$ref": "#"}, "type": "object"}),
    ]:  # fmt: skip
        with pytest.raises(SchemaError) as caught:
            check(value, schema)
        errors.append(str(caught.value))
    with pytest.raises(SchemaError) as caught:
        convert(long, date)
    errors.append(str(caught.value))
    assert max(map(len, errors)) < 1000


@pytest.mark.parametrize("schema, place", [
    ({"$ref": "https://example.com/x"},
     "schema.$ref: 'https://example.com/x' is outside of this schema; nothing is fetched"),
    ({"$id": "x:y", "$ref": "x:y#/$defs/a", "$defs": {"a": {}}}, "schema.$ref: 'x:y#/$defs/a' is"),
    ({"items": {"$ref": "#/$defs/x"}}, "schema.items.$ref: '#/$defs/x' names no schema"),
    ({"$ref": "#nowhere"}, "schema.$ref: '#nowhere' names no schema"),
    ({"$ref": "#/required/0", "required": ["a"]}, "schema.$ref: '#/required/0' names no schema"),
    ({"$ref": 5}, "schema.$ref: expected string, got 5"),
    ({"$ref": "#/other", "other": {"minimum": "x"}}, "schema.$ref.minimum: expected number"),
    ({"properties": {"a": {"pattern": "("}}}, "schema.properties.a: '(' is no pattern"),
    ({"pattern": 5}, "schema.pattern: expected string, got 5"),
    ({"patternProperties": {"[": True}}, "schema: '[' is no pattern"),
    ({"properties": {"a": {"type": "text"}}}, "schema.properties.a.type: "),
    ({"type": []}, "schema.type: "),
    ({"type": ["string", "string"]}, "schema.type: "),
    ({"title": 5}, "schema.title: expected string, got 5"),
    ({"properties": {"a": {"description": ["a"]}}},
     "schema.properties.a.description: expected string"),
    ({"minLength": -1}, "schema.minLength: expected minimum 0, got -1"),
    ({"minimum": "x"}, 'schema.minimum: expected number, got "x"'),
    ({"exclusiveMinimum": True}, "schema.exclusiveMinimum: expected number, got true"),
    ({"required": "a"}, 'schema.required: expected array, got "a"'),
    ({"required": 3}, "schema.required: expected array, got 3"),
    ({"required": [3]}, "schema.required[0]: expected string, got 3"),
    ({"dependentRequired": {"a": "b"}}, "schema.dependentRequired.a: expected array"),
    ({"properties": {"a": 1}}, "schema.properties.a: expected object or boolean, got 1"),
    ({"properties": [1]}, "schema.properties: expected object, got an array of 1"),
    ({"items": [{}]}, "schema.items: expected object or boolean, got an array of 1"),
    ({"enum": ("a", "b")}, "schema.enum: a tuple is not a JSON value"),
    ({"pattern": "a{99999999999}"}, "schema: 'a{99999999999}' is no pattern"),
    ({"enum": "a"}, "schema.enum: expected array"),
    ({"anyOf": []}, "schema.anyOf: expected minItems 1"),
    ({"oneOf": [{}, 5]}, "schema.oneOf[1]: expected object or boolean, got 5"),
    ({"multipleOf": 0}, "schema.multipleOf: "),
    ({"uniqueItems": "yes"}, "schema.uniqueItems: expected boolean"),
    ({"items": {"$dynamicRef": "#a"}}, "schema.items.$dynamicRef: is not supported"),
    ({"unevaluatedProperties": False}, "schema.unevaluatedProperties: is not supported"),
    ({"unevaluatedItems": False}, "schema.unevaluatedItems: is not supported"),
    ({"dependentSchemas": {}}, "schema.dependentSchemas: is not supported"),
    ({"contains": {}, "minContains": 2}, "schema.minContains: is not supported"),
    ({"contains": {}, "maxContains": 2}, "schema.maxContains: is not supported"),
    ({"dependencies": {}}, "schema.dependencies: is not supported"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"}, "schema.$schema: expected enum"),
    ({"$defs": {"a": {"$id": "b"}}}, "schema.$defs.a.$id: is not supported"),
    ("text", "schema: expected object or boolean"),
])  # fmt: skip
def test_a_schema_that_cannot_work_is_refused_at_its_place(schema: Any, place: str) -> None:
    """[schema.refused-by-name] [schema.no-fetch] [schema.unsupported-dialect]"""
    with pytest.raises(SchemaError) as caught:
        check_schema(schema)
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize("schema", [
    {"$schema": "https://json-schema.org/draft/2020-12/schema"},
    {"$schema": "https://json-schema.org/draft/2020-12/schema#"},
    {"$id": "x:y", "$comment": 5, "x-mcp-header": "Region", "format": "date", "default": {"a": ()}},
    {"minLength": 2.0},
])  # fmt: skip
def test_what_demands_nothing_is_a_remark(schema: Any) -> None:
    """[schema.unknown-keyword] [schema.support-2020-12] [schema.validate-by-dialect]"""
    check_schema(schema)


def test_a_schema_nested_deeply_or_in_itself_is_looked_at_once() -> None:
    """[schema.bounded-depth]"""
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"items": deep}
    check_schema(deep)
    deep["items"] = deep
    check_schema(deep)


def test_a_schema_handed_out_is_the_callers_own() -> None:
    schema_of(str)["title"] = "changed"
    assert schema_of(str) == STRING
