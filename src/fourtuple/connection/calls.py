"""The calls of an async connection beside its messages: timers, options of its own, and other threads."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, TypeVarTuple, Unpack, cast, overload

from fourtuple.connection.on_loop import OnLoop
from fourtuple.connection.timers import Timer
from fourtuple.engine import Attendant, change_rates
from fourtuple.errors import ConnectionBusy, ConnectionEnded
from fourtuple.framing.checks import as_it_is_now
from fourtuple.options import Deadlines, Limits, refuse_unrun
from fourtuple.options.own import changed_deadlines
from fourtuple.stream import Half
from fourtuple.typevars import Generic, Out_contra

if TYPE_CHECKING:
    from fourtuple.connection.waiters import Waiters
    from fourtuple.ignored import Awaited, Lost, NeverRun, NotRun
    from fourtuple.options.changes import DeadlinesChanges, LimitsChanges

P = ParamSpec("P")
T = TypeVar("T")
#: The types of the arguments of a timer's function.
Arguments = TypeVarTuple("Arguments")


class ConnectionCalls(OnLoop, Generic[Out_contra]):
    """Timers, options and threads of a connection."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _waiting(self) -> Waiters: ...
        def send(self, message: Out_contra) -> object: ...

    # -- timers -------------------------------------------------------------------------------------------

    @overload
    def every(
        self,
        seconds: float,
        function: Callable[[Unpack[Arguments]], Awaited],
        *arguments: *Arguments,
    ) -> Timer: ...
    @overload
    def every(  # type: ignore[overload-overlap]
        self, seconds: float, function: Callable[[Unpack[Arguments]], NeverRun], *arguments: *Arguments
    ) -> Lost: ...
    @overload
    def every(
        self, seconds: float, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments
    ) -> Timer: ...
    def every(self, seconds: float, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments) -> Any:
        """Call ``function(*arguments)`` every ``seconds``, first after ``seconds``, until the connection ends.

        Returns a :class:`Timer`, whose ``cancel()`` ends it earlier. The function is called on the loop. It may be
        async; then the next call waits until the last one is done, and calls that were due meanwhile are left out. What
        it returns is awaited if it can be, so ``connection.every(30, connection.send, b"ping")`` is enough.

        The timer ends with the connection, even when this side closes it. A coroutine that still runs then is
        cancelled. If the function raises, the connection ends as when its handler raises, with an event. A connection
        has at most 64 timers; then :class:`~fourtuple.errors.TooManyTimers` is raised. Raises
        :class:`~fourtuple.errors.OptionError` for ``seconds`` that are not more than 0, and for a generator function,
        which would not run.
        """
        self._check_thread("every")
        return self._waiting.timers.add("every", seconds, True, function, arguments)

    @overload
    def later(
        self,
        seconds: float,
        function: Callable[[Unpack[Arguments]], Awaited],
        *arguments: *Arguments,
    ) -> Timer: ...
    @overload
    def later(  # type: ignore[overload-overlap]
        self, seconds: float, function: Callable[[Unpack[Arguments]], NeverRun], *arguments: *Arguments
    ) -> Lost: ...
    @overload
    def later(
        self, seconds: float, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments
    ) -> Timer: ...
    def later(self, seconds: float, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments) -> Any:
        """Call ``function(*arguments)`` once, after ``seconds``, unless the connection has ended by then.

        For a deadline of your protocol: ``connection.later(10, connection.close)``, and ``cancel()`` what it returned
        when the peer has logged in. Otherwise like :meth:`every`; ``seconds`` may be 0.
        """
        self._check_thread("later")
        return self._waiting.timers.add("later", seconds, False, function, arguments)

    # -- options ------------------------------------------------------------------------------------------

    def change_deadlines(self, **changes: Unpack[DeadlinesChanges]) -> Deadlines:
        """Change deadlines of this connection, ``changes``, in seconds; return all of them.

        ``connection.change_deadlines(idle_timeout=90)`` after a login, for example, or ``message_timeout=None``. They
        apply at once, even to what has begun: a peer that is idle for longer already is closed by the next check. You
        can change ``handshake_timeout``, ``first_message_timeout``, ``message_timeout``, ``idle_timeout``,
        ``handler_timeout``, ``write_timeout``, ``rate_timeout`` and ``linger_timeout``. Raises
        :class:`~fourtuple.errors.OptionError` for others, and for invalid values; then nothing has changed.
        """
        self._check_thread("change_deadlines")
        deadlines = changed_deadlines(self._channel.deadlines, changes)
        self._channel.keep_to(deadlines)
        return deadlines

    def change_limits(self, **changes: Unpack[LimitsChanges]) -> Limits:
        """Change limits of this connection; return all limits that apply to it.

        They stay when :meth:`fourtuple.Server.change_limits` changes others. You can change ``read_size``,
        ``max_batch``, ``high_water``, ``low_water``, ``max_outbox``, ``max_message_rate``, ``max_octet_rate`` and
        ``max_buffered_per_connection``. Raises :class:`~fourtuple.errors.OptionError` for others, and for invalid
        values; then nothing has changed.
        """
        self._check_thread("change_limits")
        channel = self._channel
        limits = channel.stream.change_limits(changes)
        if not channel.ended:
            change_rates(channel)
            channel.flush_soon()  # senders may wait for another mark
            channel.look_again()
        return limits

    # -- threads ------------------------------------------------------------------------------------------

    def send_soon(self, message: Out_contra) -> None:
        """Send one message, from any thread: the loop takes it in its next iteration, in the order of these calls.

        You may fill a ``bytearray`` or ``memoryview`` again after the call, because its octets are copied. Do not
        change any other message, such as a dict: the loop encodes it later.

        It does not wait for the peer; ``max_outbox`` bounds what waits for it. If the connection has ended by then, the
        message is dropped. If it cannot be encoded, or the outbox is full, the connection ends as when its handler
        raises, with an event, because no caller is left that could be told.

        Raises :class:`~fourtuple.errors.ConnectionEnded` if the connection or its loop has ended,
        :class:`~fourtuple.errors.WouldBlock` while 65,536 messages of other threads wait for the loop, and
        :class:`~fourtuple.errors.ConnectionBusy` while a thread or a program has the socket.
        """
        channel, stream = self._channel, self._channel.stream
        if channel.ended or stream.writing is not Half.OPEN:
            raise ConnectionEnded(f"{stream.name}: send_soon() after its end")
        if channel.detached:
            raise ConnectionBusy(f"{stream.name}: a thread or a program has the socket; its handler sends")
        channel.engine.mailbox.post(str(stream.name), functools.partial(self._send_now, as_it_is_now(message)))

    def _send_now(self, message: Out_contra) -> None:
        channel = self._channel
        if not (channel.ended or channel.detached) and channel.stream.writing is Half.OPEN:
            channel.engine.guard(channel, self._send_or_end, message)

    def _send_or_end(self, message: Out_contra) -> None:
        attendant = cast("Attendant | None", self._channel.consumer)
        try:
            self.send(message)
        except BaseException as error:
            if attendant is None:
                raise
            attendant.caught(error)

    @overload  # of any type
    def in_thread(
        self, function: Callable[P, NotRun], /, *arguments: P.args, **keywords: P.kwargs
    ) -> Coroutine[Any, Any, Any]: ...
    @overload
    def in_thread(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, Any]], /, *arguments: P.args, **keywords: P.kwargs
    ) -> NotRun: ...
    @overload
    def in_thread(
        self, function: Callable[P, T], /, *arguments: P.args, **keywords: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    async def in_thread(  # type: ignore[misc]
        self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any
    ) -> Any:
        """Call ``function(*arguments, **keywords)`` in a thread; return what it returns, or raise what it raises.

        So one async handler may decide for each message whether it blocks. The thread is one of the server's
        ``max_threads``; if none is free, accept pauses and the call waits. Context variables are passed on. If the
        task is cancelled, a call that still waits is dropped; one that runs goes on to its end, and the connection
        counts against the limits until then. A client uses a thread of the loop's default executor.

        Raises :class:`~fourtuple.errors.ConnectionEnded` if the connection and its handler have ended, or its loop, and
        :class:`~fourtuple.errors.HandlerMistake` for an async function: await that one without this call.
        """
        self._check_thread("in_thread", awaited=True)
        attendant = cast("Attendant | None", self._channel.consumer)
        if attendant is None:
            raise ConnectionEnded(f"{self._channel.name}: in_thread() after its end")
        engine, error = self._channel.engine, self._stream.read_error
        if engine.look_at_loop() or engine.inert:  # the loop was closed, or is the parent's
            error = error or ConnectionEnded(f"{self._channel.name}: in_thread() after its event loop was closed")
            raise error.with_traceback(None)
        context = contextvars.copy_context()
        result = await attendant.in_thread(functools.partial(context.run, function, *arguments, **keywords))
        if inspect.iscoroutine(result):
            refuse_unrun("in_thread", function, result)
        return result
