"""The management API: POST, GET and DELETE of `@connections`.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html

A frame is never sent twice by accident. A request is repeated only when API Gateway surely did not
take it: 429, a connection that was never made, and, for a connection that may be too new to be
known, 410. Never after a 5xx, a time limit or a reset.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from longwire.exceptions import (
    ConnectionGoneError,
    LongwireError,
    ManagementError,
    MessageTooLargeError,
)
from longwire.record import MAX_MESSAGE
from longwire_aws.http import Response, TransportError, TransportTimeoutError

Signer = Callable[[str, str, bytes], Awaitable[Sequence[tuple[str, str]]]]
"""(method, URL, body) -> the headers that sign the request."""

_UNREACHED_RETRIES = 3

_FORBIDDEN_CAUSES = (
    "known causes: the function's role lacks the permission execute-api:ManageConnections; "
    "the endpoint has the wrong stage or is a custom domain without its mapping, or the API's "
    "execute-api endpoint is disabled (set api_gateway_endpoint_url); "
    "the request was not signed, or the clock of this machine is wrong"
)
_NO_ROUTE = "a VPC without a route to execute-api looks like this"


class Transport(Protocol):
    """What sends requests: `longwire_aws.http.HTTPClient`, or something in memory."""

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response: ...


class ConnectionInfo(NamedTuple):
    """What API Gateway says about a connection that is open."""

    connected_at: datetime
    last_active_at: datetime
    source_ip: str
    user_agent: str | None


class _Call(NamedTuple):
    method: str
    endpoint: str
    connection_id: str
    body: bytes
    deadline: float
    new_until: float

    @property
    def url(self) -> str:
        connection_id = quote(self.connection_id, safe="")
        return f"{self.endpoint.rstrip('/')}/@connections/{connection_id}"


class Management:
    """A client of the management API, for any number of endpoints.

    Deadlines are in seconds of `time.monotonic()` and bound every wait. `new_for` is for how many
    seconds from the call a 410 may mean that the connection is not known yet.

    Args:
        http: sends the requests.
        random: a number from 0 to 1, for the jitter of waits.
        sign: makes the headers that sign a request; None sends it unsigned.
    """

    def __init__(
        self,
        http: Transport,
        *,
        random: Callable[[], float] = random.random,
        sign: Signer | None = None,
    ) -> None:
        self._http = http
        self._random = random
        self._sign = sign

    async def post(
        self,
        endpoint: str,
        connection_id: str,
        data: bytes,
        *,
        deadline: float,
        new_for: float = 0.0,
    ) -> None:
        """Send one message to the client.

        Raises:
            MessageTooLargeError: it is over the limit; nothing was sent.
            ConnectionGoneError: the connection no longer exists.
            ManagementError: anything else; the text says what to do.
        """
        if len(data) > MAX_MESSAGE:
            raise MessageTooLargeError(connection_id, len(data), MAX_MESSAGE)
        await self._request(_call("POST", endpoint, connection_id, data, deadline, new_for))

    async def get(
        self, endpoint: str, connection_id: str, *, deadline: float, new_for: float = 0.0
    ) -> ConnectionInfo:
        """Ask about a connection; raises as `post` does."""
        call = _call("GET", endpoint, connection_id, b"", deadline, new_for)
        response = await self._request(call)
        try:
            return _connection_info(response.body)
        except (ValueError, TypeError, KeyError) as error:
            detail = f"the answer of {endpoint} does not describe a connection"
            raise ManagementError(connection_id, detail, status=response.status) from error

    async def delete(
        self, endpoint: str, connection_id: str, *, deadline: float, new_for: float = 0.0
    ) -> None:
        """Close a connection; the client sees code 1000. Raises as `post` does."""
        await self._request(_call("DELETE", endpoint, connection_id, b"", deadline, new_for))

    async def _request(self, call: _Call) -> Response:
        attempt = 0
        while True:
            answer = await self._attempt(call)
            if isinstance(answer, Response) and 200 <= answer.status < 300:
                return answer
            limit, delay = _retry(call, answer, attempt)
            delay *= 0.5 + self._random() / 2
            if time.monotonic() + delay >= limit:
                raise _error(call, answer) from _cause(answer)
            await asyncio.sleep(delay)
            attempt += 1

    async def _attempt(self, call: _Call) -> Response | TransportError:
        timeout = call.deadline - time.monotonic()
        if timeout <= 0:
            return TransportTimeoutError("no time was left for the request", sent=False)
        headers = await self._signature(call, timeout)
        try:
            return await self._http.request(
                call.method, call.url, headers, call.body, timeout=timeout
            )
        except TransportError as error:
            return error

    async def _signature(self, call: _Call, timeout: float) -> Sequence[tuple[str, str]]:
        if self._sign is None:
            return ()
        try:
            async with asyncio.timeout(timeout):
                return await self._sign(call.method, call.url, call.body)
        except TimeoutError as error:
            detail = f"{call.method} was not sent: looking for AWS credentials took too long"
            raise ManagementError(call.connection_id, detail) from error
        except LongwireError as error:
            detail = f"{call.method} cannot be signed: {error}"
            raise ManagementError(call.connection_id, detail) from error


def _call(
    method: str, endpoint: str, connection_id: str, body: bytes, deadline: float, new_for: float
) -> _Call:
    new_until = min(deadline, time.monotonic() + new_for)
    return _Call(method, endpoint, connection_id, body, deadline, new_until)


def _retry(call: _Call, answer: Response | TransportError, attempt: int) -> tuple[float, float]:
    """Return until when to try again, and after how many seconds at most; never is -inf."""
    doubled = 2 ** min(attempt, 10)
    match answer:
        case Response(status=429):
            return call.deadline, min(0.05 * doubled, 2.0)
        case Response(status=410):
            return call.new_until, min(0.005 * doubled, 0.1)
        case TransportTimeoutError():
            return -math.inf, 0.0
        case TransportError(sent=False) if attempt < _UNREACHED_RETRIES:
            return call.deadline, 0.05 * doubled
    return -math.inf, 0.0


def _cause(answer: Response | TransportError) -> TransportError | None:
    return answer if isinstance(answer, TransportError) else None


def _error(call: _Call, answer: Response | TransportError) -> LongwireError:
    match answer:
        case Response(status=410):
            return ConnectionGoneError(call.connection_id)
        case Response():
            detail = f"{call.method} answered {answer.status}{_said(answer)}"
            if answer.status == 403:
                detail += f" (endpoint {call.endpoint}); {_FORBIDDEN_CAUSES}"
            return ManagementError(call.connection_id, detail, status=answer.status)
        case TransportTimeoutError():
            detail = f"{call.method} timed out: {answer}; {_NO_ROUTE}"
            return ManagementError(call.connection_id, detail)
    return ManagementError(call.connection_id, f"{call.method} failed: {answer}")


def _said(response: Response) -> str:
    """Quote the `message` of an answer of AWS; whatever else is there is nobody's to repeat."""
    try:
        said = _json_object(response.body)
    except ValueError:
        return ", not in the form of API Gateway: is something else at this endpoint?"
    message = said.get("message") or said.get("Message")  # IAM's refusals have a capital
    return f": {message[:200]}" if isinstance(message, str) and message else ""


def _json_object(body: bytes) -> dict[str, Any]:
    value = json.loads(body or b"{}")
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _connection_info(body: bytes) -> ConnectionInfo:
    fields = _json_object(body)
    identity = fields["identity"]
    return ConnectionInfo(
        connected_at=datetime.fromisoformat(fields["connectedAt"]),
        last_active_at=datetime.fromisoformat(fields["lastActiveAt"]),
        source_ip=identity["sourceIp"],
        user_agent=identity.get("userAgent"),
    )
