"""Frames: what is sent to a client, and the bytes of it that API Gateway takes."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Literal

from longwire.exceptions import ASGIMessageError, InvalidArgumentError, MessageTooLargeError

if TYPE_CHECKING:
    from longwire.types import Frame

Binary = Literal["text", "base64"]

MAX_MESSAGE = 128 * 1024
"""Bytes of one message to a client: PostToConnection's `Data` takes no more.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html
"""


def frame(data: object) -> Frame:
    """Return text and bytes as they are, and anything else as JSON text, as Starlette writes it.

    Raises:
        InvalidArgumentError: JSON cannot hold it.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    try:
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(
            f"data is a value of type {type(data).__name__} that JSON cannot hold: {error}; "
            "send a str, bytes, or what JSON knows"
        ) from error


def encode(frame: Frame, binary: Binary, connection_id: str = "") -> bytes:
    """Return the payload of a frame; API Gateway sends every payload as text.

    Args:
        binary: as in `ws_config`: send bytes as they are, or as base64.
        connection_id: whom it is for, for the errors; "" for many.

    Raises:
        ASGIMessageError: bytes that are no text, and `binary` is "text".
        MessageTooLargeError: it is over API Gateway's limit.
    """
    data = encode_text(frame) if isinstance(frame, str) else _encode_bytes(frame, binary)
    if len(data) > MAX_MESSAGE:
        raise MessageTooLargeError(connection_id, len(data), MAX_MESSAGE)
    return data


def encode_text(text: str) -> bytes:
    """Return what a text frame carries; raises `ASGIMessageError` for half of a surrogate pair."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ASGIMessageError(
            "the text of a message holds half of a surrogate pair, which no text frame can"
        ) from error


def _encode_bytes(data: bytes, binary: Binary) -> bytes:
    if binary == "base64":
        return base64.b64encode(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ASGIMessageError(
            "websocket.send: these bytes are not UTF-8, and API Gateway sends text frames "
            "only; encode them yourself or set ws_config['binary'] to 'base64'"
        ) from error
    return data
