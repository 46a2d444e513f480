"""The events, compared with ones written by hand from captured ones."""

from typing import Any

import pytest

from longwire.local.rules.connection import (
    DELETED,
    NO_STATUS,
    ClientHandshake,
    CloseStatus,
    LocalConnection,
)
from longwire.local.rules.events import EventStamp, connect_event, disconnect_event, message_event
from longwire.local.rules.settings import GatewaySettings

HOST = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64) Firefox/146.0"
SETTINGS = GatewaySettings(stage="prod", api_id="a1b2c3d4e5", domain_name=HOST)
TRACE_ID = "Root=1-6731ebfc-08e1e656421db73c5d2eef31"

BROWSER = (
    ("Host", HOST),
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Content-Length", "0"),
    ("Origin", "https://app.example.com"),
    ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "chat.v2, chat.v1"),
    ("Sec-WebSocket-Version", "13"),
    ("User-Agent", FIREFOX),
)


def connection(
    *headers: tuple[str, str], query: str = "", connected_at: int = 1762868735513
) -> LocalConnection:
    return LocalConnection(
        "QWErT_fALIAMCug=",
        ClientHandshake(headers, query, "203.0.113.7"),
        connected_at=connected_at,
        last_active_at=connected_at,
    )


def connect(*headers: tuple[str, str], query: str = "") -> dict[str, Any]:
    request = EventStamp("QWEr5E87IAMF31w=", 1762868735516)
    return connect_event(SETTINGS, connection(*headers, query=query), request, trace_id=TRACE_ID)


def test_connect_event() -> None:
    """Every key of a browser's CONNECT, and no other."""
    assert connect(*BROWSER, query="room=blue&tag=a&tag=b") == {
        "headers": {
            "Host": HOST,
            "Origin": "https://app.example.com",
            "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol": "chat.v2, chat.v1",
            "Sec-WebSocket-Version": "13",
            "User-Agent": FIREFOX,
            "X-Amzn-Trace-Id": TRACE_ID,
            "X-Forwarded-For": "203.0.113.7",
            "X-Forwarded-Port": "443",
            "X-Forwarded-Proto": "https",
        },
        "multiValueHeaders": {
            "Host": [HOST],
            "Origin": ["https://app.example.com"],
            "Sec-WebSocket-Extensions": ["permessage-deflate; client_max_window_bits"],
            "Sec-WebSocket-Key": ["dGhlIHNhbXBsZSBub25jZQ=="],
            "Sec-WebSocket-Protocol": ["chat.v2, chat.v1"],
            "Sec-WebSocket-Version": ["13"],
            "User-Agent": [FIREFOX],
            "X-Amzn-Trace-Id": [TRACE_ID],
            "X-Forwarded-For": ["203.0.113.7"],
            "X-Forwarded-Port": ["443"],
            "X-Forwarded-Proto": ["https"],
        },
        "queryStringParameters": {"room": "blue", "tag": "b"},
        "multiValueQueryStringParameters": {"room": ["blue"], "tag": ["a", "b"]},
        "requestContext": {
            "routeKey": "$connect",
            "eventType": "CONNECT",
            "extendedRequestId": "QWEr5E87IAMF31w=",
            "requestTime": "11/Nov/2025:13:45:35 +0000",
            "messageDirection": "IN",
            "stage": "prod",
            "connectedAt": 1762868735513,
            "requestTimeEpoch": 1762868735516,
            "identity": {"userAgent": FIREFOX, "sourceIp": "203.0.113.7"},
            "requestId": "QWEr5E87IAMF31w=",
            "domainName": HOST,
            "connectionId": "QWErT_fALIAMCug=",
            "apiId": "a1b2c3d4e5",
        },
        "isBase64Encoded": False,
    }


def test_message_event() -> None:
    """A MESSAGE has no headers and no query, and its own id beside the request's."""
    event = message_event(
        SETTINGS,
        connection(*BROWSER, query="room=blue"),
        EventStamp("QWEaVtH2IAMFZEQ=", 1762868746514),
        route_key="$default",
        message_id="QWEaVtfGLIAMCug=",
        body='{"action":"chat","text":"hi"}',
    )
    assert event == {
        "requestContext": {
            "routeKey": "$default",
            "messageId": "QWEaVtfGLIAMCug=",
            "eventType": "MESSAGE",
            "extendedRequestId": "QWEaVtH2IAMFZEQ=",
            "requestTime": "11/Nov/2025:13:45:46 +0000",
            "messageDirection": "IN",
            "stage": "prod",
            "connectedAt": 1762868735513,
            "requestTimeEpoch": 1762868746514,
            "identity": {"userAgent": FIREFOX, "sourceIp": "203.0.113.7"},
            "requestId": "QWEaVtH2IAMFZEQ=",
            "domainName": HOST,
            "connectionId": "QWErT_fALIAMCug=",
            "apiId": "a1b2c3d4e5",
        },
        "body": '{"action":"chat","text":"hi"}',
        "isBase64Encoded": False,
    }


def test_disconnect_event() -> None:
    """A DISCONNECT has four stub headers, and the client's user agent only if it sent one."""
    event = disconnect_event(
        SETTINGS, connection(), EventStamp("QWEbOE87IAMF31w=", 1762869109875), NO_STATUS
    )
    assert event == {
        "headers": {"Host": HOST, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""},
        "multiValueHeaders": {
            "Host": [HOST],
            "x-api-key": [""],
            "X-Forwarded-For": [""],
            "x-restapi": [""],
        },
        "requestContext": {
            "routeKey": "$disconnect",
            "disconnectStatusCode": 1005,
            "eventType": "DISCONNECT",
            "extendedRequestId": "QWEbOE87IAMF31w=",
            "requestTime": "11/Nov/2025:13:51:49 +0000",
            "messageDirection": "IN",
            "disconnectReason": "Client-side close frame status not set",
            "stage": "prod",
            "connectedAt": 1762868735513,
            "requestTimeEpoch": 1762869109875,
            "identity": {"sourceIp": "203.0.113.7"},
            "requestId": "QWEbOE87IAMF31w=",
            "domainName": HOST,
            "connectionId": "QWErT_fALIAMCug=",
            "apiId": "a1b2c3d4e5",
        },
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize("ending", [DELETED, CloseStatus(1001, ""), CloseStatus(4000, "bye")])
def test_disconnect_event_has_code_and_reason(ending: CloseStatus) -> None:
    """The client's own code and reason; the reason may be empty but is never absent."""
    context = disconnect_event(SETTINGS, connection(), EventStamp("r", 0), ending)["requestContext"]
    assert context["disconnectStatusCode"] == ending.code
    assert context["disconnectReason"] == ending.reason


def test_no_query_means_no_query_keys() -> None:
    """The keys are absent, not null."""
    event = connect(("Host", "x"))
    assert "queryStringParameters" not in event
    assert "multiValueQueryStringParameters" not in event


def test_no_user_agent_means_no_user_agent_key() -> None:
    """Many clients that are not browsers send none."""
    assert connect(("Host", "x"))["requestContext"]["identity"] == {"sourceIp": "203.0.113.7"}


def test_query_values_are_decoded() -> None:
    """Percent signs, plus signs, empty values and repeats; of repeats the last one is single."""
    event = connect(query="a=%C3%A9+b&a=&flag&%26=%3D")
    assert event["multiValueQueryStringParameters"] == {"a": ["é b", ""], "flag": [""], "&": ["="]}
    assert event["queryStringParameters"] == {"a": "", "flag": "", "&": "="}


def test_repeated_headers_keep_order_and_first_spelling() -> None:
    """All values are in the multi map, the last one in the single map."""
    event = connect(("X-Tag", "1"), ("cookie", "a=1"), ("x-tag", "2"))
    assert event["multiValueHeaders"]["X-Tag"] == ["1", "2"]
    assert event["headers"]["X-Tag"] == "2"
    assert event["headers"]["cookie"] == "a=1"
    assert "x-tag" not in event["headers"]


def test_headers_are_in_the_order_of_captured_events() -> None:
    """By name, in any case, whatever the client's order; its repeats stay in theirs."""
    event = connect(
        ("User-Agent", FIREFOX),
        ("sec-websocket-version", "13"),
        ("X-Tag", "2"),
        ("origin", "https://app.example.com"),
        ("x-tag", "1"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Host", HOST),
        ("X-Tag", "3"),
    )
    names = [
        *("Host", "origin", "Sec-WebSocket-Key", "sec-websocket-version", "User-Agent"),
        *("X-Amzn-Trace-Id", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Tag"),
    ]
    assert list(event["headers"]) == names
    assert list(event["multiValueHeaders"]) == names
    assert event["multiValueHeaders"]["X-Tag"] == ["2", "1", "3"]


def test_a_client_cannot_forge_how_it_was_forwarded() -> None:
    """X-Forwarded-For grows at its end; port, protocol and trace id are the gateway's own."""
    event = connect(
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-proto", "ftp"),
        ("x-amzn-trace-id", "forged"),
    )
    assert event["headers"] == {
        "X-Amzn-Trace-Id": TRACE_ID,
        "X-Forwarded-For": "198.51.100.1, 203.0.113.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
