"""The event that an HTTP API invokes a Lambda function with, in payload format 2.0.

The API has one route, `$default`, and one stage, `$default`, which is no part of any path. Which
keys an event has is as in captured ones; a key without a value is absent, not null.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from longwire.local.rules.events import REPLACED, EventStamp, by_name, common_log_time
from longwire.local.rules.settings import DEFAULT, PAYLOAD_LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.local.rules.settings import GatewaySettings
    from longwire.types import LambdaEvent

# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
BODY_LIMIT = 10 * 1024 * 1024
HEAD_LIMIT = 10_240  # bytes of the request line and all header values together

# What is of one connection alone (RFC 9110, section 7.6.1), and what the gateway itself says.
OF_ONE_CONNECTION = {
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# Cookies have a place of their own.
_DROPPED = OF_ONE_CONNECTION | REPLACED | {"cookie", "expect"}
# AWS names no list of what it takes as text besides `text/*`. This one was found by trying.
_TEXT = {"application/javascript", "application/json", "application/xml"}


class HTTPRequest(NamedTuple):
    """An HTTP request; method, target and headers are as on the wire."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    source_ip: str
    port: int  # that it came to
    scheme: str = "http"

    def header(self, name: str) -> str:
        """Return the values of a header, found in any case, joined with commas."""
        return ",".join(value for key, value in self.headers if key.lower() == name)


def refusal(request: HTTPRequest) -> int | None:
    """Return the status of a request that the function is not asked about; None if it is."""
    line = len(request.method) + len(request.target) + len("  HTTP/1.1")
    if line > HEAD_LIMIT:
        return 414
    if line + sum(len(value) for _, value in request.headers) > HEAD_LIMIT:
        return 431
    if len(request.body) > BODY_LIMIT:
        return 413
    return None if _origin_form(request.target).startswith("/") else 400


def http_event(
    settings: GatewaySettings, request: HTTPRequest, stamp: EventStamp, *, trace_id: str
) -> LambdaEvent:
    """Build the event."""
    path, _, query = _origin_form(request.target).partition("?")
    # It is decoded, whatever its name says, and ends at what has become a question mark.
    path = unquote(path).partition("?")[0]
    event: LambdaEvent = {
        "version": "2.0",
        "routeKey": DEFAULT,
        "rawPath": path,
        "rawQueryString": query,
        "headers": _headers(request, trace_id),
        "requestContext": {
            "accountId": settings.account_id,
            "apiId": settings.api_id,
            "domainName": settings.domain_name,
            "domainPrefix": settings.domain_name.partition(".")[0],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": request.header("user-agent"),
            },
            "requestId": stamp.request_id,
            "routeKey": DEFAULT,
            "stage": DEFAULT,
            "time": common_log_time(stamp.time),
            "timeEpoch": stamp.time,
        },
        "isBase64Encoded": False,
    }
    if cookies := _cookies(request):
        event["cookies"] = cookies
    if parameters := _parameters(query):
        event["queryStringParameters"] = parameters
    if request.body:
        event["isBase64Encoded"] = is_binary = not _is_text(request.header("content-type"))
        event["body"] = (
            base64.b64encode(request.body).decode()
            if is_binary
            else request.body.decode(errors="replace")
        )
    return event


def is_too_large(event: LambdaEvent) -> bool:
    """Tell whether Lambda does not take an event, though the API has taken the request."""
    # Its text takes six characters for one, at most.
    if len(event.get("body", "")) < PAYLOAD_LIMIT // 6 - 2 * HEAD_LIMIT:
        return False
    return len(json.dumps(event, ensure_ascii=False).encode()) > PAYLOAD_LIMIT


def path_of(request: HTTPRequest) -> str:
    """Return the path as the client wrote it, for logs."""
    return _origin_form(request.target).partition("?")[0]


def _origin_form(target: str) -> str:
    """Return a target as paths begin it, also if it was a whole URL, as for a proxy."""
    if not target.lower().startswith(("http://", "https://")):
        return target
    try:
        url = urlsplit(target)
    except ValueError:  # half of an IPv6 address, say
        return target
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _headers(request: HTTPRequest, trace_id: str) -> dict[str, str]:
    """Return all headers by their lower-case names; repeats are joined with commas."""
    collected: dict[str, list[str]] = {}
    for name, value in request.headers:
        if name.lower() not in _DROPPED:
            collected.setdefault(name.lower(), []).append(value)
    headers = {name: ",".join(values) for name, values in collected.items()}
    if headers.get("host", "").startswith("["):
        # No API has a number of IPv6 for a name, and what parses hosts behind it takes none.
        headers["host"] = f"localhost:{request.port}"
    before = request.header("x-forwarded-for")
    headers["content-length"] = str(len(request.body))
    headers["x-amzn-trace-id"] = trace_id
    headers["x-forwarded-for"] = f"{before}, {request.source_ip}" if before else request.source_ip
    headers["x-forwarded-port"] = str(request.port)
    headers["x-forwarded-proto"] = request.scheme
    return by_name(headers)


def _cookies(request: HTTPRequest) -> list[str]:
    values = (value for name, value in request.headers if name.lower() == "cookie")
    cookies = (cookie.strip() for value in values for cookie in value.split(";"))
    return [cookie for cookie in cookies if cookie]


def _parameters(query: str) -> dict[str, str]:
    collected: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        collected.setdefault(name, []).append(value)
    return {name: ",".join(values) for name, values in collected.items()}


def _is_text(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _TEXT
