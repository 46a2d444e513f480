"""What a deployed stack and a connection show, and what was not looked at."""

from __future__ import annotations

from longwire.doctor.rules.rule import Rule

RULES: dict[str, Rule] = {
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
        "look into the function's log, mend the cause, and have them moved back "
        "(StartMessageMoveTask)",
    ),
    "may-not-look": Rule(
        "warning",
        "what this would show was not checked",
        "allow the action for these credentials; docs/doctor.md has the whole policy",
    ),
    # What one connection shows
    "connect-dns": Rule(
        "error",
        "there is no such host: the API's id or the region is wrong, the API is deleted, or the "
        "domain has no record",
        "compare the URL with the stage's in the console, or with the stack's output",
    ),
    "connect-refused": Rule(
        "error",
        "nothing listens there, or something is in between",
        "look at the host and the port",
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
        "the server did not take it for a WebSocket handshake, or the app does not take this "
        "?path=",
        "look at the URL; a path in ?path= begins with /",
    ),
    "connect-401": Rule(
        "error",
        "an identity source of the authorizer is missing, or it raised Unauthorized",
        "send the token where the authorizer looks for it: in the query, or with --header",
    ),
    "connect-403": Rule(
        "error",
        "the authorizer or the app refuses (wrong ?path=, Origin, or token), or there is no "
        "such stage: "
        "the function's log has the first, and nothing of the second",
        "look at the stage and ?path= (the app's path is there, never behind the stage), at "
        "allowed_origins, and whether the stage is deployed",
    ),
    "connect-token": Rule(
        "error",
        "the route wants a signature of AWS's (authorization AWS_IAM), or the URL leads to no "
        "route",
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
        "API Gateway may not invoke the function or the authorizer, or one of them failed",
        "look into their logs: if they have nothing, a permission is missing. An authorizer "
        'refuses with Exception("Unauthorized") or a policy that denies; another error is a 500',
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
    "connect-status": Rule(
        "error", "no WebSocket server answers so", "look at the host and the path"
    ),
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
        "an app need not answer; if it should have: replies are posted to @connections, which "
        "may be refused",
        "send with --message what the app answers; look for a ManagementError in the function's "
        "log",
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
