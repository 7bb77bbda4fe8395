"""Whether a handler has kept the task that runs it. Such a task runs no other handler.

A task runs many handlers, one after the other. What a handler has done to its task must not reach the next one: a
reference may be used later, to cancel it; a cancellation may be delivered later; a name and the callbacks for its end
belong to one handler.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

#: The methods of a task that concern one handler alone. No count of references shows that one was called.
_PERSONAL = ("add_done_callback", "set_name")


def current_task() -> asyncio.Task[Any]:
    """Return the task that runs. Call it in one."""
    task = asyncio.current_task()
    assert task is not None
    return task


class TaskReferences:
    """Counts the references to a task: call :meth:`begin` in the task itself, before a handler runs."""

    __slots__ = ("_kept", "_own", "_task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        # Holding a second reference makes the count differ from that of begin(): one comparison answers for both.
        self._kept: asyncio.Task[Any] | None = None
        for name in _PERSONAL:
            # In the instance's __dict__, which hides the methods of the class: asyncio's tasks have one, in C too.
            setattr(task, name, self._counted(getattr(task, name)))
        #: The number of references without those of a handler.
        self._own: int = 0

    def begin(self) -> int:
        """Note how many references there are without those of a handler. Returns what was noted before."""
        # Counted while the task runs, so that the references of the loop and of the interpreter are the same as in
        # ``kept``.
        before, self._own = self._own, sys.getrefcount(self._task)
        return before

    def go_back(self, own: int) -> None:
        """Note again what :meth:`begin` returned: what it counted is gone."""
        self._own = own

    def _counted(self, method: Callable[..., object]) -> Callable[..., object]:
        """Return this method of the task; a call of it counts as a reference that the handler has kept."""

        def call(*arguments: Any, **options: Any) -> object:
            self._kept = self._task
            return method(*arguments, **options)

        return call

    @property
    def kept(self) -> bool:
        """Whether a handler has kept the task, or has cancelled it."""
        return self._task.cancelling() > 0 or sys.getrefcount(self._task) > self._own

    def end(self) -> None:
        """Let go of the task, which ends."""
        for name in _PERSONAL:
            delattr(self._task, name)  # each refers to the task: a reference cycle
        self._kept = None
