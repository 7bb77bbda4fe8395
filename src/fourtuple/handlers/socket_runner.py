"""Runs code that needs a blocking socket, in a thread of the pool: one call for each connection.

A plain connection lends its own socket. Where the octets have to pass through the engine (TLS, rates, octets that were
read already, a tap) the code gets one end of a socketpair: see :mod:`fourtuple.handlers.passing`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

from fourtuple import events
from fourtuple.address import FourTuple, Name
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed
from fourtuple.handlers.passing import FarEnd, Passing
from fourtuple.handlers.program_deadlines import ProgramDeadlines, count
from fourtuple.handlers.runner import Host, Runner
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


class SocketRunner(Runner):
    """Calls ``function(sock, peer)`` in a thread; the connection ends when it returns."""

    __slots__ = ("_aborted", "_deadlines", "_function", "_missed", "_passing", "_watch")

    def __init__(
        self,
        host: Host,
        service: Service,
        connection: Connection | None,
        channel: Channel,
        function: Callable[[socket.socket, Any], object],
    ) -> None:
        super().__init__(host, service, connection, channel)
        self._function = function
        self._passing: Passing | None = None
        self._watch: asyncio.Future[Any] | None = None
        self._deadlines: ProgramDeadlines | None = None
        self._missed: DeadlinePassed | None = None
        self._aborted = False

    # -- the call -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.channel.flush()
        if self.channel.ended:
            return
        name = self.stream.name
        peer, local = sockaddr(name), sockaddr(name, local=True)
        sock: socket.socket
        if needs_relay(self.channel):
            self._passing = Passing(self.channel, self._far_over)
            sock = FarEnd.of(self._passing.far, peer, local)
            self._passing.start()
        else:
            # A second descriptor: the code may close its own, and the server still lingers.
            sock = socket.socket(fileno=os.dup(self.channel.hand_on().fileno()))
        self._watch = self.host.threads.run(lambda: self._call(sock, peer), ready=self._begins, ended=sock.close)
        self._watch.add_done_callback(self._returned)

    def _begins(self) -> bool:
        if self._passing is None:
            self._deadlines = ProgramDeadlines(self.channel, self.handler_name, silent_peers=self.service.silent_peers)
            self.channel.engine.on_sweep.append(self._look)
        return True

    def _call(self, sock: socket.socket, peer: Any) -> None:
        with sock:
            self._function(sock, peer)

    def _look(self, now: float) -> None:
        """Read the kernel's counters, and end the connection if a deadline has passed. Called at each sweep."""
        if self._deadlines is None or self._missed is not None or self._aborted:
            return
        count(self.channel, now)
        self._missed = self._deadlines.missed(now)
        if self._missed is not None:
            self.host.observer(events.DeadlineMissed(self.connection.id, self.connection.name, self._missed))
            self.channel.close(Reason.DEADLINE)

    def _returned(self, watch: asyncio.Future[Any]) -> None:
        self._watch = None
        if self._deadlines is not None:
            self._deadlines = None
            self.channel.engine.on_sweep.remove(self._look)
        error = None if watch.cancelled() else watch.exception()
        reason = Reason.ABORTED if watch.cancelled() else Reason.HANDED_ON
        if error is not None and not self._is_expected(error):
            self.report_handler_error(error)
            reason = Reason.HANDLER_ERROR
        self.stream.because(reason)
        if self._passing is None:
            count(self.channel, self.channel.engine.time())
            self.channel.take_back(reason, at_once=self._aborted)
        else:
            self._passing.finish()
            self._passing.outward()
        self.channel.leave()

    def _is_expected(self, error: BaseException) -> bool:
        """Whether an error only tells that the connection was ended from outside."""
        return isinstance(error, OSError | EOFError) and (self._aborted or self._missed is not None)

    def _far_over(self) -> None:
        """Close after the last octet of the code, which has ended."""
        if self._watch is None and not self.stream.closing:
            self.channel.close(self.stream.reason or Reason.HANDED_ON)

    @property
    def busy(self) -> bool:
        return self._watch is not None

    @property
    def at_work(self) -> bool:
        return self._watch is not None or super().at_work

    # -- the consumer -------------------------------------------------------------------------------------

    def readable(self) -> None:
        """Pass on what the peer has sent, if the connection is relayed."""
        if self._passing is not None and not self.stream.closing:
            self._passing.inward()

    def writable(self) -> None:
        if self._passing is not None:
            self._passing.outward()

    def closed(self) -> bool:
        if self._passing is not None:
            self._passing.cut()
        return super().closed()

    # -- the end ------------------------------------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """Whether a drain may let the code see an end of file: it may still send its last reply."""
        return self._watch is not None and not self.stream.outbox_size

    @property
    def may_half_close(self) -> bool:
        return self._watch is not None

    @property
    def has_spoken(self) -> bool:
        if self._passing is None:
            count(self.channel, self.channel.engine.time())
        return super().has_spoken

    def half_close(self) -> None:
        """Let the code see an end of file, by shutdown(2) or over the socketpair."""
        if self._passing is not None:
            self._passing.end_inward()
        else:
            sock = self.channel.socket
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RD)
                except OSError:  # reset meanwhile: the code sees that
                    return

    def take_no_more(self) -> None:
        self.half_close()

    def hang_up(self) -> None:
        """Do nothing: a call that still runs has until the end of the drain."""

    def abort(self) -> None:
        self._aborted = True
        if self._watch is not None and self._deadlines is None and self._passing is None:
            self._watch.cancel()  # it waits for a thread
        super().abort()

    def lost(self, reason: Reason) -> None:
        self._aborted = True


def sockaddr(name: Name, *, local: bool = False) -> Any:
    """Return an end of a connection as the socket module has it."""
    if not isinstance(name, FourTuple):
        return name.path if local else ""
    ip, port = (name.local_ip, name.local_port) if local else (name.remote_ip, name.remote_port)
    return (ip, port, 0, 0) if ":" in ip else (ip, port)
