"""Awaited replies, each batch in a task: plain functions in threads, ``concurrency=n``, batches."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import GeneratorType
from typing import Any

from fourtuple.connection import Connection
from fourtuple.connection.awaitables import error_of
from fourtuple.connection.waking import is_receiving, until_relieved, wake_receiver
from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed
from fourtuple.framing import Framing, Unmapped
from fourtuple.handlers import loss
from fourtuple.handlers.runner import Host, Runner
from fourtuple.handlers.task_references import TaskReferences, current_task
from fourtuple.service import ReplyHandler, ReplyKind, Service
from fourtuple.stream import Half, Reason


class AwaitedReplies(Runner):
    """One message at a time. One task handles all messages of the inbox, without a task switch for each message."""

    __slots__ = ("_arguments", "_dropped", "_handler", "_in_threads", "_lost", "_task")

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        self._handler = handler
        self._arguments = (self.connection,) if handler.wants_connection else ()
        self._task: asyncio.Task[None] | None = None
        self._lost = False
        #: The number of jobs that run in threads or wait for one. Cancelling the task does not end a running job.
        self._in_threads = 0
        #: A generator that a cancelled task left running in a thread. It is closed when the thread returns.
        self._dropped: GeneratorType[Any, None, None] | None = None

    @property
    def busy(self) -> bool:
        """Whether the task is running."""
        return self._task is not None

    @property
    def at_work(self) -> bool:
        return self.busy or self._in_threads > 0 or super().at_work

    def lost(self, reason: Reason) -> None:
        """Cancel the running handlers; messages in the inbox are dropped."""
        if not self._lost and self._handler.cancel_on_lost:
            loss.tell(self._tasks(), self.connection, reason)
            self._lost = True

    def _tasks(self) -> list[asyncio.Task[Any]]:
        return [] if self._task is None else [self._task]

    def readable(self) -> None:
        """Start the work, or wake the handler if it receives from the connection itself."""
        connection = self._connection
        if connection is not None and is_receiving(connection):
            wake_receiver(connection)
        else:
            super().readable()

    def work(self) -> None:
        stream = self.stream
        if self._task is None and self._lost:
            self.channel.close()
        elif self._task is None and self.has_room() and (stream.inbox or stream.replenish()):
            self._task = self.spawn(self._work(), self.host.context.copy(), self._finished)

    async def _work(self) -> None:
        stream, share = self.stream, self.channel.engine.share
        single = self._handler.kind is ReplyKind.THREAD
        while self._has_next():
            if share.over:
                await self.connection._behind_others()
                continue
            message, framing = stream.inbox.pop(), stream.framing
            arguments = (message, *self._arguments)
            if message.__class__ is Unmapped:
                self.say_decision(message)
            elif single:
                self.say(await self.one_reply(arguments), framing)
            else:
                await self._several_replies(arguments, framing)
            del message, arguments  # release them: a slow peer may make the next line wait long
            if stream.crowded:
                await until_relieved(self.connection)
            self.channel.consumed()

    def _has_next(self) -> bool:
        """Whether there is a message that the task may handle."""
        stream = self.stream
        return not (stream.closing or self._lost) and bool(stream.inbox or stream.replenish())

    async def _several_replies(self, arguments: tuple[Any, ...], framing: Framing) -> None:
        """Pull the replies of a generator while the peer can be written to. The generator is closed in every case."""
        share = self.channel.engine.share
        pull, close = self._pulled_in_thread(arguments)
        try:
            while (reply := await self._in_time(pull())) is not _END:
                self.say(reply, framing)
                if self.stream.writing is not Half.OPEN:
                    return
                if self.stream.crowded:
                    await until_relieved(self.connection)
                elif share.over:
                    await self.connection._behind_others()
        finally:
            await close()

    def _pulled_in_thread(
        self, arguments: tuple[Any, ...]
    ) -> tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]:
        """Call a generator function; return functions that pull the next reply in a thread, and that close it."""
        context = self.host.context.copy()
        replies: GeneratorType[Any, None, None] = self._handler.function(*arguments)

        async def close() -> None:
            if self._in_threads:  # the task was cancelled, but a thread still runs the generator
                self._dropped = replies
            elif inspect.getgeneratorstate(replies) == inspect.GEN_CREATED:
                replies.close()  # it has not started, so closing runs none of its code
            else:
                await self._in_thread(context, replies.close)

        return lambda: self._in_thread(context, next, replies, _END), close

    async def one_reply(self, arguments: tuple[Any, ...]) -> Any:
        """Return the single reply of an ``async def`` or of a function in a thread, within ``handler_timeout``."""
        function = self._handler.function
        if self._handler.kind is ReplyKind.THREAD:
            return await self._in_time(self._in_thread(self.host.context.copy(), function, *arguments))
        return await self._in_time(function(*arguments))

    def _in_time(self, work: Awaitable[Any]) -> Awaitable[Any]:
        seconds = self.channel.deadlines.handler_timeout
        if seconds is None:
            return work
        return self.host.handler_timeouts.bound(work, seconds, str(self.connection.name), self.handler_name)

    def _in_thread(
        self, context: contextvars.Context, function: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        future = self.host.threads.run(lambda: context.run(function, *arguments), ended=self._thread_ended)
        self._in_threads += 1
        return future

    def _thread_ended(self) -> None:
        self._in_threads -= 1
        dropped, self._dropped = self._dropped, None
        if dropped is not None:
            self.guard(self._close_in_thread, dropped)
        self.channel.leave()

    def _close_in_thread(self, replies: GeneratorType[Any, None, None]) -> None:
        self._in_thread(self.host.context.copy(), replies.close).add_done_callback(self._was_closed)

    def _was_closed(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        if error is not None:
            self.report_handler_error(error)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self.guard(self.settle_after, error_of(task), task.cancelled())
        self.channel.leave()

    def settle_after(self, error: BaseException | None, cancelled: bool) -> None:
        """After a handler has ended: report the exception that ended it, or continue.

        ``cancelled`` tells that its task was cancelled, on request if there is no error.
        """
        self.stream.waited(self.channel.engine.time())
        if error is not None:
            self.failed(error)
        elif cancelled:
            if not self.stream.closing:  # else last words may still be in the outbox
                self.channel.abort()
        elif not self.channel.ended:
            # New messages may have come just as the task ended, or the end of file may have waited for it.
            self.readable()
            self.channel.settle()

    def failed(self, error: BaseException) -> None:
        """Handle an exception of a handler, or its missed deadline."""
        if isinstance(error, DeadlinePassed) and error.which == "handler_timeout":
            self.stream.late(error)
            self.deadline(error)
            self.channel.close(Reason.DEADLINE)
        else:
            self.raised(error)


class OneByOne(AwaitedReplies):
    """One message or batch after the other, each in its own context. A task that a handler keeps is used no further."""

    __slots__ = ()

    async def _work(self) -> None:
        """Handle what is in the inbox, in a task. If a handler keeps the task, another one does the rest."""
        references = TaskReferences(current_task())
        references.begin()
        try:
            await self._each(references)
            if references.kept and current_task().cancelling():
                # By a handler that has returned, and its reply is sent: the task has not been cancelled on request.
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
        finally:
            references.end()

    async def _each(self, references: TaskReferences) -> None:
        """Handle what is in the inbox, until a handler has kept the task."""
        while not references.kept and self._has_next():
            await self._one()

    async def _until_relieved(self, task: asyncio.Task[Any]) -> None:
        """Wait until the peer has read, in the task of a handler that has returned.

        If the handler has cancelled its task, do not wait: the cancellation is not for this wait, and the task ends.
        """
        if not task.cancelling():
            await until_relieved(self.connection)

    async def _one(self) -> None:
        """Handle what is next, unless others have to be served first."""
        raise NotImplementedError


_END = object()


class ConcurrentReplies(AwaitedReplies):
    """Handles up to ``concurrency`` messages at once; replies are sent in the order of their messages."""

    __slots__ = ("_limit", "_running", "_slots")

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel, handler)
        self._limit = handler.concurrency
        #: The tasks of the messages, in order, with their framings; and unmapped messages.
        self._slots: deque[tuple[asyncio.Task[Any] | Unmapped, Framing]] = deque()
        #: The tasks that have not ended.
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether a message is being handled or its reply is not sent yet."""
        return bool(self._slots)

    @property
    def at_work(self) -> bool:
        return bool(self._running) or self._in_threads > 0 or self in self.host.in_threads

    def _tasks(self) -> list[asyncio.Task[Any]]:
        return list(self._running)

    def readable(self) -> None:
        """Start the work. If a handler receives itself, start it afterwards with the messages that are left."""
        if is_receiving(self.connection):
            wake_receiver(self.connection)
            # The receiver runs first and takes what it wants; only what is left is for new handlers.
            self.host.loop.call_soon(self._behind_the_receiver)
        else:
            super().readable()

    def _behind_the_receiver(self) -> None:
        if not (self.connection.closed or self.stream.closing or is_receiving(self.connection)):
            self.readable()
            self.channel.settle()

    def work(self) -> None:
        """Start as many messages as there is room for. Messages left in the inbox pause reading."""
        stream, share = self.stream, self.channel.engine.share
        self._answer()
        if self._lost and not self._running:
            self.channel.close()
        while len(self._slots) < self._limit and not (self._lost or stream.closing) and self.has_room():
            if not (stream.inbox or stream.replenish()):
                return
            if share.over:
                self.channel.engine.revisit(self.channel)
                return
            message, framing = stream.inbox.pop(), stream.framing
            share.spend()
            if message.__class__ is not Unmapped:
                work = self._reply_in_turn((message, *self._arguments))
                task = self.spawn(work, self.host.context.copy(), self._one_done)
                self._running.add(task)
                self._slots.append((task, framing))
            elif self._slots:
                self._slots.append((message, framing))  # the decision keeps the order of the messages
            else:
                self.say_decision(message)

    async def _reply_in_turn(self, arguments: tuple[Any, ...]) -> Any:
        """Start when the share allows it: many tasks become ready at once."""
        if self.channel.engine.share.look():
            await self.connection._behind_others()
        return await self.one_reply(arguments)

    def _one_done(self, task: asyncio.Task[Any]) -> None:
        """Send the replies that are due, and start messages for which there is room now."""
        self._running.discard(task)
        self.guard(self._send_those_due)
        self.channel.leave()

    def _send_those_due(self) -> None:
        self.stream.waited(self.channel.engine.time())
        self._answer()
        if not self.connection.closed and not self.stream.closing:
            self.readable()
            self.channel.settle()

    def _answer(self) -> None:
        """Send the replies of finished tasks and unmapped messages at the head of the queue, while the peer reads them.

        All replies together might exceed the outbox, and their handlers have ended and cannot wait for it.
        """
        while self._slots and (isinstance(slot := self._slots[0][0], Unmapped) or slot.done()):
            if not self._waits_for_the_peer():
                self._reply(*self._slots.popleft())
            elif not self.has_room() and self._waits_for_the_peer():
                return  # has_room() has flushed, which may have ended the connection: hence the second test

    def _waits_for_the_peer(self) -> bool:
        stream = self.stream
        return stream.crowded and not stream.closing and stream.writing is Half.OPEN

    def closed(self) -> bool:
        self._answer()  # drops replies that waited for the peer to read, and reports failures
        return super().closed()

    def _reply(self, slot: asyncio.Task[Any] | Unmapped, framing: Framing) -> None:
        if self.stream.closing or self.connection.closed:
            error = None if isinstance(slot, Unmapped) else error_of(slot)
            if error is not None:
                self.failed(error)
        elif not isinstance(slot, Unmapped) and (slot.cancelled() or slot.exception() is not None):
            self.settle_after(error_of(slot), slot.cancelled())
        elif isinstance(slot, Unmapped):
            self.say_decision(slot, framing)
        else:
            try:
                self.say(slot.result(), framing)
            except BaseException as error:
                self.failed(error)
                self.pass_on(error)
