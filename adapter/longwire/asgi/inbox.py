"""The messages on their way to the app: ASGI's `receive`."""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ASGIMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from longwire.types import Message

# An app that receives this often after it has been cancelled is left to wait.
REFUSALS = 4
# The type of what goes to the channel, under "message": no server has such a type.
CHANNEL_MESSAGE = "longwire.channel"


_NOBODY: Mapping[asyncio.Task[Any], object] = {}
_current: ContextVar[tuple[Inbox | None, int]] = ContextVar("longwire_message", default=(None, 0))


if TYPE_CHECKING:

    class Channel(Protocol):
        """What a channel layer has for the app."""

        @property
        def waiters(self) -> Mapping[asyncio.Task[Any], object]:
            """The tasks that wait for a message."""

        @property
        def is_heard(self) -> bool:
            """Whether somebody is about to get a message."""

        @property
        def moves(self) -> bool:
            """Whether that is so, or the app has one in hand."""

        def put(self, message: Message, *, counts: bool) -> None:
            """Give the app a message; `counts` says that a journal has it among its messages."""


class Inbox:
    """What the app is to receive, and which of its tasks wait for more."""

    channel: Channel | None = None  # of a channel layer, for an app that has asked for one
    # Called as somebody is about to wait; tells whether something may be here by then.
    on_empty: Callable[[], bool] | None = None

    def __init__(self, first: Message, on_change: Callable[[], object] = lambda: None) -> None:
        self.waiters: dict[asyncio.Task[Any], asyncio.Future[None]] = {}  # inside `receive()`
        # Of these futures, those of who waits for what comes after a message, and receives nothing.
        self._held: set[asyncio.Future[None]] = set()
        self.waited: bool = False  # whether there has ever been one
        self.told_the_end: bool = False  # somebody has received the disconnect
        self.is_closed: bool = False  # the run is over
        # A handful in all: the first, the event's own, and one disconnect of each kind.
        self._messages: deque[Message] = deque([first])
        self.on_change = on_change
        self._refused = 0
        self._received = 0

    def __bool__(self) -> bool:
        return bool(self._messages)

    @property
    def number(self) -> int:
        """Of the message that the task in which this runs, or who has begun it, received last.

        Where others receive for it, it is the last one that anybody has received.
        """
        inbox, number = _current.get()
        return number if inbox is self else self._received

    def deliver(self, message: Message) -> None:
        """Give the app a message."""
        if message["type"] == CHANNEL_MESSAGE:
            if self.channel is not None:
                self.channel.put(message["message"], counts=True)
            return
        self._messages.append(message)
        self._wake()

    @property
    def listeners(self) -> Mapping[asyncio.Task[Any], object]:
        """Who waits for a message of a channel layer."""
        return _NOBODY if self.channel is None else self.channel.waiters

    @property
    def is_heard(self) -> bool:
        """Whether somebody is about to get a message of a channel layer."""
        return self.channel is not None and self.channel.is_heard

    @property
    def awaits_client(self) -> bool:
        """Whether somebody receives, and the app has not been given anything else to do."""
        return bool(self.waiters) and not (self.channel is not None and self.channel.moves)

    def close(self) -> None:
        """Cancel, from now on, whoever receives: the run is over."""
        self.is_closed = True

    def abandon(self) -> None:
        """End those who wait, without a message and without being cancelled."""
        for waiter in self.waiters.values():
            if not waiter.done():
                waiter.set_exception(GeneratorExit())

    async def receive(self) -> Message:
        """Return the next message: ASGI's `receive`."""
        while not self._messages:
            if self.is_closed:
                await self.refuse()
            self.waited = True
            if self.on_empty is None or not self.on_empty():
                await self._wait()
        message = self._messages.popleft()
        if message["type"] != "websocket.connect":
            self.count()
        if message["type"] == "websocket.disconnect":
            self.told_the_end = True
            self.on_change()
        return message

    def count(self) -> None:
        """Note that this task goes on with a further message."""
        self._received += 1
        _current.set((self, self._received))

    async def hold(self) -> None:
        """Wait for `go_on`, which comes only after a further message."""
        task = asyncio.current_task()
        assert task is not None
        self.waiters[task] = waiter = asyncio.get_running_loop().create_future()
        self._held.add(waiter)
        self.on_change()
        try:
            await waiter
        finally:
            del self.waiters[task]
            self._held.discard(waiter)

    def go_on(self) -> bool:
        """Let those go on who are held; tell whether there are any."""
        for waiter in self._held:
            if not waiter.done():
                waiter.set_result(None)
        return bool(self._held)

    def is_held_up(self) -> bool:
        """Tell whether what is here is not received because all who wait are held."""
        return bool(self._messages and self._held) and all(
            waiter in self._held and not waiter.done() for waiter in self.waiters.values()
        )

    async def _wait(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise ASGIMessageError("receive() was called outside a task")
        self.waiters[task] = waiter = asyncio.get_running_loop().create_future()
        self.on_change()
        try:
            await waiter
        finally:
            del self.waiters[task]
            if self._messages:  # cancelled with a message on its way: another may have it
                self._wake()

    async def refuse(self) -> None:
        """Cancel again an app that receives while it unwinds; in the end let it wait for ever."""
        self._refused += 1
        if self._refused > REFUSALS:
            await asyncio.get_running_loop().create_future()
        raise asyncio.CancelledError

    def _wake(self) -> None:
        for waiter in self.waiters.values():
            if not waiter.done() and waiter not in self._held:
                waiter.set_result(None)
                return
