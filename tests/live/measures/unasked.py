"""4 and 7. What an app says unasked after its response: SnapStart, and Managed Instances."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from tests.live.findings import Finding, judged, milliseconds, unmeasured
from tests.live.world import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.live.world import Place, World

SNAPSTART = "the greeting of the first event after a restore"
ASSUMED_OF_SNAPSTART = "comes unasked: the extension's request for its next event is restored"
MANAGED = "what goes on after a response, on Managed Instances"
ASSUMED_OF_MANAGED = "goes on: processes do not freeze between events"
# `/later` sends one second after the response.
PATHS: dict[Place, str] = {"snap": "/greet", "managed": "/later"}
# More than any cold start.
PATIENCE = 20.0
# At once, so that each meets an environment of its own, which has to be restored.
AT_ONCE = 6
# The log comes some seconds later.
LOG_PATIENCE, LOOK_EVERY = 120.0, 5.0
RESTORED = ("RESTORE_REPORT", "Restore Duration", '"platform.restoreReport"')


class Heard(NamedTuple):
    """What one client heard without a word of its own: None is nothing."""

    frame: str | None
    seconds: float


async def measure_snapstart(world: World) -> list[Finding]:
    """Connect to a version with SnapStart; count the restores."""
    began = world.now()
    try:
        heard = await _listen(world, "snap", AT_ONCE)
    except Unavailable as error:
        return [unmeasured(SNAPSTART, ASSUMED_OF_SNAPSTART, str(error))]
    restores, asked = 0, world.now()
    while not restores and world.now() - asked < LOG_PATIENCE:
        await world.sleep(LOOK_EVERY)
        restores = count_restores(await world.logs("snap", began))
    return [judge_snapstart(heard, restores)]


async def measure_managed(world: World) -> list[Finding]:
    """Connect to a function on Managed Instances."""
    try:
        heard = await _listen(world, "managed", AT_ONCE)
    except Unavailable as error:
        return [unmeasured(MANAGED, ASSUMED_OF_MANAGED, str(error))]
    return [_judge(MANAGED, ASSUMED_OF_MANAGED, heard)]


def judge_snapstart(heard: Sequence[Heard], restores: int) -> Finding:
    """Judge what was heard, of environments that were restored."""
    if not restores:
        why = "the log names no restore: the environments had been started in another way"
        return unmeasured(SNAPSTART, ASSUMED_OF_SNAPSTART, why)
    return _judge(SNAPSTART, ASSUMED_OF_SNAPSTART, heard, f"; {restores} restores", restores)


def count_restores(lines: Sequence[str]) -> int:
    """Return how many environments a log says were restored."""
    return sum(any(sign in line for sign in RESTORED) for line in lines)


def _judge(
    about: str, assumed: str, heard: Sequence[Heard], more: str = "", restores: int | None = None
) -> Finding:
    seconds = [each.seconds for each in heard if each.frame is not None]
    seen = f"{len(seconds)} of {len(heard)} clients"
    seen += f", after {milliseconds(seconds)}" if seconds else " heard anything"
    so = len(seconds) == len(heard)
    return judged(about, assumed, seen + more, so=so, seconds=seconds, restores=restores)


async def _listen(world: World, place: Place, clients: int) -> list[Heard]:
    async def one() -> Heard:
        async with world.connect(place, PATHS[place], "near") as client:
            began = world.now()
            heard = await client.hear(PATIENCE)
            return Heard(heard if isinstance(heard, str) else None, world.now() - began)

    return await asyncio.gather(*(one() for _ in range(clients)))
