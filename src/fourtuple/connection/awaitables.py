"""What the calls of a connection return: awaitables that do their work only if they are awaited. How tasks ended."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

from fourtuple import fast_path

T = TypeVar("T")


class Done(Coroutine[Any, Any, None]):
    """An awaitable that does not wait: send() returns it while the peer keeps up."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Any, None, None]: ...

    else:
        # An empty iterator, made without a call of a Python function: it is awaited at every message.
        __await__ = ().__iter__

    # A coroutine for create_task(): one that has ended before its first step.

    def send(self, _value: None) -> NoReturn:
        raise StopIteration

    def throw(self, kind: Any, error: Any = None, trace: Any = None) -> NoReturn:
        raise _thrown(kind, error, trace)

    def close(self) -> None:
        """Do nothing: nothing was begun."""


if not TYPE_CHECKING and fast_path.turn is not None:
    fast_path.complete(fast_path.turn.Done, Done, "send", "throw", "close")
    Done = fast_path.turn.Done

DONE = Done()


def _thrown(kind: Any, error: Any, trace: Any) -> BaseException:
    """Return the exception for the arguments of ``throw()``, of which only the first is needed."""
    raised: BaseException = kind if isinstance(kind, BaseException) else error if error is not None else kind()
    return raised if trace is None else raised.with_traceback(trace)


class Stepped(Coroutine[Any, Any, T]):
    """An awaitable that create_task() takes too, which wants a coroutine: its steps are those of ``__await__``."""

    __slots__ = ("_steps",)

    _steps: Generator[Any, None, T]

    def send(self, value: None) -> Any:
        return self._begun().send(value)

    def throw(self, kind: Any, error: Any = None, trace: Any = None) -> Any:
        return self._begun().throw(_thrown(kind, error, trace))

    def close(self) -> None:
        """End the steps, if there were any."""
        if hasattr(self, "_steps"):
            self._steps.close()

    def _begun(self) -> Generator[Any, None, T]:
        if not hasattr(self, "_steps"):
            self._steps = self._make_steps()
        return self._steps

    def _make_steps(self) -> Generator[Any, None, T]:
        return (yield from self.__await__())


class Later(Stepped[T]):
    """Awaiting it calls ``wait`` and awaits the result. Without an await nothing is called."""

    __slots__ = ("_wait",)

    def __init__(self, wait: Callable[[], Awaitable[T]]) -> None:
        self._wait = wait

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()


class Failed(Stepped[NoReturn]):
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
