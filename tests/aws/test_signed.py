"""Signed requests: each with the keys of its moment, and what happens when AWS takes no more."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from longwire_aws.credentials import CredentialsError, CredentialsSource
from longwire_aws.http import Response
from longwire_aws.signed import SignedClient
from longwire_aws.sigv4 import Credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

URL = "https://dynamodb.eu-west-1.amazonaws.com/"
OK = Response(200, {}, b"{}")


def refused(code: str, message: str = "") -> Response:
    """An answer as DynamoDB gives it."""
    return Response(400, {}, json.dumps({"__type": code, "message": message}).encode())


EXPIRED = refused("ExpiredTokenException", "The security token included in the request is expired")
SKEWED = refused("InvalidSignatureException", "Signature expired: 20251111T134535Z is now earlier")


class Server:
    """Gives the answers it was made with, one after the other, and keeps what it was asked."""

    def __init__(self, *answers: Response, frozen: float = 0.0, clock: Clock | None = None) -> None:
        self.answers = list(answers)
        self.requests: list[dict[str, str]] = []
        self._frozen = frozen
        self._clock = clock

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        assert 0 < timeout <= 5
        self.requests.append(dict(headers))
        if self._clock is not None:
            self._clock.now += self._frozen
        return self.answers.pop(0)


class Clock:
    """Epoch seconds that pass when a test says so."""

    now = 1762868735.0

    def __call__(self) -> float:
        return self.now


class Rotating(CredentialsSource):
    """Has keys that are replaced when they are discarded, until there are no more."""

    def __init__(self, *names: str) -> None:
        super().__init__({})
        self.names = list(names)

    def current(self) -> Credentials | None:
        return Credentials(self.names[0], "secret") if self.names else None

    def discard(self, rejected: Credentials) -> None:
        if len(self.names) > 1 and rejected.access_key == self.names[0]:
            del self.names[0]


async def ask(server: Server, keys: CredentialsSource, clock: Clock | None = None) -> Response:
    """Send one request through a client with these keys."""
    client = SignedClient(
        server, "dynamodb", lambda _: "eu-west-1", keys=keys, clock=clock or Clock()
    )
    return await client.request("POST", URL, [("X-Amz-Target", "T")], b"{}", timeout=5)


def keys_used(server: Server) -> list[str]:
    """Return the access key of each request, as its signature has it."""
    return [
        request["Authorization"].partition("Credential=")[2].partition("/")[0]
        for request in server.requests
    ]


async def test_given_headers_are_sent_and_signed() -> None:
    """What the caller adds is protected, too."""
    server = Server(OK)
    assert await ask(server, Rotating("A")) == OK
    (headers,) = server.requests
    assert headers["X-Amz-Target"] == "T"
    assert headers["X-Amz-Date"] == "20251111T134535Z"
    assert (
        "Credential=A/20251111/eu-west-1/dynamodb/aws4_request, "
        "SignedHeaders=host;x-amz-date;x-amz-target, " in headers["Authorization"]
    )


async def test_expired_keys_are_replaced_once() -> None:
    """The request goes out again with the newer ones."""
    server = Server(EXPIRED, OK)
    assert await ask(server, Rotating("old", "new")) == OK
    assert keys_used(server) == ["old", "new"]


async def test_newer_keys_that_have_expired_too_are_an_answer() -> None:
    """One refresh, then the error, however many keys there may still be."""
    server = Server(EXPIRED, EXPIRED, OK)
    assert await ask(server, Rotating("old", "older", "oldest")) == EXPIRED
    assert keys_used(server) == ["old", "older"]


async def test_without_newer_keys_nothing_is_repeated() -> None:
    """The environment of a Lambda function keeps its keys."""
    server = Server(EXPIRED, OK)
    assert await ask(server, Rotating("only")) == EXPIRED
    assert keys_used(server) == ["only"]


async def test_any_other_refusal_is_an_answer() -> None:
    """What it means is for the caller to say."""
    answer = refused("AccessDeniedException")
    server = Server(answer, OK)
    assert await ask(server, Rotating("a", "b")) == answer
    assert keys_used(server) == ["a"]


async def test_a_signature_that_grew_old_in_a_frozen_process_is_renewed() -> None:
    """Lambda may stop a process between signing and sending, for minutes."""
    clock = Clock()
    server = Server(SKEWED, OK, frozen=600, clock=clock)
    assert await ask(server, Rotating("a"), clock) == OK
    assert [r["X-Amz-Date"] for r in server.requests] == ["20251111T134535Z", "20251111T135535Z"]


async def test_with_a_wrong_clock_nothing_is_repeated() -> None:
    """A new signature would have the same wrong time."""
    server = Server(SKEWED, OK)
    assert await ask(server, Rotating("a")) == SKEWED
    assert len(server.requests) == 1


async def test_a_search_for_keys_ends_with_the_time_limit() -> None:
    """The error is not one of the server, which was never asked."""

    class Slow(CredentialsSource):
        async def get(self) -> Credentials:
            await asyncio.Event().wait()
            raise AssertionError

    server = Server(OK)
    client = SignedClient(server, "dynamodb", lambda _: "eu-west-1", keys=Slow({}))
    with pytest.raises(CredentialsError) as caught:
        await client.request("POST", URL, timeout=0.01)
    assert str(caught.value) == "no AWS keys: looking for them took longer than 0.01 s"
    assert server.requests == []


async def test_each_request_is_signed_for_its_own_time() -> None:
    """A repeated request does not go out with the old signature."""
    clock = Clock()
    server = Server(OK, OK)
    client = SignedClient(
        server, "dynamodb", lambda _: "eu-west-1", keys=Rotating("a"), clock=clock
    )
    await client.request("POST", URL, timeout=5)
    clock.now += 1
    await client.request("POST", URL, timeout=5)
    assert [r["X-Amz-Date"] for r in server.requests] == ["20251111T134535Z", "20251111T134536Z"]
