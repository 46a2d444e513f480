"""What the page can make happen. Each action is one that clients, networks or AWS do, too."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Any

from longwire.exceptions import LongwireError
from longwire.local.inspector import client, transport
from longwire.local.inspector.inspector import OF_PAGE
from longwire.local.rules.connection import CloseStatus
from longwire.local.rules.faults import LOST, Faults
from longwire.local.rules.management_api import ManagementRequest
from longwire.local.rules.results import HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from longwire.local.function.instance import Instance
    from longwire.local.inspector.inspector import Inspector, WatchedFunction
    from longwire.local.server.server import LocalGateway
    from longwire.local.session import Session

MOST_TIMES = 100
LATEST_DISCONNECT = 600.0
MOST = 10**15


class ActionError(LongwireError):
    """It cannot be done; the text says why."""


class Actions:
    """By their names, as the page says them."""

    def __init__(
        self,
        inspector: Inspector,
        gateway: LocalGateway,
        function: WatchedFunction,
        processes: Callable[[], Sequence[Instance]],
        path_query: Callable[[], str | None],
    ) -> None:
        self._inspector = inspector
        self._gateway = gateway
        self._function = function
        self._processes = processes
        self._path_query = path_query

    async def do(self, request: object) -> dict[str, Any]:
        """Do what is asked; raises `ActionError`."""
        if not isinstance(request, dict):
            raise ActionError("expected a JSON object")
        name = _text(request, "do")
        action = getattr(self, f"_do_{name}", None)
        if action is None:
            raise ActionError(f"there is no action {name!r}")
        done: dict[str, Any] | None = await action(request)
        return {"ok": True, **(done or {})}

    # Clients

    async def _do_connect(self, request: Mapping[str, Any]) -> dict[str, Any]:
        headers = [
            (_text({"headers": name}, "headers"), _text({"headers": value}, "headers"))
            for name, value in _pairs(request, "headers")
        ]
        for name, value in headers:
            if not client.is_header(name, value):
                raise ActionError(f"{name!r} with its value is no header")
        query = client.query_of(
            _text(request, "path", ""), self._path_query(), _text(request, "query", "")
        )
        if not query.isascii() or any(one <= " " for one in query):
            raise ActionError("query: as in a URL, with %20 for a space")
        session, verdict = await client.connect(self._gateway, query, headers)
        connection_id = session.connection.connection_id
        if isinstance(verdict, HandshakeRefused):
            return {"connection": connection_id, "refused": verdict.status}
        if (peer := self._inspector.peers.get(connection_id)) is not None:
            peer.is_of_page = True
        return {"connection": connection_id}

    async def _do_send(self, request: Mapping[str, Any]) -> None:
        session, text = self._open_session(request), self._message(request, "text")
        times = _number(request, "times", 1)
        if not 1 <= times <= MOST_TIMES:
            raise ActionError(f"times: from 1 to {MOST_TIMES}")
        for _ in range(int(times)):
            session.receive(text)

    async def _do_reorder(self, request: Mapping[str, Any]) -> None:
        """Send two messages, of which the function gets the second first."""
        session = self._open_session(request)
        first, second = self._message(request, "text"), self._message(request, "then")
        faults = _faults(session)
        if faults.reorders:
            raise ActionError("the next two messages change places already: send them")
        faults.reorders = True
        session.receive(first)
        session.receive(second)

    async def _do_close(self, request: Mapping[str, Any]) -> None:
        session, code = self._open_session(request), _number(request, "code", 1000)
        if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) and not (
            3000 <= code <= 4999
        ):
            raise ActionError("code: 1000 to 1014 without 1004 to 1006, or 3000 to 4999")
        reason = _text(request, "reason", "")
        if len(reason.encode()) > 123:
            raise ActionError("reason: at most 123 bytes")
        status = CloseStatus(int(code), reason)
        session.client_closed(status)
        self._socket(session).close(status)

    async def _do_vanish(self, request: Mapping[str, Any]) -> None:
        self._socket(self._open_session(request)).abort()

    # The gateway

    async def _do_post(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return await self._manage("POST", request, self._message(request, "text").encode())

    async def _do_delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return await self._manage("DELETE", request)

    async def _manage(
        self, method: str, request: Mapping[str, Any], body: bytes = b""
    ) -> dict[str, Any]:
        connection_id = self._open_session(request).connection.connection_id
        target = f"/{self._gateway.rules.settings.stage}/@connections/{connection_id}"
        headers = [(transport.HEADER, OF_PAGE)]
        response = self._gateway.manage_unsigned(ManagementRequest(method, target, headers, body))
        return {"status": response.status}

    async def _do_idle(self, request: Mapping[str, Any]) -> None:
        """Let the idle timeout pass."""
        self._open_session(request).expire()

    async def _do_faults(self, request: Mapping[str, Any]) -> None:
        """Say what is to go wrong with a connection from now on."""
        faults = _faults(session := self._open_session(request))
        if request.get("disconnect") == "lost":
            faults.disconnect_delay = LOST
        elif "disconnect" in request:
            seconds = _number(request, "disconnect")
            if not 0 <= seconds <= LATEST_DISCONNECT:
                raise ActionError(f"disconnect: 'lost', or 0 to {LATEST_DISCONNECT:g} seconds")
            faults.disconnect_delay = seconds
        if "reorders" in request:
            faults.reorders = request["reorders"] is True
            if not faults.reorders:
                session.release()
        for looker in self._inspector.lookers:
            looker.peer_changed(session.connection.connection_id)

    # The function

    async def _do_replay(self, request: Mapping[str, Any]) -> None:
        """Let the function have an event once more, as Lambda may deliver it twice."""
        number = int(_number(request, "event"))
        entry = self._inspector.ring.get(number)
        if entry is None:
            raise ActionError(f"event {number} is not kept any more")
        if entry.event is None or entry.kind == "AUTHORIZER":
            raise ActionError(f"event {number} is none that the function got")
        event = copy.deepcopy(entry.event)
        self._gateway.spawn(_without_end(self._function.again(event, entry.replay_of or number)))

    async def _do_kill(self, request: Mapping[str, Any]) -> None:
        """Kill a process of `--instances`."""
        pid = _number(request, "pid")
        for instance in self._processes():
            if instance.pid == pid:
                return instance.crash()
        raise ActionError(f"there is no process {pid:g} of the function")

    async def _do_clear(self, request: Mapping[str, Any]) -> None:
        self._inspector.clear()

    # What is asked

    def _open_session(self, request: Mapping[str, Any]) -> Session:
        connection_id = _text(request, "connection")
        session = self._gateway.sessions.get(connection_id)
        if session is None or session.ended or connection_id not in self._gateway.sockets:
            raise ActionError(f"connection {connection_id} is not open")
        return session

    def _socket(self, session: Session) -> Any:
        return self._gateway.sockets[session.connection.connection_id]

    def _message(self, request: Mapping[str, Any], name: str) -> str:
        text = _text(request, name)
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            raise ActionError(f"{name}: half of a pair of surrogates is no text") from None
        if size > (limit := self._gateway.rules.settings.message_limit):
            raise ActionError(f"{name}: {size:,} bytes, and a message has at most {limit:,}")
        return text


async def _without_end(call: Coroutine[Any, Any, object]) -> None:
    with contextlib.suppress(Exception):  # its entry shows it
        await call


def _faults(session: Session) -> Faults:
    if session.faults is None:
        session.faults = Faults()
    return session.faults


def _text(request: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = request.get(name, default)
    if not isinstance(value, str):
        raise ActionError(f"{name}: expected a text")
    return value


def _number(request: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ActionError(f"{name}: expected a number")
    # An integer may be larger than any float, and no action has a use for one.
    if not abs(value) < MOST:
        raise ActionError(f"{name}: expected a number")
    return value


def _pairs(request: Mapping[str, Any], name: str) -> list[tuple[Any, Any]]:
    value = request.get(name, [])
    if not isinstance(value, list) or not all(
        isinstance(one, list) and len(one) == 2 for one in value
    ):
        raise ActionError(f"{name}: expected a list of pairs")
    return [(one[0], one[1]) for one in value]
