"""Fifty clients at once, on real connections that keep breaking: each sees its own messages, once, and no other's."""

import asyncio
import os
import secrets
from collections import defaultdict

from inmemory import Clock, spoken
from wire import ACCEPT_BOTH, Wire, call, eventually, head, post, text_result

from streamhttp_mcp import Context, MCPServer

CLIENTS, CALLS, STEPS = 50, 3, 8


@spoken
async def test_fifty_clients_that_come_and_go_see_their_own_answers_only_and_leave_nothing_behind():
    """[id.by-exchange] [disconnect.not-cancel] [resume.replay] [resume.same-stream-only] [stream.no-broadcast]

    All clients use the same request ids and progress tokens; only the texts tell whose a message is.
    """
    clock, gates = Clock(), defaultdict(asyncio.Event)
    mcp = MCPServer("test", clock=clock, session_timeout=300)

    @mcp.tool()
    async def count(token: str, ctx: Context) -> str:
        for step in range(1, STEPS + 1):
            await ctx.report_progress(step, STEPS, token)
            if step == STEPS // 2:
                await gates[token].wait()
        return token

    @mcp.tool()
    async def touch(uri: str) -> str:
        mcp.notify_resource_updated(uri)
        return uri

    @mcp.resource("doc://{name}")
    async def document(name: str) -> str:
        return name

    async with mcp.serving() as url:
        tasks, files = asyncio.all_tasks(), len(os.listdir("/dev/fd"))
        await asyncio.gather(*(Visitor(url, number, gates).visit() for number in range(CLIENTS)))

        def heartbeat() -> None:
            clock.turn(mcp.limits.heartbeat_seconds)
            mcp.sweep()

        # Every other client said goodbye. The rest just vanished, each with a GET stream open, as laptops do.
        await eventually(lambda: len(mcp.connections) == len(mcp.sessions.by_id) == CLIENTS / 2)
        await eventually(lambda: heartbeat() or not mcp.connections)
        clock.turn(300)
        mcp.sweep()
        assert not mcp.sessions.by_id and not mcp.calls
        await eventually(lambda: asyncio.all_tasks() == tasks)
        assert len(os.listdir("/dev/fd")) == files


class Visitor:
    """One client: what it does, and what it expects to see of it."""

    def __init__(self, url: str, number: int, gates: dict[str, asyncio.Event]) -> None:
        self.url, self.number, self.gates = url, number, gates
        self.name = f"client-{number}-{secrets.token_hex(4)}"
        self.session = ACCEPT_BOTH

    async def visit(self) -> None:
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
        async with Wire(self.url) as wire:
            await wire.send(post(self.session, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
            assert (await wire.reply()).message["id"] == 0
            self.session = self.session | {"mcp-session-id": wire.headers["mcp-session-id"]}
            await asyncio.gather(self.listen(), *(self.call(id) for id in range(1, CALLS + 1)))
            if self.number % 2:
                await wire.send(head("DELETE", **self.session))
                assert (await wire.reply()).status == 200

    async def call(self, id: int) -> None:
        """Call `count`, lose the connection in the middle, come back for the rest: before it is done, or after."""
        token, kind, seen = f"{self.name}-{id}", self.number + id, []
        async with Wire(self.url) as wire:
            await wire.send(post(self.session, call(id, "count", {"progressToken": id}, token=token)))
            assert await wire.status() == 200
            while len(seen) < 1 + kind % (STEPS // 2):  # further messages may be on their way when the line breaks
                seen.append(await wire.message())
            if kind % 3:
                wire.reset()
        if kind % 2:
            self.gates[token].set()
            await asyncio.sleep(0)
        async with Wire(self.url) as back:
            await back.send(head("GET", **self.session, last_event_id=wire.last_event_id))
            assert await back.status() == 200
            self.gates[token].set()
            seen += await back.messages()
        progress = [{"progressToken": id, "progress": n, "total": STEPS, "message": token} for n in range(1, STEPS + 1)]
        notices = [{"jsonrpc": "2.0", "method": "notifications/progress", "params": params} for params in progress]
        assert seen == [*notices, text_result(id, token)]

    async def listen(self) -> None:
        """Subscribe to three documents of one's own, and hear of each: here, then away, then back."""
        uris, seen = [f"doc://{self.name}-{letter}" for letter in "abc"], []
        async with Wire(self.url) as wire:
            for id, uri in enumerate(uris, 1):
                message = {"jsonrpc": "2.0", "id": id, "method": "resources/subscribe", "params": {"uri": uri}}
                await wire.send(post(self.session, message))
                assert (await wire.reply()).message == {"jsonrpc": "2.0", "id": id, "result": {}}

            async def touch(uri: str) -> None:
                await wire.send(post(self.session, call(1, "touch", uri=uri)))
                assert (await wire.reply()).message == text_result(1, uri)

            async with Wire(self.url) as first:
                await first.send(head("GET", **self.session))
                assert await first.status() == 200
                await touch(uris[0])
                seen.append(await first.message())
                if self.number % 3:
                    first.reset()
            await touch(uris[1])
            async with Wire(self.url) as second:
                await second.send(head("GET", **self.session, last_event_id=first.last_event_id))
                assert await second.status() == 200
                seen.append(await second.message())
                await touch(uris[2])
                seen.append(await second.message())
        updated = {"jsonrpc": "2.0", "method": "notifications/resources/updated"}
        assert seen == [updated | {"params": {"uri": uri}} for uri in uris]
