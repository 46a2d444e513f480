"""A URL that names a store -> the same backend and parameters as `ws_config` would have.

No error text shows the URL or a part of it that may be secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from longwire.config.schema import OWN
from longwire.exceptions import ConfigurationError
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = {
    "sqlite": "sqlite:///file.sqlite3 (relative) or sqlite:////tmp/file.sqlite3 (absolute)",
    "memory": "memory://",
    "redis": "redis://:password@host:6379/0",
    "rediss": "rediss://:password@host:6379/0",
    "postgresql": "postgresql://user:password@host:5432/database",
    "dynamodb": "dynamodb://table?region=eu-west-1",
    "s3": "s3://bucket/prefix?region=eu-west-1",
}
_ALIASES = {"sqlite3": "sqlite", "postgres": "postgresql"}


class DSN(NamedTuple):
    """A URL taken apart."""

    backend: str  # the name of the store
    params: dict[str, Any]  # what the URL's own parts give
    query: dict[str, str]  # what is given by name, still as text


def parse_dsn(dsn: str) -> DSN:
    """Take a URL apart; its values are yet to be validated."""
    scheme, separator, _ = dsn.partition("://")
    if not separator:
        raise ConfigurationError(f"dsn must be a URL, for example {EXAMPLES['sqlite']}")
    scheme = _ALIASES.get(scheme.lower(), scheme.lower())
    if scheme not in _PARTS:
        import difflib  # only for those who have made a mistake

        near = difflib.get_close_matches(scheme, _PARTS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_PARTS)}"
        # What is no word may be a part of something else.
        what = f"the unknown scheme {scheme!r}" if scheme.isalnum() else "an unknown scheme"
        raise ConfigurationError(f"dsn has {what}; {hint}")
    try:
        url = urlsplit(dsn)
        if url.fragment:
            raise ValueError("a fragment")
        backend, params = _PARTS[scheme](url)
    except ValueError:
        # Not chained: the texts of urllib repeat parts of the URL, passwords among them.
        raise ConfigurationError(
            f"dsn is not as expected, for example {EXAMPLES[scheme]}; "
            "special characters must be percent-encoded"
        ) from None
    given = {name: value for name, value in params.items() if value not in (None, "")}
    return DSN(backend, given, _query(url, backend))


def _query(url: SplitResult, backend: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if backend == "postgresql" and name not in _POSTGRESQL_KEYS:
            continue  # one of libpq's; it stays in the URI
        if name in query:
            raise ConfigurationError(f"dsn parameter {name!r} is given twice")
        query[name] = value
    if "region" in query and backend in ("dynamodb", "s3"):
        if "region_name" in query:
            raise ConfigurationError("dsn parameter 'region' is given twice, once as 'region_name'")
        query["region_name"] = query.pop("region")
    return query


_Parts = tuple[str, dict[str, Any]]


def _sqlite(url: SplitResult) -> _Parts:
    _refuse(url.netloc)
    return "sqlite3", {"file_path": unquote(url.path[1:])}


def _memory(url: SplitResult) -> _Parts:
    _refuse(url.netloc, url.path.strip("/"))
    return "memory", {}


def _redis(url: SplitResult) -> _Parts:
    database = url.path.strip("/")
    return "redis", {
        "host": url.hostname,
        "port": url.port,
        "username": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "db": int(database) if database else None,
        "ssl": True if url.scheme == "rediss" else None,
    }


# libpq reads the URI itself, with options that only it knows; ours are taken out.
_POSTGRESQL_KEYS = {key.name for key in OWN} | {"connect_timeout", "table_name"}


def _postgresql(url: SplitResult) -> _Parts:
    _ = url.port  # raises when it is not a port
    rest = [part for part in url.query.split("&") if _name(part) not in _POSTGRESQL_KEYS]
    query = f"?{'&'.join(rest)}" if any(rest) else ""
    return "postgresql", {"uri": f"postgresql://{url.netloc}{url.path}{query}"}


def _name(part: str) -> str:
    return unquote(part.partition("=")[0])


def _dynamodb(url: SplitResult) -> _Parts:
    # Keys in front of the name would be secrets that errors repeat.
    _refuse(url.path.strip("/"), url.username)
    return "dynamodb", {"table_name": unquote(url.netloc)}


def _s3(url: SplitResult) -> _Parts:
    _refuse(url.username)
    return "s3", {"bucket": unquote(url.netloc), "prefix": unquote(url.path[1:])}


def _refuse(*parts: str | None) -> None:
    if any(parts):
        raise ValueError("a part that this scheme does not have")


_PARTS: dict[str, Callable[[SplitResult], _Parts]] = {
    "sqlite": _sqlite,
    "memory": _memory,
    "redis": _redis,
    "rediss": _redis,
    "postgresql": _postgresql,
    "dynamodb": _dynamodb,
    "s3": _s3,
}
