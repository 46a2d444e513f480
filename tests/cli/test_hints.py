"""`longwire dev` tells an app's author in time what the next event will not know."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.local.running import Dev

if TYPE_CHECKING:
    from pathlib import Path

COUNTER = """
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    messages = []
    while (message := await receive())["type"] == "websocket.receive":
        messages.append(message["text"])
        await send({"type": "websocket.send", "text": str(len(messages))})
"""

HANDLER = """
from longwire import Longwire
from counter import app

handler = Longwire(app, dsn="sqlite:///hints.sqlite3")

def function(event, context):
    return handler(event, context)
"""

HINT = (
    "counter.py:8: 'messages' changed while a message was handled and will be forgotten: keep it "
    "in ws.state (docs/state.md)"
)


@pytest.mark.parametrize("target", ["counter:app", "function:handler", "function:function"])
@pytest.mark.parametrize("arguments", [[], ["--instances", "1"]], ids=["here", "instances"])
def test_the_terminal_tells_it_once(tmp_path: Path, target: str, arguments: list[str]) -> None:
    """Whatever is run, and in this process or in those of `--instances`."""
    (tmp_path / "counter.py").write_text(COUNTER)
    (tmp_path / "function.py").write_text(HANDLER)
    with Dev(tmp_path, target, *arguments) as dev:
        with connect(dev.ready()[1]) as client:
            for _ in range(3):
                client.send("hello")
                assert client.recv(20) == "1"
        _, out, err = dev.stop(signal.SIGTERM)
    assert (out + err).count(HINT) == 1


CLOSING = """
from fastapi import FastAPI, WebSocket

app = FastAPI()

@app.websocket("/")
async def talk(ws: WebSocket, n: int):
    if n == 1:
        return await ws.close(4003, "not you")
    await ws.accept()
    if n == 2:
        await ws.close()
    await ws.receive_text()
    await ws.close(4001)
"""


@pytest.mark.parametrize("arguments", [[], ["--instances", "4"]], ids=["here", "instances"])
def test_the_code_that_the_app_closed_with_is_told(tmp_path: Path, arguments: list[str]) -> None:
    """No client sees it, and a refusal has its reason there; a plain close says nothing."""
    (tmp_path / "closing.py").write_text(CLOSING)
    with Dev(tmp_path, "closing:app", *arguments) as dev:
        url = dev.ready()[1]
        for query in ("n=secret", "n=1"):
            with pytest.raises(InvalidStatus), connect(f"{url}/?{query}"):
                pass
        for number in (2, 3):
            with connect(f"{url}/?n={number}") as client:
                client.send("hi")
                with pytest.raises(ConnectionClosed):
                    client.recv(20)
        _, out, err = dev.stop(signal.SIGTERM)
    told = re.findall("the app (?:refused|closed) with .*", out + err)
    assert told == [
        "the app refused with 1008 (query.n: Input should be a valid integer, unable to parse "
        "string as an integer), but the client gets 403",
        "the app refused with 4003 (not you), but the client gets 403",
        "the app closed with 4001, but the client gets 1000",
    ]
