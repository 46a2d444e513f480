"""What AWS's documents say of its limits and prices, and what is only believed: one table.

How sure each is, in the words of `docs/aws.md`: "document", "reported" (others have published it:
AWS's pages of prices cannot be read without a browser), "measured" (here), or "believed". All was
read in November 2026. Prices are those of us-east-1, without the free tier and without the
discounts of large accounts, in US dollars.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

_GATEWAY = "https://docs.aws.amazon.com/apigateway/latest/developerguide/"
_GATEWAY_LIMITS = f"{_GATEWAY}limits.html"
_WEBSOCKET = f"{_GATEWAY}apigateway-execution-service-websocket-limits-table.html"
_LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/"
_DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"
_SQS = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/"

Sure = Literal["document", "reported", "measured", "believed"]


class Fact(NamedTuple):
    """One figure, where it is from, and how sure it is."""

    what: str
    value: float
    unit: str
    sure: Sure
    source: str = ""


# Limits
RATE = Fact("requests to all APIs of an account", 10_000, "/s", "document", _GATEWAY_LIMITS)
BURST = Fact("the bucket of these", 5_000, "requests", "document", _GATEWAY_LIMITS)
HANDSHAKES = Fact("new connections of an account", 500, "/s", "document", _WEBSOCKET)
INTEGRATION = Fact("an event of a client", 29, "s", "document", _WEBSOCKET)
LIFETIME = Fact("a connection", 7_200, "s", "document", _WEBSOCKET)
METERED = Fact(
    "what is metered as one message",
    32 * 1024,
    "bytes",
    "document",
    "https://aws.amazon.com/api-gateway/pricing/",
)
CONCURRENCY = Fact(
    "environments of an account",
    1_000,
    "at once",
    "document",
    f"{_LAMBDA}lambda-concurrency.html",
)
RAMP = Fact(
    "new environments of a function", 100, "/s", "document", f"{_LAMBDA}scaling-behavior.html"
)
RAMP_BURST = Fact(
    "the bucket of these", 1_000, "environments", "document", f"{_LAMBDA}scaling-behavior.html"
)
POLLERS = Fact(
    "batches at once, at first", 5, "at once", "document", f"{_LAMBDA}services-sqs-scaling.html"
)
POLLERS_RAMP = Fact(
    "more batches at once", 300, "/min", "document", f"{_LAMBDA}services-sqs-scaling.html"
)
POLLERS_MOST = Fact(
    "batches at once, at most", 1_000, "at once", "document", f"{_LAMBDA}services-sqs-scaling.html"
)
LONGEST = Fact("an event", 900, "s", "document", f"{_LAMBDA}gettingstarted-limits.html")
CORE = Fact(
    "memory that comes with one core",
    1_769,
    "MB",
    "document",
    f"{_LAMBDA}configuration-memory.html",
)
PARTITION_READS = Fact(
    "reads of a partition",
    3_000,
    "units/s",
    "document",
    f"{_DYNAMODB}bp-partition-key-design.html",
)
PARTITION_WRITES = Fact(
    "writes of a partition",
    1_000,
    "units/s",
    "document",
    f"{_DYNAMODB}bp-partition-key-design.html",
)
TABLE_READS = Fact(
    "reads of a new table",
    12_000,
    "units/s",
    "document",
    f"{_DYNAMODB}on-demand-capacity-mode.html",
)
TABLE_WRITES = Fact(
    "writes of a new table",
    4_000,
    "units/s",
    "document",
    f"{_DYNAMODB}on-demand-capacity-mode.html",
)
PAGE = Fact("one page of a query", 1 << 20, "bytes", "document", f"{_DYNAMODB}Constraints.html")
QUEUE_CHUNK = Fact(
    "what is charged as one request",
    64 * 1024,
    "bytes",
    "document",
    "https://aws.amazon.com/sqs/pricing/",
)

# Times: medians, and how many times as long one in a hundred takes. AWS names none but
# "single-digit milliseconds" for DynamoDB.
POST_TIME = Fact("the answer to a post", 0.020, "s", "believed")
REFUSAL_TIME = Fact("a 429", 0.005, "s", "believed")
STORE_TIME = Fact("the answer of DynamoDB", 0.005, "s", "believed")
PAGE_TIME = Fact("the same for each MB of a page", 0.060, "s", "believed")
QUEUE_TIME = Fact("the answer of SQS", 0.012, "s", "believed")
TAIL = Fact("one in a hundred answers", 4, "medians", "believed")
INIT = Fact("the start of an environment", 0.6, "s", "believed")
TLS_TIME = Fact("a new connection with TLS", 0.010, "s", "believed")
POLL_TIME = Fact("from a message's arrival to its event", 0.020, "s", "believed")
# Of one core: signing and all of ours for a request, what TLS takes, what an event takes besides.
TLS_CPU = Fact("a new connection with TLS", 0.001, "s of a core", "believed")
REQUEST_CPU = Fact("one request", 0.000_100, "s of a core", "measured", "docs/large-groups.md")
BODY_CPU = Fact(
    "each MB of bodies, to write or to read", 0.025, "s of a core", "measured", "parts and pages"
)
EVENT_CPU = Fact("one event", 0.001, "s of a core", "measured", "benchmarks/")

# Prices
MESSAGE_PRICE = Fact(
    "messages", 1.00, "$ a million", "reported", "https://aws.amazon.com/api-gateway/pricing/"
)
MINUTE_PRICE = Fact(
    "connection minutes",
    0.25,
    "$ a million",
    "reported",
    "https://aws.amazon.com/api-gateway/pricing/",
)
EVENT_PRICE = Fact(
    "events", 0.20, "$ a million", "reported", "https://aws.amazon.com/lambda/pricing/"
)
ARM_PRICE = Fact(
    "arm64", 13.3334, "$ a million GB-s", "reported", "https://aws.amazon.com/lambda/pricing/"
)
X86_PRICE = Fact(
    "x86_64", 16.6667, "$ a million GB-s", "reported", "https://aws.amazon.com/lambda/pricing/"
)
READ_PRICE = Fact(
    "reads",
    0.125,
    "$ a million units",
    "reported",
    "https://aws.amazon.com/dynamodb/pricing/on-demand/",
)
WRITE_PRICE = Fact(
    "writes",
    0.625,
    "$ a million units",
    "reported",
    "https://aws.amazon.com/dynamodb/pricing/on-demand/",
)
QUEUE_PRICE = Fact(
    "requests", 0.40, "$ a million", "reported", "https://aws.amazon.com/sqs/pricing/"
)
LOG_PRICE = Fact("logs", 0.50, "$ a GB", "believed", "https://aws.amazon.com/cloudwatch/pricing/")
OUT_PRICE = Fact(
    "what leaves AWS", 0.09, "$ a GB", "reported", "https://aws.amazon.com/ec2/pricing/on-demand/"
)
LOG_BYTES = Fact("Lambda's own log lines for an event", 350, "bytes", "believed")

_OF_GATEWAY = (RATE, BURST, HANDSHAKES, INTEGRATION, LIFETIME, METERED, POST_TIME, REFUSAL_TIME)
_OF_LAMBDA = (CONCURRENCY, RAMP, RAMP_BURST, LONGEST, CORE, INIT)
_OURS = (REQUEST_CPU, BODY_CPU, EVENT_CPU, LOG_BYTES)
_OF_DYNAMODB = (PARTITION_READS, PARTITION_WRITES, TABLE_READS, TABLE_WRITES, PAGE)

SERVICES = {
    "API Gateway": (*_OF_GATEWAY, MESSAGE_PRICE, MINUTE_PRICE, OUT_PRICE),
    "Lambda": (*_OF_LAMBDA, *_OURS, EVENT_PRICE, ARM_PRICE, X86_PRICE, LOG_PRICE),
    "Lambda's polling of SQS": (POLLERS, POLLERS_RAMP, POLLERS_MOST, POLL_TIME),
    "SQS": (QUEUE_CHUNK, QUEUE_TIME, QUEUE_PRICE),
    "DynamoDB": (*_OF_DYNAMODB, STORE_TIME, PAGE_TIME, READ_PRICE, WRITE_PRICE),
    "all": (TAIL, TLS_TIME, TLS_CPU),
}
