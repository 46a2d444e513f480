"""A shop: customers log in by a message and fill a cart; the same under any ASGI server.

    longwire dev examples.shop:app --instances 3    # ws://127.0.0.1:3001/?path=/shop
    uvicorn examples.shop:app                       # ws://127.0.0.1:8000/shop

    {"do": "login", "name": "ann"}    {"do": "add", "item": "tea"}    {"do": "show"}

On Lambda every message may run in another process, so who a customer is and what is in the cart is
no local variable: it is in `ws.state`, which is this connection's own, here and on a server. What
changes there after the first `receive` is kept.
"""

from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.websocket("/shop")
async def shop(ws: WebSocket) -> None:
    """Serve one customer."""
    ws.state.user, ws.state.cart = None, []  # runs for each message, and does not win
    await ws.accept()
    async for order in ws.iter_json():
        match order:
            case {"do": "login", "name": str(name)}:
                ws.state.user = name
                await ws.send_json({"hello": name})
            case _ if ws.state.user is None:
                await ws.send_json({"error": "log in first"})
            case {"do": "add", "item": str(item)}:
                ws.state.cart.append(item)
                await ws.send_json({"items": len(ws.state.cart)})
            case {"do": "show"}:
                await ws.send_json({"user": ws.state.user, "cart": ws.state.cart})
            case _:
                await ws.send_json({"error": "what?"})
