"""How many instructions of the processor one event takes, as valgrind counts them.

    python -m benchmarks.instructions [COMMIT]

They repeat to about 1 %, whatever else the machine does; the kernel's are not among them. With a
commit, its Longwire is counted beside this one. The store is memory, and posts go to a server of
`servers.py`. What starting costs is taken off by doing the same for two numbers of clients.
"""

from __future__ import annotations

import compileall
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.race import set_environment
from benchmarks.replay import MEMORY, at_commit
from benchmarks.servers import quick_connections, running
from benchmarks.table import LABEL

if TYPE_CHECKING:
    from benchmarks.servers import Server

ROOT = Path(__file__).parents[1]
FEW, MANY = 40, 120  # clients
# Garbage collection is left out: whether a full one comes in so few events is chance.
WITHOUT_GC = (
    "import gc, runpy; gc.disable(); runpy.run_module('benchmarks.measured', run_name='__main__')"
)
BEFORE = {"CONNECT": (), "MESSAGE": ("CONNECT",), "DISCONNECT": ("CONNECT",)}


class Counted(NamedTuple):
    """A program that handles events; `folder` has another Longwire, where it is not empty."""

    name: str
    adapter: str
    folder: str = ""


def is_there() -> bool:
    """Tell whether this machine can count."""
    return shutil.which("valgrind") is not None


def count(counted: Counted, management: Server, kind: str) -> float:
    """Return the instructions of one event."""
    first = [f"{before} {{}}" for before in BEFORE[kind]]
    few, many = (
        _total(counted, management, [*(line.format(MANY) for line in first), f"{kind} {clients}"])
        for clients in (FEW, MANY)
    )
    return (many - few) / (MANY - FEW)


def _total(counted: Counted, management: Server, orders: list[str]) -> int:
    arguments = MEMORY.arguments("longwire", management.address, 0)
    command = ["-c", WITHOUT_GC, "warm", counted.adapter, arguments]
    folder = counted.folder
    environ = {"PYTHONPATH": f"{folder}/adapter:{folder}/backends"} if folder else {}
    said = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            sys.executable,
            *command,
        ],
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


def compare_instructions(commit: str = "") -> None:
    """Show each kind of event for this Longwire, the floor and a commit."""
    with ExitStack() as stack:
        programs = [Counted("longwire", "longwire"), Counted("floor", "floor")]
        if commit:
            programs.append(Counted("before", "longwire", stack.enter_context(at_commit(commit))))
        for program in programs:
            # Whoever is counted first would compile for the others.
            for folder in ("adapter", "backends", "benchmarks"):
                compileall.compile_dir(Path(program.folder or ROOT, folder), quiet=1)
        management = stack.enter_context(running(quick_connections))
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        print(f"\n{'memory, instructions, thousands':{LABEL}}", end="")
        print("".join(f"{program.name:>10}" for program in programs))
        for kind in BEFORE:
            found = list(pool.map(count, programs, repeat(management), repeat(kind)))
            figures = "".join(f"{figure / 1e3:>10,.0f}" for figure in found)
            ratios = "".join(f"{found[0] / other:>8.2f}x" for other in found[1:])
            print(f"{kind:{LABEL}}{figures}{ratios}", flush=True)


if __name__ == "__main__":
    set_environment()
    compare_instructions(*sys.argv[1:])
