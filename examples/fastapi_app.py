"""FastAPI: HTTP and WebSocket in one app, dependencies, and a token that is checked at connect.

    longwire dev examples.fastapi_app:app    # ws://127.0.0.1:3001/?path=/words&token=open-sesame
    uvicorn examples.fastapi_app:app         # ws://127.0.0.1:8000/words?token=open-sesame

A wrong token is refused with status 401 before there is a connection. `handler` takes the events of
a WebSocket API and of an HTTP API: those of HTTP go to Mangum, when it is installed. So does
`longwire dev`, whose HTTP is at http://127.0.0.1:3000/me?token=open-sesame.
"""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query, WebSocket, WebSocketDisconnect

from longwire import Longwire

USERS = {"open-sesame": "ali", "swordfish": "groucho"}


def current_user(token: Annotated[str, Query()] = "") -> str:
    """Return whose token it is: for HTTP and WebSocket alike."""
    if token not in USERS:
        raise HTTPException(401, "unknown token")
    return USERS[token]


User = Annotated[str, Depends(current_user)]
app = FastAPI()


@app.get("/me")
async def me(user: User) -> dict[str, str]:
    return {"user": user}


@app.websocket("/words")
async def words(ws: WebSocket, user: User) -> None:
    """Count the words of each message, until the client has had enough."""
    await ws.accept()
    await ws.send_json({"hello": user})
    try:
        while (text := await ws.receive_text()) != "bye":
            await ws.send_json({"user": user, "words": len(text.split())})
    except WebSocketDisconnect:
        return
    await ws.close()


# A file in /tmp is one environment's own: good for a look at it, not for production.
handler = Longwire(
    app,
    ws_config={
        "backend": "sqlite3",
        "params": {"file_path": os.environ.get("CONNECTIONS_FILE", "/tmp/connections.sqlite3")},
    },
)
