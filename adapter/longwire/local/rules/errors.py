"""Why a function did not return."""

from __future__ import annotations

from longwire.exceptions import LongwireError


class FunctionError(LongwireError):
    """The function did not return; the text says all that there is to say."""


class FunctionTimeoutError(FunctionError, TimeoutError):
    """The function did not end within its own timeout, and was stopped as Lambda stops it."""


class FunctionExitError(FunctionError):
    """The function ended its process, as `sys.exit` does."""


class FunctionRaisedError(FunctionError):
    """A function in a process of its own has raised; `type` is as Lambda's runtime names it."""

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(f"{type_}: {message}" if message else type_)
        self.type = type_
        self.message = message


class ThrottledError(FunctionError):
    """Lambda takes no further event now."""
