"""Which paths an app has, and what was meant by one that it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from longwire import ConnectionsMiddleware
from longwire.local.routes import has_http_routes, hint, websocket_routes

if TYPE_CHECKING:
    from pathlib import Path


async def endpoint(*arguments: Any, **more: Any) -> None:
    raise NotImplementedError


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route, WebSocketRoute

    inner = Starlette(routes=[WebSocketRoute("/news", endpoint)])
    return Starlette(
        routes=[
            Route("/page", endpoint),
            WebSocketRoute("/", endpoint),
            WebSocketRoute("/rooms/{room:int}/{seat}", endpoint),
            Mount("/v1", routes=[WebSocketRoute("/chat", endpoint)]),
            Mount("/v2", app=inner),
        ]
    )


def fastapi() -> Any:
    from fastapi import APIRouter, FastAPI

    app, router, outer = FastAPI(), APIRouter(prefix="/chat"), APIRouter()
    app.get("/page")(endpoint)
    app.websocket("/rooms/{room}/{seat}")(endpoint)
    router.websocket("")(endpoint)
    outer.include_router(router)
    app.include_router(outer, prefix="/v1")
    return app


def litestar() -> Any:
    pytest.importorskip("litestar")
    from litestar import Litestar, Router, WebSocket, get, websocket

    @get("/page")
    async def page() -> str:
        raise NotImplementedError

    @websocket("/rooms/{room:str}/{seat:int}")
    async def rooms(socket: WebSocket[Any, Any, Any]) -> None:
        raise NotImplementedError

    @websocket("/chat")
    async def chat(socket: WebSocket[Any, Any, Any]) -> None:
        raise NotImplementedError

    return Litestar([page, rooms, Router("/v1", route_handlers=[chat])])


def quart() -> Any:
    pytest.importorskip("quart")
    from quart import Quart

    app = Quart("tests")
    app.add_url_rule("/page", "page")
    app.websocket("/rooms/<room>/<int:seat>")(endpoint)
    app.add_websocket("/v1/chat", "chat", endpoint)
    return app


def channels() -> Any:
    pytest.importorskip("channels")
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator
    from channels.sessions import CookieMiddleware
    from django.urls import path, re_path

    import tests.parity.frameworks.django_channels  # noqa: F401  # it has Django's settings

    inner = URLRouter([path("chat", endpoint)])
    routes = [
        re_path(r"^rooms/(?P<room>\w+)/(?P<seat>\d+)$", endpoint),
        path("v1/", inner),
        path("users/<int:user>/", endpoint),
    ]
    around = AllowedHostsOriginValidator(CookieMiddleware(URLRouter(routes)))
    return ProtocolTypeRouter({"http": endpoint, "websocket": around})


@pytest.mark.parametrize(
    ("make", "more"),
    [
        (starlette, ["/", "/v2/news"]),
        (fastapi, []),
        (litestar, []),
        (quart, []),
        (channels, ["/users/{user}/"]),
    ],
)
def test_a_framework_tells_its_routes(make: Any, more: list[str]) -> None:
    """Also from behind a middleware."""
    app = make()
    expected = {"/rooms/{room}/{seat}", "/v1/chat", *more}
    assert set(websocket_routes(app)) == expected
    assert set(websocket_routes(ConnectionsMiddleware(app))) == expected


class Odd:
    """It raises whatever it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Round:
    """A middleware around itself."""

    @property
    def app(self) -> Any:
        return self

    def __call__(self) -> None:
        raise NotImplementedError


def test_nothing_is_known_of_others() -> None:
    """Whatever they are."""
    for app in (endpoint, Odd(), Round(), None):
        assert websocket_routes(app) == []


ROUTES = ["/shout", "/rooms/{room}", "/users/"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/shout", ""),
        ("/rooms/blue", ""),
        ("shout", "did you mean /shout?"),
        ("/shuot", "did you mean /shout?"),
        ("/shout/", "did you mean /shout?"),
        ("/users", "did you mean /users/?"),
        ("rooms/blue", "did you mean /rooms/blue?"),
        ("/", "the app has /shout, /rooms/{room}, /users/"),
        ("/nope", "the app has /shout, /rooms/{room}, /users/"),
    ],
)
def test_a_hint_names_what_was_probably_meant(path: str, text: str) -> None:
    assert hint(path, ROUTES) == text


def test_a_hint_is_short() -> None:
    routes = [f"/{number}" for number in range(8)]
    assert hint("/nope", routes) == "the app has /0, /1, /2, /3, /4 and 3 more"
    assert hint("/nope", []) == ""


# Which apps answer HTTP


def test_http_routes_are_seen_through_routers_and_middlewares() -> None:
    """And the pages of a framework's own docs are none."""
    from fastapi import APIRouter, FastAPI
    from starlette.middleware.cors import CORSMiddleware

    for add in ("get", "websocket"):
        router, app = APIRouter(prefix="/chat"), FastAPI()
        getattr(router, add)("/page")(endpoint)
        app.include_router(router, prefix="/v1")
        assert has_http_routes(app) is has_http_routes(CORSMiddleware(app)) is (add == "get")
    app = FastAPI()
    assert not has_http_routes(app)
    app.get("/", include_in_schema=False)(endpoint)
    assert has_http_routes(app)


def test_http_routes_of_starlette_may_be_mounted(tmp_path: Path) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.staticfiles import StaticFiles

    sockets = [WebSocketRoute("/news", endpoint)]
    assert not has_http_routes(Starlette(routes=[*sockets, Mount("/v1", routes=sockets)]))
    pages = Starlette(routes=[Mount("/v2", app=Starlette(routes=[Route("/page", endpoint)]))])
    assert has_http_routes(pages)
    assert has_http_routes(Starlette(routes=[Mount("/", app=StaticFiles(directory=tmp_path))]))


def test_http_routes_of_other_frameworks() -> None:
    pytest.importorskip("litestar")
    from litestar import Litestar, WebSocket, get, websocket
    from quart import Quart

    @get("/page")
    async def page() -> str:
        raise NotImplementedError

    @websocket("/chat")
    async def chat(socket: WebSocket[Any, Any, Any]) -> None:
        raise NotImplementedError

    async def view() -> str:
        raise NotImplementedError

    assert has_http_routes(Litestar([page, chat]))
    assert not has_http_routes(Litestar([chat]))
    quart = Quart(__name__)
    quart.websocket("/chat")(endpoint)
    assert not has_http_routes(quart)
    quart.add_url_rule("/page", view_func=view)
    assert has_http_routes(quart)


def test_nobody_knows_the_http_routes_of_a_plain_app() -> None:
    class Broken:
        @property
        def routes(self) -> list[object]:
            raise RuntimeError

    assert not has_http_routes(endpoint)
    assert not has_http_routes(Broken())
