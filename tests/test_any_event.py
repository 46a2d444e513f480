"""Generated events: each one works, or raises an error that the documentation names."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwire import Longwire, LongwireError
from longwire_backends.memory import MemoryBackend
from tests.lambda_events import LambdaContext, recorded

if TYPE_CHECKING:
    from longwire.types import Receive, Scope, Send

pytestmark = pytest.mark.slow

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _other(event: Any, context: Any) -> None:
    """Answer what is no WebSocket event."""


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths to every value inside a JSON value."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    return [path, *(place for key in keys for place in _places(value[key], (*path, key)))]


@st.composite
def _events(draw: st.DrawFn) -> Any:
    """Take a published event and put anything, or nothing, into some places of it."""
    event = copy.deepcopy(recorded(draw(st.sampled_from(["connect", "message", "disconnect"]))))
    for _ in range(draw(st.integers(0, 3))):
        *path, last = draw(st.sampled_from(_places(event)[1:] or [("requestContext",)]))
        parent: Any = event
        for key in path:
            parent = parent[key]
        if isinstance(parent, dict) and draw(st.booleans()):
            parent.pop(last, None)
        else:
            parent[last] = draw(JSON)
    return event


@settings(max_examples=300, deadline=None)
@given(st.lists(_events(), min_size=1, max_size=4))
def test_an_event_works_or_raises_a_documented_error(events: list[Any]) -> None:
    """Whatever is missing, null, or of another type."""
    handler = Longwire(
        _app,
        ws_config={
            "backend": MemoryBackend(),
            "params": {},
            "api_gateway_endpoint_url": "http://127.0.0.1:1",  # nobody listens
        },
        lifespan="off",
        http=_other,
    )
    errors: list[str] = []
    for event in events:
        try:
            handler(event, LambdaContext(0.03))
        except LongwireError as error:
            errors.append(str(error))
    assert all(errors)
    handler.close()
