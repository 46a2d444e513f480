"""A GraphQL subscription by Strawberry, with the protocol graphql-transport-ws.

    longwire dev examples.countdown:app --replay    # ws://127.0.0.1:3001/
    uvicorn examples.countdown:app                  # ws://127.0.0.1:8000/

    {"type": "connection_init"}
    {"type": "subscribe", "id": "1", "payload": {"query": "subscription { countdown(start: 3) }"}}

It needs `pip install strawberry-graphql`. Who has sent `connection_init`, and which subscriptions
there are, is in objects of Strawberry's, which replay makes anew: its resolvers run again.
"""

import asyncio
from collections.abc import AsyncGenerator

import strawberry
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    """What can be asked once."""

    hello: str = "hello"


@strawberry.type
class Subscription:
    """What can be listened to."""

    @strawberry.subscription
    async def countdown(self, start: int) -> AsyncGenerator[int, None]:
        """Count down to nought."""
        for number in range(start, -1, -1):
            yield number
            await asyncio.sleep(0.05)


app: GraphQL[None, None] = GraphQL(strawberry.Schema(Query, subscription=Subscription))
