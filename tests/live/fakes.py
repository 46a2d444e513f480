"""A world whose answers the tests choose."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.live.world import Closed, Unavailable, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.live.world import Place, Way

    Answer = Callable[[str | bytes], Sequence["Frame"]]

Frame = str | bytes | Closed
NOTHING: dict[str, Any] = {}


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeClient:
    """Hears the frames that it is given, and those that answer what it says; then silence."""

    def __init__(self, clock: Clock, frames: Sequence[Frame], answer: Answer) -> None:
        self._clock, self._answer = clock, answer
        self.frames = list(frames)
        self.pongs = True

    async def say(self, message: str) -> None:
        self.frames += self._answer(message)

    async def say_bytes(self, data: bytes, *, text: bool) -> None:
        self.frames += self._answer(data)

    async def hear(self, seconds: float) -> Frame | None:
        if self.frames:
            return self.frames.pop(0)
        self._clock.now += seconds
        return None

    async def ping(self, seconds: float) -> bool:
        return self.pongs


@dataclass
class FakeAWS:
    """What each place and service does.

    Attributes:
        greetings: what clients hear unasked, by place and path.
        answer: what a client hears when it says something.
        statuses: of posts, by the id; posted frames go to nobody.
        posts: what the one connection hears when it is posted to.
        lines: of the log of a function.
        away: places that are not there, and why.
    """

    greetings: dict[tuple[str, str], list[Frame]] = field(default_factory=dict)
    answer: Callable[[str | bytes], Sequence[Frame]] = lambda said: []
    post: Callable[[str, bytes], tuple[int, Sequence[Frame]]] = lambda to, body: (200, [])
    lines: list[str] = field(default_factory=list)
    away: dict[str, str] = field(default_factory=dict)
    long: bool = False
    clock: Clock = field(default_factory=Clock)
    renewed: list[str] = field(default_factory=list)
    invoked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    opened: list[FakeClient] = field(default_factory=list)

    def world(self) -> World:
        """Return the world of it."""
        return World(
            connect=self._connect,
            manage=self._manage,
            invoke=self._invoke,
            logs=self._logs,
            renew=self._renew,
            now=lambda: self.clock.now,
            sleep=self.clock.sleep,
            long=self.long,
        )

    @asynccontextmanager
    async def _connect(self, place: Place, path: str, way: Way) -> AsyncIterator[FakeClient]:
        if place in self.away:
            raise Unavailable(self.away[place])
        client = FakeClient(self.clock, self.greetings.get((place, path), []), self._answer(path))
        self.opened.append(client)
        yield client

    def _answer(self, path: str) -> Callable[[str | bytes], Sequence[Frame]]:
        if path == "/who":
            return lambda said: [json.dumps({"connection_id": "own"})]
        return self.answer

    async def _manage(self, method: str, connection_id: str, body: bytes) -> int:
        status, frames = self.post(connection_id, body)
        if self.opened:
            self.opened[-1].frames += frames
        return status

    async def _invoke(self, function: str, event: dict[str, Any]) -> str:
        self.invoked.append((function, event))
        return f"request-{len(self.invoked)}"

    async def _logs(self, function: str, since: float) -> list[str]:
        return self.lines

    async def _renew(self, function: str) -> None:
        self.renewed.append(function)
