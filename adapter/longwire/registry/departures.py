"""Connections that have proved to be gone: found by a 410, told to the app once.

`$disconnect` is best effort, so a send may be the first to find that a client has left: by the 410
that `apigateway/management.py` reads. It notes so in the record itself (`gone_at`) and ends the
memberships. Whoever takes the record out of the store tells the app (`invocation/disconnect.py`):
mostly the finder, at the end of its event; else `$disconnect`, another finder, or a sweep.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from longwire.exceptions import (
    ConnectionGoneError,
    ManagementError,
    RecordVersionError,
    StoredRecordError,
)
from longwire.registry import record
from longwire.registry.base import Departed, Departure

if TYPE_CHECKING:
    from longwire.registry.caller import Caller
    from longwire.registry.record import ConnectionRecord
    from longwire.registry.store import Store
    from longwire_backends import Record

logger: logging.Logger = logging.getLogger("longwire")


async def end_unless_new(caller: Caller, departed: Departed, connection_id: str) -> bool:
    """End a connection that API Gateway does not know; False if it is too new to be known.

    An event's own app is told at once; other connections are added to `departed`.
    """
    if caller.registry.backend is None:
        return True
    own = caller.own_if(connection_id)
    if own is not None and own.greets:
        return False
    store = caller.store
    while True:
        stored = await store.get(connection_id)
        known, damage = read_record(stored)
        if known is not None and known.is_new(time.time()):
            return False
        if own is not None:
            await own.lose()
            return True
        if stored is None:  # somebody else has told the app, or its handshake is not over yet
            await store.group_discard_all(connection_id)
            return True
        if known is None:
            logger.error("connection %s: its end was not told: %s", connection_id, damage)
            if not isinstance(damage, RecordVersionError):  # which its own version tells
                await store.take(connection_id)
            break
        if known.gone_at or await _mark(store, connection_id, stored, known):
            # Not only by who has marked it, who may have been killed: the app is told by whoever
            # takes the record out, so that it is told once.
            departed[Departure(connection_id, caller.registry.endpoint)] = None
            break
    caller.registry.gone.add(connection_id)
    await store.group_discard_all(connection_id)
    return True


async def _mark(store: Store, connection_id: str, stored: Record, known: ConnectionRecord) -> bool:
    """Note in the record that its connection is gone; False if it has changed meanwhile."""
    known.left_groups = await store.groups(connection_id)
    known.gone_at = time.time()
    updated = await store.update(
        connection_id, record.dumps(known), stored.expires_at, stored.version
    )
    return updated is not None


async def is_known_gone(caller: Caller, connection_id: str) -> bool:
    """Tell whether somebody else has found that a connection is gone; raises `BackendError`."""
    if caller.registry.backend is None:
        return False
    return is_gone(await caller.store.get(connection_id))


def is_gone(stored: Record | None) -> bool:
    """Tell whether a record, or the lack of one, says that its connection is gone."""
    try:
        return stored is None or record.loads(stored.value).gone_at > 0.0
    except StoredRecordError:
        return False  # a record of a server's own clients, or one that nobody can read


async def delete_damaged(
    caller: Caller, connection_id: str, error: StoredRecordError, *, deadline: float
) -> None:
    """Delete a connection whose record is damaged, as its next message would; nobody is told."""
    logger.error("connection %s: deleted: %s", connection_id, error)
    await caller.store.take(connection_id)
    await caller.store.group_discard_all(connection_id)
    try:
        await caller.registry.clients.close(connection_id, deadline=deadline)
    except ConnectionGoneError:
        logger.debug("connection %s: the client was faster to leave", connection_id)
    except ManagementError as failure:
        logger.error("connection %s could not be closed: %s", connection_id, failure)


def read_record(stored: Record | None) -> tuple[ConnectionRecord | None, StoredRecordError | None]:
    """Return a connection's record, or what is wrong with it."""
    try:
        return (record.loads(stored.value) if stored is not None else None), None
    except StoredRecordError as error:
        return None, error


def collected(caller: Caller) -> Departed:
    """Return where connections that are gone are noted: with the event, if there is one."""
    return {} if caller.departed is None else caller.departed


async def report(caller: Caller, departed: Departed) -> None:
    """Have the app told of connections that are gone; an event does so at its end."""
    if caller.departed is None and departed and caller.registry.tell is not None:
        await caller.registry.tell(tuple(departed))
