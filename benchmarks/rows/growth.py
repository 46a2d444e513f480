"""What an event costs where there is more of something: runs, connections, members."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from benchmarks.many import UNCOLLECTED
from benchmarks.race import Contender, Measured, cpu, run_warm
from benchmarks.servers import quick_connections, running
from benchmarks.stores import open_stores
from benchmarks.table import CONTROL, OURS, SHOWN, VERSIONS, Aim, Pair, show, show_head

if TYPE_CHECKING:
    from benchmarks.servers import Server
    from benchmarks.setup import Setup
    from benchmarks.stores import Store

FEW, *MORE = AT_ONCE = (10, 100, 1_000, 3_000)
AT_ONCE_ROUNDS = 3
AIM = Aim(1.3)

STORES = ("sqlite3", "redis")
STORED = 10_000  # connections
CLIENTS = 100
STORED_ROUNDS = 9
FLAT = Aim(1.1)

FEW_MEMBERS, MEMBERS = 1_000, 10_000
GROUP_ROUNDS = 3


def compare(setup: Setup) -> None:
    with running(quick_connections) as management:
        compare_runs(setup, management)
        show_head(f"MESSAGE, {STORED:,} connections, CPU us", f"{CLIENTS:,}")
        for name in setup.chosen(STORES):
            compare_stored(setup, name, management)
        compare_groups(setup, management)


def compare_runs(setup: Setup, management: Server) -> None:
    with open_stores(["memory"]) as (memory,):
        arguments = memory.arguments("longwire", management.address, 0)
    command = ["-m", "benchmarks.many", arguments]
    contenders = {
        version: Contender(command, max(AT_ONCE), environ=environ)
        for version, environ in setup.versions().items()
    }
    contenders[UNCOLLECTED] = Contender([*command, UNCOLLECTED], max(AT_ONCE))
    found = run_warm(contenders, list(map(str, AT_ONCE)), setup.rounds(AT_ONCE_ROUNDS))
    uncollected = found.pop(UNCOLLECTED)
    show_head("MESSAGE, runs at once, CPU us", f"{FEW}")
    for number in MORE:
        pairs = {
            version: Pair(cpu(rounds[f"{FEW}"]), cpu(rounds[f"{number}"]))
            for version, rounds in found.items()
        }
        show(f"{number:,} at once", pairs, AIM if number == max(MORE) else SHOWN)
    few, many = (cpu(uncollected[f"{number}"]) for number in (FEW, max(MORE)))
    # What grows is what Python's garbage collector walks.
    show(f"  {UNCOLLECTED}", {OURS: Pair(few, many)}, SHOWN)


def compare_stored(setup: Setup, name: str, management: Server) -> None:
    """Compare a store that has many connections with one that has few."""
    with open_stores([name, name]) as stores:
        if len(stores) < 2:
            return
        few, many = stores
        fill(setup, many, management)
        contenders = {
            stored: setup.adapter("longwire", store, management.address, times=CLIENTS)
            for stored, store in (("few", few), ("many", many), ("again", many))
        }
        found = run_warm(contenders, ["CONNECT", "MESSAGE"], setup.rounds(STORED_ROUNDS))
    base = cpu(found["few"]["MESSAGE"])
    ours, control = (Pair(base, cpu(found[stored]["MESSAGE"])) for stored in ("many", "again"))
    show(name, {OURS: ours, CONTROL: control}, FLAT)


def compare_groups(setup: Setup, management: Server) -> None:
    """Compare a large group with a small one, in the same file."""
    contenders = {}
    with tempfile.TemporaryDirectory() as folder:
        for version, environ in setup.versions().items():
            file_path = f"{folder}/{version}"
            command = ["-m", "benchmarks.posts", "stored", management.address, file_path]
            contenders[f"{version}, few"] = Contender(command, FEW_MEMBERS, environ=environ)
            contenders[version] = Contender(command, MEMBERS, environ=environ)
        found = run_warm(contenders, ["POST"], setup.rounds(GROUP_ROUNDS))
    show_head("send to a group, CPU us each", f"{FEW_MEMBERS:,}")
    pairs = {
        version: Pair(cpu(found[f"{version}, few"]["POST"]), cpu(found[version]["POST"]))
        for version in VERSIONS
        if found.keys() >= {version, f"{version}, few"}
    }
    show(f"{MEMBERS:,} members, sqlite3", pairs, FLAT)


def fill(setup: Setup, store: Store, management: Server) -> None:
    with Measured(setup.adapter("longwire", store, management.address)) as process:
        process.perform("CONNECT", STORED)
