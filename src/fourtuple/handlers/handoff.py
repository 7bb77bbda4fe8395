"""The base of runners whose code uses a socket itself: a program, a handler of socketserver.

A plain connection lends its own socket. Where the octets have to pass through the engine (TLS, rates, octets that were
read already, a tap) the code gets one end of a socketpair: see :mod:`fourtuple.handlers.socketpair`.
"""

from __future__ import annotations

import socket

from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.handlers.program_deadlines import ProgramDeadlines, count
from fourtuple.handlers.runner import Host, Runner
from fourtuple.handlers.socketpair import SocketpairRelay
from fourtuple.service import Service
from fourtuple.stream import Reason


def needs_relay(channel: Channel) -> bool:
    """Return whether the octets of a connection have to pass through the engine."""
    stream = channel.stream
    return (
        stream.layer is not None
        or stream.throttle is not None
        or stream.tap is not None
        or bool(stream.inbox or stream.outbox_size or stream.decoder.buffered)
    )


class HandoffRunner(Runner):
    """Hands a socket over, and takes the connection back when the code has ended."""

    __slots__ = ("_deadlines", "_relay", "_returned")

    def __init__(self, host: Host, service: Service, connection: Connection | None, channel: Channel) -> None:
        super().__init__(host, service, connection, channel)
        #: The relay, for a connection whose octets pass through the engine.
        self._relay: SocketpairRelay | None = None
        self._deadlines: ProgramDeadlines | None = None
        self._returned = False

    def hand_over(self) -> socket.socket:
        """Return the socket for the code: the connection's own, or the far end of a socketpair."""
        # Without a relay, the octets do not pass through this process: the program reads the socket by itself.
        if not needs_relay(self.channel):
            return self.channel.hand_on()
        self._relay = relay = SocketpairRelay(self.channel, self._over)
        relay.start()
        return relay.far

    def begin_deadlines(self) -> None:
        """Start the deadlines: the code begins."""
        self._deadlines = ProgramDeadlines(self.channel, self.handler_name, silent_peers=self.service.silent_peers)
        self.channel.engine.on_sweep.append(self._look)

    def _look(self, now: float) -> None:
        """Called at each sweep while the deadlines run."""
        raise NotImplementedError

    def count(self) -> None:
        """Count the octets by the kernel's counters, if the engine does not see them."""
        if self._relay is None:
            count(self.channel, self.channel.engine.time())

    def take_back(self, reason: Reason, *, at_once: bool = False) -> None:
        """End the connection, after the last octet of the code, which has ended."""
        self._returned = True
        if self._deadlines is not None:
            self._deadlines = None
            self.channel.engine.on_sweep.remove(self._look)
        # Before the socket is closed: afterwards TCP_INFO cannot be read (tcp(7)).
        self.count()
        self.stream.because(reason)
        if self._relay is None:
            self.channel.take_back(reason, at_once=at_once)
        elif at_once:
            self.channel.abort(reset=False)
        else:
            self._relay.finish()
            self._relay.outward()

    def _over(self) -> None:
        if self._returned and not self.stream.closing:
            self.channel.close(self.stream.reason or Reason.HANDED_ON)

    # -- the consumer -------------------------------------------------------------------------------------

    def readable(self) -> None:
        """Pass on what the peer has sent, if the connection is relayed."""
        if self._relay is not None and not self.stream.closing:
            self._relay.inward()

    def writable(self) -> None:
        if self._relay is not None:
            self._relay.outward()

    def closed(self) -> bool:
        if self._relay is not None:
            self._relay.cut()
        return super().closed()
