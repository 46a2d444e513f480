"""Messages of one connection are handled in order, but none waits for another app's timers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import connect

from longwire import Longwire
from longwire.local.server.server import LocalGateway
from tests.local.fakes import OK

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.websockets import WebSocket

pytestmark = pytest.mark.anyio


class Lingering:
    """Never ends with the first message, but says that its app waits for the client again."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.second = asyncio.Event()

    async def invoke(
        self, event: dict[str, Any], waits_for_client: Callable[[], object] = lambda: None
    ) -> object:
        if "body" in event:
            self.bodies.append(event["body"])
            if len(self.bodies) == 1:
                waits_for_client()
                await self.second.wait()
            self.second.set()
        return OK


async def test_a_function_that_lingers_does_not_hold_the_next_message_up() -> None:
    """Its app has a heartbeat, say, and waits for the client beside it."""
    function = Lingering()
    async with LocalGateway(function) as gateway, connect(gateway.url) as client:
        await client.send("a")
        await client.send("b")
        await function.second.wait()
    assert function.bodies == ["a", "b"]


async def test_an_app_with_a_heartbeat_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its steps may linger."""

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        heart = asyncio.create_task(asyncio.sleep(3600))
        try:
            async for text in websocket.iter_text():
                await websocket.send_text(text)
        finally:
            heart.cancel()

    starlette = Starlette(routes=[WebSocketRoute("/", app)])
    handler = Longwire(starlette, ws_config={"backend": "memory", "params": {}, "linger": 2})
    async with LocalGateway(handler.handle) as gateway:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", gateway.management_url)
        async with connect(gateway.url) as client:
            texts = [str(number) for number in range(40)]
            for text in texts:
                await client.send(text)
            async with asyncio.timeout(20):  # 40 steps that linger take 80 s in turn
                assert [await client.recv() for _ in texts] == texts
    await handler.aclose()
