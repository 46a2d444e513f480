"""A store under a deadline."""

from __future__ import annotations

import asyncio
import time

import pytest

from longwire.exceptions import BackendError
from longwire.registry.store import Store
from longwire_backends.memory import MemoryBackend

FAR = 1 << 40


class Hanging(MemoryBackend):
    """It answers nobody who asks about a journal."""

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        return await asyncio.Event().wait()

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        await asyncio.Event().wait()
        return ()

    async def drop_journal(self, connection_id: str) -> None:
        await asyncio.Event().wait()


@pytest.mark.anyio
async def test_a_journal_through_the_store() -> None:
    """It is the backend's own."""
    store = Store(MemoryBackend(), time.monotonic() + 60)
    assert await store.append("a", 1, "v", FAR) is True
    assert await store.append("a", 1, "w", FAR) is False
    assert await store.append("a", 2, "w", FAR) is True
    assert await store.journal("a") == ("v", "w")
    assert await store.journal("a", after=1) == ("w",)
    await store.drop_journal("a")
    assert await store.journal("a") == ()


@pytest.mark.anyio
async def test_a_journal_that_hangs_ends_at_the_deadline() -> None:
    """The error names what was asked."""
    store = Store(Hanging(), time.monotonic() + 0.05)
    for operation, doing in (
        ("append", store.append("a", 1, "v", FAR)),
        ("journal", store.journal("a")),
        ("drop_journal", store.drop_journal("a")),
    ):
        with pytest.raises(BackendError, match=f"^memory: {operation} failed: no answer within"):
            await doing
