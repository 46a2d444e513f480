"""What a send makes JSON of, and that it is the same by every way on which values are sent."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic_core
import pytest
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket  # noqa: TC002  # Starlette reads it
from websockets.asyncio.client import connect

from longwire import (
    ConfigurationError,
    Connections,
    InvalidArgumentError,
    WebSocketManager,
    WSGateway,
    websocket_handler,
)
from longwire.apigateway.frames import frame
from longwire.testing import Gateway
from longwire_backends.memory import MemoryBackend
from tests.connections_server import ConnectionsServer
from tests.documents import FILES
from tests.lambda_events import LambdaContext, message_event
from tests.parity.hosts import on_uvicorn
from tests.talk import old_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from longwire.functions.context import WebSocketContext


ID = "QWErT_fALIAMCug="
FAR = 1 << 40


class Colour(enum.Enum):
    RED = "red"
    DAY = date(2026, 1, 2)


class Size(enum.IntEnum):
    BIG = 3


class Word(enum.StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Point:
    x: int
    at: time
    _inner: list[Colour] = dataclasses.field(default_factory=list, repr=False)


class Order(BaseModel):
    id: uuid.UUID
    price: Decimal
    at: datetime
    point: Point
    customer_id: int = Field(alias="customerId")


HOUR = timezone(timedelta(hours=1))
AT = datetime(2026, 1, 2, 3, 4, 5, 60000, tzinfo=UTC)
NAME = uuid.UUID(int=7)
POINT = Point(1, time(12, 30), [Colour.RED, Colour.DAY])
ORDER = Order(id=NAME, price=Decimal("12.50"), at=AT, point=POINT, customerId=5)

VALUES = [
    {"plain": [1, 1.5, True, None, "é€", {"a": [[]]}]},
    (1, "a"),
    AT,
    AT.replace(tzinfo=None, microsecond=0),
    AT.astimezone(HOUR),
    date(2026, 1, 2),
    time(1, 2),
    time(1, 2, 3, 4, tzinfo=UTC),
    NAME,
    Decimal("12.50"),
    Decimal("1E+3"),
    Decimal("NaN"),
    Colour.RED,
    Colour.DAY,
    [Size.BIG, Word.YES, Colour.RED],
    {Size.BIG: 1, Word.YES: 2, Colour.RED: 3, Colour.DAY: 4},
    {NAME: 1, date(2026, 1, 2): 2, AT: 3, Decimal("1.0"): 4},
    {7},
    frozenset({Colour.RED}),
    POINT,
    ORDER,
    {"orders": [ORDER, ORDER], "points": (POINT,)},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_everything_is_written_as_pydantic_writes_it(value: object) -> None:
    """So that a value is the same in a model and beside it."""
    assert frame(value) == pydantic_core.to_json(value, by_alias=False).decode()


def test_a_model_is_its_own_json() -> None:
    """To the letter, where it is all that is sent, and what cannot be a number is null."""

    class Reading(BaseModel):
        value: float

    assert frame(ORDER) == ORDER.model_dump_json()
    assert frame(Reading(value=float("nan"))) == '{"value":null}'
    assert frame([Reading(value=float("nan"))]) == '[{"value":null}]'


SET = 'from longwire.apigateway.frames import frame; print(frame({"a", "b", "c", "d", "e"}))'


def test_a_set_is_the_same_text_in_every_process() -> None:
    """Longwire compares what an app sends with what it has sent."""
    texts = {
        subprocess.run(
            [sys.executable, "-c", SET],
            capture_output=True,
            check=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "1234"
    }
    assert texts == {'["a","b","c","d","e"]\n'}
    assert frame({2, "b", 1}) == '["b",1,2]'


class Opaque:
    def __getattr__(self, name: str) -> Any:
        return lambda: "{}"


_circle: list[object] = [AT]
_circle.append(_circle)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [{"b": object()}]}, "data['a'][0]['b'] is of type object; send a str, bytes, or"),
        ({"a": POINT, "b": timedelta(1)}, "data['b'] is of type timedelta"),
        (Point(1, b"x"), "data.at is of type bytes"),  # type: ignore[arg-type]
        ({(1, 2): 3}, "data has a key that is of type tuple"),
        ({"a": {7, b"x"}}, "data['a']{...} is of type bytes"),
        (Order, "data is the class Order"),
        ([Point], "data[0] is the class Point"),
        (Opaque(), "data is of type Opaque"),
        (float("inf"), "Out of range float"),
        (_circle, "recursion"),
    ],
)
def test_what_has_no_form_is_an_error_that_says_where(value: object, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        frame(value)
    assert text in str(caught.value)
    assert str(caught.value).startswith(
        f"data is a value of type {type(value).__name__} that JSON cannot hold: "
    )


def _fastapi(value: object) -> str:
    """Write it as the documents show."""
    names: dict[str, Any] = {}
    exec(FILES["prices.py"], names)
    text: str = names["connections"]._dumps(value)
    return text


def _refuse(value: object) -> str:
    raise ValueError("not that one")


@pytest.mark.parametrize(
    ("dumps", "value", "text"),
    [
        (json.dumps, {"a": [1, "é"]}, '{"a": [1, "\\u00e9"]}'),
        (lambda value: b'{"n":1}', {}, '{"n":1}'),
        (lambda value: bytearray("é".encode()), {}, "é"),
        (_fastapi, {"price": Decimal("12.50"), "n": Decimal(3)}, '{"price": 12.5, "n": 3}'),
        (_fastapi, ORDER, json.dumps(json.loads(ORDER.model_dump_json(by_alias=True)))),
        (_refuse, "text", "text"),
        (_refuse, b"bytes", b"bytes"),
    ],
)
def test_dumps_decides_on_all_but_text_and_bytes(
    dumps: Any, value: object, text: str | bytes
) -> None:
    """JSON is text, also where it is made as bytes."""
    assert frame(value, dumps) == text


@pytest.mark.parametrize(
    ("dumps", "text"),
    [
        (_refuse, "data is a value of type dict that dumps cannot hold: not that one"),
        (lambda value: None, "it returned a NoneType; expected str or bytes"),
        (lambda value: b"\xff", "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_what_dumps_refuses_is_an_error(dumps: Any, text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        frame({}, dumps)
    assert text in str(caught.value)


def test_dumps_is_a_function() -> None:
    """A mistake fails where it is made."""
    with pytest.raises(ConfigurationError, match="dumps must be a function"):
        Connections(dumps="json")  # type: ignore[arg-type]


# By every way: each sends a value and returns what clients got.


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ConnectionsServer]:
    async with ConnectionsServer() as server:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", server.url)
        yield server


async def _from_outside(server: ConnectionsServer, value: object, dumps: Any) -> list[bytes]:
    backend = MemoryBackend()
    await backend.put(ID, old_record(), FAR)
    async with Connections(ws_config={"backend": backend}, dumps=dumps) as connections:
        await connections.group_add("room", ID)
        await connections.send(ID, value)
        await connections.group_send("room", value)
        await connections.broadcast(value)
    return [body for _, body in server.delivered]


REQUEST_CONTEXT = {"connectionId": ID, "apiId": "a1b2c3d4e5", "stage": "prod"}


async def _from_threads(server: ConnectionsServer, value: object, dumps: Any) -> list[bytes]:
    def work() -> None:
        with_dumps = Connections(api_gateway_endpoint_url=server.url, dumps=dumps).sync
        with_dumps.send(ID, value)
        with_dumps.aclose()
        assert WSGateway.send(value, REQUEST_CONTEXT, dumps=dumps)

    await asyncio.to_thread(work)
    return [body for _, body in server.delivered]


async def _from_functions(server: ConnectionsServer, value: object, dumps: Any) -> list[bytes]:
    answers = []

    @websocket_handler(dumps=dumps)
    async def function(event: Any, context: WebSocketContext) -> Any:
        await context.send(value)
        await context.broadcast([ID], value)
        await context.connections.send(ID, value)
        return {"statusCode": 200, "body": {"value": value}}

    answers.append(await function.handle(message_event("x", ID), LambdaContext()))
    wrapped: Any = frame({"value": value}, dumps)
    assert answers == [{"statusCode": 200, "body": wrapped}]
    await function.aclose()
    return [body for _, body in server.delivered]


def _app(value: object, dumps: Any) -> Starlette:
    """Make an app that sends it in each way that an app has, once it is asked to."""
    connections = Connections(dumps=dumps)
    manager = WebSocketManager(connections)

    async def endpoint(ws: WebSocket) -> None:
        await manager.connect(7, ws)
        await connections.group_add("room", ws)
        async for _ in ws.iter_text():
            await connections.send(ws, value)
            await connections.group_send("room", value)
            await connections.broadcast(value)
            await manager.send_message(7, value)
            await manager.get_connection(7).send_json(value)

    return Starlette(routes=[WebSocketRoute("/", endpoint)])


async def _from_an_app(server: ConnectionsServer, value: object, dumps: Any) -> list[bytes]:
    async with Gateway(_app(value, dumps)) as gateway:
        async with gateway.connect("/") as client:
            await client.send("go")
            return [(await client.receive()).encode() for _ in range(5)]


async def _under_uvicorn(server: ConnectionsServer, value: object, dumps: Any) -> list[bytes]:
    async with on_uvicorn(_app(value, dumps), Path()) as address:
        async with connect(address("/", [])) as client:
            await client.send("go")
            got = [await client.recv() for _ in range(5)]
    # As text, on which browsers call JSON.parse.
    return [one.encode() for one in got if isinstance(one, str)]


WAYS = {
    "outside": (_from_outside, 3),
    "threads": (_from_threads, 2),
    "functions": (_from_functions, 3),
    "an app": (_from_an_app, 5),
    "uvicorn": (_under_uvicorn, 5),
}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("dumps", "text"),
    [
        (None, json.dumps([json.loads(ORDER.model_dump_json())], separators=(",", ":"))),
        (lambda value: b"[1, 2]", "[1, 2]"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
async def test_it_is_the_same_on_every_way(
    way: str, dumps: Any, text: str, server: ConnectionsServer
) -> None:
    send, times = WAYS[way]
    assert await send(server, [ORDER], dumps) == [text.encode()] * times
