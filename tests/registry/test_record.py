"""What the store keeps for a connection, as versioned JSON."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longwire.apigateway.frames import MAX_MESSAGE, encode
from longwire.asgi.scope import Handshake, asgi_scope
from longwire.asgi.state import Changed, Kept, merge
from longwire.config.schema import MOST_STATE
from longwire.exceptions import RecordVersionError, StoredRecordError
from longwire.registry import record as records
from longwire.registry.record import (
    MAX_DIGESTS,
    NEW_CONNECTION,
    ConnectionRecord,
    digest,
    dumps,
    loads,
)

HANDSHAKE = Handshake(
    scheme="wss",
    path="/",
    query_string="a=1",
    headers="x\n1\nx\n2",
    client="203.0.113.7",
    server=("example.com", 443),
    subprotocols=("chat",),
    connected_at=1762868735513,
)


def _record(**fields: Any) -> ConnectionRecord:
    record = ConnectionRecord(HANDSHAKE)
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def _all_of(record: ConnectionRecord) -> dict[str, object]:
    names = {*vars(record), *ConnectionRecord.__annotations__}
    return {name: getattr(record, name) for name in names}


def test_a_record_comes_back_as_it_was() -> None:
    """Every field, text and bytes alike."""
    record = _record(
        answered=2,
        greeting=["text", b"\x00\xff", "😀"],
        greeting_until=12.5,
        connecting_until=13.5,
        state={"cart": [["a", {"é": 1.5}]], "token": []},
        session={"user": [None]},
        ended=True,
    )
    for frame in ("text", b"\x00\xff", "text"):
        record.remember(frame)
    assert _all_of(loads(dumps(record))) == _all_of(record)


def test_what_is_empty_is_not_stored() -> None:
    """Most connections have neither greeting nor busy tasks."""
    assert set(json.loads(dumps(ConnectionRecord(HANDSHAKE)))) == {"v", "scope"}


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


def test_another_version_is_told_apart_from_damage() -> None:
    """Another function may well be able to read it."""
    with pytest.raises(RecordVersionError):
        loads('{"v":2,"scope":5}')
    for version in ("true", "1.0", '"1"', "null", "[]"):
        with pytest.raises(StoredRecordError) as caught:
            loads(json.dumps(FULL | {"v": json.loads(version)}))
        assert type(caught.value) is StoredRecordError


DEEP = json.loads("[" * 500 + "]" * 500)


def _full() -> Any:
    record = _record(
        answered=2,
        greeting=["text", b"bytes"],
        greeting_until=12.5,
        connecting_until=13.5,
        responded_at=1,
        leaving_until=15.5,
        joined=True,
        gone_at=14.5,
        left_groups=("blue", "green"),
        state={"cart": [["a", {"n": 1}]], "user": [None], "token": []},
        session={"user": ["ann"]},
        ended=True,
        began_at=11.5,
    )
    record.remember("text")
    return json.loads(dumps(record))


FULL = _full()

# In place of the value at the end of each path.
WRONG: list[tuple[str, Any]] = [
    ("scope", [5, "x", None, []]),
    ("scope.scheme", [5, None, "http", "", [], {}]),
    ("scope.path", [5, None, "", "x", ["/"], "/\ud800"]),
    ("scope.query_string", [5, None, "\u00e9", "\udfff"]),
    ("scope.headers", [5, None, "ab", "a\nb\nc", "a\n\ud800", [], {}, ["a", "b"], [["a", "b"]]]),
    ("scope.client", [5, [], {}, True, False, 0, "\ud800"]),
    ("scope.server", [5, "ab", [], ["a"], ["a", "80"], ["a", True], ["a", -1], ["a", 10**6], {}]),
    ("scope.server", [[5, 80], [None, 80], ["\ud800", 80], {"0": "a", "1": 80}, 0, False, ""]),
    ("scope.subprotocols", [5, None, "ab", {}, [5], [None], [["a"]], ["\ud800"]]),
    ("scope.connected_at", [1.5, True, "1", -1, 10**400, [], {}]),
    ("answered", [1.5, True, "1", -1, 10**400, None, [], {}]),
    ("sent", [5, None, "x", [], ["x"], {"a": "1"}, {"a": None}, {"a": -1}, {"a": True}]),
    ("greeting", [5, None, "x", {}, ["x"], [None], [{}], [{"text": 5}], [{"bytes": 5}]]),
    ("greeting", [[{"bytes": "x"}], [{"bytes": "\u00e9"}], [{"text": "\ud800"}], [["text"]]]),
    ("greeting", [[{"text": "x" * (MAX_MESSAGE + 1)}], [{"text": "x", "bytes": "eA=="}]]),
    *[
        (time, [None, "1", True, -1, -0.1, [], {}, 10**400, float("nan"), float("inf")])
        for time in (
            "greeting_until",
            "connecting_until",
            "responded_at",
            "leaving_until",
            "gone_at",
            "began_at",
        )
    ],
    *[(flag, [None, "1", 1, 0, [], {}]) for flag in ("joined", "ended")],
    ("left", [5, None, "ab", {}, [5], [None], [["a"]], ["\ud800"]]),
    *[
        (part, [5, None, "x", [], {"a": 1}, {"a": {}}, {"a": [1, 2]}, {"a": ["\ud800"]}])
        for part in ("state", "session")
    ],
    ("state", [{"\ud800": [1]}, {"a": [float("nan")]}, {"a": [[float("inf")]]}]),
    ("state", [{"a": [DEEP]}, {"a": ["x" * 300_000]}, {"a": ["x" * 200_000], "b": ["x" * 99_999]}]),
]


def _with(path: str, value: Any) -> str:
    stored = copy.deepcopy(FULL)
    *way, last = path.split(".")
    inner = stored
    for key in way:
        inner = inner[key]
    inner[last] = value
    return json.dumps(stored)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(path, value, id=f"{path} {number}")
        for path, values in WRONG
        for number, value in enumerate(values)
    ],
)
def test_a_wrong_value_is_an_error(path: str, value: Any) -> None:
    """Of a wrong type, out of range, or no text: whoever reads a record may rely on it."""
    loads(json.dumps(FULL))
    with pytest.raises(StoredRecordError):
        loads(_with(path, value))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"v":1,"scope":' * 100_000, "9" * 5000, "null"])
def test_what_json_cannot_hold_here_is_an_error(text: str) -> None:
    """Deeper than the stack, or longer than a number may be."""
    for value in (text, '{"v":1,"scope":{},"x":' + text):
        with pytest.raises(StoredRecordError):
            loads(value)


def test_a_huge_record_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_SIZE", 1000)
    with pytest.raises(StoredRecordError, match="over 1000 characters"):
        loads("9" * 1001)


@pytest.mark.parametrize("value", [None, 5, b"{", b"\xff", bytearray(b"[]")])
def test_what_is_no_text_is_an_error(value: Any) -> None:
    """A store of somebody's own may return anything."""
    with pytest.raises(StoredRecordError):
        loads(value)


def test_an_error_has_nothing_of_the_record_in_its_text() -> None:
    """It is logged, and a record may hold tokens."""
    secret = "SECRETtoken"
    for path, value in [
        ("scope.query_string", f"token={secret}\u00e9"),
        ("scope.path", secret),
        ("scope.headers", f"cookie\n{secret}\nx"),
        ("scope.headers", f"cookie\n{secret}\ud800"),
        ("scope.server", secret),
        ("greeting", [{"text": f"{secret}\ud800"}]),
        ("greeting", [secret]),
        ("left", [[secret]]),
        ("state", {secret: secret}),
        ("session", {secret: [secret, f"{secret}\ud800"]}),
        ("v", secret),
    ]:
        with pytest.raises(StoredRecordError) as caught:
            loads(_with(path, value))
        assert secret not in str(caught.value)


def _check(value: str) -> None:
    """Read it; what is taken has to be of use to all who work with records."""
    try:
        record = loads(value)
    except StoredRecordError:
        return
    assert _all_of(loads(dumps(record))) == _all_of(record)
    asgi_scope(record.handshake, state={}, extension={}, event={}, context=None)
    assert (record.handshake.connected_at or 0) / 1000 < 1e13
    record.is_new(1.0)
    record.remember("x")
    assert sum(record.sent.values()) + record.answered >= 0
    for frame in record.greeting:
        if isinstance(frame, str):
            encode(frame, "text")
    "".join(record.left_groups).encode()


_texts = st.text('ab/"{[\\\0\x85é€😀\ud800', max_size=4)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _texts
    | st.sampled_from([10**400, -(10**20), "/", "wss", "\ud800", "é", "eA==", "1", 2**53, 1e300])
)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_texts | st.sampled_from(["text", "bytes"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """Return a record in which a few values, at any depth, are replaced, added or missing."""
    stored = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = stored
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(inner[key], (dict, list)) and draw(st.booleans()):
                inner = inner[key]
                continue
            if draw(st.integers(0, 5)):
                inner[key] = draw(_values)
            else:
                del inner[key]
            break
    return json.dumps(stored, ensure_ascii=draw(st.booleans()))


@given(_mutated())
def test_a_mutated_record_is_an_error_or_as_good_as_any(value: str) -> None:
    _check(value)


@given(st.integers(0, 2000), _texts, st.booleans())
@example(0, "\ufeff", False)
def test_a_torn_record_is_an_error_or_as_good_as_any(at: int, text: str, ends: bool) -> None:
    value = json.dumps(FULL)
    _check(value[:at] + text + ("" if ends else value[at:]))


def test_the_largest_state_can_be_read() -> None:
    """Many small values, whose JSON others would write with more room, and text of all kinds."""
    for value in ([1] * 120_000, "é" * 40_000, ["😀"] * 15_000):
        kept, flaws = merge(Kept({}, {}), Changed({"key": [value]}, {"key": [value]}), MOST_STATE)
        assert kept is not None
        assert len(flaws) == 1
        record = _record(state=kept.state, session=kept.session)
        assert _all_of(loads(dumps(record))) == _all_of(record)


@pytest.mark.parametrize(
    ("times", "until"),
    [
        ({}, NEW_CONNECTION),
        ({"responded_at": 100.0}, 100.0 + NEW_CONNECTION),
        ({"responded_at": 100.0, "leaving_until": 130.0}, 130.0 + NEW_CONNECTION),
        ({"responded_at": 100.0, "connecting_until": 130.0}, 130.0),
    ],
)
def test_a_connection_is_new_until_its_answer_has_left_for_long(
    times: dict[str, float], until: float
) -> None:
    """Where it may be held back, from then on when it surely has left."""
    known = _record(**times)
    assert known.is_new(until - 0.1)
    assert not known.is_new(until + 0.1)
