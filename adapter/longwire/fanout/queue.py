"""An SQS queue, to write to.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html

Nothing is queued twice by accident: a request is repeated only when SQS surely did not take it.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from longwire.exceptions import ConfigurationError, QueueError
from longwire_aws.credentials import CredentialsError, are_in_environment
from longwire_aws.endpoints import (
    ANY_REGION,
    environment_region,
    is_http_url,
    is_https,
    is_region,
    is_region_name,
    partition_of,
)
from longwire_aws.errors import Refusal, advice, is_throttled, read_refusal
from longwire_aws.http import HTTPClient, Response, TransportError, TransportTimeoutError
from longwire_aws.retries import Backoff, retry
from longwire_aws.signed import SignedClient
from longwire_aws.tuples import NamedTuple
from longwire_backends.base import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire_aws.signed import Transport

# How AWS's own hosts have the region: of today, FIPS, dual-stack, VPC endpoints, and of old.
_HOST = (
    r"(?:[a-z0-9-]+\.)?sqs(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?:vpce\.)?(?P<domain>.+)"
    r"|(?P<old_region>[a-z0-9-]+)\.queue\.(?P<old_domain>.+)"
)

_BUSY = Backoff(first=0.05, longest=3.2)
_UNREACHED = _BUSY._replace(times=3)

_DENIED = (
    "the function's role needs the permission sqs:SendMessage on this queue, and the queue's own "
    "policy must not deny it"
)
_MISSING = "no such queue in {region}: create it, or correct queue_url or region_name"
_ADVICE = {
    "QueueDoesNotExist": _MISSING,
    "NonExistentQueue": _MISSING,
    "InvalidAddress": "correct queue_url: it has no such account or queue",
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "KmsAccessDenied": "the role needs kms:GenerateDataKey and kms:Decrypt on the queue's key",
}
_NOT_SQS = "not in the form of SQS: is something else at queue_url?"


class Sent(NamedTuple):
    """What became of the bodies that were given to `Queue.send`, by their indexes."""

    queued: tuple[int, ...]  # SQS surely has them
    errors: dict[int, QueueError]  # why SQS has not got it, or (`unsure`) may not have got it


class _NotQueued(NamedTuple):
    error: QueueError
    backoff: Backoff | None  # None: SQS will not take it, or may have it already


_Failures = dict[int, _NotQueued]


class Queue:
    """An SQS queue, to write to; its requests go to the host in `queue_url`."""

    def __init__(
        self,
        queue_url: str,
        *,
        region_name: str | None = None,
        http: Transport | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        # It is not shown, since it may have a password in it.
        if not is_http_url(queue_url) or not urlsplit(queue_url).path.strip("/"):
            raise ConfigurationError(
                "queue_url: expected a URL such as "
                "'https://sqs.eu-west-1.amazonaws.com/123456789012/name'"
            )
        if queue_url.endswith(".fifo"):
            raise ConfigurationError(
                "queue_url: expected a standard queue, since a FIFO queue (.fifo) takes no message "
                "without a MessageGroupId"
            )
        self.queue_url = queue_url
        self.region: str = _region(queue_url, region_name)
        self._own_http: HTTPClient | None = None
        if http is None:
            http = self._own_http = HTTPClient()
        self._http = http
        self._signed = SignedClient(http, "sqs", lambda _: self.region)
        self._random = random

    async def send(self, bodies: Sequence[str], *, deadline: float) -> Sent:
        """Queue one of `batches`; what SQS cannot take yet is repeated until the deadline."""
        if not bodies:
            return Sent((), {})
        waiting = dict(enumerate(bodies))
        errors: dict[int, QueueError] = {}
        failures: _Failures = {}

        async def attempt() -> _Failures:
            nonlocal waiting, failures
            if failures and time.monotonic() >= deadline:
                return failures  # the pause took longer; what SQS has said is why they are here
            failures = await self._attempt(waiting, deadline)
            errors.update({i: each.error for i, each in failures.items() if not each.backoff})
            failures = {i: each for i, each in failures.items() if each.backoff}
            waiting = {i: waiting[i] for i in failures}
            return failures

        failures = await retry(
            await attempt(), attempt, _backoff, deadline=deadline, random=self._random
        )
        errors |= {i: each.error for i, each in failures.items()}
        return Sent(tuple([i for i in range(len(bodies)) if i not in errors]), errors)

    async def close(self) -> None:
        """Close idle connections, unless `http` was handed in; a later request opens new ones."""
        if self._own_http:
            await self._own_http.close()

    async def _attempt(self, bodies: dict[int, str], deadline: float) -> _Failures:
        """Ask once, and return those that were not surely queued."""
        answer = await self._ask(bodies, deadline)
        if isinstance(answer, Response) and answer.status == 200:
            return self._read(bodies, answer)
        return dict.fromkeys(bodies, self._failure(answer))

    async def _ask(
        self, bodies: dict[int, str], deadline: float
    ) -> Response | TransportError | CredentialsError:
        headers = (
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", "AmazonSQS.SendMessageBatch"),
        )
        entries = [{"Id": str(index), "MessageBody": body} for index, body in bodies.items()]
        request = {"QueueUrl": self.queue_url, "Entries": entries}
        body = json.dumps(request, separators=(",", ":")).encode()
        url = urlsplit(self.queue_url)._replace(path="/").geturl()
        timeout = deadline - time.monotonic()
        if timeout <= 0:
            return TransportTimeoutError("no time was left for the request", sent=False)
        transport = self._signed if self._signs() else self._http
        try:
            return await transport.request("POST", url, headers, body, timeout=timeout)
        except (TransportError, CredentialsError) as error:
            return error

    def _signs(self) -> bool:
        # An emulator needs no keys.
        return is_https(self.queue_url) or are_in_environment(os.environ)

    def _read(self, bodies: dict[int, str], response: Response) -> _Failures:
        """Return what the answer does not list as queued."""
        try:
            answer = json.loads(response.body)
            queued = {entry["Id"] for entry in answer.get("Successful") or ()}
            refused = {entry["Id"]: entry for entry in answer.get("Failed") or ()}
            missing = [index for index in bodies if str(index) not in queued]
            return {index: self._refused(refused.get(str(index))) for index in missing}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return dict.fromkeys(bodies, self._refused(None))

    def _refused(self, entry: dict[str, Any] | None) -> _NotQueued:
        """Judge one of the entries in `Failed`, or one that the answer does not mention."""
        if entry is None:
            return _NotQueued(self._error(f"the answer is {_NOT_SQS}", unsure=True), None)
        code, message = str(entry["Code"]), str(entry.get("Message") or "")
        is_busy = entry.get("SenderFault") is False or is_throttled(_last(code))
        error = self._error(self._text(Refusal(code[:300], message[:300])))
        return _NotQueued(error, _BUSY if is_busy else None)

    def _failure(self, answer: Response | TransportError | CredentialsError) -> _NotQueued:
        """Judge an answer, or the lack of one, that is about all entries."""
        if isinstance(answer, Response):
            return self._refusal(answer)
        unsure = isinstance(answer, TransportError) and answer.sent
        error = self._error(_unanswered(answer), unsure=unsure)
        error.__cause__ = answer
        if unsure or isinstance(answer, TransportTimeoutError | CredentialsError):
            return _NotQueued(error, None)
        return _NotQueued(error, _UNREACHED)

    def _refusal(self, response: Response) -> _NotQueued:
        refusal = read_refusal(response)
        throttled = response.status == 429 or is_throttled(_last(refusal.code))
        unsure = not throttled and (response.status < 300 or response.status >= 500)
        error = self._error(self._text(refusal, response), unsure=unsure)
        return _NotQueued(error, _BUSY if throttled else None)

    def _text(self, refusal: Refusal, response: Response | None = None) -> str:
        """Say what SQS said, and what to do about it."""
        if response is not None and refusal == ("", ""):
            return f"status {response.status}, {_NOT_SQS}"
        todo = _ADVICE.get(_last(refusal.code), "").format(region=self.region)
        if response is not None and not todo:
            todo = advice(refusal, response, time.time())
        said = ": ".join([part for part in refusal if part])
        return f"{said}; {todo}" if todo else said

    def _error(self, detail: str, *, unsure: bool = False) -> QueueError:
        return QueueError(self.queue_url, detail, unsure=unsure)


def _backoff(failures: _Failures) -> Backoff | None:
    # Where some can be repeated, it is for the same reason.
    return next((each.backoff for each in failures.values()), None)


def _region(queue_url: str, region_name: str | None) -> str:
    if region_name is None:
        host = urlsplit(queue_url).hostname or ""
        region_name = _region_in(host) or environment_region(os.environ) or ANY_REGION
    if not is_region(region_name):
        raise ConfigurationError(f"{shown(region_name)} is not a region such as 'eu-west-1'")
    return region_name


def _region_in(host: str) -> str | None:
    """Return the region that SQS's own host names have in them, at its own domain."""
    found = re.fullmatch(_HOST, host)
    if found is None:
        return None
    region, domain = found["region"] or found["old_region"], found["domain"] or found["old_domain"]
    partition = partition_of(region)
    is_own = domain in (partition.dns_suffix, partition.dual_stack)
    return region if is_own and is_region_name(region) else None


def _last(code: str) -> str:
    """Return "NonExistentQueue" of "AWS.SimpleQueueService.NonExistentQueue"."""
    return code.rpartition(".")[2]


def _unanswered(error: Exception) -> str:
    if isinstance(error, TransportTimeoutError):
        return f"{error}; a VPC without a route to SQS, or an endpoint for it, looks like this"
    return str(error)
