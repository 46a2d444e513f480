"""Starlette: function endpoints, and endpoints that are classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Router, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.parity.frameworks.endpoints import ENDPOINTS
from tests.parity.frameworks.remembering import hear
from tests.parity.frameworks.socket import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.parity.frameworks.socket import Endpoint, Gone


class StarletteSocket:
    gone: ClassVar[Gone] = (WebSocketDisconnect, OSError)

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self.accept = websocket.accept
        self.receive = websocket.receive_text
        self.send = websocket.send_text
        self.close = websocket.close

    @property
    def offered(self) -> list[str]:
        return list(self._websocket.scope["subprotocols"])

    @property
    def handshake(self) -> dict[str, Any]:
        headers = self._websocket.headers
        return {
            "query": sorted(self._websocket.query_params.multi_items()),
            "headers": [headers.get(name) for name in ("x-one", "x-odd", "x-none")],
            "cookies": self._websocket.cookies,
            "path": self._websocket.url.path.rpartition("/")[2],
        }


def as_starlette(endpoint: Endpoint) -> Callable[[WebSocket], Awaitable[None]]:
    """Return an endpoint as Starlette and FastAPI know it."""

    async def run(websocket: WebSocket) -> None:
        await serve(endpoint, StarletteSocket(websocket))

    return run


class Text(WebSocketEndpoint):
    encoding = "text"

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_text(f"text {data}")


class Json(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json({"hello": websocket.path_params["name"]})

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json({"got": data})


class Picky(WebSocketEndpoint):
    """Closes, crashes and answers, as it is told."""

    encoding = "text"

    async def on_connect(self, websocket: WebSocket) -> None:
        if "token" not in websocket.query_params:
            await websocket.close(1008)
        else:
            await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        if data == "close":
            await websocket.close(4000)
        elif data == "crash":
            raise ValueError("as told")
        else:
            await websocket.send_text(data)


class Counter(WebSocketEndpoint):
    """Counts in an attribute, and knows at the end how far it came."""

    encoding = "text"
    counted = 0

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        self.counted += 1
        await websocket.send_text(f"{self.counted} {data}")

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        hear(f"Starlette counted {self.counted}, {close_code}")


class Basket(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        self.items: list[Any] = []
        await websocket.accept()

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        if data == "pay":
            await websocket.close(4000)
        else:
            self.items.append(data)
            await websocket.send_json(self.items)


async def count_in_state(websocket: WebSocket) -> None:
    await websocket.accept()
    websocket.state.counted = 0
    async for text in websocket.iter_text():
        websocket.state.counted += 1
        await websocket.send_text(f"{websocket.state.counted} {text}")


async def count_in_session(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        websocket.session[text] = websocket.session.get(text, 0) + 1
        await websocket.send_json(websocket.session)


class CountingMiddleware:
    """Numbers what its app is told."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        counted = 0

        async def numbered() -> Any:
            nonlocal counted
            message = await receive()
            if message["type"] == "websocket.receive":
                counted += 1
                message = {**message, "text": f"{counted} {message['text']}"}
            return message

        await self._app(scope, numbered, send)


async def iterate(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def iterate_json(websocket: WebSocket) -> None:
    await websocket.accept()
    async for value in websocket.iter_json():
        await websocket.send_json({"got": value}, mode="text")


async def send_bytes(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_bytes(text.encode())


async def policy(websocket: WebSocket) -> None:
    raise WebSocketException(4003, "not allowed")


async def policy_later(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    raise WebSocketException(4003, "not allowed")


async def forbidden(websocket: WebSocket) -> None:
    raise HTTPException(403)


async def not_found_later(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    raise HTTPException(404)


async def deny_json(websocket: WebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"why": "pay"}, 402))


async def deny_after_work(websocket: WebSocket) -> None:
    response = PlainTextResponse("busy", 503, {"retry-after": "1"})
    await websocket.send_denial_response(response)


async def session(websocket: WebSocket) -> None:
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_json(websocket.session)


class OwnMiddleware:
    """Answers for the app, or changes what it sends."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def louder(message: Any) -> None:
            if message["type"] == "websocket.send":
                message = {**message, "text": message["text"].upper()}
            await send(message)

        await self._app(scope, receive, louder)


app = Starlette(
    routes=[
        *(WebSocketRoute(f"/{name}", as_starlette(one)) for name, one in ENDPOINTS.items()),
        WebSocketRoute("/Text", Text),
        WebSocketRoute("/Json/{name}", Json),
        WebSocketRoute("/Picky", Picky),
        WebSocketRoute("/Counter", Counter),
        WebSocketRoute("/Basket", Basket),
        *(
            WebSocketRoute(f"/{one.__name__}", one)
            for one in (
                iterate,
                iterate_json,
                send_bytes,
                policy,
                policy_later,
                forbidden,
                not_found_later,
                deny_json,
                deny_after_work,
                session,
                count_in_state,
                count_in_session,
            )
        ),
        Mount(
            "/loud",
            Router([WebSocketRoute("/iterate", iterate)]),
            middleware=[Middleware(OwnMiddleware)],
        ),
        Mount(
            "/numbered",
            Router([WebSocketRoute("/iterate", iterate)]),
            middleware=[Middleware(CountingMiddleware)],
        ),
    ],
    middleware=[Middleware(SessionMiddleware, secret_key="tests only")],
)
