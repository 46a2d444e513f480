"""The function in this process: which object it is, its context, its thread, its timeout."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from longwire.handler import Longwire
from longwire.local.function.inline import (
    InlineFunction,
    LambdaContext,
    ThreadFunction,
    arity,
    kind,
)
from longwire.local.rules.errors import FunctionExitError, FunctionTimeoutError

MEMORY: Any = {"backend": "memory", "params": {}}


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError


class ASGIClass:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError


class Endpoint:
    """An ASGI app whose class is the callable, as a Starlette WebSocketEndpoint."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError


def lambda_function(event: Any, context: Any) -> object:
    return {"event": event, "thread": threading.current_thread().name}


async def async_lambda_function(event: Any, context: Any) -> object:
    return {"event": event, "thread": threading.current_thread().name}


class LambdaClass:
    async def __call__(self, event: Any, context: Any = None) -> object:
        return event


def anything(*args: Any) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (asgi_app, "asgi"),
        (ASGIClass(), "asgi"),
        (Endpoint, "asgi"),
        (anything, "asgi"),
        (lambda_function, "lambda"),
        (async_lambda_function, "lambda"),
        (LambdaClass(), "lambda"),
        (Longwire(asgi_app, ws_config=MEMORY), "handler"),
    ],
)
def test_targets_are_told_apart(target: Any, expected: str) -> None:
    """By what they are called with; a Longwire is one of its own."""
    assert kind(target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (asgi_app, (3, 3)),
        (lambda_function, (2, 2)),
        (LambdaClass(), (1, 2)),
        (lambda: None, (0, 0)),
        (lambda event, *, option=1: None, (1, 1)),
        (anything, (0, None)),
        (type, (0, None)),
        (3, (0, None)),
    ],
)
def test_arity_counts_positional_arguments(target: Any, expected: tuple[int, int | None]) -> None:
    """How many are needed and how many are taken; None where there is no limit or no telling."""
    assert arity(target) == expected


@pytest.mark.anyio
async def test_an_inline_function_runs_on_the_loop_of_the_caller() -> None:
    """A coroutine function does; a plain function gets a thread, so that it may block."""
    inline = InlineFunction(async_lambda_function)
    assert await inline.invoke({"a": 1}) == {"event": {"a": 1}, "thread": "MainThread"}
    inline = InlineFunction(lambda_function)
    assert await inline.invoke({"a": 1}) == {"event": {"a": 1}, "thread": "longwire-lambda"}


@pytest.mark.anyio
async def test_a_threaded_function_runs_in_its_own_thread() -> None:
    """The same one for every event, until it is stopped."""
    before = set(threading.enumerate())  # a test of blocked functions may have left one
    function = ThreadFunction(async_lambda_function)
    async with function.running():
        results = [await function.invoke({"n": n}) for n in range(3)]
    assert results == [{"event": {"n": n}, "thread": "longwire-function"} for n in range(3)]
    assert "longwire-function" not in {one.name for one in set(threading.enumerate()) - before}


@pytest.mark.anyio
@pytest.mark.parametrize("asynchronous", [True, False])
async def test_an_error_reaches_the_caller(asynchronous: bool) -> None:
    """As it was raised."""

    def fail(event: Any, context: Any) -> object:
        raise ValueError("mine")

    async def fail_later(event: Any, context: Any) -> object:
        return fail(event, context)

    async with ThreadFunction(fail_later if asynchronous else fail).running() as function:
        with pytest.raises(ValueError, match="mine"):
            await function.invoke({})


@pytest.mark.anyio
async def test_a_blocking_function_does_not_block_the_caller() -> None:
    """Two that wait for each other both end."""
    both = threading.Barrier(2, timeout=10)

    def block(event: Any, context: Any) -> object:
        return both.wait() >= 0

    async with ThreadFunction(block).running() as function:
        answers = list(await asyncio.gather(function.invoke({}), function.invoke({})))
    assert answers == [True, True]


@pytest.mark.anyio
async def test_a_function_is_stopped_at_its_timeout() -> None:
    """As Lambda does; it is cancelled and the caller is told."""
    cancelled = asyncio.Event()

    async def hang(event: Any, context: Any) -> object:
        try:
            return await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(FunctionTimeoutError, match=r"^the function ran longer than 0\.01 seconds$"):
        await InlineFunction(hang, timeout=0.01).invoke({})
    assert cancelled.is_set()


@pytest.mark.anyio
async def test_a_timeout_of_the_function_itself_is_its_own_error() -> None:
    """It must not be taken for Lambda's."""

    async def fail(event: Any, context: Any) -> object:
        raise TimeoutError("a database")

    with pytest.raises(TimeoutError, match="a database"):
        await InlineFunction(fail).invoke({})


@pytest.mark.anyio
async def test_a_thread_that_ends_late_disturbs_nobody() -> None:
    """Its answer is not waited for any more, whether its loop still runs or not."""
    release, ended = threading.Event(), threading.Event()

    def late(event: Any, context: Any) -> None:
        release.wait(10)
        ended.set()

    with pytest.raises(FunctionTimeoutError):
        await InlineFunction(late, timeout=0.01).invoke({})
    release.set()
    await asyncio.to_thread(ended.wait, 10)


@pytest.mark.anyio
async def test_stopping_runs_the_shutdown_of_the_app() -> None:
    """A handler is closed on the loop that ran it, and what still runs is cancelled."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            seen.append(message["type"])
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    handler = Longwire(app, ws_config=MEMORY, http=lambda event, context: {"statusCode": 200})
    async with ThreadFunction(handler).running() as function:
        await function.invoke({"version": "2.0", "requestContext": {"http": {}}})
        assert seen == ["lifespan.startup"]
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.anyio
async def test_stopping_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """A function that blocks its loop is left behind, with a warning."""
    release, blocking = threading.Event(), threading.Event()

    async def block(event: Any, context: Any) -> object:
        blocking.set()
        return release.wait(10)

    function = ThreadFunction(block)
    async with function.running(grace=0.01):
        invoked = asyncio.ensure_future(function.invoke({}))
        await asyncio.to_thread(blocking.wait, 10)
    assert "the function did not shut down within 0.01 seconds" in caplog.text
    release.set()
    await asyncio.wait({invoked}, timeout=10)


def test_context_is_the_context_of_lambda() -> None:
    """Its documented attributes, and a time that runs down to zero."""
    context = LambdaContext(30.0)
    assert 29_000 < context.get_remaining_time_in_millis() <= 30_000
    assert LambdaContext(-1.0).get_remaining_time_in_millis() == 0
    assert context.function_name == "longwire-dev"
    assert context.function_version == "$LATEST"
    assert context.memory_limit_in_mb == "128"
    assert context.invoked_function_arn.endswith(":function:longwire-dev")
    assert context.log_group_name == "/aws/lambda/longwire-dev"
    assert context.log_stream_name == "local"
    assert context.identity is None
    assert context.client_context is None
    assert context.aws_request_id != LambdaContext(30.0).aws_request_id


async def exit_if_asked(event: dict[str, Any], context: Any) -> object:
    if event.get("exit"):
        sys.exit(5)
    return event


def exit_if_asked_in_a_thread(event: dict[str, Any], context: Any) -> object:
    if event.get("exit"):
        sys.exit(5)
    return event


@pytest.mark.anyio
async def test_a_thread_that_something_like_ctrl_c_ends_leaves_nobody_waiting() -> None:
    def interrupted(event: dict[str, Any], context: Any) -> object:
        raise KeyboardInterrupt

    with pytest.raises(FunctionExitError, match="would end its process: KeyboardInterrupt"):
        await InlineFunction(interrupted).invoke({})


@pytest.mark.anyio
@pytest.mark.parametrize("handler", [exit_if_asked, exit_if_asked_in_a_thread])
async def test_a_function_that_exits_is_an_error_of_its_event(handler: Any) -> None:
    """Lambda would start a new process for the next one; here the old one goes on."""
    async with ThreadFunction(handler).running() as function:
        with pytest.raises(FunctionExitError, match="ended its process: SystemExit"):
            await function.invoke({"exit": True})
        assert await function.invoke({"a": 1}) == {"a": 1}


@pytest.mark.anyio
async def test_a_task_that_exits_does_not_end_the_function() -> None:
    """asyncio lets SystemExit end its loop; the next event must find one all the same."""

    async def leave() -> None:
        sys.exit(5)

    async def handler(event: dict[str, Any], context: Any) -> object:
        if event.get("exit"):
            leaving = asyncio.create_task(leave())
            await asyncio.wait([leaving])
            assert isinstance(leaving.exception(), SystemExit)  # or a later test's log has it
        return event

    async with ThreadFunction(handler).running() as function:
        assert await function.invoke({"exit": True}) == {"exit": True}
        assert await function.invoke({"a": 1}) == {"a": 1}


@pytest.mark.anyio
async def test_an_iterators_end_is_an_error_of_its_event() -> None:
    """No future can hold StopIteration; a forgotten default of `next` hangs nobody."""
    function = InlineFunction(lambda event, context: next(iter(())))
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await function.invoke({})
