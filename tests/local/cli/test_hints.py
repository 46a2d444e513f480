"""`longwire dev` tells an app's author in time what the next event will not know."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
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
