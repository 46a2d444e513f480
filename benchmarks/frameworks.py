"""How long events linger, framework by framework and on other event loops.

    python -m benchmarks.frameworks NAME [URL]

runs an echo app of this framework, and prints the milliseconds that a CONNECT, a MESSAGE and a
DISCONNECT take (medians), and how many seconds of `linger` an event has waited in the worst case.
A step that waits for a task which cannot move shows as whole seconds, which are billed. Without a
URL it prints the seconds of CPU and of wall time that importing and making the app takes.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import sys
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measured import event

if TYPE_CHECKING:
    from collections.abc import Callable

LINGER = 2.0
MESSAGES = 20


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return Starlette(routes=[WebSocketRoute("/", echo)])


def reader_and_writer() -> Any:
    """Starlette, with a heartbeat and a task that writes what a queue brings."""
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    async def echo(websocket: Any) -> None:
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def write() -> None:
            while True:
                await websocket.send_text(await queue.get())

        async def beat() -> None:
            while True:
                await asyncio.sleep(60)
                await websocket.send_text("ping")

        await websocket.accept()
        tasks = [asyncio.create_task(write()), asyncio.create_task(beat())]
        try:
            async for text in websocket.iter_text():
                await queue.put(text)
        finally:
            for task in tasks:
                task.cancel()

    return Starlette(routes=[WebSocketRoute("/", echo)])


def fastapi() -> Any:
    from fastapi import FastAPI, WebSocket

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    app = FastAPI()
    echo.__annotations__["websocket"] = WebSocket  # it cannot find what is imported in here
    app.websocket("/")(echo)
    return app


def litestar() -> Any:
    from litestar import Litestar
    from litestar.handlers import websocket_listener

    @websocket_listener("/")
    async def echo(data: str) -> str:
        return data

    return Litestar([echo], openapi_config=None, logging_config=None)


def quart() -> Any:
    from quart import Quart, websocket

    app = Quart(__name__)

    @app.websocket("/")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())

    return app


def channels() -> Any:
    from channels.generic.websocket import AsyncWebsocketConsumer

    class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]  # it has no types
        async def receive(self, text_data: str = "", bytes_data: bytes = b"") -> None:
            await self.send(text_data)

    return Echo.as_asgi()


def falcon() -> Any:
    from falcon.asgi import App

    class Echo:
        async def on_websocket(self, request: Any, websocket: Any) -> None:
            await websocket.accept()
            while True:
                await websocket.send_text(await websocket.receive_text())

    app = App()
    app.add_route("/", Echo())
    return app


def sanic() -> Any:
    from sanic import Sanic

    app = Sanic("echo", configure_logging=False)

    async def echo(request: Any, websocket: Any) -> None:
        while (text := await websocket.recv()) is not None:
            await websocket.send(text)

    app.add_websocket_route(echo, "/")
    return app


class Case:
    """An app, and what it needs to be installed."""

    def __init__(self, app: Callable[[], Any], needs: str, loop: str = "asyncio") -> None:
        self.app, self.needs, self.loop = app, needs, loop

    @property
    def is_installed(self) -> bool:
        return all(importlib.util.find_spec(name) for name in (self.needs, self.loop))


CASES = {
    "Starlette": Case(starlette, "starlette"),
    "  reader, writer, heartbeat": Case(reader_and_writer, "starlette"),
    "  the same on uvloop": Case(reader_and_writer, "starlette", "uvloop"),
    "  the same with nest_asyncio": Case(reader_and_writer, "starlette", "nest_asyncio"),
    "FastAPI": Case(fastapi, "fastapi"),
    "Litestar": Case(litestar, "litestar"),
    "Quart": Case(quart, "quart"),
    "Channels": Case(channels, "channels"),
    "Falcon": Case(falcon, "falcon"),
    "Sanic": Case(sanic, "sanic"),
}


async def _talk(handler: Any) -> list[float]:
    """Return the seconds that each event took."""
    took = []
    for number, kind in enumerate(["CONNECT", *["MESSAGE"] * MESSAGES, "DISCONNECT"]):
        began = time.perf_counter()
        await handler.handle(event(kind, f"{os.getpid()}="), None)
        took.append(time.perf_counter() - began)
        if number == 0:
            await handler._deferred.wait()
    await handler.aclose()
    return took


def start(case: Case) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    case.app()
    print(time.process_time() - cpu, time.perf_counter() - wall)


def main(name: str, url: str = "") -> None:
    from longwire import Longwire

    case = CASES[name]
    if not url:
        return start(case)
    if case.loop == "nest_asyncio":
        importlib.import_module("nest_asyncio").apply()
    if case.needs == "channels":
        import django.conf

        django.conf.settings.configure()
    settings: Any = {"backend": "memory", "linger": LINGER, "api_gateway_endpoint_url": url}
    handler = Longwire(case.app(), ws_config=settings)
    if case.loop == "uvloop":
        import uvloop

        took = uvloop.run(_talk(handler))
    else:
        took = asyncio.run(_talk(handler))
    waited = LINGER * round(max(took) / LINGER)
    return print(took[0], median(took[1:-1]), took[-1], waited)


if __name__ == "__main__":
    main(*sys.argv[1:])
