"""A session asks the authorizer before the function."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from longwire.cli.console import event_line
from longwire.local.function.inline import ThreadFunction
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from tests.local.fakes import (
    Event,
    RecordingFunction,
    authorizer_answer,
    handshake,
    raw_connection,
)

if TYPE_CHECKING:
    from longwire.local.invoking import HandledEvent

pytestmark = pytest.mark.anyio


LOCAL_ARN = "arn:aws:execute-api:us-east-1:000000000000:local/local/$connect"


class RecordingAuthorizer:
    """A Lambda authorizer that keeps its events and answers, or raises, what it is told to."""

    def __init__(self, result: object) -> None:
        self.events: list[Event] = []
        self.result = result

    async def __call__(self, event: Event, context: Any) -> object:
        self.events.append(json.loads(json.dumps(event)))
        event["requestContext"].clear()  # it is its own
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def refused(gateway: LocalGateway, query: str = "") -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"{gateway.url}/{query}"):
            pytest.fail("it was accepted")
    return caught.value.response.status_code


async def test_the_context_is_in_every_event() -> None:
    """CONNECT has the latency beside it, the others have it not."""
    function = RecordingFunction()
    authorizer = RecordingAuthorizer(
        authorizer_answer(context={"tenant": "acme", "level": 3, "admin": True})
    )
    async with LocalGateway(function, authorizer=authorizer) as gateway:
        async with connect(f"{gateway.url}/?token=t") as client:
            await client.send("x")
            await function.wait_for("MESSAGE")
        await function.wait_for("DISCONNECT")
    connected, *later = (event["requestContext"]["authorizer"] for event in function.events)
    latency = connected.pop("integrationLatency")
    assert type(latency) is int
    assert 0 <= latency < 10_000
    context = {"principalId": "user-42", "tenant": "acme", "level": "3", "admin": "true"}
    assert [connected, *later] == [context, context, context]
    # Both were asked about the same request.
    (asked,) = authorizer.events
    assert asked["methodArn"] == LOCAL_ARN
    assert asked["queryStringParameters"] == {"token": "t"}
    own = {"authorizer": connected}
    assert asked["requestContext"] | own == function.events[0]["requestContext"]
    assert "Connection" not in function.events[0]["headers"]


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (Exception("Unauthorized"), 401),
        (authorizer_answer("Deny"), 403),
        (authorizer_answer(resource="arn:other"), 403),
        (ValueError("broken"), 500),
        (None, 500),
        (authorizer_answer(context={"a": {}}), 500),
    ],
)
async def test_a_refused_client_never_reaches_the_function(result: object, status: int) -> None:
    """It gets the status, and its connection is forgotten."""
    function = RecordingFunction()
    authorizer = RecordingAuthorizer(result)
    async with LocalGateway(function, authorizer=authorizer) as gateway:
        assert await refused(gateway) == status
        assert gateway.rules.connections == {}
        assert gateway.clients == 0
    assert len(authorizer.events) == 1
    assert function.events == []


async def test_without_its_identity_source_nobody_is_asked() -> None:
    """The client gets 401; with it, the authorizer decides."""
    settings = GatewaySettings(identity_sources=["route.request.querystring.token"])
    authorizer = RecordingAuthorizer(authorizer_answer("Deny"))
    async with LocalGateway(RecordingFunction(), settings, authorizer=authorizer) as gateway:
        assert await refused(gateway) == 401
        assert await refused(gateway, "?token=") == 401
        assert authorizer.events == []
        assert await refused(gateway, "?token=t") == 403


async def test_it_is_asked_without_an_integration_too() -> None:
    """A $connect route may have an authorizer and no function behind it."""
    settings = GatewaySettings(routes=frozenset({"$default"}))
    function, authorizer = RecordingFunction(), RecordingAuthorizer(authorizer_answer("Deny"))
    async with LocalGateway(function, settings, authorizer=authorizer) as gateway:
        assert await refused(gateway) == 403
        authorizer.result = authorizer_answer()
        async with connect(gateway.url) as client:
            await client.send("x")
            event = await function.wait_for("MESSAGE")
    assert event["requestContext"]["authorizer"] == {"principalId": "user-42"}


async def test_a_client_that_leaves_meanwhile_is_reported() -> None:
    """The function hears of its coming and of its end, with the context."""
    asked, release = asyncio.Event(), asyncio.Event()

    async def authorize(event: Event, context: Any) -> object:
        asked.set()
        await release.wait()
        return authorizer_answer()

    function = RecordingFunction()
    async with LocalGateway(function, authorizer=authorize) as gateway:
        async with raw_connection(gateway.url) as (_, writer):
            writer.write(handshake())
            await asked.wait()
        release.set()
        event = await function.wait_for("DISCONNECT")
    assert function.types() == ["CONNECT", "DISCONNECT"]
    assert event["requestContext"]["authorizer"] == {"principalId": "user-42"}


async def test_an_authorizer_may_block() -> None:
    """Two that wait for each other both end: a synchronous one has a thread for each client."""
    both = threading.Barrier(2, timeout=10)

    def block(event: Event, context: Any) -> object:
        both.wait()
        return authorizer_answer()

    async def come(gateway: LocalGateway) -> None:
        async with connect(gateway.url):
            pass

    async with LocalGateway(RecordingFunction(), authorizer=block) as gateway:
        await asyncio.gather(come(gateway), come(gateway))


async def test_an_authorizer_that_blocks_its_own_loop_is_left_behind() -> None:
    """As `longwire dev` runs it, the gateway goes on and answers 500 in time."""
    release = threading.Event()

    async def block(event: Event, context: Any) -> object:
        release.wait(10)
        return authorizer_answer()

    settings = GatewaySettings(authorizer_timeout=0.05)
    async with ThreadFunction(block).running() as authorizer:
        async with LocalGateway(RecordingFunction(), settings, authorizer=authorizer) as gateway:
            try:
                assert await refused(gateway) == 500
            finally:
                release.set()


async def test_the_log_has_errors_but_not_refusals(caplog: pytest.LogCaptureFixture) -> None:
    """A traceback for what the authorizer did not mean to raise."""
    caplog.set_level(logging.DEBUG, "longwire.local")
    authorizer = RecordingAuthorizer(Exception("Unauthorized"))
    async with LocalGateway(RecordingFunction(), authorizer=authorizer) as gateway:
        await refused(gateway)
        assert caplog.records == []
        authorizer.result = ValueError("broken")
        await refused(gateway)
    (record,) = caplog.records
    assert record.getMessage() == "the authorizer raised"
    assert record.exc_info is not None
    assert record.exc_info[1] is authorizer.result


async def test_the_console_says_why() -> None:
    """Without what the client sent."""
    seen: list[HandledEvent] = []
    authorizer = RecordingAuthorizer(authorizer_answer("Deny"))
    async with LocalGateway(
        RecordingFunction(), authorizer=authorizer, observer=seen.append
    ) as gateway:
        await refused(gateway, "?token=secret&path=/secret")
    line = event_line(seen[0], datetime(2025, 11, 11, 13, 45, 46))
    head, _, took = line.partition(", client gets 403  ")
    name = seen[0].event["requestContext"]["connectionId"][:8]
    assert head == f"13:45:46  CONNECT     {name}  $connect     authorizer: Deny"
    assert took.endswith(" ms")
    assert len(seen) == 1
