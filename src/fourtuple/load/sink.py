"""A consumer that takes whatever comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed, MessageError
from fourtuple.stream import Reason


class MessageSink:
    """A consumer that takes whatever comes, and closes when nothing more can come.

    ``heard`` gets every message, ``relieved`` is called when a crowded outbox is not any more.
    """

    __slots__ = ("_channel", "heard", "relieved")

    def __init__(
        self,
        channel: Channel,
        heard: Callable[[Any], None] | None = None,
        relieved: Callable[[], None] | None = None,
    ) -> None:
        self._channel = channel
        self.heard = heard
        self.relieved = relieved

    @property
    def busy(self) -> bool:
        """Nothing takes longer than its turn."""
        return False

    def readable(self) -> None:
        """Take all there is."""
        stream = self._channel.stream
        while not stream.closing and (stream.inbox or stream.replenish()):
            message = stream.inbox.pop()
            if self.heard is not None:
                self.heard(message)
        if not stream.closing and stream.exhausted:
            why = Reason.MESSAGE_ERROR if isinstance(stream.read_error, MessageError) else Reason.CLOSED
            self._channel.close(why)

    def writable(self) -> None:
        """The outbox is relieved."""
        if self.relieved is not None:
            self.relieved()

    def finished(self) -> None:
        """readable() finds it behind what is read."""

    def lost(self, reason: Reason) -> None:
        """Nothing is at work that it could be told."""

    def closed(self) -> bool:
        """The slot hears of it by itself."""
        return True

    def left(self) -> None:
        """The slot hears of it by itself."""

    def deadline(self, error: DeadlinePassed) -> None:
        """The channel closes next; the stream says why."""
        self._channel.stream.receive_fails(error)

    def secured(self) -> None:
        """A handshake that the program began is done."""

    def slow(self, seconds: float) -> None:
        """This machine is busy; the result says so."""
