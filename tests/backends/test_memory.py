"""The in-memory store keeps the contract."""

from __future__ import annotations

import pytest

from longwire_backends.memory import MemoryBackend
from tests.backends.contract import BackendContract, Clock, OpenBackend


class TestMemoryBackend(BackendContract):
    """Its storage is the object itself."""

    @pytest.fixture
    def open_backend(self, clock: Clock) -> OpenBackend:
        """Hand out the same object each time."""
        backend = MemoryBackend(clock=clock)
        return lambda clock: backend


@pytest.mark.anyio
async def test_two_memory_backends_share_nothing() -> None:
    """Each object is a store of its own."""
    clock = Clock()
    await MemoryBackend(clock=clock).put("a", "v", clock.now + 60)
    assert await MemoryBackend(clock=clock).get("a") is None
