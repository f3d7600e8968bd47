"""What the README claims, a test holds."""

import ast
import bisect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from inmemory import Client, StatelessClient, run

import streamhttp_mcp
from streamhttp_mcp import MCPServer, Request

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SOURCE = (ROOT / "streamhttp_mcp.py").read_text()


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_first_example_is_a_server_that_works():
    """The tool greets, and says how far it is to a client that wants to know."""
    module = {"__name__": "example"}
    exec(code_blocks("python")[0], module)

    async def conversation():
        client = await Client(module["mcp"]).connect()
        params = {"name": "greet", "arguments": {"name": "Ada"}, "_meta": {"progressToken": 1}}
        answer = await (await client.request("tools/call", params)).complete()
        assert answer.result == {"content": [{"type": "text", "text": "Hello, Ada!"}]}
        assert answer.page.messages[0]["params"]["message"] == "thinking of something nice"

    run(conversation())


def test_the_tool_that_asks_runs_unchanged_for_a_client_of_each_era():
    """The session client answers on the stream, the stateless one by calling again."""
    module = {"__name__": "example"}
    exec(code_blocks("python")[1], module)
    given = {"action": "accept", "content": {"colour": "blue"}}
    call = {"name": "paint", "arguments": {"what": "the door"}}

    async def with_session():
        client = await Client(module["mcp"]).connect(capabilities={"elicitation": {}})
        answer = await client.request("tools/call", call)
        await client.respond((await answer.page.wait_messages(1))[0], given)
        return (await answer.complete()).result["content"]

    async def without():
        client = StatelessClient(module["mcp"], {"elicitation": {}})
        asked = (await client.request("tools/call", call)).result
        (key,) = asked["inputRequests"]
        retry = call | {"requestState": asked["requestState"], "inputResponses": {key: given}}
        return (await client.request("tools/call", retry)).result["content"]

    painted = [{"type": "text", "text": "the door is blue now"}]
    assert run(with_session()) == run(without()) == painted


def test_the_server_that_is_locked_lets_in_who_has_a_token():
    """Ada may list the tools and not save; a stranger hears where tokens come from."""
    module = {"__name__": "example"}
    exec(code_blocks("python")[2], module)

    async def conversation():
        client = StatelessClient(module["mcp"])
        stranger = await client.request("tools/list")
        assert stranger.status == 401 and "oauth-protected-resource/mcp" in stranger.headers["www-authenticate"]
        client.headers["authorization"] = "Bearer token-of-ada"
        assert [tool["name"] for tool in (await client.request("tools/list")).result["tools"]] == ["save"]
        refused = await client.request("tools/call", {"name": "save", "arguments": {"text": "a"}})
        assert refused.status == 403 and 'scope="notes:read notes:write"' in refused.headers["www-authenticate"]

    run(conversation())


def test_the_curl_line_opens_a_session_when_pasted():
    """Played with the in-memory client: the body and the headers of the command are enough for a session id."""
    command = code_blocks("sh")[0]
    body = re.search(r"-d '(.*?)'", command, re.DOTALL)[1]
    content_type = re.search(r"-H 'Content-Type: ([^']+)'", command)[1]

    async def conversation():
        fields = {"host": "127.0.0.1:8000", "accept": "*/*", "content-type": content_type}  # as curl sends them
        reply = await MCPServer("greeter").handle(Request("POST", "/mcp", fields, body.encode()))
        assert reply.status == 200 and "Mcp-Session-Id" in dict(reply.headers)

    run(conversation())


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")
def test_the_conversation_on_two_channels_works_when_pasted_into_four_terminals(tmp_path):
    """[lesson.tool-stream] [lesson.primary-stream] Progress comes in the third terminal, the answer in the second."""
    serve, *pasted = code_blocks("sh")[3:7]
    assert serve == code_blocks("sh")[1]
    command = [sys.executable, str(ROOT / "streamhttp_mcp.py"), "--port", "0", "--root", str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)]
    try:
        address = running[0].stdout.readline().split()[3].removeprefix("http://").removesuffix("/mcp")
        kept = tmp_path / "session"

        def paste(commands: str) -> "subprocess.Popen[str]":
            script = commands.replace("127.0.0.1:8000", address).replace("/tmp/mcp-session", str(kept))
            running.append(subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True))
            return running[-1]

        primary = paste(pasted[0])
        assert primary.stdout.readline() == ":\n"  # the stream is open, so the session id is in its file
        tool = paste(pasted[1])
        assert tool.stdout.readline() == ":\n"
        assert paste(pasted[2]).communicate(timeout=20)[0] == '{"id":1}'
        told = tool.communicate(timeout=20)[0]  # it ends by itself
        assert re.findall(r"Processing batch (\d)/5", told) == list("12345") and "Completed" not in told
        lines = iter(primary.stdout.readline, "")
        assert "Completed processing hello" in next(line for line in lines if line.startswith("data: "))
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.communicate(timeout=10)


def test_the_test_command_is_the_one_that_ci_runs():
    """CI does in its own folder what the README tells a newcomer to do."""
    command = code_blocks("sh")[2]
    assert "-m venv" in command and "pip install --quiet pytest" in command and "-m pytest --quiet" in command
    script = (ROOT / ".ci" / "run").read_text()
    assert "pip install -q pytest" in script and "-m pytest -q" in script


def test_the_map_matches_the_banners():
    """Every section has its line, in the file's order."""
    banners = re.findall(r"^# ---- (\d+ .+?) -+$", SOURCE, re.MULTILINE)
    rows = re.findall(r"^\| (\d+ [^|]+?) \|", README, re.MULTILINE)
    assert rows == banners


def test_the_docstring_names_every_section():
    """The map on the first screen is whole."""
    for number, name in re.findall(r"^# ---- (\d+) (.+?) -+$", SOURCE, re.MULTILINE):
        assert re.search(rf"\b{number} {re.escape(name)}", streamhttp_mcp.__doc__), f"{number} {name}"


def test_the_life_of_a_request_is_told_with_names_that_exist():
    """Each function, method and class on the way, as in `Connection.serve -> read_requests`, is still called that."""
    life = streamhttp_mcp.__doc__.split("in function names:")[1].split("Sections stand")[0].replace("ctx.", "Context.")
    for name in re.findall(r"\b(?:[A-Z]\w+(?:\.\w+)?|[a-z]+(?:_[a-z]+)+)\b", life.replace("JSON", "")):
        owner, _, attribute = name.rpartition(".")
        assert not owner or hasattr(getattr(streamhttp_mcp, owner), attribute), name
        assert re.search(rf"(def|class) {attribute}\b", SOURCE), name


def test_a_section_leans_only_on_those_above_it():
    """As the docstring says. Hints do not count: they are read when all is there."""
    tree = ast.parse(SOURCE)
    starts = [SOURCE[: match.start()].count("\n") for match in re.finditer(r"^# ---- \d+ ", SOURCE, re.MULTILINE)]
    home = {}  # name -> number of its section
    for node in tree.body:
        names = [node.name] if hasattr(node, "name") else [t.id for t in getattr(node, "targets", []) if hasattr(t, "id")]
        home |= {name: bisect.bisect(starts, node.lineno - 1) for name in names}
    for node in list(ast.walk(tree)):  # without hints, which are strings here
        for hint in ("annotation", "returns"):
            if getattr(node, hint, None) is not None:
                setattr(node, hint, None)
    used = [(bisect.bisect(starts, n.lineno - 1), n.id, n.lineno) for n in ast.walk(tree) if isinstance(n, ast.Name)]
    assert [(name, line) for section, name, line in used if home.get(name, 0) > section] == []


def test_every_name_that_the_readme_mentions_exists():
    """`Context.report_progress` and the like are still called that."""
    for path in re.findall(r"`([A-Za-z_]+(?:\.[a-z_]+)?)`", README.split("## The map")[1].split("## ")[0]):
        first, _, second = path.partition(".")
        if hasattr(streamhttp_mcp, first):
            assert not second or hasattr(getattr(streamhttp_mcp, first), second), path
    for path in ("handle_post", "answer_in_session", "call_tool", "Sessions", "METHODS"):
        assert f"`{path}" in README and hasattr(streamhttp_mcp, path)


def test_nothing_but_the_standard_library_is_imported():
    """No package is needed."""
    modules = re.findall(r"^\s*(?:import|from) ([a-z_]+)(?:\.[a-z.]+)?(?: as \w+| import [\w, ]+)?$", SOURCE, re.MULTILINE)
    assert "asyncio" in modules and set(modules) <= sys.stdlib_module_names


def test_the_demo_command_explains_itself():
    """`python3 streamhttp_mcp.py --help` works with nothing installed: no site-packages, no environment."""
    command = [sys.executable, "-I", "-S", str(ROOT / "streamhttp_mcp.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert "--root" in done.stdout and "--port" in done.stdout


def test_the_licence_is_named_on_top_and_printed_at_the_end():
    """MIT: SPDX line first, text last, identifier in pyproject.toml."""
    assert SOURCE.startswith("# SPDX-License-Identifier: MIT\n")
    assert "Permission is hereby granted" in SOURCE.split("sys.exit(main())")[-1]
    assert 'license = "MIT"' in (ROOT / "pyproject.toml").read_text()
