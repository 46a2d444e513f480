"""Each event as a span of OpenTelemetry. This module needs the extra `otel`.

The names of attributes are OpenTelemetry's where it has some:
https://opentelemetry.io/docs/specs/semconv/faas/aws-lambda/
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from longwire.observability import xray

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from longwire.apigateway.events import Identity
    from longwire.observability.event import EventRecord, Observed

# https://opentelemetry.io/docs/specs/semconv/registry/attributes/faas/
TRIGGERS = {
    "connect": "http",
    "message": "http",
    "disconnect": "http",
    "queue": "pubsub",
    "sweep": "timer",
}


class Tracing:
    """Begins the spans of a handler's events."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("longwire", _version())

    def begin(self, identity: Identity, observed: Observed) -> EventSpan:
        """Begin the span of an event, in the trace that the event continues."""
        attributes: dict[str, Any] = {
            "faas.trigger": TRIGGERS.get(identity.phase, "other"),
            "faas.coldstart": observed.cold,
            "faas.invocation_id": getattr(observed.context, "aws_request_id", None),
            "longwire.phase": identity.phase,
            "longwire.connection_id": identity.connection_id,
            "longwire.route_key": identity.route_key,
        }
        span = self._tracer.start_span(
            identity.name,
            _parent(observed),
            SpanKind.CONSUMER if identity.phase == "queue" else SpanKind.SERVER,
            {name: value for name, value in attributes.items() if value is not None},
        )
        return EventSpan(span)

    def flush(self, seconds: float) -> None:
        """Have all spans exported; a provider that exports each at once has no such method."""
        flush = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush(max(1, int(seconds * 1000)))


class EventSpan:
    """The span of one event."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def current(self) -> AbstractContextManager[Span]:
        """Let it be the current span. What is raised there is not recorded: it may hold secrets."""
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def end(self, record: EventRecord) -> None:
        """End it with what is told of its event."""
        attributes: dict[str, Any] = {
            "longwire.outcome": record.outcome,
            "longwire.store_requests": record.store_requests,
            "longwire.posts": record.posts,
            "http.response.status_code": record.status,
        }
        if record.is_error:
            kind = record.error_type or str(record.status or record.outcome)
            attributes["error.type"] = kind
            self._span.set_status(StatusCode.ERROR, kind)
        self._span.set_attributes(
            {name: value for name, value in attributes.items() if value is not None}
        )
        self._span.end()


def _version() -> str | None:
    try:
        return version("longwire")
    except PackageNotFoundError:  # to save space, a package for Lambda may lack all metadata
        return None


def _parent(observed: Observed) -> Context | None:
    """Return the context that a span continues; None for the current one.

    A span that is current already, such as that of an instrumentation around the handler, knows
    the trace better.
    """
    lambdas = xray.of_invocation(observed.context, os.environ)
    parent = xray.parent_of(observed.raw, lambdas)
    if parent is None or trace.get_current_span().get_span_context().is_valid:
        return None
    known = trace.SpanContext(
        parent.trace_id,
        parent.span_id,
        is_remote=True,
        trace_flags=trace.TraceFlags(
            trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT
        ),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(known))
