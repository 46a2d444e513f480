"""Who uses `Connections`: the app of a running event, or somebody else in the same process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from longwire.exceptions import ManagementError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from longwire.apigateway.frames import Frame
    from longwire.asgi.run import Run
    from longwire.invocation.connection import Connection
    from longwire.invocation.greeting import Greeting
    from longwire.registry.api_gateway import Departure, Layer


class Caller:
    """What an event's app, and whatever it calls, may reach and when.

    Attributes:
        layer: of the handler.
        loop: on which the clients have to be spoken to; None for any.
        deadline: when its calls have to be done, in seconds of `time.monotonic()`.
        own: the event's own connection; None for an event that is about none.
        departed: where an event collects connections that have proved to be gone, to tell the app
            of them at its end; None where the app is told at once.
        unfinished: what was begun and not awaited.
        is_closed: its event is over, so that whoever goes on in its name has to find another.
    """

    def __init__(
        self,
        layer: Layer,
        deadline: float,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        own: OwnConnection | None = None,
        departed: list[Departure] | None = None,
    ) -> None:
        self.layer = layer
        self.deadline = deadline
        self.loop = loop
        self.own = own
        self.departed = departed
        self.unfinished: set[asyncio.Task[None]] = set()
        self.is_closed = False

    async def finish(self) -> None:
        """Wait, until the deadline, for what was begun and not awaited; then it is over."""
        if self.unfinished:
            await asyncio.wait(self.unfinished, timeout=self.deadline - time.monotonic())
        self.is_closed = True

    @property
    def has_effect(self) -> bool:
        """Whether what it does takes effect: not when it is repeated, nor when a run unwinds."""
        return self.own is None or self.own.run.has_effect

    @property
    def is_over(self) -> bool:
        """Whether it has no effect because its run is over."""
        return self.own is not None and self.own.run.unwinding

    def own_if(self, connection_id: str) -> OwnConnection | None:
        """Return the event's own connection if this is its id."""
        return self.own if self.own is not None and self.own.id == connection_id else None


current: ContextVar[Caller | None] = ContextVar("longwire_caller", default=None)
"""Who calls; what an app's tasks and `asyncio.to_thread` start inherits it."""


@contextlib.contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Let it be who calls in the tasks that are created here."""
    token = current.set(caller)
    try:
        yield
    finally:
        current.reset(token)


Latest = Callable[[], Callable[[float], Caller] | None]


def _nobody() -> None:
    """No handler has had an event."""


latest: Latest = _nobody
"""Returns how the handler that had the last event calls, within so many seconds.

It is for threads that inherit nothing.
"""


def forget(handler: Latest) -> None:
    """Note that a handler has been closed."""
    global latest
    if latest is handler:
        latest = _nobody


class OwnConnection:
    """The connection of a run, as its app sees it through `Connections`.

    Args:
        greeting: the client of a connect step, which gets nothing before the response has left.
        save: stores the record of a connection that has none yet.

    Attributes:
        run: set as soon as there is one, before the app begins.
        answered: the response to its handshake is about to leave, and the record says so.
        refused: that response is a refusal.
    """

    run: Run

    def __init__(
        self,
        connection: Connection,
        *,
        greeting: Greeting | None = None,
        save: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._connection = connection
        self._greeting = greeting
        self.answered = self.refused = False
        self._save = save
        self._saving = asyncio.Lock()

    @property
    def id(self) -> str:
        return self._connection.id

    @property
    def is_over(self) -> bool:
        """Whether it has ended: the app is told so, or has ended it itself."""
        return self.refused or self.run.disconnect_delivered or self._connection.ended

    @property
    def left(self) -> tuple[str, ...]:
        """The groups in which it was, once it has ended."""
        return self._connection.left

    @property
    def greets(self) -> bool:
        """Whether frames to this connection have to wait for the response to its handshake."""
        return self._greeting is not None and not self._greeting.is_open

    async def greet(self, frame: Frame) -> None:
        """Send a frame once the response has left.

        Raises:
            ManagementError: the app has not accepted the connection.
        """
        assert self._greeting is not None
        if not self.run.answer.accepted:
            raise ManagementError(self.id, "the app has not accepted it yet")
        await self._greeting.push(frame)

    async def lose(self) -> None:
        """Tell the app, if nobody else does, that its client has proved to be gone."""
        if await self._connection.lose():
            await self._connection.leave()

    @property
    def unanswered(self) -> bool:
        """Whether its handshake has not been answered, so that nobody else can end it."""
        return self._greeting is not None and not (self.answered or self.refused)

    async def answer(self, save: Awaitable[None] | None) -> None:
        """Store the record that is answered with, after any that joining a group has stored."""
        async with self._saving:
            self._save = None
            if save is not None:
                await save
            self.answered = True

    async def join(self) -> int:
        """Make sure that there is a record before it is answered; return its expiry.

        Without one, a member that cannot be reached yet would be taken for one that is gone.
        """
        async with self._saving:
            if self._save is not None:
                await self._save()
                self._save = None
        return self._connection.expires_at
