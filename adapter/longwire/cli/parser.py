"""Mistakes in a command line: one line each, which says what was probably meant."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Commands = argparse._SubParsersAction["Parser"]

# What other tools call it.
COMMANDS = {
    "run": "dev",
    "serve": "dev",
    "start": "dev",
    "local": "dev",
    "create": "new",
    "package": "bundle",
    "check": "doctor",
    "lint": "doctor",
}
OPTIONS = {
    "-p": "--port",
    "--single-port": "--one-port",
    "--no-http-port": "--no-http",
    "-r": "--reload",
    "-e": "--env-file",
    "--env": "--env-file",
    "--store": "--dsn",
    "--url": "--dsn",
    "--workers": "--instances",
    "--stack-name": "--name",
    "--output": "--into",
    "-o": "--into",
    "--debug": "--log-level debug",
    "--verbose": "--log-level info",
    "-v": "--log-level info",
}
NO_DEPLOYMENT = (
    "longwire does not deploy: your own tool does, with the files that 'longwire template' writes"
)


class Parser(argparse.ArgumentParser):
    """A parser of a command line, or of one of its commands."""

    def __init__(self, **settings: Any) -> None:
        self.commands: Mapping[str, argparse.ArgumentParser] = {}
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings
        )

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Return the options; ends the process where they are wrong."""
        given = list(sys.argv[1:] if args is None else args)
        if given and not given[0].startswith("-") and given[0] not in self.commands:
            self.error(_no_command(given[0], self.commands))
        if given and given[0].startswith("-") and given[0] not in self._option_string_actions:
            self.error(_no_option(given[:1], self.format_usage()))
        options, rest = self.parse_known_args(given)
        if rest:
            of_command = self.commands[options.command]
            of_command.error(_no_option(rest, of_command.format_usage()))
        return options

    def error(self, message: str) -> NoReturn:
        """Say it without the usage, which is longer than a terminal is high."""
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help)\n")


def _no_command(name: str, commands: Mapping[str, object]) -> str:
    if name == "deploy":
        return NO_DEPLOYMENT
    if ":" in name or name.endswith(".py"):
        return f"{name!r} is no command; did you mean 'longwire dev {name}'?"
    near = [COMMANDS[name]] if name in COMMANDS else difflib.get_close_matches(name, commands, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(commands)}"
    return f"{name!r} is no command; {hint}"


def _no_option(rest: Sequence[str], usage: str) -> str:
    name = next((one for one in rest if one.startswith("-")), None)
    if name is None:
        return f"one argument too many: {rest[0]}"
    name = name.partition("=")[0]
    known = sorted(set(re.findall(r"--[a-z][a-z-]*", usage)))
    if (meant := OPTIONS.get(name)) is not None and meant.partition(" ")[0] in known:
        near = [meant]
    else:
        near = difflib.get_close_matches(name, known, 1)
    return f"there is no option {name}" + (f"; did you mean {near[0]}?" if near else "")
