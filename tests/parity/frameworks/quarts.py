"""Quart, whose WebSocket is a context variable, and which tells an end by cancelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from quart import Blueprint, Quart, abort, g, session, websocket

from tests.parity.frameworks.endpoints import ENDPOINTS
from tests.parity.frameworks.remembering import hear
from tests.parity.frameworks.socket import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.parity.frameworks.socket import Endpoint, Gone

app = Quart(__name__)
app.secret_key = "tests only"


class QuartSocket:
    gone: ClassVar[Gone] = ()

    async def accept(self, subprotocol: str | None = None) -> None:
        await websocket.accept(subprotocol=subprotocol)

    async def receive(self) -> str:
        return str(await websocket.receive())

    async def send(self, text: str) -> None:
        await websocket.send(text)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await websocket.close(code, reason)

    @property
    def offered(self) -> list[str]:
        return list(websocket.requested_subprotocols)

    @property
    def handshake(self) -> dict[str, Any]:
        headers = websocket.headers
        return {
            "query": sorted(websocket.args.items(multi=True)),
            "headers": [headers.get(name) for name in ("x-one", "x-odd", "x-none")],
            "cookies": dict(websocket.cookies),
        }


def _view(endpoint: Endpoint) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await serve(endpoint, QuartSocket())

    return run


for name, endpoint in ENDPOINTS.items():
    app.add_websocket(f"/{name}", name, _view(endpoint))


@app.before_websocket
async def before() -> None:
    g.user = websocket.args.get("user", "nobody")


@app.websocket("/implicit")
async def implicit() -> None:
    """Sending accepts."""
    await websocket.send("hello")
    while True:
        await websocket.send(await websocket.receive())


@app.websocket("/implicit/receive")
async def implicit_by_receiving() -> None:
    """And so does receiving."""
    while True:
        await websocket.send(await websocket.receive())


@app.websocket("/json")
async def json_for_user() -> None:
    while True:
        await websocket.send_json({"got": await websocket.receive_json(), "user": g.user})


@app.websocket("/remember")
async def remember() -> None:
    """Keep it in the context of the WebSocket."""
    g.texts = []
    try:
        while True:
            g.texts.append(await websocket.receive())
            await websocket.send_json({"user": g.user, "texts": g.texts})
    finally:
        hear(f"Quart heard {' '.join(g.texts)}")


@app.teardown_websocket
async def leave(error: BaseException | None) -> None:
    if "texts" in g:
        hear(f"Quart left {len(g.texts)}")


@app.websocket("/session")
async def tell_session() -> None:
    await websocket.accept()
    while True:
        await websocket.receive()
        await websocket.send(session.get("name", "no name"))


@app.websocket("/abort/<int:status>")
async def refuse_with(status: int) -> None:
    abort(status)


@app.websocket("/answer")
async def answer() -> tuple[str, int]:
    """Answer the handshake with a response."""
    return "pay", 402


@app.websocket("/bytes")
async def as_bytes() -> None:
    while True:
        await websocket.send(str(await websocket.receive()).encode())


rooms = Blueprint("rooms", __name__, url_prefix="/rooms")


@rooms.websocket("/<name>/<int:seat>")
async def room(name: str, seat: int) -> None:
    while True:
        await websocket.send(f"{name} {seat} {await websocket.receive()!s}")


@rooms.before_websocket
async def locked() -> None:
    if websocket.args.get("user") == "eve":
        abort(403)


app.register_blueprint(rooms)
