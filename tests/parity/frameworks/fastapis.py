"""FastAPI: dependencies of all kinds, routers, and errors in each of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator  # noqa: TC003  # read at run time
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Path,
    Query,
    Security,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.security import APIKeyQuery
from pydantic import BaseModel, ValidationError

from tests.parity.frameworks.endpoints import ENDPOINTS
from tests.parity.frameworks.remembering import hear
from tests.parity.frameworks.starlettes import as_starlette

app = FastAPI()
for name, endpoint in ENDPOINTS.items():
    app.websocket(f"/{name}")(as_starlette(endpoint))


async def a_yield() -> AsyncIterator[str]:
    yield "a row"


def a_yield_of_a_thread() -> Iterator[str]:
    yield "a thread"


async def session(row: Annotated[str, Depends(a_yield)]) -> AsyncIterator[str]:
    """Raise again what ends the endpoint, as those that commit or roll back do."""
    try:
        yield f"session of {row}"
    except WebSocketDisconnect:
        raise


async def allowed(token: Annotated[str | None, Query()] = None) -> str:
    if token == "policy":
        raise WebSocketException(1008, "wrong token")
    if token == "status":
        raise HTTPException(401, "wrong token")
    if token == "crash":
        raise ValueError("in a dependency")
    return token or "nobody"


class Pages:
    def __init__(self, skip: int = 0, limit: Annotated[int, Query(le=10)] = 5) -> None:
        self.skip, self.limit = skip, limit


class Move(BaseModel):
    x: int
    y: int = 0


async def _echo(websocket: WebSocket, *said: Any) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.send_json([*said, await websocket.receive_text()])


@app.websocket("/yields")
async def yields(
    websocket: WebSocket,
    row: Annotated[str, Depends(session)],
    thread: Annotated[str, Depends(a_yield_of_a_thread)],
) -> None:
    await _echo(websocket, row, thread)


@app.websocket("/allowed")
async def with_allowed(websocket: WebSocket, name: Annotated[str, Depends(allowed)]) -> None:
    await _echo(websocket, name)


@app.websocket("/pages")
async def pages(websocket: WebSocket, page: Annotated[Pages, Depends()]) -> None:
    await _echo(websocket, page.skip, page.limit)


@app.websocket("/key")
async def key(websocket: WebSocket, key: Annotated[str, Security(APIKeyQuery(name="key"))]) -> None:
    await _echo(websocket, key)


@app.websocket("/moves")
async def moves(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            try:
                move = Move.model_validate_json(await websocket.receive_text())
                await websocket.send_json(move.model_dump())
            except ValidationError as error:
                await websocket.send_json({"errors": error.error_count()})


@app.websocket("/moves/strict")
async def strict_moves(websocket: WebSocket) -> None:
    """An invalid move is an error that nobody handles."""
    await websocket.accept()
    while True:
        move = Move.model_validate(await websocket.receive_json())
        await websocket.send_json(move.model_dump())


@app.websocket("/policy/later")
async def policy_later(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    raise WebSocketException(4003, "no more")


async def unit_of_work() -> AsyncIterator[list[str]]:
    """Commit at the end what came in."""
    rows: list[str] = []
    try:
        yield rows
    except ValueError:
        hear(f"FastAPI rolled {len(rows)} back")
        raise
    hear(f"FastAPI committed {' '.join(rows)}")


def in_a_thread(rows: Annotated[list[str], Depends(unit_of_work)]) -> Iterator[list[str]]:
    yield rows
    hear(f"FastAPI left a thread with {len(rows)}")


@app.websocket("/rows")
async def with_rows(
    websocket: WebSocket,
    rows: Annotated[list[str], Depends(unit_of_work)],
    same: Annotated[list[str], Depends(in_a_thread)],
) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            rows.append(await websocket.receive_text())
            if rows[-1] == "crash":
                raise ValueError("as told")
            await websocket.send_json(same)


class Basket:
    def __init__(self, size: int = 2) -> None:
        self.size = size
        self.items: list[str] = []

    def add(self, item: str) -> bool:
        self.items.append(item)
        return len(self.items) >= self.size


@app.websocket("/basket")
async def with_basket(websocket: WebSocket, basket: Annotated[Basket, Depends()]) -> None:
    await websocket.accept()
    while not basket.add(await websocket.receive_text()):
        await websocket.send_json(basket.items)
    await websocket.send_text("full")
    await websocket.close(4000)


@app.websocket("/moves/kept")
async def kept_moves(websocket: WebSocket) -> None:
    """A move that is invalid changes nothing but the number of errors."""
    await websocket.accept()
    moves: list[Move] = []
    errors = 0
    async for text in websocket.iter_text():
        try:
            moves.append(Move.model_validate_json(text))
        except ValidationError:
            errors += 1
        await websocket.send_json([errors, *(move.model_dump() for move in moves)])


class TeapotError(Exception):
    """Has a handler of its own."""


@app.exception_handler(TeapotError)
async def teapot(websocket: WebSocket, error: Exception) -> None:
    await websocket.send_text("teapot")
    await websocket.close(4018)


@app.websocket("/teapot")
async def with_handler(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise TeapotError


router = APIRouter(prefix="/rooms", dependencies=[Depends(allowed)])
inner = APIRouter(prefix="/{room}")


@inner.websocket("/seats/{seat}")
async def seats(
    websocket: WebSocket,
    room: Annotated[str, Path(min_length=2)],
    seat: int,
    colour: Annotated[str, Cookie()] = "none",
    x_one: Annotated[str | None, Header()] = None,
    tag: Annotated[list[str] | None, Query()] = None,
) -> None:
    await _echo(websocket, room, seat, colour, x_one, tag)


router.include_router(inner)
app.include_router(router)
side = FastAPI()
side.websocket("/side")(yields)
app.mount("/sub", side)
