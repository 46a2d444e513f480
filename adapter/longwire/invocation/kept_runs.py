"""The runs of a process that wait, between two events, for the next message of their client.

Only with `replay`. A kept run saves time and nothing else: it goes on only where a replay of its
connection's journal would stand, and otherwise it is ended without effect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from longwire.asgi.run import Run
    from longwire.invocation.greeting import Greeting
    from longwire.invocation.state import OwnState
    from longwire.registry.caller import Caller
    from longwire.registry.record import ConnectionRecord
    from longwire.registry.results import OnceResults
    from longwire.registry.turn import Attendant, Turn
    from longwire.types import Scope

logger = logging.getLogger("longwire")

# So many runs are kept at most, with so many characters of messages in all, and each for so many
# seconds: API Gateway ends a connection on which nothing was said for so long.
MOST_RUNS = 256
MOST_SIZE = 32 * 1024 * 1024
MOST_AGE = 600.0
# How long one that is ended may clean up, in seconds.
END_LIMIT = 1.0


class KeptRun(NamedTuple):
    """A run at rest, and what has to be changed when another event goes on with it."""

    run: Run
    caller: Caller
    scope: Scope
    state: OwnState  # which stores nothing, with `replay`
    turn: Turn
    results: OnceResults
    record: ConnectionRecord
    expires_at: int  # of the record
    greeting: Greeting | None  # of its connect step, if this event was that
    since: float  # in `time.monotonic()`

    @property
    def greets(self) -> bool:
        """Whether its greeting is not with the client yet."""
        return self.greeting is not None and self.greeting.is_owed


class KeptRuns:
    """Those of one handler, and the turns that are taken in this process."""

    def __init__(self) -> None:
        self.attendants: dict[str, Attendant] = {}  # of the runs at work, by connection id
        self._runs: dict[str, KeptRun] = {}  # the oldest first
        self._size = 0

    def take(self, connection_id: str) -> KeptRun | None:
        """Take out the run of a connection; whoever gets it goes on with it, or ends it."""
        kept = self._runs.pop(connection_id, None)
        if kept is not None:
            self._size -= kept.turn.conversation.size
        return kept

    async def put(self, connection_id: str, kept: KeptRun) -> None:
        """Keep a run, and end those for which there is no room."""
        kept.run.keep()
        if (older := self.take(connection_id)) is not None:
            await end(older)
        self._runs[connection_id] = kept
        self._size += kept.turn.conversation.size
        while self._is_full():
            evicted = self.take(next(iter(self._runs)))
            assert evicted is not None
            await end(evicted)

    def _is_full(self) -> bool:
        if not self._runs:
            return False
        oldest = next(iter(self._runs.values()))
        too_old = time.monotonic() - oldest.since > MOST_AGE
        return too_old or len(self._runs) > MOST_RUNS or self._size > MOST_SIZE

    async def end_all(self) -> None:
        """End all runs, as their process ends, or is to be copied."""
        ending = [kept for name in tuple(self._runs) if (kept := self.take(name)) is not None]
        await asyncio.gather(*map(end, ending))


async def end(kept: KeptRun) -> None:
    """End a run without effect: its app cleans up, and its connection goes on."""
    if kept.run.loop is not asyncio.get_running_loop():
        if not kept.run.loop.is_closed():
            kept.run.loop.call_soon_threadsafe(kept.run.abandon)
        return
    until = asyncio.get_running_loop().time() + END_LIMIT
    if given_up := await kept.run.stop(until, until):
        logger.error(
            "connection %s: the app ignored its cancellation and is given up: %s",
            kept.run.connection_id,
            given_up,
        )
