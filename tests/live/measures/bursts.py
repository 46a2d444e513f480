"""5. Many messages of one connection at once: side by side? 1008? What says a throttled route?"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.live.findings import Finding, judged, unmeasured
from tests.live.world import Closed, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.live.world import Client, Place, World

BURST = "a burst of one connection's messages"
ASSUMED_OF_A_BURST = "all are invoked, side by side"
FLOOD = "a client that floods"
ASSUMED_OF_A_FLOOD = "is closed with 1008"
THROTTLE = "messages above the throttle of a route"
ASSUMED_OF_A_THROTTLE = 'are answered by a frame {"message", "connectionId", "requestId"}'
MESSAGES, MANY, FEW = 30, 1000, 30
# Seconds that the app takes for a message of the burst; the others are to come fast.
TAKES = 0.2
# Seconds in which nothing comes before it is taken to be over.
SILENCE = 15.0


class Burst(NamedTuple):
    """What came back: the answers, other frames by their text, and the end."""

    answers: list[dict[str, Any]]
    others: Counter[str]
    closed: Closed | None


async def measure(world: World) -> list[Finding]:
    """Send a burst, a flood, and more than a throttled route takes."""
    findings = [judge_burst(MESSAGES, await burst(world, "main", MESSAGES, TAKES))]
    findings.append(judge_flood(MANY, await burst(world, "main", MANY)))
    try:
        throttled = await burst(world, "throttled", FEW)
    except Unavailable as error:
        return [*findings, unmeasured(THROTTLE, ASSUMED_OF_A_THROTTLE, str(error))]
    return [*findings, judge_throttle(FEW, throttled)]


def judge_burst(sent: int, burst: Burst) -> Finding:
    """Judge whether all came, and whether any two were served at the same time."""
    numbers = Counter(answer["n"] for answer in burst.answers)
    together = overlaps([(answer["began"], answer["ended"]) for answer in burst.answers])
    order = "in order" if list(numbers) == sorted(numbers) else "in another order"
    seen = f"{len(numbers)} of {sent} answered, {order}, up to {together} at a time"
    if twice := sum(times > 1 for times in numbers.values()):
        seen += f"; {twice} more than once"
    so = len(numbers) == sent and not twice and together > 1
    found = {"answered": len(numbers), "together": together, "twice": twice}
    return judged(BURST, ASSUMED_OF_A_BURST, seen + _rest(burst), so=so, **found)


def judge_flood(sent: int, burst: Burst) -> Finding:
    """Judge how a flood ended."""
    code = None if burst.closed is None else burst.closed.code
    seen = f"{len(burst.answers)} of {sent} answered, then "
    seen += "nothing more, still open" if code is None else f"closed with {code}"
    others = Burst([], burst.others, None)
    return judged(FLOOD, ASSUMED_OF_A_FLOOD, seen + _rest(others), so=code == 1008, code=code)


def judge_throttle(sent: int, burst: Burst) -> Finding:
    """Judge what came instead of answers."""
    if len(burst.answers) == sent and burst.closed is None:
        why = "all were answered: the throttle was not in force"
        return unmeasured(THROTTLE, ASSUMED_OF_A_THROTTLE, why)
    seen = f"{len(burst.answers)} of {sent} answered" + _rest(burst)
    so = burst.closed is None and any(_is_error(text) for text in burst.others)
    return judged(THROTTLE, ASSUMED_OF_A_THROTTLE, seen, so=so, frames=dict(burst.others))


def overlaps(intervals: Sequence[tuple[float, float]]) -> int:
    """Return how many intervals there are at most at one time."""
    events = sorted(
        [(began, 1) for began, _ in intervals] + [(ended, -1) for _, ended in intervals]
    )
    now = most = 0
    for _, change in events:
        now += change
        most = max(most, now)
    return most


def _rest(burst: Burst) -> str:
    text = "".join(f"; {times} times {frame}" for frame, times in burst.others.most_common(3))
    closed = burst.closed
    return text + (f"; closed with {closed.code} {closed.reason!r}" if closed is not None else "")


def _is_error(text: str) -> bool:
    return text.startswith('{"message"')


async def burst(world: World, place: Place, messages: int, takes: float = 0.0) -> Burst:
    """Send so many messages, for each of which the app takes so long; return what comes."""
    async with world.connect(place, "/timed", "near") as client:
        for number in range(messages):
            await client.say(json.dumps({"n": number, "takes": takes}))
        return await _gather(client, messages)


async def _gather(client: Client, messages: int) -> Burst:
    burst = Burst([], Counter(), None)
    while len(burst.answers) < messages:
        heard = await client.hear(SILENCE)
        if heard is None:
            return burst
        if isinstance(heard, Closed):
            return burst._replace(closed=heard)
        answer = _object(heard)
        if "began" in answer:
            burst.answers.append(answer)
        else:
            burst.others[_alike(answer) if answer else repr(heard)] += 1
    return burst


def _alike(frame: dict[str, Any]) -> str:
    # The ids are of no interest, and would make each frame another one.
    ids = {key: "..." for key in ("connectionId", "requestId") if key in frame}
    return json.dumps({**frame, **ids})


def _object(heard: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(heard)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
