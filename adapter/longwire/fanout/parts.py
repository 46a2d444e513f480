"""Big groups: a delivery split into parts, each of which travels as a message of an SQS queue.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any

from longwire.apigateway.frames import MAX_MESSAGE
from longwire.exceptions import EventError
from longwire_aws.endpoints import is_http_url
from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Bytes of one message, and of all messages of one batch. AWS takes 1 MiB since August 2025, but
# queues have limits of their own, and many were created with the 256 KiB of old.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
MESSAGE_LIMIT = 256 * 1024
# Messages of one batch, by the same page.
BATCH = 10
# Connections of one part: some seconds of one function's time.
MEMBERS = 1000

_VERSION = 1

# Seconds for which the store knows an API: as long as SQS can keep a message that names it, and as
# long as a sender takes it for noted.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
API_LIFETIME = 15 * 24 * 3600
API_NOTED = 24 * 3600


class Part(NamedTuple):
    """One frame for some of a group's members."""

    part_id: str  # unique
    endpoint: str  # of the management API
    data: bytes
    connection_ids: tuple[str, ...]


def dumps(part: Part) -> str:
    """Write a part as the body of a message: ASCII, since SQS takes few control characters."""
    fields = {
        "longwire": _VERSION,
        "id": part.part_id,
        "endpoint": part.endpoint,
        "data": b2a_base64(part.data, newline=False).decode(),
        "connections": part.connection_ids,
    }
    return json.dumps(fields, separators=(",", ":"))


def loads(text: str) -> Part:
    """Read what `dumps` wrote, or raise `EventError`."""
    fields = _fields(text)
    version = fields["longwire"]
    if version is True or version != _VERSION:
        raise EventError(
            f"an SQS message is of another version of Longwire's parts ({version!r:.20}, expected "
            f"{_VERSION}): let the queue run empty before the sender or this function is updated"
        )
    match fields:
        case {
            "id": str(part_id),
            "endpoint": str(endpoint),
            "data": str(data),
            "connections": [*_],
        }:
            ids = tuple(fields["connections"])
            if is_http_url(endpoint) and all(isinstance(each, str) for each in ids):
                return Part(part_id, endpoint, _decode(data), ids)
    raise EventError("an SQS message says that it is one of Longwire's, but it is damaged")


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, dict) and "longwire" in fields:
        return fields
    what = "one that SNS sent" if isinstance(fields, dict) and "TopicArn" in fields else "foreign"
    raise EventError(
        f"an SQS message is not one of Longwire's parts but {what}: the queue of a fan-out has to "
        "be its own; what else this function does needs another queue or another function"
    )


def _decode(data: str) -> bytes:
    try:
        return a2b_base64(data, strict_mode=True)
    except ValueError:
        raise EventError("an SQS message is one of Longwire's, but its data is damaged") from None


def split(
    endpoint: str, data: bytes, ids: Iterable[str], *, new_id: Callable[[], str]
) -> Iterator[Part]:
    """Yield parts that reach all of `ids`, in order, each within the limits of a message."""
    if len(data) > MAX_MESSAGE:
        raise ValueError(f"data of {len(data)} bytes is over the limit of {MAX_MESSAGE}")
    empty = Part("", endpoint, data, ())
    space = MESSAGE_LIMIT - len(dumps(empty))
    part, left, chosen = empty, 0, list[str]()
    for connection_id in ids:
        size = len(json.dumps(connection_id)) + len(",")
        if not chosen or size > left or len(chosen) == MEMBERS:
            if chosen:
                yield part._replace(connection_ids=tuple(chosen))
            part, chosen = empty._replace(part_id=new_id()), []
            left = space - len(part.part_id)
            if size > left:
                raise ValueError("the endpoint and one connection id are too long for a message")
        chosen.append(connection_id)
        left -= size
    if chosen:
        yield part._replace(connection_ids=tuple(chosen))


def batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    """Pack bodies, which are ASCII, in order, into what `Queue.send` takes at once."""
    batch: list[str] = []
    size = 0
    for body in bodies:
        if batch and (len(batch) == BATCH or size + len(body) > MESSAGE_LIMIT):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield batch


class Message(NamedTuple):
    """One record of a queue's event."""

    message_id: str
    body: str


def messages(event: dict[str, Any]) -> list[Message]:
    """Read a queue's event, or raise `EventError`."""
    return [_message(record) for record in event["Records"]]


def _message(record: object) -> Message:
    match record:
        case {"messageId": str(message_id), "body": str(body)}:
            return Message(message_id, body)
    raise EventError("a record of an SQS event has no messageId or no body")


def failures(message_ids: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """Make the answer that has Lambda hand these messages out again, and delete the others."""
    # Read only if the event source mapping has `ReportBatchItemFailures`; else it deletes them all.
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    return {"batchItemFailures": [{"itemIdentifier": each} for each in message_ids]}
