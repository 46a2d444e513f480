"""The floor of one event: parse it, ask the store, run the app, send its frames."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from benchmarks.floor.signing import Signer
from benchmarks.floor.stores import expiry, make
from benchmarks.floor.wire import HTTP

if TYPE_CHECKING:
    from longwire.types import ASGIApp, Message, Send


class ParkedError(BaseException):
    """The app waits for the client."""


class FloorHandler:
    """A handler with Longwire's `ws_config`; on an event loop of its own, which stays."""

    def __init__(self, app: ASGIApp, *, ws_config: dict[str, Any], lifespan: str) -> None:
        self._app = app
        self._store = make(ws_config["backend"], ws_config["params"])
        self._posts = FloorPosts(ws_config["api_gateway_endpoint_url"])
        self._loop = asyncio.new_event_loop()

    def __call__(self, event: dict[str, Any], context: object) -> dict[str, int]:
        self._loop.run_until_complete(self._handle(event))
        return {"statusCode": 200}

    async def _handle(self, event: dict[str, Any]) -> None:
        context = event["requestContext"]
        connection_id: str = context["connectionId"]
        connect: Message = {"type": "websocket.connect"}
        match context["eventType"]:
            case "CONNECT":
                accepted: list[str] = []

                async def note(message: Message) -> None:
                    accepted.append(message["type"])

                record = _record(event)
                await self._run(record, event, note, [connect])
                assert accepted == ["websocket.accept"]
                text = json.dumps(record, separators=(",", ":"))
                await self._store.put(connection_id, text, expiry())
            case "MESSAGE":

                async def post(message: Message) -> None:
                    if message["type"] == "websocket.send":
                        await self._posts.post(connection_id, message["text"].encode())

                record = json.loads(await self._store.get(connection_id))
                told: Message = {"type": "websocket.receive", "text": event["body"]}
                await self._run(record, event, post, [told, connect])
            case "DISCONNECT":
                record = json.loads(await self._store.take(connection_id))
                code = context["disconnectStatusCode"]
                told = {"type": "websocket.disconnect", "code": code, "reason": ""}
                await self._run(record, event, _drop, [told, connect])

    async def _run(
        self, record: dict[str, Any], event: dict[str, Any], send: Send, messages: list[Message]
    ) -> None:
        async def receive() -> Message:
            if not messages:
                raise ParkedError
            return messages.pop()

        with suppress(ParkedError):
            await self._app(_scope(record, event), receive, send)


async def _drop(message: Message) -> None: ...


def _record(event: dict[str, Any]) -> dict[str, Any]:
    context = event["requestContext"]
    headers = [(n.lower(), v) for n, values in event["multiValueHeaders"].items() for v in values]
    query = (event.get("multiValueQueryStringParameters") or {}).items()
    return {
        "scheme": "wss",
        "path": "/",
        "query_string": urlencode([(name, value) for name, values in query for value in values]),
        "headers": headers,
        "client": context["identity"]["sourceIp"],
        "server": [context["domainName"], int(dict(headers).get("x-forwarded-port", 443))],
        "subprotocols": [],
        "connected_at": context["connectedAt"],
    }


def _scope(record: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": record["scheme"],
        "path": record["path"],
        "raw_path": record["path"].encode(),
        "query_string": record["query_string"].encode(),
        "root_path": "",
        "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in record["headers"]],
        "client": (record["client"], 0),
        "server": tuple(record["server"]),
        "subprotocols": record["subprotocols"],
        "extensions": {"websocket.http.response": {}},
        "state": {},
        "aws.event": event,
        "aws.context": None,
    }


class FloorPosts:
    """Signed posts to the management API, over one connection."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._base = f"{self._url.path}/@connections"
        self._signer = Signer("execute-api", self._url.netloc)
        self._wire: HTTP | None = None

    async def post(self, connection_id: str, body: bytes) -> None:
        if self._wire is None:
            tls = self._url.scheme == "https"
            self._wire = await HTTP.to(str(self._url.hostname), int(self._url.port or 80), tls=tls)
        path = f"{self._base}/{quote(connection_id, safe='')}"
        authorization = self._signer.authorization("POST", path, body)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._url.netloc}\r\n"
            f"X-Amz-Date: {self._signer.date}\r\nAuthorization: {authorization}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        status, _ = await self._wire.ask(head.encode() + body)
        assert status == b"200", status
