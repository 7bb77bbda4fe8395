"""Replies of an ``async def`` or an async generator: coroutines that are run at once, without a task if none waits."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from types import FunctionType, MethodType
from typing import Any

from fourtuple import fast_path
from fourtuple.connection import Connection
from fourtuple.connection.waking import is_receiving, until_relieved, wake_receiver
from fourtuple.engine import Channel, Share
from fourtuple.framing import Framing, Unmapped
from fourtuple.handlers.inline import RepliesOfBatch
from fourtuple.handlers.runner import Host
from fourtuple.handlers.spares import CancelledOnRequest, in_context
from fourtuple.handlers.task_references import TaskReferences, current_task
from fourtuple.handlers.tasks import AwaitedReplies, OneByOne
from fourtuple.handlers.with_connection import with_connection
from fourtuple.service import ReplyHandler, ReplyKind, Service
from fourtuple.stream import Half, Stream

_OPEN = Half.OPEN  # used for every message; a global is faster than an attribute


class EagerReplies(RepliesOfBatch, OneByOne):
    """One message at a time, each in its own context.

    The coroutine of a message takes its first step in the turn that received the message, in which a spare task stands
    in as the current one. Most coroutines end in this step. The task runs one that waits, and then the messages that
    have come meanwhile.
    """

    __slots__ = ("_function",)

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        AwaitedReplies.__init__(self, host, service, connection, channel, handler)
        #: Makes the coroutine of a message. ``_handle`` is the same while no handler is under way.
        self._function = self._coroutine_function(handler)
        self._handle = self._function
        host.spares.begin()

    def _coroutine_function(self, handler: ReplyHandler) -> Callable[[Any], Coroutine[Any, Any, Any]]:
        """Return a function whose call runs no code: it makes the coroutine of a message."""
        function: Callable[..., Coroutine[Any, Any, Any]] = handler.function
        if handler.kind is ReplyKind.ASYNC_GENERATOR:
            self.host.spares.expect_generators()
            return self._all_replies
        if not isinstance(function, FunctionType | MethodType) or not function.__code__.co_flags & inspect.CO_COROUTINE:
            return self._awaited  # a call of it may run code, and may return any awaitable
        if handler.wants_connection:
            return with_connection(function, self.connection)
        return function

    @property
    def busy(self) -> bool:
        """Whether a handler is running."""
        return self._handle is None

    def _tasks(self) -> list[asyncio.Task[Any]]:
        if self._task is not None:
            return [self._task]
        running = asyncio.current_task(self.host.loop) if self._handle is None else None
        return [] if running is None else [running]  # it stands in

    # -- the first step -----------------------------------------------------------------------------------

    def readable(self) -> None:
        """Start the work, or wake the handler if it receives from the connection itself."""
        connection = self._connection
        if connection is not None and is_receiving(connection):
            wake_receiver(connection)
        else:
            RepliesOfBatch.readable(self)

    def work(self) -> None:
        if self._handle is None:
            return
        if self._lost:
            self.channel.close()
        elif self.host.spares.ready():
            RepliesOfBatch.work(self)
            self.channel.leave()  # if a handler has ended its own connection
        elif self.has_room() and (self.stream.inbox or self.stream.replenish()):
            self._begin_task()

    def _begin_task(self) -> None:
        """Handle the messages of the inbox in a task of their own: no task can stand in now."""
        self._handle = None
        self._task = self.spawn(self._work(), self.host.context.copy(), self._finished)

    def _run(
        self, stream: Stream, handle: Callable[[Any], Coroutine[Any, Any, Any]], share: Share, room: int, /
    ) -> tuple[Any, int]:
        """Let coroutines take their first step. As the C does: see engine/_turn/replies.c."""
        spares, inbox, framing = self.host.spares, stream.inbox, stream.framing
        reply: Any = None
        if not spares.ready():
            self._begin_task()
            return None, room
        waiting: tuple[Coroutine[Any, Any, Any], Framing, contextvars.Context, Any] | None = None
        # None while handlers run: a handler that receives from its own connection comes back here, and must not start
        # another.
        self._handle, worn = None, False
        task = spares.enter()
        try:
            # Both times through the attribute: from 3.14 on, a local variable counts in some expressions only.
            references = sys.getrefcount(spares.task)
            while room > 0 and inbox and reply is None and not worn:
                if share.left <= 0 and share.look():
                    break
                message = inbox.pop()
                if message.__class__ is Unmapped:
                    inbox.append(message)
                    break
                share.left -= 1
                framing, context, coroutine = stream.framing, spares.context.copy(), handle(message)
                del message
                try:
                    waiting = coroutine, framing, context, context.run(coroutine.send, None)
                    break
                except StopIteration as stop:
                    reply = stop.value
                except BaseException as error:
                    other = spares.replace(error)  # the exception's traceback may refer to the task
                    if other is None or other is error:
                        raise
                    raise other from error
                del coroutine
                parked = spares.parked
                if parked is None or parked._callback is None or sys.getrefcount(spares.task) != references:
                    worn = True
                    spares.replace(None)
                if stream.outbox_size:  # it may have sent, besides what it returns
                    room = min(room, stream.limits.high_water - stream.outbox_size)
                if stream.framing is not framing:
                    self.say(reply, framing)
                    reply, room = None, stream.limits.high_water - stream.outbox_size
                elif isinstance(reply, bytes):
                    stream.pending.append(reply)
                    reply, room = None, room - len(reply)
        finally:
            spares.leave(task)
            if waiting is None:
                self._handle = self._function
        if waiting is not None:
            self._go_on_with(*waiting)
        return reply, room

    # -- the other steps ----------------------------------------------------------------------------------

    def _go_on_with(
        self, coroutine: Coroutine[Any, Any, Any], framing: Framing, context: contextvars.Context, yielded: Any
    ) -> None:
        """Let the task that stood in run a coroutine that waits, and the messages behind it. The C also calls it."""
        spares = self.host.spares
        task = spares.task
        assert task is not None
        self._enter(task)
        spares.adopt(self._finish(in_context(coroutine, context, yielded), framing, task), self._next, self._went_on)

    def _enter(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self.host.tasks[task] = self

    def _exit(self, task: asyncio.Task[Any]) -> None:
        self._task = None  # the task may run another handler next
        self.host.tasks.pop(task, None)

    async def _finish(self, waiting: Awaitable[Any], framing: Framing, task: asyncio.Task[Any]) -> None:
        try:
            self.say(await self._in_time(waiting), framing)
            del waiting
            if self.stream.crowded:
                await self._until_relieved(task)
            self.channel.consumed()
        finally:
            self._exit(task)

    def _next(self, references: TaskReferences) -> Coroutine[Any, Any, None] | None:
        """Return the work of the other messages, for the task that stood in; None if none can be handled now."""
        return self._others(references) if self._has_next() else None

    async def _others(self, references: TaskReferences) -> None:
        self._enter(current_task())
        own = references.begin()  # with the references of _enter()
        try:
            await self._each(references)
        finally:
            self._exit(current_task())
            references.go_back(own)

    async def _each(self, references: TaskReferences) -> None:
        """As the base does, in one coroutine for all messages."""
        stream, share, function, spares = self.stream, self.channel.engine.share, self._function, self.host.spares
        while not references.kept and self._has_next():
            if share.over:
                await self.connection._behind_others()
                continue
            message, framing = stream.inbox.pop(), stream.framing
            if message.__class__ is Unmapped:
                self.say_decision(message)
            elif spares.sharing:
                try:
                    self.say(await self._in_time(function(message)), framing)
                finally:
                    spares.look_at_context()
            else:
                self.say(await self._in_time(in_context(function(message), spares.context.copy())), framing)
            del message  # release it: a slow peer may make the next line wait long
            if stream.crowded:
                await self._until_relieved(current_task())
            self.channel.consumed()

    def _went_on(self, error: BaseException | None, cancelled: bool) -> None:
        self._handle = self._function
        self.guard(self.settle_after, error, cancelled)
        self.channel.leave()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._handle = self._function
        super()._finished(task)

    # -- other functions than an async def ----------------------------------------------------------------

    async def _awaited(self, message: Any) -> Any:
        return await self._handler.function(message, *self._arguments)

    async def _all_replies(self, message: Any) -> None:
        """Pull the replies of an async generator while the peer can be written to, and close it in every case."""
        stream, share, framing = self.stream, self.channel.engine.share, self.stream.framing
        handler = self._handler
        function: Callable[..., AsyncGenerator[Any, None]] = handler.function
        replies = function(message, self.connection) if handler.wants_connection else function(message)
        del message
        # The hook of the interpreter sees it at its first step, which is the next: see OwnGenerators.
        self.host.spares.generators.beginning = replies
        timed = self.channel.deadlines.handler_timeout is not None
        room, ended = stream.limits.high_water, False
        try:
            async for reply in self._in_time_each(replies) if timed else replies:
                if stream.writing is not _OPEN:
                    break
                # In a turn, the reply leaves with those of the other messages.
                if self._task is None and reply.__class__ is bytes and stream.framing is framing and room > 0:
                    stream.pending.append(reply)
                    room -= len(reply)
                    if not share.spend():
                        continue
                else:
                    self.say(reply, framing)
                    room = stream.limits.high_water
                    if stream.writing is not _OPEN:
                        break
                if stream.crowded:
                    await until_relieved(self.connection)
                elif share.over:
                    await self.connection._behind_others()
            else:
                ended = True
        finally:
            if not ended:  # closing one that has ended does nothing, and costs as much as a reply
                await replies.aclose()

    async def _in_time_each(self, replies: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """Pull each reply within ``handler_timeout``."""
        while (reply := await self._in_time(anext(replies, _END))) is not _END:
            yield reply

    # -- failing ------------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> None:
        """A handler raised in its first step, or its reply cannot be encoded."""
        if isinstance(error, CancelledOnRequest):
            self.settle_after(None, cancelled=True)
        else:
            super()._failed(error)

    def left(self) -> None:
        super().left()
        self._function = self._handle = None  # type: ignore[assignment]  # breaks a reference cycle


_END = object()

if fast_path.turn is not None:
    fast_path.turn.know(EagerReplies=EagerReplies, enter_task=_enter_task, leave_task=_leave_task)
