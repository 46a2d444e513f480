"""A running `longwire dev`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from pathlib import Path
    from typing import Self

READY = re.compile(
    r"longwire dev: ready on (ws://127\.0\.0\.1:\d+) \(also /(\w+)\), "
    r"management API (http://127\.0\.0\.1:\d+/\w+)/@connections\n"
)


class Dev:
    """A running `longwire dev`; one that a failed test leaves behind is killed."""

    def __init__(self, directory: Path, *arguments: str, **environ: str) -> None:
        self.url = ""
        self.has_page = not {"--no-inspector", "--host"} & set(arguments)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "longwire", "dev", "--port", "0", *arguments],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
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
            assert self.line() == f"  inspector: {found[1].replace('ws:', 'http:')}/\n"
        return found

    def stop(self, number: signal.Signals) -> tuple[int, str, str]:
        """Send a signal and return exit code, output and errors."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err
