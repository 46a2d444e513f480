"""An app with a page, an API and sockets, in a real browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.browser import Browser
from tests.local.running import Dev

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

ROOT = __file__.rpartition("/tests/")[0]
LINES = "[...document.querySelectorAll('li')].map(line => line.textContent)"


@pytest.mark.parametrize(
    "options",
    [["--http-port", "0"], ["--one-port"], ["--http-port", "0", "--instances", "3"]],
    ids=["inline", "one port", "instances"],
)
def test_two_windows_chat_and_hear_what_is_posted(tmp_path: Path, options: list[str]) -> None:
    """The page comes by HTTP, opens its socket, and gets what the API sends to the group."""
    app = ("--app-dir", ROOT, "examples.webchat:app")
    with Dev(tmp_path, *app, *options) as dev, Browser(tmp_path / "profile") as browser:
        url, _ = dev.ready_for_http()
        ann, bob = browser.open(f"{url}/?name=ann"), browser.open("about:blank")
        ann.wait_for(LINES, ["ann joined"])
        bob.run(f"location.href = {json.dumps(url + '/?name=bob')}")
        bob.wait_for(LINES, ["bob joined"])
        ann.run(
            "document.querySelector('input').value = 'hi <b>'; "
            "document.querySelector('form').requestSubmit()"
        )
        bob.wait_for(LINES, ["bob joined", "ann: hi <b>"])
        answer = httpx.post(f"{url}/rooms/blue", json={"text": "dinner"}, timeout=30)
        assert (answer.status_code, answer.json()) == (200, {"delivered": 2})
        ann.wait_for(LINES, ["ann joined", "bob joined", "ann: hi <b>", "dinner"])
        bob.wait_for(LINES, ["bob joined", "ann: hi <b>", "dinner"])
        # A page of the app may call its own API, too.
        posted = (
            "fetch('/rooms/blue', {method: 'POST', headers: {'content-type': 'application/json'}, "
            "body: JSON.stringify({text: 'tea'})}).then(answer => answer.json())"
        )
        assert bob.run(posted) == {"delivered": 2}
        bob.wait_for(LINES, ["bob joined", "ann: hi <b>", "dinner", "tea"])
