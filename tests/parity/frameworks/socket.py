"""What endpoints need of a WebSocket, whichever framework it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Endpoint = Callable[["Socket"], Awaitable[None]]
    Gone = tuple[type[Exception], ...]


class Socket(Protocol):
    """A framework's WebSocket."""

    # What its methods raise when the client has left; empty where the framework cancels instead.
    gone: ClassVar[Gone]

    async def accept(self, subprotocol: str | None = None) -> None: ...

    async def receive(self) -> str: ...

    async def send(self, text: str) -> None: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...

    @property
    def offered(self) -> list[str]:
        """The subprotocols that the client speaks."""

    @property
    def handshake(self) -> dict[str, Any]:
        """What the framework tells of the handshake: query, headers, cookies."""


async def serve(endpoint: Endpoint, socket: Socket) -> None:
    """Run an endpoint until it ends or the client has left."""
    try:
        await endpoint(socket)
    except BaseExceptionGroup as group:
        rest = group.split(socket.gone)[1] if socket.gone else group
        if rest is not None:
            raise rest from None
    except socket.gone:
        pass
