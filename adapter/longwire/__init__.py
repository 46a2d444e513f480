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
    from longwire.connections import Connections
    from longwire.event_end import is_event_end
    from longwire.fanout.result import SendResult
    from longwire.functions.handler import websocket_handler
    from longwire.manager import WebSocketManager, get_websocket_manager
    from longwire.middleware import ConnectionsMiddleware
    from longwire.replaying import ReplayFilter, once
    from longwire.ws_gateway import WSGateway

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "ConfigurationError",
    "ConnectionGoneError",
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
    "WSGateway",
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
    "Connections": "longwire.connections",
    "ConnectionsMiddleware": "longwire.middleware",
    "ReplayFilter": "longwire.replaying",
    "SendResult": "longwire.fanout.result",
    "WSGateway": "longwire.ws_gateway",
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
