"""The API: its routes, where they lead, its stages, who may connect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire.doctor.findings import Finding, found
from longwire.doctor.ours import AS_SDK, DSN, ENDPOINT
from longwire.doctor.values import Ref, Unknown, same, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from longwire.doctor.model import Api, LambdaFunction, Route
    from longwire.doctor.stack import Stack

ROUTES = ("$connect", "$disconnect", "$default")
_HTTP_METRICS = ("4xx", "5xx", "4XXError", "5XXError", "Count", "Latency", "DataProcessed")


def is_websocket(api: Api) -> bool:
    """Tell whether an API is one of WebSockets."""
    return bool(api.protocol == "WEBSOCKET")


def check_routes(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """The three routes are there, and lead to the function."""
    for api in stack.our_apis or _without_routes(stack, ours):
        routes = {route.key: route for route in stack.routes_of(api)}
        missing = [key for key in ROUTES if key not in routes]
        # A key that is not known may be the one.
        elsewhere = any(same(one.api, api.id) is None for one in stack.routes)
        if stack.complete and not elsewhere and all(isinstance(key, str) for key in routes):
            # Functions with routes of their own may do without $default.
            own = [key for key in routes if not key.startswith("$")]
            for key in missing:
                if key != "$default" or not own:
                    yield found("route-missing", api.at, f"the API has no route {key}", "Routes")
        for key in ROUTES:
            if key in routes and (other := stack.function_behind(routes[key])) not in (None, *ours):
                assert other is not None
                text = f"the route {key} leads to {other.at.name}, which is not Longwire's"
                yield found("route-elsewhere", routes[key].at, text, "Target")


def _without_routes(stack: Stack, ours: tuple[LambdaFunction, ...]) -> tuple[Api, ...]:
    """Return the one API of WebSockets, if it is to be that of a function and leads nowhere."""
    own = tuple(filter(is_websocket, stack.apis))
    return own if ours and len(own) == 1 and not stack.routes_of(own[0]) else ()


def check_stores_agree(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Functions behind one API have one store."""
    for api in stack.our_apis:
        first: LambdaFunction | None = None
        for route in stack.routes_of(api):
            function = stack.function_behind(route)
            if function is None or function not in ours or function.variable(DSN) is None:
                continue
            if first is None:
                first = function
            elif same(first.variable(DSN), function.variable(DSN)) is False:
                text = f"{first.at.name} and {function.at.name} serve one API with different stores"
                yield found("dsn-differs", function.at, text, "Environment")
                break


def check_targets(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Routes have an integration of the right type."""
    for api in stack.our_apis:
        for route in stack.routes_of(api):
            if route.integration is None:
                text = f"the route {shown(route.key)} has no integration"
                yield found("route-target", route.at, text, "RouteKey")
                continue
            integration = stack.integration_of(route)
            if integration is None or stack.function_behind(route) not in ours:
                continue
            if isinstance(integration.type, str) and integration.type != "AWS_PROXY":
                text = f"the integration of {shown(route.key)} is {integration.type}"
                yield found("integration-type", integration.at, text, "IntegrationType")
            yield from _check_timeout(stack, route)


def _check_timeout(stack: Stack, route: Route) -> Iterator[Finding]:
    integration, function = stack.integration_of(route), stack.function_behind(route)
    assert integration is not None
    assert function is not None
    if not isinstance(integration.timeout, int | float) or not isinstance(
        function.timeout, int | float
    ):
        return
    if integration.timeout < min(function.timeout, 29) * 1000:
        text = f"API Gateway waits {integration.timeout} ms, the function has {function.timeout} s"
        yield found("integration-timeout", integration.at, text, "TimeoutInMillis")


def check_route_responses(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """No client gets what the function returns."""
    for api in stack.our_apis:
        for route in stack.routes_of(api):
            if stack.function_behind(route) not in ours:
                continue
            response = next(
                (one for one in stack.route_responses if same(one.route, route.id)), None
            )
            if response is not None:
                text = f"the route {shown(route.key)} has a route response"
                yield found("route-response", response.at, text, "RouteId")
            elif route.response_selection is not None and not isinstance(
                route.response_selection, Unknown
            ):
                text = f"the route {shown(route.key)} has a RouteResponseSelectionExpression"
                yield found("route-response", route.at, text, "RouteResponseSelectionExpression")


def check_invoke_permissions(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """API Gateway may invoke what its routes lead to."""
    told: set[str] = set()
    for api in filter(is_websocket, stack.apis):
        for route in stack.routes_of(api):
            integration, function = stack.integration_of(route), stack.function_behind(route)
            if integration is None or function is None or function.at.name in told:
                continue
            if (
                integration.credentials is None
                and _may_invoke(stack, api, route, function) is False
            ):
                told.add(function.at.name)
                name = function.at.name
                text = f"no permission lets API Gateway invoke {name} for {shown(route.key)}"
                yield found("invoke-permission", function.at, text)


def _may_invoke(stack: Stack, api: Api, route: Route, function: LambdaFunction) -> bool | None:
    from longwire.doctor.naming import split_arn
    from longwire.doctor.values import joined, matches

    told: list[bool | None] = [] if stack.complete else [None]
    for one in stack.permissions_of(function):
        is_function = same(one.function, function.name)
        if is_function is False or one.principal not in ("apigateway.amazonaws.com", "*"):
            told.append(
                None if is_function is not False and not isinstance(one.principal, str) else False
            )
            continue
        split = split_arn(one.source) if one.source is not None else None
        if one.source is None:
            told.append(is_function)
        elif split is None:
            told.append(None)
        else:
            stages = [stage.name for stage in stack.stages if same(stage.api, api.id)]
            wanted = [joined([api.id, "/", stage, "/", route.key]) for stage in stages or ["any"]]
            fits = [matches(split[1], one) for one in wanted]
            told.append(is_function if any(fits) else None if None in fits else False)
    return True if True in told else None if None in told else False


def check_stages(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """What is deployed is all there."""
    for api in stack.our_apis:
        stages = [one for one in stack.stages if same(one.api, api.id) is not False]
        if not stages and stack.complete:
            yield found("stage-missing", api.at, "the API has no stage")
        for stage in stages:
            if stage.rate == 0 or stage.burst == 0:
                text = f"the stage {shown(stage.name)} allows no requests at all"
                yield found("stage-throttled", stage.at, text, "DefaultRouteSettings")
            if isinstance(stage.failure, str) and "fail" in stage.failure.lower():
                yield found("deployment-failed", stage.at, stage.failure)
            if stage.data_trace is True:
                text = f"the stage {shown(stage.name)} logs the data of each request"
                yield found("data-trace", stage.at, text, "DefaultRouteSettings")


def check_deployments(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """A stage is deployed by itself, or with a deployment that comes after the routes."""
    for api in filter(is_websocket, stack.apis):
        deployments = [one for one in stack.deployments if same(one.api, api.id) is not False]
        for stage in stack.stages:
            if not same(stage.api, api.id) or stage.auto_deploy is not False:
                continue
            if stage.deployment is None and not deployments and stack.complete:
                text = f"the stage {shown(stage.name)} has neither AutoDeploy nor a deployment"
                yield found("stage-not-deployed", stage.at, text, "StageName")
    for api in stack.our_apis:
        routes = [route.at.name for route in stack.routes_of(api)]
        for deployment in stack.deployments:
            if stack.deployed or not same(deployment.api, api.id) or _by_itself(stack, api):
                continue
            if isinstance(deployment.id, Ref) and "." in deployment.id.name:
                continue  # Terraform's: its order is in references that a plan does not show
            late = [one for one in routes if one not in deployment.depends_on]
            if late:
                text = f"the deployment does not wait for {', '.join(late[:3])}"
                yield found("deployment-order", deployment.at, text, "ApiId")


def _by_itself(stack: Stack, api: Api) -> bool:
    stages = [one for one in stack.stages if same(one.api, api.id) is not False]
    return any(one.auto_deploy is not False for one in stages)


def check_endpoint_disabled(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Without the execute-api address the function knows another."""
    for api in stack.our_apis:
        if api.execute_api_disabled is not True:
            continue
        for function in ours:
            given = [function.variable(name) for name in (ENDPOINT, AS_SDK)]
            dsn = function.variable(DSN)
            if any(given) or "api_gateway_endpoint_url" in shown(dsn) or isinstance(dsn, Unknown):
                continue
            text = (
                f"the API's execute-api address is disabled, and {function.at.name} knows no other"
            )
            yield found("execute-api-disabled", api.at, text, "DisableExecuteApiEndpoint")


def check_domains(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """A domain leads to a stage that is there, and to one kind of API."""
    for api in stack.our_apis:
        own = [one for one in stack.domain_mappings if same(one.api, api.id)]
        stages = [one.name for one in stack.stages if same(one.api, api.id)]
        for mapping in own:
            if (
                stages
                and all(same(mapping.stage, one) is False for one in stages)
                and stack.complete
            ):
                stage = shown(mapping.stage)
                text = f"the domain {shown(mapping.domain)} is mapped to the stage {stage}"
                yield found("domain-stage", mapping.at, text, "Stage")
            for other in stack.domain_mappings:
                http = [
                    one for one in stack.apis if one.protocol == "HTTP" and same(one.id, other.api)
                ]
                if http and same(other.domain, mapping.domain):
                    text = f"the domain {shown(mapping.domain)} is mapped to an HTTP API, too"
                    yield found("domain-mixed", mapping.at, text, "DomainName")


def check_authorized_routes(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Who may connect is asked, and at $connect alone."""
    for api in stack.our_apis:
        for route in stack.routes_of(api):
            said = route.authorization
            if said == "NONE" or not isinstance(said, str) or not isinstance(route.key, str):
                continue
            if route.key != "$connect":
                text = f"the route {route.key} has the authorization {said}"
                yield found("authorizer-route", route.at, text, "AuthorizationType")
            elif said == "JWT":
                text = "$connect has the authorization JWT"
                yield found("authorizer-type", route.at, text, "AuthorizationType")
            elif said == "CUSTOM" and route.authorizer is None:
                text = "$connect has no authorizer"
                yield found("authorizer-missing", route.at, text, "AuthorizationType")


def check_authorizers(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Each authorizer is of a kind that there is, and is asked."""
    for api in stack.our_apis:
        connect = [one for one in stack.routes_of(api) if one.key == "$connect"]
        unused = bool(connect) and all(one.authorization == "NONE" for one in connect)
        for authorizer in stack.authorizers:
            if not same(authorizer.api, api.id):
                continue
            if isinstance(authorizer.type, str) and authorizer.type != "REQUEST":
                text = f"the authorizer is of type {authorizer.type}"
                yield found("authorizer-type", authorizer.at, text, "AuthorizerType")
            elif unused:
                yield found("authorizer-unused", authorizer.at, "no route has this authorizer")
            elif not authorizer.identity_sources:
                text = "the authorizer has no IdentitySource"
                yield found("authorizer-identity", authorizer.at, text)


def check_alarms(stack: Stack, ours: tuple[LambdaFunction, ...]) -> Iterator[Finding]:
    """Alarms are on metrics that WebSocket APIs have."""
    for api in stack.our_apis:
        for alarm in stack.alarms:
            if alarm.namespace != "AWS/ApiGateway" or not same(
                alarm.dimensions.get("ApiId"), api.id
            ):
                continue
            if alarm.metric in _HTTP_METRICS:
                text = f"the alarm is on {alarm.metric}, a metric of HTTP and REST APIs"
                yield found("alarm-metric", alarm.at, text, "MetricName")
