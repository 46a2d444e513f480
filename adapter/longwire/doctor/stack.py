"""All of a stack, and what in it refers to what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from longwire.doctor.naming import function_in, queue_in, role_in
from longwire.doctor.values import Value, is_open, parts_of, same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from longwire.doctor.model import (
        Api,
        ApiStage,
        Authorizer,
        Deployment,
        DomainMapping,
        EventSource,
        Integration,
        LambdaFunction,
        Layer,
        MetricAlarm,
        Permission,
        PrivateStore,
        Role,
        Route,
        RouteResponse,
        S3Bucket,
        Schedule,
        SQSQueue,
        Subnet,
        Table,
        VpcEndpoint,
    )

One = TypeVar("One")


def _by(key: Callable[[One], Value], several: Iterable[One]) -> dict[Value, One]:
    """Return an index; of those with the same key the first counts."""
    index: dict[Value, One] = {}
    for one in several:
        index.setdefault(_hashable(key(one)), one)
    return index


def _hashable(value: Value) -> Value:
    return parts_of(value)


def _found(index: Mapping[Value, One], value: Value) -> One | None:
    """Return what surely is of this name."""
    key = _hashable(value)
    return index.get(key) if same(value, value) else None


@dataclass(frozen=True, eq=False)
class Stack:
    """All of it."""

    apis: tuple[Api, ...]
    routes: tuple[Route, ...]
    integrations: tuple[Integration, ...]
    route_responses: tuple[RouteResponse, ...]
    stages: tuple[ApiStage, ...]
    deployments: tuple[Deployment, ...]
    authorizers: tuple[Authorizer, ...]
    domain_mappings: tuple[DomainMapping, ...]
    functions: tuple[LambdaFunction, ...]
    layers: tuple[Layer, ...]
    roles: tuple[Role, ...]
    tables: tuple[Table, ...]
    buckets: tuple[S3Bucket, ...]
    queues: tuple[SQSQueue, ...]
    event_sources: tuple[EventSource, ...]
    schedules: tuple[Schedule, ...]
    permissions: tuple[Permission, ...]
    alarms: tuple[MetricAlarm, ...]
    subnets: tuple[Subnet, ...]
    vpc_endpoints: tuple[VpcEndpoint, ...]
    private_stores: tuple[PrivateStore, ...]
    complete: bool
    region: str | None
    deployed: bool
    ours: tuple[LambdaFunction, ...] = ()  # the functions that are Longwire's

    def function_of(self, value: Value) -> LambdaFunction | None:
        """Return the function that an ARN, the URI of an integration, or a name is of."""
        return _found(self._functions, function_in(value))

    def queue_of(self, value: Value) -> SQSQueue | None:
        """Return the queue that an ARN or a URL is of."""
        name = queue_in(value)
        return next((one for one in self.queues if name in (one.name, one.url)), None)

    def tables_named(self, name: Value) -> list[Table]:
        """Return the tables that surely have this name."""
        return self._tables.get(_hashable(name), []) if same(name, name) else []

    def role_of(self, function: LambdaFunction) -> Role | None:
        """Return the role of a function."""
        return _found(self._roles, role_in(function.role))

    def integration_of(self, route: Route) -> Integration | None:
        """Return where a route leads."""
        return _found(self._integrations, route.integration)

    def function_behind(self, route: Route) -> LambdaFunction | None:
        """Return the function to which a route leads."""
        integration = self.integration_of(route)
        return None if integration is None else self.function_of(integration.function)

    def routes_of(self, api: Api) -> tuple[Route, ...]:
        """Return the routes of an API."""
        return self._routes.get(_hashable(api.id), ())

    def routes_beside(self, route: Route) -> tuple[Route, ...]:
        """Return the routes of a route's API, and so itself, too."""
        return self._routes.get(_hashable(route.api), ())

    def routes_to(self, function: LambdaFunction) -> list[Route]:
        """Return the routes that lead to a function."""
        return self._routes_to.get(function.at.name, [])

    def permissions_of(self, function: LambdaFunction) -> tuple[Permission, ...]:
        """Return those that are for a function, or may be."""
        of_it = self._permissions.get(_hashable(function.name), ())
        return (
            (*of_it, *self._permissions[None]) if not is_open(function.name) else self.permissions
        )

    @cached_property
    def our_apis(self) -> tuple[Api, ...]:
        """The WebSocket APIs with a route to a function that is Longwire's."""
        names = {one.at.name for one in self.ours}
        return tuple(
            api
            for api in self.apis
            if api.protocol == "WEBSOCKET"
            and any(
                function.at.name in names
                for route in self.routes_of(api)
                if (function := self.function_behind(route)) is not None
            )
        )

    @cached_property
    def _functions(self) -> dict[Value, LambdaFunction]:
        return _by(lambda one: one.name, self.functions)

    @cached_property
    def _tables(self) -> dict[Value, list[Table]]:
        found: dict[Value, list[Table]] = {}
        for one in self.tables:
            found.setdefault(_hashable(one.name), []).append(one)
        return found

    @cached_property
    def _roles(self) -> dict[Value, Role]:
        return _by(lambda one: one.name, self.roles)

    @cached_property
    def _integrations(self) -> dict[Value, Integration]:
        return _by(lambda one: one.id, self.integrations)

    @cached_property
    def _routes_to(self) -> dict[str, list[Route]]:
        found: dict[str, list[Route]] = {}
        for one in self.routes:
            if (function := self.function_behind(one)) is not None:
                found.setdefault(function.at.name, []).append(one)
        return found

    @cached_property
    def _permissions(self) -> dict[Value, tuple[Permission, ...]]:
        """By the name of the function; with None those of which nobody can tell."""
        found: dict[Value, list[Permission]] = {None: []}
        for one in self.permissions:
            key = None if is_open(one.function) else _hashable(one.function)
            found.setdefault(key, []).append(one)
        return {name: tuple(several) for name, several in found.items()}

    @cached_property
    def _routes(self) -> dict[Value, tuple[Route, ...]]:
        found: dict[Value, list[Route]] = {}
        for one in self.routes:
            found.setdefault(_hashable(one.api), []).append(one)
        return {api: tuple(several) for api, several in found.items()}
