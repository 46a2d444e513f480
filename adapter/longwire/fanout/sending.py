"""What every send to many does: post, end the memberships of who is gone, have the app told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from longwire.fanout.fan_out import UNREAD, FanOut
from longwire.registry import names
from longwire.registry.departures import collected, end_unless_new, is_known_gone, report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.fanout.fan_out import Pages
    from longwire.fanout.result import SendResult
    from longwire.registry.base import Departed, GoneIds, Post
    from longwire.registry.caller import Caller
    from longwire.types import Frame
    from longwire_backends import Backend, Page

logger: logging.Logger = logging.getLogger("longwire")


async def send_many(
    caller: Caller, pages: Pages, message: Frame, post: Post, *, logs: bool = True
) -> SendResult:
    """Send a message to everybody on these pages, or have SQS do so if they are many."""
    departed = collected(caller)
    fan_out = fan_out_of(caller, post, departed)
    if caller.registry.hand_over is None or caller.registry.endpoint is None:
        await fan_out.run(pages)
    else:
        await caller.registry.hand_over(caller, pages, message, fan_out)
    await report(caller, departed)
    if logs:  # since an app need not look at the result
        log_hang("a send to many", fan_out, caller.registry.backend)
    return fan_out.result


def fan_out_of(caller: Caller, post: Post, departed: Departed) -> FanOut:
    """Make a fan-out that adds to `departed` who proves to be gone."""
    return FanOut(
        post,
        caller.deadline,
        lambda one: end_unless_new(caller, departed, one),
        lambda one: is_known_gone(caller, one),
    )


def log_hang(what: str, fan_out: FanOut, backend: Backend | None) -> None:
    """Log, once for all members, that the management API or the store did not answer."""
    result = fan_out.result
    if fan_out.hang is not None:
        logger.error("%s: %d were not reached; one: %s", what, len(result.failed), fan_out.hang)
    if result.incomplete == UNREAD:
        name = backend.name if backend is not None else "no store"
        logger.error("%s: %s: %s", what, name, result.incomplete)


async def read_pages(read: Callable[[str | None], Awaitable[Page]]) -> Pages:
    """Yield what a store lists in pages, to the end."""
    after: str | None = None
    while True:
        page = await read(after)
        yield page.members
        after = page.next
        if after is None:
            return


async def all_connections(backend: Backend, gone: GoneIds) -> Pages:
    """Yield all connections that are not known to be gone; a store keeps other records, too."""
    async for page in read_pages(lambda after: backend.connections(after=after)):
        yield [one for one in page if not names.is_internal(one) and one not in gone]
