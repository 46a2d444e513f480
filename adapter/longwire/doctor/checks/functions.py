"""The function: its environment, its time, its memory, how it is run."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from longwire.doctor.findings import Finding, found
from longwire.doctor.ours import DSN, QUEUE_URL
from longwire.doctor.values import Unknown, parts_of, same, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.doctor.model import LambdaFunction
    from longwire.doctor.stack import Stack

VARIABLES = (DSN, QUEUE_URL)
_INSIDE = ("LONGWIRE_DEV_", "LONGWIRE_TEST_")
_RESERVED = re.compile(
    r"_HANDLER|_X_AMZN_TRACE_ID|AWS_(DEFAULT_)?REGION|AWS_EXECUTION_ENV|AWS_LAMBDA_"
    r"(FUNCTION_(NAME|MEMORY_SIZE|VERSION)|INITIALIZATION_TYPE|LOG_(GROUP|STREAM)_NAME|RUNTIME_API)|"
    r"AWS_(ACCESS_KEY(_ID)?|SECRET_ACCESS_KEY|SESSION_TOKEN)|LAMBDA_(TASK_ROOT|RUNTIME_DIR)"
)
_SECRET = re.compile(
    r"(?i)(^|_)(SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|ACCESS_?TOKEN)(_KEY)?$"
)
# Layers with an extension, by a word in their name.
_EXTENSIONS = re.compile(
    r"(?i)Datadog-Extension|LambdaInsightsExtension|Parameters-and-Secrets-Lambda-Extension|"
    r"AppConfig-Extension|NewRelic|aws-otel|AWSOpenTelemetryDistro|Dynatrace|lumigo|opentelemetry-collector"
)
_LEAST_TIMEOUT, _LEAST_MEMORY, _MOST_TIMEOUT = 10, 256, 30


def check_variables(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The names of variables are known, and no value is a secret."""
    for function in ours:
        if not isinstance(function.environment, dict):
            continue
        for name, value in function.environment.items():
            if (
                str(name).startswith("LONGWIRE_")
                and name not in VARIABLES
                and not name.startswith(_INSIDE)
            ):
                near = difflib.get_close_matches(name, VARIABLES, 1, 0.5)
                hint = f"; did you mean {near[0]}?" if near else ""
                text = f"there is no variable {name}{hint}"
                yield found("variable-unknown", function.at, text, "Environment")
            if _RESERVED.fullmatch(str(name)) and not stack.deployed:
                text = f"the variable {name} is Lambda's own"
                yield found("variable-reserved", function.at, text, "Environment")
            elif function.secret or not _SECRET.search(str(name)):
                continue
            elif isinstance(value, str) and _is_secret(value):
                text = f"the value of {name} is in clear"
                yield found("secret-in-clear", function.at, text, "Environment")


def _is_secret(value: str) -> bool:
    """Tell whether a text may be a secret, and not the place of one."""
    return len(value) >= 6 and not value.startswith(("arn:", "http:", "https:", "/", "alias/"))


def check_dsn_given(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The store is said, in the environment or in code."""
    for function in ours:
        if function.variable(DSN) is not None or function.package is None:
            continue
        source = function.package.source
        if source is None or re.search(r"\b(dsn|ws_config|websocket_handler)\b", source):
            continue
        if re.search(r"\bLongwire\(", source):
            yield found(
                "dsn-missing", function.at, f"{function.at.name} has no {DSN}", "Environment"
            )


def check_time(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """There is time for an event, and not more than a client is given."""
    invoked = [one.function for one in stack.event_sources]
    invoked += [one.function for one in stack.schedules]
    busy = {function_name(stack, one) for one in invoked}
    for function in ours:
        timeout = function.timeout
        if not isinstance(timeout, int | float):
            continue
        if timeout < _LEAST_TIMEOUT:
            said = "" if "Timeout" in function.at.lines else ", Lambda's default"
            text = (
                f"the timeout is {timeout} s{said}"
                if timeout == 3
                else f"the timeout is {timeout} s"
            )
            yield found("timeout-short", function.at, text, "Timeout")
        elif timeout > _MOST_TIMEOUT and function.at.name not in busy:
            yield found("timeout-long", function.at, f"the timeout is {timeout} s", "Timeout")


def function_name(stack: Stack, value: object) -> str | None:
    """Return the name in the template of the function that a value is of."""
    function = stack.function_of(value)
    return None if function is None else function.at.name


def check_memory(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """There is CPU enough, which comes with memory."""
    for function in ours:
        if isinstance(function.memory, int | float) and function.memory < _LEAST_MEMORY:
            yield found(
                "memory-small", function.at, f"the memory is {function.memory} MB", "MemorySize"
            )


def check_runtime(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Python is new enough."""
    for function in ours:
        version = python_of(function)
        if version is None:
            if isinstance(function.runtime, str) and not function.runtime.startswith(
                ("python", "provided")
            ):
                yield found(
                    "runtime-old", function.at, f"the runtime is {function.runtime}", "Runtime"
                )
            continue
        if version < (3, 11):
            yield found("runtime-old", function.at, f"the runtime is {function.runtime}", "Runtime")
        if function.snap_start == "PublishedVersions":
            yield from _check_snapstart(stack, function, version)


def python_of(function: LambdaFunction) -> tuple[int, int] | None:
    """Return the Python of a function; None: it has another runtime, or nobody can tell."""
    known = re.fullmatch(r"python(\d)\.(\d+)", str(function.runtime))
    return (int(known[1]), int(known[2])) if known else None


def _check_snapstart(
    stack: Stack, function: LambdaFunction, version: tuple[int, int]
) -> Iterator[Finding]:
    if version < (3, 12):
        text = f"SnapStart with {function.runtime}"
        yield found("snapstart-runtime", function.at, text, "SnapStart")
    for one in stack.integrations:
        if stack.function_of(one.function) is function and not _is_qualified(one.function):
            text = "SnapStart is on, and the API invokes no published version"
            yield found("snapstart-unused", function.at, text, "SnapStart")
            return


def _is_qualified(uri: object) -> bool:
    """Tell whether an ARN has a version or an alias, or may have."""
    parts = parts_of(uri)
    after = [part for part in parts if isinstance(part, str) and part not in ("", "/invocations")]
    last = shown(uri).rpartition(":function:")[2].removesuffix("/invocations")
    return ":" in last or any(isinstance(part, Unknown) for part in parts) or not after


def check_concurrency(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Events may come at the same time."""
    for function in ours:
        reserved = function.reserved
        if not isinstance(reserved, int | float):
            continue
        wanted = [
            one.concurrency
            for one in stack.event_sources
            if stack.function_of(one.function) is function
            and isinstance(one.concurrency, int | float)
        ]
        if reserved <= 1:
            text = f"only {reserved} event at a time may run"
            yield found("reserved-concurrency", function.at, text, "ReservedConcurrentExecutions")
        elif wanted and max(wanted) >= reserved:
            text = f"the queue may take all {reserved} that are reserved: none is left for clients"
            yield found("reserved-concurrency", function.at, text, "ReservedConcurrentExecutions")


def check_logs(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The log has one record for each event."""
    for function in ours:
        if function.log_format == "Text":
            yield found("log-format", function.at, "the log format is Text", "LoggingConfig")
        elif function.log_level in ("WARN", "ERROR", "FATAL"):
            text = f"the application log level is {function.log_level}"
            yield found("log-format", function.at, text, "LoggingConfig")


def check_layers(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """There is room for layers, and for the extension."""
    for function in ours:
        if not isinstance(function.layers, list):
            continue
        if len(function.layers) > 5:
            text = f"the function has {len(function.layers)} layers"
            yield found("too-many-layers", function.at, text, "Layers")
        count = 0
        for layer in function.layers:
            own = next((one for one in stack.layers if same(one.id, layer)), None)
            count += own.extensions if own else bool(_EXTENSIONS.search(shown(layer)))
        if count >= 10:
            text = f"the layers have {count} extensions"
            yield found("extension-slots", function.at, text, "Layers")


def check_state(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Lambda runs what was deployed."""
    for function in ours:
        if isinstance(function.state, str):
            yield found("function-state", function.at, f"{function.at.name}: {function.state}")
