"""Litestar: handlers, listeners and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator  # noqa: TC003  # read at run time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from litestar import Litestar, Router, WebSocket, websocket
from litestar.exceptions import (
    NotAuthorizedException,
    WebSocketDisconnect,
    WebSocketException,
)
from litestar.handlers import (
    WebsocketListener,
    send_websocket_stream,
    websocket_listener,
    websocket_stream,
)

from tests.parity.frameworks.endpoints import ENDPOINTS
from tests.parity.frameworks.remembering import hear
from tests.parity.frameworks.socket import serve

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from litestar.handlers import BaseRouteHandler
    from litestar.handlers import WebsocketRouteHandler as Handler

    from tests.parity.frameworks.socket import Endpoint, Gone

Socket = WebSocket[Any, Any, Any]


class LitestarSocket:
    gone: ClassVar[Gone] = (WebSocketDisconnect, OSError)

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self.receive = socket.receive_text
        self.send = socket.send_text
        self.close = socket.close

    async def accept(self, subprotocol: str | None = None) -> None:
        await self._socket.accept(subprotocols=subprotocol)

    @property
    def offered(self) -> list[str]:
        return list(self._socket.scope["subprotocols"])

    @property
    def handshake(self) -> dict[str, Any]:
        headers = self._socket.headers
        return {
            "query": sorted(self._socket.query_params.multi_items()),
            "headers": [headers.get(name) for name in ("x-one", "x-odd", "x-none")],
            "cookies": self._socket.cookies,
        }


def _handler(name: str, endpoint: Endpoint) -> Handler:
    @websocket(f"/{name}")
    async def run(socket: Socket) -> None:
        await serve(endpoint, LitestarSocket(socket))

    return run


@dataclass
class Move:
    x: int
    y: int = 0


@websocket_listener("/listen")
async def listen(data: str) -> str:
    return data.upper()


@websocket_listener("/listen/sync", sync_to_thread=True)
def listen_in_thread(data: str) -> str:
    return data.upper()


@websocket_listener("/listen/here", sync_to_thread=False)
def listen_here(data: str) -> str:
    return data.upper()


@websocket_listener("/listen/silent")
async def listen_silently(data: str) -> None:
    pass


@websocket_listener("/listen/model")
async def listen_to_moves(data: Move) -> Move:
    return Move(data.y, data.x)


@websocket_listener("/listen/json")
async def listen_to_json(data: dict[str, int]) -> dict[str, int]:
    return {"sum": sum(data.values())}


@websocket_listener("/listen/{room:str}")
async def listen_in_room(data: str, room: str, tag: list[str], socket: Socket) -> list[Any]:
    return [room, tag, data, socket.headers.get("x-one")]


@websocket_listener("/listen/socket")
async def listen_and_close(data: str, socket: Socket) -> str:
    await socket.send_text("first")
    if data == "close":
        await socket.close(4000)
    if data == "crash":
        raise ValueError("as told")
    return data


@asynccontextmanager
async def greeting(socket: Socket) -> AsyncIterator[None]:
    await socket.send_text("hello")
    yield


@websocket_listener("/listen/lifespan", connection_lifespan=greeting)
async def listen_after_greeting(data: str) -> str:
    return data


class Listener(WebsocketListener):
    path = "/listener"

    async def on_accept(self, socket: Socket) -> None:
        await socket.send_text("welcome")

    async def on_receive(self, data: str) -> str:
        return f"listener {data}"


class Remembering(WebsocketListener):
    """Keeps what it hears in the connection's state."""

    path = "/remembering"

    async def on_accept(self, socket: Socket) -> None:
        socket.state.texts = []

    async def on_receive(self, data: str, socket: Socket) -> list[str]:
        socket.state.texts.append(data)
        return list(socket.state.texts)

    async def on_disconnect(self, socket: Socket) -> None:
        hear(f"Litestar heard {' '.join(socket.state.texts)}")


@asynccontextmanager
async def counted(socket: Socket) -> AsyncIterator[None]:
    socket.state.counted = 0
    try:
        yield
    finally:
        hear(f"Litestar counted {socket.state.counted}")


@websocket_listener("/listen/counted", connection_lifespan=counted)
async def listen_and_count(data: str, socket: Socket) -> str:
    socket.state.counted += 1
    if data == "crash":
        raise ValueError("as told")
    return f"{socket.state.counted} {data}"


@websocket("/streams/kept")
async def streams_kept(socket: Socket) -> None:
    """Each stream goes on where the one before has ended."""

    async def part(begin: int) -> AsyncGenerator[str, None]:
        for number in range(begin, begin + 3):
            await asyncio.sleep(0.05)
            yield str(number)

    await socket.accept()
    begin = 0
    while True:
        await socket.receive_text()
        await send_websocket_stream(socket, part(begin), listen_for_disconnect=False)
        begin += 3


@websocket_stream("/numbers", listen_for_disconnect=False)
async def numbers() -> AsyncGenerator[int, None]:
    for number in range(3):
        yield number
        await asyncio.sleep(0.05)


@websocket_stream("/stream/heard")
async def numbers_heard() -> AsyncGenerator[dict[str, int], None]:
    """Its client's leaving is listened for, by a task beside it."""
    for number in range(3):
        yield {"number": number}
        await asyncio.sleep(0.2)


@websocket_stream("/stream/endless")
async def numbers_endless() -> AsyncGenerator[str, None]:
    number = 0
    while True:
        yield str(number)
        number += 1
        await asyncio.sleep(0.03)


@websocket("/stream/answer")
async def stream_answer(socket: Socket) -> None:
    async def parts(text: str) -> AsyncGenerator[str, None]:
        for part in text.split():
            await asyncio.sleep(0.02)
            yield part

    await socket.accept()
    text = await socket.receive_text()
    await send_websocket_stream(socket, parts(text), listen_for_disconnect=False, close=True)


async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if "token" not in connection.query_params:
        raise NotAuthorizedException


@websocket("/guarded", guards=[guard])
async def guarded(socket: Socket) -> None:
    await LitestarSocket(socket).accept()
    await socket.send_text(await socket.receive_text())


@websocket("/policy")
async def policy(socket: Socket) -> None:
    raise WebSocketException(code=4003, detail="no")


@websocket("/policy/later")
async def policy_later(socket: Socket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    raise WebSocketException(code=4003, detail="no")


@websocket("/seats/{seat:int}")
async def seats(socket: Socket, seat: int, limit: int = 5) -> None:
    await socket.accept()
    while True:
        await socket.send_json([seat, limit, await socket.receive_json()])


app = Litestar(
    [
        *(_handler(*item) for item in ENDPOINTS.items()),
        listen,
        listen_in_thread,
        listen_here,
        listen_silently,
        listen_to_moves,
        listen_to_json,
        listen_and_close,
        listen_after_greeting,
        Router("/rooms", route_handlers=[listen_in_room]),
        Listener,
        numbers,
        numbers_heard,
        numbers_endless,
        Remembering,
        listen_and_count,
        streams_kept,
        stream_answer,
        guarded,
        policy,
        policy_later,
        seats,
    ],
    logging_config=None,
    openapi_config=None,
)
