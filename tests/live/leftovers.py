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
    return [
        Leftover(kind, name)
        for kind, names in (
            ("stack", _stacks(account)),
            ("bucket", _buckets(account)),
            ("table", _tables(account)),
            ("log group", _log_groups(account, prefix)),
        )
        for name in sorted(names, reverse=True)  # the stack of the extras before its own
        if name.removeprefix("/aws/lambda/").startswith(prefix)
    ]


def remove(account: Account, prefix: str, tell: Callable[[str], None]) -> list[Leftover]:
    """Remove it all; return what is left, and tell why."""
    errors = importlib.import_module("botocore.exceptions")
    for kind, remove_one in _REMOVE.items():
        # Anew for each kind: stacks take with them what is theirs.
        for leftover in find(account, prefix):
            if leftover.kind == kind:
                tell(f"removing {kind} {leftover.name}")
                try:
                    remove_one(account, leftover.name)
                except (errors.ClientError, errors.BotoCoreError) as error:
                    tell(f"  not removed: {error}")
    return find(account, prefix)


# A stack that another one's prefix names could be somebody's own: it must have the tag, too.


def _stacks(account: Account) -> Iterator[str]:
    pages = account.client("cloudformation").get_paginator("describe_stacks").paginate()
    for stack in (one for page in pages for one in page["Stacks"]):
        tags = {tag["Key"] for tag in stack.get("Tags", [])}
        if TAG in tags and stack["StackStatus"] != "DELETE_COMPLETE":
            yield stack["StackName"]


def _buckets(account: Account) -> Iterator[str]:
    client = account.client("s3")
    for bucket in client.list_buckets()["Buckets"]:
        if bucket["Name"].startswith(PREFIX) and _is_here(account, client, bucket["Name"]):
            yield bucket["Name"]


def _is_here(account: Account, client: Any, bucket: str) -> bool:
    # us-east-1 is called None.
    where = client.get_bucket_location(Bucket=bucket).get("LocationConstraint") or "us-east-1"
    return bool(where == account.region)


def _tables(account: Account) -> Iterator[str]:
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


_REMOVE = {
    "stack": _remove_stack,
    "bucket": _remove_bucket,
    "table": _remove_table,
    "log group": _remove_log_group,
}
