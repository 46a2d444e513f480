"""What runs in a measured process, with the interpreter of either virtualenv.

    python -m benchmarks.measured cold NAME URL FILE
    python -m benchmarks.measured warm NAME URL FILE

NAME is longwire, mangum, or (cold only) app, URL the management API, FILE the SQLite file.

`cold` prints how long it took, in seconds of CPU and of wall time, from before the app is imported
until the first CONNECT is answered; for `app`, until it is imported. `warm` reads a number of
connections from each line of its input, and prints for each kind of event the seconds that one took
on average: all connections connect, then each sends one message, then all disconnect.

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


def make_handler(name: str, url: str, file: str) -> Handler:
    """Import the app and an adapter, and put them together.

    The app has no lifespan, so neither adapter has to look for one; Mangum would do so at every
    event.
    """
    if name == "longwire":
        from benchmarks.app import app
        from longwire import Longwire

        store = {"backend": "sqlite3", "params": {"file_path": file}}
        return Longwire(app, ws_config={**store, "api_gateway_endpoint_url": url}, lifespan="off")

    import asyncio
    import importlib

    from benchmarks.app import app

    # Not by its types: another Mangum, without WebSockets, is installed beside Longwire.
    mangum: Any = importlib.import_module("mangum")
    asyncio.set_event_loop(asyncio.new_event_loop())  # Mangum 0.12.4 expects to find one
    handler: Handler = mangum.Mangum(
        app,
        lifespan="off",
        dsn=f"sqlite://{file}",
        api_gateway_endpoint_url=f"{url}/@connections",
        api_gateway_region_name="eu-west-1",
    )
    return handler


def answer(handler: Handler, kind: str, connection_id: str) -> None:
    response = handler(event(kind, connection_id), None)
    if response != {"statusCode": 200}:
        raise RuntimeError(f"{kind} was answered with {response}")


def cold(name: str, url: str, file: str) -> None:
    # Measured from here: what Python itself needs to start is the same for all.
    cpu, wall = time.process_time(), time.perf_counter()
    if name == "app":
        import benchmarks.app  # noqa: F401 - that it is imported is all
    else:
        answer(make_handler(name, url, file), "CONNECT", f"cold-{os.getpid()}")
    print(time.process_time() - cpu, time.perf_counter() - wall)


def warm(name: str, url: str, file: str) -> None:
    handler = make_handler(name, url, file)
    for number, line in enumerate(sys.stdin):
        ids = [f"{name}-{os.getpid()}-{number}-{client}" for client in range(int(line))]
        figures = []
        for kind in SENT_WITH:
            cpu, wall = time.process_time(), time.perf_counter()
            for connection_id in ids:
                answer(handler, kind, connection_id)
            figures += [time.process_time() - cpu, time.perf_counter() - wall]
        print(*(figure / len(ids) for figure in figures), flush=True)


if __name__ == "__main__":
    (cold if sys.argv[1] == "cold" else warm)(*sys.argv[2:])
