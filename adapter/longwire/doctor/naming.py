"""ARNs, and the names in them, whether they are written out or put together of references."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from longwire.doctor.values import Ref, Unknown, Value, joined, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable

PARTITION = Ref("AWS::Partition", open=True)
REGION = Ref("AWS::Region", open=True)
ACCOUNT = Ref("AWS::AccountId", open=True)

# The property that names a resource, where users may do that.
NAMES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::DynamoDB::GlobalTable": "TableName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::IAM::Role": "RoleName",
    "AWS::SQS::Queue": "QueueName",
}


def arn_of(type_: str, name: Value) -> Value | None:
    """Return the ARN of a resource of this name; None for those that nothing here looks at."""
    make = _ARNS.get(type_)
    return make(name) if make else None


def _regional(service: str, before: str) -> Callable[[Value], Value]:
    return lambda name: joined(
        ["arn:", PARTITION, f":{service}:", REGION, ":", ACCOUNT, before, name]
    )


_ARNS: dict[str, Callable[[Value], Value]] = {
    "AWS::DynamoDB::Table": _regional("dynamodb", ":table/"),
    "AWS::DynamoDB::GlobalTable": _regional("dynamodb", ":table/"),
    "AWS::Lambda::Function": _regional("lambda", ":function:"),
    "AWS::SQS::Queue": _regional("sqs", ":"),
    "AWS::S3::Bucket": lambda name: joined(["arn:", PARTITION, ":s3:::", name]),
    "AWS::IAM::Role": lambda name: joined(["arn:", PARTITION, ":iam::", ACCOUNT, ":role/", name]),
}


def split_arn(value: Value) -> tuple[Value, Value] | None:
    """Return the service and the resource of an ARN; None if it is none."""
    parts = parts_of(value)
    if not parts or not isinstance(parts[0], str) or not parts[0].startswith("arn:"):
        return None
    fields: list[list[str | Ref | Unknown]] = [[]]
    for part in parts:
        if len(fields) > 5 or not isinstance(part, str):
            fields[-1].append(part)
            continue
        first, *more = part.split(":", 6 - len(fields))
        fields[-1].append(first)
        fields += [[one] for one in more]
    if len(fields) < 6:
        return None
    return joined(fields[2]), joined(fields[5])


def function_in(value: Value) -> Value:
    """Return the name of the function that an ARN, the URI of an integration, or a name is of."""
    parts = list(parts_of(value))
    for index, part in enumerate(parts):
        if isinstance(part, str) and ":function:" in part:
            rest = [part.rpartition(":function:")[2], *parts[index + 1 :]]
            return _until(rest, r"[:/]")
    if isinstance(value, str) and value.startswith("arn:"):
        return value
    if any(isinstance(part, str) and "functions/" in part for part in parts):
        text = next(i for i, p in enumerate(parts) if isinstance(p, str) and "functions/" in p)
        return _until(parts[text + 1 :], r"[:/]")
    return _until(parts, r":")


def _until(parts: list[str | Ref | Unknown], end: str) -> Value:
    found: list[str | Ref | Unknown] = []
    for part in parts:
        if isinstance(part, str) and (cut := re.search(end, part)):
            found.append(part[: cut.start()])
            break
        found.append(part)
    return joined(found)


def queue_in(value: Value) -> Value:
    """Return the name of the queue that an ARN is of."""
    split = split_arn(value)
    return split[1] if split else value


def role_in(value: Value) -> Value:
    """Return the name of the role that an ARN is of, without its path."""
    split = split_arn(value)
    if split is None:
        return value
    if isinstance(split[1], str):
        return split[1].rpartition("/")[2]
    parts = list(parts_of(split[1]))
    if isinstance(parts[0], str):
        parts[0] = parts[0].rpartition("/")[2]
    return joined(parts)
