"""Generated cases: an app, a handler, and the events of a conversation or two."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Literal

from tests.campaigns.fuzz import api, events, scripts
from tests.campaigns.fuzz.events import Sent

if TYPE_CHECKING:
    from tests.campaigns.fuzz.scripts import Script

ENDPOINT = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"


@dataclass(frozen=True)
class Case:
    """Everything that a case is made of.

    Attributes:
        called: so many events are handled by `handler(...)`, the others by `handler.handle(...)`.
        faults: what goes wrong at `@connections`, each in one of so many requests.
        patience: seconds between the last event and the end.
    """

    seed: int
    index: int
    script: Script
    sent: tuple[Sent, ...]
    called: int = 0
    store: str = "memory"
    lifespan: tuple[str, str] = ("off", "none")
    http: str = "async"
    endpoint: str | None = ENDPOINT
    fanout: bool = False
    linger: float = 0.05
    binary: Literal["text", "base64"] = "text"
    faults: dict[str, int] = field(default_factory=dict)
    patience: float = 5.0


def make(seed: int, index: int) -> Case:
    """Return a case; always the same one for the same two numbers."""
    random = Random(f"{seed}/{index}")
    script = scripts.think(random)
    sent = _conversation(random)
    called = random.choice((0, len(sent), len(sent), random.randint(0, len(sent))))
    lifespans = ("off", "off", "auto", "on"), scripts.LIFESPANS
    bad = random.sample(api.FAULTS, random.randint(1, 3)) if random.random() < 0.4 else []
    return Case(
        *(seed, index, script, sent),
        called=called if random.random() < 0.6 else 0,
        store="sqlite3" if random.random() < 0.1 else "memory",
        lifespan=(random.choice(lifespans[0]), random.choice(lifespans[1])),
        http=random.choice(("none", "async", "sync")),
        endpoint=random.choice((ENDPOINT, None)),
        fanout=random.random() < 0.3,
        linger=random.choice((0.05, 0.05, 0.0, 2.0)),
        binary=random.choice(("text", "text", "base64")),
        faults={fault: random.choice((1, 2, 4)) for fault in bad},
        patience=random.choice((0.0, 0.002, 5.0, 5.0)),
    )


def _conversation(random: Random) -> tuple[Sent, ...]:
    ids = [f"QWErT_fALIAMC{number:02d}=" for number in range(random.choice((1, 1, 1, 2)))]
    if random.random() < 0.08:
        ids[0] = random.choice(events.STRINGS)
    kinds = ["connect", *["message"] * random.choice((0, 1, 1, 2, 3)), "disconnect"]
    if random.random() < 0.3:
        random.shuffle(kinds)
    for _ in range(random.choice((0, 0, 1, 2))):
        kinds.insert(
            random.randint(0, len(kinds)),
            random.choice((*events.WEBSOCKET, *events.OTHER)),
        )
    if random.random() < 0.4:
        del kinds[random.randrange(len(kinds))]
    mutated = random.random() < 0.6
    return tuple(
        Sent(
            kind,
            random.choice(ids),
            events.changes(random, kind) if mutated else (),
            seconds=random.choice(
                (1.0, 1.0, 3.0, 0.5, 20.0, 0.1, 0.0, 29.0 if kind == "sweep" else None)
            ),
            pause=random.choice((0.0, 0.0, 0.002, 0.05, 1.0, 4.0)),
            at_once=kind == "message" and random.random() < 0.3,
            damage=random.choice(events.DAMAGE) if random.random() < 0.02 else None,
        )
        for kind in kinds
    )
