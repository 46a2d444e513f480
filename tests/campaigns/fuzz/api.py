"""The API Gateway of a generated case: `@connections`, on good and bad days."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from longwire_aws.http import Response, TransportError, TransportTimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tests.campaigns.fuzz.world import World

FAULTS = ("slow", "timeout", "reset", "unreached", "page", "403", "410", "429", "500")

# What an app puts before its connection's id in a frame that is for this connection only.
MARK = "for "


class Post(NamedTuple):
    """A request to `@connections`.

    Attributes:
        status: of the answer; 0 when it was lost, so that nobody knows what has become of it.
    """

    method: str
    url: str
    connection_id: str
    body: bytes
    status: int


class FakeAPI:
    """Answers requests to `@connections`, and keeps them.

    Args:
        faults: what goes wrong, each in one of so many requests.

    Attributes:
        known: the connections that there are.
        posts: every request.
    """

    def __init__(self, world: World, faults: dict[str, int], random: Random) -> None:
        self.known: set[str] = set()
        self.posts: list[Post] = []
        self._world = world
        self._faults = faults
        self._random = random

    async def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        timeout: float,
    ) -> Response:
        """Answer as API Gateway does, or as it does on a bad day."""
        connection_id = unquote(url.rpartition("/@connections/")[2])
        self._check(method, url, connection_id, body, timeout)
        fault = next((f for f, n in self._faults.items() if self._random.randrange(n) == 0), "")
        response = self._answer(method, connection_id)
        post = Post(method, url, connection_id, body, response.status)
        match fault:
            case "slow":
                await asyncio.sleep(min(timeout, self._random.uniform(0, 1)) * 0.9)
            case "timeout":
                self.posts.append(post._replace(status=0))
                await asyncio.sleep(timeout)
                raise TransportTimeoutError("no answer", sent=True)
            case "reset":
                self.posts.append(post._replace(status=0))
                raise TransportError("reset", sent=True)
            case "unreached":
                raise TransportError("reset", sent=False)
            case "page":
                response = Response(200, {}, b"<html>log in</html>")
            case status if status:
                response = Response(int(status), {}, b'{"message": "a bad day"}')
        self.posts.append(post._replace(status=response.status))
        if method == "DELETE" and response.status == 204:
            self.known.discard(connection_id)
        return response

    def _answer(self, method: str, connection_id: str) -> Response:
        if connection_id not in self.known:
            return Response(410, {}, b"")
        if method == "GET":
            return Response(200, {}, json.dumps(_INFO).encode())
        return Response(204 if method == "DELETE" else 200, {}, b"")

    def _check(self, method: str, url: str, to: str, body: bytes, timeout: float) -> None:
        wrong = self._world.wrong
        if not url.isascii() or not url.startswith("https://") or any(c <= " " for c in url):
            wrong.append(f"a request to {url!r}, which is no URL")
        if timeout <= 0:
            wrong.append(f"a request with {timeout} s left")
        if len(body) > 131072:
            wrong.append(f"a frame of {len(body)} bytes was posted")
        is_private = body.startswith(MARK.encode())
        if is_private and not body.startswith(f"{MARK}{to}\n".encode()):
            wrong.append(f"a frame was posted to {to!r}: {body!r:.100}")


_INFO = {
    "connectedAt": "2025-11-11T13:45:35.513Z",
    "identity": {"sourceIp": "203.0.113.7", "userAgent": None},
    "lastActiveAt": "2025-11-11T13:45:46.513Z",
}
