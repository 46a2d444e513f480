"""The ASGI and Lambda shapes that cross module borders.

ASGI messages: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Literal, NotRequired, Protocol, TypedDict

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class ConnectMessage(TypedDict):
    type: Literal["websocket.connect"]


class ReceiveMessage(TypedDict):
    type: Literal["websocket.receive"]
    text: NotRequired[str]
    bytes: NotRequired[bytes]


class DisconnectMessage(TypedDict):
    type: Literal["websocket.disconnect"]
    code: int
    reason: str


class AcceptMessage(TypedDict):
    type: Literal["websocket.accept"]
    subprotocol: NotRequired[str | None]
    headers: NotRequired[Iterable[tuple[bytes, bytes]]]


class SendMessage(TypedDict):
    type: Literal["websocket.send"]
    text: NotRequired[str | None]
    bytes: NotRequired[bytes | None]


class CloseMessage(TypedDict):
    type: Literal["websocket.close"]
    code: NotRequired[int]
    reason: NotRequired[str | None]


class DenialStartMessage(TypedDict):
    type: Literal["websocket.http.response.start"]
    status: int
    headers: NotRequired[Iterable[tuple[bytes, bytes]]]


class DenialBodyMessage(TypedDict):
    type: Literal["websocket.http.response.body"]
    body: NotRequired[bytes]
    more_body: NotRequired[bool]


ToApp = ConnectMessage | ReceiveMessage | DisconnectMessage

LambdaEvent = dict[str, Any]


class LambdaResponse(TypedDict):
    """All that API Gateway understands; one unknown key makes the response malformed."""

    statusCode: int
    headers: NotRequired[dict[str, str]]


class LambdaContext(Protocol):
    """The part of Lambda's context object that the adapter uses.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    def get_remaining_time_in_millis(self) -> int: ...


LambdaHandler = Callable[[LambdaEvent, Any], Any]
