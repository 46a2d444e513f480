"""What the SAM and CDK templates make, as CloudFormation sees it: the same for both."""

from __future__ import annotations

import ast
import functools
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

import longwire_backends.dynamodb
import longwire_backends.s3.backend
import longwire_backends.s3.bucket
from longwire.apigateway import events
from longwire.config.settings import load
from longwire.deploy import cdk, sam
from tests.deploy import plans
from tests.deploy.stacks import Stack, referred, synthesized, text, transformed
from tests.documents import PAGES

if TYPE_CHECKING:
    from longwire.deploy.plan import Plan

# The first test of each tool runs it for all plans.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
FEW = plans.few()
EXECUTE_API = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/1"
URL = "%s://${%s}.execute-api.${AWS::Region}.${AWS::URLSuffix}/"

Case = tuple["Plan", Stack]


@pytest.fixture(scope="session", params=["sam", "cdk"])
def stacks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sam":
        texts = {name: sam.render(plan)["template.yaml"] for name, plan in FEW.items()}
        return transformed(texts, folder)
    texts = {name: cdk.render(plan)["longwire_construct.py"] for name, plan in FEW.items()}
    return synthesized(texts, folder)


@pytest.fixture(params=FEW)
def case(request: pytest.FixtureRequest, stacks: dict[str, Stack]) -> Case:
    return FEW[request.param], stacks[request.param]


def test_three_routes_lead_to_the_function_and_answer_nothing(case: Case) -> None:
    plan, stack = case
    function, _ = stack.function
    api, there = stack.one("ApiGatewayV2::Api", ProtocolType="WEBSOCKET")
    routes = _of_api(stack, "Route", api)
    assert {route["RouteKey"] for route in routes} == {"$connect", "$disconnect", "$default"}
    assert len(routes) == 3
    assert there["RouteSelectionExpression"] == "$request.body.action"
    integrations = stack.of("ApiGatewayV2::Integration")
    for route in routes:
        assert "RouteResponseSelectionExpression" not in route
        integration = integrations[text(route["Target"]).removeprefix("integrations/${")[:-1]]
        assert integration["IntegrationType"] == "AWS_PROXY"
        assert _invoked(integration["IntegrationUri"]) == function
        assert route.get("AuthorizationType", "NONE") == (
            "CUSTOM" if plan.authorizer and route["RouteKey"] == "$connect" else "NONE"
        )
    assert not stack.of("ApiGatewayV2::RouteResponse")
    assert not stack.of("ApiGatewayV2::IntegrationResponse")
    (stage,) = _of_api(stack, "Stage", api)
    assert (stage["StageName"], stage["AutoDeploy"]) == ("live", True)


def test_api_gateway_may_call_the_functions_and_nobody_else_may(case: Case) -> None:
    """Each permission is for one API, rule or queue of this stack."""
    plan, stack = case
    function, _ = stack.function
    api, _ = stack.one("ApiGatewayV2::Api", ProtocolType="WEBSOCKET")
    allowed: Counter[tuple[str, str]] = Counter()
    for permission in stack.of("Lambda::Permission").values():
        assert permission["Action"] == "lambda:InvokeFunction"
        called, source = referred(permission["FunctionName"]), text(permission["SourceArn"])
        allowed[called, permission["Principal"]] += 1
        if permission["Principal"] == "events.amazonaws.com":
            assert referred(permission["SourceArn"]) in stack.of("Events::Rule")
        elif called != function:
            assert re.fullmatch(rf".*:\$\{{{api}\}}/authorizers/.+", source)
        else:
            (name,) = re.findall(r":\$\{(\w+)(?:\.ApiId)?\}/", source)
            assert name in stack.of("ApiGatewayV2::Api")
    expected = {(function, "apigateway.amazonaws.com"): 3 + plan.answers_http}
    if plan.sweep:
        expected[function, "events.amazonaws.com"] = 1
    if plan.authorizer:
        (other,) = stack.of("Lambda::Function").keys() - {function}
        expected[other, "apigateway.amazonaws.com"] = 1
    assert allowed == expected


def test_the_function_is_as_planned(case: Case) -> None:
    plan, stack = case
    _, function = stack.function
    assert function["Handler"] == plan.handler
    assert function["Runtime"] == f"python{plan.python}"
    assert function["Architectures"] == [plan.architecture]
    assert (function["MemorySize"], function["Timeout"]) == (plan.memory, plan.timeout)
    variables = {key: text(value) for key, value in function["Environment"]["Variables"].items()}
    api, _ = stack.one("ApiGatewayV2::Api", ProtocolType="WEBSOCKET")
    dsn = variables.pop("LONGWIRE_DSN")
    if plan.in_vpc:
        assert dsn == "${StoreDsn}"
    else:
        store = {"dynamodb": "DynamoDB::Table", "s3": "S3::Bucket"}[plan.store]
        (resource,) = stack.of(store)
        settings = load(None, dsn.replace(f"${{{resource}}}", "chat-Connections-1ABC"))
        assert settings.backend == plan.store
        assert "chat-Connections-1ABC" in settings.params.values()
        assert settings.replay == plan.replay
    if plan.fanout:
        _, mapping = stack.one("Lambda::EventSourceMapping")
        queue = variables.pop("LONGWIRE_FANOUT_QUEUE_URL")
        assert referred(queue) == referred(mapping["EventSourceArn"])
    if plan.sweep or plan.answers_http or plan.fanout:
        assert variables.pop("WS_MANAGEMENT_ENDPOINT") == URL % ("https", api) + "live"
    assert variables == {}


def test_the_role_may_do_what_the_code_does_and_no_more(case: Case) -> None:
    """Actions and resources are counted: each pair is here."""
    plan, stack = case
    _, function = stack.function
    api, _ = stack.one("ApiGatewayV2::Api", ProtocolType="WEBSOCKET")
    logs = referred(function["LoggingConfig"]["LogGroup"])
    expected = {
        ("execute-api:ManageConnections", f"{EXECUTE_API}${{{api}}}/live/*/@connections/*"),
        ("logs:CreateLogStream", f"${{{logs}.Arn}}"),
        ("logs:PutLogEvents", f"${{{logs}.Arn}}"),
    }
    if plan.store == "dynamodb":
        (table,) = stack.of("DynamoDB::Table")
        expected |= {(action, f"${{{table}.Arn}}") for action in _actions_of_dynamodb()}
    if plan.store == "s3":
        (bucket,) = stack.of("S3::Bucket")
        objects, whole = _actions_of_s3()
        expected |= {(action, f"${{{bucket}.Arn}}/*") for action in objects}
        expected |= {(action, f"${{{bucket}.Arn}}") for action in whole}
    if plan.fanout:
        _, mapping = stack.one("Lambda::EventSourceMapping")
        queue = text(mapping["EventSourceArn"])
        for action in ("SendMessage", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            assert action in PAGES["docs/large-groups.md"]
            expected.add((f"sqs:{action}", queue))
    allowed = stack.allowed(function)
    network = {pair for pair in allowed if pair[0].startswith("ec2:")}
    assert allowed - network == expected
    assert {resource for _, resource in network} == ({"*"} if plan.in_vpc else set())
    assert len(network) == (6 if plan.in_vpc else 0)
    for name, other in stack.of("Lambda::Function").items():
        if name != stack.function[0]:  # an authorizer
            assert {action for action, _ in stack.allowed(other)} == {
                "logs:CreateLogStream",
                "logs:PutLogEvents",
            }
    for role in stack.of("IAM::Role").values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_the_store_is_as_the_code_makes_it(case: Case) -> None:
    plan, stack = case
    tables, buckets = stack.of("DynamoDB::Table"), stack.of("S3::Bucket")
    assert len(tables) == (plan.store == "dynamodb")
    assert len(buckets) == (plan.store == "s3")
    for table in tables.values():
        keys = [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]]
        assert keys == longwire_backends.dynamodb._KEYS
        types = {
            one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]
        }
        assert types == {"pk": "S", "sk": "S"}
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        ttl = {"AttributeName": longwire_backends.dynamodb._TTL_ATTRIBUTE, "Enabled": True}
        assert table["TimeToLiveSpecification"] == ttl
        assert table.get("TableName") == plan.resource
    for bucket in buckets.values():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", 16)
        assert bucket.get("BucketName") == plan.resource


def test_a_store_in_a_vpc_gets_the_function_there(case: Case) -> None:
    plan, stack = case
    _, function = stack.function
    parameters = stack.template.get("Parameters", {})
    given = {"SubnetIds", "SecurityGroupIds", "StoreDsn"}
    if not plan.in_vpc:
        assert "VpcConfig" not in function
        assert not given & parameters.keys()
        return
    config = {key: text(value) for key, value in function["VpcConfig"].items()}
    assert config == {"SubnetIds": "${SubnetIds}", "SecurityGroupIds": "${SecurityGroupIds}"}
    assert parameters["SubnetIds"]["Type"] == "List<AWS::EC2::Subnet::Id>"
    assert parameters["SecurityGroupIds"]["Type"] == "List<AWS::EC2::SecurityGroup::Id>"
    dsn = parameters["StoreDsn"]
    assert dsn["NoEcho"] in (True, "true")
    host = {"redis": "rediss://u:p@host:6379/0", "postgresql": "postgresql://u:p@h/d"}[plan.store]
    for said, replays in ((host, False), (f"{host}?replay=true", True)):
        assert load(None, said).replay is replays
        fits = re.search(dsn["AllowedPattern"], said) is not None
        assert fits is (replays or not plan.replay)
    for wrong in ("dynamodb://table", "redis:/host", f"{host} "):
        assert re.search(dsn["AllowedPattern"], wrong) is None


def test_http_has_an_api_of_its_own(case: Case) -> None:
    plan, stack = case
    apis = {
        name: there
        for name, there in stack.of("ApiGatewayV2::Api").items()
        if there.get("ProtocolType") != "WEBSOCKET"
    }
    assert len(apis) == plan.answers_http
    for name, api in apis.items():
        assert stack.outputs["HttpUrl"] == URL % ("https", name)
        if "Body" in api:  # SAM's
            ((key, path),) = api["Body"]["paths"].items()
            assert key == "$default"
            (method,) = path.values()
            integration = method["x-amazon-apigateway-integration"]
            assert integration["payloadFormatVersion"] == "2.0"
            assert _invoked(integration["uri"]) == stack.function[0]
        else:
            (route,) = _of_api(stack, "Route", name)
            (integration,) = _of_api(stack, "Integration", name)
            assert route["RouteKey"] == "$default"
            assert integration["PayloadFormatVersion"] == "2.0"
            assert referred(integration["IntegrationUri"]) == stack.function[0]
        (stage,) = _of_api(stack, "Stage", name)
        assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)
    assert ("HttpUrl" in stack.outputs) == plan.answers_http


def test_an_authorizer_is_asked_at_connect(case: Case) -> None:
    plan, stack = case
    authorizers = stack.of("ApiGatewayV2::Authorizer")
    assert len(authorizers) == (plan.authorizer is not None)
    assert len(stack.of("Lambda::Function")) == 1 + len(authorizers)
    for name, authorizer in authorizers.items():
        assert authorizer["AuthorizerType"] == "REQUEST"
        assert authorizer["IdentitySource"] == list(plan.identity_source)
        (route,) = (
            one
            for one in stack.of("ApiGatewayV2::Route").values()
            if one.get("AuthorizationType") == "CUSTOM"
        )
        assert (route["RouteKey"], referred(route["AuthorizerId"])) == ("$connect", name)
        function = stack.of("Lambda::Function")[_invoked(authorizer["AuthorizerUri"])]
        assert function["Handler"] == plan.authorizer
        assert function["Timeout"] < 29
        assert "Environment" not in function


def test_large_groups_have_a_queue_with_dead_letters(case: Case) -> None:
    plan, stack = case
    queues, mappings = stack.of("SQS::Queue"), stack.of("Lambda::EventSourceMapping")
    assert (len(queues), len(mappings)) == ((2, 1) if plan.fanout else (0, 0))
    for mapping in mappings.values():
        assert referred(mapping["FunctionName"]) == stack.function[0]
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["BatchSize"] == 1
        assert mapping["ScalingConfig"] == {"MaximumConcurrency": 5}
        name = referred(mapping["EventSourceArn"])
        queue = queues.pop(name)
        assert queue["VisibilityTimeout"] >= 6 * stack.function[1]["Timeout"]
        assert 3 <= queue["RedrivePolicy"]["maxReceiveCount"] <= 5
        dead = queues.pop(referred(queue["RedrivePolicy"]["deadLetterTargetArn"]))
        assert queue["SqsManagedSseEnabled"] is dead["SqsManagedSseEnabled"] is True
        assert dead["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_a_schedule_sweeps(case: Case) -> None:
    plan, stack = case
    rules = stack.of("Events::Rule")
    assert len(rules) == plan.sweep
    for rule in rules.values():
        assert rule["ScheduleExpression"] == "rate(15 minutes)"
        assert rule.get("State", "ENABLED") == "ENABLED"
        (target,) = rule["Targets"]
        assert referred(target["Arn"]) == stack.function[0]
        event = json.loads(target["Input"])
        assert events.is_sweep_event(event)
        assert event.keys() <= {"longwire", "rate", "min_age"}


def test_a_domain_leads_to_the_stage(case: Case) -> None:
    plan, stack = case
    domains, mappings = stack.of("ApiGatewayV2::DomainName"), stack.of("ApiGatewayV2::ApiMapping")
    assert len(domains) == len(mappings) == (plan.domain is not None)
    assert ("DomainTarget" in stack.outputs) == (plan.domain is not None)
    api, _ = stack.one("ApiGatewayV2::Api", ProtocolType="WEBSOCKET")
    url = urlsplit(stack.outputs["WebSocketUrl"])
    path = [one for one in plan.routes if "{" not in one] or ["/"]
    assert parse_qs(url.query) == {"path": path}
    if plan.domain is None:
        assert url.geturl().startswith(URL % ("wss", api) + "live?path=")
        return
    ((name, domain),) = domains.items()
    ((_, mapping),) = mappings.items()
    assert (url.scheme, url.netloc, url.path) == ("wss", plan.domain, "/")
    assert domain["DomainName"] == plan.domain
    (configuration,) = domain["DomainNameConfigurations"]
    assert text(configuration["CertificateArn"]) == "${CertificateArn}"
    assert configuration["EndpointType"] == "REGIONAL"
    assert referred(mapping["ApiId"]) == api
    assert "ApiMappingKey" not in mapping
    stage = text(mapping["Stage"])
    assert (
        stage == "live" or stack.of("ApiGatewayV2::Stage")[referred(stage)]["StageName"] == "live"
    )
    assert stack.outputs["DomainTarget"] == f"${{{name}.RegionalDomainName}}"
    pattern = stack.template["Parameters"]["CertificateArn"]["AllowedPattern"]
    assert re.search(pattern, CERTIFICATE)
    assert not re.search(pattern, "certificate")


def test_logs_end_and_are_json_on_demand(case: Case) -> None:
    plan, stack = case
    groups = stack.of("Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups.values()} == {30}
    assert len(groups) == 1 + plan.logs
    _, function = stack.function
    logging = dict(function["LoggingConfig"])
    own = referred(logging.pop("LogGroup"))
    json_logs = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
    assert logging == (json_logs if plan.logs else {})
    for stage in stack.of("ApiGatewayV2::Stage").values():
        settings = stage.get("AccessLogSettings")
        assert (settings is not None) == plan.logs
        if settings is not None:
            assert referred(settings["DestinationArn"]) in groups.keys() - {own}
            line = json.loads(settings["Format"])
            assert line["requestId"] == "$context.requestId"
            assert not re.search("query|body|authorizer", settings["Format"], re.IGNORECASE)


def test_alarms_look_at_what_is_there(case: Case) -> None:
    plan, stack = case
    alarms = stack.of("CloudWatch::Alarm")
    assert bool(alarms) == bool(stack.of("SNS::Topic")) == plan.alarms
    found = set()
    for alarm in alarms.values():
        (topic,) = stack.of("SNS::Topic")
        assert [referred(action) for action in alarm["AlarmActions"]] == [topic]
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        dimensions = {one["Name"]: text(one["Value"]) for one in alarm["Dimensions"]}
        found.add((alarm["Namespace"], alarm["MetricName"], tuple(sorted(dimensions))))
        for value in dimensions.values():
            assert value == "live" or referred(value) in stack.template["Resources"]
        if alarm["MetricName"] == "Duration":
            assert 1000 * plan.timeout > alarm["Threshold"] >= 500 * plan.timeout
    if plan.alarms:
        expected = {
            *(
                ("AWS/Lambda", name, ("FunctionName",))
                for name in ("Errors", "Throttles", "Duration")
            ),
            ("AWS/ApiGateway", "ExecutionError", ("ApiId", "Stage")),
            ("AWS/ApiGateway", "IntegrationError", ("ApiId", "Stage")),
        }
        if plan.answers_http:
            expected.add(("AWS/ApiGateway", "5xx", ("ApiId",)))
        if plan.fanout:
            expected.add(("AWS/SQS", "ApproximateNumberOfMessagesVisible", ("QueueName",)))
        assert found == expected


def test_all_that_can_be_said_together_is_right(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Each combination of stores and options passes each test above, with SAM."""
    every = plans.every()
    texts = {name: sam.render(plan)["template.yaml"] for name, plan in every.items()}
    stacks = transformed(texts, tmp_path_factory.mktemp("every"))
    checks = [
        check
        for name, check in globals().items()
        if name.startswith("test_") and check.__annotations__.get("case") == "Case"
    ]
    assert (len(every), len(checks)) == (256, 13)
    for name, plan in every.items():
        for check in checks:
            check((plan, stacks[name]))


def _of_api(stack: Stack, kind: str, api: str) -> list[dict[str, Any]]:
    return [
        there
        for there in stack.of(f"ApiGatewayV2::{kind}").values()
        if referred(there["ApiId"]) == api
    ]


def _invoked(uri: Any) -> str:
    """Return the id of the function in a URI for API Gateway."""
    found = re.search(r"lambda:path/2015-03-31/functions/\$\{(\w+)\.Arn\}/invocations$", text(uri))
    assert found is not None, text(uri)
    return found[1]


@functools.cache
def _actions_of_dynamodb() -> set[str]:
    """Return what the store's code asks for, which is what the page says."""
    asked = _strings(longwire_backends.dynamodb, without="create")
    actions = {one for one in asked if re.fullmatch(r"[A-Z][a-z]+Item|Query|Scan", one)}
    (row,) = re.findall(r"^\| `dynamodb` \| (`dynamodb:.*?) \|", PAGES["docs/stores.md"], re.M)
    said = {one.removeprefix("dynamodb:") for one in re.findall(r"`([\w:]+)`", row)}
    assert said - {"broadcast"} == actions  # which is why
    return {f"dynamodb:{action}" for action in actions}


@functools.cache
def _actions_of_s3() -> tuple[set[str], set[str]]:
    """Return what the store's code asks for of objects, and of the bucket."""
    asked = _strings(longwire_backends.s3.backend) | _strings(longwire_backends.s3.bucket)
    methods = {one for one in asked if one in ("GET", "PUT", "DELETE", "POST", "HEAD")}
    objects = {f"s3:{method.title()}Object" for method in methods}
    (row,) = re.findall(r"^\| `s3` \| (`s3:.*?) \|", PAGES["docs/stores.md"], re.M)
    said = {f"s3:{one.removeprefix('s3:')}" for one in re.findall(r"`([\w:]+)`", row)}
    assert said == objects | {"s3:ListBucket"}
    return objects, {"s3:ListBucket"}


def _strings(module: Any, without: str = "-") -> set[str]:
    """Return the texts in a module's functions, but those that make something."""
    with open(module.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    return {
        one.value
        for function in ast.walk(tree)
        if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef)
        and without not in function.name
        for one in ast.walk(function)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }
