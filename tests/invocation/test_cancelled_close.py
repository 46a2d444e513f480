"""A task that closes is cancelled by its app as soon as the app hears of the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.invocation.test_connect import OK
from tests.talk import talk

if TYPE_CHECKING:
    from pathlib import Path

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Whichever of two tasks is over ends the other, as in Quart."""
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def read() -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            texts.put_nowait(message.get("text", ""))

    async def handle() -> None:
        await texts.get()
        await send({"type": "websocket.accept"})
        await texts.get()
        await send({"type": "websocket.close", "code": 1000})

    both = {asyncio.create_task(read()), asyncio.create_task(handle())}
    _, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(both)


async def test_the_connection_ends_all_the_same(tmp_path: Path) -> None:
    """Its event ends it, where the task could not."""
    store = {"backend": "sqlite3", "params": {"file_path": tmp_path / "store.sqlite3"}}
    async with talk(app, lifespan="off", **store) as client:
        assert await client.connect() == OK
        await client.say("a")
        assert client.deleted
