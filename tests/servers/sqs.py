"""Queues on an SQS emulator, and what Lambda does between a queue and a function.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.servers.aws import KEYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REGION = "us-east-1"

Handler: TypeAlias = "Callable[[dict[str, Any]], Awaitable[object]]"


def sqs_client(endpoint_url: str) -> Any:
    """Make the client that AWS makes."""
    boto3 = pytest.importorskip("boto3")
    return boto3.client(
        "sqs",
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


class EventSourceMapping:
    """A new queue, and a Lambda event source mapping with `ReportBatchItemFailures` on it.

    Other than Lambda's, it hands out again at once what failed, so that nobody has to wait.

    Args:
        endpoint_url: an emulator.
        batch_size: messages of one event at most.
        concurrency: events at a time.
        visibility_timeout: seconds for which a message that was handed out is hidden.
        max_receives: how many times a message is handed out before it becomes a dead letter; None
            for any number.

    Attributes:
        queue_url: as the emulator has it.
        events: those that the handlers were called with.
        errors: what the handlers raised.
    """

    def __init__(
        self,
        endpoint_url: str,
        *,
        batch_size: int = 10,
        concurrency: int = 1,
        visibility_timeout: int = 30,
        max_receives: int | None = None,
    ) -> None:
        self._sqs = sqs_client(endpoint_url)
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._dead_letter_url: str | None = None
        attributes = {
            "VisibilityTimeout": str(visibility_timeout),
            # As most queues have it that are older than 1 MiB, the limit since August 2025.
            "MaximumMessageSize": str(256 * 1024),
        }
        if max_receives is not None:
            self._dead_letter_url = self._create({})
            attributes["RedrivePolicy"] = json.dumps(
                {
                    "deadLetterTargetArn": self._arn(self._dead_letter_url),
                    "maxReceiveCount": max_receives,
                }
            )
        self.queue_url = self._create(attributes)
        self._queue_arn = self._arn(self.queue_url)
        self.events: list[dict[str, Any]] = []
        self.errors: list[Exception] = []

    async def run_until_empty(self, handler: Handler, *, limit: int = 1000) -> int:
        """Hand events to the handler until the queue has no more, and return how many there were.

        Raises:
            RuntimeError: there were more than `limit`.
        """
        before = len(self.events)
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._concurrency):
                workers.create_task(self._work(handler, before + limit))
        return len(self.events) - before

    async def dead_letters(self) -> list[str]:
        """Return the bodies of the dead letters, and delete them."""
        assert self._dead_letter_url is not None, "there is no redrive policy"
        bodies: list[str] = []
        while found := await asyncio.to_thread(self._receive, self._dead_letter_url):
            bodies += [message["Body"] for message in found]
            await asyncio.to_thread(self._settle, found, set(), self._dead_letter_url)
        return bodies

    def close(self) -> None:
        """Delete the queues."""
        for url in filter(None, (self.queue_url, self._dead_letter_url)):
            self._sqs.delete_queue(QueueUrl=url)
        self._sqs.close()

    async def _work(self, handler: Handler, limit: int) -> None:
        while found := await asyncio.to_thread(self._receive, self.queue_url):
            if len(self.events) >= limit:
                raise RuntimeError(f"the queue is not empty after {limit} events")
            event = {"Records": [self._record(message) for message in found]}
            self.events.append(event)
            failed = await self._call(handler, event)
            await asyncio.to_thread(self._settle, found, failed, self.queue_url)

    async def _call(self, handler: Handler, event: dict[str, Any]) -> set[str]:
        """Return the ids of the messages that failed."""
        every = {record["messageId"] for record in event["Records"]}
        try:
            # As JSON, since that is how an event and its answer cross the border of a process.
            answer = json.loads(json.dumps(await handler(json.loads(json.dumps(event)))))
        except Exception as error:
            self.errors.append(error)
            return every
        return failed_ids(answer, every)

    def _receive(self, queue_url: str) -> list[dict[str, Any]]:
        """Receive up to a batch; SQS gives ten at once at most."""
        found: list[dict[str, Any]] = []
        while len(found) < self._batch_size:
            some = self._sqs.receive_message(
                QueueUrl=queue_url,
                MaxNumberOfMessages=min(10, self._batch_size - len(found)),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
                WaitTimeSeconds=0,
            ).get("Messages", [])
            found += some
            if not some:
                break
        return found

    def _settle(self, found: list[dict[str, Any]], failed: set[str], queue_url: str) -> None:
        for message in found:
            which = {"QueueUrl": queue_url, "ReceiptHandle": message["ReceiptHandle"]}
            if message["MessageId"] in failed:
                self._sqs.change_message_visibility(**which, VisibilityTimeout=0)
            else:
                self._sqs.delete_message(**which)

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        """Make a record as in https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html."""
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": {
                name: {key[0].lower() + key[1:]: value for key, value in attribute.items()}
                for name, attribute in message.get("MessageAttributes", {}).items()
            },
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._queue_arn,
            "awsRegion": REGION,
        }

    def _create(self, attributes: dict[str, str]) -> str:
        name = f"q-{uuid.uuid4().hex}"
        url: str = self._sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def _arn(self, queue_url: str) -> str:
        answer = self._sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        arn: str = answer["Attributes"]["QueueArn"]
        return arn


def failed_ids(answer: Any, every: set[str]) -> set[str]:
    """Read a handler's answer as Lambda does: what it cannot read fails every message.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if not answer or (isinstance(answer, dict) and not answer.get("batchItemFailures")):
        return set()
    try:
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
    except (TypeError, KeyError):
        return every
    return failed if failed <= every else every
