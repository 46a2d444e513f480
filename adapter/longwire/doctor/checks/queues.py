"""Large groups: the queue, and who reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.doctor.findings import Finding, found
from longwire.doctor.naming import split_arn
from longwire.doctor.ours import QUEUE_URL
from longwire.doctor.values import Ref, Value, is_open, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.doctor.model import EventSource, LambdaFunction, SQSQueue
    from longwire.doctor.stack import Stack


def _queue_of(stack: Stack, url: Value) -> SQSQueue | None:
    return next((one for one in stack.queues if one.url == url), None) or _by_name(stack, url)


def _by_name(stack: Stack, url: Value) -> SQSQueue | None:
    """Return the queue whose name is at the end of a URL that somebody has written."""
    if not isinstance(url, str) or not url.startswith("http"):
        return None
    name = url.rstrip("/").rpartition("/")[2]
    return next((one for one in stack.queues if one.name == name), None)


def _sources(stack: Stack, queue: SQSQueue) -> list[EventSource]:
    return [one for one in stack.event_sources if stack.queue_of(one.queue) is queue]


def check_url(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The variable has the URL of a queue."""
    for function in ours:
        url = function.variable(QUEUE_URL)
        if url is None or (is_open(url) and split_arn(url) is None):
            continue
        by_name = any(url == one.name for one in stack.queues) and not str(url).startswith("http")
        if isinstance(url, Ref):
            by_name = by_name or url.attribute in ("Arn", "QueueName")
        wrong = isinstance(url, str) and not url.startswith(("http://", "https://"))
        if split_arn(url) is not None:
            yield found("queue-url", function.at, f"{QUEUE_URL} is an ARN", "Environment")
        elif (by_name or wrong) and url != "":
            yield found(
                "queue-url", function.at, f"{QUEUE_URL} is {shown(url)}, no URL", "Environment"
            )


def check_readers(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Somebody reads the queue, and can deliver what is in it."""
    for function in ours:
        queue = _queue_of(stack, function.variable(QUEUE_URL))
        if queue is None:
            continue
        sources = _sources(stack, queue)
        unknown = [
            one
            for one in stack.event_sources
            if is_open(one.queue) and split_arn(one.queue) is None
        ]
        if not sources and stack.complete and not unknown:
            yield found("queue-unread", queue.at, f"nothing reads {queue.at.name}")
        for source in sources:
            reader = stack.function_of(source.function)
            if source.enabled is False:
                yield found(
                    "queue-unread",
                    source.at,
                    f"the reading of {queue.at.name} is disabled",
                    "Enabled",
                )
            elif reader is not None and reader not in ours:
                text = f"{queue.at.name} is read by {reader.at.name}, which is not Longwire's"
                yield found("queue-reader", source.at, text, "FunctionName")


def _fanout(
    stack: Stack, ours: tuple[LambdaFunction, ...]
) -> Iterator[tuple[SQSQueue, EventSource, LambdaFunction]]:
    """Give each queue of parts with who reads it, once."""
    urls = [one.variable(QUEUE_URL) for one in ours]
    for queue in stack.queues:
        for source in _sources(stack, queue):
            reader = stack.function_of(source.function)
            if reader is None or reader not in ours:
                continue
            if queue in [_queue_of(stack, url) for url in urls]:
                yield queue, source, reader


def check_source(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Lambda is told which parts have failed, and takes one at a time."""
    for queue, source, _ in _fanout(stack, ours):
        responses = source.responses
        if isinstance(responses, list) and "ReportBatchItemFailures" not in responses:
            text = f"the reading of {queue.at.name} has no ReportBatchItemFailures"
            yield found("batch-failures", source.at, text, "FunctionResponseTypes", "Events")
        if isinstance(source.batch_size, int | float) and source.batch_size > 1:
            text = f"the batch size is {source.batch_size}"
            yield found("batch-size", source.at, text, "BatchSize", "Events")


def check_queue(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The queue gives time enough, and keeps what fails."""
    for queue, _, function in _fanout(stack, ours):
        visibility, timeout = queue.visibility, function.timeout
        if (
            isinstance(visibility, int | float)
            and isinstance(timeout, int | float)
            and visibility < 6 * timeout
        ):
            text = f"the visibility timeout is {visibility} s, the function's timeout {timeout} s"
            wanted = f"set the visibility timeout to {6 * timeout} seconds or more"
            yield found("visibility-timeout", queue.at, text, "VisibilityTimeout", instead=wanted)
        dead = None if queue.dead_letters is None else stack.queue_of(queue.dead_letters)
        if dead is not None and isinstance(dead.waiting, int | float) and dead.waiting > 0:
            text = f"{dead.at.name} has {dead.waiting} dead letters"
            yield found("dead-letters-waiting", dead.at, text)
        if queue.receives is None:
            yield found("dead-letters", queue.at, f"{queue.at.name} has no dead-letter queue")
        elif isinstance(queue.receives, int | float) and queue.receives < 3:
            text = f"parts are given up after {queue.receives} receives"
            yield found("receives", queue.at, text, "RedrivePolicy")
        if queue.encrypted is False:
            yield found(
                "queue-encryption",
                queue.at,
                f"{queue.at.name} is not encrypted",
                "SqsManagedSseEnabled",
            )
        if queue.fifo is True:
            yield found("queue-fifo", queue.at, f"{queue.at.name} is a FIFO queue", "FifoQueue")
