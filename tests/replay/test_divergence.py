"""On a developer's machine: an app that sends other frames when it is given its messages again."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

import longwire
from longwire.testing import Gateway
from tests.cold import cold
from tests.invocation.test_connect import websocket
from tests.lambda_events import LambdaContext
from tests.talk import Talk

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from tests.cold import Cold

pytestmark = pytest.mark.anyio


class Developers(LambdaContext):
    """Of `longwire dev`: a handler tells the app's author what to know in time."""

    wants_hints = True


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "once more" in one.getMessage()]


async def _say(client: Cold, *texts: str) -> None:
    client.context = Developers
    await client.connect()
    for text in texts:
        await client.say(text)


async def _random(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send_text(str(random.random()))  # not compared: state.md says how it may differ
    async for text in ws.iter_text():
        for _ in range(2):
            await ws.send_text(text if text == "same" else str(random.random()))


async def test_other_frames_are_told_at_the_first_message(caplog: pytest.LogCaptureFixture) -> None:
    """Once for a connection, with what is usually the cause."""
    async with cold(websocket(_random)) as client:
        await _say(client, "same", "roll", "roll", "same")
        (warning,) = _warnings(caplog)
        assert f"connection {client.connection_id}: message 2: the app sent other frames" in warning
        assert "and had sent 2: " in warning
        assert "random numbers" in warning
        assert "longwire.once" in warning


async def test_more_frames_are_told_with_their_numbers(caplog: pytest.LogCaptureFixture) -> None:
    calls = itertools.count(1)

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            for _ in range(next(calls)):
                await ws.send_text("x")

    async with cold(websocket(app)) as client:
        await _say(client, "a", "b")
        (warning,) = _warnings(caplog)
        assert "message 1: the app sent 2 frames when it was given this once more" in warning
        assert "and had sent 1: " in warning


async def test_once_makes_it_quiet(caplog: pytest.LogCaptureFixture) -> None:
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            await ws.send_text(str(await longwire.once("n", random.random)))

    async with cold(websocket(app)) as client:
        await _say(client, "a", "b", "c")
        await Talk.say(client, "d")
        await client.say("e")
        assert len(set(client.frames)) == 5
        assert _warnings(caplog) == []


async def test_tasks_may_send_in_any_order(caplog: pytest.LogCaptureFixture) -> None:
    turns = itertools.count()

    async def app(ws: WebSocket) -> None:
        async def send(what: str) -> None:
            await ws.send_text(what)

        await ws.accept()
        async for _ in ws.iter_text():
            both = ["a", "b"] if next(turns) % 2 else ["b", "a"]
            await asyncio.gather(*map(send, both))

    async with cold(websocket(app)) as client:
        await _say(client, "", "", "")
        assert _warnings(caplog) == []


async def test_what_hangs_on_the_time_is_not_compared(caplog: pytest.LogCaptureFixture) -> None:
    """A message that stops what another has begun: as many frames as there was time for."""

    async def app(ws: WebSocket) -> None:
        async def stream() -> None:
            for number in itertools.count():
                await ws.send_text(str(number))
                await asyncio.sleep(0.005)

        streaming: asyncio.Task[None] | None = None
        await ws.accept()
        async for text in ws.iter_text():
            if text == "go":
                streaming = asyncio.create_task(stream())
            elif streaming is not None:
                streaming.cancel()
                streaming = None

    async with cold(websocket(app)) as client:
        client.context = Developers
        await client.connect()
        going = asyncio.create_task(client.say("go"))
        await client.server.until(lambda: len(client.frames) > 3)
        await Talk.say(client, "stop")
        await going
        await client.say("more")
        assert _warnings(caplog) == []


async def test_what_was_cut_off_is_not_compared() -> None:
    """How far it came is a matter of time."""

    async def app(ws: WebSocket) -> None:
        async def work() -> None:
            await ws.send_text("begun")
            await asyncio.get_running_loop().create_future()

        await ws.accept()
        async for _ in ws.iter_text():
            working.add(asyncio.create_task(work()))

    working: set[asyncio.Task[None]] = set()
    async with cold(websocket(app), linger=0.05) as client:
        await _say(client, "go")
        assert client.frames == ["begun"]
        last = json.loads((await client.journal())[-1])
        assert (last[1], len(last)) == ("R", 8)


async def test_nothing_is_noted_in_production() -> None:
    async with cold(websocket(_random)) as client:
        await client.connect()
        await client.say("same")
        rests = [json.loads(entry) for entry in await client.journal() if '"R"' in entry]
        assert [len(rest) for rest in rests] == [8]


async def test_a_developers_gateway_notes_it() -> None:
    """And an app that goes on where it is has nothing to be told."""
    backend: Any = {"backend": "memory", "replay": True}
    async with Gateway(websocket(_random), ws_config=backend) as gateway:
        async with gateway.connect() as ws:
            await ws.receive()
            await ws.send("roll")
            await ws.receive()
            await ws.receive()
            await ws.nothing()
            journal = await gateway._target._api.backend.journal(ws.connection_id)
            *_, frames, digest = json.loads(journal[-1])
            assert (frames, len(digest)) == (2, 16)
