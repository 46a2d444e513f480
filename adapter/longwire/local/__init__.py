"""API Gateway's WebSocket side on the developer's own machine.

The rules are pure and are split by what they decide:

    settings.py        one WebSocket API: stage, routes, limits, timeouts
    connection.py      one connection: its handshake, its state, how it ended
    proxy_events.py    the CONNECT, MESSAGE and DISCONNECT events
    routes.py          which route a message takes
    results.py         what the function's answer means
    authorizer.py      what a Lambda authorizer is asked, and what its answer means
    identity.py        what a handshake must have for it to be asked
    policy.py          what an IAM policy allows
    management_api.py  what POST, GET and DELETE on @connections do
    gateway.py         all of these together, with the table of connections

Around them: `session.py` invokes the function for one connection, `server.py` and `websocket.py`
are the sockets, `function.py` runs the function, `calls.py` waits for its answers,
`authorizing.py` asks the authorizer, `cli.py` is `longwire dev`. `longwire.testing` puts the same
rules and sessions behind a client without sockets.
"""
