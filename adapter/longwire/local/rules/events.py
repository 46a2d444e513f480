"""The events that API Gateway invokes a Lambda function with.

Which keys an event has is as in captured ones; a key without a value is absent, not null.

https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-develop-integrations.html
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from longwire.local.rules.settings import CONNECT, DISCONNECT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from longwire.local.rules.connection import ClientHandshake, CloseStatus, LocalConnection
    from longwire.local.rules.settings import GatewaySettings
    from longwire.types import LambdaEvent

_T = TypeVar("_T")

# API Gateway takes these out, and replaces what a client says about forwarding.
_DROPPED = {"connection", "upgrade", "content-length"}
REPLACED = {"x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-amzn-trace-id"}

# strftime("%b") follows the locale; the common log format does not.
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True, slots=True)
class EventStamp:
    """What is new in each event."""

    request_id: str
    time: int  # epoch milliseconds


def connect_event(
    settings: GatewaySettings, connection: LocalConnection, stamp: EventStamp, *, trace_id: str
) -> LambdaEvent:
    """Build the CONNECT event."""
    handshake = connection.handshake
    headers = by_name(_multi_value(_forwarded_headers(settings, handshake, trace_id)))
    event: LambdaEvent = {
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
    }
    query = _multi_value_query(handshake.query)
    if query:
        event["queryStringParameters"] = {name: values[-1] for name, values in query.items()}
        event["multiValueQueryStringParameters"] = query
    context = _request_context(settings, connection, stamp, CONNECT, "CONNECT")
    return event | {"requestContext": context, "isBase64Encoded": False}


def message_event(
    settings: GatewaySettings,
    connection: LocalConnection,
    stamp: EventStamp,
    *,
    route_key: str,
    message_id: str,
    body: str,
) -> LambdaEvent:
    """Build a MESSAGE event."""
    context = _request_context(settings, connection, stamp, route_key, "MESSAGE")
    return {
        "requestContext": context | {"messageId": message_id},
        "body": body,
        "isBase64Encoded": False,
    }


def disconnect_event(
    settings: GatewaySettings,
    connection: LocalConnection,
    stamp: EventStamp,
    close_status: CloseStatus,
) -> LambdaEvent:
    """Build the DISCONNECT event."""
    # These four, of which one has a value, whatever the handshake had.
    headers = {
        "Host": settings.domain_name,
        "x-api-key": "",
        "X-Forwarded-For": "",
        "x-restapi": "",
    }
    context = _request_context(settings, connection, stamp, DISCONNECT, "DISCONNECT")
    return {
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "requestContext": context
        | {"disconnectStatusCode": close_status.code, "disconnectReason": close_status.reason},
        "isBase64Encoded": False,
    }


def by_name(headers: dict[str, _T]) -> dict[str, _T]:
    """Return headers in the order of captured events: by name, in any case; repeats stay as sent.

    The four of a DISCONNECT event are in this order, too.
    """
    return dict(sorted(headers.items(), key=lambda header: header[0].lower()))


def _request_context(
    settings: GatewaySettings,
    connection: LocalConnection,
    stamp: EventStamp,
    route_key: str,
    event_type: str,
) -> dict[str, Any]:
    context = {
        "routeKey": route_key,
        "eventType": event_type,
        "extendedRequestId": stamp.request_id,
        "requestTime": common_log_time(stamp.time),
        "messageDirection": "IN",
        "stage": settings.stage,
        "connectedAt": connection.connected_at,
        "requestTimeEpoch": stamp.time,
        "identity": dict(connection.identity),
        "requestId": stamp.request_id,
        "domainName": settings.domain_name,
        "connectionId": connection.connection_id,
        "apiId": settings.api_id,
    }
    if connection.authorizer is not None:
        context["authorizer"] = dict(connection.authorizer)
    return context


def _forwarded_headers(
    settings: GatewaySettings, handshake: ClientHandshake, trace_id: str
) -> list[tuple[str, str]]:
    before = handshake.header("X-Forwarded-For")
    kept = [
        (name, value)
        for name, value in handshake.headers
        if name.lower() not in _DROPPED | REPLACED
    ]
    return [
        *kept,
        ("X-Amzn-Trace-Id", trace_id),
        ("X-Forwarded-For", f"{before}, {handshake.source_ip}" if before else handshake.source_ip),
        ("X-Forwarded-Port", str(settings.forwarded_port)),
        ("X-Forwarded-Proto", settings.forwarded_proto),
    ]


def _multi_value(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Collect repeats under the first spelling of each name."""
    spelling: dict[str, str] = {}
    collected: dict[str, list[str]] = {}
    for name, value in headers:
        collected.setdefault(spelling.setdefault(name.lower(), name), []).append(value)
    return collected


def _multi_value_query(query: str) -> dict[str, list[str]]:
    collected: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        collected.setdefault(name, []).append(value)
    return collected


def common_log_time(milliseconds: int) -> str:
    """Write a time as web servers log it."""
    return _log_second(milliseconds // 1000)


@functools.lru_cache(4)
def _log_second(seconds: int) -> str:
    time = datetime.fromtimestamp(seconds, UTC)
    return f"{time:%d}/{_MONTHS[time.month - 1]}/{time:%Y:%H:%M:%S} +0000"
