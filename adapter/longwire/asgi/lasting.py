"""A run that lives on after its event, with `replay`: repeated, kept, gone on with.

It is made anew by giving the app its earlier messages once more (`repeat`), or it waits in its
process for the next event (`keep`, `resume`).
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from typing import TYPE_CHECKING

from longwire.asgi import due
from longwire.asgi.run import Run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Literal

    from longwire.asgi.due import Standstill
    from longwire.asgi.quiescence import Look, Outcome
    from longwire.asgi.stage import Outbox, Stage
    from longwire.types import Message

    Rested = Literal[
        "parked",  # only the client could move it
        "still",  # others might have moved it, but for as long as it was waited for none has
        "busy",
    ]
    """How an app waited for its client when a turn of it ended."""

OVER: frozenset[Stage] = frozenset({"gone", "unwinding"})

# A replay does not wait for timers, but no event was longer than this, in seconds.
MOST_SKIPPED = 900.0


class LastingRun(Run):
    """The app of a connection, in one process."""

    lives_on = True
    _skipped = 0.0  # seconds that a replay did not wait for
    _kept_at: Standstill | None = None
    # Since it was last active, at this time: where it first waited for the client, and whether it
    # has moved from there.
    _waited_at: Standstill | None = None
    _waited_since = -math.inf
    _has_moved = False
    _context: contextvars.Context | None = None

    # What it has done

    def count_frames(self) -> int:
        """Return how many frames the app has sent, also without effect."""
        return self._frames

    @property
    def age(self) -> float:
        """For how many seconds the app has run."""
        return self.loop.time() - self._began

    @property
    def is_over(self) -> bool:
        """Whether it takes no more messages."""
        if self._stage in OVER:
            return True
        return self.answer.state == "closed" or self._task.done()

    def has_received_all(self) -> bool:
        """Tell whether no message is there that the app has not received."""
        return not (self._inbox or self._channel)

    # Made anew

    async def repeat(
        self,
        message: Message | None,
        seconds: float,
        frames: int,
        deadline: float,
        how: Rested = "busy",
    ) -> bool:
        """Give the app an earlier message once more; tell whether it waits for the next one then.

        Without a message, go on with the one before, or with the connect step. The next message
        came so many seconds after, when the app had sent so many frames in all: what was waited for
        until then is not waited for again. If it was parked, one that sends more and never waits
        has come as far; if it stood still, it has once it waits and has sent as much.
        """
        self._expected = frames
        since: float | None = None
        if message is not None:
            self._began = self._now()
            self._inbox.deliver(message)
            await asyncio.sleep(0)  # mostly the app is through with it by then
        while True:
            look = await self._watch.look(self._task)
            arrival = self._began + seconds
            if look.outcome is not None:
                self.replay.complete = look.outcome == "parked"
                return self.replay.complete and self._is_ready(arrival)
            now, move = self._now(), look.next_move
            until = self._began + MOST_SKIPPED
            if look.waits and self.answer.accepted:
                since = now if since is None else since
                until = self._waits_until(how, since, frames, arrival)
                if now >= until or -math.inf < now + (move - self.loop.time()) > until:
                    return self._is_ready(arrival)
            elif self._frames > frames and now >= arrival:
                return self._is_ready(arrival)
            elif not self._inbox:
                move = await self._watch.next_move()
            if self.loop.time() >= deadline:
                return False
            if not self._skip(move):
                await self._watch.change(look, min(deadline, until - self._skipped))

    def _waits_until(self, how: Rested, since: float, frames: int, arrival: float) -> float:
        """Tell until when it may still come as far, though it has waited since then."""
        if how == "parked":
            return math.inf
        until = max(since, self.replay.sent_at) + self._linger
        if self._frames < frames:
            return until
        return -math.inf if how == "still" else min(until, arrival)

    def _is_ready(self, arrival: float) -> bool:
        """Tell whether the next message may come, at the time when it did."""
        timers, left = self._watch.timers, arrival - self._now()
        if timers and left > 0 and self.loop.time() + left < min(one.when() for one in timers):
            self._skip(self.loop.time() + left)
        return self.answer.accepted and not self.answer.is_closing

    def _now(self) -> float:
        """Return the time of the event loop as it would be, had nothing been skipped."""
        return self.loop.time() + self._skipped

    def _skip(self, until: float) -> bool:
        """Let the next timer fire now, if nothing else can move before it."""
        seconds = until - self.loop.time()
        if not 0.0 < seconds < MOST_SKIPPED:
            return False
        if not due.skip(self.loop, self._tasks, seconds):
            return False
        self._skipped += seconds
        return True

    @property
    def repeats(self) -> bool:
        """Whether it does again what it has done before."""
        return self._stage == "replay"

    @property
    def message_number(self) -> int:
        """Of the message for which the code that runs here runs; 0 in the connect part."""
        return self._inbox.number

    @property
    def gives_own(self) -> bool:
        # Later it is a message like any other, which has its place in the journal.
        return not self._inbox.number and super().gives_own

    async def hold(self) -> None:
        """Wait, in a replay, for `go_on`; so does whoever receives, meanwhile."""
        await self._inbox.hold()

    def go_on(self) -> bool:
        """Let those go on who are held; tell whether there are any."""
        return self._inbox.go_on()

    # At rest

    def _lingers_until(self, look: Look, since: float | None) -> float:
        if self._waited_since != self._active_at:
            self._waited_since, self._waited_at, self._has_moved = self._active_at, None, False
        if look.waits:
            now_at = self._watch.standstill()
            self._waited_at = self._waited_at or now_at
            self._has_moved |= self._waited_at.positions != now_at.positions
        return super()._lingers_until(look, since)

    def how_it_rests(self, outcome: Outcome) -> Rested:
        """Tell how it waits for the client, as its turn ends."""
        if outcome == "parked":
            return "parked"
        has_waited = self._waited_at is not None and self._waited_since == self._active_at
        return "still" if outcome == "cut_off" and has_waited and not self._has_moved else "busy"

    # Kept

    def note_rest(self) -> None:
        """Note where it has come to rest; it may be kept if it does not move any more."""
        self._kept_at = self._watch.standstill()

    async def rest(self, end: Callable[[], Awaitable[bool]]) -> bool:
        """End its turn, while no frame is under way; if that is done, none leaves any more."""
        async with self._sending:
            if is_done := await end():
                self._enter("kept")
        return is_done

    def keep(self) -> None:
        """Let it wait, between two events, without any effect."""
        self._enter("kept")
        self._context = contextvars.copy_context()  # of the event

    def stands_still(self) -> bool:
        """Tell whether it has been kept and has not moved since it came to rest."""
        return (
            self._kept_at is not None
            and self._stage == "kept"
            and self.loop is asyncio.get_running_loop()
            and self._kept_at.lasts(self.loop, self._tasks)
        )

    def resume(self, outbox: Outbox) -> None:
        """Go on with it in another event, with its outbox; a hand-over follows."""
        self._outbox = outbox
        self._is_handshake = False
        self._enter("replay")
        if self._context is not None:
            self._tasks.pass_on(self._context, contextvars.copy_context())
