"""The function that is measured; it is deployed as `main.handler`, without these tests.

The first part of a path names what answers: an app of this module, or the framework whose apps
of tests/parity are there, too.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import threading
import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from longwire import Longwire

# Seconds: between two posts to a new connection, and until it is given up.
_EVERY, _GIVE_UP = 0.005, 20.0


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was said."""
    async for text in _texts(receive, send):
        await _say(send, text)


async def who(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the connection's id."""
    async for _ in _texts(receive, send):
        await _say(send, json.dumps({"connection_id": _id_in(scope["aws.event"])}))


async def timed(scope: Any, receive: Any, send: Any) -> None:
    """Take as long as a message says; answer with when it was begun and done."""
    async for text in _texts(receive, send):
        began, asked = time.time(), json.loads(text)
        await asyncio.sleep(asked["takes"])
        await _say(send, json.dumps({**asked, "began": began, "ended": time.time()}))


async def greet(scope: Any, receive: Any, send: Any) -> None:
    """Greet at once."""
    await receive()
    await send({"type": "websocket.accept"})
    await _say(send, "hello")
    await receive()


async def later(scope: Any, receive: Any, send: Any) -> None:
    """Say something a second after the response."""
    await receive()
    await send({"type": "websocket.accept"})
    await asyncio.sleep(1)
    await _say(send, "later")
    await receive()


async def soon(scope: Any, receive: Any, send: Any) -> None:
    """Post to the connection from before its response until that succeeds, and tell when it did."""
    await receive()
    begun = threading.Event()
    arguments = (scope["aws.event"], begun)
    posting = threading.Thread(target=_post_until_taken, args=arguments, daemon=True)
    posting.start()
    await asyncio.to_thread(begun.wait)
    await send({"type": "websocket.accept"})
    if "AWS_LAMBDA_RUNTIME_API" in os.environ:
        # The environment goes on as long as the app does. Where no extension can be, the response
        # would wait for the app instead; there nothing freezes.
        await asyncio.to_thread(posting.join)
    await receive()


APPS = {app.__name__: app for app in (echo, who, timed, greet, later, soon)}
_parity = os.environ.get("PARITY_FRAMEWORKS")
others: Any = importlib.import_module("tests.parity.frameworks.every").app if _parity else None


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Hand over to the app that the path names."""
    if scope["type"] == "websocket" and (found := APPS.get(scope["path"].split("/")[1])):
        await found(scope, receive, send)
    elif others is not None:
        await others(scope, receive, send)
    elif scope["type"] == "lifespan":
        raise NotImplementedError
    else:
        await receive()
        await send({"type": "websocket.close"})


longwire = Longwire(app)
# When the responses of connections left the handler.
_returned: dict[str, float] = {}


def handler(event: Any, context: Any) -> Any:
    """Serve an event, or keep it from Longwire."""
    if event.get("live") == "unseen":
        return {"seen": False}
    answer = longwire(event, context)
    if event.get("requestContext", {}).get("eventType") == "CONNECT":
        _returned[_id_in(event)] = time.monotonic()
    return answer


async def _texts(receive: Any, send: Any) -> Any:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        yield message["text"]


async def _say(send: Any, text: str) -> None:
    await send({"type": "websocket.send", "text": text})


def _id_in(event: Any) -> str:
    connection_id: str = event["requestContext"]["connectionId"]
    return connection_id


def _post_until_taken(event: Any, begun: threading.Event) -> None:
    """Post until that succeeds or takes too long; then post what came of it."""
    connection_id, client = _id_in(event), _management(event)
    tries: list[tuple[float, int]] = []
    until = time.monotonic() + _GIVE_UP
    while (status := _post(client, connection_id, b"taken")) != 200 and time.monotonic() < until:
        # Those that are like the one before tell nothing.
        if not tries or tries[-1][1] != status:
            tries.append((time.monotonic(), status))
        begun.set()
        time.sleep(_EVERY)
    tries.append((time.monotonic(), status))
    begun.set()
    while connection_id not in _returned and time.monotonic() < until:
        time.sleep(_EVERY)
    returned = _returned.pop(connection_id, until)
    told = [(round(at - returned, 6), status) for at, status in tries]
    _post(client, connection_id, json.dumps({"tries": told}).encode())


def _management(event: Any) -> Any:
    of = event["requestContext"]
    url = os.environ.get("WS_MANAGEMENT_ENDPOINT") or f"https://{of['domainName']}/{of['stage']}"
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=2)
    return boto3.client("apigatewaymanagementapi", endpoint_url=url, config=config)


def _post(client: Any, connection_id: str, data: bytes) -> int:
    try:
        client.post_to_connection(ConnectionId=connection_id, Data=data)
    except ClientError as error:
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status
    except Exception:  # no answer
        return 0
    return 200
