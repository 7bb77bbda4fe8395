"""What a handler may return, and the types of the decorators that register it.

The types are for type checkers. They report a handler that takes another type of message than the framing gives, or
returns a type that the framing cannot send, before the program runs. At run time only the kind of the function
matters; see :mod:`fourtuple.service.kinds`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Never, Protocol, TypeAlias, TypeVar, overload

from fourtuple.framing.base import Octets
from fourtuple.typevars import Generic, In, L, Out, S

if TYPE_CHECKING:
    from fourtuple.blocking import BlockingConnection
    from fourtuple.connection import Connection

Message_co = TypeVar("Message_co", covariant=True)


class ReplyAndClose(Generic[Message_co]):
    """A last reply: ``message`` is sent, unless it is None, and then the connection is closed."""

    __slots__ = ("message",)

    def __init__(self, message: Message_co | None) -> None:
        self.message: Message_co | None = message

    def __repr__(self) -> str:
        return f"reply_and_close({self.message!r})"


@overload
def reply_and_close(message: None = None) -> ReplyAndClose[Never]: ...
@overload
def reply_and_close(message: Out) -> ReplyAndClose[Out]: ...
def reply_and_close(message: Any = None) -> ReplyAndClose[Any]:
    """Return this from a reply handler, or yield it last, to send a last reply and close the connection.

    ``message`` is sent after all earlier replies. Then the connection is closed, and lingers so that the peer gets the
    last octet. ``None`` closes without a message.
    """
    return ReplyAndClose(message)


#: One reply: a message, a last reply, or None for no reply.
Reply: TypeAlias = Out | ReplyAndClose[Out] | None
#: What a plain function may return: a reply, or the generator of several.
PlainReplies: TypeAlias = Reply[Out] | Iterator[Reply[Out]]
#: What a reply handler of any kind may return.
Replies: TypeAlias = PlainReplies[Out] | Coroutine[Any, Any, Reply[Out]] | AsyncIterator[Reply[Out]]

#: What a handler of batches may return: a list or a tuple, with the reply to each message.
Batch: TypeAlias = Sequence[Reply[Out]] | Coroutine[Any, Any, Sequence[Reply[Out]]]

# If messages are octets, a decorated handler keeps its exact type. A bound cannot use the type variables of a class, so
# a handler of other messages has their types in its parameters, and returns Any.
OctetReplies = TypeVar("OctetReplies", bound=Replies[Octets])
PlainOctetReplies = TypeVar("PlainOctetReplies", bound=PlainReplies[Octets])
OctetBatch = TypeVar("OctetBatch", bound=Batch[Octets])


class ReplyDecorator(Protocol[In, Out, S, L]):
    """What ``service.reply(concurrency=8)`` returns: it registers a reply handler of any kind."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: ReplyDecorator[bytes, Octets, S, L], function: Callable[[bytes], OctetReplies], /
    ) -> Callable[[bytes], OctetReplies]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: ReplyDecorator[bytes, Octets, S, L],
        function: Callable[[bytes, Connection[bytes, Octets, S, L]], OctetReplies],
        /,
    ) -> Callable[[bytes, Connection[bytes, Octets, S, L]], OctetReplies]: ...
    @overload
    def __call__(self, function: Callable[[In], Replies[Out]], /) -> Callable[[In], Any]: ...
    @overload
    def __call__(
        self, function: Callable[[In, Connection[In, Out, S, L]], Replies[Out]], /
    ) -> Callable[[In, Connection[In, Out, S, L]], Any]: ...


class ThreadedReplyDecorator(Protocol[In, Out, S, L]):
    """What ``service.reply(threads=True)`` returns: it registers a plain function, or a generator function."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: ThreadedReplyDecorator[bytes, Octets, S, L], function: Callable[[bytes], PlainOctetReplies], /
    ) -> Callable[[bytes], PlainOctetReplies]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: ThreadedReplyDecorator[bytes, Octets, S, L],
        function: Callable[[bytes, Connection[bytes, Octets, S, L]], PlainOctetReplies],
        /,
    ) -> Callable[[bytes, Connection[bytes, Octets, S, L]], PlainOctetReplies]: ...
    @overload
    def __call__(self, function: Callable[[In], PlainReplies[Out]], /) -> Callable[[In], Any]: ...
    @overload
    def __call__(
        self, function: Callable[[In, Connection[In, Out, S, L]], PlainReplies[Out]], /
    ) -> Callable[[In, Connection[In, Out, S, L]], Any]: ...


class BatchDecorator(Protocol[In, Out, S, L]):
    """What ``service.replies(cancel_on_lost=False)`` returns: it registers a handler of batches."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: BatchDecorator[bytes, Octets, S, L], function: Callable[[list[bytes]], OctetBatch], /
    ) -> Callable[[list[bytes]], OctetBatch]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: BatchDecorator[bytes, Octets, S, L],
        function: Callable[[list[bytes], Connection[bytes, Octets, S, L]], OctetBatch],
        /,
    ) -> Callable[[list[bytes], Connection[bytes, Octets, S, L]], OctetBatch]: ...
    @overload
    def __call__(self, function: Callable[[list[In]], Batch[Out]], /) -> Callable[[list[In]], Any]: ...
    @overload
    def __call__(
        self, function: Callable[[list[In], Connection[In, Out, S, L]], Batch[Out]], /
    ) -> Callable[[list[In], Connection[In, Out, S, L]], Any]: ...


class ConversationDecorator(Protocol[In, Out, S, L]):
    """What ``service.conversation(speaks_first=True)`` returns: an ``async def`` gets a Connection, a plain ``def``
    a BlockingConnection."""

    @overload
    def __call__(
        self, function: Callable[[Connection[In, Out, S, L]], Coroutine[Any, Any, None]], /
    ) -> Callable[[Connection[In, Out, S, L]], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(
        self, function: Callable[[BlockingConnection[In, Out, S, L]], None], /
    ) -> Callable[[BlockingConnection[In, Out, S, L]], None]: ...
