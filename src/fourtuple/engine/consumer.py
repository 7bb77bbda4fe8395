"""Who consumes what a channel reads: what the engine calls, and knows nothing else of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fourtuple.errors import DeadlinePassed
from fourtuple.stream import Reason


class Consumer(Protocol):
    """Whoever takes the messages of a channel's stream."""

    @property
    def busy(self) -> bool:
        """Whether a handler is at work: a peer that waits for it does not idle."""

    def readable(self) -> None:
        """The stream has messages, an end of file or an error to give."""

    def writable(self) -> None:
        """The crowded outbox is relieved: senders may go on."""

    def finished(self) -> None:
        """The peer's end of file has come, perhaps behind octets that are not read yet."""

    def lost(self, reason: Reason) -> None:
        """The connection is lost, or was ended over the handler's head: a handler that runs is told, once."""

    def closed(self) -> bool:
        """The socket is closed. Return whether the channel may leave: False while a handler is at work.

        Asked by the sweep until it may; :meth:`Channel.leave` asks at once.
        """

    def left(self) -> None:
        """The channel has left, and nothing of it is at work any more. Called once."""

    def deadline(self, error: DeadlinePassed) -> None:
        """A deadline passed; the channel is closed right after."""

    def secured(self) -> None:
        """A handshake that the program began (start_tls) is done."""

    def slow(self, seconds: float) -> None:
        """The handler held the loop for this long."""


class Inline(Consumer, Protocol):
    """A consumer that replies by a plain function, on the loop."""

    #: The class of a reply behind which the connection is closed.
    last_words: type

    @property
    def _handle(self) -> Callable[[Any], Any]:
        """The function: a message in, a reply out."""

    def say(self, words: Any) -> None:
        """Send what the function returned, whatever it is."""

    def _failed(self, error: BaseException) -> None:
        """The function raised, or its reply cannot be encoded."""
