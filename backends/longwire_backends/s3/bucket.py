"""What the S3 store asks of its bucket: objects, listings, the bucket itself, and its refusals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from longwire_aws.errors import read_refusal
from longwire_backends.aws import Service
from longwire_backends.base import BackendError, ConfigurationError, RecordTooLargeError, shown
from longwire_backends.s3 import keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from longwire_aws.http import Response

# Bytes of the prefix; a key may have 1,024.
_PREFIX_LIMIT = 400
# Keys of one listing.
_LIST_LIMIT = 1000


class Bucket:
    """One bucket, or what is below a prefix of it, for the S3 store."""

    def __init__(
        self,
        backend: str,
        name: str,
        *,
        region_name: str | None,
        endpoint_url: str | None,
        prefix: str,
        timeout: float,
    ) -> None:
        self._backend = backend
        self._bucket = _checked_bucket(name)
        self.prefix: str = _checked_prefix(prefix)
        self._service = Service(
            backend,
            "s3",
            region_name=region_name,
            endpoint_url=endpoint_url,
            timeout=timeout,
        )
        self.url: str = _bucket_url(self._service, name)

    async def object(
        self,
        operation: str,
        method: str,
        key: str,
        body: bytes = b"",
        *,
        if_match: str | None = None,
        if_missing: bool = False,
    ) -> Response:
        """Ask for one object, or write or delete it; its ETag must be `if_match`."""
        url = self.url + quote(self.prefix + key, safe="/")
        conditions = [("If-None-Match", "*")] if if_missing else []
        if if_match is not None:
            conditions.append(("If-Match", if_match))
        return await self._ask(operation, method, url, body, conditions)

    async def delete(self, operation: str, key: str) -> bool:
        """Delete an object, whatever it is; that it is gone already is no error."""
        response = await self.object(operation, "DELETE", key)
        self.check(operation, response, {204, 404})
        return True

    async def keys(self, operation: str, folder: str) -> AsyncIterator[str]:
        """List all keys below a folder, without it."""
        keys, truncated = await self.list_keys(operation, folder, "", _LIST_LIMIT)
        while True:
            for key in keys:
                yield key
            if not truncated:
                return
            keys, truncated = await self.list_keys(operation, folder, keys[-1], _LIST_LIMIT)

    async def list_keys(
        self, operation: str, folder: str, start: str, limit: int
    ) -> tuple[list[str], bool]:
        """List some keys after `start`, without their folder; tell whether there are more."""
        folder = self.prefix + folder
        query = {"list-type": "2", "max-keys": str(min(limit, _LIST_LIMIT)), "prefix": folder}
        if start:
            query["start-after"] = folder + start
        url = f"{self.url}?{urlencode(query, quote_via=quote, safe='')}"
        response = await self._ask(operation, "GET", url)
        self.check(operation, response, {200})
        return self._listing(operation, response, folder, start)

    def _listing(
        self, operation: str, response: Response, folder: str, start: str = ""
    ) -> tuple[list[str], bool]:
        try:
            return keys.parse_listing(response.body, folder, start)
        except ValueError as error:
            detail = f"the answer is not a listing of S3: is something else at {self.url}?"
            raise BackendError(self._backend, operation, detail) from error

    async def create(self) -> tuple[str, ...]:
        """Create the bucket unless it is there, and say which."""
        # Not HEAD, whose answer has no body that could say what is wrong.
        response = await self._ask("create", "GET", f"{self.url}?list-type=2&max-keys=1")
        if response.status == 200:
            self._listing("create", response, "")
            return (f"bucket {self._bucket} is there already",)
        if read_refusal(response).code != "NoSuchBucket":
            raise self._refused("create", response)
        region = self._service.region
        response = await self._ask("create", "PUT", self.url, _location(region))
        if read_refusal(response).code != "BucketAlreadyOwnedByYou":
            self.check("create", response, {200})
        return (f"created bucket {self._bucket} in {region}",)

    async def close(self) -> None:
        await self._service.close()

    def check(self, operation: str, response: Response, expected: set[int]) -> None:
        """Raise `BackendError` for a status that is not expected, or a bucket that is missing."""
        if response.status not in expected or (
            response.status == 404 and read_refusal(response).code == "NoSuchBucket"
        ):
            raise self._refused(operation, response)

    async def _ask(
        self,
        operation: str,
        method: str,
        url: str,
        body: bytes = b"",
        conditions: Sequence[tuple[str, str]] = (),
    ) -> Response:
        return await self._service.request(
            operation, method, url, conditions, body, repeatable=not conditions
        )

    def _refused(self, operation: str, response: Response) -> BackendError:
        too_large = read_refusal(response).code == "EntityTooLarge"
        kind = RecordTooLargeError if too_large else BackendError
        return kind(self._backend, operation, self._problem(response))

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
            f"digit at both ends, and not an IP address, got {shown(bucket)}"
        )
    return bucket


def _checked_prefix(prefix: str) -> str:
    parts = [part for part in prefix.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise ConfigurationError(f"prefix: '.' and '..' mean nothing in S3, got {shown(prefix)}")
    # XML, which is how S3 lists keys, cannot have them.
    if not prefix.isprintable():
        raise ConfigurationError(f"prefix: expected no control characters, got {shown(prefix)}")
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
