"""What the README claims, a test holds: its examples run, its commands are pasted, its names exist.

What it says about nginx is in test_deployment.py, about the page in test_page.py.
"""

import ast
import asyncio
import inspect
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port
from inmemory import Client, StatelessClient, run

import streamhttp_mcp
from streamhttp_mcp import Context, Limits, MCPServer

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
SOURCE = (ROOT / "streamhttp_mcp.py").read_text()


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.search(rf"^## {re.escape(title)}[^\n]*\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)[1]


# Each example and each command has a name here, in the order of the README.
GREETER, EMBEDDING, PAINTER = code_blocks("python")
RUN_DEMO, RUN_TESTS, CALL_GREET, TWO_CHANNELS, RUN_PAINTERS = code_blocks("sh")
(RUN_GREETER,) = re.findall(r"start your server: `(.+?)`", README)
(ANSWER,) = code_blocks("json")
CHOICE = {"action": "accept", "content": {"colour": "blue"}}

needs_shell = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the README describes it: a copy of the module, and a program of one's own beside the copy."""
    shutil.copy(ROOT / "streamhttp_mcp.py", tmp_path)
    (tmp_path / "greeter.py").write_text(GREETER)
    (tmp_path / "painter.py").write_text(PAINTER)
    return tmp_path


@pytest.fixture
def paste(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """A function that pastes a command into a shell, where `python3` is the Python of this test."""
    running: list[subprocess.Popen[str]] = []

    def paste(command: str, **streams: int) -> "subprocess.Popen[str]":
        script = f'python3() {{ {sys.executable} "$@"; }}\n{command}'
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            text=True,
            start_new_session=True,
            **streams or {"stdout": subprocess.PIPE},
        )
        running.append(process)
        return process

    yield paste
    for process in running:
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:  # it has ended, and so have those that it started
            pass
    for process in running:
        process.communicate(timeout=10)


# --- The examples and the commands ----------------------------------------------------------------------


@needs_shell
def test_the_first_server_says_where_it_listens_and_the_curl_line_shows_its_answer(folder, paste):
    """Pasted as the README tells a newcomer: a file, a command, and one curl."""
    port = str(free_port())
    (folder / "greeter.py").write_text(GREETER.replace("8000", port))
    server = paste(RUN_GREETER, stderr=subprocess.PIPE)
    assert server.stderr.readline().startswith(f"greeter listens on http://127.0.0.1:{port}/mcp")
    answer = paste(CALL_GREET.replace("8000", port)).communicate(timeout=20)[0]
    assert answer == ANSWER.replace("\n", "")
    assert "Hello, Ada!" in answer


def test_the_first_server_reports_progress_to_who_asks():
    """The tool works for a client with a session, too."""
    module = {"__name__": "example"}
    exec(GREETER, module)

    async def conversation():
        client = await Client(module["mcp"]).connect()
        params = {"name": "greet", "arguments": {"name": "Ada"}, "_meta": {"progressToken": 1}}
        answer = await (await client.request("tools/call", params)).complete()
        assert answer.result == {"content": [{"type": "text", "text": "Hello, Ada!"}]}
        assert answer.page.messages[0]["params"]["message"] == "thinking of something nice"

    run(conversation())


def test_the_example_of_handle_prints_a_streamed_reply(folder):
    """Run beside greeter.py: the status, the progress when it happens, then the result."""
    command = [sys.executable, "-c", EMBEDDING]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    status, *events = done.stdout.splitlines()
    assert status.startswith("200 ") and "text/event-stream" in status
    messages = [json.loads(line.removeprefix("data: ")) for line in events if line.startswith("data: ")]
    assert [message.get("method") for message in messages] == ["notifications/progress", None]
    assert messages[1]["result"]["content"] == [{"type": "text", "text": "Hello, Ada!"}]


def test_the_tool_that_asks_runs_unchanged_for_a_client_of_each_era(monkeypatch):
    """The session client answers on the stream, the stateless one by calling again."""
    ports = []
    monkeypatch.setattr(MCPServer, "run", lambda server, port: ports.append(port))
    monkeypatch.delenv("PORT", raising=False)
    module = {"__name__": "example"}
    exec(PAINTER, module)
    assert ports == [8000]
    call = {"name": "paint", "arguments": {"what": "the door"}}

    async def with_session():
        client = await Client(module["mcp"]).connect(capabilities={"elicitation": {}})
        answer = await client.request("tools/call", call)
        await client.respond((await answer.page.wait_messages(1))[0], CHOICE)
        return (await answer.complete()).result["content"]

    async def without():
        client = StatelessClient(module["mcp"], {"elicitation": {}})
        asked = (await client.request("tools/call", call)).result
        (key,) = asked["inputRequests"]
        retry = call | {"requestState": asked["requestState"], "inputResponses": {key: CHOICE}}
        return (await client.request("tools/call", retry)).result["content"]

    painted = [{"type": "text", "text": "the door is blue now"}]
    assert run(with_session()) == run(without()) == painted


def paint(port: str, **more: Any) -> dict[str, Any]:
    """Call the painter's tool at a port, as a client of 2026-07-28 does."""
    meta = {streamhttp_mcp.META + "protocolVersion": "2026-07-28",
            streamhttp_mcp.META + "clientCapabilities": {"elicitation": {}}}  # fmt: skip
    params = {"name": "paint", "arguments": {"what": "the door"}, "_meta": meta, **more}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    headers = {"content-type": "application/json", "mcp-protocol-version": "2026-07-28",
               "mcp-method": "tools/call", "mcp-name": "paint"}  # fmt: skip
    request = urllib.request.Request(f"http://127.0.0.1:{port}/mcp", body, headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)["result"]


@needs_shell
def test_three_processes_with_one_secret_take_each_others_rounds(folder, paste):
    """[mrtr.state-verified] The pasted line starts them; the one that asks is not the one that hears the answer."""
    command, ports = RUN_PAINTERS, [str(free_port()) for _ in range(3)]
    for given, ours in zip(("8001", "8002", "8003"), ports):
        assert given in command
        command = command.replace(given, ours)
    processes = paste(command, stderr=subprocess.PIPE)
    assert all("painter listens on" in processes.stderr.readline() for _ in ports)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        asked = paint(ports[first])
        (key,) = asked["inputRequests"]
        done = paint(ports[second], requestState=asked["requestState"], inputResponses={key: CHOICE})
        assert done["content"][0]["text"] == "the door is blue now"


@needs_shell
def test_the_conversation_on_two_channels_works_when_pasted_into_terminals(tmp_path, paste):
    """[lesson.tool-stream] [lesson.primary-stream] Progress comes in the second terminal, the answer in the first."""
    port = str(free_port())
    (tmp_path / "documents").mkdir()
    demo = RUN_DEMO.strip().replace("streamhttp_mcp.py", str(ROOT / "streamhttp_mcp.py"))
    server = paste(f"{demo} --port {port} --root documents", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert "listens on" in server.stdout.readline()
    commands = TWO_CHANNELS.replace("8000", port).replace("/tmp/mcp-session", str(tmp_path / "mcp-session"))
    open_session, read_tool, call_tool = commands.split("\n\n")
    primary = paste(open_session)
    assert primary.stdout.readline() == ":\n"  # the stream is open, so the session id is in its file
    tool = paste(read_tool)
    assert tool.stdout.readline() == ":\n"
    assert paste(call_tool).communicate(timeout=20)[0] == '{"id":1}'
    told = tool.communicate(timeout=20)[0]  # it ends by itself
    assert re.findall(r"Processing batch (\d)/5", told) == list("12345") and "Completed" not in told
    lines = iter(primary.stdout.readline, "")
    assert "Completed processing hello" in next(line for line in lines if line.startswith("data: "))


def test_the_demo_command_needs_nothing_installed():
    """`python3 streamhttp_mcp.py --help` works without site-packages and without the environment."""
    command = [sys.executable, "-I", "-S", str(ROOT / "streamhttp_mcp.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("usage: ")
    assert "--root" in done.stdout and "--port" in done.stdout


def test_the_test_command_is_the_one_that_ci_runs():
    """CI does in its own folder what the README tells a newcomer to do."""
    assert "-m venv" in RUN_TESTS and "pip install --quiet pytest" in RUN_TESTS and "-m pytest --quiet" in RUN_TESTS
    script = (ROOT / ".ci" / "run").read_text()
    assert "pip install -q pytest" in script and "-m pytest -q" in script


# --- What it says in words ------------------------------------------------------------------------------


def test_a_plain_def_shares_a_database_connection_as_the_readme_says(tmp_path):
    """Refused without check_same_thread=False; with it and a lock, every call's row is there."""
    lock = threading.Lock()

    @asynccontextmanager
    async def open_database(server):
        strict = sqlite3.connect(tmp_path / "strict.db")
        database = sqlite3.connect(tmp_path / "notes.db", check_same_thread=False)
        database.execute("CREATE TABLE notes (text)")
        yield strict, database
        strict.close()
        database.close()

    mcp = MCPServer("notes", lifespan=open_database)

    @mcp.tool
    def careless(ctx: Context) -> str:
        return str(ctx.lifespan_context[0].execute("SELECT 1"))

    @mcp.tool
    def keep(text: str, ctx: Context) -> str:
        database = ctx.lifespan_context[1]
        with lock, database:
            database.execute("INSERT INTO notes VALUES (?)", [text])
        return "kept"

    async def conversation():
        async with mcp.serving():
            client = await Client(mcp).connect()
            refused = (await client.request("tools/call", {"name": "careless", "arguments": {}})).result
            assert refused["isError"] and "thread" in refused["content"][0]["text"]
            calls = [{"name": "keep", "arguments": {"text": str(n)}} for n in range(20)]
            answers = await asyncio.gather(*(client.request("tools/call", call) for call in calls))
            assert all(answer.result["content"][0]["text"] == "kept" for answer in answers)

    run(conversation())
    with sqlite3.connect(tmp_path / "notes.db") as database:
        assert database.execute("SELECT count(*) FROM notes").fetchone() == (20,)


def test_a_vendored_copy_needs_no_section_17_and_starts_nothing(tmp_path):
    """The file without its demo, under another name in a package: it imports in silence, and serves."""
    kept, demo = re.split(r"^(?=# ---- 17 )", SOURCE, flags=re.MULTILINE)
    licence = demo.split("sys.exit(main())\n")[1]
    package = tmp_path / "app" / "vendor"
    package.mkdir(parents=True)
    (package / "mcp_over_http.py").write_text(kept + licence)
    server = GREETER.split("\n", 1)[1].replace("__main__", "not this time")
    program = f"""import threading
from app.vendor.mcp_over_http import Context, MCPServer, Request
assert threading.active_count() == 1
{server}
import asyncio
print(asyncio.run(mcp.handle(Request("GET", "/health", {{"host": "localhost"}}))).status)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("200\n", "")


def inline_code() -> str:
    """What stands between backquotes, without the official SDK's column of the table."""
    ours = re.sub(r"^\|[^|]*\|", "|", section("Coming from the official SDK"), flags=re.MULTILINE)
    words = README.replace(section("Coming from the official SDK"), ours)
    return "\n".join(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", words, flags=re.DOTALL)))


def test_every_name_that_the_readme_mentions_exists():
    """`ctx.elicit`, `mcp.add_tool`, `Limits.grace_seconds`, the settings, and the functions of the map."""
    code = inline_code()
    owners = {"ctx": Context, "mcp": MCPServer, "Limits": Limits, "Context": Context}
    owners |= {name: getattr(streamhttp_mcp, name) for name in ("Stream", "Connection", "Sessions")}
    # A default lives on the class, any other field in its annotations.
    members = {name: {*dir(owner), *inspect.get_annotations(owner)} for name, owner in owners.items()}
    mentioned = re.findall(rf"(?<![\w/\"'])({'|'.join(owners)})\.(\w+)", code)
    assert len(mentioned) > 25
    assert [f"{owner}.{name}" for owner, name in mentioned if name not in members[owner]] == []

    settings = {"".join(pair) for pair in re.findall(r"\bMCPServer\((.*)\)|^(\w+=)", code, re.MULTILINE)}
    settings = {name for setting in settings for name in re.findall(r"(\w+)=", setting)}
    assert {"allowed_hosts", "auth", "lifespan", "two_channel"} <= settings
    assert settings - inspect.signature(MCPServer).parameters.keys() - {"authorization_servers", "resource", "level"} == set()

    on_the_map = [name for name in re.findall(r"`(\w+)`", section("The map")) if name != "main"]
    assert len(on_the_map) == 7
    for name in on_the_map:
        assert hasattr(streamhttp_mcp, name), name
    called = set(re.findall(r"(?<![\w.@])([A-Z]\w+|[a-z]+_[a-z]+|user|check)\(", code))
    assert called - {"MCPServer"} >= {"Image", "ToolError", "Auth", "RPCError", "ToolResult", "text_of", "user"}
    for name in called - {"Field", "open_database"}:  # of pydantic; what an author would write
        assert hasattr(streamhttp_mcp, name), name


def test_every_size_that_the_readme_states_is_the_size():
    """300 seconds, 256 bits, and the body that nginx lets pass."""
    assert "`session_timeout`, 300 seconds" in README
    assert inspect.signature(MCPServer).parameters["session_timeout"].default == 300
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;  # Limits.body_bytes", README)
    assert int(megabytes) * 1024 * 1024 == Limits().body_bytes
    assert "A session id is 256 random bits" in README

    async def session_id() -> str:
        return (await Client(MCPServer("test")).connect()).headers["mcp-session-id"]

    assert len(run(session_id())) == 43  # characters of base64, 6 bits each


def test_no_figure_is_missing():
    """TODO stands where a figure of tests/bench.py belongs."""
    assert "TODO" not in README


def test_the_map_matches_the_banners():
    """Every section is there, in the file's order."""
    banners = re.findall(r"^# ---- (\d+ .+?) -+$", SOURCE, re.MULTILINE)
    rows = re.findall(r"^\| [IV]+ [^|]+\| ([^|]+) \|", section("The map"), re.MULTILINE)
    assert [name for row in rows for name in row.split("; ")] == banners


def test_nothing_but_the_standard_library_is_imported():
    """No package is needed."""
    modules = set()
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module.partition(".")[0])
    assert "asyncio" in modules
    assert modules <= sys.stdlib_module_names


def test_the_licence_is_named_on_top_and_printed_at_the_end():
    """MIT: SPDX line first, text last, identifier in pyproject.toml."""
    assert SOURCE.startswith("# SPDX-License-Identifier: MIT\n")
    assert "Permission is hereby granted" in SOURCE.split("sys.exit(main())")[-1]
    assert 'license = "MIT"' in (ROOT / "pyproject.toml").read_text()


# --- The module's own map -------------------------------------------------------------------------------


def test_the_docstring_names_every_section():
    """The map on the first screen is whole."""
    for number, name in re.findall(r"^# ---- (\d+) (.+?) -+$", SOURCE, re.MULTILINE):
        short = name.partition(" (")[0]  # the banner adds the revisions
        assert re.search(rf"\b{number} {re.escape(short)}", streamhttp_mcp.__doc__), f"{number} {name}"


def test_the_life_of_a_request_is_told_with_names_that_exist():
    """Each function and method on the way, as in `Connection.serve_one -> read_head`, is still called that."""
    life = streamhttp_mcp.__doc__.split("The life of one request")[1].split("The map")[0].replace("ctx.", "Context.")
    names = re.findall(r"\b(?:[A-Z]\w+\.[a-z_]+|[a-z]+(?:_[a-z]+)+)\b", life)
    assert len(names) > 15
    for name in names:
        owner, _, attribute = name.rpartition(".")
        if owner:
            assert callable(getattr(getattr(streamhttp_mcp, owner), attribute)), name
        else:
            assert re.search(rf"def {attribute}\b", SOURCE), name
