"""Ghosts: connections that have ended without anybody noticing, as `$disconnect` is best effort.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-route-keys-connect-disconnect.html
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from longwire import keys, record, store
from longwire.exceptions import BackendError, ConfigurationError, StoredRecordError
from longwire.fanout import FanOut, one_page, read_page
from longwire.layer import NO_ENDPOINT, Departure
from longwire.sending import has_ended, is_gone, read_pages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.caller import Caller
    from longwire_backends import Backend

RATE = 50.0
"""Requests per second: a hundredth of what API Gateway allows a whole account at once.

https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
"""

MIN_AGE = 600.0
"""Seconds that a connection is left in peace: a silent one lives no longer."""

TIMEOUT = 3600.0
"""Seconds that a sweep may take outside Lambda."""


@dataclass(slots=True)
class SweepResult:
    """What a sweep has found.

    Attributes:
        checked: how many connections API Gateway was asked about.
        gone: how many of these it did not know, or had not known earlier; their app is told, once.
        failed: why it could not be asked about others, by connection id.
        deleted: how many records and memberships had expired, in stores that do not delete these
            themselves.
        incomplete: why there may be connections that were not looked at; or None.
    """

    checked: int = 0
    gone: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    deleted: int = 0
    incomplete: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everything was looked at."""
        return not self.failed and self.incomplete is None

    def as_dict(self) -> dict[str, Any]:
        """Return what Lambda can answer a schedule with."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"checked {self.checked} connections: {self.gone} were gone",
            f"deleted {self.deleted} records and memberships that had expired",
        ]
        if self.failed:
            one, reason = next(iter(self.failed.items()))
            lines.append(f"{len(self.failed)} could not be checked, for example {one}: {reason}")
        if self.incomplete is not None:
            lines.append(f"not all were looked at: {self.incomplete}")
        return "\n".join(lines)


async def sweep(
    caller: Caller,
    tell: Callable[[], Awaitable[None]],
    *,
    rate: float | None = None,
    min_age: float | None = None,
) -> SweepResult:
    """Ask API Gateway about all connections of a store, and have the app told of who is gone.

    Args:
        caller: its `departed` collects who is gone.
        tell: tells the app of these.
        rate: requests per second at most.
        min_age: seconds; younger connections are left in peace.

    Raises:
        ConfigurationError: the management API is not known, or a number cannot be one.
    """
    rate, min_age = RATE if rate is None else rate, MIN_AGE if min_age is None else min_age
    if not rate > 0 or not min_age >= 0:
        raise ConfigurationError(
            f"sweep: expected a rate above 0 and a min_age of at least 0, got {rate} and {min_age}"
        )
    if caller.layer.endpoint is None:
        raise ConfigurationError(NO_ENDPOINT)
    backend, departed = caller.layer.backend, caller.departed
    assert backend is not None
    assert departed is not None
    result = SweepResult()
    turn = _Turn(1 / rate)
    asked: set[str] = set()
    pages = read_pages(lambda after: backend.connections(after=after))

    async def check(connection_id: str, *, deadline: float, patient: bool = True) -> None:
        if await _is_old(backend, connection_id, deadline, min_age):
            await turn.wait()
            asked.add(connection_id)
            await caller.layer.clients.info(connection_id, deadline=deadline)

    while True:
        page, result.incomplete = await read_page(pages, caller.deadline)
        if page is None:
            break
        asked.clear()
        fan_out = FanOut(
            check,
            caller.deadline,
            lambda one: is_gone(caller, departed, one),
            lambda one: has_ended(caller, one),
        )
        # Those of which nobody has told the app yet.
        known = [one.removeprefix(keys.ENDED) for one in page if one.startswith(keys.ENDED)]
        departed.extend(Departure(one, (), caller.layer.endpoint) for one in known)
        await fan_out.run(one_page([one for one in page if not one.startswith(keys.INTERNAL)]))
        result.checked += len(asked)
        result.gone += len(fan_out.result.gone) + len(known)
        result.failed |= fan_out.result.failed
        await tell()
    try:
        result.deleted = await store.before(caller.deadline, backend, "sweep", backend.sweep())
    except BackendError as error:
        result.incomplete = result.incomplete or str(error)
    return result


async def _is_old(backend: Backend, connection_id: str, deadline: float, min_age: float) -> bool:
    """Tell whether a connection has to be asked about."""
    stored = await store.before(deadline, backend, "get", backend.get(connection_id))
    if stored is None:
        return False
    try:
        connected_at = record.loads(stored.value).handshake.connected_at
    except StoredRecordError:
        return True
    return connected_at is None or time.time() - connected_at / 1000 >= min_age


class _Turn:
    """Lets one pass at a time, so many seconds after the one before."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    async def wait(self) -> None:
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + self._seconds
        await asyncio.sleep(at - now)
