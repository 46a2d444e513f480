"""Where the emulators differ from AWS: what each does instead of what AWS is known to do.

`observing.py` finds out what an emulator does, under the same names. A test compares all of it, so
that an emulator that has changed, for better or worse, is noticed.
"""

from __future__ import annotations

from typing import Any

NEVER = "not at all"
SILENCE = "no answer"

# From AWS's documentation and published captures of real events: nobody here has run this on AWS.
# Without a published source are compression, the values of a header that is sent twice, and that a
# client's own close code is passed on.
AWS: dict[str, Any] = {
    # The handshake.
    "statuses of refusals": {"close": 403, "denial": 401, "exception": 404, "crash": 500},
    "status of a path below the stage": 403,
    "subprotocol, when the app chose b of a and b": "b",
    "compression": [],
    # Messages.
    "a frame of 40 KB": "closed with 1009",
    "a binary message": "closed with 1003",
    # Endings.
    "close code after DELETE": 1000,
    "disconnectStatusCode and reason after DELETE": [1000, "Connection Closed Normally"],
    "disconnectStatusCode after the client's close(4001)": 4001,
    # The management API.
    "POST": 200,
    "GET": [200, ["connectedAt", "identity", "lastActiveAt"]],
    "POST, GET and DELETE after the end": [410, 410, 410],
    "x-amzn-errortype of a 410": "GoneException",
    # Events.
    "domainName": "{apiId}.execute-api.{region}.amazonaws.com",
    "connectionId": "16 characters, the last is =",
    "requestId": "is the extendedRequestId",
    "connectedAt": "the same in all events",
    "messageDirection": "IN",
    "messageId in CONNECT": NEVER,
    "body in CONNECT": NEVER,
    "queryStringParameters without a query": NEVER,
    "name of the header X-One": "X-One",
    "values of a header that is sent twice": ["1", "2"],
    "Connection and Upgrade among the headers": [],
    "X-Forwarded-For and X-Amzn-Trace-Id among the headers": ["x-amzn-trace-id", "x-forwarded-for"],
    "headers of DISCONNECT": ["Host", "X-Forwarded-For", "x-api-key", "x-restapi"],
    "userAgent of identity": "the client's",
    "null in identity": [],
}

DIFFERS: dict[str, dict[str, Any]] = {
    "ministack": {
        "statuses of refusals": {"close": 403, "denial": 403, "exception": 403, "crash": 403},
        "status of a path below the stage": 101,
        "subprotocol, when the app chose b of a and b": None,
        "compression": ["permessage-deflate"],
        "a frame of 40 KB": "delivered",
        "a binary message": "delivered as text",
        "disconnectStatusCode and reason after DELETE": [1005, ""],
        "disconnectStatusCode after the client's close(4001)": 1006,
        "GET": [200, ["ConnectedAt", "Identity", "LastActiveAt"]],
        "domainName": "{apiId}.execute-api.localhost",
        "connectionId": "16 characters",
        "requestId": "is not the extendedRequestId",
        "connectedAt": "the time of each event",
        "messageDirection": NEVER,
        "body in CONNECT": "",
        "queryStringParameters without a query": None,
        "name of the header X-One": "x-one",
        "values of a header that is sent twice": ["2"],
        "Connection and Upgrade among the headers": ["connection", "upgrade"],
        "X-Forwarded-For and X-Amzn-Trace-Id among the headers": [],
        "headers of DISCONNECT": NEVER,
    },
    "serverless-offline": {
        "status of a path below the stage": 101,
        "subprotocol, when the app chose b of a and b": "a",
        "a frame of 40 KB": "delivered",
        # The body of the event is then no text, and the function ends; nobody starts it again.
        "a binary message": SILENCE,
        "close code after DELETE": 1005,
        "disconnectStatusCode and reason after DELETE": [None, None],
        "disconnectStatusCode after the client's close(4001)": None,
        "POST": 204,
        "GET": [426, []],
        "POST, GET and DELETE after the end": [410, 426, 410],
        "x-amzn-errortype of a 410": None,
        "domainName": "localhost",
        "connectionId": "36 characters",
        "requestId": "is not the extendedRequestId",
        "messageId in CONNECT": "there",
        "Connection and Upgrade among the headers": ["connection", "upgrade"],
        "X-Forwarded-For and X-Amzn-Trace-Id among the headers": [],
        "headers of DISCONNECT": ["Host", "x-api-key", "x-restapi"],
        "userAgent of identity": None,
        "null in identity": [
            "accessKey",
            "accountId",
            "caller",
            "cognitoAuthenticationProvider",
            "cognitoAuthenticationType",
            "cognitoIdentityId",
            "cognitoIdentityPoolId",
            "principalOrgId",
            "user",
            "userAgent",
            "userArn",
        ],
    },
}


def facts(name: str) -> dict[str, Any]:
    """Return what an emulator does, by what it is about."""
    return AWS | DIFFERS[name]
