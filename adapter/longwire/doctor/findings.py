"""What can be found, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from longwire.doctor.resources import Place

Severity: TypeAlias = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Rule(NamedTuple):
    """One kind of mistake."""

    severity: Severity
    why: str
    instead: str


class Finding(NamedTuple):
    """One mistake, in one place."""

    code: str
    severity: Severity
    resource: str
    line: int | None
    message: str
    why: str
    instead: str


def found(code: str, at: Place, message: str, *properties: str, instead: str | None = None) -> Finding:
    """Make a finding; its line is that of the first of these properties that is there."""
    rule = RULES[code]
    line = at.line_of(*properties)
    text = rule.instead if instead is None else instead
    return Finding(code, rule.severity, at.name, line, message, rule.why, text)


ENDPOINT = "https://{api id}.execute-api.{region}.amazonaws.com/{stage}"
POST_ARN = "arn:aws:execute-api:{region}:{account}:{api id}/{stage}/*/@connections/*"

RULES: dict[str, Rule] = {
    # The API
    "route-missing": Rule(
        "error",
        "Longwire needs $connect to keep a connection, $default to serve its messages, and $disconnect to end it",
        "add the route, with the same integration as the others",
    ),
    "route-elsewhere": Rule(
        "warning",
        "what another function is told, Longwire never sees: its connections are not kept, or not ended",
        "let $connect, $disconnect and $default go to the same function",
    ),
    "route-target": Rule(
        "error",
        "a route without an integration answers every client with an error",
        "set its Target to integrations/{id of the integration}",
    ),
    "route-response": Rule(
        "error",
        "API Gateway sends a client what the function returns, one frame more for each message",
        "remove the route response; Longwire sends replies by itself",
    ),
    "integration-type": Rule(
        "error",
        "Longwire reads the events of a Lambda proxy integration, and no others",
        "set the integration's type to AWS_PROXY",
    ),
    "integration-timeout": Rule(
        "warning",
        "API Gateway tells the client of an error while the function is still at work",
        "set TimeoutInMillis to 29000, or leave it out",
    ),
    "invoke-permission": Rule(
        "error",
        "API Gateway may not invoke the function: each client gets 500",
        "add a permission (AWS::Lambda::Permission, aws_lambda_permission) for apigateway.amazonaws.com, "
        "with the source ARN arn:aws:execute-api:{region}:{account}:{api id}/*",
    ),
    "stage-missing": Rule(
        "error",
        "an API without a stage has no URL",
        "add a stage with AutoDeploy",
    ),
    "stage-not-deployed": Rule(
        "error",
        "the stage serves nothing: each client gets 403",
        "set AutoDeploy to true, or give the stage a deployment",
    ),
    "deployment-order": Rule(
        "warning",
        "a deployment takes a picture of the API; the routes that are made after it are not in it",
        "let the deployment depend on all routes, or use a stage with AutoDeploy",
    ),
    "stage-throttled": Rule(
        "error",
        "the stage lets nobody in",
        "remove the limits, or set them to what the account allows",
    ),
    "data-trace": Rule(
        "warning",
        "the messages of all clients are written to the log",
        "set DataTraceEnabled to false",
    ),
    "execute-api-disabled": Rule(
        "error",
        "Longwire posts to the API's execute-api address, which answers 403 now",
        "set WS_MANAGEMENT_ENDPOINT to https://{your domain}/{mapping key}",
    ),
    "domain-mixed": Rule(
        "error",
        "API Gateway does not map a WebSocket API and an HTTP API to one domain",
        "give each its own domain",
    ),
    "domain-stage": Rule(
        "error",
        "the domain leads to a stage that the API does not have",
        "map the domain to the API's own stage",
    ),
    "authorizer-route": Rule(
        "error",
        "only $connect can have an authorizer; AWS refuses it elsewhere",
        "set AuthorizationType to NONE on all routes but $connect",
    ),
    "authorizer-type": Rule(
        "error",
        "WebSocket APIs have authorizers of the type REQUEST alone",
        "make it a Lambda authorizer of type REQUEST; the function checks the token",
    ),
    "authorizer-missing": Rule(
        "error",
        "AuthorizationType CUSTOM without an authorizer is refused",
        "set AuthorizerId",
    ),
    "authorizer-unused": Rule(
        "warning",
        "nobody asks the authorizer: everybody may connect",
        "set AuthorizationType to CUSTOM and AuthorizerId on the route $connect",
    ),
    "authorizer-identity": Rule(
        "note",
        "a handshake without a token invokes the authorizer, too, and is answered by what it raises",
        "name in IdentitySource where the token is, such as route.request.querystring.token",
    ),
    # The function
    "dsn-missing": Rule(
        "warning",
        "on Lambda, a Longwire(app) that names no store in code is an error at import",
        "set LONGWIRE_DSN, for example to dynamodb://{table}",
    ),
    "dsn-invalid": Rule(
        "error",
        "the function fails when it is imported: each client gets 502",
        "see docs/configuration.md for its form, for example dynamodb://{table}?region=eu-west-1",
    ),
    "dsn-differs": Rule(
        "error",
        "what one function keeps the other does not find",
        "give both the same LONGWIRE_DSN",
    ),
    "store-local": Rule(
        "error",
        "each process of a function has its own memory and its own /tmp: the next event finds nobody",
        "use dynamodb, redis, postgresql or s3",
    ),
    "store-other": Rule(
        "warning",
        "the stack has a table that looks like Longwire's, and the function uses another",
        "name the stack's own in LONGWIRE_DSN, or remove it",
    ),
    "store-region": Rule(
        "warning",
        "each event asks a store in another region, and the stack's own is not found there",
        "remove region= from LONGWIRE_DSN; on Lambda it is the function's own",
    ),
    "variable-unknown": Rule(
        "warning",
        "Longwire reads no such variable, so that it has no effect",
        "write it as docs/configuration.md#environment has it",
    ),
    "variable-reserved": Rule(
        "error",
        "Lambda sets it itself, and refuses a function that does",
        "remove it",
    ),
    "secret-in-clear": Rule(
        "warning",
        "everybody who may read the template or the function's configuration can read it",
        "take it from a parameter with NoEcho, or {{resolve:secretsmanager:...}}",
    ),
    "timeout-short": Rule(
        "warning",
        "a cold start with its first event takes seconds; what is cut off is a 500 or a lost reply",
        "set the timeout to 29 seconds, API Gateway's own limit",
    ),
    "timeout-long": Rule(
        "note",
        "API Gateway gives up after 29 seconds, and tells the client of an error; the function goes on",
        "set the timeout to 29 seconds",
    ),
    "memory-small": Rule(
        "warning",
        "little memory is little CPU: cold starts and sends to groups take many times as long",
        "set the memory to 512 MB or more",
    ),
    "runtime-old": Rule("error", "Longwire needs Python 3.11 or newer", "set the runtime to python3.13"),
    "snapstart-unused": Rule(
        "warning",
        "SnapStart is for published versions; the API invokes the one that is not",
        "let the integrations invoke an alias of a version (in SAM: AutoPublishAlias)",
    ),
    "snapstart-runtime": Rule(
        "error", "SnapStart needs Python 3.12 or newer", "set the runtime to python3.13"
    ),
    "reserved-concurrency": Rule(
        "warning",
        "events that come at the same time are refused: clients get errors, parts of large sends wait",
        "leave it out, or reserve as many as there may be events at once",
    ),
    "log-format": Rule(
        "note",
        "Longwire's record of each event has its fields only in JSON, and is written at INFO",
        "set LoggingConfig to LogFormat JSON and ApplicationLogLevel INFO",
    ),
    "too-many-layers": Rule("error", "Lambda takes five layers", "put some of them into the package"),
    "extension-slots": Rule(
        "warning",
        "Lambda takes ten extensions, and Longwire's own needs one: greetings would come with the first reply",
        "remove one of them",
    ),
    # The package
    "handler-missing": Rule(
        "error",
        "Lambda finds no such module: each event fails with Runtime.ImportModuleError",
        "write it as {file without .py}.{name}, from the root of the package",
    ),
    "handler-attribute": Rule(
        "error",
        "Lambda finds no such name: each event fails with Runtime.HandlerNotFound",
        "write the name of what is Longwire(app) in the module",
    ),
    "package-longwire": Rule(
        "error",
        "the function cannot import longwire",
        "add longwire to requirements.txt, or to the package",
    ),
    "package-driver": Rule(
        "error",
        "the function cannot import the driver of its store",
        "add longwire[redis] or longwire[postgresql] to requirements.txt",
    ),
    "package-architecture": Rule(
        "error",
        "compiled modules of another machine cannot be imported",
        "build for the function's architecture and Python: longwire bundle, or sam build --use-container",
    ),
    "package-dev": Rule(
        "note",
        "the extra dev is the local gateway: megabytes that a function never uses",
        "write longwire without it",
    ),
    # What the role may
    "manage-connections": Rule(
        "error",
        "each send, also each reply, is refused with 403",
        f"allow execute-api:ManageConnections on {POST_ARN}",
    ),
    "manage-connections-arn": Rule(
        "error",
        "the permission is for something else: each send, also each reply, is refused with 403",
        f"write {POST_ARN}",
    ),
    "manage-connections-methods": Rule(
        "warning",
        "Longwire posts with POST, closes with DELETE, and a sweep asks with GET",
        f"write {POST_ARN}",
    ),
    "store-permission": Rule(
        "error",
        "the store refuses the function: connections fail with 500",
        "allow it on the table: dynamodb:GetItem, PutItem, DeleteItem, Query and Scan; "
        "or on the bucket: s3:GetObject, PutObject, DeleteObject, and s3:ListBucket on the bucket itself",
    ),
    "scan-permission": Rule(
        "warning",
        "broadcast and sweeps list all connections, and are refused",
        "allow dynamodb:Scan on the table",
    ),
    "queue-permission": Rule(
        "error",
        "the queue refuses the function: large sends go out slowly from one process, or parts are never fetched",
        "allow sqs:SendMessage, ReceiveMessage, DeleteMessage and GetQueueAttributes on the queue",
    ),
    "key-permission": Rule(
        "warning",
        "what is encrypted with a key of your own needs permission to use that key",
        "allow kms:Decrypt and kms:GenerateDataKey on it",
    ),
    "log-permission": Rule(
        "warning",
        "the function writes no log, so that nobody sees what goes wrong",
        "attach the policy AWSLambdaBasicExecutionRole to its role",
    ),
    "network-permission": Rule(
        "error",
        "Lambda cannot put the function into the VPC, and refuses to make it",
        "attach the policy AWSLambdaVPCAccessExecutionRole to its role",
    ),
    "permission-wide": Rule(
        "note",
        "the function may use what it does not need",
        "name the actions and the resource",
    ),
    # The store
    "table-keys": Rule(
        "error",
        "DynamoDB refuses each request of the store",
        "pk (HASH) and sk (RANGE), both of type S, as longwire init makes them",
    ),
    "table-ttl": Rule(
        "warning",
        "what has expired stays for ever, is paid for, and is read by each scan",
        "enable TTL on the attribute expires_at",
    ),
    "table-provisioned": Rule(
        "note",
        "a burst of clients over the provisioned units is refused, and their handshakes with it",
        "set BillingMode to PAY_PER_REQUEST, or let it scale",
    ),
    "bucket-lifecycle": Rule(
        "note",
        "what has expired stays until a sweep deletes it",
        "add a lifecycle rule that deletes objects after 16 days, or a sweep",
    ),
    "bucket-versioned": Rule(
        "warning",
        "each change of a connection is kept as a version: for ever, and in clear",
        "turn versioning off, or let a lifecycle rule delete old versions",
    ),
    "store-outside": Rule(
        "error",
        "the store is in a VPC, where a function outside of it does not reach it",
        "put the function into the VPC: VpcConfig with subnets and security groups",
    ),
    "no-way-out": Rule(
        "error",
        "the function is in subnets without a way out: each post takes all its time, and fails",
        "add a NAT gateway and a route to it, or IPv6 egress and an API of the type dualstack",
    ),
    "no-way-to-store": Rule(
        "error",
        "the function is in subnets from which the store cannot be reached",
        "add a gateway endpoint for DynamoDB or S3, an interface endpoint for SQS, or a NAT gateway",
    ),
    "execute-api-endpoint": Rule(
        "error",
        "with its private DNS on, the endpoint answers for all APIs: each post is 403",
        "set PrivateDnsEnabled to false",
    ),
    # Large groups
    "queue-url": Rule(
        "error",
        "the function fails when it is imported, or finds no queue",
        "set LONGWIRE_FANOUT_QUEUE_URL to the queue's URL (Ref of the queue; in Terraform its url)",
    ),
    "queue-unread": Rule(
        "error",
        "parts of large sends lie in the queue, and nobody gets them",
        "add an event source mapping from the queue to the function",
    ),
    "queue-reader": Rule(
        "error",
        "parts of large sends go to a function that cannot deliver them",
        "let the queue invoke the function that has Longwire's handler",
    ),
    "batch-failures": Rule(
        "error",
        "Lambda takes every part for delivered, also one that failed",
        "set FunctionResponseTypes to [ReportBatchItemFailures]",
    ),
    "batch-size": Rule(
        "note", "a part has up to 1,000 members already", "set the batch size to 1"
    ),
    "visibility-timeout": Rule(
        "warning",
        "a part that is handed out while it is still being served is sent twice",
        "set the visibility timeout to six times the function's timeout",
    ),
    "dead-letters": Rule(
        "warning",
        "a part that never succeeds comes again and again, for days",
        "add a dead-letter queue with 3 to 5 receives",
    ),
    "receives": Rule(
        "note",
        "a throttle alone would put parts among the dead letters",
        "set maxReceiveCount to 3, 4 or 5",
    ),
    "queue-encryption": Rule(
        "warning",
        "the messages of your clients lie in the queue in clear",
        "set SqsManagedSseEnabled to true",
    ),
    "queue-fifo": Rule(
        "error", "Longwire sends no message groups; SQS refuses its parts", "use a standard queue"
    ),
    # Sweeps and HTTP
    "sweep-endpoint": Rule(
        "error",
        "a sweep has no event to name the API, and fails",
        f"set WS_MANAGEMENT_ENDPOINT to {ENDPOINT}",
    ),
    "sweep-input": Rule(
        "error",
        "the handler does not know this event, and raises an EventError at each time",
        'set the input to {"longwire": "sweep"}',
    ),
    "sweep-permission": Rule(
        "error",
        "EventBridge may not invoke the function",
        "add a permission for events.amazonaws.com with the rule's ARN",
    ),
    "http-endpoint": Rule(
        "note",
        "an HTTP event names no WebSocket API: a route that sends to sockets fails",
        f"set WS_MANAGEMENT_ENDPOINT to {ENDPOINT}",
    ),
    "endpoint-scheme": Rule(
        "error",
        "the management API is HTTPS: the function fails at its first send",
        f"write {ENDPOINT}",
    ),
    "endpoint-stage": Rule(
        "error",
        "each post is answered 403",
        f"write {ENDPOINT}",
    ),
    "endpoint-api": Rule(
        "error",
        "each post goes to another API, which knows none of the connections",
        f"write {ENDPOINT}",
    ),
    "alarm-metric": Rule(
        "warning",
        "WebSocket APIs have no such metric: the alarm never goes off",
        "ConnectCount, MessageCount, IntegrationError, ClientError, ExecutionError or IntegrationLatency",
    ),
    # What only a deployed stack shows
    "store-missing": Rule(
        "error",
        "each connection fails with 500",
        "make it with longwire init, or name the right one in LONGWIRE_DSN",
    ),
    "function-state": Rule(
        "error",
        "Lambda does not run it as it is",
        "mend what Lambda says, and deploy again",
    ),
    "deployment-failed": Rule(
        "error",
        "clients are served by an earlier deployment, or by none",
        "mend what API Gateway says, and deploy again",
    ),
    "dead-letters-waiting": Rule(
        "warning",
        "parts of large sends have failed so often that they were given up",
        "look into the function's log, mend the cause, and have them moved back (StartMessageMoveTask)",
    ),
    "may-not-look": Rule(
        "warning",
        "what this would show was not checked",
        "allow the action for these credentials; docs/doctor.md has the whole policy",
    ),
    # What one connection shows
    "connect-dns": Rule(
        "error",
        "there is no such host: the API's id or the region is wrong, the API is deleted, or the domain has no record",
        "compare the URL with the stage's in the console, or with the stack's output",
    ),
    "connect-refused": Rule(
        "error", "nothing listens there, or something is in between", "look at the host and the port"
    ),
    "connect-plain": Rule("error", "API Gateway takes connections over TLS alone", "write wss://"),
    "connect-tls": Rule(
        "error",
        "no client will connect",
        "give the domain a certificate of its own name; or write ws:// if the server has no TLS",
    ),
    "connect-no-answer": Rule(
        "error",
        "something takes connections and says nothing, or a firewall drops them",
        "look at the host and the port; a cold function answers in seconds",
    ),
    "connect-no-http": Rule(
        "error",
        "what listens there is no WebSocket server",
        "look at the host, the port, and ws:// or wss://",
    ),
    "connect-subprotocol": Rule(
        "error",
        "server and client must agree on a subprotocol, or on none",
        "offer with --subprotocol what the app accepts, and let it accept only what is offered",
    ),
    "connect-400": Rule(
        "error",
        "the server did not take it for a WebSocket handshake, or the app does not take this ?path=",
        "look at the URL; a path in ?path= begins with /",
    ),
    "connect-401": Rule(
        "error",
        "an identity source of the authorizer is missing, or it raised Unauthorized",
        "send the token where the authorizer looks for it: in the query, or with --header",
    ),
    "connect-403": Rule(
        "error",
        "the authorizer or the app refuses (wrong ?path=, Origin, or token), or there is no such stage: "
        "the function's log has the first, and nothing of the second",
        "look at the stage and ?path=, at allowed_origins, and whether the stage is deployed",
    ),
    "connect-token": Rule(
        "error",
        "the route wants a signature of AWS's (authorization AWS_IAM), or the URL leads to no route",
        "look at the stage; set AuthorizationType of $connect to NONE or CUSTOM",
    ),
    "connect-stage": Rule(
        "error",
        "the URL has no stage",
        "add it: wss://{api id}.execute-api.{region}.amazonaws.com/{stage}",
    ),
    "connect-path": Rule(
        "error",
        "API Gateway has no paths below its stage",
        "end the URL with the stage, and write the app's path as ?path=/...",
    ),
    "connect-404": Rule(
        "error",
        "what answers is no WebSocket API of API Gateway, or knows no such path",
        "look at the host; in front of a server of one's own, at the path",
    ),
    "connect-429": Rule(
        "error",
        "too many handshakes a second, or the stage is throttled",
        "wait; raise the limits of the stage, or of the account (500 new connections a second)",
    ),
    "connect-500": Rule(
        "error",
        "API Gateway may not invoke the function, or the function failed",
        "look into the function's log: if it has nothing, the permission is missing",
    ),
    "connect-502": Rule(
        "error",
        "the function failed: it could not be imported, raised, or timed out",
        "look into the function's log; usual are a missing package, LONGWIRE_DSN and the timeout",
    ),
    "connect-503": Rule(
        "error",
        "the function has no place to run, or takes too long",
        "look at its concurrency (reserved, and the account's) and at its timeout",
    ),
    "connect-status": Rule("error", "no WebSocket server answers so", "look at the host and the path"),
    "message-forbidden": Rule(
        "error",
        "the message matches no route, and there is no $default",
        "add the route $default",
    ),
    "message-failed": Rule(
        "error",
        "the function failed at the message, or took longer than 29 seconds",
        "look into the function's log",
    ),
    "message-no-reply": Rule(
        "note",
        "an app need not answer; if it should have: replies are posted to @connections, which may be refused",
        "send with --message what the app answers; look for a ManagementError in the function's log",
    ),
    "close-code": Rule(
        "warning",
        "the other side has ended the connection",
        "if it should not: look into the function's log",
    ),
    "close-early": Rule(
        "note",
        "an app that has raised ends so, too: API Gateway knows no other code of a function",
        "send with --message what the app expects; look into the function's log",
    ),
    "close-unanswered": Rule(
        "note", "the server does not close as it should; API Gateway does", "nothing to mend at AWS"
    ),
    # What was not looked at
    "not-ours": Rule(
        "note",
        "the rules that are Longwire's own were not applied",
        "if one of the functions is Longwire's: set its LONGWIRE_DSN, or name it with --function",
    ),
    "nothing-here": Rule(
        "note",
        "nothing was looked at",
        "name the template that has them; a plan of Terraform has them only if it could be made",
    ),
    "incomplete": Rule(
        "note",
        "what is missing here may be there, and so nothing is said to be missing",
        "check the transformed template, or the deployed stack with --stack",
    ),
}
