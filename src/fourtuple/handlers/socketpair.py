"""A relayed connection: code that needs a socket gets one end of a socketpair, and the engine passes the octets on.

::

    peer <-> [the connection: TLS, rates, limits] <-> SocketpairRelay <-> [socketpair] <-> a thread or a program

Both sides keep to their water marks: what one side does not take is not read from the other.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from fourtuple.engine import Channel
from fourtuple.engine.consumer import Handlerless
from fourtuple.framing.whole import Raw
from fourtuple.options import Deadlines
from fourtuple.stream import Half, Stream

# The far end is this machine's program. The peer's deadlines are kept by the connection itself.
_NO_DEADLINES = Deadlines(first_message_timeout=None, message_timeout=None, write_timeout=None, linger_timeout=None)


class SocketpairRelay(Handlerless):
    """Passes octets between a connection's channel and a socketpair; it is the consumer of the pair's near end.

    The connection's runner calls :meth:`inward` when there is something to read, and :meth:`outward` when its outbox
    is relieved. ``on_over`` is called once nothing more will come from the far end.
    """

    def __init__(self, outer: Channel, on_over: Callable[[], None]) -> None:
        self._outer = outer
        self._on_over = on_over
        #: The end that is not ours: for the program.
        self.far: socket.socket
        near, self.far = socket.socketpair()
        near.setblocking(False)
        limits = outer.stream.limits.replace(max_octet_rate=None, max_message_rate=None)
        stream = Stream(Raw(), outer.stream.name, limits, outer.engine.time())
        self._inner = Channel(outer.engine, near, stream, _NO_DEADLINES)

    def start(self) -> None:
        """Begin to pass octets."""
        self._outer.stream.converse()
        self._inner.stream.converse()
        self._inner.start(self)
        self.inward()

    @property
    def over(self) -> bool:
        """Whether nothing more will come from the far end."""
        return self._inner.ended or (self._inner.stream.exhausted and not self._inner.stream.inbox)

    # -- both directions ----------------------------------------------------------------------------------

    def inward(self) -> None:
        """Pass what the peer has sent to the far end."""
        _pass(self._outer, self._inner)

    def outward(self) -> None:
        """Pass what the far end has sent to the peer."""
        if not self._inner.ended:
            _pass(self._inner, self._outer)
            self._inner.consumed()
        if self.over:
            self._on_over()

    def end_inward(self) -> None:
        """Let the far end see an end of file: the server drains."""
        if self._inner.stream.writing is Half.OPEN:
            self._inner.stream.end_writing()
            self._inner.flush_soon()

    def finish(self) -> None:
        """Take no more from the far end than what it has sent: its owner has ended."""
        sock = self._inner.socket
        if sock is not None:
            with suppress(OSError):
                # What the far end has sent can still be read, and its next write fails (unix(7), EPIPE): a child of the
                # program may still have it.
                sock.shutdown(socket.SHUT_RD)

    def cut(self) -> None:
        """Drop the socketpair: the connection has ended."""
        if not self._inner.ended:
            self._inner.abort(reset=False)

    # -- the consumer of the near end ---------------------------------------------------------------------

    def readable(self) -> None:
        """Pass on what the far end has sent."""
        self.outward()

    def writable(self) -> None:
        """Read from the peer again: the far end has taken what waited."""
        self.inward()
        self._outer.consumed()

    def closed(self) -> bool:
        """Tell that nothing more will come."""
        self._on_over()
        return True

    def left(self) -> None:
        """Release the stream."""
        self._inner.stream.let_go()


def _pass(source: Channel, target: Channel) -> None:
    """Move octets from one stream to the other while it takes them; pass the end of file on."""
    stream, out = source.stream, target.stream
    while not stream.closing and out.writing is Half.OPEN and (stream.inbox or stream.replenish()):
        if out.crowded:
            target.flush()
            if out.crowded:
                target.expect_relief()
                return
        out.send(stream.inbox.pop())
        target.flush_soon()
    if stream.exhausted and out.writing is Half.OPEN and not stream.closing:
        out.end_writing()
        target.flush_soon()


class FarEnd(socket.socket):
    """The far end of a relayed connection: it has the names of the connection, and ignores options of TCP."""

    __slots__ = ("_local", "_peer")
    _local: object
    _peer: object

    @classmethod
    def of(cls, sock: socket.socket, peer: object, local: object) -> FarEnd:
        """Return an object that owns ``sock``, with these names."""
        made = cls(fileno=sock.detach())
        made._peer, made._local = peer, local
        return made

    def getpeername(self) -> object:
        """Return the address of the connection's peer."""
        return self._peer

    def getsockname(self) -> object:
        """Return the address at which the connection came."""
        return self._local

    def setsockopt(self, level: int, *arguments: object) -> None:
        """Set an option; those of TCP belong to the connection itself, which has the server's."""
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *arguments)  # type: ignore[call-overload]
