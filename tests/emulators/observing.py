"""Finds out what an emulator does, under the names that `differs.py` has for it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.emulators.differs import NEVER, SILENCE

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from tests.emulators.emulator import Emulator

TIME_LIMIT = 15.0  # seconds; only keeps a failure from hanging
PATIENCE = 3.0  # seconds, for what does not come
USER_AGENT = "a client"
OFFERED = [Subprotocol("a"), Subprotocol("b")]


async def observe(emulator: Emulator) -> dict[str, Any]:
    """Observe everything; the function may be dead afterwards."""
    seen: dict[str, Any] = {}
    for look in (_handshakes, _connect_without_query, _connection, _deleted, _messages):
        seen |= await look(emulator)
    return seen


async def _status(url: str) -> int:
    """Return the status of a handshake."""
    try:
        async with connect(url, open_timeout=TIME_LIMIT):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def receive(client: ClientConnection) -> str:
    """Return the next message."""
    async with asyncio.timeout(TIME_LIMIT):
        return await client.recv(decode=True)


async def refusals(emulator: Emulator) -> dict[str, int]:
    """Return the status of each way to refuse a client."""
    ways = ("close", "denial", "exception", "crash")
    return {how: await _status(emulator.at("/refuse", how=how)) for how in ways}


async def _handshakes(emulator: Emulator) -> dict[str, Any]:
    async with connect(emulator.at("/echo/"), subprotocols=OFFERED) as client:
        subprotocol, extensions = client.subprotocol, client.protocol.extensions
    return {
        "statuses of refusals": await refusals(emulator),
        "status of a path below the stage": await _status(f"{emulator.url}/more?path=/echo/"),
        "subprotocol, when the app chose b of a and b": subprotocol,
        "compression": [extension.name for extension in extensions],
    }


async def _messages(emulator: Emulator) -> dict[str, Any]:
    long = "x" * 40_000
    told = {long: "delivered", "x": "delivered as text"}
    messages: dict[str, str | bytes] = {"a frame of 40 KB": long, "a binary message": b"x"}
    seen = {}
    for name, message in messages.items():
        async with connect(emulator.at("/echo/")) as client:
            await client.send(message)
            try:
                async with asyncio.timeout(PATIENCE):
                    seen[name] = told[await client.recv(decode=True)]
            except ConnectionClosed:
                seen[name] = f"closed with {client.close_code}"
            except TimeoutError:
                seen[name] = SILENCE
    return seen


async def _connect_without_query(emulator: Emulator) -> dict[str, Any]:
    async with connect(f"{emulator.url}/") as client:
        event, _ = await _events(client)
    return {"queryStringParameters without a query": event.get("queryStringParameters", NEVER)}


async def _connection(emulator: Emulator) -> dict[str, Any]:
    """Observe the events of a connection that the client closes."""
    async with connect(emulator.at("/chat", room="closed", name="watcher")) as watcher:
        async with connect(
            emulator.at("/", room="closed"),
            additional_headers=[("X-One", "1"), ("X-One", "2")],
            user_agent_header=USER_AGENT,
        ) as client:
            event, message = await _events(client)
            await client.close(4001, "over")
        last = json.loads(await receive(watcher))
    code = last["requestContext"].get("disconnectStatusCode")
    return {
        "disconnectStatusCode after the client's close(4001)": code,
        "body in CONNECT": event.get("body", NEVER),
        "headers of DISCONNECT": sorted(last["headers"]) if "headers" in last else NEVER,
        **_headers(event["multiValueHeaders"]),
        **_context(*(each["requestContext"] for each in (event, message, last))),
    }


def _headers(headers: dict[str, list[str]]) -> dict[str, Any]:
    names = {name.lower(): name for name in headers}
    added = names.keys() & {"x-forwarded-for", "x-amzn-trace-id"}
    return {
        "name of the header X-One": names["x-one"],
        "values of a header that is sent twice": headers[names["x-one"]],
        "Connection and Upgrade among the headers": sorted(
            names.keys() & {"connection", "upgrade"}
        ),
        "X-Forwarded-For and X-Amzn-Trace-Id among the headers": sorted(added),
    }


def _context(*contexts: dict[str, Any]) -> dict[str, Any]:
    first, *_ = contexts
    identity, connection_id = first["identity"], first["connectionId"]
    user_agent = identity.get("userAgent", NEVER)
    same = all(context["requestId"] == context["extendedRequestId"] for context in contexts)
    once = len({context["connectedAt"] for context in contexts}) == 1
    return {
        "domainName": first["domainName"].replace(first["apiId"], "{apiId}"),
        "connectionId": f"{len(connection_id)} characters"
        + (", the last is =" if connection_id.endswith("=") else ""),
        "requestId": "is the extendedRequestId" if same else "is not the extendedRequestId",
        "connectedAt": "the same in all events" if once else "the time of each event",
        "messageDirection": first.get("messageDirection", NEVER),
        "messageId in CONNECT": "there" if "messageId" in first else NEVER,
        "userAgent of identity": "the client's" if user_agent == USER_AGENT else user_agent,
        "null in identity": sorted(name for name, value in identity.items() if value is None),
    }


async def _deleted(emulator: Emulator) -> dict[str, Any]:
    """Observe the management API, and a connection that ends through it."""
    async with (
        httpx.AsyncClient(timeout=TIME_LIMIT) as http,
        connect(emulator.at("/chat", room="deleted", name="watcher")) as watcher,
        connect(emulator.at("/", room="deleted")) as client,
    ):
        event, _ = await _events(client)
        connection_id = event["requestContext"]["connectionId"]
        url = f"{emulator.management_url}/@connections/{connection_id}"
        posted = await http.post(url, content="from outside")
        assert await receive(client) == "from outside"
        got = await http.get(url)
        assert (await http.delete(url)).status_code == 204
        async with asyncio.timeout(TIME_LIMIT):
            await client.wait_closed()
        last = json.loads(await receive(watcher))["requestContext"]
        gone = [await http.request(method, url) for method in ("POST", "GET", "DELETE")]
    return {
        "POST": posted.status_code,
        "GET": [got.status_code, sorted(got.json()) if got.content else []],
        "close code after DELETE": client.close_code,
        "disconnectStatusCode and reason after DELETE": [
            last.get("disconnectStatusCode"),
            last.get("disconnectReason"),
        ],
        "POST, GET and DELETE after the end": [answer.status_code for answer in gone],
        "x-amzn-errortype of a 410": gone[0].headers.get("x-amzn-errortype"),
    }


async def _events(client: ClientConnection) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the CONNECT event of a connection to "/", and one MESSAGE event."""
    await client.send("show me")
    connected, message = json.loads(await receive(client)), json.loads(await receive(client))
    return connected, message
