"""Ghosts: connections that have ended without anybody noticing, as `$disconnect` is best effort.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-route-keys-connect-disconnect.html
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from longwire.exceptions import (
    BackendError,
    ConfigurationError,
    ConnectionGoneError,
    ManagementError,
    RecordVersionError,
)
from longwire.fanout.fan_out import UNREAD, one_page, read_page, reason_of
from longwire.fanout.sending import fan_out_of, log_hang
from longwire.registry import names
from longwire.registry.api_gateway import NO_ENDPOINT
from longwire.registry.departures import delete_damaged, read_record
from longwire_aws.endpoints import is_http_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from longwire.fanout.fan_out import Pages
    from longwire.registry.caller import Caller
    from longwire.registry.record import ConnectionRecord
    from longwire.registry.store import Store
    from longwire_backends import Backend

logger: logging.Logger = logging.getLogger("longwire")

# Requests per second: a hundredth of what API Gateway allows a whole account at once.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
RATE = 50.0
# Seconds that a connection is left in peace: a silent one lives no longer.
MIN_AGE = 600.0
# So many connections are asked about before the app is told of those among them that are gone.
PIECE = 100
# Seconds that a sweep may take outside Lambda.
TIMEOUT = 3600.0
# Seconds for which the store knows where a sweep has stopped, and in which it has to be noted when
# the time for everything else is up.
NOTED = 24 * 3600
NOTE_TIME = 0.25
# Seconds for one answer, so that a host which gives none does not take all of the time.
ANSWER_TIME = 10.0

CUT_OFF = "there was no time left"


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
    """Ask API Gateway about all connections of a store, and tell the app which are gone."""
    rate, min_age = RATE if rate is None else rate, MIN_AGE if min_age is None else min_age
    _check(rate, min_age, caller.registry.endpoint)
    store, departed = caller.store, caller.departed
    assert departed is not None
    result = SweepResult()
    turn = _Turn(1 / rate, caller.deadline)
    asked: set[str] = set()
    only_known = False
    place = _Place(store.backend, await _stopped_at(store))
    pages = place.pages()

    async def check(connection_id: str, *, deadline: float, patient: bool = True) -> None:
        known, damage = read_record(await store.get(connection_id))
        if known is not None and known.gone_at:
            raise ConnectionGoneError(connection_id)  # found earlier, and nobody has told the app
        if only_known or not (turn.is_over or damage is not None or _is_old(known, min_age)):
            return
        await turn.wait()
        until = min(deadline, time.monotonic() + ANSWER_TIME)
        # What a newer Longwire has written is good to the function that has it.
        if damage is not None and not isinstance(damage, RecordVersionError):
            await delete_damaged(caller, connection_id, damage, deadline=until)
            raise damage
        asked.add(connection_id)
        await caller.registry.clients.info(connection_id, deadline=until, patient=patient)

    while True:
        page, result.incomplete = await read_page(pages, caller.deadline)
        if page is None:
            break
        asked.clear()
        only_known = turn.is_over
        if not only_known:
            place.reached = place.after
        fan_out = fan_out_of(caller, check, departed)
        await fan_out.run(one_page([one for one in page if not names.is_internal(one)]))
        result.checked += len(asked)
        result.gone += len(fan_out.result.gone)
        result.failed |= {} if only_known else fan_out.result.failed
        log_hang("sweep", fan_out, store.backend)
        await tell()
    if turn.is_over:
        result.incomplete = CUT_OFF
    await _note(store, place, stopped=result.incomplete in (CUT_OFF, UNREAD))
    await _delete_expired(store, result)
    if result.incomplete is not None:
        logger.error("sweep: %s: not all were looked at: %s", store.backend.name, result.incomplete)
    return result


class _Place:
    """Where a sweep is in the store: it begins where one has stopped, and then at the beginning."""

    def __init__(self, backend: Backend, stopped_at: str | None) -> None:
        self.began_at = self.after = stopped_at
        self.reached = stopped_at  # where the last page begins for which there was time
        self._backend = backend

    async def pages(self) -> Pages:
        """Yield what is behind the place where one has stopped, if any, and then everything."""
        if self.began_at is not None:
            async for page in self._behind(self.began_at):
                yield page
        async for page in self._behind(None):
            yield page

    async def _behind(self, after: str | None) -> Pages:
        while True:
            self.after = after
            page = await self._backend.connections(limit=PIECE, after=after)
            yield page.members
            if page.next is None:
                return
            after = page.next


async def _stopped_at(store: Store) -> str | None:
    try:
        noted = await store.get(names.of_sweep())
    except BackendError as error:
        logger.error("sweep: it is not known where the last one stopped: %s", error)
        return None
    return None if noted is None else noted.value


async def _note(store: Store, place: _Place, *, stopped: bool) -> None:
    """Note where the next sweep has to go on, if this one was not able to look at all."""
    store = store.until(time.monotonic() + NOTE_TIME)
    try:
        if stopped and place.reached is not None:
            await store.put(names.of_sweep(), place.reached, int(time.time()) + NOTED)
        elif place.began_at is not None:
            await store.take(names.of_sweep())
    except BackendError as error:
        logger.error("sweep: it cannot be noted where it has stopped: %s", error)


async def _delete_expired(store: Store, result: SweepResult) -> None:
    try:
        result.deleted = await store.sweep()
    except Exception as error:  # also of somebody's own store
        result.incomplete = result.incomplete or reason_of(error)


def _check(rate: object, min_age: object, endpoint: str | None) -> None:
    fast = isinstance(rate, int | float) and rate > 0
    if not (fast and isinstance(min_age, int | float) and min_age >= 0):
        raise ConfigurationError(
            "sweep: expected a rate above 0 and a min_age of at least 0, "
            f"got {rate!r} and {min_age!r}"
        )
    if endpoint is None:
        raise ConfigurationError(NO_ENDPOINT)
    if not is_http_url(endpoint):
        raise ConfigurationError(
            "sweep: the endpoint must be an http:// or https:// URL with a host"
        )


def _is_old(known: ConnectionRecord | None, min_age: float) -> bool:
    """Tell whether a connection has to be asked about."""
    if known is None:
        return False
    connected_at = known.handshake.connected_at
    return connected_at is None or time.time() - connected_at / 1000 >= min_age


class _Turn:
    """Lets one pass at a time, so many seconds after the one before."""

    def __init__(self, seconds: float, deadline: float) -> None:
        self.is_over = False  # somebody's turn would have come after the deadline
        self._seconds = seconds
        self._deadline = deadline
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for a turn; raises `ManagementError`, at once, where it would come too late."""
        now = time.monotonic()
        at = max(now, self._next)
        if self.is_over or at >= self._deadline:
            self.is_over = True
            raise ManagementError("", f"not asked: {CUT_OFF}")
        self._next = at + self._seconds
        await asyncio.sleep(at - now)
