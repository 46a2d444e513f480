"""`longwire doctor`: what is wrong with a template, a stack, or an API that clients reach."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from longwire.cli.arguments import add_log_level
from longwire.cli.console import has_colours, printable, write_line
from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.cli.parser import Commands
    from longwire.doctor.findings import Finding

    Found = list[tuple[str, Sequence[Finding]]]

EXAMPLES = """\
examples:
  longwire doctor template.yaml          a template of SAM or CloudFormation
  longwire doctor cdk.out                what cdk synth, sam build or osls package has made
  longwire doctor plan.json              what terraform show -json prints
  longwire doctor --stack chat           what is deployed; reads only
  longwire doctor --connect wss://...    one handshake, one message, one close

exit codes: 0 nothing to mend, 1 errors or warnings, 2 it could not be looked at
"""
_EXTRA = {
    "yaml": "PyYAML",
    "samtranslator": "aws-sam-translator",
    "boto3": "boto3",
    "botocore": "boto3",
}


def declare(commands: Commands) -> None:
    """Declare the command and its options."""
    doctor = commands.add_parser(
        "doctor",
        help="find mistakes in a template, a deployed stack, or a connection",
        epilog=EXAMPLES,
        description="Find mistakes in what is deployed, or is to be. docs/doctor.md has them all.",
    )
    doctor.set_defaults(run=run)
    what = doctor.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "file", nargs="?", metavar="FILE", help="a template, a plan, or a folder of them"
    )
    what.add_argument(
        "--stack", metavar="NAME", help="a deployed stack of CloudFormation, SAM or CDK"
    )
    what.add_argument(
        "--connect", metavar="URL", help="connect, send a message, close; say what is seen"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON, for programs")
    doctor.add_argument(
        "--function",
        metavar="NAME",
        action="append",
        default=[],
        help="take this function for Longwire's, whatever its environment says; may be repeated",
    )
    doctor.add_argument("--region", metavar="REGION", help="with --stack: where it is")
    connect = doctor.add_argument_group("with --connect")
    connect.add_argument("--message", metavar="TEXT", default="ping", help="what to send (ping)")
    connect.add_argument("--header", metavar="'NAME: VALUE'", action="append", default=[])
    connect.add_argument("--subprotocol", metavar="NAME", action="append", default=[])
    connect.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=10.0, help="for each step (10)"
    )
    add_log_level(doctor)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Look, and say what was found; return the exit code."""
    try:
        if options.connect is not None:
            return _connect(options)
        found = _found(options)
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name == "websockets":
            raise ConfigurationError(
                "--connect needs websockets: pip install 'longwire[dev]'"
            ) from None
        if name not in _EXTRA:
            raise
        raise ConfigurationError(
            f"this needs {_EXTRA[name]}: pip install 'longwire[doctor]'"
        ) from None
    return _report(found, as_json_=options.json)


def _connect(options: argparse.Namespace) -> int:
    from longwire.doctor.handshake import Asked, examine

    headers = []
    for header in options.header:
        name, colon, value = header.partition(":")
        if not colon or not name.strip() or not header.isprintable():
            raise ConfigurationError("--header is not of the form 'NAME: VALUE'")
        headers.append((name.strip(), value.strip()))
    asked = Asked(options.connect, options.message, headers, options.subprotocol, options.timeout)
    seen = examine(asked)
    if not options.json:
        for line in seen.lines:
            write_line(sys.stdout, printable(f"{seen.url}: {line}"))
    return _report([(seen.url, seen.findings)], as_json_=options.json, seen=seen.lines)


def _report(found: Found, *, as_json_: bool, seen: Sequence[str] = ()) -> int:
    from longwire.doctor.report import as_json, is_bad, lines, summary

    everything = [one for _, findings in found for one in findings]
    if as_json_:
        write_line(sys.stdout, as_json(found, seen))
    else:
        colours = has_colours(sys.stdout, os.environ)
        for name, findings in found:
            for line in lines(printable(name), _printable(findings), colours=colours):
                write_line(sys.stdout, line)
        names = f" in {len(found)} templates" if len(found) > 1 else ""
        write_line(sys.stdout, summary(everything) + names)
    return 1 if is_bad(everything) else 0


def _printable(findings: Sequence[Finding]) -> list[Finding]:
    """Escape what a template may have in it."""
    return [
        one._replace(resource=printable(one.resource), message=printable(one.message))
        for one in findings
    ]


def _found(options: argparse.Namespace) -> Found:
    from longwire.doctor.diagnosis import diagnose, diagnose_deployed

    if options.stack is not None:
        from longwire.doctor import deployed

        looked = deployed.read(options.stack, options.region)
        return [(options.stack, diagnose_deployed(looked, options.function))]
    from longwire.doctor import files

    return [
        (one.name, diagnose(one.stack, options.function)) for one in files.read(Path(options.file))
    ]
