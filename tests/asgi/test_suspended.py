"""Which tasks are quiet: only another task of their run can wake them."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import pytest

from longwire.asgi.suspended import describe, is_quiet, is_runnable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.anyio


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


async def _queue(world: World) -> None:
    await world.queue.get()


async def _full_queue(world: World) -> None:
    await world.full.put(1)


async def _event(world: World) -> None:
    await world.event.wait()


async def _lock(world: World) -> None:
    async with world.lock, world.lock:
        pass


async def _condition(world: World) -> None:
    async with world.condition:
        await world.condition.wait()


async def _async_generator(world: World) -> None:
    async for _ in world.items():
        pass


async def _anext_with_default(world: World) -> None:
    await anext(world.items(), None)


async def _task(world: World) -> None:
    await asyncio.create_task(_queue(world))


async def _gather(world: World) -> None:
    await asyncio.gather(_queue(world), _event(world))


async def _wait(world: World) -> None:
    tasks = [asyncio.create_task(_queue(world)), asyncio.create_task(_event(world))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _wait_for(world: World) -> None:
    await asyncio.wait_for(_queue(world), 60)


async def _as_completed(world: World) -> None:
    for first in asyncio.as_completed([_queue(world)]):
        await first


async def _task_group(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_queue(world))


async def _anyio_task_group(world: World) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_queue, world)


async def _anyio_stream(world: World) -> None:
    async for _ in world.receive:
        pass


async def _sleep(world: World) -> None:
    await asyncio.sleep(60)


async def _future(world: World) -> None:
    await world.future


async def _thread(world: World) -> None:
    await asyncio.to_thread(world.thread.wait)


async def _anyio_thread(world: World) -> None:
    await anyio.to_thread.run_sync(world.thread.wait)


async def _thread_with_limit(world: World) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.wait_for(loop.run_in_executor(None, world.thread.wait), 60)


async def _gather_of_a_thread(world: World) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(_queue(world), loop.run_in_executor(None, world.thread.wait))


async def _wait_for_a_thread(world: World) -> None:
    loop = asyncio.get_running_loop()
    await asyncio.wait([loop.run_in_executor(None, world.thread.wait)])


async def _queue_of_its_own(world: World) -> None:
    """Nobody else of the run knows this queue: a thread may, or another run."""
    await asyncio.Queue[int]().get()


async def _socket(world: World) -> None:
    async with await anyio.connect_tcp("127.0.0.1", world.port) as stream:
        await stream.receive()


async def _http_client(world: World) -> None:
    async with httpx.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{world.port}/", timeout=60)


QUIET = [
    _queue,
    _full_queue,
    _event,
    _condition,
    _async_generator,
    _anext_with_default,
    _task,
    _gather,
    _wait,
    _wait_for,
    _as_completed,
    _task_group,
    _anyio_task_group,
    _anyio_stream,
]
BUSY = [
    _sleep,
    _lock,
    _queue_of_its_own,
    _socket,
    _http_client,
    _future,
    _thread,
    _anyio_thread,
    _thread_with_limit,
    _gather_of_a_thread,
    _wait_for_a_thread,
]


async def _suspended(
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


@pytest.mark.parametrize("wait", QUIET)
async def test_a_wait_for_another_task_is_quiet(
    wait: Callable[[World], Awaitable[None]],
) -> None:
    """Queues, events, locks, tasks, groups, in asyncio's words and in anyio's."""
    assert await _suspended(wait, is_quiet)


@pytest.mark.parametrize("wait", BUSY)
async def test_any_other_wait_is_busy(wait: Callable[[World], Awaitable[None]]) -> None:
    """Timers, threads and futures that nobody knows may still move by themselves."""
    assert not await _suspended(wait, is_quiet)


async def test_a_task_of_another_run_is_busy() -> None:
    """What a task of somebody else does, no one here can tell."""
    assert not await _suspended(_task, lambda task, run: is_quiet(task, {task}))


async def test_a_description_names_the_line_that_can_be_changed() -> None:
    """Frames inside asyncio say nothing to the author of an app."""
    text = await _suspended(_sleep, lambda task, run: describe([task]))
    assert text.startswith("it in _sleep (")
    assert f"{__file__}:{_sleep.__code__.co_firstlineno + 1})" in text


async def test_a_finished_task_waits_for_nothing() -> None:
    """It is neither runnable nor anywhere."""
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    assert not is_runnable(task)
    assert describe([task]).endswith("in unknown")
