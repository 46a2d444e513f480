"""A gateway that wants signatures: Longwire's own, those of boto3, and none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from longwire import Longwire
from longwire.local.rules.signatures import Signer
from longwire.local.server.server import LocalGateway
from tests.local.fakes import RecordingFunction, connection_id, manage
from tests.local.signers import CALLER, KEYS, TEMPORARY, use

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from longwire.local.invoking import HandledEvent
    from longwire.types import Receive, Scope, Send

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_keys")]

GONE = "AAAAAAAAAAAAAAA="


# Longwire's own client


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Greet, echo, and close at "bye"."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "welcome"})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "bye":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.send", "text": f"echo {message['text']}"})


@pytest.fixture
async def handler() -> AsyncIterator[Longwire]:
    handler = Longwire(app, ws_config={"backend": "memory", "params": {}}, lifespan="off")
    yield handler
    await handler.aclose()


@pytest.mark.parametrize("caller", [CALLER, TEMPORARY])
async def test_an_app_that_has_the_keys_talks_and_closes(
    monkeypatch: pytest.MonkeyPatch, handler: Longwire, caller: Signer
) -> None:
    """Its posts and its DELETE are signed; a greeting comes before any message."""
    use(monkeypatch, caller)
    async with LocalGateway(handler.handle, verify=caller) as gateway:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", gateway.management_url)
        async with connect(gateway.url) as client:
            assert await client.recv() == "welcome"
            for text in ("hi", "é 🎉", "x" * 32768):
                await client.send(text)
                assert await client.recv() == f"echo {text}"
            await client.send("bye")
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1000


async def test_an_app_whose_keys_are_others_cannot_speak(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, handler: Longwire
) -> None:
    """The log of its function has the gateway's reason, and nothing secret."""
    use(monkeypatch, CALLER)
    answered: asyncio.Queue[HandledEvent] = asyncio.Queue()
    async with LocalGateway(handler.handle, observer=answered.put_nowait, verify=CALLER) as gateway:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", gateway.management_url)
        async with connect(gateway.url) as client:
            assert await client.recv() == "welcome"
            id = connection_id((await answered.get()).event)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-s3cret")
            await client.send("hi")
            assert (await answered.get()).event["body"] == "hi"
            await ask(gateway, CALLER, "post_to_connection", ConnectionId=id, Data=b"not you")
            assert await client.recv() == "not you"
    assert "POST answered 403: The request signature we calculated does not match" in caplog.text
    assert "s3cret" not in caplog.text


async def test_an_app_without_keys_still_talks_to_a_gateway_that_wants_none(
    monkeypatch: pytest.MonkeyPatch, handler: Longwire
) -> None:
    """That is the default."""
    async with LocalGateway(handler.handle) as gateway:
        monkeypatch.setenv("WS_MANAGEMENT_ENDPOINT", gateway.management_url)
        async with connect(gateway.url) as client:
            assert await client.recv() == "welcome"


# boto3


@pytest.fixture
def function() -> RecordingFunction:
    return RecordingFunction()


@pytest.fixture
async def gateway(function: RecordingFunction) -> AsyncIterator[LocalGateway]:
    async with LocalGateway(function, verify=TEMPORARY) as gateway:
        yield gateway


def boto(gateway: LocalGateway, caller: Signer = TEMPORARY) -> Any:
    """Make boto3's client of the management API; it tries once."""
    session = pytest.importorskip("boto3", reason="boto3 is not installed").session.Session(
        *caller.credentials, region_name=caller.region
    )
    config = pytest.importorskip("botocore.config").Config(retries={"total_max_attempts": 1})
    return session.client(
        "apigatewaymanagementapi", endpoint_url=gateway.management_url, config=config
    )


async def ask(gateway: LocalGateway, caller: Signer, name: str, **arguments: Any) -> Any:
    """Call boto3 in a thread, since it blocks."""
    client = await asyncio.to_thread(boto, gateway, caller)
    try:
        return await asyncio.to_thread(getattr(client, name), **arguments)
    finally:
        client.close()


async def refused(
    gateway: LocalGateway, caller: Signer, id: str = GONE, data: bytes = b"x"
) -> tuple[int, str, str]:
    """Post with boto3 and return the status, code and message of its error."""
    error = pytest.importorskip("botocore.exceptions").ClientError
    with pytest.raises(error) as caught:
        await ask(gateway, caller, "post_to_connection", ConnectionId=id, Data=data)
    response: Any = caught.value.response
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return status, response["Error"]["Code"], response["Error"]["Message"]


async def test_boto3_with_the_right_keys(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Posts, describes and closes."""
    async with connect(gateway.url) as client:
        id = connection_id(await function.wait_for("CONNECT"))
        await ask(gateway, TEMPORARY, "post_to_connection", ConnectionId=id, Data="é".encode())
        assert await client.recv() == "é"
        found = await ask(gateway, TEMPORARY, "get_connection", ConnectionId=id)
        assert found["Identity"]["SourceIp"] == "127.0.0.1"
        await ask(gateway, TEMPORARY, "delete_connection", ConnectionId=id)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1000
    assert (await refused(gateway, TEMPORARY, id))[:2] == (410, "GoneException")


@pytest.mark.parametrize(
    ("caller", "code", "message"),
    [
        (
            Signer(KEYS._replace(secret_key="wrong"), TEMPORARY.region),
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. Consult the service "
            "documentation for details.",
        ),
        (
            Signer(KEYS, "us-east-1"),
            "InvalidSignatureException",
            "Credential should be scoped to a valid region, not 'us-east-1'. ",
        ),
        (
            Signer(KEYS._replace(access_key="AKIDOTHER"), TEMPORARY.region),
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            Signer(KEYS._replace(token=None), TEMPORARY.region),
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
    ],
    ids=["secret", "region", "access key", "no token"],
)
async def test_boto3_with_something_wrong(
    gateway: LocalGateway, function: RecordingFunction, caller: Signer, code: str, message: str
) -> None:
    """Its error has the code and the text; the client of the connection gets nothing."""
    async with connect(gateway.url) as client:
        id = connection_id(await function.wait_for("CONNECT"))
        assert await refused(gateway, caller, id) == (403, code, message)
        await ask(gateway, TEMPORARY, "post_to_connection", ConnectionId=id, Data=b"first")
        assert await client.recv() == "first"


async def test_who_is_unknown_does_not_learn_that_a_connection_is_gone(
    gateway: LocalGateway,
) -> None:
    """Nor that its id or its path is wrong."""
    wrong = Signer(KEYS._replace(secret_key="wrong"), TEMPORARY.region)
    assert (await refused(gateway, wrong))[0] == 403
    assert (await refused(gateway, TEMPORARY))[0] == 410
    for path in (GONE, "x", "", f"{GONE}/x"):
        for method in ("GET", "POST", "DELETE", "PUT"):
            status, headers, body = await manage(gateway.management_url, method, path)
            assert status == 403
            assert headers["x-amzn-errortype"] == "missingauthenticationtokenexception"
            assert json.loads(body) == {"message": "Missing Authentication Token"}


@pytest.mark.parametrize("size", [131073, 1024 * 1024])
async def test_a_message_that_is_too_long_is_no_wrong_signature(
    gateway: LocalGateway, size: int
) -> None:
    """Though the end of it, which was signed, is not kept."""
    said = await refused(gateway, TEMPORARY, data=bytes(size))
    assert said[:2] == (413, "PayloadTooLargeException")


async def test_handshakes_need_no_signature(
    gateway: LocalGateway, function: RecordingFunction
) -> None:
    """Only the management API does."""
    async with connect(gateway.url, additional_headers={"Authorization": "Bearer x"}):
        assert function.types() == ["CONNECT"]


async def test_by_default_no_signature_is_looked_at(function: RecordingFunction) -> None:
    """A wrong one is as good as none."""
    async with LocalGateway(function) as gateway, connect(gateway.url) as client:
        id = connection_id(await function.wait_for("CONNECT"))
        await ask(gateway, TEMPORARY, "post_to_connection", ConnectionId=id, Data=b"hi")
        assert await client.recv() == "hi"
