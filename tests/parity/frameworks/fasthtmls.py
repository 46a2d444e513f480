# mypy: disable-error-code="import-untyped, untyped-decorator"
"""FastHTML, whose WebSockets are forms that come and fragments that go."""

from __future__ import annotations

import asyncio
from typing import Any

from fasthtml.common import Div, FastHTML, P

from tests.parity.frameworks.remembering import hear

app = FastHTML(secret_key="tests only")


# FastHTML knows `send`, `ws` and `scope` by name, if they have no type.


@app.ws("/shout")
async def shout(msg: str) -> Any:
    return Div(msg.upper(), id="said")


@app.ws("/send")
async def send_and_return(msg: str, send) -> Any:  # type: ignore[no-untyped-def]
    await send(Div(f"{msg}...", id="said"))
    await asyncio.sleep(0.05)
    return Div(msg, id="said")


async def on_connect(send) -> None:  # type: ignore[no-untyped-def]
    await send(P("hello", id="greeting"))


async def on_disconnect(send) -> None:  # type: ignore[no-untyped-def]
    await send(P("nobody sees this"))


@app.ws("/greet", conn=on_connect, disconn=on_disconnect)
async def greet(msg: str, n: int = 1) -> Any:
    return tuple(P(f"{msg} {number}", id=f"p{number}") for number in range(n))


carts: dict[int, list[str]] = {}


async def begin_cart(ws) -> None:  # type: ignore[no-untyped-def]
    carts[id(ws)] = []


async def end_cart(ws) -> None:  # type: ignore[no-untyped-def]
    hear(f"FastHTML had {' '.join(carts.pop(id(ws)))}")


@app.ws("/cart", conn=begin_cart, disconn=end_cart)
async def cart(msg: str, ws) -> Any:  # type: ignore[no-untyped-def]
    carts[id(ws)].append(msg)
    return Div(*(P(item) for item in carts[id(ws)]), id="cart")


@app.ws("/thread")
def in_thread(msg: str) -> Any:
    return Div(msg)


@app.ws("/silent")
async def silent(msg: str) -> None:
    pass


@app.ws("/crash")
async def crash(msg: str) -> Any:
    if msg == "value":
        raise ValueError("is told to the client")
    if msg == "other":
        raise RuntimeError("is not")
    return Div(msg)


@app.ws("/request")
async def request(msg: str, ws, scope) -> Any:  # type: ignore[no-untyped-def]
    return Div(msg, ws.query_params.get("room"), scope.path)
