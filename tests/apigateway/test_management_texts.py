"""What the management client says of each failure, and what it repeats that never left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from longwire.apigateway.management import Management
from longwire.exceptions import ManagementError
from longwire_aws.http import Response, TransportError, TransportTimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.anyio

ID = "QWErT_fALIAMCug="
ENDPOINT = "https://e.example/prod"
CAUSES = (
    "known causes: the function's role lacks the permission execute-api:ManageConnections; "
    "the endpoint has the wrong stage or is a custom domain without its mapping, or the API's "
    "execute-api endpoint is disabled (set api_gateway_endpoint_url); "
    "the function's VPC has an execute-api endpoint with private DNS, which refuses all WebSocket "
    "APIs (turn its private DNS off, and give the VPC a NAT gateway, or IPv6 egress and a "
    "dualstack API); "
    "the request was not signed, or the clock of this machine is wrong"
)
OK = Response(200, {}, b"")
REFUSED = TransportError("e.example:443: Connection refused", sent=False)


class MemoryTransport:
    """Answers by a script, and keeps what it was asked."""

    def __init__(self, *answers: Response | TransportError) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[Sequence[tuple[str, str]], bytes]] = []

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        self.requests.append((headers, body))
        answer = self.answers.pop(0)
        if isinstance(answer, TransportError):
            raise answer
        return answer


async def post(http: MemoryTransport) -> None:
    management = Management(http, random=lambda: 0.0)
    await management.post(ENDPOINT, ID, b"secret", deadline=time.monotonic() + 20)


async def test_a_request_that_never_left_is_repeated() -> None:
    """A refused connection is tried again."""
    http = MemoryTransport(REFUSED, REFUSED, OK)
    await post(http)
    assert [body for _, body in http.requests] == [b"secret"] * 3


async def test_a_server_that_stays_away_is_given_up() -> None:
    """Four attempts tell that the endpoint is wrong, whatever time is left."""
    http = MemoryTransport(*[REFUSED] * 9)
    with pytest.raises(ManagementError) as caught:
        await post(http)
    assert str(caught.value) == f"@connections/{ID}: POST failed: e.example:443: Connection refused"
    assert caught.value.__cause__ is REFUSED
    assert len(http.requests) == 4


async def test_a_connection_that_times_out_is_not_tried_again() -> None:
    """Where packets vanish, more attempts only take more of the event's time."""
    timeout = TransportTimeoutError("e.example:443: no connection within 3 s", sent=False)
    http = MemoryTransport(timeout)
    with pytest.raises(ManagementError) as caught:
        await post(http)
    assert str(caught.value) == (
        f"@connections/{ID}: POST timed out: e.example:443: no connection within 3 s; "
        "a VPC without a route to execute-api looks like this (it needs a NAT gateway, or IPv6 "
        "egress and a dualstack API; an execute-api VPC endpoint is for REST APIs only)"
    )


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (403, b'{"message":"Forbidden"}', f"403: Forbidden (endpoint {ENDPOINT}); {CAUSES}"),
        (403, b'{"Message":"User: x"}', f"403: User: x (endpoint {ENDPOINT}); {CAUSES}"),
        (403, b"", f"403 (endpoint {ENDPOINT}); {CAUSES}"),
        (
            403,
            b'{"message":"Signature expired: 20251111T134535Z is now earlier than ..."}',
            "403: Signature expired: 20251111T134535Z is now earlier than ... "
            f"(endpoint {ENDPOINT}); the clock of this machine is wrong: set it",
        ),
        (
            403,
            b'{"message":"The security token included in the request is expired"}',
            "403: The security token included in the request is expired "
            f"(endpoint {ENDPOINT}); these AWS keys have expired and no newer ones were found: "
            "renew them",
        ),
        (400, b'{"message":"' + b"m" * 500 + b'"}', "400: " + "m" * 300),
        *(
            (
                502,
                body,
                "502, not in the form of API Gateway: is something else at this endpoint?",
            )
            for body in (b"<html>proxy</html>", b"[1]", b'{"message":7}', b"\xff")
        ),
    ],
)
async def test_a_refusal_has_its_text(status: int, body: bytes, text: str) -> None:
    """AWS's own message, cut, and what it can be; never what a proxy answered, nor the frame."""
    with pytest.raises(ManagementError) as caught:
        await post(MemoryTransport(Response(status, {}, body)))
    assert str(caught.value) == f"@connections/{ID}: POST answered {text}"
    assert caught.value.status == status


@pytest.mark.parametrize("identity", ['{"sourceIp":"::1","userAgent":null}', '{"sourceIp":"::1"}'])
async def test_a_client_may_have_no_user_agent(identity: str) -> None:
    """AWS then sends null, or nothing."""
    times = '"connectedAt":"2025-11-11T13:45:35Z","lastActiveAt":"2025-11-11T13:45:35Z"'
    http = MemoryTransport(Response(200, {}, f'{{{times},"identity":{identity}}}'.encode()))
    info = await Management(http).get(ENDPOINT, ID, deadline=time.monotonic() + 20)
    assert (info.source_ip, info.user_agent) == ("::1", None)
