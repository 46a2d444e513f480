"""Which functions are Longwire's: most rules are about them alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from longwire.doctor.values import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.doctor.model import LambdaFunction
    from longwire.doctor.stack import Stack

DSN, QUEUE_URL = "LONGWIRE_DSN", "LONGWIRE_FANOUT_QUEUE_URL"
ENDPOINT, AS_SDK = "WS_MANAGEMENT_ENDPOINT", "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"
_IMPORT = re.compile(r"^\s*(?:from|import)\s+longwire\b", re.MULTILINE)


def ours_of(stack: Stack, named: Sequence[str] = ()) -> tuple[LambdaFunction, ...]:
    """Return the functions that are Longwire's by what they say, and those that a user names."""
    authorizers = [stack.function_of(one.function) for one in stack.authorizers]
    return tuple(
        one
        for one in stack.functions
        if one.at.name in named
        or shown(one.name) in named
        or _imports(one)
        or (_has_variables(one) and one not in authorizers and not _is_aside(stack, one))
    )


def _imports(function: LambdaFunction) -> bool:
    package = function.package
    return bool(package and package.source and _IMPORT.search(package.source))


def _has_variables(function: LambdaFunction) -> bool:
    environment = function.environment
    return isinstance(environment, dict) and any(
        str(one).startswith("LONGWIRE_") for one in environment
    )


def _is_aside(stack: Stack, function: LambdaFunction) -> bool:
    """Tell whether it has variables that all functions of a stack have, and another language."""
    other = isinstance(function.runtime, str) and not function.runtime.startswith(
        ("python", "provided")
    )
    return other and not stack.routes_to(function)
