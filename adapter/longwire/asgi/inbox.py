"""What the app is to receive, and which of its tasks wait for more."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ASGIMessageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.types import Message

# An app that receives this often after it has been cancelled is left to wait.
REFUSALS = 4


class Inbox:
    """What the app is to receive, and which of its tasks wait for more.

    Attributes:
        waiters: the tasks inside `receive()` with nothing to deliver.
        waited: whether there has ever been one.
        closed: the run is over; whoever receives is cancelled.
    """

    def __init__(self, first: Message, on_wait: Callable[[], object]) -> None:
        self.waiters: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self.waited = False
        self.closed = False
        self._messages: deque[Message] = deque([first])
        self._on_wait = on_wait
        self._refused = 0

    def __bool__(self) -> bool:
        return bool(self._messages)

    def deliver(self, message: Message) -> None:
        """Give the app a message."""
        self._messages.append(message)
        self._wake()

    async def receive(self) -> Message:
        """Return the next message: ASGI's `receive`."""
        while not self._messages:
            if self.closed:
                await self._refuse()
            await self._wait()
        return self._messages.popleft()

    async def _wait(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise ASGIMessageError("receive() was called outside a task")
        self.waited = True
        self.waiters[task] = waiter = asyncio.get_running_loop().create_future()
        self._on_wait()
        try:
            await waiter
        finally:
            del self.waiters[task]
            if self._messages:  # cancelled with a message on its way: another may have it
                self._wake()

    async def _refuse(self) -> None:
        """Cancel again an app that receives while it unwinds; in the end let it wait for ever."""
        self._refused += 1
        if self._refused > REFUSALS:
            await asyncio.get_running_loop().create_future()
        raise asyncio.CancelledError

    def _wake(self) -> None:
        for waiter in self.waiters.values():
            if not waiter.done():
                waiter.set_result(None)
                return
