"""The parts of a send to a large group, which SQS hands out, delivered.

A part may be delivered in several attempts, and SQS may hand it out twice. So after each attempt
the store is told who has not got the frame yet, and a further attempt serves only these. When the
function is killed in the middle of a part, nobody knows who got it: then all of the part get it
(again).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from longwire.apigateway.endpoint import is_plausible
from longwire.exceptions import BackendError, EventError
from longwire.fanout import parts
from longwire.fanout.fan_out import one_page, reason_of
from longwire.fanout.sending import send_many
from longwire.registry import names
from longwire.registry.record import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from longwire.fanout.parts import Message, Part
    from longwire.fanout.result import SendResult
    from longwire.registry.caller import Caller
    from longwire.types import LambdaEvent

logger: logging.Logger = logging.getLogger("longwire")

# Seconds for which the store knows who is left: as long as SQS keeps a message, if not told else.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
LIFETIME = 4 * 24 * 3600
# Seconds for which it knows that nobody is left, as SQS may hand a message out twice.
DONE_LIFETIME = 3600
# Seconds for the store to note, after the deadline of the posts, who has not got the frame; and as
# a part of a short time for the posts, behind which there are less than `STORE_TIME` left.
STORE_TIME = 0.25
STORE_PART = 0.15


async def deliver(
    event: LambdaEvent, caller: Callable[[str], Caller], endpoint: str | None
) -> dict[str, Any]:
    """Deliver the parts that an event of the queue brings, and answer which ones have failed.

    `caller` makes that of an endpoint: the configured one, else the one that a part names.
    """
    messages = parts.messages(event)
    done = await asyncio.gather(*(_attempt(message, caller, endpoint) for message in messages))
    return parts.failures(
        message.message_id for message, ok in zip(messages, done, strict=True) if not ok
    )


async def _attempt(message: Message, caller: Callable[[str], Caller], given: str | None) -> bool:
    """Deliver one part; False when SQS has to hand it out again."""
    try:
        part = parts.loads(message.body)
        _check_text(part)
        calling = caller(given or part.endpoint)
        if given is None:
            await _check_endpoint(part, calling)
        result = await _deliver(part, calling)
    except Exception as error:  # also of somebody's own store: it ends no other part
        logger.error("SQS message %s is handed out again: %s", message.message_id, reason_of(error))
        return False
    again = _again(result)
    if again:
        _log(message, "is handed out again for", again, result)
    if result.slow:
        _log(message, "has not reached", result.slow, result)
    return not again


def _log(message: Message, what: str, ids: Collection[str], result: SendResult) -> None:
    one = next(iter(ids))
    logger.error(
        "SQS message %s %s %d of its connections, %s for example: %s",
        *(message.message_id, what, len(ids), one, result.failed[one]),
    )


def _again(result: SendResult) -> list[str]:
    """Return who is to get it when SQS hands it out again; a client that does not read is not."""
    slow = frozenset(result.slow)
    return [one for one in result.failed if one not in slow]


async def _check_endpoint(part: Part, caller: Caller) -> None:
    """Raise `EventError` unless a sender with the same store has named this API as its own."""
    if not is_plausible(part.endpoint):
        raise EventError(
            "a part of a send to many names an endpoint that is not one of API Gateway; if it "
            "is a custom domain, set api_gateway_endpoint_url or WS_MANAGEMENT_ENDPOINT"
        )
    if await caller.store.get(names.of_api(part.endpoint)) is None:
        raise EventError(
            "a part of a send to many names an API that no sender has noted in this store; if it "
            "is the right one, set api_gateway_endpoint_url or WS_MANAGEMENT_ENDPOINT"
        )


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
    if any(map(names.is_internal, part.connection_ids)):
        raise EventError("an SQS message names what is no connection, but a record of Longwire's")


async def _deliver(part: Part, caller: Caller) -> SendResult:
    store, key = caller.store, names.of_part(part.part_id)
    store_time = min(STORE_TIME, STORE_PART * (caller.deadline - time.monotonic()))
    # Not only if SQS says that it is not the first attempt: it may hand one message out twice.
    stored = await store.get(key)
    members = part.connection_ids if stored is None else _left(part, stored.value)
    message = part.data.decode()  # as bytes it might be encoded once more
    post = caller.registry.clients.prepare(message)
    result = await send_many(caller, one_page(members), message, post, logs=False)
    again = _again(result)
    remaining = json.dumps(again)
    expires_at = int(time.time()) + (LIFETIME if again else DONE_LIFETIME)
    try:
        await store.until(time.monotonic() + store_time).put(key, remaining, expires_at)
    except BackendError as error:
        # When nobody is left, it need not come again; when it does, those who have got the frame
        # get it twice, which is better than never for the others.
        logger.error("SQS: it cannot be noted who has got part %s: %s", part.part_id, error)
    return result


def _left(part: Part, stored: str) -> tuple[str, ...]:
    """Return who has not got a part yet, by what an earlier attempt has noted."""
    with suppress(ValueError, TypeError, RecursionError):
        if texts(ids := json.loads(stored)):
            known = frozenset(part.connection_ids)
            return tuple(one for one in ids if one in known)
    logger.error("SQS: what was noted of part %s is damaged: all get it again", part.part_id)
    return part.connection_ids
