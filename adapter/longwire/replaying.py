"""For apps that run with `replay`: what must not be done twice, and a log that is quiet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar, overload

from longwire.registry.caller import current
from longwire.replay.results import check, made

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_OURS = ("longwire", "longwire_backends", "longwire_aws")


# Without its arguments, as type checkers do not take a lambda that has defaults otherwise.
@overload
async def once(key: str, factory: Callable[..., Awaitable[T]]) -> T: ...
@overload
async def once(key: str, factory: Callable[..., T]) -> T: ...
async def once(key: str, factory: Callable[[], Any]) -> Any:
    """Return what `factory` returns, and do not call it again when the app is run again.

    With `ws_config["replay"]`, an app is given its earlier messages again whenever a process does
    not know them yet. What must not happen twice, or would be another thing then, goes in here: a
    payment, a call to a model, a random number, an id, the time::

        answer = await longwire.once("answer", lambda: model.ask(history))
        secret = await longwire.once("secret", lambda: random.randint(1, 100))

    The result is stored in the connection's journal before it is returned. It belongs to the
    message that the code, or the code that has begun its task, received last; to its key; and to
    how often that key was asked for there. So a loop may use one key, and each message may use the
    same keys. Two tasks that may ask at the same time need a key each, such as
    `f"answer {question_id}"`; so do messages that come faster than they are handled, where a
    framework receives in a task of its own (Quart).

    What the factory raises is raised here, and is not stored: it is called again when the app is.
    So it is if the process died after the call and before its result was stored; a payment wants
    the key of its own that payment services take for that case. It must not `receive()`.

    Without `replay`, and under uvicorn, it only calls the factory. The result is what JSON gives
    back there as well (a tuple becomes a list), so that an app does not meet another type on
    Lambda. For coroutines only: a thread calls it by `asyncio.run_coroutine_threadsafe`.

    Args:
        key: any text; it is stored, and named in errors.
        factory: a callable without arguments; if it returns an awaitable, that is awaited.

    Raises:
        OnceError: the key or the result cannot be stored (JSON, 256 KB at most; all results count
            for the journal's limit of 1 MB), or two tasks or two functions use one key.
        BackendError: the result could not be stored; it is lost.
        EventOverError: the app is only cleaning up at the end of an event, which may happen several
            times. The factory is not called.
    """
    check(key, factory)
    caller = current.get()
    results = None if caller is None or caller.own is None else caller.own.results
    return await (made(key, factory) if results is None else results.get(key, factory))


class ReplayFilter(logging.Filter):
    """Drops what an app logs while it only does again what it has done before.

    That is while an earlier part of its conversation is repeated, and while it cleans up at the end
    of an event though its connection goes on. It has to be added to handlers, as a logger's filters
    do not see what its children log::

        for handler in logging.getLogger().handlers:
            handler.addFilter(longwire.ReplayFilter())

    It knows the code of a run in its tasks and in `asyncio.to_thread`; not in `run_in_executor`,
    which inherits nothing. All else passes, and so do Longwire's own lines.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to log a record."""
        caller = current.get()
        own = None if caller is None else caller.own
        if own is None or own.has_effect or record.name.partition(".")[0] in _OURS:
            return True
        return own.unwinding and not own.goes_on_after_event
