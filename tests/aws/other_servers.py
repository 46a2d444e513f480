"""HTTP servers that nobody here wrote: the standard library's, and uvicorn."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator

    from longwire.types import Message, Receive, Scope, Send


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204 if self.command == "DELETE" else 200)
        self.send_header("X-Client-Port", str(self.client_address[1]))
        if self.command != "DELETE":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_HEAD = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def standard_library_server(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve echoes from a thread, on one connection per thread."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    message: Message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    headers = [
        (b"x-target", target),
        (b"x-host", dict(scope["headers"])[b"host"]),
        (b"x-client-port", str(scope["client"][1]).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for at in range(0, len(body), 7000):
        part = body[at : at + 7000]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def asgi_server(host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve echoes by uvicorn on h11, chunked, on this event loop."""
    config = uvicorn.Config(
        _app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        await server.startup(sockets=[listener])
        try:
            port = listener.getsockname()[1]
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            await server.shutdown(sockets=[listener])
