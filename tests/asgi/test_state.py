"""What an app changes in its state: seen, stored as JSON, merged, put back."""

from __future__ import annotations

import enum
import json
from collections import OrderedDict, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware.sessions import Session

from longwire.asgi.state import (
    Changed,
    Flaw,
    Kept,
    ScopeState,
    change,
    changes_of,
    fits,
    merge,
    values_of,
)
from longwire.asgi.values import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from longwire.types import Scope

LIMIT = 32 * 1024


class Conversation:
    """A connection's events: each runs the connect part, is handed over, and runs its own part."""

    def __init__(
        self,
        connect: Callable[[Scope], object] = lambda scope: None,
        *,
        lifespan: Mapping[str, Any] | None = None,
        session: Callable[[], Any] | None = None,
        limit: int = LIMIT,
    ) -> None:
        self.kept = Kept({}, {})
        self.flaws: tuple[Flaw, ...] = ()
        self._connect, self._lifespan, self._limit = connect, lifespan or {}, limit
        self._session = session

    def begin(self) -> tuple[Scope, ScopeState]:
        """Hand an event over."""
        scope: Scope = {"type": "websocket", "state": dict(self._lifespan)}
        if self._session is not None:
            scope["session"] = self._session()
        # As it is read from a store.
        stored = Kept(*(json.loads(json.dumps(entries)) for entries in self.kept))
        state = ScopeState(scope, stored, self._lifespan)
        self._connect(scope)
        state.restore()
        return scope, state

    def end(self, state: ScopeState) -> None:
        """Store what has changed."""
        changed = state.take()
        merged, refused = merge(self.kept, changed, self._limit)
        self.kept = merged or self.kept
        assert fits(self.kept.state, 1 << 20)
        assert fits(self.kept.session, 1 << 20)
        self.flaws = (*changed.flaws, *refused)

    def event(self, do: Callable[[Scope], object]) -> Any:
        scope, state = self.begin()
        told = do(scope)
        self.end(state)
        return told

    def found(self) -> Any:
        """Return what an event finds."""
        found = dict(self.event(lambda scope: dict(scope["state"])))
        assert self.flaws == ()
        return found


def _set(**values: Any) -> Callable[[Scope], object]:
    return lambda scope: scope["state"].update(values)


# --- what stays -----------------------------------------------------------------------------------

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(plain)
def test_what_comes_back_is_what_was_put(value: Any) -> None:
    """Types included: 1 is neither True nor 1.0."""
    talk = Conversation()
    talk.event(_set(value=value))
    if any("surrogate" in flaw.reason for flaw in talk.flaws):
        return
    back = talk.found()["value"]
    assert back == value
    assert repr(back) == repr(value)


def test_a_list_that_grows_is_seen() -> None:
    """And a dict within it."""
    talk = Conversation(_set(cart=[]))
    for _ in range(3):
        talk.event(lambda scope: scope["state"]["cart"].append({"n": 0}))
    talk.event(lambda scope: scope["state"]["cart"][1].update(n=5))
    assert talk.found() == {"cart": [{"n": 0}, {"n": 5}, {"n": 0}]}


def test_the_connect_part_does_not_win() -> None:
    """`ws.state.n = 0` runs again for each event."""
    talk = Conversation(_set(n=0, user=None))

    def count(scope: Scope) -> None:
        scope["state"]["n"] += 1

    for _ in range(3):
        talk.event(count)
    assert talk.found() == {"n": 3, "user": None}
    assert talk.kept.state == {"n": [3]}
    talk.event(_set(n=0))
    assert talk.found()["n"] == 0


def test_what_is_removed_stays_so() -> None:
    """Also what the connect part sets again; what it does not set leaves nothing behind."""
    talk = Conversation(_set(token="t"))
    talk.event(_set(mine=1))
    talk.event(lambda scope: [scope["state"].pop(key) for key in ("token", "mine")])
    assert talk.kept == Kept({"token": []}, {})
    assert talk.found() == {}
    talk.event(_set(token="u"))
    assert talk.found() == {"token": "u"}
    talk.event(lambda scope: scope["state"].pop("token"))
    assert talk.found() == {}


def test_many_keys_that_come_and_go_leave_nothing() -> None:
    talk = Conversation(limit=100)
    for number in range(100):
        talk.event(_set(**{f"request {number}": "x" * 50}))
        talk.event(lambda scope: scope["state"].clear())
        assert talk.flaws == ()
    assert talk.kept == Kept({}, {})


def test_another_dict_in_its_place_counts() -> None:
    """An app may replace it; copies of the scope share the dict."""
    talk = Conversation(_set(a=1))
    talk.event(_set(b=2))
    talk.event(lambda scope: scope.update(state={"c": 3}))
    assert talk.found() == {"c": 3}
    talk.event(lambda scope: dict(scope)["state"].update(d=4))
    assert talk.found() == {"c": 3, "d": 4}


def test_nothing_that_is_untouched_is_stored() -> None:
    """Whatever it is, and however often it is read."""
    pool = object()
    talk = Conversation(
        _set(a=(1, 2), b={1: 2}, c=float("nan"), d={"x": [1]}, e=pool, f=[pool]),
        lifespan={"pool": pool, "config": {"a": 1}},
    )
    _, state = talk.begin()
    changed = state.take()
    assert changed == Changed({}, {})


# --- whose it is ----------------------------------------------------------------------------------


def test_the_objects_of_the_lifespan_stay_the_process_s_own() -> None:
    """Whatever changes in them; a key that is bound anew is the connection's."""
    lifespan: dict[str, Any] = {"rooms": {}, "count": 0, "pool": object()}
    talk = Conversation(lifespan=lifespan)
    talk.event(lambda scope: scope["state"]["rooms"].update(blue=["ann"]))
    assert talk.kept.state == {}
    talk.event(_set(count=1))
    talk.event(_set(rooms={"own": True}))
    assert talk.found() == lifespan | {"count": 1, "rooms": {"own": True}}
    talk.event(_set(count=0))  # the same object as in the lifespan, and still a change
    assert talk.found()["count"] == 0
    talk.event(lambda scope: scope["state"].pop("pool"))
    assert "pool" not in talk.found()


def test_what_a_framework_puts_there_is_left_alone() -> None:
    """As Litestar does: no JSON, there at the hand-over, and the same object after it."""
    own = type("ScopeState", (), {})()
    talk = Conversation(_set(_ls_connection_state=own))

    def handle(scope: Scope) -> None:
        own.body = b"x"
        scope["state"]["n"] = 1

    talk.event(handle)
    assert talk.kept.state == {"n": [1]}
    assert talk.flaws == ()


def test_two_events_merge_key_by_key() -> None:
    """What neither has touched is nobody's; of one key the later wins."""
    talk = Conversation()
    talk.event(_set(a=0, b=0, c=0))
    (one, of_one), (two, of_two) = talk.begin(), talk.begin()
    one["state"].update(a=1, c=1)
    two["state"].update(b=2, c=2)
    talk.end(of_one)
    talk.end(of_two)
    assert talk.found() == {"a": 1, "b": 2, "c": 2}
    (one, of_one), (two, of_two) = talk.begin(), talk.begin()
    one["state"].pop("a")
    two["state"]["b"] = 3
    talk.end(of_one)
    talk.end(of_two)
    assert talk.found() == {"b": 3, "c": 2}


# --- the session ----------------------------------------------------------------------------------


def test_a_session_is_kept_in_the_object_that_its_middleware_made() -> None:
    """Also one of a class of its own."""
    made: list[Session] = []

    def session() -> Session:
        made.append(Session({"from": "cookie"}))
        return made[-1]

    talk = Conversation(session=session)
    talk.event(lambda scope: scope["session"].update(user="ann"))
    scope, _ = talk.begin()
    assert scope["session"] is made[-1]
    assert scope["session"] == {"from": "cookie", "user": "ann"}
    talk.event(lambda scope: scope["session"].clear())
    assert talk.begin()[0]["session"] == {}
    assert talk.kept == Kept({}, {"from": []})


class Empty:
    """As Litestar puts it there for a session that is cleared."""


@pytest.mark.parametrize("cleared", [None, Empty])
def test_a_session_that_is_cleared_is_empty(cleared: Any) -> None:
    talk = Conversation(session=lambda: {"a": 1})
    talk.event(lambda scope: scope.update(session=cleared))
    assert talk.flaws == ()
    assert talk.begin()[0]["session"] == {}


def test_a_session_that_is_no_dict_is_its_middleware_s() -> None:
    """As Channels' is, which has a store of its own; so is one that comes after the hand-over."""
    own = object()
    talk = Conversation(session=lambda: own)
    talk.event(lambda scope: scope.update(session={"a": 1}))
    assert (talk.kept, talk.flaws) == (Kept({}, {}), ())
    talk = Conversation(session=dict)
    talk.event(lambda scope: scope.update(session=own))
    assert talk.flaws == (Flaw("session", None, "it is now of type object, and no dict"),)


# --- what cannot be stored ------------------------------------------------------------------------


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def _cycle() -> Any:
    root: dict[str, Any] = {"children": []}
    root["children"] += [{"parent": root}, {"parent": root}]
    return root


def _shared() -> Any:
    """Make what is deeper than it looks from above: all levels are on the first one, too."""
    levels: list[Any] = [[]]
    for _ in range(MAX_DEPTH):
        levels.append([levels[-1]])
    return levels[::-1]


class Color(enum.StrEnum):
    RED = "red"


BAD = {
    "object": (object(), "of type object"),
    "bytes": (b"x", "of type bytes"),
    "set": ({1}, "of type set"),
    "tuple": ((1, 2), "of type tuple"),
    "inner tuple": ({"a": [(1, 2)]}, "of type tuple"),
    "decimal": ({"price": Decimal(1)}, "of type Decimal"),
    "enum": (Color.RED, "of type Color"),
    "defaultdict": (defaultdict(int), "of type defaultdict"),
    "ordered": ([OrderedDict()], "of type OrderedDict"),
    "int key": ({1: "a"}, "keys that are no str"),
    "bool key": ([{True: "a"}], "keys that are no str"),
    "nan": (float("nan"), "not finite"),
    "infinite": ([-float("inf")], "not finite"),
    "surrogate": ("\ud800", "surrogate"),
    "pair": ("\ud83d\ude00"[:1] + "\ude00", "surrogate"),
    "surrogate key": ({"\ud800": 1}, "surrogate"),
    "huge number": (10**5000, "number JSON cannot hold"),
    "cycle": (_cycle(), "contains itself"),
    "too deep for json": (_nested(100_000), "nested too deeply"),
    "too deep": (_nested(MAX_DEPTH + 1), "over 100 levels"),
    "deeper than it looks": (_shared(), "over 100 levels"),
}


@pytest.mark.parametrize(("value", "reason"), BAD.values(), ids=BAD)
def test_what_json_would_not_give_back_is_named(value: Any, reason: str) -> None:
    """And stops no other key."""
    talk = Conversation(_set(key="old"))
    talk.event(_set(key=value, good=1))
    ((of, key, why),) = talk.flaws
    assert (of, key) == ("state", "key")
    assert reason in why
    assert talk.found() == {"key": "old", "good": 1}
    assert changes_of({"key": value}, ())[1] == Flaw("state", "key", why)


def test_the_deepest_value_comes_back() -> None:
    talk = Conversation()
    talk.event(_set(key=_nested(MAX_DEPTH)))
    assert talk.found() == {"key": _nested(MAX_DEPTH)}


@pytest.mark.parametrize(
    ("before", "after"), [([1], (1,)), ({"1": 2}, {1: 2}), ([[1]], [(1,)]), ("red", Color.RED)]
)
def test_what_only_looks_alike_in_json_is_named(before: Any, after: Any) -> None:
    talk = Conversation()
    talk.event(_set(key=before))
    talk.event(_set(key=after))
    assert [flaw.key for flaw in talk.flaws] == ["key"]
    assert talk.found() == {"key": before}


def _reasons(talk: Conversation) -> list[str]:
    return [flaw.reason for flaw in talk.flaws]


@pytest.mark.parametrize("key", [1, None, ("a",), Color.RED, b"a"])
def test_a_key_that_is_no_str_is_an_error(key: Any) -> None:
    """Set or removed after the hand-over; the connect part's is left alone."""
    talk = Conversation()
    talk.event(lambda scope: scope["state"].update({key: 1, "good": 1}))
    assert _reasons(talk) == ["its key is no str"]
    assert talk.found() == {"good": 1}
    talk = Conversation(lambda scope: scope["state"].update({key: 1}))
    talk.event(_set(good=1))
    assert _reasons(talk) == []
    talk.event(lambda scope: scope["state"].pop(key))
    assert _reasons(talk) == ["its key is no str"]


def test_no_error_has_a_value_in_its_text() -> None:
    """It may be a secret."""
    secret = "SECRET"

    class Token(str):
        def __repr__(self) -> str:
            return secret

    talk = Conversation(session=dict, limit=100)
    values = [Token(secret), {secret: {1: secret}}, [secret, b"SECRET"], secret * 100]
    talk.event(_set(**{str(number): value for number, value in enumerate(values)}))
    assert len(talk.flaws) == len(values)
    assert secret not in repr(talk.flaws)
    talk.event(lambda scope: scope.update(state=Token(secret)))
    assert talk.flaws == (Flaw("state", None, "it is now of type Token, and no dict"),)


@pytest.mark.parametrize("other", [None, [], "x", 5])
def test_what_is_no_dict_in_its_place_is_an_error(other: Any) -> None:
    talk = Conversation()
    talk.event(_set(n=1))
    talk.event(lambda scope: scope.update(state=other))
    assert [(flaw.of, flaw.key) for flaw in talk.flaws] == [("state", None)]
    assert talk.found() == {"n": 1}
    talk.event(lambda scope: scope.pop("state"))
    assert [(flaw.of, flaw.key) for flaw in talk.flaws] == [("state", None)]


def test_a_value_that_raises_when_it_is_read_is_named() -> None:
    class Broken(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("SECRET")

    talk = Conversation(_set(old=Broken(a=1)))
    talk.event(_set(new=Broken(a=1)))
    assert [flaw.key for flaw in talk.flaws] == ["new"]


# --- the limit ------------------------------------------------------------------------------------


def test_a_state_that_grows_past_its_limit_in_one_event() -> None:
    """The large key is named; the others find their place, and what was there stays."""
    talk = Conversation(limit=1000)
    talk.event(_set(big="old"))
    talk.event(_set(big="x" * 1000, a=1, b="y" * 500))
    ((of, key, reason),) = talk.flaws
    assert (of, key) == ("state", "big")
    assert "ws_config['state_limit']" in reason
    assert talk.found() == {"big": "old", "a": 1, "b": "y" * 500}


def test_a_state_that_grows_past_its_limit_in_many_events() -> None:
    """It may shrink again, also where it is over a limit that was larger."""
    talk = Conversation(_set(history=[]), limit=1000)
    events = 0
    while not talk.flaws:
        talk.event(lambda scope: scope["state"]["history"].append("x" * 80))
        events += 1
    assert 10 < events < 13
    kept = talk.found()["history"]
    assert len(kept) == events - 1
    talk._limit = 500
    talk.event(lambda scope: scope["state"]["history"].pop())
    assert talk.found()["history"] == kept[:-1]
    talk.event(_set(history=[]))
    talk.event(_set(history=["y"]))
    assert talk.found() == {"history": ["y"]}


def test_state_and_session_share_the_limit() -> None:
    talk = Conversation(session=dict, limit=1000)
    talk.event(_set(a="x" * 900))
    talk.event(lambda scope: scope["session"].update(b="x" * 900))
    assert [(flaw.of, flaw.key) for flaw in talk.flaws] == [("session", "b")]
    talk.event(lambda scope: (scope["state"].clear(), scope["session"].update(b="x" * 900)))
    assert talk.flaws == ()


# --- from outside ---------------------------------------------------------------------------------


def test_changes_from_outside_are_the_same() -> None:
    talk = Conversation(_set(token="t"))
    changes, _ = changes_of({"user": "ann"}, ["token"])
    merged, _ = merge(talk.kept, Changed(changes, {}), LIMIT)
    assert merged is not None
    talk.kept = merged
    assert talk.found() == {"user": "ann"}
    assert merged.state_values() == {"user": "ann"}
    state = {"token": "t", "other": 1}
    change(state, changes)
    assert state == {"user": "ann", "other": 1}
    assert changes_of({}, [5])[1] == Flaw("state", "a key of type int", "its key is no str")  # type: ignore[list-item]


def test_values_of_a_state_are_what_json_holds() -> None:
    """Without what the process put there."""
    pool: dict[str, Any] = {}
    state = {"pool": pool, "n": 1, "at": object(), "cart": ["a"]}
    values = values_of(state, {"pool": pool})
    assert values == {"n": 1, "cart": ["a"]}
    values["cart"].append("b")
    assert state["cart"] == ["a"]


# --- what a store returns -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "x",
        [],
        {"a": 1},
        {"a": None},
        {"a": {}},
        {"a": [1, 2]},
        {"a": ["\ud800"]},
        {"\ud800": [1]},
        {"a": [float("nan")]},
        {"a": [{"b": float("inf")}]},
        {"a": [_nested(MAX_DEPTH + 1)]},
        {"a": [_nested(900)]},
        {"a": ["x" * 2000]},
    ],
)
def test_what_is_none_of_ours_does_not_fit(value: Any) -> None:
    """Wrong types, no text, no number, too deep, too much."""
    assert fits({"a": [_nested(MAX_DEPTH)], "b": [], "c": [{"d": "é"}]}, 1000)
    assert not fits(value, 1000)


def test_what_has_been_taken_is_not_taken_again() -> None:
    """Only what has changed since; what the connect part sets stays removed."""
    talk = Conversation(_set(token="t", cart=[]))
    scope, state = talk.begin()
    scope["state"]["cart"].append("a")
    del scope["state"]["token"]
    assert state.take() == Changed({"cart": [["a"]], "token": []}, {})
    assert state.take() == Changed({}, {})
    scope["state"]["cart"].append("b")
    scope["state"].update(token="u", mine=1)
    assert state.take() == Changed({"cart": [["a", "b"]], "token": ["u"], "mine": [1]}, {})
    scope["state"].clear()
    assert state.take() == Changed({"cart": [], "token": [], "mine": None}, {})


@pytest.mark.parametrize("value", ["text", 10**20, 0.5, 0.0, None, True])
def test_the_same_value_anew_is_no_change(value: Any) -> None:
    """Nor is a list of the same; what only equals it is one."""
    talk = Conversation()
    talk.event(_set(value=value, values=[value]))
    scope, state = talk.begin()
    scope["state"].update(json.loads(json.dumps({"value": value, "values": [value]})))
    assert state.take() == Changed({}, {})
    for other in ("other", 1, 1.0, -0.0, False):
        scope["state"].update(value=other, values=[other])
        changed = state.take()
        assert repr(changed.state) == repr({"value": [other], "values": [[other]]})
