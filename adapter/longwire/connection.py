"""All that one event may do to its connection: the stored record, the frames, the end."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from longwire import record
from longwire.exceptions import (
    ASGIMessageError,
    BackendError,
    ConnectionGoneError,
    ManagementError,
    MessageTooLargeError,
    StoredRecordError,
)
from longwire.record import MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.config import Settings
    from longwire.management import Management
    from longwire.record import ConnectionRecord, Frame
    from longwire_backends import Backend

T = TypeVar("T")

logger = logging.getLogger("longwire")

# For how many seconds after the response to $connect "gone" may mean "not known yet".
NEW_CONNECTION = 2.0

# How long a greeting may be on its way, in seconds.
GREETING_LEASE = 5.0


class Connection:
    """One connection, as one event sees it.

    Args:
        endpoint: URL of the management API.
        deadline: when the event has to be done, in seconds of `time.monotonic`.
        new: this is its $connect event.

    Attributes:
        ended: nobody else will tell the app that the connection has ended.
        expires_at: when the stored record ends, in epoch seconds.
    """

    def __init__(
        self,
        connection_id: str,
        endpoint: str,
        deadline: float,
        *,
        new: bool,
        settings: Settings,
        backend: Backend,
        management: Callable[[], Management],
    ) -> None:
        self.id = connection_id
        self.deadline = deadline
        self.ended = False
        self.expires_at = int(time.time()) + settings.ttl
        self._endpoint = endpoint
        self._new = new
        self._settings = settings
        self._backend = backend
        self._management = management

    @property
    def lease(self) -> float:
        """When this event is over for sure, in epoch seconds; others wait for it until then."""
        return time.time() + max(0.0, self.deadline - time.monotonic())

    @property
    def greeting_lease(self) -> float:
        """Until when others wait for a greeting, in epoch seconds.

        That is far longer than it takes, and short enough for a client whose greeting was cut off
        when a process died.
        """
        return min(self.lease, time.time() + GREETING_LEASE)

    async def save(self, connection: ConnectionRecord) -> None:
        """Store the record of a new connection."""
        value = self._dumps(connection)
        await self._store("put", self._backend.put(self.id, value, self.expires_at))

    async def read(self) -> ConnectionRecord | None:
        """Return the stored record.

        Raises:
            StoredRecordError: it is not one that this version can read.
        """
        stored = await self._store("get", self._backend.get(self.id))
        if stored is None:
            return None
        self.expires_at = stored.expires_at
        return record.loads(stored.value)

    async def update(self, change: Callable[[ConnectionRecord], bool]) -> ConnectionRecord | None:
        """Change the record where `change` returns True, with nobody else's change lost.

        Returns:
            The changed record; None when it is gone or `change` found nothing to do.
        """
        while stored := await self._store("get", self._backend.get(self.id)):
            current = record.loads(stored.value)
            if not change(current):
                return None
            update = self._backend.update(
                self.id, self._dumps(current), stored.expires_at, stored.version
            )
            if await self._store("update", update):
                return current
        return None

    async def take(self) -> ConnectionRecord | None:
        """Take the record out; whoever gets it is the one to tell the app of the end."""
        stored = await self._store("take", self._backend.take(self.id))
        if stored is None:
            return None
        self.ended = True
        self.expires_at = stored.expires_at
        return record.loads(stored.value)

    async def end(self) -> None:
        """Delete the connection, as its app has ended it; nobody is told any more."""
        if self.ended:
            return
        try:
            await self.take()
        except StoredRecordError:
            logger.debug("connection %s: took an unreadable record out", self.id)
        self.ended = True
        try:
            await self._management().delete(
                self._endpoint, self.id, deadline=self.deadline, new_for=self._new_for()
            )
        except ConnectionGoneError:
            logger.debug("connection %s: the client was faster to leave", self.id)
        except ManagementError as error:
            logger.error("connection %s could not be closed: %s", self.id, error)

    async def post(self, frame: Frame) -> None:
        """Send a frame to the client.

        Raises:
            ConnectionGoneError: the client is gone.
            ManagementError: API Gateway refused the frame or did not answer.
        """
        await self._management().post(
            self._endpoint,
            self.id,
            self.encode(frame),
            deadline=self.deadline,
            new_for=self._new_for(),
        )

    def encode(self, frame: Frame) -> bytes:
        """Return the payload of a frame; API Gateway sends every payload as text.

        Raises:
            ASGIMessageError: bytes that are no text, and `binary` is "text".
            MessageTooLargeError: it is over API Gateway's limit.
        """
        data = frame.encode("utf-8") if isinstance(frame, str) else self._encode_bytes(frame)
        if len(data) > MAX_MESSAGE:
            raise MessageTooLargeError(self.id, len(data), MAX_MESSAGE)
        return data

    def _encode_bytes(self, frame: bytes) -> bytes:
        if self._settings.binary == "base64":
            return base64.b64encode(frame)
        try:
            frame.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ASGIMessageError(
                "websocket.send: these bytes are not UTF-8, and API Gateway sends text frames "
                "only; encode them yourself or set ws_config['binary'] to 'base64'"
            ) from error
        return frame

    def _new_for(self) -> float:
        """Return for how many seconds "gone" is not believed; time to tell the app must be left."""
        left = max(0.0, self.deadline - time.monotonic())
        return min(NEW_CONNECTION, left / 2) if self._new else 0.0

    async def pause(self, seconds: float) -> bool:
        """Sleep; False (at once) when the deadline does not leave that much time."""
        if time.monotonic() + seconds >= self.deadline:
            return False
        await asyncio.sleep(seconds)
        return True

    async def _store(self, operation: str, answer: Awaitable[T]) -> T:
        """Wait for the store no longer than this event may take."""
        left = max(0.0, self.deadline - time.monotonic())
        try:
            async with asyncio.timeout(left) as limit:
                return await answer
        except TimeoutError as error:
            if not limit.expired():
                raise
            detail = f"no answer within the {left:.3g} s that were left of the event's time"
            raise BackendError(self._backend.name, operation, detail) from error

    def _dumps(self, connection: ConnectionRecord) -> str:
        return record.dumps(connection, exclude_headers=self._settings.exclude_headers)
