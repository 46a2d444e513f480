"""What `replay` costs, and what it costs who does without it.

A warm message goes on with the run that its process has kept; a cold one is given the earlier
messages once more, as `replayed.py` says.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measured import event
from benchmarks.race import Contender, cpu, run_warm
from benchmarks.servers import connections, running
from benchmarks.stores import Store, open_stores
from benchmarks.table import LABEL, SHOWN, Aim, Pair, show, show_head
from tests.servers.proxy import CountingProxy

if TYPE_CHECKING:
    from benchmarks.servers import Server
    from benchmarks.setup import Setup
    from longwire_aws.http11 import Response

ROUNDS = 15
CLIENTS, AWS_CLIENTS = 100, 15
# Of the same without `replay`.
WARM_AIMS = {"memory": Aim(0.6), "sqlite3": Aim(1.2), "redis": Aim(1.2), "dynamodb": Aim(1.5)}
# With `replay`, the first message reads the record, too.
WARM_KINDS = ("CONNECT", "MESSAGE-first", "MESSAGE", "DISCONNECT")

EARLIER = (10, 100, 500)  # messages of a cold conversation
COLD_CLIENTS = 5
COLD_ROUNDS = 7
REPLAYED_AIM = Aim(30)  # us
KEPT_AIM = Aim(30)  # KB
REQUESTS_AIM = Aim(1)


def compare(setup: Setup) -> None:
    show_head("MESSAGE with replay, warm, CPU us", "without")
    with running(connections) as management, open_stores(setup.chosen(WARM_AIMS)) as stores:
        for store in stores:
            compare_warm(setup, store, management)
        compare_cold(setup)
        command = [sys.executable, "-m", "benchmarks.replayed", "memory"]
        size = float(subprocess.check_output(command)) / 1024
        show_figure("kept run, KB", size, KEPT_AIM)
        for store in stores:
            if store.port:
                asked = asyncio.run(count_before_reply(store))
                show_figure(f"{store.name}, asked before the reply", asked, REQUESTS_AIM)


def show_figure(label: str, figure: float, aim: Aim) -> None:
    print(f"{label:{LABEL}}{figure:>20.1f}{'':27}{aim.judge(figure)}", flush=True)


def compare_warm(setup: Setup, store: Store, management: Server) -> None:
    times = AWS_CLIENTS if store.name == "dynamodb" else CLIENTS
    without = setup.longwires(store, management.address, times=times)
    replaying = store._replace(config={"replay": True})
    with_ = setup.longwires(replaying, management.address, times=times)
    contenders = {f"{name}, without": each for name, each in without.items()} | with_
    found = run_warm(contenders, WARM_KINDS, setup.rounds(ROUNDS))
    for kind, label, aim in (
        ("MESSAGE", store.name, WARM_AIMS[store.name]),
        ("MESSAGE-first", "  the first of a connection", SHOWN),
    ):
        pairs = {
            name: Pair(cpu(found[f"{name}, without"][kind]), cpu(found[name][kind]))
            for name in with_
            if found.keys() >= {name, f"{name}, without"}
        }
        show(label, pairs, aim)


def compare_cold(setup: Setup) -> None:
    """Show what one replayed message costs: what a cold one with none before costs is taken off."""
    numbers = (0, *EARLIER)
    orders = [f"{step}-{number}" for number in numbers for step in ("prepare", "cold")]
    contenders = {
        version: Contender(["-m", "benchmarks.replayed"], COLD_CLIENTS, environ=environ)
        for version, environ in setup.versions().items()
    }
    found = {
        version: {number: median(cpu(rounds[f"cold-{number}"])) * 1e6 for number in numbers}
        for version, rounds in run_warm(contenders, orders, setup.rounds(COLD_ROUNDS)).items()
    }
    heads = "".join(f"{version:>10}" for version in found)
    print(f"\n{'MESSAGE with replay, cold, CPU us':{LABEL}}{heads}   each replayed")
    for number in EARLIER:
        each = [(of_one[number] - of_one[0]) / number for of_one in found.values()]
        figures = "".join(f"{figure:>10.1f}" for figure in each)
        print(f"{f'{number} before it':{LABEL}}{figures}{REPLAYED_AIM.judge(each[0])}", flush=True)


class Noting:
    """What speaks to a management API; notes what its store has been asked by then."""

    def __init__(self, counting: CountingProxy) -> None:
        self.counts: list[int] = []
        self._counting = counting

    async def request(self, *arguments: object, **options: object) -> Response:
        from benchmarks.replayed import TAKEN

        self.counts.append(self._counting.turns)
        return TAKEN


async def count_before_reply(store: Store) -> int:
    """Count, at the store's side, what is asked before the reply of a warm message leaves."""
    from benchmarks.app import app
    from benchmarks.replayed import URL
    from longwire import Longwire

    async with CountingProxy(store.port) as counting:
        config = json.loads(store.arguments("longwire", URL, counting.port))["ws_config"]
        config["replay"] = True
        handler = Longwire(app, lifespan="off", ws_config=config)
        noting = handler.transport = Noting(counting)
        for kind in ("CONNECT", "MESSAGE"):
            await handler.handle(event(kind, "counted"))
        before = counting.turns
        await handler.handle(event("MESSAGE", "counted"))
        await handler.handle(event("DISCONNECT", "counted"))
        await handler.aclose()
    return noting.counts[-1] - before
