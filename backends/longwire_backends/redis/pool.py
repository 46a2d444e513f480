"""The connections of one event loop to a Redis server, each with one command at a time on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longwire_aws.places import Places
from longwire_aws.streams import connect
from longwire_aws.timeouts import limits
from longwire_backends.redis.resp import Reader, ServerError, pack
from longwire_backends.redis.scripts import SOURCES

if TYPE_CHECKING:
    from longwire_aws.streams import Stream
    from longwire_backends.redis.resp import Answer, Word
    from longwire_backends.redis.server import Server

# Connections of one event loop; further commands wait for their turn.
POOL_SIZE = 20


class UnreachableError(ConnectionError):
    """There is no connection; its text is the reason."""


class LostError(ConnectionError):
    """A connection broke before the answer came: the command may have been done or not."""


class LostLoginError(LostError):
    """A connection broke before the login was answered: the command was not sent."""


class UnsentError(TimeoutError):
    """Time was up before the command was sent."""


class Pool:
    """Connects when no connection rests, and keeps none that broke or was given up."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._places = Places(POOL_SIZE)
        self._limits = limits()
        # The last one used is the first to be used again.
        self._resting: list[_Connection] = []
        self._closed = False

    async def ask(self, words: tuple[Word, ...], *, repeat: bool, timeout: float) -> Answer:
        """Return the answer to a command; one that was lost is asked for again if that may be.

        After so many seconds it is a `TimeoutError`; waiting for a turn does not count, as the
        server is not slow where this process has too much to ask at once.
        """
        if not self._places.take():
            await self._places.wait()
        has_repeated = is_sent = False
        try:
            with self._limits.within(timeout):
                while True:
                    command = pack(words)
                    try:
                        connection = self._take() or await self._connect()
                        is_sent = True
                        (answer,) = await connection.ask(command)
                    except LostError as error:
                        may_repeat = repeat or isinstance(error, LostLoginError)
                        if has_repeated or not may_repeat:
                            raise
                        has_repeated = True
                        continue
                    self._keep(connection)
                    if not isinstance(answer, ServerError):
                        return answer
                    if not str(answer).startswith("NOSCRIPT") or words[0] == "EVAL":
                        raise answer
                    words = "EVAL", SOURCES[str(words[1])], *words[2:]
                    is_sent = False  # such a refusal has done nothing
        except TimeoutError as error:
            if is_sent:
                raise
            raise UnsentError from error
        finally:
            self._places.give()

    def _keep(self, connection: _Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._resting.append(connection)

    def _take(self) -> _Connection | None:
        while self._resting:
            connection = self._resting.pop()
            if connection.is_alive():
                return connection
            connection.close()  # by the server, as while this process was frozen
        return None

    async def _connect(self) -> _Connection:
        server = self._server
        try:
            connection = _Connection(await connect(server.host, server.port, tls=server.tls))
        except OSError as error:
            raise UnreachableError(error.strerror or str(error)) from error
        if login := server.login():
            try:
                answers = await connection.ask(b"".join(map(pack, login)), len(login))
            except LostError as error:
                raise LostLoginError(*error.args) from error
            # What follows must not be done as somebody else, or in another database.
            for answer in answers:
                if isinstance(answer, ServerError):
                    connection.close()
                    raise answer
        return connection

    def forget(self) -> None:
        """Close what rests: the next command connects, and so resolves the name, anew."""
        while self._resting:
            self._resting.pop().close()

    def close(self) -> None:
        """Close what rests, and what is in use when it has its answer."""
        self._closed = True
        self.forget()


class _Connection:
    """Closes itself when anything comes between a command and its answer."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def ask(self, command: bytes, count: int = 1) -> list[Answer]:
        """Send what has so many answers, and return them, or those up to a refusal."""
        reader = Reader(count)
        try:
            await self._stream.send(command)
            while True:
                if not (data := await self._stream.receive()):
                    raise ConnectionResetError
                # Who refuses a client may close at once, and so answer only the first command.
                if reader.feed(data) or reader.is_refused():
                    return reader.answers
        except OSError as error:
            self.close()
            # TLS tells why; a reset is what a lost connection is anyway.
            reason = "" if isinstance(error, ConnectionError) else error.strerror
            raise LostError(reason or "") from error
        except BaseException:  # cancelled, say: what comes now is no answer to the next command
            self.close()
            raise

    def is_alive(self) -> bool:
        """Tell whether it is open, as far as this side can know, with nothing to read on it."""
        return not self._stream.has_input()

    def close(self) -> None:
        self._stream.socket.close()
