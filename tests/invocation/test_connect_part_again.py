"""What follows from the connect part's running again, where that does not come to the message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from longwire import LongwireError
from longwire.apigateway.frames import MAX_MESSAGE
from tests.invocation.test_connect import OK
from tests.invocation.test_kept_runs import other_process
from tests.talk import talk

if TYPE_CHECKING:
    from longwire.types import Message, Receive, Scope, Send

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


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize(
    "frame", [{"text": "\ud800"}, {"text": "x" * (MAX_MESSAGE + 1)}, {"bytes": b"\xff"}]
)
async def test_what_could_not_be_sent_fails_once_more(frame: Message, replay: bool) -> None:
    """Else the app would not know any more what it has met."""
    told = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        met = "nothing"
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await send({"type": "websocket.send", **frame})
        except LongwireError as error:
            met = type(error).__name__
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": met})
        told.append(met)

    settings: Any = {"replay": replay, "binary": "text"}
    async with talk(app, lifespan="off", **settings) as client:
        assert await client.connect() == OK
        second, third = (other_process(client, app, **settings) for _ in range(2))
        await second.say("a")
        await third.leave()
        await second.handler.aclose()
        await third.handler.aclose()
    (met,) = {*client.frames, *told}
    assert len(client.frames) == len(told) == 1
    assert met in ("ASGIMessageError", "MessageTooLargeError")
