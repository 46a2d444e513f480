"""What an HTTP API makes of a function's answer."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from longwire.local.rules.errors import FunctionTimeoutError, ThrottledError
from longwire.local.rules.http_results import (
    INTERNAL_SERVER_ERROR,
    SERVICE_UNAVAILABLE,
    HTTPResponse,
    MalformedHTTPResultError,
    http_response,
    parse_http_result,
)
from longwire.local.rules.results import Raised, Returned, TimedOut

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("Hello from Lambda!", b"Hello from Lambda!"),
        ("", b""),
        ({"message": "hä"}, '{"message": "hä"}'.encode()),
        ({"body": "no status"}, b'{"body": "no status"}'),
        ([1, 2], b"[1, 2]"),
        (7, b"7"),
        (None, b"null"),
    ],
)
def test_without_a_status_the_answer_is_what_was_returned(value: object, body: bytes) -> None:
    """It is JSON, and all is well."""
    assert parse_http_result(value, "GET") == HTTPResponse(200, (JSON,), body)


@pytest.mark.parametrize(
    ("value", "response"),
    [
        ({"statusCode": 201, "body": "hä"}, HTTPResponse(201, (TEXT,), "hä".encode())),
        ({"statusCode": 204}, HTTPResponse(204, ())),
        ({"statusCode": 200, "body": None, "headers": None}, HTTPResponse(200, (TEXT,))),
        (
            {
                "statusCode": 200,
                "headers": {"Content-Type": "image/png", "X-N": 1, "X-B": True, "X-None": None},
                "body": base64.b64encode(b"\x89PNG").decode(),
                "isBase64Encoded": True,
            },
            HTTPResponse(
                200, (("content-type", "image/png"), ("x-n", "1"), ("x-b", "true")), b"\x89PNG"
            ),
        ),
        (
            {
                "statusCode": 302,
                "headers": {"location": " /x ", "set-cookie": "c=3"},
                "cookies": ["a=1; Path=/", "b=2"],
            },
            HTTPResponse(
                302,
                (
                    ("set-cookie", "a=1; Path=/"),
                    ("set-cookie", "b=2"),
                    TEXT,
                    ("location", "/x"),
                    ("set-cookie", "c=3"),
                ),
            ),
        ),
        (
            {
                "statusCode": 200,
                "headers": {
                    "content-length": "99",
                    "connection": "close",
                    "Transfer-Encoding": "chunked",
                },
                "body": "x",
                "multiValueHeaders": {"of": ["format 1.0"]},
                "anything": "else",
            },
            HTTPResponse(200, (TEXT,), b"x"),
        ),
    ],
)
def test_with_a_status_it_is_in_parts(value: object, response: HTTPResponse) -> None:
    """What has no meaning in format 2.0 is passed over."""
    assert parse_http_result(value, "GET") == response


def test_a_head_keeps_the_length_that_a_get_would_have() -> None:
    """If there is no body that tells it."""
    answer = {"statusCode": 200, "headers": {"Content-Length": "99", "content-type": "a/b"}}
    kept = (("content-length", "99"), ("content-type", "a/b"))
    assert parse_http_result(answer, "HEAD").headers == kept
    assert parse_http_result(answer, "GET").headers == kept[1:]
    assert parse_http_result(answer | {"body": "x"}, "HEAD").headers == kept[1:]


MALFORMED: list[Any] = [
    {"statusCode": "ok"},
    {"statusCode": True},
    {"statusCode": 99},
    {"statusCode": 101},
    {"statusCode": 600},
    {"statusCode": 200.5},
    {"statusCode": 200, "body": {"a": 1}},
    {"statusCode": 200, "body": b"bytes"},
    {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
    {"statusCode": 200, "body": "ä", "isBase64Encoded": True},
    {"statusCode": 200, "isBase64Encoded": "true"},
    {"statusCode": 200, "headers": ["a"]},
    {"statusCode": 200, "headers": {"a": ["1", "2"]}},
    {"statusCode": 200, "headers": {"a b": "1"}},
    {"statusCode": 200, "headers": {"": "1"}},
    {"statusCode": 200, "headers": {1: "1"}},
    {"statusCode": 200, "headers": {"a": "1\r\nb: 2"}},
    {"statusCode": 200, "headers": {"a": "\x00"}},
    {"statusCode": 200, "cookies": "a=1"},
    {"statusCode": 200, "cookies": [["a=1"]]},
    {"statusCode": 200, "cookies": ["a=1\nb"]},
    {"statusCode": 200, "body": "a" * 6_300_000},
    {"statusCode": 200, "body": "\x01" * 1_100_000},
    "a" * 6_300_000,
    object(),
    b"not JSON",
    {1, 2},
]


@pytest.mark.parametrize("value", MALFORMED, ids=[str(number) for number in range(len(MALFORMED))])
def test_what_an_http_api_does_not_take(value: object) -> None:
    """The client gets a 500, and whoever looks gets to know why."""
    with pytest.raises(MalformedHTTPResultError):
        parse_http_result(value, "GET")
    assert http_response(Returned(value), "GET") == INTERNAL_SERVER_ERROR


def test_six_megabytes_fit() -> None:
    """As Lambda counts them, with what is around the body."""
    fits = {"statusCode": 200, "body": "a" * 6_291_000}
    assert len(parse_http_result(fits, "GET").body) == 6_291_000


@pytest.mark.parametrize(
    ("outcome", "response", "status", "body"),
    [
        (TimedOut(), SERVICE_UNAVAILABLE, 503, b'{"message":"Service Unavailable"}'),
        (Raised(ThrottledError()), SERVICE_UNAVAILABLE, 503, b'{"message":"Service Unavailable"}'),
        (
            Raised(FunctionTimeoutError()),
            INTERNAL_SERVER_ERROR,
            500,
            b'{"message":"Internal Server Error"}',
        ),
        (
            Raised(KeyError("secret")),
            INTERNAL_SERVER_ERROR,
            500,
            b'{"message":"Internal Server Error"}',
        ),
    ],
)
def test_errors_are_as_aws_shows_them(
    outcome: TimedOut | Raised, response: HTTPResponse, status: int, body: bytes
) -> None:
    """They say nothing of the app."""
    assert http_response(outcome, "GET") == response
    assert (response.status, response.headers, response.body) == (status, (JSON,), body)
