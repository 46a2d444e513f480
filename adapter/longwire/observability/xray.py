"""Which trace an event belongs to, as AWS tells it.

    Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1

https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from longwire_aws.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "x-amzn-trace-id"
VARIABLE = "_X_AMZN_TRACE_ID"
"""Where Lambda's runtime puts that of each invocation; the variable is the whole process's."""

_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})", re.IGNORECASE)
_PARENT = re.compile(r"[0-9a-f]{16}", re.IGNORECASE)
_SAMPLED = {"1": True, "0": False, "?": None}  # "?" asks for a decision


class Parent(NamedTuple):
    """The span that an event continues; the ids are OpenTelemetry's, too."""

    trace_id: int
    span_id: int
    sampled: bool


class _Header(NamedTuple):
    trace_id: int
    span_id: int | None
    sampled: bool | None


def of_invocation(context: object, environ: Mapping[str, str]) -> object:
    """Return the header that Lambda gave with an invocation, if it did.

    A runtime that has several invocations at once has it in the context of each.
    """
    told: object = getattr(context, "xray_trace_id", None)
    return environ.get(VARIABLE) if told is None else told


def parent_of(raw: object, lambdas: object) -> Parent | None:
    """Return what an event continues; None where nothing (readable) tells of a trace.

    The event's own header comes before Lambda's, which fills in what the own one leaves open if
    both are about the same trace. API Gateway's header mostly has nothing but Root: then the last
    half of Root is the parent, so that all spans of the trace hang together under one that nobody
    has recorded.

    A header that says Sampled=0 is heard. Lambda's says so in every function that has not turned
    X-Ray on, which decides nothing for who has asked for OpenTelemetry's spans. What nobody has
    decided is sampled.
    """
    ours = _parse(lambdas)
    if ours is not None and ours.sampled is False:
        ours = ours._replace(sampled=None)
    told = _parse(_header(raw)) or ours
    if told is None:
        return None
    same = ours if ours is not None and ours.trace_id == told.trace_id else told
    span_id = told.span_id or same.span_id or told.trace_id & (1 << 64) - 1
    sampled = same.sampled if told.sampled is None else told.sampled
    return Parent(told.trace_id, span_id or 1, sampled is not False)


def _header(raw: object) -> object:
    headers = raw.get("headers") if isinstance(raw, dict) else None
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if isinstance(name, str) and name.lower() == HEADER:
            return value
    return None


def _parse(text: object) -> _Header | None:
    """Read a header; None when it is malformed."""
    if not isinstance(text, str):
        return None
    pairs = (field.partition("=") for field in text.split(";"))
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    root = _ROOT.fullmatch(fields.get("Root", ""))
    parent, sampled = fields.get("Parent"), fields.get("Sampled", "?")
    if root is None or sampled not in _SAMPLED:
        return None
    if parent is not None and not _PARENT.fullmatch(parent):
        return None
    trace_id = int(root[1] + root[2], 16)
    if trace_id == 0:
        return None
    return _Header(trace_id, int(parent, 16) if parent else None, _SAMPLED[sampled])
