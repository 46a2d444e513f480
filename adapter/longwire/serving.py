"""The clients of a server that holds them itself, as uvicorn does: no Lambda, no API Gateway.

There `Connections` works in memory, so that one and the same app runs on both. It knows each
WebSocket that it has been given, and with `ConnectionsMiddleware` also those that it has not.
"""

from __future__ import annotations

import asyncio
import base64
import enum
import os
import time
import weakref
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from longwire.caller import Caller
from longwire.endings import is_disconnect
from longwire.exceptions import ConnectionGoneError, InvalidArgumentError, ManagementError
from longwire.layer import Layer
from longwire.management import ConnectionInfo
from longwire.targets import known_id, scope_of
from longwire_backends.base import Page, Record
from longwire_backends.memory import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.frames import Frame
    from longwire.layer import Post
    from longwire.types import ASGIApp, Message, Receive, Scope, Send

# Servers whose tasks show that this process is one.
SERVERS = frozenset({"uvicorn", "hypercorn", "daphne", "granian"})

# A membership ends with its connection, not at a time.
NEVER = 2**53

UNREACHABLE = (
    "this server's connection can be reached through its WebSocket object, not through its scope: "
    "give Connections the WebSocket, or wrap the app in longwire.ConnectionsMiddleware"
)


class State(enum.Enum):
    CONNECTING = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()


class Socket:
    """A client of this process.

    Args:
        send: returns ASGI's `send` of the connection, or a framework's that takes the same.
        state: tells how far the connection has come.
    """

    def __init__(
        self, scope: Scope, send: Callable[[], Send | None], state: Callable[[], State]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.state = state
        self.connected_at = self.last_active_at = datetime.now(UTC)
        self.source_ip = str((scope.get("client") or ("",))[0])
        agents = [value for name, value in scope.get("headers", ()) if name == b"user-agent"]
        self.user_agent = agents[0].decode("latin-1") if agents else None
        self._send = send

    async def send(self, message: Message) -> None:
        """Send an ASGI message, on the event loop of the connection."""
        send = self._send()
        if send is None:
            raise ConnectionResetError
        if self.loop is asyncio.get_running_loop():
            await send(message)
        else:
            work = asyncio.run_coroutine_threadsafe(_await(send, message), self.loop)
            await asyncio.wrap_future(work)
        self.last_active_at = datetime.now(UTC)


class ServedClients:
    """The `Clients` of this process.

    Attributes:
        sockets: by connection id.
        ended: ids of connections whose WebSocket object is no more; to be cleared away.
        used: whether there has ever been one, or a middleware that waits for them.
    """

    def __init__(self) -> None:
        self.sockets: dict[str, Socket] = {}
        self.ended: deque[str] = deque()
        self.used = False
        self._clear_at = 64

    def add(self, scope: Scope, send: Callable[[], Send | None], state: Callable[[], State]) -> str:
        """Note a connection, and give its scope an id, as API Gateway would."""
        self.used = True
        if len(self.sockets) >= self._clear_at:
            for ended in [one for one in self.sockets if not self.find(one)]:
                self.remove(ended)
            self._clear_at = 64 + 2 * len(self.sockets)
        connection_id = base64.urlsafe_b64encode(os.urandom(11)).decode()
        extension = {"connection_id": connection_id}
        scope["extensions"] = {**(scope.get("extensions") or {}), "longwire": extension}
        self.sockets[connection_id] = Socket(scope, send, state)
        return connection_id

    def remove(self, connection_id: str) -> None:
        """Forget a connection that has ended."""
        if self.sockets.pop(connection_id, None) is not None:
            self.ended.append(connection_id)

    def find(self, connection_id: str) -> Socket | None:
        """Return a connection that is open or about to be."""
        socket = self.sockets.get(connection_id)
        return None if socket is None or socket.state() is State.ENDED else socket

    def prepare(self, frame: Frame, connection_id: str = "") -> Post:
        key = "text" if isinstance(frame, str) else "bytes"
        message = {"type": "websocket.send", key: frame}

        async def post(connection_id: str, *, deadline: float, patient: bool = True) -> None:
            await self._send(connection_id, message, deadline)

        return post

    async def info(self, connection_id: str, *, deadline: float) -> ConnectionInfo:
        socket = self._found(connection_id)
        return ConnectionInfo(
            socket.connected_at, socket.last_active_at, socket.source_ip, socket.user_agent
        )

    async def close(self, connection_id: str, *, deadline: float) -> None:
        await self._send(connection_id, {"type": "websocket.close", "code": 1000}, deadline)

    async def _send(self, connection_id: str, message: Message, deadline: float) -> None:
        socket = self._found(connection_id)
        if socket.state() is State.CONNECTING and message["type"] == "websocket.send":
            raise ManagementError(connection_id, "the app has not accepted it yet")
        try:
            async with asyncio.timeout(deadline - time.monotonic()) as limit:
                await socket.send(message)
        except Exception as error:
            if isinstance(error, TimeoutError) and limit.expired():
                raise ManagementError(connection_id, "its client does not read") from error
            # A RuntimeError: servers and frameworks raise it after a close.
            if isinstance(error, (OSError, RuntimeError)) or is_disconnect(error):
                raise ConnectionGoneError(connection_id) from error
            raise

    def _found(self, connection_id: str) -> Socket:
        socket = self.find(connection_id)
        if socket is None:
            raise ConnectionGoneError(connection_id)
        return socket


class ServedBackend(MemoryBackend):
    """Memberships in this process's memory; they end with their connections."""

    def __init__(self, clients: ServedClients) -> None:
        super().__init__()
        self._clients = clients

    async def get(self, connection_id: str) -> Record | None:
        return Record("", "", NEVER) if self._clients.find(connection_id) else None

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        ids = sorted(one for one in self._clients.sockets if one > (after or ""))[:limit]
        alive = tuple(one for one in ids if self._clients.find(one))
        return Page(alive, ids[-1] if len(ids) == limit else None)

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        await self._clear()
        await super().group_add(group, connection_id, expires_at)

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        await self._clear()
        page = await super().group_members(group, limit=limit, after=after)
        return page._replace(members=tuple(filter(self._clients.find, page.members)))

    async def _clear(self) -> None:
        while self._clients.ended:
            await self.group_discard_all(self._clients.ended.popleft())


_clients = ServedClients()
_layer = Layer(_clients, ServedBackend(_clients))


def caller(timeout: float) -> Caller:
    """Return who reaches the clients of this process, within `timeout` seconds."""
    loops = [socket.loop for socket in _clients.sockets.values()]
    return Caller(_layer, time.monotonic() + timeout, loop=loops[-1] if loops else None)


def is_server() -> bool:
    """Tell whether this process holds connections itself, or is about to."""
    if _clients.used:
        return True
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:  # no loop runs here
        return False
    return any(_module(task).partition(".")[0] in SERVERS for task in tasks)


def identify(target: Any) -> str:
    """Return the connection id of a target; a WebSocket that is not known yet gets one.

    Raises:
        InvalidArgumentError: it is no connection, or there is no way to send to it.
    """
    if (connection_id := known_id(target)) is not None:
        return connection_id
    scope = scope_of(target)
    if scope is None or scope is target or not callable(getattr(target, "send_text", None)):
        raise InvalidArgumentError(UNREACHABLE)
    get = _reference(target)
    connection_id = _clients.add(target.scope, lambda: _send_of(get()), lambda: _state_of(get()))
    if isinstance(get, weakref.ref):
        weakref.finalize(target, _clients.remove, connection_id)
    return connection_id


class ConnectionsMiddleware:
    """ASGI middleware that tells `Connections` of each connection of a server, as uvicorn.

    With it `broadcast` reaches all, and scopes are targets, too. On Lambda it does nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        _clients.used = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or known_id(scope) is not None:
            await self.app(scope, receive, send)
            return
        state = State.CONNECTING

        async def observed_send(message: Message) -> None:
            nonlocal state
            await send(message)
            match message["type"]:
                case "websocket.accept":
                    state = State.OPEN
                case "websocket.close":
                    state = State.ENDED

        async def observed_receive() -> Message:
            nonlocal state
            message = await receive()
            if message["type"] == "websocket.disconnect":
                state = State.ENDED
            return message

        connection_id = _clients.add(scope, lambda: observed_send, lambda: state)
        try:
            await self.app(scope, observed_receive, observed_send)
        finally:
            state = State.ENDED
            _clients.remove(connection_id)


def _reference(websocket: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(websocket)
    except TypeError:  # Litestar's has slots
        return lambda: websocket


def _send_of(websocket: Any) -> Send | None:
    return None if websocket is None else websocket.send


def _state_of(websocket: Any) -> State:
    if websocket is None:
        return State.ENDED
    # Starlette's two, each an enum; and Litestar's, a string.
    sides = (getattr(websocket, name, None) for name in ("client_state", "application_state"))
    states = {getattr(side, "name", None) for side in sides}
    states.add(getattr(websocket, "connection_state", None))
    if states & {"DISCONNECTED", "disconnect"}:
        return State.ENDED
    return State.CONNECTING if states & {"CONNECTING", "init"} else State.OPEN


def _module(task: asyncio.Task[Any]) -> str:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return str(frame.f_globals.get("__name__", "")) if frame else ""


async def _await(send: Send, message: Message) -> None:
    await send(message)
