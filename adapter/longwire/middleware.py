"""The clients of a server that holds them itself, as uvicorn does: no Lambda, no API Gateway.

There `Connections` works in memory, so that one and the same app runs on both. It knows each
WebSocket that it has been given, and with `ConnectionsMiddleware` also those that it has not.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from longwire.exceptions import InvalidArgumentError
from longwire.registry.api_gateway import Layer
from longwire.registry.caller import Caller
from longwire.registry.in_process import ServedClients, Socket, State
from longwire.registry.targets import known_id, scope_of
from longwire.runtime.threads import is_own_loop, running_loop
from longwire_backends.base import Page, Record
from longwire_backends.memory import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from longwire.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("longwire")

# Servers whose tasks, or threads, show that this process is one.
SERVERS = frozenset({"uvicorn", "hypercorn", "daphne", "granian"})

# A membership ends with its connection, not at a time.
NEVER = 2**53

UNREACHABLE = (
    "this server's connection can be reached through its WebSocket object, not through its scope: "
    "give Connections the WebSocket, or wrap the app in longwire.ConnectionsMiddleware"
)
ELSEWHERE = (
    "Connections does not know this WebSocket yet, and cannot tell from this thread which event "
    "loop it belongs to: give it to Connections with await first, or wrap the app in "
    "longwire.ConnectionsMiddleware"
)
PARTIAL = (
    "without longwire.ConnectionsMiddleware around the app, broadcast reaches only those "
    "connections that Connections has been given; on Lambda it reaches all"
)


class Extension(dict[str, str]):
    """What a connection's scope carries for `Connections`; lives as long as the scope does.

    Attributes:
        websocket: the framework's object, where nothing else may keep it alive.
    """

    websocket: Any = None


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
            socket.left = names
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
        return names or (socket.left if socket is not None else ())

    def clear(self) -> None:
        """End the memberships of connections that have ended."""
        with self._lock:
            while self._clients.ended:
                self._forget(self._clients.ended.popleft())

    def _forget(self, connection_id: str) -> None:
        for group, members in tuple(self._groups.items()):
            if members.pop(connection_id, None) is not None and not members:
                del self._groups[group]


_clients = ServedClients()
_backend = ServedBackend(_clients)
_layer = Layer(_clients, _backend)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clients.clear)


def caller(timeout: float) -> Caller:
    """Return who reaches the clients of this process, within `timeout` seconds."""
    return Caller(_layer, time.monotonic() + timeout, loop=_clients.loop())


def is_server() -> bool:
    """Tell whether this process holds connections itself, or is about to.

    One that has not held any and is told of a management API is not: it serves HTTP beside it.
    """
    if _clients.used:
        return True
    if os.environ.get("WS_MANAGEMENT_ENDPOINT"):
        return False
    here = running_loop()
    if here is not None and any(_is_server(_module(task)) for task in asyncio.all_tasks(here)):
        return True
    return any(map(_serves, sys._current_frames().values()))  # one of the other threads


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
    if is_own_loop(asyncio.get_running_loop()):
        raise InvalidArgumentError(ELSEWHERE)
    extension = _extend(target.scope)
    connection_id = extension["connection_id"]
    anchor, get = _reference(target, extension)
    socket = Socket(target.scope, lambda: _send_of(get()), lambda: _state_of(get()))
    weakref.finalize(anchor, _clients.remove, connection_id)
    _add(connection_id, socket)
    return connection_id


class ConnectionsMiddleware:
    """ASGI middleware that tells `Connections` of each connection of a server, as uvicorn.

    With it `broadcast` reaches all, not only those that `Connections` has been given, and scopes
    are targets, too. On Lambda it does nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        _clients.watched = True

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

        connection_id = _extend(scope)["connection_id"]
        _add(connection_id, Socket(scope, lambda: observed_send, lambda: state))
        try:
            await self.app(scope, observed_receive, observed_send)
        finally:
            state = State.ENDED
            _clients.remove(connection_id)


def _extend(scope: Scope) -> Extension:
    """Give a connection's scope an id, as API Gateway would."""
    extension = Extension(connection_id=base64.urlsafe_b64encode(os.urandom(11)).decode())
    scope["extensions"] = {**(scope.get("extensions") or {}), "longwire": extension}
    return extension


def _add(connection_id: str, socket: Socket) -> None:
    _backend.clear()
    _clients.add(connection_id, socket)


def _reference(websocket: Any, extension: Extension) -> tuple[object, Callable[[], Any]]:
    """Return what lives as long as the connection, and what returns the WebSocket until then."""
    try:
        return websocket, weakref.ref(websocket)
    except TypeError:  # Litestar's has slots; so its scope, which it has, too, keeps it
        extension.websocket = websocket
        kept = weakref.ref(extension)
        return extension, lambda: getattr(kept(), "websocket", None)


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
    return _name(frame) if frame else ""


def _name(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_server(module: str) -> bool:
    return module.partition(".")[0] in SERVERS


def _serves(frame: FrameType | None) -> bool:
    """Tell whether a server runs in the thread that is in this frame."""
    while frame is not None:
        if _is_server(_name(frame)):
            return True
        frame = frame.f_back
    return False
