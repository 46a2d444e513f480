"""What the store has of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from longwire.config.settings import Settings, make_backend
from longwire.exceptions import BackendError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from longwire_backends import Backend

# Seconds that the page waits for the store, and for an app that blocks its event loop.
PATIENCE = 3.0


async def _here(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    return await work


class StoredRecords:
    """Reads in the store of the function, and never writes."""

    def __init__(self) -> None:
        self._backend: Backend | None = None
        self._run: Callable[[Coroutine[Any, Any, dict[str, Any]]], Awaitable[dict[str, Any]]] = (
            _here
        )
        self._own: list[Backend] = []
        self._said: Mapping[str, Any] | None = None
        self._why_not = "not known yet: it is said with the function's first event"

    def use(
        self,
        backend: Backend | None,
        run: Callable[[Coroutine[Any, Any, dict[str, Any]]], Awaitable[dict[str, Any]]],
    ) -> None:
        """Read in the store of a handler of this process, on its event loop."""
        self._backend, self._run = backend, run

    def use_none(self, why: str) -> None:
        self._backend, self._why_not = None, why

    def open(self, said: Mapping[str, Any]) -> None:
        """Read in the store that a process of the function has said."""
        if said == self._said:
            return
        self._said = said
        if said["backend"] == "memory":
            self.use_none("in the memory of the function's process")
            return
        try:
            self._backend = make_backend(Settings(backend=said["backend"], params=said["params"]))
            self._own.append(self._backend)
        except (ConfigurationError, BackendError, TypeError) as error:
            self.use_none(str(error))

    async def of(self, connection_id: str) -> dict[str, Any]:
        """Return what is stored of a connection, or why that cannot be said."""
        backend = self._backend
        if backend is None:
            return {"error": self._why_not}
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._run(_read(backend, connection_id))
        except TimeoutError:
            return {"error": f"the store did not answer within {PATIENCE:g} s"}
        except BackendError as error:
            return {"error": str(error)}
        except Exception as error:  # of a store that somebody else has written
            return {"error": f"{type(error).__name__}: {error}"}

    async def close(self) -> None:
        """Let go of the stores that only the page has."""
        self.use_none("the gateway stops")
        for backend in self._own:
            with contextlib.suppress(BackendError):
                await backend.close()


async def _read(backend: Backend, connection_id: str) -> dict[str, Any]:
    record = await backend.get(connection_id)
    told: dict[str, Any] = {
        "store": backend.name,
        "groups": list(await backend.groups(connection_id)),
        "record": None,
    }
    if record is None:
        return told
    try:
        value = json.loads(record.value)
    except ValueError:
        value = record.value
    told |= {"record": value, "version": record.version, "expires_at": record.expires_at}
    if isinstance(value, dict) and "began_at" in value and type(backend).keeps_journal():
        told["journal"] = len(await backend.journal(connection_id))
    return told
