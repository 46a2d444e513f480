"""The stacks of `longwire template sam` and `cdk`, deployed to an emulator, and real clients.

Packing and deploying takes its time, so this runs only if asked to: `make deploy-test`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.deploy.tools import asked_for

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from tests.deploy.emulator import Stack

asked_for()
# The first test of each stack deploys it.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
KB = 1024
SWEEP = {"longwire": "sweep", "min_age": 0}


async def _hear(client: ClientConnection) -> str:
    async with asyncio.timeout(30):
        heard = await client.recv()
    assert isinstance(heard, str)
    return heard


def _invoke(stack: Stack, event: dict[str, Any]) -> dict[str, Any]:
    answer = stack.emulator.client("lambda").invoke(
        FunctionName=stack.function, Payload=json.dumps(event).encode()
    )
    payload: dict[str, Any] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


def _diagnose(stack: Stack) -> set[str]:
    """Return the codes of what `longwire doctor --stack` finds."""
    command = [sys.executable, "-m", "longwire", "doctor", "--stack", stack.name, "--json"]
    done = subprocess.run(
        command, env={**os.environ, **stack.emulator.environ}, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return {finding["code"] for finding in json.loads(done.stdout)["findings"]}


def test_the_doctor_finds_nothing(deployed: Stack) -> None:
    """In a stack as it was deployed."""
    assert _diagnose(deployed) == set()


async def test_two_talk_in_a_room(stack: Stack) -> None:
    """Groups reach who is in them, and nobody else; who leaves is told to the others."""
    async with (
        connect(stack.at("/rooms/blue", name="ann")) as ann,
        connect(stack.at("/rooms/red", name="eve")) as eve,
    ):
        async with connect(stack.at("/rooms/blue", name="bob")) as bob:
            assert await _hear(ann) == "bob joined"
            await bob.send("hi")
            assert await _hear(ann) == await _hear(bob) == "bob: hi"
        assert await _hear(ann) == "bob left"
        await eve.send("alone")
        assert await _hear(eve) == "eve: alone"


async def test_an_http_route_sends_to_a_room(stack: Stack) -> None:
    """The HTTP API has the same function, and finds the same connections."""
    async with connect(stack.at("/rooms/green", name="ann")) as ann:
        request = stack.post("/rooms/green", text="by HTTP")
        with await asyncio.to_thread(urllib.request.urlopen, request) as response:
            assert json.load(response) == {"reached": True}
        assert await _hear(ann) == "by HTTP"


async def test_a_sweep_finds_who_is_gone(stack: Stack) -> None:
    """A connection whose `$disconnect` never came; the app is told."""
    apis = stack.emulator.client("apigatewayv2")
    api_id, _ = stack.api("WEBSOCKET")
    routes = {route["RouteKey"]: route for route in apis.get_routes(ApiId=api_id)["Items"]}
    lost = routes["$disconnect"]
    async with connect(stack.at("/rooms/swept", name="ann")) as ann:
        apis.delete_route(ApiId=api_id, RouteId=lost["RouteId"])
        try:
            async with connect(stack.at("/rooms/swept", name="bob")):
                assert await _hear(ann) == "bob joined"
            async with asyncio.timeout(30):
                # The emulator may take a moment to know that he is gone. What it says of ann is not
                # as AWS says it (tests/emulators/differs.py), so she is neither here nor gone.
                while not (await asyncio.to_thread(_invoke, stack, SWEEP))["gone"]:
                    pass
        finally:
            apis.create_route(ApiId=api_id, RouteKey="$disconnect", Target=lost["Target"])
        assert await _hear(ann) == "bob left"


async def test_a_refusal_has_its_status(stack: Stack) -> None:
    """The emulator knows 403 alone, which is what the app says."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(stack.at("/private"))
    assert refused.value.response.status_code == 403


async def test_large_messages_come_whole(stack: Stack) -> None:
    """Both ways; the app is told of one that is too large, and goes on."""
    async with connect(stack.at("/echo")) as client:
        parts = ["y" * 30_000] * 3 + ["y" * 10_000]
        await client.send(parts)
        assert await _hear(client) == "".join(parts)
    async with connect(stack.at("/repeat"), max_size=None) as client:
        for size in (100_000, 128 * KB):
            await client.send(str(size))
            assert await _hear(client) == "x" * size
        await client.send(str(128 * KB + 1))
        assert await _hear(client) == "too large"
        await client.send("3")
        assert await _hear(client) == "xxx"


# What somebody may do to a stack by hand, and what the doctor calls it.


def _no_default_route(stack: Stack) -> None:
    apis = stack.emulator.client("apigatewayv2")
    api_id, _ = stack.api("WEBSOCKET")
    routes = {
        route["RouteKey"]: route["RouteId"] for route in apis.get_routes(ApiId=api_id)["Items"]
    }
    apis.delete_route(ApiId=api_id, RouteId=routes["$default"])


def _short_timeout(stack: Stack) -> None:
    client = stack.emulator.client("lambda")
    client.update_function_configuration(FunctionName=stack.function, Timeout=3)


def _no_ttl(stack: Stack) -> None:
    (table,) = stack.of_type("AWS::DynamoDB::Table")
    specification = {"AttributeName": "expires_at", "Enabled": False}
    stack.emulator.client("dynamodb").update_time_to_live(
        TableName=table, TimeToLiveSpecification=specification
    )


def _all_or_nothing(stack: Stack) -> None:
    client = stack.emulator.client("lambda")
    for mapping in client.list_event_source_mappings(FunctionName=stack.function)[
        "EventSourceMappings"
    ]:
        client.update_event_source_mapping(UUID=mapping["UUID"], FunctionResponseTypes=[])


def _wrong_scheme(stack: Stack) -> None:
    url = stack.management_url.replace("http://", "ws://")
    stack.emulator.client("lambda").update_function_configuration(
        FunctionName=stack.function,
        Environment={"Variables": {**stack.environ(), "WS_MANAGEMENT_ENDPOINT": url}},
    )


BREAK = {
    "route-missing": _no_default_route,
    "timeout-short": _short_timeout,
    "table-ttl": _no_ttl,
    "batch-failures": _all_or_nothing,
    "endpoint-scheme": _wrong_scheme,
}


def test_the_doctor_names_what_is_broken(stack: Stack) -> None:
    """One thing after the other; this is the last test of a stack."""
    known = _diagnose(stack)  # it posts to the emulator, which is not where AWS's API is
    for code, break_it in BREAK.items():
        break_it(stack)
        found = _diagnose(stack)
        assert code in found - known
        known |= found
