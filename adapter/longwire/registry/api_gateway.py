"""The registry of API Gateway: a store, and the management API that reaches who is in it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Self

from longwire.apigateway.endpoint import given_endpoint, management_endpoint
from longwire.apigateway.frames import Binary, encode
from longwire.config.settings import Settings, make_backend
from longwire.deadlines import PATIENCE
from longwire.exceptions import ConfigurationError
from longwire.observability.event import count_post
from longwire.registry.base import Departure, GoneIds, Registry
from longwire_aws.endpoints import is_https

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from longwire.apigateway.events import RequestContext
    from longwire.apigateway.management import ConnectionInfo, Management
    from longwire.apigateway.signing import SigningTransport
    from longwire.registry.base import HandOver, Post
    from longwire.types import Frame
    from longwire_aws.http import HTTPClient
    from longwire_aws.signed import Transport
    from longwire_backends import Backend

NO_ENDPOINT = (
    "where the management API is cannot be known outside a WebSocket event: set the environment "
    "variable WS_MANAGEMENT_ENDPOINT, or api_gateway_endpoint_url, for example to "
    "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"
)


class APIGateway:
    """The store and the management API of a handler, or of whoever has no event.

    It lives as long as the process, for any number of APIs; `at` returns the registry of one. The
    client of the management API is made at first use: a cold start that posts nothing imports none.
    """

    def __init__(
        self,
        backend: Backend | None = None,
        *,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        binary: Binary = "text",
        hand_over: HandOver | None = None,
        slow_client: float = PATIENCE,
        state_limit: int | None = None,
    ) -> None:
        self.backend = backend
        self.endpoint_url = endpoint_url
        self.region_name = region_name
        self.binary: Binary = binary
        self.hand_over = hand_over
        self.slow_client = slow_client
        self.state_limit = state_limit
        self._transport: Transport | None = None
        self._management: Management | None = None
        self._gone = GoneIds()
        self._latest: Registry | None = None
        self._opened: tuple[HTTPClient, SigningTransport] | None = None

    @classmethod
    def configured(
        cls, settings: Settings, endpoint_url: str | None = None, *, hand_over: HandOver | None
    ) -> Self:
        """Make what the settings describe; raises `ConfigurationError` if a driver is missing."""
        return cls(
            make_backend(settings),
            endpoint_url=endpoint_url or settings.endpoint_url,
            region_name=settings.region_name,
            binary=settings.binary,
            hand_over=hand_over,
            slow_client=settings.slow_client,
            state_limit=settings.state_limit if settings.state else None,
        )

    @property
    def transport(self) -> Transport:
        """What speaks HTTP to the management API; a test may set another before the first event."""
        if self._transport is None:
            from longwire.apigateway.signing import SigningTransport
            from longwire_aws.http import HTTPClient

            http = HTTPClient()
            self._opened = http, SigningTransport(http, self.region_name)
            self._transport = self._opened[1]
        return self._transport

    @transport.setter
    def transport(self, transport: Transport) -> None:
        self._transport, self._management = transport, None

    def management(self) -> Management:
        """Return the client of the management API."""
        if self._management is None:
            from longwire.apigateway.management import Management

            self._management = Management(
                self.transport, slow_client=self.slow_client, on_post=count_post
            )
        return self._management

    def prepare_tls(self) -> None:
        """Read the certificates that requests to AWS are checked with: 20 ms of CPU or more."""
        from longwire_aws.streams import default_tls_context

        # The first event says what is wrong with either.
        with contextlib.suppress(ConfigurationError, OSError):
            endpoint = self.configured_endpoint()
            if endpoint is None or is_https(endpoint):
                default_tls_context()

    def at(
        self,
        endpoint: str | None,
        *,
        hands_over: bool = True,
        tell: Callable[[Sequence[Departure]], Awaitable[None]] | None = None,
    ) -> Registry:
        """Return the registry of the API whose management API is at `endpoint`."""
        if not hands_over or tell is not None:
            return self._registry(endpoint, self.hand_over if hands_over else None, tell)
        # All events have the same; a test may set another store, or another endpoint.
        known = self._latest
        if known is None or known.endpoint != endpoint or known.backend is not self.backend:
            known = self._latest = self._registry(endpoint, self.hand_over, None)
        return known

    def _registry(
        self,
        endpoint: str | None,
        hand_over: HandOver | None,
        tell: Callable[[Sequence[Departure]], Awaitable[None]] | None,
    ) -> Registry:
        clients = APIClients(self.management, endpoint, self.binary)
        return Registry(
            clients,
            self.backend,
            self._gone,
            endpoint,
            self.binary,
            hand_over,
            state_limit=self.state_limit,
            tell=tell,
        )

    def configured_endpoint(self) -> str | None:
        """Return the endpoint that needs no event; None if there is none."""
        return given_endpoint(self.endpoint_url, os.environ)

    def endpoint_of(self, event: RequestContext) -> str:
        """Return the endpoint of the API that an event is from."""
        return management_endpoint(
            api_id=event.api_id,
            stage=event.stage,
            domain_name=event.domain_name,
            explicit=self.endpoint_url,
            region_name=self.region_name,
            environ=os.environ,
        )

    async def aclose(self) -> None:
        """Let go of the store and all connections; a later call opens them again."""
        if self._opened is not None:
            http, signing = self._opened
            await http.close()
            signing.forget_keys()
        if self.backend is not None:
            await self.backend.close()


class APIClients:
    """The clients of an API; without an endpoint every request is a ConfigurationError."""

    def __init__(
        self, management: Callable[[], Management], endpoint: str | None, binary: Binary
    ) -> None:
        self._management = management
        self._endpoint = endpoint
        self._binary = binary

    def prepare(self, frame: Frame, connection_id: str = "") -> Post:
        endpoint, data = self._known_endpoint(), encode(frame, self._binary, connection_id)
        management = self._management()

        # Not a coroutine itself: each of many posts would pay for it.
        def post(
            connection_id: str, *, deadline: float, patient: bool = True
        ) -> Coroutine[Any, Any, object]:
            return management.post(
                endpoint, connection_id, data, deadline=deadline, patient=patient
            )

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
