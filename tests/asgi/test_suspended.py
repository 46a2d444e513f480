"""Which tasks are quiet: only another task of their run can wake them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

import pytest

from longwire.asgi import tasks
from longwire.asgi.due import is_due, is_runnable
from longwire.asgi.frames import describe
from tests.asgi import waits
from tests.asgi.waits import BUSY, QUIET, is_quiet, on_sleep, on_task, suspended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.asgi.waits import World

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("wait", QUIET)
async def test_a_wait_for_another_task_is_quiet(
    wait: Callable[[World], Awaitable[None]],
) -> None:
    """Queues, events, locks, tasks, groups, in asyncio's words and in anyio's."""
    assert await suspended(wait, is_quiet)


@pytest.mark.parametrize("wait", BUSY)
async def test_any_other_wait_is_busy(wait: Callable[[World], Awaitable[None]]) -> None:
    """Timers, threads and futures that nobody knows may still move by themselves."""
    assert not await suspended(wait, is_quiet)


async def test_a_task_of_another_run_is_busy() -> None:
    """What a task of somebody else does, no one here can tell."""
    assert not await suspended(on_task, lambda task, run: is_quiet(task, {task}))


async def test_a_description_names_the_line_that_can_be_changed() -> None:
    """Frames inside asyncio say nothing to the author of an app."""
    text = await suspended(on_sleep, lambda task, run: describe([task]))
    assert text.startswith("it in on_sleep (")
    assert f"{waits.__file__}:{on_sleep.__code__.co_firstlineno + 1})" in text


async def test_a_finished_task_waits_for_nothing() -> None:
    """It is neither runnable nor anywhere."""
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    assert not is_runnable(task)
    assert describe([task]).endswith("in unknown")


async def test_among_many_only_what_is_yet_to_be_called_is_due() -> None:
    """Each asks in a callback of its own, which does not count any more."""
    loop, due = asyncio.get_running_loop(), []
    runs = [tasks.TaskSet() for _ in range(200)]

    def context_of(run: tasks.TaskSet) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(tasks._owner.set, run)
        return context

    def ask(number: int) -> None:
        due.append(is_due(loop, runs[number]))
        if number == 70:  # from now on one of the first has something to be called again
            loop.call_soon(ask, 7, context=context_of(runs[7]))
            due.append(is_due(loop, runs[7]))

    for number, run in enumerate(runs):
        loop.call_soon(ask, number, context=context_of(run))
    loop.call_soon(ask, 5, context=context_of(runs[5]))
    for _ in range(3):
        await asyncio.sleep(0)
    expected = [False] * 203
    expected[5] = expected[71] = True
    assert due == expected
