"""The events of the local gateway, as the models of Powertools for AWS Lambda read them.

Its types were written at AWS for real events; what they take without a loss is what is
there, of the right types and under the right names.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools.utilities.data_classes import (
    APIGatewayProxyEventV2,
    APIGatewayWebSocketEvent,
)
from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayProxyEventV2Model,
    APIGatewayWebSocketConnectEventModel,
    APIGatewayWebSocketDisconnectEventModel,
    APIGatewayWebSocketMessageEventModel,
)
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from longwire.local.rules.events import EventStamp
from longwire.local.rules.http_events import HTTPRequest, http_event
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from tests.local.fakes import Event, RecordingFunction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aws_lambda_powertools.utilities.data_classes.common import DictWrapper
    from pydantic import BaseModel

pytestmark = pytest.mark.anyio

MODELS: dict[str, type[BaseModel]] = {
    "CONNECT": APIGatewayWebSocketConnectEventModel,
    "MESSAGE": APIGatewayWebSocketMessageEventModel,
    "DISCONNECT": APIGatewayWebSocketDisconnectEventModel,
}
# The models make datetimes of them.
TIMES = {("requestContext", "connectedAt"), ("requestContext", "requestTimeEpoch")}
Place = tuple[str, ...]
# What the models do not know.
AUTHORIZER: set[Place] = {
    ("requestContext", "authorizer", name) for name in ("principalId", "plan")
}
QUERY: set[Place] = {
    (parameters, name)
    for parameters in ("queryStringParameters", "multiValueQueryStringParameters")
    for name in ("room", "tag", "empty", "naïve")
}
UNKNOWN: dict[str, set[Place]] = {
    "CONNECT": AUTHORIZER | QUERY | {("requestContext", "authorizer", "integrationLatency")},
    "MESSAGE": AUTHORIZER,
    "DISCONNECT": AUTHORIZER,
}


@pytest.fixture
async def events() -> list[Event]:
    """The events of a rich connection that its client closes, and of one that is lost."""
    function = RecordingFunction()
    async with LocalGateway(function, authorizer=_authorize) as gateway:
        async with connect(
            f"{gateway.url}/?room=blue&tag=a&tag=b&empty=&na%C3%AFve=%F0%9F%8D%95",
            additional_headers=[("X-One", "1"), ("X-One", "2"), ("X-Empty", "")],
            subprotocols=[Subprotocol("a"), Subprotocol("b")],
            user_agent_header="a client",
        ) as client:
            await client.send('{"text": "😀"}')
            await function.wait_for("MESSAGE")
            await client.close(4001, "over")
        await function.wait_for("DISCONNECT")
        async with connect(gateway.url, user_agent_header=None) as client:
            await client.send("no JSON")
            await function.wait_for("MESSAGE", 2)
            client.transport.abort()
            await function.wait_for("DISCONNECT", 2)
    return function.events


async def _authorize(event: Event, context: Any) -> object:
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": event["methodArn"]}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": "ann", "policyDocument": policy, "context": {"plan": 1}}


async def test_the_models_of_the_parser(events: list[Event]) -> None:
    """Each value is read as it is, but for those that the models do not know."""
    assert len(events) == 6
    for event in events:
        kind = event["requestContext"]["eventType"]
        read = MODELS[kind].model_validate_json(json.dumps(event))
        known = dict(_leaves(read.model_dump(by_alias=True, exclude_unset=True)))
        sent = dict(_leaves(event))
        for place in TIMES:
            known[place] = round(known[place].timestamp() * 1000)
        address = ("requestContext", "identity", "sourceIp")
        known[address] = str(known[address]).removesuffix("/32")  # it is read as a network
        assert {place: (type(value), value) for place, value in known.items()} == {
            place: (type(value), value) for place, value in sent.items() if place in known
        }
        # The second connection has no query.
        assert sent.keys() - known.keys() == {at for at in UNKNOWN[kind] if at[0] in event}


def _leaves(value: dict[str, Any], *place: str) -> Iterator[tuple[Place, Any]]:
    """Yield what is in an event, by the names that lead to it."""
    for name, part in value.items():
        if isinstance(part, dict):
            yield from _leaves(part, *place, name)
        else:
            yield (*place, name), part


async def test_the_data_classes(events: list[Event]) -> None:
    """Each value is found under its name; only the authorizer's has none."""
    for event in events:
        read, context = APIGatewayWebSocketEvent(event), event["requestContext"]
        named = _properties(read)
        assert event.keys() <= named.keys()
        assert read.body == read.decoded_body == event.get("body")
        assert read.is_base64_encoded is False
        for name, find in (
            ("headers", read.headers),
            ("multiValueHeaders", read.multi_value_headers),
            ("queryStringParameters", read.query_string_parameters),
            ("multiValueQueryStringParameters", read.multi_value_query_string_parameters),
        ):
            given = event.get(name, {})
            assert {key: find[key.upper()] for key in given} == given
        named = _properties(read.request_context)
        assert context.keys() - named.keys() == {"authorizer"}
        identity = _properties(named.pop("identity"))
        assert {name: value for name, value in named.items() if value is not None} == {
            name: value for name, value in context.items() if name in named
        }
        assert identity == {"userAgent": None} | context["identity"]
    assert APIGatewayWebSocketEvent(events[1]).json_body == {"text": "😀"}


def _properties(read: DictWrapper) -> dict[str, Any]:
    """Return what the properties of a data class find, by the names in an event."""
    names = [name for name, found in vars(type(read)).items() if isinstance(found, property)]
    return {
        re.sub("_(.)", lambda letter: letter[1].upper(), name): getattr(read, name)
        for name in names
    }


async def test_the_model_takes_an_http_event_whole() -> None:
    """Nothing is lost in it, and nothing is missing."""
    asked = HTTPRequest(
        "POST",
        "/rooms/blue?a=1&a=2",
        [("host", "localhost:3000"), ("user-agent", "curl/8"), ("cookie", "a=1; b=2")],
        b"\x00",
        "127.0.0.1",
        3000,
    )
    event = http_event(GatewaySettings(), asked, EventStamp("id", 1), trace_id="Root=1-2-3")
    model = APIGatewayProxyEventV2Model.model_validate(event)
    read = json.loads(model.model_dump_json(exclude_unset=True))
    # The model makes a network and a datetime of these.
    read["requestContext"]["http"]["sourceIp"] = asked.source_ip
    read["requestContext"]["timeEpoch"] = 1
    assert read == event
    helper = APIGatewayProxyEventV2(event)
    assert helper.cookies == ["a=1", "b=2"]
    assert helper.decoded_body == "\x00"
    assert (helper.path, helper.http_method) == ("/rooms/blue", "POST")
