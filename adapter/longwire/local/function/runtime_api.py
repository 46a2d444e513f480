"""Lambda's Runtime API and Extensions API, as one process of the function sees them.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.local.function.inline import FUNCTION_NAME
from longwire.local.http11 import HTTP1Connection, decode
from longwire.local.rules import access
from longwire.local.rules.management_api import FORBIDDEN, JSONResponse, json_response
from longwire.local.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import h11

MAX_EXTENSIONS = 10
# Bytes of a response, as Lambda takes them of a function that is invoked synchronously.
RESPONSE_LIMIT = 6 * 1024 * 1024 + 100

_INVOCATION = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
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
    waiting: asyncio.Future[Work] | None = None


@dataclass(slots=True)
class RuntimeAPI:
    """What one process may ask, and what it gets."""

    # Makes the id of an extension.
    new_identifier: Callable[[], str]
    # Why the initialization failed.
    failed: Failure | None = None
    # Set while the runtime and all extensions wait for the next invocation.
    is_idle: asyncio.Event = field(default_factory=asyncio.Event)
    _work: Work | None = None
    _runtime: asyncio.Future[Work] | None = None
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

    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> JSONResponse:
        """Answer one request; one for the next event is answered when there is one."""
        match method, path:
            case "GET", "/2018-06-01/runtime/invocation/next":
                return await self._next_invocation()
            case "POST", "/2018-06-01/runtime/init/error":
                self.failed = _failure(body)
                return _ACCEPTED
            case "GET", "/2018-06-01/runtime/restore/next":
                self._registering = False
                return json_response(200, "restored")
            case "POST", "/2020-01-01/extension/register":
                return self._register(headers, body)
            case "GET", "/2020-01-01/extension/event/next":
                return await self._next_event(headers)
            case "POST", "/2020-01-01/extension/init/error" | "/2020-01-01/extension/exit/error":
                return self._end_extension(headers)
            case "POST", "/longwire/waits":
                if self._work is not None:
                    self._work.on_waiting()
                return _ACCEPTED
        if method == "POST" and (found := _INVOCATION.fullmatch(path)):
            return self._answered(found[1], found[2], body)
        return _error(404, "NotFound", f"there is no {method} {path} here")

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

    def _answered(self, request_id: str, how: str, body: bytes) -> JSONResponse:
        work = self._work
        if work is None or work.request_id != request_id:
            return _error(400, "InvalidRequestID", "this is not the invocation that is going on")
        if work.answered.done():
            return _error(403, "InvalidStateTransition", "this invocation was answered")
        if len(body) > RESPONSE_LIMIT:
            text = f"the response has {len(body)} bytes, more than the {RESPONSE_LIMIT} allowed"
            work.answered.set_result(Failure("Function.ResponseSizeTooLarge", text))
            return _error(413, "RequestEntityTooLarge", text)
        work.answered.set_result(body if how == "response" else _failure(body))
        return _ACCEPTED

    def _register(self, headers: Mapping[str, str], body: bytes) -> JSONResponse:
        name = headers.get("lambda-extension-name", "")
        try:
            events = json.loads(body)["events"]
        except (ValueError, KeyError, TypeError):
            events = None
        if not isinstance(events, list):
            return _error(403, "InvalidRequestFormat", "expected a JSON object with events")
        if not self._registering:
            text = "an extension can be registered only until the function's module is imported"
            return _error(403, "Extension.RegistrationClosed", text)
        if not set(events) <= {"INVOKE"}:
            return _error(403, "Extension.InvalidEventType", "expected INVOKE or nothing")
        if len(self._extensions) >= MAX_EXTENSIONS:
            return _error(403, "Extension.TooManyExtensions", f"there are {MAX_EXTENSIONS}")
        if not name or any(name == other.name for other in self._extensions.values()):
            return _error(403, "Extension.InvalidExtensionName", f"{name!r} is missing or taken")
        identifier = self.new_identifier()
        self._extensions[identifier] = _Extension(name, events)
        self.is_idle.clear()
        answer = {"functionName": FUNCTION_NAME, "functionVersion": "$LATEST", "handler": ""}
        more = (("Lambda-Extension-Identifier", identifier),)
        return JSONResponse(200, json.dumps(answer).encode(), more_headers=more)

    async def _next_event(self, headers: Mapping[str, str]) -> JSONResponse:
        extension = self._extensions.get(headers.get("lambda-extension-identifier", ""))
        if extension is None:
            return _UNKNOWN_EXTENSION
        waiting: asyncio.Future[Work] = asyncio.get_running_loop().create_future()
        extension.waiting = waiting
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

    def _end_extension(self, headers: Mapping[str, str]) -> JSONResponse:
        if self._extensions.pop(headers.get("lambda-extension-identifier", ""), None) is None:
            return _UNKNOWN_EXTENSION
        self._look_idle()
        return _ACCEPTED

    def _look_idle(self) -> None:
        extensions = self._extensions.values()
        if self._runtime is not None and all(one.waiting is not None for one in extensions):
            self._work = None
            self.is_idle.set()


class RuntimeServer:
    """Serves a `RuntimeAPI` on a port of its own, to those who know its secret."""

    def __init__(self, api: RuntimeAPI, secret: str) -> None:
        # For AWS_LAMBDA_RUNTIME_API: `host:port/secret`. Lambda's runtime puts "http://" before it
        # and the paths of its requests behind it.
        self.address = ""
        self._api = api
        self._prefix = f"/{secret}" if secret else ""
        self._tasks = Tasks()
        self._connections: set[_RuntimeConnection] = set()
        self._arriving: dict[HTTP1Connection, None] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        loop = asyncio.get_running_loop()
        self._server = server = await loop.create_server(self._connection, access.LOOPBACK, 0)
        self.address = f"{access.LOOPBACK}:{server.sockets[0].getsockname()[1]}{self._prefix}"

    async def stop(self) -> None:
        """Close everything at once; requests that wait are not answered."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.stop()
        await self._tasks.settle(0)

    def _connection(self) -> _RuntimeConnection:
        return _RuntimeConnection(
            self._api, self._prefix, self._tasks, self._connections, self._arriving
        )


class _RuntimeConnection(HTTP1Connection):
    def __init__(
        self,
        api: RuntimeAPI,
        prefix: str,
        tasks: Tasks,
        connections: set[_RuntimeConnection],
        arriving: dict[HTTP1Connection, None],
    ) -> None:
        super().__init__(tasks.spawn, arriving, RESPONSE_LIMIT)
        self._api = api
        self._prefix = prefix
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._connections.discard(self)

    async def route(self, request: h11.Request, body: bytes) -> None:
        given_headers = decode(request.headers)
        host = access.host_name(given_headers)
        if access.is_from_page(given_headers) or not access.is_own_host(host, access.LOOPBACK):
            self.respond(FORBIDDEN)
            return
        headers = {name.lower(): value for name, value in given_headers}
        method, path = request.method.decode("ascii"), request.target.decode("latin-1")
        given, path = path[: len(self._prefix)], path[len(self._prefix) :]
        if not hmac.compare_digest(given.encode(), self._prefix.encode()):
            # Any process of this machine can connect, and any page of its browsers.
            self.respond(_STRANGER)
            return
        self.respond(await self._api.answer(method, path, headers, body))


def _failure(body: bytes) -> Failure:
    try:
        said: Any = json.loads(body)
        return Failure(str(said["errorType"]), str(said["errorMessage"]))
    except (ValueError, KeyError, TypeError):
        return Failure("Runtime.Unknown", body.decode(errors="replace"))


def _error(status: int, kind: str, message: str) -> JSONResponse:
    body = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    return JSONResponse(status, body)


_STRANGER = _error(403, "Forbidden", "only the function's own process knows this address")
_UNKNOWN_EXTENSION = _error(
    403, "Extension.UnknownExtensionIdentifier", "nobody has this identifier"
)
