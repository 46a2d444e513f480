"""What statuses, close codes and frames of API Gateway's own mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from longwire.doctor.findings import found
from longwire.doctor.resources import Place

if TYPE_CHECKING:
    from longwire.doctor.findings import Finding

_PLACE = Place("-")

STATUSES = {
    400: "connect-400",
    401: "connect-401",
    403: "connect-403",
    404: "connect-404",
    426: "connect-400",
    429: "connect-429",
    500: "connect-500",
    502: "connect-502",
    503: "connect-503",
    504: "connect-503",
}

_CLOSES = {
    1001: "going away: API Gateway says so after 10 minutes without a message, and after 2 hours",
    1003: "the other side does not take this kind of frame; API Gateway takes no binary ones",
    1005: "without a code",
    1006: "the connection broke, without a close",
    1008: "a rule was broken; API Gateway says so of a client that sends too much",
    1009: "the message was too big: API Gateway takes 128 KB",
    1011: "the other side has an error",
    1012: "the service restarts",
}


def of_close(code: int | None, reason: str) -> Finding:
    """Explain a close that the other side began; a plain one may be an app's own decision."""
    if code == 1000:
        return found("close-early", _PLACE, "closed with 1000 before the client did")
    meaning = _CLOSES.get(code or 1006, "a code of the app's own" if (code or 0) >= 3000 else "")
    text = f"closed with {code}" + (f", {meaning}" if meaning else "")
    return found("close-code", _PLACE, text + (f" ({reason[:123]})" if reason else ""))


def of_error_frame(frame: str | bytes) -> Finding | None:
    """Recognize what API Gateway says in the place of the app."""
    try:
        said = json.loads(frame)
    except ValueError:
        return None
    if not isinstance(said, dict) or not {"message", "connectionId", "requestId"} <= set(said):
        return None
    if said["message"] == "Forbidden":
        return found("message-forbidden", _PLACE, "API Gateway has no route for the message")
    if said["message"] in ("Internal server error", "Endpoint request timed out"):
        return found("message-failed", _PLACE, f"API Gateway says {said['message']!r}")
    return None
