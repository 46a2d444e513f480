"""Which requests to the management API are signed (SigV4, service `execute-api`), and for where.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-control-access-iam.html
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from longwire.apigateway.endpoint import signing_region
from longwire.exceptions import ConfigurationError
from longwire_aws.credentials import CredentialsError, CredentialsSource, are_in_environment
from longwire_aws.endpoints import is_https
from longwire_aws.signed import SignedClient

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from longwire_aws.http import Response
    from longwire_aws.signed import Transport


class SigningTransport:
    """Sends requests to API Gateway signed, and to a gateway on this machine as it can."""

    def __init__(self, http: Transport, region_name: str | None) -> None:
        self._http = http
        self._keys = CredentialsSource()
        self._signed = SignedClient(
            http,
            "execute-api",
            lambda url: signing_region(url, region_name, os.environ),
            keys=self._keys,
        )

    # Not a coroutine itself: each post pays for each of them.
    def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Coroutine[Any, Any, Response]:
        # Whatever speaks plain HTTP is a gateway on the developer's machine. It gets a signature,
        # for `longwire dev --verify-signatures`, if keys and region are in the environment; nobody
        # needs them there otherwise, so they are not looked for.
        signs = is_https(url) or self._has_all(url)
        transport = self._signed if signs else self._http
        return transport.request(method, url, headers, body, timeout=timeout)

    def forget_keys(self) -> None:
        """Keep no keys that were found; those of the environment never are."""
        self._signed.forget_keys()

    def _has_all(self, url: str) -> bool:
        try:
            has_keys = self._keys.in_environment() is not None
        except CredentialsError:  # a half of them, or such as cannot be sent: the latter is told
            has_keys = are_in_environment(os.environ)
        try:
            return has_keys and bool(self._signed.region(url))
        except ConfigurationError:
            return False
