"""`ConnectionsMiddleware`, for servers such as uvicorn, and how their WebSockets get an id."""

from __future__ import annotations

import asyncio
import base64
import os
import weakref
from typing import TYPE_CHECKING, Any

from longwire.exceptions import InvalidArgumentError
from longwire.registry import in_process
from longwire.registry.in_process import ServedSocket, SocketState
from longwire.registry.targets import known_id, scope_of
from longwire.runtime.threads import is_own_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from longwire.types import ASGIApp, Message, Receive, Scope, Send

UNREACHABLE = (
    "this server's connection can be reached through its WebSocket object, not through its scope: "
    "give Connections the WebSocket, or wrap the app in longwire.ConnectionsMiddleware"
)
ELSEWHERE = (
    "Connections does not know this WebSocket yet, and cannot tell from this thread which event "
    "loop it belongs to: give it to Connections with await first, or wrap the app in "
    "longwire.ConnectionsMiddleware"
)


class ConnectionsMiddleware:
    """ASGI middleware that tells `Connections` of each connection of a server, as uvicorn.

    With it `broadcast` reaches all, not only those that `Connections` has been given, and scopes
    are targets, too. On Lambda it does nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._lifespan: Mapping[str, Any] = {}  # what the app's startup makes
        in_process.clients.watched = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._lifespan = scope.get("state", self._lifespan)
        if scope["type"] != "websocket" or known_id(scope) is not None:
            await self.app(scope, receive, send)
            return
        state = SocketState.CONNECTING

        async def observed_send(message: Message) -> None:
            nonlocal state
            await send(message)
            match message["type"]:
                case "websocket.accept":
                    state = SocketState.OPEN
                case "websocket.close":
                    state = SocketState.ENDED

        async def observed_receive() -> Message:
            nonlocal state
            message = await receive()
            if message["type"] == "websocket.disconnect":
                state = SocketState.ENDED
            return message

        connection_id = _extend(scope)["connection_id"]
        socket = ServedSocket(
            scope, lambda: observed_send, lambda: state, lambda: scope, self._lifespan
        )
        in_process.note(connection_id, socket)
        try:
            await self.app(scope, observed_receive, observed_send)
        finally:
            state = SocketState.ENDED
            in_process.clients.remove(connection_id)


def identify(target: Any) -> str:
    """Return the connection id of a target; a WebSocket that is not known yet gets one."""
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
    socket = ServedSocket(
        target.scope,
        lambda: _send_of(get()),
        lambda: _state_of(get()),
        lambda: getattr(get(), "scope", None),
    )
    weakref.finalize(anchor, in_process.clients.remove, connection_id)
    in_process.note(connection_id, socket)
    return connection_id


class ScopeExtension(dict[str, str]):
    """What a connection's scope carries for `Connections`; lives as long as the scope does."""

    websocket: Any = None  # the framework's object, where nothing else may keep it alive


def _extend(scope: Scope) -> ScopeExtension:
    """Give a connection's scope an id, as API Gateway would."""
    extension = ScopeExtension(connection_id=base64.urlsafe_b64encode(os.urandom(11)).decode())
    scope["extensions"] = {**(scope.get("extensions") or {}), "longwire": extension}
    return extension


def _reference(websocket: Any, extension: ScopeExtension) -> tuple[object, Callable[[], Any]]:
    """Return what lives as long as the connection, and what returns the WebSocket until then."""
    try:
        return websocket, weakref.ref(websocket)
    except TypeError:  # Litestar's has slots; so its scope, which it has, too, keeps it
        extension.websocket = websocket
        kept = weakref.ref(extension)
        return extension, lambda: getattr(kept(), "websocket", None)


def _send_of(websocket: Any) -> Send | None:
    return None if websocket is None else websocket.send


def _state_of(websocket: Any) -> SocketState:
    if websocket is None:
        return SocketState.ENDED
    # Starlette's two, each an enum; and Litestar's, a string.
    sides = (getattr(websocket, name, None) for name in ("client_state", "application_state"))
    states = {getattr(side, "name", None) for side in sides}
    states.add(getattr(websocket, "connection_state", None))
    if states & {"DISCONNECTED", "disconnect"}:
        return SocketState.ENDED
    return SocketState.CONNECTING if states & {"CONNECTING", "init"} else SocketState.OPEN
