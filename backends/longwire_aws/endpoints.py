"""Where an AWS service is, and in which region.

What a cold start has to check is checked without `re`, which takes longer to compile a pattern than
to import a module.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
"""

from __future__ import annotations

from string import ascii_letters, ascii_lowercase, digits
from typing import TYPE_CHECKING

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# With another server than AWS's the region may not matter, but a signature has one.
ANY_REGION = "us-east-1"

_PORTS = {"http": 80, "https": 443}
_OF_NAMES = frozenset(ascii_letters + digits + "._~-")
_OF_IPV6 = frozenset(digits + "abcdefABCDEF:.")
_OF_LABELS = frozenset(ascii_lowercase + digits + "-")
_OF_WORDS = frozenset(ascii_lowercase)
_NOT_IN_PATHS = frozenset(" #?")


class Origin(NamedTuple):
    """What a connection is made to."""

    tls: bool
    host: str  # without brackets
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Partition(NamedTuple):
    """A part of AWS that has keys, regions and domains of its own."""

    name: str
    regions: str  # what the names of its regions begin with
    dns_suffix: str
    dual_stack: str  # the suffix of hosts that have IPv6, too


# All besides `aws` and `aws-us-gov`, whose domain is COMMERCIAL. A region that is in none of them,
# as one that AWS has yet to open, has that domain as well.
# https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
PARTITIONS = (
    Partition("aws-cn", "cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    Partition("aws-eusc", "eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    Partition("aws-iso", "us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    Partition("aws-iso-b", "us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    Partition("aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    Partition("aws-iso-f", "us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
)
COMMERCIAL = Partition("aws", "", "amazonaws.com", "api.aws")


def partition_of(region: str) -> Partition:
    """Return the partition of a region; "aws-cn-global" and the like are what botocore calls one.

    GovCloud's domains are the usual ones, so it is not told apart.
    """
    for partition in PARTITIONS:
        if region.startswith(partition.regions) or region == f"{partition.name}-global":
            return partition
    return COMMERCIAL


def dns_suffix(region: str) -> str:
    """Return the domain of a region's services."""
    return partition_of(region).dns_suffix


def is_http_url(text: str) -> bool:
    """Tell whether text is an http or https URL with a host, and with nothing after its path."""
    at = text.find("/", text.find("://") + 3)
    origin, path = (text[:at], text[at:]) if at >= 0 else (text, "")
    if not (path.isascii() and path.isprintable() and _NOT_IN_PATHS.isdisjoint(path)):
        return False
    return read_origin(origin) is not None


def read_origin(text: str) -> Origin | None:
    """Read an http or https URL that has nothing after host and port; None if it is none."""
    scheme, _, place = text.partition("://")
    default = _PORTS.get(scheme.lower())
    at = -1 if place.endswith("]") else place.rfind(":")
    host, port = (place[:at], place[at + 1 :]) if at >= 0 else (place, str(default))
    known = _OF_NAMES
    if host.startswith("[") and host.endswith("]"):
        host, known = host[1:-1], _OF_IPV6
    if default is None or not host or not known.issuperset(host):
        return None
    if not is_number(port, 5) or not 0 < int(port) < 65536:
        return None
    return Origin(default == 443, host, int(port))


def is_number(text: str, most: int) -> bool:
    """Tell whether text is nothing but digits, at most so many."""
    return text.isascii() and text.isdecimal() and len(text) <= most


def is_https(url: str) -> bool:
    """Tell whether a URL is AWS's own kind: plain HTTP is that of an emulator on this machine."""
    return url[:6].lower() == "https:"


def is_region(text: str) -> bool:
    """Tell whether text can be a region, which becomes a part of host names."""
    return is_label(text)


def is_region_name(text: str) -> bool:
    """Tell whether AWS may call a region so: what its hosts have in the place of one.

    Not any word: somebody's bucket may be called "x.execute-api", which makes it
    x.execute-api.s3.amazonaws.com.
    """
    *words, number = text.split("-")
    are_words = all(word != "" and _OF_WORDS.issuperset(word) for word in words)
    return are_words and len(words) > 1 and len(words[0]) > 1 and is_number(number, len(number))


def is_label(text: str) -> bool:
    """Tell whether text can be a part of the names of AWS's hosts, between dots."""
    return text != "" and _OF_LABELS.issuperset(text)


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
