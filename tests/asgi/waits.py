"""All that a task can wait for, and a way to judge it while it does."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx

from longwire.asgi.due import awaited_future, is_runnable, limited
from longwire.asgi.suspended import judge
from longwire.asgi.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable

    from longwire.asgi.suspended import Waits


class World:
    """Things to wait for that never come, known to two tasks of a run."""

    port: int

    def __init__(self) -> None:
        self.queue: asyncio.Queue[int] = asyncio.Queue()
        self.full: asyncio.Queue[int] = asyncio.Queue(1)
        self.full.put_nowait(0)
        self.event = asyncio.Event()
        self.lock = asyncio.Lock()
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.thread = threading.Event()
        self.condition = asyncio.Condition()
        self.send, self.receive = anyio.create_memory_object_stream[int](0)

    async def items(self) -> AsyncIterator[int]:
        while True:
            yield await self.queue.get()


async def on_queue(world: World) -> None:
    await world.queue.get()


async def on_full_queue(world: World) -> None:
    await world.full.put(1)


async def on_event(world: World) -> None:
    await world.event.wait()


async def on_lock(world: World) -> None:
    async with world.lock, world.lock:
        pass


async def on_condition(world: World) -> None:
    async with world.condition:
        await world.condition.wait()


async def on_async_generator(world: World) -> None:
    async for _ in world.items():
        pass


async def on_anext_with_default(world: World) -> None:
    await anext(world.items(), None)


async def on_task(world: World) -> None:
    await asyncio.create_task(on_queue(world))


async def on_gather(world: World) -> None:
    await asyncio.gather(on_queue(world), on_event(world))


async def on_wait(world: World) -> None:
    tasks = [asyncio.create_task(on_queue(world)), asyncio.create_task(on_event(world))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def on_wait_for(world: World) -> None:
    await asyncio.wait_for(on_queue(world), 60)


async def on_as_completed(world: World) -> None:
    for first in asyncio.as_completed([on_queue(world)]):
        await first


async def on_task_group(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(on_queue(world))


async def on_anyio_task_group(world: World) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(on_queue, world)


async def on_anyio_stream(world: World) -> None:
    async for _ in world.receive:
        pass


async def on_sleep(world: World) -> None:
    await asyncio.sleep(60)


async def on_future(world: World) -> None:
    await world.future


async def on_thread(world: World) -> None:
    await asyncio.to_thread(world.thread.wait)


async def on_anyio_thread(world: World) -> None:
    await anyio.to_thread.run_sync(world.thread.wait)


async def on_thread_with_limit(world: World) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.wait_for(loop.run_in_executor(None, world.thread.wait), 60)


async def on_gather_of_a_thread(world: World) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(on_queue(world), loop.run_in_executor(None, world.thread.wait))


async def on_wait_for_a_thread(world: World) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.wait([loop.run_in_executor(None, world.thread.wait)])


async def on_queue_of_its_own(world: World) -> None:
    """Nobody else of the run knows this queue: a thread may, or another run."""
    await asyncio.Queue[int]().get()


async def on_socket(world: World) -> None:
    async with await anyio.connect_tcp("127.0.0.1", world.port) as stream:
        await stream.receive()


async def on_http_client(world: World) -> None:
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{world.port}/", timeout=60)


QUIET = [
    on_queue,
    on_full_queue,
    on_event,
    on_condition,
    on_async_generator,
    on_anext_with_default,
    on_task,
    on_gather,
    on_wait,
    on_wait_for,
    on_as_completed,
    on_task_group,
    on_anyio_task_group,
    on_anyio_stream,
]
BUSY = [
    on_sleep,
    on_lock,
    on_queue_of_its_own,
    on_socket,
    on_http_client,
    on_future,
    on_thread,
    on_anyio_thread,
    on_thread_with_limit,
    on_gather_of_a_thread,
    on_wait_for_a_thread,
]


def waits_of(task: asyncio.Task[Any], run: Collection[asyncio.Task[Any]]) -> Waits:
    """Judge one task without a turn of the loop."""
    judging = judge([task], run, frozenset(), Turns())
    while True:
        try:
            judging.send(None)
        except StopIteration as over:
            waits: Waits = over.value
            return waits


def is_quiet(task: asyncio.Task[Any], run: Collection[asyncio.Task[Any]]) -> bool:
    """Tell whether only another task of the run can wake this one."""
    return not waits_of(task, run).busy


def is_bounded(task: asyncio.Task[Any], timers: Iterable[asyncio.TimerHandle]) -> bool:
    """Tell whether one of these timers is the time limit of what a task waits for."""
    for timer in timers:
        tasks, futures = limited(timer)
        if task in tasks or awaited_future(task) in futures:
            return True
    return False


async def suspended(
    wait: Callable[[World], Awaitable[None]], judge: Callable[[Any, Any], Any]
) -> Any:
    """Let a task come to where it waits, judge it among the tasks it made, and end them all."""
    world = World()
    others = asyncio.all_tasks()

    async def body() -> None:
        await wait(world)

    async def companion(world: World) -> None:
        await asyncio.get_running_loop().create_future()

    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and says nothing
        world.port = server.getsockname()[1]
        task = asyncio.create_task(body(), name="it")
        other = asyncio.create_task(companion(world))
        await _rest(others)
        run = asyncio.all_tasks() - others
        assert other in run
        try:
            return judge(task, run)
        finally:
            await _end(world, run)


async def _rest(others: set[asyncio.Task[Any]]) -> None:
    """Let the loop turn until no new task can go on."""
    calm = 0
    while calm < 50:
        await asyncio.sleep(0.001 if calm > 25 else 0)  # connecting takes a moment
        calm = 0 if any(map(is_runnable, asyncio.all_tasks() - others)) else calm + 1


async def _end(world: World, run: set[asyncio.Task[Any]]) -> None:
    with world.send, world.receive:
        world.thread.set()
        for one in run:
            one.cancel()
        await asyncio.gather(*run, return_exceptions=True)
