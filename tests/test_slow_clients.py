"""A client that does not read costs its own messages, and nobody else anything.

API Gateway answers 429 for it, as it does when there are too many requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from longwire import Connections, SlowClientError
from tests.invocation.test_connect import websocket
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

pytestmark = pytest.mark.anyio

connections = Connections()
PATIENCE = 0.1  # seconds


class Room:
    """Greets, and sends what is said to all: `results` has what became of each."""

    def __init__(self) -> None:
        self.results: list[Any] = []

    async def serve(self, ws: WebSocket) -> None:
        await ws.accept()
        await connections.group_add("room", ws)
        await ws.send_text("hello")
        await ws.send_text("welcome")
        async for text in ws.iter_text():
            self.results.append(await connections.group_send("room", text))


def posts(client: Talk) -> int:
    """Return how many posts have been tried to a client."""
    return len(client.server.frames(client.connection_id))


async def use_up(client: Talk, room: Room) -> None:
    """Let a client speak until the last of its patience is used up."""
    before = -1
    while posts(client) - before != 1 or not room.results:
        before = posts(client)
        await client.say("x")


async def test_a_member_that_does_not_read_is_in_the_result_and_others_are_served() -> None:
    """Whoever sends; once its patience is used up, each send tries it once."""
    room = Room()
    async with talk(websocket(room.serve), slow_client=PATIENCE) as slow:
        good = slow.another()
        for client in (slow, good):
            await client.connect()
            await client.until("hello", "welcome")
        slow.server.full.add(slow.connection_id)
        await good.say("one")
        (result,) = room.results
        assert list(result.delivered) == [good.connection_id]
        assert list(result.slow) == list(result.failed) == [slow.connection_id]
        assert "its client does not read" in result.failed[slow.connection_id]
        await use_up(slow, room)
        count = posts(slow)
        for number in range(20):
            await slow.say(f"{number}")
        assert posts(slow) - count == 20
        assert good.frames[-20:] == [f"{number}" for number in range(20)]
        slow.server.full.clear()
        await good.say("read again")
        assert slow.frames[-1] == "read again"


async def test_a_reply_that_is_not_read_is_an_error_of_the_app() -> None:
    """As under a server it would wait for ever; here `send` raises, and the app may go on."""
    raised: list[SlowClientError] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            try:
                await ws.send_text(text)
            except SlowClientError as error:
                raised.append(error)

    async with talk(websocket(app), slow_client=PATIENCE) as client:
        await client.connect()
        client.server.full.add(client.connection_id)
        while len(raised) < 2 or len(client.server.requests) > 1:
            client.server.requests.clear()
            await client.say("x")
        for _ in range(20):
            await client.say("x")
        # One for each, but for a second one where patience has come back meanwhile.
        assert 21 <= len(client.server.requests) < 30
        assert {error.connection_id for error in raised} == {client.connection_id}
        assert not client.deleted


async def test_a_close_that_is_refused_takes_no_more_than_its_patience(caplog: Any) -> None:
    """An app that raises for such a client ends; that it could not be closed is logged."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            await ws.send_text(text)

    async with talk(websocket(app), slow_client=PATIENCE) as client:
        await client.connect()
        client.server.full.add(client.connection_id)
        client.seconds = 600.0
        await client.say("x")
        assert client.deleted
        assert [method for method, _, _ in client.server.requests].count("DELETE") <= 2
    assert f"connection {client.connection_id} could not be closed: " in caplog.text


async def test_a_greeting_that_is_not_read_is_lost_and_does_not_hold_the_first_message(
    caplog: Any,
) -> None:
    """Each frame of it is tried, after the first once each."""
    room = Room()
    async with talk(websocket(room.serve), slow_client=PATIENCE) as client:
        client.seconds = 600.0
        client.server.full.add(client.connection_id)
        await client.connect()
        await client.server.until(lambda: b"welcome" in client.server.frames(client.connection_id))
        await client.say("x")
        client.server.full.clear()
        await client.say("y")
        assert client.frames == ["y"]
        assert client.server.frames(client.connection_id).count(b"welcome") <= 2
    assert caplog.text.count("a frame of its greeting was lost: ") == 2


@pytest.mark.parametrize("method", ["send", "info", "close"])
async def test_whoever_asks_about_one_connection_waits_no_longer(method: str) -> None:
    """From inside another's event, whose client is served."""
    arguments = ["x"] if method == "send" else []
    raised: list[SlowClientError] = []
    slow_id = ""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws.iter_text():
            with pytest.raises(SlowClientError) as caught:
                await getattr(connections, method)(slow_id, *arguments)
            raised.append(caught.value)
            await ws.send_text(text)

    async with talk(websocket(app), slow_client=PATIENCE) as good:
        slow = good.another()
        slow_id = slow.connection_id
        for client in (slow, good):
            await client.connect()
        good.server.full.add(slow_id)
        good.seconds = 600.0
        for number in range(10):
            await good.say(f"{number}")
        assert good.frames == [f"{number}" for number in range(10)]
        asked = [to for _, to, _ in good.server.requests if to == slow_id]
        assert len(raised) == 10
        assert 10 < len(asked) < 20
