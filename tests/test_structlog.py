"""structlog: its lines in an app say which connection they are about, in each event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog

from longwire.testing import Gateway

if TYPE_CHECKING:
    from longwire.types import Receive, Scope, Send

pytestmark = [pytest.mark.slow, pytest.mark.anyio]


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    told = scope["extensions"]["longwire"]
    structlog.contextvars.bind_contextvars(connection_id=told["connection_id"])
    log = structlog.get_logger()
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        log.info("got", text=message["text"])
        await send({"type": "websocket.send", "text": told["connection_id"]})


async def test_context_variables_are_each_events_own() -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        async with Gateway(_app) as gateway, gateway.connect() as ann, gateway.connect() as bob:
            ids: list[Any] = []
            for one in (ann, bob):
                await one.send("hi")
                ids.append(await one.receive(20))
    assert [(one["event"], one["connection_id"]) for one in logs] == [("got", one) for one in ids]
    assert "connection_id" not in structlog.contextvars.get_contextvars()
