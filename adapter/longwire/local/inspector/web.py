"""The page's requests: the page itself, what it is told, what it asks for, what it does."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import json
import logging
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import longwire
from longwire.local.inspector import cases, entries, peers, stream
from longwire.local.inspector.access import PREFIX, is_for_page, refusal
from longwire.local.inspector.actions import ActionError, Actions
from longwire.local.rules.management_api import TOO_LONG, JSONResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire.local.function.instance import Instance
    from longwire.local.inspector.entries import SeenEvent
    from longwire.local.inspector.inspector import Inspector, WatchedFunction
    from longwire.local.inspector.stored import StoredRecords
    from longwire.local.rules.management_api import ManagementRequest
    from longwire.local.server.http import ClientHTTPConnection
    from longwire.local.server.server import LocalGateway
    from longwire.local.session import Session

logger: logging.Logger = logging.getLogger("longwire.local")

# Pages that are told at once.
MOST_VIEWERS = 8
_ALWAYS = (
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
)


@dataclass(frozen=True, slots=True)
class PageResponse(JSONResponse):
    """A response that is not JSON."""

    content_type: str = "text/html; charset=utf-8"

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("content-type", self.content_type), *self.more_headers]


@dataclass(frozen=True, slots=True)
class Started:
    """What the page is told of the command that it belongs to."""

    target: str  # as it was named
    has_processes: bool
    # The app's own routes, its default path, and the query parameter that gives another.
    about: Callable[[], tuple[Sequence[str], str, str | None]]
    processes: Callable[[], Sequence[Instance]] = tuple


class InspectorPage:
    """What the gateway hands requests to, and tells what happens."""

    def __init__(
        self,
        inspector: Inspector,
        stored: StoredRecords,
        started: Started,
        *,
        at_root: bool = True,  # else only below PREFIX
    ) -> None:
        self._at_root = at_root
        self._inspector = inspector
        self._stored = stored
        self._started = started
        self._gateway: LocalGateway | None = None
        self._actions: Actions | None = None
        self._viewers: set[stream.Viewer] = set()
        self._run_id = secrets.token_hex(4)

    def serve(self, gateway: LocalGateway, function: WatchedFunction) -> None:
        """Begin to answer, for this gateway and its function."""
        self._gateway = gateway
        self._actions = Actions(
            self._inspector,
            gateway,
            function,
            self._started.processes,
            lambda: self._started.about()[2],
        )

    # For the gateway

    def admitted(self, session: Session) -> None:
        self._inspector.admitted(session)

    def left(self, session: Session) -> None:
        self._inspector.left(session)

    def managed(self, request: ManagementRequest, response: JSONResponse) -> None:
        self._inspector.managed(request, response)

    def stop(self) -> None:
        for viewer in self._viewers:
            viewer.stop()

    def wants(self, request: ManagementRequest) -> bool:
        return is_for_page(request, at_root=self._at_root)

    async def answer(self, connection: ClientHTTPConnection, request: ManagementRequest) -> None:
        why = refusal(request, connection.addresses()[0])
        if why is not None:
            path = request.target.partition("?")[0]
            logger.warning("refused %s of the inspector: %s", path, why)
            connection.respond(json_response(403, why))
            return
        if request.target.partition("?")[0] == f"{PREFIX}/stream" and request.method == "GET":
            await self._stream(connection)
            return
        connection.respond(await self._respond(request))

    async def _respond(self, request: ManagementRequest) -> JSONResponse:
        path, _, query = request.target.partition("?")
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        match request.method, path.removeprefix(PREFIX).rstrip("/"):
            case (("GET" | "HEAD"), ""):
                return page()
            case "GET", "/event":
                entry = self._entry(asked)
                return _found(None if entry is None else entries.detail(entry))
            case "GET", "/connection":
                return _found(await self._connection(asked.get("id", "")))
            case "GET", "/case":
                return self._case(asked)
            case "POST", "/do":
                if len(request.body) > self._bound().rules.settings.message_limit:
                    return TOO_LONG
                return await self._do(request.body)
        return json_response(404, "Not Found")

    # What the page is told

    async def _stream(self, connection: ClientHTTPConnection) -> None:
        if len(self._viewers) >= MOST_VIEWERS:
            connection.respond(json_response(503, "the page is open too often"), close=True)
            return
        viewer = stream.Viewer(self._inspector)
        self._viewers.add(viewer)
        self._inspector.lookers.add(viewer)
        headers = [("content-type", "text/event-stream; charset=utf-8"), *_ALWAYS]
        try:
            await stream.serve(connection, viewer, headers, self._hello(), self._peer, self._more)
        finally:
            self._viewers.discard(viewer)
            self._inspector.lookers.discard(viewer)

    def _hello(self) -> dict[str, Any]:
        gateway = self._bound()
        return {
            "run": self._run_id,
            "url": gateway.url,
            "management": gateway.management_url,
            "target": self._started.target,
            "instances": self._started.has_processes,
            "version": longwire.__version__,
        }

    def _more(self) -> dict[str, Any]:
        self._inspector.put_output()
        routes, path, path_query = self._started.about()
        processes = [
            {
                "pid": one.pid,
                "busy": one.is_busy,
                "events": one.events,
                "retired": one.retired,
            }
            for one in self._started.processes()
        ]
        return {
            "routes": list(routes),
            "path": path,
            "path_query": path_query,
            "unavailable": self._bound().unavailable,
            "processes": sorted(processes, key=lambda one: one["pid"]),
        }

    def _peer(self, connection_id: str) -> dict[str, Any] | None:
        peer = self._inspector.peers.get(connection_id)
        if peer is None:
            return None
        _, path, path_query = self._started.about()
        return peers.describe(peer, path, path_query)

    # What the page asks for

    def _entry(self, asked: dict[str, str]) -> SeenEvent | None:
        self._inspector.put_output()
        number = asked.get("n", "")
        return self._inspector.ring.get(int(number)) if re.fullmatch(r"\d{1,15}", number) else None

    async def _connection(self, connection_id: str) -> dict[str, Any] | None:
        peer = self._peer(connection_id)
        if peer is None:
            return None
        said = entries.conversation(self._inspector.ring, connection_id)
        return peer | {"conversation": said, "stored": await self._stored.of(connection_id)}

    def _case(self, asked: dict[str, str]) -> JSONResponse:
        entry = self._entry(asked)
        text = None if entry is None else self._as(asked.get("as", ""), entry, asked)
        return _found(None if text is None else {"text": text})

    def _as(self, form: str, entry: SeenEvent, asked: dict[str, str]) -> str | None:
        gateway, shown = self._bound(), asked.get("secrets") == "1"
        http = gateway.url.replace("ws://", "http://", 1)
        peer = self._inspector.peers.get(entry.connection_id or "")
        handshake = None if peer is None else peer.session.connection.handshake
        body = entry.event.get("body") if entry.kind == "MESSAGE" else None
        match form, entry.kind:
            case "curl", "HTTP":
                return cases.curl_http(entry.event, gateway.http_url or http, secrets=shown)
            case "curl", "POST":
                data = entry.frames[0].data.decode(errors="replace") if entry.frames else ""
                return cases.curl_post(gateway.management_url, entry.connection_id or "", data)
            case "curl", "MESSAGE":
                send = {"do": "send", "connection": entry.connection_id, "text": body}
                return cases.curl_action(http, send)
            case "curl", "CONNECT" | "DISCONNECT":
                return cases.curl_action(http, {"do": "replay", "event": entry.number})
            case "wscat", "CONNECT" | "MESSAGE" if handshake is not None:
                return cases.wscat(gateway.url, handshake, body, secrets=shown)
            case "pytest", "CONNECT" | "MESSAGE" | "DISCONNECT" if handshake is not None:
                return cases.pytest_case(
                    self._started.target,
                    handshake,
                    self._started.about()[2],
                    self._until(entry),
                    secrets=shown,
                )
        return None

    def _until(self, entry: SeenEvent) -> list[SeenEvent]:
        return [
            one
            for one in self._inspector.ring
            if one.connection_id == entry.connection_id
            and one.number <= entry.number
            and one.kind in ("CONNECT", "MESSAGE")
            and one.replay_of is None
        ]

    # What it does

    async def _do(self, body: bytes) -> JSONResponse:
        assert self._actions is not None
        try:
            done = await self._actions.do(json.loads(body))
        except ActionError as error:
            return _answer(400, {"ok": False, "error": str(error)})
        except (ValueError, RecursionError):
            return _answer(400, {"ok": False, "error": "expected JSON"})
        return _answer(200, done)

    def _bound(self) -> LocalGateway:
        assert self._gateway is not None
        return self._gateway


def _found(value: object) -> JSONResponse:
    return json_response(404, "Not Found") if value is None else _answer(200, value)


def _answer(status: int, value: object) -> JSONResponse:
    return JSONResponse(status, entries.as_json(value), more_headers=_ALWAYS)


@functools.cache
def page() -> PageResponse:
    """Return the page, which may run its own script and nothing else."""
    text = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hashes(text, 'script')}",
            f"style-src {_hashes(text, 'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # No text of a client ever becomes a part of the page.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    headers = (("content-security-policy", policy), *_ALWAYS)
    return PageResponse(200, text.encode(), more_headers=headers)


def _hashes(text: str, tag: str) -> str:
    inner = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digests = (hashlib.sha256(one.encode()).digest() for one in inner)
    return " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)
