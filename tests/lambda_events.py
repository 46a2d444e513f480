"""API Gateway's events, as published samples show them, with changes where a test wants them."""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EVENTS = Path(__file__).parent / "events"

ENDPOINT = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"


def recorded(name: str) -> dict[str, Any]:
    """Return the sample event "connect", "message" or "disconnect" as it was recorded."""
    event: dict[str, Any] = json.loads(_text(name))
    return event


@functools.cache
def _text(name: str) -> str:
    return (EVENTS / f"{name}.json").read_text()


def connect_event(
    connection_id: str = "QWErT_fALIAMCug=",
    *,
    headers: dict[str, list[str]] | None = None,
    query: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """Return a CONNECT event without an authorizer."""
    event = _about(recorded("connect"), connection_id)
    if headers is not None:
        event["multiValueHeaders"] = headers
        event["headers"] = {name: values[-1] for name, values in headers.items()}
    for key in ("queryStringParameters", "multiValueQueryStringParameters"):
        del event[key]  # absent, not null, when the client sends no query
    if query is not None:
        event["multiValueQueryStringParameters"] = query
        event["queryStringParameters"] = {name: values[-1] for name, values in query.items()}
    return event


def message_event(
    body: str | None, connection_id: str = "QWErT_fALIAMCug=", *, base64: bool = False
) -> dict[str, Any]:
    """Return a MESSAGE event; its connection is not young any more."""
    event = _about(recorded("message"), connection_id)
    event["body"], event["isBase64Encoded"] = body, base64
    return event


def disconnect_event(
    connection_id: str = "QWErT_fALIAMCug=", code: int | None = 1005, reason: str | None = ""
) -> dict[str, Any]:
    """Return a DISCONNECT event."""
    event = _about(recorded("disconnect"), connection_id)
    event["requestContext"]["disconnectStatusCode"] = code
    event["requestContext"]["disconnectReason"] = reason
    return event


def _about(event: dict[str, Any], connection_id: str) -> dict[str, Any]:
    event["requestContext"]["connectionId"] = connection_id
    event["requestContext"].pop("authorizer", None)
    return event


@dataclass
class LambdaContext:
    """Lambda's context object, with some seconds left."""

    seconds: float = 20.0
    started: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.started + self.seconds - time.monotonic()) * 1000))
