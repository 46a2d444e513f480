"""Whose turn it is."""

from __future__ import annotations

import asyncio
import time

import pytest

from longwire.registry.journal import Told
from longwire.registry.store import Store
from longwire.registry.turn import Turn, new_owner
from longwire_backends.memory import MemoryBackend

pytestmark = pytest.mark.anyio

FAR = 1 << 40


def _told(text: str) -> Told:
    return Told(1, {"type": "websocket.receive", "text": text})


class Held(MemoryBackend):
    """Its answers to `append` are on their way until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        appended = await super().append(connection_id, position, value, expires_at)
        await self.go_on.wait()
        return appended


def _turn(backend: MemoryBackend) -> Turn:
    return Turn(Store(backend, time.monotonic() + 60), "id", FAR, new_owner())


@pytest.mark.parametrize("another_came", [False, True])
async def test_a_look_while_an_entry_is_appended_reads_none_twice(another_came: bool) -> None:
    """Neither the turn's own entry nor that of another event which was faster."""
    backend = Held()
    turn, other = _turn(backend), _turn(backend)
    assert await turn.take(_told("a"), lambda: None)
    await other.read()
    if another_came:
        taking = asyncio.create_task(other.take(_told("b"), lambda: None))
        await asyncio.sleep(0)
    backend.go_on.clear()
    resting = asyncio.create_task(turn.rest(1))
    looking = asyncio.create_task(turn.look())
    for _ in range(10):
        await asyncio.sleep(0)
    backend.go_on.set()
    await looking
    assert await resting is not another_came
    assert turn.conversation.position == len(await backend.journal("id"))
    if another_came:
        assert await turn.begin_next() == _told("b")
        await turn.give_up()
        assert await taking is False


async def test_a_journal_tells_when_the_app_was_given_each_message() -> None:
    """Until then it went on without it: until the message came, or as long as it had the turn."""
    backend, before = MemoryBackend(), time.time()
    turn = _turn(backend)
    turn.count_frames = lambda: 3
    assert await turn.take(Told(int(before * 1000) - 5000, _told("a").message), lambda: None)
    turn.given_at = before + 1
    waiting = asyncio.create_task(_turn(backend).take(_told("b"), lambda: None))
    await asyncio.sleep(0)
    await turn.look()
    assert await turn.begin_next() == _told("b")
    assert await waiting is False
    turn.given_at = before + 2
    assert await turn.rest(2)
    third = _turn(backend)
    await third.read()
    assert await third.take(Told(int(before * 1000) + 9000, _told("c").message), lambda: None)
    a, b, c = third.conversation.given
    assert a.arrived_at == pytest.approx(before - 5, abs=0.01)
    assert a.frames == 0
    assert before <= b.arrived_at <= time.time()
    assert (b.at, b.frames) == (before + 2, 3)
    assert c.arrived_at == pytest.approx(before + 9, abs=0.01)
    assert c.frames == 3
