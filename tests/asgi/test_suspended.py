"""Which tasks are quiet: only another task of their run can wake them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from longwire.asgi.frames import describe
from longwire.asgi.suspended import is_runnable
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
