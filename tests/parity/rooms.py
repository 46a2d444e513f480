"""Apps with groups: a chat room written in six ways, and one whose clients command it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from longwire import Connections, LongwireError
from longwire.registry.targets import known_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

connections = Connections()


def _name(websocket: WebSocket) -> str:
    return websocket.query_params["name"]


async def _tell(text: str, **options: Any) -> None:
    await connections.group_send("room", text, **options)


# Ways to write a chat room


async def _join(websocket: WebSocket) -> None:
    await websocket.accept()
    await connections.group_add("room", websocket)
    await _tell(f"{_name(websocket)} joined")


async def in_except(websocket: WebSocket) -> None:
    await _join(websocket)
    try:
        while True:
            await _tell(f"{_name(websocket)}: {await websocket.receive_text()}")
    except WebSocketDisconnect:
        await _tell(f"{_name(websocket)} left")


async def after_the_loop(websocket: WebSocket) -> None:
    await _join(websocket)
    async for text in websocket.iter_text():
        await _tell(f"{_name(websocket)}: {text}")
    await connections.group_discard("room", websocket)
    await _tell(f"{_name(websocket)} left")


async def in_finally(websocket: WebSocket) -> None:
    await _join(websocket)
    try:
        async for text in websocket.iter_text():
            await _tell(f"{_name(websocket)}: {text}")
    finally:
        await connections.group_discard("room", websocket)
        await _tell(f"{_name(websocket)} left")


async def before_accept(websocket: WebSocket) -> None:
    """Join first: the others are told at once, oneself after the acceptance."""
    await connections.group_add("room", websocket)
    await _tell(f"{_name(websocket)} joined", exclude=[websocket])
    await websocket.accept()
    await connections.send(websocket, f"{_name(websocket)} joined")
    try:
        while True:
            await _tell(f"{_name(websocket)}: {await websocket.receive_text()}")
    except WebSocketDisconnect:
        await _tell(f"{_name(websocket)} left")


async def in_tasks(websocket: WebSocket) -> None:
    """Nothing is awaited, as in apps that hand everything to a background task."""
    tasks = set()

    def begin(text: str) -> None:
        tasks.add(asyncio.create_task(_tell(text)))

    await websocket.accept()
    await connections.group_add("room", websocket)
    begin(f"{_name(websocket)} joined")
    async for text in websocket.iter_text():
        begin(f"{_name(websocket)}: {text}")
    await asyncio.gather(*tasks, _tell(f"{_name(websocket)} left"))


async def by_threads(websocket: WebSocket) -> None:
    """Synchronous code that the app runs in threads."""

    async def tell(text: str) -> None:
        await asyncio.to_thread(connections.sync.group_send, "room", text)

    await websocket.accept()
    await connections.group_add("room", websocket)
    await tell(f"{_name(websocket)} joined")
    async for text in websocket.iter_text():
        await tell(f"{_name(websocket)}: {text}")
    await tell(f"{_name(websocket)} left")


ROOMS = [in_except, after_the_loop, in_finally, before_accept, in_tasks, by_threads]


# What one does to another, and to oneself


async def commands(websocket: WebSocket) -> None:
    await websocket.accept()
    await connections.group_add("room", websocket)
    await connections.group_add("quiet", websocket)
    await websocket.send_text("ready")
    try:
        async for text in websocket.iter_text():
            await COMMANDS[text](websocket)
    finally:
        groups = await connections.groups(websocket)
        await _tell(f"{_name(websocket)} was in {groups}; {await _refused(websocket)}")


async def _refused(websocket: WebSocket) -> str:
    """Return what becomes of what one does to oneself after the end."""
    said = []
    for work in (connections.send(websocket, "x"), connections.group_add("room", websocket)):
        try:
            await work
        except LongwireError as error:
            said.append(type(error).__name__)
    return ", ".join(said)


async def _kick(websocket: WebSocket) -> None:
    me = known_id(websocket)
    for member in [one async for one in connections.group_members("room") if one != me]:
        await connections.close(member)


async def _write_to_oneself(websocket: WebSocket) -> None:
    me = known_id(websocket)
    assert me is not None
    await connections.send(me, "by id")
    await connections.send(websocket, "by object")
    await websocket.send_text("by framework")


async def _close_oneself(websocket: WebSocket) -> None:
    await connections.close(websocket)


async def _count(websocket: WebSocket) -> None:
    result = await connections.group_send("room", "count me")
    await websocket.send_text(f"{len(result.delivered)} {len(result.gone)} {result.failed}")


COMMANDS: dict[str, Callable[[WebSocket], Awaitable[None]]] = {
    "kick": _kick,
    "self": _write_to_oneself,
    "close": _close_oneself,
    "count": _count,
}
app = Starlette(
    routes=[WebSocketRoute(f"/{each.__name__}", each) for each in [*ROOMS, commands]],
)
