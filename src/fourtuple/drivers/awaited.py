"""Replies that are awaited: ``async def``, async generators, and plain functions in threads."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from fourtuple.connection import Connection
from fourtuple.drivers.base import Driver, Host
from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed
from fourtuple.service import ReplyHandler, ReplyKind, Service
from fourtuple.stream import Reason


class AwaitedReplies(Driver):
    """One message at a time: one task works through whatever the inbox holds, without a switch per message."""

    __slots__ = ("_arguments", "_context", "_function", "_kind", "_task")

    def __init__(
        self, host: Host, service: Service, connection: Connection, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        self._function: Callable[..., Any] = handler.function
        self._kind = handler.kind
        self._arguments = (connection,) if handler.wants_connection else ()
        #: The conversation's own copy: what a handler sets is seen by its next call, and by no other connection's.
        self._context: contextvars.Context = host.context.copy()
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether the task is at work."""
        return self._task is not None

    def work(self) -> None:
        stream = self.stream
        if self._task is None and not stream.crowded and (stream.inbox or stream.replenish()):
            self._task = self._spawn(self._work(), self._finished)

    def _spawn(self, work: Coroutine[Any, Any, Any], done: Callable[[asyncio.Task[Any]], None]) -> asyncio.Task[Any]:
        task = self.host.loop.create_task(work, context=self._context)
        task.add_done_callback(done)
        return task

    async def _work(self) -> None:
        stream = self.stream
        while not stream.closing and (stream.inbox or stream.replenish()):
            message = stream.inbox.pop()
            async for reply in self._replies(message):
                self.say(reply)
                if stream.closing:
                    return
                if stream.crowded:
                    await self.connection.relieved()
            self.channel.consumed()

    async def _replies(self, message: Any) -> AsyncIterator[Any]:
        """The handler's replies to one message, whatever its kind."""
        arguments = (message, *self._arguments)
        if self._kind is ReplyKind.ASYNC_GENERATOR:
            replies = self._function(*arguments)
            try:
                async for reply in replies:
                    yield reply
            finally:
                await replies.aclose()
        elif self._kind is ReplyKind.THREAD_GENERATOR:
            iterator: Iterator[Any] = self._function(*arguments)
            while (reply := await self._in_thread(next, iterator, _END)) is not _END:
                yield reply
        else:
            yield await self.one_reply(arguments)

    async def one_reply(self, arguments: tuple[Any, ...]) -> Any:
        """The single reply of an ``async def`` or of a function in a thread, within the handler's deadline."""
        seconds = self.channel.deadlines.handler_timeout
        if self._kind is ReplyKind.THREAD:
            call: Any = self._in_thread(self._function, *arguments)
        else:
            call = self._function(*arguments)
        if seconds is None:
            return await call
        timer = asyncio.timeout(seconds)
        try:
            async with timer:
                return await call
        except TimeoutError:
            if timer.expired():
                raise DeadlinePassed("handler_timeout", seconds, str(self.connection.name), self.handler_name) from None
            raise

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        context = self._context.copy()
        return self.host.threads.run(lambda: context.run(function, *arguments))

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self.settle_after(task)

    def settle_after(self, task: asyncio.Task[Any]) -> None:
        """A task has ended: report its failure, or go on."""
        if task.cancelled():
            self.channel.abort()
            return
        error = task.exception()
        if error is not None:
            self.failed(error)
            return
        if not self.connection.closed:
            # The task may have ended just as new messages came; and the end of file may have been waiting for it.
            self.readable()
            self.channel.settle()

    def failed(self, error: BaseException) -> None:
        """A handler raised, or took too long."""
        if isinstance(error, DeadlinePassed) and error.which == "handler_timeout":
            self.deadline(error)
            self.channel.close(Reason.DEADLINE)
        elif self.stream.write_error is not error:
            self.handler_failed(error)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


_END = object()


class ConcurrentReplies(AwaitedReplies):
    """Up to ``concurrency`` messages at once; the replies leave in the order of the messages."""

    __slots__ = ("_limit", "_slots")

    def __init__(
        self, host: Host, service: Service, connection: Connection, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel, handler)
        self._limit = handler.concurrency
        self._slots: deque[asyncio.Task[Any]] = deque()

    @property
    def busy(self) -> bool:
        """Whether a message is being worked on."""
        return bool(self._slots)

    def work(self) -> None:
        """Begin as many messages as there is room for; what is left in the inbox stops the reading."""
        stream = self.stream
        while len(self._slots) < self._limit and not stream.crowded and (stream.inbox or stream.replenish()):
            arguments = (stream.inbox.pop(), *self._arguments)
            self._slots.append(self._spawn(self.one_reply(arguments), self._one_done))

    def _one_done(self, _task: asyncio.Task[Any]) -> None:
        """Send the replies whose turn it is: those of finished tasks at the head."""
        while self._slots and self._slots[0].done():
            task = self._slots.popleft()
            if self.stream.closing or self.connection.closed:
                if not task.cancelled():
                    task.exception()
                continue
            if task.cancelled() or task.exception() is not None:
                self.settle_after(task)
                continue
            try:
                self.say(task.result())
            except Exception as error:
                self.failed(error)
        if not self.connection.closed and not self.stream.closing:
            self.readable()
            self.channel.settle()

    def cancel(self) -> None:
        for task in list(self._slots):
            task.cancel()
