"""API Gateway WebSocket events, from Lambda's dictionaries to immutable tuples.

The shapes: https://docs.aws.amazon.com/apigateway/latest/developerguide/
apigateway-websocket-api-mapping-template-reference.html. Old events and emulators put null where
others leave a key out, so null always means absent here.
"""

from __future__ import annotations

import base64
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from longwire.exceptions import EventError
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from longwire.types import LambdaEvent

INTERNAL = "longwire#"
"""What ids begin with that are no connections, but records of ours; API Gateway's have no "#"."""

Pairs = tuple[tuple[str, str], ...]
_Pairs = list[tuple[str, str]]
_T = TypeVar("_T")


class RequestContext(NamedTuple):
    """What every event says about its connection.

    Attributes:
        connected_at: epoch milliseconds; None when the event does not say.
        request_time: epoch milliseconds of this event; None when it does not say.
    """

    connection_id: str
    route_key: str
    stage: str
    api_id: str
    domain_name: str | None
    source_ip: str | None
    connected_at: int | None
    request_time: int | None


class ConnectEvent(NamedTuple):
    """A client asks to connect; headers and query parameters are in order, repeats included.

    Attributes:
        headers: with lower-case names.
        origins: what either of the event's two maps of headers says, as others may read the other.
    """

    context: RequestContext
    headers: Pairs
    query: Pairs
    origins: frozenset[str]


class MessageEvent(NamedTuple):
    """A client sent a message; bytes when API Gateway decoded it (CONVERT_TO_BINARY)."""

    context: RequestContext
    body: str | bytes


class DisconnectEvent(NamedTuple):
    """A connection has ended, at either side's wish or by failure."""

    context: RequestContext
    code: int
    reason: str


Event = ConnectEvent | MessageEvent | DisconnectEvent


def is_websocket_event(event: object) -> bool:
    """Tell a WebSocket event from the events of other sources, well-formed or not."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    return isinstance(context, dict) and (
        context.get("connectionId") is not None or context.get("eventType") is not None
    )


def is_queue_event(event: object) -> bool:
    """Tell whether a Lambda event brings messages of an SQS queue."""
    match event:
        case {"Records": [{"eventSource": "aws:sqs"}, *_]}:
            return True
    return False


def is_sweep_event(event: object) -> bool:
    """Tell whether this is the event of ours with which a schedule asks for a sweep."""
    return isinstance(event, dict) and event.get("longwire") == "sweep"


_PHASES = {"CONNECT": "connect", "MESSAGE": "message", "DISCONNECT": "disconnect"}


class Identity(NamedTuple):
    """What an event is about.

    Attributes:
        phase: "connect", "message", "disconnect", "queue", "sweep" or "other".
    """

    phase: str
    route_key: str | None = None
    connection_id: str | None = None

    @property
    def name(self) -> str:
        """What such an event is called in a line of text or in a trace."""
        return f"{self.phase.upper()} {self.route_key or ''}".rstrip()


def identify(raw: object, *, takes_parts: bool) -> Identity:
    """Read an event, which may be malformed; nothing that a client has sent is part of it.

    Args:
        takes_parts: the events of a queue are for this handler.
    """
    if isinstance(raw, dict) and is_websocket_event(raw):
        context = raw["requestContext"]
        phase = _PHASES.get(_text_of(context, "eventType") or "", "other")
        return Identity(phase, _text_of(context, "routeKey"), _text_of(context, "connectionId"))
    if is_sweep_event(raw):
        return Identity("sweep")
    return Identity("queue" if takes_parts and is_queue_event(raw) else "other")


def _text_of(context: dict[str, Any], key: str) -> str | None:
    value = context.get(key)
    return value if isinstance(value, str) else None


def parse(event: LambdaEvent) -> Event:
    """Read a WebSocket event.

    Raises:
        EventError: a part that the adapter needs is missing or has the wrong type.
    """
    raw = event["requestContext"]
    context = _request_context(raw)
    match raw.get("eventType"):
        case "CONNECT":
            return _connect_event(context, event)
        case "MESSAGE":
            return MessageEvent(context, _body(event))
        case "DISCONNECT":
            code = _optional(raw, "disconnectStatusCode", int, "requestContext.")
            reason = _optional(raw, "disconnectReason", str, "requestContext.")
            return DisconnectEvent(context, 1005 if code is None else code, reason or "")
        case other:
            raise EventError(
                f"requestContext.eventType is {other!r}; expected CONNECT, MESSAGE or DISCONNECT"
            )


def lost(connection_id: str, like: LambdaEvent) -> LambdaEvent:
    """Make the DISCONNECT event of a connection that has proved to be gone (code 1006).

    Args:
        like: an event of the same API, whichever it is about.
    """
    code = {"disconnectStatusCode": 1006, "disconnectReason": ""}
    return _own_event(like, connection_id, "DISCONNECT", "$disconnect", code)


def delivery(connection_id: str, like: LambdaEvent) -> LambdaEvent:
    """Make the event, of no message of the client's, in which a channel layer's is given.

    `like` is an event of the same API. What an authorizer said is another connection's, and is left
    out.
    """
    return _own_event(like, connection_id, "MESSAGE", "$default", {}) | {"body": ""}


def _own_event(
    like: LambdaEvent, connection_id: str, kind: str, route_key: str, more: dict[str, Any]
) -> LambdaEvent:
    raw = like.get("requestContext")
    api = raw if isinstance(raw, dict) else {}
    context = {key: api[key] for key in ("apiId", "domainName", "stage") if key in api}
    return {
        "requestContext": context
        | {
            "routeKey": route_key,
            "eventType": kind,
            "messageDirection": "IN",
            "connectionId": connection_id,
        }
        | more,
        "isBase64Encoded": False,
    }


def _request_context(raw: dict[str, Any]) -> RequestContext:
    connection_id = _word(raw, "connectionId")
    if not connection_id:
        raise EventError("requestContext.connectionId is missing")
    if connection_id.startswith(INTERNAL):
        raise EventError(f"requestContext.connectionId is {connection_id!r}; no API has such ids")
    identity = _optional(raw, "identity", dict, "requestContext.") or {}
    return RequestContext(
        connection_id,
        _word(raw, "routeKey") or "$default",
        _word(raw, "stage") or "",
        _word(raw, "apiId") or "",
        _word(raw, "domainName"),
        _optional(identity, "sourceIp", str, "requestContext.identity."),
        _moment(raw, "connectedAt"),
        _moment(raw, "requestTimeEpoch"),
    )


def _moment(raw: dict[str, Any], key: str) -> int | None:
    """Read epoch milliseconds; what cannot be a time says as little as none."""
    moment = _optional(raw, key, int, "requestContext.")
    return moment if moment is not None and 0 <= moment < 1 << 53 else None


def _word(raw: dict[str, Any], key: str) -> str | None:
    """Read a text that becomes part of a URL or a key of the store."""
    word = raw.get(key)
    if type(word) is str and word.isascii():  # nearly always
        return word
    word = _optional(raw, key, str, "requestContext.")
    return None if word is None else _text(word, f"requestContext.{key}")


def _body(event: LambdaEvent) -> str | bytes:
    body = _optional(event, "body", str, "") or ""
    if not event.get("isBase64Encoded"):
        return body
    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:  # also that it is not ASCII
        raise EventError(f"body is not base64, though isBase64Encoded says so: {error}") from None


def _connect_event(context: RequestContext, event: LambdaEvent) -> ConnectEvent:
    headers, others = _twice(event, "multiValueHeaders", "headers")
    headers = [(name.lower(), value) for name, value in headers]
    origins = {value for name, value in headers if name == "origin"}
    if others:
        others = [(name.lower(), value) for name, value in others]
        origins |= {value for name, value in others if name == "origin"}
        names = dict(headers)
        headers += [pair for pair in others if pair[0] not in names]
    query, others = _twice(event, "multiValueQueryStringParameters", "queryStringParameters")
    if others:
        known = set(query)
        query += [pair for pair in others if pair not in known]
    return ConnectEvent(context, tuple(headers), tuple(query), frozenset(origins))


def _twice(event: LambdaEvent, all_key: str, last_key: str) -> tuple[_Pairs, _Pairs]:
    """Read a map that comes twice: with all values, and with the last one of each name.

    API Gateway sends both. What only the second has, or has differently, is what it returns second.
    """
    every, last = _optional(event, all_key, dict, ""), _optional(event, last_key, dict, "")
    if every and last:
        if every == {name: [value] for name, value in last.items()}:  # as mostly
            pairs = [(name, last[name]) for name in every]
            if are_texts(chain.from_iterable(pairs)):
                return pairs, []
        if _are_last_of(every, last):
            last = None
    return _pairs(every, all_key) if every else [], _pairs(last, last_key) if last else []


def _are_last_of(every: dict[str, Any], last: dict[str, Any]) -> bool:
    try:
        return {name: values[-1] for name, values in every.items()} == last
    except (TypeError, LookupError):  # they are no lists, or empty ones
        return False


def _pairs(found: dict[str, Any], where: str) -> _Pairs:
    pairs = [
        (name, value)
        for name, values in found.items()
        for value in (values if type(values) is list else (values,))
        if value is not None
    ]
    if not are_texts(chain.from_iterable(pairs)):
        for name, value in pairs:
            _text(name, where)
            _text(value, f"{where}[{name!r}]")
    return pairs


def are_texts(values: Iterable[Any]) -> bool:
    """Tell whether all are texts that UTF-8 can hold."""
    try:
        return "".join(values).encode() is not None
    except (TypeError, UnicodeEncodeError):  # no str; half of a surrogate pair
        return False


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise EventError(f"{where} holds {_kind(value)}; expected a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise EventError(f"{where} holds half of a surrogate pair, which is no text") from None
    return value


def _optional(source: dict[str, Any], key: str, kind: type[_T], where: str) -> _T | None:
    value = source.get(key)
    if value is None or type(value) is kind:
        return value
    if not isinstance(value, kind) or isinstance(value, bool):
        raise EventError(f"{where}{key} is {_kind(value)}; expected {_NAMES[kind]}")
    return value


_NAMES: dict[type, str] = {str: "a string", int: "an integer", dict: "an object"}


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
