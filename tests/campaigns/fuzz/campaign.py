"""Fuzzing: generated events and generated apps, for so many seconds.

    python -m tests.campaigns.fuzz --seconds 60 --seed 7
    python -m tests.campaigns.fuzz --seed 7 --case 123

Only documented errors may come out, and nothing may hang, leak or be sent to somebody else. The
same seed and number give the same case. The first one that goes wrong is made as small as it can be
and shown.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import faulthandler
import gc
import itertools
import re
import tempfile
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.campaigns.fuzz import cases as generated
from tests.campaigns.fuzz import conversation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.campaigns.fuzz.cases import Case

# Real seconds for one case; only a task that never comes back takes them.
CASE_LIMIT = 60
# How many smaller cases are tried for one that went wrong.
TRIES = 400


class Known(NamedTuple):
    """Something that goes wrong and is known; take it out when it is mended.

    Attributes:
        text: a regular expression for what its description contains.
    """

    name: str
    text: str


KNOWN: tuple[Known, ...] = ()


class Tally:
    """What a campaign has done.

    Attributes:
        failed: the first case that went wrong.
    """

    def __init__(self) -> None:
        self.cases = 0
        self.events = 0
        self.outcomes: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.failed: Case | None = None


def campaign(seed: int, seconds: float, folder: Path, *, cases: int | None = None) -> Tally:
    """Run cases until the time is over, there have been enough, or one goes wrong."""
    tally = Tally()
    until = time.monotonic() + seconds
    for index in itertools.count() if cases is None else range(cases):
        if time.monotonic() >= until:
            break
        case = generated.make(seed, index)
        report = conversation.run(case, folder)
        tally.cases += 1
        tally.events += len(case.sent)
        tally.outcomes += report.outcomes
        tally.known.update(known.name for known in KNOWN if _matches(known, report.wrong))
        if unknown(report.wrong):
            tally.failed = case
            break
    return tally


def unknown(wrong: Sequence[str]) -> list[str]:
    """Return what is wrong and not known."""
    return [text for text in wrong if not any(_matches(known, [text]) for known in KNOWN)]


def _matches(known: Known, wrong: Sequence[str]) -> bool:
    return any(re.search(known.text, text, re.DOTALL) for text in wrong)


def explain(case: Case, folder: Path) -> str:
    """Describe a case that goes wrong, after leaving out of it what does not matter."""
    wrong = unknown(conversation.run(case, folder).wrong)
    small = shrunk(case, wrong[0][:30], folder) if wrong else case
    said = unknown(conversation.run(small, folder).wrong) or wrong or ["(not wrong this time)"]
    defaults = generated.Case(0, 0, (), ())
    others = {
        field.name: getattr(small, field.name)
        for field in fields(small)
        if field.name not in ("seed", "index", "script", "sent")
        and getattr(small, field.name) != getattr(defaults, field.name)
    }
    return "\n".join(
        [
            *(f"WRONG: {text}" for text in said),
            f"again: python -m tests.campaigns.fuzz --seed {case.seed} --case {case.index}",
            f"app script: {shown(small.script)}",
            f"otherwise: {shown(others)}",
            *(
                f"event {number}: {one.seconds} s, then {one.pause} s{' (at once)' * one.at_once}: "
                f"{shown(one.event())}"
                for number, one in enumerate(small.sent, 1)
            ),
        ]
    )


def shrunk(case: Case, symptom: str, folder: Path) -> Case:
    """Leave out events, changes and steps for as long as the same goes wrong."""
    tries = itertools.count()
    smaller = True
    while smaller:
        smaller = False
        for candidate in simpler(case):
            if next(tries) >= TRIES:
                return case
            if any(text.startswith(symptom) for text in conversation.run(candidate, folder).wrong):
                case, smaller = candidate, True
                break
    return case


def simpler(case: Case) -> Iterator[Case]:
    """Yield cases with one thing less."""
    for number, sent in enumerate(case.sent):
        without = case.sent[:number] + case.sent[number + 1 :]
        yield replace(case, sent=without, called=case.called - (number < case.called))
        for change in sent.changes:
            left = tuple(one for one in sent.changes if one is not change)
            yield _with(case, number, replace(sent, changes=left))
        for plain in ({"at_once": False}, {"pause": 0.0}, {"seconds": 20.0}):
            if (calm := replace(sent, **plain)) != sent:
                yield _with(case, number, calm)
    for script in _simpler_scripts(case.script):
        yield replace(case, script=script)
    defaults = generated.Case(0, 0, (), ())
    for name in ("store", "lifespan", "faults", "fanout", "endpoint", "linger", "binary", "http"):
        if getattr(case, name) != getattr(defaults, name):
            yield replace(case, **{name: getattr(defaults, name)})
    if case.called:
        yield replace(case, called=0)


def _with(case: Case, number: int, sent: Any) -> Case:
    return replace(case, sent=(*case.sent[:number], sent, *case.sent[number + 1 :]))


def _simpler_scripts(script: Any) -> Iterator[Any]:
    for number, step in enumerate(script):
        before, after = script[:number], script[number + 1 :]
        yield before + after
        for place, part in enumerate(step):
            if step[0] != "connections" and isinstance(part, tuple) and place:
                yield before + part + after
                for less in _simpler_scripts(part):
                    yield (*before, (*step[:place], less, *step[place + 1 :]), *after)


def shown(value: Any) -> str:
    """Return a Python expression for a value, short also for a long text."""
    match value:
        case str() | bytes() if len(value) > 60 and len(set(value)) == 1:
            return f"{value[:1]!r} * {len(value)}"
        case dict():
            return "{" + ", ".join(f"{key!r}: {shown(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(shown, value)) + "]"
        case tuple():
            return "(" + ", ".join(map(shown, value)) + ("," * (len(value) == 1)) + ")"
    return ascii(value)


def main() -> int:
    """Run a campaign, or one case of it, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--case", type=int, help="run only the case of this number")
    options = parser.parse_args()
    gc.freeze()  # what is there already need not be looked at after each case
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.case is not None:
            case = generated.make(options.seed, options.case)
            print(explain(case, folder))
            return 1 if unknown(conversation.run(case, folder).wrong) else 0
        faulthandler.dump_traceback_later(options.seconds + CASE_LIMIT, exit=True)
        began = time.monotonic()
        tally = campaign(options.seed, options.seconds, folder)
        took = time.monotonic() - began
        print(f"seed {options.seed}: {tally.cases} cases ({tally.cases / took:.0f}/s)", end=", ")
        print(f"{tally.events} events, {tally.outcomes.pop('runs of the app', 0)} runs of apps")
        for outcome, number in sorted(tally.outcomes.items()):
            print(f"{number:8} {outcome}")
        for known, number in tally.known.items():
            print(f"{number:8} known: {known}")
        if tally.failed is None:
            return 0
        faulthandler.dump_traceback_later(CASE_LIMIT * 2, exit=True)
        print(explain(tally.failed, folder))
        return 1
