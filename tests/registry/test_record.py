"""What the store keeps for a connection, as versioned JSON."""

from __future__ import annotations

import json

import pytest

from longwire.asgi.scope import Handshake
from longwire.exceptions import StoredRecordError
from longwire.registry.record import MAX_DIGESTS, ConnectionRecord, digest, dumps, loads

HANDSHAKE = Handshake(
    scheme="wss",
    path="/",
    query_string="a=1",
    headers=(("x", "1"), ("x", "2")),
    client="203.0.113.7",
    server=("example.com", 443),
    subprotocols=("chat",),
    connected_at=1762868735513,
)


def _dumps(record: ConnectionRecord) -> str:
    return dumps(record, exclude_headers=frozenset())


def test_a_record_comes_back_as_it_was() -> None:
    """Every field, text and bytes alike."""
    record = ConnectionRecord(
        HANDSHAKE,
        answered=2,
        greeting=["text", b"\x00\xff", "😀"],
        greeting_until=12.5,
        connecting_until=13.5,
        ended=True,
    )
    for frame in ("text", b"\x00\xff", "text"):
        record.remember(frame)
    assert loads(_dumps(record)) == record


def test_what_is_empty_is_not_stored() -> None:
    """Most connections have neither greeting nor busy tasks."""
    assert set(json.loads(_dumps(ConnectionRecord(HANDSHAKE)))) == {"v", "scope"}


def test_text_and_bytes_of_the_same_letters_differ() -> None:
    """A client sees them alike, but an app that sends both means two frames."""
    assert digest("x") != digest(b"x")


def test_a_record_does_not_grow_with_a_stream() -> None:
    """A greeting is short; what is longer is told apart by its beginning."""
    record = ConnectionRecord(HANDSHAKE)
    for number in range(10 * MAX_DIGESTS):
        record.remember(str(number))
    assert len(record.sent) == MAX_DIGESTS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('{"v":1,"scope":{"sch', "a stored record is not readable: JSONDecodeError("),
        ("", "a stored record is not readable: JSONDecodeError("),
        ("[]", "a stored record is not readable: TypeError("),
        ("{}", "a stored record is not readable: KeyError('v')"),
        ('{"v":2}', "a stored record has version 2; this Longwire reads version 1"),
        ('{"v":1}', "a stored record is not readable: KeyError('scope')"),
        ('{"v":1,"scope":{}}', "the stored scope is not one of ours: KeyError('scheme')"),
    ],
)
def test_a_foreign_record_is_an_error(value: str, text: str) -> None:
    """Truncated, of another version, or somebody else's."""
    with pytest.raises(StoredRecordError) as caught:
        loads(value)
    assert str(caught.value).startswith(text)
