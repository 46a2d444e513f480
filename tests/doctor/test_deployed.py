"""Stacks that are really deployed, to ministack; and what AWS refuses."""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from longwire.cli.main import main
from longwire.doctor.deployed import Looked, read
from longwire.doctor.diagnosis import diagnose_deployed
from longwire.doctor.documents import UnreadableError
from tests.doctor.refusing import refusing
from tests.doctor.stacks import GONE, changed
from tests.servers.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

pytest.importorskip("ministack")
boto3: Any = pytest.importorskip("boto3")

REGION = "us-east-1"
_names = (f"chat{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """All of ministack: the one that other tests share has three services."""
    environ = {"GATEWAY_PORT": "{port}", "LOG_LEVEL": "ERROR"}
    server = ServerProcess([sys.executable, "-m", "ministack"], environ)
    server.start()
    yield server.url
    server.close()


@pytest.fixture(autouse=True)
def _environment(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def client(aws: str, service: str) -> Any:
    return boto3.client(service, region_name=REGION, endpoint_url=aws)


def deploy(aws: str, changes: dict[str, Any]) -> str:
    """Deploy the good stack with changes, and the TTL that ministack leaves out."""
    name, stacks = next(_names), client(aws, "cloudformation")
    body = json.dumps(changed(changes))
    stacks.create_stack(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_IAM"])
    until = time.monotonic() + 60
    while "PROGRESS" in (status := _status(stacks, name)):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert status == "CREATE_COMPLETE"
    table = physical(aws, name, "Table")
    said = changed(changes)["Resources"]["Table"]["Properties"].get("TimeToLiveSpecification")
    if said is not None:
        client(aws, "dynamodb").update_time_to_live(TableName=table, TimeToLiveSpecification=said)
    return name


def _status(stacks: Any, name: str) -> str:
    status: str = stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    return status


def physical(aws: str, stack: str, logical: str) -> str:
    found = client(aws, "cloudformation").describe_stack_resource(
        StackName=stack, LogicalResourceId=logical
    )
    id_: str = found["StackResourceDetail"]["PhysicalResourceId"]
    return id_


def codes(looked: Looked) -> set[str]:
    return {one.code for one in diagnose_deployed(looked)}


@pytest.fixture(scope="module")
def good(aws: str) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret")
        yield deploy(aws, {})


def test_a_good_stack_has_no_finding(good: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--stack", good]) == 0
    assert capsys.readouterr().out == "nothing found\n"


VARIABLES = "Function/Properties/Environment/Variables/"
STATEMENTS = "Policy/Properties/PolicyDocument/Statement/"
MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("route-missing", {"Default": GONE}),
    ("manage-connections", {STATEMENTS + "0": GONE}),
    (
        "manage-connections-arn",
        {STATEMENTS + "0/Resource": {"Fn::Sub": "arn:aws:execute-api:*:*:${Api}/dev/*"}},
    ),
    ("scan-permission", {STATEMENTS + "1/Action/4": GONE}),
    (
        "table-keys",
        {
            "Table/Properties/KeySchema/1/AttributeName": "id",
            "Table/Properties/AttributeDefinitions/1/AttributeName": "id",
        },
    ),
    ("table-ttl", {"Table/Properties/TimeToLiveSpecification/AttributeName": "ttl"}),
    ("timeout-short", {"Function/Properties/Timeout": 3}),
    ("sweep-endpoint", {VARIABLES + "WS_MANAGEMENT_ENDPOINT": GONE}),
    ("sweep-input", {"Sweep/Properties/Targets/0/Input": "{}"}),
    ("batch-failures", {"Parts/Properties/FunctionResponseTypes": GONE}),
    ("visibility-timeout", {"Fanout/Properties/VisibilityTimeout": 60}),
    ("dead-letters", {"Fanout/Properties/RedrivePolicy": GONE}),
    ("invoke-permission", {"ApiPermission": GONE}),
    ("store-missing", {VARIABLES + "LONGWIRE_DSN": "dynamodb://connections"}),
]


@pytest.mark.parametrize(("code", "changes"), MISTAKES)
def test_a_mistake_is_found(aws: str, code: str, changes: dict[str, Any]) -> None:
    assert code in codes(read(deploy(aws, changes), None))


def test_what_somebody_did_by_hand_is_found(aws: str) -> None:
    """The template is good; what is deployed is not."""
    name = deploy(aws, {})
    function = physical(aws, name, "Function")
    client(aws, "lambda").update_function_configuration(FunctionName=function, Timeout=3)
    table = physical(aws, name, "Table")
    off = {"AttributeName": "expires_at", "Enabled": False}
    client(aws, "dynamodb").update_time_to_live(TableName=table, TimeToLiveSpecification=off)
    dead = physical(aws, name, "Dead")
    client(aws, "sqs").send_message(QueueUrl=dead, MessageBody="a part")
    assert codes(read(name, None)) == {"timeout-short", "table-ttl", "dead-letters-waiting"}


def test_a_table_outside_the_stack_is_looked_at(aws: str) -> None:
    client(aws, "dynamodb").create_table(
        TableName="outside",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    found = codes(read(deploy(aws, {VARIABLES + "LONGWIRE_DSN": "dynamodb://outside"}), None))
    assert {"table-keys", "table-ttl", "store-permission"} <= found
    assert "store-missing" not in found


# What is refused


REFUSED = {
    "GetFunctionConfiguration": ("/configuration", "lambda:GetFunctionConfiguration"),
    "GetPolicy": ("/policy", "lambda:GetPolicy"),
    "DescribeTimeToLive": (".DescribeTimeToLive", "dynamodb:DescribeTimeToLive"),
    "DescribeTable": (".DescribeTable", "dynamodb:DescribeTable"),
    "GetQueueAttributes": ("GetQueueAttributes", "sqs:GetQueueAttributes"),
    "ListRolePolicies": ("Action=ListRolePolicies", "iam:ListRolePolicies"),
    "GetRolePolicy": ("Action=GetRolePolicy", "iam:GetRolePolicy"),
    "GetRoutes": ("/routes", "apigateway:GET"),
    "DescribeRule": (".DescribeRule", "events:DescribeRule"),
}


@pytest.mark.parametrize("operation", REFUSED)
def test_an_action_that_is_refused_is_named(
    aws: str, good: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else is found of what cannot be seen."""
    word, action = REFUSED[operation]
    code = "AccessDenied" if "Action=" in word else "AccessDeniedException"
    with refusing(aws, lambda name: code if word in name else None) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        looked = read(good, None)
    assert [one.action for one in looked.refused] == [action]
    found = diagnose_deployed(looked)
    assert {one.code for one in found} <= {"may-not-look", "not-ours"}
    assert action in str(found)


def test_without_the_first_permission_there_is_one_line(
    aws: str, good: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with refusing(
        aws, lambda name: "AccessDenied" if "ListStackResources" in name else None
    ) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert main(["doctor", "--stack", good]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cloudformation:ListStackResources" in line


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"])
def test_keys_that_are_not_taken_are_one_line(
    aws: str, good: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing(aws, lambda name: code) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(UnreadableError, match=code):
            read(good, None)


def test_only_reads_are_asked(aws: str, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with refusing(aws, lambda name: asked.append(name)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        read(good, None)
    assert len(asked) > 15
    for name in asked:
        method, path, target = name.split(" ")[:3]
        operation = target.rpartition(".")[2] or path
        if "Action=" in name:
            operation = name.partition("Action=")[2].partition("&")[0]
        assert method == "GET" or operation.startswith(("Get", "List", "Describe")), name


def test_a_stack_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--stack", "nobody"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no stack 'nobody' in us-east-1" in line


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert main(["doctor", "--stack", "chat"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no AWS credentials" in line


def test_no_region(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert main(["doctor", "--stack", "chat"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--region" in line


def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert main(["doctor", "--stack", "chat", "--region", REGION]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nobody" in line


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert main(["doctor", "--stack", "chat"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "127.0.0.1:1" in line
