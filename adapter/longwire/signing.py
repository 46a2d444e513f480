"""Signs requests to the management API: AWS Signature Version 4, service `execute-api`.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-control-access-iam.html
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from longwire.endpoint import signing_region
from longwire.exceptions import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire_aws.credentials import CredentialsSource


class RequestSigner:
    """Makes the headers that sign a request; keeps the credentials of this process.

    Only `https` is signed: whatever speaks plain HTTP is a gateway on the developer's machine.

    Args:
        region_name: of the API; None takes it from the URL, else from the environment.
    """

    def __init__(self, region_name: str | None) -> None:
        self._region_name = region_name
        self._source: CredentialsSource | None = None

    async def __call__(self, method: str, url: str, body: bytes) -> Sequence[tuple[str, str]]:
        """Return the headers to add.

        Raises:
            ConfigurationError: the region is unknown.
            CredentialsError: there are no keys to sign with.
        """
        if not url.startswith("https://"):
            return ()
        from longwire_aws import credentials, sigv4  # a cold start may never come here

        if self._source is None:
            self._source = credentials.CredentialsSource()
        try:
            keys = self._source.current() or await self._source.get()
        except credentials.CredentialsError as error:
            raise CredentialsError(str(error)) from error
        region = signing_region(url, self._region_name, os.environ)
        return sigv4.sign(
            method,
            url,
            (),
            body,
            credentials=keys,
            service="execute-api",
            region=region,
            now=time.time(),
        )
