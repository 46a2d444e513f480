"""PostgreSQL, by psycopg2."""

from longwire_backends.postgresql.backend import PostgreSQLBackend

__all__ = ["PostgreSQLBackend"]
