"""The stored record of a message's connection, once its greeting is with the client."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from longwire.asgi import messages
from longwire.asgi.stage import SupersededError
from longwire.exceptions import (
    ASGIMessageError,
    ConnectionGoneError,
    DeadlineError,
    MessageTooLargeError,
    StoredRecordError,
)
from longwire.invocation.ending import speak
from longwire.invocation.greeting import greeted
from longwire.invocation.tell import tell

if TYPE_CHECKING:
    from longwire.apigateway.events import RequestContext
    from longwire.invocation.invocation import Invocation
    from longwire.registry.record import ConnectionRecord

logger: logging.Logger = logging.getLogger("longwire")

# A message may overtake the write of its connection's record: while the connection is younger than
# this (milliseconds), the record is looked up again after these pauses (seconds).
YOUNG_CONNECTION = 5000
LOOK_AGAIN_AFTER = (0.05, 0.1, 0.2)


async def find(invocation: Invocation, request: RequestContext) -> ConnectionRecord | None:
    """Return the record of a connection that goes on; None where the message has come too late.

    Raises:
        DeadlineError: there was no time for what has to go first.
        StoredRecordError: nobody can read it.
    """
    record = await _read(invocation, request)
    if record is None or record.is_settled:
        return record
    record = await speak(invocation.connection, record, request)
    if record is None:
        invocation.call.ending.note("closed")
        return None
    return record if await is_greeted(invocation, record) else None


async def _read(invocation: Invocation, request: RequestContext) -> ConnectionRecord | None:
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


async def is_greeted(invocation: Invocation, record: ConnectionRecord) -> bool:
    """Let the greeting go first; tell whether the connection goes on after it."""
    try:
        current = await greeted(invocation.connection, record)
    except ConnectionGoneError:
        await tell(invocation, record, messages.lost(), "gone")
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
