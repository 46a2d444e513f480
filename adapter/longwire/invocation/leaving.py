"""A response that something around the handler holds back, such as a flush of telemetry.

The connection does not exist until it has left, so until then a 410 says nothing: the greeting
waits, and the record tells other processes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from longwire import deadlines

if TYPE_CHECKING:
    from longwire.deadlines import Deadlines
    from longwire.invocation.connection import Connection
    from longwire.registry.record import ConnectionRecord
    from longwire.runtime.after_response import AfterResponse

# Seconds after which others are told of it: by then their 410 is believed soon.
HELD_BACK = 1.0
# Seconds between two looks at whether those who wait for the greeting have to be told, too.
LOOK_EVERY = 1.0


async def response_left(
    after: AfterResponse, connection: Connection, record: ConnectionRecord, times: Deadlines
) -> None:
    """Wait until the response to a handshake has left, or its event's time is up.

    `record` is the one that was stored when the response was made.
    """
    seconds = min(HELD_BACK, deadlines.left(times.run))
    if await after.response_left(seconds):
        return
    until = connection.lease

    def hold_back(record: ConnectionRecord) -> bool:
        record.leaving_until = until
        return True

    await connection.update(hold_back)
    while not await after.response_left(min(LOOK_EVERY, deadlines.left(times.run))):
        if not deadlines.left(times.run):
            return
        await connection.renew_greeting()
    left_at = record.responded_at = time.time()

    def leave(record: ConnectionRecord) -> bool:
        record.responded_at, record.leaving_until = left_at, 0.0
        return True

    await connection.update(leave)
