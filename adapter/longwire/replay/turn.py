"""Whose turn is it? One event at a time runs the app of a connection, with `replay`.

A turn is a lease in the connection's journal (`journal.py`). Who has it gives the app one message
after the other, also those whose events are others: they wait until it has begun with theirs.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from typing import TYPE_CHECKING

from longwire.exceptions import BackendError, DeadlineError
from longwire.replay import journal
from longwire.replay.journal import LEASE_TIME, Conversation

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.asgi.lasting import Rested
    from longwire.registry.store import Store
    from longwire.replay.journal import FramesSent, JournalEntry, Result, Told

# How often an event looks whether its message has been begun with, and who has the turn whether
# there are more: in seconds, longer each time.
PAUSES = (0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25)


def new_owner() -> str:
    """Return the id of an event, under which it takes its turn."""
    return os.urandom(8).hex()


class TurnLostError(Exception):
    """The turn is somebody else's, or the connection has ended: stop without effect."""


class Turn:
    """What one event knows of its connection's journal, and whether it has the turn."""

    def __init__(self, store: Store, connection_id: str, expires_at: int, owner: str) -> None:
        self.conversation: Conversation = Conversation()
        self.owner: str = owner  # the id of this event, and of no other
        self.expires_at = expires_at
        self.given: int = 0  # so many messages its run has been given
        self.at_rest: bool = False  # it is over, as nothing was left to do
        self.is_lost: bool = False  # somebody else has taken it over
        # When the app was given the last message, in epoch seconds, and what it has sent in all.
        self.given_at: float = 0.0
        self.count_frames: Callable[[], int] = lambda: 0
        self._store = store
        self.id = connection_id
        self._until = 0.0  # until when it is surely ours, in `time.monotonic()`
        self.read_at: float = math.inf  # when the journal was read last, by the same clock
        self._appending = asyncio.Lock()  # by the app's own tasks, too

    def pass_on(self, store: Store, owner: str) -> None:
        """Go on with it in another event."""
        self._store, self.owner, self.at_rest = store, owner, False

    @property
    def is_ours(self) -> bool:
        """Whether nobody else has it, for all that is known."""
        return self.conversation.owner == self.owner

    @property
    def is_last(self) -> bool:
        """Whether its run has been given all that was begun with, as far as the journal is read."""
        return self.given == self.conversation.begun

    # To get it

    async def take(
        self, told: Told, deadline: float, on_waiting: Callable[[], object] = lambda: None
    ) -> bool:
        """Take the turn for a message; False when somebody else has begun with it.

        Who gets it goes on with the first message that nobody has begun with. `on_waiting` is
        called when somebody else has it. The deadline is in `time.monotonic()`.

        Raises:
            DeadlineError: somebody else has it, and did not come to this message in time.
        """
        try:
            async with self._appending:
                return await self._take(told, deadline, on_waiting)
        except TurnLostError:
            return False  # the connection has ended since

    async def _take(self, told: Told, deadline: float, on_waiting: Callable[[], object]) -> bool:
        conversation = self.conversation
        while (number := conversation.number_of(self.owner)) is None:
            await self._append_message(told)
        if not self.is_ours:
            on_waiting()
        pauses, seen, free_at = iter(PAUSES), 0.0, 0.0
        while not self.is_ours:
            if conversation.begun >= number:
                return False
            if conversation.until != seen:
                seen = conversation.until
                # Nobody's clock is believed for longer than a lease.
                free_at = time.monotonic() + min(seen - time.time(), LEASE_TIME)
            if not conversation.owner or time.monotonic() >= free_at:
                await self._lease(conversation.begun + 1)
                continue
            pause = min(next(pauses, PAUSES[-1]), max(0.0, free_at - time.monotonic()))
            if time.monotonic() + pause >= deadline:
                raise DeadlineError("an event before it did not come to this message in time")
            await asyncio.sleep(pause)
            await self._read()
        self.given = conversation.begun - 1
        return True

    async def _append_message(self, told: Told) -> None:
        conversation, until = self.conversation, time.monotonic() + LEASE_TIME
        free = not conversation.owner or conversation.until <= time.time()
        leased = free and not conversation.waiting
        lease = time.time() + LEASE_TIME if leased else 0.0
        if await self._append(journal.message_entry(self.owner, lease, told)) and leased:
            self._until = until

    async def go_on(self, told: Told) -> bool:
        """Take the turn, if nothing has happened since this was read last, nor is left to do."""
        if self.conversation.owner or self.conversation.waiting:
            return False
        until = time.monotonic() + LEASE_TIME
        entry = journal.message_entry(self.owner, time.time() + LEASE_TIME, told)
        try:
            taken = await self._append(entry)  # nobody else appends while a run is kept
        except TurnLostError:
            return False
        if taken:
            self._until = until
        return taken

    async def begin(self) -> None:
        """Take the turn of a new connection, whose connect step goes on."""
        async with self._appending:
            await self._lease(0)

    # To have it

    async def begin_next(self, *, takes: bool = True) -> Told | None:
        """Return the message that its run is to be given now, if any. Raises `TurnLostError`.

        With `takes`, one is begun with if none has been.
        """
        if (told := self.next_begun()) is not None:
            return told
        conversation = self.conversation
        async with self._appending:
            while (told := self.next_begun()) is None:
                # Also one whose entry was written though its answer was an error.
                if self.given < conversation.begun:
                    await self._lease(conversation.begun)  # it was stopped, or its answer was late
                elif takes and conversation.waiting:
                    await self._lease(conversation.begun + 1)
                else:
                    break
        return told

    def next_begun(self) -> Told | None:
        """Return the same if it is begun with, and the turn surely ours. Raises `TurnLostError`."""
        self._check()
        if self.given < self.conversation.begun and time.monotonic() < self._until:
            self.given += 1
            return self.conversation.messages[self.given - 1]
        return None

    def may_rest(self, given: int, *, whoever_waits: bool = False) -> bool:
        """Tell whether no message after the first `given` has come, for all that is known."""
        conversation = self.conversation
        if not (given == self.given and self.is_last):
            return False
        return whoever_waits or not conversation.waiting

    async def rest(
        self,
        given: int,
        sent: FramesSent | None = None,
        *,
        how: Rested,
        whoever_waits: bool = False,
    ) -> bool:
        """End the turn if no message after the first `given` has come. Raises `TurnLostError`."""
        async with self._appending:
            self._check()
            if not self.may_rest(given, whoever_waits=whoever_waits):
                return False
            self.at_rest = await self._append(self._rest_entry(sent, how))
            return self.at_rest

    async def give_up(self) -> None:
        """End the turn, whoever waits for it."""
        async with self._appending:
            while self.is_ours:
                await self._append(self._rest_entry())

    async def stand_aside(self) -> None:
        """End the turn if somebody waits for it to tell the end; else let go of the journal."""
        if len(await self._store.journal(self.id)) > 1:
            return await self.give_up()
        # The end has been told, or nobody has come to that: all that is left is of this event.
        return await self.drop()

    def _rest_entry(self, sent: FramesSent | None = None, how: Rested = "busy") -> JournalEntry:
        begun, frames = self.conversation.begun, self.count_frames()
        return journal.rest_entry(self.owner, begun, self.given_at, frames, sent, how=how)

    @property
    def is_sure(self) -> bool:
        """Whether it is ours, whatever others do."""
        return self.is_ours and time.monotonic() < self._until

    async def ensure(self) -> None:
        """Make sure that the turn is still ours, if it may not be. Raises `TurnLostError`."""
        if not self.is_sure:
            self._check()
            await self.renew()

    async def renew(self) -> None:
        """Keep the turn before half of the lease is over. Raises `TurnLostError`."""
        async with self._appending:
            self._check()
            while time.monotonic() > self._until - LEASE_TIME / 2:
                await self._lease(self.conversation.begun)
                self._check()

    async def keep(self, result: Result) -> None:
        """Keep a result of `once`. Raises `TurnLostError`, and what JSON raises for its value."""
        entry = journal.once_entry(self.owner, result)
        async with self._appending:
            # The connect part has no turn while nobody else can have one.
            if self.conversation.begun or self.conversation.owner:
                self._check()
            while not await self._append(entry):
                self._check()

    def _check(self) -> None:
        if not self.is_ours:
            self.is_lost = not self.at_rest
            raise TurnLostError

    async def _lease(self, begun: int) -> bool:
        until = time.monotonic() + LEASE_TIME
        frames = self.count_frames()
        entry = journal.lease_entry(self.owner, time.time() + LEASE_TIME, begun, frames)
        if await self._append(entry):
            self._until = until
            return True
        return False

    # The journal

    async def read(self) -> tuple[str, ...]:
        """Read what others have written, and return the entries.

        Raises:
            StoredRecordError: it is not ours.
            TurnLostError: the journal has been dropped.
        """
        async with self._appending:  # or an entry on its way would be read twice
            return await self._read()

    async def _read(self) -> tuple[str, ...]:
        known = min(self.conversation.position, 1)  # the last one, which is there until the end
        found = await self._store.journal(self.id, after=self.conversation.position - known)
        if len(found) < known:
            raise TurnLostError
        self.read_at = time.monotonic()
        self.conversation.add_all(found[known:])
        return found[known:]

    async def drop(self) -> None:
        """Let go of the journal, as the connection has ended."""
        await self._store.drop_journal(self.id)

    async def _append(self, entry: JournalEntry) -> bool:
        """Append an entry; False when somebody was faster, and has been read."""
        position = self.conversation.position + 1
        try:
            done = await self._store.append(self.id, position, entry.text, self.expires_at)
        except BackendError:
            # Its answer may be lost: each entry says who wrote it.
            if not await self._find(position, entry):
                raise
            return True
        if done:
            self.conversation.add_own(entry)
            return True
        return await self._find(position, entry)

    async def _find(self, position: int, entry: JournalEntry) -> bool:
        """Read on, and tell whether the entry at a position is this one."""
        found = await self._read()
        return self.conversation.position >= position and found[0] == entry.text
