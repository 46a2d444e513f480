"""A stack that is deployed -> the same model as of a template. It is only read."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.doctor.checks.stores import backend_of, place_of
from longwire.doctor.deployed_roles import look_at_roles
from longwire.doctor.documents import UnreadableError
from longwire.doctor.looking import AWSReader, MissingError, RefusedAction
from longwire.doctor.modelling import stack_of
from longwire.doctor.naming import function_in
from longwire.doctor.ours import DSN
from longwire.doctor.resources import Place, Resource, Source
from longwire.doctor.values import UNKNOWN, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from longwire.doctor.model import LambdaFunction
    from longwire.doctor.stack import Stack

_MOST_NESTED = 20


class Looked(NamedTuple):
    """What is deployed, and what could not be looked at."""

    stack: Stack
    refused: tuple[RefusedAction, ...]
    missing: tuple[tuple[str, str], ...]  # a function, and the table that it names and is not there


class _Part(NamedTuple):
    """A resource that the stack has: its type, its name in the template, its name at AWS."""

    type: str
    logical: str
    physical: str


def read(name: str, region: str | None) -> Looked:
    """Look at a stack.

    Raises:
        UnreadableError: there is none of this name, no credentials, or a permission is missing
            without which nothing can be seen.
        ModuleNotFoundError: boto3 is not installed.
    """
    looker = AWSReader(region)
    parts = list(_parts(looker, name, 0))
    if not parts:
        raise UnreadableError(f"the stack {name!r} has no resources")
    resources: list[Resource] = []
    for part in parts:
        if (look := _LOOKS.get(part.type)) is None:
            continue
        try:
            resources += look(looker, part)
        except MissingError:
            continue  # somebody has deleted it by hand; the checks see that it is not there
    resources += look_at_roles(looker, resources)
    resources += _qualified(looker, resources)
    source = Source(tuple(resources), region=looker.region, deployed=True)
    stack = stack_of(source)
    more, missing = _named_tables(looker, stack)
    if more:
        stack = stack_of(source._replace(resources=(*resources, *more)))
    # A role that could not be read whole may allow anything.
    return Looked(stack, tuple(looker.refused), tuple(missing))


def _parts(looker: AWSReader, name: str, depth: int) -> Iterator[_Part]:
    try:
        found = [
            _Part(one["ResourceType"], one["LogicalResourceId"], one.get("PhysicalResourceId", ""))
            for one in looker.pages(
                "cloudformation",
                "ListStackResources",
                "StackResourceSummaries",
                StackName=name,
                must=True,
            )
        ]
    except MissingError:
        place = f" in {looker.region}"
        raise UnreadableError(
            f"there is no stack {name!r}{place}: give --region, or look at its name"
        ) from None
    for part in found:
        if part.type == "AWS::CloudFormation::Stack" and depth < _MOST_NESTED:
            yield from _parts(looker, part.physical, depth + 1)
        elif part.physical:
            yield part


def _resource(
    type_: str, part: _Part, id_: str, properties: dict[str, Any], name: str = ""
) -> Resource:
    given = {key: value for key, value in properties.items() if value not in (None, "")}
    return Resource(type_, Place(name or part.logical), id_, given)


# One look for each type


def _api(looker: AWSReader, part: _Part) -> Iterator[Resource]:
    api: dict[str, Any] = {"ApiId": part.physical}
    said = looker.ask("apigatewayv2", "GetApi", **api)
    if not said:
        return
    yield _resource("AWS::ApiGatewayV2::Api", part, part.physical, said)
    for kind, operation, id_ in (
        ("Route", "GetRoutes", "RouteId"),
        ("Integration", "GetIntegrations", "IntegrationId"),
        ("Stage", "GetStages", "StageName"),
        ("Deployment", "GetDeployments", "DeploymentId"),
        ("Authorizer", "GetAuthorizers", "AuthorizerId"),
    ):
        before = len(looker.refused)
        for one in looker.pages("apigatewayv2", operation, "Items", **api):
            name = f"{part.logical} {one.get('RouteKey') or one.get('Name') or one.get(id_)}"
            properties = {**one, **api}
            yield _resource(f"AWS::ApiGatewayV2::{kind}", part, one[id_], properties, name)
            if kind == "Route" and said.get("ProtocolType") == "WEBSOCKET":
                yield from _responses(looker, part, one["RouteId"], name)
        if kind == "Route" and len(looker.refused) > before:
            # There may be any.
            unknown = {**api, "RouteKey": UNKNOWN, "Target": UNKNOWN}
            yield _resource("AWS::ApiGatewayV2::Route", part, part.physical, unknown)


def _responses(looker: AWSReader, part: _Part, route: str, name: str) -> Iterator[Resource]:
    given: dict[str, Any] = {"ApiId": part.physical, "RouteId": route}
    try:
        for one in looker.pages("apigatewayv2", "GetRouteResponses", "Items", **given):
            id_ = one.get("RouteResponseId", "")
            yield _resource("AWS::ApiGatewayV2::RouteResponse", part, id_, given, name)
    except (MissingError, UnreadableError):
        return  # emulators have none


def _domain(looker: AWSReader, part: _Part) -> Iterator[Resource]:
    for one in looker.pages("apigatewayv2", "GetApiMappings", "Items", DomainName=part.physical):
        properties = {**one, "DomainName": part.physical}
        yield _resource(
            "AWS::ApiGatewayV2::ApiMapping", part, one.get("ApiMappingId", ""), properties
        )


def _function(looker: AWSReader, part: _Part) -> Iterator[Resource]:
    said = looker.ask("lambda", "GetFunctionConfiguration", FunctionName=part.physical)
    name: dict[str, Any] = {"FunctionName": part.physical}
    if not said:
        return
    layers = [one.get("Arn") for one in said.get("Layers") or []]
    concurrency: dict[str, Any] = {}
    with contextlib.suppress(MissingError, UnreadableError):
        concurrency = looker.ask("lambda", "GetFunctionConcurrency", **name)
    reserved = concurrency.get("ReservedConcurrentExecutions")
    properties = {**said, "Layers": layers, "ReservedConcurrentExecutions": reserved}
    properties["Longwire::Secret"] = True  # wherever it has come from, it is shown here
    if (said.get("LoggingConfig") or {}).get("LogFormat") == "Text":
        del properties["LoggingConfig"]  # as it is where nobody has said anything
    if said.get("PackageType") == "Image":
        properties["Code"] = {"ImageUri": UNKNOWN}
    yield _resource("AWS::Lambda::Function", part, part.physical, properties)
    yield from _permissions(looker, part.logical, part.physical, None)
    for one in looker.pages("lambda", "ListEventSourceMappings", "EventSourceMappings", **name):
        enabled = one.get("State") not in ("Disabled", "Disabling")
        properties = {**one, "FunctionName": part.physical, "Enabled": enabled}
        yield _resource("AWS::Lambda::EventSourceMapping", part, one.get("UUID", ""), properties)


def _permissions(
    looker: AWSReader, logical: str, function: str, qualifier: str | None
) -> Iterator[Resource]:
    given: dict[str, Any] = {
        "FunctionName": function,
        **({"Qualifier": qualifier} if qualifier else {}),
    }
    part = _Part("AWS::Lambda::Permission", logical, function)
    try:
        said = looker.ask("lambda", "GetPolicy", **given)
    except MissingError:
        return  # it has none
    if "Policy" not in said:
        # It may not be seen: then it may say anything.
        yield _resource(part.type, part, "", {"FunctionName": function, "Principal": UNKNOWN})
        return
    for one in json.loads(said["Policy"]).get("Statement", []):
        principal = one.get("Principal")
        principal = principal.get("Service") if isinstance(principal, dict) else principal
        condition = one.get("Condition", {})
        sources = [
            value
            for test in condition.values()
            for key, value in test.items()
            if key.lower() == "aws:sourcearn"
        ]
        properties = {
            "FunctionName": function,
            "Principal": principal or UNKNOWN,
            "SourceArn": sources[0] if sources else None,
        }
        yield _resource(part.type, part, one.get("Sid", ""), properties)


def _qualified(looker: AWSReader, resources: list[Resource]) -> list[Resource]:
    """Look at the permissions of the aliases and versions that an API invokes."""
    found: list[Resource] = []
    functions = {one.id: one for one in resources if one.type == "AWS::Lambda::Function"}
    asked = set()
    for one in resources:
        uri = one.get("IntegrationUri")
        if one.type != "AWS::ApiGatewayV2::Integration" or not isinstance(uri, str):
            continue
        name = function_in(uri)
        rest = uri.rpartition(f":function:{name}")[2].partition("/")[0].lstrip(":")
        if rest and name in functions and (name, rest) not in asked:
            asked.add((name, rest))
            found += _permissions(looker, functions[name].place.name, name, rest)
    return found


def _table(looker: AWSReader, part: _Part, region: str | None = None) -> Iterator[Resource]:
    name: dict[str, Any] = {"TableName": part.physical}
    said = looker.ask("dynamodb", "DescribeTable", region=region, **name).get("Table")
    if said is None:
        return
    ttl = looker.ask("dynamodb", "DescribeTimeToLive", region=region, **name).get(
        "TimeToLiveDescription"
    )
    enabled: dict[str, Any] = {"AttributeName": UNKNOWN, "Enabled": UNKNOWN}
    if ttl is not None:
        on = ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
        enabled = {"AttributeName": ttl.get("AttributeName"), "Enabled": on}
    mode = (said.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED")
    key = (said.get("SSEDescription") or {}).get("KMSMasterKeyArn")
    properties = {
        **said,
        **name,
        "TimeToLiveSpecification": enabled,
        "BillingMode": mode,
        "SSESpecification": {"KMSMasterKeyId": key} if key else None,
    }
    yield _resource("AWS::DynamoDB::Table", part, part.physical, properties)


def _bucket(looker: AWSReader, part: _Part) -> Iterator[Resource]:
    bucket: dict[str, Any] = {"Bucket": part.physical}
    before = len(looker.refused)
    try:
        lifecycle: Any = looker.ask("s3", "GetBucketLifecycleConfiguration", **bucket).get("Rules")
    except MissingError:
        lifecycle = None
    if len(looker.refused) > before:
        lifecycle = UNKNOWN
    versioning = looker.ask("s3", "GetBucketVersioning", **bucket).get("Status")
    properties = {
        "BucketName": part.physical,
        "LifecycleConfiguration": lifecycle,
        "VersioningConfiguration": {"Status": versioning},
    }
    yield _resource("AWS::S3::Bucket", part, part.physical, properties)


def _queue(looker: AWSReader, part: _Part) -> Iterator[Resource]:
    said = looker.ask("sqs", "GetQueueAttributes", QueueUrl=part.physical, AttributeNames=["All"])
    if not said:
        return
    properties = {
        **said.get("Attributes", {}),
        "QueueName": part.physical.rpartition("/")[2],
        "QueueUrl": part.physical,
    }
    yield _resource("AWS::SQS::Queue", part, part.physical, properties)


def _rule(looker: AWSReader, part: _Part) -> Iterator[Resource]:
    bus, _, name = part.physical.rpartition("|")
    given: dict[str, Any] = {"EventBusName": bus} if bus else {}
    said = looker.ask("events", "DescribeRule", Name=name, **given)
    if not said:
        return
    targets = looker.ask("events", "ListTargetsByRule", Rule=name, **given).get("Targets", UNKNOWN)
    yield _resource("AWS::Events::Rule", part, name, {**said, "Targets": targets})


def _schedule(looker: AWSReader, part: _Part) -> Iterator[Resource]:
    group, _, name = part.physical.rpartition("|")
    given: dict[str, Any] = {"GroupName": group} if group else {}
    said = looker.ask("scheduler", "GetSchedule", Name=name, **given)
    if said:
        yield _resource("AWS::Scheduler::Schedule", part, name, said)


_LOOKS: dict[str, Callable[[AWSReader, _Part], Iterator[Resource]]] = {
    "AWS::ApiGatewayV2::Api": _api,
    "AWS::ApiGatewayV2::DomainName": _domain,
    "AWS::Lambda::Function": _function,
    "AWS::DynamoDB::Table": _table,
    "AWS::S3::Bucket": _bucket,
    "AWS::SQS::Queue": _queue,
    "AWS::Events::Rule": _rule,
    "AWS::Scheduler::Schedule": _schedule,
}


def _named_tables(looker: AWSReader, stack: Stack) -> tuple[list[Resource], list[tuple[str, str]]]:
    """Look at tables that a function names, and that are not the stack's own."""
    found: list[Resource] = []
    missing: list[tuple[str, str]] = []
    own = {one.name for one in stack.tables}
    for function in stack.functions:
        dsn = function.variable(DSN)
        if not isinstance(dsn, str) or backend_of(function) != "dynamodb":
            continue
        name = shown(place_of(function))
        region = _region_of(function)
        if not name or (name in own and region in (None, looker.region)):
            continue
        part = _Part("AWS::DynamoDB::Table", name, name)
        try:
            found += list(_table(looker, part, region))
        except (MissingError, UnreadableError) as error:
            if isinstance(error, MissingError):
                missing.append((function.at.name, f"{name} in {region or looker.region}"))
    return found, missing


def _region_of(function: LambdaFunction) -> str | None:
    said = re.search(r"[?&]region(?:_name)?=([a-z0-9-]+)", shown(function.variable(DSN)))
    return said[1] if said else None
