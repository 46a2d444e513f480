"""The contract of a store, and the errors that every layer shares.

A store keeps three things: one *record* for each connection, the memberships of connections in
groups, and, if it can, a *journal* of each connection. Everything else (what a record means, who
is told what) is decided above it.

A backend passes `tests/backends/contract.py`; third-party backends subclass the same test. Those of
this package are named in `longwire/config/schema.py`, and made in `longwire/config/settings.py`.
"""

from __future__ import annotations

import abc
import os
import time
from typing import TYPE_CHECKING, ClassVar

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class LongwireError(Exception):
    """Root of every error that Longwire raises on purpose."""


def shown(value: object) -> str:
    """Return a value for an error text, unless it may be a URL with a password in it."""
    # What was meant for `dsn` may have come to any place.
    text = repr(value)
    secret = "@" in text or "=" in text or ":" in text.partition("://")[2]
    return "a text that is not shown" if secret else text


class ConfigurationError(LongwireError, ValueError):
    """A setting is wrong; raised by constructors and by the command line, never by an event."""


class BackendError(LongwireError):
    """A store could not do what it was asked; the driver's own error is the cause.

    Attributes:
        backend: the store's name, for example "sqlite3".
        operation: what was being done, for example "get".
    """

    def __init__(self, backend: str, operation: str, detail: str) -> None:
        super().__init__(f"{backend}: {operation} failed: {detail}")
        self.backend = backend
        self.operation = operation


class RecordTooLargeError(BackendError):
    """A record is larger than the store accepts."""


class Record(NamedTuple):
    """What a store keeps for one connection.

    Attributes:
        value: JSON text; only the adapter reads it.
        version: changes at every write; present it to `Backend.update`.
        expires_at: epoch seconds; from then on the record counts as missing.
    """

    value: str
    version: str
    expires_at: int


class Page(NamedTuple):
    """Some members of a group, or some connections, in the store's own order.

    A page may be empty and still not be the last one: read on until `next` is None.

    Attributes:
        members: connection ids.
        next: pass it as `after`, to the same method, to read on; None on the last page. Only the
            store knows what it means: of connections it need not even be an id.
    """

    members: tuple[str, ...]
    next: str | None


def new_version() -> str:
    """Return a version that no record ever had."""
    return os.urandom(8).hex()


class Backend(abc.ABC):
    """A store of connection records and group memberships.

    A backend opens what it needs at first use, keeps it as long as the process lives, and opens it
    again after `close` or after the other side broke it. It works on whichever event loop calls it.
    Every method may raise `BackendError`; nothing of a driver's own escapes.

    Ids and group names are any text of 1 to 1,024 bytes in UTF-8, without NUL. Whatever has expired
    counts as missing, whether or not the store has deleted it yet.

    Args:
        clock: epoch seconds; tests hand in their own.

    Attributes:
        name: as in `ws_config["backend"]`.
        record_limit: bytes that the value of a record or an entry may have; None for any number.
    """

    name: ClassVar[str]
    record_limit: ClassVar[int | None] = None

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    async def create(self) -> tuple[str, ...]:
        """Create what the store needs and has not got: a file, a table, a bucket; safe to repeat.

        Returns:
            What was done, and what was there already, each as the text of one line.
        """
        return (f"{self.name}: nothing to create",)

    @abc.abstractmethod
    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        """Write the record, whatever was there, and return its version."""

    @abc.abstractmethod
    async def get(self, connection_id: str) -> Record | None:
        """Read the record as of the last write that anybody finished; None when missing."""

    @abc.abstractmethod
    async def take(self, connection_id: str) -> Record | None:
        """Read and delete the record in one step: of many takers exactly one gets it."""

    @abc.abstractmethod
    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        """Write the record if it still has `version`; return its new version.

        None means that somebody else has written or taken it: read it again.
        """

    @abc.abstractmethod
    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        """Read the ids of at most `limit` connections that have a record.

        A connection whose record is there the whole time is on exactly one page, and every write
        finished before a call is seen by it. An expired record is not listed; only a store that
        would have to read each record to know (s3) may list it until it is swept.

        Args:
            limit: at least 1.
            after: the `next` of the page before; None reads the first one.
        """

    @abc.abstractmethod
    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        """Make the connection a member; once more is no error and moves the expiry."""

    @abc.abstractmethod
    async def group_discard(self, group: str, connection_id: str) -> None:
        """End a membership; no error when there is none."""

    @abc.abstractmethod
    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        """Read at most `limit` members; a member of the whole time is on exactly one page."""

    @abc.abstractmethod
    async def groups(self, connection_id: str) -> tuple[str, ...]:
        """Read the names of the groups that the connection is in, sorted."""

    async def group_discard_all(self, connection_id: str) -> tuple[str, ...]:
        """End all memberships of the connection; return the groups' names, sorted.

        After an error some may have ended and others not: once more ends, and returns, the rest.
        """
        names = await self.groups(connection_id)
        for group in names:
            await self.group_discard(group, connection_id)
        return names

    @classmethod
    def keeps_journal(cls) -> bool:
        """Tell whether the store has the three methods on journals, which `replay` needs."""
        return not any(
            getattr(cls, name) is getattr(Backend, name)
            for name in ("append", "journal", "drop_journal")
        )

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        """Add an entry to the connection's journal, a list that only grows until it is dropped.

        False means that the journal is not as the caller has read it: somebody else has an entry
        at this position, or, where nothing is there to read, it was dropped or has expired. Of many
        appends to one position exactly one gets it. An answer that is lost is an error, and the
        entry may be there: who finds it by reading must be able to tell whose it is.

        Args:
            connection_id: whose journal; it need not have a record.
            position: from 1 on; one more than what the caller has read.
            value: any text without NUL.
            expires_at: the same for all entries of a journal, so that they expire together.
        """
        raise self._no_journal()

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        """Read the entries behind position `after`, in order, as of the last finished append.

        Where a store cannot see in one request that an append leaves a gap (dynamodb), or that the
        journal is being dropped (postgresql too), an entry may come to stand alone: to read across
        the gap is a `BackendError`. It lies there until it is dropped or expires, which does no
        harm as API Gateway uses no connection id again.
        """
        raise self._no_journal()

    async def drop_journal(self, connection_id: str) -> None:
        """Delete the connection's journal; no error when there is none.

        After an error some entries may be left; once more deletes the rest.
        """
        raise self._no_journal()

    @abc.abstractmethod
    async def sweep(self) -> int:
        """Delete what has expired; return how many records, memberships and entries that was.

        Stores that expire by themselves do nothing and return 0.
        """

    @abc.abstractmethod
    async def close(self) -> None:
        """Let go of connections and threads; a later call opens them again."""

    def _no_journal(self) -> NotImplementedError:
        return NotImplementedError(
            f"{type(self).__name__} keeps no journal: append, journal and drop_journal are missing"
        )

    def _contiguous(self, after: int, entries: Iterable[tuple[int, str]]) -> tuple[str, ...]:
        """Return the entries behind `after`, which have to be at the positions that follow it."""
        values: list[str] = []
        for position, value in entries:
            expected = after + len(values) + 1
            if position != expected:
                detail = (
                    f"entry {expected} is missing and {position} is there: the journal was dropped"
                    " meanwhile, or not read to its end before it was appended to"
                )
                raise BackendError(self.name, "journal", detail)
            values.append(value)
        return tuple(values)

    def _check_size(self, operation: str, value: str | bytes) -> None:
        """Raise `RecordTooLargeError` when the value is over `record_limit`."""
        limit = self.record_limit
        # No character takes more than four bytes, so most values need not be encoded to know.
        if limit is None or len(value) * 4 <= limit:
            return
        # What is no valid Unicode is for the store to refuse, as it does in short values.
        size = len(value.encode(errors="surrogatepass") if isinstance(value, str) else value)
        if size > limit:
            detail = f"a record of {size} bytes is over the store's limit of {limit}"
            raise RecordTooLargeError(self.name, operation, detail)
