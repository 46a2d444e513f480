"""Falcon, which receives by a task of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import falcon
import falcon.asgi
from falcon.errors import WebSocketDisconnected

from tests.parity.frameworks.endpoints import ENDPOINTS
from tests.parity.frameworks.remembering import hear
from tests.parity.frameworks.socket import serve

if TYPE_CHECKING:
    from falcon.asgi import Request, WebSocket

    from tests.parity.frameworks.socket import Gone


class FalconSocket:
    gone: ClassVar[Gone] = (WebSocketDisconnected, OSError)

    def __init__(self, request: Request, websocket: WebSocket) -> None:
        self._request = request
        self._websocket = websocket
        self.accept = websocket.accept
        self.receive = websocket.receive_text
        self.send = websocket.send_text

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._websocket.close(code, reason)

    @property
    def offered(self) -> list[str]:
        return list(self._websocket.subprotocols)

    @property
    def handshake(self) -> dict[str, Any]:
        return {
            "query": sorted((name, str(self._request.params[name])) for name in ("tag", "odd"))
            if self._request.params
            else [],
            "headers": [self._request.get_header(name) for name in ("x-one", "x-odd", "x-none")],
            "cookies": self._request.cookies,
        }


class Common:
    async def on_websocket(self, req: Request, ws: WebSocket, name: str) -> None:
        if name not in ENDPOINTS:
            raise falcon.HTTPRouteNotFound
        await serve(ENDPOINTS[name], FalconSocket(req, ws))


class Media:
    async def on_websocket(self, req: Request, ws: WebSocket, seat: int) -> None:
        await ws.accept()
        while True:
            try:
                await ws.send_media({"seat": seat, "got": await ws.receive_media()})
            except WebSocketDisconnected:
                return


class Kept:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        items: list[Any] = []
        try:
            while True:
                items.append(await ws.receive_media())
                await ws.send_media(items)
        except WebSocketDisconnected:
            hear(f"Falcon kept {len(items)}")


class Refuse:
    async def on_websocket(self, req: Request, ws: WebSocket, status: int) -> None:
        raise falcon.HTTPError(status)


class Late:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(await ws.receive_text())
        raise falcon.HTTPForbidden


class Nothing:
    """Has no WebSocket."""

    async def on_get(self, req: Request, resp: Any) -> None:
        resp.text = "no"


app = falcon.asgi.App()
app.add_route("/media/{seat:int}", Media())
app.add_route("/kept", Kept())
app.add_route("/refuse/{status:int}", Refuse())
app.add_route("/late", Late())
app.add_route("/nothing", Nothing())
app.add_route("/{name}", Common())
