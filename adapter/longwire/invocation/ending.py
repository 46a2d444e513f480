"""An end that comes while the client may be speaking to another event.

Behind its response the connect step goes on, and its app may end the connection there, as under a
server, though it waits for the client: a stream that is over, a login that did not come in time. At
that time a message may be on its way, to a process that has yet to start. So such an end is noted
first, with its time, and takes effect once no message of before can still come; the event of one
takes the note away, and then the conversation goes on with that event.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longwire.apigateway.events import RequestContext
    from longwire.invocation.connection import Connection
    from longwire.registry.record import ConnectionRecord

# Seconds after the response in which a message of before may come to a process that starts first.
COLD_START = 3.0
# How often it is looked for then, in seconds.
LOOK_EVERY = 0.5


async def end_unless_spoken(connection: Connection, responded_at: float) -> None:
    """End a connection, unless its client has spoken before it was to end."""

    def note(record: ConnectionRecord) -> bool:
        record.ending_at = record.ending_at or time.time()
        return not record.spoken

    if await connection.update(note) is None:
        return
    try:
        while time.time() < responded_at + COLD_START:
            if not await connection.pause(LOOK_EVERY, early=True):
                break
            current = await connection.read()
            if current is None or current.spoken:
                return
    except asyncio.CancelledError:  # the process ends, and nobody else would look again
        await _settle(connection)
        raise
    await _settle(connection)


async def _settle(connection: Connection) -> None:
    def end(record: ConnectionRecord) -> bool:
        record.ended = record.ended or not record.spoken
        return not record.spoken

    if await connection.update(end) is not None:
        await connection.end()


async def speak(
    connection: Connection, record: ConnectionRecord, request: RequestContext
) -> ConnectionRecord | None:
    """Note that the client has spoken while the connect step goes on.

    Returns the record as it is then; None if the connection had ended before that.
    """
    if record.spoken or not (record.ending_at or record.connecting_until > time.time()):
        return record
    at = time.time() if request.request_time is None else request.request_time / 1000
    seen: ConnectionRecord | None = None

    def mark(current: ConnectionRecord) -> bool:
        nonlocal seen
        seen = current
        if current.ended or current.spoken or 0.0 < current.ending_at <= at:
            return False
        current.spoken, current.ending_at = True, 0.0
        return True

    await connection.update(mark)
    if seen is not None and seen.ending_at:
        await connection.end()
        return None
    return seen
