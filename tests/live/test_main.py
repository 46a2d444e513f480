"""`make live` asks before it makes anything, and says in one line what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import NUMBER, live, make_leftovers, without_aws
from tests.live.leftovers import find

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.account import Account

pytestmark = pytest.mark.slow


def test_it_does_nothing_unless_asked_to() -> None:
    code, said = live(without_aws())
    assert code == 2
    assert "make live LIVE=yes" in said


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "make live: no region: set AWS_REGION, for example AWS_REGION=eu-west-1\n"),
        (
            {"AWS_REGION": "eu-west-1"},
            "make live: no credentials: set AWS_PROFILE, or run `aws configure`\n",
        ),
        (
            {"AWS_REGION": "eu-west-1", "AWS_PROFILE": "work"},
            "make live: The config profile (work) could not be found\n",
        ),
    ],
)
def test_what_is_lacking_is_said_in_a_line(variables: dict[str, str], said: str) -> None:
    assert live({**without_aws(), "LIVE": "yes", **variables}) == (1, said)


def test_keys_that_are_refused_are_not_shown() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very-secret"}
    endpoint = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    environ = {**without_aws(), "LIVE": "yes", "AWS_REGION": "eu-west-1", **keys, **endpoint}
    code, said = live(environ)
    assert code == 1
    assert said.startswith("make live: AWS does not say whose credentials these are: ")
    assert "secret" not in said
    assert "AKIA" not in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--frameworks", "plain,flask"], "--frameworks: flask: expected some of plain,"),
        (["--only", "posts"], "--only: posts: expected some of posting,"),
        (["--json", "nowhere/at/all.json"], "there is no folder"),
        (["--python", "3"], "--python: expected one of 3.11,"),
    ],
)
def test_wrong_options(options: list[str], said: str) -> None:
    code, printed = live({**without_aws(), "LIVE": "yes"}, *options)
    assert code == 2
    assert said in printed


def test_subnets_need_security_groups(environ: dict[str, str]) -> None:
    code, said = live(environ, "--managed-subnets", "subnet-1")
    assert code == 1
    assert said.endswith("--managed-subnets and --managed-security-groups go together\n")


@pytest.mark.parametrize("typed", ["", "yes\n", "000000000001\n"])
def test_nothing_is_created_without_the_number(
    environ: dict[str, str], account: Account, typed: str
) -> None:
    """What would be, where and for how much is said."""
    code, said = live(environ, said=typed)
    assert code == 1
    assert f"In account {NUMBER}, region us-east-1, an emulator at" in said
    assert "stacks longwire-live-" in said
    assert " in all\n" in said
    assert said.endswith("nothing was created\n")
    assert find(account) == []


def test_leftovers_are_removed_if_the_number_is_typed(
    environ: dict[str, str], account: Account, tmp_path: Path
) -> None:
    assert live(environ, "--clean") == (0, "nothing is left in us-east-1\n")
    make_leftovers(account, "longwire-live-0d", tmp_path)
    code, said = live(environ, "--clean", said="no\n")
    assert code == 1
    assert "  stack longwire-live-0d\n" in said
    assert len(find(account)) == 5
    code, said = live(environ, "--clean", said=f"{NUMBER}\n")
    assert code == 0
    assert find(account) == []
