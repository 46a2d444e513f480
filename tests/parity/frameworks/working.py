"""Endpoints of several tasks, and of tasks that work elsewhere."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from tests.parity.frameworks.socket import Socket

tasks: set[asyncio.Task[Any]] = set()


def begin(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Let work go on by itself."""
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


async def send_later(socket: Socket, *texts: str) -> None:
    for text in texts:
        await asyncio.sleep(0.05)
        await socket.send(text)


async def _read(socket: Socket, texts: asyncio.Queue[str]) -> None:
    while True:
        await texts.put(await socket.receive())


async def _write(socket: Socket, texts: asyncio.Queue[str]) -> None:
    await socket.send("ready")
    while True:
        await socket.send(await texts.get())


async def greet_by_task(socket: Socket) -> None:
    await socket.accept()
    begin(socket.send("hello"))
    while True:
        await socket.send(await socket.receive())


async def greet_later(socket: Socket) -> None:
    await socket.accept()
    begin(send_later(socket, "hello", "again"))
    while True:
        await socket.send(await socket.receive())


async def by_queue(socket: Socket) -> None:
    await socket.accept()
    texts: asyncio.Queue[str] = asyncio.Queue()
    writing = begin(_write(socket, texts))
    try:
        await _read(socket, texts)
    finally:
        writing.cancel()


async def by_gather(socket: Socket) -> None:
    await socket.accept()
    texts: asyncio.Queue[str] = asyncio.Queue(1)
    await asyncio.gather(_read(socket, texts), _write(socket, texts))


async def by_task_group(socket: Socket) -> None:
    await socket.accept()
    texts: asyncio.Queue[str] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        group.create_task(_read(socket, texts))
        group.create_task(_write(socket, texts))


async def by_anyio(socket: Socket) -> None:
    await socket.accept()
    into, out_of = anyio.create_memory_object_stream[str](0)

    async def read() -> None:
        async with into:
            while True:
                await into.send(await socket.receive())

    async with anyio.create_task_group() as group, out_of:
        group.start_soon(read)
        async for text in out_of:
            await socket.send(text)


async def by_race(socket: Socket) -> None:
    """Wait for the client and a queue, whichever is first."""
    await socket.accept()
    texts: asyncio.Queue[str] = asyncio.Queue()
    receiving, writing = begin(socket.receive()), begin(texts.get())
    try:
        while True:
            await asyncio.wait({receiving, writing}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                texts.put_nowait(receiving.result())
                receiving = begin(socket.receive())
            if writing.done():
                await socket.send(writing.result())
                writing = begin(texts.get())
    finally:
        receiving.cancel()
        writing.cancel()


async def by_event(socket: Socket) -> None:
    """Hand over by a condition and a list."""
    await socket.accept()
    condition = asyncio.Condition()
    texts: list[str] = []

    async def write() -> None:
        while True:
            async with condition:
                await condition.wait_for(lambda: texts)
                text = texts.pop(0)
            await socket.send(text)

    writing = begin(write())
    try:
        while True:
            text = await socket.receive()
            async with condition:
                texts.append(text)
                condition.notify_all()
    finally:
        writing.cancel()


jobs: asyncio.Queue[tuple[str, asyncio.Queue[str]]] = asyncio.Queue()


async def work() -> None:
    """Do the jobs of all connections of the process; begun at its startup."""
    while True:
        text, replies = await jobs.get()
        await asyncio.sleep(0.05)
        replies.put_nowait(text.upper())


async def by_worker(socket: Socket) -> None:
    """A task awaits what the process's worker puts into the connection's queue."""
    await socket.accept()
    replies: asyncio.Queue[str] = asyncio.Queue()

    async def write() -> None:
        while True:
            await socket.send(await replies.get())

    writing = begin(write())
    try:
        while True:
            await jobs.put((await socket.receive(), replies))
    finally:
        writing.cancel()


async def fire_and_forget(socket: Socket) -> None:
    await socket.accept()
    while True:
        begin(send_later(socket, await socket.receive()))


async def call_later(socket: Socket) -> None:
    await socket.accept()
    while True:
        text = await socket.receive()
        reply = socket.send
        asyncio.get_running_loop().call_later(0.05, lambda: begin(reply(text)))  # noqa: B023


async def timer_while_blocked(socket: Socket) -> None:
    """The timer is due when the endpoint comes to receive."""
    await socket.accept()
    loop = asyncio.get_running_loop()
    while True:
        text = await socket.receive()
        loop.call_later(0.001, lambda: begin(socket.send(text)))  # noqa: B023
        time.sleep(0.01)  # noqa: ASYNC251  # as work of the app's own does


async def by_callbacks(socket: Socket) -> None:
    """Callbacks that call back, as those of protocols and futures do."""
    await socket.accept()
    loop = asyncio.get_running_loop()

    def hop(text: str, hops: int) -> None:
        if hops:
            loop.call_soon(hop, text, hops - 1)
        else:
            begin(socket.send(text))

    while True:
        hop(await socket.receive(), 5)


async def task_for_each(socket: Socket) -> None:
    """Handle messages side by side, and send under a lock."""
    await socket.accept()
    lock = asyncio.Lock()

    async def handle(text: str) -> None:
        await asyncio.sleep(0.02)
        async with lock:
            await socket.send(f"{text} begun")
            await socket.send(f"{text} done")

    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(handle(await socket.receive()))


def _slowly(text: str) -> str:
    time.sleep(0.02)
    return text


async def in_thread(socket: Socket) -> None:
    await socket.accept()
    while True:
        text = await socket.receive()
        await socket.send(await asyncio.to_thread(_slowly, text))


async def in_executor(socket: Socket) -> None:
    await socket.accept()
    loop = asyncio.get_running_loop()
    while True:
        await socket.send(await loop.run_in_executor(None, str.upper, await socket.receive()))


async def from_thread(socket: Socket) -> None:
    """A thread, which a task awaits, sends by itself."""
    await socket.accept()
    loop = asyncio.get_running_loop()

    def work(text: str) -> None:
        for number in range(3):
            asyncio.run_coroutine_threadsafe(socket.send(f"{text} {number}"), loop).result(20)

    while True:
        await asyncio.to_thread(work, await socket.receive())


async def as_completed(socket: Socket) -> None:
    async def work(number: int) -> str:
        await asyncio.sleep(number / 10)
        return str(number)

    await socket.accept()
    while True:
        numbers = [int(text) for text in (await socket.receive()).split()]
        for done in asyncio.as_completed([work(number) for number in numbers]):
            await socket.send(await done)


async def heartbeat(socket: Socket) -> None:
    async def beat() -> None:
        while True:
            await asyncio.sleep(60)
            await socket.send("beat")

    await socket.accept()
    beating = begin(beat())
    try:
        while True:
            await socket.send(await socket.receive())
    finally:
        beating.cancel()


ENDPOINTS = [
    greet_by_task,
    greet_later,
    by_queue,
    by_gather,
    by_task_group,
    by_anyio,
    by_race,
    by_event,
    by_worker,
    fire_and_forget,
    call_later,
    timer_while_blocked,
    by_callbacks,
    task_for_each,
    in_thread,
    in_executor,
    from_thread,
    as_completed,
    heartbeat,
]
