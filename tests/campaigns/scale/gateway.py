"""A model of API Gateway: who is connected, what they got, and the throttle of the account."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from longwire_aws.http import Response
from tests.campaigns.scale import facts
from tests.campaigns.scale.bucket import Bucket, Peak, with_tail

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_REFUSED = {"x-amzn-errortype": "LimitExceededException"}
_TOO_MANY = Response(429, _REFUSED, b'{"message":"Too Many Requests"}')
_FULL = Response(429, _REFUSED, b'{"message":"Client side buffer is full"}')
_GONE = Response(410, {"x-amzn-errortype": "GoneException"}, b"")
_TAKEN = Response(200, {}, b"")
_INFO = Response(
    200,
    {},
    json.dumps(
        {
            "connectedAt": "2026-11-11T13:45:35.513Z",
            "identity": {"sourceIp": "203.0.113.7", "userAgent": "scale"},
            "lastActiveAt": "2026-11-11T13:45:46.020Z",
        }
    ).encode(),
)


class Answer(NamedTuple):
    """What is answered, after how many seconds; `lost` if nobody hears it."""

    response: Response
    seconds: float
    lost: bool = False


class Region(NamedTuple):
    """The limits of an account in its region, and what share of the answers is lost."""

    rate: float = facts.RATE.value
    burst: float = facts.BURST.value
    loses: float = 0.0


class Gateway:
    """All WebSocket APIs of one account.

    Attributes:
        connected: the ids of all clients.
        full: until when which of them do not read.
        got: how many frames each has got.
        frames: which, in order, where `keeps_frames` is on.
        answers: how many requests to `@connections` were answered with each status.
        out: bytes that were sent to clients, and `metered` messages of 32 KB at most.
        times: when each frame reached its client.
        lost: how many answers nobody heard.
    """

    def __init__(
        self,
        random: Random,
        now: Callable[[], float],
        region: Region,
    ) -> None:
        self.account = Bucket(region.rate, region.burst)
        self.handshakes = Bucket(facts.HANDSHAKES.value, facts.HANDSHAKES.value)
        self.connected: set[str] = set()
        self.full: dict[str, float] = {}
        self.got: Counter[str] = Counter()
        self.frames: dict[str, list[bytes]] = {}
        self.keeps_frames = False
        self.answers: Counter[int] = Counter()
        self.peak = Peak()
        self.out = self.metered = 0
        self.times = array("d")
        self.lost = 0
        self._loses = region.loses
        self._random = random
        self._now = now

    def event(self) -> bool:
        """Let a client's message pass, or throttle it."""
        return self.account.take(self._now())

    def handshake(self) -> bool:
        """Let a new client in, or throttle it."""
        now = self._now()
        return self.handshakes.take(now) and self.account.take(now)

    def request(self, method: str, target: str, body: bytes) -> Answer:
        """Answer one request to `@connections`."""
        now = self._now()
        connection_id = unquote(target.rpartition("/")[2])
        response = self._answer(method, connection_id, body, now)
        self.answers[response.status] += 1
        if response.status == 429:
            return Answer(response, with_tail(self._random, facts.REFUSAL_TIME.value))
        lost = self._loses > 0.0 and self._random.random() < self._loses
        self.lost += lost
        return Answer(response, with_tail(self._random, facts.POST_TIME.value), lost)

    def _answer(self, method: str, connection_id: str, body: bytes, now: float) -> Response:
        if not self.account.take(now):
            return _TOO_MANY
        self.peak.add(now)
        if connection_id not in self.connected:
            return _GONE
        if method == "GET":
            return _INFO
        if method == "DELETE":
            self.connected.discard(connection_id)
            return _TAKEN
        if self.full.get(connection_id, 0.0) > now:
            return _FULL
        self._deliver(connection_id, body, now)
        return _TAKEN

    def _deliver(self, connection_id: str, body: bytes, now: float) -> None:
        self.got[connection_id] += 1
        self.out += len(body)
        self.metered += messages(len(body))
        self.times.append(now)
        if self.keeps_frames:
            self.frames.setdefault(connection_id, []).append(body)


def messages(size: int) -> int:
    """Return how many messages a frame of so many bytes is metered as."""
    return max(1, -(-size // int(facts.METERED.value)))
