"""A measured process that runs the app with `replay`, and forgets what it was about.

    python -m benchmarks.replayed

Orders come in as in `measured.py`. "prepare-100 5" lets 5 clients connect and send 100 messages
each, and ends the runs that were kept; "cold-100 5" lets each of them send one more, so that the
app is given the 100 once more. Its store is in memory, and nothing is posted.

    python -m benchmarks.replayed memory

prints the bytes that a kept run takes: those that are free once it has ended, so without the
journal.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc

from benchmarks.app import app
from benchmarks.measured import event, time_orders
from longwire import Longwire
from longwire_aws.http11 import Response

URL = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"
KEPT = 200  # runs, fewer than are kept at most
MOST_MESSAGES = 100_000
TAKEN = Response(200, {}, b"")


class Taking:
    """What speaks to a management API that takes all."""

    async def request(self, *arguments: object, **options: object) -> Response:
        return TAKEN


def make_handler() -> Longwire:
    handler = Longwire(
        app,
        lifespan="off",
        ws_config={
            "backend": "memory",
            "replay": True,
            "replay_limit": MOST_MESSAGES,
            "api_gateway_endpoint_url": URL,
        },
    )
    handler.transport = Taking()
    return handler


async def forget(handler: Longwire) -> None:
    """End the runs that were kept."""
    assert handler._kept_runs is not None
    await handler._kept_runs.end_all()


async def converse(handler: Longwire, connection_id: str, messages: int) -> None:
    for kind in ("CONNECT", *["MESSAGE"] * messages):
        await handler.handle(event(kind, connection_id))


async def perform(handler: Longwire, what: str, times: int, prepared: dict[str, int]) -> None:
    step, earlier = what.split("-")
    if step == "prepare":
        prepared[earlier] = prepared.get(earlier, 0) + 1
    names = [f"{earlier}-{prepared[earlier]}-{number}" for number in range(times)]
    for name in names:
        if step == "prepare":
            await converse(handler, name, int(earlier))
        else:
            await handler.handle(event("MESSAGE", name))
    if step == "prepare":
        await forget(handler)


async def kept_run_size() -> float:
    handler = make_handler()
    for number in range(KEPT // 10):
        await converse(handler, f"first-{number}", 3)
    await forget(handler)
    tracemalloc.start()
    for number in range(KEPT):
        await converse(handler, f"kept-{number}", 3)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    await forget(handler)
    gc.collect()
    return (kept - tracemalloc.get_traced_memory()[0]) / KEPT


def main() -> None:
    if sys.argv[1:] == ["memory"]:
        return print(asyncio.run(kept_run_size()))
    handler, runner = make_handler(), asyncio.Runner()
    prepared: dict[str, int] = {}
    return time_orders(lambda what, times: runner.run(perform(handler, what, times, prepared)))


if __name__ == "__main__":
    main()
