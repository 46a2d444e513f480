"""Lambda's internal extension: what keeps an invocation open after its response has left.

Lambda gives the response to API Gateway at once, but freezes the process only when its runtime and
all its extensions have asked for the next event. So a thread of this process registers as an
extension, and asks for the next one when the handler has nothing left to do.

An extension has to register before the import of the handler's module is over. INVOKE reaches it
when an invocation begins, whoever handles it. One that is over without us is let go as soon as the
runtime is seen to wait again (`waiting.py`); where that cannot be seen, `ENTRY_LIMIT` keeps the
extension from waiting for a handler that is never called.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

from longwire.runtime import sigterm, waiting
from longwire.runtime.hold import Hold
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from longwire_aws.http11 import Response

logger: logging.Logger = logging.getLogger("longwire")

NAME = "longwire"
RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"
# Set for functions on Lambda Managed Instances only.
MANAGED = "AWS_LAMBDA_MAX_CONCURRENCY"
API = "/2020-01-01/extension"
IDENTIFIER = "lambda-extension-identifier"

# Seconds for which the import of the handler's module waits for a registration.
REGISTER_LIMIT = 2.0
# Seconds after the beginning of an invocation in which a handler has to begin with it; later it is
# taken for somebody else's, and the handler does without the extension.
ENTRY_LIMIT = 0.5
# Seconds between two looks at whether an invocation is over without a handler.
LOOK_EVERY = 0.01
# Seconds of an invocation's time that are left when its work is given up.
LEFT_OVER = 0.05
# Pauses before the next event is asked for again where Lambda has not refused it, in seconds.
RETRY_AFTER = (0.0, 0.05, 0.2, 1.0)
# Seconds for a last response to leave in, before a process ends itself.
LAST_RESPONSE = 1.0


class InvokeEvent(NamedTuple):
    """What an extension is told of an invocation."""

    request_id: str
    deadline: float  # in epoch seconds


class Extension:
    """The extension of this process, and the thread that registers it and asks for its events.

    Attributes:
        registered: done when it is registered; if it could not be, with the error.
    """

    def __init__(
        self,
        next_event: Callable[[], InvokeEvent | None],
        is_over: Callable[[str], bool] = waiting.is_done_with,
        register: Callable[[], None] = lambda: None,
    ) -> None:
        self.registered: Future[None] = Future()
        self._register = register
        self._next_event = next_event
        self._is_over = is_over
        self._changed = threading.Condition()
        self._hold: Hold | None = None
        # The last invocation that was let go without a handler, and the last one that was held.
        self._passed = self._taken = ""
        self._alive = False
        threading.Thread(target=self._serve, name="longwire-extension", daemon=True).start()

    def hold(
        self,
        context: Any,
        finish: Callable[[float], None],
        is_idle: Callable[[], bool] = lambda: True,
    ) -> Hold | None:
        """Keep the invocation of this Lambda context open; None where that cannot be.

        For the arguments see `Hold`; whoever goes idle calls `wake`.
        """
        request_id = getattr(context, "aws_request_id", None)
        with self._changed:
            if not (self._alive and request_id):
                return None
            if request_id == self._passed:
                logger.warning(
                    "the handler was called more than %g s after its event had come, or after its "
                    "answer: nothing runs after its response; do less before it, or in the import "
                    "of the module",
                    ENTRY_LIMIT,
                )
                return None
            held = self._taken if self._hold is None else self._hold.request_id
            if request_id == held:
                return None  # a second call for one event: one thing after a response is enough
            self._hold = Hold(request_id, finish, wake=self.wake, is_idle=is_idle)
            return self._hold

    def wake(self) -> None:
        """Wake the thread: once for an event, as it takes time from the handler's."""
        with self._changed:
            self._changed.notify_all()

    def _serve(self) -> None:
        try:
            self._register()
        except Exception as error:
            self.registered.set_exception(error)
            return
        self._alive = True
        self.registered.set_result(None)
        last = ""
        while (event := self._next_event()) is not None:
            last = event.request_id
            # Whatever happens, the next event is asked for, or Lambda would wait for it.
            with contextlib.suppress(BaseException):
                try:
                    self._finish(event)
                except BaseException:
                    logger.exception("what followed a response failed")
        self._alive = False
        # Lambda would wait for this extension with every event until the function's time is up, or
        # with Init, and give the process no event at all.
        self._end_process(last)

    def _end_process(self, request_id: str) -> None:
        """End it between two events, if they can be told apart; "" is before the first."""
        until = time.monotonic() + LAST_RESPONSE
        while time.monotonic() < until and not self._is_over(request_id):
            time.sleep(LOOK_EVERY)
        sigterm.end_process(1)

    def _finish(self, event: InvokeEvent) -> None:
        hold = self._begun(event.request_id)
        if hold is None:
            return
        until = event.deadline - LEFT_OVER
        with self._changed:
            self._changed.wait_for(lambda: hold.is_over, until - time.time())
            # Who releases it while work goes on wakes nobody.
            while not hold.is_released and time.time() < event.deadline:
                self._changed.wait(LOOK_EVERY)
        if hold.is_released:
            hold.finish(until - time.time())

    def _begun(self, request_id: str) -> Hold | None:
        """Return what a handler has begun with, as late as when it is done; None if none does."""
        until = time.monotonic() + ENTRY_LIMIT
        with self._changed:
            # An event that is tried again has its old id, with which the runtime waits before it.
            if is_again := request_id in (self._taken, self._passed):
                self._taken = self._passed = ""
            while not self._is_begun(request_id):
                # Nobody wakes it before the handler is done.
                if self._changed.wait(LOOK_EVERY) or self._is_begun(request_id):
                    continue
                # Under the lock, without which no handler begins with the event meanwhile.
                if time.monotonic() > until or (not is_again and self._is_over(request_id)):
                    self._hold, self._passed = None, request_id
                    return None
            hold, self._hold = self._hold, None
            self._taken = request_id
            return hold

    def _is_begun(self, request_id: str) -> bool:
        return self._hold is not None and self._hold.request_id == request_id


_ours: Extension | None = None
_asked = False
_asking = threading.Lock()


def never_freezes() -> bool:
    """Tell whether these are Lambda Managed Instances, whose processes go on between events.

    So they need no extension, and internal ones get no events there.
    """
    return MANAGED in os.environ


def of_this_process() -> Extension | None:
    """Return the extension of this process, registered at the first call; None if none can be."""
    global _ours, _asked
    with _asking:
        if not _asked and RUNTIME_API in os.environ and not never_freezes():
            _asked = True
            _ours = _register()
        return _ours


def _register() -> Extension | None:
    api = _API(os.environ[RUNTIME_API])
    identifier = ""

    def register() -> None:
        nonlocal identifier
        identifier = api.register()

    extension = Extension(lambda: api.next_event(identifier), register=register)
    registered = extension.registered
    wait({registered}, REGISTER_LIMIT)
    if not registered.done():
        # It goes on: Lambda may know the extension already, and would wait for its first request.
        _warn(f"registering as an extension is not answered within {REGISTER_LIMIT:g} s")
        registered.add_done_callback(_tell_late)
    elif (error := registered.exception()) is not None:
        _warn(f"registering as an extension failed: {error}")
        return None
    return extension


def _tell_late(registered: Future[None]) -> None:
    if (error := registered.exception()) is not None:
        logger.warning("registering as an extension failed: %s", error)
    else:
        logger.warning("registered as an extension, late: from now on responses go first")


def _warn(why: str) -> None:
    logger.warning(
        "nothing can run after a response here (%s): what an app sends right after accept is "
        "delivered ahead of the replies to its client's first message",
        why,
    )


class _API:
    """Lambda's Extensions API, over one connection, which is made anew when it breaks."""

    def __init__(self, address: str) -> None:
        # `host:port` on Lambda; `longwire dev` adds a path that only its processes know.
        self._address, slash, path = address.partition("/")
        self._base = slash + path + API
        self._stream: _BlockingStream | None = None

    def register(self) -> str:
        """Return the identifier of the extension."""
        names = {"lambda-extension-name": NAME}
        body = json.dumps({"events": ["INVOKE"]})
        status, headers, answer = self._request("POST", "/register", names, body)
        self.close()
        identifier = headers.get(IDENTIFIER)
        if status != 200 or not identifier:
            raise RuntimeError(_refusal(status, answer))
        return identifier

    def next_event(self, identifier: str) -> InvokeEvent | None:
        """Wait for the next invocation, which may take hours to come; None when there is none."""
        failure = ""
        for pause in RETRY_AFTER:
            if pause:  # even to sleep for no time lets other threads go first
                time.sleep(pause)
            try:
                status, _, body = self._request("GET", "/event/next", {IDENTIFIER: identifier})
                if status == 200:
                    event = json.loads(body)
                    return InvokeEvent(event["requestId"], event["deadlineMs"] / 1000)
            except Exception as error:
                failure = repr(error)
            else:
                # For good: for Lambda it waits already, on a connection that is gone.
                failure = _refusal(status, body)
                break
        self.close()
        logger.error("the extension ends, as asking for its next event failed: %s", failure)
        return None

    def _request(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: str = "",
    ) -> Response:
        from longwire_aws.http11 import HTTPConnection  # nobody pays for it off Lambda

        if self._stream is None:
            self._stream = _BlockingStream(self._address)
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        request = (
            f"{method} {self._base}{path} HTTP/1.1\r\nhost: {self._address}\r\n{''.join(lines)}"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        )
        stream: Any = self._stream  # it has what an exchange needs, and no event loop's socket
        try:
            connection = HTTPConnection(stream)
            answer = _result(connection.exchange(method, request.encode(), idle=False))
        except BaseException:
            self.close()
            raise
        if not connection.reusable:
            self.close()
        return answer

    def close(self) -> None:
        """Let go of the connection, if there is one."""
        if self._stream is not None:
            self._stream.socket.close()
            self._stream = None


class _BlockingStream:
    """What `longwire_aws.http11` speaks over, for a thread that has no event loop."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        # Not `create_connection`, which imports what names beyond ASCII take.
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            self.socket.connect((host.strip("[]"), int(port)))
        except BaseException:
            self.socket.close()
            raise

    async def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    async def receive(self) -> bytes:
        return self.socket.recv(65536)


def _result(exchange: Coroutine[Any, Any, Response]) -> Response:
    """Run a coroutine that waits for nothing."""
    try:
        exchange.send(None)
    except StopIteration as done:
        answer: Response = done.value
        return answer
    raise AssertionError


def _refusal(status: int, body: bytes) -> str:
    return f"it was answered with {status}: {body.decode(errors='replace').strip()[:200]}"
