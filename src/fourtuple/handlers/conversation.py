"""Async conversations: handlers that drive the connection themselves, each in a task."""

from __future__ import annotations

import asyncio
from typing import Any

from fourtuple import fast_path
from fourtuple.connection import Connection
from fourtuple.connection.awaitables import error_of
from fourtuple.connection.waking import is_receiving, wake_senders
from fourtuple.engine import Channel
from fourtuple.handlers import loss
from fourtuple.handlers.runner import Host, Runner
from fourtuple.options import unrun
from fourtuple.service import ConversationHandler, Service
from fourtuple.stream import Half, Reason


class AsyncConversation(Runner):
    """An ``async def`` in a separate task, with a copy of the context."""

    __slots__ = ("_handler", "_lost", "_task")

    def __init__(
        self,
        host: Host,
        service: Service,
        connection: Connection | None,
        channel: Channel,
        handler: ConversationHandler,
    ) -> None:
        super().__init__(host, service, connection, channel)
        self._handler = handler
        self._lost = False
        self._task: asyncio.Task[Any] | None = None

    @property
    def busy(self) -> bool:
        """Whether the handler is running and does not wait in a receive."""
        return self._task is not None and not is_receiving(self.connection)

    def begin(self) -> None:
        self.stream.converse(self.tell_unmapped)
        self._task = self.spawn(self._handler.function(self.connection), self.host.context.copy(), self._finished)

    def readable(self) -> None:
        """Resume the handler in this turn. Its receive tells it of an end of file or an error."""
        connection = self._connection
        if connection is not None and connection._receiver is not None:
            try:
                connection._receiver.wake(at_once=True)
            except (KeyboardInterrupt, SystemExit) as error:
                self.interrupted(error)

    def interrupted(self, error: BaseException) -> None:
        """Keep a Ctrl-C or sys.exit() of the task until the turn's end. :meth:`_finished` handles the task's end."""
        self.pass_on(error)

    def writable(self) -> None:
        wake_senders(self.connection)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        self.guard(self._end_after, task)
        self.channel.leave()

    def _end_after(self, task: asyncio.Task[Any]) -> None:
        error = error_of(task)
        if error is None and not task.cancelled():
            error = unrun("conversation", self._handler.function, task.result())
        if error is not None:
            self.raised(error)
        elif not task.cancelled():
            self.channel.close()
        elif not self.stream.closing:  # else last words may still be in the outbox
            self.channel.abort()

    def half_close(self) -> None:
        """Half-close while the handler waits for an idle peer, so that the peer also ends its direction.

        The handler then receives the end of file as at any other time. If the peer has sent another message meanwhile,
        the handler does not get it, because it could not reply: its receive then ends as after a close().
        """
        if self.stream.writing is Half.OPEN:
            self.stream.half_close(Reason.DRAINED)
            self.channel.flush_soon()
            self.__class__ = HalfClosedConversation

    def take_no_more(self) -> None:
        """Do nothing: the handler itself decides what it reads and when it ends, by the end of file or ``draining``."""

    @property
    def at_work(self) -> bool:
        return self._task is not None or super().at_work

    def lost(self, reason: Reason) -> None:
        if self._task is not None and not self._lost and self._handler.cancel_on_lost:
            loss.tell((self._task,), self.connection, reason)
        self._lost = True


class HalfClosedConversation(AsyncConversation):
    """A conversation that a drain has half-closed. The class is the state, so that no other turn checks for it."""

    __slots__ = ()

    def readable(self) -> None:
        if self.stream.closing:  # the peer has sent more
            self.channel.close(Reason.DRAINED)  # linger_timeout runs now
        super().readable()


if fast_path.turn is not None:
    fast_path.turn.know(AsyncConversation=AsyncConversation)
