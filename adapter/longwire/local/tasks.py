"""The gateway's own tasks."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Tasks:
    """Tasks that do not end with whoever began them."""

    def __init__(self) -> None:
        # asyncio itself keeps no reference to them.
        self._tasks: set[asyncio.Task[Any]] = set()
        # A task that a function causes, by closing its connection for example, must not see that
        # function's context variables: each begins in a copy of this context.
        self._context = contextvars.copy_context()

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        # Not `create_task(context=...)`: a task factory looks at the context that calls it.
        context = self._context.copy()
        task = context.run(asyncio.get_running_loop().create_task, coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settle(self, timeout: float) -> None:
        """Wait for all tasks, at most `timeout` seconds; then cancel what still runs."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self._tasks and loop.time() < deadline:
            await asyncio.wait(
                self._tasks,
                timeout=deadline - loop.time(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        remaining = list(self._tasks)
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)
