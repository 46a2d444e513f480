"""Headless Chromium, by its DevTools protocol: a page, what is in it, and what is done to it."""

from __future__ import annotations

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
    from pathlib import Path
    from typing import Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 30.0


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

    def __enter__(self) -> Self:
        self._socket = self._connection.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.__exit__(None, None, None)
        self._process.kill()
        with self._process:
            pass

    def open(self, url: str) -> Page:
        """Open a page in a window of its own."""
        target = self.ask("Target.createTarget", {"url": url})["targetId"]
        attached = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})
        return Page(self, attached["sessionId"])

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


class Page:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def run(self, script: str) -> Any:
        """Return the value of an expression, awaited if it is a promise."""
        params = {"expression": script, "awaitPromise": True, "returnByValue": True}
        result = self._browser.ask("Runtime.evaluate", params, self._session)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script: str, wanted: object) -> None:
        """Wait until an expression has a value."""
        deadline = time.monotonic() + SECONDS
        while (value := self.run(script)) != wanted:
            assert time.monotonic() < deadline, value
            time.sleep(0.05)
