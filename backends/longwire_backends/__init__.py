"""Stores for connection records and group memberships."""

from longwire_backends.base import (
    Backend,
    BackendError,
    Page,
    Record,
    RecordTooLargeError,
)

__all__ = ["Backend", "BackendError", "Page", "Record", "RecordTooLargeError"]
