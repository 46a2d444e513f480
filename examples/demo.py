"""Two clients talk in the chat example, beside the Lambda events that carried what they said.

    make demo

`longwire dev` runs the app as API Gateway and Lambda would, on a free port and with its files in a
temporary folder. The clients are real ones, of the websockets library.
"""

import asyncio
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

EXAMPLES = Path(__file__).parent
TIME_LIMIT = 60.0  # seconds, for all of it
WIDTH = 50


class DemoError(Exception):
    """The demo failed; the text says why."""


class Gateway:
    """A running `longwire dev`, by what it prints."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def line(self) -> str:
        """Return the next line: the gateway is ready, or the function has answered an event."""
        output = self._process.stdout
        line = (await output.readline()).decode().rstrip() if output else ""
        if not line:
            raise DemoError(f"longwire dev ended with code {await self._process.wait()}")
        return line

    async def url(self) -> str:
        """Return where clients connect, once they can."""
        line = await self.line()
        url = next((word for word in line.split() if word.startswith("ws://")), None)
        if url is None:
            raise DemoError(f"longwire dev is not ready, but says: {line}")
        return url

    async def event(self) -> str:
        """Return the next event without the time of day."""
        while (line := await self.line()).startswith("  "):
            pass  # one of the app's routes, which the gateway lists
        return line.partition("  ")[2]


@asynccontextmanager
async def running_gateway(folder: Path) -> AsyncIterator[Gateway]:
    """Run the chat example until the end of the block."""
    files = ["--app-dir", str(EXAMPLES), "--file", str(folder / "connections.sqlite3")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-m", "longwire", "dev", "chat:app", "--port", "0", *files),
        stdout=PIPE,
    )
    try:
        yield Gateway(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


class Guest:
    """A client in a room of the chat, under a name."""

    def __init__(self, name: str, room: str) -> None:
        self.name, self.room = name, room

    async def enter(self, url: str) -> None:
        query = f"path=/rooms/{self.room}&name={self.name}"
        self._ws: ClientConnection = await connect(f"{url}/?{query}")

    async def say(self, text: str) -> None:
        await self._ws.send(text)

    async def leave(self) -> None:
        await self._ws.close()

    async def expect(self, line: str) -> str:
        """Wait for the next line and check that it is this one."""
        seen = str(await self._ws.recv())
        if seen != line:
            raise DemoError(f"{self.name} saw {seen!r} instead of {line!r}")
        return f"    {self.name} gets | {seen}"


async def talk(url: str, gateway: Gateway) -> None:
    """Let two clients talk with each other; each action is one Lambda event."""

    async def show(action: str, done: Awaitable[None], line: str, *who: Guest) -> None:
        """Print what a client does and who sees it, beside the event for the function."""
        await done
        seen = [await guest.expect(line) for guest in who]
        print(f"{action:<{WIDTH}}{await gateway.event()}", *seen, sep="\n", flush=True)

    ann, bob = Guest("ann", "blue"), Guest("bob", "blue")
    await show("ann enters room blue", ann.enter(url), "ann joined", ann)
    await show("bob enters room blue", bob.enter(url), "bob joined", ann, bob)
    for guest, text in ((ann, "Anybody there?"), (bob, "Yes, on Lambda."), (ann, "So am I!")):
        line = f"{guest.name}: {text}"
        await show(f"{guest.name} says: {text}", guest.say(text), line, ann, bob)
    await show("ann leaves", ann.leave(), "ann left", bob)
    await show("bob leaves", bob.leave(), "")


async def demo(folder: Path) -> None:
    async with asyncio.timeout(TIME_LIMIT), running_gateway(folder) as gateway:
        url = await gateway.url()
        print(f"{'What the clients do and see':<{WIDTH}}What API Gateway invokes")
        await talk(url, gateway)


def main() -> int:
    """Run the demo and return its exit code."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(demo(Path(folder)))
    except TimeoutError:
        reason = f"it took longer than {TIME_LIMIT:g} seconds"
    except (DemoError, OSError, WebSocketException) as error:
        reason = str(error) or type(error).__name__
    else:
        return 0
    print(f"demo: failed: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
