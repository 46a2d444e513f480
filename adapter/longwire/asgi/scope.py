"""The ASGI scope of a connection: made from its CONNECT event, stored as JSON, made again.

ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket-connection-scope
"""

from __future__ import annotations

import functools
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from longwire.exceptions import StoredRecordError
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire.apigateway.events import ConnectEvent, Pairs, RequestContext
    from longwire.types import LambdaEvent, Scope


# What every WebSocket handshake has and API Gateway's events lack: Engine.IO, for one, wants them.
UPGRADE = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))

# C0, DEL and C1.
CONTROL_CHARACTERS = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))


class RefusedPathError(ValueError):
    """A handshake names a path that others may read differently; the text quotes nothing of it."""


class Handshake(NamedTuple):
    """What a connection's scope is made of, in every event of that connection."""

    scheme: str
    path: str
    query_string: str  # percent-encoded, as ASGI wants it
    headers: str  # names, in lower case, and values in turn, a line each; repeats included
    client: str | None
    server: tuple[str, int] | None
    subprotocols: tuple[str, ...]
    connected_at: int | None  # epoch milliseconds


def handshake(event: ConnectEvent, *, path: str, path_query: str | None) -> Handshake:
    """Read the handshake from a CONNECT event.

    API Gateway has no path below the stage, so the path is the query parameter `path_query`, which
    is then taken out; without one it is `path`.

    Raises:
        RefusedPathError: it is given more than once, or is no path.
    """
    headers = event.headers
    first = dict(reversed(headers))
    given = [value for name, value in event.query if name == path_query]
    if given:
        path = _only_path(given)
    scheme = "ws" if first.get("x-forwarded-proto") in ("http", "ws") else "wss"
    return Handshake(
        scheme=scheme,
        path=path,
        query_string=_query_string(event.query, path_query),
        headers=_lines(headers),
        client=event.context.source_ip,
        server=_server(event.context.domain_name, first.get("x-forwarded-port"), scheme),
        subprotocols=_subprotocols(headers) if "sec-websocket-protocol" in first else (),
        connected_at=event.context.connected_at,
    )


def asgi_scope(
    handshake: Handshake,
    *,
    state: dict[str, Any],
    extension: dict[str, Any],
    event: LambdaEvent,
    context: object,
) -> Scope:
    """Make a scope that no other run shares anything with."""
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": handshake.scheme,
        "path": handshake.path,
        "raw_path": _raw_path(handshake.path),
        "query_string": handshake.query_string.encode("ascii"),
        "root_path": "",
        "headers": _headers(handshake.headers),
        "client": None if handshake.client is None else (handshake.client, 0),
        "server": handshake.server,
        "subprotocols": list(handshake.subprotocols),
        "extensions": {"websocket.http.response": {}, "longwire": extension},
        "aws.event": event,  # as Mangum names it
        "aws.context": context,
        "state": state.copy(),
    }


@functools.lru_cache(maxsize=64)
def _raw_path(path: str) -> bytes:
    return quote(path, safe="/:@!$&'()*+,;=~").encode("ascii")


def extension(context: RequestContext, phase: str, expires_at: int) -> dict[str, Any]:
    """Tell an app that wants to know where it runs.

    `connected_at` is in epoch milliseconds, `expires_at` (when the stored scope ends) in seconds.
    """
    return {
        "connection_id": context.connection_id,
        "phase": phase,
        "route_key": context.route_key,
        "connected_at": context.connected_at,
        "expires_at": expires_at,
    }


def dump(
    handshake: Handshake,
    *,
    exclude_headers: frozenset[str] = frozenset(),  # in lower case
    exclude_query: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return what JSON can hold, without these headers and query parameters."""
    offered_is_excluded = "sec-websocket-protocol" in exclude_headers
    headers = handshake.headers
    if exclude_headers and headers:
        every = iter(headers.split("\n"))
        pairs = zip(every, every, strict=True)
        headers = _lines([pair for pair in pairs if pair[0] not in exclude_headers])
    return {
        "scheme": handshake.scheme,
        "path": handshake.path,
        "query_string": _without(handshake.query_string, exclude_query),
        "headers": headers,
        "client": handshake.client,
        "server": handshake.server,
        "subprotocols": () if offered_is_excluded else handshake.subprotocols,
        "connected_at": handshake.connected_at,
    }


_parts: Callable[[Any], Any] = itemgetter(*Handshake._fields)


def load(stored: Any) -> Handshake:
    """Return the handshake that was dumped; raises `StoredRecordError` for anything else."""
    try:
        scheme, path, query_string, headers, client, server, subprotocols, since = _parts(stored)
        handshake = Handshake(
            scheme,
            path,
            query_string,
            headers,
            client,
            None if server is None else (server[0], server[1]),
            tuple(subprotocols),
            since,
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StoredRecordError(f"the stored scope is not one of ours: {error!r}") from error
    lists = type(subprotocols) is list and type(server) in (list, NoneType)
    # Its text must not have a value in it, which may be a secret.
    if not (lists and _is_ours(handshake)):
        raise StoredRecordError("the stored scope is not one of ours: it holds a wrong value")
    return handshake


MANY = 1 << 53
"""More than any number that is stored, and still exact as a float."""


def _is_ours(of: Handshake) -> bool:
    """Tell whether all values are such as `handshake` makes them."""
    if of.scheme not in ("ws", "wss"):
        return False
    texts = [of.headers, of.path, of.query_string, *of.subprotocols]
    if of.client is not None:
        texts.append(of.client)
    if of.server is not None:
        host, port = of.server
        if type(port) is not int or not 0 <= port < 100_000:  # five digits
            return False
        texts.append(host)
    since = 0 if of.connected_at is None else of.connected_at
    if type(since) is not int or not 0 <= since < MANY:
        return False
    try:
        "".join(texts).encode()
    except (TypeError, UnicodeEncodeError):  # no str; half of a surrogate pair
        return False
    if of.headers and of.headers.count("\n") % 2 == 0:
        return False
    return of.path.startswith("/") and of.query_string.isascii()


def _query_string(query: Pairs, path_query: str | None) -> str:
    pairs = [pair for pair in query if pair[0] != path_query]
    return urlencode(pairs) if pairs else ""


def _without(query_string: str, names: frozenset[str]) -> str:
    """Return a query string, which `urlencode` has made, without the parameters of these names."""
    if not names:
        return query_string
    pairs = parse_qsl(query_string, keep_blank_values=True)
    return urlencode([pair for pair in pairs if pair[0] not in names])


_PATH_QUERY = (
    " (ws_config['path_query'] names the parameter of the query that is the path; None has no such "
    "parameter)"
)


def _only_path(given: list[str]) -> str:
    # An authorizer may have judged by another of them than the app would run at.
    if len(given) > 1:
        raise RefusedPathError(f"it names {len(given)} paths{_PATH_QUERY}")
    if not given[0].startswith("/"):
        raise RefusedPathError(f"its path does not begin with '/'{_PATH_QUERY}")
    if not CONTROL_CHARACTERS.isdisjoint(given[0]):
        raise RefusedPathError(f"its path holds control characters{_PATH_QUERY}")
    return given[0]


def _server(domain_name: str | None, port: str | None, scheme: str) -> tuple[str, int] | None:
    if not domain_name:
        return None
    host, _, own_port = domain_name.partition(":")
    digits = own_port or port or ""
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 5):
        digits = "80" if scheme == "ws" else "443"
    return host, int(digits)


def _subprotocols(headers: Pairs) -> tuple[str, ...]:
    offered = ",".join(value for name, value in headers if name == "sec-websocket-protocol")
    return tuple(name for part in offered.split(",") if (name := part.strip()))


def _lines(headers: Sequence[tuple[str, str]]) -> str:
    """Return headers as one text, which is stored and read faster than each by itself."""
    lines = "\n".join(chain.from_iterable(headers))
    if headers and lines.count("\n") != 2 * len(headers) - 1:
        # HTTP has none in a header: a value that goes on in another line is the same with a space.
        lines = "\n".join(part.replace("\n", " ") for part in chain.from_iterable(headers))
    return lines


def _headers(lines: str) -> list[tuple[bytes, bytes]]:
    """Return the headers as they were on the wire, with those that API Gateway takes out."""
    try:
        parts = lines.encode("latin-1").split(b"\n") if lines else []
    except UnicodeEncodeError:
        parts = [_bytes(part) for part in lines.split("\n")]
    names = parts[::2]
    headers = list(zip(names, parts[1::2], strict=True))
    for pair in UPGRADE:
        if pair[0] not in names:
            headers.append(pair)
    return headers


def _bytes(text: str) -> bytes:
    """Encode header text as it was on the wire; Latin-1 unless it cannot be."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")
