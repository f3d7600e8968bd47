"""Section 14: the page that shows the conversation, first as a document, then clicked through in Chromium."""

import asyncio
import base64
import hashlib
import queue
import re
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from conftest import missing, peer
from inmemory import Client, run, spoken

import streamhttp_mcp as m

ERAS = SESSIONS, STATELESS = "2025-11-25", "2026-07-28"
HOSTILE = "<img src=x onerror=alert(1)>.md"
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync""".split()

# --- The document -------------------------------------------------------------------------------------


def get(mcp: m.MCPServer, method: str = "GET", path: str = "/", **headers: str) -> m.Reply:
    return run(mcp.handle(m.Request(method, path, {"host": "localhost", **headers})))


@pytest.fixture
def documents(tmp_path):
    """A folder with a document whose name and text would be HTML, if they were ever taken for it."""
    (tmp_path / "plan.md").write_text("# Plan\n\n" + "The robot sees. It acts. " * 10)
    (tmp_path / HOSTILE).write_text("<script>alert(2)</script><b>Bold.</b> " * 3)
    return tmp_path


def test_page_is_served_by_the_demo_and_by_no_other_server(documents):
    assert get(m.MCPServer("plain")).status == 404
    reply = get(m.document_analyzer(documents))
    assert reply.status == 200 and reply.body.startswith(b"<!doctype html>")
    own = m.MCPServer("own")
    own.route("GET", "/", m.show_page)  # as a program does that wants it
    assert get(own).body == reply.body


def test_policy_allows_the_pages_own_style_and_script_alone(documents):
    """[demo.page-policy] Their hashes are those of the bytes that are sent; nothing else is named but the server itself."""
    reply = get(m.document_analyzer(documents, path="/other"))
    headers, body = dict(reply.headers), reply.body.decode()
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy.pop(f"{element}-src") == f"'sha256-{digest}'"
    assert policy.pop("connect-src") == "'self'"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy.values()) == {"'none'"} and {"default-src", "base-uri", "form-action", "frame-ancestors"} <= set(policy)
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Type"] == "text/html; charset=utf-8" and headers["Cache-Control"] == "no-cache"


def test_page_is_one_document_that_refers_to_nothing_outside(documents):
    class Reader(HTMLParser):
        """Collects what would fetch something, or run it, and whether all is closed."""

        found, opened = [], []

        def handle_starttag(self, tag, attributes):
            self.found += [(tag, name) for name, _ in attributes if name in ("src", "href", "style") or name[:2] == "on"]
            if tag not in ("meta", "input"):
                self.opened.append(tag)

        def handle_endtag(self, tag):
            assert self.opened.pop() == tag

    reader = Reader()
    text = get(m.document_analyzer(documents)).body.decode()
    reader.feed(text)
    assert (reader.found, reader.opened) == ([], [])
    assert text.isascii() and "://" not in text and "url(" not in text and "@import" not in text


def test_page_never_makes_html_of_a_string():
    """[demo.page-text] The words that could are not in it."""
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "setHTML", "document.write", "DOMParser", "eval(",
                 "Function(", "createContextualFragment", "srcdoc"):  # fmt: skip
        assert word not in m.PAGE


def test_path_of_the_endpoint_is_told_relative_and_escaped(documents):
    """Behind a proxy that puts the server below a path of its own the page still finds it."""
    reply = get(m.document_analyzer(documents, path='/a"><b>'))
    assert b'<meta name="mcp-endpoint" content="./a&quot;&gt;&lt;b&gt;">' in reply.body


def test_page_is_open_where_a_token_is_wanted_and_what_it_calls_is_not(documents):
    mcp = m.document_analyzer(documents, auth="secret")
    assert get(mcp).status == 200
    assert get(mcp, "POST", "/expire").status == 401


@spoken
async def test_time_passes_for_a_session_that_nobody_uses():
    """[session.expiry] As the page asks for it; a session in use stays, and others do anyway."""
    mcp = m.MCPServer("test")
    mcp.route("POST", "/expire", m.let_time_pass)
    client, other = await Client(mcp).connect(), await Client(mcp).connect()

    async def pass_time() -> int:
        headers = {"host": "localhost", "mcp-session-id": client.headers["mcp-session-id"]}
        return (await mcp.handle(m.Request("POST", "/expire", headers))).status

    stream = mcp.sessions.by_id[client.headers["mcp-session-id"]].standalone_stream()
    stream.attach(sink := SimpleNamespace(write=lambda data: None, end=lambda: None, congested=False))
    assert await pass_time() == 409
    stream.detach(sink)
    assert await pass_time() == 204
    assert await pass_time() == 404
    assert list(mcp.sessions.by_id) == [other.headers["mcp-session-id"]]


# --- In the browser -----------------------------------------------------------------------------------


class Pace:
    """How fast `long_running_operation` works: a batch takes a ticket, and waits until there is one."""

    tickets = 0

    async def sleep(self, seconds: float) -> None:
        while seconds and self.tickets == 0:
            await asyncio.sleep(0.01)
        self.tickets -= bool(seconds)


class Demo(NamedTuple):
    url: str
    mcp: m.MCPServer
    pace: Pace


@pytest.fixture
def start_demo(documents, monkeypatch):
    """A function that starts the demo in a thread of its own, with settings."""
    pace, threads = Pace(), []
    monkeypatch.setattr(m, "asyncio", SimpleNamespace(**(vars(asyncio) | {"sleep": pace.sleep})))

    def start(**settings) -> Demo:
        mcp, started = m.document_analyzer(documents, **settings), queue.Queue()
        thread = threading.Thread(target=mcp.run, kwargs={"port": 0, "on_start": started.put})
        threads.append((mcp, thread))
        thread.start()
        return Demo(started.get(timeout=10).removesuffix("mcp"), mcp, pace)

    yield start
    pace.tickets = 1000  # what still runs comes to its end
    for mcp, thread in threads:
        mcp.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    path = peer("MCP_PEER_CHROMIUM")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright, which drives Chromium, is not installed here")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def eventually(condition, seconds: float = 10) -> None:
    """Wait for what the server's thread brings about; fail when it never happens."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {seconds:g} s"
        time.sleep(0.01)


class Tab:
    """The page in a fresh profile, and what a reader sees of it."""

    def __init__(self, browser, demo: Demo, era: str = SESSIONS, **options) -> None:
        self.demo, self.era, self.errors, self.requested = demo, era, [], []
        self.page = page = browser.new_context(**options).new_page()
        page.set_default_timeout(10_000)
        page.on("console", self.hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.requested.append(request.url))
        page.goto(demo.url)
        page.get_by_role("radio", name=era).check()

    def hear(self, message) -> None:
        """Chromium complains of each status above 400. 409: the server has not yet seen a stream end; the page asks again."""
        if "status of 409" not in message.text:
            self.errors.append(message.text)

    def press(self, button: str) -> None:
        self.page.get_by_role("group", name="What to watch").get_by_role("button", name=button).click()

    def play(self, button: str) -> None:
        self.press(button)
        self.wait_done()

    def wait_done(self) -> None:
        self.page.locator("#stories[aria-busy=false]").wait_for()

    def wait_line(self, text: str) -> None:
        self.page.locator("#rows code", has_text=text).first.wait_for()

    @property
    def status(self) -> str:
        return self.page.locator("#status").inner_text()

    def lines(self, where: str = "") -> list[str]:
        """'client POST 1: initialize' and so on, of one exchange or of all."""
        said = self.page.locator("#rows summary").evaluate_all(
            "all => all.map((each) => [each.closest('li').classList[0], each.children[0].textContent,"
            " each.querySelector('code').firstChild.textContent])"
        )
        return [f"{side} {place}: {text}" for side, place, text in said if where in ("", place)]

    def where(self, text: str) -> str:
        """The exchange that brought a line: 'POST 5'."""
        (line,) = [line for line in self.lines() if text in line][-1:]
        return re.search(r"(POST|GET|DELETE) \d+", line)[0]

    def notes(self) -> list[str]:
        return self.page.locator("#rows p").all_inner_texts()[1:]

    def check(self, *expected: str) -> None:
        """That the browser complained of nothing else, and the page spoke to its own server only."""
        assert self.errors == list(expected)
        assert {url for url in self.requested if not url.startswith(self.demo.url)} == set()


@pytest.fixture(params=ERAS)
def tab(request, chromium, start_demo) -> Iterator[Tab]:
    tab = Tab(chromium, start_demo(), request.param)
    yield tab
    tab.page.context.close()


NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (Not Found)"


def test_connect_shows_the_handshake_or_that_there_is_none(tab):
    tab.play("Connect")
    assert tab.status == "Connect: done."
    opened = [line.split(": ")[1] for line in tab.lines() if line.startswith("client")]
    if tab.era == SESSIONS:
        assert opened == ["initialize", "notifications/initialized", "the session's own stream", "resources/list"]
        assert tab.lines("POST 2")[1] == "server POST 2: 202 Accepted"
        tab.wait_line("an empty event")
        assert tab.page.locator("#lanes").inner_text() == "GET 3"
    else:
        assert opened == ["server/discover", "subscriptions/listen", "resources/list"]
        tab.wait_line("notifications/subscriptions/acknowledged")
        assert tab.page.locator("#lanes").inner_text() == "POST 2"
    tab.page.locator("summary", has_text="resources/list").click()  # unfolds to what went over the wire
    text = tab.page.locator("details[open] pre").inner_text()
    assert text.startswith("POST /mcp\n") and f"MCP-Protocol-Version: {tab.era}\n" in text
    assert ("Mcp-Session-Id: " in text) == (tab.era == SESSIONS)
    assert ("Mcp-Method: resources/list\n" in text) == (tab.era == STATELESS)
    assert '"method": "resources/list"' in text
    tab.check()


def test_analysis_moves_the_progress_bar_to_its_end(tab):
    """Progress, result and end come on the call's own stream."""
    tab.play("Connect")
    tab.page.get_by_label("Document").select_option("plan.md")
    tab.play("Analyse a document")
    place = tab.where("tools/call")
    lines = tab.lines(place)
    assert lines[:2] == [f"client {place}: tools/call analyze_document plan.md", f"server {place}: 200 text/event-stream"]
    assert lines[-3].startswith(f"server {place}: notifications/progress 21/21 Analyzed 21 of 21")
    assert lines[-2].startswith(f'server {place}: result {{"path": "plan.md"')
    assert lines[-1] == f"server {place}: the stream ends"
    assert tab.page.locator("progress").evaluate("bar => [bar.value, bar.max]") == [21, 21]
    tab.check()


def test_two_tools_at_once_have_a_stream_each(tab):
    tab.demo.pace.tickets = 10
    tab.play("Two tools at once")
    for data in ("apples", "pears"):
        place = tab.where(f"long_running_operation {data}")
        lines = [line.removeprefix(f"server {place}: ") for line in tab.lines(place)]
        assert [line[23:26] for line in lines if line.startswith("notifications/progress")] == [f"{n}/5" for n in range(1, 6)]
        assert lines[-2:] == [f"result Completed processing {data}", "the stream ends"]
    assert tab.page.locator(".job").count() == 2
    tab.check()


def test_tool_asks_by_a_form_and_by_a_prompt(tab):
    """The form is made from the schema; the reader plays the model. Each era takes the answers its own way."""
    tab.play("Connect")
    tab.page.get_by_label("Document").select_option("plan.md")
    tab.press("A tool that asks")
    form = tab.page.locator("li form")
    form.get_by_label("domain").select_option("Healthcare")
    assert form.locator("option").all_inner_texts() == ["Finance", "Healthcare", "E-commerce", "Other"]
    form.get_by_role("button", name="Send").click()
    form.get_by_label("Your answer").fill("A robot sees and acts.")
    assert "Domain: Healthcare" in form.locator("pre").inner_text()
    form.get_by_role("button", name="Send").click()
    tab.wait_done()
    assert tab.where("Summary: A robot sees and acts.")
    said = [line.split(": ", 1)[1] for line in tab.lines() if line.startswith("client")][-3:]
    if tab.era == SESSIONS:
        assert said == ["tools/call intelligent_analysis plan.md", "result accept", "result A robot sees and acts."]
    else:
        assert said == ["tools/call intelligent_analysis plan.md"] * 3
    tab.check()


def test_user_may_decline_and_the_model_may_refuse(tab):
    tab.press("A tool that asks")
    tab.page.get_by_role("button", name="Decline").click()
    tab.page.get_by_role("button", name="Refuse").click()
    tab.wait_done()
    if tab.era == SESSIONS:
        assert tab.where("error -1: the user refused") and tab.where("Domain: not given")
    else:
        assert tab.notes()[-1].startswith("Refused")
    assert tab.page.locator("li form").count() == 0
    tab.check()


def test_broken_stream_is_resumed_without_loss_or_is_a_cancelled_call(tab):
    pace = tab.demo.pace
    pace.tickets = 2
    tab.press("Break and resume")
    tab.wait_line("closes the connection")
    if tab.era == SESSIONS:
        pace.tickets = 3  # nobody reads these: they are replayed
        tab.wait_done()
        place = tab.where("Last-Event-ID")
        said = [line.removeprefix(f"server {place}: ")[:26] for line in tab.lines(place)]
        progress = [f"notifications/progress {n}/5" for n in (3, 4, 5)]
        assert said[1:] == ["200 text/event-stream", "an empty event", *progress, "result Completed processin", "the stream ends"]
        assert tab.notes()[-1] == "Received: events 1, 2, 3, 4, 5, 6. None is missing, none came twice."
    else:
        tab.wait_done()
        assert tab.lines(tab.where("tools/call"))[-1].endswith("closes the connection")
        eventually(lambda: not any(ctx.message["method"] == "tools/call" for ctx in list(tab.demo.mcp.calls)))
    tab.check()


def test_call_is_cancelled_by_a_notification_or_by_closing_its_stream(tab):
    tab.demo.pace.tickets = 2
    tab.play("Cancel")
    place = tab.where("long_running_operation")
    if tab.era == SESSIONS:
        assert tab.lines(tab.where("notifications/cancelled"))[1].endswith("202 Accepted")
        assert tab.lines(place)[-1] == f"server {place}: the stream ends"
    else:
        assert tab.lines(place)[-1] == f"client {place}: closes the connection"
    assert not any("result Completed" in line for line in tab.lines())
    assert tab.page.locator(".job").inner_text().endswith("no result")
    tab.check()


def test_expired_session_is_answered_404_and_a_new_one_is_opened(tab):
    tab.play("Expire")
    said = [line.split(": ", 1)[1] for line in tab.lines() if line.startswith("client")]
    if tab.era == STATELESS:
        assert said == ["server/discover", "subscriptions/listen", "resources/list", "tools/list"]
        assert '"tools"' in tab.lines()[-1]
        return tab.check()
    handshake = ["initialize", "notifications/initialized", "the session's own stream", "resources/list"]
    passed = ["/expire"] * said.count("/expire")  # again, should the server not have seen yet that the stream is closed
    assert said == [*handshake, "closes the connection", *passed, "tools/list", *handshake, "tools/list"]
    assert "404 error -32600: there is no such session" in "\n".join(tab.lines())
    assert tab.notes() == ["404 for a session id: that session is over. A client must open a new one, without the id."]
    assert tab.lines()[-1].split(": ", 1)[1].startswith('200 result {"tools"')
    assert len(tab.demo.mcp.sessions.by_id) == 1
    tab.check(NOT_FOUND)


def test_end_closes_what_is_open(tab):
    tab.play("Connect")
    tab.play("End the session")
    tab.page.locator("#lanes:empty").wait_for(state="attached")
    if tab.era == SESSIONS:
        assert [line for line in tab.lines() if "DELETE" in line] == ["client DELETE 5: the session", "server DELETE 5: 200 OK"]
        assert not tab.demo.mcp.sessions.by_id
        tab.wait_line("the stream ends")
    else:
        assert "there is nothing to end but a stream" in tab.page.locator("#story").inner_text()
        tab.wait_line("closes the connection")
    tab.check()


def test_switch_ends_the_session_and_the_same_buttons_speak_the_other_revision(chromium, start_demo):
    tab = Tab(chromium, start_demo())
    tab.play("Connect")
    tab.page.get_by_role("radio", name=STATELESS).check()
    tab.wait_line("the session")
    tab.page.get_by_text(f"From here the page speaks {STATELESS}.").wait_for()
    assert not tab.demo.mcp.sessions.by_id
    tab.play("Connect")
    assert tab.where("server/discover")
    tab.check()


def test_session_ends_when_the_reader_leaves(chromium, start_demo):
    """The page sends DELETE on its way out."""
    tab = Tab(chromium, start_demo())
    tab.play("Connect")
    assert len(tab.demo.mcp.sessions.by_id) == 1
    tab.page.goto("about:blank")
    eventually(lambda: not tab.demo.mcp.sessions.by_id)


def test_what_the_server_says_is_never_taken_for_html(chromium, start_demo):
    """[demo.page-text] A document's name and text come in the list, in progress, in the result and in a prompt."""
    tab = Tab(chromium, start_demo())
    tab.play("Connect")
    tab.page.get_by_label("Document").select_option(HOSTILE)
    tab.play("Analyse a document")
    tab.press("A tool that asks")
    tab.page.get_by_role("button", name="Decline").click()
    assert "<script>alert(2)</script>" in tab.page.locator("form pre").inner_text()
    tab.page.get_by_role("button", name="Refuse").click()
    tab.wait_done()
    tab.page.locator("summary", has_text="result").last.click()
    assert tab.page.locator("img, b b, main script").count() == 0
    tab.check()


def test_policy_stops_html_from_a_string(chromium, start_demo):
    """[demo.page-text] [demo.page-policy] Even a page with a fault could not."""
    tab = Tab(chromium, start_demo())
    with pytest.raises(Exception, match="TrustedHTML"):
        tab.page.evaluate("document.body.innerHTML = '<b>bold</b>'")


def test_page_asks_for_a_token_where_one_is_wanted_and_keeps_it_to_itself(chromium, start_demo):
    tab = Tab(chromium, start_demo(auth="secret"))
    tab.play("Connect")
    assert tab.where("401 error") and "a token is needed" in tab.status
    tab.page.get_by_label("This server wants a token").fill("secret")
    tab.page.get_by_role("button", name="Use it").click()
    tab.wait_line("resources/list")
    tab.wait_done()
    assert not tab.page.get_by_label("This server wants a token").is_visible()
    written = tab.page.locator("main").text_content()
    assert "Authorization: ...\n" in written and "secret" not in written
    tab.check(NOT_FOUND.replace("404 (Not Found)", "401 (Unauthorized)"))


def test_server_that_is_gone_is_told_where_it_was_called(chromium, start_demo):
    tab = Tab(chromium, start_demo())
    tab.play("Connect")
    tab.demo.mcp.stop()
    tab.wait_line("the stream ends")
    tab.play("Analyse a document")
    assert tab.lines()[-1].endswith(": no answer")
    assert tab.status == "Failed to fetch"


def test_all_works_from_the_keyboard(chromium, start_demo):
    tab = Tab(chromium, start_demo())
    keys = tab.page.keyboard
    tab.page.get_by_role("radio", name=tab.era).focus()
    keys.press("Tab")
    keys.press("Enter")  # Connect
    tab.wait_line("resources/list")
    tab.wait_done()
    for _ in range(3):
        keys.press("Tab")
    keys.press("Space")  # A tool that asks; its form takes the focus
    tab.page.locator("select:focus").wait_for()
    keys.press("ArrowDown")
    keys.press("Tab")
    keys.press("Enter")
    tab.page.locator("textarea:focus").wait_for()
    keys.type("Short.")
    keys.press("Tab")
    keys.press("Enter")
    tab.wait_done()
    assert tab.where("Domain: Healthcare") and tab.where("Summary: Short.")
    assert tab.page.evaluate("document.activeElement.id") == "log"
    keys.press("Tab")
    keys.press("Enter")  # the first message unfolds
    assert tab.page.locator("details[open]").count() == 1


CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parse(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, index) => sum + v * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return parse(colour)[3] === 0 ? ground(element.parentElement) : colour;
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${element.tagName} ${element.textContent.slice(0, 40)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_page_fits_and_can_be_read_in_light_and_dark(chromium, start_demo, scheme, width):
    """Contrast is 4.5 to 1 or more, nothing sticks out, and the newest message is in view."""
    tab = Tab(chromium, start_demo(), color_scheme=scheme, viewport={"width": width, "height": 844})
    tab.press("A tool that asks")
    tab.page.locator("li form").wait_for()
    assert tab.page.evaluate(CONTRAST) == []
    tab.page.get_by_role("button", name="Decline").click()
    tab.page.get_by_role("button", name="Refuse").click()
    tab.wait_done()
    tab.play("Expire")
    tab.page.locator("summary").last.click()
    assert tab.page.evaluate(CONTRAST) == []
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    box = tab.page.locator("#rows li").last.bounding_box()
    assert box["y"] < 844 and box["x"] + box["width"] <= width
    tab.check(NOT_FOUND)
