"""Is this the end of a connection, or only of an event?"""

from __future__ import annotations

from longwire.registry.caller import current


def is_event_end() -> bool:
    """Tell whether the app is stopped only because its Lambda event is over.

    Each event runs the app up to where it waits for the client, and then cancels it there. So what
    an app does when a client leaves runs at the end of each event: `finally`, `except
    CancelledError`, Starlette's `on_disconnect` and what other frameworks call theirs. Ask there::

        async def on_disconnect(self, websocket, close_code):
            if not longwire.is_event_end():
                await presence.remove(self.user)

    Returns:
        True while the app cleans up and its connection goes on. False where the connection has
        ended: its client has left, the app has closed it, returned or raised. Always False under
        uvicorn and other servers, where an app runs for as long as its connection.
    """
    caller = current.get()
    return caller is not None and caller.own is not None and caller.own.goes_on_after_event
