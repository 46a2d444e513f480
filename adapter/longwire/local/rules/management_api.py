"""What a request to `@connections` does; its actions are called as in AWS's API.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from longwire.local.rules.connection import ConnectionState, LocalConnection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from longwire.local.rules.settings import GatewaySettings

# URL-safe base64 that ends in its padding, as every id that was ever seen; AWS promises no length.
_CONNECTION_ID = re.compile(r"(?:[\w-]{4})*(?:[\w-]{2}==|[\w-]{3}=)", re.ASCII)


# Paths come again and again.
unquoted = functools.lru_cache(1024)(unquote)


class ManagementRequest(NamedTuple):
    """An HTTP request; method, target (path and query) and headers are as on the wire."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class JSONResponse:
    """An HTTP response; the body is always JSON or empty."""

    status: int
    body: bytes = b""
    error_type: str | None = None
    more_headers: tuple[tuple[str, str], ...] = ()

    @property
    def headers(self) -> list[tuple[str, str]]:
        headers = [("content-type", "application/json")] if self.status != 204 else []
        if self.error_type is not None:
            headers.append(("x-amzn-errortype", self.error_type))
        return [*headers, *self.more_headers]


@dataclass(frozen=True, slots=True)
class PostToConnection:
    """Send `data` to the client, then answer 200."""

    connection: LocalConnection
    data: bytes


@dataclass(frozen=True, slots=True)
class DeleteConnection:
    """Close the connection, then answer 204."""

    connection: LocalConnection


def json_response(status: int, message: str, error_type: str | None = None) -> JSONResponse:
    """Build an answer with AWS's usual JSON body."""
    return JSONResponse(status, json.dumps({"message": message}).encode(), error_type)


FORBIDDEN = json_response(403, "Forbidden", "ForbiddenException")
# A captured 410 has no body; clients tell it by the header.
GONE = JSONResponse(410, error_type="GoneException")
# The client does not read, and what is kept for it has reached its limit.
BUFFER_FULL = json_response(429, "Client side buffer is full", "LimitExceededException")
TOO_LONG = json_response(413, "Message too long", "PayloadTooLargeException")
POSTED = JSONResponse(200)
REMOVED = JSONResponse(204)


def decide(
    settings: GatewaySettings,
    connections: Mapping[str, LocalConnection],
    method: str,
    path: str,
    body: bytes,
) -> JSONResponse | PostToConnection | DeleteConnection:
    """Decide a request to the management API."""
    # The path is as on the wire: once unquoted, a `%2F` in an id would look like a slash.
    connection_id = _connection_id(settings, path)
    if connection_id is None or method not in ("GET", "POST", "DELETE"):
        return FORBIDDEN
    if not _CONNECTION_ID.fullmatch(connection_id):
        return json_response(400, f"Invalid connectionId: {connection_id}", "BadRequestException")
    if method == "POST" and len(body) > settings.message_limit:
        return TOO_LONG
    connection = connections.get(connection_id)
    if connection is None or connection.state is not ConnectionState.OPEN:
        return GONE
    if method == "POST":
        return PostToConnection(connection, body)
    return DeleteConnection(connection) if method == "DELETE" else _describe(connection)


def is_management_path(path: str) -> bool:
    """Tell a request to the management API from a handshake."""
    return "@connections" in unquoted(path).split("/")


def _connection_id(settings: GatewaySettings, path: str) -> str | None:
    segments = [unquoted(segment) for segment in path.split("/")]
    if len(segments) != 4 or segments[:3] != ["", settings.stage, "@connections"]:
        return None
    return segments[3] or None


def _describe(connection: LocalConnection) -> JSONResponse:
    document = {
        "connectedAt": _iso(connection.connected_at),
        "identity": {
            "sourceIp": connection.handshake.source_ip,
            "userAgent": connection.handshake.header("User-Agent"),
        },
        "lastActiveAt": _iso(connection.last_active_at),
    }
    return JSONResponse(200, json.dumps(document).encode())


def _iso(milliseconds: int) -> str:
    time = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
