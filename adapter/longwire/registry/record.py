"""What the store keeps for a connection, as versioned JSON."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from longwire.asgi import scope
from longwire.exceptions import StoredRecordError

if TYPE_CHECKING:
    from longwire.asgi.scope import Handshake
    from longwire.types import Frame

VERSION = 1
# A connect step that sends more than this is a stream, not a greeting; a replay is told apart from
# news by its first sends, so the record need not grow with the stream.
MAX_DIGESTS = 256
# For how many seconds after a handshake was answered "gone" may mean "not known yet".
NEW_CONNECTION = 2.0


@dataclass(slots=True)
class ConnectionRecord:
    """A connection between two of its events; all times are in epoch seconds."""

    handshake: Handshake  # what the scope is made of
    answered: int = 0  # how many frames the connect step had sent when its response left
    sent: Counter[str] = field(default_factory=Counter)  # digests of all that it has sent
    greeting: list[Frame] = field(default_factory=list)  # what the client has to get first
    greeting_until: float = 0.0  # somebody is delivering the greeting until then
    connecting_until: float = 0.0  # the connect step may still send until then
    responded_at: float = 0.0
    joined: bool = False  # it may be in groups, or have been
    gone_at: float = 0.0  # when it proved to be gone: whoever takes the record tells the app
    left_groups: tuple[str, ...] = ()  # the groups in which it was then
    ended: bool = False  # by the app; it is deleted after the greeting

    def is_new(self, now: float) -> bool:
        """Tell whether API Gateway may not know it yet: it takes a moment after the response."""
        return self.connecting_until > now or now - self.responded_at < NEW_CONNECTION

    def remember(self, frame: Frame) -> None:
        """Note that the connect step has sent this frame."""
        if len(self.sent) < MAX_DIGESTS:
            self.sent[digest(frame)] += 1


def digest(frame: Frame) -> str:
    """Return a short fingerprint of a frame; text and bytes of the same letters differ."""
    kind, data = (b"t", frame.encode()) if isinstance(frame, str) else (b"b", frame)
    return hashlib.blake2b(kind + data, digest_size=8).hexdigest()


def dumps(record: ConnectionRecord, *, exclude_headers: frozenset[str]) -> str:
    """Return the JSON text for the store; what is empty is left out."""
    stored: dict[str, Any] = {
        "v": VERSION,
        "scope": scope.dump(record.handshake, exclude_headers=exclude_headers),
        "answered": record.answered,
        "sent": record.sent,
        "greeting": [_dump_frame(frame) for frame in record.greeting],
        "greeting_until": record.greeting_until,
        "connecting_until": record.connecting_until,
        "responded_at": record.responded_at,
        "joined": record.joined,
        "gone_at": record.gone_at,
        "left": record.left_groups,
        "ended": record.ended,
    }
    filled = {key: value for key, value in stored.items() if value}
    return json.dumps(filled, separators=(",", ":"))


def loads(value: str) -> ConnectionRecord:
    """Read the JSON text of a store; raises `StoredRecordError`."""
    try:
        stored = json.loads(value)
        version = stored["v"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoredRecordError(f"a stored record is not readable: {error!r}") from error
    if version != VERSION:
        raise StoredRecordError(
            f"a stored record has version {version!r}; this Longwire reads version {VERSION}"
        )
    try:
        return ConnectionRecord(
            scope.load(stored["scope"]),
            stored.get("answered", 0),
            Counter(stored.get("sent", {})),
            [_load_frame(frame) for frame in stored.get("greeting", ())],
            stored.get("greeting_until", 0.0),
            stored.get("connecting_until", 0.0),
            stored.get("responded_at", 0.0),
            stored.get("joined", False),
            stored.get("gone_at", 0.0),
            tuple(stored.get("left", ())),
            stored.get("ended", False),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StoredRecordError(f"a stored record is not readable: {error!r}") from error


def _dump_frame(frame: Frame) -> dict[str, str]:
    if isinstance(frame, str):
        return {"text": frame}
    return {"bytes": base64.b64encode(frame).decode("ascii")}


def _load_frame(stored: dict[str, str]) -> Frame:
    return stored["text"] if "text" in stored else base64.b64decode(stored["bytes"], validate=True)
