"""A consumer that takes every message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fourtuple.engine import Channel
from fourtuple.engine.consumer import Handlerless
from fourtuple.errors import DeadlinePassed, MessageError
from fourtuple.stream import Reason


class MessageSink(Handlerless):
    """A consumer that takes every message, and closes the connection when no more can come.

    ``heard`` gets every message. ``relieved`` is called when a crowded outbox is relieved. The slot is told of the
    connection's end separately.
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

    def deadline(self, error: DeadlinePassed) -> None:
        """Give the error to the stream. The channel closes next."""
        self._channel.stream.receive_fails(error)
