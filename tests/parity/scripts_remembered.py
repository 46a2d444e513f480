"""Scripts for endpoints that remember what they were told, which needs `replay`."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.parity.scripts import CHATS, CLOSED, ODD, WORDS, Script, Until, say

ACK = json.dumps({"type": "connection_init"})
SUBSCRIBE = [json.dumps({"type": "subscribe", "id": name}) for name in "ab"]


def call(method: str, number: int | None = None, **params: object) -> str:
    """Return a call of JSON-RPC."""
    asked = {"jsonrpc": "2.0", "method": method, "params": params}
    return json.dumps(asked if number is None else {**asked, "id": number})


INITIALIZE = call("initialize", 1, protocolVersion="2025-06-18", clientInfo={"name": "ann"})
TOOL = call("tools/call", 2, name="search")

ALONE = {
    "count": say("a", 1, "b", 1, "c", 1),
    "count after a silence": say("a", 1, 0.3, "b", 1, 1.2, "c", 1, path="count"),
    "count a burst": say(*[str(n) for n in range(20)], 20, path="count", ordered=False),
    "count bursts": say(*"abc", 3, *"defg", 4, path="count", ordered=False),
    "count fifty": say(*[step for n in range(50) for step in (str(n), 1)], path="count"),
    "count_from": say(1, "a", 1, "b", 1, handshake=CHATS),
    "history": say("a", 1, ODD, 1, "", 1, "b", 1),
    "last_three": say("a", 1, "b", 1, "c", 1, "d", 1),
    "sizes": say("é" * 15_000, 1, "x" * 100_000, 1, "b", 1, "\0" * 32_000, 1),
    "log_in": say("I am ann", 1, "a", 1, "b", 1),
    "log_in, refused": say("a", CLOSED, path="log_in"),
    "log_in_soon": say("ann", 0.1, "a", 1, 2.2, "b", 1),
    "log_in_soon, too late": say(CLOSED, path="log_in_soon"),
    "log_in_and_out": say("x", 1, "secret", 1, "new", 1, "out", 1, "secret", 1, "new", 1),
    "log_in_and_out, refused": say("a", 1, "b", 1, "c", CLOSED, path="log_in_and_out"),
    "begin_first": say(ACK, 1, SUBSCRIBE[0], 1, SUBSCRIBE[1], 1, SUBSCRIBE[0], CLOSED),
    "begin_first, twice": say(ACK, 1, SUBSCRIBE[0], 1, ACK, CLOSED, path="begin_first"),
    "begin_first, not": say(SUBSCRIBE[0], CLOSED, path="begin_first"),
    "json_rpc": say(
        *(TOOL, 1, INITIALIZE, 1, call("initialized"), TOOL, 1, call("none", 3), 1, TOOL, 1),
        *(call("exit"), CLOSED),
    ),
    "quiz": say(1, "2", 1, "5", 1, "9", 1, CLOSED),
    "quiz, left": say(1, "2", 1, "4", 1, path="quiz"),
    "cart": say("add tea", 1, "add tea", 1, "add jam", 1, "remove jam", 1, "remove jam", 1, "?", 1),
    "wizard": say(1, "ann", 1, "old", 2, "older", 2, "7", 1, "yes", 1, CLOSED),
    "wizard, refused": say(1, "ann", 1, "7", 1, "no", CLOSED, path="wizard"),
    "guess": say("50", 1, "42", 1, "1", 1, "20", 1, "42", 1),
    "calculate": say("1", 1, "x", 1, "2", 1, "+", 1, "+", 1, "5", 1),
    "crash_third": say("a", 1, "b", 1, "c", CLOSED),
    "close_third": say("a", 1, "b", 1, "c", 1, CLOSED),
    "return_third": say("a", 0.2, "b", 0.2, "c", 1, CLOSED, ordered=False),
    "by_generator": say("1", 1, "2", 1, "6", 1),
    "by_pages": say("2", 1, "3", 1, "1", 1),
    "by_variable": say("a", 1, "I am ann", 1, "b", 1, "I am eve", 1, "c", 1),
    "by_contexts": say("a", 1, "b", 1, "close", 1, "c", 1, "close", 1),
    "busily": say("a", 1, "b", "c", 2, "d", 1, ordered=False),
    "busily, all at once": say(*"abcdef", 6, path="busily", ordered=False),
    "in_threads": say("a", 1, "b", 1, "c", 1),
    "streams": say(WORDS, 4, "one", 1, WORDS, 2, "and more", 4),
    "farewell": say("a", 1, "b", 1, heard=1),
    "farewell of one that crashes": say("a", 1, "crash", 1, CLOSED, path="farewell", heard=1),
    "farewell of one that closes": say("b", 1, "close", 1, CLOSED, path="farewell", heard=1),
    "farewell to the silent": say(path="farewell", heard=1),
}
TOGETHER = {
    "sum_by_queue": say("1", 1, "2", 1, "3", 1),
    "sum_by_queue, at once": say("1", "1", "1", 3, "1", 1, path="sum_by_queue", ordered=False),
    "sum_by_task_group": say("1", 1, "2", 1, "-1", CLOSED),
    "sum_by_anyio": say("1", 1, "2", 1, "3", 1),
    "count_by_race": say("a", 1, "b", 1, "c", 1),
    "subscriptions": say(
        *("subscribe a", 1, "publish x", 1, "subscribe b", 1, "publish y", 2, "unsubscribe a", 1),
        *("publish z", 1, "subscribe a", 1, "publish x", 2),
    ),
    "streams_with_ids": say("start a 3", 4, "start b 2", 3, "names", 1),
    "streams_with_ids, stopped": say(
        *("start a 500", 2, "stop a", Until("a stopped"), "names", 1, "start b 2", 3),
        path="streams_with_ids",
    ),
    "stream_until_stop": say(
        *("begin", 3, "stop", Until("stopped"), "begin", 2, "stop", Until("stopped"), "stop", 1)
    ),
    "stream_until_stop, after a while": say(
        *("begin", 3, 2.5, "stop", Until("stopped"), 1.0, "begin", 2, "stop", Until("stopped")),
        path="stream_until_stop",
    ),
    "farewell_to_stream": say("a", 3, heard=1, leaves_early=True),
    "farewell_to_feed": say(3, heard=1, leaves_early=True),
    "answers": say(1, "0 yes", 2, "1 no", 2, "2 who knows", 1, CLOSED),
    "one_job_at_a_time": say("a", 1, "b", 2, "c", 2),
    "wait_for_all": say("a", 1, "b", 1, "go", 2, "c", 1, "go", 1),
    "turns": say("", 1, "", 1, "", 1),
    "nudge": say("a", 1, 1, "b", 1, "c", 1, 1, "d", 1, "e", 1),
    "nudge, and nothing said": say(1, "a", 1, 0.1, "b", 1, path="nudge"),
    "idle_end": say("a", 1, "b", 1, 1, CLOSED),
    "idle_end, at once": say(1, CLOSED, path="idle_end"),
    "ticks": say("a", 1, 2.2, "b", 1, 1.2, "c", 1),
    "reminders": say("remind 0.2 tea", 1, 1, "?", 1, "remind 1 jam", 1, "?", 1, 1, "?", 1),
    "debounce": say("a", "b", 1, "c", 1, 0.1, "d", 1, ordered=False),
    "by_scope": say("a", 1, 1, "b", 1, "c", 1),
}
# Sanic's `close` does nothing under ASGI, and who closes goes on to listen.
NOT_OF_SANIC = {"answers"}

STARLETTE = {
    "Counter": say("a", 1, "b", 1, "c", 1, heard=1),
    "Counter, left at once": say(path="Counter", heard=1),
    "Basket": say('{"a": 1}', 1, "[]", 1, '"pay"', CLOSED),
    "Basket, no json": say("1", 1, "{", CLOSED, path="Basket"),
    "count_in_state": say("a", 1, "b", 1, "c", 1),
    "count_in_session": say("a", 1, "b", 1, "a", 1),
    "numbered": say("a", 1, "b", 1, path="numbered/iterate"),
}
FASTAPI = {
    "rows": say("a", 1, "b", 1, "c", 1, heard=2),
    "rows and a crash": say("a", 1, "b", 1, "crash", CLOSED, path="rows", heard=1),
    "basket": say("a", 1, "b", 1, "c", 1, CLOSED, query=(("size", "3"),)),
    "kept moves": say('{"x": 1}', 1, "{", 1, '{"x": 2, "y": 3}', 1, path="moves/kept"),
}
LITESTAR = {
    "remembering": say("a", 1, "b", 1, "c", 1, heard=1),
    "counted": say("a", 1, "b", 1, path="listen/counted", heard=1),
    "counted and a crash": say("a", 1, "crash", CLOSED, path="listen/counted", heard=1),
    "streams kept": say("a", 3, "b", 3, "c", 3, path="streams/kept"),
}
QUART = {"remember": say("a", 1, "b", 1, "c", 1, query=(("user", "ann"),), heard=2)}
CHANNELS = {
    "Kept": say("a", 1, "b", 1, "c", 1, heard=1),
    "Kept and closed": say("a", 1, "close", 1, CLOSED, path="Kept", heard=1),
    "SyncKept": say("a", 1, "b", 1, "c", 1, heard=1),
    "SyncKept and crashed": say("a", 1, "crash", CLOSED, path="SyncKept"),
    "Form": say(1, '"ann"', 1, "7", 1, CLOSED),
    "KeptTask": say("a", 1, "b", 1, "c", 1),
    "KeptLayer": say("a", 1, "b", 1, "c", 1),
}
FALCON = {"kept": say("[1]", 1, '{"a": null}', 1, "2", 1, heard=1)}
SANIC = {"kept": say("a", 1, "b", 1, "c", 1)}
BLACKSHEEP = {"kept": say("[1]", 1, '{"a": null}', 1, "2", 1)}
FASTHTML = {
    "cart": say(*[step for one in "abc" for step in (json.dumps({"msg": one}), 1)], heard=1)
}


def _subscribe(name: str, query: str) -> str:
    return json.dumps({"id": name, "type": "subscribe", "payload": {"query": query}})


_COUNT, _TICK = "subscription { count(to: 3) }", "subscription { tick }"
_NEW = {"subprotocols": ["graphql-transport-ws"]}
GRAPHQL = {
    "query": say(ACK, 1, _subscribe("a", "{ hello }"), 2, path="", handshake=_NEW),
    "subscription": say(
        *(ACK, 1, _subscribe("a", _COUNT), 4, _subscribe("b", "{ hello }"), 2),
        *(_subscribe("a", _COUNT), 4),
        path="",
        handshake=_NEW,
    ),
    "subscription, completed": say(
        *(ACK, 1, _subscribe("a", _TICK), 2, json.dumps({"id": "a", "type": "complete"}), 0.5),
        *(_subscribe("b", _COUNT), Until('{"id": "b", "type": "complete"}')),
        path="",
        handshake=_NEW,
    ),
    "subscription, twice": say(
        *(ACK, 1, _subscribe("a", _TICK), 1, _subscribe("a", _TICK), Until("never")),
        path="",
        handshake=_NEW,
    ),
    "init twice": say(ACK, 1, ACK, CLOSED, path="", handshake=_NEW),
}


def remembered(scripts: dict[str, Script]) -> dict[str, Script]:
    return {name: replace(script, remembers=True) for name, script in scripts.items()}


COMMON = remembered(ALONE | TOGETHER)
OF_ONE = {
    "starlettes": remembered(STARLETTE),
    "fastapis": remembered(FASTAPI),
    "litestars": remembered(LITESTAR),
    "quarts": remembered(QUART),
    "django_channels": remembered(CHANNELS),
    "sanics": remembered(SANIC),
    "falcons": remembered(FALCON),
    "blacksheeps": remembered(BLACKSHEEP),
    "fasthtmls": remembered(FASTHTML),
    "strawberries": remembered(GRAPHQL),
    "ariadnes": remembered(GRAPHQL),
}
