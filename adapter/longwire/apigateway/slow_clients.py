"""429 means two things: too many requests, or one client whose buffer is full as it does not read.

API Gateway answers both alike, with a LimitExceededException:
https://docs.aws.amazon.com/apigatewaymanagementapi/latest/reference/API_PostToConnection.html

One client is given some patience, in all, and then a single attempt for each request. That there
are too many requests is believed when several different connections are refused in a row, none of
which was before, and nobody is served in between; patience then counts anew.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# Seconds for one client, if not told else; and as a part of what a request, or a send to many, has.
PATIENCE = 2.0
PATIENCE_PART = 0.5
# So many different connections, refused in a row, are too many requests. If a tenth of all do not
# read, a thousand posts meet that by chance once, and a fan-out is slowed down for 40 ms.
SEVERAL = 3
# Seconds after which a client that was refused is judged anew.
FORGOTTEN_AFTER = 60.0
# How many clients are remembered; who was refused longest ago is forgotten first.
MOST = 10_000


class Throttled(NamedTuple):
    """What a 429 means."""

    until: float  # so long it is worthwhile to ask again, by the clock of the caller
    crowded: bool  # there are too many requests, so that all must go slower


class _Slow(NamedTuple):
    first: float  # when it was refused first
    last: float
    used_up: bool  # its patience is over


class SlowClients:
    """The connections that were refused and not served since."""

    def __init__(self, patience: float) -> None:
        self.known: dict[str, _Slow] = {}
        self._patience = patience
        self._in_a_row = 0
        self._crowded_at = -math.inf

    def refused(self, connection_id: str, now: float) -> Throttled:
        """Note that a connection was answered 429."""
        slow = self.known.pop(connection_id, None)
        crowded = False
        if slow is None or now - slow.last >= FORGOTTEN_AFTER:
            slow = _Slow(now, now, used_up=False)
            self._in_a_row += 1
            if crowded := self._in_a_row >= SEVERAL:
                self._crowded_at = now
        until = max(slow.first, self._crowded_at) + self._patience
        if slow.used_up or now >= until:
            until = now
        if len(self.known) >= MOST:
            del self.known[next(iter(self.known))]
        self.known[connection_id] = _Slow(slow.first, now, used_up=until == now)
        return Throttled(until, crowded)

    def served(self, connection_id: str) -> None:
        """Note that a request about a connection has succeeded, or that the connection is gone."""
        self.known.pop(connection_id, None)
        self._in_a_row = 0


def patient_until(now: float, deadline: float) -> float:
    """Return until when one client may take time of something that has a deadline."""
    return now + (deadline - now) * PATIENCE_PART
