"""What every send to many does: post, end the memberships of who is gone, have the app told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from longwire import keys, record, store, tasks
from longwire.exceptions import StoredRecordError
from longwire.layer import Departure
from longwire.sends.fanout import FanOut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.caller import Caller
    from longwire.clients import Post
    from longwire.frames import Frame
    from longwire.sends.fanout import Pages, SendResult
    from longwire_backends import Backend, Page

# Seconds for the store to keep a record that has been taken out, whatever the deadline is.
MOVE_TIME = 1.0


async def send_many(caller: Caller, pages: Pages, message: Frame, post: Post) -> SendResult:
    """Send a message to everybody on these pages, or have SQS do so if they are many.

    Args:
        post: sends this message.
    """
    departed: list[Departure] = []
    fan_out = FanOut(
        post,
        caller.deadline,
        lambda one: end_unless_new(caller, departed, one),
        lambda one: has_ended(caller, one),
    )
    if caller.layer.handover is None or caller.layer.endpoint is None:
        await fan_out.run(pages)
    else:
        from longwire.sends.handover import hand_over

        await hand_over(caller, pages, message, fan_out)
    await report(caller, departed)
    return fan_out.result


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
    stored = await store.before(caller.deadline, backend, "get", backend.get(connection_id))
    if stored is not None and _is_new(stored.value):
        return False
    if (own := caller.own_if(connection_id)) is not None:
        await own.lose()
        return True
    # Whoever is cancelled meanwhile would lose the record on its way.
    await tasks.complete(_move_record(caller, backend, departed, connection_id))
    await store.before(
        caller.deadline, backend, "group_discard_all", backend.group_discard_all(connection_id)
    )
    return True


async def _move_record(
    caller: Caller, backend: Backend, departed: list[Departure], connection_id: str
) -> None:
    # Read before the record is taken, since afterwards anybody may end the memberships.
    groups = await store.before(caller.deadline, backend, "groups", backend.groups(connection_id))
    taken = await store.before(caller.deadline, backend, "take", backend.take(connection_id))
    if taken is not None:
        value = keys.ended(groups, taken.value)
        kept = backend.put(keys.ENDED + connection_id, value, taken.expires_at)
        await store.before(time.monotonic() + MOVE_TIME, backend, "put", kept)
        departed.append(Departure(connection_id, caller.layer.endpoint))


async def has_ended(caller: Caller, connection_id: str) -> bool:
    """Tell whether somebody else has found meanwhile that a connection is gone; raises likewise."""
    backend = caller.layer.backend
    if backend is None:
        return False
    return await store.before(caller.deadline, backend, "get", backend.get(connection_id)) is None


def _is_new(value: str) -> bool:
    try:
        return record.loads(value).is_new(time.time())
    except StoredRecordError:
        return False


async def report(caller: Caller, departed: list[Departure]) -> None:
    """Have the app told of connections that are gone, at the end of the event if there is one."""
    if caller.departed is not None:
        caller.departed += departed
    elif departed and caller.layer.tell is not None:
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
