"""Work that must happen after the response has left.

What an app sends right after `accept` can only be posted once API Gateway has the response: a
connection does not exist inside its own `$connect`. Where the event loop goes on running after the
response (`await handler.handle(...)`), that work is a task on it. Where it stops
(`handler(...)`, frozen by Lambda), there is no such place, and the greeting is stored instead.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

logger = logging.getLogger("longwire")


class AfterResponse:
    """Tasks that outlive the event they belong to."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Go on with `work` once the response has left; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        # A task that is cancelled before its first step never comes to its `finally`.
        await asyncio.sleep(0)

    async def wait(self) -> None:
        """Wait for all that is still going on."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
            await asyncio.sleep(0)  # their done-callbacks take them out

    async def finish(self) -> None:
        """Cancel what is still going on and wait until it has put its affairs in order."""
        for task in self._tasks:
            task.cancel()
        await self.wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed after its response: %s", task.get_name(), error, exc_info=error)
