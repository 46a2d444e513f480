"""A model of one DynamoDB table: its items, its partitions' limits, and what requests cost.

Items have their keys' partition by a hash, and a new table on demand has four partitions. That a
busy one is split, and that unused capacity may be used later, is left out: it is worse here than
in truth.
"""

from __future__ import annotations

import bisect
import json
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from longwire_aws.http import Response
from tests.campaigns.scale import facts
from tests.campaigns.scale.bucket import Bucket, Peak, with_tail
from tests.campaigns.scale.gateway import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

Item = dict[str, Any]

_READ, _WRITTEN = 4096, 1024  # bytes of a unit
PARTITIONS = 4
_THROTTLED = {
    "__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException",
    "message": "Throughput exceeds the current capacity of your table or index.",
}
_UNMET = {
    "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
    "message": "The conditional request failed",
}


class _Collection:
    """The items of one partition key, without their keys."""

    __slots__ = ("_dirty", "_keys", "items")

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._keys: list[str] = []
        self._dirty = False

    def put(self, sk: str, item: Item) -> None:
        if sk not in self.items:
            self._dirty = True
        self.items[sk] = item

    def pop(self, sk: str) -> Item | None:
        item = self.items.pop(sk, None)
        if item is not None and not self._dirty:
            del self._keys[bisect.bisect_left(self._keys, sk)]
        return item

    def after(self, sk: str | None) -> tuple[list[str], int]:
        """Return all sort keys, in order, and the index of the first one behind this."""
        if self._dirty:
            self._keys, self._dirty = sorted(self.items), False
        return self._keys, 0 if sk is None else bisect.bisect_right(self._keys, sk)


class Table:
    """One table with the keys `pk` and `sk`, on demand.

    Attributes:
        requests: how many of each action there were.
        reads: read units that were charged.
        writes: write units that were charged.
        throttled: how many requests were refused as too many.
    """

    def __init__(
        self, random: Random, now: Callable[[], float], epoch: Callable[[], float]
    ) -> None:
        self.requests: Counter[str] = Counter()
        self.reads = self.writes = self.throttled = 0
        self.read_peak, self.write_peak = Peak(), Peak()
        self._reading = [
            Bucket(facts.PARTITION_READS.value, facts.PARTITION_READS.value)
            for _ in range(PARTITIONS)
        ]
        self._writing = [
            Bucket(facts.PARTITION_WRITES.value, facts.PARTITION_WRITES.value)
            for _ in range(PARTITIONS)
        ]
        self._collections: dict[str, _Collection] = {}
        self._order: list[str] | None = None
        self._random = random
        self._now = now
        self._epoch = epoch

    def fill(self, pk: str, sks: Iterable[str], item: Item) -> None:
        """Write the same item under many sort keys, as if it had been so for long."""
        collection = self._collection(pk)
        for sk in sks:
            collection.put(sk, item)

    def item(self, pk: str, sk: str) -> Item:
        """Return an item without its keys."""
        return self._collections[pk].items[sk]

    def count(self, pk: str) -> int:
        """Return how many items have this partition key."""
        found = self._collections.get(pk)
        return 0 if found is None else len(found.items)

    def request(self, action: str, body: bytes) -> Answer:
        """Answer one request."""
        self.requests[action] += 1
        answer, reads, writes, pk = getattr(self, f"_{action}")(json.loads(body))
        partition = zlib.crc32(pk.encode()) % PARTITIONS
        now = self._now()
        for units, buckets in ((reads, self._reading), (writes, self._writing)):
            if units and not buckets[partition].take(now, units):
                self.throttled += 1
                return self._answered(400, _THROTTLED)
        self.reads += reads
        self.writes += writes
        self.read_peak.add(now, reads)
        self.write_peak.add(now, writes)
        if callable(answer):
            answer = answer()
        return self._answered(400 if answer is _UNMET else 200, answer)

    def _answered(self, status: int, answer: Item) -> Answer:
        body = json.dumps(answer).encode()
        median = facts.STORE_TIME.value + facts.PAGE_TIME.value * len(body) / facts.PAGE.value
        return Answer(Response(status, {}, body), with_tail(self._random, median))

    def _collection(self, pk: str) -> _Collection:
        found = self._collections.get(pk)
        if found is None:
            found = self._collections[pk] = _Collection()
            self._order = None
        return found

    # Each returns the answer (or what makes it, once there is capacity), units, and where

    def _GetItem(self, request: Item) -> tuple[Any, int, int, str]:
        pk, sk = _keys(request["Key"])
        item = self._find(pk, sk)
        answer = {} if item is None else {"Item": {**item, **request["Key"]}}
        return answer, _units(_size(pk, sk, item or {}), _READ), 0, pk

    def _PutItem(self, request: Item) -> tuple[Any, int, int, str]:
        item = dict(request["Item"])
        pk, sk = _keys({"pk": item.pop("pk"), "sk": item.pop("sk")})
        units = _units(_size(pk, sk, item), _WRITTEN)

        def put() -> Item:
            if not self._is_met(request, self._find(pk, sk)):
                return _UNMET
            self._collection(pk).put(sk, item)
            return {}

        return put, 0, units, pk

    def _DeleteItem(self, request: Item) -> tuple[Any, int, int, str]:
        pk, sk = _keys(request["Key"])
        units = _units(_size(pk, sk, self._find(pk, sk) or {}), _WRITTEN)

        def delete() -> Item:
            collection = self._collections.get(pk)
            item = None if collection is None else collection.pop(sk)
            if collection is not None and not collection.items:
                del self._collections[pk]
                self._order = None
            if item is None or request.get("ReturnValues") != "ALL_OLD":
                return {}
            return {"Attributes": {**item, **request["Key"]}}

        return delete, 0, units, pk

    def _Query(self, request: Item) -> tuple[Any, int, int, str]:
        pk = request["ExpressionAttributeValues"][":pk"]["S"]
        start = request.get("ExclusiveStartKey")
        collection = self._collections.get(pk)
        if collection is None:
            return {"Items": []}, 1, 0, pk
        keys, at = collection.after(start and start["sk"]["S"])
        names = request["ExpressionAttributeNames"].values()
        wanted = [name for name in names if f"#{name}" in request["ProjectionExpression"]]
        items, size, last = [], 0, None
        for index in range(at, min(len(keys), at + request.get("Limit", len(keys)))):
            item, last = collection.items[keys[index]], keys[index]
            size += _size(pk, last, item)
            if self._lives(item):
                full = {**item, "pk": {"S": pk}, "sk": {"S": last}}
                items.append({name: full[name] for name in wanted if name in full})
            if size >= facts.PAGE.value:
                break
        answer: Item = {"Items": items}
        if last is not None and last != keys[-1]:
            answer["LastEvaluatedKey"] = {"pk": {"S": pk}, "sk": {"S": last}}
        return answer, _units(size, _READ), 0, pk

    def _Scan(self, request: Item) -> tuple[Any, int, int, str]:
        if self._order is None:  # by a hash, as DynamoDB does
            self._order = sorted(self._collections, key=lambda pk: (zlib.crc32(pk.encode()), pk))
        start = request.get("ExclusiveStartKey")
        at, after = 0, None
        if start:
            pk, after = _keys(start)
            place = (zlib.crc32(pk.encode()), pk)
            at = bisect.bisect_left(
                self._order, place, key=lambda pk: (zlib.crc32(pk.encode()), pk)
            )
            if at < len(self._order) and self._order[at] != pk:
                after = None
        items, size, left, last = [], 0, request["Limit"], None
        where = self._order[at] if at < len(self._order) else ""
        while at < len(self._order) and left:
            pk = self._order[at]
            keys, first = self._collections[pk].after(after)
            for sk in keys[first : first + left]:
                item, last, left = self._collections[pk].items[sk], _key(pk, sk), left - 1
                size += _size(pk, sk, item)
                if pk.startswith("connection#") and sk == "record" and self._lives(item):
                    items.append({"pk": {"S": pk}})
            after, at = None, at + 1
        answer: Item = {"Items": items}
        if last is not None and not left:
            answer["LastEvaluatedKey"] = last
        return answer, _units(size, _READ), 0, where

    def _find(self, pk: str, sk: str) -> Item | None:
        found = self._collections.get(pk)
        return None if found is None else found.items.get(sk)

    def _lives(self, item: Item) -> bool:
        return int(item["expires_at"]["N"]) > int(self._epoch())

    def _is_met(self, request: Item, item: Item | None) -> bool:
        """Judge the two conditions that the store uses."""
        condition = request.get("ConditionExpression", "")
        if not condition:
            return True
        if condition.startswith("attribute_not_exists"):
            return item is None or not self._lives(item)
        version = request["ExpressionAttributeValues"][":version"]
        return item is not None and item["version"] == version and self._lives(item)


def _key(pk: str, sk: str) -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _keys(key: Item) -> tuple[str, str]:
    return key["pk"]["S"], key["sk"]["S"]


def _size(pk: str, sk: str, item: Item) -> int:
    """Return the bytes of an item, as DynamoDB counts them."""
    size = len("pk") + len(pk) + len("sk") + len(sk)
    for name, value in item.items():
        text = value.get("S")
        size += len(name) + (len(text) if text is not None else len(value["N"]) // 2 + 2)
    return size


def _units(size: int, unit: int) -> int:
    return max(1, -(-size // unit))
