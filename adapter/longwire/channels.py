"""A channel layer for Django Channels, on whatever keeps Longwire's connections.

CHANNEL_LAYERS = {"default": {"BACKEND": "longwire.channels.ChannelLayer"}}
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

from longwire import deadlines
from longwire.apigateway.endpoint import given_endpoint, is_given, is_loopback
from longwire.asgi import noise
from longwire.asgi.channel import copied
from longwire.config import settings
from longwire.connections import TIMEOUT, Connections
from longwire.exceptions import ConfigurationError, ConnectionGoneError
from longwire.fanout.sending import all_connections, read_pages
from longwire.registry import caller as callers
from longwire.registry import in_process, targets
from longwire.registry.api_gateway import NO_ENDPOINT
from longwire.runtime import threads
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from longwire.handler import Longwire
    from longwire.registry.caller import Caller, ChannelDeliveries, OwnConnection
    from longwire.types import Message

__all__ = ["ChannelLayer"]

logger: logging.Logger = logging.getLogger("longwire")

# What the name of a connection's channel begins with; behind it is its id, escaped.
PREFIX = "longwire.connection!"
_ESCAPED = re.compile(r"\.([0-9A-F]+)\.")
_TO_ESCAPE = re.compile(r"[^a-zA-Z0-9_-]")


class ChannelLayer(InMemoryChannelLayer):  # type: ignore[misc]  # channels has no types
    """Lets consumers hear of each other though none runs between two events.

    Where Longwire runs the app, on Lambda, in `longwire dev` and in `longwire.testing`, a
    connection's channel has the same name in each of its events, groups are those of `Connections`,
    and a message runs the consumer of each connection that it is for, in the process and in the
    time of the event that sends it. Elsewhere, as under uvicorn or in Channels' own tests, and for
    channels that are no connection's, it is Channels' layer in memory.

    A message is a dict of what the specification names: str, bytes, int, float, bool, None, lists
    and dicts; anything else is a `TypeError`.

    Args (the CONFIG of CHANNEL_LAYERS):
        expiry: seconds until a message that nobody has received is dropped.
        group_expiry: seconds until a membership in memory ends.
        capacity: so many messages may wait for one channel; `send` raises `ChannelFull` over that,
            and `group_send` leaves the channel out.
        channel_capacity: other capacities by patterns of names, as in Channels' other layers.

    Raises:
        ConfigurationError: there is something else.
    """

    def __init__(
        self,
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[str, int] | None = None,
        **others: object,
    ) -> None:
        if others:
            raise ConfigurationError(
                f"CHANNEL_LAYERS: {', '.join(map(repr, sorted(others)))} in CONFIG is for another "
                "layer; this one takes expiry, group_expiry, capacity and channel_capacity, and "
                "keeps groups where LONGWIRE_DSN or the handler keeps connections"
            )
        super().__init__(expiry=expiry, group_expiry=group_expiry, capacity=capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self._connections = Connections()
        self._project: Longwire | None = None  # where no handler has had an event

    # One channel

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return the name of the channel of the connection that is at work; else a new one.

        Its consumer asks first; whoever asks after that gets one that is in memory.
        """
        own = _own()
        if own is None or own.channel().is_taken:
            name: str = await super().new_channel(prefix)
            return name
        own.channel().is_taken = True
        return channel_of(own.id)

    async def receive(self, channel: str) -> Message:
        """Return the next message that is sent to a channel."""
        own = _own()
        if own is None or channel != channel_of(own.id):
            local: Message = await super().receive(channel)
            return local
        return await own.channel().receive()

    async def send(self, channel: str, message: Message) -> None:
        """Send a message to a channel.

        Raises:
            ChannelFull: too many wait for it.
            TypeError: the channel's name cannot be one, or the message holds what none may.
        """
        self._check(message)
        self.require_valid_channel_name(channel)
        connection_id = connection_of(channel)
        if connection_id is None:
            # What has "!" in its name is a run's own, which goes on with it when it is repeated.
            if "!" in channel or _has_effect():
                self._warn_if_unheard(channel)
                await super().send(channel, message)
            return
        caller = self._caller()
        if caller is None:
            raise ConfigurationError(f"nobody here can run the consumer of {channel}")

        async def send() -> None:
            sending = await self._begin(caller, message)
            if not sending.to(connection_id, self.get_capacity(channel)):
                raise ChannelFull(channel)
            await sending.finish()

        await self._do(caller, send)

    async def _begin(self, caller: Caller, message: Message) -> _Sending:
        if await caller.takes_effect():
            await caller.store_state()  # before others act on what the app has changed
        else:
            caller.swallow()
            await asyncio.sleep(0)  # an app may call it in a loop without end
        return _Sending(caller, copied(message), time.monotonic() + self.expiry)

    def _check(self, message: object) -> None:
        assert isinstance(message, dict), "message is not a dict"
        assert "__asgi_channel__" not in message
        copied(message)

    def _warn_if_unheard(self, channel: str) -> None:
        inside = callers.current.get()
        heard = "!" in channel or channel in self.channels
        if not heard and inside is not None and inside.registry.endpoint is not None:
            _say_once(
                f"what is sent to channel {channel!r} waits",
                "in the memory of this process alone: Lambda runs no worker",
            )

    # Groups

    async def group_add(self, group: str, channel: str) -> None:
        """Make a channel a member of a group: a connection's until it ends."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        connection_id = connection_of(channel)
        if connection_id is None:
            if _own() is not None:
                _say_once(
                    f"{channel} is in group {group!r}",
                    "in the memory of this process alone: its next event has another channel",
                )
            await super().group_add(group, channel)
            return
        if (own := _own()) is not None and own.id == connection_id:
            own.channel().groups.add(group)
        with suppress(ConnectionGoneError):  # there is nobody left to be in it
            await self._do(
                self._caller(), lambda: self._connections.group_add(group, connection_id)
            )

    async def group_discard(self, group: str, channel: str) -> None:
        """End a membership; no error when there is none."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        connection_id = connection_of(channel)
        if connection_id is None:
            await super().group_discard(group, channel)
            return
        if (own := _own()) is not None and own.id == connection_id:
            own.channel().groups.discard(group)
        await self._do(
            self._caller(), lambda: self._connections.group_discard(group, connection_id)
        )

    async def group_send(self, group: str, message: Message) -> None:
        """Send a message to all channels of a group; those that are full do not get it.

        Raises:
            BackendError: the members of the group could not be read.
            TypeError: the group's name cannot be one, or the message holds what none may.
        """
        self._check(message)
        self.require_valid_group_name(group)
        if _has_effect():
            await super().group_send(group, message)
        caller = self._caller()
        if caller is None:
            return

        async def send() -> None:
            sending = await self._begin(caller, message)
            async for page in self._members(caller, group):
                for member in page:
                    sending.to(member, self.get_capacity(channel_of(member)))
            await sending.finish()

        await self._do(caller, send)

    async def _members(self, caller: Caller, group: str) -> AsyncIterator[Sequence[str]]:
        """Yield pages of whom a message to a group is for."""
        if caller.has_effect:
            store, name = caller.store, targets.group_key(group)
            async for page in read_pages(lambda after: store.group_members(name, after=after)):
                yield page
        elif caller.own is not None and group in caller.own.channel().groups:
            yield (caller.own.id,)  # a connect part that is repeated hears itself again

    # Extensions

    async def flush(self) -> None:
        """Drop all messages in memory, and end all memberships, those of connections too."""
        await super().flush()
        caller = self._caller()
        if caller is None:
            return
        async for page in all_connections(caller.store.backend, caller.registry.gone):
            for connection_id in page:
                for group in await self._connections.groups(connection_id):
                    await self._connections.group_discard(group, connection_id)

    def _caller(self) -> Caller | None:
        """Return who calls where Longwire runs consumers; None where a server does."""
        inside = callers.current.get()
        if inside is not None and not inside.is_closed:
            if inside.deliveries is None:
                return None
            if inside.deliveries() is not None:
                return inside
        if in_process.clients.are_here:
            return None
        if (handler := callers.latest()) is not None:
            return handler(TIMEOUT)
        if not is_given(os.environ) or in_process.is_server():
            return None
        if self._project is None:
            self._project = _handler_of_project()
        return self._project.caller(TIMEOUT)

    async def _do(
        self, caller: Caller | None, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Do it on the event loop of the store and the clients, whichever one runs here."""
        # `async_to_sync` makes one for a single call, where none is at hand.
        if caller is None or caller.loop is asyncio.get_running_loop():
            await work()
        else:
            left = deadlines.left(caller.deadline)
            await asyncio.to_thread(threads.run, work, caller.loop, left)


class _Sending(NamedTuple):
    """One message on its way."""

    caller: Caller
    message: Message
    expires_at: float  # in `time.monotonic()`

    def to(self, connection_id: str, capacity: int) -> bool:
        """Send it to a connection's channel; False if that is full."""
        own = self.caller.own_if(connection_id)
        if own is not None and own.gives_own:
            channel = own.channel()
            if len(channel) >= capacity:
                return False
            channel.put(self.message, counts=False)
            return True
        if not self.caller.has_effect:
            return True
        assert self.deliveries is not None
        endpoint = self.caller.registry.endpoint
        if endpoint is None:
            raise ConfigurationError(NO_ENDPOINT)
        return self.deliveries.put(connection_id, endpoint, self.message, self.expires_at, capacity)

    async def finish(self) -> None:
        """Wait for the consumers where no event does so at its end."""
        if self.caller.departed is None and self.deliveries is not None:
            await self.deliveries.finish()

    @property
    def deliveries(self) -> ChannelDeliveries | None:
        return None if self.caller.deliveries is None else self.caller.deliveries()


def _handler_of_project() -> Longwire:
    """Return what runs the app of this Django project, as in a management command or a worker."""
    from channels.routing import get_default_application

    from longwire.handler import Longwire  # nobody else pays for it

    endpoint = given_endpoint(None, os.environ)
    assert endpoint is not None
    if settings.said_elsewhere(None, local=is_loopback(endpoint)) is None:
        raise ConfigurationError(
            "a channel layer outside an app needs its store: set the environment variable "
            "LONGWIRE_DSN"
        )
    return Longwire(get_default_application())


def _say_once(what: str, where: str) -> None:
    level = noise.level("channel layer", [what])
    logger.log(level, "a channel layer: %s %s (docs/channels.md)", what, where)


def _own() -> OwnConnection | None:
    """Return the connection whose run this is."""
    inside = callers.current.get()
    return None if inside is None or inside.is_closed else inside.own


def _has_effect() -> bool:
    """Whether what is done here takes effect; not what a run does once more."""
    own = _own()
    return own is None or own.has_effect


def channel_of(connection_id: str) -> str:
    """Return the name of a connection's channel, the same in each of its events."""
    return PREFIX + _TO_ESCAPE.sub(lambda found: f".{ord(found[0]):X}.", connection_id)


def connection_of(channel: str) -> str | None:
    """Return the connection whose channel has this name; None if it is no connection's."""
    if not channel.startswith(PREFIX):
        return None
    try:
        name = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), channel[len(PREFIX) :])
        name.encode()
    except (ValueError, OverflowError):
        return None
    return name if channel_of(name) == channel else None
