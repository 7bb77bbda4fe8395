"""Replies of a plain function in threads: what one read brought goes to a thread in one hand-over, and back in one.

A hand-over costs far more than a short function. But a slow function must not hold the replies to the first messages of
a read. So after a millisecond the loop takes what is there, and from then on the thread hands back each reply. A reply
that the function could change in place, such as a bytearray or a dict, goes back before the next message is handled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.framing import Framing, Unmapped
from fourtuple.handlers.runner import Host
from fourtuple.handlers.tasks import AwaitedReplies
from fourtuple.handlers.threads import fit_for_a_future
from fourtuple.service import ReplyHandler, Service
from fourtuple.stream import Half, Reason

#: The octets for which a reply counts that is not bytes: how long it is shows when it is encoded, on the loop.
_VALUE = 4096
#: Besides bytes, replies of these classes may wait for the loop while the function makes the next one: it cannot change
#: them in place. Others are not encoded in the thread, because a program's encoder need not be safe in several threads.
_UNCHANGING = frozenset({str, int, float, bool, type(None)})


class Batch:
    """The messages of one read: the job of one thread."""

    __slots__ = (
        "_context",
        "_function",
        "_runner",
        "each",
        "error",
        "framing",
        "handing_back",
        "inbox",
        "many",
        "outcomes",
        "room",
        "stopped",
    )

    def __init__(self, runner: ThreadReplies, function: Callable[[Any], Any], room: int) -> None:
        self._runner = runner
        self._function = function
        stream = runner.stream
        #: In reverse order. The loop empties it in place if the connection closes or the framing changes.
        self.inbox: list[Any] = stream.inbox
        self.many: bool = len(stream.inbox) > 1
        self.framing: Framing = stream.framing
        #: The octets of replies for which there is room in the outbox.
        self.room: int = room
        self._context = runner.host.context
        #: The replies that the loop has not taken yet.
        self.outcomes: deque[Any] = deque()
        #: What the function raised, or the loop when it encoded a reply.
        self.error: BaseException | None = None
        #: Whether no other message is to be handled.
        self.stopped: bool = False
        #: Whether each reply is handed back at once, and whether the loop was asked to take what is there.
        self.each: bool = False
        self.handing_back: bool = False

    def needed(self) -> bool:
        """Whether there is anything to do. Called on the loop."""
        return not self.stopped

    def __call__(self) -> None:
        """Handle the messages. Called in a thread."""
        try:
            self._handle_all()
        except BaseException as error:
            self.error = fit_for_a_future(error)

    def _handle_all(self) -> None:
        inbox, function, context, room = self.inbox, self._function, self._context, self.room
        while room > 0 and not self.stopped:
            try:
                # The service's hook decides about it, and runs on the loop.
                if inbox[-1].__class__ is Unmapped:
                    return
                message = inbox.pop()
            except IndexError:  # all are handled, or the loop has emptied it
                return
            # A context can be entered once at a time, so threads need a copy each; and what a handler sets is for its
            # message alone.
            reply = context.copy().run(function, message)
            # Not held while the thread waits for its next job.
            del message
            self.outcomes.append(reply)
            if isinstance(reply, bytes):
                room -= len(reply)
            elif reply.__class__ in _UNCHANGING:
                room -= _VALUE
            else:  # the loop encodes it, or closes, before the next message is handled
                return
            if self.each and not self.handing_back:
                self.handing_back = True
                self._hand_back()

    def _hand_back(self) -> None:
        """Let the loop take the replies so far. Called in the thread."""
        with suppress(RuntimeError, MemoryError):  # the loop is closed; or it takes them at the end
            self._runner.host.loop.call_soon_threadsafe(self._runner.take, self)

    def look_in(self) -> None:
        """Take the replies so far, and from now on each at once. Called on the loop."""
        self.each = True
        self._runner.take(self)

    def finish(self) -> None:
        """Go on: no thread handles the batch any more. Called on the loop."""
        self._runner.batch_ended(self)

    def drop(self) -> None:
        """Go on: no thread has handled the batch. Called on the loop."""
        self._runner.batch_ended(self)


class ThreadReplies(AwaitedReplies):
    """A plain function of the message alone, in threads, batch by batch. With a ``handler_timeout``, one by one."""

    __slots__ = ("_batch",)

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel, handler)
        self._batch: Batch | None = None

    @property
    def busy(self) -> bool:
        """Whether a thread handles messages, or they wait for one."""
        return self._batch is not None or self._task is not None

    def lost(self, reason: Reason) -> None:
        """Stop before the next message."""
        if self._task is not None:
            super().lost(reason)
        elif not self._lost:
            self._lost = True
            if self._batch is not None:
                self._batch.stopped = True
                self.host.loop.call_soon(self.host.threads.give_up, self._batch)  # if it waits for a thread

    def work(self) -> None:
        if self._batch is not None:
            return
        if self._task is not None or self._lost or self.channel.deadlines.handler_timeout is not None:
            super().work()
            return
        stream, share = self.stream, self.channel.engine.share
        while self.has_room() and (stream.inbox or stream.replenish()):
            if stream.inbox[-1].__class__ is not Unmapped:
                self._hand_over()
                return
            self.say_decision(stream.inbox.pop())
            if stream.closing:
                return
            if share.over:
                self.channel.engine.revisit(self.channel)
                return

    def _hand_over(self) -> None:
        """Give the messages of the inbox to a thread."""
        stream = self.stream
        batch = Batch(self, self._handler.function, stream.limits.high_water - stream.outbox_size)
        self._batch = batch
        self.host.threads.start(batch)

    def take(self, batch: Batch) -> None:
        """Put the replies that are here into the outbox. Called on the loop."""
        batch.handing_back = False
        try:
            self._answer(batch)
        except BaseException as error:
            batch.stopped = True
            batch.error = error
            batch.outcomes.clear()

    def _answer(self, batch: Batch) -> None:
        stream, outcomes, share = self.stream, batch.outcomes, self.channel.engine.share
        while outcomes:
            reply = outcomes.popleft()
            if stream.closing or self._lost:
                batch.stopped = True
            elif isinstance(reply, bytes) and stream.framing is batch.framing and stream.writing is Half.OPEN:
                stream.pending.append(reply)
                share.spend()
            else:
                self.say(reply, batch.framing)
        if stream.pending:
            stream.commit()
            self.channel.flush_soon()

    def batch_ended(self, batch: Batch) -> None:
        """Go on: no thread handles the batch any more. Called on the loop."""
        self._batch = None
        self.guard(self._after, batch)
        self.channel.leave()

    def _after(self, batch: Batch) -> None:
        self.take(batch)
        if self._lost:
            self.settle_after(None, cancelled=True)
            return
        error, batch.error = batch.error, None
        if error is not None:
            self.stream.waited(self.channel.engine.time())
            self.caught(error)
        else:
            self.channel.consumed()
            self.settle_after(None, cancelled=False)
