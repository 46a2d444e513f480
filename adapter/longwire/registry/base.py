"""The contract that `Connections` needs: clients, the store they are kept in, and how to use both.

There are two registries: that of API Gateway (`api_gateway.py`), and that of a server which holds
its clients itself (`in_process.py`). Channels calls such a thing a channel layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import Protocol

    from longwire.apigateway.frames import Binary
    from longwire.apigateway.management import ConnectionInfo
    from longwire.asgi.state import Changes
    from longwire.types import Frame
    from longwire_backends import Backend

    # Takes who calls, the pages of members, the frame, and the fan-out that adds it all up.
    HandOver = Callable[..., Awaitable[None]]

MAX_GONE_IDS = 10_000


if TYPE_CHECKING:

    class Post(Protocol):
        """Sends one certain frame to a connection."""

        def __call__(
            self, connection_id: str, *, deadline: float, patient: bool = True
        ) -> Coroutine[Any, Any, object]:
            """Send it.

            Args:
                patient: repeat it for a while when it is refused (429).

            Raises:
                ConnectionGoneError: the connection no longer exists.
                SlowClientError: its client does not read; not `final` if it is worth another try.
                ManagementError: anything else; `status` is 429 when there were too many.
            """

    class Clients(Protocol):
        """Who is connected. Deadlines are in seconds of `time.monotonic()`."""

        def prepare(self, frame: Frame, connection_id: str = "") -> Post:
            """Return what sends this frame, to `connection_id` or to many.

            Raises:
                ASGIMessageError, MessageTooLargeError: it cannot be sent.
                ConfigurationError: there is no way to send anything.
            """

        async def info(
            self, connection_id: str, *, deadline: float, patient: bool = True
        ) -> ConnectionInfo:
            """Tell about a connection; raises as a `Post` does."""

        async def close(self, connection_id: str, *, deadline: float) -> None:
            """End a connection; raises as a `Post` does."""

    class LiveState(Protocol):
        """What a connection's app keeps, where that app runs."""

        def read(self) -> dict[str, Any]:
            """Return a copy of what JSON can hold of it."""

        async def change(self, changes: Changes) -> None:
            """Change it, key by key.

            Raises:
                StateError: it would be too large.
            """

    class OwnedState(LiveState, Protocol):
        """That of an event's own connection, which is stored later than it changes."""

        async def store(self) -> None:
            """Store what has changed so far, before somebody is told of it."""


class Departure(NamedTuple):
    """A connection that has proved to be gone."""

    connection_id: str
    endpoint: str | None  # URL of the management API that does not know it


Departed = dict[Departure, None]
"""Those that an event has found, in this order, each once."""


class GoneIds:
    """Connections that this process has found to be gone lately, so that it asks about none twice.

    A broadcast leaves them out: the store lists them until their app has been told.
    """

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, connection_id: str) -> None:
        self._ids[connection_id] = None
        if len(self._ids) > MAX_GONE_IDS:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, connection_id: object) -> bool:
        return connection_id in self._ids


class Registry(NamedTuple):
    """Who is connected, and how to reach them.

    Attributes:
        backend: None where only single connections can be reached.
        gone: who has been found to be gone.
        endpoint: URL of the management API; None where it is not known, or there is none.
        binary: as in `ws_config`.
        hand_over: hands a send to many over to a queue (see `fanout/hand_over.py`); None where
            there is none.
        state_limit: as in `ws_config`; None where no state is kept.
        live_state: the state of a client whose app runs here; None where the store has it.
        tell: tells the app of connections that are gone, each once; None where there is no app,
            so that whoever runs it does so later.
    """

    clients: Clients
    backend: Backend | None
    gone: GoneIds
    endpoint: str | None = None
    binary: Binary = "text"
    hand_over: HandOver | None = None
    state_limit: int | None = None
    live_state: Callable[[str], LiveState] | None = None
    tell: Callable[[Sequence[Departure]], Awaitable[None]] | None = None
