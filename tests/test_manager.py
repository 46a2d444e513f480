"""`WebSocketManager`: one app in the usual style, under uvicorn and behind API Gateway's rules."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket

from longwire import (
    BackendError,
    Connections,
    InvalidArgumentError,
    Longwire,
    ManagementError,
    websocket_handler,
)
from longwire.manager import WebSocketManager, get_websocket_manager
from longwire.testing import Gateway
from longwire_backends.memory import MemoryBackend
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, message_event
from tests.parity.hosts import on_uvicorn
from tests.talk import old_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from longwire import testing
    from longwire_backends import Page

    Connect = Callable[[str], Awaitable["Client"]]

pytestmark = pytest.mark.anyio

_names = (f"manager {number}" for number in itertools.count())


class Client:
    """A client of either host, which speaks JSON."""

    def __init__(self, socket: testing.WebSocket | ClientConnection) -> None:
        self._socket = socket

    async def say(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))

    async def hear(self) -> Any:
        if isinstance(self._socket, ClientConnection):
            async with asyncio.timeout(10):
                return json.loads(await self._socket.recv())
        return await self._socket.receive_json(10)

    async def heard(self) -> list[Any]:
        """Return all that has come before the answer to a last question."""
        await self.say(echo="done")
        return [*await self.until("done")]

    async def until(self, last: Any) -> list[Any]:
        """Return all that comes before a certain message."""
        messages = []
        while (message := await self.hear()) != last:
            messages.append(message)
        return messages

    async def ask(self, **question: Any) -> Any:
        """Say something, and return the next message."""
        await self.say(**question)
        return await self.hear()

    async def close(self) -> None:
        await self._socket.close()


@asynccontextmanager
async def on_gateway(app: Any) -> AsyncIterator[Connect]:
    async with Gateway(app) as gateway, AsyncExitStack() as clients:

        async def connect(user: str) -> Client:
            connection = gateway.connect("/ws", query={"user": user})
            return Client(await clients.enter_async_context(connection))

        yield connect


@asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncIterator[Connect]:
    async with on_uvicorn(app, Path()) as address, AsyncExitStack() as clients:

        async def connect(user: str) -> Client:
            connection = connect_websocket(address("/ws", [("user", user)]), compression=None)
            return Client(await clients.enter_async_context(connection))

        yield connect


HOSTS = {"gateway": on_gateway, "uvicorn": under_uvicorn}
everywhere = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)


def make(**options: Any) -> WebSocketManager:
    return WebSocketManager(name=next(_names), **options)


def chat(manager: WebSocketManager) -> FastAPI:
    """Return the app of the usual tutorial, as it is with a manager in memory."""
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        try:
            while True:
                data = await websocket.receive_json()
                if "to" in data:
                    await manager.send_message(data["to"], {"from": user, "text": data["text"]})
                elif "echo" in data:
                    await websocket.send_json(data["echo"])
                else:
                    await manager.broadcast({"user": user, "text": data["text"]})
        except WebSocketDisconnect:
            manager.disconnect(user)
            await manager.broadcast({"left": user})

    return app


def commands(manager: WebSocketManager) -> FastAPI:
    """Return an app whose clients call the manager's methods."""
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        try:
            while True:
                await obey(manager, user, websocket, await websocket.receive_json())
        except WebSocketDisconnect:
            manager.disconnect(user)

    return app


async def obey(
    manager: WebSocketManager, user: str, websocket: WebSocket, data: dict[str, Any]
) -> None:
    match data:
        case {"echo": answer}:
            await websocket.send_json(answer)
        case {"join": room}:
            await manager.join(user, room)
            await websocket.send_json("joined")
        case {"leave": room}:
            await manager.leave(user, room)
            await websocket.send_json("left")
        case {"room": room, "text": text, **rest}:
            await manager.send_room(room, text, exclude=rest.get("exclude", ()))
        case {"to": to, "text": text}:
            result = await manager.send_message(to, text)
            await websocket.send_json([len(result.delivered), len(result.gone), result.ok])
        case {"all": text, **rest}:
            await manager.broadcast(text, rest.get("exclude", ()))
        case {"kick": other}:
            manager.disconnect(other)
            await manager.broadcast({"kicked": other})
        case {"online": other}:
            await websocket.send_json(await manager.get_connection(other) is not None)
        case {"plainly": other}:
            await websocket.send_json(bool(manager.get_connection(other)))


# The usual app


async def _converse(host: Any) -> dict[str, list[Any]]:
    async with host(chat(make())) as connect:
        alice, bob, eve = [await connect(user) for user in ("alice", "bob", "eve")]
        await alice.say(text="hello")
        told = {"bob": [await bob.hear()], "eve": [await eve.hear()], "alice": [await alice.hear()]}
        await bob.say(to="alice", text="secret é😀")
        await bob.say(to="nobody", text="lost")
        told["alice"].append(await alice.hear())
        await eve.close()
        told["alice"].append(await alice.hear())
        told["bob"].append(await bob.hear())
        await bob.say(text="who is there?")
        told["alice"].append(await alice.hear())
        told["bob"] += await bob.heard()
        told["alice"] += await alice.heard()
        return told


async def test_the_usual_app_gives_one_transcript() -> None:
    """Accept, broadcast, a message to one, to nobody, and what the others hear of an end."""
    told = {name: await _converse(host) for name, host in HOSTS.items()}
    hello, left = {"user": "alice", "text": "hello"}, {"left": "eve"}
    question = {"user": "bob", "text": "who is there?"}
    assert told["uvicorn"] == {
        "alice": [hello, {"from": "bob", "text": "secret é😀"}, left, question],
        "bob": [hello, left, question],
        "eve": [hello],
    }
    assert told["gateway"] == told["uvicorn"]


# One or several connections of a user


@everywhere
async def test_a_newer_connection_replaces_the_older(host: Any) -> None:
    """The older stays open, gets nothing more, and its end does not unregister the newer."""
    async with host(commands(make())) as connect:
        old, other = await connect("alice"), await connect("bob")
        new = await connect("alice")
        assert await other.ask(to="alice", text='"one"') == [1, 0, True]
        assert await old.heard() == []
        await old.close()
        assert await other.ask(to="alice", text='"two"') == [1, 0, True]
        await other.say(all='"three"')
        assert await other.heard() == ["three"]
        assert await new.heard() == ["one", "two", "three"]


@everywhere
async def test_an_end_that_is_noticed_late_leaves_the_new_connection(host: Any) -> None:
    """Also when the rooms were joined before: the user is still in them, and only once."""
    async with host(commands(make())) as connect:
        old, other = await connect("alice"), await connect("bob")
        assert await old.ask(join="blue") == "joined"
        new = await connect("alice")
        await old.close()
        await other.say(room="blue", text='"hello"')
        assert await other.heard() == []
        assert await new.heard() == ["hello"]


async def test_an_event_knows_its_own_connection_in_all_of_its_tasks() -> None:
    """Before Python 3.12 `wait_for` is another task, as is whatever a task group does."""
    manager, app = make(), FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(manager.connect(user, websocket))
        async for data in websocket.iter_json():
            await obey(manager, user, websocket, data)
        manager.disconnect(user)

    async with on_gateway(app) as connect:
        old, new = await connect("alice"), await connect("alice")
        await old.close()
        assert await new.ask(to="alice", text='"still there"') == "still there"


@everywhere
async def test_several_connections_of_a_user_all_get_a_message(host: Any) -> None:
    """The end of one leaves the others, also in the rooms that the user has joined on any."""
    async with host(commands(make(several=True))) as connect:
        first, other = await connect("alice"), await connect("bob")
        assert await first.ask(join="blue") == "joined"
        second = await connect("alice")
        assert await other.ask(to="alice", text='"one"') == [2, 0, True]
        await other.say(room="blue", text='"two"')
        assert await other.heard() == []
        assert await first.heard() == ["one", "two"]
        await first.close()
        assert await other.ask(to="alice", text='"three"') == [1, 0, True]
        await other.say(room="blue", text='"four"')
        assert await other.heard() == []
        assert await second.heard() == ["one", "two", "three", "four"]


# Rooms, names, absence


@everywhere
async def test_rooms(host: Any) -> None:
    """A room's message reaches who is in it, but for those that are excluded."""
    async with host(commands(make())) as connect:
        alice, bob, eve = [await connect(user) for user in ("alice", "bob", "eve")]
        for client in (alice, bob):
            assert await client.ask(join="blue") == "joined"
        await eve.say(room="blue", text='"all"')
        await eve.say(room="blue", text='"not bob"', exclude=["bob", "nobody"])
        await eve.say(room="blue", text='"nor alice"', exclude="alice")
        await eve.say(room="red", text='"none"')
        await eve.say(all='"not eve"', exclude=["eve"])
        assert await eve.heard() == []
        assert await bob.ask(leave="blue") == "all"
        assert await bob.heard() == ["nor alice", "not eve", "left"]
        await eve.say(room="blue", text='"last"')
        assert await eve.heard() == []
        assert await bob.heard() == []
        assert await alice.heard() == ["all", "not bob", "not eve", "last"]


@everywhere
async def test_odd_user_ids_and_rooms_do_not_mix(host: Any) -> None:
    """Whatever they hold, each is one of its own."""
    odd = ["all", "user:all", "user:a", "a", "a:b", "a%3Ab", "%00", "\0", " ", "é😀\n", "x" * 900]
    async with host(commands(make())) as connect:
        clients = [await connect(name) for name in odd]
        for name, client in zip(odd, clients, strict=True):
            assert await client.ask(join=name) == "joined"
            await client.say(room=name, text=json.dumps(["room", name]))
            assert await client.hear() == ["room", name]
        for name in odd:
            await clients[0].say(to=name, text=json.dumps(["to", name]))
        mine = await clients[0].heard()
        assert mine == [["to", "all"], *[[1, 0, True]] * len(odd)]
        for name, client in zip(odd[1:], clients[1:], strict=True):
            assert await client.heard() == [["to", name]]


@everywhere
async def test_managers_of_different_names_do_not_mix(host: Any) -> None:
    """Users and rooms of one are none of another."""
    one, other = make(), make()
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        manager = one if user == "one" else other
        await manager.connect("alice", websocket)
        async for data in websocket.iter_json():
            await obey(manager, "alice", websocket, data)

    async with host(app) as connect:
        first, second = await connect("one"), await connect("other")
        await first.say(all='"hello"')
        assert await first.ask(to="alice", text='"you"') == "hello"
        assert await second.heard() == []


@everywhere
async def test_somebody_who_is_not_there(host: Any) -> None:
    """Nothing is sent, nothing raised; awaited, and here in memory also plainly, None or false."""
    async with host(commands(make())) as connect:
        alice = await connect("alice")
        assert await alice.ask(to="bob", text='"hello"') == [0, 0, True]
        assert await alice.ask(online="bob") is False
        assert await alice.ask(plainly="bob") is False
        bob = await connect("bob")
        assert await alice.ask(online="bob") is True
        assert await alice.ask(plainly="bob") is True
        await bob.close()
        assert await alice.ask(to="bob", text='"hello"') == [0, 0, True]
        assert await alice.ask(online="bob") is False


async def test_names_that_cannot_be() -> None:
    """Each is refused before anything is done, and the text says what is wrong."""
    manager = WebSocketManager()
    for name, words in {
        "x" * 1100: r"a user id must have 1 to 1024 bytes",
        "\ud800": "half of a surrogate pair",
        None: "a user id is a NoneType; expected a str, an int or a UUID",
        True: "a user id is a bool",
    }.items():
        given: Any = name
        with pytest.raises(InvalidArgumentError, match=words):
            await manager.connect(given, object())
        with pytest.raises(InvalidArgumentError, match=words):
            manager.disconnect(given)
    with pytest.raises(InvalidArgumentError, match="the name of a room must have"):
        await manager.join("alice", "x" * 1100)
    with pytest.raises(InvalidArgumentError, match="the manager's name must have"):
        WebSocketManager(name="x" * 1100)


@everywhere
async def test_numbers_and_uuids_are_user_ids(host: Any) -> None:
    """A tutorial's `client_id: int` is one."""
    manager = make()
    app, uuid = FastAPI(), UUID(int=7)

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: int) -> None:
        await manager.connect(user, websocket)
        await manager.join(user, uuid)
        async for data in websocket.iter_json():
            await obey(manager, str(user), websocket, data)

    async with host(app) as connect:
        seven = await connect("7")
        await seven.say(room=str(uuid), text='"room"')
        assert await seven.ask(to="7", text='"you"') == "room"
        assert await seven.heard() == ["you", [1, 0, True]]


@everywhere
async def test_what_json_cannot_hold(host: Any) -> None:
    """A clear error in the app's own line, and nobody gets anything."""
    manager = make()
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        async for data in websocket.iter_json():
            for message in ({"at": object()}, {"not": float("nan")}):
                with pytest.raises(InvalidArgumentError, match="JSON cannot hold"):
                    await manager.broadcast(message)
            await obey(manager, user, websocket, data)

    async with host(app) as connect:
        alice = await connect("alice")
        assert await alice.heard() == []


# The object for one user


@everywhere
async def test_a_users_connection(host: Any) -> None:
    """It sends what a WebSocket would, and closes."""
    manager = make()
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        async for _ in websocket.iter_text():
            connection = manager.get_connection("bob")
            assert connection.user_id == "bob"
            await connection.send_text('{"a": "text"}')
            await connection.send_json({"b": "json"})
            await connection.send_json("c")
            await connection.send_bytes(b'"d"')
            await connection.close(4000, "enough")

    async with host(app) as connect:
        alice, bob = await connect("alice"), await connect("bob")
        await alice.say(go=1)
        assert [await bob.hear() for _ in range(4)] == [{"a": "text"}, {"b": "json"}, "c", "d"]
        with pytest.raises(Exception, match="1000"):
            await bob.hear()


# Ends


@everywhere
async def test_somebody_else_can_be_taken_out(host: Any) -> None:
    """From everything, though the WebSocket stays open; what comes next already knows."""
    async with host(commands(make())) as connect:
        alice, bob = await connect("alice"), await connect("bob")
        assert await bob.ask(join="blue") == "joined"
        assert await alice.ask(kick="bob") == {"kicked": "bob"}
        await alice.say(room="blue", text='"hello"')
        assert await alice.ask(online="bob") is False
        assert await bob.heard() == []


@everywhere
async def test_a_plain_disconnect_as_the_last_line_takes_effect(host: Any) -> None:
    """Nobody waits for it, neither in the app nor after it."""
    manager = make()
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        try:
            async for data in websocket.iter_json():
                await obey(manager, user, websocket, data)
                if data.get("echo") == "bye":
                    break
            else:
                raise WebSocketDisconnect
        except WebSocketDisconnect:
            manager.disconnect("bob")

    async with host(app) as connect:
        alice, bob, eve = [await connect(user) for user in ("alice", "bob", "eve")]
        await alice.close()
        while await eve.ask(online="bob"):
            pass
        assert await eve.ask(to="bob", text='"hello"') == [0, 0, True]
        assert await bob.heard() == []


@everywhere
async def test_who_is_taken_out_stays_connected(host: Any) -> None:
    """A user may leave the register and go on talking."""
    manager = make()
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        if user == "alice":
            await websocket.accept()
        await manager.connect(user, websocket)
        async for data in websocket.iter_json():
            if data.get("quit") is False:
                manager.disconnect(user)
            elif data.get("quit"):
                await manager.disconnect(user)
            await obey(manager, user, websocket, data)

    async with host(app) as connect:
        alice, bob = await connect("alice"), await connect("bob")
        for client, awaited in ((alice, True), (bob, False)):
            await client.say(quit=awaited)
            assert await client.ask(online="alice") is False
            assert await client.ask(online="bob") is (client is alice)
        await bob.say(all='"nobody"')
        assert await bob.heard() == await alice.heard() == []


@everywhere
async def test_a_finally_between_messages_unregisters_nobody(host: Any) -> None:
    """On Lambda it runs after each event, and must take effect only at the real end."""
    manager = make()
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        await manager.join(user, "blue")
        await manager.broadcast({"joined": user})
        try:
            while True:
                await obey(manager, user, websocket, await websocket.receive_json())
        except WebSocketDisconnect:
            pass
        finally:
            manager.disconnect(user)
            await manager.broadcast({"left": user})

    async with host(app) as connect:
        alice = await connect("alice")
        assert await alice.hear() == {"joined": "alice"}
        bob = await connect("bob")
        assert await bob.hear() == {"joined": "bob"}
        assert await alice.heard() == [{"joined": "bob"}]
        assert await bob.ask(to="alice", text='"one"') == [1, 0, True]
        await bob.say(room="blue", text='"two"', exclude=["bob"])
        assert await bob.heard() == []
        assert await alice.heard() == ["one", "two"]
        await bob.close()
        assert await alice.hear() == {"left": "bob"}
        assert await alice.heard() == []


@everywhere
async def test_synchronous_code_waits(host: Any) -> None:
    """In a thread the effect is there when the call returns."""
    manager = make()
    app = FastAPI()

    def take_out(user: str) -> list[bool]:
        before = bool(manager.get_connection(user))
        manager.disconnect(user)
        return [before, bool(manager.get_connection(user))]

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        async for data in websocket.iter_json():
            if "thread" in data:
                await websocket.send_json(await asyncio.to_thread(take_out, data["thread"]))
            else:
                await obey(manager, user, websocket, data)

    async with host(app) as connect:
        alice, bob = await connect("alice"), await connect("bob")
        assert await alice.ask(thread="bob") == [True, False]
        assert await alice.ask(thread="alice") == [True, False]
        await alice.say(all='"nobody"')
        assert await alice.heard() == await bob.heard() == []


class Failing(MemoryBackend):
    """A store in which no membership can be ended, while it is read-only."""

    read_only = True

    async def group_discard(self, group: str, connection_id: str) -> None:
        if self.read_only:
            raise BackendError(self.name, "group_discard", "it is read-only")
        await super().group_discard(group, connection_id)


@pytest.mark.parametrize("awaited", [False, True], ids=["plainly", "awaited"])
async def test_a_failing_store_is_in_the_log(
    awaited: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether or not anybody awaits it, and it is raised where somebody does."""
    manager, app, backend = make(), FastAPI(), Failing()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        async for _ in websocket.iter_text():
            leaving = manager.disconnect(user)
            if awaited:
                with pytest.raises(BackendError, match="read-only"):
                    await leaving
            await websocket.send_json("done")

    handler = Longwire(app, ws_config={"backend": backend, "params": {}})
    async with Gateway(handler) as gateway, gateway.connect("/ws", query={"user": "eve"}) as eve:
        with caplog.at_level(logging.ERROR, "longwire"):
            assert await Client(eve).ask(go=1) == "done"
            await eve.nothing()
        backend.read_only = False
    assert [record.getMessage() for record in caplog.records] == ["disconnect('eve') failed"]
    assert "read-only" in caplog.text


class Slow(MemoryBackend):
    """A store that takes a while to end a membership."""

    async def group_discard(self, group: str, connection_id: str) -> None:
        await asyncio.sleep(0.05)
        await super().group_discard(group, connection_id)


async def test_a_task_that_the_run_leaves_behind_is_done_with_the_event() -> None:
    """The answer to Lambda waits for it: after that the process may be frozen."""
    manager, app, backend = make(), FastAPI(), Slow()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        try:
            await websocket.receive_text()
        except WebSocketDisconnect:
            manager.disconnect("bob")

    handler = Longwire(app, ws_config={"backend": backend, "params": {}})
    async with Gateway(handler) as gateway, gateway.connect("/ws", query={"user": "bob"}) as bob:
        assert len(await backend.groups(bob.connection_id)) == 2
        async with gateway.connect("/ws", query={"user": "alice"}) as alice:
            pass
        assert alice.answers[-1].result == {"statusCode": 200}
        assert await backend.groups(bob.connection_id) == ()


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", ["function", "http"])
async def test_a_disconnect_that_nobody_awaits_is_done_with_any_event(
    kind: str, fails: bool
) -> None:
    """Of a function, or of HTTP, and also where the event fails."""
    manager, app, backend = make(), FastAPI(), Slow()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        await websocket.receive_text()

    async def kick(event: Any, context: Any) -> dict[str, int]:
        manager.disconnect("bob")
        if fails:
            raise ValueError("after it")
        return {"statusCode": 200}

    handler = Longwire(app, ws_config={"backend": backend, "params": {}}, http=kick)
    functions = websocket_handler(kick, ws_config={"backend": backend})
    async with Gateway(handler) as gateway, gateway.connect("/ws", query={"user": "bob"}) as bob:
        with pytest.raises(ValueError, match="after it") if fails else contextlib.nullcontext():
            if kind == "http":
                await handler.handle({"Records": []}, LambdaContext())
            else:
                await functions.handle(message_event("x"), LambdaContext())
        assert await backend.groups(bob.connection_id) == ()
    await functions.aclose()


async def test_what_follows_a_plain_disconnect_knows_of_it() -> None:
    """However slow the store is."""
    handler = Longwire(commands(make()), ws_config={"backend": Slow(), "params": {}})
    async with on_gateway(handler) as connect:
        alice, bob = await connect("alice"), await connect("bob")
        assert await alice.ask(kick="bob") == {"kicked": "bob"}
        assert await bob.heard() == []


class Counting(MemoryBackend):
    """A store that counts how often it is asked about groups."""

    asked = 0

    async def group_members(self, group: str, **page: Any) -> Page:
        self.asked += 1
        return await super().group_members(group, **page)


async def test_a_repeated_handshake_does_not_ask_the_store() -> None:
    """Each message begins with one."""
    backend = Counting()
    handler = Longwire(commands(make()), ws_config={"backend": backend, "params": {}})
    async with on_gateway(handler) as connect:
        alice = await connect("alice")
        before = backend.asked
        assert await alice.heard() == []
        assert backend.asked == before


@everywhere
async def test_the_apps_own_groups_are_none_of_the_managers(host: Any) -> None:
    """A disconnect leaves a connection in them."""
    manager, connections, app = make(), Connections(), FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, user: str) -> None:
        await manager.connect(user, websocket)
        async for _ in websocket.iter_json():
            await connections.group_add("own", websocket)
            await manager.disconnect(user)
            await connections.group_send("own", list(await connections.groups(websocket)))

    async with host(app) as connect:
        alice = await connect("alice")
        assert await alice.ask(go=1) == ["own"]


async def test_outside_a_plain_look_cannot_ask_a_store_elsewhere(tmp_path: Path) -> None:
    """There it is true for all; awaited, or from a thread, it is exact."""
    params: Any = {"file_path": tmp_path / "connections.sqlite3"}
    async with Connections(ws_config={"backend": "sqlite3", "params": params}) as connections:
        manager = WebSocketManager(connections)
        assert manager.get_connection("nobody")
        assert await manager.get_connection("nobody") is None
        assert not await asyncio.to_thread(manager.get_connection, "nobody")
        await manager.disconnect("nobody")
        await asyncio.to_thread(manager.disconnect, "nobody")
        await asyncio.to_thread(connections.sync.aclose)


async def test_one_connection_that_cannot_be_closed_keeps_no_other_open() -> None:
    """All of the user's are closed that can be; then the error is raised."""
    backend = MemoryBackend()
    async with ConnectionsServer() as server:
        connections = Connections(
            ws_config={"backend": backend}, api_gateway_endpoint_url=server.url
        )
        manager = WebSocketManager(connections, several=True)
        for one in ("a=", "b=", "c="):
            await backend.put(one, old_record(), 1 << 40)
            await backend.group_add("longwire:manager:user:alice", one, 1 << 40)
        server.answers["a="].append(403)
        user = await manager.get_connection("alice")
        assert user is not None
        with pytest.raises(ManagementError, match="a="):
            await user.close()
        assert [to for method, to, _ in server.requests if method == "DELETE"] == ["a=", "b=", "c="]
        await connections.aclose()


def test_there_is_one_manager_for_all_who_ask() -> None:
    """As for FastAPI's `Depends`."""
    assert get_websocket_manager() is get_websocket_manager()
