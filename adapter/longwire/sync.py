"""`Connections` for synchronous code: each call waits for what an event loop does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from longwire.registry.targets import is_unknown
from longwire.runtime.threads import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from longwire.apigateway.management import ConnectionInfo
    from longwire.connections import Connections
    from longwire.fanout.fan_out import SendResult

T = TypeVar("T")


class SyncConnections:
    """The methods of `Connections`, to be called without `await`; see there.

    Each may also raise `EventLoopError`: it was called on the event loop that would have to do the
    work, which cannot wait for itself.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def send(self, target: object, data: object) -> None:
        self._wait(lambda: self._connections.send(target, data), target)

    def close(self, target: object) -> None:
        self._wait(lambda: self._connections.close(target), target)

    def info(self, target: object) -> ConnectionInfo:
        return self._wait(lambda: self._connections.info(target), target)

    def group_add(self, group: str, target: object) -> None:
        self._wait(lambda: self._connections.group_add(group, target), target)

    def group_discard(self, group: str, target: object) -> None:
        self._wait(lambda: self._connections.group_discard(group, target), target)

    def groups(self, target: object) -> tuple[str, ...]:
        return self._wait(lambda: self._connections.groups(target), target)

    def group_members(self, group: str) -> Iterator[str]:
        members = self._connections.group_members(group)
        while (member := self._wait(lambda: _next(members))) is not None:
            yield member

    def group_send(self, group: str, data: object, *, exclude: object = ()) -> SendResult:
        return self._wait(lambda: self._connections.group_send(group, data, exclude=exclude))

    def broadcast(self, data: object, *, exclude: object = ()) -> SendResult:
        return self._wait(lambda: self._connections.broadcast(data, exclude=exclude))

    def aclose(self) -> None:
        """Let go of what was opened."""
        run(self._connections.aclose, None)

    def _wait(self, work: Callable[[], Coroutine[Any, Any, T]], target: object = None) -> T:
        caller = self._connections._caller(to_unknown=is_unknown(target))
        return run(work, caller.loop, caller.deadline - time.monotonic())


async def _next(members: Any) -> str | None:
    return await anext(members, None)
