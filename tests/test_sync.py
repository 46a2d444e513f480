"""`Connections.sync`: scripts, threads and `def` endpoints, under uvicorn and on Longwire."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect

from longwire import Connections, InvalidArgumentError
from longwire.connections import NOTHING_FOUND
from longwire.exceptions import EventLoopError
from longwire.registry.caller import NO_STORE
from longwire.runtime import threads
from tests.complaints import complaints
from tests.connections_server import ConnectionsServer
from tests.parity.hosts import HOSTS, on_uvicorn
from tests.talk import old_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.parity.hosts import Address

pytestmark = pytest.mark.anyio

everywhere = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
connections = Connections()


# Scripts


async def run(script: str, **environ: str) -> str:
    """Run a script of its own that must not warn, fail or hang; return what it prints."""
    kept = {name: value for name, value in os.environ.items() if "COV" not in name}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-X", "dev", "-W", "error", "-c", script),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**kept, **environ},
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    assert (complaints(err.decode()), process.returncode) == ("", 0)
    return out.decode()


PLAIN = """
from longwire import Connections
connections = Connections()
connections.sync.send("one=", {"n": 1})
for text in ("2", "3"):
    connections.sync.send("one=", text)
print(connections.sync.info("one=").source_ip)
connections.sync.close("one=")
"""


@pytest.mark.parametrize("end", ["", "connections.sync.aclose()"])
async def test_a_script_ends_by_itself(end: str) -> None:
    """In the order of its calls, without a word about what it left open."""
    async with ConnectionsServer() as server:
        assert await run(PLAIN + end, WS_MANAGEMENT_ENDPOINT=server.url) == "203.0.113.7\n"
        frames = [b'{"n":1}', b"2", b"3"]
        posts = [("POST", "one=", frame) for frame in frames]
        assert server.requests == [*posts, ("GET", "one=", b""), ("DELETE", "one=", b"")]


GROUPS = """
import asyncio
from longwire import Connections
from longwire.config.settings import load, make_backend

config = {"backend": "sqlite3", "params": {"file_path": FILE}}

async def add():
    backend = make_backend(load(config, None, None))
    for name in ("a=", "b="):
        await backend.put(name, RECORD, 2**40)
    await backend.close()

asyncio.run(add())
sync = Connections(ws_config=config).sync
for name in ("a=", "b="):
    sync.group_add("blue", name)
print(*sync.group_members("blue"), sync.groups("a="))
result = sync.group_send("blue", "hello", exclude=["a="])
print(*result.delivered, result.ok)
sync.group_discard("blue", "b=")
print(*sync.group_members("blue"))
"""


async def test_a_script_uses_groups_of_a_store(tmp_path: Path) -> None:
    """A driver with a thread of its own does not keep the process alive."""
    async with ConnectionsServer() as server:
        script = GROUPS.replace("FILE", repr(str(tmp_path / "store")))
        script = script.replace("RECORD", repr(old_record()))
        told = await run(script, WS_MANAGEMENT_ENDPOINT=server.url)
        assert told.splitlines() == ["a= b= ('blue',)", "b= True", "a="]
        assert server.delivered == [("b=", b"hello")]


FORKED = """
import os
from longwire import Connections
connections = Connections()
connections.sync.send("one=", "before")
if (child := os.fork()) == 0:
    connections.sync.send("one=", "child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
connections.sync.send("one=", "parent")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
async def test_both_sides_of_a_fork_go_on() -> None:
    """The child has an event loop of its own; the parent's still works."""
    async with ConnectionsServer() as server:
        await run(FORKED, WS_MANAGEMENT_ENDPOINT=server.url)
        assert [body for _, body in server.delivered] == [b"before", b"child", b"parent"]


NOTHING = """
import asyncio
from longwire import Connections, ConfigurationError
connections = Connections()
async def by_await():
    await connections.CALL
for call in (lambda: asyncio.run(by_await()), lambda: connections.sync.CALL):
    try:
        call()
    except ConfigurationError as error:
        print(error)
"""
CALLS = ['send("one=", "x")', 'group_send("blue", "x")', 'broadcast("x")', 'group_add("g", "a=")']


@pytest.mark.parametrize("call", CALLS)
async def test_with_nothing_to_find_the_error_names_the_three_ways(call: str) -> None:
    """The same, awaited or not."""
    told = await run(NOTHING.replace("CALL", call), WS_MANAGEMENT_ENDPOINT="")
    assert told.splitlines() == [NOTHING_FOUND] * 2
    assert NOTHING_FOUND == (
        "Connections() finds nobody to reach: (1) inside an app it needs a handler that runs it, "
        "Longwire or `longwire dev`, or a server such as uvicorn; (2) elsewhere say "
        "Connections(ws_config=..., api_gateway_endpoint_url=...); (3) or set the environment "
        "variables WS_MANAGEMENT_ENDPOINT and LONGWIRE_DSN; the first alone does without groups"
    )


async def test_an_endpoint_alone_does_without_groups() -> None:
    """Sends work; what needs a store says so, as on Lambda nothing else can be meant."""
    async with ConnectionsServer() as server:
        script = NOTHING.replace("CALL", 'group_send("blue", "x")')
        environ = {"WS_MANAGEMENT_ENDPOINT": server.url, "AWS_LAMBDA_FUNCTION_NAME": "notify"}
        told = await run(script + PLAIN, **environ)
        assert told.splitlines() == [NO_STORE, NO_STORE, "203.0.113.7"]
        assert len(server.delivered) == 3


# Inside apps


async def _in_thread(work: Callable[[], object]) -> None:
    """Do something in a thread that was started by hand, which inherits nothing."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def target() -> None:
        try:
            work()
        finally:
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=target).start()
    await done.wait()


def _on_another_loop(work: Callable[[], object]) -> None:
    """Do something synchronous while a loop runs that has nothing to do with the app."""

    async def main() -> None:
        work()

    asyncio.run(main())


def join(websocket: WebSocket) -> str:
    """Join in a `def` dependency: FastAPI runs it in a thread."""
    connections.sync.group_add("room", websocket)
    return websocket.query_params["name"]


app = FastAPI()
Name = Annotated[str, Depends(join)]


@app.websocket("/room")
async def room(websocket: WebSocket, name: Name) -> None:
    await websocket.accept()
    await asyncio.to_thread(connections.sync.group_send, "room", f"{name} joined")
    try:
        while True:
            await ways[await websocket.receive_text()](f"by {name}")
    except WebSocketDisconnect:
        await asyncio.to_thread(connections.sync.group_send, "room", f"{name} left")


async def _at_once(text: str) -> None:
    sends = [
        asyncio.to_thread(connections.sync.group_send, "room", f"{text} {number}")
        for number in range(20)
    ]
    await asyncio.gather(*sends)


async def _on_the_loop(text: str) -> None:
    with pytest.raises(EventLoopError) as refused:
        connections.sync.group_send("room", text)
    await connections.group_send("room", str(refused.value))


ways: dict[str, Callable[[str], Any]] = {
    "thread": lambda text: asyncio.to_thread(connections.sync.group_send, "room", text),
    "by hand": lambda text: _in_thread(lambda: connections.sync.group_send("room", text)),
    "other loop": lambda text: asyncio.to_thread(
        _on_another_loop, lambda: connections.sync.group_send("room", text)
    ),
    "at once": _at_once,
    "on the loop": _on_the_loop,
}


async def _hear(client: ClientConnection) -> str:
    async with asyncio.timeout(10):
        return str(await client.recv())


async def _client(address: Address, name: str) -> ClientConnection:
    return await connect(address("/room", [("name", name)]), compression=None)


@everywhere
async def test_threads_of_an_app_reach_its_clients(host: Any, tmp_path: Path) -> None:
    """Whoever started them, and each effect once, also when the handshake is repeated."""
    async with host(app, tmp_path) as address:
        async with await _client(address, "ann") as ann:
            assert await _hear(ann) == "ann joined"
            async with await _client(address, "bob") as bob:
                assert [await _hear(bob), await _hear(ann)] == ["bob joined"] * 2
                for way in ("thread", "by hand", "other loop"):
                    await bob.send(way)
                    assert [await _hear(bob), await _hear(ann)] == ["by bob"] * 2
            assert await _hear(ann) == "bob left"
            await ann.send("thread")
            assert await _hear(ann) == "by ann"


@everywhere
async def test_many_threads_send_at_once(host: Any, tmp_path: Path) -> None:
    """Each message reaches each client once."""
    async with host(app, tmp_path) as address:
        async with await _client(address, "ann") as ann, await _client(address, "bob") as bob:
            assert [await _hear(ann), await _hear(ann)] == ["ann joined", "bob joined"]
            assert await _hear(bob) == "bob joined"
            await bob.send("at once")
            for client in (ann, bob):
                heard = [await _hear(client) for _ in range(20)]
                assert sorted(heard) == sorted(f"by bob {number}" for number in range(20))


@everywhere
async def test_an_event_loop_cannot_wait_for_itself(host: Any, tmp_path: Path) -> None:
    """The error says what to do; the app goes on."""
    async with host(app, tmp_path) as address:
        async with await _client(address, "ann") as ann:
            await ann.send("on the loop")
            assert [await _hear(ann) for _ in range(2)] == [
                "ann joined",
                "this event loop would have to do the work and cannot wait for itself: leave "
                "`.sync` out and use await, or call from a thread (await asyncio.to_thread(...))",
            ]


async def test_a_thread_of_ones_own_cannot_introduce_a_websocket(tmp_path: Path) -> None:
    """Nothing tells which event loop it belongs to; sending from another one would break it."""
    plain, texts = FastAPI(), []

    @plain.websocket("/room")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        with pytest.raises(InvalidArgumentError) as refused:
            await asyncio.to_thread(connections.sync.group_add, "room", websocket)
        texts.append(str(refused.value))
        await connections.group_add("room", websocket)
        await asyncio.to_thread(connections.sync.send, websocket, "known now")

    async with on_uvicorn(plain, tmp_path) as address:
        async with await _client(address, "ann") as ann:
            assert await _hear(ann) == "known now"
    (text,) = texts
    assert text.startswith("Connections does not know this WebSocket yet, and cannot tell from")


def test_a_loop_that_stops_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler's loop stands still between events; a thread that goes on gets an error."""
    monkeypatch.setattr(threads, "GRACE", 0.01)
    loop, begun, errors = asyncio.new_event_loop(), threading.Event(), list[str]()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    def late() -> None:
        try:
            threads.run(work, loop, 0.01)
        except EventLoopError as error:
            errors.append(str(error))

    async def event() -> None:
        thread.start()
        await asyncio.to_thread(begun.wait)

    thread = threading.Thread(target=late)
    loop.run_until_complete(event())
    thread.join()
    assert "the event loop that would have to do the work has stopped" in errors[0]
    for task in asyncio.all_tasks(loop):  # none if it has had the time to end
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
