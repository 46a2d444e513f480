"""The command line: `longwire dev`, `longwire init` and `longwire sweep`.

Exit codes: 0 after Ctrl-C or SIGTERM or when all is done, 1 when it cannot be done, 2 when the
command line or what it names is wrong.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import longwire
from longwire.config.sources import LOCAL_FILE
from longwire.exceptions import BackendError, ConfigurationError, LifespanError
from longwire.fanout.sweep import MIN_AGE, RATE, TIMEOUT
from longwire.local.cli import dev, env_file, stores
from longwire.local.cli.console import ConsoleHandler, PrintableFormatter, printable, write_line
from longwire.local.cli.http import add_http, port
from longwire.local.cli.options import CannotServeError, store_of
from longwire.local.cli.parser import EXAMPLES, Parser
from longwire.local.cli.targets import locate
from longwire.local.function.inline import DEFAULT_TIMEOUT
from longwire.local.rules.settings import GatewaySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

CANNOT_SERVE, USAGE = 1, 2
EXTRA = {"h11": "dev", "websockets": "dev", "watchfiles": "dev", "awslambdaric": "instances"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = make_parser().parse_args(arguments or ["--help"])
    _show_logging(options.log_level)
    try:
        if options.command == "init":
            return stores.init(options)
        options.target, options.app_dir = locate(options.target, options.app_dir)
        if options.command == "dev" and dev.reloads_by_restart(options):
            return dev.reload(arguments, options)
        if options.env_file is not None:
            env_file.load(options.env_file, os.environ)
        with store_of(options):
            return stores.sweep(options) if options.command == "sweep" else dev.run(options)
    except ConfigurationError as error:
        return _fail(error, USAGE)
    except (CannotServeError, BackendError, LifespanError) as error:
        return _fail(error, CANNOT_SERVE)
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        needs = f"the local gateway needs {error.name}: pip install 'longwire[{EXTRA[error.name]}]'"
        return _fail(needs, CANNOT_SERVE)


def _show_logging(level: str) -> None:
    handler = ConsoleHandler()
    form = logging.Formatter("%(levelname)s %(name)s: %(message)s")
    handler.setFormatter(PrintableFormatter(form))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    # A framework may have the root logger say more, and a line of its own for what has one here.
    for name in ("longwire", "longwire_backends", "mangum"):
        logging.getLogger(name).setLevel(level.upper())


def make_parser() -> argparse.ArgumentParser:
    """Declare every option, with the defaults of `GatewaySettings`."""
    parser = Parser(prog="longwire", epilog=EXAMPLES["longwire"])
    parser.add_argument("--version", action="version", version=f"longwire {longwire.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    parser.commands = commands.choices
    dev = commands.add_parser(
        "dev", help="run API Gateway and a function on this machine", epilog=EXAMPLES["dev"]
    )
    _add_target(dev, nargs="?")
    _add_serving(dev)
    _add_app(dev)
    _add_gateway(dev)
    init = commands.add_parser(
        "init",
        help="create what a store needs: its table, bucket or file",
        epilog=EXAMPLES["init"],
        description="Create what a store needs and has not got; safe to repeat.",
    )
    _add_init(init)
    sweep = commands.add_parser(
        "sweep",
        help="find connections that are gone, and tell their app",
        epilog=EXAMPLES["sweep"],
        description="Ask API Gateway about each connection that is not new. The app is told of\n"
        "those that are gone, each once; records that have expired are deleted.",
    )
    _add_sweep(sweep)
    return parser


def _add_target(command: argparse._ActionsContainer, **how: Any) -> None:
    command.add_argument(
        "target",
        metavar="MODULE:ATTRIBUTE",
        help="an ASGI app, a Longwire or a Lambda handler; or FILE.py, or a module alone",
        **how,
    )
    command.add_argument(
        "--factory", action="store_true", help="the name is that of a function that makes the app"
    )
    command.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="lines of NAME=VALUE for the environment, where those that are there already win",
    )


def _add_init(init: argparse.ArgumentParser) -> None:
    store = init.add_mutually_exclusive_group(required=True)
    store.add_argument("--backend", metavar="NAME", help="the store, as in ws_config")
    store.add_argument("--dsn", metavar="URL", help="the store and its parameters in one URL")
    init.add_argument("--params", metavar="JSON", help="the parameters of --backend")
    _add_log_level(init)


def _add_sweep(sweep: argparse.ArgumentParser) -> None:
    _add_target(sweep)
    sweep.add_argument(
        "--endpoint",
        metavar="URL",
        help="of the management API (the handler's own, or the variable WS_MANAGEMENT_ENDPOINT)",
    )
    sweep.add_argument(
        "--rate", type=float, default=RATE, help="requests per second at most (%(default)g)"
    )
    sweep.add_argument(
        "--min-age",
        type=float,
        default=MIN_AGE,
        metavar="SECONDS",
        help="how old a connection must be to be asked about (%(default)g)",
    )
    sweep.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="how long it may take (%(default)g)",
    )
    _add_app_dir(sweep)
    _add_store(sweep)
    _add_log_level(sweep)


def _add_serving(dev: argparse.ArgumentParser) -> None:
    group = dev.add_argument_group("serving")
    group.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    group.add_argument(
        "--allow-host",
        action="append",
        default=[],
        type=host_name,
        metavar="NAME",
        help="a name that clients have for this machine besides --host and localhost; requests to "
        "any other are refused; may be repeated",
    )
    group.add_argument(
        "--port", type=port, default=3001, help="on which port; 0 takes a free one (%(default)s)"
    )
    add_http(group)
    group.add_argument("--reload", action="store_true", help="restart when a .py file changes")
    group.add_argument("--under-reload", action="store_true", help=argparse.SUPPRESS)
    group.add_argument(
        "--no-inspector",
        dest="inspector",
        action="store_false",
        help="without the page that shows all events, which is at / for a browser",
    )
    _add_log_level(group)


def _add_log_level(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--log-level",
        default="warning",
        choices=["debug", "info", "warning", "error"],
        help="how much of Python's logging is shown (%(default)s)",
    )


def host_name(text: str) -> str:
    """Read the name of a machine, as a `Host` header has it without its port."""
    name = text.removeprefix("[").removesuffix("]")
    if not name or "/" in name or name.count(":") == 1:
        raise argparse.ArgumentTypeError("expected a name without scheme and port")
    return name


def _add_app(dev: argparse.ArgumentParser) -> None:
    group = dev.add_argument_group("the function")
    _add_app_dir(group)
    group.add_argument(
        "--path", type=path, help="the path an ASGI app sees when the client gives none (/)"
    )
    group.add_argument(
        "--replay",
        action="store_true",
        default=None,
        help="an ASGI app's own variables last as long as its connection",
    )
    group.add_argument(
        "--timeout",
        type=function_timeout,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="how long the function may run for one event (%(default)g)",
    )
    _add_store(group).add_argument(
        "--remote-store",
        action="store_true",
        help="keep connections where the handler says, instead of on this machine",
    )
    group.add_argument(
        "--instances",
        type=instances,
        metavar="N",
        help="run it as Lambda does, in up to N processes with one event at a time in each",
    )
    group.add_argument(
        "--freeze",
        action="store_true",
        help="stop each of these processes between its events, as Lambda does",
    )


def function_timeout(text: str) -> float:
    """Read a function's timeout, which Lambda allows to be 15 minutes."""
    seconds = float(text)
    if not 0 < seconds <= 900:
        raise argparse.ArgumentTypeError("expected more than 0 and at most 900 seconds")
    return seconds


def path(text: str) -> str:
    """Read a path of the app."""
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"expected /{text}: a path begins with '/'")
    return text


def instances(text: str) -> int:
    """Read how many processes there may be."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return number


def _add_app_dir(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--app-dir", type=Path, default=Path(), help="where modules are looked for (%(default)s)"
    )


def _add_store(group: argparse._ActionsContainer) -> argparse._MutuallyExclusiveGroup:
    store = group.add_mutually_exclusive_group()
    store.add_argument("--dsn", metavar="URL", help="where connections are kept, in one URL")
    store.add_argument("--file", help=f"the same, a sqlite3 file ({LOCAL_FILE})")
    store.add_argument("--backend", metavar="NAME", help="the same, as in ws_config")
    group.add_argument("--params", metavar="JSON", help="the parameters of --backend")
    return store


def _add_gateway(dev: argparse.ArgumentParser) -> None:
    group = dev.add_argument_group("API Gateway, by default with the limits of AWS")
    default = GatewaySettings()
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
        "--message-rate",
        type=message_rate,
        metavar="N",
        help="close a client with 1008 that sends more than N messages a second (no limit)",
    )
    _add_authorizer(group)
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


def message_rate(text: str) -> float:
    """Read messages per second."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("expected a number above 0")
    return number


def _add_authorizer(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--authorizer",
        metavar="MODULE:FUNCTION",
        help="a Lambda authorizer of type REQUEST, which is asked at each $connect",
    )
    group.add_argument(
        "--identity-source",
        action="append",
        default=[],
        metavar="SOURCE",
        help="answer 401 to a client without it, for example route.request.header.Authorization "
        "or route.request.querystring.token, and do not ask the authorizer; may be repeated",
    )


_LIMITS = {
    "integration_timeout": "how long the gateway waits for the function to answer an event",
    "http_timeout": "how long it waits for an answer to an HTTP request",
    "idle_timeout": "how long a connection may be silent",
    "lifetime": "how long a connection may live",
}


def _fail(error: object, code: int) -> int:
    write_line(sys.stderr, printable(f"longwire: {error}", keep="\n"))
    return code
