"""Who may go on where only so many may at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Places:
    """So many places, taken in the order of coming; whoever has one gives it back."""

    # A semaphore of asyncio costs everybody two coroutines, also where a place is free.

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a place, if one is free and nobody waits for it."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    async def wait(self) -> None:
        """Take the next place."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:  # cancelled, or closed by whoever drives it without a task
            if not (place.cancel() or place.cancelled()):
                self.give()  # it came together with the cancellation
            raise

    def give(self) -> None:
        """Give a place back, or rather to whoever waits for it first."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
