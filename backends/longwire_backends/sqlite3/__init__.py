"""SQLite."""

from longwire_backends.sqlite3.backend import SQLite3Backend

__all__ = ["SQLite3Backend"]
