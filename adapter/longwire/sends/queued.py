"""Sends to large groups through SQS: handed over in parts, and delivered by the same handler.

A part may be delivered in several attempts, and SQS may hand it out twice. So after each attempt
the store is told who has not got the frame yet, and a further attempt serves only these. When the
function is killed in the middle of a part, nobody knows who got it: then all of the part get it
(again).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire import keys, store
from longwire.endpoint import given_endpoint, is_plausible
from longwire.exceptions import BackendError, EventError, LongwireError
from longwire.frames import encode
from longwire.sends import parts
from longwire.sends.fanout import one_page, read_page
from longwire.sends.sending import send_many

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire.caller import Caller
    from longwire.config import Fanout
    from longwire.exceptions import QueueError
    from longwire.frames import Frame
    from longwire.sends.fanout import FanOut, Pages, SendResult
    from longwire.sends.parts import Message, Part
    from longwire.sends.queue import Queue
    from longwire.types import LambdaEvent

logger = logging.getLogger("longwire")

# Seconds that a record of a part lives: as long as SQS may keep a message.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
LIFETIME = 14 * 24 * 3600
# Seconds for the store to note, after the deadline of the posts, who has not got the frame.
STORE_TIME = 0.25


class Handover(NamedTuple):
    """When a send to many is handed over, and to what.

    Attributes:
        threshold: to how many members this process still sends itself.
    """

    queue: Queue
    threshold: int


def handover(fanout: Fanout | None) -> Handover | None:
    """Make what `ws_config["fanout"]` describes.

    Raises:
        ConfigurationError: the URL or the region of the queue cannot be one.
    """
    if fanout is None:
        return None
    from longwire.sends.queue import Queue  # nobody else pays for it

    return Handover(Queue(fanout.queue_url, region_name=fanout.region_name), fanout.threshold)


async def hand_over(caller: Caller, pages: Pages, message: Frame, fan_out: FanOut) -> None:
    """Queue a send to more members than the threshold, and do a smaller one here."""
    assert caller.layer.handover is not None
    first: list[str] = []
    while len(first) <= caller.layer.handover.threshold:
        page, fan_out.result.incomplete = await read_page(pages, caller.deadline)
        if page is None:
            await fan_out.run(one_page(first))
            return
        first += page
    work = _HandingOver(caller, caller.layer.handover.queue, message, fan_out)
    members, page = first, first
    while page is not None:
        if len(members) >= parts.BATCH * parts.MEMBERS:  # as many as one request takes
            await work.queue(members)
            members = []
        page, fan_out.result.incomplete = await read_page(pages, caller.deadline)
        members += page or ()
    await work.queue(members)


class _HandingOver:
    def __init__(self, caller: Caller, queue: Queue, message: Frame, fan_out: FanOut) -> None:
        self._caller = caller
        self._queue = queue
        self._data = encode(message, caller.layer.binary)
        self._fan_out = fan_out

    async def queue(self, members: Sequence[str]) -> None:
        """Queue the delivery to these members; what cannot be queued is delivered here."""
        caller, result = self._caller, self._fan_out.result
        own = caller.own
        if own is not None and own.greets and own.id in members:
            members = [one for one in members if one != own.id]
            await self._fan_out.run(one_page([own.id]))
        endpoint = caller.layer.endpoint or ""
        bodies = {
            parts.dumps(part): part
            for part in parts.split(endpoint, self._data, members, new_id=_new_id)
        }
        for batch in parts.batches(bodies):
            now = time.monotonic()
            # Time must be left to do here what cannot be queued.
            sent = await self._queue.send(batch, deadline=now + (caller.deadline - now) / 2)
            result.queued += sum(len(bodies[batch[one]].connection_ids) for one in sent.queued)
            for index, error in sent.errors.items():
                await self._not_queued(bodies[batch[index]], error)

    async def _not_queued(self, part: Part, error: QueueError) -> None:
        logger.error("a part of a send to many: %s", error)
        if error.unsure:
            self._fan_out.result.failed |= dict.fromkeys(part.connection_ids, str(error))
        else:
            await self._fan_out.run(one_page(part.connection_ids))


def _new_id() -> str:
    return os.urandom(16).hex()


async def deliver(
    event: LambdaEvent, caller: Callable[[str], Caller], explicit: str | None
) -> dict[str, Any]:
    """Deliver the parts that an event of the queue brings, and answer which ones have failed.

    Args:
        caller: endpoint -> who reaches its clients.
        explicit: the endpoint that is configured; None takes the one that a part names.

    Raises:
        EventError: the event is malformed.
    """
    messages = parts.messages(event)
    endpoint = given_endpoint(explicit, os.environ)
    done = await asyncio.gather(*(_attempt(message, caller, endpoint) for message in messages))
    return parts.failures(
        message.message_id for message, ok in zip(messages, done, strict=True) if not ok
    )


async def _attempt(message: Message, caller: Callable[[str], Caller], given: str | None) -> bool:
    """Deliver one part; False when SQS has to hand it out again."""
    try:
        part = parts.loads(message.body)
        _check_text(part)
        endpoint = given or part.endpoint
        if given is None and not is_plausible(endpoint):
            raise EventError(
                "a part of a send to many names an endpoint that is not one of API Gateway; if it "
                "is a custom domain, set api_gateway_endpoint_url or WS_MANAGEMENT_ENDPOINT"
            )
        result = await _deliver(part, message.receive_count, caller(endpoint))
    except LongwireError as error:
        logger.error("SQS message %s is handed out again: %s", message.message_id, error)
        return False
    if result.failed:
        one, reason = next(iter(result.failed.items()))
        logger.error(
            "SQS message %s is handed out again for %d of its connections, %s for example: %s",
            *(message.message_id, len(result.failed), one, reason),
        )
    return not result.failed


def _check_text(part: Part) -> None:
    """Raise `EventError` for what no sender of ours has queued, before it stops other parts."""
    try:
        part.data.decode()
        "".join(part.connection_ids).encode()
    except UnicodeError:
        raise EventError(
            "an SQS message says that it is one of Longwire's, but its data or its connections "
            "are no text"
        ) from None


async def _deliver(part: Part, attempt: int, caller: Caller) -> SendResult:
    backend = caller.layer.backend
    assert backend is not None
    key = keys.PART + part.part_id
    members = part.connection_ids
    if attempt > 1:
        stored = await store.before(caller.deadline, backend, "get", backend.get(key))
        members = tuple(json.loads(stored.value)) if stored else members
    caller.layer = caller.layer._replace(handover=None)  # it has been handed over once
    message = part.data.decode()  # as bytes it might be encoded once more
    post = caller.layer.clients.prepare(message)
    result = await send_many(caller, one_page(members), message, post)
    left = json.dumps(list(result.failed))
    expires_at = int(time.time()) + LIFETIME
    try:
        await store.before(
            time.monotonic() + STORE_TIME, backend, "put", backend.put(key, left, expires_at)
        )
    except BackendError as error:
        # When nobody is left, it need not come again; when it does, those who have got the frame
        # get it twice, which is better than never for the others.
        logger.error("SQS: it cannot be noted who has got part %s: %s", part.part_id, error)
    return result
