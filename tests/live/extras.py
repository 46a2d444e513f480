"""The stack beside that of `longwire template sam`: what only a measurement needs."""

from __future__ import annotations

from typing import Any, NamedTuple

from longwire.deploy.plan import ROUTES, STAGE, TABLE_ACTIONS, TABLE_KEYS, TTL_ATTRIBUTE

# Messages a second, and at once, that the throttled route takes.
THROTTLE = 2
_POST = (
    "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${%s}/%s/*/@connections/*"
)


class Managed(NamedTuple):
    """Where instances of the account's own may be started."""

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]


class Extras(NamedTuple):
    """What the stack is to have; SnapStart needs Python 3.12, Managed Instances 3.13."""

    python: str
    architecture: str
    snapstart: bool = True
    managed: Managed | None = None


def template(extras: Extras) -> dict[str, Any]:
    """Return the template for SAM; the code is in the folder `code` beside it."""
    resources = {
        "Table": _table(),
        "Ending": _function(extras, "ending.handler"),
        **_served(extras, "Throttled", "function", {}),
    }
    resources["ThrottledApi"]["Properties"]["DefaultRouteSettings"] = {
        "ThrottlingRateLimit": THROTTLE,
        "ThrottlingBurstLimit": THROTTLE,
    }
    published = {"AutoPublishAlias": "live"}
    if extras.snapstart:
        snapshot = {**published, "SnapStart": {"ApplyOn": "PublishedVersions"}}
        resources |= _served(extras, "Snap", "alias", snapshot)
    if extras.managed is not None:
        resources["Instances"] = _capacity(extras, extras.managed)
        provider = {"Arn": {"Fn::GetAtt": ["Instances", "Arn"]}}
        more = {**published, "CapacityProviderConfig": provider, "MemorySize": 2048}
        resources |= _served(extras, "Managed", "alias", more)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Description": "What `make live` measures, beside the stack of longwire template sam",
        "Resources": resources,
    }


def _served(extras: Extras, name: str, how: str, more: dict[str, Any]) -> dict[str, Any]:
    """Return a function of the probe, and its WebSocket API."""
    function = _function(extras, "main.handler", **more)
    function["Properties"] |= {
        "Environment": {"Variables": {"LONGWIRE_DSN": {"Fn::Sub": "dynamodb://${Table}"}}},
        "Policies": [{"Version": "2012-10-17", "Statement": _statements(f"{name}Api")}],
    }
    # SAM's own reference to the alias that it makes.
    arn = {"Ref": f"{name}.Alias"} if how == "alias" else {"Fn::GetAtt": [name, "Arn"]}
    api = {
        "Type": "AWS::Serverless::WebSocketApi",
        "Properties": {
            "StageName": STAGE,
            "RouteSelectionExpression": "$request.body.action",
            "Routes": {route: {"FunctionArn": arn} for route in ROUTES},
        },
    }
    return {name: function, f"{name}Api": api}


def _function(extras: Extras, handler: str, **more: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::Serverless::Function",
        "Properties": {
            "CodeUri": "code",
            "Handler": handler,
            "Runtime": f"python{extras.python}",
            "Architectures": [extras.architecture],
            "MemorySize": 512,
            "Timeout": 30,
            **more,
        },
    }


def _statements(api: str) -> list[dict[str, Any]]:
    post = {"Fn::Sub": _POST % (api, STAGE)}
    table = {"Fn::GetAtt": ["Table", "Arn"]}
    return [
        {"Effect": "Allow", "Action": "execute-api:ManageConnections", "Resource": post},
        {"Effect": "Allow", "Action": list(TABLE_ACTIONS), "Resource": table},
    ]


def _table() -> dict[str, Any]:
    return {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": "S"} for name, _ in TABLE_KEYS
            ],
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in TABLE_KEYS],
            "TimeToLiveSpecification": {"AttributeName": TTL_ATTRIBUTE, "Enabled": True},
        },
    }


def _capacity(extras: Extras, managed: Managed) -> dict[str, Any]:
    network = {
        "SubnetIds": list(managed.subnets),
        "SecurityGroupIds": list(managed.security_groups),
    }
    return {
        "Type": "AWS::Serverless::CapacityProvider",
        "Properties": {
            "VpcConfig": network,
            "InstanceRequirements": {"Architectures": [extras.architecture]},
            "ScalingConfig": {"MaxVCpuCount": 12},
        },
    }
