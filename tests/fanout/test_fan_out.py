"""One frame to many: how many at a time, how fast, until when, and what the result says."""

from __future__ import annotations

import asyncio
import math
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from longwire.apigateway.slow_clients import SEVERAL
from longwire.exceptions import (
    BackendError,
    ConnectionGoneError,
    ManagementError,
    SlowClientError,
)
from longwire.fanout import fan_out as fanout
from longwire.fanout.fan_out import (
    CUT_OFF,
    FIRST_GAP,
    LONGEST_GAP,
    UNREAD,
    WIDTH,
    FanOut,
    Pace,
    one_page,
)
from longwire.fanout.result import ConnectionIds, SendResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

pytestmark = pytest.mark.anyio


class Clients:
    """Stands in for API Gateway: answers each attempt as `answer` says.

    Attributes:
        attempts: connection ids, in the order in which they were posted to.
        most: how many posts were under way at the same time, at most.
    """

    def __init__(
        self, answer: Callable[[str, int], BaseException | None] = lambda *_: None
    ) -> None:
        self.attempts: list[str] = []
        self.most = 0
        self._answer = answer
        self._now = 0

    async def post(self, connection_id: str, *, deadline: float, patient: bool = True) -> None:
        self.attempts.append(connection_id)
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        error = self._answer(connection_id, self.attempts.count(connection_id))
        if error is not None:
            raise error


async def yes(_: str) -> bool:
    return True


async def no(_: str) -> bool:
    return False


def fan_out(clients: Clients, seconds: float = 20.0) -> FanOut:
    return FanOut(clients.post, time.monotonic() + seconds, yes, no, random=lambda: 0.5)


def throttled(connection_id: str) -> ManagementError:
    return ManagementError(connection_id, "too many", status=429)


async def pages_of(count: int, size: int = 1000) -> AsyncGenerator[Sequence[str], None]:
    for begin in range(0, count, size):
        yield [f"c{number:014d}=" for number in range(begin, min(begin + size, count))]


async def test_everybody_gets_it_once_a_bounded_number_at_a_time() -> None:
    """Whatever the sizes of the pages, empty ones included."""

    async def pages() -> AsyncGenerator[Sequence[str], None]:
        for page in ((), ("a", "b"), (), [str(number) for number in range(500)], ("z",), ()):
            yield page

    clients = Clients()
    sending = fan_out(clients)
    await sending.run(pages())
    assert sorted(clients.attempts) == sorted(["a", "b", *map(str, range(500)), "z"])
    assert sorted(sending.result.delivered) == sorted(clients.attempts)
    assert clients.most == WIDTH
    assert sending.result.ok


async def test_nobody_is_an_empty_result() -> None:
    """A group without members is no error."""
    sending = fan_out(Clients())
    await sending.run(one_page(()))
    assert sending.result == SendResult()
    assert sending.result.ok


async def test_a_page_is_read_while_the_one_before_is_posted() -> None:
    """The store's time costs nothing then."""
    read, posted = asyncio.Event(), asyncio.Event()

    async def pages() -> AsyncGenerator[Sequence[str], None]:
        yield ["a"]
        read.set()
        await posted.wait()
        yield ["b"]

    async def post(connection_id: str, *, deadline: float, patient: bool = True) -> None:
        if connection_id == "a":
            await read.wait()
            posted.set()

    sending = FanOut(post, time.monotonic() + 20, yes, no)
    await sending.run(pages())
    assert list(sending.result.delivered) == ["a", "b"]


async def test_one_that_hangs_stops_nobody() -> None:
    """The others get it meanwhile, on this page and the next."""
    others_done = asyncio.Event()
    done = []

    async def post(connection_id: str, *, deadline: float, patient: bool = True) -> None:
        if connection_id == f"c{0:014d}=":
            await others_done.wait()
        done.append(connection_id)
        if len(done) == 2499:
            others_done.set()

    sending = FanOut(post, time.monotonic() + 20, yes, no)
    await sending.run(pages_of(2500))
    assert len(sending.result.delivered) == 2500
    assert done[-1] == f"c{0:014d}="


async def test_429_is_answered_by_trying_again_more_slowly() -> None:
    """Everybody gets it in the end, and nobody twice."""

    def answer(connection_id: str, attempt: int) -> Exception | None:
        return throttled(connection_id) if attempt < 3 else None

    clients = Clients(answer)
    sending = fan_out(clients)
    await sending.run(pages_of(20))
    assert sorted(sending.result.delivered) == sorted(set(clients.attempts))
    assert len(clients.attempts) == 60
    assert sending.result.ok


async def test_too_many_requests_are_tried_again_until_the_deadline() -> None:
    """They have not reached API Gateway, and nobody else can send them."""

    def answer(connection_id: str, attempt: int) -> Exception | None:
        return throttled(connection_id) if connection_id == "a" else None

    sending = fan_out(Clients(answer), seconds=0.3)
    await sending.run(one_page(["a", "b"]))
    assert list(sending.result.delivered) == ["b"]
    assert sending.result.failed == {"a": "@connections/a: too many"}
    assert list(sending.result.slow) == []


async def test_those_that_do_not_read_slow_nobody_down() -> None:
    """A tenth of all: the pace is the same, and each is tried again only while it has patience."""
    patience = {f"c{number:014d}=": number // 10 % 3 for number in range(0, 2000, 10)}

    def answer(connection_id: str, attempt: int) -> Exception | None:
        if connection_id not in patience:
            return None
        return SlowClientError(
            connection_id,
            "429",
            until=None if attempt > patience[connection_id] else time.monotonic() + 20,
        )

    clients = Clients(answer)
    sending = fan_out(clients)
    await sending.run(pages_of(2000))
    assert sending._pace._gap == 0.0
    assert sending._pace._slowed == 0.0
    assert len(sending.result.delivered) == len(set(sending.result.delivered)) == 1800
    assert {one: clients.attempts.count(one) - 1 for one in patience} == patience
    assert sorted(sending.result.slow) == sorted(sending.result.failed) == sorted(patience)
    assert sending.result.failed[f"c{0:014d}="] == (
        f"@connections/c{0:014d}=: its client does not read, or there are too many requests: 429"
    )


async def test_those_that_do_not_read_have_half_of_the_time() -> None:
    """The other half is for whoever has the result."""
    clients = Clients(lambda one, _: SlowClientError(one, "429", until=math.inf))
    sending = fan_out(clients, seconds=2.0)
    await sending.run(one_page(["a"]))
    # After pauses of 20, 40, 80, 160, 320 and 640 ms; one more would still be before the deadline.
    assert len(clients.attempts) <= 7
    assert list(sending.result.slow) == list(sending.result.failed) == ["a"]
    sending = fan_out(clients, seconds=-1)
    sending._slow["a"] = "429"
    await sending.run(one_page([]))
    assert list(sending.result.slow) == list(sending.result.failed) == ["a"]


async def test_who_is_refused_as_many_are_is_not_said_to_be_slow() -> None:
    """When half of the time is over: others were served after a refusal, so it may be that, too."""

    def answer(connection_id: str, attempt: int) -> Exception | None:
        refused = connection_id == "a" or attempt < 2
        return SlowClientError(connection_id, "429", until=math.inf) if refused else None

    sending = fan_out(Clients(answer), seconds=1.0)
    await sending.run(one_page(["a", *(f"b{number}" for number in range(SEVERAL))]))
    assert (list(sending.result.failed), list(sending.result.slow)) == (["a"], [])


async def test_who_was_never_tried_again_is_not_said_to_be_slow() -> None:
    """One refusal, when half of the time is over, is no proof; a second send counts anew."""
    clients = Clients(lambda one, _: SlowClientError(one, "429", until=math.inf))
    sending = fan_out(clients, seconds=20.0)
    sending._patient_until = 0.0
    await sending.run(one_page(["a"]))
    assert (list(sending.result.failed), list(sending.result.slow)) == (["a"], [])
    sending = fan_out(clients, seconds=2.0)
    await sending.run(one_page(["b"]))
    await sending.run(one_page(["c"]))
    assert (list(sending.result.failed), list(sending.result.slow)) == (["b", "c"], ["b"])


async def test_the_last_attempt_is_made_when_the_time_of_one_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not after the pause, which is long by then."""
    monkeypatch.setattr(fanout, "FIRST_PAUSE", 60.0)
    until = time.monotonic() + 0.05

    def answer(connection_id: str, attempt: int) -> Exception:
        over = time.monotonic() >= until
        return SlowClientError(connection_id, "429", until=None if over else until)

    clients = Clients(answer)
    sending = fan_out(clients, seconds=20)
    await asyncio.wait_for(sending.run(one_page(["a"])), 10)
    assert len(clients.attempts) > 1
    assert list(sending.result.slow) == ["a"]


async def test_a_cancellation_that_is_not_its_own_is_one_failure() -> None:
    """As by a driver whose shared future somebody has cancelled; the others get it."""

    def answer(connection_id: str, attempt: int) -> BaseException | None:
        return asyncio.CancelledError() if connection_id == "b" else None

    sending = fan_out(Clients(answer))
    await sending.run(one_page(["a", "b", "c"]))
    assert sorted(sending.result.delivered) == ["a", "c"]
    assert list(sending.result.failed) == ["b"]


async def test_where_nobody_is_served_nobody_is_said_to_be_slow() -> None:
    """Too many requests look the same; SQS has to hand such a part out again."""
    clients = Clients(lambda one, _: SlowClientError(one, "429"))
    sending = fan_out(clients)
    await sending.run(pages_of(20))
    assert (len(sending.result.failed), list(sending.result.slow)) == (20, [])


async def test_what_the_deadline_cuts_off_is_in_the_result() -> None:
    """Those who were read and not sent to, and that there are more."""
    clients = Clients()
    sending = fan_out(clients, seconds=-1)
    await sending.run(pages_of(3000))
    assert clients.attempts == []
    assert len(sending.result.failed) == 3000
    assert set(sending.result.failed.values()) == {CUT_OFF}
    sending = fan_out(clients, seconds=0.05)

    async def late() -> AsyncGenerator[Sequence[str], None]:
        yield ["a"]
        await asyncio.sleep(0.05)
        yield ["b"]

    await sending.run(late())
    assert list(sending.result.delivered) == ["a"]
    assert sending.result.failed in ({}, {"b": CUT_OFF})
    assert (sending.result.incomplete == UNREAD) is (not sending.result.failed)


async def test_a_new_connection_is_waited_for_and_one_that_has_ended_is_not() -> None:
    """ "Gone" may mean "not known yet"; whoever ended meanwhile is not posted to again."""
    ended = {"b"}

    async def is_gone(connection_id: str) -> bool:
        return connection_id == "c"

    async def has_ended(connection_id: str) -> bool:
        return connection_id in ended

    def answer(connection_id: str, attempt: int) -> Exception | None:
        known = connection_id == "a" and attempt == 3
        return None if known else ConnectionGoneError(connection_id)

    clients = Clients(answer)
    sending = FanOut(clients.post, time.monotonic() + 20, is_gone, has_ended)
    await sending.run(one_page(["a", "b", "c"]))
    assert list(sending.result.delivered) == ["a"]
    assert sorted(sending.result.gone) == ["b", "c"]
    assert [clients.attempts.count(one) for one in "abc"] == [3, 1, 1]


async def test_each_new_one_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is met late in a long send."""
    monkeypatch.setattr(fanout, "NEW_FOR", 0.02)

    def answer(connection_id: str, attempt: int) -> Exception | None:
        return ConnectionGoneError(connection_id) if attempt < 2 else None

    async def pages() -> AsyncGenerator[Sequence[str], None]:
        yield ["new1"]
        await asyncio.sleep(0.03)
        yield ["new2"]

    sending = FanOut(Clients(answer).post, time.monotonic() + 20, no, no)
    await sending.run(pages())
    assert sorted(sending.result.delivered) == ["new1", "new2"]


async def test_a_store_that_fails_makes_a_failure() -> None:
    """Nobody knows then whether that one is gone."""

    async def is_gone(connection_id: str) -> bool:
        raise BackendError("memory", "get", "it is on fire")

    sending = FanOut(
        Clients(lambda one, _: ConnectionGoneError(one)).post, time.monotonic() + 20, is_gone, no
    )
    await sending.run(one_page(["a"]))
    assert sending.result.failed == {
        "a": "connection a is gone, but the store: memory: get failed: it is on fire"
    }


async def test_cancelling_leaves_nothing_running() -> None:
    """Neither posts nor the reading of pages."""
    started = asyncio.Event()

    async def post(connection_id: str, *, deadline: float, patient: bool = True) -> None:
        started.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    sending = FanOut(post, time.monotonic() + 20, yes, no)
    task = asyncio.create_task(sending.run(pages_of(5000)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


async def test_the_pace_slows_down_and_recovers() -> None:
    """Each 429 doubles the gap up to a limit, but one that was on its way; successes shorten it."""
    pace = Pace(lambda: 0.5)
    begun = time.monotonic()
    pace.slow_down(begun)
    pace.slow_down(begun)  # on its way when the pace was slowed down
    assert pace._gap == FIRST_GAP
    for _ in range(20):
        pace.slow_down(time.monotonic())
    assert pace._gap == LONGEST_GAP
    assert await pace.turn(begun, begun + 60) < begun + 60  # this one may go at once
    now = time.monotonic()
    assert await pace.turn(now, now) >= now  # the next would be too late
    for _ in range(1000):
        pace.speed_up()
    assert pace._gap == 0.0


def test_ids_are_a_collection() -> None:
    """In order, of any text."""
    ids = ConnectionIds(["a", "é", "a"])
    assert (len(ids), list(ids), "é" in ids, "b" in ids) == (3, ["a", "é", "a"], True, False)
    assert ids == ["a", "é", "a"]
    assert ids != ["a"]
    assert repr(ids) == "ConnectionIds(['a', 'é', 'a'])"
    assert repr(ConnectionIds(map(str, range(100)))) == "<100 ids>"


async def test_memory_stays_flat() -> None:
    """A group of a hundred thousand costs two bytes more for each byte of their ids, no more."""

    async def post(connection_id: str, *, deadline: float, patient: bool = True) -> None:
        pass

    peaks = []
    for count in (1_000, 50_000):
        sending = FanOut(post, time.monotonic() + 50, yes, no)
        tracemalloc.start()
        await sending.run(pages_of(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(sending.result.delivered) == count
    assert peaks[1] - peaks[0] < 50_000 * 17 * 2 + 200_000
