"""Run an unmodified ASGI WebSocket app on AWS Lambda behind API Gateway."""

from longwire.exceptions import (
    BackendError,
    ConfigurationError,
    ConnectionGoneError,
    LongwireError,
    ManagementError,
    MessageTooLargeError,
)
from longwire.handler import Longwire

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "ConfigurationError",
    "ConnectionGoneError",
    "Longwire",
    "LongwireError",
    "ManagementError",
    "MessageTooLargeError",
]
