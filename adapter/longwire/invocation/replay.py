"""A message, or an end, with `replay`: the app goes on where it was, with its variables.

An event whose turn it is (`replay/turn.py`) goes on with the run that was kept in its process,
or makes it anew: the app runs from the top and is given the earlier messages once more, without
effect. What comes in meanwhile is given to the same run.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from functools import partial
from typing import TYPE_CHECKING

from longwire.exceptions import BackendError, DeadlineError, StoredRecordError
from longwire.invocation.conversing import Conversing, ensure_turn, for_app, insist
from longwire.invocation.kept_runs import end
from longwire.invocation.replies import ClosedOutbox, Replies
from longwire.replay.divergence import FrameCount, log_diverged
from longwire.replay.journal import Told
from longwire.replay.limit import is_full, log_full
from longwire.replay.turn import Turn, TurnLostError, new_owner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.apigateway.events import RequestContext
    from longwire.asgi.quiescence import Outcome
    from longwire.invocation.invocation import Invocation
    from longwire.invocation.kept_runs import KeptRun
    from longwire.observability.event import Word
    from longwire.registry.record import ConnectionRecord
    from longwire.types import Frame, Message

    Find = Callable[[Invocation, RequestContext], Awaitable[ConnectionRecord | None]]

logger: logging.Logger = logging.getLogger("longwire")

# An event that takes so many seconds from reading the journal, or the record where that is empty,
# to taking its turn may have been stopped, and its connection have ended since.
STOOD_STILL = 1.0


class TurnReplies(Replies):
    """The outbox of a run whose turn it is: nothing leaves once somebody else may have it."""

    def __init__(self, invocation: Invocation, record: ConnectionRecord, turn: Turn) -> None:
        super().__init__(invocation.connection, record)
        self._turn = turn
        # On a developer's machine.
        self.count: FrameCount | None = FrameCount() if invocation.wants_hints else None

    def swallow(self, frame: Frame) -> None:
        super().swallow(frame)
        if self.count is not None:
            self.count.add(frame)

    async def send(self, frame: Frame) -> bool:
        if not self._turn.is_sure:
            await ensure_turn(self._turn, self._connection)
        is_sent = await super().send(frame)
        if is_sent and self.count is not None:
            self.count.add(frame)
        return is_sent

    async def close(self, code: int, reason: str) -> None:
        await ensure_turn(self._turn, self._connection)
        await super().close(code, reason)


async def message(
    invocation: Invocation, request: RequestContext, received: Message, find: Find
) -> None:
    """Let the app answer a message when it is its turn; `find` finds the connection's record.

    Raises:
        DeadlineError: the time was up before the app had it; API Gateway tells the client.
        StoredRecordError: nobody can read what is stored of the connection.
    """
    told = Told(request.request_time or int(time.time() * 1000), received)
    runs = invocation.kept_runs
    assert runs is not None
    connection_id, asked_at = invocation.connection.id, math.inf
    if not runs.is_sure(connection_id):
        asked_at = time.monotonic()
        if await find(invocation, request) is None:
            if (kept := runs.take(connection_id)) is not None:
                await end(kept)
            return None
    conversing, turn = await _go_on(invocation, told, asked_at)
    if conversing is not None:
        return await _converse(invocation, conversing)
    # Before the record, which goes first when a connection ends.
    turn = turn or await _read(invocation)
    if (record := await find(invocation, request)) is not None:
        await _begin(invocation, record, turn, told, "parked")
    elif turn.is_ours:
        await _stand_aside(turn)


async def _stand_aside(turn: Turn) -> None:
    """End the turn of a connection that has ended, for who has its record to tell the app."""
    with contextlib.suppress(BackendError, TurnLostError):  # the lease ends by itself
        await turn.stand_aside()


async def tell(invocation: Invocation, record: ConnectionRecord, gone: Message, word: Word) -> None:
    """Tell the app, when it is its turn, that its client is gone; this event has the record."""
    told, connection = Told(int(time.time() * 1000), gone), invocation.connection
    try:
        conversing, turn = await insist(connection, partial(_go_on, invocation, told))
        if conversing is None:
            if turn is None:
                turn = await insist(connection, partial(_read, invocation))
            await _begin(invocation, record, turn, told, word)
        else:
            await _converse(invocation, conversing, word)
    except StoredRecordError as error:
        logger.error("connection %s: its end was not told: %s", connection.id, error)


# With the run that was kept


async def _go_on(
    invocation: Invocation, told: Told, asked_at: float = math.inf
) -> tuple[Conversing | None, Turn | None]:
    """Take the turn with a kept run, if nothing has happened elsewhere; else it is ended.

    A turn that is returned alone was taken, but its run has moved meanwhile; or its connection may
    have ended, whose record was asked for at a time in `time.monotonic()`.
    """
    runs, connection = invocation.kept_runs, invocation.connection
    assert runs is not None
    kept = runs.take(connection.id)
    if kept is None:
        return None, None
    try:
        turn = kept.turn
        turn.pass_on(connection.store, new_owner())
        if kept.expires_at <= time.time() or not kept.run.stands_still():
            return None, None
        if is_full(turn.conversation, told, invocation.settings.replay_limit):
            return None, None
        if not await turn.go_on(told):
            return None, None
        stood_still = time.monotonic() - asked_at > STOOD_STILL
        if stood_still or not kept.run.stands_still():  # a timer was due meanwhile
            return None, turn
        conversing = _resume(invocation, kept, turn)
        kept = None
        return conversing, None
    finally:
        if kept is not None:
            await end(kept)


def _resume(invocation: Invocation, kept: KeptRun, turn: Turn) -> Conversing:
    """Go on with a kept run, whose turn it is."""
    count = None
    if turn.conversation.messages[turn.conversation.begun - 1].is_end:
        invocation.resume(kept, ClosedOutbox(invocation.connection), "disconnect")
    else:
        replies = TurnReplies(invocation, kept.record, turn)
        replies.begin(complete=True)
        invocation.resume(kept, replies, "message")
        count = replies.count
    return Conversing(invocation, kept.run, turn, kept.record, count, kept.results)


async def _converse(
    invocation: Invocation, conversing: Conversing, word: Word | None = None
) -> None:
    """Give the app its message, and what comes in meanwhile."""
    outcome: Outcome = "deadline"
    try:
        async with conversing:
            outcome = await _give(invocation, conversing, word)
    finally:
        await conversing.keep_or_stop(outcome)
    _check_done(invocation, conversing)


def _check_done(invocation: Invocation, conversing: Conversing) -> None:
    """Raise `DeadlineError` if the app is not through with the message of this event."""
    if conversing.at_rest or invocation.connection.ended:
        return
    if conversing.run.ended and not conversing.turn.is_lost:
        return
    if not conversing.has_given_own:
        raise DeadlineError("its turn was over before the app had this message")
    if conversing.turn.is_lost:
        raise DeadlineError("another event took its turn over before the app had answered")


async def _give(invocation: Invocation, conversing: Conversing, word: Word | None) -> Outcome:
    """Give the app its message and what comes in meanwhile, and note how that has ended."""
    await conversing.give_first()
    outcome = await conversing.until_rest(invocation.call.client_is_awaited)
    conversing.note(outcome, word)
    if conversing.run.ended:
        await conversing.end_connection()
    return outcome


# With a run that is made anew


async def _read(invocation: Invocation) -> Turn:
    """Return the turn of this event, which has read the connection's journal."""
    connection = invocation.connection
    turn = Turn(connection.store, connection.id, connection.expires_at, new_owner())
    await turn.read()
    return turn


async def _begin(
    invocation: Invocation, record: ConnectionRecord, turn: Turn, told: Told, word: Word
) -> None:
    """Wait for the turn, and go on with a run, unless another event's run gets the message."""
    runs, connection = invocation.kept_runs, invocation.connection
    assert runs is not None
    turn.expires_at = connection.expires_at
    limit = invocation.settings.replay_limit
    if not turn.is_ours and is_full(turn.conversation, told, limit):
        invocation.call.ending.note("closed")
        if await connection.hang_up():  # once, for all messages that are on their way
            log_full(connection.id, limit)
        return None

    def take() -> Awaitable[bool]:
        return turn.take(told, invocation.call.times.send, lambda: runs.wake(connection.id))

    read_at = turn.read_at
    if not await (insist(connection, take) if told.is_end else take()):
        return invocation.call.ending.note(word)
    if not told.is_end and time.monotonic() - read_at > STOOD_STILL and not await connection.read():
        invocation.call.ending.note("no_record")
        return await _stand_aside(turn)
    told_word = word if told.is_end else None
    kept = await runs.take_next(connection.id, turn.conversation.position - 1)
    if kept is None:
        await _begin_anew(invocation, record, turn, told_word)
    else:
        await _converse(invocation, _resume(invocation, kept, turn), told_word)


async def _begin_anew(
    invocation: Invocation, record: ConnectionRecord, turn: Turn, word: Word | None
) -> None:
    """Make the run anew, whose turn it is; the word is of an event that tells an end."""
    connection = invocation.connection
    ends = turn.conversation.messages[turn.conversation.begun - 1].is_end
    replies = ClosedOutbox(invocation.connection) if ends else TurnReplies(invocation, record, turn)
    run = invocation.lasting_run(record, replies, "replay", "disconnect" if ends else "message")
    count = replies.count if isinstance(replies, TurnReplies) else None
    conversing = Conversing(invocation, run, turn, record, count)
    outcome: Outcome = "deadline"
    at: int | None = None
    if isinstance(replies, TurnReplies) and turn.conversation.begun > 1:
        replies.begin(complete=True)
    try:
        async with conversing:
            at = await _replay(invocation, conversing, record)
            if at is None:
                if isinstance(replies, TurnReplies) and turn.conversation.begun == 1:
                    replies.begin(complete=run.replay.complete)
                outcome = await _give(invocation, conversing, word)
            elif not run.unwinding and time.monotonic() < invocation.call.times.run:
                log_diverged(connection.id, at, run)
                invocation.call.ending.note("closed")
                await connection.end()
                at = None
    finally:
        await conversing.keep_or_stop(outcome)
    if at is None:
        _check_done(invocation, conversing)
    elif word is None:
        raise DeadlineError("the app did not come to wait for this message in time")


async def _replay(
    invocation: Invocation, conversing: Conversing, record: ConnectionRecord
) -> int | None:
    """Give the app the earlier messages once more; return at which it went another way, if so."""
    run, results, count = conversing.run, conversing.results, conversing.count
    conversation, until = conversing.turn.conversation, invocation.run_until
    before, sent = record.began_at or record.responded_at, record.answered
    earlier: Message | None = None
    for number, given in enumerate(conversation.given):
        results.begin(number)
        seconds, sent = max(0.0, given.arrived_at - before), max(sent, given.frames)
        how = conversation.rested.get(number, "busy")
        if not await run.repeat(earlier, seconds, sent, until, how):
            return number
        if results.settle() and not await run.repeat(None, seconds, sent, until, how):
            return number
        if count is not None:
            count.compare(invocation.connection.id, number, conversation.sent.get(number))
        before, earlier = given.at, for_app(conversation.messages[number].message)
    return None
