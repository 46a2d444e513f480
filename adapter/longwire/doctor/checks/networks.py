"""A function in a VPC: is there a way out of it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.doctor.checks.stores import backend_of
from longwire.doctor.findings import Finding, found
from longwire.doctor.ours import ENDPOINT, QUEUE_URL
from longwire.doctor.values import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.doctor.model import LambdaFunction
    from longwire.doctor.stack import Stack

SERVICES = {"dynamodb": ".dynamodb", "s3": ".s3"}


def check_way_out(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """From its subnets a function reaches API Gateway, its store and its queue."""
    for function in ours:
        ways = _ways(stack, function)
        if ways is None or "nat" in ways or "?" in ways:
            continue
        if "ipv6" not in ways:
            text = f"nothing leads from the subnets of {function.at.name} to API Gateway"
            yield found("no-way-out", function.at, text, "VpcConfig")
        service = SERVICES.get(backend_of(function) or "")
        if service and not _has_endpoint(stack, service):
            text = f"nothing leads from the subnets of {function.at.name} to {service[1:]}"
            yield found("no-way-to-store", function.at, text, "VpcConfig")
        if function.variable(QUEUE_URL) and not _has_endpoint(stack, ".sqs"):
            text = f"nothing leads from the subnets of {function.at.name} to SQS"
            yield found("no-way-to-store", function.at, text, "VpcConfig")


def _ways(stack: Stack, function: LambdaFunction) -> frozenset[str] | None:
    """Return what leads out of a function's subnets; None: nobody can tell."""
    if function.in_vpc is not True or not isinstance(function.subnets, list) or not stack.complete:
        return None
    own = {one.id: one.ways_out for one in stack.subnets}
    if not function.subnets or any(one not in own for one in function.subnets):
        return None
    return frozenset().union(*(own[one] for one in function.subnets))


def _has_endpoint(stack: Stack, service: str) -> bool:
    return any(shown(one.service).endswith((service, "...")) for one in stack.vpc_endpoints)


def check_execute_api(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """No endpoint of the VPC answers in the place of the API."""
    for function in ours:
        if function.in_vpc is not True or function.variable(ENDPOINT) is not None:
            continue
        for one in stack.vpc_endpoints:
            if shown(one.service).endswith(".execute-api") and one.private_dns is True:
                text = "the VPC has an endpoint for execute-api with private DNS"
                yield found("execute-api-endpoint", one.at, text, "PrivateDnsEnabled")
