"""Requests to API Gateway are signed, requests to this machine are not."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from longwire import Longwire
from longwire.apigateway.endpoint import signing_region
from longwire.apigateway.management import Management
from longwire.apigateway.signing import SigningTransport
from longwire.exceptions import ConfigurationError, ManagementError
from longwire_aws.credentials import CredentialsError
from longwire_aws.http import HTTPClient, Response
from tests.lambda_events import LambdaContext, connect_event, message_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.anyio

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s3cret-key"}
URL = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod/@connections/QWErT_fALIAMCug%3D"


class Recorder(HTTPClient):
    """A client that sends nothing, answers 200 and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        self.requests.append((method, url, dict(headers), body))
        return Response(200, {}, b"")


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the keys of a Lambda function, and no other."""
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    message = await receive()
    await send({"type": "websocket.send", "text": message["text"]})
    await receive()


async def test_a_reply_to_api_gateway_is_signed() -> None:
    """For the region of its URL and the service execute-api."""
    handler = Longwire(_echo, ws_config={"backend": "memory", "params": {}}, lifespan="off")
    transport = Recorder()
    handler.transport = SigningTransport(transport, None)
    await handler.handle(connect_event(), LambdaContext())
    await handler.handle(message_event("hi"), LambdaContext())
    await handler.aclose()
    ((method, url, headers, body),) = transport.requests
    assert (method, url, body) == ("POST", URL, b"hi")
    assert re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/eu-west-1/execute-api/aws4_request, "
        r"SignedHeaders=host;x-amz-date, Signature=[0-9a-f]{64}",
        headers["Authorization"],
    )


async def _headers(url: str = URL) -> dict[str, str]:
    """Return the headers that one POST to this URL goes out with."""
    recorder = Recorder()
    await SigningTransport(recorder, None).request("POST", url, (), b"", timeout=5)
    return recorder.requests[0][2]


async def test_a_session_token_goes_with_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda's keys are temporary; they are read anew when they change."""
    first = await _headers()
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    second = await _headers()
    assert "X-Amz-Security-Token" not in first
    assert second["X-Amz-Security-Token"] == "token"
    assert "x-amz-security-token" in second["Authorization"]


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"])
async def test_plain_http_is_signed_only_with_what_is_at_hand(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Only a gateway on this machine speaks it, and most need neither keys nor region."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    url = "http://localhost:3001/local/@connections/c%3D"
    assert "Authorization" in await _headers(url)
    monkeypatch.delenv(name)
    assert await _headers(url) == {}


async def test_half_a_pair_of_keys_is_an_error_of_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says what is missing, and nothing secret."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    management = Management(SigningTransport(Recorder(), None))
    with pytest.raises(ManagementError, match="POST cannot be signed: ") as caught:
        await management.post(URL, "c=", b"x", deadline=time.monotonic() + 20)
    assert "AWS_SECRET_ACCESS_KEY is not" in str(caught.value)


async def test_an_unknown_region_is_an_error_of_the_request() -> None:
    """The text says which settings there are."""
    management = Management(SigningTransport(Recorder(), None))
    with pytest.raises(ManagementError, match="POST cannot be signed: the region of the"):
        await management.post("https://ws.example.com", "c=", b"x", deadline=time.monotonic() + 20)


@pytest.mark.parametrize(
    ("url", "region_name", "environ", "region"),
    [
        (URL, "us-east-1", {"AWS_REGION": "us-east-2"}, "eu-west-1"),
        ("https://ws.example.com/x", "us-east-1", {"AWS_REGION": "us-east-2"}, "us-east-1"),
        ("https://ws.example.com:443/x", None, {"AWS_REGION": "us-east-2"}, "us-east-2"),
    ],
)
def test_the_region_comes_from_the_url_first(
    url: str, region_name: str | None, environ: dict[str, str], region: str
) -> None:
    """A custom domain does not say where its API is."""
    assert signing_region(url, region_name, environ) == region


def test_an_unknown_region_is_an_error() -> None:
    """With what to set."""
    with pytest.raises(ConfigurationError, match="api_gateway_region_name"):
        signing_region("https://ws.example.com/x", None, {})


async def test_a_scheme_in_capitals_is_signed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with keys that are not in the environment: here it has a half of them."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    transport = Recorder()
    signing = SigningTransport(transport, None)
    with pytest.raises(CredentialsError, match="AWS_SECRET_ACCESS_KEY is not"):
        await signing.request("POST", URL.replace("https", "HTTPS"), timeout=1)
    assert transport.requests == []
