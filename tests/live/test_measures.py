"""Each measurement says "as assumed" where AWS does what is assumed, and "otherwise" where not."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.fakes import FakeAWS
from tests.live.measures import bursts, ending, frames, posting, unasked, unseen
from tests.live.measuring import MEASUREMENTS, measure_all
from tests.live.world import Closed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.live.fakes import Frame
    from tests.live.findings import Finding

pytestmark = pytest.mark.anyio


def _verdicts(findings: Sequence[Finding]) -> list[str]:
    return [finding.verdict for finding in findings]


# 1. A post to a new connection


def _tries(*tries: tuple[float, int]) -> list[Frame]:
    return ["taken", json.dumps({"tries": tries})]


@pytest.mark.parametrize(
    ("told", "verdict", "seen"),
    [
        (_tries((-0.01, 410), (0.04, 200)), "as assumed", "40 / 40 / 40 ms"),
        (_tries((-0.01, 410), (2.5, 200)), "otherwise", "2500 / 2500 / 2500 ms"),
        (_tries((-0.01, 200)), "otherwise", "before the response"),
        (_tries((-0.01, 410), (20.0, 410)), "otherwise", "20 of 20 never"),
        (_tries((-0.01, 403), (0.02, 200)), "as assumed", "other statuses: {403: 20}"),
        ([], "not measured", "no client was told"),
    ],
)
async def test_posting(told: list[Frame], verdict: str, seen: str) -> None:
    aws = FakeAWS(greetings={("main", "/soon"): told})
    findings = await posting.measure(aws.world())
    assert _verdicts(findings) == [verdict] * 3
    assert seen in findings[0].seen


def test_some_that_were_not_told_do_not_hide_the_others() -> None:
    finding = posting.judge("near", [None, [(0.1, 200)]])
    assert finding.verdict == "as assumed"
    assert "1 not told" in finding.seen


# 2. From SIGTERM to SIGKILL


@pytest.mark.parametrize(
    ("last", "verdict"), [(0.49, "as assumed"), (0.15, "otherwise"), (None, "not measured")]
)
async def test_ending(last: float | None, verdict: str) -> None:
    ticks = [] if last is None else [f"LIVE-TICK ab {last / 2:.3f}\nLIVE-TICK ab {last:.3f}\n"]
    aws = FakeAWS(lines=["START RequestId: 1", *ticks])
    (finding,) = await ending.measure(aws.world())
    assert finding.verdict == verdict
    assert aws.renewed == ["ending"]
    assert [function for function, _ in aws.invoked] == ["ending", "ending"]


def test_the_shortest_end_counts() -> None:
    lasted = ending.read(["LIVE-TICK ab 0.500", "LIVE-TICK cd 0.010", "LIVE-TICK cd 0.150"])
    assert lasted == {"ab": 0.5, "cd": 0.15}
    assert ending.judge(lasted, 60).verdict == "otherwise"


# 3. An event that Longwire never sees


def _text_report(number: int, duration: float) -> str:
    return (
        f"REPORT RequestId: request-{number}\tDuration: {duration:.2f} ms\tBilled Duration: "
        f"{duration + 1:.0f} ms\tMemory Size: 512 MB\tMax Memory Used: 80 MB\n"
    )


def _json_report(number: int, duration: float) -> str:
    metrics = {"durationMs": duration, "billedDurationMs": duration + 1, "memorySizeMB": 512}
    record = {"requestId": f"request-{number}", "metrics": metrics, "status": "success"}
    return json.dumps(
        {"time": "...", "type": "platform.report", "record": record}, separators=(",", ":")
    )


@pytest.mark.parametrize("report", [_text_report, _json_report])
@pytest.mark.parametrize(
    ("duration", "verdict"), [(11.0, "as assumed"), (503.0, "otherwise"), (None, "not measured")]
)
async def test_unseen(report: Any, duration: float | None, verdict: str) -> None:
    lines = [] if duration is None else [report(number, duration) for number in range(2, 22)]
    # The first is a cold start, and another one's is not ours.
    aws = FakeAWS(lines=[report(1, 3000.0), report(99, 3000.0), *lines])
    (finding,) = await unseen.measure(aws.world())
    assert finding.verdict == verdict
    assert len(finding.numbers.get("durations", [])) == len(lines)
    assert aws.invoked[0] == ("main", {"live": "unseen"})


# 4 and 7. What comes unasked


@pytest.mark.parametrize(
    ("heard", "restored", "verdict"),
    [
        (["hello"], True, "as assumed"),
        ([], True, "otherwise"),
        ([Closed(1006)], True, "otherwise"),
        (["hello"], False, "not measured"),
    ],
)
async def test_snapstart(heard: list[Frame], restored: bool, verdict: str) -> None:
    lines = ["RESTORE_REPORT Restore Duration: 300.10 ms\n"] if restored else ["INIT_START"]
    aws = FakeAWS(greetings={("snap", "/greet"): heard}, lines=lines)
    (finding,) = await unasked.measure_snapstart(aws.world())
    assert finding.verdict == verdict


@pytest.mark.parametrize(("heard", "verdict"), [(["later"], "as assumed"), ([], "otherwise")])
async def test_managed(heard: list[Frame], verdict: str) -> None:
    aws = FakeAWS(greetings={("managed", "/later"): heard})
    (finding,) = await unasked.measure_managed(aws.world())
    assert finding.verdict == verdict


async def test_what_is_not_there_is_said() -> None:
    aws = FakeAWS(away={"snap": "no SnapStart here", "managed": "no instances"})
    for measure, why in (
        (unasked.measure_snapstart, "no SnapStart here"),
        (unasked.measure_managed, "no instances"),
    ):
        (finding,) = await measure(aws.world())
        assert (finding.verdict, finding.seen) == ("not measured", why)


# 5. Bursts


class Timed:
    """Answers each message, `at_once` at a time; the last ones in another way."""

    def __init__(self, at_once: int, *, limit: int = 10**9, rest: Sequence[Frame] = ()) -> None:
        self.at_once, self.limit, self.rest = at_once, limit, rest

    def __call__(self, said: str | bytes) -> Sequence[Frame]:
        number = json.loads(said)["n"]
        if number >= self.limit:
            return self.rest
        began = 10.0 * (number // self.at_once)
        return [json.dumps({"n": number, "began": began, "ended": began + 1})]


ERROR = json.dumps({"message": "Too Many Requests", "connectionId": "a=", "requestId": "b="})


@pytest.mark.parametrize(
    ("burst", "verdict", "seen"),
    [
        (Timed(5), "as assumed", "30 of 30 answered, in order, up to 5 at a time"),
        (Timed(1), "otherwise", "up to 1 at a time"),
        (Timed(5, limit=20), "otherwise", "20 of 30 answered"),
        (Timed(5, limit=20, rest=[Closed(1008, "busy")]), "otherwise", "closed with 1008 'busy'"),
    ],
)
async def test_a_burst(burst: Timed, verdict: str, seen: str) -> None:
    finding = (await bursts.measure(FakeAWS(answer=burst).world()))[0]
    assert finding.verdict == verdict
    assert seen in finding.seen


@pytest.mark.parametrize(
    ("flood", "verdict", "seen"),
    [
        (
            Timed(5, limit=100, rest=[Closed(1008)]),
            "as assumed",
            "100 of 1000 answered, then closed",
        ),
        (Timed(5, limit=100, rest=[Closed(1001)]), "otherwise", "closed with 1001"),
        (Timed(5), "otherwise", "1000 of 1000 answered, then nothing more, still open"),
    ],
)
async def test_a_flood(flood: Timed, verdict: str, seen: str) -> None:
    finding = (await bursts.measure(FakeAWS(answer=flood).world()))[1]
    assert finding.verdict == verdict
    assert seen in finding.seen


@pytest.mark.parametrize(
    ("throttled", "verdict", "seen"),
    [
        (Timed(1, limit=2, rest=[ERROR]), "as assumed", '28 times {"message": "Too Many Requests"'),
        (Timed(1, limit=2, rest=[Closed(1008)]), "otherwise", "closed with 1008"),
        (Timed(1, limit=2), "otherwise", "2 of 30 answered"),
        (Timed(1), "not measured", "not in force"),
    ],
)
async def test_a_throttle(throttled: Timed, verdict: str, seen: str) -> None:
    finding = (await bursts.measure(FakeAWS(answer=throttled).world()))[2]
    assert finding.verdict == verdict
    assert seen in finding.seen


def test_a_message_that_is_answered_twice_is_seen() -> None:
    answer = {"n": 0, "began": 0.0, "ended": 1.0}
    answers = [answer, answer, {**answer, "n": 1}]
    finding = bursts.judge_burst(2, bursts.Burst(answers, Counter(), None))
    assert finding.verdict == "otherwise"
    assert "1 more than once" in finding.seen


# 6. Odd frames


def _as_assumed(to: str, body: bytes) -> tuple[int, list[Frame]]:
    if to != "own":
        return (410 if to == frames.NEVER else 400), []
    if len(body) > 128 * 1024:
        return 413, []
    return 200, [] if body == frames.NOT_UTF8 else [body.decode()]


def _otherwise(to: str, body: bytes) -> tuple[int, list[Frame]]:
    if to != "own":
        return 403, []
    return 200, [body] if body == frames.NOT_UTF8 else [body[: 32 * 1024].decode()]


def _closing(said: str | bytes) -> list[Frame]:
    match said:
        case frames.NOT_UTF8:
            return [Closed(1007)]
        case b"abc":
            return [Closed(1003)]
    return [Closed(1009)]


async def test_frames_as_assumed() -> None:
    aws = FakeAWS(post=_as_assumed, answer=_closing)
    findings = await frames.measure(aws.world())
    assert _verdicts(findings) == ["as assumed"] * 9 + ["not measured"]


async def test_frames_otherwise() -> None:
    aws = FakeAWS(post=_otherwise, answer=lambda said: ["taken"])
    findings = await frames.measure(aws.world())
    assert _verdicts(findings) == ["otherwise"] * 9 + ["not measured"]
    assert findings[5].seen == "200, 2 bytes in a binary frame b'\\xff\\xfe'"


@pytest.mark.parametrize(
    ("lasts", "end", "verdict"),
    [(600, Closed(1001), "as assumed"), (60, Closed(1006), "otherwise"), (None, None, "otherwise")],
)
async def test_idle(lasts: float | None, end: Closed | None, verdict: str) -> None:
    aws = FakeAWS(post=_as_assumed, answer=_closing, long=True)
    world = aws.world()
    began = aws.clock.now

    class Idle:
        async def hear(self, seconds: float) -> Closed | None:
            aws.clock.now += seconds
            return end if lasts is not None and aws.clock.now - began >= lasts else None

        async def ping(self, seconds: float) -> bool:
            return True

    finding = await frames.watch_idle(Idle(), world)  # type: ignore[arg-type]  # it says nothing
    assert finding.verdict == verdict


# All of them


async def test_one_that_fails_does_not_stop_the_others() -> None:
    def broken(to: str, body: bytes) -> tuple[int, list[Frame]]:
        raise OSError("no route to host")

    told: list[str] = []
    aws = FakeAWS(post=broken, answer=Timed(5), greetings={("managed", "/later"): ["later"]})
    lacks = {"unseen": "nothing is billed here"}
    findings: list[Finding] = []
    await measure_all(aws.world(), lacks, findings, told.append)
    seen = {finding.about: finding for finding in findings}
    assert seen["odd frames and posts"].seen == "failed: OSError: no route to host"
    assert seen[unseen.ABOUT].seen == "nothing is billed here"
    assert seen[unasked.MANAGED].verdict == "as assumed"
    assert len(told) == len(MEASUREMENTS) - 1
