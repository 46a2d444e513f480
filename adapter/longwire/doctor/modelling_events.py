"""Resources -> the model: what invokes a function, and who is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from longwire.doctor.model import EventSource, MetricAlarm, Schedule, SQSQueue
from longwire.doctor.resources import flag, number
from longwire.doctor.values import UNKNOWN, Ref, Value

if TYPE_CHECKING:
    from longwire.doctor.resources import Resource


def queue_of(one: Resource) -> SQSQueue:
    redrive = one.get("RedrivePolicy")
    if isinstance(redrive, str):
        try:
            redrive = json.loads(redrive)
        except ValueError:
            redrive = UNKNOWN
    receives: Value = None
    if redrive is not None:
        receives = number(redrive.get("maxReceiveCount")) if isinstance(redrive, dict) else UNKNOWN
        receives = UNKNOWN if receives is None else receives
    default_name = Ref(one.id.name, "QueueName") if isinstance(one.id, Ref) else one.id
    return SQSQueue(
        one.place,
        one.get("QueueName", default=default_name),
        one.get("QueueUrl", default=one.id),
        number(one.get("VisibilityTimeout", default=30)),
        receives,
        one.get("KmsMasterKeyId") is not None
        or flag(one.get("SqsManagedSseEnabled"), default=True),
        flag(one.get("FifoQueue")),
        one.get("KmsMasterKeyId"),
        redrive.get("deadLetterTargetArn") if isinstance(redrive, dict) else None,
        number(one.get("ApproximateNumberOfMessages", default=0)),
    )


def event_source_of(one: Resource) -> EventSource:
    return EventSource(
        one.place,
        one.get("FunctionName"),
        one.get("EventSourceArn"),
        number(one.get("BatchSize", default=10)),
        one.get("FunctionResponseTypes", default=[]),
        number(one.get("ScalingConfig", "MaximumConcurrency")),
        flag(one.get("Enabled"), default=True),
    )


def schedules_of_rule(one: Resource) -> list[Schedule]:
    targets = one.get("Targets", default=[])
    if one.get("ScheduleExpression") is None or not isinstance(targets, list):
        return []
    arn = one.get("Arn", default=Ref(one.id.name, "Arn") if isinstance(one.id, Ref) else UNKNOWN)
    enabled = one.get("State", default="ENABLED") != "DISABLED"
    return [
        Schedule(
            one.place,
            target.get("Arn"),
            UNKNOWN
            if "InputTransformer" in target or "InputPath" in target
            else target.get("Input"),
            True,
            arn,
            enabled,
        )
        for target in targets
        if isinstance(target, dict)
    ]


def schedule_of(one: Resource) -> Schedule:
    return Schedule(
        one.place,
        one.get("Target", "Arn"),
        one.get("Target", "Input"),
        False,
        UNKNOWN,
        one.get("State", default="ENABLED") != "DISABLED",
    )


def alarm_of(one: Resource) -> MetricAlarm:
    dimensions = one.get("Dimensions", default=[])
    pairs = dimensions if isinstance(dimensions, list) else []
    return MetricAlarm(
        one.place,
        one.get("Namespace"),
        one.get("MetricName"),
        {
            d.get("Name"): d.get("Value")
            for d in pairs
            if isinstance(d, dict) and isinstance(d.get("Name"), str)
        },
    )
