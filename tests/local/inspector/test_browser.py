"""The page in a real browser."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from tests.local.inspector.test_dev import APP, Browser
from tests.local.running import Dev

playwright = pytest.importorskip("playwright.sync_api")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

PLAIN = """
def handler(event, context):
    return {"statusCode": 200}
"""
NASTY = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # Chromium wants that of root.
        sandbox = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    (tmp_path / "main.py").write_text(APP)
    with Dev(tmp_path, "main:app") as dev:
        dev.ready()
        yield dev


class Shown:
    """A page that is open; whatever the browser complains of fails the test."""

    def __init__(self, chromium: Any, dev: Dev, **context: Any) -> None:
        self.context = chromium.new_context(
            permissions=["clipboard-read", "clipboard-write"],
            **{"viewport": {"width": 1400, "height": 800}, **context},
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", self._noted)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(dev.url.replace("ws:", "http:"))
        self.page.wait_for_selector("#live.on")

    def _noted(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def wait(self, expression: str) -> None:
        # Not `wait_for_function`: the page's policy forbids to evaluate a text in it.
        until = time.monotonic() + 20
        while not self.page.evaluate(expression):
            assert time.monotonic() < until, expression
            self.page.wait_for_timeout(20)

    def rows(self) -> int:
        return int(self.page.evaluate("state.shown.length"))

    def copied(self) -> str:
        return str(self.page.evaluate("navigator.clipboard.readText()"))

    def close(self) -> None:
        assert self.complaints == []
        assert self.page.evaluate("window.hit") is None
        overflow = "document.documentElement.scrollWidth > innerWidth"
        assert self.page.evaluate(overflow) is False
        self.context.close()


@pytest.fixture
def shown(chromium: Any, dev: Dev) -> Iterator[Shown]:
    shown = Shown(chromium, dev)
    yield shown
    shown.close()


def test_the_empty_page_says_how_to_connect(shown: Shown, dev: Dev) -> None:
    assert "Waiting for the first client" in shown.text("#empty")
    assert f"wscat -c '{dev.url}/'" in shown.text("#empty")
    shown.page.click("#empty .command button")
    shown.wait("document.getElementById('toast').textContent.startsWith('Copied')")
    assert shown.copied().startswith("wscat -c 'ws://127.0.0.1:")


def test_a_client_of_the_page(shown: Shown) -> None:
    """It connects, sends, gets its answer; and none of it is markup."""
    page = shown.page
    page.keyboard.press("c")
    page.fill("#c-path", "/")
    page.fill("#c-query", "name=ann&token=sesame")
    page.fill("#c-headers", "Cookie: session=abc")
    page.keyboard.press("Tab")
    page.click("#c-go")
    page.wait_for_selector("#message")
    page.fill("#message", NASTY)
    page.keyboard.press("Control+Enter")
    shown.wait("state.shown.length == 2 && state.shown[1].reply")
    assert NASTY in shown.text(".event:nth-child(2)")
    page.wait_for_selector(".said:not(.out):has-text('script')")
    assert NASTY in shown.text(".chat")
    page.click(".event:nth-child(2)")
    page.wait_for_selector("#replay")
    assert NASTY in shown.text("#detail-body pre")
    page.click("summary")
    assert "requestContext" in shown.text("details pre")
    page.keyboard.press("r")
    shown.wait("state.shown.length == 3 && state.shown[2].replay == 2")


def test_secrets_are_behind_a_click(shown: Shown, dev: Dev) -> None:
    page = shown.page
    headers = {"Authorization": "Bearer opensesame", "Cookie": "session=abc"}
    with connect(f"{dev.url}/?token=sesame", additional_headers=headers):
        page.click(".event")
        page.click("summary")
        page.wait_for_selector("details[open] pre")
        seen = shown.text("body")
        for secret in ("opensesame", "session=abc", "token=sesame", '"sesame"'):
            assert secret not in seen
        page.click("[data-copy=wscat]")
        shown.wait("document.getElementById('toast').textContent.startsWith('Copied')")
        assert "opensesame" not in shown.copied()
        page.click(".secret >> nth=0")
        page.wait_for_selector("details pre:has-text('opensesame')")
        assert "session=abc" in shown.text("body")


def test_what_a_client_of_another_program_does(shown: Shown, dev: Dev) -> None:
    """Live; the page closes it, and it sees that."""
    page = shown.page
    with connect(dev.url) as ws:
        page.wait_for_selector(".peer")
        ws.send("crash")
        page.wait_for_selector(".event.bad")
        page.click(".event.bad")
        page.wait_for_selector("pre.trace")
        assert "KeyError: 'crash'" in shown.text("pre.trace")
        page.wait_for_selector(".peer.over")
    with connect(dev.url) as ws:
        page.click(".peer:not(.over)")
        page.fill("#message", "from the page")
        page.click("text=Post to client")
        assert ws.recv(10) == "from the page"
        page.click("text=Send twice")
        assert [str(ws.recv(10)).split(" ", 1)[1] for _ in range(2)] == ["from the page"] * 2
        page.wait_for_selector(".tag.group:has-text('blue')")
        page.click("button:text-is('Go idle')")
        with pytest.raises(Exception, match="1001"):
            ws.recv(10)
        page.wait_for_selector(".detail .tag.closed")


@pytest.mark.timeout(180)
def test_five_hundred_events(chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    with Dev(tmp_path, "plain:handler") as dev:
        dev.ready()
        shown = Shown(chromium, dev)
        _look_through(shown, Browser(dev.url))
        shown.close()


def _look_through(shown: Shown, browser: Browser) -> None:
    """Filter, pause, follow, and the keyboard; only what is seen is drawn."""
    page = shown.page
    one = browser.do(do="connect")["connection"]
    other = browser.do(do="connect")["connection"]
    for number in range(5):
        browser.do(do="send", connection=one, text=f"apple {number}", times=50)
        browser.do(do="send", connection=other, text=f"pear {number} " + "x" * 3000, times=49)
    shown.wait("state.shown.length >= 497")
    assert page.locator(".event").count() < 60
    shown.wait("$('events').scrollTop + $('events').clientHeight >= $('events').scrollHeight - 1")
    page.keyboard.press("/")
    page.keyboard.type("pear 3")
    shown.wait("state.shown.length == 49")
    page.keyboard.type("no such pear")
    page.click("[data-kind=DISCONNECT]")
    page.click("#show-all")
    shown.wait("state.shown.length >= 497")
    assert page.is_hidden("#none")
    assert page.get_attribute("[data-kind=DISCONNECT]", "aria-pressed") == "true"
    page.click("[data-kind=MESSAGE]")
    shown.wait("state.shown.length == 2")
    page.click("[data-kind=MESSAGE]")
    page.keyboard.press("p")
    browser.do(do="send", connection=one, text="late")
    page.wait_for_selector("#more:has-text('1 new')")
    page.click("#more")
    shown.wait("state.shown.at(-1).text == 'late'")
    page.keyboard.press("G")
    page.wait_for_selector(".event.selected:has-text('late')")
    page.keyboard.press("k")
    shown.wait("state.selected == state.shown.at(-2).n")
    page.keyboard.press("g")
    page.wait_for_selector(".event.selected:has-text('CONNECT')")
    assert page.evaluate("state.follow") is False
    page.keyboard.press("f")
    browser.do(do="send", connection=one, text="later")
    page.wait_for_selector(".event:has-text('later')")
    page.keyboard.press("Escape")
    assert page.locator("#main.closed").count() == 1
    page.click("#clear")
    page.wait_for_selector("#empty .command")


@pytest.mark.parametrize("width", [360, 700, 1000])
def test_a_narrow_window(chromium: Any, dev: Dev, width: int) -> None:
    """Nothing is wider than it, neither in the list nor in the details."""
    browser = Browser(dev.url)
    one = browser.do(do="connect")["connection"]
    browser.do(do="send", connection=one, text="x" * 5000)
    shown = Shown(chromium, dev, viewport={"width": width, "height": 640}, color_scheme="dark")
    shown.page.click(".event >> nth=1")
    shown.page.wait_for_selector("#replay")
    assert shown.page.evaluate(
        "[...document.querySelectorAll('#detail-body *')]"
        ".every(node => node.getBoundingClientRect().right <= innerWidth + 1)"
    )
    shown.close()


def test_a_gateway_that_starts_again(chromium: Any, tmp_path: Path) -> None:
    """The page finds it, and begins anew."""
    (tmp_path / "main.py").write_text(APP)
    with Dev(tmp_path, "main:app") as dev:
        dev.ready()
        shown = Shown(chromium, dev)
        port = dev.url.rpartition(":")[2]
        Browser(dev.url).do(do="connect")
        shown.wait("state.shown.length == 1")
    shown.page.wait_for_selector("#live.off")
    with Dev(tmp_path, "main:app", "--port", port) as dev:
        dev.ready()
        shown.page.wait_for_selector("#live.on")
        shown.wait("state.shown.length == 0")
    shown.context.close()
