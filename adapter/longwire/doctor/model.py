"""A stack as the checks see it: plain tuples, whatever the stack was written in.

What nobody can tell from the source is UNKNOWN, or a reference; see `values.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from longwire.doctor.values import UNKNOWN, Value

if TYPE_CHECKING:
    from pathlib import Path

    from longwire.doctor.packages import Package
    from longwire.doctor.resources import Place


class Api(NamedTuple):
    """An API, of WebSockets or of HTTP."""

    at: Place
    id: Value
    protocol: Value
    selection: Value  # by what its route is chosen
    execute_api_disabled: Value


class Route(NamedTuple):
    """A route of an API."""

    at: Place
    id: Value
    api: Value
    key: Value
    integration: Value
    authorization: Value
    authorizer: Value
    response_selection: Value


class Integration(NamedTuple):
    """Where a route leads."""

    at: Place
    id: Value
    api: Value
    type: Value
    function: Value
    timeout: Value  # in milliseconds
    credentials: Value


class RouteResponse(NamedTuple):
    """Has API Gateway send a client what the function returns."""

    at: Place
    api: Value
    route: Value


class ApiStage(NamedTuple):
    """A stage of an API."""

    at: Place
    api: Value
    name: Value
    auto_deploy: Value
    deployment: Value
    rate: Value  # throttling, of all its routes
    burst: Value
    data_trace: Value
    failure: Value  # of its last deployment, as it is deployed


class Deployment(NamedTuple):
    """What a stage without auto-deploy has."""

    at: Place
    id: Value
    api: Value
    depends_on: tuple[str, ...]


class Authorizer(NamedTuple):
    """A function that decides who may connect."""

    at: Place
    id: Value
    api: Value
    type: Value
    identity_sources: Value
    function: Value


class DomainMapping(NamedTuple):
    """A stage behind a domain of one's own."""

    at: Place
    api: Value
    domain: Value
    stage: Value
    key: Value


class LambdaFunction(NamedTuple):
    """A function."""

    at: Place
    name: Value
    handler: Value
    runtime: Value
    timeout: Value
    memory: Value
    architecture: Value
    environment: Value  # a dict, or UNKNOWN
    refers: dict[str, Value]  # what variables must be, where the environment is UNKNOWN
    secret: bool  # the environment is taken from something secret, though it is shown here
    role: Value
    in_vpc: Value  # True, False or UNKNOWN
    subnets: Value
    layers: Value
    log_format: Value
    log_level: Value
    reserved: Value
    snap_start: Value
    image: Value
    state: Value  # why Lambda does not run it, as it is deployed
    folder: Path | None  # where its code is, if that is here
    package: Package | None = None

    def variable(self, name: str) -> Value:
        """Return a variable of its environment; None if there is none."""
        if not isinstance(self.environment, dict):
            return self.refers.get(name, UNKNOWN)
        return self.environment.get(name)


class Layer(NamedTuple):
    """A layer of the stack's own."""

    id: Value
    folder: Path | None
    extensions: int = 0


class PolicyStatement(NamedTuple):
    """What a role may do, or may not."""

    allows: bool
    actions: Value  # a list
    resources: Value  # a list
    certain: bool  # False with a condition, `NotAction` and the like


class Role(NamedTuple):
    """A role, with all of its policies that are here."""

    at: Place
    name: Value
    statements: tuple[PolicyStatement, ...]
    complete: bool  # False: it has policies whose text is elsewhere


class Table(NamedTuple):
    """A table of DynamoDB."""

    at: Place
    name: Value
    keys: Value  # a list of (name, HASH or RANGE, type), or UNKNOWN
    ttl: Value  # the attribute; None: there is none
    mode: Value
    own_key: Value  # of KMS, with which it is encrypted


class S3Bucket(NamedTuple):
    """A bucket of S3."""

    at: Place
    name: Value
    versioned: Value
    lifecycle: Value


class SQSQueue(NamedTuple):
    """A queue of SQS."""

    at: Place
    name: Value
    url: Value
    visibility: Value
    receives: Value  # before a message goes to the dead letters; None: it does not
    encrypted: Value  # False only if somebody has turned it off
    fifo: Value
    own_key: Value
    dead_letters: Value  # the ARN of the queue that has them
    waiting: Value  # messages in it, as it is deployed


class EventSource(NamedTuple):
    """Has a function invoked with what a queue holds."""

    at: Place
    function: Value
    queue: Value
    batch_size: Value
    responses: Value  # a list
    concurrency: Value
    enabled: Value


class Schedule(NamedTuple):
    """Has a function invoked now and then."""

    at: Place
    function: Value
    input: Value
    by_rule: bool  # a rule needs a permission of the function's, a schedule a role
    source: Value  # the ARN of the rule
    enabled: Value


class Permission(NamedTuple):
    """Who may invoke a function."""

    at: Place
    function: Value
    principal: Value
    source: Value


class MetricAlarm(NamedTuple):
    """An alarm on one metric."""

    at: Place
    namespace: Value
    metric: Value
    dimensions: Value  # a dict


class Subnet(NamedTuple):
    """A subnet of the stack's own."""

    id: Value
    ways_out: frozenset[str]  # "nat", "ipv6"; "?" where nobody can tell


class VpcEndpoint(NamedTuple):
    """A private way to a service of AWS's."""

    at: Place
    service: Value
    private_dns: Value


class PrivateStore(NamedTuple):
    """A Redis or a database that is reached within its VPC alone."""

    at: Place
    id: Value
