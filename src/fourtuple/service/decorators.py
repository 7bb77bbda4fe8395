"""The types of the decorators that register a handler, for type checkers.

They report a handler that takes another type of message than the framing gives, that returns a type that the framing
cannot send, or that is of another kind than the options of its decorator are for, before the program runs. At run time
only the kind of the function matters; see :mod:`fourtuple.service.kinds`.

The last overload of each repeats the form without a connection, and matches nothing more. For a handler that matches
none, pyright explains the last overload; the other form would blame the number of arguments, not their types.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

from fourtuple.framing.base import Octets
from fourtuple.service.replies import Batch, LaterBatch, LaterReplies, LaterReply, PlainReplies, Replies, Reply
from fourtuple.typevars import In, L, Out, S

if TYPE_CHECKING:
    from fourtuple.blocking import BlockingConnection
    from fourtuple.connection import Connection

# If messages are octets, a decorated handler keeps its exact type. A bound cannot use the type variables of a class, so
# a handler of other messages has their types in its parameters, and returns Any.
OctetReplies = TypeVar("OctetReplies", bound=Replies[Octets])
LaterOctetReplies = TypeVar("LaterOctetReplies", bound=LaterReplies[Octets])
LaterOctetReply = TypeVar("LaterOctetReply", bound=LaterReply[Octets])
PlainOctetReplies = TypeVar("PlainOctetReplies", bound=PlainReplies[Octets])
PlainOctetReply = TypeVar("PlainOctetReply", bound=Reply[Octets])
OctetBatch = TypeVar("OctetBatch", bound=Batch[Octets])
LaterOctetBatch = TypeVar("LaterOctetBatch", bound=LaterBatch[Octets])


class ReplyDecorator(Protocol[In, Out, S, L]):
    """What ``service.reply()`` returns: it registers a reply handler of any kind."""

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
    @overload
    def __call__(self, function: Callable[[In], Replies[Out]], /) -> Any: ...  # type: ignore[overload-cannot-match]


class AsyncReplyDecorator(Protocol[In, Out, S, L]):
    """What ``service.reply(cancel_on_lost=False)`` returns: it registers async code."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: AsyncReplyDecorator[bytes, Octets, S, L], function: Callable[[bytes], LaterOctetReplies], /
    ) -> Callable[[bytes], LaterOctetReplies]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: AsyncReplyDecorator[bytes, Octets, S, L],
        function: Callable[[bytes, Connection[bytes, Octets, S, L]], LaterOctetReplies],
        /,
    ) -> Callable[[bytes, Connection[bytes, Octets, S, L]], LaterOctetReplies]: ...
    @overload
    def __call__(self, function: Callable[[In], LaterReplies[Out]], /) -> Callable[[In], Any]: ...
    @overload
    def __call__(
        self, function: Callable[[In, Connection[In, Out, S, L]], LaterReplies[Out]], /
    ) -> Callable[[In, Connection[In, Out, S, L]], Any]: ...
    @overload
    def __call__(self, function: Callable[[In], LaterReplies[Out]], /) -> Any: ...  # type: ignore[overload-cannot-match]


class ConcurrentReplyDecorator(Protocol[In, Out, S, L]):
    """What ``service.reply(concurrency=8)`` returns: it registers an ``async def``."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: ConcurrentReplyDecorator[bytes, Octets, S, L], function: Callable[[bytes], LaterOctetReply], /
    ) -> Callable[[bytes], LaterOctetReply]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: ConcurrentReplyDecorator[bytes, Octets, S, L],
        function: Callable[[bytes, Connection[bytes, Octets, S, L]], LaterOctetReply],
        /,
    ) -> Callable[[bytes, Connection[bytes, Octets, S, L]], LaterOctetReply]: ...
    @overload
    def __call__(self, function: Callable[[In], LaterReply[Out]], /) -> Callable[[In], Any]: ...
    @overload
    def __call__(
        self, function: Callable[[In, Connection[In, Out, S, L]], LaterReply[Out]], /
    ) -> Callable[[In, Connection[In, Out, S, L]], Any]: ...
    @overload
    def __call__(self, function: Callable[[In], LaterReply[Out]], /) -> Any: ...  # type: ignore[overload-cannot-match]


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
    @overload
    def __call__(self, function: Callable[[In], PlainReplies[Out]], /) -> Any: ...  # type: ignore[overload-cannot-match]


class ConcurrentThreadedReplyDecorator(Protocol[In, Out, S, L]):
    """What ``service.reply(threads=True, concurrency=8)`` returns: it registers a plain function."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: ConcurrentThreadedReplyDecorator[bytes, Octets, S, L], function: Callable[[bytes], PlainOctetReply], /
    ) -> Callable[[bytes], PlainOctetReply]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: ConcurrentThreadedReplyDecorator[bytes, Octets, S, L],
        function: Callable[[bytes, Connection[bytes, Octets, S, L]], PlainOctetReply],
        /,
    ) -> Callable[[bytes, Connection[bytes, Octets, S, L]], PlainOctetReply]: ...
    @overload
    def __call__(self, function: Callable[[In], Reply[Out]], /) -> Callable[[In], Any]: ...
    @overload
    def __call__(
        self, function: Callable[[In, Connection[In, Out, S, L]], Reply[Out]], /
    ) -> Callable[[In, Connection[In, Out, S, L]], Any]: ...
    @overload
    def __call__(self, function: Callable[[In], Reply[Out]], /) -> Any: ...  # type: ignore[overload-cannot-match]


class BatchDecorator(Protocol[In, Out, S, L]):
    """What ``service.replies()`` returns: it registers a handler of batches."""

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
    @overload
    def __call__(self, function: Callable[[list[In]], Batch[Out]], /) -> Any: ...  # type: ignore[overload-cannot-match]


class AsyncBatchDecorator(Protocol[In, Out, S, L]):
    """What ``service.replies(cancel_on_lost=False)`` returns: it registers an ``async def`` for batches."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: AsyncBatchDecorator[bytes, Octets, S, L], function: Callable[[list[bytes]], LaterOctetBatch], /
    ) -> Callable[[list[bytes]], LaterOctetBatch]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: AsyncBatchDecorator[bytes, Octets, S, L],
        function: Callable[[list[bytes], Connection[bytes, Octets, S, L]], LaterOctetBatch],
        /,
    ) -> Callable[[list[bytes], Connection[bytes, Octets, S, L]], LaterOctetBatch]: ...
    @overload
    def __call__(self, function: Callable[[list[In]], LaterBatch[Out]], /) -> Callable[[list[In]], Any]: ...
    @overload
    def __call__(
        self, function: Callable[[list[In], Connection[In, Out, S, L]], LaterBatch[Out]], /
    ) -> Callable[[list[In], Connection[In, Out, S, L]], Any]: ...
    @overload
    def __call__(self, function: Callable[[list[In]], LaterBatch[Out]], /) -> Any: ...  # type: ignore[overload-cannot-match]


#: A conversation on the loop, and one in a thread.
AsyncConversation: TypeAlias = "Callable[[Connection[In, Out, S, L]], Coroutine[Any, Any, None]]"
BlockingConversation: TypeAlias = "Callable[[BlockingConnection[In, Out, S, L]], None]"


class ConversationDecorator(Protocol[In, Out, S, L]):
    """What ``service.conversation()`` returns: an ``async def`` gets a Connection, a plain ``def`` a
    BlockingConnection."""

    @overload
    def __call__(
        self, function: Callable[[Connection[In, Out, S, L]], Coroutine[Any, Any, None]], /
    ) -> Callable[[Connection[In, Out, S, L]], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(
        self, function: Callable[[BlockingConnection[In, Out, S, L]], None], /
    ) -> Callable[[BlockingConnection[In, Out, S, L]], None]: ...
