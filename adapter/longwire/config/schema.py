"""What can be configured: every key of `ws_config` and of each store's `params`, as tables."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

from longwire.apigateway.endpoint import base_url
from longwire_aws.endpoints import is_http_url, is_region
from longwire_aws.tuples import NamedTuple
from longwire_backends.base import Backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.apigateway.client_ip import Network


class Kind(NamedTuple):
    """What values a key takes."""

    expected: str  # the words of the error text, after "must be"
    types: tuple[type, ...]  # bool counts as int only where it is named
    fits: Callable[[Any], bool] = lambda _: True  # whether a value of these types is allowed
    normal: Callable[[Any], Any] = lambda value: value  # makes of it what is kept
    from_text: Callable[[str], Any] = str  # reads it from a URL; raises ValueError

    def takes(self, value: object) -> bool:
        return self.takes_type(value) and self.fits(value)

    def takes_type(self, value: object) -> bool:
        if isinstance(value, bool):
            return bool in self.types
        return isinstance(value, self.types)

    def or_none(self) -> Kind:
        """Make a kind that takes None, too; in a URL that is an empty value."""
        return self._replace(
            expected=f"{self.expected}, or None",
            types=(*self.types, NoneType),
            fits=lambda value: value is None or self.fits(value),
            normal=lambda value: None if value is None else self.normal(value),
            from_text=lambda text: self.from_text(text) if text else None,
        )


class Key(NamedTuple):
    """One key."""

    name: str
    kind: Kind
    default: Any = None
    secret: bool = False  # even a number is kept out of error texts


class StoreParams(NamedTuple):
    """The parameters of one backend, and the alternative sets of keys of which it needs one."""

    keys: tuple[Key, ...]
    needs: tuple[tuple[str, ...], ...] = ()


# Bytes of a state: a third of a DynamoDB item (400 KB, the smallest of the stores) is left for the
# scope.
MOST_STATE = 256 * 1024


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise ValueError("not a flag")
    return text.lower() in ("true", "1")


def _is_origin(text: str) -> bool:
    scheme, separator, host = text.partition("://")
    return text == "null" or bool(scheme and separator and host and "/" not in host)


def _is_address_header(name: str) -> bool:
    # "Forwarded" (RFC 7239) has addresses in a form of its own, which is not read.
    return re.fullmatch(r"[a-z0-9_-]+", name.lower()) is not None and name.lower() != "forwarded"


def _network(text: str) -> Network:
    from ipaddress import ip_network  # nobody else pays for it

    return ip_network(text)


def _is_network(text: str) -> bool:
    try:
        _network(text)
    except ValueError:
        return False
    return True


def _list_of(expected: str, fits: Callable[[str], object], normal: Callable[[str], Any]) -> Kind:
    return Kind(
        expected,
        (list, tuple, set, frozenset),
        fits=lambda items: all(isinstance(item, str) and fits(item) for item in items),
        normal=lambda items: frozenset(map(normal, items)),
        from_text=lambda text: [item.strip() for item in text.split(",")],
    )


TEXT = Kind("a non-empty string", (str,), fits=bool)
ANY_TEXT = Kind("a string", (str,))
FILE = Kind(
    "the path of a file",
    (str, os.PathLike),
    fits=lambda path: bool(os.fspath(path)),
    normal=os.fspath,
)
COUNT = Kind("a whole number of at least 1", (int,), fits=lambda n: n >= 1, from_text=int)
STATE_BYTES = Kind(
    f"a whole number of bytes from 1 to {MOST_STATE}",
    (int,),
    fits=lambda n: 1 <= n <= MOST_STATE,
    from_text=int,
)
INDEX = Kind("a whole number of at least 0", (int,), fits=lambda n: n >= 0, from_text=int)
PORT = Kind("a port from 1 to 65535", (int,), fits=lambda n: 1 <= n <= 65535, from_text=int)
SECONDS = Kind(
    "a number of at least 0",
    (int, float),
    fits=lambda n: math.isfinite(n) and n >= 0,
    normal=float,
    from_text=float,
)
FLAG = Kind("True or False", (bool,), from_text=_flag)
URL = Kind("an http:// or https:// URL with a host", (str,), fits=is_http_url)
REGION = Kind("an AWS region such as 'eu-west-1'", (str,), fits=is_region)
PATH = Kind("a string that begins with '/'", (str,), fits=lambda path: path.startswith("/"))
ORIGINS = _list_of("a list of origins such as ['https://app.example.com']", _is_origin, str)
HEADERS = _list_of("a list of header names such as ['authorization']", bool, str.lower)
PARAMETERS = _list_of("a list of query parameters such as ['token']", bool, str)
ADDRESS_HEADER = Kind(
    "the name of a header that holds addresses, such as 'x-forwarded-for'",
    (str,),
    fits=_is_address_header,
    normal=str.lower,
)
NETWORKS = _list_of("a list of networks such as ['10.0.0.0/8']", _is_network, _network)
BINARY = Kind("'text' or 'base64'", (str,), fits=lambda binary: binary in ("text", "base64"))
FANOUT = Kind(
    "a dict such as {'queue_url': 'https://sqs.eu-west-1.amazonaws.com/123456789012/fanout'}",
    (Mapping,),
    from_text=lambda queue_url: {"queue_url": queue_url},
)
BACKEND = Kind("the name of a backend, or a Backend", (str, Backend))
PARAMS = Kind("a dict", (Mapping,))

OWN = (
    Key("backend", BACKEND),
    Key("params", PARAMS),
    Key("api_gateway_endpoint_url", URL._replace(normal=base_url).or_none(), secret=True),
    Key("api_gateway_region_name", REGION.or_none()),
    Key("path", PATH),
    Key("path_query", TEXT.or_none()),
    Key("ttl", COUNT),
    Key("allowed_origins", ORIGINS.or_none()),
    Key("client_ip_header", ADDRESS_HEADER.or_none()),
    Key("trusted_proxies", NETWORKS),
    Key("exclude_headers", HEADERS),
    Key("exclude_query", PARAMETERS),
    Key("binary", BINARY),
    Key("linger", SECONDS),
    Key("slow_client", SECONDS),
    Key("replay", FLAG),
    Key("replay_limit", COUNT),
    Key("state", FLAG),
    Key("state_limit", STATE_BYTES),
    Key("fanout", FANOUT.or_none()),
)
"""The keys of `ws_config`; their defaults are those of `settings.Settings`."""

FANOUT_KEYS = (
    Key("queue_url", URL, secret=True),
    Key("threshold", COUNT),
    Key("region_name", REGION.or_none()),
)
"""The keys of `ws_config["fanout"]`; their defaults are those of `settings.Fanout`."""

STORES = {
    "memory": StoreParams(()),
    "sqlite3": StoreParams(
        (Key("file_path", FILE), Key("table_name", TEXT, "connection")),
        needs=(("file_path",),),
    ),
    "redis": StoreParams(
        (
            Key("uri", TEXT, secret=True),
            Key("host", TEXT),
            Key("port", PORT, 6379),
            Key("username", TEXT),
            Key("password", ANY_TEXT, secret=True),
            Key("db", INDEX, 0),
            Key("ssl", FLAG, False),
            Key("key_prefix", ANY_TEXT, "longwire:"),
        ),
        needs=(("uri",), ("host",)),
    ),
    "postgresql": StoreParams(
        (
            Key("uri", TEXT, secret=True),
            Key("database", TEXT),
            Key("user", TEXT),
            Key("password", ANY_TEXT, secret=True),
            Key("host", TEXT),
            Key("port", PORT, 5432),
            Key("connect_timeout", COUNT, 5),
            Key("table_name", TEXT, "connection"),
        ),
        needs=(("uri",), ("database", "user", "password", "host")),
    ),
    "dynamodb": StoreParams(
        (
            Key("table_name", TEXT),
            Key("region_name", REGION),
            Key("endpoint_url", URL, secret=True),
        ),
        needs=(("table_name",),),
    ),
    "s3": StoreParams(
        (
            Key("bucket", TEXT),
            Key("region_name", REGION),
            Key("endpoint_url", URL, secret=True),
            Key("prefix", ANY_TEXT, ""),
        ),
        needs=(("bucket",),),
    ),
}
"""What each store takes. A parameter whose default is None may be given as None."""
