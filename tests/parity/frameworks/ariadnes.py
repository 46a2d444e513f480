# mypy: ignore-errors
"""Ariadne: GraphQL by the protocols graphql-transport-ws and graphql-ws.

The package may be missing: an emulator that tests use wants another graphql-core.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ariadne import make_executable_schema
from ariadne.asgi import GraphQL
from ariadne.asgi.handlers import GraphQLTransportWSHandler, GraphQLWSHandler

_schema = make_executable_schema("type Query { hello: String }")
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
