"""SnapStart: what must not be in the snapshot that Lambda takes of a process.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def before(close: Callable[[], None]) -> None:
    """Call `close` before a snapshot is taken, so that no socket or key is in it."""
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return
    try:
        import snapshot_restore_py as hooks
    except ImportError:
        return
    hooks.register_before_snapshot(close)
    hooks.register_after_restore(random.seed)  # or all that are restored would draw the same
