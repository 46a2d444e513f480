"""Whose turn it is, told by the journal alone: at most one event, whatever stores and clocks do.

Most of it is in simulated time (`tests/campaigns/chaos/clock.py`), so no test waits for a lease.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from longwire.exceptions import BackendError, DeadlineError, StoredRecordError
from longwire.registry.store import Store
from longwire.replay import journal
from longwire.replay.attendant import Attendant
from longwire.replay.journal import LEASE_TIME, Conversation, Result, Told
from longwire.replay.turn import Turn, TurnLostError
from longwire_backends.memory import MemoryBackend
from longwire_backends.sqlite3.backend import SQLite3Backend
from tests.campaigns.chaos.clock import Clock, SimulatedLoop, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from longwire_backends import Backend

    Play = Callable[[Coroutine[Any, Any, None]], None]

C = "c="
FAR = 1 << 40


def told(text: str) -> Told:
    return Told(1, {"type": "websocket.receive", "text": text})


class Faulty(MemoryBackend):
    """Does with each append what it is told, in order.

    `lost`: it is done, but its answer is an error. `refused`: an error, and nothing is done.
    `late`: an error, and it is done all the same, before the next request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.appends = 0
        self.takes = 0.0  # seconds for each request
        self._late: tuple[Any, ...] | None = None

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        self.appends += 1
        await self._arrive()
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "late":
            self._late = connection_id, position, value, expires_at
        if fault not in ("late", "refused"):
            done = await super().append(connection_id, position, value, expires_at)
        if fault:
            raise BackendError(self.name, "append", fault)
        return done

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        await asyncio.sleep(self.takes)
        return await super().journal(connection_id, after=after)

    async def _arrive(self) -> None:
        await asyncio.sleep(self.takes)
        if self._late is not None:
            late, self._late = self._late, None
            await super().append(*late)


def turn(backend: Backend, owner: str, seconds: float = 60.0) -> Turn:
    return Turn(Store(backend, time.monotonic() + seconds), C, FAR, owner)


async def take(mine: Turn, text: str, seconds: float = 60.0) -> bool:
    await mine.read()
    return await mine.take(told(text), time.monotonic() + seconds)


async def written(backend: Backend) -> Conversation:
    conversation = Conversation()
    for entry in await backend.journal(C):
        conversation.add(entry)
    return conversation


def texts(conversation: Conversation) -> list[str]:
    return [one.message["text"] for one in conversation.messages]


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Let time pass only while everybody waits; tests begin at 100 s, as 0 means "never"."""
    clock = Clock()
    clock.now = 100.0
    with shown(clock):
        yield clock


@pytest.fixture
def play(clock: Clock) -> Iterator[Play]:
    """Run a coroutine in simulated time."""
    loop = SimulatedLoop(clock)
    yield loop.run_until_complete
    loop.close()
    assert loop.errors == []


def test_a_first_message_takes_the_turn_with_one_append(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")

        assert await take(mine, "one")
        assert store.appends == 1
        assert await mine.begin_next(takes=False) == told("one")
        assert await mine.begin_next(takes=False) is None
        assert await mine.rest(1, how="parked")
        with pytest.raises(TurnLostError):
            await mine.ensure()
        assert (await written(store)).rested == {0: "busy", 1: "parked"}

    play(story())


def test_who_waits_is_told_once_its_message_is_begun_with(play: Play) -> None:
    async def story() -> None:
        store, waiting = Faulty(), []
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        await other.read()
        until = time.monotonic() + 60
        took = asyncio.create_task(other.take(told("two"), until, lambda: waiting.append(1)))
        await asyncio.sleep(0.5)
        assert waiting == [1]
        assert not took.done()

        assert await mine.begin_next(takes=False) == told("one")
        assert await mine.begin_next() is None  # nothing is known of it yet
        assert not await mine.rest(1, how="parked")  # but this is refused, and tells
        assert await mine.begin_next() == told("two")
        assert await took is False
        assert await mine.rest(2, how="parked")
        assert (await written(store)).begun == 2

    play(story())


def test_a_turn_that_is_over_goes_to_the_first_message_that_waits(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        took = asyncio.create_task(take(other, "two"))
        await asyncio.sleep(0.3)
        await mine.read()
        assert await mine.begin_next(takes=False) == told("one")
        assert not await mine.rest(1, how="parked")
        assert await mine.rest(1, how="parked", whoever_waits=True)

        began = time.monotonic()
        assert await took
        assert time.monotonic() - began < 0.5
        assert await other.begin_next(takes=False) == told("two")

    play(story())


def test_a_lease_that_is_over_is_taken_over_once(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        began = time.monotonic()
        others = [turn(store, name) for name in "bcdef"]
        taking = [asyncio.create_task(take(other, other.owner, seconds=5.0)) for other in others]
        done, _ = await asyncio.wait(taking, return_when=asyncio.FIRST_COMPLETED)

        # Whose message it has begun with may learn so at once.
        assert [task.result() for task in done].count(True) == 1
        assert 2.5 < time.monotonic() - began < 3.5
        (first,) = [other for other in others if other.is_ours]
        assert await first.begin_next(takes=False) == told(
            "b"
        )  # whoever it is begins with the first that waits
        assert await first.begin_next() == told("c")
        for task in taking:
            task.cancel()
        await asyncio.wait(taking)

    play(story())


def test_whose_turn_was_taken_over_writes_nothing_any_more(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        assert await mine.begin_next(takes=False) == told("one")
        assert await take(other, "two")
        assert await other.begin_next(takes=False) == told("two")
        before = await store.journal(C)

        for work in (
            mine.renew,
            mine.begin_next,
            mine.ensure,
            lambda: mine.rest(1, how="parked"),
            lambda: mine.keep(Result(1, "key", 1)),
        ):
            with pytest.raises(TurnLostError):
                await work()
        await mine.give_up()
        assert await store.journal(C) == before
        assert await other.rest(2, how="parked")

    play(story())


def test_who_has_read_that_the_turn_is_lost_does_not_take_it_back(play: Play) -> None:
    """Its next entry would not be refused: it knows all that is there."""

    async def story() -> None:
        store = Faulty()
        mine, other, third = turn(store, "a"), turn(store, "b"), turn(store, "c")
        assert await take(mine, "one")
        assert await take(other, "two")
        await third.read()
        assert await third._append(journal.message_entry("c", 0.0, told("three")))
        await mine.read()
        before = await store.journal(C)

        for work in (mine.renew, mine.begin_next, lambda: mine.keep(Result(1, "key", 1))):
            with pytest.raises(TurnLostError):
                await work()
        assert await store.journal(C) == before

    play(story())


def test_a_turn_is_renewed_before_half_of_it_is_over_and_no_sooner(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        await asyncio.sleep(LEASE_TIME / 2 - 0.1)
        await mine.renew()
        assert store.appends == 1
        await asyncio.sleep(0.2)
        await mine.renew()
        assert store.appends == 2
        await asyncio.sleep(LEASE_TIME - 0.1)
        await mine.ensure()
        assert store.appends == 2
        await asyncio.sleep(0.2)
        await mine.ensure()  # nobody else has wanted it
        assert store.appends == 3

    play(story())


def test_what_was_stopped_before_it_gave_its_message_looks_whether_it_still_may(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        await asyncio.sleep(LEASE_TIME + 1)
        assert await mine.begin_next(takes=False) == told("one")  # nobody wanted it meanwhile
        assert await mine.rest(1, how="parked")

        mine.pass_on(mine._store, "c")
        assert await mine.go_on(told("two"))
        assert await take(other, "three")
        assert await other.begin_next(takes=False) == told("three")
        with pytest.raises(TurnLostError):
            await mine.begin_next(takes=False)

    play(story())


# Answers that are lost


def test_an_entry_whose_answer_was_lost_is_there_once(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        store.faults = ["lost"] * 5
        assert await take(mine, "one")
        assert await mine.begin_next(takes=False) == told("one")
        await mine.keep(Result(1, "key", 5))
        await asyncio.sleep(LEASE_TIME - 1)
        await mine.renew()
        assert await mine.rest(1, how="parked")
        mine.pass_on(mine._store, "b")
        assert await mine.go_on(told("two"))

        kinds = [entry.split(",")[1] for entry in await store.journal(C)]
        assert kinds == ['"M"', '"O"', '"L"', '"R"', '"M"']
        conversation = await written(store)
        assert texts(conversation) == ["one", "two"]
        assert (conversation.owner, conversation.begun) == ("b", 2)

    play(story())


def test_an_entry_that_was_not_written_is_an_error_and_may_be_tried_again(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        assert await mine.begin_next(takes=False) == told("one")
        store.faults = ["refused"]
        with pytest.raises(BackendError):
            await mine.rest(1, how="parked")
        assert mine.is_ours
        assert not mine.at_rest
        assert await mine.rest(1, how="parked")

    play(story())


def test_a_message_that_was_begun_with_late_is_given_all_the_same(play: Play) -> None:
    """The store says that it failed, and writes the entry: the app must still get it, once."""

    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        assert await mine.begin_next(takes=False) == told("one")
        took = asyncio.create_task(take(other, "two"))
        await asyncio.sleep(0.1)
        await mine.read()
        store.faults = ["late"]
        with pytest.raises(BackendError):
            await mine.begin_next()
        assert not await mine.rest(1, how="parked", whoever_waits=True)
        assert await mine.begin_next(takes=False) == told("two")
        assert await mine.begin_next() is None
        assert await mine.rest(2, how="parked")
        assert await took is False

    play(story())


def test_of_two_who_come_at_once_one_waits_for_the_other(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        store.takes = 0.01
        first, second = turn(store, "a"), turn(store, "b")
        one, two = (asyncio.create_task(take(each, each.owner)) for each in (first, second))
        await asyncio.sleep(0.3)
        assert one.done()
        assert one.result()
        assert not two.done()
        assert await first.begin_next(takes=False) == told("a")
        await first.give_up()
        assert await two
        assert await second.begin_next(takes=False) == told("b")

    play(story())


def test_what_is_read_while_an_entry_is_on_its_way_is_not_read_twice(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        store.takes = 0.01
        mine = turn(store, "a")
        assert await take(mine, "one")
        await asyncio.sleep(2)
        await asyncio.gather(mine.renew(), mine.read(), mine.read(), mine.keep(Result(1, "k", 1)))
        conversation = await written(store)
        assert mine.conversation.position == conversation.position == 3
        assert mine.conversation.results == conversation.results

    play(story())


@pytest.mark.parametrize("another_came", [False, True])
def test_a_look_while_an_entry_is_appended_reads_none_twice(play: Play, another_came: bool) -> None:
    """Neither the turn's own entry nor that of another event which was faster."""

    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        assert await mine.begin_next(takes=False) == told("one")
        await other.read()
        if another_came:
            assert await other._append(journal.message_entry("b", 0.0, told("two")))
        store.takes = 0.01
        rested, _ = await asyncio.gather(mine.rest(1, how="parked"), mine.read())
        assert rested is not another_came
        assert mine.conversation.position == len(await store.journal(C))

    play(story())


# Clocks


@pytest.mark.parametrize("ahead", [3600.0, 1e12, float("inf")])
def test_a_clock_that_has_jumped_holds_a_turn_for_no_longer_than_a_lease(
    play: Play, ahead: float
) -> None:
    async def story() -> None:
        store = Faulty()
        lying = json.dumps([1, "M", "a", time.time() + ahead, 1, "text", "one"])
        assert await store.append(C, 1, lying, FAR)
        other, began = turn(store, "b"), time.monotonic()
        assert await take(other, "two")
        assert LEASE_TIME <= time.monotonic() - began < LEASE_TIME + 0.5

    play(story())


def test_who_renews_a_turn_again_and_again_keeps_it(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        took = asyncio.create_task(take(other, "two"))
        for _ in range(20):
            await asyncio.sleep(1)
            await mine.renew()
        assert not took.done()
        took.cancel()
        await asyncio.wait([took])

    play(story())


# Ends


def test_who_waits_for_too_long_says_so_and_leaves_its_message(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        with pytest.raises(DeadlineError):
            await take(other, "two", seconds=1.0)
        assert await mine.begin_next(takes=False) == told("one")
        await mine.read()
        assert await mine.begin_next() == told("two")

    play(story())


def test_who_waits_sees_that_the_connection_has_ended(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        took = asyncio.create_task(take(other, "two"))
        await asyncio.sleep(0.1)
        await mine.drop()
        assert await took is False
        assert await mine.begin_next(takes=False) == told("one")
        await asyncio.sleep(2)
        for work in (mine.renew, mine.read, lambda: mine.rest(1, how="parked")):
            with pytest.raises(TurnLostError):
                await work()
        assert await store.journal(C) == ()

    play(story())


def test_nobody_goes_on_after_a_journal_that_was_dropped(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        assert await mine.begin_next(takes=False) == told("one")
        assert await mine.rest(1, how="parked")
        await store.drop_journal(C)
        mine.pass_on(mine._store, "b")
        assert not await mine.go_on(told("two"))
        assert await store.journal(C) == ()

    play(story())


def test_who_left_messages_for_others_does_not_go_on_before_them(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine, other = turn(store, "a"), turn(store, "b")
        assert await take(mine, "one")
        assert await mine.begin_next(takes=False) == told("one")
        with pytest.raises(DeadlineError):
            await take(other, "two", seconds=0.1)
        await mine.read()
        assert await mine.rest(1, how="parked", whoever_waits=True)
        mine.pass_on(mine._store, "c")
        assert not await mine.go_on(told("three"))
        assert await take(turn(store, "d"), "three")
        assert (await written(store)).begun == 2

    play(story())


def test_a_damaged_journal_is_told(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        assert await store.append(C, 1, "[", FAR)
        with pytest.raises(StoredRecordError):
            await turn(store, "a").read()

    play(story())


# The attendant


def _attend(
    mine: Turn, seconds: float = 60.0, wants: Callable[[], bool] = lambda: True
) -> tuple[Attendant, list[str]]:
    seen: list[str] = []
    attendant = Attendant(
        mine,
        lambda one: seen.append(one.message["text"]),
        lambda: seen.append("lost"),
        wants,
        time.monotonic() + seconds,
    )
    attendant.begin()
    return attendant, seen


def test_a_busy_turn_takes_what_comes_and_is_kept(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        attendant, seen = _attend(mine)
        assert await mine.begin_next(takes=False) == told("one")
        attendant.open()
        assert not await take(turn(store, "b"), "two")
        await asyncio.sleep(10)
        assert not await take(turn(store, "c"), "three")
        await attendant.stop()

        assert seen == ["two", "three"]
        assert mine.is_ours

    play(story())


def test_what_it_asks_of_the_store_is_of_its_own_event(play: Play) -> None:
    """Whichever event has it begin: requests are counted in a context variable."""
    event = contextvars.ContextVar("event", default="")
    asked: set[str] = set()

    class Asked(Faulty):
        async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
            asked.add(event.get())
            return await super().journal(connection_id, after=after)

    async def story() -> None:
        event.set("mine")
        mine = turn(Asked(), "a")
        assert await take(mine, "one")
        attendant = Attendant(mine, lambda _: None, lambda: None, lambda: True, FAR)
        event.set("another's")
        attendant.wake()
        await asyncio.sleep(1)
        await attendant.stop()
        assert asked == {"mine"}

    play(story())


def test_nothing_is_given_before_the_first_message(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        attendant, seen = _attend(mine)
        took = asyncio.create_task(take(turn(store, "b"), "two"))
        await asyncio.sleep(5)
        assert seen == []
        assert await mine.begin_next(takes=False) == told("one")
        attendant.open()
        assert await took is False
        await attendant.stop()

    play(story())


def test_a_turn_that_has_had_its_time_takes_no_more(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        attendant, seen = _attend(mine, seconds=1.0)
        assert await mine.begin_next(takes=False) == told("one")
        attendant.open()
        await asyncio.sleep(1)
        with pytest.raises(DeadlineError):
            await take(turn(store, "b"), "two", seconds=5.0)
        await attendant.stop()
        assert seen == []

    play(story())


def test_an_app_that_is_at_work_is_given_nothing_ahead(play: Play) -> None:
    async def story() -> None:
        store, wants = Faulty(), False
        mine = turn(store, "a")
        assert await take(mine, "one")
        attendant, seen = _attend(mine, wants=lambda: wants)
        assert await mine.begin_next(takes=False) == told("one")
        attendant.open()
        took = asyncio.create_task(take(turn(store, "b"), "two"))
        await asyncio.sleep(5)
        assert seen == []
        assert not took.done()
        wants = True
        assert await took is False
        assert seen == ["two"]
        await attendant.stop()

    play(story())


def test_a_turn_that_is_lost_is_told_once(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        attendant, seen = _attend(mine)
        assert await _as_if_stopped(mine, turn(store, "b"))
        await asyncio.sleep(5)
        await attendant.stop()
        assert seen == ["lost"]

    play(story())


async def _as_if_stopped(stopped: Turn, other: Turn) -> bool:
    """Take a turn over from somebody whose process is stopped meanwhile."""
    async with stopped._appending:
        return await take(other, "two")


def test_a_turn_at_rest_is_not_lost(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        attendant, seen = _attend(mine)
        assert await mine.begin_next(takes=False) == told("one")
        attendant.open()
        await asyncio.sleep(1)
        assert await mine.rest(1, how="parked")
        await asyncio.sleep(5)
        await attendant.stop()
        assert seen == []
        assert (await written(store)).owner == ""

    play(story())


def test_an_attendant_stops_at_once_whatever_it_is_doing(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        store.takes = 0.005
        for moment in range(0, 700, 7):
            mine = turn(store, f"a{moment}")
            assert await take(mine, f"{moment}")
            attendant, _ = _attend(mine)
            assert await mine.begin_next(takes=False) is not None
            attendant.open()
            await asyncio.sleep(moment / 1000)
            began = time.monotonic()
            await attendant.stop()
            assert time.monotonic() - began < 0.03
            await mine.give_up()

    play(story())


def test_an_attendant_who_is_woken_looks_at_once_whatever_it_is_doing(play: Play) -> None:
    async def story() -> None:
        store = Faulty()
        for moment in range(0, 700, 7):
            mine = turn(store, f"a{moment}")
            assert await take(mine, "one")
            attendant, seen = _attend(mine)
            assert await mine.begin_next(takes=False) is not None
            attendant.open()
            await asyncio.sleep(moment / 1000)
            other = turn(store, f"b{moment}")
            await other.read()
            entry = journal.message_entry(other.owner, 0.0, told("two"))
            while not await other._append(entry):
                pass
            attendant.wake()
            await asyncio.sleep(0.001)
            assert seen == ["two"]
            await attendant.stop()
            await mine.give_up()

    play(story())


def test_a_store_that_fails_for_a_moment_costs_no_turn(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        store = Faulty()
        mine = turn(store, "a")
        assert await take(mine, "one")
        attendant, seen = _attend(mine)
        assert await mine.begin_next(takes=False) == told("one")
        attendant.open()
        store.faults = ["refused", "late", "lost", "refused"]
        await asyncio.sleep(10)
        assert not await take(turn(store, "b"), "two")
        await attendant.stop()
        assert seen == ["two"]
        assert mine.is_ours

    play(story())
    assert {record.getMessage().partition(":")[0] for record in caplog.records} == {
        f"connection {C}"
    }


# A real store, two connections to one file


@pytest.mark.anyio
async def test_twenty_messages_of_six_owners_are_begun_with_once_and_in_their_order(
    tmp_path: Path,
) -> None:
    backends = [SQLite3Backend(tmp_path / "turns.sqlite3") for _ in range(2)]
    given: list[str] = []

    async def event(number: int) -> None:
        mine = turn(backends[number % 2], f"owner{number}")
        if not await take(mine, f"m{number}"):
            return
        told = await mine.begin_next(takes=False)
        while True:
            while told is not None:
                given.append(told.message["text"])
                await asyncio.sleep(0)
                told = await mine.begin_next()
            if await mine.rest(mine.given, how="parked"):
                return
            told = await mine.begin_next()

    try:
        await asyncio.gather(*map(event, range(20)))
        conversation = await written(backends[0])
        assert given == texts(conversation)
        assert sorted(given) == sorted(f"m{number}" for number in range(20))
        assert (conversation.owner, conversation.waiting) == ("", 0)
    finally:
        for backend in backends:
            await backend.close()
