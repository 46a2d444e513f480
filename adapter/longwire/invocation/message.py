"""A message: run the app again up to where it waits for the client, and give it the message."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from longwire.asgi import messages
from longwire.asgi.quiescence import Outcome
from longwire.asgi.run import Stage, SupersededError
from longwire.exceptions import (
    ASGIMessageError,
    ConnectionGoneError,
    DeadlineError,
    MessageTooLargeError,
    StoredRecordError,
)
from longwire.invocation.ending import speak
from longwire.invocation.greeting import greeted
from longwire.invocation.invocation import Application, Call, Invocation
from longwire.invocation.outcome import log_ending, note_ending
from longwire.invocation.replies import Replies

if TYPE_CHECKING:
    from longwire.apigateway.events import MessageEvent, RequestContext
    from longwire.asgi.run import Run
    from longwire.invocation.connection import Connection
    from longwire.registry.record import ConnectionRecord
    from longwire.types import LambdaResponse, Message

logger = logging.getLogger("longwire")

# A message may overtake the write of its connection's record: while the connection is younger than
# this (milliseconds), the record is looked up again after these pauses (seconds).
YOUNG_CONNECTION = 5000
LOOK_AGAIN_AFTER = (0.05, 0.1, 0.2)


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
    try:
        record = await _find(invocation, event.context)
        if record is not None:
            record = await speak(connection, record, event.context)
            if record is None:
                call.ending.note("closed")
        if record is not None and await _greeted(invocation, record):
            key = "text" if isinstance(event.body, str) else "bytes"
            await _reply(invocation, record, {"type": "websocket.receive", key: event.body})
    except StoredRecordError as error:
        logger.error("connection %s: deleted: %s", connection.id, error)
        await connection.end()
    await call.departures.tell()
    return {"statusCode": 200}


async def _find(invocation: Invocation, request: RequestContext) -> ConnectionRecord | None:
    """Read the stored record; a connection without one is deleted."""
    connection = invocation.connection
    record = await connection.read()
    for pause in LOOK_AGAIN_AFTER if _is_young(request) else ():
        if record is None:
            if not await connection.pause(pause):
                raise DeadlineError("no time was left for its stored record to come")
            record = await connection.read()
    if record is None:
        logger.warning(
            "connection %s: deleted: it has no stored record (expired, lost, or "
            "$disconnect was faster)",
            connection.id,
        )
        invocation.call.ending.note("no_record")
        await connection.end()
    return record


def _is_young(request: RequestContext) -> bool:
    now, then = request.request_time, request.connected_at
    return now is None or then is None or now - then < YOUNG_CONNECTION


async def _greeted(invocation: Invocation, record: ConnectionRecord) -> bool:
    """Let the greeting go first; tell whether the connection goes on after it."""
    try:
        current = await greeted(invocation.connection, record)
    except ConnectionGoneError:
        await invocation.tell(record, messages.lost(), "gone")
        return False
    except SupersededError:
        current = None
    except (ASGIMessageError, MessageTooLargeError) as error:  # `binary` was another then
        raise StoredRecordError(f"its greeting cannot be sent: {error}") from error
    # Unless a run says more.
    invocation.call.ending.note("gone" if current is None else "closed")
    if current is not None and current.ended:
        await invocation.connection.end()
    return current is not None and not current.ended


async def _is_sending(connection: Connection, run: Run) -> bool:
    """Tell whether the connect step is still sending what its replay has been through with.

    It never waits for the client, so it knows itself when the connection has ended.
    """
    if run.is_shared():
        return False
    current = await connection.read()
    return current is not None and current.connecting_until > time.time()


async def _reply(invocation: Invocation, record: ConnectionRecord, received: Message) -> None:
    connection, call = invocation.connection, invocation.call
    replies = Replies(connection, record)
    run = invocation.run(record, replies, Stage.REPLAY, "message")
    too_late, wrong = False, None
    try:
        outcome = await run.until_ready(record.answered, invocation.run_until)
        if outcome is None:
            replies.begin(complete=run.replay.complete)
            run.hand_over(received)
            # A host that keeps a connection's messages in order may go on with the next one.
            on_waiting = getattr(call.context, "waits_for_client", None)
            outcome = await run.until_over(invocation.run_until, on_waiting)
            ended = run.ended
            connection.state.end()
        else:
            logger.warning(
                "connection %s: the app did not come to wait for this message (%s)",
                connection.id,
                run.answer.words or outcome.name.lower(),
            )
            # One that streams on and never waits takes no messages, as under a server.
            too_late = outcome is Outcome.DEADLINE and not run.streams
            ended = outcome is not Outcome.DEADLINE and not await _is_sending(connection, run)
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
