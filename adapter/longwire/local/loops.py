"""The event loop of a thread that an app runs in, and calls into it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger: logging.Logger = logging.getLogger("longwire.local")


def run(loop: asyncio.AbstractEventLoop, is_over: Callable[[], bool]) -> None:
    """Run it in this thread until somebody stops it and it is over, and close it."""
    asyncio.set_event_loop(loop)
    while not is_over():
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two end its loop. Lambda would start a new process.
            logger.error("the app tried to end the process: %r; it goes on here", error)
    asyncio.set_event_loop(None)
    loop.close()


class Calls:
    """Calls into an event loop from other threads; those that come together wake it once."""

    # As `call_soon_threadsafe`, which writes to a socket each time: then another thread may go on.

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._is_woken = False

    def put(self, call: Callable[..., object], *arguments: object) -> None:
        """Have something called in the thread of the loop; from any thread."""
        self._waiting.append((call, arguments))
        if not self._is_woken:
            self._wake()

    def _wake(self) -> None:
        self._is_woken = True
        try:
            self._loop.call_soon_threadsafe(self._make)
        except RuntimeError:  # it is closed
            self._is_woken = False
            self._waiting.clear()
            raise

    def _make(self) -> None:
        self._is_woken = False
        try:
            while self._waiting:
                call, arguments = self._waiting.popleft()
                call(*arguments)
        finally:
            # One has raised, which the loop tells of, or ends by: the others get a turn of theirs.
            if self._waiting and not self._is_woken:
                self._wake()
