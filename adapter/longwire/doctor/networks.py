"""Subnets, and whether something leads out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.doctor.model import Subnet
from longwire.doctor.values import Value, is_known

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from longwire.doctor.resources import Resource

_UNKNOWN_TARGETS = (
    "TransitGatewayId",
    "NetworkInterfaceId",
    "InstanceId",
    "VpcPeeringConnectionId",
)


def subnets_of(resources: Sequence[Resource]) -> tuple[Subnet, ...]:
    """Return the subnets of a stack with what their route tables lead to.

    An internet gateway is no way out for a function, which has no public address.
    """
    tables = {
        one.get("SubnetId"): one.get("RouteTableId")
        for one in resources
        if one.type == "AWS::EC2::SubnetRouteTableAssociation"
    }
    found = []
    for one in resources:
        if one.type == "AWS::EC2::Subnet":
            # Without a table of its own it has the main one of its VPC, which is not here.
            table = tables.get(one.id)
            ways = {"?"} if table is None else set(_ways(table, resources))
            found.append(Subnet(one.id, frozenset(ways)))
    return tuple(found)


def _ways(table: Value, resources: Sequence[Resource]) -> Iterator[str]:
    own = next(
        (one for one in resources if (one.type, one.id) == ("AWS::EC2::RouteTable", table)), None
    )
    routes = None if own is None else own.get("Routes", default=[])
    if not isinstance(routes, list):
        yield "?"
        return
    for route in routes:  # of Terraform, within the table
        yield _inline_way(route)
    for one in resources:
        if one.type != "AWS::EC2::Route" or one.get("RouteTableId") != table:
            continue
        if one.get("NatGatewayId") is not None:
            yield "nat"
        elif one.get("EgressOnlyInternetGatewayId") is not None:
            yield "ipv6"
        elif any(one.get(name) is not None for name in _UNKNOWN_TARGETS):
            yield "?"


def _inline_way(route: Value) -> str:
    if not isinstance(route, dict) or not all(map(is_known, route.values())):
        return "?"
    if route.get("gateway_id") or route.get("vpc_endpoint_id"):
        return "internet gateway"
    return (
        "nat"
        if route.get("nat_gateway_id")
        else "ipv6"
        if route.get("egress_only_gateway_id")
        else "?"
    )
