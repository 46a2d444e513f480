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
slower for a while is so for all of them. `answered` is what the client waits for. The CPU is that
of all threads from one event to the next.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.lambda_process import LambdaProcess
from benchmarks.measured import ROUTES, event
from benchmarks.servers import quick_connections, running
from benchmarks.table import BEFORE, CONTROL, OURS, SHOWN, Aim, Pair, show, show_beside, show_head

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.setup import Setup

START_ROUNDS = 11
# Clients that come, speak once and go. The first ones do not count.
CLIENTS = 400
FIRST = 50

# Milliseconds that the extension adds.
ANSWERED, CPU, IDLE = Aim(0.05, how="added"), Aim(0.12, how="added"), Aim(how="added")


class Function(NamedTuple):
    """A contender.

    Attributes:
        module: of `benchmarks.functions`.
    """

    module: str
    takes_extension: bool = True
    environ: Mapping[str, str] = {}

    def start(self, environ: Mapping[str, str]) -> LambdaProcess:
        return LambdaProcess(
            f"benchmarks.functions.{self.module}.handler",
            {**environ, **self.environ},
            takes_extension=self.takes_extension,
        )


TRIVIAL, BARE, APP = "trivial", "bare ext.", "app"
OTHERS = {TRIVIAL: Function("trivial"), BARE: Function("extended"), APP: Function("imports")}


def refused(version: str) -> str:
    return f"{version}, refused"


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


def compare(setup: Setup) -> None:
    longwires: dict[str, Function] = {}
    for version, environ in setup.versions().items():
        longwires[version] = Function("echo", environ=environ)
        longwires[refused(version)] = Function("echo", takes_extension=False, environ=environ)
    functions = {**OTHERS, **longwires}
    clients = CLIENTS // 2 if setup.quick else CLIENTS
    with running(quick_connections) as management:
        config = {"backend": "memory", "api_gateway_endpoint_url": management.address}
        environ = {"BENCHMARK_ARGUMENTS": json.dumps({"ws_config": config})}
        warm = run_warm(functions, environ, clients)
        if management.count() != len(longwires) * clients:
            raise RuntimeError(f"only {management.count()} replies arrived")
        cold = run_cold(functions, environ, setup.rounds(START_ROUNDS))
    show_warm(warm)
    show_cold(cold)


def run_warm(
    functions: Mapping[str, Function], environ: Mapping[str, str], clients: int
) -> dict[str, dict[str, list[Warm]]]:
    names = [name for name in functions if name != APP]
    found: dict[str, dict[str, list[Warm]]] = {
        kind: {name: [] for name in names} for kind in ROUTES
    }
    with ExitStack() as stack:
        processes = {name: stack.enter_context(functions[name].start(environ)) for name in names}
        for process in processes.values():
            process.until_ready()
        for client in range(clients):
            order = names[client % len(names) :] + names[: client % len(names)]
            for kind, results in found.items():
                for name, warm in invoke_all(processes, order, kind, f"client-{client}").items():
                    results[name].append(warm)
    return {
        kind: {name: of_one[FIRST:] for name, of_one in results.items()}
        for kind, results in found.items()
    }


def invoke_all(
    processes: Mapping[str, LambdaProcess], order: Sequence[str], kind: str, client: str
) -> dict[str, Warm]:
    """Let each handle one event; what it still does while the others do counts as its CPU."""
    payload = json.dumps(event(kind, client)).encode()
    before = {name: processes[name].cpu() for name in order}
    times = {name: processes[name].invoke(payload) for name in order}
    return {name: Warm(*times[name], processes[name].cpu() - before[name]) for name in order}


def run_cold(
    functions: Mapping[str, Function], environ: Mapping[str, str], rounds: int
) -> dict[str, list[Cold]]:
    """Measure fresh processes; the first of each leaves .pyc files to the others."""
    payload = json.dumps(event("CONNECT", "first")).encode()
    found: dict[str, list[Cold]] = {name: [] for name in functions}
    for _ in range(1 + rounds):
        for name, results in found.items():
            with functions[name].start(environ) as process:
                ready = process.until_ready()
                answered = ready + process.invoke(payload).answered
                results.append(Cold(ready, answered, process.cpu()))
    return {name: results[1:] for name, results in found.items()}


def show_warm(found: Mapping[str, Mapping[str, Sequence[Warm]]]) -> None:
    show_head("awslambdaric, warm, ms", "refused", how="added")
    for kind, results in found.items():
        for number, (label, aim) in enumerate(
            ((f"{kind}, answered", ANSWERED), ("  waits for the next", IDLE), ("  CPU", CPU))
        ):
            taken = {name: [each[number] for each in events] for name, events in results.items()}
            pairs = {
                version: Pair(taken[refused(version)], taken[version])
                for version in (OURS, CONTROL, BEFORE)
                if version in taken
            }
            show(label, pairs, aim, 1e3)
        least = Pair(taken[TRIVIAL], taken[BARE])
        show("  CPU, the least extension", {OURS: least}, IDLE, 1e3)


def show_cold(found: Mapping[str, Sequence[Cold]]) -> None:
    show_head("awslambdaric, fresh process, ms", APP, how="added")
    for number, label in enumerate(
        ("ready for the first event", "first CONNECT answered", "  CPU")
    ):
        taken = {name: [each[number] for each in starts] for name, starts in found.items()}
        pairs = {
            version: Pair(taken[APP], taken[version])
            for version in (OURS, CONTROL, BEFORE)
            if version in taken
        }
        show(label, pairs, IDLE, 1e3)
        show_beside(TRIVIAL, taken[TRIVIAL], taken[OURS], SHOWN, 1e3)
