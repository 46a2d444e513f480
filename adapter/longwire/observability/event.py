"""What is observed of one event: how long it took, what it asked for, how it ended.

A context variable holds it while the event is handled. The tasks of its app, and what goes on
behind its response, inherit that, so several events on one loop do not mix.
"""

from __future__ import annotations

import itertools
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Protocol, Self

Word = Literal[
    "accepted",  # the client is connected, and the app waits for it
    "refused",  # the app, or `allowed_origins`, does not want the client
    "parked",  # the app waits for the next message
    "closed",  # the app has closed the connection
    "returned",  # the app returned, which closes it too
    "raised",  # the app raised, likewise
    "deadline",  # the app was still running when its time was up
    "gone",  # the client has proved to be gone
    "told",  # the app knows that its client is gone
    "no_record",  # nothing is stored of the connection (any more), so the app was not called
    "done",  # events of other kinds
    "incomplete",  # the queue will hand parts out again, or a sweep has left some out
    "failed",  # the handler raised, or what followed its response did
]
"""How an event can end; `docs/observability.md` explains the same words."""

ERRORS: frozenset[Word] = frozenset({"raised", "deadline", "failed"})

# Counts the events of this process; it is asked from several threads at once.
_events = itertools.count()


class Ending:
    """How an event has ended, for all that is known."""

    __slots__ = ("error_type", "on_raised", "status", "word")

    def __init__(self) -> None:
        self.word: Word = "done"
        self.status: int | None = None  # of the answer to a handshake or an HTTP event
        # The name of the class only: the text of what was raised may be the app's secret.
        self.error_type: str | None = None
        # Of a test client: it is told what the app has raised.
        self.on_raised: Callable[[BaseException], object] | None = None

    def note(self, word: Word, error: BaseException | None = None) -> None:
        """Replace what was known before."""
        self.word = word
        self.error_type = None if error is None else type(error).__name__
        if word == "raised" and error is not None and self.on_raised is not None:
            self.on_raised(error)


if TYPE_CHECKING:

    class Span(Protocol):
        """A span of OpenTelemetry that is about one event."""

        def current(self) -> AbstractContextManager[object]:
            """Let it be the current span."""

        def end(self, record: EventRecord) -> None:
            """End it with what is told of its event."""


class Observed:
    """One event; a context manager for whoever answers it.

    It is over when its answer is there and nothing of it goes on behind that. `tell` is called
    then, once; it is None if nobody wants to know.
    """

    __slots__ = (
        "_holders",
        "_tell",
        "answered",
        "cold",
        "context",
        "ended",
        "ending",
        "is_heard",
        "posts",
        "raw",
        "span",
        "started",
        "store_requests",
    )

    def __init__(self, raw: Any, context: Any, tell: Callable[[Observed], None] | None) -> None:
        self.raw: Any = raw
        self.context: Any = context
        self.cold: bool = next(_events) == 0  # the first event of this process
        self.ending: Ending = Ending()
        self.span: Span | None = None  # with tracing
        self.store_requests: int = 0
        self.posts: int = 0  # to `@connections`, repeated ones included
        # In seconds of `time.monotonic()`.
        self.started: float = time.monotonic()
        self.answered: float = self.started
        self.ended: float = self.started
        self._holders = 1
        self.is_heard: bool = tell is not None  # else nothing is counted
        self._tell = tell

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.ending.note("failed", error)
        self.answered = time.monotonic()
        self.release()

    def keep(self) -> None:
        """Note that something of it goes on behind its answer, until `release`."""
        self._holders += 1

    def release(self) -> None:
        """Note that this is done; the last one tells of the event."""
        self._holders -= 1
        if self._holders == 0:
            self._end()

    def give_up(self, error: BaseException) -> None:
        """Tell of it now, from another thread, as its app blocks the event loop."""
        self.ending.note("deadline", error)
        self.answered = time.monotonic()
        self._end()

    def _end(self) -> None:
        self.ended = time.monotonic()
        tell, self._tell = self._tell, None  # who blocked the event loop may go on some time
        if tell is not None:
            tell(self)
        # Connections and background tasks that it made may keep this object for long.
        self.raw = self.context = self.span = None


current: ContextVar[Observed | None] = ContextVar("longwire_observed", default=None)


class Observing:
    """Counts, into this event, what is done here and in the tasks that are created here."""

    # Not made with `contextlib`, which would double what an event pays for being observed.
    __slots__ = ("_observed", "_span", "_token")

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._span = None if observed.span is None else observed.span.current()

    def __enter__(self) -> None:
        self._token = current.set(self._observed) if self._observed.is_heard else None
        if self._span is not None:
            self._span.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._span is not None:
            self._span.__exit__(kind, error, traceback)
        try:
            if self._token is not None:
                current.reset(self._token)
        except ValueError:
            pass  # a coroutine whose loop was closed is ended by the garbage collector, elsewhere


def count_store_request() -> None:
    """Count a request to the store into the event that makes it, if it is one."""
    observed = current.get()
    if observed is not None:
        observed.store_requests += 1


def count_post() -> None:
    """Count a POST to `@connections` likewise."""
    observed = current.get()
    if observed is not None:
        observed.posts += 1


class EventRecord(NamedTuple):
    """What is told of an event when it is over.

    These are the attributes of its log record: never a payload, a header, a query parameter, or
    the text of an exception. None of them is a name of `logging` or of Lambda's runtime.
    """

    phase: str
    route_key: str | None
    connection_id: str | None
    outcome: Word
    status: int | None
    error_type: str | None
    duration_ms: float  # until its answer
    total_ms: float  # until nothing of it went on any more
    store_requests: int
    posts: int
    cold: bool

    @property
    def is_error(self) -> bool:
        """Whether the author or the operator of the app should look at it."""
        return self.outcome in ERRORS or (self.status or 0) >= 500
