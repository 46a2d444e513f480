"""What is seen of Lambda's runtime; `test_passed_events.py` has the effect under `awslambdaric`."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from longwire.runtime import waiting

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE, NAME = waiting.WAITS


def _function(module: str, name: str, body: Callable[[], object]) -> Callable[[], Any]:
    """Make a function of that name in a module of that name."""
    namespace: dict[str, Any] = {"__name__": module, "body": body}
    exec(f"def {name}():\n    return body()", namespace)
    made: Callable[[], Any] = namespace[name]
    return made


def _seen(request_id: str) -> bool:
    """Ask as the extension does: from a thread."""
    with ThreadPoolExecutor() as pool:
        return pool.submit(waiting.is_done_with, request_id).result()


def _seen_at_work(request_id: str) -> bool:
    with ThreadPoolExecutor() as pool:
        return pool.submit(waiting.is_at_work_on, request_id).result()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType(waiting.LOOP)
    setattr(module, waiting.REQUEST_ID, "one")
    monkeypatch.setitem(sys.modules, waiting.LOOP, module)
    return module


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize(
    ("module", "name", "request_id", "seen"),
    [
        (MODULE, NAME, "one", True),
        (MODULE, NAME, "two", False),  # it has not come there yet
        (MODULE, "post_invocation_result", "one", False),
        ("my_app", NAME, "one", False),
    ],
)
def test_a_runtime_waits_for_the_event_after_this_one(
    module: str, name: str, request_id: str, seen: bool
) -> None:
    """The main thread need not be in that very function: a thread may wait for it."""
    assert _function(module, name, lambda: _seen(request_id))() is seen


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize(
    ("module", "name", "request_id", "seen"),
    [
        (*waiting.HANDLES, "one", True),
        (*waiting.HANDLES, "two", False),
        ("my_app", waiting.HANDLES[1], "one", False),
        (*waiting.WAITS, "one", False),
    ],
)
def test_a_runtime_is_at_work_until_it_has_posted_the_response(
    module: str, name: str, request_id: str, seen: bool
) -> None:
    assert _function(module, name, lambda: _seen_at_work(request_id))() is seen


def test_a_runtime_that_looks_different(loop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is seen, and nothing is raised."""
    wait = _function(MODULE, NAME, lambda: _seen("one"))
    assert wait()
    delattr(loop, waiting.REQUEST_ID)
    assert not wait()
    monkeypatch.delitem(sys.modules, waiting.LOOP)
    assert not wait()


def test_the_runtime_that_is_installed_looks_like_this() -> None:
    bootstrap = pytest.importorskip(waiting.LOOP)
    client = pytest.importorskip(MODULE)
    assert hasattr(bootstrap, waiting.REQUEST_ID)
    assert hasattr(client.LambdaRuntimeClient, NAME)
    assert hasattr(bootstrap, waiting.HANDLES[1])
