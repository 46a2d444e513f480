"""Two places that serve an ASGI app: uvicorn, and the local gateway with a handler behind it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import uvicorn

from longwire import Longwire
from longwire.local.function import ThreadFunction
from longwire.local.server import LocalGateway
from longwire.local.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    Query = Sequence[tuple[str, str]]
    Address = Callable[[str, Query], str]


@asynccontextmanager
async def on_uvicorn(app: Any, folder: Path) -> AsyncIterator[Address]:
    """Serve the app with uvicorn; yield what makes the URL of a path and query."""
    config = uvicorn.Config(
        app, port=0, ws="websockets-sansio", log_config=None, ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]

    def address(path: str, query: Query) -> str:
        return f"ws://127.0.0.1:{port}{quote(path)}?{urlencode(query)}"

    try:
        yield address
    finally:
        server.should_exit = True
        await serving
        for number, handler in handlers.items():
            signal.signal(number, handler)


@asynccontextmanager
async def on_gateway(app: Any, folder: Path) -> AsyncIterator[Address]:
    """Serve the app with API Gateway's rules and a sqlite3 store, as `longwire dev` does."""
    settings = {"backend": "sqlite3", "params": {"file_path": folder / "parity.sqlite3"}}
    function = ThreadFunction(Longwire(app, ws_config=settings))
    async with function.running(), LocalGateway(function, Settings()) as gateway:
        os.environ["WS_MANAGEMENT_ENDPOINT"] = gateway.management_url
        try:
            # API Gateway has no path below the stage: the handler reads it from the query.
            yield lambda path, query: f"{gateway.url}/?{urlencode([('path', path), *query])}"
        finally:
            del os.environ["WS_MANAGEMENT_ENDPOINT"]


HOSTS = {"uvicorn": on_uvicorn, "gateway": on_gateway}
