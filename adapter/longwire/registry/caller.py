"""Who uses `Connections`: the app of a running event, or somebody else in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from longwire import deadlines
from longwire.exceptions import ConfigurationError
from longwire.registry.store import Store

if TYPE_CHECKING:
    from typing import Protocol

    from longwire.registry.base import Departed, OwnedState, Registry
    from longwire.types import Frame, Message

NO_STORE = (
    "groups and broadcast need a store: say Connections(ws_config=...) with that of the handler"
)


if TYPE_CHECKING:

    class Results(Protocol):
        """What `longwire.once` has got in a run."""

        async def get(self, key: str, factory: Callable[[], Any]) -> Any:
            """Return the result that belongs here; raises as `longwire.once`."""

    class OwnChannel(Protocol):
        """A run's end of a channel layer."""

        groups: set[str]
        is_taken: bool

        def __len__(self) -> int:
            """Return how many messages its app has yet to receive."""

        def put(self, message: Message, *, counts: bool) -> None:
            """Give the app a message; `counts` says that a journal has it among its messages."""

        async def receive(self) -> Message:
            """Return the next message."""

    class ChannelDeliveries(Protocol):
        """Messages of a channel layer on their way to consumers that are not running."""

        @property
        def is_busy(self) -> bool:
            """Whether something is on its way."""

        async def settle(self) -> None:
            """Wait until all are delivered, or the deadline."""

        def put(
            self, connection_id: str, endpoint: str, message: Message, expires_at: float, most: int
        ) -> bool:
            """Have a connection's app run for a message; False if `most` are on their way to it.

            `expires_at` is in `time.monotonic()`.
            """

        async def finish(self) -> None:
            """Do so where no event does it at its end, and what an event does then."""

    class OwnConnection(Protocol):
        """The connection of the event in which somebody calls, as `Connections` sees it.

        Attributes:
            accepted: the app has accepted it.
            has_effect: what the app does counts: not in a replay, nor while it unwinds.
            unwinding: its run is over.
            goes_on_after_event: its run is over, and it is not.
            is_over: it has ended: the app is told so, or has ended it itself.
            is_unanswered: its handshake has no answer yet, so that nobody else can end it.
            greets: frames to it have to wait for the response to its handshake.
            left_groups: the groups in which it was, once it has ended.
            state: what its app keeps.
            results: what `longwire.once` has got in its run; None without `replay`.
            channel: returns its run's end of a channel layer.
            gives_own: its app gets in this run what it sends to itself by a channel layer.
        """

        id: str
        left_groups: tuple[str, ...]

        @property
        def state(self) -> OwnedState: ...
        @property
        def results(self) -> Results | None: ...

        def channel(self) -> OwnChannel: ...
        @property
        def gives_own(self) -> bool: ...
        @property
        def accepted(self) -> bool: ...
        @property
        def has_effect(self) -> bool: ...
        @property
        def unwinding(self) -> bool: ...
        @property
        def goes_on_after_event(self) -> bool: ...
        @property
        def is_over(self) -> bool: ...
        @property
        def is_unanswered(self) -> bool: ...
        @property
        def greets(self) -> bool: ...

        async def takes_effect(self) -> bool:
            """Tell whether what the app does now counts, once it is sure that it may do it.

            Whoever may not, as another event goes on with the connection, is cancelled here.
            """

        async def greet(self, frame: Frame) -> None:
            """Send a frame once the response to the handshake has left.

            Raises:
                ManagementError: the app has not accepted the connection.
            """

        async def join(self) -> int:
            """Make sure that there is a record before the handshake is answered; return its expiry.

            Without one, a member that cannot be reached yet would be taken for one that is gone.
            """

        async def lose(self) -> bool:
            """Note that the client has proved to be gone; tell whether this event tells the app."""

        async def close(self) -> None:
            """Close it as the app itself does; no error when it is closed."""


class Caller:
    """What an event's app, and whatever it calls, may reach and when."""

    def __init__(
        self,
        registry: Registry,
        deadline: float,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        own: OwnConnection | None = None,
        departed: Departed | None = None,
        deliveries: Callable[[], ChannelDeliveries | None] | None = None,
    ) -> None:
        self.registry: Registry = registry
        self.deadline: float = deadline
        # On which the clients have to be spoken to; None for any.
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.own = own  # None for an event that is about no connection
        # Where an event collects who has proved to be gone, to tell the app at its end; None where
        # the app is told at once.
        self.departed = departed
        # Returns what is on its way by a channel layer; None where there is no app to run, or if
        # the event is over.
        self.deliveries = deliveries
        self.unfinished: set[asyncio.Task[None]] = set()  # what was begun and not awaited
        # Called when it has sent something that has no effect; None where nobody wants to know.
        self.on_swallowed: Callable[[], object] | None = None
        # Its event is over: whoever goes on has to find another caller.
        self.is_closed: bool = False

    def go_on(self, other: Caller) -> None:
        """Become the caller of another event, in which the same code goes on."""
        self.registry, self.deadline, self.loop = other.registry, other.deadline, other.loop
        self.own, self.departed, self.deliveries = other.own, other.departed, other.deliveries

    def without_run(self) -> Caller:
        """Return a caller for work that was decided while the run had effect, and outlives it."""
        return Caller(self.registry, self.deadline, loop=self.loop, departed=self.departed)

    async def settle(self) -> None:
        """Wait, until the deadline, for what was begun and not awaited."""
        if self.unfinished:
            await asyncio.wait(self.unfinished, timeout=deadlines.left(self.deadline))

    async def finish(self) -> None:
        """Settle; then it is over."""
        await self.settle()
        self.is_closed = True

    @property
    def store(self) -> Store:
        """The store, asked until the deadline; raises `ConfigurationError` where there is none."""
        if self.registry.backend is None:
            raise ConfigurationError(NO_STORE)
        return Store(self.registry.backend, self.deadline)

    @property
    def has_effect(self) -> bool:
        """Whether what it does takes effect: not when it is repeated, nor when a run unwinds."""
        return self.own is None or self.own.has_effect

    async def takes_effect(self) -> bool:
        """Tell the same just before it is done; raises `CancelledError` where it must not be."""
        return self.own is None or await self.own.takes_effect()

    async def store_state(self) -> None:
        """Store what the event's app has changed, as clients are about to hear of it."""
        if self.own is not None and self.own.has_effect:
            await self.own.state.store()

    @property
    def is_over(self) -> bool:
        """Whether it has no effect because its run is over."""
        return self.own is not None and self.own.unwinding

    def swallow(self) -> None:
        """Note that something was sent without effect."""
        if self.on_swallowed is not None:
            self.on_swallowed()

    def own_if(self, connection_id: str) -> OwnConnection | None:
        """Return the event's own connection if this is its id."""
        return self.own if self.own is not None and self.own.id == connection_id else None


current: ContextVar[Caller | None] = ContextVar("longwire_caller", default=None)
"""The caller of the code that runs here; tasks and `asyncio.to_thread` inherit it."""


class Calling:
    """Make it the caller in the tasks that are created here."""

    # Not made with `contextlib`, as there is one in each event.
    __slots__ = ("_caller", "_token")

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __enter__(self) -> None:
        self._token = current.set(self._caller)

    def __exit__(self, *exc_info: object) -> None:
        current.reset(self._token)


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
