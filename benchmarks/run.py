"""Compare Longwire with Mangum 0.12.4, side by side.

    python -m benchmarks.run PYTHON_WITH_MANGUM

Both run the same Starlette app with a sqlite3 file, each in a process of its own, and post to the
same `@connections` server in a third. Rounds run in turn, so that a machine that is slower for a
while is so for both; shown are medians. `measured.py` says what is timed. The aims are printed to
compare with: no figure makes this fail.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from tests.connections_server import ConnectionsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

WARM_ROUNDS = 9
COLD_ROUNDS = 15

# Lambda sets none of these, and they change what a cold start or a TLS context costs.
DISTORTING = {"AWS_CA_BUNDLE", "PYTHONDONTWRITEBYTECODE", "SSL_CERT_DIR", "SSL_CERT_FILE"}

# Without credentials here, Mangum would look for them elsewhere at every reply.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}

AIMS = {"CONNECT": ">= 2.5x", "MESSAGE, one reply": ">= 100x", "DISCONNECT": ">= 2.5x"}

LABEL = 36  # columns

Figures = tuple[float, ...]  # seconds of CPU and of wall time, in turn


class Contender(NamedTuple):
    """An adapter and its interpreter; so many clients come and go in each of its rounds."""

    name: str
    python: str
    clients: int
    environ: dict[str, str]


def main(python_with_mangum: str) -> None:
    with connections_server() as (url, arrived), tempfile.TemporaryDirectory() as folder:
        (empty := Path(folder, "empty")).mkdir()
        app = Contender("app", sys.executable, 0, {})
        longwire = Contender("longwire", sys.executable, 100, {})
        mangum = Contender("mangum", python_with_mangum, 10, {})
        # httpx makes a TLS context for every reply; this one has no certificates to read.
        lighter = mangum._replace(clients=20, environ={"SSL_CERT_DIR": str(empty)})
        print(
            f"Python {sys.version.split()[0]}, starlette {version('starlette')}, sqlite3; medians "
            f"of {WARM_ROUNDS} rounds (events) and {COLD_ROUNDS} (cold starts), run in turn"
        )
        show_events(*measure_events([longwire, mangum, lighter], url, folder))
        show_starts(*measure_starts([app, longwire, mangum], url, folder))
        sent = (1 + WARM_ROUNDS) * sum(each.clients for each in (longwire, mangum, lighter))
        print(f"\nreplies that arrived: {arrived()} of {sent}")


def measure_events(contenders: list[Contender], url: str, folder: str) -> list[Figures]:
    """Measure events in processes that live on; the first round does not count."""
    rounds: list[list[Figures]] = [[] for _ in contenders]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    command(each, "warm", url, folder),
                    env=environ(each),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for each in contenders
        ]
        for _ in range(1 + WARM_ROUNDS):
            for each, process, results in zip(contenders, processes, rounds, strict=True):
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(f"{each.clients}\n")
                process.stdin.flush()
                results.append(parse(process.stdout.readline()))
    return [medians(results[1:]) for results in rounds]


def measure_starts(contenders: list[Contender], url: str, folder: str) -> list[Figures]:
    """Measure fresh processes; the first of each leaves .pyc files and a store to the others."""
    rounds: list[list[Figures]] = [[] for _ in contenders]
    for _ in range(1 + COLD_ROUNDS):
        for each, results in zip(contenders, rounds, strict=True):
            arguments = command(each, "cold", url, folder)
            results.append(parse(subprocess.check_output(arguments, env=environ(each), text=True)))
    return [medians(results[1:]) for results in rounds]


def command(contender: Contender, mode: str, url: str, folder: str) -> list[str]:
    name = contender.name
    return [contender.python, "-m", "benchmarks.measured", mode, name, url, f"{folder}/{name}.db"]


def environ(contender: Contender) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in DISTORTING}
    return kept | CREDENTIALS | contender.environ


def parse(line: str) -> Figures:
    return tuple(map(float, line.split()))


def medians(rounds: list[Figures]) -> Figures:
    return tuple(map(median, zip(*rounds, strict=True)))


def show_events(longwire: Figures, mangum: Figures, lighter: Figures) -> None:
    for offset, clock in enumerate(("CPU", "wall")):
        show_head(f"{clock} of one event, us")
        for at, (kind, aim) in enumerate(AIMS.items()):
            here = 2 * at + offset
            show(kind, longwire[here] * 1e6, mangum[here] * 1e6, aim if clock == "CPU" else "")
            if kind.startswith("MESSAGE"):
                show("  its TLS context for nothing", longwire[here] * 1e6, lighter[here] * 1e6)


def show_starts(app: Figures, longwire: Figures, mangum: Figures) -> None:
    for at, clock in enumerate(("CPU", "wall")):
        show_head(f"{clock} to first CONNECT answered, ms")
        show("fresh process", longwire[at] * 1e3, mangum[at] * 1e3, ">= 2x")
        label = f"  times the app's own import, {app[at] * 1e3:.0f}"
        print(
            f"{label:{LABEL}}"
            f"{longwire[at] / app[at]:>9.2f}x{mangum[at] / app[at]:>9.2f}x{'':10}"
            "   longwire <= 1.25x"
        )


def show_head(what: str) -> None:
    print(f"\n{what:{LABEL}}{'longwire':>10}{'mangum':>10}{'ratio':>10}   aim")


def show(what: str, longwire: float, mangum: float, aim: str = "") -> None:
    ratio = mangum / longwire
    print(f"{what:{LABEL}}{longwire:>10,.0f}{mangum:>10,.0f}{ratio:>9.1f}x   {aim}".rstrip())


@contextmanager
def connections_server() -> Iterator[tuple[str, Callable[[], int]]]:
    """Run a server in another process; gives its URL, and a function that ends and counts."""
    spawn = multiprocessing.get_context("spawn")
    ours, its = spawn.Pipe()
    process = spawn.Process(target=serve, args=(its,), daemon=True)
    process.start()

    def arrived() -> int:
        ours.send("count")
        return int(ours.recv())

    try:
        yield str(ours.recv()), arrived
    finally:
        process.terminate()
        process.join()


def serve(pipe: Connection) -> None:
    async def run() -> None:
        async with ConnectionsServer() as server:
            pipe.send(server.url)
            await asyncio.to_thread(pipe.recv)
            pipe.send(sum(method == "POST" for method, _, _ in server.requests))

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv[1])
