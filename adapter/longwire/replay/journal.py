"""What is kept of a conversation with `replay`: its journal, and what the entries of it say.

A journal is an append-only list for each connection. Whoever appends an entry has read all before
it, and gets the position only if nobody else has it. It is the only thing about which the events of
a connection agree: whose turn it is, which messages the app has been given, and in which order.

| entry | who appends it | what it says |
|---|---|---|
| message | the event of a message, or of the end | it came; with a lease, its event has the turn |
| lease | who has the turn, or takes it over | it is alive, and has begun with message `n` |
| rest | who has the turn | the app waits for the client after `n`; it is nobody's turn |
| once | who has the turn | what `longwire.once` got in message `n` (0: in the connect part) |

A message may also be one of a channel layer: then who sends it appends it.
"""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from longwire.asgi.inbox import CHANNEL_MESSAGE
from longwire.exceptions import RecordVersionError, StoredRecordError
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire.asgi.lasting import Rested
    from longwire.types import Message

VERSION = 1
MESSAGE, LEASE, REST, ONCE = "M", "L", "R", "O"
# A text is kept in base64 where its JSON would be longer than it by so many characters in ten: the
# largest message of control characters would not fit into an item of DynamoDB.
MOST_ESCAPES = 3


# Seconds for which a turn is somebody's who says no more: so long waits the next message of a
# client whose event's process has died.
LEASE_TIME = 3.0
# Epoch milliseconds that no clock will show.
MOST_TIME = 1 << 53


class Told(NamedTuple):
    """What the app is to receive, as API Gateway got it."""

    at: int  # when API Gateway got it, in epoch milliseconds
    message: Message

    @property
    def size(self) -> int:
        """Characters, or bytes, of its payload."""
        if self.message["type"] == CHANNEL_MESSAGE:
            return len(_dump(self.message))
        return len(self.message.get("text") or self.message.get("bytes") or "")

    @property
    def is_end(self) -> bool:
        """Whether it is that the client has gone."""
        return bool(self.message["type"] == "websocket.disconnect")


class Result(NamedTuple):
    """What `longwire.once` got."""

    number: int  # of the message in which it was called; 0 in the connect part
    key: str
    value: Any


class KeptResult(NamedTuple):
    """A result as the journal has it."""

    value: Any
    begun: int  # how many messages the app had been given when it was kept


class Given(NamedTuple):
    """How the app was given a message; both times are in epoch seconds."""

    arrived_at: float  # until then it did what it does without that message
    at: float
    frames: int  # so many had been sent before; 0 where nobody knows


class FramesSent(NamedTuple):
    """What the app sent in one turn, where somebody wants to compare it with a replay."""

    frames: int
    digest: str


class Rest(NamedTuple):
    """How a turn has ended; both times are in epoch seconds."""

    begun: int  # so many messages the app had been given
    how: Rested
    given_at: float  # the last of them
    at: float
    frames: int  # it had sent so many in all
    sent: FramesSent | None  # in this turn


class JournalEntry(NamedTuple):
    """An entry that is to be appended."""

    text: str
    # Has a conversation do what it does when it reads the text, where that need not be read.
    apply: Callable[[Conversation], None] | None = None


def message_entry(owner: str, until: float, told: Told) -> JournalEntry:
    """Return the entry of a message; `until` is 0 where the turn is somebody else's."""
    text = f'[{VERSION},"{MESSAGE}","{owner}",{until!r},{told.at},{_dump(told.message)}]'
    if told.message["type"] == CHANNEL_MESSAGE:
        return JournalEntry(text)  # others may have been sent the very same
    return JournalEntry(text, lambda conversation: conversation.add_message(owner, until, told))


def lease_entry(owner: str, until: float, begun: int, frames: int = 0) -> JournalEntry:
    """Return the entry of a lease; so many frames have been sent."""
    text = f'[{VERSION},"{LEASE}","{owner}",{until!r},{begun},{frames}]'
    return JournalEntry(
        text, lambda conversation: conversation.add_lease(owner, until, begun, frames)
    )


def rest_entry(
    owner: str,
    begun: int,
    given_at: float,
    frames: int,
    sent: FramesSent | None = None,
    *,
    how: Rested = "busy",
) -> JournalEntry:
    """Return the entry of a rest; the last message was given at a time, and all frames counted."""
    rest = Rest(begun, how, given_at, time.time(), frames, sent)
    text = f'{begun},"{how}",{given_at!r},{rest.at!r},{frames}'
    if sent is not None:
        text += f',{sent.frames},"{sent.digest}"'
    return JournalEntry(
        f'[{VERSION},"{REST}","{owner}",{text}]',
        lambda conversation: conversation.add_rest(owner, rest),
    )


def once_entry(owner: str, result: Result) -> JournalEntry:
    """Raises `ValueError` or `TypeError` for a value that JSON cannot hold."""
    # It is read from its text: the app may change the value that it got.
    return JournalEntry(_encode([VERSION, ONCE, owner, *result]))


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _dump(message: Message) -> str:
    """Return what an entry says of a message, in JSON."""
    text = message.get("text")
    if text is not None:
        return _dump_text(text)
    if message["type"] == "websocket.disconnect":
        return f'"end",{_encode(message["code"])},{_encode(message.get("reason", ""))}'
    if message["type"] == CHANNEL_MESSAGE:
        from longwire.replay.packing import pack  # nobody else pays for it

        return f'"channel",{_encode(pack(message["message"]))}'
    return f'"bytes","{base64.b64encode(message["bytes"]).decode()}"'


def _dump_text(text: str) -> str:
    encoded = _encode(text)
    if len(encoded) <= len(text) * (10 + MOST_ESCAPES) // 10 + 64:
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which no store can keep
            pass
        else:
            return f'"text",{encoded}'
    return f'"utf-8","{base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()}"'


def _load(form: str, data: Any, reason: str | None = None) -> Message:
    match form:
        case "end" if type(data) is int and isinstance(reason, str):
            return {"type": "websocket.disconnect", "code": data, "reason": reason}
        case "text" if isinstance(data, str):
            return {"type": "websocket.receive", "text": data}
        case "bytes":
            return {"type": "websocket.receive", "bytes": base64.b64decode(data, validate=True)}
        case "utf-8":
            text = base64.b64decode(data, validate=True).decode("utf-8", "surrogatepass")
            return {"type": "websocket.receive", "text": text}
        case "channel" if isinstance(data, dict):
            from longwire.replay.packing import unpack  # nobody else pays for it

            return {"type": CHANNEL_MESSAGE, "message": unpack(data)}
        case _:
            raise ValueError(f"a message of the form {form!r}")


class Conversation:
    """What the entries of a journal say, read one by one; nobody else changes it."""

    def __init__(self) -> None:
        self.position: int = 0  # of the last entry
        self.size: int = 0  # characters of all entries
        self.messages: list[Told] = []
        # By the number of the message and the key, in the order in which the app got them.
        self.results: dict[tuple[int, str], list[KeptResult]] = {}
        self.sent: dict[int, FramesSent] = {}  # by the number of the message
        self.given: list[Given] = []  # those of the messages that the app has been given,
        self.begun: int = 0  # which are so many
        # After which of them a turn has ended, and how the app waited for the client then.
        self.rested: dict[int, Rested] = {0: "busy"}
        self.owner: str = ""  # who has the turn; "" for nobody
        self.until: float = 0.0  # until when, in epoch seconds
        # When the last turn ended, in epoch seconds, and how many frames had been sent by then.
        self._rest = 0.0, 0
        self._numbers: dict[str, int] = {}  # of the messages, by the ids of their events

    def number_of(self, owner: str) -> int | None:
        """Return the number of an event's message, from 1 on; None if it is not there."""
        return self._numbers.get(owner)

    @property
    def waiting(self) -> int:
        """How many messages nobody has begun with."""
        return len(self.messages) - self.begun

    def add_all(self, entries: Sequence[str]) -> None:
        """Read the next entries; raises as `add`."""
        try:
            parsed = json.loads(f"[{','.join(entries)}]")  # far faster than one by one
        except (ValueError, RecursionError):
            parsed = []
        if len(parsed) != len(entries):  # so that it is known which one is not ours
            parsed = [None] * len(entries)
        for entry, parts in zip(entries, parsed, strict=True):
            self.add(entry, parts)

    def add(self, entry: str, parts: list[Any] | None = None) -> None:
        """Read the next entry, parsed or not; raises `StoredRecordError` if it is not ours."""
        try:
            version, kind, owner, *rest = json.loads(entry) if parts is None else parts
            if version != VERSION:
                raise RecordVersionError(f"its journal is of version {version!r}, not {VERSION}")
            if type(owner) is not str or not owner:
                raise ValueError("nobody's entry")
            self._read(kind, owner, rest)
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise self._not_ours(error) from None
        self.position += 1
        self.size += len(entry)

    def add_own(self, entry: JournalEntry) -> None:
        """Note the next entry, which has been appended here."""
        if entry.apply is None:
            return self.add(entry.text)
        try:
            entry.apply(self)
        except ValueError as error:
            raise self._not_ours(error) from None
        self.position += 1
        self.size += len(entry.text)
        return None

    def _not_ours(self, error: Exception) -> StoredRecordError:
        # Its text must not have a value in it, which may be a secret.
        detail = f"entry {self.position + 1} of its journal is not one of ours"
        return StoredRecordError(f"{detail} ({type(error).__name__})")

    def _read(self, kind: str, owner: str, rest: list[Any]) -> None:
        match kind, rest:
            case "M", [float(until) | int(until), int(at), str(form), *data]:
                self.add_message(owner, float(until), Told(at, _load(form, *data)))
            case "L", [float(until) | int(until), int(begun), int(frames)]:
                self.add_lease(owner, float(until), begun, frames)
            case "R", [
                int(begun),
                ("parked" | "still" | "busy") as how,
                at,
                now,
                int(frames),
                *sent,
            ]:
                compared = FramesSent(*sent) if sent else None
                rested = Rest(begun, how, float(at), float(now), frames, compared)
                self.add_rest(owner, rested)
            case "O", [int(number), str(key), value]:
                self._check_owner(owner)
                if not 0 <= number <= self.begun:
                    raise ValueError("a result of a message that nobody has begun with")
                self.results.setdefault((number, key), []).append(KeptResult(value, self.begun))
            case _:
                raise ValueError(f"an entry of the kind {kind!r}")

    # What each of them says; raises `ValueError` for what cannot follow here.

    def add_message(self, owner: str, until: float, told: Told) -> None:
        if owner in self._numbers:
            raise ValueError("a message that is there twice")
        if not 0 <= told.at < MOST_TIME:
            raise ValueError("a message of no time")
        number = len(self.messages)
        if until and number > self.begun:
            raise ValueError("a turn that leaves messages out")
        self.messages.append(told)
        self._numbers[owner] = number = number + 1
        if until:
            self._give_turn(owner, until, number)

    def add_lease(self, owner: str, until: float, begun: int, frames: int) -> None:
        if not self.begun <= begun <= min(self.begun + 1, len(self.messages)):
            raise ValueError("a lease of another message")
        self._give_turn(owner, until, begun, frames)

    def add_rest(self, owner: str, rest: Rest) -> None:
        self._check_owner(owner)
        begun = rest.begun
        if begun != self.begun:
            raise ValueError("a rest after another message")
        self._rest = rest.at, rest.frames
        if begun:
            last = self.given[-1]
            self.given[-1] = Given(last.arrived_at, rest.given_at, last.frames)
        self.rested[begun] = rest.how
        if rest.sent is not None:
            self.sent[begun] = rest.sent
        self.owner, self.until = "", 0.0

    def _give_turn(self, owner: str, until: float, begun: int, frames: int = 0) -> None:
        if begun > self.begun:
            arrived_at = at = until - LEASE_TIME
            # Who has the turn lets the app go on until it is given the next one. So may somebody
            # have done whose turn is taken over, and have sent what must not be sent again.
            if owner != self.owner:
                rested_at, frames = self._rest
            if not self.owner:
                arrived_at = max(self.messages[self.begun].at / 1000, rested_at)
            self.given.append(Given(arrived_at, at, frames))
            self.begun = begun
        elif not begun:  # the connect part goes on
            self.rested.pop(0, None)
        self.owner, self.until = owner, until

    def _check_owner(self, owner: str) -> None:
        """Raise for an entry of somebody whose turn it is not."""
        # The connect part has no turn while nobody else can have one.
        if (self.owner or owner) != owner:
            raise ValueError("an entry out of turn")
