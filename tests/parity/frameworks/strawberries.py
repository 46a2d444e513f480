# mypy: ignore-errors
"""Strawberry: GraphQL by the protocols graphql-transport-ws and graphql-ws.

The package may be missing: an emulator that tests use wants another graphql-core.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator  # noqa: TC003  # read at run time
from datetime import timedelta

import strawberry
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    hello: str = "hello"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int = 3) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number

    @strawberry.subscription
    async def tick(self) -> AsyncGenerator[int, None]:
        for number in range(500):
            yield number
            await asyncio.sleep(0.1)


_schema = strawberry.Schema(Query, subscription=Subscription)
_patient, _impatient = (
    GraphQL[None, None](_schema, connection_init_wait_timeout=timedelta(seconds=seconds))
    for seconds in (60, 1)
)


async def app(scope: object, receive: object, send: object) -> None:
    assert isinstance(scope, dict)
    chosen = _impatient if scope["path"] == "/impatient" else _patient
    await chosen(scope, receive, send)
