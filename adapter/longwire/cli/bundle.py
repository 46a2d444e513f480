"""`longwire bundle`: the zip of a function, with what it needs and nothing else."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from longwire.cli import packages, planning
from longwire.cli.arguments import add_app_dir, add_log_level, add_target
from longwire.cli.console import printable, write_line
from longwire.cli.options import CannotServeError
from longwire.deploy import bundle
from longwire.deploy.plan import ARCHITECTURES, PYTHONS
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from longwire.cli.parser import Commands
    from longwire.deploy.plan import Plan

EXAMPLES = """\
examples:
  longwire bundle --into function.zip                  the app in main.py or app.py, arm64
  longwire bundle main:handler --into app.zip --layer packages.zip --arch x86_64 --python 3.12
"""


def declare(commands: Commands) -> None:
    """Declare the command and its options."""
    command = commands.add_parser(
        "bundle",
        help="make the zip that Lambda runs: the app, its packages, Longwire",
        epilog=EXAMPLES,
        description="Make the zip of a function: the files of the app's folder, the packages of\n"
        "its requirements.txt for Lambda's machines, and Longwire without its tools.",
    )
    command.set_defaults(run=run)
    add_target(command, nargs="?")
    command.add_argument(
        "--into", type=Path, required=True, metavar="FILE.zip", help="where the zip is written"
    )
    command.add_argument(
        "--layer",
        type=Path,
        metavar="FILE.zip",
        help="put the packages and Longwire into this one, for a layer, and the app alone into the "
        "other",
    )
    command.add_argument(
        "--arch",
        choices=ARCHITECTURES,
        default="arm64",
        metavar="ARCH",
        help=f"of the function: {' or '.join(ARCHITECTURES)} (%(default)s)",
    )
    command.add_argument(
        "--python",
        choices=PYTHONS,
        metavar="VERSION",
        help=f"of the function: {', '.join(PYTHONS)} (this one)",
    )
    command.add_argument(
        "--requirements",
        type=Path,
        metavar="FILE",
        help="what to install (requirements.txt in the app's folder, if there is one)",
    )
    command.add_argument(
        "--no-bytecode",
        dest="bytecode",
        action="store_false",
        help="leave out compiled modules: a smaller zip, and slower cold starts",
    )
    add_app_dir(command)
    add_log_level(command)


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Write the zip; return the exit code."""
    zips = [path for path in (options.into, options.layer) if path is not None]
    for path in zips:
        _check_place(path)
    if options.layer is not None and options.layer.resolve() == options.into.resolve():
        raise ConfigurationError("--layer: name another file than --into")
    if options.requirements is not None and not options.requirements.is_file():
        raise ConfigurationError(f"--requirements: there is no file {options.requirements}")
    plan, app_dir = planning.plan_from(_for_planning(options))
    app, left_out = packages.of_app(app_dir, plan.entry)
    file = options.requirements or app_dir / "requirements.txt"
    required = packages.required(file if file.is_file() else None, plan.requires)
    with tempfile.TemporaryDirectory() as scratch:
        shared = packages.installed(required, plan, Path(scratch)) | packages.own()
        notes = packages.notes(required, plan, left_out)
        if options.bytecode:
            app, shared, compiled = packages.compiled(app, shared, plan.python, Path(scratch))
            notes += [] if compiled else [packages.NO_PYTHON.format(python=plan.python)]
    _write(options, plan, app, shared)
    for note in notes:
        write_line(sys.stdout, printable(f"  {note}"))
    return 0


def _for_planning(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options with those of a stack, which is none of this command's."""
    parser = argparse.ArgumentParser()
    planning.add(parser)
    stack = parser.parse_args([])
    return argparse.Namespace(**{**vars(stack), **vars(options), "into": None})


def _check_place(path: Path) -> None:
    """Replace an earlier zip of this command, and nothing else."""
    if path.suffix != ".zip":
        raise ConfigurationError(f"{path}: expected the name of a zip, such as function.zip")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no folder {path.parent}")
    if path.is_symlink() or path.exists():
        try:
            with zipfile.ZipFile(path) as there:
                ours = there.comment == bundle.MARK
        except (OSError, zipfile.BadZipFile):
            ours = False
        if not ours:
            raise ConfigurationError(
                f"{path} is there already, and is none of this command's: nothing is overwritten"
            )


def _write(
    options: argparse.Namespace, plan: Plan, app: dict[str, bytes], shared: dict[str, bytes]
) -> None:
    try:
        bundle.check_size(app, shared)
    except bundle.TooLargeError as error:
        raise CannotServeError(str(error)) from None
    about = f"handler {plan.handler}, python{plan.python}, {plan.architecture}"
    if options.layer is None:
        _write_one(options.into, shared | app, about)
        return
    layer = {f"{bundle.LAYER}{path}": data for path, data in shared.items()}
    _write_one(options.layer, layer, f"layer, python{plan.python}, {plan.architecture}")
    _write_one(options.into, app, about)


def _write_one(path: Path, files: dict[str, bytes], about: str) -> None:
    data = bundle.archive(files)
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            part.write(data)
        Path(part.name).chmod(0o644)
        os.replace(part.name, path)
    except OSError as error:
        raise CannotServeError(f"cannot write {path}: {error.strerror or error}") from None
    unzipped = bundle.megabytes(sum(map(len, files.values())))
    write_line(
        sys.stdout,
        printable(f"{path}: {bundle.megabytes(len(data))}, {unzipped} unzipped; {about}"),
    )
    write_line(sys.stdout, printable(f"  {bundle.largest(files)}"))
    if len(data) > bundle.ZIPPED_LIMIT:
        write_line(sys.stdout, "  over 50 MB: upload it by way of S3, as SAM and Terraform can")
