"""Which attribute of Terraform's is which property of CloudFormation's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from longwire.doctor.values import UNKNOWN, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A property: the attribute, `block.attribute` of the first block, that is the same.
Attributes: TypeAlias = dict[str, str]


class _Instance(Protocol):
    @property
    def values(self) -> Mapping[str, Any]: ...

    @property
    def unknown(self) -> Any: ...


TYPES: dict[str, tuple[str, Attributes]] = {
    "aws_apigatewayv2_api": (
        "AWS::ApiGatewayV2::Api",
        {
            "ProtocolType": "protocol_type",
            "RouteSelectionExpression": "route_selection_expression",
            "DisableExecuteApiEndpoint": "disable_execute_api_endpoint",
        },
    ),
    "aws_apigatewayv2_route": (
        "AWS::ApiGatewayV2::Route",
        {
            "ApiId": "api_id",
            "RouteKey": "route_key",
            "Target": "target",
            "AuthorizationType": "authorization_type",
            "AuthorizerId": "authorizer_id",
            "RouteResponseSelectionExpression": "route_response_selection_expression",
        },
    ),
    "aws_apigatewayv2_integration": (
        "AWS::ApiGatewayV2::Integration",
        {
            "ApiId": "api_id",
            "IntegrationType": "integration_type",
            "IntegrationUri": "integration_uri",
            "TimeoutInMillis": "timeout_milliseconds",
            "CredentialsArn": "credentials_arn",
        },
    ),
    "aws_apigatewayv2_route_response": (
        "AWS::ApiGatewayV2::RouteResponse",
        {"ApiId": "api_id", "RouteId": "route_id"},
    ),
    "aws_apigatewayv2_stage": (
        "AWS::ApiGatewayV2::Stage",
        {
            "ApiId": "api_id",
            "StageName": "name",
            "AutoDeploy": "auto_deploy",
            "DeploymentId": "deployment_id",
            "DataTrace": "default_route_settings.data_trace_enabled",
        },
    ),
    "aws_apigatewayv2_deployment": ("AWS::ApiGatewayV2::Deployment", {"ApiId": "api_id"}),
    "aws_apigatewayv2_authorizer": (
        "AWS::ApiGatewayV2::Authorizer",
        {
            "ApiId": "api_id",
            "AuthorizerType": "authorizer_type",
            "IdentitySource": "identity_sources",
            "AuthorizerUri": "authorizer_uri",
        },
    ),
    "aws_apigatewayv2_api_mapping": (
        "AWS::ApiGatewayV2::ApiMapping",
        {
            "ApiId": "api_id",
            "DomainName": "domain_name",
            "Stage": "stage",
            "ApiMappingKey": "api_mapping_key",
        },
    ),
    "aws_lambda_function": (
        "AWS::Lambda::Function",
        {
            "FunctionName": "function_name",
            "Handler": "handler",
            "Runtime": "runtime",
            "Timeout": "timeout",
            "MemorySize": "memory_size",
            "Architectures": "architectures",
            "Environment": "environment.variables",
            "Role": "role",
            "VpcConfig": "vpc_config.subnet_ids",
            "Layers": "layers",
            "LogFormat": "logging_config.log_format",
            "LogLevel": "logging_config.application_log_level",
            "ReservedConcurrentExecutions": "reserved_concurrent_executions",
            "SnapStart": "snap_start.apply_on",
            "PackageType": "package_type",
            "Longwire::Folder": "filename",
        },
    ),
    "aws_lambda_layer_version": ("AWS::Lambda::LayerVersion", {"Longwire::Folder": "filename"}),
    "aws_lambda_permission": (
        "AWS::Lambda::Permission",
        {"FunctionName": "function_name", "Principal": "principal", "SourceArn": "source_arn"},
    ),
    "aws_lambda_event_source_mapping": (
        "AWS::Lambda::EventSourceMapping",
        {
            "FunctionName": "function_name",
            "EventSourceArn": "event_source_arn",
            "BatchSize": "batch_size",
            "FunctionResponseTypes": "function_response_types",
            "Concurrency": "scaling_config.maximum_concurrency",
            "Enabled": "enabled",
        },
    ),
    "aws_dynamodb_table": (
        "AWS::DynamoDB::Table",
        {
            "TableName": "name",
            "HashKey": "hash_key",
            "RangeKey": "range_key",
            "TTL": "ttl.attribute_name",
            "TTLEnabled": "ttl.enabled",
            "BillingMode": "billing_mode",
            "Key": "server_side_encryption.kms_key_arn",
        },
    ),
    "aws_s3_bucket": ("AWS::S3::Bucket", {"BucketName": "bucket"}),
    "aws_sqs_queue": (
        "AWS::SQS::Queue",
        {
            "QueueName": "name",
            "VisibilityTimeout": "visibility_timeout_seconds",
            "RedrivePolicy": "redrive_policy",
            "SqsManagedSseEnabled": "sqs_managed_sse_enabled",
            "KmsMasterKeyId": "kms_master_key_id",
            "FifoQueue": "fifo_queue",
        },
    ),
    "aws_cloudwatch_event_rule": (
        "AWS::Events::Rule",
        {"ScheduleExpression": "schedule_expression", "State": "state"},
    ),
    "aws_scheduler_schedule": (
        "AWS::Scheduler::Schedule",
        {"TargetArn": "target.arn", "TargetInput": "target.input", "State": "state"},
    ),
    "aws_iam_role": (
        "AWS::IAM::Role",
        {
            "RoleName": "name",
            "Inline": "inline_policy",
            "ManagedPolicyArns": "managed_policy_arns",
            "PermissionsBoundary": "permissions_boundary",
        },
    ),
    "aws_iam_role_policy": (
        "AWS::IAM::RolePolicy",
        {"RoleName": "role", "PolicyDocument": "policy"},
    ),
    "aws_iam_policy": ("AWS::IAM::ManagedPolicy", {"PolicyDocument": "policy"}),
    "aws_iam_role_policy_attachment": (
        "Longwire::Attachment",
        {"RoleName": "role", "PolicyArn": "policy_arn"},
    ),
    "aws_iam_policy_attachment": (
        "Longwire::Attachment",
        {"Roles": "roles", "PolicyArn": "policy_arn"},
    ),
    "aws_cloudwatch_metric_alarm": (
        "AWS::CloudWatch::Alarm",
        {"Namespace": "namespace", "MetricName": "metric_name", "Dimensions": "dimensions"},
    ),
    "aws_subnet": ("AWS::EC2::Subnet", {}),
    "aws_route_table": ("AWS::EC2::RouteTable", {"Routes": "route"}),
    "aws_route_table_association": (
        "AWS::EC2::SubnetRouteTableAssociation",
        {"SubnetId": "subnet_id", "RouteTableId": "route_table_id"},
    ),
    "aws_route": (
        "AWS::EC2::Route",
        {
            "RouteTableId": "route_table_id",
            "NatGatewayId": "nat_gateway_id",
            "EgressOnlyInternetGatewayId": "egress_only_gateway_id",
            "TransitGatewayId": "transit_gateway_id",
            "NetworkInterfaceId": "network_interface_id",
            "VpcPeeringConnectionId": "vpc_peering_connection_id",
        },
    ),
    "aws_vpc_endpoint": (
        "AWS::EC2::VPCEndpoint",
        {"ServiceName": "service_name", "PrivateDnsEnabled": "private_dns_enabled"},
    ),
    "aws_elasticache_cluster": ("AWS::ElastiCache::CacheCluster", {}),
    "aws_elasticache_replication_group": ("AWS::ElastiCache::ReplicationGroup", {}),
    "aws_elasticache_serverless_cache": ("AWS::ElastiCache::ServerlessCache", {}),
}

Properties: TypeAlias = dict[str, Value]


def _empty_is_none(value: Value) -> Value:
    return None if value in ("", [], -1) else value


def _function(one: _Instance, given: Properties) -> Properties:
    variables = given.pop("Environment")
    subnets, level = given.pop("VpcConfig"), given.pop("LogLevel")
    log_format = given.pop("LogFormat")
    log_format = None if log_format == "Text" else log_format  # as it is where nobody says anything
    snap_start = given.pop("SnapStart")
    return {
        **given,
        "ReservedConcurrentExecutions": _empty_is_none(given["ReservedConcurrentExecutions"]),
        "Environment": {"Variables": {} if variables is None else variables},
        "VpcConfig": None if _empty_is_none(subnets) is None else {"SubnetIds": subnets},
        "LoggingConfig": _given({"LogFormat": log_format, "ApplicationLogLevel": level}),
        "SnapStart": _given({"ApplyOn": snap_start}),
        "FunctionName": given["FunctionName"] or None,
    }


def _given(values: Properties) -> Properties | None:
    return {name: value for name, value in values.items() if value not in (None, "")} or None


def _stage(one: _Instance, given: Properties) -> Properties:
    trace = given.pop("DataTrace")
    return {**given, "DefaultRouteSettings": _given({"DataTraceEnabled": trace})}


def _event_source(one: _Instance, given: Properties) -> Properties:
    return {**given, "ScalingConfig": _given({"MaximumConcurrency": given.pop("Concurrency")})}


def _table(one: _Instance, given: Properties) -> Properties:
    keys = [(given.pop("HashKey"), "HASH"), (given.pop("RangeKey"), "RANGE")]
    attributes = one.values.get("attribute")
    ttl, enabled = given.pop("TTL"), given.pop("TTLEnabled")
    return {
        **given,
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in keys if name],
        "AttributeDefinitions": [
            {"AttributeName": one.get("name"), "AttributeType": one.get("type")}
            for one in attributes or []
            if isinstance(one, dict)
        ]
        if attributes
        else UNKNOWN,
        # Without `enabled` it is on, and an empty name is none.
        "TimeToLiveSpecification": {"AttributeName": ttl, "Enabled": enabled is not False}
        if ttl
        else None,
        "SSESpecification": _given({"KMSMasterKeyId": given.pop("Key")}),
    }


def _queue(one: _Instance, given: Properties) -> Properties:
    # What is not said is on, as the service has it; a plan says False for that at times.
    encrypted = given["SqsManagedSseEnabled"]
    return {
        **given,
        "RedrivePolicy": _empty_is_none(given["RedrivePolicy"]),
        "KmsMasterKeyId": _empty_is_none(given["KmsMasterKeyId"]),
        "SqsManagedSseEnabled": encrypted,
    }


def _schedule(one: _Instance, given: Properties) -> Properties:
    target = _given({"Arn": given.pop("TargetArn"), "Input": given.pop("TargetInput")})
    return {**given, "Target": target}


def _role(one: _Instance, given: Properties) -> Properties:
    inline = given.pop("Inline")
    policies: Value = None
    if isinstance(inline, list):
        policies = [
            {"PolicyDocument": block.get("policy", UNKNOWN)}
            for block in inline
            if isinstance(block, dict) and block.get("name") != ""
        ]
    elif inline is not None:
        policies = [UNKNOWN]
    # Attachments are resources of their own; a state repeats them here.
    return {
        **given,
        "Policies": policies,
        "PermissionsBoundary": _empty_is_none(given["PermissionsBoundary"]),
    }


def _attachment(one: _Instance, given: Properties) -> Properties:
    roles = given.pop("Roles")
    name = roles[0] if isinstance(roles, list) and len(roles) == 1 else UNKNOWN
    return {**given, "RoleName": name}


def _alarm(one: _Instance, given: Properties) -> Properties:
    dimensions = given["Dimensions"]
    pairs = dimensions.items() if isinstance(dimensions, dict) else ()
    return {**given, "Dimensions": [{"Name": name, "Value": value} for name, value in pairs]}


MADE_WITH: dict[str, Callable[[_Instance, Properties], Properties]] = {
    "aws_lambda_function": _function,
    "aws_apigatewayv2_stage": _stage,
    "aws_lambda_event_source_mapping": _event_source,
    "aws_dynamodb_table": _table,
    "aws_sqs_queue": _queue,
    "aws_scheduler_schedule": _schedule,
    "aws_iam_role": _role,
    "aws_iam_policy_attachment": _attachment,
    "aws_cloudwatch_metric_alarm": _alarm,
}
