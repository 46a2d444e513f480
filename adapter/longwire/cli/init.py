"""`longwire init`: what a store needs, created by hand or by a deployment."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from longwire.cli.arguments import add_log_level
from longwire.cli.console import printable, write_line
from longwire.cli.options import store_from

if TYPE_CHECKING:
    import argparse

    from longwire.cli.parser import Commands
    from longwire_backends import Backend

EXAMPLES = """\
example:
  longwire init --dsn 'dynamodb://connections?region=eu-west-1'
"""


def declare(commands: Commands) -> None:
    """Declare the command and its options."""
    init = commands.add_parser(
        "init",
        help="create what a store needs: its table, bucket or file",
        epilog=EXAMPLES,
        description="Create what a store needs and has not got; safe to repeat.",
    )
    init.set_defaults(run=run)
    store = init.add_mutually_exclusive_group(required=True)
    store.add_argument("--backend", metavar="NAME", help="the store, as in ws_config")
    store.add_argument("--dsn", metavar="URL", help="the store and its parameters in one URL")
    init.add_argument("--params", metavar="JSON", help="the parameters of --backend")
    add_log_level(init)


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Create it; return the exit code."""
    from longwire.config.settings import load, make_backend

    said = store_from(options)
    assert said is not None  # the parser sees to it
    backend = make_backend(load(said.ws_config, said.dsn))
    asyncio.run(_create(backend))
    return 0


async def _create(backend: Backend) -> None:
    try:
        for line in await backend.create():
            write_line(sys.stdout, printable(line, keep="\n"))
    finally:
        await backend.close()
