"""A process that handles the events on its standard input until it is killed.

Each line is a JSON object with `number`, `event` and `seconds`; each line of output one with
`number` and `answer` or `error`, or with `told` or `violated`.

    python -m tests.campaigns.chaos.child STORE ENDPOINT call|handle [replay]
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from typing import Any
from urllib.parse import parse_qs

from longwire import Longwire
from tests.campaigns.chaos.apps import KINDS_IN_TURNS, make_app
from tests.lambda_events import LambdaContext

BODIES = {kind.body.__name__: kind.body for kind in KINDS_IN_TURNS}


class Here:
    """This process, which tells its parent at once what its apps see."""

    async def app_request(self, phase: str) -> None:
        await asyncio.sleep(random.uniform(0.0, 0.003))

    def tell(self, process: Any, connection_id: str, code: int) -> None:
        say(told=connection_id, code=code)

    def heard(self, process: Any, connection_id: str, texts: tuple[str, ...]) -> None:
        say(heard=connection_id, texts=texts)

    def violated(self, what: str) -> None:
        say(violated=what)


def say(**fields: Any) -> None:
    """Write one line in one piece, which outlives this process."""
    os.write(1, json.dumps(fields).encode() + b"\n")


def choose(scope: Any) -> Any:
    """Let the client choose the app."""
    return BODIES[parse_qs(scope["query_string"].decode())["app"][0]]


def main(store: str, endpoint: str, how: str, replay: str = "") -> None:
    here = Here()
    ws_config: Any = {
        "backend": "sqlite3",
        "params": {"file_path": store},
        "api_gateway_endpoint_url": endpoint,
        "linger": 0.5,
        "replay": bool(replay),
    }
    handler = Longwire(make_app(choose, here, here), ws_config=ws_config)
    if how == "handle":
        asyncio.run(_handle_all(handler))
    else:
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                answer = handler(asked["event"], LambdaContext(asked["seconds"]))
            except Exception as error:  # whatever it is, the parent judges it
                say(number=asked["number"], error=repr(error))
            else:
                say(number=asked["number"], answer=answer)


async def _handle_all(handler: Longwire) -> None:
    async def handle(asked: Any) -> None:
        try:
            answer = await handler.handle(asked["event"], LambdaContext(asked["seconds"]))
        except Exception as error:  # as above
            say(number=asked["number"], error=repr(error))
        else:
            say(number=asked["number"], answer=answer)

    tasks = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        task = asyncio.create_task(handle(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    await handler.aclose()


if __name__ == "__main__":
    main(*sys.argv[1:])
