"""Handlers of batches: a list of messages in, the list of their replies out, plain or async."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

from fourtuple import fast_path
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import HandlerMistake
from fourtuple.framing import Framing, Unmapped
from fourtuple.handlers.inline import RepliesOfBatch
from fourtuple.handlers.runner import Host, Runner
from fourtuple.handlers.spares import in_context
from fourtuple.handlers.task_references import current_task
from fourtuple.handlers.tasks import OneByOne
from fourtuple.handlers.with_connection import with_connection
from fourtuple.options.checking import seen
from fourtuple.service import Service
from fourtuple.service.handler import ReplyHandler
from fourtuple.service.replies import ReplyAndClose
from fourtuple.stream import Half, Path, Stream, Unsendable

_PLAIN, _SPECIAL = Path.PLAIN, Path.SPECIAL  # used in every turn; a global is faster than an attribute


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


def checked(replies: Any, count: int, runner: Runner) -> Sequence[Any]:
    """Return what a handler of batches returned for ``count`` messages. Raises HandlerMistake for anything wrong."""
    if isinstance(replies, list | tuple):
        if len(replies) == count:
            return replies
        what = f"{len(replies)} replies"
    else:
        what = seen(replies)
    wanted = f"a list of {count}, with the reply to each message or None"
    raise HandlerMistake(f"{runner.handler_name} returned {what} for {count} messages; expected {wanted}")


def answer(runner: Runner, replies: Sequence[Any], framing: Framing) -> None:
    """Put the replies to a batch into the outbox, in the framing of its messages. Close after a last reply."""
    stream, last, kinds = runner.stream, None, set(map(type, replies))
    if ReplyAndClose in kinds:
        place = next(place for place, each in enumerate(replies) if each.__class__ is ReplyAndClose)
        last, replies = replies[place], replies[:place]
    if NoneType in kinds:
        replies = [reply for reply in replies if reply is not None]
    if replies and stream.writing is Half.OPEN:
        octets, count, error = encoded(framing, replies)
        if count:
            stream.write_replies(octets, count, framing)
            runner.channel.flush_soon()
        if error is not None:
            raise error
    if last is not None:
        runner.say(last, framing)


def encoded(framing: Framing, replies: Sequence[Any]) -> tuple[bytes, int, BaseException | None]:
    """Encode the replies to a batch, up to the first that cannot be encoded; return its error as well."""
    try:
        return framing.encode_many(replies), len(replies), None
    except BaseException as error:
        failed, pieces = error, list[bytes]()
    for reply in replies:
        try:
            pieces.append(framing.encode(reply))
        except BaseException as error:
            failed = error
            break
    return b"".join(pieces), len(pieces), failed


class InlineBatches(RepliesOfBatch):
    """A plain ``def``, called once for all messages of a read. The turn in C does the same as :meth:`work`."""

    __slots__ = ()

    def __init__(
        self, host: Host, service: Service, connection: Connection | None, channel: Channel, handler: ReplyHandler
    ) -> None:
        super().__init__(host, service, connection, channel)
        function = handler.function
        self._handle: Callable[[Any], Any] = function
        if handler.wants_connection:
            self._handle = with_connection(function, self.connection)

    def work(self) -> None:
        """Handle one batch after the other, until the share is spent."""
        stream, engine = self.stream, self.channel.engine
        while (not stream.outbox_size and stream.path is not _SPECIAL) or self.has_room():
            if not (stream.inbox or stream.replenish()):
                return
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
            if stream.path is _PLAIN and stream.message_since is None and not stream.inbox:
                return  # nothing of the read is left

    def _one(self, stream: Stream) -> int:
        """Handle one batch, or one unmapped message; return the number of messages."""
        taken = take_batch(stream)
        if isinstance(taken, Unmapped):
            self.say_decision(taken)
            return 1
        count, framing = len(taken), stream.framing  # the handler may change both
        answer(self, checked(self._handle(taken), count, self), framing)
        return count

    def _answered(self, replies: Any, count: int, framing: Framing) -> None:
        """Take what the handler returned for a batch. The C calls it for what it leaves to Python."""
        try:
            answer(self, checked(replies, count, self), framing)
        except BaseException as error:
            self.caught(error)

    def _commit(self) -> None:
        """Encode the replies that the turn in C has left: all before one that cannot be encoded are one write."""
        pending = self.stream.pending
        if not pending or pending[0].__class__ is Unsendable:
            self.stream.commit()
            return
        replies = pending[:]
        pending.clear()
        answer(self, replies, self.stream.framing)


if fast_path.turn is not None:
    fast_path.turn.know(InlineBatches=InlineBatches)


class AwaitedBatches(OneByOne):
    """An ``async def``, awaited for one batch after the other."""

    __slots__ = ()

    async def _one(self) -> None:
        """Handle one batch or one unmapped message, unless others have to be served first."""
        stream, share = self.stream, self.channel.engine.share
        if share.over:
            await self.connection._behind_others()
            return
        taken, framing = take_batch(stream), stream.framing
        if isinstance(taken, Unmapped):
            self.say_decision(taken)
        else:
            count = len(taken)
            handling = in_context(self._handled((taken, *self._arguments)), self.host.context.copy())
            replies = checked(await self._in_time(handling), count, self)
            if not stream.closing:
                answer(self, replies, framing)
            share.spend(count)
            del replies
        del taken  # a slow peer may make the next line wait long
        if stream.crowded:
            await self._until_relieved(current_task())
        self.channel.consumed()

    async def _handled(self, arguments: tuple[Any, ...]) -> Any:
        return await self._handler.function(*arguments)
