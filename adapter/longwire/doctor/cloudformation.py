"""A template of CloudFormation -> resources. SAM's is transformed first, by `sam.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longwire.doctor.documents import line_at
from longwire.doctor.intrinsics import Resolver
from longwire.doctor.resources import Place, Resource, Source
from longwire.doctor.values import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from longwire.doctor.documents import Lines

# Of what else there is nothing is looked at.
_LOOKED_AT = (
    "AWS::ApiGatewayV2::",
    "AWS::Lambda::",
    "AWS::IAM::",
    "AWS::DynamoDB::",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::Events::Rule",
    "AWS::Scheduler::Schedule",
    "AWS::CloudWatch::Alarm",
    "AWS::EC2::",
    "AWS::ElastiCache::",
    "AWS::RDS::",
    "AWS::Serverless::",
)
# What is somewhere else.
_ELSEWHERE = (
    "AWS::CloudFormation::Stack",
    "AWS::CloudFormation::Macro",
    "AWS::Serverless::Application",
)


def read(
    template: Mapping[str, Any],
    lines: Lines,
    folder: Path | None,
    origins: Mapping[str, str] | None = None,  # of a resource that SAM made: that of the template
) -> Source:
    """Return the resources of a template without SAM's."""
    resolver = Resolver(template)
    resources = tuple(_resources(template, resolver, lines, origins or {}))
    return Source(resources, complete=_is_complete(template), folder=folder)


def _resources(
    template: Mapping[str, Any], resolver: Resolver, lines: Lines, origins: Mapping[str, str]
) -> Iterator[Resource]:
    for name, raw in template["Resources"].items():
        if not isinstance(raw, dict) or not str(raw.get("Type")).startswith(_LOOKED_AT):
            continue
        if isinstance(raw.get("Condition"), str) and resolver.condition(raw["Condition"]) is False:
            continue
        properties = resolver.resolve(raw.get("Properties") or {})
        if not isinstance(properties, dict):
            properties = {}
        metadata = raw.get("Metadata")
        if isinstance(metadata, dict) and isinstance(metadata.get("aws:asset:path"), str):
            properties = {**properties, "Longwire::Asset": metadata["aws:asset:path"]}
        yield Resource(
            raw["Type"],
            _place(lines, name, origins.get(name, name)),
            Ref(name),
            properties,
            _names(raw.get("DependsOn")),
        )


def _place(lines: Lines, name: str, origin: str) -> Place:
    own = line_at(lines, ("Resources", origin))
    return Place(name, own, lines.get(("Resources", origin, "Properties"), {}))


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def _is_complete(template: Mapping[str, Any]) -> bool:
    """Tell whether all of a stack is in this template."""
    transforms = template.get("Transform", [])
    transforms = transforms if isinstance(transforms, list) else [transforms]
    if (
        any(one != "AWS::Serverless-2016-10-31" for one in transforms)
        or "Fn::Transform" in template
    ):
        return False
    resources = template["Resources"]
    return not any(
        str(name).startswith("Fn::")
        or (isinstance(raw, dict) and str(raw.get("Type")).startswith(_ELSEWHERE))
        for name, raw in resources.items()
    )
