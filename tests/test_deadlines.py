"""Whatever hangs ends with its event: in time, with a typed error or an answer, and in the log.

Each case has its own hanging server. Those of one test run side by side, since each lasts as long
as its event may.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from longwire import BackendError, Connections, Longwire, LongwireError, ManagementError
from longwire.asgi import lifespan as lifespans
from longwire.exceptions import DeadlineError, LifespanError
from longwire.functions.handler import websocket_handler
from longwire.local.rules.errors import FunctionRaisedError
from longwire.runtime.threads import LoopThread
from longwire_backends.memory import MemoryBackend
from tests.asgi.test_http import HTTP_EVENT
from tests.connections_server import ConnectionsServer
from tests.fanout.test_queued import part, queue_event
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event
from tests.lambda_process import lambda_process
from tests.servers.hanging import silent, unaccepting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from longwire import WSConfig
    from longwire.types import LambdaEvent, Receive, Scope, Send

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

# Of an event, in all.
SECONDS = 1.3
OK = {"statusCode": 200}
NO_ROUTE = "a VPC without a route to execute-api looks like this"
HTTP_PART = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


class Ended(NamedTuple):
    answer: Any
    error: LongwireError | None


async def invoke(
    handler: Any,
    event: LambdaEvent,
    after: Callable[[], Awaitable[object]] | None = None,
    *,
    seconds: float = SECONDS,
) -> Ended:
    """Invoke a handler; there has to be time left in the end, also for what goes on behind it."""
    context = LambdaContext(seconds)
    answer, error = None, None
    try:
        answer = await handler.handle(event, context)
    except LongwireError as raised:
        error = raised
    if after is not None:
        await after()
    assert context.get_remaining_time_in_millis() > 0, event
    return Ended(answer, error)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """What is logged as an error and has this in it."""

    def find(about: str) -> list[str]:
        return [
            record.getMessage() + (record.exc_text or "")
            for record in caplog.records
            if (record.name, record.levelno) == ("longwire", logging.ERROR)
            and about in record.getMessage()
        ]

    return find


def app_of(talk: Callable[[Receive, Send], Awaitable[object]]) -> Any:
    """Make an app that accepts and then talks."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await talk(receive, send)

    return app


async def listen(receive: Receive, send: Send) -> None:
    while (await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": "reply"})


# --- stores ---------------------------------------------------------------------------------------


# A dsn, and a part of an answer.
STORES = {
    "redis": ("redis://127.0.0.1:{}", b"$100\r\nabc"),
    "postgresql": ("postgresql://u:p@127.0.0.1:{}/d?connect_timeout=2", b"N"),
    "dynamodb": ("dynamodb://table?region=eu-west-1&endpoint_url=http://127.0.0.1:{}", HTTP_PART),
    "s3": ("s3://bucket?region=eu-west-1&endpoint_url=http://127.0.0.1:{}", HTTP_PART),
}
EVENTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "CONNECT": ("put", connect_event),
    "MESSAGE": ("get", lambda to: message_event("hi", to)),
    "DISCONNECT": ("take", disconnect_event),
}


async def test_a_store_that_hangs(aws_keys: None, lines: Callable[[str], list[str]]) -> None:
    """The error and the log name the store, what was asked of it, and how long that took."""
    pytest.importorskip("psycopg2")

    async def check(store: str, dsn: str, first: bytes, kind: str) -> None:
        operation, event = EVENTS[kind]
        to = f"{store}-{kind}-{len(first)}="
        async with silent(first) as port:
            handler = Longwire(app_of(listen), dsn=dsn.format(port))
            ended = await invoke(handler, event(to))
            assert isinstance(ended.error, BackendError)
            assert (ended.error.backend, ended.error.operation) == (store, operation)
            (line,) = lines(to)
            assert line.startswith(f"connection {to}: {kind} failed after ")
            assert f"{store}: {operation} failed: no answer within the " in line
            assert "no route leads to it" in line
            await handler.aclose()

    async with asyncio.TaskGroup() as cases:
        for store, (dsn, first) in STORES.items():
            for kind in EVENTS:
                for part_of_answer in (b"", first):
                    cases.create_task(check(store, dsn, part_of_answer, kind))


LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have another process hold the lock for writing."""
    command = [sys.executable, "-c", LOCKER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"locked\n"
            yield
        finally:
            process.communicate()


async def test_a_file_that_another_process_has_locked(
    tmp_path: Path, lines: Callable[[str], list[str]]
) -> None:
    """Also in the middle of a statement; when the lock is gone, all is well."""
    path = tmp_path / "store.sqlite3"
    handler = Longwire(app_of(listen), dsn=f"sqlite:///{path}")
    assert (await invoke(handler, connect_event("old="))).answer == OK
    with locked(path):
        unopened = Longwire(app_of(listen), dsn=f"sqlite:///{path}")
        put, take, opening = await asyncio.gather(
            invoke(handler, connect_event("put=")),
            invoke(handler, disconnect_event("old=")),
            invoke(unopened, connect_event("open=")),
        )
    for ended, what in ((put, "put"), (take, "take"), (opening, "put")):
        assert isinstance(ended.error, BackendError)
        assert str(ended.error).startswith(f"sqlite3: {what} failed: no answer within the ")
    assert [len(lines(to)) for to in ("put=", "old=", "open=")] == [1, 1, 1]
    assert (await invoke(handler, disconnect_event("old="))).answer == OK
    assert (await invoke(unopened, connect_event("open="))).answer == OK
    await handler.aclose()
    await unopened.aclose()


async def test_a_search_for_keys_that_hangs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: Callable[[str], list[str]]
) -> None:
    """Neither the store nor the management API is what hangs, and both say so."""
    pytest.importorskip("botocore")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / name))
    api = "https://a1.execute-api.eu-west-1.amazonaws.com/prod"
    async with silent() as port:
        url = f"http://127.0.0.1:{port}/credentials"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        stored = Longwire(app_of(listen), dsn="dynamodb://table?region=eu-west-1")
        posting = Longwire(app_of(listen), dsn=f"memory://?api_gateway_endpoint_url={api}")
        await invoke(posting, connect_event("post="))
        get, post = await asyncio.gather(
            invoke(stored, message_event("hi", "get=")),
            invoke(posting, message_event("hi", "post=")),
        )
        await stored.aclose()
        await posting.aclose()
    assert isinstance(get.error, BackendError)
    assert "while looking for AWS keys" in str(get.error)
    assert "while looking for AWS keys" in lines("get=")[0]
    assert post.answer == OK
    (line,) = [one for one in lines("post=") if "POST @connections: no answer within" in one]
    assert "while looking for AWS keys" in line


# --- the management API ---------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def endpoint(kind: str) -> AsyncIterator[str]:
    """Run a management API that hangs in one of three ways."""
    if kind == "unaccepting":
        with unaccepting() as port:
            yield f"http://127.0.0.1:{port}/prod"
    else:
        async with silent(HTTP_PART if kind == "stalls" else b"") as port:
            yield f"http://127.0.0.1:{port}/prod"


WAYS = ["unaccepting", "silent", "stalls"]


async def close(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close"})


async def leave(receive: Receive, send: Send) -> None:
    await receive()


async def greet(receive: Receive, send: Send) -> None:
    await send({"type": "websocket.send", "text": "hello"})
    await receive()


async def test_a_management_api_that_hangs(lines: Callable[[str], list[str]]) -> None:
    """The event is answered, and the log says what it was and what looks like this."""

    async def check(kind: str, name: str, talk: Callable[..., Any], method: str) -> None:
        to = f"{kind}-{name}="
        async with endpoint(kind) as url:
            handler = Longwire(app_of(talk), dsn=f"memory://?api_gateway_endpoint_url={url}")
            after = handler._deferred.wait
            assert (await invoke(handler, connect_event(to), after)).answer == OK
            if talk is not greet:
                assert (await invoke(handler, message_event("hi", to))).answer == OK
            (line, *_) = [one for one in lines(to) if NO_ROUTE in one]
            assert method in line
            assert "within" in line
            await handler.aclose()

    async with asyncio.TaskGroup() as cases:
        for kind in WAYS:
            cases.create_task(check(kind, "post", listen, "POST"))
            cases.create_task(check(kind, "close", close, "DELETE"))
            cases.create_task(check(kind, "return", leave, "DELETE"))
            cases.create_task(check(kind, "greeting", greet, "POST"))


async def test_sends_through_connections_to_an_api_that_hangs(
    lines: Callable[[str], list[str]],
) -> None:
    """The app gets a typed error, or a result, whatever it makes of it; many are one line."""
    connections = Connections()
    seen: list[object] = []

    async def one(receive: Receive, send: Send) -> None:
        await receive()
        with pytest.raises(ManagementError, match=NO_ROUTE) as caught:
            await connections.send("other=", "x")
        seen.append(caught.value)

    async def many(receive: Receive, send: Send) -> None:
        await receive()
        seen.append(await connections.broadcast("x"))
        await receive()

    async def check(name: str, talk: Callable[..., Any]) -> None:
        async with endpoint("silent") as url:
            handler = Longwire(app_of(talk), dsn=f"memory://?api_gateway_endpoint_url={url}")
            for to in (f"{name}=", "b=", "c="):
                await invoke(handler, connect_event(to))
            assert (await invoke(handler, message_event("hi", f"{name}="))).answer == OK
            await handler.aclose()

    await asyncio.gather(check("one", one), check("many", many))
    assert len(seen) == 2
    (line,) = lines("a send to many")
    assert line.startswith("a send to many: 3 were not reached; one: @connections/")
    assert NO_ROUTE in line


async def test_a_refused_frame_that_the_app_keeps_to_itself(
    monkeypatch: pytest.MonkeyPatch, lines: Callable[[str], list[str]]
) -> None:
    """An app that goes on after a hanging send has not made it unseen."""

    async def quiet(receive: Receive, send: Send) -> None:
        await receive()
        with contextlib.suppress(ManagementError):
            await send({"type": "websocket.send", "text": "x"})
        await receive()

    with unaccepting() as port:
        url = f"http://127.0.0.1:{port}/prod"
        handler = Longwire(app_of(quiet), dsn=f"memory://?api_gateway_endpoint_url={url}")
        await invoke(handler, connect_event("quiet="))
        handler.transport  # noqa: B018  # it is made
        assert handler._api._opened is not None
        monkeypatch.setattr(handler._api._opened[0], "_connect_timeout", 0.2)
        assert (await invoke(handler, message_event("hi", "quiet="))).answer == OK
        await handler.aclose()
    (line,) = lines("quiet=")
    assert "POST timed out" in line
    assert NO_ROUTE in line


async def test_a_sweep_of_an_api_that_hangs(lines: Callable[[str], list[str]]) -> None:
    """Its answer, which nobody reads when a schedule has asked, is in the log, too."""
    async with endpoint("silent") as url:
        handler = Longwire(app_of(listen), dsn=f"memory://?api_gateway_endpoint_url={url}")
        for to in ("a=", "b="):
            await invoke(handler, connect_event(to))
        ended = await invoke(handler, {"longwire": "sweep", "min_age": 0})
        await handler.aclose()
    assert set(ended.answer["failed"]) == {"a=", "b="}
    (line,) = lines("were not reached")
    assert line.startswith("sweep: 2 were not reached; one: @connections/")
    assert "GET timed out" in line


# --- SQS ------------------------------------------------------------------------------------------


async def test_a_queue_that_hangs(aws_keys: None, lines: Callable[[str], list[str]]) -> None:
    """What could not be queued is in the result and in the log."""
    results: list[Any] = []

    async def many(receive: Receive, send: Send) -> None:
        await receive()
        results.append(await Connections().broadcast("x"))
        await receive()

    async with silent() as port, ConnectionsServer() as server:
        fanout: Any = {"queue_url": f"http://127.0.0.1:{port}/1/queue", "threshold": 1}
        config: Any = {"backend": "memory", "params": {}, "api_gateway_endpoint_url": server.url}
        handler = Longwire(app_of(many), ws_config=config, fanout=fanout)
        for to in ("a=", "b="):
            await invoke(handler, connect_event(to))
        assert (await invoke(handler, message_event("hi", "a="))).answer == OK
        await handler.aclose()
    (result,) = results
    assert set(result.failed) == {"a=", "b="}
    (line,) = lines("a part of a send to many: SQS queue http")
    assert "no answer within" in line
    assert "a VPC without a route to SQS" in line


async def test_a_part_of_a_send_whose_store_or_api_hangs(
    lines: Callable[[str], list[str]],
) -> None:
    """SQS hands the message out again."""
    fanout: Any = {"queue_url": "http://127.0.0.1:9/1/queue"}

    async def check(config: Any, url: str) -> None:
        handler = Longwire(
            app_of(listen),
            ws_config=config | {"api_gateway_endpoint_url": url},
            fanout=fanout,
        )
        ended = await invoke(handler, queue_event(part(url, ["a="])))
        assert ended.answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
        await handler.aclose()

    async with silent() as port, endpoint("silent") as url:
        redis = {"backend": "redis", "params": {"uri": f"redis://127.0.0.1:{port}"}}
        await asyncio.gather(
            check(redis, url), check({"backend": MemoryBackend(), "params": {}}, url)
        )
    store, api = sorted(lines("SQS message 0 is handed out again"), key=len)
    store, api = (api, store) if "redis" in api else (store, api)
    assert "redis: get failed: no answer within the " in store
    assert NO_ROUTE in api


# --- the app --------------------------------------------------------------------------------------


async def test_a_startup_that_hangs(lines: Callable[[str], list[str]]) -> None:
    """The error says where it waits."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.Event().wait()

    handler = Longwire(app, dsn="memory://")
    ended = await invoke(handler, connect_event("start="), seconds=0.7)
    assert isinstance(ended.error, LifespanError)
    (line,) = lines("start=")
    assert "CONNECT failed after " in line
    assert "the app's startup takes longer than " in line
    assert "test_a_startup_that_hangs.<locals>.app" in line


async def test_a_shutdown_that_hangs(
    monkeypatch: pytest.MonkeyPatch, lines: Callable[[str], list[str]]
) -> None:
    """It is given up, and nothing of it is left."""
    monkeypatch.setattr(lifespans, "SHUTDOWN_LIMIT", 0.2)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await app_of(listen)(scope, receive, send)
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.Event().wait()

    handler = Longwire(app, dsn="memory://")
    assert (await invoke(handler, connect_event())).answer == OK
    before = asyncio.all_tasks()
    await handler.aclose()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == len(before) - 1
    (line,) = lines("shutdown")
    assert line.startswith("the app's shutdown takes longer than 0.2 s and is given up; it waits")
    assert "test_a_shutdown_that_hangs.<locals>.app" in line


async def test_an_app_that_hangs(lines: Callable[[str], list[str]]) -> None:
    """In a thread; where it ignores that it is cancelled; in a task that it leaves behind."""
    released = threading.Event()

    async def in_thread(receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.to_thread(released.wait)

    async def stubborn(receive: Receive, send: Send) -> None:
        await receive()
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    left: list[asyncio.Future[bool]] = []

    async def leaving(receive: Receive, send: Send) -> None:
        await receive()
        left.append(asyncio.create_task(asyncio.to_thread(released.wait)))

    async def check(name: str, talk: Callable[..., Any], said: str | None) -> None:
        async with ConnectionsServer() as server:
            dsn = f"memory://?api_gateway_endpoint_url={server.url}"
            handler = Longwire(app_of(talk), dsn=dsn)
            assert (await invoke(handler, connect_event(f"{name}="))).answer == OK
            assert (await invoke(handler, message_event("hi", f"{name}="))).answer == OK
            assert said is None or said in "".join(lines(f"{name}="))
            await handler.aclose()

    try:
        await asyncio.gather(
            check("thread", in_thread, "was still running at the deadline"),
            check("stubborn", stubborn, "ignored its cancellation and is given up"),
            check("leaving", leaving, None),
        )
    finally:
        released.set()
    while len(asyncio.all_tasks()) > 2:  # the stubborn one ends by itself
        await asyncio.sleep(0.01)


async def test_an_http_handler_that_hangs(lines: Callable[[str], list[str]]) -> None:
    """Awaited, in a thread, or an app behind Mangum, which is cancelled."""
    pytest.importorskip("mangum")
    released, cancelled = threading.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    def blocking(event: Any, context: Any) -> Any:
        released.wait()

    async def waiting(event: Any, context: Any) -> Any:
        await asyncio.Event().wait()

    async def check(http: Any) -> Ended:
        handler = Longwire(app, dsn="memory://", http=http)
        return await invoke(handler, HTTP_EVENT, seconds=0.7)

    try:
        all_three = await asyncio.gather(check(blocking), check(waiting), check(None))
    finally:
        released.set()
    assert [type(ended.error) for ended in all_three] == [DeadlineError] * 3
    assert len(lines("an event that is about no connection failed after ")) == 3
    await cancelled.wait()


async def test_a_function_that_hangs(lines: Callable[[str], list[str]]) -> None:
    """Awaited or in a thread; a record of the connection does not stay."""
    released = threading.Event()
    store = MemoryBackend()

    def blocking(event: Any, context: Any) -> Any:
        released.wait()

    async def waiting(event: Any, context: Any) -> Any:
        await asyncio.Event().wait()

    async def check(to: str, function: Any) -> Ended:
        config: WSConfig = {"backend": store, "params": {}}
        handler = websocket_handler(
            function, ws_config=config, api_gateway_endpoint_url="http://127.0.0.1:9/prod"
        )
        return await invoke(handler, connect_event(to), seconds=0.7)

    try:
        both = await asyncio.gather(check("blocking=", blocking), check("waiting=", waiting))
    finally:
        released.set()
    assert [type(ended.error) for ended in both] == [DeadlineError, DeadlineError]
    for to in ("blocking=", "waiting="):
        (line,) = lines(to)
        assert "CONNECT failed after " in line
        assert "the function of '$connect' did not end within " in line
        assert await store.get(to) is None


def test_an_app_that_blocks_the_event_loop_of_lambda() -> None:
    """Who waits for it is told where it hangs; the loop is of use again when it is free."""
    thread = LoopThread("test")
    released = threading.Event()
    seen: list[DeadlineError] = []

    async def blocks() -> None:
        released.wait()

    async def works() -> int:
        return 1

    with pytest.raises(DeadlineError, match=r"no end within 0\.2 s: .* loop, in .*blocks \("):
        thread.result(blocks(), 0.2, seen.append)
    assert len(seen) == 1
    with pytest.raises(DeadlineError, match=r"no end within 0 s: no time was left for it"):
        thread.result(works(), 0.0)
    released.set()
    assert thread.result(works(), 10) == 1


def test_an_app_that_ends_the_process_ends_it_for_all_who_wait() -> None:
    """Whichever of them has done it; the loop is of use to who has not gone."""
    thread = LoopThread("test")
    both = threading.Barrier(2)

    async def waits() -> None:
        both.wait()
        await asyncio.Event().wait()

    async def exits() -> None:
        raise SystemExit(7)

    async def ends() -> None:
        await asyncio.create_task(exits())

    async def works() -> int:
        return 1

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(thread.result, waits(), 10)
        both.wait()
        with pytest.raises(SystemExit, match="7"):
            thread.result(ends(), 10)
        with pytest.raises(SystemExit, match="7"):
            waiting.result()
    assert thread.result(works(), 10) == 1


BLOCKING = """
import time
from longwire import Longwire

async def app(scope, receive, send):
    await receive()
    if dict(scope["headers"]).get(b"x-block"):
        time.sleep(30)
    await send({"type": "websocket.accept"})
    await receive()

handler = Longwire(app, dsn="memory://", lifespan="off")
"""


async def test_an_app_that_blocks_on_lambda(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error is the function's own, and leaves before Lambda ends the process."""
    pytest.importorskip("awslambdaric")
    async with lambda_process(tmp_path, BLOCKING, {}, timeout=1.5) as process:
        assert await process.invoke(connect_event("a=")) == OK
        with pytest.raises(FunctionRaisedError, match=r"^DeadlineError: no end .* in app \("):
            await process.invoke(connect_event("b=", headers={"X-Block": ["1"]}))
        assert process.instance.is_alive
    assert "connection b=: CONNECT failed after 1." in "".join(capfd.readouterr())
