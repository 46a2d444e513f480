"""Records for connections without an app: who has one can be in groups, and hears broadcasts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from longwire.apigateway.events import ConnectEvent, MessageEvent
from longwire.asgi import scope
from longwire.registry import keys, record, store

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from longwire.apigateway.events import Event
    from longwire.registry.caller import Caller
    from longwire_backends import Backend

    Response = dict[str, Any]
    Answer = Callable[[], Coroutine[Any, Any, Response]]


async def with_record(
    event: Event, caller: Caller, deadline: float, ttl: int, answer: Answer
) -> Response:
    """Answer an event; its connection has a record, from its handshake to its end.

    Args:
        deadline: for the store, in seconds of `time.monotonic()`.
        ttl: seconds that a record is kept.

    Raises:
        BackendError: the store failed.
    """
    backend = caller.layer.backend
    if backend is None or isinstance(event, MessageEvent):
        return await answer()
    kept = _Kept(event.context.connection_id, backend, deadline)
    if isinstance(event, ConnectEvent):
        return await _connect(kept, event, ttl, answer)
    # The record goes first, so that sends to its groups take the client for gone at once.
    await kept.take()
    try:
        return await answer()
    finally:
        await kept.leave()


async def _connect(kept: _Kept, event: ConnectEvent, ttl: int, answer: Answer) -> Response:
    # Until its handshake is answered, nobody may take the connection for one that is gone.
    await kept.save(event, ttl, connecting_until=time.time() + kept.time_left())
    accepted = False
    try:
        response = await answer()
        accepted = 200 <= response["statusCode"] < 300
        if accepted:
            await kept.save(event, ttl, responded_at=time.time())
        return response
    finally:
        if not accepted:
            await kept.take()
            await kept.leave()


class _Kept:
    def __init__(self, connection_id: str, backend: Backend, deadline: float) -> None:
        self._id = connection_id
        self._backend = backend
        self._deadline = deadline

    def time_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    async def save(
        self,
        event: ConnectEvent,
        ttl: int,
        *,
        connecting_until: float = 0.0,
        responded_at: float = 0.0,
    ) -> None:
        # Nobody reads its headers, which may hold secrets.
        handshake = scope.handshake(event, path="/", path_query=None)._replace(headers=())
        known = record.ConnectionRecord(
            handshake, connecting_until=connecting_until, responded_at=responded_at, joined=True
        )
        value = record.dumps(known, exclude_headers=frozenset())
        put = self._backend.put(self._id, value, int(time.time()) + ttl)
        await store.before(self._deadline, self._backend, "put", put)

    async def take(self) -> None:
        for key in (self._id, keys.ENDED + self._id):
            taken = self._backend.take(key)
            await store.before(self._deadline, self._backend, "take", taken)

    async def leave(self) -> None:
        left = self._backend.group_discard_all(self._id)
        await store.before(self._deadline, self._backend, "group_discard_all", left)
