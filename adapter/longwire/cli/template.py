"""`longwire template`: the files that make a stack of an app, for the tool of the user's choice."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from longwire.cli import planning, requirements
from longwire.cli.arguments import add_app_dir, add_log_level, add_target
from longwire.cli.console import printable, write_line
from longwire.cli.options import CannotServeError
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from longwire.cli.parser import Commands
    from longwire.deploy.plan import Plan

# Each has `render(plan) -> dict[str, str]`.
TOOLS = {
    "sam": "longwire.deploy.sam",
    "cdk": "longwire.deploy.cdk",
    "terraform": "longwire.deploy.terraform",
    "serverless": "longwire.deploy.serverless",
}
EXAMPLES = """\
examples:
  longwire template sam                      for the app in main.py or app.py, printed
  longwire template sam main:app --into .    template.yaml, requirements.txt, and what Lambda calls
  longwire template cdk main:handler --into infra --store s3 --sweep --alarms
"""


def declare(commands: Commands) -> None:
    """Declare the command and its options."""
    template = commands.add_parser(
        "template",
        help="write what deploys an app: a template for SAM or another tool",
        epilog=EXAMPLES,
        description="Write what makes the stack of an app on AWS: routes, function, store and\n"
        "exact permissions. Nothing is deployed, and nothing of AWS is asked.",
    )
    template.set_defaults(run=run)
    tools = "|".join(TOOLS)
    template.add_argument("tool", choices=list(TOOLS), metavar=tools, help="who deploys it")
    add_target(template, nargs="?")
    template.add_argument(
        "--into",
        type=Path,
        metavar="DIR",
        help="write files there, and requirements.txt and what Lambda calls beside the app; "
        "without it the template is printed",
    )
    planning.add(template)
    group = template.add_argument_group("this command")
    add_app_dir(group)
    add_log_level(group)


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Print the template or write the files; return the exit code."""
    plan, app_dir = planning.plan_from(options)
    files = importlib.import_module(TOOLS[options.tool]).render(plan)
    if options.into is None:
        write_line(sys.stdout, next(iter(files.values())).rstrip("\n"))
        for note in _what_is_missing(plan, app_dir):
            _say(note)
        return 0
    _write(options.into, app_dir, files, plan)
    return 0


def _what_is_missing(plan: Plan, app_dir: Path) -> list[str]:
    """Say what a printed template takes for granted."""
    if plan.entry is None or _holds(app_dir / plan.entry[0], plan.entry[1]):
        return []
    name, text = plan.entry
    lines = [line for line in text.splitlines() if line.startswith(("from ", "handler = "))]
    return [
        f"the template calls {plan.handler}, which is not there yet: --into DIR writes {name}, "
        f"with the lines {'; '.join(lines)}"
    ]


def _write(into: Path, app_dir: Path, files: Mapping[str, str], plan: Plan) -> None:
    """Write the files, none if one is there already; those of the app go beside it."""
    planned = {into / name: text for name, text in files.items()}
    planned |= {app_dir / name: text for name, text in plan.files().items()}
    if (ours := app_dir / "requirements.txt").exists():
        _check_requirements(ours, plan)
        del planned[ours]
    for path, text in list(planned.items()):
        if _holds(path, text):
            del planned[path]
        elif path.exists():
            raise ConfigurationError(
                f"--into: {_shown(path)} is there already, and nothing is overwritten"
                f"{_advice(path, app_dir, plan)}"
            )
    for path, text in planned.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except OSError as error:
            raise CannotServeError(
                f"cannot write {_shown(path)}: {error.strerror or error}"
            ) from None
        write_line(sys.stdout, printable(f"wrote {_shown(path)}"))


def _holds(path: Path, text: str) -> bool:
    """Tell whether a file is there already as it would be written."""
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _advice(path: Path, app_dir: Path, plan: Plan) -> str:
    if plan.entry is not None and path == app_dir / plan.entry[0]:
        return f": name the handler in it, as in {plan.handler.replace('.handler', ':handler')}"
    return ": take it away, or name another folder"


def _check_requirements(path: Path, plan: Plan) -> None:
    """Have the user add what is missing: a file of theirs is not touched."""
    try:
        there = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        detail = getattr(error, "strerror", None) or "it is not UTF-8"
        raise CannotServeError(f"cannot read {_shown(path)}: {detail}") from None
    if missing := requirements.missing(there, plan.requires[0]):
        raise ConfigurationError(
            f"--into: {_shown(path)} is there already, and lacks {missing}: add the line "
            f"{plan.requires[0]}"
        )


def _shown(path: Path) -> str:
    return os.path.relpath(path)


def _say(text: str) -> None:
    write_line(sys.stderr, printable(f"longwire: {text}"))
