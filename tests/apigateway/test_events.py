"""Lambda events as dataclasses: what API Gateway sends, and what others make of it."""

from __future__ import annotations

from typing import Any

import pytest

from longwire.apigateway.events import (
    ConnectEvent,
    DisconnectEvent,
    MessageEvent,
    is_websocket_event,
    parse,
)
from longwire.exceptions import EventError
from tests.lambda_events import connect_event, disconnect_event, message_event, recorded


def test_the_published_connect_event_is_read() -> None:
    """Headers keep their order, query parameters all their values."""
    event = parse(recorded("connect"))
    assert isinstance(event, ConnectEvent)
    assert event.context.connection_id == "QWErT_fALIAMCug="
    assert event.context.stage == "prod"
    assert event.context.api_id == "a1b2c3d4e5"
    assert event.context.connected_at == 1762868735513
    assert event.headers[0] == ("host", "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com")
    assert event.query == (("room", "blue"), ("tag", "a"), ("tag", "b"))


def test_the_published_message_event_is_read() -> None:
    """A message is its text."""
    event = parse(recorded("message"))
    assert isinstance(event, MessageEvent)
    assert event.body == '{"action":"chat","text":"hi"}'
    assert event.context.route_key == "$default"


def test_the_published_disconnect_event_is_read() -> None:
    """A disconnect has API Gateway's code and reason."""
    event = parse(recorded("disconnect"))
    assert isinstance(event, DisconnectEvent)
    assert (event.code, event.reason) == (1005, "Client-side close frame status not set")


def test_nulls_count_as_absent() -> None:
    """Events of 2019 and several emulators put null where others leave a key out."""
    raw = connect_event()
    raw["queryStringParameters"] = raw["multiValueQueryStringParameters"] = None
    raw["requestContext"]["messageId"] = raw["requestContext"]["identity"]["userAgent"] = None
    event = parse(raw)
    assert isinstance(event, ConnectEvent)
    assert event.query == ()


def test_headers_are_read_from_the_single_map_when_there_is_no_other() -> None:
    """Some emulators send only `headers`."""
    raw = connect_event()
    raw["headers"], raw["multiValueHeaders"] = {"Host": "a"}, None
    event = parse(raw)
    assert isinstance(event, ConnectEvent)
    assert event.headers == (("host", "a"),)


def test_a_message_without_a_body_is_empty_text() -> None:
    """A client may send an empty message, for which the body may be missing."""
    raw = message_event(None)
    event = parse(raw)
    assert isinstance(event, MessageEvent)
    assert event.body == ""


def test_a_base64_message_is_bytes() -> None:
    """CONVERT_TO_BINARY makes API Gateway decode the message."""
    event = parse(message_event("AP8=", base64=True))
    assert isinstance(event, MessageEvent)
    assert event.body == b"\x00\xff"


def test_a_disconnect_without_code_is_1005() -> None:
    """Both fields may be missing; ASGI's code for that is 1005."""
    event = parse(disconnect_event(code=None, reason=None))
    assert isinstance(event, DisconnectEvent)
    assert (event.code, event.reason) == (1005, "")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (recorded("connect"), True),
        ({"requestContext": {"eventType": "NOISE"}}, True),
        ({"requestContext": {"http": {"method": "GET"}}}, False),
        ({"requestContext": None}, False),
        ({"Records": []}, False),
        ({}, False),
        ([], False),
        (None, False),
        ("text", False),
    ],
)
def test_websocket_events_are_told_from_others(event: object, expected: bool) -> None:
    """Everything that names a connection or an event type is ours to judge."""
    assert is_websocket_event(event) is expected


def _context(**changes: Any) -> dict[str, Any]:
    raw = message_event("x")
    raw["requestContext"].update(changes)
    return raw


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            _context(eventType="NOISE"),
            "requestContext.eventType is 'NOISE'; expected CONNECT, MESSAGE or DISCONNECT",
        ),
        (
            _context(eventType=None),
            "requestContext.eventType is None; expected CONNECT, MESSAGE or DISCONNECT",
        ),
        (_context(connectionId=None), "requestContext.connectionId is missing"),
        (_context(connectionId=7), "requestContext.connectionId is a int; expected a string"),
        (_context(identity=[]), "requestContext.identity is a list; expected an object"),
        (_context(connectedAt="x"), "requestContext.connectedAt is a str; expected an integer"),
        ({**message_event("x"), "body": {"a": 1}}, "body is a dict; expected a string"),
        (
            message_event("%%%", base64=True),
            "body is not base64, though isBase64Encoded says so: ",
        ),
        (
            message_event("é", base64=True),
            "body is not base64, though isBase64Encoded says so: ",
        ),
        *(
            (_context(**{key: "\ud800"}), f"requestContext.{key} holds half of a surrogate pair")
            for key in ("connectionId", "routeKey", "stage", "apiId", "domainName")
        ),
        (
            _context(connectionId="longwire#ended#a"),
            "requestContext.connectionId is 'longwire#ended#a'; no API has such ids",
        ),
        (
            {**connect_event(), "multiValueHeaders": {"a": [1]}},
            "multiValueHeaders['a'] holds a int; expected a string",
        ),
        (
            connect_event(query={"a": ["\ud800"]}),
            "multiValueQueryStringParameters['a'] holds half of a surrogate pair",
        ),
        (
            {**connect_event(), "multiValueHeaders": "no"},
            "multiValueHeaders is a str; expected an object",
        ),
    ],
)
def test_malformed_events_say_what_is_wrong(event: dict[str, Any], text: str) -> None:
    """The error names the field, what it is and what was expected."""
    with pytest.raises(EventError) as caught:
        parse(event)
    assert str(caught.value).startswith(text)
