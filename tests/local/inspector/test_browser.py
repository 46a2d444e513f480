"""The page in a real browser."""

from __future__ import annotations

import contextlib
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from tests.browser import Browser as Chromium
from tests.browser import Page
from tests.local.inspector.test_dev import APP, Browser
from tests.local.running import Dev
from tests.servers.process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

PLAIN = """
def handler(event, context):
    return {"statusCode": 200}
"""
COOKIES = """
def handler(event, context):
    return {"statusCode": 200, "cookies": ["session=new"]}
"""
NASTY = "<script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"
SHOWN = "state.shown.length"
COPIED = "$('toast').textContent.startsWith('Copied')"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    (tmp_path / "main.py").write_text(APP)
    with Dev(tmp_path, "main:app") as dev:
        dev.ready()
        yield dev


@contextlib.contextmanager
def opened(chromium: Chromium, dev: Dev, **how: Any) -> Iterator[Page]:
    with contextlib.closing(chromium.open(dev.url.replace("ws:", "http:"), **how)) as page:
        page.see("#live.on")
        yield page


@contextlib.contextmanager
def showing(chromium: Chromium, dev: Dev, **how: Any) -> Iterator[Page]:
    """A page that is open; whatever the browser complains of fails the test."""
    with opened(chromium, dev, **how) as page:
        yield page
        assert page.complaints() == []
        assert page.run("window.hit ?? null") is None
        assert page.run("document.documentElement.scrollWidth > innerWidth") is False


@pytest.fixture
def page(chromium: Chromium, dev: Dev) -> Iterator[Page]:
    with showing(chromium, dev) as page:
        yield page


def test_the_empty_page_says_how_to_connect(page: Page, dev: Dev) -> None:
    page.see("#empty", "Waiting for the first client")
    page.see("#empty", f"wscat -c '{dev.url}/'")
    page.click("#empty .command button")
    page.wait_for(COPIED)
    assert page.copied().startswith("wscat -c 'ws://127.0.0.1:")


def test_a_client_of_the_page(page: Page) -> None:
    """It connects, sends, gets its answer; and none of it is markup."""
    page.press("c")
    page.fill("#c-path", "/")
    page.fill("#c-query", "name=ann&token=sesame")
    page.fill("#c-headers", "Cookie: session=abc")
    page.press("Tab")
    page.click("#c-go")
    page.see("#message")
    page.fill("#message", NASTY)
    page.press("Enter", control=True)
    page.wait_for(f"{SHOWN} == 2 && !!state.shown[1].reply")
    page.see(".event:nth-child(2)", NASTY)
    page.see(".said:not(.out)", NASTY)
    page.click(".event:nth-child(2)")
    page.see("#replay")
    page.see("#detail-body pre", NASTY)
    page.click("summary")
    page.see("details pre", "requestContext")
    page.press("r")
    page.wait_for(f"{SHOWN} == 3 && state.shown[2].replay == 2")


def test_secrets_are_behind_a_click(page: Page, dev: Dev) -> None:
    headers = {"Authorization": "Bearer opensesame", "Cookie": "session=abc"}
    with connect(f"{dev.url}/?token=sesame", additional_headers=headers):
        page.click(".event")
        page.click("summary")
        page.see("details[open] pre")
        seen = page.text("body")
        for secret in ("opensesame", "session=abc", "token=sesame", '"sesame"'):
            assert secret not in seen
        page.click("[data-copy=wscat]")
        page.wait_for(COPIED)
        assert "opensesame" not in page.copied()
        page.click(".secret")
        page.see("details pre", "opensesame")
        page.see("details pre", "session=abc")


def test_what_a_client_of_another_program_does(page: Page, dev: Dev) -> None:
    """Live; the page closes it, and it sees that."""
    with connect(dev.url) as ws:
        page.see(".peer")
        ws.send("crash")
        page.see(".event.bad")
        page.click(".event.bad")
        page.see("pre.trace", "KeyError: 'crash'")
        page.see(".peer.over")
    with connect(dev.url) as ws:
        page.click(".peer:not(.over)")
        page.fill("#message", "from the page")
        page.click("button", "Post to client")
        assert ws.recv(30) == "from the page"
        page.click("button", "Send twice")
        assert [str(ws.recv(30)).split(" ", 1)[1] for _ in range(2)] == ["from the page"] * 2
        page.see(".tag.group", "blue")
        page.click("button", "Go idle")
        with pytest.raises(Exception, match="1001"):
            ws.recv(30)
        page.see(".detail .tag.closed")


def test_a_slow_click(page: Page, dev: Dev) -> None:
    """What is pressed is not drawn anew before it is let go."""
    Browser(dev.url).do(do="connect")
    clicks = [(".event", "", "#replay"), (".peer", "", "#message")]
    for selector, text, follows in [*clicks, (".detail .actions button", "Close", ".tag.closed")]:
        page.hold(selector, text)
        page.run("Promise.all([draw(), drawPeers(), state.peer && loadPeer(state.peer)])")
        page.release()
        page.see(follows)


@pytest.mark.timeout(180)
def test_five_hundred_events(chromium: Chromium, tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    with Dev(tmp_path, "plain:handler") as dev:
        dev.ready()
        with showing(chromium, dev) as page:
            _look_through(page, Browser(dev.url))


def _look_through(page: Page, browser: Browser) -> None:
    """Filter, pause, follow, and the keyboard; only what is seen is drawn."""
    one = browser.do(do="connect")["connection"]
    other = browser.do(do="connect")["connection"]
    for number in range(5):
        browser.do(do="send", connection=one, text=f"apple {number}", times=50)
        browser.do(do="send", connection=other, text=f"pear {number} " + "x" * 3000, times=49)
    page.wait_for(f"{SHOWN} >= 497")
    assert page.count(".event") < 60
    page.wait_for(
        "$('events').scrollTop + $('events').clientHeight >= $('events').scrollHeight - 1"
    )
    page.press("/")
    page.type("pear 3")
    page.wait_for(SHOWN, 49)
    page.type("no such pear")
    page.wait_for("$('none').hidden", False)
    page.click("[data-kind=DISCONNECT]")
    page.click("#show-all")
    page.wait_for(f"{SHOWN} >= 497")
    page.wait_for("$('none').hidden")
    page.see("[data-kind=DISCONNECT][aria-pressed=true]")
    page.click("[data-kind=MESSAGE]")
    page.wait_for(SHOWN, 2)
    page.click("[data-kind=MESSAGE]")
    page.press("p")
    browser.do(do="send", connection=one, text="late")
    page.see("#more", "1 new")
    page.click("#more")
    page.wait_for("state.shown.at(-1).text", "late")
    page.press("G")
    page.see(".event.selected", "late")
    page.press("k")
    page.wait_for("state.selected == state.shown.at(-2).n")
    page.press("g")
    page.see(".event.selected", "CONNECT")
    assert page.run("state.follow") is False
    page.press("f")
    browser.do(do="send", connection=one, text="later")
    page.see(".event", "later")
    page.press("Escape")
    page.see("#main.closed")
    page.click("#clear")
    page.see("#empty .command")


@pytest.mark.parametrize("width", [360, 700, 1000])
def test_a_narrow_window(chromium: Chromium, dev: Dev, width: int) -> None:
    """Nothing is wider than it, neither in the list nor in the details."""
    browser = Browser(dev.url)
    one = browser.do(do="connect")["connection"]
    browser.do(do="send", connection=one, text="x" * 5000)
    with showing(chromium, dev, size=(width, 640), dark=True) as page:
        page.see(".peer .tag.group")  # here the list is below it, and moves down for it
        page.click(".event:nth-child(2)")
        page.see("#replay")
        assert page.run(
            "[...document.querySelectorAll('#detail-body *')]"
            ".every(node => node.getBoundingClientRect().right <= innerWidth + 1)"
        )


def test_a_gateway_that_starts_again(chromium: Chromium, tmp_path: Path) -> None:
    """The page finds it, and begins anew."""
    (tmp_path / "main.py").write_text(APP)
    port = str(free_port())
    with contextlib.ExitStack() as stack:
        with Dev(tmp_path, "main:app", "--port", port) as dev:
            dev.ready()
            page = stack.enter_context(opened(chromium, dev))
            Browser(dev.url).do(do="connect")
            page.wait_for(SHOWN, 1)
        page.see("#live.off")
        with Dev(tmp_path, "main:app", "--port", port) as dev:
            dev.ready()
            page.see("#live.on")
            page.wait_for(SHOWN, 0)


def test_cookies_of_http_are_secrets_too(chromium: Chromium, tmp_path: Path) -> None:
    """They have places of their own in its events and answers."""
    (tmp_path / "main.py").write_text(COOKIES)
    with Dev(tmp_path, "main:handler", "--http-port", "0") as dev:
        url, _ = dev.ready_for_http()
        with showing(chromium, dev) as page:
            request = urllib.request.Request(url, headers={"Cookie": "session=abc"})
            urllib.request.urlopen(request, timeout=30).close()
            page.click(".event")
            page.click("summary")
            page.see("details[open] pre")
            for secret in ("session=abc", "session=new"):
                assert secret not in page.text("body")
            page.click(".secret")
            for secret in ("session=abc", "session=new"):
                page.wait_for(f"document.body.innerText.includes('{secret}')")
