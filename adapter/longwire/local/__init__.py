"""API Gateway on the developer's own machine: a WebSocket API, and an HTTP API.

    rules/       what API Gateway decides, pure: no sockets, no clock, no randomness
        access          whose requests are answered: programs, not web pages
        settings        one WebSocket API: stage, routes, limits, timeouts, identity sources
        connection      one connection: its handshake, its state, how it ended
        events          the CONNECT, MESSAGE and DISCONNECT events
        routes          which route a message takes
        http_events     the event of an HTTP request
        errors          why a function did not return
        results         what the function's answer means
        http_results    what that answer is to an HTTP request
        authorizer      what a Lambda authorizer is asked, and what its answer means
        faults          what goes wrong on the way to the function, on purpose
        policy          what an IAM policy allows
        management_api  what POST, GET and DELETE on @connections do
        signatures      whether a request to @connections is signed
        gateway         all of these together, with the table of connections
    tasks        the gateway's own tasks
    loops        the event loop of a thread that an app runs in
    parser       requests of HTTP/1.1 as they arrive
    heads        the heads of answers to them
    http11       HTTP/1.1, for the sockets and for the Runtime API
    invoking     a call of the function, and what became of it
    session      one client's connection: its events in their order, and what follows
    request      one HTTP request, and its answer
    function/    how the function runs
        inline          in this process
        instances       in processes of its own, as many as are needed
        instance        one of them, under Lambda's own runtime
        runtime_api     what that runtime asks for, and what it gets
        runtime_server  the server for it
        output          what the function prints, heard beside its events
    server/      the sockets: server listens, http speaks to clients, then websocket; http_api to
                 those of the HTTP API
    inspector/   the page that shows all of it to a browser, and makes things happen
    cli/         the command `longwire`: main reads the command line, dev serves
    reload       what `longwire dev --reload` watches and restarts

Each imports only from those above it; `session`, `request` and `function/` know nothing of each
other.
`longwire.testing` puts the same rules and sessions behind a client without sockets.
"""
