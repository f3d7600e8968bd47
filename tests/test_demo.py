"""Section 14: the document analyzer and the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import streamhttp_mcp as m

needs_server = pytest.mark.skipif(not hasattr(m, "Limits"), reason="needs the whole module, not a stub")

# ---- from text to numbers


@pytest.mark.parametrize(("text", "expected"), [
    ("", []),
    ("One. Two\nlines! Three?", ["One.", "Two lines!", "Three?"]),
    ("Pi is 3.14 or so. Really.", ["Pi is 3.14 or so.", "Really."]),
    ("No full stop\n\n \nnew paragraph", ["No full stop", "new paragraph"]),
    ("# Title\n\nText\n- item\n| a | b |\n|---|---|", ["Title", "Text", "item", "a | b |"]),
    ("... --- !!!", []),
])
def test_text_is_split_into_sentences(text: str, expected: list[str]) -> None:
    report = m.analyze("a.txt", text)
    assert report.sentences == len(expected)
    assert report.longest_sentences == sorted(expected, key=len, reverse=True)[:3]


@pytest.mark.parametrize(("path", "text", "expected"), [
    ("a.md", "# One\n## Two\n###### Six\n# C#", ["One", "Two", "Six", "C#"]),
    ("a.md", "####### seven\n#none\n    # code\n#\n", []),
    ("a.md", "```\n# no\n```\n# yes\n``` py\n# no\n```\n# end", ["yes", "end"]),
    ("a.md", "```\n# never closed", []),
    ("a.md", "# " + "x" * 1000, ["x" * 200]),
    ("a.sh", "# a comment", []),
])
def test_headings_are_found_outside_code(path: str, text: str, expected: list[str]) -> None:
    assert m.analyze(path, text).headings == expected


@pytest.mark.parametrize(("text", "count"), [
    ("", 0), ("one", 1), ("don't well-known it\u2019s", 3), ("- * # 7", 1),
    ("na\u00efve caf\u00e9", 2)])
def test_words_are_counted(text: str, count: int) -> None:
    assert m.analyze("a.txt", text).words == count


def test_report_on_a_small_document_is_complete() -> None:
    text = "# Plan\n\nThe robot sees. The Robot acts, and the robot rests many days.\n"
    assert m.analyze("plan.md", text) == m.Report(
        path="plan.md", words=13, sentences=3, reading_minutes=0.1, headings=["Plan"],
        frequent_terms={"robot": 3, "plan": 1, "sees": 1, "acts": 1, "rests": 1, "many": 1, "days": 1},
        longest_sentences=["The Robot acts, and the robot rests many days.", "The robot sees.", "Plan"])


def test_reading_time_is_in_minutes_at_200_words_a_minute() -> None:
    assert m.analyze("a.txt", "word " * 500).reading_minutes == 2.5


def test_lists_in_a_report_are_bounded() -> None:
    text = "\n".join(f"# Heading term{n}" for n in range(500)) + "\n\n" + "long " * 1000 + "end."
    report = m.analyze("a.md", text)
    assert len(report.headings) == 100
    assert len(report.frequent_terms) == 10
    assert len(report.longest_sentences[0]) == 300
    assert len(report.longest_sentences) == 3


@pytest.mark.parametrize("text", [
    "A short sentence here.\n\n" * 20_000,
    "\u20ac uros and words. " * 20_003,
    "One. Two. Three.",
    "x" * 200_000,
    "a\n" * 200_000,
    "." * 200_000 + " " * 200_000 + "end",
])
def test_progress_rises_to_the_number_of_sentences(text: str) -> None:
    told: list[tuple[int, int]] = []
    report = m.analyze("a.txt", text, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1] == (report.sentences, report.sentences)
    assert min(10, report.sentences) <= len(told) <= 20


# ---- the door to the disk


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder with documents, next to a secret that must never be seen."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    (root / "notes").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "README.md").write_text("# Hello\n\nHello world.\n")
    (root / "notes" / "my plan 100%.txt").write_text("A plan.")
    (root / "notes" / "code.py").write_text("def f(): ...\n")
    (root / ".env").write_text("KEY=secret")
    (root / ".git" / "config").write_text("secret")
    (root / "image.png").write_bytes(b"\x89PNG\r\n\0\0")
    (root / "latin1.txt").write_bytes("caf\u00e9 au lait".encode("latin-1"))
    (root / "empty.txt").write_text("")
    (root / "link-inside.md").symlink_to("README.md")
    (root / "link-out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "link-relative.txt").symlink_to("../secret.txt")
    (root / "link-folder").symlink_to(tmp_path)
    (root / "link-hidden").symlink_to(".env")
    (root / "link-circle").symlink_to("link-circle")
    (root / "link-device").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe.txt")
    yield root


@pytest.mark.parametrize("path", ["README.md", "notes/my plan 100%.txt", "link-inside.md"])
def test_document_below_the_root_is_found(root: Path, path: str) -> None:
    assert m.find_document(root, path).samefile(root / path)


def test_root_may_be_relative_a_link_or_hidden(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "alias").symlink_to(root)
    (root.parent / ".hidden").mkdir()
    (root.parent / ".hidden" / "a.md").write_text("a")
    monkeypatch.chdir(root)
    assert m.find_document(Path("."), "README.md") == root.resolve() / "README.md"
    assert m.find_document(root.parent / "alias", "README.md") == root.resolve() / "README.md"
    assert m.find_document(root.parent / ".hidden", "a.md").name == "a.md"
    assert list(m.list_documents(Path("."))) == list(m.list_documents(root))


HOSTILE = [
    "", ".", "..", "/", "//", "../secret.txt", "notes/../../secret.txt", "notes/../README.md", "./README.md",
    "....//secret.txt", "../root-2/secret.txt", "notes/..", ".. /secret.txt", "..\\secret.txt",
    "notes\\..\\..\\secret.txt", "\\\\host\\share", "C:\\Windows\\win.ini", "C:secret.txt",
    "README.md:stream",
    "/etc/passwd", "//etc/passwd", "notes//code.py", "README.md/", "notes/", "file:///etc/passwd",
    "~", "~/.ssh/id_rsa", "~root/.profile", "$HOME/x",
    "%2e%2e/secret.txt", "%2e%2e%2fsecret.txt", "..%2fsecret.txt", "%252e%252e/secret.txt",
    "..%c0%afsecret.txt",
    "\uff0e\uff0e/secret.txt", "\u2025/secret.txt", "..\u2215secret.txt",
    "README.md\0", "README.md\0.png", "\0", "../secret.txt\0.md", "README.md\n", "\ud800", "\udcff\udcff",
    ".env", ".git/config", "notes/.", "link-out.txt", "link-relative.txt", "link-folder/secret.txt",
    "link-folder/root-2/secret.txt", "link-hidden", "link-circle", "link-device", "notes", "link-folder",
    "pipe.txt", "/dev/zero", "/dev/stdin", "/proc/self/environ", "README.md/secret.txt", "missing.md",
    "a" * 300, "a/" * 5000 + "a", "A" * 1_000_000,
]


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: ascii(path)[:40])
def test_nothing_else_is_found_by_any_spelling(root: Path, path: str) -> None:
    with pytest.raises(m.ToolError) as caught:
        m.find_document(root, path)
    message = str(caught.value)
    assert repr(path)[:200] in message  # as given
    assert str(root.parent.resolve()) not in message  # and nothing else
    assert len(message) < 300


def test_way_through_a_folder_outside_is_refused_even_if_it_comes_back(root: Path) -> None:
    """link-folder leads out, root leads in again: where a path ends is what counts, and it ends inside."""
    assert m.find_document(root, "link-folder/root/README.md") == root.resolve() / "README.md"


@pytest.mark.parametrize(("path", "message"), [
    ("image.png", "cannot read 'image.png': it is not UTF-8 text, or access is denied"),
    ("latin1.txt", "cannot read 'latin1.txt': it is not UTF-8 text, or access is denied"),
    ("missing.md", "there is no document 'missing.md'"),
])
def test_what_is_not_text_is_refused_by_name(root: Path, path: str, message: str) -> None:
    with pytest.raises(m.ToolError, match=re.escape(message)):
        m.read_document(root, path)


def test_document_has_4_mi_characters_at_most(root: Path) -> None:
    (root / "most.txt").write_bytes(b"x" * m.MAX_DOCUMENT)
    (root / "more.txt").write_bytes(b"x" * (m.MAX_DOCUMENT + 1))
    assert len(m.read_document(root, "most.txt")) == m.MAX_DOCUMENT
    with pytest.raises(m.ToolError, match=r"'more.txt' is longer than 4,194,304 characters"):
        m.read_document(root, "more.txt")
    assert "more.txt" not in list(m.list_documents(root))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_document_is_refused_without_its_real_path(root: Path) -> None:
    (root / "README.md").chmod(0)
    with pytest.raises(m.ToolError, match=r"^cannot read 'README.md': it is not UTF-8 text, or access is denied$"):
        m.read_document(root, "README.md")


def test_text_is_read_without_its_mark_and_carriage_returns(root: Path) -> None:
    (root / "windows.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert m.read_document(root, "windows.txt") == "one\ntwo\n"


def test_list_has_what_can_be_read_in_order(root: Path) -> None:
    (root / "node_modules").mkdir()
    (root / "node_modules" / "x.js").write_text("x")
    assert list(m.list_documents(root)) == [
        "README.md", "empty.txt", "link-inside.md", "notes/code.py", "notes/my plan 100%.txt"]


# ---- the server's functions, without a server


class Recorder:
    """Stands where MCPServer does and keeps what is registered."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.functions: dict[str, Any] = {}
        self.resources: dict[str, tuple[Any, dict[str, Any]]] = {}

    def tool(self, *args: Any, **options: Any) -> Any:
        return lambda function: self.functions.setdefault(function.__name__, function)

    prompt = completion = resource = tool

    def add_resource(self, function: Any, uri: str, **options: Any) -> None:
        self.resources[uri] = (function, options)

    def route(self, *args: Any, **options: Any) -> None:
        """The page has its own tests."""


class Client:
    """A Context whose client answers as told."""

    def __init__(self, capabilities: dict[str, Any], action: str = "accept", says: Any = "A summary."):
        self.client_capabilities, self.action, self.says = capabilities, action, says
        self.progress: list[tuple[float, float | None, str | None]] = []
        self.asked: list[str] = []

    async def report_progress(
            self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self.progress.append((progress, total, message))

    def wait(self, coroutine: Any) -> Any:
        return asyncio.run(coroutine)

    async def elicit(self, message: str, schema: Any) -> Any:
        if "form" not in (self.client_capabilities.get("elicitation", {"url": {}}) or {"form": {}}):  # {} means forms
            raise m.ToolError("the client cannot be asked")
        self.asked.append(message)
        data = schema("Finance") if self.action == "accept" else None
        return SimpleNamespace(action=self.action, data=data)

    async def sample(self, messages: str, **options: Any) -> dict[str, Any]:
        if "sampling" not in self.client_capabilities:
            raise m.ToolError("the client cannot be asked")
        self.asked.append(messages)
        if isinstance(self.says, Exception):
            raise self.says
        return {"role": "assistant", "model": "test", "content": {"type": "text", "text": self.says}}


@pytest.fixture
def server(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(m, "MCPServer", Recorder)
    return m.document_analyzer(root)


def test_analysis_reports_sentences_and_what_is_read(server: Any) -> None:
    client = Client({})
    report = server.functions["analyze_document"]("README.md", client)
    assert (report.words, report.headings) == (3, ["Hello"])
    assert client.progress == [
        (1, 2, "Analyzed 1 of 2 sentences of README.md"), (2, 2, "Analyzed 2 of 2 sentences of README.md")]


def test_long_operation_reports_five_steps(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_sleep(seconds: float) -> None: ...

    monkeypatch.setattr(asyncio, "sleep", no_sleep)
    client = Client({})
    assert asyncio.run(server.functions["long_running_operation"]("x", client)) == "Completed processing x"
    assert client.progress == [(n, 5, f"Processing batch {n}/5...") for n in range(1, 6)]


@pytest.mark.parametrize(("capabilities", "action", "domain", "questions", "said"), [
    ({}, "", None, 0, "Domain: not given."),
    ({}, "", "Other", 0, "Domain: Other."),
    ({"elicitation": {}}, "accept", None, 1, "Domain: Finance."),
    ({"elicitation": {"form": {}}}, "accept", None, 1, "Domain: Finance."),
    ({"elicitation": {"url": {}}}, "accept", None, 0, "Domain: not given."),
    ({"elicitation": {}}, "accept", "Healthcare", 0, "Domain: Healthcare."),
    ({"elicitation": {}}, "decline", None, 1, "Domain: not given."),
    ({"elicitation": {}}, "cancel", None, 1, "Domain: not given."),
])
def test_domain_is_asked_for_only_when_it_is_missing_and_can_be_asked(
        server: Any, capabilities: dict[str, Any], action: str, domain: str | None, questions: int, said: str,
) -> None:
    client = Client(capabilities, action)
    text = asyncio.run(server.functions["intelligent_analysis"]("README.md", client, domain))
    assert said in text
    assert len(client.asked) == questions


def test_summary_comes_from_the_clients_model_if_there_is_one(server: Any) -> None:
    analyze = server.functions["intelligent_analysis"]
    assert "Summary: A summary." in asyncio.run(analyze("README.md", Client({"sampling": {}}), "Other"))
    refused = Client({"sampling": {}}, says=m.ToolError("the user said no"))
    assert "Summary: none, the user said no" in asyncio.run(analyze("README.md", refused, "Other"))
    assert "Summary: none, the client cannot be asked" in asyncio.run(analyze("README.md", Client({}), "Other"))


def test_wrong_path_asks_nobody(server: Any) -> None:
    client = Client({"elicitation": {}, "sampling": {}})
    with pytest.raises(m.ToolError):
        asyncio.run(server.functions["intelligent_analysis"]("../secret.txt", client))
    assert client.asked == []


def test_every_listed_resource_reads_its_own_document(server: Any) -> None:
    assert list(server.resources) == ["doc://README.md", "doc://empty.txt", "doc://link-inside.md",
                                      "doc://notes/code.py", "doc://notes/my%20plan%20100%25.txt"]
    texts = [function() for function, _ in server.resources.values()]
    assert texts == ["# Hello\n\nHello world.\n", "", "# Hello\n\nHello world.\n", "def f(): ...\n", "A plan."]


def test_200_documents_are_listed_and_the_template_reads_the_others(root: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(m, "MCPServer", Recorder)
    for n in range(300):
        (root / f"{n:03}.txt").write_text(str(n))
    server: Any = m.document_analyzer(root)
    assert len(server.resources) == 200
    assert server.functions["document"]("299.txt") == "299"


def test_prompt_brings_the_document_along(server: Any) -> None:
    assert server.functions["review_document"]("notes/code.py").endswith("\n\ndef f(): ...\n")


@pytest.mark.parametrize(("typed", "expected"), [
    ("no", ["notes/code.py", "notes/my plan 100%.txt"]), ("READ", ["README.md"]), ("nothing", [])])
def test_paths_are_completed(server: Any, typed: str, expected: list[str]) -> None:
    complete = server.functions["complete"]({"type": "ref/prompt"}, {"name": "path", "value": typed}, None)
    assert asyncio.run(complete) == expected


# ---- the command line

MODULE = [sys.executable, str(m.__file__)]


def run_main(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MODULE, *flags], capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(("flags", "message"), [
    (["--port", "x"], "argument --port: invalid int value: 'x'"),
    (["--port", "65536"], "argument --port: expected 0 to 65535, got 65536"),
    (["--port", "-1"], "argument --port: expected 0 to 65535, got -1"),
    (["--session-timeout", "0"], "argument --session-timeout: expected seconds, got 0.0"),
    (["--session-timeout", "nan"], "argument --session-timeout: expected seconds, got nan"),
    (["--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
    (["--colour"], "unrecognized arguments: --colour"),
])
def test_bad_flag_is_one_line_and_exits_with_2(flags: list[str], message: str) -> None:
    done = run_main(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"streamhttp_mcp: error: {message}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["missing", "file"])
def test_missing_root_is_one_line_and_exits_with_2(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    done = run_main("--root", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"streamhttp_mcp: error: argument --root: no folder {str(tmp_path / name)!r}\n"


def test_version_is_shown() -> None:
    assert run_main("--version").stdout == f"streamhttp_mcp {m.__version__}\n"


def test_port_in_use_is_one_line_and_exits_with_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_main("--port", str(port), "--root", str(tmp_path), "--log-level", "error")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"streamhttp_mcp: cannot listen on 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1 and "in use" in done.stderr


@contextlib.contextmanager
def demo(root: Path, *flags: str, **variables: str) -> Iterator[tuple[list[str], subprocess.Popen[str]]]:
    """A running demo: what main prints once it listens, and its process."""
    command = [*MODULE, "--port", "0", "--root", str(root), *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE if variables else None}
    with subprocess.Popen(command, text=True, env=os.environ | variables, **pipes) as process:
        assert process.stdout is not None
        try:
            yield [process.stdout.readline().rstrip("\n") for _ in range(12)], process
        finally:
            process.terminate()


@pytest.fixture
def started(root: Path) -> Iterator[list[str]]:
    with demo(root) as (lines, _):
        yield lines


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")
def test_printed_curl_lines_work_when_pasted(started: list[str]) -> None:
    script = "\n".join([*started[-2:], 'echo; echo "SID=<$SID>"'])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"SID=<[!-~]+>", done.stdout)
    assert re.findall(r"Processing batch (\d)/5", done.stdout) == list("12345")
    assert "Completed processing hello" in done.stdout


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")
def test_printed_curl_lines_work_with_a_token_that_neither_shows(root: Path) -> None:
    """[log.no-credentials] The token is in the environment of both, and nowhere else."""
    token = {"STREAMHTTP_MCP_TOKEN": "s3cret-7f"}
    with demo(root, **token) as (lines, process):
        script = lines[-2].removesuffix("\n") + '\necho "SID=<$SID>"'
        locked = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
        opened = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True,
                                env=os.environ | token)  # fmt: skip
        process.terminate()
        _, logged = process.communicate(timeout=10)
    assert locked.stdout == "SID=<>\n" and re.fullmatch(r"SID=<[!-~]+>\n", opened.stdout)
    assert re.findall(r"POST '/mcp' (\d+)", logged) == ["400", "200"]  # `Bearer` alone is malformed
    assert "s3cret" not in "".join(lines) + logged


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system does not share ports")
def test_processes_share_a_port_and_go_on_without_each_other(root: Path) -> None:
    """The system deals out the connections; when one process has gone, the other gets them all."""
    secret = {"STREAMHTTP_MCP_SECRET": "shared"}
    with demo(root, "--reuse-port", **secret) as (lines, first):
        health = lines[0].split()[3].replace("/mcp", "/health")
        port = str(urllib.parse.urlsplit(health).port)
        with demo(root, "--reuse-port", "--port", port, **secret) as (_, second):
            for _ in range(60):
                assert urllib.request.urlopen(health, timeout=5).status == 200
            first.terminate()
            _, logged = first.communicate(timeout=10)
            assert first.returncode == 0 and 0 < logged.count("/health") < 60
            assert urllib.request.urlopen(health, timeout=5).status == 200
            second.terminate()
            _, rest = second.communicate(timeout=10)
            assert logged.count("/health") + rest.count("/health") == 61


def test_printed_lines_name_the_real_url(started: list[str]) -> None:
    url = started[0].split()[3]
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/mcp", url)
    assert started[2] == f"Watch it:     {url.removesuffix('mcp')} in a browser shows the conversation"
    assert started[3].endswith(f"claude mcp add --transport http document-analyzer {url}")
    assert started[4].endswith(f"--server-url {url}")
    snippet = json.loads(started[5].removeprefix("mcp.json:"))
    assert snippet["mcpServers"]["document-analyzer"] == {"type": "http", "url": url}


# ---- the demo behind the real server


def speak(url: str, session: str | None, method: str, **params: Any) -> tuple[dict[str, Any], str | None]:
    """One request, its JSON answer (from whichever form it came in), and the session's id."""
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if session:
        headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as response:
        text = response.read().decode()
        if response.headers["Content-Type"].startswith("text/event-stream"):
            text = re.findall(r"(?m)^data: ?(\S.*)$", text)[-1]
        return json.loads(text), response.headers["Mcp-Session-Id"]


@pytest.fixture
def session(started: list[str]) -> tuple[str, str | None]:
    url = started[0].split()[3]
    _, session = speak(url, None, "initialize", protocolVersion="2025-11-25", capabilities={},
                       clientInfo={"name": "test", "version": "1"})
    return url, session


@needs_server
def test_report_is_structured_and_described_by_a_schema(session: tuple[str, str]) -> None:
    tools = {tool["name"]: tool for tool in speak(*session, "tools/list")[0]["result"]["tools"]}
    assert set(tools) == {"analyze_document", "long_running_operation", "intelligent_analysis"}
    schema = tools["analyze_document"]["outputSchema"]
    minutes = schema["properties"]["reading_minutes"]
    assert minutes["description"] == "minutes to read it at 200 words a minute"
    assert set(tools["analyze_document"]["inputSchema"]["properties"]) == {"path"}
    answer, _ = speak(*session, "tools/call", name="analyze_document", arguments={"path": "README.md"})
    assert set(answer["result"]["structuredContent"]) == set(schema["properties"])
    assert answer["result"]["structuredContent"]["headings"] == ["Hello"]


@needs_server
@pytest.mark.parametrize("uri", ["doc://README.md", "doc://notes/my%20plan%20100%25.txt"])
def test_resources_are_listed_and_read(session: tuple[str, str], uri: str) -> None:
    listed = speak(*session, "resources/list")[0]["result"]["resources"]
    assert uri in [resource["uri"] for resource in listed]
    assert speak(*session, "resources/read", uri=uri)[0]["result"]["contents"][0]["text"]


@needs_server
def test_template_reads_what_is_not_listed_and_decodes_once(session: tuple[str, str], root: Path) -> None:
    (root / "a%20b c.txt").write_text("late")  # the % is part of the name
    answer, _ = speak(*session, "resources/read", uri="doc://a%2520b%20c.txt")
    assert answer["result"]["contents"][0]["text"] == "late"


@needs_server
@pytest.mark.parametrize("path", [
    "../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "%252e%252e/secret.txt", "/etc/passwd",
    "%2fetc%2fpasswd", "README.md%00", "..%5csecret.txt", ".env", "link-out.txt"])
def test_template_reads_nothing_outside(session: tuple[str, str], root: Path, path: str) -> None:
    answer, _ = speak(*session, "resources/read", uri="doc://" + path)
    assert "error" in answer and "secret\"" not in json.dumps(answer)
    assert str(root.parent) not in json.dumps(answer)


@needs_server
def test_bad_path_is_a_tool_error_that_names_it(session: tuple[str, str]) -> None:
    answer, _ = speak(*session, "tools/call", name="analyze_document", arguments={"path": "../secret.txt"})
    assert answer["result"]["isError"] is True
    assert "'../secret.txt'" in answer["result"]["content"][0]["text"]


@needs_server
def test_completion_offers_paths(session: tuple[str, str]) -> None:
    typed = {"name": "path", "value": "code"}
    for ref in ({"type": "ref/prompt", "name": "review_document"},
                {"type": "ref/resource", "uri": "doc://{+path}"}):
        answer, _ = speak(*session, "completion/complete", ref=ref, argument=typed)
        assert answer["result"]["completion"]["values"] == ["notes/code.py"]
