"""A store in one DynamoDB table.

| item | `pk` | `sk` | further attributes |
|---|---|---|---|
| a record | `connection#{id}` | `record` | `value`, `version`, `expires_at` |
| a member of a group | `group#{name}` | the connection's id | `expires_at` |
| a group of a connection | `groups#{id}` | the group's name | `expires_at` |
| an entry of a journal | `journal#{id}` | its position, with ten digits | `value`, `expires_at` |

`expires_at` (epoch seconds) is the table's TTL attribute. DynamoDB deletes what has expired late,
after days at times, so every read looks at it, too.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html
"""

from __future__ import annotations

import asyncio
import json
import time
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any, ClassVar

from longwire_aws.errors import read_refusal
from longwire_backends.aws import Service
from longwire_backends.base import (
    Backend,
    BackendError,
    ConfigurationError,
    Page,
    Record,
    RecordTooLargeError,
    new_version,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from longwire_aws.http import Response

_OF_NAMES = frozenset(ascii_letters + digits + "_.-")
_TTL_ATTRIBUTE = "expires_at"
_NO_TTL = "this server knows no TTL: items that have expired will stay"
# What the keys of records begin with, and all of their sort key.
_RECORDS, _RECORD = "connection#", "record"
_KEYS = [("pk", "HASH"), ("sk", "RANGE")]
# How DynamoDB says that a table's keys have other names or types than the request's.
_OTHER_KEYS = (
    "key element",
    "key schema",
    "missing the key",
    "mismatch for key",
    "conditions on the keys",
    "does not match schema type",
)

# Seconds that `create` waits for a table, and between two looks.
_CREATE_TIMEOUT = 120.0
_CREATE_PAUSE = 0.5

# Entries of a journal that are deleted at the same time.
_DROP_WIDTH = 20


class DynamoDBBackend(Backend):
    """Keeps records, memberships and journals as items of one table; `create` makes it.

    Reads are strongly consistent: a message may follow its handshake at once.

    Args:
        table_name: the table, or its ARN.
        region_name: None takes the one in the environment.
        endpoint_url: another server than AWS's; None takes the one in the environment, if any.
        timeout: seconds for one operation.
        clock: epoch seconds; tests hand in their own.

    Raises:
        ConfigurationError: the table's name cannot be one, or the region is unknown.
    """

    name = "dynamodb"
    # An item may have 400 KB with its keys and the names of its attributes.
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
    record_limit: ClassVar[int | None] = 397_000

    def __init__(
        self,
        table_name: str,
        *,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock)
        if not _is_table(table_name):
            raise ConfigurationError(
                "table_name: expected 3 to 255 letters, digits, '_', '-' and '.', or an ARN, "
                f"got {shown(table_name)}"
            )
        self._table = table_name
        self._service = Service(
            self.name,
            "dynamodb",
            region_name=_region_of(table_name, region_name),
            endpoint_url=endpoint_url,
            timeout=timeout,
        )
        self._url = f"{self._service.endpoint_url or f'https://{self._service.host}'}/"

    # Records

    async def put(self, connection_id: str, value: str, expires_at: int) -> str:
        self._check_size("put", value)
        version = new_version()
        item = _record(connection_id, value, version, expires_at)
        await self._call("put", "PutItem", {"Item": item})
        return version

    async def get(self, connection_id: str) -> Record | None:
        answer = await self._call(
            "get", "GetItem", {"Key": _record_key(connection_id), "ConsistentRead": True}
        )
        return self._read_record("get", answer.get("Item"))

    async def take(self, connection_id: str) -> Record | None:
        answer = await self._call(
            "take",
            "DeleteItem",
            {"Key": _record_key(connection_id), "ReturnValues": "ALL_OLD"},
            repeatable=False,
        )
        return self._read_record("take", answer.get("Attributes"))

    async def update(
        self, connection_id: str, value: str, expires_at: int, version: str
    ) -> str | None:
        self._check_size("update", value)
        written_version = new_version()
        written = await self._call(
            "update",
            "PutItem",
            {
                "Item": _record(connection_id, value, written_version, expires_at),
                "ConditionExpression": "#version = :version AND #expires_at > :now",
                "ExpressionAttributeNames": {"#version": "version", "#expires_at": _TTL_ATTRIBUTE},
                "ExpressionAttributeValues": {":version": {"S": version}, ":now": self._now()},
            },
            repeatable=False,
            unless="ConditionalCheckFailedException",
        )
        return written_version if written is not _UNMET else None

    async def connections(self, *, limit: int = 1000, after: str | None = None) -> Page:
        # A scan reads the whole table, memberships included, and costs by the size of all items.
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html
        start = None if after is None else self._start(after)
        request = {
            # A member of a group may be called "record", too.
            "FilterExpression": "begins_with(pk, :pk) AND sk = :sk AND #expires_at > :now",
            "ProjectionExpression": "pk",
            "ExpressionAttributeNames": {"#expires_at": _TTL_ATTRIBUTE},
            "ExpressionAttributeValues": {
                ":pk": {"S": _RECORDS},
                ":sk": {"S": _RECORD},
                ":now": self._now(),
            },
            "ConsistentRead": True,
            "Limit": limit,
        }
        if start is not None:
            request["ExclusiveStartKey"] = start
        return self._scanned(await self._call("connections", "Scan", request), start)

    def _start(self, after: str) -> Any:
        try:
            pk, sk = json.loads(after)
        except (TypeError, ValueError) as error:
            detail = "after: expected the `next` of another page"
            raise BackendError(self.name, "connections", detail) from error
        return _key(pk, sk)

    def _scanned(self, answer: dict[str, Any], start: Any) -> Page:
        try:
            ids = tuple([item["pk"]["S"].removeprefix(_RECORDS) for item in answer["Items"]])
            last = answer.get("LastEvaluatedKey")
            if not last:
                return Page(ids, None)
            pk, sk = last["pk"]["S"], last["sk"]["S"]
            # Reading on from where this page began would never end.
            if _key(pk, sk) == start:
                raise ValueError("a page that does not go on")
            return Page(ids, json.dumps([pk, sk]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._not_dynamodb("connections") from error

    def _read_record(self, operation: str, item: Any) -> Record | None:
        if not item:
            return None
        try:
            record = Record(
                item["value"]["S"], item["version"]["S"], int(item[_TTL_ATTRIBUTE]["N"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._foreign(operation) from error
        return record if record.expires_at > self._clock() else None

    # Groups

    async def group_add(self, group: str, connection_id: str, expires_at: int) -> None:
        # The connection's own item first: who finds it can also end a membership cut off here.
        for key in (_joined_key(connection_id, group), _member_key(group, connection_id)):
            item = {**key, _TTL_ATTRIBUTE: {"N": str(expires_at)}}
            await self._call("group_add", "PutItem", {"Item": item})

    async def group_discard(self, group: str, connection_id: str) -> None:
        for key in (_member_key(group, connection_id), _joined_key(connection_id, group)):
            await self._call("group_discard", "DeleteItem", {"Key": key})

    async def group_members(
        self, group: str, *, limit: int = 1000, after: str | None = None
    ) -> Page:
        start = None if after is None else _member_key(group, after)
        rows, last = await self._query("group_members", f"group#{group}", start, limit)
        return Page(tuple([name for (name,) in rows]), last)

    async def groups(self, connection_id: str) -> tuple[str, ...]:
        found: list[str] = []
        start = None
        while True:
            rows, last = await self._query("groups", f"groups#{connection_id}", start)
            found += [name for (name,) in rows]
            if last is None:
                # DynamoDB sorts by UTF-8, which is the order of Python's texts.
                return tuple(found)
            start = _joined_key(connection_id, last)

    async def _query(
        self,
        operation: str,
        partition: str,
        start: Any,
        limit: int | None = None,
        attributes: Sequence[str] = ("sk",),
    ) -> tuple[list[tuple[str, ...]], str | None]:
        """Return those on one page that have not expired, and the last sort key that it read."""
        request = {
            "KeyConditionExpression": "pk = :pk",
            "FilterExpression": "#expires_at > :now",
            "ProjectionExpression": ",".join(f"#{name}" for name in attributes),
            "ExpressionAttributeNames": {
                f"#{name}": name for name in (_TTL_ATTRIBUTE, *attributes)
            },
            "ExpressionAttributeValues": {":pk": {"S": partition}, ":now": self._now()},
            "ConsistentRead": True,
        }
        if limit is not None:
            request["Limit"] = limit
        if start is not None:
            request["ExclusiveStartKey"] = start
        answer = await self._call(operation, "Query", request)
        try:
            rows = [tuple([item[name]["S"] for name in attributes]) for item in answer["Items"]]
            key = answer.get("LastEvaluatedKey")
            last = key["sk"]["S"] if key else None
            # Reading on from where this page began would never end.
            if last is not None and start is not None and last <= start["sk"]["S"]:
                raise ValueError("a page that does not go on")
            return rows, last
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_dynamodb(operation) from error

    # Journals

    async def append(self, connection_id: str, position: int, value: str, expires_at: int) -> bool:
        # That the entry before it is there could be checked too, but only in a transaction, which
        # costs four times as much.
        self._check_size("append", value)
        written = await self._call(
            "append",
            "PutItem",
            {
                "Item": {
                    **_entry_key(connection_id, position),
                    "value": {"S": value},
                    _TTL_ATTRIBUTE: {"N": str(expires_at)},
                },
                "ConditionExpression": "attribute_not_exists(pk) OR #expires_at <= :now",
                "ExpressionAttributeNames": {"#expires_at": _TTL_ATTRIBUTE},
                "ExpressionAttributeValues": {":now": self._now()},
            },
            repeatable=False,
            unless="ConditionalCheckFailedException",
        )
        return written is not _UNMET

    async def journal(self, connection_id: str, *, after: int = 0) -> tuple[str, ...]:
        entries: list[tuple[int, str]] = []
        start = _entry_key(connection_id, after) if after else None
        while True:
            rows, start = await self._journal_page("journal", connection_id, start, "value")
            try:
                entries += [(int(position), value) for position, value in rows]
            except ValueError as error:
                raise self._foreign("journal") from error
            if start is None:
                return self._contiguous(after, entries)

    async def drop_journal(self, connection_id: str) -> None:
        start = None
        while True:
            rows, start = await self._journal_page("drop_journal", connection_id, start)
            keys = [_key(f"journal#{connection_id}", position) for (position,) in rows]
            for first in range(0, len(keys), _DROP_WIDTH):
                await self._delete("drop_journal", keys[first : first + _DROP_WIDTH])
            if start is None:
                return

    async def _journal_page(
        self, operation: str, connection_id: str, start: Any, *attributes: str
    ) -> tuple[list[tuple[str, ...]], Any]:
        """Return the positions and attributes of some entries, and where to go on, if anywhere."""
        partition = f"journal#{connection_id}"
        rows, last = await self._query(operation, partition, start, attributes=("sk", *attributes))
        return rows, None if last is None else _key(partition, last)

    async def _delete(self, operation: str, keys: Sequence[Any]) -> None:
        """Delete some items at the same time."""
        deleting = (self._call(operation, "DeleteItem", {"Key": key}) for key in keys)
        for result in await asyncio.gather(*deleting, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _now(self) -> dict[str, str]:
        return {"N": str(int(self._clock()))}

    async def sweep(self) -> int:
        return 0

    # The table

    async def create(self) -> tuple[str, ...]:
        return (await self._create_table(), await self._expire_items())

    async def _create_table(self) -> str:
        made = await self._call(
            "create",
            "CreateTable",
            {
                "AttributeDefinitions": [
                    {"AttributeName": name, "AttributeType": "S"} for name, _ in _KEYS
                ],
                "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in _KEYS],
                "BillingMode": "PAY_PER_REQUEST",
            },
            unless="ResourceInUseException",
        )
        await self._wait_for_table()
        where = f"table {self._table} in {self._service.region}"
        return f"{where} is there already" if made is _UNMET else f"created {where}"

    async def _wait_for_table(self) -> None:
        until = time.monotonic() + _CREATE_TIMEOUT
        while (table := await self._describe_table()).get("TableStatus") != "ACTIVE":
            if time.monotonic() > until:
                status = table.get("TableStatus", "not to be seen")
                detail = f"the table is {status} after {_CREATE_TIMEOUT:.0f} s"
                raise BackendError(self.name, "create", detail)
            await asyncio.sleep(_CREATE_PAUSE)
        try:
            keys = [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]]
            types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}
        except (KeyError, TypeError) as error:
            raise self._not_dynamodb("create") from error
        if (
            not len(keys) == len(_KEYS)
            or not all(key in keys for key in _KEYS)
            or any(types.get(name) != "S" for name, _ in _KEYS)
        ):
            raise BackendError(self.name, "create", self._other_keys())

    async def _describe_table(self) -> dict[str, Any]:
        # For some seconds a new table may not be found.
        # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_DescribeTable.html
        answer = await self._call("create", "DescribeTable", {}, unless="ResourceNotFoundException")
        return _object(answer.get("Table"))

    async def _expire_items(self) -> str:
        answer = await self._call(
            "create", "DescribeTimeToLive", {}, unless="UnknownOperationException"
        )
        if answer is _UNMET:
            return _NO_TTL
        state = _object(answer.get("TimeToLiveDescription"))
        if state.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
            if state.get("AttributeName") == _TTL_ATTRIBUTE:
                return f"TTL on {_TTL_ATTRIBUTE} is on already"
            detail = f"the table's TTL is on another attribute than {_TTL_ATTRIBUTE}; turn it off"
            raise BackendError(self.name, "create", detail)
        # A server may know the question and not the command.
        turned = await self._call(
            "create",
            "UpdateTimeToLive",
            {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": _TTL_ATTRIBUTE}},
            unless="UnknownOperationException",
        )
        return _NO_TTL if turned is _UNMET else f"turned TTL on {_TTL_ATTRIBUTE} on"

    async def close(self) -> None:
        await self._service.close()

    # Requests

    async def _call(
        self,
        operation: str,
        action: str,
        request: dict[str, Any],
        *,
        repeatable: bool = True,
        unless: str | None = None,
    ) -> dict[str, Any]:
        """Ask DynamoDB; `_UNMET` when it refuses with the code `unless`."""
        headers = (
            ("Content-Type", "application/x-amz-json-1.0"),
            ("X-Amz-Target", f"DynamoDB_20120810.{action}"),
        )
        body = _encode({"TableName": self._table, **request}).encode()
        response = await self._service.request(
            operation, "POST", self._url, headers, body, repeatable=repeatable
        )
        if response.status != 200:
            if unless is not None and read_refusal(response).code == unless:
                return _UNMET
            raise self._refused(operation, response)
        try:
            answer = json.loads(response.body)
        except (ValueError, RecursionError) as error:
            raise self._not_dynamodb(operation) from error
        if not isinstance(answer, dict):
            raise self._not_dynamodb(operation)
        return answer

    def _refused(self, operation: str, response: Response) -> BackendError:
        code, message = read_refusal(response)
        if code == "ResourceNotFoundException":
            return BackendError(self.name, operation, self._no_table())
        if code == "ValidationException" and "Item size" in message:
            return RecordTooLargeError(self.name, operation, message)
        if code == "ValidationException" and any(text in message.lower() for text in _OTHER_KEYS):
            return BackendError(self.name, operation, f"{self._other_keys()} ({message})")
        return BackendError(self.name, operation, self._service.explain(response))

    def _no_table(self) -> str:
        command = self._service.init_command(table_name=self._table)
        where = f"{self._table} in {self._service.region}"
        return f"there is no table {where}; create it with: {command}"

    def _other_keys(self) -> str:
        return (
            f"the table {self._table} has other keys than the texts pk and sk, so it is not one "
            "of Longwire's; give another table_name"
        )

    def _foreign(self, operation: str) -> BackendError:
        detail = f"the table {self._table} has an item that is not one of Longwire's"
        return BackendError(self.name, operation, detail)

    def _not_dynamodb(self, operation: str) -> BackendError:
        detail = f"the answer is not one of DynamoDB: is something else at {self._url}?"
        return BackendError(self.name, operation, detail)


def _is_table(name: str) -> bool:
    if name.startswith("arn:"):
        return name.isascii() and name.isprintable() and " " not in name and 4 < len(name) <= 1004
    return 3 <= len(name) <= 255 and _OF_NAMES.issuperset(name)


def _region_of(table_name: str, region_name: str | None) -> str | None:
    """Return the region of an ARN, else the one that is given."""
    if not table_name.startswith("arn:"):
        return region_name
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    region = (table_name.split(":") + [""] * 4)[3]
    if not region or region_name not in (None, region):
        raise ConfigurationError(
            f"table_name: an ARN has the table's region in it, and region_name must be the same,"
            f" got {shown(table_name)}"
        )
    return region


# `dumps` would make one for each request.
_encode = json.JSONEncoder(separators=(",", ":")).encode

# What `_call` returns for the refusal that its caller expects.
_UNMET: dict[str, Any] = {}


def _record_key(connection_id: str) -> dict[str, Any]:
    return _key(_RECORDS + connection_id, _RECORD)


def _member_key(group: str, connection_id: str) -> dict[str, Any]:
    return _key(f"group#{group}", connection_id)


def _joined_key(connection_id: str, group: str) -> dict[str, Any]:
    return _key(f"groups#{connection_id}", group)


def _entry_key(connection_id: str, position: int) -> dict[str, Any]:
    return _key(f"journal#{connection_id}", f"{position:010}")


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _record(connection_id: str, value: str, version: str, expires_at: int) -> dict[str, Any]:
    return {
        **_record_key(connection_id),
        "value": {"S": value},
        "version": {"S": version},
        _TTL_ATTRIBUTE: {"N": str(expires_at)},
    }


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
