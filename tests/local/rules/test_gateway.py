"""The table of connections, ids and times."""

import json
import re

import pytest

from longwire.local.rules.connection import LOST, ClientHandshake, ConnectionState
from longwire.local.rules.gateway import GatewayRules
from longwire.local.rules.management_api import GONE, PostToConnection
from longwire.local.rules.settings import GatewaySettings

HANDSHAKE = ClientHandshake((), "", "203.0.113.7")
ID = re.compile(r"[A-Za-z0-9_-]{15}=")


class Clock:
    now = 1762868735.513

    def __call__(self) -> float:
        return self.now


class Counter:
    """Random bytes that are different each time and always the same."""

    count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(4) + bytes(range(size - 4))


def make_gateway(**settings: object) -> tuple[GatewayRules, Clock]:
    clock = Clock()
    return GatewayRules(GatewaySettings(**settings), clock=clock, random_bytes=Counter()), clock  # type: ignore[arg-type]  # names vary


def test_ids_have_the_documented_shapes() -> None:
    """URL-safe base64 of 16 characters; a message id ends like its connection's id."""
    gateway, _ = make_gateway()
    connection = gateway.admit(HANDSHAKE)
    context = gateway.message_event(connection, "$default", "x")["requestContext"]
    for name in ("connectionId", "messageId", "requestId"):
        assert ID.fullmatch(context[name])
    assert context["requestId"] == context["extendedRequestId"]
    assert context["messageId"] != context["connectionId"]
    assert context["messageId"][-8:] == context["connectionId"][-8:]


def test_each_event_has_its_own_request_id_and_time() -> None:
    """The time of the connection stays."""
    gateway, clock = make_gateway()
    connection = gateway.admit(HANDSHAKE)
    first = gateway.connect_event(connection)["requestContext"]
    clock.now += 2
    second = gateway.disconnect_event(connection, LOST)["requestContext"]
    assert first["requestId"] != second["requestId"]
    assert (first["connectedAt"], second["connectedAt"]) == (1762868735513, 1762868735513)
    assert (first["requestTimeEpoch"], second["requestTimeEpoch"]) == (1762868735513, 1762868737513)


def test_trace_id_begins_with_the_time() -> None:
    """Root=1-{8 hex digits of seconds}-{24 hex digits}."""
    gateway, _ = make_gateway()
    event = gateway.connect_event(gateway.admit(HANDSHAKE))
    assert re.fullmatch(r"Root=1-69133dff-[0-9a-f]{24}", event["headers"]["X-Amzn-Trace-Id"])


def test_a_connection_can_be_posted_to_from_open_to_close() -> None:
    """Not while it is connecting, and not once it is closed."""
    gateway, _ = make_gateway()
    connection = gateway.admit(HANDSHAKE)
    path = f"/local/@connections/{connection.connection_id}"
    assert gateway.manage("POST", path, b"x") == GONE
    gateway.open(connection)
    assert gateway.manage("POST", path, b"x") == PostToConnection(connection, b"x")
    gateway.close(connection)
    assert gateway.manage("POST", path, b"x") == GONE
    assert (connection.state, gateway.connections) == (ConnectionState.CLOSED, {})


def test_activity_is_seen_from_outside() -> None:
    """GET tells when the last message passed."""
    gateway, clock = make_gateway()
    connection = gateway.admit(HANDSHAKE)
    clock.now += 1
    gateway.touch(connection)
    assert connection.last_active_at == 1762868736513


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", True),
        ("/prod", True),
        ("/prod/", True),
        ("/prod/hello", False),
        ("/prod//", False),
        ("/other", False),
        ("/PROD", False),
    ],
)
def test_sockets_are_opened_at_the_stage_only(path: str, expected: bool) -> None:
    """A path below the stage is refused, a slash after it is not."""
    gateway, _ = make_gateway(stage="prod")
    assert gateway.is_endpoint(path) is expected


@pytest.mark.parametrize(
    ("sizes", "fits"),
    [
        ([32768], True),
        ([32769], False),
        ([32768] * 4, True),
        ([32768] * 4 + [1], False),
        ([0], True),
        ([], True),
    ],
)
def test_frames_and_messages_have_limits(sizes: list[int], fits: bool) -> None:
    """32 KB for a frame, 128 KB for all frames of a message; beyond, 1009."""
    gateway, _ = make_gateway()
    ending = gateway.oversize(sizes)
    assert (ending is None) is fits
    assert ending is None or ending.code == 1009


def test_a_client_may_send_so_many_messages_in_a_second() -> None:
    """And as many at once, if it was quiet for so long; each client for itself."""
    gateway, clock = make_gateway(message_rate=2.0)
    connection, other = gateway.admit(HANDSHAKE), gateway.admit(HANDSHAKE)
    assert [gateway.floods(connection) for _ in range(3)] == [False, False, True]
    assert not gateway.floods(other)
    quiet = gateway.admit(HANDSHAKE)
    clock.now += 3600
    assert [gateway.floods(quiet) for _ in range(3)] == [False, False, True]
    steady = gateway.admit(HANDSHAKE)
    for _ in range(100):
        assert not gateway.floods(steady)
        clock.now += 0.5


@pytest.mark.parametrize("rate", [0.25, 1.0, 5.0])
def test_whoever_sends_faster_than_the_rate_is_found(rate: float) -> None:
    """However slow that is: one message is always taken."""
    gateway, clock = make_gateway(message_rate=rate)
    connection, taken = gateway.admit(HANDSHAKE), 0
    while not gateway.floods(connection):
        taken += 1
        clock.now += 0.5 / rate
    assert 1 <= taken <= 2 * max(rate, 1)


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    """Nor does it let more pass."""
    gateway, clock = make_gateway(message_rate=2.0)
    connection = gateway.admit(HANDSHAKE)
    assert not gateway.floods(connection)
    clock.now -= 3600
    assert [gateway.floods(connection) for _ in range(2)] == [False, True]


def test_without_a_rate_nobody_floods() -> None:
    """As AWS names no figure, that is how it is unless one is set."""
    gateway, _ = make_gateway()
    connection = gateway.admit(HANDSHAKE)
    assert not any(gateway.floods(connection) for _ in range(100_000))


def test_forbidden_frame_names_connection_and_request() -> None:
    """As API Gateway sends it for a message without a route."""
    gateway, _ = make_gateway()
    connection = gateway.admit(HANDSHAKE)
    frame = json.loads(gateway.forbidden_frame(connection))
    assert frame.pop("requestId")
    assert frame == {"message": "Forbidden", "connectionId": connection.connection_id}
