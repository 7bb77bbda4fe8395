"""Runs an asyncio.Protocol or BufferedProtocol on a channel: the code between the stream and the protocol's methods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fourtuple import events
from fourtuple.adapters.starttls import allow_start_tls
from fourtuple.adapters.transport import ChannelTransport
from fourtuple.adapters.turns import let_take_turns
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import EndOfFile, OutboxFull
from fourtuple.handlers import Host, Runner
from fourtuple.service import Service
from fourtuple.stream import Half, Reason

#: Reasons for which a protocol's ``connection_lost`` gets None, as when asyncio's transport is closed or aborted.
_REGULAR = (Reason.CLOSED, Reason.PEER_CLOSED, Reason.DRAINED, Reason.ABORTED)


class ProtocolRunner(Runner):
    """One protocol object for each connection, made by ``factory(runner)``.

    The protocol's methods are called in the order that asyncio promises: ``connection_made``, then ``data_received``
    (or ``get_buffer`` and ``buffer_updated``) any number of times, ``eof_received`` at most once, ``connection_lost``
    once. If one of them raises, the connection ends.
    """

    __slots__ = (
        "_eof",
        "_error",
        "_factory",
        "_lost",
        "_tasks",
        "gone",
        "is_buffered",
        "paused",
        "reader",
        "transport",
    )

    def __init__(
        self,
        host: Host,
        service: Service,
        connection: Connection | None,
        channel: Channel,
        factory: Callable[[ProtocolRunner], asyncio.BaseProtocol],
    ) -> None:
        super().__init__(host, service, connection, channel)
        self._factory = factory
        self.transport: ChannelTransport = ChannelTransport(self, host.loop)
        #: Whether the protocol has asked for no octets.
        self.paused: bool = False
        #: Whether the protocol gets no more octets: it has closed, or the connection has ended.
        self.gone: bool = False
        self.is_buffered: bool = False
        #: Whether the protocol was told of the end of file.
        self._eof = False
        #: Whether connection_lost() was called: None before connection_made(), False until then.
        self._lost: bool | None = None
        self._error: BaseException | None = None
        self._tasks = 0
        #: The reader of a streams callback, which runs in a task; None for other protocols.
        self.reader: asyncio.StreamReader | None = None

    @property
    def busy(self) -> bool:
        """Whether a streams callback is running and does not wait for the peer. Of other protocols it is unknown."""
        return self._tasks > 0 and self.reader is not None and self.reader._waiter is None  # type: ignore[attr-defined]

    @property
    def is_told(self) -> bool:
        """Whether the protocol knows that its connection is lost."""
        return self._lost is True and not self._tasks

    @property
    def left_behind(self) -> str:
        """What a ResourceWarning calls it if its loop is closed before it: ``unclosed transport``, as asyncio says."""
        return f"transport {self.transport!r}"

    # -- beginning ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.stream.converse()
        allow_start_tls(self.host.loop)
        try:
            protocol = self._factory(self)
            let_take_turns(protocol, self.channel)
            self.transport.set_protocol(protocol)
        except BaseException as error:
            self._raises(error)
            return
        self._tasks += 1
        self.host.loop.call_soon(self._make)

    def _make(self) -> None:
        """Call ``connection_made``, in an iteration of the loop after the factory, as asyncio does."""
        self._tasks -= 1
        self._lost = False
        try:
            self.transport._protocol.connection_made(self.transport)
        except BaseException as error:
            self._raises(error)
        if self.channel.ended:  # or it was ended before
            self._lose(self._why())
            self.channel.leave()
        else:
            self.channel.look_again()

    def run(self, work: Any) -> None:
        """Run a coroutine of this connection in a task: the stop of the server waits for it."""
        self._tasks += 1
        self.spawn(work, self.host.context.copy(), self._ran)

    def _ran(self, task: asyncio.Task[Any]) -> None:
        self._tasks -= 1
        self.guard(self._after, task)
        self.channel.leave()

    def _after(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.raised(error)
        elif task.cancelled():
            self.aborts(None)

    # -- in -----------------------------------------------------------------------------------------------

    def readable(self) -> None:
        stream = self.stream
        if self._lost is None:
            return
        while not self.paused and not self.gone and (stream.inbox or stream.replenish()):
            data = stream.inbox.pop()
            try:
                rest = self._buffered(data) if self.is_buffered else self.transport._protocol.data_received(data)
            except BaseException as error:
                self._raises(error)
                return
            if rest:
                stream.inbox.append(rest)
        if not self.paused:
            self.see_end()

    def _buffered(self, data: bytes) -> bytes | None:
        """Copy octets into the protocol's buffers; return the rest if it pauses, closes or is replaced meanwhile."""
        view, protocol = memoryview(data), self.transport._protocol
        while view:
            buffer = memoryview(protocol.get_buffer(len(view))).cast("B")
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            count = min(len(buffer), len(view))
            buffer[:count] = view[:count]
            protocol.buffer_updated(count)
            view = view[count:]
            if view and (self.paused or self.gone or self.transport._protocol is not protocol):
                return None if self.gone else bytes(view)
        return None

    def exhausted(self) -> None:
        """Tell the protocol of the end of file; or end, if it is none but an error."""
        error = self.stream.read_error
        if error is not None and not isinstance(error, EndOfFile):
            self.gone = True
            self.channel.close()
            self._lose(error)
        else:
            self._finish()

    def _finish(self) -> None:
        if self._eof or self.gone:
            return
        self._eof = True
        try:
            keep_open = self.transport._protocol.eof_received()
        except BaseException as error:
            self._raises(error)
            return
        if not keep_open:
            self.transport.close()

    # -- out ----------------------------------------------------------------------------------------------

    def writable(self) -> None:
        if self.gone:
            self._see_sent()
        else:
            self.transport.relieved()

    def overflows(self, error: OutboxFull) -> None:
        """End the connection: the protocol writes faster than its peer reads, and does not pause."""
        self.stream.note_cause(error)
        self.report_handler_error(error)
        self._error = error
        self.gone = True
        self.channel.abort(Reason.LIMIT)

    # -- the end ------------------------------------------------------------------------------------------

    def closes(self) -> None:
        """Close after what was written; then the protocol is told, even while the peer's FIN is awaited."""
        self.gone = True
        if self._eof and self.stream.reading is Half.OPEN:
            self.stream.because(Reason.DRAINED)
        self.channel.close()
        self._see_sent()

    def _see_sent(self) -> None:
        """Tell the protocol once its last octet is sent."""
        self.channel.flush()
        stream = self.stream
        if stream.outbox_size and not self.channel.ended:
            if stream.limits.low_water and not self.transport.resumes():
                stream.change_limits({"low_water": 0})
            self.channel.expect_relief()
        elif stream.writing is not Half.ENDING or self.channel.ended:
            self._lose(None)
        else:
            self.channel.expect_relief()

    def aborts(self, error: BaseException | None) -> None:
        """Close at once."""
        self._error = self._error or error
        self.gone = True
        self.channel.abort(reset=False)

    def _raises(self, error: BaseException) -> None:
        """End the connection: a method of the protocol raised."""
        self._error = self._error or error
        self.caught(error)
        self.gone = True
        self._see_sent()

    def lost(self, reason: Reason) -> None:
        """Note that the connection is lost. The protocol is told when its socket is closed."""
        self.transport.resume_reading()  # what was received before is delivered first

    def closed(self) -> bool:
        self.gone = True
        self._lose(self._error or self._why())
        return super().closed()

    def _why(self) -> BaseException | None:
        """Return the error for ``connection_lost``; None if the connection has ended regularly."""
        stream = self.stream
        if stream.reason in _REGULAR and not stream.cause:
            return None
        return stream.cause or stream.write_error or stream.read_error

    def _lose(self, error: BaseException | None) -> None:
        """Call ``connection_lost`` in the next iteration of the loop, as asyncio does, once."""
        if self._lost is False:
            self._lost = True
            if error is None and self._error is None and self.stream.reason is not Reason.ABORTED:
                self.transport.resumes()  # all is sent
            self._tasks += 1
            self.host.loop.call_soon(self._tell_lost, self._error or error)

    def _tell_lost(self, error: BaseException | None) -> None:
        self._tasks -= 1
        try:
            self.transport._protocol.connection_lost(error)
        except BaseException as raised:
            self.report_handler_error(raised)
            self.pass_on(raised)
        self.channel.leave()

    @property
    def at_work(self) -> bool:
        return self._tasks > 0 or super().at_work

    def raised(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        super().raised(error, function)
        if not self.gone:
            self._error = self._error or error
            self.gone = True
            self._see_sent()

    # -- draining -----------------------------------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        return self._lost is not None and super().at_rest

    def half_close(self) -> None:
        """Let the protocol see an end of file: it may still send its last reply, and closes as at any other time."""
        self.stream.because(Reason.DRAINED)
        self.channel.stop_at_boundary()
        self._finish()

    def take_no_more(self) -> None:
        """Do as for an idle connection: only the protocol knows where its messages end."""
        self.half_close()

    def hang_up(self) -> None:
        """Close: the protocol did not close after the end of file."""
        self.gone = True
        self.channel.close(Reason.DRAINED)
        self._see_sent()

    def secured(self) -> None:
        """Do nothing: what the program begins by start_tls() is asyncio's own."""

    def deadline(self, error: Any) -> None:
        self.gone = True
        self.host.observer(events.DeadlineMissed(self.connection.id, self.connection.name, error))
        self._error = self._error or error
