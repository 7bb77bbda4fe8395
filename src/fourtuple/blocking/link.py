"""The connections of a blocking client, as its pool sees them. No call waits, except those that say so."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.ending import release
from fourtuple.errors import ConnectionEnded, EndOfFile, FourTupleError
from fourtuple.pool import ConnectionPool, Member
from fourtuple.pool.intake import Intake, unasked
from fourtuple.pool.link import StreamLink
from fourtuple.stream import Half, Stream

#: The most reads without waiting: a server that sends without end must not hold the call.
_MOST_READS = 16


class BlockingLink(StreamLink):
    """A blocking connection; see :class:`fourtuple.pool.Link`."""

    __slots__ = ("_intake", "_takes_pushes", "connection", "lingers", "member", "name", "one_way", "reading", "stream")

    def __init__(self, connection: BlockingConnection, pool: ConnectionPool) -> None:
        self.connection: BlockingConnection = connection
        self.stream: Stream = connection._stream
        self.name: str = str(connection.name)
        self._takes_pushes = pool.inbox is not None
        self._intake = Intake(pool, self.stream)
        #: Set when the pool has the connection.
        self.member: Member | None = None
        #: Whether a thread waits for octets here.
        self.reading: bool = False
        #: Whether messages without a reply were sent, and whether the client itself closes the connection therefore.
        self.one_way: bool = False
        self.lingers: bool = False

    def send(self, message: Any) -> None:
        connection, stream = self.connection, self.stream
        connection._out.put("request", lambda: stream.send(message))
        with suppress(ConnectionEnded):  # another thread has just ended it; the pool learns that from its reader
            connection._out.flush()

    def look(self, member: Member, now: float) -> None:
        """Pass on what has come, without waiting, if no thread reads here."""
        for _ in range(_MOST_READS):
            before = self.stream.octets_in
            if self.reading or member.ended:
                return
            self.wait(self.connection._socket.clock())
            self.take_all(member, now)
            if self.stream.octets_in == before:
                return

    def check(self, *, peek: bool) -> Exception | None:
        connection, stream = self.connection, self.stream
        if peek and not self.reading:
            with suppress(FourTupleError):
                connection._in.look_for_unasked()
            if self._takes_pushes and self.member is not None:
                self.take_all(self.member, connection._socket.clock())
        with connection._socket.lock:
            if stream.reading is Half.ENDED:
                return EndOfFile(f"{self.name}: the peer sent end of file while the connection was idle")
            if stream.reading is not Half.OPEN or stream.writing is not Half.OPEN:
                return stream.why_nothing()
            return unasked(self.name) if stream.unasked and not self._takes_pushes else None

    def take_all(self, member: Member, now: float) -> None:
        """Pass on the messages that have come."""
        with self.connection._socket.lock:
            self._intake.take_all(member, now)

    def wait(self, until: float | None) -> None:
        """Wait until a message, an end or an error has come, or until a moment."""
        with suppress(FourTupleError):  # what ended the connection, take_all() or who has closed it passes on
            self.connection._in.wait_for(lambda: self.stream.readable, None, "receive", until)

    def write_out(self, until: float | None, now: float) -> None:
        """Wait until the outbox is written, or until a moment: another thread reads, and may not see to it."""
        with suppress(FourTupleError):  # what ends the connection, its reader reports
            self.connection._out.write_out(None if until is None else max(0.0, until - now))

    def finish(self, now: float) -> None:
        """Begin the end of a connection with messages that have no reply: what is left, then FIN.

        The ``close()`` of the connection, which waits for the peer's FIN, ends ``linger_timeout`` from now, at most.
        """
        sock = self.connection._socket
        if sock.deadlines.linger_timeout is not None:
            sock.latest = now + sock.deadlines.linger_timeout
        with suppress(FourTupleError):
            with sock.lock:
                self.stream.close()
                sock.wake_senders()
                sock.wake_receiver()
            self.connection._out.flush()

    def close(self) -> None:
        """Send what is left as far as the kernel takes it, then FIN. No reply is owed, so nothing is waited for."""
        if self.lingers:
            return
        connection = self.connection
        with suppress(FourTupleError):
            with connection._socket.lock:
                self.stream.close()
                connection._socket.wake_senders()
            connection._out.flush()
        release(connection._socket)
