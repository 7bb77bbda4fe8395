"""Replies made inline, on the loop: the fastest path there is."""

from __future__ import annotations

from collections.abc import Callable
from types import GeneratorType
from typing import Any

from fourtuple import fast_path
from fourtuple.connection import Connection
from fourtuple.engine import Channel, Share
from fourtuple.framing import Unmapped
from fourtuple.handlers.runner import Host, Runner
from fourtuple.service import ReplyAndClose, ReplyHandler, Service
from fourtuple.stream import Half, Path, Stream, Unsendable

_PLAIN, _SPECIAL = Path.PLAIN, Path.SPECIAL  # looked up in every turn


class InlineReplies(Runner):
    """A plain ``def``: every message of a batch is handled, then all replies are encoded and sent at once."""

    __slots__ = ()

    last_words: type = ReplyAndClose

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        function = handler.function
        self._handle: Callable[[Any], Any] = function
        if handler.wants_connection:
            held = self.connection
            self._handle = lambda message: function(message, held)

    def begin(self) -> None:
        self.channel.inline = self

    def readable(self) -> None:
        stream = self.stream
        if not stream.closing:
            self.work()
        if stream.path is _SPECIAL:
            self.see_end()

    def work(self) -> None:
        """Handle one batch after the other: all replies of a batch are encoded, and sent, at once."""
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
            if stream.path is _PLAIN and stream.message_since is None:
                return  # nothing of the read is left

    def _batch(self, stream: Stream, share: Share) -> bool:
        """Handle the inbox to its end, or to that of the share of the loop; False where nothing more may be said."""
        room = stream.limits.high_water - stream.outbox_size
        while stream.inbox and not share.over:
            reply, room = _run(stream, self._handle, share, room)
            if reply is None and stream.inbox and stream.inbox[-1].__class__ is Unmapped:
                reply = self.decide(stream.inbox.pop())
                share.spend()
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

    def carry_on(self) -> None:
        """The turn in C met something that is not usual: take the replies made so far, and go on in Python."""
        try:
            self.stream.commit()
        except BaseException as error:
            self._failed(error)
        self.channel.flush()
        if self.stream.crowded:
            self.channel.expect_relief()
        self.channel.on_ready(0)

    def revisit(self) -> None:
        """A batch was full, or took its time: others have their turn before what is left of it."""
        self.channel.engine.revisit(self.channel)

    def _failed(self, error: BaseException) -> None:
        try:
            self.stream.commit()
        except BaseException as second:
            self.report_handler_error(second)
            self.pass_on(second)
        self.caught(error)


def run(stream: Stream, handle: Callable[[Any], Any], share: Share, room: int) -> tuple[Any, int]:
    """Call the handler for the messages of the inbox; the replies wait in ``stream.pending``.

    Ends when the inbox is empty, when ``room`` (the octets that may still wait) is used up, when the share of the loop
    is, before a message that does not map, and at the first reply that is neither octets nor None. Returns that reply,
    or None, and what is left of the room.
    """
    inbox = stream.inbox  # emptied in place by a handler that closes, or changes the framing, of its own connection
    while room > 0 and inbox:
        left = share.left
        if left <= 0:
            if share.look():
                break
            left = share.left
        message = inbox.pop()
        if message.__class__ is Unmapped:
            inbox.append(message)
            break
        share.left = left - 1
        reply = handle(message)
        if isinstance(reply, bytes):
            stream.pending.append(reply)
            room -= len(reply)
        elif reply is not None:
            return reply, room
    return None, room


_run = run
if fast_path.turn is not None:
    _run = fast_path.turn.run
    fast_path.turn.know(
        InlineReplies=InlineReplies, ReplyAndClose=ReplyAndClose, Unmapped=Unmapped, Unsendable=Unsendable
    )


class InlineGenerators(Runner):
    """A generator function: several replies to a message, pulled only while the outbox is below its mark."""

    __slots__ = ("_replies",)

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        function = handler.function
        self._handle: Callable[[Any], GeneratorType[Any, None, None]] = function
        if handler.wants_connection:
            held = self.connection
            self._handle = lambda message: function(message, held)
        self._replies: GeneratorType[Any, None, None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a generator has more to say."""
        return self._replies is not None

    def work(self) -> None:
        """Pull replies for as long as the share of the loop lasts: an endless generator holds nobody up."""
        stream, share = self.stream, self.channel.engine.share
        try:
            while not share.over:
                if not self.has_room():
                    return
                if self._replies is None:
                    if not (stream.inbox or stream.replenish()):
                        return
                    message = stream.inbox.pop()
                    if message.__class__ is Unmapped:
                        self.say(self.decide(message))
                        if stream.closing:
                            return
                        continue
                    self._replies = self._handle(message)
                self._pull()
                if stream.writing is not Half.OPEN:
                    self._drop()  # nobody hears what else it has to say
                if stream.closing:
                    return
        except BaseException as error:
            self._drop()
            self.caught(error)
            return
        self.channel.engine.revisit(self.channel)

    def _pull(self) -> None:
        assert self._replies is not None
        try:
            reply = next(self._replies)
        except StopIteration:
            self._replies = None
            self.channel.engine.share.spend()
            return
        self.say(reply)

    def _drop(self) -> None:
        replies, self._replies = self._replies, None
        # One that runs now ended its own connection: it is dropped when it has yielded or returned.
        if replies is not None and not replies.gi_running:
            try:
                replies.close()
            except BaseException as error:
                self.caught(error)

    def closed(self) -> bool:
        self._drop()
        return super().closed()
