"""Conversations of the official Python client, written once for its generations 1.x and 2.x, and what it saw of them.

    python tests/peer_client.py http://127.0.0.1:8000/mcp progress        prints it as JSON

2.x runs in the Python that runs pytest, 1.x in one of its own, so this file imports neither pytest nor our server.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

V1 = version("mcp").startswith("1.")


class Peer:
    """An open session, and the HTTP exchanges behind it."""

    def __init__(self, session: ClientSession, exchanges: list[Any]) -> None:
        self.session = session
        self.exchanges = exchanges  # the responses, in the order that their heads came

    @property
    def session_id(self) -> str:
        return self.exchanges[0].headers["mcp-session-id"]

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        return plain(await self.session.call_tool(tool, arguments or {}, **options))

    async def text(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> str:
        return (await self.call(tool, arguments, **options))["content"][0]["text"]


def plain(model: Any) -> Any:
    """A model as it is on the wire; the attributes have other names in 1.x and 2.x."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


@asynccontextmanager
async def connect(url: str, **callbacks: Any):
    """A session of the newest session revision: in 2.x, too, `initialize()` opens one."""
    exchanges: list[Any] = []

    async def note(response: Any) -> None:
        exchanges.append(response)

    async with create_mcp_http_client() as http:
        http.event_hooks = {"response": [note]}
        async with (
            streamable_http_client(url, http_client=http) as streams,
            ClientSession(*streams[:2], **callbacks) as session,
        ):
            peer = Peer(session, exchanges)
            peer.hello = plain(await session.initialize())
            yield peer


# --- The conversations: each takes the URL and returns what is seen -----------------------------------


async def hello(url: str) -> Any:
    async with connect(url) as peer:
        return {
            "initialize": peer.hello,
            "tools": [tool.name for tool in (await peer.session.list_tools()).tools],
            "resources": [str(found.uri) for found in (await peer.session.list_resources()).resources],
            "prompts": [prompt.name for prompt in (await peer.session.list_prompts()).prompts],
            "echo": await peer.text("echo", {"text": "\u2028 \U0001f600"}),
        }


async def progress(url: str) -> Any:
    seen: list[Any] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        seen.append([done, total, message])

    async with connect(url) as peer:
        seen.append(await peer.text("count", {"n": 5, "delay": 0.01}, progress_callback=on_progress))
    return seen


async def log(url: str) -> Any:
    seen: list[Any] = []

    async def on_log(params: Any) -> None:
        seen.append(plain(params))

    async with connect(url, logging_callback=on_log) as peer:
        seen.append(await peer.text("test_tool_with_logging"))
        await peer.session.set_logging_level("error")
        seen.append(await peer.text("test_tool_with_logging"))
    return seen


async def sampling(url: str) -> Any:
    seen: list[Any] = []

    async def on_sampling(context: Any, params: Any) -> Any:
        seen.append(plain(params))
        content = types.TextContent(type="text", text="It is 42.")
        return types.CreateMessageResult(role="assistant", content=content, model="deep-thought")

    async with connect(url, sampling_callback=on_sampling) as peer:
        seen.append(await peer.text("test_sampling", {"prompt": "What is it?"}))
    return seen


async def elicitation(url: str) -> Any:
    seen: list[Any] = []

    async def on_elicitation(context: Any, params: Any) -> Any:
        seen.append(plain(params)["message"])
        if params.message == "Who?":
            return types.ElicitResult(action="accept", content={"username": "ada", "email": "ada@example.com"})
        return types.ElicitResult(action="decline")

    async with connect(url, elicitation_callback=on_elicitation) as peer:
        seen.append(await peer.text("test_elicitation", {"message": "Who?"}))
        seen.append(await peer.text("test_elicitation", {"message": "Sure?"}))
    return seen


async def incapable(url: str) -> Any:
    async with connect(url) as peer:
        calls = [("test_sampling", {"prompt": "?"}), ("test_elicitation", {"message": "?"})]
        return [await peer.call(*call) for call in calls]


async def roots(url: str) -> Any:
    async def on_roots(context: Any) -> Any:
        return types.ListRootsResult(roots=[types.Root(uri="file:///work/main", name="main")])

    async with connect(url, list_roots_callback=on_roots) as peer:
        return await peer.call("folders")


async def concurrent(url: str) -> Any:
    async with connect(url) as peer:
        calls = [("slow", {"seconds": 0.2 - n / 100, "text": f"slow {n}"}) for n in range(10)]
        calls += [("echo", {"text": f"echo {n}"}) for n in range(10)]
        return await asyncio.gather(*(peer.text(*call) for call in calls))


async def cancel(url: str) -> Any:
    started = asyncio.Event()

    async def on_progress(*progress: Any) -> None:
        started.set()

    async with connect(url) as peer:
        call = asyncio.create_task(peer.call("work_for_ever", progress_callback=on_progress))
        await started.wait()
        if V1:  # has no function for it
            params = types.CancelledNotificationParams(requestId=peer.session._request_id - 1, reason="changed my mind")
            cancelled = types.CancelledNotification(method="notifications/cancelled", params=params)
            await peer.session.send_notification(types.ClientNotification(cancelled))
        else:
            call.cancel()
        await peer.call("wait_for_the_end")
        # The server's retry time is 10 ms here: who is not told that there is nothing to resume asks 50 times.
        await asyncio.sleep(0.5)
        call.cancel()
        return [exchange.status_code for exchange in peer.exchanges if "last-event-id" in exchange.request.headers]


async def resume(url: str) -> Any:
    async with connect(url) as peer:
        text = await peer.text("test_reconnection")
        resumed = [exchange for exchange in peer.exchanges if "last-event-id" in exchange.request.headers]
        return [text, [exchange.status_code for exchange in resumed]]


async def goodbye(url: str) -> Any:
    async with connect(url) as peer:
        await peer.text("echo", {"text": "hi"})
    last = peer.exchanges[-1]
    return [last.request.method, last.status_code, peer.session_id]


async def analyze(url: str) -> Any:
    """With the demo: analyze the document of 700 KB that every Python brings along."""
    seen: list[Any] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        seen.append([done, total, message])

    async with connect(url) as peer:
        seen.append(await peer.call("analyze_document", {"path": "topics.py"}, progress_callback=on_progress))
    return seen


if __name__ == "__main__":
    url, conversation = sys.argv[1:]
    print(json.dumps(asyncio.run(globals()[conversation](url))))
