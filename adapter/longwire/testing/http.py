"""HTTP requests of a test, as the events of API Gateway's HTTP API, payload 2.0.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.exceptions import EventError
from longwire.testing.ends import Answer
from longwire.testing.errors import key_of

if TYPE_CHECKING:
    from longwire.testing.errors import AppErrors
    from longwire.testing.gateway import Gateway
    from longwire.testing.thread import GatewayThread
    from longwire.types import LambdaEvent

# AWS's own: seconds of an integration, bytes of a request.
TIMEOUT = 30.0
REQUEST_LIMIT = 10 * 1024 * 1024

# What is no base64 in an event, besides text/*.
_TEXTS = ("json", "xml", "javascript", "x-www-form-urlencoded")


class HTTPRequest(NamedTuple):
    """A request as it is sent: header names in lower case, repeats kept."""

    method: str
    raw_path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    scheme: str
    source_ip: str


class HTTPAnswer(NamedTuple):
    """What the client gets."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def answer_to(request: HTTPRequest, running: GatewayThread, errors: AppErrors) -> HTTPAnswer:
    """Return what the client gets; raises what the app has raised, if `errors` say so."""
    if len(request.body) > REQUEST_LIMIT:
        return error_answer(413)
    event = event_of(request)
    try:
        answer = answer_of(running.call(exchange(running.gateway, event), TIMEOUT))
    except Exception as error:
        answer = answer_to_error(error)
        errors.add(event, error)
    errors.raise_of(key_of(event))
    return answer


async def exchange(gateway: Gateway, event: LambdaEvent) -> object:
    """Let the function answer; return what it returns, or raise what it raises.

    Raises:
        EventError: nothing answers HTTP events.
        TimeoutError: it takes too long.
    """
    call = gateway._tasks.spawn(gateway._function.invoke(event))
    await asyncio.wait({call}, timeout=TIMEOUT)
    error: BaseException | None = TimeoutError(f"no answer within {TIMEOUT:g} s")
    if call.done():
        error = call.exception()
    else:
        call.cancel()
    gateway.answers.append(Answer(event, call.result() if error is None else error))
    if error is not None:
        raise error
    return call.result()


def event_of(request: HTTPRequest) -> LambdaEvent:
    """Return the event of a request."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if name != "cookie":
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    cookies = [
        cookie.strip()
        for name, value in request.headers
        if name == "cookie"
        for cookie in value.split(";")
    ]
    host = headers.get("host", "")
    headers |= {
        "x-forwarded-for": request.source_ip,
        "x-forwarded-port": "443" if request.scheme == "https" else "80",
        "x-forwarded-proto": request.scheme,
    }
    now = time.time()
    event: LambdaEvent = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.raw_path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": request.method,
                "path": request.raw_path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if request.query:
        event["queryStringParameters"] = _joined(request.query)
    if request.body:
        event["body"], event["isBase64Encoded"] = _body_of(request.body, headers)
    return event


def answer_of(result: object) -> HTTPAnswer:
    """Return what the client gets for what the function has returned."""
    if not isinstance(result, dict) or "statusCode" not in result:
        text = result if isinstance(result, str) else json.dumps(result)
        return HTTPAnswer(200, [("content-type", "application/json")], text.encode())
    try:
        body = result.get("body") or ""
        data = base64.b64decode(body) if result.get("isBase64Encoded") else body.encode()
        headers = [(str(name), str(value)) for name, value in (result.get("headers") or {}).items()]
        headers += [("set-cookie", str(cookie)) for cookie in result.get("cookies") or ()]
        return HTTPAnswer(int(result["statusCode"]), headers, data)
    except (TypeError, ValueError, AttributeError):
        return error_answer(500)


def error_answer(status: int) -> HTTPAnswer:
    """Return what API Gateway itself says."""
    texts = {413: "Request Entity Too Large", 500: "Internal Server Error"}
    body = json.dumps({"message": texts.get(status, "Service Unavailable")}).encode()
    return HTTPAnswer(status, [("content-type", "application/json")], body)


def answer_to_error(error: BaseException) -> HTTPAnswer:
    """Return what the client gets when the function has not returned; raise what no client sees."""
    if isinstance(error, EventError):
        raise error
    return error_answer(503 if isinstance(error, TimeoutError) else 500)


def _joined(query: str) -> dict[str, str]:
    from urllib.parse import parse_qsl

    joined: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _body_of(body: bytes, headers: dict[str, Any]) -> tuple[str, bool]:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind.endswith(_TEXTS):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True
