"""Measured processes, asked in turn: a machine that is slower for a while is so for all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from benchmarks.table import BEFORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# Lambda sets none of these, and they change what a cold start or a TLS context costs.
DISTORTING = {"PYTHONDONTWRITEBYTECODE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"}
# Without credentials here, Mangum would look for them elsewhere at every reply.
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


class Figures(NamedTuple):
    """Seconds."""

    cpu: float
    wall: float


def set_environment() -> None:
    """For this process and all that it starts."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy") or name in DISTORTING:
            del os.environ[name]
    os.environ.update(AWS)


class EndedError(Exception):
    """A measured process has ended; it has said why."""


class Contender(NamedTuple):
    """A program to measure.

    Attributes:
        command: arguments of the interpreter.
        times: how often it does one thing in one round.
        environ: added to the environment.
    """

    command: Sequence[str]
    times: int = 1
    python: str = sys.executable
    environ: Mapping[str, str] = {}


class Measured:
    """A process that lives on, and does what it is asked to."""

    def __init__(self, contender: Contender) -> None:
        self._process = subprocess.Popen(
            [contender.python, *contender.command],
            env=os.environ | contender.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End it, which it does by itself when nothing more is asked."""
        with suppress(BrokenPipeError), self._process:
            pass

    @property
    def pid(self) -> int:
        return self._process.pid

    def peak_memory(self) -> int:
        """Return the most bytes that it has had in memory by now; on Linux."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def perform(self, what: str, times: int) -> Figures:
        """Do something so many times, and tell what once took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{what} {times}\n")
            self._process.stdin.flush()
        return _parse(self._process.stdout.readline())


def run_warm(
    contenders: Mapping[str, Contender], orders: Sequence[str], rounds: int
) -> dict[str, dict[str, list[Figures]]]:
    """Measure in processes that live on; return each round of each order, but for the first.

    An earlier Longwire that cannot do what is asked is left out.
    """
    found: dict[str, dict[str, list[Figures]]] = {}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(Measured(each)) for name, each in contenders.items()}
        for name in list(processes):
            try:
                for what in orders:
                    processes[name].perform(what, contenders[name].times)
            except EndedError:
                if not name.startswith(BEFORE):
                    raise
                del processes[name]
        found = {name: {what: [] for what in orders} for name in processes}
        for number in range(rounds):
            for what in orders:
                for name in _turned(list(processes), number):
                    done = processes[name].perform(what, contenders[name].times)
                    found[name][what].append(done)
    return found


def run_cold(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[Figures]]:
    """Measure fresh processes; the first of each leaves .pyc files and a table to the others."""
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(1 + rounds):
        for name in _turned(list(contenders), number):
            each = contenders[name]
            command = [each.python, *each.command]
            environ = os.environ | each.environ
            found[name].append(_parse(subprocess.check_output(command, env=environ, text=True)))
    return {name: results[1:] for name, results in found.items()}


def cpu(rounds: Sequence[Figures]) -> list[float]:
    return [each.cpu for each in rounds]


def _turned(names: list[str], number: int) -> list[str]:
    """Nobody is always the one behind the same other one."""
    return names[number % len(names) :] + names[: number % len(names)]


def _parse(line: str) -> Figures:
    if not line:
        raise EndedError
    return Figures(*map(float, line.split()))
