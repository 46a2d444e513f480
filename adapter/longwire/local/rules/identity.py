"""Where a handshake must have something for the authorizer to look at.

https://docs.aws.amazon.com/apigatewayv2/latest/api-reference/apis-apiid-authorizers.html

Of AWS's identity sources there are headers and query parameters. Stage variables do not exist here,
and the values of `context` are never missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from longwire.types import LambdaEvent

_SOURCE = re.compile(r"route\.request\.(header|querystring)\.([A-Za-z0-9._-]+)")


def parse_source(source: str) -> tuple[str, str]:
    """Read an identity source into `header` or `querystring`, and a name.

    Raises:
        ConfigurationError: it is none.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise ConfigurationError(
            f"identity_sources: {source!r} is not of the form route.request.header.NAME or "
            "route.request.querystring.NAME"
        )
    return match[1], match[2]


def first_missing(sources: Iterable[str], event: LambdaEvent) -> str | None:
    """Return the first identity source that a CONNECT event has not got, or has empty."""
    return next((source for source in sources if not _value(source, event)), None)


def _value(source: str, event: LambdaEvent) -> str | None:
    place, name = parse_source(source)
    if place == "querystring":
        value: str | None = event.get("queryStringParameters", {}).get(name)
        return value
    headers = {key.lower(): value for key, value in event["headers"].items()}
    return headers.get(name.lower())
