"""A JSON-RPC server that begins with `initialize`, as MCP and LSP do.

    longwire dev examples.notebook:app --replay    # ws://127.0.0.1:3001/?path=/rpc
    uvicorn examples.notebook:app                  # ws://127.0.0.1:8000/rpc

    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"name": "ann"}}
    {"jsonrpc": "2.0", "id": 2, "method": "add", "params": {"note": "milk"}}
    {"jsonrpc": "2.0", "id": 3, "method": "list"}

Each connection has a `Notebook`, an object in a local variable. Replay makes it anew, from what its
client has said.
"""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket


class RpcError(Exception):
    """What is wrong with a request, with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Notebook:
    """The methods that one client may call, and what it has called before."""

    def __init__(self) -> None:
        self.owner: str | None = None
        self.notes: list[str] = []

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """Call a method."""
        match method, params:
            case "initialize", {"name": str(name)}:
                self.owner = name
                return {"server": "notebook", "hello": name}
            case _ if self.owner is None:
                raise RpcError(-32002, "initialize first")
            case "add", {"note": str(note)}:
                self.notes.append(note)
                return len(self.notes)
            case "list", _:
                return {self.owner: self.notes}
            case (("initialize" | "add"), _):
                raise RpcError(-32602, "invalid params")
            case _:
                raise RpcError(-32601, "method not found")


async def rpc(ws: WebSocket) -> None:
    """Serve one client."""
    await ws.accept()
    notebook = Notebook()
    async for text in ws.iter_text():
        answer = respond(notebook, text)
        if answer is not None:
            await ws.send_json(answer)


def respond(notebook: Notebook, text: str) -> dict[str, Any] | None:
    """Return the response to a request; None to a notification."""
    try:
        request = json.loads(text)
    except json.JSONDecodeError:
        return failure(None, -32700, "parse error")
    match request:
        case {"jsonrpc": "2.0", "method": str(method)}:
            number = request.get("id")
        case _:
            return failure(None, -32600, "invalid request")
    try:
        result = notebook.call(method, request.get("params", {}))
    except RpcError as error:
        return None if number is None else failure(number, error.code, str(error))
    return None if number is None else {"jsonrpc": "2.0", "id": number, "result": result}


def failure(number: Any, code: int, message: str) -> dict[str, Any]:
    """Return the response to what cannot be done."""
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}


app = Starlette(routes=[WebSocketRoute("/rpc", rpc)])
