"""`longwire dev --reload`: a process that starts the gateway again when a source file changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from watchfiles import PythonFilter, awatch, watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from watchfiles import Change

# Milliseconds between two looks at whether the child still lives.
_TICK = 100
# Seconds that the child has to end, with its clients and the function, before it is killed.
_GRACE = 15.0

# On Windows a group of its own, in which Ctrl-Break reaches the child and not us.
_OWN_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)

# The child's exit code for what editing a file will not mend, such as a port in use.
_GIVE_UP = 1


async def changes(app_dir: Path) -> AsyncIterator[str]:
    """Yield the names of the .py files that have changed, whenever some have."""
    async for changed in awatch(app_dir, watch_filter=PythonFilter()):
        yield _names(changed, app_dir)


def supervise(command: Sequence[str], app_dir: Path) -> int:
    """Run `command`, again after each change of a .py file, until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    child: subprocess.Popen[bytes] | None = None
    changes = watch(
        app_dir,
        watch_filter=PythonFilter(),
        stop_event=stop,
        rust_timeout=_TICK,
        yield_on_timeout=True,
    )
    # The first turn comes once files are watched, so that no change is missed.
    for changed in changes:
        if child is None or changed:
            if child is not None:
                names = _names(changed, app_dir)
                sys.stderr.write(f"longwire dev: {names} changed, restarting\n")
                sys.stderr.flush()
            _end(child)
            child = subprocess.Popen(command, creationflags=_OWN_GROUP)
        elif child.poll() == _GIVE_UP:
            return _GIVE_UP
    _end(child)
    return 0


def _names(changed: set[tuple[Change, str]], app_dir: Path) -> str:
    return ", ".join(sorted({os.path.relpath(path, app_dir) for _, path in changed}))


def _end(child: subprocess.Popen[bytes] | None) -> None:
    if child is None or child.poll() is not None:
        return
    _ask_to_end(child)
    try:
        child.wait(_GRACE)
    except subprocess.TimeoutExpired:
        sys.stderr.write("longwire: the gateway did not stop in time and is killed\n")
        child.kill()
        child.wait()


def _ask_to_end(child: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":  # where `terminate` kills
        try:
            child.send_signal(signal.CTRL_BREAK_EVENT)
        except OSError:  # there is no console
            child.terminate()
    else:
        child.terminate()
