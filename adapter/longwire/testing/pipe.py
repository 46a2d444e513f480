"""What goes through the pipe between a test and a fresh process: a length, then a pickle.

Both ends are ours. What an app raises is of classes of its own, which a test need not have
imported, and must not import by reading: such a class is stood for by `AppRaisedError`.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import traceback
from typing import Any

from longwire.exceptions import LongwireError

_LENGTH = struct.Struct("!I")
HEAD = _LENGTH.size


class AppRaisedError(LongwireError):
    """An app in a process of its own has raised what this process does not know.

    Attributes:
        type: the name of its class.
    """

    def __init__(self, type: str, message: str) -> None:
        super().__init__(f"{type}: {message}" if message else type)
        self.type: str = type

    def __reduce__(self) -> Any:
        return AppRaisedError, (self.type, str(self).removeprefix(f"{self.type}: "))


class _OfHere(pickle.Unpickler):
    """Finds classes only in modules that are there already."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name not in sys.modules:
            raise pickle.UnpicklingError(module_name)
        return super().find_class(module_name, global_name)


def packed(message: tuple[str, Any]) -> bytes:
    """Return a message as bytes."""
    data = pickle.dumps(message)
    return _LENGTH.pack(len(data)) + data


def size_of(head: bytes) -> int:
    """Return how many bytes follow the head of a message."""
    size: int = _LENGTH.unpack(head)[0]
    return size


def unpacked(data: bytes) -> tuple[str, Any]:
    """Return the message that the bytes are."""
    kind, value = pickle.loads(data)
    if kind == "raised":
        value = _error_of(value)
    elif kind == "returned" and not value[0]:
        value = False, _error_of(value[1])
    return kind, value


def portable(error: BaseException) -> tuple[bytes | None, str, str, str]:
    """Return an error as another process can read it."""
    try:
        data: bytes | None = pickle.dumps(error)
    except Exception:
        data = None
    text = "".join(traceback.format_exception(error)).rstrip()
    return data, type(error).__qualname__, str(error), text


def _error_of(value: tuple[bytes | None, str, str, str]) -> BaseException:
    data, name, message, text = value
    error: BaseException | None = None
    if data is not None:
        try:
            error = _OfHere(io.BytesIO(data)).load()
        except Exception:  # a class of the app's, or one that takes other arguments
            error = None
    if not isinstance(error, BaseException):
        error = AppRaisedError(name, message)
    error.add_note(f"in a process of its own:\n{text}")
    return error
