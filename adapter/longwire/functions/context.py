"""What a function gets with its event: the client, and Lambda's own context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longwire.apigateway.events import ConnectEvent, Event, MessageEvent
from longwire.apigateway.frames import frame
from longwire.exceptions import InvalidArgumentError, ManagementError
from longwire.fanout.fan_out import one_page
from longwire.fanout.sending import send_many
from longwire.registry import targets
from longwire.runtime import threads

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from longwire.connections import Connections
    from longwire.fanout.result import SendResult
    from longwire.registry.base import Post
    from longwire.registry.caller import Caller

TOO_EARLY = (
    "API Gateway knows the connection only after the response to $connect: {} (return a statusCode "
    "that is not 2xx to refuse it)"
)


class WebSocketContext:
    """The client of an event, and all that Lambda's own context has.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html

    Attributes:
        event_type: CONNECT, MESSAGE or DISCONNECT.
        body: of a message; bytes when API Gateway decoded it from base64.
        headers: of the handshake, in the event of `$connect`; names in lower case, of repeated
            ones the last. Empty in other events.
        query_string_parameters: likewise.
        connections: reaches everybody else.
    """

    def __init__(
        self, event: Event, caller: Caller, connections: Connections, lambda_context: Any
    ) -> None:
        self._event = event
        self._caller = caller
        self._lambda_context = lambda_context
        self.connections = connections
        self.connection_id: str = event.context.connection_id
        self.domain_name: str | None = event.context.domain_name
        self.stage: str = event.context.stage
        self.route_key: str
        self.event_type: str
        self.route_key, self.event_type = route_of(event)
        connect = event if isinstance(event, ConnectEvent) else None
        self.headers: dict[str, str] = (
            {name.lower(): value for name, value in connect.headers} if connect else {}
        )
        self.query_string_parameters: dict[str, str] = dict(connect.query) if connect else {}
        self.body: str | bytes = event.body if isinstance(event, MessageEvent) else ""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copying asks for such before there is anything to ask
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._lambda_context, name)

    @property
    def sync(self) -> SyncWebSocketContext:
        """The methods for functions that are not async."""
        return SyncWebSocketContext(self, self._caller.loop)

    async def send(self, data: object) -> None:
        """Send one message to the client; data is as of `Connections`.

        Raises:
            ConnectionGoneError: the client is gone.
            MessageTooLargeError: it is over API Gateway's limit; nothing was sent.
            ManagementError: API Gateway refused it or did not answer, or this is `$connect`.
            InvalidArgumentError: JSON cannot hold the data.
        """
        self._refuse_at_connect("send to it from another event")
        await self.connections.send(self.connection_id, data)

    async def broadcast(self, ids: Iterable[str], data: object) -> SendResult:
        """Send one message to many connections, each once; one bad member never stops the rest.

        Returns:
            Who got it, who is gone, who did not get it and why.

        Raises:
            MessageTooLargeError: it is over API Gateway's limit; nothing was sent.
            InvalidArgumentError: the data or an id cannot be one.
        """
        if isinstance(ids, str):
            raise InvalidArgumentError("ids is a str; expected several connection ids")
        members = list(dict.fromkeys(targets.check_id(one) for one in ids))
        message = frame(data, self.connections._dumps)
        post = self._guarded(self._caller.registry.clients.prepare(message))
        return await send_many(self._caller, one_page(members), message, post)

    async def close(self) -> None:
        """End the connection, whose client sees code 1000; no error when it is gone.

        Raises:
            ManagementError: API Gateway refused it or did not answer, or this is `$connect`.
        """
        self._refuse_at_connect("close it from another event")
        await self.connections.close(self.connection_id)

    def _guarded(self, post: Post) -> Post:
        async def guarded(connection_id: str, *, deadline: float, patient: bool = True) -> None:
            if connection_id == self.connection_id:
                self._refuse_at_connect("send to it from another event")
            await post(connection_id, deadline=deadline, patient=patient)

        return guarded

    def _refuse_at_connect(self, advice: str) -> None:
        if isinstance(self._event, ConnectEvent):
            raise ManagementError(self.connection_id, TOO_EARLY.format(advice))


class SyncWebSocketContext:
    """The methods of `WebSocketContext`, called without `await` in functions that are not async."""

    def __init__(self, context: WebSocketContext, loop: asyncio.AbstractEventLoop | None) -> None:
        self._context = context
        self._loop = loop

    def send(self, data: object) -> None:
        threads.run(lambda: self._context.send(data), self._loop)

    def broadcast(self, ids: Iterable[str], data: object) -> SendResult:
        return threads.run(lambda: self._context.broadcast(ids, data), self._loop)

    def close(self) -> None:
        threads.run(self._context.close, self._loop)


def route_of(event: Event) -> tuple[str, str]:
    """Return the route key and the event type; the type decides, as a route key may be missing."""
    if isinstance(event, ConnectEvent):
        return "$connect", "CONNECT"
    if isinstance(event, MessageEvent):
        return event.context.route_key, "MESSAGE"
    return "$disconnect", "DISCONNECT"
