"""Ctrl-C and SIGTERM while an endpoint is at work in a process: no errors are shown."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect

from tests.local.running import Dev

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

APP = """
import asyncio

async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "text": "tick"})
        await asyncio.sleep(3600 if scope["path"] == "/silent" else 0.05)
"""


@pytest.mark.parametrize(
    ("path", "number"),
    [("/stream", signal.SIGINT), ("/stream", signal.SIGTERM), ("/silent", signal.SIGINT)],
)
def test_stopping_shows_no_errors(path: str, number: signal.Signals, tmp_path: Path) -> None:
    """Only whom it waits for."""
    (tmp_path / "streaming.py").write_text(APP)
    with Dev(tmp_path, "streaming:app", "--instances", "2") as dev:
        with connect(f"{dev.ready()[1]}/?path={path}") as client:
            assert client.recv(20) == "tick"
            code, out, err = dev.stop(number)
    assert code == 0
    assert "ERROR" not in out + err
    assert "Traceback" not in out + err
