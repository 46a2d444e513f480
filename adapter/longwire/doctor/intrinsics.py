"""The functions of CloudFormation, as far as a template alone can tell what they give."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from longwire.doctor.naming import ACCOUNT, NAMES, PARTITION, REGION, arn_of
from longwire.doctor.values import UNKNOWN, Ref, Text, Value, is_known, joined, same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PSEUDO: dict[str, Value] = {
    "AWS::Partition": PARTITION,
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::NoValue": None,
}
_SECRETS = re.compile(r"\{\{resolve:[^{}]*\}\}")
_MOST_DEPTH = 150
# What these give may be anything.
_ANYTHING = ("Custom::", "AWS::CloudFormation::")


class Resolver:
    """Resolves the values of one template."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._parameters = _mapping(template.get("Parameters"))
        self._mappings = _mapping(template.get("Mappings"))
        self._conditions = _mapping(template.get("Conditions"))
        self._resources = _mapping(template.get("Resources"))
        self._depth = 0
        self._asked: set[str] = set()  # conditions and names that are being looked up
        self._truths: dict[str, bool | None] = {}
        self._found: dict[tuple[str, str], Value] = {}

    def resolve(self, value: Any) -> Value:
        """Resolve a value, and all in it."""
        if self._depth > _MOST_DEPTH:
            return UNKNOWN
        self._depth += 1
        try:
            return self._resolve(value)
        finally:
            self._depth -= 1

    def _resolve(self, value: Any) -> Value:
        if isinstance(value, str):
            return value if "{{resolve:" not in value else _with_secrets(value)
        if isinstance(value, list):
            found = [self.resolve(one) for one in value]
            return [one for one in found if one is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name == "Condition" and isinstance(argument, str) and argument in self._conditions:
                return self.condition(argument)
            if isinstance(name, str) and name.startswith("Fn::"):
                return self._function(name[4:], argument)
        pairs = {key: self.resolve(one) for key, one in value.items()}
        return {key: one for key, one in pairs.items() if one is not None}

    def _function(self, name: str, argument: Any) -> Value:
        function = _FUNCTIONS.get(name)
        if function is None:
            return UNKNOWN
        try:
            return function(self, argument)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            return UNKNOWN  # not written as CloudFormation wants it: the linters say so

    # References

    def _ref(self, name: Any) -> Value:
        if not isinstance(name, str):
            return UNKNOWN
        if name in _PSEUDO:
            return _PSEUDO[name]
        return self.reference(name, "")

    def reference(self, name: str, attribute: str) -> Value:
        """Return what `Ref` or `GetAtt` gives, once for each."""
        key = (name, attribute)
        if key not in self._found:
            mark = f"ref {name}.{attribute}"
            if mark in self._asked:
                return UNKNOWN
            self._asked.add(mark)
            self._found[key] = self._reference(name, attribute)
            self._asked.discard(mark)
        return self._found[key]

    def _reference(self, name: str, attribute: str) -> Value:
        if name in self._parameters:
            return self._parameter(name)
        resource = self._resources.get(name)
        if not isinstance(resource, dict):
            return Ref(name, attribute, open=True)
        kind, properties = str(resource.get("Type")), _mapping(resource.get("Properties"))
        if attribute:
            return self._attribute(kind, name, properties, attribute)
        if kind == "AWS::ApiGatewayV2::Stage":
            return joined([self.resolve(properties.get("StageName", UNKNOWN))])
        if kind in ("AWS::Lambda::Alias", "AWS::Lambda::Version"):
            alias = self.resolve(properties.get("Name", UNKNOWN))
            return joined([self.resolve(properties.get("FunctionName", UNKNOWN)), ":", alias])
        if kind in NAMES and kind != "AWS::SQS::Queue":
            return self._name(kind, name, properties)
        return Ref(name, open=kind.startswith(_ANYTHING))

    def _attribute(
        self, kind: str, name: str, properties: Mapping[str, Any], attribute: str
    ) -> Value:
        if attribute == "Arn" and kind in NAMES:
            return arn_of(kind, self._name(kind, name, properties))
        if kind == "AWS::SQS::Queue" and attribute == "QueueName":
            return self._name(kind, name, properties)
        if kind == "AWS::ApiGatewayV2::Api" and attribute == "ApiEndpoint":
            scheme = "wss" if properties.get("ProtocolType") == "WEBSOCKET" else "https"
            return joined([f"{scheme}://", Ref(name), ".execute-api.", REGION, ".", UNKNOWN])
        if kind.startswith("AWS::ApiGatewayV2::") and attribute.endswith("Id"):
            return Ref(name)
        return Ref(name, attribute, open=kind.startswith(_ANYTHING))

    def _name(self, kind: str, name: str, properties: Mapping[str, Any]) -> Value:
        """Return the name of a resource; without one of its own it is known when it is there."""
        given = self.resolve(properties.get(NAMES[kind]))
        if given is not None:
            return UNKNOWN if isinstance(given, dict | list) else given
        return Ref(name, "QueueName") if kind == "AWS::SQS::Queue" else Ref(name)

    def _parameter(self, name: str) -> Value:
        parameter = _mapping(self._parameters[name])
        kind = str(parameter.get("Type", "String"))
        if "Default" not in parameter or kind.startswith("AWS::SSM::"):
            return Ref(name, open=True)
        default = parameter["Default"]
        if kind.startswith("List<") or kind == "CommaDelimitedList":
            return [one.strip() for one in str(default).split(",")]
        return _with_secrets(default) if isinstance(default, str) else default

    # Conditions

    def condition(self, name: str) -> bool | None:
        """Tell whether a condition holds; None: nobody can tell."""
        if name not in self._truths:
            if name not in self._conditions or name in self._asked or self._depth > _MOST_DEPTH:
                return None
            self._asked.add(name)
            self._truths[name] = self._truth(self._conditions[name])
            self._asked.discard(name)
        return self._truths[name]

    def _truth(self, value: Any) -> bool | None:
        if not isinstance(value, dict) or len(value) != 1:
            return None
        ((name, argument),) = value.items()
        if name == "Condition":
            return self.condition(argument) if isinstance(argument, str) else None
        if not isinstance(argument, list):
            return None
        if name == "Fn::Equals" and len(argument) == 2:
            return _equals(self.resolve(argument[0]), self.resolve(argument[1]))
        truths = [self._truth(one) for one in argument]
        if name == "Fn::Not" and len(truths) == 1:
            return None if truths[0] is None else not truths[0]
        if name == "Fn::And":
            return False if False in truths else None if None in truths else True
        if name == "Fn::Or":
            return True if True in truths else None if None in truths else False
        return None

    # The functions; each may raise where its argument is not as it must be.

    def _get_att(self, argument: Any) -> Value:
        if isinstance(argument, str):
            argument = argument.split(".", 1)
        name, attribute = argument[0], ".".join(map(str, argument[1:]))
        return self.reference(name, attribute) if isinstance(name, str) else UNKNOWN

    def _sub(self, argument: Any) -> Value:
        text, given = (argument[0], argument[1]) if isinstance(argument, list) else (argument, {})
        parts: list[Value] = []
        for word in re.split(r"(\$\{[^}]*\})", text):
            if not word.startswith("${") or word.startswith("${!"):
                parts.append(_with_secrets(word.replace("${!", "${")))
            elif (name := word[2:-1].strip()) in given:
                parts.append(self.resolve(given[name]))
            elif "." in name and name.partition(".")[0] not in self._parameters:
                parts.append(self._get_att(name))
            else:
                parts.append(self._ref(name))
        return joined(parts)

    def _join(self, argument: Any) -> Value:
        separator, items = self.resolve(argument[0]), self.resolve(argument[1])
        if not isinstance(items, list):
            return UNKNOWN
        parts: list[Value] = []
        for item in items:
            parts += [separator, item] if parts else [item]
        return joined(parts)

    def _select(self, argument: Any) -> Value:
        index, items = int(argument[0]), self.resolve(argument[1])
        return items[index] if isinstance(items, list) else UNKNOWN

    def _split(self, argument: Any) -> Value:
        separator, text = argument[0], self.resolve(argument[1])
        if isinstance(text, Text):
            fields: list[list[Value]] = [[]]
            for part in text.parts:
                if isinstance(part, str):
                    first, *more = part.split(separator)
                    fields[-1].append(first)
                    fields += [[one] for one in more]
                else:
                    fields[-1].append(part)
            return [joined(field) for field in fields]
        return text.split(separator) if isinstance(text, str) else UNKNOWN

    def _if(self, argument: Any) -> Value:
        holds = self.condition(argument[0])
        if holds is None:
            return UNKNOWN
        return self.resolve(argument[1] if holds else argument[2])

    def _find_in_map(self, argument: Any) -> Value:
        keys = [self.resolve(one) for one in argument[:3]]
        if not all(isinstance(one, str) for one in keys):
            return UNKNOWN
        found: Any = self._mappings
        for key in keys:
            found = found[key]
        return found

    def _import_value(self, argument: Any) -> Value:
        name = self.resolve(argument)
        return Ref(f"import {name}", open=True) if isinstance(name, str) else UNKNOWN

    def _to_json_string(self, argument: Any) -> Value:
        value = self.resolve(argument)
        return joined([json.dumps(value)]) if is_known(value) else UNKNOWN


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _equals(one: Value, other: Value) -> bool | None:
    if isinstance(one, bool | int | float) or isinstance(other, bool | int | float):
        one, other = joined([one]), joined([other])
    return same(one, other)


def _with_secrets(text: str) -> Value:
    """Return a text; what AWS is to look up in it is unknown."""
    words = _SECRETS.split(text)
    return joined([one for word in words for one in (UNKNOWN, word)][1:])


_FUNCTIONS: dict[str, Callable[[Resolver, Any], Value]] = {
    "GetAtt": Resolver._get_att,
    "Sub": Resolver._sub,
    "Join": Resolver._join,
    "Select": Resolver._select,
    "Split": Resolver._split,
    "If": Resolver._if,
    "FindInMap": Resolver._find_in_map,
    "ImportValue": Resolver._import_value,
    "ToJsonString": Resolver._to_json_string,
}
