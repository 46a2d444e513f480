"""A journal has an end: a warning before it, a close at it, and an app that is told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

import longwire
from longwire.testing import Closed, Gateway
from longwire_backends.memory import MemoryBackend
from tests.cold import cold
from tests.invocation.test_connect import websocket

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from longwire import WSConfig

pytestmark = pytest.mark.anyio

LIMIT = 5


class Ends:
    """An app that echoes, and notes what it is told of its end."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def endpoint(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            async for text in ws.iter_text():
                await ws.send_text(text[:1])
            self.told.append("the client has left")
        finally:
            if not longwire.is_event_end():
                self.told.append("the end")


def _logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == level]


@pytest.mark.parametrize(("body", "heard"), [("x", LIMIT), ("y" * 32 * 1024, 31)])
async def test_what_is_over_the_limit_closes_and_is_told(
    body: str, heard: int, caplog: pytest.LogCaptureFixture
) -> None:
    """By count and by size; each is said once, though the run was kept."""
    backend, app = MemoryBackend(), Ends()
    limit = LIMIT if body == "x" else 1000
    config: WSConfig = {"backend": backend, "replay": True, "replay_limit": limit}
    async with Gateway(websocket(app.endpoint), config) as gateway, gateway.connect() as ws:
        for _ in range(heard):
            await ws.send(body)
            assert await ws.receive(timeout=30) == body[0]
        (warning,) = _logged(caplog, logging.WARNING)
        assert "will soon be full" in warning
        await ws.send(body)
        with pytest.raises(Closed) as closed:
            await ws.receive(timeout=30)
    assert closed.value.code == 1000
    (error,) = _logged(caplog, logging.ERROR)
    assert f"connection {ws.connection_id}: closed: its journal is full" in error
    assert app.told == ["the client has left", "the end"]
    assert await backend.journal(ws.connection_id) == ()


async def test_another_process_closes_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """And the one that hears of the end tells the app; one line is for all that comes too late."""
    app = Ends()
    async with cold(websocket(app.endpoint), replay_limit=LIMIT) as client:
        await client.connect()
        for _ in range(LIMIT + 3):
            await client.say("x")
        await client.leave()
        assert client.frames == ["x"] * LIMIT
        assert await client.journal() == ()
    (error,) = _logged(caplog, logging.ERROR)
    assert "its journal is full" in error
    assert app.told == ["the client has left", "the end"]
