"""Responses that a wrapper around the handler holds back, in processes under AWS's own runtime.

The server of the management API answers 410 until the test has seen the response, as API Gateway
does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from longwire.registry.record import NEW_CONNECTION
from tests.lambda_events import connect_event, disconnect_event, message_event
from tests.lambda_process import lambda_process
from tests.runtime.test_after_response import GREETER, TAIL, connect, notes, posts, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

WRAPPER = """
longwire = handler

def handler(event, context):
    response = RESPONSE
    if event["requestContext"]["eventType"] == "CONNECT" and "HOLDS" in os.environ:
        time.sleep(float(os.environ["HOLDS"]))
    return response
"""
KEPT = TAIL + WRAPPER.replace("RESPONSE", "longwire(event, context)")
COPIED = TAIL + WRAPPER.replace("RESPONSE", "{**longwire(event, context)}")

# A stream that goes on for longer than the response is held back.
STREAMER = """
async def talk(receive, send):
    for number in range(35):
        await text(send, str(number))
        await asyncio.sleep(0.1)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note("told")
            return
        await text(send, f"{os.getpid()} {message['text']}")
"""
MEMBER = """
from longwire import Connections

connections = Connections()

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    await receive()
    await send({"type": "websocket.accept"})
    await connections.group_add("room", scope)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note("told")
            return
        if message["text"] == "all":
            await connections.group_send("room", "to all")
        else:
            await text(send, f"{os.getpid()} {message['text']}")
"""
# Longer than a connection is new.
HOLDS = {"HOLDS": str(NEW_CONNECTION + 0.5)}
# Nothing runs behind the response, as where registering an extension has failed.
UNEXTENDED = "longwire._loop._extension = None\n"
MANAGED = HOLDS | {"AWS_LAMBDA_MAX_CONCURRENCY": "1"}


@pytest.mark.parametrize("environ", [HOLDS, MANAGED], ids=["Lambda", "Managed Instances"])
@pytest.mark.parametrize("tail", [KEPT, COPIED], ids=["kept", "copied"])
async def test_a_greeting_waits_for_a_response_that_is_held_back(
    tmp_path: Path, tail: str, environ: dict[str, str]
) -> None:
    """It comes once, nothing is posted before, and then the client can talk."""
    async with running(tmp_path, GREETER, tail, environ) as (process, server):
        assert await connect(process, server, "Connection=") == {"statusCode": 200}
        assert posts(server, "Connection=") == []
        await server.until(lambda: len(server.delivered) == 2)
        await process.until_idle()
        await process.invoke(message_event("a", "Connection="))
        hello, greeting, reply = posts(server, "Connection=")
        assert (hello, greeting, reply[-2:]) == ("hello", "I am a greeting", " a")
        await process.invoke(disconnect_event("Connection="))
        assert notes(tmp_path) == ["told"]


@pytest.mark.parametrize("tail", [KEPT, COPIED], ids=["kept", "copied"])
async def test_a_stream_waits_for_a_response_that_is_held_back(tmp_path: Path, tail: str) -> None:
    async with running(tmp_path, STREAMER, tail, HOLDS) as (process, server):
        assert await connect(process, server, "Connection=") == {"statusCode": 200}
        assert posts(server, "Connection=") == []
        await process.until_idle()
        assert posts(server, "Connection=") == [str(number) for number in range(35)]
        await process.invoke(message_event("a", "Connection="))
        assert posts(server, "Connection=")[-1].endswith(" a")


async def test_a_client_that_has_gone_while_its_response_was_held_back(tmp_path: Path) -> None:
    """Its app is told, once nobody can still be on the way."""
    async with running(tmp_path, GREETER, COPIED, HOLDS) as (process, server):
        await process.invoke(connect_event("Connection="))
        assert posts(server, "Connection=") == []
        await process.until_idle()
        assert set(posts(server, "Connection=")) == {"hello"}
        assert notes(tmp_path) == ["told"]


@pytest.mark.parametrize("last", ["", UNEXTENDED], ids=["extended", "not extended"])
async def test_a_send_from_elsewhere_leaves_a_held_back_connection_in_peace(
    tmp_path: Path, last: str
) -> None:
    """Another process finds that API Gateway does not know it, until its response has left."""
    async with running(tmp_path, MEMBER, COPIED + last, {"HOLDS": "5"}) as (process, server):
        options = {"ENDPOINT": server.url, "STORE": str(tmp_path / "store.sqlite3")}
        function = (tmp_path / "function.py").read_text()
        async with lambda_process(tmp_path, function, options) as elsewhere:
            await connect(elsewhere, server, "Other=")
            connecting = asyncio.create_task(connect(process, server, "Connection="))
            while not connecting.done():
                await elsewhere.invoke(message_event("all", "Other="))
            assert await connecting == {"statusCode": 200}
            tried = len(posts(server, "Connection="))
            await elsewhere.invoke(message_event("all", "Other="))
            await process.invoke(message_event("a", "Connection="))
            to_all, reply = posts(server, "Connection=")[tried:]
            assert (to_all, reply[-2:]) == ("to all", " a")
            assert notes(tmp_path) == []
            # It goes without a word, and is found all the same.
            server.known.remove("Connection=")
            async with asyncio.timeout(20):
                while notes(tmp_path) != ["told"]:
                    await elsewhere.invoke(message_event("all", "Other="))


async def test_a_response_that_is_held_back_until_its_time_is_up(tmp_path: Path) -> None:
    """The greeting waits for the first message, though its event may be another process's."""
    async with running(tmp_path, GREETER, COPIED, {"HOLDS": "3.7"}, timeout=4.0) as (
        process,
        server,
    ):
        assert await connect(process, server, "Connection=") == {"statusCode": 200}
        await process.until_idle()
        assert posts(server, "Connection=") == []
        await process.invoke(message_event("a", "Connection="))
        hello, greeting, reply = posts(server, "Connection=")
        assert (hello, greeting, reply[-2:]) == ("hello", "I am a greeting", " a")
