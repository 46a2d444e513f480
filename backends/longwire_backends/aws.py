"""What the DynamoDB and the S3 store share: where their service is, repeats, errors."""

from __future__ import annotations

import json
import os
import random
import time
from typing import TYPE_CHECKING

from longwire_aws.credentials import CredentialsError
from longwire_aws.endpoints import (
    ANY_REGION,
    dns_suffix,
    environment_endpoint,
    environment_region,
    is_http_url,
    is_region,
)
from longwire_aws.errors import advice, is_throttled, read_refusal
from longwire_aws.http import HTTPClient, Response, TransportError, TransportTimeoutError
from longwire_aws.retries import Backoff, retry
from longwire_aws.signed import SignedClient
from longwire_backends.base import BackendError, ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_BUSY = Backoff(first=0.05, longest=3.2)
_UNANSWERED = _BUSY._replace(times=2)


class Service:
    """One AWS service, as the store `backend` speaks to it."""

    def __init__(
        self,
        backend: str,
        name: str,  # in hosts and signatures
        *,
        region_name: str | None,
        endpoint_url: str | None,
        timeout: float,  # seconds for one operation, with all its repeats
    ) -> None:
        self._backend = backend
        self._name = name
        self._timeout = timeout
        # What replaces AWS's own address, without a slash at the end; or None.
        self.endpoint_url: str | None = _endpoint(backend, name, endpoint_url)
        self.region: str = _region(backend, region_name, self.endpoint_url)
        self._http = HTTPClient()
        self._client = SignedClient(self._http, name, lambda _: self.region)

    @property
    def host(self) -> str:
        """AWS's own host for this service in this region."""
        return f"{self._name}.{self.region}.{dns_suffix(self.region)}"

    async def request(
        self,
        operation: str,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        repeatable: bool = True,  # doing it twice is as good as doing it once
    ) -> Response:
        """Send a request, and repeat it while that may help; the status is one of 200 to 499."""
        deadline = time.monotonic() + self._timeout
        answer = await self._attempt(operation, method, url, headers, body, deadline)
        if isinstance(answer, Response) and answer.status < 400:
            return answer
        answer = await retry(
            answer,
            lambda: self._attempt(operation, method, url, headers, body, deadline),
            lambda answer: _backoff(answer, repeatable),
            deadline=deadline,
            random=random.random,
        )
        if isinstance(answer, Response) and not _has_failed(answer):
            return answer
        raise self._failure(operation, answer)

    async def close(self) -> None:
        """Close idle connections and forget keys; a later request has new ones."""
        await self._http.close()
        self._client.forget_keys()

    def init_command(self, **params: str) -> str:
        """Return what to type into a shell, so that a store with these parameters is created."""
        import shlex  # only who has forgotten to create the store pays for it

        params["region_name"] = self.region
        if self.endpoint_url is not None:
            params["endpoint_url"] = self.endpoint_url
        return f"longwire init --backend {self._backend} --params {shlex.quote(json.dumps(params))}"

    def explain(self, response: Response) -> str:
        """Say what the service said, and what to do about it."""
        refusal = read_refusal(response)
        if refusal == ("", ""):
            return f"status {response.status}, not in the form of AWS; {self._check()}"
        said = ": ".join(part for part in refusal if part)
        todo = advice(refusal, response, time.time())
        return f"{said}; {todo}" if todo else said

    async def _attempt(
        self,
        operation: str,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        deadline: float,
    ) -> Response | TransportError:
        left = max(0.001, deadline - time.monotonic())
        try:
            return await self._client.request(method, url, headers, body, timeout=left)
        except TransportError as error:
            return error
        except CredentialsError as error:
            raise BackendError(self._backend, operation, str(error)) from error

    def _failure(self, operation: str, answer: Response | TransportError) -> BackendError:
        if isinstance(answer, Response):
            detail = self.explain(answer)
            if _is_throttled(answer):
                detail += f"; it was repeated for {self._timeout:.3g} s"
            return BackendError(self._backend, operation, detail)
        detail = f"{answer}; {self._check()}"
        if isinstance(answer, TransportTimeoutError):
            detail += f"; a VPC without an endpoint for {self._name} looks like this"
        error = BackendError(self._backend, operation, detail)
        error.__cause__ = answer
        return error

    def _check(self) -> str:
        if self.endpoint_url is None:
            return f"check region_name ({self.region})"
        return "check endpoint_url"


def _backoff(answer: Response | TransportError, repeatable: bool) -> Backoff | None:
    match answer:
        case Response():
            if _is_throttled(answer):
                return _BUSY
            return _UNANSWERED if answer.status >= 500 and repeatable else None
        case TransportTimeoutError():
            return None
    return _UNANSWERED if repeatable or not answer.sent else None


def _has_failed(response: Response) -> bool:
    return response.status >= 500 or _is_throttled(response)


def _is_throttled(response: Response) -> bool:
    if response.status < 400:
        return False
    code = read_refusal(response).code
    # The latter: S3 waited in vain for the rest of the request.
    return is_throttled(code) or code == "RequestTimeout"


def _endpoint(backend: str, service: str, endpoint_url: str | None) -> str | None:
    if endpoint_url is not None:
        if not is_http_url(endpoint_url):
            # It is not shown, since it may have a password in it.
            raise ConfigurationError(
                f"{backend}: endpoint_url is not an http:// or https:// URL with a host, and "
                "without user, query and fragment"
            )
        return endpoint_url.rstrip("/")
    try:
        return environment_endpoint(service.upper(), os.environ)
    except ValueError as error:
        raise ConfigurationError(f"{backend}: {error}") from None


def _region(backend: str, region_name: str | None, endpoint_url: str | None) -> str:
    region = region_name or environment_region(os.environ)
    if region is None and endpoint_url is not None:
        return ANY_REGION
    if region is None:
        raise ConfigurationError(
            f"{backend}: the region is unknown: set region_name in its parameters, or the "
            "environment variable AWS_REGION"
        )
    # It becomes a part of a host name.
    if not is_region(region):
        raise ConfigurationError(f"{backend}: {shown(region)} is not a region such as 'eu-west-1'")
    return region
