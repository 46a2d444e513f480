"""With `replay` an app keeps its variables, whichever process has its events."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from longwire import ConfigurationError, Longwire
from longwire_backends.base import Backend
from longwire_backends.memory import MemoryBackend
from tests.invocation.test_connect import OK, websocket
from tests.invocation.test_kept_runs import other_process
from tests.talk import talk

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

pytestmark = pytest.mark.anyio


async def _count(ws: WebSocket) -> None:
    await ws.accept()
    count = 0
    async for text in ws.iter_text():
        count += 1
        await ws.send_text(f"{count} {text}")


class Streams:
    """Sends numbers until it is told to stop, or its client leaves; `left` are the ends it saw."""

    def __init__(self) -> None:
        self.left: list[object] = []
        self.stopped_at: list[int] = []

    async def endpoint(self, ws: WebSocket) -> None:
        await ws.accept()
        number, task = 0, None

        async def stream() -> None:
            nonlocal number
            while True:
                number += 1
                await ws.send_text(str(number))
                await asyncio.sleep(0.02)

        while (message := await ws.receive())["type"] == "websocket.receive":
            if message["text"] == "go":
                task = asyncio.create_task(stream())
            elif task is not None:
                task.cancel()
                await ws.send_text(f"stopped at {number}")
                self.stopped_at.append(number)
        if task is not None:
            task.cancel()
        self.left.append(message["code"])


async def test_stop_reaches_the_stream_of_another_process() -> None:
    """The message is handled where the coroutine is, and its own event is over at once."""
    streams = Streams()
    async with talk(websocket(streams.endpoint), replay=True, backend=MemoryBackend()) as one:
        other = other_process(one, websocket(streams.endpoint))
        await one.connect()
        streaming = asyncio.create_task(one.say("go"))
        await one.server.until(lambda: len(one.frames) >= 5)
        assert await other.say("stop") == OK
        assert await streaming == OK
        *numbers, last = one.frames
        assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
        assert last == f"stopped at {len(numbers)}"
        assert len(streams.stopped_at) == 1
        await other.leave()
        await other.handler.aclose()
    assert streams.left == [1001]


async def test_an_end_reaches_the_stream_of_another_process() -> None:
    """The app hears of it once, where it streams."""
    streams = Streams()
    async with talk(websocket(streams.endpoint), replay=True, backend=MemoryBackend()) as one:
        other = other_process(one, websocket(streams.endpoint))
        await one.connect()
        streaming = asyncio.create_task(one.say("go"))
        await one.server.until(lambda: len(one.frames) >= 5)
        event = asyncio.create_task(other.leave(4001))
        assert await event == OK
        assert await streaming == OK
        assert streams.left in ([4001], [1006])  # whichever comes first, as on a server
        await other.handler.aclose()
        assert await one.handler._api.backend.journal(one.connection_id) == ()  # type: ignore[union-attr]
    assert len(streams.left) == 1


class Plain(Backend):
    """A store of somebody's own, from before there were journals."""

    name = "plain"
    put = MemoryBackend.put
    get = MemoryBackend.get
    take = MemoryBackend.take
    update = MemoryBackend.update
    connections = MemoryBackend.connections
    group_add = MemoryBackend.group_add
    group_discard = MemoryBackend.group_discard
    group_members = MemoryBackend.group_members
    groups = MemoryBackend.groups
    sweep = MemoryBackend.sweep
    close = MemoryBackend.close


def test_a_store_without_journals_is_refused() -> None:
    backend: Any = Plain()
    Longwire(websocket(_count), ws_config={"backend": backend})
    with pytest.raises(ConfigurationError, match="Plain lacks append, journal or drop_journal"):
        Longwire(websocket(_count), ws_config={"backend": backend, "replay": True})


def test_state_and_replay_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="replay and state exclude each other"):
        Longwire(websocket(_count), dsn="memory://?replay=1&state=1")
    assert not Longwire(websocket(_count), dsn="memory://?replay=1").settings.state


@pytest.mark.parametrize(
    "entry",
    [
        '[2,"M","other",0,1,"text","a"]',  # of another version
        '[1,"M","other",0,1,"te',  # cut short
        "{}",
        '[1,"R","other",7,0,0,0]',
        "[" * 10_000,
    ],
)
async def test_a_journal_that_is_not_ours_closes_its_connection(
    entry: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With one line that holds nothing of it; the app does not see the message."""
    backend = MemoryBackend()
    async with talk(websocket(_count), replay=True, backend=backend) as client:
        await client.connect()
        await client.say("a")
        position = len(await backend.journal(client.connection_id)) + 1
        assert await backend.append(client.connection_id, position, entry, 2**40)
        assert await client.say("b") == OK
        assert client.frames == ["1 a"]
        assert client.deleted
    errors = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "journal" in errors[0].getMessage()
    assert "other" not in caplog.text


async def test_without_replay_a_store_is_asked_for_no_journal() -> None:
    """Nothing is asked of it that was not asked before."""

    class Strict(MemoryBackend):
        async def append(self, *args: Any) -> bool:
            raise AssertionError

        async def journal(self, *args: Any, **named: Any) -> tuple[str, ...]:
            raise AssertionError

        async def drop_journal(self, *args: Any) -> None:
            raise AssertionError

    async with talk(websocket(_count), backend=Strict()) as client:
        await client.connect()
        await client.say("a")
        await client.say("b")
        await client.leave()
    assert client.frames == ["1 a", "1 b"]
