"""What the script knows of a Lambda core that runs the function."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

FUNCTION = Path(__file__).with_name("function.py")
# Whole seconds for one event. The emulator has a process start in those of its first event.
TIMEOUT = 8


class Core(Protocol):
    """A running core."""

    async def invoke(self, event: dict[str, Any]) -> list[Any]:
        """Return what the caller gets, once the function can have its next event.

        It is ["answer", what was returned], ["error", type, message] or ["timeout", message]. When
        it has come there is a file `answered` in the function's folder.
        """


if TYPE_CHECKING:
    # Runs the function of a folder, with more in its environment.
    RunCore = Callable[[Path, dict[str, str]], AbstractAsyncContextManager[Core]]


def deploy(folder: Path) -> None:
    """Put the function into a folder."""
    folder.mkdir()
    shutil.copy(FUNCTION, folder / "function.py")
