"""What the README says of a server's life: its unit and its container.

Files are taken out of the README as they stand; only ports, paths and the Python are replaced.
"""

import asyncio
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import free_port, peer_command
from inmemory import StatelessClient
from test_readme import README, code_blocks
from wire import Wire, head

from streamhttp_mcp import Reply, Request

MODULE = Path(__file__).resolve().parent.parent / "streamhttp_mcp.py"


class Remote:
    """A server at a URL, to the clients of inmemory.py; each request has a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def handle(self, request: Request) -> Reply:
        fields = request.headers | {"content-length": len(request.body)}
        async with Wire(self.url) as wire:
            await wire.send(head(request.method, request.target, **fields) + request.body)
            status, headers, body = await wire.reply()
        return Reply(status, tuple(headers.items()), body)


# --- One process: its unit, its container -------------------------------------------------------------


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """A function that runs a command line of the demo, with nothing but these environment variables, until it listens."""
    running: list[subprocess.Popen[str]] = []

    def run(command: list[str], **variables: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert "listens on" in process.stdout.readline()
        return process

    yield run
    for process in running:
        process.terminate()
        process.communicate(timeout=10)


def here(command: list[str], root: Path, port: int) -> list[str]:
    """A command of the README, with the Python, the paths and the port of this test."""
    replaced = {"python": sys.executable, "/usr/bin/python3": sys.executable, "/srv": str(root), "%i": str(port)}
    return [str(MODULE) if word.endswith(MODULE.name) else replaced.get(word, word) for word in command]


def container_line(name: str) -> str:
    return re.search(rf"^{name} (.*)$", code_blocks("dockerfile")[0], re.MULTILINE)[1]


@pytest.mark.parametrize("way", ["unit", "container"])
def test_command_serves_who_has_the_token_and_ends_when_it_is_told_to(way, start, tmp_path):
    """The line of the unit, and that of the container with its health check."""
    port = free_port()
    if way == "unit":
        unit = code_blocks("ini")[0]
        command = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    else:
        command = [*json.loads(container_line("CMD")), "--port", "%i"]
    variables = re.findall(r"`(STREAMHTTP_MCP_\w+)=\.\.\.`", README)
    process = start(here(command, tmp_path, port), **dict.fromkeys(variables, "s3cret"))

    async def statuses() -> list[int]:
        client = StatelessClient(Remote(f"http://127.0.0.1:{port}/mcp"))
        client.headers |= {"host": "mcp.example.com", "authorization": "Bearer s3cret"}
        fields = {}, {"authorization": None}, {"host": "evil.example"}
        return [(await client.request("tools/list", **changed)).status for changed in fields]

    assert asyncio.run(statuses()) == [200, 401, 403]
    check = shlex.split(container_line("HEALTHCHECK CMD").replace("8000", str(port)))
    assert subprocess.run(here(check, tmp_path, port), timeout=10, check=False).returncode == 0
    process.terminate()
    assert process.wait(timeout=10) == 0
    assert subprocess.run(here(check, tmp_path, port), timeout=10, capture_output=True, check=False).returncode != 0


def test_unit_is_one_that_systemd_understands(tmp_path):
    """systemd-analyze says what it does not know, and is silent here."""
    analyze = peer_command("systemd-analyze")
    unit = tmp_path / "mcp@.service"
    unit.write_text(code_blocks("ini")[0].replace("/usr/bin/python3", sys.executable))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])
