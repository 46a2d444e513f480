"""The command line: `longwire dev` and the other commands.

Exit codes: 0 after Ctrl-C or SIGTERM or when all is done, 1 when it cannot be done, 2 when the
command line or what it names is wrong.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import longwire
from longwire.cli import bundle, dev, doctor, init, new, sweep, template
from longwire.cli.console import ConsoleHandler, PrintableFormatter, printable, write_line
from longwire.cli.options import CannotServeError
from longwire.cli.parser import Parser
from longwire.exceptions import BackendError, ConfigurationError, LifespanError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

# Each declares its options, and what runs it.
COMMANDS = (dev, new, template, bundle, doctor, init, sweep)
CANNOT_SERVE, USAGE = 1, 2
EXTRA = {"websockets": "dev", "watchfiles": "dev", "awslambdaric": "instances"}
EXAMPLES = """\
examples:
  longwire dev                        the app in main.py or app.py
  longwire dev main:handler --reload  and again whenever a file changes
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = make_parser().parse_args(arguments or ["--help"])
    _show_logging(options.log_level)
    try:
        code: int = options.run(options, arguments)
        return code
    except ConfigurationError as error:
        return _fail(error, USAGE)
    except (CannotServeError, BackendError, LifespanError) as error:
        return _fail(error, CANNOT_SERVE)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRA:
            raise
        needs = f"the local gateway needs {name}: pip install 'longwire[{EXTRA[name]}]'"
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
    """Declare every command and option."""
    parser = Parser(prog="longwire", epilog=EXAMPLES)
    parser.add_argument("--version", action="version", version=f"longwire {longwire.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    parser.commands = commands.choices
    for command in COMMANDS:
        command.declare(commands)
    return parser


def _fail(error: object, code: int) -> int:
    write_line(sys.stderr, printable(f"longwire: {error}", keep="\n"))
    return code
