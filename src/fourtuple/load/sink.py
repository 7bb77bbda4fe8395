"""A consumer that takes every message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed, MessageError
from fourtuple.stream import Reason


class MessageSink:
    """A consumer that takes every message, and closes the connection when no more can come.

    ``heard`` gets every message. ``relieved`` is called when a crowded outbox is relieved.
    """

    __slots__ = ("_channel", "heard", "relieved")

    def __init__(
        self,
        channel: Channel,
        heard: Callable[[Any], None] | None = None,
        relieved: Callable[[], None] | None = None,
    ) -> None:
        self._channel = channel
        self.heard: Callable[[Any], None] | None = heard
        self.relieved: Callable[[], None] | None = relieved

    @property
    def busy(self) -> bool:
        """False: no message is handled longer than its turn."""
        return False

    def readable(self) -> None:
        """Take all messages."""
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
        """Do nothing: readable() finds the end of file after the last message."""

    def lost(self, reason: Reason) -> None:
        """Do nothing: no handler is running."""

    def closed(self) -> bool:
        """Return True: the slot is told separately."""
        return True

    def left(self) -> None:
        """Do nothing: the slot is told separately."""

    def deadline(self, error: DeadlinePassed) -> None:
        """Give the error to the stream. The channel closes next."""
        self._channel.stream.receive_fails(error)

    def secured(self) -> None:
        """Do nothing when a handshake that the program began is done."""

    def slow(self, seconds: float) -> None:
        """Do nothing when a turn is slow: the result shows how busy this machine was."""
