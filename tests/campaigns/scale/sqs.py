"""A model of one standard queue."""

from __future__ import annotations

import heapq
import itertools
import json
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire_aws.http import Response
from tests.campaigns.scale import facts
from tests.campaigns.scale.bucket import with_tail
from tests.campaigns.scale.gateway import Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random


class Message(NamedTuple):
    """A message, and how often it has been received."""

    message_id: str
    body: str
    receives: int = 0


class Queue:
    """A queue with a visibility timeout and dead letters.

    Attributes:
        charged: requests of at most 64 KB.
        sent: how many messages were put into it.
        on_sent: called when there are more.
        dead: what was received too often.
    """

    def __init__(
        self,
        random: Random,
        now: Callable[[], float],
        *,
        visibility: float = 180.0,
        receives: int = 5,
    ) -> None:
        self.charged = self.sent = 0
        self.on_sent: Callable[[], object] = lambda: None
        self.dead: list[Message] = []
        self._ready: deque[Message] = deque()
        self._hidden: list[tuple[float, int, Message]] = []
        self._taken: dict[str, int] = {}  # which entry of `_hidden` is the valid one
        self._numbers = itertools.count()
        self._visibility = visibility
        self._receives = receives
        self._random = random
        self._now = now

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waiting, and nothing is being worked on."""
        return not self._ready and not self._taken

    def request(self, action: str, body: bytes) -> Answer:
        """Answer `SendMessageBatch`."""
        assert action == "SendMessageBatch", action
        entries = json.loads(body)["Entries"]
        for entry in entries:
            number = next(self._numbers)
            self._ready.append(Message(f"m{number}", entry["MessageBody"]))
        self.sent += len(entries)
        self.on_sent()
        self._charge(sum(len(entry["MessageBody"]) for entry in entries))
        said = {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}
        answer = Response(200, {}, json.dumps(said).encode())
        return Answer(answer, with_tail(self._random, facts.QUEUE_TIME.value))

    def receive(self) -> Message | None:
        """Hand a message out; it comes back after the visibility timeout."""
        now = self._now()
        while self._hidden and self._hidden[0][0] <= now:
            _, number, message = heapq.heappop(self._hidden)
            if self._taken.get(message.message_id) == number:
                del self._taken[message.message_id]
                self._ready.append(message)
        while self._ready:
            message = self._ready.popleft()
            if message.receives >= self._receives:
                self.dead.append(message)
                continue
            message = message._replace(receives=message.receives + 1)
            number = next(self._numbers)
            self._taken[message.message_id] = number
            heapq.heappush(self._hidden, (now + self._visibility, number, message))
            self._charge(len(message.body))
            return message
        return None

    def returns_at(self) -> float | None:
        """Return when the next hidden message can be received again."""
        while self._hidden and self._taken.get(self._hidden[0][2].message_id) != self._hidden[0][1]:
            heapq.heappop(self._hidden)
        return self._hidden[0][0] if self._hidden else None

    def delete(self, message: Message) -> None:
        """Delete a message that was received."""
        self._taken.pop(message.message_id, None)
        self._charge(0)

    def release(self, message: Message) -> None:
        """Give a message back that was never worked on, as Lambda does when it is throttled."""
        self._taken.pop(message.message_id, None)
        self._ready.append(message._replace(receives=message.receives - 1))

    def _charge(self, size: int) -> None:
        self.charged += max(1, -(-size // int(facts.QUEUE_CHUNK.value)))


def event_of(message: Message) -> dict[str, Any]:
    """Make the event of a batch of one."""
    record = {
        "messageId": message.message_id,
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.receives)},
        "eventSource": "aws:sqs",
    }
    return {"Records": [record]}
