"""The page of `longwire dev`: what happens, live, and what one can make happen.

    entries     one event, or one request to `@connections`, and what became of it
    ring        the latest of them, by number and by size
    peers       the connections
    cases       an event as a command, a conversation as a test
    inspector   puts together what the gateway, the function and its processes say
    transport   which event a post is of
    stored      what the store has of a connection
    client      a client without a socket
    actions     what the page can make happen
    access      whose requests are answered
    stream      what the page is told
    web         the page's requests
    page.html   the page itself

Nothing of it is imported without the page, and the gateway knows it by a few methods only.
"""
