"""Run an unmodified ASGI WebSocket app on AWS Lambda behind API Gateway."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from longwire.exceptions import (
    BackendError,
    ConfigurationError,
    ConnectionGoneError,
    InvalidArgumentError,
    LongwireError,
    ManagementError,
    MessageTooLargeError,
    OnceError,
    SlowClientError,
    StateError,
)
from longwire.handler import Longwire
from longwire.observability.logs import guard

if TYPE_CHECKING:
    from longwire.apigateway.management import ConnectionInfo
    from longwire.config.ws_config import WSConfig, WSFanout, WSParams
    from longwire.connections import Connections, SyncConnections
    from longwire.event_end import is_event_end
    from longwire.fanout.result import SendResult
    from longwire.functions.context import SyncWebSocketContext, WebSocketContext
    from longwire.functions.handler import WebSocketHandler, websocket_handler
    from longwire.manager import UserConnection, WebSocketManager, get_websocket_manager
    from longwire.middleware import ConnectionsMiddleware
    from longwire.replaying import ReplayFilter, once
    from longwire.ws_gateway import WSGateway

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "ConfigurationError",
    "ConnectionGoneError",
    "ConnectionInfo",
    "Connections",
    "ConnectionsMiddleware",
    "InvalidArgumentError",
    "Longwire",
    "LongwireError",
    "ManagementError",
    "MessageTooLargeError",
    "OnceError",
    "ReplayFilter",
    "SendResult",
    "SlowClientError",
    "StateError",
    "SyncConnections",
    "SyncWebSocketContext",
    "UserConnection",
    "WSConfig",
    "WSFanout",
    "WSGateway",
    "WSParams",
    "WebSocketContext",
    "WebSocketHandler",
    "WebSocketManager",
    "get_websocket_manager",
    "is_event_end",
    "once",
    "websocket_handler",
]

for _name in ("longwire", "longwire_backends"):
    guard(logging.getLogger(_name))

# Imported when they are first asked for: a cold start pays only for what its app uses.
_LATER = {
    "ConnectionInfo": "longwire.apigateway.management",
    "Connections": "longwire.connections",
    "ConnectionsMiddleware": "longwire.middleware",
    "ReplayFilter": "longwire.replaying",
    "SendResult": "longwire.fanout.result",
    "SyncConnections": "longwire.connections",
    "SyncWebSocketContext": "longwire.functions.context",
    "UserConnection": "longwire.manager",
    "WSConfig": "longwire.config.ws_config",
    "WSFanout": "longwire.config.ws_config",
    "WSGateway": "longwire.ws_gateway",
    "WSParams": "longwire.config.ws_config",
    "WebSocketContext": "longwire.functions.context",
    "WebSocketHandler": "longwire.functions.handler",
    "WebSocketManager": "longwire.manager",
    "get_websocket_manager": "longwire.manager",
    "is_event_end": "longwire.event_end",
    "once": "longwire.replaying",
    "websocket_handler": "longwire.functions.handler",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)
