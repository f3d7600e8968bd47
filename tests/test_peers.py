"""The official Python client, 1.x and 2.x, against our servers. What it sees is the same in both generations."""

import asyncio
import functools
import http.client
import importlib
import json
import pydoc_data.topics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from wire import ACCEPT_BOTH, ping

from streamhttp_mcp import Context, Limits, MCPServer

pytestmark = pytest.mark.filterwarnings("ignore:The logging capability is deprecated")
SCRIPT = Path(__file__).with_name("peer_client.py")


def spoken(conversation):
    """Make a test of a coroutine function. A peer may take its time: a second only to be imported."""
    return functools.wraps(conversation)(lambda **fixtures: asyncio.run(asyncio.wait_for(conversation(**fixtures), 60)))


async def in_a_process(python: str, conversation: str, url: str) -> Any:
    process = await asyncio.create_subprocess_exec(python, SCRIPT, url, conversation, stdout=subprocess.PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, "the client failed; its traceback is in stderr"
    return json.loads(output)


async def in_this_process(conversation: str, url: str) -> Any:
    return await getattr(importlib.import_module("peer_client"), conversation)(url)


@pytest.fixture(params=["1.x", "2.x"])
def peer(request):
    """`await peer(conversation, url)` holds a conversation of peer_client.py and returns what the client saw."""
    if request.param == "1.x":
        return functools.partial(in_a_process, request.getfixturevalue("peer_v1_python"))
    request.getfixturevalue("peer_v2")
    return in_this_process


# --- Against tests/everything_server.py ---------------------------------------------------------------


@spoken
async def test_client_connects_lists_and_calls(peer, everything):
    """[initialize.result] [version.same] [tool.call] A raw U+2028 in the JSON would hang some clients."""
    seen = await peer("hello", everything)
    assert seen["initialize"]["protocolVersion"] == "2025-11-25"
    assert seen["initialize"]["serverInfo"] == {"name": "everything-server", "version": "1.0.0"}
    assert {"test_simple_text", "json_schema_2020_12_tool", "echo"} < set(seen["tools"])
    assert seen["resources"] == ["test://static-text", "test://static-binary", "test://watched-resource"]
    assert len(seen["prompts"]) == 4
    assert seen["echo"] == "\u2028 \U0001f600"


@spoken
async def test_client_gets_all_progress_before_the_result(peer, everything):
    """[progress.increases] [stream.related-only]"""
    assert await peer("progress", everything) == [*([n, 5, None] for n in range(1, 6)), "Counted to 5"]


@spoken
async def test_client_gets_log_messages_at_the_level_it_asks_for(peer, everything):
    """[log.message] [log.set-level]"""
    assert await peer("log", everything) == [
        {"level": "info", "data": "Tool execution started"},
        {"level": "info", "data": "Tool processing data"},
        {"level": "info", "data": "Tool execution completed"},
        "Tool with logging executed successfully",
        "Tool with logging executed successfully",  # now at level error
    ]


@spoken
async def test_tool_asks_the_model_of_the_client(peer, everything):
    """[stream.related-only] The question goes down the call's own stream."""
    message = {"role": "user", "content": {"type": "text", "text": "What is it?"}}
    assert await peer("sampling", everything) == [
        {"messages": [message], "maxTokens": 100},
        "LLM response: It is 42.",
    ]


@spoken
async def test_tool_asks_the_user_of_the_client(peer, everything):
    """[elicit.form-request] [elicit.actions]"""
    assert await peer("elicitation", everything) == [
        "Who?",
        'User response: action=accept, content={"username": "ada", "email": "ada@example.com"}',
        "Sure?",
        "User response: action=decline, content={}",
    ]


@spoken
async def test_tool_learns_at_once_that_a_client_cannot_be_asked(peer, everything):
    """[operation.negotiated-capabilities]"""
    results = await peer("incapable", everything)
    assert [result["isError"] for result in results] == [True, True]
    assert "sampling" in results[0]["content"][0]["text"] and "elicitation" in results[1]["content"][0]["text"]


@spoken
async def test_twenty_concurrent_calls_of_one_session_get_their_own_results(peer, everything):
    """[result.same-id]"""
    assert await peer("concurrent", everything) == [f"{tool} {n}" for tool in ("slow", "echo") for n in range(10)]


@spoken
async def test_client_comes_back_for_the_result_of_a_call_whose_stream_was_closed(peer, everything):
    """[stream.close-to-poll] [stream.retry-before-close] [resume.replay]"""
    text, resumed = await peer("resume", everything)
    assert (text, resumed) == ("Reconnection test completed: the result was waiting for you.", [200])


@spoken
async def test_session_is_gone_after_the_client_said_goodbye(peer, everything):
    """[session.delete-ends] [session.unknown-404]"""
    method, status, session_id = await peer("goodbye", everything)
    assert (method, status) == ("DELETE", 200)
    parts = urlsplit(everything)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("POST", parts.path, json.dumps(ping(1)), ACCEPT_BOTH | {"mcp-session-id": session_id})
    assert connection.getresponse().status == 404


# --- Against a server of the test ---------------------------------------------------------------------


@spoken
async def test_tool_lists_the_roots_of_the_client(peer):
    """[roots.list]"""
    mcp = MCPServer("test")

    @mcp.tool()
    async def folders(ctx: Context) -> str:
        return " ".join(f"{root['name']}={root['uri']}" for root in await ctx.list_roots())

    async with mcp.serving() as url:
        assert (await peer("roots", url))["content"] == [{"type": "text", "text": "main=file:///work/main"}]


@spoken
async def test_cancelled_call_stops_and_its_client_does_not_come_back_for_it_for_ever(peer):
    """[cancel.stop] [cancel.no-response]

    Its stream ends without a response, so the client tries to resume it. A 200 without news would make it try again
    and again, as long as the session lives; a refusal is counted, and twice is enough.
    """
    mcp, stopped = MCPServer("test", limits=Limits(retry_seconds=0.01)), asyncio.Event()

    @mcp.tool()
    async def work_for_ever(ctx: Context) -> str:
        try:
            await ctx.report_progress(1)
            await asyncio.Event().wait()
        finally:
            stopped.set()

    @mcp.tool()
    async def wait_for_the_end() -> str:
        await stopped.wait()
        return "stopped"

    async with mcp.serving() as url:
        assert await peer("cancel", url) in ([], [400, 400])


# --- 2.x only -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@spoken
async def test_client_2_x_opens_a_session_by_order_or_after_asking_for_2026_07_28_in_vain(peer_v2, everything, mode):
    """[version.same] `auto` is its default: it tries `server/discover` first, and falls back to `initialize`."""
    from mcp import Client

    async with Client(everything, mode=mode) as client:
        assert client.protocol_version == "2025-11-25"
        assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"


# --- The demo, on real input --------------------------------------------------------------------------


@pytest.fixture
def demo() -> Iterator[str]:
    """The URL of `python streamhttp_mcp.py`, which serves a folder of Python's own documentation."""
    module = Path(__file__).resolve().parent.parent / "streamhttp_mcp.py"
    folder = Path(pydoc_data.topics.__file__).parent
    command = [sys.executable, module, "--port", "0", "--root", folder, "--log-level", "warning"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().split()[3]  # document-analyzer listens on http://... - Ctrl+C stops it
    finally:
        process.terminate()
        process.communicate(timeout=10)


@spoken
async def test_demo_analyzes_a_real_document_and_tells_how_far_it_is(peer, demo):
    """[progress.increases] [tool.structured-also-text] The main job, from end to end."""
    text = Path(pydoc_data.topics.__file__).read_text(encoding="utf-8")
    size = len(text.encode())
    assert size > 300_000
    *progress, result = await peer("analyze", demo)

    done = [step[0] for step in progress]
    assert len(done) > 4 and done == sorted(set(done)) and done[-1] == size
    assert all(step[1] == size for step in progress)
    assert progress[-1][2] == f"Analyzed {size:,} of {size:,} bytes of topics.py"

    report = result["structuredContent"]
    assert json.loads(result["content"][0]["text"]) == report
    assert (report["path"], report["size"]) == ("topics.py", size)
    assert 0.8 < report["words"] / len(text.split()) < 1.6
    assert "class" in report["frequent_terms"] and len(report["longest_sentences"]) == 3
