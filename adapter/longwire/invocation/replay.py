"""A message, or an end, with `replay`: the app goes on where it was, with its variables.

An event whose turn it is (`registry/turn.py`) goes on with the run that was kept in its process,
or makes it anew: the app runs from the top and is given the earlier messages once more, without
effect. What comes in meanwhile is given to the same run.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from typing import TYPE_CHECKING

from longwire.asgi.quiescence import Outcome
from longwire.asgi.stage import Stage, SupersededError
from longwire.exceptions import DeadlineError, StoredRecordError
from longwire.invocation.conversing import Conversing
from longwire.invocation.kept_runs import end
from longwire.invocation.replies import ClosedOutbox, Replies
from longwire.registry.journal import Told
from longwire.registry.turn import Turn, TurnLostError, new_owner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.apigateway.events import RequestContext
    from longwire.asgi.run import Run
    from longwire.invocation.invocation import Invocation
    from longwire.observability.event import Word
    from longwire.registry.record import ConnectionRecord
    from longwire.types import Frame, Message

    Find = Callable[[Invocation, RequestContext], Awaitable[ConnectionRecord | None]]

logger = logging.getLogger("longwire")

# Bytes of messages that a connection may have.
MOST_SIZE = 1024 * 1024
# The part of these limits at which its author is warned.
WARN_AT = 0.8


class TurnReplies(Replies):
    """The outbox of a run whose turn it is: nothing leaves once somebody else may have it."""

    def __init__(self, invocation: Invocation, record: ConnectionRecord, turn: Turn) -> None:
        super().__init__(invocation.connection, record)
        self._turn = turn

    async def send(self, frame: Frame) -> bool:
        try:
            await self._turn.ensure()
        except TurnLostError:
            raise SupersededError from None
        return await super().send(frame)


async def message(
    invocation: Invocation, request: RequestContext, received: Message, find: Find
) -> None:
    """Let the app answer a message when it is its turn; `find` finds the connection's record.

    Raises:
        DeadlineError: the time was up before the app had it; API Gateway tells the client.
        StoredRecordError: nobody can read what is stored of the connection.
    """
    told = Told(request.request_time or int(time.time() * 1000), received)
    conversing = await _go_on(invocation, told, lambda: find(invocation, request))
    if conversing is not None:
        return await _converse(invocation, conversing)
    # Before the record, which goes first when a connection ends.
    turn = await _read(invocation)
    if (record := await find(invocation, request)) is not None:
        await _begin(invocation, record, turn, told, "parked")


async def tell(invocation: Invocation, record: ConnectionRecord, gone: Message, word: Word) -> None:
    """Tell the app, when it is its turn, that its client is gone; this event has the record."""
    told = Told(int(time.time() * 1000), gone)
    try:
        conversing = await _go_on(invocation, told)
        if conversing is None:
            await _begin(invocation, record, await _read(invocation), told, word)
        else:
            await _converse(invocation, conversing, word)
    except StoredRecordError as error:
        logger.error("connection %s: its end was not told: %s", invocation.connection.id, error)


# With the run that was kept


async def _go_on(
    invocation: Invocation,
    told: Told,
    find: Callable[[], Awaitable[ConnectionRecord | None]] | None = None,
) -> Conversing | None:
    """Take the turn with a kept run, if nothing has happened elsewhere; else it is ended."""
    runs, connection = invocation.kept_runs, invocation.connection
    assert runs is not None
    kept = runs.take(connection.id)
    if kept is None:
        return None
    try:
        # Nothing in its journal says that the connection goes on, before its first entry.
        is_sure = kept.turn.conversation.position > 0 and not kept.greets
        if not is_sure and find is not None and await find() is None:
            return None
        kept.turn.pass_on(connection.store, new_owner())
        if kept.expires_at <= time.time() or not kept.run.stands_still():
            return None
        if not _has_room(invocation, kept.turn, told):
            return None
        if not await kept.turn.go_on(told):
            return None
        record, turn, run = kept.record, kept.turn, kept.run
        if told.is_end:
            invocation.resume(kept, ClosedOutbox(), "disconnect")
        else:
            replies = TurnReplies(invocation, record, turn)
            replies.begin(complete=True)
            invocation.resume(kept, replies, "message")
        kept = None
        return Conversing(invocation, run, turn, record)
    finally:
        if kept is not None:
            await end(kept)


async def _converse(
    invocation: Invocation, conversing: Conversing, word: Word | None = None
) -> None:
    """Give the app its message, and what comes in meanwhile."""
    outcome = Outcome.DEADLINE
    try:
        async with conversing:
            await conversing.give_first()
            on_waiting = getattr(invocation.call.context, "waits_for_client", None)
            outcome = await conversing.until_rest(on_waiting)
            await _note(invocation, conversing, outcome, word)
    finally:
        await conversing.keep_or_stop(outcome)
    _check_done(invocation, conversing)


def _check_done(invocation: Invocation, conversing: Conversing) -> None:
    """Raise `DeadlineError` if the app is not through with the message of this event."""
    if conversing.run.ended or invocation.connection.ended:
        return
    if not conversing.has_given_own:
        raise DeadlineError("its turn was over before the app had this message")
    if conversing.turn.is_lost:
        raise DeadlineError("another event took its turn over before the app had answered")


async def _note(
    invocation: Invocation, conversing: Conversing, outcome: Outcome, word: Word | None
) -> None:
    conversing.note(outcome, word)
    if conversing.run.ended:
        await invocation.connection.end()


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
    """Wait for the turn, and make the run anew, unless another event's run gets the message."""
    runs, connection = invocation.kept_runs, invocation.connection
    assert runs is not None
    turn.expires_at = connection.expires_at
    if not _has_room(invocation, turn, told):
        invocation.call.ending.note("closed")
        await connection.end()
        return await turn.drop()

    def on_waiting() -> None:
        if (attendant := runs.attendants.get(connection.id)) is not None:
            attendant.wake()

    if not await turn.take(told, invocation.call.times.send, on_waiting):
        return invocation.call.ending.note(word)
    ends = turn.conversation.messages[turn.conversation.begun - 1].is_end
    replies = ClosedOutbox() if ends else TurnReplies(invocation, record, turn)
    run = invocation.run(record, replies, Stage.REPLAY, "disconnect" if ends else "message")
    conversing = Conversing(invocation, run, turn, record)
    outcome, at = Outcome.DEADLINE, None
    try:
        async with conversing:
            at = await _replay(invocation, run, turn, record)
            if at is None:
                if isinstance(replies, TurnReplies):
                    complete = run.replay.complete or turn.conversation.begun > 1
                    replies.begin(complete=complete)
                await conversing.give_first()
                on_waits = getattr(invocation.call.context, "waits_for_client", None)
                outcome = await conversing.until_rest(on_waits)
                await _note(invocation, conversing, outcome, word if told.is_end else None)
            elif not run.unwinding and time.monotonic() < invocation.call.times.run:
                _log_diverged(connection.id, at, run)
                invocation.call.ending.note("closed")
                await connection.end()
                at = None
    finally:
        await conversing.keep_or_stop(outcome)
    if at is None:
        _check_done(invocation, conversing)
    elif not told.is_end:
        raise DeadlineError("the app did not come to wait for this message in time")


async def _replay(
    invocation: Invocation, run: Run, turn: Turn, record: ConnectionRecord
) -> int | None:
    """Give the app the earlier messages once more; return at which it went another way, if so."""
    conversation, until = turn.conversation, invocation.run_until
    results = invocation.connection.results
    assert results is not None
    if await run.until_ready(record.answered, until) is not None:
        return 0
    begun_at = [record.responded_at, *conversation.begun_at]
    earlier: Message | None = None
    for number, told in enumerate(conversation.messages[: conversation.begun]):
        results.begin(number)
        parked, seconds = conversation.rested.get(number), math.inf
        if parked is None:  # it was still busy when it was given the next one
            seconds = max(0.0, begun_at[number + 1] - begun_at[number])
        repeat = functools.partial(
            run.repeat, seconds=seconds, deadline=until, parked=parked is True
        )
        if not await repeat(earlier):
            return number
        if results.settle() and not await repeat(None):
            return number
        earlier = told.message
    return None


def _log_diverged(connection_id: str, number: int, run: Run) -> None:
    """Say that the app did not do again what it had done."""
    where = f"after message {number}" if number else "before its first message"
    logger.error(
        "connection %s: closed: the app went another way when it was given its earlier messages "
        "again: %s it did not wait for the next one%s. What it does must not hang on a clock, on "
        "random numbers or ids, on a token that has expired since, or on data that has changed: "
        "longwire.once keeps what may not be got anew (docs/state.md)",
        connection_id,
        where,
        f" ({run.answer.words})" if run.answer.words else "",
        exc_info=run.error,
    )


def _has_room(invocation: Invocation, turn: Turn, told: Told) -> bool:
    """Tell whether the journal may take a message; its author is warned in time."""
    if told.is_end:
        return True
    before, limit = turn.conversation, invocation.settings.replay_limit
    count = len(before.messages) + 1
    size = before.size + len(told.message.get("text") or told.message.get("bytes") or "")
    where = f"connection {invocation.connection.id}"
    limits = f"{limit} messages (ws_config['replay_limit']) and {MOST_SIZE} bytes"
    if count > limit or size > MOST_SIZE:
        logger.error("%s: closed: its journal is over the limit of %s", where, limits)
        return False
    warns = count == math.ceil(WARN_AT * limit) or (before.size < WARN_AT * MOST_SIZE <= size)
    if warns:
        logger.warning("%s: its journal comes near its limit of %s", where, limits)
    return True
