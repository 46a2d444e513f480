"""`Connections.state`: what a connection's app keeps, read and changed from anywhere."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect

from longwire import (
    ConfigurationError,
    ConnectionGoneError,
    Connections,
    ConnectionsMiddleware,
    InvalidArgumentError,
    LongwireError,
    ManagementError,
    StateError,
)
from longwire.registry import record
from tests.invocation.test_connect import websocket
from tests.parity.hosts import on_uvicorn
from tests.talk import Talk, old_record, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from longwire import WSConfig

pytestmark = pytest.mark.anyio

connections = Connections()


async def app(ws: WebSocket) -> None:
    """Set a key as a message says, and answer with all."""
    ws.state.room = "hall"
    await ws.accept()
    async for text in ws.iter_text():
        for key, value in json.loads(text).items():
            setattr(ws.state, key, value)
        await ws.send_json(dict(ws.state._state))


async def _told(client: Talk, **values: Any) -> Any:
    await client.say(json.dumps(values))
    return json.loads(client.frames[-1])


async def test_who_a_connection_is_can_be_asked_and_changed_from_outside() -> None:
    """What the connect part has set is not there; the app finds the rest with its next message."""
    async with talk(websocket(app)) as client:
        await client.connect()
        assert await connections.state(client.connection_id) == {}
        await _told(client, user="ann", cart=["a"])
        assert await connections.state(client.connection_id) == {"user": "ann", "cart": ["a"]}
        await connections.update_state(
            client.connection_id, {"paid": True}, remove=["cart", "room"]
        )
        assert await connections.state(client.connection_id) == {"user": "ann", "paid": True}
        assert await _told(client, n=1) == {"user": "ann", "paid": True, "n": 1}
        await connections.update_state(client.connection_id, remove="user")
        await connections.update_state(client.connection_id)
        assert await connections.state(client.connection_id) == {"paid": True, "n": 1}


async def test_twenty_writers_lose_nothing() -> None:
    """While messages change other keys."""
    async with talk(websocket(app)) as client:
        await client.connect()
        await asyncio.gather(
            *(connections.update_state(client.connection_id, {f"o{n}": n}) for n in range(20)),
            *(client.say(json.dumps({f"m{n}": n})) for n in range(20)),
        )
        expected = {f"{who}{n}": n for who in "om" for n in range(20)}
        assert await connections.state(client.connection_id) == expected


async def test_an_app_reads_and_changes_its_own_at_once() -> None:
    """The same as in its scope, before anything is stored."""
    seen: list[Any] = []

    async def own(ws: WebSocket) -> None:
        ws.state.room = "hall"
        await ws.accept()
        async for text in ws.iter_text():
            ws.state.said = [text]
            seen.append(await connections.state(ws))
            await connections.update_state(ws, {"by": "api"}, remove=["room"])
            seen.append((await connections.state(ws), dict(ws.state._state)))
            seen.append(await asyncio.to_thread(connections.sync.state, ws))

    async with talk(websocket(own)) as client:
        await client.connect()
        await client.say("x")
        every = {"said": ["x"], "by": "api"}
        assert seen == [{"said": ["x"]}, (every, every), every]
        assert await connections.state(client.connection_id) == every


async def test_what_an_app_says_in_its_connect_part_is_stored_once() -> None:
    """As a group that it joins there; a replay changes nothing."""
    logins: list[str] = []

    async def own(ws: WebSocket) -> None:
        await connections.update_state(ws, {"user": f"ann {len(logins)}"})
        logins.append(str(await connections.state(ws)))
        await ws.accept()
        await connections.group_add("all", ws)
        await connections.update_state(ws, {"joined": True})
        async for _ in ws.iter_text():
            await ws.send_json(dict(ws.state._state))

    async with talk(websocket(own)) as client:
        await client.connect()
        stored = {"user": "ann 0", "joined": True}
        assert await connections.state(client.connection_id) == stored
        await client.say("")
        assert json.loads(client.frames[-1]) == stored
        assert logins == ["{'user': 'ann 0'}", str(stored)]


async def test_what_an_app_says_behind_its_response_is_stored_too() -> None:
    """There its scope is of the connect part, and would be lost."""
    release = asyncio.Event()

    async def own(ws: WebSocket) -> None:
        await ws.accept()
        await release.wait()
        await connections.update_state(ws, {"late": 1})
        async for _ in ws.iter_text():
            await ws.send_json(dict(ws.state._state))

    async with talk(websocket(own)) as client:
        await client.connect()
        release.set()
        await client.handler._deferred.wait()
        await client.say("")
        assert client.frames == ['{"late":1}']


async def test_what_an_app_says_while_it_is_stopped_has_no_effect() -> None:
    async def own(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive_text()
            await ws.receive_text()
        finally:
            await connections.update_state(ws, {"left": True})

    async with talk(websocket(own)) as client:
        await client.connect()
        await client.say("")
        assert await connections.state(client.connection_id) == {}


async def test_an_app_that_is_told_of_the_end_can_read_it() -> None:
    seen: list[Any] = []

    async def own(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            ws.state.user = text
        seen.append(await connections.state(ws))
        try:
            await connections.update_state(ws, {"late": 1})
        except ConnectionGoneError as error:
            seen.append(error.connection_id)

    async with talk(websocket(own)) as client:
        await client.connect()
        await client.say("ann")
        await client.leave()
        assert seen == [{"user": "ann"}, client.connection_id]


async def test_who_is_not_there_has_no_state() -> None:
    """Unknown, ended by the app, found to be gone, or with a record that nobody can read."""
    async with talk(websocket(app)) as client:
        await client.connect()
        backend = client.handler._api.backend
        assert backend is not None
        for name, change in {
            "ended": {"ended": True},
            "gone": {"gone_at": 1.0},
            "torn": {},
        }.items():
            value = json.dumps(json.loads(old_record()) | change)
            await backend.put(name, value if change else "{", 2**40)
        for name in ("unknown", "ended", "gone_at", "torn"):
            with pytest.raises(ConnectionGoneError):
                await connections.state(name)
            with pytest.raises(ConnectionGoneError):
                await connections.update_state(name, {"a": 1})
        assert await backend.get("torn") is None


@pytest.mark.parametrize("of", ["own", "other"])
async def test_what_cannot_be_kept_is_an_error_of_the_call(of: str) -> None:
    """Nothing is changed by it."""
    errors: list[LongwireError] = []

    async def attempt(target: Any) -> None:
        for values, remove in (
            ({"a": 1, "b": object()}, ()),
            ({5: 1}, ()),
            ({}, [5]),
            ({"a": "x" * 40_000}, ()),
            ("a", ()),
        ):
            try:
                await connections.update_state(target, values, remove=remove)  # type: ignore[arg-type]
            except (StateError, InvalidArgumentError) as error:
                errors.append(error)

    async def own(ws: WebSocket) -> None:
        if of == "own":
            await attempt(ws)
        await ws.accept()
        async for _ in ws.iter_text():
            await ws.send_json(dict(ws.state._state))

    async with talk(websocket(own)) as client:
        await client.connect()
        if of == "other":
            await attempt(client.connection_id)
        reasons = [getattr(error, "reason", str(error)) for error in errors]
        assert reasons[:3] == [
            "it has a value of type object, which JSON would not give back",
            "its key is no str",
            "its key is no str",
        ]
        assert "the limit is 32768" in reasons[3]
        assert reasons[4:] == ["the values are a str; expected a dict"]
        await client.say("")
        assert client.frames == ["{}"]


async def test_without_state_there_is_nothing_to_ask_for() -> None:
    async with talk(websocket(app), state=False) as client:
        await client.connect()
        with pytest.raises(ConfigurationError, match="'state'"):
            await connections.state(client.connection_id)


async def test_a_handshake_that_is_not_over_is_waited_for() -> None:
    """Its answer writes the record anew; who has no time learns why."""
    async with talk(websocket(app)) as client:
        await client.connect()
        backend = client.handler._api.backend
        assert backend is not None
        new = record.loads(old_record())
        new.connecting_until, new.joined = 2.0**40, True
        await backend.put("new", record.dumps(new), 2**40)
        with pytest.raises(ManagementError, match="until its handshake is over"):
            await Connections(ws_config={"backend": backend}, timeout=0.2).update_state(
                "new", {"a": 1}
            )
        writing = asyncio.create_task(connections.update_state("new", {"a": 1}))
        await asyncio.sleep(0)  # it has looked
        assert not writing.done()
        new.responded_at = 1.0
        await backend.put("new", record.dumps(new), 2**40)
        await writing
        assert await connections.state("new") == {"a": 1}


async def test_a_script_reads_it_by_the_store_alone(tmp_path: Path) -> None:
    """In synchronous code, too."""
    config: WSConfig = {"backend": "sqlite3", "params": {"file_path": str(tmp_path / "ws.sqlite3")}}
    async with talk(websocket(app), **config) as client:
        await client.connect()
        await _told(client, user="ann")

        def script() -> Any:
            outside = Connections(ws_config=config).sync
            outside.update_state(client.connection_id, {"paid": True})
            found = outside.state(client.connection_id)
            outside.aclose()
            return found

        assert await asyncio.to_thread(script) == {"user": "ann", "paid": True}


# --- under a server -------------------------------------------------------------------------------


async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": object(), "config": {"debug": True}}


async def _served(ws: WebSocket) -> None:
    ws.state.room = "hall"
    await ws.accept()
    ids.append(ws)
    await connections.info(ws)
    async for text in ws.iter_text():
        for key, value in json.loads(text).items():
            setattr(ws.state, key, value)
        shown = {key: one for key, one in ws.state._state.items() if key not in ("pool", "config")}
        await ws.send_json([shown, await connections.state(ws)])


ids: list[WebSocket] = []


async def _who(request: Request) -> JSONResponse:
    return JSONResponse(await connections.state(ids[-1]))


def _server(*, watched: bool, tmp_path: Path) -> AbstractAsyncContextManager[Any]:
    served: Any = Starlette(
        routes=[WebSocketRoute("/", _served), Route("/who", _who)],
        lifespan=asynccontextmanager(lifespan),
    )
    return on_uvicorn(ConnectionsMiddleware(served) if watched else served, tmp_path)


@pytest.mark.parametrize("watched", [True, False])
async def test_under_a_server_it_is_the_scope_s_own(watched: bool, tmp_path: Path) -> None:
    """With what the connect part has set; what the startup made is known to the middleware."""
    startup: dict[str, Any] = {} if watched else {"config": {"debug": True}}
    ids.clear()
    async with _server(watched=watched, tmp_path=tmp_path) as address:
        async with connect(address("/", [])) as client:
            await client.send('{"user": "ann", "cart": ["a"]}')
            expected: dict[str, Any] = {"room": "hall", "user": "ann", "cart": ["a"]}
            assert json.loads(await client.recv()) == [expected, startup | expected]
            async with httpx.AsyncClient() as http:
                answer = await http.get(address("/who", []).replace("ws:", "http:"))
            assert answer.json() == startup | expected
            (ws,) = ids
            await connections.update_state(ws, {"paid": True}, remove=["cart"])
            await client.send("{}")
            expected = {"room": "hall", "user": "ann", "paid": True}
            assert json.loads(await client.recv()) == [expected, startup | expected]
            with pytest.raises(StateError):
                await connections.update_state(ws, {"a": object()})
