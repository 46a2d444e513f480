"""A Lambda authorizer: its event, its answers, what clients get and what later events have."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import threading
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_sync

from longwire.exceptions import ConfigurationError
from longwire.local.cli import main as cli
from longwire.local.cli.console import event_line
from longwire.local.function.inline import ThreadFunction
from longwire.local.rules.authorizer import Granted, authorized, decide, request_event, unidentified
from longwire.local.rules.connection import ClientHandshake, LocalConnection
from longwire.local.rules.errors import FunctionTimeoutError
from longwire.local.rules.events import EventStamp, connect_event
from longwire.local.rules.results import HandshakeRefused, Raised, Returned, TimedOut
from longwire.local.rules.settings import GatewaySettings
from longwire.local.server.server import LocalGateway
from tests.local.fakes import Event, RecordingFunction, handshake, raw_connection
from tests.local.running import Dev

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from longwire.local.session import HandledEvent

HOST = "c5jwxq709g.execute-api.eu-west-1.amazonaws.com"
SETTINGS = GatewaySettings(
    stage="production",
    api_id="c5jwxq709g",
    domain_name=HOST,
    region="eu-west-1",
    account_id="533568316194",
)
ARN = "arn:aws:execute-api:eu-west-1:533568316194:c5jwxq709g/production/$connect"
LOCAL_ARN = "arn:aws:execute-api:us-east-1:000000000000:local/local/$connect"


def connecting(*headers: tuple[str, str], query: str = "") -> Event:
    """Return the CONNECT event of a handshake."""
    handshake = ClientHandshake((("Host", HOST), *headers), query, "93.108.161.96")
    connection = LocalConnection("FDmBIeapIAMCIQg=", handshake, 1737995987617, 1737995987617)
    request = EventStamp("FDmBIG3EoAMEqYA=", 1737995987617)
    trace_id = "Root=1-6797b6d3-64f9c928577f3ac56f5368ce"
    return connect_event(SETTINGS, connection, request, trace_id=trace_id)


def answer(effect: str = "Allow", resource: str = "*", **more: object) -> dict[str, Any]:
    """Return what an authorizer returns."""
    statement = {"Effect": effect, "Action": "execute-api:Invoke", "Resource": resource}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": "user-42", "policyDocument": policy, **more}


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
    assert request_event(SETTINGS, event) == {
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


@pytest.mark.parametrize(
    "source",
    [
        "Authorization",
        "route.request.header.",
        "route.request.body.token",
        "$request.header.Authorization",
        "method.request.header.Authorization",
        "stageVariables.key",
    ],
)
def test_what_is_not_an_identity_source_is_said(source: str) -> None:
    """With the forms that are."""
    with pytest.raises(ConfigurationError) as caught:
        GatewaySettings(identity_sources=[source])
    assert str(caught.value) == (
        f"identity_sources: {source!r} is not of the form route.request.header.NAME or "
        "route.request.querystring.NAME"
    )


def test_one_identity_source_is_a_list_of_one() -> None:
    """A string would be taken for the list of its letters."""
    with pytest.raises(ConfigurationError, match="identity_sources: expected a list of strings"):
        GatewaySettings(identity_sources="route.request.header.Authorization")


# What its answer means


@pytest.mark.parametrize(
    ("value", "decision"),
    [
        (answer(), Granted({"principalId": "user-42"})),
        (answer(resource=ARN), Granted({"principalId": "user-42"})),
        (answer(context=None), Granted({"principalId": "user-42"})),
        (answer(usageIdentifierKey="k", other=1), Granted({"principalId": "user-42"})),
        (answer("Deny"), HandshakeRefused(403, "authorizer: Deny")),
        (answer(resource="arn:other"), HandshakeRefused(403, "authorizer: no Allow for $connect")),
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
        (answer(principalId=None), "principalId: expected a string that is not empty"),
        (answer(principalId=""), "principalId: expected a string that is not empty"),
        (answer(principalId=42), "principalId: expected a string that is not empty"),
        ({"principalId": "a"}, "policyDocument: expected an object, got NoneType"),
        (answer("allow"), 'Statement[0].Effect: expected "Allow" or "Deny"'),
        (answer(context="a"), "context: expected a dict, got str"),
        (
            answer(context={"claims": {"sub": "a secret"}}),
            "context.claims: expected a string, a number or a boolean, got dict",
        ),
        (
            answer(context={"roles": ["a secret"]}),
            "context.roles: expected a string, a number or a boolean, got list",
        ),
        (
            answer("Deny", context={"a": []}),
            "context.a: expected a string, a number or a boolean, got list",
        ),
        (answer(context={"at": datetime(2025, 1, 1)}), "not JSON: a value is of type datetime"),
        (answer(context={"a": float("nan")}), None),
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
    rest = len(json.dumps(answer(context={"a": ""})))
    fits, over = ({"a": "x" * (8192 - rest + more)} for more in (0, 1))
    assert isinstance(decide(Returned(answer(context=fits)), ARN), Granted)
    assert decide(Returned(answer(context=over)), ARN) == HandshakeRefused(
        500, "authorizer: malformed (8193 bytes, at most 8192 are taken)"
    )
    wide = {"a": "é" * (8192 - rest)}
    assert isinstance(decide(Returned(answer(context=wide)), ARN), HandshakeRefused)


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
    assert decide(Returned(answer(context=given)), ARN) == Granted(
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


# Behind real sockets


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


@pytest.mark.anyio
async def test_the_context_is_in_every_event() -> None:
    """CONNECT has the latency beside it, the others have it not."""
    function = RecordingFunction()
    authorizer = RecordingAuthorizer(answer(context={"tenant": "acme", "level": 3, "admin": True}))
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


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("result", "status"),
    [
        (Exception("Unauthorized"), 401),
        (answer("Deny"), 403),
        (answer(resource="arn:other"), 403),
        (ValueError("broken"), 500),
        (None, 500),
        (answer(context={"a": {}}), 500),
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


@pytest.mark.anyio
async def test_without_its_identity_source_nobody_is_asked() -> None:
    """The client gets 401; with it, the authorizer decides."""
    settings = GatewaySettings(identity_sources=["route.request.querystring.token"])
    authorizer = RecordingAuthorizer(answer("Deny"))
    async with LocalGateway(RecordingFunction(), settings, authorizer=authorizer) as gateway:
        assert await refused(gateway) == 401
        assert await refused(gateway, "?token=") == 401
        assert authorizer.events == []
        assert await refused(gateway, "?token=t") == 403


@pytest.mark.anyio
async def test_it_is_asked_without_an_integration_too() -> None:
    """A $connect route may have an authorizer and no function behind it."""
    settings = GatewaySettings(routes=frozenset({"$default"}))
    function, authorizer = RecordingFunction(), RecordingAuthorizer(answer("Deny"))
    async with LocalGateway(function, settings, authorizer=authorizer) as gateway:
        assert await refused(gateway) == 403
        authorizer.result = answer()
        async with connect(gateway.url) as client:
            await client.send("x")
            event = await function.wait_for("MESSAGE")
    assert event["requestContext"]["authorizer"] == {"principalId": "user-42"}


@pytest.mark.anyio
async def test_a_client_that_leaves_meanwhile_is_reported() -> None:
    """The function hears of its coming and of its end, with the context."""
    asked, release = asyncio.Event(), asyncio.Event()

    async def authorize(event: Event, context: Any) -> object:
        asked.set()
        await release.wait()
        return answer()

    function = RecordingFunction()
    async with LocalGateway(function, authorizer=authorize) as gateway:
        async with raw_connection(gateway.url) as (_, writer):
            writer.write(handshake())
            await asked.wait()
        release.set()
        event = await function.wait_for("DISCONNECT")
    assert function.types() == ["CONNECT", "DISCONNECT"]
    assert event["requestContext"]["authorizer"] == {"principalId": "user-42"}


@pytest.mark.anyio
async def test_an_authorizer_may_block() -> None:
    """Two that wait for each other both end: a synchronous one has a thread for each client."""
    both = threading.Barrier(2, timeout=10)

    def block(event: Event, context: Any) -> object:
        both.wait()
        return answer()

    async def come(gateway: LocalGateway) -> None:
        async with connect(gateway.url):
            pass

    async with LocalGateway(RecordingFunction(), authorizer=block) as gateway:
        await asyncio.gather(come(gateway), come(gateway))


@pytest.mark.anyio
async def test_an_authorizer_that_blocks_its_own_loop_is_left_behind() -> None:
    """As `longwire dev` runs it, the gateway goes on and answers 500 in time."""
    release = threading.Event()

    async def block(event: Event, context: Any) -> object:
        release.wait(10)
        return answer()

    settings = GatewaySettings(authorizer_timeout=0.05)
    async with ThreadFunction(block).running() as authorizer:
        async with LocalGateway(RecordingFunction(), settings, authorizer=authorizer) as gateway:
            try:
                assert await refused(gateway) == 500
            finally:
                release.set()


@pytest.mark.anyio
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


@pytest.mark.anyio
async def test_the_console_says_why() -> None:
    """Without what the client sent."""
    seen: list[HandledEvent] = []
    authorizer = RecordingAuthorizer(answer("Deny"))
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


# On the command line

APP = """
import json

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        context = scope["aws.event"]["requestContext"]["authorizer"]
        await send({"type": "websocket.send", "text": json.dumps(context)})

def authorize(event, context):
    token = event["queryStringParameters"]["token"]
    if token == "crash-secret":
        raise ValueError("broken")
    if token == "wrong-secret":
        raise Exception("Unauthorized")
    effect = "Deny" if token == "bad-secret" else "Allow"
    statement = {"Effect": effect, "Action": "*", "Resource": event["methodArn"]}
    return {
        "principalId": "ann",
        "policyDocument": {"Statement": statement},
        "context": {"level": 3},
    }

config = {}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "authorizer_app.py").write_text(APP)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    sys.modules.pop("authorizer_app", None)


def test_longwire_dev_asks_the_authorizer(directory: Path) -> None:
    """Who is let in, who is not and why, and no secret in any line."""
    source = "route.request.querystring.token"
    options = ["--authorizer", "authorizer_app:authorize", "--identity-source", source]
    with Dev(directory, "authorizer_app:app", *options, "--stage", "prod") as dev:
        url = dev.ready()[1]
        with connect_sync(f"{url}/prod?token=good-secret") as client:
            client.send("who am I?")
            assert json.loads(client.recv()) == {"principalId": "ann", "level": "3"}
        lines = [dev.line() for _ in range(3)]
        statuses = []
        for query in ("", "?token=wrong-secret", "?token=bad-secret", "?token=crash-secret"):
            with pytest.raises(InvalidStatus) as caught:
                connect_sync(f"{url}/prod{query}")
            statuses.append(caught.value.response.status_code)
            lines.append(dev.line())
        code, out, err = dev.stop(signal.SIGTERM)
    assert code == 0
    assert statuses == [401, 401, 403, 500]
    assert [line.partition("authorizer: ")[2].rpartition("  ")[0] for line in lines[3:]] == [
        f"not asked without {source}, client gets 401",
        "Unauthorized, client gets 401",
        "Deny, client gets 403",
        "raised ValueError, client gets 500",
    ]
    assert "secret" not in "".join(lines) + out
    assert "ERROR longwire.local: the authorizer raised\nTraceback" in err
    assert err.endswith("ValueError: broken\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--authorizer", "authorize"],
            "--authorizer: 'authorize' is not of the form MODULE:ATTRIBUTE, for example main:app",
        ),
        (
            ["--authorizer", "authorizer_none:f"],
            "--authorizer: there is no module 'authorizer_none' in {dir} or on the import path",
        ),
        (
            ["--authorizer", "authorizer_app:authorise"],
            "--authorizer: module 'authorizer_app' has no attribute 'authorise'; "
            "did you mean 'authorize'?",
        ),
        (
            ["--authorizer", "authorizer_app:config"],
            "--authorizer: authorizer_app:config is of type dict; expected a Lambda function",
        ),
        (
            ["--authorizer", "authorizer_app:app"],
            "--authorizer: authorizer_app:app is not a Lambda function: that takes two arguments, "
            "event and context",
        ),
        (["--identity-source", "route.request.header.A"], "--identity-source: needs --authorizer"),
        (
            ["--authorizer", "authorizer_app:authorize", "--identity-source", "token"],
            "identity_sources: 'token' is not of the form route.request.header.NAME or "
            "route.request.querystring.NAME",
        ),
    ],
)
def test_mistakes_are_one_line_each(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    """Exit code 2, on stderr, without a traceback; the line says which module is meant."""
    common = ["dev", "authorizer_app:app", "--app-dir", str(directory)]
    assert cli.main([*common, *arguments]) == 2
    assert capsys.readouterr().err == f"longwire: {text.replace('{dir}', str(directory))}\n"
