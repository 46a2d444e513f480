"""Apps with `Connections` under the frameworks' test clients, which are servers like others.

Each has a process of its own: once a test client is imported, a process counts as a server.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Each test of a project has a client of its own: who was there in the one before is gone.
ROUTES = """
import asyncio
import longwire

connections = longwire.Connections()

async def announce():
    sent = await connections.group_send("room", "news")
    result = await connections.broadcast("news")
    return f"{len(sent.delivered)} {len(result.delivered)} {len(result.failed)}"

def announce_in_thread():
    return str(len(connections.sync.group_send("room", "news").delivered))

def from_the_test():
    print(len(connections.sync.group_send("room", "news").delivered), asyncio.run(announce()))
"""
STARLETTE = (
    ROUTES
    + """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient

async def route(request):
    return PlainTextResponse(await announce())

def thread(request):
    return PlainTextResponse(announce_in_thread())

async def join(websocket):
    await websocket.accept()
    await connections.group_add("room", websocket)
    await websocket.send_text("in")
    await websocket.receive()

app = Starlette(
    routes=[Route("/", route), Route("/thread", thread), WebSocketRoute("/ws", join)]
)
from_the_test()
print(TestClient(app).get("/").text, TestClient(app).get("/thread").text)
for _ in range(2):
    with TestClient(app) as client:
        print(client.get("/").text, client.get("/thread").text)
        with client.websocket_connect("/ws") as ws:
            ws.receive_text()
            print(client.get("/").text, ws.receive_text(), ws.receive_text())
            print(client.get("/thread").text, ws.receive_text())
            print(len(connections.sync.group_send("room", "test").delivered), ws.receive_text())
from_the_test()
print(TestClient(app).get("/").text, TestClient(app).get("/thread").text)
"""
)
LITESTAR = (
    ROUTES
    + """
from litestar import Litestar, WebSocket, get, websocket
from litestar.testing import AsyncTestClient, TestClient

@get("/", media_type="text/plain")
async def route() -> str:
    return await announce()

@get("/thread", media_type="text/plain", sync_to_thread=True)
def thread() -> str:
    return announce_in_thread()

@websocket("/ws")
async def join(socket: WebSocket) -> None:
    await socket.accept()
    await connections.group_add("room", socket)
    await socket.send_text("in")
    await socket.receive_text()

def app():
    return Litestar([route, thread, join], logging_config=None)

async def asynchronously():
    async with AsyncTestClient(app()) as client:
        print((await client.get("/")).text, (await client.get("/thread")).text)

from_the_test()
asyncio.run(asynchronously())
for _ in range(2):
    with TestClient(app()) as client:
        print(client.get("/").text, client.get("/thread").text)
        with client.websocket_connect("/ws") as ws:
            ws.receive_text()
            print(client.get("/").text, ws.receive_text(), ws.receive_text())
            print(client.get("/thread").text, ws.receive_text())
            print(len(connections.sync.group_send("room", "test").delivered), ws.receive_text())
from_the_test()
asyncio.run(asynchronously())
"""
)
WITH_CLIENT = ["0 0 0 0", "1 1 0 news news", "1 news", "1 test"]
NOBODY = ["0 0 0 0", "0 0 0 0"]


def _lines(source: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("source", [STARLETTE, LITESTAR], ids=["Starlette", "Litestar"])
def test_who_sends_before_or_after_anybody_is_there_reaches_nobody(source: str) -> None:
    """Routes, `def` routes in threads, and the test itself; so the order of tests is nothing."""
    assert _lines(source) == [*NOBODY, *WITH_CLIENT, *WITH_CLIENT, *NOBODY]


CHANNELS = """
import asyncio, sys, types

# Of daphne channels.testing needs no more than this name, if no server is started.
sys.modules["daphne"] = types.ModuleType("daphne")
sys.modules["daphne.testing"] = types.ModuleType("daphne.testing")
sys.modules["daphne.testing"].DaphneProcess = object

import django
from django.conf import settings
settings.configure()
django.setup()
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.testing import WebsocketCommunicator
import longwire

connections = longwire.Connections()

async def announce():
    sent = await connections.group_send("room", "news")
    return f"{len(sent.delivered)} {len((await connections.broadcast('news')).delivered)}"

class Consumer(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await connections.group_add("room", self.scope)

async def test():
    print(await announce())
    client = WebsocketCommunicator(longwire.ConnectionsMiddleware(Consumer.as_asgi()), "/")
    await client.connect()
    while not [one async for one in connections.group_members("room")]:
        await asyncio.sleep(0)
    print(await announce(), await client.receive_from(), await client.receive_from())
    await client.disconnect()
    print(await announce())

for _ in range(2):
    asyncio.run(test())
print(len(connections.sync.group_send("room", "news").delivered))
"""


def test_consumers_of_channels_under_its_communicator() -> None:
    once = ["0 0", "1 1 news news", "0 0"]
    assert _lines(CHANNELS) == [*once, *once, "0"]
