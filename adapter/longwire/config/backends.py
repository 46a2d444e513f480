"""A store from its name and its parameters."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ConfigurationError
from longwire_backends.base import Backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def make(backend: str | Backend, params: Mapping[str, Any]) -> Backend:
    """Make the store of this name; only its own module is imported."""
    match backend:
        case Backend():
            return backend
        case "memory":
            from longwire_backends.memory import MemoryBackend

            return MemoryBackend()
        case "sqlite3":
            from longwire_backends.sqlite3.backend import SQLite3Backend

            return SQLite3Backend(**params)
        case "redis":
            from longwire_backends.redis.backend import RedisBackend

            return RedisBackend(**params)
        case "postgresql":
            from longwire_backends.postgresql.backend import PostgreSQLBackend

            with _driver("postgresql", needs="psycopg2 or psycopg"):
                return PostgreSQLBackend(**params)
        case "dynamodb":
            from longwire_backends.dynamodb import DynamoDBBackend

            return DynamoDBBackend(**params)
        case _:  # "s3": `load` lets no other name through
            from longwire_backends.s3.backend import S3Backend

            return S3Backend(**params)


@contextlib.contextmanager
def _driver(extra: str, *, needs: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in needs.split(" or "):
            raise
        raise ConfigurationError(
            f"the backend {extra!r} needs {needs}: pip install 'longwire[{extra}]'"
        ) from error
