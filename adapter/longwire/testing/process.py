"""A process for one event: `python -m longwire.testing.process`, started by `fresh.py`."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from longwire.cli.importer import import_target
from longwire.handler import Longwire
from longwire.local.function.inline import InlineFunction, kind
from longwire.testing import pipe
from longwire.testing.stores import with_store
from longwire.testing.transport import IN_MEMORY
from longwire_backends import Backend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.types import LambdaEvent
    from longwire_aws.http import Response


class TestRun:
    """The test that waits at the other end of the pipe."""

    def __init__(self, reads: BinaryIO, writes: BinaryIO) -> None:
        self._reads, self._writes = reads, writes
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._questions: dict[int, asyncio.Future[Any]] = {}

    def read(self) -> tuple[str, Any]:
        """Return the next message; end this process when there is none, as nobody waits."""
        head = self._reads.read(pipe.HEAD)
        if len(head) < pipe.HEAD:
            os._exit(1)
        return pipe.unpacked(self._reads.read(pipe.size_of(head)))

    def tell(self, kind: str, value: Any) -> None:
        """Send a message."""
        data = pipe.packed((kind, value))
        with self._lock:
            self._writes.write(data)
            self._writes.flush()

    async def ask(self, what: str, arguments: Any) -> Any:
        """Return the answer to a question."""
        number, loop = next(self._numbers), asyncio.get_running_loop()
        question = self._questions[number] = loop.create_future()
        self.tell("asks", (number, what, arguments))
        try:
            return await question
        finally:
            del self._questions[number]

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read replies from now on, in a thread."""

        def run() -> None:
            while True:
                _, (number, succeeded, value) = self.read()
                loop.call_soon_threadsafe(self._settle, number, succeeded, value)

        threading.Thread(target=run, daemon=True).start()

    def _settle(self, number: int, succeeded: bool, value: Any) -> None:
        question = self._questions.get(number)
        if question is None or question.done():
            return
        if succeeded:
            question.set_result(value)
        else:
            question.set_exception(value)


def _asking(name: str) -> Any:
    async def ask(self: Any, *positional: Any, **named: Any) -> Any:
        return await self.parent.ask("store", (name, positional, named))

    return ask


ASKED = (
    *("put", "get", "take", "update", "connections", "sweep"),
    *("group_add", "group_discard", "group_discard_all", "group_members", "groups"),
    *("append", "journal", "drop_journal"),
)
# A store in memory, which is that of the test's process.
StoreOfParent: Any = type(
    "StoreOfParent",
    (Backend,),
    {"name": "memory", **{name: _asking(name) for name in (*ASKED, "close")}},
)


class TransportOfParent:
    """Speaks to the management API of the test's process."""

    def __init__(self, parent: TestRun) -> None:
        self._parent = parent

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        response: Response = await self._parent.ask("post", (method, url, body))
        return response


def make(imported: tuple[Any, ...], parent: TestRun) -> Any:
    """Return the function to invoke; raises `ConfigurationError`."""
    target, app_dir, factory, ws_config, keep_store = imported
    found = import_target(target, Path(app_dir), factory=factory)
    store = StoreOfParent()
    store.parent = parent
    if kind(found) == "asgi":
        found = Longwire(found, ws_config=with_store(ws_config, store))
    elif isinstance(found, Longwire) and not keep_store:
        found.backend = store
    if isinstance(found, Longwire):
        found.transport = TransportOfParent(parent)
        found.endpoint_url = found.endpoint_url or IN_MEMORY
    return found


async def answer(function: Any, event: LambdaEvent, timeout: float, parent: TestRun) -> None:
    """Handle the event, tell what came of it, and finish what goes on after that."""
    parent.listen(asyncio.get_running_loop())
    inline = InlineFunction(
        function,
        timeout=timeout,
        app_error=lambda event, error: parent.tell("raised", pipe.portable(error)),
    )
    try:
        value = await inline.invoke(event, lambda: parent.tell("waits", None))
    except Exception as error:
        parent.tell("returned", (False, pipe.portable(error)))
    else:
        parent.tell("returned", (True, value))
    if isinstance(function, Longwire):
        await function.settle()
        await function.aclose()


def main() -> None:
    """Import what the test names, and handle one event."""
    # What the app prints is no message.
    writes = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    parent = TestRun(sys.stdin.buffer, writes)
    _, imported = parent.read()
    try:
        function = make(imported, parent)
    except Exception as error:
        parent.tell("ready", str(error))
        return
    parent.tell("ready", None)
    _, (event, timeout) = parent.read()
    asyncio.run(answer(function, event, timeout, parent))
    # The thread that reads would hold the process up.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
