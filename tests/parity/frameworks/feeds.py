"""Endpoints that send by themselves, and some that look between their frames for the client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.parity.frameworks.socket import Endpoint, Socket

    Look = Callable[[Socket], Awaitable[str | None]]

# How long a feed looks for the client between two frames, in seconds.
SOON = 0.2


async def feed(socket: Socket) -> None:
    """Never receive."""
    await socket.accept()
    for number in range(5):
        await socket.send(str(number))
    await socket.close()


async def feed_slowly(socket: Socket) -> None:
    await socket.accept()
    for number in range(5):
        await asyncio.sleep(0.05)
        await socket.send(str(number))
    await socket.close(4000, "end")


async def feed_and_return(socket: Socket) -> None:
    await socket.accept()
    for number in range(3):
        await socket.send(str(number))
        await asyncio.sleep(0.1)


async def feed_endlessly(socket: Socket) -> None:
    await socket.accept()
    number = 0
    while True:
        await socket.send(str(number))
        number += 1
        await asyncio.sleep(0.03)


async def feed_then_listen(socket: Socket) -> None:
    await socket.accept()
    for number in range(3):
        await socket.send(str(number))
        await asyncio.sleep(0.05)
    while True:
        await socket.send(await socket.receive())


async def _tokens(text: str) -> AsyncIterator[str]:
    for token in text.split():
        await asyncio.sleep(0.02)
        yield token


async def stream(socket: Socket) -> None:
    """Answer each message with its words, one by one, and "end"."""
    await socket.accept()
    while True:
        async for token in _tokens(await socket.receive()):
            await socket.send(token)
        await socket.send("end")


async def stream_once(socket: Socket) -> None:
    await socket.accept()
    async for token in _tokens(await socket.receive()):
        await socket.send(token)
    await socket.close()


async def generate(socket: Socket) -> None:
    async def texts() -> AsyncIterator[str]:
        while True:
            yield await socket.receive()

    await socket.accept()
    async for text in texts():
        await socket.send(text)


async def login(socket: Socket) -> None:
    """Close the connection of who does not log in within a second."""
    await socket.accept()
    try:
        name = await asyncio.wait_for(socket.receive(), 1)
    except TimeoutError:
        await socket.close(4401, "too late")
        return
    await socket.send(f"hello {name}")
    await socket.close()


async def idle(socket: Socket) -> None:
    """An idle time-out far away is no reason for anything."""
    await socket.accept()
    while True:
        async with asyncio.timeout(3600):
            text = await socket.receive()
        await socket.send(text)


# Ways to look for the client for a short while


async def by_wait_for(socket: Socket) -> str | None:
    try:
        return await asyncio.wait_for(socket.receive(), SOON)
    except TimeoutError:
        return None


async def by_timeout(socket: Socket) -> str | None:
    try:
        async with asyncio.timeout(SOON):
            return await socket.receive()
    except TimeoutError:
        return None


async def by_scope(socket: Socket) -> str | None:
    with anyio.move_on_after(SOON):
        return await socket.receive()
    return None


async def by_wait(socket: Socket) -> str | None:
    receiving = asyncio.ensure_future(socket.receive())
    done, _ = await asyncio.wait({receiving}, timeout=SOON)
    if not done:
        receiving.cancel()
        await asyncio.wait({receiving})
        return None
    return receiving.result()


def _poll(look: Look) -> Endpoint:
    async def poll(socket: Socket) -> None:
        await socket.accept()
        for number in range(3):
            await socket.send(str(number))
            await look(socket)
        await socket.close()

    poll.__name__ = f"poll_{look.__name__}"
    return poll


def _poll_asked(look: Look) -> Endpoint:
    async def poll(socket: Socket) -> None:
        await socket.accept()
        text = await socket.receive()
        for number in range(3):
            await socket.send(f"{text} {number}")
            await look(socket)
        await socket.close()

    poll.__name__ = f"poll_asked_{look.__name__}"
    return poll


LOOKS = [by_wait_for, by_timeout, by_scope, by_wait]
ENDPOINTS = [
    feed,
    feed_slowly,
    feed_and_return,
    feed_endlessly,
    feed_then_listen,
    stream,
    stream_once,
    generate,
    login,
    idle,
    *(_poll(look) for look in LOOKS),
    *(_poll_asked(look) for look in LOOKS),
]
