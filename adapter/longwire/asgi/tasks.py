"""Which run a task belongs to.

Several runs may share one event loop, and each has to know its own tasks: to see when all of them
are quiet, and to cancel what is left. A task belongs to the run whose code created it; a context
variable tells whose code that is, and a task factory reads it, because a task itself shows its
context only from Python 3.12 on.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Set

    _Factory = Callable[..., asyncio.Future[Any]]

T = TypeVar("T")

# How long a cancelled app may take to clean up, in seconds.
UNWIND_LIMIT = 1.0
UNWIND_ROUNDS = 4
# All that are cancelled between two turns of the event loop clean up in the second.
CANCELLED_AT_ONCE = 100

_NO_TIMERS: Set[Any] = frozenset()


class TaskSet(set[asyncio.Task[Any]]):
    """The tasks of a run that are not done.

    Attributes:
        timers: those that they have set, where the event loop itself does not show them.
        contexts: of each, where the run may go on in another event, and tasks do not show theirs.
    """

    __slots__ = ("contexts", "timers")

    def __init__(self, *, goes_on: bool = False) -> None:
        super().__init__()
        self.timers: Set[Any] = _NO_TIMERS
        self.contexts: dict[asyncio.Task[Any], contextvars.Context] | None = None
        if goes_on and not hasattr(asyncio.Task, "get_context"):  # before Python 3.12
            self.contexts = {}

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Take a task out that is done, with its context."""
        self.discard(task)
        if self.contexts is not None:
            self.contexts.pop(task, None)

    def _context_of(self, task: asyncio.Task[Any]) -> contextvars.Context:
        if self.contexts is not None:
            return self.contexts.get(task) or contextvars.Context()
        shown: contextvars.Context = getattr(task, "get_context")()  # noqa: B009
        return shown

    def pass_on(self, before: contextvars.Context, now: contextvars.Context) -> None:
        """Give the tasks the context of another event, but for what the app itself has set."""
        news = [(var, value) for var, value in now.items() if before.get(var, now) is not value]
        for task in self if news else ():
            context = self._context_of(task)
            for var, value in news:
                if context.get(var, now) is before.get(var, now):
                    context.run(var.set, value)


_owner: contextvars.ContextVar[TaskSet | None] = contextvars.ContextVar(
    "longwire_run", default=None
)


class OwningTaskFactory:
    """Creates tasks as the loop's earlier factory did, and adds each to the run that asked."""

    def __init__(self, inner: _Factory | None) -> None:
        self._create = inner or _plain_task
        self._is_plain = inner is None  # so that it takes a context

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Future[Any]:
        run = _owner.get()
        if run is None:
            return self._create(loop, coro, **options)
        task = self.create(run, loop, coro, **options)
        if _is_task(task) and not task.done():
            run.add(task)
            task.add_done_callback(run.discard if run.contexts is None else run.forget)
        return task

    def create(
        self,
        run: TaskSet,
        loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, Any],
        **options: Any,
    ) -> asyncio.Future[Any]:
        """Create a task of a run, which has yet to be added to it."""
        if run.contexts is None or not self._is_plain:
            return self._create(loop, coro, **options)
        context = options.setdefault("context", contextvars.copy_context())
        task = self._create(loop, coro, **options)
        run.contexts[cast("Any", task)] = context
        return task


def install(loop: asyncio.AbstractEventLoop) -> OwningTaskFactory:
    """Make the loop keep track of runs; once more is no error."""
    inner: Any = loop.get_task_factory()  # the stub's type is generic in the result
    if isinstance(inner, OwningTaskFactory):
        return inner
    factory: Any = OwningTaskFactory(inner)
    loop.set_task_factory(factory)
    return cast("OwningTaskFactory", factory)


def spawn(
    coro: Coroutine[Any, Any, None],
    run: TaskSet,
    name: str,
    loop: asyncio.AbstractEventLoop,
    context: contextvars.Context | None = None,
) -> asyncio.Task[None]:
    """Start a task of a run in a copy of a context; whoever does has it taken out again."""
    context = contextvars.copy_context() if context is None else context
    context.run(_owner.set, run)
    task = cast("asyncio.Task[None]", context.run(install(loop).create, run, loop, coro))
    task.set_name(name)
    run.add(task)
    return task


def spawn_lifespan(coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start the lifespan of an app; the tasks that it creates are the loop's `workers`."""
    loop = asyncio.get_running_loop()
    workers = _workers.setdefault(loop, TaskSet())
    task = spawn(coro, workers, "lifespan", loop)
    workers.discard(task)
    return task


def workers(loop: asyncio.AbstractEventLoop) -> TaskSet:
    """Return the tasks that the apps of a loop have begun in their lifespans."""
    return _workers.get(loop) or _NO_WORKERS


_workers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, TaskSet] = (
    weakref.WeakKeyDictionary()
)
_NO_WORKERS = TaskSet()


def owner(context: contextvars.Context) -> TaskSet | None:
    """Return the run whose code runs in this context."""
    return context.get(_owner)


def current_owner() -> TaskSet | None:
    """Return the run whose code runs now."""
    return _owner.get()


def _is_task(future: asyncio.Future[Any]) -> TypeGuard[asyncio.Task[Any]]:
    # asyncio's own tasks in pure Python, which nest_asyncio and debuggers switch on, are no
    # instances of `asyncio.Task`; nor the other way round.
    return hasattr(future, "get_coro")


def _plain_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Future[Any]:
    return asyncio.Task(coro, loop=loop, **options)


async def cancel(running: Collection[asyncio.Task[Any]], limit: float) -> None:
    """Cancel tasks and wait, for so many seconds, until they have cleaned up."""
    for number, task in enumerate(running, 1):
        ask_to_end(task)
        if number % CANCELLED_AT_ONCE == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    await unwound(running, limit)


async def unwound(running: Collection[asyncio.Task[Any]], limit: float) -> None:
    """Wait, for so many seconds, until tasks that have been cancelled have cleaned up."""
    # Nearly all are done after these few rounds, which cost less than a wait with a time limit.
    for _ in range(UNWIND_ROUNDS):
        running = [task for task in running if not task.done()]
        if not running:
            return
        await asyncio.sleep(0)
    await wait(running, min(UNWIND_LIMIT, limit))


def ask_to_end(task: asyncio.Task[Any]) -> None:
    """Cancel a task."""
    try:
        # It asks the one that the task waits for, and so on, as deep as the stack allows.
        task.cancel()
    except RecursionError:
        return  # where a chain of tasks is longer, one nearer to its end takes those before along


async def wait(running: Collection[asyncio.Task[Any]], limit: float) -> None:
    """Wait, for so many seconds, until tasks are done."""
    unfinished = [task for task in running if not task.done()]
    if unfinished:
        await asyncio.wait(unfinished, timeout=max(0.0, limit))


def end_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel those that are not done; asyncio does not say that nobody looks at their errors."""
    for task in tasks:
        if task.done():
            _retrieve_error(task)
        else:  # nobody waits for it to its end
            ask_to_end(task)
            task.add_done_callback(_retrieve_error)


def _retrieve_error(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
