"""All checks of a stack, and what was not looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from longwire.doctor.checks import (
    apis,
    endpoints,
    functions,
    networks,
    packages,
    permissions,
    queues,
    stores,
)
from longwire.doctor.findings import SEVERITIES, Finding, found
from longwire.doctor.ours import ours_of
from longwire.doctor.resources import Place
from longwire.doctor.values import Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from longwire.doctor.deployed import Looked
    from longwire.doctor.stack import Stack

CHECKS = (
    apis.check_routes,
    apis.check_stores_agree,
    apis.check_targets,
    apis.check_route_responses,
    apis.check_invoke_permissions,
    apis.check_stages,
    apis.check_deployments,
    apis.check_endpoint_disabled,
    apis.check_domains,
    apis.check_authorized_routes,
    apis.check_authorizers,
    apis.check_alarms,
    functions.check_variables,
    functions.check_dsn_given,
    functions.check_time,
    functions.check_memory,
    functions.check_runtime,
    functions.check_concurrency,
    functions.check_logs,
    functions.check_layers,
    functions.check_state,
    packages.check_handler,
    packages.check_requirements,
    packages.check_architecture,
    permissions.check_manage_connections,
    permissions.check_table,
    permissions.check_bucket,
    permissions.check_queue,
    permissions.check_platform,
    permissions.check_wide,
    stores.check_dsn,
    stores.check_secret,
    stores.check_place,
    stores.check_table,
    stores.check_bucket,
    stores.check_private_store,
    queues.check_url,
    queues.check_readers,
    queues.check_source,
    queues.check_queue,
    endpoints.check_schedules,
    endpoints.check_http,
    endpoints.check_endpoint,
    networks.check_way_out,
    networks.check_execute_api,
)


def diagnose(stack: Stack, named: Sequence[str] = ()) -> list[Finding]:
    """Return what is wrong, the worst first.

    Args:
        stack: the model.
        named: functions that are Longwire's though nothing about them says so.
    """
    ours = ours_of(stack, named)
    stack = replace(stack, ours=ours)
    findings = {finding for check in CHECKS for finding in check(stack, ours)}
    if not ours and stack.functions:
        names = ", ".join(one.at.name for one in stack.functions[:5])
        text = f"no function here says that it is Longwire's ({names})"
        if any(isinstance(one.environment, Unknown) for one in stack.functions):
            text += "; an environment is known only when it is deployed"
        findings.add(found("not-ours", Place("-"), text))
    if not stack.functions and not stack.apis:
        findings.add(found("nothing-here", Place("-"), "no function and no API is here"))
    if not stack.complete and ours:
        text = "a part of the stack is somewhere else (nested stacks, macros, modules)"
        findings.add(found("incomplete", Place("-"), text))
    return sorted(findings, key=_order)


def diagnose_deployed(looked: Looked, named: Sequence[str] = ()) -> list[Finding]:
    """Return what is wrong with a deployed stack, with what could not be looked at."""
    findings = diagnose(looked.stack, named)
    for one in looked.refused:
        text = f"these credentials may not {one.action} ({one.of})"
        findings.append(found("may-not-look", Place("-"), text))
    for function, table in looked.missing:
        text = f"there is no table {table}, which {function} names"
        findings.append(found("store-missing", Place(function), text))
    return sorted(findings, key=_order)


def _order(one: Finding) -> tuple[int, int, str, str, str]:
    return (SEVERITIES.index(one.severity), one.line or 0, one.code, one.resource, one.message)
