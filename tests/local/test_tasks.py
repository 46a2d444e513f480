"""Tasks that do not end with whoever began them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from longwire.local.tasks import Tasks

pytestmark = pytest.mark.anyio


async def test_tasks_begin_outside_the_context_of_the_function_that_causes_them() -> None:
    """A task factory that asks whose code creates a task must not hear that it is the app's."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")
    tasks, creators = Tasks(), []
    loop = asyncio.get_running_loop()

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        creators.append(variable.get())
        return asyncio.Task(coroutine, loop=loop, **options)

    variable.set("stained")
    loop.set_task_factory(factory)
    await tasks.spawn(asyncio.sleep(0))
    loop.set_task_factory(None)
    assert creators == ["clean"]


async def test_settle_cancels_what_does_not_end() -> None:
    """Stopping takes no longer than it may."""
    tasks = Tasks()
    task = tasks.spawn(asyncio.Event().wait())
    await tasks.settle(0.01)
    assert task.cancelled()
