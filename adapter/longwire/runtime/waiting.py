"""Is Lambda's runtime at work on an event, or does it wait for its next one?

Nobody tells an extension that an event is over which somebody else has answered, nor that something
around the handler still holds a response back. Both are seen here, in what `awslambdaric` keeps to
itself, of which nothing else in Longwire knows. All its releases from 3.0 to 4.2 have it, as `make
runtimes` tests. Under another runtime, or one that looks different, nothing is seen.
"""

from __future__ import annotations

import sys
import threading

# The module of the runtime's loop, and its variable with the id of the event that it has last had.
LOOP = "awslambdaric.bootstrap"
REQUEST_ID = "_GLOBAL_AWS_REQUEST_ID"
# The functions, by module and name, in which its main thread waits for the next one, and handles it
# until the response is posted.
WAITS = ("awslambdaric.lambda_runtime_client", "wait_next_invocation")
HANDLES = (LOOP, "handle_event_request")


def is_done_with(request_id: str) -> bool:
    """Tell whether the runtime has had this event and waits again; False where nothing is seen."""
    return _is_in(WAITS, request_id)


def is_at_work_on(request_id: str) -> bool:
    """Tell whether the runtime has not posted its response yet; False where nothing is seen."""
    return _is_in(HANDLES, request_id)


def _is_in(function: tuple[str, str], request_id: str) -> bool:
    # The id first: it is noted after the wait for its event is over, and before the next begins.
    if getattr(sys.modules.get(LOOP), REQUEST_ID, None) != request_id:
        return False
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:  # a thread of the runtime may do the waiting for that function
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == function:
            return True
        frame = frame.f_back
    return False
