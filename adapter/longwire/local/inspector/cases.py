"""What the page copies: an event as a command, a conversation as a test."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from longwire.local.rules.events import REPLACED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from longwire.local.inspector.entries import SeenEvent
    from longwire.local.rules.connection import ClientHandshake

# What every client sends, and no test needs.
_USUAL = {
    "host",
    "connection",
    "upgrade",
    "user-agent",
    "pragma",
    "cache-control",
    "accept-encoding",
    "accept-language",
    "accept",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "content-length",
}
# What an app may answer by, and what the gateway puts in.
_USUAL_IN_HTTP = (_USUAL - {"accept", "accept-language"}) | REPLACED
SECRET_HEADERS = {"authorization", "cookie", "proxy-authorization", "x-api-key"}
# As the page has it, and in the case of the letters, too.
_SECRET_NAME = "token|secret|passw|api_?key|signature|credential|jwt|^auth$|^sig$|^key$|^code$"
HIDDEN = "..."


def headers_of(handshake: ClientHandshake, *, secrets: bool) -> list[tuple[str, str]]:
    """Return the headers that make a difference; those with secrets as asked."""
    return [
        (name, value if secrets or name.lower() not in SECRET_HEADERS else HIDDEN)
        for name, value in handshake.headers
        if name.lower() not in _USUAL
    ]


def query_of(query: str, *, secrets: bool) -> str:
    """Return a query as it was; the values of those parameters that are secrets as asked."""
    if secrets:
        return query
    return "&".join(
        f"{name}={HIDDEN}" if value and re.search(_SECRET_NAME, unquote(name), re.I) else one
        for one in query.split("&")
        for name, _, value in [one.partition("=")]
    )


def wscat(url: str, handshake: ClientHandshake, body: str | None, *, secrets: bool) -> str:
    """Return the command that opens such a connection, and sends this."""
    query = f"?{query_of(handshake.query, secrets=secrets)}" if handshake.query else ""
    words = ["wscat", "-c", f"{url}/{query}"]
    for name, value in headers_of(handshake, secrets=secrets):
        words += ["-H", f"{name}: {value}"]
    for protocol in _subprotocols(handshake):
        words += ["-s", protocol]
    if body is not None:
        words += ["-x", body, "-w", "2"]
    return shlex.join(words)


def curl_action(url: str, action: dict[str, Any]) -> str:
    """Return the command that does what the page does."""
    body = json.dumps(action)
    kind = "Content-Type: application/json"
    return shlex.join(["curl", "-s", f"{url}/_longwire/do", "-H", kind, "-d", body])


def curl_post(management_url: str, connection_id: str, data: str) -> str:
    """Return the command that posts to a client."""
    url = f"{management_url}/@connections/{connection_id}"
    return shlex.join(["curl", "-s", "-X", "POST", url, "--data-raw", data])


def curl_http(event: dict[str, Any], url: str, *, secrets: bool) -> str:
    """Return the command that makes such an HTTP request."""
    http = event.get("requestContext", {}).get("http", {})
    method = http.get("method") or event.get("httpMethod") or "GET"
    query = query_of(event.get("rawQueryString") or "", secrets=secrets)
    # It is decoded in the event.
    path = quote(str(event.get("rawPath") or event.get("path") or "/"), safe="/:@!$&'()*+,;=~")
    words = ["curl", "-i", *(["-I"] if method == "HEAD" else ["-X", method])]
    words.append(url + path + (f"?{query}" if query else ""))
    headers = dict(event.get("headers") or {})
    if event.get("cookies"):
        headers["cookie"] = "; ".join(event["cookies"])
    for name, value in headers.items():
        lower = name.lower()
        if lower not in _USUAL_IN_HTTP and not lower.startswith("sec-"):
            hidden = lower in SECRET_HEADERS and not secrets
            words += ["-H", f"{name}: {HIDDEN if hidden else value}"]
    if isinstance(event.get("body"), str) and not event.get("isBase64Encoded"):
        words += ["--data-raw", event["body"]]
    return shlex.join(words)


def pytest_case(
    target: str,
    handshake: ClientHandshake,
    path_query: str | None,
    entries: Iterable[SeenEvent],
    *,
    secrets: bool,
) -> str:
    """Return a test that holds the conversation of these events, which are of one connection."""
    steps = [line for entry in entries for line in _steps(entry)]
    arguments = _arguments(handshake, path_query, secrets)
    lines = [
        "from longwire.testing import TestClient",
        "",
        "",
        "def test_conversation() -> None:",
        f"    with TestClient({target!r}) as client:",
        f"        with client.websocket_connect({arguments}) as ws:",
        *(f"            {line}" for line in steps or ["ws.nothing()"]),
    ]
    return "\n".join(lines) + "\n"


def _arguments(handshake: ClientHandshake, path_query: str | None, secrets: bool) -> str:
    pairs = parse_qsl(query_of(handshake.query, secrets=secrets), keep_blank_values=True)
    paths = [value for name, value in pairs if name == path_query]
    path = "/"
    if len(paths) == 1 and paths[0].startswith("/") and not paths[0].startswith("//"):
        path = quote(paths[0])
        pairs = [(name, value) for name, value in pairs if name != path_query]
    given = [repr(path + (f"?{urlencode(pairs)}" if pairs else ""))]
    if protocols := _subprotocols(handshake):
        given.append(f"subprotocols={protocols!r}")
    if headers := headers_of(handshake, secrets=secrets):
        given.append(f"headers={headers!r}")
    return ", ".join(given)


def _steps(entry: SeenEvent) -> list[str]:
    own = [frame for frame in entry.frames if frame.connection_id == entry.connection_id]
    lines = []
    if entry.kind == "MESSAGE":
        lines.append(f"ws.send_text({entry.event['body']!r})")
    for frame in own:
        if frame.status is None:  # the gateway's own, with ids that are new each time
            lines.append("ws.receive()  # an error of the gateway")
        elif frame.status == 200:
            lines.append(f"assert ws.receive_text() == {frame.data.decode(errors='replace')!r}")
    return lines


def _subprotocols(handshake: ClientHandshake) -> Sequence[str]:
    value = handshake.header("Sec-WebSocket-Protocol") or ""
    return [one.strip() for one in value.split(",") if one.strip()]
