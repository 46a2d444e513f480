"""2. How long a process has between SIGTERM and SIGKILL, with an internal extension alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.live.findings import Finding, judged, unmeasured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.live.world import World

ABOUT = "from SIGTERM to SIGKILL"
# `LIMIT` of adapter/longwire/runtime/sigterm.py: what Longwire plans with.
PLANNED = 0.45
ASSUMED = "500 ms (AWS's core, as published, gives the function's process 150 ms)"
# app/ending.py prints such a line every 10 ms; the first number is its process's.
TICK = re.compile(r"LIVE-TICK (\S+) ([0-9.]+)")
# Seconds for environments to end in, between two looks, and without news after the last tick.
PATIENCE, LOOK_EVERY, QUIET = 1200.0, 10.0, 30.0


async def measure(world: World) -> list[Finding]:
    """End the environments of a function that logs what time it still has."""
    began = world.now()
    await world.invoke("ending", {})
    await world.renew("ending")
    # A new environment takes over; then the old one has nothing to wait for.
    await world.invoke("ending", {})
    lasted: dict[str, float] = {}
    changed = world.now()
    while world.now() - began < PATIENCE and not (lasted and world.now() - changed >= QUIET):
        await world.sleep(LOOK_EVERY)
        if (now := read(await world.logs("ending", began))) != lasted:
            lasted, changed = now, world.now()
    return [judge(lasted, world.now() - began)]


def read(lines: Sequence[str]) -> dict[str, float]:
    """Return for how many seconds each process went on after SIGTERM, as far as it told."""
    lasted: dict[str, float] = {}
    for process, seconds in TICK.findall("\n".join(lines)):
        lasted[process] = max(lasted.get(process, 0.0), float(seconds))
    return lasted


def judge(lasted: Mapping[str, float], waited: float) -> Finding:
    """Judge the last signs of life of some processes."""
    if not lasted:
        why = f"no process was seen to end within {waited / 60:.0f} minutes"
        return unmeasured(ABOUT, ASSUMED, why)
    shortest = min(lasted.values())
    seen = f"{1000 * shortest:.0f} ms at least, in each of {len(lasted)} processes"
    return judged(ABOUT, ASSUMED, seen, so=shortest >= PLANNED, seconds=sorted(lasted.values()))
