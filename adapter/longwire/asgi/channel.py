"""A run's end of a channel layer: what its app is to receive beside its client's messages."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from longwire.asgi.inbox import CHANNEL_MESSAGE
from longwire.exceptions import ASGIMessageError

if TYPE_CHECKING:
    from longwire.asgi.inbox import Inbox
    from longwire.types import Message


# Where the class of the layer is that runs consumers for its messages.
_OWN_LAYER = "longwire.channels"


def runs_consumers(layer: object) -> bool:
    """Tell whether a channel layer is the one that runs who would have to wait for its messages."""
    return any(base.__module__ == _OWN_LAYER for base in type(layer).__mro__)


def channel_message(message: Message) -> Message:
    """Return what gives an app this message of a channel layer, as `Inbox.deliver` takes it."""
    return {"type": CHANNEL_MESSAGE, "message": message}


class RunChannel:
    """What a channel layer has for an app, and which of its tasks wait for more."""

    def __init__(self, inbox: Inbox) -> None:
        self.waiters: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self.groups: set[str] = set()  # those that the app has joined in this run
        self.is_taken = False  # a consumer has it
        self._messages: deque[tuple[Message, bool]] = deque()
        self._inbox = inbox
        self._is_handling = False

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_heard(self) -> bool:
        return bool(self._messages and self.waiters)

    @property
    def moves(self) -> bool:
        return self._is_handling or self.is_heard

    def put(self, message: Message, *, counts: bool) -> None:
        self._messages.append((copied(message), counts))
        self._wake()

    async def receive(self) -> Message:
        """Return the next message."""
        while not self._messages:
            if self._inbox.is_closed:
                await self._inbox.refuse()
            await self._wait()
        message, counts = self._messages.popleft()
        self._is_handling = True
        if counts:
            self._inbox.count()
        return message

    async def _wait(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise ASGIMessageError("a channel layer's receive() was called outside a task")
        self._is_handling = False
        self.waiters[task] = waiter = asyncio.get_running_loop().create_future()
        self._inbox.on_change()
        try:
            await waiter
        finally:
            del self.waiters[task]
            if self._messages:  # cancelled with a message on its way: another may have it
                self._wake()

    def _wake(self) -> None:
        for waiter in self.waiters.values():
            if not waiter.done():
                waiter.set_result(None)
                return


def copied(value: Any) -> Any:
    """Return a copy that shares nothing, as if it had been written down; a tuple becomes a list.

    Raises:
        TypeError: there is something in it that the channel layer specification does not know.
    """
    try:
        return _copied(value)
    except RecursionError:
        raise TypeError("a message of a channel layer is nested too deeply") from None


def _copied(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, bytes):
        return value
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value)
        return str.__str__(value)  # an enumeration has a word of its own for `str`
    if isinstance(value, dict):
        return {_key(key): _copied(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(one) for one in value]
    if isinstance(value, (bool, int, float)):  # an enumeration's, say
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, (bytearray, memoryview, bytes)):
        return bytes(value)
    raise TypeError(
        f"a message of a channel layer holds a {kind.__qualname__}; it may hold str, bytes, int, "
        "float, bool, None, and lists and dicts of them"
    )


def _key(key: Any) -> Any:
    if key is None or isinstance(key, (str, bytes, int, float)):
        return _copied(key)
    raise TypeError(f"a message of a channel layer has a {type(key).__qualname__} for a key")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TypeError("a message of a channel layer holds text that is no Unicode") from None
