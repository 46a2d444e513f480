"""3. What is billed of an event that comes to the function but not to Longwire."""

from __future__ import annotations

import json
import re
import statistics
from typing import TYPE_CHECKING, NamedTuple

from tests.live.findings import Finding, judged, milliseconds, unmeasured

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from tests.live.world import World

ABOUT = "an event that Longwire never sees"
ASSUMED = "its environment is held, and billed, for about 10 ms more than the function takes"
# Half a second is what it was, and is where Longwire cannot look into the runtime.
LIMIT = 0.05
TIMES = 20
PATIENCE, LOOK_EVERY = 180.0, 5.0

_REPORT = re.compile(
    r"REPORT RequestId: (\S+)\s+Duration: ([0-9.]+) ms\s+Billed Duration: ([0-9.]+) ms"
)


class Report(NamedTuple):
    """What Lambda says of an invocation; in seconds."""

    request_id: str
    duration: float
    billed: float


async def measure(world: World) -> list[Finding]:
    """Invoke with an event that the function answers itself, and read Lambda's own reports."""
    began = world.now()
    await world.invoke("main", {"live": "unseen"})  # may be a cold start, which takes longer
    asked = {await world.invoke("main", {"live": "unseen"}) for _ in range(TIMES)}
    found: list[Report] = []
    while len(found) < len(asked) and world.now() - began < PATIENCE:
        await world.sleep(LOOK_EVERY)
        found = read(await world.logs("main", began), asked)
    return [judge(found)]


def read(lines: Sequence[str], asked: Collection[str]) -> list[Report]:
    """Return the reports of these invocations, from logs in either format."""
    reports = {one.request_id: one for line in lines for one in _reports(line)}
    return [report for request_id, report in reports.items() if request_id in asked]


def _reports(line: str) -> Iterator[Report]:
    if found := _REPORT.search(line):
        yield Report(found[1], float(found[2]) / 1000, float(found[3]) / 1000)
    elif '"platform.report"' in line:
        record = json.loads(line)["record"]
        metrics = record["metrics"]
        duration, billed = metrics["durationMs"] / 1000, metrics["billedDurationMs"] / 1000
        yield Report(record["requestId"], duration, billed)


def judge(reports: Sequence[Report]) -> Finding:
    """Judge what was reported."""
    if not reports:
        return unmeasured(ABOUT, ASSUMED, "no REPORT line of these events came into the log")
    durations = [report.duration for report in reports]
    billed = [report.billed for report in reports]
    seen = f"{milliseconds(durations)}; billed: {milliseconds(billed)}"
    so = statistics.median(durations) <= LIMIT
    return judged(ABOUT, ASSUMED, seen, so=so, durations=durations, billed=billed)
