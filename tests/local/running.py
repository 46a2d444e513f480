"""A running `longwire dev`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from longwire.local.function.inline import environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

READY = re.compile(
    r"longwire dev: ready on (ws://127\.0\.0\.1:\d+) \(also /(\w+)\), "
    r"management API (http://127\.0\.0\.1:\d+/\w+)/@connections\n"
)
HTTP = re.compile(r"  (http://127\.0\.0\.1:\d+)/(?: \(.*\))?\n")


def need_runtime() -> None:
    """Skip a test that needs Lambda's own runtime where that is not to be had."""
    if find_spec("runtime_client") is None:
        pytest.skip("Lambda's own runtime is for Linux only")


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C; on Windows Ctrl-Break, which alone reaches one group of processes."""
    process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))


class Dev:
    """A running `longwire dev`; one that a failed test leaves behind is killed.

    It serves HTTP only if an argument says so.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        command: Sequence[str] = ("-m", "longwire", "dev", "--port", "0"),
        **environ: str,
    ) -> None:
        if "--instances" in arguments:
            need_runtime()
        says = {"--http-port", "--one-port", "--usual-http-port"} & {*arguments}
        http = [] if says else ["--no-http"]
        self.url = ""
        self.has_page = not {"--no-inspector", "--host"} & set(arguments)
        self.page = "/_longwire/" if "--one-port" in arguments else "/"
        self.process = subprocess.Popen(
            [sys.executable, *command, *http, *arguments],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment(), "PYTHONUNBUFFERED": "1", **environ},
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        with self.process:
            pass

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ready(self) -> re.Match[str]:
        """Wait for the ready line."""
        line = self.line()
        found = READY.fullmatch(line)
        assert found, (line, self.process.stderr and self.process.stderr.read())
        self.url = found[1]
        if self.has_page:
            assert self.line() == f"  inspector: {found[1].replace('ws:', 'http:')}{self.page}\n"
        return found

    def ready_for_http(self) -> tuple[str, str]:
        """Wait for the ready lines; return where HTTP is, and where WebSockets are."""
        ws_url, http = self.ready()[1], HTTP.fullmatch(line := self.line())
        assert http, line
        return http[1], ws_url

    def stop(self, number: signal.Signals) -> tuple[int, str, str]:
        """Send a signal and return exit code, output and errors."""
        if sys.platform == "win32":
            interrupt(self.process)
        else:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err
