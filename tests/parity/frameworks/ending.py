"""Endpoints in which one task ends another, or the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

from tests.parity.frameworks.working import begin, send_later

if TYPE_CHECKING:
    from tests.parity.frameworks.socket import Socket


async def time_limit(socket: Socket) -> None:
    """Give up work of the app's own that takes too long."""
    await socket.accept()
    while True:
        seconds = float(await socket.receive())
        try:
            async with asyncio.timeout(0.5):
                await asyncio.sleep(seconds)
            await socket.send("done")
        except TimeoutError:
            await socket.send("given up")


async def cancelled_job(socket: Socket) -> None:
    """The job says that it has been cancelled, and the endpoint that it is over."""

    async def job(begun: asyncio.Event) -> None:
        try:
            await socket.send("begun")
            begun.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await socket.send("cancelled")
            raise

    await socket.accept()
    while True:
        await socket.receive()
        begun = asyncio.Event()
        working = begin(job(begun))
        await begun.wait()
        working.cancel()
        await asyncio.wait({working})
        await socket.send("over")


async def ticker(socket: Socket) -> None:
    async def tick() -> None:
        for number in range(1000):
            await socket.send(str(number))
            await asyncio.sleep(0.03)

    await socket.accept()
    ticking = begin(tick())
    try:
        while True:
            await socket.receive()
    finally:
        ticking.cancel()


async def crash_of_task(socket: Socket) -> None:
    """Nobody awaits the task, so its error ends nothing."""

    async def crash() -> None:
        raise ValueError("of a task")

    await socket.accept()
    while True:
        text = await socket.receive()
        await asyncio.wait({begin(crash())})
        await socket.send(text)


async def crash_in_group(socket: Socket) -> None:
    async def crash() -> None:
        raise ValueError("of a group")

    await socket.accept()
    async with asyncio.TaskGroup() as group:
        while True:
            text = await socket.receive()
            await socket.send(text)
            if text == "crash":
                group.create_task(crash())


async def crash_in_anyio(socket: Socket) -> None:
    async def crash() -> None:
        raise ValueError("of a group")

    await socket.accept()
    async with anyio.create_task_group() as group:
        while True:
            text = await socket.receive()
            await socket.send(text)
            if text == "crash":
                group.start_soon(crash)


async def cancel_oneself(socket: Socket) -> None:
    """Whoever is asked to stop is cancelled by another."""
    await socket.accept()
    me = asyncio.current_task()
    assert me is not None
    try:
        while True:
            text = await socket.receive()
            await socket.send(text)
            if text == "stop":
                asyncio.get_running_loop().call_soon(me.cancel)
    except asyncio.CancelledError:
        await socket.send("stopped")
        await socket.close()


async def close_by_task(socket: Socket) -> None:
    async def close() -> None:
        await asyncio.sleep(0.05)
        await socket.close(4000, "by a task")

    await socket.accept()
    while True:
        await socket.send(await socket.receive())
        begin(close())


async def stream_and_close(socket: Socket) -> None:
    """A stream that ends closes its connection, though the client is listened to."""

    async def stream() -> None:
        for number in range(3):
            await socket.send(str(number))
            await asyncio.sleep(0.2)
        await socket.close()

    await socket.accept()
    begin(stream())
    while True:
        await socket.receive()


async def stream_to_end(socket: Socket) -> None:
    """The same by a group: whichever task is over ends the other."""

    async def stream() -> None:
        await send_later(socket, "0", "1", "2", "3")
        await asyncio.sleep(0.2)

    async def listen() -> None:
        while True:
            await socket.receive()

    await socket.accept()
    both = {begin(stream()), begin(listen())}
    _, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()


ENDPOINTS = [
    time_limit,
    cancelled_job,
    ticker,
    crash_of_task,
    crash_in_group,
    crash_in_anyio,
    cancel_oneself,
    close_by_task,
    stream_and_close,
    stream_to_end,
]
