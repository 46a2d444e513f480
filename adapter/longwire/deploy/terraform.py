"""`longwire template terraform`: one file of resources of the AWS provider.

Terraform packs nothing: the function's zip is that of `longwire bundle`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from longwire.deploy import bundle
from longwire.deploy import plan as said
from longwire.deploy.alarms import PERIOD, alarms
from longwire.deploy.terraform_parts import ALARM, PARTS, POLICY
from longwire.deploy.text import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from longwire.deploy.alarms import Alarm
    from longwire.deploy.plan import Plan

API, HTTP_API = "aws_apigatewayv2_api.websocket", "aws_apigatewayv2_api.http"
# What CloudWatch counts a metric by.
DIMENSIONS = {
    "function": {"FunctionName": "aws_lambda_function.function.function_name"},
    "dead_letters": {"QueueName": "aws_sqs_queue.dead_letters.name"},
    "api": {"ApiId": f"{API}.id", "Stage": "aws_apigatewayv2_stage.websocket.name"},
    "http_api": {"ApiId": f"{HTTP_API}.id"},
}
ATTRIBUTE = re.compile(r"( *)([\w-]+) += (.*)")


def render(plan: Plan) -> dict[str, str]:
    """Return the template."""
    facts = _facts(plan)
    parts = {"policy": fill(POLICY, facts).rstrip("\n"), "parts": fill(PARTS, facts).rstrip("\n")}
    return {"main.tf": aligned(fill(TEMPLATE, {**facts, **parts}))}


def _facts(plan: Plan) -> dict[str, object]:
    """Return what fills the blanks."""
    endpoint = f'replace({API}.api_endpoint, "wss:", "https:")'
    return {
        **{name: getattr(said, name.upper()) for name in CONSTANTS},
        **plan._asdict(),
        **{store: plan.store == store for store in said.STORES},
        **{name: _listed(getattr(said, name.upper()), 10) for name in ACTIONS},
        "identity_source": _listed(plan.identity_source, 4),
        "routes": ", ".join(map(json.dumps, said.ROUTES)),
        "zip": bundle.ZIP,
        "bundle": bundle.command(plan),
        "in_vpc": plan.in_vpc,
        "has_variables": plan.in_vpc or plan.domain,
        "needs_endpoint": plan.needs_endpoint,
        "endpoint": f'"${{{endpoint}}}/{said.STAGE}"',
        "dsn": json.dumps(plan.dsn(f"${{{_store(plan)}}}")),
        "store_name": _store(plan),
        "dsn_pattern": json.dumps(plan.dsn_pattern),
        "with_replay": "?replay=true" if plan.replay else "",
        # A prefix has 38 characters at most; of a bucket 37, in small letters.
        "role_prefix": f"{plan.name[:36].rstrip('-')}-",
        "authorizer_prefix": f"{plan.name[:26].rstrip('-')}-authorizer-",
        "bucket_prefix": f"{plan.name.lower()[:36].rstrip('-')}-",
        "access_log": _fields(said.ACCESS_LOG),
        "http_access_log": _fields(said.HTTP_ACCESS_LOG),
        "sweep_event": re.sub(r'"(\w+)": ("\w+")', r" \1 = \2 ", said.SWEEP_EVENT),
        "swept": said.SWEEP_RATE * plan.timeout,
        "visibility_timeout": plan.visibility_timeout,
        "dead_letter_seconds": said.DEAD_LETTER_DAYS * 24 * 3600,
        "each_alarm": "\n\n".join(_alarm(alarm, plan) for alarm in alarms(plan)),
        "execution_arn": f"${{{API}.execution_arn}}",
        "domain_name": "aws_apigatewayv2_domain_name.websocket",
        "kind": "table" if plan.store == "dynamodb" else "bucket",
        "url_path": plan.url_path,
    }


CONSTANTS = (
    *("stage", "log_days", "ttl_attribute", "bucket_days", "receives", "dead_letter_days"),
    *("batch_size", "queue_concurrency", "sweep_minutes"),
)
ACTIONS = ("table_actions", "object_actions", "bucket_actions", "queue_actions", "network_actions")


def _store(plan: Plan) -> str:
    return {
        "dynamodb": "aws_dynamodb_table.connections.name",
        "s3": "aws_s3_bucket.connections.bucket",
    }.get(plan.store, "")


def _listed(names: Sequence[str], indent: int) -> str:
    return "\n".join(f"{indent * ' '}{json.dumps(name)}," for name in names)


def _fields(log: str) -> str:
    return "\n".join(
        f"      {name} = {json.dumps(value)}" for name, value in json.loads(log).items()
    )


def _alarm(alarm: Alarm, plan: Plan) -> str:
    dimensions = "\n".join(f"    {name} = {value}" for name, value in DIMENSIONS[alarm.of].items())
    label = re.sub(r"(?<!^)(?=[A-Z])", "_", alarm.name).lower()
    facts = {**alarm._asdict(), "namespace": alarm.namespace, "period": PERIOD, "label": label}
    facts |= {"dimensions": dimensions, "stack": plan.name, "why": json.dumps(alarm.why)}
    return fill(ALARM, facts).rstrip("\n")


def aligned(text: str) -> str:
    """Return the text with its `=` as `terraform fmt` puts them: below each other in a group."""
    lines: list[str] = []
    group: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        found = ATTRIBUTE.fullmatch(line)
        if group and (found is None or found[1] != group[0][0]):
            lines += _group(group)
            group = []
        if found is None:
            lines.append(line)
            continue
        group.append((found[1], found[2], found[3]))
        if found[3].endswith(("{", "[", "(")):
            lines += _group(group)
            group = []
    return "\n".join([*lines, *_group(group)]) + "\n"


def _group(group: Iterable[tuple[str, str, str]]) -> list[str]:
    group = [*group]
    # What begins several lines is no part of the group before it.
    opens = bool(group) and group[-1][2].endswith(("{", "[", "("))
    width = max((len(name) for _, name, _ in (group[:-1] if opens else group)), default=0)
    alone = [len(group) - 1] if opens else []
    return [
        f"{indent}{name if number in alone else name.ljust(width)} = {value}"
        for number, (indent, name, value) in enumerate(group)
    ]


TEMPLATE = """\
# <<name>> - WebSockets on Lambda, by Longwire
#
# Pack the function, make the stack, and see its URL:
#
#   <<bundle>>
#   terraform init
#   terraform apply
#
# and take it away again: terraform destroy

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60"
    }
  }
}

# The region is that of the environment (AWS_REGION) or of a provider "aws" block of yours.

variable "bundle" {
  description = "The zip of the function, as longwire bundle makes it"
  type        = string
  default     = "<<zip>>"
}
%if in_vpc

variable "store_dsn" {
%if redis
  description = "Where connections are kept, as rediss://user:password@host:6379/0<<with_replay>>"
%else
  description = "Where connections are kept, as postgresql://user:password@host:5432/database<<with_replay>>"
%end
  type      = string
  sensitive = true
  validation {
    condition     = can(regex(<<dsn_pattern>>, var.store_dsn))
    error_message = "The DSN does not match <<store>>://user:password@host<<with_replay>>."
  }
}

# The function runs in these subnets, and must reach from them
# 1. the store: its security group has to let the function's in;
# 2. API Gateway, through which it sends to clients, which is on the internet: the subnets need a
#    route to a NAT gateway. A function has no public address, so that an internet gateway alone is
#    no way; nor is a VPC endpoint for execute-api, which is for private REST APIs.
#    (Without NAT: IPv6. Give the subnets an egress-only internet gateway, add
#    ipv6_allowed_for_dual_stack = true to vpc_config, and ip_address_type = "dualstack" to the
#    WebSocket API.)
variable "subnet_ids" {
  description = "Subnets with a route to the store, and to a NAT gateway"
  type        = list(string)
}

variable "security_group_ids" {
  description = "Of the function; the store must let them in, and they must let out to the internet"
  type        = list(string)
}
%end
%if domain

variable "certificate_arn" {
  description = "The certificate of <<domain>>, in AWS Certificate Manager, in this region"
  type        = string
}
%end

# The WebSocket API. Its three routes lead to the one function, and have no route responses: the
# function posts its replies itself.
resource "aws_apigatewayv2_api" "websocket" {
  name          = "<<name>>"
  protocol_type = "WEBSOCKET"
  # With no routes but these it decides nothing: each message goes to $default.
  route_selection_expression = "$request.body.action"
}

resource "aws_apigatewayv2_integration" "websocket" {
  api_id             = aws_apigatewayv2_api.websocket.id
  integration_type   = "AWS_PROXY"
  integration_method = "POST"
  integration_uri    = aws_lambda_function.function.invoke_arn
}

resource "aws_apigatewayv2_route" "websocket" {
  for_each = toset([<<routes>>])

  api_id    = aws_apigatewayv2_api.websocket.id
  route_key = each.key
  target    = "integrations/${aws_apigatewayv2_integration.websocket.id}"
%if authorizer
  # Asked before the function, at each $connect.
  authorization_type = each.key == "$connect" ? "CUSTOM" : "NONE"
  authorizer_id      = each.key == "$connect" ? aws_apigatewayv2_authorizer.authorizer.id : null
%end
}

resource "aws_apigatewayv2_stage" "websocket" {
  api_id      = aws_apigatewayv2_api.websocket.id
  name        = "<<stage>>"
  auto_deploy = true
%if logs

  # One line for each event, as API Gateway sees it. The account needs a role for such logs, once in
  # each region (API Gateway console, Settings, CloudWatch log role ARN).
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format = jsonencode({
<<access_log>>
    })
  }
%end

  # A stage of an API without routes cannot be deployed.
  depends_on = [aws_apigatewayv2_route.websocket]
}

resource "aws_lambda_permission" "websocket" {
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.function.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.websocket.execution_arn}/<<stage>>/*"
}

resource "aws_lambda_function" "function" {
  function_name    = "<<name>>"
  filename         = var.bundle
  source_code_hash = filebase64sha256(var.bundle)
  handler          = "<<handler>>"
  runtime          = "python<<python>>"
  architectures    = ["<<architecture>>"]
  role             = aws_iam_role.function.arn
  # Little memory is little CPU. After 29 seconds API Gateway itself gives up.
  memory_size = <<memory>>
  timeout     = <<timeout>>

  environment {
    variables = {
%if in_vpc
      LONGWIRE_DSN = var.store_dsn
%else
      LONGWIRE_DSN = <<dsn>>
%end
%if fanout
      LONGWIRE_FANOUT_QUEUE_URL = aws_sqs_queue.parts.url
%end
%if needs_endpoint
      # For events that are about no connection, and so name no API: HTTP, queue, schedule.
      WS_MANAGEMENT_ENDPOINT = <<endpoint>>
%end
    }
  }

  logging_config {
    log_group = aws_cloudwatch_log_group.function.name
%if logs
    log_format            = "JSON"
    application_log_level = "INFO" # one record for each event
    system_log_level      = "INFO" # with what each event is billed
%else
    log_format = "Text"
%end
  }
%if in_vpc

  vpc_config {
    subnet_ids         = var.subnet_ids
    security_group_ids = var.security_group_ids
  }
%end

  # Lambda tries them when it makes the function.
  depends_on = [aws_iam_role_policy.function]
}

<<policy>>

<<parts>>

output "websocket_url" {
  description = "For clients. What follows path= is the path that the app sees"
%if domain
  value       = "wss://<<domain>>/?path=<<url_path>>"
%else
  value       = "${aws_apigatewayv2_stage.websocket.invoke_url}?path=<<url_path>>"
%end
}
%if domain

output "domain_target" {
  description = "Where the DNS record of <<domain>> must lead (CNAME, or an alias in Route 53)"
  value       = one(<<domain_name>>.domain_name_configuration).target_domain_name
}
%end
%if answers_http

output "http_url" {
  description = "The app's HTTP routes"
  value       = aws_apigatewayv2_stage.http.invoke_url
}
%end
%if dynamodb or s3

output "store" {
  description = "The <<kind>> of connections"
  value       = <<store_name>>
}
%end
%if fanout

output "dead_letter_url" {
  description = "The queue of parts that could not be sent"
  value       = aws_sqs_queue.dead_letters.url
}
%end
%if alarms

output "alarm_topic" {
  description = "The topic that alarms go to"
  value       = aws_sns_topic.alarms.arn
}
%end
"""
