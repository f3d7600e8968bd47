"""Peers we did not write, and the server they talk to.

A test that needs a peer skips, with its reason, where the peer is missing. CI (.ci/run) installs every peer,
names it in an environment variable and sets REQUIRE_PEERS=1, which turns that skip into a failure.

    MCP_PEER_V1_PYTHON        the Python of a venv with the official SDK, mcp 1.x (2.x runs this pytest)
    MCP_PEER_TS               an npm prefix with the official TypeScript client, @modelcontextprotocol/client 2.x
    MCP_PEER_NODE             Node 22 or newer: both suites use fs.globSync, which Node 20 does not have
    MCP_PEER_CONFORMANCE      dist/index.js of @modelcontextprotocol/conformance 0.2.0-alpha.12
    MCP_PEER_CONFORMANCE_OLD  the same of 0.1.16
    MCP_PEER_CHROMIUM         a Chromium or Chrome; the package playwright, in this Python, drives it

nginx and systemd-analyze are looked for where Debian puts them.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where every peer has to be there."""
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(f"REQUIRE_PEERS=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def peer(variable: str) -> str:
    """The path that an environment variable names, if something is there."""
    path = os.environ.get(variable, "")
    if not path:
        missing(f"{variable} is not set")
    if not Path(path).exists():
        missing(f"{variable} names {path}, which does not exist")
    return path


def peer_command(name: str) -> str:
    """The path of a program that Debian has a package of, if it is installed."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    return path or missing(f"{name} is not installed")


@pytest.fixture
def peer_v1_python() -> str:
    """The Python to run a script under the official SDK 1.x with."""
    return peer("MCP_PEER_V1_PYTHON")


@pytest.fixture
def peer_ts() -> list[str]:
    """The command that holds a conversation of peer_client.mjs, under the official TypeScript client 2.x."""
    if not Path(peer("MCP_PEER_TS"), "node_modules/@modelcontextprotocol/client").exists():
        missing("MCP_PEER_TS names a folder without @modelcontextprotocol/client")
    return [peer("MCP_PEER_NODE"), str(Path(__file__).with_name("peer_client.mjs"))]


@pytest.fixture
def peer_v2() -> None:
    """This very Python can import the official SDK 2.x."""
    try:
        version = metadata.version("mcp")
    except metadata.PackageNotFoundError:
        missing("the official SDK (mcp 2.x) is not installed here")
    if not version.startswith("2."):
        missing(f"mcp 2.x is wanted here, not {version}")


@pytest.fixture
def serve_everything() -> Iterator[Callable[..., str]]:
    """A function that starts a fresh tests/everything_server.py, with environment variables, and gives its URL."""
    running = []

    def serve(port: int | None = None, **variables: str) -> str:
        port = port or free_port()
        command = [sys.executable, Path(__file__).with_name("everything_server.py"), "--port", str(port)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=os.environ | variables)
        running.append(process)
        wait_until_it_accepts(port, process)
        return f"http://127.0.0.1:{port}/mcp"

    try:
        yield serve
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:  # a shutdown that hangs is a failure, but leaves nothing behind
                process.kill()
                process.wait()
                pytest.fail("everything_server.py was still running 10 s after SIGTERM")


@pytest.fixture
def everything(serve_everything: Callable[..., str]) -> str:
    """The URL of a fresh tests/everything_server.py."""
    return serve_everything()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_until_it_accepts(port: int, process: "subprocess.Popen[bytes]", seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"{process.args} ended at once, with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:  # not listening yet
            time.sleep(0.02)
    pytest.fail(f"{process.args} does not listen after {seconds:g} s")


class Check(NamedTuple):
    """One line of the suite's report."""

    scenario: str
    id: str
    status: str  # SUCCESS, FAILURE, WARNING, SKIPPED or INFO
    message: str


@pytest.fixture
def conformance(tmp_path: Path) -> Callable[..., list[Check]]:
    """A function that runs the official suite:

    conformance(url, "--suite", "all") -> [Check("ping", "ping", "SUCCESS", ""), ...]
    """
    node = peer("MCP_PEER_NODE")

    def run(url: str, *arguments: str, script: str = "MCP_PEER_CONFORMANCE") -> list[Check]:
        results = tempfile.mkdtemp(prefix="conformance-", dir=tmp_path)
        command = [node, peer(script), "server", "--url", url, "-o", results, *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,  # its verdicts are in the files it writes
            timeout=180,
        )
        print(done.stdout)  # pytest shows it when the test fails
        checks = read_checks(Path(results))
        assert checks, f"the suite ran nothing: exit status {done.returncode}"
        return checks

    return run


def read_checks(results: Path) -> list[Check]:
    """Read results/server-<scenario>-<time>/checks.json, in the order the scenarios ran."""
    checks = []
    time_of = re.compile(r"\d{4}-\d\d-\d\dT[\d-]+Z$")
    for folder in sorted(results.iterdir(), key=lambda folder: time_of.search(folder.name)[0]):
        scenario = time_of.sub("", folder.name).removeprefix("server-").removesuffix("-")
        try:
            found = json.loads((folder / "checks.json").read_text())
        except FileNotFoundError:  # the scenario threw: the suite says so on stderr and writes nothing
            found = [{"id": scenario, "status": "FAILURE", "errorMessage": "the scenario did not finish"}]
        checks += [Check(scenario, c["id"], c["status"], c.get("errorMessage") or "") for c in found]
    return checks
