"""What `longwire dev` shows of a function, and of its events."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.cli.console import event_line, has_colours, printable, report_line, write_line
from longwire.cli.importer import ImportTargetError
from longwire.exceptions import ConfigurationError
from longwire.handler import Longwire
from longwire.local.function.inline import do_nothing
from longwire.local.routes import has_http_routes, websocket_routes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire.local.function.instance import InitError, Report
    from longwire.local.invoking import HandledEvent
    from longwire.local.server.server import LocalGateway
    from longwire.types import LambdaEvent

# Routes that the ready lines show.
MOST_ROUTES = 10
# What the import of an app, or its configuration, fails with.
OF_IMPORTS = (ConfigurationError.__name__, ImportTargetError.__name__)
# Errors that are kept for lines which may never come.
MOST_ERRORS = 1000


class About(NamedTuple):
    """What is to be known of a function; a process sends it as JSON."""

    routes: Sequence[str] = ()  # the app's WebSocket paths
    path: str = "/"
    path_query: str | None = None
    store: str | None = None  # where connections are kept, if not where the handler says
    made_for: str | None = None
    http: bool | None = None  # whether it answers HTTP, if that is known
    http_routes: bool = False  # whether it would have something to answer


def about(target: object) -> About:
    """Describe a handler; of another Lambda function hardly anything is known."""
    if not isinstance(target, Longwire):
        return About(http=type(target).__module__.startswith("mangum.") or None)
    settings = target.settings
    routes = [] if settings.path_query is None else websocket_routes(target.app)
    store = settings.backend if isinstance(settings.backend, str) else settings.backend.name
    store = str(settings.params.get("file_path", store))
    return About(
        routes,
        settings.path,
        settings.path_query,
        store,
        settings.made_for,
        target.answers_http,
        has_http_routes(target.app),
    )


class Screen:
    """Puts together what comes of the gateway, of the function, and of its processes."""

    def __init__(self) -> None:
        self.about: About = About()
        self.on_broken: Callable[[str | None], object] = do_nothing
        self._raised: dict[str, str] = {}  # by the id of the request
        self._lines: list[str] = []  # of this turn of the event loop
        self._colours: tuple[object, bool] = None, False  # whether a stream has them
        # That of the terminal, as this is made before the app, which may set another: Django does.
        self._zone = datetime.now().astimezone().tzinfo

    def app_raised(self, event: LambdaEvent, error: str) -> None:
        """Note what an app raised though its event was answered."""
        if len(self._raised) > MOST_ERRORS:
            self._raised.clear()
        self._raised[event["requestContext"]["requestId"]] = error

    def broken(self, error: InitError | None) -> None:
        """Note that no process can start; only an import can be mended by a change of a file."""
        if error is None or error.type in OF_IMPORTS:
            self.on_broken(None if error is None else error.message)

    def said(self, what: dict[str, Any]) -> None:
        """Note what a process of the function says of itself or of an event."""
        if "raised" in what:
            self._raised[what["request_id"]] = what["raised"]
        else:
            self.about = About(**what)

    def show(self, handled: HandledEvent) -> None:
        error = self._raised.pop(handled.event["requestContext"]["requestId"], None)
        if self._colours[0] is not sys.stdout:  # an app may put another in its place
            self._colours = sys.stdout, has_colours(sys.stdout, os.environ)
        time = datetime.now(self._zone)
        self._write(event_line(handled, time, error, self.about.routes, colours=self._colours[1]))

    def report(self, report: Report) -> None:
        self._write(report_line(report))

    def _write(self, line: str) -> None:
        """Write a line, together with all that come in this turn of the event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        """Write what has come so far."""
        lines, self._lines = self._lines, []
        if lines:
            write_line(sys.stdout, "\n".join(lines))

    def ready(self, gateway: LocalGateway, http: str, page: str | None) -> None:
        lines = ready_lines(gateway.url, gateway.management_url, self.about, http)
        if page is not None:
            lines.insert(1, f"  inspector: {gateway.url.replace('ws:', 'http:', 1)}{page}")
        for line in lines:
            write_line(sys.stdout, printable(line))


def ready_lines(url: str, management_url: str, about: About, http: str = "") -> list[str]:
    """Say where clients connect, and where connections are kept if not where the code says."""
    stage = management_url.rpartition("/")[2]
    lines = [
        f"longwire dev: ready on {url} (also /{stage}), "
        f"management API {management_url}/@connections"
    ]
    if http:
        lines.append(f"  {http}")
    for route in about.routes[:MOST_ROUTES]:
        query = "" if route == about.path else f"?{about.path_query}={route}"
        lines.append(f"  {url}/{query}")
    if len(about.routes) > MOST_ROUTES:
        lines.append(f"  and {len(about.routes) - MOST_ROUTES} more")
    if about.made_for is not None and about.made_for != about.store:
        lines.append(
            f"  connections are kept in {about.store}, not in the handler's {about.made_for} "
            "(--remote-store)"
        )
    return lines
