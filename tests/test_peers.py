"""The official clients against our servers: Python 1.x and 2.x, and TypeScript 2.x; the newer two in both eras.

Each of them also speaks HTTP+SSE, the transport of 2024-11-05, for which they negotiate a newer revision. What a client
sees is the same everywhere, and the server's tools do not know which one it is.
"""

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
from authorization_server import AuthorizationServer
from conftest import free_port
from wire import ACCEPT_BOTH, ping

from streamhttp_mcp import Auth, Context, Limits, MCPServer

pytestmark = pytest.mark.filterwarnings("ignore:The (logging|sampling|roots) capability is deprecated")
SCRIPT = Path(__file__).with_name("peer_client.py")

PYTHON_SESSIONS = ["python-1.x-session", "python-2.x-session"]
TWO_CHANNEL = ["python-1.x-sse", "python-2.x-sse", "typescript-2.x-sse"]  # the old transport, as clients still have it
SESSIONS = [*PYTHON_SESSIONS, "typescript-2.x-session", *TWO_CHANNEL]
STATELESS = ["python-2.x-auto", "typescript-2.x-auto"]  # they try server/discover first, and would fall back
STREAMABLE = [*PYTHON_SESSIONS, "typescript-2.x-session", *STATELESS]
REVISIONS = {"session": "2025-11-25", "sse": "2025-11-25", "auto": "2026-07-28"}


def spoken(conversation):
    """Make a test of a coroutine function. A peer may take its time: a second only to be imported."""
    return functools.wraps(conversation)(lambda **fixtures: asyncio.run(asyncio.wait_for(conversation(**fixtures), 60)))


class Peer:
    """`await peer(conversation, url)` holds a conversation of peer_client.py and returns what the client saw."""

    def __init__(self, way: str, command: list[str] | None) -> None:
        self.way, self.command = way, command  # None: in this process
        self.revision = REVISIONS[way]

    async def __call__(self, conversation: str, url: str) -> Any:
        if self.command is None:
            module = importlib.import_module("peer_client")
            return await getattr(module, conversation)(functools.partial(getattr(module, self.way), url))
        command = [*self.command, self.way, url, conversation]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, "the client failed; its traceback is in stderr"
        return json.loads(output)


@pytest.fixture(params=SESSIONS + STATELESS)
def peer(request):
    language, generation, way = request.param.split("-")
    if language == "typescript":
        return Peer(way, request.getfixturevalue("peer_ts"))
    if generation == "1.x":
        return Peer(way, [request.getfixturevalue("peer_v1_python"), str(SCRIPT)])
    request.getfixturevalue("peer_v2")
    return Peer(way, None)


def only(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("peer", names, indirect=True)


# --- Against tests/everything_server.py ---------------------------------------------------------------


@spoken
async def test_client_connects_lists_calls_reads_and_completes(peer, everything):
    """[initialize.result] [version.same] [discover.served] [tool.call] [header.params-match] [header.base64-decoded]

    A raw U+2028 in the JSON would hang some clients. Of the region, a stateless client tells in a header as well.
    """
    seen = await peer("hello", everything)
    assert seen["protocolVersion"] == peer.revision
    assert seen["serverInfo"] == {"name": "everything-server", "version": "1.0.0"}
    assert {"test_simple_text", "json_schema_2020_12_tool", "test_x_mcp_header", "echo"} < set(seen["tools"])
    assert seen["resources"] == ["test://static-text", "test://static-binary", "test://watched-resource"]
    assert len(seen["prompts"]) == 5
    assert seen["echo"] == "\u2028 \U0001f600"
    assert seen["region"] == "Region: Z\u00fcrich \U0001f600"
    data = '{"id":"7","templateTest":true,"data":"Data for ID: 7"}'
    assert seen["read"] == {"uri": "test://template/7/data", "mimeType": "application/json", "text": data}
    prompt = "Prompt with arguments: arg1='a', arg2='\u2028'"
    assert seen["prompt"] == {"role": "user", "content": {"type": "text", "text": prompt}}
    assert seen["completion"] == ["testValue1", "testValue2"]


@spoken
async def test_client_gets_all_progress_before_the_result(peer, everything):
    """[progress.increases] [stream.related-only]"""
    assert await peer("progress", everything) == [*([n, 5, None] for n in range(1, 6)), "Counted to 5"]


@spoken
async def test_client_gets_log_messages_at_the_level_it_asks_for(peer, everything):
    """[log.message] [log.set-level] [log.level-asked]"""
    assert await peer("log", everything) == [
        {"level": "info", "data": "Tool execution started"},
        {"level": "info", "data": "Tool processing data"},
        {"level": "info", "data": "Tool execution completed"},
        "Tool with logging executed successfully",
        "Tool with logging executed successfully",  # now at level error
    ]


@spoken
async def test_tool_asks_the_model_of_the_client(peer, everything):
    """[stream.related-only] [mrtr.input-required] The question goes down the call's own stream, or is its result."""
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
        'User response: action=accept, content={"username": "ada", "email": "ada"}',
        "Anonymous!",
        "User response: action=decline, content={}",
    ]


@spoken
async def test_tool_lists_the_roots_of_the_client(peer, everything):
    """[roots.list]"""
    assert await peer("roots", everything) == "Roots: file:///home/ada"


@spoken
async def test_handler_asks_twice_or_three_things_at_once_and_each_question_comes_once(peer, everything):
    """[mrtr.input-required] [mrtr.supported-methods] However often the handler of a tool or prompt runs for it."""
    assert await peer("rounds", everything) == [
        "Step 1: what is your name?",
        "Step 2: what is your favorite color?",
        "What is your name?",
        "What is the context?",
        "ada likes ada",
        "It is 42. (ada in file:///home/ada)",
        "Please help, given this context: ada",
    ]


@only(SESSIONS)
@spoken
async def test_tool_learns_at_once_that_a_client_cannot_be_asked(peer, everything):
    """[operation.negotiated-capabilities]"""
    sampling, elicitation = await peer("incapable", everything)
    assert "sampling" in sampling and "elicitation" in elicitation


@only(STATELESS)
@spoken
async def test_stateless_client_learns_at_once_what_it_would_have_to_declare(peer, everything):
    """[capability.missing]"""
    failures = await peer("incapable", everything)
    assert [failure["code"] for failure in failures] == [-32021, -32021]
    assert [failure["data"] for failure in failures] == [
        {"requiredCapabilities": {"sampling": {}}},
        {"requiredCapabilities": {"elicitation": {}}},
    ]


@spoken
async def test_client_that_listens_hears_of_a_new_tool_and_finds_it_in_the_list(peer, everything):
    """[list.announces-itself] [tool.list-changed] [listen.tagged] On its GET stream, or subscriptions/listen."""
    assert await peer("changes", everything) == [False, True, True]


@spoken
async def test_twenty_concurrent_calls_of_one_client_get_their_own_results(peer, everything):
    """[result.same-id]"""
    assert await peer("concurrent", everything) == [f"{tool} {n}" for tool in ("slow", "echo") for n in range(10)]


@only(PYTHON_SESSIONS)
@spoken
async def test_client_comes_back_for_the_result_of_a_call_whose_stream_was_closed(peer, everything):
    """[stream.close-to-poll] [stream.retry-before-close] [resume.replay]"""
    text, resumed = await peer("resume", everything)
    assert (text, resumed) == ("Reconnection test completed: the result was waiting for you.", [200])


@only(PYTHON_SESSIONS)
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
async def test_cancelled_call_stops_and_its_client_does_not_come_back_for_it_for_ever(peer):
    """[cancel.stop] [cancel.no-response] [modern.disconnect-cancels]

    In a session its stream ends without a response, so the client tries to resume it. A 200 without news would make it
    try again and again, as long as the session lives; a refusal is counted, and twice is enough.
    """
    mcp = MCPServer("test", limits=Limits(retry_seconds=0.01), two_channel=True)
    stopped = asyncio.Event()

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


@pytest.mark.parametrize(("mode", "revision"), [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28")])
@spoken
async def test_client_2_x_that_does_not_ask_first_gets_the_era_it_speaks(peer_v2, everything, mode, revision):
    """[version.same] [modern.era-chosen] `legacy` starts with `initialize`, a pinned version with what it wants."""
    from mcp import Client

    async with Client(everything, mode=mode) as client:
        assert client.protocol_version == revision
        assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"


@spoken
async def test_client_2_x_that_asks_first_falls_back_over_the_old_transport(peer_v2, everything):
    """[channel.initialize-first] `server/discover` before `initialize` gets an error on the stream, and all goes on."""
    from mcp import Client
    from mcp.client.sse import sse_client

    async with Client(sse_client(everything.removesuffix("/mcp") + "/sse"), mode="auto") as client:
        assert client.protocol_version == "2025-11-25"
        assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"


# --- Where a token is needed ---------------------------------------------------------------------------


@only(STREAMABLE)
@spoken
async def test_client_that_was_told_a_token_gets_in(peer):
    """[auth.every-request] Its user wrote it into a setting."""
    mcp = MCPServer("test", auth="s3cret")

    @mcp.tool()
    async def who(ctx: Context) -> str:
        return str(ctx.principal)

    async with mcp.serving() as url:
        assert await peer("with_token", url) == "bearer"


@only(STREAMABLE)
@spoken
async def test_client_without_a_token_tells_its_user_so(peer):
    """[auth.missing-401] Most name the status; Python 2.x passes on the words that came with it."""
    async with MCPServer("test", auth="s3cret").serving() as url:
        told = await peer("without_token", url)
        assert "401" in told or "a token is needed" in told


@only(STREAMABLE)
@spoken
async def test_client_that_knows_only_the_url_finds_its_way_to_a_token(peer):
    """[auth.challenge] [auth.challenge-scopes] [auth.metadata] [auth.well-known]

    A 401 leads to our metadata, these to the authorization server, where the client registers, asks for the scope of the
    challenge, and proves with PKCE that it asked.
    """
    port = free_port()
    resource = f"http://127.0.0.1:{port}/mcp"
    with AuthorizationServer() as issuer:
        verify = issuer.verify(resource)
        mcp = MCPServer("test", auth=Auth(
            verify, scopes=["notes:read"], resource=resource, authorization_servers=[issuer.url]))  # fmt: skip

        @mcp.tool()
        async def who(ctx: Context) -> str:
            return " ".join([ctx.principal, *sorted(ctx.request.scopes)])

        async with mcp.serving(port=port):
            seen = await peer("authorize", resource)
    assert seen == "ada notes:read"
    asked = [what for what in issuer.seen if what != "metadata"]  # some clients look at it every time
    assert asked == ["register", "authorize notes:read", "token"]


# --- Several processes --------------------------------------------------------------------------------


def post(url: str, tool: str, **answered: Any) -> Any:
    """Call a tool in revision 2026-07-28, over a connection of its own, and return the response."""
    meta = {"protocolVersion": "2026-07-28", "clientCapabilities": {"elicitation": {}}}
    params = {"name": tool, "_meta": {f"io.modelcontextprotocol/{key}": value for key, value in meta.items()}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params | answered}
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": tool}
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request("POST", parts.path, json.dumps(request), ACCEPT_BOTH | headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_processes_with_the_same_secret_take_turns_in_one_call(serve_everything):
    """[mrtr.state-verified] The client carries the call from one to the other; who has another secret refuses it."""
    one, two = serve_everything(MCP_SECRET="shared"), serve_everything(MCP_SECRET="shared")
    tool = "test_input_required_result_multi_round"

    first = post(one, tool)["result"]
    assert list(first["inputRequests"]) == ["step1"]
    ada = {"step1": {"action": "accept", "content": {"name": "Ada"}}}

    second = post(two, tool, inputResponses=ada, requestState=first["requestState"])["result"]
    assert list(second["inputRequests"]) == ["step2"]
    blue = {"inputResponses": {"step2": {"action": "accept", "content": {"color": "blue"}}}}

    third = post(one, tool, **blue, requestState=second["requestState"])["result"]
    assert third["content"] == [{"type": "text", "text": "Ada likes blue"}]

    stranger = serve_everything(MCP_SECRET="another")
    assert post(stranger, tool, **blue, requestState=second["requestState"])["error"]["code"] == -32602


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


@only([*PYTHON_SESSIONS, "python-2.x-auto"])
@spoken
async def test_demo_analyzes_a_real_document_and_tells_how_far_it_is(peer, demo):
    """[progress.increases] [tool.structured-also-text] The main job, from end to end."""
    text = Path(pydoc_data.topics.__file__).read_text(encoding="utf-8")
    assert len(text) > 300_000
    *progress, result = await peer("analyze", demo)

    report = result["structuredContent"]
    done, total = [step[0] for step in progress], report["lines"]
    assert len(done) > 4 and done == sorted(set(done)) and done[-1] == total
    assert all(step[1] == total for step in progress)
    assert progress[-1][2] == f"Read {total:,} of {total:,} lines of topics.py"

    assert json.loads(result["content"][0]["text"]) == report
    assert report == {
        "path": "topics.py", "words": len(text.split()), "lines": len(text.splitlines()), "headings": [],
    }  # fmt: skip
