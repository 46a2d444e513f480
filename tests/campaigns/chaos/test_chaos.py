"""A short pass of the fault campaign; `make chaos` is the long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from longwire_backends.memory import MemoryBackend
from tests.campaigns.chaos.campaign import campaign

if TYPE_CHECKING:
    from longwire_backends import Record

pytestmark = pytest.mark.slow


def test_nothing_is_violated_whatever_goes_wrong() -> None:
    totals = campaign(seed=1, indexes=range(300))

    assert [(bad.index, bad.violations) for bad in totals.bad] == []
    assert totals.conversations == 300
    assert totals.calm > 20
    assert len(totals.kills) > 30
    assert len(totals.faults) > 15


def test_with_replay_nothing_is_violated_nor_tolerated() -> None:
    totals = campaign(seed=1, indexes=range(200), replay=True)

    assert [(bad.index, bad.violations) for bad in totals.bad] == []
    assert not totals.tolerated
    assert totals.windows["message handled"] > 300
    assert totals.apps["counter"] > 10


class Sticky(MemoryBackend):
    """Gives a record to everybody who takes it."""

    async def take(self, connection_id: str) -> Record | None:
        return await self.get(connection_id)


class Immortal(MemoryBackend):
    """Lets records live for ever."""

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        return await super().put(connection_id, value, 10**12)


class Leaky(MemoryBackend):
    """Keeps memberships of connections that have ended."""

    async def group_discard_all(self, connection_id: str) -> tuple[str, ...]:
        return await self.groups(connection_id)


def test_the_campaign_sees_what_a_bad_store_does() -> None:
    told = campaign(seed=1, indexes=range(60), make_store=Sticky, patience=60)
    kept = campaign(seed=1, indexes=range(60), make_store=Immortal, patience=60)
    left = campaign(seed=1, indexes=range(60), make_store=Leaky, patience=60)

    assert any("again" in what for bad in told.bad for what in bad.violations)
    assert any("expires at" in what for bad in kept.bad for what in bad.violations)
    assert any("left: " in what for bad in left.bad for what in bad.violations)


def test_a_seed_tells_the_whole_campaign() -> None:
    first, second = (campaign(seed=2, indexes=range(20)) for _ in range(2))

    assert list(first.lines()) == list(second.lines())
