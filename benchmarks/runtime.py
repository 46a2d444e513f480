"""Functions under Lambda's own runtime: what Longwire adds to it, and what its extension adds.

Each is a process under `awslambdaric`, and its Runtime API is in this one (`lambda_process.py`):

- trivial: a handler that returns at once;
- bare ext.: the same, beside the least extension there can be;
- app: the same, with the import of the app; only cold, it costs nothing later;
- refused: the app behind Longwire, when the Runtime API does not let it register its extension,
  so that the app runs in the main thread and nothing goes on after the response;
- longwire: the app behind Longwire with its extension, as it is on Lambda.

Connections are kept in the process's memory: a store's driver costs the same with and without the
extension, and has its own table. One event goes to each process in turn, so that a machine that is
slower for a while is so for all of them. Shown are medians. `answered` is what the client waits
for. The CPU is that of all threads from one event to the next.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.lambda_process import LambdaProcess
from benchmarks.measured import ROUTES, event
from benchmarks.servers import quick_connections, running
from benchmarks.table import LABEL, Aim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_ROUNDS = 11
# Clients that come, speak once and go. The first ones do not count.
CLIENTS = 400
FIRST = 50

AIM = Aim(1, at_most=True)  # milliseconds


class Function(NamedTuple):
    """A contender.

    Attributes:
        module: of `benchmarks.functions`.
    """

    name: str
    module: str
    takes_extension: bool = True

    def start(self, environ: Mapping[str, str]) -> LambdaProcess:
        return LambdaProcess(
            f"benchmarks.functions.{self.module}.handler",
            environ,
            takes_extension=self.takes_extension,
        )


TRIVIAL = Function("trivial", "trivial")
BARE = Function("bare ext.", "extended")
APP = Function("app", "imports")
REFUSED = Function("refused", "echo", takes_extension=False)
LONGWIRE = Function("longwire", "echo")

WARM = [TRIVIAL, BARE, REFUSED, LONGWIRE]
COLD = [TRIVIAL, BARE, APP, REFUSED, LONGWIRE]


class Warm(NamedTuple):
    """Seconds, of one event."""

    answered: float
    idle: float
    cpu: float


class Cold(NamedTuple):
    """Seconds since the process was started, but for `cpu`."""

    ready: float
    answered: float
    cpu: float


def compare_runtimes() -> None:
    with running(quick_connections) as management:
        config = {"backend": "memory", "api_gateway_endpoint_url": management.address}
        environ = {"BENCHMARK_ARGUMENTS": json.dumps({"ws_config": config})}
        warm = run_warm(environ)
        if management.count() != 2 * CLIENTS:  # both with Longwire reply
            raise RuntimeError(f"only {management.count()} replies arrived")
        cold = run_cold(environ)
    print(
        f"\nawslambdaric {version('awslambdaric')}; medians of {CLIENTS - FIRST} events and "
        f"{START_ROUNDS} starts of each function, in turn"
    )
    show_warm(warm)
    show_cold(cold)


def run_warm(environ: Mapping[str, str]) -> dict[str, dict[Function, Warm]]:
    found: dict[str, dict[Function, list[Warm]]] = {
        kind: {each: [] for each in WARM} for kind in ROUTES
    }
    with ExitStack() as stack:
        processes = {each: stack.enter_context(each.start(environ)) for each in WARM}
        for process in processes.values():
            process.until_ready()
        for client in range(CLIENTS):
            for kind, results in found.items():
                order = WARM[client % len(WARM) :] + WARM[: client % len(WARM)]
                for each, warm in invoke_all(processes, order, kind, f"client-{client}").items():
                    results[each].append(warm)
    return {
        kind: {each: Warm(*_medians(of_each[FIRST:])) for each, of_each in results.items()}
        for kind, results in found.items()
    }


def invoke_all(
    processes: Mapping[Function, LambdaProcess], order: Sequence[Function], kind: str, client: str
) -> dict[Function, Warm]:
    """Let each handle one event; what it still does while the others do counts as its CPU."""
    payload = json.dumps(event(kind, client)).encode()
    before = {each: processes[each].cpu() for each in order}
    times = {each: processes[each].invoke(payload) for each in order}
    return {each: Warm(*times[each], processes[each].cpu() - before[each]) for each in order}


def run_cold(environ: Mapping[str, str]) -> dict[Function, Cold]:
    """Measure fresh processes; the first of each leaves .pyc files to the others."""
    payload = json.dumps(event("CONNECT", "first")).encode()
    found: dict[Function, list[Cold]] = {each: [] for each in COLD}
    for _ in range(1 + START_ROUNDS):
        for each, results in found.items():
            with each.start(environ) as process:
                ready = process.until_ready()
                answered = ready + process.invoke(payload).answered
                results.append(Cold(ready, answered, process.cpu()))
    return {each: Cold(*_medians(results[1:])) for each, results in found.items()}


def _medians(rows: Sequence[tuple[float, ...]]) -> map[float]:
    return map(median, zip(*rows, strict=True))


def show_warm(found: Mapping[str, Mapping[Function, Warm]]) -> None:
    show_names("warm, ms", WARM, f"{'added':>10}   aim (longwire - refused)")
    clocks: dict[str, Callable[[Warm], float]] = {
        "answered": lambda warm: warm.answered,
        "  waits for the next": lambda warm: warm.idle,
        "  CPU": lambda warm: warm.cpu,
    }
    for kind, results in found.items():
        for clock, take in clocks.items():
            label = clock if clock.startswith(" ") else f"{kind}, {clock}"
            line = "".join(f"{1e3 * take(results[each]):>10.2f}" for each in WARM)
            added = 1e3 * (take(results[LONGWIRE]) - take(results[REFUSED]))
            verdict = "" if clock.startswith(" ") else f"   {AIM.judge(added)}"
            print(f"{label:{LABEL}}{line}{added:>+10.2f}{verdict}")


def show_cold(found: Mapping[Function, Cold]) -> None:
    show_names("fresh process, ms", COLD, f"{'added':>10}   (longwire - trivial)")
    clocks: dict[str, Callable[[Cold], float]] = {
        "ready for the first event": lambda cold: cold.ready,
        "first CONNECT answered": lambda cold: cold.answered,
        "  CPU": lambda cold: cold.cpu,
    }
    for label, take in clocks.items():
        line = "".join(f"{1e3 * take(found[each]):>10.0f}" for each in COLD)
        added = 1e3 * (take(found[LONGWIRE]) - take(found[TRIVIAL]))
        ratio = take(found[LONGWIRE]) / take(found[TRIVIAL])
        print(f"{label:{LABEL}}{line}{added:>+10.0f}   {ratio:.2f}x")


def show_names(what: str, functions: Sequence[Function], rest: str) -> None:
    print(f"\n{what:{LABEL}}" + "".join(f"{each.name:>10}" for each in functions) + rest)
