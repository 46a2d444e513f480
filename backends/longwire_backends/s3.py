"""A store in one S3 bucket.

| object | key, below the prefix | body |
|---|---|---|
| a record | `connections/{id}` | a line with expiry and nonce, then the value |
| a member of a group | `groups/{name}/{id}/{expires_at}` | the id |
| a group of a connection | `memberships/{id}/{name}/{expires_at}` | the name |

What a listing has to tell is in the keys, since it shows no bodies; `s3_keys.py` makes them. S3 has
no expiry by the second: `sweep` deletes what has expired. A record's version is its ETag and its
expiry, and writes that depend on it are S3's conditional requests.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html

Another server than S3 has to know them all, deletes included, and must not say once more of what is
gone that it has been deleted: otherwise a record is taken more than once.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from longwire_aws.http import MAX_BODY
from longwire_aws.refusal import read_refusal
from longwire_backends import s3_keys
from longwire_backends.aws import Service
from longwire_backends.base import (
    Backend,
    BackendError,
    ConfigurationError,
    Page,
    Record,
    RecordTooLargeError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from longwire_aws.http import Response
    from longwire_backends.s3_keys import Entry

# Bytes of the prefix; a key may have 1,024.
_PREFIX_LIMIT = 400
# Keys of one listing.
_LIST_LIMIT = 1000
# Objects that one sweep looks at together.
_SWEEP_WIDTH = 20

# What S3 answers when somebody else was faster.
_OVERTAKEN = frozenset({404, 409, 412})


class S3Backend(Backend):
    """Keeps records and memberships as objects of one bucket; `create` makes it.

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
    # What is larger could be written, but the HTTP client would not read it.
    record_limit = MAX_BODY - 1024

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
        self._bucket = _checked_bucket(bucket)
        self._prefix = _checked_prefix(prefix)
        self._service = Service(
            self.name,
            "s3",
            region_name=region_name,
            endpoint_url=endpoint_url,
            timeout=timeout,
            # Not `clock`, which says when records expire: AWS checks signatures by the real time.
            clock=time.time,
        )
        self._url = _bucket_url(self._service, bucket)

    # Records

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self._check_size("put", value)
        body = _body(value, expires_at)
        response = await self._object("put", "PUT", s3_keys.record_key(connection_id), body)
        self._check("put", response, {200})
        return self._version("put", response, expires_at)

    async def get(self, connection_id: str) -> Record | None:
        return self._alive(await self._read("get", s3_keys.record_key(connection_id)))

    async def take(self, connection_id: str) -> Record | None:
        key = s3_keys.record_key(connection_id)
        until = time.monotonic() + self._timeout
        while record := self._alive(await self._read("take", key)):
            if await self._delete_version("take", key, record.version):
                return record
            if time.monotonic() > until:
                detail = f"the record was never the one just read, for {self._timeout:.3g} s"
                raise BackendError(self.name, "take", detail)
        return None

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        self._check_size("update", value)
        etag, expires_then = _parsed(version)
        if expires_then <= self._clock():
            return None
        key, body = s3_keys.record_key(connection_id), _body(value, expires_at)
        response = await self._object("update", "PUT", key, body, if_match=etag)
        self._check("update", response, {200, *_OVERTAKEN})
        if response.status != 200:
            return None
        return self._version("update", response, expires_at)

    async def _read(self, operation: str, key: str) -> Record | None:
        response = await self._object(operation, "GET", key)
        self._check(operation, response, {200, 404})
        if response.status == 404:
            return None
        etag = self._etag(operation, response)
        try:
            head, _, value = response.body.decode("utf-8").partition("\n")
            expires_at = int(head.partition(" ")[0])
        except ValueError:
            detail = f"the object {self._prefix}{key} is not one of Longwire's; give another prefix"
            # No cause: it quotes what it could not read.
            raise BackendError(self.name, operation, detail) from None
        return Record(value, f"{etag} {expires_at}", expires_at)

    def _alive(self, record: Record | None) -> Record | None:
        return record if record and record.expires_at > self._clock() else None

    async def _delete_version(self, operation: str, key: str, version: str) -> bool:
        """Delete an object unless somebody has written or deleted it; of many callers one can."""
        response = await self._object(operation, "DELETE", key, if_match=_parsed(version)[0])
        self._check(operation, response, {204, *_OVERTAKEN})
        return response.status == 204

    def _version(self, operation: str, response: Response, expires_at: int) -> str:
        return f"{self._etag(operation, response)} {expires_at}"

    def _etag(self, operation: str, response: Response) -> str:
        etag = response.headers.get("etag")
        if etag is None:
            detail = f"the answer has no ETag: is something else at {self._url}?"
            raise BackendError(self.name, operation, detail)
        return etag

    # Groups

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        folder = s3_keys.membership_folder(connection_id, group)
        known = [entry.expires_at async for entry in self._entries("group_add", folder)]
        # The connection's own object first: who finds it can also end a membership cut off here.
        keys = s3_keys.membership_keys(group, connection_id, expires_at)
        for key, name in zip(keys, (group, connection_id), strict=True):
            response = await self._object("group_add", "PUT", key, name.encode())
            self._check("group_add", response, {200})
        for outdated in set(known).difference([expires_at]):
            await self._end("group_add", group, connection_id, outdated)

    async def group_discard(self, group: str, connection_id: str) -> None:
        folder = s3_keys.membership_folder(connection_id, group)
        async for entry in self._entries("group_discard", folder):
            await self._end("group_discard", group, connection_id, entry.expires_at)

    async def _end(self, operation: str, group: str, connection_id: str, expires_at: int) -> None:
        for key in reversed(s3_keys.membership_keys(group, connection_id, expires_at)):
            await self._delete(operation, key)

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        folder = s3_keys.group_folder(group)
        keys, truncated = await self._list("group_members", folder, after or "", limit)
        entries = [self._entry("group_members", folder, key) for key in keys]
        now = self._clock()
        members = await self._names("group_members", folder, entries, now)
        return Page(members, s3_keys.after(entries[-1], now) if truncated else None)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        folder = s3_keys.memberships_folder(connection_id)
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
        response = await self._object(operation, "GET", key)
        self._check(operation, response, {200, 404})
        return [response.body.decode("utf-8", "replace")] if response.status == 200 else []

    # Expiry

    async def sweep(self) -> int:
        now = self._clock()
        records = await self._each(self._keys("sweep", s3_keys.RECORDS), self._sweep_record)
        await self._sweep_memberships(s3_keys.MEMBERSHIPS, now)
        return records + await self._sweep_memberships(s3_keys.GROUPS, now)

    async def _sweep_memberships(self, folder: str, now: float) -> int:
        async def expired() -> AsyncIterator[str]:
            async for entry in self._entries("sweep", folder):
                if entry.expires_at <= now:
                    yield folder + entry.key

        return await self._each(expired(), lambda key: self._delete("sweep", key))

    async def _sweep_record(self, key: str) -> bool:
        key = s3_keys.RECORDS + key
        record = await self._read("sweep", key)
        if record is None or self._alive(record):
            return False
        return await self._delete_version("sweep", key, record.version)

    async def _each(self, keys: AsyncIterator[str], work: Callable[[str], Awaitable[bool]]) -> int:
        """Do the work for each key, for some at the same time; count what returned True."""
        done = 0
        async for batch in _batched(keys, _SWEEP_WIDTH):
            results = await asyncio.gather(*map(work, batch), return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result
                done += result
        return done

    # The bucket

    async def create(self) -> tuple[str, ...]:
        # Not HEAD, whose answer has no body that could say what is wrong.
        response = await self._ask("create", "GET", f"{self._url}?list-type=2&max-keys=1")
        if response.status == 200:
            self._listing("create", response, "")
            return (f"bucket {self._bucket} is there already",)
        if read_refusal(response).code != "NoSuchBucket":
            raise self._refused("create", response)
        region = self._service.region
        response = await self._ask("create", "PUT", self._url, _location(region))
        if read_refusal(response).code != "BucketAlreadyOwnedByYou":
            self._check("create", response, {200})
        return (f"created bucket {self._bucket} in {region}",)

    async def close(self) -> None:
        await self._service.close()

    # Requests

    async def _entries(self, operation: str, folder: str) -> AsyncIterator[Entry]:
        async for key in self._keys(operation, folder):
            yield self._entry(operation, folder, key)

    def _entry(self, operation: str, folder: str, key: str) -> Entry:
        try:
            return s3_keys.parse_entry(key)
        except ValueError as error:
            detail = (
                f"the object {self._prefix}{folder}{key} is not one of Longwire's; "
                "give another prefix"
            )
            raise BackendError(self.name, operation, detail) from error

    async def _keys(self, operation: str, folder: str) -> AsyncIterator[str]:
        """List all keys below a folder, without it."""
        keys, truncated = await self._list(operation, folder, "", _LIST_LIMIT)
        while True:
            for key in keys:
                yield key
            if not truncated:
                return
            keys, truncated = await self._list(operation, folder, keys[-1], _LIST_LIMIT)

    async def _list(
        self, operation: str, folder: str, start: str, limit: int
    ) -> tuple[list[str], bool]:
        """List some keys after `start`, without their folder; tell whether there are more."""
        folder = self._prefix + folder
        query = {"list-type": "2", "max-keys": str(min(limit, _LIST_LIMIT)), "prefix": folder}
        if start:
            query["start-after"] = folder + start
        url = f"{self._url}?{urlencode(query, quote_via=quote, safe='')}"
        response = await self._ask(operation, "GET", url)
        self._check(operation, response, {200})
        return self._listing(operation, response, folder)

    def _listing(self, operation: str, response: Response, folder: str) -> tuple[list[str], bool]:
        try:
            return s3_keys.parse_listing(response.body, folder)
        except ValueError as error:
            detail = f"the answer is not a listing of S3: is something else at {self._url}?"
            raise BackendError(self.name, operation, detail) from error

    async def _delete(self, operation: str, key: str) -> bool:
        response = await self._object(operation, "DELETE", key)
        self._check(operation, response, {204, 404})
        return True

    async def _object(
        self,
        operation: str,
        method: str,
        key: str,
        body: bytes = b"",
        *,
        if_match: str | None = None,
    ) -> Response:
        url = self._url + quote(self._prefix + key, safe="/")
        return await self._ask(operation, method, url, body, if_match)

    async def _ask(
        self,
        operation: str,
        method: str,
        url: str,
        body: bytes = b"",
        if_match: str | None = None,
    ) -> Response:
        headers = [] if if_match is None else [("If-Match", if_match)]
        return await self._service.request(
            operation, method, url, headers, body, repeatable=if_match is None
        )

    def _check(self, operation: str, response: Response, expected: set[int]) -> None:
        if response.status not in expected or (
            response.status == 404 and read_refusal(response).code == "NoSuchBucket"
        ):
            raise self._refused(operation, response)

    def _refused(self, operation: str, response: Response) -> BackendError:
        too_large = read_refusal(response).code == "EntityTooLarge"
        kind = RecordTooLargeError if too_large else BackendError
        return kind(self.name, operation, self._problem(response))

    def _problem(self, response: Response) -> str:
        home = response.headers.get("x-amz-bucket-region")
        if home and home != self._service.region:
            return f"the bucket {self._bucket} is in {home}: set region_name to it"
        code = read_refusal(response).code
        if code == "NoSuchBucket":
            command = self._service.init_command(bucket=self._bucket)
            return f"there is no bucket {self._bucket}; create it with: {command}"
        detail = self._service.explain(response)
        if code == "AccessDenied":
            detail += (
                "; the function's role needs s3:GetObject, s3:PutObject, s3:DeleteObject and "
                "s3:ListBucket (without the last one S3 also says so of what does not exist)"
            )
        return detail


def _checked_bucket(bucket: str) -> str:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    if not re.fullmatch(
        r"(?!.*\.\.)(?![0-9]+(\.[0-9]+){3}$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket
    ):
        raise ConfigurationError(
            "bucket: expected 3 to 63 small letters, digits, dots and hyphens, with a letter or "
            f"digit at both ends, and not an IP address, got {bucket!r}"
        )
    return bucket


def _checked_prefix(prefix: str) -> str:
    parts = [part for part in prefix.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise ConfigurationError(f"prefix: '.' and '..' mean nothing in S3, got {prefix!r}")
    # XML, which is how S3 lists keys, cannot have them.
    if not prefix.isprintable():
        raise ConfigurationError(f"prefix: expected no control characters, got {prefix!r}")
    if len(prefix.encode()) > _PREFIX_LIMIT:
        raise ConfigurationError(f"prefix: expected at most {_PREFIX_LIMIT} bytes")
    return "".join(f"{part}/" for part in parts)


def _bucket_url(service: Service, bucket: str) -> str:
    # The certificate of AWS's hosts covers no dots in the bucket's part of the name.
    if service.endpoint_url is not None or "." in bucket:
        return f"{service.endpoint_url or f'https://{service.host}'}/{bucket}/"
    return f"https://{bucket}.{service.host}/"


def _location(region: str) -> bytes:
    """Return the body of CreateBucket: the region, which must not be said for the oldest one."""
    if region == "us-east-1":
        return b""
    return (
        '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
    ).encode()


def _body(value: str, expires_at: int) -> bytes:
    # The nonce makes the ETag, which S3 derives from the body, another one at each write.
    return f"{expires_at} {os.urandom(8).hex()}\n{value}".encode()


def _parsed(version: str) -> tuple[str, int]:
    """Return the ETag, and when what it stands for expires."""
    etag, _, expires_at = version.rpartition(" ")
    return etag, int(expires_at) if expires_at.isdigit() else 0


async def _batched(keys: AsyncIterator[str], size: int) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for key in keys:
        batch.append(key)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
