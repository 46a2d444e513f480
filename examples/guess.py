"""A guessing game: think of a number, the app finds it. What it knows is in local variables.

    longwire dev examples.guess:app --replay    # ws://127.0.0.1:3001/?path=/guess
    uvicorn examples.guess:app                  # ws://127.0.0.1:8000/guess

Answer "higher", "lower" or "yes". The app knows nothing of Lambda: `low`, `high` and `guesses` are
there for the next message, since replay repeats what has been said, in whichever process it runs.
"""

from quart import Quart, websocket

app = Quart(__name__)


@app.websocket("/guess")
async def guess() -> None:
    """Play one game after the other."""
    await websocket.send("think of a number from 1 to 100")
    while True:
        await websocket.send(f"got it in {await play()}")


async def play() -> int:
    """Play one game, and return how many guesses it took."""
    low, high, guesses = 1, 100, 0
    while low <= high:
        number, guesses = (low + high) // 2, guesses + 1
        await websocket.send(f"is it {number}?")
        match await websocket.receive():
            case "higher":
                low = number + 1
            case "lower":
                high = number - 1
            case "yes":
                return guesses
            case _:
                await websocket.send("higher, lower or yes")
    await websocket.send("you have changed it")
    return guesses
