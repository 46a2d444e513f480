"""`longwire sweep`: connections that are gone are found, by hand or by a schedule."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from longwire.cli.arguments import add_app_dir, add_log_level, add_store, add_target
from longwire.cli.console import printable, write_line
from longwire.cli.options import located, prepared, target_from
from longwire.exceptions import ConfigurationError
from longwire.fanout.sweep import MIN_AGE, RATE, TIMEOUT

if TYPE_CHECKING:
    import argparse

    from longwire.cli.parser import Commands
    from longwire.handler import Longwire

EXAMPLES = """\
example:
  longwire sweep main:handler --rate 20
"""


def declare(commands: Commands) -> None:
    """Declare the command and its options."""
    sweep = commands.add_parser(
        "sweep",
        help="find connections that are gone, and tell their app",
        epilog=EXAMPLES,
        description="Ask API Gateway about each connection that is not new. The app is told of\n"
        "those that are gone, each once; records that have expired are deleted.",
    )
    sweep.set_defaults(run=run)
    add_target(sweep)
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
    add_app_dir(sweep)
    add_store(sweep)
    add_log_level(sweep)


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Find them; return the exit code, 1 if some could not be checked."""
    options = located(options)
    with prepared(options):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    from longwire.handler import Longwire

    target = target_from(options)
    if not isinstance(target, Longwire):
        raise ConfigurationError(
            f"{options.target} is a Lambda function; expected an ASGI app or "
            "a Longwire handler, whose app can be told"
        )
    return asyncio.run(_sweep(target, options))


async def _sweep(handler: Longwire, options: argparse.Namespace) -> int:
    try:
        result = await handler.sweep(
            rate=options.rate,
            min_age=options.min_age,
            timeout=options.timeout,
            endpoint_url=options.endpoint,
        )
    finally:
        await handler.aclose()
    write_line(sys.stdout, printable(str(result), keep="\n"))
    return 0 if result.ok else 1
