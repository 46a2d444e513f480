"""A calm day: nothing goes wrong, so that all that is said has to arrive, and in its order.

This is how the campaign knows that it does not look away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from longwire_backends.memory import MemoryBackend
    from tests.campaigns.chaos.apps import Kind
    from tests.campaigns.chaos.gateway import Client, Gateway

# Longer than a greeting takes, and what else goes on behind a response, in seconds.
LONG = 30.0


async def calm_day(
    gateway: Gateway, kind: Kind, store: MemoryBackend, clients: Sequence[Client], random: Random
) -> None:
    """Let clients come, speak and leave, one after the other, and look at everything."""
    expected: dict[str, list[str]] = {}
    for client in clients:
        if await gateway.connect(client) != kind.accepts:
            gateway.violated(f"{client.id} was refused, or should have been")
        expected[client.id] = [f"{client.id} {kind.greet} {one}" for one in range(kind.greets)]
        await asyncio.sleep(random.choice((0.0, 0.03, 3.0)))
    for number in range(random.randint(1, 3)):
        for client in clients:
            # Where nothing runs after the response, a greeting comes with the first message,
            # and so does the end of an app that wants none.
            if client.leaving or kind.ends_after in range(1, number + 1):
                continue
            await gateway.say(client, text := f"m{number}")
            for to, frames in _answers(gateway, kind, client, text):
                expected[to] += frames
    await asyncio.sleep(LONG)
    for client in clients:
        _compare(gateway, kind, client, expected[client.id])
    await _leave(gateway, clients)
    if store._records or store._groups or store._journals:
        gateway.violated(f"left: {store._records} {store._groups} {store._journals}")


def _answers(
    gateway: Gateway, kind: Kind, client: Client, text: str
) -> Iterator[tuple[str, list[str]]]:
    """Tell who gets what when a client says something."""
    if kind.others == "room":
        for member in _members(gateway, kind, client, text):
            yield member.id, [f"{client.room} room {client.id}.{text}"]
    if kind.others == "all":
        for other in gateway.clients.values():
            if other is not client:
                yield other.id, [f"{client.id} all {text}"]
    count = int(text[1:]) if kind.counts else 0
    yield client.id, [f"{client.id} reply {text}.{count + one}" for one in range(kind.replies)]
    yield client.id, [f"{client.id} piece {text}.{count}.{one}" for one in range(kind.pieces)]


def _members(gateway: Gateway, kind: Kind, client: Client, text: str) -> Iterator[Client]:
    """Tell who is in the client's room: all, or, where it is joined by a message, all before it."""
    for other in gateway.clients.values():
        if other.room == client.room:
            yield other
        if other is client and not kind.greets and text == "m0":
            return


def _compare(gateway: Gateway, kind: Kind, client: Client, expected: list[str]) -> None:
    got = client.frames
    if not kind.in_order:
        got, expected = sorted(got), sorted(expected)
    if got != expected:
        gateway.violated(f"{client.id} got {got}, not {expected}")


async def _leave(gateway: Gateway, clients: Sequence[Client]) -> None:
    """Let everybody leave: whose app has not seen its end is told of it, once."""
    ended = [client for client in clients if client.leaving]
    for client in clients:
        if (leaving := gateway.close(client, 1001, "")) is not None:
            await leaving
    for client in clients:
        codes = [] if client in ended else [1001]
        if [code for _, code in client.told] != codes:
            gateway.violated(f"the app was told {client.told} of the end of {client.id}")
