"""The base of all runners: how a conversation begins, ends and drains; how it fails is in failing.py."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.connection.waking import tell_finished, wake_all, wake_receiver, wake_senders
from fourtuple.engine import Channel
from fourtuple.errors import (
    DeadlinePassed,
    MessageError,
)
from fourtuple.framing import Framing, Unmapped
from fourtuple.handlers.failing import Failing, Told
from fourtuple.handlers.handler_timeout import HandlerTimeouts
from fourtuple.handlers.spares import Spares
from fourtuple.handlers.threads import Threads
from fourtuple.options import call_plain, refuse_unrun
from fourtuple.service import ReplyAndClose, Service
from fourtuple.stream import Half, Path, Reason, Stream
from fourtuple.tls import TlsInfo
from fourtuple.tls.certificates import Certificates

_OPEN, _SPECIAL = Half.OPEN, Path.SPECIAL  # used in every turn; a global is faster than an attribute


class Host(Told, Protocol):
    """The part of a server that a runner uses."""

    threads: Threads
    handler_timeouts: HandlerTimeouts

    @property
    def certificates(self) -> Certificates | None:
        """The certificates that start_tls() uses by default."""

    def secured(self, connection: Connection, tls: TlsInfo) -> None:
        """Count a finished TLS handshake, and tell the observer."""

    def leave(self, channel: Channel) -> None:
        """Free the place of a connection that has ended together with its handler. Idempotent."""

    #: The number of threads that run functions of in_thread(), or will, by the runner of the connection.
    in_threads: dict[Runner, int]
    #: The tasks of running handlers: the server ends when they have ended.
    tasks: dict[asyncio.Task[Any], Runner]
    #: The context of which each handler gets a copy.
    context: contextvars.Context
    #: The tasks that run coroutines which wait.
    spares: Spares

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the server runs."""


class Runner(Failing):
    """Passes one connection's messages to the service's handler, and the replies back.

    It is the :class:`~fourtuple.engine.Consumer` of the channel. Subclasses define in :meth:`work` how messages are
    handled, and in :attr:`busy` whether a message is being handled.
    """

    __slots__ = ()

    host: Host

    def __init__(self, host: Host, service: Service, connection: Connection | None, channel: Channel) -> None:
        self.host = host
        self.service = service
        self._connection = connection
        self.channel = channel
        self.stream: Stream = channel.stream

    # -- for subclasses -----------------------------------------------------------------------------------

    def work(self) -> None:
        """Take messages from the stream while there are any that may be handled now."""
        raise NotImplementedError

    @property
    def busy(self) -> bool:
        """Whether a handler is running, or has more replies."""
        return False

    def begin(self) -> None:
        """Start the handler: the connection is open, and the greeting was sent."""

    @property
    def at_work(self) -> bool:
        """Whether a handler is running, which keeps the connection registered after its socket is closed.

        It runs as long as a thread runs a function for it.
        """
        return self in self.host.in_threads

    @property
    def idle_since(self) -> float | None:
        """Since when a thread waits for the peer, without an octet; None if none does."""
        return None

    def finished(self) -> None:
        """Note the peer's end of file. It is not a loss."""
        if self._connection is not None:
            tell_finished(self._connection)

    def lost(self, reason: Reason) -> None:
        """Stop what can be stopped, once: the connection is lost, or was ended without its handler."""

    def spawn(
        self,
        work: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        done: Callable[[asyncio.Task[Any]], None],
    ) -> asyncio.Task[Any]:
        """Run a handler's coroutine in a task that the server knows."""
        tasks = self.host.tasks
        task = self.host.loop.create_task(work, context=context)
        try:
            tasks[task] = self
            task.add_done_callback(tasks.pop)
            task.add_done_callback(done)
        except BaseException:
            task.cancel()  # without its callbacks, its end would go unnoticed
            raise
        return task

    def in_thread(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run a function in a thread of the pool, for :meth:`fourtuple.Connection.in_thread`."""
        future = self.host.threads.run(work, ended=self._thread_left)
        # After run(): if that raises, _thread_left() is never called, and the connection would stay registered.
        self.host.in_threads[self] = self.host.in_threads.get(self, 0) + 1
        return future

    def _thread_left(self) -> None:
        left = self.host.in_threads.pop(self) - 1
        if left:
            self.host.in_threads[self] = left
        else:
            self.channel.leave()

    def guard(self, work: Callable[..., object], *arguments: object) -> None:
        """Call a function at the end of a task or thread. If it raises, only this connection ends."""
        self.channel.engine.guard(self.channel, work, *arguments)

    # -- beginning ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve the channel, and send the greeting."""
        # First, so that a hook that raises finds a channel with a consumer, which can be ended.
        self.channel.start(self)
        if self.service.make_state is not None:
            self._make_state(self.service.make_state)
        if self.service.on_opened is not None and not self.stream.closing:
            self._greet(self.service.on_opened)
        if not self.stream.closing:
            self.begin()

    def _make_state(self, make: Callable[[], Any]) -> None:
        try:
            self.connection.state = state = make()
            if inspect.iscoroutine(state):  # a generator may be the state
                refuse_unrun("state", make, state)
        except BaseException as error:
            self.caught(error, make)

    def _greet(self, opened: Callable[..., Any]) -> None:
        try:
            self.say(opened(self.connection))
        except BaseException as error:
            self.caught(error, opened)

    def say(self, words: Any, framing: Framing | None = None) -> None:
        """Send the return value of a hook or handler; drop it if nothing can be sent any more.

        It goes out in the framing of the message that it answers: ``framing``, or the one that the handler of this
        moment has changed. In all cases it counts as a message of the share: see :class:`~fourtuple.engine.Share`.
        """
        stream = self.stream
        if framing is None:
            framing = stream.reply_framing
        last = isinstance(words, ReplyAndClose)
        message = words.message if last else words
        if stream.pending:
            stream.commit()
        if message is None or stream.writing is not _OPEN:
            self.channel.engine.share.spend()
        elif framing is stream.framing and stream.layer is None and stream.outbox_size < stream.limits.high_water:
            self.connection.send(message)  # in C, if possible
        else:
            self.reply(framing, message)
            self.channel.engine.share.spend()
        if last:
            self.channel.close()

    def say_decision(self, message: Unmapped, framing: Framing | None = None) -> None:
        """Send the service's decision about an unmapped message, as :meth:`say` does.

        A decision that cannot be encoded ends the connection as a hook that raises does: replies before it are sent.
        """
        if self.stream.pending:
            self.stream.commit()  # an error of these is the handler's, and not the hook's
        try:
            self.say(self.decide(message), framing)
        except BaseException as error:
            self.caught(error, self.service.on_unmapped)

    def has_room(self) -> bool:
        """Whether more replies may be sent now. If not, :meth:`writable` is called when they may.

        A crowded outbox is flushed first, because the kernel may take its octets immediately.
        """
        stream = self.stream
        if not stream.crowded:
            return True
        self.channel.flush()
        if stream.crowded:
            self.channel.expect_relief()
            return False
        self.channel.engine.share.look()  # sending so many octets may have taken long
        return True

    # -- the consumer -------------------------------------------------------------------------------------

    def readable(self) -> None:
        """Handle messages, and check whether the stream has ended."""
        stream = self.stream
        if not stream.closing:
            self.work()
        if stream.path is _SPECIAL:
            self.see_end()

    def see_end(self) -> None:
        """End if no message will come any more. Called after :meth:`work`."""
        stream = self.stream
        ended = stream.reading is not _OPEN or stream.read_error is not None
        if ended and not stream.closing and stream.exhausted and not self.busy:
            self.exhausted()

    def writable(self) -> None:
        """Wake senders, and continue the work: the outbox is relieved."""
        if self._connection is not None:
            wake_senders(self._connection)
        self.readable()

    def exhausted(self) -> None:
        """End the connection: no message will come any more, and all are handled."""
        error = self.stream.read_error
        if isinstance(error, MessageError):
            self.message_failed(error)
        else:
            self.channel.close()

    def closed(self) -> bool:
        """Wake all tasks that wait for the connection, whose socket is closed.

        The connection stays registered until its handler has ended.
        """
        if self._connection is not None:
            wake_all(self._connection)
        if self.at_work:
            return False
        self.host.leave(self.channel)
        return True

    def left(self) -> None:
        """Call the ``closed`` hook: the connection is no longer registered."""
        hook = self.service.on_closed
        if hook is not None:
            try:
                call_plain("closed", hook, self.connection)
            except BaseException as error:
                self.report_handler_error(error, hook)
                self.pass_on(error)
        self.stream.let_go()

    def deadline(self, error: DeadlinePassed) -> None:
        """Report a missed deadline and send last words. The channel closes next."""
        self.host.observer(events.DeadlineMissed(self.connection.id, self.connection.name, error))
        self._last_words(error)
        wake_receiver(self.connection)

    def secured(self) -> None:
        """Report the end of a handshake that start_tls() began."""
        if (tls := self.connection.tls) is not None:
            self.host.secured(self.connection, tls)

    def slow(self, seconds: float) -> None:
        """Report that the handler blocked the loop."""
        name = self.handler_name
        self.host.observer(events.HandlerSlow(self.connection.id, self.connection.name, name, seconds))

    # -- draining -----------------------------------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """Whether the connection only waits for the peer's next message.

        No handler is running, nothing waits to be sent, and no message has begun. What a timer or a broadcast queued
        in this moment does not count: otherwise one that sends all the time would keep its peers from a drain.
        """
        stream = self.stream
        return not (self.busy or self.channel.waits_to_send) and (not self.has_spoken or stream.at_boundary)

    @property
    def has_spoken(self) -> bool:
        """Whether the peer has sent an octet of the conversation itself. A header or a handshake does not count."""
        return self.stream.spoken and self.stream.ready

    @property
    def may_half_close(self) -> bool:
        """Whether :meth:`half_close` has something to do."""
        return self.stream.writing is _OPEN

    def half_close(self) -> None:
        """Say goodbye and send FIN; anything that the peer sends from now on is discarded."""
        self.stream.because(Reason.DRAINED)
        self._say_goodbye()
        self.channel.close(Reason.DRAINED)

    def _say_goodbye(self) -> None:
        hook = self.service.on_goodbye
        if hook is None or not self.stream.ready:
            return
        try:
            self.say(hook(self.connection))
        except BaseException as error:
            self.report_handler_error(error, hook)
            self.pass_on(error)

    def take_no_more(self) -> None:
        """Read no further than the next message boundary: the drain's deadline is near. Called repeatedly."""
        self.channel.stop_at_boundary()

    def hang_up(self) -> None:
        """Close: the peer did not answer the half-close in time."""
        self.channel.close(Reason.DRAINED)

    def abort(self) -> None:
        """Abort: the drain's deadline has passed."""
        self.channel.abort()

    def give_up(self) -> None:
        """End the handler by force, if possible: it still runs although the time after the abort is over."""
