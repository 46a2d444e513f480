"""The logger of Longwire: no line of ours decides how an event ends, whatever its handlers do.

Lambda's own handler lets errors out, such as that half of a surrogate pair is no text. A client can
have put one into what an app raises.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_formatter = logging.Formatter()


def guard(logger: logging.Logger) -> None:
    """Let nothing that a handler or a filter raises reach who logs."""
    # Not by a class of loggers: somebody may have configured this one before it was ours.
    logger.handle = _guarded(logger.handle)  # type: ignore[method-assign, assignment]


def _guarded(handle: Callable[[logging.LogRecord], None]) -> Callable[[logging.LogRecord], None]:
    def guarded(record: logging.LogRecord) -> None:
        try:
            try:
                handle(record)
            except UnicodeError:
                handle(_in_ascii(record))
        except Exception as error:
            with contextlib.suppress(Exception):
                sys.stderr.write(f"longwire: a log handler raised {type(error).__name__}\n")

    return guarded


def _in_ascii(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record that says the same, with the traceback in its text."""
    text = _formatter.format(record).encode("ascii", "backslashreplace").decode("ascii")
    without = {"msg": text, "args": None, "exc_info": None, "exc_text": None, "stack_info": None}
    return logging.makeLogRecord(record.__dict__ | without)
