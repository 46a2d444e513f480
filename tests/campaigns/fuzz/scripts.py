"""Generated ASGI apps, thought of: each is a tuple of steps, which `apps.py` plays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from random import Random

Step = tuple[Any, ...]
Script = tuple[Step, ...]

OTHER = "OTHERfALIAMCug0="  # a connection that is always there, of no event
LIFESPANS = ("none", "none", "complete", "raise", "failed", "hang", "odd", "late", "cancel")

SUBPROTOCOLS: tuple[Any, ...] = (None, None, None, "chat.v1", "", "é€", "a\r\nb: c", "\ud800", 7)
ACCEPT_HEADERS: tuple[Any, ...] = (None, [], [(b"x", b"y")], [[b"set-cookie", b"\xff"]], ["ab"], 5)
CODES: tuple[Any, ...] = (1000, 1001, 4000, 0, -1, 10**30, None, "1000", True, 1.5)
REASONS: tuple[Any, ...] = ("", None, "bye", [{"loc": ["a"]}], "x" * 5000, b"bytes", "\ud800", 3)
STATUSES: tuple[Any, ...] = (401, 403, 503, 200, 101, 302, 599, 600, 0, None, "403", True)
DATA: tuple[Any, ...] = (
    *("hi", "", b"hi", b"\xff", "\ud800", "\0", "x" * 131072, "x" * 131073, b"x" * 131073),
    *(7, None, {"a": [1]}, {1: 2}, {(1,): 2}, [float("nan")], {1, 2}, bytearray(b"a"), "€" * 50000),
)
MESSAGES: tuple[Any, ...] = (
    {},
    {"type": "websocket.send"},
    {"type": "websocket.send", "text": "a", "bytes": b"b"},
    {"type": "websocket.send", "text": None, "bytes": None},
    {"type": "websocket.nonsense"},
    {"type": None},
    {"type": ["websocket.send"]},
    {"type": "http.response.start", "status": 200},
    {"type": "websocket.http.response.body", "body": "text", "more_body": "yes"},
)
RAISED = (
    *("Exception", "OSError", "RuntimeError", "CancelledError", "BaseExceptionGroup", "Gone"),
    *("Odd", "StopIteration", "GeneratorExit", "TimeoutError", "WebSocketDisconnect", "group"),
    *("HTTPException 200", "HTTPException 404", "HTTPException 1000", "HTTPException x"),
)
TARGETS: tuple[Any, ...] = ("OWN", "OWN", "SCOPE", OTHER, OTHER, "nobody", "", "\0", "\ud800", 7)
GROUPS: tuple[Any, ...] = ("blue", "blue", "blue", "grüße", "", "\0", "x" * 1025, 7, None)
EXCLUDED: tuple[Any, ...] = ((), "OWN", ("OWN", OTHER), ["SCOPE"], 7, (7,))


CALM = frozenset(("receive", "accept", "say", "echo", "send", "close", "return", "try", "deny"))


def is_calm(script: Script) -> bool:
    """Tell whether a script does one thing after the other, at no time of its own."""
    return all(step[0] in CALM and (step[0] != "try" or is_calm(step[1])) for step in script)


def greetings(script: Script) -> frozenset[str]:
    """Return what a script surely says before it can have heard of any message."""
    said: list[str] = []
    heard = 0
    for step in script:
        inner = repr(step)
        heard += inner.count("'receive'") + 2 * inner.count("'echo'")
        if heard > 1:
            break
        if step[0] == "say":
            said.append(step[1])
    return frozenset(text for text in said if repr(script).count(repr(text)) == 1)


def think(random: Random) -> Script:
    """Think of an app: half of them are nearly sane, some are not at all."""
    style = random.random()
    if style < 0.2:
        return tuple(_step(random, 2) for _ in range(random.randint(0, 6)))
    subprotocol = random.choice(SUBPROTOCOLS) if random.random() < 0.2 else None
    steps: list[Step] = [("receive",), ("accept", subprotocol, None)]
    steps += [("say", f"greeting {number}") for number in range(random.choice((0, 0, 1, 2)))]
    steps += [("echo",)]
    if style < 0.4:
        return tuple(steps)
    for _ in range(random.randint(1, 4)):
        steps.insert(random.randint(0, len(steps)), _step(random, 2))
    if random.random() < 0.3:
        at = random.randrange(len(steps))
        steps[at:] = [_nested(random, 1, tuple(steps[at:]))]
    return tuple(steps)


def _step(random: Random, depth: int) -> Step:
    """Think of one step, with at most so many levels of steps in it."""
    if depth and random.random() < 0.25:
        scripted = tuple(_step(random, depth - 1) for _ in range(random.randint(0, 3)))
        return _nested(random, depth - 1, scripted)
    options: list[Step] = [
        ("receive",),
        ("receive",),
        ("echo",),
        ("return",),
        ("forever",),
        ("accept", random.choice(SUBPROTOCOLS), random.choice(ACCEPT_HEADERS)),
        ("accept", None, None),
        ("send", random.choice(DATA)),
        ("say", "again"),
        ("say", "and again"),
        ("message", random.choice(MESSAGES)),
        ("close", random.choice(CODES), random.choice(REASONS)),
        ("deny", random.choice(STATUSES)),
        ("body", random.choice((False, False, True))),
        ("raise", random.choice(RAISED)),
        ("sleep", random.choice((0, 0.001, 0.04, 0.2, 1.5, 10, -1))),
        ("spin", random.choice((1, 3, 50, 150, 10**9))),
        *[_connections(random) for _ in range(4)],
    ]
    return random.choice(options)


def _nested(random: Random, depth: int, inner: Script) -> Step:
    beside = tuple(_step(random, depth) for _ in range(random.randint(0, 3)))
    options: list[Step] = [
        ("task", inner),
        ("gather", inner, beside),
        ("gather", beside, inner),
        ("group", inner, beside),
        ("timeout", random.choice((0, 0.01, 0.3, 5)), inner),
        ("try", inner),
        ("swallow", inner),
        ("finally", inner, beside),
    ]
    return random.choice(options)


def _connections(random: Random) -> Step:
    target, group, data = (random.choice(kind) for kind in (TARGETS, GROUPS, DATA))
    exclude = {"exclude": random.choice(EXCLUDED)} if random.random() < 0.3 else {}
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("send", (target, data), {}),
        ("close", (target,), {}),
        ("info", (target,), {}),
        ("group_add", (group, target), {}),
        ("group_add", ("blue", "OWN"), {}),
        ("group_discard", (group, target), {}),
        ("groups", (target,), {}),
        ("group_members", (group,), {}),
        ("group_send", (group, data), exclude),
        ("group_send", ("blue", "to all"), exclude),
        ("broadcast", (data,), exclude),
    ]
    return ("connections", *random.choice(calls))
