"""What the README says of several processes: its nginx in front of them, and a port that they share.

The configuration of nginx is the README's own; only ports and paths are replaced.
"""

import asyncio
import json
import os
import pwd
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import pytest
from conftest import free_port, peer_command, wait_until_it_accepts
from inmemory import Answer, Client, StatelessClient
from test_peers import STREAMABLE, only, peer, spoken  # noqa: F401 - a fixture
from test_readme import code_blocks
from test_security import CERTIFICATE
from wire import Wire, call, eventually, head, post

from streamhttp_mcp import Reply, Request

FORMS = {"elicitation": {}}
ACCEPTED = {"action": "accept", "content": {"ok": True}}


class Secure(Wire):
    """A connection that speaks TLS."""

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=str(CERTIFICATE))
        self.reader, self.writer = await asyncio.open_connection(*self.address, ssl=context)
        return self


class Remote:
    """A server at a URL, to the clients of inmemory.py; each request has a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.wire = Secure if url.startswith("https:") else Wire

    async def handle(self, request: Request) -> Reply:
        fields = request.headers | {"content-length": len(request.body)}
        async with self.wire(self.url) as wire:
            await wire.send(head(request.method, request.target, **fields) + request.body)
            status, headers, body = await wire.reply()
        return Reply(status, tuple(headers.items()), body)


def text(answer: Answer) -> str:
    return answer.result["content"][0]["text"]


def counts(url: str) -> dict[str, Any]:
    """What a process says of its health."""
    with urllib.request.urlopen(url.replace("/mcp", "/health"), timeout=5) as reply:
        return json.load(reply)


# --- nginx in front of three processes ----------------------------------------------------------------


class Cluster(NamedTuple):
    """nginx, and what is behind it."""

    url: str
    processes: dict[str, str]  # process id -> its own URL

    @property
    def remote(self) -> Remote:
        return Remote(self.url)


@pytest.fixture
def cluster(serve_everything: Callable[..., str], tmp_path: Path) -> Iterator[Cluster]:
    """Three processes with one secret, behind nginx as the README configures it."""
    nginx, port = peer_command("nginx"), free_port()
    urls = [serve_everything(MCP_SECRET="shared") for _ in range(3)]
    (site,) = code_blocks("nginx")
    replaced = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/mcp.pem": CERTIFICATE,
        "/etc/ssl/mcp.key": CERTIFICATE,
        **{f"127.0.0.1:800{n}": urlsplit(url).netloc for n, url in enumerate(urls, 1)},
    }
    for ours, here in replaced.items():
        assert site.count(ours) == 1
        site = site.replace(ours, str(here))
    bodies = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in "client_body proxy fastcgi uwsgi scgi".split())
    around = f"""user {pwd.getpwuid(os.getuid()).pw_name}; worker_processes 2; pid {tmp_path}/pid; daemon off;
        events {{}} http {{ access_log off; {bodies} {site} }}"""
    (tmp_path / "nginx.conf").write_text(around)
    process = subprocess.Popen([nginx, "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"])
    try:
        wait_until_it_accepts(port, process)
        yield Cluster(f"https://127.0.0.1:{port}/mcp", {asyncio.run(which_process(url)): url for url in urls})
    finally:
        process.terminate()
        process.wait(timeout=10)


async def which_process(url: str) -> str:
    """The id of the process that a stateless call reaches."""
    return text(await StatelessClient(Remote(url)).call("which_process"))


async def open_sessions(cluster: Cluster) -> dict[str, Client]:
    """A session in each process: process id -> client."""
    found: dict[str, Client] = {}
    for _ in range(200):  # as many as it takes; a process stays without one by a chance of 1 to 10 ** 35
        if len(found) == 3:
            break
        client = await Client(cluster.remote).connect(capabilities=FORMS)
        found.setdefault(text(await client.call("which_process")), client)
    assert found.keys() == cluster.processes.keys()
    return found


def busy(cluster: Cluster) -> list[str]:
    """The ids of the processes that have a call in flight."""
    return [process for process, url in cluster.processes.items() if counts(url)["calls"]]


@spoken
async def test_session_leads_back_to_the_process_that_opened_it(cluster):
    """[session.unknown-404] Whatever the request, and until its end; an id that nginx has not made is only unknown."""
    sessions = await open_sessions(cluster)
    for _ in range(5):
        for process, client in sessions.items():
            assert text(await client.call("which_process")) == process
    for client in sessions.values():
        assert (await client.delete()).status == 200
        assert (await client.request("ping")).status == 404
    for unknown in ("made-up", "0" * 32 + ".made-up"):
        assert (await client.request("ping", mcp_session_id=unknown)).status == 404
    assert (await client.request("ping", mcp_session_id=None)).status == 400


@spoken
async def test_rounds_of_one_question_are_answered_by_three_processes(cluster):
    """[mrtr.state-verified] The client carries the call from one to the next."""
    client = StatelessClient(cluster.remote, FORMS)
    for _ in range(100):  # two in nine pass through all three
        first = await client.call("which_process", {"asking": 2})
        second = await client.answer(first, question0=ACCEPTED)
        third = await client.answer(second, question1=ACCEPTED)
        passed = [first.result["inputRequests"]["question0"]["params"]["message"].split()[1],
                  second.result["inputRequests"]["question1"]["params"]["message"].split()[1], text(third)]  # fmt: skip
        assert cluster.processes.keys() >= set(passed)
        if len(set(passed)) == 3:
            return
    pytest.fail("no call passed through all three processes")


@spoken
async def test_events_pass_at_once_and_a_client_that_leaves_cancels_its_call(cluster):
    """[modern.disconnect-cancels] The handler would go on for days, so what is held back would never come."""
    client = StatelessClient(cluster.remote)
    params = {"name": "count", "arguments": {"n": 1000, "delay": 600}}
    headers = client.headers | {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "count"}
    async with Secure(cluster.url) as wire:
        await wire.send(post(headers, call(1, "count", client.meta | {"progressToken": 1}, **params["arguments"])))
        assert await wire.status() == 200
        assert (await wire.message())["params"] == {"progressToken": 1, "progress": 1, "total": 1000}
        assert len(busy(cluster)) == 1
        wire.writer.transport.abort()  # a polite end of TLS would wait for nginx, which waits for the end of TCP
    await eventually(lambda: not busy(cluster))


@spoken
async def test_session_is_asked_on_its_stream_and_hears_of_changes(cluster):
    """[stream.related-only] [tool.list-changed] Question, answer and notice: three connections, one process."""
    client = (await open_sessions(cluster)).popitem()[1]
    async with Secure(cluster.url) as asked, Secure(cluster.url) as listening:
        await listening.send(head("GET", **client.headers))
        assert await listening.status() == 200
        await asked.send(post(client.headers, call(7, "which_process", asking=1)))
        assert await asked.status() == 200
        question = await asked.message()
        assert question["method"] == "elicitation/create"
        assert (await client.respond(question, ACCEPTED)).status == 202
        assert (await asked.message())["id"] == 7
        await client.call("add_a_tool")
        assert (await listening.message())["method"] == "notifications/tools/list_changed"


@spoken
async def test_process_is_killed_and_clients_of_both_eras_go_on(cluster, serve_everything):
    """[session.unknown-404] Its sessions are unknown to the others: their clients open new ones, and nobody else notices.

    What it was answering breaks off, so that a client can tell, and runs nowhere a second time: it may have acted.
    """
    sessions = await open_sessions(cluster)
    client = StatelessClient(cluster.remote)
    lost = asyncio.create_task(client.call("slow", {"seconds": 600, "text": "never"}))
    await eventually(lambda: busy(cluster))
    (dead,) = busy(cluster)
    orphan = sessions.pop(dead)
    async with Secure(cluster.url) as wire:
        await wire.send(post(orphan.headers, call(1, "which_process", asking=1)))
        assert await wire.status() == 200
        assert (await wire.message())["method"] == "elicitation/create"
        os.kill(int(dead), signal.SIGKILL)
        with pytest.raises(asyncio.IncompleteReadError):
            await wire.messages()
    try:
        assert (await lost).status == 502
    except asyncio.IncompleteReadError:  # it had run for a second, and was a stream by then
        pass

    alive = {process: url for process, url in cluster.processes.items() if process != dead}
    assert {await which_process(cluster.url) for _ in range(50)} == alive.keys()
    assert all(counts(url)["calls"] == 0 for url in alive.values())

    assert (await orphan.request("tools/list")).status == 404
    assert (await orphan.get()).status == 404
    assert (await orphan.delete()).status == 404
    await orphan.connect()
    home = text(await orphan.call("which_process"))
    assert home in alive
    for process, client in [*sessions.items(), (home, orphan)]:
        assert text(await client.call("which_process")) == process

    back = await which_process(serve_everything(urlsplit(cluster.processes[dead]).port, MCP_SECRET="shared"))
    assert back in {await which_process(cluster.url) for _ in range(50)}


@spoken
async def test_process_that_is_stopped_finishes_its_calls_while_the_others_take_the_new_ones(cluster):
    """[shutdown.graceful] A rolling restart loses no stateless call."""
    client = StatelessClient(cluster.remote)
    last = asyncio.create_task(client.call("slow", {"seconds": 0.5, "text": "finished"}))
    await eventually(lambda: busy(cluster))
    (stopping,) = busy(cluster)
    os.kill(int(stopping), signal.SIGTERM)
    await eventually(lambda: not accepts(cluster.processes[stopping]))
    assert {await which_process(cluster.url) for _ in range(30)} == cluster.processes.keys() - {stopping}
    assert text(await last) == "finished"


def accepts(url: str) -> bool:
    try:
        socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5).close()
    except ConnectionError:
        return False
    return True


@spoken
async def test_body_of_four_mebibytes_passes(cluster):
    """[limits.body] What the server takes, nginx takes as well; both refuse more."""
    client = StatelessClient(cluster.remote)
    letters = 4 * 1024 * 1024 - 1000
    assert len(text(await client.call("echo", {"text": "a" * letters}))) == letters
    assert (await client.request("tools/call", {"name": "echo", "arguments": {"text": "a" * (letters + 2000)}})).status == 413


@only(STREAMABLE)  # HTTP+SSE has its session id in the URL, which this nginx does not look at
@spoken
async def test_official_clients_notice_nothing_of_nginx(peer, cluster, monkeypatch):  # noqa: F811
    """[initialize.result] [progress.increases] [mrtr.input-required] Each conversation is one client's, of its era."""
    for variable in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        monkeypatch.setenv(variable, str(CERTIFICATE))
    assert (await peer("hello", cluster.url))["protocolVersion"] == peer.revision
    assert await peer("progress", cluster.url) == [*([n, 5, None] for n in range(1, 6)), "Counted to 5"]
    assert "ada likes ada" in await peer("rounds", cluster.url)
    if peer.way == "session":
        assert await peer("changes", cluster.url) == [False, True, True]


# --- Processes that share a port ----------------------------------------------------------------------

SHARING = "import sys; from everything_server import mcp; mcp.run(port=int(sys.argv[1]), reuse_port=True)"


@pytest.fixture
def start_sharing() -> Iterator[Callable[[int], None]]:
    """A function that starts a process which shares a port, and waits until it listens."""
    running: list[subprocess.Popen[str]] = []

    def run(port: int) -> None:
        command = [sys.executable, "-c", SHARING, str(port)]
        environment = os.environ | {"MCP_SECRET": "shared"}
        folder = Path(__file__).parent
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        running.append(process)
        assert "listens on" in process.stderr.readline()

    yield run
    for process in running:
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not deal out connections")
@spoken
async def test_stateless_clients_need_no_balancer_where_processes_share_a_port(start_sharing):
    """[mrtr.state-verified] Each connection reaches any process, and each takes the next round of a call."""
    port = free_port()
    for _ in range(3):
        start_sharing(port)
    url = f"http://127.0.0.1:{port}/mcp"
    client = StatelessClient(Remote(url), FORMS)
    processes = set()
    for _ in range(20):
        asked = await client.call("which_process", {"asking": 1})
        processes.add(text(await client.answer(asked, question0=ACCEPTED)))
    assert len(processes) > 1

    await Client(Remote(url)).connect()  # in one of them
    assert {counts(url)["sessions"] for _ in range(100)} == {0, 1}
