"""HTTP events of the same function: on the app's own loop, with its own lifespan state."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mangum import Mangum
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute

from longwire import Longwire
from longwire.asgi.http import respond
from longwire.exceptions import EventError
from tests.invocation.test_connect import OK
from tests.lambda_events import LambdaContext, connect_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from longwire import WSConfig

MEMORY: WSConfig = {"backend": "memory", "params": {}}

# An HTTP API's event, payload format 2.0.
HTTP_EVENT: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/hello",
    "rawQueryString": "a=1",
    "headers": {"host": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"},
    "requestContext": {
        "http": {"method": "POST", "path": "/hello", "sourceIp": "203.0.113.7"},
        "stage": "$default",
    },
    "body": "ping",
    "isBase64Encoded": False,
}


class Site:
    """An app with both sides, that knows the loop it was started on."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.app = Starlette(
            routes=[
                Route("/hello", self.hello, methods=["POST"]),
                WebSocketRoute("/", self.endpoint),
            ],
            lifespan=self.lifespan,
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[dict[str, Any]]:
        self.loops.append(asyncio.get_running_loop())
        yield {"name": "shared"}

    async def hello(self, request: Request) -> JSONResponse:
        assert asyncio.get_running_loop() is self.loops[0]
        body = (await request.body()).decode()
        return JSONResponse([body, dict(request.query_params), request.state.name], 201)

    async def endpoint(self, websocket: WebSocket) -> None:
        assert asyncio.get_running_loop() is self.loops[0]
        await websocket.accept()
        await websocket.receive_text()


async def _mangum(app: Any) -> Mangum:
    """Make one where a loop is running: elsewhere it makes a loop that nobody closes."""
    return Mangum(app)


@pytest.mark.parametrize("given", [False, True], ids=["found", "given"])
def test_mangum_answers_http_events(given: bool) -> None:
    """With the same loop and lifespan state as WebSocket events."""
    site = Site()
    http: Any = asyncio.run(_mangum(site.app)) if given else None
    handler = Longwire(site.app, ws_config=MEMORY, http=http)
    assert handler(connect_event(), LambdaContext()) == OK
    answer = handler(HTTP_EVENT, LambdaContext())
    assert answer["statusCode"] == 201
    assert json.loads(answer["body"]) == ["ping", {"a": "1"}, "shared"]
    assert len(site.loops) == 1
    handler.close()


@pytest.mark.anyio
async def test_mangum_answers_on_a_running_loop() -> None:
    """Many at once, as under `longwire dev`."""
    site = Site()
    handler = Longwire(site.app, ws_config=MEMORY)
    answers = await asyncio.gather(
        *(handler.handle(HTTP_EVENT, LambdaContext()) for _ in range(10))
    )
    assert {answer["statusCode"] for answer in answers} == {201}
    await handler.aclose()


@pytest.mark.anyio
async def test_handlers_leave_the_loops_threads_to_the_app() -> None:
    """Many at once: they wait for the app, which waits for a thread."""

    async def in_thread(request: Request) -> JSONResponse:
        return JSONResponse(await asyncio.to_thread(str, "done"))

    app = Starlette(routes=[Route("/hello", in_thread, methods=["POST"])])
    handler = Longwire(app, ws_config=MEMORY)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    answers = await asyncio.gather(*(handler.handle(HTTP_EVENT, LambdaContext()) for _ in range(3)))
    assert [answer["body"] for answer in answers] == ['"done"'] * 3
    await handler.aclose()


@pytest.mark.parametrize("late", [False, True], ids=["at work", "not begun"])
def test_an_event_given_up_leaves_no_thread_that_waits(late: bool) -> None:
    """The interpreter joins such threads when it exits, and would wait for ever."""
    given_up, left = threading.Event(), threading.Event()
    begun: list[str] = []

    async def endless(request: Request) -> JSONResponse:
        begun.append(request.url.path)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    class Slow(Mangum):
        def __call__(self, event: Any, context: Any) -> Any:
            try:
                if late:
                    given_up.wait()
                return super().__call__(event, context)
            finally:
                left.set()

    app = Starlette(routes=[Route("/hello", endless, methods=["POST"])])

    async def give_up() -> None:
        http = Slow(app, lifespan="off")
        with pytest.raises(TimeoutError):
            await respond(http, app, {}, HTTP_EVENT, LambdaContext(), 0.1, print)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(give_up())
    given_up.set()
    assert left.wait(30)  # with a loop that has stopped, and is not closed
    loop.run_until_complete(asyncio.sleep(0))
    assert begun == ["/hello"] * (not late)  # nor does the app run for an event that is over
    assert not asyncio.all_tasks(loop)
    loop.close()


def test_what_a_handler_leaves_on_its_loop_is_ended() -> None:
    """As by `asyncio.run`: also what it began in the last round."""
    left: list[asyncio.Task[None]] = []

    async def answer() -> str:
        left.append(asyncio.create_task(asyncio.sleep(600)))
        return "done"

    def handler(event: Any, context: Any) -> str:
        return asyncio.get_event_loop().run_until_complete(answer())

    longwire = Longwire(Site().app, ws_config=MEMORY, http=handler)
    assert longwire({"source": "aws.events"}, LambdaContext()) == "done"
    assert [task.cancelled() for task in left] == [True]
    longwire.close()


async def _asynchronous(event: Any, context: Any) -> Any:
    return {"statusCode": 202, "event": event}


def _synchronous(event: Any, context: Any) -> Any:
    asyncio.get_event_loop()  # such handlers may count on one
    return {"statusCode": 202, "event": event}


@pytest.mark.parametrize("http", [_asynchronous, _synchronous])
def test_any_lambda_handler_can_answer_other_events(http: Any) -> None:
    """A queue's, say."""
    handler = Longwire(Site().app, ws_config=MEMORY, http=http)
    event: dict[str, Any] = {"Records": []}
    assert handler(event, LambdaContext()) == {"statusCode": 202, "event": event}
    handler.close()


def test_an_iterators_end_in_a_handler_is_an_error() -> None:
    """No future can hold StopIteration; a forgotten default of `next` hangs no event."""
    handler = Longwire(Site().app, ws_config=MEMORY, http=lambda event, context: next(iter(())))
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        handler({"Records": []}, LambdaContext())
    handler.close()


def test_without_anybody_to_answer_it_says_so() -> None:
    """In a process where Mangum cannot be imported."""
    script = """
import sys
sys.modules["mangum"] = None
from longwire import Longwire
from longwire.asgi.http import respond
from longwire.exceptions import EventError

async def app(scope, receive, send): ...

handler = Longwire(app, ws_config={"backend": "memory", "params": {}}, lifespan="off")
try:
    handler({"requestContext": {"http": {}}}, None)
except EventError as error:
    print(error)
handler.close()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == (
        "this is not an API Gateway WebSocket event, and there is nothing to answer others: "
        "give Longwire(app, http=<a Lambda handler>), or pip install 'longwire[http]'\n"
    )


@pytest.mark.parametrize("given", [False, True], ids=["found", "given"])
@pytest.mark.parametrize(
    "event",
    [
        {},
        {"requestContext": None},
        {"requestContext": {}},
        [],
        None,
        "ping",
        {"source": "serverless-plugin-warmup"},
        {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}},
        {"Records": [{"eventSource": "aws:sqs", "body": "x"}]},
        {"Records": []},
        # Like an event of CloudFront, a load balancer, and both APIs, and yet none.
        {"Records": [{"cf": {}}]},
        {"Records": [{"cf": {"request": {}}}]},
        {"requestContext": {"elb": {}}},
        {"version": "2.0", "requestContext": {}},
        {"version": "2.0", "requestContext": {"http": None}},
        {"resource": "x", "requestContext": {}},
    ],
)
def test_what_is_nobodys_gets_an_error_that_says_what_to_do(event: Any, given: bool) -> None:
    """Where Mangum is installed, too, which knows HTTP events only."""
    http: Any = asyncio.run(_mangum(Site().app)) if given else None
    handler = Longwire(Site().app, ws_config=MEMORY, lifespan="off", http=http)
    with pytest.raises(EventError, match=r"http=<a Lambda handler>"):
        handler(event, LambdaContext())
    handler.close()


@pytest.mark.anyio
async def test_what_the_app_raises_below_mangum_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Its client gets a 500 of Mangum's, or of the framework's."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("a secret")

    raised: list[str] = []

    class Context(LambdaContext):
        def app_raised(self, error: str) -> None:
            raised.append(error)

    handler = Longwire(app, ws_config=MEMORY, lifespan="off")
    answer = await handler.handle(HTTP_EVENT, Context())
    assert (answer["statusCode"], raised) == (500, ["KeyError"])


def test_who_answers_http_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mangum if it is installed, or what was given."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    def answer(event: Any, context: Any) -> str:
        return "hello"

    assert Longwire(app, ws_config=MEMORY).answers_http
    monkeypatch.setitem(sys.modules, "mangum", None)  # as if it were not installed
    assert not Longwire(app, ws_config=MEMORY).answers_http
    assert Longwire(app, ws_config=MEMORY, http=answer).answers_http
