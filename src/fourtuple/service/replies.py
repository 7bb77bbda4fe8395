"""What a handler may return, and the types of the decorators that register it.

The types are for type checkers. They report a handler that takes another type of message than the framing gives, or
returns a type that the framing cannot send, before the program runs. At run time only the kind of the function
matters; see :mod:`fourtuple.service.kinds`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Coroutine, Iterator, Sequence
from typing import Any, Never, Protocol, TypeAlias, TypeVar, overload

from fourtuple.typevars import Generic, Out

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
#: What an ``async def`` may return.
LaterReply: TypeAlias = Coroutine[Any, Any, Reply[Out]]
#: What async code may return: a reply, or the async generator of several.
LaterReplies: TypeAlias = LaterReply[Out] | AsyncIterable[Reply[Out]]
#: What a reply handler of any kind may return.
Replies: TypeAlias = PlainReplies[Out] | LaterReplies[Out]


class ListOrTuple(Protocol[Message_co]):
    """A list, a tuple, or another sequence, but no text, which is a Sequence of texts: ``in`` takes any object here."""

    def __contains__(self, value: object, /) -> bool: ...
    def __iter__(self) -> Iterator[Message_co]: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Message_co: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sequence[Message_co]: ...
    def __reversed__(self) -> Iterator[Message_co]: ...


#: What an ``async def`` for batches may return: the reply to each message.
LaterBatch: TypeAlias = Coroutine[Any, Any, ListOrTuple[Reply[Out]]]
#: What a handler of batches may return.
Batch: TypeAlias = ListOrTuple[Reply[Out]] | LaterBatch[Out]
