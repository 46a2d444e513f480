"""A Lambda authorizer: its event, its answers, what clients get and what later events have."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

import pytest

from longwire.local.rules.authorizer import Granted, authorized, decide, request_event, unidentified
from longwire.local.rules.connection import ClientHandshake, LocalConnection
from longwire.local.rules.errors import FunctionTimeoutError
from longwire.local.rules.events import EventStamp, connect_event
from longwire.local.rules.results import HandshakeRefused, Raised, Returned, TimedOut
from longwire.local.rules.settings import GatewaySettings
from tests.local.fakes import Event, authorizer_answer

HOST = "c5jwxq709g.execute-api.eu-west-1.amazonaws.com"
SETTINGS = GatewaySettings(
    stage="production",
    api_id="c5jwxq709g",
    domain_name=HOST,
    region="eu-west-1",
    account_id="533568316194",
)
ARN = "arn:aws:execute-api:eu-west-1:533568316194:c5jwxq709g/production/$connect"


def connecting(*headers: tuple[str, str], query: str = "") -> Event:
    """Return the CONNECT event of a handshake."""
    handshake = ClientHandshake((("Host", HOST), *headers), query, "93.108.161.96")
    connection = LocalConnection("FDmBIeapIAMCIQg=", handshake, 1737995987617, 1737995987617)
    request = EventStamp("FDmBIG3EoAMEqYA=", 1737995987617)
    trace_id = "Root=1-6797b6d3-64f9c928577f3ac56f5368ce"
    return connect_event(SETTINGS, connection, request, trace_id=trace_id)


# What it is asked


def test_the_event_is_that_of_a_request_authorizer() -> None:
    """Every key of a captured one, and no other."""
    event = connecting(
        ("Authorization", "Leo"),
        ("Connection", "keep-alive, Upgrade"),
        ("Upgrade", "WebSocket"),
        ("Sec-WebSocket-Key", "CYZZrfNgEcgzzzwL44qytQ=="),
        ("Sec-WebSocket-Version", "13"),
    )
    request = request_event(SETTINGS, event)
    for headers in (request["headers"], request["multiValueHeaders"]):
        assert list(headers) == sorted(headers, key=str.lower)
    assert request == {
        "type": "REQUEST",
        "methodArn": ARN,
        "headers": {
            "Authorization": "Leo",
            "Connection": "upgrade",
            "content-length": "0",
            "Host": HOST,
            "Sec-WebSocket-Key": "CYZZrfNgEcgzzzwL44qytQ==",
            "Sec-WebSocket-Version": "13",
            "Upgrade": "websocket",
            "X-Amzn-Trace-Id": "Root=1-6797b6d3-64f9c928577f3ac56f5368ce",
            "X-Forwarded-For": "93.108.161.96",
            "X-Forwarded-Port": "443",
            "X-Forwarded-Proto": "https",
        },
        "multiValueHeaders": {
            "Authorization": ["Leo"],
            "Connection": ["upgrade"],
            "content-length": ["0"],
            "Host": [HOST],
            "Sec-WebSocket-Key": ["CYZZrfNgEcgzzzwL44qytQ=="],
            "Sec-WebSocket-Version": ["13"],
            "Upgrade": ["websocket"],
            "X-Amzn-Trace-Id": ["Root=1-6797b6d3-64f9c928577f3ac56f5368ce"],
            "X-Forwarded-For": ["93.108.161.96"],
            "X-Forwarded-Port": ["443"],
            "X-Forwarded-Proto": ["https"],
        },
        "queryStringParameters": {},
        "multiValueQueryStringParameters": {},
        "stageVariables": {},
        "requestContext": {
            "routeKey": "$connect",
            "eventType": "CONNECT",
            "extendedRequestId": "FDmBIG3EoAMEqYA=",
            "requestTime": "27/Jan/2025:16:39:47 +0000",
            "messageDirection": "IN",
            "stage": "production",
            "connectedAt": 1737995987617,
            "requestTimeEpoch": 1737995987617,
            "identity": {"sourceIp": "93.108.161.96"},
            "requestId": "FDmBIG3EoAMEqYA=",
            "domainName": HOST,
            "connectionId": "FDmBIeapIAMCIQg=",
            "apiId": "c5jwxq709g",
        },
    }


def test_the_event_has_the_query() -> None:
    """Of repeats the last one is single, as for the function."""
    event = request_event(SETTINGS, connecting(query="token=a&token=b"))
    assert event["queryStringParameters"] == {"token": "b"}
    assert event["multiValueQueryStringParameters"] == {"token": ["a", "b"]}


@pytest.mark.parametrize(
    ("sources", "missing"),
    [
        ([], None),
        (["route.request.header.authorization"], None),
        (["route.request.querystring.token"], None),
        (["route.request.header.Authorization", "route.request.querystring.token"], None),
        (["route.request.header.X-Key"], "route.request.header.X-Key"),
        (["route.request.querystring.Token"], "route.request.querystring.Token"),
        (["route.request.querystring.empty"], "route.request.querystring.empty"),
        (["route.request.header.X-Empty"], "route.request.header.X-Empty"),
        (
            ["route.request.querystring.token", "route.request.querystring.key"],
            "route.request.querystring.key",
        ),
    ],
)
def test_a_missing_identity_source_is_401(sources: list[str], missing: str | None) -> None:
    """So is an empty one; headers have no case, parameters have."""
    event = connecting(("AUTHORIZATION", "Leo"), ("X-Empty", ""), query="token=t&empty=")
    refused = unidentified(GatewaySettings(identity_sources=sources), event)
    assert refused == (
        missing and HandshakeRefused(401, f"authorizer: not asked without {missing}")
    )


def test_identity_sources_need_a_query() -> None:
    """A handshake may have none at all."""
    settings = GatewaySettings(identity_sources=["route.request.querystring.token"])
    assert unidentified(settings, connecting()) is not None


# What its answer means


@pytest.mark.parametrize(
    ("value", "decision"),
    [
        (authorizer_answer(), Granted({"principalId": "user-42"})),
        (authorizer_answer(resource=ARN), Granted({"principalId": "user-42"})),
        (authorizer_answer(context=None), Granted({"principalId": "user-42"})),
        (authorizer_answer(usageIdentifierKey="k", other=1), Granted({"principalId": "user-42"})),
        (authorizer_answer("Deny"), HandshakeRefused(403, "authorizer: Deny")),
        (
            authorizer_answer(resource="arn:other"),
            HandshakeRefused(403, "authorizer: no Allow for $connect"),
        ),
    ],
)
def test_a_policy_decides(value: object, decision: object) -> None:
    """200 goes on; an explicit Deny and no Allow are 403."""
    assert decide(Returned(value), ARN) == decision


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (Exception("Unauthorized"), HandshakeRefused(401, "authorizer: Unauthorized")),
        (PermissionError("Unauthorized"), HandshakeRefused(401, "authorizer: Unauthorized")),
        (Exception("unauthorized"), HandshakeRefused(500, "authorizer: raised Exception")),
        (Exception("Unauthorized."), HandshakeRefused(500, "authorizer: raised Exception")),
        (ValueError("a secret"), HandshakeRefused(500, "authorizer: raised ValueError")),
        (
            FunctionTimeoutError("x"),
            HandshakeRefused(500, "authorizer: raised FunctionTimeoutError"),
        ),
    ],
)
def test_only_one_text_of_an_error_is_401(error: Exception, refused: HandshakeRefused) -> None:
    """Lambda passes on nothing else; any other error is 500."""
    assert decide(Raised(error), ARN) == refused


def test_no_answer_in_time_is_500() -> None:
    """Not 504, as for an integration."""
    assert decide(TimedOut(), ARN) == HandshakeRefused(500, "authorizer: timed out")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "expected a dict, got NoneType"),
        ("Unauthorized", "expected a dict, got str"),
        ({}, "principalId: expected a string that is not empty"),
        (authorizer_answer(principalId=None), "principalId: expected a string that is not empty"),
        (authorizer_answer(principalId=""), "principalId: expected a string that is not empty"),
        (authorizer_answer(principalId=42), "principalId: expected a string that is not empty"),
        ({"principalId": "a"}, "policyDocument: expected an object, got NoneType"),
        (authorizer_answer("allow"), 'Statement[0].Effect: expected "Allow" or "Deny"'),
        (authorizer_answer(context="a"), "context: expected a dict, got str"),
        (
            authorizer_answer(context={"claims": {"sub": "a secret"}}),
            "context.claims: expected a string, a number or a boolean, got dict",
        ),
        (
            authorizer_answer(context={"roles": ["a secret"]}),
            "context.roles: expected a string, a number or a boolean, got list",
        ),
        (
            authorizer_answer("Deny", context={"a": []}),
            "context.a: expected a string, a number or a boolean, got list",
        ),
        (
            authorizer_answer(context={"at": datetime(2025, 1, 1)}),
            "not JSON: a value is of type datetime",
        ),
        (authorizer_answer(context={"a": float("nan")}), None),
        ({"statusCode": 200}, "principalId: expected a string that is not empty"),
    ],
)
def test_a_malformed_answer_is_500(value: object, text: str | None) -> None:
    """It says what is wrong, without the values."""
    decision = decide(Returned(value), ARN)
    assert isinstance(decision, HandshakeRefused)
    assert decision.status == 500
    assert decision.reason is not None
    if text is not None:
        assert decision.reason == f"authorizer: malformed ({text})"


def test_an_answer_has_at_most_8_kilobytes() -> None:
    """All of it, as JSON in UTF-8."""
    rest = len(json.dumps(authorizer_answer(context={"a": ""})))
    fits, over = ({"a": "x" * (8192 - rest + more)} for more in (0, 1))
    assert isinstance(decide(Returned(authorizer_answer(context=fits)), ARN), Granted)
    assert decide(Returned(authorizer_answer(context=over)), ARN) == HandshakeRefused(
        500, "authorizer: malformed (8193 bytes, at most 8192 are taken)"
    )
    wide = {"a": "é" * (8192 - rest)}
    assert isinstance(decide(Returned(authorizer_answer(context=wide)), ARN), HandshakeRefused)


def test_context_comes_back_as_strings() -> None:
    """Nulls are left out, and the principal is the answer's own."""
    given = {
        "tenant": "acme",
        "level": 1,
        "share": 1.5,
        "price": Decimal(3),
        "half": Decimal("0.5"),
        "admin": True,
        "guest": False,
        "nothing": None,
        "empty": "",
        "principalId": "forged",
    }
    assert decide(Returned(authorizer_answer(context=given)), ARN) == Granted(
        {
            "principalId": "user-42",
            "tenant": "acme",
            "level": "1",
            "share": "1.5",
            "price": "3",
            "half": "0.5",
            "admin": "true",
            "guest": "false",
            "empty": "",
        }
    )


def test_the_connect_event_tells_how_long_the_authorizer_took() -> None:
    """In milliseconds, as a number; nothing else of the event is different."""
    before = connecting()
    after = authorized(before, Granted({"principalId": "user-42", "level": "3"}), 0.0314)
    said = after["requestContext"].pop("authorizer")
    assert said == {"principalId": "user-42", "level": "3", "integrationLatency": 31}
    assert after == before
