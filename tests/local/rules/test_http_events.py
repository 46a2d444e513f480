"""The events of an HTTP API, payload format 2.0, as captured ones are."""

from __future__ import annotations

import base64

import pytest

from longwire.local.rules.events import EventStamp
from longwire.local.rules.http_events import (
    BODY_LIMIT,
    HEAD_LIMIT,
    HTTPRequest,
    http_event,
    is_too_large,
    refusal,
)
from longwire.local.rules.settings import GatewaySettings

SETTINGS = GatewaySettings(forwarded_proto="http")
STAMP = EventStamp("R2MxLBNH3wou5kM=", 1_796_000_000_000)


def request(
    target: str = "/",
    *headers: tuple[str, str],
    method: str = "GET",
    body: bytes = b"",
) -> HTTPRequest:
    host = () if any(name.lower() == "host" for name, _ in headers) else (("Host", "localhost"),)
    return HTTPRequest(method, target, (*host, *headers), body, "127.0.0.1", 3000)


def event(
    target: str = "/", *headers: tuple[str, str], method: str = "GET", body: bytes = b""
) -> dict[str, object]:
    asked = request(target, *headers, method=method, body=body)
    return dict(http_event(SETTINGS, asked, STAMP, trace_id="Root=1-2-3"))


def test_a_whole_event() -> None:
    """All keys of one, and no others."""
    assert event(
        "/my/path?a=1&a=2&b=&c=x%20y",
        ("User-Agent", "curl/8"),
        ("X-Many", "1"),
        ("x-many", "2,3"),
        ("Cookie", "a=1; b=2"),
        ("cookie", "c=3"),
        ("Content-Type", "application/json; charset=utf-8"),
        ("Connection", "keep-alive"),
        ("Transfer-Encoding", "chunked"),
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Proto", "gopher"),
        method="POST",
        body='{"ä": 1}'.encode(),
    ) == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/my/path",
        "rawQueryString": "a=1&a=2&b=&c=x%20y",
        "cookies": ["a=1", "b=2", "c=3"],
        "headers": {
            "content-length": "9",
            "content-type": "application/json; charset=utf-8",
            "host": "localhost",
            "user-agent": "curl/8",
            "x-amzn-trace-id": "Root=1-2-3",
            "x-forwarded-for": "198.51.100.7, 127.0.0.1",
            "x-forwarded-port": "3000",
            "x-forwarded-proto": "http",
            "x-many": "1,2,3",
        },
        "queryStringParameters": {"a": "1,2", "b": "", "c": "x y"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "local.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "local",
            "http": {
                "method": "POST",
                "path": "/my/path",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "curl/8",
            },
            "requestId": "R2MxLBNH3wou5kM=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "30/Nov/2026:00:53:20 +0000",
            "timeEpoch": 1_796_000_000_000,
        },
        "body": '{"ä": 1}',
        "isBase64Encoded": False,
    }


def test_what_has_no_value_is_absent() -> None:
    """A plain GET has neither cookies nor a query nor a body."""
    assert not {"cookies", "queryStringParameters", "body"} & event().keys()
    assert event()["rawQueryString"] == ""


@pytest.mark.parametrize(
    ("kind", "is_text"),
    [
        ("text/plain", True),
        ("text/html; charset=iso-8859-1", True),
        ("TEXT/CSV", True),
        ("application/json", True),
        ("application/xml", True),
        ("application/javascript", True),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("application/vnd.api+json", False),
        ("image/png", False),
        ("", False),
    ],
)
def test_what_is_no_text_comes_in_base64(kind: str, is_text: bool) -> None:
    """A form, too, and what does not say what it is."""
    headers = [("Content-Type", kind)] if kind else []
    posted = event("/", *headers, method="POST", body=b"a=b")
    assert posted["isBase64Encoded"] is not is_text
    assert posted["body"] == ("a=b" if is_text else base64.b64encode(b"a=b").decode())


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a%20b/%C3%A4", "/a b/ä", ""),
        ("/a%2Fb%23c", "/a/b#c", ""),
        ("/a+b", "/a+b", ""),
        ("/100%25", "/100%", ""),
        ("/a%3Fb?c=1", "/a", "c=1"),
        ("//twice", "//twice", ""),
        ("/?", "/", ""),
        ("http://localhost:3000/a?b=c", "/a", "b=c"),
        ("http://localhost:3000", "/", ""),
    ],
)
def test_the_path_is_decoded_and_the_query_is_not(target: str, path: str, query: str) -> None:
    """Raw as it is called, the path ends at what has become a question mark."""
    asked = event(target)
    assert (asked["rawPath"], asked["rawQueryString"]) == (path, query)


def test_a_number_of_ipv6_is_no_host_name() -> None:
    """Mangum takes a host apart at its only colon."""
    assert event("/", ("Host", "[::1]:3000"))["headers"]["host"] == "localhost:3000"  # type: ignore[index]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(), None),
        (request(body=bytes(BODY_LIMIT)), None),
        (request(body=bytes(BODY_LIMIT + 1)), 413),
        (request("/" + "a" * HEAD_LIMIT), 414),
        (request("/", ("X-A", "a" * (HEAD_LIMIT - 100))), None),
        (request("/", ("X-A", "a" * 5000), ("X-B", "b" * 5300)), 431),
        (request("localhost:443", method="CONNECT"), 400),
        (request("*", method="OPTIONS"), 400),
        (request("http://["), 400),
    ],
)
def test_what_the_function_is_not_asked_about(asked: HTTPRequest, status: int | None) -> None:
    """Each has its status."""
    assert refusal(asked) == status
    assert http_event(SETTINGS, asked, STAMP, trace_id="t")["version"] == "2.0"  # for who looks on


def test_lambda_takes_less_than_the_api() -> None:
    """Six megabytes with all that is around a body, and base64 makes it longer."""
    text = ("content-type", "text/plain")
    assert not is_too_large(event("/", text, body=b"a" * 6_200_000))
    assert is_too_large(event("/", text, body=b"a" * 6_300_000))
    assert not is_too_large(event("/", body=bytes(4_600_000)))
    assert is_too_large(event("/", body=bytes(4_800_000)))
    assert is_too_large(event("/", text, body=b"\x01" * 1_100_000))
