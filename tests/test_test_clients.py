"""Apps with `Connections` under the frameworks' test clients, which are servers like others.

Each has a process of its own: once a test client is imported, a process counts as a server.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROUTE = """
import longwire

connections = longwire.Connections()

async def announce(*request):
    await connections.group_send("room", "news")
    result = await connections.broadcast("news")
    return Response(f"{len(result.delivered)} {len(result.failed)}", media_type="text/plain")
"""
STARLETTE = (
    ROUTE
    + """
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

app = Starlette(routes=[Route("/", announce)])
print(TestClient(app).get("/").text)
with TestClient(app) as client:
    print(client.get("/").text)
"""
)
LITESTAR = (
    ROUTE
    + """
from litestar import Litestar, Response, get
from litestar.testing import TestClient

@get("/")
async def route() -> Response[str]:
    return await announce()

with TestClient(Litestar([route])) as client:
    for _ in range(2):
        print(client.get("/").text)
"""
)


@pytest.mark.parametrize("source", [STARLETTE, LITESTAR], ids=["Starlette", "Litestar"])
def test_a_route_that_sends_before_anybody_has_connected_reaches_nobody(source: str) -> None:
    """So the order of tests does not matter."""
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.splitlines() == ["0 0", "0 0"]
