"""A send that comes when its event is over reaches nobody, and says so."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.talk import talk

if TYPE_CHECKING:
    from longwire.types import Receive, Scope, Send

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.xfail(reason="Run._send returns in silence once its run unwinds", strict=True),
]


class App:
    """Answers, and keeps what sends."""

    def __init__(self) -> None:
        self.sends: list[Send] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.sends.append(send)
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "reply"})

    async def send_late(self) -> None:
        """Send by that of the last event, as a worker does that was given the WebSocket."""
        await self.sends[-1]({"type": "websocket.send", "text": "late"})


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name.startswith("longwire")]


async def test_a_worker_of_the_process_gets_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Of the kind that servers raise; the log names the place, once."""
    app = App()
    async with talk(app) as client:
        await client.connect()
        await client.say("a")
        for _ in range(3):
            with pytest.raises(OSError, match=client.connection_id):
                await app.send_late()
        assert client.frames == ["reply"]
    (warning,) = _warnings(caplog)
    assert re.search(r"test_late_sends\.py:\d+", warning)


async def test_a_thread_gets_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """As does the blocking client library that hands its tokens to the event loop."""
    app = App()
    loop = asyncio.get_running_loop()

    def work() -> Any:
        return asyncio.run_coroutine_threadsafe(app.send_late(), loop).exception(20)

    async with talk(app) as client:
        await client.connect()
        await client.say("a")
        assert isinstance(await asyncio.to_thread(work), OSError)
        assert client.frames == ["reply"]
    (warning,) = _warnings(caplog)
    assert re.search(r"test_late_sends\.py:\d+", warning)
