"""Whether `longwire dev` serves HTTP, and on which port."""

from __future__ import annotations

import argparse
import contextlib
import errno
import socket
from typing import TYPE_CHECKING

from longwire.cli.options import CannotServeError
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.local.server.server import LocalGateway

HTTP_PORT = 3000
NOTHING_ANSWERS = (
    "nothing answers it: pip install 'longwire[http]', which brings Mangum, or give "
    "Longwire(app, http=...) what does"
)


def add_http(group: argparse._ActionsContainer) -> None:
    """Declare the options that are about HTTP."""
    http = group.add_mutually_exclusive_group()
    http.add_argument(
        "--http-port",
        type=port,
        metavar="PORT",
        help=f"on which port HTTP is served, if the app answers it; 0 takes a free one "
        f"({HTTP_PORT}, or a free one if that is in use)",
    )
    http.add_argument(
        "--one-port",
        action="store_true",
        help="serve HTTP on the port of the WebSockets, as behind CloudFront",
    )
    http.add_argument("--no-http", action="store_true", help="serve no HTTP")
    # What --http-port is if it is not given; the supervisor of --reload says another.
    group.add_argument("--usual-http-port", type=port, default=HTTP_PORT, help=argparse.SUPPRESS)


def port(text: str) -> int:
    """Read a port number; argparse shows the name of this function."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("expected 0 to 65535")
    return number


class PortError(CannotServeError):
    """A port cannot be had, which no change of a file will mend."""


async def listen(
    gateway: LocalGateway,
    options: argparse.Namespace,
    *,
    answers: bool | None,  # None if nobody can tell, as of any Lambda function
    has_routes: bool = False,
) -> str:
    """Serve HTTP where it is wanted and answered; return what is to be said of it.

    Raises:
        PortError: the port cannot be had.
        ConfigurationError: HTTP is wanted, and nothing answers it.
    """
    wanted = options.one_port or options.http_port is not None
    if wanted and answers is False:
        option = "--one-port" if options.one_port else "--http-port"
        raise ConfigurationError(f"{option}: {NOTHING_ANSWERS}")
    if options.no_http or not (wanted or answers):
        missed = has_routes and answers is False and not options.no_http
        return f"no HTTP: {NOTHING_ANSWERS}" if missed else ""
    note = "" if options.one_port else await _listen(gateway, options)
    return f"{gateway.http_url}/{note}"


async def _listen(gateway: LocalGateway, options: argparse.Namespace) -> str:
    port = _port(options)
    try:
        await gateway.listen_for_http(port)
    except OSError as error:
        # Windows reserves ranges of ports, and forbids one of them.
        if options.http_port is None and error.errno in (errno.EADDRINUSE, errno.EACCES):
            await gateway.listen_for_http(0)
            return f" ({port} is in use; --http-port says another)"
        if gateway.has_port(port):
            said = f"port {port} is that of the WebSockets; --one-port serves both on it"
            raise PortError(f"--http-port: {said}") from None
        raise cannot_listen(gateway, port, error, "--http-port") from None
    return ""


def cannot_listen(gateway: LocalGateway, port: int, error: OSError, option: str) -> PortError:
    """Say why a port cannot be had."""
    host, _ = gateway.address
    if error.errno == errno.EADDRINUSE:
        advice = f"choose another with {option}, or 0 for any"
        return PortError(f"port {port} of {host} is in use; {advice}")
    return PortError(f"cannot listen on {host}:{port}: {error.strerror or error}")


def same_ports(options: argparse.Namespace) -> list[str]:
    """Return the options that say ports which nobody has named, the same for each process."""
    more = ["--port", str(_free_port(options.host))] if options.port == 0 else []
    port = _port(options)
    if port == 0 or (options.http_port is None and not _is_free(options.host, port)):
        port = _free_port(options.host)
    name = "--usual-http-port" if options.http_port is None else "--http-port"
    return [*more, name, str(port)]


def _port(options: argparse.Namespace) -> int:
    given, usual = options.http_port, options.usual_http_port
    port: int = given if given is not None else 0 if options.port == 0 else usual
    return port


def _free_port(host: str) -> int:
    with _bound(host, 0) as port:
        return port


def _is_free(host: str, port: int) -> bool:
    try:
        with _bound(host, port):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        taken.bind((host, port))
        bound: int = taken.getsockname()[1]
        yield bound
