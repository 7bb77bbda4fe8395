"""Plays one side of a recorded conversation against a real peer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from fourtuple.connection import Connection
from fourtuple.errors import ConnectionEnded, ConnectionLost, EndOfFile
from fourtuple.framing import Framing, Raw
from fourtuple.relay.cutting import Cutter
from fourtuple.relay.recording import Recording

#: Called with the offset of the first octet that differs, the recorded octets from there, and those that came.
OnDifference = Callable[[int, bytes, bytes], object]


class Player:
    """Says what one side of a recording said, each turn behind the peer's turn before it.

    A turn of the peer is over when as many messages have come as in the recording; with the framing ``raw``, as many
    octets. What differs is told, and the play goes on.
    """

    def __init__(
        self,
        connection: Connection[bytes, bytes],
        recording: Recording,
        framing: Framing,
        on_difference: OnDifference,
        *,
        as_client: bool,
    ) -> None:
        self._connection = connection
        self._recording = recording
        self._on_difference = on_difference
        self._as_client = as_client
        self._framing = framing
        self._cutter = None if isinstance(framing, Raw) else Cutter(framing)
        self._came = b""
        self._offset = 0

    async def play(self) -> None:
        """Play to the end, half-close, and read on until the peer's end of file. Errors of the connection end it."""
        connection = self._connection
        try:
            for at, (by_client, octets) in enumerate(self._recording.turns):
                if by_client is not self._as_client:
                    await (self._listen(octets) if octets else self._listen_for_the_end(at))
                elif octets:
                    await connection.send(octets)
                else:
                    connection.send_eof()
            connection.send_eof()
            while True:
                self._differs(b"", await connection.receive_some())
        except EndOfFile:
            pass
        except (ConnectionLost, ConnectionEnded) as error:
            self._on_difference(self._offset, b"", str(error).encode())
        finally:
            connection.close()

    async def _listen_for_the_end(self, at: int) -> None:
        """Wait for the peer's end of file, if in the recording something is said behind it."""
        if any(octets for by_client, octets in self._recording.turns[at:] if by_client is self._as_client):
            with suppress(EndOfFile):
                while True:
                    self._differs(b"", await self._connection.receive_some())

    async def _listen(self, recorded: bytes) -> None:
        wanted = len(recorded) if self._cutter is None else len(Cutter(self._framing).feed(recorded))
        came, messages = b"", 0
        try:
            while (len(came) if self._cutter is None else messages) < wanted:
                most = wanted - len(came) if self._cutter is None else 65536
                octets = await self._connection.receive_some(most)
                came += octets
                messages += len(self._cutter.feed(octets)) if self._cutter is not None else 0
        except EndOfFile:
            self._differs(recorded, came)
            raise
        self._differs(recorded, came)

    def _differs(self, recorded: bytes, came: bytes) -> None:
        if recorded != came:
            pairs = zip(recorded, came, strict=False)
            same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(recorded), len(came)))
            self._on_difference(self._offset + same, recorded[same:], came[same:])
        self._offset += len(came)


async def play(player: Player) -> None:
    """Play, whatever becomes of the connection."""
    with suppress(OSError):
        await player.play()
