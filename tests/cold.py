"""A client with `replay` each of whose events is handled by another process."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from longwire import BackendError, Longwire
from longwire_backends.memory import MemoryBackend
from tests.lambda_events import LambdaContext
from tests.talk import Talk, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Journals(MemoryBackend):
    """Counts what is appended; `faults` are raised by appends to come, done or not."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[str] = []
        self.dropped = 0
        self.faults: list[tuple[str, bool]] = []  # of an entry with this in it; is it done?

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        fault, is_done = next((one for one in self.faults if one[0] in value), ("", True))
        done = is_done and await super().append(connection_id, position, value, expires_at)
        if done:
            self.appended.append(value)
        if fault:
            self.faults.remove((fault, is_done))
            raise BackendError("memory", "append", "the answer is lost")
        return done

    async def drop_journal(self, connection_id: str) -> None:
        await super().drop_journal(connection_id)
        self.dropped += 1

    @property
    def results(self) -> list[str]:
        return [value for value in self.appended if value.startswith('[1,"O"')]


class Cold(Talk):
    """A client each of whose events is handled by a process that has had no other."""

    backend: Journals
    new: Callable[[], Longwire]
    context = LambdaContext

    async def say(self, body: str, *, base64: bool = False) -> Any:
        self.renew()
        event = self.message(body, base64=base64)
        return await self.handler.handle(event, self.context(self.seconds))

    async def leave(self, code: int = 1001, reason: str = "") -> Any:
        self.renew()
        return await super().leave(code, reason)

    def message(self, body: str, *, base64: bool = False) -> dict[str, Any]:
        """Return the event of a message that comes now: a replay sees how long each has taken."""
        event = super().message(body, base64=base64)
        event["requestContext"]["requestTimeEpoch"] = int(time.time() * 1000)
        return event

    def renew(self) -> None:
        self.handler = self.new()

    async def journal(self) -> tuple[str, ...]:
        return await self.backend.journal(self.connection_id)


@asynccontextmanager
async def cold(app: Any, **ws_config: Any) -> AsyncIterator[Cold]:
    backend = Journals()
    handlers = []
    async with talk(app, backend=backend, replay=True, **ws_config) as first:
        config: Any = {
            "backend": backend,
            "api_gateway_endpoint_url": first.server.url,
            "replay": True,
            **ws_config,
        }

        def new() -> Longwire:
            handlers.append(Longwire(app, ws_config=config))
            return handlers[-1]

        client = Cold(first.handler, first.server, first.connection_id)
        client.backend, client.new = backend, new
        try:
            yield client
        finally:
            for handler in handlers:
                await handler.aclose()
