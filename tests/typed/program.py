"""A user's program with every public type; both type checkers find nothing in it."""

from __future__ import annotations

import json
from typing import Any

from longwire import (
    ConnectionInfo,
    Connections,
    Longwire,
    SendResult,
    SyncConnections,
    SyncWebSocketContext,
    UserConnection,
    WebSocketContext,
    WebSocketHandler,
    WebSocketManager,
    WSConfig,
    WSFanout,
    WSGateway,
    WSParams,
    websocket_handler,
)
from longwire.testing import Gateway

fanout: WSFanout = {"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/fanout"}
params: WSParams = {"table_name": "connections", "region_name": None}
config: WSConfig = {
    "backend": "dynamodb",
    "params": params,
    "ttl": 60,
    "allowed_origins": ["https://example.com"],
    "fanout": fanout,
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Be an app."""


handler = Longwire(app, ws_config=config)
other = Longwire(app, ws_config={"backend": "memory", "params": {}})
connections = Connections(ws_config={"backend": "memory"}, fanout=None, dumps=json.dumps)
functions: WebSocketHandler = websocket_handler(dumps=json.dumps)


@functions.route("$default")
async def message(event: dict[str, Any], context: WebSocketContext) -> None:
    result: SendResult = await context.broadcast([context.connection_id], {"said": context.body})
    if result.ok and context.headers.get("x-kind") == "test":
        sync: SyncWebSocketContext = context.sync
        sync.send(context.route_key)


async def work(user_id: str) -> None:
    info: ConnectionInfo = await connections.info(user_id)
    user: UserConnection = WebSocketManager(connections).get_connection(user_id)
    await user.send_json({"since": info.connected_at})
    sync: SyncConnections = connections.sync
    sync.send(user_id, info.source_ip)
    there: bool = WSGateway.send(info, {"connectionId": user_id}, dumps=json.dumps)
    async with Gateway(app, {"backend": "memory", "linger": 1}) as gateway:
        async with gateway.connect("/") as ws:
            await ws.send_json([there])
