"""What clients say to endpoints, and how many frames they then wait for.

Here are the scripts for the endpoints that many frameworks have; `scripts_of_one.py` has those for
what only one of them has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Closed:
    """Wait for the end, and note what comes before it."""


CLOSED = Closed()


@dataclass(frozen=True)
class Until:
    """Wait for a frame that begins so; only this one is noted."""

    text: str


# Something said, a number of frames to wait for, seconds of silence, or the end.
Step = str | int | float | Until | Closed


@dataclass(frozen=True)
class Script:
    """One client's side of a conversation.

    Attributes:
        path: below that of the framework; by default the conversation's own name.
        leaves_early: the app goes on sending: what comes while the client leaves is not compared.
        ordered: its messages are handled one after the other, also where each is invoked at once.
        remembers: its app keeps what it was told, which it does with `replay` only.
        heard: how many lines its app writes when it is left.
    """

    steps: tuple[Step, ...]
    path: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    leaves_early: bool = False
    ordered: bool = True
    remembers: bool = False
    heard: int = 0
    handshake: dict[str, Any] = field(default_factory=dict)


def say(*steps: Step, **more: Any) -> Script:
    """Return a script."""
    return Script(steps, **more)


ODD = "😀 e\u0301 \u0000 \u2028 \ud7ff"
QUERY = (("tag", "b"), ("tag", "a"), ("odd", "a b&c=d+e/%41é"), ("empty", ""))
HEADERS = [("X-One", "1"), ("X-Odd", "a;b ,="), ("Cookie", "a=b; c=d")]
CHATS = {"subprotocols": ["chat.v1", "chat.v2"]}
WORDS = "the quick brown fox"

SIMPLE = {
    "echo": say("a", 1, "b", 1),
    "nothing said": say(path="echo"),
    "odd text": say("", 1, ODD, 1, " ", 1, path="echo"),
    "large": say("30000", 1, "100000", 1),
    "large message": say("é" * 15_000, 1, "x" * 32_000, 1, path="echo"),
    "several": say("3", 3, "0", "1", 1, "10", 10),
    "burst": say(*[str(n) for n in range(20)], 20, path="echo", ordered=False),
    "as_json": say('{"a": [1, null]}', 1, "no json", 1, '"b"', 1),
    "greet": say(2, "a", 1, "hello", 1),
    "greet_slowly": say(2, "one", 1, "two", 1),
    "greeting not waited for": say("a", 3, path="greet"),
    "greet_and_leave": say(2, CLOSED),
    "choose": say(1, "a", 1, handshake=CHATS),
    "choose none": say(1, "a", 1, path="choose", handshake={"subprotocols": ["other"]}),
    "describe": say(1, "a", 1, query=QUERY, handshake={"additional_headers": HEADERS}),
    "describe nothing": say(1, "a", 1, path="describe"),
    "refuse": say(CLOSED),
    "refuse_slowly": say(CLOSED),
    "nowhere": say(CLOSED, path="no/such/path"),
    "crash_first": say(CLOSED),
    "crash_accepted": say(CLOSED),
    "crash_greeting": say(1, CLOSED),
    "crash_asked": say("1", 1, "2", 1, "0", CLOSED),
    "return_accepted": say(CLOSED),
    "return_asked": say("a", 1, CLOSED),
    "return_silently": say("a", CLOSED),
    "close_accepted": say(CLOSED),
    "close_asked": say("a", 1, "bye", 2, CLOSED),
    "room_of_one": say("a", 1, "b", 1, query=(("name", "ann"),)),
    "in_context": say("a", 1, "b", 1),
    "context_for_each": say("a", 1, "b", 1),
}
LOOKS = ["by_wait_for", "by_timeout", "by_scope", "by_wait"]
FEEDS = {
    "feed": say(5, CLOSED),
    "feed_slowly": say(5, CLOSED),
    "feed_and_return": say(3, CLOSED),
    "feed_endlessly": say(5, leaves_early=True),
    "feed_then_listen": say(3, "a", 1, "b", 1),
    "feed, and spoken to": say(1, "a", "b", 4, CLOSED, path="feed_slowly"),
    "stream": say(WORDS, 5, "one", 2, "", 1),
    "stream_once": say(WORDS, 4, CLOSED),
    "generate": say("a", 1, "b", 1),
    "login": say("ann", 1, CLOSED),
    "login too late": say(CLOSED, path="login"),
    "idle": say("a", 1, "b", 1),
    **{f"poll_{look}": say(3, CLOSED) for look in LOOKS},
    **{f"poll_asked_{look}": say("a", 3, CLOSED) for look in LOOKS},
}
WORKING = {
    "greet_by_task": say(1, "a", 1, "hello", 1),
    "greet_later": say(2, "a", 1, "hello", 1),
    **{
        name: say(1, "a", 1, "b", 1, "ready", 1)
        for name in ("by_queue", "by_gather", "by_task_group")
    },
    "by_anyio": say("a", 1, "b", 1),
    "by_race": say("a", 1, "b", 1),
    "by_event": say("a", 1, "b", 1),
    "by_worker": say("a", 1, "b", 1),
    "fire_and_forget": say("a", 1, "b", 1),
    "call_later": say("a", 1, "b", 1),
    "timer_while_blocked": say("a", 1, "b", 1),
    "by_callbacks": say("a", 1, "b", 1),
    "task_for_each": say("a", 2, "b", 2),
    "in_thread": say("a", 1, "b", 1),
    "in_executor": say("a", 1, "b", 1),
    "from_thread": say("a", 3, "b", 3),
    "as_completed": say("3 1 2", 3, "2 0", 2),
    "time_limit": say("0", 1, "60", 1),
    "cancelled_job": say("a", 3, "b", 3),
    "heartbeat": say("a", 1, "b", 1),
    "ticker": say(5, leaves_early=True),
    "crash_of_task": say("a", 1, "b", 1),
    "crash_in_group": say("a", 1, "crash", 1, CLOSED),
    "crash_in_anyio": say("a", 1, "crash", 1, CLOSED),
    "cancel_oneself": say("a", 1, "stop", 2, CLOSED),
    "close_by_task": say("a", 1, CLOSED),
    "stream_and_close": say(3, CLOSED),
    "stream_to_end": say(4, CLOSED),
}
COMMON: dict[str, Script] = {**SIMPLE, **FEEDS, **WORKING}
