"""A store, asked within the time that an event has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from longwire import deadlines
from longwire.exceptions import BackendError
from longwire.observability.event import count_store_request
from longwire_aws.timeouts import limits

if TYPE_CHECKING:
    from typing import Protocol

    from longwire_backends import Backend, Page, Record

    class CutOffRequest(Protocol):
        """A request that is cancelled with who waits for it."""

        def log(self, error: asyncio.CancelledError, began: float) -> None:
            """Log it if its author should know; it began at a time in `time.monotonic()`."""


T = TypeVar("T")
Answer = Coroutine[Any, Any, T]

HINT = "; the server is overloaded, stopped or locked, or no route leads to it"


class Store:
    """The methods of a `Backend` (see there), each of which answers before a deadline or fails.

    `cut_off` makes of the name of a request what tells that it was cut off.
    """

    def __init__(
        self,
        backend: Backend,
        deadline: float,
        cut_off: Callable[[str], CutOffRequest] | None = None,
    ) -> None:
        self.backend = backend
        self.deadline = deadline
        self._cut_off = cut_off

    def until(self, deadline: float) -> Store:
        """Return the same store with another deadline."""
        return Store(self.backend, deadline, self._cut_off)

    def put(self, connection_id: str, value: str, expires_at: int) -> Answer[str]:
        return self._ask("put", self.backend.put(connection_id, value, expires_at))

    def get(self, connection_id: str) -> Answer[Record | None]:
        return self._ask("get", self.backend.get(connection_id))

    def take(self, connection_id: str) -> Answer[Record | None]:
        return self._ask("take", self.backend.take(connection_id))

    def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> Answer[str | None]:
        updated = self.backend.update(connection_id, value, expires_at, version)
        return self._ask("update", updated)

    def group_add(self, group: str, connection_id: str, expires_at: int) -> Answer[None]:
        return self._ask("group_add", self.backend.group_add(group, connection_id, expires_at))

    def group_discard(self, group: str, connection_id: str) -> Answer[None]:
        return self._ask("group_discard", self.backend.group_discard(group, connection_id))

    def group_discard_all(self, connection_id: str) -> Answer[tuple[str, ...]]:
        return self._ask("group_discard_all", self.backend.group_discard_all(connection_id))

    def group_members(self, group: str, *, after: str | None = None) -> Answer[Page]:
        return self._ask("group_members", self.backend.group_members(group, after=after))

    def groups(self, connection_id: str) -> Answer[tuple[str, ...]]:
        return self._ask("groups", self.backend.groups(connection_id))

    def append(
        self, connection_id: str, position: int, value: str, expires_at: int
    ) -> Answer[bool]:
        appended = self.backend.append(connection_id, position, value, expires_at)
        return self._ask("append", appended)

    def journal(self, connection_id: str, *, after: int = 0) -> Answer[tuple[str, ...]]:
        return self._ask("journal", self.backend.journal(connection_id, after=after))

    def drop_journal(self, connection_id: str) -> Answer[None]:
        return self._ask("drop_journal", self.backend.drop_journal(connection_id))

    def sweep(self) -> Answer[int]:
        return self._ask("sweep", self.backend.sweep())

    async def _ask(self, operation: str, answer: Awaitable[T]) -> T:
        count_store_request()
        began = time.monotonic()
        left = max(0.0, self.deadline - began)
        try:
            with limits().within(left) as limit:
                return await answer
        except TimeoutError as error:
            if not limit.expired:
                raise
            detail = f"no answer within the {left:.3g} s that were left of the event's time"
            if left:
                detail += deadlines.doing(error.__cause__ or error.__context__) or HINT
            raise BackendError(self.backend.name, operation, detail) from error
        except asyncio.CancelledError as error:
            if self._cut_off is not None:
                self._cut_off(f"{self.backend.name}: {operation}").log(error, began)
            raise
