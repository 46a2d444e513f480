"""What the app under test raises, on its way into the test."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longwire.types import LambdaEvent


class AppErrors:
    """What was raised, by connection or request, until it is raised in the test, too.

    Attributes:
        raises: whether it is.
    """

    def __init__(self, *, raises: bool) -> None:
        self.raises: bool = raises
        self._of: defaultdict[str, list[BaseException]] = defaultdict(list)

    def add(self, event: LambdaEvent, error: BaseException) -> None:
        """Note what was raised in an event."""
        errors = self._of[key_of(event)]
        if not any(one is error for one in errors):
            errors.append(error)

    def raise_of(self, key: str) -> None:
        """Raise the first error of a connection or request, once."""
        errors = self._of.pop(key, None)
        if errors and self.raises:
            raise errors[0]


def key_of(event: LambdaEvent) -> str:
    """Return what the errors of an event are kept under."""
    context = event["requestContext"]
    key: str = context.get("connectionId") or context["requestId"]
    return key
