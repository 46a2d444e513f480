"""The one script that is run on both cores, and what it observes.

Each step has a core of its own, and returns what was observed by what it is about.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.connections_server import ConnectionsServer
from tests.emulators.core.asks import AT_IMPORT, IN_AN_EVENT
from tests.emulators.core.core import deploy
from tests.emulators.core.world import RESPONDED, World, comparable
from tests.lambda_events import connect_event, disconnect_event, message_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.emulators.core.core import RunCore

CONVERSATIONS = 50
EVENTS_OF_OTHERS = 20
ATTEMPTS = 3
DOWN = "the app is shut down"
# Seconds: half of what such an event would take if nothing told the extension that it is over.
SOON = 0.25
TIME_LIMIT = 15.0  # seconds; only keeps a failure from hanging


async def observe(run: RunCore, folder: Path) -> dict[str, Any]:
    """Run all steps."""
    seen: dict[str, Any] = {}
    for step, environ in STEPS.items():
        place = folder / step.__name__.strip("_")
        deploy(place)
        async with ConnectionsServer() as server:
            urls = {
                "WS_MANAGEMENT_ENDPOINT": server.url,
                "RESPONDED": f"{server.url}/@connections/{RESPONDED}",
            }
            async with run(place, urls | environ) as core:
                seen |= comparable(await step(World(core, place, server)))
    return seen


async def _conversations(world: World) -> dict[str, Any]:
    answers, frames = Counter[str](), Counter[str]()
    for number in range(CONVERSATIONS):
        world.server.requests.clear()
        name = f"conversation{number}="
        messages = [message_event(text, name) for text in ("one", "two", "three")]
        for event in (connect_event(name), *messages, disconnect_event(name)):
            answers[json.dumps(await world.core.invoke(event))] += 1
        frames[world.timeline(name)] += 1
    asked = world.extension()
    return {
        "answers of the conversations": dict(answers),
        "frames of the conversations": dict(frames),
        "the extension's first three requests": asked[:3],
        "all of its requests": dict(Counter(asked)),
        "lines of the conversations": world.says(),
    }


async def _refusal(world: World) -> dict[str, Any]:
    event = connect_event("refused=", query={"refuse": [""]})
    return {"a refused handshake": await world.core.invoke(event)}


async def _held(world: World) -> dict[str, Any]:
    await world.core.invoke({"do": "answer", "number": 0})
    (world.folder / "answered").unlink()
    answer = await world.core.invoke(connect_event("held=", query={"wait": [""]}))
    return {
        "answer of a handshake whose app goes on": answer,
        "frames of a handshake whose app goes on": world.timeline("held="),
        "lines of a handshake whose app goes on": world.says(),
    }


async def _raises(world: World) -> dict[str, Any]:
    return {
        "a handler that raises": await world.core.invoke({"do": "raise"}),
        "the event after it": await world.core.invoke({"do": "answer", "number": 1}),
        "lines of a handler that raises": world.says(),
        "ends of a trace's lines": world.ends_lines_with(),
    }


async def _crashes(world: World) -> dict[str, Any]:
    return {
        "an app that raises": [
            await world.core.invoke(event)
            for event in (
                connect_event("crash="),
                message_event("crash", "crash="),
                message_event("a", "crash="),
            )
        ],
        "frames of an app that raises": world.timeline("crash="),
        "lines of an app that raises": world.says(),
    }


async def _exits(world: World) -> dict[str, Any]:
    return {
        "a handler that ends the process": await world.core.invoke({"do": "exit"}),
        "the event after the end": await world.core.invoke({"do": "answer", "number": 1}),
        "registrations around the end": world.extension().count("POST /register 200"),
    }


async def _times_out(world: World) -> dict[str, Any]:
    # Half a second is short where others have the cores.
    for attempt in range(ATTEMPTS):
        world.server.requests.clear()
        name = f"out{attempt}="
        connected = await world.core.invoke(connect_event(name))
        slept = await world.core.invoke({"do": "sleep"})
        if DOWN in world.says():
            break
    return {
        "a handshake, whose app is then running": connected,
        "a handler that does not end": slept,
        "the app is shut down at the timeout": DOWN in world.says(),
        "the event after the timeout": await world.core.invoke(message_event("a", name)),
        "frames around the timeout": world.timeline(name),
    }


async def _blocks(world: World) -> dict[str, Any]:
    return {
        "a handshake before the loop is stuck": await world.core.invoke(connect_event("stuck=")),
        "an app that blocks the loop": await world.core.invoke(message_event("block", "stuck=")),
        "the event after the stuck loop": await world.core.invoke(message_event("a", "stuck=")),
        "frames around the stuck loop": world.timeline("stuck="),
        # A third may say that the app's shutdown did not end either.
        "lines of the stuck loop": world.says()[:2],
    }


async def _others(world: World) -> dict[str, Any]:
    """Observe events that never come to Longwire."""
    answers, took = [], []
    expected = [["answer", {"for": number}] for number in range(EVENTS_OF_OTHERS)]
    for number in range(EVENTS_OF_OTHERS):
        began = time.monotonic()
        answers.append(await world.core.invoke({"do": "answer", "number": number}))
        took.append(time.monotonic() - began)
    return {
        "events of others are answered": answers == expected,
        "the handshake after them": await world.core.invoke(connect_event("other=")),
        "its frame": world.server.frames("other=")[0].decode(),
        "the extension lets them go soon": min(took) < SOON,
    }


async def _sigterm(world: World) -> dict[str, Any]:
    await world.core.invoke(connect_event("term="))
    _, pid = await world.core.invoke({"do": "pid"})
    os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(TIME_LIMIT):
        while not world.says():
            await asyncio.sleep(0.01)
        while _is_there(pid):
            await asyncio.sleep(0.01)
    return {
        "lines after SIGTERM": world.says(),
        "the event after SIGTERM": await world.core.invoke(message_event("a", "term=")),
        "frames around SIGTERM": world.timeline("term="),
    }


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _breaks(world: World) -> dict[str, Any]:
    """Observe what follows when the extension loses the request that it waits with."""
    _, pid = await world.core.invoke({"do": "break"})
    async with asyncio.timeout(TIME_LIMIT):
        while _is_there(pid):
            await asyncio.sleep(0.01)
    return {
        "the extension's requests when one breaks": world.extension(),
        "lines when it breaks": world.says(),
        "the event after the break": await world.core.invoke({"do": "answer", "number": 1}),
        "the second event after the break": await world.core.invoke({"do": "answer", "number": 1}),
    }


async def _endless(world: World) -> dict[str, Any]:
    return {
        "an app that does not end": await world.core.invoke(
            connect_event("endless=", query={"endless": [""]})
        ),
        "its line": world.says(),
        "frames of an app that does not end": world.timeline("endless="),
    }


async def _import_fails(world: World) -> dict[str, Any]:
    return {
        "a module that raises": await world.core.invoke({"do": "answer", "number": 0}),
        "lines of a module that raises": sorted(set(world.says())),
    }


async def _too_late(world: World) -> dict[str, Any]:
    answers = [await world.core.invoke(connect_event("late="))]
    answers.append(await world.core.invoke(message_event("a", "late=")))
    return {
        "a handler that is made in an event": answers,
        "its frames": world.timeline("late="),
        "its extension's requests": world.extension(),
        "its lines": world.says(),
    }


async def _too_much(world: World) -> dict[str, Any]:
    kind, *rest = await world.core.invoke({"do": "much"})
    return {
        "a response that is too large": [kind, rest[0]],
        "the event after it is": await world.core.invoke({"do": "answer", "number": 1}),
    }


async def _asks(world: World) -> dict[str, Any]:
    _, answers = await world.core.invoke({"do": "ask", "asks": list(IN_AN_EVENT.values())})
    at_import = json.loads((world.folder / "asked").read_text())
    return {
        **{f"at import: {name}": given for name, given in zip(AT_IMPORT, at_import, strict=True)},
        **{f"in an event: {name}": given for name, given in zip(IN_AN_EVENT, answers, strict=True)},
    }


STEPS: dict[Callable[[World], Awaitable[dict[str, Any]]], dict[str, str]] = {
    _conversations: {},
    _refusal: {},
    _held: {},
    _raises: {},
    _crashes: {},
    _exits: {},
    _times_out: {},
    _blocks: {},
    _others: {},
    _sigterm: {},
    _breaks: {},
    _endless: {},
    _import_fails: {"FAILS": "1"},
    _too_late: {"LAZY": "1"},
    _too_much: {},
    _asks: {"ASKS": json.dumps(list(AT_IMPORT.values()))},
}
