"""Everything the official conformance suite asks a server for, written with the public API only.

    python tests/everything_server.py --port 8000        serves http://127.0.0.1:8000/mcp

Names, texts and order are the suite's own: test_simple_text has to be the first tool, test://static-text
the first resource. The last tools are ours, for the tests with other people's clients and with several processes.
"""

import argparse
import asyncio
import base64
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from streamhttp_mcp import (
    Audio,
    Context,
    ElicitResult,
    Image,
    MCPServer,
    ToolError,
    elicit_form,
    list_roots,
    sample_message,
    text_of,
)

mcp = MCPServer(
    "everything-server",
    version="1.0.0",
    instructions="A fixture of the conformance tests.",
    secret=os.environ.get("MCP_SECRET"),  # that several processes share
    two_channel=True,
)

PNG = base64.b64decode(  # one red pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
WAV = base64.b64decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=")  # 8 kHz, mono, silent


def embedded(uri: str, mime_type: str, text: str) -> dict[str, Any]:
    """A resource that travels inside a result or a prompt."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": text}}


# --- Tools: what a result can hold ------------------------------------------------------------------


@mcp.tool()
async def test_simple_text() -> str:
    """Answers with one text block."""
    return "This is a simple text response for testing."


@mcp.tool()
async def test_image_content() -> Image:
    """Answers with one image."""
    return Image(data=PNG, format="png")


@mcp.tool()
async def test_audio_content() -> Audio:
    """Answers with one sound."""
    return Audio(data=WAV, format="wav")


@mcp.tool()
async def test_embedded_resource():
    """Answers with a resource in the result."""
    return embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")


@mcp.tool()
async def test_multiple_content_types():
    """Answers with text, an image and a resource, in this order."""
    return [
        "Multiple content types test:",
        Image(data=PNG, format="png"),
        embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ]


@mcp.tool()
async def test_error_handling() -> str:
    """Always fails."""
    raise ToolError("This tool intentionally returns an error for testing")


# --- Tools: what a call can say before its result ---------------------------------------------------


@mcp.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    """Reports 0, 50 and 100 percent."""
    await ctx.report_progress(0, 100)
    await asyncio.sleep(0.05)
    await ctx.report_progress(50, 100)
    await asyncio.sleep(0.05)
    await ctx.report_progress(100, 100)
    return "Tool with progress executed successfully"


@mcp.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    """Logs three times at level info."""
    await ctx.info("Tool execution started")
    await asyncio.sleep(0.05)
    await ctx.info("Tool processing data")
    await asyncio.sleep(0.05)
    await ctx.info("Tool execution completed")
    return "Tool with logging executed successfully"


# --- Tools: what a call can ask the client ----------------------------------------------------------


@mcp.tool()
async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    return f"LLM response: {text_of(await ctx.sample(prompt, max_tokens=100))}"


@mcp.tool()
async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the client's user for a name and an address."""
    schema = {
        "type": "object",
        "properties": {"username": {"type": "string"}, "email": {"type": "string"}},
        "required": ["username", "email"],
    }
    answer = await ctx.elicit(message, schema)
    return f"User response: action={answer.action}, content={json.dumps(answer.content or {})}"


@mcp.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks with a default for every primitive type."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        },
    }
    answer = await ctx.elicit("Please review the defaults", schema)
    return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content or {})}"


@mcp.tool()
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks with each of the five ways to write a choice."""
    plain = ["option1", "option2", "option3"]
    titled = [{"const": "value1", "title": "First value"}, {"const": "value2", "title": "Second value"}]
    legacy = {"enum": ["opt1", "opt2"], "enumNames": ["Option one", "Option two"]}
    schema = {
        "type": "object",
        "properties": {
            "untitledSingle": {"type": "string", "enum": plain},
            "titledSingle": {"type": "string", "oneOf": titled},
            "legacyEnum": {"type": "string", **legacy},
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
            "titledMulti": {"type": "array", "items": {"anyOf": titled}},
        },
    }
    answer = await ctx.elicit("Please choose", schema)
    return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content or {})}"


# --- Tools: a stream that outlives its connection, a schema of one's own ----------------------------


@mcp.tool()
async def test_reconnection(ctx: Context) -> str:
    """Closes its own stream and goes on; the client comes back for the result."""
    await ctx.close_sse_stream()
    await asyncio.sleep(0.1)
    return "Reconnection test completed: the result was waiting for you."


CONTACT_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        },
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@mcp.tool(input_schema=CONTACT_SCHEMA)
async def json_schema_2020_12_tool(**arguments: Any) -> str:
    """Takes a contact, under a schema that is sent word for word."""
    return f"Contact: {json.dumps(arguments)}"


# --- Tools that only 2026-07-28 asks for (server-stateless, custom headers, input required) ---------


@mcp.tool()
async def test_missing_capability(ctx: Context) -> str:
    """Needs a client that has a model."""
    return text_of(await ctx.sample("Are you there?"))


@mcp.tool()
async def test_streaming_elicitation(ctx: Context) -> str:
    """Reports progress, then asks the client's user."""
    await ctx.report_progress(1, 2)
    return f"The user chose to {(await ctx.elicit('Go on?', form(ok=bool))).action}"


@mcp.tool()
async def test_logging_tool(ctx: Context) -> str:
    """Logs once at level info, which a client only gets when it asked for it."""
    await ctx.info("Logged by test_logging_tool")
    return "Logged"


@mcp.tool()
async def test_trigger_tool_change() -> str:
    """Announces that the list of tools changed."""
    mcp.notify_tools_changed()
    return "Announced"


@mcp.tool()
async def test_trigger_prompt_change() -> str:
    """Announces that the list of prompts changed."""
    mcp.notify_prompts_changed()
    return "Announced"


@mcp.tool()
async def test_x_mcp_header(region: Annotated[str, {"x-mcp-header": "Region"}] = "") -> str:
    """Takes an argument that clients repeat in the header Mcp-Param-Region."""
    return f"Region: {region}"


# The suite looks at the keys of these questions, so each is given one.


def form(**fields: type) -> dict[str, Any]:
    """The schema of a form whose fields are all required: form(name=str)."""
    names = {str: "string", bool: "boolean"}
    properties = {name: {"type": names[kind]} for name, kind in fields.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}


def said(answer: ElicitResult, field: str) -> str:
    """What the user filled in, if the form was accepted."""
    return answer.content[field] if answer.content else "nobody"


@mcp.tool()
async def test_input_required_result_elicitation(ctx: Context) -> str:
    """Asks the client's user for a name."""
    answer = await ctx.elicit("What is your name?", form(name=str), key="user_name")
    return f"Hello, {said(answer, 'name')}!"


@mcp.tool()
async def test_input_required_result_sampling(ctx: Context) -> str:
    """Asks the client's model for a capital."""
    answer = await ctx.sample("What is the capital of France?", max_tokens=100, key="capital_question")
    return f"The model says: {text_of(answer)}"


@mcp.tool()
async def test_input_required_result_list_roots(ctx: Context) -> str:
    """Asks for the client's roots."""
    roots = await ctx.list_roots(key="client_roots")
    return "Roots: " + ", ".join(root["uri"] for root in roots)


@mcp.tool()
async def test_input_required_result_request_state(ctx: Context) -> str:
    """Asks once; requestState comes back with the answer, and has been verified when this goes on."""
    await ctx.elicit("Please confirm", form(ok=bool), key="confirm")
    return "state-ok"


@mcp.tool()
async def test_input_required_result_multiple_inputs(ctx: Context) -> str:
    """Asks the user, the model and the client itself, all at once."""
    answers = await ctx.ask(
        user_name=elicit_form("What is your name?", form(name=str)),
        greeting=sample_message("Write a greeting", max_tokens=100),
        client_roots=list_roots(),
    )
    roots = ", ".join(root["uri"] for root in answers["client_roots"])
    return f"{text_of(answers['greeting'])} ({said(answers['user_name'], 'name')} in {roots})"


@mcp.tool()
async def test_input_required_result_multi_round(ctx: Context) -> str:
    """Asks for a name, then for a color."""
    name = await ctx.elicit("Step 1: what is your name?", form(name=str), key="step1")
    color = await ctx.elicit("Step 2: what is your favorite color?", form(color=str), key="step2")
    return f"{said(name, 'name')} likes {said(color, 'color')}"


@mcp.tool()
async def test_input_required_result_tampered_state(ctx: Context) -> str:
    """Asks once; whoever changes requestState meanwhile does not get an answer from here."""
    await ctx.elicit("Please confirm", form(ok=bool), key="confirm")
    return "The state was not touched"


@mcp.tool()
async def test_input_required_result_capabilities(ctx: Context) -> str:
    """Asks what this client can be asked, and no more."""
    questions = {
        "elicitation": elicit_form("What is your name?", form(name=str)),
        "sampling": sample_message("Write a greeting", max_tokens=100),
        "roots": list_roots(),
    }
    asked = {name: question for name, question in questions.items() if name in ctx.client_capabilities}
    await ctx.ask(**asked)
    return f"Answered: {', '.join(asked)}"


# --- Tools of our own -------------------------------------------------------------------------------


@mcp.tool()
async def echo(text: str) -> str:
    """Answers with the text it was given."""
    return text


@mcp.tool()
async def slow(seconds: float, text: str) -> str:
    """Sleeps, then answers."""
    await asyncio.sleep(seconds)
    return text


@mcp.tool()
async def count(n: int, delay: float, ctx: Context) -> str:
    """Counts to n, one progress notification a step."""
    for step in range(1, n + 1):
        await ctx.report_progress(step, n)
        await asyncio.sleep(delay)
    return f"Counted to {n}"


numbers = itertools.count(1)


@mcp.tool()
async def add_a_tool() -> str:
    """Adds a tool at run time and answers with its name; every listener hears that the list changed."""
    name = f"added_{next(numbers)}"

    async def added() -> str:
        """A tool that was not here when the server started."""
        return f"I am {name}"

    mcp.add_tool(added, name)
    return name


@mcp.tool()
async def which_process(ctx: Context, asking: int = 0) -> str:
    """Answers with the id of the process; each question that it asks before says whose question it is."""
    for number in range(asking):
        await ctx.elicit(f"Process {os.getpid()} asks: go on?", form(ok=bool), key=f"question{number}")
    return str(os.getpid())


# --- Resources --------------------------------------------------------------------------------------


@mcp.resource("test://static-text", name="static-text", mime_type="text/plain")
async def static_text() -> str:
    """A text that never changes."""
    return "This is the content of the static text resource."


@mcp.resource("test://static-binary", name="static-binary", mime_type="image/png")
async def static_binary() -> bytes:
    """An image that never changes."""
    return PNG


@mcp.resource("test://template/{id}/data", name="template-data", mime_type="application/json")
async def template_data(id: str) -> str:
    """The data of one id."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"}, separators=(",", ":"))


@mcp.resource("test://watched-resource", name="watched-resource", mime_type="text/plain")
async def watched_resource() -> str:
    """A text to subscribe to."""
    return "Watched resource content"


# --- Prompts ----------------------------------------------------------------------------------------


@mcp.prompt()
async def test_simple_prompt() -> str:
    """A prompt without arguments."""
    return "This is a simple prompt for testing."


@mcp.prompt()
async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@mcp.prompt()
async def test_prompt_with_embedded_resource(resourceUri: str):
    """A prompt that brings a resource along."""
    resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [resource, "Please process the embedded resource above."]


@mcp.prompt()
async def test_prompt_with_image():
    """A prompt that brings an image along."""
    return [Image(data=PNG, format="png"), "Please analyze the image above."]


@mcp.prompt()
async def test_input_required_result_prompt(ctx: Context) -> str:
    """A prompt that asks the client's user what it is about."""
    answer = await ctx.elicit("What is the context?", form(context=str), key="user_context")
    return f"Please help, given this context: {said(answer, 'context')}"


@mcp.completion()
async def complete(ref: dict[str, Any], argument: dict[str, str], context: dict[str, Any] | None):
    """Suggests values for the arguments of test_prompt_with_arguments."""
    if ref.get("name") != "test_prompt_with_arguments":
        return None
    return [value for value in ("testValue1", "testValue2") if value.startswith(argument["value"])]


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="The fixture of the conformance tests.")
    options.add_argument("--port", type=int, default=8000)
    mcp.run(port=options.parse_args().port)
