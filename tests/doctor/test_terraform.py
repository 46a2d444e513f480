"""Plans and states of Terraform. `plan.json` is what it made of `good.tf`, less what is unread."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from longwire.doctor.diagnosis import diagnose
from longwire.doctor.documents import read_document
from longwire.doctor.modelling import stack_of
from longwire.doctor.terraform import read
from tests.doctor.stacks import TEMPLATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from longwire.doctor.findings import Finding

TEXT = (TEMPLATES / "plan.json").read_text(encoding="utf-8")
PLAN: dict[str, Any] = json.loads(TEXT)
FUNCTION = "aws_lambda_function.chat"


def findings(plan: dict[str, Any], *named: str) -> list[Finding]:
    return diagnose(stack_of(read(plan, {}, None)), named)


def codes(plan: dict[str, Any]) -> set[str]:
    return {one.code for one in findings(plan, FUNCTION)}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    plan = copy.deepcopy(PLAN)
    change(plan)
    return plan


def values(plan: dict[str, Any], address: str) -> dict[str, Any]:
    resources = plan["planned_values"]["root_module"]["resources"]
    found: dict[str, Any] = next(one["values"] for one in resources if one["address"] == address)
    return found


def expressions(plan: dict[str, Any], address: str) -> dict[str, Any]:
    resources = plan["configuration"]["root_module"]["resources"]
    found: dict[str, Any] = next(
        one["expressions"] for one in resources if one["address"] == address
    )
    return found


def without(plan: dict[str, Any], address: str) -> None:
    module = plan["planned_values"]["root_module"]
    module["resources"] = [one for one in module["resources"] if one["address"] != address]


def test_a_good_plan_has_no_finding() -> None:
    assert findings(PLAN, FUNCTION) == []


def test_an_environment_that_is_hidden_is_said_to_be() -> None:
    (one,) = findings(PLAN)
    assert one.code == "not-ours"
    assert "known only when it is deployed" in one.message


TABLE = "aws_dynamodb_table.connections"
STATEMENTS = "data.aws_iam_policy_document.chat"
MISTAKES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("route-missing", lambda plan: without(plan, 'aws_apigatewayv2_route.all["$default"]')),
    ("invoke-permission", lambda plan: without(plan, "aws_lambda_permission.api")),
    ("sweep-permission", lambda plan: without(plan, "aws_lambda_permission.sweep")),
    (
        "stage-not-deployed",
        lambda p: values(p, "aws_apigatewayv2_stage.prod").update(auto_deploy=False),
    ),
    ("table-keys", lambda plan: values(plan, TABLE).update(range_key="id")),
    ("table-ttl", lambda plan: values(plan, TABLE)["ttl"][0].update(attribute_name="ttl")),
    (
        "table-ttl",
        lambda plan: (values(plan, TABLE).pop("ttl"), expressions(plan, TABLE).pop("ttl")),
    ),
    ("timeout-short", lambda plan: values(plan, FUNCTION).update(timeout=3)),
    ("memory-small", lambda plan: values(plan, FUNCTION).update(memory_size=128)),
    ("sweep-input", lambda p: values(p, "aws_cloudwatch_event_target.sweep").update(input="{}")),
    (
        "visibility-timeout",
        lambda p: values(p, "aws_sqs_queue.fanout").update(visibility_timeout_seconds=30),
    ),
    (
        "batch-failures",
        lambda p: values(p, "aws_lambda_event_source_mapping.fanout").update(
            function_response_types=[]
        ),
    ),
    ("queue-unread", lambda plan: without(plan, "aws_lambda_event_source_mapping.fanout")),
    ("log-permission", lambda plan: without(plan, "aws_iam_role_policy_attachment.logs")),
    (
        "manage-connections",
        lambda p: expressions(p, STATEMENTS)["statement"][0]["actions"].update(
            constant_value=["s3:*"]
        ),
    ),
    (
        "scan-permission",
        lambda p: expressions(p, STATEMENTS)["statement"][1]["actions"]["constant_value"].pop(),
    ),
]


@pytest.mark.parametrize(("code", "change"), MISTAKES)
def test_a_mistake_is_found(code: str, change: Callable[[dict[str, Any]], object]) -> None:
    assert codes(changed(change)) - {"permission-wide"} == {code}


def test_a_table_that_nothing_refers_to_is_not_judged() -> None:
    def change(plan: dict[str, Any]) -> None:
        expressions(plan, FUNCTION)["environment"][0]["variables"]["references"].clear()
        values(plan, TABLE).update(range_key="id")

    assert codes(changed(change)) == set()


def test_a_policy_that_is_text_is_not_judged() -> None:
    def change(plan: dict[str, Any]) -> None:
        policy = {
            "references": ["aws_apigatewayv2_api.ws.execution_arn", "aws_apigatewayv2_api.ws"]
        }
        expressions(plan, "aws_iam_role_policy.chat")["policy"] = policy

    assert codes(changed(change)) == set()


# A state has all values.


ARN = "arn:aws:lambda:eu-west-1:123456789012:function:chat"
POLICY = {
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "execute-api:ManageConnections",
            "Resource": "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod/*/@*",
        },
        {
            "Effect": "Allow",
            "Action": ["dynamodb:*Item", "dynamodb:Query", "dynamodb:Scan"],
            "Resource": "arn:aws:dynamodb:eu-west-1:123456789012:table/connections",
        },
    ]
}


def state(module: bool = False, **changes: Any) -> dict[str, Any]:
    """Return a state, maybe with all of it in a module."""
    integration = {"api_id": "a1b2c3d4e5", "id": "int1", "integration_type": "AWS_PROXY"}
    uri = f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{ARN}/invocations"
    resources: dict[str, dict[str, Any]] = {
        "aws_apigatewayv2_api.ws": {"id": "a1b2c3d4e5", "protocol_type": "WEBSOCKET"},
        "aws_apigatewayv2_integration.all": {**integration, "integration_uri": uri},
        "aws_apigatewayv2_stage.prod": {
            "id": "prod",
            "api_id": "a1b2c3d4e5",
            "name": "prod",
            "auto_deploy": True,
        },
        "aws_lambda_function.chat": {
            "id": "chat",
            "function_name": "chat",
            "runtime": "python3.13",
            "timeout": 29,
            "memory_size": 512,
            "reserved_concurrent_executions": -1,
            "role": "arn:aws:iam::123456789012:role/service/chat",
            "environment": [{"variables": {"LONGWIRE_DSN": "dynamodb://connections"}}],
        },
        "aws_iam_role.chat": {
            "id": "chat",
            "name": "chat",
            "inline_policy": [{"name": "all", "policy": json.dumps(POLICY)}],
            "managed_policy_arns": [
                "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
            ],
        },
        "aws_dynamodb_table.connections": {
            "id": "connections",
            "name": "connections",
            "hash_key": "pk",
            "range_key": "sk",
            "billing_mode": "PAY_PER_REQUEST",
            "attribute": [{"name": "sk", "type": "S"}, {"name": "pk", "type": "S"}],
            "ttl": [{"attribute_name": "expires_at", "enabled": True}],
        },
        "aws_lambda_permission.api": {
            "function_name": "chat",
            "principal": "apigateway.amazonaws.com",
            "source_arn": "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/*",
        },
    }
    for key in ("connect", "disconnect", "default"):
        route = {"id": key, "api_id": "a1b2c3d4e5", "route_key": f"${key}"}
        resources[f"aws_apigatewayv2_route.{key}"] = {**route, "target": "integrations/int1"}
    for address, value in changes.items():
        resources[address.replace("__", ".")].update(value)
    listed = [
        {"address": address, "mode": "managed", "type": type_, "name": name, "values": found}
        for address, found in resources.items()
        for type_, name in [address.split(".")]
    ]
    root: dict[str, Any] = {"resources": listed}
    if module:
        inner = {"address": 'module.chat["a"]', "resources": listed}
        root = {"child_modules": [{"address": "module.all", "child_modules": [inner]}]}
    return {"format_version": "1.0", "terraform_version": "1.11.4", "values": {"root_module": root}}


def test_a_variable_that_is_sensitive_is_no_secret_in_clear() -> None:
    """A state shows all of them."""
    environment = [{"variables": {"LONGWIRE_DSN": "rediss://u:secret@redis.example.com"}}]
    shown = state(aws_lambda_function__chat={"environment": environment})
    assert {one.code for one in findings(shown)} == {"secret-in-clear"}
    for one in shown["values"]["root_module"]["resources"]:
        one["sensitive_values"] = {"environment": [{"variables": {"LONGWIRE_DSN": True}}]}
    assert findings(shown) == []


@pytest.mark.parametrize("module", [False, True])
def test_a_good_state_has_no_finding(module: bool) -> None:
    assert findings(state(module)) == []


STATES: list[tuple[str, dict[str, Any]]] = [
    ("store-region", {"aws_lambda_function__chat": {
        "environment": [{"variables": {"LONGWIRE_DSN": "dynamodb://connections?region=us-east-1"}}]}}),
    ("reserved-concurrency", {"aws_lambda_function__chat": {"reserved_concurrent_executions": 0}}),
    ("manage-connections-arn", {"aws_iam_role__chat": {"inline_policy": [
        {"name": "all", "policy": json.dumps(POLICY).replace("prod/*/@", "dev/*/@")}]}}),
    ("store-local", {"aws_lambda_function__chat": {
        "environment": [{"variables": {"LONGWIRE_DSN": "memory://"}}]}}),
    ("integration-type", {"aws_apigatewayv2_integration__all": {"integration_type": "AWS"}}),
    ("authorizer-type", {"aws_apigatewayv2_route__connect": {"authorization_type": "JWT"}}),
    ("execute-api-disabled", {"aws_apigatewayv2_api__ws": {"disable_execute_api_endpoint": True}}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "changes"), STATES)
def test_a_mistake_in_a_state_is_found(code: str, changes: dict[str, Any]) -> None:
    shown = state(False, **changes)
    region = {"expressions": {"region": {"constant_value": "eu-west-1"}}}
    shown["configuration"] = {"provider_config": {"aws": region}}
    assert {one.code for one in findings(shown)} == {code}


def test_a_plan_of_several_lines_has_lines() -> None:
    text = TEXT.replace('"timeout": 29', '"timeout": 3')
    document = read_document(text, "plan.json")
    found = diagnose(stack_of(read(document.value, document.lines, None)), [FUNCTION])
    (one,) = found
    assert one.line is not None
    assert '"timeout": 3' in text.splitlines()[one.line - 1]


@pytest.mark.parametrize(
    "shown",
    [
        {"format_version": "1.0", "values": None},
        {"format_version": "1.0", "values": {"root_module": {"resources": [None, 1, {}]}}},
        {"format_version": "1.0", "planned_values": {"root_module": {"child_modules": [[]]}}},
        {"format_version": "1.0", "planned_values": {}, "configuration": {"root_module": []}},
    ],
)
def test_what_terraform_never_prints_is_no_crash(shown: dict[str, Any]) -> None:
    assert {one.code for one in findings(shown)} == {"nothing-here"}
