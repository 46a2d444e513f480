"""What a test client raises at the end of a connection: the framework's own class where there is
one, so that a test's `pytest.raises(WebSocketDisconnect)` means the same.
"""

from __future__ import annotations

import functools
import json
import sys
import warnings
from importlib import import_module
from typing import Any

NO_CODE = (
    "API Gateway refuses a handshake with an HTTP status alone (docs/testing.md): close codes "
    "before accept, bodies and headers reach nobody"
)


def refusal(status: int, reason: str | None) -> BaseException:
    """Return what a refused handshake raises."""
    denial: Any = denial_class()
    error = denial(status_code=status)
    # As a browser sees a handshake that fails.
    error.code, error.reason = 1006, reason or ""
    error.add_note(f"status {status}" + (f" ({reason})" if reason else "") + f": {NO_CODE}")
    return error  # type: ignore[no-any-return]


def disconnect(code: int, reason: str | None) -> BaseException:
    """Return what the end of an open connection raises."""
    error: Any = _raised_class()()
    error.code, error.reason = code, reason or ""
    error.args = (code, reason or "")
    return error  # type: ignore[no-any-return]


@functools.cache
def disconnect_class() -> type[Exception]:
    """Return Starlette's `WebSocketDisconnect` where that is installed, else one like it."""
    try:
        found: type[Exception] = import_module("starlette.websockets").WebSocketDisconnect
    except ImportError:
        return _disconnect_like_starlettes()
    return found


@functools.cache
def denial_class() -> type[Exception]:
    """Return Starlette's `WebSocketDenialResponse` where that is installed, else one like it."""
    try:
        with warnings.catch_warnings():  # of Starlette, about which httpx it finds
            warnings.simplefilter("ignore")
            found: type[Exception] = import_module("starlette.testclient").WebSocketDenialResponse
    except (ImportError, AttributeError, RuntimeError):  # the last without httpx
        return _denial_like_starlettes()
    return found


def _disconnect_like_starlettes() -> type[Exception]:
    class WebSocketDisconnect(Exception):
        def __init__(self, code: int = 1000, reason: str | None = None) -> None:
            super().__init__(code, reason or "")
            self.code, self.reason = code, reason or ""

    return _public(WebSocketDisconnect)


def _denial_like_starlettes() -> type[Exception]:
    base: Any = disconnect_class()

    class WebSocketDenialResponse(base):  # type: ignore[misc]
        def __init__(self, status_code: int) -> None:
            super().__init__(1006)
            self.args = (status_code,)
            self.status_code = status_code
            self.headers: dict[str, str] = {}
            self.content, self.text = b"", ""

        def json(self) -> Any:
            return json.loads(self.text)

    return _public(WebSocketDenialResponse)


def _raised_class() -> type[Exception]:
    """Return a class that is also Litestar's, where a test has imported that."""
    litestars = getattr(sys.modules.get("litestar.exceptions"), "WebSocketDisconnect", None)
    return disconnect_class() if litestars is None else _of_both(litestars)


@functools.cache
def _of_both(litestars: Any) -> type[Exception]:
    class WebSocketDisconnect(disconnect_class(), litestars):  # type: ignore[misc]
        def __init__(self) -> None:
            Exception.__init__(self)
            self.detail = ""

        __str__, __repr__ = Exception.__str__, Exception.__repr__

    return _public(WebSocketDisconnect)


def _public(cls: type[Exception]) -> type[Exception]:
    cls.__module__, cls.__qualname__ = "longwire.testing", cls.__name__
    return cls
