"""The stores of apps under test: in memory, and one for all the clients of an app."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ConfigurationError
from longwire.handler import Longwire
from longwire.local.function.inline import kind
from longwire_backends.memory import MemoryBackend

if TYPE_CHECKING:
    from longwire.config.ws_config import WSConfig
    from longwire_backends import Backend

# By app or handler. Clients with different cookies are different users of one app.
_memory: weakref.WeakKeyDictionary[Any, MemoryBackend] = weakref.WeakKeyDictionary()
# Of handlers: what their own store is, and how many clients have put another in its place.
_own: weakref.WeakKeyDictionary[Longwire, tuple[Backend | None, int]] = weakref.WeakKeyDictionary()
_kept: weakref.WeakSet[Longwire] = weakref.WeakSet()
_lock = threading.Lock()


def with_memory(target: Any, ws_config: WSConfig | None, *, keep_store: bool) -> Any:
    """Return the function to invoke, whose store is in memory unless somebody says another."""
    if kind(target) == "asgi":
        if keep_store:
            raise ConfigurationError(
                "keep_store: an ASGI app has no store of its own; say which in ws_config"
            )
        handler = Longwire(target, ws_config=ws_config or {"backend": _of(target)})
        _kept.add(handler)
        return handler
    if ws_config is not None:
        raise ConfigurationError("ws_config is for an ASGI app; a handler has its own")
    if keep_store and isinstance(target, Longwire):
        _kept.add(target)
    return target


def lend(target: Any) -> None:
    """Put a store in memory in the place of a handler's own, as a client starts."""
    if not isinstance(target, Longwire) or target in _kept:
        return
    with _lock:
        own, clients = _own.get(target, (target.backend, 0))
        _own[target] = own, clients + 1
        target.backend = _of(target)


def give_back(target: Any) -> None:
    """Give a handler its own store again, as its last client stops."""
    with _lock:
        if isinstance(target, Longwire) and target in _own:
            own, clients = _own.pop(target)
            if clients > 1:
                _own[target] = own, clients - 1
            elif own is not None:
                target.backend = own


def _of(key: Any) -> MemoryBackend:
    try:
        return _memory.setdefault(key, MemoryBackend())
    except TypeError:  # it is no key: its clients have a store each
        return MemoryBackend()
