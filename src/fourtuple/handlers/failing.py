"""What becomes of a connection whose handler raises, or whose peer sends an invalid message.

The observer is told, the hook ``failed`` may send last words, and the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.engine.fields import ConsumerFields
from fourtuple.errors import ConnectionEnded, EndOfFile, HandlerFailed, MessageError, UnmappedMessage
from fourtuple.framing import Framing, Unmapped
from fourtuple.printable import error_text
from fourtuple.service import Handler, Service, function_name
from fourtuple.stream import Half, Reason, Stream


class Told(Protocol):
    """The part of a server that is told of failures, and that knows whose they are."""

    observer: events.Observer

    def connection_of(self, channel: Channel) -> Connection:
        """Make the connection object for this channel's handler."""


class Failing(ConsumerFields):
    """The part of a runner that handles errors."""

    __slots__ = ()

    host: Told
    service: Service
    channel: Channel
    stream: Stream
    _connection: Connection | None

    @property
    def connection(self) -> Connection:
        """The handler's connection object. It is made at its first use: a handler of the message alone needs none."""
        if self._connection is None:
            self._connection = self.host.connection_of(self.channel)
        return self._connection

    @property
    def handler_name(self) -> str:
        """The handler's name for events."""
        handler: Handler | None = self.service.handler
        return handler.name if handler is not None else ""

    def decide(self, message: Unmapped) -> Any:
        """Return the service's reply to an unmapped message.

        Without an ``unmapped`` hook it ends the connection, as an invalid message does, after the earlier replies.
        """
        error, hook = self.stream.unmapped(message), self.service.on_unmapped
        if hook is None:
            self.message_failed(error)
            return None
        self.tell_unmapped(error)
        try:
            return hook(message, self.connection)
        except BaseException as raised:
            self.caught(raised, hook)
            return None

    def tell_unmapped(self, error: UnmappedMessage) -> None:
        """Report an unmapped message that does not end the connection."""
        self.host.observer(events.MessageUnmapped(self.connection.id, self.connection.name, error))

    def message_failed(self, error: MessageError | UnmappedMessage) -> None:
        """Send last words, then close: the peer sent an invalid message."""
        self.host.observer(events.MessageFailed(self.connection.id, self.connection.name, error))
        self._last_words(error)
        self.channel.close(Reason.MESSAGE_ERROR)

    def caught(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """Handle any exception of a handler or hook: it ends this connection.

        KeyboardInterrupt and SystemExit also end the server, when the turn is complete.
        """
        self.raised(error, function)
        self.pass_on(error)

    def pass_on(self, error: BaseException) -> None:
        """Raise Ctrl-C and sys.exit() again after the turn. (If they end a task, the task itself raises them.)"""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.channel.engine.interrupt(error)

    def raised(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """Handle an exception of a handler. It is not the handler's fault if it only passes on the connection's end."""
        stream = self.stream
        if isinstance(error, MessageError) and error is stream.read_error:
            self.message_failed(error)
        elif isinstance(error, UnmappedMessage) and error.whom == str(stream.name):
            self.message_failed(error)  # the handler did not catch it
        elif (error is stream.read_error or error is stream.write_error or error is stream.cause) or (
            # These exceptions are new objects at each raise. A handler that sends just as the server closes (a drain, a
            # deadline) is not at fault.
            (isinstance(error, EndOfFile) and stream.reading is not Half.OPEN)
            or (isinstance(error, ConnectionEnded) and stream.reason in (Reason.DRAINED, Reason.DEADLINE))
        ):
            self.channel.close()
        else:
            self.handler_failed(error, function)

    def handler_failed(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """End the connection because a handler raised, after the earlier replies and last words."""
        self.report_handler_error(error, function)
        failed = HandlerFailed(f"{self.connection.name}: {self.handler_name} raised {error_text(error)}")
        failed.__cause__ = error
        self._last_words(failed)
        self.channel.close(Reason.HANDLER_ERROR)

    def report_handler_error(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """Tell the observer that a handler or hook raised."""
        name = function_name(function) if function is not None else self.handler_name
        self.host.observer(events.HandlerRaised(self.connection.id, self.connection.name, name, error))

    def _last_words(self, error: Exception) -> None:
        hook = self.service.on_failed
        if hook is None or self.stream.writing is not Half.OPEN:
            return
        try:
            words = hook(error, self.connection)
            if words is not None and self.stream.writing is Half.OPEN:
                self.reply(self.stream.framing, words)
        except BaseException as second:
            self.report_handler_error(second, hook)
            self.pass_on(second)

    def reply(self, framing: Framing, message: Any) -> None:
        """Send what a handler or hook has returned, in the framing of its message."""
        self.stream.reply(framing, message)
        self.channel.flush_soon()
