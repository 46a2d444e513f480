"""Work that may be awaited and need not be, as `manager.disconnect(user_id)` in many tutorials."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any

from longwire.registry import caller as callers
from longwire.registry.caller import Caller

Work = Callable[[], Coroutine[Any, Any, None]]

logger = logging.getLogger("longwire")

# What the code that runs here has started.
_started: ContextVar[tuple[asyncio.Task[None], ...]] = ContextVar("longwire_started", default=())
_tasks: set[asyncio.Task[None]] = set()  # an event loop keeps no task alive by itself


class Done(Awaitable[None]):
    """What there is to await where nothing is left to be done."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


def start(work: Work, name: str) -> asyncio.Task[None]:
    """Begin with work, which the task that asks need not wait for; what it raises is logged."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(decided(work), name=name)
    _tasks.add(task)
    task.add_done_callback(_log)
    if (caller := callers.current.get()) is not None:
        caller.unfinished.add(task)
        task.add_done_callback(caller.unfinished.discard)
    earlier = (one for one in _started.get() if not one.done())
    _started.set((*earlier, task))
    return task


async def decided(work: Work) -> None:
    """Work on what took effect when it was decided, even if its run has ended by now."""
    if (caller := callers.current.get()) is not None:
        no_run = Caller(caller.layer, caller.deadline, loop=caller.loop, departed=caller.departed)
        callers.current.set(no_run)
    await work()


def _log(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if task.cancelled():
        logger.warning("%s was cancelled before it was done", task.get_name())
    elif (error := task.exception()) is not None:
        logger.error("%s failed", task.get_name(), exc_info=error)


async def takes_effect() -> bool:
    """Tell whether what this code does counts, once what it has started is done."""
    loop = asyncio.get_running_loop()
    earlier = (task for task in _started.get() if task.get_loop() is loop)
    if unfinished := [task for task in earlier if not task.done()]:
        await asyncio.wait(unfinished)
    caller = callers.current.get()
    return caller is None or caller.has_effect
