"""Time limits that share a timer, against what `asyncio.timeout` promises."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from longwire_aws.timeouts import Limits, limits

pytestmark = pytest.mark.anyio


async def wait(limits: Limits, seconds: float) -> None:
    with limits.within(seconds):
        await asyncio.Event().wait()


async def test_a_wait_over_the_limit_ends() -> None:
    """The task itself goes on, uncancelled."""
    with pytest.raises(TimeoutError):
        await wait(Limits(asyncio.get_running_loop()), 0.001)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_later_and_shorter_limit_is_not_kept_waiting() -> None:
    """Each ends in its own time, whichever came first; all others go on."""
    limits = Limits(asyncio.get_running_loop())
    waits = [asyncio.create_task(wait(limits, seconds)) for seconds in (30, 0.03, 0.001, 0.002)]
    done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    assert done <= set(waits[2:])  # both, if the machine was slow
    await asyncio.wait(waits[1:])
    assert not waits[0].done()
    waits[0].cancel()
    endings = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(each) for each in endings] == [asyncio.CancelledError, *[TimeoutError] * 3]


async def test_a_limit_that_was_met_has_no_effect_later() -> None:
    """The timer finds nothing to end, and serves the next limit as well."""
    limits = Limits(asyncio.get_running_loop())
    with limits.within(0.001):
        pass
    await asyncio.sleep(0.01)
    with pytest.raises(TimeoutError):
        await wait(limits, 0.001)


async def test_who_is_cancelled_as_well_stays_cancelled() -> None:
    """A limit that expires at the same time takes nothing away from the other cancellation."""
    limits = Limits(asyncio.get_running_loop())

    async def cancelled_twice() -> None:
        task = asyncio.current_task()
        assert task is not None
        with limits.within(30) as limit:
            task.cancel()
            limit.expire()
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled_twice())


async def test_limits_that_end_one_after_the_other_share_a_timer() -> None:
    """A loop that has seen many has not kept a timer of each."""
    loop: Any = asyncio.get_running_loop()
    before = len(loop._scheduled)
    for _ in range(50):
        with limits().within(30):
            await asyncio.sleep(0)
    assert len(loop._scheduled) <= before + 1


def test_limits_do_not_keep_their_loop_alive() -> None:
    async def meet() -> None:
        with limits().within(30):
            await asyncio.sleep(0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(meet())
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


def test_outside_of_a_task_there_is_nothing_to_limit() -> None:
    """As with `asyncio.timeout`, that is a mistake of the caller's."""
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="needs a task"), Limits(loop).within(1):
            pass
    finally:
        loop.close()
