"""A registry of one's own, for whoever has no event: an HTTP function, a worker, a script."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from longwire.exceptions import ConfigurationError
from longwire.registry.api_gateway import APIGateway
from longwire.registry.caller import Caller
from longwire.runtime import snapstart, threads
from longwire_aws.endpoints import is_http_url

if TYPE_CHECKING:
    import asyncio

    from longwire.config.settings import Settings
    from longwire.registry.base import HandOver


class Standalone:
    """A store, if one is configured, and a client of the management API."""

    def __init__(
        self,
        settings: Settings | None,
        endpoint_url: str | None,
        hand_over: HandOver | None = None,
    ) -> None:
        if endpoint_url is not None and not is_http_url(endpoint_url):
            raise ConfigurationError(
                "api_gateway_endpoint_url must be an http:// or https:// URL with a host"
            )
        if settings is None:
            self._api = APIGateway(endpoint_url=endpoint_url)
        else:
            self._api = APIGateway.configured(settings, endpoint_url, hand_over=hand_over)
        snapstart.before(self._close)

    def endpoint(self) -> str | None:
        """Return the management API that is configured; None if there is none."""
        return self._api.configured_endpoint()

    def caller(
        self,
        deadline: float,
        *,
        endpoint: str | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Caller:
        """Return a caller that reaches this endpoint, or the configured one."""
        return Caller(self._api.at(endpoint or self.endpoint()), deadline, loop=loop)

    def caller_inside(self, inside: Caller | None, timeout: float) -> Caller:
        """Return the caller in an event, whose store or endpoint is used if none is configured."""
        deadline = time.monotonic() + timeout
        if inside is None:
            return self.caller(deadline)
        registry = self._api.at(self.endpoint() or inside.registry.endpoint)
        if registry.backend is None:
            registry = registry._replace(
                backend=inside.registry.backend, state_limit=inside.registry.state_limit
            )
        # Replays have no effect here, either; and who is found to be gone may be the app's own.
        found = inside.departed
        deadline = min(deadline, inside.deadline)
        return Caller(registry, deadline, loop=inside.loop, own=inside.own, departed=found)

    async def aclose(self) -> None:
        """Let go of the store and all connections; a later call opens them again."""
        await self._api.aclose()

    def _close(self) -> None:
        threads.run(self.aclose, None)
