"""The shared store and the management API, as one process sees them over the network."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from longwire_aws.http import Response, TransportError, TransportTimeoutError
from longwire_backends import Backend, BackendError, Page, Record
from tests.campaigns.chaos.event import now_in

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from longwire_backends.memory import MemoryBackend
    from tests.campaigns.chaos.gateway import Gateway
    from tests.campaigns.chaos.process import Process

T = TypeVar("T")

# What changes nothing, and is not told.
READING = frozenset({"get", "groups", "group_members", "connections", "journal"})

# In the record of a connection that has proved to be gone.
GONE = '"gone_at"'


class RemoteStore(Backend):
    """The shared store, as one process sees it over the network."""

    name = "remote"

    def __init__(self, store: MemoryBackend, process: Process) -> None:
        super().__init__()
        self._store = store
        self._process = process

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        return await self._ask("put", lambda: self._store.put(connection_id, value, expires_at))

    async def get(self, connection_id: str) -> Record | None:
        return await self._ask("get", lambda: self._store.get(connection_id))

    async def take(self, connection_id: str) -> Record | None:
        return await self._ask("take", lambda: self._store.take(connection_id))

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        return await self._ask(
            "ghost update" if GONE in value else "update",
            lambda: self._store.update(connection_id, value, expires_at, version),
        )

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        return await self._ask(
            "connections", lambda: self._store.connections(limit=limit, after=after)
        )

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        await self._ask(
            "group_add", lambda: self._store.group_add(group, connection_id, expires_at)
        )

    async def group_discard(self, group: str, connection_id: str) -> None:
        await self._ask("group_discard", lambda: self._store.group_discard(group, connection_id))

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        # In pages of two, so that there are several.
        return await self._ask(
            "group_members", lambda: self._store.group_members(group, limit=2, after=after)
        )

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        return await self._ask("groups", lambda: self._store.groups(connection_id))

    async def group_discard_all(self, connection_id: str) -> tuple[str, ...]:
        return await self._ask(
            "group_discard_all", lambda: self._store.group_discard_all(connection_id)
        )

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        return await self._ask(
            "append", lambda: self._store.append(connection_id, position, value, expires_at)
        )

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        return await self._ask("journal", lambda: self._store.journal(connection_id, after=after))

    async def drop_journal(self, connection_id: str) -> None:
        await self._ask("drop_journal", lambda: self._store.drop_journal(connection_id))

    async def sweep(self) -> int:
        return await self._ask("sweep", self._store.sweep)

    async def close(self) -> None:
        """Do nothing: the store is somewhere else."""

    async def _ask(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        fault = self._process.faults.store(name)
        event = now_in.get()
        about = f"{self._process.name}, {event.kind if event else ''}: {name} {fault}"

        def perform() -> T:
            result = at_once(work())
            if name not in READING:
                self._process.log(f"{about} -> {str(result)[:20]}")
            return result

        return await self._process.request(
            name, fault, perform, lambda: BackendError(self.name, name, fault)
        )


class RemoteGateway:
    """The management API, as one process sees it over the network."""

    def __init__(self, gateway: Gateway, process: Process) -> None:
        self._gateway = gateway
        self._process = process

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        fault = self._process.faults.post()
        until = time.monotonic() + timeout

        def perform() -> Response:
            if fault in ("429", "500"):
                return Response(int(fault), {}, b"")
            answer = self._gateway.answer(method, url, body)
            return Response(500, {}, b"") if fault == "500 after delivery" else answer

        def lost() -> Exception:
            return TransportError(fault, sent=fault != "refused")

        network_fault = "request lost" if fault == "refused" else fault
        name = {"POST": "post", "DELETE": "delete"}.get(method, "ask")
        sent = self._process.request(name, network_fault, perform, lost)
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                return await sent
        except TimeoutError:
            raise TransportTimeoutError("no answer in time", sent=True) from None


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("it waits")
