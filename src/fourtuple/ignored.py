"""What a plain function may return whose result nothing uses: an observer, a hook at an end, a callback.

An ``async def`` or a generator would not run there: calling it makes an object that is dropped. Both are rejected when
they are given, and a type checker should say so before. No type says "anything but a coroutine", so this one lists what
functions return beside None: a number, a text or a collection (a lambda around ``dict.pop``), an object of a dataclass,
a task or a timer of the loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator, Sized
    from typing import Any, ClassVar, Protocol, SupportsFloat, SupportsIndex

    class OfDataclass(Protocol):
        """An object of any dataclass."""

        __dataclass_fields__: ClassVar[dict[str, Any]]

    Ignored: TypeAlias = (
        Sized | SupportsIndex | SupportsFloat | OfDataclass | asyncio.Future[Any] | asyncio.Handle | None
    )

    #: What a function returns that is awaited, if it can be.
    Awaited: TypeAlias = Ignored | Awaitable[object]

    class NotRun:
        """What comes of code that nothing runs: the result of calls that a type checker should report."""

    #: What code returns that has to be iterated over.
    NeverRun: TypeAlias = Iterator[Any] | AsyncIterator[Any]
    #: What such a call returns for a checker, although it raises: checkers report a coroutine that is not awaited.
    Lost: TypeAlias = Coroutine[Any, Any, NotRun]
else:
    Ignored: TypeAlias = object
    Awaited: TypeAlias = object
    NotRun: TypeAlias = object
    NeverRun: TypeAlias = object
    Lost: TypeAlias = object
