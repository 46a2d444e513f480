"""What an event leaves behind: nothing that only the garbage collector can find."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.invocation.test_connect import websocket
from tests.lambda_events import LambdaContext
from tests.talk import talk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.websockets import WebSocket

    from longwire.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@websocket
async def starlette(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("welcome")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@pytest.mark.parametrize("app", [plain, starlette])
async def test_an_event_leaves_no_cycles_of_ours(app: ASGIApp) -> None:
    """Each full collection looks at all runs that wait: with many of them it costs an event most.

    An app's own cycles are its own; what we make for an event must not need the collector.
    """
    async with talk(app, lifespan="off") as client:
        await client.connect()  # makes what stays
        await client.say("a")
        with left_to_the_collector() as left:
            await client.say("b")
            await client.leave(1001)
    assert not {name for name in left if name.startswith("longwire.")}


class _Developers(LambdaContext):
    wants_hints = True


async def test_hints_leave_no_cycles() -> None:
    """They keep frames of the app, and `longwire dev` collects rarely."""
    async with talk(starlette, lifespan="off") as client:
        await client.connect()
        context = _Developers(client.seconds)
        await client.handler.handle(client.message("a"), context)  # makes what stays
        with left_to_the_collector() as left:
            await client.handler.handle(client.message("b"), context)
    assert not {name for name in left if name.startswith("longwire.") or "frame" in name}


@pytest.mark.parametrize("app", [plain, starlette])
async def test_an_event_that_goes_on_with_a_kept_run_leaves_no_cycles_of_ours(app: ASGIApp) -> None:
    async with talk(app, lifespan="off", replay=True) as client:
        await client.connect()
        await client.say("a")
        with left_to_the_collector() as left:
            await client.say("b")
            await client.say("c")
    assert not {name for name in left if name.startswith("longwire.")}


async def test_a_connect_leaves_no_cycles_of_ours() -> None:
    """With a greeting behind its response, too."""
    async with talk(starlette, lifespan="off") as client:
        await client.connect()
        await client.leave(1001)
        with left_to_the_collector() as left:
            await client.connect()
    assert not {name for name in left if name.startswith("longwire.")}


@contextmanager
def left_to_the_collector() -> Iterator[set[str]]:
    """Fill a set with the types of what was made inside and only the collector can find."""
    left: set[str] = set()
    gc.collect()
    gc.freeze()  # what other tests left behind, and lose meanwhile, is none of it
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield left
        gc.collect()
        left.update(_name(one) for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()


def _name(one: Any) -> str:
    return f"{type(one).__module__}.{type(one).__qualname__}"
