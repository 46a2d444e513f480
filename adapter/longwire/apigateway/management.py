"""The management API: POST, GET and DELETE of `@connections`.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html

A frame is never sent twice by accident. A request is repeated only when API Gateway surely did not
take it: 429, for as long as `slow_clients.py` says, a connection that was never made, and, for a
connection that may be too new to be known, 410. Never after a 5xx, a time limit or a reset.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import quote

from longwire.apigateway.frames import MAX_MESSAGE
from longwire.apigateway.slow_clients import SlowClients, patient_until
from longwire.deadlines import NO_ROUTE, PATIENCE
from longwire.exceptions import (
    NOT_SENT,
    ConfigurationError,
    ConnectionGoneError,
    LongwireError,
    ManagementError,
    MessageTooLargeError,
    SlowClientError,
)
from longwire_aws.credentials import CredentialsError
from longwire_aws.errors import Refusal, advice, read_refusal
from longwire_aws.http import Response, TransportError, TransportTimeoutError
from longwire_aws.retries import Backoff, retry
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from longwire.apigateway.slow_clients import Throttled
    from longwire_aws.signed import Transport

_BUSY = Backoff(first=0.05, longest=2.0)
_UNREACHED = _BUSY._replace(times=3)
_NEW = Backoff(first=0.005, longest=0.1)

_FORBIDDEN_CAUSES = (
    "known causes: the function's role lacks the permission execute-api:ManageConnections; "
    "the endpoint has the wrong stage or is a custom domain without its mapping, or the API's "
    "execute-api endpoint is disabled (set api_gateway_endpoint_url); "
    "the function's VPC has an execute-api endpoint with private DNS, which refuses all WebSocket "
    "APIs (turn its private DNS off, and give the VPC a NAT gateway, or IPv6 egress and a "
    "dualstack API); "
    "the request was not signed, or the clock of this machine is wrong"
)
_NOT_AWS = ", not in the form of API Gateway: is something else at this endpoint?"


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
    new_until: float = 0.0
    patient: bool = True

    @property
    def url(self) -> str:
        return f"{self.endpoint.rstrip('/')}/@connections/{_quoted(self.connection_id)}"


def _quoted(connection_id: str) -> str:
    """Return an id as it is in a path; for those of API Gateway `quote` is slow."""
    plain = connection_id.removesuffix("=")
    if plain.isascii() and plain.replace("-", "").replace("_", "").isalnum():
        return plain + "%3D" * (len(connection_id) - len(plain))
    return quote(connection_id, safe="")


class Management:
    """A client of the management API, for any number of endpoints."""

    # Deadlines are in seconds of `time.monotonic()` and bound every wait. What is asked within
    # `new_for` seconds from the call may be answered 410 since the connection is not known yet,
    # however long the answer takes. A client that does not read (429) has `slow_client` seconds in
    # all; without `patient`, each 429 is an error at once. `on_post` is called before each POST,
    # repeated ones included.

    def __init__(
        self,
        http: Transport,
        *,
        slow_client: float = PATIENCE,
        random: Callable[[], float] = random.random,
        on_post: Callable[[], object] = lambda: None,
    ) -> None:
        self._http = http
        self._slow = SlowClients(slow_client)
        self._random = random
        self._on_post = on_post

    # Not a coroutine itself: each of many posts would pay for it.
    def post(
        self,
        endpoint: str,
        connection_id: str,
        data: bytes,
        *,
        deadline: float,
        new_for: float = 0.0,
        patient: bool = True,
    ) -> Coroutine[Any, Any, object]:
        """Send one message to the client."""
        if len(data) > MAX_MESSAGE:
            raise MessageTooLargeError(connection_id, len(data), MAX_MESSAGE)
        new_until = time.monotonic() + new_for if new_for else 0.0
        call = _Call("POST", endpoint, connection_id, data, deadline, new_until, patient)
        return self._request(call)

    async def get(
        self, endpoint: str, connection_id: str, *, deadline: float, patient: bool = True
    ) -> ConnectionInfo:
        """Ask about a connection."""
        call = _Call("GET", endpoint, connection_id, b"", deadline, patient=patient)
        response = await self._request(call)
        try:
            return _connection_info(response.body)
        except (ValueError, TypeError, KeyError) as error:
            detail = f"the answer of {endpoint} does not describe a connection"
            raise ManagementError(connection_id, detail, status=response.status) from error

    async def delete(
        self, endpoint: str, connection_id: str, *, deadline: float, new_for: float = 0.0
    ) -> None:
        """Close a connection; the client sees code 1000."""
        new_until = time.monotonic() + new_for if new_for else 0.0
        await self._request(_Call("DELETE", endpoint, connection_id, b"", deadline, new_until))

    async def _request(self, call: _Call) -> Response:
        answer = await self._attempt(call)
        if not _is_taken(answer):
            answer = await self._repeat(call, answer)
        if self._slow.known:
            self._slow.served(call.connection_id, time.monotonic())
        if answer.body:
            _check_origin(call, answer)
        return answer

    async def _repeat(self, call: _Call, answer: Response | TransportError) -> Response:
        """Go on after an answer that is no success, to one that is; raises what the last means."""
        throttled: Throttled | None = None
        until = math.inf
        is_new = call.new_until > 0.0  # or may have been when it was asked

        def judge(answer: Response | TransportError) -> Backoff | None:
            nonlocal throttled, until
            if not (isinstance(answer, Response) and answer.status == 429):
                return _backoff(answer, is_new=is_new)
            now = time.monotonic()
            if throttled is None:
                until = patient_until(now, call.deadline)
            throttled = self._slow.refused(call.connection_id, now)
            return _BUSY._replace(until=min(throttled.until, until)) if call.patient else None

        def attempt() -> Coroutine[Any, Any, Response | TransportError]:
            nonlocal is_new
            is_new = time.monotonic() < call.new_until
            return self._attempt(call)

        answer = await retry(
            answer,
            attempt,
            judge,
            deadline=call.deadline,
            random=self._random,
            sleep=_pause,
        )
        if _is_taken(answer):
            return answer
        if isinstance(answer, TransportError):
            raise _error(call, answer) from answer
        if self._slow.known and answer.status == 410:
            self._slow.ended(call.connection_id)
        if throttled is not None and answer.status == 429:
            raise _throttling(call, answer, throttled)
        raise _error(call, answer)

    async def _attempt(self, call: _Call) -> Response | TransportError:
        timeout = call.deadline - time.monotonic()
        if timeout <= 0:
            return TransportTimeoutError("no time was left for the request", sent=False)
        if call.method == "POST":
            self._on_post()
        try:
            return await self._http.request(call.method, call.url, (), call.body, timeout=timeout)
        except TransportError as error:
            return error
        except (CredentialsError, ConfigurationError) as error:
            detail = f"{call.method} cannot be signed: {error}"
            raise ManagementError(call.connection_id, detail) from error


async def _pause(seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        raise asyncio.CancelledError(NOT_SENT) from None


def _is_taken(answer: Response | TransportError) -> TypeGuard[Response]:
    return isinstance(answer, Response) and 200 <= answer.status < 300


def _backoff(answer: Response | TransportError, *, is_new: bool) -> Backoff | None:
    match answer:
        case Response(status=410):
            return _NEW if is_new else None
        case TransportTimeoutError():
            return None
        case TransportError(sent=False):
            return _UNREACHED
    return None


def _error(call: _Call, answer: Response | TransportError) -> LongwireError:
    match answer:
        case Response(status=410):
            return ConnectionGoneError(call.connection_id)
        case Response():
            refusal = read_refusal(answer)
            detail = _detail(call, answer, refusal)
            if answer.status == 403:
                causes = advice(refusal, answer, time.time()) or _FORBIDDEN_CAUSES
                detail += f" (endpoint {call.endpoint}); {causes}"
            return ManagementError(call.connection_id, detail, status=answer.status)
        case TransportTimeoutError():
            detail = f"{call.method} timed out: {answer}{NO_ROUTE}"
            return ManagementError(call.connection_id, detail, sent=answer.sent)
    return ManagementError(call.connection_id, f"{call.method} failed: {answer}", sent=answer.sent)


def _throttling(call: _Call, answer: Response, throttled: Throttled) -> ManagementError:
    """Return what a 429 is: too many requests, or a client that does not read."""
    detail = _detail(call, answer, read_refusal(answer))
    if throttled.crowded:
        return ManagementError(call.connection_id, detail, status=answer.status)
    is_over = call.patient or time.monotonic() >= throttled.until
    until = None if is_over else throttled.until
    return SlowClientError(call.connection_id, detail, until=until)


def _detail(call: _Call, answer: Response, refusal: Refusal) -> str:
    return f"{call.method} answered {answer.status}{_said(refusal, answer)}"


def _check_origin(call: _Call, answer: Response) -> None:
    """Refuse the page of a proxy, which has delivered nothing."""
    if answer.body.lstrip().startswith(b"<"):
        detail = f"{call.method} answered {answer.status}{_NOT_AWS}"
        raise ManagementError(call.connection_id, detail, status=answer.status)


def _said(refusal: Refusal, response: Response) -> str:
    if refusal.message:
        return f": {refusal.message}"
    if response.body and not refusal.code:
        return _NOT_AWS
    return ""


def _connection_info(body: bytes) -> ConnectionInfo:
    fields: dict[str, Any] = json.loads(body)
    identity = fields["identity"]
    return ConnectionInfo(
        connected_at=datetime.fromisoformat(fields["connectedAt"]),
        last_active_at=datetime.fromisoformat(fields["lastActiveAt"]),
        source_ip=identity["sourceIp"],
        user_agent=identity.get("userAgent"),
    )
