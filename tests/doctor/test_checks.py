"""Each mistake is found, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from longwire.doctor.findings import RULES
from tests.doctor.stacks import GONE, changed, codes_of, findings_of

FUNCTION = "Function/Properties/"
VARIABLES = FUNCTION + "Environment/Variables/"
STATEMENTS = "Policy/Properties/PolicyDocument/Statement/"
ARN = "arn:aws:execute-api:eu-west-1:123456789012:"


def sub(text: str) -> dict[str, str]:
    return {"Fn::Sub": text}


def http_api() -> dict[str, Any]:
    return {
        "Http": {
            "Type": "AWS::ApiGatewayV2::Api",
            "Properties": {"ProtocolType": "HTTP", "Name": "http"},
        },
        "HttpIntegration": {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": "Http"},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": {"Fn::GetAtt": ["Function", "Arn"]},
            },
        },
        "HttpRoute": {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {
                "ApiId": {"Ref": "Http"},
                "RouteKey": "$default",
                "Target": sub("integrations/${HttpIntegration}"),
            },
        },
    }


def http_api_of_sam() -> dict[str, Any]:
    """Its routes are in its Body."""
    return {
        "Http": {
            "Type": "AWS::ApiGatewayV2::Api",
            "Properties": {"Body": {"openapi": "3.0.1", "paths": {"/$default": {}}}},
        },
        "HttpPermission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "Action": "lambda:InvokeFunction",
                "FunctionName": {"Ref": "Function"},
                "Principal": "apigateway.amazonaws.com",
                "SourceArn": sub(ARN + "${Http}/*/*"),
            },
        },
    }


def authorizer(**properties: Any) -> dict[str, Any]:
    return {
        "Authorizer": {
            "Type": "AWS::ApiGatewayV2::Authorizer",
            "Properties": {
                "ApiId": {"Ref": "Api"},
                "AuthorizerType": "REQUEST",
                "IdentitySource": ["route.request.querystring.token"],
                **properties,
            },
        }
    }


def mapping(name: str, api: str, stage: Any) -> dict[str, Any]:
    properties = {"ApiId": {"Ref": api}, "DomainName": "chat.example.com", "Stage": stage}
    return {name: {"Type": "AWS::ApiGatewayV2::ApiMapping", "Properties": properties}}


OTHER = {
    "Type": "AWS::Lambda::Function",
    "Properties": {
        "Runtime": "nodejs22.x",
        "Handler": "a.b",
        "Code": {"ZipFile": "x"},
        "Role": "arn:aws:iam::1:role/x",
    },
}
OTHER_TABLE = {
    "Type": "AWS::DynamoDB::Table",
    "Properties": {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    },
}
REDIS = {"Type": "AWS::ElastiCache::ReplicationGroup", "Properties": {}}
DEPLOYMENT = {"Type": "AWS::ApiGatewayV2::Deployment", "Properties": {"ApiId": {"Ref": "Api"}}}
NO_TABLE = {"Table": GONE, STATEMENTS + "1": GONE}
SUBNET = {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}}}
ROLE_POLICY = "Role/Properties/ManagedPolicyArns/0"
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
IN_VPC = {
    "Subnet": SUBNET,
    "Routes": {"Type": "AWS::EC2::RouteTable", "Properties": {"VpcId": {"Ref": "Vpc"}}},
    "Association": {
        "Type": "AWS::EC2::SubnetRouteTableAssociation",
        "Properties": {"SubnetId": {"Ref": "Subnet"}, "RouteTableId": {"Ref": "Routes"}},
    },
    FUNCTION + "VpcConfig": {"SubnetIds": [{"Ref": "Subnet"}], "SecurityGroupIds": ["sg-1"]},
    "Role/Properties/ManagedPolicyArns/0": (
        "arn:aws:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"
    ),
}


def way(**target: Any) -> dict[str, Any]:
    return {"Type": "AWS::EC2::Route", "Properties": {"RouteTableId": {"Ref": "Routes"}, **target}}


def endpoint(service: str, **more: Any) -> dict[str, Any]:
    name = sub(f"com.amazonaws.${{AWS::Region}}.{service}")
    return {"Type": "AWS::EC2::VPCEndpoint", "Properties": {"ServiceName": name, **more}}


MISTAKES: list[tuple[set[str], dict[str, Any]]] = [
    # The API
    ({"route-missing"}, {"Default": GONE}),
    ({"route-missing"}, {"Connect": GONE}),
    ({"route-missing"}, {"Connect": GONE, "Disconnect": GONE, "Default": GONE}),
    ({"route-missing"}, {"Default/Properties/RouteKey": "$DEFAULT"}),
    ({"route-missing"}, {"Disconnect/Properties/RouteKey": "sendmessage"}),
    (
        {"route-elsewhere", "invoke-permission"},
        {
            "Other": OTHER,
            "Wrong": {
                "Type": "AWS::ApiGatewayV2::Integration",
                "Properties": {
                    "ApiId": {"Ref": "Api"},
                    "IntegrationType": "AWS_PROXY",
                    "IntegrationUri": {"Fn::GetAtt": ["Other", "Arn"]},
                },
            },
            "Disconnect/Properties/Target": sub("integrations/${Wrong}"),
        },
    ),
    ({"route-target"}, {"Default/Properties/Target": GONE}),
    ({"route-response"}, {"Default/Properties/RouteResponseSelectionExpression": "$default"}),
    (
        {"route-response"},
        {
            "Response": {
                "Type": "AWS::ApiGatewayV2::RouteResponse",
                "Properties": {
                    "ApiId": {"Ref": "Api"},
                    "RouteId": {"Ref": "Default"},
                    "RouteResponseKey": "$default",
                },
            }
        },
    ),
    ({"integration-type"}, {"Integration/Properties/IntegrationType": "AWS"}),
    ({"integration-timeout"}, {"Integration/Properties/TimeoutInMillis": 5000}),
    ({"invoke-permission"}, {"ApiPermission": GONE}),
    ({"invoke-permission"}, {"ApiPermission/Properties/Principal": "s3.amazonaws.com"}),
    ({"invoke-permission"}, {"ApiPermission/Properties/SourceArn": sub(ARN + "${Api}/other/*")}),
    ({"invoke-permission"}, {"ApiPermission/Properties/SourceArn": sub(ARN + "${Api}/*/$connect")}),
    (
        {"stage-missing"},
        {
            "Stage": GONE,
            STATEMENTS + "0/Resource": sub(ARN + "${Api}/*/*/@connections/*"),
            VARIABLES + "WS_MANAGEMENT_ENDPOINT": "https://ws.example.com",
        },
    ),
    ({"stage-not-deployed"}, {"Stage/Properties/AutoDeploy": False}),
    (
        {"deployment-order"},
        {
            "Stage/Properties/AutoDeploy": GONE,
            "Deployment": DEPLOYMENT,
            "Stage/Properties/DeploymentId": {"Ref": "Deployment"},
        },
    ),
    (
        {"deployment-order"},
        {
            "Stage/Properties/AutoDeploy": GONE,
            "Deployment": {**DEPLOYMENT, "DependsOn": ["Connect", "Default"]},
            "Stage/Properties/DeploymentId": {"Ref": "Deployment"},
        },
    ),
    ({"stage-throttled"}, {"Stage/Properties/DefaultRouteSettings": {"ThrottlingRateLimit": 0}}),
    ({"data-trace"}, {"Stage/Properties/DefaultRouteSettings": {"DataTraceEnabled": True}}),
    (
        {"execute-api-disabled", "sweep-endpoint"},
        {
            "Api/Properties/DisableExecuteApiEndpoint": True,
            VARIABLES + "WS_MANAGEMENT_ENDPOINT": GONE,
        },
    ),
    ({"domain-stage"}, mapping("Mapping", "Api", "production")),
    (
        {"domain-mixed"},
        {
            **http_api(),
            **mapping("One", "Api", {"Ref": "Stage"}),
            **mapping("Two", "Http", "$default"),
        },
    ),
    (
        {"authorizer-route"},
        {
            **authorizer(),
            "Connect/Properties/AuthorizationType": "CUSTOM",
            "Connect/Properties/AuthorizerId": {"Ref": "Authorizer"},
            "Default/Properties/AuthorizationType": "CUSTOM",
        },
    ),
    ({"authorizer-type"}, {"Connect/Properties/AuthorizationType": "JWT"}),
    (
        {"authorizer-type"},
        {
            **authorizer(AuthorizerType="JWT"),
            "Connect/Properties/AuthorizationType": "CUSTOM",
            "Connect/Properties/AuthorizerId": {"Ref": "Authorizer"},
        },
    ),
    ({"authorizer-missing"}, {"Connect/Properties/AuthorizationType": "CUSTOM"}),
    ({"authorizer-unused"}, authorizer()),
    (
        {"authorizer-identity"},
        {
            **authorizer(IdentitySource=[]),
            "Connect/Properties/AuthorizationType": "CUSTOM",
            "Connect/Properties/AuthorizerId": {"Ref": "Authorizer"},
        },
    ),
    (
        {"alarm-metric"},
        {
            "Alarm": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {
                    "Namespace": "AWS/ApiGateway",
                    "MetricName": "5XXError",
                    "Dimensions": [{"Name": "ApiId", "Value": {"Ref": "Api"}}],
                },
            }
        },
    ),
    # The function
    ({"dsn-invalid"}, {VARIABLES + "LONGWIRE_DSN": "dynamodb:connections"}),
    ({"dsn-invalid"}, {VARIABLES + "LONGWIRE_DSN": "dynamo://connections"}),
    ({"dsn-invalid"}, {VARIABLES + "LONGWIRE_DSN": {"Ref": "Table"}}),
    ({"dsn-invalid"}, {VARIABLES + "LONGWIRE_DSN": {"Fn::GetAtt": ["Table", "Arn"]}}),
    ({"dsn-invalid"}, {VARIABLES + "LONGWIRE_DSN": sub("dynamodb://${Table}?tll=600")}),
    ({"dsn-invalid"}, {VARIABLES + "LONGWIRE_DSN": sub("dynamodb://${Table}?ttl=soon")}),
    ({"store-local"}, {VARIABLES + "LONGWIRE_DSN": "memory://", **NO_TABLE}),
    ({"store-local"}, {VARIABLES + "LONGWIRE_DSN": "sqlite:////tmp/ws.sqlite3", **NO_TABLE}),
    ({"store-other", "store-permission"}, {VARIABLES + "LONGWIRE_DSN": "dynamodb://connections"}),
    ({"variable-unknown"}, {VARIABLES + "LONGWIRE_TABLE": "x"}),
    ({"variable-reserved"}, {VARIABLES + "AWS_REGION": "eu-west-1"}),
    ({"secret-in-clear"}, {VARIABLES + "STRIPE_API_KEY": "sk_live_123456"}),
    (
        {"secret-in-clear"},
        {VARIABLES + "LONGWIRE_DSN": "redis://:hunter2@redis.example.com", **NO_TABLE},
    ),
    ({"timeout-short"}, {FUNCTION + "Timeout": GONE}),
    ({"memory-small"}, {FUNCTION + "MemorySize": GONE}),
    ({"runtime-old"}, {FUNCTION + "Runtime": "python3.10"}),
    ({"runtime-old"}, {FUNCTION + "Runtime": "nodejs22.x"}),
    ({"snapstart-unused"}, {FUNCTION + "SnapStart": {"ApplyOn": "PublishedVersions"}}),
    (
        {"snapstart-unused", "snapstart-runtime"},
        {
            FUNCTION + "SnapStart": {"ApplyOn": "PublishedVersions"},
            FUNCTION + "Runtime": "python3.11",
        },
    ),
    ({"reserved-concurrency"}, {FUNCTION + "ReservedConcurrentExecutions": 1}),
    ({"reserved-concurrency"}, {FUNCTION + "ReservedConcurrentExecutions": 5}),
    ({"log-format"}, {FUNCTION + "LoggingConfig": {"LogFormat": "Text"}}),
    ({"log-format"}, {FUNCTION + "LoggingConfig/ApplicationLogLevel": "ERROR"}),
    ({"too-many-layers"}, {FUNCTION + "Layers": ["a", "b", "c", "d", "e", "f"]}),
    # What the role may
    ({"manage-connections"}, {STATEMENTS + "0/Action": "execute-api:Invoke"}),
    ({"manage-connections"}, {STATEMENTS + "0": GONE}),
    (
        {"manage-connections-arn"},
        {STATEMENTS + "0/Resource": sub(ARN + "${Api}/prod/@connections/*")},
    ),
    (
        {"manage-connections-arn"},
        {STATEMENTS + "0/Resource": sub(ARN + "${Api}/dev/*/@connections/*")},
    ),
    (
        {"manage-connections-arn"},
        {STATEMENTS + "0/Resource": ARN + "abcdefghij/prod/*/@connections/*"},
    ),
    ({"manage-connections-arn"}, {STATEMENTS + "0/Resource": sub(ARN + "${Api}/prod/$default")}),
    (
        {"manage-connections-methods"},
        {STATEMENTS + "0/Resource": sub(ARN + "${Api}/prod/POST/@connections/*")},
    ),
    ({"store-permission"}, {STATEMENTS + "1/Action": ["dynamodb:GetItem", "dynamodb:PutItem"]}),
    ({"store-permission"}, {STATEMENTS + "1/Resource": sub("${Table.Arn}/index/*")}),
    ({"store-permission"}, {STATEMENTS + "1/Resource": {"Ref": "Table"}}),
    ({"scan-permission"}, {STATEMENTS + "1/Action/4": GONE}),
    ({"queue-permission"}, {STATEMENTS + "2/Action": ["sqs:SendMessage"]}),
    ({"queue-permission"}, {STATEMENTS + "2/Action": ["sqs:Receive*", "sqs:Delete*", "sqs:Get*"]}),
    (
        {"key-permission"},
        {"Table/Properties/SSESpecification": {"KMSMasterKeyId": "arn:aws:kms:eu-west-1:1:key/2"}},
    ),
    ({"log-permission"}, {"Role/Properties/ManagedPolicyArns": GONE}),
    ({"permission-wide"}, {STATEMENTS + "1/Action": "dynamodb:*"}),
    ({"permission-wide"}, {STATEMENTS + "0/Resource": "*"}),
    ({"permission-wide"}, {STATEMENTS + "0/Resource": "arn:aws:execute-api:*:*:*/@connections/*"}),
    # The store
    (
        {"table-keys"},
        {
            "Table/Properties/KeySchema/1/AttributeName": "id",
            "Table/Properties/AttributeDefinitions/1/AttributeName": "id",
        },
    ),
    ({"table-keys"}, {"Table/Properties/KeySchema/1": GONE}),
    ({"table-keys"}, {"Table/Properties/AttributeDefinitions/0/AttributeType": "N"}),
    ({"table-ttl"}, {"Table/Properties/TimeToLiveSpecification": GONE}),
    ({"table-ttl"}, {"Table/Properties/TimeToLiveSpecification/AttributeName": "ttl"}),
    ({"table-ttl"}, {"Table/Properties/TimeToLiveSpecification/Enabled": False}),
    ({"table-provisioned"}, {"Table/Properties/BillingMode": GONE}),
    (
        {"store-outside"},
        {
            **NO_TABLE,
            "Redis": REDIS,
            VARIABLES + "LONGWIRE_DSN": sub("rediss://${Redis.PrimaryEndPoint.Address}:6379/0"),
        },
    ),
    ({"no-way-out", "no-way-to-store"}, IN_VPC),
    (
        {"no-way-to-store"},
        {
            **IN_VPC,
            "Way": way(EgressOnlyInternetGatewayId="eigw-1"),
            "Dynamo": endpoint("dynamodb"),
        },
    ),
    (
        {"execute-api-endpoint"},
        {
            **IN_VPC,
            "Way": way(NatGatewayId="nat-1"),
            VARIABLES + "WS_MANAGEMENT_ENDPOINT": GONE,
            "Sweep": GONE,
            "SweepPermission": GONE,
            "Endpoint": endpoint("execute-api", PrivateDnsEnabled=True),
        },
    ),
    (
        {"network-permission"},
        {
            **IN_VPC,
            "Way": way(NatGatewayId="nat-1"),
            ROLE_POLICY: BASIC,
        },
    ),
    # Large groups
    ({"queue-url"}, {VARIABLES + "LONGWIRE_FANOUT_QUEUE_URL": {"Fn::GetAtt": ["Fanout", "Arn"]}}),
    (
        {"queue-url"},
        {VARIABLES + "LONGWIRE_FANOUT_QUEUE_URL": {"Fn::GetAtt": ["Fanout", "QueueName"]}},
    ),
    ({"queue-unread"}, {"Parts": GONE}),
    ({"queue-unread"}, {"Parts/Properties/Enabled": False}),
    ({"queue-reader"}, {"Other": OTHER, "Parts/Properties/FunctionName": {"Ref": "Other"}}),
    ({"batch-failures"}, {"Parts/Properties/FunctionResponseTypes": GONE}),
    ({"batch-size"}, {"Parts/Properties/BatchSize": GONE}),
    ({"visibility-timeout"}, {"Fanout/Properties/VisibilityTimeout": GONE}),
    ({"dead-letters"}, {"Fanout/Properties/RedrivePolicy": GONE}),
    ({"receives"}, {"Fanout/Properties/RedrivePolicy/maxReceiveCount": 1}),
    ({"queue-encryption"}, {"Fanout/Properties/SqsManagedSseEnabled": False}),
    ({"queue-fifo"}, {"Fanout/Properties/FifoQueue": True}),
    # Sweeps and HTTP
    ({"sweep-endpoint"}, {VARIABLES + "WS_MANAGEMENT_ENDPOINT": GONE}),
    ({"sweep-input"}, {"Sweep/Properties/Targets/0/Input": GONE}),
    ({"sweep-input"}, {"Sweep/Properties/Targets/0/Input": '{"longwire": "sweap"}'}),
    ({"sweep-input"}, {"Sweep/Properties/Targets/0/Input": "sweep"}),
    ({"sweep-permission"}, {"SweepPermission": GONE}),
    ({"http-endpoint"}, {**http_api(), VARIABLES + "WS_MANAGEMENT_ENDPOINT": GONE, "Sweep": GONE}),
    (
        {"http-endpoint"},
        {**http_api_of_sam(), VARIABLES + "WS_MANAGEMENT_ENDPOINT": GONE, "Sweep": GONE},
    ),
    (
        {"endpoint-scheme"},
        {VARIABLES + "WS_MANAGEMENT_ENDPOINT": {"Fn::GetAtt": ["Api", "ApiEndpoint"]}},
    ),
    (
        {"endpoint-stage"},
        {
            VARIABLES + "WS_MANAGEMENT_ENDPOINT": sub(
                "https://${Api}.execute-api.eu-west-1.amazonaws.com"
            )
        },
    ),
    (
        {"endpoint-stage"},
        {
            VARIABLES + "WS_MANAGEMENT_ENDPOINT": sub(
                "https://${Api}.execute-api.eu-west-1.amazonaws.com/dev"
            )
        },
    ),
    (
        {"endpoint-api"},
        {
            VARIABLES
            + "WS_MANAGEMENT_ENDPOINT": "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/prod"
        },
    ),
]


def test_a_good_stack_has_no_finding() -> None:
    assert findings_of(changed({})) == []


@pytest.mark.parametrize(("codes", "changes"), MISTAKES)
def test_a_mistake_is_found_and_nothing_else(codes: set[str], changes: dict[str, Any]) -> None:
    assert codes_of(changed(changes)) == codes


# The same stack, said otherwise.
GOOD_TOO: list[dict[str, Any]] = [
    {
        VARIABLES + "WS_MANAGEMENT_ENDPOINT": sub(
            "https://${Api}.execute-api.eu-west-1.amazonaws.com/${Stage}/@connections"
        )
    },
    {
        VARIABLES + "WS_MANAGEMENT_ENDPOINT": sub(
            "${Api}.execute-api.${AWS::Region}.amazonaws.com/prod/"
        )
    },
    {VARIABLES + "WS_MANAGEMENT_ENDPOINT": "https://ws.example.com"},
    {VARIABLES + "LONGWIRE_DSN": {"Ref": "SomeParameter"}},
    {
        VARIABLES + "LONGWIRE_DSN": sub("dynamodb://${Table}?region=${AWS::Region}&ttl=600"),
    },
    {STATEMENTS + "0/Resource": sub(ARN + "${Api}/*")},
    {STATEMENTS + "0/Resource": [sub(ARN + "${Api}/prod/*"), "arn:aws:s3:::x"]},
    {STATEMENTS + "0/Resource": {"Fn::ImportValue": "arn"}},
    {STATEMENTS + "0/Resource": {"Fn::If": ["Nobody", "a", "b"]}},
    {STATEMENTS + "1/Action": ["dynamodb:*Item", "dynamodb:Query", "dynamodb:S?an"]},
    {
        STATEMENTS + "1/Resource": {
            "Fn::Join": ["", ["arn:aws:dynamodb:*:*:table/", {"Ref": "Table"}]]
        }
    },
    {"Role/Properties/ManagedPolicyArns/1": "arn:aws:iam::1:policy/own", STATEMENTS + "1": GONE},
    {"Role": GONE},
    {FUNCTION + "Role": {"Fn::ImportValue": "role"}},
    {
        "Stage/Properties/AutoDeploy": GONE,
        "Stage/Properties/DeploymentId": {"Ref": "Deployment"},
        "Deployment": {**DEPLOYMENT, "DependsOn": ["Connect", "Default", "Disconnect"]},
    },
    {"ApiPermission/Properties/SourceArn": GONE},
    {"ApiPermission/Properties/SourceArn": sub(ARN + "${Api}/*/*")},
    {"ApiPermission/Properties/FunctionName": {"Fn::GetAtt": ["Function", "Arn"]}},
    {
        "Nested": {"Type": "AWS::CloudFormation::Stack", "Properties": {}},
        "Connect": GONE,
        "Fanout": GONE,
    },
    {
        "Fn::ForEach::Routes": ["Key", ["a"], {}],
        "Connect": GONE,
        "Default": GONE,
        "ApiPermission": GONE,
    },
    {**IN_VPC, "Way": way(NatGatewayId={"Ref": "Nat"})},
    {**IN_VPC, "Association": GONE},
    {**IN_VPC, FUNCTION + "VpcConfig/SubnetIds": {"Ref": "Subnets"}},
    {**IN_VPC, FUNCTION + "VpcConfig/SubnetIds": ["subnet-1"]},
    {
        **IN_VPC,
        "Way": way(EgressOnlyInternetGatewayId="e"),
        "A": endpoint("dynamodb"),
        "B": endpoint("sqs"),
    },
    {"OtherTable": OTHER_TABLE, "Other": OTHER},
    {FUNCTION + "Timeout": {"Ref": "Seconds"}, FUNCTION + "MemorySize": {"Ref": "Memory"}},
    {FUNCTION + "Environment": {"Ref": "AWS::NoValue"}},
    {VARIABLES + "STRIPE_API_KEY": "{{resolve:secretsmanager:stripe}}"},
    {VARIABLES + "STRIPE_API_KEY": "arn:aws:secretsmanager:eu-west-1:1:secret:stripe"},
    {"Sweep/Properties/Targets/0/Input": sub('{"longwire": "sweep", "rate": ${Rate}}')},
    {"Sweep/Properties/State": "DISABLED", VARIABLES + "WS_MANAGEMENT_ENDPOINT": GONE},
    {FUNCTION + "ReservedConcurrentExecutions": 100},
    {FUNCTION + "LoggingConfig": GONE},
    {FUNCTION + "Timeout": 300, "Fanout/Properties/VisibilityTimeout": 1800},
]


@pytest.mark.parametrize("changes", GOOD_TOO)
def test_what_nobody_can_tell_is_no_finding(changes: dict[str, Any]) -> None:
    assert codes_of(changed(changes)) <= {"not-ours", "incomplete"}


@pytest.mark.parametrize("changes", [changes for _, changes in MISTAKES])
def test_most_rules_are_for_functions_of_ours_alone(changes: dict[str, Any]) -> None:
    template = changed({**changes})
    function = template["Resources"]["Function"]["Properties"]
    function["Environment"] = {"Variables": {"TABLE_NAME": "x"}}
    assert codes_of(template) <= {"not-ours", "invoke-permission", "stage-not-deployed"}


def test_a_function_may_be_named() -> None:
    template = changed({FUNCTION + "Environment": GONE, FUNCTION + "Timeout": 3})
    assert codes_of(template) == {"not-ours"}
    assert "timeout-short" in codes_of(template, "Function")


def test_no_finding_shows_a_secret() -> None:
    dsn = "redis://:hunter2@redis.example.com:port/0"
    changes = {VARIABLES + "LONGWIRE_DSN": dsn, VARIABLES + "MY_SECRET": "sesame-open"}
    found = findings_of(changed(changes))
    assert {"dsn-invalid", "secret-in-clear"} <= {one.code for one in found}
    assert "hunter2" not in str(found)
    assert "sesame" not in str(found)


def test_each_finding_says_why_and_what_to_write() -> None:
    for rule in RULES.values():
        assert rule.why
        assert rule.instead
