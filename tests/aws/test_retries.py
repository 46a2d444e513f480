"""One loop repeats what three clients ask: how often, until when, with which pauses."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from longwire_aws.retries import Backoff, retry

if TYPE_CHECKING:
    from collections.abc import Callable

FAR = math.inf
BACKOFF = Backoff(first=1.0, longest=8.0)


@dataclass
class Service:
    """Says "busy" until it has been asked `busy` times; nobody really waits."""

    busy: float = math.inf
    asked: int = 0
    pauses: list[float] = field(default_factory=list)

    async def answer(self) -> str:
        self.asked += 1
        return "busy" if self.asked <= self.busy else "done"

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def ask(
        self, backoff: Backoff, deadline: float = FAR, random: Callable[[], float] = lambda: 1.0
    ) -> str:
        def judge(answer: str) -> Backoff | None:
            return backoff if answer == "busy" else None

        first = await self.answer()
        return await retry(
            first, self.answer, judge, deadline=deadline, random=random, sleep=self.sleep
        )


@pytest.mark.anyio
async def test_an_answer_that_is_none_to_repeat_is_the_last_one() -> None:
    """Whichever it is that comes first."""
    service = Service(busy=0)
    assert (await service.ask(BACKOFF), service.asked, service.pauses) == ("done", 1, [])
    service = Service(busy=2)
    assert (await service.ask(BACKOFF), service.asked) == ("done", 3)


@pytest.mark.anyio
@pytest.mark.parametrize(("jitter", "factor"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
async def test_a_pause_is_twice_as_long_each_time(jitter: float, factor: float) -> None:
    """Up to the longest; the jitter takes off up to half."""
    service = Service(busy=6)
    assert await service.ask(BACKOFF, random=lambda: jitter) == "done"
    assert service.pauses == [factor * seconds for seconds in (1, 2, 4, 8, 8, 8)]


@pytest.mark.anyio
async def test_it_ends_after_so_many_times() -> None:
    """With the answer as it is then."""
    service = Service()
    assert await service.ask(BACKOFF._replace(times=2)) == "busy"
    assert (service.asked, service.pauses) == (3, [1.0, 2.0])


@pytest.mark.anyio
async def test_no_pause_reaches_the_deadline() -> None:
    """Neither that of the caller nor that of the answer."""
    for service, backoff, deadline in (
        (Service(), BACKOFF, time.monotonic() + 1.9),
        (Service(), BACKOFF._replace(until=time.monotonic() + 1.9), FAR),
    ):
        assert await service.ask(backoff, deadline) == "busy"
        assert service.pauses == [1.0]
