"""What the store needs of a driver of PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Row: TypeAlias = tuple[Any, ...]

# What `Link.poll` returns, or `READ | WRITE` for whichever comes first; the numbers are psycopg2's.
DONE, READ, WRITE = 0, 1, 2


class Link(Protocol):
    """One connection, of which nothing ever waits: that is for others to do."""

    def fileno(self) -> int:
        """Return its socket."""

    def poll(self) -> int:
        """Go on opening, or with the statement; return for what to wait first, or `DONE`."""

    def begin(self, sql: str, parameters: tuple[object, ...]) -> None:
        """Send a statement, or as much of it as goes out."""

    def rows(self) -> list[Row]:
        """Return what the statement that is done has brought."""

    def is_usable(self) -> bool:
        """Tell whether the connection is there and at nothing."""

    def close(self) -> None:
        """End the connection."""


class Driver(NamedTuple):
    """What one of the two does in its own way.

    Attributes:
        error: the root of its errors.
        lost: what it raises for a broken connection, and for much else.
        link: begins to open a connection.
        parse: makes options of a URI, or raises `error`.
        statement: gives a statement with `?` the driver's own placeholders.
    """

    error: type[Exception]
    lost: tuple[type[Exception], ...]
    link: Callable[[Mapping[str, Any]], Link]
    parse: Callable[[str], dict[str, Any]]
    statement: Callable[[str], str]


def sqlstate(error: BaseException | None) -> str | None:
    """Return the code that the server has given an error; None where it has none from there."""
    # https://www.postgresql.org/docs/current/errcodes-appendix.html
    code: str | None = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
    return code
