"""What is the app's own: code that its author has written and can change."""

from __future__ import annotations

import functools
import os
import sys
from types import FunctionType
from typing import TYPE_CHECKING

from longwire.asgi.frames import is_of_a_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import CodeType, FrameType, ModuleType

# Where classes come from whose heirs are data.
_PLAIN_BASES = {*sys.stdlib_module_names, "pydantic", "msgspec"}


@functools.lru_cache(4096)
def _is_own(module: object, path: str) -> bool:
    return not (path.startswith("<") or is_of_a_library(str(module), path))


def is_frame(frame: FrameType) -> bool:
    """Tell whether the app's own code runs in a frame."""
    return bool(among([frame]))


def among(frames: Iterable[FrameType]) -> list[FrameType]:
    """Return those of some frames that the app's own code runs in."""
    return [
        one for one in frames if _is_own(one.f_globals.get("__name__", ""), one.f_code.co_filename)
    ]


@functools.lru_cache(4096)
def is_class(kind: type) -> bool:
    """Tell whether a class is the app's own."""
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return path is not None and _is_own(kind.__module__, path)


@functools.lru_cache(4096)
def is_data(kind: type) -> bool:
    """Tell whether objects of an own class hold nothing but what they show, as no database's do."""
    return is_class(kind) and all(
        is_class(base) or str(base.__module__).partition(".")[0] in _PLAIN_BASES
        for base in kind.__mro__
    )


def modules() -> list[ModuleType]:
    """List the app's own modules."""
    return [
        module
        for name, module in list(sys.modules.items())
        if (path := getattr(module, "__file__", None)) and _is_own(name, path)
    ]


def functions(kind: type) -> Iterator[CodeType]:
    """Walk the code that a class has of the app's own, also of what it inherits from."""
    for base in kind.__mro__:
        if is_class(base):
            for value in list(vars(base).values()):
                match value:
                    case staticmethod() | classmethod():
                        value = value.__func__
                    case property():
                        value = value.fget
                if isinstance(value, FunctionType) and _is_own(
                    kind.__module__, value.__code__.co_filename
                ):
                    yield from _nested(value.__code__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            yield from _nested(constant)


def place(path: str, line: int) -> str:
    """Name a line as short as possible from where the process was started."""
    try:
        short = os.path.relpath(path)
    except (OSError, ValueError):  # its folder is gone, or this is another drive
        short = path
    return f"{path if short.startswith(os.pardir) else short}:{line}"
