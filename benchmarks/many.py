"""A measured process with many runs of the app at once on one event loop.

    python -m benchmarks.many ARGUMENTS [uncollected]

ARGUMENTS are those of `measured.py`. Orders come in as there: "1000 3000" lets 3,000 clients send
one message each, 1,000 at a time: their runs then wait for their posts, of which 100 are under way.
With the first order they also connect. If it is `uncollected`, no garbage is looked for.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys

from benchmarks.app import app
from benchmarks.measured import event, time_orders
from longwire import Longwire

UNCOLLECTED = "uncollected"


async def perform(handler: Longwire, kind: str, at_once: int, clients: int) -> None:
    for first in range(0, clients, at_once):
        numbers = range(first, min(first + at_once, clients))
        events = [event(kind, f"many-{number}") for number in numbers]
        answers = await asyncio.gather(*[handler.handle(each, None) for each in events])
        if answers != [{"statusCode": 200}] * len(events):
            raise RuntimeError(f"{kind} was answered with {answers[:3]}")


def main(arguments: str, *options: str) -> None:
    if UNCOLLECTED in options:
        gc.disable()
    handler = Longwire(app, lifespan="off", **json.loads(arguments))
    runner = asyncio.Runner()

    connected = False

    def do(at_once: str, clients: int) -> None:
        nonlocal connected
        if not connected:
            runner.run(perform(handler, "CONNECT", 100, clients))
            connected = True
        runner.run(perform(handler, "MESSAGE", int(at_once), clients))

    time_orders(do)


if __name__ == "__main__":
    main(*sys.argv[1:])
