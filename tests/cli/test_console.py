"""What the terminal shows: one readable line for each event, and nothing that acts on it."""

import io
import logging
import sys
from datetime import datetime
from typing import Any

import pytest

from longwire.cli.console import (
    ConsoleHandler,
    PrintableFormatter,
    event_line,
    has_colours,
    printable,
    write_line,
)
from longwire.local.invoking import HandledEvent
from longwire.local.rules.results import (
    HandshakeAccepted,
    HandshakeRefused,
    Outcome,
    Raised,
    Returned,
    TimedOut,
)

NOON = datetime(2025, 11, 11, 13, 45, 46)


def event(event_type: str, route_key: str, **context: Any) -> dict[str, Any]:
    return {
        "body": "a secret",
        "queryStringParameters": {"token": "a secret"},
        "requestContext": {
            "eventType": event_type,
            "routeKey": route_key,
            "connectionId": "QWErT_fALIAMCug=",
            **context,
        },
    }


OK = Returned({"statusCode": 200})
CONNECT = event("CONNECT", "$connect")
MESSAGE = event("MESSAGE", "$default")
DISCONNECT = event(
    "DISCONNECT", "$disconnect", disconnectStatusCode=1001, disconnectReason="Going away"
)


@pytest.mark.parametrize(
    ("invocation", "line"),
    [
        (
            HandledEvent(CONNECT, OK, 0.0123, 0, HandshakeAccepted()),
            "13:45:46  CONNECT     QWErT_fA  $connect     200  12.3 ms",
        ),
        (
            HandledEvent(CONNECT, Returned({"statusCode": 401}), 0.001, 0, HandshakeRefused(401)),
            "13:45:46  CONNECT     QWErT_fA  $connect     401, client gets 401  1.0 ms",
        ),
        (
            HandledEvent(CONNECT, Returned({"statusCode": 403}), 0.001, 0, HandshakeRefused(403)),
            "13:45:46  CONNECT     QWErT_fA  $connect     403, client gets 403 (no ?path=)  1.0 ms",
        ),
        (
            HandledEvent(MESSAGE, OK, 0.001, 1),
            "13:45:46  MESSAGE     QWErT_fA  $default     200  1.0 ms  1 post",
        ),
        (
            HandledEvent(MESSAGE, OK, 0.001, 12),
            "13:45:46  MESSAGE     QWErT_fA  $default     200  1.0 ms  12 posts",
        ),
        (
            HandledEvent(DISCONNECT, OK, 0.001, 0),
            "13:45:46  DISCONNECT  QWErT_fA  $disconnect  200  1.0 ms  1001 Going away",
        ),
        (
            HandledEvent(event("MESSAGE", ""), None, 0.0, 0),
            "13:45:46  MESSAGE     QWErT_fA  -            "
            "Forbidden: no route for this message  0.0 ms",
        ),
    ],
)
def test_event_line(invocation: HandledEvent, line: str) -> None:
    """Time, type, connection, route, outcome, duration, posts; nothing of what was said."""
    assert event_line(invocation, NOON) == line


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Raised(ValueError("a secret")), "raised ValueError"),
        (TimedOut(), "timed out"),
        (Returned(None), "malformed (expected a dict, got NoneType)"),
    ],
)
def test_failures_are_named(outcome: Outcome, text: str) -> None:
    """A malformed result says what is wrong with it."""
    line = event_line(HandledEvent(MESSAGE, outcome, 0.0, 0), NOON)
    assert line == f"13:45:46  MESSAGE     QWErT_fA  $default     {text}  0.0 ms"


ROUTES = ("/shout", "/rooms/{room}")


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        (None, 403, "(no ?path=; the app has /shout, /rooms/{room})"),
        ({"path": "/shuot"}, 404, "(path /shuot; did you mean /shout?)"),
        ({"path": "shout"}, 400, "(path shout; did you mean /shout?)"),
        ({"path": "/shout"}, 403, "(path /shout)"),  # the app itself has refused
        ({"path": "/shuot"}, 500, ""),
    ],
)
def test_a_refused_path_gets_a_hint(query: dict[str, str] | None, status: int, text: str) -> None:
    refused = event("CONNECT", "$connect") | {"queryStringParameters": query}
    outcome = Returned({"statusCode": status})
    line = event_line(
        HandledEvent(refused, outcome, 0.0, 0, HandshakeRefused(status)), NOON, None, ROUTES
    )
    assert f"{status}, client gets {status} {text}".rstrip() + "  0.0 ms" in line


@pytest.mark.parametrize(
    ("handled", "error", "colour"),
    [
        (HandledEvent(MESSAGE, OK, 0.0, 0), None, 32),
        (HandledEvent(MESSAGE, OK, 0.0, 0), "ValueError", 31),
        (HandledEvent(MESSAGE, TimedOut(), 0.0, 0), None, 31),
        (HandledEvent(CONNECT, OK, 0.0, 0, HandshakeRefused(403)), None, 33),
        (HandledEvent(CONNECT, OK, 0.0, 0, HandshakeRefused(502)), None, 31),
    ],
)
def test_an_outcome_has_a_colour(handled: HandledEvent, error: str | None, colour: int) -> None:
    """Green, yellow for who is refused, red for a fault; without it the line is the same."""
    plain = event_line(handled, NOON, error)
    painted = event_line(handled, NOON, error, colours=True)
    assert f"\x1b[{colour}m" in painted
    assert painted.replace(f"\x1b[{colour}m", "").replace("\x1b[0m", "") == plain


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_that_want_them() -> None:
    assert has_colours(Terminal(), {"NO_COLOR": ""})
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert not has_colours(Terminal(), environ)
    closed = io.StringIO()
    closed.close()
    anything: Any = object()
    for stream in (io.StringIO(), closed, anything):
        assert not has_colours(stream, {})


ACTING = {
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "\x1b[2J": r"\x1b[2J",
    "\x9b2J": r"\x9b2J",
    "a\r\nb\tc": r"a\r\nb\tc",
    "\x00\x08\x7f": r"\x00\x08\x7f",
    "\u202egnp.exe\u2066\u200f": r"\u202egnp.exe\u2066\u200f",
    "a\u2028b\u0085c": r"a\u2028b\x85c",
    "\ud800": r"\ud800",
    "\U000e0041": r"\U000e0041",
}


@pytest.mark.parametrize(("text", "shown"), ACTING.items())
def test_what_acts_on_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_whatever_is_escaped_cannot_act() -> None:
    """Of all characters there are."""
    for start in range(0, 0x110000, 0x1000):
        shown = printable("".join(map(chr, range(start, start + 0x1000))))
        assert shown.isprintable()
        shown.encode()


@pytest.mark.parametrize("text", ["", "plain", "é 🎉 日本語", 'quotes " and \\x1b'])
def test_text_stays_text(text: str) -> None:
    assert printable(text) is text


@pytest.mark.parametrize(("text", "shown"), ACTING.items())
def test_a_client_cannot_act_on_the_terminal(text: str, shown: str) -> None:
    """Neither by the path that it asks for nor by the reason that it closes with."""
    refused = event("CONNECT", "$connect") | {"queryStringParameters": {"path": text}}
    line = event_line(
        HandledEvent(refused, Returned({"statusCode": 403}), 0.0, 0, HandshakeRefused(403)), NOON
    )
    assert f"403, client gets 403 (path {shown})" in line
    closed = event("DISCONNECT", "$disconnect", disconnectStatusCode=1000, disconnectReason=text)
    assert event_line(HandledEvent(closed, OK, 0.0, 0), NOON).endswith(f"1000 {shown}")


class Logged:
    """A logger with the console's handler and a stream that can be read."""

    def __init__(self, name: str) -> None:
        self.stream = io.StringIO()
        self.handler = ConsoleHandler(self.stream)
        form = logging.Formatter("%(levelname)s %(name)s: %(message)s")
        self.handler.setFormatter(PrintableFormatter(form))
        self.logger = logging.Logger(name)
        self.logger.addHandler(self.handler)


@pytest.mark.parametrize("name", ["longwire", "longwire.local", "longwire_backends"])
def test_a_line_of_ours_stays_one_line(name: str) -> None:
    """Whatever a client puts into it."""
    log = Logged(name)
    log.logger.warning("refused %s", "/a\x1b[2J\n13:45:46  CONNECT \ud800")
    assert log.stream.getvalue() == (
        f"WARNING {name}: refused /a\\x1b[2J\\n13:45:46  CONNECT \\ud800\n"
    )


def test_lines_of_an_app_and_tracebacks_stay_lines() -> None:
    """But nothing in them acts on the terminal."""
    log = Logged("app")
    log.logger.info("two\n\tlines\x1b[2J")
    try:
        raise ValueError("\ud800\x07")
    except ValueError:
        log.logger.exception("failed")
    first, second, failed, *traceback = log.stream.getvalue().splitlines()
    assert (first, second) == ("INFO app: two", "\tlines\\x1b[2J")
    assert (failed, traceback[0]) == ("ERROR app: failed", "Traceback (most recent call last):")
    assert traceback[-1] == "ValueError: \\ud800\\x07"


def test_a_record_that_cannot_be_shown_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an app has closed the stream, and the one for complaints, too."""
    log = Logged("longwire")
    log.stream.close()
    monkeypatch.setattr(sys, "stderr", log.stream)
    log.logger.warning("nobody sees it")


def test_a_line_that_cannot_be_shown_harms_nobody() -> None:
    """A closed stream, none at all, one that takes ASCII only, and something else altogether."""
    closed = io.StringIO()
    closed.close()
    nothing: Any = None
    anything: Any = object()
    for stream in (closed, nothing, anything):
        write_line(stream, "a line")
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii")
    write_line(ascii_only, "path é")
    assert raw.getvalue() == b"path \\xe9\n"


def http(path: str = "/rooms/blue", method: str = "POST") -> dict[str, Any]:
    of_http = {"method": method, "path": path}
    return {
        "rawQueryString": "token=a-secret",
        "body": "a secret",
        "requestContext": {"http": of_http, "requestId": "1"},
    }


@pytest.mark.parametrize(
    ("handled", "error", "result"),
    [
        (HandledEvent(http(), OK, 0.0031, status=200), None, "/rooms/blue            200"),
        (
            HandledEvent(http("/a\r\n\x1b[2J" + "b" * 20), OK, 0.0031, status=200),
            None,
            "/a\\r\\n\\x1b[2J" + "b" * 20 + "  200",
        ),
        (HandledEvent(http("/" * 200), OK, 0.0031, status=200), None, "/" * 99 + "…  200"),
        (
            HandledEvent(http(), Returned({"statusCode": 500}), 0.0031, status=500),
            "KeyError",
            "/rooms/blue            500, the app raised KeyError",
        ),
        (
            HandledEvent(http(), Raised(KeyError("a secret")), 0.0031, status=500),
            None,
            "/rooms/blue            raised KeyError, client gets 500",
        ),
        (
            HandledEvent(http(), TimedOut(), 0.0031, status=503),
            None,
            "/rooms/blue            timed out, client gets 503",
        ),
        (
            HandledEvent(http(), Returned({"statusCode": "x"}), 0.0031, status=500),
            None,
            "/rooms/blue            malformed (statusCode: expected an int of 200 to 599, got "
            "'x'), client gets 500",
        ),
        (
            HandledEvent(http(), None, 0.0031, status=413),
            None,
            "/rooms/blue            413, as API Gateway takes 10 MB of a request, and Lambda 6 MB "
            "of an event",
        ),
        (
            HandledEvent(http(), None, 0.0031, status=431),
            None,
            "/rooms/blue            refused, client gets 431",
        ),
        (
            HandledEvent(http("/talk"), Returned({"statusCode": 404}), 0.0031, status=404),
            None,
            "/talk                  404 (it is the path of a WebSocket)",
        ),
        (
            HandledEvent(http("/walk"), Returned({"statusCode": 404}), 0.0031, status=404),
            None,
            "/walk                  404",
        ),
    ],
)
def test_a_request_is_one_line(handled: HandledEvent, error: str | None, result: str) -> None:
    """Its method, path and status; no query, no body, nothing that acts on the terminal."""
    line = event_line(handled, NOON, error, ["/talk"])
    assert line == f"13:45:46  POST        {result}  3.1 ms"


@pytest.mark.parametrize(
    ("status", "error", "colour"),
    [(200, None, 32), (302, None, 32), (404, None, 33), (500, None, 31), (200, "KeyError", 31)],
)
def test_a_request_has_the_colour_of_its_status(
    status: int, error: str | None, colour: int
) -> None:
    """Yellow for what the client has done wrong."""
    handled = HandledEvent(http(), Returned({"statusCode": status}), 0.0, status=status)
    assert f"\x1b[{colour}m{status}" in event_line(handled, NOON, error, colours=True)
