"""Where a record is kept, with one request for each operation; `make` takes Longwire's settings."""

from __future__ import annotations

import json
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from benchmarks.floor.signing import EMPTY, Signer
from benchmarks.floor.wire import HTTP, RESP

if TYPE_CHECKING:
    from collections.abc import Callable


class FloorStore(Protocol):
    """Records by the ids of their connections."""

    async def put(self, key: str, value: str, expires_at: int) -> None: ...
    async def get(self, key: str) -> str: ...
    async def take(self, key: str) -> str: ...


def make(name: str, params: dict[str, Any]) -> FloorStore:
    stores: dict[str, Callable[..., FloorStore]] = {
        "memory": FloorMemory,
        "sqlite3": FloorSQLite,
        "redis": FloorRedis,
        "postgresql": FloorPostgreSQL,
        "dynamodb": FloorDynamoDB,
        "s3": FloorS3,
    }
    return stores[name](**params)


class FloorMemory:
    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    async def put(self, key: str, value: str, expires_at: int) -> None:
        self._values[key] = value

    async def get(self, key: str) -> str:
        return self._values[key]

    async def take(self, key: str) -> str:
        return self._values.pop(key)


class FloorSQLite:
    def __init__(self, file_path: str) -> None:
        import sqlite3

        database = sqlite3.connect(f"{file_path}-floor", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("CREATE TABLE IF NOT EXISTS r (id TEXT PRIMARY KEY, v TEXT, e INTEGER)")
        self._execute = database.execute

    async def put(self, key: str, value: str, expires_at: int) -> None:
        self._execute("INSERT OR REPLACE INTO r VALUES (?, ?, ?)", (key, value, expires_at))

    async def get(self, key: str) -> str:
        value: str = self._execute("SELECT v, e FROM r WHERE id = ?", (key,)).fetchone()[0]
        return value

    async def take(self, key: str) -> str:
        value: str = self._execute("DELETE FROM r WHERE id = ? RETURNING v", (key,)).fetchone()[0]
        return value


class FloorRedis:
    def __init__(self, uri: str) -> None:
        self._url = urlsplit(uri)
        self._wire: RESP | None = None

    async def _command(self, *words: bytes) -> bytes | None:
        if self._wire is None:
            self._wire = await RESP.to(str(self._url.hostname), int(self._url.port or 6379))
        return await self._wire.command(*words)

    async def put(self, key: str, value: str, expires_at: int) -> None:
        await self._command(b"SET", key.encode(), value.encode(), b"EXAT", b"%d" % expires_at)

    async def get(self, key: str) -> str:
        return (await self._command(b"GET", key.encode()) or b"").decode()

    async def take(self, key: str) -> str:
        return (await self._command(b"GETDEL", key.encode()) or b"").decode()


class FloorPostgreSQL:
    def __init__(self, uri: str) -> None:
        import psycopg2

        database = psycopg2.connect(uri)
        database.autocommit = True
        self._cursor = database.cursor()
        self._cursor.execute(
            "CREATE TABLE IF NOT EXISTS floor (id text PRIMARY KEY, v text, e bigint)"
        )

    def _one(self, statement: str, key: str) -> str:
        self._cursor.execute(statement, (key,))
        row = self._cursor.fetchone()
        assert row is not None
        return str(row[0])

    async def put(self, key: str, value: str, expires_at: int) -> None:
        self._cursor.execute(
            "INSERT INTO floor VALUES (%s, %s, %s) "
            "ON CONFLICT (id) DO UPDATE SET v = excluded.v, e = excluded.e",
            (key, value, expires_at),
        )

    async def get(self, key: str) -> str:
        return self._one("SELECT v, e FROM floor WHERE id = %s", key)

    async def take(self, key: str) -> str:
        return self._one("DELETE FROM floor WHERE id = %s RETURNING v", key)


class FloorDynamoDB:
    """Items as Longwire has them, in the same table."""

    def __init__(self, table_name: str, endpoint_url: str) -> None:
        url = urlsplit(endpoint_url)
        self._table, self._host = table_name, url.netloc
        self._to = str(url.hostname), int(url.port or 80)
        more = {"content-type": "application/x-amz-json-1.0", "x-amz-target": ""}
        self._signer = Signer("dynamodb", self._host, tuple(more.items()))
        self._wire: HTTP | None = None

    async def _call(self, action: str, request: dict[str, Any]) -> Any:
        if self._wire is None:
            self._wire = await HTTP.to(*self._to)
        encode = json.JSONEncoder(separators=(",", ":")).encode
        body = encode({"TableName": self._table, **request}).encode()
        target = f"DynamoDB_20120810.{action}"
        self._signer.authorization("POST", "/", b"")  # the date may be another one by now
        lines = self._signer.lines(**{"x-amz-target": target})
        head = (
            f"POST / HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"X-Amz-Date: {self._signer.date}\r\nX-Amz-Target: {target}\r\n"
            f"Authorization: {self._signer.authorization('POST', '/', body, lines)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        status, answer = await self._wire.ask(head.encode() + body)
        assert status == b"200", answer
        return json.loads(answer)

    @staticmethod
    def _key(key: str) -> dict[str, Any]:
        return {"pk": {"S": f"connection#{key}"}, "sk": {"S": "record"}}

    async def put(self, key: str, value: str, expires_at: int) -> None:
        values = {"value": {"S": value}, "version": {"S": "0123456789abcdef"}}
        item = {**self._key(key), **values, "expires_at": {"N": str(expires_at)}}
        await self._call("PutItem", {"Item": item})

    async def get(self, key: str) -> str:
        answer = await self._call("GetItem", {"Key": self._key(key), "ConsistentRead": True})
        value: str = answer["Item"]["value"]["S"]
        return value

    async def take(self, key: str) -> str:
        request = {"Key": self._key(key), "ReturnValues": "ALL_OLD"}
        value: str = (await self._call("DeleteItem", request))["Attributes"]["value"]["S"]
        return value


class FloorS3:
    """Objects with the expiry in their first line."""

    def __init__(self, bucket: str, endpoint_url: str) -> None:
        url = urlsplit(endpoint_url)
        self._bucket, self._host = bucket, url.netloc
        self._to = str(url.hostname), int(url.port or 80)
        self._signer = Signer("s3", self._host, (("x-amz-content-sha256", EMPTY),))
        self._wire: HTTP | None = None

    async def _object(self, method: str, key: str, body: bytes = b"") -> bytes:
        if self._wire is None or self._wire.ends:
            self._wire = await HTTP.to(*self._to)
        path = f"/{self._bucket}/floor/{quote(key, safe='')}"
        authorization, digest = self._signer.authorization(method, path, b""), EMPTY
        if body:
            digest = sha256(body).hexdigest()
            lines = self._signer.lines(**{"x-amz-content-sha256": digest})
            authorization = self._signer.authorization(method, path, body, lines)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"X-Amz-Date: {self._signer.date}\r\nX-Amz-Content-Sha256: {digest}\r\n"
            f"Authorization: {authorization}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        status, answer = await self._wire.ask(head.encode() + body)
        assert status in (b"200", b"204"), answer
        return answer

    async def put(self, key: str, value: str, expires_at: int) -> None:
        await self._object("PUT", key, f"{expires_at}\n{value}".encode())

    async def get(self, key: str) -> str:
        return (await self._object("GET", key)).partition(b"\n")[2].decode()

    async def take(self, key: str) -> str:
        value = await self.get(key)
        await self._object("DELETE", key)
        return value


def expiry() -> int:
    """Return when a record of now expires."""
    return int(time.time()) + 7800
