"""One readable line for each event."""

from datetime import datetime
from typing import Any

import pytest

from longwire.local.cli.console import event_line
from longwire.local.rules.results import (
    HandshakeAccepted,
    HandshakeRefused,
    Outcome,
    Raised,
    Returned,
    TimedOut,
)
from longwire.local.session import HandledEvent

NOON = datetime(2025, 11, 11, 13, 45, 46)


def event(event_type: str, route_key: str, **context: Any) -> dict[str, Any]:
    return {
        "body": "a secret",
        "queryStringParameters": {"token": "a secret"},
        "requestContext": {
            "eventType": event_type,
            "routeKey": route_key,
            "connectionId": "QWErT_fALIAMCug=",
            **context,
        },
    }


OK = Returned({"statusCode": 200})
CONNECT = event("CONNECT", "$connect")
MESSAGE = event("MESSAGE", "$default")
DISCONNECT = event(
    "DISCONNECT", "$disconnect", disconnectStatusCode=1001, disconnectReason="Going away"
)


@pytest.mark.parametrize(
    ("invocation", "line"),
    [
        (
            HandledEvent(CONNECT, OK, 0.0123, 0, HandshakeAccepted()),
            "13:45:46  CONNECT     QWErT_fA  $connect     200  12.3 ms",
        ),
        (
            HandledEvent(CONNECT, Returned({"statusCode": 401}), 0.001, 0, HandshakeRefused(401)),
            "13:45:46  CONNECT     QWErT_fA  $connect     401, client gets 401  1.0 ms",
        ),
        (
            HandledEvent(CONNECT, Returned({"statusCode": 403}), 0.001, 0, HandshakeRefused(403)),
            "13:45:46  CONNECT     QWErT_fA  $connect     403, client gets 403 (no ?path=)  1.0 ms",
        ),
        (
            HandledEvent(MESSAGE, OK, 0.001, 1),
            "13:45:46  MESSAGE     QWErT_fA  $default     200  1.0 ms  1 post",
        ),
        (
            HandledEvent(MESSAGE, OK, 0.001, 12),
            "13:45:46  MESSAGE     QWErT_fA  $default     200  1.0 ms  12 posts",
        ),
        (
            HandledEvent(DISCONNECT, OK, 0.001, 0),
            "13:45:46  DISCONNECT  QWErT_fA  $disconnect  200  1.0 ms  1001 Going away",
        ),
        (
            HandledEvent(event("MESSAGE", ""), None, 0.0, 0),
            "13:45:46  MESSAGE     QWErT_fA  -            "
            "Forbidden: no route for this message  0.0 ms",
        ),
    ],
)
def test_event_line(invocation: HandledEvent, line: str) -> None:
    """Time, type, connection, route, outcome, duration, posts; nothing of what was said."""
    assert event_line(invocation, NOON) == line


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Raised(ValueError("a secret")), "raised ValueError"),
        (TimedOut(), "timed out"),
        (Returned(None), "malformed (expected a dict, got NoneType)"),
    ],
)
def test_failures_are_named(outcome: Outcome, text: str) -> None:
    """A malformed result says what is wrong with it."""
    line = event_line(HandledEvent(MESSAGE, outcome, 0.0, 0), NOON)
    assert line == f"13:45:46  MESSAGE     QWErT_fA  $default     {text}  0.0 ms"
