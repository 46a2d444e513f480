"""How many instructions of the processor one event takes, as valgrind counts them.

    python -m benchmarks.instructions [--stores redis,sqlite3] [--before COMMIT]

Usually of requests and of events with the store in memory; each store takes a minute or more. They
repeat to about 1 %, whatever else the machine does; the kernel's are not among them. What starting
costs is taken off by doing the same for two numbers of clients. Valgrind knows no SHA instructions,
so that what is signed counts more than it costs.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.servers import open_stores, quick_connections, quick_dynamodb, running
from benchmarks.setup import paths
from benchmarks.table import BEFORE, OURS, Aim, Pair, show, show_head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.servers import Server, Store
    from benchmarks.setup import Setup

ROOT = Path(__file__).parents[1]
STORES = ("memory", "sqlite3", "redis", "postgresql", "dynamodb")
FEW, MANY = 40, 120  # clients
FEW_REQUESTS, MANY_REQUESTS = 100, 300
# Garbage collection is left out: whether a full one comes in so few events is chance.
WITHOUT_GC = "import gc, runpy; gc.disable(); runpy.run_module({!r}, run_name='__main__')"
FIRST = {"CONNECT": (), "MESSAGE": ("CONNECT",), "DISCONNECT": ("CONNECT",)}
MESSAGE, WITH_SERVER, ON_A_FILE, POST, GET = map(Aim, (2.2, 2.4, 3.0, 1.3, 1.4))


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
        for folder in ("adapter", "backends", "benchmarks"):
            compileall.compile_dir(Path(program.folder or ROOT, folder), quiet=1)
    with running(quick_connections) as management:
        with running(quick_dynamodb) as dynamodb:
            urls = management.address, dynamodb.address
            show_head("instructions, thousands")
            for what, aim in (("POST", POST), ("GET", GET)):
                label = f"DynamoDB {what}" if what == "GET" else f"signed {what}"
                show_counts(label, programs, partial(request, urls=urls, what=what), aim)
        for name in setup.chosen(STORES, usual=("memory",)):
            with open_stores([name], quick=True) as stores:
                for store in stores:
                    compare_store(programs, store, management)
    return None


def compare_store(programs: Sequence[Counted], store: Store, management: Server) -> None:
    show_head(f"{store.name}, instructions, thousands")
    other = WITH_SERVER if store.port else ON_A_FILE
    for kind in FIRST:
        aim = MESSAGE if kind == "MESSAGE" else other
        show_counts(
            kind, programs, partial(count, management=management, kind=kind, store=store), aim
        )


def show_counts(
    label: str, programs: Sequence[Counted], take: Callable[[Counted], float], aim: Aim
) -> None:
    """Count as many at once as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        floor, *others = pool.map(take, programs)
    names = [program.name for program in programs[1:]]
    found = {name: Pair([floor], [each]) for name, each in zip(names, others, strict=True)}
    show(label, found, aim, 1e-3)


def count(counted: Counted, management: Server, kind: str, store: Store | None = None) -> float:
    """Return the instructions of one event; without a store, in memory."""
    with open_stores([] if store else ["memory"]) as stores:
        (used,) = [store] if store else stores
    arguments = used.arguments("longwire", management.address, used.port)
    command = ["benchmarks.measured", "warm", counted.adapter, arguments]
    first = [f"{before} {MANY}" for before in FIRST[kind]]
    few, many = (_total(counted, command, [*first, f"{kind} {clients}"]) for clients in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def request(counted: Counted, urls: tuple[str, str], what: str) -> float:
    """Return the instructions of one request of `client.py`."""
    command = ["benchmarks.client", counted.adapter, *urls]
    few, many = (
        _total(counted, command, [f"{what} {times}"]) for times in (FEW_REQUESTS, MANY_REQUESTS)
    )
    return (many - few) / (MANY_REQUESTS - FEW_REQUESTS)


def _total(counted: Counted, command: Sequence[str], orders: Sequence[str]) -> int:
    module, *arguments = command
    environ = {"PYTHONPATH": paths(counted.folder)} if counted.folder else {}
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    said = subprocess.run(
        [*valgrind, sys.executable, "-c", WITHOUT_GC.format(module), *arguments],
        input="\n".join(orders) + "\n",
        env=os.environ | environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Collected : (\d+)", said.stderr)
    if found is None:
        raise RuntimeError(f"valgrind said {said.stderr[-500:]}")
    return int(found[1])


if __name__ == "__main__":
    from benchmarks.run import main

    main(rows=["instructions"])
