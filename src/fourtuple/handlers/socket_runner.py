"""Runs code that needs a blocking socket, in a thread of the pool: one call for each connection."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed
from fourtuple.handlers.handoff import HandoffRunner
from fourtuple.handlers.runner import Host
from fourtuple.handlers.socketpair import FarEnd
from fourtuple.net.names import sockaddr_of
from fourtuple.service import Service
from fourtuple.stream import Reason


class SocketRunner(HandoffRunner):
    """Calls ``function(sock, peer)`` in a thread; the connection ends when it returns."""

    __slots__ = ("_aborted", "_function", "_missed", "_watch")

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
        self._watch: asyncio.Future[Any] | None = None
        self._missed: DeadlinePassed | None = None
        self._aborted = False

    # -- the call -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.channel.flush()
        if self.channel.ended:
            return
        peer = sockaddr_of(self.stream.name)
        given = self.hand_over()
        sock: socket.socket
        if self._relay is not None:
            sock = FarEnd.of(given, peer, sockaddr_of(self.stream.name, local=True))
        else:
            # A second descriptor: the code may close its own, and the server still lingers.
            sock = socket.socket(fileno=os.dup(given.fileno()))
        self._watch = self.host.threads.run(lambda: self._call(sock, peer), ready=self._begins, ended=sock.close)
        self._watch.add_done_callback(self._ended)

    def _begins(self) -> bool:
        self.begin_deadlines()
        return True

    def _call(self, sock: socket.socket, peer: Any) -> None:
        with sock:
            self._function(sock, peer)

    def _look(self, now: float) -> None:
        """Read the kernel's counters, and end the connection if a deadline has passed. Called at each sweep."""
        if self._deadlines is None or self._missed is not None or self._aborted:
            return
        self.count()
        self._missed = self._deadlines.missed(now)
        if self._missed is not None:
            self.host.observer(events.DeadlineMissed(self.connection.id, self.connection.name, self._missed))
            self.channel.close(Reason.DEADLINE)
            if self._relay is not None:
                self._relay.cut()

    def _ended(self, watch: asyncio.Future[Any]) -> None:
        self._watch = None
        error = None if watch.cancelled() else watch.exception()
        reason = Reason.ABORTED if watch.cancelled() else Reason.HANDED_ON
        if error is not None and not self._is_expected(error):
            self.report_handler_error(error)
            reason = Reason.HANDLER_ERROR
        self.take_back(reason, at_once=self._aborted)
        self.channel.leave()

    def _is_expected(self, error: BaseException) -> bool:
        """Whether an error only tells that the connection was ended from outside."""
        return isinstance(error, OSError | EOFError) and (self._aborted or self._missed is not None)

    @property
    def busy(self) -> bool:
        return self._watch is not None

    @property
    def at_work(self) -> bool:
        return self._watch is not None or super().at_work

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
        self.count()
        return super().has_spoken

    def half_close(self) -> None:
        """Let the code see an end of file, by shutdown(2) or over the socketpair."""
        if self._relay is not None:
            self._relay.end_inward()
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
        if self._watch is not None and self._deadlines is None and self._relay is None:
            self._watch.cancel()  # it waits for a thread
        super().abort()

    def lost(self, reason: Reason) -> None:
        self._aborted = True
