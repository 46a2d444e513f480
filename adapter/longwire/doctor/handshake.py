"""One real conversation with an API, as short as can be, and what it shows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from longwire.doctor.answers import STATUSES, of_close, of_error_frame
from longwire.doctor.findings import Finding, found
from longwire.doctor.resources import Place
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from websockets.asyncio.client import ClientConnection
    from websockets.exceptions import InvalidStatus

_PLACE = Place("-")
_EXAMPLE = "wss://{api id}.execute-api.{region}.amazonaws.com/{stage}"
_GREETING = 1.0  # seconds for what an app may say first
_MOST_FRAMES = 1000


class Asked(NamedTuple):
    """What to try."""

    url: str
    message: str = "ping"
    headers: Sequence[tuple[str, str]] = ()
    subprotocols: Sequence[str] = ()
    timeout: float = 10.0


class Seen(NamedTuple):
    """What came of it."""

    url: str  # without what may be secret
    lines: tuple[str, ...]
    findings: tuple[Finding, ...]


def examine(asked: Asked) -> Seen:
    """Connect, listen, send, listen, close.

    Raises:
        ConfigurationError: it is no URL of a WebSocket.
        ModuleNotFoundError: websockets is not installed.
    """
    _check(asked)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    lines: list[str] = []
    findings = asyncio.run(_talk(asked, lines))
    return Seen(shown_url(asked.url), tuple(lines), tuple(findings))


def shown_url(url: str) -> str:
    """Return a URL without user and password, and without the values of its query but `path`."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return "the URL"
    # Whoever writes path=/ws?token=... has the rest of the URL in its path.
    query = "&".join(
        f"{name}={value.partition('?')[0] if name == 'path' else '...'}" for name, value in pairs
    )
    return f"{parts.scheme}://{host}{parts.path}" + (f"?{query}" if query else "")


def _check(asked: Asked) -> None:
    url = asked.url
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"--connect: not a URL, for example {_EXAMPLE}") from None
    if parts.scheme in ("http", "https"):
        meant = shown_url(url).replace("http", "ws", 1)
        raise ConfigurationError(
            f"--connect: a WebSocket's URL begins with wss:// (or ws://): {meant}"
        )
    if parts.scheme not in ("ws", "wss") or not host:
        raise ConfigurationError(f"--connect: not a URL of a WebSocket, for example {_EXAMPLE}")
    if parts.fragment:
        raise ConfigurationError("--connect: a WebSocket's URL has no part behind #")
    if "/@connections" in parts.path:
        raise ConfigurationError(
            "--connect: /@connections is the management API; clients connect to the URL without it"
        )


def is_api_gateway(url: str) -> bool:
    """Tell whether a URL is at API Gateway's own host."""
    return ".execute-api." in (urlsplit(url).hostname or "")


async def _talk(asked: Asked, lines: list[str]) -> list[Finding]:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidHandshake, InvalidStatus, NegotiationError

    class Connect(connect):
        """Follows no redirect, as browsers do not; the other host would be given the headers."""

        def process_redirect(self, exc: Exception) -> Exception:
            return exc

    began = time.monotonic()
    try:
        connection = await Connect(
            asked.url,
            additional_headers=list(asked.headers),
            subprotocols=list(asked.subprotocols) or None,  # type: ignore[arg-type]
            open_timeout=asked.timeout,
            close_timeout=asked.timeout,
            ping_interval=None,
        )
    except InvalidStatus as error:
        return [_refused(asked, error, lines)]
    except NegotiationError as error:
        return [found("connect-subprotocol", _PLACE, str(error))]
    except TimeoutError:
        return [found("connect-no-answer", _PLACE, f"no answer within {asked.timeout:g} s")]
    except ssl.SSLError as error:
        return [found("connect-tls", _PLACE, _of_tls(error))]
    except (InvalidHandshake, EOFError, ValueError) as error:
        cause = error.__cause__ or error
        return [
            found("connect-no-http", _PLACE, f"the answer is none of a WebSocket server: {cause}")
        ]
    except OSError as error:
        return [_unreachable(asked, error)]
    words = [f"connected in {_since(began)}"]
    if connection.subprotocol:
        words.append(f"subprotocol {connection.subprotocol}")
    lines.append(", ".join(words))
    findings: list[Finding] = []
    try:
        await _converse(asked, connection, lines, findings)
    finally:
        connection.transport.abort()
    return findings


async def _converse(
    asked: Asked, connection: ClientConnection, lines: list[str], findings: list[Finding]
) -> None:
    """Listen, send, listen, close; stops where the other side does."""
    greeting = await _frames(connection, min(_GREETING, asked.timeout), most=_MOST_FRAMES)
    lines.append(f"greeting: {_sizes(greeting)}" if greeting else "no greeting within a second")
    if not _closed(connection):
        began = time.monotonic()
        try:
            await asyncio.wait_for(connection.send(asked.message), asked.timeout)
            replies = await _frames(connection, asked.timeout, most=1)
        except (OSError, TimeoutError, _gone()):
            replies = []
        if replies:
            lines.append(f"reply after {_since(began)}: {_sizes(replies)}")
            findings += [one for one in map(of_error_frame, replies) if one is not None]
        elif not _closed(connection):
            text = f"no reply within {asked.timeout:g} s to {len(asked.message)} characters"
            findings.append(found("message-no-reply", _PLACE, text))
    if _closed(connection):
        when = "after the message" if len(lines) > 1 else "at once"
        said = f"{connection.close_code} {connection.close_reason or ''}".rstrip()
        lines.append(f"closed by the other side {when}: {said}")
        findings.append(of_close(connection.close_code, connection.close_reason or ""))
        return
    began = time.monotonic()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(connection.close(), asked.timeout + 1)
    if connection.close_code == 1006 or not _closed(connection):
        findings.append(found("close-unanswered", _PLACE, "the close was not answered"))
    else:
        lines.append(f"closed in {_since(began)}: {connection.close_code}")


def _gone() -> type[Exception]:
    from websockets.exceptions import ConnectionClosed

    return ConnectionClosed


async def _frames(connection: ClientConnection, seconds: float, *, most: int) -> list[str | bytes]:
    """Return what comes in this time."""
    frames: list[str | bytes] = []
    until = time.monotonic() + seconds
    while len(frames) < most and (left := until - time.monotonic()) > 0:
        try:
            frames.append(await asyncio.wait_for(connection.recv(), left))
        except (TimeoutError, OSError, _gone()):
            break
    return frames


def _closed(connection: ClientConnection) -> bool:
    return connection.close_code is not None


def _sizes(frames: list[str | bytes]) -> str:
    """Describe frames without what is in them."""
    first = frames[0]
    size = len(first.encode()) if isinstance(first, str) else len(first)
    kind = "text" if isinstance(first, str) else "binary"
    rest = f", and {len(frames) - 1} more" if len(frames) > 1 else ""
    return f"{kind} of {size} bytes{rest}"


def _since(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"


def _refused(asked: Asked, error: InvalidStatus, lines: list[str]) -> Finding:
    """Explain a status, by what API Gateway says of it."""
    status = error.response.status_code
    kind = error.response.headers.get("x-amzn-ErrorType", "").partition(":")[0]
    body = bytes(error.response.body or b"")[:300].decode("utf-8", "replace")
    said = re.search(r'"[mM]essage"\s*:\s*"([^"]{0,120})', body)
    words = " ".join(filter(None, [kind, said[1] if said else ""]))
    lines.append(f"refused with {status}" + (f": {words}" if words else ""))
    code = STATUSES.get(status, "connect-status")
    text = f"the handshake is answered {status}" + (f" ({words})" if words else "")
    if status == 403 and "Token" in words:
        code = "connect-token"
    elif status == 403 and is_api_gateway(asked.url) and not urlsplit(asked.url).path.strip("/"):
        code = "connect-stage"
    elif status == 403 and urlsplit(asked.url).path.count("/") > 1 and is_api_gateway(asked.url):
        code = "connect-path"
    return found(code, _PLACE, text)


def _of_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    return f"no TLS is possible: {error.reason or error}"


def _unreachable(asked: Asked, error: OSError) -> Finding:
    host = urlsplit(asked.url).hostname
    if isinstance(error, socket.gaierror):
        return found("connect-dns", _PLACE, f"the name {host} is not known")
    if asked.url.startswith("ws:") and is_api_gateway(asked.url):
        return found("connect-plain", _PLACE, f"{host} does not answer on the port of ws://")
    return found(
        "connect-refused", _PLACE, f"{host} does not take the connection: {_reason(error)}"
    )


def _reason(error: OSError) -> Any:
    return error.strerror or error
