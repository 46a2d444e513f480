"""Requests to the Runtime API and the Extensions API that are mostly refused.

Each is a method, a path, headers and a body. "mine" stands for the identifier of the function's own
second extension, which is registered on the way and waits for its next event from then on.
"""

from __future__ import annotations

from typing import Any

RUNTIME = "/2018-06-01/runtime"
EXTENSION = "/2020-01-01/extension"
NAME = "lambda-extension-name"
IDENTIFIER = "lambda-extension-identifier"
NOBODY = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

Request = list[Any]


def _register(body: str, name: str = "second") -> Request:
    return ["POST", f"{EXTENSION}/register", {NAME: name}, body]


def _next(identifier: str) -> Request:
    return ["GET", f"{EXTENSION}/event/next", {IDENTIFIER: identifier}, None]


AT_IMPORT: dict[str, Request] = {
    "register without a name": ["POST", f"{EXTENSION}/register", {}, "{}"],
    "register with no JSON": _register("{"),
    "register with a list": _register("[]"),
    "register with events that are none": _register('{"events": 1}'),
    "register for SHUTDOWN": _register('{"events": ["INVOKE", "SHUTDOWN"]}'),
    "register for what is unknown": _register('{"events": ["NEWS"]}'),
    "register with a taken name": _register("{}", "longwire"),
    "register without events": _register("{}"),
    "register again": _register("{}"),
    "next without an identifier": ["GET", f"{EXTENSION}/event/next", {}, None],
    "next with what is no UUID": _next("mine-not"),
    "next of nobody": _next(NOBODY),
    "exit without the type of the error": [
        "POST",
        f"{EXTENSION}/exit/error",
        {IDENTIFIER: NOBODY},
        "{}",
    ],
    **{f"register number {n}": _register("{}", f"number{n}") for n in range(3, 12)},
}

IN_AN_EVENT: dict[str, Request] = {
    "register": _register('{"events": ["INVOKE"]}', "late"),
    "next while one waits": _next("mine"),
    "exit of one that waits, without a type": [
        "POST",
        f"{EXTENSION}/exit/error",
        {IDENTIFIER: "mine"},
        "{}",
    ],
    "ping": ["GET", "/2018-06-01/ping", {}, None],
    "telemetry": ["PUT", "/2022-07-01/telemetry", {IDENTIFIER: "mine"}, "{}"],
    "logs": ["PUT", "/2020-08-15/logs", {IDENTIFIER: "mine"}, "{}"],
    "a response to another event": ["POST", f"{RUNTIME}/invocation/{NOBODY}/response", {}, "{}"],
    "an error of another event": ["POST", f"{RUNTIME}/invocation/{NOBODY}/error", {}, "{}"],
    "a wrong method": ["POST", f"{RUNTIME}/invocation/next", {}, "{}"],
    "a wrong method of the extension's": ["GET", f"{EXTENSION}/register", {}, None],
    "a path that is unknown": ["GET", "/2018-06-01/news", {}, None],
}
