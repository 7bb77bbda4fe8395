"""Replies made by plain functions on the loop: the fastest kind of handler."""

from __future__ import annotations

from collections.abc import Callable
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from fourtuple import fast_path
from fourtuple.connection import Connection
from fourtuple.engine import Channel, Share
from fourtuple.framing import Framing, Unmapped
from fourtuple.handlers.runner import Host, Runner
from fourtuple.handlers.with_connection import with_connection
from fourtuple.service import ReplyAndClose, ReplyHandler, Service
from fourtuple.stream import Half, Path, Stream, Unsendable

_SPECIAL = Path.SPECIAL  # used in every turn; a global is faster than an attribute


class RepliesOfBatch(Runner):
    """All messages of a batch are handled, then all replies are encoded and sent together."""

    __slots__ = ()

    if TYPE_CHECKING:
        _handle: Any

        def _run(self, stream: Stream, handle: Callable[[Any], Any], share: Share, room: int, /) -> tuple[Any, int]:
            """Handle messages of the inbox, as :func:`run` does. The handler is under way if there is none then."""

    def readable(self) -> None:
        stream = self.stream
        if not stream.closing:
            self.work()
        if stream.path is _SPECIAL:
            self.see_end()

    def work(self) -> None:
        """Handle one batch after the other. All replies of a batch are encoded and sent together."""
        stream, share = self.stream, self.channel.engine.share
        while (not stream.outbox_size and stream.path is not _SPECIAL) or self.has_room():
            if not (stream.inbox or stream.replenish()):
                return
            full = len(stream.inbox) >= stream.limits.max_batch
            try:
                more = self._batch(stream, share)
                stream.commit()
            except BaseException as error:
                self._failed(error)
                return
            if not more or stream.closing:
                return
            if full or share.over:
                self.revisit()
                return
            if stream.path is not _SPECIAL and stream.message_since is None:
                return  # no octets of the read are left

    def _batch(self, stream: Stream, share: Share) -> bool:
        """Handle messages until the inbox is empty or the share is spent; False if no more replies may be sent."""
        room = stream.limits.high_water - stream.outbox_size
        while stream.inbox and not share.over:
            reply, room = self._run(stream, self._handle, share, room)
            if self._handle is None:
                return False
            if reply is None and stream.inbox and stream.inbox[-1].__class__ is Unmapped:
                self.say_decision(stream.inbox.pop())
                if stream.closing:
                    return False
                room = stream.limits.high_water - stream.outbox_size
            if isinstance(reply, ReplyAndClose):
                self.say(reply)
                return False
            if reply is not None:
                stream.pending.append(reply)
                stream.commit()
                room = stream.limits.high_water - stream.outbox_size
            if room <= 0:
                stream.commit()
                if not self.has_room():
                    return False
                room = stream.limits.high_water - stream.outbox_size
        return True

    def carry_on(self, full: bool = False) -> None:
        """Continue in Python after the turn in C left the fast path. Its replies are encoded first.

        They are sent with those to the rest of the batch, as in :meth:`work`: an abort in it drops them all. Behind a
        full batch, the next one is served in the next turn.
        """
        try:
            self._commit()
        except BaseException as error:
            self._failed(error)
        stream = self.stream
        if self.has_room() and full and not stream.inbox and not stream.closing:
            self.revisit()
            self.channel.settle()
            return
        self.channel.on_ready(0)

    def _commit(self) -> None:
        """Encode the replies that wait. Raises as :meth:`Stream.commit`."""
        self.stream.commit()

    def revisit(self) -> None:
        """Serve the rest of the messages in the next turn: a batch was full, or the share is spent."""
        self.channel.engine.revisit(self.channel)

    def _failed(self, error: BaseException) -> None:
        try:
            self.stream.commit()
        except BaseException as second:
            self.report_handler_error(second)
            self.pass_on(second)
        self.caught(error)


class InlineReplies(RepliesOfBatch):
    """A plain ``def``: the fastest kind of handler."""

    __slots__ = ()

    last_words: type = ReplyAndClose

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        function = handler.function
        self._handle = function
        if handler.wants_connection:
            self._handle = with_connection(function, self.connection)

    def begin(self) -> None:
        self.channel.inline = self


def run(stream: Stream, handle: Callable[[Any], Any], share: Share, room: int) -> tuple[Any, int]:
    """Call the handler for the messages of the inbox; the replies wait in ``stream.pending``.

    Ends when the inbox is empty, when ``room`` (the octets that may still wait: replies, and what the handler itself
    sends) or the share is used up, before an unmapped message, and at the first reply that is neither bytes nor None.
    Returns that reply or None, and the remaining room.
    """
    inbox = stream.inbox  # a handler that closes its connection or changes the framing empties this list in place
    while room > 0 and inbox:
        if share.left <= 0 and share.look():
            break
        handled = 0
        try:
            for handled in range(1, share.left + 1):
                message = inbox.pop()
                if message.__class__ is Unmapped:
                    inbox.append(message)
                    handled -= 1
                    return None, room
                reply = handle(message)
                if stream.outbox_size:  # it may have sent, besides what it returns
                    room = min(room, stream.limits.high_water - stream.outbox_size)
                if isinstance(reply, bytes):
                    stream.pending.append(reply)
                    room -= len(reply)
                elif reply is not None:
                    return reply, room
                if room <= 0 or not inbox:
                    break
        finally:
            share.left -= handled  # once, which costs less; what the handler has sent is counted in between
    return None, room


InlineReplies._run = staticmethod(run)  # type: ignore[method-assign, assignment]
if fast_path.turn is not None:
    fast_path.turn.know(
        InlineReplies=InlineReplies, ReplyAndClose=ReplyAndClose, Unmapped=Unmapped, Unsendable=Unsendable
    )


class InlineGenerators(RepliesOfBatch):
    """A generator function: several replies to a message, pulled only while the outbox is below ``high_water``."""

    __slots__ = ("_framing", "_function", "_replies")

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        function: Callable[..., GeneratorType[Any, None, None]] = handler.function
        self._function = function
        if handler.wants_connection:
            self._function = with_connection(function, self.connection)
        #: The same, while no generator is under way.
        self._handle = self._function
        self._replies: GeneratorType[Any, None, None] | None = None
        #: The framing of the message that the generator answers.
        self._framing = self.stream.framing

    @property
    def busy(self) -> bool:
        """Whether a generator has not ended yet."""
        return self._replies is not None

    def work(self) -> None:
        """Pull replies until the share is spent: an endless generator does not delay other connections."""
        stream = self.stream
        try:
            more = self._pull_all(stream, self.channel.engine.share)
            stream.commit()
        except BaseException as error:
            self._drop()
            self._failed(error)
            return
        if more:
            self.revisit()

    def carry_on(self, full: bool = False) -> None:
        """As the base does, but the share alone ends the work of a turn, and not a full batch."""
        super().carry_on()

    def _pull_all(self, stream: Stream, share: Share) -> bool:
        """Pull replies; they wait in ``stream.pending``. Return whether the share is spent before the messages are."""
        room = 0
        while not share.over:
            if room <= 0 or (stream.outbox_size and stream.crowded):  # it may have sent, besides what it yields
                stream.commit()
                if not self.has_room():
                    return False
                room = stream.limits.high_water - stream.outbox_size
            if self._replies is None:
                if not stream.inbox:
                    stream.commit()  # the replies of a batch are encoded together
                    if not stream.replenish():
                        return False
                message = stream.inbox.pop()
                if message.__class__ is Unmapped:
                    self.say_decision(message)
                    if stream.closing:
                        return False
                    continue
                self._framing = stream.framing
                self._replies = self._function(message)
                self._handle = None
            room -= self._pull(stream, share)
            if stream.writing is not Half.OPEN:
                self._drop()  # its other replies could not be sent
            if stream.closing:
                return False
        return True

    def _pull(self, stream: Stream, share: Share) -> int:
        """Pull one reply; return the number of its octets."""
        assert self._replies is not None
        try:
            reply = next(self._replies)
        except StopIteration:
            self._replies, self._handle = None, self._function
            share.spend()
            return 0
        if reply is None or (isinstance(reply, bytes) and stream.framing is self._framing):
            share.spend()
            if reply is None:
                return 0
            stream.pending.append(reply)
            return len(reply)
        self.say(reply, self._framing)
        return stream.outbox_size  # what is in the outbox takes room

    def _go_on_with(self, replies: GeneratorType[Any, None, None], framing: Framing) -> None:
        """Pull the other replies of this generator. The C calls it."""
        self._replies, self._framing, self._handle = replies, framing, None
        if self.stream.writing is not Half.OPEN:
            self._drop()

    def _drop(self) -> None:
        replies, self._replies, self._handle = self._replies, None, self._function
        # A generator that is running now has ended its own connection: it is dropped when it has yielded or returned.
        if replies is not None and not replies.gi_running:
            try:
                replies.close()
            except BaseException as error:
                self.caught(error)

    def closed(self) -> bool:
        self._drop()
        return super().closed()


if fast_path.turn is not None:
    fast_path.turn.know(InlineGenerators=InlineGenerators)
