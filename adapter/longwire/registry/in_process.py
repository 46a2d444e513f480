"""The WebSockets that this process's server holds, each on its own event loop."""

from __future__ import annotations

import asyncio
import enum
import sys
import time
from collections import deque
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING

from longwire.apigateway.management import ConnectionInfo
from longwire.asgi.messages import is_disconnect
from longwire.exceptions import ASGIMessageError, ConnectionGoneError, ManagementError
from longwire.runtime.threads import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.apigateway.frames import Frame
    from longwire.registry.base import Post
    from longwire.types import Message, Scope, Send


class State(enum.Enum):
    CONNECTING = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()


class Socket:
    """A client of this process.

    Args:
        send: returns ASGI's `send` of the connection, or a framework's that takes the same.
        state: tells how far the connection has come.

    Attributes:
        left: the groups that it was taken out of because it could not be reached any more.
        is_gone: whether a send has shown that the client is gone.
    """

    def __init__(
        self, scope: Scope, send: Callable[[], Send | None], state: Callable[[], State]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.left: tuple[str, ...] = ()
        self.is_gone = False
        self._state = state
        self.connected_at = self.last_active_at = datetime.now(UTC)
        self.source_ip = str((scope.get("client") or ("",))[0])
        agents = [value for name, value in scope.get("headers", ()) if name == b"user-agent"]
        self.user_agent = agents[0].decode("latin-1") if agents else None
        self._send = send

    @property
    def state(self) -> State:
        """How far the connection has come."""
        return State.ENDED if self.is_gone or self.loop.is_closed() else self._state()

    async def send(self, message: Message) -> None:
        """Send an ASGI message, on the event loop of the connection.

        Raises:
            Exception: whatever the server or a framework raises.
        """
        send = self._send()
        if send is None:
            raise ConnectionResetError
        if self.loop is asyncio.get_running_loop():
            await send(message)
        else:
            await _send_on(self.loop, send, message)
        self.last_active_at = datetime.now(UTC)


class ServedClients:
    """The `Clients` of this process. Several servers may run in it, each with a loop of its own.

    Attributes:
        sockets: by connection id.
        ended: ids of connections that are over; to be taken out of their groups.
        watched: whether a middleware tells of all of them.
    """

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        self.ended: deque[str] = deque()
        self.watched = False
        self._loops: set[asyncio.AbstractEventLoop] = set()

    def add(self, connection_id: str, socket: Socket) -> None:
        """Note a connection."""
        self.sockets[connection_id] = socket
        if socket.loop not in self._loops:
            self._loops = {loop for loop in self._loops if not loop.is_closed()} | {socket.loop}

    def remove(self, connection_id: str) -> None:
        """Forget a connection that has ended; garbage collection may call this at any time."""
        if self.sockets.pop(connection_id, None) is not None:
            self.ended.append(connection_id)

    def clear(self) -> None:
        """Forget all, in the child of a fork: they are its parent's."""
        self.sockets.clear()
        self._loops = set()

    def find(self, connection_id: str) -> Socket | None:
        """Return a connection that is open or about to be."""
        socket = self.sockets.get(connection_id)
        return None if socket is None or socket.state is State.ENDED else socket

    @property
    def used(self) -> bool:
        """Whether there has ever been one, on an event loop that still exists."""
        return not all(loop.is_closed() for loop in self._loops)

    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Return a server's event loop: the one that runs here, or this thread's, or any."""
        here = running_loop()
        if here in self._loops:
            return here
        loop = None if here else _loop_of_worker()
        return loop or next((loop for loop in self._loops if loop.is_running()), None)

    def prepare(self, frame: Frame, connection_id: str = "") -> Post:
        key = "text" if isinstance(frame, str) else "bytes"
        message = {"type": "websocket.send", key: frame}
        if isinstance(frame, str) and not _is_unicode(frame):
            raise ASGIMessageError(
                "the text of a message holds half of a surrogate pair, which no text frame can"
            )

        async def post(connection_id: str, *, deadline: float, patient: bool = True) -> None:
            await self._send(connection_id, message, deadline)

        return post

    async def info(
        self, connection_id: str, *, deadline: float, patient: bool = True
    ) -> ConnectionInfo:
        socket = self._found(connection_id)
        return ConnectionInfo(
            socket.connected_at, socket.last_active_at, socket.source_ip, socket.user_agent
        )

    async def close(self, connection_id: str, *, deadline: float) -> None:
        await self._send(connection_id, {"type": "websocket.close", "code": 1000}, deadline)

    async def _send(self, connection_id: str, message: Message, deadline: float) -> None:
        socket = self._found(connection_id)
        if socket.state is State.CONNECTING and message["type"] == "websocket.send":
            raise ManagementError(connection_id, "the app has not accepted it yet")
        try:
            async with asyncio.timeout(deadline - time.monotonic()) as limit:
                await socket.send(message)
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                raise ManagementError(connection_id, "its client does not read") from error
            # A RuntimeError: servers and frameworks raise it after a close.
            if isinstance(error, (OSError, RuntimeError)) or is_disconnect(error):
                socket.is_gone = True
                raise ConnectionGoneError(connection_id) from error
            raise ManagementError(connection_id, f"its server says {error!r}") from error

    def _found(self, connection_id: str) -> Socket:
        socket = self.find(connection_id)
        if socket is None:
            raise ConnectionGoneError(connection_id)
        return socket


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _loop_of_worker() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that has started this thread, if anyio has, as frameworks do."""
    if "anyio" not in sys.modules:
        return None
    from_thread = import_module("anyio.from_thread")
    try:
        loop: asyncio.AbstractEventLoop = from_thread.run_sync(asyncio.get_running_loop)
    except RuntimeError:
        return None
    return loop


async def _send_on(loop: asyncio.AbstractEventLoop, send: Send, message: Message) -> None:
    """Send on another thread's event loop."""
    coro = _await(send, message)
    try:
        work = asyncio.run_coroutine_threadsafe(coro, loop)
    except RuntimeError:  # it has just been closed
        coro.close()
        raise
    try:
        await asyncio.wrap_future(work)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ConnectionResetError from None  # its server stops


async def _await(send: Send, message: Message) -> None:
    await send(message)
