"""A measured process that runs the app, with the interpreter of either virtualenv.

    python -m benchmarks.measured cold NAME ARGUMENTS
    python -m benchmarks.measured warm NAME ARGUMENTS

NAME is longwire, floor or mangum, and ARGUMENTS, in JSON, are what the adapter is made with.

`cold` prints the seconds of CPU and of wall time from before the app is imported until the first
CONNECT is answered. Three more names have nothing to answer: `app` imports the app, `asyncio` just
asyncio and ssl, and `construct` makes a Longwire around an app that imports nothing.

`warm` reads lines such as "MESSAGE 10": so many clients, always the same ones, then send an event
of this kind, one after the other. It prints the seconds that one event took on average. Orders that
differ by what follows a hyphen, as "MESSAGE-first", are told apart by who gives them; before each
event of "MESSAGE-paused" the process sleeps.

CPU is that of the whole process, threads included.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

# A cold start would not pay for what this module has already imported: so nothing more up here.
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[dict[str, Any], object], Any]

HOST = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
HEADERS = {
    "Host": HOST,
    "Origin": "https://app.example.com",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/146.0",
    "X-Amzn-Trace-Id": "Root=1-6731ebfc-08e1e656421db73c5d2eef31",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https",
}
SENT_WITH: dict[str, dict[str, Any]] = {
    "CONNECT": {
        "headers": HEADERS,
        "multiValueHeaders": {name: [value] for name, value in HEADERS.items()},
    },
    "MESSAGE": {"body": '{"action":"chat","text":"hi"}'},
    "DISCONNECT": {"headers": {"Host": HOST}, "multiValueHeaders": {"Host": [HOST]}},
}
# Between events, as on Lambda: caches are cold then, and who waits has to be woken.
PAUSED, PAUSE = "paused", 0.002  # seconds
ROUTES = {"CONNECT": "$connect", "MESSAGE": "$default", "DISCONNECT": "$disconnect"}


def event(kind: str, connection_id: str) -> dict[str, Any]:
    """Make an event as API Gateway sends it."""
    context: dict[str, Any] = {
        "routeKey": ROUTES[kind],
        "eventType": kind,
        "extendedRequestId": "QWEaVtH2IAMFZEQ=",
        "requestTime": "11/Nov/2025:13:45:46 +0000",
        "messageDirection": "IN",
        "stage": "prod",
        "connectedAt": 1762868735513,
        "requestTimeEpoch": 1762868746514,
        "identity": {"userAgent": HEADERS["User-Agent"], "sourceIp": "203.0.113.7"},
        "requestId": "QWEaVtH2IAMFZEQ=",
        "domainName": HOST,
        "connectionId": connection_id,
        "apiId": "a1b2c3d4e5",
    }
    if kind == "DISCONNECT":
        context |= {"disconnectStatusCode": 1001, "disconnectReason": ""}
    return {**SENT_WITH[kind], "requestContext": context, "isBase64Encoded": False}


def make_handler(name: str, arguments: str) -> Handler:
    """Import the app and an adapter, and put them together.

    The app has no lifespan, so neither adapter has to look for one; Mangum would do so at every
    event.
    """
    import json

    from benchmarks.app import app

    if name == "longwire":
        from longwire import Longwire

        return Longwire(app, lifespan="off", **json.loads(arguments))
    if name == "floor":
        from benchmarks.floor.handler import FloorHandler

        return FloorHandler(app, lifespan="off", **json.loads(arguments))

    import asyncio
    import importlib

    # Not by its types: another Mangum, without WebSockets, is installed beside Longwire.
    mangum: Any = importlib.import_module("mangum")
    asyncio.set_event_loop(asyncio.new_event_loop())  # Mangum 0.12.4 expects to find one
    handler: Handler = mangum.Mangum(app, lifespan="off", **json.loads(arguments))
    return handler


def answer(handler: Handler, kind: str, connection_id: str) -> None:
    response = handler(event(kind, connection_id), None)
    if response != {"statusCode": 200}:
        raise RuntimeError(f"{kind} was answered with {response}")


def construct(arguments: str) -> None:
    import json

    from longwire import Longwire

    async def app(scope: object, receive: object, send: object) -> None: ...

    Longwire(app, lifespan="off", **json.loads(arguments))


def cold(name: str, arguments: str) -> None:
    # Measured from here: what Python itself needs to start is the same for all.
    cpu, wall = time.process_time(), time.perf_counter()
    if name == "app":
        import benchmarks.app  # noqa: F401 - that it is imported is all
    elif name == "asyncio":
        import asyncio  # noqa: F401
        import ssl  # noqa: F401
    elif name == "construct":
        construct(arguments)
    else:
        answer(make_handler(name, arguments), "CONNECT", f"cold-{os.getpid()}")
    print(time.process_time() - cpu, time.perf_counter() - wall)


def warm(name: str, arguments: str) -> None:
    handler = make_handler(name, arguments)

    def perform(kind: str, clients: int) -> None:
        kind, _, how = kind.partition("-")
        for client in range(clients):
            if how == PAUSED:
                time.sleep(PAUSE)
            answer(handler, kind, f"{name}-{os.getpid()}-{client}")

    time_orders(perform)


def time_orders(perform: Callable[[str, int], None]) -> None:
    """Do what each line of the input says, so many times; print what once took."""
    for line in sys.stdin:
        what, times = line.split()
        cpu, wall = time.process_time(), time.perf_counter()
        perform(what, int(times))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(cpu / int(times), wall / int(times), flush=True)


if __name__ == "__main__":
    (cold if sys.argv[1] == "cold" else warm)(*sys.argv[2:])
