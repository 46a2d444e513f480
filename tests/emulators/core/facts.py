"""What the script observes: on both cores, and where `longwire dev` differs on purpose."""

from __future__ import annotations

from typing import Any, NamedTuple

ACCEPTED = ["answer", {"statusCode": 200}]
SERVED = ["answer", {"for": 1}]
REGISTERED = [200, ["functionName", "functionVersion", "handler"]]
BAD_BODY = [403, "InvalidRequestFormat"]
TIMED_OUT = ["timeout", "Task timed out after 8.00 seconds"]
STUCK = "no end within ... s: the app blocks its event loop, in app (function.py)"
NO_RECORD = "it has no stored record (expired, lost, or $disconnect was faster)"

BOTH: dict[str, Any] = {
    # Conversations: the core has each response before the greeting goes, and the frames in order.
    "answers of the conversations": {'["answer", {"statusCode": 200}]': 250},
    "frames of the conversations": {
        "responded POST hello POST one? POST one! responded POST two? POST two! responded"
        " POST three? POST three! responded responded": 50
    },
    "the extension's first three requests": [
        "POST /register 200",
        "GET /event/next 200",
        "GET /event/next 200",
    ],
    "all of its requests": {"POST /register 200": 1, "GET /event/next 200": 250},
    "lines of the conversations": [],
    "a refused handshake": ["answer", {"statusCode": 403}],
    "answer of a handshake whose app goes on": ACCEPTED,
    "frames of a handshake whose app goes on": "responded responded POST hello",
    # What fails. The next event is served.
    "a handler that raises": ["error", "ValueError", "the handler raises"],
    "the event after it": SERVED,
    "lines of a handler that raises": ["[ERROR] ValueError: the handler raises"],
    "an app that raises": [ACCEPTED, ACCEPTED, ACCEPTED],
    "frames of an app that raises": "responded POST hello DELETE  responded DELETE  responded",
    "lines of an app that raises": [
        "[ERROR] connection crash=: the app raised",
        "RuntimeError: the app crashes",
        f"[WARNING] connection crash=: deleted: {NO_RECORD}",
    ],
    "the event after the end": SERVED,
    "registrations around the end": 2,
    "a response that is too large": ["error", "Function.ResponseSizeTooLarge"],
    "the event after it is": SERVED,
    # Time that is up: SIGTERM first, so that the app is shut down.
    "a handshake, whose app is then running": ACCEPTED,
    "a handler that does not end": TIMED_OUT,
    "the app is shut down at the timeout": True,
    "the event after the timeout": ACCEPTED,
    "frames around the timeout": "responded POST hello POST a? POST a! responded",
    "a handshake before the loop is stuck": ACCEPTED,
    "the event after the stuck loop": ACCEPTED,
    "frames around the stuck loop": "responded POST hello POST a? POST a! responded",
    "lines of the stuck loop": [
        f"[ERROR] connection stuck=: MESSAGE failed after ... s: {STUCK}",
        f"[ERROR] DeadlineError: {STUCK}",
    ],
    # The app is given up before Lambda's time is up.
    "an app that does not end": ACCEPTED,
    "its line": [
        "[ERROR] connection endless=: the app was still running at the deadline and was cancelled;"
        " it waited in app endless= in app (function.py)"
    ],
    "frames of an app that does not end": "responded POST hello",
    # For the core the extension waits already, and it has no way back: the process ends.
    "the extension's requests when one breaks": [
        "POST /register 200",
        "GET /event/next 200",
        "GET /event/next 403",
    ],
    "lines when it breaks": [
        "[ERROR] the extension ends, as asking for its next event failed: it was answered with 403"
    ],
    "the second event after the break": SERVED,
    # Events that never come to Longwire.
    "events of others are answered": True,
    "the handshake after them": ACCEPTED,
    "its frame": "hello",
    "the extension lets them go soon": True,
    "lines after SIGTERM": ["the app is shut down"],
    # A handler that is made too late for an extension: its greeting waits for the first message.
    "a handler that is made in an event": [ACCEPTED, ACCEPTED],
    "its frames": "responded POST hello POST a? POST a! responded",
    "its extension's requests": ["POST /register 403"],
    "its lines": [
        "[WARNING] nothing can run after a response here (registering as an extension failed: it"
        " was answered with 403): what an app sends right after accept is delivered ahead of the"
        " replies to its client's first message"
    ],
    # The Runtime API and the Extensions API.
    "at import: register without a name": [403, "Extension.InvalidExtensionName"],
    "at import: register with no JSON": BAD_BODY,
    "at import: register with a list": BAD_BODY,
    "at import: register with events that are none": BAD_BODY,
    "at import: register for SHUTDOWN": [403, "Extension.InvalidEventType"],
    "at import: register for what is unknown": [403, "Extension.InvalidEventType"],
    "at import: register with a taken name": [403, "Extension.InvalidExtensionState"],
    "at import: register without events": REGISTERED,
    "at import: register again": [403, "Extension.InvalidExtensionState"],
    "at import: next without an identifier": [403, "Extension.MissingExtensionIdentifier"],
    "at import: next with what is no UUID": [403, "Extension.InvalidExtensionIdentifier"],
    "at import: next of nobody": [403, "Extension.UnknownExtensionIdentifier"],
    "at import: exit without the type of the error": [403, "Extension.MissingHeader"],
    **{f"at import: register number {n}": REGISTERED for n in range(3, 11)},
    "at import: register number 11": [403, "Extension.TooManyExtensions"],
    "in an event: register": [403, "Extension.RegistrationClosed"],
    "in an event: next while one waits": [403, "Extension.InvalidExtensionState"],
    "in an event: exit of one that waits, without a type": [403, "Extension.MissingHeader"],
    "in an event: ping": [200, "pong"],
    "in an event: telemetry": [202, "Telemetry.NotSupported"],
    "in an event: logs": [202, "Logs.NotSupported"],
    "in an event: a response to another event": [400, "InvalidRequestID"],
    "in an event: an error of another event": [400, "InvalidRequestID"],
}


class Difference(NamedTuple):
    """What each of the two does, and why `longwire dev` does not do the same."""

    emulator: Any
    dev: Any
    why: str


# Lambda ends no idle process that it has another event for, and a developer may.
ENDED = "a process that ends between two events fails the next one; here none is lost"
LATE = "the emulator gives the response out when the extension is done; Lambda does it at once"
NO_BODY = "for whoever reads it; the status is what counts"


def _exit_error(how: str) -> list[str]:
    return ["error", "Runtime.ExitError", f"RequestId: ... Error: Runtime exited {how}"]


DIFFERS: dict[str, Difference] = {
    "lines of a handshake whose app goes on": Difference(["nobody had an answer"], [], LATE),
    # Its extension holds the event until its time is up, so that the process is replaced.
    "an app that blocks the loop": Difference(TIMED_OUT, ["error", "DeadlineError", STUCK], LATE),
    "ends of a trace's lines": Difference(
        "\r", "\n", "a terminal writes each line over the one before it"
    ),
    "a handler that ends the process": Difference(
        _exit_error("with error: exit status 3"),
        ["error", "Runtime.ExitError", "the function's process ended with exit status 3"],
        "a text for the terminal, beside which the request is named",
    ),
    "the event after SIGTERM": Difference(
        _exit_error("without providing a reason"), ACCEPTED, ENDED
    ),
    "the event after the break": Difference(
        _exit_error("with error: exit status 1"), SERVED, ENDED
    ),
    "frames around SIGTERM": Difference(
        "responded POST hello responded",
        "responded POST hello responded POST a? POST a! responded",
        ENDED,
    ),
    "a module that raises": Difference(
        ["error", "LookupError", "the module fails"],
        [
            "error",
            "ImportTargetError",
            "importing 'function' failed at function.py: LookupError: the module fails",
        ],
        "it says where the import has failed, in one line",
    ),
    "lines of a module that raises": Difference(
        ["[ERROR] LookupError: the module fails", "[WARNING] LAMBDA_WARNING: Unhandled exception."],
        [],
        "the gateway says it instead",
    ),
    "in an event: a wrong method": Difference([405, ""], [405, "MethodNotAllowed"], NO_BODY),
    "in an event: a wrong method of the extension's": Difference(
        [405, ""], [405, "MethodNotAllowed"], NO_BODY
    ),
    "in an event: a path that is unknown": Difference(
        [404, "404 page not found\n"], [404, "NotFound"], NO_BODY
    ),
}

FACTS = {
    "aws-lambda-rie": BOTH | {about: one.emulator for about, one in DIFFERS.items()},
    "longwire dev": BOTH | {about: one.dev for about, one in DIFFERS.items()},
}
