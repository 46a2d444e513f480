"""The ASGI and Lambda shapes that cross module borders.

ASGI: https://asgi.readthedocs.io/en/latest/specs/main.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NotRequired, TypedDict

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

Frame = str | bytes
"""One message to a client."""

Dumps = Callable[[Any], str | bytes]
"""Makes JSON text, or its UTF-8, of a value: such as `json.dumps` and `orjson.dumps`."""

LambdaEvent = dict[str, Any]
LambdaHandler = Callable[[LambdaEvent, Any], Any]


class LambdaResponse(TypedDict):
    """All that API Gateway is answered; one key that it does not know makes it malformed."""

    statusCode: int
    headers: NotRequired[dict[str, str]]
