"""No name that a user, or a client, chooses leads to what is ours, by whichever entry it comes."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from longwire import Connections, InvalidArgumentError, WebSocketManager, WSGateway
from longwire.apigateway.events import parse
from longwire.exceptions import EventError
from longwire.fanout.delivery import deliver
from longwire.fanout.parts import Part, dumps
from longwire.functions.context import WebSocketContext
from longwire.registry import names
from longwire.registry.standalone import Standalone
from tests.connections_server import ConnectionsServer
from tests.lambda_events import message_event
from tests.talk import old_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from longwire_backends import Backend
    from tests.servers.redis import RedisServer

    Call = Callable[[], object]

pytestmark = pytest.mark.anyio

FAR = 1 << 40
PART = names.of_part("0f" * 16)

# Names of ours, and those that come near them.
GROUPS = [
    "longwire:manager:all",
    "longwire:manager:user:alice",
    "longwire:manager:room:secret",
    "longwire:manager:",
    "longwire:",
    "~longwire:manager:user:alice",
    "~~longwire:manager:user:alice",
]
IDS = [PART, "longwire#ended#alice=", "longwire#"]


class Socket:
    """A WebSocket, as a framework has it, that has been accepted."""

    def __init__(self, connection_id: str) -> None:
        extension = {"connection_id": connection_id}
        self.scope = {"type": "websocket", "extensions": {"longwire": extension}}

    async def accept(self) -> None:
        """It is."""


@dataclass
class World:
    """Alice, whom a manager has registered; Mallory, who chooses names; and a part's record."""

    server: ConnectionsServer
    backend: Backend
    connections: Connections
    manager: WebSocketManager

    async def kept(self) -> list[object]:
        """Return all that the store keeps, but Mallory's record, which says that it has joined."""
        return [
            (await self.backend.connections()).members,
            *[await self.backend.get(one) for one in (PART, "alice=")],
            *[(await self.backend.group_members(one)).members for one in GROUPS],
            *[await self.backend.groups(one) for one in ("alice=", "mallory=")],
        ]

    async def heard(self, sent: Awaitable[Any]) -> list[str]:
        """Return who gets a message."""
        self.server.delivered.clear()
        await sent
        return sorted(to for to, _ in self.server.delivered)


@pytest.fixture(params=["memory", "sqlite3", "redis"])
async def world(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """Everything set up, on several stores."""
    match request.param:
        case "memory":
            from longwire_backends.memory import MemoryBackend

            backend: Backend = MemoryBackend()
        case "sqlite3":
            from longwire_backends.sqlite3.backend import SQLite3Backend

            backend = SQLite3Backend(file_path=tmp_path / "store")
        case _:
            from longwire_backends.redis.backend import RedisBackend

            redis: RedisServer = request.getfixturevalue("redis_server")
            prefix = f"{uuid.uuid4()}:"
            backend = RedisBackend(host="127.0.0.1", port=redis.port, key_prefix=prefix)
    async with ConnectionsServer() as server:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", server.url)
        connections = Connections(
            ws_config={"backend": backend}, api_gateway_endpoint_url=server.url
        )
        manager = WebSocketManager(connections)
        await backend.put(PART, '["alice="]', FAR)
        for one in ("alice=", "mallory="):
            await backend.put(one, old_record(), FAR)
        await manager.connect("alice", Socket("alice="))
        await manager.join("alice", "secret")
        yield World(server, backend, connections, manager)
        connections.sync.aclose()
        await connections.aclose()


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("is_sync", [False, True], ids=["async", "sync"])
async def test_a_group_of_any_name_is_the_users_own(
    world: World, name: str, *, is_sync: bool
) -> None:
    """It works as any other does; nothing of the manager's is in it, nor is it in the manager's."""
    kept, connections = await world.kept(), world.connections

    async def call(method: str, *arguments: Any) -> Any:
        if is_sync:
            return await asyncio.to_thread(getattr(connections.sync, method), *arguments)
        return await getattr(connections, method)(*arguments)

    async def members() -> list[str]:
        if is_sync:
            return await asyncio.to_thread(lambda: list(connections.sync.group_members(name)))
        return [one async for one in connections.group_members(name)]

    assert await members() == []
    assert await world.heard(call("group_send", name, "x")) == []
    await call("group_add", name, "mallory=")
    assert await members() == ["mallory="]
    assert await call("groups", "mallory=") == (name,)
    assert await world.heard(call("group_send", name, "x")) == ["mallory="]
    manager = world.manager
    for sent in (
        manager.send_message("alice", "x"),
        manager.send_room("secret", "x"),
        manager.broadcast("x"),
    ):
        assert await world.heard(sent) == ["alice="]
    assert await call("groups", "alice=") == ()  # the manager's are not the app's
    await call("group_discard", name, "alice=")
    await call("group_discard", name, "mallory=")
    assert await members() == []
    assert await world.kept() == kept


@pytest.mark.parametrize("name", [*GROUPS, *IDS])
async def test_users_and_rooms_of_any_name_are_no_others(world: World, name: str) -> None:
    """Neither those of the same manager, nor those of a manager of such a name."""
    kept = await world.kept()
    for manager in (world.manager, WebSocketManager(world.connections, name=name)):
        await manager.connect(name, Socket("mallory="))
        await manager.join(name, name)
        assert await world.heard(manager.send_message(name, "x")) == ["mallory="]
        assert await world.heard(manager.send_room(name, "x")) == ["mallory="]
        assert await world.heard(world.manager.send_message("alice", "x")) == ["alice="]
        assert await world.heard(world.manager.send_room("secret", "x")) == ["alice="]
        await manager.disconnect(name)
    assert await world.kept() == kept


@pytest.mark.parametrize("name", IDS)
async def test_a_record_of_ours_is_no_target(world: World, name: str) -> None:
    """Each entry refuses it before anything is asked or sent."""
    kept, connections, manager = await world.kept(), world.connections, world.manager
    sync, socket = connections.sync, Socket(name)
    context = {"connectionId": name, "domainName": "localhost:1", "stage": "s", "routeKey": "x"}
    event = parse(message_event("x", "mallory="))
    caller = Standalone(None, world.server.url).caller(time.monotonic() + 20.0)
    function = WebSocketContext(event, caller, connections, None)
    awaited: list[Callable[[], Awaitable[object]]] = []
    called: list[Call] = [
        lambda: WSGateway.send("x", context),
        lambda: WSGateway.disconnect(context),
        lambda: function.sync.broadcast([name], "x"),
    ]
    for target in (name, socket, socket.scope):
        entries: list[Callable[[Any, Any], Any]] = [
            lambda of, to: of.send(to, "x"),
            lambda of, to: of.close(to),
            lambda of, to: of.info(to),
            lambda of, to: of.group_add("g", to),
            lambda of, to: of.group_discard("g", to),
            lambda of, to: of.groups(to),
            lambda of, to: of.group_send("g", "x", exclude=to),
            lambda of, to: of.group_send("g", "x", exclude=["mallory=", to]),
            lambda of, to: of.broadcast("x", exclude=to),
        ]
        for entry in entries:
            awaited.append(lambda entry=entry, to=target: entry(connections, to))  # type: ignore[misc]
            called.append(lambda entry=entry, to=target: entry(sync, to))  # type: ignore[misc]
    awaited += [
        lambda: manager.connect("mallory", socket),
        lambda: function.broadcast(["mallory=", name], "x"),
    ]
    for wait in awaited:
        with pytest.raises(InvalidArgumentError, match="begins with 'longwire#'"):
            await wait()
    for call in called:
        with pytest.raises(InvalidArgumentError, match="begins with 'longwire#'"):
            await asyncio.to_thread(call)
    assert world.server.requests == []
    assert await world.kept() == kept


@pytest.mark.parametrize("name", IDS)
async def test_a_record_of_ours_is_in_no_event(world: World, name: str) -> None:
    """Neither as a connection of API Gateway's, nor as a member that a part of a send names."""
    kept = await world.kept()
    with pytest.raises(EventError):
        parse(message_event("x", name))
    standalone = Standalone(None, world.server.url)

    def caller(endpoint: str) -> Any:
        registry = standalone.caller(time.monotonic() + 20.0)
        registry.registry = registry.registry._replace(backend=world.backend)
        return registry

    body = dumps(Part("1", world.server.url, b"x", ("alice=", name)))
    event = {"Records": [{"messageId": "m", "body": body}]}
    assert await deliver(event, caller, world.server.url) == {
        "batchItemFailures": [{"itemIdentifier": "m"}]
    }
    assert world.server.requests == []
    assert await world.kept() == kept


async def test_no_list_of_connections_has_a_record_of_ours(world: World) -> None:
    assert await world.heard(world.connections.broadcast("x")) == ["alice=", "mallory="]


async def test_memberships_of_before_are_found(world: World) -> None:
    """The manager's names are kept as they always were, and so are those of all other groups."""
    await world.backend.group_add("longwire:manager:user:bob", "mallory=", FAR)
    await world.backend.group_add("blue", "mallory=", FAR)
    assert await world.heard(world.manager.send_message("bob", "x")) == ["mallory="]
    assert await world.connections.groups("mallory=") == ("blue",)


async def test_a_name_that_is_kept_with_a_mark_may_be_one_byte_shorter(world: World) -> None:
    long = "longwire:" + "x" * (1024 - len("longwire:"))
    await world.connections.group_add(long[:-1], "mallory=")
    with pytest.raises(InvalidArgumentError, match="1 to 1024 bytes"):
        await world.connections.group_add(long, "mallory=")
