"""Compare Longwire with the floor, and beside it with Mangum 0.12.4, boto3 and others.

    python -m benchmarks.run PYTHON_WITH_MANGUM [COMMIT]

The floor (`floor/`) is the least code that does the same once. Aims are ratios to it in the same
run; what others take is only shown, since it differs from machine to machine. All run the same
Starlette app, each in a process of its own, with the same store, and post to the same server in
another. Rounds run in turn; shown are medians. `measured.py` and `client.py` say what is
timed. Then come instructions where there is valgrind (`instructions.py`), what `replay` costs
(`replay.py`; it and the instructions take the commit), and last are functions under Lambda's own
runtime (`runtime.py`). Each aim is printed with what became of it: no figure makes this fail.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import instructions
from benchmarks.frameworks import CASES, MESSAGES
from benchmarks.measured import PAUSE
from benchmarks.race import Contender, Measured, run_cold, run_warm, set_environment
from benchmarks.replay import MEMORY, compare_replay
from benchmarks.runtime import compare_runtimes
from benchmarks.servers import (
    all_stores,
    canned_dynamodb,
    connections,
    proxy,
    quick_connections,
    running,
)
from benchmarks.table import LABEL, Aim, show, show_head

if TYPE_CHECKING:
    from benchmarks.servers import Server, Store

CLIENT_ROUNDS = 41
POSTS_ROUNDS = 7
EVENT_ROUNDS = 7
START_ROUNDS = 11

# Against the floor.
CLIENT_AIMS = {
    "POST": ("one signed POST, kept alive", Aim(1.3, at_most=True)),
    "SIGN": ("sign one request", Aim(None, at_most=True)),
    "GET": ("DynamoDB, get a record", Aim(1.4, at_most=True)),
}
CLIENT_TIMES = {"longwire": 300, "floor": 300, "boto3": 60}

# So many posts make a round.
POSTS_AIMS = {
    "floor": ("floor", Aim(2.3, at_most=True)),
    "boto3": ("boto3, 32 threads", Aim(None)),
    "aiohttp": ("aiohttp, signed by botocore", Aim(6)),
    "httpx": ("httpx, signed by botocore", Aim(None)),
}
POSTS_TIMES = {"longwire": 10_000, "floor": 10_000, "boto3": 1_000, "aiohttp": 4_000, "httpx": 300}

GROUP_SIZES = (1_000, 100_000)
GROUP_MEMORY = Aim(1.1, at_most=True)

AWS_STORES = ("dynamodb", "s3")
MESSAGE_AIM, WITH_SERVER, ON_A_FILE, PAUSED_AIM = (
    Aim(bound, at_most=True) for bound in (2.2, 2.4, 3.0, 2.0)
)
SHOWN = Aim(None)
KINDS = ("CONNECT", "MESSAGE", "MESSAGE-paused", "DISCONNECT")
LABELS = {"MESSAGE-paused": f"MESSAGE, {PAUSE * 1e3:g} ms after another"}
# So many clients come and go in a round. With Mangum and AWS one event takes long, and of two or
# three of them the median flips between two values.
CLIENTS = {"longwire": 100, "floor": 100, "mangum": 8}
AWS_CLIENTS = {"longwire": 15, "floor": 15, "mangum": 4}

# Against Mangum, and against the import of the app.
COLD_AIMS = {
    "sqlite3": (Aim(2, clock="wall"), Aim(1.25, at_most=True, clock="wall")),
    "dynamodb": (Aim(3, clock="wall"), Aim(1.5, at_most=True, clock="wall")),
}
CONSTRUCTION = Aim(None, at_most=True)

NO_LINGER = Aim(0, at_most=True)
REQUESTS_AIM = Aim(1, at_most=True)
COUNTED = 5  # messages


class Adapters(NamedTuple):
    """How to run either adapter, and where it posts to."""

    python_with_mangum: str
    management: Server

    def contender(
        self, mode: str, name: str, store: Store, *, port: int | None = None, times: int = 1
    ) -> Contender:
        """Make a contender; `port` replaces that of the store."""
        adapter = "mangum" if name == "mangum" else "longwire"  # whose settings it takes
        arguments = store.arguments(
            adapter, self.management.address, store.port if port is None else port
        )
        command = ["-m", "benchmarks.measured", mode, name, arguments]
        python = self.python_with_mangum if adapter == "mangum" else sys.executable
        return Contender(command, times, python)


def main(python_with_mangum: str, commit: str = "") -> None:
    set_environment()
    print(
        f"Python {sys.version.split()[0]}, starlette {version('starlette')}; medians of rounds run "
        f"in turn: {CLIENT_ROUNDS} (client), {POSTS_ROUNDS} (posts), {EVENT_ROUNDS} (events), "
        f"{START_ROUNDS} (cold starts)"
    )
    compare_posts(python_with_mangum)
    compare_group_sizes()
    with running(connections) as management, all_stores() as stores:
        adapters = Adapters(python_with_mangum, management)
        compare_clients(management.address)
        for store in (MEMORY, *stores):
            compare_events(adapters, store)
        by_name = {store.name: store for store in stores}
        for name in COLD_AIMS:
            compare_starts(adapters, by_name[name])
        compare_construction(adapters, by_name["dynamodb"])
        print()
        for store in stores:
            if store.port:
                compare_requests(adapters, store)
        show_frameworks(management)
        if instructions.is_there():
            instructions.compare_instructions(commit)
        compare_replay(management, stores, commit)
    compare_runtimes()


def compare_clients(url: str) -> None:
    with running(canned_dynamodb) as dynamodb:
        contenders = [
            Contender(["-m", "benchmarks.client", name, url, dynamodb.address], times)
            for name, times in CLIENT_TIMES.items()
        ]
        ours, floor, theirs = run_warm(contenders, list(CLIENT_AIMS), CLIENT_ROUNDS)
    show_head("AWS client, us", "other")
    for what, (label, aim) in CLIENT_AIMS.items():
        show(label, ours[what], floor[what], 1e6, aim)
        show("  boto3", ours[what], theirs[what], 1e6, SHOWN)


def compare_posts(python_with_mangum: str) -> None:
    with running(quick_connections) as server:
        # Mangum brings the other clients along.
        pythons = dict.fromkeys(("aiohttp", "httpx"), python_with_mangum)
        contenders = [
            Contender(
                ["-m", "benchmarks.posts", name, server.address],
                times,
                pythons.get(name, sys.executable),
            )
            for name, times in POSTS_TIMES.items()
        ]
        found = [each["POST"] for each in run_warm(contenders, ["POST"], POSTS_ROUNDS)]
        if server.count() != (1 + POSTS_ROUNDS) * sum(POSTS_TIMES.values()):
            raise RuntimeError(f"only {server.count()} posts arrived")
    figures = dict(zip(POSTS_TIMES, found, strict=True))
    ours = figures["longwire"]
    show_head("10,000 posts, us each", "other")
    for name, (label, aim) in POSTS_AIMS.items():
        show(label, ours, figures[name], 1e6, aim)
    floor = figures["floor"]
    print(f"{'  posts a second':{LABEL}}{'':29}{1 / ours.wall:>10,.0f}{1 / floor.wall:>10,.0f}")


def compare_group_sizes() -> None:
    """Show that a group's size decides how long a send takes, and not how much memory."""
    peaks = []
    with running(quick_connections) as server:
        for size in GROUP_SIZES:
            with Measured(Contender(["-m", "benchmarks.posts", "longwire", server.address])) as one:
                one.perform("POST", size)
                peaks.append(one.peak_memory())
    small, large = peaks
    label = "peak memory, a group of 100,000, MB"
    ratio, unit = large / small, 2**20
    print(
        f"{label:{LABEL}}{large / unit:>9.1f}{small / unit:>10.1f}{ratio:>8.2f}x{'':29}   "
        f"(1,000) {GROUP_MEMORY.judge(ratio)}"
    )


def compare_events(adapters: Adapters, store: Store) -> None:
    clients = AWS_CLIENTS if store.name in AWS_STORES else CLIENTS
    if store.name == MEMORY.name:
        clients = {name: times for name, times in clients.items() if name != "mangum"}
    contenders = [
        adapters.contender("warm", name, store, times=times) for name, times in clients.items()
    ]
    before = adapters.management.count()
    ours, floor, *others = run_warm(contenders, KINDS, EVENT_ROUNDS)
    arrived = adapters.management.count() - before
    # Neither adapter's response says whether its reply was delivered.
    if arrived != 2 * (1 + EVENT_ROUNDS) * sum(each.times for each in contenders):
        raise RuntimeError(f"{store.name}: only {arrived} replies arrived")
    show_head(f"{store.name}, one event, us", "other")
    for kind in KINDS:
        show(LABELS.get(kind, kind), ours[kind], floor[kind], 1e6, event_aim(store, kind))
        for mangum in others:
            show("  mangum", ours[kind], mangum[kind], 1e6, SHOWN)


def event_aim(store: Store, kind: str) -> Aim:
    """Return what the ratio to the floor should be."""
    if kind == "MESSAGE":
        return MESSAGE_AIM
    if kind == "MESSAGE-paused":
        return PAUSED_AIM if store.name == MEMORY.name else Aim(None, at_most=True)
    return WITH_SERVER if store.port else ON_A_FILE


def compare_starts(adapters: Adapters, store: Store) -> None:
    contenders = [adapters.contender("cold", name, store) for name in ("app", "longwire", "mangum")]
    app, ours, mangum = run_cold(contenders, START_ROUNDS)
    against_mangum, against_app = COLD_AIMS[store.name]
    show_head(f"{store.name}, fresh process, ms", "other")
    show("first CONNECT answered (mangum)", ours, mangum, 1e3, against_mangum)
    show("  over the app's import (app)", ours, app, 1e3, against_app)


def compare_construction(adapters: Adapters, dynamodb: Store) -> None:
    contenders = [adapters.contender("cold", name, dynamodb) for name in ("asyncio", "construct")]
    alone, ours = run_cold(contenders, START_ROUNDS)
    show("Longwire(...) (import asyncio, ssl)", ours, alone, 1e3, CONSTRUCTION)


def show_frameworks(management: Server) -> None:
    """Show that no event waits for what cannot move."""
    columns = "".join(f"{column:>12}" for column in ("CONNECT", "MESSAGE", "DISCONNECT", "lingers"))
    print(f"\n{'one event, wall ms':{LABEL}}{columns}, s")
    for name, case in CASES.items():
        if not case.is_installed:
            print(f"{name:{LABEL}}not installed")
            continue
        before = management.count()
        command = [sys.executable, "-m", "benchmarks.frameworks", name, management.address]
        *events, lingers = map(float, subprocess.check_output(command, text=True).split()[-4:])
        if management.count() - before != MESSAGES:
            raise RuntimeError(f"{name}: not every reply arrived")
        shown = "".join(f"{seconds * 1e3:>12.1f}" for seconds in events)
        print(f"{name:{LABEL}}{shown}{lingers:>12g}   {NO_LINGER.judge(lingers)}", flush=True)


def compare_requests(adapters: Adapters, store: Store) -> None:
    ours, mangum = [count_requests(adapters, name, store) for name in ("longwire", "mangum")]
    label = f"{store.name}, asked per MESSAGE"
    print(f"{label:{LABEL}}{ours:>10g}{mangum:>10g}{'':44}{REQUESTS_AIM.judge(ours)}")


def count_requests(adapters: Adapters, name: str, store: Store) -> float:
    """Count at the store's side what a process asks that has seen messages before."""
    with running(proxy, store.port) as counting:
        contender = adapters.contender("warm", name, store, port=int(counting.address))
        with Measured(contender) as process:
            process.perform("CONNECT", COUNTED)
            process.perform("MESSAGE", 1)
            before = counting.count()
            process.perform("MESSAGE", COUNTED)
            return (counting.count() - before) / COUNTED


if __name__ == "__main__":
    main(*sys.argv[1:])
