"""Which event a post is of: the function's own transport says so in a header."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire_aws.http import Response
    from longwire_aws.signed import Transport

# With the id of the request; only the gateway of this machine sees it.
HEADER = "x-longwire-dev-request"

# Of the event that is handled here, in this process.
current: ContextVar[str] = ContextVar("longwire_dev_request", default="")


class NamedTransport:
    """Adds the header to what another transport sends."""

    def __init__(self, transport: Transport, request_id: Callable[[], str]) -> None:
        self._transport = transport
        self._request_id = request_id

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        named = [*headers, (HEADER, self._request_id())]
        return await self._transport.request(method, url, named, body, timeout=timeout)
