"""A server in front of another, which refuses some requests as AWS does."""

from __future__ import annotations

import contextlib
import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

XML = (
    '<ErrorResponse xmlns="http://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type>'
    "<Code>{code}</Code><Message>{text}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
)


@contextlib.contextmanager
def refusing(url: str, refuses: Callable[[str], str | None]) -> Iterator[str]:
    """Serve what `url` serves, but for requests of which `refuses` gives a code.

    It is asked with all that names a request's operation: its method and path, its target, its
    body.
    """
    host = url.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            target = self.headers.get("x-amz-target", "")
            name = f"{self.command} {self.path} {target} {body.decode('utf-8', 'replace')}"
            code = refuses(name)
            if code is None:
                self._pass(body)
            else:
                self._refuse(code, is_json=bool(target) or "Action=" not in name)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

        def _pass(self, body: bytes) -> None:
            connection = http.client.HTTPConnection(host, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            kept = ("content-type", "x-amzn-errortype")
            chosen = [(k, v) for k, v in answer.getheaders() if k.lower() in kept]
            self._answer(answer.status, answer.read(), chosen)
            connection.close()

        def _refuse(self, code: str, *, is_json: bool) -> None:
            text = "User: arn:aws:iam::1:user/ann is not authorized to perform this"
            if is_json:
                said = f'{{"__type": "com.amazon.coral.service#{code}", "message": "{text}"}}'
                kinds = [("content-type", "application/x-amz-json-1.0"), ("x-amzn-errortype", code)]
                self._answer(400, said.encode(), kinds)
            else:
                self._answer(
                    403, XML.format(code=code, text=text).encode(), [("content-type", "text/xml")]
                )

        def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
