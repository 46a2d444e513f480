"""`WSGateway` reaches the client of a request context, from wherever it is called."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import start_blocking_portal

from longwire import Longwire, ws_gateway
from longwire.exceptions import (
    ConfigurationError,
    InvalidArgumentError,
    ManagementError,
    MessageTooLargeError,
)
from longwire.ws_gateway import WSGateway
from tests.connections_server import ConnectionsServer, Reply
from tests.lambda_events import LambdaContext, connect_event, message_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire import WSConfig
    from longwire.types import Receive, Scope, Send

ID = "QWErT_fALIAMCug="
OTHER = "XWErT_fALIAMCug="
DOMAIN = "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"
EXAMPLE = f"https://{DOMAIN}/prod"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing of AWS in the environment but a region."""
    for name in ("WS_MANAGEMENT_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture
def server() -> Iterator[ConnectionsServer]:
    """Serve from another thread, as whoever waits for it may block its own."""
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(ConnectionsServer()) as server:
            yield server


def context(server: ConnectionsServer, connection_id: str = ID) -> dict[str, Any]:
    """Return the context of an event of a gateway on this machine."""
    domain, stage = server.url.removeprefix("http://").split("/")
    return {
        "connectionId": connection_id,
        "domainName": domain,
        "stage": stage,
        "routeKey": "$default",
    }


def of(**keys: Any) -> dict[str, Any]:
    """Return the context of an event of AWS with these keys; None leaves one out."""
    given = {
        "apiId": "a1b2c3d4e5",
        "connectionId": ID,
        "domainName": DOMAIN,
        "routeKey": "$default",
        "stage": "prod",
    } | keys
    return {key: value for key, value in given.items() if value is not None}


WS = {"domainName": "ws.example.com"}
NO_ROUTE = {"routeKey": None, "domainName": "http.example.com", "stage": "live"}
HTTP_API = {"routeKey": "GET /x", "http": {}, "domainName": "http.example.com", "stage": "$default"}
DEV = {"apiId": "local", "domainName": "local.execute-api.us-east-1.amazonaws.com"}


@pytest.mark.parametrize(
    ("keys", "variable", "domain", "url"),
    [
        # This machine: the context's domain, whatever else is said.
        (
            {"domainName": "localhost:3001", "stage": "dev"},
            EXAMPLE,
            "localhost:3001",
            "http://localhost:3001/dev",
        ),
        ({"domainName": "127.0.0.1"}, None, "127.0.0.1", "http://127.0.0.1/prod"),
        ({"domainName": "[::1]:3001"}, None, "[::1]:3001", "http://[::1]:3001/prod"),
        (
            {"domainName": "localhost:3001", "routeKey": None},
            EXAMPLE,
            "localhost:3001",
            "http://localhost:3001/prod",
        ),
        # A WebSocket event: its domain; a custom one has no stages.
        ({}, None, DOMAIN, EXAMPLE),
        ({}, "https://other.example.com/x", DOMAIN, EXAMPLE),
        ({"stage": "a b"}, None, DOMAIN, f"https://{DOMAIN}/a%20b"),
        (
            {"domainName": "localhost.example.com"},
            None,
            "localhost.example.com",
            "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/prod",
        ),
        (
            WS,
            None,
            "ws.example.com",
            "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/prod",
        ),
        (WS, "ws.example.com/chat", "ws.example.com", "https://ws.example.com/chat"),
        # What only ends like API Gateway's own host gets no signature.
        (
            {"domainName": f"evil.example.com/{DOMAIN}"},
            None,
            f"evil.example.com/{DOMAIN}",
            "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com/prod",
        ),
        # Other events: the variable, with the stage that it names or, if it needs one, the event.
        (NO_ROUTE, EXAMPLE, f"{DOMAIN}/prod", EXAMPLE),
        (NO_ROUTE, EXAMPLE + "/", f"{DOMAIN}/prod", EXAMPLE),
        (NO_ROUTE, EXAMPLE + "/@connections", f"{DOMAIN}/prod", EXAMPLE),
        (NO_ROUTE, f"{DOMAIN}/prod", f"{DOMAIN}/prod", EXAMPLE),
        (NO_ROUTE, f"https://{DOMAIN}", DOMAIN, f"https://{DOMAIN}/live"),
        (NO_ROUTE, "localhost:3001", "localhost:3001", "http://localhost:3001/live"),
        (NO_ROUTE, "https://ws.example.com", "ws.example.com", "https://ws.example.com"),
        (HTTP_API, EXAMPLE, f"{DOMAIN}/prod", EXAMPLE),
        ({"domainName": None}, EXAMPLE, f"{DOMAIN}/prod", EXAMPLE),
        # `longwire dev` sets the variable, as its host name is nobody's.
        (DEV, "http://127.0.0.1:3001/local", "127.0.0.1:3001/local", "http://127.0.0.1:3001/local"),
    ],
)
def test_the_endpoint_follows_one_rule(
    keys: dict[str, Any],
    variable: str | None,
    domain: str,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Local, then a WebSocket event's own domain, then the environment."""
    if variable is not None:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", variable)
    assert WSGateway.resolve_ws_domain_name(of(**keys)) == domain
    assert ws_gateway.endpoint(of(**keys)) == url


def test_an_unknown_endpoint_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says what to set."""
    assert WSGateway.resolve_ws_domain_name(of(**NO_ROUTE)) is None
    for reach in (WSGateway.disconnect, functools.partial(WSGateway.send, "x")):
        with pytest.raises(ConfigurationError) as caught:
            reach(of(**NO_ROUTE))
        assert str(caught.value) == (
            "this request context does not tell where the WebSocket API is: set the environment "
            f"variable WS_MANAGEMENT_ENDPOINT, for example to {EXAMPLE}"
        )
    monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", f"https://{DOMAIN}")
    with pytest.raises(ConfigurationError) as caught:
        WSGateway.disconnect(of(**HTTP_API))
    assert str(caught.value) == (
        "the environment variable WS_MANAGEMENT_ENDPOINT names no stage, and neither does this "
        f"request context: set the variable for example to {EXAMPLE}"
    )


@pytest.mark.parametrize(
    ("request_ctx", "text"),
    [
        (None, "request_ctx is a NoneType; expected event['requestContext']"),
        ("abc", "request_ctx is a str; expected event['requestContext']"),
        (of(connectionId=None), "request_ctx['connectionId'] is missing"),
        (of(connectionId=""), "request_ctx['connectionId'] is missing"),
        (of(connectionId=7), "request_ctx['connectionId'] is a int; expected a str"),
        (
            of(connectionId="a\0"),
            "request_ctx['connectionId'] must have 1 to 1000 bytes in UTF-8 and no NUL; "
            "this one has 2 bytes",
        ),
        (of(domainName=["x"]), "request_ctx['domainName'] is a list; expected a str"),
        (
            of(domainName="localhost:3001/x y"),
            "request_ctx['domainName'] is not a host with or without a port",
        ),
        (of(stage=None), "request_ctx['stage'] is missing"),
        (of(domainName="localhost", stage=3), "request_ctx['stage'] is a int; expected a str"),
        (of(apiId=None, **WS), "request_ctx['apiId'] is missing"),
    ],
)
def test_what_is_no_context_is_an_error(request_ctx: Any, text: str) -> None:
    """The text names the key; nothing is sent."""
    with pytest.raises(InvalidArgumentError) as caught:
        WSGateway.send("x", request_ctx)
    assert str(caught.value) == text
    with pytest.raises(InvalidArgumentError) as caught:
        WSGateway.disconnect(request_ctx)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        ("hé", "hé".encode()),
        ("", b""),
        (b"\xc3\xa9", b"\xc3\xa9"),
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'.encode()),
        (None, b"null"),
        ("x" * 131072, b"x" * 131072),
    ],
)
def test_a_payload_goes_out_as_these_bytes(
    payload: object, body: bytes, server: ConnectionsServer
) -> None:
    """Text and bytes as they are, all else as JSON, to the quoted id below the stage."""
    assert WSGateway.send(payload, context(server)) is True
    assert server.requests == [("POST", ID, body)]
    assert server.targets == ["/local/@connections/QWErT_fALIAMCug%3D"]


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (
            {"x": b"1"},
            "data is a value of type dict that JSON cannot hold: data['x'] is of type bytes; send "
            "a str, bytes, or what JSON knows, or say dumps=...",
        ),
        (
            b"\xff",
            "the payload is not text, and API Gateway sends text frames only: send what UTF-8 can "
            "hold, and other bytes for example as base64",
        ),
    ],
)
def test_what_cannot_be_a_payload_is_an_error(
    payload: object, text: str, server: ConnectionsServer
) -> None:
    """Nothing is sent."""
    with pytest.raises(InvalidArgumentError) as caught:
        WSGateway.send(payload, context(server))
    assert str(caught.value) == text
    assert server.requests == []


def test_a_payload_over_the_limit_is_an_error(server: ConnectionsServer) -> None:
    """One byte more than API Gateway takes; nothing is sent."""
    with pytest.raises(MessageTooLargeError) as caught:
        WSGateway.send("x" * 131073, context(server))
    assert str(caught.value) == (
        f"@connections/{ID}: a message of 131073 bytes is over API Gateway's limit of 131072; "
        "send it in parts"
    )
    assert server.requests == []


def test_a_refusal_is_an_error(server: ConnectionsServer) -> None:
    """Only 410 is silent."""
    refusal = Reply(400, b'{"message":"Invalid connectionId: x"}')
    server.answers[ID].extend([refusal, refusal])
    with pytest.raises(ManagementError) as caught:
        WSGateway.send("x", context(server))
    assert str(caught.value) == f"@connections/{ID}: POST answered 400: Invalid connectionId: x"
    with pytest.raises(ManagementError) as caught:
        WSGateway.disconnect(context(server))
    assert str(caught.value) == f"@connections/{ID}: DELETE answered 400: Invalid connectionId: x"


def test_a_client_that_is_gone_is_no_error(server: ConnectionsServer) -> None:
    """A disconnect is done once; after it, both say that there is nobody."""
    assert WSGateway.disconnect(context(server)) is True
    assert WSGateway.disconnect(context(server)) is False
    assert WSGateway.send("x", context(server)) is False
    assert WSGateway.send("x", context(server, OTHER)) is True
    assert [request[:2] for request in server.requests] == [
        ("DELETE", ID),
        ("DELETE", ID),
        ("POST", ID),
        ("POST", OTHER),
    ]


def test_threads_share_one_client(server: ConnectionsServer) -> None:
    """Eight of them, one after the other, need one TCP connection; it is kept."""
    results: list[bool] = []
    for number in range(8):
        thread = threading.Thread(
            target=lambda text: results.append(WSGateway.send(text, context(server))),
            args=(str(number),),
        )
        thread.start()
        thread.join()
    assert results == [True] * 8
    assert server.frames(ID) == [b"%d" % number for number in range(8)]
    assert server.connected == 1


@pytest.mark.anyio
async def test_it_works_while_a_loop_runs_here(server: ConnectionsServer) -> None:
    """It waits for another thread, never for the loop that it blocks."""
    assert WSGateway.send("a", context(server)) is True
    assert await asyncio.to_thread(WSGateway.send, "b", context(server)) is True
    assert WSGateway.disconnect(context(server)) is True
    assert server.frames(ID) == [b"a", b"b"]


def test_a_forked_process_has_a_client_of_its_own(server: ConnectionsServer) -> None:
    """The child does not wait for a thread that it has not got; the parent goes on as before."""
    command = [sys.executable, "-c", FORK, json.dumps(context(server))]
    subprocess.run(command, check=True, timeout=30)
    assert server.frames(ID) == [b"parent", b"child", b"parent again"]


FORK = """
import json, os, sys
from longwire.ws_gateway import WSGateway
context = json.loads(sys.argv[1])
assert WSGateway.send("parent", context)
if (child := os.fork()) == 0:
    os._exit(0 if WSGateway.send("child", context) else 1)
assert os.waitpid(child, 0)[1] == 0
assert WSGateway.send("parent again", context)
"""


def test_a_repeated_handshake_has_no_effect(server: ConnectionsServer) -> None:
    """An app that tells another client of each new one tells it once, not for every message.

    Nor does its clean-up end a connection that only waits for its client.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await receive()
        await send({"type": "websocket.accept"})
        told.append(WSGateway.send("joined", context(server, OTHER)))
        try:
            while (message := await receive())["type"] == "websocket.receive":
                WSGateway.send(message["text"], context(server, OTHER))
        finally:
            told.append(WSGateway.disconnect(context(server)))

    told: list[bool] = []
    config: WSConfig = {"backend": "memory", "api_gateway_endpoint_url": server.url}
    with contextlib.closing(Longwire(app, ws_config=config, lifespan="off")) as handler:
        for event in (connect_event(ID), message_event("one", ID), message_event("two", ID)):
            assert handler(event, LambdaContext()) == {"statusCode": 200}
    assert server.frames(OTHER) == [b"joined", b"one", b"two"]
    assert [request for request in server.requests if request[0] == "DELETE"] == []
    assert told == [True] * 6
