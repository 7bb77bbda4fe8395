"""The tasks that wait in calls of a connection: for room to send, for a handshake, for the end. Receiving is apart.

The timers are also here: few connections have any of these.
"""

from __future__ import annotations

import asyncio

from fourtuple.connection.timers import Timers
from fourtuple.engine import Channel
from fourtuple.engine.eager_future import EagerFuture
from fourtuple.tls import TlsInfo, TlsLayer


def had_its_share(channel: Channel) -> bool:
    """Count one await; return whether the task has used its share of the loop. Call it in the loop's thread."""
    return channel.engine.share.spend()


def behind_others(channel: Channel) -> EagerFuture:
    """Return the future that a task awaits when it has used its share: it is done when other tasks have run."""
    engine, here = channel.engine, asyncio._get_running_loop()
    if here is not None and here is not engine.loop:  # the connection has ended with its loop, and is used in another
        waiter = EagerFuture(here)
        here.call_soon(waiter.wake)
        return waiter
    waiter = EagerFuture(engine.loop)
    engine.go_behind(channel, waiter)
    return waiter


class Waiters:
    """The futures of the waiting tasks, and the timers. A connection makes this object when it first needs one."""

    __slots__ = ("_channel", "_closed", "_finished", "_handshakes", "_timers", "senders")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._closed: asyncio.Future[None] | None = None
        self._finished: asyncio.Event | None = None
        self._handshakes: list[asyncio.Future[None]] = []
        self._timers: Timers | None = None
        #: One future for each task that waits to send.
        self.senders: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        """Whether a task waits that the connection's end wakes by an error or a result."""
        return bool(self.senders or self._handshakes) or (self._closed is not None and not self._closed.done())

    # -- waiting ------------------------------------------------------------------------------------------

    async def until_relieved(self) -> None:
        """Wait until the outbox is below its low mark. If it is already, let other tasks run first if that is due."""
        channel = self._channel
        stream, engine = channel.stream, channel.engine
        channel.flush()
        if not stream.crowded and engine.share.look():
            await behind_others(channel)
        while stream.crowded:
            channel.expect_relief()
            await self._wait(self.senders)
        if stream.write_error is not None:
            raise stream.write_error.with_traceback(None)

    async def until_secured(self, layer: TlsLayer) -> TlsInfo:
        """Wait for the end of the handshake; return what was agreed in it, or raise why it failed."""
        if not layer.established and layer.error is None:
            await self._wait(self._handshakes)
        elif had_its_share(self._channel):
            await behind_others(self._channel)
        if layer.error is not None:
            raise layer.error.with_traceback(None)
        assert layer.info is not None
        return layer.info

    async def until_closed(self) -> None:
        """Wait until the connection's socket is closed."""
        if self._closed is None:
            self._closed = self._channel.engine.loop.create_future()
        await asyncio.shield(self._closed)

    @property
    def timers(self) -> Timers:
        """The timers of the connection."""
        if self._timers is None:
            self._timers = Timers(self._channel)
        return self._timers

    def finished(self) -> asyncio.Event:
        """Return the event that is set when the peer has sent FIN, and when the connection has ended."""
        if self._finished is None:
            self._finished = asyncio.Event()
            if self._channel.ended or self._channel.stream.peer_finished:
                self._finished.set()
        return self._finished

    async def _wait(self, waiters: list[asyncio.Future[None]]) -> None:
        waiter = self._channel.engine.loop.create_future()
        waiters.append(waiter)
        await waiter

    # -- waking -------------------------------------------------------------------------------------------

    def wake_senders(self) -> None:
        """Wake the tasks that wait to send: the outbox has room, or the connection has ended."""
        waiters, self.senders = self.senders, []
        _wake(waiters)

    def wake_secured(self) -> None:
        """Wake the tasks that wait for a handshake: it has ended."""
        waiters, self._handshakes = self._handshakes, []
        _wake(waiters)

    def tell_finished(self) -> None:
        """Set the event of :meth:`finished`."""
        if self._finished is not None:
            self._finished.set()

    def wake_all(self) -> None:
        """Wake the tasks that wait to send and those that wait for the end: the connection has ended."""
        if self._timers is not None:
            self._timers.end()
        self.tell_finished()
        self.wake_senders()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
