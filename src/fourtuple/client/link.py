"""The connections of an async client: what the pool sees of them, and what they report."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Protocol

from fourtuple.client.opening import Waker
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed, EndOfFile
from fourtuple.pool import ConnectionPool, Member
from fourtuple.pool.intake import Intake, unasked
from fourtuple.pool.link import StreamLink
from fourtuple.stream import Half, Reason, Stream


class Owner(Protocol):
    """The client, as far as its connections need to know it."""

    pool: ConnectionPool
    clock: Callable[[], float]

    def _advance(self) -> None:
        """Do what is due: something has changed."""

    def _forget(self, connection: Connection) -> None:
        """The socket of a connection is closed."""


class AsyncLink(StreamLink):
    """A connection on the engine; see :class:`fourtuple.pool.Link`."""

    __slots__ = ("_channel", "_takes_pushes", "connection", "name", "one_way", "stream")

    def __init__(self, connection: Connection, channel: Channel, *, takes_pushes: bool) -> None:
        self.connection: Connection = connection
        self.stream: Stream = channel.stream
        self._channel = channel
        self._takes_pushes = takes_pushes
        self.name: str = str(connection.name)
        #: Whether messages without a reply were sent: the end waits until the server has them.
        self.one_way: bool = False

    def send(self, message: Any) -> None:
        self.stream.send(message)
        self._channel.flush_soon()

    def check(self, *, peek: bool) -> Exception | None:
        stream = self.stream
        if stream.reading is not Half.OPEN or stream.writing is not Half.OPEN:
            return stream.why_nothing()
        if stream.unasked and not self._takes_pushes:
            return unasked(self.name)
        return self._peek() if peek else None

    def _peek(self) -> Exception | None:
        """Look into the kernel's buffer: the engine reads in its next turn what came in this one."""
        sock = self._channel.socket
        if sock is None:
            return self.stream.why_nothing()
        try:
            waiting = sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            return self.stream.named(error)
        if not waiting:
            return EndOfFile(f"{self.name}: the peer sent end of file while the connection was idle")
        # Over TLS these octets need not be a message: a server also sends tickets (RFC 8446, 4.6.1).
        return None if self.sealed or self._takes_pushes else unasked(self.name)

    @property
    def undelivered(self) -> bool:
        return self._channel.holds_unread

    @property
    def taken(self) -> int:
        stream = self.stream
        if stream.writing is not Half.ENDING:
            return stream.octets_out
        # Behind close(), what waits in the outbox still leaves, as far as the peer reads it.
        layer = stream.layer
        return stream.octets_out + stream.outbox_size + (0 if layer is None else layer.holding)

    def close(self) -> None:
        self.connection.close()


class Reader(Waker):
    """The consumer of a channel of a client.

    While the client greets, the connection is an ordinary one. From then on the messages go to the pool, in the turn
    that read them.
    """

    __slots__ = ("_channel", "_intake", "_last_call", "_owner", "link", "member", "stopped")

    def __init__(self, owner: Owner, connection: Connection, channel: Channel) -> None:
        super().__init__(connection, channel)
        self._owner = owner
        self._channel = channel
        #: The connection as the pool sees it.
        self.link: AsyncLink = AsyncLink(connection, channel, takes_pushes=owner.pool.inbox is not None)
        #: None while the client greets.
        self.member: Member | None = None
        #: Whether messages wait in the stream, which does not read meanwhile: the inbox of pushes is full.
        self.stopped: bool = False
        self._intake = Intake(owner.pool, channel.stream)
        #: Ends a connection that lingers after the client's close().
        self._last_call: asyncio.TimerHandle | None = None

    def drain(self) -> None:
        """Pass on every message that has come, as far as the inbox of pushes has room."""
        assert self.member is not None
        self.stopped = self._intake.take_all(self.member, self._owner.clock())
        self._owner._advance()

    def look_at_loop(self) -> None:
        """Close the socket if the loop was closed."""
        self._engine.look_at_loop()

    def go_on(self) -> None:
        """Read again if the pool permits it: the inbox of pushes has room, or a request waits behind the pushes."""
        if self.stopped and self.member is not None and self._owner.pool.may_read(self.member):
            self.drain()
            self._channel.consumed()

    def finish(self) -> None:
        """End the connection of a client that is closed: at once, unless it lingers for messages without a reply."""
        if self.member is None:
            self._connection.abort()  # the client greets: its task is cancelled, and may ignore that
        elif not self.link.one_way:
            # No reply is owed that anyone waits for. What the kernel takes now still leaves, and FIN behind it.
            self._channel.flush()
            self._channel.abort(Reason.CLOSED, reset=False)
        elif self._last_call is None and not self._engine.loop.is_closed():
            seconds = self._channel.deadlines.linger_timeout
            if seconds is not None:
                self._last_call = self._engine.loop.call_later(seconds, self._lingers_no_longer, seconds)

    def _lingers_no_longer(self, seconds: float) -> None:
        """End the connection: ``linger_timeout`` has passed since close(), which waits no longer.

        The channel's own deadline counts from the FIN, which a peer that does not read can delay for long.
        """
        waiting = self.link.stream.outbox_size
        if not waiting:
            self._channel.abort(Reason.CLOSED, reset=False)
            return
        why = f"the client was closed, the peer does not read, {waiting} octets wait"
        self.link.stream.late(DeadlinePassed("linger_timeout", seconds, self.link.name, why))
        self._channel.abort(Reason.DEADLINE)

    def readable(self) -> None:
        if self.member is None:
            super().readable()
        else:
            self.drain()

    def writable(self) -> None:
        super().writable()
        if self.member is not None:
            self._owner._advance()

    def finished(self) -> None:
        super().finished()
        if self.member is not None:
            self._owner.pool.finishing(self.member)

    def deadline(self, error: DeadlinePassed) -> None:
        super().deadline(error)
        if self.member is not None:
            self.drain()

    def closed(self) -> bool:
        # Messages that came before the end are replies that calls wait for.
        if self.member is not None and not self.member.ended:
            self.drain()
        return super().closed()

    def left(self) -> None:
        if self._last_call is not None:
            self._last_call.cancel()
            self._last_call = None
        self._owner._forget(self._connection)
        super().left()
