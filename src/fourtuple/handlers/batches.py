"""Handlers of batches: a list of messages in, the list of their replies out, plain or async."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import HandlerMistake
from fourtuple.framing import Framing, Unmapped
from fourtuple.handler import ReplyHandler
from fourtuple.handlers.awaited import AwaitedReplies
from fourtuple.handlers.runner import Host, Runner
from fourtuple.options.checking import seen
from fourtuple.replies import ReplyAndClose
from fourtuple.service import Service
from fourtuple.stream import Half, Stream
from fourtuple.waking import until_relieved


def take_batch(stream: Stream) -> list[Any] | Unmapped:
    """Take the messages of the inbox up to the first unmapped message, or that message if it is next."""
    inbox = stream.inbox  # in reverse order
    if inbox[-1].__class__ is Unmapped:
        unmapped: Unmapped = inbox.pop()
        return unmapped
    messages = inbox[::-1]
    if Unmapped in map(type, messages):
        del messages[next(place for place, each in enumerate(messages) if each.__class__ is Unmapped) :]
    del inbox[-len(messages) :]
    return messages


def checked(replies: Any, count: int, name: str) -> Sequence[Any]:
    """Return what a handler of batches returned for ``count`` messages. Raises HandlerMistake for anything wrong."""
    wanted = f"a list of {count}, with the reply to each message or None"
    if not isinstance(replies, list | tuple):
        raise HandlerMistake(f"{name} returned {seen(replies)} for {count} messages; wanted is {wanted}")
    if len(replies) != count:
        raise HandlerMistake(f"{name} returned {len(replies)} replies for {count} messages; wanted is {wanted}")
    return replies


def answer(runner: Runner, replies: Sequence[Any], framing: Framing) -> None:
    """Put the replies to a batch into the outbox, in the framing of its messages. Close after a last reply."""
    stream, last = runner.stream, None
    if ReplyAndClose in map(type, replies):
        place = next(place for place, each in enumerate(replies) if each.__class__ is ReplyAndClose)
        last, replies = replies[place], replies[:place]
    given = [reply for reply in replies if reply is not None]
    if framing is stream.framing:
        stream.pending.extend(given)
        stream.commit()  # encodes all of them together
    elif stream.writing is Half.OPEN:
        for reply in given:
            stream.send_in(framing, reply)
    runner.channel.flush_soon()
    if last is not None:
        runner.say(last, framing)


class InlineBatches(Runner):
    """A plain ``def``, called once for all messages of a read."""

    __slots__ = ()

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        function = handler.function
        self._handle: Callable[[Any], Any] = function
        if handler.wants_connection:
            held = self.connection
            self._handle = lambda messages: function(messages, held)

    def work(self) -> None:
        """Handle one batch after the other, until the share is spent."""
        stream, engine = self.stream, self.channel.engine
        while self.has_room() and (stream.inbox or stream.replenish()):
            full = len(stream.inbox) >= stream.limits.max_batch
            try:
                count = self._one(stream)
            except BaseException as error:
                self.caught(error)
                return
            if stream.closing:
                return
            if engine.share.spend(count) or full:
                engine.revisit(self.channel)
                return

    def _one(self, stream: Stream) -> int:
        """Handle one batch, or one unmapped message; return the number of messages."""
        taken = take_batch(stream)
        if isinstance(taken, Unmapped):
            self.say(self.decide(taken))
            return 1
        count, framing = len(taken), stream.framing  # the handler may change both
        answer(self, checked(self._handle(taken), count, self.handler_name), framing)
        return count


class AwaitedBatches(AwaitedReplies):
    """An ``async def``, awaited for one batch after the other."""

    __slots__ = ()

    async def _work(self) -> None:
        stream, share = self.stream, self.channel.engine.share
        while not (stream.closing or self._lost) and (stream.inbox or stream.replenish()):
            if share.over:
                await self.connection._behind_others()
                continue
            taken, framing = take_batch(stream), stream.framing
            if isinstance(taken, Unmapped):
                self.say(self.decide(taken))
            else:
                count = len(taken)
                replies = checked(await self.one_reply((taken, *self._arguments)), count, self.handler_name)
                if not stream.closing:
                    answer(self, replies, framing)
                share.spend(count)
                del replies
            del taken  # a slow peer may make the next line wait long
            if stream.crowded:
                await until_relieved(self.connection)
            self.channel.consumed()
