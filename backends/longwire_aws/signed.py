"""Signed requests to one AWS service."""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from longwire_aws import sigv4
from longwire_aws.credentials import CredentialsError, CredentialsSource
from longwire_aws.errors import are_keys_expired, is_clock_wrong, read_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from longwire_aws.http import Response

# Seconds between signing and refusal that only a process frozen in between can need.
_FROZEN = 60.0


if TYPE_CHECKING:

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
        region: Callable[[str], str],  # of a URL without its path; asked once for each
        *,
        keys: CredentialsSource | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._service = service
        self._region = lru_cache(maxsize=64)(region)
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
        keys = self._keys.current()
        if keys is None:
            keys = await self._search(timeout)
            timeout = _left(until)
        signed_at = self._clock()
        signed = self._sign(method, url, headers, body, keys, signed_at)
        response = await self._http.request(method, url, signed, body, timeout=timeout)
        if not 400 <= response.status <= 403:
            return response
        better = await self._better_keys(keys, signed_at, response, until)
        if better is None:
            return response
        signed = self._sign(method, url, headers, body, better, self._clock())
        return await self._http.request(method, url, signed, body, timeout=_left(until))

    def region(self, url: str) -> str:
        """Return the region that requests to this URL are signed for."""
        end = url.find("/", len("https://"))
        return self._region(url if end < 0 else url[:end])

    def forget_keys(self) -> None:
        """Keep no keys that were found; those of the environment never are."""
        self._keys.forget()

    def _sign(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        keys: sigv4.Credentials,
        now: float,
    ) -> list[tuple[str, str]]:
        """Return the headers of a request with those that sign it."""
        signature = sigv4.sign(
            method,
            url,
            headers,
            body,
            credentials=keys,
            service=self._service,
            region=self.region(url),
            now=now,
        )
        return [*headers, *signature]

    async def _better_keys(
        self, keys: sigv4.Credentials, signed_at: float, response: Response, until: float
    ) -> sigv4.Credentials | None:
        """Return what to sign a refused request with once more; None if that would be no use."""
        refusal = read_refusal(response)
        if are_keys_expired(refusal):
            self._keys.discard(keys)
            newer = self._keys.current() or await self._search(_left(until))
            return newer if newer != keys else None
        is_old = is_clock_wrong(refusal) and self._clock() - signed_at > _FROZEN
        return keys if is_old else None

    async def _search(self, timeout: float) -> sigv4.Credentials:
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
