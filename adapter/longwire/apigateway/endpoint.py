"""Where the management API of an API is."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from longwire.exceptions import ConfigurationError
from longwire_aws.endpoints import (
    dns_suffix,
    environment_endpoint,
    environment_region,
    is_http_url,
    is_label,
    is_region,
    is_region_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# What AWS's SDKs read: emulators set it.
_AS_SDK = "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"
LOOPBACK = r"(?i)(?:localhost|127\.0\.0\.1|\[::1\])(?=[:/]|$)"


def management_endpoint(
    *,
    api_id: str,
    stage: str,
    domain_name: str | None,
    explicit: str | None,
    region_name: str | None,
    environ: Mapping[str, str],
) -> str:
    """Return the URL that `/@connections/...` is appended to.

    It is `explicit`, else what the environment says, else the API's execute-api URL: at the domain
    of the event if that is one of AWS's for this, else at the one that the region has by AWS's
    table.
    It is never made of a custom domain and the stage: a custom domain has mapping paths, not
    stages.

    Raises:
        ConfigurationError: the region is unknown, or a given endpoint is not a URL.
    """
    if (given := given_endpoint(explicit, environ)) is not None:
        return given
    if domain_name and region_name is None and is_api_host(domain_name):
        host = domain_name
    else:
        region = region_name or _region(domain_name or "", environ)
        host = f"{quote(api_id, safe='')}.execute-api.{region}.{dns_suffix(region)}"
    return f"https://{host}/{quote(stage, safe='')}"


def base_url(url: str) -> str:
    """Return what `/@connections/...` is appended to: AWS's console shows it with that behind."""
    return url.rstrip("/").removesuffix("/@connections").rstrip("/")


def given_endpoint(explicit: str | None, environ: Mapping[str, str]) -> str | None:
    """Return `explicit`, else what the environment says, else None: for who has no event.

    Raises:
        ConfigurationError: the variable is not a URL; WS_MANAGEMENT_ENDPOINT may lack its scheme.
    """
    if explicit:
        return base_url(explicit)
    if given := environ.get("WS_MANAGEMENT_ENDPOINT"):
        return _from_environment(given)
    if not environ.get(_AS_SDK):
        return None
    try:
        given = environment_endpoint("APIGATEWAYMANAGEMENTAPI", {**environ, "AWS_ENDPOINT_URL": ""})
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return base_url(given) if given else None


def is_given(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment says where a management API is."""
    ignored = environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    as_sdk = None if ignored else environ.get(_AS_SDK)
    return bool(environ.get("WS_MANAGEMENT_ENDPOINT") or as_sdk)


def is_loopback(url: str) -> bool:
    """Tell whether a URL is of this machine, as that of `longwire dev` is."""
    return re.match(LOOPBACK, url.partition("://")[2]) is not None


def is_plausible(url: str) -> bool:
    """Tell whether a management API that others name can be one: API Gateway's own host."""
    found = re.fullmatch(r"https://([^/]+)/[\w$%-]+", url)
    return found is not None and is_api_host(found[1])


def is_api_host(host: str) -> bool:
    """Tell whether it is one of API Gateway's own hosts, and nothing besides."""
    return _region_in(host) is not None


def _from_environment(given: str) -> str:
    if "://" not in given:
        given = f"{'http' if re.match(LOOPBACK, given) else 'https'}://{given}"
    if not is_http_url(given):
        raise ConfigurationError(
            "the environment variable WS_MANAGEMENT_ENDPOINT is not an http:// or https:// URL; "
            "expected for example https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"
        )
    return base_url(given)


def signing_region(url: str, region_name: str | None, environ: Mapping[str, str]) -> str:
    """Return the region that a request to this URL is signed for.

    Raises:
        ConfigurationError: the region is unknown.
    """
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    # Such a URL is right whatever the settings say.
    return _region_in(host) or region_name or _region(host, environ)


@functools.lru_cache(maxsize=16)
def _region_in(host: str) -> str | None:
    """Return the region that API Gateway's own host names have in them, at its own domain."""
    api, _, place = host.partition(".execute-api.")
    region, _, domain = place.partition(".")
    fits = is_label(api) and is_region_name(region) and dns_suffix(region) == domain
    return region if fits else None


def _region(domain_name: str, environ: Mapping[str, str]) -> str:
    region = _region_in(domain_name) or environment_region(environ)
    if not region:
        raise ConfigurationError(
            "the region of the management API is unknown: set ws_config['api_gateway_region_name'] "
            "(or the environment variable AWS_REGION), or the whole URL with "
            "ws_config['api_gateway_endpoint_url']"
        )
    # It becomes a part of a host name.
    if not is_region(region):
        raise ConfigurationError(
            "the environment variable AWS_REGION (or AWS_DEFAULT_REGION) is not a region such as "
            "'eu-west-1'"
        )
    return region
