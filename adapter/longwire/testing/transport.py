"""The way from a function to the management API of a gateway in this process."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from longwire.local.rules.management_api import JSONResponse
    from longwire_aws.http import Response

    Manage = Callable[[str, str, bytes], Awaitable[JSONResponse]]

# Where the management API is for events that do not tell, as HTTP's; on Lambda a variable says it.
IN_MEMORY = "https://local.execute-api.us-east-1.amazonaws.com/local"


class InMemoryTransport:
    """Speaks to the management API in memory, whatever host and path stand before it."""

    def __init__(self, manage: Manage, stage: str) -> None:
        self._manage = manage
        self._stage = stage

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        from longwire_aws.http import Response

        await asyncio.sleep(0)  # a real request lets other tasks run
        path = re.sub(
            r"^.*/(?:@|%40)connections/", f"/{self._stage}/@connections/", urlsplit(url).path
        )
        response = await self._manage(method, path, body)
        return Response(response.status, dict(response.headers), response.body)
