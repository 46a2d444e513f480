"""What an afternoon may cost, by AWS's list prices.

The prices are those of us-east-1, without the free tier, as of November 2026; other regions cost up
to half as much again. Sources: https://aws.amazon.com/lambda/pricing/,
https://aws.amazon.com/api-gateway/pricing/, https://aws.amazon.com/dynamodb/pricing/on-demand/,
https://aws.amazon.com/cloudwatch/pricing/, https://aws.amazon.com/ec2/pricing/on-demand/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# In dollars, for one of each.
PRICES = {
    "Lambda requests": 0.20e-6,
    "Lambda GB-seconds": 0.0000166667,  # x86_64, which is the dearer
    "SnapStart GB-seconds in the cache": 0.0000015046,
    "SnapStart GB restored": 0.0001397998,
    "WebSocket messages of 32 KB": 1.00e-6,
    "WebSocket connection minutes": 0.25e-6,
    "DynamoDB writes": 0.625e-6,
    "DynamoDB reads": 0.125e-6,
    "GB of logs": 0.50,
    "Managed Instances hours": 0.17 * 1.15,  # of an instance with 4 vCPU, and Lambda's 15 %
}
_MEMORY = 0.5  # GB of a function
_SNAPSHOT_HOURS = 3  # the least that is charged
_INSTANCES, _HOURS = 3, 1.0  # Lambda starts three, in several zones

# What one conversation and each measurement do at most: events, messages, seconds of the function.
_CONVERSATION_EVENTS, _CONVERSATION_MESSAGES, _EVENT_SECONDS = 8, 16, 1.5
_MEASURING_EVENTS, _MEASURING_MESSAGES = 4000, 8000
_MEASURING_SECONDS = 1500.0
_RECORDS = 6  # reads and writes of an event


class Cost(NamedTuple):
    """A part of the bill."""

    what: str
    amount: float
    dollars: float


def estimate(conversations: int, *, long: bool, managed: bool) -> list[Cost]:
    """Return the parts of what a run costs at most."""
    events = conversations * _CONVERSATION_EVENTS + _MEASURING_EVENTS
    messages = conversations * _CONVERSATION_MESSAGES + _MEASURING_MESSAGES
    seconds = conversations * _CONVERSATION_EVENTS * _EVENT_SECONDS + _MEASURING_SECONDS
    amounts = {
        "Lambda requests": events,
        "Lambda GB-seconds": seconds * _MEMORY,
        "SnapStart GB-seconds in the cache": _MEMORY * 3600 * _SNAPSHOT_HOURS,
        "SnapStart GB restored": 20 * _MEMORY,
        "WebSocket messages of 32 KB": messages * 2,
        "WebSocket connection minutes": conversations + 200 + (15 if long else 0),
        "DynamoDB writes": events * _RECORDS,
        "DynamoDB reads": events * _RECORDS,
        "GB of logs": 0.02,
        "Managed Instances hours": _INSTANCES * _HOURS if managed else 0,
    }
    return [Cost(what, amount, amount * PRICES[what]) for what, amount in amounts.items() if amount]


def total(costs: Sequence[Cost]) -> float:
    """Return the sum, in dollars."""
    return sum(cost.dollars for cost in costs)


def missing(prices: Mapping[str, float], costs: Sequence[Cost]) -> set[str]:
    """Return what has a price and is in no bill."""
    return prices.keys() - {cost.what for cost in costs}
