"""A store in one S3 bucket.

| object | key, below the prefix | body |
|---|---|---|
| a record | `connections/{id}` | a line with expiry, nonce and a long id, then the value |
| a member of a group | `groups/{name}/{id}/{expires_at}` | the id |
| a group of a connection | `memberships/{id}/{name}/{expires_at}` | the name |
| a journal | `journals/{id}` | a line with expiry, then a line for each entry: a JSON string |

What a listing has to tell is in the keys, since it shows no bodies; `keys.py` makes them. S3 has
no expiry by the second: `sweep` deletes what has expired. A record's version is its ETag and its
expiry, and writes that depend on it are S3's conditional requests.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html

Another server than S3 has to know conditional writes, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, ClassVar

from longwire_aws.http11 import MAX_BODY
from longwire_backends.base import Backend, BackendError, Page, Record, new_version
from longwire_backends.s3 import journal, keys
from longwire_backends.s3.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from longwire_aws.http import Response
    from longwire_backends.s3.journal import Journal
    from longwire_backends.s3.keys import Entry

# Objects that one sweep looks at together.
_SWEEP_WIDTH = 20

# Whatever Python takes for text is kept.
_ENCODING = ("utf-8", "surrogatepass")

# What S3 answers when somebody else was faster.
_OVERTAKEN = frozenset({404, 409, 412})


class S3Backend(Backend):
    """Keeps records, memberships and journals as objects of one bucket; `create` makes it.

    Args:
        bucket: its name.
        region_name: where the bucket is; None takes the region in the environment.
        endpoint_url: another server than AWS's; None takes the one in the environment, if any.
        prefix: what all keys begin with; a slash follows it.
        timeout: seconds for one request.
        clock: epoch seconds; tests hand in their own.

    Raises:
        ConfigurationError: bucket or prefix cannot be one, or the region is unknown.
    """

    name = "s3"
    # What is larger could be written, but the HTTP client would not read it. The first line of a
    # body has up to 3 KB, since each byte of a long id becomes three.
    record_limit: ClassVar[int | None] = MAX_BODY - 4096

    def __init__(
        self,
        bucket: str,
        *,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        prefix: str = "",
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock)
        self._timeout = timeout
        self._bucket = Bucket(
            self.name,
            bucket,
            region_name=region_name,
            endpoint_url=endpoint_url,
            prefix=prefix,
            timeout=timeout,
        )
        self._recent = journal.Recent()

    # Records

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self._check_size("put", value)
        key, body = keys.record_key(connection_id), _body(value, expires_at, connection_id)
        response = await self._bucket.object("put", "PUT", key, body)
        self._bucket.check("put", response, {200})
        return self._version("put", response, expires_at)

    async def get(self, connection_id: str) -> Record | None:
        return self._alive(await self._read("get", keys.record_key(connection_id)))

    async def take(self, connection_id: str) -> Record | None:
        key = keys.record_key(connection_id)
        until = time.monotonic() + self._timeout
        while record := self._alive(await self._read("take", key)):
            # S3 documents of a write, not of a delete, that of many callers only one can do it.
            tombstone = await self._replace("take", connection_id, "", 0, record.version)
            if tombstone is not None:
                with contextlib.suppress(BackendError):  # it has expired, so `sweep` will do
                    await self._delete_version("take", key, _parsed(tombstone)[0])
                return record
            if time.monotonic() > until:
                detail = f"the record was never the one just read, for {self._timeout:.3g} s"
                raise BackendError(self.name, "take", detail)
        return None

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        self._check_size("update", value)
        if _parsed(version)[1] <= self._clock():
            return None
        return await self._replace("update", connection_id, value, expires_at, version)

    async def _replace(
        self, operation: str, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        """Write a record if it still has this version; return its new one."""
        key, body = keys.record_key(connection_id), _body(value, expires_at, connection_id)
        etag = _parsed(version)[0]
        response = await self._bucket.object(operation, "PUT", key, body, if_match=etag)
        self._bucket.check(operation, response, {200, *_OVERTAKEN})
        if response.status != 200:
            return None
        return self._version(operation, response, expires_at)

    async def _read(self, operation: str, key: str) -> Record | None:
        response = await self._bucket.object(operation, "GET", key)
        self._bucket.check(operation, response, {200, 404})
        if response.status == 404:
            return None
        etag = self._etag(operation, response)
        try:
            head, _, value = response.body.decode(*_ENCODING).partition("\n")
            expires_at = int(head.partition(" ")[0])
        except ValueError:
            # No cause: it quotes what it could not read.
            raise self._foreign(operation, key) from None
        return Record(value, f"{etag} {expires_at}", expires_at)

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        # A listing shows no bodies, so a record that has expired may be listed until `sweep`
        # deletes it, and so may one that was taken if the request that tidies up behind `take`
        # failed.
        folder = keys.RECORDS
        found, truncated = await self._bucket.list_keys("connections", folder, after or "", limit)
        ids = [each for key in found for each in await self._connection_id(folder + key)]
        return Page(tuple(ids), found[-1] if truncated else None)

    async def _connection_id(self, key: str) -> list[str]:
        """Return the id of a record; none when it was in the body of one that is gone."""
        try:
            connection_id = keys.parse_record(key)
            if connection_id is None:
                return await self._long_id(key)
        except ValueError:
            # No cause: it quotes what it could not read.
            raise self._foreign("connections", key) from None
        return [connection_id]

    async def _long_id(self, key: str) -> list[str]:
        response = await self._bucket.object("connections", "GET", key)
        self._bucket.check("connections", response, {200, 404})
        if response.status == 404:
            return []
        expires_at, *_, name = response.body.partition(b"\n")[0].decode("ascii").split(" ")
        return [keys.long_id(key, name)] if int(expires_at) > self._clock() else []

    def _alive(self, record: Record | None) -> Record | None:
        return record if record and record.expires_at > self._clock() else None

    async def _delete_version(self, operation: str, key: str, etag: str) -> bool:
        """Delete an object unless somebody has written it."""
        response = await self._bucket.object(operation, "DELETE", key, if_match=etag)
        self._bucket.check(operation, response, {204, *_OVERTAKEN})
        return response.status == 204

    def _version(self, operation: str, response: Response, expires_at: int) -> str:
        return f"{self._etag(operation, response)} {expires_at}"

    def _etag(self, operation: str, response: Response) -> str:
        etag = response.headers.get("etag")
        if etag is None:
            detail = f"the answer has no ETag: is something else at {self._bucket.url}?"
            raise BackendError(self.name, operation, detail)
        return etag

    # Groups

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        own, _ = keys.membership_folders(group, connection_id)
        known = [entry.expires_at async for entry in self._entries("group_add", own)]
        # The connection's own object first: who finds it can also end a membership cut off here.
        both = keys.membership_keys(group, connection_id, expires_at)
        for key, name in zip(both, (group, connection_id), strict=True):
            response = await self._bucket.object("group_add", "PUT", key, name.encode(*_ENCODING))
            self._bucket.check("group_add", response, {200})
        for outdated in set(known).difference([expires_at]):
            await self._end("group_add", group, connection_id, outdated)

    async def group_discard(self, group: str, connection_id: str) -> None:
        # Both sides are looked at: somebody else's discard that meets an add half way ends the
        # connection's own object, and the group's is put after that.
        known = {
            entry.expires_at
            for folder in keys.membership_folders(group, connection_id)
            async for entry in self._entries("group_discard", folder)
        }
        for expires_at in known:
            await self._end("group_discard", group, connection_id, expires_at)

    async def _end(self, operation: str, group: str, connection_id: str, expires_at: int) -> None:
        for key in reversed(keys.membership_keys(group, connection_id, expires_at)):
            await self._bucket.delete(operation, key)

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        folder = keys.group_folder(group)
        found, truncated = await self._bucket.list_keys("group_members", folder, after or "", limit)
        entries = [self._entry("group_members", folder, key) for key in found]
        now = self._clock()
        members = await self._names("group_members", folder, entries, now)
        return Page(members, keys.after(entries[-1], now) if truncated else None)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        folder = keys.memberships_folder(connection_id)
        entries = [entry async for entry in self._entries("groups", folder)]
        return tuple(sorted(await self._names("groups", folder, entries, self._clock())))

    async def _names(
        self, operation: str, folder: str, entries: Iterable[Entry], now: float
    ) -> tuple[str, ...]:
        """Return the names of those that have not expired, each once."""
        alive = {entry.name: entry for entry in entries if entry.expires_at > now}
        names: list[str] = []
        for entry in alive.values():
            if (name := entry.text()) is not None:
                names.append(name)
            else:
                names += await self._name(operation, folder + entry.key)
        return tuple(names)

    async def _name(self, operation: str, key: str) -> list[str]:
        """Return the name in an object's body; none when it has just been deleted."""
        response = await self._bucket.object(operation, "GET", key)
        self._bucket.check(operation, response, {200, 404})
        return [response.body.decode(*_ENCODING)] if response.status == 200 else []

    # Journals

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        key, now = keys.journal_key(connection_id), self._clock()
        until = time.monotonic() + self._timeout
        # It is not remembered again until we know how it is: the answer may be lost.
        known = self._recent.take(connection_id)
        if known is None or known.alive(now).length() != position - 1:
            known = await self._read_journal("append", key)
        while (alive := known.alive(now)).length() == position - 1:
            written = await self._write_journal(key, alive.grown(value, expires_at))
            if written is not None:
                self._recent.keep(connection_id, written)
                return True
            if time.monotonic() > until:
                detail = f"the journal was never the one just read, for {self._timeout:.3g} s"
                raise BackendError(self.name, "append", detail)
            known = await self._read_journal("append", key)
        return False

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        key = keys.journal_key(connection_id)
        found = await self._read_journal("journal", key)
        self._recent.keep(connection_id, found)
        try:
            return found.alive(self._clock()).entries()[after:]
        except ValueError:
            # No cause: it quotes what it could not read.
            raise self._foreign("journal", key) from None

    async def drop_journal(self, connection_id: str) -> None:
        self._recent.take(connection_id)
        await self._bucket.delete("drop_journal", keys.journal_key(connection_id))

    async def _read_journal(self, operation: str, key: str) -> Journal:
        response = await self._bucket.object(operation, "GET", key)
        self._bucket.check(operation, response, {200, 404})
        if response.status == 404:
            return journal.MISSING
        try:
            return journal.parse(self._etag(operation, response), response.body)
        except ValueError:
            raise self._foreign(operation, key) from None

    async def _write_journal(self, key: str, grown: Journal) -> Journal | None:
        """Write it over the one that it has grown from; None when that is another by now."""
        body = grown.body()
        self._check_size("append", body)
        response = await self._bucket.object(
            "append", "PUT", key, body, if_match=grown.etag, if_missing=grown.etag is None
        )
        self._bucket.check("append", response, {200, *_OVERTAKEN})
        if response.status != 200:
            return None
        return grown._replace(etag=self._etag("append", response))

    # Expiry

    async def sweep(self) -> int:
        now = self._clock()
        records = await self._each(self._bucket.keys("sweep", keys.RECORDS), self._sweep_record)
        await self._sweep_memberships(keys.MEMBERSHIPS, now)
        memberships = await self._sweep_memberships(keys.GROUPS, now)
        entries = await self._each(self._bucket.keys("sweep", keys.JOURNALS), self._sweep_journal)
        return records + memberships + entries

    async def _sweep_memberships(self, folder: str, now: float) -> int:
        async def expired() -> AsyncIterator[str]:
            async for entry in self._entries("sweep", folder):
                if entry.expires_at <= now:
                    yield folder + entry.key

        return await self._each(expired(), lambda key: self._bucket.delete("sweep", key))

    async def _sweep_record(self, key: str) -> bool:
        key = keys.RECORDS + key
        record = await self._read("sweep", key)
        if record is None or self._alive(record):
            return False
        return await self._delete_version("sweep", key, _parsed(record.version)[0])

    async def _sweep_journal(self, name: str) -> int:
        key = keys.JOURNALS + name
        found = await self._read_journal("sweep", key)
        if found.etag is None or found.expires_at > self._clock():
            return 0
        deleted = await self._delete_version("sweep", key, found.etag)
        return found.length() if deleted else 0

    async def _each(self, found: AsyncIterator[str], work: Callable[[str], Awaitable[int]]) -> int:
        """Do the work for each key, for some at the same time; return the sum."""
        done = 0
        async for batch in _batched(found, _SWEEP_WIDTH):
            results = await asyncio.gather(*map(work, batch), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                done += result
        return done

    # The bucket

    async def create(self) -> tuple[str, ...]:
        return await self._bucket.create()

    async def close(self) -> None:
        await self._bucket.close()

    async def _entries(self, operation: str, folder: str) -> AsyncIterator[Entry]:
        async for key in self._bucket.keys(operation, folder):
            yield self._entry(operation, folder, key)

    def _entry(self, operation: str, folder: str, key: str) -> Entry:
        try:
            return keys.parse_entry(key)
        except ValueError as error:
            raise self._foreign(operation, folder + key) from error

    def _foreign(self, operation: str, key: str) -> BackendError:
        detail = (
            f"the object {self._bucket.prefix}{key} is not one of Longwire's; give another prefix"
        )
        return BackendError(self.name, operation, detail)


def _body(value: str, expires_at: int, connection_id: str) -> bytes:
    # The nonce makes the ETag, which S3 derives from the body, another one at each write.
    head = " ".join([str(expires_at), new_version(), *keys.left_out(connection_id)])
    return f"{head}\n{value}".encode(*_ENCODING)


def _parsed(version: str) -> tuple[str, int]:
    """Return the ETag, and when what it stands for expires."""
    etag, _, expires_at = version.rpartition(" ")
    return etag, int(expires_at) if expires_at.isdigit() else 0


async def _batched(found: AsyncIterator[str], size: int) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for key in found:
        batch.append(key)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
