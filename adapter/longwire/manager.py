"""WebSocketManager: the connection manager of many a tutorial, with its state in the store.

manager = WebSocketManager()

@app.websocket("/ws/{user_id}")
async def chat(websocket: WebSocket, user_id: str) -> None:
    await manager.connect(user_id, websocket)
    try:
        while True:
            await manager.broadcast(await websocket.receive_json())
    except WebSocketDisconnect:
        manager.disconnect(user_id)
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import WeakKeyDictionary

from longwire.apigateway.frames import json_text
from longwire.connections import Connections
from longwire.exceptions import ConnectionGoneError, InvalidArgumentError, LongwireError
from longwire.registry import caller as callers
from longwire.registry import names, targets
from longwire.runtime import threads
from longwire.runtime.threads import running_loop
from longwire_backends.memory import MemoryBackend

if TYPE_CHECKING:
    from longwire.fanout.result import SendResult
    from longwire.registry.caller import OwnConnection
    from longwire.registry.names import OwnGroup

logger: logging.Logger = logging.getLogger("longwire")

Work = Callable[[], Coroutine[Any, Any, None]]

Name = str | int | UUID
"""A user id or the name of a room; 7 and "7" are the same."""

# The users' groups that this event's connection has been registered in, and, where there is no
# event as under uvicorn, the connection that has been registered in each, by the code that runs.
_of_run: WeakKeyDictionary[OwnConnection, set[str]] = WeakKeyDictionary()
_of_context: ContextVar[Mapping[str, str]] = ContextVar(
    "longwire_registered", default=MappingProxyType({})
)


class WebSocketManager:
    """Users, and the rooms they are in, by their connections.

    All is kept in groups of the store, so that it is the same in every process. Like `Connections`,
    it changes nothing while Longwire repeats a handshake or cancels an app that waits for the
    client. User ids and names of rooms are str (any text), int or UUID; one that makes a group's
    name longer than 1,024 bytes is an `InvalidArgumentError`.

    Args:
        connections: through which clients are reached; `Connections()` if not given.
        several: a user may have several connections. Otherwise a newer one replaces the older,
            which stays open but gets nothing more.
        name: managers of different names know nothing of each other.
    """

    def __init__(
        self,
        connections: Connections | None = None,
        *,
        several: bool = False,
        name: str = "manager",
    ) -> None:
        self._connections = connections or Connections()
        self._several = several
        self._name = name
        self._prefix = names.of_manager(name)
        self._all = names.of_manager(name, "all")
        targets.check_name(self._all, "the group of the manager's name")

    async def connect(self, user_id: Name, websocket: Any) -> None:
        """Accept a WebSocket, unless that is done, and register it; it is in its user's rooms.

        Raises:
            ConnectionGoneError: the client is gone already.
            InvalidArgumentError: the user id or the WebSocket cannot be one.
            BackendError: the store failed.
        """
        group = self._user(user_id)
        if getattr(getattr(websocket, "application_state", None), "name", None) != "CONNECTED":
            await websocket.accept()
        if await _takes_effect():
            await self._register(group, websocket)
        _remember(group, websocket)

    def disconnect(self, user_id: Name) -> Awaitable[None]:
        """Take a user out of the register and of all rooms; the WebSocket stays as it is.

        Where the user's own connection was registered, only that one is taken out: the user may
        have another by now. Elsewhere all of the user's are.

        It may be awaited, and need not be: what the same code does next through this manager waits
        for it, and so does the event's end. Errors are logged as well as raised. Without a running
        event loop, as in a thread, it is done when this returns.
        """
        group = self._user(user_id)
        caller = callers.current.get()
        own = caller.own if caller is not None else None
        connection_id = _registered(group, own)
        if caller is not None and not caller.has_effect:
            return _Done()
        in_loop = running_loop() is not None
        connections = self._connections if in_loop else self._connections.sync._connections
        work = functools.partial(self._remove, connections, group, connection_id)
        if in_loop:
            return _start(work, f"disconnect({user_id!r})")
        threads.run(functools.partial(_decided, work), connections._caller().loop)
        return _Done()

    async def send_message(self, user_id: Name, message: object) -> SendResult:
        """Send a message to a user; no error when there is no such user. As `group_send`."""
        return await self._send(self._user(user_id), message, ())

    async def broadcast(self, message: object, exclude: Iterable[Name] = ()) -> SendResult:
        """Send a message to all users but those in `exclude`. As `Connections.group_send`."""
        return await self._send(self._all, message, exclude)

    def get_connection(self, user_id: Name) -> UserConnection:
        """Return what sends to a user and, awaited, is None for a user who is not connected.

        Not awaited, it is false for such a user where that is known at once: in memory, as under
        uvicorn, and without a running event loop, as in a thread. Otherwise it is true.
        """
        return UserConnection(self, user_id, self._known(self._user(user_id)))

    # Rooms

    async def join(self, user_id: Name, room: Name) -> None:
        """Let a user into a room, with all connections; no error when there is no such user."""
        group = self._room(room)
        for member in await self._members(user_id):
            with suppress(ConnectionGoneError):
                await self._connections.group_add(group, member)

    async def leave(self, user_id: Name, room: Name) -> None:
        """Let a user out of a room; no error when the user is not in it."""
        group = self._room(room)
        for member in await self._members(user_id):
            await self._connections.group_discard(group, member)

    async def send_room(
        self, room: Name, message: object, *, exclude: Iterable[Name] = ()
    ) -> SendResult:
        """Send a message to a room's users but those in `exclude`. As `group_send`."""
        return await self._send(self._room(room), message, exclude)

    # How it is kept: a group of all, one per user and one per room

    def _user(self, user_id: Name) -> OwnGroup:
        return self._group("user:", user_id, "a user id")

    def _room(self, room: Name) -> OwnGroup:
        return self._group("room:", room, "the name of a room")

    def _group(self, kind: str, name: object, what: str) -> OwnGroup:
        if not isinstance(name, Name) or isinstance(name, bool):
            raise InvalidArgumentError(
                f"{what} is a {type(name).__name__}; expected a str, an int or a UUID"
            )
        group = names.of_manager(self._name, kind, str(name))
        targets.check_name(group, f"the group of {what}")
        return group

    async def _register(self, group: OwnGroup, websocket: Any) -> None:
        # Looked up before the new one is there: of two that come at once neither removes the other.
        others = [other async for other in self._connections.group_members(group)]
        groups = {group: None, self._all: None}
        for other in others:
            groups |= dict.fromkeys(await self._groups(self._connections, other))
        for one in groups:
            await self._connections.group_add(one, websocket)
        own = targets.known_id(websocket)
        for other in others:
            if not self._several and other != own:
                await self._remove(self._connections, group, other)

    async def _remove(
        self, connections: Connections, group: OwnGroup, connection_id: str | None
    ) -> None:
        """Take a connection, or all of a user, out of all groups of this manager."""
        members = [connection_id] if connection_id is not None else None
        for member in members or [each async for each in connections.group_members(group)]:
            for one in await self._groups(connections, member):
                await connections.group_discard(one, member)

    async def _groups(self, connections: Connections, connection_id: str) -> list[OwnGroup]:
        groups = await connections._all_groups(connection_id)
        return [names.OwnGroup(one) for one in groups if one.startswith(self._prefix)]

    async def _members(self, *users: Name) -> list[str]:
        """Return the connections of users; none where nothing would take effect anyway."""
        groups = [self._user(user_id) for user_id in users]
        if not await _takes_effect():
            return []
        return [one for group in groups async for one in self._connections.group_members(group)]

    async def _send(self, group: OwnGroup, message: object, exclude: Iterable[Name]) -> SendResult:
        users = (exclude,) if isinstance(exclude, Name) else exclude
        excluded = await self._members(*users)
        return await self._connections.group_send(group, message, exclude=excluded)

    async def _lookup(self, user_id: Name) -> list[str]:
        await _takes_effect()
        return [one async for one in self._connections.group_members(self._user(user_id))]

    def _known(self, group: str) -> bool | None:
        """Tell whether a user is connected; None when only waiting for the store would tell."""
        if running_loop() is None:
            return bool(list(self._connections.sync.group_members(group)))
        backend = self._connections._caller().registry.backend
        if not isinstance(backend, MemoryBackend):
            return None
        try:
            backend.group_members(group).send(None)  # in memory nothing waits
        except StopIteration as answer:
            return bool(answer.value.members)
        return None


class UserConnection(Awaitable["UserConnection | None"]):
    """A user's WebSocket, or WebSockets, as far as others may use it."""

    def __init__(self, manager: WebSocketManager, user_id: Name, known: bool | None) -> None:
        self.user_id = user_id
        self._manager = manager
        self._known = known

    def __bool__(self) -> bool:
        return self._known is not False

    def __await__(self) -> Generator[Any, None, UserConnection | None]:
        return self._find().__await__()

    async def send_text(self, data: str) -> SendResult:
        return await self._manager.send_message(self.user_id, data)

    async def send_bytes(self, data: bytes) -> SendResult:
        return await self._manager.send_message(self.user_id, data)

    async def send_json(self, data: object) -> SendResult:
        text = json_text(data, self._manager._connections._dumps)
        return await self._manager.send_message(self.user_id, text)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close; the client sees code 1000, since API Gateway sends no other."""
        failure: LongwireError | None = None
        for member in await self._manager._members(self.user_id):
            try:
                await self._manager._connections.close(member)
            except LongwireError as error:  # the user's others are closed all the same
                failure = failure or error
        if failure is not None:
            raise failure

    async def _find(self) -> UserConnection | None:
        return self if await self._manager._lookup(self.user_id) else None


@functools.cache
def get_websocket_manager() -> WebSocketManager:
    """Return a manager that is the same for all who ask, as for FastAPI's `Depends`."""
    return WebSocketManager()


def _remember(group: str, websocket: Any) -> None:
    """Note, for the code that goes on here, in which user's group its connection is."""
    caller = callers.current.get()
    if caller is not None and caller.own is not None:
        _of_run.setdefault(caller.own, set()).add(group)
    elif (connection_id := targets.known_id(websocket)) is not None:
        _of_context.set({**_of_context.get(), group: connection_id})


def _registered(group: str, own: OwnConnection | None) -> str | None:
    """Return the connection that this code has registered in a user's group."""
    if own is None:
        return _of_context.get().get(group)
    return own.id if group in _of_run.get(own, ()) else None


# Work that may be awaited and need not be, as `manager.disconnect(user_id)` in many tutorials

# What the code that runs here has started.
_started: ContextVar[tuple[asyncio.Task[None], ...]] = ContextVar("longwire_started", default=())
_tasks: set[asyncio.Task[None]] = set()  # an event loop keeps no task alive by itself


class _Done(Awaitable[None]):
    """What there is to await where nothing is left to be done."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


def _start(work: Work, name: str) -> asyncio.Task[None]:
    """Start work that the task which asks need not await; what it raises is logged."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(_decided(work), name=name)
    _tasks.add(task)
    task.add_done_callback(_log)
    if (caller := callers.current.get()) is not None:
        caller.unfinished.add(task)
        task.add_done_callback(caller.unfinished.discard)
    earlier = (one for one in _started.get() if not one.done())
    _started.set((*earlier, task))
    return task


async def _decided(work: Work) -> None:
    """Do work that was decided while its run had effect, even if the run is over by now."""
    if (caller := callers.current.get()) is not None:
        callers.current.set(caller.without_run())
    await work()


def _log(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if task.cancelled():
        logger.warning("%s was cancelled before it was done", task.get_name())
    elif (error := task.exception()) is not None:
        logger.error("%s failed", task.get_name(), exc_info=error)


async def _takes_effect() -> bool:
    """Tell whether what this code does counts, once what it has started is done."""
    loop = asyncio.get_running_loop()
    earlier = (task for task in _started.get() if task.get_loop() is loop)
    if unfinished := [task for task in earlier if not task.done()]:
        await asyncio.wait(unfinished)
    caller = callers.current.get()
    return caller is None or caller.has_effect
