"""The campaign with real kills, for a moment; `make kills` goes on for longer."""

from __future__ import annotations

import sys

import pytest

from tests.campaigns.kills import turns
from tests.campaigns.kills.campaign import campaign

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped by signals"),
]


async def test_no_number_is_swallowed_doubled_or_anothers() -> None:
    """Whatever is killed: the client gets its reply, or an error frame."""
    tally = await campaign(1, 25)
    assert tally.violations == []
    assert tally.kills > 0
    assert tally.seen["replied"] > 25


async def test_no_message_is_handled_twice_with_replay() -> None:
    """Processes die and stand still beside each entry, and the store fails."""
    tally = await turns.campaign(1, 15)
    assert tally.violations == []
    assert tally.seen["reply"] > 15
