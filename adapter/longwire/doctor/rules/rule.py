"""What is said of one kind of mistake."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]

ENDPOINT = "https://{api id}.execute-api.{region}.amazonaws.com/{stage}"
POST_ARN = "arn:aws:execute-api:{region}:{account}:{api id}/{stage}/*/@connections/*"


class Rule(NamedTuple):
    """One kind of mistake."""

    severity: Severity
    why: str
    instead: str
