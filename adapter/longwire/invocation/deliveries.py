"""Messages of a channel layer, each given to a consumer that is not running.

Under a server a consumer waits for its channel for as long as its client is connected. Here it runs
for a moment in the process, and in the time, of whoever has sent the message: the app is run up to
where it waits, as for a message of the client, and then the layer's `receive` returns it.

A send does not wait for that, as no channel layer's does: the end of the event does. So consumers
that send to each other do not wait for each other either.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from longwire import deadlines
from longwire.apigateway import events
from longwire.asgi import noise
from longwire.asgi.channel import channel_message
from longwire.exceptions import DeadlineError, LongwireError, StoredRecordError
from longwire.invocation.find import is_greeted
from longwire.invocation.invocation import Invocation
from longwire.invocation.message import give
from longwire.observability.event import Ending
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Iterator

    from longwire.apigateway.events import RequestContext
    from longwire.invocation.invocation import Application, Call
    from longwire.registry.record import ConnectionRecord
    from longwire.types import Message

logger: logging.Logger = logging.getLogger("longwire")

# So many consumers run at a time: they wait for posts mostly, and share one processor.
WIDTH = 20
# A member whose handshake is not answered yet is looked at again after these pauses, in seconds;
# then it is given up: its app would be sent to a client that API Gateway does not know.
LOOK_AGAIN_AFTER = (0.02, 0.05, 0.1, 0.2, 0.4, *(0.5,) * 8)


class _Sent(NamedTuple):
    message: Message
    expires_at: float  # in `time.monotonic()`


class _Member(NamedTuple):
    """A connection, and what it is to get."""

    connection_id: str
    endpoint: str
    waiting: deque[_Sent]


class Deliveries:
    """Those of one event; a `registry.caller.ChannelDeliveries`."""

    def __init__(self, application: Application, call: Call, context: contextvars.Context) -> None:
        self._application = application
        self._call = call
        self._context = context
        self._members: dict[str, _Member] = {}  # to whom something is on its way
        self._queue: deque[_Member] = deque()  # of these, whom nobody serves yet
        self._workers: set[asyncio.Task[None]] = set()
        self._late = 0

    @property
    def is_busy(self) -> bool:
        return bool(self._workers or self._late)

    def put(
        self, connection_id: str, endpoint: str, message: Message, expires_at: float, most: int
    ) -> bool:
        member = self._members.get(connection_id)
        if member is None:
            member = self._members[connection_id] = _Member(connection_id, endpoint, deque())
            self._queue.append(member)
        elif len(member.waiting) >= most:
            return False
        member.waiting.append(_Sent(message, expires_at))
        if self._queue and len(self._workers) < WIDTH:
            # From within the event's context, or the task would belong to the run that sends.
            create = asyncio.get_running_loop().create_task
            work = self._context.run(create, self._work())
            self._workers.add(work)
            work.add_done_callback(self._workers.discard)
        return True

    async def settle(self) -> None:
        while self._workers:
            left = deadlines.left(self._call.times.send)
            await asyncio.wait(self._workers, timeout=left)
            if self._workers and not left:
                self._late += sum(len(one.waiting) for one in self._members.values())
                while self._queue:
                    del self._members[self._queue.pop().connection_id]
                for worker in tuple(self._workers):
                    worker.cancel()
                await asyncio.gather(*self._workers, return_exceptions=True)
        if self._late:
            logger.error("a channel layer: no time was left for %d messages", self._late)
            self._late = 0

    async def finish(self) -> None:
        await self._call.departures.tell()

    async def _work(self) -> None:
        while self._queue:
            member = self._queue.popleft()
            try:
                await self._serve(member)
            finally:
                del self._members[member.connection_id]

    async def _serve(self, member: _Member) -> None:
        while member.waiting:
            if not deadlines.left(self._call.times.run):
                self._late += len(member.waiting)
                return
            try:
                await self._give(member)
            except DeadlineError:
                self._late += 1
            except LongwireError as error:
                logger.error("connection %s: a channel layer: %s", member.connection_id, error)
            except Exception as error:  # of somebody's own store: it ends no other delivery
                logger.error("connection %s: a channel layer", member.connection_id, exc_info=error)

    async def _give(self, member: _Member) -> None:
        """Run a member's app for what is there; what comes in meanwhile is given to that run."""
        first = next(messages := _taken(member.waiting), None)
        if first is None:
            return
        raw = events.delivery(member.connection_id, self._call.raw)
        event = events.parse(raw)
        assert isinstance(event, events.MessageEvent)
        # How this ends says nothing about the event that has sent it.
        call = self._call._replace(raw=raw, ending=Ending())
        invocation = Invocation(self._application, call, event, member.endpoint)
        try:
            await give(invocation, event.context, itertools.chain((first,), messages), _find)
        except StoredRecordError as error:
            logger.error("connection %s: deleted: %s", member.connection_id, error)
            await invocation.connection.end()


def _taken(waiting: deque[_Sent]) -> Iterator[Message]:
    """Take what is there, and has not expired, one by one."""
    while waiting:
        sent = waiting.popleft()
        if sent.expires_at > time.monotonic():
            yield channel_message(sent.message)


async def _find(invocation: Invocation, request: RequestContext) -> ConnectionRecord | None:
    """Return the record of a member that goes on, once it has been greeted; None for all others."""
    connection = invocation.connection
    record = await connection.read()
    for pause in LOOK_AGAIN_AFTER:
        if record is None or not _is_unanswered(record):
            break
        if not await connection.pause(pause, early=True):
            break
        record = await connection.read()
    if record is None:  # it has ended, and something has kept it in a group
        await connection.leave_groups()
        return None
    if record.began_at and invocation.kept_runs is None:
        logger.log(
            noise.level("without replay", ["deliveries"]),
            "a channel layer: who sends runs consumers without replay, but their connections have "
            "it: say replay here, too (docs/channels.md)",
        )
    if record.gone_at or record.has_ended or _is_unanswered(record):
        return None
    return record if await is_greeted(invocation, record) else None


def _is_unanswered(record: ConnectionRecord) -> bool:
    return not record.responded_at and record.connecting_until > time.time()
