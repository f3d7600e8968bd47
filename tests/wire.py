"""An HTTP client made of bytes, for what a well-behaved one never does: half a request, a reset, a stream not read.

    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = await wire.reply()
        assert reply.status == 404
"""

import asyncio
import json
import socket
import struct
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

ACCEPT_BOTH = {
    "host": "localhost",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}


async def eventually(condition, seconds: float = 5) -> None:
    """Wait for what the kernel or another thread brings about; fail when it never happens."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


def congestion(mcp) -> int:
    """How many bytes the server has written that no kernel takes. Looks inside, since a client cannot see it."""
    return sum(connection.writer.transport.get_write_buffer_size() for connection in mcp.connections)


async def stuck(mcp) -> None:
    """Wait until a client that does not read holds up the server: for 50 ms nothing is written or taken."""
    before, times = 0, 0

    def same() -> bool:
        nonlocal before, times
        now = congestion(mcp)
        times = times + 1 if now == before > 0 else 0
        before = now
        return times >= 50

    await eventually(same, 20)


def head(method: str, target: str = "/mcp", version: str = "1.1", **fields: object) -> bytes:
    """Write a request head: head("GET", host="localhost") -> b"GET /mcp HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n"."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"{method} {target} HTTP/{version}\r\n{''.join(lines)}\r\n".encode()


def post(headers: dict[str, str], message: Any, version: str = "1.1", **fields: object) -> bytes:
    """Write a POST with a session's headers, as `inmemory.Client.headers` has them."""
    body = json.dumps(message).encode()
    return head("POST", version=version, **headers, **fields, content_length=len(body)) + body


def call(id: Any, tool: str, meta: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    """Make a tools/call request."""
    params = {"name": tool, "arguments": arguments} | ({"_meta": meta} if meta else {})
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


def ping(id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": "ping"}


def pong(id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": {}}


def text_result(id: Any, text: str) -> dict[str, Any]:
    """The response to a call of a tool that returned a str."""
    return {"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}


class WireReply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One TCP connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.address = parts.hostname, parts.port
        self.headers: dict[str, str] = {}  # of the reply being read
        self.events = b""  # of its event stream, read from the socket and not yet asked for
        self.last_event_id: str | None = None

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Go away with a RST, as a process does that is killed with unread data."""
        option = struct.pack("ii", 1, 0)  # linger for 0 seconds
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """Read the head of a reply, keep its headers, and return its status."""
        start, *lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].decode().split("\r\n")
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self.events = b""
        assert start.startswith("HTTP/1.1 ")
        return int(start.split(" ")[1])

    async def reply(self) -> WireReply:
        """Read a whole reply."""
        status, body = await self.status(), b""
        if "content-length" in self.headers:
            body = await self.reader.readexactly(int(self.headers["content-length"]))
        elif self.headers.get("transfer-encoding") == "chunked":
            while chunk := await self.chunk():
                body += chunk
        return WireReply(status, self.headers, body)

    async def chunk(self) -> bytes:
        """Read one chunk; b"" is the last one."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def event(self) -> str:
        """Read one event, or comment, of a chunked event stream; "" at its end."""
        while b"\n\n" not in self.events:
            chunk = await self.chunk()
            if not chunk:
                return ""
            self.events += chunk
        event, _, self.events = self.events.partition(b"\n\n")
        for line in event.split(b"\n"):
            if line.startswith(b"id: "):
                self.last_event_id = line[4:].decode()
        return event.decode()

    async def message(self) -> Any:
        """Read the next JSON-RPC message of a chunked event stream; None at its end."""
        while event := await self.event():
            data = event.rpartition("data: ")[2]
            if event[0] != ":" and data:
                return json.loads(data)
        return None

    async def messages(self) -> list[Any]:
        """Read an event stream to its end."""
        found = []
        while (message := await self.message()) is not None:
            found.append(message)
        return found

    async def end(self) -> bytes:
        """Read what comes until the server closes the connection."""
        return await self.reader.read()

