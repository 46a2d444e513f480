"""Who is told of each event: the log, and if so configured CloudWatch's metrics and a trace."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from typing import TYPE_CHECKING, Any

from longwire.apigateway.events import identify
from longwire.exceptions import ConfigurationError
from longwire.observability.event import EventRecord, Observed
from longwire_backends.base import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.apigateway.events import Identity
    from longwire.observability.tracing import Tracing

logger: logging.Logger = logging.getLogger("longwire")

# Seconds that a trace's exporter may hold an event up.
FLUSH_LIMIT = 5.0


class Observer:
    """Observes the events of one handler, and tells of each once it is over.

    `namespace` is that of CloudWatch's metrics, None for none; `takes_parts` says that the events
    of a queue are for this handler.
    """

    def __init__(self, namespace: object, *, tracing: object, takes_parts: bool) -> None:
        self._metrics = None if namespace is None else _metrics(namespace)
        self._tracing = _tracing(tracing)
        self._takes_parts = takes_parts
        self._always_heard = self._metrics is not None or self._tracing is not None

    def begin(self, raw: Any, context: Any) -> Observed:
        """Begin to observe an event; if nobody would be told of it, hardly anything is done."""
        heard = self._always_heard or logger.isEnabledFor(logging.INFO)
        observed = Observed(raw, context, self._tell if heard else None)
        if self._tracing is not None:
            identity = identify(raw, takes_parts=self._takes_parts)
            try:
                observed.span = self._tracing.begin(identity, observed)
            except Exception:  # of a sampler or processor: the client's answer matters more
                logger.exception("the span of an event could not be begun")
        return observed

    def flush(self, seconds: float = FLUSH_LIMIT) -> None:
        """Have all spans exported before the process may be frozen, if there are any."""
        if self._tracing is not None:
            try:
                self._tracing.flush(min(seconds, FLUSH_LIMIT))
            except Exception:
                logger.exception("spans could not be exported")

    def _tell(self, observed: Observed) -> None:
        try:
            identity = identify(observed.raw, takes_parts=self._takes_parts)
            record = _record(observed, identity)
            if logger.isEnabledFor(logging.INFO):
                # Under its span, so that loggers that know traces find this event's.
                span = observed.span
                with contextlib.nullcontext() if span is None else span.current():
                    logger.info(_line(identity, record), extra=record._asdict())
            if observed.span is not None:
                observed.span.end(record)
            if self._metrics is not None:
                # In one piece, as other threads write too.
                sys.stdout.write(self._metrics(record, observed.context))
        except Exception:
            logger.exception("an event could not be told of")


def _record(observed: Observed, identity: Identity) -> EventRecord:
    """Put together what is told of an event."""
    ending = observed.ending
    return EventRecord(
        *identity,
        outcome=ending.word,
        status=ending.status,
        error_type=ending.error_type,
        duration_ms=round((observed.answered - observed.started) * 1000, 3),
        total_ms=round((observed.ended - observed.started) * 1000, 3),
        store_requests=observed.store_requests,
        posts=observed.posts,
        cold=observed.cold,
    )


def _line(identity: Identity, record: EventRecord) -> str:
    told = [identity.name]
    if identity.connection_id is not None:
        told.append(identity.connection_id)
    told.append(record.outcome)
    told.extend(str(detail) for detail in (record.status, record.error_type) if detail is not None)
    line = (
        f"{' '.join(told)}: {record.duration_ms:.1f} ms, {record.total_ms:.1f} ms in all, "
        f"store requests: {record.store_requests}, posts: {record.posts}"
    )
    return line + ", cold" if record.cold else line


def _metrics(namespace: object) -> Callable[[EventRecord, Any], str]:
    from longwire.observability import metrics  # nobody else pays for it

    return functools.partial(metrics.line, metrics.checked(namespace))


def _tracing(wanted: object) -> Tracing | None:
    if not isinstance(wanted, bool):
        raise ConfigurationError(f"tracing is {shown(wanted)}; expected True or False")
    if not wanted:
        return None
    try:
        from longwire.observability.tracing import Tracing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise ConfigurationError(
            "tracing=True needs opentelemetry-api: pip install 'longwire[otel]'"
        ) from error
    return Tracing()
