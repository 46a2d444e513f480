"""What runs leave is found and removed, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import make_leftovers
from tests.live.leftovers import Leftover, find, remove

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.account import Account

pytestmark = pytest.mark.slow

KINDS = ["stack", "bucket", "table", "log group", "log group"]


def test_all_of_a_run_is_removed_and_nothing_else(account: Account, tmp_path: Path) -> None:
    """Not what another run has made, nor what is somebody's own."""
    for name in ("longwire-live-0a", "longwire-live-0b"):
        make_leftovers(account, name, tmp_path)
    stacks = account.client("cloudformation")
    body = '{"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}'
    stacks.create_stack(StackName="longwire-live-0a-of-mine", TemplateBody=body)  # without the tag
    account.client("s3").create_bucket(Bucket="live-longwire")
    assert [leftover.kind for leftover in find(account, "longwire-live-0a")] == KINDS
    told: list[str] = []
    assert remove(account, "longwire-live-0a", told.append) == []
    assert len(told) == len(KINDS)
    assert [leftover.kind for leftover in find(account)] == KINDS
    assert remove(account, "longwire-live-", told.append) == []
    names = [stack["StackName"] for stack in stacks.describe_stacks()["Stacks"]]
    assert "longwire-live-0a-of-mine" in names
    buckets = [bucket["Name"] for bucket in account.client("s3").list_buckets()["Buckets"]]
    assert buckets == ["live-longwire"]


def test_what_cannot_be_removed_is_said_and_the_rest_goes(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_leftovers(account, "longwire-live-0c", tmp_path)
    with monkeypatch.context() as patch:
        # As without the permission.
        patch.setattr(account.client("dynamodb"), "delete_table", _denied)
        told: list[str] = []
        left = remove(account, "longwire-live-0c", told.append)
    assert left == [Leftover("table", "longwire-live-0c-Connections-1")]
    assert "  not removed: An error occurred (AccessDeniedException)" in "\n".join(told)
    assert remove(account, "longwire-live-0c", told.append) == []


def test_what_cannot_be_listed_is_said_and_the_rest_goes(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_leftovers(account, "longwire-live-0e", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(account.client("s3"), "list_buckets", _denied)
        told: list[str] = []
        left = remove(account, "longwire-live-0e", told.append)
    assert left == [Leftover("bucket", "(not known)")]
    assert "cannot look for a bucket: An error occurred (AccessDenied" in "\n".join(told)
    assert remove(account, "longwire-live-0e", told.append) == []


def _denied(**arguments: object) -> None:
    from botocore.exceptions import ClientError

    error = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
    raise ClientError(error, "DeleteTable")


def test_no_other_prefix_is_searched(account: Account) -> None:
    with pytest.raises(AssertionError):
        find(account, "")
