"""What API Gateway takes as a Lambda function's answer.

https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-develop-integrations.html
"""

from __future__ import annotations

from dataclasses import dataclass

_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}


class MalformedResultError(ValueError):
    """The function returned what API Gateway does not take as a proxy response."""


@dataclass(frozen=True, slots=True)
class ProxyResponse:
    """A Lambda proxy response, checked. Header names are lower-case, values stripped."""

    status: int
    headers: dict[str, str]
    body: str


def parse_result(value: object) -> ProxyResponse:
    """Check a Lambda proxy response as strictly as API Gateway does.

    Raises:
        MalformedResultError: one unknown key, or one value of a wrong type, is enough.
    """
    if not isinstance(value, dict):
        raise MalformedResultError(f"expected a dict, got {type(value).__name__}")
    unknown = value.keys() - _KEYS
    if unknown:
        raise MalformedResultError(f"unknown keys: {', '.join(sorted(map(str, unknown)))}")
    status = value.get("statusCode")
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise MalformedResultError(f"statusCode: expected an int of 200 to 599, got {status!r}")
    body = value.get("body")
    if not (body is None or isinstance(body, str)):
        raise MalformedResultError(f"body: expected a string, got {type(body).__name__}")
    encoded = value.get("isBase64Encoded")
    if not (encoded is None or isinstance(encoded, bool)):
        raise MalformedResultError("isBase64Encoded: expected true or false")
    return ProxyResponse(status, _parse_headers(value), body or "")


def _parse_headers(value: dict[object, object]) -> dict[str, str]:
    single, multi = value.get("headers") or {}, value.get("multiValueHeaders") or {}
    if not (single or multi):
        return {}
    if not isinstance(single, dict) or not isinstance(multi, dict):
        raise MalformedResultError("headers and multiValueHeaders: expected a dict")
    pairs = [(name, values) for name, values in multi.items() if values]
    if not all(isinstance(values, list) for _, values in pairs):
        raise MalformedResultError("multiValueHeaders: expected lists of strings")
    headers = [*((name, values[-1]) for name, values in pairs), *single.items()]
    if not all(isinstance(name, str) and isinstance(text, str) for name, text in headers):
        raise MalformedResultError("headers: expected strings")
    return {name.lower(): text.strip() for name, text in headers}
