"""API Gateway's rules for one WebSocket API: no sockets, no clock and no randomness of its own."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from longwire.local.rules import events, http_events, management_api, results, routes
from longwire.local.rules.connection import (
    TOO_BIG,
    ClientHandshake,
    CloseStatus,
    ConnectionState,
    LocalConnection,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.local.rules.http_events import HTTPRequest
    from longwire.local.rules.management_api import ManagementRequest
    from longwire.local.rules.settings import GatewaySettings
    from longwire.local.rules.signatures import Signer
    from longwire.types import LambdaEvent


class GatewayRules:
    """The table of connections, and what follows from it."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        clock: Callable[[], float],  # epoch seconds
        random_bytes: Callable[[int], bytes],
        verify: Signer | None = None,  # None: requests need no signature
    ) -> None:
        self.settings = settings
        self.connections: dict[str, LocalConnection] = {}
        self._clock = clock
        self._random_bytes = random_bytes
        self._verify = verify

    # Connections

    def admit(self, handshake: ClientHandshake) -> LocalConnection:
        """Begin a connection; it exists for nobody else until it is opened."""
        now = self._now()
        connection = LocalConnection(
            self._new_id(), handshake, connected_at=now, last_active_at=now
        )
        self.connections[connection.connection_id] = connection
        return connection

    def open(self, connection: LocalConnection) -> None:
        """Note that the handshake has succeeded: the connection can be posted to."""
        connection.state = ConnectionState.OPEN

    def close(self, connection: LocalConnection) -> None:
        """Whatever ended it, the connection is gone for everybody at once."""
        connection.state = ConnectionState.CLOSED
        self.connections.pop(connection.connection_id, None)

    def touch(self, connection: LocalConnection) -> None:
        """Note that a message has passed in either direction."""
        connection.last_active_at = self._now()

    # The client's side

    def is_endpoint(self, path: str) -> bool:
        """Tell whether sockets can be opened on this path."""
        # The bare `/` is what a custom domain has; there is nothing below a stage.
        return path in ("/", f"/{self.settings.stage}", f"/{self.settings.stage}/")

    def oversize(self, frame_sizes: list[int]) -> CloseStatus | None:
        """Return how the connection ends when a message came in frames of these sizes."""
        within = (
            max(frame_sizes, default=0) <= self.settings.frame_limit
            and sum(frame_sizes) <= self.settings.message_limit
        )
        return None if within else TOO_BIG

    def floods(self, connection: LocalConnection) -> bool:
        """Count a message of a client; tell whether it is one too many for `message_rate`."""
        rate, now = self.settings.message_rate, self._clock()
        if rate is None:
            return False
        # The token bucket of https://docs.aws.amazon.com/apigateway/latest/developerguide/
        # websocket-api-protect.html, which holds what comes in a second.
        gained = max(0.0, now - connection.tokens_at) * rate
        tokens = min(connection.tokens + gained, max(1.0, rate))
        connection.tokens, connection.tokens_at = tokens - 1, now
        return tokens < 1

    def select_route(self, body: str) -> str | None:
        """Return the route of a message; None when it has none."""
        expression = self.settings.route_selection_expression
        return routes.select_route(body, expression, self.settings.routes)

    def forbidden_frame(self, connection: LocalConnection) -> bytes:
        """Build the frame for a message that has no route."""
        return results.error_frame(results.FORBIDDEN, connection.connection_id, self._new_id())

    # The function's side

    def connect_event(self, connection: LocalConnection) -> LambdaEvent:
        now = self._now()
        return events.connect_event(
            self.settings, connection, self._stamp(now), trace_id=self._trace_id(now)
        )

    def message_event(self, connection: LocalConnection, route_key: str, body: str) -> LambdaEvent:
        return events.message_event(
            self.settings,
            connection,
            self._stamp(self._now()),
            route_key=route_key,
            # A message id ends like the id of its connection.
            message_id=self._new_id()[:8] + connection.connection_id[-8:],
            body=body,
        )

    def disconnect_event(
        self, connection: LocalConnection, close_status: CloseStatus
    ) -> LambdaEvent:
        stamp = self._stamp(self._now())
        return events.disconnect_event(self.settings, connection, stamp, close_status)

    def http_event(self, request: HTTPRequest) -> LambdaEvent:
        now = self._now()
        return http_events.http_event(
            self.settings, request, self._stamp(now), trace_id=self._trace_id(now)
        )

    def refusal(self, request: ManagementRequest) -> management_api.JSONResponse | None:
        """Return the 403 for a request to `@connections` that is not signed as it must be."""
        if self._verify is None:
            return None
        if len(request.body) > self.settings.message_limit:
            return management_api.TOO_LONG  # and not kept whole, so nobody knows its signature
        from longwire.local.rules import signatures  # most never need it

        return signatures.refusal(self._verify, request, self._clock())

    def manage(
        self, method: str, path: str, body: bytes
    ) -> (
        management_api.JSONResponse
        | management_api.PostToConnection
        | management_api.DeleteConnection
    ):
        """Decide a request to `@connections`."""
        return management_api.decide(self.settings, self.connections, method, path, body)

    def _stamp(self, now: int) -> events.EventStamp:
        return events.EventStamp(self._new_id(), now)

    def _trace_id(self, now: int) -> str:
        return f"Root=1-{now // 1000:08x}-{self._random_bytes(12).hex()}"

    def _new_id(self) -> str:
        # 11 bytes make 15 characters and one "=", as in every id that was ever seen.
        return base64.urlsafe_b64encode(self._random_bytes(11)).decode()

    def _now(self) -> int:
        return int(self._clock() * 1000)
