"""What every send to many does: post, end the memberships of who is gone, have the app told."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar

from longwire.asgi import tasks
from longwire.exceptions import StoredRecordError
from longwire.fanout.fan_out import UNREAD, FanOut
from longwire.registry import keys, record, store
from longwire.registry.api_gateway import Departure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from longwire.apigateway.frames import Frame
    from longwire.fanout.fan_out import Pages, SendResult
    from longwire.registry.base import Post
    from longwire.registry.caller import Caller
    from longwire.registry.record import ConnectionRecord
    from longwire_backends import Backend, Page, Record

T = TypeVar("T")

logger = logging.getLogger("longwire")

# Seconds after which a record that somebody began to move is moved by others.
MOVE_TIME = 5.0


async def send_many(
    caller: Caller, pages: Pages, message: Frame, post: Post, *, logs: bool = True
) -> SendResult:
    """Send a message to everybody on these pages, or have SQS do so if they are many.

    Args:
        post: sends this message.
        logs: whether it is logged when nobody answers, since an app need not look at the result.
    """
    departed = collected(caller)
    fan_out = FanOut(
        post,
        caller.deadline,
        lambda one: end_unless_new(caller, departed, one),
        lambda one: has_ended(caller, one),
    )
    if caller.layer.handover is None or caller.layer.endpoint is None:
        await fan_out.run(pages)
    else:
        from longwire.fanout.hand_over import hand_over

        await hand_over(caller, pages, message, fan_out)
    await report(caller, departed)
    if logs:
        log_hang("a send to many", fan_out, caller.layer.backend)
    return fan_out.result


def log_hang(what: str, fan_out: FanOut, backend: Backend | None) -> None:
    """Log, once for all members, that the management API or the store did not answer."""
    result = fan_out.result
    if fan_out.hang is not None:
        logger.error("%s: %d were not reached; one: %s", what, len(result.failed), fan_out.hang)
    if result.incomplete == UNREAD:
        name = backend.name if backend is not None else "no store"
        logger.error("%s: %s: %s", what, name, result.incomplete)


async def end_unless_new(caller: Caller, departed: list[Departure], connection_id: str) -> bool:
    """End a connection that API Gateway does not know, unless it is too new to be known.

    Then it is no member of any group any more, and no send finds it again. Its record waits under
    another key for whoever tells the app; the event's own app is told at once.

    Returns:
        False if it is too new.

    Raises:
        BackendError: the store failed.
    """
    backend = caller.layer.backend
    if backend is None:
        return True
    own = caller.own_if(connection_id)
    if own is not None and own.greets:
        return False
    while True:
        stored = await store.before(caller.deadline, backend, "get", backend.get(connection_id))
        known = _read(connection_id, stored)
        if known is not None and known.is_new(time.time()):
            return False
        if own is not None:
            await own.lose()
            return True
        if stored is not None and known is None:
            await store.before(caller.deadline, backend, "take", backend.take(connection_id))
        if known is None or stored is None or time.time() - known.moved_at < MOVE_TIME:
            break  # somebody else is at it, or was, or there is nothing to tell
        if (moved := await _move(caller, backend, connection_id, stored, known)) is not None:
            if moved:
                departed.append(Departure(connection_id, caller.layer.endpoint))
            break
    await store.before(
        caller.deadline, backend, "group_discard_all", backend.group_discard_all(connection_id)
    )
    return True


async def _move(
    caller: Caller, backend: Backend, connection_id: str, stored: Record, known: ConnectionRecord
) -> bool | None:
    """Keep a record under another key, where no send finds it; whoever takes it tells the app.

    It is marked first, so that only one does this. A copy tells nobody before the record itself has
    been taken here: who takes that, tells. A process that is killed between these two last steps
    leaves an end untold, which is better than one that is told twice.

    Returns:
        False if somebody else has taken it meanwhile; None if it has changed.
    """

    async def ask(operation: str, answer: Awaitable[T]) -> T:
        return await store.before(caller.deadline, backend, operation, answer)

    groups = await ask("groups", backend.groups(connection_id))
    known.moved_at = time.time()
    value = record.dumps(known, exclude_headers=frozenset())
    expires_at, version = stored.expires_at, stored.version
    if not await ask("update", backend.update(connection_id, value, expires_at, version)):
        return None
    key, copy = keys.ENDED + connection_id, keys.ended(groups, value)
    version = await ask("put", backend.put(key, copy, expires_at))

    async def own() -> bool:
        if await ask("take", backend.take(connection_id)) is None:
            await ask("take", backend.take(key))
            return False
        tells = keys.ended(groups, value, tells=True)
        return await ask("update", backend.update(key, tells, expires_at, version)) is not None

    return await _to_its_end(own())


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for work that must not be cut off in the middle."""
    task = tasks.detached(work, "move of a record")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def has_ended(caller: Caller, connection_id: str) -> bool:
    """Tell whether somebody else has found meanwhile that a connection is gone; raises likewise."""
    backend = caller.layer.backend
    if backend is None:
        return False
    return await store.before(caller.deadline, backend, "get", backend.get(connection_id)) is None


def _read(connection_id: str, stored: Record | None) -> ConnectionRecord | None:
    try:
        return record.loads(stored.value) if stored is not None else None
    except StoredRecordError as error:
        logger.error("connection %s: its end was not told: %s", connection_id, error)
        return None


def collected(caller: Caller) -> list[Departure]:
    """Return where connections that are gone are noted: with the event, if there is one."""
    return [] if caller.departed is None else caller.departed


async def report(caller: Caller, departed: list[Departure]) -> None:
    """Have the app told of connections that are gone; an event does so at its end."""
    if caller.departed is None and departed and caller.layer.tell is not None:
        await caller.layer.tell(departed)


async def read_pages(read: Callable[[str | None], Awaitable[Page]]) -> Pages:
    """Yield what a store lists in pages, to the end."""
    after: str | None = None
    while True:
        page = await read(after)
        yield page.members
        after = page.next
        if after is None:
            return


async def all_connections(backend: Backend) -> Pages:
    """Yield all connections; a store keeps other records, too."""
    async for page in read_pages(lambda after: backend.connections(after=after)):
        yield [one for one in page if not one.startswith(keys.INTERNAL)]
