"""What is right in an app says nothing above INFO."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from sanic import Sanic

from tests.talk import talk

if TYPE_CHECKING:
    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

SEND: dict[str, Any] = {"type": "websocket.send", "text": "reply"}


def _complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """List what the library's own loggers say at WARNING and above."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("longwire") and record.levelno >= logging.WARNING
    ]


async def test_a_close_after_the_end_is_none_to_a_client_who_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It raises the error of servers, which is no crash of the app."""
    raised: list[BaseException] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        assert (await receive())["type"] == "websocket.disconnect"
        try:
            await send({"type": "websocket.close"})
        except OSError as error:
            raised.append(error)
            raise

    async with talk(app) as client:
        await client.connect()
        await client.say("a")
    assert client.deleted
    assert len(raised) == 1
    assert _complaints(caplog) == []


class Consumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    channel_layer_alias = None

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.close(4000)

    async def disconnect(self, code: int) -> None:
        await self.close()


async def test_a_consumer_may_close_again_in_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    """As many do, whoever has ended the connection."""
    if not settings.configured:
        settings.configure()
    async with talk(Consumer.as_asgi()) as client:
        await client.connect()
        await client.say("a")
    assert client.deleted
    assert _complaints(caplog) == []


async def test_sanic_is_nothing_to_complain_of(caplog: pytest.LogCaptureFixture) -> None:
    """What it says itself of the end of an event is its own."""
    app = Sanic("quiet", configure_logging=False)

    @app.websocket("/")  # type: ignore[untyped-decorator]
    async def echo(request: Any, ws: Any) -> None:
        while (text := await ws.recv()) is not None:
            await ws.send(text)

    async with talk(app) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        await client.leave()
    assert client.frames == ["a", "b"]
    assert _complaints(caplog) == []
