"""Records for connections without an app: who has one can be in groups, and hears broadcasts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from longwire import deadlines
from longwire.apigateway.events import ConnectEvent, Event, MessageEvent
from longwire.asgi import scope
from longwire.registry import record

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from longwire.functions.answer import Response
    from longwire.registry.store import Store

    Answer = Callable[[], Coroutine[Any, Any, Response]]


async def with_record(event: Event, store: Store, ttl: int, answer: Answer) -> Response:
    """Answer an event; its connection has a record, from its handshake to its end."""
    if isinstance(event, MessageEvent):
        return await answer()
    if isinstance(event, ConnectEvent):
        return await _connect(event, store, ttl, answer)
    # The record goes first, so that sends to its groups take the client for gone at once.
    connection_id = event.context.connection_id
    await store.take(connection_id)
    try:
        return await answer()
    finally:
        await store.group_discard_all(connection_id)


async def _connect(event: ConnectEvent, store: Store, ttl: int, answer: Answer) -> Response:
    connection_id = event.context.connection_id
    # Nobody reads what the client has sent, which may hold secrets.
    handshake = scope.handshake(event, path="/", path_query=None)._replace(
        query_string="", headers="", subprotocols=()
    )
    # Until its handshake is answered, nobody may take the connection for one that is gone. Nobody
    # sees here when the answer leaves, so nobody may until it surely has.
    until = time.time() + deadlines.left(store.deadline)
    known = record.ConnectionRecord(handshake)
    known.connecting_until = known.leaving_until = until
    known.joined = True

    async def save() -> None:
        await store.put(connection_id, record.dumps(known), int(time.time()) + ttl)

    await save()
    accepted = False
    try:
        response = await answer()
        accepted = 200 <= response["statusCode"] < 300
        if accepted:
            known.connecting_until, known.responded_at = 0.0, time.time()
            await save()
        return response
    finally:
        if not accepted:
            await store.take(connection_id)
            await store.group_discard_all(connection_id)
