"""`longwire dev`: messages a second, and what one costs, with few clients and with many."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import instructions
from benchmarks.dev import Figures, count_instructions, measure, serving
from benchmarks.setup import paths
from benchmarks.table import BEFORE, OURS, SHOWN, VERSIONS, Aim, Pair, show, show_head

if TYPE_CHECKING:
    from benchmarks.setup import Setup

ROUNDS = 3
FEW, MANY = CLIENTS = (50, 500)
RATE = Aim(3_000, at_least=True, how="alone")
SHOWN_ALONE = Aim(how="alone")
GROWTH = Aim(0.9, at_least=True)


def compare(setup: Setup) -> None:
    found = race(setup)
    show_head("longwire dev, messages a second", "uvicorn", how="alone")
    for clients, aim in ((FEW, RATE), (MANY, SHOWN_ALONE)):
        rates = {name: [each.rate for each in of_one[clients]] for name, of_one in found.items()}
        pairs = {name: Pair(rates["uvicorn"], rates[name]) for name in VERSIONS if name in rates}
        show(f"{clients} clients", pairs, aim, 1)
    show_head("longwire dev, growth", f"{FEW}")
    growth = {
        name: Pair([each.rate for each in of_one[FEW]], [each.rate for each in of_one[MANY]])
        for name, of_one in found.items()
        if name in VERSIONS
    }
    show(f"{MANY} clients over {FEW}", growth, GROWTH, 1)
    show_head("longwire dev, a message, CPU us", "uvicorn")
    for clients in CLIENTS:
        took = {name: [each.cpu for each in of_one[clients]] for name, of_one in found.items()}
        pairs = {name: Pair(took["uvicorn"], took[name]) for name in VERSIONS if name in took}
        show(f"{clients} clients", pairs, SHOWN)
    if instructions.is_there():
        counted = {OURS: count_instructions(FEW)}
        if setup.before:
            counted[BEFORE] = count_instructions(FEW, paths(setup.before))
        ours = [counted[OURS]]
        pairs = {name: Pair(ours, [count]) for name, count in counted.items()}
        show_head("  instructions, thousands", OURS)
        show(f"{FEW} clients", pairs, SHOWN, 1e-3)


def race(setup: Setup) -> dict[str, dict[int, list[Figures]]]:
    found: dict[str, dict[int, list[Figures]]] = {}
    with ExitStack() as stack:
        servers = {
            version: stack.enter_context(serving("longwire", environ.get("PYTHONPATH", "")))
            for version, environ in setup.versions().items()
        }
        servers["uvicorn"] = stack.enter_context(serving("uvicorn"))
        for _ in range(setup.rounds(ROUNDS)):
            for clients in CLIENTS:
                for name, server in servers.items():
                    of_one = found.setdefault(name, {size: [] for size in CLIENTS})
                    of_one[clients].append(asyncio.run(measure(server, clients)))
    return found
