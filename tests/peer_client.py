"""Conversations of the official Python client, written once for its generations and the eras, and what it saw of them.

    python tests/peer_client.py session http://127.0.0.1:8000/mcp progress        prints it as JSON

2.x runs in the Python that runs pytest, 1.x in one of its own, so this file imports neither pytest nor our server.
peer_client.mjs holds the same conversations in TypeScript's, as far as they are the same.
"""

import asyncio
import functools
import json
import sys
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mcp import ClientSession, types
from mcp.client import auth
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared import exceptions
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientMetadata

V1 = version("mcp").startswith("1.")
RPC_ERROR = getattr(exceptions, "McpError" if V1 else "MCPError")
LOG_LEVEL = "io.modelcontextprotocol/logLevel"


class Peer:
    """A client that is connected, and the HTTP exchanges behind it."""

    def __init__(self, client: Any, exchanges: list[Any], notices: "asyncio.Queue[Any] | None" = None) -> None:
        self.client = client  # a ClientSession, or the Client of 2.x: what we use of them has the same names
        self.exchanges = exchanges  # the responses, in the order that their heads came
        self.notices = notices  # that came to a session
        self.hello: Any = None  # the server's
        self.options: dict[str, Any] = {}  # of each call

    @property
    def session_id(self) -> str:
        return self.exchanges[0].headers["mcp-session-id"]

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        return plain(await self.client.call_tool(tool, arguments or {}, **options, **self.options))

    async def text(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> str:
        return (await self.call(tool, arguments, **options))["content"][0]["text"]

    async def set_log_level(self, level: str) -> None:
        if self.notices is None:
            self.options = {"meta": {LOG_LEVEL: level}}
        else:
            await self.client.set_logging_level(level)

    @asynccontextmanager
    async def listening_for_tools(self):
        """Gives a function that waits for the news of a change."""
        if self.notices is None:
            async with self.client.listen(tools_list_changed=True) as events:
                yield events.__anext__
        else:
            yield self.notices.get


def plain(model: Any) -> Any:
    """A model as it is on the wire; the attributes have other names in 1.x and 2.x."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


@asynccontextmanager
async def transport(url: str, **options: Any):
    """Gives the streams of a connection, and the list of the responses that will come. Options: headers, auth."""
    exchanges: list[Any] = []

    async def note(response: Any) -> None:
        exchanges.append(response)

    async with create_mcp_http_client(**options) as http:
        http.event_hooks = {"response": [note]}
        yield streamable_http_client(url, http_client=http), exchanges


@asynccontextmanager
async def sse_transport(url: str, **options: Any):
    """The same for HTTP+SSE, whose answers are no HTTP responses."""
    yield sse_client(url.removesuffix("/mcp") + "/sse", **options), []


@asynccontextmanager
async def session(url: str, open_transport: Any = transport, http: dict[str, Any] | None = None, **callbacks: Any):
    """Open a session of the newest session revision: in 2.x, too, `initialize()` does that."""
    notices: asyncio.Queue[Any] = asyncio.Queue()

    async def note(message: Any) -> None:
        if "list_changed" in str(message):
            await notices.put(message)

    async with (
        open_transport(url, **(http or {})) as (connection, exchanges),
        connection as streams,
        ClientSession(*streams[:2], message_handler=note, **callbacks) as client,
    ):
        peer = Peer(client, exchanges, notices)
        hello = plain(await client.initialize())
        peer.hello = {name: hello[name] for name in ("protocolVersion", "serverInfo")}
        yield peer


sse = functools.partial(session, open_transport=sse_transport)


@asynccontextmanager
async def auto(url: str, http: dict[str, Any] | None = None, **callbacks: Any):
    """Connect as 2.x does by itself: it tries `server/discover`, and would fall back to a session."""
    from mcp import Client

    streams = transport(url, **(http or {}))
    async with streams as (connection, exchanges), Client(connection, mode="auto", **callbacks) as client:
        peer = Peer(client, exchanges)
        peer.hello = {"protocolVersion": client.protocol_version, "serverInfo": plain(client.server_info)}
        yield peer


# --- The conversations: each takes a way to connect and returns what it saw ---------------------------


async def hello(connect: Any) -> Any:
    async with connect() as peer:
        tools = [tool.name for tool in (await peer.client.list_tools()).tools]
        ref = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        prompt = await peer.client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "\u2028"})
        return {
            **peer.hello,
            "tools": tools,
            "resources": [str(found.uri) for found in (await peer.client.list_resources()).resources],
            "prompts": [prompt.name for prompt in (await peer.client.list_prompts()).prompts],
            "echo": await peer.text("echo", {"text": "\u2028 \U0001f600"}),
            "region": await peer.text("test_x_mcp_header", {"region": "Z\u00fcrich \U0001f600"}),
            "read": plain((await peer.client.read_resource("test://template/7/data")).contents[0]),
            "prompt": plain(prompt.messages[0]),
            "completion": (await peer.client.complete(ref, {"name": "arg1", "value": "test"})).completion.values,
        }


async def progress(connect: Any) -> Any:
    seen: list[Any] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        seen.append([done, total, message])

    async with connect() as peer:
        seen.append(await peer.text("count", {"n": 5, "delay": 0.01}, progress_callback=on_progress))
    return seen


async def log(connect: Any) -> Any:
    seen: list[Any] = []

    async def on_log(params: Any) -> None:
        seen.append(plain(params))

    async with connect(logging_callback=on_log) as peer:
        await peer.set_log_level("info")
        seen.append(await peer.text("test_tool_with_logging"))
        await peer.set_log_level("error")
        seen.append(await peer.text("test_tool_with_logging"))
    return seen


def answers(seen: list[Any]) -> dict[str, Any]:
    """Callbacks that note each question and answer it; the user declines what is not asked with a question mark."""

    async def on_sampling(context: Any, params: Any) -> Any:
        seen.append(plain(params))
        content = types.TextContent(type="text", text="It is 42.")
        return types.CreateMessageResult(role="assistant", content=content, model="deep-thought")

    async def on_elicitation(context: Any, params: Any) -> Any:
        asked = plain(params)
        seen.append(asked["message"])
        if not asked["message"].endswith("?"):
            return types.ElicitResult(action="decline")
        return types.ElicitResult(action="accept", content=dict.fromkeys(asked["requestedSchema"]["properties"], "ada"))

    async def on_roots(context: Any) -> Any:
        return types.ListRootsResult(roots=[types.Root(uri="file:///home/ada", name="home")])

    return {"sampling_callback": on_sampling, "elicitation_callback": on_elicitation, "list_roots_callback": on_roots}


async def sampling(connect: Any) -> Any:
    seen: list[Any] = []
    async with connect(**answers(seen)) as peer:
        seen.append(await peer.text("test_sampling", {"prompt": "What is it?"}))
    return seen


async def elicitation(connect: Any) -> Any:
    seen: list[Any] = []
    async with connect(**answers(seen)) as peer:
        seen.append(await peer.text("test_elicitation", {"message": "Who?"}))
        seen.append(await peer.text("test_elicitation", {"message": "Anonymous!"}))
    return seen


async def roots(connect: Any) -> Any:
    async with connect(**answers([])) as peer:
        return await peer.text("test_input_required_result_list_roots")


async def rounds(connect: Any) -> Any:
    """One question after the other, three at once, and one in a prompt."""
    seen: list[Any] = []
    async with connect(**answers(seen)) as peer:
        results = [
            await peer.text("test_input_required_result_multi_round"),
            await peer.text("test_input_required_result_multiple_inputs"),
            plain((await peer.client.get_prompt("test_input_required_result_prompt")).messages[0])["content"]["text"],
        ]
    return [question for question in seen if isinstance(question, str)] + results


async def incapable(connect: Any) -> Any:
    """What a tool that asks gives a client without callbacks."""
    async with connect() as peer:
        calls = [("test_sampling", {"prompt": "?"}), ("test_elicitation", {"message": "?"})]
        return [await failure(peer.call(*call)) for call in calls]


async def failure(call: Any) -> Any:
    try:
        result = await call
    except RPC_ERROR as error:
        return plain(error.error)
    return result["content"][0]["text"] if result["isError"] else None


async def changes(connect: Any) -> Any:
    """Whether a new tool was there before it was added, and after the notice that there is one."""
    async with connect() as peer, peer.listening_for_tools() as notice:
        before = {tool.name for tool in (await peer.client.list_tools()).tools}
        name = await peer.text("add_a_tool")
        await notice()
        after = {tool.name for tool in (await peer.client.list_tools()).tools}
        return [name in before, name in after, await peer.text(name) == f"I am {name}"]


async def concurrent(connect: Any) -> Any:
    async with connect() as peer:
        calls = [("slow", {"seconds": 0.2 - n / 100, "text": f"slow {n}"}) for n in range(10)]
        calls += [("echo", {"text": f"echo {n}"}) for n in range(10)]
        return await asyncio.gather(*(peer.text(*call) for call in calls))


async def cancel(connect: Any) -> Any:
    started = asyncio.Event()

    async def on_progress(*progress: Any) -> None:
        started.set()

    async with connect() as peer:
        call = asyncio.create_task(peer.call("work_for_ever", progress_callback=on_progress))
        await started.wait()
        if V1:  # has no function for it
            params = types.CancelledNotificationParams(requestId=peer.client._request_id - 1, reason="changed my mind")
            cancelled = types.CancelledNotification(method="notifications/cancelled", params=params)
            await peer.client.send_notification(types.ClientNotification(cancelled))
        else:
            call.cancel()
        await peer.call("wait_for_the_end")
        # The server's retry time is 10 ms here: who is not told that there is nothing to resume asks 50 times.
        await asyncio.sleep(0.5)
        call.cancel()
        return [exchange.status_code for exchange in peer.exchanges if "last-event-id" in exchange.request.headers]


async def resume(connect: Any) -> Any:
    async with connect() as peer:
        text = await peer.text("test_reconnection")
        resumed = [exchange for exchange in peer.exchanges if "last-event-id" in exchange.request.headers]
        return [text, [exchange.status_code for exchange in resumed]]


async def goodbye(connect: Any) -> Any:
    async with connect() as peer:
        await peer.text("echo", {"text": "hi"})
    last = peer.exchanges[-1]
    return [last.request.method, last.status_code, peer.session_id]


async def with_token(connect: Any) -> Any:
    async with connect(http={"headers": {"Authorization": "Bearer s3cret"}}) as peer:
        return await peer.text("who")


async def without_token(connect: Any) -> Any:
    """What the user of a client would be told."""
    try:
        async with connect():
            return None
    except BaseExceptionGroup as group:
        return str(causes(group))


def causes(error: BaseException) -> list[BaseException]:
    inner = getattr(error, "exceptions", ())
    return [cause for member in inner for cause in causes(member)] if inner else [error]


class Storage:
    """Where the provider keeps what it got."""

    def __init__(self) -> None:
        self.tokens = self.client_info = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client_info

    async def set_client_info(self, client_info: Any) -> None:
        self.client_info = client_info


async def authorize(connect: Any) -> Any:
    """Start with nothing but the server's URL: the provider finds out where tokens come from, and asks for them."""
    callback: dict[str, str] = {}

    async def on_redirect(url: str) -> None:  # in place of the user's browser
        async with create_mcp_http_client() as browser:
            location = (await browser.get(url)).headers["location"]
        callback.update(parse_qsl(urlsplit(location).query))

    async def on_callback() -> Any:
        if V1:
            return callback["code"], callback["state"]
        return auth.AuthorizationCodeResult(**callback)

    about = OAuthClientMetadata(client_name="peer", redirect_uris=["http://127.0.0.1:1/callback"])
    provider = auth.OAuthClientProvider(connect.args[0], about, Storage(), on_redirect, on_callback)
    async with connect(http={"auth": provider}) as peer:
        return await peer.text("who")


async def analyze(connect: Any) -> Any:
    """With the demo: analyze the document of 700 KB that every Python brings along."""
    seen: list[Any] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        seen.append([done, total, message])

    async with connect() as peer:
        seen.append(await peer.call("analyze_document", {"path": "topics.py"}, progress_callback=on_progress))
    return seen


if __name__ == "__main__":
    way, url, conversation = sys.argv[1:]
    print(json.dumps(asyncio.run(globals()[conversation](functools.partial(globals()[way], url)))))
