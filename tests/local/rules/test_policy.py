"""What a policy allows: effects, lists, wildcards, and what is not a policy."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from longwire.local.rules.policy import PolicyError, evaluate

ARN = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod/$connect"
INVOKE = "execute-api:Invoke"
STRINGS = "expected a string or a list of strings"


def statement(effect: str = "Allow", action: Any = INVOKE, resource: Any = ARN) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource}


def policy(*statements: object) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


@pytest.mark.parametrize(
    ("document", "effect"),
    [
        (policy(statement()), "Allow"),
        (policy(statement("Deny")), "Deny"),
        ({"Statement": statement()}, "Allow"),
        (policy(), None),
        (policy(statement(), statement("Deny")), "Deny"),
        (policy(statement("Deny"), statement()), "Deny"),
        (policy(statement("Deny", resource="arn:other"), statement()), "Allow"),
        (policy(statement(resource="arn:other"), statement(action="s3:*")), None),
        (policy(statement(action=["s3:GetObject", INVOKE])), "Allow"),
        (policy(statement(resource=["arn:other", ARN])), "Allow"),
        (policy(statement() | {"Sid": "x"}), "Allow"),
        (policy({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}), "Allow"),
        (policy({"Effect": "Allow", "NotAction": ["s3:*", INVOKE], "Resource": "*"}), None),
        (policy({"Effect": "Deny", "Action": "*", "NotResource": ARN}, statement()), "Allow"),
    ],
)
def test_deny_wins_and_silence_is_not_consent(document: object, effect: str | None) -> None:
    """One statement or a list of them, each about one thing or a list of them."""
    assert evaluate(document, INVOKE, ARN) == effect


@pytest.mark.parametrize(
    ("action", "matches"),
    [
        ("*", True),
        ("execute-api:*", True),
        ("execute-api:Inv*", True),
        ("execute-api:Invok?", True),
        ("EXECUTE-API:invoke", True),
        ("execute-api:Invoke?", False),
        ("execute-api:ManageConnections", False),
        ("execute-api", False),
        ("execute-api:[I]nvoke", False),
    ],
)
def test_actions_have_wildcards_and_no_case(action: str, matches: bool) -> None:
    """As IAM compares them."""
    document = policy(statement(action=action))
    assert evaluate(document, INVOKE, ARN) == ("Allow" if matches else None)


@pytest.mark.parametrize(
    ("resource", "matches"),
    [
        ("*", True),
        ("arn:aws:execute-api:*:*:*", True),
        ("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/*", True),
        ("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/*/$connect", True),
        ("arn:aws:execute-api:eu-west-1:123456789012:??????????/prod/$connect", True),
        ("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/test/*", False),
        ("arn:aws:execute-api:us-east-1:*", False),
        (ARN.upper(), False),
        (ARN + "x", False),
        ("x" + ARN, False),
        (ARN.replace("a1b2", ".{4}"), False),
    ],
)
def test_resources_have_wildcards_and_case(resource: str, matches: bool) -> None:
    """A star takes slashes, too; nothing else is special."""
    document = policy(statement(resource=resource))
    assert evaluate(document, INVOKE, ARN) == ("Allow" if matches else None)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (None, "policyDocument: expected an object, got NoneType"),
        ("{}", "policyDocument: expected an object, got str"),
        ({}, "Statement[0]: expected an object, got NoneType"),
        (policy(statement(), "Allow"), "Statement[1]: expected an object, got str"),
        (policy(statement("allow")), 'Statement[0].Effect: expected "Allow" or "Deny"'),
        (
            policy({"Action": "*", "Resource": "*"}),
            'Statement[0].Effect: expected "Allow" or "Deny"',
        ),
        (
            policy({"Effect": "Allow", "Resource": "*"}),
            "Statement[0]: expected either Action or NotAction",
        ),
        (
            policy({"Effect": "Allow", "Action": "*"}),
            "Statement[0]: expected either Resource or NotResource",
        ),
        (
            policy(statement() | {"NotAction": "*"}),
            "Statement[0]: expected either Action or NotAction",
        ),
        (policy(statement(action=[])), f"Statement[0].Action: {STRINGS}"),
        (policy(statement(resource=["*", 1])), f"Statement[0].Resource: {STRINGS}"),
        (policy(statement(resource=None)), f"Statement[0].Resource: {STRINGS}"),
        (
            policy(statement() | {"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.7"}}}),
            "Statement[0].Condition: conditions are not evaluated here",
        ),
    ],
)
def test_what_is_not_a_policy_is_said(document: object, text: str) -> None:
    """Also where another statement would have decided."""
    with pytest.raises(PolicyError) as caught:
        evaluate(document, INVOKE, ARN)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "pattern", ["*" * 40 + "x", "*:" * 40 + "x", "*?" * 40 + "x", "*a" * 400 + "b"]
)
def test_many_stars_are_no_work(pattern: str) -> None:
    """With each of them tried at each place, the first would not end in this universe."""
    assert evaluate(policy(statement(resource=pattern)), INVOKE, ARN) is None
    assert evaluate(policy(statement(resource=pattern)), INVOKE, "a" * 2000) is None
    assert evaluate(policy(statement(resource=pattern + "*")), INVOKE, pattern) == "Allow"


def test_stars_match_as_in_a_regular_expression() -> None:
    """Every pattern of four characters on every text of up to four."""
    texts = ["".join(text) for n in range(5) for text in itertools.product("ab", repeat=n)]
    for characters in itertools.product("a*?", repeat=4):
        pattern = "".join(characters)
        document = policy(statement(resource=pattern))
        regular = re.compile(pattern.replace("*", ".*").replace("?", "."))
        allowed = [text for text in texts if evaluate(document, INVOKE, text) == "Allow"]
        assert allowed == [text for text in texts if regular.fullmatch(text)]
