"""What the store keeps for a connection, as versioned JSON."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from longwire.apigateway.frames import MAX_MESSAGE
from longwire.asgi import scope
from longwire.asgi.state import Kept, fits
from longwire.config.schema import MOST_STATE
from longwire.exceptions import RecordVersionError, StoredRecordError

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.asgi.scope import Handshake
    from longwire.asgi.state import Entries
    from longwire.types import Frame

VERSION = 1
# A connect step that sends more than this is a stream, not a greeting; a replay is told apart from
# news by its first sends, so the record need not grow with the stream.
MAX_DIGESTS = 256
# Characters of a record: more than any that we write, and few enough to be read in an event's time.
MAX_SIZE = 64 * 1024 * 1024
# For how many seconds after the answer to a handshake has left "gone" may mean "not known yet".
NEW_CONNECTION = 2.0


class ConnectionRecord:
    """A connection between two of its events; all times are in epoch seconds.

    No dataclass, which is a tenth of what the first event of a process costs, and what most
    connections leave as it is costs nothing here.
    """

    answered: int = 0  # how many frames the connect step had sent when its response left
    greeting_until: float = 0.0  # somebody is delivering the greeting until then
    connecting_until: float = 0.0  # the connect step may still send until then
    spoken: bool = False  # the client has spoken meanwhile
    ending_at: float = 0.0  # when it ended the connection, unless the client had spoken before
    responded_at: float = 0.0  # when its handshake was answered
    leaving_until: float = 0.0  # that answer may be held back, and leave until then
    joined: bool = False  # it may be in groups, or have been
    gone_at: float = 0.0  # when it proved to be gone: whoever takes the record tells the app
    left_groups: tuple[str, ...] = ()  # the groups in which it was then
    ended: bool = False  # by the app; it is deleted after the greeting
    began_at: float = 0.0  # with `replay`: when the app was first called

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake  # what the scope is made of
        # How often the connect step has sent what, by the digests of frames.
        self.sent: dict[str, int] = {}
        self.greeting: list[Frame] = []  # what the client has to get first
        # What has changed in these two parts of its scope since the connect part.
        self.state: Entries = {}
        self.session: Entries = {}

    @property
    def kept(self) -> Kept:
        """What is put into its scope."""
        return Kept(self.state, self.session)

    @property
    def has_ended(self) -> bool:
        """Whether the app has ended it, so that nobody is told of an end any more."""
        return self.ended or self.ending_at > 0.0

    @property
    def is_settled(self) -> bool:
        """Whether its connect step and its greeting are over, and no end has been noted."""
        under_way = self.greeting or self.greeting_until or self.connecting_until
        return not (under_way or self.ending_at or self.ended)

    def is_new(self, now: float) -> bool:
        """Tell whether API Gateway may not know it yet: it takes a moment after the response."""
        left_at = max(self.responded_at, self.leaving_until)
        return self.connecting_until > now or now - left_at < NEW_CONNECTION

    def remember(self, frame: Frame) -> None:
        """Note that the connect step has sent this frame."""
        count(self.sent, frame)


def count(sent: dict[str, int], frame: Frame) -> None:
    """Count a frame by its digest, unless there are so many that it is a stream."""
    if len(sent) < MAX_DIGESTS:
        key = digest(frame)
        sent[key] = sent.get(key, 0) + 1


def digest(frame: Frame) -> str:
    """Return a short fingerprint of a frame; text and bytes of the same letters differ."""
    kind, data = (b"t", frame.encode()) if isinstance(frame, str) else (b"b", frame)
    return hashlib.blake2b(kind + data, digest_size=8).hexdigest()


# `json.dumps` makes an encoder each time, where the separators are not its own.
_encode: Callable[[object], str] = json.JSONEncoder(separators=(",", ":")).encode
# Without `json.loads`, which also looks for blanks, as none of ours has.
_decode: Callable[[str], tuple[Any, int]] = json.JSONDecoder().raw_decode


def dumps(
    record: ConnectionRecord,
    *,
    exclude_headers: frozenset[str] = frozenset(),
    exclude_query: frozenset[str] = frozenset(),
) -> str:
    """Return the JSON text for the store; what is empty is left out.

    What is excluded is so from the first write on: a record that was read has it no more.
    """
    handshake = scope.dump(
        record.handshake, exclude_headers=exclude_headers, exclude_query=exclude_query
    )
    stored = {"v": VERSION, "scope": handshake}
    stored |= {
        _KEYS[name]: value for name, value in vars(record).items() if value and name in _KEYS
    }
    if record.greeting:
        stored["greeting"] = [_dump_frame(frame) for frame in record.greeting]
    return _encode(stored)


def loads(value: str) -> ConnectionRecord:
    """Read the JSON text of a store; raises `StoredRecordError` for all that is not ours."""
    try:
        if len(value) > MAX_SIZE:
            raise ValueError(f"over {MAX_SIZE} characters")
        stored, end = _decode(value)
        if end != len(value):
            raise ValueError("something follows it")
        version = stored["v"]
        if type(version) is not int:
            raise TypeError("the version is no number")
        if version != VERSION:
            raise RecordVersionError(
                f"a stored record has version {version}; this Longwire reads version {VERSION}"
            )
        handshake = scope.load(stored["scope"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoredRecordError(f"a stored record is not readable: {error!r}") from error
    record = ConnectionRecord(handshake)
    for key, one in stored.items():
        if (fits := _FITS.get(key)) is None:
            continue
        if not fits(one):  # without what it is, which may be a secret
            raise StoredRecordError(f"a stored record is not readable: {key!r} has a wrong value")
        if key == "greeting":
            one = [_load_frame(frame) for frame in one]
        setattr(record, *((LEFT, tuple(one)) if key == "left" else (key, one)))
    return record


def texts(value: object) -> bool:
    """Tell whether what JSON held is a list of texts that UTF-8 can hold."""
    try:
        return isinstance(value, list) and "".join(value).encode() is not None
    except (TypeError, UnicodeEncodeError):  # no str; half of a surrogate pair
        return False


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < scope.MANY


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < scope.MANY  # type: ignore[operator]


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _are_digests(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_frames(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_frame, value))


def _is_frame(value: object) -> bool:
    """Tell whether this is a frame that can be sent."""
    match value:
        case {"text": str(text), **others}:
            return not others and texts([text]) and len(text.encode()) <= MAX_MESSAGE
        case {"bytes": str(text), **others}:
            try:
                data = base64.b64decode(text, validate=True)
            except ValueError:
                return False
            return not others and len(data) <= MAX_MESSAGE
    return False


def _is_state(value: object) -> bool:
    return fits(value, MOST_STATE)


_FITS: dict[str, Callable[[object], bool]] = {
    "answered": _is_count,
    "sent": _are_digests,
    "greeting": _are_frames,
    "greeting_until": _is_time,
    "connecting_until": _is_time,
    "spoken": _is_flag,
    "ending_at": _is_time,
    "responded_at": _is_time,
    "leaving_until": _is_time,
    "joined": _is_flag,
    "gone_at": _is_time,
    "left": texts,
    "state": _is_state,
    "session": _is_state,
    "ended": _is_flag,
    "began_at": _is_time,
}


# The attributes, by the keys of what is stored.
LEFT = "left_groups"
_KEYS = {key: key for key in _FITS} | {LEFT: "left"}


def _dump_frame(frame: Frame) -> dict[str, str]:
    if isinstance(frame, str):
        return {"text": frame}
    return {"bytes": base64.b64encode(frame).decode("ascii")}


def _load_frame(stored: dict[str, str]) -> Frame:
    return stored["text"] if "text" in stored else base64.b64decode(stored["bytes"], validate=True)
