"""What the page makes happen, to real clients and to its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from longwire import Connections, Longwire
from longwire.local.inspector import transport
from tests.local.fakes import OK, Event, RecordingFunction, connection_id
from tests.local.inspector.conftest import Look, looking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def client_of(
    look: Look, function: RecordingFunction
) -> AsyncIterator[tuple[ClientConnection, str]]:
    async with connect(look.url) as ws:
        event = await function.wait_for("CONNECT", function.types().count("CONNECT") or 1)
        async with asyncio.timeout(5):
            while connection_id(event) not in look.gateway.sockets:
                await asyncio.sleep(0)
        yield ws, connection_id(event)


async def closed(ws: ClientConnection) -> tuple[int, str]:
    async with asyncio.timeout(5):
        try:
            await ws.recv()
        except ConnectionClosed as error:
            frame = error.rcvd
            return (1006, "") if frame is None else (frame.code, frame.reason)
    raise AssertionError("a message came")


def disconnected(event: Event) -> tuple[int, str]:
    context = event["requestContext"]
    return context["disconnectStatusCode"], context["disconnectReason"]


async def test_a_client_of_the_page_is_one_like_any_other(
    look: Look, function: RecordingFunction
) -> None:
    one = await look.connect(
        path="/rooms/a b",
        query="x=1",
        headers=[["Origin", "http://x"], ["Sec-WebSocket-Protocol", "a, b"]],
    )
    connected = function.events[0]
    assert connected["queryStringParameters"] == {"path": "/rooms/a b", "x": "1"}
    assert connected["headers"]["Origin"] == "http://x"
    assert connected["headers"]["Sec-WebSocket-Protocol"] == "a, b"
    assert one in look.gateway.sockets
    await look.do(do="send", connection=one, text="héllo")
    assert (await function.wait_for("MESSAGE"))["body"] == "héllo"


async def test_a_client_that_is_refused(look: Look, function: RecordingFunction) -> None:
    async def answer(event: Event) -> object:
        return {"statusCode": 403}

    function.answer = answer
    told = await look.do(do="connect")
    assert told["refused"] == 403
    assert look.gateway.clients == 0
    assert (await look.event(1))["status"] == "403"


async def test_send_and_send_twice(look: Look, function: RecordingFunction) -> None:
    """For a client whoever it is of."""
    async with client_of(look, function) as (_, one):
        await look.do(do="send", connection=one, text="once")
        await look.do(do="send", connection=one, text="twice", times=2)
        await function.wait_for("MESSAGE", 3)
        assert function.bodies() == ["once", "twice", "twice"]
        ids = {event["requestContext"]["messageId"] for event in function.events[1:]}
        assert len(ids) == 3


async def test_post_and_delete(look: Look, function: RecordingFunction) -> None:
    async with client_of(look, function) as (ws, one):
        assert await look.do(do="post", connection=one, text="<b>") == {"ok": True, "status": 200}
        assert await ws.recv() == "<b>"
        assert (await look.event(2))["note"] == "from this page"
        assert (await look.do(do="delete", connection=one))["status"] == 204
        assert await closed(ws) == (1000, "Connection Closed Normally")


@pytest.mark.parametrize(
    ("action", "client_sees", "function_gets"),
    [
        ({"do": "idle"}, (1001, "Going away"), (1001, "Going away")),
        ({"do": "close", "code": 4001, "reason": "bye"}, (4001, "bye"), (4001, "bye")),
        ({"do": "close"}, (1000, ""), (1000, "")),
        ({"do": "vanish"}, (1006, ""), (1006, "")),
    ],
)
async def test_the_ways_to_end(
    look: Look,
    function: RecordingFunction,
    action: dict[str, Any],
    client_sees: tuple[int, str],
    function_gets: tuple[int, str],
) -> None:
    """Of a real client, and of one of the page."""
    async with client_of(look, function) as (ws, one):
        await look.do(**action, connection=one)
        assert await closed(ws) == client_sees
        assert disconnected(await function.wait_for("DISCONNECT")) == function_gets
    other = await look.connect()
    await look.do(**action, connection=other)
    assert disconnected(await function.wait_for("DISCONNECT", 2)) == function_gets
    assert other not in look.gateway.sessions
    told = (await look.get(f"/_longwire/connection?id={other}"))[1]
    assert (told["state"], told["code"]) == ("closed", function_gets[0])


@pytest.mark.parametrize("code", [1005, 1006, 1015, 999, 2000, 5000])
async def test_codes_that_nobody_can_send(look: Look, code: int) -> None:
    one = await look.connect()
    assert "code" in (await look.do(do="close", connection=one, code=code))["error"]


async def test_a_lost_disconnect(look: Look, function: RecordingFunction) -> None:
    async with client_of(look, function) as (_, one):
        await look.do(do="faults", connection=one, disconnect="lost")
        told = (await look.get(f"/_longwire/connection?id={one}"))[1]
        assert told["faults"] == {"reorders": False, "disconnect": "lost"}
    other = await look.connect()
    await look.do(do="close", connection=other)
    await function.wait_for("DISCONNECT")
    assert [connection_id(e) for e in function.events if "body" not in e][2:] == [other]
    assert "lost" in (await look.event(2))["note"]


async def test_a_late_disconnect(look: Look, function: RecordingFunction) -> None:
    one, other = await look.connect(), await look.connect()
    await look.do(do="faults", connection=one, disconnect=0.2)
    await look.do(do="close", connection=one)
    await look.do(do="close", connection=other)
    await function.wait_for("DISCONNECT", 2)
    assert [connection_id(event) for event in function.events[2:]] == [other, one]


@pytest.mark.parametrize("disconnect", [-1, 601, "never", True, None])
async def test_delays_that_cannot_be(look: Look, disconnect: Any) -> None:
    one = await look.connect()
    told = await look.do(do="faults", connection=one, disconnect=disconnect)
    assert "disconnect" in told["error"]


async def test_messages_change_places(look: Look, function: RecordingFunction) -> None:
    """Those of the page, and the next two of a client."""
    async with client_of(look, function) as (ws, one):
        await look.do(do="reorder", connection=one, text="a", then="b")
        await function.wait_for("MESSAGE", 2)
        await look.do(do="faults", connection=one, reorders=True)
        for text in ("c", "d", "e"):
            await ws.send(text)
        await function.wait_for("MESSAGE", 5)
        assert function.bodies() == ["b", "a", "d", "c", "e"]


async def test_a_held_message_is_not_lost(look: Look, function: RecordingFunction) -> None:
    """Neither when it is not to change places any more, nor when its client goes."""
    async with client_of(look, function) as (_, one):
        await look.do(do="faults", connection=one, reorders=True)
        await look.do(do="send", connection=one, text="a")
        assert (
            "already" in (await look.do(do="reorder", connection=one, text="x", then="y"))["error"]
        )
        await look.do(do="faults", connection=one, reorders=False)
        await function.wait_for("MESSAGE")
        await look.do(do="faults", connection=one, reorders=True)
        await look.do(do="send", connection=one, text="b")
    await function.wait_for("DISCONNECT")
    assert function.bodies() == ["a", "b"]
    assert function.types()[-1] == "DISCONNECT"


async def test_a_replay_is_the_same_event(look: Look, function: RecordingFunction) -> None:
    one = await look.connect()
    await look.do(do="send", connection=one, text="x")
    await function.wait_for("MESSAGE")
    await look.do(do="replay", event=2)
    again = await function.wait_for("MESSAGE", 2)
    assert again == function.events[1]
    async with asyncio.timeout(5):
        while (await look.event(3)).get("status") != "200":
            await asyncio.sleep(0.01)
    told = await look.event(3)
    assert told["replay"] == 2
    assert (await look.get(f"/_longwire/connection?id={one}"))[1]["messages"] == 1


async def test_what_is_replayed_may_raise(look: Look, function: RecordingFunction) -> None:
    async def answer(event: Event) -> object:
        if len(function.events) > 1:
            raise ValueError
        return OK

    function.answer = answer
    await look.connect()
    await look.do(do="replay", event=1)
    await function.wait_for("CONNECT", 2)
    async with asyncio.timeout(5):
        while (await look.event(2)).get("status") != "raised ValueError":
            await asyncio.sleep(0.01)


async def test_a_message_is_at_most_what_api_gateway_takes(
    look: Look, function: RecordingFunction
) -> None:
    async with client_of(look, function) as (_, one):
        limit = look.gateway.rules.settings.message_limit
        body = json.dumps({"do": "send", "connection": one, "text": "é" * 60_000})
        assert len(body) > limit
        assert (await look.post(body))[0] == 413
        fits = json.dumps(
            {"do": "send", "connection": one, "text": "é" * 60_000}, ensure_ascii=False
        )
        assert (await look.post(fits))[0] == 200
    assert function.bodies() == ["é" * 60_000]


async def test_clear(look: Look) -> None:
    one, other = await look.connect(), await look.connect()
    await look.do(do="close", connection=one)
    await look.do(do="clear")
    assert (await look.get("/_longwire/event?n=1"))[0] == 404
    assert (await look.get(f"/_longwire/connection?id={other}"))[0] == 200
    assert (await look.get(f"/_longwire/connection?id={one}"))[0] == 404


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await Connections().group_add("blue", scope)
    await send({"type": "websocket.send", "text": "welcome"})
    while (event := await receive())["type"] == "websocket.receive":
        await Connections().group_send("blue", event["text"])


async def test_the_frames_of_an_event_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the greeting, which leaves after the answer, and those to others."""
    handler = Longwire(app, ws_config={"backend": "memory"}, lifespan="off")
    async with looking(handler) as look:
        handler.transport = transport.NamedTransport(handler.transport, transport.current.get)
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", look.gateway.management_url)
        look.stored.use(handler.backend, _await)
        one, other = await look.connect(), await look.connect()
        await look.do(do="send", connection=one, text="hi")
        async with asyncio.timeout(10):
            while len((await look.event(3)).get("posts", ())) < 2:
                await asyncio.sleep(0.02)
        told = await look.event(3)
        assert {post["id"] for post in told["posts"]} == {one, other}
        assert [post["data"] for post in (await look.event(1))["posts"]] == ["welcome"]
        stored = (await look.get(f"/_longwire/connection?id={one}"))[1]
        assert stored["stored"]["groups"] == ["blue"]
        assert stored["stored"]["record"]["v"] == 1
        assert [said["text"] for said in stored["conversation"]] == ["welcome", "hi", "hi"]
        await handler.aclose()


async def _await(work: Any) -> Any:
    return await work


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e999", "true", '"1"', "null"])
async def test_a_number_is_one_that_can_be_meant(look: Look, number: str) -> None:
    status, told = await look.post(f'{{"do": "replay", "event": {number}}}')
    assert (status, told["error"]) == (400, "event: expected a number")
