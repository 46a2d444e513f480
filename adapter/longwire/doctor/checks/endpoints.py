"""Where the management API is: for sweeps, for HTTP, and wherever somebody has said it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from longwire.doctor.findings import Finding, found
from longwire.doctor.naming import split_arn
from longwire.doctor.ours import AS_SDK, DSN, ENDPOINT
from longwire.doctor.values import Ref, Unknown, Value, is_open, joined, parts_of, same, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.doctor.model import Api, LambdaFunction, Schedule
    from longwire.doctor.stack import Stack


def _knows_endpoint(function: LambdaFunction) -> bool:
    """Tell whether a function is told, or may be."""
    given = [function.variable(name) for name in (ENDPOINT, AS_SDK)]
    dsn, source = function.variable(DSN), function.package.source if function.package else None
    if any(one is not None and one != "" for one in given) or isinstance(dsn, Unknown):
        return True
    in_code = source is not None and "api_gateway_endpoint_url" in source
    return in_code or "api_gateway_endpoint_url" in shown(dsn)


def _is_sweep(schedule: Schedule) -> bool | None:
    """Tell whether a schedule asks for a sweep; None: nobody can tell."""
    given = schedule.input
    if given is None:
        return False
    if not isinstance(given, str):
        return None
    try:
        event = json.loads(given)
    except ValueError:
        return False
    return isinstance(event, dict) and event.get("longwire") == "sweep"


def check_schedules(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """A schedule asks for a sweep, may do so, and the sweep knows where to look."""
    for schedule in stack.schedules:
        function = stack.function_of(schedule.function)
        if function is None or function not in ours or schedule.enabled is False:
            continue
        sweep = _is_sweep(schedule)
        if sweep is False and not _answers_others(function):
            what = (
                "has no input"
                if schedule.input is None
                else f"has the input {shown(schedule.input)[:80]}"
            )
            yield found(
                "sweep-input", schedule.at, f"the schedule {what}", "Targets", "Target", "Events"
            )
        elif sweep and not _knows_endpoint(function):
            text = f"{function.at.name} is told to sweep, and has no {ENDPOINT}"
            yield found("sweep-endpoint", function.at, text, "Environment")
        if schedule.by_rule and _may_invoke(stack, schedule, function) is False:
            text = f"no permission lets the rule invoke {function.at.name}"
            yield found("sweep-permission", schedule.at, text)


def _answers_others(function: LambdaFunction) -> bool:
    """Tell whether a function of the user's is around the handler, which may answer a warmer."""
    source = function.package.source if function.package else None
    return source is not None and re.search(r"^def \w+\(event", source, re.MULTILINE) is not None


def _may_invoke(stack: Stack, schedule: Schedule, function: LambdaFunction) -> bool | None:
    told: list[bool | None] = [] if stack.complete else [None]
    for one in stack.permissions_of(function):
        if same(one.function, function.name) is False:
            told.append(False)
        elif one.principal == "events.amazonaws.com":
            told.append(True if one.source is None or one.source == schedule.source else None)
        else:
            told.append(None if not isinstance(one.principal, str) else one.principal == "*")
    return True if True in told else None if None in told else False


def _answers(stack: Stack, api: Api, function: LambdaFunction) -> bool:
    """Tell whether an HTTP API leads to a function; SAM's has no routes but in a Body."""
    if any(stack.function_behind(one) == function for one in stack.routes_of(api)):
        return True
    return any(
        same(one.function, function.name) is True
        and (split := split_arn(one.source)) is not None
        and parts_of(split[1])[:1] == (api.id,)
        for one in stack.permissions_of(function)
    )


def check_http(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """A function that answers HTTP, too, knows where its sockets are."""
    if not stack.our_apis:
        return
    apis = [one for one in stack.apis if one.protocol == "HTTP"]
    for function in ours:
        answers = any(_answers(stack, one, function) for one in apis)
        if answers and not _knows_endpoint(function):
            text = f"{function.at.name} answers HTTP, and has no {ENDPOINT}"
            yield found("http-endpoint", function.at, text, "Environment")


def check_endpoint(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """What is said of the place is right."""
    for function in ours:
        for name in (ENDPOINT, AS_SDK):
            value = function.variable(name)
            if value is None or isinstance(value, Unknown):
                continue
            first = next(iter(parts_of(value)), "")
            if isinstance(first, str) and first.lower().startswith(("ws://", "wss://")):
                text = f"{name} is {shown(value)}"
                yield found("endpoint-scheme", function.at, text, "Environment")
            else:
                yield from _check_stage(stack, ours, function, name, value)


def _check_stage(
    stack: Stack,
    ours: tuple[LambdaFunction, ...],
    function: LambdaFunction,
    name: str,
    value: Value,
) -> Iterator[Finding]:
    """An execute-api URL has the API's id and its stage."""
    text = shown(value)
    apis = stack.our_apis
    if ".execute-api." not in text or len(apis) != 1:
        return
    host = list(parts_of(value))
    if isinstance(host[0], str):
        host[0] = re.sub(r"^\w+://", "", host[0])
    index = next(
        i for i, part in enumerate(host) if isinstance(part, str) and ".execute-api." in part
    )
    api_id = joined([*host[:index], str(host[index]).partition(".execute-api.")[0]])
    if same(api_id, apis[0].id) is False:
        yield found(
            "endpoint-api",
            function.at,
            f"{name} is {text}, and not of {apis[0].at.name}",
            "Environment",
        )
        return
    stage = _stage(host)
    stages = [one.name for one in stack.stages if same(one.api, apis[0].id)]
    if stage is None or not stages:
        return
    if all(same(stage, one) is False for one in stages):
        said = f"has the stage {shown(stage)}" if stage != "" else "has no stage"
        yield found(
            "endpoint-stage",
            function.at,
            f"{name} {said}, the API {shown(stages[0])}",
            "Environment",
        )


def _stage(parts: list[str | Ref | Unknown]) -> Value:
    """Return what is behind the host of a URL; None: nobody can tell."""
    for index, part in enumerate(parts):
        if isinstance(part, str) and "/" in part:
            rest = joined([part.partition("/")[2], *parts[index + 1 :]])
            if isinstance(rest, str):
                return rest.strip("/").removesuffix("@connections").rstrip("/")
            return None if is_open(rest) and not isinstance(rest, Ref) else rest
    # A host that ends in something unknown may have it there.
    return None if isinstance(parts[-1], Unknown | Ref) else ""
