"""What follows from the connect part's running again, where that does not come to the message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.invocation.test_connect import OK
from tests.talk import talk

if TYPE_CHECKING:
    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Tickets:
    """A ticket opens one connection, and is used up by the handshake."""

    def __init__(self, *, accepts: bool) -> None:
        self._left = {"path=/"}
        self._accepts = accepts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self._accepts:
            await send({"type": "websocket.accept"})
        if not self._left:
            await send({"type": "websocket.close", "code": 4008, "reason": "the ticket is used up"})
            return
        self._left.clear()
        if not self._accepts:
            await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "reply"})


@pytest.mark.parametrize("accepts", [True, False])
async def test_the_log_has_the_apps_own_words_for_its_end(
    accepts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is closed at its first message; its author has to find out why."""
    async with talk(Tickets(accepts=accepts), lifespan="off") as client:
        assert await client.connect() == OK
        await client.say("a")
        assert client.deleted
    (warning,) = caplog.records
    assert "4008" in warning.getMessage()
    assert "the ticket is used up" in warning.getMessage()
