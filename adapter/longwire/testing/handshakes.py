"""What a `TestClient` asks for when it connects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urljoin, urlsplit

from longwire.exceptions import ConfigurationError
from longwire.local.rules.connection import SAMPLE_KEY
from longwire.testing.options import INSTALL
from longwire.testing.pairs import pairs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.config.settings import Settings


def url_of(base_url: str, url: str) -> str:
    """Return the whole URL of a connection."""
    base = urlsplit(str(base_url))
    scheme = "wss" if base.scheme in ("https", "wss") else "ws"
    return urljoin(f"{scheme}://{base.netloc}", url)


def headers_of(given: Any, subprotocols: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return the headers that a handshake has besides those of its client."""
    headers = pairs_of(given)
    names = {name.lower() for name, _ in headers}
    usual = {
        "connection": "upgrade",
        "sec-websocket-key": SAMPLE_KEY,
        "sec-websocket-version": "13",
    }
    if subprotocols is not None:
        usual["sec-websocket-protocol"] = ", ".join(subprotocols)
    return headers + [(name, value) for name, value in usual.items() if name not in names]


def without_httpx(
    url: str,
    headers: list[tuple[str, str]],
    options: dict[str, Any],
    of_client: dict[str, str],
    cookies: dict[str, str],
) -> tuple[str, list[tuple[str, str]]]:
    """Return the URL and all headers as httpx would make them of the options."""
    params, more = options.pop("params", None), options.pop("cookies", None)
    for name in options:
        raise TypeError(f"websocket_connect: {name!r} needs httpx: {INSTALL}")
    if params:
        url += ("&" if "?" in url else "?") + urlencode(params, doseq=True)
    kept = {**cookies, **(more or {})}
    given = {name.lower() for name, _ in headers}
    usual = {"Host": urlsplit(url).netloc, **of_client}
    sent = [(name, value) for name, value in usual.items() if name.lower() not in given]
    if kept:
        sent.append(("cookie", "; ".join(f"{name}={value}" for name, value in kept.items())))
    return url, [*sent, *headers]


def query_of(url: str, settings: Settings | None) -> str:
    """Return the query of a URL with its path in it, where API Gateway can see that.

    Raises:
        ConfigurationError: it cannot.
    """
    parts = urlsplit(url)
    path, query = unquote(parts.path), parts.query
    name = "path" if settings is None else settings.path_query
    default = "/" if settings is None else settings.path
    if path in ("", "/", default):
        return query
    if name is None:
        raise ConfigurationError(
            f"websocket_connect({path!r}): API Gateway has no paths, and with path_query=None "
            f"there is no parameter that names one; every client gets {default!r}"
        )
    if any(key == name for key, _ in parse_qsl(query, keep_blank_values=True)):
        raise ConfigurationError(
            f"websocket_connect: the path is {path!r}, and the query has another in {name!r}; "
            "on API Gateway the query parameter is the path (ws_config['path_query'])"
        )
    return "&".join(part for part in (urlencode({name: path}), query) if part)
