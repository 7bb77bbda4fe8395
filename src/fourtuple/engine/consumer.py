"""The consumer of a channel's stream: the interface that the engine calls. The engine knows nothing else of it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from fourtuple.errors import DeadlinePassed
from fourtuple.stream import Reason


class Consumer(Protocol):
    """Takes the messages of a channel's stream."""

    @property
    def busy(self) -> bool:
        """Whether a handler is running: a peer that waits for it is not idle."""

    def readable(self) -> None:
        """The stream has messages, an end of file or an error to deliver."""

    def writable(self) -> None:
        """The crowded outbox is relieved: senders may continue."""

    def finished(self) -> None:
        """The peer's end of file has come, perhaps after octets that are not read yet."""

    def lost(self, reason: Reason) -> None:
        """The connection is lost, or was ended without its handler: a running handler is told, once."""

    def closed(self) -> bool:
        """The socket is closed. Return whether the channel may leave: False while a handler is running.

        :meth:`Channel.leave` calls this at once, and the sweep calls it until it returns True.
        """

    def left(self) -> None:
        """The channel has left the engine, and no handler of it is running. Called once."""

    def deadline(self, error: DeadlinePassed) -> None:
        """A deadline passed; the channel is closed immediately afterwards."""

    def secured(self) -> None:
        """A handshake that the program began (start_tls) is done."""

    def slow(self, seconds: float) -> None:
        """The handler held the loop for this long."""


class Handlerless:
    """The calls of a :class:`Consumer` that mean nothing where no handler runs."""

    __slots__ = ()

    busy = False

    def writable(self) -> None:
        """Do nothing: no sender waits."""

    def finished(self) -> None:
        """Do nothing: readable() finds the end of file after the last message."""

    def lost(self, reason: Reason) -> None:
        """Do nothing: no handler runs."""

    def closed(self) -> bool:
        """Return True: no handler runs."""
        return True

    def left(self) -> None:
        """Do nothing: nothing else refers to it."""

    def deadline(self, error: DeadlinePassed) -> None:
        """Do nothing: the channel closes next."""

    def secured(self) -> None:
        """Do nothing: no handler began a handshake."""

    def slow(self, seconds: float) -> None:
        """Do nothing: no handler runs."""


class Attendant(Consumer, Protocol):
    """A consumer whose channel has a connection object: it also runs what a program asks of the connection."""

    def spawn(
        self,
        work: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        done: Callable[[asyncio.Task[Any]], None],
    ) -> asyncio.Task[Any]:
        """Run a coroutine of the connection in a task."""

    def in_thread(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run a blocking function of the connection in a thread; the future gets its outcome."""

    def caught(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """End the connection, with an event: a function that was called for it has raised."""

    def raised(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """As :meth:`caught`, for an exception that ended a task."""


class Inline(Consumer, Protocol):
    """A consumer that replies by a plain function on the loop."""

    #: The class of a reply after which the connection is closed.
    last_words: type

    @property
    def _handle(self) -> Callable[[Any], Any]:
        """The function: it takes a message and returns a reply."""

    def say(self, words: Any) -> None:
        """Send the function's return value, of any kind."""

    def _failed(self, error: BaseException) -> None:
        """The function raised, or its reply cannot be encoded."""
