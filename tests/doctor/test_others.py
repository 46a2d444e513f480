"""Stacks that are not Longwire's, in the shapes that others have: no false alarm."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from longwire.doctor.values import Ref, Text, matches
from tests.doctor.stacks import codes_of

API = {"Ref": "Api"}
REGION, ACCOUNT, PARTITION = (
    {"Ref": f"AWS::{name}"} for name in ("Region", "AccountId", "Partition")
)


def join(*parts: Any) -> dict[str, Any]:
    return {"Fn::Join": ["", list(parts)]}


def route(name: str, key: str, uri: Any, **integration: Any) -> dict[str, Any]:
    """A route with an integration of its own."""
    return {
        f"{name}Route": {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {
                "ApiId": API,
                "RouteKey": key,
                "AuthorizationType": "NONE",
                "Target": {"Fn::Join": ["/", ["integrations", {"Ref": f"{name}Integration"}]]},
            },
        },
        f"{name}Integration": {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": API,
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": uri,
                **integration,
            },
        },
    }


def function(name: str, **permission: Any) -> dict[str, Any]:
    """A function for one route, small and quick, as samples have them."""
    return {
        name: {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "nodejs22.x",
                "Handler": "app.handler",
                "Code": {"S3Bucket": "b", "S3Key": "k"},
                "Role": {"Fn::GetAtt": [f"{name}Role", "Arn"]},
                "Environment": {"Variables": {"TABLE_NAME": {"Ref": "Connections"}}},
            },
        },
        f"{name}Role": {"Type": "AWS::IAM::Role", "Properties": {"Policies": []}},
        f"{name}Permission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "Action": "lambda:InvokeFunction",
                "FunctionName": {"Ref": name},
                "Principal": "apigateway.amazonaws.com",
                **permission,
            },
        },
    }


def uri_of(name: str) -> dict[str, str]:
    arn = f"${{{name}.Arn}}"
    return {
        "Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/"
        f"{arn}/invocations"
    }


STACK: dict[str, Any] = {
    "Api": {
        "Type": "AWS::ApiGatewayV2::Api",
        "Properties": {"Name": "chat", "ProtocolType": "WEBSOCKET"},
    },
    "Stage": {
        "Type": "AWS::ApiGatewayV2::Stage",
        "Properties": {"ApiId": API, "StageName": "Prod", "DeploymentId": {"Ref": "Deployment"}},
    },
    "Deployment": {"Type": "AWS::ApiGatewayV2::Deployment", "Properties": {"ApiId": API}},
    "Connections": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "KeySchema": [{"AttributeName": "connectionId", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "connectionId", "AttributeType": "S"}],
        },
    },
}


def cdk_permission(key: str) -> Any:
    """CDK writes `/*$connect`, without a slash before the route."""
    return join("arn:", PARTITION, ":execute-api:", REGION, ":", ACCOUNT, ":", API, f"/*{key}")


SHAPES: dict[str, dict[str, Any]] = {
    "a function for each route": {
        **function("OnConnect"),
        **function("OnMessage"),
        **route("Connect", "$connect", uri_of("OnConnect")),
        **route("Message", "sendmessage", uri_of("OnMessage")),
    },
    "the permission of CDK": {
        **function("OnConnect", SourceArn=cdk_permission("$connect")),
        **route("Connect", "$connect", uri_of("OnConnect")),
    },
    "a queue behind a route": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": True}},
        **route(
            "Default",
            "$default",
            join("arn:aws:apigateway:", REGION, ":sqs:path/", ACCOUNT, "/queue"),
            IntegrationType="AWS",
        ),
    },
    "a function of another stack": route(
        "Connect",
        "$connect",
        {
            "Fn::Sub": [
                "arn:aws:apigateway:x:lambda:path/f/${F}/invocations",
                {"F": {"Fn::ImportValue": "f"}},
            ]
        },
        CredentialsArn={"Fn::ImportValue": "role"},
    ),
    "a role instead of a permission": {
        **{k: v for k, v in function("On").items() if k != "OnPermission"},
        **route("Connect", "$connect", uri_of("On"), CredentialsArn="arn:aws:iam::1:role/r"),
    },
    "an alias in a stage variable": {
        **{k: v for k, v in function("On").items() if k != "OnPermission"},
        **route(
            "Connect",
            "$connect",
            "arn:aws:apigateway:x:lambda:path/2015-03-31/functions/${stageVariables.f}/invocations",
        ),
    },
    "a mock": route("Ping", "ping", None, IntegrationType="MOCK"),
    "a route response": {
        **function("On"),
        **route("Default", "$default", uri_of("On")),
        "Response": {
            "Type": "AWS::ApiGatewayV2::RouteResponse",
            "Properties": {"ApiId": API, "RouteId": {"Ref": "DefaultRoute"}},
        },
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_other_stacks_are_hardly_judged(shape: str) -> None:
    template = {"Resources": copy.deepcopy({**STACK, **SHAPES[shape]})}
    assert codes_of(template) <= {"not-ours"}


# Patterns


API_ID, STAGE, OPEN = Ref("Api"), Ref("Stage"), Ref("Parameter", open=True)
TARGET = Text((API_ID, "/prod/POST/@connections/abc"))


@pytest.mark.parametrize(
    ("pattern", "target", "told"),
    [
        ("*", "abc", True),
        ("a*c", "abc", True),
        ("a?c", "abc", True),
        ("a?c", "abbc", False),
        ("a.c", "abc", False),
        ("a[b]c", "abc", False),
        (Text((API_ID, "/*")), TARGET, True),
        (Text((API_ID, "/*/@connections/*")), TARGET, True),
        (Text((API_ID, "/dev/*")), TARGET, False),
        (Text((STAGE, "/*")), TARGET, False),
        (Text((OPEN, "/*")), TARGET, None),
        (Text(("abc/", "*")), Text((OPEN, "/x")), None),
        ("*" * 5000 + "x", "y" * 5000, False),
    ],
)
def test_patterns_of_iam(pattern: Any, target: Any, told: bool | None) -> None:
    assert matches(pattern, target) is told
