"""The outboxes of a message's event, and of a connection that has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from longwire.registry.record import ConnectionRecord, count, digest

if TYPE_CHECKING:
    from longwire.invocation.connection import Connection
    from longwire.types import Frame


class Replies:
    """The outbox of a message: frames go out at once, but none that the connect step had sent."""

    def __init__(self, connection: Connection, record: ConnectionRecord) -> None:
        self._connection = connection
        self._record = record
        self._swallowed: dict[str, int] = {}
        self._may_repeat = True

    def begin(self, *, complete: bool) -> None:
        """Begin with the replies; after a `complete` connect step nothing of it can come again."""
        self._may_repeat = not complete

    def swallow(self, frame: Frame) -> None:
        self._connection.encode(frame)  # what could not be sent fails once more
        if self._may_repeat:
            count(self._swallowed, frame)

    async def send(self, frame: Frame) -> bool:
        data = self._connection.encode(frame)
        if self._may_repeat and await self._repeats(frame):
            return False
        if self._connection.state.has_changed():
            await self._connection.state.store()  # before the client can act on this
        await self._connection.post(data)
        return True

    async def close(self, code: int, reason: str) -> None:
        await self._connection.end()

    async def _repeats(self, frame: Frame) -> bool:
        if self._record.connecting_until > time.time():
            self._record = await self._connection.read() or self._record
        sent = self._record.sent
        if not sent or sum(self._swallowed.values()) >= sum(sent.values()):
            return False
        key = digest(frame)
        swallowed = self._swallowed.get(key, 0)
        repeated = sent.get(key, 0) > swallowed
        if repeated:
            self._swallowed[key] = swallowed + 1
        return repeated


class ClosedOutbox:
    """The outbox of a connection that has ended: nothing is sent any more."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def swallow(self, frame: Frame) -> None:
        self._connection.encode(frame)  # as in `Replies`; no later frame is compared with this one

    async def send(self, frame: Frame) -> bool:
        return False

    async def close(self, code: int, reason: str) -> None:
        """Do nothing: the connection has ended."""
