"""Runs that wait for the next event in their process: they save time, and nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from longwire import Connections, Longwire, is_event_end
from longwire.invocation import kept_runs
from longwire.observability import event
from longwire.replay.journal import Conversation
from longwire_backends.memory import MemoryBackend
from tests.invocation.test_connect import OK, websocket
from tests.lambda_events import LambdaContext, connect_event
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.websockets import WebSocket

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio


class Diary:
    """An app that counts its messages, and notes how often it was called and how it has ended."""

    def __init__(self) -> None:
        self.calls = 0
        self.ends: list[tuple[str, int, bool]] = []  # by whom, after so many messages, replaying?

    async def endpoint(self, ws: WebSocket) -> None:
        self.calls += 1
        count = 0
        await ws.accept()
        try:
            async for text in ws.iter_text():
                count += 1
                await ws.send_text(f"{count} {text}")
            self.ends.append(("client", count, self._replaying(ws)))
        finally:
            self.ends.append(("finally", count, self._replaying(ws)))

    @staticmethod
    def _replaying(ws: WebSocket) -> bool:
        return bool(ws.scope["extensions"]["longwire"]["replaying"])


def other_process(client: Talk, app: Any, **ws_config: Any) -> Talk:
    """Return the same client as another process sees it, which shares the store."""
    settings: Any = {
        "backend": client.handler._api.backend,
        "api_gateway_endpoint_url": client.server.url,
        "replay": True,
        **ws_config,
    }
    return Talk(Longwire(app, ws_config=settings), client.server, client.connection_id)


async def test_one_process_calls_the_app_once_and_ends_it_once() -> None:
    """As a server does: what the app does at its end comes at the real end."""
    diary = Diary()
    async with talk(websocket(diary.endpoint), replay=True) as client:
        await client.connect()
        for text in "abc":
            assert await client.say(text) == OK
        assert diary.ends == []
        await client.leave()
    assert client.frames == ["1 a", "2 b", "3 c"]
    assert diary.calls == 1
    assert diary.ends == [("client", 3, False), ("finally", 3, False)]


async def test_a_run_that_was_outrun_is_ended_without_effect_and_made_anew() -> None:
    """Two processes take turns: each message finds what all before it have left."""
    diary = Diary()
    async with talk(websocket(diary.endpoint), replay=True, backend=MemoryBackend()) as one:
        other = other_process(one, websocket(diary.endpoint))
        await one.connect()
        for number, client in enumerate((one, other, one, other), 1):
            await client.say(f"m{number}")
        assert one.frames == ["1 m1", "2 m2", "3 m3", "4 m4"]
        assert diary.calls == 4
        assert (
            [end for end in diary.ends if end[2]]
            == diary.ends
            == [
                ("finally", 1, True),
                ("finally", 2, True),
            ]
        )
        await other.leave()
        assert diary.ends[2:] == [("client", 4, False), ("finally", 4, False)]
        await other.handler.aclose()
    # The other process has kept a run that its connection's end did not reach.
    assert diary.ends[4:] == [("finally", 3, True)]


async def test_the_end_of_a_handler_ends_what_it_keeps_without_effect() -> None:
    """Nothing that an app does as it cleans up reaches the client, or others."""
    raised: list[str] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        try:
            async for text in ws.iter_text():
                await ws.send_text(text)
        finally:
            raised.append(str(ws.scope["extensions"]["longwire"]["replaying"]))
            await ws.send_text("bye")
            await Connections().send(ws.scope["extensions"]["longwire"]["connection_id"], "bye")
            await ws.close()

    async with talk(websocket(app), replay=True) as client:
        await client.connect()
        await client.say("a")
        await client.handler.aclose()
        assert client.frames == ["a"]
        assert not client.deleted
        assert raised == ["True"]
        # It goes on from the journal.
        await client.say("b")
        assert client.frames == ["a", "b"]


@pytest.mark.parametrize("limit", ["MOST_RUNS", "MOST_SIZE", "MOST_AGE"])
async def test_kept_runs_are_bounded(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their number, by the size of their messages and by their age; the oldest go."""
    small: dict[str, float] = {"MOST_RUNS": 3, "MOST_SIZE": 1500, "MOST_AGE": -1.0}
    monkeypatch.setattr(kept_runs, limit, small[limit])
    diary = Diary()
    async with talk(websocket(diary.endpoint), replay=True) as first:
        clients = [first, *(first.another() for _ in range(7))]
        for client in clients:
            await client.connect()
            await client.say("x" * 200)
        ended = len(diary.ends)
        assert 3 <= ended <= 16
        assert all(replaying for _, _, replaying in diary.ends)
        for client in clients:
            await client.say("b")
            assert client.frames[1:] == ["2 b"]


EVENT: contextvars.ContextVar[str] = contextvars.ContextVar("event")
OWN: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="")


async def test_a_run_that_goes_on_has_the_context_of_its_new_event() -> None:
    """What is around the handler sets context variables for each event; the app's own stay."""

    async def app(ws: WebSocket) -> None:
        OWN.set("mine")
        await ws.accept()
        queue: asyncio.Queue[str] = asyncio.Queue()

        async def write() -> None:
            while True:
                text = await queue.get()
                body = ws.scope["aws.event"]["body"]
                await ws.send_text(f"{text} {EVENT.get()} {OWN.get()} {body}")

        writer = asyncio.create_task(write())
        try:
            async for text in ws.iter_text():
                await ws.send_text(f"{text} {EVENT.get()} {OWN.get()}")
                queue.put_nowait(text)
        finally:
            writer.cancel()

    async with talk(websocket(app), replay=True) as client:

        async def invoke(name: str, work: Any) -> None:
            EVENT.set(name)
            await work

        await asyncio.create_task(invoke("e0", client.connect()))
        await asyncio.create_task(invoke("e1", client.say("a")))
        await asyncio.create_task(invoke("e2", client.say("b")))
    assert client.frames == ["a e1 mine", "a e1 mine a", "b e2 mine", "b e2 mine b"]


async def test_what_a_kept_run_does_is_counted_into_the_event_that_it_goes_on_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its tasks were made in another event."""
    caplog.set_level(logging.INFO, "longwire")
    async with talk(websocket(Diary().endpoint), replay=True) as client:
        await client.connect()
        for text in "ab":
            await client.say(text)
    counted = [
        (told["phase"], told["posts"], told["store_requests"])
        for told in map(vars, caplog.records)
        if "posts" in told
    ]
    assert counted == [("connect", 0, 1), ("message", 1, 3), ("message", 1, 2)]
    assert event.current.get() is None


async def test_a_timer_that_has_fired_meanwhile_has_its_run_made_anew() -> None:
    """What it did between two events had no effect, and so the next one does not build on it."""
    fired = asyncio.Event()
    calls: list[str] = []

    async def app(ws: WebSocket) -> None:
        calls.append("called")
        seen = 0
        late: list[asyncio.Task[None]] = []

        async def tick() -> None:
            nonlocal seen
            await asyncio.sleep(1.0)
            seen += 100
            fired.set()

        await ws.accept()
        async for text in ws.iter_text():
            seen += 1
            late.append(asyncio.create_task(tick()))
            await ws.send_text(f"{seen} {text}")

    async with talk(websocket(app), replay=True, linger=0.1) as client:
        await client.connect()
        await client.say("a")
        await asyncio.wait_for(fired.wait(), 5)
        await client.say("b")
    assert client.frames == ["1 a", "2 b"]
    assert len(calls) == 2


async def test_a_run_of_another_loop_is_not_gone_on_with() -> None:
    """A handler that is called on several event loops makes the run anew on each."""
    diary = Diary()
    async with talk(websocket(diary.endpoint), replay=True) as client:
        await client.connect()
        await client.say("a")
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.append(asyncio.run(client.say("b"))))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert answers == [OK]
        await client.say("c")
    assert client.frames == ["1 a", "2 b", "3 c"]


async def test_messages_of_one_connection_at_once_are_answered_once_and_in_order() -> None:
    """Where one process handles several events at a time."""
    diary = Diary()
    async with talk(websocket(diary.endpoint), replay=True) as client:
        await client.connect()
        answers = await asyncio.gather(*(client.say(f"m{n}") for n in range(20)))
        assert answers == [OK] * 20
        assert [frame.partition(" ")[0] for frame in client.frames] == [
            str(n) for n in range(1, 21)
        ]
        assert len(set(client.frames)) == 20
        await client.leave()
    assert diary.ends[-2:] == [("client", 20, False), ("finally", 20, False)]


async def test_nothing_is_left_of_connections_that_have_ended() -> None:
    """Neither runs, nor tasks, nor entries of a journal."""
    backend = MemoryBackend()
    async with talk(websocket(Diary().endpoint), replay=True, backend=backend) as first:
        tasks = 0
        for number in range(50):
            client = first.another()
            await client.connect()
            await client.say("a")
            await client.leave()
            if number == 0:
                tasks = len(asyncio.all_tasks())
        assert len(asyncio.all_tasks()) == tasks
        assert backend._journals == {}
        runs = first.handler._kept_runs
        assert runs is not None
        assert (runs._runs, runs._size, runs._at_work) == ({}, 0, {})
    gc.collect()


class SlowToRest(MemoryBackend):
    """Who appends the end of a turn hears of it only when the next message has come."""

    def __init__(self) -> None:
        super().__init__()
        self.rested, self.next_came = asyncio.Event(), asyncio.Event()

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        appended = await super().append(connection_id, position, value, expires_at)
        if '"R"' in value:
            self.rested.set()
            await self.next_came.wait()
        elif '"b"' in value:
            self.next_came.set()
        return appended


async def test_a_message_that_comes_as_a_turn_ends_goes_on_with_its_run() -> None:
    """Its event is the next one in the process before the run of the one before is kept."""
    diary = Diary()
    backend = SlowToRest()
    async with talk(websocket(diary.endpoint), replay=True, backend=backend) as client:
        await client.connect()
        first = asyncio.create_task(client.say("a"))
        await backend.rested.wait()
        assert await client.say("b") == OK
        assert await first == OK
        await client.leave()
    assert client.frames == ["1 a", "2 b"]
    assert diary.calls == 1
    assert diary.ends == [("client", 2, False), ("finally", 2, False)]


async def test_a_run_is_kept_though_its_loop_is_busy() -> None:
    """Many callbacks of others are due when its next message comes."""
    diary = Diary()

    def again() -> None:
        if not over:
            asyncio.get_running_loop().call_soon(again)

    over = False
    async with talk(websocket(diary.endpoint), replay=True) as client:
        await client.connect()
        for _ in range(200):
            again()
        assert await client.say("a") == OK
        over = True
        await client.leave()
    assert diary.calls == 1


async def test_a_task_that_waits_for_a_later_message_is_not_said_to_be_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It lives on, also in another process."""

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        texts: asyncio.Queue[str] = asyncio.Queue()

        async def answer() -> None:
            while True:
                await ws.send_text(await texts.get())

        await ws.receive_text()
        answering = asyncio.create_task(answer())
        async for text in ws.iter_text():
            texts.put_nowait(text)
        answering.cancel()

    async with talk(websocket(app), replay=True, backend=MemoryBackend()) as client:
        await client.connect()
        await client.say("begin")
        await client.say("a")
        other = other_process(client, websocket(app))
        await other.say("b")
        await other.leave()
        assert client.frames == ["a", "b"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_that_is_gone_before_its_greeting_is_told_once(tmp_path: Path) -> None:
    """The run of the handshake is kept by then; who finds out has more to do before it tells."""
    told: list[tuple[str, bool]] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        connection_id = ws.scope["extensions"]["longwire"]["connection_id"]
        await Connections().group_add("room", connection_id)
        await ws.send_text("hello")
        message = await ws.receive()
        told.append((message["type"], ws.scope["extensions"]["longwire"]["replaying"]))

    store = {"backend": "sqlite3", "params": {"file_path": str(tmp_path / "file")}}
    async with talk(websocket(app), replay=True, **store) as client:
        assert await client.handler.handle(connect_event(client.connection_id), LambdaContext())
        await client.handler._deferred.wait()
    assert told == [("websocket.disconnect", False)]


class SlowToTake(MemoryBackend):
    """Who appends a message hears of it when a timer of the app's has fired."""

    fired: asyncio.Event | None = None

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        appended = await super().append(connection_id, position, value, expires_at)
        if '"b"' in value and self.fired is not None:
            await self.fired.wait()
        return appended


async def test_a_run_that_moves_while_the_store_is_at_work_is_made_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The turn is taken by then, and the message is given to the run that is made."""
    backend = SlowToTake()
    calls = 0

    async def app(ws: WebSocket) -> None:
        nonlocal calls
        calls += 1
        count = 0

        async def tick() -> None:
            nonlocal count
            await asyncio.sleep(1.0)
            if backend.fired is not None:
                backend.fired.set()
            count += 100

        await ws.accept()
        ticking = asyncio.create_task(tick())
        async for text in ws.iter_text():
            count += 1
            await ws.send_text(f"{count} {text}")
        await ticking

    async with talk(websocket(app), replay=True, backend=backend, linger=0.05) as client:
        await client.connect()
        await client.say("a")
        backend.fired = asyncio.Event()
        assert await asyncio.wait_for(client.say("b"), 10) == OK
        await client.leave()
    assert client.frames == ["1 a", "2 b"]
    assert calls == 2
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_app_may_change_the_messages_that_it_receives() -> None:
    """A run that is made anew is given them as they were."""
    backend = SlowToTake()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})

        async def tick() -> None:
            await asyncio.sleep(1.0)
            if backend.fired is not None:
                backend.fired.set()

        ticking = asyncio.create_task(tick())
        texts: list[str] = []
        while (message := await receive())["type"] == "websocket.receive":
            texts.append(message["text"])
            message.clear()
            await send({"type": "websocket.send", "text": " ".join(texts)})
        await ticking

    async with talk(app, replay=True, backend=backend, linger=0.05) as client:
        await client.connect()
        await client.say("a")
        backend.fired = asyncio.Event()
        assert await asyncio.wait_for(client.say("b"), 10) == OK
        await client.leave()
    assert client.frames == ["a", "a b"]


async def test_a_turn_that_was_taken_as_the_connection_ended_is_given_up() -> None:
    """Whoever has taken the record waits for it, to tell the app."""
    backend = SlowToTake()

    async def app(ws: WebSocket) -> None:
        async def tick() -> None:
            await asyncio.sleep(1.0)
            if backend.fired is not None:
                await backend.take("c-1")
                backend.fired.set()

        await ws.accept()
        ticking = asyncio.create_task(tick())
        async for _ in ws.iter_text():
            pass
        await ticking

    async with talk(websocket(app), replay=True, backend=backend, linger=0.05) as client:
        client.connection_id = "c-1"
        await client.connect()
        await client.say("a")
        backend.fired = asyncio.Event()
        await asyncio.wait_for(client.say("b"), 10)
    conversation = Conversation()
    conversation.add_all(await backend.journal("c-1"))
    assert (conversation.waiting, conversation.owner) == (0, "")


async def test_a_run_that_ends_with_its_loop_only_cleans_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever calls a handler by `asyncio.run` has each event's loop cancel what is kept on it."""
    ends: list[tuple[str, int, bool, bool]] = []

    async def app(ws: WebSocket) -> None:
        await ws.accept()
        count, texts = 0, asyncio.Queue[str]()

        async def write() -> None:
            try:
                await texts.get()
            finally:
                await asyncio.sleep(0.01)
                ends.append(("writer", count, Diary._replaying(ws), is_event_end()))

        writer = asyncio.create_task(write())
        try:
            async for text in ws.iter_text():
                count += 1
                await ws.send_text(f"{count} {text}")
            texts.put_nowait("")
            await writer
        finally:
            await ws.send_text("bye")
            ends.append(("app", count, Diary._replaying(ws), is_event_end()))

    async with talk(websocket(app), replay=True) as client:
        await client.connect()
        assert await asyncio.to_thread(asyncio.run, client.say("a")) == OK
        # That of the handshake ends on its own loop meanwhile.
        while len(ends) < 4:
            await asyncio.sleep(0.01)
    for count in (0, 1):
        ended = [end for end in ends if end[1] == count]
        assert ended == [("app", count, True, True), ("writer", count, True, True)]
    assert client.frames == ["1 a"]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
