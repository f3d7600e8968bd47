"""Section 17: the page that shows the conversation, first as a document, then clicked through in Chromium."""

import asyncio
import base64
import hashlib
import json
import queue
import re
import threading
import time
import urllib.request
import weakref
from collections.abc import Iterator
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from conftest import missing, peer

import streamhttp_mcp as m

ERAS = SESSIONS, STATELESS = "2025-11-25", "2026-07-28"
NAMES = {SESSIONS: "with sessions (2025-11-25)", STATELESS: "stateless (2026-07-28)"}
STORIES = ["Connect", "Two tools, one cancelled", "A tool that asks", "Break and resume", "End the session"]
HOSTILE = "<img src=x onerror=alert(1)>.md"
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync""".split()

# --- The document -------------------------------------------------------------------------------------


def get(mcp: m.MCPServer, method: str = "GET", path: str = "/", **headers: str) -> m.Reply:
    request = m.Request(method, path, {"host": "localhost", **headers})
    return asyncio.run(asyncio.wait_for(mcp.handle(request), 10))


@pytest.fixture
def documents(tmp_path):
    """A folder with one document."""
    (tmp_path / "plan.md").write_text("# Plan\n\n" + "The robot sees. It acts. " * 10)
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
    assert set(policy.values()) == {"'none'"}
    assert {"default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types"} == set(policy)
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


def test_page_is_short_enough_to_be_read():
    assert len(m.PAGE.splitlines()) <= 170


def test_path_of_the_endpoint_is_told_relative_and_escaped(documents):
    """Behind a proxy that puts the server below a path of its own the page still finds it."""
    reply = get(m.document_analyzer(documents, path='/a"><b>'))
    assert b'<meta name="mcp-endpoint" content="./a&quot;&gt;&lt;b&gt;">' in reply.body


def test_page_is_open_where_a_token_is_wanted_and_what_it_calls_is_not(documents):
    mcp = m.document_analyzer(documents, auth="secret")
    assert get(mcp).status == 200
    assert get(mcp, "POST", "/mcp").status == 401


# --- In the browser -----------------------------------------------------------------------------------


class Pace:
    """How far each `long_running_operation` comes: it waits before a batch that is not allowed yet."""

    def __init__(self) -> None:
        self.allowed = 0
        self.begun: weakref.WeakKeyDictionary[asyncio.Task, int] = weakref.WeakKeyDictionary()

    async def sleep(self, seconds: float) -> None:
        if seconds != 1:  # the server's own
            return await asyncio.sleep(seconds)
        call = asyncio.current_task()
        self.begun[call] = self.begun.get(call, 0) + 1
        while self.begun[call] > self.allowed:
            await asyncio.sleep(0.01)


class Demo(NamedTuple):
    url: str
    mcp: m.MCPServer
    pace: Pace

    def counts(self) -> dict[str, int]:
        """What the server says of its sessions, streams and calls."""
        with urllib.request.urlopen(self.url + "health", timeout=5) as reply:
            return json.loads(reply.read())


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
    pace.allowed = 5  # what still runs comes to its end
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
        page.on("console", lambda message: self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.requested.append(request.url))
        page.goto(demo.url)
        page.get_by_role("radio", name=NAMES[era], exact=True).check()

    def press(self, button: str) -> None:
        self.page.get_by_role("group", name="What to watch").get_by_role("button", name=button, exact=True).click()

    def play(self, button: str) -> None:
        self.press(button)
        self.wait_done()

    def wait_done(self) -> None:
        self.page.locator("#stories:not([disabled])").wait_for()

    def wait_line(self, text: str) -> None:
        self.page.locator("#log code", has_text=text).first.wait_for()

    def choose(self, answer: str) -> None:
        """Answer the form."""
        self.page.locator("#ask").get_by_role("button", name=answer, exact=True).click()

    @property
    def story(self) -> str:
        return self.page.locator("#story").inner_text()

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Who speaks, in which exchange, what, why, and the value."""
        return self.page.locator("#log li").evaluate_all(
            "all => all.map((row) => [row.className, ...[...row.querySelectorAll('b, data, small, span')]"
            ".map((part) => part.textContent)])"
        )

    def lines(self, where: str = "") -> list[str]:
        """'client POST 1: initialize #1' and so on, of one exchange or of all."""
        return [
            f"{side} {place}: {what} {value}".rstrip()
            for side, place, what, _, value in self.rows()
            if not side.startswith("note") and where in ("", place)
        ]

    def whys(self, where: str = "") -> list[str]:
        return [why for _, place, _, why, _ in self.rows() if where in ("", place)]

    def where(self, text: str) -> str:
        """The exchange that brought a line: 'POST 5'."""
        (line,) = [line for line in self.lines() if text in line][-1:]
        return re.search(r"(POST|GET|DELETE) \d+", line)[0]

    def notes(self) -> list[str]:
        return [place for side, place, *_ in self.rows() if side.startswith("note")]

    def client(self) -> list[str]:
        return [line.split(": ", 1)[1] for line in self.lines() if re.match("client [A-Z]", line)]

    def check(self, *expected: str) -> None:
        """That the browser complained of nothing else, and the page spoke to its own server only."""
        assert self.errors == list(expected)
        assert {url for url in self.requested if not url.startswith(self.demo.url)} == set()


@pytest.fixture(params=ERAS)
def tab(request, chromium, start_demo) -> Iterator[Tab]:
    tab = Tab(chromium, start_demo(), request.param)
    yield tab
    tab.page.context.close()


REFUSED = "Failed to load resource: the server responded with a status of "
ANSWER = "the answer is a stream: messages may come before the result"


def test_page_says_where_to_begin_and_names_both_revisions(chromium, start_demo):
    tab = Tab(chromium, start_demo())
    assert "Begin with Connect" in tab.story
    empty = tab.page.locator("#log ol").evaluate("list => getComputedStyle(list, '::before').content")
    assert empty == '"Begin with Connect."'
    labels = tab.page.get_by_role("group", name="Revision").locator("label").all_inner_texts()
    assert [label.strip() for label in labels] == list(NAMES.values())
    assert tab.page.locator("#stories button").all_inner_texts() == STORIES
    left = [tab.page.locator(each).bounding_box()["x"] for each in ("h1", "#stories button >> nth=0", "h2 span >> nth=0")]
    assert len(set(left)) == 1
    tab.check()


def test_connect_shows_the_handshake_or_that_there_is_none(tab):
    tab.play("Connect")
    if tab.era == SESSIONS:
        assert tab.client() == ["initialize #1", "notifications/initialized", "a stream", "resources/list #2"]
        assert tab.whys("GET 3")[0] == "for messages that belong to no call"
        assert tab.whys("POST 2") == ["", "202 Accepted"]
        tab.wait_line("an empty event, whose id says where to resume")
        assert tab.whys("GET 3")[1] == "the stream is open" and re.fullmatch(r"id \.\.\w{4}-\d", tab.whys("GET 3")[2])
    else:
        assert tab.client() == ["server/discover #1", "subscriptions/listen #2", "resources/list #3"]
        tab.wait_line("notifications/subscriptions/acknowledged")
        assert tab.whys("POST 2")[1] == ANSWER
    assert tab.whys("POST 1")[1] == "200 OK, one JSON body"
    assert tab.page.locator("#log li").last.locator(".open").count() == 1  # the lane of the stream that stays open
    tab.check()


def test_row_unfolds_to_the_text_on_the_wire_and_then_says_nothing_twice(tab):
    tab.play("Connect")
    tab.page.locator("summary", has_text="resources/list").click()
    text = tab.page.locator("details[open] pre").inner_text()
    assert text.startswith("POST /mcp\n") and f"MCP-Protocol-Version: {tab.era}\n" in text
    assert ("Mcp-Session-Id: " in text) == (tab.era == SESSIONS)
    assert ("Mcp-Method: resources/list\n" in text) == (tab.era == STATELESS)
    assert '"method": "resources/list"' in text
    row = tab.page.locator(".server details", has_text="plan.md").last
    assert "plan.md" in row.locator("summary").inner_text()
    row.locator("summary").click()
    assert "plan.md" not in row.locator("summary").inner_text()
    assert row.locator("pre").inner_text().startswith("200 OK\n") and '"name": "plan.md"' in row.inner_text()
    tab.check()


def test_two_tools_have_a_stream_each_and_one_is_cancelled(tab):
    """With a session by a notification; without one by closing its stream."""
    tab.play("Connect")
    tab.demo.pace.allowed = 2
    tab.press("Two tools, one cancelled")
    apples, pears = "long_running_operation apples", "long_running_operation pears"
    tab.wait_line("the stream ends" if tab.era == SESSIONS else "closes the connection")
    tab.demo.pace.allowed = 5
    tab.wait_done()
    lines = tab.lines(tab.where(apples))
    assert [re.search(r"\d/5", line)[0] for line in lines if "notifications/progress" in line] == [f"{n}/5" for n in range(1, 6)]
    assert re.search(r": result #\d Completed processing apples$", lines[-2]) and lines[-1].endswith(": the stream ends")
    place = tab.where(pears)
    if tab.era == SESSIONS:
        assert tab.whys(tab.where("notifications/cancelled")) == ["", "202 Accepted"]
        assert tab.lines(place)[-1] == f"server {place}: the stream ends"
    else:
        assert tab.lines(place)[-1] == f"client {place}: closes the connection"
    assert ANSWER in tab.whys(place)
    assert not any("Completed processing pears" in line for line in tab.lines())
    assert tab.page.locator("#log li:has(.dot)", has_text=f"{place}notifications/progress").count() == 2
    tab.check()


def test_tool_asks_by_a_form_and_the_rows_say_which_answer_goes_where(tab):
    """Each era takes the answers its own way. The page has no model, and says so."""
    tab.press("A tool that asks")
    tab.page.locator("#ask").wait_for()
    assert tab.page.locator("#question").inner_text() == "What domain is plan.md from?"
    buttons = tab.page.locator("#ask button").all_inner_texts()
    assert buttons == ["Finance", "Healthcare", "E-commerce", "Other", "Decline"]
    tab.page.keyboard.press("Enter")  # nobody has chosen: that answers nothing
    assert tab.page.locator("#ask").is_visible()
    tab.choose("Healthcare")
    tab.wait_done()
    assert tab.where("Domain: Healthcare.\nSummary: No model.")
    assert not tab.page.locator("#ask").is_visible()
    said = [re.sub(r"#\d+", "#n", line) for line in tab.client()][-3:]
    if tab.era == SESSIONS:
        assert said[0] == "tools/call #n intelligent_analysis plan.md"
        questions = [re.search(r"#\d+", line)[0] for line in tab.lines() if re.search("elicitation/|sampling/", line)]
        answers = [line for line in tab.client() if line.startswith("answer")]
        assert answers == [f"answer to question {questions[0]} accept", f"answer to question {questions[1]} No model."]
    else:
        again = "tools/call #n with the answer and requestState"
        assert said == ["tools/call #n intelligent_analysis plan.md", again, again]
        assert len([line for line in tab.lines() if line.endswith(": input is required")]) == 2
    tab.check()


def test_user_may_decline(tab):
    tab.press("A tool that asks")
    tab.choose("Decline")
    tab.wait_done()
    assert tab.where("Domain: not given.")
    tab.check()


def test_tool_that_fails_looks_failed(chromium, start_demo, documents):
    demo = start_demo()
    tab = Tab(chromium, demo)
    tab.play("Connect")
    (documents / "plan.md").unlink()
    tab.play("A tool that asks")
    (row,) = [row for row in tab.rows() if "the tool failed" in row[2]]
    assert row[0] == "server error" and row[4] == "there is no document 'plan.md'"
    colours = tab.page.locator("#log code").evaluate_all("all => all.map((each) => getComputedStyle(each).color)")
    assert colours.count(colours[[code[2] for code in tab.rows()].index(row[2])]) == 1
    tab.check()


def test_broken_stream_is_resumed_without_loss_or_is_a_cancelled_call(tab):
    tab.play("Connect")
    pace = tab.demo.pace
    pace.allowed = 2
    tab.press("Break and resume")
    tab.wait_line("closes the connection")
    if tab.era == SESSIONS:
        pace.allowed = 5  # nobody reads these: they are replayed
        tab.wait_done()
        place = tab.where("Last-Event-ID")
        said = [line.split(": ", 1)[1] for line in tab.lines(place)]
        progress = [f"notifications/progress {n}/5 Processing batch {n}/5..." for n in (3, 4, 5)]
        first, status, empty, *rest, result, end = said
        assert (first, status, empty) == ("Last-Event-ID", "200 OK", "an empty event, whose id says where to resume")
        assert rest == progress and result.endswith("Completed processing a text") and end == "the stream ends"
        ids = tab.whys(tab.where("long_running")) + tab.whys(place)[3:]
        numbers = [int(why.rsplit("-", 1)[1]) for why in ids if why.startswith("id ")]
        assert numbers == list(range(numbers[0], numbers[0] + 7))  # none is missing, and none came twice
    else:
        tab.wait_done()
        assert tab.lines(tab.where("tools/call"))[-1].endswith("closes the connection")
        eventually(lambda: tab.demo.counts()["calls"] == 1)  # subscriptions/listen is a call, too
    tab.check()


def test_end_closes_what_is_open(tab):
    tab.play("Connect")
    tab.play("End the session")
    if tab.era == SESSIONS:
        assert tab.lines("DELETE 5")[0] == "client DELETE 5: ends the session"
        assert tab.demo.counts()["sessions"] == 0
        tab.wait_line("the stream ends")
    else:
        assert "there is no session to end" in tab.story
        tab.wait_line("closes the connection")
    tab.page.locator("#log li").last.locator(".open:not(.end)").wait_for(state="detached")
    tab.check()


def test_session_that_the_server_has_forgotten_is_told_and_connect_opens_another_one(chromium, start_demo):
    tab = Tab(chromium, start_demo())
    tab.play("Connect")
    written = tab.page.locator("#log pre", has_text="Mcp-Session-Id").first.text_content()
    headers = {"Mcp-Session-Id": re.search(r"(?i)Mcp-Session-Id: (\S+)", written)[1]}
    urllib.request.urlopen(urllib.request.Request(tab.demo.url + "mcp", method="DELETE", headers=headers), timeout=5)
    tab.wait_line("the stream ends")
    tab.play("A tool that asks")
    assert any(side == "server error" and why.startswith("404 Not Found") for side, _, _, why, _ in tab.rows())
    tab.play("Connect")
    assert tab.demo.counts()["sessions"] == 1
    tab.check(*[REFUSED + "404 (Not Found)"] * 2)


def test_switch_ends_the_session_and_the_same_buttons_speak_the_other_revision(chromium, start_demo):
    tab = Tab(chromium, start_demo())
    tab.play("Connect")
    tab.page.get_by_role("radio", name=NAMES[STATELESS]).check()
    tab.page.get_by_text(f"Now the page speaks {STATELESS}.").wait_for()
    assert tab.demo.counts()["sessions"] == 0
    tab.play("Connect")
    assert tab.where("server/discover")
    tab.check()


def test_session_ends_when_the_reader_leaves(chromium, start_demo):
    """The page sends DELETE on its way out."""
    tab = Tab(chromium, start_demo())
    tab.play("Connect")
    assert tab.demo.counts()["sessions"] == 1
    tab.page.goto("about:blank")
    eventually(lambda: tab.demo.counts()["sessions"] == 0)


def test_what_the_server_says_is_never_taken_for_html(chromium, start_demo, documents):
    """[demo.page-text] A document's name and text come in the list, in the form, in the result and in a prompt."""
    (documents / "plan.md").unlink()
    (documents / HOSTILE).write_text("<script>alert(2)</script><b>Bold.</b> " * 3)
    tab = Tab(chromium, start_demo())
    tab.press("A tool that asks")
    tab.page.locator("#ask").wait_for()
    assert HOSTILE in tab.page.locator("#question").inner_text()
    tab.choose("Other")
    tab.wait_done()
    assert tab.where(f"{HOSTILE}: ") and any(HOSTILE in line for line in tab.client())
    tab.page.locator("summary", has_text="sampling/").last.click()
    assert "<script>alert(2)</script>" in tab.page.locator("details[open] pre").inner_text()
    assert tab.page.locator("img, b b, main script, pre *").count() == 0
    tab.check()


def test_policy_stops_html_from_a_string(chromium, start_demo):
    """[demo.page-text] [demo.page-policy] Even a page with a fault could not."""
    tab = Tab(chromium, start_demo())
    with pytest.raises(Exception, match="TrustedHTML"):
        tab.page.evaluate("document.body.innerHTML = '<b>bold</b>'")


def test_page_asks_for_a_token_where_one_is_wanted_and_keeps_it_to_itself(chromium, start_demo):
    tab = Tab(chromium, start_demo(auth="secret"))
    assert not tab.page.get_by_label("Token").is_visible()
    tab.play("Connect")
    assert tab.where("error") and "a token is needed" in tab.notes()[-1]
    tab.page.get_by_label("Token").fill("secret")
    tab.page.get_by_label("Token").press("Enter")
    tab.wait_line("resources/list")
    tab.wait_done()
    assert not tab.page.get_by_label("Token").is_visible()
    written = tab.page.locator("main").text_content()
    assert "Authorization: ...\n" in written and "secret" not in written
    tab.check(REFUSED + "401 (Unauthorized)")


def test_server_that_is_gone_is_told_where_it_was_called(chromium, start_demo):
    tab = Tab(chromium, start_demo())
    tab.play("Connect")
    tab.demo.mcp.stop()
    tab.wait_line("the stream ends")
    tab.play("A tool that asks")
    assert tab.lines()[-1].endswith(": the connection is broken")
    assert tab.notes()[-1] == "Failed to fetch"


def test_press_scrolls_to_its_first_row_and_a_reader_who_scrolled_up_is_left_alone(chromium, start_demo):
    tab = Tab(chromium, start_demo(), viewport={"width": 1000, "height": 500})
    tab.demo.pace.allowed = 5
    tab.play("Two tools, one cancelled")
    log = tab.page.locator("#log")
    assert log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight") < 5  # the newest is in view
    log.evaluate("log => log.scrollTop = 0")
    tab.demo.pace.allowed = 0
    tab.press("Break and resume")
    box = tab.page.locator("#log li", has_text="Break and resume").bounding_box()
    assert 150 < box["y"] and box["y"] + box["height"] <= 500
    log.evaluate("log => log.scrollTop = 0")
    tab.demo.pace.allowed = 5
    tab.wait_done()
    assert log.evaluate("log => log.scrollTop") == 0
    tab.check()


def test_all_works_from_the_keyboard(chromium, start_demo):
    tab = Tab(chromium, start_demo())
    keys = tab.page.keyboard
    tab.page.get_by_role("radio", name=NAMES[SESSIONS]).focus()
    keys.press("Tab")
    keys.press("Enter")  # Connect
    tab.wait_line("resources/list")
    tab.wait_done()
    tab.page.get_by_role("button", name="A tool that asks").focus()
    keys.press("Space")
    tab.page.locator("#question:focus").wait_for()
    keys.press("Tab")
    keys.press("Tab")
    keys.press("Enter")
    tab.wait_done()
    assert tab.where("Domain: Healthcare")
    tab.page.locator("#log").focus()
    keys.press("Tab")
    keys.press("Enter")  # the first row unfolds
    assert tab.page.locator("details[open]").count() == 1


CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => colour.map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, index) => sum + v * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    const colour = parse(element ? getComputedStyle(element).backgroundColor : canvas);
    return colour[3] === 0 ? ground(element.parentElement) : colour.slice(0, 3);
  };
  document.body.style.color = "Canvas";
  const canvas = getComputedStyle(document.body).color;
  document.body.style.color = "";
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility() || element.matches(":disabled, fieldset:disabled *")) continue;
    const {color, opacity} = getComputedStyle(element), behind = ground(element);
    const mixed = parse(color).slice(0, 3).map((v, index) => v * opacity + behind[index] * (1 - opacity));
    const [a, b] = [light(mixed), light(behind)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${element.tagName} ${element.textContent.slice(0, 40)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_page_fits_and_can_be_read_in_light_and_dark(chromium, start_demo, scheme, width, era):
    """Contrast is 4.5 to 1 or more, nothing sticks out, the form and the newest row are in view."""
    tab = Tab(chromium, start_demo(), era, color_scheme=scheme, viewport={"width": width, "height": 844})
    assert tab.page.evaluate(CONTRAST) == []
    tab.press("A tool that asks")
    tab.page.locator("#ask").wait_for()
    assert tab.page.evaluate(CONTRAST) == []
    question, form = tab.page.locator("#log li").last.bounding_box(), tab.page.locator("#ask").bounding_box()
    assert question["y"] + question["height"] <= form["y"] + 1 and form["y"] + form["height"] <= 844
    tab.choose("Decline")
    tab.wait_done()
    tab.play("End the session")
    box = tab.page.locator("#log li").last.bounding_box()
    assert box["y"] + box["height"] <= 845 and box["x"] + box["width"] <= width
    tab.page.locator("summary").first.click()
    assert tab.page.evaluate(CONTRAST) == []
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    for label in tab.page.locator("#eras label").all():
        assert label.is_visible() and label.inner_text().strip() in NAMES.values()
    tab.check()
