"""Blocking conversations: a plain ``def`` in a thread, which has the socket meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from fourtuple.blocking.connection import BlockingConnection, give_back, half_close_now, is_receiving
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import UnmappedMessage
from fourtuple.handlers.runner import Host, Runner
from fourtuple.handlers.unhurried import unhurried
from fourtuple.options import call_plain
from fourtuple.service import ConversationHandler, Service
from fourtuple.stream import Half, Reason
from fourtuple.tls import TlsInfo

#: The most unmapped messages of one thread that wait to be reported: more would block the loop and accumulate.
_MOST_UNTOLD = 64
#: Seconds for which a thread waits to report one: a loop that has ended never takes it.
_PATIENCE = 1.0


class ThreadConversation(Runner):
    """A plain ``def`` in a thread of the pool, with a blocking connection on the same stream.

    The engine keeps the socket until the peer's first octet (unless the service speaks first), so that a silent peer
    occupies no thread. Then the socket is unregistered, made blocking, and given to the thread until the handler ends.
    """

    __slots__ = ("_blocking", "_future", "_handler", "_untold")

    def __init__(
        self,
        host: Host,
        service: Service,
        connection: Connection | None,
        channel: Channel,
        handler: ConversationHandler,
    ) -> None:
        super().__init__(host, service, connection, channel)
        self._handler = handler
        self._future: asyncio.Future[Any] | None = None
        self._blocking: BlockingConnection | None = None
        self._untold: threading.Semaphore | None = None

    @property
    def busy(self) -> bool:
        """Whether a thread is running and does not wait in a receive, or the connection waits for a thread."""
        return self._future is not None and not (self._blocking is not None and is_receiving(self._blocking))

    @property
    def at_work(self) -> bool:
        return self._future is not None

    @property
    def idle_since(self) -> float | None:
        stream = self.stream
        waits = self._blocking is not None and is_receiving(self._blocking)
        return stream.last_activity if waits and stream.awaits_octets else None

    def begin(self) -> None:
        if self._handler.speaks_first:
            self._engage()

    def readable(self) -> None:
        """Ask for a thread at the first octet, or close if the end came before it."""
        stream = self.stream
        if self._future is not None or stream.closing or (stream.held_back and not stream.replenish()):
            return  # waiting for a rate needs no thread
        if self.stream.spoken or not self.stream.at_boundary:  # not at_boundary: a hook has put octets back
            self._engage()
        elif self.stream.exhausted:
            self.channel.close()

    def _engage(self) -> None:
        """Ask for a thread. Until one is free, the engine continues to read, and so notices a peer that leaves."""
        self._future = self.host.threads.run(self._converse, ready=self._lend)
        self._future.add_done_callback(self._returned)

    def _lend(self) -> bool:
        """Give the socket to a free thread. Returns False if the connection has ended before."""
        self.channel.flush()
        if self.channel.ended or self.stream.closing:
            return False
        sock = self.channel.detach()
        blocking: BlockingConnection = BlockingConnection(
            sock, self.stream, self.connection.id, certificates=self.host.certificates, on_tls=self._secured
        )
        blocking.state, blocking.service_state = self.connection.state, self.connection.service_state
        self.stream.tell_unmapped(self._unmapped)
        self._blocking = blocking
        self._untold = threading.Semaphore(_MOST_UNTOLD)
        return True

    def _converse(self) -> None:
        """Run the handler. Called in a thread of the pool."""
        assert self._blocking is not None  # _lend() ran before
        context: contextvars.Context = self.host.context.copy()
        context.run(_converse, self._handler.function, self._blocking)

    def _secured(self, tls: TlsInfo) -> None:
        """Report that the handler has started TLS. Called in its thread."""
        self.host.loop.call_soon_threadsafe(self.host.secured, self.connection, tls)

    def _unmapped(self, error: UnmappedMessage) -> None:
        """Report an unmapped message. Called in the handler's thread, which waits if it is faster than the observer."""
        assert self._untold is not None
        self._untold.acquire(timeout=_PATIENCE)
        self.host.loop.call_soon_threadsafe(self._tell_unmapped, self._untold, error)

    def _tell_unmapped(self, untold: threading.Semaphore, error: UnmappedMessage) -> None:
        untold.release()
        self.tell_unmapped(error)

    def _returned(self, future: asyncio.Future[Any]) -> None:
        self.guard(self._end_after, future)
        self._future = self._blocking = None
        self.channel.leave()

    def _end_after(self, future: asyncio.Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        self.channel.reattach()
        if error is not None:
            self.caught(error)
        self.channel.close()

    def half_close(self) -> None:
        """Half-close while the thread waits in a receive at a message boundary: the peer's FIN then wakes it.

        If it takes a message in this moment, do nothing.
        """
        if self.channel.detached and self.stream.writing is Half.OPEN:
            if self._blocking is not None:
                half_close_now(self._blocking, Reason.DRAINED)
        elif not self.channel.detached:
            super().half_close()

    def lost(self, reason: Reason) -> None:
        """Cancel the wait for a thread. A running thread is told by its next call."""
        if self._future is not None and self._blocking is None:
            self._future.cancel()


def _converse(function: Callable[[BlockingConnection], Any], blocking: BlockingConnection) -> None:
    """Run the handler, then give the socket back to the engine. Called in the handler's thread."""
    try:
        with unhurried():
            call_plain("conversation", function, blocking)
    finally:
        give_back(blocking)
