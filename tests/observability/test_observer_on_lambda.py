"""What is told of events on Lambda before it freezes them, under AWS's own runtime."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from longwire.local.rules.errors import FunctionRaisedError
from tests.lambda_events import message_event
from tests.runtime.test_after_response import GREETER, connect, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

# In AWS's own JSON, each record at once.
LOGS = """
import logging
from awslambdaric.lambda_runtime_log_utils import JsonFormatter

records = logging.FileHandler("records.json")
records.setFormatter(JsonFormatter())
records.terminator = ""
records.addFilter(lambda record: hasattr(record, "outcome"))
logging.getLogger("longwire").addHandler(records)
logging.getLogger("longwire").setLevel("INFO")
"""

BLOCKER = """
async def talk(receive, send):
    if (await receive())["type"] == "websocket.receive":
        time.sleep(60)
"""

# With a processor that would wait for an hour.
TRACES = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

class Exporter(SpanExporter):
    def export(self, spans):
        for span in spans:
            note(span.name.replace(" ", "-") + "/" + str(span.attributes["longwire.posts"]))
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(Exporter(), schedule_delay_millis=3_600_000))
trace.set_tracer_provider(provider)

def make():
    return Longwire(app, dsn="sqlite:///" + os.environ["STORE"] + "?api_gateway_endpoint_url="
        + os.environ["ENDPOINT"], tracing=True)

handler = make()
"""


def _records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "records.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


async def test_each_event_is_one_record_before_the_process_is_frozen(tmp_path: Path) -> None:
    """With what it did behind its response; the second one does nothing there."""
    async with running(tmp_path, LOGS + GREETER, freeze=True) as (process, server):
        await connect(process, server, "Connection=")
        await process.until_idle()
        (record,) = _records(tmp_path)
        await process.invoke(message_event("hi", "Connection="))
        await process.until_idle()
        _, second = _records(tmp_path)
    assert (record["phase"], record["outcome"], record["posts"]) == ("connect", "accepted", 2)
    assert record["cold"]
    assert record["duration_ms"] < record["total_ms"]
    assert (second["phase"], second["outcome"], second["posts"]) == ("message", "parked", 1)
    assert not second["cold"]


async def test_an_app_that_blocks_its_event_loop_is_told_of_in_time(tmp_path: Path) -> None:
    """Though nothing runs on that loop any more."""
    async with running(tmp_path, LOGS + BLOCKER, timeout=2.0) as (process, server):
        await connect(process, server, "Connection=")
        with pytest.raises(FunctionRaisedError, match=r"^DeadlineError: "):
            await process.invoke(message_event("hi", "Connection="))
        _, record = _records(tmp_path)
    assert (record["outcome"], record["error_type"]) == ("deadline", "DeadlineError")


async def test_spans_are_exported_before_the_process_is_frozen(tmp_path: Path) -> None:
    """Behind the response, where that takes nobody's time."""
    async with running(tmp_path, GREETER, TRACES, freeze=True) as (process, server):
        await connect(process, server, "Connection=")
        await process.until_idle()
        assert (tmp_path / "notes.txt").read_text().split() == ["CONNECT-$connect/2"]
