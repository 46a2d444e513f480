"""A run whose turn it is, with `replay`: it is given messages until no more are there."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from longwire import deadlines
from longwire.asgi.quiescence import Outcome
from longwire.exceptions import BackendError
from longwire.invocation.kept_runs import KeptRun
from longwire.invocation.outcome import log_ending, note_ending
from longwire.registry.results import OnceResults
from longwire.registry.turn import Attendant, TurnLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from longwire.asgi.run import Run
    from longwire.invocation.divergence import FrameCount
    from longwire.invocation.greeting import Greeting
    from longwire.invocation.invocation import Invocation
    from longwire.observability.event import Word
    from longwire.registry.journal import FramesSent, Told
    from longwire.registry.record import ConnectionRecord
    from longwire.registry.turn import Turn

logger = logging.getLogger("longwire")

# The part of an event's time in which it takes messages of others, which have time of their own.
TAKES_FOR = 0.5


class Conversing:
    """Gives a run its messages, and ends its turn; a context manager for as long as it has that."""

    def __init__(
        self,
        invocation: Invocation,
        run: Run,
        turn: Turn,
        record: ConnectionRecord,
        count: FrameCount | None = None,  # of the run's outbox
        results: OnceResults | None = None,  # of a kept run
    ) -> None:
        assert invocation.kept_runs is not None
        self.turn = turn
        self.at_rest = False  # its turn is over, and its app waits for the client
        self._invocation = invocation
        self._connection = invocation.connection
        self._runs = invocation.kept_runs
        self.run = run
        self._record = record
        self._attendant: Attendant | None = None
        self.count = count
        self._given = 0  # messages
        self.results = self._connection.results = results or OnceResults(turn, run)

    async def __aenter__(self) -> Self:
        takes_until = time.monotonic() + TAKES_FOR * deadlines.left(self._invocation.call.times.run)
        self._attendant = Attendant(self.turn, self.give, self.run.abandon, takes_until)
        self._runs.attendants[self._connection.id] = self._attendant
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._attendant is not None
        if self._runs.attendants.get(self._connection.id) is self._attendant:
            del self._runs.attendants[self._connection.id]
        await self._attendant.stop()
        with contextlib.suppress(BackendError):  # the lease ends by itself
            if self._connection.ended:
                await self.turn.drop()
            elif not self.at_rest:
                await self.turn.give_up()

    def give_first(self) -> None:
        """Give the app the message with which this turn has begun, and take others from now on."""
        assert self._attendant is not None
        conversation = self.turn.conversation
        if conversation.begun:
            self.give(conversation.messages[conversation.begun - 1], self.run.hand_over)
        self._attendant.open()

    def give(self, told: Told, give: Callable[..., object] | None = None) -> None:
        """Give the app the message that was begun with last, or tell it the end."""
        self.results.begin(self.turn.conversation.begun)
        self.results.settle()
        self._given += 1
        if told.is_end:
            self._connection.ended = True  # who has told it has its record
            self.run.mark_gone(told.message)
        else:
            (give or self.run.deliver)(told.message)

    async def until_rest(self, on_waiting: Callable[[], object] | None = None) -> Outcome:
        """Give the app what comes in, until it has ended or is at rest."""
        run, turn, attendant = self.run, self.turn, self._attendant
        assert attendant is not None
        while True:
            begun = turn.conversation.begun
            outcome = await run.until_over(self._invocation.run_until, on_waiting)
            is_over = run.ended or run.unwinding or run.disconnect_delivered
            if is_over or outcome is Outcome.DEADLINE:
                return outcome
            try:
                if turn.conversation.begun != begun:
                    continue
                if attendant.takes and (told := await turn.begin_next()) is not None:
                    self.give(told)
                elif await turn.rest(begun, self._sent(outcome), whoever_waits=not attendant.takes):
                    self.at_rest = True
                    return outcome
            except TurnLostError:
                run.abandon()

    def _sent(self, outcome: Outcome) -> FramesSent | None:
        """Return what a replay is to send again; None where that hangs on how long things take."""
        if self.count is None or self._given != 1 or outcome is not Outcome.PARKED:
            return None
        return self.count.take()

    def note(self, outcome: Outcome, word: Word | None = None) -> None:
        """Log and note how it has ended."""
        log_ending(self.run, outcome, self._connection.id)
        note_ending(self._invocation.call.ending, self.run, outcome, word)

    async def keep_or_stop(self, outcome: Outcome, greeting: Greeting | None = None) -> None:
        """Keep the run if another event may go on with it, else stop it."""
        invocation = self._invocation
        if not (self.at_rest and outcome is Outcome.PARKED):
            return await invocation.stop(self.run)
        assert invocation.caller is not None
        assert invocation.scope is not None
        kept = KeptRun(
            self.run,
            invocation.caller,
            invocation.scope,
            self._connection.state,
            self.turn,
            self.results,
            self._record,
            self._connection.expires_at,
            greeting,
            time.monotonic(),
        )
        await self._runs.put(self._connection.id, kept)
