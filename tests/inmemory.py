"""An MCP client without a port: it talks to `MCPServer.handle`, which is the server as a function.

    async def conversation():
        client = await Client(mcp).connect()
        answer = await client.request("tools/list")
        assert answer.result["tools"] == []
"""

import asyncio
import itertools
import json
from collections.abc import Coroutine
from typing import Any

from streamhttp_mcp import MCPServer, Reply, Request


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a test's conversation; one that hangs fails after 10 seconds."""
    return asyncio.run(asyncio.wait_for(coroutine, 10))


async def until(condition, turns: int = 1000) -> None:
    """Give the other tasks turns of the event loop until the condition holds; fail when it never does."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"still not true after {turns} turns: {condition}")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds


class Page:
    """What one connection has received of an event stream: a Sink, as streamhttp_mcp.Stream wants it."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False
        self.congested = False
        self.caught_up = asyncio.Event()

    def write(self, data: bytes) -> None:
        assert not self.ended, "written after the end"
        self.text += data.decode()

    def end(self) -> None:
        self.ended = True

    async def drain(self) -> None:
        await self.caught_up.wait()

    @property
    def events(self) -> list[dict[str, str]]:
        """Each event as its fields: [{'id': 'a-1', 'data': '{}'}]. Comments are left out."""
        blocks = [block for block in self.text.split("\n\n") if block and not block.startswith(":")]
        return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The JSON-RPC messages received so far."""
        return [json.loads(event["data"]) for event in self.events if event.get("data", "").strip()]

    async def wait_messages(self, count: int) -> list[dict[str, Any]]:
        await until(lambda: len(self.messages) >= count)
        return self.messages

    async def wait_end(self) -> list[dict[str, Any]]:
        await until(lambda: self.ended)
        return self.messages


class Answer:
    """One HTTP reply. `page` collects an event stream; `message` and `result` read the last JSON-RPC message."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.status = reply.status
        self.headers = {name.lower(): value for name, value in reply.headers}
        self.page = Page()
        if reply.stream is not None:
            reply.stream.attach(self.page, reply.after)

    @property
    def is_stream(self) -> bool:
        return self.reply.stream is not None

    @property
    def message(self) -> Any:
        return self.page.messages[-1] if self.is_stream else json.loads(self.reply.body)

    @property
    def result(self) -> Any:
        assert "error" not in self.message, self.message
        return self.message["result"]

    @property
    def error(self) -> Any:
        return self.message["error"]

    async def complete(self) -> "Answer":
        """Wait for the end of the stream, if it is one."""
        if self.is_stream:
            await self.page.wait_end()
        return self


class Client:
    """Speaks one session; header fields given to a call override its own, and None leaves one out."""

    def __init__(self, mcp: MCPServer) -> None:
        self.mcp = mcp
        self.headers: dict[str, str] = {
            "host": "localhost",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        self.ids = itertools.count(1)

    async def connect(self, version: str = "2025-11-25", capabilities: dict[str, Any] | None = None) -> "Client":
        info = {"name": "inmemory", "version": "1"}
        params = {"protocolVersion": version, "capabilities": capabilities or {}, "clientInfo": info}
        answer = await self.request("initialize", params)
        self.headers["mcp-session-id"] = answer.headers["mcp-session-id"]
        if version >= "2025-06-18":
            self.headers["mcp-protocol-version"] = answer.result["protocolVersion"]
        await self.notify("notifications/initialized")
        return self

    @property
    def session(self) -> Any:
        """The server's side of this client's session."""
        return self.mcp.sessions.by_id[self.headers["mcp-session-id"]]

    async def http(self, method: str, body: bytes = b"", target: str = "/mcp", **headers: str | None) -> Answer:
        merged = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        fields = {name: value for name, value in merged.items() if value is not None}
        return Answer(await self.mcp.handle(Request(method, target, fields, body)))

    async def post(self, message: Any, **headers: str | None) -> Answer:
        return await self.http("POST", json.dumps(message).encode(), **headers)

    async def request(self, method: str, params: Any = None, *, id: Any = None, **headers: str | None) -> Answer:
        """Send a request and wait for the reply; a stream may still be open then."""
        message = {"jsonrpc": "2.0", "id": next(self.ids) if id is None else id, "method": method}
        return await self.post(message | ({} if params is None else {"params": params}), **headers)

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> Answer:
        """Call a tool and wait for all of the answer."""
        return await (await self.request("tools/call", {"name": tool, "arguments": arguments or {}}, **options)).complete()

    async def notify(self, method: str, params: Any = None) -> Answer:
        return await self.post({"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": params}))

    async def respond(self, question: dict[str, Any], result: Any) -> Answer:
        """Answer a request of the server's."""
        return await self.post({"jsonrpc": "2.0", "id": question["id"], "result": result})

    async def get(self, last_event_id: str | None = None, **headers: str | None) -> Answer:
        return await self.http("GET", last_event_id=last_event_id, **headers)

    async def delete(self) -> Answer:
        return await self.http("DELETE")
