"""Messages of one connection that belong together, for apps that ask for `replay`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from longwire.config import schema
from tests.talk import talk

if TYPE_CHECKING:
    from longwire.types import Receive, Scope, Send

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        "replay" not in {key.name for key in schema.OWN}, reason="replay is to come"
    ),
]

PARTS = 200


async def stop_button(scope: Scope, receive: Receive, send: Send) -> None:
    """A task streams an answer; "stop" cancels it."""

    async def stream() -> None:
        for number in range(PARTS):
            await send({"type": "websocket.send", "text": str(number)})
            await asyncio.sleep(0.02)

    await receive()
    await send({"type": "websocket.accept"})
    streaming: asyncio.Task[None] | None = None
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "go":
            streaming = asyncio.create_task(stream())
        elif streaming is not None:
            streaming.cancel()
            await asyncio.wait({streaming})
            await send({"type": "websocket.send", "text": "stopped"})


async def test_a_message_stops_what_an_earlier_one_has_begun() -> None:
    """Both meet in one coroutine, though each has an event of its own."""
    async with talk(stop_button, replay=True) as client:
        await client.connect()
        going = asyncio.create_task(client.say("go"))
        await client.server.until(lambda: len(client.frames) > 2)
        await client.say("stop")
        await going
        assert client.frames[-1] == "stopped"
        assert len(client.frames) < PARTS


async def caller(scope: Scope, receive: Receive, send: Send) -> None:
    """Call the client; its answer is another message, for which a task waits."""
    answers: asyncio.Queue[str] = asyncio.Queue()

    async def call() -> None:
        await send({"type": "websocket.send", "text": "how much?"})
        await send({"type": "websocket.send", "text": f"got {await answers.get()}"})

    await receive()
    await send({"type": "websocket.accept"})
    calling = set()
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "boot":
            calling.add(asyncio.create_task(call()))
        else:
            answers.put_nowait(message["text"])


async def test_a_call_of_the_app_gets_its_answer() -> None:
    """As a charge point's does."""
    async with talk(caller, replay=True) as client:
        await client.connect()
        await client.say("boot")
        assert client.frames == ["how much?"]
        await client.say("7 kW")
        assert client.frames == ["how much?", "got 7 kW"]
