"""Whatever a log handler raises, an event ends as it would have."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.invocation.test_connect import OK, websocket
from tests.talk import talk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.websockets import WebSocket

pytestmark = pytest.mark.anyio


class Sink(logging.Handler):
    """Lets errors out, as Lambda's own handler does."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        line.encode()
        if self._error is not None:
            raise self._error
        self.lines.append(line)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Give the logger of Longwire nobody else to tell, and take the sinks of a test off again."""
    ours = logging.getLogger("longwire")
    handlers, propagate, level = ours.handlers[:], ours.propagate, ours.level
    ours.propagate = False
    ours.setLevel(logging.DEBUG)
    yield ours
    ours.handlers[:], ours.propagate = handlers, propagate
    ours.setLevel(level)


async def _app(websocket: WebSocket) -> None:
    await websocket.accept()
    raise ValueError(f"no action {await websocket.receive_text()!s}")


async def test_half_of_a_surrogate_pair_in_an_exception_ends_nothing_else(
    logger: logging.Logger,
) -> None:
    """The connection ends as the app's error ends it, and the line is there, with its traceback."""
    sink = Sink(None)
    logger.handlers[:] = [sink]  # pytest's could not send such a text to another process
    async with talk(websocket(_app)) as client:
        await client.connect()
        assert await client.say("\ud800") == OK
        assert client.deleted
    (line,) = (line for line in sink.lines if "the app raised" in line)
    assert "Traceback" in line
    assert line.endswith("ValueError: no action \\ud800")


@pytest.mark.parametrize("error", [RuntimeError("full"), UnicodeEncodeError("x", "y", 0, 1, "z")])
async def test_a_log_handler_that_always_raises_changes_no_outcome(
    logger: logging.Logger, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """Handshake, message and end."""

    async def refuse(websocket: WebSocket) -> None:
        raise ValueError("before accept")

    logger.addHandler(Sink(error))
    async with talk(websocket(_app)) as client:
        assert await client.connect() == OK
        assert await client.say("x") == OK
        assert client.deleted
        assert await client.leave() == OK
        assert await client.another().say("no record") == OK
    async with talk(websocket(refuse)) as client:
        assert await client.connect() == {"statusCode": 500}
    assert f"longwire: a log handler raised {type(error).__name__}\n" in capsys.readouterr().err


async def test_a_filter_that_raises_changes_no_outcome(logger: logging.Logger) -> None:
    def raises(record: logging.LogRecord) -> bool:
        raise KeyError(record.name)

    logger.addFilter(raises)
    try:
        async with talk(websocket(_app)) as client:
            assert await client.connect() == OK
            assert await client.say("x") == OK
            assert client.deleted
    finally:
        logger.removeFilter(raises)
