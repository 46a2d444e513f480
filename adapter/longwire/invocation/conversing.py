"""A run whose turn it is, with `replay`: it is given messages until no more are there."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from longwire import deadlines
from longwire.asgi.inbox import CHANNEL_MESSAGE
from longwire.asgi.stage import SupersededError
from longwire.exceptions import BackendError
from longwire.invocation.kept_runs import KeptRun
from longwire.invocation.outcome import log_ending, note_ending
from longwire.replay.attendant import Attendant
from longwire.replay.limit import warn_if_near
from longwire.replay.results import OnceResults
from longwire.replay.turn import PAUSES, TurnLostError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from longwire.asgi.lasting import LastingRun
    from longwire.asgi.quiescence import Outcome
    from longwire.invocation.connection import Connection
    from longwire.invocation.greeting import Greeting
    from longwire.invocation.invocation import Invocation
    from longwire.observability.event import Word
    from longwire.registry.record import ConnectionRecord
    from longwire.replay.divergence import FrameCount
    from longwire.replay.journal import FramesSent, Told
    from longwire.replay.turn import Turn
    from longwire.types import Message

logger: logging.Logger = logging.getLogger("longwire")

T = TypeVar("T")

# Seconds until a store that has failed is asked once more.
TRY_AGAIN = 0.1
# The part of an event's time in which it takes messages of others, which have time of their own.
TAKES_FOR = 0.5


async def insist(connection: Connection, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask a store again that fails for a moment, for what comes now or never."""
    while True:
        try:
            return await ask()
        except BackendError:
            if not await connection.pause(TRY_AGAIN, early=True):
                raise


async def ensure_turn(turn: Turn, connection: Connection) -> None:
    """Make sure of a turn; raises `SupersededError` when somebody else has it."""
    try:
        await insist(connection, turn.ensure)  # an app would take an error for the end
    except TurnLostError:
        raise SupersededError from None


def for_app(message: Message) -> Message:
    """Return a copy of what the journal has: an app may change what it receives."""
    if message["type"] == CHANNEL_MESSAGE:
        return copy.deepcopy(message)
    return dict(message)


class Conversing:
    """Gives a run its messages, and ends its turn; a context manager for as long as it has that."""

    def __init__(
        self,
        invocation: Invocation,
        run: LastingRun,
        turn: Turn,
        record: ConnectionRecord,
        count: FrameCount | None = None,  # of the run's outbox
        results: OnceResults | None = None,  # of a kept run
    ) -> None:
        assert invocation.kept_runs is not None
        self.turn = turn
        self.at_rest: bool = False  # its turn is over, and its app waits for the client
        self._invocation = invocation
        self._connection = invocation.connection
        self._runs = invocation.kept_runs
        self.run = run
        self._record = record
        self._attendant: Attendant | None = None
        self._over: asyncio.Future[None] | None = None
        self.count = count
        self._given = 0  # messages
        self.results: OnceResults = results or OnceResults(turn, run)
        self._connection.results = self.results
        self.results.pass_on(turn)
        turn.count_frames = run.count_frames
        run.hears_the_end = self._hears_the_end

    async def __aenter__(self) -> Self:
        takes_until = time.monotonic() + TAKES_FOR * deadlines.left(self._invocation.call.times.run)
        self._attendant = Attendant(
            self.turn, self.give, self.run.abandon, self.run.has_received_all, takes_until
        )
        self._connection.ensure_turn = self.ensure_turn
        self._runs.begin_turn(self._connection.id, self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._attendant is not None
        await self._attendant.stop()
        if self.at_rest and not self._connection.ended:
            return
        if self.turn.is_lost:
            return  # who has it sees to the rest
        with contextlib.suppress(BackendError, TurnLostError):  # the lease ends by itself
            if self._connection.ended:
                await self.turn.drop()
            else:
                self.run.fall_silent()  # what it still sent would not be counted, and be sent again
                await self.turn.give_up()

    async def ensure_turn(self) -> None:
        """Make sure that the turn is still this event's; raises `SupersededError`."""
        await ensure_turn(self.turn, self._connection)

    async def end_connection(self) -> None:
        """End it as its app has, unless the turn is somebody else's."""
        with contextlib.suppress(SupersededError):
            if not (self._connection.ended or self.at_rest):
                await self.ensure_turn()
            await self._connection.end()

    async def give_first(self) -> None:
        """Give the app the message with which this turn has begun, and take others from now on."""
        assert self._attendant is not None
        try:
            told = self.turn.next_begun() or await self.turn.begin_next(takes=False)
        except TurnLostError:
            return self.run.abandon()
        if told is not None:
            self._connection.note_heard(self.turn.conversation.messages[0].at / 1000)
            self.give(told, self.run.hand_over)
        self._attendant.open()

    def give(self, told: Told, give: Callable[..., object] | None = None) -> None:
        """Give the app the message that was begun with last, or tell it the end."""
        self.results.begin(self.turn.given)
        self.results.settle()
        self._given += 1
        self.turn.given_at = time.time()
        limit = self._invocation.settings.replay_limit
        warn_if_near(self._connection.id, self.turn.conversation, limit)
        if told.is_end:
            self._connection.ended = True  # who has told it has its record
            self.run.mark_gone(for_app(told.message))
        else:
            (give or self.run.deliver)(for_app(told.message))

    async def _hears_the_end(self) -> bool:
        """Wait for a moment until the end has come to this run, though a frame was faster."""
        assert self._attendant is not None
        for pause in PAUSES:
            if self.run.disconnect_delivered or not self.turn.is_ours:
                break
            self._attendant.wake()
            await asyncio.sleep(pause)
        return self.run.disconnect_delivered

    async def until_rest(self, on_waiting: Callable[[], object] | None = None) -> Outcome:
        """Give the app what comes in, until it has ended or is at rest."""
        run, turn = self.run, self.turn
        while True:
            given = turn.given
            outcome = await run.until_over(self._invocation.run_until, on_waiting)
            if outcome == "deadline" or run.is_over:
                return outcome
            if turn.given == given and await self._rests(given, outcome):
                return outcome

    async def _rests(self, given: int, outcome: Outcome) -> bool:
        """End the turn, or give the run its next message; tell whether nothing is left to do."""
        run, turn, attendant = self.run, self.turn, self._attendant
        assert attendant is not None
        if outcome == "parked":
            run.note_rest()
        takes = attendant.takes or not self.has_given_own
        try:
            if turn.may_rest(given, whoever_waits=not takes):
                sent, how = self._sent(outcome), run.how_it_rests(outcome)
                self.at_rest = await run.rest(
                    lambda: turn.rest(given, sent, how=how, whoever_waits=not takes)
                )
            elif (told := await turn.begin_next(takes=takes)) is not None:
                self.give(told)
        except TurnLostError:
            run.abandon()
        except BackendError as error:
            if not self.has_given_own:
                raise
            # All that was given has been handled; without an end of it others wait longer.
            if not (attendant.takes and await self._connection.pause(TRY_AGAIN, early=True)):
                name = self._connection.id
                logger.warning("connection %s: its turn did not end: %s", name, error)
                return True
        return self.at_rest

    @property
    def has_given_own(self) -> bool:
        """Whether the app has been given the message of this event, if it is about one."""
        number = self.turn.conversation.number_of(self.turn.owner)
        return number is None or number <= self.turn.given

    def _sent(self, outcome: Outcome) -> FramesSent | None:
        """Return what a replay is to send again; None where that hangs on how long things take."""
        if self.count is None or self._given != 1 or outcome != "parked":
            return None
        return self.count.take()

    def note(self, outcome: Outcome, word: Word | None = None) -> None:
        """Log and note how it has ended."""
        log_ending(self.run, outcome, self._connection.id)
        note_ending(self._invocation.call.ending, self.run, outcome, word)

    async def keep_or_stop(self, outcome: Outcome, greeting: Greeting | None = None) -> None:
        """Keep the run if another event may go on with it, else stop it."""
        invocation = self._invocation
        # Its turn's end may have been found in the journal, and what others have done since.
        is_last = self.at_rest and self.turn.is_last
        if not is_last or outcome != "parked" or self.run.unwinding:
            self._end()
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
        self._connection.state.release()  # it would keep all that belongs to this event
        try:
            await self._runs.put(self._connection.id, kept)
        finally:
            self._end()

    def _end(self) -> None:
        self._runs.end_turn(self._connection.id, self)
        # What else refers to this would be garbage that only a collection finds.
        self.run.hears_the_end = self._connection.ensure_turn = self._attendant = None
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    # For others of this process

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.run.loop

    def attend(self) -> None:
        """Look for messages of others from now on, as the turn takes long."""
        if (attendant := self._attendant) is not None:
            attendant.begin()

    def wake(self) -> None:
        """Say, on whichever event loop, that there is a message."""
        if (attendant := self._attendant) is not None:  # until it is over, maybe in a thread
            attendant.wake()

    def over(self) -> asyncio.Future[None]:
        """Return what is done once the run is kept, or has ended."""
        if self._over is None:
            self._over = self.loop.create_future()
        return self._over
