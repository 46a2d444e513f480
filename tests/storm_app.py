"""The app of `test_storm.py`: it joins a group at connect, sends for whoever asks, and keeps a log.

`longwire dev tests.storm_app:handler --remote-store`, with these in the environment:

STORM_STORE  the store as JSON: "backend" and the "params" of its class
STORM_LOG    a file that gets a line for each thing that must happen exactly once:
             "join ID NAME" and "end ID CODE"; and "gone ID DATA" for each post that was
             answered 410, which becomes "late ID DATA" where the client had been there so long
             that 410 cannot mean that API Gateway does not know it yet
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from longwire import Connections, Longwire
from longwire.registry.record import NEW_CONNECTION
from longwire_backends.redis.backend import RedisBackend
from longwire_backends.sqlite3.backend import SQLite3Backend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.fanout.result import SendResult
    from longwire.types import Receive, Scope, Send
    from longwire_aws.http import Response
    from longwire_aws.signed import Transport
    from longwire_backends import Backend

GROUP = "storm"

connections = Connections()
joined: dict[str, float] = {}
# Appended to with one system call for each line, so that no line is lost, however this ends.
_log = os.open(os.environ["STORM_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(*words: object) -> None:
    """Add a line to the log."""
    os.write(_log, (" ".join(map(str, words)) + "\n").encode())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one client: `?name=...` is in the log, and `&member=` makes it one of the group."""
    if scope["type"] != "websocket":
        raise NotImplementedError
    own, query = scope["extensions"]["longwire"], parse_qs(scope["query_string"].decode(), True)
    await receive()
    if "member" in query:
        # Before it accepts: who has the answer to its handshake is a member.
        await connections.group_add(GROUP, scope)
    if own["phase"] == "connect":
        joined[own["connection_id"]] = time.monotonic()
        note("join", own["connection_id"], query["name"][0])
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": await _obey(message["text"])})
    note("end", own["connection_id"], message["code"])


async def _obey(text: str) -> str:
    command: dict[str, str] = json.loads(text)
    match command["do"]:
        case "group_send":
            result = await connections.group_send(GROUP, command["data"])
        case "broadcast":
            result = await connections.broadcast(command["data"])
        case unknown:
            raise ValueError(unknown)
    return json.dumps(_told(result))


def _told(result: SendResult) -> dict[str, Any]:
    return {
        "delivered": list(result.delivered),
        "gone": list(result.gone),
        "failed": result.failed,
        "incomplete": result.incomplete,
    }


class WatchedTransport:
    """Notes each post to a connection that the gateway does not know (any more)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        response = await self._transport.request(method, url, headers, body, timeout=timeout)
        if method == "POST" and response.status == 410:
            connection_id = unquote(url.rpartition("/")[2])
            new = time.monotonic() - joined[connection_id] < NEW_CONNECTION
            note("gone" if new else "late", connection_id, body.decode())
        return response


def make_backend(backend: str, params: dict[str, Any]) -> Backend:
    """Open the store; not by ws_config, where it has no time limit to be set."""
    kinds: dict[str, Any] = {"redis": RedisBackend, "sqlite3": SQLite3Backend}
    store: Backend = kinds[backend](**params)
    return store


store = make_backend(**json.loads(os.environ["STORM_STORE"]))
handler = Longwire(app, ws_config={"backend": store})
handler.transport = WatchedTransport(handler.transport)
