"""Many clients that crash, come back, cancel, keep silent and vanish, in both eras; each sees its own, once.

    python tests/soak.py --clients 50 --seconds 60            a new seed

Every call carries a token of its own. Its result comes home exactly once, to its client only; its progress comes in
order and without a gap, over as many connections as it takes; and the server ran it once. In the end nothing is left.
"""

import argparse
import asyncio
import itertools
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]

from inmemory import Clock
from leftovers import Left, complaints
from wire import ACCEPT_BOTH, Wire, call, eventually, head, post, text_result

from streamhttp_mcp import META, SESSION_REVISIONS, STATELESS_REVISION, Context, Limits, MCPServer

STEPS = 6  # of progress, in each call of `count`
LIMITS = Limits(ask_seconds=1, sse_after_seconds=0.05, head_seconds=1e6, body_seconds=1e6, idle_seconds=1e6)
EXPIRY = 20  # seconds of the turned clock, which is ten times as fast as ours


class Fault(Exception):
    """A client saw what it should not, or did not see what it should."""


def soaked_server(clock: Clock, ran: Counter[str], stopped: Counter[str]) -> MCPServer:
    """`ran` and `stopped` count what became of the calls, by token."""
    mcp = MCPServer("soak", clock=clock, session_timeout=EXPIRY, limits=LIMITS)

    @mcp.tool()
    async def count(token: str, ctx: Context, pause: float = 0.001) -> str:
        try:
            for step in range(1, STEPS + 1):
                await ctx.report_progress(step, STEPS, token)
                await asyncio.sleep(pause)
        except asyncio.CancelledError:
            stopped[token] += 1
            raise
        ran[token] += 1
        return token

    @mcp.tool()
    async def ask(token: str, ctx: Context) -> str:
        answer = await ctx.elicit(f"Who asks {token}?", {"type": "object", "properties": {"name": {"type": "string"}}})
        ran[token] += 1
        return f"{token} {answer.content['name']}"

    @mcp.tool()
    async def hang(token: str, ctx: Context) -> str:
        try:
            await ctx.info(token)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped[token] += 1
            raise
        return token

    @mcp.tool()
    async def touch(uri: str) -> str:
        mcp.notify_resource_updated(uri)
        return uri

    @mcp.resource("doc://{name}")
    async def document(name: str) -> str:
        return name

    return mcp


class Visitor:
    """One client, which lives one life after the other."""

    def __init__(self, soak: "Soak", number: int) -> None:
        self.soak, self.number, self.rng = soak, number, random.Random(f"{soak.seed} {number}")
        self.tokens, self.ids = (f"tok{number}x{n}y" for n in itertools.count()), itertools.count(1)
        self.session: dict[str, str] = {}

    async def live(self, until: float) -> None:
        while time.monotonic() < until:
            life = self.rng.choice([self.session_life, self.session_life, self.stateless_life])
            try:
                async with asyncio.timeout(30):
                    await life()
            except Exception as error:
                raise Fault(f"client {self.number}, {life.__name__}: {type(error).__name__} {error}") from error

    def mine(self, messages: list[Any]) -> list[Any]:
        """The messages, having seen that each token in them is ours."""
        for token in re.findall(r"tok[0-9]+x[0-9]+y", json.dumps(messages)):
            if not token.startswith(f"tok{self.number}x"):
                raise Fault(f"client {self.number} hears {token}")
        return messages

    def came_home(self, token: str, messages: list[Any], id: Any) -> None:
        """A whole call: each step of progress, in order, and then the result."""
        notices = [
            {"jsonrpc": "2.0", "method": "notifications/progress",
             "params": {"progressToken": id, "progress": step, "total": STEPS, "message": token}}
            for step in range(1, STEPS + 1)
        ]  # fmt: skip
        if self.mine(messages) != [*notices, text_result(id, token)]:
            raise Fault(f"{token}: {messages}")
        self.soak.home[token] += 1

    # The session era.

    async def session_life(self) -> None:
        version = self.rng.choice(SESSION_REVISIONS)
        params = {"protocolVersion": version, "capabilities": {"elicitation": {}},
                  "clientInfo": {"name": f"client {self.number}", "version": "1"}}  # fmt: skip
        async with Wire(self.soak.url) as wire:
            await wire.send(post(ACCEPT_BOTH, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}))
            assert (await wire.reply()).message["result"]["protocolVersion"] == version
        self.session = ACCEPT_BOTH | {"mcp-session-id": wire.headers["mcp-session-id"], "mcp-protocol-version": version}
        deeds = [self.plain, self.broken, self.broken, self.cancelled, self.answered, self.listening]
        await asyncio.gather(*(deed() for deed in self.rng.choices(deeds, k=self.rng.randint(1, 5))))
        await self.rng.choice([self.goodbye, self.vanish, self.vanish_asked, self.expire])()

    async def exchange(self, message: Any) -> Any:
        async with Wire(self.soak.url) as wire:
            await wire.send(post(self.session, message))
            return await wire.reply()

    async def plain(self) -> None:
        token, id = next(self.tokens), next(self.ids)
        async with Wire(self.soak.url) as wire:
            await wire.send(post(self.session, call(id, "count", {"progressToken": id}, token=token)))
            assert await wire.status() == 200
            self.came_home(token, await wire.messages(), id)

    async def broken(self) -> None:
        """Lose the connection again and again, and come back with the last event id."""
        token, id, seen = next(self.tokens), next(self.ids), []
        request = post(self.session, call(id, "count", {"progressToken": id}, token=token, pause=0.005))
        last_event_id = None
        while True:
            async with Wire(self.soak.url) as wire:
                await wire.send(head("GET", **self.session, last_event_id=last_event_id) if last_event_id else request)
                assert await wire.status() == 200
                wanted = self.rng.randint(0 if last_event_id else 1, STEPS)
                while wanted and (not seen or "result" not in seen[-1]):
                    seen.append(await wire.message())
                    wanted -= 1
                last_event_id = wire.last_event_id or last_event_id
                self.soak.deeds["broken"] += 1
                if seen[-1:] and "result" in seen[-1]:
                    assert await wire.messages() == []
                    self.came_home(token, seen, id)
                    return
                if self.rng.random() < 0.7:
                    wire.reset()
            if self.rng.random() < 0.5:
                await asyncio.sleep(self.rng.random() * 0.05)

    async def cancelled(self) -> None:
        """The stream of a call that was cancelled ends without an answer."""
        token, id = next(self.tokens), next(self.ids)
        async with Wire(self.soak.url) as wire:
            await wire.send(post(self.session, call(id, "hang", token=token)))
            assert await wire.status() == 200
            assert (await wire.message())["params"]["data"] == token
            params = {"requestId": id, "reason": token}
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
            assert (await self.exchange(cancel)).status == 202
            assert await wire.messages() == []
        self.soak.cancelled.add(token)

    async def answered(self) -> None:
        """Answer a question; in half of the cases the line breaks before, and the answer comes from elsewhere."""
        token, id = next(self.tokens), next(self.ids)
        async with Wire(self.soak.url) as wire:
            await wire.send(post(self.session, call(id, "ask", token=token)))
            assert await wire.status() == 200
            (question,) = self.mine([await wire.message()])
            assert question["params"]["message"] == f"Who asks {token}?"
            broken = self.rng.random() < 0.5
            if broken:
                wire.reset()
            name = f"{token}-{self.number}"
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": name}}}
            assert (await self.exchange(answer)).status == 202
            messages = [] if broken else await wire.messages()
        if broken:
            async with Wire(self.soak.url) as back:
                await back.send(head("GET", **self.session, last_event_id=wire.last_event_id))
                assert await back.status() == 200
                messages = await back.messages()
        assert self.mine(messages) == [text_result(id, f"{token} {name}")], messages
        self.soak.home[token] += 1

    async def listening(self) -> None:
        """Watch a document of one's own over two connections of which the first one dies. Not twice at a time."""
        if "listens" in self.session:
            return
        self.session = self.session | {"listens": "yes"}
        uris = [f"doc://{next(self.tokens)}" for _ in range(4)]
        for uri in uris:
            message = {"jsonrpc": "2.0", "id": next(self.ids), "method": "resources/subscribe", "params": {"uri": uri}}
            assert "result" in (await self.exchange(message)).message
        seen: list[Any] = []
        async with Wire(self.soak.url) as first:
            await first.send(head("GET", **self.session))
            assert await first.status() == 200
            await self.exchange(call(next(self.ids), "touch", uri=uris[0]))
            await self.exchange(call(next(self.ids), "touch", uri=uris[1]))
            seen.append(await first.message())
            first.reset()
        await self.exchange(call(next(self.ids), "touch", uri=uris[2]))
        async with Wire(self.soak.url) as second:
            await second.send(head("GET", **self.session, last_event_id=first.last_event_id))
            assert await second.status() == 200
            await self.exchange(call(next(self.ids), "touch", uri=uris[3]))
            seen += [await second.message() for _ in range(3)]
        assert [message["params"]["uri"] for message in self.mine(seen)] == uris, seen

    async def goodbye(self) -> None:
        async with Wire(self.soak.url) as wire:
            await wire.send(head("DELETE", **self.session))
            assert (await wire.reply()).status == 200
        assert (await self.exchange(call(1, "touch", uri="doc://a"))).status == 404

    async def vanish(self) -> None:
        """With a call running and a GET stream open."""
        token = next(self.tokens)
        async with Wire(self.soak.url) as get, Wire(self.soak.url) as wire:
            await get.send(head("GET", **self.session))
            await wire.send(post(self.session, call(1, "count", {"progressToken": 1}, token=token)))
            await wire.status()
            get.reset()
            wire.reset()

    async def vanish_asked(self) -> None:
        """With a question open."""
        async with Wire(self.soak.url) as wire:
            await wire.send(post(self.session, call(1, "ask", token=next(self.tokens))))
            assert await wire.status() == 200
            assert (await wire.message())["method"] == "elicitation/create"
            wire.reset()

    async def expire(self) -> None:
        """Keep silent for too long, and learn of it."""
        session_id = self.session["mcp-session-id"]
        await eventually(lambda: session_id not in self.soak.mcp.sessions.by_id, 20)
        assert (await self.exchange(call(1, "touch", uri="doc://a"))).status == 404

    # The stateless era.

    async def stateless_life(self) -> None:
        deeds = [self.stateless_call, self.stateless_question, self.stateless_crash, self.stateless_listener]
        await asyncio.gather(*(deed() for deed in self.rng.choices(deeds, k=self.rng.randint(1, 4))))

    def stateless(self, id: Any, method: str, meta: dict[str, Any] | None = None, **params: Any) -> bytes:
        says = {"protocolVersion": STATELESS_REVISION, "clientCapabilities": {"elicitation": {}}, "logLevel": "debug"}
        params["_meta"] = {META + name: value for name, value in says.items()} | (meta or {})
        headers = ACCEPT_BOTH | {"mcp-protocol-version": STATELESS_REVISION, "mcp-method": method}
        headers |= {"mcp-name": params["name"]} if "name" in params else {}
        return post(headers, {"jsonrpc": "2.0", "id": id, "method": method, "params": params})

    async def stateless_call(self) -> None:
        token, id = next(self.tokens), next(self.ids)
        async with Wire(self.soak.url) as wire:
            meta, arguments = {"progressToken": id}, {"token": token}
            await wire.send(self.stateless(id, "tools/call", meta, name="count", arguments=arguments))
            assert await wire.status() == 200
            messages = await wire.messages()
            del messages[-1]["result"]["_meta"], messages[-1]["result"]["resultType"]
            self.came_home(token, messages, id)

    async def stateless_question(self) -> None:
        """Be asked on one connection, and call again with the answer on another one."""
        token, params = next(self.tokens), {"name": "ask"}
        params |= {"arguments": {"token": token}}
        async with Wire(self.soak.url) as wire:
            await wire.send(self.stateless("a", "tools/call", **params))
            (asked,) = self.mine([(await wire.reply()).message["result"]])
            assert asked["resultType"] == "input_required"
        ((key, question),) = asked["inputRequests"].items()
        assert question["params"]["message"] == f"Who asks {token}?"
        answer = {key: {"action": "accept", "content": {"name": token}}}
        async with Wire(self.soak.url) as wire:
            retry = params | {"requestState": asked["requestState"], "inputResponses": answer}
            await wire.send(self.stateless("b", "tools/call", **retry))
            (message,) = self.mine([(await wire.reply()).message])
        assert (message["id"], message["result"]["content"][0]["text"]) == ("b", f"{token} {token}")
        self.soak.home[token] += 1

    async def stateless_crash(self) -> None:
        """Whoever leaves has cancelled."""
        token = next(self.tokens)
        async with Wire(self.soak.url) as wire:
            await wire.send(self.stateless(1, "tools/call", name="hang", arguments={"token": token}))
            assert await wire.status() == 200
            assert (await wire.message())["params"]["data"] == token
            wire.reset()
        await eventually(lambda: self.soak.stopped[token], 10)
        self.soak.cancelled.add(token)

    async def stateless_listener(self) -> None:
        token = next(self.tokens)
        wanted = {"resourceSubscriptions": [f"doc://{token}"]}
        async with Wire(self.soak.url) as wire, Wire(self.soak.url) as other:
            await wire.send(self.stateless(token, "subscriptions/listen", notifications=wanted))
            assert await wire.status() == 200
            assert (await wire.message())["method"] == "notifications/subscriptions/acknowledged"
            await other.send(self.stateless(1, "tools/call", name="touch", arguments={"uri": f"doc://{token}"}))
            assert (await other.reply()).status == 200
            (notice,) = self.mine([await wire.message()])
            assert (notice["params"]["uri"], notice["params"]["_meta"]) == (
                f"doc://{token}", {META + "subscriptionId": token})  # fmt: skip
            wire.reset()


class Soak:
    """The server, its clients, and the books."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.home: Counter[str] = Counter()  # token -> times that its result arrived
        self.ran: Counter[str] = Counter()  # token -> times that the server brought it to its end
        self.stopped: Counter[str] = Counter()  # token -> times that it was cancelled there
        self.cancelled: set[str] = set()  # tokens whose calls the clients have cancelled
        self.deeds: Counter[str] = Counter()

    async def run(self, clients: int, seconds: float) -> None:
        clock = Clock()
        self.mcp = soaked_server(clock, self.ran, self.stopped)
        with complaints() as log:
            async with self.mcp.serving() as self.url:
                before = Left.look()
                ticking = asyncio.create_task(self.tick(clock))
                async with asyncio.TaskGroup() as group:
                    for number in range(clients):
                        group.create_task(Visitor(self, number).live(time.monotonic() + seconds))
                await eventually(lambda: not (self.mcp.connections or self.mcp.calls or self.mcp.sessions.by_id), 30)
                ticking.cancel()
                del ticking, group  # which know tasks
                after = await Left.settled(before)
        if not after.same(before) or after.resident > before.resident + 60 * 2**20:
            raise Fault(f"something is left: before {before}, after {after}")
        if self.mcp.sessions.used:
            raise Fault(f"nobody is there, and {self.mcp.sessions.used} bytes are counted as kept or unread")
        if log.found:
            raise Fault(f"the log complains: {log.found[0]}")
        self.check_books()

    async def tick(self, clock: Clock) -> None:
        while True:
            await asyncio.sleep(0.1)
            clock.turn(1)
            self.mcp.sweep()

    def check_books(self) -> None:
        for token in self.home.keys() | self.ran.keys() | self.stopped.keys() | self.cancelled:
            home, ran, stopped = books = self.home[token], self.ran[token], self.stopped[token]
            if home and books != (1, 1, 0) or token in self.cancelled and books != (0, 0, 1):
                raise Fault(f"{token} came home {home} times, ran {ran} times, was stopped {stopped} times")
            if ran + stopped != 1:  # of a client that vanished
                raise Fault(f"{token} ran {ran} times and was stopped {stopped} times")

    def __iter__(self) -> Iterator[str]:
        yield f"{self.home.total()} calls came home, {len(self.cancelled)} were cancelled, "
        yield f"{len(self.ran.keys() - self.home.keys())} ended after their clients; "
        yield f"{self.deeds['broken']} connections of calls that lost some"


def main() -> int:
    parser = argparse.ArgumentParser(description="Soak streamhttp_mcp on 127.0.0.1.")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = random.randrange(10**6) if args.seed is None else args.seed
    soak = Soak(seed)
    print(f"seed {seed}", flush=True)
    try:
        asyncio.run(soak.run(args.clients, args.seconds))
    except (Fault, TimeoutError, ExceptionGroup) as error:
        print(*(f"FAULT: {fault!r}" for fault in getattr(error, "exceptions", [error])), sep="\n")
        return 1
    print("".join(soak))
    return 0


if __name__ == "__main__":
    sys.exit(main())
