"""What a task waits for when it receives: a future that can resume its task at once, inside of the engine's turn.

asyncio's own future always takes a way through the loop: a handle is queued, and the task goes on in the next
iteration. At one message per wake-up that way costs more than the message. A task waits for whatever behaves as a
future (PEP 3156; ``asyncio.isfuture`` says how it is told), gives it its wake-up as a callback, and does not ask who
calls it. The engine does, where no task is running: the handler goes on in the turn that brought the message, and
what it sends until it waits again leaves by one send(2).

The same stands in C in ``engine/_turn/eager_future.c``.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from fourtuple import fast_path


class EagerFuture:
    """Awaited again and again, by one task at a time; each time it waits for the next :meth:`wake`."""

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop  # the task looks at it: whether it is its own
        self._callback: Callable[[EagerFuture], object] | None = None
        self._context: contextvars.Context | None = None
        self._cancelled: asyncio.CancelledError | None = None
        self._asyncio_future_blocking = False
        #: Whether a task waits, or was woken and has not gone on yet.
        self.waiting = False

    def wake(self, *, at_once: bool = False) -> None:
        """Let the task go on: in the loop's next iteration, or ``at_once`` where no other task is running."""
        if self._callback is None:
            return
        assert self._context is not None
        if at_once and asyncio.current_task(self._loop) is None:
            # In no variable: the traceback of what the task raises has this frame, and the task would have itself.
            self._context.run(self._take_callback(), self)
            return
        callback = self._take_callback()
        try:
            self._loop.call_soon(callback, self, context=self._context)
        except BaseException:
            self._callback = callback  # the task still waits: for another wake-up
            raise

    def _take_callback(self) -> Callable[[EagerFuture], object]:
        callback, self._callback = self._callback, None
        assert callback is not None
        return callback

    # -- what a task asks of a future ---------------------------------------------------------------------

    def __await__(self) -> Generator[EagerFuture, None, None]:
        self.waiting = self._asyncio_future_blocking = True
        try:
            yield self
        finally:
            self.waiting = False

    def add_done_callback(
        self, callback: Callable[[EagerFuture], object], *, context: contextvars.Context | None = None
    ) -> None:
        """Take the wake-up of the task that waits."""
        self._callback = callback
        self._context = context if context is not None else contextvars.copy_context()

    def cancel(self, msg: Any = None) -> bool:
        """The task is cancelled: let it go on with that. False when it was woken before."""
        if self._callback is None:
            return False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.wake()
        return True

    def result(self) -> None:
        """Nothing; or, once, the cancellation."""
        cancelled, self._cancelled = self._cancelled, None
        if cancelled is not None:
            raise cancelled


#: The twin in Python, whatever runs.
Reference = EagerFuture

if not TYPE_CHECKING and fast_path.turn is not None:
    fast_path.turn.know(current_task=asyncio.current_task, CancelledError=asyncio.CancelledError)
    EagerFuture = fast_path.turn.EagerFuture
