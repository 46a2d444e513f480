"""`make live`: measures AWS in somebody's own account; docs/live.md says how and for how much."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import functools
import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import longwire
from longwire.deploy.plan import PYTHONS
from tests.live import confirmation, conversations, costs, leftovers, report, stacks
from tests.live.account import PREFIX, CannotError, find_account
from tests.live.aws import EMULATOR_LACKS, Stacks, make_world
from tests.live.extras import Extras, Managed
from tests.live.measuring import MEASUREMENTS, measure_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.live.account import Account
    from tests.live.findings import Finding

CANNOT, WRONG, INTERRUPTED = 1, 2, 130


# What is said is seen at once, also through a pipe.
_tell = functools.partial(print, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = _options(argv)
    if os.environ.get("LIVE") != "yes":
        _tell(
            "This makes things in your AWS account that cost money, and removes them: docs/live.md"
        )
        _tell("To see what and how much, and to be asked: make live LIVE=yes")
        return WRONG
    # As Ctrl-C, so that all is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        account = find_account()
        return _clean(account) if options.clean else _measure(account, options)
    except CannotError as error:
        _tell(f"make live: {error}", file=sys.stderr)
        return CANNOT
    except Exception as error:
        # boto3 need not be there, and makes classes of errors as it goes.
        if not type(error).__module__.startswith("botocore."):
            raise
        _tell(f"make live: {error}", file=sys.stderr)
        return CANNOT
    except KeyboardInterrupt:
        _tell("interrupted; if anything is left: make live LIVE=yes CLEAN=1", file=sys.stderr)
        return INTERRUPTED


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__)
    parser.add_argument("--clean", action="store_true", help="remove what earlier runs have left")
    parser.add_argument(
        "--long", action="store_true", help="measure the idle time, too: 12 minutes"
    )
    parser.add_argument(
        "--frameworks", default="plain,starlettes", help="(%(default)s); '' is none"
    )
    parser.add_argument("--only", default=",".join(MEASUREMENTS), help="(%(default)s)")
    parser.add_argument("--python", default="3.13", help="of the functions (%(default)s)")
    parser.add_argument("--arch", choices=("arm64", "x86_64"), default="arm64")
    parser.add_argument("--managed-subnets", default="", metavar="ID,ID", help="in several zones")
    parser.add_argument("--managed-security-groups", default="", metavar="ID,ID")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table")
    options = parser.parse_args(argv)
    options.frameworks = [name for name in options.frameworks.split(",") if name]
    options.only = options.only.split(",")
    for option, values, known in (
        ("--frameworks", options.frameworks, stacks.FRAMEWORKS),
        ("--only", options.only, MEASUREMENTS),
    ):
        if unknown := [value for value in values if value not in known]:
            parser.error(f"{option}: {', '.join(unknown)}: expected some of {', '.join(known)}")
    if options.python not in PYTHONS:
        parser.error(f"--python: expected one of {', '.join(PYTHONS)}")
    for path in (options.json, options.markdown):
        if path is not None and not path.absolute().parent.is_dir():
            parser.error(f"{path}: there is no folder {path.absolute().parent}")
    return options


def _extras(options: argparse.Namespace) -> Extras:
    version = tuple(int(part) for part in options.python.split("."))
    subnets = tuple(filter(None, options.managed_subnets.split(",")))
    groups = tuple(filter(None, options.managed_security_groups.split(",")))
    if bool(subnets) != bool(groups):
        raise CannotError("--managed-subnets and --managed-security-groups go together")
    managed = Managed(subnets, groups) if subnets else None
    return Extras(options.python, options.arch, version >= (3, 12), managed)


# Removing


def _clean(account: Account) -> int:
    found = leftovers.find(account)
    if not found:
        _tell(f"nothing is left in {account.region}")
        return 0
    said = confirmation.before_removing(account, found)
    if not confirmation.confirmed(account, said, _tell, input):
        _tell("nothing was removed", file=sys.stderr)
        return CANNOT
    return _remove(account, PREFIX)


def _remove(account: Account, prefix: str) -> int:
    left = leftovers.remove(account, prefix, _tell)
    for leftover in left:
        _tell(f"left: {leftover.kind} {leftover.name}", file=sys.stderr)
    if left:
        _tell("to try again: make live LIVE=yes CLEAN=1", file=sys.stderr)
    return CANNOT if left else 0


# Measuring


def _measure(account: Account, options: argparse.Namespace) -> int:
    extras = _extras(options)
    name = f"{PREFIX}{secrets.token_hex(4)}"
    scripts = conversations.selected(options.frameworks)
    bill = costs.estimate(len(scripts), long=options.long, managed=extras.managed is not None)
    said = confirmation.before_making(account, name, _made(name, extras), bill)
    if not confirmation.confirmed(account, said, _tell, input):
        _tell("nothing was created", file=sys.stderr)
        return CANNOT
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    findings: list[Finding] = []
    left = CANNOT
    try:
        _deploy_and_measure(account, name, extras, options, findings)
    finally:
        try:
            left = _remove(account, name)
        finally:
            _write(_where(account, options, began), findings, options)
    return left


def _where(account: Account, options: argparse.Namespace, began: str) -> report.Run:
    return report.Run(
        longwire.__version__,
        account.region,
        options.python,
        options.arch,
        began,
        emulator=account.endpoint is not None,
    )


def _made(name: str, extras: Extras) -> list[str]:
    functions = ["one as `longwire template sam` writes it", "one that logs its end"]
    functions += ["one behind a throttled API"]
    functions += ["one with SnapStart"] if extras.snapstart else []
    functions += ["one on Managed Instances, which starts EC2 instances"] if extras.managed else []
    return [
        f"bucket {name}-code, for the code",
        f"stacks {name} and {name}-extras, with their roles, log groups, two DynamoDB tables,",
        f"a WebSocket API for each function but the second, and {len(functions)} functions:",
        *(f"  {function}" for function in functions),
    ]


def _deploy_and_measure(
    account: Account,
    name: str,
    extras: Extras,
    options: argparse.Namespace,
    findings: list[Finding],
) -> None:
    with tempfile.TemporaryDirectory(prefix=PREFIX) as place:
        folder = Path(place)
        _tell("playing the conversations under uvicorn")
        wanted = asyncio.run(conversations.expected(options.frameworks, folder))
        _tell("packing")
        stacks.write(folder, name, options.frameworks, extras)
        bucket = f"{name}-code"
        stacks.make_bucket(account, bucket)
        for stack, template in ((name, "template.yaml"), (f"{name}-extras", "extras.json")):
            _tell(f"deploying {stack}")
            stacks.deploy(account, stack, folder / template, bucket)
    there = Stacks(account, name)
    asyncio.run(_ask(there, wanted, account, options, findings))


async def _ask(
    there: Stacks,
    wanted: dict[str, list[str]],
    account: Account,
    options: argparse.Namespace,
    findings: list[Finding],
) -> None:
    lacks = dict(EMULATOR_LACKS) if account.endpoint else {}
    lacks |= {name: "not asked for: --only" for name in MEASUREMENTS if name not in options.only}
    await measure_all(make_world(there, long=options.long), lacks, findings, _tell)
    _tell("playing the conversations in the account")
    heard = await conversations.played(there.url("main"), options.frameworks)
    findings += conversations.judge(options.frameworks, wanted, heard)


def _write(where: report.Run, findings: Sequence[Finding], options: argparse.Namespace) -> None:
    if not findings:
        return
    for line in report.lines(findings):
        _tell(line)
    for path, text in (
        (options.json, report.as_json(where, findings)),
        (options.markdown, report.markdown(where, findings)),
    ):
        if path is not None:
            path.write_text(text, encoding="utf-8")
            _tell(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
