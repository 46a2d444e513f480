"""Roles and their policies, and what they allow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from longwire.doctor.model import PolicyStatement, Role
from longwire.doctor.naming import role_in, split_arn
from longwire.doctor.values import UNKNOWN, Ref, Unknown, Value, is_known, matches, parts_of, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from longwire.doctor.resources import Resource

# Policies of AWS's own, as far as they matter here: their name, what they allow, on everything.
_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_VPC = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DeleteNetworkInterface",
)
MANAGED: dict[str, tuple[str, ...]] = {
    "AWSLambdaBasicExecutionRole": _LOGS,
    "AWSLambdaVPCAccessExecutionRole": (*_LOGS, *_VPC),
    "AWSLambdaSQSQueueExecutionRole": (*_LOGS, *_QUEUE),
    "AWSXRayDaemonWriteAccess": ("xray:*",),
    "AWSXrayWriteOnlyAccess": ("xray:*",),
    "CloudWatchLambdaInsightsExecutionRolePolicy": _LOGS,
    "CloudWatchLogsFullAccess": ("logs:*",),
    "AmazonAPIGatewayInvokeFullAccess": ("execute-api:Invoke", "execute-api:ManageConnections"),
    "AmazonDynamoDBFullAccess": ("dynamodb:*",),
    "AmazonDynamoDBFullAccess_v2": ("dynamodb:*",),
    "AmazonDynamoDBReadOnlyAccess": ("dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"),
    "AmazonS3FullAccess": ("s3:*",),
    "AmazonS3ReadOnlyAccess": ("s3:Get*", "s3:List*"),
    "AmazonSQSFullAccess": ("sqs:*",),
    "AWSLambda_FullAccess": ("lambda:*",),
    "AdministratorAccess": ("*",),
    "PowerUserAccess": ("*",),
}

_BY_ARN = "Longwire::Attachment"  # of Terraform
# What gives a role a policy, from elsewhere.
_ATTACHED = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy", _BY_ARN)


def roles_of(resources: Sequence[Resource], *, deployed: bool) -> tuple[Role, ...]:
    """Return each role with the policies that are attached to it, wherever that is said."""
    managed = {one.id: one for one in resources if one.type == "AWS::IAM::ManagedPolicy"}
    attached = [one for one in resources if one.type in _ATTACHED]
    roles = []
    for role in resources:
        if role.type != "AWS::IAM::Role":
            continue
        name = role.get("RoleName", default=role.id)
        statements: list[PolicyStatement] = []
        complete = True
        for document, known in _documents(role, name, attached, managed):
            statements += _statements(document)
            complete &= known
        roles.append(Role(role.place, name, tuple(statements), complete))
    return tuple(roles)


def _documents(
    role: Resource, name: Value, attached: Sequence[Resource], managed: dict[Value, Resource]
) -> Iterator[tuple[Value, bool]]:
    """Give the text of each policy of a role, and whether it is all there."""
    for policy in _list(role.get("Policies")):
        yield _of_policy(policy)
    for arn in _list(role.get("ManagedPolicyArns")):
        if arn in managed:
            yield _known(managed[arn].get("PolicyDocument"))
        else:
            yield _of_aws(arn)
    if role.get("PermissionsBoundary") is not None:
        yield None, False
    for other in attached:
        if other.type != _BY_ARN:
            names = [*_list(other.get("Roles")), *_list(other.get("RoleName"))]
            told = [same(role_in(one), name) for one in names]
            if True in told:
                yield _known(other.get("PolicyDocument"))
            elif None in told:
                yield None, False
        elif same(role_in(other.get("RoleName")), name) is not False:
            arn = other.get("PolicyArn")
            found = managed.get(arn)
            yield _known(found.get("PolicyDocument")) if found else _of_aws(arn)


def _list(value: Value) -> list[Value]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _of_policy(policy: Value) -> tuple[Value, bool]:
    return _known(policy.get("PolicyDocument")) if isinstance(policy, dict) else (None, False)


def _known(document: Value) -> tuple[Value, bool]:
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return None, False
    return (document, True) if isinstance(document, dict) else (None, False)


def _of_aws(arn: Value) -> tuple[Value, bool]:
    last = parts_of(arn)[-1] if parts_of(arn) else None
    name = last.rpartition("/")[2] if isinstance(last, str) else ""
    if name not in MANAGED:
        return None, False
    statement = {"Effect": "Allow", "Action": list(MANAGED[name]), "Resource": "*"}
    return {"Statement": [statement]}, True


def _statements(document: Value) -> Iterator[PolicyStatement]:
    for one in _list(document.get("Statement") if isinstance(document, dict) else None):
        if not isinstance(one, dict):
            yield PolicyStatement(True, [UNKNOWN], [UNKNOWN], False)
            continue
        negated = "NotAction" in one or "NotResource" in one
        yield PolicyStatement(
            one.get("Effect") != "Deny",
            _list(one.get("Action", UNKNOWN if negated else None)),
            _list(one.get("Resource", UNKNOWN if negated else None)),
            not negated and "Condition" not in one and isinstance(one.get("Effect"), str),
        )


def allows(role: Role, action: str, target: Value) -> bool | None:
    """Tell whether a role may do something with a resource; None: nobody can tell."""
    told: list[bool | None] = [] if role.complete else [None]
    for one in role.statements:
        fits = _both(_any(one.actions, action), _any_resource(one.resources, target))
        if not one.certain and fits:
            fits = None
        if one.allows:
            told.append(fits)
        elif fits:
            return False
    return True if True in told else None if None in told else False


def names_action(role: Role, action: str) -> list[PolicyStatement]:
    """Return the statements that allow an action, whatever on."""
    return [one for one in role.statements if one.allows and _any(one.actions, action)]


def _both(one: bool | None, other: bool | None) -> bool | None:
    return False if False in (one, other) else None if None in (one, other) else True


def _any(patterns: Value, text: Value) -> bool | None:
    told = [matches(one, text) for one in patterns]
    return True if True in told else None if None in told else False


def _any_resource(patterns: Value, target: Value) -> bool | None:
    told = [resource_matches(one, target) for one in patterns]
    return True if True in told else None if None in told else False


def resource_matches(pattern: Value, target: Value) -> bool | None:
    """Tell whether a `Resource` of a policy is or covers an ARN.

    Where it is (partition, region, account) is not compared: it may be said in many ways.
    """
    if pattern == "*":
        return True
    given, wanted = split_arn(pattern), split_arn(target)
    if wanted is None:
        return None
    if given is None:
        first = parts_of(pattern)[0] if parts_of(pattern) else UNKNOWN
        if isinstance(first, Ref):
            return None if first.open else False  # a name, or the ARN of something else
        return None if isinstance(first, Unknown) or first.startswith("arn:") else False
    return _both(matches(given[0], wanted[0]), matches(given[1], wanted[1]))


def is_whole(role: Role) -> bool:
    """Tell whether all that a role may do is known."""
    return role.complete and all(is_known(one.actions) for one in role.statements)
