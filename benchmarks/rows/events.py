"""One event of each kind with each store, in a tight loop and with pauses, and over TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measured import PAUSE
from benchmarks.race import cpu, run_warm
from benchmarks.servers import TRUSTING, connections, running, tls_connections
from benchmarks.stores import STORES, open_stores
from benchmarks.table import OURS, SHOWN, VERSIONS, Aim, Pair, show, show_beside, show_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.race import Figures
    from benchmarks.servers import Server
    from benchmarks.setup import Setup
    from benchmarks.stores import Store

ROUNDS = 7
KINDS = ("CONNECT", "MESSAGE", "MESSAGE-paused", "DISCONNECT")
LABELS = {"MESSAGE-paused": f"MESSAGE, {PAUSE * 1e3:g} ms after another"}
MESSAGE, WITH_SERVER, ON_A_FILE, PAUSED = Aim(2.2), Aim(2.4), Aim(3.0), Aim(2.0)
# So many clients come and go in a round; of two or three the median flips between two values.
# Mangum takes a second for an event with S3, and cannot use the quick DynamoDB.
CLIENTS, S3_CLIENTS, MANGUM_CLIENTS = 100, 15, 8
WITH_MANGUM = ("sqlite3", "redis", "postgresql")


def compare(setup: Setup) -> None:
    with running(connections) as management:
        for name in setup.chosen(STORES):
            with open_stores([name], quick=True) as stores:
                for store in stores:
                    compare_store(setup, store, management)
    compare_over_tls(setup)


def compare_store(setup: Setup, store: Store, management: Server) -> None:
    clients = S3_CLIENTS if store.name == "s3" else CLIENTS
    url = management.address
    contenders = {
        "floor": setup.adapter("floor", store, url, times=clients),
        **setup.longwires(store, url, times=clients),
    }
    if setup.mangum and store.name in WITH_MANGUM:
        contenders["mangum"] = setup.adapter("mangum", store, url, times=MANGUM_CLIENTS)
    before = management.count()
    rounds = setup.rounds(ROUNDS)
    found = run_warm(contenders, KINDS, rounds)
    # No adapter's response says whether its reply was delivered.
    replies = 2 * (1 + rounds) * sum(contenders[name].times for name in found)
    arrived = management.count() - before
    if arrived != replies and len(found) == len(contenders):
        raise RuntimeError(f"{store.name}: {arrived} replies arrived, not {replies}")
    show_head(f"{store.name}, one event, CPU us")
    for kind in KINDS:
        show(LABELS.get(kind, kind), against_floor(found, kind), aim(store, kind))
        if "mangum" in found:
            show_beside("mangum", cpu(found["mangum"][kind]), cpu(found[OURS][kind]))


def compare_over_tls(setup: Setup) -> None:
    with running(tls_connections) as management, open_stores(["memory"]) as (store,):
        url = management.address
        floor = setup.adapter("floor", store, url, times=CLIENTS, environ=TRUSTING)
        longwires = setup.longwires(store, url, times=CLIENTS, environ=TRUSTING)
        kinds = ("CONNECT", "MESSAGE")
        found = run_warm({"floor": floor, **longwires}, kinds, setup.rounds(ROUNDS))
    show_head("memory, posts over TLS, CPU us")
    show("MESSAGE", against_floor(found, "MESSAGE"))


def against_floor(found: Mapping[str, Mapping[str, list[Figures]]], what: str) -> dict[str, Pair]:
    base = cpu(found["floor"][what])
    return {
        version: Pair(base, cpu(found[version][what])) for version in VERSIONS if version in found
    }


def aim(store: Store, kind: str) -> Aim:
    """Return what the ratio to the floor should be."""
    if kind == "MESSAGE":
        return MESSAGE
    if kind == "MESSAGE-paused":
        return PAUSED if store.name == "memory" else SHOWN
    return WITH_SERVER if store.port else ON_A_FILE
