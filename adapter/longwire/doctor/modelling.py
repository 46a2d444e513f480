"""Resources -> the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from longwire.doctor.model import (
    Api,
    ApiStage,
    Authorizer,
    Deployment,
    DomainMapping,
    EventSource,
    Integration,
    LambdaFunction,
    Layer,
    MetricAlarm,
    Permission,
    PrivateStore,
    Route,
    RouteResponse,
    S3Bucket,
    Schedule,
    SQSQueue,
    Table,
    VpcEndpoint,
)
from longwire.doctor.modelling_events import (
    alarm_of,
    event_source_of,
    queue_of,
    schedule_of,
    schedules_of_rule,
)
from longwire.doctor.naming import function_in
from longwire.doctor.networks import subnets_of
from longwire.doctor.resources import flag, number
from longwire.doctor.roles import roles_of
from longwire.doctor.stack import Stack
from longwire.doctor.values import UNKNOWN, Ref, Unknown, Value, joined, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from longwire.doctor.resources import Resource, Source


def stack_of(source: Source) -> Stack:
    """Make the model of what a reader has found."""
    found: dict[type, list[Any]] = {}
    for resource in source.resources:
        if resource.type == "AWS::Lambda::Function":
            found.setdefault(LambdaFunction, []).append(_function(resource, source.folder))
        elif resource.type == "AWS::Lambda::LayerVersion":
            layer = Layer(resource.id, _code(resource, source.folder))
            found.setdefault(Layer, []).append(layer)
        elif resource.type == "AWS::Events::Rule":
            found.setdefault(Schedule, []).extend(schedules_of_rule(resource))
        elif (make := _MAKERS.get(resource.type)) is not None:
            one = make(resource)
            found.setdefault(type(one), []).append(one)

    def all_(kind: type) -> tuple[Any, ...]:
        return tuple(found.get(kind, ()))

    return Stack(
        apis=all_(Api),
        routes=all_(Route),
        integrations=all_(Integration),
        route_responses=all_(RouteResponse),
        stages=all_(ApiStage),
        deployments=all_(Deployment),
        authorizers=all_(Authorizer),
        domain_mappings=all_(DomainMapping),
        functions=all_(LambdaFunction),
        layers=all_(Layer),
        roles=roles_of(source.resources, deployed=source.deployed),
        tables=all_(Table),
        buckets=all_(S3Bucket),
        queues=all_(SQSQueue),
        event_sources=all_(EventSource),
        schedules=all_(Schedule),
        permissions=all_(Permission),
        alarms=all_(MetricAlarm),
        subnets=subnets_of(source.resources),
        vpc_endpoints=all_(VpcEndpoint),
        private_stores=all_(PrivateStore),
        complete=source.complete,
        region=source.region,
        deployed=source.deployed,
    )


def _api(one: Resource) -> Api:
    imported = one.get("Body") is not None or one.get("BodyS3Location") is not None
    return Api(
        one.place,
        one.id,
        one.get("ProtocolType", default="HTTP" if imported else UNKNOWN),
        one.get("RouteSelectionExpression"),
        flag(one.get("DisableExecuteApiEndpoint")),
    )


def _after(value: Value, prefix: str) -> Value:
    """Take `integrations/` away from the id of an integration."""
    parts = list(parts_of(value))
    if parts and isinstance(parts[0], str):
        parts[0] = parts[0].removeprefix(prefix)
    return joined(parts)


def _route(one: Resource) -> Route:
    target = one.get("Target")
    return Route(
        one.place,
        one.id,
        one.get("ApiId"),
        one.get("RouteKey"),
        None if target is None else _after(target, "integrations/"),
        one.get("AuthorizationType", default="NONE"),
        one.get("AuthorizerId"),
        one.get("RouteResponseSelectionExpression"),
    )


def _integration(one: Resource) -> Integration:
    uri = one.get("IntegrationUri")
    return Integration(
        one.place,
        one.id,
        one.get("ApiId"),
        one.get("IntegrationType"),
        UNKNOWN if any("stageVariables" in p for p in parts_of(uri) if isinstance(p, str)) else uri,
        number(one.get("TimeoutInMillis")),
        one.get("CredentialsArn"),
    )


def _stage(one: Resource) -> ApiStage:
    return ApiStage(
        one.place,
        one.get("ApiId"),
        one.get("StageName"),
        flag(one.get("AutoDeploy")),
        one.get("DeploymentId"),
        number(one.get("DefaultRouteSettings", "ThrottlingRateLimit")),
        number(one.get("DefaultRouteSettings", "ThrottlingBurstLimit")),
        flag(one.get("DefaultRouteSettings", "DataTraceEnabled")),
        one.get("LastDeploymentStatusMessage"),
    )


def _function(one: Resource, folder: Path | None) -> LambdaFunction:
    architectures = one.get("Architectures", default=["x86_64"])
    vpc = one.get("VpcConfig")
    subnets = one.get("VpcConfig", "SubnetIds", default=[])
    environment = one.get("Environment", "Variables", default={})
    return LambdaFunction(
        at=one.place,
        name=one.get("FunctionName", default=one.id),
        handler=one.get("Handler"),
        runtime=one.get("Runtime"),
        timeout=number(one.get("Timeout", default=3)),
        memory=number(one.get("MemorySize", default=128)),
        architecture=architectures[0]
        if isinstance(architectures, list) and architectures
        else UNKNOWN,
        environment=environment if isinstance(environment, dict) else UNKNOWN,
        refers=one.get("Longwire::Refers", default={}),
        secret=bool(one.get("Longwire::Secret", default=False)),
        role=one.get("Role", default=UNKNOWN),
        in_vpc=UNKNOWN if isinstance(vpc, Unknown | Ref) else bool(vpc) and subnets != [],
        subnets=subnets,
        layers=one.get("Layers", default=[]),
        log_format=one.get("LoggingConfig", "LogFormat"),
        log_level=one.get("LoggingConfig", "ApplicationLogLevel"),
        reserved=number(one.get("ReservedConcurrentExecutions")),
        snap_start=one.get("SnapStart", "ApplyOn", default="None"),
        image=one.get("PackageType", default="Zip") == "Image"
        or one.get("Code", "ImageUri") is not None,
        state=_state(one),
        folder=_code(one, folder),
    )


def _state(one: Resource) -> Value:
    if one.get("State") == "Failed":
        return one.get("StateReason", default="its state is Failed")
    if one.get("LastUpdateStatus") == "Failed":
        return one.get("LastUpdateStatusReason", default="its last update has failed")
    return None


def _code(one: Resource, folder: Path | None) -> Path | None:
    """Return where the code of a function is, if that is beside its template."""
    said = one.get("Longwire::Asset") or one.get("Longwire::Folder")
    said = said or one.get("Code", "Longwire::Folder") or one.get("Content", "Longwire::Folder")
    if folder is None or not isinstance(said, str) or "://" in said or "\0" in said:
        return None
    try:
        path = (folder / said).resolve()
        return path if path.exists() else None
    except OSError:
        return None


def _table(one: Resource) -> Table:
    types, keys = one.get("AttributeDefinitions"), one.get("KeySchema")
    ttl = one.get("TimeToLiveSpecification")
    enabled = flag(one.get("TimeToLiveSpecification", "Enabled"), default=True)
    attribute: Value = (
        None
        if ttl is None or enabled is False
        else one.get("TimeToLiveSpecification", "AttributeName")
    )
    return Table(
        one.place,
        one.get("TableName", default=one.id),
        _keys(keys, types),
        UNKNOWN if isinstance(enabled, Unknown) else attribute,
        one.get("BillingMode", default="PROVISIONED"),
        one.get("SSESpecification", "KMSMasterKeyId"),
    )


def _keys(keys: Value, types: Value) -> Value:
    if not isinstance(keys, list) or not isinstance(types, list):
        return UNKNOWN
    if not all(isinstance(one, dict) for one in [*keys, *types]):
        return UNKNOWN
    type_of = [(one.get("AttributeName"), one.get("AttributeType")) for one in types]
    return [
        (
            name := key.get("AttributeName"),
            key.get("KeyType"),
            next((t for n, t in type_of if n == name), None),
        )
        for key in keys
    ]


def _bucket(one: Resource) -> S3Bucket:
    status = one.get("VersioningConfiguration", "Status")
    return S3Bucket(
        one.place,
        one.get("BucketName", default=one.id),
        status == "Enabled",
        one.get("LifecycleConfiguration"),
    )


_MAKERS: dict[str, Callable[[Resource], NamedTuple]] = {
    "AWS::ApiGatewayV2::Api": _api,
    "AWS::ApiGatewayV2::Route": _route,
    "AWS::ApiGatewayV2::Integration": _integration,
    "AWS::ApiGatewayV2::RouteResponse": lambda one: RouteResponse(
        one.place, one.get("ApiId"), one.get("RouteId")
    ),
    "AWS::ApiGatewayV2::Stage": _stage,
    "AWS::ApiGatewayV2::Deployment": lambda one: Deployment(
        one.place, one.id, one.get("ApiId"), one.depends_on
    ),
    "AWS::ApiGatewayV2::Authorizer": lambda one: Authorizer(
        one.place,
        one.id,
        one.get("ApiId"),
        one.get("AuthorizerType"),
        one.get("IdentitySource", default=[]),
        one.get("AuthorizerUri"),
    ),
    "AWS::ApiGatewayV2::ApiMapping": lambda one: DomainMapping(
        one.place,
        one.get("ApiId"),
        one.get("DomainName"),
        one.get("Stage"),
        one.get("ApiMappingKey", default=""),
    ),
    "AWS::DynamoDB::Table": _table,
    "AWS::DynamoDB::GlobalTable": _table,
    "AWS::S3::Bucket": _bucket,
    "AWS::SQS::Queue": queue_of,
    "AWS::Lambda::EventSourceMapping": event_source_of,
    "AWS::Scheduler::Schedule": schedule_of,
    "AWS::Lambda::Permission": lambda one: Permission(
        one.place,
        function_in(one.get("FunctionName")),
        one.get("Principal"),
        one.get("SourceArn"),
    ),
    "AWS::CloudWatch::Alarm": alarm_of,
    "AWS::EC2::VPCEndpoint": lambda one: VpcEndpoint(
        one.place, one.get("ServiceName"), flag(one.get("PrivateDnsEnabled"))
    ),
    "AWS::ElastiCache::ReplicationGroup": lambda one: PrivateStore(one.place, one.id),
    "AWS::ElastiCache::CacheCluster": lambda one: PrivateStore(one.place, one.id),
    "AWS::ElastiCache::ServerlessCache": lambda one: PrivateStore(one.place, one.id),
}
