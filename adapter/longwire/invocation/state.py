"""What the app of an event keeps: put into its scope, and stored before anybody can rely on it.

A client that has got a reply may send its next message at once, and that may be handled elsewhere.
So what has changed is stored before each frame that leaves, and once more when the step is over.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from longwire.asgi import noise
from longwire.asgi.state import NOTHING, Changed, merge
from longwire.exceptions import BackendError, StateError, StoredRecordError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.asgi.state import Changes, Flaw, ScopeState
    from longwire.registry.record import ConnectionRecord

    # Changes the record with nobody else's change lost.
    Update = Callable[[Callable[[ConnectionRecord], bool]], Awaitable[object]]

logger: logging.Logger = logging.getLogger("longwire")


class OwnState:
    """The state of an event's own connection; a `registry.base.OwnedState`."""

    _pending = _refused = NOTHING  # not stored yet; was too large, and is tried again in the end
    _flaws: tuple[Flaw, ...] = ()
    _is_over = _store_fails = False
    _storing: asyncio.Lock | None = None

    def __init__(
        self,
        connection_id: str,
        scope_state: ScopeState,
        update: Update,
        limit: int | None,  # bytes of JSON; None keeps nothing
    ) -> None:
        self._id = connection_id
        self._scope_state = scope_state
        self._update = update
        self._limit = limit

    def restore(self) -> None:
        """Put in what is stored, as the event is handed over."""
        if self._limit is not None:
            self._scope_state.restore()

    def end(self) -> None:
        """Note that the step is over: what changes from now on does not count."""
        if self._is_over:
            return
        self._take()
        for key in self._scope_state.renamed():
            logger.log(
                noise.level("renamed", [key]),
                "connection %s: what the app has changed by another name of its state's %r is "
                "lost: read it from the state each time (docs/state.md)",
                self._id,
                key,
            )
        self._is_over = True

    def release(self) -> None:
        """Let go of what belongs to the run, which is over."""
        self._is_over = True
        self._update = _nowhere
        self._scope_state.release()

    async def store(self) -> None:
        """Store what has changed so far; what goes wrong with that is left to `keep`."""
        if not self.has_changed():
            return
        async with self._one_by_one():  # also if another frame's store has what this one follows
            changed, self._pending = self._pending, NOTHING
            if changed is not NOTHING:
                await self._try(changed)

    def has_changed(self) -> bool:
        """Tell whether there is anything that `store` has to do."""
        if self._is_over or self._store_fails:
            return False
        self._take()
        return self._pending is not NOTHING or self._storing is not None

    async def _try(self, changed: Changed) -> None:
        try:
            flaws = await self._store(changed)
        except BaseException as error:
            self._pending = self._pending.over(changed)  # if cancelled, it may be stored, or not
            if not isinstance(error, (BackendError, StoredRecordError)):
                raise
            self._store_fails = True
        else:
            refused = Changed(
                _too_large(self._refused.state, changed.state, "state", flaws),
                _too_large(self._refused.session, changed.session, "session", flaws),
            )
            self._refused = refused if any(refused) else NOTHING

    async def keep(self) -> StateError | None:
        """Store the rest; return what is wrong with one key of it: the others are stored."""
        if self._pending is self._refused is NOTHING and self._storing is None:
            return self._error(self._flaws)
        async with self._one_by_one():
            refused = await self._store(self._pending.over(self._refused))
        return self._error((*self._flaws, *refused))

    def _one_by_one(self) -> asyncio.Lock:
        """Return a lock: what is older must not be stored over what is newer."""
        if self._storing is None:
            self._storing = asyncio.Lock()
        return self._storing

    def read(self) -> dict[str, Any]:
        """Return what the next event would find if this one were over."""
        self._take()
        stored = self._scope_state.stored
        merged, _ = merge(stored, self._pending.over(self._refused), self._limit or 0)
        return (merged or stored).state_values()

    async def change(self, changes: Changes) -> None:
        """Change it in the scope; in a connect part, whose scope is not stored, also in the record.

        Raises:
            StateError: it would be too large.
        """
        if not self._scope_state.live:
            error = self._error(await self._store(Changed(changes, {})))
            if error is not None:
                raise error
        self._scope_state.change(changes)

    def _take(self) -> None:
        if not self._is_over:
            taken = self._scope_state.take()
            self._flaws = taken.flaws
            if taken.state or taken.session:
                self._pending = taken.over(self._pending)

    async def _store(self, changed: Changed) -> tuple[Flaw, ...]:
        flaws: tuple[Flaw, ...] = ()
        if changed == NOTHING:
            return flaws

        def change(record: ConnectionRecord) -> bool:
            nonlocal flaws
            merged, flaws = merge(record.kept, changed, self._limit or 0)
            if merged is not None:
                record.state, record.session = self._scope_state.stored = merged
            return merged is not None

        await self._update(change)
        return flaws

    def _error(self, flaws: tuple[Flaw, ...]) -> StateError | None:
        return StateError(self._id, *flaws[0]) if flaws else None


async def _nowhere(change: Callable[[ConnectionRecord], bool]) -> None:
    """Change no record."""


def _too_large(refused: Changes, stored: Changes, of: str, flaws: tuple[Flaw, ...]) -> Changes:
    """Return what is too large by now: what was and has not changed, and what is so anew."""
    old = {key: entry for key, entry in refused.items() if key not in stored}
    return old | {flaw.key: stored[flaw.key] for flaw in flaws if flaw.of == of and flaw.key}
