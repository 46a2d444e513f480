"""The extension's thread and what it holds; `test_after_response.py` has it on Lambda."""

from __future__ import annotations

import asyncio
import logging
import queue
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from longwire.runtime import extension, hold, sigterm
from longwire.runtime.extension import Extension, InvokeEvent
from longwire.runtime.hold import Hold

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


class Invocations:
    """What Lambda tells an extension, by hand: `asked` says that it waits for the next one."""

    def __init__(self) -> None:
        self.asked: queue.Queue[None] = queue.Queue()
        self._events: queue.Queue[InvokeEvent] = queue.Queue()

    def next_event(self) -> InvokeEvent:
        self.asked.put(None)
        return self._events.get()

    def begin(self, request_id: str, seconds: float = 60.0) -> None:
        self._events.put(InvokeEvent(request_id, time.time() + seconds))


def _context(request_id: str) -> Any:
    return SimpleNamespace(aws_request_id=request_id)


def _extended() -> tuple[Invocations, Extension]:
    invocations = Invocations()
    made = Extension(invocations.next_event)
    invocations.asked.get(timeout=10)
    return invocations, made


@pytest.mark.parametrize("finish", [lambda seconds: None, lambda seconds: 1 / 0])
def test_the_next_event_is_asked_for_whatever_happens(finish: Callable[[float], None]) -> None:
    """Also when what follows a response fails, and when the handler raises."""
    invocations, made = _extended()
    for request_id in ("one", "two"):
        invocations.begin(request_id)
        hold = made.hold(_context(request_id), finish)
        assert hold is not None
        with pytest.raises(KeyError), hold:
            raise KeyError
        invocations.asked.get(timeout=10)


def test_nothing_is_asked_for_before_the_handler_is_done() -> None:
    invocations, made = _extended()
    invocations.begin("one")
    hold = made.hold(_context("one"), lambda seconds: None)
    assert hold is not None
    with hold, pytest.raises(queue.Empty):
        invocations.asked.get(timeout=0.2)
    invocations.asked.get(timeout=10)


def test_nothing_is_asked_for_before_what_goes_on_behind_the_response_is_over() -> None:
    """Whoever goes idle says so; nobody asks in turns."""
    invocations, made = _extended()
    going_on = ["a greeting"]
    invocations.begin("one")
    hold = made.hold(_context("one"), lambda seconds: None, lambda: not going_on)
    assert hold is not None
    with hold:
        pass
    with pytest.raises(queue.Empty):
        invocations.asked.get(timeout=0.2)
    going_on.clear()
    made.wake()
    invocations.asked.get(timeout=10)


def test_what_goes_on_behind_a_response_is_let_go_with_its_time() -> None:
    invocations, made = _extended()
    invocations.begin("one", 0.3)
    given: list[float] = []
    hold = made.hold(_context("one"), given.append, lambda: False)
    assert hold is not None
    with hold:
        pass
    invocations.asked.get(timeout=10)
    assert len(given) == 1


def test_a_handler_that_is_done_in_the_last_moment_is_not_held_until_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though something goes on: with the event's time Lambda would end the process."""
    monkeypatch.setattr(extension, "LEFT_OVER", 60.0)
    invocations, made = _extended()
    invocations.begin("one", 60.0)
    hold = made.hold(_context("one"), lambda seconds: None, lambda: False)
    assert hold is not None
    with hold, pytest.raises(queue.Empty):
        invocations.asked.get(timeout=0.1)
    invocations.asked.get(timeout=10)


def test_an_invocation_that_never_ends_is_let_go_with_its_time() -> None:
    invocations, made = _extended()
    invocations.begin("one", 0.1)
    assert made.hold(_context("one"), lambda seconds: None) is not None
    invocations.asked.get(timeout=10)


def test_a_handler_that_is_called_too_late_is_told_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its event was taken for somebody else's."""
    monkeypatch.setattr(extension, "ENTRY_LIMIT", 0.01)
    invocations, made = _extended()
    invocations.begin("one")
    invocations.asked.get(timeout=10)
    assert made.hold(_context("one"), lambda seconds: None) is None
    assert "the handler was called more than 0.01 s after its event had come" in caplog.text
    assert made.hold(_context("two"), lambda seconds: None) is not None


def test_an_invocation_that_is_over_without_a_handler_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As soon as the runtime waits again, long before the limit."""
    monkeypatch.setattr(extension, "ENTRY_LIMIT", 3600.0)
    invocations = Invocations()
    Extension(invocations.next_event, {"one", "two"}.__contains__)
    for request_id in ("one", "two"):
        invocations.asked.get(timeout=10)
        invocations.begin(request_id)
    invocations.asked.get(timeout=10)


def test_an_event_that_is_tried_again_has_its_old_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """With which the runtime seems to be done with it before it has begun."""
    invocations, over = Invocations(), {"one"}
    made = Extension(invocations.next_event, over.__contains__)
    invocations.asked.get(timeout=10)
    invocations.begin("one")
    invocations.asked.get(timeout=10)
    monkeypatch.setattr(extension, "ENTRY_LIMIT", 3600.0)
    invocations.begin("one")
    with pytest.raises(queue.Empty):
        invocations.asked.get(timeout=0.1)
    hold = made.hold(_context("one"), lambda seconds: None)
    assert hold is not None
    with hold:
        pass
    invocations.asked.get(timeout=10)


def test_a_process_without_further_events_ends_when_its_last_answer_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As soon as the runtime waits again, and not before."""
    ended: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(sigterm, "end_process", ended.put)
    monkeypatch.setattr(extension, "ENTRY_LIMIT", 3600.0)
    monkeypatch.setattr(extension, "LAST_RESPONSE", 3600.0)
    events, over = [InvokeEvent("one", time.time() + 60), None], set[str]()
    made = Extension(lambda: events.pop(0), over.__contains__)
    hold = made.hold(_context("one"), lambda seconds: None)
    assert hold is not None
    with hold:
        pass
    with pytest.raises(queue.Empty):
        ended.get(timeout=0.1)
    over.add("one")
    assert ended.get(timeout=10) == 1
    assert made.hold(_context("two"), lambda seconds: None) is None


def test_one_call_of_an_invocation_is_held() -> None:
    """A second one is told that nothing runs after its response."""
    invocations, made = _extended()
    invocations.begin("one")
    first = made.hold(_context("one"), lambda seconds: None)
    assert first is not None
    with first:
        assert made.hold(_context("one"), lambda seconds: None) is None
    invocations.asked.get(timeout=10)
    assert made.hold(_context("one"), lambda seconds: None) is None
    assert made.hold(None, lambda seconds: None) is None


async def test_a_response_is_seen_to_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as Lambda's runtime lets go of it."""
    monkeypatch.setattr(hold, "RESPONSE_LIMIT", 3600.0)
    held = Hold("one", lambda seconds: None)
    response = held.watch({"statusCode": 200})
    assert response == {"statusCode": 200}
    leaving = asyncio.create_task(held.response_left(3600.0))
    done, _ = await asyncio.wait({leaving}, timeout=0.05)
    assert not done
    del response
    await leaving


async def test_a_response_that_is_not_seen_to_leave_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Middleware around the handler may keep it."""
    monkeypatch.setattr(hold, "RESPONSE_LIMIT", 0.01)
    held = Hold("one", lambda seconds: None)
    response = held.watch({"statusCode": 200})
    assert await held.response_left(3600.0)
    assert response


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "copied"])
async def test_a_response_has_not_left_while_the_runtime_is_at_work(
    monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """Middleware around the handler may keep it, or answer with a copy."""
    monkeypatch.setattr(hold, "RESPONSE_LIMIT", 0.01)
    work = {"one"}
    held = Hold("one", lambda seconds: None, work.__contains__)
    response = held.watch({"statusCode": 200})
    assert held.sees()
    if not kept:
        del response
    assert not await held.response_left(0.05)
    leaving = asyncio.create_task(held.response_left(3600.0))
    done, _ = await asyncio.wait({leaving}, timeout=0.05)
    assert not done
    work.clear()
    assert await leaving


DYING = """
import logging, sys
from longwire.runtime import extension, sigterm
from longwire.runtime.extension import Extension, InvokeEvent
logging.basicConfig(level=logging.ERROR)
extension.ENTRY_LIMIT = extension.LAST_RESPONSE = 0.01
extension.RETRY_AFTER = (0.0, 0.0)
answers = [(200, {}, b'{"requestId": "one", "deadlineMs": 0}')] * int(sys.argv[1])

class API(extension._API):
    def _request(self, *arguments):
        if not answers:
            raise OSError("Lambda does not answer")
        return answers.pop(0)

api = API("127.0.0.1:1")
Extension(lambda: api.next_event("me"))
import time; time.sleep(20)
print("lives")
"""


@pytest.mark.parametrize("events", [0, 1])
def test_an_extension_that_cannot_ask_any_more_ends_its_process(events: int) -> None:
    """Lambda would wait for it with every event; where it never had one, with Init."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(events)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "asking for its next event failed: OSError('Lambda does not answer')" in done.stderr


def test_asking_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """A connection to Lambda may be dead after a snapshot was restored."""
    caplog.set_level(logging.ERROR)
    answers: list[Any] = [OSError("reset"), (200, {}, b'{"requestId": "a", "deadlineMs": 1500}')]

    class API(extension._API):
        def _request(self, *arguments: Any, **options: Any) -> Any:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    assert API("127.0.0.1:1").next_event("me") == InvokeEvent("a", 1.5)
    assert not caplog.records
