"""Generated Lambda events: the real ones, with anything wrong that a dictionary can have wrong."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.lambda_events import connect_event, disconnect_event, message_event

if TYPE_CHECKING:
    from random import Random

Path = tuple[str | int, ...]

CONTEXT = "requestContext"
WEBSOCKET = ("connect", "message", "disconnect")
OTHER = ("http", "http v2", "sqs", "sweep", "nothing")

STRINGS = (
    *("", " ", "\0", "\ud800", "\udfff\ud800", "grüße €𝄞", "a/b?c#d&e=f", "..", "%00", "%", "null"),
    *("\r\nx: y", "CONNECT", "connect", "longwire#ended#a", "a" * 1025, "x" * 131073, "€" * 50000),
    *("h:" + "9" * 5000, "[::1]", "h:²", "execute-api", ".execute-api.eu-west-1.amazonaws.com"),
)
NUMBERS = (0, -1, 1, 999, 4999, 2**31, 2**63, 10**400, -(10**400), 1.5, 1e308, True, False)
NESTED: Any = json.loads("[" * 100 + "]" * 100)
JUNK: tuple[Any, ...] = (None, [], {}, [None], {"": None}, [[]], NESTED, *NUMBERS, *STRINGS)

# What a client may well send: nothing of it makes an event malformed.
HEADERS: tuple[dict[str, Any], ...] = (
    {},
    {"HOST": ["a"], "host": ["b", "c"], "Host": []},
    {"Sec-WebSocket-Protocol": [" , a,,b ,"], "sec-websocket-protocol": ["c", "é€"]},
    {"X-Forwarded-Port": ["9" * 5000]},
    {"X-Forwarded-Port": ["²"], "X-Forwarded-Proto": ["HTTP"]},
    {"Cookie": ["x" * 10000], "Origin": ["null"]},
    {"é": ["€", "ü"], "": [""], "a\0b": ["c\0d"], "n": [None]},
)
QUERIES: tuple[dict[str, Any], ...] = (
    {},
    {"path": ["/a", "/b", "c"]},
    {"path": ["no", "/ä %/../?#\0"], "": [""], "a": []},
    {"PATH": ["/a"], "é€": ["𝄞&="], "n": [None]},
    {"path": ["/" + "x" * 4096]},
)
BODIES = ("hi", "", "\0", '{"action":"x"}', "x" * 32768, "x" * 131072, "grüße €𝄞", "[" * 1000)

# What is found in place of a record: one that was cut off, others' data, another version's.
DAMAGE = ("", "cut", "null", "[]", "7", '{"v":2}', '{"v":1}', '{"v":1,"scope":{}}', '{"v":[1]}')


class Change(NamedTuple):
    """One change to an event.

    Attributes:
        path: where; a value that is not there is put there where that can be.
        value: what; `DROP` takes out what is there.
        harmless: the event is as well-formed with it as without.
    """

    path: Path
    value: Any
    harmless: bool = False


DROP = "(dropped)"


@dataclass(frozen=True)
class Sent:
    """One event of a case, and how it comes.

    Attributes:
        seconds: what its context says is left; None stands for no context.
        pause: seconds until the next event.
        at_once: the next event does not wait for the end of this one.
        damage: what is put in place of the stored record before it.
    """

    kind: str
    connection_id: str
    changes: tuple[Change, ...] = ()
    seconds: float | None = 1.0
    pause: float = 0.0
    at_once: bool = False
    damage: str | None = None

    @property
    def well_formed(self) -> bool:
        """Whether API Gateway could send this."""
        return self.kind in WEBSOCKET and all(change.harmless for change in self.changes)

    def event(self) -> Any:
        """Make the event."""
        event = _real(self.kind, self.connection_id)
        for change in self.changes:
            event = _changed(event, change)
        return event


def changes(random: Random, kind: str) -> tuple[Change, ...]:
    """Think of changes to an event; half of the time of none that do harm."""
    harmless = [_harmless(random, kind) for _ in range(random.choice((0, 0, 0, 1, 2)))]
    if random.random() < 0.6:
        return tuple(harmless)
    return (*harmless, *(_harmful(random, kind) for _ in range(random.choice((1, 1, 2, 4)))))


def _harmless(random: Random, kind: str) -> Change:
    options: list[Change] = [
        Change(("extra",), random.choice(JUNK), True),
        Change((CONTEXT, "extra"), random.choice(JUNK), True),
        Change((CONTEXT, "identity"), random.choice(({}, None, {"sourceIp": "::1"})), True),
        Change((CONTEXT, "connectedAt"), random.choice((0, -1, 10**15, None)), True),
        Change((CONTEXT, "requestTimeEpoch"), random.choice((0, 10**15, None, DROP)), True),
        Change((CONTEXT, "routeKey"), random.choice(("chat", "$default", None, DROP)), True),
        Change((CONTEXT, "authorizer"), random.choice(({"a": "b"}, None, {})), True),
        Change(("stageVariables",), random.choice(({}, None, {"a": "b"})), True),
    ]
    if kind == "connect":
        headers, query = random.choice(HEADERS), random.choice(QUERIES)
        options += [
            *(Change(("multiValueHeaders",), headers, True),) * 3,
            *(Change(("multiValueQueryStringParameters",), query, True),) * 3,
            Change(("multiValueHeaders",), random.choice((None, DROP)), True),
            Change(("headers",), random.choice((None, DROP)), True),
        ]
    if kind == "message":
        body = random.choice(BODIES)
        options += [Change(("body",), body, True), Change(("body",), random.choice((None, DROP)))]
    if kind == "disconnect":
        options += [
            Change(
                (CONTEXT, "disconnectStatusCode"), random.choice((None, DROP, 1001, 4999)), True
            ),
            Change((CONTEXT, "disconnectReason"), random.choice((None, DROP, "é" * 61)), True),
        ]
    if kind not in WEBSOCKET:
        return options[0]
    return random.choice(options)


def _harmful(random: Random, kind: str) -> Change:
    event = _real(kind, "QWErT_fALIAMCug=")
    options = [
        Change((CONTEXT, "connectionId"), random.choice(JUNK)),
        Change((CONTEXT, "eventType"), random.choice((*JUNK, "CONNECT", "MESSAGE", "DISCONNECT"))),
        Change(("isBase64Encoded",), random.choice((True, "yes", 1))),
        Change(("body",), random.choice(("!!!", "YQ", "YQ==\n", "é", base64.b64encode(b"\xff")))),
        Change((CONTEXT, random.choice(("apiId", "stage", "domainName"))), random.choice(STRINGS)),
        Change((), random.choice(JUNK)),
    ]
    anywhere = [place for place in _places(event) if place] or [("a",)]
    for value in (random.choice(JUNK), DROP, None):
        options += [Change(random.choice(anywhere), value)] * 3
    change = random.choice(options)
    if isinstance(change.value, bytes):
        change = change._replace(value=change.value.decode())
    return change


def _changed(event: Any, change: Change) -> Any:
    """Return an event with a change, or as it is where the change does not fit."""
    if not change.path:
        return copy.deepcopy(change.value)
    parent: Any = event
    *path, last = change.path
    for key in path:
        try:
            parent = parent[key]
        except (LookupError, TypeError):
            return event
    drop = isinstance(change.value, str) and change.value == DROP
    if isinstance(parent, dict) and drop:
        parent.pop(last, None)
    elif isinstance(parent, dict) or (isinstance(parent, list) and last in range(len(parent))):
        parent[last] = copy.deepcopy(change.value)  # type: ignore[index]
    return event


def _places(value: Any, path: Path = ()) -> list[Path]:
    """List the paths to every value inside a JSON value."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    return [path, *(place for key in keys for place in _places(value[key], (*path, key)))]


def _real(kind: str, connection_id: str) -> Any:
    match kind:
        case "connect":
            return connect_event(connection_id)
        case "message":
            return message_event("hi", connection_id)
        case "disconnect":
            return disconnect_event(connection_id)
        case "http":
            return _http()
        case "http v2":
            return _http_v2()
        case "sqs":
            return {"Records": [_part(connection_id), _part(connection_id)]}
        case "sweep":
            return {"longwire": "sweep", "rate": 50, "min_age": 0}
    return {}


def _part(connection_id: str) -> dict[str, Any]:
    """Return an SQS record that brings a part of a send to many."""
    body = {
        "longwire": 1,
        "id": "0123456789abcdef",
        "endpoint": "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod",
        "data": base64.b64encode(b"to many").decode(),
        "connections": [connection_id, "b" * 15 + "="],
    }
    return {
        "messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78",
        "receiptHandle": "x",
        "body": json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:sends",
        "awsRegion": "eu-west-1",
    }


def _http() -> dict[str, Any]:
    """Return the event of a REST API."""
    return {
        "resource": "/{proxy+}",
        "path": "/hello",
        "httpMethod": "GET",
        "headers": {"Host": "example.com"},
        "multiValueHeaders": {"Host": ["example.com"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"stage": "prod", "identity": {"sourceIp": "203.0.113.7"}},
        "body": None,
        "isBase64Encoded": False,
    }


def _http_v2() -> dict[str, Any]:
    """Return the event of an HTTP API or a function URL."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/hello",
        "rawQueryString": "a=b",
        "headers": {"host": "example.com"},
        "requestContext": {
            "domainName": "example.com",
            "http": {"method": "POST", "path": "/hello", "sourceIp": "203.0.113.7"},
            "stage": "$default",
        },
        "body": "aGk=",
        "isBase64Encoded": True,
    }
