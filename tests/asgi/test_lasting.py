"""A replay: an app is given its earlier messages once more, and time does not pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from longwire.asgi.lasting import LastingRun

if TYPE_CHECKING:
    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

ACCEPT = {"type": "websocket.accept"}


class Client:
    """Writes down the frames that have an effect."""

    def __init__(self) -> None:
        self.got: list[str | bytes] = []

    def swallow(self, frame: str | bytes) -> None:
        """Do nothing."""

    async def send(self, frame: str | bytes) -> bool:
        self.got.append(frame)
        return True

    async def close(self, code: int, reason: str) -> None:
        """Do nothing."""


def _message(text: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": text}


def _deadline() -> float:
    return asyncio.get_running_loop().time() + 20


async def _replayed(app: Any, *given: tuple[str | None, float, int]) -> list[str | bytes]:
    """Repeat messages, each for so long and until so many frames were sent, then give "now"."""
    client = Client()
    run = LastingRun(app, {}, client, stage="replay", connection_id="c=", linger=2.0)
    for text, seconds, frames in given:
        message = None if text is None else _message(text)
        assert await run.repeat(message, seconds, frames, _deadline())
    run.hand_over(_message("now"))
    assert await run.until_over(_deadline()) in ("parked", "ended")
    await run.stop()
    return client.got


def _text(text: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": text}


async def nudging(scope: Scope, receive: Receive, send: Send) -> None:
    """Count how often the client was silent for 1.5 seconds, and say so at once."""
    await receive()
    await send(ACCEPT)
    nudges = 0
    while True:
        try:
            message = await asyncio.wait_for(receive(), 1.5)
        except TimeoutError:
            nudges += 1
            await send(_text("nudge"))
            message = await receive()
        await send(_text(f"{message['text']} after {nudges}"))
        if message["text"] == "now":
            return


async def counting(scope: Scope, receive: Receive, send: Send) -> None:
    """Count in the background how often 1.5 seconds have passed."""
    await receive()
    await send(ACCEPT)
    counted = 0

    async def count() -> None:
        nonlocal counted
        while True:
            await asyncio.sleep(1.5)
            counted += 1

    counting = asyncio.create_task(count())
    while (await receive())["text"] != "now":
        pass
    counting.cancel()
    await send(_text(str(counted)))


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ([(None, 1.2, 0)], "now after 0"),
        ([(None, 1.8, 0)], "now after 1"),
        ([(None, 0.2, 0), ("a", 1.2, 1)], "now after 0"),
        ([(None, 0.2, 0), ("a", 1.8, 2)], "now after 1"),
        # The clock says that it was too early, the frames that had been sent that it was not.
        ([(None, 1.4, 1)], "now after 1"),
        ([(None, 1.4, 1), ("a", 1.4, 3)], "now after 2"),
    ],
)
async def test_a_silence_is_repeated_but_not_waited_for(given: Any, answer: str) -> None:
    """Neither more nor less of it."""
    assert await _replayed(nudging, *given) == [answer]


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ([(None, 1.2, 0)], "0"),
        ([(None, 1.8, 0)], "1"),
        # No part is long enough, all of them together are.
        ([(None, 0.6, 0), ("a", 0.6, 0), ("b", 0.6, 0)], "1"),
        ([(None, 0.6, 0), ("a", 1.2, 0), ("b", 0.6, 0), ("c", 0.9, 0)], "2"),
    ],
)
async def test_the_time_of_earlier_messages_adds_up(given: Any, counted: str) -> None:
    """Also where nothing was due while the app waited for one of them."""
    assert await _replayed(counting, *given) == [counted]


async def test_the_connect_part_is_repeated_from_its_beginning() -> None:
    """What it waits for before it accepts, and before it greets, is not waited for either."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.sleep(300)
        await send(ACCEPT)
        await asyncio.sleep(300)
        await send(_text("hello"))
        await send(_text((await receive())["text"]))

    assert await _replayed(app, (None, 600.1, 1)) == ["now"]


@pytest.mark.parametrize(("number", "pause"), [(220, 0.05), (20_000, 0.0)])
async def test_a_stream_that_never_waits_comes_as_far_as_it_did(number: int, pause: float) -> None:
    """And goes on with an effect from there."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for one in range(number):
            await asyncio.sleep(pause)
            await send(_text(str(one)))

    got = await _replayed(app, (None, 200 * pause + 0.01, 200))
    assert got[-1] == str(number - 1)
    assert 0 < len(got) < number - 200


async def test_no_frame_leaves_once_the_end_of_a_turn_is_written() -> None:
    """Others may have the turn from then on; if it is not written, all goes on."""
    loop = asyncio.get_running_loop()
    sends = [loop.create_future() for _ in range(2)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for number, may_send in enumerate(sends):
            await may_send
            await send(_text(str(number)))
        await receive()

    client = Client()
    run = LastingRun(app, {}, client, stage="live", connection_id="c=", linger=0.05)

    async def write(number: int, *, done: bool) -> bool:
        sends[number].set_result(None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert client.got == ["0"][:number]
        return done

    assert not await run.rest(lambda: write(0, done=False))
    while not client.got:
        await asyncio.sleep(0)
    assert await run.rest(lambda: write(1, done=True))
    for _ in range(5):
        await asyncio.sleep(0)
    await run.stop()
    assert client.got == ["0"]
    assert run.count_frames() == 1


async def asking(scope: Scope, receive: Receive, send: Send) -> None:
    """Ask the client for each message, in two parts, and wait elsewhere for what it answers."""
    answered: set[asyncio.Future[None]] = set()

    async def ask() -> None:
        await send(_text("may I"))
        await asyncio.sleep(0.001)
        await send(_text("do it?"))
        answered.add(asyncio.get_running_loop().create_future())
        await asyncio.wait(answered)

    await receive()
    await send(ACCEPT)
    asked = set()
    while (await receive())["text"] != "now":
        asked.add(asyncio.create_task(ask()))
    await send(_text(f"asked {len(asked)}"))


async def working(scope: Scope, receive: Receive, send: Send) -> None:
    """Do something, and then wait for what nobody knows, without a word."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_later(0.01, done.set_result, None)
        await done
        await loop.create_future()

    await receive()
    await send(ACCEPT)
    task = asyncio.create_task(work())
    await receive()
    task.cancel()


async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    await receive()


@pytest.mark.parametrize(
    ("app", "how"), [(waiting, "parked"), (asking, "still"), (working, "busy")]
)
async def test_what_has_not_moved_stood_still(app: Any, how: str) -> None:
    """Since the app was given its message, or has sent something."""
    run = LastingRun(app, {}, Client(), stage="live", connection_id="c=", linger=0.1)
    outcome = await run.until_over(_deadline())
    if app is asking:
        for _ in range(2):
            run.deliver(_message("go"))
            outcome = await run.until_over(_deadline())
    assert run.how_it_rests(outcome) == how
    await run.stop()


async def test_what_stood_still_is_not_waited_for_again() -> None:
    """A call whose answer the client sends later costs a replay no time; but it is made."""
    run = LastingRun(asking, {}, Client(), stage="replay", connection_id="c=", linger=1000.0)
    assert await run.repeat(None, 500.0, 0, _deadline())
    for number in range(1, 4):
        assert await run.repeat(_message("go"), 500.0, 2 * number, _deadline(), "still")
        assert run.count_frames() == 2 * number
    soon = asyncio.get_running_loop().time() + 0.05
    assert not await run.repeat(_message("go"), 500.0, 8, soon, "busy")
    await run.stop()
