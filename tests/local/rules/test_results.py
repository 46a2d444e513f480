"""What the function's answer means."""

import json

import pytest

from longwire.apigateway.responses import MalformedResultError, parse_result
from longwire.local.rules.results import (
    HandshakeAccepted,
    HandshakeRefused,
    Outcome,
    Raised,
    Returned,
    TimedOut,
    connect_verdict,
    message_reply,
)

MALFORMED: list[tuple[object, str]] = [
    (None, "expected a dict, got NoneType"),
    ("200", "expected a dict, got str"),
    ([], "expected a dict, got list"),
    ({}, "statusCode: expected an int of 200 to 599, got None"),
    ({"statusCode": "200"}, "statusCode: expected an int of 200 to 599, got '200'"),
    ({"statusCode": True}, "statusCode: expected an int of 200 to 599, got True"),
    ({"statusCode": 101}, "statusCode: expected an int of 200 to 599, got 101"),
    ({"statusCode": 600}, "statusCode: expected an int of 200 to 599, got 600"),
    ({"statusCode": 200, "ConnectionId": "x", "Data": "y"}, "unknown keys: ConnectionId, Data"),
    ({"statusCode": 200, "cookies": []}, "unknown keys: cookies"),
    ({"statusCode": 200, 1: 2}, "unknown keys: 1"),
    ({"statusCode": 200, "body": {"a": 1}}, "body: expected a string, got dict"),
    ({"statusCode": 200, "body": b"x"}, "body: expected a string, got bytes"),
    ({"statusCode": 200, "isBase64Encoded": "no"}, "isBase64Encoded: expected true or false"),
    ({"statusCode": 200, "headers": ["a"]}, "headers and multiValueHeaders: expected a dict"),
    ({"statusCode": 200, "headers": {"a": 1}}, "headers: expected strings"),
    ({"statusCode": 200, "headers": {1: "a"}}, "headers: expected strings"),
    (
        {"statusCode": 200, "multiValueHeaders": {"a": "b"}},
        "multiValueHeaders: expected lists of strings",
    ),
    ({"statusCode": 200, "multiValueHeaders": {"a": [1]}}, "headers: expected strings"),
]


@pytest.mark.parametrize(("value", "text"), MALFORMED)
def test_malformed_results_say_what_is_wrong(value: object, text: str) -> None:
    """One unknown key or one wrong type makes the whole response malformed."""
    with pytest.raises(MalformedResultError) as caught:
        parse_result(value)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "value",
    [
        {"statusCode": 200},
        {"statusCode": 200, "headers": None, "multiValueHeaders": None, "body": None},
        {"statusCode": 200, "headers": {}, "multiValueHeaders": {"a": []}, "body": ""},
        {"statusCode": 200, "isBase64Encoded": False},
    ],
)
def test_all_but_the_status_is_optional(value: object) -> None:
    """Absent, null and empty are the same."""
    assert connect_verdict(Returned(value)) == HandshakeAccepted()


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_accepts(status: int) -> None:
    """200 is not the only one."""
    assert connect_verdict(Returned({"statusCode": status})) == HandshakeAccepted()


@pytest.mark.parametrize("status", [300, 301, 400, 401, 403, 418, 500, 501, 599])
def test_any_other_status_reaches_the_client(status: int) -> None:
    """It is passed on unchanged."""
    assert connect_verdict(Returned({"statusCode": status})) == HandshakeRefused(status)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Raised(ValueError()), 502), (Returned(None), 502), (TimedOut(), 504)],
)
def test_a_failed_connect_is_refused(outcome: Outcome, status: int) -> None:
    """502 for an error or a malformed result, 504 for none in time."""
    assert connect_verdict(outcome) == HandshakeRefused(status)


@pytest.mark.parametrize(
    "result",
    [
        {"headers": {"Sec-WebSocket-Protocol": "chat"}},
        {"headers": {"sec-websocket-protocol": " chat "}},
        {"multiValueHeaders": {"SEC-WEBSOCKET-PROTOCOL": ["chat"]}},
        {"headers": {"X": "y"}, "multiValueHeaders": {"sec-websocket-protocol": ["chat"]}},
    ],
)
def test_subprotocol_is_the_returned_header(result: dict[str, object]) -> None:
    """In any case, in either map, stripped."""
    assert connect_verdict(Returned({"statusCode": 200} | result)) == HandshakeAccepted("chat")


def test_an_empty_subprotocol_is_none() -> None:
    """An empty header names no subprotocol."""
    result = {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": ""}}
    assert connect_verdict(Returned(result)) == HandshakeAccepted(None)


def reply(outcome: Outcome, *, route_responses: bool = False) -> bytes | None:
    return message_reply(
        outcome, connection_id="c=", request_id="r=", route_responses=route_responses
    )


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Raised(ValueError("secret")), "Internal server error"),
        (Returned({"ConnectionId": "x", "Data": "y", "statusCode": 200}), "Internal server error"),
        (Returned(None), "Internal server error"),
        (TimedOut(), "Endpoint request timed out"),
    ],
)
def test_a_failed_message_is_answered_with_a_frame(outcome: Outcome, message: str) -> None:
    """The frame names the connection and the request, and nothing of the error."""
    frame = reply(outcome)
    assert frame is not None
    assert json.loads(frame) == {"message": message, "connectionId": "c=", "requestId": "r="}


@pytest.mark.parametrize("status", [200, 201, 301, 401, 501])
def test_status_and_body_of_a_message_have_no_effect(status: int) -> None:
    """Without a route response API Gateway sends nothing back."""
    assert reply(Returned({"statusCode": status, "body": "hello"})) is None


@pytest.mark.parametrize(("body", "frame"), [("hé", "hé".encode()), ("", b""), (None, b"")])
def test_a_route_response_sends_the_body(body: str | None, frame: bytes) -> None:
    """An empty body is an empty frame."""
    assert reply(Returned({"statusCode": 200, "body": body}), route_responses=True) == frame
