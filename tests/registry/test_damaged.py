"""One damaged record, or one error of a store, stops nothing but what it is about."""

from __future__ import annotations

import json
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from longwire import ConnectionGoneError, Connections
from longwire.fanout.delivery import deliver
from longwire.fanout.parts import Part, dumps
from longwire.fanout.sweep import SweepResult
from longwire.registry import names
from longwire.registry.caller import Caller
from longwire.registry.standalone import Standalone
from longwire_backends.memory import MemoryBackend
from tests.connections_server import ConnectionsServer
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from longwire.registry.base import Registry
    from longwire_backends import Page, Record

pytestmark = pytest.mark.anyio

FAR = 1 << 40

# How a record may be damaged: what takes the place of a part of it, or the whole of it.
DAMAGE = {
    "torn": "{",
    "deep": "[" * 100_000,
    "path": {"path": 5},
    "query": {"query_string": "é"},
    "headers": {"headers": [["a", 5]]},
    "time": {"connected_at": 10**400},
    "responded": '{"v":1,"scope":%s,"responded_at":"x"}',
    "gone": '{"v":1,"scope":%s,"gone_at":"x"}',
    "greeting": '{"v":1,"scope":%s,"greeting":[{"text":5}]}',
}
damaged = pytest.mark.parametrize("how", DAMAGE.values(), ids=DAMAGE)


class App:
    """Greets nobody, joins a group, and does what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.results: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connections = Connections()
        await receive()
        await send({"type": "websocket.accept"})
        await connections.group_add("blue", scope)
        while (message := await receive())["type"] == "websocket.receive":
            command, _, argument = message["text"].partition(" ")
            match command:
                case "group":
                    self.results.append(await connections.group_send("blue", "hello"))
                case "broadcast":
                    self.results.append(await connections.broadcast("hello"))
                case "add":
                    try:
                        await connections.group_add("green", argument)
                    except ConnectionGoneError as error:
                        self.results.append(error.connection_id)
            await send({"type": "websocket.send", "text": "done"})
        self.told.append((scope["extensions"]["longwire"]["connection_id"], message["code"]))


def _backend(of: Talk) -> Any:
    return of.handler._api.backend


async def damage(of: Talk, how: Any) -> None:
    """Write over a connection's record."""
    stored = await _backend(of).get(of.connection_id)
    scope = json.loads(stored.value)["scope"]
    if isinstance(how, dict):
        value = json.dumps({"v": 1, "scope": scope | how})
    else:
        value = how.replace("%s", json.dumps(scope))
    await _backend(of).put(of.connection_id, value, FAR)


@asynccontextmanager
async def room(app: App, backend: Any = None) -> AsyncIterator[tuple[Talk, Talk, Talk]]:
    """Three clients in a group, who have been there for long."""
    async with talk(app, lifespan="off", backend=backend or MemoryBackend()) as first:
        clients = first, first.another(), first.another()
        for one in clients:
            await one.connect()
            await one.grow_old()
        first.server.requests.clear()
        yield clients


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the texts of the errors that were logged."""
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


async def traces(of: Talk) -> tuple[bool, bool]:
    """Tell whether a connection has a record, and whether it is in the group."""
    members = (await _backend(of).group_members("blue")).members
    return await _backend(of).get(of.connection_id) is not None, of.connection_id in members


@damaged
async def test_a_message_deletes_the_connection(how: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The client can connect again, which is better than an error for each message."""
    async with room(App()) as (one, *_):
        await damage(one, how)
        assert await one.say("x") == {"statusCode": 200}
        assert one.deleted
        assert one.frames == []
        assert await traces(one) == (False, False)
    (error,) = errors(caplog)
    assert error.startswith(f"connection {one.connection_id}: deleted: ")


@damaged
async def test_a_disconnect_leaves_nothing(how: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody can be told, and the log says so."""
    async with room(App()) as (one, *_):
        await damage(one, how)
        assert await one.leave() == {"statusCode": 200}
        assert await traces(one) == (False, False)
    (error,) = errors(caplog)
    assert error.startswith(f"connection {one.connection_id}: its end was not told: ")


@damaged
@pytest.mark.parametrize("how_many", ["group", "broadcast"])
async def test_a_send_to_many_goes_on(
    how: Any, how_many: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The others get it, and the sender's connection is none the worse for it."""
    app = App()
    async with room(app) as (sender, bad, good):
        await damage(bad, how)
        bad.vanish()
        assert await sender.say(how_many) == {"statusCode": 200}
        (result,) = app.results
        assert (set(result.delivered), list(result.gone)) == (
            {sender.connection_id, good.connection_id},
            [bad.connection_id],
        )
        assert (sender.frames, good.frames) == (["hello", "done"], ["hello"])
        assert await traces(bad) == (False, False)
        assert not sender.deleted
    assert [error[:20] for error in errors(caplog)] == [f"connection {bad.connection_id}"[:20]]


@damaged
async def test_a_sweep_goes_on(how: Any) -> None:
    """It deletes the damaged connection, and tells of all others that are gone."""
    app = App()
    async with room(app) as (first, bad, last):
        await damage(bad, how)
        first.vanish()
        last.vanish()
        swept = await first.handler.sweep(rate=10_000.0)
        assert (swept.checked, swept.gone, list(swept.failed)) == (2, 2, [bad.connection_id])
        assert sorted(app.told) == [(one.connection_id, 1006) for one in (first, last)]
        assert bad.deleted
        assert await traces(bad) == (False, False)
        assert await first.handler.sweep(rate=10_000.0) == SweepResult()


@damaged
async def test_nobody_adds_a_damaged_connection_to_a_group(how: Any) -> None:
    """It is deleted, as its next message would."""
    app = App()
    async with room(app) as (one, bad, _):
        await damage(bad, how)
        await one.say(f"add {bad.connection_id}")
        assert app.results == [bad.connection_id]
        assert bad.deleted
        assert await traces(bad) == (False, False)


async def test_another_version_is_left_to_the_function_that_knows_it() -> None:
    """Neither a sweep nor a group deletes it."""
    async with room(App()) as (one, newer, _):
        await damage(newer, '{"v":2}')
        await one.say(f"add {newer.connection_id}")
        assert (await one.handler.sweep(rate=10_000.0)).ok
        assert await traces(newer) == (True, True)
        assert not newer.deleted


async def test_a_greeting_that_cannot_be_sent_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As when `binary` was another when it was stored."""
    async with room(App()) as (one, *_):
        await damage(one, '{"v":1,"scope":%s,"joined":true,"greeting":[{"bytes":"/w=="}]}')
        assert await one.say("x") == {"statusCode": 200}
        assert one.deleted
        assert await traces(one) == (False, False)
    (error,) = errors(caplog)
    assert "deleted: its greeting cannot be sent: " in error


# --- a store of somebody's own --------------------------------------------------------------------


class Flaky(MemoryBackend):
    """Raises what no store should, for certain connections or pages."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: set[str] = set()
        self.lists = True

    async def get(self, connection_id: str) -> Record | None:
        if connection_id in self.bad:
            raise TypeError("a bug")
        return await super().get(connection_id)

    async def take(self, connection_id: str) -> Record | None:
        if connection_id in self.bad:
            raise TypeError("a bug")
        return await super().take(connection_id)

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        if not self.lists:
            raise KeyError("a bug")
        return await super().group_members(group, limit=limit, after=after)

    async def sweep(self) -> int:
        raise KeyError("a bug")


async def test_an_error_of_a_store_is_that_of_one_member(caplog: pytest.LogCaptureFixture) -> None:
    """The others get the message, the result says why one did not, and so does the log."""
    app, backend = App(), Flaky()
    async with room(app, backend) as (sender, bad, good):
        backend.bad = {bad.connection_id}
        bad.vanish()
        await sender.say("group")
        (result,) = app.results
        assert set(result.delivered) == {sender.connection_id, good.connection_id}
        assert list(result.failed) == [bad.connection_id]
        assert result.failed[bad.connection_id].endswith("but the store: TypeError('a bug')")
        assert sender.frames == ["hello", "done"]
        backend.lists = False
        await sender.say("group")
        assert app.results[1].incomplete == "KeyError('a bug')"
        assert sender.frames == ["hello", "done", "done"]
    assert errors(caplog) == ["a page of connections could not be read"]


async def test_an_error_of_a_store_ends_no_sweep(caplog: pytest.LogCaptureFixture) -> None:
    """Who is gone is told all the same."""
    app, backend = App(), Flaky()
    async with room(app, backend) as (first, bad, last):
        backend.bad = {bad.connection_id}
        first.vanish()
        last.vanish()
        swept = await first.handler.sweep(rate=10_000.0)
        assert sorted(app.told) == [(one.connection_id, 1006) for one in (first, last)]
        assert swept.failed == {bad.connection_id: "TypeError('a bug')"}
        assert swept.incomplete == "KeyError('a bug')"
    assert errors(caplog)[0] == "sweep: 1 were not reached; one: TypeError('a bug')"


async def test_an_error_of_a_store_keeps_no_end_from_the_others() -> None:
    """Of two that are gone the app is told of the one whose record can be taken."""

    class Late(Flaky):
        async def get(self, connection_id: str) -> Record | None:
            return await MemoryBackend.get(self, connection_id)

    app, backend = App(), Late()
    async with room(app, backend) as (sender, bad, good):
        backend.bad = {bad.connection_id}
        bad.vanish()
        good.vanish()
        assert await sender.say("group") == {"statusCode": 200}
        assert app.told == [(good.connection_id, 1006)]


# --- parts of a send to many ----------------------------------------------------------------------


@asynccontextmanager
async def queue(backend: MemoryBackend) -> AsyncIterator[tuple[ConnectionsServer, Any]]:
    """What delivers an event with these parts."""
    async with ConnectionsServer() as server:
        standalone = Standalone(None, server.url)

        def caller(endpoint: str) -> Caller:
            found = standalone.caller(0.0)
            registry: Registry = found.registry._replace(backend=backend)
            return Caller(registry, time.monotonic() + 20.0)

        async def handle(*some: Part) -> Any:
            records = [{"messageId": one.part_id, "body": dumps(one)} for one in some]
            return await deliver({"Records": records}, caller, server.url)

        yield server, handle


def part(part_id: str, *members: str) -> Part:
    return Part(part_id, "http://127.0.0.1:1/x", b"hello", members)


async def test_an_error_of_a_store_is_that_of_one_part() -> None:
    """It is handed out again; the other is not."""
    backend = Flaky()
    backend.bad = {names.of_part("1")}
    async with queue(backend) as (server, handle):
        answer = await handle(part("1", "a="), part("2", "b="))
        assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
        assert server.delivered == [("b=", b"hello")]


@pytest.mark.parametrize("noted", ["", "{", "[" * 100_000, "5", '"ab"', "[5]", '["\\ud800"]'])
async def test_what_was_noted_of_a_part_is_damaged(
    noted: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As nobody knows who has got it, all get it, and the note is right again."""
    backend = MemoryBackend()
    await backend.put(names.of_part("1"), noted, FAR)
    async with queue(backend) as (server, handle):
        assert await handle(part("1", "a=", "b=")) == {"batchItemFailures": []}
        assert sorted(server.delivered) == [("a=", b"hello"), ("b=", b"hello")]
        stored = await backend.get(names.of_part("1"))
        assert stored is not None
        assert stored.value == "[]"
    assert errors(caplog) == ["SQS: what was noted of part 1 is damaged: all get it again"]


async def test_what_was_noted_names_nobody_else() -> None:
    """Only members of the part get it."""
    backend = MemoryBackend()
    await backend.put(names.of_part("1"), json.dumps(["b=", "mallory=", names.of_part("2")]), FAR)
    async with queue(backend) as (server, handle):
        assert await handle(part("1", "a=", "b=")) == {"batchItemFailures": []}
        assert server.delivered == [("b=", b"hello")]
