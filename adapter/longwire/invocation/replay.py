"""A message, or an end, with `replay`: the app goes on where it was, with its variables.

An event whose turn it is (`registry/turn.py`) goes on with the run that was kept in its process,
or makes it anew: the app runs from the top and is given the earlier messages once more, without
effect. What comes in meanwhile is given to the same run.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING

from longwire.asgi.quiescence import Outcome
from longwire.asgi.stage import Stage, SupersededError
from longwire.exceptions import DeadlineError
from longwire.invocation.conversing import Conversing
from longwire.invocation.divergence import FrameCount, log_diverged
from longwire.invocation.kept_runs import end
from longwire.invocation.replies import ClosedOutbox, Replies
from longwire.registry.journal import Told
from longwire.registry.turn import Turn, TurnLostError, new_owner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.apigateway.events import RequestContext
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
        # On a developer's machine.
        self.count = FrameCount() if invocation.wants_hints else None

    def swallow(self, frame: Frame) -> None:
        super().swallow(frame)
        if self.count is not None:
            self.count.add(frame)

    async def send(self, frame: Frame) -> bool:
        try:
            await self._turn.ensure()
        except TurnLostError:
            raise SupersededError from None
        is_sent = await super().send(frame)
        if is_sent and self.count is not None:
            self.count.add(frame)
        return is_sent


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
    if conversing is None:
        record = await find(invocation, request)
        if record is not None:
            await _begin(invocation, record, told, "parked")
    else:
        await _converse(invocation, conversing)


async def tell(invocation: Invocation, record: ConnectionRecord, gone: Message, word: Word) -> None:
    """Tell the app, when it is its turn, that its client is gone; this event has the record."""
    told = Told(int(time.time() * 1000), gone)
    conversing = await _go_on(invocation, told)
    if conversing is None:
        await _begin(invocation, record, told, word)
    else:
        await _converse(invocation, conversing, word)


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
        if kept.greets and find is not None and await find() is None:
            return None
        kept.turn.pass_on(connection.store, new_owner())
        if not (kept.run.stands_still() and _has_room(invocation, kept.turn, told)):
            return None
        if not await kept.turn.go_on(told):
            return None
        record, turn, run, results, count = kept.record, kept.turn, kept.run, kept.results, None
        if told.is_end:
            invocation.resume(kept, ClosedOutbox(), "disconnect")
        else:
            replies = TurnReplies(invocation, record, turn)
            replies.begin(complete=True)
            invocation.resume(kept, replies, "message")
            count = replies.count
        kept = None
        return Conversing(invocation, run, turn, record, count, results)
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
            conversing.give_first()
            on_waiting = getattr(invocation.call.context, "waits_for_client", None)
            outcome = await conversing.until_rest(on_waiting)
            await _note(invocation, conversing, outcome, word)
    finally:
        await conversing.keep_or_stop(outcome)


async def _note(
    invocation: Invocation, conversing: Conversing, outcome: Outcome, word: Word | None
) -> None:
    conversing.note(outcome, word)
    if conversing.run.ended:
        await invocation.connection.end()


# With a run that is made anew


async def _begin(invocation: Invocation, record: ConnectionRecord, told: Told, word: Word) -> None:
    """Wait for the turn, and make the run anew, unless another event's run gets the message."""
    runs, connection = invocation.kept_runs, invocation.connection
    assert runs is not None
    turn = Turn(connection.store, connection.id, connection.expires_at, new_owner())
    await turn.read()
    if not _has_room(invocation, turn, told):
        invocation.call.ending.note("closed")
        await connection.end()
        return await turn.drop()

    def on_waiting() -> None:
        if (attendant := runs.attendants.get(connection.id)) is not None:
            attendant.wake()

    if not await turn.take(told, on_waiting):
        return invocation.call.ending.note(word)
    ends = turn.conversation.messages[turn.conversation.begun - 1].is_end
    replies = ClosedOutbox() if ends else TurnReplies(invocation, record, turn)
    run = invocation.run(record, replies, Stage.REPLAY, "disconnect" if ends else "message")
    count = replies.count if isinstance(replies, TurnReplies) else None
    conversing = Conversing(invocation, run, turn, record, count)
    outcome, at = Outcome.DEADLINE, None
    try:
        async with conversing:
            at = await _replay(invocation, conversing, record)
            if at is None:
                if isinstance(replies, TurnReplies):
                    complete = run.replay.complete or turn.conversation.begun > 1
                    replies.begin(complete=complete)
                conversing.give_first()
                on_waits = getattr(invocation.call.context, "waits_for_client", None)
                outcome = await conversing.until_rest(on_waits)
                await _note(invocation, conversing, outcome, word if told.is_end else None)
            elif not run.unwinding and time.monotonic() < invocation.call.times.run:
                log_diverged(connection.id, at, run)
                invocation.call.ending.note("closed")
                await connection.end()
                at = None
    finally:
        await conversing.keep_or_stop(outcome)
    if at is not None and not told.is_end:
        raise DeadlineError("the app did not come to wait for this message in time")


async def _replay(
    invocation: Invocation, conversing: Conversing, record: ConnectionRecord
) -> int | None:
    """Give the app the earlier messages once more; return at which it went another way, if so."""
    run, results, count = conversing.run, conversing.results, conversing.count
    conversation, until = conversing.turn.conversation, invocation.run_until
    if await run.until_ready(record.answered, until) is not None:
        return 0
    given, before = conversation.messages[: conversation.begun], [record.responded_at]
    before += conversation.begun_at
    earlier: Message | None = None
    for number, told in enumerate(given):
        results.begin(number)
        seconds = max(0.0, told.at / 1000 - before[number])
        if not await run.repeat(earlier, seconds, until):
            return number
        if results.settle() and not await run.repeat(None, seconds, until):
            return number
        if count is not None:
            count.compare(invocation.connection.id, number, conversation.sent.get(number))
        earlier = told.message
    return None


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
