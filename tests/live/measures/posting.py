"""1. How soon a post to a new connection succeeds after the response of its `$connect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.live.findings import Finding, judged, milliseconds, unmeasured
from tests.live.world import hear_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.live.world import Way, World

ABOUT = "a post after $connect"
# `NEW_CONNECTION` of adapter/longwire/registry/record.py.
LIMIT = 2.0
ASSUMED = f"succeeds within {LIMIT:g} s of the response, not before it"
TIMES: dict[Way, int] = {"near": 20, "far": 5, "slow": 5}
# The app gives up after 20 seconds.
PATIENCE = 40.0

# Seconds after the response, and the status of the post that was made then.
Tries = list[tuple[float, int]]


async def measure(world: World) -> list[Finding]:
    """Connect in each way; the app posts to itself until it succeeds, and tells what it saw."""
    findings = []
    for way, times in TIMES.items():
        tried: list[Tries | None] = []
        while len(tried) < times and tried[-2:] != [None, None]:
            async with world.connect("main", "/soon", way) as client:
                told = await hear_json(client, PATIENCE, "tries")
            tried.append(None if told is None else [(at, status) for at, status in told["tries"]])
        findings.append(judge(way, tried))
    return findings


def judge(way: str, tried: Sequence[Tries | None]) -> Finding:
    """Judge the posts of some connections."""
    about = f"{ABOUT}, {way} client"
    known = [tries for tries in tried if tries is not None]
    if not known:
        return unmeasured(about, ASSUMED, "no client was told when its posts succeeded")
    soon = [delay for tries in known if (delay := _delay(tries)) is not None]
    seen = [milliseconds(soon)] if soon else []
    if never := len(known) - len(soon):
        seen.append(f"{never} of {len(known)} never")
    if early := sum(delay < 0 for delay in soon):
        seen.append(f"{early} before the response")
    if silent := len(tried) - len(known):
        seen.append(f"{silent} not told")
    if odd := _odd(known):
        seen.append(f"other statuses: {odd}")
    so = not never and not early and max(soon) <= LIMIT
    return judged(about, ASSUMED, "; ".join(seen), so=so, seconds=soon, statuses=odd)


def _delay(tries: Tries) -> float | None:
    return next((at for at, status in tries if status == 200), None)


def _odd(known: Sequence[Tries]) -> Mapping[int, int]:
    statuses = [status for tries in known for _, status in tries if status not in (200, 410)]
    return {status: statuses.count(status) for status in sorted(set(statuses))}
