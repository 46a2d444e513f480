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
    return tuple(
        one
        for one in stack.functions
        if one.at.name in named or shown(one.name) in named or is_ours(one)
    )


def is_ours(function: LambdaFunction) -> bool:
    """Tell whether something about a function is Longwire's."""
    environment = function.environment
    if isinstance(environment, dict) and any(
        str(one).startswith("LONGWIRE_") for one in environment
    ):
        return True
    package = function.package
    return bool(package and package.source and _IMPORT.search(package.source))
