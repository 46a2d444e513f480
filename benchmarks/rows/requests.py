"""How often a store is asked for one message, counted at its side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.race import Measured
from benchmarks.servers import connections, proxy, running
from benchmarks.stores import STORES, open_stores
from benchmarks.table import LABEL, Aim

if TYPE_CHECKING:
    from benchmarks.servers import Server
    from benchmarks.setup import Setup
    from benchmarks.stores import Store

AIM = Aim(1)
COUNTED = 5  # messages


def compare(setup: Setup) -> None:
    names = ["longwire", *(["mangum"] if setup.mangum else [])]
    print(f"\n{'asked per MESSAGE':{LABEL}}" + "".join(f"{name:>10}" for name in names))
    with running(connections) as management, open_stores(setup.chosen(STORES)) as stores:
        for store in stores:
            if store.port:
                found = [count(setup, name, store, management) for name in names]
                figures = "".join(f"{figure:>10g}" for figure in found)
                print(f"{store.name:{LABEL}}{figures}{AIM.judge(found[0])}", flush=True)


def count(setup: Setup, name: str, store: Store, management: Server) -> float:
    """Return what a process asks that has seen messages before."""
    with running(proxy, store.port) as counting:
        port = int(counting.address)
        with Measured(setup.adapter(name, store, management.address, port=port)) as process:
            process.perform("CONNECT", COUNTED)
            process.perform("MESSAGE", 1)
            before = counting.count()
            process.perform("MESSAGE", COUNTED)
            return (counting.count() - before) / COUNTED
