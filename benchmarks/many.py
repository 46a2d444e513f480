"""A measured process with many runs of the app at once on one event loop.

    python -m benchmarks.many ARGUMENTS

ARGUMENTS are those of `measured.py`. Orders come in as there: "CONNECT-100 3000" lets 3,000
clients connect, 100 at a time, and "MESSAGE-1000 3000" each of them send one message, 1,000 at a
time: their runs then wait for their posts, of which 100 are under way.
"""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.app import app
from benchmarks.measured import event, time_orders
from longwire import Longwire


async def perform(handler: Longwire, kind: str, at_once: int, clients: int) -> None:
    for first in range(0, clients, at_once):
        numbers = range(first, min(first + at_once, clients))
        events = [event(kind, f"many-{number}") for number in numbers]
        answers = await asyncio.gather(*[handler.handle(each, None) for each in events])
        if answers != [{"statusCode": 200}] * len(events):
            raise RuntimeError(f"{kind} was answered with {answers[:3]}")


def main(arguments: str) -> None:
    handler = Longwire(app, lifespan="off", **json.loads(arguments))
    runner = asyncio.Runner()

    def do(what: str, clients: int) -> None:
        kind, _, at_once = what.partition("-")
        runner.run(perform(handler, kind, int(at_once), clients))

    time_orders(do)


if __name__ == "__main__":
    main(*sys.argv[1:])
