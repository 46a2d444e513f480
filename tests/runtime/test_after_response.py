"""What follows a response on Lambda, in processes under AWS's own runtime.

The server of the management API answers 410 until the test has seen the response, as API Gateway
does: a post that arrives before is seen as such.
"""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local.rules.errors import FunctionExitError, FunctionRaisedError
from tests.connections_server import ConnectionsServer
from tests.lambda_events import connect_event, disconnect_event, message_event
from tests.lambda_process import LambdaProcess, lambda_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

HEAD = """
import asyncio, json, os, pathlib, random, time
from longwire import Longwire

def note(word):
    with open("notes.txt", "a") as notes:
        notes.write(word + "\\n")

async def text(send, words):
    await send({"type": "websocket.send", "text": words})

async def lifespan(receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    note("shutdown")
    await send({"type": "lifespan.shutdown.complete"})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    await talk(receive, send)
"""

TAIL = """
def make():
    return Longwire(app, ws_config={
        "backend": "sqlite3", "params": {"file_path": os.environ["STORE"]},
        "api_gateway_endpoint_url": os.environ["ENDPOINT"],
    })

handler = make()
"""

GREETER = """
async def talk(receive, send):
    await text(send, "hello")
    await text(send, "I am a greeting")
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note("told")
            return
        await text(send, f"{os.getpid()} {message['text']}")
"""


async def _until_greeted(server: ConnectionsServer, connection_id: str) -> None:
    await server.until(lambda: len(posts(server, connection_id)) == 2)


STREAMER = """
async def talk(receive, send):
    for number in range(int(os.environ.get("FRAMES", "20"))):
        await text(send, str(number))
        await asyncio.sleep(float(os.environ.get("PAUSE", "0.01")))
    note("streamed")
    await receive()
"""


@asynccontextmanager
async def running(
    folder: Path,
    source: str,
    tail: str = TAIL,
    environ: dict[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[LambdaProcess, ConnectionsServer]]:
    async with ConnectionsServer(unknown_is_gone=True) as server:
        where = {"ENDPOINT": server.url, "STORE": str(folder / "store.sqlite3")}
        environ = where | (environ or {})
        source = f"import os; os.chdir({str(folder)!r})\n" + HEAD + source + tail
        async with lambda_process(folder, source, environ, **options) as process:
            yield process, server


async def connect(process: LambdaProcess, server: ConnectionsServer, connection_id: str) -> Any:
    """Connect as API Gateway does: the connection is there when the response is."""
    answer = await process.invoke(connect_event(connection_id))
    server.known.add(connection_id)
    return answer


def posts(server: ConnectionsServer, connection_id: str) -> list[str]:
    """Return what was posted, whatever it was answered."""
    return [frame.decode() for frame in server.frames(connection_id)]


def notes(folder: Path) -> list[str]:
    path = folder / "notes.txt"
    return path.read_text().split() if path.exists() else []


async def test_the_response_leaves_before_the_greeting_is_posted(tmp_path: Path) -> None:
    """No post is answered 410, which is what those that are too early get."""
    async with running(tmp_path, GREETER) as (process, server):
        for number in range(20):
            connection_id = f"Connection{number:05}="
            assert await connect(process, server, connection_id) == {"statusCode": 200}
            await process.until_idle()
            assert posts(server, connection_id) == ["hello", "I am a greeting"]


async def test_two_hundred_invocations_in_a_row(tmp_path: Path) -> None:
    """In one process that is frozen between them, without one that waits for the timeout."""
    async with running(tmp_path, GREETER, freeze=True) as (process, server):
        await connect(process, server, "Connection=")
        for number in range(200):
            assert await process.invoke(message_event(str(number), "Connection=")) == {
                "statusCode": 200
            }
        await process.until_idle()
        greeting, replies = posts(server, "Connection=")[:2], posts(server, "Connection=")[2:]
        pid = replies[0].split()[0]
        assert greeting == ["hello", "I am a greeting"]
        assert replies == [f"{pid} {number}" for number in range(200)]
        assert len(process.reports) == 201


async def test_an_app_that_streams_after_accept(tmp_path: Path) -> None:
    """Its response leaves first; all that it sends arrives, though it is frozen right after."""
    async with running(tmp_path, STREAMER, freeze=True) as (process, server):
        await connect(process, server, "Connection=")
        assert len(posts(server, "Connection=")) < 20
        await process.until_idle()
        assert posts(server, "Connection=") == [str(number) for number in range(20)]
        assert notes(tmp_path) == ["streamed"]


async def test_a_streamer_goes_on_until_its_functions_time_is_up(tmp_path: Path) -> None:
    """Then it is cancelled, and the process is not killed."""
    source = STREAMER + "    note('heard')\n"
    async with running(
        tmp_path, source, timeout=2.0, environ={"FRAMES": "1000", "PAUSE": "0.05"}
    ) as (
        process,
        server,
    ):
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert process.instance.is_alive
        assert 5 < len(posts(server, "Connection=")) < 41
        assert process.reports[-1].duration < 2000
        assert await process.invoke(disconnect_event("Connection=")) == {"statusCode": 200}


async def test_a_handler_that_raises_holds_nobody_up(tmp_path: Path) -> None:
    """The extension is told of every end, so the next event does not wait for a timeout."""
    async with running(tmp_path, GREETER, timeout=20.0) as (process, server):
        for _ in range(3):
            with pytest.raises(FunctionRaisedError, match=r"^EventError: "):
                await process.invoke(
                    {"requestContext": {"eventType": "CONNECT", "connectionId": 1}}
                )
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert posts(server, "Connection=") == ["hello", "I am a greeting"]
        assert max(report.duration for report in process.reports) < 10_000


async def test_an_invocation_that_is_not_ours_is_not_held(tmp_path: Path) -> None:
    """A function may call the handler for some of its events only."""
    tail = TAIL + "longwire = handler\ndef handler(event, context):\n"
    tail += "    return 'mine' if 'mine' in event else longwire(event, context)\n"
    async with running(tmp_path, GREETER, tail, timeout=20.0) as (process, server):
        for _ in range(3):
            assert await process.invoke({"mine": 1}) == "mine"
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert posts(server, "Connection=") == ["hello", "I am a greeting"]
        assert max(report.duration for report in process.reports) < 10_000


async def test_sigterm_while_an_app_streams(tmp_path: Path) -> None:
    """The app's shutdown runs within Lambda's half second; the store is told the step is over."""
    async with running(tmp_path, STREAMER, environ={"FRAMES": "1000", "PAUSE": "0.02"}) as (
        process,
        server,
    ):
        await connect(process, server, "Connection=")
        await server.until(lambda: len(server.delivered) > 2)
        began = time.monotonic()
        await process.end()
        assert not process.instance.is_alive
        assert time.monotonic() - began < 0.5
        assert notes(tmp_path) == ["shutdown"]
        sent = posts(server, "Connection=")
        assert sent == [str(number) for number in range(len(sent))]


@pytest.mark.parametrize("freeze", [False, True], ids=["idle", "frozen"])
async def test_sigterm_between_two_events(tmp_path: Path, freeze: bool) -> None:
    """Lambda's runtime waits in C code then, where no signal handler of Python runs."""
    async with running(tmp_path, GREETER, freeze=freeze) as (process, server):
        await connect(process, server, "Connection=")
        await process.until_idle()
        began = time.monotonic()
        await process.instance.stop()
        assert time.monotonic() - began < 0.5
        assert notes(tmp_path) == ["shutdown"]


async def test_a_greeting_that_sigterm_cut_off_comes_with_the_first_reply(tmp_path: Path) -> None:
    """Nothing that was deferred is lost when the process ends in an orderly way."""
    async with running(tmp_path, GREETER) as (process, server):
        await process.invoke(connect_event("Connection="))  # API Gateway does not know it yet
        await server.until(lambda: bool(server.requests))
        await process.end()
        assert notes(tmp_path) == ["shutdown"]
        server.known.add("Connection=")
        options = {"ENDPOINT": server.url, "STORE": str(tmp_path / "store.sqlite3")}
        async with lambda_process(
            tmp_path, (tmp_path / "function.py").read_text(), options
        ) as second:
            await second.invoke(message_event("a", "Connection="))
            *before, greeting, reply = [body.decode() for _, body in server.delivered]
            assert (greeting, reply[-2:]) == ("I am a greeting", " a")
            # A post that was under way may have arrived, and is not repeated.
            assert before in (["hello"], [])


SLOW_TO_GO = """
async def talk(receive, send):
    await text(send, "hello")
    await text(send, "I am a greeting")
    try:
        await asyncio.sleep(float(os.environ["PAUSE"]))
        await receive()
        await text(send, "reply")
        await receive()
    finally:
        await asyncio.sleep(0.4)
"""


async def test_a_greeting_outlives_an_app_that_is_slow_to_clean_up(tmp_path: Path) -> None:
    """SIGTERM: it is stored before the process has to be over."""
    async with running(tmp_path, SLOW_TO_GO, environ={"PAUSE": "30"}) as (process, server):
        await process.invoke(connect_event("Connection="))
        await server.until(lambda: bool(server.requests))
        await process.end()
        server.known.add("Connection=")
        store = str(tmp_path / "store.sqlite3")
        options = {"ENDPOINT": server.url, "STORE": store, "PAUSE": "0"}
        async with lambda_process(
            tmp_path, (tmp_path / "function.py").read_text(), options
        ) as second:
            await second.invoke(message_event("a", "Connection="))
            delivered = [body.decode() for _, body in server.delivered]
            assert delivered[-2:] == ["I am a greeting", "reply"]


async def test_what_a_hanging_api_left_of_a_greeting_comes_with_the_first_reply(
    tmp_path: Path,
) -> None:
    """Only the frame that was under way is lost, as nobody knows whether it has arrived."""
    async with running(tmp_path, GREETER, timeout=1.5) as (process, server):
        server.answers["Connection="].append("silence")
        await connect(process, server, "Connection=")
        await process.until_idle()
        await process.invoke(message_event("a", "Connection="))
        hello, greeting, reply = posts(server, "Connection=")
        assert (hello, greeting) == ("hello", "I am a greeting")
        assert reply.endswith(" a")


LATE = """
made = []
def handler(event, context):
    made[:] = made or [make()]
    return made[0](event, context)
"""


async def test_where_no_extension_can_be_the_greeting_waits_for_the_first_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One warning says so."""
    tail = (TAIL + LATE).replace("handler = make()", "")
    async with running(tmp_path, GREETER, tail) as (process, server):
        for connection_id in ("Connection1=", "Connection2="):
            assert await connect(process, server, connection_id) == {"statusCode": 200}
            await process.until_idle()
            assert posts(server, connection_id) == []
            await process.invoke(message_event("a", connection_id))
            assert posts(server, connection_id)[:2] == ["hello", "I am a greeting"]
            assert posts(server, connection_id)[2].endswith(" a")
    log = "".join(capfd.readouterr())
    assert log.count("nothing can run after a response here") == 1
    assert "Extension.RegistrationClosed" in log


# Managed Instances, whose processes never freeze

MANAGED = {"AWS_LAMBDA_MAX_CONCURRENCY": "1"}


async def test_a_process_that_never_freezes_greets_without_an_extension(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Right after the response: its client may wait for the server to speak first."""
    async with running(tmp_path, GREETER, environ=MANAGED) as (process, server):
        for connection_id in ("Connection1=", "Connection2="):
            assert await connect(process, server, connection_id) == {"statusCode": 200}
            await _until_greeted(server, connection_id)
            assert posts(server, connection_id) == ["hello", "I am a greeting"]
        for connection_id in ("Connection1=", "Connection2="):
            await process.invoke(message_event("a", connection_id))
            assert posts(server, connection_id)[2].endswith(" a")
    assert "nothing can run after a response" not in "".join(capfd.readouterr())


FEED = """
async def talk(receive, send):
    for number in range(5):
        await asyncio.sleep(0.3)
        await text(send, str(number))
"""


async def test_a_process_that_never_freezes_streams_behind_its_response(tmp_path: Path) -> None:
    """The handshake is answered long before the last frame."""
    async with running(tmp_path, FEED, environ=MANAGED) as (process, server):
        assert await connect(process, server, "Connection=") == {"statusCode": 200}
        assert len(posts(server, "Connection=")) < 5
        await server.until(lambda: len(posts(server, "Connection=")) == 5)
        assert posts(server, "Connection=") == list("01234")


BLOCKER = """
async def talk(receive, send):
    await receive()
    time.sleep(60)
"""


async def test_a_blocked_process_that_never_freezes_refuses_its_events(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """None would be started in its place; the log says once what blocks it."""
    async with running(tmp_path, BLOCKER, environ=MANAGED, timeout=1.0) as (process, server):
        await connect(process, server, "Connection=")
        with pytest.raises(FunctionRaisedError, match=r"^DeadlineError: .* blocks its event loop"):
            await process.invoke(message_event("a", "Connection="))
        for _ in range(2):
            with pytest.raises(FunctionRaisedError, match=r"^DeadlineError: the app still blocks"):
                await process.invoke(message_event("a", "Connection="))
    log = "".join(capfd.readouterr())
    assert log.count("Connection=: MESSAGE failed after ") == 1


async def test_without_an_extension_a_blocked_process_ends_with_its_next_event(
    tmp_path: Path,
) -> None:
    """With one, Lambda ends it at once: `local/function/test_instances.py`."""
    tail = TAIL.replace("handler = make()", "") + LATE
    async with running(tmp_path, BLOCKER, tail, timeout=1.0) as (process, server):
        await connect(process, server, "Connection=")
        with pytest.raises(FunctionRaisedError, match=r"^DeadlineError: .* blocks its event loop"):
            await process.invoke(message_event("a", "Connection="))
        with pytest.raises(FunctionExitError, match="exit status 1"):
            await process.invoke(connect_event("Another="))


async def test_a_handler_survives_its_snapshot(tmp_path: Path) -> None:
    """SnapStart: Lambda's runtime runs our hooks, and nothing of ours is in the snapshot."""
    tail = TAIL + (
        "random.seed(1)\n"
        "handler(json.loads(os.environ['EVENT']), None)\n"
        "note('open' if os.path.exists(os.environ['STORE'] + '-wal') else 'closed')\n"
    )
    event = json.dumps(connect_event("Before="))
    source = GREETER.replace("    while", "    await text(send, str(random.random()))\n    while")
    async with running(
        tmp_path,
        source,
        tail,
        {"EVENT": event, "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"},
    ) as (process, server):
        # The lifespan was started by the import, and ended before the snapshot.
        assert notes(tmp_path) == ["open", "shutdown"]
        assert not (tmp_path / "store.sqlite3-wal").exists()
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert posts(server, "Connection=")[:2] == ["hello", "I am a greeting"]
        generator = Random(1)
        assert float(posts(server, "Connection=")[2]) not in [generator.random() for _ in "12345"]
    assert notes(tmp_path) == ["open", "shutdown", "shutdown"]


async def test_an_app_that_ends_its_process(tmp_path: Path) -> None:
    """`sys.exit` in an app ends the process, as it ends a server."""
    source = "async def talk(receive, send):\n    await receive()\n    raise SystemExit(7)\n"
    async with running(tmp_path, source) as (process, server):
        await connect(process, server, "Connection=")
        with pytest.raises(Exception, match="ended with exit status 7"):
            await process.invoke(message_event("a", "Connection="))
        assert not process.instance.is_alive
