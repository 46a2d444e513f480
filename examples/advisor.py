"""A chat with a language model whose history is a list, and each answer is paid for once.

    longwire dev examples.advisor:app --replay    # ws://127.0.0.1:3001/?path=/advice
    uvicorn examples.advisor:app                  # ws://127.0.0.1:8000/advice

Where a message meets a process that does not know the conversation, replay repeats it from the
top, and would ask the model again for each earlier answer. `once` keeps what it said.
`examples/assistant.py` is the same without replay, with the history in `ws.state`.

`ask_model` stands for a real model; the console shows how often it is asked.
"""

import asyncio

from fastapi import FastAPI, WebSocket

from longwire import once

app = FastAPI()


async def ask_model(history: list[str]) -> str:
    """Answer the last of these questions, for a fee."""
    print(f"the model is asked: {history[-1]}", flush=True)
    await asyncio.sleep(0.01)
    before = f"after {history[-3]!r}" if len(history) > 2 else "to begin with"
    return f"{before} you ask {history[-1]!r}"


@app.websocket("/advice")
async def advise(ws: WebSocket) -> None:
    """Serve one conversation: questions and answers by turns."""
    await ws.accept()
    history: list[str] = []
    async for question in ws.iter_text():
        history.append(question)
        answer = await once("answer", lambda: ask_model(history))
        history.append(answer)
        await ws.send_text(answer)
