"""What the function uses: permissions, the store, queues, schedules."""

from __future__ import annotations

from longwire.doctor.rules.rule import ENDPOINT, POST_ARN, Rule

RULES: dict[str, Rule] = {
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
        "or on the bucket: s3:GetObject, PutObject, DeleteObject, and s3:ListBucket on the "
        "bucket itself",
    ),
    "scan-permission": Rule(
        "warning",
        "broadcast and sweeps list all connections, and are refused",
        "allow dynamodb:Scan on the table",
    ),
    "queue-permission": Rule(
        "error",
        "the queue refuses the function: large sends go out slowly from one process, or parts "
        "are never fetched",
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
        "add a gateway endpoint for DynamoDB or S3, an interface endpoint for SQS, or a NAT "
        "gateway",
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
    "batch-size": Rule("note", "a part has up to 1,000 members already", "set the batch size to 1"),
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
        "ConnectCount, MessageCount, IntegrationError, ClientError, ExecutionError or "
        "IntegrationLatency",
    ),
}
