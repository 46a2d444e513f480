"""Events on their way through processes, and where in them something is done."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.campaigns.chaos.process import Process


@dataclass(eq=False)
class Event:
    """One event on its way through one process.

    Attributes:
        phase: what its app is doing, while that is known.
        responded: its response has left.
        posts: how many frames it has posted.
    """

    kind: str
    connection_id: str
    phase: str = ""
    responded: bool = False
    posts: int = 0

    @property
    def where(self) -> str:
        """Name the phase in which it is."""
        after = ", after the response" if self.responded else ""
        posting = ", amid its posts" if self.posts else ""
        return f"{self.kind}{after}{posting}{self.phase and ', ' + self.phase}"


now_in: ContextVar[Event | None] = ContextVar("chaos_event", default=None)
"""The event for which something is done, also after its response."""

here: ContextVar[Process | None] = ContextVar("chaos_process", default=None)
"""The process in which something is done."""
