"""The lowest seam: a TCP connection of `longwire_aws.http`, behind which the models answer.

Everything above it is ours and as it is: pools, time limits, signatures, repeats, pacing, stores.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from longwire_aws import http
from tests.campaigns.chaos import clock as simulated
from tests.campaigns.scale import facts
from tests.campaigns.scale.bucket import with_tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from longwire_aws.http import Response
    from tests.campaigns.scale.gateway import Answer

REGION = "us-east-1"
API = "a1b2c3d4e5"
API_HOST = f"{API}.execute-api.{REGION}.amazonaws.com"
ENDPOINT = f"https://{API_HOST}/prod"
QUEUE_HOST = f"sqs.{REGION}.amazonaws.com"
QUEUE_URL = f"https://{QUEUE_HOST}/123456789012/fanout"
_KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_REGION": REGION,
}
_UNSET = ("AWS_SESSION_TOKEN", "WS_MANAGEMENT_ENDPOINT", "LONGWIRE_DSN", "AWS_ENDPOINT_URL")


class Services(Protocol):
    """What answers requests."""

    random: Random

    def answer(self, host: str, head: bytes, body: bytes) -> Answer: ...


class Place(Protocol):
    """Where code runs: its share of a core, and whether it has been killed."""

    @property
    def dead(self) -> bool: ...

    async def work(self, seconds: float) -> None: ...


here: ContextVar[Place | None] = ContextVar("here", default=None)
"""The process of the code that runs."""


class Connection:
    """As `longwire_aws.http11.HTTPConnection`."""

    def __init__(self, services: Services, host: str) -> None:
        self.reusable = False
        self._services = services
        self._host = host

    def looks_alive(self) -> bool:
        return True

    def close(self) -> None:
        pass

    async def exchange(self, method: str, data: bytes, *, idle: bool) -> Response:
        """Spend the time of the function's core, ask the model, and wait for its answer."""
        self.reusable = False
        place = here.get()
        if place is not None:
            await _alive(place)
            await place.work(facts.REQUEST_CPU.value + _of_body(data))
            await _alive(place)
        head, _, body = data.partition(b"\r\n\r\n")
        answer = self._services.answer(self._host, head, body)
        await asyncio.sleep(answer.seconds)
        if answer.lost:
            raise ConnectionResetError("Connection lost")
        if place is not None:
            await place.work(_of_body(answer.response.body))
            await _alive(place)
        self.reusable = True
        return answer.response


def _of_body(body: bytes) -> float:
    """Return the seconds of a core that a body takes; a small one takes none."""
    return facts.BODY_CPU.value * (len(body) >> 10) / 1024


async def _alive(place: Place) -> None:
    """Do not go on in a process that has been killed."""
    if place.dead:
        await asyncio.get_running_loop().create_future()


@contextlib.contextmanager
def behind(services: Services, clock: simulated.Clock, seed: int, *, named: bool) -> Iterator[None]:
    """Let all connections end at these models, and all that is random be repeatable."""

    async def connect(self: Any, origin: Any) -> Any:
        place = here.get()
        if place is not None:
            await place.work(facts.TLS_CPU.value)
        await asyncio.sleep(with_tail(services.random, facts.TLS_TIME.value))
        return Connection(services, origin.host)

    known, urandom, real = dict(os.environ), os.urandom, http.HTTPClient._connect
    patched: Any = http.HTTPClient
    os.environ.update(_KEYS)
    for name in _UNSET:
        os.environ.pop(name, None)
    if named:
        os.environ["WS_MANAGEMENT_ENDPOINT"] = ENDPOINT
    state = random.getstate()
    random.seed(seed)
    patched._connect = connect
    os.urandom = random.randbytes
    try:
        with simulated.shown(clock):
            yield
    finally:
        patched._connect, os.urandom = real, urandom
        random.setstate(state)
        os.environ.clear()
        os.environ.update(known)
