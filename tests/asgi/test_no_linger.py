"""Nothing can come of what waits: the event ends at once, on whichever event loop.

`linger` is longer than the function's time. An event that lingers would end with it, and say so.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import falcon.asgi
import pytest
from falcon.errors import WebSocketDisconnected

from tests.talk import talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.types import ASGIApp, Receive, Scope, Send

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
LINGER, SECONDS = 30.0, 3.0  # Ariadne has a timer of 60
ACCEPT = {"type": "websocket.accept"}


async def _echo(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def heartbeat(scope: Scope, receive: Receive, send: Send) -> None:
    """A task sleeps for longer than an event may last."""
    await receive()
    await send(ACCEPT)
    beating = asyncio.create_task(asyncio.sleep(3600))
    try:
        await _echo(receive, send)
    finally:
        beating.cancel()


async def writer(scope: Scope, receive: Receive, send: Send) -> None:
    """A task waits at a queue for the one that receives."""
    texts: asyncio.Queue[str] = asyncio.Queue()

    async def write() -> None:
        while True:
            await send({"type": "websocket.send", "text": await texts.get()})

    await receive()
    await send(ACCEPT)
    writing = asyncio.create_task(write())
    try:
        while (message := await receive())["type"] == "websocket.receive":
            texts.put_nowait(message["text"])
    finally:
        writing.cancel()


class _Resource:
    async def on_websocket(self, req: Any, ws: falcon.asgi.WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except WebSocketDisconnected:
            pass


def by_falcon() -> ASGIApp:
    """Falcon receives by a task of its own, and waits for a future that this task sets."""
    app = falcon.asgi.App()
    app.add_route("/", _Resource())
    return app  # type: ignore[return-value]  # its types are narrower


async def _converse(app: ASGIApp) -> list[str]:
    async with talk(app, lifespan="off", linger=LINGER) as client:
        client.seconds = SECONDS
        await client.connect()
        await client.say("a")
        await client.say("b")
        await client.leave()
        return client.frames


def _uvloop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = pytest.importorskip("uvloop").new_event_loop()
    return loop


@pytest.mark.parametrize(
    ("app", "loop_factory"),
    [
        pytest.param(heartbeat, asyncio.new_event_loop, id="heartbeat"),
        pytest.param(writer, asyncio.new_event_loop, id="writer"),
        pytest.param(by_falcon(), asyncio.new_event_loop, id="falcon"),
        pytest.param(heartbeat, _uvloop, id="heartbeat on uvloop"),
        pytest.param(writer, _uvloop, id="writer on uvloop"),
    ],
)
def test_an_event_is_over_when_the_app_waits_for_the_client(
    app: ASGIApp,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """None comes to its deadline."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(_converse(app)) == ["a", "b"]
    assert "deadline" not in caplog.text


NESTED = """
import asyncio, logging
import nest_asyncio
from tests.asgi import test_no_linger as tests

nest_asyncio.apply()
logging.basicConfig(level="ERROR", format="%(message)s")
print(asyncio.run(tests._converse(tests.APP)))
"""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio itself knows no task with it")
@pytest.mark.parametrize("app", ["heartbeat", "writer"])
def test_nest_asyncio_changes_nothing(app: str) -> None:
    """It has tasks and futures made in Python, in the whole process."""
    source = NESTED.replace("APP", app)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "['a', 'b']\n"
    assert "deadline" not in done.stderr


def _ariadne() -> Any:
    ariadne = pytest.importorskip("ariadne")
    handlers = pytest.importorskip("ariadne.asgi.handlers")
    asgi = pytest.importorskip("ariadne.asgi")
    schema = ariadne.make_executable_schema("type Query { hello: String }")
    return asgi.GraphQL(schema, websocket_handler=handlers.GraphQLTransportWSHandler())


async def _leave_asleep(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    sleeping.add(asyncio.create_task(asyncio.sleep(3600)))
    await receive()


sleeping: set[asyncio.Task[None]] = set()


@pytest.mark.parametrize(
    "make", [pytest.param(lambda: _leave_asleep, id="task"), pytest.param(_ariadne, id="ariadne")]
)
async def test_what_an_ended_app_leaves_asleep_is_not_waited_for(make: Callable[[], Any]) -> None:
    """Its timer is later than the last that may be waited for."""
    async with talk(make(), lifespan="off", linger=LINGER) as client:
        client.seconds = LINGER
        await client.connect(headers={"Sec-WebSocket-Protocol": ["graphql-transport-ws"]})
        async with asyncio.timeout(SECONDS):
            await client.leave()
