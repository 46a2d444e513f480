"""The management API's client: what is sent, what is sent again, and what its answers mean."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from longwire.apigateway.management import ConnectionInfo, Management
from longwire.apigateway.slow_clients import SEVERAL
from longwire.exceptions import (
    ConnectionGoneError,
    ManagementError,
    MessageTooLargeError,
    SlowClientError,
)
from longwire_aws.http import HTTPClient
from tests.connections_server import ConnectionsServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.anyio

ID = "QWErT_fALIAMCug="


@pytest.fixture
async def server() -> AsyncIterator[ConnectionsServer]:
    async with ConnectionsServer() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[HTTPClient]:
    client = HTTPClient()
    yield client
    await client.close()


@pytest.fixture
def management(http: HTTPClient) -> Management:
    return Management(http, random=lambda: 0.0)


def _deadline(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


async def test_a_post_is_the_frame_and_nothing_else(
    server: ConnectionsServer, management: Management
) -> None:
    """The connection id is quoted: it ends in "="."""
    await management.post(server.url, ID, "é".encode(), deadline=_deadline())
    assert server.requests == [("POST", ID, "é".encode())]
    assert server.targets == ["/local/@connections/QWErT_fALIAMCug%3D"]


async def test_requests_share_one_kept_alive_connection(
    server: ConnectionsServer, management: Management
) -> None:
    """A new TLS connection costs more than the request."""
    for number in range(5):
        await management.post(server.url, ID, str(number).encode(), deadline=_deadline())
    await management.delete(server.url, ID, deadline=_deadline())
    assert server.frames(ID) == [b"0", b"1", b"2", b"3", b"4"]
    assert server.connected == 1


async def test_a_connection_can_be_asked_about(
    server: ConnectionsServer, management: Management
) -> None:
    """Times are aware; the user agent may be missing."""
    assert await management.get(server.url, ID, deadline=_deadline()) == ConnectionInfo(
        connected_at=datetime(2025, 11, 11, 13, 45, 35, 513000, tzinfo=UTC),
        last_active_at=datetime(2025, 11, 11, 13, 45, 46, 20000, tzinfo=UTC),
        source_ip="203.0.113.7",
        user_agent="probe/1.0",
    )


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"identity":{},"connectedAt":"x"}'])
async def test_an_answer_that_describes_no_connection_is_an_error(
    body: bytes, server: ConnectionsServer, management: Management
) -> None:
    """A proxy may answer in API Gateway's place."""
    server.answers[ID].append(Reply(200, body))
    with pytest.raises(ManagementError, match="does not describe a connection"):
        await management.get(server.url, ID, deadline=_deadline())


@pytest.mark.parametrize("method", ["post", "get", "delete"])
async def test_the_page_of_a_proxy_is_no_success(
    method: str, server: ConnectionsServer, management: Management
) -> None:
    """Whatever it says in place of API Gateway, the frame was not delivered."""
    server.answers[ID].append(Reply(200, b"\n<!doctype html><title>Log in</title>"))
    data = (b"x",) if method == "post" else ()
    with pytest.raises(ManagementError) as caught:
        await getattr(management, method)(server.url, ID, *data, deadline=_deadline())
    assert str(caught.value) == (
        f"@connections/{ID}: {method.upper()} answered 200, not in the form of API Gateway: "
        "is something else at this endpoint?"
    )


async def test_a_frame_over_the_limit_is_not_sent(
    server: ConnectionsServer, management: Management
) -> None:
    """The limit is 128 KB; the frame at the limit is sent."""
    with pytest.raises(MessageTooLargeError) as caught:
        await management.post(server.url, ID, bytes(131073), deadline=_deadline())
    assert (caught.value.size, caught.value.limit) == (131073, 131072)
    assert server.requests == []
    await management.post(server.url, ID, bytes(131072), deadline=_deadline())
    assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [{}, {"x-amzn-errortype": "GoneException"}])
@pytest.mark.parametrize("method", ["post", "get", "delete"])
async def test_410_is_a_gone_connection_which_is_an_oserror(
    method: str, headers: dict[str, str], server: ConnectionsServer, management: Management
) -> None:
    """With AWS's header or without; it is not asked again."""
    server.answers[ID].append(Reply(410, headers=headers))
    arguments: tuple[Any, ...] = (b"x",) if method == "post" else ()
    with pytest.raises(ConnectionGoneError) as caught:
        await getattr(management, method)(server.url, ID, *arguments, deadline=_deadline())
    assert isinstance(caught.value, OSError)
    assert caught.value.connection_id == ID
    assert len(server.requests) == 1


async def test_410_of_a_new_connection_is_asked_again(
    server: ConnectionsServer, management: Management
) -> None:
    """API Gateway knows it a little late."""
    server.answers[ID].extend([410, 410, 410, 200])
    await management.post(server.url, ID, b"x", deadline=_deadline(), new_for=10)
    assert len(server.requests) == 4


async def test_410_is_of_the_time_at_which_it_was_asked(
    server: ConnectionsServer, management: Management
) -> None:
    """An answer that takes long may be of a moment when the connection was not known yet."""
    server.answers[ID].extend([410, 200])
    server.delay = 0.1
    await management.post(server.url, ID, b"x", deadline=_deadline(), new_for=0.05)
    assert server.delivered == [(ID, b"x")]


async def test_410_of_a_new_connection_is_believed_in_the_end(
    server: ConnectionsServer, management: Management
) -> None:
    """It may have gone for good."""
    server.unknown_is_gone = True
    with pytest.raises(ConnectionGoneError):
        await management.post(server.url, ID, b"x", deadline=_deadline(), new_for=0.05)
    assert len(server.requests) > 1


async def test_429_is_asked_again_until_it_is_taken(
    server: ConnectionsServer, management: Management
) -> None:
    """API Gateway has not taken the frame, so it cannot arrive twice."""
    server.answers[ID].extend([429, 429, 200])
    await management.post(server.url, ID, b"x", deadline=_deadline())
    assert server.delivered == [(ID, b"x")]


async def test_429_ends_with_the_deadline(
    server: ConnectionsServer, management: Management
) -> None:
    """It takes no more than half of what the event has left."""
    server.full.add(ID)
    with pytest.raises(SlowClientError):
        await management.post(server.url, ID, b"x", deadline=_deadline(0.4))
    assert 1 <= len(server.requests) <= 4  # the pauses are 0.025, 0.05, 0.1 and 0.2 s


async def test_a_client_that_does_not_read_has_some_seconds_in_all(
    server: ConnectionsServer, http: HTTPClient
) -> None:
    """And then one attempt for each request, whatever it is."""
    management = Management(http, slow_client=0.2, random=lambda: 0.0)
    server.full.add(ID)
    with pytest.raises(SlowClientError, match="its client does not read") as caught:
        await management.post(server.url, ID, b"x", deadline=_deadline())
    assert (caught.value.status, caught.value.until) == (429, None)
    assert len(server.requests) > 2
    while True:  # the rest of its time is less than one pause of the post before
        server.requests.clear()
        with pytest.raises(SlowClientError):
            await management.post(server.url, ID, b"x", deadline=_deadline())
        if len(server.requests) == 1:
            break
    requests: list[Callable[[], Awaitable[object]]] = [
        lambda: management.post(server.url, ID, b"x", deadline=_deadline()),
        lambda: management.get(server.url, ID, deadline=_deadline()),
        lambda: management.delete(server.url, ID, deadline=_deadline()),
    ]
    for request in requests:
        server.requests.clear()
        with pytest.raises(SlowClientError):
            await request()
        assert len(server.requests) == 1
    await management.post(server.url, "other", b"x", deadline=_deadline())
    server.full.clear()
    await management.post(server.url, ID, b"x", deadline=_deadline())
    assert server.delivered[-1] == (ID, b"x")
    server.answers[ID].append(429)
    with pytest.raises(SlowClientError):  # its time comes back only in the course of a minute
        await management.post(server.url, ID, b"y", deadline=_deadline())


async def test_a_fan_out_learns_whether_it_is_one_client_or_all(
    server: ConnectionsServer, management: Management
) -> None:
    """Without patience there is one attempt; only several in a row are too many."""
    names = [f"c{number}" for number in range(SEVERAL)]
    server.full.update(names)
    for name in names[:-1]:
        with pytest.raises(SlowClientError) as slow:
            await management.post(server.url, name, b"x", deadline=_deadline(), patient=False)
        assert slow.value.until is not None
    with pytest.raises(ManagementError) as crowded:
        await management.post(server.url, names[-1], b"x", deadline=_deadline(), patient=False)
    assert (type(crowded.value), crowded.value.status) == (ManagementError, 429)
    assert len(server.requests) == len(names)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 400, 413])
async def test_other_answers_are_errors_at_once(
    status: int, server: ConnectionsServer, management: Management
) -> None:
    """After a 5xx nobody knows whether the frame has arrived: it must not arrive twice."""
    server.answers[ID].append(Reply(status, b'{"message":"what AWS says"}'))
    with pytest.raises(ManagementError) as caught:
        await management.post(server.url, ID, b"x", deadline=_deadline())
    assert caught.value.status == status
    assert str(caught.value) == f"@connections/{ID}: POST answered {status}: what AWS says"
    assert len(server.requests) == 1


async def test_403_names_its_known_causes(
    server: ConnectionsServer, management: Management
) -> None:
    """Permission, endpoint, signature, clock."""
    server.answers[ID].append(Reply(403, b'{"message":"Forbidden"}'))
    with pytest.raises(ManagementError) as caught:
        await management.post(server.url, ID, b"x", deadline=_deadline())
    for cause in (
        "execute-api:ManageConnections",
        "api_gateway_endpoint_url",
        "not signed",
        "clock",
        server.url,
    ):
        assert cause in str(caught.value)


@pytest.mark.parametrize("answer", ["reset", "silence"])
async def test_a_frame_that_may_have_arrived_is_not_sent_again(
    answer: Any, server: ConnectionsServer, management: Management
) -> None:
    """The connection broke, or no answer came, after the request was out."""
    server.answers[ID].append(answer)
    with pytest.raises(ManagementError) as caught:
        await management.post(server.url, ID, b"x", deadline=_deadline(0.3))
    assert caught.value.status is None
    assert len(server.requests) == 1
    if answer == "silence":
        assert "a VPC without a route to execute-api looks like this" in str(caught.value)


async def test_an_endpoint_where_nobody_listens_is_an_error(management: Management) -> None:
    """After a few attempts, since the request surely never arrived."""
    async with ConnectionsServer() as server:
        url = server.url
    with pytest.raises(ManagementError, match=r"POST failed: 127\.0\.0\.1:.*refused"):
        await management.post(url, ID, b"x", deadline=_deadline())


async def test_no_time_left_is_an_error_at_once(
    server: ConnectionsServer, management: Management
) -> None:
    """Nothing is sent."""
    with pytest.raises(ManagementError, match="no time was left"):
        await management.post(server.url, ID, b"x", deadline=_deadline(-1))
    assert server.requests == []
