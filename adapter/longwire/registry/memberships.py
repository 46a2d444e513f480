"""Who may be a member of a group: a connection that is there, for as long as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.exceptions import ConnectionGoneError, RecordVersionError, StoredRecordError
from longwire.registry import in_process, record
from longwire.registry.departures import delete_damaged, is_gone

if TYPE_CHECKING:
    from longwire.registry.caller import Caller
    from longwire.registry.record import ConnectionRecord
    from longwire_backends import Record


async def join(caller: Caller, member: str) -> int:
    """Note that a connection joins a group; return until when it may be a member."""
    store, own = caller.store, caller.own_if(member)
    if own is not None and own.is_over:
        raise ConnectionGoneError(member)
    if own is not None and own.is_unanswered:
        return await own.join()
    while True:
        stored = await store.get(member)
        if stored is None:
            raise ConnectionGoneError(member)
        known = await _read(caller, member, stored)
        if known is not None and known.gone_at:
            raise ConnectionGoneError(member)
        if known is None or known.joined:
            return stored.expires_at
        known.joined = True
        if await store.update(member, record.dumps(known), stored.expires_at, stored.version):
            return stored.expires_at


async def _read(caller: Caller, member: str, stored: Record) -> ConnectionRecord | None:
    """Return a connection's record; None where others know what to make of it."""
    if isinstance(caller.registry.backend, in_process.ServedBackend):
        return None  # its clients have none
    try:
        return record.loads(stored.value)
    except RecordVersionError:
        return None
    except StoredRecordError as error:
        await delete_damaged(caller, member, error, deadline=caller.deadline)
        raise ConnectionGoneError(member) from error


async def check(caller: Caller, group: str, member: str) -> None:
    """End a membership again whose connection has ended while it was made."""
    store, own = caller.store, caller.own_if(member)
    if own is not None and own.is_unanswered:
        return
    if is_gone(await store.get(member)):
        await store.group_discard(group, member)
        raise ConnectionGoneError(member)
