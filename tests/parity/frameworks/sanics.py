"""Sanic, which accepts before its handler runs, and whose `close` does nothing under ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sanic import Request, Sanic
from sanic.exceptions import Forbidden

from tests.parity.frameworks.endpoints import ENDPOINTS
from tests.parity.frameworks.socket import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.parity.frameworks.socket import Endpoint, Gone

app = Sanic("parity", configure_logging=False)


class GoneError(Exception):
    """The client has left."""


class SanicSocket:
    gone: ClassVar[Gone] = (GoneError, OSError)

    def __init__(self, request: Request, websocket: Any) -> None:
        self._request = request
        self._websocket = websocket
        self.send = websocket.send
        self.close = websocket.close

    async def accept(self, subprotocol: str | None = None) -> None:
        """Do nothing: Sanic has."""

    async def receive(self) -> str:
        text = await self._websocket.recv()
        if text is None:
            raise GoneError
        return str(text)

    @property
    def offered(self) -> list[str]:
        return list(self._websocket.subprotocols)

    @property
    def handshake(self) -> dict[str, Any]:
        headers = self._request.headers
        return {
            "query": sorted(self._request.get_query_args(keep_blank_values=True)),
            "headers": [headers.get(name) for name in ("x-one", "x-odd", "x-none")],
            "cookies": {name: self._request.cookies.get(name) for name in ("a", "c")},
        }


def _handler(endpoint: Endpoint) -> Callable[[Request, Any], Awaitable[None]]:
    async def run(request: Request, ws: Any) -> None:
        await serve(endpoint, SanicSocket(request, ws))

    return run


for name, endpoint in ENDPOINTS.items():
    app.add_websocket_route(_handler(endpoint), f"/{name}", name=name)


@app.websocket("/rooms/<room>/<seat:int>", subprotocols=["chat.v2"])  # type: ignore[untyped-decorator]
async def rooms(request: Request, ws: Any, room: str, seat: int) -> None:
    async for text in _texts(ws):
        await ws.send(f"{room} {seat} {request.ctx.user} {text}")


@app.websocket("/kept")  # type: ignore[untyped-decorator]
async def kept(request: Request, ws: Any) -> None:
    request.ctx.texts = []
    async for text in _texts(ws):
        request.ctx.texts.append(text)
        await ws.send(" ".join(request.ctx.texts))


async def _texts(ws: Any) -> Any:
    while (text := await ws.recv()) is not None:
        yield text


@app.on_request
async def know(request: Request) -> None:
    request.ctx.user = request.args.get("user", "nobody")
    if request.ctx.user == "eve":
        raise Forbidden("no")
