"""python-socketio: what works, and what it takes; docs/integrations.md says the same."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import socketio

from longwire import Connections
from longwire.testing import Gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from longwire import WSConfig
    from longwire.testing import WebSocket

pytestmark = pytest.mark.anyio

HANDSHAKE = {"path": "/socket.io/", "EIO": "4", "transport": "websocket"}


def _app() -> Any:
    # API Gateway lets no client be polled, and a server that is not running sends no pings.
    sio = socketio.AsyncServer(
        async_mode="asgi", transports=["websocket"], ping_interval=7200, cors_allowed_origins="*"
    )
    connections = Connections()

    @sio.event  # type: ignore[untyped-decorator]  # socketio has no types
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        scope = environ["asgi.scope"]
        await sio.save_session(sid, {"scope": scope, "said": 0})

    @sio.event  # type: ignore[untyped-decorator]  # socketio has no types
    async def echo(sid: str, data: Any) -> str:
        await sio.emit("echo", data, to=sid)
        return "done"

    @sio.event  # type: ignore[untyped-decorator]  # socketio has no types
    async def count(sid: str) -> int:
        session = await sio.get_session(sid)
        session["said"] += 1
        await sio.save_session(sid, session)
        return int(session["said"])

    @sio.event  # type: ignore[untyped-decorator]  # socketio has no types
    async def join(sid: str, room: str) -> str:
        session = await sio.get_session(sid)
        scope = session["scope"]
        await connections.group_add(room, scope["extensions"]["longwire"]["connection_id"])
        return "joined"

    @sio.event  # type: ignore[untyped-decorator]  # socketio has no types
    async def say(sid: str, data: dict[str, str]) -> None:
        # "42" is Engine.IO's and Socket.IO's sign for an event.
        await connections.group_send(data["room"], "42" + json.dumps(["said", data["text"]]))

    return socketio.ASGIApp(sio)


@asynccontextmanager
async def _client(gateway: Gateway) -> AsyncIterator[WebSocket]:
    """Connect as a client of Socket.IO does."""
    async with gateway.connect(query=HANDSHAKE) as ws:
        opened = await ws.receive(20)
        assert opened[0] == "0"
        assert json.loads(opened[1:])["pingInterval"] == 7200 * 1000
        await ws.send("40")
        assert (await ws.receive(20)).startswith('40{"sid":')
        yield ws


@asynccontextmanager
async def _clients(number: int) -> AsyncIterator[list[WebSocket]]:
    config: WSConfig = {"backend": "memory", "params": {}, "replay": True}
    async with Gateway(_app(), config) as gateway, AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_client(gateway)) for _ in range(number)]


async def test_events_acknowledgements_and_sessions_work_with_replay() -> None:
    async with _clients(1) as (ann,):
        await ann.send('421["echo",{"n":1}]')
        assert [await ann.receive(20), await ann.receive(20)] == [
            '42["echo",{"n":1}]',
            '431["done"]',
        ]
        for number in (1, 2, 3):
            await ann.send(f'42{number}["count"]')
            assert await ann.receive(20) == f"43{number}[{number}]"


async def test_rooms_are_groups_of_connections() -> None:
    """Socket.IO's own are in the memory of one process, and none of their members runs."""
    async with _clients(2) as (ann, bob):
        for one in (ann, bob):
            await one.send('421["join","blue"]')
            assert await one.receive(20) == '431["joined"]'
        await ann.send('42["say",{"room":"blue","text":"hi"}]')
        for one in (ann, bob):
            assert await one.receive(20) == '42["said", "hi"]'


async def test_without_replay_a_message_finds_no_session_and_nothing_comes() -> None:
    """The handshake works, and that is all: what it says is in memory."""
    config: WSConfig = {"backend": "memory", "params": {}}
    async with Gateway(_app(), config) as gateway, _client(gateway) as ann:
        await ann.send('421["echo",{"n":1}]')
        await ann.nothing(0.2)
