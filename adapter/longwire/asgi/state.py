"""What an app changes in its connection's state: seen, written as JSON, merged, put back.

`scope["state"]` is one dict, private to a connection under every server, and `scope["session"]`,
where a middleware made one, is so, too. What the connect part puts there it puts there again in
each event. What changes after that is stored, and is put in when the next event is handed over.
"""

from __future__ import annotations

import json
from operator import is_
from typing import TYPE_CHECKING, Any

from longwire.asgi import values
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from longwire.types import Scope

    # What is stored of a dict: each key that has changed, with its value in a list, which is empty
    # for one that was removed: the connect part may set it again.
    Entries = dict[str, list[Any]]
    # The same of one event; None for a key of which nothing has to be known any more.
    Changes = dict[str, list[Any] | None]

NAMES = ("state", "session")
_MISSING = object()
_NEW = (_MISSING, "")


class Flaw(NamedTuple):
    """What cannot be stored, and why; without the value, which may be a secret."""

    of: str  # "state" or "session"
    key: str | None  # None where it is about all of it
    reason: str


class Kept(NamedTuple):
    """What is stored of a connection's scope."""

    state: Entries
    session: Entries

    def state_values(self) -> dict[str, Any]:
        """Return a copy of what the state holds."""
        text = values.encode({key: entry[0] for key, entry in self.state.items() if entry})
        copy: dict[str, Any] = json.loads(text)
        return copy


class Changed(NamedTuple):
    """What is to be stored of an event; whatever has a flaw is left out of it."""

    state: Changes
    session: Changes
    flaws: tuple[Flaw, ...] = ()

    def over(self, older: Changed) -> Changed:
        """Return both, where this one is the later."""
        return Changed(older.state | self.state, older.session | self.session)


NOTHING = Changed({}, {})


class _Noted(NamedTuple):
    """What a dict held when it was last looked at."""

    # Each value with its JSON, which is "" where only another object counts as a change.
    notes: dict[Any, tuple[Any, str]]
    given: set[Any]  # keys that the connect part sets, in the next event, too
    replaced: dict[str, tuple[Any, str]]  # its lists and dicts where others were stored


class ScopeState:
    """The state in one run's scope.

    Args:
        lifespan: the state of the app's startup, whose objects belong to the process.
    """

    # Made in each event: what most of them leave as it is costs nothing here.
    live: bool = False  # it has been handed over, so that what changes in it is stored
    _was: Any = None  # the state itself, then
    _state: _Noted | None = None
    _session: _Noted | None = None

    def __init__(self, scope: Scope, stored: Kept, lifespan: Mapping[str, Any]) -> None:
        self.stored = stored
        self._scope = scope
        self._lifespan = lifespan

    def restore(self) -> None:
        """Put in what is stored, as the event is handed over, and note what is there then."""
        scope, stored = self._scope, self.stored
        if stored.state and not isinstance(scope.get("state"), dict):
            scope["state"] = {}
        self.live = True
        self._was = state = scope.get("state")
        if stored.state or not _is_copy(state, self._lifespan):
            self._state = _restored(state, stored.state, self._lifespan)
        if "session" in scope:
            self._session = _restored(scope["session"], stored.session, {})

    def take(self) -> Changed:
        """Return what has changed since the hand-over, or since this was last asked for."""
        state = self._scope.get("state")
        if not self.live:
            return NOTHING
        if self._state is None and self._session is None and _is_copy(state, self._lifespan):
            return NOTHING
        changes: tuple[Changes, Changes] = {}, {}
        flaws: list[Flaw] = []
        if isinstance(state, dict):
            if self._state is None:
                self._state = _noted_as_given(self._lifespan)
            _take("state", state, self._state, changes[0], flaws)
        elif state is not self._was:
            flaws.append(_no_dict("state", state))
        if self._session is not None:  # else no middleware made one before each hand-over
            session = self._scope.get("session")
            # Litestar puts a class there when it is cleared.
            if session is None or isinstance(session, type):
                session = {}
            if isinstance(session, dict):
                _take("session", session, self._session, changes[1], flaws)
            else:
                flaws.append(_no_dict("session", session))
        return Changed(*changes, tuple(flaws)) if any((*changes, flaws)) else NOTHING

    def release(self) -> None:
        """Let go of the scope: what refers to this may live until the garbage collector comes."""
        self._scope = {}
        self._was = self._state = self._session = None

    def renamed(self) -> list[str]:
        """List the keys whose value of the connect part has changed, though it was replaced.

        The app has it by another name, too, and does not see what is stored.
        """
        return [
            key
            for noted in (self._state, self._session)
            if noted is not None
            for key, (value, text) in noted.replaced.items()
            if _note(value) != text
        ]

    def change(self, changes: Changes) -> None:
        """Change it from outside the app."""
        state = self._scope.get("state")
        if isinstance(state, dict):
            change(state, changes)


def change(state: dict[str, Any], changes: Changes) -> None:
    """Change a connection's state from outside its app."""
    for key, entry in changes.items():
        if entry:
            state[key] = json.loads(values.encode(entry[0]))
        else:
            state.pop(key, None)


def values_of(state: dict[Any, Any], lifespan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of what would be stored of a state if all of it were new."""
    changes: Changes = {}
    _take("state", state, _noted_as_given(lifespan), changes, [])
    return {key: entry[0] for key, entry in changes.items() if entry}


def changes_of(given: Mapping[str, Any], removed: Iterable[str]) -> tuple[Changes, Flaw | None]:
    """Return what is to be stored of values that somebody gives, or what is wrong with them."""
    changes: Changes = {}
    for key in removed:
        if reason := _wrong_key(key):
            return {}, Flaw("state", _shown(key), reason)
        changes[key] = []
    for key, value in given.items():
        text = values.text(value)
        if reason := _wrong_key(key) or values.wrong(value, text):
            return {}, Flaw("state", _shown(key), reason)
        changes[key] = [json.loads(text)]
    return changes, None


def merge(stored: Kept, changed: Changed, limit: int) -> tuple[Kept | None, tuple[Flaw, ...]]:
    """Merge changes key by key into what is stored by now: None if nothing of them is new.

    What would bring it over the limit (bytes of JSON) is left out, and named.
    """
    merged = Kept(stored.state.copy(), stored.session.copy())
    size = sum(_size(key, entry) for entries in merged for key, entry in entries.items())
    flaws: list[Flaw] = []
    applied = False
    for name, key, entry in _smallest_first(changed):
        entries = getattr(merged, name)
        before = entries.get(key)
        after = size + _size(key, entry) - _size(key, before)
        if after > max(size, limit):
            reason = f"with it the state has {after} bytes of JSON, and the limit is {limit}"
            flaws.append(Flaw(name, _shown(key), f"{reason} (ws_config['state_limit'])"))
            continue
        size = after
        if entry is not None:
            entries[key], applied = entry, True
        elif before is not None:
            del entries[key]
            applied = True
    return (merged if applied else None), tuple(flaws)


def fits(value: object, most: int) -> bool:
    """Tell whether what JSON held is what this module stores of a dict, in so many bytes."""
    if not isinstance(value, dict):
        return False
    if not all(isinstance(entry, list) and len(entry) <= 1 for entry in value.values()):
        return False
    return values.are_plain(list(value.values()), most) and all(map(values.is_text, value))


def _is_copy(state: Any, lifespan: Mapping[str, Any]) -> bool:
    """Tell whether a state is still as the startup has made it, objects and all."""
    if not isinstance(state, dict) or len(state) != len(lifespan):
        return False
    return not lifespan or (
        all(map(is_, state, lifespan)) and all(map(is_, state.values(), lifespan.values()))
    )


def _noted_as_given(lifespan: Mapping[str, Any]) -> _Noted:
    return _Noted({key: (value, "") for key, value in lifespan.items()}, set(lifespan), {})


def _restored(mapping: Any, entries: Entries, lifespan: Mapping[str, Any]) -> _Noted | None:
    """Put entries into a dict and note what it holds then; None for what is no dict."""
    if not isinstance(mapping, dict):
        return None
    notes: dict[Any, tuple[Any, str]] = {}
    for key, value in tuple(mapping.items()):
        is_own = key in entries or lifespan.get(key, _MISSING) is value
        notes[key] = value, "" if is_own else _note(value)
    noted = _Noted(notes, set(notes), {})
    for key, entry in entries.items():
        if isinstance(old := mapping.get(key), (dict, list)) and lifespan.get(key) is not old:
            noted.replaced[key] = old, _note(old)
        if entry:
            mapping[key] = value = entry[0]
            notes[key] = value, _note(value)
        elif notes.pop(key, None) is not None:
            del mapping[key]
    return noted


def _take(
    of: str, mapping: dict[Any, Any], noted: _Noted, changes: Changes, flaws: list[Flaw]
) -> None:
    """Add what has changed in a dict and note it; add what of that cannot be stored."""
    notes, given, _ = noted
    noted_before, there = len(notes), 0
    for key, value in tuple(mapping.items()):
        before, text_before = notes.get(key, _NEW)
        there += before is not _MISSING
        if (value is before and not text_before) or values.are_alike(value, before):
            continue
        text = values.text(value)
        has_same_text = text != "" and text == text_before
        if value is before and has_same_text:
            continue
        if reason := _wrong_key(key) or values.wrong(value, text):
            flaws.append(Flaw(of, _shown(key), reason))
            continue
        notes[key] = value, text
        if not has_same_text:  # which may come of something else, as of a tuple
            changes[key] = [json.loads(text)]
    for key in notes.keys() - mapping.keys() if there < noted_before else ():
        if reason := _wrong_key(key):
            flaws.append(Flaw(of, _shown(key), reason))
        else:
            changes[key] = [] if key in given else None
            del notes[key]


def _note(value: object) -> str:
    """Return by what a change within a value is seen: its JSON, or "" where there is none."""
    return values.text(value) if isinstance(value, (dict, list)) else ""


def _wrong_key(key: object) -> str:
    if type(key) is not str:
        return "its key is no str"
    return "" if values.is_text(key) else "its key holds half of a surrogate pair"


def _shown(key: object) -> str:
    return key if isinstance(key, str) else f"a key of type {type(key).__name__}"


def _no_dict(of: str, value: object) -> Flaw:
    return Flaw(of, None, f"it is now of type {type(value).__name__}, and no dict")


def _size(key: str, entry: list[Any] | None) -> int:
    """Return the bytes of JSON that an entry takes, with its colon and comma."""
    return 0 if entry is None else len(values.encode(key)) + len(values.encode(entry)) + 2


def _smallest_first(changed: Changed) -> list[tuple[str, str, list[Any] | None]]:
    """List changes: what is removed makes room first, and what is large stops nothing else."""
    every = [
        (name, key, entry)
        for name, changes in zip(NAMES, changed[:2], strict=True)
        for key, entry in changes.items()
    ]
    return sorted(every, key=lambda one: _size(one[1], one[2]) if one[2] else 0)
