"""Spans, seen by OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from longwire import Longwire
from longwire.exceptions import ConfigurationError, LongwireError
from longwire.observability import event as observe
from tests.connections_server import ConnectionsServer
from tests.lambda_events import LambdaContext, connect_event, disconnect_event, message_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

pytestmark = pytest.mark.anyio

TRACE = "1-5759e988-bd862e3fe1be46a994272793"
TRACE_ID = 0x5759E988BD862E3FE1BE46A994272793
PARENT_ID = 0x53995C3F42CD8AD8
FULL = f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1"


class Spans:
    """What has been exported, and by what.

    Attributes:
        use: replaces the processor of spans.
    """

    def __init__(self, use: Callable[[SpanProcessor], None]) -> None:
        self.exporter = InMemorySpanExporter()
        self.use = use
        use(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def only(self) -> ReadableSpan:
        (span,) = self.all
        return span

    def named(self, name: str) -> ReadableSpan:
        (span,) = (one for one in self.all if one.name == name)
        return span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    """Be a process whose provider exports to a list."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):  # it can be set once
        provider = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    processors = provider._active_span_processor

    def use(processor: SpanProcessor) -> None:
        processors._span_processors = (processor,)

    yield Spans(use)
    processors._span_processors = ()


def _inner(name: str) -> None:
    with trace.get_tracer("app").start_as_current_span(name):
        pass


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    _inner("in connect")
    await send({"type": "websocket.accept"})
    message = await receive()
    _inner(f"in {message['type']}")
    if message["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": "reply"})
        await receive()


async def _crash(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise ValueError("secret")


async def _handle(
    *received: dict[str, Any], app: Any = _app, context: Any = None, fanout: Any = None
) -> None:
    async with ConnectionsServer() as server:
        handler = Longwire(
            app,
            ws_config={"backend": "memory", "params": {}, "api_gateway_endpoint_url": server.url},
            lifespan="off",
            fanout=fanout,
            tracing=True,
        )
        for event in received:
            await handler.handle(event, context or LambdaContext())
        await handler._deferred.wait()
        await handler.aclose()


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_broken_output_of_metrics_costs_no_span(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each way of telling stands alone."""

    class Broken:
        def write(self, text: str) -> None:
            raise OSError("no room")

    handler = Longwire(_app, dsn="memory://", lifespan="off", metrics="Test", tracing=True)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", Broken())
        await handler.handle(connect_event(), LambdaContext())
    await handler.aclose()
    assert spans.named("CONNECT $connect").end_time is not None


async def test_each_event_is_one_span(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    """In OpenTelemetry's words where it has some; nothing of the client's is in it."""
    monkeypatch.setattr(observe, "_events", itertools.count())
    connect = connect_event(headers={"Cookie": ["secret"]}, query={"token": ["secret"]})
    context = LambdaContext()
    context.aws_request_id = "r-1"  # type: ignore[attr-defined] # as Lambda's own has one
    leave = disconnect_event(reason="secret")
    await _handle(connect, message_event("secret"), leave, context=context)
    names = ["CONNECT $connect", "MESSAGE $default", "DISCONNECT $disconnect"]
    ours = [spans.named(name) for name in names]
    assert {span.kind for span in ours} == {SpanKind.SERVER}
    assert {span.status.status_code for span in ours} == {StatusCode.UNSET}
    assert _attributes(ours[0]) == {
        "faas.trigger": "http",
        "faas.coldstart": True,
        "faas.invocation_id": "r-1",
        "longwire.phase": "connect",
        "longwire.connection_id": "QWErT_fALIAMCug=",
        "longwire.route_key": "$connect",
        "longwire.outcome": "accepted",
        "longwire.store_requests": 1,
        "longwire.posts": 0,
        "http.response.status_code": 200,
    }
    assert _attributes(ours[1])["longwire.posts"] == 1
    assert not _attributes(ours[1])["faas.coldstart"]
    assert "secret" not in "".join(span.to_json() for span in spans.all)
    scope = ours[0].instrumentation_scope
    assert scope is not None
    assert scope.name == "longwire"


async def test_spans_of_the_app_are_children(spans: Spans) -> None:
    """Of the event in which they are made; the connect part runs with each."""
    await _handle(connect_event(), message_event(""))
    for child, parent in (("in connect", None), ("in websocket.receive", "MESSAGE $default")):
        for span in (one for one in spans.all if one.name == child):
            assert span.parent is not None
            ids = {one.context.span_id for one in spans.all if parent in (None, one.name)}
            assert span.parent.span_id in ids
    assert sum(span.name == "in connect" for span in spans.all) == 2


async def test_spans_behind_the_response_are_children_too(spans: Spans) -> None:
    """The event's own span ends after them."""
    go_on = asyncio.Event()

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "1"})
        await go_on.wait()
        _inner("behind")

    async def let_go() -> None:
        await asyncio.sleep(0)
        go_on.set()

    releasing = asyncio.get_running_loop().create_task(let_go())
    await _handle(connect_event(), app=stream)
    await releasing
    event, child = spans.named("CONNECT $connect"), spans.named("behind")
    assert child.parent is not None
    assert child.parent.span_id == event.context.span_id
    assert event.end_time is not None
    assert child.end_time is not None
    assert child.end_time <= event.end_time
    assert _attributes(event)["longwire.outcome"] == "returned"


@pytest.mark.parametrize("name", ["X-Amzn-Trace-Id", "x-amzn-trace-id"])
async def test_the_trace_of_the_header_is_continued(spans: Spans, name: str) -> None:
    """With its parent, which is a span elsewhere."""
    await _handle(connect_event(headers={name: [FULL]}))
    span = spans.named("CONNECT $connect")
    assert span.context.trace_id == TRACE_ID
    assert span.parent is not None
    assert (span.parent.span_id, span.parent.is_remote) == (PARENT_ID, True)


async def test_a_header_with_nothing_but_a_root_is_continued_too(spans: Spans) -> None:
    """As API Gateway sends it; all its spans have the same parent, which nobody has recorded."""
    event = connect_event(headers={"X-Amzn-Trace-Id": [f"Root={TRACE}"]})
    await _handle(event, event)
    ours = [span for span in spans.all if span.name == "CONNECT $connect"]
    assert [span.context.trace_id for span in ours] == [TRACE_ID] * 2
    assert {span.parent.span_id for span in ours if span.parent} == {TRACE_ID & (1 << 64) - 1}


async def test_a_message_continues_the_trace_of_its_invocation(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no headers, but Lambda has a variable."""
    await _handle(connect_event())
    monkeypatch.setenv("_X_AMZN_TRACE_ID", FULL)
    await _handle(message_event(""))
    assert spans.named("CONNECT $connect").context.trace_id != TRACE_ID
    message = spans.named("MESSAGE $default")
    assert message.context.trace_id == TRACE_ID
    assert message.parent is not None
    assert message.parent.span_id == PARENT_ID


async def test_a_runtime_with_several_invocations_tells_the_trace_of_each(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the context: the variable is the whole process's."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"Root={TRACE[:-1]}0;Parent=1111111111111111;Sampled=1")
    context = LambdaContext()
    context.xray_trace_id = FULL  # type: ignore[attr-defined]
    await _handle(connect_event(), message_event(""), context=context)
    message = spans.named("MESSAGE $default")
    assert message.context.trace_id == TRACE_ID
    assert message.parent is not None
    assert message.parent.span_id == PARENT_ID


async def test_who_says_not_to_sample_is_heard(spans: Spans) -> None:
    """By the SDK's usual sampler, which does as the parent does."""
    header = FULL.replace("Sampled=1", "Sampled=0")
    await _handle(connect_event(headers={"X-Amzn-Trace-Id": [header]}))
    assert spans.all == ()


async def test_a_malformed_header_begins_a_new_trace(spans: Spans) -> None:
    """It is no reason to fail."""
    await _handle(connect_event(headers={"X-Amzn-Trace-Id": ["Root=secret"]}))
    assert spans.named("CONNECT $connect").parent is None


async def test_a_span_around_the_handler_is_the_parent(spans: Spans) -> None:
    """As that of an instrumentation of Lambda, which has read the header itself."""
    with trace.get_tracer("around").start_as_current_span("around") as around:
        await _handle(connect_event(headers={"X-Amzn-Trace-Id": [FULL]}))
        assert trace.get_current_span() is around
    span = spans.named("CONNECT $connect")
    assert span.parent is not None
    assert span.parent.span_id == around.get_span_context().span_id


async def test_what_the_app_raises_is_an_error_without_its_text(spans: Spans) -> None:
    """Only the class is told."""
    await _handle(connect_event(), app=_crash)
    span = spans.only
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert _attributes(span)["error.type"] == "ValueError"
    assert _attributes(span)["http.response.status_code"] == 500
    assert span.events == ()
    assert "secret" not in span.to_json()


async def test_a_handler_that_raises_is_an_error_too(spans: Spans) -> None:
    """Its text may name what the client has sent."""
    event = message_event("")
    event["requestContext"]["eventType"] = "secret"
    with pytest.raises(LongwireError):
        await _handle(event)
    assert _attributes(spans.only)["error.type"] == "EventError"
    assert spans.only.events == ()
    assert "secret" not in spans.only.to_json()


async def test_a_refusal_is_no_error(spans: Spans) -> None:
    """A status from 500 on is one, though nothing was raised."""

    def denial(status: int) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            start = {"type": "websocket.http.response.start", "status": status, "headers": []}
            await send(start)
            await send({"type": "websocket.http.response.body"})

        return app

    await _handle(connect_event(), app=denial(401))
    await _handle(connect_event(), app=denial(503))
    refused, failed = spans.all
    assert refused.status.status_code is StatusCode.UNSET
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "503")


async def test_other_events_are_spans_of_their_kind(spans: Spans) -> None:
    """A queue's is consumed; nothing is known of others."""
    queue = {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "no part"}]}
    await _handle(queue, fanout={"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/parts"})
    await _handle({"longwire": "sweep"})
    assert _attributes(spans.all[0])["longwire.outcome"] == "incomplete"
    kinds = [(one.name, one.kind, _attributes(one)["faas.trigger"]) for one in spans.all]
    assert kinds == [
        ("QUEUE", SpanKind.CONSUMER, "pubsub"),
        ("SWEEP", SpanKind.SERVER, "timer"),
    ]


async def test_the_record_of_an_event_is_logged_under_its_span(
    spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """So that a logger which knows traces puts the two together."""
    caplog.set_level(logging.INFO, "longwire")
    current: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            current.append(trace.get_current_span().get_span_context().span_id)

    handler = Handler()
    logging.getLogger("longwire").addHandler(handler)
    try:
        await _handle(connect_event())
    finally:
        logging.getLogger("longwire").removeHandler(handler)
    assert current == [spans.named("CONNECT $connect").context.span_id]


def test_spans_are_exported_before_a_synchronous_call_returns(spans: Spans) -> None:
    """Lambda may freeze the process then."""
    processor = BatchSpanProcessor(spans.exporter, schedule_delay_millis=3_600_000)
    spans.use(processor)
    handler = Longwire(_app, dsn="memory://", lifespan="off", tracing=True)
    handler(connect_event(), LambdaContext())
    assert [span.name for span in spans.all] == ["in connect", "CONNECT $connect"]
    handler.close()
    processor.shutdown()  # type: ignore[no-untyped-call] # the SDK's own


class _Broken(SimpleSpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("broken")

    def force_flush(self, timeout_millis: int = 0) -> bool:
        raise RuntimeError("broken")


def test_a_broken_processor_does_not_break_the_answer(
    spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever observes is less important than the client."""
    spans.use(_Broken(spans.exporter))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    handler = Longwire(app, dsn="memory://", lifespan="off", tracing=True)
    assert handler(connect_event(), LambdaContext()) == {"statusCode": 200}
    handler.close()
    assert "the span of an event could not be begun" in caplog.text
    assert "spans could not be exported" in caplog.text


def test_without_tracing_there_are_no_spans(spans: Spans) -> None:
    """Which is how it begins."""
    handler = Longwire(_app, dsn="memory://", lifespan="off")
    handler(connect_event(headers={"X-Amzn-Trace-Id": [FULL]}), LambdaContext())
    handler.close()
    assert [span.name for span in spans.all] == ["in connect"]


# What it needs


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from longwire import Longwire

async def app(scope, receive, send):
    pass

Longwire(app, dsn="memory://")
try:
    Longwire(app, dsn="memory://", tracing=True)
except ValueError as error:
    print(error)
"""

BROKEN = """
import sys
sys.modules["longwire.observability.xray"] = None
from longwire import Longwire

async def app(scope, receive, send):
    pass

Longwire(app, dsn="memory://", tracing=True)
"""


def test_a_missing_package_prints_the_pip_line() -> None:
    """In the constructor; nobody else needs it."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "tracing=True needs opentelemetry-api: pip install 'longwire[otel]'\n"


def test_another_missing_module_is_not_blamed_on_it() -> None:
    """A broken installation keeps its own traceback."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False, timeout=30
    )
    assert "ModuleNotFoundError" in done.stderr
    assert "ConfigurationError" not in done.stderr


@pytest.mark.parametrize("tracing", [None, 1, "yes", TracerProvider])
def test_tracing_is_on_or_off(tracing: Any) -> None:
    """A provider is set as OpenTelemetry does it, for the process."""
    with pytest.raises(ConfigurationError) as caught:
        Longwire(_app, dsn="memory://", tracing=tracing)
    assert str(caught.value) == f"tracing is {tracing!r}; expected True or False"
