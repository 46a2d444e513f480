"""Endpoints of one task that answer what they are asked."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.parity.frameworks.socket import Socket


async def echo(socket: Socket) -> None:
    await socket.accept()
    while True:
        await socket.send(await socket.receive())


async def several(socket: Socket) -> None:
    """Send as many replies as the message says."""
    await socket.accept()
    while True:
        text = await socket.receive()
        for number in range(int(text)):
            await socket.send(f"{number} of {text}")


async def large(socket: Socket) -> None:
    await socket.accept()
    while True:
        await socket.send("x" * int(await socket.receive()))


async def as_json(socket: Socket) -> None:
    """Answer what is not JSON with an error, and go on."""
    await socket.accept()
    while True:
        try:
            said = json.loads(await socket.receive())
        except ValueError:
            said = "error"
        await socket.send(json.dumps({"said": said}))


async def greet(socket: Socket) -> None:
    await socket.accept()
    await socket.send("hello")
    await socket.send("hello")
    while True:
        await socket.send(await socket.receive())


async def greet_slowly(socket: Socket) -> None:
    await asyncio.sleep(0.1)
    await socket.accept()
    await asyncio.sleep(0.1)
    await socket.send("one")
    await asyncio.sleep(0.3)
    await socket.send("two")
    while True:
        await socket.send(await socket.receive())


async def greet_and_leave(socket: Socket) -> None:
    await socket.accept()
    await socket.send("hello")
    await socket.send("goodbye")


async def choose(socket: Socket) -> None:
    await socket.accept("chat.v2" if "chat.v2" in socket.offered else None)
    await socket.send(json.dumps(socket.offered))
    while True:
        await socket.send(await socket.receive())


async def describe(socket: Socket) -> None:
    """Tell what the handshake was, at once and with each message."""
    await socket.accept()
    await socket.send(json.dumps(socket.handshake))
    while True:
        await socket.receive()
        await socket.send(json.dumps(socket.handshake))


async def refuse(socket: Socket) -> None:
    await socket.close(4401, "no")


async def refuse_slowly(socket: Socket) -> None:
    await asyncio.sleep(0.1)
    await socket.close()


async def crash_first(socket: Socket) -> None:
    raise ValueError("before accept")


async def crash_accepted(socket: Socket) -> None:
    await socket.accept()
    raise ValueError("after accept")


async def crash_greeting(socket: Socket) -> None:
    await socket.accept()
    await socket.send("hello")
    raise ValueError("after a frame")


async def crash_asked(socket: Socket) -> None:
    await socket.accept()
    while True:
        await socket.send(str(1 / int(await socket.receive())))


async def return_accepted(socket: Socket) -> None:
    await socket.accept()


async def return_asked(socket: Socket) -> None:
    await socket.accept()
    await socket.send(await socket.receive())


async def return_silently(socket: Socket) -> None:
    await socket.accept()
    await socket.receive()


async def close_accepted(socket: Socket) -> None:
    await socket.accept()
    await socket.close(4000, "no more")


async def close_asked(socket: Socket) -> None:
    await socket.accept()
    while True:
        text = await socket.receive()
        await socket.send(text)
        if text == "bye":
            await socket.send("goodbye")
            await socket.close(4000, "enough")
            return


clients: dict[tuple[type, str], set[Socket]] = {}


async def room_of_one(socket: Socket) -> None:
    """Broadcast to all who have the client's name: to itself."""
    await socket.accept()
    members = clients.setdefault((type(socket), str(socket.handshake["query"])), set())
    members.add(socket)
    try:
        while True:
            text = await socket.receive()
            for member in list(members):
                await member.send(f"all: {text}")
    finally:
        members.discard(socket)


@asynccontextmanager
async def _session() -> AsyncIterator[str]:
    await asyncio.sleep(0)
    try:
        yield "session"
    finally:
        await asyncio.sleep(0)


async def in_context(socket: Socket) -> None:
    await socket.accept()
    async with _session() as session:
        while True:
            await socket.send(f"{session} {await socket.receive()}")


async def context_for_each(socket: Socket) -> None:
    await socket.accept()
    while True:
        text = await socket.receive()
        async with _session() as session, asyncio.timeout(5):
            await socket.send(f"{session} {text}")


ENDPOINTS = [
    echo,
    several,
    large,
    as_json,
    greet,
    greet_slowly,
    greet_and_leave,
    choose,
    describe,
    refuse,
    refuse_slowly,
    crash_first,
    crash_accepted,
    crash_greeting,
    crash_asked,
    return_accepted,
    return_asked,
    return_silently,
    close_accepted,
    close_asked,
    room_of_one,
    in_context,
    context_for_each,
]
