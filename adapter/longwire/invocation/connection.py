"""All that one event may do to its connection: the stored record, the frames, the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, TypeVar

from longwire.apigateway.frames import encode
from longwire.deadlines import NO_ROUTE, doing
from longwire.exceptions import (
    BackendError,
    ConnectionGoneError,
    ManagementError,
    StoredRecordError,
)
from longwire.registry import keys, record, store
from longwire.registry.record import NEW_CONNECTION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from longwire.apigateway.frames import Frame
    from longwire.apigateway.management import Management
    from longwire.config.settings import Settings
    from longwire.registry.record import ConnectionRecord
    from longwire_backends import Backend

T = TypeVar("T")

logger = logging.getLogger("longwire")

# For how many seconds after a handshake a reply may find its connection not known yet. That is far
# longer than it takes API Gateway, and costs an event that much whose client really is gone.
NEW_TO_REPLIES = 0.5
# How long a greeting may be on its way, in seconds.
GREETING_LEASE = 5.0
# Seconds after which an answer is late: whoever is cancelled then may well have waited for ever.
SLOW = 0.2


class Connection:
    """One connection, as one event sees it.

    Args:
        endpoint: URL of the management API.
        deadline: when the event has to be done, in seconds of `time.monotonic`.
        run_until: when the app is cancelled, likewise.
        new: this is its $connect event.

    Attributes:
        ended: nobody else will tell the app that the connection has ended.
        expires_at: when the stored record ends, in epoch seconds.
        left: the groups in which it was when it ended.
        on_lost: tells the app that runs for this event that its client is gone.
    """

    def __init__(
        self,
        connection_id: str,
        endpoint: str,
        deadline: float,
        *,
        run_until: float,
        new: bool,
        settings: Settings,
        backend: Backend,
        management: Callable[[], Management],
    ) -> None:
        self.id = connection_id
        self.deadline = deadline
        self.ended = False
        self.expires_at = int(time.time()) + settings.ttl
        self.left: tuple[str, ...] = ()
        self._joined = True  # for all that is known
        self.on_lost: Callable[[], object] = lambda: None
        self._losing = asyncio.Lock()
        self._endpoint = endpoint
        self._run_until = run_until
        self._new = new
        self._new_until = 0.0
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
        known = record.loads(stored.value)
        self._new_until = known.responded_at + NEW_TO_REPLIES
        return known

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
            return await self._take_moved()
        self.ended = True
        self.expires_at = stored.expires_at
        taken = record.loads(stored.value)
        self._joined = taken.joined
        return taken

    async def _take_moved(self) -> ConnectionRecord | None:
        """Take out what a send to many has left for others, so that they tell the app."""
        key = keys.ENDED + self.id
        kept = await self._store("get", self._backend.get(key))
        if kept is None or not keys.read_ended(kept.value)[2]:
            return None  # nothing, or the send may still find that somebody else tells
        if (stored := await self._store("take", self._backend.take(key))) is None:
            return None
        self.ended = True
        self.expires_at = stored.expires_at
        self.left, value, _ = keys.read_ended(stored.value)
        return record.loads(value)

    async def lose(self) -> bool:
        """Note that the client has proved to be gone; tell whether this event tells the app."""
        async with self._losing:
            if not self.ended:
                try:
                    if await self.take() is None:
                        return False
                except StoredRecordError as error:
                    logger.error("connection %s: took an unreadable record out: %s", self.id, error)
                self.on_lost()  # at once, since who waits for this may be cancelled
            return True

    async def leave(self) -> None:
        """End all memberships of groups, as the connection has ended; what fails is logged.

        A membership that stays is ended by the next send to its group.
        """
        if not self._joined:
            return
        left = self._backend.group_discard_all(self.id)
        try:
            names = await self._store("group_discard_all", left)
            self.left = tuple(sorted({*self.left, *names}))
        except BackendError as error:
            logger.error("connection %s: it may still be in groups: %s", self.id, error)

    async def forget(self) -> None:
        """Take the record out unread, and end all memberships; nobody is told any more."""
        try:
            await self.take()
        except StoredRecordError:
            logger.debug("connection %s: took an unreadable record out", self.id)
        self.ended = True
        await self.leave()

    async def end(self) -> None:
        """Delete the connection, as its app has ended it; nobody is told any more."""
        if self.ended:
            return
        await self.forget()
        try:
            with self._cut_off("DELETE @connections", NO_ROUTE):
                await self._management().delete(
                    self._endpoint, self.id, deadline=self.deadline, new_for=self._new_for()
                )
        except ConnectionGoneError:
            logger.debug("connection %s: the client was faster to leave", self.id)
        except ManagementError as error:
            logger.error("connection %s could not be closed: %s", self.id, error)

    async def post(self, frame: Frame, *, early: bool = False) -> None:
        """Send a frame to the client.

        Args:
            early: give up in time for the store to note what follows. Not for the app's own frames,
                whose sender is cancelled then.

        Raises:
            ConnectionGoneError: the client is gone.
            ManagementError: API Gateway refused the frame or did not answer.
        """
        with self._cut_off("POST @connections", NO_ROUTE):
            await self._management().post(
                self._endpoint,
                self.id,
                self.encode(frame),
                deadline=self._run_until if early else self.deadline,
                new_for=self._new_for(),
            )

    def encode(self, frame: Frame) -> bytes:
        """Return the payload of a frame; raises as `frames.encode`."""
        return encode(frame, self._settings.binary, self.id)

    def _new_for(self) -> float:
        """Return for how many seconds "gone" is not believed; time to tell the app must be left."""
        left = max(0.0, self.deadline - time.monotonic())
        new = NEW_CONNECTION if self._new else max(0.0, self._new_until - time.time())
        return min(new, left / 2)

    async def pause(self, seconds: float, *, early: bool = False) -> bool:
        """Sleep; False (at once) when the deadline does not leave that much time.

        Args:
            early: leave time for the store to note what follows.
        """
        if time.monotonic() + seconds >= (self._run_until if early else self.deadline):
            return False
        await asyncio.sleep(seconds)
        return True

    async def _store(self, operation: str, answer: Awaitable[T]) -> T:
        """Wait for the store no longer than this event may take."""
        with self._cut_off(f"{self._backend.name}: {operation}"):
            return await store.before(self.deadline, self._backend, operation, answer)

    @contextlib.contextmanager
    def _cut_off(self, what: str, hint: str = "") -> Iterator[None]:
        """Log what hangs when the app is cancelled with it, since then no error says so."""
        begun = time.monotonic()
        try:
            yield
        except asyncio.CancelledError as error:
            now = time.monotonic()
            if now >= self._run_until and now - begun >= SLOW:
                why = doing(error) or hint
                logger.error(
                    "connection %s: %s: no answer within %.3g s%s", self.id, what, now - begun, why
                )
            raise

    def _dumps(self, connection: ConnectionRecord) -> str:
        return record.dumps(connection, exclude_headers=self._settings.exclude_headers)
