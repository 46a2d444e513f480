"""What the role of the function may do, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.doctor.checks.stores import backend_of, place_of, tables_of
from longwire.doctor.findings import Finding, found
from longwire.doctor.naming import arn_of
from longwire.doctor.ours import QUEUE_URL
from longwire.doctor.roles import allows, names_action, resource_matches
from longwire.doctor.values import Value, joined, parts_of, same, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.doctor.model import Api, LambdaFunction, Role
    from longwire.doctor.stack import Stack

MANAGE = "execute-api:ManageConnections"
TABLE_ACTIONS = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query")
# Of a function that has but some of its API's routes: what these two need. Nothing is sent there.
OF_ROUTES = {
    "$connect": {"dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:Query"},
    "$disconnect": {"dynamodb:DeleteItem", "dynamodb:Query"},
}
OBJECT_ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
READ_QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


def check_manage_connections(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The function may post to the clients of its API."""
    for function in ours:
        role, routes = stack.role_of(function), _some_routes(stack, function)
        if role is None or (routes and routes <= OF_ROUTES.keys()):
            continue
        for api in stack.our_apis:
            for stage in _stages(stack, api):
                told = {
                    method: allows(role, MANAGE, _connection(api, stage, method))
                    for method in ("POST", "DELETE", "GET")
                }
                if told["POST"] is False:
                    yield _not_allowed(role, function, api, stage)
                    break
                missing = [method for method, may in told.items() if may is False]
                if missing:
                    text = f"{function.at.name} may not {' nor '.join(missing)} connections"
                    yield found("manage-connections-methods", role.at, text, "Policies")
                    break


def _some_routes(stack: Stack, function: LambdaFunction) -> set[Value]:
    """Return the routes of a function that shares its API with others; else none."""
    routes = stack.routes_to(function)
    beside = (stack.function_behind(one) for route in routes for one in stack.routes_beside(route))
    shared = any(one is None or one.at.name != function.at.name for one in beside)
    return {one.key for one in routes} if shared else set()


def _actions(routes: set[Value]) -> list[str]:
    """Return what a function needs of a table for these routes, or for all if there are none."""
    if not routes <= OF_ROUTES.keys() or not routes:
        return [*TABLE_ACTIONS]
    needed = {action for route in routes for action in OF_ROUTES[str(route)]}
    return [action for action in TABLE_ACTIONS if action in needed]


def _stages(stack: Stack, api: Api) -> list[Value]:
    return [one.name for one in stack.stages if same(one.api, api.id)] or ["any"]


def _connection(api: Api, stage: Value, method: str) -> Value:
    """Return the ARN of a connection, as API Gateway asks for it."""
    parts = [
        "arn:aws:execute-api:region:account:",
        api.id,
        "/",
        stage,
        f"/{method}/@connections/id",
    ]
    return joined(parts)


def _not_allowed(role: Role, function: LambdaFunction, api: Api, stage: Value) -> Finding:
    statements = names_action(role, MANAGE)
    resources = [one for statement in statements for one in statement.resources]
    if not resources:
        return found(
            "manage-connections", role.at, f"{function.at.name} may not use {MANAGE}", "Policies"
        )
    given = resources[0]
    if resource_matches(
        given, joined(["arn:aws:execute-api:r:a:", api.id, "/", stage, "/@connections/id"])
    ):
        cause = "it lacks the part for the method"
    elif any(resource_matches(given, _connection(other, stage, "POST")) for other in [api]):
        cause = "a Deny takes it back"
    elif "@connections" not in shown(given):
        cause = "it has no /@connections/*"
    elif not any(part == api.id for part in parts_of(given)) and shown(api.id) not in shown(given):
        cause = "it is another API's"
    else:
        cause = f"it does not cover the stage {shown(stage)}"
    return found(
        "manage-connections-arn", role.at, f"{MANAGE} is for {shown(given)}: {cause}", "Policies"
    )


def check_table(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The function may use its table."""
    for function in ours:
        role = stack.role_of(function)
        if role is None or backend_of(function) != "dynamodb":
            continue
        arn = arn_of("AWS::DynamoDB::Table", place_of(function))
        routes = _some_routes(stack, function)
        wanted = _actions(routes)
        missing = [action for action in wanted if allows(role, action, arn) is False]
        if missing:
            text = f"{function.at.name} may not {', '.join(missing)} on {shown(place_of(function))}"
            yield found("store-permission", role.at, text, "Policies")
        elif not routes and allows(role, "dynamodb:Scan", arn) is False:
            text = f"{function.at.name} may not dynamodb:Scan on {shown(place_of(function))}"
            yield found("scan-permission", role.at, text, "Policies")
        for table in tables_of(stack, function):
            key = table.own_key
            if key is None or "alias/aws/" in shown(key):
                continue
            if allows(role, "kms:Decrypt", key) is False:
                text = f"{function.at.name} may not use the key of its table"
                yield found("key-permission", role.at, text, "Policies")


def check_bucket(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The function may use its bucket."""
    for function in ours:
        role = stack.role_of(function)
        if role is None or backend_of(function) != "s3":
            continue
        bucket = arn_of("AWS::S3::Bucket", place_of(function))
        prefix = _prefix(function)
        missing = [
            one
            for one in OBJECT_ACTIONS
            if allows(role, one, joined([bucket, prefix, "/x"])) is False
        ]
        if allows(role, "s3:ListBucket", bucket) is False:
            missing.append("s3:ListBucket")
        if missing:
            text = f"{function.at.name} may not {', '.join(missing)} on {shown(place_of(function))}"
            yield found("store-permission", role.at, text, "Policies")


def _prefix(function: LambdaFunction) -> str:
    """Return what the DSN has behind the bucket's name."""
    last = parts_of(function.variable("LONGWIRE_DSN"))[-1]
    path = last.partition("?")[0].rpartition("://")[2] if isinstance(last, str) else ""
    _, slash, rest = path.partition("/")
    return f"/{rest}".rstrip("/") if slash else ""


def check_queue(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The function may send to its queue, and Lambda may read it in the function's name."""
    for function in ours:
        role, url = stack.role_of(function), function.variable(QUEUE_URL)
        if role is None or url is None:
            continue
        queue = next((one for one in stack.queues if url == one.url), None)
        if queue is None:
            continue
        arn = arn_of("AWS::SQS::Queue", queue.name)
        wanted = ["sqs:SendMessage"]
        if any(stack.function_of(one.function) is function for one in stack.event_sources):
            wanted += READ_QUEUE
        missing = [one for one in wanted if allows(role, one, arn) is False]
        if missing:
            text = f"{function.at.name} may not {', '.join(missing)} on {queue.at.name}"
            yield found("queue-permission", role.at, text, "Policies")


def check_platform(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The function may log, and be in its VPC."""
    for function in ours:
        role = stack.role_of(function)
        if role is None:
            continue
        log = "arn:aws:logs:region:account:log-group:/aws/lambda/function:log-stream:x"
        if allows(role, "logs:PutLogEvents", log) is False and not names_action(
            role, "logs:PutLogEvents"
        ):
            text = f"{function.at.name} may not write its log"
            yield found("log-permission", role.at, text, "ManagedPolicyArns")
        anything = "arn:aws:ec2:region:account:*/*"
        enters = "ec2:CreateNetworkInterface"
        if function.in_vpc is not True or names_action(role, enters):
            continue
        if allows(role, enters, anything) is False:
            text = f"{function.at.name} may not be put into its VPC"
            yield found("network-permission", role.at, text, "ManagedPolicyArns")


def check_wide(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The function may not do more than it needs."""
    for function in ours:
        role = stack.role_of(function)
        if role is None:
            continue
        for statement in role.statements:
            wide = [
                one
                for one in statement.actions
                if one in ("*", "dynamodb:*", "execute-api:*", "s3:*")
            ]
            api = "execute-api:ManageConnections" in statement.actions
            everywhere = api and any(_is_every_api(one) for one in statement.resources)
            if statement.allows and (wide or everywhere):
                what = f"{wide[0]}" if wide else f"{MANAGE} on {shown(statement.resources[0])}"
                text = f"{function.at.name} may use {what}"
                yield found("permission-wide", role.at, text, "Policies", "ManagedPolicyArns")
                break


def _is_every_api(resource: Value) -> bool:
    text = shown(resource)
    return text == "*" or text.partition("execute-api:")[2].rpartition("@connections")[0] in (
        "*:*:*/",
        "*:*:*/*/",
    )
