"""FastAPI: a chat with its page, its API and its sockets in one file, all with one command.

    longwire dev examples.webchat:app    # http://127.0.0.1:3000/
    uvicorn examples.webchat:app         # http://127.0.0.1:8000/

Open the page in two windows. What a program posts, both of them get:

    curl --json '{"text": "dinner is ready"}' http://127.0.0.1:3000/rooms/blue

On AWS these are two APIs in front of one function: an HTTP API, and a WebSocket API that the page
finds by the variable WS_MANAGEMENT_ENDPOINT, which `longwire dev` sets, too. HTTP needs Mangum:
pip install 'longwire[http]'.
"""

import os

from fastapi import FastAPI, WebSocket
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from longwire import Connections

app = FastAPI()
connections = Connections()

PAGE = """<!doctype html>
<html lang="en" data-sockets="SOCKETS">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Chat</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto }
  input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem }
</style>
<h1>The blue room</h1>
<ul></ul>
<form><input placeholder="Say something" aria-label="Message" autofocus></form>
<script>
  const sockets = document.documentElement.dataset.sockets
  const url = new URL(sockets || location.href.replace(/^http/, "ws"))
  if (sockets) url.searchParams.set("path", "/rooms/blue")  // there is no path of its own
  else url.pathname = "/rooms/blue"
  url.searchParams.set("name", new URLSearchParams(location.search).get("name") || "somebody")
  const socket = new WebSocket(url)
  socket.onmessage = (event) => {
    const line = document.createElement("li")
    line.textContent = event.data
    document.querySelector("ul").append(line)
  }
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault()
    const input = document.querySelector("input")
    socket.send(input.value)
    input.value = ""
  }
</script>
"""


class Said(BaseModel):
    text: str


@app.get("/")
async def page() -> HTMLResponse:
    """Show the page, which is told where the sockets are if they are elsewhere."""
    sockets = os.environ.get("WS_MANAGEMENT_ENDPOINT", "").replace("http", "ws", 1)
    return HTMLResponse(PAGE.replace("SOCKETS", sockets))


@app.post("/rooms/{room}")
async def post(room: str, said: Said) -> dict[str, int]:
    """Send to everybody in a room."""
    result = await connections.group_send(f"room {room}", said.text)
    return {"delivered": len(result.delivered)}


@app.websocket("/rooms/{room}")
async def talk(ws: WebSocket, room: str, name: str) -> None:
    """Serve one connection to one room."""
    await ws.accept()
    await connections.group_add(f"room {room}", ws)
    await connections.group_send(f"room {room}", f"{name} joined")
    async for text in ws.iter_text():
        await connections.group_send(f"room {room}", f"{name}: {text}")
