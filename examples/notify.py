"""Messages from outside: to the rooms of `chat.py`, from an HTTP route and from a script.

With the chat running in another shell (longwire dev examples.chat:app), say where it is:

    export WS_MANAGEMENT_ENDPOINT=http://127.0.0.1:3001/local

Then send from an HTTP route, or as a cron job would:

    uvicorn examples.notify:app
    curl --data 'dinner is ready' http://127.0.0.1:8000/rooms/blue

    python examples/notify.py blue 'dinner is ready'

Neither has a WebSocket event. All that they need is the store in which Longwire keeps the
connections, and the URL of the management API, which on AWS is
https://{api id}.execute-api.{region}.amazonaws.com/{stage}. The environment variable LONGWIRE_DSN
says where the store is; here it is the file of `longwire dev`, if both run in the same folder.
"""

import sys

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from longwire import Connections, LongwireError

connections = Connections()


async def notify(request: Request) -> JSONResponse:
    """Send the body of a POST to everybody in a room."""
    text = (await request.body()).decode()
    result = await connections.group_send(f"room {request.path_params['room']}", text)
    answer = {"delivered": len(result.delivered), "gone": len(result.gone), "failed": result.failed}
    return JSONResponse(answer, 200 if result.ok else 502)


app = Starlette(routes=[Route("/rooms/{room}", notify, methods=["POST"])])


def main(arguments: list[str]) -> int:
    """Send one message, from code that is not async."""
    if len(arguments) != 2:
        print("usage: python examples/notify.py ROOM TEXT", file=sys.stderr)
        return 2
    room, text = arguments
    try:
        result = connections.sync.group_send(f"room {room}", text)
    except LongwireError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"delivered to {len(result.delivered)}, gone {len(result.gone)}")
    for connection_id, reason in result.failed.items():
        print(f"{connection_id}: {reason}", file=sys.stderr)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
