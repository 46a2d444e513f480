"""One store, one gateway: two that share a file would take each other's clients for gone."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Any

from longwire.cli.options import CannotServeError
from longwire.config import settings, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

# Seconds that the gateway before this one may take to end, as when --reload has just stopped it.
PATIENCE = 2.0


def file_of(target: Any) -> str | None:
    """Return the file in which the function keeps connections; None if that is no sqlite3 file."""
    own = getattr(target, "settings", None)
    if own is None and sources.DEV in os.environ:
        said = sources.of_dev(os.environ, "")
        own = None if said is None else settings.load(said.ws_config, said.dsn)
    if not isinstance(own, settings.Settings) or own.backend != "sqlite3":
        return None
    file: str = os.fspath(own.params["file_path"])
    return file


@contextlib.contextmanager
def sole_user(file: str | None) -> Iterator[None]:
    """Hold a store's file as that of this gateway.

    Raises:
        CannotServeError: another gateway has it.
    """
    if file is None:
        yield
        return
    with contextlib.ExitStack() as held:
        try:
            lock = sqlite3.connect(f"{file}-dev", timeout=PATIENCE, isolation_level=None)
            held.callback(lock.close)
            # The system lets go of it however the process ends, on Windows, too.
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise CannotServeError(
                    f"another longwire dev keeps its connections in {file}: give this one its own, "
                    "as with --file other.sqlite3"
                ) from None
            # A disk that knows no locks, or a file that the store itself will say more about.
        yield
