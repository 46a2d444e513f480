"""`longwire template serverless`: what osls makes of it, as CloudFormation sees it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from longwire.deploy import plan as said
from longwire.deploy import serverless
from tests.deploy import plans
from tests.deploy.stacks import Stack, referred, text
from tests.deploy.tools import lacking, run, tool
from tests.emulators.npm import installed

if TYPE_CHECKING:
    from pathlib import Path

    from longwire.deploy.plan import Plan

# The first run fetches osls.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

OSLS = {"osls": "4.3.1"}
FEW = plans.few()
# Each takes seconds.
PACKED = ("dynamodb", "s3-all", "redis-all", "sources")
PARAMETERS = {
    "store-secret": "chat/store",
    "subnet-ids": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "security-group-ids": "sg-0123456789abcdef0",
    "certificate-arn": "arn:aws:acm:us-east-1:123456789012:certificate/1",
}
API = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${WebsocketsApi}"


def _text(plan: Plan) -> str:
    (found,) = serverless.render(plan).values()
    return found


def _osls() -> list[str]:
    if (node := shutil.which("node")) is None or shutil.which("npm") is None:
        lacking("osls", "node and npm are not on the PATH")
    try:
        modules = installed("osls", OSLS)
    except (subprocess.SubprocessError, OSError) as error:
        lacking("osls", f"npm cannot install it: {error}")
    about = json.loads((modules / "osls" / "package.json").read_text(encoding="utf-8"))
    return [node, str(modules / "osls" / about["bin"]["osls"])]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Plan, Stack]]:
    """What `osls package` makes, with the parameters that the file says have to be given."""
    command, found = _osls(), {}
    for name in PACKED:
        folder = tmp_path_factory.mktemp(name)
        (folder / "serverless.yml").write_text(_text(FEW[name]), encoding="utf-8")
        with zipfile.ZipFile(folder / "function.zip", "w") as file:
            file.writestr("main.py", "")
        (deploy,) = re.findall(r"#   osls deploy(.*)", _text(FEW[name]))
        wanted = re.findall(r"--param ([\w-]+)=", deploy)
        given = [part for one in wanted for part in ("--param", f"{one}={PARAMETERS[one]}")]
        run([*command, "package", *given], folder)
        compiled = folder / ".serverless" / "cloudformation-template-update-stack.json"
        found[name] = FEW[name], Stack(json.loads(compiled.read_text(encoding="utf-8")))
    return found


@pytest.fixture(params=PACKED)
def case(
    request: pytest.FixtureRequest, packed: dict[str, tuple[Plan, Stack]]
) -> tuple[Plan, Stack]:
    return packed[request.param]


def test_three_routes_lead_to_the_function_and_answer_nothing(case: tuple[Plan, Stack]) -> None:
    plan, stack = case
    routes = [
        route
        for route in stack.of("ApiGatewayV2::Route").values()
        if referred(route["ApiId"]) == "WebsocketsApi"
    ]
    assert sorted(route["RouteKey"] for route in routes) == sorted(said.ROUTES)
    for route in routes:
        assert "RouteResponseSelectionExpression" not in route
        asks = plan.authorizer is not None and route["RouteKey"] == "$connect"
        assert route.get("AuthorizationType", "NONE") == ("CUSTOM" if asks else "NONE")
    assert not stack.of("ApiGatewayV2::RouteResponse")
    (authorizer,) = stack.of("ApiGatewayV2::Authorizer").values() or [{}]
    assert tuple(authorizer.get("IdentitySource", ())) == (
        plan.identity_source if plan.authorizer else ()
    )
    _, stage = stack.one("ApiGatewayV2::Stage", StageName=said.STAGE)
    assert ("AccessLogSettings" in stage) == plan.logs


def test_the_functions_may_do_what_the_plan_says(case: tuple[Plan, Stack]) -> None:
    """And osls adds nothing: neither a role of its own nor functions that change the account."""
    plan, stack = case
    _, function = stack.function
    connections, queue = "${Connections.Arn}", "${Queue.Arn}"
    wanted = {("execute-api:ManageConnections", f"{API}/live/*/@connections/*")}
    wanted |= {
        (f"logs:{name}", "${AppLogGroup.Arn}") for name in ("CreateLogStream", "PutLogEvents")
    }
    if plan.store == "dynamodb":
        wanted |= {(action, connections) for action in said.TABLE_ACTIONS}
    if plan.store == "s3":
        wanted |= {(action, f"{connections}/*") for action in said.OBJECT_ACTIONS}
        wanted |= {(action, connections) for action in said.BUCKET_ACTIONS}
    if plan.fanout:
        wanted |= {(action, queue) for action in said.QUEUE_ACTIONS}
    if plan.in_vpc:
        wanted |= {(action, "*") for action in said.NETWORK_ACTIONS}
    assert stack.allowed(function) == wanted
    roles = {"FunctionRole", "AuthorizerRole"} if plan.authorizer else {"FunctionRole"}
    assert set(stack.of("IAM::Role")) == roles
    assert len(stack.of("Lambda::Function")) == len(roles)
    assert not [kind for kind in _kinds(stack) if kind.startswith("Custom::")]


def test_nobody_else_may_call_them(case: tuple[Plan, Stack]) -> None:
    plan, stack = case
    sources = [text(one["SourceArn"]) for one in stack.of("Lambda::Permission").values()]
    assert f"{API}/live/*" in sources
    assert (f"{API}/authorizers/*" in sources) == (plan.authorizer is not None)
    assert len(sources) == 1 + bool(plan.authorizer) + plan.answers_http + plan.sweep


def test_the_function_is_as_the_plan_says(case: tuple[Plan, Stack]) -> None:
    plan, stack = case
    _, function = stack.function
    assert function["Handler"] == plan.handler
    assert function["Runtime"] == f"python{plan.python}"
    assert function["Architectures"] == [plan.architecture]
    assert (function["MemorySize"], function["Timeout"]) == (plan.memory, plan.timeout)
    assert function.get("LoggingConfig", {}).get("LogFormat") == ("JSON" if plan.logs else None)
    assert ("VpcConfig" in function) == plan.in_vpc
    variables = {name: text(one) for name, one in function["Environment"]["Variables"].items()}
    # No password is in the template, which CloudFormation shows to whoever may read stacks.
    secret = f"{{{{resolve:secretsmanager:{PARAMETERS['store-secret']}}}}}"
    dsn = secret if plan.in_vpc else plan.dsn("${Connections}")
    wanted = {"LONGWIRE_DSN": dsn}
    if plan.needs_endpoint:
        host = "${WebsocketsApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}"
        wanted["WS_MANAGEMENT_ENDPOINT"] = f"https://{host}/live"
    if plan.fanout:
        wanted["LONGWIRE_FANOUT_QUEUE_URL"] = "${Queue}"
    assert variables == wanted


def test_a_queue_and_a_schedule_come_to_the_function(case: tuple[Plan, Stack]) -> None:
    plan, stack = case
    assert len(stack.of("Lambda::EventSourceMapping")) == plan.fanout
    if plan.fanout:
        (mapping,) = stack.of("Lambda::EventSourceMapping").values()
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["ScalingConfig"] == {"MaximumConcurrency": said.QUEUE_CONCURRENCY}
        assert mapping["BatchSize"] == said.BATCH_SIZE
        queue = stack.of("SQS::Queue")["Queue"]
        assert queue["VisibilityTimeout"] == plan.visibility_timeout
        assert queue["RedrivePolicy"]["maxReceiveCount"] == said.RECEIVES
    assert len(stack.of("Events::Rule")) == plan.sweep
    if plan.sweep:
        (rule,) = stack.of("Events::Rule").values()
        assert json.loads(rule["Targets"][0]["Input"]) == json.loads(said.SWEEP_EVENT)


def test_linters_find_nothing(packed: dict[str, tuple[Plan, Stack]], tmp_path: Path) -> None:
    for name, (_, stack) in packed.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(stack.template), encoding="utf-8")
    # osls says what depends on what even where a reference does so already.
    command = [tool("cfn-lint"), "--ignore-checks", "W3005", "--", "*.json"]
    assert run(command, tmp_path) == ""


def _kinds(stack: Stack) -> set[str]:
    return {str(resource["Type"]) for resource in stack.template["Resources"].values()}


# Without osls


# Reads CloudFormation's tags as what they stand for.
_Loader: Any = type("Loader", (yaml.SafeLoader,), {})


def _tagged(loader: Any, suffix: str, node: Any) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".")
    return {"Ref" if suffix == "Ref" else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tagged)


@pytest.mark.parametrize("name", FEW)
def test_each_file_is_yaml_whose_names_are_there(name: str) -> None:
    plan = FEW[name]
    written = _text(plan)
    assert "<<" not in written
    assert "%if" not in written
    content = yaml.load(written, _Loader)
    there = set(content["resources"]["Resources"])
    made = {"WebsocketsApi", "WebsocketsDeploymentStage", "AppLogGroup", "AppLambdaFunction"}
    made |= {"HttpApi"} if plan.answers_http else set()
    made |= {"AuthorizerLogGroup"} if plan.authorizer else set()
    assert _references(content) <= there | made
    given = set(re.findall(r"\$\{param:([\w-]+)\}", written))
    (deploy,) = re.findall(r"#   osls deploy(.*)", written)
    assert set(re.findall(r"--param ([\w-]+)=", deploy)) == given


def test_every_option_can_be_said_with_every_other() -> None:
    for plan in plans.every().values():
        content = yaml.load(_text(plan), _Loader)
        assert ("authorizer" in content["functions"]) == (plan.authorizer is not None)
        assert ("Queue" in content["resources"]["Resources"]) == plan.fanout


def _references(value: Any) -> set[str]:
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [name, *_]}:
            return {name} - {one for one in (name,) if one.startswith("AWS::")}
        case {"Fn::Sub": str(given)}:
            names = re.findall(r"\$\{([\w:]+)[}.]", given)
            return {one for one in names if not one.startswith("AWS::")}
        case dict():
            return set().union(*map(_references, value.values()))
        case list():
            return set().union(*map(_references, value))
    return set()
