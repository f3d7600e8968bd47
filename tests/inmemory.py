"""An MCP client without a port: it talks to `MCPServer.handle`, which is the server as a function.

    async def conversation():
        client = await Client(mcp).connect()
        answer = await client.request("tools/list")
        assert answer.result["tools"] == []
"""

import asyncio
import base64
import functools
import itertools
import json
from collections.abc import Coroutine
from typing import Any

from streamhttp_mcp import META, STATELESS_REVISION, MCPServer, Reply, Request


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a test's conversation; one that hangs fails after 10 seconds."""
    return asyncio.run(asyncio.wait_for(coroutine, 10))


def spoken(conversation):
    """Make a test of a coroutine function."""
    return functools.wraps(conversation)(lambda *args, **options: run(conversation(*args, **options)))


async def until(condition, turns: int = 1000) -> None:
    """Give the other tasks turns of the event loop until the condition holds; fail when it never does."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError(f"still not true after {turns} turns: {condition}")


def library(**settings: Any) -> MCPServer:
    """A server with a resource, a template, a prompt and a completion; each test adds its tools."""
    mcp = MCPServer("test", **settings)

    @mcp.resource("doc://a")
    async def document() -> str:
        return "hello"

    @mcp.resource("doc://{name}/notes")
    async def notes(name: str) -> str:
        return f"about {name}"

    @mcp.prompt()
    async def ask(topic: str) -> str:
        return f"What about {topic}?"

    @mcp.completion()
    async def complete(ref, argument, context):
        return [f"{argument['value']}{n}" for n in (1, 2)]

    return mcp


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds


class Page:
    """One connection that reads an event stream, and what came down it.

    It reads in a task of its own, beside the test: `wait_messages` and `wait_end` wait for it. While a test sets
    `congested` to True, it takes nothing more.
    """

    def __init__(self) -> None:
        self.text = ""
        self.ended = False  # the server has ended the response, or the client has left
        self.reader: Any = None
        self.task: asyncio.Task[None] | None = None

    def read(self, reply: Reply) -> None:
        """Attach at once, as a connection does. What is there already is read in the next turn."""
        self.reader = reply.stream.attach(reply.after)
        self.congested = False

    async def read_on(self) -> None:
        while data := await self.reader.read():
            self.text += data.decode()
        self.ended = True
        self.reader.detach()

    def leave(self) -> None:
        """The client disconnects, and the server sees it at once."""
        self.congested = True
        self.ended = True
        self.reader.detach()

    @property
    def congested(self) -> bool:
        return self.task is None

    @congested.setter
    def congested(self, value: bool) -> None:
        if self.task is not None:
            self.task.cancel()  # a read that is cancelled has taken nothing
        self.task = None if value else asyncio.create_task(self.read_on())

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

    def __init__(self, reply: Reply, request: Request | None = None) -> None:
        self.reply, self.request = reply, request
        self.status = reply.status
        self.headers = {name.lower(): value for name, value in reply.headers}
        self.page = Page()
        if reply.stream is not None:
            self.page.read(reply)

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
        self.principal: str | None = None
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
        request = Request(method, target, fields, body, principal=self.principal)
        answer = Answer(await self.mcp.handle(request), request)
        await asyncio.sleep(0)  # every page reads what is there already, this one and older ones
        return answer

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


class StatelessClient(Client):
    """Speaks 2026-07-28: each request says in `_meta` who asks, and again in its headers what it wants.

    client = StatelessClient(mcp, {"elicitation": {}})
    asked = await client.call("greet")
    answer = await client.answer(asked, name={"action": "accept", "content": {"name": "Ada"}})
    """

    def __init__(self, mcp: MCPServer, capabilities: dict[str, Any] | None = None, **meta: Any) -> None:
        super().__init__(mcp)
        info = {"protocolVersion": STATELESS_REVISION, "clientInfo": {"name": "inmemory", "version": "1"}}
        fields = info | {"clientCapabilities": capabilities or {}}
        self.meta = {META + name: value for name, value in fields.items()} | meta

    async def request(
        self, method: str, params: Any = None, *, id: Any = None,
        meta: dict[str, Any] | None = None, **headers: str | None,
    ) -> Answer:  # fmt: skip
        """Send a request; what `meta` and the headers say overrides what is right, and None leaves it out."""
        merged = {key: value for key, value in (self.meta | (meta or {})).items() if value is not None}
        params = {**(params or {}), "_meta": merged}
        mirrored = {"mcp_protocol_version": merged.get(META + "protocolVersion"), "mcp_method": method}
        name = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}.get(method)
        if isinstance(params.get(name), str):
            mirrored["mcp_name"] = plain_or_base64(params[name])
        return await super().request(method, params, id=id, **(mirrored | headers))

    async def answer(self, asked: Answer, /, **responses: Any) -> Answer:
        """Call again with these answers, and with the state that came with the questions."""
        message = json.loads(asked.request.body)
        params = message["params"] | {"inputResponses": responses}
        params.pop("requestState", None)
        if "requestState" in asked.result:
            params["requestState"] = asked.result["requestState"]
        return await (await self.request(message["method"], params)).complete()


def plain_or_base64(value: str) -> str:
    """Write a header value as clients of 2026-07-28 do: 'a' -> 'a', ' a' -> '=?base64?IGE=?='."""
    safe = value.isascii() and value.isprintable() and value == value.strip() and not value.startswith("=?base64?")
    return value if safe else f"=?base64?{base64.b64encode(value.encode()).decode()}?="
