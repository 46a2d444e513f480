"""What is to be deployed, whichever tool does it.

Each tool's module (`sam.py`, `cdk.py`, `terraform.py`, `serverless.py`) has

    def render(plan: Plan) -> dict[str, str]

which returns its files, without those of `plan.files()`: a path (relative, with `/`) to its text,
the template first. It reads nothing, writes nothing and raises nothing: `check` has seen to the
plan.

What all tools must agree on is here: names, numbers, and what the function may do with its store.
"""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple, get_args
from urllib.parse import quote

from longwire.exceptions import ConfigurationError

Store = Literal["dynamodb", "s3", "redis", "postgresql"]
Architecture = Literal["arm64", "x86_64"]
Python = Literal["3.11", "3.12", "3.13", "3.14"]

STORES: tuple[Store, ...] = get_args(Store)
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
PYTHONS: tuple[Python, ...] = get_args(Python)
# These are in a VPC, and so is the function.
IN_VPC = ("redis", "postgresql")

# The table, as `longwire_backends.dynamodb` makes it, and what its code asks for.
TABLE_KEYS = (("pk", "HASH"), ("sk", "RANGE"))
TTL_ATTRIBUTE = "expires_at"
TABLE_ACTIONS = (
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:DeleteItem",
    "dynamodb:Query",
    "dynamodb:Scan",
)
# On the objects of the bucket, and on the bucket itself.
OBJECT_ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
BUCKET_ACTIONS = ("s3:ListBucket",)
# What expired is deleted by a sweep; where there is none, by the bucket. The longest that anything
# is needed is a note of 15 days.
BUCKET_DAYS = 16

# The function sends parts; the rest is what Lambda's poller does in its name.
QUEUE_ACTIONS = (
    "sqs:SendMessage",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
)
RECEIVES = 4  # before a part goes to the dead letters
BATCH_SIZE = 1
QUEUE_CONCURRENCY = 5
DEAD_LETTER_DAYS = 14

# In a VPC: Lambda makes the function's network interfaces in its name.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
NETWORK_ACTIONS = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)

SWEEP_EVENT = '{"longwire": "sweep"}'
SWEEP_MINUTES = 15
SWEEP_RATE = 50  # connections a second, if the event has no `rate`

STAGE = "live"
ROUTES = ("$connect", "$disconnect", "$default")
LOG_DAYS = 30
# A line of JSON for each event. Messages and queries, which may hold tokens, are not in it.
ACCESS_LOG = json.dumps(
    {
        "requestId": "$context.requestId",
        "connectionId": "$context.connectionId",
        "eventType": "$context.eventType",
        "routeKey": "$context.routeKey",
        "status": "$context.status",
        "integrationStatus": "$context.integrationStatus",
        "integrationLatency": "$context.integrationLatency",
        "integrationError": "$context.integrationErrorMessage",
        "error": "$context.error.message",
        "ip": "$context.identity.sourceIp",
    }
)
HTTP_ACCESS_LOG = json.dumps(
    {
        "requestId": "$context.requestId",
        "method": "$context.httpMethod",
        "path": "$context.path",
        "status": "$context.status",
        "latency": "$context.responseLatency",
        "integrationError": "$context.integrationErrorMessage",
        "error": "$context.error.message",
        "ip": "$context.identity.sourceIp",
    }
)


class Plan(NamedTuple):
    """What is to be deployed.

    Attributes:
        name: of the stack, and the first part of the names of what is in it.
        handler: what Lambda calls, as `main.handler`.
        entry: a path and the text of a module to be written beside the app, if TARGET is not itself
            a handler; else None.
        answers_http: the function also gets an HTTP API.
        store: where connections are kept.
        resource: the name that the table or bucket must have, since the code names it; None leaves
            it to CloudFormation, and the function reads LONGWIRE_DSN.
        replay: LONGWIRE_DSN turns it on; False also if the code does so itself.
        authorizer: of a function that is asked before the app, as `auth.authorize`; or None.
        identity_source: what a client must send for it to be asked at all.
        fanout: a queue for large groups.
        sweep: a schedule that finds connections that are gone.
        domain: a custom domain, as `ws.example.com`; or None.
        logs: JSON logs of the function, an access log of the stages.
        alarms: on errors, throttles, durations, dead letters and failed integrations.
        python, architecture, memory (MB), timeout (seconds): of the function.
        routes: the app's WebSocket paths, as far as they are known; the first is in the URL shown.
        code: the folder of the code, relative to that of the template, with `/`.
        requires: the lines of requirements.txt.
    """

    name: str
    handler: str
    entry: tuple[str, str] | None = None
    answers_http: bool = False
    store: Store = "dynamodb"
    resource: str | None = None
    replay: bool = False
    authorizer: str | None = None
    identity_source: tuple[str, ...] = ("route.request.querystring.token",)
    fanout: bool = False
    sweep: bool = False
    domain: str | None = None
    logs: bool = False
    alarms: bool = False
    python: Python = "3.13"
    architecture: Architecture = "arm64"
    memory: int = 512
    timeout: int = 30
    routes: tuple[str, ...] = ()
    code: str = "."
    requires: tuple[str, ...] = ("longwire",)

    @property
    def in_vpc(self) -> bool:
        """Whether the store, and so the function, is in a VPC."""
        return self.store in IN_VPC

    @property
    def needs_endpoint(self) -> bool:
        """Whether there are events that do not name the management API, or name it wrongly."""
        return self.sweep or self.answers_http or self.fanout

    @property
    def parameters(self) -> tuple[str, ...]:
        """What whoever deploys it has to say, under these names."""
        store = ("StoreDsn", "SubnetIds", "SecurityGroupIds") if self.in_vpc else ()
        return store + (("CertificateArn",) if self.domain else ())

    @property
    def visibility_timeout(self) -> int:
        """Seconds that a part is hidden while it is served: six times the timeout, as AWS says."""
        return 6 * self.timeout

    @property
    def url_path(self) -> str:
        """The path that the URL of the outputs shows, fit for a query."""
        path = next((path for path in self.routes if "{" not in path), "/")
        return quote(path, safe="/")

    def dsn(self, resource: str) -> str:
        """Return LONGWIRE_DSN for a table or bucket, whose name may be a tool's reference."""
        return f"{self.store}://{resource}{'?replay=true' if self.replay else ''}"

    @property
    def dsn_pattern(self) -> str:
        """What a whole DSN must match: with redis and postgresql it is a secret that AWS is told.

        So `replay` is in what the user gives there, not behind it.
        """
        scheme = {"redis": "rediss?", "postgresql": "postgresql"}.get(self.store, self.store)
        replay = r"[?&]replay=true(&\S*)?" if self.replay else ""
        return rf"^{scheme}://\S+{replay}$"

    def files(self) -> dict[str, str]:
        """Return the files beside the app: its requirements, and its entry if it needs one.

        Their paths are relative to the folder of the code.
        """
        files = {"requirements.txt": "".join(f"{line}\n" for line in self.requires)}
        return files | (dict([self.entry]) if self.entry else {})


def check(plan: Plan) -> Plan:
    """Return the plan; raise `ConfigurationError` for what AWS would refuse or cannot work."""
    for option, wrong, wanted in (
        ("--name", _refuses_name(plan.name), "1 to 40 letters, digits and '-', a letter first"),
        ("--store", plan.store not in STORES, ", ".join(STORES)),
        ("--python", plan.python not in PYTHONS, ", ".join(PYTHONS)),
        ("--arch", plan.architecture not in ARCHITECTURES, ", ".join(ARCHITECTURES)),
        ("--memory", not 128 <= plan.memory <= 10240, "128 to 10240 MB"),
        ("--timeout", not 3 <= plan.timeout <= 900, "3 to 900 seconds"),
        ("--domain", plan.domain is not None and not _is_host(plan.domain), "ws.example.com, say"),
    ):
        if wrong:
            raise ConfigurationError(f"{option}: expected {wanted}")
    return plan


def _refuses_name(name: str) -> bool:
    # A function has 64 characters, and what is in a stack has the stack's name in it.
    return not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,39}", name)


def _is_host(name: str) -> bool:
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    return len(name) <= 253 and re.fullmatch(rf"({label}\.)+[a-z]{{2,63}}", name) is not None
