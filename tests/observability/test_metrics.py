"""CloudWatch metrics: lines in its Embedded Metric Format, checked by the format's own rules.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import time
from typing import Any

import pytest

from longwire import Longwire
from longwire.exceptions import ConfigurationError
from longwire.observability import event as observe
from tests.invocation.test_connect import OK
from tests.lambda_events import LambdaContext, connect_event, message_event

pytestmark = pytest.mark.anyio

UNITS = {"Seconds", "Microseconds", "Milliseconds", "Bytes", "Percent", "Count", "None"}


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    if (await receive())["type"] == "websocket.receive":
        raise ValueError("secret")


class Output(io.TextIOBase):
    """Standard output that knows what each write was."""

    def __init__(self) -> None:
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def check_format(document: dict[str, Any]) -> None:
    """Check what the specification's JSON schema, and the text around it, ask for."""
    about = document["_aws"]
    assert set(about) == {"Timestamp", "CloudWatchMetrics"}
    assert type(about["Timestamp"]) is int
    assert isinstance(about["CloudWatchMetrics"], list)
    for directive in about["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= 1024
        assert directive["Dimensions"]
        for dimensions in directive["Dimensions"]:
            assert len(dimensions) <= 30
            for name in dimensions:
                assert re.fullmatch(r"[\x20-\x7e]{1,250}", name)
                value = document[name]  # a member of the root, and text
                assert isinstance(value, str)
                assert 1 <= len(value) <= 1024
        assert 1 <= len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert set(metric) <= {"Name", "Unit", "StorageResolution"}
            assert 1 <= len(metric["Name"]) <= 1024
            assert metric["Unit"] in UNITS
            assert type(document[metric["Name"]]) in (int, float)


async def _written(event: dict[str, Any], **arguments: Any) -> list[str]:
    """Return what is written to standard output while a handler handles an event."""
    handler = Longwire(_app, dsn="memory://", lifespan="off", **arguments)
    with contextlib.redirect_stdout(Output()) as output:
        assert await handler.handle(event, LambdaContext()) == OK
        await handler.aclose()
    return output.writes


async def test_each_event_is_one_line_in_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written in one piece, with the connection as a property and not as a dimension."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "my-function")
    monkeypatch.setattr(observe, "_events", itertools.count())
    before = time.time() * 1000
    (line,) = await _written(connect_event(), metrics="My/App")
    assert line.index("\n") == len(line) - 1
    document = json.loads(line)
    check_format(document)
    assert before - 1 <= document["_aws"]["Timestamp"] <= time.time() * 1000
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "My/App"
    assert directive["Dimensions"] == [["FunctionName", "Phase"]]
    assert {one["Name"]: one["Unit"] for one in directive["Metrics"]} == {
        "Duration": "Milliseconds",
        "StoreRequests": "Count",
        "Posts": "Count",
        "ColdStarts": "Count",
        "Errors": "Count",
    }
    timed = {name: document.pop(name) for name in ("_aws", "Duration", "TotalDuration")}
    assert 0 < timed["Duration"] <= timed["TotalDuration"]
    assert document == {
        "FunctionName": "my-function",
        "Phase": "connect",
        "RouteKey": "$connect",
        "ConnectionId": "QWErT_fALIAMCug=",
        "Outcome": "accepted",
        "Status": 200,
        "StoreRequests": 1,
        "Posts": 0,
        "ColdStarts": 1,
        "Errors": 0,
    }


async def test_off_lambda_the_phase_is_the_only_dimension(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no function that could be named."""
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME", raising=False)
    (line,) = await _written(connect_event(), metrics="My/App")
    document = json.loads(line)
    check_format(document)
    assert document["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Phase"]]


async def test_an_error_counts_as_one(aws_keys: None) -> None:
    """With the name of its class, and Lambda's request."""
    handler = Longwire(_app, dsn="memory://", lifespan="off", metrics="My/App")
    handler.transport = _Accepting()
    context = LambdaContext()
    context.aws_request_id = "r-1"  # type: ignore[attr-defined] # as Lambda's own has one
    with contextlib.redirect_stdout(Output()) as output:
        await handler.handle(connect_event(), context)
        await handler.handle(message_event("secret"), context)
    await handler.aclose()
    document = json.loads(output.writes[1])
    check_format(document)
    names = ("Phase", "Outcome", "ErrorType", "Errors", "RequestId")
    assert [document[name] for name in names] == ["message", "raised", "ValueError", 1, "r-1"]
    assert "secret" not in "".join(output.writes)


class _Accepting:
    """An HTTP client to which everything is accepted."""

    async def request(self, *_: Any, **__: Any) -> Any:
        from longwire_aws.http import Response

        return Response(204, {}, b"")


async def test_nothing_is_written_without_a_namespace() -> None:
    """Which is how it begins."""
    assert await _written(connect_event()) == []


@pytest.mark.parametrize("namespace", ["a", "My/App", "a b", "x" * 255, "a:b#c._-"])
def test_a_namespace_may_be(namespace: str) -> None:
    """What CloudWatch takes."""
    Longwire(_app, dsn="memory://", metrics=namespace)


@pytest.mark.parametrize(
    "namespace", ["", " ", "x" * 256, "ünï", "a\n", "AWS/Lambda", ":a", 7, b"a", True]
)
def test_a_namespace_may_not_be(namespace: Any) -> None:
    """The constructor says what is expected."""
    with pytest.raises(ConfigurationError) as caught:
        Longwire(_app, dsn="memory://", metrics=namespace)
    assert str(caught.value) == (
        f"metrics is {namespace!r}; expected a CloudWatch namespace: 1 to 255 ASCII characters "
        "that do not begin with 'AWS/' or ':', such as 'MyApp'"
    )
