"""The servers that tests/bench.py measures, each in its fewest lines. Imports are few, and late: starting counts, too.

    python tests/bench_servers.py NAME PORT TOOLS [FOLDER]    NAME is one of SERVERS; FOLDER holds streamhttp_mcp.py

Every server has the tools `echo`, `count` and `add`, and as many others as make TOOLS. A line on standard input is
answered by what the process has used so far, as JSON; the end of standard input ends the process.
"""

import asyncio
import contextlib
import gc
import json
import os
import sys
import threading
import time

ECHO = "Say the text again."
COUNT = "Report `steps` steps of progress."
ADD = "Add two integers."
OTHER = "One of many tools, with a description as long as such descriptions are."
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
ADDED = b'{"content":[{"type":"text","text":"5"}],"structuredContent":{"result":5}}'
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def serve_floor(port: int, tools: int) -> None:
    """The floor: what no server of asyncio streams does without.

    It parses the head into a dict and the body into a message, answers, and checks nothing.
    """
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    listed = [{"name": f"tool_{n}", "description": OTHER, "inputSchema": schema} for n in range(tools)]
    tools_list = json.dumps({"tools": listed}).encode()
    opened = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "floor"}}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked = {}
                for line in head.decode("latin-1").split("\r\n")[1:-2]:
                    name, _, value = line.partition(":")
                    asked[name.lower()] = value.strip()
                length = int(asked.get("content-length", "0"))
                message = json.loads(await reader.readexactly(length)) if length else {"method": "delete"}
                method, fields = message["method"], b""
                if method == "tools/call":
                    arguments = message["params"]["arguments"]
                    if "steps" in arguments:
                        await stream(writer, message, arguments["steps"])
                        continue
                    if "text" in arguments:
                        result = {"content": [{"type": "text", "text": arguments["text"]}]}
                        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
                    else:
                        # bench.py always adds 2 and 3, so that only the id differs.
                        body = b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (message["id"], ADDED)
                elif method == "tools/list":
                    body = b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (message["id"], tools_list)
                elif method == "initialize":
                    body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": opened}).encode()
                    fields = b"mcp-session-id: 0123456789012345678901234567890123456789012\r\n"
                else:  # a notification, a ping or a DELETE
                    body = b""
                writer.write(JSON_HEAD % (len(body), fields) + body)
                await writer.drain()

    async def stream(writer: asyncio.StreamWriter, message: dict, steps: int) -> None:
        writer.write(STREAM_HEAD)
        token = message["params"]["_meta"]["progressToken"]
        for step in range(1, steps + 2):
            params = {"progressToken": token, "progress": step, "total": steps}
            event = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            if step > steps:
                content = [{"type": "text", "text": "done"}]
                event = {"jsonrpc": "2.0", "id": message["id"], "result": {"content": content}}
            data = f"id: 0123456789abcdef-{step}\ndata: {json.dumps(event)}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def serve() -> None:
        await (await asyncio.start_server(talk, "127.0.0.1", port, backlog=1024)).serve_forever()

    asyncio.run(serve())


def serve_this(port: int, tools: int) -> None:
    """The module beside this folder, or another one. Its limits make room for all that bench.py opens at once."""
    from streamhttp_mcp import Context, Limits, MCPServer

    mcp = MCPServer("bench", limits=Limits(sessions=20_000, connections=20_000))
    add_tools(mcp, tools, Context)
    mcp.run(port=port)


def serve_sdk(port: int, tools: int, **options: bool) -> None:
    """The official SDK 2.x; its log is quiet, since ours is."""
    from mcp.server.mcpserver import Context, MCPServer

    mcp = MCPServer("bench", log_level="ERROR")
    add_tools(mcp, tools, Context)
    mcp.run("streamable-http", port=port, **options)


def serve_sdk_json(port: int, tools: int) -> None:
    serve_sdk(port, tools, json_response=True)


def serve_fastmcp(port: int, tools: int) -> None:
    from fastmcp import Context, FastMCP

    mcp = FastMCP("bench")
    add_tools(mcp, tools, Context)
    mcp.run("http", show_banner=False, host="127.0.0.1", port=port, log_level="error")


def add_tools(mcp, tools: int, context: type) -> None:
    """All the libraries take a coroutine function whose hints say what it takes."""

    async def echo(text: str) -> str:
        return text

    async def count(steps: int, ctx) -> str:
        for step in range(1, steps + 1):
            await ctx.report_progress(step, steps)
        return "done"

    async def add(a: int, b: int) -> int:
        return a + b

    count.__annotations__["ctx"] = context
    mcp.tool(name="echo", description=ECHO)(echo)
    mcp.tool(name="count", description=COUNT)(count)
    mcp.tool(name="add", description=ADD)(add)
    for n in range(3, tools):
        mcp.tool(name=f"tool_{n}", description=OTHER)(echo)


def answer_controller() -> None:
    """Say what this process has used, whenever asked. A thread that waits for a line costs the server nothing."""
    for line in sys.stdin:
        if line == "collect\n":  # garbage is nobody's memory
            gc.collect()
        print(json.dumps({"cpu": time.process_time(), "memory": resident_bytes()}), flush=True)
    os._exit(0)


def resident_bytes() -> int | None:
    """The memory that this process has in use, where the platform says so."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return None


SERVERS = {
    "floor": serve_floor,
    "this": serve_this,
    "mcp": serve_sdk,
    "mcp-json": serve_sdk_json,
    "fastmcp": serve_fastmcp,
}

if __name__ == "__main__":
    name, port, tools, *folder = sys.argv[1:]
    sys.path[0] = folder[0] if folder else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    threading.Thread(target=answer_controller, daemon=True).start()
    SERVERS[name](int(port), int(tools))
