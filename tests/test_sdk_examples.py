"""Programs as the official SDK's documentation shows them, with only the import changed.

Each test holds a small server in the shape of an official example (package `mcp` 2.x) and calls it
over HTTP with the official client, once with a session and once as 2026-07-28 has it. Where the
official example says `ctx.request_context.lifespan_context`, ours says `ctx.lifespan_context`.
What no change of an import can mend stands in the README's table "official SDK -> here"; the last
section tries the right-hand column of that table.
"""

import asyncio
import base64
import functools
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict

import pytest

from streamhttp_mcp import (
    INVALID_PARAMS,
    Audio,
    Context,
    Image,
    MCPServer,
    ToolError,
    ToolResult,
    text_of,
)
from streamhttp_mcp import RPCError as MCPError
from streamhttp_mcp import assistant as AssistantMessage
from streamhttp_mcp import user as UserMessage

pytestmark = [
    pytest.mark.usefixtures("peer_v2"),
    pytest.mark.filterwarnings("ignore:The (logging|sampling|roots) capability is deprecated"),
]

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0@\x1f\0\0\x01\0\x08\0data\0\0\0\0"


@pytest.fixture(params=["legacy", "auto"])
def mode(request):
    """How the official client connects: with a session, or as 2026-07-28 has it."""
    return request.param


def spoken(conversation):
    """Make a test of a coroutine function. The official client takes a second to be imported."""

    @functools.wraps(conversation)
    def test(**fixtures):
        asyncio.run(asyncio.wait_for(conversation(**fixtures), 30))

    return test


@asynccontextmanager
async def connected(mcp: MCPServer, mode: str, **callbacks: Any):
    """Serve on a free port, and connect the official client."""
    from mcp import Client

    try:
        async with mcp.serving() as url, Client(url, mode=mode, **callbacks) as client:
            yield client
    except BaseExceptionGroup as group:  # the client's task groups wrap what the test raised
        raise innermost(group) from None


def innermost(error: BaseException) -> BaseException:
    """The exception at the heart of groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def wire(model: Any) -> Any:
    """What the client received, under the names of the wire."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def tool_definition(client: Any, name: str) -> dict[str, Any]:
    listed = await client.list_tools()
    return next(wire(tool) for tool in listed.tools if tool.name == name)


async def text(client: Any, tool: str, arguments: dict[str, Any] | None = None) -> str:
    """Call a tool that answers with one text."""
    result = await client.call_tool(tool, arguments or {})
    [block] = result.content
    assert not result.is_error, block.text
    return block.text


async def failure(client: Any, tool: str, arguments: dict[str, Any] | None = None) -> str:
    """Call a tool that fails, and return what the model reads."""
    result = await client.call_tool(tool, arguments or {})
    assert result.is_error
    assert result.structured_content is None
    return result.content[0].text


async def read(client: Any, uri: str) -> dict[str, Any]:
    """Read a resource that has one content."""
    result = await client.read_resource(uri)
    [content] = result.contents
    return wire(content)


# --- Tools ---------------------------------------------------------------------------------------


@spoken
async def test_first_server_has_a_tool_a_templated_resource_and_a_prompt(mode):
    """[tool.call] [resource.templates] [prompt.get]"""
    mcp = MCPServer("First")

    @mcp.tool()
    def multiply(a: int, b: int) -> int:
        """Multiply two numbers."""
        return a * b

    @mcp.resource("welcome://{name}")
    def welcome(name: str) -> str:
        """Welcome somebody by name."""
        return f"Welcome, {name}."

    @mcp.prompt()
    def write_card(name: str, tone: str = "warm") -> str:
        """Have a card written."""
        return f"Write a {tone} card for {name}."

    async with connected(mcp, mode) as client:
        result = await client.call_tool("multiply", {"a": 6, "b": 7})
        assert result.structured_content == {"result": 42}
        assert not result.is_error
        assert (await read(client, "welcome://Ada"))["text"] == "Welcome, Ada."
        prompt = await client.get_prompt("write_card", {"name": "Ada"})
        assert prompt.messages[0].content.text == "Write a warm card for Ada."


@spoken
async def test_hints_and_defaults_are_the_input_schema_and_the_docstring_is_the_description(mode):
    """[tool.definition] [tool.input-schema]"""
    mcp = MCPServer("Garden")

    @mcp.tool()
    def find_plants(name: str, limit: int = 5) -> str:
        """Find plants by their name."""
        return f"{limit} plants like {name!r}"

    async with connected(mcp, mode) as client:
        tool = await tool_definition(client, "find_plants")
        assert tool["description"] == "Find plants by their name."
        schema = tool["inputSchema"]
        assert schema["required"] == ["name"]
        assert schema["properties"]["name"]["type"] == "string"
        assert schema["properties"]["limit"] == {"type": "integer", "default": 5}
        assert await text(client, "find_plants", {"name": "mint"}) == "5 plants like 'mint'"
        assert "name" in await failure(client, "find_plants", {"limit": 3})
        assert "limit" in await failure(client, "find_plants", {"name": "mint", "limit": "many"})


@spoken
async def test_decorators_without_parentheses_register_just_the_same(mode):
    """[tool.call] [prompt.get]"""
    mcp = MCPServer("Garden")

    @mcp.tool
    def water(plant: str) -> str:
        return f"watered {plant}"

    @mcp.prompt
    def plan(season: str) -> str:
        return f"Plan my garden for {season}."

    async with connected(mcp, mode) as client:
        assert water("fern") == "watered fern"
        assert await text(client, "water", {"plant": "mint"}) == "watered mint"
        prompt = await client.get_prompt("plan", {"season": "spring"})
        assert prompt.messages[0].content.text == "Plan my garden for spring."


@spoken
async def test_field_of_pydantic_in_annotated_describes_and_bounds_an_argument(mode):
    """[tool.definition] [tool.validate-inputs]"""
    from pydantic import Field

    mcp = MCPServer("Garden")

    @mcp.tool()
    def find_plants(
        name: Annotated[str, Field(description="A part of the name.", min_length=2)],
        limit: Annotated[int, Field(ge=1, le=50, description="At most so many.")] = 5,
        light: Literal["sun", "shade"] | None = None,
    ) -> str:
        """Find plants by their name."""
        where = f" for {light}" if light else ""
        return f"{limit} plants like {name!r}{where}"

    async with connected(mcp, mode) as client:
        schema = (await tool_definition(client, "find_plants"))["inputSchema"]
        name, limit = schema["properties"]["name"], schema["properties"]["limit"]
        assert (name["type"], name["description"]) == ("string", "A part of the name.")
        assert name["minLength"] == 2
        assert (limit["type"], limit["description"]) == ("integer", "At most so many.")
        assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 50, 5)
        assert schema["required"] == ["name"]
        found = await text(client, "find_plants", {"name": "mint", "limit": 50, "light": "shade"})
        assert found == "50 plants like 'mint' for shade"
        absent = await text(client, "find_plants", {"name": "mint", "light": None})
        assert absent == "5 plants like 'mint'"
        assert "limit" in await failure(client, "find_plants", {"name": "mint", "limit": 51})
        assert "limit" in await failure(client, "find_plants", {"name": "mint", "limit": 0})
        assert "name" in await failure(client, "find_plants", {"name": "m"})
        assert "light" in await failure(client, "find_plants", {"name": "mint", "light": "moon"})


@spoken
async def test_field_of_pydantic_as_a_default_gives_the_default_and_the_bounds(mode):
    """[tool.definition] [tool.validate-inputs]"""
    from pydantic import Field

    mcp = MCPServer("Garden")

    @mcp.tool()
    def find_plants(
        name: str = Field(..., description="A part of the name."),
        code: str = Field("A-1", pattern="^[A-Z]-[0-9]$"),
        limit: int = Field(default=3, ge=1, lt=10),
        height: float = Field(default=1.5, gt=0),
    ) -> str:
        return f"{name} {code} {limit} {height}"

    async with connected(mcp, mode) as client:
        schema = (await tool_definition(client, "find_plants"))["inputSchema"]
        properties = schema["properties"]
        assert schema["required"] == ["name"]
        assert properties["name"]["description"] == "A part of the name."
        assert properties["code"] == {
            "type": "string", "default": "A-1", "pattern": "^[A-Z]-[0-9]$"}  # fmt: skip
        assert properties["limit"] == {
            "type": "integer", "default": 3, "minimum": 1, "exclusiveMaximum": 10}  # fmt: skip
        assert properties["height"]["exclusiveMinimum"] == 0
        assert await text(client, "find_plants", {"name": "mint"}) == "mint A-1 3 1.5"
        assert "name" in await failure(client, "find_plants")
        assert "code" in await failure(client, "find_plants", {"name": "mint", "code": "a1"})
        assert "limit" in await failure(client, "find_plants", {"name": "mint", "limit": 10})
        assert "height" in await failure(client, "find_plants", {"name": "mint", "height": 0})


@spoken
async def test_model_of_pydantic_as_an_argument_arrives_as_an_instance(mode):
    """[tool.validate-inputs]"""
    from pydantic import BaseModel, Field

    mcp = MCPServer("Garden")

    class Plant(BaseModel):
        name: str
        height: float = Field(gt=0, description="In metres.")

    @mcp.tool()
    def add_plant(plant: Plant) -> str:
        """Add a plant."""
        assert isinstance(plant, Plant)
        return f"{plant.name} is {plant.height} m high"

    async with connected(mcp, mode) as client:
        schema = (await tool_definition(client, "add_plant"))["inputSchema"]
        assert schema["required"] == ["plant"]
        assert "In metres." in json.dumps(schema)
        added = await text(client, "add_plant", {"plant": {"name": "Fern", "height": 0.5}})
        assert added == "Fern is 0.5 m high"
        bad = {"plant": {"name": "Fern", "height": -1}}
        assert "height" in await failure(client, "add_plant", bad)
        assert "height" in await failure(client, "add_plant", {"plant": {"name": "Fern"}})


@spoken
async def test_typed_dict_dataclass_and_named_tuple_are_arguments(mode):
    """[tool.validate-inputs]"""
    mcp = MCPServer("Garden")

    class Bed(TypedDict):
        width: float
        note: NotRequired[str]

    @dataclass
    class Seed:
        name: str
        count: int = 10

    class Place(NamedTuple):
        row: int
        column: int

    @mcp.tool()
    def sow(bed: Bed, seeds: list[Seed], place: Place) -> str:
        names = ", ".join(f"{seed.count} {seed.name}" for seed in seeds)
        return f"{names} in {bed['width']} m at {place.row}/{place.column}"

    async with connected(mcp, mode) as client:
        arguments = {
            "bed": {"width": 2.5},
            "seeds": [{"name": "pea"}, {"name": "bean", "count": 3}],
            "place": {"row": 1, "column": 2},
        }
        assert await text(client, "sow", arguments) == "10 pea, 3 bean in 2.5 m at 1/2"


@spoken
async def test_title_and_annotations_travel_with_the_tool(mode):
    """[tool.definition] The annotations of `mcp.types` become plain data, and so do dicts."""
    from mcp.types import ToolAnnotations

    mcp = MCPServer("Garden")

    @mcp.tool(
        name="find",
        title="Find plants",
        description="Searches the garden.",
        annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )
    def find_plants(name: str) -> str:
        return name

    @mcp.tool(annotations={"destructiveHint": True})
    def remove_plant(name: str) -> str:
        return name

    async with connected(mcp, mode) as client:
        tool = await tool_definition(client, "find")
        assert (tool["title"], tool["description"]) == ("Find plants", "Searches the garden.")
        assert tool["annotations"] == {"readOnlyHint": True, "openWorldHint": False}
        tool = await tool_definition(client, "remove_plant")
        assert tool["annotations"] == {"destructiveHint": True}


# --- Resources -----------------------------------------------------------------------------------


@spoken
async def test_resource_is_listed_and_read_with_its_mime_type(mode):
    """[resource.read] [resource.binary-encoded] Text, data as JSON, and bytes as a blob."""
    mcp = MCPServer("Garden")

    @mcp.resource("guide://start", mime_type="text/markdown")
    def guide() -> str:
        """How to begin."""
        return "# Start\n\nDig a hole."

    @mcp.resource("stats://garden", title="Counts", mime_type="application/json")
    def counts() -> dict[str, int]:
        return {"plants": 12, "beds": 3}

    @mcp.resource("photo://gate", mime_type="image/png")
    async def photo() -> bytes:
        return PNG

    @mcp.resource("config://garden")
    def config() -> str:
        return "soil=sand"

    async with connected(mcp, mode) as client:
        listed = {entry.uri: wire(entry) for entry in (await client.list_resources()).resources}
        assert listed["guide://start"] == {
            "uri": "guide://start",
            "name": "guide",
            "description": "How to begin.",
            "mimeType": "text/markdown",
        }
        assert listed["stats://garden"]["title"] == "Counts"
        content = await read(client, "guide://start")
        assert (content["text"], content["mimeType"]) == ("# Start\n\nDig a hole.", "text/markdown")
        content = await read(client, "stats://garden")
        assert json.loads(content["text"]) == {"plants": 12, "beds": 3}
        assert content["mimeType"] == "application/json"
        content = await read(client, "photo://gate")
        assert (base64.b64decode(content["blob"]), content["mimeType"]) == (PNG, "image/png")
        assert (await read(client, "config://garden"))["mimeType"] == "text/plain"


@spoken
async def test_variables_of_a_template_are_the_parameters_and_have_their_types(mode):
    """[resource.templates] [uri.percent-decoded]"""
    mcp = MCPServer("Garden")

    @mcp.resource("plants://{name}/profile")
    def profile(name: str) -> str:
        """What we know of a plant."""
        return f"{name} likes sun"

    @mcp.resource("orders://{number}")
    def order(number: int) -> dict[str, int]:
        return {"number": number, "next": number + 1}

    @mcp.resource("manual://{+path}")
    def manual(path: str) -> str:
        return f"the page {path}"

    async with connected(mcp, mode) as client:
        templates = (await client.list_resource_templates()).resource_templates
        assert [template.uri_template for template in templates] == [
            "plants://{name}/profile",
            "orders://{number}",
            "manual://{+path}",
        ]
        assert (await client.list_resources()).resources == []
        assert (await read(client, "plants://mint/profile"))["text"] == "mint likes sun"
        assert (await read(client, "plants://wild%20mint/profile"))["text"] == "wild mint likes sun"
        content = await read(client, "orders://7")
        assert json.loads(content["text"]) == {"number": 7, "next": 8}
        assert (await read(client, "manual://tools/saw.md"))["text"] == "the page tools/saw.md"


@spoken
async def test_template_variable_that_climbs_is_not_read(mode):
    """[resource.validate-uri] The official SDK refuses these, too."""
    from mcp import MCPError as OfficialError

    mcp = MCPServer("Garden")
    asked = []

    @mcp.resource("manual://{+path}")
    def manual(path: str) -> str:
        asked.append(path)
        return path

    async with connected(mcp, mode) as client:
        for uri in ("manual://../secret", "manual://a/..%2Fsecret", "manual:///etc/passwd"):
            with pytest.raises(OfficialError):
                await client.read_resource(uri)
    assert asked == []


@spoken
async def test_resource_that_is_not_there_is_a_protocol_error(mode):
    """[resource.not-found] A handler raises RPCError; the uri is in the message or the data."""
    from mcp import MCPError as OfficialError

    mcp = MCPServer("Garden")

    @mcp.resource("plants://{name}")
    def plant(name: str) -> str:
        if name != "mint":
            raise MCPError(INVALID_PARAMS, f"no plant {name!r}", {"uri": f"plants://{name}"})
        return "green"

    async with connected(mcp, mode) as client:
        assert (await read(client, "plants://mint"))["text"] == "green"
        with pytest.raises(OfficialError) as raised:
            await client.read_resource("plants://rose")
        error = raised.value
        assert (error.code, error.message) == (INVALID_PARAMS, "no plant 'rose'")
        assert error.data == {"uri": "plants://rose"}
        with pytest.raises(OfficialError) as raised:
            await client.read_resource("nothing://here")
        assert raised.value.code == (-32002 if mode == "legacy" else INVALID_PARAMS)
        assert "nothing://here" in raised.value.message


# --- Prompts -------------------------------------------------------------------------------------


@spoken
async def test_prompt_is_listed_with_described_arguments_and_filled_in(mode):
    """[prompt.get] [prompt.invalid-params]"""
    from mcp import MCPError as OfficialError
    from pydantic import Field

    mcp = MCPServer("Writer")

    @mcp.prompt(title="Letter")
    def letter(
        to: Annotated[str, Field(description="Who gets the letter.")],
        tone: Annotated[str, Field(description="How it sounds.")] = "friendly",
    ) -> str:
        """Write a letter."""
        return f"Write a {tone} letter to {to}."

    async with connected(mcp, mode) as client:
        [prompt] = (await client.list_prompts()).prompts
        assert wire(prompt) == {
            "name": "letter",
            "title": "Letter",
            "description": "Write a letter.",
            "arguments": [
                {"name": "to", "description": "Who gets the letter.", "required": True},
                {"name": "tone", "description": "How it sounds.", "required": False},
            ],
        }
        result = await client.get_prompt("letter", {"to": "Ada"})
        [message] = result.messages
        assert (message.role, message.content.text) == ("user", "Write a friendly letter to Ada.")
        with pytest.raises(OfficialError, match="to"):
            await client.get_prompt("letter", {})


@spoken
async def test_prompt_returns_messages_of_both_roles(mode):
    """[prompt.get] `UserMessage` and `AssistantMessage` are imported under these names above."""
    mcp = MCPServer("Writer")

    @mcp.prompt()
    def fix(error: str) -> list[dict[str, Any]]:
        """Begin to look for an error."""
        return [
            UserMessage("My program fails:"),
            UserMessage(error),
            AssistantMessage("What did you change last?"),
        ]

    @mcp.prompt()
    async def plain_parts(error: str):
        return [error, {"role": "assistant", "content": "Tell me more."}]

    async with connected(mcp, mode) as client:
        result = await client.get_prompt("fix", {"error": "KeyError"})
        assert [(message.role, message.content.text) for message in result.messages] == [
            ("user", "My program fails:"),
            ("user", "KeyError"),
            ("assistant", "What did you change last?"),
        ]
        result = await client.get_prompt("plain_parts", {"error": "KeyError"})
        assert [(message.role, message.content.text) for message in result.messages] == [
            ("user", "KeyError"),
            ("assistant", "Tell me more."),
        ]


@spoken
async def test_prompt_carries_an_image_and_a_document(mode, tmp_path):
    """[prompt.media] [prompt.embedded]"""
    mcp = MCPServer("Writer")
    (tmp_path / "plan.png").write_bytes(PNG)

    @mcp.prompt()
    def explain(part: str) -> list[dict[str, Any]]:
        """Explain a part of the plan."""
        rules = {"uri": "rules://all", "mimeType": "text/markdown", "text": "# Rules"}
        return [
            UserMessage(Image(path=tmp_path / "plan.png")),
            UserMessage({"type": "resource", "resource": rules}),
            UserMessage(f"Where is the {part}?"),
        ]

    async with connected(mcp, mode) as client:
        image, document, question = (await client.get_prompt("explain", {"part": "gate"})).messages
        assert (image.content.type, image.content.mime_type) == ("image", "image/png")
        assert base64.b64decode(image.content.data) == PNG
        assert document.content.resource.text == "# Rules"
        assert question.content.text == "Where is the gate?"


# --- Structured output ---------------------------------------------------------------------------


@spoken
async def test_return_hint_is_the_output_schema_and_the_value_is_structured_content(mode):
    """[tool.output-conforms] [tool.structured-object] An object stands as it is."""
    from pydantic import BaseModel, Field

    mcp = MCPServer("Weather")

    class Model(BaseModel):
        degrees: float = Field(description="In Celsius.")
        sky: str

    class Typed(TypedDict):
        degrees: float
        sky: str

    @dataclass
    class Data:
        degrees: float
        sky: str

    @mcp.tool()
    def model(city: str) -> Model:
        return Model(degrees=16.5, sky="grey")

    @mcp.tool()
    def typed(city: str) -> Typed:
        return Typed(degrees=16.5, sky="grey")

    @mcp.tool()
    def data(city: str) -> Data:
        return Data(degrees=16.5, sky="grey")

    @mcp.tool()
    def free(city: str) -> dict[str, float]:
        return {"Oslo": -3.5, "Rome": 21.0}

    async with connected(mcp, mode) as client:
        for name in ("model", "typed", "data"):
            schema = (await tool_definition(client, name))["outputSchema"]
            assert schema["type"] == "object"
            assert schema["properties"]["degrees"]["type"] == "number"
            assert sorted(schema["required"]) == ["degrees", "sky"]
            result = await client.call_tool(name, {"city": "Oslo"})
            assert result.structured_content == {"degrees": 16.5, "sky": "grey"}
            assert json.loads(result.content[0].text) == result.structured_content
        assert "In Celsius." in json.dumps(await tool_definition(client, "model"))
        result = await client.call_tool("free", {"city": ""})
        assert result.structured_content == {"Oslo": -3.5, "Rome": 21.0}


@spoken
async def test_number_or_list_is_wrapped_under_result(mode):
    """[tool.structured-object]"""
    from pydantic import BaseModel

    mcp = MCPServer("Weather")

    class Day(BaseModel):
        degrees: float

    @mcp.tool()
    def temperature(city: str) -> int:
        return 17

    @mcp.tool()
    def forecast(city: str, days: int) -> list[Day]:
        return [Day(degrees=16 + day) for day in range(days)]

    @mcp.tool()
    def cities() -> list[str]:
        return ["Oslo", "Rome"]

    async with connected(mcp, mode) as client:
        result = await client.call_tool("temperature", {"city": "Oslo"})
        assert result.structured_content == {"result": 17}
        assert result.content[0].text == "17"
        schema = (await tool_definition(client, "temperature"))["outputSchema"]
        assert schema["properties"]["result"]["type"] == "integer"
        result = await client.call_tool("forecast", {"city": "Oslo", "days": 2})
        assert result.structured_content == {"result": [{"degrees": 16}, {"degrees": 17}]}
        assert (await tool_definition(client, "forecast"))["outputSchema"]["type"] == "object"
        result = await client.call_tool("cities", {})
        assert "Oslo" in result.content[0].text


@spoken
async def test_result_that_breaks_its_promise_fails_that_call_alone(mode):
    """[tool.output-conforms] A member that is missing never reaches the client as data."""
    from pydantic import BaseModel

    mcp = MCPServer("Weather")
    upstream = {"Oslo": '{"degrees": 16.5}', "Rome": '{"degrees": 21.0, "sky": "blue"}'}

    class Report(BaseModel):
        degrees: float
        sky: str

    @mcp.tool()
    def report(city: str) -> Report:
        return json.loads(upstream[city])

    async with connected(mcp, mode) as client:
        assert "sky" in await failure(client, "report", {"city": "Oslo"})
        result = await client.call_tool("report", {"city": "Rome"})
        assert result.structured_content == {"degrees": 21.0, "sky": "blue"}


@spoken
async def test_return_hint_without_a_schema_means_no_output_schema(mode):
    """[tool.definition] The tool registers, and its neighbours stay listed."""
    mcp = MCPServer("Weather")

    class Station:
        def __init__(self, name):
            self.name = name

        def __str__(self):
            return f"station {self.name}"

    @mcp.tool()
    def station(name: str) -> Station:
        return Station(name)

    @mcp.tool()
    def station_name(name: str) -> Station:
        return str(Station(name))

    async with connected(mcp, mode) as client:
        assert "outputSchema" not in await tool_definition(client, "station")
        assert await text(client, "station_name", {"name": "Nord"}) == "station Nord"


# --- Progress ------------------------------------------------------------------------------------


@spoken
async def test_progress_reaches_the_callback_before_the_result(mode):
    """[progress.increases] With a total, and without one where nobody knows it."""
    mcp = MCPServer("Garden")

    async def seeds_of(packet: str) -> AsyncIterator[str]:
        for name in ("pea", "bean", "kale"):
            yield f"{packet}/{name}"

    @mcp.tool()
    async def plant_all(names: list[str], ctx: Context) -> str:
        """Plant one after the other."""
        for done, name in enumerate(names, start=1):
            await ctx.report_progress(done, total=len(names), message=f"planted {name}")
        return f"planted {len(names)}"

    @mcp.tool()
    async def empty_packet(packet: str, ctx: Context) -> str:
        count = 0
        async for seed in seeds_of(packet):
            count += 1
            await ctx.report_progress(count, message=seed)
        return f"sowed {count}"

    @mcp.tool()
    async def fractions(ctx: Context, steps: int = 4) -> str:
        for step in range(steps):
            await ctx.report_progress(progress=(step + 1) / steps, total=1.0)
        return "done"

    seen = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    async with connected(mcp, mode) as client:
        names = ["pea", "bean"]
        result = await client.call_tool("plant_all", {"names": names}, progress_callback=note)
        assert result.content[0].text == "planted 2"
        assert seen == [(1, 2, "planted pea"), (2, 2, "planted bean")]
        seen.clear()
        await client.call_tool("empty_packet", {"packet": "p"}, progress_callback=note)
        assert seen == [(1, None, "p/pea"), (2, None, "p/bean"), (3, None, "p/kale")]
        seen.clear()
        await client.call_tool("fractions", {}, progress_callback=note)
        assert [progress for progress, _, _ in seen] == [0.25, 0.5, 0.75, 1.0]
        seen.clear()
        # A client that did not ask for progress gets the result alone.
        assert await text(client, "plant_all", {"names": names}) == "planted 2"
        assert seen == []


# --- Elicitation ---------------------------------------------------------------------------------


def answering(action: str, content: dict[str, Any] | None = None):
    """A callback of the client that always answers so, and the list of what it was asked."""
    from mcp.types import ElicitResult

    asked: list[dict[str, Any]] = []

    async def callback(context, params):
        asked.append(wire(params))
        return ElicitResult(action=action, content=content)

    return callback, asked


def bistro() -> MCPServer:
    from pydantic import BaseModel, Field

    mcp = MCPServer("Bistro")

    class OtherDay(BaseModel):
        agree: bool = Field(description="Take another day?")
        day: str = Field(default="Tuesday", description="Which day.")

    @mcp.tool()
    async def reserve(day: str, guests: int, ctx: Context) -> str:
        """Reserve a table."""
        if day != "Monday":
            return f"A table for {guests} on {day}."
        result = await ctx.elicit(
            message=f"No table for {guests} on {day}. Another day?",
            schema=OtherDay,
        )
        if result.action == "accept" and result.data.agree:
            assert isinstance(result.data, OtherDay)
            return await reserve(result.data.day, guests, ctx)
        return f"No table ({result.action})."

    return mcp


@spoken
async def test_form_is_asked_by_the_schema_of_a_model_and_read_as_its_instance(mode):
    """[elicit.form-request] [elicit.validate-received]"""
    callback, asked = answering("accept", {"agree": True, "day": "Friday"})
    async with connected(bistro(), mode, elicitation_callback=callback) as client:
        reserved = await text(client, "reserve", {"day": "Sunday", "guests": 2})
        assert reserved == "A table for 2 on Sunday."
        assert asked == []
        reserved = await text(client, "reserve", {"day": "Monday", "guests": 2})
        assert reserved == "A table for 2 on Friday."
    [question] = asked
    assert question["message"] == "No table for 2 on Monday. Another day?"
    schema = question["requestedSchema"]
    assert schema["required"] == ["agree"]
    assert schema["properties"]["agree"]["type"] == "boolean"
    assert schema["properties"]["agree"]["description"] == "Take another day?"
    assert schema["properties"]["day"]["default"] == "Tuesday"


@spoken
async def test_form_member_that_is_left_out_has_its_default(mode):
    """[elicit.validate-received]"""
    callback, _ = answering("accept", {"agree": True})
    async with connected(bistro(), mode, elicitation_callback=callback) as client:
        reserved = await text(client, "reserve", {"day": "Monday", "guests": 4})
        assert reserved == "A table for 4 on Tuesday."


@pytest.mark.parametrize("action", ["decline", "cancel"])
@spoken
async def test_user_may_decline_or_cancel_a_form(mode, action):
    """[elicit.actions]"""
    callback, _ = answering(action)
    async with connected(bistro(), mode, elicitation_callback=callback) as client:
        answer = await text(client, "reserve", {"day": "Monday", "guests": 2})
        assert answer == f"No table ({action})."


@spoken
async def test_url_is_asked_with_its_id(mode):
    """[elicit.url-request]"""
    mcp = MCPServer("Bistro")

    @mcp.tool()
    async def deposit(booking: str, ctx: Context) -> str:
        """Pay the deposit of a booking."""
        result = await ctx.elicit_url(
            message="A deposit of 20 EUR is due.",
            url=f"https://pay.example.com/{booking}",
            elicitation_id=f"deposit-{booking}",
        )
        return "Go on in your browser." if result.action == "accept" else "No deposit."

    callback, asked = answering("accept")
    async with connected(mcp, mode, elicitation_callback=callback) as client:
        assert await text(client, "deposit", {"booking": "b7"}) == "Go on in your browser."
    [question] = asked
    assert (question["mode"], question["url"]) == ("url", "https://pay.example.com/b7")
    assert question["message"] == "A deposit of 20 EUR is due."


@spoken
async def test_client_without_an_elicitation_callback_gets_an_error_that_names_it(mode):
    """[capability.missing] [operation.negotiated-capabilities]"""
    from mcp import MCPError as OfficialError

    async with connected(bistro(), mode) as client:
        if mode == "legacy":
            told = await failure(client, "reserve", {"day": "Monday", "guests": 2})
        else:
            with pytest.raises(OfficialError) as raised:
                await client.call_tool("reserve", {"day": "Monday", "guests": 2})
            told = raised.value.message
        assert "elicitation" in told


# --- Media ---------------------------------------------------------------------------------------


@spoken
async def test_image_and_audio_come_from_a_file_or_from_bytes(mode, tmp_path):
    """[tool.content-types]"""
    mcp = MCPServer("Brand")
    (tmp_path / "logo.png").write_bytes(PNG)
    (tmp_path / "photo.JPG").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "bell.wav").write_bytes(WAV)

    @mcp.tool()
    def logo() -> Image:
        """The logo."""
        return Image(path=tmp_path / "logo.png")

    @mcp.tool()
    def photo() -> Image:
        return Image(path=str(tmp_path / "photo.JPG"))

    @mcp.tool()
    def drawn() -> Image:
        return Image(data=PNG, format="png")

    @mcp.tool()
    def bell() -> Audio:
        return Audio(path=tmp_path / "bell.wav")

    @mcp.tool()
    async def song() -> Audio:
        return Audio(data=b"ID3", format="mp3")

    async with connected(mcp, mode) as client:
        expected = {
            "logo": ("image", "image/png", PNG),
            "photo": ("image", "image/jpeg", b"\xff\xd8\xff"),
            "drawn": ("image", "image/png", PNG),
            "bell": ("audio", "audio/wav", WAV),
        }
        for name, (kind, mime_type, data) in expected.items():
            result = await client.call_tool(name, {})
            [block] = result.content
            assert (block.type, block.mime_type) == (kind, mime_type)
            assert base64.b64decode(block.data) == data
            assert result.structured_content is None
            assert "outputSchema" not in await tool_definition(client, name)
        [block] = (await client.call_tool("song", {})).content
        assert (block.type, base64.b64decode(block.data)) == ("audio", b"ID3")


@spoken
async def test_list_of_text_image_and_data_becomes_a_block_each(mode):
    """[tool.content-types] With no return hint, or with one that says only `list`."""
    mcp = MCPServer("Brand")

    @mcp.tool()
    def card():
        return ["Our logo", Image(data=PNG), {"colour": "#1d4ed8"}]

    @mcp.tool()
    def card_as_list() -> list:
        return ["Our logo", Image(data=PNG)]

    async with connected(mcp, mode) as client:
        caption, image, data = (await client.call_tool("card", {})).content
        assert (caption.text, image.type) == ("Our logo", "image")
        assert json.loads(data.text) == {"colour": "#1d4ed8"}
        caption, image = (await client.call_tool("card_as_list", {})).content
        assert (caption.text, image.type) == ("Our logo", "image")


@spoken
async def test_icons_are_shown_with_what_they_decorate(mode):
    """[tool.definition] Icons of `mcp.types` become plain data, and so do dicts."""
    from mcp.types import Icon

    logo = Icon(src="https://example.com/logo.png", mime_type="image/png", sizes=["48x48"])
    leaf = {"src": "https://example.com/leaf.svg", "mimeType": "image/svg+xml"}
    mcp = MCPServer("Brand", icons=[logo])

    @mcp.tool(icons=[leaf])
    def colours() -> list[str]:
        return ["#1d4ed8"]

    @mcp.resource("brand://rules", icons=[logo])
    def rules() -> str:
        return "Use blue."

    @mcp.prompt(icons=[logo, leaf])
    def slogan() -> str:
        return "Write a slogan."

    shown = {"src": "https://example.com/logo.png", "mimeType": "image/png", "sizes": ["48x48"]}
    async with connected(mcp, mode) as client:
        assert wire(client.server_info)["icons"] == [shown]
        assert (await tool_definition(client, "colours"))["icons"] == [leaf]
        [resource] = (await client.list_resources()).resources
        assert wire(resource)["icons"] == [shown]
        [prompt] = (await client.list_prompts()).prompts
        assert wire(prompt)["icons"] == [shown, leaf]


# --- Logging -------------------------------------------------------------------------------------


@spoken
async def test_standard_logging_of_a_handler_stays_on_the_server(mode, caplog):
    """[log.message]"""
    mcp = MCPServer("Garden")
    logger = logging.getLogger("garden")
    caplog.set_level("INFO", "garden")

    @mcp.tool()
    def find(name: str) -> str:
        logger.info("looking for %r", name)
        return f"found {name}"

    received = []

    async def note(params) -> None:
        received.append(params)

    async with connected(mcp, mode, logging_callback=note, log_level="debug") as client:
        result = await client.call_tool("find", {"name": "mint"})
        assert [block.text for block in result.content] == ["found mint"]
    assert "looking for 'mint'" in caplog.messages
    assert received == []


@spoken
async def test_log_messages_of_the_context_reach_the_logging_callback(mode):
    """[log.message] [log.set-level] [log.level-asked]"""
    mcp = MCPServer("Garden")

    @mcp.tool()
    async def dig(place: str, ctx: Context) -> str:
        await ctx.debug(f"looking at {place}")
        await ctx.info("digging")
        await ctx.warning({"stones": 3}, logger_name="spade")
        await ctx.error("the spade broke")
        await ctx.log("notice", "resting")
        return "dug"

    received = []

    async def note(params) -> None:
        received.append((params.level, params.data, params.logger))

    everything = [
        ("debug", "looking at bed", None),
        ("info", "digging", None),
        ("warning", {"stones": 3}, "spade"),
        ("error", "the spade broke", None),
        ("notice", "resting", None),
    ]
    async with connected(mcp, mode, logging_callback=note, log_level="debug") as client:
        if mode == "legacy":
            await client.set_logging_level("debug")
        assert await text(client, "dig", {"place": "bed"}) == "dug"
        assert received == everything
    received.clear()
    async with connected(mcp, mode, logging_callback=note, log_level="warning") as client:
        if mode == "legacy":
            await client.set_logging_level("warning")
        assert await text(client, "dig", {"place": "bed"}) == "dug"
        assert [level for level, _, _ in received] == ["warning", "error"]


# --- Errors --------------------------------------------------------------------------------------


@spoken
async def test_exception_of_a_tool_is_an_error_that_the_model_reads(mode):
    """[tool.execution-error] [tool.input-error] Its class, too, where the text says little."""
    mcp = MCPServer("Garden")
    plants = {"mint": "green"}

    @mcp.tool()
    def colour(name: str) -> str:
        if name not in plants:
            raise ValueError(f"there is no plant {name!r}")
        return plants[name]

    @mcp.tool()
    def careless(name: str) -> str:
        return plants[name]

    @mcp.tool()
    async def foreseen() -> str:
        raise ToolError("the garden is closed")

    async with connected(mcp, mode) as client:
        assert await text(client, "colour", {"name": "mint"}) == "green"
        assert "there is no plant 'rose'" in await failure(client, "colour", {"name": "rose"})
        assert "KeyError: 'rose'" in await failure(client, "careless", {"name": "rose"})
        assert "the garden is closed" in await failure(client, "foreseen")
        assert "name" in await failure(client, "colour", {"name": 7})


@spoken
async def test_protocol_error_of_a_tool_fails_the_request_with_code_message_and_data(mode):
    """[error.code-message] `MCPError` is imported above as another name of RPCError."""
    from mcp import MCPError as OfficialError

    mcp = MCPServer("Garden")

    @mcp.tool()
    def colour(name: str) -> str:
        raise MCPError(code=INVALID_PARAMS, message=f"no plant {name!r}", data={"name": name})

    async with connected(mcp, mode) as client:
        with pytest.raises(OfficialError) as raised:
            await client.call_tool("colour", {"name": "rose"})
        error = raised.value
        assert (error.code, error.message) == (INVALID_PARAMS, "no plant 'rose'")
        assert error.data == {"name": "rose"}


@spoken
async def test_error_of_a_resource_or_prompt_is_a_protocol_error_without_inner_details(mode):
    """[resource.read] [prompt.get] The server goes on."""
    from mcp import MCPError as OfficialError

    mcp = MCPServer("Garden")

    @mcp.resource("broken://thing")
    def broken() -> str:
        raise OSError("/secret/path")

    @mcp.prompt()
    def broken_prompt() -> str:
        raise OSError("/secret/path")

    @mcp.resource("whole://thing")
    def whole() -> str:
        return "whole"

    async with connected(mcp, mode) as client:
        with pytest.raises(OfficialError) as raised:
            await client.read_resource("broken://thing")
        assert "/secret/path" not in raised.value.message
        with pytest.raises(OfficialError) as raised:
            await client.get_prompt("broken_prompt")
        assert "/secret/path" not in raised.value.message
        assert (await read(client, "whole://thing"))["text"] == "whole"


# --- Lifespan ------------------------------------------------------------------------------------


class Database:
    """Stands for what lives as long as the server."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def connect(self) -> "Database":
        self.events.append("connected")
        return self

    async def disconnect(self) -> None:
        self.events.append("disconnected")

    def count(self) -> int:
        return 3 if self.events == ["connected"] else 0


@dataclass
class Resources:
    database: Database


@spoken
async def test_lifespan_runs_while_the_server_does_and_its_value_is_in_the_context(mode):
    """It is entered once, before the first request, and left when the server has stopped."""
    database = Database()
    given = []

    @asynccontextmanager
    async def lifespan(server: MCPServer) -> AsyncIterator[Resources]:
        given.append(server)
        opened = await database.connect()
        try:
            yield Resources(database=opened)
        finally:
            await database.disconnect()

    mcp = MCPServer("Garden", lifespan=lifespan)

    @mcp.tool()
    def count(kind: str, ctx: Context[Resources]) -> str:
        """Count the plants of a kind."""
        return f"{ctx.lifespan_context.database.count()} of {kind}"

    @mcp.tool()
    async def count_later(ctx: Context) -> int:
        return ctx.lifespan_context.database.count()

    @mcp.resource("count://{kind}")
    def count_of(kind: str, ctx: Context) -> str:
        return f"{ctx.lifespan_context.database.count()} of {kind}"

    @mcp.prompt()
    def count_prompt(ctx: Context) -> str:
        return f"Describe {ctx.lifespan_context.database.count()} plants."

    assert database.events == []
    async with connected(mcp, mode) as client:
        assert given == [mcp]
        schema = (await tool_definition(client, "count"))["inputSchema"]
        assert list(schema["properties"]) == ["kind"]
        assert await text(client, "count", {"kind": "herb"}) == "3 of herb"
        assert await text(client, "count", {"kind": "tree"}) == "3 of tree"
        assert (await client.call_tool("count_later", {})).structured_content == {"result": 3}
        assert (await read(client, "count://herb"))["text"] == "3 of herb"
        prompt = await client.get_prompt("count_prompt")
        assert prompt.messages[0].content.text == "Describe 3 plants."
        assert database.events == ["connected"]
    assert database.events == ["connected", "disconnected"]


@spoken
async def test_error_while_the_lifespan_begins_keeps_the_server_from_starting():
    """The error reaches who started the server."""

    @asynccontextmanager
    async def lifespan(server: MCPServer) -> AsyncIterator[None]:
        raise ConnectionError("no database")
        yield

    mcp = MCPServer("Garden", lifespan=lifespan)
    with pytest.raises(ConnectionError, match="no database"):
        async with mcp.serving():
            pass


# --- Context -------------------------------------------------------------------------------------


@spoken
async def test_context_is_found_by_its_hint_and_never_in_the_schema(mode):
    """[tool.input-schema] Under any name, optional or not, with or without a default."""
    mcp = MCPServer("Garden")

    @mcp.tool()
    def one(name: str, ctx: Context) -> str:
        return f"{name} {ctx.protocol_version}"

    @mcp.tool()
    async def two(c: Context, name: str = "mint") -> str:
        return f"{name} {c.protocol_version}"

    @mcp.tool()
    def three(name: str, context: Context | None = None) -> str:
        return f"{name} {context and context.protocol_version}"

    @mcp.tool()
    def four(name: str, context: Optional[Context] = None) -> str:  # noqa: UP045
        return f"{name} {context and context.protocol_version}"

    @mcp.tool()
    def five(name: str, ctx: "Context") -> str:
        return f"{name} {ctx.protocol_version}"

    @mcp.resource("version://{name}")
    async def version(name: str, ctx: Context) -> str:
        return f"{name} {ctx.protocol_version}"

    @mcp.resource("version:now")
    def version_now(ctx: Context) -> str:
        return ctx.protocol_version

    @mcp.prompt()
    def tell(name: str, ctx: Context) -> str:
        return f"{name} {ctx.protocol_version}"

    async with connected(mcp, mode) as client:
        expected = f"mint {client.protocol_version}"
        for tool in ("one", "two", "three", "four", "five"):
            schema = (await tool_definition(client, tool))["inputSchema"]
            assert list(schema["properties"]) == ["name"]
            assert await text(client, tool, {"name": "mint"}) == expected
        assert (await read(client, "version://mint"))["text"] == expected
        assert (await read(client, "version:now"))["text"] == client.protocol_version
        [prompt] = (await client.list_prompts()).prompts
        assert [argument.name for argument in prompt.arguments] == ["name"]
        result = await client.get_prompt("tell", {"name": "mint"})
        assert result.messages[0].content.text == expected


@spoken
async def test_context_tells_of_the_request(mode):
    """[result.same-id] Each call has an id of its own; header names are in lower case."""
    mcp = MCPServer("Garden")

    @mcp.tool()
    def look(ctx: Context) -> str:
        accepts = (ctx.headers or {}).get("accept", "")
        assert ctx.client_capabilities is not None
        return f"{ctx.request_id} {'text/event-stream' in accepts}"

    async with connected(mcp, mode) as client:
        first, second = await text(client, "look"), await text(client, "look")
        assert first != second
        assert first.endswith(" True")


@spoken
async def test_tool_that_is_added_while_the_server_runs_is_listed_and_called(mode):
    """[list.announces-itself] [tool.unknown-error] A tool that is not there is a protocol error."""
    mcp = MCPServer("Garden")

    def advise(plant: str) -> str:
        """Give advice on a plant."""
        return f"water the {plant}"

    @mcp.tool()
    async def learn(ctx: Context) -> str:
        mcp.add_tool(advise)
        return "learnt"

    @mcp.tool()
    def forget() -> str:
        mcp.remove_tool("advise")
        return "forgotten"

    from mcp import MCPError as OfficialError

    async with connected(mcp, mode) as client:
        with pytest.raises(OfficialError, match="advise"):
            await client.call_tool("advise", {"plant": "mint"})
        await client.call_tool("learn", {})
        assert await text(client, "advise", {"plant": "mint"}) == "water the mint"
        listed = await client.list_tools(cache_mode="bypass")
        assert [tool.name for tool in listed.tools] == ["learn", "forget", "advise"]
        await client.call_tool("forget", {})
        listed = await client.list_tools(cache_mode="bypass")
        assert [tool.name for tool in listed.tools] == ["learn", "forget"]


@spoken
async def test_second_tool_of_a_name_replaces_the_first_and_a_warning_says_so(mode, caplog):
    """[tool.definition] The official SDK keeps the first one and warns."""
    mcp = MCPServer("Weather")

    @mcp.tool(name="forecast")
    def today(city: str) -> str:
        return f"{city}: rain"

    @mcp.tool(name="forecast")
    def hourly(city: str, hours: int = 3) -> str:
        return f"{city}: rain for {hours} h"

    assert any("forecast" in message for message in caplog.messages)
    async with connected(mcp, mode) as client:
        assert await text(client, "forecast", {"city": "Oslo"}) == "Oslo: rain for 3 h"


# --- The right-hand column of the table: what is written differently here ------------------------


@spoken
async def test_resource_is_read_from_a_tool_as_a_list_of_dicts(mode):
    """[resource.read] Official: objects with `content` and `mime_type`."""
    mcp = MCPServer("Garden")

    @mcp.resource("kinds://all")
    def kinds() -> str:
        return "herbs, trees"

    @mcp.tool()
    async def describe(ctx: Context) -> str:
        [content] = await ctx.read_resource("kinds://all")
        return f"{content['text']} as {content['mimeType']}"

    async with connected(mcp, mode) as client:
        assert await text(client, "describe") == "herbs, trees as text/plain"


@spoken
async def test_whole_result_is_a_tool_result(mode):
    """[tool.content-types] Official: CallToolResult of `mcp.types`."""
    mcp = MCPServer("Garden")

    @mcp.tool()
    def whole() -> ToolResult:
        return ToolResult(["for the model"], structured={"n": 42}, meta={"hidden": "for programs"})

    @mcp.tool()
    def empty() -> ToolResult:
        return ToolResult([])

    async with connected(mcp, mode) as client:
        result = wire(await client.call_tool("whole", {}))
        assert result["content"] == [{"type": "text", "text": "for the model"}]
        assert result["structuredContent"] == {"n": 42}
        assert result["_meta"]["hidden"] == "for programs"
        result = await client.call_tool("empty", {})
        assert (result.content, result.is_error) == ([], False)


@spoken
async def test_document_is_returned_as_a_dict_of_the_wire(mode):
    """[tool.content-types] Official: EmbeddedResource and ResourceLink of `mcp.types`."""
    mcp = MCPServer("Brand")

    @mcp.tool()
    def rules():
        document = {"uri": "brand://rules", "mimeType": "text/markdown", "text": "# Rules"}
        return {"type": "resource", "resource": document}

    @mcp.tool()
    def rules_link():
        return {"type": "resource_link", "name": "rules", "uri": "brand://rules"}

    async with connected(mcp, mode) as client:
        result = await client.call_tool("rules", {})
        assert result.content[0].resource.text == "# Rules"
        assert result.structured_content is None
        [link] = (await client.call_tool("rules_link", {})).content
        assert (link.type, link.uri) == ("resource_link", "brand://rules")


@spoken
async def test_completion_gets_dicts_and_returns_a_list(mode):
    """[completion.context] Official: classes of `mcp.types`, and a Completion as the answer."""
    from mcp.types import PromptReference, ResourceTemplateReference

    mcp = MCPServer("Explorer")
    languages = ["go", "python", "rust"]
    projects = {"ada": ["engine", "notes"]}

    @mcp.resource("repo://{owner}/{name}")
    def repo(owner: str, name: str) -> str:
        return f"{owner}/{name}"

    @mcp.prompt()
    def review(language: str, code: str) -> str:
        return f"Review this {language}: {code}"

    @mcp.completion()
    async def complete(ref, argument, context):
        if ref["type"] == "ref/prompt" and argument["name"] == "language":
            return [name for name in languages if name.startswith(argument["value"])]
        if argument["name"] == "name":
            known = projects.get((context or {}).get("arguments", {}).get("owner", ""), [])
            return [name for name in known if name.startswith(argument["value"])]
        return None

    async with connected(mcp, mode) as client:
        prompt = PromptReference(type="ref/prompt", name="review")
        result = await client.complete(prompt, {"name": "language", "value": "p"})
        assert result.completion.values == ["python"]
        result = await client.complete(prompt, {"name": "code", "value": "p"})
        assert result.completion.values == []
        template = ResourceTemplateReference(type="ref/resource", uri="repo://{owner}/{name}")
        argument = {"name": "name", "value": "n"}
        result = await client.complete(template, argument, context_arguments={"owner": "ada"})
        assert result.completion.values == ["notes"]
        result = await client.complete(template, argument)
        assert result.completion.values == []


@spoken
async def test_model_and_roots_of_the_client_are_asked_by_the_context(mode):
    """[roots.list] Official: `ctx.session.create_message`, or a parameter with `Resolve`."""
    from mcp.types import CreateMessageResult, ListRootsResult, Root, TextContent

    mcp = MCPServer("Poet")

    @mcp.tool()
    async def poem(topic: str, ctx: Context) -> str:
        answer = await ctx.sample(f"Write a poem about {topic}.", max_tokens=60)
        return text_of(answer)

    @mcp.tool()
    async def folder(ctx: Context) -> str:
        roots = await ctx.list_roots()
        return roots[0]["uri"] if roots else "none"

    async def sample(context, params):
        asked = params.messages[0].content.text
        content = TextContent(type="text", text=f"{asked} {params.max_tokens}")
        return CreateMessageResult(role="assistant", content=content, model="m")

    async def roots(context):
        return ListRootsResult(roots=[Root(uri="file:///home/ada")])

    callbacks = {"sampling_callback": sample, "list_roots_callback": roots}
    async with connected(mcp, mode, **callbacks) as client:
        assert await text(client, "poem", {"topic": "rain"}) == "Write a poem about rain. 60"
        assert await text(client, "folder") == "file:///home/ada"


@spoken
async def test_client_that_listens_hears_of_a_change_without_any_call_of_the_author(mode):
    """[list.announces-itself] Official: `ctx.session.send_resource_list_changed()`."""
    mcp = MCPServer("Garden")
    heard = asyncio.Event()

    @mcp.tool()
    def grow() -> str:
        mcp.add_resource(lambda: "green", "plant://mint", name="mint")
        mcp.notify_resource_updated("plant://mint")
        return "grown"

    async def note(message) -> None:
        if "resources/list_changed" in str(message):
            heard.set()

    async with connected(mcp, mode, message_handler=note) as client:
        if mode == "legacy":
            assert await text(client, "grow") == "grown"
            await asyncio.wait_for(heard.wait(), 10)
        else:
            async with client.listen(resources_list_changed=True) as events:
                assert await text(client, "grow") == "grown"
                await asyncio.wait_for(events.__anext__(), 10)
        assert (await read(client, "plant://mint"))["text"] == "green"


def test_option_of_the_official_run_is_named_by_ours():
    """Official: `mcp.run(transport="streamable-http", port=3001)`. Here: `mcp.run(port=3001)`."""
    mcp = MCPServer("Garden")
    with pytest.raises(TypeError, match=r"run\(\).*transport"):
        mcp.run(transport="streamable-http", port=0)
