"""Messages of a channel layer for which no time is left."""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from longwire.invocation.deliveries import WIDTH, Deliveries

pytestmark = pytest.mark.anyio


async def test_whoever_has_waited_in_vain_is_told_of_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the end of another client is told after that, and its app sends to the group."""

    async def hang(self: Deliveries, member: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Deliveries, "_give", hang)
    now = time.monotonic()
    call: Any = SimpleNamespace(times=SimpleNamespace(send=now + 0.05, run=now + 60))
    application: Any = None
    deliveries = Deliveries(application, call, contextvars.copy_context())
    for number in range(WIDTH + 1):
        assert deliveries.put(f"c{number}", "https://x", {"type": "t"}, math.inf, 1)
    await deliveries.settle()
    assert not deliveries.is_busy
    for number in range(WIDTH + 1):
        assert deliveries.put(f"c{number}", "https://x", {"type": "t"}, math.inf, 1)
    assert deliveries.is_busy
    await deliveries.settle()
    assert caplog.messages == [f"a channel layer: no time was left for {WIDTH + 1} messages"] * 2
