"""`--env-file`: variables for the app, as frameworks and other tools read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from longwire.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

_LINE = re.compile(
    r"""(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|(.*?))\s*(?:\s\#.*)?"""
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def load(path: Path, environ: MutableMapping[str, str]) -> None:
    """Put the variables of a file into the environment; those that are there already win."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        detail = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(f"--env-file: {path}: {detail}") from None
    for name, value in parse(text, str(path)).items():
        environ.setdefault(name, value)


def parse(text: str, where: str) -> dict[str, str]:
    """Read lines of NAME=VALUE, quoted or not; no line of an error text shows a value."""
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _LINE.fullmatch(stripped)
        if found is None:
            raise ConfigurationError(f"--env-file: {where}:{number}: expected NAME=VALUE")
        name, single, double, plain = found.groups()
        if double is not None:
            double = re.sub(r"\\(.)", lambda one: _ESCAPES.get(one[1], one[1]), double)
        variables[name] = next(one for one in (single, double, plain) if one is not None)
    return variables
