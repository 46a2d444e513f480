"""Python as it is on Windows, as far as another system can show: what Windows lacks is taken away.

Not shown is what Windows does in another way: its event loop's waiting, console, files. CI runs
the tests on it.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import select
import signal
import sys

# The standard library is to know where it really is.
for _name in ("mimetypes", "multiprocessing", "shutil", "ssl", "subprocess", "tempfile", "uuid"):
    importlib.import_module(_name)

# What `signal` has of these on Windows.
SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
MORE = ("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "siginterrupt", "sigwait")
OF_OS = (
    *(
        "fork",
        "forkpty",
        "killpg",
        "getpgid",
        "setpgid",
        "setsid",
        "wait",
        "waitid",
        "register_at_fork",
    ),
    *("getuid", "geteuid", "chown", "fchmod", "mkfifo", "openpty", "pipe2", "posix_spawn"),
    *("set_blocking", "sendfile", "uname", "P_PID", "WNOHANG"),
)
MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "runtime_client", "termios", "tty")
# Its usual event loop, the Proactor's, knows nothing of these.
OF_LOOPS = ("add_reader", "add_signal_handler", "add_writer", "create_unix_server")


def _refuse(*arguments: object, **options: object) -> None:
    raise NotImplementedError


def take_away() -> None:
    """Leave this process only what it would have there; once it has imported what it needs."""
    asyncio.new_event_loop().close()  # asyncio has chosen the kind of its loops now
    for name in [one for one in vars(signal) if one.startswith("SIG") and one not in SIGNALS]:
        delattr(signal, name)
    for module, names in ((signal, MORE), (os, OF_OS), (select, ("poll", "epoll", "kqueue"))):
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment]  # so an import of it fails
    for name in OF_LOOPS:
        setattr(asyncio.SelectorEventLoop, name, _refuse)
    sys.platform = "win32"


if __name__ == "__main__":
    if sys.platform != "win32":
        take_away()
    from longwire.cli.main import main

    sys.exit(main(sys.argv[1:]))
