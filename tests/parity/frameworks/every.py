"""The apps of the frameworks that PARITY_FRAMEWORKS names, in one.

The first part of the path names the framework; the rest is its path.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.parity.frameworks import working

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.parity.apps import Receive, Scope, Send

APPS: dict[str, Any] = {
    name: importlib.import_module(f"tests.parity.frameworks.{name}").app
    for name in os.environ["PARITY_FRAMEWORKS"].split(",")
}
# These cannot serve before they have been started.
WITH_LIFESPAN = {"sanics", "blacksheeps"}


@asynccontextmanager
async def _started(app: Any, scope: Scope) -> AsyncIterator[None]:
    asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answered: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    running = asyncio.create_task(app({**scope, "state": {}}, asked.get, answered.put))
    asked.put_nowait({"type": "lifespan.startup"})
    assert (await answered.get())["type"] == "lifespan.startup.complete"
    yield
    asked.put_nowait({"type": "lifespan.shutdown"})
    await answered.get()
    await running


async def _live(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    worker = asyncio.create_task(working.work())
    async with AsyncExitStack() as stack:
        for name in WITH_LIFESPAN & APPS.keys():
            await stack.enter_async_context(_started(APPS[name], scope))
        await send({"type": "lifespan.startup.complete"})
        await receive()
    worker.cancel()
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(scope, receive, send)
        return
    _, name, path = scope["path"].split("/", 2)
    own = scope | {"path": f"/{path}", "raw_path": f"/{path}".encode()}
    await APPS[name](own, receive, send)
