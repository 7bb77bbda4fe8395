"""The future that a receiving task awaits. It can resume its task immediately, within the engine's turn.

asyncio's own future always resumes its task through the loop: it queues a handle, and the task continues in the next
iteration. For one message per wake-up, this costs more than the message. But a task can await any object that behaves
as a future (PEP 3156; see ``asyncio.isfuture``): it registers its wake-up as a callback, which any code may call. The
engine calls it when no other task is running. The handler then continues in the turn that received its message, and
everything that it sends until it waits again leaves by one send(2).

``engine/_turn/eager_future.c`` does in C what each wait needs.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from fourtuple import fast_path
from fourtuple.engine.fields import EagerFutureFields


class EagerFuture(EagerFutureFields):
    """Awaited repeatedly, by one task at a time; each await waits for the next :meth:`wake`."""

    __slots__ = ()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop  # the task compares it with its own loop
        self._callback: Callable[[EagerFuture], object] | None = None
        self._context: contextvars.Context | None = None
        self._cancelled: asyncio.CancelledError | None = None
        self._asyncio_future_blocking = False
        #: Whether a task waits, or was woken and has not continued yet.
        self.waiting: bool = False

    def wake(self, *, at_once: bool = False) -> None:
        """Resume the task: in the loop's next iteration, or with ``at_once`` now, if no other task is running."""
        if self._callback is None:
            return
        assert self._context is not None
        if at_once and asyncio.current_task(self._loop) is None:
            # The callback is not bound to a variable: this frame is in the traceback of an exception that the task
            # raises, so the task would refer to itself.
            self._context.run(self._take_callback(), self)
            return
        callback = self._take_callback()
        try:
            # Another task is running: asyncio allows one at a time in a loop (_enter_task in asyncio/tasks.py raises
            # for a second).
            self._loop.call_soon(callback, self, context=self._context)
        except BaseException:
            self._callback = callback  # the task still waits, for another wake-up
            raise

    def _take_callback(self) -> Callable[[EagerFuture], object]:
        callback, self._callback = self._callback, None
        assert callback is not None
        return callback

    # -- the interface of a future that a task uses -------------------------------------------------------

    def __await__(self) -> Generator[EagerFuture, None, None]:
        self.waiting = self._asyncio_future_blocking = True
        try:
            yield self
        finally:
            self.waiting = False

    def add_done_callback(
        self, callback: Callable[[EagerFuture], object], *, context: contextvars.Context | None = None
    ) -> None:
        """Store the wake-up of the waiting task."""
        self._callback = callback
        self._context = context if context is not None else contextvars.copy_context()

    def cancel(self, msg: Any = None) -> bool:
        """Resume the task with a CancelledError. Returns False if the task was already woken."""
        if self._callback is None:
            return False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.wake()
        return True

    def result(self) -> None:
        """Return None, or raise the cancellation once."""
        cancelled, self._cancelled = self._cancelled, None
        if cancelled is not None:
            raise cancelled


def raise_thrown(kind: Any, value: Any = None, trace: TracebackType | None = None, /) -> NoReturn:
    """Raise the arguments of ``throw(type[, value[, traceback]])``, as generators do."""
    error = kind if isinstance(kind, BaseException) else value if isinstance(value, BaseException) else None
    if error is None and isinstance(kind, type) and issubclass(kind, BaseException):
        error = kind() if value is None else kind(value)
    if error is None or (error is kind and value is not None):
        raise TypeError("throw() takes an exception, or its class, value and traceback")
    raise error if trace is None else error.with_traceback(trace)


#: The twin in Python, even if the C runs.
Reference = EagerFuture

if not TYPE_CHECKING and fast_path.turn is not None:
    # The base itself: for each field of a subclass that a task reads, the interpreter looks through its bases.
    EagerFuture = EagerFutureFields
    fast_path.complete(EagerFuture, Reference, "__init__", "__await__", "wake", "_take_callback", "cancel")
    fast_path.turn.know(EagerFuture=EagerFuture, current_task=asyncio.current_task, raise_thrown=raise_thrown)
