"""How the receiving calls of an async connection wait: all in one way. The stream decides what can be received."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from fourtuple import fast_path
from fourtuple.connection.on_loop import OnLoop
from fourtuple.engine.eager_future import EagerFuture
from fourtuple.engine.readiness import IN
from fourtuple.errors import ConnectionBusy, ConnectionEnded, DeadlinePassed, EndOfFile
from fourtuple.framing import Unmapped
from fourtuple.options import check_timeout
from fourtuple.stream import NOT_YET, Nothing

T = TypeVar("T")


class Receiving(OnLoop):
    """What the receiving calls share."""

    __slots__ = ()

    def _at_hand(self) -> Any:
        """Return the next message if it is in the inbox and nothing else is due; otherwise NOT_YET.

        After NOT_YET :meth:`_receive` decides. If one read brings many messages, this returns each of them without
        :meth:`_receive`.
        """
        stream, channel, receiver = self._stream, self._channel, self._receiver
        engine, inbox = channel.engine, stream.inbox
        share = engine.share
        if (
            not inbox
            or inbox[-1].__class__ is Unmapped
            or share.left <= 1  # the clock must be checked
            or stream._requests
            or (receiver is not None and receiver.waiting)
            or threading.get_ident() != engine.thread
        ):
            return NOT_YET
        share.left -= 1
        message = inbox.pop()
        if not inbox:
            channel.consumed()
        return message

    async def _receive(self, take: Callable[[], T | Nothing], timeout: float | None = None) -> T:
        """Wait until ``take`` returns something or raises. All receiving calls use this.

        ``take`` is a method of the stream, which decides what can be received.
        """
        if self._had_its_share():
            await self._behind_others()
        check_timeout(timeout)
        self._check_sole_receiver()
        while (got := self._take(take)) is NOT_YET:
            if timeout is not None:
                return await self._receive_within(take, timeout)
            await self._waiter()
        return got

    async def _receive_within(self, take: Callable[[], T | Nothing], timeout: float) -> T:
        """Wait like :meth:`_receive`, at most ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await self._waiter()
                    if (got := self._take(take)) is not NOT_YET:
                        return got
        except TimeoutError as error:
            if isinstance(error, DeadlinePassed):
                raise
            raise DeadlinePassed("receive", timeout, str(self.name), "no octet was lost, call receive again") from None

    def _take(self, take: Callable[[], T | Nothing]) -> T | Nothing:
        """Call ``take``, then update the channel: it may have to read again, or to wait for a gap."""
        try:
            return take()
        finally:
            self._channel.consumed()

    def _next(self) -> Any:
        """Return the next message, or NOT_YET. The C calls this for `receive()`."""
        try:
            return self._take(self._stream.take_message)
        except StopIteration as error:  # `await` would take it for the message (PEP 479)
            raise RuntimeError("receiving raised StopIteration") from error

    def _next_iterated(self) -> Any:
        """Return the next message, or NOT_YET. The C calls this for `async for`."""
        try:
            return self._take(self._stream.take_message)
        except (EndOfFile, ConnectionEnded):  # the peer has finished, or this side has
            raise StopAsyncIteration from None
        except StopIteration as error:
            raise RuntimeError("receiving raised StopIteration") from error

    def _check_sole_receiver(self) -> None:
        if threading.get_ident() != self._channel.engine.thread:
            self._check_thread("receive", awaited=True)
        if self._receiver is not None and self._receiver.waiting:
            raise ConnectionBusy(f"{self.name}: another task is receiving")
        if self._stream._requests:
            self._stream.check_receive()

    def _waiter(self) -> EagerFuture:
        """Return the future to await until something arrives; the connection reuses one object."""
        channel, receiver = self._channel, self._receiver
        if not channel.mask & IN:
            channel.consumed()
        if receiver is None:
            receiver = self._receiver = EagerFuture(channel.engine.loop)
        return receiver

    @property
    def _receiving(self) -> bool:
        """Whether a task waits in a receive now."""
        return self._receiver is not None and self._receiver.waiting


if fast_path.turn is not None:
    # The rest of a coroutine's interface, which `await` and asyncio's tasks do not use.
    fast_path.turn.Reception.send = lambda reception, _value, /: next(reception)
