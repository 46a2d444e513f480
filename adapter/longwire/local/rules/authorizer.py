"""A Lambda authorizer of type REQUEST: what it is asked at `$connect`, what its answer means.

Its event, its answer, and the statuses that a client gets are on these pages:

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-lambda-auth.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html

    401  UNAUTHORIZED                    an identity source is missing, or the function raised an
                                         error whose text is exactly "Unauthorized"
    403  ACCESS_DENIED                   the policy denies $connect, or nothing in it allows it
    500  AUTHORIZER_FAILURE,             the function raised another error, took too long, or
         AUTHORIZER_CONFIGURATION_ERROR  returned what is not an answer

Where these pages are silent, the stricter reading is taken, so that what works here works there:
a `principalId` that is not a string, or is empty, is malformed. A null in `context` is left out.
`usageIdentifierKey` is taken and has no effect, since there are no usage plans here.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from longwire.local.rules import policy
from longwire.local.rules.events import by_name
from longwire.local.rules.results import HandshakeRefused, Outcome, Raised, Returned, TimedOut
from longwire.local.rules.settings import CONNECT, parse_identity_source

if TYPE_CHECKING:
    from longwire.local.rules.settings import GatewaySettings
    from longwire.types import LambdaEvent

ACTION = "execute-api:Invoke"
# Bytes of an answer.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html
RESULT_LIMIT = 8 * 1024

# The function of a route does not get these. In each captured event they are as here, whatever
# the client itself had sent.
_HOP_HEADERS = {"Connection": "upgrade", "content-length": "0", "Upgrade": "websocket"}


@dataclass(frozen=True, slots=True)
class Granted:
    """The client may connect; its events have `context` in `requestContext.authorizer`."""

    context: dict[str, str]


NOT_AUTHENTICATED = HandshakeRefused(401, "authorizer: Unauthorized")


class _MalformedError(ValueError):
    """API Gateway does not take what the authorizer returned; the text shows no value of it."""


def method_arn(settings: GatewaySettings) -> str:
    """Return the ARN of what the client asks for."""
    api = f"{settings.region}:{settings.account_id}:{settings.api_id}"
    return f"arn:aws:execute-api:{api}/{settings.stage}/{CONNECT}"


def unidentified(settings: GatewaySettings, connect_event: LambdaEvent) -> HandshakeRefused | None:
    """Refuse a handshake that lacks an identity source; its authorizer is not asked."""
    for source in settings.identity_sources:
        if not _identity(source, connect_event):
            return _refused(401, f"not asked without {source}")
    return None


def request_event(settings: GatewaySettings, connect_event: LambdaEvent) -> LambdaEvent:
    """Build the event of the authorizer from the one that the function of `$connect` will get."""
    # Unlike there, maps that are empty are present, and headers of the connection itself are kept.
    event = {
        "type": "REQUEST",
        "methodArn": method_arn(settings),
        "headers": by_name(connect_event["headers"] | _HOP_HEADERS),
        "multiValueHeaders": by_name(
            connect_event["multiValueHeaders"]
            | {name: [value] for name, value in _HOP_HEADERS.items()}
        ),
        "queryStringParameters": connect_event.get("queryStringParameters", {}),
        "multiValueQueryStringParameters": connect_event.get("multiValueQueryStringParameters", {}),
        "stageVariables": {},
        "requestContext": connect_event["requestContext"],
    }
    # Whatever the authorizer does to its event, the function must not see it.
    return copy.deepcopy(event)


def decide(outcome: Outcome, arn: str) -> Granted | HandshakeRefused:
    """Decide a handshake by what became of its authorizer."""
    match outcome:
        case TimedOut():
            return _refused(500, "timed out")
        case Raised(error):
            # Lambda passes on the text of an error, and API Gateway looks at nothing else.
            if str(error) == "Unauthorized":
                return NOT_AUTHENTICATED
            return _refused(500, f"raised {type(error).__name__}")
        case Returned(value):
            try:
                return _evaluate(_as_json(value), arn)
            except (_MalformedError, policy.PolicyError) as error:
                return _refused(500, f"malformed ({error})")


def authorized(connect_event: LambdaEvent, granted: Granted, seconds: float) -> LambdaEvent:
    """Add what the authorizer said, and how long it took, to a CONNECT event."""
    said = granted.context | {"integrationLatency": round(seconds * 1000)}
    return connect_event | {
        "requestContext": connect_event["requestContext"] | {"authorizer": said}
    }


def _identity(source: str, connect_event: LambdaEvent) -> str | None:
    """Return what a handshake has in the place that an identity source names."""
    place, name = parse_identity_source(source)
    if place == "querystring":
        value: str | None = connect_event.get("queryStringParameters", {}).get(name)
        return value
    headers = {key.lower(): value for key, value in connect_event["headers"].items()}
    return headers.get(name.lower())


def _refused(status: int, reason: str) -> HandshakeRefused:
    return HandshakeRefused(status, f"authorizer: {reason}")


def _evaluate(answer: dict[str, Any], arn: str) -> Granted | HandshakeRefused:
    context = _context(answer)
    effect = policy.evaluate(answer.get("policyDocument"), ACTION, arn)
    if effect == "Allow":
        return Granted(context)
    return _refused(403, effect or f"no Allow for {CONNECT}")


def _as_json(value: object) -> dict[str, Any]:
    """Return the answer as API Gateway reads it."""
    try:
        text = json.dumps(value, default=_number, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise _MalformedError(f"not JSON: {error}") from None
    if size > RESULT_LIMIT:
        raise _MalformedError(f"{size} bytes, at most {RESULT_LIMIT} are taken")
    answer = json.loads(text)
    if not isinstance(answer, dict):
        raise _MalformedError(f"expected a dict, got {type(value).__name__}")
    return answer


def _number(value: object) -> float:
    # The one type that Lambda's JSON takes and Python's does not: DynamoDB's numbers have it.
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"a value is of type {type(value).__name__}")


def _context(answer: dict[str, Any]) -> dict[str, str]:
    """Return what later events have in `requestContext.authorizer`: strings only."""
    principal = answer.get("principalId")
    if not isinstance(principal, str) or not principal:
        raise _MalformedError("principalId: expected a string that is not empty")
    context = answer.get("context") or {}
    if not isinstance(context, dict):
        raise _MalformedError(f"context: expected a dict, got {type(context).__name__}")
    strings = {key: _string(key, value) for key, value in context.items() if value is not None}
    return strings | {"principalId": principal}


def _string(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise _MalformedError(
        f"context.{key}: expected a string, a number or a boolean, got {type(value).__name__}"
    )
