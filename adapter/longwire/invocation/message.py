"""A message: run the app again up to where it waits for the client, and give it the message."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from longwire.exceptions import DeadlineError, StoredRecordError
from longwire.invocation.find import find
from longwire.invocation.invocation import Application, Call, Invocation
from longwire.invocation.outcome import log_ending, note_ending
from longwire.invocation.replies import Replies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

    from longwire.apigateway.events import MessageEvent, RequestContext
    from longwire.asgi.quiescence import Outcome
    from longwire.asgi.run import Run
    from longwire.invocation.connection import Connection
    from longwire.registry.record import ConnectionRecord
    from longwire.types import LambdaResponse, Message

    Find = Callable[[Invocation, RequestContext], Awaitable[ConnectionRecord | None]]

logger: logging.Logger = logging.getLogger("longwire")


async def message(
    application: Application, call: Call, event: MessageEvent, endpoint: str
) -> LambdaResponse:
    """Let the app answer a message, after the greeting if that is still owed.

    Raises:
        DeadlineError: the time was up before the app had it; API Gateway tells the client.
        StateError: the app has had it, and keeps what cannot be stored; likewise.
    """
    invocation = Invocation(application, call, event, endpoint)
    connection = invocation.connection
    key = "text" if isinstance(event.body, str) else "bytes"
    received = {"type": "websocket.receive", key: event.body}
    try:
        await give(invocation, event.context, iter((received,)), find)
    except StoredRecordError as error:
        logger.error("connection %s: deleted: %s", connection.id, error)
        await connection.end()
    if call.departures:
        await call.departures.tell()
    return {"statusCode": 200}


def give(
    invocation: Invocation, request: RequestContext, messages: Iterator[Message], find: Find
) -> Coroutine[Any, Any, None]:
    """Run the app for messages of its connection, whose record `find` finds.

    With `replay` only the first is given, as each has a turn of its own.
    """
    if invocation.kept_runs is not None:
        from longwire.invocation import replay  # nobody else pays for it

        return replay.message(invocation, request, next(messages), find)
    return _reply(invocation, request, messages, find)


async def _is_sending(connection: Connection, run: Run) -> bool:
    """Tell whether the connect step is still sending what its replay has been through with.

    It never waits for the client, so it knows itself when the connection has ended.
    """
    if run.is_shared():
        return False
    current = await connection.read()
    return current is not None and current.connecting_until > time.time()


async def _give_all(invocation: Invocation, run: Run, messages: Iterator[Message]) -> Outcome:
    """Give the app what follows its first message, until it has ended or there is no more."""
    while True:
        outcome = await run.until_over(invocation.run_until, invocation.call.client_is_awaited)
        if run.ended or run.unwinding or outcome == "deadline":
            return outcome
        if (further := next(messages, None)) is None:
            return outcome
        run.deliver(further)


async def _reply(
    invocation: Invocation, request: RequestContext, messages: Iterator[Message], find: Find
) -> None:
    record = await find(invocation, request)
    if record is None:
        return
    connection, call = invocation.connection, invocation.call
    replies = Replies(connection, record)
    run = invocation.run(record, replies, "replay", "message")
    run.on_rest = connection.state.end
    too_late, wrong = False, None

    def begin() -> None:
        replies.begin(complete=run.replay.complete)
        run.hand_over(next(messages))

    try:
        outcome = await run.until_ready(record.answered, invocation.run_until, begin)
        if outcome is None:
            outcome = await _give_all(invocation, run, messages)
            ended = run.ended
            connection.state.end()
        else:
            logger.warning(
                "connection %s: the app did not come to wait for this message (%s)",
                connection.id,
                run.answer.words or outcome,
            )
            # One that streams on and never waits takes no messages, as under a server.
            too_late = outcome == "deadline" and not run.streams
            ended = outcome != "deadline" and not await _is_sending(connection, run)
        log_ending(run, outcome, connection.id)
        note_ending(call.ending, run, outcome)
        if ended:
            await connection.end()
        elif not connection.ended:
            # Before the app is cancelled, whose cleaning up changes nothing of it.
            wrong = await connection.state.keep()
    finally:
        await invocation.stop(run)
    if wrong is not None:
        logger.error("%s", wrong)
        raise wrong
    if too_late:
        raise DeadlineError("the app did not come to wait for this message in time")
