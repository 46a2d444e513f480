"""Who has the turn while an app is busy: looks after it, and for messages that come meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from typing import TYPE_CHECKING

from longwire.exceptions import BackendError
from longwire.replay.turn import PAUSES, TurnLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.replay.journal import Told
    from longwire.replay.turn import Turn

logger: logging.Logger = logging.getLogger("longwire")

# The turns of the event loop that an app has for one message before the next.
ROUNDS = 20


async def _let_react() -> None:
    """Let the app come to what it does for one message before it is given the next."""
    # A replay gives them one by one, and what it asks of `once` must not hang on that.
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


class Attendant:
    """Keeps the turn while the app is busy, and gives it the messages that come in meanwhile.

    `give` gets each message that is begun with, if the app `wants` one: what it has not received
    at the end is lost, while the event of a message that waits has time of its own. `lost` is
    called when the turn is somebody else's.
    """

    def __init__(
        self,
        turn: Turn,
        give: Callable[[Told], None],
        lost: Callable[[], None],
        wants: Callable[[], bool],
        takes_until: float,  # in `time.monotonic()`; it takes no more after that
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()  # of its event, whoever begins or wakes it
        self._turn = turn
        self._give = give
        self._lost = lost
        self._wants = wants
        self._takes_until = takes_until
        self._is_open = False
        self._stopping = False
        self._woken: asyncio.Event  # once it has begun, as few do
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin, if it has not: most turns are over before that."""
        if self._task is None and not self._stopping:
            self._woken = asyncio.Event()
            self._task = self._context.run(self.loop.create_task, self._attend())

    @property
    def takes(self) -> bool:
        """Whether it still takes others' messages, whose events have time of their own."""
        return self._is_open and not self._stopping and time.monotonic() < self._takes_until

    def open(self) -> None:
        """Take others' messages from now on."""
        self._is_open = True

    def wake(self) -> None:
        """Say, on whichever event loop, that there is a message."""
        if self.loop is asyncio.get_running_loop():
            self._wake()
        else:
            with contextlib.suppress(RuntimeError):  # it has been closed
                self.loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self.begin()
        if self._task is not None:
            self._woken.set()

    async def stop(self) -> None:
        """Stop, but not before what it has begun is done."""
        self._stopping = True
        if self._task is not None:
            self._woken.set()
            await self._task

    async def _next(self) -> Told | None:
        return await self._turn.begin_next(takes=self.takes and self._wants())

    async def _attend(self) -> None:
        pauses = iter(PAUSES)
        while not self._stopping:
            self._woken.clear()  # before it looks, or what it is woken for then would be missed
            try:
                await self._turn.renew()
                await self._turn.read()
                if self._turn.conversation.waiting:
                    await _let_react()
                told = await self._next() if self._is_open else None
            except TurnLostError:
                return None if self._turn.at_rest else self._lost()
            except BackendError as error:
                logger.warning(
                    "connection %s: its turn is not kept for now: %s", self._turn.id, error
                )
                told = None
            if told is not None:
                self._give(told)
                pauses = iter(PAUSES)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), next(pauses, PAUSES[-1]))
