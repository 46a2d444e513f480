"""Startup once, on the loop that runs the app; its state in every scope."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from longwire import Longwire
from longwire.exceptions import ConfigurationError, EventLoopError, LifespanError
from tests.invocation.test_connect import OK
from tests.lambda_events import LambdaContext, connect_event, message_event
from tests.talk import talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.websockets import WebSocket

    from longwire import WSConfig
    from longwire.types import Receive, Scope, Send

MEMORY: WSConfig = {"backend": "memory", "params": {}}


class Diary:
    """An app that writes down its startups and shutdowns, with the loops they ran on."""

    def __init__(self, *, fails: bool = False) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.stopped = 0
        self.fails = fails
        self.app = Starlette(routes=[WebSocketRoute("/", self.endpoint)], lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[dict[str, Any]]:
        self.loops.append(asyncio.get_running_loop())
        if self.fails:
            raise ValueError("no database")
        yield {"pool": self.loops}
        self.stopped += 1

    async def endpoint(self, websocket: WebSocket) -> None:
        assert asyncio.get_running_loop() is self.loops[-1]
        assert websocket.state.pool is self.loops
        await websocket.accept()
        await websocket.receive_text()


@pytest.mark.anyio
async def test_startup_runs_once_and_shutdown_at_the_end() -> None:
    """However many events there are, also at once."""
    diary = Diary()
    async with talk(diary.app) as client:
        await asyncio.gather(client.connect(), client.another().connect())
        await client.leave()
        assert len(diary.loops) == 1
        assert diary.stopped == 0
    assert diary.stopped == 1


def test_synchronous_events_share_one_loop_and_one_startup() -> None:
    """The loop stands still between them."""
    diary = Diary()
    handler = Longwire(diary.app, ws_config=MEMORY)
    for number in range(3):
        assert handler(connect_event(f"l{number}="), LambdaContext()) == OK
    assert len(diary.loops) == 1
    handler.close()
    assert diary.stopped == 1


def test_a_process_that_ends_runs_the_shutdown() -> None:
    """Nobody has to close the handler of a Lambda function or a script."""
    script = """
from longwire import Longwire
from starlette.applications import Starlette
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan(app):
    print("up")
    yield
    print("down")

handler = Longwire(Starlette(lifespan=lifespan), ws_config={"backend": "memory", "params": {}})
from tests.lambda_events import connect_event
print(handler(connect_event(), None)["statusCode"])
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["up", "403", "down"]
    assert run.stderr == ""


def test_each_event_loop_has_a_lifespan_of_its_own() -> None:
    """What startup made belongs to the loop it ran on."""
    diary = Diary()
    handler = Longwire(diary.app, ws_config=MEMORY)
    for number in range(2):
        assert asyncio.run(handler.handle(connect_event(f"l{number}="), LambdaContext())) == OK
    assert len(set(diary.loops)) == 2


def test_the_handlers_own_loop_keeps_its_lifespan() -> None:
    """Whatever other loops it is used on meanwhile."""
    started: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        started.append("up")
        yield
        started.append("down")

    handler = Longwire(Starlette(lifespan=lifespan), ws_config=MEMORY)
    handler(connect_event("l1="), LambdaContext())
    asyncio.run(handler.handle(connect_event("l2="), LambdaContext()))
    handler(connect_event("l3="), LambdaContext())
    handler.close()
    assert started == ["up", "up", "down"]


def test_a_failed_startup_is_an_error_and_is_tried_again() -> None:
    """The next event may find the database up."""
    diary = Diary(fails=True)
    handler = Longwire(diary.app, ws_config=MEMORY)
    with pytest.raises(LifespanError, match=r"(?s)the app's startup failed: .*no database"):
        handler(connect_event(), LambdaContext())
    diary.fails = False
    assert handler(connect_event(), LambdaContext()) == OK
    assert len(diary.loops) == 2
    handler.close()


def test_a_startup_that_outlasts_an_event_goes_on_for_the_next() -> None:
    """It is bounded by the deadline, and not begun again."""
    started = asyncio.Event()
    begun = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal begun
        if scope["type"] == "lifespan":
            begun += 1
            await receive()
            await started.wait()
            await send({"type": "lifespan.startup.complete"})
            await receive()
        else:
            await _without_lifespan(scope, receive, send)

    handler = Longwire(app, ws_config=MEMORY)
    with pytest.raises(LifespanError, match=r"the app.s startup takes longer than 0\.0"):
        handler(connect_event(), LambdaContext(0.1))
    started.set()
    assert handler(connect_event(), LambdaContext()) == OK
    assert begun == 1
    handler.close()


async def _without_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise ValueError("no lifespan here")
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


def test_an_app_without_a_lifespan_goes_on_without() -> None:
    """ASGI: an exception from the lifespan scope means that there is none."""
    handler = Longwire(_without_lifespan, ws_config=MEMORY)
    assert handler(connect_event(), LambdaContext()) == OK
    handler.close()


def test_an_app_that_takes_every_scope_for_a_connection_goes_on_without() -> None:
    """It accepts the lifespan, which is an error there, and waits for a message."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    handler = Longwire(app, ws_config=MEMORY)
    assert handler(connect_event(), LambdaContext()) == OK
    handler.close()


def test_a_lifespan_that_must_be_there_and_is_not_is_an_error() -> None:
    """`lifespan="on"`."""
    handler = Longwire(_without_lifespan, ws_config=MEMORY, lifespan="on")
    with pytest.raises(LifespanError, match="raised ValueError"):
        handler(connect_event(), LambdaContext())
    handler.close()


@pytest.mark.anyio
async def test_a_startup_that_failed_leaves_no_task() -> None:
    """Each event tries again, though the app goes on waiting after it has said that it failed."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})
        await receive()

    before = asyncio.all_tasks()
    handler = Longwire(app, ws_config=MEMORY)
    for _ in range(3):
        with pytest.raises(LifespanError):
            await handler.handle(connect_event(), LambdaContext())
    await handler.aclose()
    assert asyncio.all_tasks() == before


def test_a_lifespan_can_be_turned_off() -> None:
    """`lifespan="off"`: the app never sees that scope."""
    types: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        types.append(scope["type"])
        await _without_lifespan(scope, receive, send)

    handler = Longwire(app, ws_config=MEMORY, lifespan="off")
    handler(connect_event(), LambdaContext())
    handler.close()
    assert types == ["websocket"]


@pytest.mark.parametrize("message", ["shutdown.failed", "raises"])
def test_a_failed_shutdown_is_logged(message: str, caplog: pytest.LogCaptureFixture) -> None:
    """There is nobody left to tell."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if message == "raises":
            raise ValueError("in shutdown")
        await send({"type": "lifespan.shutdown.failed", "message": "in shutdown"})

    handler = Longwire(app, ws_config=MEMORY)
    with pytest.raises(ValueError, match="expected CONNECT"):
        handler({"requestContext": {"eventType": "x", "connectionId": "c"}}, None)
    handler.close()
    assert "in shutdown" in caplog.text


def test_a_wrong_mode_fails_in_the_constructor() -> None:
    """With what was expected."""
    mode: Any = "always"
    with pytest.raises(ConfigurationError) as caught:
        Longwire(_without_lifespan, ws_config=MEMORY, lifespan=mode)
    assert str(caught.value) == "lifespan is 'always'; expected 'auto', 'on' or 'off'"


def test_a_thing_that_is_no_app_fails_in_the_constructor() -> None:
    """Such as the name of one."""
    app: Any = "package.module:app"
    with pytest.raises(ConfigurationError) as caught:
        Longwire(app, ws_config=MEMORY)
    assert str(caught.value) == "app is 'package.module:app'; expected an ASGI app"


def test_what_answers_http_must_be_callable() -> None:
    http: Any = "main:handler"
    with pytest.raises(ConfigurationError) as caught:
        Longwire(_without_lifespan, ws_config=MEMORY, http=http)
    assert str(caught.value) == "http is 'main:handler'; expected a Lambda handler"


@pytest.mark.anyio
async def test_a_call_inside_a_running_loop_says_what_to_do() -> None:
    """`handler(...)` needs a loop of its own."""
    handler = Longwire(_without_lifespan, ws_config=MEMORY)
    with pytest.raises(EventLoopError, match=r"await handler\.handle\(event, context\)"):
        handler(message_event("x"), LambdaContext())


def test_threads_take_turns() -> None:
    """A handler is called for one event at a time, as on Lambda."""

    async def call(handler: Longwire) -> list[Any]:
        events = [connect_event(f"t{number}=") for number in range(20)]
        return await asyncio.gather(
            *(asyncio.to_thread(handler, event, LambdaContext()) for event in events)
        )

    handler = Longwire(_without_lifespan, ws_config=MEMORY)
    assert asyncio.run(call(handler)) == [OK] * 20
    handler.close()
