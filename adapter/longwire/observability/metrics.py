"""CloudWatch metrics, as lines of the log that CloudWatch itself reads: no request, no package.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from longwire.exceptions import ConfigurationError
from longwire_backends.base import shown

if TYPE_CHECKING:
    from longwire.observability.event import EventRecord

# Of a namespace, in characters.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html
MAX_NAMESPACE = 255

UNITS = {
    "Duration": "Milliseconds",
    "StoreRequests": "Count",
    "Posts": "Count",
    "ColdStarts": "Count",
    "Errors": "Count",
}


def checked(namespace: object) -> str:
    """Return a namespace if CloudWatch takes it; raise `ConfigurationError` if not."""
    if (
        isinstance(namespace, str)
        and len(namespace) <= MAX_NAMESPACE
        and namespace.isascii()
        and namespace.isprintable()
        and namespace.strip()
        and not namespace.startswith(("AWS/", ":"))
    ):
        return namespace
    raise ConfigurationError(
        f"metrics is {shown(namespace)}; expected a CloudWatch namespace: 1 to {MAX_NAMESPACE} "
        "ASCII characters that do not begin with 'AWS/' or ':', such as 'MyApp'"
    )


def line(namespace: str, record: EventRecord, context: Any) -> str:
    """Return the line that holds the metrics of one event.

    The function and the phase are dimensions, each combination of which CloudWatch charges for;
    what else is known can be searched for, but makes no metric of its own.
    """
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    dimensions = {"FunctionName": function} if function else {}
    dimensions["Phase"] = record.phase
    properties = {
        "RouteKey": record.route_key,
        "ConnectionId": record.connection_id,
        "RequestId": getattr(context, "aws_request_id", None),
        "Outcome": record.outcome,
        "Status": record.status,
        "ErrorType": record.error_type,
        "TotalDuration": record.total_ms,
    }
    values = (
        record.duration_ms,
        record.store_requests,
        record.posts,
        int(record.cold),
        int(record.is_error),
    )
    directive = {
        "Namespace": namespace,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in UNITS.items()],
    }
    known = {name: value for name, value in properties.items() if value is not None}
    return (
        json.dumps(
            {
                "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]},
                **dimensions,
                **known,
                **dict(zip(UNITS, values, strict=True)),
            }
        )
        + "\n"
    )
