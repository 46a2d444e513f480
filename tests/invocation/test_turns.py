"""Messages of one connection in many processes at once, with `replay`: in turn, and once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from longwire import Connections, Longwire
from longwire.channels import ChannelLayer
from longwire.exceptions import BackendError, DeadlineError
from longwire.invocation import replay
from longwire.invocation.conversing import Conversing
from longwire.invocation.kept_runs import KeptRuns
from longwire.replay import journal, turn
from longwire_backends.memory import MemoryBackend
from longwire_backends.sqlite3.backend import SQLite3Backend
from tests.lambda_events import LambdaContext, connect_event, message_event
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from longwire_backends import Backend, Record

pytestmark = pytest.mark.anyio


def at_work(client: Talk) -> Conversing:
    """Return what has the turn of a client's connection in its process."""
    runs = client.handler._kept_runs
    assert runs is not None
    found = runs._at_work[client.connection_id]
    assert isinstance(found, Conversing)
    return found


class Counter:
    """Numbers its replies, by a local variable, and notes what it was given with effect."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.ends = 0
        self.known_at_end: list[str] = []
        self.busy: Callable[[str], Any] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        extension = scope["extensions"]["longwire"]
        await receive()
        await send({"type": "websocket.accept"})
        number = 0
        known = []
        while (message := await receive())["type"] == "websocket.receive":
            text = message["text"]
            known.append(text)
            if not extension["replaying"]:
                self.handled.append(text)
            if self.busy is not None:
                await self.busy(text)
            if text == "close":
                await send({"type": "websocket.close"})
                return
            number += 1
            await send({"type": "websocket.send", "text": f"{text} {number}"})
        if not extension["replaying"]:
            self.ends += 1
            self.known_at_end = known


@contextlib.asynccontextmanager
async def processes(
    app: Any, count: int, backends: Sequence[Backend] = (), **ws_config: Any
) -> AsyncIterator[list[Talk]]:
    """Run so many handlers with one store, and return one client as each of them sees it."""
    stores = backends or [MemoryBackend()]
    async with talk(app, backend=stores[0], replay=True, **ws_config) as first:
        settings: Any = {"api_gateway_endpoint_url": first.server.url, "replay": True, **ws_config}
        handlers = [
            Longwire(app, ws_config=settings | {"backend": stores[number % len(stores)]})
            for number in range(1, count)
        ]
        others = [Talk(one, first.server, first.connection_id, first.seconds) for one in handlers]
        try:
            yield [first, *others]
        finally:
            for one in handlers:
                await one.aclose()


def _numbered(texts: Sequence[str]) -> list[str]:
    return [f"{text} {number}" for number, text in enumerate(texts, 1)]


async def _burst(of: Sequence[Talk], app: Counter) -> None:
    await of[0].connect()
    answers = await asyncio.gather(*(of[n % len(of)].say(f"m{n}") for n in range(20)))

    assert answers == [{"statusCode": 200}] * 20
    assert sorted(app.handled) == sorted(f"m{n}" for n in range(20))
    await of[0].until(*_numbered(app.handled))
    await of[3 % len(of)].say("last")
    await of[0].until(*_numbered([*app.handled]))
    assert app.handled[-1] == "last"


@pytest.mark.parametrize("count", [1, 2, 6])
async def test_a_burst_of_twenty_messages_has_its_effects_twenty_times_in_order(count: int) -> None:
    app = Counter()
    async with processes(app, count) as all_of_them:
        await _burst(all_of_them, app)
        await all_of_them[-1].leave()
        assert app.ends == 1


async def test_so_it_is_with_two_connections_to_a_file(tmp_path: Path) -> None:
    app = Counter()
    stores = [SQLite3Backend(tmp_path / "turns.sqlite3") for _ in range(2)]
    async with processes(app, 6, stores) as all_of_them:
        await _burst(all_of_them, app)
    await stores[1].close()


async def test_slow_messages_in_parallel_keep_their_order() -> None:
    app = Counter()
    app.busy = lambda text: asyncio.sleep(0.02)
    async with processes(app, 4) as all_of_them:
        await _burst(all_of_them, app)


async def test_a_stop_reaches_the_stream_of_another_process() -> None:
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        streaming: asyncio.Task[None] | None = None

        async def go_on() -> None:
            while True:
                await send({"type": "websocket.send", "text": "piece"})
                await asyncio.sleep(0.01)

        while (message := await receive())["type"] == "websocket.receive":
            if message["text"] == "start":
                streaming = asyncio.create_task(go_on())
            elif streaming is not None:
                streaming.cancel()
                await send({"type": "websocket.send", "text": "stopped"})

    async with processes(stream, 2) as (first, second):
        await first.connect()
        starting = asyncio.create_task(first.say("start"))
        await first.server.until(lambda: first.frames.count("piece") > 3)
        assert await second.say("stop") == {"statusCode": 200}
        assert await starting == {"statusCode": 200}
        await first.server.until(lambda: first.frames[-1] == "stopped")
        assert first.frames.count("stopped") == 1


async def test_calls_that_the_client_answers_late_hold_no_replay_up() -> None:
    """Each is waited for in its own event, and the journal says that nothing has moved there."""

    async def agent(scope: Any, receive: Any, send: Any) -> None:
        answers: dict[str, asyncio.Future[None]] = {}
        asking: set[asyncio.Task[None]] = set()

        async def ask(name: str) -> None:
            answers[name] = asyncio.get_running_loop().create_future()
            await send({"type": "websocket.send", "text": f"may I {name}?"})
            await answers[name]
            await send({"type": "websocket.send", "text": f"{name} is done"})

        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            word, _, name = message["text"].partition(" ")
            if word == "yes":
                answers.pop(name).set_result(None)
            else:
                asking.add(asyncio.create_task(ask(name)))

    store = MemoryBackend()
    async with processes(agent, 2, [store], linger=0.1) as (first, second):
        await first.connect()
        await first.say("do this")
        await second.say("do that")
        await first.say("yes this")
        await second.say("yes that")
        await first.until("may I this?", "may I that?", "this is done", "that is done")
        entries = [json.loads(entry) for entry in await store.journal(first.connection_id)]
        assert [rest[4] for rest in entries if rest[1] == "R"] == ["still"] * 3 + ["parked"]


async def test_what_a_writer_still_does_in_a_replay_is_not_sent_again() -> None:
    """Two messages come at the same time, and each is answered by a task that asks somebody."""

    class Somebody:
        async def ask(self) -> None:
            await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    async def reader_and_writer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        texts: asyncio.Queue[str] = asyncio.Queue()

        async def write() -> None:
            while True:
                text = await texts.get()
                for _ in range(5):
                    await Somebody().ask()
                await send({"type": "websocket.send", "text": text})

        writer = asyncio.create_task(write())
        while (message := await receive())["type"] == "websocket.receive":
            texts.put_nowait(message["text"])
        writer.cancel()

    async with processes(reader_and_writer, 3) as (first, second, third):
        await first.connect()
        for number in range(4):
            await asyncio.gather(*(one.say(f"m{number}{one is first}") for one in (first, second)))
            await third.say(f"n{number}")
        assert len(first.frames) == 12
        assert len(set(first.frames)) == 12


# A store that fails


class Failing(MemoryBackend):
    """Fails for so many appends of entries of one kind."""

    def __init__(self, kind: str, times: int) -> None:
        super().__init__()
        self.kind = kind
        self.times = times

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        if f'"{self.kind}"' in value[:8] and self.times:
            self.times -= 1
            raise BackendError(self.name, "append", "fails")
        return await super().append(connection_id, position, value, expires_at)


async def test_a_message_that_was_answered_is_no_error_though_its_end_was_not_noted() -> None:
    app = Counter()
    async with processes(app, 1, [Failing(journal.REST, 2)]) as (one,):
        await one.connect()
        assert await one.say("a") == {"statusCode": 200}
        assert await one.say("b") == {"statusCode": 200}
        assert app.handled == ["a", "b"]
        await one.until("a 1", "b 2")


class SlowToFind(MemoryBackend):
    """Loses its answer to the end of a turn, and is slow to say what has been written."""

    def __init__(self) -> None:
        super().__init__()
        self.is_lost, self.asked, self.go_on = False, asyncio.Event(), asyncio.Event()

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        done = await super().append(connection_id, position, value, expires_at)
        if f'"{journal.REST}"' in value[:8] and not self.is_lost:
            self.is_lost = True
            raise BackendError(self.name, "append", "its answer is lost")
        return done

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        if self.is_lost and not self.asked.is_set():
            self.asked.set()
            await self.go_on.wait()
        return await super().journal(connection_id, after=after)


@pytest.mark.parametrize("knows", [0, 1], ids=["kept run", "another process"])
async def test_a_run_that_knows_late_of_its_turns_end_is_not_gone_on_with(knows: int) -> None:
    """Another process has handled a message in between, which is not handled once more."""
    app, store = Counter(), SlowToFind()
    async with processes(app, 2, [store]) as both:
        first, second = both
        await first.connect()
        saying = asyncio.create_task(first.say("a"))
        await store.asked.wait()
        await second.say("b")
        store.go_on.set()
        assert await saying == {"statusCode": 200}
        await both[knows].say("c")
        await first.until("a 1", "b 2", "c 3")
        assert app.handled == ["a", "b", "c"]


async def test_a_message_that_was_not_noted_is_an_error_and_has_no_effect() -> None:
    app = Counter()
    async with processes(app, 1, [Failing(journal.MESSAGE, 1)]) as (one,):
        await one.connect()
        with pytest.raises(BackendError):
            await one.say("a")
        assert app.handled == []
        await one.say("b")
        await one.until("b 1")


async def test_an_end_whose_journal_is_damaged_is_logged_and_answered(caplog: Any) -> None:
    app = Counter()
    store = MemoryBackend()
    async with processes(app, 2, [store]) as (first, second):
        await first.connect()
        await first.say("a")
        assert await store.append(first.connection_id, 3, "[1", 1 << 40)
        assert await second.leave() == {"statusCode": 200}
        assert "its end was not told: entry 3 of its journal" in caplog.text
        assert app.ends == 0


class Unread(Failing):
    """Fails for so many reads of a journal, too."""

    reads = 0

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        if self.reads:
            self.reads -= 1
            raise BackendError(self.name, "journal", "fails")
        return await super().journal(connection_id, after=after)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["kept run", "another process"])
async def test_an_end_is_told_though_the_store_fails_for_a_moment(elsewhere: bool) -> None:
    """Its event has taken the record: nobody else would tell the app."""
    app, store = Counter(), Unread(journal.MESSAGE, 0)
    async with processes(app, 2, [store]) as (first, second):
        await first.connect()
        await first.say("a")
        store.times, store.reads = 2, 2
        assert await (second if elsewhere else first).leave() == {"statusCode": 200}
        assert app.ends == 1
        assert await store.journal(first.connection_id) == ()


class SlowToNote(MemoryBackend):
    """Waits before it appends anything, as for a process that is stopped."""

    go_on: asyncio.Event | None = None

    def __init__(self) -> None:
        super().__init__()
        self.waits = asyncio.Event()

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        if self.go_on is not None:
            self.waits.set()
            await self.go_on.wait()
        return await super().append(connection_id, position, value, expires_at)


@pytest.mark.parametrize("by", [0, 1], ids=["kept run", "another process"])
async def test_a_message_that_stood_still_until_the_end_is_not_given(
    monkeypatch: pytest.MonkeyPatch, by: int
) -> None:
    """The journal is gone by then, so that its entry is the first one."""
    monkeypatch.setattr(replay, "STOOD_STILL", 0.0)
    app, store = Counter(), SlowToNote()
    async with processes(app, 2, [store]) as both:
        first = both[0]
        await first.connect()
        store.go_on = asyncio.Event()
        saying = asyncio.create_task(both[by].say("late"))
        await store.waits.wait()
        assert await store.take(first.connection_id)  # as the event of the end does
        store.go_on.set()
        assert await saying == {"statusCode": 200}
        assert app.handled == []
        assert await store.journal(first.connection_id) == ()


class SlowToTake(SlowToNote):
    """Answers who takes a record late, too."""

    def __init__(self) -> None:
        super().__init__()
        self.is_taken, self.answers = asyncio.Event(), asyncio.Event()

    async def take(self, connection_id: str) -> Record | None:
        record = await super().take(connection_id)
        self.is_taken.set()
        await self.answers.wait()
        return record


@pytest.mark.parametrize("earlier", [["a"], []], ids=["later", "first"])
async def test_a_message_that_stood_still_leaves_the_journal_to_who_tells_the_end(
    monkeypatch: pytest.MonkeyPatch, earlier: list[str]
) -> None:
    """Its event finds no record, while that of the end has yet to read the journal."""
    monkeypatch.setattr(replay, "STOOD_STILL", 0.0)
    app, store = Counter(), SlowToTake()
    async with processes(app, 3, [store]) as (first, second, third):
        await first.connect()
        for text in earlier:
            await first.say(text)
        store.go_on = asyncio.Event()
        saying = asyncio.create_task(second.say("late"))
        await store.waits.wait()
        leaving = asyncio.create_task(third.leave())
        await store.is_taken.wait()
        store.go_on.set()
        assert await saying == {"statusCode": 200}
        store.answers.set()
        assert await leaving == {"statusCode": 200}
        assert app.handled == earlier
        assert app.known_at_end[: len(earlier)] == earlier
        assert app.ends == 1
        assert await store.journal(first.connection_id) == ()


async def test_a_message_whose_journal_is_damaged_ends_the_connection(caplog: Any) -> None:
    app = Counter()
    store = MemoryBackend()
    async with processes(app, 1, [store]) as (one,):
        await one.connect()
        await one.say("a")
        assert await store.append(one.connection_id, 3, "[1", 1 << 40)
        assert await one.say("b") == {"statusCode": 200}
        await one.until_deleted()
        assert "entry 3 of its journal is not one of ours" in caplog.text
        assert app.handled == ["a"]


# Who waits


async def test_a_message_waits_until_the_app_has_received_the_one_before() -> None:
    app = Counter()
    begun, done = asyncio.Event(), asyncio.Event()

    async def busy(text: str) -> None:
        begun.set()
        await done.wait()

    app.busy = busy
    async with processes(app, 2) as (first, second):
        await first.connect()
        saying = asyncio.create_task(first.say("a"))
        await begun.wait()
        assert await second.say("b") == {"statusCode": 200}  # the app receives it next
        also = asyncio.create_task(second.say("c"))
        await asyncio.wait([also], timeout=0.5)
        assert not also.done()
        assert app.handled == ["a"]
        done.set()
        assert await saying == await also == {"statusCode": 200}
        await first.until("a 1", "b 2", "c 3")


@pytest.mark.parametrize("count", [1, 3])
async def test_no_message_is_answered_that_the_app_has_not_got(count: int) -> None:
    """Whoever has no time left for the others leaves them to their own events."""
    app = Counter()
    app.busy = lambda text: asyncio.sleep(0.3)
    async with processes(app, count) as all_of_them:
        for one in all_of_them:
            one.seconds = 1.5
        await all_of_them[0].connect()
        saying = [all_of_them[n % count].say(f"m{n}") for n in range(8)]
        answers = await asyncio.gather(*saying, return_exceptions=True)

    answered = {f"m{n}" for n, answer in enumerate(answers) if answer == {"statusCode": 200}}
    assert all(isinstance(one, (dict, DeadlineError)) for one in answers)
    # But for one that a run may have had, and not received, when its time was up.
    assert len(answered - set(app.handled)) <= 2
    assert len(app.handled) == len(set(app.handled))


async def test_whose_turn_never_comes_is_told() -> None:
    store = MemoryBackend()
    async with processes(Counter(), 1, [store]) as (one,):
        await one.connect()
        message = journal.Told(1, {"type": "websocket.receive", "text": "a"})
        for number in range(2):  # somebody renews a turn, and gives nothing
            entry = journal.message_entry(f"x{number}", 1e12 * (not number), message).text
            assert await store.append(one.connection_id, number + 1, entry, 1 << 40)
        with pytest.raises(DeadlineError):
            await one.handler.handle(message_event("b", one.connection_id), LambdaContext(1.0))


# Kept runs


async def test_a_kept_run_does_not_outlive_its_record() -> None:
    app, store = Counter(), MemoryBackend()
    async with processes(app, 1, [store]) as (one,):
        await one.connect()
        await one.say("a")
        runs = one.handler._kept_runs
        assert runs is not None
        kept = runs.take(one.connection_id)
        assert kept is not None
        await runs.put(one.connection_id, kept._replace(expires_at=1))
        assert await store.take(one.connection_id) is not None
        await store.drop_journal(one.connection_id)

        await one.say("b")
        assert app.handled == ["a"]
        await one.until_deleted()


async def test_a_run_that_was_kept_at_first_knows_that_its_connection_has_ended() -> None:
    app = Counter()
    async with processes(app, 2) as (first, second):
        await first.connect()
        await second.say("close")
        await first.until_deleted()
        await first.say("late")
        assert app.handled == ["close"]
        assert first.handler._kept_runs is not None
        assert first.handler._kept_runs.take(first.connection_id) is None


async def test_a_client_that_api_gateway_does_not_know_yet_is_not_gone() -> None:
    app = Counter()
    async with processes(app, 1) as (one,):
        await one.connect()
        one.vanish()
        saying = asyncio.create_task(one.say("a"))
        await one.server.until(lambda: any(method == "POST" for method, *_ in one.server.requests))
        one.server.known.add(one.connection_id)
        await saying
        await one.until("a 1")
        assert app.ends == 0


async def test_of_two_runs_that_are_kept_at_once_the_later_stays_and_the_other_is_ended() -> None:
    app = Counter()
    async with processes(app, 2) as (first, second):
        await first.connect()
        await first.say("a")
        await second.say("b")
        runs, others = first.handler._kept_runs, second.handler._kept_runs
        assert runs is not None
        assert others is not None
        older, newer = runs.take(first.connection_id), others.take(first.connection_id)
        assert older is not None
        assert newer is not None
        both = KeptRuns()
        await both.put("x", older)
        await asyncio.gather(both.put("x", newer), both.put("x", newer))
        assert older.run.unwinding
        assert both.take("x") is newer
        assert both._size == 0
        await both.put("x", newer)
        await both.end_all()


async def test_a_record_that_was_written_slowly_makes_nobody_gone() -> None:
    """What the record says of the response was long ago when the client could speak first."""

    class Slow(MemoryBackend):
        async def put(self, connection_id: str, value: str, expires_at: int) -> str:
            await asyncio.sleep(0.6)
            return await super().put(connection_id, value, expires_at)

    app = Counter()
    async with processes(app, 2, [Slow()]) as both:
        await both[0].connect()
        both[0].vanish()
        event = message_event("a", both[0].connection_id)
        event["requestContext"]["requestTimeEpoch"] = int(time.time() * 1000)
        saying = asyncio.create_task(both[1].handler.handle(event, LambdaContext(20.0)))
        await both[0].server.until(
            lambda: any(method == "POST" for method, *_ in both[0].server.requests)
        )
        both[0].server.known.add(both[0].connection_id)
        await saying
        await both[0].until("a 1")
        assert app.ends == 0


async def test_a_reply_that_comes_after_its_turn_was_taken_over_is_an_error() -> None:
    """Its process was stopped meanwhile: nothing leaves it any more, and the client is told."""
    app = Counter()
    begun, done = asyncio.Event(), asyncio.Event()

    async def busy(text: str) -> None:
        if text == "a" and not begun.is_set():
            begun.set()
            await done.wait()

    app.busy = busy
    store = MemoryBackend()
    async with processes(app, 2, [store]) as (first, second):
        await first.connect()
        saying = asyncio.create_task(first.say("a"))
        await begun.wait()
        async with at_work(first).turn._appending:  # as if its process stood still
            assert await second.say("b") == {"statusCode": 200}
            done.set()
        with pytest.raises(DeadlineError):
            await saying
        await first.until("b 2")
        assert app.handled == ["a", "b"]


async def test_a_connect_step_that_has_lost_its_turn_sends_no_reply() -> None:
    """It goes on behind its response, and has been given a message."""
    app = Counter()
    begun, done = asyncio.Event(), asyncio.Event()

    async def busy(text: str) -> None:
        if text == "a" and not begun.is_set():
            begun.set()
            await done.wait()

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.05)

    async def ticking(scope: Any, receive: Any, send: Any) -> None:
        ticker = asyncio.create_task(tick())
        try:
            await app(scope, receive, send)
        finally:
            ticker.cancel()

    app.busy = busy
    async with processes(ticking, 2, linger=1.0) as (first, second):
        await first.connect()
        assert await first.say("a") == {"statusCode": 200}  # the connect step's run has it
        await begun.wait()
        async with at_work(first).turn._appending:  # as if its process stood still
            assert await second.say("b") == {"statusCode": 200}
            done.set()
        await first.handler._deferred.wait()
        assert first.frames == ["b 2"]


class _SlowRest(MemoryBackend):
    """Takes its time for the end of a turn."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.rested = asyncio.Event()
        self._seconds = seconds

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        if f',"{journal.REST}",' in value:
            await asyncio.sleep(self._seconds)
            self.rested.set()
        return await super().append(connection_id, position, value, expires_at)


async def test_what_an_app_would_send_while_its_turn_is_given_up_is_sent_once() -> None:
    """Its process is shut down behind the response, before the client could be greeted."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def tick() -> None:
            for number in range(4):
                await asyncio.sleep(0.05)
                await send({"type": "websocket.send", "text": f"tick {number}"})

        await receive()
        await send({"type": "websocket.accept"})
        ticking = asyncio.create_task(tick())
        try:
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})
        finally:
            ticking.cancel()

    async with processes(app, 2, [_SlowRest(0.15)], linger=1.0) as (first, second):
        connecting = connect_event(first.connection_id)
        assert await first.handler.handle(connecting, LambdaContext()) == {"statusCode": 200}
        await first.handler.aclose()
        first.server.known.add(first.connection_id)
        assert await second.say("a") == {"statusCode": 200}
    assert sorted(first.frames) == ["a", "tick 0", "tick 1", "tick 2", "tick 3"]


async def _clean_up(met: list[str], begins: asyncio.Event) -> None:
    """Do what takes an app that is cancelled some turns of the event loop."""
    met.append("cancelled")
    try:
        await begins.wait()
        for _ in range(8):
            await asyncio.sleep(0)
        met.append("cleaned up")
    except asyncio.CancelledError:
        met.append("cancelled again")


async def test_an_app_whose_turn_is_given_up_is_cancelled_once() -> None:
    """So it cleans up as without `replay`."""
    store = _SlowRest(0.02)
    met: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await _clean_up(met, store.rested)
            raise

    async with processes(app, 1, [store]) as (client,):
        await client.connect()
        client.seconds = 1.5
        await client.say("a")
    assert met == ["cancelled", "cleaned up"]


async def test_an_app_that_has_lost_its_turn_is_cancelled_once() -> None:
    """It learns so from what it sends."""
    met: list[str] = []
    begun, resumed = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        begun.set()
        try:
            await resumed.wait()
            await send({"type": "websocket.send", "text": "late"})
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await _clean_up(met, resumed)
            raise

    async with processes(app, 1) as (client,):
        await client.connect()
        saying = asyncio.create_task(client.say("a"))
        await begun.wait()
        turn_of_it = at_work(client).turn
        turn_of_it.conversation.owner = "somebody else's"
        turn_of_it._until = 0.0
        resumed.set()
        await asyncio.gather(saying, return_exceptions=True)
    assert met == ["cancelled", "cleaned up"]


def is_attended(client: Talk) -> bool:
    runs = client.handler._kept_runs
    if runs is None or client.connection_id not in runs._at_work:
        return False
    attendant = at_work(client)._attendant
    return attendant is not None and attendant._task is not None


async def test_long_turns_on_two_event_loops_are_looked_after_each_on_its_own() -> None:
    """A handler may be called on several; messages reach the coroutine on its loop."""
    app = Counter()
    both = threading.Barrier(2)
    over = threading.Event()

    async def busy(text: str) -> None:
        while text == "long" and not over.is_set():
            await asyncio.sleep(0.01)

    async def talk_on(clients: Sequence[Talk]) -> list[Any]:
        both.wait(30)
        return await asyncio.gather(*(client.say("long") for client in clients))

    app.busy = busy
    async with processes(app, 1) as (first,):
        clients = [first.another() for _ in range(6)]
        for client in clients:
            await client.connect()
        asking = [
            asyncio.create_task(asyncio.to_thread(asyncio.run, talk_on(clients[start : start + 3])))
            for start in (0, 3)
        ]
        while not all(map(is_attended, clients)):
            await asyncio.sleep(0.01)
        more = [asyncio.create_task(client.say("more")) for client in clients]
        await asyncio.sleep(0.1)
        over.set()
        for task in (*asking, *more):
            await task
        for client in clients:
            assert client.frames == ["long 1", "more 2"]


async def test_an_end_whose_turn_was_taken_over_leaves_the_journal_to_who_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn, "LEASE_TIME", 0.1)
    app, store = Counter(), MemoryBackend()
    blocked = asyncio.Event()

    async def busy(text: str) -> None:
        if app.handled == ["a", "b"]:  # it is a replay
            blocked.set()
            await asyncio.get_running_loop().create_future()

    async with processes(app, 2, [store]) as (first, second):
        await first.connect()
        await first.say("a")
        await first.say("b")
        app.busy = busy
        leaving = asyncio.create_task(second.leave())
        await blocked.wait()
        entries = await store.journal(first.connection_id)
        taken = journal.lease_entry("other", 2.0**32, 3).text
        assert await store.append(first.connection_id, len(entries) + 1, taken, 1 << 40)
        assert await leaving == {"statusCode": 200}
        assert len(await store.journal(first.connection_id)) == len(entries) + 1
        assert app.ends == 0


async def test_what_was_streamed_before_a_turn_was_taken_over_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (turn, journal):
        monkeypatch.setattr(module, "LEASE_TIME", 0.3)

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

        async def go_on() -> None:
            for number in range(40):
                await send({"type": "websocket.send", "text": f"piece {number}"})
                await asyncio.sleep(0.02)

        streaming = None
        while (message := await receive())["type"] == "websocket.receive":
            streaming = streaming or asyncio.create_task(go_on())
            await send({"type": "websocket.send", "text": message["text"]})

    async with processes(stream, 2) as (first, second):
        await first.connect()
        starting = asyncio.create_task(first.say("go"))
        await first.server.until(lambda: len(first.frames) > 3)
        # As if it stood still, but for what it sends within its lease.
        async with at_work(first).turn._appending:
            assert await second.say("x") == {"statusCode": 200}
        with pytest.raises(DeadlineError):
            await starting
        assert "x" in first.frames
        assert len(first.frames) == len(set(first.frames))


@pytest.mark.parametrize(
    "act", ["send", "group_send", "group_add", "layer", "close", "close itself", "return"]
)
async def test_who_has_lost_its_turn_does_nothing_more(
    act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process that stood still for longer than its lease: another event has gone on."""
    for module in (turn, journal):
        monkeypatch.setattr(module, "LEASE_TIME", 0.3)
    connections = Connections()
    begun, resumed, reached = asyncio.Event(), asyncio.Event(), []
    owners = []
    acts: dict[str, Callable[[Any, Any], Any]] = {
        "send": lambda scope, send: connections.send(scope, "late"),
        "group_send": lambda scope, send: connections.group_send("room", "late"),
        "group_add": lambda scope, send: connections.group_add("late", scope),
        "layer": lambda scope, send: ChannelLayer().group_send("room", {"type": "late"}),
        "close": lambda scope, send: connections.close(scope),
        "close itself": lambda scope, send: send({"type": "websocket.close"}),
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await connections.group_add("room", scope)
        while (await receive())["type"] == "websocket.receive":
            if scope["extensions"]["longwire"]["replaying"]:
                continue
            owners.append(asyncio.current_task())
            if len(owners) > 1:
                await send({"type": "websocket.send", "text": "from the other"})
                continue
            begun.set()
            try:
                await resumed.wait()
                if act == "return":
                    return reached.append("cancelled")
                await acts[act](scope, send)
                reached.append("done")
            except asyncio.CancelledError:
                reached.append("cancelled")
                raise

    store = MemoryBackend()
    async with processes(app, 2, [store]) as (first, second):
        await first.connect()
        saying = asyncio.create_task(first.say("a"))
        await begun.wait()
        # As if it stood still: it does not look whether its turn is over.
        monkeypatch.setattr(at_work(first)._attendant, "wake", lambda: None)
        async with at_work(first).turn._appending:
            assert await second.say("b") == {"statusCode": 200}
            resumed.set()
            await asyncio.sleep(0)
        with pytest.raises(DeadlineError):
            await saying
        assert reached == ["cancelled"]
        assert first.frames == ["from the other"]
        assert await store.groups(first.connection_id) == ("room",)
        assert not first.deleted


async def test_a_store_that_fails_for_a_moment_ends_no_conversation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lease is over before the app answers, and cannot be renewed at once."""
    monkeypatch.setattr(turn, "LEASE_TIME", 0.4)
    app, store = Counter(), Failing(journal.LEASE, 3)
    app.busy = lambda text: asyncio.sleep(0.6)
    async with processes(app, 1, [store]) as (one,):
        await one.connect()
        assert await one.say("a") == {"statusCode": 200}
        assert await one.say("b") == {"statusCode": 200}
        await one.until("a 1", "b 2")
        assert store.times == 0
        assert not one.deleted
