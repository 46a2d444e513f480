"""The stores of apps under test: in memory, and one for all the clients of an app."""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ConfigurationError
from longwire.handler import Longwire
from longwire.local.function.inline import kind
from longwire_backends.memory import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from longwire import WSConfig
    from longwire_backends import Backend

# By app or handler. Clients with different cookies are different users of one app.
_memory: weakref.WeakKeyDictionary[Any, MemoryBackend] = weakref.WeakKeyDictionary()
# Of handlers: what their own store is, and how many clients have put another in its place.
_own: weakref.WeakKeyDictionary[Longwire, tuple[Backend | None, int]] = weakref.WeakKeyDictionary()
_lock = threading.RLock()  # a garbage collection may come between


def wrapped(target: Any, ws_config: Mapping[str, Any] | None) -> Any:
    """Return the function to invoke: an app in a handler, whose store is in memory by default."""
    if kind(target) == "asgi":
        return Longwire(target, ws_config=with_store(ws_config, memory_of(target)))
    if ws_config is not None:
        raise ConfigurationError("ws_config is for an ASGI app; a handler has its own")
    return target


def with_store(ws_config: Mapping[str, Any] | None, store: Backend) -> WSConfig:
    """Return a configuration with this store, unless it says one that is not in memory."""
    said: Any = dict(ws_config or {})  # whose rest `Longwire` checks
    if said.get("backend", "memory") == "memory":
        said["backend"] = store
        said.pop("params", None)
    checked: WSConfig = said
    return checked


def lend(handler: Longwire) -> None:
    """Put a store in memory in the place of a handler's own, as a client starts."""
    with _lock:
        own, clients = _own.get(handler, (handler.backend, 0))
        _own[handler] = own, clients + 1
        handler.backend = memory_of(handler)


def give_back(handler: Longwire) -> None:
    """Give a handler its own store again, as its last client stops."""
    with _lock:
        own, clients = _own.pop(handler)
        if clients > 1:
            _own[handler] = own, clients - 1
        elif own is not None:
            handler.backend = own


@contextlib.contextmanager
def in_memory(target: Any, *, unless: bool) -> Iterator[None]:
    """Lend a handler its store meanwhile."""
    lends = isinstance(target, Longwire) and not unless
    if lends:
        lend(target)
    try:
        yield
    finally:
        if lends:
            give_back(target)


def memory_of(key: Any) -> MemoryBackend:
    """Return the store of an app or handler."""
    try:
        return _memory.setdefault(key, MemoryBackend())
    except TypeError:  # it is no key: its clients have a store each
        return MemoryBackend()
