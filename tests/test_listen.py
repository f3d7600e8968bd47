"""Sections 10 and 16: one announcement, every listener, by `subscriptions/listen` and by a session's GET."""

import asyncio
import threading
from typing import Any

import pytest
from inmemory import Answer, Client, Clock, StatelessClient, spoken, until
from wire import Wire, post

from streamhttp_mcp import META, MCPServer


def library(**settings: Any) -> MCPServer:
    """A server with a tool and a resource that may change."""
    mcp = MCPServer("test", **settings)
    mcp.add_tool(lambda: "hi", "echo")
    mcp.add_resource(lambda: "hi", "doc://a")
    return mcp


EVERYTHING = {
    "toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True,
    "resourceSubscriptions": ["doc://a"],
}  # fmt: skip


def tagged(id: Any, method: str, **params: Any) -> dict[str, Any]:
    params = {"_meta": {META + "subscriptionId": id}, **params}
    return {"jsonrpc": "2.0", "method": f"notifications/{method}", "params": params}


def acknowledged(id: Any, notifications: dict[str, Any]) -> dict[str, Any]:
    return tagged(id, "subscriptions/acknowledged", notifications=notifications)


def ended(id: Any) -> dict[str, Any]:
    meta = {META + "serverInfo": {"name": "test", "version": "0.1.0"}, META + "subscriptionId": id}
    return {"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete", "_meta": meta}}


async def listen(mcp: MCPServer, id: Any, **wanted: Any) -> Answer:
    return await StatelessClient(mcp).request("subscriptions/listen", {"notifications": wanted}, id=id)


def notify_all(mcp: MCPServer) -> None:
    mcp.notify_tools_changed()
    mcp.notify_prompts_changed()
    mcp.notify_resources_changed()
    mcp.notify_resource_updated("doc://a")
    mcp.notify_resource_updated("doc://b")


@pytest.mark.parametrize(
    ("wanted", "honoured", "heard"),
    [
        ({"toolsListChanged": True}, None, ["tools/list_changed"]),
        ({"promptsListChanged": True}, None, ["prompts/list_changed"]),
        ({"resourcesListChanged": True}, None, ["resources/list_changed"]),
        ({"resourceSubscriptions": ["doc://a"]}, None, ["resources/updated doc://a"]),
        ({"resourceSubscriptions": ["doc://b", "doc://a"]}, None,
         ["resources/updated doc://a", "resources/updated doc://b"]),
        ({"resourceSubscriptions": ["doc://c"]}, None, []),
        ({"toolsListChanged": True, "promptsListChanged": False}, {"toolsListChanged": True}, ["tools/list_changed"]),
        ({"toolsListChanged": True, "unknown": True, "promptsListChanged": "yes", "resourcesListChanged": 1},
         {"toolsListChanged": True}, ["tools/list_changed"]),
        (EVERYTHING, None,
         ["tools/list_changed", "prompts/list_changed", "resources/list_changed", "resources/updated doc://a"]),
    ],
)  # fmt: skip
@spoken
async def test_listener_hears_what_it_asked_for_and_nothing_else(wanted, honoured, heard):
    """[listen.only-asked] [listen.ack-first] [listen.tagged]"""
    mcp = library()
    answer = await listen(mcp, 7, **wanted)
    notify_all(mcp)
    await mcp.close()
    first, *notices, last = (await answer.complete()).page.messages
    assert first == acknowledged(7, honoured or wanted) and last == ended(7)
    expected = []
    for method, _, uri in (line.partition(" ") for line in heard):
        expected.append(tagged(7, method, **({"uri": uri} if uri else {})))
    assert notices == expected


@pytest.mark.parametrize(
    "params",
    [
        {}, {"notifications": {}}, {"notifications": {"toolsListChanged": False}}, {"notifications": {"unknown": True}},
        {"notifications": {"resourceSubscriptions": []}}, {"notifications": None},
        {"notifications": {"resourceSubscriptions": None}},
    ],
)  # fmt: skip
@spoken
async def test_listener_that_asks_for_nothing_is_done_at_once(params):
    """[listen.only-asked] [listen.graceful-end] An open stream would hold a connection for nothing."""
    mcp = library()
    answer = await (await StatelessClient(mcp).request("subscriptions/listen", params, id=7)).complete()
    assert answer.page.messages == [acknowledged(7, {}), ended(7)] and mcp.listeners == {}


@pytest.mark.parametrize(
    "wanted",
    [[], "tools", True, {"resourceSubscriptions": "doc://a"}, {"resourceSubscriptions": [1]},
     {"resourceSubscriptions": {"doc://a": True}}, {"resourceSubscriptions": ["doc://" + "a" * 8187]},
     {"resourceSubscriptions": ["doc://a"] * 9400}],
)  # fmt: skip
@spoken
async def test_filter_of_a_wrong_shape_is_invalid_params(wanted):
    """[listen.only-asked]"""
    answer = await StatelessClient(library()).request("subscriptions/listen", {"notifications": wanted}, id="mine")
    assert (answer.status, answer.message["id"], answer.error["code"]) == (400, "mine", -32602)


@spoken
async def test_client_that_takes_json_only_cannot_listen():
    """[listen.ack-first] One JSON body could never bring the acknowledgement first."""
    mcp, params = library(), {"notifications": EVERYTHING}
    answer = await StatelessClient(mcp).request("subscriptions/listen", params, id="mine", accept="application/json")
    text = "subscriptions/listen is answered by an event stream: Accept must allow one"
    expected = {"jsonrpc": "2.0", "id": "mine", "error": {"code": -32600, "message": text}}
    assert (answer.status, answer.message) == (400, expected) and mcp.listeners == {}


@spoken
async def test_acknowledgement_is_first_while_others_publish_all_the_time():
    """[listen.ack-first] [listen.tagged] From this thread at every turn of the loop, and from another one."""
    mcp, enough = library(), threading.Event()

    def publish() -> None:
        while not enough.wait(0.0005):
            notify_all(mcp)

    async def publish_here() -> None:
        while not enough.is_set():
            notify_all(mcp)
            await asyncio.sleep(0)

    await StatelessClient(mcp).request("tools/list")  # so that the server knows its loop
    thread, task = threading.Thread(target=publish), asyncio.create_task(publish_here())
    thread.start()
    try:
        answers = []
        for id in range(20):
            answers.append(await listen(mcp, id, **EVERYTHING))
            await asyncio.sleep(0)
        for answer in answers:
            await answer.page.wait_messages(10)
    finally:
        enough.set()
        thread.join()
    await task
    await mcp.close()
    for id, answer in enumerate(answers):
        first, *notices, last = (await answer.complete()).page.messages
        assert first == acknowledged(id, EVERYTHING) and last == ended(id)
        assert {notice["params"]["_meta"][META + "subscriptionId"] for notice in notices} == {id}
        assert not any("subscriptions" in notice["method"] for notice in notices)


@spoken
async def test_subscription_id_is_the_request_id_type_and_all():
    """[listen.tagged] Several at once, 1 beside "1"; one that ends does not end the others."""
    mcp = library()
    answers = {id: await listen(mcp, id, toolsListChanged=True) for id in (1, "1", 0, "")}
    gone = await listen(mcp, 1, toolsListChanged=True)
    gone.page.leave()
    await until(lambda: len(mcp.listeners) == 4)
    mcp.notify_tools_changed()
    for id, answer in answers.items():
        await answer.page.wait_messages(2)
        assert answer.page.messages == [acknowledged(id, {"toolsListChanged": True}), tagged(id, "tools/list_changed")]
        assert type(answer.message["params"]["_meta"][META + "subscriptionId"]) is type(id)
    assert gone.page.messages == [acknowledged(1, {"toolsListChanged": True})]
    await mcp.close()


@pytest.mark.parametrize(
    ("act", "method", "params"),
    [
        (lambda mcp: mcp.notify_tools_changed(), "tools/list_changed", {}),
        (lambda mcp: mcp.notify_prompts_changed(), "prompts/list_changed", {}),
        (lambda mcp: mcp.notify_resources_changed(), "resources/list_changed", {}),
        (lambda mcp: mcp.notify_resource_updated("doc://a"), "resources/updated", {"uri": "doc://a"}),
        (lambda mcp: mcp.remove_tool("echo"), "tools/list_changed", {}),
        (lambda mcp: mcp.add_prompt(lambda: "hi", "new"), "prompts/list_changed", {}),
        (lambda mcp: mcp.add_resource(lambda: "hi", "doc://b"), "resources/list_changed", {}),
    ],
)
@pytest.mark.parametrize("thread", [False, True])
@spoken
async def test_one_announcement_reaches_both_eras_once(act, method, params, thread):
    """[listen.tagged] [list.announces-itself] From any thread."""
    mcp = library()
    session = await Client(mcp).connect()
    await session.request("resources/subscribe", {"uri": "doc://a"})
    standalone, answer = await session.get(), await listen(mcp, 7, **EVERYTHING)
    await asyncio.to_thread(act, mcp) if thread else act(mcp)
    await until(lambda: len(answer.page.messages) == 2)
    await mcp.close()
    notice = {"jsonrpc": "2.0", "method": f"notifications/{method}"} | ({"params": params} if params else {})
    assert standalone.page.messages == [notice]
    assert (await answer.complete()).page.messages == [
        acknowledged(7, EVERYTHING),
        tagged(7, method, **params),
        ended(7),
    ]


@spoken
async def test_list_is_fresh_when_its_change_is_heard_of():
    """[list.announces-itself] [cache.hints]"""
    mcp = library()
    client, answer = StatelessClient(mcp), await listen(mcp, 7, toolsListChanged=True)
    assert len((await client.request("tools/list")).result["tools"]) == 1
    mcp.add_tool(lambda: None, "new")
    assert (await answer.page.wait_messages(2))[1] == tagged(7, "tools/list_changed")
    assert [tool["name"] for tool in (await client.request("tools/list")).result["tools"]] == ["echo", "new"]
    await mcp.close()


@spoken
async def test_quiet_listener_gets_a_heartbeat_and_at_shutdown_the_result():
    """[stream.heartbeat] [listen.graceful-end] Over a socket: the response is complete, not broken off."""
    clock = Clock()
    mcp = library(clock=clock)
    client = StatelessClient(mcp)
    headers = client.headers | {"mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen"}
    params = {"_meta": client.meta, "notifications": EVERYTHING}
    async with mcp.serving() as url, Wire(url) as wire:
        await wire.send(post(headers, {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": params}))
        assert await wire.status() == 200 and await wire.message() == acknowledged(7, EVERYTHING)
        clock.turn(16)
        mcp.sweep()
        assert await wire.event() == ":"
        mcp.notify_tools_changed()
        assert await wire.message() == tagged(7, "tools/list_changed")
        closing = asyncio.create_task(mcp.close())
        assert await wire.messages() == [ended(7)]
        await closing


@spoken
async def test_notice_right_after_the_acknowledgement_arrives():
    """[listen.ack-first] The listener is there before its acknowledgement has left."""
    mcp = library()
    params = {"notifications": {"toolsListChanged": True}}
    listening = asyncio.create_task(StatelessClient(mcp).request("subscriptions/listen", params, id=1))
    await until(lambda: any(call.stream.is_sse for call in mcp.calls))
    mcp.notify_tools_changed()
    answer = await listening
    first, second = await answer.page.wait_messages(2)
    assert first == acknowledged(1, {"toolsListChanged": True})
    assert second == tagged(1, "tools/list_changed")
    answer.page.leave()
