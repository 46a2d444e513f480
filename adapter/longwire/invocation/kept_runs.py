"""The runs of a process that wait, between two events, for the next message of their client.

Only with `replay`. A kept run saves time and nothing else: it goes on only where a replay of its
connection's journal would stand, and otherwise it is ended without effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from typing import TYPE_CHECKING

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from typing import Protocol

    from longwire.asgi.lasting import LastingRun
    from longwire.invocation.greeting import Greeting
    from longwire.invocation.state import OwnState
    from longwire.registry.caller import Caller
    from longwire.registry.record import ConnectionRecord
    from longwire.replay.results import OnceResults
    from longwire.replay.turn import Turn
    from longwire.types import Scope

logger: logging.Logger = logging.getLogger("longwire")

# So many runs are kept at most, with so many characters of messages in all, and each for so many
# seconds: API Gateway ends a connection on which nothing was said for so long.
MOST_RUNS = 256
MOST_SIZE = 32 * 1024 * 1024
MOST_AGE = 600.0
# A turn that has been seen at two looks, so many seconds apart, takes long.
LOOK_AFTER = 0.07
# How long one that is ended may clean up, in seconds.
END_LIMIT = 1.0
# How long the next event of a connection waits until a run that is at rest is kept, in seconds.
KEEP_LIMIT = 0.5


class KeptRun(NamedTuple):
    """A run at rest, and what has to be changed when another event goes on with it."""

    run: LastingRun
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


if TYPE_CHECKING:

    class AtWork(Protocol):
        """What has the turn of a connection."""

        @property
        def loop(self) -> asyncio.AbstractEventLoop: ...

        def attend(self) -> None:
            """Look for messages of others from now on, as the turn takes long."""

        def wake(self) -> None:
            """Say, on whichever event loop, that there is a message."""

        def over(self) -> asyncio.Future[None]:
            """Return what is done once the run is kept, or has ended."""


class KeptRuns:
    """Those of one handler, and the turns that are taken in this process."""

    def __init__(self) -> None:
        self._at_work: dict[str, AtWork] = {}  # by connection id, until it is kept or ends
        # Those that the last look has seen, for each event loop that has a timer for the next one.
        self._young: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[AtWork]] = (
            weakref.WeakKeyDictionary()
        )
        self._runs: dict[str, KeptRun] = {}  # the oldest first
        self._size = 0

    # The turns that are taken

    def begin_turn(self, connection_id: str, at_work: AtWork) -> None:
        """Note whose turn it is; it is attended to once it takes long."""
        self._at_work[connection_id] = at_work
        if at_work.loop not in self._young:  # one timer for all: most turns are short
            self._look_again(at_work.loop, set())

    def _look_again(self, loop: asyncio.AbstractEventLoop, young: set[AtWork]) -> None:
        self._young[loop] = young
        loop.call_later(LOOK_AFTER, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to attend turns that were there at the last look."""
        old = self._young.pop(loop)
        young = {one for one in tuple(self._at_work.values()) if one.loop is loop}
        for at_work in old & young:
            at_work.attend()
        if young:
            self._look_again(loop, young)

    def end_turn(self, connection_id: str, at_work: AtWork) -> None:
        if self._at_work.get(connection_id) is at_work:
            del self._at_work[connection_id]

    def wake(self, connection_id: str) -> None:
        """Say to whose turn it is, if that is in this process, that there is a message."""
        if (at_work := self._at_work.get(connection_id)) is not None:
            at_work.wake()

    # The runs that are kept

    def is_sure(self, connection_id: str) -> bool:
        """Tell whether the journal alone says that a kept run's connection goes on, and is greeted.

        Before its first entry it does not.
        """
        kept = self._runs.get(connection_id)
        return kept is None or (kept.turn.conversation.position > 0 and not kept.greets)

    def take(self, connection_id: str) -> KeptRun | None:
        """Take out the run of a connection; whoever gets it goes on with it, or ends it."""
        kept = self._runs.pop(connection_id, None)
        if kept is not None:
            self._size -= kept.turn.conversation.size
        return kept

    async def take_next(self, connection_id: str, position: int) -> KeptRun | None:
        """Take out a run whose turn has just ended at a position; another one is ended."""
        at_work = self._at_work.get(connection_id)
        if at_work is not None and at_work.loop is asyncio.get_running_loop():
            await asyncio.wait({at_work.over()}, timeout=KEEP_LIMIT)
        kept = self.take(connection_id)
        if kept is None:
            return None
        stands = kept.turn.conversation.position == position and kept.run.stands_still()
        if stands and not kept.greets:
            return kept
        await end(kept)
        return None

    async def put(self, connection_id: str, kept: KeptRun) -> None:
        """Keep a run, and end those for which there is no room."""
        kept.run.keep()
        older = self.take(connection_id)
        self._runs[connection_id] = kept
        self._size += kept.turn.conversation.size
        if older is not None:
            await end(older)
        while (evicted := self._take_too_many()) is not None:
            await end(evicted)

    def _take_too_many(self) -> KeptRun | None:
        """Take out the oldest if there is no room for all."""
        if not self._runs:
            return None
        name, oldest = next(iter(self._runs.items()))
        too_many = len(self._runs) > MOST_RUNS or self._size > MOST_SIZE
        if too_many or time.monotonic() - oldest.since > MOST_AGE:
            return self.take(name)
        return None

    async def end_all(self) -> None:
        """End all runs, as their process ends, or is to be copied."""
        ending = [kept for name in tuple(self._runs) if (kept := self.take(name)) is not None]
        await asyncio.gather(*map(end, ending))


async def end(kept: KeptRun) -> None:
    """End a run without effect: its app cleans up, and its connection goes on."""
    if kept.run.loop is not asyncio.get_running_loop():
        with contextlib.suppress(RuntimeError):  # it has been closed
            kept.run.loop.call_soon_threadsafe(_end_soon, kept)
        return
    until = asyncio.get_running_loop().time() + END_LIMIT
    if given_up := await kept.run.stop(until, until):
        logger.error(
            "connection %s: the app ignored its cancellation and is given up: %s",
            kept.run.connection_id,
            given_up,
        )


_ending: set[asyncio.Task[None]] = set()  # or they would be garbage before they are done


def _end_soon(kept: KeptRun) -> None:
    """End a run on its own event loop."""
    task = kept.run.loop.create_task(end(kept))
    _ending.add(task)
    task.add_done_callback(_ending.discard)
