"""httpx in front of the function: what the `TestClient` sends HTTP with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longwire.local.rules.http_events import HTTPRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.local.rules.http_results import HTTPResponse


class UpgradeAsked(Exception):
    """A handshake, as httpx would send it."""

    def __init__(self, url: str, headers: list[tuple[str, str]]) -> None:
        self.url: str = url
        self.headers: list[tuple[str, str]] = headers


def make_client(
    httpx: Any,
    answer_to: Callable[[HTTPRequest], HTTPResponse],
    source_ip: str,
    options: dict[str, Any],
) -> Any:
    """Return an `httpx.Client` whose requests `answer_to` answers.

    `httpx` is the module; it, and what is made of it here, is loaded by who sends HTTP only.
    """

    class Events(httpx.BaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            headers = [(name.lower(), value) for name, value in request.headers.multi_items()]
            if request.url.scheme in ("ws", "wss"):
                raise UpgradeAsked(str(request.url), headers)
            scheme = request.url.scheme
            port = request.url.port or (443 if scheme == "https" else 80)
            target = request.url.raw_path.decode("ascii")
            body = request.read()
            answer = answer_to(
                HTTPRequest(request.method, target, headers, body, source_ip, port, scheme)
            )
            body = b"" if request.method == "HEAD" else answer.body
            stream = httpx.ByteStream(body)
            return httpx.Response(answer.status, headers=answer.headers, stream=stream)

    class Client(httpx.Client):  # type: ignore[misc]
        def upgrade(
            self, url: str, headers: list[tuple[str, str]], options: dict[str, Any]
        ) -> tuple[str, list[tuple[str, str]]]:
            """Return the URL and the headers of a handshake, with all that the client adds."""
            try:
                self.request("GET", url, headers=headers, **options)
            except UpgradeAsked as asked:
                return asked.url, asked.headers
            raise AssertionError("a handshake is never sent")

    return Client(transport=Events(), **options)
