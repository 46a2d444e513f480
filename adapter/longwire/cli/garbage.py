"""How often the garbage collector looks while `longwire dev` serves."""

from __future__ import annotations

import gc

# New objects after which it looks at them; Python's own limit is 700. The events of 500 clients at
# once have as many, and leave no cycles.
COLLECTED_AT = 50_000


def collect_rarely() -> None:
    """Have it leave alone what lives as long as the process, and come later."""
    # With many clients it would walk all their suspended events again and again.
    gc.freeze()
    first, *others = gc.get_threshold()
    if first:  # else the app has turned it off
        gc.set_threshold(max(first, COLLECTED_AT), *others)
