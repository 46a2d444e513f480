"""The options of `longwire dev`, with the defaults of `GatewaySettings`."""

from __future__ import annotations

import argparse
import math

from longwire.cli.arguments import add_app_dir, add_log_level, add_store, add_target
from longwire.cli.http import add_http, port
from longwire.local.function.inline import DEFAULT_TIMEOUT
from longwire.local.rules.settings import GatewaySettings

EXAMPLES = """\
examples:
  longwire dev                        that of main.py or app.py: sockets on port 3001, HTTP on 3000
  longwire dev src/chat.py --reload   that of a file, again whenever a file changes
  longwire dev main:handler --instances 4 --freeze
                                      in processes as on Lambda
  longwire dev main:make_app --factory --env-file .env
  longwire dev main:app --dsn redis://localhost
"""


def add(dev: argparse.ArgumentParser) -> None:
    """Declare them all."""
    add_target(dev, nargs="?")
    _add_serving(dev)
    _add_app(dev)
    _add_gateway(dev)


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
    add_log_level(group)


def host_name(text: str) -> str:
    """Read the name of a machine, as a `Host` header has it without its port."""
    name = text.removeprefix("[").removesuffix("]")
    if not name or "/" in name or name.count(":") == 1:
        raise argparse.ArgumentTypeError("expected a name without scheme and port")
    return name


def _add_app(dev: argparse.ArgumentParser) -> None:
    group = dev.add_argument_group("the function")
    add_app_dir(group)
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
    add_store(group).add_argument(
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
