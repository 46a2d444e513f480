"""Places: whoever waits for one and goes away leaves it to the next."""

from __future__ import annotations

import asyncio

import pytest

from longwire_aws.places import Places

pytestmark = pytest.mark.anyio


async def test_places_are_taken_in_the_order_of_coming() -> None:
    """Also where somebody asks who finds one that was just given back."""
    places, came = Places(1), list[int]()

    async def wait(number: int) -> None:
        await places.wait()
        came.append(number)

    assert places.take()
    async with asyncio.TaskGroup() as tasks:
        for number in range(3):
            tasks.create_task(wait(number))
        await asyncio.sleep(0)
        for _ in range(3):
            places.give()
            assert not places.take()
    assert came == [0, 1, 2]
    places.give()
    assert places.take()


@pytest.mark.parametrize("is_given_first", [False, True])
async def test_who_is_cancelled_takes_no_place(is_given_first: bool) -> None:
    """Nor where the place comes together with the cancellation."""
    places = Places(1)
    assert places.take()
    waiting = asyncio.create_task(places.wait())
    await asyncio.sleep(0)
    if is_given_first:
        places.give()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not is_given_first:
        places.give()
    assert places.take()
    assert not places.take()


@pytest.mark.parametrize("is_given_first", [False, True])
async def test_who_is_closed_takes_no_place(is_given_first: bool) -> None:
    """As a coroutine that is driven without a task, and dropped."""
    places = Places(1)
    assert places.take()
    waiting = places.wait()
    waiting.send(None)
    if is_given_first:
        places.give()
    waiting.close()
    if not is_given_first:
        places.give()
    assert places.take()
    assert not places.take()
