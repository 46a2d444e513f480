"""Headless Chromium, by its DevTools protocol: a page, what is in it, and what is done to it."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 30.0
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}
# The first element of a selector that has a text and is visible.
SEEN = """((selector, text) => [...document.querySelectorAll(selector)].find(node => {
    const {width, height} = node.getBoundingClientRect();
    return width && height && node.checkVisibility({visibilityProperty: true})
        && node.textContent.includes(text);
}) ?? null)"""
# Where a mouse meets it: it stands still, and nothing lies over its centre.
PLACE = """(async (selector, text) => {
    const place = () => {
        const node = SEEN(selector, text);
        if (!node || node.disabled) return null;
        node.scrollIntoView({block: "nearest", inline: "nearest", behavior: "instant"});
        const {left, top, width, height} = node.getBoundingClientRect();
        const [x, y] = [left + width / 2, top + height / 2];
        return node.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
    };
    const before = place();
    await new Promise(done => setTimeout(done, 50));
    const after = place();
    return String(before) === String(after) ? after : null;
})""".replace("SEEN", SEEN)
FOCUSED = """((selector, text) => {
    const node = SEEN(selector, text);
    if (node) { node.focus(); node.select(); }
    return node !== null && node === document.activeElement;
})""".replace("SEEN", SEEN)


def executable() -> str:
    """Return the browser of this machine; a test that needs one is skipped where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {' or '.join(NAMES[:2])} on this machine")
    return found


class Browser:
    """A running browser; it ends with its context."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [
                executable(),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--log-level=3",  # nobody reads on
                "--remote-debugging-port=0",
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                break
        else:
            pytest.fail("the browser has ended")
        self._connection = connect(found[1], max_size=None, open_timeout=SECONDS)
        self._numbers = itertools.count(1)
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._socket = self._connection.__enter__()
        clipboard = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        self.ask("Browser.grantPermissions", {"permissions": clipboard})
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.__exit__(None, None, None)
        self._process.kill()
        with self._process:
            pass

    def open(self, url: str, *, size: tuple[int, int] = (1400, 800), dark: bool = False) -> Page:
        """Open a page in a window of its own, which believes that it has the focus."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, target, attached["sessionId"])
        page.ask("Runtime.enable")
        page.ask("Log.enable")
        page.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme])
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        page.ask("Emulation.setDeviceMetricsOverride", **metrics)
        page.ask("Page.navigate", url=url)
        return page

    def ask(self, method: str, params: dict[str, Any], session: str | None = None) -> Any:
        """Return the result of a command."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params}
        self._socket.send(json.dumps(command | ({} if session is None else {"sessionId": session})))
        while True:
            answer = json.loads(self._socket.recv(SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self._events.append(answer)

    def events(self, session: str) -> list[dict[str, Any]]:
        """Return what has happened in a page."""
        return [event for event in self._events if event.get("sessionId") == session]


class Page:
    """One page."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def ask(self, method: str, **params: Any) -> Any:
        """Return the result of a command to this page."""
        return self._browser.ask(method, params, self._session)

    def close(self) -> None:
        self._browser.ask("Target.closeTarget", {"targetId": self._target})

    def run(self, script: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""
        params = {"expression": script, "awaitPromise": True, "returnByValue": True}
        result = self.ask("Runtime.evaluate", **params)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script: str, wanted: object = True) -> None:
        """Wait until an expression has a value."""
        self._until(script, lambda value: value == wanted)

    def see(self, selector: str, text: str = "") -> None:
        """Wait until there is such an element to see."""
        self.wait_for(f"{_call(SEEN, selector, text)} !== null")

    def count(self, selector: str) -> int:
        return int(self.run(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def text(self, selector: str) -> str:
        """Wait for an element and return what one can read in it."""
        self.see(selector)
        return str(self.run(f"{_call(SEEN, selector, '')}.innerText"))

    def click(self, selector: str, text: str = "") -> None:
        """Click with the mouse on the middle of an element, as soon as one can."""
        self.hold(selector, text)
        self.release()

    def hold(self, selector: str, text: str = "") -> None:
        """Press the mouse there, as the first half of a click."""
        x, y = self._until(_call(PLACE, selector, text), bool)
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self._held = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.ask("Input.dispatchMouseEvent", type="mousePressed", **self._held)

    def release(self) -> None:
        self.ask("Input.dispatchMouseEvent", type="mouseReleased", **self._held)

    def fill(self, selector: str, text: str) -> None:
        """Put a text in the place of what is in a field."""
        self.wait_for(_call(FOCUSED, selector, ""))
        self.ask("Input.insertText", text=text)

    def press(self, key: str, *, control: bool = False) -> None:
        """Press and release a key: a character, or one of `KEYS`."""
        named = {"key": key, "windowsVirtualKeyCode": KEYS.get(key, 0), "modifiers": 2 * control}
        text = {} if control or key in KEYS else {"text": key}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **named)

    def type(self, text: str) -> None:
        for key in text:
            self.press(key)

    def copied(self) -> str:
        """Return what is in the clipboard."""
        return str(self.run("navigator.clipboard.readText()"))

    def screenshot(self) -> bytes:
        """Return what one sees, as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot")["data"])

    def complaints(self) -> list[str]:
        """Return the errors and warnings of scripts, of the network and of the page's policy."""
        found = map(_complaint, self._browser.events(self._session))
        return [text for text in found if text is not None]

    def _until(self, script: str, enough: Callable[[Any], bool]) -> Any:
        deadline = time.monotonic() + SECONDS
        while not enough(value := self.run(script)):
            assert time.monotonic() < deadline, (script, value)
            time.sleep(0.05)
        return value


def _call(function: str, *arguments: str) -> str:
    return f"{function}({', '.join(map(json.dumps, arguments))})"


def _complaint(event: dict[str, Any]) -> str | None:
    """Return what an event complains of, if it does."""
    match event["method"], event["params"]:
        case "Runtime.consoleAPICalled", {"type": "error" | "warning" | "assert", "args": said}:
            return " ".join(str(one.get("value", one.get("description"))) for one in said)
        case "Runtime.exceptionThrown", {"exceptionDetails": details}:
            return str(details.get("exception", {}).get("description", details["text"]))
        case "Log.entryAdded", {"entry": {"level": "error" | "warning", "text": text}}:
            return str(text)
    return None
