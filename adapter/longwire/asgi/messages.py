"""What an app says with its ASGI messages, and what is wrong with them.

ASGI: https://asgi.readthedocs.io/en/latest/specs/www.html#websocket
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.exceptions import ASGIMessageError, ConnectionGoneError

if TYPE_CHECKING:
    from longwire.types import Frame, Message


def accepted(message: Message) -> tuple[str | None, list[str]]:
    """Return what `websocket.accept` chose: a subprotocol, and the names of headers."""
    subprotocol = message.get("subprotocol")
    if subprotocol is not None and not isinstance(subprotocol, str):
        raise ASGIMessageError(f"websocket.accept: subprotocol is {subprotocol!r}, not a str")
    if not all("!" <= character <= "~" for character in subprotocol or ""):
        raise ASGIMessageError(
            f"websocket.accept: subprotocol is {subprotocol!r}, which no header can hold"
        )
    headers = message.get("headers") or ()
    try:
        return subprotocol, [name.decode("latin-1") for name, _ in headers]
    except (AttributeError, TypeError, ValueError):
        raise ASGIMessageError(
            f"websocket.accept: headers is {headers!r}, not an iterable of pairs of bytes"
        ) from None


def disconnect(code: int, reason: str) -> Message:
    """Return what tells an app that its client is gone."""
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


def lost() -> Message:
    """Return what tells an app that its client vanished, as a post has shown."""
    return disconnect(1006, "")


def frame(message: Message) -> Frame:
    """Return what `websocket.send` carries; bytes win where an app gives both."""
    data, text = message.get("bytes"), message.get("text")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    if data is None and isinstance(text, str):
        return text
    raise ASGIMessageError(
        "websocket.send needs text (a str) or bytes, got "
        f"text: {type(text).__name__}, bytes: {type(data).__name__}"
    )


def status(message: Message) -> int:
    """Return the status of `websocket.http.response.start`."""
    value = message.get("status")
    if not isinstance(value, int) or not 100 <= value <= 599:
        raise ASGIMessageError(f"websocket.http.response.start: status is {value!r}, not 100-599")
    return value


# Frameworks raise classes of their own, which this package never imports: their names tell them.


def is_disconnect(error: BaseException) -> bool:
    """Tell whether an error is a framework's or our way to say that the client is gone."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_disconnect(one) for one in error.exceptions)
    return isinstance(error, ConnectionGoneError) or is_named(error, "WebSocketDisconnect")


def is_named(error: object, name: str) -> bool:
    """Tell whether a class of this name is among those of an error."""
    return any(cls.__name__ == name for cls in type(error).__mro__)
