"""What an app's author is told in time, and that it is never wrong."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from longwire.testing import Gateway
from tests.asgi.hints import loud, quiet

pytestmark = pytest.mark.anyio

QUICK: Any = {"backend": "memory", "params": {}, "linger": 0.1}
MESSAGES = '{"text": "a"}', '{"text": "b"}', "[1, 2]", '"c"'


async def _told(app: Any, caplog: pytest.LogCaptureFixture, *messages: str) -> list[str]:
    """Say messages to an app, one after the other, and return what its author is told."""
    caplog.set_level(logging.WARNING, "longwire")
    async with Gateway(app, QUICK) as gateway, gateway.connect() as ws:
        for message in messages:
            await ws.send(message)
            with contextlib.suppress(AssertionError):  # an answer came, which is as well
                await ws.nothing(0)
    records = [record for record in caplog.records if record.name == "longwire"]
    caplog.clear()
    texts = [(record.levelno, record.getMessage()) for record in records]
    return [text for level, text in texts if level == logging.ERROR or "(docs/" in text]


def _app(endpoint: Any) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/", endpoint)])


@pytest.mark.parametrize("endpoint", quiet.ENDPOINTS, ids=lambda one: one.__name__)
async def test_an_endpoint_that_keeps_nothing_is_told_nothing(
    endpoint: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In whatever style it is written."""
    assert await _told(_app(endpoint), caplog, *MESSAGES) == []


@pytest.mark.parametrize(
    ("endpoint", "text"), loud.ENDPOINTS, ids=[one.__name__ for one, _ in loud.ENDPOINTS]
)
async def test_an_endpoint_that_keeps_something_is_told_once(
    endpoint: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it is and what becomes of it, and no second time."""
    app = _app(endpoint)
    assert await _told(app, caplog, "a", "b") == [text]
    assert await _told(app, caplog, "a", "b") == []
