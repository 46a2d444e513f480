"""What the app of an event keeps: put into its scope, and stored once its step is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longwire.asgi.state import NOTHING, Changed, merge
from longwire.exceptions import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.asgi.state import Changes, Flaw, ScopeState
    from longwire.registry.record import ConnectionRecord

    # Changes the record with nobody else's change lost.
    Update = Callable[[Callable[[ConnectionRecord], bool]], Awaitable[object]]


class OwnState:
    """The state of an event's own connection; a `registry.caller.LiveState`."""

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

    def changed(self) -> Changed:
        """Return what the app has changed until now."""
        return self._scope_state.changed()

    async def keep(self, changed: Changed) -> StateError | None:
        """Store changes; return what is wrong with one of them: the others are stored."""
        if changed == NOTHING:
            return None
        return self._error((*changed.flaws, *await self._store(changed)))

    def read(self) -> dict[str, Any]:
        """Return what the next event would find if this one were over."""
        stored, changed = self._scope_state.stored, self._scope_state.changed()
        merged, _ = merge(stored, changed, self._limit or 0)
        return (merged or stored).state_values()

    async def change(self, changes: Changes) -> None:
        """Change it in the scope; in a connect part, whose scope is not stored, also in the record.

        Raises:
            StateError: it would be too large.
        """
        if not self._scope_state.live:
            changed = Changed(changes, {})
            if error := self._error(await self._store(changed)):
                raise error
        self._scope_state.change(changes)

    async def _store(self, changed: Changed) -> tuple[Flaw, ...]:
        flaws: tuple[Flaw, ...] = ()

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
