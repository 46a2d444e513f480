"""The tables that `make scale` prints, and that `docs/large-groups.md` has between marks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tests.campaigns.scale import facts, money, scenarios
from tests.campaigns.scale.functions import Function
from tests.campaigns.scale.gateway import Region
from tests.campaigns.scale.scenarios import Crowd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = tuple[str, ...]

# The page recommends this for the queue's event source.
AT_ONCE = 5
SIZES = (1_000, 10_000, 100_000, 1_000_000)
# A region with the smaller limits.
SMALL = Region(rate=2_500, burst=1_250)
_SAMPLE = 20  # messages
_SWEEP_TIME = 29.0  # seconds that a sweep has in a function with 30
_PART_OF_ALL = 30_000  # members; what is compared does not need more


class Table(NamedTuple):
    """A table, and what makes its rows: one after the other, as each takes a while."""

    name: str
    head: Row
    rows: Callable[[int, int], Iterator[Row]]


def everybody(seed: int, most: int) -> Iterator[Row]:
    """Yield how long it takes to reach everybody, and what it costs."""
    for members in SIZES:
        if members <= most:
            found = scenarios.reach(members, seed, Function(at_once=AT_ONCE))
            yield (
                f"{members:,}",
                _seconds(found.handed_over),
                _seconds(found.half),
                _all(found),
                f"{found.environments}",
                f"{_thousands(found.refused)}",
                _dollars(found.dollars),
            )


def throttles(seed: int, most: int) -> Iterator[Row]:
    """Yield what more environments at once do to a send, and to an account."""
    members = min(most, _PART_OF_ALL)
    for region in (Region(), SMALL):
        for at_once in (2, 5, 10, 30):
            found = scenarios.reach(members, seed, Function(at_once=at_once), region=region)
            asked = found.refused + members
            yield (
                f"{region.rate:,.0f}",
                f"{at_once:,}",
                f"{found.environments}",
                _all(found),
                f"{found.busiest:,}",
                f"{100 * found.refused / asked:.0f} %",
                _dollars(found.dollars),
            )


def crashes(seed: int, most: int) -> Iterator[Row]:
    """Yield what is lost, and what comes twice, when something goes wrong in the middle."""
    members = min(most, _PART_OF_ALL)
    five = Function(at_once=AT_ONCE)
    plays: list[tuple[str, Callable[[], scenarios.Reached]]] = [
        ("nothing", lambda: scenarios.reach(members, seed, five)),
        (
            "a process is killed in the middle of a part",
            lambda: scenarios.reach(members, seed, five, kills=[0.6]),
        ),
        (
            "one answer in a thousand is lost",
            lambda: scenarios.reach(members, seed, five, region=Region(loses=0.001)),
        ),
        (
            "one in a hundred is gone, one in a thousand does not read",
            lambda: scenarios.reach(members, seed, five, crowd=Crowd(0.01, 0.001)),
        ),
        (
            "the same, with `slow_client` at 0.3",
            lambda: scenarios.reach(members, seed, five, crowd=Crowd(0.01, 0.001, 0.3)),
        ),
        (
            "the sender is killed when half is in the queue",
            lambda: scenarios.reach(members, seed, five, sender_dies=members // 2_000),
        ),
    ]
    for what, play in plays:
        found = play()
        yield (
            what,
            f"{found.once:,}",
            f"{found.twice:,}",
            f"{found.gone + found.slow:,}",
            _all(found),
        )


def chat(seed: int, most: int) -> Iterator[Row]:
    """Yield what rooms of several sizes cost; a sample of each is said, and counted."""
    for audience in (2, 10, 100, 1_000):
        if audience <= most:
            clients = facts.RATE.value * 60 / (audience + 1)
            costs = []
            for replay in (False, True):
                said = scenarios.talk(audience, _SAMPLE, seed, replay=replay)
                load = money.Load(int(clients), audience=audience, replay=replay)
                hour = money.hour(load._replace(messages=0)) + said.usage * (60 * clients)
                costs.append(money.dollars(hour))
            yield (
                f"{audience:,}",
                f"{said.median * 1000:.0f} ms",
                f"{clients:,.0f}",
                _dollars(costs[0]),
                _dollars(costs[1]),
                _dollars(1e6 * costs[0] / (clients * 60 * audience)),
            )


def storms(seed: int, most: int) -> Iterator[Row]:
    """Yield how long clients take to come back that all lost their connection at once."""
    for clients in (1_000, 5_000):
        for rooms in (1, 1_000):
            if clients <= most:
                found = scenarios.storm(clients, seed, rooms=rooms)
                yield (
                    f"{clients:,}",
                    f"{rooms:,}",
                    _seconds(found.seconds),
                    f"{found.refused / clients:.1f}",
                    f"{_thousands(found.throttled)}",
                    f"{found.failed:,}",
                    f"{found.environments}",
                    _dollars(found.dollars),
                )


def sweeps(seed: int, most: int) -> Iterator[Row]:
    """Yield what a sweep manages, and what a million connections take and cost."""
    connections = min(most, 5_000)
    for rate in (50, 200, 1_000):
        (found,) = scenarios.sweep(connections, seed, rate=rate, gone=0.0)
        speed = found.checked / found.seconds
        yield (
            f"{rate:,}",
            _thousands(speed),
            _thousands(speed * _SWEEP_TIME),
            _thousands(speed * facts.LONGEST.value),
            f"{1e6 / speed / 3600:.2g} h",
            _dollars(found.dollars * 1e6 / connections),
        )


TABLES = (
    Table(
        "everybody",
        ("members", "the sender waits", "half have it", "all have it", "processes", "429", "cost"),
        everybody,
    ),
    Table(
        "throttles",
        (
            *("account's limit", "maximum concurrency", "processes", "all have it"),
            *("posts in the busiest second", "refused", "cost"),
        ),
        throttles,
    ),
    Table(
        "crashes",
        ("what goes wrong", "got it once", "more often", "gone or slow", "all others have it"),
        crashes,
    ),
    Table(
        "chat",
        (
            *("in a room", "all have it", "clients that the account carries"),
            *("an hour", "with `replay`", "a million deliveries"),
        ),
        chat,
    ),
    Table(
        "storms",
        (
            *("clients", "rooms", "all are back", "refused, for each"),
            *("throttled by DynamoDB", "failed", "processes", "cost"),
        ),
        storms,
    ),
    Table(
        "sweeps",
        (
            *("`rate`", "asked in a second", "in 30 seconds", "in 15 minutes"),
            *("a million take", "and cost"),
        ),
        sweeps,
    ),
)


def shown(table: Table, rows: list[Row]) -> str:
    """Return a table as Markdown."""
    lines = [table.head, ("---:",) * len(table.head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mark(name: str) -> str:
    """Return the comment that stands before a table of this name."""
    return f"<!-- make scale: {name} -->"


def in_page(page: str, name: str) -> list[Row]:
    """Return the rows of a table as a page has them."""
    block = page.partition(mark(name))[2].strip().partition("\n\n")[0].splitlines()
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in block[2:]]


def put_into(page: str, name: str, table: str) -> str:
    """Return the page with another table behind a mark."""
    found = re.compile(re.escape(mark(name)) + r"\n+(?:\|.*\n)*\n*")
    if not found.search(page):
        raise ValueError(f"the page has no {mark(name)}")
    return found.sub(lambda _: f"{mark(name)}\n\n{table}\n\n", page)


def _all(found: scenarios.Reached) -> str:
    """Say when all had it, or how many of those who read never did."""
    return f"{found.lost:,} never" if found.lost else _seconds(found.last)


def _seconds(seconds: float) -> str:
    return f"{float(f'{seconds:.2g}'):g} s"


def _thousands(count: float) -> str:
    return f"{count:,.0f}" if count < 1_000 else f"{float(f'{count:.2g}'):,.0f}"


def _dollars(amount: float) -> str:
    return f"${amount:.2g}" if amount < 100 else f"${float(f'{amount:.2g}'):,.0f}"
