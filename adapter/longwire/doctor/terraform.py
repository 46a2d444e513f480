"""What `terraform show -json` prints of a plan or a state -> resources, in CloudFormation's words.

A plan does not have what is known only afterwards, such as ids; its configuration says what that
refers to, but not how: `"${a.arn}/*"` and `a.arn` look alike there. So only such attributes are
taken from it that are one reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longwire.doctor.documents import line_at
from longwire.doctor.naming import ACCOUNT, PARTITION, REGION, arn_of
from longwire.doctor.resources import Place, Resource, Source
from longwire.doctor.terraform_plan import (
    MOST_MODULES,
    PlannedResource,
    first,
    list_in,
    mapping_in,
    modules,
    references_in,
    without_keys,
)
from longwire.doctor.terraform_types import MADE_WITH, TYPES, Attributes
from longwire.doctor.values import UNKNOWN, Ref, Value, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from longwire.doctor.documents import Lines

# What is in text is one reference, or the text before it says nothing more.
_ONE_REFERENCE = {
    "api_id", "target", "integration_uri", "authorizer_id", "route_id", "deployment_id", "stage",
    "function_name", "role", "roles", "event_source_arn", "rule", "arn", "policy_arn", "bucket",
    "subnet_id", "route_table_id", "nat_gateway_id", "egress_only_gateway_id", "domain_name",
    "queue_url", "subnet_ids",
}  # fmt: skip


def is_shown(value: Mapping[str, Any]) -> bool:
    """Tell whether it is what `terraform show -json` prints."""
    return "format_version" in value and ("planned_values" in value or "values" in value)


def read(shown: Mapping[str, Any], lines: Lines, folder: Path | None) -> Source:
    """Return the resources of a plan or a state."""
    configuration = mapping_in(mapping_in(shown.get("configuration")).get("root_module"))
    plan = _Plan(shown, configuration, lines)
    resources = tuple(plan.resources())
    return Source(resources, folder=folder, region=_region(shown, configuration))


def _region(shown: Mapping[str, Any], configuration: Mapping[str, Any]) -> str | None:
    providers = mapping_in(mapping_in(shown.get("configuration")).get("provider_config"))
    expression = mapping_in(
        mapping_in(mapping_in(providers.get("aws")).get("expressions")).get("region")
    )
    region = expression.get("constant_value")
    for name in expression.get("references", []):
        variable = mapping_in(
            mapping_in(shown.get("variables")).get(str(name).removeprefix("var."))
        )
        region = region or variable.get("value")
    return region if isinstance(region, str) else None


class _Plan:
    """All that a plan or a state says."""

    def __init__(
        self, shown: Mapping[str, Any], configuration: Mapping[str, Any], lines: Lines
    ) -> None:
        self.modules = dict(modules(configuration, "", None))
        after = "planned_values" if "planned_values" in shown else "values"
        root = mapping_in(mapping_in(shown[after]).get("root_module"))
        changes = {
            one["address"]: mapping_in(one.get("change")).get("after_unknown")
            for one in list_in(shown.get("resource_changes"))
            if isinstance(one, dict) and "address" in one
        }
        found = list(self._instances(root, (after, "root_module"), "", changes, lines, 0))
        self._instances_of = {one.address: one for one in found}

    def _instances(
        self,
        module: Mapping[str, Any],
        path: tuple[str, ...],
        name: str,
        changes: Mapping[str, Any],
        lines: Lines,
        depth: int,
    ) -> Iterator[PlannedResource]:
        expressions = self.modules.get(name, (None, None, {}))[2]
        for index, one in enumerate(list_in(module.get("resources"))):
            if not isinstance(one, dict) or one.get("mode") != "managed":
                continue
            address, type_ = str(one.get("address")), str(one.get("type"))
            place = (*path, "resources", str(index))
            local = f"{type_}.{one.get('name')}"
            yield PlannedResource(
                address,
                type_,
                name,
                mapping_in(one.get("values")),
                changes.get(address),
                mapping_in(one.get("sensitive_values")),
                expressions.get(local, {}),
                line_at(lines, (*place, "address")),
                lines.get((*place, "values"), {}),
            )
        for index, child in enumerate(list_in(module.get("child_modules"))):
            if isinstance(child, dict) and depth < MOST_MODULES:
                inner = without_keys(str(child.get("address"))) + "."
                below = (*path, "child_modules", str(index))
                yield from self._instances(child, below, inner, changes, lines, depth + 1)

    # Resources

    def resources(self) -> Iterator[Resource]:
        """Return what is looked at, in CloudFormation's words."""
        for one in self._instances_of.values():
            if (known := TYPES.get(one.type)) is None:
                continue
            type_, attributes = known
            properties = {name: self._value(one, path) for name, path in attributes.items()}
            if one.type == "aws_lambda_function":
                properties |= self._environment(one, properties["Environment"])
            if (make := MADE_WITH.get(one.type)) is not None:
                properties = make(one, properties)
            given = {name: value for name, value in properties.items() if value is not None}
            merged = self._with_parts(one, given)
            yield Resource(type_, self._place(one, attributes), self._id(one), merged)

    def _environment(self, one: PlannedResource, variables: Value) -> dict[str, Value]:
        """Return what is known of an environment besides its variables."""
        marks = mapping_in(first(one.sensitive.get("environment"))).get("variables")
        found: dict[str, Value] = {"Longwire::Secret": bool(marks)}
        if variables is UNKNOWN:
            block = mapping_in(first(one.expressions.get("environment")))
            found["Longwire::Refers"] = self._refers(one.module, block.get("variables"))
        return found

    def _place(self, one: PlannedResource, attributes: Attributes) -> Place:
        lines = {
            name: one.lines[path.partition(".")[0]]
            for name, path in attributes.items()
            if path.partition(".")[0] in one.lines
        }
        return Place(one.address, one.line, lines)

    def _id(self, one: PlannedResource) -> Value:
        if one.type == "aws_iam_policy":
            return one.values.get("arn") or Ref(one.address)
        return one.values.get("id") or Ref(one.address)

    def _with_parts(self, one: PlannedResource, properties: dict[str, Value]) -> dict[str, Value]:
        """Add what Terraform has in resources of its own."""
        wanted = {
            "aws_cloudwatch_event_rule": ("aws_cloudwatch_event_target", "rule"),
            "aws_s3_bucket": ("aws_s3_bucket_lifecycle_configuration", "bucket"),
            "aws_sqs_queue": ("aws_sqs_queue_redrive_policy", "queue_url"),
        }.get(one.type)
        if wanted is None:
            return properties
        own = {self._id(one), one.values.get("name"), self._name(one)} - {None}
        parts = [
            other
            for other in self._instances_of.values()
            if other.type == wanted[0] and self._value(other, wanted[1]) in own
        ]
        if one.type == "aws_cloudwatch_event_rule":
            targets = [
                {"Arn": self._value(p, "arn"), "Input": self._value(p, "input")} for p in parts
            ]
            clean = [{k: v for k, v in t.items() if v is not None} for t in targets]
            return {
                **properties,
                "Targets": clean,
                "Arn": one.values.get("arn") or Ref(one.address, "Arn"),
            }
        if parts and one.type == "aws_s3_bucket":
            return {**properties, "LifecycleConfiguration": UNKNOWN}
        return {**properties, "RedrivePolicy": UNKNOWN} if parts else properties

    # Values

    def _value(self, one: PlannedResource, path: str) -> Value:
        """Return an attribute; `block.attribute` is in the first block of that name."""
        name, *inner = path.split(".")
        value, unknown = one.values.get(name), mapping_in(one.unknown).get(name)
        expression = one.expressions.get(name)
        for key in inner:
            value, unknown, expression = first(value), first(unknown), first(expression)
            value, unknown = mapping_in(value).get(key), mapping_in(unknown).get(key)
            expression = mapping_in(expression).get(key)
        last = inner[-1] if inner else name
        if isinstance(value, dict) and isinstance(unknown, dict):
            return {**value, **self._unknown_items(one, unknown, expression)}
        if value is not None and unknown in (None, False, {}, []):
            return value
        if value is None and isinstance(unknown, dict) and unknown:
            return self._unknown_items(one, unknown, expression)
        if isinstance(value, list) and isinstance(unknown, list) and last not in _ONE_REFERENCE:
            return UNKNOWN if True in unknown else value
        return self._expected(one, last, expression, is_unknown=unknown not in (None, False))

    def _unknown_items(
        self, one: PlannedResource, unknown: Mapping[str, Any], expression: Any
    ) -> dict[str, Value]:
        """Return the items of a map that are known afterwards."""
        refers = self._refers(one.module, expression)
        return {name: refers.get(name, UNKNOWN) for name, is_ in unknown.items() if is_}

    def _refers(self, module: str, expression: Any) -> dict[str, Value]:
        """Return what an environment of Longwire's must have, if it refers to one of the kind."""
        found: dict[str, set[Value]] = {}
        for text in references_in(expression):
            if ".aws_dynamodb_table." in f".{text}" and text.endswith((".name", ".id")):
                name = self._resolve(module, text)
                found.setdefault("LONGWIRE_DSN", set()).add(joined(["dynamodb://", name, UNKNOWN]))
            elif ".aws_sqs_queue." in f".{text}" and text.endswith((".url", ".id")):
                url = self._resolve(module, text)
                found.setdefault("LONGWIRE_FANOUT_QUEUE_URL", set()).add(url)
        return {name: values.pop() for name, values in found.items() if len(values) == 1}

    def _expected(
        self, one: PlannedResource, name: str, expression: Any, *, is_unknown: bool
    ) -> Value:
        if "constant_value" in mapping_in(expression):
            return mapping_in(expression)["constant_value"]
        references = references_in(expression)
        if not references:
            # What nobody has set is as the provider has it, whatever it will say afterwards.
            return (
                UNKNOWN if is_unknown and (expression is not None or not one.expressions) else None
            )
        if name not in _ONE_REFERENCE:
            if name == "policy":
                return self._policy(one.module, references)
            return UNKNOWN
        if name in ("subnet_ids", "roles"):
            attributes = [text for text in references if text.count(".") >= 2]
            return [self._resolve(one.module, text) for text in attributes] or UNKNOWN
        return self._resolve(one.module, references[0])

    def _policy(self, module: str, references: list[str]) -> Value:
        """Return a policy that is a data source; its statements are in the configuration."""
        name = next(
            (one for one in references if one.startswith("data.aws_iam_policy_document.")), None
        )
        if name is None:
            return UNKNOWN
        local = ".".join(name.split(".")[:3])
        expressions = self.modules.get(module, (None, None, {}))[2].get(local)
        if not expressions or {"source_policy_documents", "override_policy_documents"} & set(
            expressions
        ):
            return UNKNOWN
        blocks = list_in(expressions.get("statement"))
        if not blocks:
            return UNKNOWN  # a dynamic block
        return {"Statement": [self._statement(one) for one in blocks if isinstance(one, dict)]}

    def _statement(self, block: Mapping[str, Any]) -> dict[str, Value]:
        def given(name: str) -> Value:
            expression = mapping_in(block.get(name))
            return expression.get("constant_value", [UNKNOWN])

        found: dict[str, Value] = {
            "Effect": mapping_in(block.get("effect")).get("constant_value", "Allow"),
            "Action": given("actions"),
            "Resource": given("resources"),
        }
        if "not_actions" in block or "not_resources" in block or "condition" in block:
            found["Condition"] = UNKNOWN
        return found

    # References

    def _resolve(self, module: str, text: str, depth: int = 0) -> Value:
        """Return what a reference of the configuration is of."""
        words = text.split(".")
        if depth > MOST_MODULES or len(words) < 2:
            return UNKNOWN
        if words[0] == "var":
            return self._variable(module, words[1], depth)
        if words[0] == "module":
            return self._output(module, words, depth)
        if words[0] in ("local", "data", "each", "count", "path", "terraform", "self"):
            return UNKNOWN
        address = module + ".".join(words[:2])
        instances = [
            one for one in self._instances_of if one == address or without_keys(one) == address
        ]
        if len(instances) != 1:
            return UNKNOWN
        return self._attribute(self._instances_of[instances[0]], ".".join(words[2:]))

    def _variable(self, module: str, name: str, depth: int) -> Value:
        parent, call, _ = self.modules.get(module, (None, None, {}))
        expression = mapping_in(mapping_in(mapping_in(call).get("expressions")).get(name))
        if "constant_value" in expression:
            return expression["constant_value"]
        references = references_in(expression)
        return (
            UNKNOWN
            if parent is None or not references
            else self._resolve(parent, references[0], depth + 1)
        )

    def _output(self, module: str, words: list[str], depth: int) -> Value:
        inner = f"{module}module.{without_keys(words[1])}."
        _, call, _ = self.modules.get(inner, (None, None, {}))
        outputs = mapping_in(mapping_in(mapping_in(call).get("module")).get("outputs"))
        output = mapping_in(outputs.get(words[2])) if len(words) > 2 else {}
        references = references_in(output.get("expression"))
        return self._resolve(inner, references[0], depth + 1) if references else UNKNOWN

    def _name(self, one: PlannedResource) -> Value:
        attribute = {"aws_lambda_function": "function_name", "aws_s3_bucket": "bucket"}.get(
            one.type, "name"
        )
        return one.values.get(attribute) or Ref(
            one.address, "QueueName" if one.type == "aws_sqs_queue" else ""
        )

    def _attribute(self, one: PlannedResource, attribute: str) -> Value:
        if (known := one.values.get(attribute)) is not None:
            return known
        type_ = TYPES[one.type][0] if one.type in TYPES else ""
        if one.type == "aws_apigatewayv2_api" and attribute == "execution_arn":
            return joined(
                ["arn:", PARTITION, ":execute-api:", REGION, ":", ACCOUNT, ":", self._id(one)]
            )
        if attribute in ("arn", "invoke_arn", "qualified_arn", "qualified_invoke_arn"):
            arn = arn_of(type_, self._name(one))
            return (
                arn
                if arn is not None
                else Ref(one.address, "" if one.type == "aws_iam_policy" else "Arn")
            )
        if one.type == "aws_lambda_alias":
            return UNKNOWN
        if one.type == "aws_apigatewayv2_stage" and attribute in ("id", ""):
            return self._name(one)
        if attribute in ("name", "function_name", "bucket"):
            return self._name(one)
        if one.type in ("aws_iam_role", "aws_dynamodb_table", "aws_s3_bucket") and attribute in (
            "id",
            "",
        ):
            return self._name(one)
        return (
            Ref(one.address)
            if attribute in ("id", "url", "")
            else Ref(one.address, attribute, open=True)
        )
