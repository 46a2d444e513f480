"""What each function of `longwire new --template routes` may do is what it does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal

from longwire import ConnectionGoneError
from longwire.deploy import project
from longwire_backends.dynamodb import DynamoDBBackend
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event
from tests.servers.aws import aws_keys, moto
from tests.talk import old_record

if TYPE_CHECKING:
    import pytest

    from tests.servers.process import ServerProcess

__all__ = ["aws_keys", "moto"]
FILES = project.files("my-routes", "routes", (3, 13), "1")
FUNCTIONS = {"$connect": "Connect", "$disconnect": "Disconnect", "$default": "Default"}
FUNCTIONS |= {"join": "Join", "say": "Say"}


def _granted(function: str) -> set[str]:
    """Return the actions that the template allows a function."""
    resources = re.split(r"(?m)^  (?=\w+:$)", FILES["template.yaml"])
    (found,) = (one for one in resources if one.startswith(f"{function}Role:"))
    assert f"Role: !GetAtt {function}Role.Arn" in FILES["template.yaml"]
    return set(re.findall(r"(?:dynamodb|execute-api):\w+", found))


def _routed(event: dict[str, Any], route: str) -> dict[str, Any]:
    return {**event, "requestContext": {**event["requestContext"], "routeKey": route}}


def _saying(connection_id: str, route: str, **message: str) -> dict[str, Any]:
    event = message_event(json.dumps({"action": route, **message}), connection_id)
    return _routed(event, route)


def test_each_function_may_do_what_it_does_and_no_more(
    monkeypatch: pytest.MonkeyPatch, aws_keys: None, moto: ServerProcess
) -> None:
    """With a member that is gone, one that is refused, and one that was in no room."""
    done: dict[str, set[str]] = defaultdict(set)
    route = ""
    original = DynamoDBBackend._call

    async def noted(self: Any, operation: str, action: str, *rest: Any, **more: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            done[FUNCTIONS[route]].add(f"dynamodb:{action}")
        return await original(self, operation, action, *rest, **more)

    table = f"dynamodb://routes?region=us-east-1&endpoint_url={moto.url}"
    monkeypatch.setenv("LONGWIRE_DSN", table)
    backend = DynamoDBBackend("routes", region_name="us-east-1", endpoint_url=moto.url)
    asyncio.run(_create(backend))
    monkeypatch.setattr(DynamoDBBackend, "_call", noted)
    names: dict[str, Any] = {}
    exec(FILES["app/main.py"], names)
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(ConnectionsServer()) as server:
            monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", server.url)
            for name in ("ann=", "bob=", "cat="):
                route = "$connect"
                event = connect_event(name, query={"name": [name]})
                assert names["handler"](event, LambdaContext())["statusCode"] == 200
            refused = connect_event("eve=", query={})
            assert names["handler"](refused, LambdaContext())["statusCode"] == 401
            for route, more in (
                ("join", {"room": "blue"}),
                ("join", {}),
                ("say", {"room": "blue", "text": "hello"}),
                ("say", {"room": "red", "text": "hello"}),
                ("$default", {}),
            ):
                for name in ("ann=", "bob="):
                    before = len(server.requests)
                    names["handler"](_saying(name, route, **more), LambdaContext())
                    if len(server.requests) > before:
                        done[FUNCTIONS[route]].add("execute-api:ManageConnections")
            # Who is gone is found by sends, in each function that sends.
            for last, more in (
                ("say", {"room": "blue", "text": "anybody?"}),
                ("join", {"room": "blue"}),
                ("$default", {}),
            ):
                gone = f"{FUNCTIONS[last]}="
                route = "$connect"
                names["handler"](connect_event(gone, query={"name": ["x"]}), LambdaContext())
                route = "join"
                names["handler"](_saying(gone, "join", room="blue"), LambdaContext())
                route = last
                asyncio.run(_grow_old(gone, moto.url))
                server.answers[gone].extend([410] * 20)
                who = "ann=" if route == "say" else gone
                with contextlib.suppress(ConnectionGoneError):
                    names["handler"](_saying(who, route, **more), LambdaContext())
            route = "$disconnect"
            for name in ("ann=", "cat="):
                names["handler"](disconnect_event(name), LambdaContext())
    assert done == {function: _granted(function) for function in FUNCTIONS.values()}


async def _grow_old(connection_id: str, url: str) -> None:
    """So that "gone" cannot mean "new"."""
    backend = DynamoDBBackend("routes", region_name="us-east-1", endpoint_url=url)
    await backend.put(connection_id, old_record(), int(time.time()) + 600)
    await backend.close()


async def _create(backend: DynamoDBBackend) -> None:
    await backend.create()
    await backend.close()
