"""Handlers that nobody closes, and processes that fork: whatever was begun has an end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from longwire import Longwire
from tests.complaints import complaints
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event

if TYPE_CHECKING:
    from pathlib import Path

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

APP = """
import asyncio, gc, os, signal, sys, threading, time
from longwire import Longwire
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event

shut_down = threading.Event()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.sleep(0.01)
        shut_down.set()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
"""

ABANDONED = """
def abandon(use):
    handler = Longwire(app, ws_config={"backend": "memory"})
    handler.itself = handler  # so that only a garbage collection ends it
    use(handler)

def call(handler):
    handler(connect_event(), LambdaContext())

async def collect():
    gc.collect()
    await asyncio.to_thread(shut_down.wait, 10)

gc.disable()
"""

WAYS = {
    "no loop": "abandon(call); gc.collect(); shut_down.wait(10)",
    "another loop": "abandon(call); asyncio.run(collect())",
    "another thread's loop": """
abandon(call)
thread = threading.Thread(target=lambda: asyncio.run(collect()))
thread.start()
thread.join()
""",
    "its own loop": """
async def main():
    events = []
    abandon(lambda handler: events.append(handler.handle(connect_event(), LambdaContext())))
    await events.pop()
    await collect()
asyncio.run(main())
""",
}


def run(script: str) -> str:
    """Run a script that has to end well and to complain of nothing, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore:This process:DeprecationWarning", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    return done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_a_handler_that_is_collected_has_its_app_shut_down(way: str) -> None:
    """Whatever runs where the garbage is collected; nothing is printed there."""
    assert run(APP + ABANDONED + WAYS[way] + "\nprint(shut_down.is_set())") == "True\n"


CLOSED_LOOP = """
import logging

class Kept(logging.Handler):
    def emit(self, record):
        print(record.levelname, "collecting" if collecting else "later", record.getMessage())

logging.getLogger().addHandler(Kept())
collecting = False

def on_closed_loop(handler):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(handler.handle(connect_event(), LambdaContext()))
    loop.close()

abandon(on_closed_loop)
collecting = True
gc.collect()
collecting = False
"""


def test_a_shutdown_that_cannot_run_any_more_is_told_at_the_end_of_the_process() -> None:
    """Somebody has closed the loop on which the app was started; a collection prints nothing."""
    done = subprocess.run(
        [sys.executable, "-c", APP + ABANDONED + CLOSED_LOOP],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "collecting" not in done.stdout
    assert done.stdout.startswith("WARNING later the app's shutdown did not run on 1 event loops")


FORKED = """

handler = Longwire(app, ws_config=CONFIG, lifespan="on")

def talk(name, count):
    context = LambdaContext(20)
    assert handler(connect_event(name), context) == {"statusCode": 200}
    for number in range(count):
        assert handler(message_event(f"{name} {number}", name), context) == {"statusCode": 200}

def child(name):
    if (pid := os.fork()) == 0:
        talk(name, 10)
        handler(message_event("child", "shared="), LambdaContext(20))
        sys.exit(0)
    return pid

talk("shared=", 1)
children = [child("one="), child("two=")]
talk("parent=", 10)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
talk("after=", 3)
handler(message_event("parent", "shared="), LambdaContext(20))
handler.close()
print(shut_down.is_set())
"""


async def _both_sides(config: str) -> None:
    async with ConnectionsServer() as server:
        script = APP + FORKED.replace("CONFIG", f"{config} | dict(api_gateway_endpoint_url=URL)")
        told = await asyncio.to_thread(run, script.replace("URL", repr(server.url)))
        # The children run the app's shutdown of their own, the parent its own.
        assert told.endswith("True\n")
        for name, count in (("one=", 10), ("two=", 10), ("parent=", 10), ("after=", 3)):
            got = [body.decode() for to, body in server.delivered if to == name]
            assert got == [f"{name} {number}" for number in range(count)]
        shared = [body for to, body in server.delivered if to == "shared="]
        assert shared == [b"shared= 0", b"child", b"child", b"parent"]


@needs_fork
async def test_both_sides_of_a_fork_use_the_handler_with_a_file(tmp_path: Path) -> None:
    """The loop, whose wake-ups both would take, belongs to the parent."""
    path = str(tmp_path / "connections.sqlite3")
    await _both_sides(f"dict(backend='sqlite3', params=dict(file_path={path!r}))")


@needs_fork
async def test_both_sides_of_a_fork_use_the_handler_with_a_memory() -> None:
    """Each has its own from then on."""
    await _both_sides("dict(backend='memory')")


AT_WORK = """
from longwire.replay import turn

turn.LEASE_TIME = 0.4

async def app(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "fork":
            if (child := os.fork()) == 0:
                threading.Thread(target=asyncio.run, args=[in_child()]).start()
                time.sleep(30)
            assert os.waitpid(child, 0)[1] == 0
        await send({"type": "websocket.send", "text": message["text"]})

handler = Longwire(app, ws_config=CONFIG, lifespan="off")
context = LambdaContext(20)

async def in_child():
    await handler.handle(message_event("child", "other="), context)
    await asyncio.sleep(1)
    print(len(await handler._api.backend.journal("shared=")), flush=True)
    os._exit(0)

async def main():
    await handler.handle(connect_event("shared="), context)
    await handler.handle(connect_event("other="), context)
    await handler.handle(message_event("fork", "shared="), context)
    await handler.aclose()

asyncio.run(main())
"""


@needs_fork
async def test_a_turn_stays_with_the_parent(tmp_path: Path) -> None:
    """Its child does not look after it, nor for its messages."""
    config = f"dict(backend='sqlite3', params=dict(file_path={str(tmp_path / 'file')!r}))"
    async with ConnectionsServer() as server:
        config = f"{config} | dict(replay=True, api_gateway_endpoint_url={server.url!r})"
        told = await asyncio.to_thread(run, APP + AT_WORK.replace("CONFIG", config))
        frames = [body for to, body in server.delivered if to == "shared="]
    assert (told, frames) == ("1\n", [b"fork"])


TERMINATED = """
from longwire.runtime import sigterm

class Closing:
    def close(self, seconds):
        print("closed")

closing = Closing()
sigterm.on_sigterm(closing.close)
readable, writable = os.pipe()
if (child := os.fork()) == 0:
    os.write(writable, b"!")
    time.sleep(30)
    os._exit(0)
os.read(readable, 1)
os.kill(child, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
time.sleep(0.2)  # for a thread that must not wake up
print("goes on")
"""


@needs_fork
def test_a_forked_child_can_be_terminated_alone() -> None:
    """On Lambda, too: multiprocessing does so. Its parent does not take the signal for its own."""
    assert run(APP + TERMINATED) == "goes on\n"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_handler_whose_event_was_interrupted_is_closed(error: type[BaseException]) -> None:
    """What is left of the event ends on the loop that runs the app's shutdown."""
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            raise error
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.sleep(0.05)
        told.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})

    handler = Longwire(
        app, ws_config={"backend": "memory", "api_gateway_endpoint_url": "http://127.0.0.1:1"}
    )
    with pytest.raises(error):
        handler(connect_event("c="), LambdaContext())
    handler.close()
    assert told == ["shutdown"]
