"""A measured process that says which step of an event its CPU went to.

    python -m benchmarks.sampled ARGUMENTS

ARGUMENTS are those of `measured.py`, and orders come in as there. For each it prints, in JSON, how
many samples fell into each of `STEPS`. A sample belongs to the innermost frame that says what it is
for: reading a socket that has become ready says nothing, so that is the event loop's.
"""

from __future__ import annotations

import collections
import json
import signal
import sys
from typing import TYPE_CHECKING

from benchmarks.measured import answer, make_handler

if TYPE_CHECKING:
    from types import FrameType

EVERY = 0.001  # seconds of CPU; Linux may take four times as long
EVENT, RECORD, RUN, APP, POST, LOOP = STEPS = ("event", "record", "run", "app", "post", "loop")
# The first that is part of a file's name counts. The checkout may be a folder `longwire`, too.
FILES = {
    "/longwire_backends/": RECORD,
    "/longwire/registry/record.py": RECORD,
    "/longwire/registry/store.py": RECORD,
    "/longwire/invocation/find.py": RECORD,
    "/longwire/apigateway/events.py": EVENT,
    "/longwire/apigateway/": POST,
    "/longwire/registry/": POST,
    "/longwire/invocation/replies.py": POST,
    "/longwire/asgi/": RUN,
    "/adapter/longwire/": EVENT,
    "/starlette/": APP,
    "/benchmarks/app.py": APP,
}


def step(frame: FrameType | None) -> str:
    while frame is not None:
        name = frame.f_code.co_filename
        for part, found in FILES.items():
            if part in name:
                # What began the loop is on every stack.
                return LOOP if name.endswith("/runtime/loop.py") else found
        frame = frame.f_back
    return LOOP


def main(arguments: str) -> None:
    handler = make_handler("longwire", arguments)
    samples: collections.Counter[str] = collections.Counter()
    signal.signal(signal.SIGPROF, lambda _, frame: samples.update([step(frame)]))
    for line in sys.stdin:
        kind, clients = line.split()
        samples.clear()
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        for client in range(int(clients)):
            answer(handler, kind, f"sampled-{client}")
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(samples), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
