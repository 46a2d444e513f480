"""Finding and removing all that runs have made, this one and those before."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.live.account import PREFIX, TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.live.account import Account

# Seconds between two looks at a stack that is being deleted, and how many looks there are.
LOOK_EVERY, LOOKS = 10, 120


class Leftover(NamedTuple):
    """Something that a run has made."""

    kind: str
    name: str


def find(account: Account, prefix: str = PREFIX) -> list[Leftover]:
    """Return what is there, in the order in which it can be removed."""
    assert prefix.startswith(PREFIX)
    return [leftover for kind in _KINDS for leftover in _of_kind(account, kind, prefix)]


def remove(account: Account, prefix: str, tell: Callable[[str], None]) -> list[Leftover]:
    """Remove it all; return what is left, and tell why."""
    errors = importlib.import_module("botocore.exceptions")
    refused = (errors.ClientError, errors.BotoCoreError)
    left: list[Leftover] = []
    # Looked for anew for each kind: stacks take with them what is theirs.
    for kind in _KINDS:
        try:
            for leftover in _of_kind(account, kind, prefix):
                tell(f"removing {kind} {leftover.name}")
                try:
                    _KINDS[kind].remove(account, leftover.name)
                except refused as error:
                    tell(f"  not removed: {error}")
            left += _of_kind(account, kind, prefix)
        except refused as error:
            tell(f"cannot look for a {kind}: {error}")
            left.append(Leftover(kind, "(not known)"))
    return left


def _of_kind(account: Account, kind: str, prefix: str) -> list[Leftover]:
    return [
        Leftover(kind, name)
        # The stack of the extras before its own.
        for name in sorted(_KINDS[kind].names(account, prefix), reverse=True)
        if name.removeprefix("/aws/lambda/").startswith(prefix)
    ]


# A stack that another one's prefix names could be somebody's own: it must have the tag, too.


def _stacks(account: Account, prefix: str) -> Iterator[str]:
    pages = account.client("cloudformation").get_paginator("describe_stacks").paginate()
    for stack in (one for page in pages for one in page["Stacks"]):
        tags = {tag["Key"] for tag in stack.get("Tags", [])}
        if TAG in tags and stack["StackStatus"] != "DELETE_COMPLETE":
            yield stack["StackName"]


def _buckets(account: Account, prefix: str) -> Iterator[str]:
    client = account.client("s3")
    for bucket in client.list_buckets()["Buckets"]:
        if bucket["Name"].startswith(prefix) and _is_here(account, client, bucket["Name"]):
            yield bucket["Name"]


def _is_here(account: Account, client: Any, bucket: str) -> bool:
    # us-east-1 is called None.
    where = client.get_bucket_location(Bucket=bucket).get("LocationConstraint") or "us-east-1"
    return bool(where == account.region)


def _tables(account: Account, prefix: str) -> Iterator[str]:
    for page in account.client("dynamodb").get_paginator("list_tables").paginate():
        yield from page["TableNames"]


def _log_groups(account: Account, prefix: str) -> Iterator[str]:
    paginator = account.client("logs").get_paginator("describe_log_groups")
    for start in (f"/aws/lambda/{prefix}", prefix):
        for page in paginator.paginate(logGroupNamePrefix=start):
            yield from (group["logGroupName"] for group in page["logGroups"])


def _remove_stack(account: Account, name: str) -> None:
    client = account.client("cloudformation")
    client.delete_stack(StackName=name)
    waiting = {"Delay": 1 if account.endpoint else LOOK_EVERY, "MaxAttempts": LOOKS}
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=waiting)


def _remove_bucket(account: Account, name: str) -> None:
    client = account.client("s3")
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if listed:
            keys = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in listed]
            client.delete_objects(Bucket=name, Delete={"Objects": keys, "Quiet": True})
    client.delete_bucket(Bucket=name)


def _remove_table(account: Account, name: str) -> None:
    account.client("dynamodb").delete_table(TableName=name)


def _remove_log_group(account: Account, name: str) -> None:
    account.client("logs").delete_log_group(logGroupName=name)


class _Kind(NamedTuple):
    names: Callable[[Account, str], Iterator[str]]
    remove: Callable[[Account, str], None]


_KINDS = {
    "stack": _Kind(_stacks, _remove_stack),
    "bucket": _Kind(_buckets, _remove_bucket),
    "table": _Kind(_tables, _remove_table),
    "log group": _Kind(_log_groups, _remove_log_group),
}
