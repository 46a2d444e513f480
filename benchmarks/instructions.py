"""How many instructions of the processor one event takes, as valgrind counts them.

    python -m benchmarks.run --rows instructions [--stores redis,sqlite3] [--before COMMIT]

Usually of requests and of events with the store in memory; of a message also with `replay`, where
its process has kept the run, against the same without. They repeat to about 1 %, whatever else
the machine does; the kernel's are not among them. Valgrind knows no SHA instructions, so that what
is signed counts more than it costs.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.race import Contender, Measured
from benchmarks.rows.replay import WARM_AIMS
from benchmarks.servers import quick_connections, quick_dynamodb, running
from benchmarks.setup import paths
from benchmarks.stores import open_stores
from benchmarks.table import BEFORE, OURS, SHOWN, Aim, Pair, show, show_head

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.servers import Server
    from benchmarks.setup import Setup
    from benchmarks.stores import Store

ROOT = Path(__file__).parents[1]
STORES = ("memory", "sqlite3", "redis", "postgresql", "dynamodb")
TIMES = 80  # each is counted
# Garbage collection is left out: whether a full one comes in so few events is chance. And all is so
# slow here that stores would take any disk or server for a slow one, and wait for it otherwise.
EVENLY = """
import gc, runpy
from longwire_backends.postgresql import connection
from longwire_backends.sqlite3 import file
gc.disable()
file._SLOW = float("inf")
connection._AT_ONCE *= 50
connection._STILL = connection._AT_ONCE
runpy.run_module({!r}, run_name="__main__")
"""
# What comes before each kind is counted.
FIRST = {
    "CONNECT": ("CONNECT",),
    "MESSAGE": ("CONNECT", "MESSAGE"),
    "DISCONNECT": ("CONNECT", "DISCONNECT", "CONNECT"),
}
# The last one ends the runs that were kept.
OF_A_KEPT_RUN = {"MESSAGE": ("CONNECT", "DISCONNECT", "CONNECT", "MESSAGE"), "DISCONNECT": ()}
MESSAGE, WITH_SERVER, ON_A_FILE = map(Aim, (2.2, 2.4, 3.0))
REQUESTS = {"POST": Aim(1.3), "GET": Aim(1.4)}


class Counted(NamedTuple):
    """A program to count; `folder` has another Longwire, where it is not empty."""

    name: str
    adapter: str
    folder: str = ""


def is_there() -> bool:
    """Tell whether this machine can count."""
    return shutil.which("valgrind") is not None


def compare(setup: Setup) -> None:
    """Show the requests, then each kind of event for each store."""
    if not is_there():
        return print("\nno instructions: no valgrind")
    programs = [Counted("floor", "floor"), Counted(OURS, "longwire")]
    if setup.before:
        programs.append(Counted(BEFORE, "longwire", setup.before))
    for program in programs:
        # Whoever is counted first would compile for the others.
        for folder in ("adapter", "backends"):
            compileall.compile_dir(Path(program.folder or ROOT, folder), quiet=1)
    compileall.compile_dir(ROOT / "benchmarks", quiet=1)
    with running(quick_connections) as management:
        with running(quick_dynamodb) as dynamodb:
            urls = management.address, dynamodb.address
            show_counts("requests", programs, partial(count_requests, urls=urls), REQUESTS)
        for name in setup.chosen(STORES, usual=("memory",)):
            with open_stores([name], quick=True) as stores:
                for store in stores:
                    other = WITH_SERVER if store.port else ON_A_FILE
                    aims = {kind: MESSAGE if kind == "MESSAGE" else other for kind in FIRST}
                    counting = partial(count_events, management=management, store=store)
                    show_counts(store.name, programs, counting, aims)
                    if store.name in WARM_AIMS:
                        compare_warm(programs[1:], management, store)
    return None


def show_counts(
    what: str,
    programs: Sequence[Counted],
    counting: Callable[[Counted], Mapping[str, float]],
    aims: Mapping[str, Aim],
) -> None:
    """Count as many programs at once as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        floor, *others = pool.map(counting, programs)
    names = [program.name for program in programs[1:]]
    show_head(f"{what}, instructions, thousands")
    for row, aim in aims.items():
        found = {
            name: Pair([floor[row]], [each[row]]) for name, each in zip(names, others, strict=True)
        }
        show(row, found, aim, 1e-3)


def compare_warm(programs: Sequence[Counted], management: Server, store: Store) -> None:
    """Show a message that goes on with a kept run, with `replay`, against one without.

    It counts up to 5 % too much: each 70 ms it is looked for turns that take long, and in so much
    time valgrind does a few events only.
    """

    def count(config: Mapping[str, Any], program: Counted) -> Mapping[str, float]:
        return count_events(program, management, store._replace(config=config), OF_A_KEPT_RUN)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        each = [pool.map(partial(count, config), programs) for config in ({}, {"replay": True})]
        both = dict(zip(programs, zip(*each, strict=True), strict=True))
    show_head(f"{store.name}, with replay, thousands", "without")
    for row, aim in (("MESSAGE", WARM_AIMS[store.name]), ("DISCONNECT", SHOWN)):
        found = {one.name: Pair([base[row]], [with_[row]]) for one, (base, with_) in both.items()}
        show(row, found, aim, 1e-3)


def count_events(
    program: Counted, management: Server, store: Store, orders: Mapping[str, Sequence[str]] = FIRST
) -> dict[str, float]:
    """Return the instructions of one event of each kind, after what comes before it."""
    arguments = store.arguments("longwire", management.address, store.port)
    command = ["benchmarks.measured", "warm", program.adapter, arguments]
    return _count(program, command, orders)


def count_requests(program: Counted, urls: tuple[str, str]) -> dict[str, float]:
    """Return the instructions of each request of `client.py`."""
    command = ["benchmarks.client", program.adapter, *urls]
    return _count(program, command, {what: [what] for what in REQUESTS})


def _count(
    program: Counted, command: Sequence[str], orders: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Count each order, after what comes first: that imports and opens what it needs."""
    module, *arguments = command
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        valgrind = [
            "-q",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder}/out",
        ]
        python = [sys.executable, "-c", EVENLY.format(module), *arguments]
        environ = {"PYTHONPATH": paths(program.folder)} if program.folder else {}
        environ["PYTHONHASHSEED"] = "0"
        contender = Contender([*valgrind, *python], python="valgrind", environ=environ)
        with Measured(contender) as process:
            for number, (what, first) in enumerate(orders.items(), start=1):
                for each in first:
                    process.perform(each, TIMES)
                control(process.pid, "--instr=on")
                process.perform(what, TIMES)
                control(process.pid, "--dump")
                control(process.pid, "--instr=off")
                found[what] = total(Path(folder, f"out.{number}")) / TIMES
    return found


def control(pid: int, order: str) -> None:
    subprocess.run(["callgrind_control", order, str(pid)], check=True, capture_output=True)


def total(dumped: Path) -> int:
    """Return how many instructions a file of valgrind's says."""
    found = re.search(r"^totals: (\d+)", dumped.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"valgrind has counted nothing in {dumped}")
    return int(found[1])
