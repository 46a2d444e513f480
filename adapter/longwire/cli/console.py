"""What the developer's terminal shows: one line for each event, and what is logged.

There are no payloads and no query strings in a line. Of a refused handshake it has the path that
was asked for, which is the usual mistake. Whatever a client may have written is escaped.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import sys
from typing import TYPE_CHECKING, TextIO

from longwire.local.routes import hint
from longwire.local.rules.http_results import MalformedHTTPResultError, parse_http_result
from longwire.local.rules.results import (
    HandshakeRefused,
    Returned,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from longwire.local.function.instance import Report
    from longwire.local.invoking import HandledEvent

# What a path that an app does not have is refused with, the usual reason; 400 is for one that
# does not begin with "/".
NO_SUCH_PATH = {400, 403, 404}
# Characters of a path that a line shows.
LONGEST_PATH = 100


def printable(text: str, keep: str = "") -> str:
    """Escape what acts on a terminal, or is no text: control characters, line ends, directions."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in keep else one.encode("unicode_escape").decode()
        for one in text
    )


def write_line(stream: TextIO, line: str) -> None:
    """Write a line in one piece, as processes of the function write to the same place."""
    # An app that runs in this process may have closed the stream, or put anything in its place; and
    # a terminal may be gone. No event is to fail of that.
    with contextlib.suppress(Exception):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()


class PrintableFormatter(logging.Formatter):
    """Escapes what another formatter makes of a record, and ends it with one newline."""

    # Lambda's own formatter ends it with none where there is a traceback.

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        if record.name.partition(".")[0] in ("longwire", "longwire_backends"):
            # One line of ours stays one; the lines of an app and of a traceback stay as they are.
            record = copy.copy(record)
            record.msg, record.args = printable(record.getMessage()), None
        return printable(self._inner.format(record).rstrip("\n"), keep="\n\t") + "\n"


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Shows log records; those that cannot be shown harm nobody."""

    terminator = ""  # the formatter's

    def handleError(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed by the app, or a terminal that was
            super().handleError(record)


def has_colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether colours can be seen, and are not unwanted (https://no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    if sys.platform == "win32" and "WT_SESSION" not in environ:
        return False  # the console of old shows the codes
    with contextlib.suppress(Exception):  # an app may have closed it, or put anything in its place
        return stream.isatty()
    return False


def event_line(
    handled: HandledEvent,
    time: datetime,
    app_error: str | None = None,  # what the app raised though the event was answered
    routes: Sequence[str] = (),  # of the app
    *,
    colours: bool = False,
) -> str:
    """Describe one event, for example `13:45:46 MESSAGE QWErT_fA $default 200 3.1 ms 1 post`."""
    context = handled.event["requestContext"]
    if handled.status is not None:
        return _request_line(handled, time, app_error, routes, colours=colours)
    result = printable(_result(handled, app_error, routes))
    words = [
        _clock(time),
        f"{context['eventType']:<10}",
        context["connectionId"][:8],
        f"{context['routeKey'] or '-':<11}",
        _painted(result, handled, app_error) if colours else result,
        f"{handled.seconds * 1000:.1f} ms",
    ]
    if handled.posts:
        words.append(f"{handled.posts} post{'s' if handled.posts > 1 else ''}")
    if context["eventType"] == "DISCONNECT":
        said = f"{context['disconnectStatusCode']} {context['disconnectReason']}"
        words.append(printable(said.rstrip()))
    return "  ".join(words)


def _clock(time: datetime) -> str:
    return f"{time.hour:02}:{time.minute:02}:{time.second:02}"


def _request_line(
    handled: HandledEvent,
    time: datetime,
    app_error: str | None,
    routes: Sequence[str],
    *,
    colours: bool,
) -> str:
    """Describe an HTTP request, for example `13:45:46  POST  /rooms/blue  200  3.1 ms`."""
    http = handled.event["requestContext"]["http"]
    path = printable(http["path"])
    if len(path) > LONGEST_PATH:
        path = path[: LONGEST_PATH - 1] + "…"
    result = printable(_answered(handled, http, app_error, routes))
    words = [
        _clock(time),
        f"{printable(http['method']):<10}",
        f"{path:<21}",
        _painted(result, handled, app_error) if colours else result,
        f"{handled.seconds * 1000:.1f} ms",
    ]
    return "  ".join(words)


def _answered(
    handled: HandledEvent, http: Mapping[str, str], app_error: str | None, routes: Sequence[str]
) -> str:
    status = handled.status
    match handled.outcome:
        case None if status == 413:
            return "413, as API Gateway takes 10 MB of a request, and Lambda 6 MB of an event"
        case None:
            return f"refused, client gets {status}"
        case Returned(value):
            if status == 500 and (problem := _problem(value, http["method"])) is not None:
                return f"malformed ({problem}), client gets {status}"
            text = str(status)
        case outcome:
            return f"{describe(outcome)}, client gets {status}"
    if app_error is not None:
        return f"{text}, the app raised {app_error}"
    if status == 404 and routes and not hint(http["path"], routes):
        return f"{text} (it is the path of a WebSocket)"
    return text


def _problem(value: object, method: str) -> MalformedHTTPResultError | None:
    """Return why the gateway has answered in the place of the function, if it has."""
    try:
        parse_http_result(value, method)
    except MalformedHTTPResultError as error:
        return error
    return None


def _painted(text: str, handled: HandledEvent, app_error: str | None) -> str:
    """Colour an outcome: green if all is well, yellow for who is refused, red for a fault."""
    green, yellow, red = 32, 33, 31
    refused = handled.verdict.status if isinstance(handled.verdict, HandshakeRefused) else None
    status = handled.status or refused
    if app_error is None and status is not None and (refused or status >= 400):
        colour = red if status >= 500 else yellow
    elif app_error is None and isinstance(handled.outcome, Returned):
        colour = green
    else:
        colour = red
    return f"\x1b[{colour}m{text}\x1b[0m"


def report_line(report: Report) -> str:
    """Describe what an invocation took, as Lambda logs it."""
    words = [
        f"REPORT RequestId: {report.request_id}",
        f"Duration: {report.duration:.2f} ms",
        f"Billed Duration: {math.ceil(report.duration + (report.init or 0))} ms",
        f"Memory Size: {report.memory_size} MB",
    ]
    if report.memory is not None:
        words.append(f"Max Memory Used: {report.memory} MB")
    if report.init is not None:
        words.append(f"Init Duration: {report.init:.2f} ms")
    return "\t".join(words)


def _result(handled: HandledEvent, app_error: str | None, routes: Sequence[str]) -> str:
    if isinstance(handled.verdict, HandshakeRefused) and handled.verdict.reason is not None:
        return f"{handled.verdict.reason}, client gets {handled.verdict.status}"
    if handled.outcome is None:
        return "Forbidden: no route for this message"
    text = describe(handled.outcome)
    if app_error is not None:
        text += f", the app raised {app_error}"
    if not isinstance(handled.verdict, HandshakeRefused):
        return text
    text += f", client gets {handled.verdict.status}"
    if handled.verdict.status not in NO_SUCH_PATH:
        return text
    query = handled.event.get("queryStringParameters") or {}
    path = query.get("path")
    place = "no ?path=" if path is None else f"path {path}"
    advice = hint("/" if path is None else path, routes)
    return f"{text} ({place}; {advice})" if advice else f"{text} ({place})"
