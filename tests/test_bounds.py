"""What one peer may cost, and what a handler may do to the rest (issue 13). Each bound is met with its bytes.

Time is measured as CPU time between two turns of the event loop, so that a busy machine changes nothing; memory is
measured where the server's part is many times what the test itself holds.
"""

import asyncio
import contextlib
import functools
import io
import json
import logging
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

import pytest
from inmemory import Client, Clock, StatelessClient, library, run, spoken
from wire import ACCEPT_BOTH, Wire, call, eventually, head, ping, pong, post, text_result

from streamhttp_mcp import (
    META,
    STATELESS_REVISION,
    Context,
    Limits,
    MCPServer,
    Reply,
    Request,
    ToolError,
)

ROOT = Path(sys.modules[MCPServer.__module__].__file__).parent
CERTIFICATE = Path(__file__).with_name("localhost.pem")  # key and certificate of localhost, for tests only
MIB = 2**20
HELD_SECONDS = 0.5  # for so long at most one message keeps others waiting, on the reference machine


async def seconds_held(conversation) -> tuple[float, object]:
    """Run a conversation: the most CPU time between two turns of another task, and what the conversation returned."""
    longest, over = 0.0, False

    async def others() -> None:
        nonlocal longest
        last = time.process_time()
        while not over:
            await asyncio.sleep(0)
            now = time.process_time()
            longest, last = max(longest, now - last), now

    watching = asyncio.create_task(others())
    await asyncio.sleep(0)
    try:
        answer = await conversation
    finally:
        over = True
        await watching
    return longest, answer


def is_refused(message: dict) -> bool:
    return "error" in message or message["result"].get("isError") is True


def words(message: dict) -> str:
    """What a refusal says."""
    return message["error"]["message"] if "error" in message else message["result"]["content"][0]["text"]


def meta(**fields: object) -> dict:
    """The `_meta` of a request of 2026-07-28."""
    info = {"protocolVersion": STATELESS_REVISION, "clientCapabilities": {}}
    return {META + name: value for name, value in (info | fields).items()}


def stateless(id: int, tool: str, **arguments: object) -> bytes:
    headers = ACCEPT_BOTH | {"mcp-protocol-version": STATELESS_REVISION, "mcp-method": "tools/call", "mcp-name": tool}
    return post(headers, call(id, tool, meta(), **arguments))


# --- The work for one message -------------------------------------------------------------------------


def tree(keyword: str) -> dict:
    """A schema of trees with two branches that are the same: each level is asked twice, if nobody takes care."""
    branch = {"type": "object", "properties": {"a_rather_long_name": {"$ref": "#/$defs/node"}}}
    node = {keyword: [branch, dict(branch), {"type": "null"}]}
    return {"type": "object", "properties": {"value": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}


@pytest.mark.parametrize("levels", [16, 90])
@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
@spoken
async def test_recursive_union_is_refused_soon_and_in_few_words(keyword, levels):
    """[limits.work] [limits.words] 464 bytes of nested value once blocked everybody for 5 s and got 10 MB back."""
    mcp = MCPServer("test")
    mcp.add_tool(lambda **arguments: "taken", "plant", input_schema=tree(keyword))
    client, value = await Client(mcp).connect(), 1
    for _ in range(levels):
        value = {"a_rather_long_name": value}
    held, answer = await seconds_held(client.call("plant", {"value": value}))
    assert is_refused(answer.message) and len(words(answer.message)) < 4096
    assert held < HELD_SECONDS


def workshop() -> MCPServer:
    """Tools whose arguments can be long."""
    mcp = MCPServer("test")

    @mcp.tool()
    async def ints(values: list[int]) -> str:
        return str(len(values))

    @mcp.tool()
    async def mixed(values: list[int | str]) -> str:
        return str(len(values))

    @mcp.tool()
    async def lists(values: list[list[int]]) -> str:
        return str(len(values))

    @mcp.tool()
    async def members(values: dict[str, int]) -> str:
        return str(len(values))

    @mcp.tool()
    async def a_set(values: set[int]) -> str:
        return str(len(values))

    unique = {"type": "object", "properties": {"values": {"type": "array", "uniqueItems": True}}}
    mcp.add_tool(lambda **arguments: "taken", "unique", input_schema=unique)
    return mcp


def filled(tool: str, unit: bytes, most: int = 4 * MIB) -> bytes:
    """A call with an array of so many times the same, as large as a body may be: {"values": [1,1,1,...]}."""
    start = json.dumps(call(1, tool)).encode().removesuffix(b"{}}}") + b'{"values":['
    count = (most - len(start) - 8) // (len(unit) + 1)
    return start + b",".join([unit] * count) + b"]}}}"


FULL = {
    "1, for list[int]": filled("ints", b"1"),
    "1, for list[int | str]": filled("mixed", b"1"),
    '"", for list[int | str]': filled("mixed", b'""'),
    "null, for list[int | str]": filled("mixed", b"null"),
    "[], for list[list[int]]": filled("lists", b"[]"),
    "1, for uniqueItems": filled("unique", b"1"),
    "{}, for uniqueItems": filled("unique", b"{}"),
    "members for dict[str, int]": json.dumps(call(1, "members", values={f"{n:x}": n for n in range(230_000)})).encode(),
    "1, for a tool that is not there": filled("nothing", b"1"),
    "a batch of 1,": b"[" + b"1," * (2 * MIB - 10) + b"1]",
    "a batch of notifications": b"[" + b",".join([b'{"jsonrpc":"2.0","method":"a"}'] * 130_000) + b"]",
    "brackets": b"[" * (4 * MIB - 1),
    "one number": b'{"jsonrpc":"2.0","method":"ping","id":' + b"1" * (4 * MIB - 50) + b"}",
}


@pytest.mark.parametrize("name", FULL)
@spoken
async def test_message_of_four_megabytes_keeps_nobody_waiting(name):
    """[limits.work] [limits.words] Whatever it is filled with; and a refusal is shorter than what it refuses."""
    body, client = FULL[name], await Client(workshop()).connect("2025-03-26")
    assert len(body) <= Limits().body_bytes
    held, answer = await seconds_held(client.http("POST", body))
    await answer.complete()
    assert held < HELD_SECONDS
    assert len(answer.page.text) + len(answer.reply.body) < 10_000


@spoken
async def test_long_list_that_means_no_harm_is_taken():
    """[limits.work] The bound is on hostile values: 100,000 numbers are data."""
    client = await Client(workshop()).connect()
    for tool, values in [("ints", list(range(100_000))), ("mixed", ["a", 1] * 5_000), ("a_set", list(range(50_000)))]:
        answer = await client.call(tool, {"values": values})
        assert answer.result["content"][0]["text"] == str(len(values))


async def anything(**values) -> str:
    return "taken"


async def named(value: Annotated[str, {"pattern": "a*b", "maxLength": 100}]) -> str:
    return "taken"


CHEAP = {
    "maxLength before pattern": ({"type": "string", "pattern": "a*b", "maxLength": 100}, "a" * 60_000),
    "minLength before pattern": ({"pattern": "a*b", "minLength": 60_001, "type": "string"}, "a" * 60_000),
    "maxItems before items": (
        {"items": {"pattern": "a*b"}, "type": "array", "maxItems": 2}, ["a" * 20_000] * 10),
    "minItems before items": (
        {"items": {"pattern": "a*b"}, "type": "array", "minItems": 11}, ["a" * 20_000] * 10),
    "maxItems before uniqueItems": ({"uniqueItems": True, "maxItems": 1}, [[-1] * 50, [-2] * 50] * 5_000),
    "maxItems before contains": ({"contains": {"pattern": "a*b"}, "maxItems": 2}, ["a" * 20_000] * 10),
    "maxProperties before members": (
        {"additionalProperties": {"pattern": "a*b"}, "maxProperties": 1}, {str(n): "a" * 20_000 for n in range(10)}),
    "maxProperties before names": ({"propertyNames": {"pattern": "a*b"}, "maxProperties": 1}, {"a" * 60_000: 1, "b": 2}),
    "maxProperties before patternProperties": (
        {"patternProperties": {"a*b$": True}, "maxProperties": 1}, {"a" * 60_000: 1, "b": 2}),
    "required before members": (
        {"additionalProperties": {"pattern": "a*b"}, "required": ["a"]}, {str(n): "a" * 20_000 for n in range(10)}),
    "type before all": ({"anyOf": [{"pattern": "a*b"}, {"pattern": "a*c"}], "type": "integer"}, "a" * 60_000),
    "bounds before allOf": ({"allOf": [{"pattern": "a*b"}], "maxLength": 100}, "a" * 60_000),
    "maxLength within anyOf": (
        {"anyOf": [{"pattern": "a*b", "maxLength": 9, "type": "string"}, {"type": "null"}]}, "a" * 60_000),
}  # fmt: skip


@pytest.mark.parametrize("name", CHEAP)
@spoken
async def test_cheap_bounds_are_asked_before_members_and_patterns(name):
    """[schema.cheap-first] An author who bounds a text means to be spared the pattern's work, in whatever order."""
    schema, value = CHEAP[name]
    mcp = MCPServer("test")
    mcp.add_tool(anything, input_schema={"type": "object", "properties": {"value": schema}})
    client = await Client(mcp).connect()
    held, answer = await seconds_held(client.call("anything", {"value": value}))
    assert is_refused(answer.message) and len(words(answer.message)) < 4096
    assert held < HELD_SECONDS / 2


LONG_URIS = {
    "percent signs": "%" * 4_100_000,
    "escapes": "doc://" + "%41" * 1_380_000,
    "letters": "doc://" + "\u00e9" * 600_000,
}


@pytest.mark.parametrize("uri", LONG_URIS.values(), ids=LONG_URIS)
@pytest.mark.parametrize("method", ["read", "subscribe", "unsubscribe"])
@spoken
async def test_long_uri_is_refused_before_it_is_normalized(method, uri):
    """[limits.uri] A body of 4 MB would take many seconds."""
    client = await Client(library()).connect()
    held, answer = await seconds_held(client.request(f"resources/{method}", {"uri": uri}))
    assert words(answer.message) == "params.uri is longer than 8192 characters"
    assert held < HELD_SECONDS


@spoken
async def test_long_uri_that_a_handler_passes_on_is_refused_as_well():
    """[limits.uri]"""
    mcp = library()

    @mcp.tool
    async def tool(uri: str, ctx: Context) -> str:
        return str(await ctx.read_resource(uri))

    client = await Client(mcp).connect()
    held, answer = await seconds_held(client.call("tool", {"uri": LONG_URIS["percent signs"]}))
    assert is_refused(answer.message) and "longer than 8192" in words(answer.message)
    assert held < HELD_SECONDS


LISTENED = {
    "percent signs": ["%" * 8192] * 8,
    "escapes": ["%41" * 2730] * 8,
    "alternating": ["%x" * 4096] * 8,
    "many": ["%x" * 4096] * 500,
    "one": ["%" * 4_100_000],
}


@pytest.mark.parametrize("name", LISTENED)
@spoken
async def test_listener_names_uris_of_a_bounded_length_altogether(name):
    """[limits.uri] Each of them is normalized before the first event."""
    params = {"notifications": {"resourceSubscriptions": LISTENED[name]}}
    held, answer = await seconds_held(StatelessClient(library()).request("subscriptions/listen", params))
    assert held < HELD_SECONDS
    if name in ("many", "one"):
        place = "params.notifications.resourceSubscriptions"
        assert answer.error["message"] == f"{place} is longer than 65536 characters"
    else:
        assert answer.status == 200
        answer.page.leave()


@spoken
async def test_bound_in_a_hint_is_asked_before_its_pattern():
    """[schema.cheap-first]"""
    mcp = MCPServer("test")
    mcp.add_tool(named)
    client = await Client(mcp).connect()
    held, answer = await seconds_held(client.call("named", {"value": "a" * 60_000}))
    assert is_refused(answer.message) and held < HELD_SECONDS / 2


@pytest.mark.parametrize(
    ("number", "taken"),
    [
        ("99999999999999999999", True),  # 20 digits
        ("-99999999999999999999", True),
        ("100000000000000000000", False),  # 21
        ("-100000000000000000000", False),
        ("1" * 5000, False),  # more than Python turns into an int at all
        ("100000000000000000000.5", True),  # no integer
        ("1e300", True),
    ],
)
@spoken
async def test_integer_of_more_than_20_digits_is_no_json_here(number, taken):
    """[json.integers] Not interoperable (RFC 8259 section 6), and multiples of 2^61-1 share a hash."""
    client = await Client(MCPServer("test")).connect()
    body = '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"a":[{"b":[NUMBER]}]}}}'.replace("NUMBER", number)
    answer = await client.http("POST", body.encode())
    if taken:
        assert (answer.status, answer.message) == (200, pong(1))
    else:
        assert (answer.status, answer.error["code"], answer.message.get("id")) == (400, -32700, None)
        assert len(answer.reply.body) < 1000


def twins(bits: int, keyed: bool) -> list:
    """Different arrays, or objects, of -1 and -2, which have the same hash in CPython, and so has a tuple of them."""
    found = []
    for number in range(2**bits):
        row = [-1 - (number >> place & 1) for place in range(bits)]
        found.append({chr(97 + place): value for place, value in enumerate(row)} if keyed else row)
    return found


TWINS = {
    "set[int] of multiples of 2^61-1": ("a_set", [n * (2**61 - 1) for n in range(1, 20_001)], False),
    "uniqueItems of multiples of 2^61-1": ("unique", [n * (2**61 - 1) for n in range(1, 20_001)], False),
    "arrays of -1 and -2": ("unique", twins(13, False), True),
    "objects of -1 and -2": ("unique", twins(13, True), True),
    "arrays in arrays": ("unique", [[row] for row in twins(13, False)], True),
    "powers of two": ("unique", [2.0**n for n in range(1000)], True),
}


@pytest.mark.parametrize("name", TWINS)
@spoken
async def test_values_that_share_a_hash_are_not_compared_one_with_another(name):
    """[limits.work] Each with each of 20,000 was 8 s."""
    tool, values, fits = TWINS[name]
    client = await Client(workshop()).connect()
    body = json.dumps(call(1, tool, values=values)).encode()
    held, answer = await seconds_held(client.http("POST", body))
    await answer.complete()
    assert held < HELD_SECONDS
    if not fits:
        assert answer.error["code"] == -32700
    elif not is_refused(answer.message):  # else it took too many steps
        assert answer.message == text_result(1, "taken" if tool == "unique" else str(len(values)))


@spoken
async def test_the_one_value_that_comes_twice_among_many_is_found():
    """[limits.work] [schema.number-equality] Also where what differs shares a hash."""
    client = await Client(workshop()).connect()
    rows = twins(6, False) + twins(6, True) + [1, True, "1", [1], None, 0, False, "", [], {}]
    answer = await client.call("unique", {"values": rows})
    assert answer.result["content"][0]["text"] == "taken"
    for again in ([-1] * 6, [-1.0] * 6, 1.0, {name: -1 for name in "fedcba"}):
        answer = await client.call("unique", {"values": [*rows, again]})
        assert is_refused(answer.message)


# --- Small input, large echo --------------------------------------------------------------------------

LARGE = "x" * 1_000_000
FITS, LONG = "x" * 1024, "x" * 1025


def asked(id: object = 1, method: str = "ping", **params: object) -> dict:
    return {"jsonrpc": "2.0", "id": id, "method": method} | ({"params": params} if params else {})


@pytest.mark.parametrize("text", [LONG, LARGE], ids=["1025", "a million"])
@pytest.mark.parametrize(
    "make",
    [
        lambda text: asked(id=text),
        lambda text: asked(method=text),
        lambda text: {"jsonrpc": "2.0", "method": text},
        lambda text: asked(_meta={"progressToken": text}),
        lambda text: {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": text}},
        lambda text: {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": text}},
        lambda text: {"jsonrpc": "2.0", "id": text, "result": {}},
    ],
    ids=["id", "method", "notification", "progressToken", "requestId", "progress", "response"],
)
@spoken
async def test_id_token_or_method_of_more_than_1024_characters_is_refused(make, text, caplog):
    """[limits.text] They come back with each step of progress, and go to the log."""
    client = await Client(MCPServer("test")).connect()
    with caplog.at_level(logging.DEBUG):
        answer = await client.post(make(text))
    assert (answer.error["code"], len(answer.reply.body) < 1000) == (-32600, True)
    assert "id" not in answer.message or answer.message["id"] in (None, 1)
    assert len(caplog.text) < 10_000


@pytest.mark.parametrize("kind", [Client, StatelessClient])
@spoken
async def test_id_and_token_of_1024_characters_come_back(kind):
    """[limits.text] [id.by-exchange]"""
    mcp = MCPServer("test")

    @mcp.tool()
    async def step(ctx: Context) -> str:
        await ctx.report_progress(1)
        return "done"

    client = kind(mcp) if kind is StatelessClient else await kind(mcp).connect()
    options = {"meta": {"progressToken": FITS}} if kind is StatelessClient else {}
    params = {"name": "step"} | ({} if options else {"_meta": {"progressToken": FITS}})
    answer = await (await client.request("tools/call", params, id=FITS, **options)).complete()
    progress, result = answer.page.messages
    assert (progress["params"]["progressToken"], result["id"]) == (FITS, FITS)
    unknown = await client.request(FITS, {})
    assert unknown.error["code"] == -32601


@pytest.mark.parametrize(
    "message",
    [
        asked(method="tools/call", name=LARGE),
        asked(method="tools/call", name="f", arguments={LARGE: 1}),
        asked(method="tools/call", name="f", arguments={"choice": LARGE}),
        asked(method="tools/call", name="f", arguments={"numbers": {LARGE: "no number"}}),
        asked(method="tools/call", name="f", arguments={"numbers": {"a\u0000" * 1000: "no number"}}),
        asked(method="prompts/get", name=LARGE),
        asked(method="resources/read", uri="doc:" + LARGE),
        asked(method="resources/subscribe", uri="doc:" + LARGE),
        asked(method="completion/complete", ref={"type": "ref/prompt", "name": LARGE}, argument={"name": "a", "value": ""}),
        asked(method="completion/complete", ref={"type": LARGE}, argument={"name": "a", "value": ""}),
        asked(method="tools/list", cursor=LARGE),
        asked(method="logging/setLevel", level=LARGE),
    ],
    ids=["tool", "argument", "enum", "member", "NULs", "prompt", "uri", "subscribe", "ref", "ref type", "cursor", "level"],
)
@spoken
async def test_refusal_is_short_however_long_what_it_refuses(message, caplog):
    """[limits.words]"""
    mcp = library()

    @mcp.tool()
    async def f(choice: Annotated[str, {"enum": ["a", "b"]}] = "a", numbers: dict[str, int] = {}) -> str:  # noqa: B006
        return "taken"

    client = await Client(mcp).connect()
    with caplog.at_level(logging.DEBUG):
        answer = await (await client.post(message)).complete()
    assert len(answer.page.text) + len(answer.reply.body) < 20_000
    assert len(caplog.text) < 20_000


# --- One account --------------------------------------------------------------------------------------


class Deaf(Wire):
    """A client that reads no more than it asks for, through a small window."""

    async def __aenter__(self):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, self.address)
        self.reader, self.writer = await asyncio.open_connection(sock=plain, limit=1024)
        return self

    async def __aexit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # it was refused, or the test has done so
            self.reset()


@contextlib.contextmanager
def traced():
    """Count what Python allocates from here on."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def heavy(**limits) -> MCPServer:
    mcp = MCPServer("test", limits=Limits(**limits))

    @mcp.tool()
    async def large() -> str:
        return "x" * 8_000_000  # more than the kernel's buffers hold

    @mcp.tool()
    async def half() -> str:
        return "x" * 500_000

    return mcp


@pytest.mark.parametrize("share", ["of a session", "of the server"])
@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "text/event-stream"])
@spoken
async def test_answers_that_nobody_reads_are_bounded_and_then_new_calls_are_refused(share, accept):
    """[limits.memory] [limits.backlog] 160 requests of 300 bytes once kept 322 MB. When readers leave there is room."""
    one = share == "of a session"
    refusals = {429, 503} if one else {503}  # the next call of the session, or the newest comer
    mcp = heavy(session_bytes=20_000_000, server_bytes=200_000_000 if one else 20_000_000)
    clients = [await Client(mcp).connect() for _ in range(1 if one else 25)]
    other = await Client(mcp).connect()
    async with mcp.serving() as url, contextlib.AsyncExitStack() as stack:
        stack.enter_context(traced())
        statuses, wires = Counter(), []
        for number in range(25):
            client = clients[number % len(clients)]
            wire = await stack.enter_async_context(Deaf(url))
            await wire.send(post(client.headers | {"accept": accept}, call(number, "large")))
            statuses[status := await wire.status()] += 1
            if status in refusals:
                assert int(wire.headers["retry-after"]) > 0
            wires.append(wire)
        assert 1 <= statuses[200] <= 5 and set(statuses) <= {200} | refusals
        assert tracemalloc.get_traced_memory()[0] < 100_000_000  # of 200, of which there are two or three copies
        if one:  # those with a share of their own are served
            async with Wire(url) as wire:
                await wire.send(post(other.headers, call(1, "half")))
                assert (await wire.reply()).status == 200
        for wire in wires:
            with contextlib.suppress(OSError):  # it was refused and closed
                wire.reset()
        for client in clients:
            await client.delete()

        async def served() -> bool:
            with contextlib.suppress(KeyError):  # no session id: the server is still full
                client = await Client(mcp).connect()
                answer = await client.call("half")
                await client.delete()
                return answer.status == 200
            return False

        async with asyncio.timeout(5):
            while not await served():
                await asyncio.sleep(0)


@pytest.mark.parametrize("sessions", [1, 30])
@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "text/event-stream"])
@spoken
async def test_answers_that_come_at_once_and_that_nobody_reads_are_bounded_too(accept, sessions):
    """[limits.memory] When the calls began there was room for all; a response that finds none becomes an error."""
    mcp = heavy(session_bytes=20_000_000, server_bytes=40_000_000)
    clients = [await Client(mcp).connect() for _ in range(sessions)]
    async with mcp.serving() as url, contextlib.AsyncExitStack() as stack:
        stack.enter_context(traced())
        wires = [await stack.enter_async_context(Deaf(url)) for _ in range(30)]
        for number, wire in enumerate(wires):
            headers = clients[number % sessions].headers | {"accept": accept}
            wire.writer.write(post(headers, call(number, "large")))
        statuses = Counter([await wire.status() for wire in wires])
        assert statuses[200] >= 1 and set(statuses) <= {200, 429, 503}
        assert tracemalloc.get_traced_memory()[0] < 160_000_000  # of 240, of which there are two or three copies


@spoken
async def test_large_answers_that_come_at_once_all_reach_a_client_that_reads():
    """[limits.memory] Beyond its share a session may still hold less than what is free for others."""
    mcp = heavy(session_bytes=1_000_000, server_bytes=20_000_000)
    client = await Client(mcp).connect()
    async with mcp.serving() as url, contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire(url)) for _ in range(8)]
        for number, wire in enumerate(wires):
            await wire.send(post(client.headers, call(number, "half")))
        assert [(await wire.reply()).message["id"] for wire in wires] == list(range(8))


@pytest.mark.parametrize("sessions", [1, 10])
@spoken
async def test_streams_kept_for_clients_that_may_come_back_are_bounded(sessions):
    """[limits.memory] Those that were delivered go first, the oldest before the others."""
    mcp = heavy(session_bytes=3_000_000, server_bytes=9_000_000)
    with traced():
        for _ in range(sessions):
            client = await Client(mcp).connect()
            for _ in range(30):
                answer = await client.request("tools/call", {"name": "half"}, accept="text/event-stream")
                assert (await answer.complete()).status == 200
                del answer
        kept, _ = tracemalloc.get_traced_memory()
    assert kept < (4_000_000 if sessions == 1 else 11_000_000)


@spoken
async def test_notices_that_nobody_reads_are_bounded_and_the_newest_stay():
    """[limits.memory] [stream.bounded] Some 200 bytes count for each beside its text."""
    mcp = library(limits=Limits(session_bytes=200_000, server_bytes=1_200_000))
    clients = [await Client(mcp).connect() for _ in range(8)]
    uris = [f"doc://{number}/notes" for number in range(400)]
    for client in clients:
        for uri in uris:
            assert (await client.request("resources/subscribe", {"uri": uri})).result == {}
    with traced():
        for _ in range(3):
            for uri in uris:
                mcp.notify_resource_updated(uri)
        kept, _ = tracemalloc.get_traced_memory()
    assert kept < 1_000_000  # what is watched takes 700,000 of the share
    for client in clients:
        answer = await client.get()
        found = [message["params"]["uri"] for message in answer.page.messages]
        assert len(found) <= 1000 and (not found or found[-1] == uris[-1])
    assert found  # of the one that came last, at least


@spoken
async def test_listeners_with_long_filters_are_refused_beyond_the_share():
    """[limits.memory] [limits.subscriptions] A filter is kept for as long as somebody listens."""
    mcp, statuses = library(limits=Limits(session_bytes=3_000_000, server_bytes=3_000_000)), Counter()
    headers = ACCEPT_BOTH | {"mcp-protocol-version": STATELESS_REVISION, "mcp-method": "subscriptions/listen"}
    async with mcp.serving() as url, contextlib.AsyncExitStack() as stack:
        for number in range(40):
            # As long as may be, and a third of a megabyte, since each letter is escaped.
            uris = [f"doc://{number}-{n}-{chr(0xE9) * 100}/notes" for n in range(500)]
            params = {"notifications": {"resourceSubscriptions": uris}, "_meta": meta()}
            wire = await stack.enter_async_context(Wire(url))
            await wire.send(post(headers, asked(method="subscriptions/listen", **params)))
            statuses[await wire.status()] += 1
    assert 1 <= statuses[200] <= 10 and statuses[503] == 40 - statuses[200]


@spoken
async def test_bodies_that_are_coming_in_are_bounded():
    """[limits.memory] Whoever has sent half of one holds memory; the newest comers are refused, and the first served."""
    mcp = MCPServer("test", limits=Limits(server_bytes=4_500_000, session_bytes=4_500_000))
    client = await Client(mcp).connect()
    body = json.dumps(ping("x" * 100)).encode().ljust(MIB)
    async with mcp.serving() as url, contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire(url)) for _ in range(20)]
        for wire in wires:
            with contextlib.suppress(ConnectionError):
                await wire.send(head("POST", **client.headers, content_length=MIB) + body[:-1])
        waiting = {asyncio.create_task(wire.status()): wire for wire in wires}
        await eventually(lambda: sum(task.done() for task in waiting) >= 16)  # four fit
        refused = [task for task in waiting if task.done()]
        assert {task.result() for task in refused} == {503}
        taken = [task for task in waiting if task not in refused]
        assert 1 <= len(taken) <= 4
        for task in taken:
            await waiting[task].send(body[-1:])
            assert await task == 200
        async with Wire(url) as wire:  # there is room again
            await wire.send(post(client.headers, ping(2)))
            assert (await wire.reply()).message == pong(2)


GATE = {
    "no token": ({}, 401),
    "a wrong token": ({"authorization": "Bearer wrong"}, 401),
    "another path": ({"target": "/nothing"}, 404),
    "another method": ({"method": "PUT"}, 405),
    "a body that is no JSON": ({"content_type": "text/plain", "authorization": "Bearer s3cret"}, 415),
    "a body that is too large": ({"content_length": 4 * MIB + 1, "authorization": "Bearer s3cret"}, 413),
}


@pytest.mark.parametrize("name", GATE)
@spoken
async def test_gate_comes_before_the_body(name):
    """[gate.before-body] [http.close-said] Who is refused uploads nothing. 60 strangers once held 253 MB.

    test_server.py has more of these, and bodies in chunks.
    """
    fields, status = GATE[name]
    sound = {"method": "POST", "host": "localhost", "accept": "*/*", "content_type": "application/json"}
    fields = sound | {"content_length": 4 * MIB, "expect": "100-continue"} | fields
    async with MCPServer("test", auth="s3cret").serving() as url, Wire(url) as wire:
        await wire.send(head(**fields))
        assert await wire.status() == status  # without 100 before it
        assert wire.headers["connection"] == "close"


# --- Places -------------------------------------------------------------------------------------------


@spoken
async def test_session_has_a_thousand_calls_in_flight_and_no_more():
    """[limits.calls] [limits.named]"""
    mcp, go_on, running = MCPServer("test", limits=Limits(sse_after_seconds=1000)), asyncio.Event(), 0

    @mcp.tool()
    async def wait() -> str:
        nonlocal running
        running += 1
        await go_on.wait()
        return "waited"

    client, other = await Client(mcp).connect(), await Client(mcp).connect()
    calls = [asyncio.create_task(client.call("wait")) for _ in range(Limits().calls)]
    await eventually(lambda: running == 1000)
    refused = await client.call("wait")
    assert refused.status == 429 and int(refused.headers["retry-after"]) > 0
    assert (await other.request("ping")).status == 200
    go_on.set()
    assert {(await task).result["content"][0]["text"] for task in calls} == {"waited"}
    assert (await client.call("wait")).status == 200


def threaded(threads: int) -> tuple[MCPServer, threading.Event, Counter]:
    mcp = MCPServer("test", limits=Limits(threads=threads, sse_after_seconds=1000))
    go_on, begun = threading.Event(), Counter()

    @mcp.tool()
    def slow() -> str:
        begun["slow"] += 1
        assert go_on.wait(10)
        return "slow"

    @mcp.tool()
    def quick() -> str:
        begun["quick"] += 1
        return "quick"

    return mcp, go_on, begun


@pytest.mark.parametrize("kind", [Client, StatelessClient])
@spoken
async def test_slow_plain_handlers_of_one_session_do_not_hold_up_another_ones_quick_one(kind):
    """[limits.threads] [handler.threads] A session may hold as many threads as are still free: of four, two."""
    mcp, go_on, begun = threaded(4)
    greedy = await Client(mcp).connect()
    other = await kind(mcp).connect() if kind is Client else kind(mcp)
    slow = [asyncio.create_task(greedy.call("slow")) for _ in range(20)]
    try:
        await eventually(lambda: begun["slow"] == 2)
        for _ in range(50):
            answer = await asyncio.wait_for(other.call("quick"), 5)
            assert answer.result["content"][0]["text"] == "quick"
        assert begun["slow"] == 2
    finally:
        go_on.set()
    assert {(await task).result["content"][0]["text"] for task in slow} == {"slow"}
    assert begun["slow"] == 20


@spoken
async def test_call_that_is_cancelled_while_it_waits_for_a_thread_takes_none():
    """[limits.threads] [cancel.stop] And those behind it have their turn."""
    mcp, go_on, begun = threaded(2)
    client = await Client(mcp).connect()
    try:
        first = asyncio.create_task(client.call("slow"))
        await eventually(lambda: begun["slow"] == 1)
        waiting = [asyncio.create_task(client.request("tools/call", {"name": "slow"}, id=f"w{n}")) for n in range(5)]
        last = asyncio.create_task(client.call("quick"))
        await eventually(lambda: len(mcp.calls) == 7)
        for number in range(5):
            await client.notify("notifications/cancelled", {"requestId": f"w{number}"})
    finally:
        go_on.set()
    assert (await first).result["content"][0]["text"] == "slow"
    assert (await last).result["content"][0]["text"] == "quick"
    await eventually(lambda: not mcp.calls)
    assert begun["slow"] == 1
    for task in waiting:
        task.cancel()


@spoken
async def test_thread_that_cannot_start_gives_its_place_back(monkeypatch, caplog):
    """[limits.threads] `RuntimeError: can't start new thread`, as under a limit of processes."""
    mcp, _, begun = threaded(2)
    client = await Client(mcp).connect()

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(10):
            answer = await asyncio.wait_for(client.call("quick"), 2)
            assert is_refused(answer.message)
    assert begun["quick"] == 0
    for _ in range(10):
        assert (await asyncio.wait_for(client.call("quick"), 2)).result["content"][0]["text"] == "quick"


# --- What a handler may do to the rest ----------------------------------------------------------------


class Own(BaseException):
    pass


FATAL = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "one of its own": Own,
    "CancelledError": asyncio.CancelledError,
    "a group": lambda: BaseExceptionGroup("several", [Own(), KeyboardInterrupt()]),
}


def survived(conversation):
    """Make a test of a coroutine function; what is no Exception fails it, instead of all tests."""

    @functools.wraps(conversation)
    def test(*args, **options):
        try:
            run(conversation(*args, **options))
        except (KeyboardInterrupt, GeneratorExit, Own, BaseExceptionGroup) as error:
            pytest.fail(f"it went through the server: {error!r}", pytrace=False)

    return test


@pytest.mark.parametrize("name", FATAL)
@pytest.mark.parametrize("kind", [Client, StatelessClient])
@pytest.mark.parametrize("form", ["coroutine", "later", "thread", "resource", "prompt", "completion"])
@survived
async def test_handler_that_raises_anything_ends_its_call_alone(form, kind, name, caplog):
    """[answers.nothing-internal] It is answered, the log has the traceback, and we go on."""
    mcp = MCPServer("test", limits=Limits(sse_after_seconds=1000))

    @mcp.tool()
    async def coroutine() -> str:
        raise FATAL[name]()

    @mcp.tool()
    async def later() -> str:
        await asyncio.sleep(0)
        raise FATAL[name]()

    @mcp.tool()
    def thread() -> str:
        raise FATAL[name]()

    @mcp.resource("doc://a")
    async def document() -> str:
        raise FATAL[name]()

    @mcp.prompt()
    async def prompt() -> str:
        raise FATAL[name]()

    @mcp.completion()
    async def complete(ref, argument, context) -> list[str]:
        raise FATAL[name]()

    client = kind(mcp) if kind is StatelessClient else await kind(mcp).connect()
    ref = {"ref": {"type": "ref/prompt", "name": "prompt"}, "argument": {"name": "a", "value": ""}}
    method, params = {
        "resource": ("resources/read", {"uri": "doc://a"}),
        "prompt": ("prompts/get", {"name": "prompt"}),
        "completion": ("completion/complete", ref),
    }.get(form, ("tools/call", {"name": form}))
    answer = await asyncio.wait_for(client.request(method, params, id=7), 5)
    await answer.complete()
    assert answer.message["id"] == 7 and is_refused(answer.message)
    assert "Internal error" in words(answer.message)
    assert "Traceback" in caplog.text and "FATAL[name]()" in caplog.text
    await eventually(lambda: not mcp.calls)
    assert (await client.request("tools/list", {})).status == 200


@pytest.mark.parametrize("name", FATAL)
@pytest.mark.parametrize("form", ["route", "verify"])
@survived
async def test_function_of_ours_that_raises_anything_ends_its_request_alone(form, name, caplog):
    """[answers.nothing-internal] Over a connection, which goes on or is closed properly."""

    async def fails(*args: object) -> Reply:
        raise FATAL[name]()

    mcp = MCPServer("test", auth=fails)
    mcp.route("GET", "/fails", fails)
    async with mcp.serving() as url, Wire(url) as wire, Wire(url) as other:
        target = "/fails" if form == "route" else "/mcp"
        await wire.send(head("GET", target, **ACCEPT_BOTH, authorization="Bearer x"))
        async with asyncio.timeout(5):
            reply = await wire.reply()
        assert (reply.status, reply.message["error"]["message"]) == (500, "Internal error")
        await other.send(head("GET", "/nothing", host="localhost"))
        assert (await other.reply()).status == 404
    assert "FATAL[name]()" in caplog.text


TIGHT = {
    "progress, to a client that takes no stream": ("progress", {"accept": "application/json"}, {"progressToken": 1}),
    "progress that nobody asked for": ("progress", {}, {}),
    "progress, read by nobody": ("progress", {"accept": "text/event-stream"}, {"progressToken": 1}),
    "log, to a client that takes no stream": ("error", {"accept": "application/json"}, {}),
    "log below the level": ("debug", {}, {}),
}


@pytest.mark.parametrize("kind", [Client, StatelessClient])
@pytest.mark.parametrize("name", TIGHT)
@spoken
async def test_handler_that_only_reports_still_gives_others_their_turn(name, kind):
    """[handler.yields] Without anything that makes it wait. It would go on for 300,000 steps."""
    what, headers, tags = TIGHT[name]
    mcp, told = MCPServer("test", limits=Limits(sse_after_seconds=1000)), False

    @mcp.tool()
    async def report(ctx: Context) -> str:
        for step in range(300_000):
            if told:
                return str(step)
            await (ctx.report_progress(step) if what == "progress" else ctx.log(what, step))
        return "300000"

    @mcp.tool()
    async def tell() -> str:
        nonlocal told
        told = True
        return "told"

    client, other = [await Client(mcp).connect() if kind is Client else StatelessClient(mcp) for _ in range(2)]
    if kind is Client:
        await client.request("logging/setLevel", {"level": "error"})
        asking = client.request("tools/call", {"name": "report", "_meta": tags}, **headers)
    else:
        asking = client.request("tools/call", {"name": "report"}, meta=tags, **headers)
    reporting = asyncio.create_task(asking)
    await asyncio.sleep(0)
    assert (await other.call("tell")).result["content"][0]["text"] == "told"
    answer = await (await reporting).complete()
    assert int(answer.result["content"][0]["text"]) < 300_000


@spoken
async def test_handler_that_only_reports_to_a_client_that_is_gone_still_gives_others_their_turn():
    """[handler.yields] [disconnect.not-cancel] The call goes on, and so do the others."""
    mcp, told, steps = MCPServer("test"), False, []

    @mcp.tool()
    async def report(ctx: Context) -> str:
        for step in range(300_000):
            if told:
                break
            await ctx.report_progress(step)
        steps.append(step)
        return "reported"

    client, other = await Client(mcp).connect(), await Client(mcp).connect()
    async with mcp.serving() as url, Wire(url) as wire, Wire(url) as bystander:
        await wire.send(post(client.headers, call(1, "report", {"progressToken": 1})))
        assert await wire.status() == 200 and await wire.message()
        wire.reset()
        for number in range(20):  # more than it takes to see that the client is gone
            await bystander.send(post(other.headers, ping(number)))
            assert (await bystander.reply()).message == pong(number)
        told = True
        await eventually(lambda: not mcp.calls)
    assert steps[0] < 299_999


@pytest.mark.parametrize(
    "field", [("Content-Length", "1"), ("content-length", "4"), ("Transfer-Encoding", "chunked"), ("X-A: b\t", "c")]
)
@spoken
async def test_route_cannot_frame_its_reply_by_itself(field, caplog):
    """[http.reply-fields] A length beside ours would hide a response inside another. test_server.py has line breaks."""
    mcp = MCPServer("test")

    async def page(server: MCPServer, request: Request) -> Reply:
        return Reply(200, (field,), b"body")

    mcp.route("GET", "/page", page)
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(head("GET", "/page", host="localhost") + head("GET", "/nothing", host="localhost"))
        assert await wire.end() == b""
    assert "GET /page: no reply" in caplog.text  # the author can find it


@pytest.mark.parametrize("heeds", [True, False])
@spoken
async def test_client_that_leaves_while_its_token_is_judged_gets_no_call_begun(heeds):
    """[auth.judged-for-somebody] Also where the judge pays no heed to being cancelled."""
    judging, go_on, judged, begun = asyncio.Event(), asyncio.Event(), asyncio.Event(), []

    async def verify(token: str) -> str:
        if token == "quick":
            return "bob"
        judging.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                if heeds:
                    judged.set()
                    raise
        judged.set()
        return "ada"

    mcp = MCPServer("test", auth=verify)

    @mcp.tool()
    async def begin() -> str:
        begun.append(1)
        return "begun"

    bob = Client(mcp)
    bob.headers["authorization"] = "Bearer quick"
    await bob.connect()

    async def rounds() -> None:
        """So many that the server has seen what came before them."""
        for number in range(20):
            await bystander.send(post(bob.headers, ping(number)))
            assert (await bystander.reply()).message == pong(number)

    data = stateless(1, "begin").replace(b"\r\n\r\n", b"\r\nauthorization: Bearer slow\r\n\r\n", 1)
    async with mcp.serving() as url, Wire(url) as wire, Wire(url) as bystander:
        await wire.send(data)
        await asyncio.wait_for(judging.wait(), 5)
        wire.reset()
        await rounds()
        go_on.set()
        await asyncio.wait_for(judged.wait(), 5)
        await rounds()
        assert not begun and not mcp.calls


# --- The log ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def log_as_written():
    """The text that a log file would get."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("streamhttp_mcp", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield stream.getvalue
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


FORGED = "a\n2026-01-01 00:00:00,000 INFO forged\r\x1b[2J\x00\x9b\u2028\u202eb"


def has_control(text: str) -> bool:
    """Whether a terminal would do anything else with it than to show it; line ends are the log's own."""
    return any(not character.isprintable() for line in text.split("\n") for character in line.replace("\t", " "))


@pytest.mark.parametrize("kind", [RuntimeError, ToolError, Own, KeyError])
@pytest.mark.parametrize("form", ["coroutine", "thread", "resource", "route", "verify"])
@survived
async def test_exception_of_a_handler_cannot_forge_a_line_of_the_log(form, kind):
    """[log.one-line] Its words may be a stranger's: a file name, a reply from elsewhere."""

    async def fails(*args: object) -> Reply:
        raise kind(FORGED)

    mcp = MCPServer("test", auth=fails if form == "verify" else None)

    @mcp.tool()
    async def coroutine() -> str:
        raise kind(FORGED) from ValueError(FORGED)

    @mcp.tool()
    def thread() -> str:
        raise kind(FORGED)

    @mcp.resource("doc://a")
    async def document() -> str:
        raise kind(FORGED)

    mcp.route("GET", "/page", fails)
    with log_as_written() as written:
        if form == "verify":
            await Client(mcp).http("GET", authorization="Bearer x")
        elif form == "route":
            await Client(mcp).http("GET", target="/page")
        elif form == "resource":
            await (await Client(mcp).connect()).request("resources/read", {"uri": "doc://a"})
        else:
            await (await Client(mcp).connect()).call(form)
    assert not any(line.startswith("2026-01-01") for line in written().splitlines())
    assert not has_control(written())


@pytest.mark.parametrize(
    "request_head",
    [
        head("GET", "/a%0a2026-01-01%1b[2J", host="localhost"),
        head("GET", "/mcp", host="localhost", origin="http://evil\x9b2J.example"),
        b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a\x1b[2J\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: a\x9b\xe2\x80\xa8\r\n\r\n",
        b"G\x1b[2JT /mcp HTTP/1.1\r\n\r\n",
        b"GET /\x9b\x1b[2J HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)) + b"\r\n\r\n",
    ],
    ids=["path", "Origin", "ESC in a field", "C1 in a field", "method", "target", "TLS"],
)
@spoken
async def test_request_is_one_line_of_the_log_whatever_its_bytes(request_head):
    """[log.one-line] [log.access]"""
    with log_as_written() as written:
        async with MCPServer("test").serving() as url, Wire(url) as wire:
            await wire.send(request_head)
            await wire.end() if b"\x1b" in request_head or b"\x16" in request_head else await wire.status()
    lines = written().splitlines()
    assert not has_control(written()) and not any(line.startswith("2026-01-01") for line in lines)
    assert len([line for line in lines if " INFO " in line]) <= 1


@pytest.mark.parametrize("field", ["host", "origin"])
@spoken
async def test_foreign_hosts_and_origins_warn_once_each_and_a_few_times_a_minute(field, caplog):
    """[log.bounded] A scanner sends thousands; who set the server up wrongly still sees what is missing."""
    clock = Clock()
    client = Client(MCPServer("test", clock=clock))

    def value(name: str) -> dict[str, str]:
        return {field: name if field == "host" else f"https://{name}"}

    def warned() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    for _ in range(10):
        assert (await client.http("GET", **value("first.example"))).status == 403
    assert len(warned()) == 1 and "first.example" in warned()[0]
    for number in range(2000):  # within a minute
        clock.turn(0.03)
        assert (await client.http("GET", **value(f"evil{number}.example"))).status == 403
    assert 2 <= len(warned()) <= 15
    seen = len(warned())
    clock.turn(3600)
    assert (await client.http("GET", **value("late.example"))).status == 403
    assert len(warned()) > seen and "late.example" in caplog.text


# --- Descriptors and connections ----------------------------------------------------------------------


class Process:
    """A server of its own, whose log is read when it has ended."""

    def __init__(self, program: str, **names: object) -> None:
        for name, value in names.items():
            program = program.replace(name, str(value))
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(self.process.communicate(timeout=10)[1], pytrace=False)
        self.url, *self.words = line.split()
        parts = urlsplit(self.url)
        self.address = parts.hostname, parts.port
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def ask(self, data: bytes, connection: socket.socket | None = None) -> tuple[int, dict[str, str], bytes]:
        """One request and its reply."""
        with contextlib.ExitStack() as stack:
            connection = connection or stack.enter_context(self.connect())
            connection.sendall(data)
            received = b""
            while b"\r\n\r\n" not in received:
                received += (more := connection.recv(65536))
                assert more, "closed without an answer"
            start, _, body = received.partition(b"\r\n\r\n")
            first, *lines = start.decode().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            while len(body) < int(headers.get("content-length", 0)):
                body += (more := connection.recv(65536))
                assert more
        return int(first.split()[1]), headers, body

    def session(self) -> dict[str, str]:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
        _, headers, _ = self.ask(post(ACCEPT_BOTH, asked(method="initialize", **hello)))
        return ACCEPT_BOTH | {"mcp-session-id": headers["mcp-session-id"]}

    def end(self) -> str:
        """Stop it, and read its log."""
        self.process.terminate()
        return self.process.communicate(timeout=10)[1]


HUNGRY = """
import contextlib, logging, os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
from streamhttp_mcp import MCPServer
logging.basicConfig(level="WARNING")
mcp, held = MCPServer("test"), []
@mcp.tool()
async def eat() -> str:
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    return "eaten"
@mcp.tool()
async def free() -> str:
    while held:
        os.close(held.pop())
    return "freed"
mcp.run(port=0, on_start=lambda url: print(url, *resource.getrlimit(resource.RLIMIT_NOFILE), flush=True))
"""


def test_run_takes_the_descriptors_that_the_system_grants():
    """[limits.descriptors] A shell's soft limit is 1,024, or 256."""
    with Process(HUNGRY, SOFT=100, HARD=400) as server:
        assert server.words == ["400", "400"]


def test_connections_leave_64_descriptors_to_the_program():
    """[limits.descriptors] [limits.connections] Beyond: 503, and when others have left one is served again."""
    with Process(HUNGRY, SOFT=256, HARD=256) as server:
        crowd = [server.connect() for _ in range(230)]
        for connection in crowd:
            connection.sendall(head("GET", "/nothing", host="localhost"))
        statuses = Counter(connection.recv(65536)[9:12] for connection in crowd)
        assert 128 <= statuses[b"404"] <= 192 and statuses[b"503"] == 230 - statuses[b"404"]
        for connection in crowd:
            connection.close()
        deadline = time.monotonic() + 5
        while (status := server.ask(head("GET", "/nothing", host="localhost"))[0]) == 503:
            assert time.monotonic() < deadline
        assert status == 404
        assert len(server.end().splitlines()) < 20


def test_out_of_descriptors_the_log_is_not_flooded_and_others_are_served_again():
    """[limits.descriptors] The program itself has taken them all; those who knock wait until one is free."""
    with Process(HUNGRY, SOFT=256, HARD=256) as server:
        session = server.session()
        with server.connect() as inside:
            assert b"eaten" in server.ask(post(session, call(1, "eat")), inside)[2]
            knocking = [server.connect() for _ in range(20)]  # the kernel takes them, the server cannot yet
            for connection in knocking:
                connection.sendall(post(session, ping(1)))
            for number in range(100):  # who is inside is served meanwhile
                assert server.ask(post(session, ping(number)), inside)[0] == 200
            assert b"freed" in server.ask(post(session, call(2, "free")), inside)[2]
            begun = time.monotonic()
            for connection in knocking:
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
                connection.close()
            assert time.monotonic() - begun < 3
        assert len(server.end().splitlines()) < 20


@spoken
async def test_handshakes_of_tls_count_as_connections():
    """[limits.connections] Who says nothing after connecting holds a descriptor like everybody else."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    mcp = MCPServer("test", limits=Limits(connections=3, head_seconds=1000))
    async with mcp.serving(ssl_context=context) as url, contextlib.AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(Wire(url)) for _ in range(10)]
        ends = [asyncio.create_task(wire.reader.read(1)) for wire in silent]
        await eventually(lambda: sum(end.done() for end in ends) >= 7)  # closed, or told so in plain text
        assert sum(end.done() for end in ends) == 7
        for wire in silent:
            wire.reset()

        async def served() -> bool:
            try:
                reader, writer = await asyncio.open_connection(*silent[0].address, ssl=trusting, server_hostname="localhost")
            except OSError:
                return False
            writer.write(head("GET", "/nothing", host="localhost", connection="close"))
            status = (await reader.readline())[9:12]
            writer.transport.abort()
            return status == b"404"

        async with asyncio.timeout(5):
            while not await served():
                await asyncio.sleep(0)
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


# --- The end ------------------------------------------------------------------------------------------

ENDING = """
import asyncio, contextlib, threading, time
from streamhttp_mcp import Context, Limits, MCPServer
mcp = MCPServer("test", limits=Limits(sse_after_seconds=0, GRACE))
@mcp.tool()
async def nothing() -> str:
    return "nothing"
@mcp.tool()
async def stuck(ctx: Context) -> str:
    for _ in range(20):
        await ctx.log("error", "x" * 1_000_000)
    return "x" * 8_000_000
@mcp.tool()
async def large() -> str:
    return "x" * 20_000_000
@mcp.tool()
async def wait() -> str:
    await asyncio.Event().wait()
@mcp.tool()
def block() -> str:
    threading.Event().wait()
@mcp.tool()
async def pool() -> str:
    await asyncio.to_thread(time.sleep, 60)
@mcp.tool()
async def stubborn() -> str:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
@mcp.tool()
async def slow() -> str:
    print("slow", flush=True)
    await asyncio.sleep(5)
    return "done"
@mcp.tool()
async def loop() -> str:
    print("blocked", flush=True)
    time.sleep(60)
mcp.run(port=0, on_start=lambda url: print(url, flush=True))
"""
# What is going on at the signal, and the exit status: 1 says that the watchdog had to end what does not listen.
STUCK = {"nothing": 0, "stuck": 0, "large": 0, "wait": 0, "block": 0, "pool": 1, "stubborn": 1}


def occupied(stack: contextlib.ExitStack, server: Process, tool: str) -> tuple[Process, socket.socket]:
    """A server that is in the middle of a call of this tool, and a GET stream of the same session."""
    stack.enter_context(server)
    session = server.session()
    listening = stack.enter_context(server.connect())
    listening.sendall(head("GET", **session))
    received = b""
    while b"\r\n\r\n" not in received:
        received += listening.recv(65536)
    calling = stack.enter_context(socket.socket())
    calling.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    calling.settimeout(10)
    calling.connect(server.address)
    calling.sendall(post(session, call(1, tool)))
    calling.recv(1)  # of the answer, or of the stream that opens when it takes longer than a second
    return server, listening


def status_within(server: Process, seconds: float) -> int | None:
    """The exit status, or None if the process is still there by then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(seconds)
    return server.process.returncode


def test_process_ends_within_5_seconds_of_a_signal_whatever_is_open():
    """[shutdown.signals] [shutdown.graceful] Each in a process of its own; streams end with their last chunk."""
    with contextlib.ExitStack() as stack:
        started = {tool: Process(ENDING, GRACE="") for tool in STUCK}
        servers = {tool: occupied(stack, server, tool) for tool, server in started.items()}
        begun = time.monotonic()
        for server, _ in servers.values():
            server.process.terminate()
        found = {tool: status_within(server, begun + 5 - time.monotonic()) for tool, (server, _) in servers.items()}
        assert found == STUCK
        for _, listening in servers.values():
            received = b""
            while data := listening.recv(65536):
                received += data
            assert received.endswith(b"0\r\n\r\n")


def test_second_signal_ends_the_process_at_once_whatever_is_open():
    """[shutdown.signals]"""
    with contextlib.ExitStack() as stack:
        started = {tool: Process(ENDING, GRACE="grace_seconds=1000") for tool in ("stuck", "pool", "stubborn")}
        servers = {tool: occupied(stack, server, tool) for tool, server in started.items()}
        for server, _ in servers.values():
            server.process.terminate()
        for _, listening in servers.values():
            while listening.recv(65536):  # its end says that the server has begun to stop
                pass
        for server, _ in servers.values():
            server.process.terminate()
        found = {tool: status_within(server, 2) for tool, (server, _) in servers.items()}
        assert found == dict.fromkeys(servers, -signal.SIGTERM)


def test_watchdog_waits_for_the_grace_that_the_author_gives():
    """[shutdown.signals] [shutdown.graceful] A call that needs 5 of 8 seconds is answered, and the process ends well."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Process(ENDING, GRACE="grace_seconds=8"))
        session = server.session()
        calling = stack.enter_context(server.connect())
        calling.sendall(post(session, call(1, "slow")))
        assert server.process.stdout.readline() == "slow\n"
        server.process.terminate()
        received = b""
        while data := calling.recv(65536):
            received += data
        assert b"done" in received and status_within(server, 5) == 0


def test_process_ends_within_5_seconds_even_if_a_handler_blocks_the_event_loop():
    """[shutdown.signals] The watchdog's thread ends what the event loop cannot; the exit status says so."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Process(ENDING, GRACE=""))
        session = server.session()
        calling = stack.enter_context(server.connect())
        calling.sendall(post(session, call(1, "loop")))
        assert server.process.stdout.readline() == "blocked\n"
        server.process.terminate()
        assert status_within(server, 5) == 1
