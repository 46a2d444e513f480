"""The messages on their way to the app: who gets one, and who only waits for what follows."""

from __future__ import annotations

import asyncio

import pytest

from longwire.asgi.inbox import Inbox

pytestmark = pytest.mark.anyio


async def test_who_is_held_takes_nobodys_message() -> None:
    """Though it has waited for longer than who receives; it goes on when it is told to."""
    inbox = Inbox({"type": "websocket.connect"}, lambda: None)
    await inbox.receive()
    held = asyncio.create_task(inbox.hold())
    await asyncio.sleep(0)
    assert not inbox.is_held_up()
    inbox.deliver({"type": "websocket.receive", "text": "a"})
    assert inbox.is_held_up()
    assert (await inbox.receive())["text"] == "a"
    receiving = asyncio.create_task(inbox.receive())
    await asyncio.sleep(0)
    inbox.deliver({"type": "websocket.receive", "text": "b"})
    assert not inbox.is_held_up()
    assert (await receiving)["text"] == "b"
    assert not held.done()
    assert inbox.go_on()
    await held
    assert not inbox.go_on()
    assert not inbox.waiters
