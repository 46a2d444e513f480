"""Frames: what is sent to a client, and the bytes of it that API Gateway takes."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Literal

from longwire.exceptions import ASGIMessageError, InvalidArgumentError, MessageTooLargeError

if TYPE_CHECKING:
    from longwire.types import Dumps, Frame

Binary = Literal["text", "base64"]

_encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

MAX_MESSAGE = 128 * 1024
"""Bytes of one message to a client: PostToConnection's `Data` takes no more.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-execution-service-websocket-limits-table.html
"""


def frame(data: object, dumps: Dumps | None = None) -> Frame:
    """Return text and bytes as they are, and anything else as JSON text.

    Raises:
        InvalidArgumentError: JSON cannot hold it.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    return json_text(data, dumps)


def json_text(data: object, dumps: Dumps | None = None) -> str:
    """Return JSON: what `dumps` makes, or else as Starlette writes it; raises as `frame`."""
    try:
        if dumps is not None:
            return _made(dumps(data))
        with contextlib.suppress(TypeError):  # there is something that JSON itself does not know
            return _encode_json(data)
        from longwire.apigateway.jsonable import jsonable, model_text

        if (text := model_text(data)) is not None:
            return text
        return _encode_json(jsonable(data))
    except (TypeError, ValueError, RecursionError) as error:
        advice = "" if dumps else "; send a str, bytes, or what JSON knows, or say dumps=..."
        raise InvalidArgumentError(
            f"data is a value of type {type(data).__name__} that "
            f"{'dumps' if dumps else 'JSON'} cannot hold: {error}{advice}"
        ) from error


def _made(text: object) -> str:
    """Return as text what a user's `dumps` has made; JSON that is bytes is UTF-8."""
    if isinstance(text, (bytes, bytearray)):
        return text.decode()
    if isinstance(text, str):
        return text
    raise TypeError(f"it returned a {type(text).__name__}; expected str or bytes")


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
