"""`longwire new NAME`: a folder with an app, its tests, and its stack on AWS."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import longwire
from longwire.cli.console import write_line
from longwire.cli.options import CannotServeError
from longwire.deploy import project
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from longwire.cli.parser import Commands

KINDS = "\n".join(f"  {name:7} {kind.about}" for name, kind in project.KINDS.items())
EXAMPLES = f"""\
templates:
{KINDS}

examples:
  longwire new my-chat
  longwire new my-api --template users
"""


def declare(commands: Commands) -> None:
    """Declare the command and its options."""
    new = commands.add_parser(
        "new",
        help="make a project: an app, its tests, its stack on AWS",
        epilog=EXAMPLES,
        description="Make the folder NAME: an app, its tests, a SAM template, a Makefile.",
    )
    new.set_defaults(run=run, log_level="warning")
    new.add_argument("name", metavar="NAME", help="of the folder, and of the stack on AWS")
    new.add_argument(
        "--template", default="chat", choices=list(project.KINDS), help="what it is (%(default)s)"
    )


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Write it; return the exit code."""
    files = project.files(
        options.name, options.template, sys.version_info[:2], longwire.__version__
    )
    folder = Path(options.name)
    check_new(folder)
    try:
        write(folder, files)
    except OSError as error:
        raise CannotServeError(f"cannot write {error.filename}: {error.strerror}") from None
    names = ", ".join(files)
    write_line(sys.stdout, f"{folder}: {names}")
    write_line(sys.stdout, f"next: cd {folder} && make install test dev")
    return 0


def check_new(folder: Path) -> None:
    """Raise `ConfigurationError` for a folder in which something is."""
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigurationError(f"the folder {folder} is not empty: name a new one")
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise ConfigurationError(f"{folder} exists, and is no folder: choose another name")


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files that are not there yet."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8", newline="\n") as opened:
            opened.write(text)
