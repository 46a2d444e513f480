"""Lambda's Runtime API and Extensions API, as one process of the function sees them.

What is asked in which state, and what is answered, is as in the Lambda core of AWS's own runtime
interface emulator.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.local.function.inline import FUNCTION_NAME, do_nothing
from longwire.local.rules.management_api import JSONResponse
from longwire.local.rules.settings import PAYLOAD_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_EXTENSIONS = 10

RUNTIME = "/2018-06-01"
EXTENSIONS = "/2020-01-01/extension"
# Each path that Lambda knows, and the one method that it takes there.
METHODS = {
    f"{RUNTIME}/ping": "GET",
    f"{RUNTIME}/runtime/invocation/next": "GET",
    f"{RUNTIME}/runtime/init/error": "POST",
    f"{RUNTIME}/runtime/restore/next": "GET",
    f"{RUNTIME}/runtime/restore/error": "POST",
    f"{EXTENSIONS}/register": "POST",
    f"{EXTENSIONS}/event/next": "GET",
    f"{EXTENSIONS}/init/error": "POST",
    f"{EXTENSIONS}/exit/error": "POST",
    "/2020-08-15/logs": "PUT",
    "/2022-07-01/telemetry": "PUT",
}
# What is on Lambda alone, also for the emulator.
UNSUPPORTED = {"/2020-08-15/logs": "Logs", "/2022-07-01/telemetry": "Telemetry"}
# Not Lambda's: an app waits for its client though it goes on.
WAITS = "/longwire/waits"
# Nor this: a process says something of itself, or of an event, as a JSON object.
SAYS = "/longwire/says"

_INVOCATION = re.compile(rf"{RUNTIME}/runtime/invocation/([^/]+)/(response|error)")
_ACCEPTED = JSONResponse(202, b'{"status":"OK"}')


class Failure(NamedTuple):
    """An error of an invocation, or of the initialization, as the runtime says it."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Work:
    """One invocation, as the process gets it."""

    request_id: str
    event: bytes
    deadline: int  # epoch milliseconds
    function_arn: str
    trace_id: str
    # Called when the app waits for the client though it goes on.
    on_waiting: Callable[[], object]
    # The function's payload, or why there is none.
    answered: asyncio.Future[bytes | Failure]


@dataclass(slots=True)
class _Extension:
    name: str
    events: list[str]
    # While it waits for its next event, also when its connection has broken.
    waiting: asyncio.Future[Work] | None = None
    has_begun: bool = False  # it has asked for its first event
    has_ended: bool = False  # it has reported its end


@dataclass(slots=True)
class RuntimeAPI:
    """What one process may ask, and what it gets."""

    # Makes the id of an extension, which is a UUID.
    new_identifier: Callable[[], str]
    # Called with what the process says.
    on_said: Callable[[dict[str, Any]], object] = do_nothing
    # Why the initialization failed.
    failed: Failure | None = None
    # The first error with which an extension has ended; Lambda names it when the process ends.
    extension_error: str | None = None
    # Set while the runtime and all extensions wait for the next invocation, or for the restore of
    # the process from its snapshot.
    is_idle: asyncio.Event = field(default_factory=asyncio.Event)
    _work: Work | None = None
    _runtime: asyncio.Future[Work] | None = None
    _restore: asyncio.Future[None] | None = None
    _registering: bool = True
    _extensions: dict[str, _Extension] = field(default_factory=dict)

    @property
    def has_extensions(self) -> bool:
        """Whether the process is told before it is killed."""
        return bool(self._extensions)

    def begin(self, work: Work) -> None:
        """Hand an invocation to the process, which has to be idle."""
        self._work = work
        self.is_idle.clear()
        runtime, self._runtime = self._runtime, None
        assert runtime is not None
        # Lambda tells the extensions before the runtime.
        for extension in self._extensions.values():
            if extension.waiting is not None and "INVOKE" in extension.events:
                extension.waiting.set_result(work)
                extension.waiting = None
        runtime.set_result(work)

    def abandon(self) -> None:
        """Take no answer to the invocation any more: its time is up."""
        self._work = None

    def restore(self) -> bool:
        """Let a process go on that waits to be restored from its snapshot; tell whether it does."""
        waiting, self._restore = self._restore, None
        if waiting is None:
            return False
        self.is_idle.clear()
        waiting.set_result(None)
        return True

    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> JSONResponse:
        """Answer one request; one for the next event is answered when there is one."""
        if method == "POST" and path == WAITS:
            if self._work is not None:
                self._work.on_waiting()
            return _ACCEPTED
        if method == "POST" and path == SAYS:
            self.on_said(json.loads(body))
            return _ACCEPTED
        found = _INVOCATION.fullmatch(path)
        takes = "POST" if found else METHODS.get(path)
        if takes is None:
            return _error(404, "NotFound", f"there is no {path} here")
        if method != takes:
            return _error(405, "MethodNotAllowed", f"{path} takes {takes}, not {method}")
        if found:
            return self._answered(found[1], found[2], body)
        if path in UNSUPPORTED:
            return _error(202, f"{UNSUPPORTED[path]}.NotSupported", "it is not supported here")
        if path.startswith(EXTENSIONS):
            return await self._answer_extension(path.removeprefix(EXTENSIONS), headers, body)
        return await self._answer_runtime(path.removeprefix(RUNTIME), body)

    # The runtime

    async def _answer_runtime(self, path: str, body: bytes) -> JSONResponse:
        match path:
            case "/runtime/invocation/next":
                return await self._next_invocation()
            case "/runtime/restore/next":
                return await self._next_restore()
            case "/ping":
                return _Pong(200, b"pong")
            case _:
                self.failed = _failure(body)
                return _ACCEPTED

    async def _next_invocation(self) -> JSONResponse:
        self._registering = False
        waiting: asyncio.Future[Work] = asyncio.get_running_loop().create_future()
        self._runtime = waiting
        self._look_idle()
        work = await waiting
        headers = (
            ("Lambda-Runtime-Aws-Request-Id", work.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(work.deadline)),
            ("Lambda-Runtime-Invoked-Function-Arn", work.function_arn),
            ("Lambda-Runtime-Trace-Id", work.trace_id),
        )
        return JSONResponse(200, work.event, more_headers=headers)

    async def _next_restore(self) -> JSONResponse:
        if not self._registering:
            return _error(403, "InvalidStateTransition", "the initialization is over")
        self._registering = False
        self._restore = waiting = asyncio.get_running_loop().create_future()
        self._look_idle()
        await waiting
        return JSONResponse(200)

    def _answered(self, request_id: str, how: str, body: bytes) -> JSONResponse:
        work = self._work
        if work is None or work.request_id != request_id:
            return _error(400, "InvalidRequestID", "this is not the invocation that is going on")
        if work.answered.done():
            return _error(403, "InvalidStateTransition", "this invocation was answered")
        if len(body) > PAYLOAD_LIMIT:
            text = f"the response has {len(body)} bytes, more than the {PAYLOAD_LIMIT} allowed"
            work.answered.set_result(Failure("Function.ResponseSizeTooLarge", text))
            return _error(413, "RequestEntityTooLarge", text)
        work.answered.set_result(body if how == "response" else _failure(body))
        return _ACCEPTED

    # Extensions

    async def _answer_extension(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> JSONResponse:
        if path == "/register":
            return self._register(headers, body)
        extension = self._known(path, headers)
        if isinstance(extension, JSONResponse):
            return extension
        if path == "/event/next":
            return await self._next_event(extension)
        return self._end(extension, "Init" if path == "/init/error" else "Exit")

    def _register(self, headers: Mapping[str, str], body: bytes) -> JSONResponse:
        name = headers.get("lambda-extension-name", "")
        if not name:
            return _error(403, "Extension.InvalidExtensionName", "Empty extension name")
        events = _events(body)
        if events is None:
            return _error(403, "InvalidRequestFormat", "expected a JSON object, events as a list")
        if not set(events) <= {"INVOKE"}:
            return _error(403, "Extension.InvalidEventType", "expected INVOKE or nothing")
        if not self._registering:
            text = "an extension can be registered only until the function's module is imported"
            return _error(403, "Extension.RegistrationClosed", text)
        if len(self._extensions) >= MAX_EXTENSIONS:
            return _error(403, "Extension.TooManyExtensions", f"there are {MAX_EXTENSIONS}")
        if any(name == other.name for other in self._extensions.values()):
            return _invalid_state(f"there is an extension with the name {name!r}")
        identifier = self.new_identifier()
        self._extensions[identifier] = _Extension(name, events)
        self.is_idle.clear()
        answer = {"functionName": FUNCTION_NAME, "functionVersion": "$LATEST", "handler": ""}
        more = (("Lambda-Extension-Identifier", identifier),)
        return JSONResponse(200, json.dumps(answer).encode(), more_headers=more)

    def _known(self, path: str, headers: Mapping[str, str]) -> _Extension | JSONResponse:
        """Return the extension that asks, or why it gets no answer."""
        given = headers.get("lambda-extension-identifier", "")
        if not given:
            return _error(403, "Extension.MissingExtensionIdentifier", "its header is missing")
        try:
            identifier = str(uuid.UUID(given))
        except ValueError:
            return _error(403, "Extension.InvalidExtensionIdentifier", "expected a UUID")
        if path != "/event/next" and not headers.get("lambda-extension-function-error-type"):
            return _error(403, "Extension.MissingHeader", "the type of the error is missing")
        unknown = _error(403, "Extension.UnknownExtensionIdentifier", "nobody has this identifier")
        return self._extensions.get(identifier, unknown)

    async def _next_event(self, extension: _Extension) -> JSONResponse:
        if extension.waiting is not None or extension.has_ended:
            return _invalid_state("it waits for its next event already, or has ended")
        extension.has_begun = True
        extension.waiting = waiting = asyncio.get_running_loop().create_future()
        self._look_idle()
        work = await waiting
        event = {
            "eventType": "INVOKE",
            "deadlineMs": work.deadline,
            "requestId": work.request_id,
            "invokedFunctionArn": work.function_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": work.trace_id},
        }
        more = (("Lambda-Extension-Event-Identifier", work.request_id),)
        return JSONResponse(200, json.dumps(event).encode(), more_headers=more)

    def _end(self, extension: _Extension, phase: str) -> JSONResponse:
        if phase == "Init" and extension.has_begun:
            return _invalid_state("its initialization is over")
        extension.has_ended = True
        self.extension_error = self.extension_error or f"Extension.{phase}Error"
        self._look_idle()
        return _ACCEPTED

    def _look_idle(self) -> None:
        if (self._runtime is not None or self._restore is not None) and all(
            one.waiting is not None or one.has_ended for one in self._extensions.values()
        ):
            self._work = None
            self.is_idle.set()


class _Pong(JSONResponse):
    """The one answer that is not JSON."""

    __slots__ = ()

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("content-type", "text/plain; charset=utf-8")]


def _events(body: bytes) -> list[str] | None:
    """Return what an extension registers for; None when it cannot be read."""
    try:
        said = json.loads(body)
    except ValueError:
        return None
    if said is None:
        return []
    events = (said.get("events") or []) if isinstance(said, dict) else None
    if isinstance(events, list) and all(isinstance(event, str) for event in events):
        return events
    return None


def _failure(body: bytes) -> Failure:
    try:
        said: Any = json.loads(body)
        return Failure(str(said["errorType"]), str(said["errorMessage"]))
    except (ValueError, KeyError, TypeError):
        return Failure("Runtime.Unknown", body.decode(errors="replace"))


def _error(status: int, kind: str, message: str) -> JSONResponse:
    body = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    return JSONResponse(status, body)


def _invalid_state(message: str) -> JSONResponse:
    return _error(403, "Extension.InvalidExtensionState", message)


STRANGER = _error(403, "Forbidden", "only the function's own process knows this address")
