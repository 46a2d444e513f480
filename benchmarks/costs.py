"""What an event costs and why, as docs/performance.md and docs/choose-a-store.md have it.

    python -m benchmarks.costs [--write]

Prints a picture of one MESSAGE, what it costs with how much memory and with which store, and what
imports cost; also writes them into the pages that have marks for them. Times and shares are of CPU,
on this machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import instructions
from benchmarks.frameworks import CASES
from benchmarks.race import Contender, cpu, run_cold, run_warm, set_environment
from benchmarks.rows import runtime
from benchmarks.sampled import APP, EVENT, LOOP, POST, RECORD, RUN
from benchmarks.servers import quick_connections, running
from benchmarks.setup import Setup
from benchmarks.stores import open_stores
from benchmarks.table import OURS
from tests.campaigns.scale.facts import ARM_PRICE, CORE, EVENT_PRICE, POST_TIME, STORE_TIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.servers import Server
    from benchmarks.stores import Store

DOCS = Path(__file__).parents[1] / "docs"
CLIENTS, ROUNDS, SAMPLED = 100, 11, 60
STEPS = {
    EVENT: "parse it; its deadline, its log record",
    RECORD: "ask DynamoDB for the connection, parse what it says",
    RUN: "start the app, give it the message, see it wait, stop it",
    APP: "Starlette and the endpoint, from the top",
    POST: "encode the reply, sign it, send it, read the answer",
    LOOP: "asyncio: what is ready, timers, sockets",
}
STORES = ("memory", "sqlite3", "redis", "postgresql", "dynamodb")
KINDS = ("CONNECT", "MESSAGE", "MESSAGE-paused", "DISCONNECT")
BAR = 40  # columns for all of it
MEMORY = (128, 256, 512, 1_024, 1_769)  # MB
STARTS = ("Starlette", "Falcon", "Quart", "Litestar", "FastAPI")
BOTO3 = """
import time; cpu = time.process_time(), time.perf_counter()
import boto3; boto3.client("dynamodb", region_name="eu-west-1")
print(time.process_time() - cpu[0], time.perf_counter() - cpu[1])
"""


class Events(NamedTuple):
    """One of each, in seconds of CPU; `paused` is a message 2 ms after another."""

    connect: float
    message: float
    paused: float
    disconnect: float


class Message(NamedTuple):
    """One MESSAGE with one reply, in seconds of CPU.

    Attributes:
        paused: the same, 2 ms after another.
        instructions: 0 where nobody could count them.
        samples: for each step.
    """

    hot: float
    paused: float
    instructions: float
    samples: Mapping[str, int]


class Start(NamedTuple):
    """A fresh process under Lambda's runtime until its first CONNECT, in seconds of CPU."""

    trivial: float
    app: float
    longwire: float


def measure_stores() -> dict[str, Events]:
    found = {}
    with running(quick_connections) as management, open_stores(STORES, quick=True) as stores:
        for store in stores:
            contender = Setup().adapter("longwire", store, management.address, times=CLIENTS)
            rounds = run_warm({OURS: contender}, KINDS, ROUNDS)[OURS]
            found[store.name] = Events(*(median(cpu(rounds[kind])) for kind in KINDS))
    return found


def measure_message(events: Events) -> Message:
    with running(quick_connections) as management:
        with open_stores(["dynamodb"], quick=True) as (store,):
            count = 0.0
            if instructions.is_there():
                counted = instructions.Counted(OURS, "longwire")
                orders = {"MESSAGE": instructions.FIRST["MESSAGE"]}
                count = instructions.count_events(counted, management, store, orders)["MESSAGE"]
            return Message(events.message, events.paused, count, sample(store, management))


def sample(store: Store, management: Server) -> Counter[str]:
    arguments = store.arguments("longwire", management.address, store.port)
    orders = [f"CONNECT {CLIENTS}", *[f"MESSAGE {CLIENTS}"] * (1 + SAMPLED)]
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.sampled", arguments],
        input="\n".join(orders),
        capture_output=True,
        text=True,
        check=True,
    )
    return sum(map(Counter, map(json.loads, said.stdout.splitlines()[2:])), Counter())


def measure_start() -> Start:
    names = (runtime.TRIVIAL, runtime.APP)
    functions = {name: runtime.OTHERS[name] for name in names} | {OURS: runtime.Function("echo")}
    with running(quick_connections) as management:
        config = {"backend": "memory", "api_gateway_endpoint_url": management.address}
        environ = {"BENCHMARK_ARGUMENTS": json.dumps({"ws_config": config})}
        found = runtime.run_cold(functions, environ, ROUNDS)
    return Start(*(median(start.cpu for start in found[name]) for name in functions))


def measure_imports() -> dict[str, float]:
    contenders = {name: Contender(["-m", "benchmarks.frameworks", name]) for name in STARTS}
    contenders = {name: each for name, each in contenders.items() if CASES[name].is_installed}
    contenders["boto3 and one client"] = Contender(["-c", BOTO3])
    return {name: median(cpu(rounds)) for name, rounds in run_cold(contenders, ROUNDS).items()}


# What is shown


def picture(message: Message, start: Start) -> str:
    counted = f", {message.instructions / 1e6:.1f} million instructions" * bool(
        message.instructions
    )
    all_of_it = sum(message.samples[step] for step in STEPS)
    lines = [f"MESSAGE, one reply, DynamoDB: {message.hot * 1e6:.0f} us of CPU{counted}", ""]
    for step, what in STEPS.items():
        part = message.samples[step] / all_of_it
        bar = "#" * round(part * BAR)
        lines.append(f"{step:7}{part * message.hot * 1e6:>5.0f} us  {bar:12} {what}")
    lines += [
        "",
        f"2 ms after another: {message.paused * 1e6:.0f} us",
        f"fresh process: {start.longwire * 1e3:.0f} ms of CPU until the first CONNECT is answered:",
        f"    {start.trivial * 1e3:.0f} Python and Lambda's runtime, "
        f"{(start.app - start.trivial) * 1e3:.0f} the app's import, "
        f"{(start.longwire - start.app) * 1e3:.0f} Longwire",
        "",
        where(),
    ]
    return "```text\n" + "\n".join(lines) + "\n```"


def where() -> str:
    """Return when and on what all is measured."""
    date, python = time.strftime("%B %Y"), platform.python_version()
    return f"{date}, CPython {python}, {processor()}"


def processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        names = [line.partition(": ")[2].strip() for line in file if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()


def memory_table(message_ms: float, start_ms: float) -> str:
    """Return what a message and a start take, from milliseconds of a whole core."""
    lines = [
        "| memory, MB | cores | CPU of a message, ms | the message, ms | a million of them, $ "
        "| a fresh process, s |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for memory in MEMORY:
        core = min(memory / CORE.value, 1)
        own = message_ms / core
        whole = own + (STORE_TIME.value + POST_TIME.value) * 1e3
        dollars = whole / 1e3 * memory / 1024 * ARM_PRICE.value + EVENT_PRICE.value
        lines.append(
            f"| {memory:,} | {core:.2f} | {own:.1f} | {whole:.0f} | {dollars:.2f} "
            f"| {start_ms / 1e3 / core:.1f} |"
        )
    return "\n".join(lines)


def import_table(imports: Mapping[str, float]) -> str:
    lines = ["| app | CPU of its import, ms |", "|---|---:|"]
    lines += [f"| {name} | {seconds * 1e3:.0f} |" for name, seconds in imports.items()]
    return "\n".join(lines)


def store_table(stores: Mapping[str, Events]) -> str:
    lines = [
        "| store | handshake | message with one reply | the same 2 ms after another | end |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, events in stores.items():
        figures = " | ".join(f"{seconds * 1e6:,.0f}" for seconds in events)
        lines.append(f"| {name} | {figures} |")
    return "\n".join([*lines, "", f"Measured in {where()}."])


def put_into(page: str, name: str, text: str) -> str:
    """Return the page with something else between the marks of a name, if it has them."""
    begin, end = f"<!-- make costs: {name} -->", "<!-- so far -->"
    found = re.compile(re.escape(begin) + r"\n.*?\n" + re.escape(end), re.DOTALL)
    return found.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make costs")
    parser.add_argument("--write", action="store_true", help="into the pages that have marks")
    write = parser.parse_args(arguments).write
    set_environment()
    stores, start = measure_stores(), measure_start()
    message = measure_message(stores["dynamodb"])
    shown = {
        "message": picture(message, start),
        # As they are printed in the picture, so that the page agrees with itself.
        "memory": memory_table(round(message.paused * 1e6) / 1e3, round(start.longwire * 1e3)),
        "imports": import_table(measure_imports()),
        "stores": store_table(stores),
    }
    for name, text in shown.items():
        print(f"\n{text}", flush=True)
        for path in DOCS.glob("*.md") if write else ():
            page = path.read_text(encoding="utf-8")
            path.write_text(put_into(page, name, text), encoding="utf-8")


if __name__ == "__main__":
    main()
