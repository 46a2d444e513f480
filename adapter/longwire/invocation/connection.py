"""The connection of one event: its stored record, its client, its end.

For `Connections` it is the event's own connection, `registry.caller.OwnConnection`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
import weakref
from copy import copy
from typing import TYPE_CHECKING

from longwire import deadlines
from longwire.apigateway.frames import encode
from longwire.asgi import messages
from longwire.asgi.stage import SupersededError
from longwire.exceptions import (
    BackendError,
    ConnectionGoneError,
    ManagementError,
    StoredRecordError,
)
from longwire.invocation.cut_off import CutOff
from longwire.registry import record
from longwire.registry.record import NEW_CONNECTION, ConnectionRecord
from longwire.registry.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Protocol

    from longwire.asgi.channel import RunChannel
    from longwire.asgi.run import Run
    from longwire.asgi.state import Kept
    from longwire.config.settings import Settings
    from longwire.deadlines import Deadlines
    from longwire.invocation.state import OwnState
    from longwire.registry.api_gateway import APIGateway
    from longwire.replay.results import OnceResults
    from longwire.types import Frame
    from longwire_backends import Record

logger: logging.Logger = logging.getLogger("longwire")

# Seconds after a handshake in which a reply may find that its connection is not known yet: far more
# than API Gateway takes, and as long as an event waits whose client really is gone.
NEW_TO_REPLIES = 0.5
# How long others wait for a greeting, in seconds and as a part of what its event has left: far
# longer than it takes, and short enough for a client whose greeting was cut off when a process died
# to be answered in the rest of its message's event.
GREETING_LEASE = 5.0
GREETING_PART = 0.5


# Who in this process delivers the greeting of a connection, by its id and the lease in its record.
_greeters: weakref.WeakValueDictionary[tuple[str, float], Connection] = (
    weakref.WeakValueDictionary()
)


if TYPE_CHECKING:

    class Gate(Protocol):
        """What holds frames back until the response to the handshake has left."""

        is_open: bool

        async def push(self, frame: Frame) -> None:
            """Send a frame that no replay sends again, as soon as it may be sent."""


def _none() -> None:
    """Nothing holds frames back."""


class Connection:
    """One connection, as one event sees it."""

    # What most events leave as it is costs nothing here.
    ended: bool = False  # if so, no other event tells the app
    left_groups: tuple[str, ...] = ()
    results: OnceResults | None = None
    # With `replay`: raises `SupersededError` when the turn is somebody else's.
    ensure_turn: Callable[[], Awaitable[None]] | None = None
    kept: Kept | None = None  # what its scope keeps, as it was last read
    _new_until = _greets_until = 0.0
    _renew_at = math.inf
    _joined = True  # for all that is known
    _is_ending = False  # by the app, and API Gateway does not know yet
    _answered = _refused = False
    _run: Run | None = None
    _gate: Callable[[], Gate | None] = staticmethod(_none)  # which refers to this connection
    _unsaved: ConnectionRecord | None = None
    _new: ConnectionRecord | None = None  # of a connect step, stored or not
    _last: Record | None = None  # what was last read
    _locks: tuple[asyncio.Lock, asyncio.Lock] | None = None

    def __init__(
        self,
        connection_id: str,
        api: APIGateway,
        endpoint: str,
        settings: Settings,
        times: Deadlines,
        *,
        is_new: bool,  # this is its $connect event
    ) -> None:
        assert api.backend is not None
        self.id = connection_id
        self.expires_at: int = int(time.time()) + settings.ttl
        self.state: OwnState  # once there is a run
        self._api = api
        self._endpoint = endpoint
        self._settings = settings
        self._times = times
        self.store: Store = Store(
            api.backend, times.store, functools.partial(CutOff, connection_id, times.run)
        )
        self._is_new = is_new

    def begin(
        self,
        run: Run,
        state: OwnState,
        gate: Gate | None = None,
        unsaved: ConnectionRecord | None = None,
    ) -> None:
        """Note the run that works on it now; a connect step has a gate and a new record."""
        self._run, self.state, self._unsaved, self._new = run, state, unsaved, unsaved
        if gate is not None:
            self._gate = weakref.ref(gate)

    def _lock(self, *, saves: bool) -> asyncio.Lock:
        """Return what is held while it is saved, or ended; most events need neither."""
        if self._locks is None:
            self._locks = asyncio.Lock(), asyncio.Lock()
        return self._locks[saves]

    # The record

    @property
    def lease(self) -> float:
        """When this event is surely over, in epoch seconds; others wait for it until then."""
        return time.time() + deadlines.left(self._times.store)

    def lease_greeting(self) -> float:
        """Be the one who greets, and return until when others wait for it, in epoch seconds."""
        seconds = min(GREETING_LEASE, GREETING_PART * deadlines.left(self._times.store))
        self._greets_until = time.monotonic() + seconds
        self._renew_at = time.monotonic() + seconds / 2
        until = time.time() + seconds
        _greeters[self.id, until] = self
        return until

    async def renew_greeting(self) -> None:
        """Go on being the one who greets, before half of the lease is over."""
        if time.monotonic() < self._renew_at:
            return
        until = self.lease_greeting()

        def renew(record: ConnectionRecord) -> bool:
            was_leased, record.greeting_until = record.greeting_until > 0.0, until
            return was_leased

        await self.update(renew)

    def greeting_ends(self, until: float) -> float:
        """Return when a lease that a record names is over, on the clock of deadlines."""
        # The wall clock may have jumped meanwhile; nobody's lease is longer than this.
        greeter = _greeters.get((self.id, until))
        if greeter is not None:
            return greeter._greets_until
        return time.monotonic() + min(until - time.time(), GREETING_LEASE)

    async def save(self, new: ConnectionRecord) -> None:
        """Store the record of a new connection."""
        await self.store.put(self.id, self._dumps(new), self.expires_at)

    async def read(self) -> ConnectionRecord | None:
        """Return the stored record; raises `StoredRecordError` for one that nobody can read."""
        stored = await self.store.get(self.id)
        if stored is None:
            return None
        self.expires_at = stored.expires_at
        known = self._loads(stored)
        self.note_answered(known)
        return known

    def note_answered(self, known: ConnectionRecord) -> None:
        """Note when the client has been answered: "gone" is not believed soon after that."""
        # Whoever knows it has heard from the client, so it has been answered.
        answered_at = min(max(known.responded_at, known.leaving_until), time.time())
        self._new_until = answered_at + NEW_TO_REPLIES

    def note_heard(self, at: float) -> None:
        """Note when its client was heard of first, which may be long after `responded_at`."""
        self._new_until = max(self._new_until, min(at, time.time()) + NEW_TO_REPLIES)

    async def update(
        self, change: Callable[[ConnectionRecord], bool], known: Record | None = None
    ) -> ConnectionRecord | None:
        """Change the record, with nobody else's change lost; None when there was nothing to do.

        What is `known` is not read once more, unless it has changed meanwhile.
        """
        while stored := known or await self.store.get(self.id):
            known, current = None, self._loads(stored)
            if not change(current):
                return None
            value = self._dumps(current)
            version = await self.store.update(self.id, value, stored.expires_at, stored.version)
            if version is not None:
                self._last, self.kept = stored._replace(value=value, version=version), current.kept
                return current
        return None

    async def update_state(self, change: Callable[[ConnectionRecord], bool]) -> None:
        """Change what its scope keeps, in the record as it was last read or is yet to be stored."""
        async with self._lock(saves=True):
            if self.is_unanswered and self._new is not None:
                change(self._new)
                return
        await self.update(change, self._last)

    async def take(self) -> ConnectionRecord | None:
        """Take the record out; whoever gets it tells the app of the end."""
        stored = await self.store.take(self.id)
        if stored is None:
            return None
        self.ended = True
        self.expires_at = stored.expires_at
        taken = self._loads(stored)
        self._joined, self.left_groups = taken.joined, taken.left_groups
        return taken

    def _loads(self, stored: Record) -> ConnectionRecord:
        known = record.loads(stored.value)
        self._last, self.kept = stored, known.kept
        return known

    def _dumps(self, current: ConnectionRecord) -> str:
        return record.dumps(
            current,
            exclude_headers=self._settings.exclude_headers,
            exclude_query=self._settings.exclude_query,
        )

    # The client

    def encode(self, frame: Frame) -> bytes:
        """Return the payload of a frame; raises as `frames.encode`."""
        return encode(frame, self._settings.binary, self.id)

    async def post(self, data: bytes, *, early: bool = False) -> None:
        """Send a payload; raises `SupersededError` if another event tells the app of its end."""
        # Early leaves the store time to note what follows. Not so for the app's own frames, whose
        # sender is cancelled then.
        deadline, began = self._times.run if early else self._times.store, time.monotonic()
        try:
            await self._api.management().post(
                self._endpoint, self.id, data, deadline=deadline, new_for=self._new_for()
            )
        except asyncio.CancelledError as error:
            self._cut_off("POST @connections").log(error, began)
            raise
        except ConnectionGoneError:
            if not await self.lose():
                raise SupersededError from None
            raise

    async def pause(self, seconds: float, *, early: bool = False) -> bool:
        """Sleep, or return False at once if the deadline comes first; `early` is as in `post`."""
        deadline = self._times.run if early else self._times.store
        if time.monotonic() + seconds >= deadline:
            return False
        await asyncio.sleep(seconds)
        return True

    def _new_for(self) -> float:
        """Return for how many seconds "gone" is not believed; time to tell the app must be left."""
        new = NEW_CONNECTION if self._is_new else self._new_until - time.time()
        return min(new, deadlines.left(self._times.store) / 2) if new > 0 else 0.0

    # The end

    async def lose(self) -> bool:
        """Note that the client has proved to be gone; tell whether this event tells the app."""
        async with self._lock(saves=False):
            if not self.ended:
                try:
                    if await self.take() is None:
                        return False
                except StoredRecordError as error:
                    logger.error("connection %s: took an unreadable record out: %s", self.id, error)
                if self._run is not None:  # at once, since who waits for this may be cancelled
                    self._run.mark_gone(messages.lost())
        await self.leave_groups()
        return True

    async def leave_groups(self) -> None:
        """End all memberships of groups, as the connection has ended; what fails is logged."""
        if not self._joined:
            return
        try:
            names = await self.store.group_discard_all(self.id)
            self.left_groups = tuple(sorted({*self.left_groups, *names}))
        except BackendError as error:  # the next send to a group ends a membership that stays
            logger.error("connection %s: it may still be in groups: %s", self.id, error)

    async def forget(self) -> None:
        """Take the record out unread, and end all memberships; nobody is told any more."""
        try:
            await self.take()
        except StoredRecordError:
            logger.debug("connection %s: took an unreadable record out", self.id)
        self.ended = True
        await self.leave_groups()

    async def end(self) -> None:
        """Delete the connection, as its app has ended it; nobody is told any more.

        Whoever is cancelled here can do it again.
        """
        async with self._lock(saves=False):
            if not self.ended:
                self._is_ending = True
                await self.forget()
            if self._is_ending:
                await self.hang_up()
                self._is_ending = False

    async def hang_up(self) -> bool:
        """Let API Gateway close it; False if it is closed already, or cannot be.

        An app that has not ended is told of it as of any end.
        """
        began = time.monotonic()
        try:
            await self._api.management().delete(
                self._endpoint, self.id, deadline=self._times.store, new_for=self._new_for()
            )
        except asyncio.CancelledError as error:
            self._cut_off("DELETE @connections").log(error, began)
            raise
        except ConnectionGoneError:
            logger.debug("connection %s: the client was faster to leave", self.id)
        except ManagementError as error:
            logger.error("connection %s could not be closed: %s", self.id, error)
        else:
            return True
        return False

    # Its handshake

    async def answer(self, answered: ConnectionRecord | None) -> None:
        """Store the record that is answered with, after any that joining a group has stored."""
        async with self._lock(saves=True):
            self._unsaved = None
            if answered is not None:
                await self.save(answered)
            self._answered = True

    async def refuse(self, *, joined: bool) -> None:
        """Leave no trace of a connection that has been refused."""
        self._refused = True
        if joined:
            await self.forget()

    async def join(self) -> int:
        async with self._lock(saves=True):
            if self._unsaved is not None:
                self._unsaved.joined = True
                joined = copy(self._unsaved)
                joined.connecting_until = self.lease
                await self.save(joined)
                self._unsaved = None
        return self.expires_at

    # What `Connections` asks of the event's own connection

    def channel(self) -> RunChannel:
        assert self._run is not None
        return self._run.channel()

    @property
    def gives_own(self) -> bool:
        return self._run is not None and self._run.gives_own

    @property
    def accepted(self) -> bool:
        return self._run is not None and self._run.answer.accepted

    @property
    def has_effect(self) -> bool:
        return self._run is not None and self._run.has_effect

    async def takes_effect(self) -> bool:
        if self.has_effect and self.ensure_turn is not None:
            assert self._run is not None
            try:
                await self.ensure_turn()
            except SupersededError:
                await self._run.give_way()
        return self.has_effect

    @property
    def unwinding(self) -> bool:
        return self._run is not None and self._run.unwinding

    @property
    def goes_on_after_event(self) -> bool:
        run = self._run
        if run is None or run.ended or self.is_over or not self.unwinding:
            return False
        return not self._is_new or run.answer.accepted  # in a replay it has been accepted before

    @property
    def is_over(self) -> bool:
        told = self._run is not None and self._run.disconnect_delivered
        return self._refused or told or self.ended

    @property
    def is_unanswered(self) -> bool:
        return self._is_new and not (self._answered or self._refused)

    @property
    def greets(self) -> bool:
        gate = self._gate()
        return gate is not None and not gate.is_open

    async def greet(self, frame: Frame) -> None:
        gate = self._gate()
        assert gate is not None
        if not self.accepted:
            raise ManagementError(self.id, "the app has not accepted it yet")
        await gate.push(frame)

    async def close(self) -> None:
        if self._run is not None:
            await self._run.close()

    def _cut_off(self, what: str) -> CutOff:
        return CutOff(self.id, self._times.run, what, deadlines.NO_ROUTE)
