"""One event, or one request to `@connections`, and what became of it, as the page shows it."""

from __future__ import annotations

import json
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from longwire.local.rules.errors import FunctionError
from longwire.local.rules.results import (
    HandshakeRefused,
    Outcome,
    Raised,
    Returned,
    Verdict,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["CONNECT", "MESSAGE", "DISCONNECT", "HTTP", "AUTHORIZER", "OTHER", "POST", "DELETE"]
Tone = Literal["run", "ok", "warn", "bad"]

# Characters of a payload in the list, and of a text in the details.
PREVIEW, LONGEST = 300, 256 * 1024
# What is kept of one event: frames, bytes of frames, characters of output.
MOST_FRAMES, MOST_FRAME_BYTES, MOST_OUTPUT = 200, 512 * 1024, 64 * 1024
# Lines of a conversation.
MOST_SAID = 60
# What an event takes besides its payload, in bytes, roughly.
SKELETON = 3000


class PostedFrame(NamedTuple):
    """A frame for a client; the status is what the function got for it, None for the gateway's."""

    connection_id: str
    data: bytes
    status: int | None


@dataclass(slots=True, eq=False)
class SeenEvent:
    """Kept as it came: it is described only when somebody looks."""

    number: int
    kind: Kind
    at: float  # epoch seconds
    connection_id: str | None = None
    request_id: str | None = None
    event: Any = None  # as the function got it; None if there was none
    is_running: bool = False
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    http_status: int | None = None  # what the client of an HTTP request got
    late: Outcome | None = None  # what came of it when nobody waited any more
    seconds: float = 0.0
    frames: list[PostedFrame] = field(default_factory=list)
    frames_left_out: int = 0
    process: str | None = None
    is_cold: bool = False
    output: list[str] = field(default_factory=list)
    app_error: str | None = None
    note: str = ""
    replay_of: int | None = None
    frame_bytes: int = 0
    output_size: int = 0
    event_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.event_bytes = _event_size(self.event)

    @property
    def size(self) -> int:
        """How many bytes it keeps, roughly."""
        return self.event_bytes + self.frame_bytes + self.output_size + _size(self.outcome)

    def add_frame(self, frame: PostedFrame) -> None:
        full = len(self.frames) >= MOST_FRAMES
        if full or self.frame_bytes + len(frame.data) > MOST_FRAME_BYTES:
            self.frames_left_out += 1
        else:
            self.frames.append(frame)
            self.frame_bytes += len(frame.data)

    def add_output(self, text: str) -> None:
        room = MOST_OUTPUT - self.output_size
        if room > 0:
            self.output.append(text if len(text) <= room else text[:room] + "\n…")
            self.output_size += len(text)


def kind_of(event: Any) -> Kind:
    """Tell what a function is asked."""
    if not isinstance(event, dict):
        return "OTHER"
    context = event.get("requestContext") or {}
    if event.get("type") == "REQUEST" and "methodArn" in event:
        return "AUTHORIZER"
    if (kind := context.get("eventType")) in ("CONNECT", "MESSAGE", "DISCONNECT"):
        return kind  # type: ignore[no-any-return]
    return "HTTP" if "http" in context or "httpMethod" in event else "OTHER"


def summary(entry: SeenEvent) -> dict[str, Any]:
    """Describe an entry in the list."""
    status, tone = status_of(entry)
    delivered = [frame for frame in entry.frames if frame.status in (None, 200)]
    told: dict[str, Any] = {
        "n": entry.number,
        "kind": entry.kind,
        "at": round(entry.at * 1000),
        "id": entry.connection_id,
        "text": _text(entry)[:PREVIEW],
        "status": status,
        "tone": tone,
        "ms": round(entry.seconds * 1000, 1),
        "route": _context(entry).get("routeKey"),
        "frames": len(delivered) + entry.frames_left_out,
        "reply": _decoded(delivered[0].data, PREVIEW) if delivered else None,
        "process": entry.process,
        "cold": entry.is_cold,
        "output": bool(entry.output),
        "note": entry.note,
        "replay": entry.replay_of,
    }
    return {key: value for key, value in told.items() if value not in (None, "", 0, False)}


def detail(entry: SeenEvent) -> dict[str, Any]:
    """Describe all that is known of an entry."""
    return summary(entry) | {
        "event": _clipped(entry.event),
        "body": _whole_text(entry),
        "answer": _answer(entry.outcome),
        "late": None if entry.late is None else describe(entry.late),
        "posts": [
            {
                "id": frame.connection_id,
                "data": _decoded(frame.data),
                "bytes": len(frame.data),
                "status": frame.status,
            }
            for frame in entry.frames
        ],
        "left_out": entry.frames_left_out,
        "lines": "".join(entry.output),
        "traceback": _traceback(entry.outcome) or _traceback(entry.late),
        "request": entry.request_id,
    }


def conversation(seen: Iterable[SeenEvent], connection_id: str) -> list[dict[str, Any]]:
    """Return what a client has lately sent and got, oldest first."""
    said: deque[dict[str, Any]] = deque(maxlen=MOST_SAID)
    for one in seen:
        if one.kind == "MESSAGE" and one.connection_id == connection_id and one.replay_of is None:
            said.append({"n": one.number, "out": True, "text": _text(one)[:PREVIEW]})
        for frame in one.frames:
            if frame.connection_id == connection_id and frame.status in (None, 200):
                said.append({"n": one.number, "text": _decoded(frame.data, PREVIEW)})
    return list(said)


def status_of(entry: SeenEvent) -> tuple[str, Tone]:
    """Say in a few words what became of an entry, and whether that is well."""
    refused = entry.verdict if isinstance(entry.verdict, HandshakeRefused) else None
    if refused is not None and refused.reason is not None:
        return f"{refused.status} {refused.reason}", "warn"
    if entry.outcome is None:
        if entry.is_running:
            return "running", "run"
        if entry.http_status is not None:
            return f"{entry.http_status} refused", "warn"
        return ("", "warn") if entry.note else ("no route", "warn")
    if entry.kind == "AUTHORIZER" and isinstance(entry.outcome, Returned):
        return _of_authorizer(entry.outcome.value)
    text = _described(entry)
    if entry.app_error is not None:
        return f"{text}, raised {entry.app_error}", "bad"
    if refused is not None:
        shown = text if text == str(refused.status) else f"{refused.status}, {text}"
        return shown, "bad" if refused.status >= 500 else "warn"
    if not isinstance(entry.outcome, Returned) or not text.isdigit():
        return text, "bad"
    status = int(text)
    return text, "bad" if status >= 500 else "warn" if status >= 400 else "ok"


def _described(entry: SeenEvent) -> str:
    outcome = entry.outcome
    assert outcome is not None
    if entry.kind != "HTTP" or not isinstance(outcome, Returned):
        return describe(outcome)
    # Of payload 2.0, which takes an answer without a status for the body of a 200.
    status = outcome.value.get("statusCode") if isinstance(outcome.value, dict) else None
    text = "200" if status is None else str(status)[:40]
    if entry.http_status is None or text == str(entry.http_status):
        return text
    return f"{entry.http_status}, malformed answer"


def _of_authorizer(value: Any) -> tuple[str, Tone]:
    """Say what a policy says, if it says one thing; the line of the CONNECT has what it means."""
    try:
        effects = {one["Effect"] for one in value["policyDocument"]["Statement"]}
        (effect,) = effects
    except (TypeError, KeyError, ValueError):
        return "answered", "ok"
    return str(effect), "ok" if effect == "Allow" else "warn"


def _context(entry: SeenEvent) -> Mapping[str, Any]:
    found = entry.event.get("requestContext") if isinstance(entry.event, dict) else None
    return found if isinstance(found, dict) else {}


def _text(entry: SeenEvent) -> str:
    """Return what is most worth to be read of an entry."""
    context, event = _context(entry), entry.event
    match entry.kind:
        case "MESSAGE":
            return str(event.get("body", ""))
        case "DISCONNECT":
            code, reason = context.get("disconnectStatusCode"), context.get("disconnectReason")
            return f"{code} {reason}".rstrip() if context else ""
        case "CONNECT" | "AUTHORIZER":
            query = event.get("multiValueQueryStringParameters") or {}
            pairs = [f"{name}={one}" for name, values in query.items() for one in values]
            return "?" + "&".join(pairs) if pairs else "/"
        case "HTTP":
            http = context.get("http") or {}
            method = http.get("method") or event.get("httpMethod") or ""
            query = event.get("rawQueryString")
            path = event.get("rawPath") or event.get("path") or ""
            return f"{method} {path}" + (f"?{query}" if query else "")
        case "POST":
            return _decoded(entry.frames[0].data, PREVIEW) if entry.frames else ""
    return ""


def _whole_text(entry: SeenEvent) -> str | None:
    body = entry.event.get("body") if isinstance(entry.event, dict) else None
    return _cut(body) if isinstance(body, str) else None


def _answer(outcome: Outcome | None) -> Any:
    match outcome:
        case Returned(value):
            return _clipped(value)
        case Raised(error):
            return f"{type(error).__name__}: {error}"
    return None if outcome is None else describe(outcome)


def _traceback(outcome: Outcome | None) -> str | None:
    # What a process of its own raises has its traceback in the output.
    if not isinstance(outcome, Raised) or isinstance(outcome.error, FunctionError):
        return None
    return "".join(traceback.format_exception(outcome.error))


def _clipped(value: Any) -> Any:
    """Return what JSON can say of a value, without the middle of long texts."""
    match value:
        case dict():
            return {str(key): _clipped(one) for key, one in value.items()}
        case list() | tuple():
            return [_clipped(one) for one in value]
        case str():
            return _cut(value)
        case bytes():
            return _decoded(value)
        case None | bool() | int() | float():
            return value
    return _cut(repr(value))


def _cut(text: str, limit: int = LONGEST) -> str:
    more = len(text) - limit
    return text if more <= 0 else f"{text[:limit]}… ({more:,} more)"


def _decoded(data: bytes, limit: int = LONGEST) -> str:
    return _cut(data[: 4 * limit + 4].decode(errors="replace"), limit)


def _event_size(event: Any) -> int:
    if not isinstance(event, dict):
        return 500
    headers = event.get("headers") or {}
    body = event.get("body") or ""
    return SKELETON + len(body) + 3 * sum(len(str(value)) for value in headers.values())


def _size(outcome: Outcome | None) -> int:
    if not isinstance(outcome, Returned):
        return 200
    value = outcome.value
    return sum(map(_size_of_part, value.values() if isinstance(value, dict) else [value]))


def _size_of_part(value: object) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    return 8 if isinstance(value, (int, float, type(None))) else len(as_json(value))


def as_json(value: object) -> bytes:
    """Return JSON for the page, whatever a client or a function has put in."""
    # NaN is no JSON, and a lone surrogate no UTF-8.
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(json.loads(json.dumps(value), parse_constant=str), separators=(",", ":"))
    return text.encode("ascii")
