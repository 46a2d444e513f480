"""BlackSheep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from blacksheep import Application, WebSocket, WebSocketDisconnectError
from blacksheep.exceptions import Unauthorized

from tests.parity.frameworks.endpoints import ENDPOINTS
from tests.parity.frameworks.socket import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.parity.frameworks.socket import Endpoint, Gone

app = Application()


class BlackSheepSocket:
    gone: ClassVar[Gone] = (WebSocketDisconnectError, OSError)

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self.receive = websocket.receive_text
        self.send = websocket.send_text
        self.close = websocket.close

    async def accept(self, subprotocol: str | None = None) -> None:
        await self._websocket.accept(subprotocol=subprotocol)

    @property
    def offered(self) -> list[str]:
        scope: dict[str, Any] = {**self._websocket.scope}
        return list(scope["subprotocols"])

    @property
    def handshake(self) -> dict[str, Any]:
        headers = [self._websocket.get_first_header(name) for name in (b"x-one", b"x-odd")]
        return {
            "query": sorted(self._websocket.query.items()),
            "headers": [header and header.decode() for header in headers],
            "cookies": self._websocket.cookies,
        }


def _handler(endpoint: Endpoint) -> Callable[[WebSocket], Awaitable[None]]:
    async def run(websocket: WebSocket) -> None:
        await serve(endpoint, BlackSheepSocket(websocket))

    # The types of its parameters are looked up, not the names that they have here.
    run.__annotations__ = {"websocket": WebSocket}
    return run


for name, endpoint in ENDPOINTS.items():
    app.router.add_ws(f"/{name}", _handler(endpoint))


async def rooms(websocket: WebSocket, room: str, seat: int) -> None:
    await websocket.accept()
    try:
        while True:
            got = await websocket.receive_json()
            await websocket.send_json({"room": room, "seat": seat, "got": got})
    except WebSocketDisconnectError:
        pass


async def kept(websocket: WebSocket) -> None:
    await websocket.accept()
    items: list[Any] = []
    try:
        while True:
            items.append(await websocket.receive_json())
            await websocket.send_json({"items": items})
    except WebSocketDisconnectError:
        pass


async def unauthorized(websocket: WebSocket) -> None:
    raise Unauthorized


app.router.add_ws("/rooms/{room}/{seat}", rooms)
app.router.add_ws("/kept", kept)
app.router.add_ws("/unauthorized", unauthorized)
