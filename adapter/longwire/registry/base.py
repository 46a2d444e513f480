"""What a layer does to those who are connected, whoever holds their connections.

Only types: nobody needs to import this to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from longwire.apigateway.frames import Frame
    from longwire.apigateway.management import ConnectionInfo


class Post(Protocol):
    """Sends one certain frame to a connection."""

    async def __call__(self, connection_id: str, *, deadline: float, patient: bool = True) -> None:
        """Send it.

        Args:
            patient: repeat it while it is refused because there are too many (429).

        Raises:
            ConnectionGoneError: the connection no longer exists.
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
