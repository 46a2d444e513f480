"""The handler, unchanged, in emulators of API Gateway and Lambda that nobody here wrote.

They start slowly and one is installed by npm, so this runs only if asked to: `make emulators`.
Expected is what AWS does, but for what `differs.py` says of an emulator.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect

from tests.emulators.differs import AWS, DIFFERS, facts
from tests.emulators.emulator import OBSERVED
from tests.emulators.observing import observe, receive, refusals

if TYPE_CHECKING:
    from tests.emulators.emulator import Emulator

if os.environ.get("LONGWIRE_TEST_EMULATORS") != "1":
    pytest.skip("make emulators runs these", allow_module_level=True)

# The first run installs packages.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]

TEXTS = ["hello", "two\nlines", "😀 e\u0301", '{"action": "$default"}', "[1]", "x" * 30_000]


async def test_echo(emulator: Emulator) -> None:
    """Each message comes back once, as it was."""
    async with connect(emulator.at("/echo/")) as client:
        for text in TEXTS:
            await client.send(text)
            assert await receive(client) == text


async def test_chat(emulator: Emulator) -> None:
    """Groups reach who is in them, and nobody else; who leaves is told to the others."""
    code = facts(emulator.name)["disconnectStatusCode after the client's close(4001)"]
    async with (
        connect(emulator.at("/chat", room="blue", name="ann")) as ann,
        connect(emulator.at("/chat", room="red", name="eve")) as eve,
    ):
        async with connect(emulator.at("/chat", room="blue", name="bob")) as bob:
            assert await receive(ann) == "bob joined"
            await bob.send("hi")
            assert await receive(ann) == await receive(bob) == "bob: hi"
            await ann.send("hi yourself")
            assert await receive(ann) == await receive(bob) == "ann: hi yourself"
            await bob.close(4001, "over")
        # An event without a code is as a close without one.
        assert await receive(ann) == f"bob left with {1005 if code is None else code}"
        await eve.send("alone")
        assert await receive(eve) == "eve: alone"


async def test_refusal(emulator: Emulator) -> None:
    """A client that the app refuses is refused, with the app's status."""
    assert await refusals(emulator) == facts(emulator.name)["statuses of refusals"]


async def test_fifty_messages(emulator: Emulator) -> None:
    """Nothing is lost, comes twice or in another order; the greeting comes first."""
    heard = []
    async with connect(emulator.at("/converse")) as client:
        for number in range(50):
            await client.send(f"{number}")
            heard += [await receive(client) for _ in range(2 if number else 3)]
    answers = [f"{number}{sign}" for number in range(50) for sign in "?!"]
    assert heard == ["hello", *answers]


async def test_an_ending_by_the_app(emulator: Emulator) -> None:
    """The client is told, though not with the app's own code, as on AWS."""
    async with connect(emulator.at("/farewell")) as client:
        await client.send("go")
        await client.wait_closed()
    assert client.close_code == facts(emulator.name)["close code after DELETE"]


async def test_differences_are_these(
    own_emulator: Emulator, request: pytest.FixtureRequest
) -> None:
    """What the emulator does is what AWS does, but for what is listed."""
    observed = await observe(own_emulator)
    differs = DIFFERS[own_emulator.name]
    assert {
        about: observed[about] for about in observed if observed[about] != AWS[about]
    } == differs
    assert observed.keys() == AWS.keys()
    request.config.stash.setdefault(OBSERVED, []).append(own_emulator)
