"""What a call costs: this server beside a bare asyncio loop, the official SDK and fastmcp. Standard library only.

    python tests/bench.py                                       # all modes, some minutes; --quick: some seconds
    python tests/bench.py --modes session,progress --servers floor,this
    python tests/bench.py --peer mcp=venv/bin/python --peer mcp-json=venv/bin/python --peer fastmcp=venv/bin/python
    python tests/bench.py --against ../before --json out.json   # a folder with another streamhttp_mcp.py: a column more

The figure that counts is the server's CPU time for one call, by its own clock, as a ratio to that of the *floor*: a
bare loop on asyncio streams that gets the very same bytes (bench_servers.py has it, and the others). Rates and waiting
times are printed as well, but they change with the machine and with what else it does.

    main -> a mode of MODES -> Bench.measure: servers take turns, round by round -> drive: follows scripts, on Lines
    main <- print_table: medians, beside TARGETS <- Figure: what was measured, each server's rounds <- Load

This process makes the load, and each server is a process of its own. Where the platform can, the two sides have a
core each. Every answer is looked at; a wrong one counts as an error, and then the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import math
import os
import platform
import re
import select
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

FOLDER = Path(__file__).resolve().parent
PATIENCE = 60  # seconds; an answer that takes longer will not come
STEPS = 200  # of progress in one call
TOOLS = 3  # of bench_servers.py, at least: echo, count and add
MIB = "x" * 1024 * 1024
META = "io.modelcontextprotocol/"

# ---- Requests ----------------------------------------------------------------------------------------
# Bytes, made before the clock starts, with the header fields that the official Python client sends. HOST
# and SESSION stand for what is known later, once for a connection.

COMMON = {
    "host": "HOST",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
    "user-agent": "python-httpx/0.28.1",
}
IN_SESSION = COMMON | {"mcp-session-id": "SESSION", "mcp-protocol-version": "2025-11-25"}
CLIENT = {"name": "bench", "version": "1.0"}
STATELESS_META = {META + "protocolVersion": "2026-07-28", META + "clientInfo": CLIENT, META + "clientCapabilities": {}}


def head(verb: str, fields: dict[str, str]) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in fields.items()]
    return f"{verb} /mcp HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def post(fields: dict[str, str], method: str, id: int | None, **params: Any) -> bytes:
    """Write a POST with one JSON-RPC message; without an id it is a notification."""
    message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})
    body = json.dumps(message).encode()
    return head("POST", fields | {"content-type": "application/json", "content-length": str(len(body))}) + body


INITIALIZE = post(COMMON, "initialize", 0, protocolVersion="2025-11-25", capabilities={}, clientInfo=CLIENT)
INITIALIZED = post(IN_SESSION, "notifications/initialized", None)
DELETE = head("DELETE", IN_SESSION)


def ping(id: int) -> bytes:
    return post(IN_SESSION, "ping", id)


def open_stream(id: int) -> bytes:
    return head("GET", IN_SESSION)


def list_tools(id: int) -> bytes:
    return post(IN_SESSION, "tools/list", id)


def session_call(id: int, tool: str, **arguments: Any) -> bytes:
    return post(IN_SESSION, "tools/call", id, name=tool, arguments=arguments)


def stateless_call(id: int, tool: str, **arguments: Any) -> bytes:
    fields = COMMON | {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": tool,
    }
    return post(fields, "tools/call", id, name=tool, arguments=arguments, _meta=STATELESS_META)


def progress_call(id: int) -> bytes:
    return post(IN_SESSION, "tools/call", id, name="count", arguments={"steps": STEPS}, _meta={"progressToken": id})


# ---- Replies -----------------------------------------------------------------------------------------


class Reply(NamedTuple):
    head: bytes
    body: bytes  # as it came: perhaps in chunks, perhaps an event stream

    @property
    def status(self) -> int:
        return int(self.head[9:12])

    @property
    def session_id(self) -> bytes:
        return re.search(rb"(?i)\r\nmcp-session-id: (\S+)", self.head)[1]

    @property
    def message(self) -> Any:
        """The JSON-RPC message that came, the last one of a stream."""
        data, rest = self.body, self.body
        if re.search(rb"(?i)\r\ntransfer-encoding: chunked", self.head):
            data = b""
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                data, rest = data + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        return json.loads(data.rpartition(b"data: ")[2])


Check = Callable[[Reply], bool]


def succeeds(reply: Reply) -> bool:
    return reply.status in (200, 202, 204)


def says(id: int, wanted: Callable[[Any], bool]) -> Check:
    """A check for many answers: the first one is read, the others must be the same bytes or are read as well."""
    known = b""

    def check(reply: Reply) -> bool:
        nonlocal known
        if reply.body == known:
            return reply.status == 200
        message = reply.message
        known = reply.body
        return reply.status == 200 and message["id"] == id and wanted(message["result"])

    return check


def echoes(id: int, text: str) -> Check:
    return says(id, lambda result: result["content"][0]["text"] == text)


def adds(id: int, total: int) -> Check:
    """A check for `add`: the total is there as structured content, and as text."""

    def wanted(result: Any) -> bool:
        text = result["content"][0]["text"]
        return result["structuredContent"] == {"result": total} and text == str(total)

    return says(id, wanted)


def lists(id: int, count: int) -> Check:
    return says(id, lambda result: len(result["tools"]) == count)


def reports(id: int) -> Check:
    """A check for the stream of `count`: each step is there, and the result is the last event."""
    return lambda reply: (
        reply.body.count(b'"notifications/progress"') == STEPS
        and reply.message["id"] == id
        and reply.message["result"]["content"][0]["text"] == "done"
    )


# ---- Connections -------------------------------------------------------------------------------------
# A script yields steps: what to send, and how to check what comes back. It is resumed with the reply, and
# so may use what the server said. `drive` follows many scripts at once; each has one request on its way.

Step = tuple[bytes, Check]
Script = Generator[Step, Reply, Any]


class Line:
    """A connection that stays open, and the script that it follows."""

    def __init__(self, port: int, script: Script) -> None:
        self.port, self.socket = port, connect(port)
        self.script, self.step = script, next(script)
        self.received, self.ends = bytearray(), -1  # of the reply that is coming: its bytes, and its size if known
        self.sent_at = 0.0
        self.result: Any = None  # what the script returned

    def renew(self) -> None:
        """Connect again if the server has hung up meanwhile: uvicorn waits 5 s for a next request."""
        if select.select([self.socket], [], [], 0)[0]:  # there is something to read, which can only be the end
            self.socket.close()
            self.socket = connect(self.port)

    def send(self) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(self.step[0])

    def receive(self) -> Reply | None:
        """Take what has come; return the reply once it is complete. ConnectionError."""
        data = self.socket.recv(1024 * 1024)
        if not data:
            raise ConnectionError(f"the server hung up in the middle of {bytes(self.received)[-300:]!a}")
        self.received += data
        if self.ends < 0 and (blank := self.received.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", self.received[:blank])
            self.ends = blank + 4 + int(length[1]) if length else 0
            if self.step[0].startswith(b"GET "):  # whose body does not end
                self.ends = len(self.received)
        if self.ends > 0 and len(self.received) == self.ends or not self.ends and self.received[-7:] == LAST_CHUNK:
            start, _, body = bytes(self.received).partition(b"\r\n\r\n")
            self.received, self.ends = bytearray(), -1
            return Reply(start, body)
        return None

    def advance(self, reply: Reply) -> bool:
        """Go on to the script's next step; False if there is none."""
        try:
            self.step = self.script.send(reply)
        except StopIteration as stop:
            self.result = stop.value
            return False
        return True


def connect(port: int) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", port), PATIENCE)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass
class Load:
    """What `drive` did."""

    seconds: float = 0
    errors: int = 0
    waits: list[float] = field(default_factory=list)  # seconds from each request to its complete answer


def drive(lines: list[Line], seconds: float = math.inf, replies: float = math.inf) -> Load:
    """Follow the scripts until they end, the time is over, or each has had so many replies."""
    load, busy, start = Load(), len(lines), time.perf_counter()
    heard = start
    left = dict.fromkeys(lines, replies)
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line.socket, selectors.EVENT_READ, line)
            line.send()
        while busy:
            # Asked again and again: to wake a sleeper costs CPU, which would be booked to the server that let it sleep.
            while not (ready := selector.select(0)):
                if time.perf_counter() - heard > PATIENCE:
                    raise TimeoutError(f"no answer for {PATIENCE} s")
            heard = time.perf_counter()
            for key, _ in ready:
                line = key.data
                if (reply := line.receive()) is None:
                    continue
                now = time.perf_counter()
                load.waits.append(now - line.sent_at)
                load.errors += not line.step[1](reply)
                left[line] -= 1
                if line.advance(reply) and now - start < seconds and left[line] > 0:
                    line.send()
                else:
                    busy -= 1
    load.seconds = time.perf_counter() - start
    return load


# ---- Servers -----------------------------------------------------------------------------------------


# Modules are compiled once, as with any user; where, does not matter, so the checkout stays clean.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir(), "streamhttp-mcp-bench-pycache"))


class Usage(NamedTuple):
    cpu: float  # seconds
    memory: int | None  # bytes; None where the platform does not say


class Kind(NamedTuple):
    """A server to measure: its name in the table, its name in bench_servers.py, and what it runs with."""

    label: str
    server: str
    python: str
    folder: str = ""


class Server:
    """A running server process, and the pipe that asks it what it has used."""

    def __init__(self, kind: Kind, tools: int = TOOLS) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        command = [kind.python, str(FOLDER / "bench_servers.py"), kind.server, str(self.port), str(tools)]
        self.process = subprocess.Popen(
            command + ([kind.folder] if kind.folder else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        pin(self.process.pid, 0)
        self.kind, self.label = kind, kind.label
        self.lines: list[Line] = []
        self.wait_until_it_accepts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for line in self.lines:
            line.socket.close()
        self.process.stdin.close()  # which ends it
        self.process.wait(10)

    def wait_until_it_accepts(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            time.sleep(0.0005)
        raise SystemExit(f"{self.label} does not start: {' '.join(self.process.args)}")

    def usage(self, collect: bool = False) -> Usage:
        self.process.stdin.write(b"collect\n" if collect else b"\n")
        self.process.stdin.flush()
        return Usage(**json.loads(self.process.stdout.readline()))

    def follow(self, *scripts: Script) -> list[Line]:
        """Open a connection for each script."""
        lines = [Line(self.port, script) for script in scripts]
        self.lines += lines
        return lines

    def fill(self, request: bytes, session: bytes = b"") -> bytes:
        return request.replace(b"HOST", b"127.0.0.1:%d" % self.port, 1).replace(b"SESSION", session, 1)

    # Scripts.

    def open_session(self) -> Generator[Step, Reply, bytes]:
        reply = yield self.fill(INITIALIZE), succeeds
        yield self.fill(INITIALIZED, reply.session_id), succeeds
        return reply.session_id

    def open_sessions(self, count: int) -> Script:
        """Open sessions, and return their ids."""
        sessions = []
        for _ in range(count):
            sessions.append((yield from self.open_session()))
        return sessions

    def handshakes(self) -> Script:
        """A client comes and goes, over and over: three requests."""
        while True:
            session = yield from self.open_session()
            yield self.fill(DELETE, session), succeeds

    def in_session(self, request: bytes, check: Check) -> Script:
        """Open a session, and send the same request over and over."""
        session = yield from self.open_session()
        request = self.fill(request, session)
        while True:
            yield request, check

    def stateless(self, request: bytes, check: Check) -> Script:
        request = self.fill(request)
        while True:
            yield request, check

    def once(self, request: bytes, session: bytes = b"") -> Script:
        yield self.fill(request, session), succeeds


@functools.cache
def cores() -> list[int]:
    """The cores for servers and for the load; both may be anywhere where there is one only, or no way to choose."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return [found[0], found[-1]] if len(found) > 1 else []


def pin(pid: int, side: int) -> None:
    if cores():
        os.sched_setaffinity(pid, {cores()[side]})


# ---- Measuring ---------------------------------------------------------------------------------------


class Round(NamedTuple):
    """One server's turn."""

    load: Load
    cpu: float  # seconds that the server used


@dataclass
class Figure:
    """A line of the table."""

    what: str
    unit: str
    rounds: dict[str, list[float]] = field(default_factory=dict)  # label of a server -> what each round gave


@dataclass
class Bench:
    """How much to measure, and what was found."""

    kinds: dict[str, Kind]  # label -> the server
    rounds: int
    seconds: float  # that a round lasts
    count: int  # of sessions, or connections, to find out the memory of one
    idle: tuple[int, ...]  # sessions that do nothing while others are measured
    figures: dict[str, Figure] = field(default_factory=dict)
    errors: int = 0

    def add(self, what: str, unit: str, rounds: dict[str, list[float]]) -> None:
        self.figures.setdefault(what, Figure(what, unit)).rounds.update(rounds)

    @contextlib.contextmanager
    def servers(self, tools: int = TOOLS) -> Iterator[list[Server]]:
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(Server(kind, tools)) for kind in self.kinds.values()]

    def drive(self, lines: list[Line], *limits: float) -> Load:
        load = drive(lines, *limits)
        self.errors += load.errors
        return load

    def open_sessions(self, server: Server, count: int) -> list[bytes]:
        """Open sessions down one connection, and return their ids."""
        [line] = server.follow(server.open_sessions(count))
        self.drive([line])
        return line.result

    def measure(
        self, servers: list[Server], connections: int, script: Callable[[Server, int], Script]
    ) -> dict[str, list[Round]]:
        """Keep one server after the other busy, round by round, so that what changes with time hits all alike."""
        lines = {s: s.follow(*[script(s, id) for id in range(1000, 1000 + connections)]) for s in servers}
        for mine in lines.values():  # warm up: every connection comes past its first steps
            self.drive(mine, math.inf, 4)
            self.drive(mine, self.seconds / 2)
        results: dict[str, list[Round]] = {server.label: [] for server in servers}
        for number in range(self.rounds):
            for server in servers[:: -1 if number % 2 else 1]:
                for line in lines[server]:
                    line.renew()
                before = server.usage().cpu
                load = self.drive(lines[server], self.seconds)
                results[server.label].append(Round(load, server.usage().cpu - before))
        return results

    def add_rates(self, what: str, results: dict[str, list[Round]], per_reply: float = 1, waits: bool = False) -> None:
        """Write down what `measure` found, of something that comes `per_reply` times with each reply."""

        def add(name: str, unit: str, figure: Callable[[Round], float]) -> None:
            self.add(f"{what}: {name}", unit, {label: [figure(r) for r in found] for label, found in results.items()})

        add("CPU", "us", lambda round: round.cpu / len(round.load.waits) / per_reply * 1e6)
        add("rate", "/s", lambda round: len(round.load.waits) * per_reply / round.load.seconds)
        if waits:
            add("p50", "ms", lambda round: quantile(round.load.waits, 0.50) * 1e3)
            add("p99", "ms", lambda round: quantile(round.load.waits, 0.99) * 1e3)


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# ---- Modes -------------------------------------------------------------------------------------------
# What is measured. The first table at the end is the place to add a mode; the second has the targets.


def call_in_session(server: Server, id: int) -> Script:
    return server.in_session(session_call(id, "echo", text="hello"), echoes(id, "hello"))


def call_statelessly(server: Server, id: int) -> Script:
    return server.stateless(stateless_call(id, "echo", text="hello"), echoes(id, "hello"))


def add_in_session(server: Server, id: int) -> Script:
    return server.in_session(session_call(id, "add", a=2, b=3), adds(id, 5))


def add_statelessly(server: Server, id: int) -> Script:
    return server.stateless(stateless_call(id, "add", a=2, b=3), adds(id, 5))


def session(bench: Bench) -> None:
    """tools/call in sessions, one for each connection."""
    measure_calls(bench, "session call", call_in_session)


def stateless(bench: Bench) -> None:
    """tools/call of revision 2026-07-28."""
    measure_calls(bench, "stateless call", call_statelessly)


def typed(bench: Bench) -> None:
    """tools/call in sessions, of a tool with two checked integers and a structured result."""
    measure_calls(bench, "typed session call", add_in_session)


def typed_stateless(bench: Bench) -> None:
    """tools/call of revision 2026-07-28, of the same typed tool."""
    measure_calls(bench, "typed stateless call", add_statelessly)


def measure_calls(bench: Bench, what: str, call: Callable[[Server, int], Script]) -> None:
    for connections in (1, 32):
        with bench.servers() as servers:
            results = bench.measure(servers, connections, call)
        bench.add_rates(f"{what}, {plural(connections, 'connection')}", results, waits=True)


def handshake(bench: Bench) -> None:
    """initialize, notifications/initialized and DELETE."""
    for connections in (1, 32):
        with bench.servers() as servers:
            results = bench.measure(servers, connections, lambda server, id: server.handshakes())
        bench.add_rates(f"handshake, {plural(connections, 'connection')}", results, 1 / 3)


def progress(bench: Bench) -> None:
    """Events of progress, down the stream of a call."""

    def call(server: Server, id: int) -> Script:
        return server.in_session(progress_call(id), reports(id))

    for streams in (1, 32):
        with bench.servers() as servers:
            able = [server for server in servers if server.kind.server != "mcp-json"]  # which drops them
            results = bench.measure(able, streams, call)
        bench.add_rates(f"progress event, {plural(streams, 'stream')}", results, STEPS)


def echo(bench: Bench) -> None:
    """A call with 1 MiB of text, there and back."""

    def call(server: Server, id: int) -> Script:
        return server.in_session(session_call(id, "echo", text=MIB), echoes(id, MIB))

    with bench.servers() as servers:
        results = bench.measure(servers, 1, call)
    bench.add_rates("1 MiB echo", results)


def tools(bench: Bench) -> None:
    """tools/list, whose answer is copied, and tools/call, which does not look at the others."""
    for count in (10, 1_000):

        def call(server: Server, id: int, count: int = count) -> Script:
            return server.in_session(list_tools(id), lists(id, count))

        with bench.servers(count) as servers:
            results = bench.measure(servers, 1, call)
        bench.add_rates(f"tools/list, {count:,} tools", results)
    compare(bench, {f"session call, {count:,} tools": (count, 1) for count in (10, 1_000)})


def idle(bench: Bench) -> None:
    """tools/call while many other sessions do nothing."""
    compare(bench, {f"session call, {plural(count, 'idle session')}": (TOOLS, count) for count in bench.idle})


def compare(bench: Bench, ways: dict[str, tuple[int, int]]) -> None:
    """tools/call with (so many tools, so many idle sessions): servers of one kind take turns with each other."""
    for kind in bench.kinds.values():
        if kind.server != "this":
            continue
        with contextlib.ExitStack() as stack:
            servers = []
            for what, (tools, sessions) in ways.items():
                servers.append(stack.enter_context(Server(kind._replace(label=what), tools)))
                bench.open_sessions(servers[-1], sessions)
            results = bench.measure(servers, 32, call_in_session)
        for what, rounds in results.items():
            bench.add_rates(what, {kind.label: rounds})


def memory(bench: Bench) -> None:
    """What a fresh server keeps for each of many clients that do nothing."""
    raise_file_limit()
    for kind in bench.kinds.values():
        with Server(kind) as server:
            if server.usage().memory is None:
                print(f"{kind.label}: this platform does not tell the memory of a process", file=sys.stderr)
                return
        small = kind.server in ("floor", "this")  # of the others, each takes tens of KiB, which shows with fewer
        count = bench.count if small else bench.count // 10
        connection = connection_bytes(bench, kind, count, ping)
        bench.add("idle connection: memory", "B", {kind.label: [connection]})
        if kind.server != "floor":  # which has neither
            bench.add("idle session: memory", "B", {kind.label: [session_bytes(bench, kind, count)]})
            stream = connection_bytes(bench, kind, count, open_stream)
            bench.add("open stream, over an idle connection: memory", "B", {kind.label: [stream - connection]})


def session_bytes(bench: Bench, kind: Kind, count: int) -> float:
    """The memory of a session. As many are opened before: they fill what the start has left free."""
    with Server(kind) as server:
        bench.open_sessions(server, count)
        before = server.usage(collect=True).memory
        bench.open_sessions(server, count)
        return (server.usage(collect=True).memory - before) / count


def connection_bytes(bench: Bench, kind: Kind, count: int, request: Callable[[int], bytes]) -> float:
    """The memory of a connection that has sent one request; each has a session, and those are there before."""
    with Server(kind) as server:
        scripts = [server.once(request(n), id) for n, id in enumerate(bench.open_sessions(server, 2 * count))]
        bench.drive(server.follow(*scripts[:count]))
        before = server.usage(collect=True).memory
        bench.drive(server.follow(*scripts[count:]))
        return (server.usage(collect=True).memory - before) / count


def raise_file_limit() -> None:
    """Let this process, and the servers after it, open as many connections as they may."""
    with contextlib.suppress(ImportError):  # Windows counts otherwise
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def start(bench: Bench) -> None:
    """From the start of the process to its first answer; and what importing takes of that."""
    found: dict[str, dict[str, list[float]]] = {label: {"time": [], "CPU": [], "import": []} for label in bench.kinds}
    for _ in range(bench.rounds):
        for label, kind in bench.kinds.items():
            began = time.perf_counter()
            with Server(kind) as server:
                bench.drive(server.follow(server.once(INITIALIZE)))
                found[label]["time"].append((time.perf_counter() - began) * 1e3)
                found[label]["CPU"].append(server.usage().cpu * 1e3)
            found[label]["import"].append(import_seconds(kind) * 1e3)
    for label, figures in found.items():
        bench.add("start to first answer: time", "ms", {label: figures["time"]})
        bench.add("start to first answer: CPU", "ms", {label: figures["CPU"]})
        bench.add("import: CPU", "ms", {label: figures["import"]})


def import_seconds(kind: Kind) -> float:
    module, folder = PROGRAMS[kind.server].module, kind.folder or FOLDER.parent
    code = f"import time; before = time.process_time(); import {module}; print(time.process_time() - before)"
    done = subprocess.run([kind.python, "-c", code], cwd=folder, stdout=subprocess.PIPE, check=True, env=ENVIRONMENT)
    return float(done.stdout)


MODES = {
    "session": session,
    "stateless": stateless,
    "typed": typed,
    "typed-stateless": typed_stateless,
    "handshake": handshake,
    "progress": progress,
    "echo": echo,
    "tools": tools,
    "idle": idle,
    "memory": memory,
    "start": start,
}


class Target(NamedTuple):
    """This server's figure is at most `bound` times that of another server, or of itself in another line."""

    bound: float
    label: str = "floor"
    what: str = ""  # the other line
    absolute: bool = False  # the bound is a value


CALL_TARGETS = Target(1 / 12, "mcp"), Target(1 / 20, "fastmcp")
TARGETS = {
    "session call, 32 connections: CPU": (Target(2.0), *CALL_TARGETS),
    "stateless call, 32 connections: CPU": (Target(2.0), *CALL_TARGETS),
    "typed session call, 32 connections: CPU": (Target(2.4),),
    "typed stateless call, 32 connections: CPU": (Target(2.4),),
    "handshake, 32 connections: CPU": (Target(1.4),),
    "progress event, 1 stream: CPU": (Target(0.8),),
    "progress event, 32 streams: CPU": (Target(1.0),),
    "tools/list, 1,000 tools: CPU": (Target(1.2),),
    "session call, 1,000 tools: CPU": (Target(1.05, "this", "session call, 10 tools: CPU"),),
    "session call, 10,000 idle sessions: CPU": (Target(1.05, "this", "session call, 1 idle session: CPU"),),
    "idle connection: memory": (Target(1.25),),
    "idle session: memory": (Target(1.5 * 1024, absolute=True),),
    "open stream, over an idle connection: memory": (Target(3 * 1024, absolute=True),),
    "start to first answer: time": (Target(1.45),),
}


# ---- Report ------------------------------------------------------------------------------------------


def verdicts(figures: dict[str, Figure], what: str) -> Iterator[dict[str, Any]]:
    """Compare a line with its targets: {'than': 'floor', 'at_most': 1.8, 'is': 1.71}. A missing server has none."""
    for target in TARGETS.get(what, ()):
        ours, other = figures[what].rounds.get("this"), figures.get(target.what or what)
        theirs = [1] if target.absolute else other.rounds.get(target.label) if other else None
        if ours and theirs:
            than = "" if target.absolute else target.what or target.label
            yield {"than": than, "at_most": target.bound, "is": ratio(ours, theirs)}


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the rounds' ratios: the two sides of each were measured one right after the other."""
    return statistics.median(a / b for a, b in zip(ours, itertools.cycle(theirs)))


def report(bench: Bench, skipped: dict[str, str]) -> dict[str, Any]:
    """Everything that was found, as JSON has it."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {plural(os.cpu_count() or 1, 'core')}",
        "errors": bench.errors,
        "skipped": skipped,
        "figures": [
            {
                "what": figure.what,
                "unit": figure.unit,
                "medians": {label: statistics.median(rounds) for label, rounds in figure.rounds.items()},
                "rounds": figure.rounds,
                "targets": list(verdicts(bench.figures, figure.what)),
            }
            for figure in bench.figures.values()
        ],
    }


def print_table(bench: Bench) -> None:
    """A line for each figure: each server's median, our ratio to the floor, and the targets."""
    labels, width = list(bench.kinds), max(len(what) for what in bench.figures)
    print(f"{'':{width}}     ", *[f"{label:>9}" for label in labels], f"{'/ floor':>9}  target")
    for what, figure in bench.figures.items():
        medians = [shown(statistics.median(figure.rounds[x])) if x in figure.rounds else "-" for x in labels]
        ours, floor = figure.rounds.get("this"), figure.rounds.get("floor")
        to_floor = f"{ratio(ours, floor):.2f}" if ours and floor else ""
        targets = "; ".join(map(in_words, verdicts(bench.figures, what)))
        print(f"{what:{width}}  {figure.unit:>3}", *[f"{m:>9}" for m in medians], f"{to_floor:>9}  {targets}".rstrip())


def in_words(verdict: dict[str, Any]) -> str:
    met = "met" if verdict["is"] <= verdict["at_most"] else "MISSED"
    if not verdict["than"]:
        return f"{met}: {shown(verdict['is'])}, at most {shown(verdict['at_most'])}"
    if verdict["at_most"] < 0.5:
        return f"{met}: 1/{1 / verdict['is']:.1f} of {verdict['than']}, at most 1/{1 / verdict['at_most']:.0f}"
    return f"{met}: {verdict['is']:.2f} x {verdict['than']}, at most {verdict['at_most']:g}"


def shown(value: float) -> str:
    """Three digits: 12345 -> '12,345', 1.2345 -> '1.23'."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# ---- Command line ------------------------------------------------------------------------------------


class Program(NamedTuple):
    """What it takes to run one of the servers of bench_servers.py."""

    module: str  # that the server imports
    distribution: str = ""  # that has to be installed
    version: str = ""  # the start of the one that will do


PROGRAMS = {
    "floor": Program("asyncio"),
    "this": Program("streamhttp_mcp"),
    "mcp": Program("mcp.server.mcpserver", "mcp", "2."),
    "mcp-json": Program("mcp.server.mcpserver", "mcp", "2."),
    "fastmcp": Program("fastmcp", "fastmcp"),
}


def find_kinds(options: argparse.Namespace) -> tuple[dict[str, Kind], dict[str, str]]:
    """The servers to measure, and those that were skipped with the reason."""
    pythons = dict(peer.split("=", 1) for peer in options.peer)
    kinds, skipped = {}, {}
    for label in options.servers.split(","):
        program, python = PROGRAMS[label], pythons.get(label, sys.executable)
        version = installed_version(python, program.distribution) if program.distribution else "-"
        if not version or not version.startswith(program.version or version):
            skipped[label] = f"{python} has {program.distribution} {version}" if version else f"not installed: {python}"
        else:
            kinds[label] = Kind(label, label, python)
        if label == "this" and options.against:
            kinds["before"] = Kind("before", label, python, options.against)
    return kinds, skipped


def installed_version(python: str, distribution: str) -> str:
    """The version of an installed distribution; '' if it is not there."""
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds: shows that all works, and no more")
    parser.add_argument("--modes", default=",".join(MODES), help="default: all, which are %(default)s")
    parser.add_argument("--servers", default=",".join(PROGRAMS), help="default: all that are installed of %(default)s")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="what a server runs with")
    parser.add_argument("--against", default="", metavar="FOLDER", help="measure another streamhttp_mcp.py as well")
    parser.add_argument("--json", metavar="FILE", help="write all that was found, round by round")
    options = parser.parse_args(argv)
    for chosen, table in ((options.modes, MODES), (options.servers, PROGRAMS)):
        if unknown := [name for name in chosen.split(",") if name not in table]:
            parser.error(f"{', '.join(unknown)}: choose from {', '.join(table)}")
    return options


def main(argv: list[str] | None = None) -> int:
    options = parse_arguments(argv)
    kinds, skipped = find_kinds(options)
    for label, reason in skipped.items():
        print(f"skipped {label}: {reason}", file=sys.stderr)
    bench = Bench(kinds, rounds=7, seconds=0.3, count=3_000, idle=(1, 1_000, 10_000))
    if options.quick:
        bench = Bench(kinds, rounds=2, seconds=0.05, count=200, idle=(1, 100))
    pin(0, 1)
    for mode in options.modes.split(","):
        print(f"{mode}: {MODES[mode].__doc__}", file=sys.stderr)
        MODES[mode](bench)
    print_table(bench)
    if options.json:
        Path(options.json).write_text(json.dumps(report(bench, skipped), indent=1))
    if bench.errors:
        print(f"{plural(bench.errors, 'wrong answer')}", file=sys.stderr)
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
