"""What wakes somebody up, whichever tool makes it: each looks at five minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from longwire.deploy.plan import Plan

PERIOD = 300


class Alarm(NamedTuple):
    """It goes off when the metric is at least `threshold`; no data is no alarm.

    Attributes:
        name: in CamelCase.
        why: what has happened, and what to look at.
        of: whose metric it is; that also says its dimensions.
    """

    name: str
    why: str
    of: Literal["function", "dead_letters", "api", "http_api"]
    metric: str
    statistic: Literal["Sum", "Maximum"]
    threshold: int

    @property
    def namespace(self) -> str:
        """Where CloudWatch has the metric."""
        return {"function": "AWS/Lambda", "dead_letters": "AWS/SQS"}.get(self.of, "AWS/ApiGateway")


def alarms(plan: Plan) -> list[Alarm]:
    """Return the alarms of a stack."""
    found = [
        Alarm("Errors", FAILED, "function", "Errors", "Sum", 1),
        Alarm("Throttles", THROTTLED, "function", "Throttles", "Sum", 1),
        Alarm("Slow", SLOW, "function", "Duration", "Maximum", 800 * plan.timeout),  # ms
        Alarm("Failures", UNANSWERED, "api", "ExecutionError", "Sum", 1),
        Alarm("Refusals", REFUSED, "api", "IntegrationError", "Sum", 50),
    ]
    if plan.answers_http:
        found.append(Alarm("HttpFailures", HTTP_FAILED, "http_api", "5xx", "Sum", 1))
    if plan.fanout:
        metric = "ApproximateNumberOfMessagesVisible"
        found.append(Alarm("DeadLetter", UNSENT, "dead_letters", metric, "Maximum", 1))
    return found


FAILED = "The function failed: see its log"
THROTTLED = "Lambda ran no more of the function at once: see the account's concurrency"
SLOW = "An event took four fifths of the function's timeout"
# API Gateway's own two metrics of failure.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-logging.html
UNANSWERED = "API Gateway got no answer of the function: a permission, a timeout or a throttle"
REFUSED = "The function answered with 4xx or 5xx: many refused handshakes, or an app that fails"
HTTP_FAILED = "HTTP requests were answered with 5xx"
UNSENT = "Parts of a large send have failed each time: see the dead letters and the log"
