"""The connections of a blocking client, as its pool sees them. No call waits, except those that say so."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.ending import release
from fourtuple.blocking.shared_socket import Latest
from fourtuple.errors import ConnectionBusy, ConnectionEnded, EndOfFile, FourTupleError
from fourtuple.pool import ConnectionPool, Member
from fourtuple.pool.intake import Intake, unasked
from fourtuple.pool.link import StreamLink
from fourtuple.stream import Half, Stream

#: The most reads without waiting: a server that sends without end must not hold the call.
_MOST_READS = 16


class BlockingLink(StreamLink):
    """A blocking connection; see :class:`fourtuple.pool.Link`."""

    __slots__ = (
        "_intake",
        "_pool",
        "_takes_pushes",
        "connection",
        "lingers",
        "member",
        "name",
        "one_way",
        "reader",
        "stream",
    )

    def __init__(self, connection: BlockingConnection, pool: ConnectionPool) -> None:
        self.connection: BlockingConnection = connection
        self.stream: Stream = connection._stream
        self.name: str = str(connection.name)
        self._pool = pool
        self._takes_pushes = pool.inbox is not None
        self._intake = Intake(pool, self.stream)
        #: Set when the pool has the connection.
        self.member: Member | None = None
        #: The thread that waits for octets here.
        self.reader: int | None = None
        #: Whether messages without a reply were sent, and whether the client itself closes the connection therefore.
        self.one_way: bool = False
        self.lingers: bool = False

    @property
    def reading(self) -> bool:
        """Whether a thread waits for octets here."""
        return self.reader is not None

    @property
    def taken(self) -> int:
        return self.stream.octets_out + self.connection._out.uncounted

    def send(self, message: Any) -> None:
        connection, stream = self.connection, self.stream
        connection._out.put("request", lambda: stream.send(message))
        with suppress(ConnectionEnded):  # another thread has just ended it; the pool learns that from its reader
            connection._out.flush()

    @property
    def undelivered(self) -> bool:
        receiving = self.connection._in
        return receiving.has_arrived or receiving.has_unread()

    def look(self, member: Member, now: float) -> None:
        """Pass on what has come, without waiting, if no thread reads here."""
        for _ in range(_MOST_READS):
            before = self.stream.octets_in
            if self.reading or member.ended:
                return
            if self.wait(self.connection._socket.clock()) is not None:
                return  # its own reader reports that
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

    def wait(self, until: float | None) -> Exception | None:
        """Wait until a message, an end or an error has come, or until a moment.

        Returns the error if another thread receives here, which is not one of the client's: it takes the replies.
        """
        try:
            self.connection._in.wait_for(lambda: self.stream.readable, None, "receive", until)
        except ConnectionBusy as error:
            return left_receiving(self.name, error)
        except FourTupleError:
            pass  # what ended the connection, take_all() or who has closed it passes on
        return None

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
            sock.latest = Latest(now + sock.deadlines.linger_timeout, sock.deadlines.linger_timeout)
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


def left_receiving(name: str, error: ConnectionBusy) -> ConnectionBusy:
    """Return the error for a connection on which a thread of the program receives: it would take the replies."""
    busy = ConnectionBusy(f"{name}: greet= has left a thread that receives on this connection, which the client uses")
    busy.__cause__ = error.with_traceback(None)
    return busy
