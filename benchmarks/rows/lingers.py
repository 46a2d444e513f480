"""Whether an event of any framework waits for what cannot move."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.frameworks import CASES, MESSAGES
from benchmarks.servers import connections, running
from benchmarks.table import LABEL, Aim

if TYPE_CHECKING:
    from benchmarks.setup import Setup

NONE = Aim(0)


def compare(setup: Setup) -> None:
    columns = "".join(f"{column:>12}" for column in ("CONNECT", "MESSAGE", "DISCONNECT", "lingers"))
    print(f"\n{'one event, wall ms':{LABEL}}{columns}, s")
    with running(connections) as management:
        for name, case in CASES.items():
            if not case.is_installed:
                print(f"{name:{LABEL}}not installed")
                continue
            before = management.count()
            command = [sys.executable, "-m", "benchmarks.frameworks", name, management.address]
            *events, lingers = map(float, subprocess.check_output(command, text=True).split()[-4:])
            if management.count() - before != MESSAGES:
                raise RuntimeError(f"{name}: not every reply arrived")
            shown = "".join(f"{seconds * 1e3:>12.1f}" for seconds in events)
            print(f"{name:{LABEL}}{shown}{lingers:>12g}{NONE.judge(lingers)}", flush=True)
