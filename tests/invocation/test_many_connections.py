"""Thousands of connections through one process, with `replay`: what is kept of them is bounded."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
from typing import Any

import pytest
from starlette.websockets import WebSocket

from longwire.invocation import kept_runs
from longwire.invocation.kept_runs import MOST_RUNS
from longwire_backends.memory import MemoryBackend
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event
from tests.talk import Talk, talk

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

# Connections that come through one process: `LONGWIRE_TEST_CONNECTIONS=20000` is a minute.
CONNECTIONS = int(os.environ.get("LONGWIRE_TEST_CONNECTIONS", "4000"))
# More than a run of Starlette needs, with its scope and what Longwire knows of it.
MOST_BYTES = 30 * 1024


class Endpoint:
    """Counts, and answers one message in twenty; notes how often it is at work, and cleans up."""

    def __init__(self) -> None:
        self.alive = self.ends = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, send)
        self.alive += 1
        try:
            await websocket.accept()
            count = 0
            async for text in websocket.iter_text():
                count += 1
                if text == "answer":
                    await websocket.send_text(f"{count}")
            self.ends += 1
        finally:
            self.alive -= 1


class Forgetful(MemoryBackend):
    """May forget everything: what a store keeps is not the process's."""

    def forget(self) -> None:
        self._records.clear()
        self._journals.clear()


async def _come(client: Talk, numbers: range, *, leaving: bool) -> None:
    for number in numbers:
        one = f"k{number:014d}="
        client.server.known.add(one)
        text = "answer" if number % 20 == 0 else "quiet"
        await client.handler.handle(connect_event(one), LambdaContext())
        await client.handler.handle(message_event(text, one), LambdaContext())
        if leaving and number % 2:
            await client.handler.handle(disconnect_event(one), LambdaContext())
        client.server.known.discard(one)
    for seen in (client.server.requests, client.server.headers, client.server.targets):
        seen.clear()
    client.server.delivered.clear()
    client.server.answers.clear()


def _footprint() -> tuple[int, int]:
    return len(asyncio.all_tasks()), len(os.listdir("/dev/fd"))


@pytest.mark.timeout(300)
async def test_thousands_of_connections_leave_no_more_than_so_many_runs() -> None:
    """Half of them leave, and nothing is heard any more of the others."""
    app, store = Endpoint(), Forgetful()
    async with talk(app, backend=store, replay=True) as client:
        await _come(client, range(1_000), leaving=True)
        tasks, files = _footprint()
        assert MOST_RUNS - 1 <= app.alive <= MOST_RUNS
        assert tasks < MOST_RUNS + 20

        store.forget()
        gc.collect()
        tracemalloc.start()
        await _come(client, range(1_000, 1_600), leaving=True)
        store.forget()
        gc.collect()
        start, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await _come(client, range(1_600, CONNECTIONS - 600), leaving=True)
        store.forget()
        gc.collect()
        tracemalloc.start()
        await _come(client, range(CONNECTIONS - 600, CONNECTIONS), leaving=True)
        store.forget()
        gc.collect()
        end, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        now = _footprint()
        assert MOST_RUNS - 1 <= app.alive <= MOST_RUNS
        assert now[0] <= tasks + 1
        assert now[1] <= files
        assert end - start < 500_000
        assert app.ends == CONNECTIONS // 2
    assert app.alive == 0


async def test_a_kept_run_takes_little_memory() -> None:
    app, store = Endpoint(), Forgetful()
    async with talk(app, backend=store, replay=True) as client:
        await _come(client, range(300), leaving=False)
        runs = client.handler._kept_runs
        assert runs is not None
        await runs.end_all()
        assert app.alive == 0
        gc.collect()
        tracemalloc.start()
        await _come(client, range(300, 400), leaving=False)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        assert app.alive == 100
        await runs.end_all()
        gc.collect()
        ended, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 0 < (kept - ended) / 100 < MOST_BYTES


async def test_runs_are_ended_by_age_and_by_the_size_of_their_journals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, store = Endpoint(), Forgetful()
    async with talk(app, backend=store, replay=True) as client:
        await _come(client, range(10), leaving=False)
        assert app.alive == 10
        monkeypatch.setattr(kept_runs, "MOST_SIZE", 1_000)
        await _come(client, range(10, 11), leaving=False)
        runs = client.handler._kept_runs
        assert runs is not None
        assert app.alive == len(runs._runs) < 10
        assert runs._size == sum(kept.turn.conversation.size for kept in runs._runs.values())
        assert runs._size <= 1_000
        monkeypatch.setattr(kept_runs, "MOST_AGE", 0.0)
        await _come(client, range(11, 12), leaving=False)
        assert app.alive == 0
