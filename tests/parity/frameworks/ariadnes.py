# mypy: ignore-errors
"""Ariadne: GraphQL by the protocols graphql-transport-ws and graphql-ws.

The package may be missing: an emulator that tests use wants another graphql-core.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator  # noqa: TC003  # read at run time
from datetime import timedelta
from typing import Any

from ariadne import QueryType, SubscriptionType, make_executable_schema
from ariadne.asgi import GraphQL
from ariadne.asgi.handlers import GraphQLTransportWSHandler, GraphQLWSHandler

_subscription = SubscriptionType()
_query = QueryType()


@_query.field("hello")
def hello(*_: Any) -> str:
    return "hello"


@_subscription.source("count")
async def count(*_: Any, to: int) -> AsyncGenerator[int, None]:
    for number in range(to):
        yield number


@_subscription.source("tick")
async def tick(*_: Any) -> AsyncGenerator[int, None]:
    for number in range(500):
        yield number
        await asyncio.sleep(0.1)


@_subscription.field("count")
@_subscription.field("tick")
def itself(number: int, *_: Any, **__: Any) -> int:
    return number


_schema = make_executable_schema(
    """
    type Query { hello: String }
    type Subscription { count(to: Int): Int tick: Int }
    """,
    _query,
    _subscription,
)
_new, _old, _impatient = (
    GraphQL(_schema, websocket_handler=handler)
    for handler in (
        GraphQLTransportWSHandler(),
        GraphQLWSHandler(),
        GraphQLTransportWSHandler(connection_init_wait_timeout=timedelta(seconds=1)),
    )
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/impatient":
        chosen = _impatient
    else:
        chosen = _old if "graphql-ws" in scope["subprotocols"] else _new
    await chosen(scope, receive, send)
