"""Endpoints of several tasks that remember, and some that act while their client is silent."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import anyio

from tests.parity.frameworks.remembering import hear
from tests.parity.frameworks.working import begin

if TYPE_CHECKING:
    from tests.parity.frameworks.socket import Socket


async def sum_by_queue(socket: Socket) -> None:
    """A reader and a writer, which sums up."""
    await socket.accept()
    numbers: asyncio.Queue[int] = asyncio.Queue()

    async def write() -> None:
        total = 0
        while True:
            total += await numbers.get()
            await socket.send(str(total))

    writing = begin(write())
    try:
        while True:
            await numbers.put(int(await socket.receive()))
    finally:
        writing.cancel()


async def sum_by_task_group(socket: Socket) -> None:
    await socket.accept()
    numbers: asyncio.Queue[int] = asyncio.Queue(1)

    async def write() -> None:
        total = 0
        while (number := await numbers.get()) >= 0:
            total += number
            await socket.send(str(total))
        await socket.close(4000, "negative")

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        number = 0
        while number >= 0:
            number = int(await socket.receive())
            await numbers.put(number)


async def sum_by_anyio(socket: Socket) -> None:
    await socket.accept()
    into, out_of = anyio.create_memory_object_stream[int](0)

    async def read() -> None:
        async with into:
            while True:
                await into.send(int(await socket.receive()))

    total = 0
    async with anyio.create_task_group() as group, out_of:
        group.start_soon(read)
        async for number in out_of:
            total += number
            await socket.send(str(total))


async def count_by_race(socket: Socket) -> None:
    """Wait for the client and for a queue, whichever is first."""
    await socket.accept()
    texts: asyncio.Queue[str] = asyncio.Queue()
    receiving, writing, counted = begin(socket.receive()), begin(texts.get()), 0
    try:
        while True:
            await asyncio.wait({receiving, writing}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                counted += 1
                texts.put_nowait(f"{counted} {receiving.result()}")
                receiving = begin(socket.receive())
            if writing.done():
                await socket.send(writing.result())
                writing = begin(texts.get())
    finally:
        receiving.cancel()
        writing.cancel()


async def subscriptions(socket: Socket) -> None:
    """Tasks side by side, each with a queue, until the client no longer wants one of them."""
    await socket.accept()
    queues: dict[str, asyncio.Queue[str]] = {}
    running: dict[str, asyncio.Task[Any]] = {}

    async def subscribe(topic: str) -> None:
        number = 0
        try:
            while True:
                text = await queues[topic].get()
                number += 1
                await socket.send(f"{topic} {number} {text}")
        finally:
            del queues[topic]

    try:
        while True:
            match (await socket.receive()).split():
                case ["subscribe", topic]:
                    queues[topic] = asyncio.Queue()
                    running[topic] = begin(subscribe(topic))
                    await socket.send(f"{topic} begun")
                case ["unsubscribe", topic]:
                    task = running.pop(topic)
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
                    await socket.send(f"{topic} ended")
                case ["publish", text]:
                    for queue in queues.values():
                        queue.put_nowait(text)
    finally:
        for task in running.values():
            task.cancel()


async def streams_with_ids(socket: Socket) -> None:
    """Streams that go on side by side, as those of GraphQL, and are stopped by their ids."""
    await socket.accept()
    running: dict[str, asyncio.Task[Any]] = {}

    async def stream(name: str, to: int) -> None:
        for number in range(to):
            await socket.send(f"{name} {number}")
            await asyncio.sleep(0.1)
        await socket.send(f"{name} complete")

    async with asyncio.TaskGroup() as group:
        while True:
            match (await socket.receive()).split():
                case ["start", name, to]:
                    running[name] = group.create_task(stream(name, int(to)))
                case ["stop", name]:
                    stopped = running.pop(name).cancel()
                    await socket.send(f"{name} stopped: {stopped}")
                case _:
                    await socket.send(" ".join(running))


async def stream_until_stop(socket: Socket) -> None:
    """The client's "stop" reaches the stream, and the number of streams is remembered."""
    await socket.accept()
    begun = 0
    streaming: asyncio.Task[None] | None = None

    async def stream() -> None:
        for number in range(500):
            await socket.send(str(number))
            await asyncio.sleep(0.1)

    try:
        while True:
            text = await socket.receive()
            if streaming is not None:
                streaming.cancel()
                streaming = None
            if text == "stop":
                await socket.send(f"stopped {begun}")
            else:
                begun += 1
                streaming = begin(stream())
    finally:
        if streaming is not None:
            streaming.cancel()


async def farewell_to_stream(socket: Socket) -> None:
    """The client leaves while it is sent something, and what it said is known then."""
    await socket.accept()
    texts: list[str] = []

    async def stream() -> None:
        for number in range(500):
            await socket.send(str(number))
            await asyncio.sleep(0.1)

    streaming: asyncio.Task[None] | None = None
    try:
        while True:
            texts.append(await socket.receive())
            streaming = streaming or begin(stream())
    finally:
        if streaming is not None:
            streaming.cancel()
        hear(f"{type(socket).__name__} left a stream after {' '.join(texts)}")


async def farewell_to_feed(socket: Socket) -> None:
    """The same where it is sent from the beginning."""
    await socket.accept()

    async def feed() -> None:
        for number in range(500):
            await socket.send(str(number))
            await asyncio.sleep(0.1)

    feeding = begin(feed())
    try:
        while True:
            await socket.receive()
    finally:
        feeding.cancel()
        hear(f"{type(socket).__name__} left a feed")


async def answers(socket: Socket) -> None:
    """The server asks, too: a future waits for the client's answer."""
    await socket.accept()
    asked: dict[int, asyncio.Future[str]] = {}

    async def ask() -> None:
        for number in range(3):
            asked[number] = asyncio.get_running_loop().create_future()
            await socket.send(f"question {number}")
            await socket.send(f"you said {await asked[number]}")
        await socket.close(4000, "all asked")

    asking = begin(ask())
    try:
        while True:
            number, _, text = (await socket.receive()).partition(" ")
            asked[int(number)].set_result(text)
    finally:
        asking.cancel()


async def one_job_at_a_time(socket: Socket) -> None:
    """Each message ends the job of the one before."""
    await socket.accept()
    working: asyncio.Task[None] | None = None

    async def work(text: str) -> None:
        try:
            await socket.send(f"{text} begun")
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await socket.send(f"{text} cancelled")
            raise

    try:
        while True:
            text = await socket.receive()
            if working is not None:
                working.cancel()
                await asyncio.wait({working})
            working = begin(work(text))
    finally:
        if working is not None:
            working.cancel()


async def wait_for_all(socket: Socket) -> None:
    """Jobs of several messages wait for one that comes later."""
    await socket.accept()
    go, done = asyncio.Event(), 0

    async def work(text: str) -> None:
        nonlocal done
        await socket.send(f"{text} waits")
        await go.wait()
        done += 1
        await socket.send(f"{done} {text}")

    while True:
        text = await socket.receive()
        if text == "go":
            go.set()
            go.clear()
        else:
            begin(work(text))


async def turns(socket: Socket) -> None:
    """Tasks that take turns by a condition."""
    await socket.accept()
    condition, scores = asyncio.Condition(), {"a": 0, "b": 0}

    async def play(name: str) -> None:
        while True:
            async with condition:
                await condition.wait()
                scores[name] += 1
                if name == "b":
                    await socket.send(json.dumps(scores))

    async with asyncio.TaskGroup() as group:
        for name in scores:
            group.create_task(play(name))
        await asyncio.sleep(0.01)  # until both wait
        while True:
            await socket.receive()
            async with condition:
                condition.notify_all()


# Those that act while their client is silent


async def nudge(socket: Socket) -> None:
    """Ask, once, after each time that the client is silent."""
    await socket.accept()
    nudges = 0
    while True:
        try:
            text = await asyncio.wait_for(socket.receive(), 1.5)
        except TimeoutError:
            nudges += 1
            await socket.send(f"nudge {nudges}")
            text = await socket.receive()
        await socket.send(f"{text} after {nudges}")


async def idle_end(socket: Socket) -> None:
    """End the connection of who is silent, and say how much was said."""
    await socket.accept()
    said = 0
    while True:
        try:
            async with asyncio.timeout(1.6):
                await socket.receive()
        except TimeoutError:
            await socket.send(f"{said} were said")
            return await socket.close(4408, "idle")
        said += 1
        await socket.send(str(said))


async def ticks(socket: Socket) -> None:
    """A task counts by itself from the first message on; it is asked how far it is."""
    await socket.accept()
    counted = 0

    async def tick() -> None:
        nonlocal counted
        while True:
            await asyncio.sleep(1.5)
            counted += 1

    text = await socket.receive()
    ticking = begin(tick())
    try:
        while True:
            await socket.send(f"{text} {counted}")
            text = await socket.receive()
    finally:
        ticking.cancel()


async def reminders(socket: Socket) -> None:
    """Timers are set by one message, and are due while another is waited for."""
    await socket.accept()
    due: list[str] = []

    async def remind(seconds: float, text: str) -> None:
        await asyncio.sleep(seconds)
        due.append(text)
        await socket.send(f"remember {text}")

    while True:
        match (await socket.receive()).split():
            case ["remind", seconds, text]:
                begin(remind(float(seconds), text))
                await socket.send("set")
            case _:
                await socket.send(json.dumps(due))


async def debounce(socket: Socket) -> None:
    """Answer once the client has said nothing for a while."""
    await socket.accept()
    texts: list[str] = []
    timer: asyncio.TimerHandle | None = None
    loop = asyncio.get_running_loop()

    async def answer() -> None:
        await socket.send(" ".join(texts))

    def fire() -> None:
        begin(answer())

    while True:
        texts.append(await socket.receive())
        if timer is not None:
            timer.cancel()
        timer = loop.call_later(0.7, fire)


async def by_scope(socket: Socket) -> None:
    """Anyio's time limit of each answer, with what was said before."""
    await socket.accept()
    texts: list[str] = []
    while True:
        with anyio.move_on_after(1.5) as scope:
            texts.append(await socket.receive())
            await socket.send(" ".join(texts))
        if scope.cancelled_caught:
            texts.append("(silence)")
            await socket.send(" ".join(texts))
            texts.append(await socket.receive())
            await socket.send(" ".join(texts))


ENDPOINTS = [
    sum_by_queue,
    sum_by_task_group,
    sum_by_anyio,
    count_by_race,
    subscriptions,
    streams_with_ids,
    stream_until_stop,
    farewell_to_stream,
    farewell_to_feed,
    answers,
    one_job_at_a_time,
    wait_for_all,
    turns,
    nudge,
    idle_end,
    ticks,
    reminders,
    debounce,
    by_scope,
]
