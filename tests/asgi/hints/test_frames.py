"""Whose frames hints look at: those of an app that waits, or that is about to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from longwire.asgi.frames import frames_of
from longwire.asgi.hints.hints import _frames_of
from longwire.asgi.hints.liveness import read_later
from longwire.asgi.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import FrameType

    from longwire.types import Message

    Receive = Callable[[], Awaitable[Message]]

pytestmark = pytest.mark.anyio


async def _awaits(receive: Receive) -> None:
    await receive()


async def _keeps(receive: Receive) -> None:
    count = 0
    while True:
        try:
            await receive()
        except ValueError as error:
            raise LookupError from error
        count += 1


async def _iterates(receive: Receive) -> None:
    async def messages() -> AsyncIterator[Message]:
        while True:
            yield await receive()

    seen = 0
    async for _ in messages():
        seen += 1


async def _asks_for_the_next(receive: Receive) -> None:
    async def messages() -> AsyncIterator[Message]:
        yield await receive()

    await anext(messages(), None)


class _Endpoint:
    async def _next(self, receive: Receive) -> Message:
        return (
            await receive(),
            self,
        )[0]

    async def __call__(self, receive: Receive) -> None:
        await asyncio.create_task(self._next(receive))


@pytest.mark.parametrize("app", [_awaits, _keeps, _iterates, _asks_for_the_next, _Endpoint()])
async def test_an_app_that_is_about_to_wait_has_the_frames_in_which_it_waits(
    app: Callable[[Receive], Awaitable[None]],
) -> None:
    """The same ones, in the same lines, with the same variables that are read later."""
    inbox = Inbox({"type": "websocket.connect"})
    await inbox.receive()
    about_to: list[tuple[FrameType, int, frozenset[str]]] = []

    def note() -> bool:
        task = asyncio.current_task()
        assert task is not None
        about_to.extend((one, one.f_lineno, read_later(one)) for one in _frames_of(task))
        return False

    async def call() -> None:
        await app(inbox.receive)

    inbox.on_empty = note
    first = asyncio.create_task(call())
    while not inbox.waiters:
        await asyncio.sleep(0)
    (waiter,) = inbox.waiters
    *waits, _ = frames_of(waiter)  # the last one is of the inbox itself
    assert about_to[:-1] == [(one, one.f_lineno, read_later(one)) for one in waits[:-1]]
    assert about_to[-1][0] is waits[-1]
    assert waits[-1].f_code is Inbox.receive.__code__
    first.cancel()
    waiter.cancel()
    await asyncio.wait({first, waiter})
