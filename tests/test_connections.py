"""`Connections` inside an app that a handler runs, and outside of any."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from longwire import (
    ConfigurationError,
    ConnectionGoneError,
    Connections,
    InvalidArgumentError,
    Longwire,
    ManagementError,
    MessageTooLargeError,
)
from longwire.exceptions import ASGIMessageError, DeadlineError
from longwire.invocation.invocation import Departures
from longwire.registry import record
from longwire.registry.base import Departure
from longwire_backends.base import BackendError, Page, Record
from longwire_backends.memory import MemoryBackend
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event
from tests.talk import Talk, old_record, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.anyio

connections = Connections()


def websocket(endpoint: Callable[[WebSocket], Awaitable[None]]) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/", endpoint)])


async def room(ws: WebSocket) -> None:
    """A chat room, as anybody would write it for a server."""
    name = ws.query_params["name"]
    await ws.accept()
    await connections.group_add("room", ws)
    await connections.group_send("room", f"{name} joined")
    try:
        while True:
            await connections.group_send("room", f"{name}: {await ws.receive_text()}")
    except WebSocketDisconnect as error:
        groups = await connections.groups(ws)
        await connections.group_send("room", f"{name} left {groups} {error.code}")


async def enter(client: Talk, name: str) -> Talk:
    """Connect, and get the greeting."""
    await client.connect(query={"name": [name]})
    await client.server.until(lambda: f"{name} joined" in client.frames)
    return client


# --- inside: what takes effect, and when ----------------------------------------------------------


async def test_a_room_is_as_under_a_server() -> None:
    """Who joins gets the greeting, too; nothing is repeated; who has left gets nothing."""
    async with talk(websocket(room)) as ann:
        await enter(ann, "ann")
        bob = await enter(ann.another(), "bob")
        await ann.say("hi")
        await bob.say("ho")
        await bob.leave(1001)
        assert ann.frames == [
            "ann joined",
            "bob joined",
            "ann: hi",
            "bob: ho",
            "bob left ('room',) 1001",
        ]
        assert bob.frames == ["bob joined", "ann: hi", "bob: ho"]


async def test_what_a_run_does_while_it_unwinds_has_no_effect() -> None:
    """A `finally` that is right on a server drops no client who is still connected."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        try:
            async for text in ws.iter_text():
                await connections.group_send("room", text)
        finally:
            await connections.group_discard("room", ws)
            await connections.broadcast("somebody left")
            await connections.close(ws)

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["a", "b"]
        assert not client.deleted
        other = client.another()
        await other.connect()
        await client.leave()
        assert other.frames == ["somebody left"]


async def test_a_refused_connection_is_in_no_group_and_has_no_record() -> None:
    """Whatever the app did before it refused."""

    async def app(ws: WebSocket) -> None:
        await connections.group_add("room", ws)
        if ws.query_params["name"] == "bob":
            await ws.close()
        elif ws.query_params["name"] == "eve":
            raise ValueError("no such thing")
        else:
            await ws.accept()
            await ws.receive()

    backend = MemoryBackend()
    async with talk(websocket(app), backend=backend) as client:
        assert await client.connect(query={"name": ["bob"]}) == {"statusCode": 403}
        assert await client.another().connect(query={"name": ["eve"]}) == {"statusCode": 500}
        assert (await backend.connections()).members == ()
        assert (await backend.group_members("room")).members == ()
        await client.connect(query={"name": ["ann"]})
        assert (await backend.group_members("room")).members == (client.connection_id,)


@pytest.mark.parametrize("ending", ["close", "return", "raise"])
async def test_a_connection_that_its_app_ends_is_in_no_group(ending: str) -> None:
    """However the app ends it."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        await ws.receive_text()
        if ending == "close":
            await ws.close()
        if ending == "raise":
            raise ValueError("broken")

    backend = MemoryBackend()
    async with talk(websocket(app), backend=backend) as client:
        await client.connect()
        assert await backend.groups(client.connection_id) == ("room",)
        await client.say("end")
        assert client.deleted
        assert await backend.groups(client.connection_id) == ()
        assert (await backend.connections()).members == ()


async def test_a_member_is_stored_before_it_joins() -> None:
    """A member without a record would be taken for one that is gone, and so lose its groups."""
    backend = _Watched()

    async def app(ws: WebSocket) -> None:
        await connections.group_add("room", ws)
        await ws.accept()
        await ws.receive()

    async with talk(websocket(app), backend=backend) as client:
        await client.connect()
        assert backend.calls[:2] == ["put", "group_add"]


class _Watched(MemoryBackend):
    """Notes which writes come in which order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self.calls.append("put")
        return await super().put(connection_id, value, expires_at)

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        self.calls.append("group_add")
        await super().group_add(group, connection_id, expires_at)

    async def group_discard_all(self, connection_id: str) -> tuple[str, ...]:
        self.calls.append("group_discard_all")
        return await super().group_discard_all(connection_id)


async def test_a_repeated_handshake_joins_nothing_anew() -> None:
    """An effect that is swallowed does not even ask the store."""
    backend = _Watched()
    async with talk(websocket(room), backend=backend) as client:
        await enter(client, "ann")
        await client.say("a")
        assert backend.calls.count("group_add") == 1


@pytest.mark.parametrize("how", ["inside", "outside", "never"])
async def test_whoever_has_joined_later_leaves_with_the_end(how: str) -> None:
    """From a message handler or from a script; an app without groups pays nothing for them."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            if how == "inside":
                await connections.group_add("room", ws)

    backend = _Watched()
    async with talk(websocket(app), backend=backend) as client:
        await client.connect()
        await client.say("x")
        if how == "outside":
            async with Connections(
                ws_config={"backend": backend}, api_gateway_endpoint_url=client.server.url
            ) as outside:
                await outside.group_add("room", client.connection_id)
        there = () if how == "never" else (client.connection_id,)
        assert (await backend.group_members("room")).members == there
        await client.leave()
        assert (await backend.group_members("room")).members == ()
        assert ("group_discard_all" in backend.calls) is (how != "never")


async def test_before_accept_oneself_cannot_be_sent_to() -> None:
    """As on a server: the others get it, and it is a failure, not an end."""
    results = []

    async def app(ws: WebSocket) -> None:
        await connections.group_add("room", ws)
        results.append(await connections.group_send("room", "early"))
        await ws.accept()
        await ws.receive()

    async with talk(websocket(app)) as client:
        await client.connect()
        assert results[0].failed == {
            client.connection_id: f"@connections/{client.connection_id}: "
            "the app has not accepted it yet"
        }
        await client.say("x")
        assert client.frames == []


async def test_others_are_reached_by_id_scope_and_websocket() -> None:
    """A target is whichever is at hand."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for to in ws.iter_text():
            await connections.send(to, {"to": to})
            await connections.send(ws.scope, "scope")
            await connections.send(ws, b"bytes")

    async with talk(websocket(app)) as ann:
        await ann.connect()
        bob = ann.another()
        await bob.connect()
        await ann.say(bob.connection_id)
        assert bob.frames == [f'{{"to":"{bob.connection_id}"}}']
        assert ann.frames == ["scope", "bytes"]


async def test_exclude_takes_targets_of_every_kind() -> None:
    """Whoever is excluded gets nothing, also in a broadcast."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        async for other in ws.iter_text():
            await connections.group_send("room", "a", exclude=[ws])
            await connections.group_send("room", "b", exclude=(ws.scope, other))
            await connections.broadcast("c", exclude={other})
            await connections.group_send("room", "d", exclude=other)
            await connections.group_send("room", "e", exclude=ws)
            await connections.group_send("room", "f", exclude=ws.scope)

    async with talk(websocket(app)) as ann:
        await ann.connect()
        bob, cat = ann.another(), ann.another()
        await bob.connect()
        await cat.connect()
        await ann.say(bob.connection_id)
        assert ann.frames == ["c", "d"]
        assert bob.frames == ["a", "e", "f"]
        assert cat.frames == ["a", "b", "c", "d", "e", "f"]


async def test_one_app_closes_the_connection_of_another() -> None:
    """The client is closed, and its own app is told by its own event."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for other in ws.iter_text():
            await connections.close(other)

    async with talk(websocket(app)) as ann:
        await ann.connect()
        bob = ann.another()
        await bob.connect()
        await ann.say(bob.connection_id)
        assert bob.deleted
        assert not ann.deleted
        await ann.say(bob.connection_id)  # once more is no error


async def test_an_app_closes_its_own_connection() -> None:
    """As with websocket.close: the app sees its end, and no event tells it again."""
    seen = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive_text()
        await connections.close(ws)
        seen.append(await ws.receive())

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("end")
        assert client.deleted
        assert seen == [{"type": "websocket.disconnect", "code": 1000, "reason": ""}]


async def test_an_app_whose_client_is_gone_cannot_send_to_it() -> None:
    """The error is typed; nothing is posted, and it cannot join a group any more."""
    errors: list[Exception] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            pass
        for attempt in (connections.send(ws, "x"), connections.group_add("room", ws)):
            try:
                await attempt
            except ConnectionGoneError as error:
                errors.append(error)

    async with talk(websocket(app)) as client:
        await client.connect()
        posts = len(client.server.requests)
        await client.leave()
        assert [str(one) for one in errors] == [f"connection {client.connection_id} is gone"] * 2
        assert len(client.server.requests) == posts


async def test_info_asks_api_gateway() -> None:
    """As its GET answers."""
    infos = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            infos.append(await connections.info(ws))

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("x")
        assert infos[0].source_ip == "203.0.113.7"
        assert infos[0].connected_at.isoformat() == "2025-11-11T13:45:35.513000+00:00"


# --- inside: who is gone --------------------------------------------------------------------------


async def test_a_send_finds_who_is_gone_and_its_app_is_told_once() -> None:
    """With code 1006, out of all groups; a late $disconnect finds nothing more to tell."""
    async with talk(websocket(room)) as ann:
        await enter(ann, "ann")
        bob = await enter(ann.another(), "bob")
        await bob.grow_old()
        bob.vanish()
        await ann.say("hi")
        await ann.until("ann joined", "bob joined", "ann: hi", "bob left ('room',) 1006")
        await bob.leave()
        await ann.say("ho")
        assert ann.frames[-2:] == ["bob left ('room',) 1006", "ann: ho"]
        posts = [body for _, to, body in ann.server.requests if to == bob.connection_id]
        assert posts == [b"bob joined", b"ann: hi"]  # to nobody twice who is gone


async def test_many_who_are_gone_are_each_told_once() -> None:
    """Those that only the announcement of another's end finds, too."""
    told = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add(ws.query_params["room"], ws)
        async for text in ws.iter_text():
            await connections.group_send("one", text)
        told.append(ws.query_params["name"])
        await connections.group_send("two", "left")

    async with talk(websocket(app)) as ann:
        await ann.connect(query={"room": ["none"], "name": ["ann"]})
        for number in range(40):
            one = ann.another()
            group = ("one", "two")[number % 2]
            await one.connect(query={"room": [group], "name": [str(number)]})
            await one.grow_old()
            one.vanish()
        await ann.say("hi")
        assert sorted(told, key=int) == [str(number) for number in range(40)]
        assert len(ann.server.requests) == 40


async def test_an_app_that_raises_at_its_end_stops_nobody(caplog: Any) -> None:
    """It is logged, and the others are told."""
    told = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        async for text in ws.iter_text():
            await connections.group_send("room", text)
        told.append(ws.query_params["name"])
        raise ValueError("at the end")

    async with talk(websocket(app)) as ann:
        await ann.connect(query={"name": ["ann"]})
        for name in ("bob", "cat"):
            one = ann.another()
            await one.connect(query={"name": [name]})
            await one.grow_old()
            one.vanish()
        await ann.say("hi")
        assert sorted(told) == ["bob", "cat"]
    assert "at the end" in caplog.text


async def test_a_young_connection_is_not_taken_for_gone() -> None:
    """API Gateway knows it a little later than its handshake's answer; the send waits for it."""
    async with talk(websocket(room)) as ann:
        await enter(ann, "ann")
        bob = ann.another()
        event = connect_event(bob.connection_id, query={"name": ["bob"]})
        event["requestContext"]["connectedAt"] = int(time.time() * 1000)
        bob.server.known.add(bob.connection_id)
        await ann.handler.handle(event, LambdaContext())
        await bob.until("bob joined")
        bob.server.answers[bob.connection_id].extend([410, 410, 410])
        await ann.say("hi")
        assert bob.frames == ["bob joined", "ann: hi"]


async def test_a_slow_handshake_is_no_reason_to_be_taken_for_gone() -> None:
    """What counts is when it was answered, not when the client began."""
    async with talk(websocket(room)) as ann:
        await enter(ann, "ann")
        bob = ann.another()
        event = connect_event(bob.connection_id, query={"name": ["bob"]})
        event["requestContext"]["connectedAt"] = int((time.time() - 20) * 1000)
        bob.server.known.add(bob.connection_id)
        await ann.handler.handle(event, LambdaContext())
        await bob.until("bob joined")
        bob.server.answers[bob.connection_id].extend([410, 410])
        await ann.say("hi")
        assert bob.frames == ["bob joined", "ann: hi"]


async def test_a_member_whose_handshake_goes_on_is_not_taken_for_gone() -> None:
    """It has a record from the moment it joins; the send says that it could not be reached."""
    joined, go_on = asyncio.Event(), asyncio.Event()

    async def app(ws: WebSocket) -> None:
        await connections.group_add("room", ws)
        joined.set()
        await go_on.wait()
        await ws.accept()
        await ws.receive()

    backend = MemoryBackend()
    async with talk(websocket(app), backend=backend) as client:
        connecting = asyncio.create_task(client.connect())
        await joined.wait()
        async with Connections(
            ws_config={"backend": backend}, api_gateway_endpoint_url=client.server.url, timeout=1
        ) as outside:
            result = await outside.group_send("room", "x")
        assert result.failed == {client.connection_id: "its handshake is not over yet"}
        go_on.set()
        assert await connecting == {"statusCode": 200}
        assert (await backend.group_members("room")).members == (client.connection_id,)


async def test_an_app_that_returned_is_told_nothing_more() -> None:
    """Though it was stored when it joined a group: it has seen its end."""
    phases = []

    async def app(ws: WebSocket) -> None:
        phases.append(ws.scope["extensions"]["longwire"]["phase"])
        await ws.accept()
        await connections.group_add("room", ws)
        await ws.send_text("bye")

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.leave()
        await client.leave()
        assert phases == ["connect"]


async def test_who_has_left_meanwhile_joins_nothing() -> None:
    """API Gateway may tell of the end while a message is still being answered."""
    backend, errors = MemoryBackend(), []
    told, joining = asyncio.Event(), asyncio.Event()

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            joining.set()
            await told.wait()
            try:
                await connections.group_add("room", ws)
            except ConnectionGoneError as error:
                errors.append(str(error))

    async with talk(websocket(app), backend=backend) as client:
        await client.connect()
        answering = asyncio.create_task(client.say("x"))
        await joining.wait()
        await client.leave()
        told.set()
        await answering
        assert errors == [f"connection {client.connection_id} is gone"]
        assert (await backend.group_members("room")).members == ()


async def test_the_events_own_client_that_is_gone_is_posted_to_once() -> None:
    """Its app is told in the same run."""
    seen: list[Any] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        await ws.receive_text()
        seen.append(list((await connections.group_send("room", "x")).gone))
        try:
            await ws.send_text("y")
        except WebSocketDisconnect as error:
            seen.append(error.code)

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.grow_old()
        client.vanish()
        await client.say("x")
        assert seen == [[client.connection_id], 1006]
        posts = [body for method, _, body in client.server.requests if method == "POST"]
        assert posts == [b"x"]
        await client.leave()
        assert len(seen) == 2


class _Slow(MemoryBackend):
    """Takes its time to mark the record of a connection that has proved to be gone."""

    def __init__(self) -> None:
        super().__init__()
        self.marking, self.go_on = asyncio.Event(), asyncio.Event()

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        if record.loads(value).gone_at:
            self.marking.set()
            await self.go_on.wait()
        return await super().update(connection_id, value, expires_at, version)


@contextlib.asynccontextmanager
async def found_from_outside() -> AsyncIterator[tuple[Talk, Talk, _Slow, asyncio.Task[Any]]]:
    """Let a send from outside just be marking the record of bob, who is gone from ann's room."""
    backend = _Slow()
    async with talk(websocket(room), backend=backend) as ann:
        await enter(ann, "ann")
        bob = await enter(ann.another(), "bob")
        await bob.grow_old()
        bob.vanish()
        async with Connections(
            ws_config={"backend": backend}, api_gateway_endpoint_url=ann.server.url
        ) as outside:
            sending = asyncio.create_task(outside.group_send("room", "x"))
            await backend.marking.wait()
            yield ann, bob, backend, sending


async def test_an_end_that_is_told_while_a_send_finds_it_is_told_once() -> None:
    """The record is gone before it is marked."""
    async with found_from_outside() as (ann, bob, backend, sending):
        leaving = asyncio.create_task(bob.leave(1001))
        await asyncio.sleep(0)
        backend.go_on.set()
        await asyncio.gather(sending, leaving)
        assert ann.frames[-1] == "bob left ('room',) 1001"
        assert (await backend.connections()).members == (ann.connection_id,)


async def test_a_send_that_is_cancelled_loses_nobodys_end() -> None:
    """The record is about to be marked and is still where it was."""
    async with found_from_outside() as (ann, bob, backend, sending):
        sending.cancel()
        backend.go_on.set()
        await asyncio.gather(sending, return_exceptions=True)
        await bob.leave(1001)
        assert ann.frames[-1] == "bob left ('room',) 1001"


class _Gated(MemoryBackend):
    """Holds single requests back: the operation and key that it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._gates: dict[tuple[str, str], tuple[asyncio.Event, asyncio.Event]] = {}

    def hold(self, operation: str, key: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Return what is set when the request comes, and what lets it go on."""
        gate = self._gates[operation, key] = asyncio.Event(), asyncio.Event()
        return gate

    async def _pass(self, operation: str, key: str) -> None:
        if (gate := self._gates.pop((operation, key), None)) is not None:
            gate[0].set()
            await gate[1].wait()

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        await self._pass("update", connection_id)
        return await super().update(connection_id, value, expires_at, version)

    async def take(self, connection_id: str) -> Record | None:
        await self._pass("take", connection_id)
        return await super().take(connection_id)


@pytest.mark.parametrize("late", ["mark of the record", "take of the record"])
async def test_an_end_that_is_told_twice_while_a_send_finds_it_is_told_once(late: str) -> None:
    """API Gateway may deliver `$disconnect` twice, while the record is marked or taken."""
    backend = _Gated()
    async with talk(websocket(room), backend=backend) as ann:
        await enter(ann, "ann")
        bob = await enter(ann.another(), "bob")
        await bob.grow_old()
        bob.vanish()
        marking = backend.hold("update", bob.connection_id)
        saying = asyncio.create_task(ann.say("hi"))
        await marking[0].wait()
        if late == "mark of the record":
            await bob.leave(1001)
            marking[1].set()
        else:
            taking = backend.hold("take", bob.connection_id)
            marking[1].set()
            await taking[0].wait()
            await bob.leave(1001)
            taking[1].set()
        await bob.leave(1001)
        await saying
        await bob.leave(1001)
        left = [frame for frame in ann.frames if frame.startswith("bob left")]
        assert left == ["bob left ('room',) 1001"]
        assert (await backend.connections()).members == (ann.connection_id,)


class _SlowToMark(MemoryBackend):
    """Takes longer to mark a record than an app may linger."""

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        if record.loads(value).gone_at:
            await asyncio.sleep(0.5)
        return await super().update(connection_id, value, expires_at, version)


async def test_a_run_that_ends_meanwhile_loses_nobodys_end() -> None:
    """A send that nobody waits for finds a ghost, and its run is over before the store is."""
    told: list[str] = []
    tasks: set[asyncio.Task[Any]] = set()

    async def app(websocket: WebSocket) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            tasks.add(asyncio.create_task(connections.broadcast("x")))
        told.append(websocket.scope["extensions"]["longwire"]["connection_id"])

    store = _SlowToMark()
    async with talk(websocket(app), backend=store, linger=0.1) as ann:
        await ann.connect()
        bob = ann.another()
        await bob.connect()
        await bob.grow_old()
        bob.vanish()
        await ann.say("go")
        await asyncio.gather(*tasks, return_exceptions=True)
        await bob.leave()
        await bob.leave()
    assert told == [bob.connection_id]


async def test_a_run_that_is_cut_off_loses_nobodys_end() -> None:
    """The deadline of its event ends it while it marks the record of another connection."""
    backend = _Slow()
    async with talk(websocket(room), backend=backend) as ann:
        await enter(ann, "ann")
        bob = await enter(ann.another(), "bob")
        await bob.grow_old()
        bob.vanish()
        ann.seconds = 0.3
        await ann.say("hi")
        backend.go_on.set()
        await bob.leave(1001)
        assert ann.frames[-1] == "bob left ('room',) 1001"


@pytest.mark.parametrize("how", ["send", "group_send"])
async def test_a_run_that_gives_up_waiting_learns_of_its_end(how: str) -> None:
    """Its own limit passes while the memberships are being ended."""

    class Slow(MemoryBackend):
        async def group_discard_all(self, connection_id: str) -> tuple[str, ...]:
            await asyncio.Event().wait()
            return ()

    seen = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        await ws.receive_text()
        try:
            async with asyncio.timeout(0.05):
                await (ws.send_text("x") if how == "send" else connections.group_send("room", "x"))
        except TimeoutError:
            seen.append((await ws.receive())["code"])

    async with talk(websocket(app), backend=Slow()) as client:
        await client.connect()
        await client.grow_old()
        client.vanish()
        await client.say("x")
        assert seen == [1006]


async def test_where_nothing_runs_after_the_response_its_time_is_the_last_that_is_noted() -> None:
    """Telling another app, or stopping one's own, may take longer than a connection is new."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        await connections.group_send("room", "hello", exclude=ws)
        try:
            await ws.receive()
        finally:
            await asyncio.sleep(0.01)
            over.append(time.time())

    over: list[float] = []
    backend = MemoryBackend()
    async with talk(websocket(app), backend=backend) as ghost:
        await ghost.connect()
        await ghost.grow_old()
        ghost.vanish()
        event = connect_event("later=")
        await asyncio.to_thread(ghost.handler, event, LambdaContext())
        await asyncio.to_thread(ghost.handler.close)
        stored = await backend.get("later=")
        assert stored is not None
        assert record.loads(stored.value).responded_at >= over[-1] > over[0]


async def test_a_store_that_cannot_end_memberships_does_not_silence_the_end() -> None:
    """The app is told; the next send ends what is left."""

    class Failing(MemoryBackend):
        async def group_discard_all(self, connection_id: str) -> tuple[str, ...]:
            raise BackendError("memory", "group_discard_all", "it is on fire")

    told = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            pass
        told.append("left")

    async with talk(websocket(app), backend=Failing()) as client:
        await client.connect()
        await client.leave()
        assert told == ["left"]


# --- inside: other events and threads -------------------------------------------------------------


async def test_an_http_route_of_the_same_function_sends(monkeypatch: Any) -> None:
    """Where the WebSocket API is, it has to be told: another API's event does not say."""

    async def notify(request: Any) -> JSONResponse:
        result = await connections.group_send("room", "news")
        return JSONResponse({"delivered": list(result.delivered)})

    app = Starlette(routes=[WebSocketRoute("/", room), Route("/notify", notify, methods=["POST"])])
    async with talk(app) as client:
        await enter(client, "ann")
        answer = await client.handler.handle(_http_event("/notify"), LambdaContext())
        assert answer["body"] == f'{{"delivered":["{client.connection_id}"]}}'
        assert client.frames == ["ann joined", "news"]


async def test_an_http_route_without_an_endpoint_says_what_to_set(monkeypatch: Any) -> None:
    """The store alone is not enough."""
    monkeypatch.delenv("WS_MANAGEMENT_ENDPOINT", raising=False)

    async def notify(request: Any) -> JSONResponse:
        try:
            await connections.group_send("room", "news")
        except ConfigurationError as error:
            return JSONResponse(str(error))
        return JSONResponse("sent")

    app = Starlette(routes=[Route("/notify", notify, methods=["POST"])])
    handler = Longwire(app, ws_config={"backend": "memory"})
    answer = await handler.handle(_http_event("/notify"), LambdaContext())
    await handler.aclose()
    assert "WS_MANAGEMENT_ENDPOINT, or api_gateway_endpoint_url" in answer["body"]


def _http_event(path: str) -> dict[str, Any]:
    """Return an event of an HTTP API, payload format 2.0."""
    http = {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "example.com"},
        "requestContext": {"http": http, "domainName": "example.com", "stage": "$default"},
        "isBase64Encoded": False,
    }


async def test_a_thread_that_was_started_by_hand_finds_the_handler() -> None:
    """It inherits nothing, so it uses the handler that had the last event."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        async for text in ws.iter_text():
            thread = threading.Thread(target=connections.sync.group_send, args=("room", text))
            thread.start()
            await asyncio.to_thread(thread.join)

    async with talk(websocket(app)) as client:
        await client.connect()
        await client.say("from a thread")
        assert client.frames == ["from a thread"]


async def test_a_worker_that_an_http_event_started_outlives_it() -> None:
    """Its event's deadline is not its own."""
    workers: list[asyncio.Task[bool]] = []

    async def start(request: Any) -> JSONResponse:
        workers.append(asyncio.create_task(work()))
        return JSONResponse("started")

    async def work() -> bool:
        await over.wait()
        return (await connections.group_send("room", "late")).ok

    over = asyncio.Event()
    app = Starlette(routes=[WebSocketRoute("/", room), Route("/start", start, methods=["POST"])])
    async with talk(app) as client:
        await enter(client, "ann")
        await client.handler.handle(_http_event("/start"), LambdaContext(0.2))
        await asyncio.sleep(0.2)
        over.set()
        assert await workers[0]
        assert client.frames == ["ann joined", "late"]


# --- outside --------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[ConnectionsServer]:
    async with ConnectionsServer(unknown_is_gone=True) as server:
        server.known.update("abc")
        yield server


@pytest.fixture
async def outside(server: ConnectionsServer) -> AsyncIterator[Connections]:
    """Connections of somebody who has no event, with three that are connected."""
    backend = MemoryBackend()
    async with Connections(
        ws_config={"backend": backend}, api_gateway_endpoint_url=server.url
    ) as connections:
        for one in "abc":
            await backend.put(one, old_record(), int(time.time()) + 60)
        yield connections


async def test_outside_everything_works_without_an_event(
    outside: Connections, server: ConnectionsServer
) -> None:
    """With a store and an endpoint."""
    for one in "abc":
        await outside.group_add("room", one)
    await outside.group_discard("room", "b")
    assert [member async for member in outside.group_members("room")] == ["a", "c"]
    assert await outside.groups("a") == ("room",)
    result = await outside.group_send("room", {"n": [1, "é"]})
    assert (list(result.delivered), result.ok) == (["a", "c"], True)
    assert sorted(server.delivered) == [(one, '{"n":[1,"é"]}'.encode()) for one in "ac"]
    assert list((await outside.broadcast("all", exclude=["a"])).delivered) == ["b", "c"]
    await outside.send("b", "one")
    assert (await outside.info("b")).source_ip == "203.0.113.7"
    await outside.close("b")
    assert ("DELETE", "b", b"") in server.requests


async def test_the_environment_names_the_endpoint(
    server: ConnectionsServer, monkeypatch: Any
) -> None:
    """Then no argument is needed to send; on Lambda groups need a store that is said."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "notify")
    monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", server.url.removeprefix("http://"))
    async with Connections() as by_environment:
        await by_environment.send("a", "x")
        assert server.delivered == [("a", b"x")]
        with pytest.raises(ConfigurationError, match=r"need a store: say Connections\(ws_config="):
            await by_environment.group_send("room", "x")


async def test_who_proves_to_be_gone_outside_is_posted_to_once(
    outside: Connections, server: ConnectionsServer
) -> None:
    """Neither a group nor a broadcast finds it again; whoever runs its app tells it."""
    await outside.group_add("room", "a")
    await outside.group_add("room", "b")
    server.known.discard("b")
    result = await outside.group_send("room", "x")
    assert (list(result.delivered), list(result.gone), result.ok) == (["a"], ["b"], True)
    assert list((await outside.group_send("room", "y")).delivered) == ["a"]
    assert list((await outside.broadcast("z")).delivered) == ["a", "c"]
    assert [body for method, to, body in server.requests if to == "b"] == [b"x"]
    with pytest.raises(ConnectionGoneError, match="connection b is gone"):
        await outside.send("b", "x")


async def test_an_end_that_was_found_outside_is_told_by_the_handler() -> None:
    """By its $disconnect, however late that comes."""
    backend = MemoryBackend()
    async with talk(websocket(room), backend=backend) as ann:
        await enter(ann, "ann")
        bob = await enter(ann.another(), "bob")
        await bob.grow_old()
        bob.vanish()
        async with Connections(
            ws_config={"backend": backend}, api_gateway_endpoint_url=ann.server.url
        ) as outside:
            assert list((await outside.broadcast("x")).gone) == [bob.connection_id]
        await bob.leave(1001)
        await bob.leave(1001)
        assert ann.frames == ["ann joined", "bob joined", "x", "bob left ('room',) 1001"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "POST answered 400"),
        (403, "execute-api:ManageConnections"),
        (500, "POST answered 500"),
        ("reset", "POST failed"),
    ],
)
async def test_only_410_means_gone(
    outside: Connections, server: ConnectionsServer, status: Any, text: str
) -> None:
    """Anything else is a failure with its reason, and the member stays; the rest get it."""
    for one in "abc":
        await outside.group_add("room", one)
    server.answers["b"].append(status)
    result = await outside.group_send("room", "x")
    assert (sorted(result.delivered), list(result.gone)) == (["a", "c"], [])
    assert list(result.failed) == ["b"]
    assert text in result.failed["b"]
    assert not result.ok
    assert await outside.groups("b") == ("room",)


async def test_a_store_that_fails_half_way_leaves_a_result(server: ConnectionsServer) -> None:
    """It says who was reached, and why there may be others."""

    class Failing(MemoryBackend):
        async def group_members(
            self, group: str, *, limit: int = 1000, after: str | None = None
        ) -> Page:
            if after is not None:
                raise BackendError("memory", "group_members", "it is on fire")
            return Page(("a", "b"), "b")

    async with Connections(
        ws_config={"backend": Failing()}, api_gateway_endpoint_url=server.url
    ) as connections:
        result = await connections.group_send("room", "x")
    assert sorted(result.delivered) == ["a", "b"]
    assert result.incomplete == "memory: group_members failed: it is on fire"
    assert not result.ok


async def test_a_store_that_does_not_answer_is_not_waited_for_after_the_deadline(
    server: ConnectionsServer,
) -> None:
    """What could not be read is in the result."""

    class Hanging(MemoryBackend):
        async def group_members(
            self, group: str, *, limit: int = 1000, after: str | None = None
        ) -> Page:
            if after is not None:
                await asyncio.Event().wait()
            return Page(("a", "b"), "b")

    async with Connections(
        ws_config={"backend": Hanging()}, api_gateway_endpoint_url=server.url, timeout=0.2
    ) as connections:
        result = await connections.group_send("room", "x")
    assert sorted(result.delivered) == ["a", "b"]
    assert result.incomplete == "there was no time left to read who else is to get it"


# --- bad input ------------------------------------------------------------------------------------


class _Unknown:
    pass


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda c: c.send(7, "x"), "the target is a int; expected a connection id, a WebSocket or"),
        (lambda c: c.send("", "x"), "a connection id must have 1 to 1000 bytes in UTF-8"),
        (lambda c: c.send("a\0", "x"), "and no NUL; this one has 2 bytes"),
        (lambda c: c.send("x" * 1001, "x"), "this one has 1001 bytes"),
        (lambda c: c.send("\ud800", "x"), "a connection id holds half of a surrogate pair"),
        (lambda c: c.send({"type": "http"}, "x"), "the target is the scope of type 'http'"),
        (lambda c: c.send(None, "x"), "the target is a NoneType; expected a connection id"),
        (lambda c: c.close(None), "the target is a NoneType; expected a connection id"),
        (lambda c: c.group_add("g", None), "the target is a NoneType; expected a connection id"),
        (lambda c: c.broadcast("x", exclude=7), "exclude is a int; expected a target, or several"),
        (lambda c: c.group_add("g" * 10_000, "a"), "this one has 10000 bytes"),
        (lambda c: c.group_add("", "a"), "the name of a group must have 1 to 1024 bytes"),
        (lambda c: c.group_add(None, "a"), "the name of a group is a NoneType; expected a str"),
        (lambda c: c.group_send("g", _Unknown()), "that JSON cannot hold: data is of type _Unk"),
        (lambda c: c.group_send("g", {"a": b"x"}), "data is a value of type dict that JSON"),
        (lambda c: c.broadcast(float("nan")), "data is a value of type float that JSON cannot"),
        (lambda c: c.group_send("g", "x", exclude=[3]), "the target is a int"),
    ],
)
async def test_bad_arguments_are_refused_before_anything_is_done(
    outside: Connections, server: ConnectionsServer, call: Any, text: str
) -> None:
    """The error is typed and says what was expected."""
    with pytest.raises(InvalidArgumentError) as caught:
        await call(outside)
    assert text in str(caught.value)
    assert server.requests == []


async def test_a_message_over_the_limit_is_refused_before_any_post(
    outside: Connections, server: ConnectionsServer
) -> None:
    """For one, a group and all; the limit itself is allowed."""
    await outside.group_add("room", "a")
    for attempt in (
        outside.send("a", "x" * 131_073),
        outside.group_send("room", "é" * 65_537),
        outside.broadcast(bytes(131_073)),
    ):
        with pytest.raises(MessageTooLargeError, match="over API Gateway's limit of 131072"):
            await attempt
    with pytest.raises(ASGIMessageError, match="these bytes are not UTF-8"):
        await outside.group_send("room", b"\xff")
    assert server.requests == []
    assert (await outside.group_send("room", "x" * 131_072)).ok


async def test_a_group_takes_nobody_who_is_not_connected(outside: Connections) -> None:
    """It would stay a member for hours."""
    with pytest.raises(ConnectionGoneError, match="connection nobody is gone"):
        await outside.group_add("room", "nobody")
    await outside.group_discard("room", "nobody")
    assert await outside.groups("nobody") == ()


async def test_a_malformed_id_is_a_failure(outside: Connections, server: ConnectionsServer) -> None:
    """API Gateway answers 400, which means nothing about anybody's end."""
    server.answers["not an id"].append(400)
    with pytest.raises(ManagementError, match="POST answered 400"):
        await outside.send("not an id", "x")


def test_settings_that_cannot_be_are_refused() -> None:
    """When they are configured, not when they are used."""
    for timeout in (0, -1, "5", None, True):
        with pytest.raises(ConfigurationError, match="timeout must be a number of seconds above 0"):
            Connections(timeout=timeout)  # type: ignore[arg-type]  # a mistake
    with pytest.raises(ConfigurationError, match="api_gateway_endpoint_url must be an http://"):
        Connections(api_gateway_endpoint_url="localhost:3001")
    with pytest.raises(ConfigurationError, match="fanout is for groups, which need a store"):
        Connections(fanout={"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q"})


async def test_a_ghost_is_posted_to_once_by_all_broadcasts_of_a_process() -> None:
    """The store lists it until its app has been told, at the end of the event."""
    told: list[str] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            for number in range(3):
                result = await connections.broadcast(str(number))
                assert list(result.gone) == ([] if number else [bob.connection_id])
        told.append(ws.scope["extensions"]["longwire"]["connection_id"])

    async with talk(websocket(app)) as ann:
        bob = ann.another()
        await ann.connect()
        await bob.connect()
        await bob.grow_old()
        bob.vanish()
        await ann.say("go")
        assert ann.frames == ["0", "1", "2"]
        asked = [method for method, to, _ in ann.server.requests if to == bob.connection_id]
        assert asked == ["POST"]
    assert told == [bob.connection_id]


async def test_ends_for_which_no_time_is_left_wait_in_the_store(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Taken out without time to tell them, they would be lost."""
    told = []

    class Telling(Departures):
        async def tell_one(self, departure: Departure) -> None:
            told.append(departure.connection_id)

    departures = Telling(time.monotonic())
    departures.found.update(dict.fromkeys(Departure(one, None) for one in ("a", "b")))
    await departures.tell()
    assert (told, len(departures.found)) == ([], 2)
    assert caplog.messages == ["no time was left to tell the app of 2 ends"]


async def test_a_broadcast_reaches_who_was_asked_for_before_its_handshake_was_over() -> None:
    """Without a record nobody knows whether it is gone, or still to come."""
    results: list[Any] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            if text == "send":
                with pytest.raises(ConnectionGoneError):
                    await connections.send(bob.connection_id, "too early")
            else:
                results.append(await connections.broadcast(text))

    async with talk(websocket(app)) as ann:
        bob = ann.another()
        await ann.connect()
        await ann.say("send")
        await bob.connect()
        await ann.say("hello")
        assert (ann.frames, bob.frames) == (["hello"], ["hello"])


async def test_calls_without_effect_let_the_event_loop_turn() -> None:
    """So that the deadline holds for an app that makes them without end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while repeated or await receive():
            await connections.send("other=", "x")
            await connections.group_add("room", "other=")
            await connections.group_discard("room", "other=")
            await connections.close("other=")

    repeated = False
    async with talk(app) as client:
        await client.connect()
        repeated = True
        client.seconds = 0.5
        with pytest.raises(DeadlineError):
            await client.say("hi")
