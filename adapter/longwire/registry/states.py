"""What a connection's app keeps, read and changed from outside of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from longwire.asgi.state import Changed, changes_of, merge
from longwire.exceptions import (
    ConfigurationError,
    ConnectionGoneError,
    InvalidArgumentError,
    ManagementError,
    RecordVersionError,
    StateError,
    StoredRecordError,
)
from longwire.registry import record
from longwire.registry.departures import delete_damaged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from longwire.asgi.state import Changes
    from longwire.registry.base import LiveState
    from longwire.registry.caller import Caller
    from longwire.registry.record import ConnectionRecord
    from longwire_backends import Record

NO_STATE = "there is no state: ws_config['state'] is False"
TOO_NEW = "its state cannot be changed from elsewhere until its handshake is over"

# Seconds between looks at a connection whose handshake is not over yet.
PAUSE = 0.05


def checked(connection_id: str, values: object, remove: str | Iterable[str]) -> Changes:
    """Return changes that can be stored; raises `StateError` for others."""
    if not isinstance(values, Mapping):
        raise InvalidArgumentError(f"the values are a {type(values).__name__}; expected a dict")
    changes, flaw = changes_of(values, (remove,) if isinstance(remove, str) else remove)
    if flaw is not None:
        raise StateError(connection_id, *flaw)
    return changes


async def read(caller: Caller, connection_id: str) -> dict[str, Any]:
    """Return a copy of a connection's state."""
    live = _live(caller, connection_id)
    if live is not None:
        return live.read()
    _, known = await _stored(caller, connection_id)
    return known.kept.state_values()


async def update(caller: Caller, connection_id: str, changes: Changes) -> None:
    """Change a connection's state key by key, with nobody else's change lost."""
    live, own = _live(caller, connection_id), caller.own_if(connection_id)
    if own is not None and own.is_over:
        raise ConnectionGoneError(connection_id)
    if live is not None:
        await live.change(changes)
        return
    while True:
        stored, known = await _stored(caller, connection_id)
        if not known.responded_at and known.connecting_until > time.time():
            await _pause(caller, connection_id)  # its answer is going to write the record anew
            continue
        merged, flaws = merge(known.kept, Changed(changes, {}), caller.registry.state_limit or 0)
        if flaws:
            raise StateError(connection_id, *flaws[0])
        if merged is None:
            return
        known.state, known.session = merged
        value = record.dumps(known)
        if await caller.store.update(connection_id, value, stored.expires_at, stored.version):
            return


def _live(caller: Caller, connection_id: str) -> LiveState | None:
    """Return the state where its app runs, if that is here."""
    if caller.registry.state_limit is None:
        raise ConfigurationError(NO_STATE)
    own = caller.own_if(connection_id)
    if own is not None:
        return own.state
    live_state = caller.registry.live_state
    return None if live_state is None else live_state(connection_id)


async def _stored(caller: Caller, connection_id: str) -> tuple[Record, ConnectionRecord]:
    stored = await caller.store.get(connection_id)
    if stored is None:
        raise ConnectionGoneError(connection_id)
    try:
        known = record.loads(stored.value)
    except RecordVersionError:
        raise
    except StoredRecordError as error:
        await delete_damaged(caller, connection_id, error, deadline=caller.deadline)
        raise ConnectionGoneError(connection_id) from error
    if known.gone_at or known.ended:
        raise ConnectionGoneError(connection_id)
    return stored, known


async def _pause(caller: Caller, connection_id: str) -> None:
    if time.monotonic() + PAUSE >= caller.deadline:
        raise ManagementError(connection_id, TOO_NEW, sent=False)
    await asyncio.sleep(PAUSE)
