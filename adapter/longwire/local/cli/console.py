"""What `longwire dev` shows of each event: one line, without payloads or query strings.

Of a refused handshake it shows the path that was asked for, which is the usual mistake.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from longwire.apigateway.responses import MalformedResultError, parse_result
from longwire.local.rules.errors import FunctionError, FunctionRaisedError
from longwire.local.rules.results import (
    HandshakeRefused,
    Outcome,
    Raised,
    Returned,
    TimedOut,
)

if TYPE_CHECKING:
    from datetime import datetime

    from longwire.local.function.instance import Report
    from longwire.local.session import HandledEvent

# What apps answer for a path that they do not have, the usual reason of a refusal.
NO_SUCH_PATH = {403, 404}


def event_line(invocation: HandledEvent, time: datetime) -> str:
    """Describe one event, for example `13:45:46 MESSAGE QWErT_fA $default 200 3.1 ms 1 post`."""
    context = invocation.event["requestContext"]
    words = [
        f"{time:%H:%M:%S}",
        f"{context['eventType']:<10}",
        context["connectionId"][:8],
        f"{context['routeKey'] or '-':<11}",
        _result(invocation),
        f"{invocation.seconds * 1000:.1f} ms",
    ]
    if invocation.posts:
        words.append(f"{invocation.posts} post{'s' if invocation.posts > 1 else ''}")
    if context["eventType"] == "DISCONNECT":
        words.append(f"{context['disconnectStatusCode']} {context['disconnectReason']}".rstrip())
    return "  ".join(words)


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


def _result(invocation: HandledEvent) -> str:
    if isinstance(invocation.verdict, HandshakeRefused) and invocation.verdict.reason is not None:
        return f"{invocation.verdict.reason}, client gets {invocation.verdict.status}"
    if invocation.outcome is None:
        return "Forbidden: no route for this message"
    text = _outcome(invocation.outcome)
    if not isinstance(invocation.verdict, HandshakeRefused):
        return text
    text += f", client gets {invocation.verdict.status}"
    if invocation.verdict.status not in NO_SUCH_PATH:
        return text
    query = invocation.event.get("queryStringParameters") or {}
    return f"{text} (path {query['path']})" if "path" in query else f"{text} (no ?path=)"


def _outcome(outcome: Outcome) -> str:
    match outcome:
        case TimedOut():
            return "timed out"
        case Raised(FunctionRaisedError() as error):
            return f"raised {error.type}"
        case Raised(FunctionError() as error):
            return str(error)
        case Raised(error):
            return f"raised {type(error).__name__}"
        case Returned(value):
            try:
                return str(parse_result(value).status)
            except MalformedResultError as error:
                return f"malformed ({error})"
