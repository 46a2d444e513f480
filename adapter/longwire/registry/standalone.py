"""A layer of one's own, for whoever has no event: an HTTP function, a worker, a script."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from longwire.apigateway.endpoint import given_endpoint
from longwire.config import settings as config
from longwire.exceptions import ConfigurationError
from longwire.registry.api_gateway import APIClients, Layer, handover
from longwire.registry.caller import Caller
from longwire.runtime import snapstart, threads
from longwire_aws.endpoints import is_http_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from longwire.apigateway.frames import Binary
    from longwire.apigateway.management import Management


class Outside:
    """A store, if one is configured, and a client of the management API.

    Args:
        ws_config, dsn, fanout: as of `Longwire`; without the first two there is no store.
        endpoint_url: of the management API; None takes it from `ws_config`, else from the
            environment variable WS_MANAGEMENT_ENDPOINT.

    Attributes:
        ttl: seconds that a record lives.

    Raises:
        ConfigurationError: something is wrong with the arguments, or a driver is missing.
    """

    def __init__(
        self,
        ws_config: Mapping[str, Any] | None,
        dsn: str | None,
        fanout: Mapping[str, Any] | None,
        endpoint_url: str | None,
    ) -> None:
        if endpoint_url is not None and not is_http_url(endpoint_url):
            raise ConfigurationError(
                "api_gateway_endpoint_url must be an http:// or https:// URL with a host"
            )
        stored = ws_config is not None or dsn is not None
        if fanout is not None and not stored:
            raise ConfigurationError("fanout is for groups, which need a store: give ws_config")
        settings = config.load(ws_config, dsn, fanout) if stored else None
        self._backend = config.make_backend(settings) if settings else None
        self._handover = handover(settings.fanout) if settings else None
        self._binary: Binary = settings.binary if settings else "text"
        self._endpoint = endpoint_url or (settings.endpoint_url if settings else None)
        self.ttl = settings.ttl if settings else 0
        self._region = settings.region_name if settings else None
        self._management: Management | None = None
        snapstart.before(self._close)

    def endpoint(self) -> str | None:
        """Return the management API that is configured; None if there is none.

        Raises:
            ConfigurationError: WS_MANAGEMENT_ENDPOINT is not a URL.
        """
        return given_endpoint(self._endpoint, os.environ)

    def caller(self, inside: Caller | None, timeout: float, endpoint: str | None = None) -> Caller:
        """Return who reaches this layer, within `timeout` seconds.

        Args:
            inside: the event in which it happens, whose replays are without effect here, too.
            endpoint: of the management API; None takes the configured one, else that of `inside`.
        """
        endpoint = endpoint or self.endpoint()
        if endpoint is None and inside is not None:
            endpoint = inside.layer.endpoint
        clients = APIClients(self._api, endpoint, self._binary)
        deadline = time.monotonic() + timeout
        backend = self._backend
        if inside is None:
            layer = Layer(clients, backend, endpoint, self._binary, self._handover)
            return Caller(layer, deadline)
        layer = Layer(
            clients, backend or inside.layer.backend, endpoint, self._binary, self._handover
        )
        deadline = min(deadline, inside.deadline)
        # Whoever is found to be gone here may be one of the app's own.
        found = inside.departed
        return Caller(layer, deadline, loop=inside.loop, own=inside.own, departed=found)

    async def aclose(self) -> None:
        """Let go of the store and all connections; a later call opens them again."""
        if self._management is not None:
            await self._http.close()
            self._signing.forget_keys()
        if self._backend is not None:
            await self._backend.close()

    def _close(self) -> None:
        threads.run(self.aclose, None)

    def _api(self) -> Management:
        if self._management is None:
            from longwire.apigateway.management import Management
            from longwire.apigateway.signing import SigningTransport
            from longwire.observability.event import count_post
            from longwire_aws.http import HTTPClient

            self._http = HTTPClient()
            self._signing = SigningTransport(self._http, self._region)
            self._management = Management(self._signing, on_post=count_post)
        return self._management
