"""What reaches the clients of one API from anywhere: its store, and its management API.

Channels calls such a thing a channel layer. There are two: the one of API Gateway, here, and the
one of a server that holds its clients itself (`in_process.py`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from longwire.apigateway.endpoint import given_endpoint, management_endpoint
from longwire.apigateway.frames import encode
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from longwire.apigateway.events import RequestContext
    from longwire.apigateway.frames import Binary, Frame
    from longwire.apigateway.management import ConnectionInfo, Management
    from longwire.config.settings import Fanout, Settings
    from longwire.fanout.queue import Queue
    from longwire.registry.base import Clients, Post
    from longwire_backends import Backend

NO_ENDPOINT = (
    "where the management API is cannot be known outside a WebSocket event: set the environment "
    "variable WS_MANAGEMENT_ENDPOINT, or api_gateway_endpoint_url, for example to "
    "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"
)


class APIClients:
    """The clients of an API Gateway.

    Args:
        endpoint: URL of the management API; None makes every request a ConfigurationError.
        binary: as in `ws_config`.
    """

    def __init__(
        self, management: Callable[[], Management], endpoint: str | None, binary: Binary
    ) -> None:
        self._management = management
        self._endpoint = endpoint
        self._binary = binary

    def prepare(self, frame: Frame, connection_id: str = "") -> Post:
        endpoint, data = self._known_endpoint(), encode(frame, self._binary, connection_id)
        management = self._management()

        async def post(connection_id: str, *, deadline: float, patient: bool = True) -> None:
            await management.post(endpoint, connection_id, data, deadline=deadline, patient=patient)

        return post

    async def info(
        self, connection_id: str, *, deadline: float, patient: bool = True
    ) -> ConnectionInfo:
        endpoint = self._known_endpoint()
        return await self._management().get(
            endpoint, connection_id, deadline=deadline, patient=patient
        )

    async def close(self, connection_id: str, *, deadline: float) -> None:
        endpoint = self._known_endpoint()
        await self._management().delete(endpoint, connection_id, deadline=deadline)

    def _known_endpoint(self) -> str:
        if self._endpoint is None:
            raise ConfigurationError(NO_ENDPOINT)
        return self._endpoint


class Handover(NamedTuple):
    """When a send to many is handed over, and to what.

    Attributes:
        threshold: to how many members this process still sends itself.
    """

    queue: Queue
    threshold: int


def handover(fanout: Fanout | None) -> Handover | None:
    """Make what `ws_config["fanout"]` describes.

    Raises:
        ConfigurationError: the URL or the region of the queue cannot be one.
    """
    if fanout is None:
        return None
    from longwire.fanout.queue import Queue  # nobody else pays for it

    return Handover(Queue(fanout.queue_url, region_name=fanout.region_name), fanout.threshold)


class Departure(NamedTuple):
    """A connection that has proved to be gone.

    Attributes:
        endpoint: URL of the management API that does not know it.
    """

    connection_id: str
    endpoint: str | None


class Layer(NamedTuple):
    """A store and its clients.

    Attributes:
        backend: None where only single connections can be reached.
        endpoint: URL of the management API; None where it is not known, or there is none.
        binary: as in `ws_config`.
        handover: of sends to large groups; None where there is none.
        tell: tells the app of connections that are gone, each once; None where there is no app,
            so that whoever runs it does so later.
    """

    clients: Clients
    backend: Backend | None
    endpoint: str | None = None
    binary: Binary = "text"
    handover: Handover | None = None
    tell: Callable[[Sequence[Departure]], Awaitable[None]] | None = None


class HandlerLayers:
    """The layers of one handler: one for each API whose events it gets.

    Args:
        management: makes a client of the management API.
    """

    def __init__(
        self, settings: Settings, backend: Backend, management: Callable[[], Management]
    ) -> None:
        self._settings = settings
        self._backend = backend
        self._management = management
        self._handover = handover(settings.fanout)

    @property
    def takes_parts(self) -> bool:
        """Whether there is a queue, whose events this handler gets."""
        return self._handover is not None

    def at(self, endpoint: str | None) -> Layer:
        """Return the layer of the API whose management API is at `endpoint`."""
        clients = APIClients(self._management, endpoint, self._settings.binary)
        return Layer(clients, self._backend, endpoint, self._settings.binary, self._handover)

    def configured_endpoint(self) -> str | None:
        """Return the endpoint that needs no event; None if there is none.

        Raises:
            ConfigurationError: WS_MANAGEMENT_ENDPOINT is not a URL.
        """
        return given_endpoint(self._settings.endpoint_url, os.environ)

    def endpoint_of(self, event: RequestContext) -> str:
        """Return the endpoint of the API that an event is from.

        Raises:
            ConfigurationError: it cannot be known.
        """
        return management_endpoint(
            api_id=event.api_id,
            stage=event.stage,
            domain_name=event.domain_name,
            explicit=self._settings.endpoint_url,
            region_name=self._settings.region_name,
            environ=os.environ,
        )
