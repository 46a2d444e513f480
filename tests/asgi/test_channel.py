"""A run's end of a channel layer."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

import pytest

from longwire.asgi.channel import RunChannel, channel_message, copied
from longwire.asgi.inbox import Inbox

pytestmark = pytest.mark.anyio


def _channel() -> tuple[Inbox, RunChannel, list[str]]:
    changes: list[str] = []
    inbox = Inbox({"type": "websocket.connect"}, lambda: changes.append("change"))
    inbox.channel = channel = RunChannel(inbox)
    return inbox, channel, changes


async def test_a_message_comes_to_who_waits_and_is_handled_until_the_next_is_waited_for() -> None:
    inbox, channel, changes = _channel()
    waiting = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    assert (changes, channel.moves, set(inbox.listeners)) == (["change"], False, {waiting})
    inbox.deliver(channel_message({"type": "t"}))
    assert channel.is_heard
    assert await waiting == {"type": "t"}
    assert (channel.moves, inbox.listeners) == (True, {})
    waiting = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    assert not channel.moves
    waiting.cancel()


async def test_a_message_of_a_journal_counts_and_one_to_oneself_does_not() -> None:
    inbox, channel, _ = _channel()
    channel.put({"type": "own"}, counts=False)
    await channel.receive()
    assert inbox.number == 0
    inbox.deliver(channel_message({"type": "t"}))
    await channel.receive()
    assert inbox.number == 1


async def test_who_is_cancelled_leaves_its_message_to_the_next() -> None:
    _, channel, _ = _channel()
    first, second = (asyncio.create_task(channel.receive()) for _ in range(2))
    await asyncio.sleep(0)
    channel.put({"type": "t"}, counts=False)
    first.cancel()
    assert await second == {"type": "t"}


async def test_who_receives_once_the_run_is_over_is_cancelled() -> None:
    inbox, channel, _ = _channel()
    inbox.close()
    with pytest.raises(asyncio.CancelledError):
        await channel.receive()


async def test_an_app_that_has_asked_for_no_channel_gets_no_message_of_one() -> None:
    inbox = Inbox({"type": "websocket.connect"}, lambda: None)
    inbox.deliver(channel_message({"type": "t"}))
    assert await inbox.receive() == {"type": "websocket.connect"}
    assert not inbox


class Colour(enum.IntEnum):
    BLUE = 1


class Kind(str, enum.Enum):  # noqa: UP042  # of which `str` makes no value
    CHAT = "chat.message"


class Name(str):
    """A text of a kind of its own, as Django's safe ones are."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "copy"),
    [
        ((1, [2, (3,)]), [1, [2, [3]]]),
        (Colour.BLUE, 1),
        (Name("é"), "é"),
        (Kind.CHAT, "chat.message"),
        ({Kind.CHAT: 1}, {"chat.message": 1}),
        (bytearray(b"a"), b"a"),
        ({1: True, None: b""}, {1: True, None: b""}),
    ],
)
def test_a_copy_has_only_the_plain_types(value: Any, copy: Any) -> None:
    made = copied(value)
    assert made == copy
    assert type(made) is type(copy)
