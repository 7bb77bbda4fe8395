"""What all runners share: how a conversation begins, fails and ends, and what a drain asks of it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from fourtuple import events
from fourtuple.connection import Connection, tell_finished, wake_all, wake_receiver, wake_senders
from fourtuple.engine import Channel
from fourtuple.engine.fields import ConsumerFields
from fourtuple.errors import (
    ConnectionEnded,
    DeadlinePassed,
    EndOfFile,
    HandlerFailed,
    MessageError,
    UnmappedMessage,
)
from fourtuple.framing import Unmapped
from fourtuple.handlers.threads import Threads
from fourtuple.handlers.timeouts import HandlerTimeouts
from fourtuple.printable import error_text
from fourtuple.service import Handler, ReplyAndClose, Service, function_name
from fourtuple.stream import Half, Path, Reason, Stream
from fourtuple.tls import TlsInfo
from fourtuple.tls.certificates import Certificates

_SPECIAL = Path.SPECIAL  # looked up in every turn


def error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """What left a handler's task; None where it returned, or was asked to end and did.

    A CancelledError that nobody asked for (:meth:`asyncio.Task.cancelling`) is an exception like any other: the
    handler raised it, or awaited something that was cancelled.
    """
    if task.cancelled() and task.cancelling():
        return None  # without an exception for each: there may be a million of them
    try:
        return task.exception()
    except asyncio.CancelledError as error:
        return None if task.cancelling() else error


class Host(Protocol):
    """What a runner needs of its server."""

    observer: events.Observer
    threads: Threads
    handler_timeouts: HandlerTimeouts

    @property
    def certificates(self) -> Certificates | None:
        """What start_tls() uses where it is given nothing else."""

    def connection_of(self, channel: Channel) -> Connection:
        """Make what the handler of this channel's messages holds."""

    def secured(self, connection: Connection, tls: TlsInfo) -> None:
        """A TLS handshake is done: count it, tell the observer."""

    def leave(self, channel: Channel) -> None:
        """A connection has ended, and its handler, too: it holds no place any more. Idempotent."""

    #: The tasks of handlers at work: the server ends when they have.
    tasks: dict[asyncio.Task[Any], Runner]
    #: The context that handlers' contexts are copies of.
    context: contextvars.Context

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that everything runs on."""


class Runner(ConsumerFields):
    """Moves one connection's messages to the service's handler and its replies back.

    It is the :class:`~fourtuple.engine.Consumer` of the channel. Subclasses say in :meth:`work` what happens to
    messages, and in :attr:`busy` whether something is in hand.
    """

    __slots__ = ("host",)

    def __init__(self, host: Host, service: Service, connection: Connection | None, channel: Channel) -> None:
        self.host = host
        self.service = service
        self._connection = connection
        self.channel = channel
        self.stream: Stream = channel.stream

    @property
    def connection(self) -> Connection:
        """What a handler holds; made when somebody asks for it first: a function of the message alone never does."""
        if self._connection is None:
            self._connection = self.host.connection_of(self.channel)
        return self._connection

    # -- for subclasses -----------------------------------------------------------------------------------

    def work(self) -> None:
        """Take messages from the stream while there are any and they may be handled now."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether a handler is at work, or has more to say."""
        return False

    def begin(self) -> None:
        """The connection is open, the greeting said; the handler may start."""

    @property
    def at_work(self) -> bool:
        """Whether a handler is at work, which keeps the connection in the books when its socket is closed."""
        return False

    def finished(self) -> None:
        """The peer's end of file has come: that is no loss."""
        if self._connection is not None:
            tell_finished(self._connection)

    def lost(self, reason: Reason) -> None:
        """The connection is lost, or was ended over the handler's head: stop what can be stopped, once."""

    def spawn(
        self,
        work: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        done: Callable[[asyncio.Task[Any]], None],
    ) -> asyncio.Task[Any]:
        """Run a handler's coroutine in a task that the server knows of."""
        tasks = self.host.tasks
        task = self.host.loop.create_task(work, context=context)
        try:
            tasks[task] = self
            task.add_done_callback(tasks.pop)
            task.add_done_callback(done)
        except BaseException:
            task.cancel()  # nobody would hear of its end
            raise
        return task

    def guard(self, work: Callable[..., object], *arguments: object) -> None:
        """Call what a task or a thread calls at its end: should it raise, that costs this connection alone."""
        self.channel.engine.guard(self.channel, work, *arguments)

    # -- beginning ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve the channel, and greet."""
        self.channel.start(self)
        if self.service.make_state is not None:
            self._make_state(self.service.make_state)
        if self.service.on_opened is not None and not self.stream.closing:
            self._greet(self.service.on_opened)
        if not self.stream.closing:
            self.begin()

    def _make_state(self, make: Callable[[], Any]) -> None:
        try:
            self.connection.state = make()
        except BaseException as error:
            self.caught(error, make)

    def _greet(self, opened: Callable[..., Any]) -> None:
        try:
            self.say(opened(self.connection))
        except BaseException as error:
            self.caught(error, opened)

    def say(self, words: Any) -> None:
        """Send what a hook or a handler returned; dropped when nothing can be sent any more.

        Either way it counts: see :class:`~fourtuple.engine.Share`.
        """
        last = isinstance(words, ReplyAndClose)
        message = words.message if last else words
        if self.stream.pending:
            self.stream.commit()
        if message is not None and self.stream.writing is Half.OPEN:
            self.connection.send(message)
        else:
            self.channel.engine.share.spend()
        if last:
            self.channel.close()

    def has_room(self) -> bool:
        """Whether more may be said now; where the outbox is crowded, :meth:`writable` comes when it may.

        What is in it is tried first: nobody is told of one that the kernel takes at once.
        """
        stream = self.stream
        if not stream.crowded:
            return True
        self.channel.flush()
        if stream.crowded:
            self.channel.expect_relief()
            return False
        self.channel.engine.share.late()  # so many octets take their time
        return True

    # -- the consumer -------------------------------------------------------------------------------------

    def readable(self) -> None:
        """Work, and see whether the stream has come to its end."""
        stream = self.stream
        if not stream.closing:
            self.work()
        if stream.path is _SPECIAL:
            self.see_end()

    def see_end(self) -> None:
        """All that may be handled now is: end, where nothing more will come."""
        stream = self.stream
        ended = stream.reading is not Half.OPEN or stream.read_error is not None
        if ended and not stream.closing and stream.exhausted and not self.busy:
            self.exhausted()

    def writable(self) -> None:
        """Senders may go on, and so may the work."""
        if self._connection is not None:
            wake_senders(self._connection)
        self.readable()

    def exhausted(self) -> None:
        """No message will come any more, and all are handled."""
        error = self.stream.read_error
        if isinstance(error, MessageError):
            self.message_failed(error)
        else:
            self.channel.close()

    def closed(self) -> bool:
        """The socket is closed: wake whoever waits for the connection. It leaves the books with its handler."""
        if self._connection is not None:
            wake_all(self._connection)
        if self.at_work:
            return False
        self.host.leave(self.channel)
        return True

    def left(self) -> None:
        """The connection has left the books."""
        hook = self.service.on_closed
        if hook is not None:
            try:
                hook(self.connection)
            except BaseException as error:
                self.report_handler_error(error, hook)
                self.pass_on(error)
        self.stream.let_go()

    def deadline(self, error: DeadlinePassed) -> None:
        """A deadline passed; the channel closes next."""
        self.host.observer(events.DeadlineMissed(self.connection.id, self.connection.name, error))
        self._last_words(error)
        wake_receiver(self.connection)

    def secured(self) -> None:
        """A handshake that the program began is done."""
        if (tls := self.connection.tls) is not None:
            self.host.secured(self.connection, tls)

    def slow(self, seconds: float) -> None:
        """Something held the loop: name it."""
        name = self.handler_name
        self.host.observer(events.HandlerSlow(self.connection.id, self.connection.name, name, seconds))

    @property
    def handler_name(self) -> str:
        """The handler's name for events."""
        handler: Handler | None = self.service.handler
        return handler.name if handler is not None else ""

    # -- failing ------------------------------------------------------------------------------------------

    def decide(self, message: Unmapped) -> Any:
        """A message that does not map: return what the service replies to it.

        Without a decision of the service it ends the connection as a broken one does, behind the replies before it.
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
        """Tell the observer of a message that does not map and costs no connection."""
        self.host.observer(events.MessageUnmapped(self.connection.id, self.connection.name, error))

    def message_failed(self, error: MessageError | UnmappedMessage) -> None:
        """The peer broke the framing: last words, then close."""
        self.host.observer(events.MessageFailed(self.connection.id, self.connection.name, error))
        self._last_words(error)
        self.channel.close(Reason.MESSAGE_ERROR)

    def caught(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """An exception of any kind was caught where a handler or a hook was called: it costs this connection.

        Those that end programs end the server, too, when the turn is complete.
        """
        self.raised(error, function)
        self.pass_on(error)

    def pass_on(self, error: BaseException) -> None:
        """Let Ctrl-C and sys.exit() go on behind the turn. (Those that end a task are raised by the task itself.)"""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.channel.engine.interrupt(error)

    def raised(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """An exception left a handler: the connection's own end, passed on by it, is not its fault."""
        stream = self.stream
        if isinstance(error, MessageError) and error is stream.read_error:
            self.message_failed(error)
        elif isinstance(error, UnmappedMessage) and error.whom == str(stream.name):
            self.message_failed(error)  # nobody made a decision
        elif (error is stream.read_error or error is stream.write_error or error is stream.cause) or (
            # These are raised anew each time. Who spoke just as the runtime closed (a drain, a deadline) did no wrong.
            (isinstance(error, EndOfFile) and stream.reading is not Half.OPEN)
            or (isinstance(error, ConnectionEnded) and stream.reason in (Reason.DRAINED, Reason.DEADLINE))
        ):
            self.channel.close()
        else:
            self.handler_failed(error, function)

    def handler_failed(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """A handler raised: its connection pays for it, behind the replies made before."""
        self.report_handler_error(error, function)
        failed = HandlerFailed(f"{self.connection.name}: {self.handler_name} raised {error_text(error)}")
        failed.__cause__ = error
        self._last_words(failed)
        self.channel.close(Reason.HANDLER_ERROR)

    def report_handler_error(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """Tell the observer."""
        name = function_name(function) if function is not None else self.handler_name
        self.host.observer(events.HandlerRaised(self.connection.id, self.connection.name, name, error))

    def _last_words(self, error: Exception) -> None:
        hook = self.service.on_failed
        if hook is None or self.stream.writing is not Half.OPEN:
            return
        try:
            words = hook(error, self.connection)
            if words is not None and self.stream.writing is Half.OPEN:
                self.connection.send(words)
        except BaseException as second:
            self.report_handler_error(second, hook)
            self.pass_on(second)

    # -- draining -----------------------------------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """Whether nothing is missing but the peer's next message: nothing in hand, nothing to send, none begun."""
        stream = self.stream
        return not (self.busy or stream.outbox_size) and (not self.has_spoken or stream.at_boundary)

    @property
    def has_spoken(self) -> bool:
        """Whether the peer has sent something of the conversation itself; a header or a handshake is none of it."""
        return self.stream.spoken and self.stream.ready

    def half_close(self) -> None:
        """Say goodbye by FIN; what the peer sends from now on is discarded."""
        self.channel.close(Reason.DRAINED)

    def take_no_more(self) -> None:
        """The drain's deadline is near: read no further than the next message boundary. Called again and again."""
        self.channel.stop_at_boundary()

    def hang_up(self) -> None:
        """The goodbye was not answered in time: wait no longer."""
        self.channel.close(Reason.DRAINED)

    def abort(self) -> None:
        """The time is up."""
        self.channel.abort()

    def give_up(self) -> None:
        """The time after an abort is up, too, and the handler has not ended: the last means, where there is one."""
