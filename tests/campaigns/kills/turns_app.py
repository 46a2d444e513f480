"""The function of the campaign with `replay`: an app that counts, a store that fails, and deaths.

What the app is given with effect goes into a table that the product knows nothing of. A process
kills or stops itself at chosen moments, which it notes first, for who counts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from longwire import Longwire
from longwire.exceptions import LongwireError
from longwire_backends import BackendError
from longwire_backends.sqlite3.backend import SQLite3Backend

FOLDER = Path(os.environ["KILLS_PIDS"])
# How often something happens at each of the moments for it, from 0 to 1.
DEATH = float(os.environ.get("KILLS_DEATH", "0.01"))
STOP = float(os.environ.get("KILLS_STOP", "0.003"))
FAULT = float(os.environ.get("KILLS_FAULT", "0.02"))

# Each process notes itself, for who kills, and has random numbers of its own.
(FOLDER / str(os.getpid())).touch()
_random = random.Random(f"{os.environ.get('KILLS_SEED')}/{len(list(FOLDER.glob('*.born')))}")
(FOLDER / f"{os.getpid()}.born").touch()


def _note(file: str, what: str) -> None:
    with (FOLDER / file).open("a") as log:
        log.write(f"{os.getpid()} {time.time():.3f} {what}\n")


def moment(where: str) -> None:
    """Die here, or stand still for longer than a lease, perhaps."""
    drawn = _random.random()
    if drawn < DEATH:
        _note("deaths", where)
        (FOLDER / str(os.getpid())).unlink(missing_ok=True)
        os.kill(os.getpid(), signal.SIGKILL)
    elif drawn < DEATH + STOP:
        _note("stops", where)
        os.kill(os.getpid(), signal.SIGSTOP)


class Store(SQLite3Backend):
    """Loses answers, fails, is slow, or is away for a second; processes die beside its requests."""

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        kind = value[4:5]
        moment(f"before {kind}")
        await self._fail("append")
        done = await super().append(connection_id, position, value, expires_at)
        if done:
            moment(f"after {kind}")
            if _random.random() < FAULT:
                _note("faults", f"answer lost: {kind}")
                raise BackendError(self.name, "append", "its answer is lost")
        return done

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        if after:
            moment("while it waits, or looks")
        await self._fail("journal")
        return await super().journal(connection_id, after=after)

    async def _fail(self, operation: str) -> None:
        drawn = _random.random()
        if drawn < FAULT:
            _note("faults", f"fails: {operation}")
            raise BackendError(self.name, operation, "fails")
        if drawn < 2 * FAULT:
            await asyncio.sleep(_random.choice((0.05, 0.3, 1.0)))
        with contextlib.suppress(FileNotFoundError):
            if time.time() < (FOLDER / "away").stat().st_mtime + 1.0:
                raise BackendError(self.name, operation, "is away")


class Conversation:
    """One run of the app."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self._extension = scope["extensions"]["longwire"]
        query = parse_qs(scope["query_string"].decode())
        self.name, self.how = query["name"][0], query["how"][0]
        self._receive = receive
        self._send = send
        self._heard: list[str] = []
        self._streaming: asyncio.Task[None] | None = None
        self._pieces = itertools.count()

    @property
    def replaying(self) -> bool:
        return bool(self._extension["replaying"])

    async def say(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": f"{self.name} {text}"})

    async def begin(self) -> None:
        await self._receive()
        await self._send({"type": "websocket.accept"})
        await self.say("hello")
        if self.how == "slow start":
            for number in range(4):
                moment("in a connect step that goes on")
                await asyncio.sleep(0.2)
                await self.say(f"start.{number}")

    async def go_on(self) -> None:
        """Answer each message by its number, until the client has gone."""
        while (message := await self._receive())["type"] == "websocket.receive":
            text = message["text"]
            moment("in a replay" if self.replaying else "after the message")
            if not self.replaying:
                note(self.name, text, self._heard)
            self._heard.append(text)
            acts = not self.replaying
            try:
                await self._answer(text, len(self._heard))
            except asyncio.CancelledError:
                if acts:  # its event's time is over, or another has its turn
                    _note("cuts", f"{self.name}.{text}")
                raise
            if not self.replaying:
                moment("after the post")
        if self._streaming is not None:
            self._streaming.cancel()
        if not self.replaying:
            note(self.name, "end", self._heard)

    async def _answer(self, text: str, number: int) -> None:
        if self._streaming is not None:
            self._streaming.cancel()
            self._streaming = None
        if self.how == "slow":
            await asyncio.sleep(0.15)
        if not self.replaying:
            moment("before the post")
        await self.say(f"reply.{text}.{number}")
        if self.how == "stream":
            self._streaming = asyncio.create_task(self._stream(text))

    async def _stream(self, text: str) -> None:
        with contextlib.suppress(LongwireError):
            for _ in range(15):
                await asyncio.sleep(0.05)
                await self.say(f"piece.{text}.{next(self._pieces)}")


def note(name: str, text: str, heard: list[str]) -> None:
    """Note what the app has been given, and before that."""
    with contextlib.closing(sqlite3.connect(FOLDER / "heard.sqlite3", timeout=30)) as table, table:
        table.execute(
            "INSERT INTO heard (name, text, history, pid, time) VALUES (?, ?, ?, ?, ?)",
            (name, text, " ".join(heard), os.getpid(), time.time()),
        )


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Talk to one client."""
    conversation = Conversation(scope, receive, send)
    with contextlib.suppress(LongwireError):
        await conversation.begin()
        await conversation.go_on()


handler = Longwire(
    app,
    ws_config={"backend": Store(FOLDER / "store.sqlite3"), "replay": True, "linger": 1.0},
    lifespan="off",
)
