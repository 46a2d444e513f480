"""SIGTERM under AWS's own runtime: what matters comes first; `test_after_response.py` has the rest.

The time for all of it is out of the way, so that only what does not wait for it is seen.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.runtime.test_after_response import STREAMER, TAIL, connect, notes, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

PATIENT = """
from longwire.asgi import tasks
from longwire.runtime import sigterm
sigterm.LIMIT = tasks.UNWIND_LIMIT = 60.0
"""

SLOW_TO_GO = """
async def talk(receive, send):
    await text(send, "hello")
    try:
        await asyncio.sleep(3600)
    finally:
        until = time.monotonic() + float(os.environ["CLEANING"])
        while time.monotonic() < until:
            try:
                await asyncio.sleep(until - time.monotonic())
            except asyncio.CancelledError:
                pass
        note("cleaned")
"""


async def _until_noted(folder: Path, *words: str) -> None:
    async with asyncio.timeout(10):
        while notes(folder) != list(words):
            await asyncio.sleep(0.01)


async def test_the_apps_shutdown_does_not_wait_for_what_is_slow_to_go(tmp_path: Path) -> None:
    """Lambda may leave no time for both, one after the other."""
    async with running(
        tmp_path, SLOW_TO_GO, TAIL + PATIENT, {"CLEANING": "3600"}, timeout=300.0
    ) as (process, server):
        await connect(process, server, "Connection=")
        await server.until(lambda: bool(server.delivered))
        ending = asyncio.create_task(process.end())
        await _until_noted(tmp_path, "shutdown")
        await process.instance.kill()
        await ending


async def test_what_is_slow_to_go_has_the_rest_of_the_time(tmp_path: Path) -> None:
    environ = {"CLEANING": "0.5"}
    async with running(tmp_path, SLOW_TO_GO, TAIL + PATIENT, environ) as (process, server):
        await connect(process, server, "Connection=")
        await server.until(lambda: bool(server.delivered))
        await process.end()
        assert notes(tmp_path) == ["shutdown", "cleaned"]


TWO = """
inner = app

async def app(scope, receive, send):  # that never ends its shutdown
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.sleep(3600)
    await inner(scope, receive, send)

slow = make()
app = inner
quick = make()

def handler(event, context):
    return (quick if "quick" in event else slow)(event, context)
"""


async def test_a_handler_does_not_wait_for_the_shutdown_of_another(tmp_path: Path) -> None:
    tail = TAIL.replace("handler = make()", "") + TWO + PATIENT
    async with running(tmp_path, STREAMER, tail, {"FRAMES": "1"}) as (process, server):
        await connect(process, server, "Connection=")
        await process.until_idle()
        with pytest.raises(Exception, match="EventError"):  # but its app has been started
            await process.invoke({"quick": 1})
        await _until_noted(tmp_path, "streamed")
        ending = asyncio.create_task(process.end())
        await _until_noted(tmp_path, "streamed", "shutdown")
        await process.instance.kill()
        await ending
