"""`TestClient`: Starlette's calls, API Gateway's rules."""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from longwire.exceptions import ConfigurationError, LifespanError
from longwire.local.function.inline import DEFAULT_TIMEOUT, kind
from longwire.local.rules.connection import ClientHandshake
from longwire.testing import handshakes, stores
from longwire.testing.errors import AppErrors
from longwire.testing.gateway import Gateway, wrap
from longwire.testing.options import (
    INSTALL,
    check,
    check_settings,
    find_httpx,
    imported,
    loop_factory,
    seen_from,
)
from longwire.testing.session import WebSocketTestSession
from longwire.testing.thread import GatewayThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from longwire.handler import Longwire
    from longwire.local.rules.http_events import HTTPRequest
    from longwire.local.rules.http_results import HTTPResponse
    from longwire.testing.ends import Answer
    from longwire.types import ASGIApp, LambdaEvent, LambdaHandler

# Seconds that the app's startup may take, as on Lambda.
STARTUP_TIMEOUT = 10.0
# Seconds that a receive waits; for a process that has yet to start it is more.
TIMEOUT, FRESH_TIMEOUT = 5.0, 30.0


class TestClient:
    """A synchronous client of an app, with the calls of Starlette's `TestClient`.

    WebSockets go through API Gateway's rules, each message as an event of its own, as on Lambda;
    HTTP requests go to the same function as events of an HTTP API. `with TestClient(app) as client`
    runs the app's startup at once and its shutdown at the end; without `with`, the first call runs
    the startup, and `close` the shutdown. HTTP needs `pip install 'longwire[testing]'`.

    Args:
        app: an ASGI app, a `Longwire` handler, a plain Lambda function, or "MODULE:ATTRIBUTE".
        base_url: what URLs without a host are relative to.
        raise_server_exceptions: what the app raises is raised in the test, too; else it sees what a
            client of API Gateway sees.
        root_path: only "", as on Lambda.
        backend: only "asyncio", as on Lambda.
        backend_options: `use_uvloop`, `loop_factory` and `debug`, as anyio has them.
        cookies: sent with each request and handshake.
        headers: the same.
        follow_redirects: of HTTP requests.
        client: the address of the client; API Gateway does not tell its port.
        ws_config: for an ASGI app, as of `Longwire`; the store is in memory if not given.
        timeout: seconds that a `receive` waits; 5 if not given, and with `fresh` 30.
        function_timeout: seconds that the function may run.
        keep_store: use the store of a `Longwire` handler; else one in memory takes its place.
        fresh: let each event meet a process of its own that has just imported the app, which must
            be "MODULE:ATTRIBUTE": what an app keeps in its module's variables is lost.
        app_dir: where that module is.
        factory: "MODULE:ATTRIBUTE" is to be called for the app.
        authorizer: as of `Gateway`.
        settings: as of `Gateway`, for example `stage="prod"` or `message_rate=5`.

    Attributes:
        app: the ASGI app, or what was given if there is none here.
        timeout: as given; may be changed.

    Raises:
        ConfigurationError: something is wrong with the arguments.
    """

    __test__ = False  # it is not a test, though its name begins like one

    def __init__(
        self,
        app: ASGIApp | Longwire | LambdaHandler | str,
        base_url: str = "http://testserver",
        raise_server_exceptions: bool = True,
        root_path: str = "",
        backend: str = "asyncio",
        backend_options: Mapping[str, Any] | None = None,
        cookies: Any = None,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
        client: tuple[str, int] = ("127.0.0.1", 50000),
        *,
        ws_config: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        function_timeout: float = DEFAULT_TIMEOUT,
        keep_store: bool = False,
        fresh: bool = False,
        app_dir: str | Path = ".",
        factory: bool = False,
        authorizer: LambdaHandler | None = None,
        **settings: Any,
    ) -> None:
        check(root_path, backend)
        check_settings(settings, inspect.signature(type(self)).parameters)
        self._errors = AppErrors(raises=raise_server_exceptions)
        self.timeout: float = timeout or (FRESH_TIMEOUT if fresh else TIMEOUT)
        self._new_loop = loop_factory(backend_options or {})
        self._host = client[0]
        self._base_url = base_url
        self._plain = {"user-agent": "testclient", **(headers or {})}, dict(cookies or {})
        self._for_http = {
            "base_url": base_url,
            "headers": self._plain[0],
            "cookies": cookies,
            "follow_redirects": follow_redirects,
        }
        self._running: GatewayThread | None = None
        self._ending: weakref.finalize[Any, Any] | None = None
        self._lock = threading.Lock()
        self._lends = False
        seen = seen_from(base_url)
        gateway = {"timeout": function_timeout, "authorizer": authorizer, **seen, **settings}
        if fresh:
            self._make_gateway = _of_processes(
                app, Path(app_dir), factory, ws_config, keep_store, self._errors, gateway
            )
            self.app: Any = app
            self._target: Any = app
            return
        app = imported(app, app_dir=app_dir, factory=factory)
        if keep_store and kind(app) != "handler":
            raise ConfigurationError("keep_store: only a Longwire handler has a store of its own")
        self._target = stores.wrapped(app, ws_config)
        self._lends = kind(app) == "handler" and not keep_store
        self.app = getattr(app, "app", app) if kind(app) == "handler" else app
        self._make_gateway = functools.partial(_gateway, self._target, self._errors, gateway)

    # Its life

    def __enter__(self) -> Self:
        running = self._start()
        try:
            running.call(_startup(running.gateway), STARTUP_TIMEOUT)
        except BaseException as error:
            failure = error
        else:
            return self
        self.close()
        if isinstance(failure, LifespanError) and self.raise_server_exceptions:
            raise failure.__cause__ or failure
        raise failure

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections and run the app's shutdown; a later call starts anew."""
        with self._lock:
            running, self._running = self._running, None
            if self._ending is not None:
                self._ending.detach()
        if running is not None:
            try:
                running.stop()
            finally:
                if self._lends:
                    stores.give_back(self._target)

    def _start(self) -> GatewayThread:
        with self._lock:
            if self._running is None:
                if self._lends:
                    stores.lend(self._target)
                running = GatewayThread(self._make_gateway(), self._new_loop)
                self._running = running
                # Where nobody closes it. Not at the end of the process: nothing runs any more then.
                lent = self._target if self._lends else None
                self._ending = weakref.finalize(self, _abandon, running, lent)
                self._ending.atexit = False
            return self._running

    @property
    def raise_server_exceptions(self) -> bool:
        """Whether what the app raises is raised in the test, too; may be changed."""
        return self._errors.raises

    @raise_server_exceptions.setter
    def raise_server_exceptions(self, raises: bool) -> None:
        self._errors.raises = raises

    @property
    def answers(self) -> list[Answer]:
        """Every event since the start with the function's answer, oldest first."""
        return self._start().gateway.answers

    # WebSockets

    def websocket_connect(
        self, url: str, subprotocols: Sequence[str] | None = None, **kwargs: Any
    ) -> WebSocketTestSession:
        """Return a connection, which `with` opens and closes.

        API Gateway has no paths: that of the URL is sent as the query parameter `path`.

        Args:
            url: a path with a query, or a URL.
            subprotocols: what the client offers.
            kwargs: `headers`, `params`, `cookies`, and `auth` where httpx is installed.

        Raises, as `with` begins:
            WebSocketDenialResponse: the handshake is refused; it is a `WebSocketDisconnect`.
        """
        headers = handshakes.headers_of(kwargs.pop("headers", None) or (), subprotocols)
        url = handshakes.url_of(self._base_url, str(url))
        handshake = self._handshake(url, headers, kwargs)
        return WebSocketTestSession(self._start, handshake, self._errors, self.timeout)

    def _handshake(
        self, url: str, headers: list[tuple[str, str]], options: dict[str, Any]
    ) -> ClientHandshake:
        if find_httpx() is None:
            url, sent = handshakes.without_httpx(url, headers, options, *self._plain)
        else:
            url, sent = self._http.upgrade(url, headers, options)
        query = handshakes.query_of(url, getattr(self._target, "settings", None))
        return ClientHandshake(tuple(sent), query, self._host)

    # HTTP

    @functools.cached_property
    def _http(self) -> Any:
        httpx = find_httpx()
        if httpx is None:
            raise ConfigurationError(f"HTTP requests of the TestClient need httpx: {INSTALL}")
        from longwire.testing.http import answer_to
        from longwire.testing.http_client import make_client

        # Not a method, which would keep this client alive.
        client = weakref.ref(self)

        def answer(request: HTTPRequest) -> HTTPResponse:
            this = client()
            assert this is not None
            return answer_to(request, this._start(), this._errors)

        return make_client(httpx, answer, self._host, self._for_http)

    @property
    def headers(self) -> Any:
        """What is sent with each request and handshake; may be changed."""
        return self._plain[0] if find_httpx() is None else self._http.headers

    @headers.setter
    def headers(self, headers: Any) -> None:
        self._http.headers = headers

    @property
    def cookies(self) -> Any:
        """What is sent with each request and handshake, and what responses have set."""
        return self._plain[1] if find_httpx() is None else self._http.cookies

    @cookies.setter
    def cookies(self, cookies: Any) -> None:
        self._http.cookies = cookies

    def request(self, method: str, url: str, **kwargs: Any) -> Any:
        """Send a request, and return the response of httpx.

        Args:
            kwargs: as of httpx: `params`, `headers`, `cookies`, `content`, `data`, `files`, `json`,
                `auth`, `follow_redirects`.
        """
        return self._http.request(method, url, **kwargs)

    def get(self, url: str, **kwargs: Any) -> Any:
        return self.request("GET", url, **kwargs)

    def options(self, url: str, **kwargs: Any) -> Any:
        return self.request("OPTIONS", url, **kwargs)

    def head(self, url: str, **kwargs: Any) -> Any:
        return self.request("HEAD", url, **kwargs)

    def post(self, url: str, **kwargs: Any) -> Any:
        return self.request("POST", url, **kwargs)

    def put(self, url: str, **kwargs: Any) -> Any:
        return self.request("PUT", url, **kwargs)

    def patch(self, url: str, **kwargs: Any) -> Any:
        return self.request("PATCH", url, **kwargs)

    def delete(self, url: str, **kwargs: Any) -> Any:
        return self.request("DELETE", url, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # The rest of httpx's client: stream, build_request, send, base_url, params, auth ...
        if name.startswith("_") or find_httpx() is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._http, name)


def _gateway(target: Any, errors: AppErrors, options: dict[str, Any]) -> Gateway:
    gateway = Gateway(target, **options)
    gateway._on_error = errors.add
    return gateway


def _of_processes(
    app: object,
    app_dir: Path,
    factory: bool,
    ws_config: Mapping[str, Any] | None,
    keep_store: bool,
    errors: AppErrors,
    options: dict[str, Any],
) -> Callable[[], Gateway]:
    from longwire.testing.fresh import FreshProcesses, Imported

    if not isinstance(app, str):
        raise ConfigurationError(
            'fresh=True imports the app anew for each event: name it, as in TestClient("main:app")'
        )
    what = Imported(app, str(app_dir.resolve()), factory, dict(ws_config or {}), keep_store)

    def make() -> Gateway:
        gateway = _gateway(wrap(_never, None), errors, options)
        gateway._function = FreshProcesses(what, gateway, options["timeout"])
        gateway._answer_timeout = FRESH_TIMEOUT
        return gateway

    return make


def _abandon(running: GatewayThread, lent: Longwire | None) -> None:
    """Stop without waiting: this may be any thread, in whatever it does."""
    running.stop(wait=False)
    if lent is not None:
        stores.give_back(lent)


def _never(event: LambdaEvent, context: object) -> object:
    """Stand for the function, which runs elsewhere."""
    raise NotImplementedError


async def _startup(gateway: Gateway) -> None:
    if hasattr(gateway._function, "ready"):
        await gateway._function.ready()
    elif kind(gateway._target) == "handler":
        await gateway._target.startup()
