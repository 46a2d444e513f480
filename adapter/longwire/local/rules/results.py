"""What the function's answer means to API Gateway.

https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-route-keys-connect-disconnect.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from longwire.apigateway.responses import MalformedResultError, parse_result
from longwire.local.rules.errors import FunctionError, FunctionRaisedError, ThrottledError

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
class HandshakeAccepted:
    """The handshake succeeds, with the subprotocol that the function returned, if any."""

    subprotocol: str | None = None


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """The handshake fails with this HTTP status."""

    status: int
    # Why the function was not even asked; None if it was.
    reason: str | None = None


Verdict = HandshakeAccepted | HandshakeRefused


def describe(outcome: Outcome) -> str:
    """Say in a few words what became of an event, for example `200`."""
    match outcome:
        case TimedOut():
            return "timed out"
        case Raised(FunctionRaisedError() as error):
            return f"raised {error.type}"
        case Raised(FunctionError() as error):
            return str(error)
        case Raised(error):
            return f"raised {type(error).__name__}"
        case Returned(value):
            try:
                return str(parse_result(value).status)
            except MalformedResultError as error:
                return f"malformed ({error})"


def connect_verdict(outcome: Outcome) -> Verdict:
    """Decide a handshake: 2xx accepts it, any other status reaches the client unchanged."""
    # Lambda's own refusal to run the function is 500, an error of the function 502.
    # https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway-errors.html
    match outcome:
        case TimedOut():
            return HandshakeRefused(504)
        case Raised(ThrottledError()):
            return HandshakeRefused(500)
        case Raised():
            return HandshakeRefused(502)
        case Returned(value):
            try:
                response = parse_result(value)
            except MalformedResultError:
                return HandshakeRefused(502)
    if not 200 <= response.status <= 299:
        return HandshakeRefused(response.status)
    return HandshakeAccepted(response.headers.get("sec-websocket-protocol") or None)


def message_reply(
    outcome: Outcome, *, connection_id: str, request_id: str, route_responses: bool
) -> bytes | None:
    """Return the frame that API Gateway itself sends after a message; mostly there is none."""
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
    # A route response is sent even if the body is empty.
    return response.body.encode(errors="replace") if route_responses else None


def error_frame(message: str, connection_id: str, request_id: str) -> bytes:
    """Build the text frame that tells a client of an error."""
    frame = {"message": message, "connectionId": connection_id, "requestId": request_id}
    return json.dumps(frame).encode()
