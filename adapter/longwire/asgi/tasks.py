"""Which run a task belongs to.

Several runs may share one event loop, and each has to know its own tasks: to see when all of them
are quiet, and to cancel what is left. A task belongs to the run whose code created it; a context
variable tells whose code that is, and a task factory reads it, because a task itself shows its
context only from Python 3.12 on.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    _Factory = Callable[..., asyncio.Future[Any]]

T = TypeVar("T")

TaskSet = set[asyncio.Task[Any]]

_owner: contextvars.ContextVar[TaskSet | None] = contextvars.ContextVar(
    "longwire_run", default=None
)


class OwningTaskFactory:
    """Creates tasks as the loop's earlier factory did, and adds each to the run that asked."""

    def __init__(self, inner: _Factory | None) -> None:
        self._inner = inner

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Future[Any]:
        create = self._inner or _plain_task
        task = create(loop, coro, **options)
        run = _owner.get()
        if run is not None and _is_task(task) and not task.done():
            run.add(task)
            task.add_done_callback(run.discard)
        return task


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Make the loop keep track of runs; once more is no error."""
    inner = loop.get_task_factory()
    if not isinstance(inner, OwningTaskFactory):
        factory: Any = OwningTaskFactory(inner)  # the stub's type is generic in the result
        loop.set_task_factory(factory)


def spawn(coro: Coroutine[Any, Any, None], run: TaskSet, name: str) -> asyncio.Task[None]:
    """Start a task of a run in a context of its own."""
    context = contextvars.copy_context()
    context.run(_owner.set, run)
    return context.run(asyncio.get_running_loop().create_task, coro, name=name)


def owner(context: contextvars.Context) -> TaskSet | None:
    """Return the run whose code runs in this context."""
    return context.get(_owner)


def _is_task(future: asyncio.Future[Any]) -> TypeGuard[asyncio.Task[Any]]:
    # asyncio's own tasks in pure Python, which nest_asyncio and debuggers switch on, are no
    # instances of `asyncio.Task`; nor the other way round.
    return hasattr(future, "get_coro")


def _plain_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Future[Any]:
    return asyncio.Task(coro, loop=loop, **options)
