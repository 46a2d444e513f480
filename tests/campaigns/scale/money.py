"""What a stack on API Gateway, Lambda, DynamoDB and SQS costs: formulas, and nothing else.

They count what our code asks for, event by event, as `test_money.py` proves with the code itself:

- a handshake writes the record twice and each membership twice;
- a message reads the record once and the group's members page by page, and posts to each; with
  `replay` it writes two entries of the journal instead of reading the record;
- an end takes the record, reads the groups' names and deletes each membership twice; with `replay`
  it also reads, ends and deletes the journal;
- a send to more than `threshold` members puts a part for each thousand into the queue, and each
  part is one more event, which reads two notes and writes one.

Lambda's time is what these requests take, one after the other, and the posts, a hundred at a time.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import NamedTuple

from tests.campaigns.scale import facts

THRESHOLD = PART = PAGE = 1_000  # members
WIDTH = 100  # posts at a time
MEMBERSHIP = 48  # bytes of an item
ENTRIES = 2  # of a journal for each message
_READ, _WRITTEN = 4 * 1024, 1024  # bytes of a unit
_IDS = 19  # bytes of an id in a part
_MEAN = 1.19  # of times with a tail, in medians
_SLOWEST = 4.0  # the slowest of a hundred, in medians


class Load(NamedTuple):
    """How a stack is used.

    Attributes:
        connections: how many clients are connected, all the time.
        messages: how many each client sends in a minute.
        audience: how many get each of them.
        size: bytes of a message.
        lifetime: minutes from a client's handshake to its end.
        groups: how many groups each client is in.
        record: bytes of a connection's record; most of them are the client's headers.
        replay: whether the handler replays.
        fanout: whether large sends go by a queue.
        memory: MB of the function.
        arm: whether it is on arm64.
    """

    connections: int
    messages: float = 1.0
    audience: int = 10
    size: int = 200
    lifetime: float = 60.0
    groups: int = 1
    record: int = 1_500
    replay: bool = False
    fanout: bool = True
    memory: int = 512
    arm: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """What is charged.

    Attributes:
        messages: from and to clients, in pieces of 32 KB.
        minutes: of connections.
        events: of the function.
        gb_seconds: its time.
        reads: units of DynamoDB.
        writes: likewise.
        queued: requests to SQS, in pieces of 64 KB.
        logged: bytes.
        sent: bytes that leave AWS.
    """

    messages: float = 0.0
    minutes: float = 0.0
    events: float = 0.0
    gb_seconds: float = 0.0
    reads: float = 0.0
    writes: float = 0.0
    queued: float = 0.0
    logged: float = 0.0
    sent: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*[mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)])

    def __mul__(self, times: float) -> Usage:
        return Usage(*[each * times for each in astuple(self)])


def bill(usage: Usage, *, arm: bool = True) -> dict[str, float]:
    """Return dollars for each service; the log is Lambda's own, not what the app writes."""
    second = facts.ARM_PRICE if arm else facts.X86_PRICE
    million, gigabyte = 1e6, 1024.0**3
    return {
        "API Gateway: messages": usage.messages * facts.MESSAGE_PRICE.value / million,
        "API Gateway: minutes": usage.minutes * facts.MINUTE_PRICE.value / million,
        "Lambda: events": usage.events * facts.EVENT_PRICE.value / million,
        "Lambda: time": usage.gb_seconds * second.value / million,
        "DynamoDB: reads": usage.reads * facts.READ_PRICE.value / million,
        "DynamoDB: writes": usage.writes * facts.WRITE_PRICE.value / million,
        "SQS": usage.queued * facts.QUEUE_PRICE.value / million,
        "CloudWatch: logs": usage.logged * facts.LOG_PRICE.value / gigabyte,
        "traffic": usage.sent * facts.OUT_PRICE.value / gigabyte,
    }


def dollars(usage: Usage, *, arm: bool = True) -> float:
    """Return the sum of a bill."""
    return sum(bill(usage, arm=arm).values())


def hour(load: Load) -> Usage:
    """Return what an hour of this takes."""
    minutes = 60.0 * load.connections
    lives = minutes / load.lifetime
    return (
        Usage(minutes=minutes)
        + (handshake(load) + end(load)) * lives
        + message(load) * (minutes * load.messages)
    )


def handshake(load: Load) -> Usage:
    """Return what a client's handshake takes."""
    record = _units(load.record, _WRITTEN)
    return _event(load, 2 + 2 * load.groups) + Usage(writes=2 * record + 2 * load.groups)


def message(load: Load) -> Usage:
    """Return what a message of a client takes, until its audience has got it."""
    heard = Usage(messages=_metered(load.size))
    read = Usage(reads=_units(load.record, _READ))
    if load.replay:
        read = Usage(writes=_units(load.size + 150, _WRITTEN) + 1)
    requests = ENTRIES if load.replay else 1
    pages = max(1, -(-load.audience // PAGE))
    if load.fanout and load.audience > THRESHOLD:
        return heard + read + _event(load, requests + pages) + to_many(load)
    sent = _pages(load.audience) + posts(load, load.audience)
    return heard + read + sent + _event(load, requests + pages, load.audience)


def end(load: Load) -> Usage:
    """Return what the end of a connection takes."""
    writes = _units(load.record, _WRITTEN) + 2 * load.groups
    usage = Usage(reads=1, writes=writes)
    requests = 2 + 2 * load.groups
    if load.replay:
        said = load.messages * load.lifetime
        entries = ENTRIES * said + 1
        usage += Usage(reads=_units(said * (load.size + 350), _READ), writes=entries + 1)
        requests += 2 + math.ceil(entries / 20) * math.ceil(_SLOWEST)  # twenty at a time
    return usage + _event(load, requests)


def to_many(load: Load) -> Usage:
    """Return what a send to the audience takes by way of the queue, from its first page on."""
    parts = -(-load.audience // PART)
    body = min(load.audience, PART) * _IDS + load.size * 4 / 3 + 150
    chunk = facts.QUEUE_CHUNK.value
    batch = max(1, min(10, int(256 * 1024 / body)))
    batches = math.ceil(parts / batch) * math.ceil(min(batch, parts) * body / chunk)
    queued = batches + parts * (math.ceil(body / chunk) + 1)
    part = _event(load, 3, min(load.audience, PART)) + Usage(reads=2, writes=1)
    return Usage(queued=queued) + _pages(load.audience) + posts(load, load.audience) + part * parts


def posts(load: Load, count: int) -> Usage:
    """Return what API Gateway charges for posts."""
    return Usage(messages=count * _metered(load.size), sent=count * load.size)


def _pages(members: int) -> Usage:
    whole, rest = divmod(members, PAGE)
    units = whole * _units(PAGE * MEMBERSHIP, _READ) + (
        _units(rest * MEMBERSHIP, _READ) * (rest > 0)
    )
    return Usage(reads=max(1, units))


def _event(load: Load, requests: float, posted: int = 0) -> Usage:
    """Return what one event takes that asks the store so often, and posts so often."""
    share = min(1.0, load.memory / facts.CORE.value)
    request, post = facts.REQUEST_CPU.value / share, facts.POST_TIME.value
    seconds = facts.EVENT_CPU.value / share + requests * (request + facts.STORE_TIME.value * _MEAN)
    if posted:
        few = math.log(min(posted, WIDTH)) / math.log(WIDTH)
        seconds += max(posted * request, post * _MEAN * posted / WIDTH)
        seconds += post * (1.0 + (_SLOWEST - 1.0) * few)
    return Usage(events=1, gb_seconds=seconds * load.memory / 1024, logged=facts.LOG_BYTES.value)


def _metered(size: int) -> int:
    return max(1, math.ceil(size / facts.METERED.value))


def _units(size: float, unit: int) -> int:
    return max(1, math.ceil(size / unit))
