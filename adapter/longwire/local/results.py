"""What the function's answer means to API Gateway.

https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-route-keys-connect-disconnect.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass

_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}

INTERNAL_SERVER_ERROR = "Internal server error"
TIMED_OUT = "Endpoint request timed out"
FORBIDDEN = "Forbidden"


@dataclass(frozen=True, slots=True)
class Returned:
    """The function returned this."""

    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """The function raised this."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The function did not answer within the integration timeout."""


Outcome = Returned | Raised | TimedOut


@dataclass(frozen=True, slots=True)
class Accepted:
    """The handshake succeeds, with the subprotocol that the function returned, if any."""

    subprotocol: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The handshake fails with this HTTP status."""

    status: int


class MalformedResultError(ValueError):
    """The function returned what API Gateway does not take as a proxy response."""


@dataclass(frozen=True, slots=True)
class ProxyResponse:
    """A Lambda proxy response, checked. Header names are lower-case, values stripped."""

    status: int
    headers: dict[str, str]
    body: str


def parse_result(value: object) -> ProxyResponse:
    """Check a Lambda proxy response as strictly as API Gateway does.

    Raises:
        MalformedResultError: one unknown key, or one value of a wrong type, is enough.
    """
    if not isinstance(value, dict):
        raise MalformedResultError(f"expected a dict, got {type(value).__name__}")
    unknown = value.keys() - _KEYS
    if unknown:
        raise MalformedResultError(f"unknown keys: {', '.join(sorted(map(str, unknown)))}")
    status = value.get("statusCode")
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise MalformedResultError(f"statusCode: expected an int of 200 to 599, got {status!r}")
    body = value.get("body")
    if not isinstance(body, str | None):
        raise MalformedResultError(f"body: expected a string, got {type(body).__name__}")
    if not isinstance(value.get("isBase64Encoded"), bool | None):
        raise MalformedResultError("isBase64Encoded: expected true or false")
    return ProxyResponse(status, _parse_headers(value), body or "")


def _parse_headers(value: dict[object, object]) -> dict[str, str]:
    single, multi = value.get("headers") or {}, value.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multi, dict):
        raise MalformedResultError("headers and multiValueHeaders: expected a dict")
    pairs = [(name, values) for name, values in multi.items() if values]
    if not all(isinstance(values, list) for _, values in pairs):
        raise MalformedResultError("multiValueHeaders: expected lists of strings")
    headers = [*((name, values[-1]) for name, values in pairs), *single.items()]
    if not all(isinstance(name, str) and isinstance(text, str) for name, text in headers):
        raise MalformedResultError("headers: expected strings")
    return {name.lower(): text.strip() for name, text in headers}


def connect_verdict(outcome: Outcome) -> Accepted | Refused:
    """Decide a handshake: 2xx accepts it, any other status reaches the client unchanged."""
    match outcome:
        case TimedOut():
            return Refused(504)
        case Raised():
            return Refused(502)
        case Returned(value):
            try:
                response = parse_result(value)
            except MalformedResultError:
                return Refused(502)
    if not 200 <= response.status <= 299:
        return Refused(response.status)
    return Accepted(response.headers.get("sec-websocket-protocol") or None)


def message_reply(
    outcome: Outcome, *, connection_id: str, request_id: str, route_responses: bool
) -> bytes | None:
    """Return the frame that API Gateway itself sends after a message; mostly there is none.

    With route responses the function's `body` is sent, an empty one too.
    """
    match outcome:
        case TimedOut():
            return error_frame(TIMED_OUT, connection_id, request_id)
        case Raised():
            return error_frame(INTERNAL_SERVER_ERROR, connection_id, request_id)
        case Returned(value):
            try:
                response = parse_result(value)
            except MalformedResultError:
                return error_frame(INTERNAL_SERVER_ERROR, connection_id, request_id)
    return response.body.encode(errors="replace") if route_responses else None


def error_frame(message: str, connection_id: str, request_id: str) -> bytes:
    """Build the text frame that tells a client of an error."""
    frame = {"message": message, "connectionId": connection_id, "requestId": request_id}
    return json.dumps(frame).encode()
