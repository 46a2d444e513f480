"""Connections: reach any client, one by one, in groups or all, from anywhere.

connections = Connections()
await connections.group_add("blue", websocket)
await connections.group_send("blue", {"text": "hello"})
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from longwire import middleware
from longwire.apigateway.endpoint import given_endpoint, is_loopback
from longwire.apigateway.frames import frame
from longwire.config import settings
from longwire.config.schema import SECONDS
from longwire.exceptions import ConfigurationError, ConnectionGoneError, ManagementError
from longwire.fanout.result import SendResult
from longwire.fanout.sending import all_connections, read_pages, send_many
from longwire.registry import caller as callers
from longwire.registry import in_process, memberships, names, states, targets
from longwire.registry.departures import collected, end_unless_new, report
from longwire.registry.standalone import Standalone
from longwire.runtime import threads
from longwire_backends.base import shown

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
        Mapping,
    )

    from longwire.apigateway.management import ConnectionInfo
    from longwire.config.settings import Settings
    from longwire.config.ws_config import WSConfig, WSFanout
    from longwire.fanout.fan_out import Pages
    from longwire.registry.base import Post
    from longwire.registry.caller import Caller, OwnConnection
    from longwire.types import Dumps, Frame

T = TypeVar("T")

# Seconds that calls may take where no event has a deadline.
TIMEOUT = 30.0

# How long a connection is waited for that API Gateway does not know yet, in seconds: between looks.
LOOK_AGAIN_AFTER = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)

NOTHING_FOUND = (
    "Connections() finds nobody to reach: (1) inside an app it needs a handler that runs it, "
    "Longwire or `longwire dev`, or a server such as uvicorn; (2) elsewhere say "
    "Connections(ws_config=..., api_gateway_endpoint_url=...); (3) or set the environment "
    "variables WS_MANAGEMENT_ENDPOINT and LONGWIRE_DSN; the first alone does without groups"
)
RUN_OVER = "not sent: the app's run for this event is over"


class Connections:
    """Everybody who is connected.

    Inside an app it needs no arguments: it finds the store and the endpoint of the handler that
    runs it, or, under a server such as uvicorn, works in memory; there `broadcast` reaches those
    that it has been given, and with `ConnectionsMiddleware` all. A `target` is a connection id, a
    WebSocket (Starlette, FastAPI, Litestar) or an ASGI scope (under a server with the middleware
    only). `data` is str or bytes, sent as they are, or anything else that `dumps` makes JSON of.

    While Longwire repeats an app's handshake for a later event, and while it cancels an app that
    waits for the client, whatever changes something does nothing.

    Args:
        ws_config: as of `Longwire`: where the connections are kept; LONGWIRE_DSN if not given.
        dsn: the same in one URL.
        api_gateway_endpoint_url: of the management API; WS_MANAGEMENT_ENDPOINT if not given.
        fanout: as of `Longwire`.
        timeout: seconds that a call may take where no event has a deadline.
        dumps: makes JSON of what is neither str nor bytes; str or UTF-8. Without it that is what
            JSON knows, and models of pydantic, dataclasses, datetime, date, time, UUID, Decimal,
            Enum and sets, as pydantic writes them: see `docs/groups.md`.

    Raises:
        ConfigurationError: something is wrong with the arguments, or a driver is missing. Each
            method raises it, too, when there is nothing to reach, or no store.
    """

    def __init__(
        self,
        *,
        ws_config: WSConfig | None = None,
        dsn: str | None = None,
        api_gateway_endpoint_url: str | None = None,
        fanout: WSFanout | None = None,
        timeout: float = TIMEOUT,
        dumps: Dumps | None = None,
    ) -> None:
        if not SECONDS.takes(timeout) or not timeout:
            raise ConfigurationError(
                f"timeout must be a number of seconds above 0, not {shown(timeout)}"
            )
        if dumps is not None and not callable(dumps):
            raise ConfigurationError(
                f"dumps must be a function such as json.dumps, not {shown(dumps)}"
            )
        self._timeout = timeout
        self._dumps = dumps
        self._arguments: dict[str, Any] = {
            "ws_config": ws_config,
            "dsn": dsn,
            "fanout": fanout,
            "api_gateway_endpoint_url": api_gateway_endpoint_url,
        }
        given = any(one is not None for one in self._arguments.values())
        self._standalone = _standalone(**self._arguments) if given else None
        self._by_environment: Standalone | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of what `ws_config` and the endpoint opened; inside an app nothing."""
        for one in (self._standalone, self._by_environment):
            if one is not None:
                await one.aclose()

    @cached_property
    def sync(self) -> SyncConnections:
        """The same for synchronous code, also in threads, and while a loop runs elsewhere."""
        # With clients of its own, since one client serves one event loop at a time.
        return SyncConnections(
            Connections(**self._arguments, timeout=self._timeout, dumps=self._dumps)
        )

    # One connection

    async def send(self, target: object, data: object) -> None:
        """Send one message to one client.

        Raises:
            ConnectionGoneError: the client is gone.
            MessageTooLargeError: it is over API Gateway's limit; nothing was sent.
            ManagementError: API Gateway refused it or did not answer.
            InvalidArgumentError: the target or the data cannot be one.
        """
        caller, to = self._reach(target)
        message = frame(data, self._dumps)
        post = caller.registry.clients.prepare(message, to)
        await caller.store_state()
        own = caller.own_if(to)
        if own is not None and own.has_effect and own.greets:
            await own.greet(message)
        elif await caller.takes_effect():
            await _ask(caller, to, lambda: post(to, deadline=caller.deadline))
        else:
            caller.swallow()
            await _nothing()

    async def close(self, target: object) -> None:
        """End a connection, whose client sees code 1000; no error when it is gone.

        Raises:
            ManagementError: API Gateway refused it or did not answer.
            InvalidArgumentError: the target cannot be one.
        """
        caller, to = self._reach(target)
        own = caller.own_if(to)
        if not await caller.takes_effect():
            await _nothing()
            return
        if own is not None:
            await own.close()
            return
        clients = caller.registry.clients
        with contextlib.suppress(ConnectionGoneError):
            await _ask(caller, to, lambda: clients.close(to, deadline=caller.deadline))

    async def info(self, target: object) -> ConnectionInfo:
        """Ask since when a client is connected, when it was active, and from where; as `send`."""
        caller, to = self._reach(target)
        clients = caller.registry.clients
        return await _ask(caller, to, lambda: clients.info(to, deadline=caller.deadline))

    async def state(self, target: object) -> dict[str, Any]:
        """Return a copy of what a connection's app keeps in `scope["state"]`: see `docs/state.md`.

        That is what has changed there after the connect part; under a server such as uvicorn it is
        all that JSON can hold.

        Raises:
            ConnectionGoneError: there is no such connection.
            BackendError: the store failed.
            ConfigurationError: `ws_config["state"]` is False, or there is no store.
            InvalidArgumentError: the target cannot be one.
        """
        caller, to = self._reach(target)
        return await states.read(caller, to)

    async def update_state(
        self,
        target: object,
        values: Mapping[str, Any] = MappingProxyType({}),
        *,
        remove: str | Iterable[str] = (),
    ) -> None:
        """Change some keys of a connection's state; its app finds them with its next event.

        Within an event of the same connection the app finds them at once.

        Args:
            values: what is to be there; other keys stay as they are.
            remove: keys that are not to be there any more.

        Raises:
            StateError: a value is none that JSON gives back, or there would be too much.
            ManagementError: its handshake was not over in time.
        Otherwise as `state`.
        """
        caller, to = self._reach(target)
        changes = states.checked(to, values, remove)
        if await caller.takes_effect():
            await states.update(caller, to, changes)
        else:
            await _nothing()

    # Groups

    async def group_add(self, group: str, target: object) -> None:
        """Make a connection a member of a group, until it ends; once more is no error.

        Raises:
            ConnectionGoneError: there is no such connection.
            BackendError: the store failed.
            InvalidArgumentError: the group's name or the target cannot be one.
        """
        name = targets.group_key(group)
        caller, member = self._reach(target)
        store = caller.store
        if await caller.takes_effect():
            expires_at = await memberships.join(caller, member)
            await store.group_add(name, member, expires_at)
            await memberships.check(caller, name, member)
        else:
            await _nothing()

    async def group_discard(self, group: str, target: object) -> None:
        """End a membership; no error when there is none. Raises as `group_add` otherwise."""
        name = targets.group_key(group)
        caller, member = self._reach(target)
        store = caller.store
        if await caller.takes_effect():
            await store.group_discard(name, member)
        else:
            await _nothing()

    async def groups(self, target: object) -> tuple[str, ...]:
        """Return the names of the groups that a connection is in, sorted.

        An app that is told that its client is gone gets those in which the client was.
        """
        return names.users_groups(await self._all_groups(target))

    async def _all_groups(self, target: object) -> tuple[str, ...]:
        """Return also the groups of ours that a connection is in, by the names they are kept by."""
        caller, member = self._reach(target)
        store, own = caller.store, caller.own_if(member)
        if own is not None and own.is_over:
            return own.left_groups
        return await store.groups(member)

    async def group_members(self, group: str) -> AsyncIterator[str]:
        """Yield the connection ids of a group's members; read in pages."""
        name = targets.group_key(group)
        store = self._caller().store
        async for page in read_pages(lambda after: store.group_members(name, after=after)):
            for member in page:
                yield member

    async def group_send(self, group: str, data: object, *, exclude: object = ()) -> SendResult:
        """Send one message to every member of a group; one bad member never stops the rest.

        Args:
            exclude: a target, or several, that do not get it.

        Returns:
            Who got it, who is gone, who did not get it and why.

        Raises:
            MessageTooLargeError: it is over API Gateway's limit; nothing was sent.
            InvalidArgumentError: the group's name, the data or a target cannot be one.
        """
        name = targets.group_key(group)
        caller = self._caller()
        backend = caller.store.backend  # each page has a time limit of its own
        pages = read_pages(lambda after: backend.group_members(name, after=after))
        return await self._send_many(caller, pages, data, exclude)

    async def broadcast(self, data: object, *, exclude: object = ()) -> SendResult:
        """Send one message to every connection of the store; otherwise as `group_send`."""
        caller = self._caller()
        backend, own = caller.store.backend, caller.own
        if own is not None and own.has_effect and own.is_unanswered and own.accepted:
            await own.join()  # so that it is listed
        pages = all_connections(backend, caller.registry.gone)
        return await self._send_many(caller, pages, data, exclude)

    async def _send_many(
        self, caller: Caller, pages: Pages, data: object, exclude: object
    ) -> SendResult:
        message = frame(data, self._dumps)
        post = caller.registry.clients.prepare(message)
        excluded = frozenset(self._reach(target)[1] for target in targets.several(exclude))
        if not await caller.takes_effect():
            caller.swallow()
            await _nothing()
            return SendResult(incomplete=RUN_OVER if caller.is_over else None)
        await caller.store_state()
        own = caller.own
        if own is not None and own.greets:
            post = _greeting(own, message, post)
        async with contextlib.aclosing(_without(excluded, pages)) as members:
            return await send_many(caller, members, message, post)

    # Whom this is about, and how to reach them

    def _reach(self, target: object) -> tuple[Caller, str]:
        """Return who calls, and the connection id of a target."""
        known = targets.known_id(target)
        caller = self._caller(to_unknown=known is None)
        return caller, middleware.identify(target) if known is None else known

    def _caller(self, *, to_unknown: bool = False) -> Caller:
        """Return who calls; `to_unknown` says that it is about a WebSocket not known yet."""
        inside = callers.current.get()
        if inside is not None and inside.is_closed:
            inside = None
        if self._standalone is not None:
            return self._standalone.caller_inside(inside, self._timeout)
        if inside is not None:
            return inside
        if to_unknown or in_process.clients.are_here:
            return in_process.caller(self._timeout)
        if (handler := callers.latest()) is not None:
            return handler(self._timeout)
        if in_process.is_server():
            return in_process.caller(self._timeout)
        if self._by_environment is None:
            self._by_environment = _by_environment()
        if self._by_environment is not None:
            return self._by_environment.caller_inside(None, self._timeout)
        raise ConfigurationError(NOTHING_FOUND)


class SyncConnections:
    """The methods of `Connections`, to be called without `await`; see there.

    Each may also raise `EventLoopError`: it was called on the event loop that would have to do the
    work, which cannot wait for itself.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def send(self, target: object, data: object) -> None:
        self._wait(lambda: self._connections.send(target, data), target)

    def close(self, target: object) -> None:
        self._wait(lambda: self._connections.close(target), target)

    def info(self, target: object) -> ConnectionInfo:
        return self._wait(lambda: self._connections.info(target), target)

    def state(self, target: object) -> dict[str, Any]:
        return self._wait(lambda: self._connections.state(target), target)

    def update_state(
        self,
        target: object,
        values: Mapping[str, Any] = MappingProxyType({}),
        *,
        remove: str | Iterable[str] = (),
    ) -> None:
        self._wait(lambda: self._connections.update_state(target, values, remove=remove), target)

    def group_add(self, group: str, target: object) -> None:
        self._wait(lambda: self._connections.group_add(group, target), target)

    def group_discard(self, group: str, target: object) -> None:
        self._wait(lambda: self._connections.group_discard(group, target), target)

    def groups(self, target: object) -> tuple[str, ...]:
        return self._wait(lambda: self._connections.groups(target), target)

    def group_members(self, group: str) -> Iterator[str]:
        members = self._connections.group_members(group)
        while (member := self._wait(lambda: _next(members))) is not None:
            yield member

    def group_send(self, group: str, data: object, *, exclude: object = ()) -> SendResult:
        return self._wait(lambda: self._connections.group_send(group, data, exclude=exclude))

    def broadcast(self, data: object, *, exclude: object = ()) -> SendResult:
        return self._wait(lambda: self._connections.broadcast(data, exclude=exclude))

    def aclose(self) -> None:
        """Let go of what was opened."""
        threads.run(self._connections.aclose, None)

    def _wait(self, work: Callable[[], Coroutine[Any, Any, T]], target: object = None) -> T:
        caller = self._connections._caller(to_unknown=targets.is_unknown(target))
        return threads.run(work, caller.loop, caller.deadline - time.monotonic())


async def _nothing() -> None:
    """Do without effect what else waits: an app may call it in a loop without end."""
    await asyncio.sleep(0)


async def _next(members: Any) -> str | None:
    return await anext(members, None)


def _standalone(
    ws_config: WSConfig | None,
    dsn: str | None,
    fanout: WSFanout | None,
    api_gateway_endpoint_url: str | None,
) -> Standalone:
    if ws_config is None and dsn is None:
        loaded = settings.said_elsewhere(fanout)
    else:
        loaded = settings.load(ws_config, dsn, fanout)
    if loaded is None and fanout is not None:
        raise ConfigurationError("fanout is for groups, which need a store: give ws_config")
    return _with(loaded, api_gateway_endpoint_url)


def _by_environment() -> Standalone | None:
    """Make what the environment describes; None if it does not."""
    endpoint = given_endpoint(None, os.environ)
    # A gateway on this machine is `longwire dev`, as far as nothing else is said.
    loaded = settings.said_elsewhere(None, local=endpoint is not None and is_loopback(endpoint))
    return None if endpoint is None and loaded is None else _with(loaded, None)


def _with(loaded: Settings | None, api_gateway_endpoint_url: str | None) -> Standalone:
    if loaded is None:
        return Standalone(None, api_gateway_endpoint_url)
    if loaded.fanout is None:
        return Standalone(loaded, api_gateway_endpoint_url)
    from longwire.fanout.hand_over import QueueHandOver  # nobody else pays for it

    return Standalone(loaded, api_gateway_endpoint_url, QueueHandOver(loaded.fanout))


async def _ask(caller: Caller, to: str, request: Callable[[], Awaitable[T]]) -> T:
    """Make a request about one connection, again while API Gateway may not know it yet."""
    own = caller.own_if(to)
    if own is not None and own.is_over:
        raise ConnectionGoneError(to)
    for pause in (*LOOK_AGAIN_AFTER, math.inf):
        try:
            return await request()
        except ConnectionGoneError:
            departed = collected(caller)
            if await end_unless_new(caller, departed, to):
                await report(caller, departed)
                raise
        if (own is not None and own.greets) or time.monotonic() + pause >= caller.deadline:
            break
        await asyncio.sleep(pause)
    raise ManagementError(to, "API Gateway does not know it until its handshake is over")


def _greeting(own: OwnConnection, message: Frame, post: Post) -> Post:
    """Let the event's own connection get the message after the response to its handshake."""

    async def greet_or_post(connection_id: str, *, deadline: float, patient: bool = True) -> None:
        if connection_id == own.id and own.greets:
            await own.greet(message)
        else:
            await post(connection_id, deadline=deadline, patient=patient)

    return greet_or_post


async def _without(excluded: frozenset[str], pages: Pages) -> Pages:
    async for page in pages:
        yield [member for member in page if member not in excluded] if excluded else page
