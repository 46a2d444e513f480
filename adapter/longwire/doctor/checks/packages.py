"""What is in the package, where it is beside the template."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from longwire.doctor.checks.functions import python_of
from longwire.doctor.checks.stores import backend_of
from longwire.doctor.findings import Finding, found

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.doctor.model import LambdaFunction
    from longwire.doctor.packages import Package
    from longwire.doctor.stack import Stack

# One of the drivers that a store can do with is enough; by module, the extra that brings it.
DRIVERS = {"postgresql": {"psycopg2": "postgresql", "psycopg": "psycopg"}}


def check_handler(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The handler is in the package."""
    for function in ours:
        package, handler = function.package, function.handler
        if package is None or not isinstance(handler, str) or function.image is True:
            continue
        module, _, name = handler.rpartition(".")
        module = module.replace("/", ".")
        if module not in package.modules and function.layers == []:
            near = difflib.get_close_matches(module, package.modules, 1)
            text = f"the package has no module {module or handler!r}"
            text += f"; did you mean {near[0]}.{name}?" if near else ""
            yield found("handler-missing", function.at, text, "Handler")
        elif package.names is not None and name not in package.names:
            near = difflib.get_close_matches(name, package.names, 1)
            text = f"{module} has no name {name!r}" + (f"; did you mean {near[0]}?" if near else "")
            yield found("handler-attribute", function.at, text, "Handler")


def check_requirements(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Longwire and the driver of its store are there, or will be."""
    for function in ours:
        package = function.package
        # A layer may have them; and code alone says nothing of what is put beside it.
        if package is None or function.layers != [] or not (package.built or package.requirements):
            continue
        if not _has(package, "longwire"):
            yield found(
                "package-longwire", function.at, "the package has no longwire", "CodeUri", "Code"
            )
            continue
        drivers = DRIVERS.get(backend_of(function) or "", {})
        if drivers and not any(_has(package, *driver) for driver in drivers.items()):
            text = f"the package has no {' or '.join(drivers)}"
            yield found("package-driver", function.at, text, "CodeUri", "Code")
        if re.search(r"(?mi)^\s*longwire\s*\[[^]]*\bdev\b", package.requirements or ""):
            text = "requirements.txt has the extra dev"
            yield found("package-dev", function.at, text, "CodeUri", "Code")


def _has(package: Package, module: str, extra: str = "-") -> bool:
    if package.built:
        return module in package.modules
    if module in package.modules:
        return True
    text = package.requirements or ""
    if re.search(r"(?m)^\s*(-r|-e|\.|/|https?:|git\+|--)", text):
        return True  # what else that brings nobody can tell
    names = rf"(?mi)^\s*{module}\b"
    named = rf"(?mi)^\s*longwire\s*\[[^]]*\b{extra}\b"
    return bool(re.search(names, text) or re.search(named, text))


def check_architecture(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Compiled modules are for the function's machine and Python."""
    for function in ours:
        if function.package is None or not function.package.built:
            continue
        version = python_of(function)
        python = f"{version[0]}.{version[1]}" if version else ""
        wrong = [
            one
            for one in function.package.compiled
            if (
                one.machine
                and isinstance(function.architecture, str)
                and one.machine != function.architecture
            )
            or (one.python and python and one.python != python)
        ]
        if wrong:
            one = wrong[0]
            what = " and ".join(filter(None, (one.machine, one.python and f"Python {one.python}")))
            own = f"{function.architecture} with Python {python}"
            text = f"{one.name} is for {what}, the function is {own}"
            text += f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            yield found("package-architecture", function.at, text, "Architectures", "Runtime")
