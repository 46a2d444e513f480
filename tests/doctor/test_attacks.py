"""Templates that somebody has made to take all of the time or the memory, and odd numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from longwire.doctor.documents import read_document
from longwire.doctor.intrinsics import Resolver
from longwire.doctor.values import MOST_TEXT, UNKNOWN, Ref, Text, matches, parts_of
from tests.doctor.stacks import changed, codes_of, findings_of

if TYPE_CHECKING:
    from longwire.doctor.values import Value

MANY = 60


def test_a_pattern_of_many_stars_fails_at_once() -> None:
    assert matches("*a" * 30 + "b", "a" * 300) is False
    assert matches(Text((Ref("P", open=True), "*a" * 30, "b")), "a" * 300) is False


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        ("a*", True),
        ("*c", True),
        ("a?c*c", True),
        ("*b*c*c", True),
        ("**c**", True),
        ("abcbc", True),
        ("a*b", False),
        ("*c*c*c", False),
        ("?abcbc", False),
        ("a.c*", False),
    ],
)
def test_stars_and_question_marks_are_those_of_iam(pattern: str, fits: bool) -> None:
    assert matches(pattern, "abcbc") is fits


def test_names_that_double_each_other_do_not_fill_the_memory() -> None:
    resources: dict[str, Any] = {
        f"T{n}": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {"TableName": {"Fn::Sub": f"${{T{n + 1}}}${{T{n + 1}}}"}},
        }
        for n in range(MANY)
    }
    assert len(parts_of(Resolver({"Resources": resources}).reference("T0", ""))) <= MOST_TEXT


def test_nor_do_texts_of_json_in_texts_of_json() -> None:
    value: Value = '"'
    for _ in range(MANY):
        value = {"Fn::ToJsonString": value}
    assert Resolver({}).resolve(value) is UNKNOWN


def test_each_condition_is_asked_once() -> None:
    conditions: dict[str, Any] = {
        f"C{n}": {"Fn::And": [{"Condition": f"C{n + 1}"}] * 2} for n in range(MANY)
    }
    conditions[f"C{MANY}"] = {"Fn::Equals": ["a", "a"]}
    assert Resolver({"Conditions": conditions}).condition("C0") is True


@pytest.mark.parametrize("number", ["1" * 5000, "0x" + "f" * 5000, "1" + ":59" * 50_000])
def test_a_number_of_many_digits_is_a_text(number: str) -> None:
    assert read_document(f"Timeout: {number}\n", "a.yaml").value == {"Timeout": number}
    if number.isdigit():
        assert read_document(f'{{"Timeout": {number}}}', "a.json").value == {"Timeout": number}


def test_variables_that_all_functions_have_make_no_authorizer_ours() -> None:
    """`Globals` of SAM give them to all: to authorizers, and to functions of other languages."""
    template = changed({})
    resources = template["Resources"]
    variables = {"Variables": {"LONGWIRE_DSN": "dynamodb://somewhere"}}
    for name, runtime in (("Auth", "python3.13"), ("Report", "nodejs22.x")):
        resources[f"{name}Role"] = {"Type": "AWS::IAM::Role", "Properties": {}}
        resources[name] = {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": runtime,
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": [f"{name}Role", "Arn"]},
                "Environment": variables,
            },
        }
    api = next(n for n, one in resources.items() if one["Type"] == "AWS::ApiGatewayV2::Api")
    resources["Authorizer"] = {
        "Type": "AWS::ApiGatewayV2::Authorizer",
        "Properties": {
            "ApiId": {"Ref": api},
            "AuthorizerType": "REQUEST",
            "IdentitySource": ["route.request.querystring.token"],
            "AuthorizerUri": {
                "Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/"
                "functions/${Auth.Arn}/invocations"
            },
        },
    }
    assert codes_of(template) == {"authorizer-unused"}
    named = {one.resource for one in findings_of(template, "Auth")}
    assert "AuthRole" in named
