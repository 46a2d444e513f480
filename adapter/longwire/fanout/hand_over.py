"""A send to a large group, handed over to SQS in parts, which come back to `delivery.py`."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from longwire.apigateway.frames import encode
from longwire.exceptions import BackendError
from longwire.fanout import parts
from longwire.fanout.fan_out import FanOut, one_page, read_page
from longwire.fanout.queue import Queue
from longwire.registry import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.config.settings import Fanout
    from longwire.exceptions import QueueError
    from longwire.fanout.fan_out import Pages
    from longwire.fanout.parts import Part
    from longwire.registry.caller import Caller
    from longwire.types import Frame

logger: logging.Logger = logging.getLogger("longwire")


class QueueHandOver:
    """Queues a send to more members than the threshold, and does a smaller one here."""

    def __init__(self, fanout: Fanout) -> None:
        self._queue = Queue(fanout.queue_url, region_name=fanout.region_name)
        self._threshold = fanout.threshold
        self._noted: dict[str, float] = {}  # until when the store knows these APIs

    async def __call__(self, caller: Caller, pages: Pages, message: Frame, fan_out: FanOut) -> None:
        first: list[str] = []
        while len(first) <= self._threshold:
            page, fan_out.result.incomplete = await read_page(pages, caller.deadline)
            if page is None:
                await fan_out.run(one_page(first))
                return
            first += page
        work = _HandingOver(caller, self._queue, message, fan_out)
        try:
            await self._note_api(caller)
        except BackendError as error:
            logger.error("a send to many is not queued: %s", error)
            await fan_out.run(one_page(first))
            await fan_out.run(pages)
            return
        members, page = first, first
        while page is not None:
            if len(members) >= parts.BATCH * parts.MEMBERS:  # as many as one request takes
                await work.queue(members)
                members = []
            page, fan_out.result.incomplete = await read_page(pages, caller.deadline)
            members += page or ()
        await work.queue(members)

    async def _note_api(self, caller: Caller) -> None:
        """Let whoever delivers the parts know that the API which they name is ours."""
        endpoint = caller.registry.endpoint or ""
        if self._noted.get(endpoint, 0.0) < time.monotonic():
            expires_at = int(time.time()) + parts.API_LIFETIME
            await caller.store.put(names.of_api(endpoint), endpoint, expires_at)
            self._noted[endpoint] = time.monotonic() + parts.API_NOTED


class _HandingOver:
    def __init__(self, caller: Caller, queue: Queue, message: Frame, fan_out: FanOut) -> None:
        self._caller = caller
        self._queue = queue
        self._data = encode(message, caller.registry.binary)
        self._fan_out = fan_out

    async def queue(self, members: Sequence[str]) -> None:
        """Queue the delivery to these members; what cannot be queued is delivered here."""
        caller, result = self._caller, self._fan_out.result
        own = caller.own
        if own is not None and own.greets and own.id in members:
            members = [one for one in members if one != own.id]
            await self._fan_out.run(one_page([own.id]))
        endpoint = caller.registry.endpoint or ""
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
