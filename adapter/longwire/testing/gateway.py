"""The asynchronous `Gateway`, which the `TestClient` is a synchronous face of.

    async with Gateway(app) as gateway:
        async with gateway.connect(query={"token": "t"}) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"

Works on asyncio: asyncio.run, anyio's pytest plugin, pytest-asyncio. The function runs on the loop
of the test, so that a debugger and a traceback show everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlencode

from longwire.local.function.inline import DEFAULT_TIMEOUT, InlineFunction, do_nothing, kind
from longwire.local.rules import gateway as rules
from longwire.local.rules import management_api, results
from longwire.local.rules.connection import (
    BINARY,
    GOING_AWAY,
    LOST,
    NO_STATUS,
    SAMPLE_KEY,
    ClientHandshake,
    CloseStatus,
)
from longwire.local.rules.settings import GatewaySettings
from longwire.local.session import Session
from longwire.local.tasks import Tasks
from longwire.testing.ends import Answer, Closed, Refused
from longwire.testing.pairs import Pairs, pairs_of
from longwire.testing.transport import IN_MEMORY, InMemoryTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from longwire import WSConfig
    from longwire.handler import Longwire
    from longwire.local.invoking import Function, HandledEvent
    from longwire.types import ASGIApp, LambdaEvent, LambdaHandler


# Seconds that the function has to hear of the end in when the gateway stops.
STOP_TIMEOUT = 5.0
# Seconds that a client waits, as it leaves, for the app to be done with what it has sent.
ANSWER_TIMEOUT = 5.0


class Gateway:
    """An asynchronous context manager: one WebSocket API in front of one function.

    Args:
        target: an ASGI app, a `Longwire` handler or a plain Lambda function.
        ws_config: for an ASGI app; the memory backend if not given.
        timeout: seconds that the function may run, and the authorizer.
        authorizer: a Lambda authorizer of type REQUEST, which is asked at each `$connect`; None
            lets everybody in.
        settings: fields of `longwire.local.rules.settings.GatewaySettings`, for example
            `stage="prod"`, `integration_timeout=0.1`,
            `identity_sources=["route.request.querystring.token"]`.

    Attributes:
        answers: every event so far with the function's answer, oldest first.
    """

    def __init__(
        self,
        target: ASGIApp | Longwire | LambdaHandler,
        ws_config: WSConfig | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        authorizer: LambdaHandler | None = None,
        **settings: Any,
    ) -> None:
        self.answers: list[Answer] = []
        self._answer_timeout = ANSWER_TIMEOUT
        # Called with what the app raises, also where API Gateway tells nobody.
        self._on_error: Callable[[LambdaEvent, BaseException], object] = do_nothing
        self._rules = rules.GatewayRules(
            GatewaySettings(**settings), clock=time.time, random_bytes=os.urandom
        )
        self._target = wrap(target, ws_config)
        self._function: Function = InlineFunction(
            self._target,
            timeout=timeout,
            app_error=lambda event, error: self._on_error(event, error),
        )
        self._authorizer = (
            None if authorizer is None else InlineFunction(authorizer, timeout=timeout)
        )
        self._sessions: dict[str, Session] = {}

    async def __aenter__(self) -> Self:
        self._tasks = Tasks()
        self._loop = asyncio.get_running_loop()
        with _lock:
            _open.add(self)
        if kind(self._target) == "handler":
            self._target.transport = InMemoryTransport(self.manage, self._rules.settings.stage)
            if self._target.endpoint_url in (None, IN_MEMORY):
                self._target.endpoint_url = IN_MEMORY
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close what is open with 1001, then run the app's shutdown."""
        for session in list(self._sessions.values()):
            session.close(GOING_AWAY)
        await self._tasks.settle(STOP_TIMEOUT)
        with _lock:
            _open.discard(self)
        if kind(self._target) == "handler":
            try:
                await self._target.aclose()
            finally:
                with _lock:
                    shared = any(one._target is self._target for one in _open)
                if self._target.endpoint_url == IN_MEMORY and not shared:
                    self._target.endpoint_url = None

    @contextlib.asynccontextmanager
    async def connect(
        self,
        path: str | None = None,
        *,
        query: str | Pairs = "",
        headers: Pairs = (),
        subprotocols: Sequence[str] = (),
        source_ip: str = "127.0.0.1",
    ) -> AsyncIterator[WebSocket]:
        """Open a connection; the end of the block closes it with 1000.

        Args:
            path: the path that the app sees. API Gateway has none, so it is sent as the query
                parameter `path`, which `ws_config["path_query"]` reads by default.

        Raises:
            Refused: the authorizer or the function did not accept, or failed.
        """
        handshake = ClientHandshake(
            tuple(self._headers(headers, subprotocols)), _query(path, query), source_ip
        )
        socket = WebSocket(self, handshake)
        await socket.open()
        try:
            yield socket
        finally:
            await socket.close()
            socket.forget()

    async def expire(self, ws: WebSocket) -> None:
        """Let the idle timeout or the lifetime of a connection pass, in no time."""
        session = ws._session
        session.expire()
        await _answered(session, self._answer_timeout)

    async def manage(
        self, method: str, path: str, body: bytes = b""
    ) -> management_api.JSONResponse:
        """Answer a request to the management API, `/{stage}/@connections/{connection_id}`.

        Another gateway of this process that has the connection answers in its place: clients of
        one app find each other, however many gateways they came through.
        """
        other = self._whose(path.rpartition("/")[2])
        if other is not self:
            answering = asyncio.run_coroutine_threadsafe(
                other.manage(method, path, body), other._loop
            )
            return await asyncio.wrap_future(answering)
        decision = self._rules.manage(method, path, body)
        if isinstance(decision, management_api.JSONResponse):
            return decision
        session = self._sessions[decision.connection.connection_id]
        if isinstance(decision, management_api.PostToConnection):
            session.post(decision.data)
            return management_api.POSTED
        session.close()
        return management_api.REMOVED

    def _whose(self, quoted_id: str) -> Gateway:
        connection_id = unquote(quoted_id)
        with _lock:
            others = [one for one in _open if one is not self and one._loop.is_running()]
        if connection_id in self._rules.connections:
            return self
        return next((one for one in others if connection_id in one._rules.connections), self)

    def _headers(self, headers: Pairs, subprotocols: Sequence[str]) -> list[tuple[str, str]]:
        given = pairs_of(headers)
        names = {name.lower() for name, _ in given}
        usual = [
            ("Host", self._rules.settings.domain_name),
            ("Sec-WebSocket-Key", SAMPLE_KEY),
            ("Sec-WebSocket-Version", "13"),
        ]
        if subprotocols:
            usual.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        return [*(pair for pair in usual if pair[0].lower() not in names), *given]

    def _observe(self, handled: HandledEvent) -> None:
        match handled.outcome:
            case results.Returned(result) | results.Raised(result):
                self.answers.append(Answer(handled.event, result))
                if isinstance(result, BaseException):
                    self._on_error(handled.event, result)
            case results.TimedOut():
                self.answers.append(Answer(handled.event, TimeoutError(results.TIMED_OUT)))


class WebSocket:
    """A client's end of a connection.

    Attributes:
        connection_id: as in the events.
        subprotocol: the one that the function chose, if any.
    """

    def __init__(self, gateway: Gateway, handshake: ClientHandshake) -> None:
        self.subprotocol: str | None = None
        self._gateway = gateway
        self._session = Session(
            gateway._rules,
            gateway._function,
            handshake,
            gateway._tasks,
            gateway._observe,
            gateway._authorizer,
        )
        self.connection_id: str = self._session.connection.connection_id
        self._inbox = _Inbox()

    async def open(self) -> None:
        """Shake hands; raises `Refused`. `Gateway.connect` has done it."""
        verdict = await self._session.connect()
        if isinstance(verdict, results.HandshakeRefused):
            raise Refused(verdict.status, verdict.reason)
        self.subprotocol = verdict.subprotocol
        self._gateway._sessions[self.connection_id] = self._session
        self._session.open(self._inbox)

    def forget(self) -> None:
        """Have the gateway close it no more; the end of `Gateway.connect` does it."""
        self._gateway._sessions.pop(self.connection_id, None)

    async def answered(self) -> None:
        """Wait until the function has answered every event so far.

        Raises:
            TimeoutError: it takes too long.
        """
        await _answered(self._session, self._gateway._answer_timeout)

    @property
    def answers(self) -> list[Answer]:
        """The events of this connection with the function's answers, oldest first."""
        return [
            answer
            for answer in self._gateway.answers
            if answer.event["requestContext"].get("connectionId") == self.connection_id
        ]

    @property
    def close_code(self) -> int | None:
        """The close code that this client sees; None while the connection is open."""
        return self._inbox.close_status.code if self._inbox.close_status else None

    @property
    def close_reason(self) -> str | None:
        """The reason beside it."""
        return self._inbox.close_status.reason if self._inbox.close_status else None

    async def send(self, *frames: str) -> None:
        """Send one text message; with several arguments, in as many frames.

        Raises:
            Closed: it cannot be sent any more.
            TypeError: a frame is not text; `send_bytes` sends bytes.
        """
        self._check_open()
        if not all(isinstance(frame, str) for frame in frames):
            raise TypeError("send() takes text; send_bytes() sends bytes, send_json() the rest")
        close_status = self._gateway._rules.oversize([len(frame.encode()) for frame in frames])
        if close_status is None:
            self._session.receive("".join(frames))
        else:
            await self._break(close_status)

    async def send_json(self, value: object) -> None:
        """Send a value as JSON text."""
        await self.send(json.dumps(value))

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message, which API Gateway answers with close code 1003."""
        self._check_open()
        await self._break(BINARY)

    async def receive(self, timeout: float = 1.0) -> str:
        """Return the next message.

        Raises:
            Closed: there is none, and none will come.
            TimeoutError: nothing came within `timeout` seconds; the text has the last answer.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._inbox.next()
        except TimeoutError:
            last = repr(self.answers[-1].result) if self.answers else "nothing yet"
        raise TimeoutError(f"nothing came within {timeout:g} s; the last answer was: {last}")

    async def receive_json(self, timeout: float = 1.0) -> Any:
        """Return the next message, read as JSON."""
        return json.loads(await self.receive(timeout))

    async def nothing(self, seconds: float = 0.05) -> None:
        """Check that nothing comes once every event so far is answered, nor `seconds` later.

        Raises:
            AssertionError: something came; the text shows it.
        """
        await _answered(self._session, self._gateway._answer_timeout)
        try:
            async with asyncio.timeout(seconds):
                message = await self._inbox.next()
        except TimeoutError:
            return
        except Closed as error:
            raise AssertionError(str(error)) from None
        raise AssertionError(f"a message came: {message!r}")

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close, and wait until the function has been told; None closes without a code."""
        if self._inbox.close_status is None:
            await self._break(NO_STATUS if code is None else CloseStatus(code, reason))
        await _answered(self._session, self._gateway._answer_timeout)

    async def vanish(self) -> None:
        """Lose the connection without a close frame, and wait until the function has been told."""
        if self._inbox.close_status is None:
            await self._break(LOST)

    def _check_open(self) -> None:
        if self._inbox.close_status is not None:
            raise Closed(self._inbox.close_status)

    async def _break(self, close_status: CloseStatus) -> None:
        self._inbox.close(close_status)
        self._session.client_closed(close_status)
        await _answered(self._session, self._gateway._answer_timeout)


async def _answered(session: Session, timeout: float) -> None:
    """Wait until the function has answered every event so far."""
    try:
        async with asyncio.timeout(timeout):
            await session.answered()
    except TimeoutError:
        raise TimeoutError(
            f"the app was still busy with an event after {timeout:g} s; Gateway(timeout=seconds), "
            "or TestClient(function_timeout=seconds), ends it sooner"
        ) from None


class _Inbox:
    """What has come for a client; the `ClientSocket` of its session."""

    def __init__(self) -> None:
        self.close_status: CloseStatus | None = None
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()

    def send_text(self, data: bytes) -> None:
        if self.close_status is None:
            self._messages.put_nowait(data)

    def close(self, close_status: CloseStatus) -> None:
        if self.close_status is None:
            self.close_status = close_status
            self._messages.put_nowait(None)

    def hold(self, on: bool) -> None:
        pass  # nothing is read here: whoever sends, sends

    async def next(self) -> str:
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)  # whoever asks next finds it closed too
            raise Closed(self.close_status or LOST)
        return message.decode()


# The gateways of this process, of any event loop.
_open: weakref.WeakSet[Gateway] = weakref.WeakSet()
_lock = threading.Lock()


def wrap(target: Any, ws_config: WSConfig | None) -> Any:
    """Return the function that is invoked: a handler around an app, and others as they are."""
    from longwire.handler import Longwire

    if kind(target) == "asgi":
        return Longwire(target, ws_config=ws_config or {"backend": "memory", "params": {}})
    if ws_config is not None:
        raise ValueError("ws_config is for an ASGI app; a handler has its own")
    return target


def _query(path: str | None, query: str | Pairs) -> str:
    text = query if isinstance(query, str) else urlencode(pairs_of(query))
    if path is None:
        return text
    return "&".join(part for part in (urlencode({"path": path}), text) if part)
