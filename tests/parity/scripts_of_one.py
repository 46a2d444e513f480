"""Scripts for what one framework has and others have not, and all scripts by framework."""

from __future__ import annotations

import json
from typing import Any

from tests.parity import scripts, scripts_remembered
from tests.parity.scripts import CHATS, CLOSED, ODD, Script, say

TOKEN = (("token", "1"),)
TAGS = (("tag", "a"), ("tag", "b"))
ANN = (("user", "ann"),)
EVE = (("user", "eve"),)
HEADERS = {"additional_headers": [("X-One", "1"), ("Cookie", "colour=red")]}
NEW = {"subprotocols": ["graphql-transport-ws"]}
OLD = {"subprotocols": ["graphql-ws"]}
INIT = json.dumps({"type": "connection_init"})
PING = json.dumps({"type": "ping"})


def _token(value: str) -> tuple[tuple[str, str], ...]:
    return (("token", value),)


def form(*texts: str | int | Any, **more: Any) -> Script:
    """Return a script that says these texts in the fields of a form."""
    fields = [
        json.dumps({"msg": one, "HEADERS": {}}) if isinstance(one, str) else one for one in texts
    ]
    return say(*fields, **more)


STARLETTE = {
    "Text": say("a", 1, "", 1),
    "Json": say(1, "1", 1, '{"b": 2}', 1, path="Json/ann"),
    "Json that is none": say(1, "no json", CLOSED, path="Json/ann"),
    "Picky refuses": say(CLOSED, path="Picky"),
    "Picky closes": say("a", 1, "close", CLOSED, path="Picky", query=TOKEN),
    "Picky crashes": say("a", 1, "crash", CLOSED, path="Picky", query=TOKEN),
    "iterate": say("a", 1, "b", 1),
    "iterate_json": say("[]", 1, "null", 1, "no json", CLOSED),
    "send_bytes": say("é", 1),
    "policy": say(CLOSED),
    "policy_later": say("a", 1, CLOSED),
    "forbidden": say(CLOSED),
    "not_found_later": say("a", 1, CLOSED),
    "deny_json": say(CLOSED),
    "deny_after_work": say(CLOSED),
    "session": say("a", 1, "b", 1),
    "in middleware": say("a", 1, "b", 1, path="loud/iterate"),
}

FASTAPI = {
    # Its socket is Starlette's, and so would be its room.
    "room_of_one": say("a", 1, "b", 1, query=(("name", "eve"),)),
    "yields": say("a", 1, "b", 1),
    "yields in a mounted app": say("a", 1, "b", 1, path="sub/side"),
    "allowed": say("a", 1, "b", 1, query=_token("ann")),
    "dependency has a policy": say(CLOSED, path="allowed", query=_token("policy")),
    "dependency has a status": say(CLOSED, path="allowed", query=_token("status")),
    "dependency crashes": say(CLOSED, path="allowed", query=_token("crash")),
    "pages": say("a", 1, "b", 1, query=(("skip", "3"),)),
    "pages of too many": say(CLOSED, path="pages", query=(("limit", "11"),)),
    "key": say("a", 1, query=(("key", "k"),)),
    "key missing": say(CLOSED, path="key"),
    "moves": say('{"x": 1}', 1, '{"x": "one"}', 1, "{", 1, '{"x": 1, "y": 2}', 1),
    "strict moves": say('{"x": 1}', 1, '{"y": 1}', CLOSED, path="moves/strict"),
    "no json": say('{"x": 1}', 1, "{", CLOSED, path="moves/strict"),
    "policy later": say("a", 1, CLOSED, path="policy/later"),
    "teapot": say("a", 1, CLOSED),
    "router": say("a", 1, "b", 1, path="rooms/blue/seats/7", query=TAGS, handshake=HEADERS),
    "router refuses": say(CLOSED, path="rooms/blue/seats/7", query=_token("policy")),
    "no number": say(CLOSED, path="rooms/blue/seats/x"),
    "short room": say(CLOSED, path="rooms/b/seats/7"),
    "no such seat": say(CLOSED, path="rooms/blue/seats"),
}

LITESTAR = {
    "listen silently": say("a", "b", path="listen/silent"),
    "listen": say("a", 1, "", 1, "b", 1),
    "listen in a thread": say("a", 1, "b", 1, path="listen/sync"),
    "listen without one": say("a", 1, "b", 1, path="listen/here"),
    "listen to moves": say('{"x": 1}', 1, '{"x": 1, "y": 2}', 1, path="listen/model"),
    "listen to no move": say('{"x": 1}', 1, '{"y": "z"}', CLOSED, path="listen/model"),
    "listen to no json": say("{", CLOSED, path="listen/model"),
    "listen to json": say('{"a": 1, "b": 2}', 1, "{}", 1, path="listen/json"),
    "listen in a room": say("a", 1, "b", 1, path="rooms/listen/blue", query=TAGS),
    "listen in no room": say(CLOSED, path="rooms/listen/blue"),
    "listen and close": say("a", 2, "close", CLOSED, path="listen/socket"),
    "listen and crash": say("a", 2, "crash", CLOSED, path="listen/socket"),
    "listen after a greeting": say(1, "a", 1, "hello", 1, path="listen/lifespan"),
    "listener": say(1, "a", 1, "welcome", 1),
    "stream of numbers": say(3, CLOSED, path="numbers"),
    "stream that listens": say(3, CLOSED, path="stream/heard"),
    "stream without end": say(5, path="stream/endless", leaves_early=True),
    "stream as an answer": say("a b c", 3, CLOSED, path="stream/answer"),
    "guarded": say("a", 1, CLOSED, query=(("token", "1"),)),
    "guarded refuses": say(CLOSED, path="guarded"),
    "policy": say(CLOSED),
    "policy later": say("a", 1, CLOSED, path="policy/later"),
    "seats": say("1", 1, "[2]", 1, path="seats/7", query=(("limit", "3"),)),
    "no number": say(CLOSED, path="seats/x"),
    "no limit": say(CLOSED, path="seats/7", query=(("limit", "x"),)),
}

QUART = {
    "implicit": say(1, "a", 1, "b", 1),
    "implicit by receiving": say("a", 1, "b", 1, path="implicit/receive"),
    "json": say("[1]", 1, '"b"', 1, query=ANN),
    "no json": say("[1]", 1, "{", CLOSED, path="json"),
    "session": say("a", 1, "b", 1),
    "aborted with 401": say(CLOSED, path="abort/401"),
    "aborted with 503": say(CLOSED, path="abort/503"),
    "answer": say(CLOSED),
    "bytes": say("a", 1, "b", 1),
    "blueprint": say("a", 1, "b", 1, path="rooms/blue/7", query=ANN),
    "blueprint refuses": say(CLOSED, path="rooms/blue/7", query=EVE),
    "no number": say(CLOSED, path="rooms/blue/x"),
}

CHANNELS = {
    "Async": say(1, "a", 1, "", 1, ODD, 1, handshake=CHATS),
    "in a room": say(1, "a", 1, "b", 1, path="rooms/blue/7"),
    "in no room": say(CLOSED, path="rooms/blue/x"),
    "close": say(1, "a", 1, "close", 1, CLOSED, path="Async"),
    "crash": say(1, "a", 1, "crash", CLOSED, path="Async"),
    "stop": say(1, "a", 1, "stop", CLOSED, path="Async"),
    "bytes": say(1, "bytes", 1, path="Async"),
    "later": say(1, "later", 1, "later", 1, path="Async"),
    "task": say(1, "task", 1, "task", 1, path="Async"),
    "last words": say(1, "last words", 1, CLOSED, path="Async"),
    "Sync": say(1, "a", 3, "b", 3),
    "close in a thread": say(1, "a", 3, "close", CLOSED, path="Sync"),
    "crash in a thread": say(1, "a", 3, "crash", CLOSED, path="Sync"),
    "Json": say("[1]", 1, '{"a": null}', 1),
    "no json": say("[1]", 1, "{", CLOSED, path="Json"),
    "SyncJson": say("[1]", 1, '{"a": null}', 1),
    "Silent": say("a", "b"),
    "Deny": say(CLOSED),
    "Deny slowly": say(CLOSED, path="Deny", query=(("slow", "1"),)),
    "Accept": say("a", 1, "b", 1),
    "CloseFirst": say(CLOSED),
    "CloseAfterAccept": say(1, CLOSED),
    "Crash": say(CLOSED),
    "Layer": say("a", 1, "b", 1),
    "Group": say("a", 1, "b", 1, query=(("room", "blue"),)),
    "Feed": say(3, CLOSED),
    "TaskFeed": say(3, CLOSED),
    "middleware": say("a", 1, "b", 1, path="ForUser"),
}

SANIC = {
    "rooms": say("a", 1, "b", 1, path="rooms/blue/7", handshake=CHATS),
    "rooms refuse": say(CLOSED, path="rooms/blue/7", query=EVE),
    "no number": say(CLOSED, path="rooms/blue/x"),
}

FALCON = {
    "media": say("[1]", 1, '{"a": null}', 1, path="media/7"),
    "no media": say("[1]", 1, "{", CLOSED, path="media/7"),
    "refuse 403": say(CLOSED, path="refuse/403"),
    "refuse 429": say(CLOSED, path="refuse/429"),
    "late": say("a", 1, CLOSED),
    "no websocket here": say(CLOSED, path="nothing"),
    "no number": say(CLOSED, path="media/x"),
}

BLACKSHEEP = {
    "rooms": say("[1]", 1, '{"a": null}', 1, path="rooms/blue/7"),
    "no json": say("[1]", 1, "{", CLOSED, path="rooms/blue/7"),
    "no number": say(CLOSED, path="rooms/blue/x"),
    "unauthorized": say(CLOSED),
}

FASTHTML = {
    "shout": form("a", 1, "<b>", 1),
    "send": form("a", 2, "b", 2),
    "greet": form(1, "a", 1, "b", 1),
    "greet twice": say('{"msg": "a", "n": 2}', 2, path="greet"),
    "thread": form("a", 1, "b", 1),
    "silent": form("a", "b"),
    "crash": form("a", 1, "value", 1, "a", 1, "other", CLOSED),
    "request": form("a", 1, "b", 1, query=(("room", "blue"),)),
    "field missing": say("{}", 1, path="shout"),
    "no json": say("{", 1, path="shout"),
    "no list": say("[]", CLOSED, path="shout"),
    "nowhere": say(CLOSED),
}

GRAPHQL = {
    "init": say(INIT, 1, path="", handshake=NEW),
    "ping": say(PING, 1, PING, 1, path="", handshake=NEW),
    "init and ping": say(INIT, 1, PING, 1, path="", handshake=NEW),
    "no such type": say('{"type": "none"}', CLOSED, path="", handshake=NEW),
    "no json": say("{", CLOSED, path="", handshake=NEW),
    "subscribed too early": say(
        json.dumps({"id": "1", "type": "subscribe", "payload": {"query": "{ hello }"}}),
        CLOSED,
        path="",
        handshake=NEW,
    ),
    "no init": say(CLOSED, path="impatient", handshake=NEW),
    "init in time": say(INIT, 1, path="impatient", handshake=NEW),
    "old init": say('{"type": "connection_init"}', 1, path="", handshake=OLD),
    "old end": say('{"type": "connection_terminate"}', CLOSED, path="", handshake=OLD),
    "no protocol": say(CLOSED, path=""),
}

COMMON = scripts.COMMON | scripts_remembered.COMMON

# Sanic answers the handshake before its handlers run, and their `close` does nothing.
NOT_OF_SANIC = {"choose", "refuse", "refuse_slowly", "crash_first"}
NOT_OF_SANIC |= {"close_by_task", "stream_and_close"} | scripts_remembered.NOT_OF_SANIC

# By the names of the modules in `frameworks/`.
BY_FRAMEWORK: dict[str, dict[str, Script]] = {
    "plain": COMMON,
    "starlettes": COMMON | STARLETTE,
    "fastapis": COMMON | FASTAPI,
    "litestars": COMMON | LITESTAR,
    "quarts": COMMON | QUART,
    "django_channels": CHANNELS,
    "sanics": {n: one for n, one in COMMON.items() if not {n, one.path} & NOT_OF_SANIC} | SANIC,
    "falcons": COMMON | FALCON,
    "blacksheeps": COMMON | BLACKSHEEP,
    "fasthtmls": FASTHTML,
    "strawberries": GRAPHQL,
    "ariadnes": GRAPHQL,
}
for _module, _scripts in scripts_remembered.OF_ONE.items():
    BY_FRAMEWORK[_module] = BY_FRAMEWORK[_module] | _scripts
