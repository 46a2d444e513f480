"""Fresh processes, until the first CONNECT is answered.

They are judged by CPU: a machine that is busy makes two of a millisecond of wall time, also for the
app alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.race import cpu, run_cold
from benchmarks.servers import connections, running
from benchmarks.stores import open_stores
from benchmarks.table import OURS, SHOWN, VERSIONS, Aim, Pair, show, show_beside, show_head

if TYPE_CHECKING:
    from benchmarks.race import Figures
    from benchmarks.servers import Server
    from benchmarks.setup import Setup
    from benchmarks.stores import Store

ROUNDS = 11
# Milliseconds over the app's import.
AIMS = {"sqlite3": Aim(14, how="added"), "dynamodb": Aim(12, how="added")}


def compare(setup: Setup) -> None:
    with running(connections) as management, open_stores(setup.chosen(AIMS)) as stores:
        for store in stores:
            compare_store(setup, store, management)


def compare_store(setup: Setup, store: Store, management: Server) -> None:
    url, rounds = management.address, setup.rounds(ROUNDS)
    contenders = {
        "app": setup.adapter("app", store, url, mode="cold"),
        **setup.longwires(store, url, mode="cold"),
    }
    if setup.mangum:
        contenders["mangum"] = setup.adapter("mangum", store, url, mode="cold")
    found = run_cold(contenders, rounds)
    show_head(f"{store.name}, fresh process, CPU ms", "app", how="added")
    show("first CONNECT answered", _over(found, "app"), AIMS[store.name], 1e3)
    if "mangum" in found:
        show_beside("mangum", cpu(found["mangum"]), cpu(found[OURS]), unit=1e3)
    environs = setup.versions()
    construct = {
        "import asyncio, ssl": setup.adapter("asyncio", store, url, mode="cold"),
        **{
            version: setup.adapter("construct", store, url, mode="cold", environ=environ)
            for version, environ in environs.items()
        },
    }
    alone = _over(run_cold(construct, rounds), "import asyncio, ssl")
    show("Longwire(...) over asyncio and ssl", alone, SHOWN._replace(how="added"), 1e3)


def _over(found: dict[str, list[Figures]], base: str) -> dict[str, Pair]:
    return {
        version: Pair(cpu(found[base]), cpu(found[version]))
        for version in VERSIONS
        if version in found
    }
