"""What the calls of a connection return: awaitables that do their work only if they are awaited. How tasks ended."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeAlias, TypeVar

from fourtuple import fast_path

T = TypeVar("T")


class Done:
    """An awaitable that does not wait: send() returns it while the peer keeps up."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Any, None, None]: ...

    else:
        # An empty iterator, made without a call of a Python function: it is awaited at every message.
        __await__ = ().__iter__


if not TYPE_CHECKING and fast_path.turn is not None:
    Done = fast_path.turn.Done

DONE = Done()


class Later(Generic[T]):
    """Awaiting it calls ``wait`` and awaits the result. Without an await nothing is called."""

    __slots__ = ("_wait",)

    def __init__(self, wait: Callable[[], Awaitable[T]]) -> None:
        self._wait = wait

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()


class Failed:
    """What a failed call returns to a task that catches error after error, and has used its share of the loop.

    Awaiting it awaits ``others_first()``, which lets other tasks run, and then raises the error.
    """

    __slots__ = ("_error", "_others_first")

    def __init__(self, error: Exception, others_first: Callable[[], Awaitable[None]]) -> None:
        self._error: Exception | None = error
        self._others_first = others_first

    def __await__(self) -> Generator[Any, None, NoReturn]:
        error, self._error = self._error, None
        yield from self._others_first().__await__()
        if error is None:
            raise RuntimeError("cannot reuse an already awaited send")
        raise error

    def __del__(self) -> None:
        if self._error is not None:
            warnings.warn(f"a call that failed was never awaited: {self._error}", RuntimeWarning, stacklevel=2)


#: What sending calls return: awaiting it applies backpressure.
Sent: TypeAlias = Done | Later[None] | Failed


def error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return the exception of a handler's task; None if the task returned, or was cancelled on request.

    A CancelledError without a request to cancel the task (:meth:`asyncio.Task.cancelling`) is an exception like any
    other: the handler raised it, or awaited something that was cancelled.
    """
    if task.cancelled() and task.cancelling():
        return None  # tested first to create no exception: there may be a million tasks
    try:
        return task.exception()
    except asyncio.CancelledError as error:
        return None if task.cancelling() else error
