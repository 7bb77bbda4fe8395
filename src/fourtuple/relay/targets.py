"""What a relay relays to: an address, a program, or a recording. Each connection of a client gets one of its own."""

from __future__ import annotations

import asyncio
import itertools
import shlex
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fourtuple import events
from fourtuple.address import Address
from fourtuple.client import connect, connection_over
from fourtuple.client.options import Connect
from fourtuple.connection import Connection
from fourtuple.errors import OptionError
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Framing
from fourtuple.net.connecting import parsed
from fourtuple.options import Deadlines, Limits
from fourtuple.proxy import CRC32C, ProxyHeader
from fourtuple.relay.events import ReplayDiffers
from fourtuple.relay.recording import Recording, read_recordings
from fourtuple.relay.replay import Player, play

#: Seconds that a program has to end by itself after the end of its conversation, and again after SIGTERM.
_PATIENCE_SECONDS = 1.0

EXEC, REPLAY = "exec:", "replay:"


class Target(ABC):
    """Opens the other end of a conversation."""

    @abstractmethod
    async def open(self, client: Connection[bytes, bytes]) -> Connection[bytes, bytes]:
        """Return a connection. Raises :class:`~fourtuple.errors.FourTupleError` and :class:`OSError`."""

    @abstractmethod
    async def leave(self, connection: Connection[bytes, bytes]) -> None:
        """Release what was opened beside a connection that has ended."""


class AddressTarget(Target):
    """A listener, over TCP or a Unix socket.

    ``opening`` are options of :func:`fourtuple.connect`. ``proxy_version`` sends a PROXY header with the client's name,
    and the values of the header with which the client's connection began. Raises
    :class:`~fourtuple.errors.OptionError` for options that cannot work, and :class:`~fourtuple.errors.AddressError` for
    an address to which nothing can connect.
    """

    def __init__(self, address: Address, opening: dict[str, Any], proxy_version: int | None) -> None:
        parsed(address)
        Connect(**opening)  # this reads the certificates
        self._address = address
        self._opening = opening
        self._proxy_version = proxy_version

    async def open(self, client: Connection[bytes, bytes]) -> Connection[bytes, bytes]:
        header = None if self._proxy_version is None else self._header(client, self._proxy_version)
        return await connect(self._address, "raw", proxy_header=header, **self._opening)

    async def leave(self, connection: Connection[bytes, bytes]) -> None:
        """Nothing stands beside such a connection."""

    @staticmethod
    def _header(client: Connection[bytes, bytes], version: int) -> ProxyHeader:
        name = client.name if isinstance(client.name, FourTuple) else None
        given = client.proxy_header
        tlvs = () if given is None or version == 1 else tuple(each for each in given.tlvs if each[0] != CRC32C)
        return ProxyHeader(name, version, local=name is None, tlvs=tlvs)

    def __str__(self) -> str:
        return str(self._address)


class _PairTarget(Target):
    """One end of a socket pair; something here has the other."""

    def __init__(self, limits: Limits, deadlines: Deadlines) -> None:
        self._limits, self._deadlines = limits, deadlines

    def _connection(self, sock: socket.socket) -> Connection[bytes, bytes]:
        return connection_over(sock, "raw", limits=self._limits, deadlines=self._deadlines)


class ProgramTarget(_PairTarget):
    """A program, with the conversation as its standard input and output."""

    def __init__(self, command: str, limits: Limits, deadlines: Deadlines, observer: events.Observer) -> None:
        super().__init__(limits, deadlines)
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise OptionError(f"{EXEC}{command}: {error}") from error
        if not self._words:
            raise OptionError(f"'{EXEC}': a command is needed, as in exec:sort")
        if shutil.which(self._words[0]) is None:
            raise OptionError(f"{EXEC}{command}: there is no program {self._words[0]!r}, or it may not be run")
        self._observer = observer
        self._running: dict[int, tuple[asyncio.subprocess.Process, Connection[bytes, bytes]]] = {}

    async def open(self, client: Connection[bytes, bytes]) -> Connection[bytes, bytes]:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *self._words, stdin=theirs.fileno(), stdout=theirs.fileno()
                )
            connection = self._connection(ours)
        except BaseException:
            ours.close()
            raise
        self._running[connection.id] = process, client
        return connection

    async def leave(self, connection: Connection[bytes, bytes]) -> None:
        process, client = self._running.pop(connection.id)
        try:
            status = await _ended(process)
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()  # the relay stops, and waits no longer
            raise
        self._observer(events.ProgramEnded(client.id, client.name, self._words[0], status))

    def __str__(self) -> str:
        return f"{EXEC}{shlex.join(self._words)}"


async def _ended(process: asyncio.subprocess.Process) -> int:
    """Wait for the end of a program; one that does not end gets SIGTERM, and then SIGKILL. Return its status."""
    for stop in (process.terminate, process.kill):
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await process.wait()
        with suppress(ProcessLookupError):
            stop()
    return await process.wait()


class ReplayTarget(_PairTarget):
    """The server's side of recorded conversations: the first connection gets the first of them, and so on in turn."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        path: str,
        framing: Framing,
        limits: Limits,
        deadlines: Deadlines,
        observer: events.Observer,
    ) -> None:
        super().__init__(limits, deadlines)
        self._path = path
        self._framing = framing
        self._observer = observer
        self._turns = itertools.cycle(enumerate(recordings, 1))
        self._playing: dict[int, asyncio.Task[None]] = {}

    async def open(self, client: Connection[bytes, bytes]) -> Connection[bytes, bytes]:
        ours, theirs = socket.socketpair()
        connection = self._connection(ours)
        number, recording = next(self._turns)
        player = Player(
            self._connection(theirs), recording, self._framing, differing(self._observer, number), as_client=False
        )
        self._playing[connection.id] = asyncio.ensure_future(play(player))
        return connection

    async def leave(self, connection: Connection[bytes, bytes]) -> None:
        task = self._playing.pop(connection.id)
        await asyncio.wait({task}, timeout=_PATIENCE_SECONDS)
        task.cancel()

    def __str__(self) -> str:
        return f"{REPLAY}{self._path}"


def differing(observer: events.Observer, number: int) -> Callable[[int, bytes, bytes], object]:
    """Return what tells the observer of a difference in conversation ``number`` of a recording."""
    return lambda offset, recorded, came: observer(ReplayDiffers(number, offset, recorded, came))


def recordings_of(path: str) -> list[Recording]:
    """Read a recording. Raises :class:`~fourtuple.errors.OptionError` for a file that cannot be read, or is invalid."""
    try:
        octets = Path(path).read_bytes()
    except OSError as error:
        raise OptionError(f"{REPLAY}{path}: {error.strerror or error}") from error
    try:
        found = read_recordings(octets)
    except OptionError as error:
        raise OptionError(f"{REPLAY}{path}: {error}") from error
    if not found:
        raise OptionError(f"{REPLAY}{path}: there is no TCP conversation in it in which anything was said")
    return found
