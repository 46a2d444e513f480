"""What an IAM policy says of one action on one resource.

Deny wins over Allow, and what nothing allows is not allowed. `*` is any text and `?` any one
character; actions are compared without regard to case, resources are not.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html

Not supported: conditions, which are refused rather than overlooked, and policy variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Effect = Literal["Allow", "Deny"]


class PolicyError(ValueError):
    """The policy cannot be evaluated; the text says where it is wrong, without any value of it."""


@dataclass(frozen=True, slots=True)
class _Names:
    """The actions or resources that a statement is about, or (`negated`) is not about."""

    patterns: tuple[str, ...]
    negated: bool
    ignore_case: bool = False

    def cover(self, name: str) -> bool:
        return any(self._covers(pattern, name) for pattern in self.patterns) is not self.negated

    def _covers(self, pattern: str, name: str) -> bool:
        if self.ignore_case:
            return _matches(pattern.lower(), name.lower())
        return _matches(pattern, name)


@dataclass(frozen=True, slots=True)
class _Statement:
    effect: Effect
    actions: _Names
    resources: _Names


def evaluate(document: object, action: str, resource: str) -> Effect | None:
    """Return what the policy says of this action on this resource; None if it says nothing."""
    # One wrong statement makes the whole policy wrong, whatever the others say.
    effects = {
        statement.effect
        for statement in _statements(document)
        if statement.actions.cover(action) and statement.resources.cover(resource)
    }
    if "Deny" in effects:
        return "Deny"
    return "Allow" if effects else None


def _statements(document: object) -> list[_Statement]:
    if not isinstance(document, dict):
        raise PolicyError(f"policyDocument: expected an object, got {type(document).__name__}")
    statements = _as_list(document.get("Statement"))
    return [_statement(value, f"Statement[{n}]") for n, value in enumerate(statements)]


def _statement(value: object, where: str) -> _Statement:
    if not isinstance(value, dict):
        raise PolicyError(f"{where}: expected an object, got {type(value).__name__}")
    effect = value.get("Effect")
    if effect != "Allow" and effect != "Deny":
        raise PolicyError(f'{where}.Effect: expected "Allow" or "Deny"')
    if "Condition" in value:
        raise PolicyError(f"{where}.Condition: conditions are not evaluated here")
    return _Statement(
        effect,
        _names(value, "Action", where, ignore_case=True),
        _names(value, "Resource", where),
    )


def _names(
    statement: dict[str, object], key: str, where: str, *, ignore_case: bool = False
) -> _Names:
    given = [name for name in (key, f"Not{key}") if name in statement]
    if len(given) != 1:
        raise PolicyError(f"{where}: expected either {key} or Not{key}")
    texts = _as_list(statement[given[0]])
    patterns = [text for text in texts if isinstance(text, str)]
    if not texts or len(patterns) < len(texts):
        raise PolicyError(f"{where}.{given[0]}: expected a string or a list of strings")
    return _Names(tuple(patterns), negated=given[0] != key, ignore_case=ignore_case)


def _matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern with `*` and `?` is the whole text, in pattern times text steps."""
    # Not as a regular expression, which tries every way to divide the text among the stars: what
    # comes before a star that has matched need not be looked at again.
    at = star = here = resume = 0
    while here < len(text):
        if pattern[at : at + 1] == "*":
            at = star = at + 1
            resume = here
        elif pattern[at : at + 1] in ("?", text[here]):
            at, here = at + 1, here + 1
        elif star:
            # The latest star takes one character more.
            resume += 1
            at, here = star, resume
        else:
            return False
    return pattern[at:].strip("*") == ""


def _as_list(value: object) -> list[object]:
    """IAM takes one element as itself or as a list of one."""
    return value if isinstance(value, list) else [value]
