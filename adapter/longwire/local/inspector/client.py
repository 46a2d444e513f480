"""A client of the page: a connection like any other, without a socket."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from longwire.local.rules.connection import LOST, SAMPLE_KEY, ClientHandshake, CloseStatus
from longwire.local.rules.results import HandshakeRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.local.rules.results import Verdict
    from longwire.local.server.server import LocalGateway
    from longwire.local.session import Session

USER_AGENT = "longwire-inspector"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class PageClient:
    """What its session reaches it through: the page shows the frames beside their events."""

    def __init__(self, gateway: LocalGateway, session: Session) -> None:
        self.closed: asyncio.Event = asyncio.Event()
        self.is_full = False
        self._gateway = gateway
        self._session = session

    def send_text(self, data: bytes) -> None:
        pass

    def hold(self, on: bool) -> None:
        pass

    def close(self, close_status: CloseStatus) -> None:
        """End; it answers a close frame at once."""
        if not self.closed.is_set():
            self.closed.set()
            self._gateway.ended(self._session)

    def abort(self) -> None:
        self._session.client_closed(LOST)
        self.close(LOST)


def is_header(name: str, value: str) -> bool:
    """Tell whether a client could send this."""
    return bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))


async def connect(
    gateway: LocalGateway, query: str, headers: Sequence[tuple[str, str]]
) -> tuple[Session, Verdict]:
    """Open a connection, as a client with these headers would."""
    given = {name.lower() for name, _ in headers}
    usual = [
        ("Host", gateway.url.removeprefix("ws://")),
        ("User-Agent", USER_AGENT),
        ("Sec-WebSocket-Key", SAMPLE_KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
    all_headers = [*(pair for pair in usual if pair[0].lower() not in given), *headers]
    session = gateway.begin(ClientHandshake(tuple(all_headers), query, "127.0.0.1"))
    verdict = await session.connect()
    if isinstance(verdict, HandshakeRefused) or session.ended:
        gateway.ended(session)
        return session, verdict
    client = PageClient(gateway, session)
    gateway.opened(session, client)
    session.open(client)
    return session, verdict


def query_of(path: str | None, parameter: str | None, query: str) -> str:
    """Return a query string with the path in it, as clients of API Gateway say it."""
    path_part = urlencode({parameter: path}, safe="/") if parameter and path else ""
    return "&".join(part for part in (path_part, query.removeprefix("?")) if part)
