"""Where an AWS service is, and in which region.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# With another server than AWS's the region may not matter, but a signature has one.
ANY_REGION = "us-east-1"

# Compiled (and kept) by `re` at first use.
_HTTP_URL = r"(?i)https?://(?:\[[0-9a-f:.]+\]|[a-z0-9._~-]+)(?::([0-9]{1,5}))?(?:/[!\"$->@-~]*)?"


def dns_suffix(region: str) -> str:
    """Return the domain of a region's services: China has its own, GovCloud the usual one."""
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def is_http_url(text: str) -> bool:
    """Tell whether text is an http or https URL with a host, and with nothing after its path."""
    match = re.fullmatch(_HTTP_URL, text)
    return match is not None and int(match[1] or 1) in range(1, 65536)


def is_https(url: str) -> bool:
    """Tell whether a URL is AWS's own kind: plain HTTP is that of an emulator on this machine."""
    return url[:6].lower() == "https:"


def is_region(text: str) -> bool:
    """Tell whether text can be a region, which becomes a part of host names."""
    return re.fullmatch(r"[a-z0-9-]+", text) is not None


def environment_region(environ: Mapping[str, str]) -> str | None:
    """Return the region that Lambda, or the developer, has put into the environment."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None


def environment_endpoint(service: str, environ: Mapping[str, str]) -> str | None:
    """Return the URL that the environment sets for a service ("DYNAMODB"), or for all."""
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    for name in (f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL"):
        if url := environ.get(name):
            if not is_http_url(url):
                # The value is not shown, since it may have a password in it.
                raise ValueError(
                    f"the environment variable {name} is not an http:// or https:// URL with a host"
                )
            return url.rstrip("/")
    return None
