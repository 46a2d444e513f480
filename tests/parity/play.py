"""Plays scripts, side by side."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.parity.scripts import Closed, Until

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from websockets.asyncio.client import ClientConnection

    from tests.parity.hosts import Address
    from tests.parity.scripts import Script

# For how many seconds a client waits for a frame that never comes; the second is for those of whom
# that is known, who wait together.
PATIENCE, LITTLE_PATIENCE = 20.0, 4.0

_FRAME = 32_000

MISSED = "nothing more came"

Transcript = list[str]


async def play_all(
    address: Address, scripts: Mapping[str, Script], wait_in_vain: Collection[str], at_once: int
) -> dict[str, Transcript]:
    """Play the scripts, by name, so many at a time."""
    rooms = asyncio.Semaphore(at_once), asyncio.Semaphore(100)

    async def one(name: str, script: Script) -> Transcript:
        in_vain = name in wait_in_vain
        async with rooms[in_vain]:
            return await play(address, script, LITTLE_PATIENCE if in_vain else PATIENCE)

    async with asyncio.TaskGroup() as group:
        playing = {name: group.create_task(one(name, said)) for name, said in scripts.items()}
    return {name: task.result() for name, task in playing.items()}


async def play(address: Address, script: Script, patience: float) -> Transcript:
    """Connect, take the steps and leave; return what came."""
    assert script.path is not None
    url = address(script.path, script.query)
    options = {"compression": None, "open_timeout": PATIENCE, **script.handshake}
    try:
        # To look for a proxy is to go through the environment, which fails in a thread if pytest
        # names its next test there meanwhile.
        client = await connect(url, proxy=None, **options)
    except InvalidStatus as refused:
        return [f"refused: {refused.response.status_code}"]
    except InvalidHandshake as error:  # what the client does not put up with
        return [str(error)]
    except TimeoutError:
        return [MISSED]
    seen = [f"subprotocol: {client.subprotocol}"]
    async with client:
        try:
            for step in script.steps:
                await _take(client, step, seen, patience)
            await client.close()
            if not script.leaves_early:
                await _hear(client, None, seen, patience)
        except ConnectionClosed:
            seen.append("closed")
        except TimeoutError:
            seen.append(MISSED)
    return seen


async def _take(client: ClientConnection, step: object, seen: Transcript, patience: float) -> None:
    match step:
        case str():
            # API Gateway takes no frame of more than 32 KB.
            parts = [step[at : at + _FRAME] for at in range(0, len(step), _FRAME)]
            with contextlib.suppress(ConnectionClosed):  # what came before is heard all the same
                await client.send(parts if len(parts) > 1 else step)
        case int():
            await _hear(client, step, seen, patience)
        case float():
            await asyncio.sleep(step)
        case Until():
            heard: Transcript = [""]
            while not heard[-1].startswith(step.text):
                await _hear(client, 1, heard, patience)
            seen.append(heard[-1])
        case Closed():
            await _hear(client, None, seen, patience)


async def _hear(
    client: ClientConnection, frames: int | None, seen: Transcript, patience: float
) -> None:
    """Wait for so many frames; None is for all until the end."""
    while frames is None or frames > 0:
        async with asyncio.timeout(patience):
            frame = await client.recv()
        seen.append(frame if isinstance(frame, str) else frame.decode())
        frames = None if frames is None else frames - 1
