"""Signed requests to one AWS service."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from longwire_aws import sigv4
from longwire_aws.credentials import CredentialsError, CredentialsSource
from longwire_aws.errors import are_keys_expired, is_clock_wrong, read_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire_aws.http import Response

# Seconds between signing and refusal that only a process frozen in between can need.
_FROZEN = 60.0


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


class SignedClient:
    """A `Transport` that signs each request with the keys that this process has by then."""

    def __init__(
        self,
        http: Transport,
        service: str,
        region: Callable[[str], str],  # of a URL
        *,
        keys: CredentialsSource | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._service = service
        self._region = region
        self._keys = keys or CredentialsSource()
        self._clock = clock

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        """Sign and send one request; once more with newer keys, or if it grew old while frozen."""
        until = time.monotonic() + timeout
        credentials = await self._credentials(timeout)
        signed_at = self._clock()
        response = await self._send(credentials, method, url, headers, body, until)
        if not 400 <= response.status <= 403:
            return response
        refusal = read_refusal(response)
        if are_keys_expired(refusal):
            self._keys.discard(credentials)
            newer = await self._credentials(_left(until))
            if newer != credentials:
                return await self._send(newer, method, url, headers, body, until)
        elif is_clock_wrong(refusal) and self._clock() - signed_at > _FROZEN:
            return await self._send(credentials, method, url, headers, body, until)
        return response

    def forget_keys(self) -> None:
        """Keep no keys that were found; those of the environment never are."""
        self._keys.forget()

    async def _send(
        self,
        credentials: sigv4.Credentials,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        until: float,
    ) -> Response:
        signature = sigv4.sign(
            method,
            url,
            headers,
            body,
            credentials=credentials,
            service=self._service,
            region=self._region(url),
            now=self._clock(),
        )
        return await self._http.request(
            method, url, [*headers, *signature], body, timeout=_left(until)
        )

    async def _credentials(self, timeout: float) -> sigv4.Credentials:
        if (known := self._keys.current()) is not None:
            return known
        try:
            async with asyncio.timeout(timeout):
                return await self._keys.get()
        except asyncio.CancelledError as error:
            error.add_note("looking for AWS keys")  # for whoever has a shorter time limit
            raise
        except TimeoutError as error:
            raise CredentialsError(
                f"no AWS keys: looking for them took longer than {timeout:.3g} s"
            ) from error


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
