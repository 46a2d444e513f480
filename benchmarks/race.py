"""Measured processes, asked in turn: a machine that is slower for a while is so for all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, Self

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
        with self._process:
            pass

    def peak_memory(self) -> int:
        """Return the most bytes that it has had in memory by now; on Linux."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def perform(self, what: str, times: int) -> Figures:
        """Do something so many times, and tell what once took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what} {times}\n")
        self._process.stdin.flush()
        return _parse(self._process.stdout.readline())


def run_warm(
    contenders: Sequence[Contender], orders: Sequence[str], rounds: int
) -> list[dict[str, Figures]]:
    """Measure in processes that live on; the first round does not count."""
    found: list[dict[str, list[Figures]]] = [{what: [] for what in orders} for _ in contenders]
    with ExitStack() as stack:
        processes = [stack.enter_context(Measured(each)) for each in contenders]
        for _ in range(1 + rounds):
            for what in orders:
                for each, process, results in zip(contenders, processes, found, strict=True):
                    results[what].append(process.perform(what, each.times))
    return [{what: _medians(each[what]) for what in orders} for each in found]


def run_cold(contenders: Sequence[Contender], rounds: int) -> list[Figures]:
    """Measure fresh processes; the first of each leaves .pyc files and a table to the others."""
    found: list[list[Figures]] = [[] for _ in contenders]
    for _ in range(1 + rounds):
        for each, results in zip(contenders, found, strict=True):
            command = [each.python, *each.command]
            environ = os.environ | each.environ
            results.append(_parse(subprocess.check_output(command, env=environ, text=True)))
    return [_medians(results) for results in found]


def _parse(line: str) -> Figures:
    return Figures(*map(float, line.split()))


def _medians(rounds: list[Figures]) -> Figures:
    return Figures(*map(median, zip(*rounds[1:], strict=True)))
