"""The fault campaign: thousands of conversations in which everything goes wrong that can.

    python -m tests.campaigns.chaos --conversations 3000 --real 200 --seed 7

Processes die in every phase, answers of the store and posts are lost, late or doubled,
`$disconnect` comes early, late, twice or never, messages overtake each other, records expire. Every
eighth conversation has none of that, and has to be complete. What must be true of each is in
`conversation.py` and `gateway.py`; it is all simulated (`clock.py`), so that a
seed tells the whole campaign. `--only INDEX` plays one conversation again and tells it. Then come
some more with real processes and SIGKILL (`real.py`).
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from longwire_backends.memory import MemoryBackend
from tests.campaigns.chaos import real
from tests.campaigns.chaos.conversation import Outcome, converse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Totals:
    """What a campaign did."""

    def __init__(self) -> None:
        self.conversations = self.calm = self.clients = 0
        self.frames = self.told = self.processes = 0
        self.events: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.tolerated: Counter[str] = Counter()
        self.windows: Counter[str] = Counter()
        self.apps: Counter[str] = Counter()
        self.bad: list[Outcome] = []
        self._digest = hashlib.blake2b(digest_size=6)

    def add(self, outcome: Outcome) -> None:
        self.conversations += 1
        self.calm += outcome.calm
        self.clients += outcome.clients
        self.frames += outcome.frames
        self.told += outcome.told
        self.processes += outcome.processes
        self.events += outcome.events
        self.faults += outcome.faults
        self.kills += outcome.kills
        self.tolerated += outcome.tolerated
        self.windows += outcome.windows
        self.apps[outcome.app] += 1
        self._digest.update("\n".join(outcome.lines).encode())
        if outcome.violations:
            self.bad.append(outcome)

    def lines(self) -> Iterable[str]:
        yield (
            f"{self.conversations} conversations ({self.calm} of them calm) of {self.clients} "
            f"clients in {self.processes} processes: {self.events.total()} events, "
            f"{self.frames} frames, {self.told} ends told; digest {self._digest.hexdigest()}"
        )
        yield f"events: {_counted(self.events)}"
        yield f"apps: {_counted(self.apps)}"
        yield f"faults ({self.faults.total()}): {_counted(self.faults)}"
        yield f"kills ({self.kills.total()}) in {len(self.kills)} phases:"
        for phase, count in sorted(self.kills.items()):
            yield f"  {count:4d}  {phase}"
        if self.windows:
            yield f"turns: {_counted(self.windows)}"
        if self.tolerated:
            yield f"tolerated, see known.py: {_counted(self.tolerated)}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


def campaign(
    seed: int,
    indexes: Iterable[int],
    *,
    patience: int = 1,
    make_store: Callable[..., MemoryBackend] = MemoryBackend,
    replay: bool = False,
) -> Totals:
    """Play conversations until so many have violated something."""
    totals = Totals()
    gc.collect()
    gc.freeze()  # what there is already need not be looked at after each conversation
    try:
        for index in indexes:
            totals.add(converse(seed, index, make_store, replay=replay))
            if len(totals.bad) >= patience:
                break
    finally:
        gc.unfreeze()
    return totals


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.chaos")
    parser.add_argument("--conversations", type=int, default=3000)
    parser.add_argument("--real", type=int, default=200, help="with real processes")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", type=int, metavar="INDEX", help="play this one, and tell it")
    parser.add_argument("--patience", type=int, default=1, help="violating ones to stop at")
    parser.add_argument("--replay", action="store_true", help="let apps keep their variables")
    options = parser.parse_args()
    if options.only is not None:
        outcome = converse(options.seed, options.only, replay=options.replay)
        print(*outcome.lines, sep="\n")
        return 1 if outcome.violations else 0
    ok = _simulated(options.seed, options.conversations, options.patience, replay=options.replay)
    return 0 if _real(options.seed, options.real, replay=options.replay) and ok else 1


def _simulated(seed: int, conversations: int, patience: int, *, replay: bool) -> bool:
    began = time.perf_counter()
    totals = campaign(seed, range(conversations), patience=patience, replay=replay)
    rate = totals.conversations / (time.perf_counter() - began)
    print(f"chaos, seed {seed}: {rate:.0f} conversations a second")
    print(*totals.lines(), sep="\n")
    for outcome in totals.bad:
        print(f"\nVIOLATED by conversation {outcome.index} of seed {seed}, {outcome.app}:")
        print(*outcome.violations, sep="\n")
    if totals.bad:
        print("\nall that happened in the first of them:")
        print(*totals.bad[0].lines, sep="\n")
    return not totals.bad


def _real(seed: int, conversations: int, *, replay: bool) -> bool:
    if not conversations:
        return True
    began = time.perf_counter()
    world = asyncio.run(real.storm(seed, conversations, replay=replay))
    print(
        f"real processes, seed {seed}: {conversations} conversations in "
        f"{time.perf_counter() - began:.0f} s: {world.events.total()} events, "
        f"{len(world.server.delivered)} frames, {len(world.told)} ends told"
    )
    print(f"events: {_counted(world.events)}")
    print(f"SIGKILL ({world.kills.total()}): {_counted(world.kills)}")
    if world.violations:
        print("\nVIOLATED with real processes:", *world.violations, sep="\n")
    return not world.violations
