"""What an HTTP API answers for what the function has returned, in payload format 2.0.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from longwire.local.rules.errors import ThrottledError
from longwire.local.rules.http_events import OF_ONE_CONNECTION
from longwire.local.rules.results import Outcome, Raised, Returned, TimedOut
from longwire.local.rules.settings import PAYLOAD_LIMIT

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Below this, no body can come to more than Lambda takes, however many characters are escaped.
_SURELY_FITS = PAYLOAD_LIMIT // 12


class MalformedHTTPResultError(ValueError):
    """The function returned what an HTTP API does not take."""


@dataclass(frozen=True, slots=True)
class HTTPResponse:
    """An HTTP response; the headers have no `content-length` but that of a HEAD."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""


def error_response(status: int, message: str) -> HTTPResponse:
    """Build an answer of the gateway's own, as AWS writes it."""
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    return HTTPResponse(status, (("content-type", "application/json"),), body)


INTERNAL_SERVER_ERROR = error_response(500, "Internal Server Error")
SERVICE_UNAVAILABLE = error_response(503, "Service Unavailable")
NOT_FOUND = error_response(404, "Not Found")
# What a client gets that the function was not asked about.
REFUSALS = {
    400: error_response(400, "Bad Request"),
    413: error_response(413, "Request Entity Too Large"),
    414: error_response(414, "Request-URI Too Long"),
    431: error_response(431, "Request Header Fields Too Large"),
}


def http_response(outcome: Outcome, method: str) -> HTTPResponse:
    """Return what the client gets."""
    match outcome:
        case TimedOut() | Raised(ThrottledError()):
            return SERVICE_UNAVAILABLE
        case Raised():
            return INTERNAL_SERVER_ERROR
        case Returned(value):
            try:
                return parse_http_result(value, method)
            except MalformedHTTPResultError:
                return INTERNAL_SERVER_ERROR


def parse_http_result(value: object, method: str) -> HTTPResponse:
    """Read what the function returned.

    Raises:
        MalformedHTTPResultError: API Gateway would answer with its own 500.
    """
    if not isinstance(value, dict) or value.get("statusCode") is None:
        body = value.encode(errors="replace") if isinstance(value, str) else _as_json(value)
        return HTTPResponse(200, (("content-type", "application/json"),), _fitting(value, body))
    status = value["statusCode"]
    if isinstance(status, str) and status.isdecimal():  # as in AWS's own examples
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise MalformedHTTPResultError(
            f"statusCode: expected an int of 200 to 599, got {status!r:.40}"
        )
    body = _fitting(value, _body(value))
    headers = _headers(value.get("headers"), keep_length=method == "HEAD" and not body)
    if status not in (204, 304) and not any(name == "content-type" for name, _ in headers):
        headers.insert(0, ("content-type", "text/plain; charset=utf-8"))
    return HTTPResponse(status, (*_cookies(value.get("cookies")), *headers), body)


def _body(value: dict[str, Any]) -> bytes:
    body, encoded = value.get("body"), value.get("isBase64Encoded")
    if not isinstance(body, str | None):
        raise MalformedHTTPResultError(f"body: expected a string, got {type(body).__name__}")
    if not isinstance(encoded, bool | None):
        raise MalformedHTTPResultError("isBase64Encoded: expected true or false")
    if not encoded or body is None:
        return (body or "").encode(errors="replace")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedHTTPResultError("body: is not base64, as isBase64Encoded says") from None


def _fitting(value: object, body: bytes) -> bytes:
    """Return the body, if Lambda takes what it came in."""
    if len(body) > _SURELY_FITS and len(_as_json(value)) > PAYLOAD_LIMIT:
        raise MalformedHTTPResultError("larger than the 6 MB that Lambda takes of a function")
    return body


def _as_json(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode(errors="replace")
    except (TypeError, ValueError, RecursionError):
        raise MalformedHTTPResultError("what was returned cannot be written as JSON") from None


def _headers(headers: object, *, keep_length: bool) -> list[tuple[str, str]]:
    if not isinstance(headers, dict | None):
        raise MalformedHTTPResultError(f"headers: expected a dict, got {type(headers).__name__}")
    checked = []
    for name, value in (headers or {}).items():
        lower = _name(name).lower()
        if value is not None and (
            lower not in OF_ONE_CONNECTION or (keep_length and _is_length(lower, value))
        ):
            checked.append((lower, _text(f"headers[{name!r:.40}]", value)))
    return checked


def _is_length(name: str, value: object) -> bool:
    return name == "content-length" and str(value).isdecimal()


def _name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise MalformedHTTPResultError(f"headers: {name!r:.40} is no name of a header")
    return name


def _text(what: str, value: object) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str | int | float):
        raise MalformedHTTPResultError(f"{what}: expected a string, got {type(value).__name__}")
    text = str(value).strip()
    if _CONTROL.search(text):
        raise MalformedHTTPResultError(f"{what}: has control characters")
    return text


def _cookies(cookies: object) -> list[tuple[str, str]]:
    if not isinstance(cookies, list | tuple | None):
        raise MalformedHTTPResultError(f"cookies: expected a list, got {type(cookies).__name__}")
    return [("set-cookie", _text("cookies", cookie)) for cookie in cookies or ()]
