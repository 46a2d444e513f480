"""What an event may be answered, raise and log."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from longwire import LongwireError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.campaigns.fuzz.world import World

# What is logged with a traceback and is the app's own failure.
APPS_OWN = ("raised", "lifespan")


def wrong_with(kind: str, answer: Any) -> Iterator[str]:
    """Say what API Gateway could not do with the answer to a WebSocket event."""
    match answer:
        case {"statusCode": 200} if len(answer) == 1:
            return
        case {"statusCode": bool()}:
            pass
        case {"statusCode": int(status), **others} if kind == "CONNECT":
            headers = others.pop("headers", {})
            accepted = status == 200 or 300 <= status <= 599
            if accepted and not others and isinstance(headers, dict):
                yield from _wrong_with_headers(headers)
                return
    yield f"{kind} was answered {answer!r}"


def _wrong_with_headers(headers: dict[Any, Any]) -> Iterator[str]:
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            yield f"the answer has the header {name!r}: {value!r}, which is no text"
        elif set("\r\n\0") & set(name + value):
            yield f"the answer has a header that is none: {value!r}"
    try:
        json.dumps(headers, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        yield f"the answer cannot leave with {headers!r}: {error}"


def type_of(event: Any) -> str:
    """Return what a WebSocket event says that it is; "?" when it does not."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    kind = context.get("eventType") if isinstance(context, dict) else None
    return kind if kind in ("CONNECT", "MESSAGE", "DISCONNECT") else "?"


def id_of(event: Any) -> str:
    """Return whom an event is about; "" when it does not say."""
    context = event.get("requestContext") if isinstance(event, dict) else None
    connection_id = context.get("connectionId") if isinstance(context, dict) else None
    return connection_id if isinstance(connection_id, str) else ""


def place_of(error: BaseException) -> str:
    """Name the innermost line of this project that an error came through."""
    trace, place = error.__traceback__, "nowhere"
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename
        if "longwire" in path:
            place = f"{path.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def is_from_mangum(error: BaseException) -> bool:
    """Tell whether Mangum raised this, which answers what is no WebSocket event."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("mangum"):
            return True
        trace = trace.tb_next
    return False


@contextmanager
def listening(world: World) -> Iterator[None]:
    """Take what the library logs, and note the failures that it tells nobody else of."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            world.given_up = world.given_up or "is given up" in text
            error = record.exc_info[1] if record.exc_info else None
            is_ours = record.name == "longwire" and not isinstance(error, LongwireError)
            if error is not None and is_ours and not any(part in text for part in APPS_OWN):
                world.wrong.append(f"logged {text:.200}: {error!r:.200} at {place_of(error)}")

    loggers = [logging.getLogger(name) for name in ("longwire", "mangum")]
    before = [logger.propagate for logger in loggers]
    listener = Listener()
    for logger in loggers:
        logger.addHandler(listener)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(listener)
            logger.propagate = propagate
