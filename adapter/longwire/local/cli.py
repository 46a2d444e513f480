"""`longwire dev MODULE:ATTRIBUTE`: API Gateway and the function on this machine; `longwire init`.

Exit codes: 0 after Ctrl-C or SIGTERM or when all is done, 1 when it cannot serve or create, 2 when
the command line or what it names is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import longwire
from longwire.exceptions import BackendError, ConfigurationError
from longwire.local.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.local.function import ThreadFunction
    from longwire.local.server import LocalGateway
    from longwire.local.session import Invocation
    from longwire.local.signatures import Caller
    from longwire_backends import Backend

CANNOT_SERVE, USAGE = 1, 2
DEFAULT_FILE = ".longwire.sqlite3"
EXTRA = {"h11", "websockets", "watchfiles"}


class CannotServeError(Exception):
    """The gateway cannot start; the text is all that the user needs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = make_parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        if options.command == "init":
            return _init(options)
        return _reload(arguments, options) if options.reload else _dev(options)
    except ConfigurationError as error:
        return _fail(error, USAGE)
    except (CannotServeError, BackendError) as error:
        return _fail(error, CANNOT_SERVE)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        return _fail(
            f"the local gateway needs {error.name}: pip install 'longwire[dev]'", CANNOT_SERVE
        )


def make_parser() -> argparse.ArgumentParser:
    """Declare every option, with the defaults of `Settings`."""
    parser = argparse.ArgumentParser(prog="longwire", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"longwire {longwire.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    dev = commands.add_parser(
        "dev",
        allow_abbrev=False,
        help="run API Gateway and a function on this machine",
    )
    dev.add_argument(
        "target", metavar="MODULE:ATTRIBUTE", help="an ASGI app, a Longwire or a Lambda handler"
    )
    _add_serving(dev)
    _add_app(dev)
    _add_gateway(dev)
    init = commands.add_parser(
        "init",
        allow_abbrev=False,
        help="create what a store needs: its table, bucket or file",
        description="Create what a store needs and has not got; safe to repeat.",
    )
    _add_init(init)
    return parser


def _add_init(init: argparse.ArgumentParser) -> None:
    store = init.add_mutually_exclusive_group(required=True)
    store.add_argument("--backend", metavar="NAME", help="the store, as in ws_config")
    store.add_argument("--dsn", metavar="URL", help="the store and its parameters in one URL")
    init.add_argument("--params", metavar="JSON", help="the parameters of --backend")
    _add_log_level(init)


def _add_serving(dev: argparse.ArgumentParser) -> None:
    group = dev.add_argument_group("serving")
    group.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    group.add_argument(
        "--port", type=port, default=3001, help="on which port; 0 takes a free one (%(default)s)"
    )
    group.add_argument("--reload", action="store_true", help="restart when a .py file changes")
    _add_log_level(group)


def _add_log_level(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--log-level",
        default="warning",
        choices=["debug", "info", "warning", "error"],
        help="how much of Python's logging is shown (%(default)s)",
    )


def port(text: str) -> int:
    """Read a port number; argparse shows the name of this function."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("expected 0 to 65535")
    return number


def _add_app(dev: argparse.ArgumentParser) -> None:
    group = dev.add_argument_group("the function")
    group.add_argument(
        "--app-dir", type=Path, default=Path(), help="where modules are looked for (%(default)s)"
    )
    group.add_argument("--path", help="the path an ASGI app sees when the client gives none (/)")
    group.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long the function may run for one event (%(default)g)",
    )
    store = group.add_mutually_exclusive_group()
    store.add_argument("--file", help=f"the sqlite3 file of an ASGI app ({DEFAULT_FILE})")
    store.add_argument("--backend", metavar="NAME", help="another store for an ASGI app")
    group.add_argument("--params", metavar="JSON", help="the parameters of --backend")


def _add_gateway(dev: argparse.ArgumentParser) -> None:
    group = dev.add_argument_group("API Gateway, by default with the limits of AWS")
    default = Settings()
    group.add_argument("--stage", default=default.stage, help="name of the stage (%(default)s)")
    group.add_argument(
        "--route",
        action="append",
        default=[],
        metavar="KEY",
        help="a route besides $connect, $disconnect and $default; may be repeated",
    )
    group.add_argument(
        "--route-selection-expression",
        default=default.route_selection_expression,
        metavar="EXPRESSION",
        help="where a message names its route (%(default)s)",
    )
    for name, what in _LIMITS.items():
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=float,
            default=getattr(default, name),
            metavar="SECONDS",
            help=f"{what} (%(default)g)",
        )
    group.add_argument(
        "--unordered",
        action="store_true",
        help="invoke the messages of one connection in parallel, as AWS does",
    )
    group.add_argument(
        "--verify-signatures",
        action="store_true",
        help="answer 403 to requests to the management API that are not signed with the AWS keys "
        "and region in the environment, as they are when this starts",
    )


_LIMITS = {
    "integration_timeout": "how long the gateway waits for the function to answer an event",
    "idle_timeout": "how long a connection may be silent",
    "lifetime": "how long a connection may live",
}


def settings_from(options: argparse.Namespace) -> Settings:
    """Turn parsed options into the settings of the gateway."""
    default = Settings()
    return Settings(
        stage=options.stage,
        routes=default.routes | set(options.route),
        route_selection_expression=options.route_selection_expression,
        integration_timeout=options.integration_timeout,
        idle_timeout=options.idle_timeout,
        lifetime=options.lifetime,
        unordered=options.unordered,
    )


def caller_from(options: argparse.Namespace) -> Caller | None:
    """Return whose signatures are wanted, if any.

    Raises:
        ConfigurationError: they are, and the environment has no keys or no region.
    """
    from longwire.local import signatures

    return signatures.caller_from(os.environ) if options.verify_signatures else None


# Serving


def _dev(options: argparse.Namespace) -> int:
    from longwire.local.function import ThreadFunction
    from longwire.local.importer import import_target
    from longwire.local.server import LocalGateway

    settings, caller = settings_from(options), caller_from(options)
    target = _prepare(import_target(options.target, options.app_dir), options)
    function = ThreadFunction(target, timeout=options.timeout)
    gateway = LocalGateway(
        function,
        settings,
        host=options.host,
        port=options.port,
        observer=_show,
        verify=caller,
    )
    asyncio.run(_serve(gateway, function, target))
    return 0


def _prepare(target: Any, options: argparse.Namespace) -> Any:
    """Wrap an ASGI app; a handler says itself where its path and its store are."""
    from longwire.handler import Longwire
    from longwire.local.function import kind

    if kind(target) == "asgi":
        return Longwire(target, ws_config=_ws_config(options))
    for name in ("path", "backend", "params", "file"):
        if getattr(options, name) is not None:
            raise ConfigurationError(
                f"--{name}: {options.target} is a handler, and its own configuration decides; "
                "name an ASGI app or leave the option out"
            )
    return target


def _ws_config(options: argparse.Namespace) -> dict[str, Any]:
    config = _store(options) or {
        "backend": "sqlite3",
        "params": {"file_path": options.file or DEFAULT_FILE},
    }
    if options.path is not None:
        config["path"] = options.path
    return config


def _store(options: argparse.Namespace) -> dict[str, Any] | None:
    if options.backend is not None:
        return {"backend": options.backend, "params": _json_object(options.params or "{}")}
    if options.params is not None:
        raise ConfigurationError("--params: needs --backend")
    return None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"--params: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigurationError('--params: expected a JSON object, for example {"host": "..."}')
    return value


async def _serve(gateway: LocalGateway, function: ThreadFunction, target: Any) -> None:
    stop = _stop_signal()
    async with function.running():
        try:
            await gateway.__aenter__()
        except OSError as error:
            raise CannotServeError(_cannot_listen(gateway, error)) from None
        try:
            os.environ["WS_MANAGEMENT_ENDPOINT"] = gateway.management_url
            _warn_elsewhere(target, gateway.management_url)
            print(ready_line(gateway), flush=True)
            await stop.wait()
            _say_what_is_left(gateway)
        finally:
            await gateway.__aexit__(None, None, None)


def _say_what_is_left(gateway: LocalGateway) -> None:
    if clients := gateway.clients:
        print(
            f"longwire dev: stopping: {clients} connected, whose last events may take a few "
            "seconds (Ctrl-C again to stop now)",
            file=sys.stderr,
            flush=True,
        )


def _stop_signal() -> asyncio.Event:
    """Return an event that Ctrl-C and SIGTERM set; a second Ctrl-C ends the process at once.

    Between the two the clients are closed and the function gets its `$disconnect` events. With
    --reload, Ctrl-C reaches this process and its supervisor, which then sends a SIGTERM.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop_or_exit(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            os._exit(128 + number)
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_or_exit)
    return stop


def ready_line(gateway: LocalGateway) -> str:
    """Say where clients connect."""
    return (
        f"longwire dev: ready on {gateway.url} (also /{gateway.rules.settings.stage}), "
        f"management API {gateway.management_url}/@connections"
    )


def _cannot_listen(gateway: LocalGateway, error: OSError) -> str:
    host, port = gateway.address
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; choose another with --port, or 0 for any"
    return f"cannot listen on {host}:{port}: {error.strerror or error}"


def _warn_elsewhere(target: Any, management_url: str) -> None:
    endpoint = getattr(getattr(target, "settings", None), "endpoint_url", None)
    if endpoint is not None and endpoint.rstrip("/") != management_url:
        print(
            f"longwire dev: warning: the handler posts to {endpoint}, not to this gateway "
            f"({management_url}): leave out api_gateway_endpoint_url here",
            file=sys.stderr,
            flush=True,
        )


def _show(invocation: Invocation) -> None:
    from longwire.local.console import event_line

    print(event_line(invocation, datetime.now()), flush=True)


def _reload(arguments: list[str], options: argparse.Namespace) -> int:
    from longwire.local.reload import supervise

    # What is wrong with the command line is said once, not at every restart.
    settings_from(options)
    caller_from(options)
    rest = [argument for argument in arguments if argument != "--reload"]
    return supervise([sys.executable, "-m", "longwire", *rest], options.app_dir)


# Creating


def _init(options: argparse.Namespace) -> int:
    from longwire.config import load, make_backend

    backend = make_backend(load(_store(options), options.dsn))
    asyncio.run(_create(backend))
    return 0


async def _create(backend: Backend) -> None:
    try:
        for line in await backend.create():
            print(line)
    finally:
        await backend.close()


def _fail(error: object, code: int) -> int:
    print(f"longwire: {error}", file=sys.stderr, flush=True)
    return code
