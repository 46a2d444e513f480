"""429 means two things: too many requests, or one client whose buffer is full as it does not read.

API Gateway answers both alike, with a LimitExceededException:
https://docs.aws.amazon.com/apigatewaymanagementapi/latest/reference/API_PostToConnection.html

One client is given some patience, in all, and then a single attempt for each request. That there
are too many requests is believed when several different connections are refused in a row, none of
which was before, and nobody is served in between; patience then counts anew.

Where the limit of an account refuses some, there is mostly somebody served in between. But each of
them is served at one of its next attempts, and who does not read is not. So none of several is
taken for a client that does not read after few attempts, nor while twice as many are served after a
refusal as are not.
"""

from __future__ import annotations

import math

from longwire_aws.tuples import NamedTuple

# The time for one client, as a part of what a request, or a send to many, has.
PATIENCE_PART = 0.5
# So many different connections, refused in a row, are too many requests. If a tenth of all do not
# read, a thousand posts meet that by chance once, and a fan-out is slowed down for 40 ms.
SEVERAL = 3
# So many attempts each of several has who are refused, though its time may be over: a send to many
# tries them again only when it has tried all others.
ATTEMPTS = 5
# So many who are served after a refusal, for each one whose time and attempts are over, say that
# there are too many requests: with that many attempts it is so until eight of ten are refused. If
# more are, several are so in a row all the time.
MANY = 2
# Seconds without a refusal after which these are counted anew.
CALM = 10.0
# Seconds after which a client that was refused is judged anew.
FORGOTTEN_AFTER = 60.0
# How many clients are remembered; who was refused longest ago is forgotten first.
MOST = 10_000


class Throttled(NamedTuple):
    """What a 429 means."""

    until: float  # so long it is worthwhile to ask again, by the clock of the caller
    crowded: bool  # there are too many requests, so that all must go slower


class _Slow(NamedTuple):
    spent: float  # seconds of patience that it has had, before `first`
    first: float | None  # since when it is refused; None if it was served last
    last: float
    attempts: int = 0  # how often it was refused since then
    others: int = 0  # how many had been served after a refusal, by then


class SlowClients:
    """The connections that were refused lately."""

    # Who is served gets its patience back, but only in the course of `FORGOTTEN_AFTER`: a client
    # that reads a little now and then would have everybody wait for it all the time.

    def __init__(self, patience: float) -> None:
        self.known: dict[str, _Slow] = {}
        self._patience = patience
        self._in_a_row = 0
        self._crowded_at = -math.inf
        # Since refusals are frequent: how many were refused, who were served after that, and whose
        # time was over.
        self._frequent_since = self._refused_at = -math.inf
        self._refused_ones = self._served_late = 0
        self._overdue: set[str] = set()

    def refused(self, connection_id: str, now: float) -> Throttled:
        """Note that a connection was answered 429."""
        slow = self.known.pop(connection_id, _Slow(0.0, None, now))
        spent, first, last, attempts, others = slow
        self._count_from(now)
        crowded = False
        if first is not None and first < self._frequent_since:
            others = 0  # they were counted anew since then
        if first is None or now - last >= FORGOTTEN_AFTER:
            first, spent = now, max(0.0, spent - self._patience * (now - last) / FORGOTTEN_AFTER)
            attempts, others = 0, self._served_late
            self._refused_ones += 1
            self._in_a_row += 1
            if crowded := self._in_a_row >= SEVERAL:
                self._crowded_at = now
        attempts += 1
        until = self._until(spent, first)
        if spent >= self._patience:
            until = now
        elif now >= until and attempts < ATTEMPTS and self._refused_ones >= SEVERAL:
            until = now + self._patience / ATTEMPTS
        elif now >= until:
            if len(self._overdue) < MOST:
                self._overdue.add(connection_id)
            # Others who were served before it was refused say nothing of it: else one client
            # would have everybody wait for it for as long as it is posted to.
            if self._served_late - others >= MANY * len(self._overdue):
                until, crowded = now + self._patience, True
            else:
                until, spent = now, self._patience
        if len(self.known) >= MOST:
            del self.known[next(iter(self.known))]
        self.known[connection_id] = _Slow(spent, first, now, attempts, others)
        return Throttled(until, crowded)

    def served(self, connection_id: str, now: float) -> None:
        """Note that a request about a connection has succeeded."""
        self._in_a_row = 0
        slow = self.known.get(connection_id)
        if slow is None or slow.first is None:
            return
        self._served_late += slow.first >= self._frequent_since
        self._overdue.discard(connection_id)
        if self._crowded_at >= slow.first and slow.spent < self._patience:
            del self.known[connection_id]  # it was not about this one
            return
        spent = min(self._patience, slow.spent + now - slow.first)
        self.known[connection_id] = _Slow(spent, None, now)

    def ended(self, connection_id: str) -> None:
        """Note that a connection is gone."""
        self._in_a_row = 0
        self.known.pop(connection_id, None)
        self._overdue.discard(connection_id)

    def _count_from(self, now: float) -> None:
        if now - self._refused_at > CALM:
            self._frequent_since, self._refused_ones, self._served_late = now, 0, 0
            self._overdue.clear()
        self._refused_at = now

    def _until(self, spent: float, first: float) -> float:
        if self._crowded_at >= first:
            return self._crowded_at + self._patience
        return first + self._patience - spent


def patient_until(now: float, deadline: float) -> float:
    """Return until when one client may take time of something that has a deadline."""
    return now + (deadline - now) * PATIENCE_PART
