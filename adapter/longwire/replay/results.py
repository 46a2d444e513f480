"""The results of `longwire.once`: kept in the journal, and given back when the app runs again.

Which result a call gets hangs on the message for which its code runs, on the key, and on how often
the key was asked for there. A replay does not give a result before the app is through
with the messages that it had been given when the result was kept: what follows is asked for after
the same messages again.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
from typing import TYPE_CHECKING, Any

from longwire.asgi import noise, values
from longwire.asgi.frames import caller_place
from longwire.exceptions import EventOverError, OnceError
from longwire.replay.journal import Result
from longwire.replay.turn import TurnLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.asgi.lasting import LastingRun
    from longwire.replay.turn import Turn

logger: logging.Logger = logging.getLogger("longwire")

# Bytes of JSON that a result may have, so that every store takes it.
MOST_BYTES = 256 * 1024


def check(key: object, factory: object) -> None:
    """Raise `OnceError` for what can be no key, or no factory."""
    if not isinstance(key, str):
        raise OnceError("", f"its key must be a str, not of type {type(key).__name__}")
    if not key or not values.is_text(key):
        raise OnceError(key, "its key must not be empty, nor hold half of a surrogate pair")
    if not callable(factory):
        kind = type(factory).__name__
        hint = "pass the function, and do not call it" if inspect.isawaitable(factory) else kind
        raise OnceError(key, f"it takes a callable without arguments: {hint}")


async def made(key: str, factory: Callable[[], Any]) -> Any:
    """Call a factory, and return what JSON gives back of its result; raises `OnceError`."""
    value = factory()
    if inspect.isawaitable(value):
        value = await value
    text = values.text(value)
    if reason := values.wrong(value, text, tuples=True):
        raise OnceError(key, f"its result cannot be kept: {reason}")
    if len(text) > MOST_BYTES:
        raise OnceError(key, f"its result has {len(text)} bytes of JSON, over {MOST_BYTES}")
    return json.loads(text)


class _Calls:
    """Those for one key in one message."""

    __slots__ = ("is_under_way", "taken", "what")

    def __init__(self, what: object) -> None:
        self.what = what
        self.taken = 0  # results that the app has got
        self.is_under_way = False


class OnceResults:
    """Those of one run, also in later events that go on with it."""

    def __init__(self, turn: Turn, run: LastingRun) -> None:
        self._turn = turn
        self._run = run
        self._given = 0  # messages
        self._settled = 0  # of the last one with which a replay is through
        self._calls: dict[tuple[int, str], _Calls] = {}
        self._keeps = True

    def pass_on(self, turn: Turn) -> None:
        """Go on with them in another event, which has the turn."""
        self._turn = turn

    def begin(self, number: int) -> None:
        """Note that the app is given a message, by its number."""
        self._given = number

    def settle(self) -> bool:
        """Note that the app is through with it; tell whether somebody goes on with a result now."""
        self._settled = self._given
        return self._run.go_on()

    def close(self) -> None:
        """Keep nothing more: no event goes on with the connection."""
        self._keeps = False

    async def get(self, key: str, factory: Callable[[], Any]) -> Any:
        """Return the result that belongs here; raises as `longwire.once`."""
        if not (self._run.has_effect or self._run.repeats):
            raise _too_late(self._run.connection_id, key)
        # A client that proves to be gone is an end that is in no journal.
        number = min(self._run.message_number, self._turn.conversation.begun)
        calls = self._begin(number, key, factory)
        try:
            return await self._take(number, key, calls, factory)
        finally:
            calls.is_under_way = False

    def _begin(self, number: int, key: str, factory: Callable[[], Any]) -> _Calls:
        what = _what(factory)
        calls = self._calls.setdefault((number, key), _Calls(what))
        if calls.is_under_way:
            raise OnceError(
                key,
                "two tasks ask for it at once, so that nobody knows whose result is whose when "
                "they ask again: give each a key of its own",
            )
        if None not in (what, calls.what) and what != calls.what:
            raise OnceError(
                key,
                "two functions are to make it, in one message: give each a key of its own",
            )
        calls.is_under_way = True
        return calls

    async def _take(self, number: int, key: str, calls: _Calls, factory: Callable[[], Any]) -> Any:
        results = self._turn.conversation.results.get((number, key), ())
        if calls.taken < len(results):
            value, begun = results[calls.taken]
            await asyncio.sleep(0)  # so that two who ask at once are told so here, too
            if begun > self._given:
                while self._settled < begun:
                    await self._run.hold()
            calls.taken += 1
            return value
        value = await made(key, factory)
        if self._keeps and not self._run.repeats:
            await self._keep(Result(number, key, value))
            calls.taken += 1
        return value

    async def _keep(self, result: Result) -> None:
        try:
            await self._turn.keep(result)
        except TurnLostError:
            self._run.abandon()
            raise asyncio.CancelledError from None


def _what(factory: Callable[[], Any]) -> object:
    """Return what tells a function from another; None for an object of somebody's class."""
    made_of: Any = factory
    while isinstance(made_of, functools.partial):
        made_of = made_of.func
    return getattr(made_of, "__code__", None) or getattr(made_of, "__qualname__", None)


def _too_late(connection_id: str, key: str) -> EventOverError:
    place = caller_place()
    error = EventOverError(connection_id, place, once=key)
    logger.log(noise.level("once late", [place]), "%s", error)
    return error
