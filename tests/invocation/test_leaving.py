"""What an app does when its connection ends happens in each event, and can be told apart there.

The app is stopped at the end of each event, so leaving hooks run; `is_event_end()` is False in the
one that is real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator  # noqa: TC003  # FastAPI reads it
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi import WebSocket as FastAPIWebSocket
from fasthtml.common import FastHTML  # type: ignore[import-untyped]
from litestar import Litestar
from litestar.handlers import WebsocketListener
from quart import Quart
from quart import websocket as quart_websocket
from starlette.endpoints import WebSocketEndpoint

import longwire
from tests.invocation.test_connect import websocket
from tests.talk import talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.websockets import WebSocket

    Noted = list[object]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(longwire, "is_event_end"), reason="is_event_end is to come"),
]


def is_event_end() -> bool:
    """Ask Longwire, which may not know this yet."""
    asked: Callable[[], bool] = getattr(longwire, "is_event_end")  # noqa: B009
    return asked()


# Apps: each notes, whenever it is told of an end, whether it is one of an event only.


def by_starlette(noted: Noted) -> Any:
    class Endpoint(WebSocketEndpoint):
        encoding = "text"

        async def on_receive(self, websocket: WebSocket, data: Any) -> None:
            await websocket.send_text(data)

        async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
            noted.append(is_event_end() or close_code)

    return websocket(Endpoint)


def by_quart(noted: Noted) -> Any:
    app = Quart(__name__)

    @app.websocket("/")
    async def run() -> None:
        await quart_websocket.accept()
        try:
            while True:
                await quart_websocket.send(await quart_websocket.receive())
        except asyncio.CancelledError:
            noted.append(is_event_end() or 1001)
            raise

    return app


def by_litestar(noted: Noted) -> Any:
    class Listener(WebsocketListener):
        path = "/"

        async def on_disconnect(self) -> None:
            noted.append(is_event_end() or 1001)

        async def on_receive(self, data: str) -> str:
            return data

    return Litestar([Listener], logging_config=None, openapi_config=None)


def by_fasthtml(noted: Noted) -> Any:
    app = FastHTML(secret_key="tests only")

    async def leave() -> None:
        noted.append(is_event_end() or 1001)

    async def say(msg: str) -> str:
        return msg

    app.ws("/", disconn=leave)(say)
    return app


def by_finally(noted: Noted) -> Any:
    async def run(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            async for text in websocket.iter_text():
                await websocket.send_text(text)
        finally:
            noted.append(is_event_end() or 1001)

    return websocket(run)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (by_starlette, "a"),
        (by_quart, "a"),
        (by_litestar, "a"),
        (by_fasthtml, '{"msg": "a", "HEADERS": {}}'),
        (by_finally, "a"),
    ],
)
async def test_a_leaving_hook_knows_the_real_end(make: Callable[[Noted], Any], said: str) -> None:
    """A handshake and two messages end with their events; then the client leaves."""
    noted: Noted = []
    async with talk(make(noted), lifespan="off") as client:
        await client.connect()
        await client.say(said)
        await client.say(said)
        assert noted == [True, True, True]
        await client.leave(1001)
    assert len(client.frames) == 2
    assert noted == [True, True, True, 1001]


table: list[str] = []


async def transaction() -> AsyncIterator[list[str]]:
    """Roll back what ends in an error; the end of an event is none."""
    rows: list[str] = []
    try:
        yield rows
    except BaseException:
        if is_event_end():
            table.extend(rows)
        raise
    else:
        table.extend(rows)


async def test_a_dependency_commits_what_each_message_has_written() -> None:
    """And rolls back what a bad one has."""
    app = FastAPI()

    @app.websocket("/")
    async def run(
        websocket: FastAPIWebSocket, rows: Annotated[list[str], Depends(transaction)]
    ) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            rows.append(text)
            if text == "bad":
                raise ValueError(text)
            await websocket.send_text("saved")

    table.clear()
    async with talk(app) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        assert client.frames == ["saved", "saved"]
        assert table == ["a", "b"]
        await client.say("bad")
    assert table == ["a", "b"]


def test_outside_of_an_event_nothing_ends_with_it() -> None:
    """As under a server."""
    assert is_event_end() is False
