"""The fuzzing campaign, for a moment, and that it would find what it looks for."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from longwire import Longwire
from tests.campaigns.fuzz import campaign, cases, conversation
from tests.campaigns.fuzz.world import HangError, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def little_garbage() -> Iterator[None]:
    """Let the campaign, which collects garbage often, not look at all that is there already."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.timeout(600)  # as long as it takes on whatever machine
@pytest.mark.parametrize("seed", [1, 2])
def test_only_documented_errors_come_out(seed: int, tmp_path: Path) -> None:
    """And nothing hangs, leaks or is sent to somebody else; `make fuzz` looks for longer."""
    tally = campaign.campaign(seed, 600.0, tmp_path, cases=250)
    assert tally.failed is None, campaign.explain(tally.failed, tmp_path)
    assert tally.cases == 250
    assert {"CONNECT: 200", "MESSAGE: 200", "DISCONNECT: 200", "posts"} <= set(tally.outcomes)


def test_a_case_is_the_same_each_time(tmp_path: Path) -> None:
    """So that its seed and number are enough to see again what went wrong."""
    for index in range(20):
        case = cases.make(3, index)
        assert campaign.shown(case.script) == campaign.shown(cases.make(3, index).script)
        assert campaign.shown(case.sent) == campaign.shown(cases.make(3, index).sent)
        if case.store != "memory":
            continue
        first, second = (conversation.run(case, tmp_path) for _ in range(2))
        # HTTP events are answered in threads, which keep the real time.
        assert first == second or any(name.startswith("http") for name in first.outcomes)


def test_what_goes_wrong_is_shown_without_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that says too much is found, and one event is enough to see it."""

    class Talkative(Longwire):
        async def _handle(self, *args: Any, **options: Any) -> Any:
            answer = await super()._handle(*args, **options)
            return {**answer, "body": "bye"} if answer == {"statusCode": 200} else answer

    monkeypatch.setattr(conversation, "Longwire", Talkative)
    tally = campaign.campaign(4, 30.0, tmp_path, cases=100)
    assert tally.failed is not None
    text = campaign.explain(tally.failed, tmp_path)
    assert "was answered {'statusCode': 200, 'body': 'bye'}" in text
    assert f"python -m tests.campaigns.fuzz --seed 4 --case {tally.failed.index}\n" in text
    assert "event 1: " in text
    assert "event 2: " not in text


def test_a_hang_is_known_at_once() -> None:
    """No real time passes, neither for one that waits for nothing nor for one that never ends."""

    async def wait_for_nothing() -> None:
        await asyncio.get_running_loop().create_future()

    async def look_for_ever() -> None:
        while True:
            await asyncio.sleep(1)

    for hanging in (wait_for_nothing, look_for_ever):
        world = World()
        with world.rules():
            loop = world.loop()
            task = loop.create_task(hanging())
            with pytest.raises(HangError):
                loop.run_until_complete(task)
            world.now = 0.0
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                loop.run_until_complete(task)
            loop.close()
