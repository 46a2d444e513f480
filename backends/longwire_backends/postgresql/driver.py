"""Which driver of PostgreSQL the store takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from longwire_backends.postgresql.link import Driver


def installed() -> Driver:
    """Return psycopg2 where it is installed: it is imported in a sixth of the other's time."""
    try:
        from longwire_backends.postgresql import with_psycopg2
    except ModuleNotFoundError as error:
        if error.name != "psycopg2":
            raise
        from longwire_backends.postgresql import with_psycopg

        return with_psycopg.DRIVER
    return with_psycopg2.DRIVER
