"""Lambda Managed Instances: several events at once in one environment, or even in one process."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.connections_server import ConnectionsServer
from tests.lambda_events import connect_event, disconnect_event, message_event
from tests.managed_instance import ManagedInstance, managed_instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.managed_instance import Answer

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

OK = {"statusCode": 200}

HEAD = """
import asyncio, os, pathlib, threading, time
from longwire import Longwire

def note(word):
    with open("notes.txt", "a") as notes:
        notes.write(word + "\\n")

async def until_there(name):
    while not os.path.exists(name):
        await asyncio.sleep(0.01)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        note("startup")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        note("shutdown")
        return await send({"type": "lifespan.shutdown.complete"})
    async def text(words):
        await send({"type": "websocket.send", "text": words})
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await talk(message["text"], text, scope)

handler = longwire = Longwire(app, metrics="Test", ws_config={
    "backend": "sqlite3", "params": {"file_path": "store.sqlite3"},
    "api_gateway_endpoint_url": os.environ["ENDPOINT"],
})
"""


class Function:
    """The function in its environment, and the clients at its API."""

    def __init__(self, instance: ManagedInstance, server: ConnectionsServer, folder: Path) -> None:
        self.instance = instance
        self.server = server
        self.folder = folder

    async def connect(self, *connection_ids: str) -> None:
        """Connect them at once."""
        await asyncio.gather(*map(self._connect, connection_ids))

    async def _connect(self, connection_id: str) -> None:
        answer = await self.instance.invoke(connect_event(connection_id))
        assert answer[1:] == (OK, None)
        self.server.known.add(connection_id)

    async def message(self, text: str, connection_id: str, timeout: float = 20.0) -> Answer:
        return await self.instance.invoke(message_event(text, connection_id), timeout)

    def frames(self, connection_id: str) -> list[str]:
        """What has reached the client."""
        return [body.decode() for to, body in self.server.delivered if to == connection_id]

    @property
    def notes(self) -> list[str]:
        path = self.folder / "notes.txt"
        return path.read_text().split() if path.exists() else []

    async def until_noted(self, word: str, times: int = 1) -> None:
        async with asyncio.timeout(30):
            while self.notes.count(word) < times:
                await asyncio.sleep(0.01)

    def touch(self, name: str) -> None:
        (self.folder / name).touch()


@asynccontextmanager
async def function(
    folder: Path, source: str, *, at_once: int = 8, in_threads: bool = True
) -> AsyncIterator[Function]:
    async with ConnectionsServer(unknown_is_gone=True) as server:
        async with managed_instance(
            folder, HEAD + source, {"ENDPOINT": server.url}, at_once=at_once, in_threads=in_threads
        ) as instance:
            yield Function(instance, server, folder)


NEEDS_EIGHT = """
all_eight = asyncio.Barrier(8)

async def talk(words, text, scope):
    await all_eight.wait()
    await text(f"{words} {scope['aws.context'].aws_request_id}")
"""


async def test_events_that_wait_for_each_other(tmp_path: Path) -> None:
    """They run on one loop, with one lifespan, and each with its own context."""
    async with function(tmp_path, NEEDS_EIGHT) as here:
        clients = [f"Client{number}=" for number in range(8)]
        await here.connect(*clients)
        for text in ("a", "b"):
            answers = await asyncio.gather(*[here.message(text, client) for client in clients])
            assert [answer[1:] for answer in answers] == [(OK, None)] * 8
            assert [here.frames(client)[-1] for client in clients] == [
                f"{text} {answer.request_id}" for answer in answers
            ]
        assert here.notes == ["startup"]


GREETER = """
inner = app

async def app(scope, receive, send):
    async def greet(message):
        await send(message)
        if message["type"] == "websocket.accept":
            for words in ("hello", "I am a greeting"):
                await send({"type": "websocket.send", "text": words})
    await inner(scope, receive, greet if scope["type"] == "websocket" else send)

async def talk(words, text, scope):
    about = scope["aws.event"]["requestContext"]["connectionId"]
    await asyncio.sleep(0.001)
    await text(f"{words} {about} {scope['aws.context'].aws_request_id}")
    await text("and more")

""" + HEAD[HEAD.index("handler =") :]


async def test_fifty_conversations_at_once(tmp_path: Path) -> None:
    """Each client gets its own frames, in order; each event is counted for itself."""

    async def converse(here: Function, client: str) -> list[str]:
        await here.connect(client)
        expected = ["hello", "I am a greeting"]
        for number in range(4):
            answer = await here.message(str(number), client)
            assert answer[1:] == (OK, None)
            expected += [f"{number} {client} {answer.request_id}", "and more"]
            assert here.frames(client) == expected
        assert (await here.instance.invoke(disconnect_event(client)))[1:] == (OK, None)
        return expected

    async with function(tmp_path, GREETER, at_once=16) as here:
        clients = [f"Client{number:02}=" for number in range(50)]
        expected = await asyncio.gather(*[converse(here, client) for client in clients])
        assert [here.frames(client) for client in clients] == expected
        assert here.notes == ["startup"]
        lines = [json.loads(line) for line in here.instance.log.splitlines()]
    assert len({line["RequestId"] for line in lines}) == len(lines) == 50 * 6
    messages = [line for line in lines if line["Phase"] == "message"]
    assert {(line["Posts"], line["Outcome"]) for line in messages} == {(2, "parked")}
    assert sum(line["ColdStarts"] for line in lines) == 1


async def test_a_greeting_follows_each_response(tmp_path: Path) -> None:
    """Without a message, though others connect at the same time."""
    async with function(tmp_path, GREETER) as here:
        clients = [f"Client{number}=" for number in range(20)]
        await here.connect(*clients)
        await here.server.until(lambda: len(here.server.delivered) == 40)
        for client in clients:
            assert here.frames(client) == ["hello", "I am a greeting"]


BLOCKS = """
async def talk(words, text, scope):
    note(words)
    if words == "block":
        while not os.path.exists("free"):
            time.sleep(0.01)
    elif words == "wait":
        await asyncio.Event().wait()
    await text(f"{os.getpid()} {words}")
"""


async def test_one_app_that_blocks_the_loop(tmp_path: Path) -> None:
    """All who wait for the loop get an error, which is told once; then they go on as before."""
    async with function(tmp_path, BLOCKS) as here:
        clients = [f"Client{number}=" for number in range(4)]
        await here.connect(*clients)
        waiting = [asyncio.create_task(here.message("wait", client, 4.0)) for client in clients[1:]]
        await here.until_noted("wait", 3)
        blocked = await asyncio.gather(here.message("block", clients[0], 1.0), *waiting)
        for answer in blocked:
            assert answer.error is not None
            assert answer.error.startswith("DeadlineError: no end within ")
            assert "the app blocks its event loop, in talk (" in answer.error
        refused = await asyncio.gather(*[here.message("no", client) for client in clients])
        assert {answer.error for answer in refused} == {
            "DeadlineError: the app still blocks its event loop"
        }
        here.touch("free")
        answers = await asyncio.gather(*[here.message("again", client) for client in clients])
        assert [answer[1:] for answer in answers] == [(OK, None)] * 4
        pid = here.instance.process.pid
        assert [here.frames(client)[-1] for client in clients] == [f"{pid} again"] * 4
        assert here.notes.count("startup") == 1
        log = here.instance.log
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert log.count("blocks its event loop") == 1
    ended = [line["Outcome"] for line in lines if line["Phase"] == "message"]
    assert sorted(ended) == ["deadline"] * 8 + ["parked"] * 4


HTTP = """
def http(event, context):
    everybody.wait(15)
    return {"statusCode": 200, "body": context.aws_request_id}

everybody = threading.Barrier(8)
handler = Longwire(app, dsn="memory://", http=http)
"""


async def test_other_events_that_wait_for_each_other(tmp_path: Path) -> None:
    """Each in a thread, of which there are more than an event loop has by itself."""
    async with function(tmp_path, HTTP) as here:
        answers = await asyncio.gather(*[here.instance.invoke({"http": 1}) for _ in range(8)])
        assert [answer.response for answer in answers] == [
            {"statusCode": 200, "body": answer.request_id} for answer in answers
        ]


CLOSES = """
def handler(event, context):
    if "close" not in event:
        return longwire(event, context)
    note("closing")
    longwire.close()
    return "closed"

async def talk(words, text, scope):
    if words == "wait":
        note("waiting")
        await until_there("go")
        note("waited")
    await text(words)
"""


async def test_closing_waits_for_the_events_that_run(tmp_path: Path) -> None:
    """What comes meanwhile waits until it is closed, and begins anew."""
    async with function(tmp_path, CLOSES) as here:
        clients = [f"Client{number}=" for number in range(3)]
        await here.connect(*clients, "Late=")
        running = [asyncio.create_task(here.message("wait", client)) for client in clients]
        await here.until_noted("waiting", 3)
        closing = asyncio.create_task(here.instance.invoke({"close": 1}))
        await here.until_noted("closing")
        late = asyncio.create_task(here.message("late", "Late="))
        here.touch("go")
        answers = await asyncio.gather(*running, closing, late)
        assert [answer[1:] for answer in answers] == [
            *[(OK, None)] * 3,
            ("closed", None),
            (OK, None),
        ]
        assert [here.frames(client) for client in clients] == [["wait"]] * 3
        assert here.frames("Late=") == ["late"]
        await here.message("after", "Late=")
    words = [word for word in here.notes if word not in ("waiting", "closing")]
    assert words == ["startup", "waited", "waited", "waited", "shutdown", "startup"]


STREAMS = """
async def talk(words, text, scope):
    await text("first")
    if words == "wait":
        note("waiting")
        await until_there("never")
    await text("last")
"""


async def test_sigterm_while_three_events_run(tmp_path: Path) -> None:
    """The app's shutdown runs once; what was sent has arrived, and another process goes on."""
    clients = [f"Client{number}=" for number in range(3)]
    async with function(tmp_path, STREAMS) as here:
        await here.connect(*clients)
        running = [asyncio.create_task(here.message("wait", client)) for client in clients]
        await here.until_noted("waiting", 3)
        assert await here.instance.end() == 0
        assert here.notes.count("startup") == here.notes.count("shutdown") == 1
        assert [here.frames(client) for client in clients] == [["first"]] * 3
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    async with function(tmp_path, STREAMS) as here:
        here.server.known.update(clients)
        await asyncio.gather(*[here.message("go on", client) for client in clients])
        assert [here.frames(client) for client in clients] == [["first", "last"]] * 3


IN_PROCESSES = """
async def talk(words, text, scope):
    pathlib.Path(f"here-{os.getpid()}").touch()
    while len(list(pathlib.Path().glob("here-*"))) < 4:
        await asyncio.sleep(0.01)
    await text(f"{os.getpid()} {scope['aws.context'].aws_request_id}")
"""


async def test_aws_own_runtime_has_a_process_for_each(tmp_path: Path) -> None:
    """Four events that need each other are in four processes, each with a lifespan."""
    pytest.importorskip("awslambdaric.lambda_multi_concurrent_utils")
    async with function(tmp_path, IN_PROCESSES, at_once=4, in_threads=False) as here:
        clients = [f"Client{number}=" for number in range(4)]
        await here.connect(*clients)
        answers = await asyncio.gather(*[here.message("a", client) for client in clients])
        assert [answer[1:] for answer in answers] == [(OK, None)] * 4
        replies = [here.frames(client)[0].split() for client in clients]
        assert [request_id for _, request_id in replies] == [one.request_id for one in answers]
        assert len({pid for pid, _ in replies} - {str(here.instance.process.pid)}) == 4
        assert here.notes == ["startup"] * 4
