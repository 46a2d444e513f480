"""The API, the function and its package."""

from __future__ import annotations

from longwire.doctor.rules.rule import Rule

RULES: dict[str, Rule] = {
    # The API
    "route-missing": Rule(
        "error",
        "Longwire needs $connect to keep a connection, $default to serve its messages, and "
        "$disconnect to end it",
        "add the route, with the same integration as the others",
    ),
    "route-elsewhere": Rule(
        "warning",
        "what another function is told, Longwire never sees: its connections are not kept, or "
        "not ended",
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
        "add a permission (AWS::Lambda::Permission, aws_lambda_permission) for "
        "apigateway.amazonaws.com, "
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
        "a handshake without a token invokes the authorizer, too, and is answered by what it "
        "raises",
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
        "each process of a function has its own memory and its own /tmp: the next event finds "
        "nobody",
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
        "set the timeout to 30 seconds: API Gateway itself gives up after 29",
    ),
    "timeout-long": Rule(
        "note",
        "API Gateway gives up after 29 seconds, and tells the client of an error; the function "
        "goes on",
        "set the timeout to 29 seconds",
    ),
    "memory-small": Rule(
        "warning",
        "little memory is little CPU: cold starts and sends to groups take many times as long",
        "set the memory to 512 MB or more",
    ),
    "runtime-old": Rule(
        "error", "Longwire needs Python 3.11 or newer", "set the runtime to python3.13"
    ),
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
        "events that come at the same time are refused: clients get errors, parts of large "
        "sends wait",
        "leave it out, or reserve as many as there may be events at once",
    ),
    "log-format": Rule(
        "note",
        "Longwire's record of each event has its fields only in JSON, and is written at INFO",
        "set LoggingConfig to LogFormat JSON and ApplicationLogLevel INFO",
    ),
    "too-many-layers": Rule(
        "error", "Lambda takes five layers", "put some of them into the package"
    ),
    "extension-slots": Rule(
        "warning",
        "Lambda takes ten extensions, and Longwire's own needs one: greetings would come with "
        "the first reply",
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
        "add longwire[postgresql] or longwire[psycopg] to requirements.txt",
    ),
    "package-architecture": Rule(
        "error",
        "compiled modules of another machine cannot be imported",
        "build for the function's architecture and Python: longwire bundle, or sam build "
        "--use-container",
    ),
    "package-dev": Rule(
        "note",
        "the extra dev is the local gateway: megabytes that a function never uses",
        "write longwire without it",
    ),
}
