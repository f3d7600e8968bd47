"""Section 17: the documents, the tools that read them, and the command line. The page has its own tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import streamhttp_mcp as m

needs_curl = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")

# --- The door to the disk -----------------------------------------------------------------------------


def make_folder(parent: Path) -> Path:
    """A folder with documents, next to a secret that must never be seen."""
    (parent / "secret.txt").write_text("secret")
    (parent / "root-2").mkdir()
    (parent / "root-2" / "secret.txt").write_text("secret")
    root = parent / "root"
    (root / "notes").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "README.md").write_text("# Hello\n\nHello world.\n")
    (root / "notes" / "my plan 100%.txt").write_text("A plan.")
    (root / "notes" / "code.py").write_text("def f(): ...\n")
    (root / "LOUD.MD").write_text("# Loud\n")
    (root / "empty.rst").write_text("")
    (root / "latin1.txt").write_bytes("caf\u00e9 au lait".encode("latin-1"))
    (root / ".env").write_text("KEY=secret")
    (root / ".hidden.md").write_text("secret")
    (root / ".git" / "config.txt").write_text("secret")
    (root / "key.pem").write_text("secret, and UTF-8")
    (root / "passwords.csv").write_text("secret")
    (root / "LICENSE").write_text("no suffix")
    (root / "link-inside.md").symlink_to("README.md")
    (root / "link-key.md").symlink_to("key.pem")
    (root / "link-out.txt").symlink_to(parent / "secret.txt")
    (root / "link-relative.txt").symlink_to("../secret.txt")
    (root / "link-folder").symlink_to(parent)
    (root / "link-hidden.md").symlink_to(".hidden.md")
    (root / "link-circle.txt").symlink_to("link-circle.txt")
    (root / "link-device.txt").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe.txt")
    (root / "folder.md").mkdir()
    (root / "node_modules").mkdir()
    (root / "node_modules" / "x.js").write_text("x")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.mark.parametrize("path", ["README.md", "LOUD.MD", "notes/my plan 100%.txt", "link-inside.md"])
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
    "....//secret.txt", "../root-2/secret.txt", "../root/README.md", "notes/..", ".. /secret.txt", "..\\secret.txt",
    "notes\\..\\..\\secret.txt", "\\\\host\\share", "C:\\Windows\\win.ini", "C:secret.txt", "README.md:stream",
    "/etc/passwd", "//etc/passwd", "notes//code.py", "README.md/", "notes/", "file:///etc/passwd",
    "~", "~/.ssh/id_rsa", "~root/.profile", "$HOME/x", "%2e%2e/secret.txt", "%2e%2e%2fsecret.txt", "..%2fsecret.txt",
    "%252e%252e/secret.txt", "..%c0%afsecret.txt", "\uff0e\uff0e/secret.txt", "\u2025/secret.txt", "..\u2215secret.txt",
    "README.md\0", "README.md\0.png", "\0", "../secret.txt\0.md", "README.md\n", "\ud800", "\udcff\udcff.md",
    ".env", ".hidden.md", ".git/config.txt", "notes/.", "link-out.txt", "link-relative.txt", "link-folder/secret.txt",
    "link-folder/root-2/secret.txt", "link-hidden.md", "link-circle.txt", "link-device.txt", "notes", "link-folder",
    "folder.md", "pipe.txt", "/dev/zero", "/dev/stdin", "/proc/self/environ", "README.md/secret.txt", "missing.md",
    "key.pem", "link-key.md", "passwords.csv", "LICENSE", "a" * 300, "a/" * 5000 + "a", "A" * 1_000_000,
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: ascii(path)[:40])
def test_nothing_else_is_found_by_any_spelling(root: Path, path: str) -> None:
    """[demo.inside-root] The message is the path as given, and the same whatever is wrong with it."""
    with pytest.raises(m.ToolError) as caught:
        m.find_document(root, path)
    assert str(caught.value) == f"there is no document {path!r:.200}"


def test_way_through_a_folder_outside_is_allowed_if_it_ends_inside(root: Path) -> None:
    assert m.find_document(root, "link-folder/root/README.md") == root.resolve() / "README.md"


def test_document_that_is_not_utf8_is_refused_by_name(root: Path) -> None:
    with pytest.raises(m.ToolError, match="^'latin1.txt' cannot be read, or is not UTF-8 text$"):
        m.read_document(root, "latin1.txt")


def test_document_has_4_mi_characters_at_most(root: Path) -> None:
    (root / "most.txt").write_bytes(b"x" * m.MAX_DOCUMENT)
    (root / "more.txt").write_bytes(b"x" * (m.MAX_DOCUMENT + 1))
    assert len(m.read_document(root, "most.txt")) == m.MAX_DOCUMENT
    with pytest.raises(m.ToolError, match=r"^'more.txt' is longer than 4,194,304 characters$"):
        m.read_document(root, "more.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_forbidden_document_is_refused_without_its_real_path(root: Path) -> None:
    (root / "README.md").chmod(0)
    with pytest.raises(m.ToolError, match="^'README.md' cannot be read, or is not UTF-8 text$"):
        m.read_document(root, "README.md")


def test_text_is_read_without_its_mark_and_carriage_returns(root: Path) -> None:
    (root / "windows.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    assert m.read_document(root, "windows.txt") == "one\ntwo\n"


def test_documents_are_listed_by_suffix_and_in_order(root: Path) -> None:
    """Markdown, text, reStructuredText and source code: no key, no table, nothing hidden, nothing from outside."""
    assert list(m.list_documents(root)) == [
        "LOUD.MD", "README.md", "empty.rst", "latin1.txt", "link-inside.md", "notes/code.py", "notes/my plan 100%.txt",
    ]  # fmt: skip


# --- The demo behind its own command line -------------------------------------------------------------

MODULE = [sys.executable, str(m.__file__)]
TOKEN = "STREAMHTTP_MCP_TOKEN"
OPEN = {name: value for name, value in os.environ.items() if name != TOKEN}


@contextlib.contextmanager
def demo(root: Path, *flags: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A running demo: what it prints once it listens, and its process."""
    command = [*MODULE, "--port", "0", "--root", str(root), *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE if variables else None}
    with subprocess.Popen(command, text=True, env=OPEN | variables, **pipes) as process:
        try:
            printed = ""
            while line := process.stdout.readline():
                printed += line
                if line == "}'\n":  # the end of the last command
                    break
            yield printed, process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of a demo that all tests share, and what the demo printed."""
    root = make_folder(tmp_path_factory.mktemp("served"))
    for n in range(250):
        (root / f"z{n:03}.txt").write_text(str(n))
    with demo(root, "--log-level", "warning") as (printed, _):
        yield root, printed


@pytest.fixture
def url(served: tuple[Path, str]) -> str:
    return served[1].split()[3]


VERSION = "2026-07-28"
META = "io.modelcontextprotocol/"


def speak(url: str, method: str, able: dict[str, Any] | None = None, **params: Any) -> list[dict[str, Any]]:
    """One request of a client without a session, and all messages that answer it."""
    about = {META + "protocolVersion": VERSION, META + "clientInfo": {"name": "test", "version": "1"}}
    meta = {**about, META + "clientCapabilities": able or {}, "progressToken": 1}
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": method,
    }
    if name := params.get("name", params.get("uri")):
        headers["Mcp-Name"] = name
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            text = response.read().decode()
    except urllib.error.HTTPError as refusal:  # its body says why
        text = refusal.read().decode()
    return [json.loads(data) for data in re.findall(r"(?m)^(?:data: ?)?(\{.*\})$", text)]


def call(url: str, name: str, able: dict[str, Any] | None = None, more: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """The result of a tool."""
    return speak(url, "tools/call", able, name=name, arguments=arguments, **more or {})[-1]["result"]


def test_report_is_structured_and_described_by_a_schema(url: str) -> None:
    (answer,) = speak(url, "tools/list")
    tools = {tool["name"]: tool for tool in answer["result"]["tools"]}
    assert set(tools) == {"analyze_document", "long_running_operation", "intelligent_analysis"}
    schema = tools["analyze_document"]["outputSchema"]
    assert schema["properties"]["headings"]["description"] == "The first 100 headings of a Markdown document"
    assert set(tools["analyze_document"]["inputSchema"]["properties"]) == {"path"}
    report = {"path": "README.md", "words": 4, "lines": 3, "headings": ["Hello"]}
    assert call(url, "analyze_document", path="README.md")["structuredContent"] == report
    assert set(schema["properties"]) == set(report)


@pytest.mark.parametrize(("name", "text", "headings"), [
    ("a.md", "# One\n## Two\n###### Six\n# C#", ["One", "Two", "Six", "C#"]),
    ("a.markdown", "# One", ["One"]),
    ("a.md", "####### seven\n#none\n    # code\n#\n# \n", []),
    ("a.md", "```\n# no\n```\n# yes\n``` py\n# no\n```\n# end", ["yes", "end"]),
    ("a.md", "```\n# never closed", []),
    ("a.md", "\n".join(f"# {n}" for n in range(500)), [str(n) for n in range(100)]),
    ("a.sh", "# a comment", []),
])  # fmt: skip
def test_headings_are_found_in_markdown_and_outside_code(served, url, name, text, headings) -> None:
    (served[0] / name).write_text(text)
    assert call(url, "analyze_document", path=name)["structuredContent"]["headings"] == headings


@pytest.mark.parametrize("lines", [0, 1, 9, 25, 100_000])
def test_analysis_reports_progress_up_to_the_last_line(served, url, lines: int) -> None:
    """[progress.increases]"""
    (served[0] / "long.txt").write_text("one more line\n" * lines)
    *progress, answer = speak(url, "tools/call", name="analyze_document", arguments={"path": "long.txt"})
    assert answer["result"]["structuredContent"]["words"] == 3 * lines
    done = [message["params"]["progress"] for message in progress]
    assert done == sorted(set(done)) and min(lines, 10) <= len(done) <= 15
    if lines:
        assert progress[-1]["params"]["message"] == f"Read {lines:,} of {lines:,} lines of long.txt"
        assert {message["params"]["total"] for message in progress} == {lines} == {done[-1]}


def test_domain_is_asked_by_a_form_and_the_summary_of_the_clients_model(url: str) -> None:
    able = {"elicitation": {}, "sampling": {}}
    asked = call(url, "intelligent_analysis", able, path="README.md")
    ((key, form),) = asked["inputRequests"].items()
    assert form["params"]["message"] == "What domain is README.md from?"
    choices = form["params"]["requestedSchema"]["properties"]["domain"]["enum"]
    assert choices == ["Finance", "Healthcare", "E-commerce", "Other"]

    more = {"inputResponses": {key: {"action": "accept", "content": {"domain": "Other"}}}}
    again = call(url, "intelligent_analysis", able, {**more, "requestState": asked["requestState"]}, path="README.md")
    ((key, prompt),) = again["inputRequests"].items()
    text = prompt["params"]["messages"][0]["content"]["text"]
    assert text == "Summarize in three sentences. Domain: Other.\n\n# Hello\n\nHello world.\n"

    more = {"inputResponses": {key: {"role": "assistant", "model": "m", "content": {"type": "text", "text": "Short."}}}}
    more["requestState"] = again["requestState"]
    result = call(url, "intelligent_analysis", able, more, path="README.md")
    assert result["content"][0]["text"] == "README.md: 4 words. Domain: Other.\nSummary: Short."


@pytest.mark.parametrize("action", ["decline", "cancel"])
def test_user_need_not_name_the_domain(url: str, action: str) -> None:
    able = {"elicitation": {}}
    asked = call(url, "intelligent_analysis", able, path="README.md")
    more = {"inputResponses": {key: {"action": action} for key in asked["inputRequests"]}}
    more["requestState"] = asked["requestState"]
    text = call(url, "intelligent_analysis", able, more, path="README.md")["content"][0]["text"]
    assert text.startswith("README.md: 4 words. Domain: not given.\nSummary: none, ")


def test_client_that_cannot_be_asked_is_answered_at_once(url: str) -> None:
    text = call(url, "intelligent_analysis", path="README.md")["content"][0]["text"]
    assert text.startswith("README.md: 4 words. Domain: not given.\nSummary: none, ")


@pytest.mark.parametrize("tool", ["analyze_document", "intelligent_analysis"])
def test_bad_path_is_a_tool_error_that_names_it_and_asks_nobody(url: str, tool: str) -> None:
    """[demo.inside-root]"""
    result = call(url, tool, {"elicitation": {}, "sampling": {}}, path="../secret.txt")
    assert result["isError"] and result["content"][0]["text"] == "there is no document '../secret.txt'"


def test_200_documents_are_listed_and_the_template_reads_the_others(url: str) -> None:
    (answer,) = speak(url, "resources/list")
    listed = [resource["uri"] for resource in answer["result"]["resources"]]
    assert len(listed) == 200
    assert {"doc://README.md", "doc://link-inside.md"} <= set(listed)
    assert not re.search("key|pem|csv|hidden|secret|out|LICENSE", " ".join(listed))
    (answer,) = speak(url, "resources/read", uri="doc://z249.txt")
    assert answer["result"]["contents"][0]["text"] == "249"


def test_every_listed_resource_reads_its_own_document(url: str) -> None:
    for uri, text in {"doc://README.md": "# Hello\n\nHello world.\n", "doc://z007.txt": "7", "doc://z100.txt": "100"}.items():
        (answer,) = speak(url, "resources/read", uri=uri)
        assert answer["result"]["contents"] == [{"uri": uri, "mimeType": "text/plain", "text": text}]


def test_uri_is_decoded_once(served, url) -> None:
    (served[0] / "a%20b c.txt").write_text("late")  # the % is part of the name
    (answer,) = speak(url, "resources/read", uri="doc://a%2520b%20c.txt")
    assert answer["result"]["contents"][0]["text"] == "late"


@pytest.mark.parametrize("path", [
    "../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "%252e%252e/secret.txt", "/etc/passwd", "%2fetc%2fpasswd",
    "README.md%00", "..%5csecret.txt", ".env", "key.pem", "link-key.md", "link-out.txt"])  # fmt: skip
def test_template_reads_nothing_else(served, url, path: str) -> None:
    """[demo.inside-root]"""
    (answer,) = speak(url, "resources/read", uri="doc://" + path)
    assert "error" in answer and 'secret"' not in json.dumps(answer)
    assert str(served[0].parent) not in json.dumps(answer)


def test_prompt_brings_the_document_along(url: str) -> None:
    (answer,) = speak(url, "prompts/get", name="review_document", arguments={"path": "notes/code.py"})
    assert answer["result"]["messages"][0]["content"]["text"].endswith("\n\ndef f(): ...\n")


@pytest.mark.parametrize(("typed", "paths"), [
    ("INSIDE", ["link-inside.md"]), ("z01", [f"z01{n}.txt" for n in range(10)]), ("key", []), ("nothing", [])])
def test_paths_of_listed_documents_are_completed(url: str, typed: str, paths: list[str]) -> None:
    for ref in ({"type": "ref/prompt", "name": "review_document"}, {"type": "ref/resource", "uri": "doc://{+path}"}):
        (answer,) = speak(url, "completion/complete", ref=ref, argument={"name": "path", "value": typed})
        assert answer["result"]["completion"]["values"] == paths


# --- What it prints, and how it ends ------------------------------------------------------------------


def test_banner_names_the_folder_and_the_real_url(served, url) -> None:
    root, printed = served
    lines = printed.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/mcp", url)
    assert lines[:2] == [
        f"document-analyzer listens on {url} - Ctrl+C stops it", f"It serves the documents in {root.resolve()}, read only."]
    assert f"Page:         {url.removesuffix('mcp')} shows the conversation in a browser" in lines
    assert f"Claude Code:  claude mcp add --transport http document-analyzer {url}" in lines
    assert any(line.startswith("Inspector:") and line.endswith(f"--server-url {url}") for line in lines)
    assert any(line.startswith(f"Old clients:  {url.removesuffix('/mcp')}/sse ") for line in lines)
    (snippet,) = [json.loads(line.removeprefix("mcp.json:")) for line in lines if line.startswith("mcp.json:")]
    assert snippet == {"mcpServers": {"document-analyzer": {"type": "http", "url": url}}}
    assert "{" not in re.sub(r"(?s)\n\nSID=.*|mcp.json:.*", "", printed)  # no place left unfilled


def paste(printed: str, commands: int, **variables: str) -> str:
    """What a shell says to the first commands of the banner."""
    script = re.search(r"(?s)\n\n(SID=.*)", printed)[1]
    script = "curl".join(re.split(r"(?m)^curl", script)[:commands])
    script += '\necho; echo "SID=<$SID>"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False, env=OPEN | variables)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs_curl
def test_printed_curl_lines_work_when_pasted(served) -> None:
    said = paste(served[1], 2)
    assert re.search(r"SID=<[!-~]+>", said)
    assert re.findall(r"Processing batch (\d)/5", said) == list("12345")
    assert "Completed processing hello" in said


@needs_curl
def test_printed_lines_take_a_token_from_the_environment_and_never_show_it(root: Path) -> None:
    """[log.no-credentials] The token is in the environment of the server and of the shell, and nowhere else."""
    token = {TOKEN: "s3cret-7f"}
    with demo(root, **token) as (printed, process):
        assert f"document-analyzer {printed.split()[3]} --header \"Authorization: Bearer ${TOKEN}\"" in printed
        (snippet,) = [json.loads(line[9:]) for line in printed.splitlines() if line.startswith("mcp.json:")]
        headers = snippet["mcpServers"]["document-analyzer"]["headers"]
        assert headers == {"Authorization": f"Bearer ${{{TOKEN}}}"}
        locked, opened = paste(printed, 1), paste(printed, 1, **token)
        process.terminate()
        _, logged = process.communicate(timeout=10)
    assert "SID=<>\n" in locked and re.search(r"SID=<[!-~]+>\n", opened)
    assert re.findall(r"POST '?/mcp'? (\d+)", logged) == ["400", "200"]  # `Bearer` alone is malformed
    assert "s3cret" not in printed + logged


def run_main(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MODULE, *flags], capture_output=True, text=True, timeout=20, check=False, env=OPEN)


@pytest.mark.parametrize(("flags", "message"), [
    (["--port", "x"], "argument --port: invalid int value: 'x'"),
    (["--port", "65536"], "argument --port: expected 0 to 65535, got 65536"),
    (["--port", "-1"], "argument --port: expected 0 to 65535, got -1"),
    (["--session-timeout", "0"], "argument --session-timeout: expected seconds, got 0.0"),
    (["--session-timeout", "nan"], "argument --session-timeout: expected seconds, got nan"),
    (["--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
    (["--root", "missing"], "argument --root: there is no folder 'missing'"),
    (["--root", str(m.__file__)], f"argument --root: there is no folder {str(m.__file__)!r}"),
    (["--token", ""], "a token is one or more visible ASCII characters, without spaces"),
    (["--reuse-port"], "unrecognized arguments: --reuse-port"),
])  # fmt: skip
def test_bad_flag_is_one_line_and_exits_with_2(flags: list[str], message: str) -> None:
    done = run_main(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"streamhttp_mcp: error: {message}") and done.stderr.count("\n") == 1


def test_port_in_use_is_one_line_and_exits_with_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_main("--port", str(port), "--root", str(tmp_path), "--log-level", "error")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1 and "in use" in done.stderr


def test_help_begins_with_the_usage_and_explains_each_flag_in_a_sentence() -> None:
    text = run_main("--help").stdout
    assert text.startswith("usage: streamhttp_mcp.py [options]\n\nServe the documents of a folder")
    flags = re.findall(r"(?m)^  (--[a-z-]+)", text)
    assert flags == [
        "--host", "--port", "--root", "--session-timeout", "--token", "--allowed-host", "--log-level", "--version",
    ]  # fmt: skip
    explained = re.sub(r"\s+", " ", text.split("exit", 1)[1])
    for flag in flags:
        assert re.search(rf"{flag}( [A-Z]+| {{[a-z,]+}})? [A-Z][^.]+\. ?", explained), flag


def test_version_is_shown() -> None:
    assert run_main("--version").stdout == f"streamhttp_mcp {m.__version__}\n"
