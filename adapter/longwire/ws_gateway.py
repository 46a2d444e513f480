"""`WSGateway`: reach a client from synchronous code that has a Lambda event's request context.

WSGateway.send({"text": "hello"}, event["requestContext"])
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from longwire.apigateway.endpoint import LOOPBACK, given_endpoint, is_api_host, management_endpoint
from longwire.apigateway.frames import encode, frame
from longwire.exceptions import (
    ASGIMessageError,
    ConfigurationError,
    ConnectionGoneError,
    InvalidArgumentError,
)
from longwire.registry import targets
from longwire.registry.api_gateway import APIGateway
from longwire.registry.caller import current
from longwire.runtime import threads
from longwire_aws.endpoints import is_http_url

if TYPE_CHECKING:
    from longwire.apigateway.management import Management
    from longwire.types import Dumps

    RequestContext = Mapping[str, Any]

# Seconds that a call may take; less where an event that is being handled has less time left.
TIMEOUT = 10.0

# The API id of `longwire dev`, whose domain name is nobody's.
LOCAL_API = "local"

_EXAMPLE = "for example to https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"
NO_DOMAIN = (
    "this request context does not tell where the WebSocket API is: set the environment variable "
    f"WS_MANAGEMENT_ENDPOINT, {_EXAMPLE}"
)
NO_STAGE = (
    "the environment variable WS_MANAGEMENT_ENDPOINT names no stage, and neither does this request "
    f"context: set the variable {_EXAMPLE}"
)
NOT_TEXT = (
    "the payload is not text, and API Gateway sends text frames only: send what UTF-8 can hold, "
    "and other bytes for example as base64"
)


class WSGateway:
    """The client of a request context, to be called from anywhere, also while a loop runs.

    A request context is `event["requestContext"]` of a WebSocket event, now or kept from earlier,
    or that of another event with a `connectionId` put into it. Inside `$connect` API Gateway does
    not know the client yet and says that it is gone.

    While Longwire repeats an app's handshake for a later event, and while it cancels an app that
    waits for the client, `send` and `disconnect` do nothing.
    """

    @staticmethod
    def resolve_ws_domain_name(request_ctx: RequestContext) -> str | None:
        """Return the domain of the WebSocket API; None when nothing tells it.

        It is the context's domain if that is this machine or the context is of a WebSocket event,
        else WS_MANAGEMENT_ENDPOINT without its scheme.

        Raises:
            ConfigurationError: the variable is not a URL.
            InvalidArgumentError: this is no request context.
        """
        if (domain := _own_domain(request_ctx)) is not None:
            return domain
        given = given_endpoint(None, os.environ)
        return None if given is None else given.partition("://")[2]

    @staticmethod
    def send(payload: object, request_ctx: RequestContext, *, dumps: Dumps | None = None) -> bool:
        """Send str, bytes, or JSON of anything else; `dumps` is as of `Connections`.

        Returns:
            False when the client is gone.

        Raises:
            MessageTooLargeError: it is over API Gateway's limit; nothing was sent.
            ManagementError: API Gateway refused it or did not answer.
            ConfigurationError: where the API is is not known.
            InvalidArgumentError: the payload or the context cannot be one.
        """
        to = _connection_id(request_ctx)
        data, url = _encoded(payload, to, dumps), endpoint(request_ctx)
        return _done(lambda client, deadline: client.post(url, to, data, deadline=deadline))

    @staticmethod
    def disconnect(request_ctx: RequestContext) -> bool:
        """End the connection, whose client sees code 1000; otherwise as `send`."""
        to, url = _connection_id(request_ctx), endpoint(request_ctx)
        return _done(lambda client, deadline: client.delete(url, to, deadline=deadline))


def endpoint(request_ctx: RequestContext) -> str:
    """Return the URL of the management API; see `WSGateway.resolve_ws_domain_name`.

    A custom domain has mapping paths, not stages, so the two are never put together.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-api-mappings.html
    """
    domain = _own_domain(request_ctx)
    if domain is None:
        return _with_stage(_given(), request_ctx)
    if _is_local(domain):
        return _url(f"http://{domain}", request_ctx)
    if is_api_host(domain):
        return _url(f"https://{domain}", request_ctx)
    return given_endpoint(None, os.environ) or management_endpoint(
        api_id=_needed(request_ctx, "apiId"),
        stage=_needed(request_ctx, "stage"),
        domain_name=domain,
        explicit=None,
        region_name=None,
        environ=os.environ,
    )


def _own_domain(request_ctx: RequestContext) -> str | None:
    domain = _optional(request_ctx, "domainName")
    if domain and (_is_local(domain) or _is_websocket(request_ctx)):
        return domain
    return None


def _is_local(domain: str) -> bool:
    return re.match(LOOPBACK, domain) is not None


def _is_websocket(request_ctx: RequestContext) -> bool:
    """Tell whether the context's domain is that of a WebSocket API.

    HTTP APIs have routes, too, at a domain of their own.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    if request_ctx.get("routeKey") is None or "http" in request_ctx:
        return False
    is_dev = request_ctx.get("apiId") == LOCAL_API
    return not (is_dev and given_endpoint(None, os.environ))


def _given() -> str:
    given = given_endpoint(None, os.environ)
    if given is None:
        raise ConfigurationError(NO_DOMAIN)
    return given


def _with_stage(given: str, request_ctx: RequestContext) -> str:
    host, slash, _ = given.partition("://")[2].partition("/")
    if slash or not (_is_local(host) or is_api_host(host)):
        return given
    stage = _optional(request_ctx, "stage")
    if not stage or stage == "$default":  # which WebSocket APIs do not have
        raise ConfigurationError(NO_STAGE)
    return f"{given}/{quote(stage, safe='')}"


def _url(origin: str, request_ctx: RequestContext) -> str:
    if not is_http_url(origin):
        raise InvalidArgumentError("request_ctx['domainName'] is not a host with or without a port")
    return f"{origin}/{quote(_needed(request_ctx, 'stage'), safe='')}"


def _connection_id(request_ctx: RequestContext) -> str:
    name = _needed(request_ctx, "connectionId")
    return targets.check_id(name, "request_ctx['connectionId']")


def _needed(request_ctx: RequestContext, key: str) -> str:
    value = _optional(request_ctx, key)
    if not value:
        raise InvalidArgumentError(f"request_ctx[{key!r}] is missing")
    return value


def _optional(request_ctx: object, key: str) -> str | None:
    if not isinstance(request_ctx, Mapping):
        kind = type(request_ctx).__name__
        raise InvalidArgumentError(f"request_ctx is a {kind}; expected event['requestContext']")
    value = request_ctx.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidArgumentError(
            f"request_ctx[{key!r}] is a {type(value).__name__}; expected a str"
        )
    return value


def _encoded(payload: object, connection_id: str, dumps: Dumps | None) -> bytes:
    try:
        return encode(frame(payload, dumps), "text", connection_id)
    except ASGIMessageError as error:
        raise InvalidArgumentError(NOT_TEXT) from error


def _done(request: Callable[[Management, float], Coroutine[Any, Any, object]]) -> bool:
    """Make a request on another thread's event loop; tell whether there was a client."""
    caller = current.get()
    if caller is not None and not caller.has_effect:
        return True
    deadline = time.monotonic() + TIMEOUT
    if caller is not None:
        deadline = min(deadline, caller.deadline)

    async def work() -> None:
        await request(_api().management(), deadline)

    try:
        threads.run(work, None)
    except ConnectionGoneError:
        return False
    return True


@functools.cache
def _api() -> APIGateway:
    """Return what belongs to the event loop of `sync`."""
    return APIGateway()
