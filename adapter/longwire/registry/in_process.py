"""The registry of a server that holds its clients itself, as uvicorn does: no Lambda, no gateway.

There `Connections` works in memory, so that one and the same app runs on both. It knows each
WebSocket that it has been given, and with `ConnectionsMiddleware` (`middleware.py`) also those that
it has not. Several servers may run in one process, each with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from longwire.apigateway.endpoint import is_given
from longwire.apigateway.frames import encode_text
from longwire.apigateway.management import ConnectionInfo
from longwire.asgi.messages import is_disconnect
from longwire.asgi.state import change, values_of
from longwire.exceptions import ConnectionGoneError, ManagementError
from longwire.registry.base import GoneIds, Registry
from longwire.registry.caller import Caller
from longwire.runtime.threads import running_loop
from longwire_backends.base import Page, Record
from longwire_backends.memory import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from longwire.asgi.state import Changes
    from longwire.registry.base import Post
    from longwire.types import Frame, Message, Scope, Send

logger: logging.Logger = logging.getLogger("longwire")

# One of these is imported where a process serves an app itself. An app that imports its server to
# run it has not yet got that far; but Quart imports all of hypercorn.
SERVERS = ("uvicorn.protocols", "hypercorn.asyncio", "daphne.server", "granian")
# And one of these where it tests an app: a server for each test, and between them none.
TEST_CLIENTS = ("starlette.testclient", "litestar.testing", "channels.testing", "asgiref.testing")

# A membership ends with its connection, not at a time.
NEVER = 2**53

PARTIAL = (
    "without longwire.ConnectionsMiddleware around the app, broadcast reaches only those "
    "connections that Connections has been given; on Lambda it reaches all"
)


class SocketState(enum.Enum):
    CONNECTING = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()


class ServedSocket:
    """A client of this process; `send` returns ASGI's `send`, or a framework's that is like it.

    `live` returns its scope, while that is there; `lifespan` is what the app's startup put there.
    """

    def __init__(
        self,
        scope: Scope,
        send: Callable[[], Send | None],
        state: Callable[[], SocketState],
        live: Callable[[], Scope | None],
        lifespan: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.left_groups: tuple[str, ...] = ()  # when it could not be reached any more
        self.is_gone = False  # as a send has shown
        self._state = state
        self.connected_at: datetime = datetime.now(UTC)
        self.last_active_at: datetime = self.connected_at
        self.source_ip: str = str((scope.get("client") or ("",))[0])
        agents = [value for name, value in scope.get("headers", ()) if name == b"user-agent"]
        self.user_agent: str | None = agents[0].decode("latin-1") if agents else None
        self._send = send
        self._live = live
        self._lifespan = lifespan

    @property
    def state(self) -> SocketState:
        """How far the connection has come."""
        return SocketState.ENDED if self.is_gone or self.loop.is_closed() else self._state()

    def read(self) -> dict[str, Any]:
        """Return a copy of what JSON can hold of its state, without what the startup put there."""
        return values_of(self._kept(), self._lifespan)

    async def change(self, changes: Changes) -> None:
        """Change its state, key by key."""
        change(self._kept(), changes)

    def _kept(self) -> dict[str, Any]:
        state = (self._live() or {}).setdefault("state", {})
        return state if isinstance(state, dict) else {}

    async def send(self, message: Message) -> None:
        """Send an ASGI message, on the event loop of the connection."""
        send = self._send()
        if send is None:
            raise ConnectionResetError
        if self.loop is asyncio.get_running_loop():
            await send(message)
        else:
            await _send_on(self.loop, send, message)
        self.last_active_at = datetime.now(UTC)


class ServedClients:
    """The `Clients` of this process."""

    def __init__(self) -> None:
        self.sockets: dict[str, ServedSocket] = {}  # by connection id
        self.ended: deque[str] = deque()  # who has to be taken out of groups
        self.watched = False  # a middleware tells of all of them
        self._loops: set[asyncio.AbstractEventLoop] = set()

    def add(self, connection_id: str, socket: ServedSocket) -> None:
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

    def find(self, connection_id: str) -> ServedSocket | None:
        """Return a connection that is open or about to be."""
        socket = self.sockets.get(connection_id)
        return None if socket is None or socket.state is SocketState.ENDED else socket

    @property
    def has_served(self) -> bool:
        """Whether there has ever been one."""
        return bool(self._loops)

    @property
    def used(self) -> bool:
        """Whether there has ever been one, on an event loop that still exists."""
        return not all(loop.is_closed() for loop in self._loops)

    @property
    def are_here(self) -> bool:
        """Whether the event loop that runs here is that of a server of theirs."""
        return running_loop() in self._loops

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
        if isinstance(frame, str):
            encode_text(frame)

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
        if socket.state is SocketState.CONNECTING and message["type"] == "websocket.send":
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

    def live_state(self, connection_id: str) -> ServedSocket:
        """Return the state of a client; raises `ConnectionGoneError`."""
        return self._found(connection_id)

    def _found(self, connection_id: str) -> ServedSocket:
        socket = self.find(connection_id)
        if socket is None:
            raise ConnectionGoneError(connection_id)
        return socket


class ServedBackend(MemoryBackend):
    """Memberships in memory, for several threads; they end with their connections."""

    def __init__(self, clients: ServedClients) -> None:
        super().__init__()
        self._clients = clients
        self._lock = threading.Lock()
        self._warned = False

    async def get(self, connection_id: str) -> Record | None:
        return Record("", "", NEVER) if self._clients.find(connection_id) else None

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        if not (self._clients.watched or self._warned):
            self._warned = True
            logger.warning(PARTIAL)
        ids = sorted(one for one in tuple(self._clients.sockets) if one > (after or ""))[:limit]
        alive = tuple(one for one in ids if self._clients.find(one))
        return Page(alive, ids[-1] if len(ids) == limit else None)

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        self.clear()
        with self._lock:
            await super().group_add(group, connection_id, expires_at)
        if connection_id not in self._clients.sockets:  # it ended just now
            await self.group_discard(group, connection_id)

    async def group_discard(self, group: str, connection_id: str) -> None:
        with self._lock:
            await super().group_discard(group, connection_id)

    async def group_discard_all(self, connection_id: str) -> tuple[str, ...]:
        names = await super().group_discard_all(connection_id)
        if names and (socket := self._clients.sockets.get(connection_id)) is not None:
            socket.left_groups = names
        return names

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        self.clear()
        with self._lock:
            page = await super().group_members(group, limit=limit, after=after)
        return page._replace(members=tuple(filter(self._clients.find, page.members)))

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        with self._lock:
            names = await super().groups(connection_id)
        socket = self._clients.sockets.get(connection_id)
        return names or (socket.left_groups if socket is not None else ())

    def clear(self) -> None:
        """End the memberships of connections that have ended."""
        with self._lock:
            while self._clients.ended:
                self._forget(self._clients.ended.popleft())

    def _forget(self, connection_id: str) -> None:
        for group, members in tuple(self._groups.items()):
            if members.pop(connection_id, None) is not None and not members:
                del self._groups[group]


clients: ServedClients = ServedClients()
_backend = ServedBackend(clients)
_registry = Registry(clients, _backend, GoneIds(), state_limit=0, live_state=clients.live_state)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=clients.clear)


def caller(timeout: float) -> Caller:
    """Return who reaches the clients of this process, within `timeout` seconds."""
    return Caller(_registry, time.monotonic() + timeout, loop=clients.loop())


def is_server() -> bool:
    """Tell whether this process holds connections itself, or is about to.

    One that has not held any and is told of a management API is not: it serves HTTP beside it.
    """
    if clients.used:
        return True
    if is_given(os.environ):
        return False
    if any(name in sys.modules for name in TEST_CLIENTS):
        return True  # also where an earlier test had clients, which are gone
    if clients.has_served and running_loop() is None and _loop_of_worker() is None:
        return False  # its servers have stopped
    return any(name in sys.modules for name in SERVERS)


def note(connection_id: str, socket: ServedSocket) -> None:
    """Note a connection of this process."""
    _backend.clear()
    clients.add(connection_id, socket)


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
