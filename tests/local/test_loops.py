"""Calls into an event loop from other threads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local.loops import Calls

if TYPE_CHECKING:
    from collections.abc import Callable


class CountingLoop:
    """An event loop that counts how often another thread wakes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.wakes = 0
        self._loop = loop

    def call_soon_threadsafe(self, call: Callable[..., object], *arguments: Any) -> object:
        self.wakes += 1
        return self._loop.call_soon_threadsafe(call, *arguments)


@pytest.mark.anyio
async def test_calls_that_come_together_wake_the_loop_once() -> None:
    """They are made in their order, in the next turn; later ones wake it again."""
    loop: Any = CountingLoop(asyncio.get_running_loop())
    calls, made = Calls(loop), list[int]()
    for number in range(3):
        calls.put(made.append, number)
    assert (made, loop.wakes) == ([], 1)
    await asyncio.sleep(0)
    assert made == [0, 1, 2]
    calls.put(made.append, 3)
    await asyncio.sleep(0)
    assert (made, loop.wakes) == ([0, 1, 2, 3], 2)


@pytest.mark.anyio
async def test_no_call_of_any_thread_is_lost() -> None:
    """However they fall between the loop's own."""
    calls, made, over = Calls(asyncio.get_running_loop()), list[tuple[int, int]](), asyncio.Event()

    def note(thread: int, number: int) -> None:
        made.append((thread, number))
        if len(made) == 4 * 2_000:
            over.set()

    def put_all(thread: int) -> None:
        for number in range(2_000):
            calls.put(note, thread, number)

    threads = [threading.Thread(target=put_all, args=(one,)) for one in range(4)]
    for thread in threads:
        thread.start()
    await over.wait()
    for thread in threads:
        thread.join()
    for one in range(4):
        assert [number for thread, number in made if thread == one] == list(range(2_000))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_call_that_fails_takes_no_other_with_it(error: type[BaseException]) -> None:
    """The loop tells of it as of any other, and those behind it are made without another put."""
    loop, told = asyncio.new_event_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
    calls = Calls(loop)

    def fail() -> None:
        raise error

    calls.put(fail)
    calls.put(loop.stop)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
    loop.run_forever()
    loop.close()
    assert [type(one) for one in told] == [error] * (error is ZeroDivisionError)


def test_a_closed_loop_takes_no_calls() -> None:
    """Each of them is told so, not only the first."""
    loop = asyncio.new_event_loop()
    calls = Calls(loop)
    loop.close()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            calls.put(print)
